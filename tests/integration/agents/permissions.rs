//! Permission requests: every client gets them, any client answers them once, and none is approved by accident.

use serde_json::{Value, json};

use super::{follow_to_state, params, params_with};
use crate::harness::{Home, Log, kill};

fn answer(log: &Log, option: &str) -> Value {
    json!({ "runId": log.run, "permissionId": log.permission_requests().last().expect("a question")["permissionId"], "optionId": option })
}

#[test]
fn a_request_waits_and_any_client_of_any_server_answers_it_once() {
    let home = Home::new();
    let (mut server, mut other) = (home.server(), home.server());
    let (_, mut log) = server.start(params(&home, "ask execute"));
    follow_to_state(&mut server, &mut log, "awaitingPermission");
    let question = other.notification("run/permission", |entry| entry["status"] == "requested");
    assert_eq!(question["permissionId"], log.permission_requests()[0]["permissionId"]);
    for member in ["toolCallId", "title", "kind", "rawInput"] {
        assert!(!question["toolCall"][member].is_null(), "{member}: {question}");
    }
    let position = |test: &dyn Fn(&Value) -> bool| log.events.iter().position(test).expect("the entry exists");
    assert!(position(&|entry| entry["update"]["sessionUpdate"] == "tool_call") < position(&|entry| entry["status"] == "requested"));
    assert_eq!(server.get(&log.run)["permissions"].as_array().map(Vec::len), Some(1));
    let wrong = other.expect_failure("run/answer", answer(&log, "perhaps"));
    assert_eq!((wrong.code, &wrong.data["field"]), (-32602, &json!("optionId")));
    let unknown = other.expect_failure("run/answer", json!({ "runId": log.run, "permissionId": "p99", "cancelled": true }));
    assert_eq!((unknown.code, &unknown.data["kind"]), (-32017, &json!("permissionNotFound")));
    other.call("run/answer", answer(&log, "yes"));
    let late = server.expect_failure("run/answer", answer(&log, "no"));
    assert_eq!((late.code, late.kind), (-32017, "permissionResolved"));
    server.follow_to_end(&mut log);
    for client in [&mut server, &mut other] {
        let late = client.expect_failure("run/answer", answer(&log, "no"));
        assert_eq!((late.code, late.kind), (-32017, "permissionResolved"), "also when the run has ended");
    }
    let unknown = other.expect_failure("run/answer", json!({ "runId": log.run, "permissionId": "p99", "cancelled": true }));
    assert_eq!((unknown.code, unknown.kind), (-32012, "runNotActive"));
    assert_eq!(log.text_of("agent_message_chunk"), "chosen: yes");
    assert_eq!((&log.permission_results()[0]["optionId"], &log.permission_results()[0]["by"]), (&json!("yes"), &json!("client")));
    assert_eq!(log.state_names(), ["running", "awaitingPermission", "running", "succeeded"]);
}

#[test]
fn a_request_outlives_the_server_and_its_client() {
    let home = Home::new();
    let mut server = home.server();
    let (_, mut log) = server.start(params(&home, "ask execute"));
    follow_to_state(&mut server, &mut log, "awaitingPermission");
    server.kill();
    let mut server = home.server();
    let run = server.attach(&log);
    assert_eq!((&run["state"], &run["permissions"][0]["status"]), (&json!("awaitingPermission"), &json!("requested")));
    server.call("run/answer", answer(&log, "no"));
    server.follow_to_end(&mut log);
    assert_eq!(log.text_of("agent_message_chunk"), "chosen: no");
}

#[test]
fn a_dismissed_request_is_not_approved() {
    let home = Home::new();
    let mut server = home.server();
    let (_, mut log) = server.start(params(&home, "ask execute"));
    follow_to_state(&mut server, &mut log, "awaitingPermission");
    let dismissed = json!({ "runId": log.run, "permissionId": log.permission_requests()[0]["permissionId"], "cancelled": true });
    server.call("run/answer", dismissed);
    server.follow_to_end(&mut log);
    assert_eq!(log.text_of("agent_message_chunk"), "chosen: cancelled");
    assert_eq!(log.permission_results()[0]["cancelled"], true);
}

