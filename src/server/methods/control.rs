//! What is asked of a live run: cancel, interrupt, send, closeInput, sync.

use std::{sync::Arc, time::Duration};

use rustix::process::Signal;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{Request, on_a_thread};
use crate::{
    model::{
        Failure, FailureKind, Run, RunId, RunState,
        calls::{CancelParams, Prompt, RunIdParams, RunResult, SendMode, SendParams, SyncParams, SyncResult},
    },
    process::tree,
    server::{Server, link::Answer},
    supervisor::{control, words::Word},
};

/// Time that a supervisor has beyond the grace: the sweep, the last words, the sync.
const PATIENCE: Duration = Duration::from_millis(2000);
const DEFAULT_GRACE_MS: u64 = 2000;

pub async fn cancel(params: CancelParams, request: Request) -> Result<RunResult, Failure> {
    let server = Arc::clone(&request.server);
    let grace_ms = params.grace_ms.unwrap_or(DEFAULT_GRACE_MS);
    let id = params.run_id;
    let Some(mut answer) = push(&server, id, Word::Cancel { grace_ms }) else { return run_now(&server, id).await };
    loop {
        match tokio::time::timeout(Duration::from_millis(grace_ms) + PATIENCE, &mut answer).await {
            Ok(Ok(Ok(run))) => {
                return Ok(RunResult { run: serde_json::from_value(run).map_err(|error| Failure::internal(error.to_string()))? });
            }
            Ok(Ok(Err(failure))) => return Err(failure),
            // The run ended without an answer; the link has seen to it that it is closed.
            Ok(Err(_)) => {
                let run = run_now(&server, id).await?;
                if run.run.ended_at.is_some() {
                    return Ok(run);
                }
                let Some(again) = push(&server, id, Word::Cancel { grace_ms }) else { continue };
                answer = again;
            }
            Err(_) if is_responsive(&server, id).await => {}
            Err(_) => return replace_supervisor(&server, id).await,
        }
    }
}

pub async fn interrupt(params: RunIdParams, request: Request) -> Result<Value, Failure> {
    match ask(&request.server, params.run_id, Word::Interrupt).await {
        // No turn runs.
        Err(failure) if failure.kind == FailureKind::RunNotActive => Ok(json!({})),
        answered => answered,
    }
}

pub async fn send(params: SendParams, request: Request) -> Result<Value, Failure> {
    match (&params.text, &params.prompt) {
        (Some(_), Some(_)) => return Err(Failure::invalid_params("prompt", "send `text` or `prompt`, not both")),
        (None, None) => return Err(Failure::invalid_params("text", "there is nothing to send; give `text` or `prompt`")),
        _ => {}
    }
    if let Some(Prompt::Blocks(blocks)) = &params.prompt {
        super::start::check_blocks(blocks)?;
    }
    let steer = params.mode == Some(SendMode::Steer);
    ask(&request.server, params.run_id, Word::Send { text: params.text, prompt: params.prompt, steer }).await
}

pub async fn close_input(params: RunIdParams, request: Request) -> Result<Value, Failure> {
    ask(&request.server, params.run_id, Word::CloseInput).await
}

pub async fn sync(params: SyncParams, request: Request) -> Result<SyncResult, Failure> {
    let (server, id) = (&request.server, params.run_id);
    let run = on_a_thread(server, move |history| history.known_run(id)).await?;
    if params.seq.is_some_and(|seq| seq > run.last_seq) {
        let message = format!("the log ends at entry {}; there is no entry {}", run.last_seq, params.seq.unwrap_or(0));
        return Err(Failure::invalid_params("seq", message));
    }
    let seq = params.seq.unwrap_or(run.last_seq);
    if run.durable_seq >= seq {
        return Ok(SyncResult { durable_seq: run.durable_seq });
    }
    if let Some(mut answer) = push(server, id, Word::Sync { seq: Some(seq) })
        && let Some(result) = wait_for(server, id, &mut answer).await?
    {
        return Ok(SyncResult { durable_seq: result?.as_u64().unwrap_or(0) });
    }
    // The run has ended meanwhile, and a log is made durable at its end.
    let run = run_now(server, id).await?.run;
    match run.durable_seq >= seq {
        true => Ok(SyncResult { durable_seq: run.durable_seq }),
        false => Err(Failure::store(server.history.dir(id).path(), "the log could not be made durable; see whether the disk is full")),
    }
}

/// Sends a word to a live run, in order. `None`: the run has no link, for it is not live.
fn push(server: &Arc<Server>, id: RunId, word: Word) -> Option<Answer> {
    Some(server.links.of(server, id)?.push(word))
}

/// Asks a live run for something that only a live one can do.
pub async fn ask<R: DeserializeOwned>(server: &Arc<Server>, id: RunId, word: Word) -> Result<R, Failure> {
    if let Some(mut answer) = push(server, id, word)
        && let Some(result) = wait_for(server, id, &mut answer).await?
    {
        return serde_json::from_value(result?).map_err(|error| Failure::internal(error.to_string()));
    }
    let run = run_now(server, id).await?.run;
    Err(Failure::run_not_active(run.state))
}

/// Waits for an answer for as long as the supervisor answers anything at all. `None`: the run ended before.
pub async fn wait_for(server: &Arc<Server>, id: RunId, answer: &mut Answer) -> Result<Option<Result<Value, Failure>>, Failure> {
    loop {
        match tokio::time::timeout(PATIENCE, &mut *answer).await {
            Ok(answered) => return Ok(answered.ok()),
            Err(_) if is_responsive(server, id).await => {}
            Err(_) => {
                return Err(Failure::internal(format!(
                    "the supervisor of run {id} does not answer (is it stopped?); `run/cancel` ends both"
                )));
            }
        }
    }
}

pub async fn run_now(server: &Arc<Server>, id: RunId) -> Result<RunResult, Failure> {
    Ok(RunResult { run: on_a_thread(server, move |history| history.known_run(id)).await? })
}

/// Whether the run's supervisor answers anything at all.
async fn is_responsive(server: &Arc<Server>, id: RunId) -> bool {
    match push(server, id, Word::Sync { seq: Some(0) }) {
        // A link that has ended: what became of the run is known by now.
        None => true,
        Some(answer) => tokio::time::timeout(PATIENCE, answer).await.is_ok(),
    }
}

/// Ends a supervisor that does not answer (stopped, hung) and closes its run. The program dies with it.
async fn replace_supervisor(server: &Arc<Server>, id: RunId) -> Result<RunResult, Failure> {
    let dir = server.history.dir(id);
    let stream = control::connect(dir.path()).await.ok();
    let pid = stream.and_then(|stream| stream.peer_cred().ok()?.pid()).and_then(|pid| u32::try_from(pid).ok());
    server.verdicts.lock().expect("nobody panics while holding this").insert(id, RunState::Cancelled);
    if let Some(process) = pid.and_then(|pid| tree::all().ok()?.remove(&pid)) {
        tracing::warn!(run = %id, pid, "the supervisor does not answer and is ended");
        tree::signal(&process, Signal::KILL)
            .map_err(|error| Failure::internal(format!("the run's supervisor does not answer and cannot be ended: {error}")))?;
    }
    loop {
        server.keeper.settle(id).await?;
        let run: Run = run_now(server, id).await?.run;
        if run.ended_at.is_some() {
            return Ok(RunResult { run });
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
