//! Turns: prompts and steers, interrupts, items, sub-agents, settings and errors.

use serde_json::{Value, json};

use super::{CodexDriver, command, task};
use crate::{
    model::{
        calls::{PermissionMode, RunSettings},
        config_option::OptionValue,
        task::{Task, text_block},
    },
    provider::Action,
};

#[test]
fn a_steer_that_is_refused_waits_for_a_turn_of_its_own() {
    let mut driver = CodexDriver::in_turn(&task(PermissionMode::Ask));
    driver.conversation.send(vec![text_block("and this")], true).expect("it is taken");
    driver.run_actions();
    assert_eq!(driver.last_written()["params"]["expectedTurnId"], "u1");
    driver.respond_with_error("turn/steer", "no active turn to steer");
    driver.complete_turn("u1", "completed");
    assert_eq!(driver.last_written()["method"], "turn/start");
    assert_eq!(driver.last_written()["params"]["input"][0]["text"], "and this");
    driver.start_turn("u2");
    assert_eq!(driver.texts("user_message_chunk"), ["do it", "and this"]);
}

#[test]
fn a_steer_that_misses_the_end_of_its_turn_is_not_lost() {
    let mut driver = CodexDriver::in_turn(&Task { interactive: false, ..task(PermissionMode::Ask) });
    for text in ["one", "two"] {
        driver.conversation.send(vec![text_block(text)], true).expect("it is taken");
    }
    driver.run_actions();
    driver.item("u1", "started", &json!({ "type": "userMessage", "id": "m1" }));
    driver.item("u1", "completed", &json!({ "type": "userMessage", "id": "m1" }));
    driver.complete_turn("u1", "completed");
    assert_eq!(driver.last_written()["params"]["input"][0]["text"], "two");
    driver.respond_with_error("turn/steer", "too late to be heard");
    driver.start_turn("u2");
    assert_eq!(driver.texts("user_message_chunk"), ["do it", "one", "two"]);
    driver.complete_turn("u2", "completed");
    assert!(driver.other_actions.contains(&Action::Finish), "and then the run ends");
}

#[test]
fn a_turn_that_is_stopped_before_it_has_a_name_is_stopped_when_it_has() {
    let mut driver = CodexDriver::new(&task(PermissionMode::Ask));
    driver.open_thread();
    assert!(driver.conversation.interrupt());
    driver.run_actions();
    assert!(driver.last_request("turn/interrupt").is_none());
    driver.start_turn("u1");
    assert_eq!(driver.last_request("turn/interrupt").expect("it is stopped")["params"], json!({ "threadId": "t", "turnId": "u1" }));
}

#[test]
fn an_interrupt_ends_what_codex_leaves_running() {
    let mut driver = CodexDriver::in_turn(&task(PermissionMode::Bypass));
    driver.item("u1", "started", &command("c"));
    driver.request(0, "item/commandExecution/requestApproval", &json!({ "itemId": "d", "command": "make" }));
    assert!(driver.conversation.interrupt());
    driver.run_actions();
    driver.complete_turn("u1", "interrupted");
    let ended = driver.logged.iter().rev().find(|logged| logged["toolCallId"] == "c").expect("it was logged");
    assert_eq!(ended["status"], "failed");
    let end = driver.other_actions.iter().position(|run_actions| *run_actions == Action::EndCommands);
    assert!(
        end.is_some() && end < driver.other_actions.iter().position(|run_actions| *run_actions == Action::TurnEnded),
        "{:?}",
        driver.other_actions
    );
}

#[test]
fn a_command_that_outlives_its_turn_is_logged_when_it_ends() {
    let mut driver = CodexDriver::in_turn(&task(PermissionMode::Bypass));
    driver.item("u1", "started", &command("c"));
    driver.complete_turn("u1", "completed");
    assert!(!driver.other_actions.contains(&Action::EndCommands), "nobody stopped it");
    driver.notify("item/commandExecution/outputDelta", &json!({ "turnId": "u1", "itemId": "c", "delta": "late" }));
    let mut over = command("c");
    over["status"] = json!("completed");
    over["aggregatedOutput"] = json!("early\nlate");
    driver.item("u1", "completed", &over);
    let call = driver.logged.last().expect("it was logged");
    assert_eq!((&call["status"], &call["content"][0]["content"]["text"]), (&json!("completed"), &json!("early\nlate")));
}

