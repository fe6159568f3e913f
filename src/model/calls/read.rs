//! Params and results of the methods that look at runs, and of what is told about all of them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::{
    entry::{Entry, Kind, Stream},
    id::RunId,
    run::Run,
    shape::map_or_empty_list,
    state::RunState,
};

/// Names one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunIdParams {
    /// Which run.
    pub run_id: RunId,
}

/// One run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RunResult {
    /// The run as it is now.
    pub run: Run,
}

/// Which runs to list.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListParams {
    /// Only runs in one of these states.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub states: Option<Vec<RunState>>,
    /// Only runs of this provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// Only runs in this directory, by its name; `.`, doubled slashes and a slash at its end do not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// Only runs of this provider session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// All of these labels must be there, with these values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "map_or_empty_list")]
    pub label: BTreeMap<String, String>,
    /// Default 50; more than 500 counts as 500.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// `nextCursor` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// A page of runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListResult {
    /// Newest first.
    pub runs: Vec<Run>,
    /// For the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// What to change about a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EditParams {
    /// Which run.
    pub run_id: RunId,
    /// The new title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Replaces all labels.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "some_map")]
    pub labels: Option<BTreeMap<String, String>>,
    /// A pinned run is never pruned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinned: Option<bool>,
}

fn some_map<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<BTreeMap<String, String>>, D::Error> {
    map_or_empty_list(deserializer).map(Some)
}

/// What is to be durable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SyncParams {
    /// Which run.
    pub run_id: RunId,
    /// Default: the newest entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
}

/// What is durable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SyncResult {
    /// Everything up to this entry would survive a power cut.
    pub durable_seq: u64,
}

/// Which entries to read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReadParams {
    /// Which run.
    pub run_id: RunId,
    /// Read forward, from the entry after this one; default 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_seq: Option<u64>,
    /// Read the last entries before this one instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before_seq: Option<u64>,
    /// Default 1 MiB; more than 8 MiB counts as 8. At least one entry comes where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<u64>,
    /// Only entries of these kinds; default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kinds: Option<Vec<Kind>>,
}

/// Entries, ascending. Forward: `nextAfterSeq` and `atEnd`. Backward: `prevBeforeSeq` and `atStart`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReadResult {
    /// The page.
    pub entries: Vec<Entry>,
    /// `afterSeq` of the next page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_after_seq: Option<u64>,
    /// Nothing comes after this page, for now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_end: Option<bool>,
    /// `beforeSeq` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prev_before_seq: Option<u64>,
    /// The page begins with the first entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_start: Option<bool>,
}

/// Which output to read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TextParams {
    /// Which run.
    pub run_id: RunId,
    /// Default: both, in order of arrival and counted together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<Stream>,
    /// First byte; default 0. Inside a character, it counts as that character's first byte.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// Default 1 MiB; more than 8 MiB counts as 8. A page never cuts a character.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<u64>,
    /// The last so many lines instead of `offset`; an unfinished last line is a line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_lines: Option<u64>,
}

/// A page of output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TextResult {
    /// As UTF-8; U+FFFD where the program wrote something else.
    pub text: String,
    /// Where `text` begins, in raw bytes.
    pub offset: u64,
    /// `offset` of the next page.
    pub next_offset: u64,
    /// Raw bytes that there are by now.
    pub total_bytes: u64,
}

/// What to follow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AttachParams {
    /// Which run.
    pub run_id: RunId,
    /// Everything after this entry comes as notifications; default 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_seq: Option<u64>,
    /// Chooses among `output` and `update`; the others always come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kinds: Option<Vec<Kind>>,
}

/// What a deletion brought.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeleteResult {
    /// Bytes that the run took, in files and rows.
    pub freed_bytes: u64,
}

/// Params of `run/changed`.
pub type ChangedParams = RunResult;

/// Params of `run/deleted`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeletedParams {
    /// The runs that are gone.
    pub run_ids: Vec<RunId>,
}
