//! Approvals: a request of Codex becomes a permission request with options, and the selected option becomes the
//! response.
//!
//! Only an option of the kind `allow_…` allows anything. An answer without an option, or with an unknown one,
//! declines.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{calls, changes};
use crate::{
    model::{PermissionOption, task::object},
    provider::{
        Answer,
        event_sink::{EventSink, Severity},
        provider_event::PermissionRequest,
    },
};

/// The approvals that Codex waits for, by the id of each request.
#[derive(Default)]
pub(crate) struct Approvals(BTreeMap<String, PendingApproval>);

struct PendingApproval {
    id: Value,
    choices: Vec<ApprovalChoice>,
    /// The result if nobody selected an option.
    refusal: Value,
    tool_call_id: String,
    /// The tool call was made for this approval alone and ends with it.
    is_own_call: bool,
}

/// An option, and the result that selects it.
struct ApprovalChoice {
    option: PermissionOption,
    result: Value,
}

impl Approvals {
    /// Handles a request of Codex. `false` if it is not one that options can answer.
    pub(crate) fn handle_request(&mut self, id: &Value, method: &str, params: &Value, cwd: &str, out: &mut EventSink) -> bool {
        let text_member = |name: &str| params[name].as_str();
        let item = text_member("itemId").or_else(|| text_member("callId"));
        let own_call = format!("question-{}", permission_id(id));
        let tool_call_id = item.map_or_else(|| own_call.clone(), str::to_owned);
        let mut is_own_call = item.is_none();
        let (mut call, choices, refusal) = match method {
            "item/commandExecution/requestApproval" => {
                let call = match (text_member("command"), params["networkApprovalContext"]["host"].as_str()) {
                    (None, Some(host)) => {
                        is_own_call = true;
                        json!({ "title": format!("Connect to {host}"), "kind": "other", "rawInput": params["networkApprovalContext"] })
                    }
                    (Some(command), _) => calls::command(command, &params["commandActions"], text_member("cwd")),
                    (None, None) => json!({ "kind": "execute" }),
                };
                (object(call), command_choices(params), decision("decline"))
            }
            "item/fileChange/requestApproval" => (Map::new(), file_change_choices(), decision("decline")),
            "execCommandApproval" => {
                let args = params["command"].as_array().into_iter().flatten().filter_map(Value::as_str);
                let command = args.map(super::quoted).collect::<Vec<_>>().join(" ");
                (object(calls::command(&command, &Value::Null, text_member("cwd"))), legacy_choices(), decision("denied"))
            }
            "applyPatchApproval" => {
                (changes::tool_call(&changes::changes_from_map(&params["fileChanges"]), cwd), legacy_choices(), decision("denied"))
            }
            "item/permissions/requestApproval" => {
                is_own_call |= !item.is_some_and(|item| out.has_tool_call(item));
                let call = json!({ "title": permissions_title(&params["permissions"]), "kind": "other", "rawInput": { "permissions": params["permissions"] } });
                (object(call), grant_choices(&params["permissions"]), json!({ "permissions": {}, "scope": "turn" }))
            }
            "mcpServer/elicitation/request" if params["_meta"]["codex_approval_kind"] == "mcp_tool_call" => {
                let title = text_member("message").unwrap_or("Call a tool of an MCP server");
                let call = json!({ "title": title, "kind": "other", "rawInput": params["_meta"]["tool_params"] });
                (object(call), elicitation_choices(&params["_meta"]["persist"]), elicitation_result("decline", None))
            }
            _ => return false,
        };
        let tool_call_id = if is_own_call { own_call } else { tool_call_id };
        if method.contains("ileChange") || method == "applyPatchApproval" {
            // The item of a file change comes before the request for it. If its tool call is unknown, it still has to
            // be shown as a change of files.
            if !out.has_tool_call(&tool_call_id) && call.is_empty() {
                call = changes::tool_call(&Value::Null, cwd);
            }
        }
        add_reason(&mut call, params, &tool_call_id, out);
        call.insert("toolCallId".to_owned(), json!(tool_call_id));
        call.insert("status".to_owned(), json!("pending"));
        let options = choices.iter().map(|choice| choice.option.clone()).collect();
        self.0.insert(permission_id(id), PendingApproval { id: id.clone(), choices, refusal, tool_call_id, is_own_call });
        out.request_permission(PermissionRequest { id: permission_id(id), tool_call: call, options });
        true
    }

    pub(crate) fn is_open(&self, question: &str) -> bool {
        self.0.contains_key(question)
    }

    /// Sends the response for an answer. Returns the message that came with a refusal: the response cannot carry it,
    /// so the caller sends it as a steer.
    pub(crate) fn answer(&mut self, question: &str, answer: &Answer, out: &mut EventSink) -> Option<String> {
        let approval = self.0.remove(question)?;
        let chosen = answer.option.as_ref().and_then(|id| approval.choices.iter().find(|choice| choice.option.option_id == *id));
        let is_allowed = chosen.is_some_and(|choice| choice.option.kind.starts_with("allow"));
        let result = chosen.map_or(&approval.refusal, |choice| &choice.result);
        out.send(&json!({ "id": approval.id, "result": result }));
        approval.finish_call(is_allowed, out);
        answer.message.clone().filter(|message| !is_allowed && !message.trim().is_empty())
    }

