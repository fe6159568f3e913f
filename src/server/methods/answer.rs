//! What is asked of a live agent: an answer to its question, other settings, its session.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{Request, control, on_a_thread};
use crate::{
    history::{Forward, Found, History},
    model::{
        Entry, Failure, FailureKind, Kind, Run, RunId, Takeover, TakeoverKind,
        calls::{AnswerParams, ConfigureParams, Empty, RunResult, TakeoverParams, TakeoverResult},
        line,
    },
    server::{Server, providers, sessions},
    supervisor::{claim::Claim, words::Word},
};

/// How much of an ended run is looked through at a time.
const BLOCK: usize = 256 << 10;

pub async fn answer(params: AnswerParams, request: Request) -> Result<Empty, Failure> {
    if params.option_id.is_some() == (params.cancelled == Some(true)) {
        return Err(Failure::invalid_params("optionId", "answer with an `optionId`, or with `cancelled: true`"));
    }
    let word = Word::Answer { permission_id: params.permission_id.clone(), option_id: params.option_id, message: params.message };
    let answered = control::ask(&request.server, params.run_id, word).await;
    match answered {
        // When a run ends, its questions are settled.
        Err(failure) if failure.kind == FailureKind::RunNotActive => {
            Err(settled(&request, params.run_id, &params.permission_id, failure).await?)
        }
        answered => answered,
    }
}

/// What an answer to a question of an ended run is told.
async fn settled(request: &Request, id: RunId, permission_id: &str, failure: Failure) -> Result<Failure, Failure> {
    let run = control::run_now(&request.server, id).await?.run;
    if providers::known(&request.server.config, &run.provider).is_ok_and(|known| known.provider.is_none()) {
        return Ok(Failure::unsupported("permissions", "a command asks for no permissions"));
    }
    let wanted = permission_id.to_owned();
    let was_asked = on_a_thread(&request.server, move |history| was_asked(history, id, &wanted)).await?;
    Ok(if was_asked { Failure::permission_resolved(permission_id) } else { failure })
}

/// Whether an ended run has asked this question.
fn was_asked(history: &History, id: RunId, permission_id: &str) -> Result<bool, Failure> {
    let (mut reader, mut lines) = (Forward::new(id, 0), Vec::new());
    loop {
        lines.clear();
        if reader.read(history, BLOCK, &mut lines)? == Found::Nothing {
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

pub async fn configure(params: ConfigureParams, request: Request) -> Result<RunResult, Failure> {
    super::start::check_model(params.model.as_deref())?;
    let word = Word::Configure { model: params.model, permissions: params.permissions };
    let run: Run = control::ask(&request.server, params.run_id, word).await?;
    Ok(RunResult { run })
}

pub async fn takeover(params: TakeoverParams, request: Request) -> Result<TakeoverResult, Failure> {
    let (server, id) = (Arc::clone(&request.server), params.run_id);
    // In the order of the requests: a word is on its way before anything else is looked at.
    let wants_stop = params.stop.unwrap_or(true);
    let run = control::run_now(&server, id).await?.run;
    if run.session.is_none() {
        let is_command = providers::known(&server.config, &run.provider).is_ok_and(|known| known.provider.is_none());
        let message = if is_command {
            "a command has no session that could be taken over".to_owned()
        } else {
            format!("the run has no session yet; wait for `run/session` ({} announces it when it has begun)", run.provider)
        };
        return Err(Failure::unsupported("takeover", message));
    }
    let is_live = !run.state.is_final();
    let chosen = choose(&server, &run, params.kind)?;
    let joins = matches!(chosen.kind, TakeoverKind::Live | TakeoverKind::Fork);
    if is_live && !wants_stop && !joins {
        let message = "two programs must not write one session; take over with `stop: true`, or by `fork`";
        return Err(Failure::new(FailureKind::SessionBusy, message).with("runId", id.to_string()));
    }
    if is_live && wants_stop && chosen.kind != TakeoverKind::Live {
        match control::ask::<Run>(&server, id, Word::TakeOver).await {
            Ok(_) => {}
            // It ended by itself meanwhile.
            Err(failure) if failure.kind == FailureKind::RunNotActive => {}
            Err(failure) => return Err(failure),
        }
    }
    let run = control::run_now(&server, id).await?.run;
    let chosen = choose(&server, &run, params.kind)?;
    if run.state.is_final()
        && !joins
        && let Some(session) = run.session.clone()
    {
        // Another run may have gone on with it.
        on_a_thread(&server, move |history| Claim::take(&history.runs, &session.id, id).map(Claim::release)).await?;
    }
    let file = run.session.as_ref().and_then(|session| match &session.path {
        Some(path) => Some(PathBuf::from(path)),
        None => sessions::file(&providers::known(&server.config, &run.provider).ok()?, &session.id),
    });
    let takeover = on_a_thread(&server, move |_| Ok(checked(chosen, file.as_deref()))).await?;
    Ok(TakeoverResult { takeover })
}

/// The way that was asked for, or the best there is.
fn choose(server: &Server, run: &Run, kind: Option<TakeoverKind>) -> Result<Takeover, Failure> {
    let ways = run.session.iter().flat_map(|session| &session.takeover);
    let mut found = match kind {
        Some(kind) => ways.clone().find(|way| way.kind == kind).cloned().ok_or_else(|| {
            let known: Vec<String> = ways.map(|way| serde_json::json!(way.kind).as_str().unwrap_or_default().to_owned()).collect();
            Failure::unsupported("takeover", format!("this session cannot be taken over so; there is {}", known.join(", ")))
        })?,
        None => best(ways.clone()).cloned().ok_or_else(|| {
            let why = ways.filter_map(|way| way.reason.clone()).next().unwrap_or_else(|| "its provider has no way".to_owned());
            Failure::unsupported("takeover", format!("the session cannot be taken over: {why}"))
        })?,
    };
    if found.command.is_none() {
        let why = found.reason.clone().unwrap_or_else(|| "its provider has no such way".to_owned());
        return Err(Failure::unsupported("takeover", format!("the session cannot be taken over so: {why}")));
    }
    // What the configuration adds to the provider's environment opens the same account.
    let env = providers::known(&server.config, &run.provider).map(|known| known.env).unwrap_or_default();
    if !env.is_empty() {
        found.env.get_or_insert_default().extend(env);
    }
    found.cwd.get_or_insert_with(|| run.cwd.clone());
    Ok(found)
}

/// The first way that was seen to work, else the first that there is.
fn best<'a>(ways: impl Iterator<Item = &'a Takeover> + Clone) -> Option<&'a Takeover> {
    let mut available = ways.filter(|way| way.command.is_some());
    available.clone().find(|way| way.verified).or_else(|| available.next())
}

/// Warns where the provider's own copy of the session is gone.
fn checked(mut takeover: Takeover, file: Option<&Path>) -> Takeover {
    if let Some(file) = file.filter(|file| !file.exists()) {
        takeover.verified = false;
        takeover.reason =
            Some(format!("the provider's own copy of the session is gone ({} is not there), so this will probably fail", file.display()));
    } else if takeover.cwd.as_ref().is_some_and(|cwd| !Path::new(cwd).is_dir()) {
        takeover.verified = false;
        takeover.reason = Some("the directory of the run is gone, so this will probably fail".to_owned());
    }
    takeover
}
