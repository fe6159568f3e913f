//! What an agent says while it works: each `session/update` as what the log has for it.
//!
//! What is not understood passes unchanged; what is said twice is dropped; what the agent's adapter says in the agent's stead is a notice.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{
    agent::{Agent, Make},
    tool_calls::ToolCalls,
    wire::text_at,
};
use crate::{
    model::Usage,
    provider::{
        out::{Out, Role, Severity},
        task::object,
    },
};

/// What was understood so far.
#[derive(Debug, Default)]
pub struct Updates {
    make: Make,
    /// Its adapter gives a name to whatever the model says.
    names_messages: bool,
    pub tools: ToolCalls,
    in_turn: bool,
    /// The prompt is a command for the agent's adapter, not for its model.
    is_command: bool,
    /// The model itself said or did something in this turn.
    spoke: bool,
    /// What the adapter said of a failure, where it does not say that it is one.
    complaint: Option<String>,
    /// The adapter says that the turn broke.
    broke: bool,
    /// The last one of each kind that is told again and again.
    last: BTreeMap<String, Map<String, Value>>,
    /// What the session cost so far, in US dollars, and what it had cost when the turn began.
    cost: Option<f64>,
    cost_before: Option<f64>,
}

impl Updates {
    /// A session that is new has cost nothing; what an older one has is not known until it is told.
    pub fn new(agent: &Agent, is_new_session: bool) -> Self {
        Self { make: agent.make, names_messages: agent.names_messages, cost: is_new_session.then_some(0.0), ..Self::default() }
    }

    pub fn turn_began(&mut self, prompt: &str) {
        self.in_turn = true;
        self.is_command = prompt.trim_start().starts_with('/');
        self.spoke = false;
        self.complaint = None;
        self.broke = false;
        self.cost_before = self.cost;
    }

    /// The turn is over. `stopped`: what still ran was stopped with it.
    pub fn turn_ended(&mut self, stopped: bool, out: &mut Out) {
        self.tools.turn_ended(stopped, out);
        self.in_turn = false;
    }

    /// The model said or did something since the turn began.
    pub fn spoke(&self) -> bool {
        self.spoke
    }

    /// The failure that the turn was, though its end does not say so: codex-acp tells a model that failed by a status and a text of
    /// its own, and then the usual end without any usage.
    pub fn failure(&self, has_usage: bool) -> Option<&str> {
        let complaint = self.complaint.as_deref();
        if self.broke {
            return Some(complaint.unwrap_or("the agent ended its turn with an error of which it says no more"));
        }
        complaint.filter(|_| !has_usage && !self.spoke && !self.is_command)
    }

    /// One update. `wake` is the token for what is to be told a little later.
    pub fn update(&mut self, mut update: Map<String, Value>, wake: u32, out: &mut Out) {
        let Some(kind) = update.get("sessionUpdate").and_then(Value::as_str).map(str::to_owned) else { return };
        if kind != "tool_call_update" {
            self.tools.tell_held(out);
        }
        let claude = update.get("_meta").map(|meta| &meta["claudeCode"]);
        let parent = claude.and_then(|claude| text_at(claude, &["parentToolUseId"])).map(str::to_owned);
        out.within(parent.as_deref());
        match kind.as_str() {
            // Prompts are logged when they are given.
            "user_message_chunk" => {}
            "agent_message_chunk" => self.chunk(Role::Agent, &update, out),
            "agent_thought_chunk" => self.chunk(Role::Thought, &update, out),
            "tool_call" | "tool_call_update" => {
                self.spoke |= self.in_turn;
                self.tools.update(self.make, update, self.in_turn, wake, out);
            }
            "available_commands_update" | "config_option_update" | "current_mode_update" | "usage_update" => {
                if kind == "usage_update" {
                    self.note_cost(&update);
                }
                if self.last.get(&kind) != Some(&update) {
                    self.last.insert(kind, update.clone());
                    out.update(update);
                }
            }
            _ => {
                if let Some(status) = update.get("_meta").and_then(|meta| text_at(meta, &["codex", "threadStatus", "type"])) {
                    self.broke = status == "systemError";
                }
                update.retain(|_, value| !value.is_null());
                out.update(update);
            }
        }
        out.within(None);
    }

