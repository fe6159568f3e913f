//! What the model says in a turn: texts and thoughts, streamed and then whole, tool calls and their results.
//!
//! Claude says a message block by block. Each block is streamed under its index, then told whole in an `assistant` line of its own that
//! names the message and not the index; so whole blocks are matched with streamed ones in order, kind by kind.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::tools;
use crate::provider::{
    out::{Out, Role},
    task::object,
};

/// The messages and tool calls of a turn.
#[derive(Debug, Default)]
pub struct Messages {
    cwd: String,
    /// By the message's id.
    known: BTreeMap<String, Vec<Block>>,
    /// The message that is being streamed, by the tool call of the sub-agent who says it; of the agent itself under an empty name.
    streaming: BTreeMap<String, String>,
    calls: BTreeMap<String, Call>,
    /// The agent itself said something in this turn.
    pub said_text: bool,
    /// What the CLI itself said in the model's place about an error.
    pub error: Option<Trouble>,
    /// Tokens in the model's context after its last answer.
    pub context: u64,
}

/// An error as the CLI words it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    pub message: String,
    pub status: Option<u16>,
}

#[derive(Debug)]
struct Block {
    /// Its index in the stream, if it was streamed.
    index: Option<u64>,
    /// `None`: it holds no text.
    role: Option<Role>,
    /// It was told whole, or given up.
    settled: bool,
}

#[derive(Debug)]
struct Call {
    name: String,
    parent: Option<String>,
    ended: bool,
    /// It is told of as something else than a tool call.
    silent: bool,
}

impl Messages {
    pub fn new(cwd: &str) -> Self {
        Self { cwd: cwd.to_owned(), ..Self::default() }
    }

    /// A `stream_event` line.
    pub fn streamed(&mut self, said: &Value, parent: Option<&str>, out: &mut Out) {
        let event = &said["event"];
        let speaker = parent.unwrap_or_default().to_owned();
        match event["type"].as_str() {
            Some("message_start") => {
                let id = event["message"]["id"].as_str().unwrap_or("message");
                self.supersede(&speaker, id, out);
                self.streaming.insert(speaker, id.to_owned());
                self.note_context(&event["message"]["usage"], parent);
            }
            Some("content_block_start") => {
                let block = &event["content_block"];
                let role = role_of(block);
                self.block(&speaker, event, role);
                self.delta(&speaker, event, role, text_of(block), out);
            }
            Some("content_block_delta") => {
                let delta = &event["delta"];
                self.delta(&speaker, event, role_of(delta), text_of(delta), out);
            }
            Some("message_delta") => self.note_context(&event["usage"], parent),
            Some("message_stop") => {
                if let Some(from) = said["abandoned_blocks"]["from_block_index"].as_u64()
                    && let Some(id) = self.streaming.get(&speaker).cloned()
                {
                    self.abandon(&id, from, out);
                }
            }
            _ => {}
        }
    }

    /// An `assistant` line: blocks that are whole.
    pub fn whole(&mut self, said: &Value, parent: Option<&str>, out: &mut Out) {
        let message = &said["message"];
        if message["model"] == "<synthetic>" {
            return self.synthetic(said, parent, out);
        }
        let id = message["id"].as_str().unwrap_or("message");
        self.supersede(parent.unwrap_or_default(), id, out);
        let single = [json!({ "type": "text", "text": message["content"] })];
        let blocks = match &message["content"] {
            Value::Array(blocks) => blocks.as_slice(),
            Value::String(_) => &single,
            _ => &[],
        };
        for block in blocks {
            if let Some(role) = role_of(block) {
                self.settle(id, role, text_of(block), parent, out);
            } else if block["tool_use_id"].is_string() {
                self.result(block, &Value::Null, out);
            } else if block["type"].as_str().is_some_and(|kind| kind.ends_with("tool_use")) {
                self.call(block, parent, out);
            }
        }
        if !self.streaming.contains_key(parent.unwrap_or_default()) {
            self.note_context(&message["usage"], parent);
        }
    }

    /// A tool's result. `detail` is what the line says of it beside the message.
    pub fn result(&mut self, block: &Value, detail: &Value, out: &mut Out) {
        let Some(id) = block["tool_use_id"].as_str() else { return };
        let Some(call) = self.calls.get_mut(id) else { return };
        if call.silent || std::mem::replace(&mut call.ended, true) {
            return;
        }
        let failed = block["is_error"] == true;
        let (text, mut content) = tools::result_content(&block["content"]);
        let is_edit = tools::kind(&call.name) == "edit";
        let is_empty = text.is_empty() || tools::says_nothing(detail);
        // Of an edit that was made, the diff says all that a person wants to know.
        let whole = (!is_empty && (failed || !is_edit)).then_some(text.as_str());
        if is_edit && !failed {
            content.extend(tools::made_diff(detail, &self.cwd));
        }
        let fields = if content.is_empty() { Map::new() } else { object(json!({ "content": content })) };
        out.tool_ended(id, if failed { "failed" } else { "completed" }, whole, fields);
    }

    /// The sub-agent whose tool call this is, by the tool call that started it.
    pub fn parent_of(&self, call: &str) -> Option<String> {
        self.calls.get(call)?.parent.clone()
    }

    /// A tool call that a question told of before the model's message did.
    pub fn expect_call(&mut self, id: &str, name: &str) {
        let call = || Call { name: name.to_owned(), parent: None, ended: false, silent: false };
        self.calls.entry(id.to_owned()).or_insert_with(call);
    }

