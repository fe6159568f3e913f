//! `run/start`.

use std::{collections::BTreeMap, ffi::OsString, sync::Arc};

use serde_json::{Map, Value, json};
use tokio::net::UnixStream;

use super::Request;
use crate::{
    config::COMMAND,
    model::{
        Failure, FailureKind, Run, RunBytes, RunId, RunState,
        calls::{AttachChoice, OnDisconnect, PermissionMode, Prompt, Resume, RunResult, StartParams},
        directory,
    },
    process::own,
    provider::{self, Launch, Plain, Stdin, Task, task},
    server::{
        Server,
        births::{self, Born},
        claims::{self, Token},
        follower::Wanted,
        merge::CHUNK_BYTES,
        providers::{self, Known},
    },
    supervisor::{now, words::Orders},
};

pub async fn start(params: StartParams, request: Request) -> Result<RunResult, Failure> {
    let server = Arc::clone(&request.server);
    let _starting = Arc::clone(&server.starting);
    check(&params)?;
    let known = providers::known(&server.config, &params.provider)?;
    fits(&params, &known)?;
    let as_asked = recorded(&params);
    let (params, parent) = resumed(&request, params, &known).await?;
    // Until it is known whose run the token means, nothing is said of runs that appear meanwhile.
    if params.client_token.is_some() {
        let held = server.broadcast.hold();
        request.call.after.run(move || drop(held));
    }
    let claim = match &params.client_token {
        Some(token) => match claims::take(server.data_dir.clone(), server.history.clone(), claims::hash(token)).await? {
            Token::Run(id) => return attach_to(id, &params, &request).await,
            Token::Taken(claim) => Some(claim),
        },
        None => None,
    };
    let id = RunId::new();
    let wanted = wanted(params.attach.as_ref());
    let mut orders = orders(&server, &params, id, known, parent, wanted.is_some())?;
    orders.run.params = as_asked;
    server.broadcast.expect(id);
    let runs = server.history.runs.clone();
    let started = tokio::task::spawn_blocking(move || {
        if let Some(claim) = &claim {
            claim.name(id).map_err(|error| Failure::store(&runs, format!("the token cannot be claimed: {error}")))?;
        }
        let born = births::start(&runs, &orders)?;
        claim.into_iter().for_each(claims::Claim::keep);
        Ok(born)
    });
    let started = started.await.unwrap_or_else(|error| Err(Failure::internal(format!("the start failed: {error}"))));
    let Born { run, stream } = started.inspect_err(|_| server.broadcast.born(id))?;
    stream.set_nonblocking(true).and_then(|()| UnixStream::from_std(stream)).map_or_else(
        |error| tracing::error!(%error, run = %id, "the connection to the new supervisor is lost; another will be made"),
        |stream| drop(server.links.begin(id, stream)),
    );
    server.keeper.tell(id);
    if cfg!(debug_assertions) {
        // Where a test may hold up the answer while the link goes on.
        let _ = tokio::task::spawn_blocking(|| own::seam("start.answering")).await;
    }
    let grown = server.links.of(&server, id).map(|link| link.grown());
    let follower = wanted.map(|wanted| {
        server.broadcast.attached(id);
        server.followers.attach(id, 0, wanted, grown)
    });
    let answered = run.clone();
    request.call.after.run(move || match follower {
        Some(follower) => {
            server.broadcast.born(id);
            server.broadcast.changed(&server, &answered);
            follower.start(&server);
        }
        None => {
            server.broadcast.born_unfollowed(&server, id);
            server.broadcast.changed(&server, &answered);
        }
    });
    Ok(RunResult { run })
}

/// The token already has a run: answer with it and attach to it.
async fn attach_to(id: RunId, params: &StartParams, request: &Request) -> Result<RunResult, Failure> {
    let server = &request.server;
    let run = super::on_a_thread(server, move |history| history.known_run(id)).await?;
    // A client that asks again on the same connection has its cursor already, or has had everything.
    server.broadcast.forget_held(id);
    if let Some(wanted) = wanted(params.attach.as_ref()).filter(|_| !server.broadcast.is_attached(id)) {
        super::attach::follow(request, id, 0, wanted);
    }
    Ok(RunResult { run })
}

