//! Finds lines in the output of runs, page by page.
//!
//! Runs are searched from the newest to the oldest, each in the order of its log, in the log and in the store alike. There is no index:
//! rows are decompressed block by block and searched whole, before lines are cut. A page holds a read transaction for one block at a time.

mod cursor;
mod expression;
mod look;
mod pattern;
mod place;
mod scan;
mod strand;
#[cfg(test)]
mod tests;
mod view;

use std::time::Instant;

pub use cursor::Cursor;
use cursor::Resume;
use look::Looker;
pub use pattern::Pattern;
use place::Bounds;
use scan::{Scanned, Search};

use crate::{
    history::History,
    model::{Failure, RunId, calls::SearchResult},
};

/// Ids of runs that are looked up at a time.
const IDS: usize = 64;

/// When a page has to end.
pub struct Stop<'a> {
    /// The time is over: the page is answered with what it has.
    pub at: Instant,
    /// Nobody waits for it any more.
    pub is_cancelled: &'a (dyn Fn() -> bool + Sync),
}

impl Stop<'_> {
    fn is_over(&self) -> bool {
        (self.is_cancelled)() || Instant::now() >= self.at
    }
}

/// A page of hits: at most `limit`, from `cursor` on; of all runs, or of one.
pub fn page(
    history: &History,
    pattern: &Pattern,
    only: Option<RunId>,
    cursor: Option<Cursor>,
    limit: usize,
    stop: &Stop<'_>,
) -> Result<SearchResult, Failure> {
    page_within(&Search { history, pattern, bounds: Bounds::USUAL, stop }, only, cursor, limit)
}

fn page_within(search: &Search<'_>, only: Option<RunId>, cursor: Option<Cursor>, limit: usize) -> Result<SearchResult, Failure> {
    let mut result = SearchResult { hits: Vec::new(), next_cursor: None };
    let mut looker = Looker::default();
    let mut runs = Runs::new(search.history, only, cursor)?;
    while let Some((id, resume)) = runs.next()? {
        let left = limit - result.hits.len();
        if let Some(run) = search.history.run(id)?.filter(|run| run.bytes.total() > 0) {
            let scanned = match search.scan(&run, resume, left, &mut result.hits, &mut looker) {
                // It was deleted meanwhile.
                Err(_) if matches!(search.history.run(id), Ok(None)) => Scanned::Whole,
                scanned => scanned?,
            };
            if let Scanned::Until(resume) = scanned {
                result.next_cursor = Some(Cursor::In(id, resume).to_string());
                return Ok(result);
            }
        }
        if search.stop.is_over() && only.is_none() {
            result.next_cursor = Some(Cursor::Before(id).to_string());
            return Ok(result);
        }
    }
    Ok(result)
}

/// The runs of a search, the newest first.
struct Runs<'a> {
    history: &'a History,
    first: Option<(RunId, Resume)>,
    only_first: bool,
    /// Those in logs and those in the store, each ascending. What is sealed meanwhile is in the first, so it is met all the same.
    in_logs: Vec<RunId>,
    in_store: Vec<RunId>,
    before: Option<RunId>,
    store_ended: bool,
}

impl<'a> Runs<'a> {
    fn new(history: &'a History, only: Option<RunId>, cursor: Option<Cursor>) -> Result<Self, Failure> {
        let (first, before) = match cursor {
            Some(Cursor::In(run, resume)) => (Some((run, resume)), Some(run)),
            Some(Cursor::Before(run)) => (None, Some(run)),
            None => (only.map(|run| (run, Resume::BEGIN)), None),
        };
        let mut in_logs = if only.is_some() { Vec::new() } else { history.in_logs()? };
        in_logs.sort();
        Ok(Self { history, first, only_first: only.is_some(), in_logs, in_store: Vec::new(), before, store_ended: false })
    }

    fn next(&mut self) -> Result<Option<(RunId, Resume)>, Failure> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        if self.only_first {
            return Ok(None);
        }
        if self.in_store.is_empty() && !self.store_ended {
            self.in_store = self.history.store.ids_before(self.before, IDS)?;
            self.in_store.reverse();
            self.store_ended = self.in_store.len() < IDS;
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
        Ok(self.before.filter(|_| is_there).map(|id| (id, Resume::BEGIN)))
    }
}
