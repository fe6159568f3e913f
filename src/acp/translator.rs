//! Makes the updates that an ACP client gets from the entries of a run's log.
//!
//! A translator is a function of the log alone, without clock and IO: whoever translates the same entries gets the same
//! updates, live or in a replay, so what a client holds after `session/load` is what it would hold without a break. Each
//! entry makes at most one update, so that a position in the log is a position in the updates.
//!
//! What it changes: the ids of later runs of a session get a prefix, because ids are unique in a run only; output that
//! grows (`_meta["loomd/output"]`), which no other client knows, becomes ACP content or the terminal form that the client
//! names; a command's output becomes a tool call; what loomd itself tells clients (modes, options) is left out.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::model::{
    Run,
    entry::{Entry, OutputEntry, StateEntry},
    state::RunState,
    task::{object, text_block},
};

/// How much of a running tool's output a client sees that gets it as content: each update repeats all of it.
const SHOWN_TAIL_BYTES: usize = 8 << 10;
/// After the first [`SHOWN_TAIL_BYTES`], how much more output makes the next update, so that what is sent stays a small
/// multiple of what was written.
const SHOWN_STEP_BYTES: usize = 2 << 10;
/// The end of a command's output that its last update carries.
const KEPT_TAIL_BYTES: usize = 64 << 10;

/// The tool call that stands for a command's run.
const COMMAND_CALL: &str = "command";

/// In which form a client gets what a tool writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum ToolOutputForm {
    /// As text in the tool call's content.
    #[default]
    Content,
    /// As a terminal that only shows text, by `_meta.terminal_info`, this member of `_meta`, and `_meta.terminal_exit`.
    Terminal(&'static str),
}

/// What a client can show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct UpdateForms {
    pub(super) tool_output: ToolOutputForm,
    /// The client shows `notice`.
    pub(super) notices: bool,
}

/// The translation of one run's entries, as far as it has come.
pub(super) struct UpdateTranslator {
    forms: UpdateForms,
    /// Stands before the ids of this run.
    prefix: String,
    cwd: String,
    /// The title of the tool call that stands for the run, if it is a command's.
    command: Option<String>,
    calls: BTreeMap<String, RunningCall>,
}

/// A tool call that has not ended.
#[derive(Default)]
struct RunningCall {
    /// It is shown as a terminal.
    has_terminal: bool,
    /// How many bytes it has written.
    written: usize,
    /// The end of what it has written.
    tail: String,
    /// How much of `written` the client has seen.
    shown: usize,
}

impl UpdateTranslator {
    /// A translator from the beginning of `run`. `is_first`: no other run of the session comes before it.
    pub(super) fn new(run: &Run, is_first: bool, forms: UpdateForms) -> Self {
        let id = run.id.to_string();
        let prefix = if is_first { String::new() } else { format!("{}:", &id[id.len() - 8..]) };
        let command = (!run.has_transcript).then(|| run.display_title.clone());
        Self { forms, prefix, cwd: run.cwd.clone(), command, calls: BTreeMap::new() }
    }

    /// Whether output is a part of what the client sees.
    pub(super) fn needs_output(&self) -> bool {
        self.command.is_some()
    }

    /// The update that an entry makes, if it makes one.
    pub(super) fn translate(&mut self, entry: &Entry) -> Option<Map<String, Value>> {
        match entry {
            Entry::Update(entry) => self.update(entry.update.clone()),
            Entry::Output(entry) => self.output(entry),
            Entry::State(entry) => self.state(entry),
            Entry::Session(_) | Entry::Permission(_) | Entry::Size(_) => None,
        }
    }

    /// A tool call as this client knows it.
    pub(super) fn tool_call(&self, mut call: Map<String, Value>) -> Map<String, Value> {
        self.add_prefix(&mut call, "toolCallId");
        remove_terminals(&mut call);
        call
    }

    fn update(&mut self, mut update: Map<String, Value>) -> Option<Map<String, Value>> {
        self.add_prefix(&mut update, "messageId");
        self.add_prefix(&mut update, "toolCallId");
        match update.get("sessionUpdate").and_then(Value::as_str)? {
            // These are the front end's own to tell: the client sets loomd's modes and options, not the agent's.
            "available_commands_update" | "current_mode_update" | "config_option_update" => None,
            "tool_call" => Some(self.tool_begins(update)),
            "tool_call_update" => self.tool_continues(update),
            "notice" if !self.forms.notices => notice_as_thought(&update),
            "agent_message_chunk" | "agent_thought_chunk" => Some(corrected(update)),
            _ => Some(update),
        }
    }

