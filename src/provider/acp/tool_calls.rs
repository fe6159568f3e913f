//! Tool calls as agents tell them, each in its own way, made into the one way in which the log has them:
//! what changed, output that grows by what is new of it, an end that is true.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde_json::{Map, Value, json};

use super::{
    agent::Make,
    wire::{object_at, text_at},
};
use crate::provider::{out::Out, task::object};

/// The input of a call that grows word by word is told when it has not grown for so long.
const GROWN: Duration = Duration::from_millis(250);

/// Longest `rawOutput` that is told as it is; a longer text is told as output, which comes in pieces.
const SHORT: usize = 64 << 10;

/// The tool calls of the running turn.
#[derive(Debug, Default)]
pub struct ToolCalls {
    calls: BTreeMap<String, Call>,
    /// Those of the turn before: what is said of them now is said too late.
    past: BTreeSet<String>,
}

#[derive(Debug, Default)]
struct Call {
    status: String,
    /// `_meta` as it was told last.
    meta: Option<Value>,
    /// What is known of its growing input and not told yet.
    held: Map<String, Value>,
}

impl ToolCalls {
    /// `tool_call` and `tool_call_update`. `wake` is the token under which [`Self::tell_held`] is to be called later.
    pub fn update(&mut self, make: Make, update: Map<String, Value>, in_turn: bool, wake: u32, out: &mut Out) {
        let Some(id) = update.get("toolCallId").and_then(Value::as_str).map(str::to_owned) else { return };
        let is_new = !out.knows_tool(&id);
        let begins = update.get("sessionUpdate").is_some_and(|kind| kind == "tool_call");
        if is_new && !begins && (!in_turn || self.past.contains(&id)) {
            return;
        }
        let mut fields = update;
        fields.remove("sessionUpdate");
        fields.remove("toolCallId");
        let mut meta = object(fields.remove("_meta").unwrap_or_default());
        let delta = take_terminal(&mut meta, &mut fields);
        let call = self.calls.entry(id.clone()).or_default();
        if let Some(status) = fields.get("status").and_then(Value::as_str) {
            status.clone_into(&mut call.status);
        } else if !is_new && call.status == "pending" && fields.contains_key("rawInput") {
            if call.held.is_empty() {
                out.wake(GROWN, wake);
            }
            call.held.extend(fields);
            return;
        }
        let has_status = fields.contains_key("status");
        let mut held = std::mem::take(&mut call.held);
        held.extend(fields);
        let mut fields = held;
        let known = out.tools.picture(&id).unwrap_or_default();
        // Nothing is news only where it takes back what was there, and of what was there nothing is worth it but `content`.
        fields
            .retain(|name, value| known.get(name) != Some(value) && (!is_empty(value) || (name == "content" && known.contains_key(name))));
        if has_status {
            fields.insert("status".to_owned(), json!(call.status));
        }
        let meta = (!meta.is_empty()).then_some(Value::Object(meta)).filter(|meta| call.meta.as_ref() != Some(meta));
        if let Some(meta) = meta {
            call.meta = Some(meta.clone());
            fields.insert("_meta".to_owned(), meta);
        }
        tell(make, &id, is_new, fields, call, out);
        if let Some(delta) = delta {
            out.tool_output(&id, &delta);
        }
    }

    /// What is asked about a tool call, without what would take back what is known of it.
    pub fn asked(&mut self, asked: &mut Map<String, Value>, out: &mut Out) {
        self.tell_held(out);
        let id = asked.get("toolCallId").and_then(Value::as_str).unwrap_or_default().to_owned();
        let known = out.tools.picture(&id);
        if let Some(known) = &known {
            asked.remove("status");
            asked.retain(|name, value| {
                let known = known.get(name);
                !(is_empty(value) || known.is_some_and(|known| is_part(value, known)))
            });
        } else {
            asked.retain(|_, value| !is_empty(value));
        }
        asked.insert("toolCallId".to_owned(), json!(id));
        let call = self.calls.entry(id).or_default();
        if call.status.is_empty() {
            "pending".clone_into(&mut call.status);
        }
    }

    /// Tells the input of calls that has grown and is complete by now.
    pub fn tell_held(&mut self, out: &mut Out) {
        for (id, call) in &mut self.calls {
            if !call.held.is_empty() {
                out.tool(id, std::mem::take(&mut call.held));
            }
        }
    }

    /// The turn is over. `stopped`: whatever had not ended was ended with it.
    pub fn turn_ended(&mut self, stopped: bool, out: &mut Out) {
        self.tell_held(out);
        for (id, call) in &self.calls {
            if stopped && out.knows_tool(id) && !has_ended(&call.status) {
                out.tool_ended(id, "failed", None, Map::new());
            }
        }
        self.past = std::mem::take(&mut self.calls).into_keys().collect();
    }
}