fn wanted(choice: Option<&AttachChoice>) -> Option<Wanted> {
    match choice {
        Some(AttachChoice::Whether(false)) => None,
        None | Some(AttachChoice::Whether(true) | AttachChoice::Empty([])) => Some(Wanted::of(None)),
        Some(AttachChoice::Kinds { kinds }) => Some(Wanted::of(kinds.as_deref())),
    }
}

fn check(params: &StartParams) -> Result<(), Failure> {
    let no_nul = |field: &str, text: &str| match text.contains('\0') {
        true => Err(Failure::invalid_params(field, format!("`{field}` holds a NUL character, which no program can be given"))),
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
            "`prompt` is empty; say what the agent is to do, or leave it out with `interactive: true`",
        ));
    }
    if matches!(&params.resume, Some(Resume::Session { session_id }) if session_id.is_empty()) {
        return Err(Failure::invalid_params(
            "resume",
            "`resume.sessionId` is empty; give the id that `run/session` or `session/list` told",
        ));
    }
    check_model(params.model.as_deref())?;
    params.command.iter().flatten().try_for_each(|word| no_nul("command", word))?;
    params.args.iter().flatten().try_for_each(|word| no_nul("args", word))?;
    if let Some(cwd) = &params.cwd {
        no_nul("cwd", cwd)?;
        if !cwd.starts_with('/') {
            return Err(Failure::invalid_params("cwd", format!("`cwd` must be absolute; {cwd:?} is not")));
        }
    }
    for (name, value) in &params.env {
        if name.is_empty() || name.contains(['=', '\0']) {
            return Err(Failure::invalid_params("env", format!("{name:?} is no name for an environment variable")));
        }
        no_nul("env", value.as_deref().unwrap_or_default())?;
    }
    Ok(())
}

/// A model is named, or left to the provider.
pub fn check_model(model: Option<&str>) -> Result<(), Failure> {
    match model.is_some_and(|model| model.trim().is_empty()) {
        true => Err(Failure::invalid_params("model", "`model` is empty; leave it out, and the provider takes its own")),
        false => Ok(()),
    }
}

/// Content blocks of the Agent Client Protocol, as far as every provider relies on it.
pub fn check_blocks(blocks: &[Map<String, Value>]) -> Result<(), Failure> {
    for (position, block) in blocks.iter().enumerate() {
        let kind = block.get("type").and_then(Value::as_str);
        let good = match kind {
            Some("text") => block.get("text").is_some_and(Value::is_string),
            Some(_) => true,
            None => false,
        };
        if !good {
            let message =
                format!("block {position} of `prompt` is no ACP content block; a text is {{\"type\": \"text\", \"text\": \"…\"}}");
            return Err(Failure::invalid_params("prompt", message));
        }
    }
    Ok(())
}

/// What a kind of provider takes.
fn fits(params: &StartParams, known: &Known) -> Result<(), Failure> {
    let name = &params.provider;
    let Some(provider) = known.provider else {
        if params.permissions == Some(PermissionMode::ReadOnly) {
            let message = format!("`{name}` asks for no permissions, so nothing could keep it from writing; leave `permissions` out");
            return Err(Failure::unsupported("permissions", message));
        }
        if params.prompt.is_some() {
            return Err(Failure::invalid_params("prompt", format!("`{name}` takes no prompt; give it arguments, or `stdin`")));
        }
        if params.resume.is_some() {
            return Err(Failure::unsupported("resume", format!("`{name}` keeps no sessions that could be resumed")));
        }
        return Ok(());
    };
    let is_plain = known.kind == COMMAND;
    if params.stdin.is_some() && !(is_plain && params.prompt.is_none()) {
        return Err(Failure::invalid_params("stdin", format!("`{name}` is an agent; what it is asked goes into `prompt`")));
    }
    if params.tty == Some(true) && !is_plain {
        return Err(Failure::invalid_params("tty", format!("`{name}` speaks a protocol over pipes; leave `tty` out")));
    }
    if params.resume.is_some() && !provider.capabilities().resume {
        return Err(Failure::unsupported("resume", format!("`{name}` keeps no sessions that could be resumed")));
    }
    if params.prompt.is_none() && is_plain && provider::plain::shows_prompt(&known.program) {
        let message = format!("`{name}` has a place for the prompt in its command line; say what it is to do as `prompt`");
        return Err(Failure::invalid_params("prompt", message));
    }
    if params.prompt.is_none() && params.interactive != Some(true) && !is_plain {
        let message = format!("`{name}` needs a `prompt`, or `interactive: true` to be given one later");
        return Err(Failure::invalid_params("prompt", message));
    }
    Ok(())
}

