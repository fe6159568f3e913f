//! What Codex asks: its requests as questions with options, a person's choice as its answer.
//!
//! Nothing here is a yes by itself: an answer that chose no option, or one that nobody knows, declines.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{calls, changes};
use crate::{
    model::PermissionOption,
    provider::{
        adapter::Answer,
        effect::Question,
        out::{Out, Severity},
        task::object,
    },
};

/// The questions that Codex waits on, by its own id for each.
#[derive(Default)]
pub struct Approvals(BTreeMap<String, Asked>);

struct Asked {
    id: Value,
    choices: Vec<Choice>,
    /// What is said when nobody chose.
    refusal: Value,
    tool: String,
    /// The tool call stands for the question alone and ends with it.
    is_all: bool,
}

struct Choice {
    option: PermissionOption,
    result: Value,
}

impl Approvals {
    /// A request of Codex'. `false`: it is no question that options can answer.
    pub fn asked(&mut self, id: &Value, method: &str, params: &Value, cwd: &str, out: &mut Out) -> bool {
        let word = |name: &str| params[name].as_str();
        let item = word("itemId").or_else(|| word("callId"));
        let own = format!("question-{}", name(id));
        let tool = item.map_or_else(|| own.clone(), str::to_owned);
        let mut is_all = item.is_none();
        let (mut call, choices, refusal) = match method {
            "item/commandExecution/requestApproval" => {
                let call = match (word("command"), params["networkApprovalContext"]["host"].as_str()) {
                    (None, Some(host)) => {
                        is_all = true;
                        json!({ "title": format!("Connect to {host}"), "kind": "other", "rawInput": params["networkApprovalContext"] })
                    }
                    (Some(command), _) => calls::command(command, &params["commandActions"], word("cwd")),
                    (None, None) => json!({ "kind": "execute" }),
                };
                (object(call), command_choices(params), decision("decline"))
            }
            "item/fileChange/requestApproval" => (Map::new(), changes_choices(), decision("decline")),
            "execCommandApproval" => {
                let words = params["command"].as_array().into_iter().flatten().filter_map(Value::as_str);
                let command = words.map(super::quoted).collect::<Vec<_>>().join(" ");
                (object(calls::command(&command, &Value::Null, word("cwd"))), legacy_choices(), decision("denied"))
            }
            "applyPatchApproval" => {
                (changes::tool_call(&changes::listed(&params["fileChanges"]), cwd), legacy_choices(), decision("denied"))
            }
            "item/permissions/requestApproval" => {
                is_all |= !item.is_some_and(|item| out.knows_tool(item));
                let call =
                    json!({ "title": wish(&params["permissions"]), "kind": "other", "rawInput": { "permissions": params["permissions"] } });
                (object(call), grant_choices(&params["permissions"]), json!({ "permissions": {}, "scope": "turn" }))
            }
            "mcpServer/elicitation/request" if params["_meta"]["codex_approval_kind"] == "mcp_tool_call" => {
                let title = word("message").unwrap_or("Call a tool of an MCP server");
                let call = json!({ "title": title, "kind": "other", "rawInput": params["_meta"]["tool_params"] });
                (object(call), elicitation_choices(&params["_meta"]["persist"]), elicited("decline", None))
            }
            _ => return false,
        };
        let tool = if is_all { own } else { tool };
        if method.contains("ileChange") || method == "applyPatchApproval" {
            // The change itself was told before, with the item; a question about an unknown one is about files all the same.
            if !out.knows_tool(&tool) && call.is_empty() {
                call = changes::tool_call(&Value::Null, cwd);
            }
        }
        explain(&mut call, params, &tool, out);
        call.insert("toolCallId".to_owned(), json!(tool));
        call.insert("status".to_owned(), json!("pending"));
        let options = choices.iter().map(|choice| choice.option.clone()).collect();
        self.0.insert(name(id), Asked { id: id.clone(), choices, refusal, tool, is_all });
        out.ask(Question { id: name(id), tool_call: call, options });
        true
    }

    /// Tells Codex what was decided. Returns what the agent is to be told beside a refusal, for the answer itself has no room for it.
    pub fn answer(&mut self, question: &str, answer: &Answer, out: &mut Out) -> Option<String> {
        let asked = self.0.remove(question)?;
        let chosen = answer.option.as_ref().and_then(|id| asked.choices.iter().find(|choice| choice.option.option_id == *id));
        let is_allowed = chosen.is_some_and(|choice| choice.option.kind.starts_with("allow"));
        let result = chosen.map_or(&asked.refusal, |choice| &choice.result);
        out.send(&json!({ "id": asked.id, "result": result }));
        asked.over(is_allowed, out);
        answer.message.clone().filter(|message| !is_allowed && !message.trim().is_empty())
    }