#[test]
fn an_open_request_is_resolved_when_its_turn_ends() {
    let home = Home::new();
    let mut server = home.server();
    let (_, mut log) = server.start(params_with(&home, "ask execute\nwait", json!({ "interactive": true })));
    follow_to_state(&mut server, &mut log, "awaitingPermission");
    server.call("run/interrupt", json!({ "runId": log.run }));
    server.follow(&mut log, "a settled question", |log| log.permission_results().len() == 1);
    assert_eq!(log.permission_results()[0]["cancelled"], true);
    server.cancel(&log.run);
    server.follow_to_end(&mut log);
    let (_, mut log) = server.start(params(&home, "ask execute"));
    follow_to_state(&mut server, &mut log, "awaitingPermission");
    server.cancel(&log.run);
    server.follow_to_end(&mut log);
    assert_eq!(
        (log.permission_results().len(), &log.permission_results()[0]["cancelled"]),
        (1, &json!(true)),
        "a cancelled run leaves no question open"
    );
}

#[test]
fn an_open_request_of_a_lost_run_is_resolved() {
    let home = Home::new();
    let mut server = home.server();
    let (run, mut log) = server.start(params(&home, "ask execute"));
    follow_to_state(&mut server, &mut log, "awaitingPermission");
    let pid = u32::try_from(run["pid"].as_u64().expect("a pid")).expect("a pid");
    kill(home.supervisor(pid));
    server.follow_to_end(&mut log);
    assert_eq!((log.permission_results().len(), &log.end()["state"]), (1, &json!("lost")));
}

#[test]
fn permission_modes_answer_requests_and_it_is_logged() {
    let home = Home::new();
    let mut server = home.server();
    for (mode, step, text, needs_answer) in [
        ("bypass", "ask execute", "chosen: yes", false),
        // It names no file.
        ("acceptEdits", "ask edit", "chosen: no", true),
        ("acceptEdits", "ask execute", "chosen: no", true),
    ] {
        let (_, mut log) = server.start(params_with(&home, step, json!({ "permissions": mode })));
        if needs_answer {
            follow_to_state(&mut server, &mut log, "awaitingPermission");
            server.call("run/answer", answer(&log, "no"));
        }
        server.follow_to_end(&mut log);
        assert_eq!(log.text_of("agent_message_chunk"), text, "{mode} {step}");
        assert_eq!(log.permission_results()[0]["by"], if needs_answer { "client" } else { "policy" }, "{mode} {step}");
        assert_eq!(log.state_names().contains(&"awaitingPermission"), needs_answer, "{mode} {step}");
    }
}

#[test]
fn the_idle_timeout_pauses_while_a_request_is_open() {
    let home = Home::new();
    let mut server = home.server();
    let (_, mut log) = server.start(params_with(&home, "ask execute\nwait", json!({ "idleTimeoutMs": 4000 })));
    follow_to_state(&mut server, &mut log, "awaitingPermission");
    // A second run with the same timeout and no open request times out, which shows that the first one has outlived it.
    let (_, mut silent) = server.start(params_with(&home, "wait", json!({ "idleTimeoutMs": 4000 })));
    server.follow_to_end(&mut silent);
    assert_eq!(silent.end()["state"], "timedOut");
    assert_eq!(server.get(&log.run)["state"], "awaitingPermission");
    server.call("run/answer", answer(&log, "yes"));
    server.follow_to_end(&mut log);
    assert_eq!(log.end()["state"], "timedOut", "and goes on afterwards");
}

