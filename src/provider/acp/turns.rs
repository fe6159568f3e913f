//! A turn of an ACP agent: the prompt in the forms that the agent takes, the permission requests of the agent, and how
//! the turn ended.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{
    adapter::{AcpAdapter, AcpTurn, PendingRequest, drop_reserved_meta},
    agent::AcpAgent,
    takeover,
    wire::{self, RpcError, text_at},
};
use crate::{
    model::task::{ContentBlocks, text_block, text_of},
    provider::{
        action::TurnEnd,
        error_kind,
        event_sink::{EventSink, Severity},
        ids::name_of,
    },
};

impl AcpAdapter {
    /// Sends the prompt of a turn, or fails the turn if the agent does not have the settings that the run needs.
    pub(super) fn send_prompt(&mut self, blocks: &ContentBlocks, out: &mut EventSink) {
        if let Some(error) = self.settings_error.clone() {
            self.turn = None;
            return out.turn_ended(TurnEnd::failed(error));
        }
        let Some(session) = self.session.clone() else { return };
        let (blocks, left_out) = accepted_blocks(blocks, &self.agent);
        if let Some(kinds) = left_out {
            out.notice(Severity::Warning, &format!("{} does not accept {kinds}; the prompt was sent without them", self.agent.name), None);
        }
        out.prompt_accepted();
        self.updates.turn_began(&text_of(&blocks));
        self.request(PendingRequest::Prompt, "session/prompt", json!({ "sessionId": session, "prompt": blocks }), out);
    }

    /// Handles a request of the agent.
    pub(super) fn handle_request(&mut self, id: &Value, method: &str, params: Map<String, Value>, out: &mut EventSink) {
        if method != "session/request_permission" {
            if !method.starts_with('_') {
                out.notice(
                    Severity::Info,
                    &format!("{} requested `{method}`, which loomd does not support; the request was refused", self.agent.name),
                    None,
                );
            }
            return out.send(&wire::error_response(id, wire::METHOD_NOT_FOUND, "this client does not support that"));
        }
        let session = params.get("sessionId").and_then(name_of).filter(|session| self.session.as_ref().is_some_and(|own| own != session));
        match self.questions.open(id, params) {
            Ok(Some(mut request)) => {
                self.flush_held_input(out);
                drop_reserved_meta(&mut request.tool_call);
                let updates = match session {
                    Some(session) => self.sub_agent(&session, out),
                    None => &mut self.updates,
                };
                updates.speak(out);
                updates.tools.prepare_permission_request(&mut request.tool_call, out);
                out.request_permission(request);
                out.set_parent(None);
            }
            Ok(None) => {}
            Err(reason) => {
                let title = format!("{} asked for permission, but {reason}; the request was refused", self.agent.name);
                out.notice(Severity::Warning, &title, None);
                out.send(&wire::error_response(id, wire::INVALID_PARAMS, &format!("this cannot be answered: {reason}")));
            }
        }
    }

    /// Logs the input of all tool calls that is held back.
    pub(super) fn flush_held_input(&mut self, out: &mut EventSink) {
        self.updates.flush_held_input(out);
        self.sub_agents.0.values_mut().for_each(|agent| agent.updates.flush_held_input(out));
    }

    /// The response to `session/prompt` ends the turn.
    pub(super) fn handle_prompt_response(&mut self, outcome: Result<Value, RpcError>, out: &mut EventSink) {
        let Some(turn) = self.turn.take() else { return };
        if turn.is_cancelled && self.agent.product.leaves_commands_running() {
            out.end_commands();
        }
        let end = match outcome {
            // Some agents answer the prompt of a cancelled turn with an error.
            Err(_) if turn.is_cancelled => TurnEnd::new("cancelled"),
            Err(error) => TurnEnd::failed(self.agent.error(&error)),
            Ok(result) => {
                if self.updates.model_acted() {
                    self.report_saved(out);
                }
                self.turn_end(&result, &turn)
            }
        };
        self.updates.turn_ended(out);
        self.end_sub_agents(end.stop_reason == "cancelled" || end.error.is_some(), out);
        out.turn_ended(end);
    }

    /// How a turn ended whose prompt was answered without an error.
    fn turn_end(&mut self, result: &Value, turn: &AcpTurn) -> TurnEnd {
        let usage = self.updates.usage(result);
        let stop_reason = text_at(result, &["stopReason"]).unwrap_or("end_turn");
        if stop_reason == "end_turn"
            && !turn.is_cancelled
            && let Some(failure) = self.updates.failure(usage.is_some())
        {
            return TurnEnd { usage, ..TurnEnd::failed(error_kind::provider_error(None, failure)) };
        }
        // opencode answers `end_turn` for a turn that was cancelled before its model answered.
        let model_was_silent = usage.and_then(|usage| usage.output_tokens).unwrap_or_default() == 0 && !self.updates.model_acted();
        let stop_reason = if turn.is_cancelled && stop_reason == "end_turn" && model_was_silent { "cancelled" } else { stop_reason };
        TurnEnd { usage, ..TurnEnd::new(stop_reason) }
    }

    /// Reports the session as saved, once, if anything can open it later.
    pub(super) fn report_saved(&mut self, out: &mut EventSink) {
        let Some(id) = self.session.as_deref().filter(|_| !self.is_saved && takeover::can_continue(&self.agent)) else { return };
        self.is_saved = true;
        out.session(id, None, true);
    }
}

/// The prompt with the blocks that the agent takes. A block that it does not take is replaced by its text if it has
/// one, else left out; the second value names the kinds of those.
fn accepted_blocks(blocks: &ContentBlocks, agent: &AcpAgent) -> (ContentBlocks, Option<String>) {
    let mut accepted = ContentBlocks::new();
    let mut dropped = BTreeSet::new();
    for block in blocks {
        let kind = block.get("type").and_then(|kind| kind.as_str()).unwrap_or_default();
        let is_taken = match kind {
            "image" => agent.takes_images,
            "audio" => agent.takes_audio,
            "resource" => agent.takes_resources,
            _ => true,
        };
        let text = if is_taken { String::new() } else { text_of(&vec![block.clone()]) };
        match (is_taken, text.is_empty()) {
            (true, _) => accepted.push(block.clone()),
            (false, false) => accepted.push(text_block(&text)),
            (false, true) => drop(dropped.insert(kind)),
        }
    }
    if accepted.is_empty() {
        accepted.push(text_block(""));
    }
    let kinds: Vec<&str> = dropped.into_iter().collect();
    (accepted, (!kinds.is_empty()).then(|| kinds.join(" and ")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::task::object;

    #[test]
    fn unsupported_blocks_become_text_or_are_left_out() {
        let blocks = vec![
            text_block("look"),
            object(json!({ "type": "image", "data": "AA==", "mimeType": "image/png" })),
            object(json!({ "type": "resource", "resource": { "uri": "file:///a", "text": "content" } })),
            object(json!({ "type": "resource_link", "uri": "file:///b", "name": "b" })),
        ];
        let (accepted, dropped) = accepted_blocks(&blocks, &AcpAgent::default());
        assert_eq!(json!(accepted), json!([{ "type": "text", "text": "look" }, { "type": "text", "text": "content" }, blocks[3]]));
        assert_eq!(dropped.as_deref(), Some("image"));
        let (accepted, dropped) = accepted_blocks(&blocks, &AcpAgent { takes_images: true, takes_resources: true, ..AcpAgent::default() });
        assert_eq!((accepted, dropped), (blocks, None));
    }
}
