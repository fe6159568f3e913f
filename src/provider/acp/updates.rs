//! What an agent sends while it works: each `session/update` becomes the entries of the log.
//!
//! Unknown updates pass unchanged, and repeated ones are dropped. Some agents are an ACP adapter in front of a
//! model's own program; what such an adapter says itself becomes a notice.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{
    agent::{AcpAgent, Product},
    tool_calls::ToolCalls,
    wire::text_at,
};
use crate::{
    model::{Usage, task::object},
    provider::{
        event_sink::{EventSink, Role, Severity},
        ids::name_of,
    },
};

/// The state that is needed to understand the next update of a session.
#[derive(Debug, Default)]
pub(crate) struct Updates {
    /// The sub-agent that speaks: its session, and the id of its tool call.
    sub_agent: Option<(String, String)>,
    product: Product,
    /// The agent's adapter gives ids to the messages of its model.
    names_model_messages: bool,
    pub(crate) tools: ToolCalls,
    in_turn: bool,
    /// The prompt is a slash command, which the agent's adapter answers without its model.
    is_command: bool,
    /// The model sent output or began a tool call in this turn.
    model_acted: bool,
    /// The last message of codex-acp's own in this turn. It may be the reason of a failure that the end of the turn
    /// does not show.
    adapter_message: Option<String>,
    /// The agent's adapter reported an error of the thread.
    has_failed: bool,
    /// The last update of each kind that agents repeat.
    last_updates: BTreeMap<String, Map<String, Value>>,
    /// The cost of the session in US dollars, and what it was when the turn began.
    cost: Option<f64>,
    cost_before: Option<f64>,
    /// The usage of the turn before, as the agent reported it.
    last_usage: Option<Usage>,
    /// The agent reports the usage of each turn by itself.
    counts_turns: bool,
}

/// The sub-agents of a run, by their sessions.
#[derive(Debug, Default)]
pub(crate) struct SubAgents(pub(super) BTreeMap<String, SubAgent>);

#[derive(Debug)]
pub(super) struct SubAgent {
    /// The tool call that started it has been made for it, because the agent's own is not known.
    pub(super) has_made_call: bool,
    pub(super) updates: Updates,
}

impl Updates {
    /// A new session has cost nothing so far. What a resumed one has cost is unknown until the agent reports it.
    pub(crate) fn new(agent: &AcpAgent, is_new_session: bool) -> Self {
        Self {
            product: agent.product,
            names_model_messages: agent.names_model_messages,
            cost: is_new_session.then_some(0.0),
            // The protocol has totals; these agents were seen to count each turn by itself.
            counts_turns: agent.product != Product::Other,
            ..Self::default()
        }
    }

    /// Those of a sub-agent. `parent` is the id of its tool call.
    pub(crate) fn of_sub_agent(agent: &AcpAgent, session: &str, parent: &str) -> Self {
        Self { sub_agent: Some((session.to_owned(), parent.to_owned())), ..Self::new(agent, false) }
    }

    /// Attributes what follows to whoever speaks in this session.
    pub(crate) fn speak(&self, out: &mut EventSink) {
        match &self.sub_agent {
            Some((session, parent)) => out.set_session(session, parent),
            None => out.set_parent(None),
        }
    }

    /// A turn begins with this text as its prompt.
    pub(crate) fn turn_began(&mut self, prompt: &str) {
        self.in_turn = true;
        self.tools.turn_began();
        self.is_command = prompt.trim_start().starts_with('/');
        self.model_acted = false;
        self.adapter_message = None;
        self.has_failed = false;
        self.cost_before = self.cost;
    }

    /// The turn has ended.
    pub(crate) fn turn_ended(&mut self, out: &mut EventSink) {
        self.flush_held_input(out);
        self.in_turn = false;
    }

    /// Logs the held input of all calls, because it is complete by now.
    pub(crate) fn flush_held_input(&mut self, out: &mut EventSink) {
        self.speak(out);
        self.tools.flush_held_input(out);
        out.set_parent(None);
    }

    /// Whether the model sent output or began a tool call in this turn.
    pub(crate) fn model_acted(&self) -> bool {
        self.model_acted
    }

    /// The failure behind a turn that ended as if it had succeeded. codex-acp reports a model that failed by a status
    /// and a message of its own, and then ends the turn as usual, without any usage.
    pub(crate) fn failure(&self, has_usage: bool) -> Option<&str> {
        let adapter_message = self.adapter_message.as_deref();
        if self.has_failed {
            return Some(adapter_message.unwrap_or("the agent ended its turn with an error and gave no details"));
        }
        adapter_message.filter(|_| !has_usage && !self.model_acted && !self.is_command)
    }

    /// Handles one update. `timer_token` is the token of the timer for held tool call input.
    pub(crate) fn update(&mut self, mut update: Map<String, Value>, timer_token: u32, out: &mut EventSink) {
        let Some(kind) = update.get("sessionUpdate").and_then(Value::as_str).map(str::to_owned) else { return };
        self.speak(out);
        if kind != "tool_call_update" {
            self.tools.flush_held_input(out);
        }
        let claude = update.get("_meta").map(|meta| &meta["claudeCode"]);
        let parent = claude.and_then(|claude| text_at(claude, &["parentToolUseId"])).map(str::to_owned);
        if self.sub_agent.is_none() {
            out.set_parent(parent.as_deref());
        }
        match kind.as_str() {
            // Prompts are logged when the agent has taken them.
            "user_message_chunk" => {}
            "agent_message_chunk" => self.chunk(Role::Agent, &update, out),
            "agent_thought_chunk" => self.chunk(Role::Thought, &update, out),
            "tool_call" | "tool_call_update" => {
                self.model_acted |= self.in_turn;
                self.tools.update(self.product, update, timer_token, out);
            }
            "available_commands_update" | "config_option_update" | "current_mode_update" | "usage_update" => {
                if kind == "usage_update" {
                    self.record_cost(&update);
                }
                if self.last_updates.get(&kind) != Some(&update) {
                    self.last_updates.insert(kind, update.clone());
                    out.update(update);
                }
            }
            _ => {
                if let Some(status) = update.get("_meta").and_then(|meta| text_at(meta, &["codex", "threadStatus", "type"])) {
                    self.has_failed = status == "systemError";
                }
                update.retain(|_, value| !value.is_null());
                out.update(update);
            }
        }
        out.set_parent(None);
    }

