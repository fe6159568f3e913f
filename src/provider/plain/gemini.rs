//! The format `gemini`: `gemini --output-format stream-json` prints deltas of text, whole tool calls and one `result`.
//!
//! After SIGINT and SIGTERM the program exits with code 0 and prints no `result`, so a run without one did not succeed.

use serde_json::{Map, Value, json};

use super::format::{OutputFormat, PlainSession, describe_tool, object_member, str_member};
use crate::{
    model::{RunError, Usage, task::object},
    provider::{
        Exit, error_kind,
        event_sink::{EventSink, Role, Severity},
        provider_event::TurnEnd,
    },
};

#[derive(Default)]
pub(crate) struct Gemini {
    end: Option<TurnEnd>,
}

impl OutputFormat for Gemini {
    fn handle_line(&mut self, event: &Map<String, Value>, session: &mut PlainSession, out: &mut EventSink) {
        match str_member(event, "type").unwrap_or_default() {
            "init" => {
                if let Some(id) = str_member(event, "session_id") {
                    session.announce(id, out);
                }
            }
            "message" if str_member(event, "role") == Some("assistant") => {
                session.mark_resumable_soon(out);
                out.text_chunk(Role::Agent, None, str_member(event, "content").unwrap_or_default());
            }
            "tool_use" => {
                session.mark_resumable_soon(out);
                let Some(id) = str_member(event, "tool_id") else { return };
                let input = object_member(event, "parameters");
                let (kind, title) = describe_tool(str_member(event, "tool_name").unwrap_or_default(), &input);
                out.begin_tool_call(id, object(json!({ "title": title, "kind": kind, "status": "in_progress", "rawInput": input })));
            }
            "tool_result" => {
                let Some(id) = str_member(event, "tool_id") else { return };
                let error = object_member(event, "error");
                let whole = str_member(event, "output").or_else(|| str_member(&error, "message"));
                let status = if str_member(event, "status") == Some("success") { "completed" } else { "failed" };
                out.tool_ended(id, status, whole, Map::new());
            }
            "error" => out.notice(Severity::Warning, str_member(event, "message").unwrap_or_default(), None),
            "result" => self.end = Some(end(event)),
            _ => {}
        }
    }

    fn turn_end(&mut self, exit: &Exit, _out: &mut EventSink) -> Option<TurnEnd> {
        let no_end = || TurnEnd::failed(RunError { kind: "provider".to_owned(), message: "gemini ended without a result".to_owned() });
        self.end.take().or_else(|| (exit.code == Some(0)).then(no_end))
    }

    fn program(&self) -> &'static str {
        "gemini"
    }

    fn resume_args(&self, id: &str) -> (Vec<String>, Option<&'static str>) {
        (["--resume", id].map(str::to_owned).to_vec(), Some("tested with `-p`; not tested in a terminal"))
    }
}

fn end(event: &Map<String, Value>) -> TurnEnd {
    let stats = object_member(event, "stats");
    let number = |name: &str| stats.get(name).and_then(Value::as_u64);
    let usage = Usage {
        input_tokens: number("input_tokens"),
        output_tokens: number("output_tokens"),
        cached_input_tokens: number("cached"),
        cost_usd: None,
    };
    let usage = Some(usage).filter(|usage| *usage != Usage::default());
    if str_member(event, "status") == Some("success") {
        return TurnEnd { usage, ..TurnEnd::new("end_turn") };
    }
    let error = object_member(event, "error");
    let message = str_member(&error, "message").unwrap_or("gemini ended with an error");
    TurnEnd { usage, ..TurnEnd::failed(api_error(message)) }
}

/// The error of the model's service, whose response body is in the message, in brackets.
fn api_error(message: &str) -> RunError {
    let inner = message.strip_prefix("[API Error: ").and_then(|inner| inner.strip_suffix(']')).unwrap_or(message);
    let body: Value = serde_json::from_str(inner).unwrap_or_default();
    let status = body["error"]["code"].as_u64().and_then(|code| u16::try_from(code).ok());
    error_kind::provider_error(status, body["error"]["message"].as_str().unwrap_or(inner))
}
