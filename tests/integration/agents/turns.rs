//! Turns: what an agent writes is streamed to the client, and prompts follow each other.

use serde_json::json;

use super::{follow_to_state, follow_to_turn_end, params, params_with};
use crate::harness::{Gate, Home};

#[test]
fn an_answer_is_streamed_before_it_is_finished() {
    let home = Home::new();
    let mut server = home.server();
    let (_, mut log) = server.start(params_with(&home, "say one two three\nwait", json!({ "interactive": true })));
    server.follow(&mut log, "all three words", |log| log.text_of("agent_message_chunk") == "one two three");
    assert!(log.updates("agent_message_chunk").len() == 3, "one update for each chunk");
    assert_eq!(log.state_names(), ["running"], "the turn goes on");
    server.cancel(&log.run);
    server.follow_to_end(&mut log);
}

#[test]
fn a_turn_reports_its_prompt_session_end_and_usage() {
    let home = Home::new();
    let mut server = home.server();
    let (_, mut log) = server.start(params(&home, "think hm\nsay done"));
    let run = server.follow_to_end(&mut log);
    assert_eq!(log.text_of("user_message_chunk"), "think hm\nsay done");
    assert_eq!((log.text_of("agent_thought_chunk"), log.text_of("agent_message_chunk")), ("hm".to_owned(), "done".to_owned()));
    let end = log.end();
    assert_eq!((&end["state"], &end["turn"], &end["stopReason"]), (&json!("succeeded"), &json!(1), &json!("end_turn")));
    assert_eq!((&end["usage"]["inputTokens"], &run["usage"]["outputTokens"]), (&json!(10), &json!(5)));
    assert!(log.stdout_text().contains("session/update"), "the output is the protocol as it was spoken");
    let position = |kind: &str| log.events.iter().position(|entry| entry["kind"] == kind).expect("the entry exists");
    assert!(position("session") < position("update"), "the session is reported before any update");
    assert_eq!(run["session"]["resumable"], true);
    assert!(log.updates("agent_message_chunk").iter().all(|chunk| chunk["messageId"].is_string()));
}

#[test]
fn prompts_wait_for_their_turn_and_the_run_goes_on_for_them() {
    let home = Home::new();
    let mut server = home.server();
    let gate = Gate::new(home.path(), "gate");
    drop(gate);
    let (_, mut log) = server.start(params(&home, "say first\nask execute"));
    follow_to_state(&mut server, &mut log, "awaitingPermission");
    server.call("run/send", json!({ "runId": log.run, "prompt": "say second" }));
    server.call("run/send", json!({ "runId": log.run, "prompt": "say third", "mode": "steer" }));
    assert_eq!(server.get(&log.run)["queued"], 2, "this agent cannot be steered, so both wait");
    let question = log.permission_requests()[0]["permissionId"].clone();
    server.call("run/answer", json!({ "runId": log.run, "permissionId": question, "optionId": "yes" }));
    let run = server.follow_to_end(&mut log);
    assert_eq!(log.text_of("user_message_chunk"), "say first\nask executesay secondsay third");
    let turns: Vec<(&str, u64)> = log.states.iter().filter_map(|state| Some((state["state"].as_str()?, state["turn"].as_u64()?))).collect();
    assert_eq!(turns, [("running", 1), ("idle", 1), ("running", 2), ("idle", 2), ("running", 3), ("succeeded", 3)]);
    assert_eq!((run.get("queued"), &run["usage"]["inputTokens"]), (None, &json!(30)), "each turn is counted once");
}

