//! Notifications of Codex: about itself, the thread, its turns and items, and its sub-agents.

use serde_json::{Map, Value, json};

use super::CodexAdapter;
use crate::{
    model::task::object,
    provider::{
        codex::turn::TurnStage,
        error_kind,
        event_sink::{EventSink, Severity},
    },
};

impl CodexAdapter {
    pub(super) fn handle_notification(&mut self, method: &str, params: &Value, out: &mut EventSink) {
        let thread = params["threadId"].as_str().unwrap_or_default();
        match method {
            "warning" => self.warn(params["message"].as_str(), None, out),
            "configWarning" => self.warn(params["summary"].as_str(), params["details"].as_str(), out),
            "deprecationNotice" => {
                let summary = params["summary"].as_str().unwrap_or_default();
                if self.reported_warnings.insert(summary.to_owned()) {
                    out.notice(Severity::Info, summary, params["details"].as_str());
                }
            }
            "model/rerouted" => {
                let model = |name: &str| params[name].as_str().unwrap_or("another model");
                self.warn(Some(&format!("Codex continues with {} instead of {}", model("toModel"), model("fromModel"))), None, out);
            }
            "mcpServer/startupStatus/updated" if params["status"] == "failed" => {
                let server = params["name"].as_str().unwrap_or_default();
                self.warn(Some(&format!("the MCP server {server} could not be started")), params["error"].as_str(), out);
            }
            "mcpServer/oauthLogin/completed" if params["success"] == false => {
                let server = params["name"].as_str().unwrap_or_default();
                self.warn(Some(&format!("the login to the MCP server {server} failed")), params["error"].as_str(), out);
            }
            "guardianWarning" => self.warn(params["message"].as_str(), None, out),
            "serverRequest/resolved" => self.approvals.handle_resolved(&params["requestId"], out),
            "thread/started" => self.thread_started(&params["thread"], out),
            _ if self.thread.is_none() || thread.is_empty() => {}
            _ if thread == self.thread_id() => self.handle_own_thread(method, params, out),
            _ => self.handle_sub_agent(thread, method, params, out),
        }
    }

    /// A notification for the run's own thread.
    fn handle_own_thread(&mut self, method: &str, params: &Value, out: &mut EventSink) {
        let turn = &params["turn"];
        match method {
            "turn/started" => match (turn["id"].as_str(), &self.turn.stage) {
                (Some(id), TurnStage::Requested) if !self.turn.has_ended(id) => self.set_turn_id(id, out),
                // No prompt of ours started this turn: Codex continues by itself.
                (Some(id), TurnStage::None) if !self.turn.has_ended(id) => {
                    self.turn.begin(TurnStage::Running(id.to_owned()), true);
                    out.turn_started();
                }
                _ => {}
            },
            "turn/completed" => {
                let id = turn["id"].as_str().unwrap_or_default();
                if self.turn.is_running(id) || (self.turn.stage == TurnStage::Requested && !self.turn.has_ended(id)) {
                    self.turn_completed(turn, out);
                }
            }
            "thread/tokenUsage/updated" => {
                let usage = &params["tokenUsage"];
                let is_in_turn = params["turnId"].as_str().is_some_and(|turn| self.turn.is_running(turn));
                self.token_usage.update(params["threadId"].as_str().unwrap_or_default(), usage, is_in_turn);
                if let (true, Some(used), Some(size)) =
                    (is_in_turn, usage["last"]["totalTokens"].as_u64(), usage["modelContextWindow"].as_u64())
                {
                    out.update(object(json!({ "sessionUpdate": "usage_update", "used": used, "size": size })));
                }
            }
            _ => {
                let is_current =
                    params["turnId"].as_str().is_none_or(|turn| self.turn.is_running(turn)) && self.turn.stage != TurnStage::None;
                let item = params["item"]["id"].as_str().or_else(|| params["itemId"].as_str());
                // A tool call may outlive its turn. Everything else that belongs to another turn is late, or the history
                // of the thread.
                if is_current || item.is_some_and(|item| out.has_tool_call(item)) {
                    self.handle_item(method, params, out);
                }
            }
        }
    }

