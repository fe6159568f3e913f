//! Sending, closing, interrupting and cancelling.

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
};

use serde_json::{Value, json};

use crate::harness::{Home, id, sh, until};

#[test]
fn what_is_sent_arrives_in_order() {
    let home = Home::new();
    let mut server = home.server();
    let (run, mut log) = server.start(json!({ "provider": "command", "command": ["cat"], "interactive": true, "stdin": "first\n" }));
    let requests: Vec<_> = (0..300)
        .map(|number| server.send_request("run/send", json!({ "runId": run["id"], "text": format!("line {number} é\n") })))
        .collect();
    let close = server.send_request("run/closeInput", json!({ "runId": run["id"] }));
    for request in requests.into_iter().chain([close]) {
        assert_eq!(server.wait_response(request).expect("sent"), json!({}));
    }
    server.follow_to_end(&mut log);
    let expected: String = (0..300).map(|number| format!("line {number} é\n")).collect();
    assert_eq!(log.stdout_text(), format!("first\n{expected}"));
    for (method, params) in [("run/send", json!({ "runId": run["id"], "text": "late" })), ("run/closeInput", json!({ "runId": run["id"] }))]
    {
        let failure = server.expect_failure(method, params);
        assert_eq!((failure.code, failure.kind, &failure.data["state"]), (-32012, "runNotActive", &json!("succeeded")));
    }
}

#[test]
fn a_program_that_does_not_read_holds_up_no_request() {
    let home = Home::new();
    let mut server = home.server();
    let (run, mut log) = server.start(json!({ "provider": "command", "command": sh("sleep 1000"), "interactive": true }));
    let much = "x".repeat(1 << 20);
    let send = server.send_request("run/send", json!({ "runId": run["id"], "text": much }));
    server.call("run/list", json!({}));
    server.get(&log.run);
    server.cancel(&log.run);
    server.follow_to_end(&mut log);
    assert_eq!(log.end()["state"], "cancelled");
    // The text was written, or the run ended before it could be. A response comes in either case.
    if let Err(failure) = server.wait_response(send) {
        assert_eq!(failure.kind, "runNotActive");
    }
}

#[test]
fn a_terminal_gets_its_end_of_file() {
    let home = Home::new();
    let mut server = home.server();
    let params =
        json!({ "provider": "command", "command": sh("stty -echo; echo ready; cat; echo done"), "tty": true, "interactive": true });
    let (run, mut log) = server.start(params);
    server.follow(&mut log, "the program is ready", |log| log.stdout.starts_with(b"ready"));
    server.call("run/send", json!({ "runId": run["id"], "text": "typed\n" }));
    server.follow(&mut log, "the echo", |log| log.stdout_text().contains("typed"));
    server.call("run/closeInput", json!({ "runId": run["id"] }));
    server.follow_to_end(&mut log);
    assert_eq!(log.stdout_text().replace("\r\n", "\n"), "ready\ntyped\ndone\n");
}

#[test]
fn an_interrupt_is_a_ctrl_c() {
    let home = Home::new();
    let mut server = home.server();
    let (run, mut log) = server.sh("trap 'echo caught; exit 7' INT; echo ready; while :; do sleep 0.02; done");
    server.follow(&mut log, "the program is ready", |log| log.stdout == b"ready\n");
    server.call("run/interrupt", json!({ "runId": run["id"] }));
    let run = server.follow_to_end(&mut log);
    assert_eq!((log.stdout.as_slice(), &run["exitCode"]), (b"ready\ncaught\n".as_slice(), &json!(7)));
    // The run has ended, so the interrupt has nothing to wait for.
    assert_eq!(server.call("run/interrupt", json!({ "runId": run["id"] })), json!({}));
}

#[test]
fn a_program_may_survive_an_interrupt() {
    let home = Home::new();
    let mut server = home.server();
    let (run, mut log) = server.sh("trap 'echo caught' INT; echo ready; while :; do sleep 0.02; done");
    server.follow(&mut log, "the program is ready", |log| log.stdout == b"ready\n");
    for times in 1..=2 {
        server.call("run/interrupt", json!({ "runId": run["id"] }));
        server.follow(&mut log, "the interrupt", |log| log.stdout_text().matches("caught").count() == times);
    }
    assert_eq!(server.get(&log.run)["state"], "running");
    server.cancel(&log.run);
    server.follow_to_end(&mut log);
}

