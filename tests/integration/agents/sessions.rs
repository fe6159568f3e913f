//! Sessions: reported early, resumed in the right directory, used by one run at a time, taken over.

use std::fs;

use serde_json::{Value, json};

use super::{follow_to_state, follow_to_turn_end, params, params_with, scripted};
use crate::harness::{Home, id};

#[test]
fn a_resumed_run_goes_on_with_the_session_and_names_its_parent() {
    let home = Home::new();
    let mut server = home.server();
    for options in [&[][..], &["--load"]] {
        let command = scripted(&home, options);
        let (first, mut log) = server.start(params_with(&home, "say apples", json!({ "command": command })));
        let first = (id(&first).to_owned(), server.follow_to_end(&mut log));
        let mut params = params_with(&home, "say pears", json!({ "command": command, "resume": { "runId": first.0 } }));
        params.as_object_mut().expect("an object").remove("cwd");
        let (second, mut log) = server.start(params);
        let run = server.follow_to_end(&mut log);
        assert_eq!((&run["session"]["id"], &run["parentRunId"]), (&first.1["session"]["id"], &json!(first.0)));
        assert_eq!(second["cwd"], first.1["cwd"], "the directory is the session's");
        let text = format!("{}{}", log.text_of("user_message_chunk"), log.text_of("agent_message_chunk"));
        assert_eq!(text, "say pearspears", "earlier prompts are not reported again");
    }
}

#[test]
fn a_session_that_is_not_there_fails_and_no_new_one_is_made() {
    let home = Home::new();
    let mut server = home.server();
    let (_, mut log) = server.start(params_with(&home, "say hello", json!({ "resume": { "sessionId": "no-such-session" } })));
    let run = server.follow_to_end(&mut log);
    assert_eq!((&run["state"], &run["error"]["kind"]), (&json!("failed"), &json!("sessionNotFound")));
    assert_eq!(log.text_of("agent_message_chunk"), "");
    assert!(!log.stdout_text().contains("session/new"));
}

#[test]
fn no_two_runs_write_one_session() {
    let home = Home::new();
    let (mut server, mut other) = (home.server(), home.server());
    let (first, mut log) = server.start(params_with(&home, "say one", json!({ "interactive": true })));
    follow_to_turn_end(&mut server, &mut log, 1);
    let session = server.get(&log.run)["session"]["id"].clone();
    for resume in [json!({ "sessionId": session }), json!({ "runId": first["id"] })] {
        for server in [&mut server, &mut other] {
            let failure = server.expect_failure("run/start", params_with(&home, "say two", json!({ "resume": resume })));
            assert_eq!((failure.code, &failure.data["runId"]), (-32016, &first["id"]));
        }
    }
    server.call("run/closeInput", json!({ "runId": log.run }));
    server.follow_to_end(&mut log);
    let (_, mut log) = other.start(params_with(&home, "say two", json!({ "resume": { "sessionId": session } })));
    other.follow_to_end(&mut log);
    assert_eq!(log.end()["state"], "succeeded", "it is free again");
    let claims: Vec<_> = fs::read_dir(home.data().join("claims")).expect("claims").flatten().map(|file| file.file_name()).collect();
    assert!(!claims.iter().any(|name| name.to_string_lossy().starts_with("session-")), "{claims:?}");
}

#[test]
fn a_session_of_a_killed_run_is_free() {
    let home = Home::new();
    let mut server = home.server();
    let (run, mut log) = server.start(params_with(&home, "say one", json!({ "interactive": true })));
    follow_to_turn_end(&mut server, &mut log, 1);
    crate::harness::kill(home.supervisor(u32::try_from(run["pid"].as_u64().expect("a pid")).expect("a pid")));
    server.follow_to_end(&mut log);
    let (_, mut log) = server.start(params_with(&home, "say two", json!({ "resume": { "runId": run["id"] } })));
    server.follow_to_end(&mut log);
    assert_eq!(log.end()["state"], "succeeded");
}

