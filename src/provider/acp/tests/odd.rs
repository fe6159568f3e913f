//! Agents that use ids again, ask at odd times, say things late or twice, and speak for their sub-agents.

use serde_json::{Value, json};

use super::{chunk, default_driver, driver_in_turn, permission_request, task_with, update};
use crate::{
    model::{
        RunState,
        calls::PermissionMode,
        task::{Task, text_block},
    },
    provider::tests::conversation_driver::{ConversationDriver, task},
};

fn call(kind: &str, id: Value, fields: Value) -> Value {
    let mut call = json!({ "sessionUpdate": kind, "toolCallId": id });
    call.as_object_mut().expect("an object").extend(fields.as_object().expect("members").clone());
    update(call)
}

fn text_content(text: &str) -> Value {
    json!([{ "type": "content", "content": { "type": "text", "text": text } }])
}

fn interactive() -> ConversationDriver {
    driver_in_turn(&Task { interactive: true, ..task("acp", &["agent"]) }, "agent", json!({}))
}

fn prompt_id(driver: &ConversationDriver) -> Value {
    driver.written.iter().rfind(|written| written["method"] == "session/prompt").expect("a prompt")["id"].clone()
}

fn end_turn(driver: &mut ConversationDriver) {
    let id = prompt_id(driver);
    driver.receive(json!({ "jsonrpc": "2.0", "id": id, "result": { "stopReason": "end_turn" } }));
}

fn chunk_of(id: &str, text: &str) -> Value {
    update(json!({ "sessionUpdate": "agent_message_chunk", "messageId": id, "content": { "type": "text", "text": text } }))
}

#[test]
fn calls_under_one_id_are_calls_of_their_own() {
    let mut driver = interactive();
    for output in ["one", "two"] {
        driver.receive(call("tool_call", json!("bash:0"), json!({ "title": "echo", "status": "pending" })));
        driver.receive(call("tool_call_update", json!("bash:0"), json!({ "status": "completed", "content": text_content(output) })));
    }
    end_turn(&mut driver);
    driver.act(|it| it.send(vec![text_block("more")], false).expect("taken"));
    driver.receive(call("tool_call", json!("bash:0"), json!({ "title": "echo", "status": "completed", "content": text_content("three") })));
    let calls = driver.updates("tool_call");
    let ids: Vec<&str> = calls.iter().map(|call| call["toolCallId"].as_str().expect("an id")).collect();
    assert_eq!(ids, ["bash:0", "loomd-tool-1", "loomd-tool-2"]);
    assert_eq!((calls[0]["_meta"].get("loomd/providerId"), &calls[2]["_meta"]["loomd/providerId"]), (None, &json!("bash:0")));
    assert_eq!(["bash:0", "loomd-tool-1", "loomd-tool-2"].map(|id| driver.output(id)), ["one", "two", "three"]);
}

#[test]
fn a_question_under_the_id_of_a_call_that_has_ended_shows_nothing_of_it() {
    let mut driver = default_driver();
    let diff = json!([{ "type": "diff", "path": "/w/README", "oldText": "a\n", "newText": "b\n" }]);
    driver.receive(call(
        "tool_call",
        json!("Edit_0"),
        json!({ "title": "Edit README", "kind": "edit", "status": "pending", "content": diff }),
    ));
    driver.receive(permission_request(json!(1), "Edit_0"));
    driver.answer("p1", Some("y"));
    driver.receive(call("tool_call_update", json!("Edit_0"), json!({ "status": "completed" })));
    driver.receive(permission_request(json!(2), "Edit_0"));
    // The call of the third question has not ended, and the question is about something else.
    driver.answer("p2", Some("y"));
    let mut other = permission_request(json!(3), "Edit_0");
    other["params"]["toolCall"]["title"] = json!("Delete ~/.ssh");
    driver.receive(other);
    let asked: Vec<&Value> = driver.log.iter().filter(|entry| entry["asked"].is_string()).map(|entry| &entry["toolCall"]).collect();
    assert!(asked[0]["content"].is_array());
    for tool_call in &asked[1..] {
        assert!(tool_call.get("content").is_none() && tool_call["_meta"]["loomd/providerId"] == "Edit_0", "{tool_call}");
    }
    assert_eq!(asked[2]["title"], "Delete ~/.ssh");
    assert!(asked[1]["toolCallId"] != asked[2]["toolCallId"]);
}

