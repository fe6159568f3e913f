//! The one fold of a run's log entries into the items of its transcript.
//!
//! [`Fold`] takes entries in their order and tells how each changes the items. It is a function of the log alone: the same entries make
//! the same items and numbers, live, sealed, and after any restart. It keeps what it needs to go on, not the items: an item that
//! cannot change any more is forgotten once it was given out, so memory does not grow with the run.
//!
//! Views draw [items](crate::model::item); they interpret no update.

pub(crate) mod change_queue;
pub(crate) mod checkpoints;
mod fold;
pub(crate) mod head_tail;
mod messages;
pub(crate) mod patch;
pub(crate) mod read;
mod shown;
mod tool_calls;
pub(crate) mod touched;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

pub(crate) use fold::{Fold, LogSource};
pub(crate) use shown::unframed;

use crate::model::{
    UnixMs,
    item::{Item, ItemKind},
};

/// What an item may hold of a large value; a larger one is omitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ItemLimits {
    /// `rawInput` and `data`, as JSON.
    pub(crate) input_bytes: usize,
    /// A content block that is no text, as JSON.
    pub(crate) block_bytes: usize,
    /// One patch.
    pub(crate) patch_bytes: usize,
    /// `oldText` and `newText`, each.
    pub(crate) text_bytes: usize,
    /// All changes of one call.
    pub(crate) diff_bytes: usize,
}

/// The protocol's.
impl Default for ItemLimits {
    fn default() -> Self {
        Self { input_bytes: 64 << 10, block_bytes: 64 << 10, patch_bytes: 256 << 10, text_bytes: 64 << 10, diff_bytes: 1 << 20 }
    }
}

impl ItemLimits {
    /// For readers of the whole run that keep few items at a time.
    pub(crate) const LARGE: Self =
        Self { input_bytes: 64 << 10, block_bytes: 64 << 10, patch_bytes: 8 << 20, text_bytes: 8 << 20, diff_bytes: 32 << 20 };
}

/// What all items have, whatever their kind.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct ItemHead {
    item: u64,
    seq: u64,
    last_seq: u64,
    at: UnixMs,
    end_at: Option<UnixMs>,
    turn: Option<u64>,
    parent: Option<u64>,
    continues: Option<u64>,
}

impl ItemHead {
    fn with(&self, kind: ItemKind) -> Item {
        let Self { item, seq, last_seq, at, end_at, turn, parent, continues } = *self;
        Item { item, seq, last_seq, at, end_at, turn, parent, continues, kind }
    }
}

/// The text that stands for an ACP content block where there is only text.
pub(crate) fn block_text(block: &Map<String, Value>) -> String {
    let text = |name: &str| block.get(name).and_then(Value::as_str);
    let resource = |name: &str| block.get("resource")?.get(name)?.as_str();
    match (text("text"), text("type")) {
        (Some(text), _) => text.to_owned(),
        (None, Some("resource_link")) => format!("[{}]", text("uri").unwrap_or("link")),
        (None, Some("resource")) => match resource("text") {
            Some(text) => text.to_owned(),
            None => format!("[{}]", resource("uri").unwrap_or("resource")),
        },
        (None, kind) => format!("[{}]", kind.unwrap_or("content")),
    }
}

/// The beginning of a text, at most so many bytes of whole characters.
pub(crate) fn shortened(text: &str, max_bytes: usize) -> &str {
    &text[..text.floor_char_boundary(max_bytes)]
}

/// Length of a value as JSON.
fn json_bytes(value: &impl Serialize) -> usize {
    struct ByteCount(usize);
    impl std::io::Write for ByteCount {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut count = ByteCount(0);
    // A count takes everything, and a JSON value always has a JSON form.
    serde_json::to_writer(&mut count, value).ok();
    count.0
}

/// What stands in the place of a value that is omitted.
fn omitted_value() -> Value {
    json!({ "omitted": true })
}

/// A member of an update's `_meta`.
fn meta<'a>(update: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    update.get("_meta")?.get(name)
}

/// Members of a tool's own output that say how it ended, not what it answered.
const OUTCOME_MEMBERS: &[&str] = &[
    "exitcode",
    "exit",
    "code",
    "status",
    "success",
    "ok",
    "signal",
    "duration",
    "durationms",
    "metadata",
    "truncated",
    "interrupted",
    "timedout",
    "iserror",
    "isimage",
    "pid",
    "cwd",
    "type",
];

/// The texts of an answer, else what there is as JSON.
fn raw_output_text(raw: &Value) -> String {
    let members = match raw {
        Value::Object(members) => members,
        Value::String(text) => return text.clone(),
        Value::Array(values) if values.iter().any(|value| value["text"].is_string()) => {
            return values.iter().filter_map(|value| value["text"].as_str()).collect::<Vec<_>>().join("\n");
        }
        Value::Array(values) if values.is_empty() => return String::new(),
        Value::Null => return String::new(),
        other => return serde_json::to_string_pretty(other).unwrap_or_default(),
    };
    let names = ["output", "aggregated_output", "stdout", "stderr", "text", "result", "content", "message", "error"];
    let answers = names.iter().filter_map(|name| members.get(*name)).filter(|value| !value.is_null());
    let texts: Vec<String> = answers.map(raw_output_text).filter(|text| !text.is_empty()).collect();
    if !texts.is_empty() {
        return texts.join("\n");
    }
    let is_answer = |name: &String| {
        let plain: String = name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
        !names.contains(&name.as_str()) && !OUTCOME_MEMBERS.contains(&plain.as_str())
    };
    let rest: Map<String, Value> = members
        .iter()
        .filter(|(name, value)| is_answer(name) && !value.is_null())
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    if rest.is_empty() { String::new() } else { serde_json::to_string_pretty(&rest).unwrap_or_default() }
}

#[cfg(test)]
pub(crate) mod tests;
