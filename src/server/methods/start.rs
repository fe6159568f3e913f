//! `run/start`.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Map, Value};

use super::{
    Request,
    launch_spec::{launch_spec, rerun_params},
};
use crate::{
    config::COMMAND_KIND,
    model::{
        Failure, FailureKind, RunId,
        calls::{AttachChoice, PermissionMode, Prompt, Resume, RunResult, StartParams, TtyChoice},
    },
    process::current_process,
    provider,
    runs::TokenClaim,
    server::{
        follower::Delivery,
        providers::{self, KnownProvider},
    },
};

/// The longest title of a run.
const MAX_TITLE_BYTES: usize = 4 << 10;
/// Labels of a run, and the longest name or value of one.
const MAX_LABELS: usize = 100;
const MAX_LABEL_BYTES: usize = 4 << 10;

pub(crate) async fn start(params: StartParams, request: Request) -> Result<RunResult, Failure> {
    let server = Arc::clone(&request.server);
    let _starting = server.starting.token();
    check(&params)?;
    let delivery = delivery(params.attach.as_ref())?;
    let known = providers::known(&server.config, &params.provider)?;
    check_provider(&params, &known)?;
    let rerun_params = rerun_params(&params);
    let (params, parent) = resolve_resume(&request, params, &known).await?;
    // Until it is known which run the token means, the client is not notified about runs that appear meanwhile.
    if params.client_token.is_some() {
        let gate = server.broadcast.hold();
        request.context.after.run(move || drop(gate));
    }
    let token = match &params.client_token {
        Some(token) => match server.runs.claim_token(token).await? {
            TokenClaim::Run(id) => return attach_to(id, &params, &request).await,
            TokenClaim::Taken(token) => Some(token),
        },
        None => None,
    };
    let id = RunId::new();
    server.broadcast.expect_start(id);
    let starter = Arc::clone(&server);
    // This may ask the login shell, or a command of the configuration.
    let making = tokio::task::spawn_blocking(move || {
        let mut spec = launch_spec(&starter, &params, id, known, parent, delivery)?;
        spec.run.params = rerun_params;
        spec.run.name();
        Ok(spec)
    });
    let spec = making.await.unwrap_or_else(|error| Err(Failure::internal(format!("the start failed: {error}"))));
    let spec = spec.inspect_err(|_| server.broadcast.discard_staged(id))?;
    let run = server.runs.start(spec, token).await.inspect_err(|_| server.broadcast.discard_staged(id))?;
    if cfg!(debug_assertions) {
        // A test may hold up the answer here while the link goes on.
        tokio::task::spawn_blocking(|| current_process::seam("start.answering")).await.ok();
    }
    let growth = server.runs.links.find(id).map(|link| link.growth());
    let follower = delivery.map(|delivery| {
        server.broadcast.attach(id, 0);
        server.followers.attach(id, 0, delivery, growth)
    });
    let run_of_answer = run.clone();
    request.context.after.run(move || match follower {
        Some(follower) => {
            server.broadcast.discard_staged(id);
            server.broadcast.notify_changed(&run_of_answer);
            follower.start(&server);
        }
        None => {
            server.broadcast.send_staged(id);
            server.broadcast.notify_changed(&run_of_answer);
        }
    });
    Ok(RunResult { run })
}

/// Answers with the run that the token means, and attaches the client to it.
async fn attach_to(id: RunId, params: &StartParams, request: &Request) -> Result<RunResult, Failure> {
    let server = &request.server;
    let run = super::known_run(server, id).await?;
    // A client that sends the token again on the same connection has its cursor already, or has been sent everything.
    server.broadcast.forget_held(id);
    if let Some(delivery) = delivery(params.attach.as_ref())?.filter(|_| !server.broadcast.is_attached(id)) {
        super::read::follow(request, &run, 0, delivery);
    }
    Ok(RunResult { run })
}

fn delivery(choice: Option<&AttachChoice>) -> Result<Option<Delivery>, Failure> {
    match choice {
        Some(AttachChoice::Whether(false)) => Ok(None),
        None | Some(AttachChoice::Whether(true) | AttachChoice::Empty([])) => Delivery::of(None, None).map(Some),
        Some(AttachChoice::Kinds { kinds, form }) => Delivery::of(kinds.as_deref(), *form).map(Some),
    }
}