#[test]
fn a_takeover_ends_the_run_and_says_how_to_go_on() {
    let home = Home::new();
    let mut server = home.server();
    let (_, mut log) = server.start(params_with(&home, "say begun\nwait", json!({ "interactive": true })));
    server.follow(&mut log, "a session that was kept", |log| log.sessions().last().is_some_and(|session| session["resumable"] == true));
    let busy = server.expect_failure("run/takeover", json!({ "runId": log.run, "kind": "load", "stop": false }));
    assert_eq!((busy.code, &busy.data["runId"]), (-32016, &json!(log.run)));
    let takeover = server.call("run/takeover", json!({ "runId": log.run, "kind": "load" }))["takeover"].clone();
    let run = server.follow_to_end(&mut log);
    assert_eq!(run["state"], "cancelled");
    assert!(run["takenOverAt"].is_u64(), "{run}");
    assert_eq!((&takeover["kind"], &takeover["cwd"]), (&json!("load"), &run["cwd"]));
    assert!(takeover["command"].as_array().is_some_and(|argv| !argv.is_empty()), "{takeover}");
    assert!(takeover["verified"] == true || takeover["reason"].is_string(), "an unverified way says why: {takeover}");
    for way in run["session"]["takeover"].as_array().expect("ways") {
        assert!(way["command"].is_array() || way["reason"].is_string(), "{way}");
    }
    let again = server.call("run/takeover", json!({ "runId": log.run, "kind": "load" }))["takeover"].clone();
    assert_eq!(again["command"], takeover["command"], "it works for ended runs");
}

#[test]
fn an_idle_run_is_taken_over_too() {
    let home = Home::new();
    let mut server = home.server();
    let (_, mut log) = server.start(params_with(&home, "say one", json!({ "interactive": true })));
    follow_to_state(&mut server, &mut log, "idle");
    server.call("run/takeover", json!({ "runId": log.run }));
    let run = server.follow_to_end(&mut log);
    assert_eq!((&run["state"], run["takenOverAt"].is_u64()), (&json!("cancelled"), true));
}

#[test]
fn a_takeover_resolves_the_open_request_without_approval() {
    let home = Home::new();
    let (mut server, mut other) = (home.server(), home.server());
    let (_, mut log) = server.start(params_with(&home, "say begun\nask execute\nsay ended", json!({ "interactive": true })));
    follow_to_state(&mut server, &mut log, "awaitingPermission");
    server.follow(&mut log, "a session that was kept", |log| log.sessions().last().is_some_and(|session| session["resumable"] == true));
    other.call("run/send", json!({ "runId": log.run, "text": "say later" }));
    let takeover = other.call("run/takeover", json!({ "runId": log.run, "kind": "load" }))["takeover"].clone();
    let run = server.follow_to_end(&mut log);
    assert_eq!((&run["state"], run["takenOverAt"].is_u64(), &takeover["kind"]), (&json!("cancelled"), true, &json!("load")));
    assert_eq!(
        (log.permission_results().len(), &log.permission_results()[0]["cancelled"], run.get("permissions")),
        (1, &json!(true), None)
    );
    assert!(!log.text_of("agent_message_chunk").contains("yes"), "{}", log.text_of("agent_message_chunk"));
    assert_eq!(log.text_of("user_message_chunk").matches("later").count(), 0, "what waited was dropped");
    assert!(log.updates("notice").iter().any(|notice| notice.to_string().contains("dropped")));
    assert_eq!(log.end()["turn"], 1);
    let late = other.expect_failure("run/answer", json!({ "runId": log.run, "permissionId": "p1", "optionId": "yes" }));
    assert_eq!(late.kind, "permissionResolved", "{late:?}");
}

#[test]
fn the_changed_files_are_reported() {
    let home = Home::new();
    let mut server = home.server();
    let prompt = "edit made.txt some text\nedit refused.txt other";
    let (_, mut log) = server.start(params(&home, prompt));
    for (round, option) in [(1, "yes"), (2, "no")] {
        server.follow(&mut log, "a question", |log| log.permission_requests().len() == round);
        let question = log.permission_requests().last().expect("a question")["permissionId"].clone();
        let diff = &log.permission_requests().last().expect("a question")["toolCall"]["content"][0];
        assert_eq!(diff["type"], "diff", "a question shows what it is about");
        server.call("run/answer", json!({ "runId": log.run, "permissionId": question, "optionId": option }));
    }
    server.follow_to_end(&mut log);
    let changes = server.call("run/changes", json!({ "runId": log.run }));
    let files: Vec<(&Value, &Value)> =
        changes["files"].as_array().expect("files").iter().map(|file| (&file["path"], &file["kind"])).collect();
    assert_eq!(files, [(&json!(home.path().join("made.txt")), &json!("add"))]);
    assert_eq!((&changes["files"][0]["newText"], &changes["complete"]), (&json!("some text"), &json!(true)));
    let (_, mut log) = server.start(params(&home, "tool execute 10"));
    server.follow_to_end(&mut log);
    assert_eq!(server.call("run/changes", json!({ "runId": log.run }))["complete"], false);
}