    fn tool_begins(&mut self, mut call: Map<String, Value>) -> Map<String, Value> {
        remove_terminals(&mut call);
        let id = id_of(&call);
        let is_execute = call.get("kind").and_then(Value::as_str) == Some("execute");
        let has_terminal = is_execute && self.forms.tool_output != ToolOutputForm::Content;
        if has_terminal {
            let others = call.remove("content");
            let mut content = vec![json!({ "type": "terminal", "terminalId": id })];
            content.extend(others.iter().filter_map(Value::as_array).flatten().cloned());
            call.insert("content".to_owned(), content.into());
            meta(&mut call).insert("terminal_info".to_owned(), json!({ "terminal_id": id, "cwd": self.cwd }));
        }
        self.calls.insert(id.clone(), RunningCall { has_terminal, ..RunningCall::default() });
        self.tool_changes(&id, call).unwrap_or_default()
    }

    fn tool_continues(&mut self, mut update: Map<String, Value>) -> Option<Map<String, Value>> {
        remove_terminals(&mut update);
        let id = id_of(&update);
        self.tool_changes(&id, update)
    }

    /// Puts the output of a tool call into the form that the client knows. `None`: nothing is left that the client has
    /// to be told now.
    fn tool_changes(&mut self, id: &str, mut update: Map<String, Value>) -> Option<Map<String, Value>> {
        let output = update.get_mut("_meta").and_then(Value::as_object_mut).and_then(|meta| meta.remove("loomd/output"));
        if update.get("_meta").and_then(Value::as_object).is_some_and(Map::is_empty) {
            update.remove("_meta");
        }
        let has_ended = matches!(update.get("status").and_then(Value::as_str), Some("completed" | "failed"));
        let call = self.calls.entry(id.to_owned()).or_default();
        let is_more = update.keys().any(|member| !matches!(member.as_str(), "sessionUpdate" | "toolCallId"));
        let piece = output.as_ref().map(|output| {
            let offset = output["offset"].as_u64().and_then(|offset| usize::try_from(offset).ok()).unwrap_or(call.written);
            (offset, output["text"].as_str().unwrap_or_default())
        });
        let is_cut = piece.is_some_and(|(offset, _)| offset < call.written);
        if let Some((offset, text)) = piece {
            call.append(offset, text);
        }
        match self.forms.tool_output {
            ToolOutputForm::Terminal(member) if call.has_terminal => {
                let mut text = piece.map(|(_, text)| text.to_owned()).unwrap_or_default();
                if has_ended {
                    end_terminal(&mut update, id, &mut text, call.written == 0);
                }
                // A terminal cannot take back what it shows, so a correction begins on a line of its own.
                let data = if is_cut { format!("\r\n{text}") } else { text };
                if !data.is_empty() {
                    meta(&mut update).insert(member.to_owned(), json!({ "terminal_id": id, "data": data }));
                } else if piece.is_some() && !is_more {
                    return None;
                }
            }
            _ if piece.is_some() && !update.contains_key("content") => {
                let is_due = has_ended || is_cut || call.written <= SHOWN_TAIL_BYTES || call.written - call.shown >= SHOWN_STEP_BYTES;
                if is_due {
                    call.shown = call.written;
                    let content = [json!({ "type": "content", "content": text_block(tail(&call.tail, SHOWN_TAIL_BYTES)) })];
                    update.insert("content".to_owned(), content.to_vec().into());
                } else if !is_more {
                    return None;
                }
            }
            _ => {}
        }
        if has_ended {
            self.calls.remove(id);
        }
        Some(update)
    }

    fn output(&mut self, entry: &OutputEntry) -> Option<Map<String, Value>> {
        self.command.as_ref()?;
        let id = self.command_id();
        let written = self.calls.get(&id).map_or(0, |call| call.written);
        let output = json!({ "loomd/output": { "offset": written, "text": entry.text } });
        self.tool_changes(&id, object(json!({ "sessionUpdate": "tool_call_update", "toolCallId": id, "_meta": output })))
    }

    fn state(&mut self, entry: &StateEntry) -> Option<Map<String, Value>> {
        let title = self.command.clone()?;
        let id = self.command_id();
        if entry.state.is_final() {
            let mut update = object(json!({ "sessionUpdate": "tool_call_update", "toolCallId": id,
                "status": if entry.state == RunState::Succeeded { "completed" } else { "failed" } }));
            let call = self.calls.get(&id).filter(|call| !call.has_terminal && call.written > 0);
            if let Some(call) = call {
                update.insert("content".to_owned(), json!([{ "type": "content", "content": text_block(&call.tail) }]));
            }
            let end = object(json!({ "exit_code": entry.exit_code, "signal": entry.signal }));
            return self.tool_changes(&id, update).map(|update| with_exit(update, &id, end));
        }
        if entry.state != RunState::Running || self.calls.contains_key(&id) {
            return None;
        }
        Some(self.tool_begins(object(json!({ "sessionUpdate": "tool_call", "toolCallId": id, "title": title, "kind": "execute",
            "status": "in_progress", "rawInput": { "command": title, "cwd": self.cwd } }))))
    }

