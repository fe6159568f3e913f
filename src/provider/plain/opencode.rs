//! `opencode run --format json`: whole parts, each step's tokens by themselves.

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
        out::{Out, Role},
        task::object,
    },
};

#[derive(Default)]
pub struct OpenCode {
    usage: Usage,
    /// Why the last step ended.
    reason: Option<String>,
    error: Option<RunError>,
}

impl Format for OpenCode {
    fn line(&mut self, said: &Map<String, Value>, session: &mut KeptSession, out: &mut Out) {
        if let Some(id) = text(said, "sessionID") {
            // The first line comes with the model's answer; the session is in the database by then.
            session.announced(id, out);
            session.kept(out);
        }
        let part = member(said, "part");
        let name = text(&part, "id");
        let whole = text(&part, "text").unwrap_or_default();
        match text(said, "type").unwrap_or_default() {
            "text" => out.text_whole(Role::Agent, name, whole),
            "reasoning" => out.text_whole(Role::Thought, name, whole),
            "tool_use" => tool(&part, out),
            "step_finish" => {
                self.add(&part);
                self.reason = text(&part, "reason").map(str::to_owned);
            }
            "error" => {
                let error = member(said, "error");
                let data = member(&error, "data");
                let status = data.get("statusCode").and_then(Value::as_u64).and_then(|code| u16::try_from(code).ok());
                let message = text(&data, "message").or(text(&error, "name")).unwrap_or("opencode ended with an error");
                self.error = Some(fault::provider_error(status, message));
            }
            _ => {}
        }
    }

    fn ended(&mut self, exit: &Exit, _out: &mut Out) -> Option<TurnEnd> {
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

    fn terminal(&self, id: &str) -> (Vec<String>, Option<&'static str>) {
        (["--session", id].map(str::to_owned).to_vec(), Some("not tried in a terminal"))
    }
}

impl OpenCode {
    fn add(&mut self, part: &Map<String, Value>) {
        let tokens = member(part, "tokens");
        let cache = member(&tokens, "cache");
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

fn tool(part: &Map<String, Value>, out: &mut Out) {
    let Some(id) = text(part, "callID") else { return };
    let state = member(part, "state");
    let input = member(&state, "input");
    let metadata = member(&state, "metadata");
    let (kind, described) = described(text(part, "tool").unwrap_or_default(), &input);
    let title = text(&state, "title").filter(|title| !title.is_empty() && kind == "execute").map_or(described, str::to_owned);
    let path = text(&input, "filePath").or(text(&input, "path"));
    let mut fields = object(json!({ "title": title, "kind": kind, "status": "in_progress", "rawInput": input }));
    if let Some(path) = path {
        fields.insert("locations".to_owned(), json!([{ "path": path }]));
    }
    let change = member(&metadata, "filediff");
    if let (Some(before), Some(after), Some(path)) = (text(&change, "before"), text(&change, "after"), text(&change, "file").or(path)) {
        fields.insert("content".to_owned(), json!([{ "type": "diff", "path": path, "oldText": before, "newText": after }]));
    } else if let Some(patch) = text(&metadata, "diff") {
        fields.insert("_meta".to_owned(), json!({ "loomd/patch": patch }));
    }
    out.tool(id, fields);
    let exit = metadata.get("exit");
    let failed = text(&state, "status") != Some("completed") || exit.is_some_and(|exit| exit.as_i64() != Some(0));
    let raw = exit.map_or_else(Map::new, |exit| object(json!({ "rawOutput": { "exit": exit } })));
    let whole = text(&state, "output").or(text(&state, "error"));
    out.tool_ended(id, if failed { "failed" } else { "completed" }, whole, raw);
}
