//! What the model says in a turn: texts and thoughts, first streamed and then whole, tool calls and their results.
//!
//! Claude sends a message block by block. It streams each block under its index, and then sends it whole in an
//! `assistant` line of its own, which has the message's id but not the block's index. So whole blocks are matched with
//! streamed ones in order, kind by kind.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::tools;
use crate::{
    model::task::object,
    provider::{
        event_sink::{EventSink, Role},
        ids::name_of,
    },
};

/// Tool calls of earlier turns that are known when a turn ends: a command in the background may still have a result.
const MAX_KNOWN_CALLS: usize = 1024;

/// The messages and tool calls of a turn.
#[derive(Debug, Default)]
pub(crate) struct Messages {
    cwd: String,
    /// The blocks of each message, by the message's id.
    blocks: BTreeMap<String, Vec<StreamedBlock>>,
    /// The message that is being streamed, by the tool call of the sub-agent who writes it. The agent's own message has
    /// an empty key.
    streaming: BTreeMap<String, String>,
    calls: BTreeMap<String, ClaudeToolCall>,
    /// The agent itself wrote a text in this turn.
    pub(crate) has_text: bool,
    /// An error that the CLI reported in a message of its own.
    pub(crate) error: Option<CliError>,
    /// The tokens in the model's context after its last answer.
    pub(crate) context_tokens: u64,
}

/// An error as the CLI words it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CliError {
    pub(crate) message: String,
    pub(crate) status: Option<u16>,
}

#[derive(Debug)]
struct StreamedBlock {
    /// The block's index in the stream, if it was streamed.
    index: Option<u64>,
    /// `None` if the block contains no text.
    role: Option<Role>,
    /// The whole block was logged, or the block was abandoned.
    is_complete: bool,
    /// Its message has ended, so what was streamed of it counts.
    is_settled: bool,
}

#[derive(Debug)]
struct ClaudeToolCall {
    tool_name: String,
    /// The message that the call is a part of, and a checksum of its input: the same line may come again.
    origin: (String, [u8; 32]),
    /// The input of an edit, until it has a result.
    input: Value,
    parent: Option<String>,
    has_result: bool,
    /// The call is logged as a plan and not as a tool call.
    is_plan: bool,
}

impl Messages {
    pub(crate) fn new(cwd: &str) -> Self {
        Self { cwd: cwd.to_owned(), ..Self::default() }
    }

    /// Handles a `stream_event` line.
    pub(crate) fn handle_stream_event(&mut self, line: &Value, parent: Option<&str>, out: &mut EventSink) {
        let event = &line["event"];
        let speaker = parent.unwrap_or_default().to_owned();
        match event["type"].as_str() {
            Some("message_start") => {
                let id = event["message"]["id"].as_str().unwrap_or("message");
                self.supersede(&speaker, id, out);
                self.streaming.insert(speaker, id.to_owned());
                self.record_context(&event["message"]["usage"], parent);
            }
            Some("content_block_start") => {
                let block = &event["content_block"];
                let role = role_of(block);
                self.block_position(&speaker, event, role);
                self.delta(&speaker, event, role, text_of(block), out);
            }
            Some("content_block_delta") => {
                let delta = &event["delta"];
                self.delta(&speaker, event, role_of(delta), text_of(delta), out);
            }
            Some("message_delta") => self.record_context(&event["usage"], parent),
            Some("message_stop") => {
                let Some(id) = self.streaming.get(&speaker).cloned() else { return };
                if let Some(from) = line["abandoned_blocks"]["from_block_index"].as_u64() {
                    self.abandon(&id, from, out);
                }
                self.blocks.get_mut(&id).into_iter().flatten().for_each(|block| block.is_settled = true);
            }
            _ => {}
        }
    }