#[test]
fn ids_that_are_numbers_or_missing_are_made_names() {
    let mut driver = default_driver();
    driver.receive(call("tool_call", json!(7), json!({ "title": "seven" })));
    driver.receive(call("tool_call", Value::Null, json!({ "title": "none" })));
    driver.receive(call("tool_call_update", Value::Null, json!({ "status": "completed" })));
    let ids: Vec<&Value> = driver.updates("tool_call").iter().map(|call| &call["toolCallId"]).collect();
    assert_eq!(ids, ["7", "tool-1"]);
    assert_eq!(driver.tool("tool-1")["status"], "completed");
    driver.receive(update(json!({ "sessionUpdate": "agent_message_chunk", "messageId": 3, "content": { "type": "text", "text": "x" } })));
    driver.receive(chunk("y"));
    let ids: Vec<&Value> = driver.updates("agent_message_chunk").iter().map(|chunk| &chunk["messageId"]).collect();
    assert_eq!(ids, ["3", "loomd-2"]);
}

#[test]
fn a_message_id_of_an_earlier_turn_is_another_message() {
    let mut driver = interactive();
    driver.receive(chunk_of("m", "one"));
    driver.receive(chunk_of("m", " and a half"));
    end_turn(&mut driver);
    driver.receive(chunk_of("m", ", late"));
    driver.act(|it| it.send(vec![text_block("more")], false).expect("taken"));
    driver.receive(chunk_of("m", "two"));
    let ids: Vec<&Value> = driver.updates("agent_message_chunk").iter().map(|chunk| &chunk["messageId"]).collect();
    assert!(ids[..3] == ["m", "m", "m"] && ids[3] != "m", "{ids:?}");
    assert_eq!(driver.updates("agent_message_chunk")[3]["_meta"]["loomd/providerId"], "m");
}

#[test]
fn members_that_are_ours_are_dropped() {
    let mut driver = default_driver();
    let meta = json!({ "loomd/parentToolCallId": "x", "loomd/abandoned": true, "theirs": 1 });
    driver.receive(call(
        "tool_call",
        json!("t"),
        json!({ "title": "x", "_meta": meta, "content": [{ "type": "diff", "path": "/a", "newText": "", "_meta": meta }] }),
    ));
    driver.receive(update(json!({ "sessionUpdate": "of_tomorrow", "_meta": meta })));
    let mut question = permission_request(json!(1), "q");
    question["params"]["toolCall"]["_meta"] = meta.clone();
    driver.receive(question);
    let log = json!(driver.log).to_string();
    assert!(!log.contains("loomd/") && log.contains("theirs"), "{log}");
}

#[test]
fn every_call_has_ended_with_its_turn_and_late_words_count() {
    let mut driver = interactive();
    driver.receive(call("tool_call", json!("t"), json!({ "title": "make", "kind": "execute", "status": "running" })));
    driver.receive(call("tool_call_update", json!("t"), json!({ "status": "inProgress", "content": text_content("line 1\n") })));
    driver.receive(call("tool_call", json!("u"), json!({ "title": "melt", "status": "melted" })));
    end_turn(&mut driver);
    let idle = driver.log.iter().position(|entry| entry["state"] == "idle").expect("an end");
    let failed = |id: &str| driver.log.iter().position(|entry| entry["toolCallId"] == id && entry["status"] == "failed").expect("an end");
    assert!(failed("t") < idle && failed("u") < idle, "{:?}", driver.log);
    driver.receive(call("tool_call_update", json!("t"), json!({ "status": "done", "content": text_content("line 1\nline 2\n") })));
    assert_eq!((driver.output("t").as_str(), &driver.tool("t")["status"]), ("line 1\nline 2\n", &json!("completed")));
    assert_eq!(driver.updates("tool_call").len(), 2);
}

