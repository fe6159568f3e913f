//! Turns of Codex: how they begin, are steered and interrupted, and end; and the input that carries a prompt.

use serde_json::{Value, json};

use super::{ClientRequest, CodexAdapter};
use crate::{
    model::{
        RunError,
        task::{ContentBlocks, text_of},
    },
    provider::{
        codex::turn::{RefusedSteer, TurnStage},
        error_kind,
        event_sink::{EventSink, Severity},
        provider_event::TurnEnd,
    },
};

impl CodexAdapter {
    /// The turn that was requested has an id. An interrupt that waited for it is sent now.
    pub(super) fn set_turn_id(&mut self, id: &str, out: &mut EventSink) {
        if self.turn.stage == TurnStage::Requested {
            self.turn.stage = TurnStage::Running(id.to_owned());
            if self.turn.is_interrupt_requested {
                self.send_interrupt(id, out);
            }
        }
    }

    pub(super) fn send_interrupt(&mut self, turn: &str, out: &mut EventSink) {
        let params = json!({ "threadId": self.thread_id(), "turnId": turn });
        self.request(ClientRequest::Interrupt, "turn/interrupt", &params, out);
    }

    /// `turn/completed` came for the running turn.
    pub(super) fn turn_completed(&mut self, turn: &Value, out: &mut EventSink) {
        for item in turn["items"].as_array().into_iter().flatten() {
            // The completed turn repeats the last message, so whatever was not streamed of it is logged now.
            if item["type"] == "agentMessage" {
                self.items.item_completed(item, out);
            }
        }
        let status = turn["status"].as_str().unwrap_or_default();
        let error = Some(&turn["error"]).filter(|error| !error.is_null()).unwrap_or(&self.error);
        let end = match status {
            "interrupted" => TurnEnd::new("cancelled"),
            "failed" => TurnEnd::failed(turn_error(error)),
            _ => TurnEnd::new("end_turn"),
        };
        if status != "failed" {
            if self.turn.mark_taken() {
                out.prompt_accepted();
            }
            self.report_saved(out);
        }
        self.end_turn(end, out);
    }

    /// Ends the running turn with everything that belongs to it.
    pub(super) fn end_turn(&mut self, end: TurnEnd, out: &mut EventSink) {
        // Steers that were not taken have come too late for the turn.
        for request in self.turn.pending_steers() {
            self.return_steer(request, out);
        }
        self.items.turn_ended();
        if end.stop_reason == "cancelled" {
            // Codex leaves the command of an interrupted turn running.
            out.end_commands();
        }
        self.turn.end();
        self.error = Value::Null;
        out.turn_ended(TurnEnd { usage: self.token_usage.turn_ended(), ..end });
    }

    /// Sends more input into the running turn. `false` if it has no id yet, or there is none.
    pub(super) fn send_steer(&mut self, input: &Value, is_silent: bool, out: &mut EventSink) -> bool {
        let TurnStage::Running(turn) = &self.turn.stage else { return false };
        let params = json!({ "threadId": self.thread_id(), "expectedTurnId": turn, "input": input });
        let request = self.request(ClientRequest::Steer, "turn/steer", &params, out);
        self.turn.push_steer(request, is_silent);
        true
    }

    /// A steer was not taken: its prompt waits for a turn of its own.
    pub(super) fn return_steer(&mut self, request: u64, out: &mut EventSink) {
        match self.turn.take_refused(request) {
            Some(RefusedSteer::Prompt { index }) => out.prompt_returned(index),
            Some(RefusedSteer::Silent) => {
                out.notice(Severity::Warning, "the message that came with the answer did not reach the agent", None)
            }
            None => {}
        }
    }
}

/// The error of a turn, classified by `codexErrorInfo`.
fn turn_error(error: &Value) -> RunError {
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
    let message = error_kind::words(error).unwrap_or_else(|| "the turn failed, and Codex gave no reason".to_owned());
    match error_kind::words(&error["additionalDetails"]) {
        Some(details) => error_kind::provider_error(status, &format!("{message}: {details}")),
        None => error_kind::provider_error(status, &message),
    }
}

/// The `input` of a turn. A block for which Codex has no form becomes its text or its address.
pub(super) fn turn_input(prompt: &ContentBlocks) -> Value {
    let mut items: Vec<Value> = Vec::new();
    for block in prompt {
        let text_member = |name: &str| block.get(name).and_then(Value::as_str);
        let image = match (text_member("type"), text_member("data"), text_member("uri")) {
            (Some("image"), Some(data), _) if !data.is_empty() => {
                Some(json!({ "type": "image", "url": format!("data:{};base64,{data}", text_member("mimeType").unwrap_or("image/png")) }))
            }
            (Some("image"), _, Some(uri)) => Some(match uri.strip_prefix("file://") {
                Some(path) => json!({ "type": "localImage", "path": path }),
                None => json!({ "type": "image", "url": uri }),
            }),
            _ => None,
        };
        let text = || text_of(&vec![block.clone()]);
        match image {
            Some(image) => items.push(image),
            None => match text() {
                text if text.is_empty() => {}
                text => items.push(text_input(&text)),
            },
        }
    }
    if items.is_empty() {
        items.push(text_input(""));
    }
    Value::Array(items)
}

/// A text as an item of an input.
pub(super) fn text_input(text: &str) -> Value {
    json!({ "type": "text", "text": text, "text_elements": [] })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::task::object;

    #[test]
    fn every_block_becomes_an_input_item() {
        let prompt: ContentBlocks = [
            json!({ "type": "text", "text": "look" }),
            json!({ "type": "image", "data": "AAAA", "mimeType": "image/jpeg" }),
            json!({ "type": "image", "data": "", "mimeType": "image/png", "uri": "file:///a.png" }),
            json!({ "type": "resource_link", "name": "b", "uri": "file:///b.rs" }),
            json!({ "type": "resource", "resource": { "uri": "file:///c", "text": "the text" } }),
            json!({ "type": "audio", "data": "AAAA", "mimeType": "audio/wav" }),
        ]
        .map(object)
        .into();
        let expected = json!([
            text_input("look"),
            { "type": "image", "url": "data:image/jpeg;base64,AAAA" },
            { "type": "localImage", "path": "/a.png" },
            text_input("file:///b.rs"),
            text_input("the text"),
        ]);
        assert_eq!(turn_input(&prompt), expected);
        assert_eq!(turn_input(&Vec::new()), json!([text_input("")]), "a turn has an input");
    }
}
