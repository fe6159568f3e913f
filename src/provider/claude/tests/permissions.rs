//! Permission requests, their answers, settings and interrupts.

use serde_json::json;

use super::*;
use crate::{
    model::{FailureKind, config_option::OptionValue},
    provider::Answer,
};

fn choose(run: &mut TestRun, permission: &str, option: Option<&str>) {
    let answer = Answer { option: option.map(str::to_owned), message: None };
    run.conversation.answer(permission, answer).expect("the question is open");
    run.drain_actions();
}

/// A run that waits for an answer about a command.
fn awaiting_permission() -> TestRun {
    let mut run = TestRun::started(&task("p"));
    run.message("m", None, json!({ "type": "tool_use", "id": "t", "name": "Bash", "input": { "command": "make" } }));
    let suggestions = json!([
        { "type": "addRules", "behavior": "allow", "destination": "localSettings", "rules": [{ "toolName": "Bash", "ruleContent": "make" }] },
        { "type": "addRules", "behavior": "deny", "destination": "session", "rules": [{ "toolName": "Bash" }] },
        { "type": "setMode", "mode": "bypassPermissions", "destination": "session" },
        { "type": "setMode", "mode": "acceptEdits", "destination": "session" },
    ]);
    run.request_permission("q", "t", json!({ "tool_name": "Bash", "input": { "command": "make" }, "permission_suggestions": suggestions }));
    run
}

#[test]
fn a_request_offers_claudes_suggestions_but_no_bypass_of_all_requests() {
    let mut run = awaiting_permission();
    let entries = run.entries();
    let request = entries.iter().find(|entry| entry["requested"] == true).expect("a question");
    let options = request["status"]["options"].as_array().expect("options");
    let option_names: Vec<(&str, &str)> =
        options.iter().map(|option| (option["kind"].as_str().expect("a kind"), option["name"].as_str().expect("a name"))).collect();
    assert_eq!(
        option_names,
        [
            ("allow_once", "Allow"),
            ("allow_always", "Always allow Bash(make) in this project"),
            ("allow_always", "Allow, and accept all edits in this session"),
            ("reject_once", "Reject"),
            ("reject_once", "Reject and stop"),
        ]
    );
    let call = &request["status"]["toolCall"];
    assert_eq!((&call["title"], &call["kind"], &call["rawInput"]["command"]), (&json!("make"), &json!("execute"), &json!("make")));
}

#[test]
fn allow_once_allows_the_call_and_allow_always_adds_the_named_rule() {
    let mut run = awaiting_permission();
    choose(&mut run, "p1", Some("allow"));
    let response = &run.last_written()["response"];
    assert_eq!((&response["request_id"], &response["subtype"]), (&json!("q"), &json!("success")));
    assert_eq!(response["response"], json!({ "behavior": "allow", "updatedInput": { "command": "make" } }));

    let mut run = awaiting_permission();
    choose(&mut run, "p1", Some("allowAlways1"));
    let rules = &run.last_written()["response"]["response"]["updatedPermissions"];
    assert_eq!((rules.as_array().expect("rules").len(), &rules[0]["type"]), (1, &json!("addRules")));
}

#[test]
fn every_answer_but_an_allowing_option_denies() {
    for option in [Some("reject"), Some("rejectAndStop"), None] {
        let mut run = awaiting_permission();
        choose(&mut run, "p1", option);
        let response = &run.last_written()["response"]["response"];
        assert_eq!(response["behavior"], "deny");
        assert_eq!(response["interrupt"], option == Some("rejectAndStop"));
    }
}

#[test]
fn reject_and_stop_cancels_the_turn() {
    let mut run = awaiting_permission();
    choose(&mut run, "p1", Some("rejectAndStop"));
    run.result(json!({ "subtype": "error_during_execution", "is_error": true }));
    let ended = run.entries().pop().expect("an end");
    assert_eq!((&ended["stopReason"], &ended["error"]), (&json!("cancelled"), &Value::Null));
}

#[test]
fn two_open_requests_get_their_own_answers() {
    let mut run = awaiting_permission();
    run.request_permission("r", "u", json!({ "tool_name": "Write", "input": { "file_path": "a", "content": "b" } }));
    assert_eq!(run.updates("tool_call").len(), 2, "a question about an unknown call tells it first");
    choose(&mut run, "p2", Some("allow"));
    assert_eq!(run.last_written()["response"]["request_id"], "r");
    assert!(run.conversation.is_awaiting_permission());
    choose(&mut run, "p1", Some("reject"));
    assert_eq!(run.last_written()["response"]["request_id"], "q");
    assert!(!run.conversation.is_awaiting_permission());
}

