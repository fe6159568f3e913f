//! Searches the output of runs for lines that match, page by page.
//!
//! Runs are searched from the newest to the oldest, each in the order of its log, in the log and in the store alike.
//! There is no index: rows are decompressed block by block, and a block is searched as a whole before it is cut into
//! lines. A page holds a read transaction for one block at a time.

mod cursor;
mod mapped_text;
mod matcher;
mod pattern;
mod scan;
mod stream_buffer;

use std::time::Instant;

use cursor::ResumePoint;
pub(crate) use cursor::SearchCursor;
use matcher::Matcher;
pub(crate) use pattern::{Pattern, PatternError};
use scan::{ScanOutcome, Search};
use stream_buffer::WindowBounds;

use crate::{
    history::History,
    model::{Failure, RunId, calls::SearchResult},
};

/// Ids of runs that are read from the store at a time.
const RUNS_PER_LOOKUP: usize = 64;

/// When a page has to end with the hits that it has.
pub(crate) struct SearchStop<'a> {
    /// The deadline of the page.
    pub(crate) at: Instant,
    /// Whether the client has cancelled the request.
    pub(crate) is_cancelled: &'a (dyn Fn() -> bool + Sync),
}

impl SearchStop<'_> {
    fn is_over(&self) -> bool {
        (self.is_cancelled)() || Instant::now() >= self.at
    }
}

/// A page of hits: at most `limit`, from `cursor` on, in all runs or in `only_run`.
pub(crate) fn search_page(
    history: &History,
    pattern: &Pattern,
    only_run: Option<RunId>,
    cursor: Option<SearchCursor>,
    limit: usize,
    stop: &SearchStop<'_>,
) -> Result<SearchResult, Failure> {
    search_page_within(&Search { history, pattern, bounds: WindowBounds::DEFAULT, stop }, only_run, cursor, limit)
}

fn search_page_within(
    search: &Search<'_>,
    only_run: Option<RunId>,
    cursor: Option<SearchCursor>,
    limit: usize,
) -> Result<SearchResult, Failure> {
    let mut result = SearchResult { hits: Vec::new(), next_cursor: None };
    let mut matcher = Matcher::default();
    let mut runs = Runs::new(search.history, only_run, cursor)?;
    while let Some((id, resume)) = runs.next()? {
        let left = limit - result.hits.len();
        let run = match search.history.run(id) {
            // Lists show that it cannot be read; the search goes on in the others.
            Err(failure) if only_run.is_none() && search.history.dir(id).is_there() => {
                tracing::warn!(run = %id, %failure, "the run was not searched");
                None
            }
            run => run?,
        };
        if let Some(run) = run.filter(|run| run.bytes.total() > 0) {
            let scanned = match search.scan(&run, resume, left, &mut result.hits, &mut matcher) {
                // The run was deleted meanwhile.
                Err(_) if matches!(search.history.run(id), Ok(None)) => ScanOutcome::Whole,
                Err(failure) if only_run.is_none() && search.history.dir(id).is_there() => {
                    tracing::warn!(run = %id, %failure, "the run was not searched to its end");
                    ScanOutcome::Whole
                }
                scanned => scanned?,
            };
            if let ScanOutcome::Until(resume) = scanned {
                result.next_cursor = Some(SearchCursor::In(id, resume).to_string());
                return Ok(result);
            }
        }
        if search.stop.is_over() && only_run.is_none() {
            result.next_cursor = Some(SearchCursor::Before(id).to_string());
            return Ok(result);
        }
    }
    Ok(result)
}

/// The runs of a search, the newest first.
struct Runs<'a> {
    history: &'a History,
    first: Option<(RunId, ResumePoint)>,
    only_first: bool,
    /// Runs in logs, ascending. They are listed once, at the beginning, so a run that is sealed meanwhile is not
    /// missed.
    in_logs: Vec<RunId>,
    /// The next runs in the store, ascending.
    in_store: Vec<RunId>,
    before: Option<RunId>,
    store_ended: bool,
}

impl<'a> Runs<'a> {
    fn new(history: &'a History, only_run: Option<RunId>, cursor: Option<SearchCursor>) -> Result<Self, Failure> {
        let (first, before) = match cursor {
            Some(SearchCursor::In(run, resume)) => (Some((run, resume)), Some(run)),
            Some(SearchCursor::Before(run)) => (None, Some(run)),
            None => (only_run.map(|run| (run, ResumePoint::BEGIN)), None),
        };
        let mut in_logs = if only_run.is_some() { Vec::new() } else { history.runs_in_logs()? };
        in_logs.sort();
        Ok(Self { history, first, only_first: only_run.is_some(), in_logs, in_store: Vec::new(), before, store_ended: false })
    }

    fn next(&mut self) -> Result<Option<(RunId, ResumePoint)>, Failure> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        if self.only_first {
            return Ok(None);
        }
        if self.in_store.is_empty() && !self.store_ended {
            self.in_store = self.history.store.ids_before(self.before, RUNS_PER_LOOKUP)?;
            self.in_store.reverse();
            self.store_ended = self.in_store.len() < RUNS_PER_LOOKUP;
        }
        let is_new = |id: &RunId| self.before.is_none_or(|before| *id < before);
        while self.in_logs.last().is_some_and(|id| !is_new(id)) {
            self.in_logs.pop();
        }
        while self.in_store.last().is_some_and(|id| !is_new(id)) {
            self.in_store.pop();
        }
        self.before = self.in_logs.last().max(self.in_store.last()).copied().or(self.before);
        let is_there = !self.in_logs.is_empty() || !self.in_store.is_empty();
        Ok(self.before.filter(|_| is_there).map(|id| (id, ResumePoint::BEGIN)))
    }
}

#[cfg(test)]
mod tests;