/// Finds the session that is to be gone on with, its run, and its directory.
async fn resumed(request: &Request, params: StartParams, known: &Known) -> Result<(StartParams, Option<RunId>), Failure> {
    let Some(resume) = params.resume.clone() else { return Ok((params, None)) };
    let (name, kind) = (params.provider.clone(), known.kind);
    let config = request.server.config.clone();
    let found = super::on_a_thread(&request.server, move |history| match resume {
        Resume::Run { run_id } => {
            let run = history.known_run(run_id)?;
            let message = || format!("run {run_id} has no session that could be resumed");
            let session = match run.session.clone() {
                Some(session) => session,
                None if run.state.is_final() => return Err(Failure::invalid_params("resume", message())),
                // It will have one, and hold it.
                None => {
                    let message = format!("run {run_id} is still running and its session is its own; follow that run, or cancel it first");
                    return Err(Failure::new(FailureKind::SessionBusy, message).with("runId", run_id.to_string()));
                }
            };
            let other = providers::known(&config, &run.provider).map_or(run.provider.clone(), |known| known.kind.to_owned());
            if other != kind {
                let message = format!("the session of run {run_id} is one of `{}`, not of `{name}`", run.provider);
                return Err(Failure::invalid_params("resume", message));
            }
            Ok((session.id, Some(run)))
        }
        Resume::Session { session_id } => {
            let run = super::list::of_sessions(history, &[&session_id])?.remove(&session_id);
            Ok((session_id, run))
        }
    });
    let (session_id, run) = found.await?;
    let cwd = params.cwd.clone().or_else(|| run.as_ref().map(|run| run.cwd.clone()));
    Ok((StartParams { cwd, resume: Some(Resume::Session { session_id }), ..params }, run.map(|run| run.id)))
}

/// What an agent is to do, and how its program is started for it.
fn agent(params: &StartParams, known: &Known, program: &[String], cwd: &str) -> Result<Option<(Task, Launch)>, Failure> {
    let Some(provider) = known.provider else { return Ok(None) };
    let is_used = known.kind != COMMAND || params.prompt.is_some() || params.resume.is_some() || known.plain != Plain::default();
    if !is_used {
        return Ok(None);
    }
    let task = Task {
        provider: params.provider.clone(),
        kind: known.kind.to_owned(),
        prompt: params.prompt.as_ref().map(task::blocks),
        cwd: cwd.to_owned(),
        model: params.model.clone(),
        permissions: params.permissions.unwrap_or(PermissionMode::Ask),
        resume: params.resume.as_ref().and_then(|resume| match resume {
            Resume::Session { session_id } => Some(session_id.clone()),
            Resume::Run { .. } => None,
        }),
        session_id: uuid::Uuid::now_v7().to_string(),
        interactive: params.interactive.unwrap_or(false),
        is_root: own::user() == 0,
        program: program.to_vec(),
        plain: known.plain.clone(),
    };
    let launch = provider.launch(&task, program)?;
    Ok(Some((task, launch)))
}

