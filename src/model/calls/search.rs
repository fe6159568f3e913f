//! Params and result of `run/search`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{entry::Stream, id::RunId};

/// What to look for, and where.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SearchParams {
    /// A text, or a regular expression; of one line.
    pub query: String,
    /// `query` is a regular expression, in the syntax of Rust's `regex` crate; default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regex: Option<bool>,
    /// Upper and lower case are the same; default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ignore_case: Option<bool>,
    /// Only this run; default: all, the newest first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<RunId>,
    /// Most hits of a page, 1 to 1000; default 50.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// `nextCursor` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// A page of hits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SearchResult {
    /// The newest run first, and within a run in the order of its log. May be empty though there is a `nextCursor`.
    pub hits: Vec<SearchHit>,
    /// Where the next page goes on; absent when everything has been searched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// A line with a match.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SearchHit {
    /// In which run.
    pub run_id: RunId,
    /// The entry that holds the first byte of the match.
    pub seq: u64,
    /// In which stream.
    pub stream: Stream,
    /// First byte of the match, counted in the raw bytes of its stream.
    pub offset: u64,
    /// The line as people see it, without its line break; past 4 KiB only what stands around the match.
    pub line: String,
}