    /// Codex no longer waits for this, or has heard the answer.
    pub fn resolved(&mut self, id: &Value, out: &mut Out) {
        if let Some(asked) = self.0.remove(&name(id)) {
            out.withdraw(&name(id));
            if asked.is_all {
                asked.over(false, out);
            }
        }
    }

    /// The turn is over, and with it its questions.
    pub fn turn_ended(&mut self) {
        self.0.clear();
    }
}

impl Asked {
    fn over(&self, is_allowed: bool, out: &mut Out) {
        match (out.knows_tool(&self.tool), self.is_all) {
            (true, true) => out.tool_ended(&self.tool, if is_allowed { "completed" } else { "failed" }, None, Map::new()),
            (true, false) if is_allowed => out.tool(&self.tool, object(json!({ "status": "in_progress" }))),
            _ => {}
        }
    }
}

/// Refuses a request that nobody here can answer, and says so.
pub fn refuse(id: &Value, method: &str, params: &Value, out: &mut Out) {
    let answer = match method {
        "mcpServer/elicitation/request" => {
            let server = params["serverName"].as_str().unwrap_or("an MCP server");
            out.notice(
                Severity::Warning,
                &format!("{server} asked for input that cannot be given here; it was declined"),
                params["message"].as_str(),
            );
            json!({ "id": id, "result": elicited("decline", None) })
        }
        "item/tool/call" => {
            let text = json!([{ "type": "inputText", "text": "this client offers no tools" }]);
            json!({ "id": id, "result": { "contentItems": text, "success": false } })
        }
        _ => {
            let asked = params["questions"].as_array().into_iter().flatten().filter_map(|question| question["question"].as_str());
            let asked = asked.collect::<Vec<_>>().join("\n");
            let title = match method {
                "item/tool/requestUserInput" => "Codex asked a question that options cannot answer; it was refused".to_owned(),
                _ => format!("Codex asked for `{method}`, which cannot be done here; it was refused"),
            };
            out.notice(Severity::Warning, &title, Some(&asked));
            json!({ "id": id, "error": { "code": -32601, "message": "this client cannot answer that; go on without" } })
        }
    };
    out.send(&answer);
}

/// Why it is asked: beside what was asked for, and as a text for people after the diffs that are known.
fn explain(call: &mut Map<String, Value>, params: &Value, tool: &str, out: &Out) {
    let known = out.tools.picture(tool).unwrap_or_default();
    let member = |name: &str| call.get(name).or_else(|| known.get(name)).cloned();
    let mut input = object(member("rawInput").unwrap_or_default());
    for name in ["reason", "grantRoot"] {
        if let Some(value) = params[name].as_str().filter(|value| !value.is_empty()) {
            input.insert(name.to_owned(), json!(value));
        }
    }
    let mut content = member("content").and_then(|content| content.as_array().cloned()).unwrap_or_default();
    if let Some(reason) = params["reason"].as_str().filter(|reason| !reason.is_empty()) {
        content.push(json!({ "type": "content", "content": { "type": "text", "text": reason } }));
        call.insert("content".to_owned(), json!(content));
    }
    if !input.is_empty() {
        call.insert("rawInput".to_owned(), Value::Object(input));
    }
}

fn choice(id: &str, name: &str, kind: &str, result: Value) -> Choice {
    Choice { option: PermissionOption { option_id: id.to_owned(), name: name.to_owned(), kind: kind.to_owned() }, result }
}

fn decision(decision: impl Into<Value>) -> Value {
    json!({ "decision": decision.into() })
}

/// What Codex offers for a command. Without its own list, everything that it has always understood.
fn command_choices(params: &Value) -> Vec<Choice> {
    let mut choices = vec![choice("accept", "Yes", "allow_once", decision("accept"))];
    match params["availableDecisions"].as_array() {
        None => choices.push(for_session()),
        Some(offered) => {
            for (place, offer) in offered.iter().enumerate() {
                let amendment = &offer["acceptWithExecpolicyAmendment"]["execpolicy_amendment"];
                let network = &offer["applyNetworkPolicyAmendment"]["network_policy_amendment"];
                if offer == "acceptForSession" {
                    choices.push(for_session());
                } else if let Some(words) = amendment.as_array() {
                    let words = words.iter().filter_map(Value::as_str).map(super::quoted).collect::<Vec<_>>().join(" ");
                    let name = format!("Yes, and never ask again for commands that begin with `{words}`");
                    choices.push(choice(&format!("accept-{place}"), &name, "allow_always", decision(offer.clone())));
                } else if let Some(host) = network["host"].as_str() {
                    let is_allowed = network["action"] == "allow";
                    let (verb, kind) = if is_allowed { ("Yes, and always", "allow_always") } else { ("No, and never", "reject_always") };
                    choices.push(choice(&format!("network-{place}"), &format!("{verb} allow {host}"), kind, decision(offer.clone())));
                }
            }
        }
    }
    choices.extend([decline(), cancel()]);
    choices
}