    fn chunk(&mut self, role: Role, chunk: &Map<String, Value>, out: &mut Out) {
        let name = chunk.get("messageId").and_then(Value::as_str);
        let content = object(chunk.get("content").cloned().unwrap_or_default());
        let Some(text) = content.get("text").and_then(Value::as_str).filter(|_| content.get("type").is_some_and(|it| it == "text")) else {
            if content.contains_key("type") {
                self.spoke = true;
                out.block(role, name, content);
            }
            return;
        };
        match self.adapters_own(role, name, text, chunk) {
            Some(severity) => {
                let (title, rest) = headline(text);
                out.notice(severity, title, rest);
            }
            None => {
                self.spoke |= !text.trim().is_empty();
                out.text_delta(role, name, text);
            }
        }
    }

    /// How much it matters if this is the word of the agent's adapter, not of its model.
    fn adapters_own(&mut self, role: Role, name: Option<&str>, text: &str, chunk: &Map<String, Value>) -> Option<Severity> {
        if role != Role::Agent || text.trim().is_empty() || self.is_command {
            return None;
        }
        match self.make {
            // What its model says has a name; what has none is the adapter's own.
            Make::Codex if name.is_none() && self.names_messages => {
                if !text.trim_start().starts_with("Warning:") {
                    self.complaint = Some(text.trim().to_owned());
                }
                Some(Severity::Warning)
            }
            // What its model says is called as the model calls it; the error that ends the turn is said by itself.
            Make::Claude if name.is_some_and(|name| !name.starts_with("msg_")) && text.contains("API Error: ") => Some(Severity::Error),
            Make::Claude => {
                let claude = chunk.get("_meta").map(|meta| &meta["claudeCode"])?;
                match text_at(claude, &["kind"])? {
                    "informational" => Some(match text_at(claude, &["level"]) {
                        Some("warning") => Severity::Warning,
                        Some("error") => Severity::Error,
                        _ => Severity::Info,
                    }),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    fn note_cost(&mut self, update: &Map<String, Value>) {
        let cost = update.get("cost").filter(|cost| cost["currency"] == "USD").and_then(|cost| cost["amount"].as_f64());
        self.cost = cost.or(self.cost);
    }

    /// What this turn alone used, from the prompt's result.
    pub fn usage(&self, result: &Value) -> Option<Usage> {
        let usage = &result["usage"];
        let quota = &result["_meta"]["quota"]["token_count"];
        let number = |names: [&str; 3]| {
            let told = usage[names[0]].as_u64();
            told.or_else(|| quota[names[1]].as_u64()).or_else(|| quota[names[2]].as_u64())
        };
        let spent = self.cost.zip(self.cost_before).map(|(cost, before)| cost - before).filter(|spent| *spent > 0.0);
        let usage = Usage {
            input_tokens: number(["inputTokens", "inputTokens", "input_tokens"]),
            output_tokens: number(["outputTokens", "outputTokens", "output_tokens"]),
            cached_input_tokens: number(["cachedReadTokens", "cachedInputTokens", "cached_input_tokens"]),
            // Differences of sums have a tail of digits that mean nothing.
            cost_usd: spent.map(|spent| (spent * 1e9).round() / 1e9),
        };
        (usage != Usage::default()).then_some(usage)
    }
}

/// The first line, and what follows it.
fn headline(text: &str) -> (&str, Option<&str>) {
    let text = text.trim();
    let text = text.strip_prefix("**Warning:**").or_else(|| text.strip_prefix("Warning:")).unwrap_or(text).trim_start();
    match text.split_once('\n') {
        Some((title, rest)) => (title.trim_end(), Some(rest.trim()).filter(|rest| !rest.is_empty())),
        None => (text, None),
    }
}
