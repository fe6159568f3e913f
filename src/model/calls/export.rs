//! Params and result of `run/export`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::id::RunId;

/// What to make of a run, and where.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExportParams {
    /// Which run.
    pub run_id: RunId,
    /// As what.
    pub format: ExportFormat,
    /// Absolute: a file, written whole or not at all. One that is there is replaced and its mode kept; a new one is its owner's alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// What a run is exported as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ExportFormat {
    /// What the program wrote, byte for byte, both streams in order of arrival: what `run/text` gives. Of an agent, what it said, did and
    /// was asked, as plain text.
    Text,
    /// The log as it is: every entry, one a line.
    Jsonl,
    /// A page for a pull request: messages, tool calls, changes; of a command its output, without colours and shortened in the middle.
    Markdown,
    /// One page that needs nothing else and runs nothing of an agent's: folded tool calls, coloured changes and output, times, search.
    Html,
    /// A recording of a terminal, version 2, as asciinema plays it.
    Asciicast,
}

/// `path` where one was given, else `content`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExportResult {
    /// The file that was written, and is durable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// As UTF-8; U+FFFD where the program wrote something else (`text` alone).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
}

impl ExportFormat {
    pub const ALL: [Self; 5] = [Self::Text, Self::Jsonl, Self::Markdown, Self::Html, Self::Asciicast];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Jsonl => "jsonl",
            Self::Markdown => "markdown",
            Self::Html => "html",
            Self::Asciicast => "asciicast",
        }
    }

    /// By what a file's name ends with.
    pub fn of_extension(extension: &str) -> Option<Self> {
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
