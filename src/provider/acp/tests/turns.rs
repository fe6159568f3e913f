//! Turns: permission requests, cancellation, tool calls and usage.

use serde_json::{Value, json};

use super::{default_driver, driver_in_turn, permission_request, update};
use crate::{
    model::{
        RunState,
        task::{Task, text_block},
    },
    provider::{
        Action,
        tests::conversation_driver::{ConversationDriver, task},
    },
};

#[test]
fn malformed_messages_do_not_break_the_run() {
    let mut driver = default_driver();
    let calls = ["tool_call", "tool_call_update"].map(|kind| json!({ "sessionUpdate": kind, "toolCallId": 7, "content": { "x": 1 } }));
    for message in [
        json!(null),
        json!([]),
        json!({ "id": 99, "result": 1 }),
        json!({ "id": null, "method": "session/request_permission" }),
        json!({ "method": "session/update" }),
        json!({ "method": "session/update", "params": { "sessionId": "s", "update": 3 } }),
        update(json!({})),
        update(json!({ "sessionUpdate": 4 })),
        update(json!({ "sessionUpdate": "tool_call" })),
        update(json!({ "sessionUpdate": "agent_message_chunk" })),
        update(json!({ "sessionUpdate": "agent_message_chunk", "content": [1] })),
        update(json!({ "sessionUpdate": "usage_update", "cost": 3 })),
        update(json!({ "sessionUpdate": "config_option_update", "configOptions": 1 })),
        update(calls[0].clone()),
        update(calls[1].clone()),
        update(json!({ "sessionUpdate": "tool_call", "toolCallId": "t", "status": 3, "content": [null, {}], "_meta": [] })),
        update(
            json!({ "sessionUpdate": "tool_call_update", "toolCallId": "t", "status": "completed", "rawOutput": [], "content": [{ "type": "content" }] }),
        ),
        json!({ "method": "$/cancel_request", "params": { "requestId": {} } }),
    ] {
        driver.receive(message);
    }
    for line in [&b"\xff\xfe"[..], b"", b"{", b"Debugger listening on ws://127.0.0.1:1"] {
        driver.receive_line(line);
    }
    let prompt = driver.written.iter().find(|written| written["method"] == "session/prompt").expect("a prompt")["id"].clone();
    driver.receive(json!({ "id": prompt, "result": null }));
    assert_eq!(driver.exit(0).state, RunState::Succeeded);
}

#[test]
fn a_permission_request_without_a_tool_call_gets_an_error_response() {
    let mut driver = default_driver();
    driver.receive(json!({ "id": "u", "method": "session/request_permission", "params": { "toolCall": {} } }));
    assert_eq!((&driver.last_written()["id"], &driver.last_written()["error"]["code"]), (&json!("u"), &json!(-32602)));
    driver.receive(json!({ "id": 4, "method": "fs/read_text_file", "params": {} }));
    assert_eq!(driver.last_written()["error"]["code"], -32601);
    assert_eq!(driver.updates("notice").len(), 2, "nothing is refused in silence");
}

#[test]
fn two_permission_requests_whose_ids_we_use_too_get_their_own_answers() {
    let mut driver = default_driver();
    driver.receive(permission_request(json!(0), "a"));
    driver.receive(permission_request(json!("0"), "b"));
    driver.answer("p2", Some("n"));
    assert_eq!(
        driver.last_written(),
        &json!({ "jsonrpc": "2.0", "id": "0", "result": { "outcome": { "outcome": "selected", "optionId": "n" } } })
    );
    driver.answer("p1", Some("y"));
    assert_eq!(driver.last_written()["id"], json!(0));
}

#[test]
fn after_a_cancel_every_permission_request_is_cancelled() {
    let mut driver = driver_in_turn(&task("acp", &["agent"]), "codex", json!({}));
    driver.receive(permission_request(json!(0), "a"));
    driver.act(|it| assert!(it.interrupt(), "a turn runs"));
    let cancelled = json!({ "outcome": { "outcome": "cancelled" } });
    let answers = |driver: &ConversationDriver| driver.written.iter().filter(|written| written["result"] == cancelled).count();
    let position = |is: &dyn Fn(&Value) -> bool| driver.written.iter().position(is).expect("it was written");
    let (cancel, answer) =
        (position(&|written| written["method"] == "session/cancel"), position(&|written| written["result"] == cancelled));
    assert!(cancel < answer && answers(&driver) == 1, "an agent that goes on after an answer knows by then that it is to stop");
    driver.receive(permission_request(json!(1), "b"));
    assert_eq!(answers(&driver), 2);
    assert_eq!(driver.log.iter().filter(|entry| entry["asked"].is_string()).count(), 2, "both are logged");
    let prompt = driver.written.iter().find(|written| written["method"] == "session/prompt").expect("a prompt")["id"].clone();
    driver.receive(json!({ "id": prompt, "error": { "code": -32603, "message": "aborted" } }));
    assert!(driver.actions.contains(&Action::EndCommands), "codex forgets its commands");
    assert_eq!(driver.exit(0).state, RunState::Cancelled);
}

