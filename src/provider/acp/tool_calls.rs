//! Tool calls of ACP agents. Each product reports them in its own way; this module makes one form of them: an update
//! holds only what changed, output is logged as it grows, and a command that failed ends as failed.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Map, Value, json};

use super::{
    agent::Product,
    wire::{object_at, text_at},
};
use crate::{
    model::task::object,
    provider::{
        event_sink::EventSink,
        ids::{MadeNames, status_of},
    },
};

/// The input of a call that is still being written is logged once it has not grown for this long.
const INPUT_IDLE_DELAY: Duration = Duration::from_millis(250);

/// The longest `rawOutput` that stays a member of the tool call. A longer text is logged as output, which comes in
/// pieces.
const MAX_RAW_OUTPUT_BYTES: usize = 64 << 10;

/// The tool calls of the last turn.
#[derive(Debug, Default)]
pub(crate) struct ToolCalls {
    calls: BTreeMap<String, AcpToolCall>,
    made_names: MadeNames,
    /// The call that named a session, by that session: it may be that of a sub-agent.
    started: BTreeMap<String, String>,
}

/// Sessions of sub-agents that are known.
const MAX_STARTED: usize = 256;

#[derive(Debug, Default)]
struct AcpToolCall {
    status: String,
    /// The `_meta` that the agent sent last.
    meta: Option<Value>,
    /// Members that the agent sent while the call was pending and that are not logged yet: its input may still be
    /// growing.
    held_input: Map<String, Value>,
    /// A permission request was about this call.
    was_asked: bool,
}

impl ToolCalls {
    /// Handles a `tool_call` or a `tool_call_update`. `timer_token` is the token of the timer at which
    /// [`Self::flush_held_input`] has to be called.
    pub(crate) fn update(&mut self, product: Product, update: Map<String, Value>, timer_token: u32, out: &mut EventSink) {
        let begins = update.get("sessionUpdate").is_some_and(|kind| kind == "tool_call");
        let mut fields = update;
        translate_status(&mut fields);
        let is_over = fields.get("status").and_then(Value::as_str).is_some_and(has_ended);
        let id = self.made_names.name(fields.get("toolCallId"), "tool", begins, is_over);
        fields.remove("sessionUpdate");
        fields.remove("toolCallId");
        if is_another(&id, begins, &fields, out) {
            out.tools.begin_another(&id);
            self.calls.remove(&id);
        }
        let is_new = !out.has_tool_call(&id);
        self.note_sessions(&id, &fields);
        let mut meta = object(fields.remove("_meta").unwrap_or_default());
        let delta = take_terminal_output(&mut meta, &mut fields);
        drop_empty_old_text(&mut fields);
        let call = self.calls.entry(id.clone()).or_default();
        if let Some(status) = fields.get("status").and_then(Value::as_str) {
            status.clone_into(&mut call.status);
        } else if !is_new && call.status == "pending" && fields.contains_key("rawInput") {
            if call.held_input.is_empty() {
                out.set_timer(INPUT_IDLE_DELAY, timer_token);
            }
            call.held_input.extend(fields);
            return;
        }
        let has_status = fields.contains_key("status");
        let mut held_input = std::mem::take(&mut call.held_input);
        held_input.extend(fields);
        let mut fields = held_input;
        let known = out.tools.snapshot(&id).unwrap_or_default();
        // An empty value is dropped, unless it empties a `content` that was known: that is the only member whose
        // removal means something.
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
        emit(product, &id, is_new, fields, call, out);
        if let Some(delta) = delta {
            out.tool_output(&id, &delta);
        }
    }

    /// Prepares the tool call of a permission request: removes what is known already and what would take back
    /// something known.
    pub(crate) fn prepare_permission_request(&mut self, tool_call: &mut Map<String, Value>, out: &mut EventSink) {
        drop_empty_old_text(tool_call);
        translate_status(tool_call);
        let id = self.made_names.name(tool_call.get("toolCallId"), "tool", true, false);
        let was_asked = self.calls.get(&id).is_some_and(|call| call.was_asked);
        if (was_asked || out.tools.was_closed(&id)) && out.tools.differs(&id, tool_call, &["title", "kind", "rawInput"]) {
            // Another call: a person must not be shown what was asked before.
            out.tools.begin_another(&id);
        } else if out.tools.has_ended(&id) && !out.tools.was_closed(&id) {
            out.tools.begin_another(&id);
        }
        if !out.has_tool_call(&id) {
            self.calls.remove(&id);
        }
        let known = out.tools.snapshot(&id);
        if let Some(known) = &known {
            tool_call.remove("status");
            tool_call.retain(|name, value| {
                let known = known.get(name);
                !(is_empty(value) || known.is_some_and(|known| adds_nothing(value, known)))
            });
        } else {
            tool_call.retain(|_, value| !is_empty(value));
        }
        tool_call.insert("toolCallId".to_owned(), json!(id));
        let call = self.calls.entry(id).or_default();
        call.was_asked = true;
        if call.status.is_empty() {
            "pending".clone_into(&mut call.status);
        }
    }

