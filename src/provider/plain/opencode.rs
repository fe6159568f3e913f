//! The format `opencode`: `opencode run --format json` prints whole parts, and the tokens of each step by itself.

use serde_json::{Map, Value, json};

use super::format::{OutputFormat, PlainSession, describe_tool, object_member, str_member};
use crate::{
    model::{RunError, Usage, task::object},
    provider::{
        Exit, error_kind,
        event_sink::{EventSink, Role},
        provider_event::TurnEnd,
    },
};

#[derive(Default)]
pub(crate) struct OpenCode {
    usage: Usage,
    /// Why the last step ended.
    reason: Option<String>,
    error: Option<RunError>,
}

impl OutputFormat for OpenCode {
    fn handle_line(&mut self, event: &Map<String, Value>, session: &mut PlainSession, out: &mut EventSink) {
        if let Some(id) = str_member(event, "sessionID") {
            // The first line comes with the model's answer, and by then the session is in opencode's database.
            session.announce(id, out);
            session.mark_resumable(out);
        }
        let part = object_member(event, "part");
        let name = str_member(&part, "id");
        let whole = str_member(&part, "text").unwrap_or_default();
        match str_member(event, "type").unwrap_or_default() {
            "text" => out.text_whole(Role::Agent, name, whole),
            "reasoning" => out.text_whole(Role::Thought, name, whole),
            "tool_use" => tool(&part, out),
            "step_finish" => {
                self.add(&part);
                self.reason = str_member(&part, "reason").map(str::to_owned);
            }
            "error" => {
                let error = object_member(event, "error");
                let data = object_member(&error, "data");
                let status = data.get("statusCode").and_then(Value::as_u64).and_then(|code| u16::try_from(code).ok());
                let message = str_member(&data, "message").or(str_member(&error, "name")).unwrap_or("opencode ended with an error");
                self.error = Some(error_kind::provider_error(status, message));
            }
            _ => {}
        }
    }

    fn turn_end(&mut self, exit: &Exit, _out: &mut EventSink) -> Option<TurnEnd> {
        let usage = Some(self.usage).filter(|usage| *usage != Usage::default());
        let end = match (self.error.take(), self.reason.as_deref()) {
            (Some(error), _) => TurnEnd::failed(error),
            _ if exit.code != Some(0) => return None,
            (None, Some("length")) => TurnEnd::new("max_tokens"),
            (None, Some("content-filter")) => TurnEnd::new("refusal"),
            (None, Some(_)) => TurnEnd::new("end_turn"),
            (None, None) => {
                TurnEnd::failed(RunError { kind: "provider".to_owned(), message: "opencode ended without an answer".to_owned() })
            }
        };
        Some(TurnEnd { usage, ..end })
    }

    fn program(&self) -> &'static str {
        "opencode"
    }

    fn resume_args(&self, id: &str) -> (Vec<String>, Option<&'static str>) {
        (["--session", id].map(str::to_owned).to_vec(), Some("not tested in a terminal"))
    }
}

impl OpenCode {
    fn add(&mut self, part: &Map<String, Value>) {
        let tokens = object_member(part, "tokens");
        let cache = object_member(&tokens, "cache");
        let add = |sum: &mut Option<u64>, more: Option<&Value>| {
            if let Some(more) = more.and_then(Value::as_u64) {
                *sum = Some(sum.unwrap_or_default().saturating_add(more));
            }
        };
        add(&mut self.usage.input_tokens, tokens.get("input"));
        add(&mut self.usage.output_tokens, tokens.get("output"));
        add(&mut self.usage.cached_input_tokens, cache.get("read"));
        if let Some(cost) = part.get("cost").and_then(Value::as_f64).filter(|cost| *cost > 0.0) {
            self.usage.cost_usd = Some(self.usage.cost_usd.unwrap_or_default() + cost);
        }
    }
}

fn tool(part: &Map<String, Value>, out: &mut EventSink) {
    let Some(id) = str_member(part, "callID") else { return };
    let state = object_member(part, "state");
    let input = object_member(&state, "input");
    let metadata = object_member(&state, "metadata");
    let (kind, described) = describe_tool(str_member(part, "tool").unwrap_or_default(), &input);
    let title = str_member(&state, "title").filter(|title| !title.is_empty() && kind == "execute").map_or(described, str::to_owned);
    let path = str_member(&input, "filePath").or(str_member(&input, "path"));
    let mut fields = object(json!({ "title": title, "kind": kind, "status": "in_progress", "rawInput": input }));
    if let Some(path) = path {
        fields.insert("locations".to_owned(), json!([{ "path": path }]));
    }
    let change = object_member(&metadata, "filediff");
    if let (Some(before), Some(after), Some(path)) =
        (str_member(&change, "before"), str_member(&change, "after"), str_member(&change, "file").or(path))
    {
        fields.insert("content".to_owned(), json!([{ "type": "diff", "path": path, "oldText": before, "newText": after }]));
    } else if let Some(patch) = str_member(&metadata, "diff") {
        fields.insert("_meta".to_owned(), json!({ "loomd/patch": patch }));
    }
    out.begin_tool_call(id, fields);
    let exit = metadata.get("exit");
    let failed = str_member(&state, "status") != Some("completed") || exit.is_some_and(|exit| exit.as_i64() != Some(0));
    let raw = exit.map_or_else(Map::new, |exit| object(json!({ "rawOutput": { "exit": exit } })));
    let whole = str_member(&state, "output").or(str_member(&state, "error"));
    out.tool_ended(id, if failed { "failed" } else { "completed" }, whole, raw);
}
