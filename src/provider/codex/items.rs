//! Items of Codex: messages, reasoning and tool calls, from their start over their deltas to their end.

use serde_json::{Value, json};

use super::calls;
use crate::{
    model::task::object,
    provider::{
        event_sink::{EventSink, Role, Severity},
        ids::{MadeNames, name_of},
    },
};

/// The items that have started and not ended.
pub(crate) struct Items {
    cwd: String,
    texts: Vec<OpenText>,
    made_names: MadeNames,
    /// The notice of a compaction was logged; Codex may tell it as an item and as a notification.
    is_compacted: bool,
}

/// A message or reasoning text that is being streamed.
struct OpenText {
    thread: String,
    item: String,
    role: Role,
    name: String,
}

impl Items {
    pub(crate) fn new(cwd: &str) -> Self {
        Self { cwd: cwd.to_owned(), texts: Vec::new(), made_names: MadeNames::default(), is_compacted: false }
    }

    /// Gives the item of a message a name, where it has none that is a text.
    pub(crate) fn name_item(&mut self, message: &mut Value) {
        let begins = message["method"] == "item/started";
        let Some(params) = message.get_mut("params") else { return };
        if let Some(id) = params.get("itemId").filter(|id| id.is_number()).and_then(name_of) {
            params["itemId"] = json!(id);
        }
        if let Some(item) = params.get_mut("item").filter(|item| item.is_object() && !item["id"].is_string()) {
            let kind = item["type"].as_str().unwrap_or("item").to_owned();
            item["id"] = json!(self.made_names.name(item.get("id"), &kind, begins, !begins));
        }
    }

    pub(crate) fn item_started(&mut self, item: &Value, out: &mut EventSink) {
        let Some(id) = item["id"].as_str() else { return };
        if let Some(call) = calls::tool_call(item, &self.cwd) {
            out.begin_tool_call(id, call);
        }
    }

    pub(crate) fn item_completed(&mut self, item: &Value, out: &mut EventSink) {
        let Some(id) = item["id"].as_str() else { return };
        match item["type"].as_str().unwrap_or_default() {
            "agentMessage" | "plan" => out.text_whole(Role::Agent, Some(id), item["text"].as_str().unwrap_or_default()),
            "reasoning" => {
                for (list, name) in [("summary", summary_name as fn(&str, u64) -> String), ("content", reasoning_name)] {
                    for (index, text) in (0_u64..).zip(item[list].as_array().into_iter().flatten()) {
                        out.text_whole(Role::Thought, Some(&name(id, index)), text.as_str().unwrap_or_default());
                    }
                }
            }
            "exitedReviewMode" => out.text_whole(Role::Agent, Some(id), item["review"].as_str().unwrap_or_default()),
            "contextCompaction" => self.compacted(out),
            _ => {
                if let Some(mut call) = calls::tool_call(item, &self.cwd) {
                    // `tool_ended` sets the status.
                    call.remove("status");
                    if out.tools.has_ended(id) && !out.tools.was_closed(id) && out.tools.differs(id, &call, &["title", "rawInput"]) {
                        out.begin_tool_call(id, call);
                    } else {
                        out.tool_call(id, call);
                    }
                    let end = calls::end_of_call(item);
                    out.tool_ended(id, end.status, end.output.as_deref(), end.fields);
                }
            }
        }
        self.texts.retain(|text| text.item != id);
    }

    /// Codex has summarized the conversation.
    pub(crate) fn compacted(&mut self, out: &mut EventSink) {
        if !std::mem::replace(&mut self.is_compacted, true) {
            out.notice(Severity::Info, "Codex compacted the conversation to fit the model's context", None);
        }
    }

    /// A delta of an item. Unknown methods are ignored.
    pub(crate) fn delta(&mut self, thread: &str, method: &str, params: &Value, out: &mut EventSink) {
        let (Some(id), Some(delta)) = (params["itemId"].as_str(), params["delta"].as_str()) else { return };
        let index = |name: &str| params[name].as_u64().unwrap_or_default();
        let (role, name) = match method {
            "item/agentMessage/delta" | "item/plan/delta" => (Role::Agent, id.to_owned()),
            "item/reasoning/summaryTextDelta" => (Role::Thought, summary_name(id, index("summaryIndex"))),
            "item/reasoning/textDelta" => (Role::Thought, reasoning_name(id, index("contentIndex"))),
            "item/commandExecution/outputDelta" => {
                // Output that comes before the tool call is logged, or after the end of its turn, is in the output
                // with which the item ends.
                if out.has_tool_call(id) {
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

    /// Codex has written more of a change of files.
    pub(crate) fn patch_updated(&mut self, params: &Value, out: &mut EventSink) {
        if let Some(id) = params["itemId"].as_str().filter(|id| out.has_tool_call(id)) {
            out.tool_call(id, super::changes::tool_call(&params["changes"], &self.cwd));
        }
    }

    /// The plan of the agent. Codex sends the whole plan each time, as ACP requires it.
    pub(crate) fn plan(&mut self, params: &Value, out: &mut EventSink) {
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

    /// Codex repeats the request of this thread to its model. The messages that were streamed in part come again
    /// under other ids.
    pub(crate) fn abandon_texts(&mut self, thread: &str, out: &mut EventSink) {
        for text in self.texts.extract_if(.., |text| text.thread == thread) {
            out.abandon_message(text.role, &text.name);
        }
    }

    /// The turn has ended. A command may continue in the background.
    pub(crate) fn turn_ended(&mut self) {
        self.texts.clear();
        self.is_compacted = false;
    }

    /// The turn of a sub-agent's thread has ended.
    pub(crate) fn thread_ended(&mut self, thread: &str) {
        self.texts.retain(|text| text.thread != thread);
    }
}

/// The name of a part of a reasoning summary. The first part has the id of the item.
fn summary_name(id: &str, index: u64) -> String {
    if index == 0 { id.to_owned() } else { format!("{id}:{index}") }
}

/// The name of a part of the full reasoning text.
fn reasoning_name(id: &str, index: u64) -> String {
    format!("{id}:content:{index}")
}