#[test]
fn a_withdrawn_request_is_resolved_and_a_late_answer_fails() {
    let mut run = awaiting_permission();
    let written = run.written.len();
    run.receive(&json!({ "type": "control_cancel_request", "request_id": "q" }));
    assert!(!run.conversation.is_awaiting_permission());
    let late = run.conversation.answer("p1", Answer { option: Some("allow".to_owned()), message: None });
    assert_eq!(late.expect_err("it is resolved").kind, FailureKind::PermissionResolved);
    assert_eq!(run.written.len(), written, "Claude waits for no response");
}

#[test]
fn read_only_denies_what_claude_still_requests() {
    let mut run = TestRun::started(&Task { permissions: PermissionMode::ReadOnly, ..task("p") });
    run.request_permission("q", "t", json!({ "tool_name": "mcp__db__drop", "input": {} }));
    assert_eq!(run.last_written()["response"]["response"]["behavior"], "deny");
    let written = run.written.len();
    run.request_permission("r", "u", json!({ "tool_name": "WebFetch", "input": { "url": "http://a" } }));
    assert!(run.written.len() == written && run.conversation.is_awaiting_permission(), "it allows nothing by itself");
}

#[test]
fn bypass_as_root_is_answered_by_the_policy() {
    let mut run = TestRun::started(&Task { permissions: PermissionMode::Bypass, is_root: true, ..task("p") });
    run.request_permission("q", "t", json!({ "tool_name": "Bash", "input": { "command": "make" } }));
    assert_eq!(run.last_written()["response"]["response"], json!({ "behavior": "allow", "updatedInput": { "command": "make" } }));
}

#[test]
fn a_question_that_options_cannot_answer_is_denied_with_a_notice() {
    let mut run = TestRun::started(&task("p"));
    run.request_permission("q", "t", json!({ "tool_name": "AskUserQuestion", "input": { "questions": [{ "question": "Which one?" }] } }));
    assert_eq!(run.last_written()["response"]["response"]["behavior"], "deny");
    assert_eq!(run.updates("notice")[0]["description"], "Which one?");
    assert!(!run.conversation.is_awaiting_permission());
}

#[test]
fn unknown_requests_get_an_error_response() {
    let mut run = TestRun::started(&task("p"));
    run.receive(&json!({ "type": "control_request", "request_id": "h", "request": { "subtype": "hook_callback" } }));
    let response = &run.last_written()["response"];
    assert_eq!((&response["subtype"], &response["request_id"]), (&json!("error"), &json!("h")));
}

#[test]
fn an_interrupt_before_the_first_message_is_repeated() {
    let mut run = TestRun::started(&task("p"));
    assert!(run.conversation.interrupt());
    run.drain_actions();
    let first = run.last_written().clone();
    assert_eq!(first["request"]["subtype"], "interrupt");
    let written = run.written.len();
    let answer = json!({ "subtype": "success", "request_id": first["request_id"], "response": {} });
    run.receive(&json!({ "type": "control_response", "response": answer }));
    assert_eq!(run.written.len(), written);
    run.begin_message("m", "One");
    assert_eq!(run.last_written()["request"]["subtype"], "interrupt");
    run.begin_message("n", "Two");
    assert_eq!(run.written.len(), written + 1, "not again while it is unanswered");
    run.result(json!({ "subtype": "error_during_execution", "is_error": true, "terminal_reason": "aborted_streaming" }));
    assert_eq!(run.states(), [("idle".to_owned(), 1)]);
}

#[test]
fn an_interrupt_denies_open_requests() {
    let mut run = awaiting_permission();
    assert!(run.conversation.interrupt());
    run.drain_actions();
    let written: Vec<&Value> = run.written.iter().rev().take(2).collect();
    assert_eq!(written[0]["response"]["response"]["behavior"], "deny");
    assert_eq!(written[1]["request"]["subtype"], "interrupt");
}

