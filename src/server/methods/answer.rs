//! `run/answer`, `run/configure` and `run/takeover`: what a client asks of an agent.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{Request, on_blocking_thread};
use crate::{
    claims::Claim,
    history::{ForwardReader, History, ReadOutcome},
    model::{
        Entry, Failure, FailureKind, Kind, Run, RunId, Takeover, TakeoverKind,
        calls::{AnswerParams, ConfigureParams, Empty, RunResult, RunSettings, TakeoverParams, TakeoverResult},
        control::Command,
        line,
    },
    server::{Server, providers, sessions, takeovers},
};

/// Bytes of an ended run that are searched at a time.
const READ_BLOCK_BYTES: usize = 256 << 10;

pub(crate) async fn answer(params: AnswerParams, request: Request) -> Result<Empty, Failure> {
    if params.option_id.is_some() == (params.cancelled == Some(true)) {
        return Err(Failure::invalid_params("optionId", "answer with an `optionId`, or with `cancelled: true`"));
    }
    let command = Command::Answer { permission_id: params.permission_id.clone(), option_id: params.option_id, message: params.message };
    let result = request.server.runs.send_command(params.run_id, command).await;
    match result {
        // A run that ends resolves its permissions, so the failure may be another.
        Err(failure) if failure.kind == FailureKind::RunNotActive => {
            Err(answer_failure(&request, params.run_id, &params.permission_id, failure).await?)
        }
        result => result,
    }
}

/// The failure of an answer to a run that has ended: the permission is resolved, the provider has none, or `failure`.
async fn answer_failure(request: &Request, id: RunId, permission_id: &str, failure: Failure) -> Result<Failure, Failure> {
    let run = request.server.runs.current_run(id).await?;
    if providers::known(&request.server.config, &run.provider).is_ok_and(|known| known.provider.is_none()) {
        return Ok(Failure::unsupported("permissions", "a command makes no permission requests"));
    }
    let id_of_permission = permission_id.to_owned();
    let is_known_permission =
        on_blocking_thread(&request.server, move |history| is_known_permission(history, id, &id_of_permission)).await?;
    Ok(if is_known_permission { Failure::permission_resolved(permission_id) } else { failure })
}

/// Whether an ended run has requested this permission.
fn is_known_permission(history: &History, id: RunId, permission_id: &str) -> Result<bool, Failure> {
    let (mut reader, mut lines) = (ForwardReader::new(id, 0), Vec::new());
    loop {
        lines.clear();
        if reader.read(history, READ_BLOCK_BYTES, &mut lines)? == ReadOutcome::Nothing {
            return Ok(false);
        }
        let questions = line::lines(&lines).filter(|line| line::head(line).is_some_and(|head| head.kind == Kind::Permission));
        if questions.filter_map(|line| line::parse(line).ok()).any(|entry| match entry {
            Entry::Permission(entry) => entry.permission_id == permission_id,
            _ => false,
        }) {
            return Ok(true);
        }
    }
}

pub(crate) async fn configure(params: ConfigureParams, request: Request) -> Result<RunResult, Failure> {
    super::start::check_model(params.model.as_deref())?;
    let ConfigureParams { run_id, model, permissions, options } = params;
    let command = if options.is_empty() {
        Command::Configure { model, permissions }
    } else {
        Command::ConfigureOptions(RunSettings { model, permissions, options })
    };
    let run: Run = request.server.runs.send_command(run_id, command).await?;
    Ok(RunResult { run })
}

