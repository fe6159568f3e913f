//! The tools that list runs.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    answer::{AnswerText, absolute_directory, listed, parse_time, run_line},
    front_end::McpFrontEnd,
};
use crate::model::{Failure, Run, RunId, RunState, UnixMs, calls::ListParams, run::normalize_directory};

/// Pages of `run/list` that are looked through for one answer.
const MAX_PAGES: usize = 8;
/// Runs in the first of them, and in the others.
const FIRST_PAGE_RUNS: u64 = 100;
const MAX_PAGE_RUNS: u64 = 500;

/// Arguments of `list_runs`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ListRunsArguments {
    /// Only runs in this directory or below it; an absolute path.
    #[serde(default)]
    cwd: Option<String>,
    /// Only runs of this provider, such as `command`, `claude` or `codex`.
    #[serde(default)]
    provider: Option<String>,
    /// Only runs in this state; `live` stands for all that have not ended.
    #[serde(default)]
    state: Option<StateWord>,
    /// Only runs that were started at this time or later: a date, or a date and a time in UTC.
    #[serde(default)]
    since: Option<String>,
    /// Most runs, 1 to 50. Default 20.
    #[serde(default)]
    limit: Option<u64>,
    /// The `cursor` that the answer before ended with.
    #[serde(default)]
    cursor: Option<String>,
}

/// Arguments of `runs_touching`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RunsTouchingArguments {
    /// The file: an absolute path, or one relative to the directories of the runs.
    path: String,
    /// Most runs, 1 to 50. Default 20.
    #[serde(default)]
    limit: Option<u64>,
    /// The `cursor` that the answer before ended with.
    #[serde(default)]
    cursor: Option<String>,
}

/// A state, or several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
enum StateWord {
    Live,
    Running,
    AwaitingPermission,
    Idle,
    Succeeded,
    Failed,
    Cancelled,
    TimedOut,
    Lost,
}

impl StateWord {
    fn states(self) -> Vec<RunState> {
        match self {
            Self::Live => vec![RunState::Starting, RunState::Running, RunState::AwaitingPermission, RunState::Idle],
            Self::Running => vec![RunState::Starting, RunState::Running],
            Self::AwaitingPermission => vec![RunState::AwaitingPermission],
            Self::Idle => vec![RunState::Idle],
            Self::Succeeded => vec![RunState::Succeeded],
            Self::Failed => vec![RunState::Failed],
            Self::Cancelled => vec![RunState::Cancelled],
            Self::TimedOut => vec![RunState::TimedOut],
            Self::Lost => vec![RunState::Lost],
        }
    }
}

/// Which of the runs that are shown are wanted.
#[derive(Debug, Default)]
pub(super) struct RunFilter {
    pub(super) params: ListParams,
    /// In this directory or below.
    pub(super) cwd: Option<String>,
    pub(super) since: Option<UnixMs>,
}

impl RunFilter {
    pub(super) fn new(cwd: Option<&str>, provider: Option<String>, since: Option<&str>) -> Result<Self, Failure> {
        Ok(Self {
            params: ListParams { provider, ..ListParams::default() },
            cwd: cwd.map(absolute_directory).transpose()?,
            since: since.map(parse_time).transpose()?,
        })
    }

    fn takes(&self, run: &Run) -> bool {
        self.cwd.as_ref().is_none_or(|cwd| run.cwd == *cwd || run.cwd.starts_with(&format!("{}/", cwd.trim_end_matches('/'))))
            && self.since.is_none_or(|since| run.created_at >= since)
    }

    /// At most `limit` runs that match and are shown, and the cursor from which further ones are found. There may be none though
    /// there is a cursor.
    pub(super) async fn page(
        &self,
        front_end: &McpFrontEnd,
        cursor: Option<String>,
        limit: usize,
    ) -> Result<(Vec<Run>, Option<String>), Failure> {
        let mut params = ListParams { cursor, limit: Some(FIRST_PAGE_RUNS), ..self.params.clone() };
        let mut found: Vec<Run> = Vec::new();
        for _ in 0..MAX_PAGES {
            let page = front_end.page(&params).await?;
            for run in page.runs {
                if self.since.is_some_and(|since| run.created_at < since) {
                    return Ok((found, None));
                }
                if found.len() == limit && self.takes(&run) {
                    let cursor = found.last().map(|last| last.id.to_string());
                    return Ok((found, cursor));
                }
                if self.takes(&run) {
                    found.push(run);
                }
            }
            (params.cursor, params.limit) = (page.next_cursor, Some(MAX_PAGE_RUNS));
            if params.cursor.is_none() {
                return Ok((found, None));
            }
        }
        Ok((found, params.cursor))
    }
}

pub(super) async fn list_runs(front_end: &Arc<McpFrontEnd>, arguments: ListRunsArguments) -> Result<String, Failure> {
    let mut filter = RunFilter::new(arguments.cwd.as_deref(), arguments.provider, arguments.since.as_deref())?;
    filter.params.states = arguments.state.map(StateWord::states);
    answer(front_end, &filter, arguments.cursor, arguments.limit, "No run matches.").await
}

pub(super) async fn runs_touching(front_end: &Arc<McpFrontEnd>, arguments: RunsTouchingArguments) -> Result<String, Failure> {
    let mut filter = RunFilter::default();
    filter.params.touched = Some(arguments.path.clone());
    let nothing = match front_end.directory() {
        // A path as the client sees it is not always as the agents named it.
        Some(directory) if !arguments.path.starts_with('/') => format!(
            "No run that is shown names {}. Paths are relative to each run's directory; try {}.",
            arguments.path,
            normalize_directory(&format!("{directory}/{}", arguments.path))
        ),
        _ => format!("No run that is shown names {} in a tool call.", arguments.path),
    };
    answer(front_end, &filter, arguments.cursor, arguments.limit, &nothing).await
}

async fn answer(
    front_end: &McpFrontEnd,
    filter: &RunFilter,
    cursor: Option<String>,
    limit: Option<u64>,
    nothing: &str,
) -> Result<String, Failure> {
    let (runs, next) = filter.page(front_end, cursor, listed(limit)).await?;
    let mut text = AnswerText::new();
    let mut last: Option<RunId> = None;
    for run in &runs {
        if !text.line(&run_line(run)) {
            let cursor = last.map_or_else(String::new, |last| last.to_string());
            return Ok(text.ending_with(&more(&cursor)));
        }
        last = Some(run.id);
    }
    Ok(text.ending_with(&match (runs.is_empty(), next) {
        (_, Some(cursor)) => more(&cursor),
        (true, None) => nothing.to_owned(),
        (false, None) => "These are all.".to_owned(),
    }))
}

fn more(cursor: &str) -> String {
    format!("There are more; go on with cursor \"{cursor}\".")
}
