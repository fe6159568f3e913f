//! Agents' runs when the disk is full, their supervisor is stopped, or everything is killed: what was shown is kept,
//! and permission requests are resolved.

use std::{fs, io::Write};

use serde_json::{Value, json};

use super::{follow_to_state, params, params_with};
use crate::{
    faults::{can_mount, inside, on_small_disk},
    harness::{Home, Log, Process, Server, kill, stop},
};

fn pid(run: &Value) -> u32 {
    run["pid"].as_u64().expect("a pid").try_into().expect("a pid")
}

/// Starts a run and waits until it has an open permission request.
fn start_with_request(home: &Home, server: &mut Server) -> (Value, Log) {
    let (run, mut log) = server.start(params_with(home, "say one two\nask execute\nwait", json!({ "interactive": true })));
    follow_to_state(server, &mut log, "awaitingPermission");
    (run, log)
}

/// The entries of the stored log, without output.
fn stored_events(server: &mut Server, log: &Log) -> Vec<Value> {
    server.read_log(&log.run).events
}

/// Fills the disk until only `free` bytes are left in the server's data directory.
fn fill(server: &Server, home: &Home, free: u64) -> std::path::PathBuf {
    let path = inside(server, home);
    let space = rustix::fs::statvfs(&path).expect("a file system");
    let filler = path.join("filler");
    let mut file = fs::File::create(&filler).expect("a file");
    let mut left = (space.f_bavail * space.f_frsize).saturating_sub(free);
    while left > 0 {
        let piece = left.min(1 << 16);
        file.write_all(&vec![0; usize::try_from(piece).expect("a small piece")]).expect("there is space");
        left -= piece;
    }
    filler
}

#[test]
fn a_full_disk_in_the_middle_of_a_turn_loses_nothing_and_doubles_nothing() {
    if !can_mount() {
        return;
    }
    // The disk becomes full within the agent's output, and between its output and the entries that are made of it.
    for free in [3 << 20, 5 << 20, 6 << 20] {
        let home = Home::new();
        let mut server = on_small_disk(&home, "48m", "").start();
        let prompt = "say before\nask execute\nline 4000000\ntool execute 5000000\nsay after";
        let (_, mut log) = server.start(params_with(&home, prompt, json!({ "interactive": true })));
        follow_to_state(&mut server, &mut log, "awaitingPermission");
        let filler = fill(&server, &home, free);
        server.call("run/answer", json!({ "runId": log.run, "permissionId": "p1", "optionId": "yes" }));
        let held = server.get_until(&log.run, "the disk is full", |run| run["error"]["kind"] == "storage");
        assert_eq!((&held["state"], &held["lastSeq"].is_u64()), (&json!("running"), &true), "{held}");
        // A request that comes meanwhile waits too.
        server.call("run/send", json!({ "runId": log.run, "text": "say again" }));
        fs::remove_file(filler).expect("space is made");
        server.follow(&mut log, "the second turn", |log| log.states.iter().any(|state| state["turn"] == 2 && state["state"] == "idle"));
        server.call("run/closeInput", json!({ "runId": log.run }));
        let run = server.follow_to_end(&mut log);
        assert_eq!((&run["state"], run.get("error")), (&json!("succeeded"), None));
        assert_eq!(log.text_of("agent_message_chunk"), "beforechosen: yesafteragain");
        assert_eq!(log.tool_output().len(), 5_000_000);
        assert_eq!((log.updates("user_message_chunk").len(), log.permission_results().len()), (2, 1));
        assert_eq!(stored_events(&mut server, &log), log.events);
    }
}

#[test]
fn an_agent_is_cancelled_on_a_full_disk_and_its_turn_is_recorded() {
    if !can_mount() {
        return;
    }
    let home = Home::new();
    let mut server = on_small_disk(&home, "24m", "").start();
    let prompt = "say before\nask execute\nline 4000000\nsay after\nwait";
    let (_, mut log) = server.start(params(&home, prompt));
    follow_to_state(&mut server, &mut log, "awaitingPermission");
    fill(&server, &home, 2 << 20);
    server.call("run/answer", json!({ "runId": log.run, "permissionId": "p1", "optionId": "yes" }));
    server.get_until(&log.run, "the disk is full", |run| run["error"]["kind"] == "storage");
    server.cancel(&log.run);
    server.follow_to_end(&mut log);
    assert_eq!((&log.end()["state"], &log.end()["turn"]), (&json!("cancelled"), &json!(1)));
    assert_eq!(stored_events(&mut server, &log), log.events);
    home.wait_until_swept(&log.run);
}

