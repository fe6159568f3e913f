//! The turn: begun, stopped, given more, ended.

use serde_json::{Value, json};

use super::{AppServer, Request};
use crate::{
    model::RunError,
    provider::{
        codex::turn::{Refused, Stage},
        effect::TurnEnd,
        fault,
        out::{Out, Severity},
    },
};

impl AppServer {
    pub(super) fn turn_is(&mut self, id: &str, out: &mut Out) {
        if self.turn.stage == Stage::Asked {
            self.turn.stage = Stage::Runs(id.to_owned());
            if self.turn.is_unwanted {
                self.stop_turn(id, out);
            }
        }
    }

    pub(super) fn stop_turn(&mut self, turn: &str, out: &mut Out) {
        let params = json!({ "threadId": self.thread_id(), "turnId": turn });
        self.request(Request::Interrupt, "turn/interrupt", &params, out);
    }

    pub(super) fn turn_completed(&mut self, turn: &Value, out: &mut Out) {
        for item in turn["items"].as_array().into_iter().flatten() {
            // The last message once more: the whole of it, should anything of it be missing.
            if item["type"] == "agentMessage" {
                self.items.completed(item, out);
            }
        }
        let status = turn["status"].as_str().unwrap_or_default();
        let error = Some(&turn["error"]).filter(|error| !error.is_null()).unwrap_or(&self.error);
        let end = match status {
            "interrupted" => TurnEnd::new("cancelled"),
            "failed" => TurnEnd::failed(classed(error)),
            _ => TurnEnd::new("end_turn"),
        };
        if status != "failed" {
            if self.turn.works() {
                out.took();
            }
            self.kept(out);
        }
        self.end_turn(end, out);
    }

    pub(super) fn end_turn(&mut self, end: TurnEnd, out: &mut Out) {
        // Prompts that were put into the turn and not taken have missed it.
        for request in self.turn.waiting() {
            self.give_back(request, out);
        }
        let broke_off = end.stop_reason != "end_turn";
        self.items.turn_ended(broke_off, out);
        if end.stop_reason == "cancelled" {
            // Codex lets the command of a turn that was stopped run on.
            out.end_commands();
        }
        self.approvals.turn_ended();
        self.turn.end();
        self.error = Value::Null;
        out.turn_ended(TurnEnd { usage: self.usages.turn_ended(), ..end });
    }

    pub(super) fn steer_with(&mut self, input: &Value, is_silent: bool, out: &mut Out) -> bool {
        let Stage::Runs(turn) = &self.turn.stage else { return false };
        let params = json!({ "threadId": self.thread_id(), "expectedTurnId": turn, "input": input });
        let request = self.request(Request::Steer, "turn/steer", &params, out);
        self.turn.steered(request, is_silent);
        true
    }

    pub(super) fn give_back(&mut self, request: u64, out: &mut Out) {
        match self.turn.refused(request) {
            Some(Refused::Prompt { place }) => out.give_back(place),
            Some(Refused::Silent) => out.notice(Severity::Warning, "what was said beside the answer did not reach the agent", None),
            None => {}
        }
    }
}

/// A turn's error, classed by what Codex knows of its cause.
fn classed(error: &Value) -> RunError {
    let info = &error["codexErrorInfo"];
    let status = match info.as_str() {
        Some("unauthorized") => Some(401),
        Some("usageLimitExceeded") => Some(429),
        Some("serverOverloaded") => Some(529),
        Some("internalServerError") => Some(500),
        Some("badRequest" | "contextWindowExceeded") => Some(400),
        Some(_) => None,
        None => info.as_object().into_iter().flatten().find_map(|(_, cause)| u16::try_from(cause["httpStatusCode"].as_u64()?).ok()),
    };
    let message = error["message"].as_str().unwrap_or("the turn failed, and Codex did not say why");
    match error["additionalDetails"].as_str().filter(|details| !details.is_empty()) {
        Some(details) => fault::provider_error(status, &format!("{message}: {details}")),
        None => fault::provider_error(status, message),
    }
}
