//! A turn of an ACP agent: the prompt in the forms that the agent takes, the permission requests of the agent, and how
//! the turn ended.

use serde_json::{Map, Value, json};

use super::{
    adapter::{AcpAdapter, AcpTurn, PendingRequest, drop_reserved_meta},
    takeover,
    wire::{self, RpcError, text_at},
};
use crate::{
    model::{
        RunError,
        agent::PromptCapabilities,
        task::{ContentBlocks, text_block, text_of},
    },
    provider::{
        error_kind,
        event_sink::{EventSink, Severity},
        ids::name_of,
        provider_event::TurnEnd,
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
        // What came before the agent had told what it takes.
        if let Err(failure) = self.agent.takes.check(&self.agent.name, blocks) {
            self.turn = None;
            return out.turn_ended(TurnEnd::failed(RunError { kind: "unsupported".to_owned(), message: failure.message }));
        }
        let blocks = accepted_blocks(blocks, self.agent.takes);
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

/// The prompt with the blocks that the agent takes. A block that it does not take is replaced by its text or address;
/// `PromptCapabilities::check` refuses one that has neither.
fn accepted_blocks(blocks: &ContentBlocks, takes: PromptCapabilities) -> ContentBlocks {
    let accepted = blocks.iter().map(|block| {
        let is_taken = match block.get("type").and_then(Value::as_str) {
            Some("resource") => takes.embedded_context,
            _ => true,
        };
        if is_taken { block.clone() } else { text_block(&text_of(&vec![block.clone()])) }
    });
    let accepted: ContentBlocks = accepted.collect();
    if accepted.is_empty() { vec![text_block("")] } else { accepted }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::task::object;

    #[test]
    fn blocks_that_an_agent_does_not_take_become_text_or_are_refused() {
        let blocks = vec![
            text_block("look"),
            object(json!({ "type": "resource", "resource": { "uri": "file:///a", "text": "content" } })),
            object(json!({ "type": "resource_link", "uri": "file:///b", "name": "b" })),
        ];
        let (nothing, all) = (PromptCapabilities::default(), PromptCapabilities { image: true, audio: true, embedded_context: true });
        let expected = json!([{ "type": "text", "text": "look" }, { "type": "text", "text": "content" }, blocks[2]]);
        assert_eq!(json!(accepted_blocks(&blocks, nothing)), expected);
        assert_eq!(accepted_blocks(&blocks, all), blocks);
        assert_eq!(nothing.check("it", &blocks), Ok(()));
        for (block, capability) in [
            (json!({ "type": "image", "data": "AA==", "mimeType": "image/png" }), "image"),
            (json!({ "type": "audio", "data": "AA==", "mimeType": "audio/wav" }), "audio"),
            (json!({ "type": "resource", "resource": { "blob": "AA==" } }), "embeddedContext"),
        ] {
            let prompt = vec![text_block("look"), object(block)];
            assert_eq!(nothing.check("it", &prompt).expect_err("it takes none").data["capability"], capability);
            assert_eq!(all.check("it", &prompt), Ok(()));
        }
    }
}