#[test]
fn a_message_that_is_said_again_as_one_chunk_is_logged_once() {
    let mut driver = default_driver();
    for text in ["The answer ", "is 42, ", "and that is final."] {
        driver.receive(chunk_of("msg_1", text));
    }
    driver.receive(chunk_of("other", "The answer is 42, and that is final."));
    driver.receive(call("tool_call", json!("t"), json!({ "title": "ls", "status": "completed" })));
    for text in ["Second ", "text without ids."] {
        driver.receive(chunk(text));
    }
    driver.receive(chunk("Second text without ids. And what was missing."));
    for text in ["Third ", "text."] {
        driver.receive(chunk(text));
    }
    driver.receive(chunk_of("msg_3", "Third text."));
    driver.receive(chunk("ha"));
    driver.receive(chunk("ha"));
    let text = "The answer is 42, and that is final.Second text without ids. And what was missing.Third text.haha";
    assert_eq!(driver.text("agent_message_chunk"), text);
    let ids: std::collections::BTreeSet<String> =
        driver.updates("agent_message_chunk").iter().map(|chunk| chunk["messageId"].to_string()).collect();
    assert_eq!(ids.len(), 4, "what was said as a whole is over");
}

#[test]
fn a_turn_that_is_said_again_as_one_chunk_is_logged_once() {
    let mut driver = default_driver();
    driver.receive(chunk_of("a", "I look at the tests."));
    driver.receive(call("tool_call", json!("t"), json!({ "title": "ls", "status": "completed" })));
    driver.receive(chunk("They "));
    driver.receive(chunk("pass."));
    driver.receive(chunk_of("whole", "I look at the tests.\n\nThey pass."));
    driver.receive(chunk_of("more", "I look at the tests.\n\nThey pass. So I am done."));
    let text = "I look at the tests.They pass.I look at the tests.\n\nThey pass. So I am done.";
    assert_eq!(driver.text("agent_message_chunk"), text, "what says more is no repetition");
}

#[test]
fn a_question_between_turns_is_asked() {
    let mut driver = interactive();
    end_turn(&mut driver);
    driver.receive(permission_request(json!(5), "bg"));
    let states =
        |driver: &ConversationDriver| driver.log.iter().filter_map(|entry| entry["state"].as_str().map(str::to_owned)).collect::<Vec<_>>();
    assert_eq!(states(&driver).last().map(String::as_str), Some("awaitingPermission"));
    driver.answer("p1", Some("y"));
    assert_eq!(driver.last_written()["result"]["outcome"]["optionId"], "y");
    assert_eq!(states(&driver).last().map(String::as_str), Some("idle"));
    driver.receive(permission_request(json!(6), "bg2"));
    driver.act(|it| it.close_input());
    let cancelled = driver.written.iter().any(|written| written["id"] == 6 && written["result"]["outcome"]["outcome"] == "cancelled");
    assert!(cancelled, "nobody can answer any more, and the agent hears of it: {:?}", driver.written);
}

#[test]
fn a_question_that_is_open_at_the_end_of_its_turn_is_answered() {
    let mut driver = interactive();
    driver.receive(permission_request(json!(5), "t"));
    end_turn(&mut driver);
    assert!(driver.written.iter().any(|written| written["id"] == 5 && written["result"]["outcome"]["outcome"] == "cancelled"));
}

#[test]
fn a_withdrawn_question_still_gets_its_response() {
    let mut driver = default_driver();
    driver.receive(permission_request(json!(77), "t"));
    driver.receive(json!({ "jsonrpc": "2.0", "method": "$/cancel_request", "params": { "requestId": 77 } }));
    assert_eq!((&driver.last_written()["id"], &driver.last_written()["result"]["outcome"]["outcome"]), (&json!(77), &json!("cancelled")));
    assert!(driver.log.iter().any(|entry| entry["answered"] == "p1" && entry["by"] == "provider"));
}