#[test]
fn a_queued_prompt_is_listed_and_taken_back_until_its_turn_begins() {
    let home = Home::new();
    let mut server = home.server();
    let (_, mut log) = server.start(params(&home, "ask execute"));
    follow_to_state(&mut server, &mut log, "awaitingPermission");
    let mut send = |text: &str| server.call("run/send", json!({ "runId": log.run, "prompt": text }))["promptId"].clone();
    let ids = [send("say second"), send("say thrid"), send("say fourth")];
    let queued = server.call("run/queue", json!({ "runId": log.run }))["prompts"].clone();
    let listed: Vec<_> = queued.as_array().expect("a list").iter().map(|it| (&it["promptId"], &it["prompt"][0]["text"])).collect();
    assert_eq!(listed, [(&ids[0], &json!("say second")), (&ids[1], &json!("say thrid")), (&ids[2], &json!("say fourth"))]);
    let mut other = home.server();
    let taken = other.call("run/unqueue", json!({ "runId": log.run, "promptId": ids[1] }));
    assert_eq!(taken["prompt"], json!([{ "type": "text", "text": "say thrid" }]), "another client may take it back");
    assert_eq!(server.get(&log.run)["queued"], 2);
    let gone = server.expect_failure("run/unqueue", json!({ "runId": log.run, "promptId": ids[1] }));
    assert_eq!((gone.kind, &gone.data["field"]), ("invalidParams", &json!("promptId")));
    server.call("run/send", json!({ "runId": log.run, "prompt": "say third" }));
    let question = log.permission_requests()[0]["permissionId"].clone();
    server.call("run/answer", json!({ "runId": log.run, "permissionId": question, "optionId": "yes" }));
    server.follow_to_end(&mut log);
    assert_eq!(log.text_of("user_message_chunk"), "ask executesay secondsay fourthsay third");
    assert_eq!(server.expect_failure("run/queue", json!({ "runId": log.run })).kind, "runNotActive");
}

#[test]
fn the_first_prompt_is_no_queued_one() {
    let home = Home::new();
    let mut server = home.server();
    let waiting = json!({ "provider": "acp", "command": ["sleep", "1000"], "prompt": "say first", "cwd": home.path() });
    let (run, log) = server.start(waiting);
    assert_eq!(server.call("run/queue", json!({ "runId": run["id"] })), json!({ "prompts": [] }), "its turn runs already");
    server.call("run/send", json!({ "runId": run["id"], "prompt": "say second" }));
    let queued = server.call("run/queue", json!({ "runId": run["id"] }))["prompts"].clone();
    assert_eq!((queued.as_array().map(Vec::len), &queued[0]["prompt"][0]["text"]), (Some(1), &json!("say second")));
    server.cancel(&log.run);
}

#[test]
fn a_command_has_no_queue() {
    let home = Home::new();
    let mut server = home.server();
    let (run, _) = server.start(json!({ "provider": "command", "command": ["sleep", "1000"] }));
    assert_eq!(server.expect_failure("run/queue", json!({ "runId": run["id"] })).kind, "unsupported");
    server.cancel(run["id"].as_str().expect("an id"));
}

#[test]
fn an_interactive_run_is_idle_between_turns_until_its_input_is_closed() {
    let home = Home::new();
    let mut server = home.server();
    let (_, mut log) = server.start(params_with(&home, "say one", json!({ "interactive": true })));
    follow_to_turn_end(&mut server, &mut log, 1);
    assert_eq!(server.get(&log.run)["state"], "idle");
    server.call("run/send", json!({ "runId": log.run, "text": "say two" }));
    follow_to_turn_end(&mut server, &mut log, 2);
    server.call("run/closeInput", json!({ "runId": log.run }));
    server.follow_to_end(&mut log);
    assert_eq!(log.end()["state"], "succeeded");
    assert_eq!(server.expect_failure("run/send", json!({ "runId": log.run, "text": "x" })).code, -32012);
}

#[test]
fn a_run_without_a_prompt_begins_idle() {
    let home = Home::new();
    let mut server = home.server();
    let mut params = params_with(&home, "", json!({ "interactive": true }));
    params.as_object_mut().expect("an object").remove("prompt");
    let (_, mut log) = server.start(params.clone());
    follow_to_state(&mut server, &mut log, "idle");
    assert_eq!(log.states.iter().filter(|state| state["turn"].is_u64()).count(), 0, "no turn was");
    server.call("run/send", json!({ "runId": log.run, "prompt": [{ "type": "text", "text": "say hello" }] }));
    follow_to_turn_end(&mut server, &mut log, 1);
    server.call("run/closeInput", json!({ "runId": log.run }));
    server.follow_to_end(&mut log);
    params["interactive"] = json!(false);
    assert_eq!(server.expect_failure("run/start", params).data["field"], "prompt");
}

