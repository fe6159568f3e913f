//! Approvals: which requests of Codex become questions, and what is answered.

use serde_json::json;

use super::{CodexDriver, task};
use crate::{
    model::{calls::PermissionMode, task::Task},
    provider::{Answer, PermissionRules, RuleAnswer, provider_event::PermissionRequest},
};

#[test]
fn each_permission_mode_sets_approval_policy_and_sandbox() {
    for (mode, approval, sandbox) in [
        (PermissionMode::Ask, "on-request", "workspace-write"),
        (PermissionMode::AcceptEdits, "on-request", "workspace-write"),
        (PermissionMode::ReadOnly, "on-request", "read-only"),
        (PermissionMode::Bypass, "on-request", "danger-full-access"),
    ] {
        let mut driver = CodexDriver::new(&Task { model: Some("m".to_owned()), ..task(mode) });
        driver.respond("initialize", &json!({}));
        let expected = json!({ "cwd": "/w", "approvalPolicy": approval, "approvalsReviewer": "user", "sandbox": sandbox, "model": "m" });
        assert_eq!(driver.last_written()["params"], expected);
    }
}

#[test]
fn read_only_refuses_even_a_command_that_looks_like_reading() {
    let mut driver = CodexDriver::in_turn(&task(PermissionMode::ReadOnly));
    let actions = json!([{ "type": "read", "command": "cat a", "name": "a", "path": "/w/a" }]);
    driver.request(0, "item/commandExecution/requestApproval", &json!({ "itemId": "c", "command": "cat a", "commandActions": actions }));
    assert_eq!(driver.last_written(), &json!({ "id": 0, "result": { "decision": "decline" } }));
    driver.request(1, "item/permissions/requestApproval", &json!({ "itemId": "p", "permissions": { "network": { "enabled": true } } }));
    assert_eq!(driver.last_written(), &json!({ "id": 1, "result": { "permissions": {}, "scope": "turn" } }));
}

/// No rules, and every edit is in its place.
struct EditsInPlace;

impl PermissionRules for EditsInPlace {
    fn consult(&mut self, _request: &PermissionRequest) -> RuleAnswer {
        RuleAnswer::default()
    }

    fn accepts_edit(&self, request: &PermissionRequest) -> bool {
        request.tool_call["kind"] == "edit"
    }
}

#[test]
fn accept_edits_accepts_changes_of_files_and_asks_for_the_rest() {
    let mut driver = CodexDriver::in_turn(&task(PermissionMode::AcceptEdits));
    driver.conversation.use_rules(Box::new(EditsInPlace));
    let changes = json!([{ "path": "/w/a", "kind": { "type": "update" }, "diff": "@@ -1 +1 @@\n-a\n+b\n" }]);
    driver.item("u1", "started", &json!({ "type": "fileChange", "id": "f", "changes": changes, "status": "inProgress" }));
    driver.request(0, "item/fileChange/requestApproval", &json!({ "itemId": "f", "reason": "outside of the workspace" }));
    assert_eq!(driver.last_written(), &json!({ "id": 0, "result": { "decision": "accept" } }));
    let request = driver.logged.iter().find(|logged| logged["requested"] == "p1").expect("it was requested");
    assert_eq!((&request["toolCall"]["title"], &request["toolCall"]["kind"]), (&json!("Edit a"), &json!("edit")));
    assert!(request["toolCall"]["_meta"]["loomd/patch"].as_str().is_some_and(|patch| patch.contains("+b")), "{request}");
    assert_eq!(request["toolCall"]["rawInput"]["reason"], "outside of the workspace");
    let written = driver.written.len();
    driver.request(1, "item/commandExecution/requestApproval", &json!({ "itemId": "c", "command": "make" }));
    assert_eq!(driver.written.len(), written, "a person has to decide");
}

#[test]
fn two_approvals_at_once_get_their_own_answers() {
    let mut driver = CodexDriver::in_turn(&task(PermissionMode::Ask));
    let offered = json!(["accept", { "acceptWithExecpolicyAmendment": { "execpolicy_amendment": ["touch", "a b"] } }, "cancel"]);
    driver.request(
        0,
        "item/commandExecution/requestApproval",
        &json!({ "itemId": "c", "command": "touch 'a b'", "availableDecisions": offered }),
    );
    driver.request(1, "item/fileChange/requestApproval", &json!({ "itemId": "f" }));
    let request = driver.logged.iter().find(|logged| logged["requested"] == "p1").expect("it was requested");
    assert!(request["options"].to_string().contains("touch 'a b'"), "a lasting choice says what it is: {request}");
    driver.answer_permission("p2", Some("acceptForSession"), None);
    assert_eq!(driver.last_written(), &json!({ "id": 1, "result": { "decision": "acceptForSession" } }));
    driver.answer_permission("p1", Some("accept-1"), None);
    assert_eq!(driver.last_written(), &json!({ "id": 0, "result": { "decision": offered[1] } }));
}

