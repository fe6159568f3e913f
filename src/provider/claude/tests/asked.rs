//! Questions, their answers, settings and interrupts.

use serde_json::json;

use super::*;
use crate::{model::FailureKind, provider::Answer};

fn choose(run: &mut Run, permission: &str, option: Option<&str>) {
    let answer = Answer { option: option.map(str::to_owned), message: None };
    run.conversation.answer(permission, answer).expect("the question is open");
    run.act();
}

/// A run that waits for an answer about a command.
fn asking() -> Run {
    let mut run = Run::started(&task("p"));
    run.message("m", None, json!({ "type": "tool_use", "id": "t", "name": "Bash", "input": { "command": "make" } }));
    let suggestions = json!([
        { "type": "addRules", "behavior": "allow", "destination": "localSettings", "rules": [{ "toolName": "Bash", "ruleContent": "make" }] },
        { "type": "addRules", "behavior": "deny", "destination": "session", "rules": [{ "toolName": "Bash" }] },
        { "type": "setMode", "mode": "bypassPermissions", "destination": "session" },
        { "type": "setMode", "mode": "acceptEdits", "destination": "session" },
    ]);
    run.ask("q", "t", json!({ "tool_name": "Bash", "input": { "command": "make" }, "permission_suggestions": suggestions }));
    run
}

#[test]
fn a_question_offers_what_claude_suggests_and_nothing_that_ends_all_questions() {
    let mut run = asking();
    let entries = run.entries();
    let asked = entries.iter().find(|entry| entry["requested"] == true).expect("a question");
    let options = asked["status"]["options"].as_array().expect("options");
    let offered: Vec<(&str, &str)> =
        options.iter().map(|option| (option["kind"].as_str().expect("a kind"), option["name"].as_str().expect("a name"))).collect();
    assert_eq!(
        offered,
        [
            ("allow_once", "Allow"),
            ("allow_always", "Always allow Bash(make) in this project"),
            ("allow_always", "Allow, and accept all edits in this session"),
            ("reject_once", "Reject"),
            ("reject_once", "Reject and stop"),
        ]
    );
    let call = &asked["status"]["toolCall"];
    assert_eq!((&call["title"], &call["kind"], &call["rawInput"]["command"]), (&json!("make"), &json!("execute"), &json!("make")));
}

#[test]
fn allowing_once_allows_this_and_always_adds_the_rule_that_was_named() {
    let mut run = asking();
    choose(&mut run, "p1", Some("allow"));
    let response = &run.last_written()["response"];
    assert_eq!((&response["request_id"], &response["subtype"]), (&json!("q"), &json!("success")));
    assert_eq!(response["response"], json!({ "behavior": "allow", "updatedInput": { "command": "make" } }));

    let mut run = asking();
    choose(&mut run, "p1", Some("allowAlways1"));
    let rules = &run.last_written()["response"]["response"]["updatedPermissions"];
    assert_eq!((rules.as_array().expect("rules").len(), &rules[0]["type"]), (1, &json!("addRules")));
}

#[test]
fn nothing_but_a_yes_is_a_yes() {
    for option in [Some("reject"), Some("rejectAndStop"), None] {
        let mut run = asking();
        choose(&mut run, "p1", option);
        let response = &run.last_written()["response"]["response"];
        assert_eq!(response["behavior"], "deny");
        assert_eq!(response["interrupt"], option == Some("rejectAndStop"));
    }
}

#[test]
fn rejecting_and_stopping_cancels_the_turn() {
    let mut run = asking();
    choose(&mut run, "p1", Some("rejectAndStop"));
    run.result(json!({ "subtype": "error_during_execution", "is_error": true }));
    let ended = run.entries().pop().expect("an end");
    assert_eq!((&ended["stopReason"], &ended["error"]), (&json!("cancelled"), &Value::Null));
}

#[test]
fn two_questions_at_once_are_answered_each_for_itself() {
    let mut run = asking();
    run.ask("r", "u", json!({ "tool_name": "Write", "input": { "file_path": "a", "content": "b" } }));
    assert_eq!(run.updates("tool_call").len(), 2, "a question about an unknown call tells it first");
    choose(&mut run, "p2", Some("allow"));
    assert_eq!(run.last_written()["response"]["request_id"], "r");
    assert!(run.conversation.is_waiting_for_an_answer());
    choose(&mut run, "p1", Some("reject"));
    assert_eq!(run.last_written()["response"]["request_id"], "q");
    assert!(!run.conversation.is_waiting_for_an_answer());
}

#[test]
fn a_question_that_claude_takes_back_is_settled_and_a_late_answer_is_told_so() {
    let mut run = asking();
    let written = run.written.len();
    run.say(&json!({ "type": "control_cancel_request", "request_id": "q" }));
    assert!(!run.conversation.is_waiting_for_an_answer());
    let late = run.conversation.answer("p1", Answer { option: Some("allow".to_owned()), message: None });
    assert_eq!(late.expect_err("it is settled").kind, FailureKind::PermissionResolved);
    assert_eq!(run.written.len(), written, "nobody waits for an answer");
}

#[test]
fn read_only_refuses_what_is_asked_all_the_same() {
    let mut run = Run::started(&Task { permissions: PermissionMode::ReadOnly, ..task("p") });
    run.ask("q", "t", json!({ "tool_name": "mcp__db__drop", "input": {} }));
    assert_eq!(run.last_written()["response"]["response"]["behavior"], "deny");
    run.ask("r", "u", json!({ "tool_name": "WebFetch", "input": { "url": "http://a" } }));
    assert_eq!(run.last_written()["response"]["response"]["behavior"], "allow");
}

