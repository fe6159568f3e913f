//! The turns of a run: what each line means for the running turn, and how a turn ends.

use serde_json::{Map, Value};

use super::{
    adapter::{
        ClaudeAdapter, ClaudeRequest, ClaudeTurn, DOUBT_TIMER, LATE_TURN_TIMEOUT, LATE_TURN_TIMER, SESSION_SAVE_DELAY, SESSION_TIMER,
    },
    notices, turn_end,
};
use crate::provider::{
    event_sink::{EventSink, Role, Severity},
    ids::name_of,
};

impl ClaudeAdapter {
    pub(super) fn apply_line(&mut self, line: &Value, out: &mut EventSink) {
        if let Some(turn) = &mut self.turn {
            turn.is_unconfirmed = false;
        }
        let parent = line["parent_tool_use_id"].as_str();
        match line["type"].as_str() {
            Some("system") => {
                // This is the first sign of a turn; the echo comes only with the model's answer.
                if self.turn.is_some() && matches!(line["subtype"].as_str(), Some("init" | "api_retry")) {
                    self.prompts.accept_own(out);
                }
                self.handle_system(line, out);
            }
            Some("rate_limit_event") => notices::rate_limit_notice(&line["rate_limit_info"], out),
            Some("user") => self.handle_user(line, parent, out),
            Some(kind @ ("stream_event" | "assistant")) => {
                let is_start = line["event"]["type"] == "message_start";
                let is_agent = is_start || kind == "assistant" && line["message"]["model"] != "<synthetic>";
                if parent.is_none() && !self.ensure_turn(is_agent, out) {
                    return;
                }
                if parent.is_none() && is_start {
                    self.repeat_interrupt(out);
                }
                if self.session.note_answer() {
                    out.set_timer(SESSION_SAVE_DELAY, SESSION_TIMER);
                }
                out.set_parent(parent);
                if kind == "assistant" {
                    self.messages.handle_assistant(line, parent, out)
                } else {
                    self.messages.handle_stream_event(line, parent, out)
                }
                out.set_parent(None);
            }
            Some("result") => self.handle_result(line, out),
            _ => {}
        }
    }

    /// The agent wrote something, so its prompt is accepted. If no turn runs, Claude started one by itself. `false` means
    /// that the line belongs to no turn.
    fn ensure_turn(&mut self, is_agent: bool, out: &mut EventSink) -> bool {
        if self.turn.is_none() {
            if !is_agent {
                return false;
            }
            self.start_own_turn(out);
        }
        self.doubtful_result = None;
        self.prompts.accept_own(out);
        true
    }

    /// Handles a line about the program itself, or about what it does in the background.
    fn handle_system(&mut self, line: &Value, out: &mut EventSink) {
        notices::system_notice(line, out);
        if line["subtype"] == "init" {
            notices::server_notices(&line["mcp_servers"], &mut self.told_servers, out);
        }
        let call = name_of(&line["tool_use_id"]).filter(|call| out.has_tool_call(call));
        if let Some(call) = call.filter(|_| line["subtype"] == "task_notification" && line["status"] == "failed") {
            out.set_parent(self.messages.parent_of(&call).as_deref());
            out.tool_ended(&call, "failed", None, Map::new());
            out.set_parent(None);
        }
    }

    /// Interrupts the turn again when a message starts after the interrupt was answered: then the interrupt came before
    /// the turn had begun, and Claude lost it.
    fn repeat_interrupt(&mut self, out: &mut EventSink) {
        let is_pending = self.requests.values().any(|request| matches!(request, ClaudeRequest::Interrupt));
        if !is_pending && self.turn.as_ref().is_some_and(|turn| turn.interrupt_count > 0) {
            self.send_interrupt(out);
        }
    }

    fn start_own_turn(&mut self, out: &mut EventSink) {
        self.turn_count += 1;
        self.turn = Some(ClaudeTurn { is_own: true, ..ClaudeTurn::default() });
        out.turn_started();
    }

    /// Handles a `user` line: results of tools, echoes of prompts, and what the CLI tells its model in the user's name.
    fn handle_user(&mut self, line: &Value, parent: Option<&str>, out: &mut EventSink) {
        if line["isReplay"] == true {
            if parent.is_none() && self.prompts.is_echo(line) {
                if self.turn.is_none() {
                    self.start_own_turn(out);
                }
                self.doubtful_result = None;
                self.prompts.accept_echo(line, out);
            }
            return;
        }
        out.set_parent(parent);
        let blocks = line["message"]["content"].as_array().map(Vec::as_slice).unwrap_or_default();
        // What the line says beside the message is about one result. It does not say about which of several.
        let is_single = blocks.iter().filter(|block| block["type"] == "tool_result").count() == 1;
        let detail = if is_single { &line["tool_use_result"] } else { &Value::Null };
        for block in blocks {
            if block["type"] == "tool_result" {
                self.messages.handle_result(block, detail, out);
            } else if block["text"].as_str().is_some_and(|text| text.starts_with("[Request interrupted by user"))
                && parent.is_none()
                && let Some(turn) = &mut self.turn
            {
                turn.is_stopped = true;
            }
        }
        out.set_parent(None);
    }

    /// Handles a result. Claude writes one for what it does by itself, too, such as taking note of a background command:
    /// that one does not end the turn of a prompt.
    fn handle_result(&mut self, line: &Value, out: &mut EventSink) {
        self.doubtful_result = None;
        let Some(turn) = &self.turn else {
            self.cost.usage(line);
            return;
        };
        let origin = line["origin"]["kind"].as_str().or_else(|| line["origin"].as_str());
        if !turn.is_own && origin.is_some_and(|origin| !matches!(origin, "user" | "human" | "prompt" | "sdk")) {
            self.cost.usage(line);
            return;
        }
        let says_nothing = line["num_turns"] == 0 && line["is_error"] != true && line["result"].as_str().is_none_or(str::is_empty);
        let is_first = self.task.resume.is_some() && self.turn_count == 1 && !turn.is_stopped;
        if is_first && says_nothing && self.prompts.awaits_echo() {
            out.set_timer(LATE_TURN_TIMEOUT, DOUBT_TIMER);
            self.doubtful_result = Some(line.clone());
            return;
        }
        self.end_turn(line, out);
    }

    pub(super) fn end_turn(&mut self, line: &Value, out: &mut EventSink) {
        let usage = self.cost.usage(line);
        let Some(turn) = self.turn.take() else { return };
        self.prompts.accept_own(out);
        self.prompts.forget_echo();
        let is_error = line["is_error"] == true;
        match line["result"].as_str() {
            // The result repeats the last message. It is logged only in a turn without a text.
            Some(text) if !is_error && !self.messages.has_text => out.text_whole(Role::Agent, Some("result"), text),
            _ => {}
        }
        if let Some(cli_error) = self.messages.error.as_ref().filter(|_| !is_error) {
            out.notice(Severity::Error, &cli_error.message, None);
        }
        if let Some(update) = turn_end::context_update(line, self.messages.context_tokens) {
            out.update(update);
        }
        let cli_error = self.messages.error.take();
        self.messages.end_turn();
        out.turn_ended(turn_end::turn_end(line, turn.is_stopped, cli_error.as_ref(), usage));
        if !self.prompts.is_empty() {
            // Claude immediately starts a turn for the prompts that it holds.
            self.start_own_turn(out);
            if let Some(turn) = &mut self.turn {
                turn.is_unconfirmed = true;
            }
            out.set_timer(LATE_TURN_TIMEOUT, LATE_TURN_TIMER + self.turn_count);
        }
    }
}