    /// Handles an `assistant` line, whose blocks are whole.
    pub(crate) fn handle_assistant(&mut self, line: &Value, parent: Option<&str>, out: &mut EventSink) {
        let message = &line["message"];
        if message["model"] == "<synthetic>" {
            return self.synthetic(line, parent, out);
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
                self.complete_text(id, role, text_of(block), parent, out);
            } else if name_of(&block["tool_use_id"]).is_some() {
                self.handle_result(block, &Value::Null, out);
            } else if block["type"].as_str().is_some_and(|kind| kind.ends_with("tool_use")) {
                self.start_call(block, id, parent, out);
            }
        }
        if !self.streaming.contains_key(parent.unwrap_or_default()) {
            self.record_context(&message["usage"], parent);
        }
    }

    /// Handles a tool's result. `detail` is what the line says about it beside the message.
    pub(crate) fn handle_result(&mut self, block: &Value, detail: &Value, out: &mut EventSink) {
        let Some(id) = name_of(&block["tool_use_id"]) else { return };
        if !self.calls.contains_key(&id) {
            // The call was never told, or long ago.
            out.begin_tool_call(&id, object(json!({ "title": "Unknown tool call", "status": "in_progress" })));
            self.expect_call(&id, "");
        }
        let Some(call) = self.calls.get_mut(&id).filter(|call| !call.is_plan) else { return };
        call.has_result = true;
        let input = std::mem::take(&mut call.input);
        let failed = block["is_error"] == true;
        let (text, mut content) = tools::result_content(&block["content"]);
        let is_edit = tools::kind(&call.tool_name) == "edit";
        let is_empty = text.is_empty() || tools::has_no_output(detail);
        // The diff of a successful edit shows all that a person wants to know.
        let whole = (!is_empty && (failed || !is_edit)).then_some(text.as_str());
        if is_edit && !failed {
            content.extend(tools::applied_diff(detail, &input, &self.cwd));
        }
        let fields = if content.is_empty() { Map::new() } else { object(json!({ "content": content })) };
        out.tool_ended(&id, if failed { "failed" } else { "completed" }, whole, fields);
    }

    /// The tool call that started the sub-agent to which this tool call belongs.
    pub(crate) fn parent_of(&self, call: &str) -> Option<String> {
        self.calls.get(call)?.parent.clone()
    }

    /// Registers a tool call whose permission request came before the model's message.
    pub(crate) fn expect_call(&mut self, id: &str, tool_name: &str) {
        if self.calls.get(id).is_none_or(|call| call.has_result) {
            let call = ClaudeToolCall {
                tool_name: tool_name.to_owned(),
                origin: (String::new(), [0; 32]),
                input: Value::Null,
                parent: None,
                has_result: false,
                is_plan: false,
            };
            self.calls.insert(id.to_owned(), call);
        }
    }

    /// Ends the turn. Its tool calls may still have a result.
    pub(crate) fn end_turn(&mut self) {
        let mut calls = std::mem::take(&mut self.calls);
        if calls.len() > MAX_KNOWN_CALLS {
            calls.retain(|_, call| !call.has_result);
        }
        *self = Self { calls, ..Self::new(&self.cwd) };
    }

    fn start_call(&mut self, block: &Value, message: &str, parent: Option<&str>, out: &mut EventSink) {
        let (Some(id), Some(tool_name)) = (name_of(&block["id"]), block["name"].as_str()) else { return };
        let checksum = *blake3::hash(block["input"].to_string().as_bytes()).as_bytes();
        let origin = (message.to_owned(), checksum);
        if self.calls.get(&id).is_some_and(|call| (call.has_result || call.is_plan) && call.origin == origin) {
            return;
        }
        let plan = if tool_name == tools::PLAN_TOOL { tools::plan(&block["input"]) } else { None };
        let call = ClaudeToolCall {
            tool_name: tool_name.to_owned(),
            origin,
            input: if tools::kind(tool_name) == "edit" { block["input"].clone() } else { Value::Null },
            parent: parent.map(str::to_owned),
            has_result: false,
            is_plan: plan.is_some(),
        };
        self.calls.insert(id.clone(), call);
        match plan {
            Some(plan) => out.update(plan),
            None => {
                let mut fields = tools::describe(tool_name, &block["input"], &self.cwd);
                fields.insert("status".to_owned(), json!("in_progress"));
                out.begin_tool_call(&id, fields);
            }
        }
    }

    /// Handles a message that the CLI writes in the model's place: an error, or the output of one of its own commands.
    fn synthetic(&mut self, line: &Value, parent: Option<&str>, out: &mut EventSink) {
        let message = &line["message"];
        let texts: Vec<&str> = message["content"].as_array().into_iter().flatten().filter_map(|block| block["text"].as_str()).collect();
        let text = texts.join("\n");
        let is_error = line["error"].is_string() || line["is_api_error_message"] == true || text.starts_with("API Error");
        if is_error && parent.is_none() {
            let status = line["api_error_status"].as_u64().and_then(|status| u16::try_from(status).ok());
            self.error = Some(CliError { message: text, status });
        } else if !is_error && text != "No response requested." {
            self.complete_text(message["id"].as_str().unwrap_or("message"), Role::Agent, &text, parent, out);
        }
    }

    /// Logs a whole text as that of the first block of its kind that was streamed and is not complete. Without such a
    /// block it was not streamed.
    fn complete_text(&mut self, id: &str, role: Role, text: &str, parent: Option<&str>, out: &mut EventSink) {
        let blocks = self.blocks.entry(id.to_owned()).or_default();
        let position = blocks.iter().position(|block| block.role == Some(role) && !block.is_complete).unwrap_or_else(|| {
            blocks.push(StreamedBlock { index: None, role: Some(role), is_complete: false, is_settled: false });
            blocks.len() - 1
        });
        if let Some(block) = blocks.get_mut(position) {
            block.is_complete = true;
        }
        self.has_text |= role == Role::Agent && parent.is_none() && !text.is_empty();
        out.text_whole(role, Some(&block_name(id, position)), text);
    }

    fn delta(&mut self, speaker: &str, event: &Value, role: Option<Role>, text: &str, out: &mut EventSink) {
        let Some(role) = role.filter(|_| !text.is_empty()) else { return };
        let Some((id, position)) = self.block_position(speaker, event, Some(role)) else { return };
        self.has_text |= role == Role::Agent && speaker.is_empty();
        out.text_delta(role, Some(&block_name(&id, position)), text);
    }

    /// The streamed block of an event: the message's id, and the block's position in the message.
    fn block_position(&mut self, speaker: &str, event: &Value, role: Option<Role>) -> Option<(String, usize)> {
        let id = self.streaming.get(speaker)?;
        let index = event["index"].as_u64()?;
        let blocks = self.blocks.entry(id.clone()).or_default();
        let position = blocks.iter().position(|block| block.index == Some(index)).unwrap_or_else(|| {
            blocks.push(StreamedBlock { index: Some(index), role, is_complete: false, is_settled: false });
            blocks.len() - 1
        });
        Some((id.clone(), position))
    }

    /// Starts another message. Blocks of the last one that were streamed and never sent whole are abandoned, because
    /// its stream broke.
    fn supersede(&mut self, speaker: &str, id: &str, out: &mut EventSink) {
        if let Some(last) = self.streaming.get(speaker).filter(|last| *last != id).cloned() {
            self.abandon(&last, 0, out);
            self.streaming.remove(speaker);
        }
    }

    fn abandon(&mut self, id: &str, from: u64, out: &mut EventSink) {
        for (position, block) in self.blocks.get_mut(id).into_iter().flatten().enumerate() {
            if block.index.is_some_and(|index| index >= from)
                && !block.is_settled
                && !std::mem::replace(&mut block.is_complete, true)
                && let Some(role) = block.role
            {
                out.abandon_message(role, &block_name(id, position));
            }
        }
    }

    fn record_context(&mut self, usage: &Value, parent: Option<&str>) {
        let count = |field: &str| usage[field].as_u64().unwrap_or_default();
        let sum = ["input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens"]
            .iter()
            .fold(0_u64, |sum, field| sum.saturating_add(count(field)));
        if parent.is_none() && sum > 0 {
            self.context_tokens = sum;
        }
    }
}

/// The name of a message's block, which begins with Claude's own id of the message.
fn block_name(id: &str, position: usize) -> String {
    format!("{id}.{position}")
}

/// Who wrote a block or a delta, if it is a text.
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