    /// Codex does not wait for this request any more, or it has received the response.
    pub(crate) fn handle_resolved(&mut self, id: &Value, out: &mut EventSink) {
        if let Some(approval) = self.0.remove(&permission_id(id)) {
            out.withdraw_permission(&permission_id(id));
            if approval.is_own_call {
                approval.finish_call(false, out);
            }
        }
    }
}

impl PendingApproval {
    /// Ends the tool call that was made for this approval, or marks the one that was approved as running.
    fn finish_call(&self, is_allowed: bool, out: &mut EventSink) {
        match (out.has_tool_call(&self.tool_call_id), self.is_own_call) {
            (true, true) => out.tool_ended(&self.tool_call_id, if is_allowed { "completed" } else { "failed" }, None, Map::new()),
            (true, false) if is_allowed => out.tool_call(&self.tool_call_id, object(json!({ "status": "in_progress" }))),
            _ => {}
        }
    }
}

/// Answers a request that has no options, so that Codex does not wait for it, and logs a notice.
pub(crate) fn refuse(id: &Value, method: &str, params: &Value, out: &mut EventSink) {
    let answer = match method {
        "mcpServer/elicitation/request" => {
            let server = params["serverName"].as_str().unwrap_or("an MCP server");
            out.notice(
                Severity::Warning,
                &format!("{server} requested input that cannot be given here; loomd declined the request"),
                params["message"].as_str(),
            );
            json!({ "id": id, "result": elicitation_result("decline", None) })
        }
        "item/tool/call" => {
            let text = json!([{ "type": "inputText", "text": "this client offers no tools" }]);
            json!({ "id": id, "result": { "contentItems": text, "success": false } })
        }
        _ => {
            let questions = params["questions"].as_array().into_iter().flatten().filter_map(|question| question["question"].as_str());
            let questions = questions.collect::<Vec<_>>().join("\n");
            let title = match method {
                "item/tool/requestUserInput" => "Codex asked a question that has no options to choose from; loomd refused it".to_owned(),
                _ => format!("Codex requested `{method}`, which loomd does not support; the request was refused"),
            };
            out.notice(Severity::Warning, &title, Some(&questions));
            json!({ "id": id, "error": { "code": -32601, "message": "this client cannot answer that; continue without an answer" } })
        }
    };
    out.send(&answer);
}

/// Adds why Codex asks to `rawInput`. It is no content of the call, which would be its output.
fn add_reason(call: &mut Map<String, Value>, params: &Value, tool_call_id: &str, out: &EventSink) {
    let known = out.tools.snapshot(tool_call_id).unwrap_or_default();
    let member = |name: &str| call.get(name).or_else(|| known.get(name)).cloned();
    let mut input = object(member("rawInput").unwrap_or_default());
    for name in ["reason", "grantRoot"] {
        if let Some(value) = params[name].as_str().filter(|value| !value.is_empty()) {
            input.insert(name.to_owned(), json!(value));
        }
    }
    if !input.is_empty() {
        call.insert("rawInput".to_owned(), Value::Object(input));
    }
}

fn approval_choice(id: &str, name: &str, kind: &str, result: Value) -> ApprovalChoice {
    ApprovalChoice { option: PermissionOption { option_id: id.to_owned(), name: name.to_owned(), kind: kind.to_owned() }, result }
}

fn decision(decision: impl Into<Value>) -> Value {
    json!({ "decision": decision.into() })
}

/// The options for a command: those that Codex offers, or the ones that every version understands if it offers no
/// list.
fn command_choices(params: &Value) -> Vec<ApprovalChoice> {
    let mut choices = vec![approval_choice("accept", "Yes", "allow_once", decision("accept"))];
    match params["availableDecisions"].as_array() {
        None => choices.push(accept_for_session()),
        Some(offered) => {
            for (index, offer) in offered.iter().enumerate() {
                let amendment = &offer["acceptWithExecpolicyAmendment"]["execpolicy_amendment"];
                let network = &offer["applyNetworkPolicyAmendment"]["network_policy_amendment"];
                if offer == "acceptForSession" {
                    choices.push(accept_for_session());
                } else if let Some(prefix) = amendment.as_array() {
                    let prefix = prefix.iter().filter_map(Value::as_str).map(super::quoted).collect::<Vec<_>>().join(" ");
                    let name = format!("Yes, and never ask again for commands that begin with `{prefix}`");
                    choices.push(approval_choice(&format!("accept-{index}"), &name, "allow_always", decision(offer.clone())));
                } else if let Some(host) = network["host"].as_str() {
                    let is_allowed = network["action"] == "allow";
                    let (verb, kind) = if is_allowed { ("Yes, and always", "allow_always") } else { ("No, and never", "reject_always") };
                    choices.push(approval_choice(
                        &format!("network-{index}"),
                        &format!("{verb} allow {host}"),
                        kind,
                        decision(offer.clone()),
                    ));
                }
            }
        }
    }
    choices.extend([decline(), cancel()]);
    choices
}