fn orders(
    server: &Server,
    params: &StartParams,
    id: RunId,
    known: Known,
    parent: Option<RunId>,
    attached: bool,
) -> Result<Orders, Failure> {
    let cwd = match &params.cwd {
        Some(cwd) => directory::spelled(cwd),
        None => std::env::current_dir()
            .map_err(|error| {
                Failure::invalid_params("cwd", format!("the server's own working directory is gone ({error}); name one as `cwd`"))
            })?
            .to_string_lossy()
            .into_owned(),
    };
    let mut env: BTreeMap<String, Option<String>> = known.env.iter().map(|(name, value)| (name.clone(), Some(value.clone()))).collect();
    env.extend(params.env.clone());
    let mut program = known.argv(params.command.as_ref())?;
    // A plain tool is called by the name that the configuration gives it, whether it is asked something or not.
    if known.kind != COMMAND && std::path::Path::new(&cwd).is_dir() {
        let path = match env.get("PATH") {
            Some(path) => path.clone().map(OsString::from),
            None => std::env::var_os("PATH"),
        };
        program[0] = known.find(&program[0], std::path::Path::new(&cwd), path.as_ref())?.to_string_lossy().into_owned();
    }
    let agent = agent(params, &known, &program, &cwd)?;
    let (task, launch) = agent.unzip();
    for (name, value) in launch.iter().flat_map(|launch| &launch.env) {
        env.entry(name.clone()).or_insert_with(|| Some(value.clone()));
    }
    let talks = launch.as_ref().is_some_and(|launch| launch.stdin == Stdin::Protocol);
    let argv = launch.map_or(program, |launch| launch.argv);
    let mut keep = server.config.keep.clone();
    keep.extend(params.keep.clone().unwrap_or_default());
    let run = Run {
        id,
        provider: params.provider.clone(),
        title: params.title.clone(),
        labels: params.labels.clone(),
        pinned: false,
        params: Map::new(),
        command: argv.into_iter().chain(known.args).chain(params.args.clone().unwrap_or_default()).collect(),
        cwd,
        state: RunState::Starting,
        turn: None,
        queued: None,
        pid: None,
        permissions: Vec::new(),
        exit_code: None,
        signal: None,
        error: None,
        session: None,
        parent_run_id: parent,
        created_at: now(),
        started_at: None,
        ended_at: None,
        last_seq: 0,
        durable_seq: 0,
        bytes: RunBytes::default(),
        transcript: None,
        usage: None,
        taken_over_at: None,
    };
    Ok(Orders {
        runs: server.history.runs.to_string_lossy().into_owned(),
        run,
        token: params.client_token.as_ref().map(|token| blake3::hash(token.as_bytes()).to_hex().to_string()),
        env,
        umask: own::client_umask(),
        stdin: params.stdin.clone(),
        tty: params.tty.unwrap_or(false),
        interactive: params.interactive.unwrap_or(false),
        task,
        talks,
        keep_idle_ms: params.keep_idle_ms,
        timeout_ms: params.timeout_ms,
        idle_timeout_ms: params.idle_timeout_ms,
        max_output_bytes: params.max_output_bytes,
        on_disconnect: params.on_disconnect.unwrap_or(OnDisconnect::Detach),
        keep,
        attached,
        // The starter gets entries as they are in the log: no longer than it wants them.
        chunk_bytes: usize::try_from(server.client.output.max_chunk_bytes).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES),
    })
}

/// The params as they are kept for a rerun: without the token, and with names in place of the environment's values.
fn recorded(params: &StartParams) -> Map<String, Value> {
    let names: Vec<&String> = params.env.keys().collect();
    let without = StartParams { env: BTreeMap::new(), client_token: None, ..params.clone() };
    let Value::Object(mut recorded) = json!(without) else { return Map::new() };
    if !names.is_empty() {
        recorded.insert("envNames".to_owned(), json!(names));
    }
    recorded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_the_environment_are_not_recorded() {
        let env = BTreeMap::from([("KEY".to_owned(), Some("secret-value".to_owned())), ("GONE".to_owned(), None)]);
        let params =
            StartParams { provider: "command".to_owned(), env, client_token: Some("secret-token".to_owned()), ..StartParams::default() };
        let recorded = Value::Object(recorded(&params)).to_string();
        assert!(!recorded.contains("secret"), "{recorded}");
        assert!(recorded.contains(r#""envNames":["GONE","KEY"]"#), "{recorded}");
    }
}