#[test]
fn an_interrupt_stops_the_turn_and_keeps_the_session() {
    let home = Home::new();
    let mut server = home.server();
    let (_, mut log) = server.start(params_with(&home, "say begun\nwait", json!({ "interactive": true })));
    server.follow(&mut log, "a beginning", |log| log.text_of("agent_message_chunk") == "begun");
    server.call("run/interrupt", json!({ "runId": log.run }));
    follow_to_turn_end(&mut server, &mut log, 1);
    assert_eq!(log.states.last().expect("a state")["stopReason"], "cancelled");
    assert_eq!(server.call("run/interrupt", json!({ "runId": log.run })), json!({}), "none runs");
    server.call("run/send", json!({ "runId": log.run, "text": "say still here" }));
    follow_to_turn_end(&mut server, &mut log, 2);
    assert!(log.text_of("agent_message_chunk").ends_with("still here"));
    server.call("run/closeInput", json!({ "runId": log.run }));
    assert_eq!(server.follow_to_end(&mut log)["state"], "succeeded");
}

#[test]
fn an_interrupted_run_that_is_not_interactive_is_cancelled() {
    let home = Home::new();
    let mut server = home.server();
    let (_, mut log) = server.start(params(&home, "say begun\nwait"));
    server.follow(&mut log, "a beginning", |log| log.text_of("agent_message_chunk") == "begun");
    server.call("run/interrupt", json!({ "runId": log.run }));
    let run = server.follow_to_end(&mut log);
    assert_eq!((&run["state"], &log.end()["stopReason"], &log.end()["turn"]), (&json!("cancelled"), &json!("cancelled"), &json!(1)));
}

#[test]
fn an_idle_run_that_nobody_follows_is_ended() {
    let home = Home::new();
    let mut server = home.server();
    let (_, mut log) = server.start(params_with(&home, "say one", json!({ "interactive": true, "keepIdleMs": 200 })));
    follow_to_turn_end(&mut server, &mut log, 1);
    assert_eq!(server.get(&log.run)["state"], "idle", "somebody follows it");
    server.call("run/detach", json!({ "runId": log.run }));
    server.get_until(&log.run, "the end", |run| run["state"] == "succeeded");
}

#[test]
fn a_failed_turn_fails_the_run_with_the_providers_message() {
    let home = Home::new();
    let mut server = home.server();
    let (_, mut log) = server.start(params(&home, "say well\nfail the model is gone"));
    let run = server.follow_to_end(&mut log);
    assert_eq!((&run["state"], &log.end()["stopReason"]), (&json!("failed"), &json!("error")));
    assert!(run["error"]["message"].as_str().expect("a message").contains("the model is gone"), "{run}");
    let (_, mut log) = server.start(params(&home, "refuse"));
    server.follow_to_end(&mut log);
    assert_eq!((&log.end()["state"], &log.end()["stopReason"]), (&json!("succeeded"), &json!("refusal")));
}

#[test]
fn a_client_that_wants_updates_only_gets_nothing_else() {
    let home = Home::new();
    let mut server = home.server();
    let (run, _) = server.start(params_with(&home, "say hello", json!({ "attach": { "kinds": ["update"] } })));
    server.notification("run/state", |state| state["runId"] == run["id"] && state["state"] == "succeeded");
    let kinds: Vec<String> =
        server.entries_of(crate::harness::id(&run)).iter().map(|entry| entry["kind"].as_str().expect("a kind").to_owned()).collect();
    assert!(kinds.iter().any(|kind| kind == "update") && !kinds.iter().any(|kind| kind == "output"), "{kinds:?}");
}