fn file_change_choices() -> Vec<ApprovalChoice> {
    vec![approval_choice("accept", "Yes", "allow_once", decision("accept")), accept_for_session(), decline(), cancel()]
}

fn accept_for_session() -> ApprovalChoice {
    approval_choice("acceptForSession", "Yes, and do not ask again in this session", "allow_always", decision("acceptForSession"))
}

fn decline() -> ApprovalChoice {
    approval_choice("decline", "No, and continue without it", "reject_once", decision("decline"))
}

fn cancel() -> ApprovalChoice {
    approval_choice("cancel", "No, and stop the turn", "reject_always", decision("cancel"))
}

/// The options for the requests of older versions.
fn legacy_choices() -> Vec<ApprovalChoice> {
    vec![
        approval_choice("accept", "Yes", "allow_once", decision("approved")),
        approval_choice("acceptForSession", "Yes, and do not ask again in this session", "allow_always", decision("approved_for_session")),
        approval_choice("decline", "No, and continue without it", "reject_once", decision("denied")),
        approval_choice("cancel", "No, and stop the turn", "reject_always", decision("abort")),
    ]
}

/// The options for more permissions. They grant exactly what was requested.
fn grant_choices(permissions: &Value) -> Vec<ApprovalChoice> {
    let mut granted = object(permissions.clone());
    granted.retain(|_, value| !value.is_null());
    let grant = |scope: &str| json!({ "permissions": granted, "scope": scope });
    vec![
        approval_choice("accept", "Yes, for this turn", "allow_once", grant("turn")),
        approval_choice("acceptForSession", "Yes, for this session", "allow_always", grant("session")),
        approval_choice("decline", "No", "reject_once", json!({ "permissions": {}, "scope": "turn" })),
    ]
}

/// The options for a tool call of an MCP server. `persist` lists for how long Codex can remember the approval.
fn elicitation_choices(persist: &Value) -> Vec<ApprovalChoice> {
    let offers = |scope: &str| persist == scope || persist.as_array().is_some_and(|scopes| scopes.iter().any(|offered| offered == scope));
    let mut choices = vec![approval_choice("accept", "Yes", "allow_once", elicitation_result("accept", None))];
    if offers("session") {
        choices.push(approval_choice(
            "acceptForSession",
            "Yes, and do not ask again in this session",
            "allow_always",
            elicitation_result("accept", Some("session")),
        ));
    }
    if offers("always") {
        choices.push(approval_choice(
            "acceptAlways",
            "Yes, and never ask again",
            "allow_always",
            elicitation_result("accept", Some("always")),
        ));
    }
    choices.push(approval_choice("decline", "No, and continue without it", "reject_once", elicitation_result("decline", None)));
    choices.push(approval_choice("cancel", "No, and stop the call", "reject_always", elicitation_result("cancel", None)));
    choices
}

fn elicitation_result(action: &str, persist: Option<&str>) -> Value {
    let content = if action == "accept" { json!({}) } else { Value::Null };
    let meta = persist.map(|scope| json!({ "persist": scope }));
    json!({ "action": action, "content": content, "_meta": meta })
}

/// A title for a request for more permissions: "Use the network, write to /tmp".
fn permissions_title(permissions: &Value) -> String {
    let files = &permissions["fileSystem"];
    let paths = |list: &str, verb: &str| -> Vec<String> {
        let paths = files[list].as_array().into_iter().flatten();
        paths.filter_map(|path| path.as_str().map(|path| format!("{verb} {path}"))).collect()
    };
    let mut actions: Vec<String> = Vec::new();
    if permissions["network"]["enabled"] == true {
        actions.push("use the network".to_owned());
    }
    actions.extend(paths("write", "write to"));
    actions.extend(paths("read", "read"));
    if actions.is_empty() {
        let entries = files["entries"].as_array().into_iter().flatten();
        actions.extend(entries.filter_map(|entry| {
            let path = entry["path"]["path"].as_str().or_else(|| entry["path"]["pattern"].as_str())?;
            Some(format!("{} {path}", if entry["access"] == "write" { "write to" } else { "read" }))
        }));
    }
    match actions.as_slice() {
        [] => "Have more permissions".to_owned(),
        actions => {
            let mut title = actions.join(", ");
            if let Some(first) = title.get(..1).map(str::to_uppercase) {
                title.replace_range(..1, &first);
            }
            title
        }
    }
}

/// The id of a request of Codex as the adapter's id of a permission request.
fn permission_id(id: &Value) -> String {
    id.as_str().map_or_else(|| id.to_string(), str::to_owned)
}
