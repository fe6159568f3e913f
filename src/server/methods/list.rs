//! Finding runs: by id (`run/get`), by what they are (`run/list`), by what they wrote (`run/search`).

use std::{
    cmp::max,
    collections::BTreeMap,
    ops::ControlFlow,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{MAX_UNREAD_BYTES, Request, on_blocking_thread};
use crate::{
    history::History,
    model::{
        Failure, Run, RunId,
        calls::{ListParams, ListResult, RunIdParams, RunResult, SearchParams, SearchResult},
        run::normalize_directory,
    },
    runs::Unsealed,
    search::{Pattern, PatternError, SearchCursor, SearchStop, search_page},
    store::Filter,
    transcript::touched::UnsealedFiles,
    transcript::touched::searched_path,
};

const DEFAULT_PAGE_RUNS: u64 = 50;
const MAX_PAGE_RUNS: u64 = 500;
const DEFAULT_PAGE_HITS: u64 = 50;
const MAX_PAGE_HITS: u64 = 1000;
/// When a page is answered, counted from its request; this leaves the client a part of its second.
const PAGE_TIMEOUT: Duration = Duration::from_millis(750);
/// A request that has waited so long for a permit is answered with nothing but the cursor to begin from.
const QUEUE_TIMEOUT: Duration = Duration::from_millis(650);
/// The least time that a page is searched for, however long it waited for its permit.
const MIN_PAGE_TIME: Duration = Duration::from_millis(100);

pub(crate) async fn get(params: RunIdParams, request: Request) -> Result<RunResult, Failure> {
    // A run whose supervisor is gone must not be shown as running: the first server that gets a request about it closes
    // it.
    let id = params.run_id;
    request.server.runs.ensure_liveness(id).await?;
    Ok(RunResult { run: super::known_run(&request.server, id).await? })
}

pub(crate) async fn list(params: ListParams, request: Request) -> Result<ListResult, Failure> {
    let limit = params.limit.unwrap_or(DEFAULT_PAGE_RUNS);
    if limit == 0 {
        return Err(Failure::invalid_params("limit", "`limit` must be at least 1"));
    }
    let limit = usize::try_from(limit.min(MAX_PAGE_RUNS)).unwrap_or(1);
    let invalid_cursor = |_| Failure::invalid_params("cursor", "`cursor` must be the `nextCursor` of the previous page");
    let before: Option<RunId> = params.cursor.as_deref().map(str::parse).transpose().map_err(invalid_cursor)?;
    let no_file = || Failure::invalid_params("touched", "`touched` must be the path of a file");
    let touched = params.touched.as_deref().map(|path| searched_path(path).ok_or_else(no_file)).transpose()?;
    let params = ListParams { cwd: params.cwd.as_deref().map(normalize_directory), touched, ..params };
    let sources = ListSources { unsealed: request.server.runs.unsealed(), files: Arc::clone(&request.server.unsealed_files) };
    on_blocking_thread(&request.server, move |history| sources.page(history, &params, before, limit)).await
}

/// What knows the runs that are not sealed yet.
struct ListSources {
    unsealed: Unsealed,
    files: Arc<UnsealedFiles>,
}

impl ListSources {
    /// The newest matching runs before `before`. Runs in logs are read there, all others in the store.
    fn page(&self, history: &History, params: &ListParams, before: Option<RunId>, limit: usize) -> Result<ListResult, Failure> {
        let live_only = params.states.as_ref().is_some_and(|states| states.iter().all(|state| !state.is_final()));
        self.files.forget_sealed(history);
        // One run more than the page shows whether there is a next page.
        let mut live =
            self.unsealed.newest(before, limit + 1, live_only, |run| matches(run, params) && self.names(history, run, params))?;
        let mut runs: Vec<Run> = Vec::new();
        history.store.list(&filter_of(params), before, |stored| {
            while let Some(newer) = live.last_entry().filter(|newer| *newer.key() >= stored.run.id) {
                let is_same = *newer.key() == stored.run.id;
                runs.push(newer.remove());
                if is_same {
                    return continue_until(&runs, limit);
                }
            }
            if stored.finished && matches(&stored.run, params) {
                runs.push(stored.run);
            }
            continue_until(&runs, limit)
        })?;
        while runs.len() <= limit
            && let Some((_, run)) = live.pop_last()
        {
            runs.push(run);
        }
        runs.truncate(limit + 1);
        let next_cursor = (runs.len() > limit).then(|| runs[limit - 1].id.to_string());
        runs.truncate(limit);
        Ok(ListResult { runs, next_cursor })
    }

    /// Whether a run that is not sealed names the file that is asked for. One that cannot be read is not known to.
    fn names(&self, history: &History, run: &Run, params: &ListParams) -> bool {
        params.touched.as_ref().is_none_or(|path| self.files.name(history, run, path).unwrap_or(false))
    }
}

/// The filter for what the store may leave out.
fn filter_of(params: &ListParams) -> Filter {
    let mut filter = Filter::default();
    if let Some(path) = &params.touched {
        filter = filter.touched(path);
    }
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

/// The newest run of each of these sessions, if there is one.
pub(crate) fn newest_runs_of_sessions(history: &History, sessions: &[&str]) -> Result<BTreeMap<String, Run>, Failure> {
    let mut newest_runs: BTreeMap<String, Run> = BTreeMap::new();
    let mut keep_newest = |run: Run| {
        if let Some(session) = run.session.as_ref().filter(|session| sessions.contains(&session.id.as_str())) {
            let newest = newest_runs.get(&session.id).is_none_or(|known| known.id < run.id);
            if newest {
                newest_runs.insert(session.id.clone(), run);
            }
        }
    };
    for id in history.runs_in_logs()? {
        // A run that cannot be read has no session that is known.
        if let Ok(Some(run)) = history.run(id) {
            keep_newest(run);
        }
    }
    for session in sessions {
        history.store.list(&Filter::default().session(session), None, |stored| {
            let is_match = stored.run.session.as_ref().is_some_and(|its| its.id == *session);
            keep_newest(stored.run);
            if is_match { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
    }
    Ok(newest_runs)
}

fn continue_until(runs: &[Run], limit: usize) -> ControlFlow<()> {
    // One run more than the page shows whether there is a next page.
    if runs.len() > limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

fn matches(run: &Run, params: &ListParams) -> bool {
    params.states.as_ref().is_none_or(|states| states.contains(&run.state))
        && params.provider.as_ref().is_none_or(|provider| *provider == run.provider)
        && params.cwd.as_ref().is_none_or(|cwd| *cwd == run.cwd)
        && params.session_id.as_ref().is_none_or(|id| run.session.as_ref().is_some_and(|session| session.id == *id))
        && params.label.iter().all(|(name, value)| run.labels.get(name) == Some(value))
}

pub(crate) async fn search(params: SearchParams, request: Request) -> Result<SearchResult, Failure> {
    let received_at = Instant::now();
    let SearchParams { query, regex, ignore_case, run_id, limit, cursor } = params;
    let (is_regex, ignore_case) = (regex.unwrap_or(false), ignore_case.unwrap_or(false));
    let invalid_query = |error: PatternError| Failure::invalid_params("query", error.to_string());
    Pattern::check(&query, is_regex).map_err(invalid_query)?;
    let limit = limit.unwrap_or(DEFAULT_PAGE_HITS);
    if !(1..=MAX_PAGE_HITS).contains(&limit) {
        return Err(Failure::invalid_params("limit", format!("`limit` must be between 1 and {MAX_PAGE_HITS}; the next page has more")));
    }
    let cursor = cursor.as_deref().map(str::parse::<SearchCursor>).transpose();
    let cursor = cursor.ok().filter(|cursor| cursor.is_none_or(|cursor| cursor.is_of(run_id)));
    let invalid_cursor =
        || Failure::invalid_params("cursor", "`cursor` must be the `nextCursor` of the previous page; leave it out to start over");
    let cursor = cursor.ok_or_else(invalid_cursor)?;
    let server = &request.server;
    // A request that waits and is given up must not be searched.
    let cancel = request.context.cancel.child_token();
    let _turn = tokio::select! {
        turn = server.searches.acquire() => turn,
        () = cancel.cancelled() => return Err(Failure::cancelled()),
        () = tokio::time::sleep_until((received_at + QUEUE_TIMEOUT).into()) => {
            let next = cursor.unwrap_or_else(|| SearchCursor::beginning(run_id));
            return Ok(SearchResult { hits: Vec::new(), next_cursor: Some(next.to_string()) });
        }
    };
    server.out.control_below(MAX_UNREAD_BYTES).await;
    // A connection that ends drops this guard, which cancels the work on the other thread.
    let _guard = cancel.clone().drop_guard();
    on_blocking_thread(server, move |history| {
        if let Some(run) = run_id {
            history.known_run(run)?;
        }
        // Not before its turn, and not where other requests would have to wait for it.
        let pattern = Pattern::new(&query, is_regex, ignore_case).map_err(invalid_query)?;
        let stop =
            SearchStop { at: max(received_at + PAGE_TIMEOUT, Instant::now() + MIN_PAGE_TIME), is_cancelled: &|| cancel.is_cancelled() };
        search_page(history, &pattern, run_id, cursor, limit as usize, &stop)
    })
    .await
}
