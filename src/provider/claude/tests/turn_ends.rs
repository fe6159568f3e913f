//! How turns and runs end, and what they used.

use serde_json::json;

use super::*;

/// The logged end of a turn with this result.
fn end_of_turn(result: Value) -> Value {
    let mut run = TestRun::started(&task("p"));
    run.result(result);
    run.entries().into_iter().find(|entry| entry["state"] == "idle").expect("an end")
}

#[test]
fn errors_are_classed_by_their_api_status() {
    for (status, kind) in [(400, "provider"), (401, "auth"), (403, "auth"), (429, "rateLimit"), (500, "provider"), (529, "rateLimit")] {
        let end = end_of_turn(json!({ "is_error": true, "api_error_status": status, "result": "API Error" }));
        assert_eq!((&end["stopReason"], &end["error"]["kind"]), (&json!("error"), &json!(kind)), "{status}");
    }
    let end = end_of_turn(json!({ "subtype": "error_during_execution", "is_error": true, "errors": ["out of luck"] }));
    assert_eq!(end["error"]["message"], "out of luck");
}

#[test]
fn a_synthetic_error_message_is_the_turns_error_and_no_text() {
    let mut run = TestRun::started(&task("p"));
    let message = json!({ "id": "x", "model": "<synthetic>", "content": [{ "type": "text", "text": "API Error: Overloaded" }] });
    run.receive(&json!({ "type": "assistant", "message": message, "error": "server_error", "api_error_status": 529, "session_id": "s" }));
    run.result(json!({ "is_error": true, "result": "API Error: Overloaded" }));
    assert!(run.texts("agent_message_chunk").is_empty());
    let end = run.entries().pop().expect("an end");
    assert_eq!(end["error"], json!({ "kind": "rateLimit", "message": "API Error: Overloaded" }));
}

#[test]
fn stop_reasons_are_those_of_acp() {
    for (result, reason) in [
        (json!({ "stop_reason": "end_turn" }), "end_turn"),
        (json!({ "stop_reason": "tool_use" }), "end_turn"),
        (json!({ "stop_reason": "max_tokens" }), "max_tokens"),
        (json!({ "stop_reason": "refusal" }), "refusal"),
        (json!({ "subtype": "error_max_turns", "is_error": true }), "max_turn_requests"),
        (json!({ "subtype": "error_during_execution", "is_error": true, "terminal_reason": "aborted_tools" }), "cancelled"),
    ] {
        assert_eq!(end_of_turn(result.clone())["stopReason"], reason, "{result}");
    }
}

#[test]
fn each_turn_has_its_own_cost() {
    let mut run = TestRun::started(&task("p"));
    let usage = json!({ "input_tokens": 10, "cache_creation_input_tokens": 5, "cache_read_input_tokens": 3, "output_tokens": 2 });
    run.result(json!({ "total_cost_usd": 0.1, "usage": usage }));
    run.send("again", false);
    run.result(json!({ "total_cost_usd": 0.3, "usage": usage }));
    let costs: Vec<Value> = run.entries().iter().filter(|entry| entry["state"] == "idle").map(|entry| entry["usage"].clone()).collect();
    assert_eq!(costs[0], json!({ "inputTokens": 18, "outputTokens": 2, "cachedInputTokens": 3, "costUsd": 0.1 }));
    assert_eq!(costs[1]["costUsd"], 0.2);
}

#[test]
fn the_first_turn_of_a_resumed_session_has_no_cost() {
    let resumed = Task { resume: Some("s".to_owned()), ..task("p") };
    let mut run = TestRun::started(&resumed);
    run.message("m", None, json!({ "type": "text", "text": "x" }));
    run.result(json!({ "total_cost_usd": 5.0, "usage": {} }));
    run.send("again", false);
    run.result(json!({ "total_cost_usd": 5.25, "usage": {} }));
    let costs: Vec<Value> =
        run.entries().iter().filter(|entry| entry["state"] == "idle").map(|entry| entry["usage"]["costUsd"].clone()).collect();
    assert_eq!(costs, [Value::Null, json!(0.25)]);
}

#[test]
fn a_refused_resume_ends_the_run_without_a_session() {
    let mut run = TestRun::started(&Task { resume: Some("gone".to_owned()), ..task("p") });
    run.result(json!({ "subtype": "error_during_execution", "is_error": true, "num_turns": 0, "session_id": "gone" }));
    assert!(run.finished);
    assert!(run.entries().iter().all(|entry| entry.get("session").is_none()));
    assert_eq!(run.end(Some(1)).error.expect("an error").kind, "sessionNotFound");
}

#[test]
fn tool_calls_without_a_result_fail_with_their_turn() {
    let mut run = TestRun::started(&task("p"));
    run.message("m", None, json!({ "type": "tool_use", "id": "t", "name": "Bash", "input": { "command": "make" } }));
    run.result(json!({ "subtype": "error_during_execution", "is_error": true, "terminal_reason": "aborted_tools" }));
    let last = run.updates("tool_call_update").pop().expect("an end").clone();
    assert_eq!((&last["toolCallId"], &last["status"]), (&json!("t"), &json!("failed")));
}

