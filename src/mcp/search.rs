//! The search over runs: the items of agents' runs, so that what is found is what was said and not a protocol's line, and
//! the output of commands.

use std::{
    fmt,
    ops::Range,
    str::FromStr,
    sync::Arc,
    time::{Duration, Instant},
};

use regex::{Regex, RegexBuilder};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    answer::{AnswerText, clipped, first_line, listed, plain, time},
    finding::RunFilter,
    front_end::McpFrontEnd,
    items,
};
use crate::model::{
    Failure, Run, RunId,
    calls::{ItemsParams, SearchParams},
    item::ItemKind,
    methods::{RunItems, RunSearch},
};

/// When an answer is given with what was found by then.
const SEARCH_TIMEOUT: Duration = Duration::from_secs(8);
/// Bytes that are shown of a line.
const MAX_HIT_BYTES: usize = 300;
/// Bytes of them that are shown before the match, if there are so many.
const BYTES_BEFORE_HIT: usize = 100;
/// Lines of one run in an answer about all runs, so that others are found, too.
const MAX_HITS_OF_RUN: usize = 10;
/// Lines in an answer about one run: so many fit, however long they are.
const MAX_HITS_OF_NAMED_RUN: usize = 20;
/// Runs that are looked up at a time.
const PAGE_RUNS: usize = 50;
/// Items that are asked for at a time, and their bytes.
const PAGE_ITEMS: u64 = 500;
const PAGE_BYTES: u64 = 4 << 20;
/// The longest query.
const MAX_QUERY_BYTES: usize = 1000;

/// Arguments of `search_runs`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SearchRunsArguments {
    /// What a line must contain.
    query: String,
    /// Whether `query` is a regular expression. Default false.
    #[serde(default)]
    regex: Option<bool>,
    /// Whether upper and lower case differ. Default false.
    #[serde(default)]
    case_sensitive: Option<bool>,
    /// Searches only this run, and shows all its hits, 20 at a time: its id, or the last digits of it.
    #[serde(default)]
    run: Option<String>,
    /// Only runs in this directory or below it; an absolute path.
    #[serde(default)]
    cwd: Option<String>,
    /// Only runs of this provider, such as `command`, `claude` or `codex`.
    #[serde(default)]
    provider: Option<String>,
    /// Only runs that were started at this time or later: a date, or a date and a time in UTC.
    #[serde(default)]
    since: Option<String>,
    /// Most lines, 1 to 50. Default 20.
    #[serde(default)]
    limit: Option<u64>,
    /// The `cursor` that the answer before ended with.
    #[serde(default)]
    cursor: Option<String>,
}

/// Where a search goes on: with the runs before one, or within one.
#[derive(Clone, Debug, PartialEq, Eq)]
struct SearchPosition {
    /// The last run that was searched, or that is being searched.
    run: RunId,
    within: Option<RunPosition>,
}

/// A place in a run that is being searched.
#[derive(Clone, Debug, PartialEq, Eq)]
enum RunPosition {
    /// In an agent's run: hits up to this item were told, and so many of the next one.
    Item { after: u64, told: usize },
    /// In a command's run: the cursor of `run/search`; empty at its beginning.
    Output(String),
}

/// A line that matches.
struct FoundLine {
    place: String,
    text: String,
}

/// What the search of one run came to.
struct RunHits {
    lines: Vec<FoundLine>,
    /// Where it goes on, if the run has more.
    next: Option<RunPosition>,
}

struct Query {
    pattern: Regex,
    arguments: SearchRunsArguments,
    end: Instant,
}

pub(super) async fn search_runs(front_end: &Arc<McpFrontEnd>, arguments: SearchRunsArguments) -> Result<String, Failure> {
    let filter = RunFilter::new(arguments.cwd.as_deref(), arguments.provider.clone(), arguments.since.as_deref())?;
    let mut position = arguments.cursor.as_deref().map(str::parse::<SearchPosition>).transpose()?;
    let query = Query { pattern: pattern(&arguments)?, end: Instant::now() + SEARCH_TIMEOUT, arguments };
    let mut left = listed(query.arguments.limit);
    let mut text = AnswerText::new();
    if let Some(run) = &query.arguments.run {
        let run = front_end.run(run).await?;
        let within = position.and_then(|position| position.within);
        let hits = query.hits(front_end, &run, within, left.min(MAX_HITS_OF_NAMED_RUN)).await?;
        return Ok(answer_of_run(text, &run, hits));
    }
    let mut searched = 0;
    loop {
        let runs: Vec<_> = match position.take() {
            Some(SearchPosition { run, within: Some(within) }) => {
                let run = front_end.run(&run.to_string()).await?;
                vec![(run, Some(within))]
            }
            before => {
                let cursor = before.map(|before| before.run.to_string());
                let (runs, next) = filter.page(front_end, cursor, PAGE_RUNS).await?;
                if runs.is_empty() {
                    let Some(next) = next else { return Ok(text.ending_with(&format!("These are all; runs searched: {searched}."))) };
                    let next = next.parse::<SearchPosition>()?;
                    if Instant::now() >= query.end {
                        return Ok(text.ending_with(&more(&next)));
                    }
                    position = Some(next);
                    continue;
                }
                runs.into_iter().map(|run| (run, None)).collect()
            }
        };
        for (run, within) in runs {
            let begin = within.clone();
            let hits = query.hits(front_end, &run, within, left.min(MAX_HITS_OF_RUN)).await?;
            searched += 1;
            left = left.saturating_sub(hits.lines.len());
            if !hits.lines.is_empty() && !write_hits(&mut text, &run, &hits) {
                // This run did not fit, and begins the next answer.
                let position = SearchPosition { run: run.id, within: begin.or(Some(RunPosition::beginning(&run))) };
                return Ok(text.ending_with(&more(&position)));
            }
            if left == 0 || Instant::now() >= query.end {
                // A run that has many hits is left for its own search, unless this answer ended in the middle of it.
                let within = hits.next.filter(|_| hits.lines.len() < MAX_HITS_OF_RUN);
                let position = SearchPosition { run: run.id, within };
                return Ok(text.ending_with(&format!("{} (runs searched: {searched}, back to {})", more(&position), time(run.created_at))));
            }
            position = Some(SearchPosition { run: run.id, within: None });
        }
    }
}

