//! One tool call, put together from what was told of it, in bounded memory.

use serde_json::{Map, Value};

use super::{
    kept::Kept,
    patch::Patch,
    told::{Call, Status},
};
use crate::model::UnixMs;

/// How much of a tool's output is held: its beginning and its end.
const HEAD: usize = 48 << 10;
const TAIL: usize = 80 << 10;
/// How much of what a tool was given is held.
const INPUT: usize = 8 << 10;
/// How much of its changes is held.
const PATCHES: usize = 2 << 20;

impl Call {
    pub fn new(id: &str, at: UnixMs) -> Self {
        Self {
            id: id.to_owned(),
            at,
            ended_at: None,
            title: String::new(),
            kind: String::new(),
            status: Status::Pending,
            places: Vec::new(),
            input: None,
            output: Kept::new(HEAD, TAIL),
            patches: Vec::new(),
            has_more_patches: false,
            asked: Vec::new(),
            below: Vec::new(),
            goes_on: false,
            grows: false,
        }
    }

    /// Takes note of an ACP tool call, or of an update of one.
    pub fn apply(&mut self, update: &Map<String, Value>, at: UnixMs) {
        let text = |name: &str| update.get(name).and_then(Value::as_str);
        if let Some(title) = text("title") {
            shortened(title.trim(), INPUT).clone_into(&mut self.title);
        }
        if let Some(kind) = text("kind") {
            shortened(kind, 64).clone_into(&mut self.kind);
        }
        self.status = match text("status") {
            Some("in_progress") => Status::InProgress,
            Some("completed") => Status::Completed,
            Some("failed") => Status::Failed,
            Some("pending") => Status::Pending,
            _ => self.status,
        };
        if self.has_ended() && self.ended_at.is_none() {
            self.ended_at = Some(at);
        }
        if let Some(places) = update.get("locations").and_then(Value::as_array) {
            let paths = places.iter().filter_map(|place| Some(shortened(place["path"].as_str()?, 4096).to_owned()));
            self.places = paths.take(20).collect();
        }
        if let Some(input) = update.get("rawInput").and_then(input_text) {
            self.input = Some(input);
        }
        self.content(update);
    }

    fn content(&mut self, update: &Map<String, Value>) {
        let meta = update.get("_meta");
        let told = meta.and_then(|meta| meta["loomd/patch"].as_str()).map(Patch::unified);
        let blocks = update.get("content").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let diffs: Vec<Patch> = blocks.iter().filter_map(Patch::of_block).collect();
        if told.is_some() || !diffs.is_empty() {
            // Either kind replaces its own kind.
            let (has_told, has_diffs) = (told.is_some(), !diffs.is_empty());
            self.patches.retain(|patch| if patch.is_unified() { !has_told } else { !has_diffs });
            self.has_more_patches = false;
            for patch in diffs.into_iter().chain(told) {
                let held: usize = self.patches.iter().map(Patch::held).sum();
                if held + patch.held() <= PATCHES { self.patches.push(patch) } else { self.has_more_patches = true }
            }
        }
        let texts: Vec<String> =
            blocks.iter().filter(|block| block["type"] == "content").map(|block| block_text(&block["content"])).collect();
        if !self.grows && !texts.is_empty() {
            self.output.replace(&texts.join("\n"));
        }
        if let Some(output) = meta.map(|meta| &meta["loomd/output"])
            && let (Some(offset), Some(text)) = (output["offset"].as_u64(), output["text"].as_str())
        {
            self.grows = true;
            self.output.set(offset, text);
        }
    }

    pub fn has_ended(&self) -> bool {
        matches!(self.status, Status::Completed | Status::Failed)
    }

    /// Its first line; `tool` where nothing was told.
    pub fn name(&self) -> String {
        let title = unframed(&self.title);
        let first = title.lines().next().unwrap_or_default().trim();
        match (first.is_empty(), title.lines().nth(1)) {
            (true, _) if self.kind.is_empty() => "tool".to_owned(),
            (true, _) => self.kind.clone(),
            (false, None) => first.to_owned(),
            (false, Some(_)) => format!("{first} …"),
        }
    }

    /// What it was given, where that says more than its title and its changes do.
    pub fn telling_input(&self) -> Option<&str> {
        let input = self.input.as_deref()?;
        let is_told = matches!(self.kind.as_str(), "edit" | "delete" | "move" | "read") || unframed(&self.title) == input;
        (!is_told).then_some(input)
    }

    pub fn status_word(&self) -> &'static str {
        match self.status {
            Status::Completed => "completed",
            Status::Failed => "failed",
            Status::Pending => "never began",
            Status::InProgress => "did not end",
        }
    }

    /// About how many bytes of it are held, but for what its sub-agent did.
    pub fn held(&self) -> usize {
        let patches: usize = self.patches.iter().map(Patch::held).sum();
        512 + self.title.len() + self.input.as_ref().map_or(0, String::len) + self.output.held() + patches
    }
}

/// A command line as such, anything else as JSON.
fn input_text(input: &Value) -> Option<String> {
    let text = match (&input["command"], input) {
        (Value::String(command), _) => command.clone(),
        (Value::Array(words), _) => words.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "),
        (_, Value::Object(members)) if members.is_empty() => return None,
        (_, Value::Null) => return None,
        (_, Value::String(text)) => text.clone(),
        _ => serde_json::to_string_pretty(input).ok()?,
    };
    let short = shortened(&text, INPUT);
    Some(if short.len() < text.len() { format!("{short}…") } else { text })
}

/// The text that stands for an ACP content block.
pub fn block_text(block: &Value) -> String {
    match (block["text"].as_str(), block["type"].as_str()) {
        (Some(text), _) => text.to_owned(),
        (None, Some("resource_link")) => format!("[{}]", block["uri"].as_str().unwrap_or("link")),
        (None, Some("resource")) => match block["resource"]["text"].as_str() {
            Some(text) => text.to_owned(),
            None => format!("[{}]", block["resource"]["uri"].as_str().unwrap_or("resource")),
        },
        (None, kind) => format!("[{}]", kind.unwrap_or("content")),
    }
}

/// A title without the backticks around all of it. Those that belong to a part of it stay.
pub fn unframed(title: &str) -> &str {
    let inner = title.trim_matches('`');
    let (before, after) = (title.len() - title.trim_start_matches('`').len(), title.len() - title.trim_end_matches('`').len());
    if before == after && !inner.contains('`') { inner } else { title }
}

pub fn shortened(text: &str, most: usize) -> &str {
    &text[..text.floor_char_boundary(most)]
}