#[test]
fn bypass_as_the_superuser_is_answered_by_policy() {
    let mut run = Run::started(&Task { permissions: PermissionMode::Bypass, is_root: true, ..task("p") });
    run.ask("q", "t", json!({ "tool_name": "Bash", "input": { "command": "make" } }));
    assert_eq!(run.last_written()["response"]["response"], json!({ "behavior": "allow", "updatedInput": { "command": "make" } }));
}

#[test]
fn a_question_that_options_cannot_answer_is_refused_and_shown() {
    let mut run = Run::started(&task("p"));
    run.ask("q", "t", json!({ "tool_name": "AskUserQuestion", "input": { "questions": [{ "question": "Which one?" }] } }));
    assert_eq!(run.last_written()["response"]["response"]["behavior"], "deny");
    assert_eq!(run.updates("notice")[0]["description"], "Which one?");
    assert!(!run.conversation.is_waiting_for_an_answer());
}

#[test]
fn requests_that_are_not_understood_are_refused_and_not_left_open() {
    let mut run = Run::started(&task("p"));
    run.say(&json!({ "type": "control_request", "request_id": "h", "request": { "subtype": "hook_callback" } }));
    let response = &run.last_written()["response"];
    assert_eq!((&response["subtype"], &response["request_id"]), (&json!("error"), &json!("h")));
}

#[test]
fn an_interrupt_that_came_before_the_turn_had_begun_is_repeated() {
    let mut run = Run::started(&task("p"));
    assert!(run.conversation.interrupt());
    run.act();
    let first = run.last_written().clone();
    assert_eq!(first["request"]["subtype"], "interrupt");
    let written = run.written.len();
    let answer = json!({ "subtype": "success", "request_id": first["request_id"], "response": {} });
    run.say(&json!({ "type": "control_response", "response": answer }));
    assert_eq!(run.written.len(), written);
    run.begin_message("m", "One");
    assert_eq!(run.last_written()["request"]["subtype"], "interrupt");
    run.begin_message("n", "Two");
    assert_eq!(run.written.len(), written + 1, "not again while it is unanswered");
    run.result(json!({ "subtype": "error_during_execution", "is_error": true, "terminal_reason": "aborted_streaming" }));
    assert_eq!(run.states(), [("idle".to_owned(), 1)]);
}

#[test]
fn an_interrupt_answers_open_questions_with_no() {
    let mut run = asking();
    assert!(run.conversation.interrupt());
    run.act();
    let said: Vec<&Value> = run.written.iter().rev().take(2).collect();
    assert_eq!(said[0]["response"]["response"]["behavior"], "deny");
    assert_eq!(said[1]["request"]["subtype"], "interrupt");
}

#[test]
fn a_prompt_that_an_interrupt_dropped_waits_for_a_turn_of_its_own() {
    for (held, turns) in [(true, 2), (false, 2)] {
        let mut run = Run::started(&task("p"));
        run.message("m", None, json!({ "type": "text", "text": "One." }));
        run.send("more", true);
        let uuid = run.last_written()["uuid"].clone();
        assert!(run.conversation.interrupt());
        run.act();
        let queued = if held { json!([uuid]) } else { json!([]) };
        let answer =
            json!({ "subtype": "success", "request_id": run.last_written()["request_id"], "response": { "still_queued": queued } });
        run.say(&json!({ "type": "control_response", "response": answer }));
        run.result(json!({ "subtype": "error_during_execution", "is_error": true, "terminal_reason": "aborted_tools" }));
        assert_eq!(run.states().last(), Some(&("running".to_owned(), turns)));
        let given = run.written.iter().filter(|said| said["message"]["content"][0]["text"] == "more").count();
        assert_eq!(given, if held { 1 } else { 2 }, "given again only if claude does not hold it");
    }
}

#[test]
fn settings_are_requests_and_a_refused_one_is_told() {
    let mut run = Run::started(&task("p"));
    run.result(json!({}));
    run.conversation.configure(Some("opus".to_owned()), Some(PermissionMode::AcceptEdits)).expect("it can");
    run.act();
    let said: Vec<Value> = run.written.iter().rev().take(2).map(|said| said["request"].clone()).collect();
    assert_eq!(said[1], json!({ "subtype": "set_model", "model": "opus" }));
    assert_eq!(said[0], json!({ "subtype": "set_permission_mode", "mode": "acceptEdits" }));
    let id = run.last_written()["request_id"].clone();
    run.say(&json!({ "type": "control_response", "response": { "subtype": "error", "request_id": id, "error": "no such mode" } }));
    assert_eq!(run.updates("notice")[0]["description"], "no such mode");
}

#[test]
fn a_run_that_is_stopped_gives_no_prompt_that_its_turn_left() {
    let mut run = Run::started(&task("p"));
    run.message("m", None, json!({ "type": "text", "text": "One." }));
    run.send("more", true);
    run.conversation.stop(crate::model::entry::ResolvedBy::Client);
    run.act();
    assert!(
        run.updates("notice")[0]["title"].as_str().is_some_and(|title| title.starts_with("a prompt that waited was dropped")),
        "it is said"
    );
    let answer = json!({ "subtype": "success", "request_id": run.last_written()["request_id"], "response": { "still_queued": [] } });
    run.say(&json!({ "type": "control_response", "response": answer }));
    run.result(json!({ "subtype": "error_during_execution", "is_error": true, "terminal_reason": "aborted_tools" }));
    assert!(run.finished);
    assert_eq!(run.written.iter().filter(|said| said["message"]["content"][0]["text"] == "more").count(), 1);
}