#[test]
fn a_cancelled_program_gets_a_chance_to_exit() {
    let home = Home::new();
    let mut server = home.server();
    let (run, mut log) = server.sh("trap 'echo asked; exit 0' TERM; echo ready; while :; do sleep 0.02; done");
    server.follow(&mut log, "the program is ready", |log| log.stdout == b"ready\n");
    let answer = server.call("run/cancel", json!({ "runId": run["id"], "graceMs": 3_600_000 }));
    assert_eq!(answer["run"]["state"], "cancelled");
    server.follow_to_end(&mut log);
    assert_eq!(log.stdout, b"ready\nasked\n");
    // To cancel an ended run is no error.
    assert_eq!(server.cancel(&log.run)["state"], "cancelled");
    assert!(home.tree(&log.run).is_empty());
}

#[test]
fn a_shorter_grace_wins() {
    let home = Home::new();
    let mut server = home.server();
    let (run, mut log) = server.sh("trap '' TERM INT HUP; echo ready; while :; do sleep 0.05; done");
    server.follow(&mut log, "the program is ready", |log| log.stdout == b"ready\n");
    let patient = server.send_request("run/cancel", json!({ "runId": run["id"], "graceMs": 3_600_000 }));
    let hasty = server.send_request("run/cancel", json!({ "runId": run["id"], "graceMs": 0 }));
    for request in [hasty, patient] {
        assert_eq!(server.wait_response(request).expect("an answer")["run"]["state"], "cancelled");
    }
    server.follow_to_end(&mut log);
    assert!(home.tree(&log.run).is_empty(), "the answer comes when nothing is left");
}

#[test]
fn a_cancel_ends_the_whole_tree() {
    let home = Home::new();
    let mut server = home.server();
    let (_, mut log) = server.sh("trap '' TERM; for i in 1 2 3; do (trap '' TERM; sleep 1000) & done; echo ready; wait");
    server.follow(&mut log, "the program is ready", |log| log.stdout == b"ready\n");
    until("the children are there", || (home.tree(&log.run).len() >= 4).then_some(()));
    server.cancel(&log.run);
    assert_eq!(home.tree(&log.run), Vec::new());
    server.follow_to_end(&mut log);
}

#[test]
fn a_stopped_program_can_be_cancelled() {
    let home = Home::new();
    let mut server = home.server();
    let (run, mut log) = server.sh("echo ready; kill -STOP $$; echo never");
    server.follow(&mut log, "the program is ready", |log| log.stdout == b"ready\n");
    assert_eq!(server.call("run/cancel", json!({ "runId": run["id"], "graceMs": 100 }))["run"]["state"], "cancelled");
    server.follow_to_end(&mut log);
    assert_eq!(log.stdout, b"ready\n");
}

#[test]
fn when_the_last_client_goes_a_run_may_be_cancelled() {
    let home = Home::new();
    let (mut server, mut watcher) = (home.server(), home.server());
    let command = sh("echo ready; sleep 1000");
    let (run, mut log) = server.start(json!({ "provider": "command", "command": command, "onDisconnect": "cancel" }));
    server.follow(&mut log, "the program is ready", |log| log.stdout == b"ready\n");
    server.kill();
    let state = watcher.notification("run/state", |state| state["runId"] == run["id"] && state["state"] == "cancelled");
    assert!(state["seq"].as_u64() > Some(log.seq));
    home.wait_until_swept(&log.run);
}

#[test]
fn a_client_that_returns_in_time_keeps_the_run_alive() {
    let home = Home::new();
    let mut server = home.server();
    // The program writes a second line when it has outlived the five seconds after which it would be cancelled.
    let command = sh("echo ready; sleep 7; echo saved");
    let (_, mut log) = server.start(json!({ "provider": "command", "command": command, "onDisconnect": "cancel" }));
    server.follow(&mut log, "the program is ready", |log| log.stdout == b"ready\n");
    server.kill();
    let mut server = home.server();
    server.attach(&log);
    server.follow_to_end(&mut log);
    assert_eq!((log.stdout.as_slice(), log.end()["state"].as_str()), (&b"ready\nsaved\n"[..], Some("succeeded")));
}