fn tell(make: Make, id: &str, is_new: bool, mut fields: Map<String, Value>, call: &mut Call, out: &mut Out) {
    let text = fields.get("content").and_then(text_of_content);
    let is_told = fields.contains_key("status");
    match call.status.as_str() {
        "in_progress" if text.is_some() => {
            fields.remove("content");
            out.tool(id, fields);
            out.tool_output_so_far(id, &text.unwrap_or_default());
        }
        "completed" | "failed" if is_told => {
            let kind = fields.get("kind").cloned().or_else(|| out.tools.picture(id)?.get("kind").cloned());
            let is_command = kind.is_some_and(|kind| kind == "execute");
            if is_command && call.status == "completed" && command_failed(make, &fields, text.as_deref()) {
                "failed".clone_into(&mut call.status);
            }
            let whole = whole_output(make, text, &mut fields);
            if is_new {
                // The end is the first that is heard of it.
                let mut first = fields.clone();
                ["_meta", "rawOutput"].iter().for_each(|name| drop(first.remove(*name)));
                first.insert("status".to_owned(), json!("in_progress"));
                out.tool(id, first);
            }
            fields.remove("status");
            out.tool_ended(id, &call.status, whole.as_deref(), fields);
        }
        // Also what is said of a call after its end, and the description of one that has not begun.
        _ => {
            let is_repeated = |raw: &Value| raw.as_str().is_some_and(|raw| text.as_deref().is_some_and(|text| unfenced(text) == raw));
            if fields.get("rawOutput").is_some_and(is_repeated) {
                fields.remove("rawOutput");
            }
            out.tool(id, fields);
        }
    }
}

/// Takes out what belongs to a terminal that no client of ours has, and returns what it shows.
fn take_terminal(meta: &mut Map<String, Value>, fields: &mut Map<String, Value>) -> Option<String> {
    meta.remove("terminal_info");
    let outputs = ["terminal_output_delta", "terminal_output"].map(|name| meta.remove(name));
    let shown: String = outputs.iter().flatten().filter_map(|output| text_at(output, &["data"])).collect();
    if let Some(claude) = meta.get_mut("claudeCode").and_then(Value::as_object_mut) {
        // All output once more, or the file as it was.
        claude.remove("toolResponse");
    }
    if let Some(Value::Array(blocks)) = fields.get_mut("content") {
        blocks.retain(|block| block["type"] != "terminal");
    }
    (!shown.is_empty()).then_some(shown)
}

/// The text of content that is nothing else.
fn text_of_content(content: &Value) -> Option<String> {
    let blocks = content.as_array().filter(|blocks| !blocks.is_empty())?;
    blocks.iter().map(|block| text_at(block, &["content", "text"]).filter(|_| block["type"] == "content")).collect()
}

/// The whole output that the end tells, taken out of wherever it stands, so that it is said once.
fn whole_output(make: Make, text: Option<String>, fields: &mut Map<String, Value>) -> Option<String> {
    if text.is_some() {
        fields.remove("content");
    }
    // opencode's own words for nothing.
    let text = text.filter(|text| !(make == Make::OpenCode && text == "(no output)"));
    let whole = match (text, fields.get("rawOutput")) {
        (Some(text), Some(Value::String(raw))) if unfenced(&text).trim_end() == raw.trim_end() => Some(raw.clone()),
        (None, Some(Value::String(raw))) if raw.len() > SHORT => Some(raw.clone()),
        (text, _) => text,
    };
    let said = |value: &Value| {
        value.as_str().is_some_and(|text| whole.as_ref().is_some_and(|whole| whole.starts_with(text.trim_end())) || text == "(no output)")
    };
    match fields.get_mut("rawOutput") {
        Some(raw @ Value::String(_)) if said(raw) => drop(fields.remove("rawOutput")),
        Some(Value::Object(raw)) => {
            raw.retain(|_, value| !said(value));
            if let Some(metadata) = raw.get_mut("metadata").and_then(Value::as_object_mut) {
                metadata.retain(|_, value| !said(value));
            }
            if raw.is_empty() {
                fields.remove("rawOutput");
            }
        }
        _ => {}
    }
    whole
}

/// A command that is told as completed and did not end well.
fn command_failed(make: Make, fields: &Map<String, Value>, text: Option<&str>) -> bool {
    let exit_of = |name: &str, member: &str| object_at(fields, &[name])?.get(member).cloned();
    let exit = object_at(fields, &["rawOutput", "metadata"]).and_then(|metadata| metadata.get("exit").cloned());
    let exit = exit.or_else(|| exit_of("rawOutput", "exit_code")).or_else(|| exit_of("rawOutput", "exitCode"));
    match exit {
        Some(Value::Number(code)) => code.as_i64() != Some(0),
        // opencode has a place for the code and nothing in it: the command was ended.
        Some(Value::Null) => true,
        _ => make == Make::Gemini && text.is_some_and(|text| text.starts_with("Command cancelled by user")),
    }
}

/// A text without the fence that makes a code block of it.
fn unfenced(text: &str) -> &str {
    let inner = text.strip_prefix("```").and_then(|rest| rest.split_once('\n')).map(|(_, inner)| inner);
    inner.and_then(|inner| inner.trim_end().strip_suffix("```")).map_or(text, |inner| inner.strip_suffix('\n').unwrap_or(inner))
}

fn has_ended(status: &str) -> bool {
    matches!(status, "completed" | "failed")
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        _ => false,
    }
}

/// Whether `value` says nothing that `known` does not.
fn is_part(value: &Value, known: &Value) -> bool {
    match (value, known) {
        (Value::Object(value), Value::Object(known)) => value.iter().all(|(name, value)| known.get(name) == Some(value)),
        _ => value == known,
    }
}