#[test]
fn odd_options_are_asked_and_answered_as_they_came() {
    let mut driver = default_driver();
    let ask = |driver: &mut ConversationDriver, id: u64, options: Value| {
        let mut request = permission_request(json!(id), "t");
        request["params"]["options"] = options;
        driver.receive(request);
        driver.log.iter().rfind(|entry| entry["asked"].is_string()).map(|entry| entry["options"].clone())
    };
    let options = ask(&mut driver, 1, json!([{ "optionId": 1, "name": null, "kind": "allow_once" }])).expect("it is asked");
    assert_eq!(options, json!([{ "optionId": "1", "name": "1", "kind": "allow_once" }]));
    driver.answer("p1", Some("1"));
    assert_eq!(driver.last_written()["result"]["outcome"]["optionId"], json!(1));
    let twice = json!([{ "optionId": "go", "name": "A", "kind": "allow_once" }, { "optionId": "go", "name": "B", "kind": "reject_once" }]);
    let options = ask(&mut driver, 2, twice).expect("it is asked");
    assert_eq!(options, json!([{ "optionId": "go", "name": "A / B", "kind": "other" }]));
    driver.answer("p2", Some("go"));
    ask(&mut driver, 3, json!([]));
    assert_eq!((&driver.last_written()["id"], &driver.last_written()["error"]["code"]), (&json!(3), &json!(-32602)));
    driver.receive(json!({ "id": 4, "method": "session/request_permission", "params": { "options": [{ "optionId": "go" }] } }));
    let last = driver.log.iter().rfind(|entry| entry["asked"].is_string()).expect("it is asked");
    assert!(last["toolCall"]["title"].as_str().is_some_and(|title| title.contains("does not say what for")), "{last}");
}

#[test]
fn a_request_that_comes_twice_is_one_question() {
    let mut driver = default_driver();
    driver.receive(permission_request(json!(1), "t"));
    driver.receive(permission_request(json!(1), "t"));
    driver.receive(permission_request(json!(1), "other"));
    assert_eq!(driver.log.iter().filter(|entry| entry["asked"].is_string()).count(), 2);
    driver.answer("p2", Some("n"));
    assert_eq!((&driver.last_written()["id"], &driver.last_written()["result"]["outcome"]["optionId"]), (&json!(1), &json!("n")));
    driver.answer("p1", Some("y"));
    assert_eq!(driver.last_written()["result"]["outcome"]["optionId"], "y");
}

#[test]
fn a_mode_makes_no_choice_and_accepts_no_elicitation() {
    for mode in [PermissionMode::Bypass, PermissionMode::AcceptEdits] {
        let mut driver = driver_in_turn(&task_with(mode), "agent", json!({}));
        let mut request = permission_request(json!(1), "elicitation-1");
        request["params"]["toolCall"]["kind"] = json!("edit");
        driver.receive(request);
        assert!(driver.conversation.is_awaiting_permission(), "{mode:?}");
    }
}

#[test]
fn a_sub_agent_with_a_session_of_its_own_is_below_its_call() {
    let mut driver = default_driver();
    let of_child = |message: Value| {
        let mut message = message;
        message["params"]["sessionId"] = json!("child-1");
        message
    };
    driver.receive(call(
        "tool_call",
        json!("task1"),
        json!({ "title": "Explore", "status": "in_progress", "_meta": { "x": { "childSessionId": "child-1" } } }),
    ));
    driver.receive(chunk_of("m", "mine"));
    driver.receive(of_child(chunk_of("m", "the child's")));
    driver.receive(of_child(call("tool_call", json!("task1"), json!({ "title": "read", "status": "in_progress" }))));
    driver.receive(of_child(permission_request(json!(1), "c2")));
    driver.receive(of_child(update(json!({ "sessionUpdate": "usage_update", "used": 1, "size": 2 }))));
    driver.receive(json!({ "method": "session/update", "params": { "update": { "sessionUpdate": "agent_message_chunk", "content": { "type": "text", "text": "no session" } } } }));
    let chunks = driver.updates("agent_message_chunk");
    let parents: Vec<&Value> = chunks.iter().map(|chunk| &chunk["_meta"]["loomd/parentToolCallId"]).collect();
    assert_eq!(parents, [&Value::Null, &json!("task1"), &Value::Null]);
    assert!(chunks[0]["messageId"] != chunks[1]["messageId"], "{chunks:?}");
    let calls = driver.updates("tool_call");
    assert_eq!((&calls[1]["title"], &calls[1]["_meta"]["loomd/parentToolCallId"]), (&json!("read"), &json!("task1")));
    assert!(calls[1]["toolCallId"] != "task1" && calls[2]["_meta"]["loomd/parentToolCallId"] == "task1");
    assert!(driver.updates("usage_update").is_empty(), "it would be shown as the agent's own");

    driver
        .receive(json!({ "method": "session/update", "params": { "sessionId": "unknown", "update": { "sessionUpdate": "of_tomorrow" } } }));
    let made = driver.tool("unknown");
    assert_eq!(
        (&made["title"], &driver.updates("of_tomorrow")[0]["_meta"]["loomd/parentToolCallId"]),
        (&json!("Sub-agent"), &json!("unknown"))
    );
    driver.answer("p1", Some("y"));
    end_turn(&mut driver);
    assert_eq!((&driver.tool("unknown")["status"], &driver.tool("task1")["status"]), (&json!("completed"), &json!("failed")));
}