    fn command_id(&self) -> String {
        format!("{}{COMMAND_CALL}", self.prefix)
    }

    fn add_prefix(&self, update: &mut Map<String, Value>, member: &str) {
        if !self.prefix.is_empty()
            && let Some(Value::String(id)) = update.get_mut(member)
        {
            id.insert_str(0, &self.prefix);
        }
    }
}

impl RunningCall {
    /// Cuts the output at a byte and appends a text.
    fn append(&mut self, offset: usize, text: &str) {
        let cut = self.written.saturating_sub(offset).min(self.tail.len());
        self.tail.truncate(self.tail.floor_char_boundary(self.tail.len() - cut));
        self.tail.push_str(text);
        let surplus = self.tail.len().saturating_sub(KEPT_TAIL_BYTES);
        self.tail.drain(..self.tail.ceil_char_boundary(surplus));
        self.written = offset.min(self.written) + text.len();
        self.shown = self.shown.min(self.written);
    }
}

/// The end of a call that is shown as a terminal. Of its content stays what is no text, for the terminal has the text:
/// unless nothing was written before, and the text is the output.
fn end_terminal(update: &mut Map<String, Value>, id: &str, text: &mut String, is_silent: bool) {
    if let Some(Value::Array(blocks)) = update.get_mut("content") {
        let (texts, others): (Vec<_>, Vec<_>) = std::mem::take(blocks).into_iter().partition(|block| block["content"]["type"] == "text");
        if is_silent {
            texts.iter().filter_map(|block| block["content"]["text"].as_str()).for_each(|more| text.push_str(more));
        }
        blocks.push(json!({ "type": "terminal", "terminalId": id }));
        blocks.extend(others);
    }
    let exit = json!({ "terminal_id": id, "exit_code": null, "signal": null });
    meta(update).insert("terminal_exit".to_owned(), exit);
}

/// Says how a command ended, where its call is shown as a terminal.
fn with_exit(mut update: Map<String, Value>, id: &str, mut end: Map<String, Value>) -> Map<String, Value> {
    if let Some(exit) = update.get_mut("_meta").and_then(|meta| meta.get_mut("terminal_exit")) {
        end.insert("terminal_id".to_owned(), id.into());
        *exit = end.into();
    }
    update
}

/// A client appends the text of a chunk. So of a correction, which carries the whole text, it gets what differs.
fn corrected(mut chunk: Map<String, Value>) -> Map<String, Value> {
    let at = chunk.get("_meta").and_then(|meta| meta["loomd/contradiction"]["at"].as_u64());
    if let Some(at) = at.and_then(|at| usize::try_from(at).ok())
        && let Some(Value::String(text)) = chunk.get_mut("content").and_then(|content| content.get_mut("text"))
    {
        text.drain(..text.floor_char_boundary(at));
    }
    chunk
}

/// A warning or an error for a client that knows no notices. What is for information only is left out.
fn notice_as_thought(notice: &Map<String, Value>) -> Option<Map<String, Value>> {
    let text = |name: &str| notice.get(name).and_then(Value::as_str);
    if text("severity") == Some("info") {
        return None;
    }
    let (title, description) = (text("title")?, text("description"));
    let text = description.map_or_else(|| format!("⚠ {title}\n"), |description| format!("⚠ {title}: {description}\n"));
    Some(object(json!({ "sessionUpdate": "agent_thought_chunk", "content": text_block(&text), "_meta": { "loomd/notice": notice } })))
}

/// Removes terminals from the content: the client did not make them, and drops an update that names one. What they show
/// comes as output.
fn remove_terminals(call: &mut Map<String, Value>) {
    if let Some(Value::Array(blocks)) = call.get_mut("content") {
        let count = blocks.len();
        blocks.retain(|block| block["type"] != "terminal");
        if blocks.is_empty() && count > 0 {
            call.remove("content");
        }
    }
}

fn id_of(call: &Map<String, Value>) -> String {
    call.get("toolCallId").and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn meta(update: &mut Map<String, Value>) -> &mut Map<String, Value> {
    let meta = update.entry("_meta").or_insert_with(|| json!({}));
    if !meta.is_object() {
        *meta = json!({});
    }
    meta.as_object_mut().expect("it is an object")
}

fn tail(text: &str, bytes: usize) -> &str {
    &text[text.ceil_char_boundary(text.len().saturating_sub(bytes))..]
}

#[cfg(test)]
#[path = "translator_tests.rs"]
mod tests;