    /// A notification about an item of the run's thread or of a sub-agent's.
    fn handle_item(&mut self, method: &str, params: &Value, out: &mut EventSink) {
        let thread = params["threadId"].as_str().unwrap_or_default();
        let item = &params["item"];
        if item["type"] == "userMessage" {
            let is_own = thread == self.thread_id();
            if is_own && item["id"].as_str().is_some_and(|id| self.turn.take_echo(id)) {
                out.prompt_accepted();
            }
            if is_own && method == "item/completed" {
                self.report_saved(out);
            }
            return;
        }
        if thread == self.thread_id() && self.turn.stage != TurnStage::None && method.starts_with("item/") {
            if self.turn.mark_taken() {
                out.prompt_accepted();
            }
            self.report_saved(out);
        }
        match method {
            "item/started" => self.items.item_started(item, out),
            "item/completed" => self.items.item_completed(item, out),
            "item/fileChange/patchUpdated" => self.items.patch_updated(params, out),
            "turn/plan/updated" => self.items.plan(params, out),
            "thread/compacted" => self.items.compacted(out),
            "hook/completed" => {
                let run = &params["run"];
                if matches!(run["status"].as_str(), Some("blocked" | "failed" | "stopped" | "error")) {
                    let title =
                        format!("A hook ({}) {}", run["eventName"].as_str().unwrap_or("hook"), run["status"].as_str().unwrap_or("failed"));
                    out.notice(Severity::Warning, &title, error_kind::words(&run["entries"]).as_deref());
                }
            }
            "item/autoApprovalReview/completed" if params["review"]["status"] != "approved" => {
                let title =
                    format!("A review of what Codex wanted to do: {}", params["review"]["status"].as_str().unwrap_or("no decision"));
                out.notice(Severity::Warning, &title, params["review"]["rationale"].as_str());
            }
            "error" if params["willRetry"] == true => {
                self.items.abandon_texts(thread, out);
                let error = &params["error"];
                let title = error_kind::words(error).unwrap_or_else(|| "Codex is retrying".to_owned());
                out.notice(Severity::Warning, &title, error["additionalDetails"].as_str());
            }
            "error" => self.error = params["error"].clone(),
            _ => self.items.delta(thread, method, params, out),
        }
        for agent in item["receiverThreadIds"].as_array().into_iter().flatten().chain([&item["agentThreadId"]]) {
            if let (Some(agent), Some(call)) = (agent.as_str(), item["id"].as_str()) {
                self.parents.entry(agent.to_owned()).or_insert_with(|| call.to_owned());
            }
        }
    }

    /// A notification for the thread of a sub-agent.
    fn handle_sub_agent(&mut self, thread: &str, method: &str, params: &Value, out: &mut EventSink) {
        match method {
            "thread/tokenUsage/updated" => self.token_usage.update(thread, &params["tokenUsage"], self.turn.stage != TurnStage::None),
            "turn/completed" => {
                self.items.thread_ended(thread);
                // The call that was made for the sub-agent alone ends with its turn.
                if self.parents.get(thread).is_some_and(|call| call == thread) {
                    let status = if params["turn"]["status"] == "completed" { "completed" } else { "failed" };
                    out.tool_ended(thread, status, None, Map::new());
                }
            }
            _ if self.turn.stage == TurnStage::None => {}
            // An error of the sub-agent's thread ends its turn only. An error that ends the run's turn comes for the
            // run's thread.
            "error" if params["willRetry"] != true => {}
            _ => {
                let parent = self.parents.get(thread).cloned();
                out.set_parent(parent.as_deref().or(Some(thread)));
                self.handle_item(method, params, out);
                out.set_parent(None);
            }
        }
    }

    fn thread_started(&mut self, thread: &Value, out: &mut EventSink) {
        let Some(id) = thread["id"].as_str() else { return };
        match thread["parentThreadId"].as_str() {
            None if self.thread.is_none() && self.task.resume.is_none() => self.set_thread(thread, out),
            Some(_) if id != self.thread_id() && self.turn.stage != TurnStage::None && !self.parents.contains_key(id) => {
                // The tool call that started the sub-agent may be reported later, or never. So the sub-agent gets a
                // call of its own.
                let name = thread["agentNickname"].as_str().unwrap_or("Sub-agent");
                out.tool_call(id, object(json!({ "title": name, "kind": "think", "status": "in_progress" })));
                self.parents.insert(id.to_owned(), id.to_owned());
            }
            _ => {}
        }
    }

    /// Codex writes the thread's file when its first turn has begun. A thread without a file cannot be resumed.
    pub(super) fn report_saved(&mut self, out: &mut EventSink) {
        if let Some(thread) = self.thread.as_mut().filter(|thread| !thread.is_saved) {
            thread.is_saved = true;
            out.session(&thread.id, thread.path.as_deref(), true);
        }
    }

    /// Logs a warning, unless one with the same title was logged.
    fn warn(&mut self, title: Option<&str>, details: Option<&str>, out: &mut EventSink) {
        let title = title.unwrap_or_default();
        if self.reported_warnings.insert(title.to_owned()) {
            out.notice(Severity::Warning, title, details);
        }
    }
}
