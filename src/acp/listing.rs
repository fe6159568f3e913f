//! The list of sessions, new ones, and their deletion.

use std::{collections::BTreeSet, sync::Arc};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    chain::{COMMAND_LABEL, is_command},
    front_end::FrontEnd,
    offer::is_named,
    session::{AcpSession, AgentSettings},
    wire::{ListSessionsParams, NewSessionParams, SessionParams},
};
use crate::model::{
    Failure, Run, RunId, RunState,
    calls::{CancelParams, ListParams, RunIdParams},
    methods::{RunCancel, RunDelete, RunList},
};

/// Runs of one page of the list.
const PAGE_RUNS: u64 = 100;

impl FrontEnd {
    /// Handles `session/new`. An agent that can wait for its first prompt is started now, so that the client learns what
    /// it offers, or why it does not start.
    pub(super) async fn new_session(self: &Arc<Self>, params: &NewSessionParams) -> Result<Arc<AcpSession>, Failure> {
        let settings = AgentSettings { mcp_servers: params.mcp_servers.clone(), ..self.default_settings().await? };
        let session = if self.capabilities(&settings.provider).await?.send {
            let run = self.start_run(&settings, &params.cwd, None, None, None).await?;
            let session = AcpSession::new(run.id, run.cwd.clone(), settings);
            session.state().begin_run(run, true, self.client().forms);
            session
        } else {
            AcpSession::new(RunId::new(), params.cwd.clone(), settings)
        };
        self.sessions.lock().insert(session.id, Arc::clone(&session));
        Ok(session)
    }

    /// Handles `session/list`: sessions of agents that had a prompt, and commands that a session started, newest first.
    pub(super) async fn list_sessions(self: Arc<Self>, params: ListSessionsParams) -> Result<Value, Failure> {
        let list = ListParams { cwd: params.cwd, cursor: params.cursor, limit: Some(PAGE_RUNS), ..ListParams::default() };
        let page = self.call(RunList, list).await?;
        let (mut sessions, mut listed) = (Vec::new(), BTreeSet::new());
        for run in page.runs.iter().filter(|run| is_session(run)) {
            let id = if is_command(run) { run.id } else { self.session_id_of(run).await? };
            if listed.insert(id) && self.is_newest(run).await? {
                sessions.push(listed_session(id, run));
            }
        }
        Ok(json!({ "sessions": sessions, "nextCursor": page.next_cursor }))
    }

    /// Whether no later run has the run's session, which would be listed in its place.
    async fn is_newest(&self, run: &Run) -> Result<bool, Failure> {
        let Some(session) = &run.session else { return Ok(true) };
        let params = ListParams {
            provider: Some(run.provider.clone()),
            session_id: Some(session.id.clone()),
            limit: Some(1),
            ..ListParams::default()
        };
        Ok(self.call(RunList, params).await?.runs.first().is_none_or(|newest| newest.id == run.id))
    }

    /// Handles `session/delete`: deletes all runs of a session. One that works is cancelled only by `session/cancel`.
    pub(super) async fn delete_session(self: Arc<Self>, params: SessionParams) -> Result<Value, Failure> {
        let runs = self.runs_of(params.session_id).await?;
        if let Some(run) = runs.iter().find(|run| !run.state.is_final() && run.state != RunState::Idle) {
            return Err(Failure::run_active(run.state));
        }
        self.sessions.lock().remove(&params.session_id);
        for run in runs {
            if !run.state.is_final() {
                self.call(RunCancel, CancelParams { run_id: run.id, grace_ms: None }).await?;
            }
            self.call(RunDelete, RunIdParams { run_id: run.id }).await?;
        }
        Ok(json!({}))
    }

    /// Removes the runs of sessions that never had a prompt. The client has gone, and nobody would look for them.
    pub(super) async fn discard_unused(&self) {
        let sessions: Vec<_> = self.sessions.lock().values().cloned().collect();
        for session in sessions {
            let run = session.run().filter(|run| !is_session(run) && !run.state.is_final() && session.state().prompts.is_empty());
            if let Some(run) = run {
                // Another client may have prompted it meanwhile, so its state is asked for.
                let is_unused = self.runs_of(run.id).await.is_ok_and(|runs| runs.iter().all(|run| !is_session(run)));
                if is_unused {
                    self.discard(run).await.ok();
                }
            }
        }
    }
}

/// Whether a run is listed: an agent's with a prompt, or a command that belongs to a session.
fn is_session(run: &Run) -> bool {
    match is_command(run) {
        false => run.turn.is_some() || run.queued.is_some_and(|count| count > 0) || run.params.contains_key("prompt"),
        true => run.labels.contains_key(COMMAND_LABEL),
    }
}

fn listed_session(id: RunId, run: &Run) -> Value {
    let updated_at = run.ended_at.unwrap_or(run.started_at.unwrap_or(run.created_at));
    let updated_at = i64::try_from(updated_at).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    json!({
        "sessionId": id,
        "cwd": run.cwd,
        "title": is_named(run).then(|| run.display_title.clone()),
        "updatedAt": updated_at.map(|at| at.to_string()),
        "_meta": { "loomd": { "runId": run.id, "seq": run.last_seq, "state": run.state, "provider": run.provider } },
    })
}