/// All hits of one run that fit.
fn answer_of_run(mut text: AnswerText, run: &Run, hits: RunHits) -> String {
    if hits.lines.is_empty() && hits.next.is_none() {
        return "No line of this run matches.".to_owned();
    }
    write_hits(&mut text, run, &hits);
    text.ending_with(&match hits.next {
        Some(within) => more(&SearchPosition { run: run.id, within: Some(within) }),
        None => "These are all.".to_owned(),
    })
}

/// Writes what was found in a run. False if not all of it fits; then nothing of it is written, unless it is the first.
fn write_hits(text: &mut AnswerText, run: &Run, hits: &RunHits) -> bool {
    let head = format!("{}  {}  {}  {}", run.id, run.provider, time(run.created_at), first_line(&plain(&run.display_title), 100));
    let more = if hits.next.is_some() { "\n  … (more in this run: name it as `run`)" } else { "" };
    let lines: Vec<String> = hits.lines.iter().map(|line| format!("\n  {}: {}", line.place, line.text)).collect();
    text.line(&format!("{head}{}{more}", lines.concat()))
}

fn more(position: &SearchPosition) -> String {
    format!("There may be more; go on with cursor \"{position}\".")
}

fn pattern(arguments: &SearchRunsArguments) -> Result<Regex, Failure> {
    let query = &arguments.query;
    if query.is_empty() || query.len() > MAX_QUERY_BYTES || query.contains('\n') {
        let message = format!("`query` must be a text of 1 to {MAX_QUERY_BYTES} bytes without a line break");
        return Err(Failure::invalid_params("query", message));
    }
    let text = if arguments.regex == Some(true) { query.clone() } else { regex::escape(query) };
    let pattern = RegexBuilder::new(&text).case_insensitive(arguments.case_sensitive != Some(true)).build();
    pattern.map_err(|error| {
        // The last line says what is wrong; those before it draw where.
        let reason = error.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
        Failure::invalid_params("query", format!("`query` is no regular expression: {reason}"))
    })
}

impl Query {
    /// At most `limit` lines of a run that match.
    async fn hits(&self, front_end: &McpFrontEnd, run: &Run, within: Option<RunPosition>, limit: usize) -> Result<RunHits, Failure> {
        match (run.has_transcript, within) {
            (true, Some(RunPosition::Item { after, told })) => self.in_items(front_end, run, after, told, limit).await,
            (true, _) => self.in_items(front_end, run, 0, 0, limit).await,
            (false, Some(RunPosition::Output(cursor))) if !cursor.is_empty() => self.in_output(front_end, run, Some(cursor), limit).await,
            (false, _) => self.in_output(front_end, run, None, limit).await,
        }
    }

    async fn in_items(&self, front_end: &McpFrontEnd, run: &Run, after: u64, told: usize, limit: usize) -> Result<RunHits, Failure> {
        let (mut lines, mut told) = (Vec::new(), told);
        let mut next = Some(after);
        while let Some(begin) = next {
            let params =
                ItemsParams { run_id: run.id, after: Some(begin), before: None, limit: Some(PAGE_ITEMS), max_bytes: Some(PAGE_BYTES) };
            let page = front_end.call(RunItems, params).await?;
            let mut before = begin;
            for item in &page.items {
                // A question says no more than its tool call.
                if matches!(item.kind, ItemKind::Permission(_)) {
                    before = item.item;
                    continue;
                }
                let head = items::line(item);
                let parts = items::parts(item);
                let titled = std::iter::once(("", head.as_str())).filter(|_| parts.iter().all(|(label, _)| !label.is_empty()));
                let texts = titled.chain(parts.iter().map(|(label, text)| (*label, text.as_str())));
                let matching = texts.flat_map(|(label, text)| text.lines().filter_map(move |line| Some((label, self.hit(line)?))));
                for (number, (label, text)) in matching.enumerate().skip(std::mem::take(&mut told)) {
                    if lines.len() == limit {
                        return Ok(RunHits { lines, next: Some(RunPosition::Item { after: before, told: number }) });
                    }
                    let place = format!("item {} {}", item.item, if label.is_empty() { kind_of(&head) } else { label });
                    lines.push(FoundLine { place, text });
                }
                before = item.item;
            }
            next = page.next;
            if Instant::now() >= self.end
                && let Some(after) = next
            {
                return Ok(RunHits { lines, next: Some(RunPosition::Item { after, told: 0 }) });
            }
        }
        Ok(RunHits { lines, next: None })
    }