#[test]
fn an_exit_within_a_turn_is_a_failure_whatever_its_code() {
    let mut run = TestRun::started(&task("p"));
    run.begin_message("m", "Hal");
    run.receive_line(br#"{"type":"assistant","message":{"id":"m","con"#);
    let final_state = run.end(Some(0));
    assert_eq!((final_state.state, final_state.turn), (crate::model::RunState::Failed, Some(1)));
}

#[test]
fn the_context_size_is_logged_once_a_turn() {
    let mut run = TestRun::started(&task("p"));
    let usage = json!({ "input_tokens": 100, "cache_read_input_tokens": 20, "output_tokens": 1 });
    run.stream(json!({ "type": "message_start", "message": { "id": "m", "usage": usage } }));
    run.result(json!({ "modelUsage": { "big": { "inputTokens": 100, "contextWindow": 1000 }, "small": { "inputTokens": 1, "contextWindow": 9 } } }));
    let update = run.updates("usage_update")[0];
    assert_eq!((&update["used"], &update["size"]), (&json!(121), &json!(1000)));
}

#[test]
fn a_result_that_is_not_the_prompts_ends_nothing() {
    let resumed = Task { resume: Some("s".to_owned()), interactive: false, ..task("p") };
    let mut run = TestRun::started(&resumed);
    run.receive(&json!({ "type": "system", "subtype": "init", "session_id": "s" }));
    run.receive(
        &json!({ "type": "system", "subtype": "task_notification", "status": "completed", "summary": "It is done", "session_id": "s" }),
    );
    run.result(json!({ "num_turns": 0, "result": "", "origin": { "kind": "task-notification" } }));
    assert!(run.conversation.is_in_turn() && !run.finished);
    assert_eq!(run.updates("notice")[0]["title"], "It is done");
    run.message("m", None, json!({ "type": "text", "text": "The real answer." }));
    run.result(json!({ "result": "The real answer." }));
    assert!(run.finished && run.texts("agent_message_chunk") == ["The real answer."]);

    let mut run = TestRun::started(&resumed);
    run.receive(&json!({ "type": "system", "subtype": "init", "session_id": "s" }));
    run.result(json!({ "num_turns": 0, "result": "" }));
    assert!(run.conversation.is_in_turn(), "it does not say what it is the result of");
    let timers = std::mem::take(&mut run.timers);
    timers.into_iter().for_each(|timer| run.fire_timer(timer));
    assert!(run.finished, "nothing followed");
}

#[test]
fn a_background_commands_end_is_told_in_a_later_turn() {
    let mut run = TestRun::started(&task("p"));
    run.message(
        "m",
        None,
        json!({ "type": "tool_use", "id": "t", "name": "Bash", "input": { "command": "make", "run_in_background": true } }),
    );
    run.tool_result("t", json!("Command running in background with ID: b1"), Value::Null);
    run.result(json!({}));
    run.send("and?", false);
    run.receive(&json!({ "type": "system", "subtype": "task_notification", "tool_use_id": "t", "status": "failed", "summary": "make failed", "session_id": "s" }));
    let last = run.updates("tool_call_update").pop().expect("an end").clone();
    assert_eq!((&last["toolCallId"], &last["status"]), (&json!("t"), &json!("failed")));
    assert_eq!(run.updates("notice")[0]["title"], "make failed");
    let servers = json!([{ "name": "db", "status": "failed" }, { "name": "ok", "status": "connected" }]);
    for _ in 0..2 {
        run.receive(&json!({ "type": "system", "subtype": "init", "mcp_servers": servers, "session_id": "s" }));
        run.receive(&json!({ "type": "system", "subtype": "hook_response", "hook_name": "PreToolUse", "exit_code": 2, "stderr": "no", "session_id": "s" }));
    }
    let titles: Vec<&Value> = run.updates("notice").iter().map(|notice| &notice["title"]).collect();
    assert_eq!(titles, ["make failed", "The MCP server db could not be started", "The hook PreToolUse failed"]);
}

#[test]
fn a_streamed_message_that_has_ended_is_not_abandoned() {
    let mut run = TestRun::started(&task("p"));
    run.begin_message("m", "Hello");
    run.stream(json!({ "type": "message_stop" }));
    run.begin_message("n", "World");
    run.begin_message("o", "again");
    let abandoned =
        |run: &TestRun| run.updates("agent_message_chunk").iter().filter(|chunk| chunk["_meta"].get("loomd/abandoned").is_some()).count();
    assert_eq!(abandoned(&run), 1, "only the one that was broken off");
    run.message("m", None, json!({ "type": "text", "text": "Hello!" }));
    assert_eq!(run.texts("agent_message_chunk"), ["Hello", "World", "", "again", "", "!"]);
}