#[test]
fn a_turn_that_codex_starts_by_itself_is_a_turn() {
    let mut driver = CodexDriver::in_turn(&task(PermissionMode::Ask));
    driver.complete_turn("u1", "completed");
    driver.complete_turn("u1", "completed");
    assert!(!driver.conversation.is_in_turn());
    driver.notify("turn/started", &json!({ "turn": { "id": "u2" } }));
    assert!(driver.conversation.is_in_turn());
    driver.item("u2", "completed", &json!({ "type": "agentMessage", "id": "m", "text": "I go on" }));
    driver.complete_turn("u2", "completed");
    assert!(!driver.conversation.is_in_turn());
    assert_eq!(driver.texts("agent_message_chunk"), ["I go on"]);
}

#[test]
fn settings_apply_from_the_next_turn_on() {
    let mut driver = CodexDriver::in_turn(&task(PermissionMode::Ask));
    assert_eq!(driver.last_request("turn/start").expect("it was requested")["params"].get("sandboxPolicy"), None);
    driver
        .conversation
        .configure(RunSettings { model: Some("m2".to_owned()), permissions: Some(PermissionMode::ReadOnly), ..RunSettings::default() })
        .expect("it can");
    driver.conversation.send(vec![text_block("next")], false).expect("it is taken");
    driver.complete_turn("u1", "completed");
    let params = &driver.last_request("turn/start").expect("it was requested")["params"];
    assert_eq!(
        (&params["model"], &params["sandboxPolicy"], &params["approvalPolicy"]),
        (&json!("m2"), &json!({ "type": "readOnly" }), &json!("on-request"))
    );
    driver.conversation.configure(RunSettings { permissions: Some(PermissionMode::Ask), ..RunSettings::default() }).expect("it can");
    driver.start_turn("u2");
    driver.conversation.send(vec![text_block("last")], false).expect("it is taken");
    driver.complete_turn("u2", "completed");
    let params = &driver.last_request("turn/start").expect("it was requested")["params"];
    assert_eq!(params["sandboxPolicy"]["writableRoots"], json!(["/r"]), "the user's own sandbox comes back");
    assert_eq!(params["model"], "m2");
}

#[test]
fn the_effort_is_one_of_the_models_and_goes_with_each_turn() {
    let mut driver = CodexDriver::new(&task(PermissionMode::Ask));
    driver.respond("initialize", &json!({}));
    driver.respond("thread/start", &json!({ "thread": { "id": "t" }, "model": "m1", "reasoningEffort": "low" }));
    let model = |id: &str, efforts: &[&str]| {
        let efforts: Vec<_> = efforts.iter().map(|effort| json!({ "reasoningEffort": effort, "description": "" })).collect();
        json!({ "id": id, "displayName": id, "supportedReasoningEfforts": efforts, "defaultReasoningEffort": efforts[0]["reasoningEffort"] })
    };
    driver.respond(
        "model/list",
        &json!({ "data": [model("m1", &["low", "high"]), model("m2", &["medium"]), { "id": "h", "hidden": true }] }),
    );
    driver.start_turn("u1");
    let offered = |driver: &CodexDriver| {
        let mut offers =
            driver.other_actions.iter().filter_map(|action| if let Action::Offer(offer) = action { Some(json!(offer)) } else { None });
        let options = offers.next_back().expect("an offer")["configOptions"].clone();
        [0, 1].map(|at| (options[at]["id"].clone(), options[at]["currentValue"].clone()))
    };
    assert_eq!(offered(&driver), [(json!("model"), json!("m1")), (json!("effort"), json!("low"))]);
    let set = |options: &[(&str, &str)]| RunSettings {
        options: options.iter().map(|(id, value)| ((*id).to_owned(), OptionValue::Id((*value).to_owned()))).collect(),
        ..RunSettings::default()
    };
    let refused = driver.conversation.configure(set(&[("effort", "medium")])).expect_err("m1 has no such level");
    assert!(refused.message.contains("low, high"), "{refused:?}");
    driver.conversation.configure(set(&[("effort", "high")])).expect("it can");
    driver.complete_turn("u1", "completed");
    driver.conversation.send(vec![text_block("next")], false).expect("it is taken");
    driver.run_actions();
    assert_eq!(driver.last_request("turn/start").expect("it was requested")["params"]["effort"], "high");
    assert_eq!(offered(&driver)[1].1, "high");
    driver.conversation.configure(RunSettings { model: Some("m2".to_owned()), ..RunSettings::default() }).expect("it can");
    driver.start_turn("u2");
    driver.complete_turn("u2", "completed");
    driver.conversation.send(vec![text_block("last")], false).expect("it is taken");
    driver.run_actions();
    let params = &driver.last_request("turn/start").expect("it was requested")["params"];
    assert_eq!((&params["model"], &params["effort"]), (&json!("m2"), &json!("medium")), "m2 has no high effort");
}

