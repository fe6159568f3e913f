//! `codex exec --json`: whole items, no deltas.
//!
//! Usage is the thread's total, over all runs that went on with it; so a run that goes on with a thread cannot tell what it used itself.
//! Items of the kind `error` are warnings, and so is a top-level `error`: only `turn.failed` is the end.

use serde_json::{Map, Value, json};

use super::{
    format::{Format, text},
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

pub struct CodexExec {
    /// The thread began with this run.
    is_new: bool,
    end: Option<TurnEnd>,
    /// What was said of an error, and is told as a notice unless the turn ends by it.
    trouble: Option<String>,
    open: Vec<String>,
}

impl CodexExec {
    pub fn new(is_new: bool) -> Self {
        Self { is_new, end: None, trouble: None, open: Vec::new() }
    }

    fn item(&mut self, said: &Map<String, Value>, out: &mut Out) {
        let item = member(said, "item");
        let is_over = text(said, "type") == Some("item.completed");
        let id = text(&item, "id").unwrap_or_default();
        let whole = text(&item, "text").unwrap_or_default();
        match text(&item, "type") {
            Some("agent_message") => out.text_whole(Role::Agent, Some(id), whole),
            Some("reasoning") => out.text_whole(Role::Thought, Some(id), whole),
            Some("command_execution") => {
                let command = text(&item, "command").unwrap_or_default();
                let fields = json!({ "title": inner_command(command), "kind": "execute", "rawInput": { "command": command } });
                self.tool(id, &item, is_over, fields, text(&item, "aggregated_output"), out);
            }
            Some("file_change") => self.tool(id, &item, is_over, file_change(&item), None, out),
            Some("mcp_tool_call") => {
                let title = format!("{}: {}", text(&item, "server").unwrap_or("MCP"), text(&item, "tool").unwrap_or("tool"));
                let fields = json!({ "title": title, "kind": "other", "rawInput": item.get("arguments") });
                let result = item.get("result").or_else(|| item.get("error")).filter(|result| !result.is_null()).map(Value::to_string);
                self.tool(id, &item, is_over, fields, result.as_deref(), out);
            }
            Some("web_search") => {
                let title = format!("Search the web for {}", text(&item, "query").unwrap_or_default());
                self.tool(id, &item, is_over, json!({ "title": title, "kind": "fetch" }), None, out);
            }
            Some("todo_list") => out.update(plan(&item)),
            Some("error") => out.notice(Severity::Warning, text(&item, "message").unwrap_or_default(), None),
            _ => {}
        }
    }

    fn tool(&mut self, id: &str, item: &Map<String, Value>, is_over: bool, fields: Value, whole: Option<&str>, out: &mut Out) {
        let exit = item.get("exit_code").and_then(Value::as_i64);
        let failed = exit.is_some_and(|code| code != 0) || matches!(text(item, "status"), Some("failed" | "declined"));
        let mut fields = object(fields);
        fields.insert("status".to_owned(), json!("in_progress"));
        out.tool(id, fields);
        self.open.retain(|open| open != id);
        if is_over {
            let fields = exit.map_or_else(Map::new, |code| object(json!({ "rawOutput": { "exit_code": code } })));
            out.tool_ended(id, if failed { "failed" } else { "completed" }, whole, fields);
        } else {
            self.open.push(id.to_owned());
        }
    }

    fn tell_trouble(&mut self, out: &mut Out) {
        if let Some(trouble) = self.trouble.take() {
            out.notice(Severity::Warning, &trouble, None);
        }
    }
}

impl Format for CodexExec {
    fn line(&mut self, said: &Map<String, Value>, session: &mut KeptSession, out: &mut Out) {
        let kind = text(said, "type").unwrap_or_default();
        if kind != "turn.failed" {
            self.tell_trouble(out);
        }
        match kind {
            "thread.started" => {
                if let Some(id) = text(said, "thread_id") {
                    session.announced(id, out);
                }
            }
            "turn.started" => session.kept(out),
            "item.started" | "item.updated" | "item.completed" => self.item(said, out),
            "turn.completed" => {
                let usage = Some(usage(&member(said, "usage"))).filter(|usage| self.is_new && *usage != Usage::default());
                self.end = Some(TurnEnd { usage, ..TurnEnd::new("end_turn") });
            }
            "turn.failed" => {
                let error = member(said, "error");
                let message = text(&error, "message").unwrap_or("the turn failed");
                if self.trouble.as_deref() != Some(message) {
                    self.tell_trouble(out);
                }
                self.trouble = None;
                self.end = Some(TurnEnd::failed(fault::provider_error(None, message)));
            }
            "error" => self.trouble = text(said, "message").map(str::to_owned),
            _ => {}
        }
    }

    fn ended(&mut self, exit: &Exit, out: &mut Out) -> Option<TurnEnd> {
        self.tell_trouble(out);
        for id in std::mem::take(&mut self.open) {
            out.tool_ended(&id, "failed", None, Map::new());
        }
        let silent = || TurnEnd::failed(RunError { kind: "provider".to_owned(), message: "codex ended before its turn did".to_owned() });
        self.end.take().or_else(|| (exit.code == Some(0)).then(silent))
    }

    fn program(&self) -> &'static str {
        "codex"
    }

    fn terminal(&self, id: &str) -> (Vec<String>, Option<&'static str>) {
        (["--disable", "daemon_auto_start", "resume", id].map(str::to_owned).to_vec(), None)
    }
}

fn file_change(item: &Map<String, Value>) -> Value {
    let changes: Vec<&Map<String, Value>> =
        item.get("changes").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object).collect();
    let paths: Vec<&str> = changes.iter().filter_map(|change| text(change, "path")).collect();
    let all_are = |kind: &str| !changes.is_empty() && changes.iter().all(|change| text(change, "kind") == Some(kind));
    let (kind, verb) = match () {
        () if all_are("add") => ("edit", "Add"),
        () if all_are("delete") => ("delete", "Delete"),
        () => ("edit", "Edit"),
    };
    let locations: Vec<Value> = paths.iter().map(|path| json!({ "path": path })).collect();
    json!({ "title": format!("{verb} {}", paths.join(", ")), "kind": kind, "locations": locations, "rawInput": { "changes": item.get("changes") } })
}

fn plan(item: &Map<String, Value>) -> Map<String, Value> {
    let entries = item.get("items").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object).map(|entry| {
        let is_done = entry.get("completed").and_then(Value::as_bool).unwrap_or_default();
        json!({ "content": text(entry, "text").unwrap_or_default(), "priority": "medium", "status": if is_done { "completed" } else { "pending" } })
    });
    object(json!({ "sessionUpdate": "plan", "entries": entries.collect::<Vec<Value>>() }))
}

fn usage(told: &Map<String, Value>) -> Usage {
    let number = |name: &str| told.get(name).and_then(Value::as_u64);
    Usage {
        input_tokens: number("input_tokens"),
        output_tokens: number("output_tokens"),
        cached_input_tokens: number("cached_input_tokens"),
        cost_usd: None,
    }
}

/// What codex gives to a shell to execute: `/bin/bash -lc 'ls'` is `ls`.
fn inner_command(command: &str) -> String {
    let inner = command.split_once(" -lc ").or_else(|| command.split_once(" -c ")).filter(|(shell, _)| !shell.contains(' '));
    match inner {
        Some((_, inner)) => match inner.strip_prefix('\'').and_then(|inner| inner.strip_suffix('\'')) {
            Some(quoted) => quoted.replace(r"'\''", "'"),
            None => inner.to_owned(),
        },
        None => command.to_owned(),
    }
}
