//! Params and results of the methods that read, search, export and edit runs, and of the notifications about all runs.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantArray};

use crate::model::{
    calls::{AttachForm, map_or_empty_list},
    entry::{Entry, Kind, Stream},
    run::Run,
    state::RunId,
    state::RunState,
};

/// Which run the request is about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RunIdParams {
    /// Which run.
    pub(crate) run_id: RunId,
}

/// One run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct RunResult {
    /// The run as it is now.
    pub(crate) run: Run,
}

/// Which runs to list.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListParams {
    /// Only runs in one of these states.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) states: Option<Vec<RunState>>,
    /// Only runs of this provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) provider: Option<String>,
    /// Only runs in the directory with this path. `.`, double slashes and a slash at the end make no difference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cwd: Option<String>,
    /// Only runs of this provider session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) session_id: Option<String>,
    /// Only runs that have all these labels with these values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "map_or_empty_list")]
    pub(crate) label: BTreeMap<String, String>,
    /// Only runs whose tool calls name this file: one that they read, change, delete or move. An absolute path, or one
    /// relative to the run's directory. Of a run, the first 2,000 files count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) touched: Option<String>,
    /// Most runs of the page. Default 50; more than 500 counts as 500.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) limit: Option<u64>,
    /// `nextCursor` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cursor: Option<String>,
}

/// A page of runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ListResult {
    /// Newest first.
    pub(crate) runs: Vec<Run>,
    /// `cursor` of the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) next_cursor: Option<String>,
}

/// What to change about a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EditParams {
    /// Which run.
    pub(crate) run_id: RunId,
    /// The new title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) title: Option<String>,
    /// Replaces all labels.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "some_map")]
    pub(crate) labels: Option<BTreeMap<String, String>>,
    /// A pinned run is never pruned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pinned: Option<bool>,
}

fn some_map<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<BTreeMap<String, String>>, D::Error> {
    map_or_empty_list(deserializer).map(Some)
}

/// Which entries must be durable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SyncParams {
    /// Which run.
    pub(crate) run_id: RunId,
    /// All entries up to this one. Default: up to the newest entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) seq: Option<u64>,
}

/// Which entries are durable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SyncResult {
    /// Everything up to this entry would survive a power cut.
    pub(crate) durable_seq: u64,
}

/// Which entries to read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ReadParams {
    /// Which run.
    pub(crate) run_id: RunId,
    /// Reads forward from the entry after this one. Default 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) after_seq: Option<u64>,
    /// Reads the last entries before this one instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) before_seq: Option<u64>,
    /// Most bytes of the page. Default 1 MiB; more than 8 MiB counts as 8. A page has at least one entry if there is
    /// one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) max_bytes: Option<u64>,
    /// Only entries of these kinds; default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) kinds: Option<Vec<Kind>>,
}

/// Entries, ascending. Forward: `nextAfterSeq` and `atEnd`. Backward: `prevBeforeSeq` and `atStart`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ReadResult {
    /// The page.
    pub(crate) entries: Vec<Entry>,
    /// `afterSeq` of the next page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) next_after_seq: Option<u64>,
    /// Nothing comes after this page, for now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) at_end: Option<bool>,
    /// `beforeSeq` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) prev_before_seq: Option<u64>,
    /// The page begins with the first entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) at_start: Option<bool>,
}

/// Which output to read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TextParams {
    /// Which run.
    pub(crate) run_id: RunId,
    /// The stream. Default: both, in order of arrival and counted together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) stream: Option<Stream>,
    /// The first byte. Default 0. An offset inside a character counts as that character's first byte.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) offset: Option<u64>,
    /// Most bytes of the page. Default 1 MiB; more than 8 MiB counts as 8. A page never ends inside a character.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) max_bytes: Option<u64>,
    /// Reads this many last lines instead of from `offset`. A last line without its line feed counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last_lines: Option<u64>,
}

/// A page of output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TextResult {
    /// The output as UTF-8, with U+FFFD where the program wrote something else.
    pub(crate) text: String,
    /// Where `text` begins, in raw bytes.
    pub(crate) offset: u64,
    /// `offset` of the next page.
    pub(crate) next_offset: u64,
    /// Raw bytes that the program has written so far.
    pub(crate) total_bytes: u64,
}