#[test]
fn turn_errors_are_classified_by_codex_error_info() {
    for (info, message, kind) in [
        (json!("unauthorized"), "no", "auth"),
        (json!({ "responseTooManyFailedAttempts": { "httpStatusCode": 429 } }), "no", "rateLimit"),
        (json!("usageLimitExceeded"), "no", "rateLimit"),
        (json!({ "httpConnectionFailed": { "httpStatusCode": null } }), "no", "provider"),
        (json!("internalServerError"), "the api key service is down", "provider"),
        (json!("other"), "401 Unauthorized", "auth"),
    ] {
        let mut driver = CodexDriver::in_turn(&task(PermissionMode::Ask));
        let error = json!({ "message": message, "codexErrorInfo": info, "additionalDetails": null });
        driver.notify("turn/completed", &json!({ "turn": { "id": "u1", "status": "failed", "error": error } }));
        assert_eq!(driver.error().0, kind, "{info}");
    }
}

#[test]
fn a_prompt_that_is_refused_fails_its_turn_alone() {
    let mut driver = CodexDriver::new(&task(PermissionMode::Ask));
    driver.open_thread();
    driver.respond_with_error("turn/start", "the input is too long");
    let state = driver.logged.last().expect("it was logged");
    assert!(state["state"] == "idle" && state["error"]["message"].to_string().contains("too long"), "{state}");
    driver.conversation.send(vec![text_block("shorter")], false).expect("it is taken");
    driver.run_actions();
    driver.start_turn("u2");
    assert_eq!(driver.texts("user_message_chunk"), ["shorter"]);
}

#[test]
fn a_retry_abandons_half_streamed_messages() {
    let mut driver = CodexDriver::in_turn(&task(PermissionMode::Ask));
    let delta = |item: &str, text: &str| json!({ "turnId": "u1", "itemId": item, "delta": text });
    driver.item("u1", "completed", &json!({ "type": "agentMessage", "id": "whole", "text": "Whole." }));
    driver.notify("item/agentMessage/delta", &delta("half", "Hal"));
    driver.notify("error", &json!({ "turnId": "u1", "willRetry": true, "error": { "message": "Reconnecting... 1/5" } }));
    let abandoned: Vec<&Value> = driver.logged.iter().filter(|logged| logged["_meta"]["loomd/abandoned"] == true).collect();
    assert!(abandoned.len() == 1 && abandoned[0]["messageId"] == "half", "{abandoned:?}");
    assert_eq!(driver.notices(), ["Reconnecting... 1/5"]);
    assert!(driver.conversation.is_in_turn());
}

