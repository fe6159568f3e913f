//! How turns and runs end, and what they used.

use serde_json::json;

use super::*;

/// How a turn of this result ended.
fn ended(result: Value) -> Value {
    let mut run = Run::started(&task("p"));
    run.result(result);
    run.entries().into_iter().find(|entry| entry["state"] == "idle").expect("an end")
}

#[test]
fn errors_are_classed_by_the_status_that_is_told() {
    for (status, kind) in [(400, "provider"), (401, "auth"), (403, "auth"), (429, "rateLimit"), (500, "provider"), (529, "rateLimit")] {
        let end = ended(json!({ "is_error": true, "api_error_status": status, "result": "API Error" }));
        assert_eq!((&end["stopReason"], &end["error"]["kind"]), (&json!("error"), &json!(kind)), "{status}");
    }
    let end = ended(json!({ "subtype": "error_during_execution", "is_error": true, "errors": ["out of luck"] }));
    assert_eq!(end["error"]["message"], "out of luck");
}

#[test]
fn an_error_in_the_models_place_is_the_turns_and_nobodys_text() {
    let mut run = Run::started(&task("p"));
    let message = json!({ "id": "x", "model": "<synthetic>", "content": [{ "type": "text", "text": "API Error: Overloaded" }] });
    run.say(&json!({ "type": "assistant", "message": message, "error": "server_error", "api_error_status": 529, "session_id": "s" }));
    run.result(json!({ "is_error": true, "result": "API Error: Overloaded" }));
    assert!(run.texts("agent_message_chunk").is_empty());
    let end = run.entries().pop().expect("an end");
    assert_eq!(end["error"], json!({ "kind": "rateLimit", "message": "API Error: Overloaded" }));
}

#[test]
fn reasons_to_stop_are_acps() {
    for (result, reason) in [
        (json!({ "stop_reason": "end_turn" }), "end_turn"),
        (json!({ "stop_reason": "tool_use" }), "end_turn"),
        (json!({ "stop_reason": "max_tokens" }), "max_tokens"),
        (json!({ "stop_reason": "refusal" }), "refusal"),
        (json!({ "subtype": "error_max_turns", "is_error": true }), "max_turn_requests"),
        (json!({ "subtype": "error_during_execution", "is_error": true, "terminal_reason": "aborted_tools" }), "cancelled"),
    ] {
        assert_eq!(ended(result.clone())["stopReason"], reason, "{result}");
    }
}

#[test]
fn each_turn_is_charged_for_itself() {
    let mut run = Run::started(&task("p"));
    let usage = json!({ "input_tokens": 10, "cache_creation_input_tokens": 5, "cache_read_input_tokens": 3, "output_tokens": 2 });
    run.result(json!({ "total_cost_usd": 0.1, "usage": usage }));
    run.send("again", false);
    run.result(json!({ "total_cost_usd": 0.3, "usage": usage }));
    let costs: Vec<Value> = run.entries().iter().filter(|entry| entry["state"] == "idle").map(|entry| entry["usage"].clone()).collect();
    assert_eq!(costs[0], json!({ "inputTokens": 18, "outputTokens": 2, "cachedInputTokens": 3, "costUsd": 0.1 }));
    assert_eq!(costs[1]["costUsd"], 0.2);
}

#[test]
fn what_a_resumed_session_cost_before_is_not_charged_to_its_first_turn() {
    let resumed = Task { resume: Some("s".to_owned()), ..task("p") };
    let mut run = Run::started(&resumed);
    run.message("m", None, json!({ "type": "text", "text": "x" }));
    run.result(json!({ "total_cost_usd": 5.0, "usage": {} }));
    run.send("again", false);
    run.result(json!({ "total_cost_usd": 5.25, "usage": {} }));
    let costs: Vec<Value> =
        run.entries().iter().filter(|entry| entry["state"] == "idle").map(|entry| entry["usage"]["costUsd"].clone()).collect();
    assert_eq!(costs, [Value::Null, json!(0.25)]);
}

#[test]
fn a_refused_resume_ends_the_run_and_is_no_session() {
    let mut run = Run::started(&Task { resume: Some("gone".to_owned()), ..task("p") });
    run.result(json!({ "subtype": "error_during_execution", "is_error": true, "num_turns": 0, "session_id": "gone" }));
    assert!(run.finished);
    assert!(run.entries().iter().all(|entry| entry.get("session").is_none()));
    assert_eq!(run.end(Some(1)).error.expect("an error").kind, "sessionNotFound");
}

#[test]
fn tools_without_a_result_do_not_run_for_ever() {
    let mut run = Run::started(&task("p"));
    run.message("m", None, json!({ "type": "tool_use", "id": "t", "name": "Bash", "input": { "command": "make" } }));
    run.result(json!({ "subtype": "error_during_execution", "is_error": true, "terminal_reason": "aborted_tools" }));
    let last = run.updates("tool_call_update").pop().expect("an end").clone();
    assert_eq!((&last["toolCallId"], &last["status"]), (&json!("t"), &json!("failed")));
}

#[test]
fn a_program_that_dies_in_its_turn_has_failed_whatever_its_code() {
    let mut run = Run::started(&task("p"));
    run.begin_message("m", "Hal");
    run.say_raw(br#"{"type":"assistant","message":{"id":"m","con"#);
    let verdict = run.end(Some(0));
    assert_eq!((verdict.state, verdict.turn), (crate::model::RunState::Failed, Some(1)));
}

#[test]
fn how_full_the_context_is_is_told_once_a_turn() {
    let mut run = Run::started(&task("p"));
    let usage = json!({ "input_tokens": 100, "cache_read_input_tokens": 20, "output_tokens": 1 });
    run.stream(json!({ "type": "message_start", "message": { "id": "m", "usage": usage } }));
    run.result(json!({ "modelUsage": { "big": { "inputTokens": 100, "contextWindow": 1000 }, "small": { "inputTokens": 1, "contextWindow": 9 } } }));
    let update = run.updates("usage_update")[0];
    assert_eq!((&update["used"], &update["size"]), (&json!(121), &json!(1000)));
}
