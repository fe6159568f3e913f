//! `run/start`.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Map, Value, json};
use tokio::net::UnixStream;

use super::Request;
use crate::{
    model::{
        Failure, Run, RunBytes, RunId, RunState,
        calls::{AttachChoice, OnDisconnect, PermissionMode, RunResult, StartParams},
    },
    process::own,
    server::{
        Server,
        births::{self, Born},
        claims::{self, Token},
        follower::Wanted,
        merge::CHUNK_BYTES,
        providers,
    },
    supervisor::{now, words::Orders},
};

pub async fn start(params: StartParams, request: Request) -> Result<RunResult, Failure> {
    let server = Arc::clone(&request.server);
    check(&params)?;
    let recipe = providers::recipe(&server.config, &params.provider, params.command.as_ref())?;
    if params.permissions == Some(PermissionMode::ReadOnly) {
        let message =
            format!("`{}` asks for no permissions, so nothing could keep it from writing; leave `permissions` out", params.provider);
        return Err(Failure::unsupported("permissions", message));
    }
    if params.prompt.is_some() {
        return Err(Failure::invalid_params("prompt", format!("`{}` takes no prompt; give it arguments, or `stdin`", params.provider)));
    }
    if params.resume.is_some() {
        return Err(Failure::unsupported("resume", format!("`{}` keeps no sessions that could be resumed", params.provider)));
    }
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
    let orders = orders(&server, &params, id, recipe, wanted.is_some())?;
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
    let grown = server.links.of(&server, id).map(|link| link.grown());
    let follower = wanted.map(|wanted| server.followers.attach(id, 0, wanted, grown));
    let answered = run.clone();
    request.call.after.run(move || {
        server.broadcast.born(id);
        server.broadcast.changed(&server, &answered);
        if let Some(follower) = follower {
            follower.start(&server);
        }
    });
    Ok(RunResult { run })
}

/// The token already has a run: answer with it and attach to it.
async fn attach_to(id: RunId, params: &StartParams, request: &Request) -> Result<RunResult, Failure> {
    let server = &request.server;
    let run = super::on_a_thread(server, move |history| history.known_run(id)).await?;
    // A client that asks again on the same connection has its cursor already.
    server.broadcast.forget_held(id);
    if let Some(wanted) = wanted(params.attach.as_ref()).filter(|_| !server.followers.is_attached(id)) {
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

fn orders(server: &Server, params: &StartParams, id: RunId, recipe: providers::Recipe, attached: bool) -> Result<Orders, Failure> {
    let cwd = match &params.cwd {
        Some(cwd) => cwd.clone(),
        None => std::env::current_dir()
            .map_err(|error| {
                Failure::invalid_params("cwd", format!("the server's own working directory is gone ({error}); name one as `cwd`"))
            })?
            .to_string_lossy()
            .into_owned(),
    };
    let mut env: BTreeMap<String, Option<String>> = recipe.env.into_iter().map(|(name, value)| (name, Some(value))).collect();
    env.extend(params.env.clone());
    let mut keep = server.config.keep.clone();
    keep.extend(params.keep.clone().unwrap_or_default());
    let run = Run {
        id,
        provider: params.provider.clone(),
        title: params.title.clone(),
        labels: params.labels.clone(),
        pinned: false,
        params: recorded(params),
        command: recipe.argv.into_iter().chain(params.args.clone().unwrap_or_default()).collect(),
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
        parent_run_id: None,
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