    /// The turn is over: what has no result will get none.
    pub fn close(&mut self, out: &mut Out) {
        for (id, call) in std::mem::take(&mut self.calls) {
            if !call.ended && !call.silent {
                out.within(call.parent.as_deref());
                out.tool_ended(&id, "failed", None, Map::new());
            }
        }
        out.within(None);
        *self = Self::new(&self.cwd);
    }

    fn call(&mut self, block: &Value, parent: Option<&str>, out: &mut Out) {
        let (Some(id), Some(name)) = (block["id"].as_str(), block["name"].as_str()) else { return };
        if self.calls.get(id).is_some_and(|call| call.ended || call.silent) {
            return;
        }
        let plan = if name == tools::PLANNING { tools::plan(&block["input"]) } else { None };
        let call = Call { name: name.to_owned(), parent: parent.map(str::to_owned), ended: false, silent: plan.is_some() };
        self.calls.insert(id.to_owned(), call);
        match plan {
            Some(plan) => out.update(plan),
            None => {
                let mut fields = tools::describe(name, &block["input"], &self.cwd);
                fields.insert("status".to_owned(), json!("in_progress"));
                out.tool(id, fields);
            }
        }
    }

    /// What the CLI says in the model's place: an error, or what one of its own commands found.
    fn synthetic(&mut self, said: &Value, parent: Option<&str>, out: &mut Out) {
        let message = &said["message"];
        let texts: Vec<&str> = message["content"].as_array().into_iter().flatten().filter_map(|block| block["text"].as_str()).collect();
        let text = texts.join("\n");
        let is_error = said["error"].is_string() || said["is_api_error_message"] == true || text.starts_with("API Error");
        if is_error && parent.is_none() {
            let status = said["api_error_status"].as_u64().and_then(|status| u16::try_from(status).ok());
            self.error = Some(Trouble { message: text, status });
        } else if !is_error && text != "No response requested." {
            self.settle(message["id"].as_str().unwrap_or("message"), Role::Agent, &text, parent, out);
        }
    }

    /// A whole text is that of the first block of its kind that was streamed and not told whole yet; else it was not streamed.
    fn settle(&mut self, id: &str, role: Role, text: &str, parent: Option<&str>, out: &mut Out) {
        let blocks = self.known.entry(id.to_owned()).or_default();
        let place = blocks.iter().position(|block| block.role == Some(role) && !block.settled).unwrap_or_else(|| {
            blocks.push(Block { index: None, role: Some(role), settled: false });
            blocks.len() - 1
        });
        if let Some(block) = blocks.get_mut(place) {
            block.settled = true;
        }
        self.said_text |= role == Role::Agent && parent.is_none() && !text.is_empty();
        out.text_whole(role, Some(&name(id, place)), text);
    }

    fn delta(&mut self, speaker: &str, event: &Value, role: Option<Role>, text: &str, out: &mut Out) {
        let Some(role) = role.filter(|_| !text.is_empty()) else { return };
        let Some((id, place)) = self.block(speaker, event, Some(role)) else { return };
        self.said_text |= role == Role::Agent && speaker.is_empty();
        out.text_delta(role, Some(&name(&id, place)), text);
    }

    /// The place of the streamed block that an event is about: the message's id, and the number among its blocks.
    fn block(&mut self, speaker: &str, event: &Value, role: Option<Role>) -> Option<(String, usize)> {
        let id = self.streaming.get(speaker)?;
        let index = event["index"].as_u64()?;
        let blocks = self.known.entry(id.clone()).or_default();
        let place = blocks.iter().position(|block| block.index == Some(index)).unwrap_or_else(|| {
            blocks.push(Block { index: Some(index), role, settled: false });
            blocks.len() - 1
        });
        Some((id.clone(), place))
    }

    /// Another message begins. What was streamed of the last one and never told whole was given up: its stream broke.
    fn supersede(&mut self, speaker: &str, id: &str, out: &mut Out) {
        if let Some(last) = self.streaming.get(speaker).filter(|last| *last != id).cloned() {
            self.abandon(&last, 0, out);
            self.streaming.remove(speaker);
        }
    }

    fn abandon(&mut self, id: &str, from: u64, out: &mut Out) {
        for (place, block) in self.known.get_mut(id).into_iter().flatten().enumerate() {
            if block.index.is_some_and(|index| index >= from)
                && !std::mem::replace(&mut block.settled, true)
                && let Some(role) = block.role
            {
                out.abandon(role, &name(id, place));
            }
        }
    }

    fn note_context(&mut self, usage: &Value, parent: Option<&str>) {
        let count = |field: &str| usage[field].as_u64().unwrap_or_default();
        let sum = ["input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens"]
            .iter()
            .fold(0_u64, |sum, field| sum.saturating_add(count(field)));
        if parent.is_none() && sum > 0 {
            self.context = sum;
        }
    }
}

/// The name of a message's block; ids of messages are Claude's own.
fn name(id: &str, place: usize) -> String {
    format!("{id}.{place}")
}

/// Who speaks in a block or a delta that is a text.
fn role_of(block: &Value) -> Option<Role> {
    match block["type"].as_str()? {
        "text" | "text_delta" => Some(Role::Agent),
        "thinking" | "thinking_delta" => Some(Role::Thought),
        _ => None,
    }
}

fn text_of(block: &Value) -> &str {
    block["text"].as_str().or_else(|| block["thinking"].as_str()).unwrap_or_default()
}