    /// Handles a chunk of a message: text of the model, a content block, or a notice of the agent's adapter.
    fn chunk(&mut self, role: Role, chunk: &Map<String, Value>, out: &mut EventSink) {
        let name = chunk.get("messageId").and_then(name_of);
        let name = name.as_deref();
        let content = object(chunk.get("content").cloned().unwrap_or_default());
        let Some(text) = content.get("text").and_then(Value::as_str).filter(|_| content.get("type").is_some_and(|it| it == "text")) else {
            if content.contains_key("type") {
                self.model_acted = true;
                out.content_block(role, name, content);
            }
            return;
        };
        // gemini repeats the mode that was set as a message.
        if self.product == Product::Gemini && text.starts_with("[MODE_UPDATE] ") {
            return;
        }
        match self.adapter_severity(role, name, text, chunk) {
            Some(severity) => {
                let (title, rest) = headline(text);
                out.notice(severity, title, rest);
            }
            None => {
                self.model_acted |= !text.trim().is_empty();
                out.text_chunk(role, name, text);
            }
        }
    }

    /// The severity of a message of the agent's adapter; `None` for a message of its model.
    fn adapter_severity(&mut self, role: Role, name: Option<&str>, text: &str, chunk: &Map<String, Value>) -> Option<Severity> {
        if role != Role::Agent || text.trim().is_empty() || self.is_command {
            return None;
        }
        match self.product {
            // The messages of its model have ids; those without one are the adapter's own.
            Product::Codex if name.is_none() && self.names_model_messages => {
                if !text.trim_start().starts_with("Warning:") {
                    self.adapter_message = Some(text.trim().to_owned());
                }
                Some(Severity::Warning)
            }
            // The messages of its model have the ids that the model gave them. The error that ends a turn is a
            // message with another id.
            Product::Claude if name.is_some_and(|name| !name.starts_with("msg_")) && text.contains("API Error: ") => Some(Severity::Error),
            Product::Claude => {
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

    fn record_cost(&mut self, update: &Map<String, Value>) {
        let cost = update.get("cost").filter(|cost| cost["currency"] == "USD").and_then(|cost| cost["amount"].as_f64());
        self.cost = cost.or(self.cost);
    }

    /// The usage of this turn alone, from the response to its prompt.
    pub(crate) fn usage(&mut self, result: &Value) -> Option<Usage> {
        let usage = &result["usage"];
        let quota = &result["_meta"]["quota"]["token_count"];
        let token_count = |names: [&str; 3]| {
            let count = usage[names[0]].as_u64();
            count.or_else(|| quota[names[1]].as_u64()).or_else(|| quota[names[2]].as_u64())
        };
        let cost_usd = self.cost.zip(self.cost_before).map(|(cost, before)| cost - before).filter(|cost_usd| *cost_usd > 0.0);
        let usage = Usage {
            input_tokens: token_count(["inputTokens", "inputTokens", "input_tokens"]),
            output_tokens: token_count(["outputTokens", "outputTokens", "output_tokens"]),
            cached_input_tokens: token_count(["cachedReadTokens", "cachedInputTokens", "cached_input_tokens"]),
            // The difference of two sums has digits at its end that mean nothing.
            cost_usd: cost_usd.map(|cost_usd| (cost_usd * 1e9).round() / 1e9),
        };
        (usage != Usage::default()).then(|| self.of_turn(usage))
    }

    /// What a turn used, where the agent reports the total of the session: then each turn makes it grow, and no count is
    /// ever lower than before.
    fn of_turn(&mut self, usage: Usage) -> Usage {
        let counts = |usage: &Usage| [usage.input_tokens, usage.output_tokens, usage.cached_input_tokens].map(Option::unwrap_or_default);
        let before = self.last_usage.replace(usage).filter(|_| !self.counts_turns);
        let Some(before) = before else { return usage };
        let (now, then) = (counts(&usage), counts(&before));
        if now == then || now.iter().zip(then).any(|(now, then)| *now < then) {
            self.counts_turns = true;
            return usage;
        }
        let since = |now: Option<u64>, before: Option<u64>| now.map(|now| now - before.unwrap_or_default());
        Usage {
            input_tokens: since(usage.input_tokens, before.input_tokens),
            output_tokens: since(usage.output_tokens, before.output_tokens),
            cached_input_tokens: since(usage.cached_input_tokens, before.cached_input_tokens),
            ..usage
        }
    }
}

/// The first line of a message without its "Warning:", and the lines after it.
fn headline(text: &str) -> (&str, Option<&str>) {
    let text = text.trim();
    let text = text.strip_prefix("**Warning:**").or_else(|| text.strip_prefix("Warning:")).unwrap_or(text).trim_start();
    match text.split_once('\n') {
        Some((title, rest)) => (title.trim_end(), Some(rest.trim()).filter(|rest| !rest.is_empty())),
        None => (text, None),
    }
}