pub(crate) async fn takeover(params: TakeoverParams, request: Request) -> Result<TakeoverResult, Failure> {
    let (server, id) = (Arc::clone(&request.server), params.run_id);
    let wants_stop = params.stop.unwrap_or(true);
    let run = server.runs.current_run(id).await?;
    if run.session.is_none() {
        let is_command = providers::known(&server.config, &run.provider).is_ok_and(|known| known.provider.is_none());
        let message = if is_command {
            "a command has no session to take over".to_owned()
        } else {
            format!("{} has not reported its session yet; wait until it has started", run.provider)
        };
        return Err(Failure::unsupported("takeover", message));
    }
    let is_live = !run.state.is_final();
    let chosen = choose_takeover(&server, run.clone(), params.kind).await?;
    let joins = matches!(chosen.kind, TakeoverKind::Live | TakeoverKind::Fork);
    if is_live && !wants_stop && !joins {
        let message = "two programs must not write to one session; take over with `stop: true`, or with `fork`";
        return Err(Failure::new(FailureKind::SessionBusy, message).with("runId", id.to_string()));
    }
    if is_live && wants_stop && chosen.kind != TakeoverKind::Live {
        match server.runs.send_command::<Run>(id, Command::TakeOver).await {
            Ok(_) => {}
            // The run ended by itself meanwhile.
            Err(failure) if failure.kind == FailureKind::RunNotActive => {}
            Err(failure) => return Err(failure),
        }
    }
    let run = server.runs.current_run(id).await?;
    let chosen = choose_takeover(&server, run.clone(), params.kind).await?;
    if run.state.is_final()
        && !joins
        && let Some(session) = run.session.clone()
    {
        // Another run may have resumed the session meanwhile; then this fails with `sessionBusy`.
        on_blocking_thread(&server, move |history| Claim::take_session(&history.runs, &session.id, id).map(Claim::release)).await?;
    }
    let file = run.session.as_ref().and_then(|session| match &session.path {
        Some(path) => Some(PathBuf::from(path)),
        None => sessions::file(&providers::known(&server.config, &run.provider).ok()?, &session.id),
    });
    let takeover = on_blocking_thread(&server, move |_| Ok(with_warning(chosen, file.as_deref()))).await?;
    Ok(TakeoverResult { takeover })
}

/// The takeover of the requested kind, or the best there is.
async fn choose_takeover(server: &Arc<Server>, run: Run, kind: Option<TakeoverKind>) -> Result<Takeover, Failure> {
    let (maker, made_for) = (Arc::clone(server), run.clone());
    let takeovers = on_blocking_thread(server, move |_| takeovers::of_run(&maker, &made_for)).await?;
    let takeovers = takeovers.iter();
    let mut chosen = match kind {
        Some(kind) => takeovers.clone().find(|takeover| takeover.kind == kind).cloned().ok_or_else(|| {
            let known: Vec<String> =
                takeovers.map(|takeover| serde_json::json!(takeover.kind).as_str().unwrap_or_default().to_owned()).collect();
            Failure::unsupported("takeover", format!("this session cannot be taken over that way; choose one of {}", known.join(", ")))
        })?,
        None => best_takeover(takeovers.clone()).cloned().ok_or_else(|| {
            let why = takeovers
                .filter_map(|takeover| takeover.reason.clone())
                .next()
                .unwrap_or_else(|| "its provider does not support it".to_owned());
            Failure::unsupported("takeover", format!("the session cannot be taken over: {why}"))
        })?,
    };
    if chosen.command.is_none() {
        let why = chosen.reason.clone().unwrap_or_else(|| "its provider does not support it".to_owned());
        return Err(Failure::unsupported("takeover", format!("the session cannot be taken over that way: {why}")));
    }
    // The environment that the configuration gives the provider opens the same account.
    let env = providers::known(&server.config, &run.provider).map(|known| known.env).unwrap_or_default();
    if !env.is_empty() {
        chosen.env.get_or_insert_default().extend(env);
    }
    chosen.cwd.get_or_insert_with(|| run.cwd.clone());
    Ok(chosen)
}

/// The first takeover that was seen to work, else the first that has a command.
fn best_takeover<'a>(takeovers: impl Iterator<Item = &'a Takeover> + Clone) -> Option<&'a Takeover> {
    let mut available = takeovers.filter(|takeover| takeover.command.is_some());
    available.clone().find(|takeover| takeover.verified).or_else(|| available.next())
}

/// Adds a warning if the provider's own copy of the session is gone, or the run's directory.
fn with_warning(mut takeover: Takeover, file: Option<&Path>) -> Takeover {
    if let Some(file) = file.filter(|file| !file.exists()) {
        takeover.verified = false;
        takeover.reason = Some(format!(
            "the provider's own copy of the session was deleted ({} does not exist), so this will probably fail",
            file.display()
        ));
    } else if takeover.cwd.as_ref().is_some_and(|cwd| !Path::new(cwd).is_dir()) {
        takeover.verified = false;
        takeover.reason = Some("the working directory of the run does not exist, so this will probably fail".to_owned());
    }
    takeover
}
