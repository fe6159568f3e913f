//! `run/get` and `run/list`.

use std::{collections::BTreeMap, ops::ControlFlow};

use super::{Request, on_a_thread};
use crate::{
    history::History,
    model::{
        Failure, Run, RunId,
        calls::{ListParams, ListResult, RunIdParams, RunResult},
        directory,
    },
    store::Filter,
};

const DEFAULT_LIMIT: u64 = 50;
const MOST: u64 = 500;

pub async fn get(params: RunIdParams, request: Request) -> Result<RunResult, Failure> {
    // A run whose supervisor is gone must not be shown as running: whoever asks first closes it.
    let id = params.run_id;
    if request.server.history.dir(id).path().exists() {
        request.server.keeper.settled(id).await?;
    }
    Ok(RunResult { run: on_a_thread(&request.server, move |history| history.known_run(id)).await? })
}

pub async fn list(params: ListParams, request: Request) -> Result<ListResult, Failure> {
    let limit = params.limit.unwrap_or(DEFAULT_LIMIT);
    if limit == 0 {
        return Err(Failure::invalid_params("limit", "`limit` must be 1 at least"));
    }
    let limit = usize::try_from(limit.min(MOST)).unwrap_or(1);
    let wrong = |_| Failure::invalid_params("cursor", "`cursor` must be the `nextCursor` of the page before");
    let before: Option<RunId> = params.cursor.as_deref().map(str::parse).transpose().map_err(wrong)?;
    request.server.keeper.settle_all(request.server.history.in_logs()?).await?;
    let params = ListParams { cwd: params.cwd.as_deref().map(directory::spelled), ..params };
    on_a_thread(&request.server, move |history| page(history, &params, before, limit)).await
}

/// The newest matching runs before `before`. What is in a log is looked up there, everything else in the store.
fn page(history: &History, params: &ListParams, before: Option<RunId>, limit: usize) -> Result<ListResult, Failure> {
    let mut live: BTreeMap<RunId, Run> = BTreeMap::new();
    for id in history.in_logs()?.into_iter().filter(|id| before.is_none_or(|before| *id < before)) {
        // It may be sealed or deleted meanwhile; then the store knows.
        if let Some(run) = history.run(id)? {
            live.insert(id, run);
        }
    }
    let mut runs: Vec<Run> = Vec::new();
    history.store.list(&filter_of(params), before, |stored| {
        while let Some(newer) = live.last_entry().filter(|newer| *newer.key() >= stored.run.id) {
            let is_same = *newer.key() == stored.run.id;
            take(&mut runs, newer.remove(), params);
            if is_same {
                return more(&runs, limit);
            }
        }
        if stored.finished {
            take(&mut runs, stored.run, params);
        }
        more(&runs, limit)
    })?;
    while runs.len() <= limit
        && let Some((_, run)) = live.pop_last()
    {
        take(&mut runs, run, params);
    }
    runs.truncate(limit + 1);
    let next_cursor = (runs.len() > limit).then(|| runs[limit - 1].id.to_string());
    runs.truncate(limit);
    Ok(ListResult { runs, next_cursor })
}

/// What the store may leave out.
fn filter_of(params: &ListParams) -> Filter {
    let mut filter = Filter::default();
    if let Some(id) = &params.session_id {
        filter = filter.session(id);
    }
    for (name, value) in &params.label {
        filter = filter.label(name, value);
    }
    if let Some(states) = &params.states {
        filter = filter.states(states);
    }
    if let Some(cwd) = &params.cwd {
        filter = filter.cwd(cwd);
    }
    if let Some(provider) = &params.provider {
        filter = filter.provider(provider);
    }
    filter
}

/// The newest run that has each of these sessions, as far as there is one.
pub fn of_sessions(history: &History, sessions: &[&str]) -> Result<BTreeMap<String, Run>, Failure> {
    let mut found: BTreeMap<String, Run> = BTreeMap::new();
    let mut take = |run: Run| {
        if let Some(session) = run.session.as_ref().filter(|session| sessions.contains(&session.id.as_str())) {
            let newest = found.get(&session.id).is_none_or(|known| known.id < run.id);
            if newest {
                found.insert(session.id.clone(), run);
            }
        }
    };
    for id in history.in_logs()? {
        if let Some(run) = history.run(id)? {
            take(run);
        }
    }
    for session in sessions {
        history.store.list(&Filter::default().session(session), None, |stored| {
            let is_it = stored.run.session.as_ref().is_some_and(|its| its.id == *session);
            take(stored.run);
            if is_it { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
    }
    Ok(found)
}

fn more(runs: &[Run], limit: usize) -> ControlFlow<()> {
    // One more than the page, so that the last page is known to be the last.
    if runs.len() > limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

fn take(runs: &mut Vec<Run>, run: Run, params: &ListParams) {
    let matches = params.states.as_ref().is_none_or(|states| states.contains(&run.state))
        && params.provider.as_ref().is_none_or(|provider| *provider == run.provider)
        && params.cwd.as_ref().is_none_or(|cwd| *cwd == run.cwd)
        && params.session_id.as_ref().is_none_or(|id| run.session.as_ref().is_some_and(|session| session.id == *id))
        && params.label.iter().all(|(name, value)| run.labels.get(name) == Some(value));
    if matches {
        runs.push(run);
    }
}