/// Which run to follow, and which entries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AttachParams {
    /// Which run.
    pub(crate) run_id: RunId,
    /// All entries after this one come as notifications. Default 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) after_seq: Option<u64>,
    /// Selects among `output`, with which `size` comes, and `update`. The other kinds always come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) kinds: Option<Vec<Kind>>,
    /// Whether entries or items come. With items, `kinds` is `invalidParams`. Default: entries.
    #[serde(default, rename = "as", skip_serializing_if = "Option::is_none")]
    pub(crate) form: Option<AttachForm>,
}

impl AttachParams {
    /// Follows every entry after this one.
    pub(crate) fn entries(run_id: RunId, after_seq: u64) -> Self {
        Self { run_id, after_seq: Some(after_seq), kinds: None, form: None }
    }

    /// Follows the items as they change after this entry.
    pub(crate) fn items(run_id: RunId, after_seq: u64) -> Self {
        Self { form: Some(AttachForm::Items), ..Self::entries(run_id, after_seq) }
    }
}

/// What was deleted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeleteResult {
    /// Bytes that the run took in files and rows.
    pub(crate) freed_bytes: u64,
}

/// Params of `run/changed`.
pub(crate) type ChangedParams = RunResult;

/// Params of `run/deleted`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeletedParams {
    /// The runs that were deleted.
    pub(crate) run_ids: Vec<RunId>,
}

/// What to search for, and where.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SearchParams {
    /// A text or a regular expression, without a line break.
    pub(crate) query: String,
    /// Whether `query` is a regular expression, in the syntax of Rust's `regex` crate. Default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) regex: Option<bool>,
    /// Whether upper and lower case match each other. Default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ignore_case: Option<bool>,
    /// Searches only this run. Default: all runs, the newest first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) run_id: Option<RunId>,
    /// Most hits of the page, 1 to 1000. Default 50.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) limit: Option<u64>,
    /// `nextCursor` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cursor: Option<String>,
}

/// A page of hits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SearchResult {
    /// Hits of the newest run first, within a run in the order of its log. The list may be empty though there is a
    /// `nextCursor`.
    pub(crate) hits: Vec<SearchHit>,
    /// `cursor` of the next page; absent when everything has been searched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) next_cursor: Option<String>,
}

/// A line with a match.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SearchHit {
    /// The run.
    pub(crate) run_id: RunId,
    /// The entry with the first byte of the match.
    pub(crate) seq: u64,
    /// The stream.
    pub(crate) stream: Stream,
    /// Position of the match's first byte, counted in the raw bytes of the stream.
    pub(crate) offset: u64,
    /// The line as people see it, without its line break; at most 4 KiB around the match.
    pub(crate) line: String,
}

/// To which format and file to export a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ExportParams {
    /// Which run.
    pub(crate) run_id: RunId,
    /// The format.
    pub(crate) format: ExportFormat,
    /// The file to write; absolute. It is written whole or not at all. An existing file is replaced and keeps its mode;
    /// only the owner can read a new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) path: Option<String>,
}

/// The format of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema, IntoStaticStr, VariantArray)]
#[serde(rename_all = "camelCase")]
#[strum(serialize_all = "camelCase")]
pub(crate) enum ExportFormat {
    /// Of a command, its output byte for byte, both streams in order of arrival, as `run/text` returns it. Of an agent,
    /// its messages, tool calls and prompts as plain text.
    Text,
    /// The log as it is, with one entry on each line.
    Jsonl,
    /// A page for a pull request. Of an agent, its messages, tool calls and changes; of a command, its output without
    /// colors, shortened in the middle.
    Markdown,
    /// A self-contained page, which runs no code of an agent: collapsed tool calls, colored changes and output, times,
    /// a search.
    Html,
    /// A terminal recording, asciicast version 2, for asciinema.
    Asciicast,
}

/// The file or the content of an export: `path` if the request named one, else `content`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ExportResult {
    /// The file that was written. It is durable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) path: Option<String>,
    /// The content as UTF-8. In the format `text`, U+FFFD replaces what is not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) content: Option<String>,
}

impl ExportFormat {
    pub(crate) const ALL: &[Self] = Self::VARIANTS;

    pub(crate) fn as_str(self) -> &'static str {
        self.into()
    }

    /// The format of a file with this extension.
    pub(crate) fn of_extension(extension: &str) -> Option<Self> {
        match extension.to_ascii_lowercase().as_str() {
            "txt" | "text" | "log" => Some(Self::Text),
            "jsonl" | "ndjson" => Some(Self::Jsonl),
            "md" | "markdown" => Some(Self::Markdown),
            "html" | "htm" => Some(Self::Html),
            "cast" => Some(Self::Asciicast),
            _ => None,
        }
    }
}