#[test]
fn a_line_of_a_log_answers_nothing_and_an_error_without_an_id_answers_the_prompt() {
    let mut driver = default_driver();
    let id = prompt_id(&driver);
    driver.receive(json!({ "level": "info", "msg": "request done", "id": id, "duration_ms": 3 }));
    assert!(driver.conversation.is_in_turn());
    driver.receive(json!({ "jsonrpc": "2.0", "id": null, "error": { "code": -32700, "message": "Parse error" } }));
    let end = driver.exit(0);
    assert_eq!((end.state, end.error.expect("an error").message.as_str()), (RunState::Failed, "Parse error"));
}

#[test]
fn a_title_sequence_before_a_message_hangs_no_turn() {
    let mut driver = default_driver();
    let response = json!({ "jsonrpc": "2.0", "id": prompt_id(&driver), "result": { "stopReason": "end_turn" } });
    driver.receive_line(format!("\u{1b}]0;work: ready\u{7}{response}").as_bytes());
    assert_eq!(driver.exit(0).state, RunState::Succeeded);

    let mut driver = default_driver();
    let response = json!({ "jsonrpc": "2.0", "id": prompt_id(&driver), "result": { "stopReason": "end_turn" } }).to_string();
    driver.receive_line(&response.as_bytes()[..response.len() - 1]);
    assert!(driver.conversation.is_in_turn());
    driver.fire_timers();
    assert_eq!(driver.exit(0).state, RunState::Succeeded, "only brackets were missing");
}

#[test]
fn equal_notices_of_a_turn_are_logged_once() {
    let mut driver = default_driver();
    for _ in 0..3 {
        driver.receive(json!({ "id": 4, "method": "fs/read_text_file", "params": {} }));
        driver.receive(update(json!({ "sessionUpdate": "notice", "severity": "info", "title": "again" })));
    }
    assert_eq!(driver.updates("notice").len(), 2);
}

#[test]
fn usage_that_is_the_sum_of_a_session_is_not_added_up() {
    let mut driver = interactive();
    for turn in 1..=3 {
        let id = prompt_id(&driver);
        driver.receive(json!({ "id": id, "result": { "stopReason": "end_turn", "usage": { "inputTokens": 1000 * turn, "outputTokens": 100 * turn } } }));
        driver.act(|it| it.send(vec![text_block("more")], false).expect("taken"));
    }
    let used: Vec<&Value> =
        driver.log.iter().filter(|entry| entry["usage"].is_object()).map(|entry| &entry["usage"]["inputTokens"]).collect();
    assert_eq!(used, [1000, 1000, 1000]);
}

#[test]
fn errors_have_words_and_a_kind_whatever_their_shape() {
    for (error, kind, words) in [
        (json!("quota exceeded for model x"), "rateLimit", "quota exceeded for model x"),
        (json!({ "code": -32603 }), "provider", "error -32603"),
        (
            json!({ "code": -32603, "message": "Internal error", "data": { "error": { "message": "You exceeded it", "code": 429 } } }),
            "rateLimit",
            "Internal error: You exceeded it",
        ),
        (json!({ "code": -32603, "message": "Internal error", "data": ["a", "b"] }), "provider", "Internal error: a; b"),
        (json!({ "code": "ECONNRESET", "message": "socket hang up" }), "provider", "socket hang up (ECONNRESET)"),
        (json!({ "code": -32603, "message": { "text": "nested" } }), "provider", "nested"),
        (json!({ "code": 429, "message": "Too many" }), "rateLimit", "Too many"),
    ] {
        let mut driver = default_driver();
        let id = prompt_id(&driver);
        driver.receive(json!({ "jsonrpc": "2.0", "id": id, "error": error }));
        let found = driver.exit(0).error.expect("an error");
        assert_eq!((found.kind.as_str(), found.message.as_str()), (kind, words), "{error}");
    }
}
