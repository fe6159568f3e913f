//! Runs that end by limits, timeouts and clients that disconnect, with the turn's end recorded; and requests during a
//! running turn.

use serde_json::{Value, json};

use super::{follow_to_state, follow_to_turn_end, params, params_with};
use crate::harness::{Home, Log, id};

/// Of the final state: the state, the error's kind, the turn and the stop reason.
fn outcome_of(log: &Log) -> (Value, Value, Value, Value) {
    let end = log.end();
    (end["state"].clone(), end["error"]["kind"].clone(), end["turn"].clone(), end["stopReason"].clone())
}

#[test]
fn an_agent_that_writes_too_much_is_cancelled_with_its_turn_recorded() {
    let home = Home::new();
    let mut server = home.server();
    let (_, mut log) = server.start(params_with(&home, "say begun\nline 200000\nwait", json!({ "maxOutputBytes": 50_000 })));
    server.follow_to_end(&mut log);
    assert_eq!(outcome_of(&log), (json!("cancelled"), json!("outputLimit"), json!(1), json!("cancelled")));
    assert!(log.stdout.len() + log.stderr.len() <= 50_000, "{} bytes", log.stdout.len());
    assert_eq!(log.text_of("agent_message_chunk"), "begun");
    home.wait_until_swept(&log.run);
}

#[test]
fn an_agent_that_times_out_ends_with_its_turn_recorded_and_its_request_resolved() {
    let home = Home::new();
    let mut server = home.server();
    let (_, mut log) = server.start(params_with(&home, "say begun\nask execute\nwait", json!({ "timeoutMs": 3000 })));
    follow_to_state(&mut server, &mut log, "awaitingPermission");
    let run = server.follow_to_end(&mut log);
    assert_eq!(outcome_of(&log), (json!("timedOut"), json!("timeout"), json!(1), json!("cancelled")));
    assert_eq!(
        (log.permission_results().len(), &log.permission_results()[0]["cancelled"], run.get("permissions")),
        (1, &json!(true), None)
    );
    home.wait_until_swept(&log.run);
}

#[test]
fn an_idle_agent_times_out_too() {
    let home = Home::new();
    let mut server = home.server();
    let (_, mut log) = server.start(params_with(&home, "say one", json!({ "interactive": true, "timeoutMs": 3000 })));
    follow_to_state(&mut server, &mut log, "idle");
    server.follow_to_end(&mut log);
    assert_eq!(log.end()["state"], "timedOut");
    assert_eq!(log.states.iter().filter(|state| state["turn"] == 1 && state.get("stopReason").is_some()).count(), 1, "its turn ended once");
}

#[test]
fn when_the_last_client_goes_an_agent_may_be_cancelled() {
    let home = Home::new();
    let (mut server, mut watcher) = (home.server(), home.server());
    let (_, mut log) = server.start(params_with(&home, "say begun\nask execute", json!({ "onDisconnect": "cancel" })));
    follow_to_state(&mut server, &mut log, "awaitingPermission");
    server.kill();
    watcher.notification("run/permission", |entry| entry["status"] == "resolved" && entry["cancelled"] == true);
    watcher.notification("run/state", |state| state["runId"] == log.run.as_str() && state["state"] == "cancelled");
    home.wait_until_swept(&log.run);
    assert!(!watcher.read_log(&log.run).text_of("agent_message_chunk").contains("yes"), "nobody is no yes");
}

#[test]
fn the_same_token_is_the_same_agent_on_every_server() {
    let home = Home::new();
    let (mut server, mut other) = (home.server(), home.server());
    let start_params = params_with(&home, "say once\nask execute", json!({ "clientToken": "t" }));
    let (run, mut log) = server.start(start_params.clone());
    follow_to_state(&mut server, &mut log, "awaitingPermission");
    let again = other.call("run/start", start_params)["run"].clone();
    assert_eq!(id(&again), id(&run));
    // Entries before the response were broadcast.
    other.entries_of(&log.run);
    let mut seen = Log::of(&log.run);
    other.follow(&mut seen, "the question", |seen| seen.seq >= log.seq);
    other.call("run/answer", json!({ "runId": log.run, "permissionId": "p1", "optionId": "no" }));
    server.follow_to_end(&mut log);
    other.follow_to_end(&mut seen);
    assert_eq!((seen.events, log.updates("user_message_chunk").len()), (log.events.clone(), 1));
}

