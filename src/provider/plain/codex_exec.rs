//! The format `codex-exec`: `codex exec --json` prints whole items and no deltas.
//!
//! Its usage is the total of the thread over all runs, so a run that resumes a thread cannot know what it used itself.
//! Items of the kind `error` are warnings, and so is a top-level `error`: only `turn.failed` ends the turn.

use serde_json::{Map, Value, json};

use super::format::{OutputFormat, PlainSession, object_member, str_member};
use crate::{
    model::{RunError, Usage, item::OMITTED_KEY, task::object},
    provider::{
        Exit,
        codex::take_mcp_result,
        error_kind,
        event_sink::{EventSink, Role, Severity},
        ids::{MadeNames, status_of},
        provider_event::TurnEnd,
    },
};

pub(crate) struct CodexExec {
    /// The thread began with this run.
    is_new: bool,
    end: Option<TurnEnd>,
    /// The message of a top-level `error`. It becomes a notice, unless the turn fails with the same message.
    pending_error: Option<String>,
    made_names: MadeNames,
}

impl CodexExec {
    pub(crate) fn new(is_new: bool) -> Self {
        Self { is_new, end: None, pending_error: None, made_names: MadeNames::default() }
    }

    fn item(&mut self, event: &Map<String, Value>, out: &mut EventSink) {
        let item = object_member(event, "item");
        let is_over = str_member(event, "type") == Some("item.completed");
        let begins = str_member(event, "type") == Some("item.started");
        // Older versions call the type of an item `item_type`, and give some items no id.
        let kind = str_member(&item, "type").or(str_member(&item, "item_type"));
        let id = &self.made_names.name(item.get("id"), kind.unwrap_or("item"), begins, is_over);
        let whole = str_member(&item, "text").unwrap_or_default();
        match kind {
            Some("agent_message" | "assistant_message") => out.text_whole(Role::Agent, Some(id), whole),
            Some("reasoning") => out.text_whole(Role::Thought, Some(id), whole),
            Some("command_execution") => {
                let command = str_member(&item, "command").unwrap_or_default();
                let fields = json!({ "title": inner_command(command), "kind": "execute", "rawInput": { "command": command } });
                self.tool(id, &item, is_over, fields, str_member(&item, "aggregated_output"), out);
            }
            Some("file_change") => self.tool(id, &item, is_over, file_change(&item), None, out),
            Some("collab_tool_call") => {
                let title = str_member(&item, "tool").unwrap_or("Sub-agent");
                let fields = json!({ "title": title, "kind": "think", "rawInput": { "prompt": item.get("prompt") } });
                self.tool(id, &item, is_over, fields, None, out);
            }
            Some("mcp_tool_call") => {
                let title = format!("{}: {}", str_member(&item, "server").unwrap_or("MCP"), str_member(&item, "tool").unwrap_or("tool"));
                let mut fields = object(json!({ "title": title, "kind": "other", "rawInput": item.get("arguments") }));
                let result = item.get("error").and_then(error_kind::words);
                let result = result.or_else(|| take_mcp_result(item.get("result")?, &mut fields));
                let fields = Value::Object(fields);
                self.tool(id, &item, is_over, fields, result.as_deref(), out);
            }
            Some("web_search") => {
                let title = format!("Search the web for {}", str_member(&item, "query").unwrap_or_default());
                self.tool(id, &item, is_over, json!({ "title": title, "kind": "fetch" }), None, out);
            }
            Some("todo_list") => out.update(plan(&item)),
            Some("error") => out.notice(Severity::Warning, str_member(&item, "message").unwrap_or_default(), None),
            _ => {}
        }
    }

    fn tool(&mut self, id: &str, item: &Map<String, Value>, is_over: bool, fields: Value, whole: Option<&str>, out: &mut EventSink) {
        let exit = item.get("exit_code").and_then(Value::as_i64);
        // A word that is not known is no success.
        let is_known = str_member(item, "status").is_none_or(|status| status_of(status) == Some("completed"));
        let failed = exit.is_some_and(|code| code != 0) || !is_known || item.get("error").is_some_and(|error| !error.is_null());
        let mut fields = object(fields);
        fields.insert("status".to_owned(), json!("in_progress"));
        out.begin_tool_call(id, fields);
        if is_over {
            let fields = exit.map_or_else(Map::new, |code| object(json!({ "rawOutput": { "exit_code": code } })));
            out.tool_ended(id, if failed { "failed" } else { "completed" }, whole, fields);
        }
    }

