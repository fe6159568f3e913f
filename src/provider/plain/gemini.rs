//! `gemini --output-format stream-json`: deltas of text, whole tool calls, one `result`.
//!
//! After SIGINT and SIGTERM it ends with code 0 and no `result`: a run without one did not succeed.

use serde_json::{Map, Value, json};

use super::{
    format::{Format, described, text},
    member,
    session::KeptSession,
};
use crate::{
    model::{RunError, Usage},
    provider::{
        adapter::Exit,
        effect::TurnEnd,
        fault,
        out::{Out, Role, Severity},
        task::object,
    },
};

#[derive(Default)]
pub struct Gemini {
    end: Option<TurnEnd>,
    open: Vec<String>,
}

impl Format for Gemini {
    fn line(&mut self, said: &Map<String, Value>, session: &mut KeptSession, out: &mut Out) {
        match text(said, "type").unwrap_or_default() {
            "init" => {
                if let Some(id) = text(said, "session_id") {
                    session.announced(id, out);
                }
            }
            "message" if text(said, "role") == Some("assistant") => {
                session.kept_soon(out);
                out.text_delta(Role::Agent, None, text(said, "content").unwrap_or_default());
            }
            "tool_use" => {
                session.kept_soon(out);
                let Some(id) = text(said, "tool_id") else { return };
                let input = member(said, "parameters");
                let (kind, title) = described(text(said, "tool_name").unwrap_or_default(), &input);
                out.tool(id, object(json!({ "title": title, "kind": kind, "status": "in_progress", "rawInput": input })));
                self.open.push(id.to_owned());
            }
            "tool_result" => {
                let Some(id) = text(said, "tool_id") else { return };
                let error = member(said, "error");
                let whole = text(said, "output").or_else(|| text(&error, "message"));
                let status = if text(said, "status") == Some("success") { "completed" } else { "failed" };
                self.open.retain(|open| open != id);
                out.tool_ended(id, status, whole, Map::new());
            }
            "error" => out.notice(Severity::Warning, text(said, "message").unwrap_or_default(), None),
            "result" => self.end = Some(end(said)),
            _ => {}
        }
    }

    fn ended(&mut self, exit: &Exit, out: &mut Out) -> Option<TurnEnd> {
        for id in std::mem::take(&mut self.open) {
            out.tool_ended(&id, "failed", None, Map::new());
        }
        let silent = || TurnEnd::failed(RunError { kind: "provider".to_owned(), message: "gemini ended without a result".to_owned() });
        self.end.take().or_else(|| (exit.code == Some(0)).then(silent))
    }

    fn program(&self) -> &'static str {
        "gemini"
    }

    fn terminal(&self, id: &str) -> (Vec<String>, Option<&'static str>) {
        (["--resume", id].map(str::to_owned).to_vec(), Some("seen to work with `-p`; not tried in a terminal"))
    }
}

fn end(said: &Map<String, Value>) -> TurnEnd {
    let stats = member(said, "stats");
    let number = |name: &str| stats.get(name).and_then(Value::as_u64);
    let usage = Usage {
        input_tokens: number("input_tokens"),
        output_tokens: number("output_tokens"),
        cached_input_tokens: number("cached"),
        cost_usd: None,
    };
    let usage = Some(usage).filter(|usage| *usage != Usage::default());
    if text(said, "status") == Some("success") {
        return TurnEnd { usage, ..TurnEnd::new("end_turn") };
    }
    let error = member(said, "error");
    let message = text(&error, "message").unwrap_or("gemini ended with an error");
    TurnEnd { usage, ..TurnEnd::failed(api_error(message)) }
}

/// What the model answered stands in the message, in brackets, as it came.
fn api_error(message: &str) -> RunError {
    let inner = message.strip_prefix("[API Error: ").and_then(|inner| inner.strip_suffix(']')).unwrap_or(message);
    let told: Value = serde_json::from_str(inner).unwrap_or_default();
    let status = told["error"]["code"].as_u64().and_then(|code| u16::try_from(code).ok());
    fault::provider_error(status, told["error"]["message"].as_str().unwrap_or(inner))
}