#[test]
fn a_sub_agents_messages_name_its_call_and_its_end_ends_no_turn() {
    let mut driver = CodexDriver::in_turn(&task(PermissionMode::Ask));
    let spawn = json!({ "type": "collabAgentToolCall", "id": "spawn", "tool": "spawnAgent", "status": "completed", "receiverThreadIds": ["child"] });
    driver.item("u1", "completed", &spawn);
    let of_child = |params: Value| {
        let mut params = params;
        params["threadId"] = json!("child");
        params
    };
    driver.notify("item/completed", &of_child(json!({ "turnId": "c1", "item": { "type": "userMessage", "id": "cm" } })));
    driver.notify(
        "item/completed",
        &of_child(json!({ "turnId": "c1", "item": { "type": "agentMessage", "id": "ca", "text": "Found it." } })),
    );
    driver.notify(
        "thread/tokenUsage/updated",
        &of_child(json!({ "turnId": "c1", "tokenUsage": { "total": { "inputTokens": 70 }, "last": { "inputTokens": 70 } } })),
    );
    driver.notify("turn/completed", &of_child(json!({ "turn": { "id": "c1", "status": "failed" } })));
    assert!(driver.conversation.is_in_turn());
    let message = driver.logged.iter().find(|logged| logged["messageId"] == "ca").expect("it was logged");
    assert_eq!(message["_meta"]["loomd/parentToolCallId"], "spawn");
    assert_eq!(driver.texts("user_message_chunk"), ["do it"]);
    driver.complete_turn("u1", "completed");
    assert_eq!(driver.logged.last().expect("it was logged")["usage"]["inputTokens"], 70);
}

#[test]
fn a_sub_agent_without_a_known_call_gets_a_call_of_its_own() {
    let mut driver = CodexDriver::in_turn(&task(PermissionMode::Ask));
    driver.receive(
        &json!({ "method": "thread/started", "params": { "thread": { "id": "child", "parentThreadId": "t", "agentNickname": "Ada" } } }),
    );
    driver.notify(
        "item/completed",
        &json!({ "threadId": "child", "turnId": "c1", "item": { "type": "agentMessage", "id": "ca", "text": "Found it." } }),
    );
    let call = driver.logged.iter().find(|logged| logged["sessionUpdate"] == "tool_call").expect("it was logged");
    assert_eq!((&call["toolCallId"], &call["title"]), (&json!("child"), &json!("Ada")));
    assert_eq!(driver.logged.last().expect("it was logged")["_meta"]["loomd/parentToolCallId"], "child");
}

#[test]
fn a_result_of_20_mb_comes_in_pieces() {
    let mut driver = CodexDriver::in_turn(&task(PermissionMode::Bypass));
    let whole = "0123456789abcde\n".repeat(20 * 65536);
    driver.item("u1", "started", &command("c"));
    let mut over = command("c");
    over["status"] = json!("completed");
    over["aggregatedOutput"] = json!(whole);
    driver.item("u1", "completed", &over);
    let outputs = driver.logged.iter().filter_map(|logged| logged["_meta"]["loomd/output"]["text"].as_str());
    assert_eq!(outputs.collect::<String>(), whole);
    assert!(driver.logged.iter().all(|logged| logged.to_string().len() < 200_000));
}

#[test]
fn a_plan_is_logged_in_the_form_of_acp() {
    let mut driver = CodexDriver::in_turn(&task(PermissionMode::Ask));
    let plan = json!([{ "step": "look", "status": "completed" }, { "step": "mend", "status": "inProgress" }, { "step": "test", "status": "pending" }]);
    driver.notify("turn/plan/updated", &json!({ "turnId": "u1", "plan": plan }));
    let entries = &driver.logged.last().expect("it was logged")["entries"];
    let message: Vec<String> =
        entries.as_array().expect("a list").iter().map(|entry| format!("{}:{}", entry["content"], entry["status"])).collect();
    assert_eq!(message, ["\"look\":\"completed\"", "\"mend\":\"in_progress\"", "\"test\":\"pending\""]);
}