    /// A turn begins.
    pub(crate) fn turn_began(&mut self) {
        self.calls.clear();
    }

    /// The call that named this session.
    pub(crate) fn started(&self, session: &str) -> Option<&str> {
        self.started.get(session).map(String::as_str)
    }

    /// Notes the sessions that a call names.
    fn note_sessions(&mut self, id: &str, fields: &Map<String, Value>) {
        let mut named = Vec::new();
        ["_meta", "rawInput", "rawOutput"].iter().filter_map(|name| fields.get(*name)).for_each(|value| sessions_in(value, &mut named));
        for session in named {
            if self.started.len() < MAX_STARTED {
                self.started.entry(session.to_owned()).or_insert_with(|| id.to_owned());
            }
        }
    }

    /// Logs the held input of all calls, because it is complete by now.
    pub(crate) fn flush_held_input(&mut self, out: &mut EventSink) {
        for (id, call) in &mut self.calls {
            if !call.held_input.is_empty() {
                out.tool_call(id, std::mem::take(&mut call.held_input));
            }
        }
    }
}

/// Whether what is said under the name of a call that has ended is about another one.
fn is_another(id: &str, begins: bool, fields: &Map<String, Value>, out: &EventSink) -> bool {
    if !out.tools.has_ended(id) {
        return false;
    }
    let status = fields.get("status").and_then(Value::as_str);
    if begins && !out.tools.was_closed(id) {
        // Only what says the same again is about the same call.
        let said = ["title", "kind", "rawInput", "content", "locations", "rawOutput"];
        return !status.is_some_and(has_ended) || out.tools.differs(id, fields, &said);
    }
    (begins || status.is_some_and(|status| !has_ended(status))) && out.tools.differs(id, fields, &["title", "rawInput"])
}

/// Puts ACP's word for a status in the place of the agent's. A word that means nothing known is no status.
fn translate_status(fields: &mut Map<String, Value>) {
    match fields.get("status").map(|status| status.as_str().and_then(status_of)) {
        Some(Some(status)) => drop(fields.insert("status".to_owned(), json!(status))),
        Some(None) => drop(fields.remove("status")),
        None => {}
    }
}

/// The values of all members that are named as the id of a session.
fn sessions_in<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                let name = name.to_ascii_lowercase();
                match value.as_str() {
                    Some(session) if name.contains("session") && name.contains("id") => found.push(session),
                    _ => sessions_in(value, found),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| sessions_in(value, found)),
        _ => {}
    }
}

/// Logs an update of a call: its output while it runs, its end, or its changed members.
fn emit(product: Product, id: &str, is_new: bool, mut fields: Map<String, Value>, call: &mut AcpToolCall, out: &mut EventSink) {
    let text = fields.get("content").and_then(text_only);
    let has_transcript = fields.contains_key("status");
    match call.status.as_str() {
        // The content with which gemini begins a call describes the command. It is no output.
        "in_progress" if text.is_some() && !(product == Product::Gemini && is_new) => {
            fields.remove("content");
            out.tool_call(id, fields);
            out.tool_output_so_far(id, &text.unwrap_or_default());
        }
        "completed" | "failed" if has_transcript => {
            let kind = fields.get("kind").cloned().or_else(|| out.tools.snapshot(id)?.get("kind").cloned());
            let is_command = kind.is_some_and(|kind| kind == "execute");
            if is_command && call.status == "completed" && command_failed(product, &fields, text.as_deref()) {
                "failed".clone_into(&mut call.status);
            }
            let whole_output = take_whole_output(product, text, &mut fields);
            if is_new {
                // The agent sent nothing of this call before its end, so its beginning is logged first.
                let mut begin_fields = fields.clone();
                ["_meta", "rawOutput"].iter().for_each(|name| drop(begin_fields.remove(*name)));
                begin_fields.insert("status".to_owned(), json!("in_progress"));
                out.tool_call(id, begin_fields);
            }
            fields.remove("status");
            out.tool_ended(id, &call.status, whole_output.as_deref(), fields);
        }
        // The description of a call that has not begun, and updates that come after its end.
        _ => {
            let is_repeated = |raw: &Value| raw.as_str().is_some_and(|raw| text.as_deref().is_some_and(|text| strip_fence(text) == raw));
            if fields.get("rawOutput").is_some_and(is_repeated) {
                fields.remove("rawOutput");
            }
            out.tool_call(id, fields);
        }
    }
}