#[test]
fn settings_change_from_the_next_turn_on() {
    let home = Home::new();
    let mut server = home.server();
    let (_, mut log) = server.start(params_with(&home, "ask execute", json!({ "interactive": true })));
    follow_to_state(&mut server, &mut log, "awaitingPermission");
    server.call("run/configure", json!({ "runId": log.run, "permissions": "bypass" }));
    assert_eq!(server.get(&log.run)["state"], "awaitingPermission", "the open question stays open");
    server.call("run/answer", answer(&log, "yes"));
    follow_to_state(&mut server, &mut log, "idle");
    server.call("run/send", json!({ "runId": log.run, "text": "ask execute" }));
    super::follow_to_turn_end(&mut server, &mut log, 2);
    assert_eq!(log.permission_results()[1]["by"], "policy");
    server.cancel(&log.run);
    server.follow_to_end(&mut log);
}

#[test]
fn a_setting_that_cannot_be_kept_is_refused_and_changes_nothing() {
    let home = Home::new();
    let mut server = home.server();
    let (_, mut log) = server.start(params_with(&home, "say one", json!({ "interactive": true })));
    follow_to_state(&mut server, &mut log, "idle");
    let failure = server.expect_failure("run/configure", json!({ "runId": log.run, "permissions": "readOnly" }));
    assert_eq!((failure.code, &failure.data["capability"]), (-32013, &json!("permissions")), "{failure:?}");
    let failure = server.expect_failure("run/configure", json!({ "runId": log.run, "model": "no-such-model" }));
    assert_eq!((failure.code, &failure.data["capability"]), (-32013, &json!("model")), "{failure:?}");
    server.call("run/send", json!({ "runId": log.run, "text": "say two" }));
    super::follow_to_turn_end(&mut server, &mut log, 2);
    assert_eq!(log.states.last().expect("a state")["stopReason"], "end_turn", "{log:#?}");
    server.cancel(&log.run);
    server.follow_to_end(&mut log);
}

#[test]
fn of_two_concurrent_answers_one_counts_and_the_other_fails() {
    let home = Home::new();
    let mut servers = [home.server(), home.server()];
    let (_, mut log) = servers[0].start(params(&home, "ask execute\nask execute\nask execute\nask execute\nwait"));
    for round in 1..=4 {
        servers[0].follow(&mut log, "a question", |log| log.permission_requests().len() == round);
        servers[1].notification("run/permission", |entry| entry["permissionId"] == format!("p{round}"));
        let given = ["yes", "no"].map(|option| json!({ "runId": log.run, "permissionId": format!("p{round}"), "optionId": option }));
        let [first, second] = [0, 1].map(|who| servers[who].send_request("run/answer", given[who].clone()));
        let outcomes = [servers[0].wait_response(first), servers[1].wait_response(second)];
        let failures: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).collect();
        assert_eq!(failures.len(), 1, "{outcomes:?}");
        assert_eq!((failures[0].code, failures[0].kind), (-32017, "permissionResolved"));
        let counted = if outcomes[0].is_ok() { "yes" } else { "no" };
        servers[0].follow(&mut log, "what was chosen", |log| log.text_of("agent_message_chunk").matches("chosen").count() == round);
        assert!(log.text_of("agent_message_chunk").ends_with(&format!("chosen: {counted}")));
        assert_eq!((log.permission_results().len(), &log.permission_results()[round - 1]["optionId"]), (round, &json!(counted)));
    }
    servers[1].cancel(&log.run);
    servers[0].follow_to_end(&mut log);
}

#[test]
fn watchers_are_notified_that_a_lost_runs_request_is_resolved() {
    let home = Home::new();
    let (mut server, mut other) = (home.server(), home.server());
    let (_, mut log) = server.start(params(&home, "ask execute"));
    follow_to_state(&mut server, &mut log, "awaitingPermission");
    let permission_request = other.notification("run/permission", |entry| entry["status"] == "requested");
    kill(home.supervisor(u32::try_from(server.get(&log.run)["pid"].as_u64().expect("a process")).expect("a pid")));
    let permission_result = other.notification("run/permission", |entry| entry["permissionId"] == permission_request["permissionId"]);
    assert_eq!((&permission_result["status"], &permission_result["cancelled"]), (&json!("resolved"), &json!(true)));
    let ended = other.notification("run/state", |entry| entry["state"] == "lost");
    assert!(ended["seq"].as_u64() > permission_result["seq"].as_u64());
}
