//! The runs of a session: one run, and those that resumed it, by whatever client.
//!
//! The id of a session is that of its first run. A session whose agent handles one prompt a run, or whose agent was
//! exchanged before its first prompt, has an id of its own; its runs have that as a label.

use std::collections::{BTreeMap, BTreeSet};

use super::front_end::FrontEnd;
use crate::model::{
    Failure, FailureKind, Run, RunId,
    calls::{ListParams, RunIdParams},
    methods::{RunGet, RunList},
};

/// The label of a run that belongs to a session with another id.
pub(super) const SESSION_LABEL: &str = "acp.session";

/// The label of a command that a session started: by it the command's run is listed as a session.
pub(super) const COMMAND_LABEL: &str = "acp.command";

/// Most runs in one page of `run/list`.
const MAX_PAGE_RUNS: u64 = 500;

impl FrontEnd {
    /// The runs of a session, oldest first. At least one, or `runNotFound`.
    pub(super) async fn runs_of(&self, session: RunId) -> Result<Vec<Run>, Failure> {
        let mut runs = BTreeMap::new();
        match self.call(RunGet, RunIdParams { run_id: session }).await {
            Ok(found) => drop(runs.insert(found.run.id, found.run)),
            Err(failure) if failure.kind == FailureKind::RunNotFound => {}
            Err(failure) => return Err(failure),
        }
        let label = [(SESSION_LABEL.to_owned(), session.to_string())].into();
        let labelled = self.list_all(ListParams { label, ..ListParams::default() }).await?;
        runs.extend(labelled.into_iter().map(|run| (run.id, run)));
        let mut listed = BTreeSet::new();
        loop {
            let next = runs.values().filter_map(session_of).find(|key| !listed.contains(key));
            let Some((provider, provider_session)) = next else { break };
            listed.insert((provider.clone(), provider_session.clone()));
            let params = ListParams { provider: Some(provider), session_id: Some(provider_session), ..ListParams::default() };
            let related = self.list_all(params).await?.into_iter().filter(|run| belongs(run, session));
            runs.extend(related.map(|run| (run.id, run)));
        }
        if runs.is_empty() { Err(Failure::run_not_found(session)) } else { Ok(runs.into_values().collect()) }
    }

    /// All runs that match.
    pub(super) async fn list_all(&self, params: ListParams) -> Result<Vec<Run>, Failure> {
        let mut params = ListParams { limit: Some(MAX_PAGE_RUNS), ..params };
        let mut runs = Vec::new();
        loop {
            let page = self.call(RunList, &params).await?;
            runs.extend(page.runs);
            match page.next_cursor {
                Some(cursor) => params.cursor = Some(cursor),
                None => return Ok(runs),
            }
        }
    }

    /// The id of the session that a run belongs to.
    pub(super) async fn session_id_of(&self, run: &Run) -> Result<RunId, Failure> {
        let mut first = run.clone();
        loop {
            if let Some(labelled) = label_of(&first) {
                return Ok(labelled);
            }
            let Some(parent) = first.parent_run_id else { return Ok(first.id) };
            match self.call(RunGet, RunIdParams { run_id: parent }).await {
                Ok(found) => first = found.run,
                // It was deleted: the session begins with the oldest run that is left.
                Err(failure) if failure.kind == FailureKind::RunNotFound => return Ok(first.id),
                Err(failure) => return Err(failure),
            }
        }
    }
}

/// Whether a run is a command, which takes no prompts.
pub(super) fn is_command(run: &Run) -> bool {
    run.provider == "command"
}

fn session_of(run: &Run) -> Option<(String, String)> {
    Some((run.provider.clone(), run.session.as_ref()?.id.clone()))
}

fn label_of(run: &Run) -> Option<RunId> {
    run.labels.get(SESSION_LABEL)?.parse().ok()
}

fn belongs(run: &Run, session: RunId) -> bool {
    label_of(run).is_none_or(|labelled| labelled == session)
}
