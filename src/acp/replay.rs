//! Opens sessions that exist: `session/load` sends the whole log's updates before it answers, `session/resume` none, and
//! both what comes after a position, if the client names one.

use std::sync::Arc;

use super::{
    front_end::FrontEnd,
    session::{AcpSession, AgentSettings, SessionEffect},
    wire::{OpenSessionParams, UpdatePosition},
};
use crate::model::{Failure, Kind, Run, RunId, calls::ReadParams, methods::RunRead};

/// Bytes of the log that are read and sent at a time.
const REPLAY_PAGE_BYTES: u64 = 1 << 20;

/// Which updates of the log the client gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReplayStart {
    Nothing,
    Everything,
    After(UpdatePosition),
}

impl FrontEnd {
    /// Opens a session for the client, and sends the updates that it wants. The session's run is followed afterwards.
    pub(super) async fn open_session(self: &Arc<Self>, params: &OpenSessionParams, loads: bool) -> Result<Arc<AcpSession>, Failure> {
        let start = match params.after()? {
            Some(position) => ReplayStart::After(position),
            None if loads => ReplayStart::Everything,
            None => ReplayStart::Nothing,
        };
        let runs = self.runs_of(params.session_id).await?;
        let newest = runs.last().expect("a session has a run");
        let start = checked(start, &runs)?;
        let known = self.sessions.lock().get(&params.session_id).cloned();
        let session = known.unwrap_or_else(|| AcpSession::new(params.session_id, newest.cwd.clone(), AgentSettings::of(newest)));
        let _sending = session.sending.lock().await;
        session.state().settings.mcp_servers = params.mcp_servers.clone();
        if session.state().live {
            self.stop_following(&session).await;
        }
        let given_up = session.state().prompts.clear();
        given_up.into_iter().for_each(|due| drop(due.done.send(due.outcome)));
        self.sessions.lock().insert(session.id, Arc::clone(&session));
        for (index, run) in runs.iter().enumerate() {
            self.replay(&session, run.clone(), index == 0, start).await?;
        }
        Ok(Arc::clone(&session))
    }

    /// Shows a run from its beginning and sends its updates up to its newest entry.
    pub(super) async fn replay(&self, session: &AcpSession, run: Run, is_first: bool, start: ReplayStart) -> Result<(), Failure> {
        let run_id = run.id;
        let kinds = {
            let mut state = session.state();
            state.begin_run(run, is_first, self.client().forms);
            let with_output = state.translator.as_ref().is_some_and(|translator| translator.needs_output());
            let kinds = [Kind::Update, Kind::State, Kind::Permission, Kind::Session];
            kinds.into_iter().chain(with_output.then_some(Kind::Output)).collect::<Vec<_>>()
        };
        let mut after_seq = 0;
        loop {
            let params = ReadParams {
                run_id,
                after_seq: Some(after_seq),
                before_seq: None,
                max_bytes: Some(REPLAY_PAGE_BYTES),
                kinds: Some(kinds.clone()),
            };
            let page = self.call(RunRead, params).await?;
            let next = page.next_after_seq.unwrap_or(after_seq);
            let updates = {
                let mut state = session.state();
                let mut updates = Vec::new();
                for entry in &page.entries {
                    for effect in state.take(entry, true) {
                        match effect {
                            SessionEffect::Update(update) if start.includes(run_id, entry.seq()) => updates.push((entry.seq(), update)),
                            // The prompts of this client were given up; questions are asked when the run is followed.
                            _ => {}
                        }
                    }
                }
                state.cursor = next;
                updates
            };
            self.send_updates(session.id, run_id, &updates).await;
            if page.at_end != Some(false) || next == after_seq {
                return Ok(());
            }
            after_seq = next;
        }
    }
}

impl ReplayStart {
    fn includes(self, run_id: RunId, seq: u64) -> bool {
        match self {
            Self::Nothing => false,
            Self::Everything => true,
            // Ids sort by time of creation, and so do the runs of a session.
            Self::After(UpdatePosition { run_id: Some(position), seq: after }) => run_id > position || run_id == position && seq > after,
            Self::After(UpdatePosition { run_id: None, .. }) => true,
        }
    }
}

/// Completes a position with its run, and refuses one that the session has not.
fn checked(start: ReplayStart, runs: &[Run]) -> Result<ReplayStart, Failure> {
    let ReplayStart::After(position) = start else { return Ok(start) };
    let run = match position.run_id {
        Some(id) => runs.iter().find(|run| run.id == id),
        None => runs.first(),
    };
    let Some(run) = run else {
        return Err(Failure::invalid_params("_meta.loomd.runId", "`_meta.loomd.runId` is no run of this session"));
    };
    if position.seq > run.last_seq {
        let message = format!("`_meta.loomd.afterSeq` is behind the end of the run, whose newest entry is {}", run.last_seq);
        return Err(Failure::invalid_params("_meta.loomd.afterSeq", message));
    }
    Ok(ReplayStart::After(UpdatePosition { run_id: Some(run.id), ..position }))
}