#[test]
fn a_turn_that_the_agent_cancels_by_itself_is_cancelled() {
    let mut driver = default_driver();
    driver.receive(permission_request(json!(0), "a"));
    driver.answer("p1", Some("n"));
    let prompt = driver.written.iter().find(|written| written["method"] == "session/prompt").expect("a prompt")["id"].clone();
    driver.receive(json!({ "id": prompt, "result": { "stopReason": "cancelled" } }));
    assert_eq!(driver.exit(0).state, RunState::Cancelled);
}

#[test]
fn a_withdrawn_permission_request_is_resolved() {
    let mut driver = default_driver();
    driver.receive(permission_request(json!(5), "a"));
    driver.receive(json!({ "method": "$/cancel_request", "params": { "requestId": 5 } }));
    let resolved = driver.log.iter().find(|entry| entry["answered"] == "p1").expect("it is resolved");
    assert_eq!((&resolved["option"], &resolved["by"]), (&json!(null), &json!("provider")));
}

#[test]
fn the_description_of_a_command_is_no_output_and_a_new_file_has_no_old_text() {
    let mut driver = driver_in_turn(&task("acp", &["/bin/gemini", "--acp"]), "gemini-cli", json!({}));
    let text = json!([{ "type": "content", "content": { "type": "text", "text": "[current working directory /w]" } }]);
    let call = |kind: &str, status: &str, content: Value| {
        update(json!({ "sessionUpdate": kind, "toolCallId": "1", "title": "x", "kind": "execute", "status": status, "content": content }))
    };
    driver.receive(call("tool_call", "in_progress", text));
    driver.receive(call("tool_call_update", "completed", json!([])));
    assert_eq!((driver.output("1"), &driver.tool("1")["status"]), (String::new(), &json!("completed")));
    let diff = json!([{ "type": "diff", "path": "/w/a", "oldText": "", "newText": "one" }]);
    driver.receive(update(
        json!({ "sessionUpdate": "tool_call", "toolCallId": "2", "title": "y", "kind": "edit", "status": "completed", "content": diff }),
    ));
    assert_eq!(driver.tool("2")["content"], json!([{ "type": "diff", "path": "/w/a", "newText": "one" }]));
}

#[test]
fn a_late_update_counts_and_makes_no_new_tool_call() {
    let mut driver = driver_in_turn(&Task { interactive: true, ..task("acp", &["agent"]) }, "agent", json!({}));
    driver.receive(update(json!({ "sessionUpdate": "tool_call", "toolCallId": "t", "title": "sleep", "status": "in_progress" })));
    driver.respond(json!({ "stopReason": "cancelled" }));
    assert_eq!(driver.tool("t")["status"], "failed", "a call that was stopped does not stay in progress");
    let before = driver.log.len();
    let late = update(json!({ "sessionUpdate": "tool_call_update", "toolCallId": "t", "status": "completed" }));
    driver.receive(late.clone());
    assert_eq!((driver.log.len(), &driver.tool("t")["status"]), (before + 1, &json!("completed")));
    driver.act(|it| it.send(vec![text_block("more")], false).expect("taken"));
    driver.receive(late);
    assert_eq!(driver.updates("tool_call").len(), 1);
}