#[test]
fn an_agent_whose_updates_do_not_fit_is_cancelled_on_a_full_disk_all_the_same() {
    if !can_mount() {
        return;
    }
    let home = Home::new();
    let mut server = on_small_disk(&home, "24m", "").start();
    let prompt = "say before\nask execute\ntool execute 400000\nsay after\nwait";
    let (_, mut log) = server.start(params(&home, prompt));
    follow_to_state(&mut server, &mut log, "awaitingPermission");
    // There is space for the agent's output, and none for the entries that are made of it.
    fill(&server, &home, 700 << 10);
    server.call("run/answer", json!({ "runId": log.run, "permissionId": "p1", "optionId": "yes" }));
    server.get_until(&log.run, "the disk is full", |run| run["error"]["kind"] == "storage");
    server.cancel(&log.run);
    server.follow_to_end(&mut log);
    assert_eq!((&log.end()["state"], &log.end()["turn"]), (&json!("cancelled"), &json!(1)));
    assert_ne!(log.end()["error"]["kind"], "supervisor", "it ended by itself: {}", log.end());
    assert_eq!(stored_events(&mut server, &log), log.events);
    home.wait_until_swept(&log.run);
}

#[test]
fn a_stopped_supervisor_keeps_its_question_and_can_be_cancelled() {
    let home = Home::new();
    let mut server = home.server();
    let (run, mut log) = start_with_request(&home, &mut server);
    let supervisor = home.supervisor(pid(&run));
    stop(supervisor);
    for server in [&mut server, &mut home.server()] {
        let run = server.get(&log.run);
        assert_eq!((&run["state"], &run["permissions"][0]["permissionId"]), (&json!("awaitingPermission"), &json!("p1")));
    }
    let unheard = server.expect_failure("run/answer", json!({ "runId": log.run, "permissionId": "p1", "optionId": "yes" }));
    assert!(unheard.message.contains("run/cancel"), "{unheard:?}");
    server.cancel(&log.run);
    let run = server.follow_to_end(&mut log);
    assert!(!Process::is_alive(supervisor));
    assert_eq!(
        (log.permission_results().len(), &log.permission_results()[0]["cancelled"], run.get("permissions")),
        (1, &json!(true), None)
    );
    assert_eq!(log.text_of("agent_message_chunk"), "one two", "a request that nobody answered is not approved");
    home.wait_until_swept(&log.run);
}

#[test]
fn after_everything_was_killed_the_turn_is_there_and_its_session_is_free() {
    let home = Home::new();
    let mut server = home.server();
    let (_, mut log) = start_with_request(&home, &mut server);
    let session = server.get(&log.run)["session"]["id"].clone();
    home.kill_everything();
    drop(server);
    let mut server = home.server();
    server.get_until(&log.run, "the run is lost", |run| run["state"] == "lost");
    let before = log.events.clone();
    server.attach(&log);
    let run = server.follow_to_end(&mut log);
    assert_eq!(log.events[..before.len()], before);
    assert_eq!(
        (log.permission_results().len(), &log.permission_results()[0]["cancelled"], run.get("permissions")),
        (1, &json!(true), None)
    );
    assert_eq!((&log.end()["state"], &log.end()["turn"]), (&json!("lost"), &json!(1)));
    assert_eq!(stored_events(&mut server, &log), log.events);
    let (_, mut log) = server.start(params_with(&home, "say on", json!({ "resume": { "sessionId": session } })));
    server.follow_to_end(&mut log);
    assert_eq!((&log.end()["state"], log.text_of("agent_message_chunk").as_str()), (&json!("succeeded"), "on"));
}

#[test]
fn a_supervisor_that_is_killed_in_a_turn_leaves_no_agent() {
    let home = Home::new();
    let mut server = home.server();
    let (run, mut log) = server.start(params(&home, "spawn\nsay begun\nwait"));
    server.follow(&mut log, "a beginning", |log| log.text_of("agent_message_chunk") == "begun");
    kill(home.supervisor(pid(&run)));
    server.follow_to_end(&mut log);
    assert_eq!((&log.end()["state"], &log.end()["turn"]), (&json!("lost"), &json!(1)));
    home.wait_until_swept(&log.run);
}
