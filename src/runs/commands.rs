//! Commands to the supervisors of live runs, also to one that does not answer.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{PendingReply, RunsHandle};
use crate::{
    model::{Failure, Run, RunId, RunState, control::Command},
    process::{Signal, ancestry::EnclosingRuns, tree},
    supervisor::control,
};

/// How long a supervisor may take to answer; for a cancel, beyond the grace: it sweeps, writes the final entry and
/// syncs.
const REPLY_TIMEOUT: Duration = Duration::from_millis(2000);
/// How often a run is looked at whose supervisor was killed, until it is closed.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

impl RunsHandle {
    /// Pushes a command to a live run, in the order of the calls. `None`: the run has no link, for it is not live.
    pub(crate) fn push_command(&self, id: RunId, command: Command) -> Option<PendingReply> {
        Some(self.links.find(id)?.push(command))
    }

    /// Sends a command to a live run and waits for the reply. Fails with `runNotActive` if the run has ended.
    pub(crate) async fn send_command<R: DeserializeOwned>(&self, id: RunId, command: Command) -> Result<R, Failure> {
        if let Some(mut answer) = self.push_command(id, command)
            && let Some(result) = self.wait_for_reply(id, &mut answer).await?
        {
            return serde_json::from_value(result?).map_err(|error| Failure::internal(error.to_string()));
        }
        Err(Failure::run_not_active(self.current_run(id).await?.state))
    }

    /// Waits for a reply for as long as the supervisor answers anything at all. `None`: the run ended before.
    pub(crate) async fn wait_for_reply(&self, id: RunId, answer: &mut PendingReply) -> Result<Option<Result<Value, Failure>>, Failure> {
        loop {
            match tokio::time::timeout(REPLY_TIMEOUT, &mut *answer).await {
                Ok(answered) => return Ok(answered.ok()),
                Err(_) if self.is_responsive(id).await => {}
                Err(_) => {
                    let message = format!("the supervisor of run {id} does not answer (is it stopped?); `run/cancel` ends both");
                    return Err(Failure::internal(message).with("runId", id.to_string()));
                }
            }
        }
    }

    /// Cancels a run, and kills a supervisor that does not do so. Returns the final run.
    pub(crate) async fn cancel(&self, id: RunId, grace_ms: u64) -> Result<Run, Failure> {
        let Some(mut answer) = self.push_command(id, Command::Cancel { grace_ms }) else { return self.current_run(id).await };
        loop {
            match tokio::time::timeout(Duration::from_millis(grace_ms) + REPLY_TIMEOUT, &mut answer).await {
                Ok(Ok(run)) => return serde_json::from_value(run?).map_err(|error| Failure::internal(error.to_string())),
                // The run ended without an answer; the link has made sure that it is closed.
                Ok(Err(_)) => {
                    let run = self.current_run(id).await?;
                    if run.ended_at.is_some() {
                        return Ok(run);
                    }
                    let Some(again) = self.push_command(id, Command::Cancel { grace_ms }) else { continue };
                    answer = again;
                }
                Err(_) if self.is_responsive(id).await => {}
                Err(_) => return self.end_supervisor(id).await,
            }
        }
    }

    /// The run as it is now.
    pub(crate) async fn current_run(&self, id: RunId) -> Result<Run, Failure> {
        let history = self.history.clone();
        let reading = tokio::task::spawn_blocking(move || history.known_run(id)).await;
        Ok(reading.map_err(|error| Failure::internal(format!("the request failed: {error}")))??)
    }

    /// Whether the run's supervisor answers anything at all.
    async fn is_responsive(&self, id: RunId) -> bool {
        match self.push_command(id, Command::Sync { seq: Some(0) }) {
            // No link: what became of the run is known by now.
            None => true,
            Some(answer) => tokio::time::timeout(REPLY_TIMEOUT, answer).await.is_ok(),
        }
    }

    /// Kills a supervisor that does not answer (stopped, hung) and closes its run. The program dies with it.
    async fn end_supervisor(&self, id: RunId) -> Result<Run, Failure> {
        // It was not asked whether this server may do so.
        if let Some(run) = EnclosingRuns::own().limits().first() {
            return Err(Failure::forbidden(*run));
        }
        let stream = control::connect(self.history.dir(id).path()).await.ok();
        let pid = stream.and_then(|stream| stream.peer_cred().ok()?.pid()).and_then(|pid| u32::try_from(pid).ok());
        self.adopter.set_final_state(id, RunState::Cancelled);
        if let Some(process) = pid.and_then(|pid| tree::all().ok()?.remove(&pid)) {
            tracing::warn!(run = %id, pid, "the supervisor does not answer; ending it");
            tree::signal(&process, Signal::KILL)
                .map_err(|error| Failure::internal(format!("the run's supervisor does not answer and cannot be ended: {error}")))?;
        }
        loop {
            self.adopter.resolve_liveness(id).await?;
            let run = self.current_run(id).await?;
            if run.ended_at.is_some() {
                return Ok(run);
            }
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }
}