    fn report_pending_error(&mut self, out: &mut EventSink) {
        if let Some(error) = self.pending_error.take() {
            out.notice(Severity::Warning, &error, None);
        }
    }
}

impl OutputFormat for CodexExec {
    fn handle_line(&mut self, event: &Map<String, Value>, session: &mut PlainSession, out: &mut EventSink) {
        let kind = str_member(event, "type").unwrap_or_default();
        if kind != "turn.failed" {
            self.report_pending_error(out);
        }
        match kind {
            "thread.started" => {
                if let Some(id) = str_member(event, "thread_id") {
                    session.announce(id, out);
                }
            }
            "turn.started" => session.mark_resumable(out),
            "item.started" | "item.updated" | "item.completed" => self.item(event, out),
            "turn.completed" => {
                let usage = Some(usage(&object_member(event, "usage"))).filter(|usage| self.is_new && *usage != Usage::default());
                self.end = Some(TurnEnd { usage, ..TurnEnd::new("end_turn") });
            }
            "turn.failed" => {
                let error = object_member(event, "error");
                let message = error_kind::words(&Value::Object(error)).unwrap_or_else(|| "the turn failed".to_owned());
                let message = message.as_str();
                if self.pending_error.as_deref() != Some(message) {
                    self.report_pending_error(out);
                }
                self.pending_error = None;
                self.end = Some(TurnEnd::failed(error_kind::provider_error(None, message)));
            }
            "error" => self.pending_error = event.get("message").and_then(error_kind::words),
            _ => {}
        }
    }

    fn turn_end(&mut self, exit: &Exit, out: &mut EventSink) -> Option<TurnEnd> {
        self.report_pending_error(out);
        let no_end = || TurnEnd::failed(RunError { kind: "provider".to_owned(), message: "codex ended during its turn".to_owned() });
        self.end.take().or_else(|| (exit.code == Some(0)).then(no_end))
    }

    fn program(&self) -> &'static str {
        "codex"
    }

    fn resume_args(&self, id: &str) -> (Vec<String>, Option<&'static str>) {
        (["--disable", "daemon_auto_start", "resume", id].map(str::to_owned).to_vec(), None)
    }
}

fn file_change(item: &Map<String, Value>) -> Value {
    let changes: Vec<&Map<String, Value>> =
        item.get("changes").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object).collect();
    let paths: Vec<&str> = changes.iter().filter_map(|change| str_member(change, "path")).collect();
    let all_are = |kind: &str| !changes.is_empty() && changes.iter().all(|change| str_member(change, "kind") == Some(kind));
    let (kind, verb) = match () {
        () if all_are("add") => ("edit", "Add"),
        () if all_are("delete") => ("delete", "Delete"),
        () => ("edit", "Edit"),
    };
    let locations: Vec<Value> = paths.iter().map(|path| json!({ "path": path })).collect();
    // The texts are not told.
    let diff = |change: &&Map<String, Value>| {
        let kind = match str_member(change, "kind") {
            Some("add") => "add",
            Some("delete") => "delete",
            _ => "modify",
        };
        Some(json!({ "type": "diff", "path": str_member(change, "path")?, "newText": "", "_meta": { "kind": kind, OMITTED_KEY: true } }))
    };
    let content: Vec<Value> = changes.iter().filter_map(diff).collect();
    json!({ "title": format!("{verb} {}", paths.join(", ")), "kind": kind, "locations": locations, "content": content,
            "rawInput": { "changes": item.get("changes") } })
}

fn plan(item: &Map<String, Value>) -> Map<String, Value> {
    let entries = item.get("items").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object).map(|entry| {
        let is_done = entry.get("completed").and_then(Value::as_bool).unwrap_or_default();
        json!({ "content": str_member(entry, "text").unwrap_or_default(), "priority": "medium", "status": if is_done { "completed" } else { "pending" } })
    });
    object(json!({ "sessionUpdate": "plan", "entries": entries.collect::<Vec<Value>>() }))
}

fn usage(tokens: &Map<String, Value>) -> Usage {
    let number = |name: &str| tokens.get(name).and_then(Value::as_u64);
    Usage {
        input_tokens: number("input_tokens"),
        output_tokens: number("output_tokens"),
        cached_input_tokens: number("cached_input_tokens"),
        cost_usd: None,
    }
}

/// The command that codex passes to a shell: `/bin/bash -lc 'ls'` is `ls`.
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