fn check(params: &StartParams) -> Result<(), Failure> {
    let no_nul = |field: &str, text: &str| match text.contains('\0') {
        true => Err(Failure::invalid_params(field, format!("`{field}` has a NUL character, which cannot be passed to a program"))),
        false => Ok(()),
    };
    if params.command.as_ref().is_some_and(|command| command.is_empty() || command[0].is_empty()) {
        return Err(Failure::invalid_params("command", "`command` is empty; name a program, then its arguments"));
    }
    if let Some(Prompt::Blocks(blocks)) = &params.prompt {
        check_blocks(blocks)?;
    }
    let is_empty = match &params.prompt {
        Some(Prompt::Text(text)) => text.trim().is_empty(),
        Some(Prompt::Blocks(blocks)) => blocks.is_empty(),
        None => false,
    };
    if is_empty {
        return Err(Failure::invalid_params(
            "prompt",
            "the prompt is empty; write what the agent is to do, or leave it out of an interactive run",
        ));
    }
    if matches!(&params.resume, Some(Resume::Session { session_id }) if session_id.is_empty()) {
        return Err(Failure::invalid_params("resume", "the ID of the session to resume is empty; give one that the provider lists"));
    }
    check_model(params.model.as_deref())?;
    check_names(params.title.as_deref(), Some(&params.labels))?;
    params.tty.map(TtyChoice::size).transpose()?;
    params.command.iter().flatten().try_for_each(|argument| no_nul("command", argument))?;
    params.args.iter().flatten().try_for_each(|argument| no_nul("args", argument))?;
    if let Some(cwd) = &params.cwd {
        no_nul("cwd", cwd)?;
        if !cwd.starts_with('/') {
            return Err(Failure::invalid_params("cwd", format!("`cwd` must be absolute; {cwd:?} is not")));
        }
    }
    for (name, value) in &params.env {
        if name.is_empty() || name.contains(['=', '\0']) {
            return Err(Failure::invalid_params("env", format!("{name:?} is not a name for an environment variable")));
        }
        no_nul("env", value.as_deref().unwrap_or_default())?;
    }
    Ok(())
}

/// Refuses a title or labels that every list of runs would have to carry.
pub(crate) fn check_names(title: Option<&str>, labels: Option<&BTreeMap<String, String>>) -> Result<(), Failure> {
    let too_long =
        |field: &str, what: &str, max: usize| Err(Failure::invalid_params(field, format!("{what} longer than {max} bytes; shorten it")));
    if title.is_some_and(|title| title.len() > MAX_TITLE_BYTES) {
        return too_long("title", "`title` is", MAX_TITLE_BYTES);
    }
    let Some(labels) = labels else { return Ok(()) };
    if labels.len() > MAX_LABELS {
        return Err(Failure::invalid_params("labels", format!("a run has at most {MAX_LABELS} labels; leave some out")));
    }
    match labels.iter().any(|(name, value)| name.len().max(value.len()) > MAX_LABEL_BYTES) {
        true => too_long("labels", "a label's name or value is", MAX_LABEL_BYTES),
        false => Ok(()),
    }
}

/// Refuses a model without a name; without the field, the provider chooses.
pub(crate) fn check_model(model: Option<&str>) -> Result<(), Failure> {
    match model.is_some_and(|model| model.trim().is_empty()) {
        true => Err(Failure::invalid_params("model", "`model` is empty; leave it out to use the provider's default")),
        false => Ok(()),
    }
}

/// Checks content blocks of the Agent Client Protocol, as far as every provider relies on it.
pub(crate) fn check_blocks(blocks: &[Map<String, Value>]) -> Result<(), Failure> {
    for (position, block) in blocks.iter().enumerate() {
        let kind = block.get("type").and_then(Value::as_str);
        let is_valid = match kind {
            Some("text") => block.get("text").is_some_and(Value::is_string),
            Some(_) => true,
            None => false,
        };
        if !is_valid {
            let message = format!(
                "block {position} of `prompt` is not an ACP content block; a text block is {{\"type\": \"text\", \"text\": \"…\"}}"
            );
            return Err(Failure::invalid_params("prompt", message));
        }
    }
    Ok(())
}