#[test]
fn a_run_is_edited_in_the_middle_of_its_turn() {
    let home = Home::new();
    let (mut server, mut other) = (home.server(), home.server());
    let (_, mut log) = server.start(params_with(&home, "say begun\nask execute", json!({ "interactive": true })));
    follow_to_state(&mut server, &mut log, "awaitingPermission");
    let edited =
        other.call("run/edit", json!({ "runId": log.run, "title": "a title", "labels": { "k": "v" }, "pinned": true }))["run"].clone();
    assert_eq!(
        (&edited["title"], &edited["state"], &edited["lastSeq"]),
        (&json!("a title"), &json!("awaitingPermission"), &json!(log.seq))
    );
    assert_eq!(edited["permissions"][0]["permissionId"], "p1");
    server.notification("run/changed", |changed| changed["run"]["title"] == "a title");
    server.call("run/answer", json!({ "runId": log.run, "permissionId": "p1", "optionId": "no" }));
    follow_to_turn_end(&mut server, &mut log, 1);
    server.call("run/closeInput", json!({ "runId": log.run }));
    let run = server.follow_to_end(&mut log);
    assert_eq!((&run["title"], &run["labels"]["k"], &run["pinned"]), (&json!("a title"), &json!("v"), &json!(true)));
}

#[test]
fn a_prompt_reaches_a_run_of_another_server() {
    let home = Home::new();
    let (mut server, mut other) = (home.server(), home.server());
    let (_, mut log) = server.start(params_with(&home, "ask execute", json!({ "interactive": true })));
    follow_to_state(&mut server, &mut log, "awaitingPermission");
    for number in 1..=3 {
        other.call("run/send", json!({ "runId": log.run, "text": format!("say number {number}") }));
    }
    assert_eq!(server.get(&log.run)["queued"], 3);
    other.call("run/interrupt", json!({ "runId": log.run }));
    follow_to_turn_end(&mut server, &mut log, 4);
    assert_eq!(
        log.text_of("user_message_chunk"),
        "ask executesay number 1say number 2say number 3",
        "in the order sent, after the interrupt too"
    );
    other.notification("run/state", |state| state["turn"] == 4 && state["state"] == "idle");
    other.call("run/closeInput", json!({ "runId": log.run }));
    assert_eq!(server.follow_to_end(&mut log)["state"], "succeeded");
    assert_eq!(other.expect_failure("run/send", json!({ "runId": log.run, "text": "late" })).code, -32012);
}

#[test]
fn an_agent_that_waits_for_an_answer_is_not_ended_as_idle() {
    let home = Home::new();
    let mut server = home.server();
    let (_, mut log) = server.start(params_with(&home, "ask execute", json!({ "interactive": true, "keepIdleMs": 50 })));
    follow_to_state(&mut server, &mut log, "awaitingPermission");
    server.call("run/detach", json!({ "runId": log.run }));
    // A second run that is idle and has no client ends when `keepIdleMs` is over, which shows that the first one has
    // outlived it.
    let (_, idle) = server.start(params_with(&home, "say one", json!({ "interactive": true, "keepIdleMs": 50, "attach": false })));
    server.get_until(&idle.run, "the end", |run| run["state"] == "succeeded");
    assert_eq!(server.get(&log.run)["state"], "awaitingPermission");
    server.call("run/answer", json!({ "runId": log.run, "permissionId": "p1", "optionId": "yes" }));
    server.get_until(&log.run, "the end", |run| run["state"] == "succeeded");
    let (_, mut log) = server.start(params(&home, "say bye"));
    server.follow_to_end(&mut log);
}