#[test]
fn a_run_that_is_left_alone_goes_on() {
    let home = Home::new();
    let mut gate = crate::harness::Gate::new(home.path(), "gate");
    let mut server = home.server();
    let (_, mut log) = server.sh(&format!("echo ready; {}; echo went on", gate.wait()));
    server.follow(&mut log, "the program is ready", |log| log.stdout == b"ready\n");
    server.shut_down();
    gate.open();
    let mut server = home.server();
    server.attach(&log);
    server.follow_to_end(&mut log);
    assert_eq!(log.stdout, b"ready\nwent on\n");
}

#[test]
fn an_interrupted_run_ends_cancelled_however_its_program_ends() {
    let home = Home::new();
    let mut server = home.server();
    let (run, mut log) = server.sh("trap 'exit 0' INT; echo ready; while :; do sleep 0.02; done");
    server.follow(&mut log, "the program is ready", |log| log.stdout == b"ready\n");
    server.call("run/interrupt", json!({ "runId": run["id"] }));
    // The response to the interrupt came after the end.
    assert_eq!(server.get(&log.run)["state"], "cancelled");
    server.follow_to_end(&mut log);
    assert_eq!((&log.end()["state"], &log.end()["exitCode"]), (&json!("cancelled"), &json!(0)));
}

/// A run outlives an upgrade, so its supervisor may be asked for what it does not know.
#[test]
fn a_command_that_a_supervisor_does_not_know_is_answered() {
    let home = Home::new();
    let mut server = home.server();
    let (run, mut log) = server.start(json!({ "provider": "command", "command": ["cat"], "interactive": true }));
    let socket = home.data().join("runs").join(id(&run)).join("s");
    let mut supervisor = BufReader::new(UnixStream::connect(socket).expect("it listens"));
    supervisor
        .get_mut()
        .write_all(b"{\"id\":1,\"word\":{\"of a newer server\":{}}}\n{\"id\":2,\"word\":{\"sync\":{\"seq\":0}}}\n")
        .expect("sent");
    let mut answers = Vec::new();
    while answers.len() < 2 {
        let mut line = String::new();
        assert_ne!(supervisor.read_line(&mut line).expect("readable"), 0, "the connection ended after {answers:?}");
        let event: Value = serde_json::from_str(&line).unwrap_or_default();
        // The answer to request 0 is the supervisor's version.
        answers.extend(event.get("answer").filter(|answer| answer["id"] != 0).cloned());
    }
    assert_eq!((&answers[0]["id"], &answers[0]["result"]["Err"]["kind"]), (&json!(1), &json!("unsupported")), "{answers:?}");
    assert_eq!(answers[1], json!({ "id": 2, "result": { "Ok": answers[1]["result"]["Ok"] } }));
    server.call("run/closeInput", json!({ "runId": run["id"] }));
    server.follow_to_end(&mut log);
}

#[test]
fn what_is_sent_again_with_its_token_arrives_once() {
    let home = Home::new();
    let (mut server, mut other) = (home.server(), home.server());
    let (run, mut log) = server.start(json!({ "provider": "command", "command": ["cat"], "interactive": true }));
    let send = |text: &str, token: &str| json!({ "runId": run["id"], "text": text, "clientToken": token });
    for _ in 0..3 {
        assert_eq!(server.call("run/send", send("one\n", "a")), json!({}));
        assert_eq!(other.call("run/send", send("one\n", "a")), json!({}), "whoever sends it");
    }
    server.call("run/send", send("two\n", "b"));
    // More tokens than are remembered: the last ones are.
    for number in 0..70 {
        server.call("run/send", send(&format!("{number}\n"), &format!("t{number}")));
    }
    server.call("run/send", send("69\n", "t69"));
    for bad in [String::new(), "x".repeat(257)] {
        assert_eq!(server.expect_failure("run/send", send("", &bad)).data["field"], "clientToken");
    }
    server.call("run/closeInput", json!({ "runId": run["id"] }));
    server.follow_to_end(&mut log);
    let expected: String = (0..70).map(|number| format!("{number}\n")).collect();
    assert_eq!(log.stdout_text(), format!("one\ntwo\n{expected}"));
}