#[test]
fn a_prompt_that_an_interrupt_dropped_gets_a_turn_of_its_own() {
    for (held, turns) in [(true, 2), (false, 2)] {
        let mut run = TestRun::started(&task("p"));
        run.message("m", None, json!({ "type": "text", "text": "One." }));
        run.send("more", true);
        let uuid = run.last_written()["uuid"].clone();
        assert!(run.conversation.interrupt());
        run.drain_actions();
        let queued = if held { json!([uuid]) } else { json!([]) };
        let answer =
            json!({ "subtype": "success", "request_id": run.last_written()["request_id"], "response": { "still_queued": queued } });
        run.receive(&json!({ "type": "control_response", "response": answer }));
        run.result(json!({ "subtype": "error_during_execution", "is_error": true, "terminal_reason": "aborted_tools" }));
        assert_eq!(run.states().last(), Some(&("running".to_owned(), turns)));
        let count = run.written.iter().filter(|written| written["message"]["content"][0]["text"] == "more").count();
        assert_eq!(count, if held { 1 } else { 2 }, "it is sent again only if claude does not hold it");
    }
}

#[test]
fn settings_are_control_requests_and_a_refused_one_is_a_notice() {
    let mut run = TestRun::started(&task("p"));
    run.result(json!({}));
    run.conversation
        .configure(RunSettings { model: Some("opus".to_owned()), permissions: Some(PermissionMode::AcceptEdits), ..RunSettings::default() })
        .expect("it can");
    run.drain_actions();
    let written: Vec<Value> = run.written.iter().rev().take(2).map(|written| written["request"].clone()).collect();
    assert_eq!(written[1], json!({ "subtype": "set_model", "model": "opus" }));
    assert_eq!(written[0], json!({ "subtype": "set_permission_mode", "mode": "acceptEdits" }));
    let id = run.last_written()["request_id"].clone();
    run.receive(&json!({ "type": "control_response", "response": { "subtype": "error", "request_id": id, "error": "no such mode" } }));
    assert_eq!(run.updates("notice")[0]["description"], "no such mode");
}

#[test]
fn the_effort_is_a_flag_setting_and_a_refused_one_is_taken_back() {
    let mut run = TestRun::without_handshake(&Task { prompt: None, ..task("p") });
    let id = run.written[0]["request_id"].clone();
    let models = json!([{ "value": "default", "displayName": "Default", "supportedEffortLevels": ["low", "high"] }, { "value": "haiku" }]);
    run.receive(
        &json!({ "type": "control_response", "response": { "subtype": "success", "request_id": id, "response": { "models": models } } }),
    );
    let set =
        |value: &str| RunSettings { options: [("effort".to_owned(), OptionValue::Id(value.to_owned()))].into(), ..RunSettings::default() };
    assert!(run.conversation.configure(set("max")).expect_err("there is none").message.contains("default, low, high"));
    run.conversation.configure(set("high")).expect("it can");
    run.drain_actions();
    let request = run.last_written().clone();
    assert_eq!(request["request"], json!({ "subtype": "apply_flag_settings", "settings": { "effortLevel": "high" } }));
    let effort = |run: &TestRun| run.offers.last().expect("an offer")["configOptions"][1]["currentValue"].clone();
    assert_eq!(effort(&run), "high");
    let refusal = json!({ "subtype": "error", "request_id": request["request_id"], "error": "too old" });
    run.receive(&json!({ "type": "control_response", "response": refusal }));
    assert_eq!((effort(&run), &run.updates("notice")[0]["description"]), (json!("default"), &json!("too old")));
    run.conversation.configure(set("default")).expect("it can");
    run.drain_actions();
    assert_eq!(run.last_written()["request"]["settings"], json!({ "effortLevel": null }), "Claude's own choice");
}

#[test]
fn a_stopping_run_sends_no_prompt_that_its_turn_left() {
    let mut run = TestRun::started(&task("p"));
    run.message("m", None, json!({ "type": "text", "text": "One." }));
    run.send("more", true);
    run.conversation.stop(crate::model::entry::ResolvedBy::Client);
    run.drain_actions();
    assert!(
        run.updates("notice")[0]["title"].as_str().is_some_and(|title| title.starts_with("a queued prompt was dropped")),
        "a notice says so"
    );
    let answer = json!({ "subtype": "success", "request_id": run.last_written()["request_id"], "response": { "still_queued": [] } });
    run.receive(&json!({ "type": "control_response", "response": answer }));
    run.result(json!({ "subtype": "error_during_execution", "is_error": true, "terminal_reason": "aborted_tools" }));
    assert!(run.finished);
    assert_eq!(run.written.iter().filter(|written| written["message"]["content"][0]["text"] == "more").count(), 1);
}