/// Removes what belongs to a client terminal, which loomd does not offer, and returns the output in it.
fn take_terminal_output(meta: &mut Map<String, Value>, fields: &mut Map<String, Value>) -> Option<String> {
    meta.remove("terminal_info");
    let outputs = ["terminal_output_delta", "terminal_output"].map(|name| meta.remove(name));
    let terminal_output: String = outputs.iter().flatten().filter_map(|output| text_at(output, &["data"])).collect();
    if let Some(claude) = meta.get_mut("claudeCode").and_then(Value::as_object_mut) {
        // It repeats the whole output, or holds the file as it was before.
        claude.remove("toolResponse");
    }
    if let Some(Value::Array(blocks)) = fields.get_mut("content") {
        blocks.retain(|block| block["type"] != "terminal");
    }
    (!terminal_output.is_empty()).then_some(terminal_output)
}

/// Removes the empty `oldText` that some agents send for a new file. In ACP a new file has none.
fn drop_empty_old_text(fields: &mut Map<String, Value>) {
    for block in fields.get_mut("content").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(diff) = block.as_object_mut().filter(|block| block.get("oldText").is_some_and(|old| old == "")) {
            diff.remove("oldText");
        }
    }
}

/// The text of `content`, if it consists of text blocks only.
fn text_only(content: &Value) -> Option<String> {
    let blocks = content.as_array().filter(|blocks| !blocks.is_empty())?;
    blocks.iter().map(|block| text_at(block, &["content", "text"]).filter(|_| block["type"] == "content")).collect()
}

/// Takes the whole output out of every member of `fields` in which the end of the call repeats it, so that it is
/// logged once.
fn take_whole_output(product: Product, text: Option<String>, fields: &mut Map<String, Value>) -> Option<String> {
    if text.is_some() {
        fields.remove("content");
    }
    // opencode writes this for a command without output.
    let text = text.filter(|text| !(product == Product::OpenCode && text == "(no output)"));
    let whole_output = match (text, fields.get("rawOutput")) {
        (Some(text), Some(Value::String(raw))) if strip_fence(&text).trim_end() == raw.trim_end() => Some(raw.clone()),
        (None, Some(Value::String(raw))) if raw.len() > MAX_RAW_OUTPUT_BYTES => Some(raw.clone()),
        (text, _) => text,
    };
    let is_repeated = |value: &Value| {
        value.as_str().is_some_and(|text| {
            whole_output.as_ref().is_some_and(|whole_output| whole_output.starts_with(text.trim_end())) || text == "(no output)"
        })
    };
    match fields.get_mut("rawOutput") {
        Some(raw @ Value::String(_)) if is_repeated(raw) => drop(fields.remove("rawOutput")),
        Some(Value::Object(raw)) => {
            raw.retain(|_, value| !is_repeated(value));
            if let Some(metadata) = raw.get_mut("metadata").and_then(Value::as_object_mut) {
                metadata.retain(|_, value| !is_repeated(value));
            }
            if raw.is_empty() {
                fields.remove("rawOutput");
            }
        }
        _ => {}
    }
    whole_output
}

/// Whether a command that the agent reports as completed has failed.
fn command_failed(product: Product, fields: &Map<String, Value>, text: Option<&str>) -> bool {
    let exit_of = |name: &str, member: &str| object_at(fields, &[name])?.get(member).cloned();
    let exit = object_at(fields, &["rawOutput", "metadata"]).and_then(|metadata| metadata.get("exit").cloned());
    let exit = exit.or_else(|| exit_of("rawOutput", "exit_code")).or_else(|| exit_of("rawOutput", "exitCode"));
    match exit {
        Some(Value::Number(code)) => code.as_i64() != Some(0),
        // opencode leaves the exit code null when the command was ended before it could exit.
        Some(Value::Null) => true,
        _ => product == Product::Gemini && text.is_some_and(|text| text.starts_with("Command cancelled by user")),
    }
}

/// The text without the fence of a Markdown code block around it.
fn strip_fence(text: &str) -> &str {
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

/// Whether `known` contains all of `value`.
fn adds_nothing(value: &Value, known: &Value) -> bool {
    match (value, known) {
        (Value::Object(value), Value::Object(known)) => value.iter().all(|(name, value)| known.get(name) == Some(value)),
        _ => value == known,
    }
}