fn changes_choices() -> Vec<Choice> {
    vec![choice("accept", "Yes", "allow_once", decision("accept")), for_session(), decline(), cancel()]
}

fn for_session() -> Choice {
    choice("acceptForSession", "Yes, and do not ask again in this session", "allow_always", decision("acceptForSession"))
}

fn decline() -> Choice {
    choice("decline", "No, and go on without it", "reject_once", decision("decline"))
}

fn cancel() -> Choice {
    choice("cancel", "No, and stop the turn", "reject_always", decision("cancel"))
}

/// Of programs that still ask in the older way.
fn legacy_choices() -> Vec<Choice> {
    vec![
        choice("accept", "Yes", "allow_once", decision("approved")),
        choice("acceptForSession", "Yes, and do not ask again in this session", "allow_always", decision("approved_for_session")),
        choice("decline", "No, and go on without it", "reject_once", decision("denied")),
        choice("cancel", "No, and stop the turn", "reject_always", decision("abort")),
    ]
}

/// Exactly what was asked for is granted, nothing wider.
fn grant_choices(permissions: &Value) -> Vec<Choice> {
    let mut granted = object(permissions.clone());
    granted.retain(|_, value| !value.is_null());
    let grant = |scope: &str| json!({ "permissions": granted, "scope": scope });
    vec![
        choice("accept", "Yes, for this turn", "allow_once", grant("turn")),
        choice("acceptForSession", "Yes, for this session", "allow_always", grant("session")),
        choice("decline", "No", "reject_once", json!({ "permissions": {}, "scope": "turn" })),
    ]
}

fn elicitation_choices(persist: &Value) -> Vec<Choice> {
    let offers = |scope: &str| persist == scope || persist.as_array().is_some_and(|scopes| scopes.iter().any(|offered| offered == scope));
    let mut choices = vec![choice("accept", "Yes", "allow_once", elicited("accept", None))];
    if offers("session") {
        choices.push(choice(
            "acceptForSession",
            "Yes, and do not ask again in this session",
            "allow_always",
            elicited("accept", Some("session")),
        ));
    }
    if offers("always") {
        choices.push(choice("acceptAlways", "Yes, and never ask again", "allow_always", elicited("accept", Some("always"))));
    }
    choices.push(choice("decline", "No, and go on without it", "reject_once", elicited("decline", None)));
    choices.push(choice("cancel", "No, and stop the call", "reject_always", elicited("cancel", None)));
    choices
}

fn elicited(action: &str, persist: Option<&str>) -> Value {
    let content = if action == "accept" { json!({}) } else { Value::Null };
    let meta = persist.map(|scope| json!({ "persist": scope }));
    json!({ "action": action, "content": content, "_meta": meta })
}

/// What a request for more permissions asks for, in words.
fn wish(permissions: &Value) -> String {
    let files = &permissions["fileSystem"];
    let paths = |list: &str, verb: &str| -> Vec<String> {
        let paths = files[list].as_array().into_iter().flatten();
        paths.filter_map(|path| path.as_str().map(|path| format!("{verb} {path}"))).collect()
    };
    let mut wishes: Vec<String> = Vec::new();
    if permissions["network"]["enabled"] == true {
        wishes.push("use the network".to_owned());
    }
    wishes.extend(paths("write", "write to"));
    wishes.extend(paths("read", "read"));
    if wishes.is_empty() {
        let entries = files["entries"].as_array().into_iter().flatten();
        wishes.extend(entries.filter_map(|entry| {
            let path = entry["path"]["path"].as_str().or_else(|| entry["path"]["pattern"].as_str())?;
            Some(format!("{} {path}", if entry["access"] == "write" { "write to" } else { "read" }))
        }));
    }
    match wishes.as_slice() {
        [] => "Have more permissions".to_owned(),
        wishes => {
            let mut wish = wishes.join(", ");
            if let Some(first) = wish.get(..1).map(str::to_uppercase) {
                wish.replace_range(..1, &first);
            }
            wish
        }
    }
}

/// The name under which a request of Codex' is known here.
fn name(id: &Value) -> String {
    id.as_str().map_or_else(|| id.to_string(), str::to_owned)
}