/// Checks the params against what the provider supports.
fn check_provider(params: &StartParams, known: &KnownProvider) -> Result<(), Failure> {
    let name = &params.provider;
    if !params.mcp_servers.is_empty() && !known.provider.is_some_and(|provider| provider.capabilities().mcp_servers) {
        let message = format!("`{name}` takes no MCP servers from a client; name them in its own settings");
        return Err(Failure::unsupported("mcpServers", message));
    }
    let Some(provider) = known.provider else {
        if params.permissions == Some(PermissionMode::ReadOnly) {
            let message =
                format!("`{name}` makes no permission requests, so loomd cannot keep it from writing; start it without a permission mode");
            return Err(Failure::unsupported("permissions", message));
        }
        if params.prompt.is_some() {
            return Err(Failure::invalid_params("prompt", format!("`{name}` takes no prompt; give it arguments")));
        }
        if params.resume.is_some() {
            return Err(Failure::unsupported("resume", format!("`{name}` has no sessions to resume")));
        }
        return Ok(());
    };
    let is_plain = known.kind == COMMAND_KIND;
    if params.stdin.is_some() && !(is_plain && params.prompt.is_none()) {
        return Err(Failure::invalid_params("stdin", format!("`{name}` is an agent; give its input as `prompt`")));
    }
    if !is_plain && params.tty.is_some_and(|tty| tty != TtyChoice::Whether(false)) {
        return Err(Failure::invalid_params("tty", format!("`{name}` uses a protocol over pipes; start it without a terminal")));
    }
    if params.resume.is_some() && !provider.capabilities().resume {
        return Err(Failure::unsupported("resume", format!("`{name}` has no sessions to resume")));
    }
    if params.prompt.is_none() && is_plain && provider::plain::has_prompt_placeholder(&known.program) {
        let message = format!("`{name}` takes a prompt in its command line; give it as `prompt`");
        return Err(Failure::invalid_params("prompt", message));
    }
    if params.prompt.is_none() && params.interactive != Some(true) && !is_plain {
        let message = format!("`{name}` needs a `prompt`, or `interactive: true` to receive one later");
        return Err(Failure::invalid_params("prompt", message));
    }
    Ok(())
}

/// Finds the session to resume, the run that it belongs to, and its directory.
async fn resolve_resume(request: &Request, params: StartParams, known: &KnownProvider) -> Result<(StartParams, Option<RunId>), Failure> {
    let Some(resume) = params.resume.clone() else { return Ok((params, None)) };
    let (name, kind) = (params.provider.clone(), known.kind);
    let config = request.server.config.clone();
    let resolving = super::on_blocking_thread(&request.server, move |history| match resume {
        Resume::Run { run_id } => {
            let run = history.known_run(run_id)?;
            let message = || format!("run {run_id} has no session to resume");
            let session = match run.session.clone() {
                Some(session) => session,
                None if run.state.is_final() => return Err(Failure::invalid_params("resume", message())),
                // The run will have a session, and hold it.
                None => {
                    let message = format!("run {run_id} is still running and uses its session; follow that run, or cancel it first");
                    return Err(Failure::new(FailureKind::SessionBusy, message).with("runId", run_id.to_string()));
                }
            };
            let other = providers::known(&config, &run.provider).map_or(run.provider.clone(), |known| known.kind.to_owned());
            if other != kind {
                let message = format!("the session of run {run_id} belongs to `{}`, not to `{name}`", run.provider);
                return Err(Failure::invalid_params("resume", message));
            }
            Ok((session.id, Some(run)))
        }
        Resume::Session { session_id } => {
            let run = super::list::newest_runs_of_sessions(history, &[&session_id])?.remove(&session_id);
            Ok((session_id, run))
        }
    });
    let (session_id, run) = resolving.await?;
    let cwd = params.cwd.clone().or_else(|| run.as_ref().map(|run| run.cwd.clone()));
    Ok((StartParams { cwd, resume: Some(Resume::Session { session_id }), ..params }, run.map(|run| run.id)))
}
