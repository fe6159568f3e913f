//! What the agent says and does in a turn: Codex' items, from their beginning over their deltas to their end.

use serde_json::{Map, Value, json};

use super::calls;
use crate::provider::{
    out::{Out, Role, Severity},
    task::object,
};

/// The items that have begun and not ended.
pub struct Items {
    cwd: String,
    texts: Vec<OpenText>,
    tools: Vec<OpenTool>,
}

struct OpenText {
    thread: String,
    item: String,
    role: Role,
    name: String,
}

struct OpenTool {
    thread: String,
    item: String,
    is_command: bool,
}

impl Items {
    pub fn new(cwd: &str) -> Self {
        Self { cwd: cwd.to_owned(), texts: Vec::new(), tools: Vec::new() }
    }

    /// A command that still runs; it may outlive its turn.
    pub fn is_running_command(&self, item: &str) -> bool {
        self.tools.iter().any(|tool| tool.is_command && tool.item == item)
    }

    pub fn started(&mut self, thread: &str, item: &Value, out: &mut Out) {
        let Some(id) = item["id"].as_str() else { return };
        if let Some(call) = calls::begun(item, &self.cwd) {
            self.tool_opened(thread, id, item);
            out.tool(id, call);
        }
    }

    pub fn completed(&mut self, item: &Value, out: &mut Out) {
        let Some(id) = item["id"].as_str() else { return };
        match item["type"].as_str().unwrap_or_default() {
            "agentMessage" | "plan" => out.text_whole(Role::Agent, Some(id), item["text"].as_str().unwrap_or_default()),
            "reasoning" => {
                for (list, name) in [("summary", summary as fn(&str, u64) -> String), ("content", content)] {
                    for (index, text) in (0_u64..).zip(item[list].as_array().into_iter().flatten()) {
                        out.text_whole(Role::Thought, Some(&name(id, index)), text.as_str().unwrap_or_default());
                    }
                }
            }
            "contextCompaction" => out.notice(Severity::Info, "Codex shortened the conversation to make room", None),
            _ => {
                if let Some(mut call) = calls::begun(item, &self.cwd) {
                    // The status of its end follows.
                    call.remove("status");
                    out.tool(id, call);
                    let over = calls::ended(item);
                    out.tool_ended(id, over.status, over.output.as_deref(), over.fields);
                }
            }
        }
        self.texts.retain(|text| text.item != id);
        self.tools.retain(|tool| tool.item != id);
    }

    /// A piece of an item. Other methods than those known are left alone.
    pub fn delta(&mut self, thread: &str, method: &str, params: &Value, out: &mut Out) {
        let (Some(id), Some(delta)) = (params["itemId"].as_str(), params["delta"].as_str()) else { return };
        let index = |name: &str| params[name].as_u64().unwrap_or_default();
        let (role, name) = match method {
            "item/agentMessage/delta" | "item/plan/delta" => (Role::Agent, id.to_owned()),
            "item/reasoning/summaryTextDelta" => (Role::Thought, summary(id, index("summaryIndex"))),
            "item/reasoning/textDelta" => (Role::Thought, content(id, index("contentIndex"))),
            "item/commandExecution/outputDelta" => {
                // What came before its call was told of, or after the turn that knew it, comes with its end.
                if out.knows_tool(id) {
                    out.tool_output(id, delta);
                }
                return;
            }
            _ => return,
        };
        if !self.texts.iter().any(|text| text.role == role && text.name == name) {
            self.texts.push(OpenText { thread: thread.to_owned(), item: id.to_owned(), role, name: name.clone() });
        }
        out.text_delta(role, Some(&name), delta);
    }

    /// The files of a change that is being written became known.
    pub fn patch_updated(&mut self, params: &Value, out: &mut Out) {
        if let Some(id) = params["itemId"].as_str().filter(|id| out.knows_tool(id)) {
            out.tool(id, super::changes::tool_call(&params["changes"], &self.cwd));
        }
    }

    /// The agent's plan. Codex tells all of it each time, as ACP does.
    pub fn plan(&mut self, params: &Value, out: &mut Out) {
        let steps = params["plan"].as_array().into_iter().flatten();
        let entries = steps.filter_map(|step| {
            let status = match step["status"].as_str() {
                Some("completed") => "completed",
                Some("inProgress" | "in_progress") => "in_progress",
                _ => "pending",
            };
            Some(json!({ "content": step["step"].as_str()?, "priority": "medium", "status": status }))
        });
        out.update(object(json!({ "sessionUpdate": "plan", "entries": entries.collect::<Vec<_>>() })));
    }

    /// The thread's request to its model is made anew: what was half said will be said again under other names.
    pub fn abandoned(&mut self, thread: &str, out: &mut Out) {
        for text in self.texts.extract_if(.., |text| text.thread == thread) {
            out.abandon(text.role, &text.name);
        }
    }

    /// The turn is over. If it broke off, its calls will not end by themselves; after a whole one, a command may go on in the background.
    pub fn turn_ended(&mut self, broke_off: bool, out: &mut Out) {
        self.texts.clear();
        if broke_off {
            for tool in self.tools.drain(..) {
                out.tool_ended(&tool.item, "failed", None, Map::new());
            }
        }
        self.tools.retain(|tool| tool.is_command);
    }

    /// The thread of a sub-agent is done.
    pub fn thread_ended(&mut self, thread: &str) {
        self.texts.retain(|text| text.thread != thread);
        self.tools.retain(|tool| tool.thread != thread);
    }

    fn tool_opened(&mut self, thread: &str, id: &str, item: &Value) {
        if !self.tools.iter().any(|tool| tool.item == id) {
            let is_command = item["type"] == "commandExecution";
            self.tools.push(OpenTool { thread: thread.to_owned(), item: id.to_owned(), is_command });
        }
    }
}

/// The name of a part of a summary of what was thought. The first has the item's own.
fn summary(id: &str, index: u64) -> String {
    if index == 0 { id.to_owned() } else { format!("{id}:{index}") }
}

/// The name of a part of what was thought, word by word.
fn content(id: &str, index: u64) -> String {
    format!("{id}:content:{index}")
}
