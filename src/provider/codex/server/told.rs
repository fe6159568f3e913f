//! What Codex tells: of itself, of the thread, its items, and its sub-agents.

use serde_json::{Value, json};

use super::AppServer;
use crate::provider::{
    codex::turn::Stage,
    out::{Out, Severity},
    task::object,
};

impl AppServer {
    pub(super) fn told(&mut self, method: &str, params: &Value, out: &mut Out) {
        let thread = params["threadId"].as_str().unwrap_or_default();
        match method {
            "warning" => self.warn(params["message"].as_str(), None, out),
            "configWarning" => self.warn(params["summary"].as_str(), params["details"].as_str(), out),
            "deprecationNotice" => {
                let summary = params["summary"].as_str().unwrap_or_default();
                if self.warned.insert(summary.to_owned()) {
                    out.notice(Severity::Info, summary, params["details"].as_str());
                }
            }
            "model/rerouted" => {
                let model = |name: &str| params[name].as_str().unwrap_or("another model");
                self.warn(Some(&format!("Codex goes on with {} instead of {}", model("toModel"), model("fromModel"))), None, out);
            }
            "mcpServer/startupStatus/updated" if params["status"] == "failed" => {
                let server = params["name"].as_str().unwrap_or_default();
                self.warn(Some(&format!("the MCP server {server} could not be started")), params["error"].as_str(), out);
            }
            "serverRequest/resolved" => self.approvals.resolved(&params["requestId"], out),
            "thread/started" => self.thread_started(&params["thread"], out),
            _ if self.thread.is_none() || thread.is_empty() => {}
            _ if thread == self.thread_id() => self.told_of_own(method, params, out),
            _ => self.told_of_sub_agent(thread, method, params, out),
        }
    }

    fn told_of_own(&mut self, method: &str, params: &Value, out: &mut Out) {
        let turn = &params["turn"];
        match method {
            "turn/started" => match (turn["id"].as_str(), &self.turn.stage) {
                (Some(id), Stage::Asked) if !self.turn.was(id) => self.turn_is(id, out),
                // Nobody here asked for it: Codex goes on by itself.
                (Some(id), Stage::None) if !self.turn.was(id) => {
                    self.turn.begin(Stage::Runs(id.to_owned()), true);
                    out.turn_began();
                }
                _ => {}
            },
            "turn/completed" => {
                let id = turn["id"].as_str().unwrap_or_default();
                if self.turn.is(id) || (self.turn.stage == Stage::Asked && !self.turn.was(id)) {
                    self.turn_completed(turn, out);
                }
            }
            "thread/tokenUsage/updated" => {
                let usage = &params["tokenUsage"];
                let is_in_turn = params["turnId"].as_str().is_some_and(|turn| self.turn.is(turn));
                self.usages.told(params["threadId"].as_str().unwrap_or_default(), usage, is_in_turn);
                if let (true, Some(used), Some(size)) =
                    (is_in_turn, usage["last"]["totalTokens"].as_u64(), usage["modelContextWindow"].as_u64())
                {
                    out.update(object(json!({ "sessionUpdate": "usage_update", "used": used, "size": size })));
                }
            }
            _ => {
                let is_current = params["turnId"].as_str().is_none_or(|turn| self.turn.is(turn)) && self.turn.stage != Stage::None;
                let item = params["item"]["id"].as_str().or_else(|| params["itemId"].as_str());
                // A command may go on behind its turn. Else, what belongs to another turn is history.
                if is_current || item.is_some_and(|item| self.items.is_running_command(item)) {
                    self.told_of_item(method, params, out);
                }
            }
        }
    }

    fn told_of_item(&mut self, method: &str, params: &Value, out: &mut Out) {
        let thread = params["threadId"].as_str().unwrap_or_default();
        let item = &params["item"];
        if item["type"] == "userMessage" {
            let is_own = thread == self.thread_id();
            if is_own && item["id"].as_str().is_some_and(|id| self.turn.echo(id)) {
                out.took();
            }
            if is_own && method == "item/completed" {
                self.kept(out);
            }
            return;
        }
        if thread == self.thread_id() && self.turn.stage != Stage::None && method.starts_with("item/") {
            if self.turn.works() {
                out.took();
            }
            self.kept(out);
        }
        match method {
            "item/started" => self.items.started(thread, item, out),
            "item/completed" => self.items.completed(item, out),
            "item/fileChange/patchUpdated" => self.items.patch_updated(params, out),
            "turn/plan/updated" => self.items.plan(params, out),
            "error" if params["willRetry"] == true => {
                self.items.abandoned(thread, out);
                let error = &params["error"];
                let title = error["message"].as_str().unwrap_or("Codex tries again");
                out.notice(Severity::Warning, title, error["additionalDetails"].as_str());
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

    fn told_of_sub_agent(&mut self, thread: &str, method: &str, params: &Value, out: &mut Out) {
        match method {
            "thread/tokenUsage/updated" => self.usages.told(thread, &params["tokenUsage"], self.turn.stage != Stage::None),
            "turn/completed" => self.items.thread_ended(thread),
            _ if self.turn.stage == Stage::None => {}
            // Its end is its own; what ends the run's turn is told of the run's thread.
            "error" if params["willRetry"] != true => {}
            _ => {
                let parent = self.parents.get(thread).cloned();
                out.within(parent.as_deref().or(Some(thread)));
                self.told_of_item(method, params, out);
                out.within(None);
            }
        }
    }

    fn thread_started(&mut self, thread: &Value, out: &mut Out) {
        let Some(id) = thread["id"].as_str() else { return };
        match thread["parentThreadId"].as_str() {
            None if self.thread.is_none() && self.task.resume.is_none() => self.announce(thread, out),
            Some(_) if id != self.thread_id() && self.turn.stage != Stage::None && !self.parents.contains_key(id) => {
                // Which call started it may come later, or never; it is one of its own then.
                let name = thread["agentNickname"].as_str().unwrap_or("Sub-agent");
                out.tool(id, object(json!({ "title": name, "kind": "think", "status": "in_progress" })));
                self.parents.insert(id.to_owned(), id.to_owned());
            }
            _ => {}
        }
    }

    /// The thread's file is written when its first turn has really begun; a thread without one cannot be gone on with.
    pub(super) fn kept(&mut self, out: &mut Out) {
        if let Some(thread) = self.thread.as_mut().filter(|thread| !thread.is_kept) {
            thread.is_kept = true;
            out.session(&thread.id, thread.path.as_deref(), true);
        }
    }

    fn warn(&mut self, title: Option<&str>, details: Option<&str>, out: &mut Out) {
        let title = title.unwrap_or_default();
        if self.warned.insert(title.to_owned()) {
            out.notice(Severity::Warning, title, details);
        }
    }
}