#[test]
fn growing_input_is_logged_once_and_before_its_permission_request() {
    let mut driver = default_driver();
    driver.receive(update(
        json!({ "sessionUpdate": "tool_call", "toolCallId": "t", "title": "Terminal", "status": "pending", "rawInput": {} }),
    ));
    for command in ["t", "to", "tou", "touch x"] {
        driver.receive(update(json!({ "sessionUpdate": "tool_call_update", "toolCallId": "t", "rawInput": { "command": command } })));
    }
    assert_eq!(driver.updates("tool_call_update").len(), 0);
    driver.receive(permission_request(json!(0), "t"));
    let request = driver.log.iter().find(|entry| entry["asked"].is_string()).expect("a question");
    assert_eq!(request["toolCall"]["rawInput"]["command"], "touch x");
    assert!(!json!(driver.log).to_string().contains("\"tou\""));

    let mut driver = default_driver();
    driver.receive(update(json!({ "sessionUpdate": "tool_call", "toolCallId": "t", "status": "pending" })));
    driver.receive(update(json!({ "sessionUpdate": "tool_call_update", "toolCallId": "t", "rawInput": { "command": "ls" } })));
    driver.fire_timers();
    assert_eq!(driver.tool("t")["rawInput"]["command"], "ls", "nobody has to wait for the end to see it");
}

#[test]
fn a_huge_result_comes_in_pieces_and_once() {
    let mut driver = default_driver();
    let whole = "0123456789abcde\n".repeat(20 << 16);
    driver
        .receive(update(json!({ "sessionUpdate": "tool_call", "toolCallId": "t", "title": "Read", "kind": "read", "status": "pending" })));
    driver.receive(update(json!({ "sessionUpdate": "tool_call_update", "toolCallId": "t", "status": "completed", "rawOutput": whole,
        "content": [{ "type": "content", "content": { "type": "text", "text": format!("```\n{whole}\n```") } }] })));
    assert!(driver.output("t") == whole, "the whole output is logged");
    let logged: usize = driver.log.iter().map(|entry| entry.to_string().len()).sum();
    assert!(logged < whole.len() * 5 / 4, "{logged} bytes were logged for {}", whole.len());
}

#[test]
fn an_output_that_differs_from_what_was_streamed_is_a_contradiction() {
    let mut driver = default_driver();
    let running = |text: &str, status: &str| {
        update(json!({ "sessionUpdate": "tool_call_update", "toolCallId": "t", "status": status, "kind": "execute",
            "content": [{ "type": "content", "content": { "type": "text", "text": text } }] }))
    };
    driver.receive(running("tick 2\n", "in_progress"));
    driver.receive(running("tick 1\ntick 2\n", "completed"));
    assert_eq!(driver.output("t"), "tick 1\ntick 2\n");
    assert!(driver.log.iter().any(|entry| entry["_meta"]["loomd/contradiction"]["at"] == 5));
}

#[test]
fn each_turn_has_its_own_usage() {
    let mut driver = driver_in_turn(&Task { interactive: true, ..task("acp", &["agent"]) }, "agent", json!({}));
    let cost = |amount: f64| {
        update(json!({ "sessionUpdate": "usage_update", "used": 1, "size": 2, "cost": { "amount": amount, "currency": "USD" } }))
    };
    driver.receive(cost(0.25));
    driver.respond(json!({ "stopReason": "end_turn", "usage": { "inputTokens": 10, "outputTokens": 2, "cachedReadTokens": 3 } }));
    driver.act(|it| it.send(vec![text_block("more")], false).expect("taken"));
    driver.receive(cost(0.75));
    driver
        .respond(json!({ "stopReason": "max_tokens", "_meta": { "quota": { "token_count": { "input_tokens": 4, "output_tokens": 5 } } } }));
    let ends: Vec<&Value> = driver.log.iter().filter(|entry| entry["stopReason"].as_str().is_some_and(|it| !it.is_empty())).collect();
    assert_eq!(ends[0]["usage"], json!({ "inputTokens": 10, "outputTokens": 2, "cachedInputTokens": 3, "costUsd": 0.25 }));
    assert_eq!(ends[1]["usage"], json!({ "inputTokens": 4, "outputTokens": 5, "costUsd": 0.5 }));
    assert_eq!(ends[1]["stopReason"], "max_tokens");
}

#[test]
fn a_sub_agents_call_names_its_parent_and_unknown_updates_pass_unchanged() {
    let mut driver = default_driver();
    driver.receive(update(
        json!({ "sessionUpdate": "tool_call", "toolCallId": "t", "title": "ls", "_meta": { "claudeCode": { "parentToolUseId": "task" } } }),
    ));
    assert_eq!(driver.updates("tool_call")[0]["_meta"]["loomd/parentToolCallId"], "task");
    let unknown_update = json!({ "sessionUpdate": "of_tomorrow", "a": { "b": [1] }, "_meta": { "c": 2 } });
    driver.receive(update(unknown_update.clone()));
    assert_eq!(driver.updates("of_tomorrow"), [&unknown_update]);
}