#[test]
fn an_answer_without_an_option_declines() {
    let mut driver = CodexDriver::in_turn(&task(PermissionMode::Ask));
    driver.request(0, "item/commandExecution/requestApproval", &json!({ "itemId": "c", "command": "make" }));
    driver.answer_permission("p1", None, None);
    assert_eq!(driver.last_written(), &json!({ "id": 0, "result": { "decision": "decline" } }));
    driver.request(1, "execCommandApproval", &json!({ "callId": "d", "command": ["rm", "a b"] }));
    driver.answer_permission("p2", None, None);
    assert_eq!(driver.last_written(), &json!({ "id": 1, "result": { "decision": "denied" } }));
    let request = driver.logged.iter().find(|logged| logged["requested"] == "p2").expect("it was requested");
    assert_eq!(request["toolCall"]["title"], "rm 'a b'");
}

#[test]
fn only_the_requested_permissions_are_granted() {
    let mut driver = CodexDriver::in_turn(&task(PermissionMode::Ask));
    let wanted = json!({ "network": null, "fileSystem": { "read": null, "write": ["/data"] } });
    driver.request(4, "item/permissions/requestApproval", &json!({ "itemId": "p", "reason": "to keep it", "permissions": wanted }));
    let request = driver.logged.iter().find(|logged| logged["requested"] == "p1").expect("it was requested").clone();
    assert_eq!(request["toolCall"]["title"], "Write to /data");
    driver.answer_permission("p1", Some("acceptForSession"), None);
    let granted = json!({ "fileSystem": { "read": null, "write": ["/data"] } });
    assert_eq!(driver.last_written(), &json!({ "id": 4, "result": { "permissions": granted, "scope": "session" } }));
    let call = driver.logged.last().expect("the call ends");
    assert_eq!((&call["toolCallId"], &call["status"]), (&request["toolCall"]["toolCallId"], &json!("completed")));
}

#[test]
fn a_withdrawn_approval_is_resolved_and_a_late_answer_fails() {
    let mut driver = CodexDriver::in_turn(&task(PermissionMode::Ask));
    driver.request(0, "item/commandExecution/requestApproval", &json!({ "itemId": "c", "command": "make" }));
    driver.notify("serverRequest/resolved", &json!({ "requestId": 0 }));
    assert!(driver.logged.iter().any(|logged| logged["resolved"] == "p1" && logged["option"].is_null()));
    let late = driver.conversation.answer("p1", Answer { option: Some("accept".to_owned()), message: None });
    assert!(late.is_err());
    assert!(!driver.written.iter().any(|written| written.get("result").is_some()));
}

#[test]
fn a_message_beside_a_refusal_reaches_the_agent() {
    let mut driver = CodexDriver::in_turn(&task(PermissionMode::Ask));
    driver.request(0, "item/commandExecution/requestApproval", &json!({ "itemId": "c", "command": "make" }));
    driver.answer_permission("p1", Some("decline"), Some("use ninja"));
    assert_eq!(driver.last_written()["method"], "turn/steer");
    assert_eq!(driver.last_written()["params"]["input"][0]["text"], "use ninja");
    driver.respond("turn/steer", &json!({ "turnId": "u1" }));
    driver.item("u1", "started", &json!({ "type": "userMessage", "id": "m2" }));
    assert_eq!(driver.texts("user_message_chunk"), ["do it"], "the message is in the entry of the answer");
}

#[test]
fn a_request_that_options_cannot_answer_is_refused_with_a_notice() {
    let mut driver = CodexDriver::in_turn(&task(PermissionMode::Ask));
    driver.request(0, "item/tool/requestUserInput", &json!({ "questions": [{ "id": "q", "question": "Which?" }] }));
    assert_eq!(driver.last_written()["error"]["code"], -32601);
    driver.request(1, "mcpServer/elicitation/request", &json!({ "serverName": "s", "mode": "form", "message": "Your name?" }));
    assert_eq!(driver.last_written()["result"]["action"], "decline");
    driver.request(2, "item/tool/call", &json!({ "tool": "x" }));
    assert_eq!(driver.last_written()["result"]["success"], false);
    driver.request(3, "something/new", &json!({}));
    assert_eq!((&driver.last_written()["id"], driver.last_written()["error"].is_object()), (&json!(3), true));
    assert_eq!(driver.notices().len(), 3, "{:?}", driver.notices());
    assert!(!driver.conversation.is_awaiting_permission());
}

#[test]
fn a_tool_of_an_mcp_server_needs_approval_like_any_other() {
    let mut driver = CodexDriver::in_turn(&task(PermissionMode::Ask));
    let meta = json!({ "codex_approval_kind": "mcp_tool_call", "persist": ["session", "always"], "tool_params": { "a": 1 } });
    driver.request(0, "mcpServer/elicitation/request", &json!({ "serverName": "s", "message": "Allow s to run x?", "_meta": meta }));
    driver.answer_permission("p1", Some("acceptForSession"), None);
    assert_eq!(driver.last_written()["result"], json!({ "action": "accept", "content": {}, "_meta": { "persist": "session" } }));
}
