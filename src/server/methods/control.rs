//! `run/cancel`, `run/interrupt`, `run/send`, `run/queue`, `run/unqueue`, `run/setSize`, `run/closeInput`, `run/sync`: the commands to a live run.

use super::Request;
use crate::model::{
    Failure, FailureKind, TerminalSize,
    calls::{
        CancelParams, Empty, Prompt, QueueResult, QueuedPrompt, RunIdParams, RunResult, SendMode, SendParams, SendResult, SetSizeParams,
        SyncParams, SyncResult, UnqueueParams,
    },
    control::Command,
};

/// The grace of a cancel that names none.
const DEFAULT_GRACE_MS: u64 = 2000;

/// Longest token of a `run/send`, of which a supervisor keeps some.
const MAX_TOKEN_BYTES: usize = 256;

pub(crate) async fn cancel(params: CancelParams, request: Request) -> Result<RunResult, Failure> {
    Ok(RunResult { run: request.server.runs.cancel(params.run_id, params.grace_ms.unwrap_or(DEFAULT_GRACE_MS)).await? })
}

pub(crate) async fn interrupt(params: RunIdParams, request: Request) -> Result<Empty, Failure> {
    match request.server.runs.send_command(params.run_id, Command::Interrupt).await {
        // A run that has ended has no turn to interrupt.
        Err(failure) if failure.kind == FailureKind::RunNotActive => Ok(Empty {}),
        answered => answered,
    }
}

pub(crate) async fn send(params: SendParams, request: Request) -> Result<SendResult, Failure> {
    match (&params.text, &params.prompt) {
        (Some(_), Some(_)) => return Err(Failure::invalid_params("prompt", "send `text` or `prompt`, not both")),
        (None, None) => return Err(Failure::invalid_params("text", "there is nothing to send; give `text` or `prompt`")),
        _ => {}
    }
    if let Some(Prompt::Blocks(blocks)) = &params.prompt {
        super::start::check_blocks(blocks)?;
    }
    let SendParams { run_id, text, prompt, mode, client_token } = params;
    let steer = mode == Some(SendMode::Steer);
    let command = match client_token {
        Some(token) if token.is_empty() || token.len() > MAX_TOKEN_BYTES => {
            return Err(Failure::invalid_params("clientToken", format!("a token has 1 to {MAX_TOKEN_BYTES} bytes")));
        }
        Some(token) => Command::SendOnce { token, text, prompt, steer },
        None => Command::Send { text, prompt, steer },
    };
    request.server.runs.send_command(run_id, command).await
}

pub(crate) async fn queue(params: RunIdParams, request: Request) -> Result<QueueResult, Failure> {
    request.server.runs.send_command(params.run_id, Command::Queue).await
}

pub(crate) async fn unqueue(params: UnqueueParams, request: Request) -> Result<QueuedPrompt, Failure> {
    request.server.runs.send_command(params.run_id, Command::Unqueue { prompt_id: params.prompt_id }).await
}

/// A supervisor of an older version knows no sizes, and its runs have no `tty`, so it is not asked.
pub(crate) async fn set_size(params: SetSizeParams, request: Request) -> Result<Empty, Failure> {
    let (server, id) = (&request.server, params.run_id);
    let size = TerminalSize::new(params.rows, params.cols)?;
    let sent = match server.runs.links.find(id) {
        // The place in the order is settled before anything is waited for.
        Some(link) if server.history.run(id)?.is_some_and(|run| run.tty.is_some()) => Some(link.push(Command::SetSize(size))),
        _ => None,
    };
    if let Some(mut answer) = sent
        && let Some(result) = server.runs.wait_for_reply(id, &mut answer).await?
    {
        return result.map(|_| Empty {});
    }
    let run = server.runs.current_run(id).await?;
    Err(match run.tty {
        None => {
            Failure::unsupported("setSize", "the run has no terminal, or its supervisor is too old to change its size; start it with `tty`")
        }
        Some(_) => Failure::run_not_active(run.state),
    })
}

pub(crate) async fn close_input(params: RunIdParams, request: Request) -> Result<Empty, Failure> {
    request.server.runs.send_command(params.run_id, Command::CloseInput).await
}

pub(crate) async fn sync(params: SyncParams, request: Request) -> Result<SyncResult, Failure> {
    let (server, id) = (&request.server, params.run_id);
    let run = super::known_run(server, id).await?;
    if params.seq.is_some_and(|seq| seq > run.last_seq) {
        let message = format!("the log ends at entry {}; there is no entry {}", run.last_seq, params.seq.unwrap_or(0));
        return Err(Failure::invalid_params("seq", message));
    }
    let seq = params.seq.unwrap_or(run.last_seq);
    if run.durable_seq >= seq {
        return Ok(SyncResult { durable_seq: run.durable_seq });
    }
    if let Some(mut answer) = server.runs.push_command(id, Command::Sync { seq: Some(seq) })
        && let Some(result) = server.runs.wait_for_reply(id, &mut answer).await?
    {
        return Ok(SyncResult { durable_seq: result?.as_u64().unwrap_or(0) });
    }
    // The run has ended meanwhile, and the end of a run makes its log durable.
    let run = server.runs.current_run(id).await?;
    match run.durable_seq >= seq {
        true => Ok(SyncResult { durable_seq: run.durable_seq }),
        false => Err(Failure::store(server.history.dir(id).path(), "the log could not be made durable; check whether the disk is full")),
    }
}