    async fn in_output(&self, front_end: &McpFrontEnd, run: &Run, cursor: Option<String>, limit: usize) -> Result<RunHits, Failure> {
        let mut lines = Vec::new();
        if cursor.is_none()
            && let Some(text) = self.hit(&plain(&run.command.join(" ")))
        {
            lines.push(FoundLine { place: "command".to_owned(), text });
        }
        // The command line comes on top, so that the output is begun in any case.
        let limit = limit + lines.len();
        let mut params = SearchParams {
            query: self.arguments.query.clone(),
            regex: self.arguments.regex,
            ignore_case: Some(self.arguments.case_sensitive != Some(true)),
            run_id: Some(run.id),
            limit: None,
            cursor,
        };
        while lines.len() < limit {
            params.limit = Some((limit - lines.len()) as u64);
            let page = front_end.call(RunSearch, &params).await?;
            for hit in page.hits {
                let line = plain(&hit.line);
                let text = self.hit(&line).unwrap_or_else(|| clipped(&line, MAX_HIT_BYTES).to_owned());
                lines.push(FoundLine { place: format!("output byte {}", hit.offset), text });
            }
            params.cursor = page.next_cursor;
            if params.cursor.is_none() || Instant::now() >= self.end {
                break;
            }
        }
        Ok(RunHits { lines, next: params.cursor.map(RunPosition::Output) })
    }

    /// What is shown of a line, if it matches.
    fn hit(&self, line: &str) -> Option<String> {
        let found = self.pattern.find(line)?;
        let Range { start, end } = shown_range(line, found.start());
        let (before, after) = (if start > 0 { "…" } else { "" }, if end < line.len() { "…" } else { "" });
        Some(format!("{before}{}{after}", line[start..end].trim()))
    }
}

/// The part of a line that is shown around a match.
fn shown_range(line: &str, at: usize) -> Range<usize> {
    let start = if line.len() <= MAX_HIT_BYTES { 0 } else { line.floor_char_boundary(at.saturating_sub(BYTES_BEFORE_HIT)) };
    start..line.floor_char_boundary(start + MAX_HIT_BYTES)
}

/// The word behind an item's number.
fn kind_of(line: &str) -> &str {
    line.split_once("] ").map_or("", |(_, rest)| rest.split([':', ' ']).next().unwrap_or_default())
}

impl RunPosition {
    fn beginning(run: &Run) -> Self {
        if run.has_transcript { Self::Item { after: 0, told: 0 } } else { Self::Output(String::new()) }
    }
}

impl fmt::Display for SearchPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.within {
            None => write!(f, "{}", self.run),
            Some(RunPosition::Item { after, told }) => write!(f, "{}/item/{after}/{told}", self.run),
            Some(RunPosition::Output(cursor)) => write!(f, "{}/output/{cursor}", self.run),
        }
    }
}

impl FromStr for SearchPosition {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self, Failure> {
        let invalid = || Failure::invalid_params("cursor", "`cursor` must be the one that the answer before ended with");
        let (run, within) = text.split_once('/').map_or((text, None), |(run, within)| (run, Some(within)));
        let run = run.parse().map_err(|_| invalid())?;
        let within = match within.map(|within| within.split_once('/')) {
            None => None,
            Some(Some(("output", cursor))) => Some(RunPosition::Output(cursor.to_owned())),
            Some(Some(("item", place))) => {
                let (after, told) = place.split_once('/').ok_or_else(invalid)?;
                Some(RunPosition::Item { after: after.parse().map_err(|_| invalid())?, told: told.parse().map_err(|_| invalid())? })
            }
            Some(_) => return Err(invalid()),
        };
        Ok(Self { run, within })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_back() {
        let run = RunId::new();
        for within in [None, Some(RunPosition::Item { after: 7, told: 2 }), Some(RunPosition::Output("a/b".to_owned()))] {
            let position = SearchPosition { run, within };
            assert_eq!(position.to_string().parse::<SearchPosition>().expect("our own"), position);
        }
        for bad in ["", "x", "x/item/1/1", &format!("{run}/item/1"), &format!("{run}/other/1/1")] {
            assert!(bad.parse::<SearchPosition>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_long_line_is_shown_around_its_match() {
        let line = format!("{}needle{}", "é".repeat(500), "x".repeat(500));
        let range = shown_range(&line, line.find("needle").expect("there"));
        assert!(line[range.clone()].contains("needle") && range.len() <= MAX_HIT_BYTES, "{range:?}");
        assert_eq!(shown_range("short needle", 6), 0..12);
    }
}
