//! When a run is over, nothing of its tree is left: proved by looking.

use serde_json::json;

use crate::harness::{Gate, Home, Process, sh, until};

/// Leaves children behind in every way that gets away from a process group or a session.
const LITTER: &str = "
    sleep 1001 &
    setsid sleep 1002 &
    (setsid sh -c 'sleep 1003 >/dev/null 2>&1 </dev/null &' &)
    sh -c 'trap \"\" TERM INT HUP; exec setsid sh -c \"while :; do sleep 0.05; done\"' >/dev/null 2>&1 &
    (setsid sh -c 'trap \"\" TERM HUP; cd /; exec sleep 1004' >/dev/null 2>&1 </dev/null &) &
    set -m 2>/dev/null
    (exec sleep 1005) >/dev/null &
";

fn wait_for_litter(home: &Home, run: &str) -> Vec<u32> {
    until("the children are there", || {
        let tree = home.tree(run);
        let sleepers =
            (1001..=1005).filter(|seconds| tree.iter().any(|process| process.command.contains(&format!("sleep {seconds}")))).count();
        (sleepers == 5).then(|| tree.iter().map(|process| process.pid).collect())
    })
}

fn assert_all_gone(home: &Home, run: &str, pids: &[u32]) {
    assert_eq!(home.tree(run), Vec::new());
    for pid in pids {
        let process = Process::of(*pid).filter(|process| process.state != 'Z' && process.variable("LOOMD_RUN_ID").as_deref() == Some(run));
        assert_eq!(process, None);
    }
}

#[test]
fn after_a_normal_end() {
    let home = Home::new();
    let mut server = home.server();
    let mut gate = Gate::new(home.path(), "gate");
    let (_, mut log) = server.sh(&format!("{LITTER}\necho ready; {}", gate.wait()));
    let pids = wait_for_litter(&home, &log.run);
    gate.open();
    server.follow_to_end(&mut log);
    assert_all_gone(&home, &log.run, &pids);
    assert_eq!(log.end()["state"], "succeeded");
    assert!(log.end().get("left").is_none(), "{}", log.end());
}

#[test]
fn after_a_cancel() {
    let home = Home::new();
    let mut server = home.server();
    let (_, mut log) = server.sh(&format!("{LITTER}\ntrap '' TERM; while :; do sleep 0.05; done"));
    let pids = wait_for_litter(&home, &log.run);
    server.cancel(&log.run);
    assert_all_gone(&home, &log.run, &pids);
    server.follow_to_end(&mut log);
}

#[test]
fn after_a_program_that_dies_of_a_signal() {
    let home = Home::new();
    let mut server = home.server();
    let mut gate = Gate::new(home.path(), "gate");
    let (_, mut log) = server.sh(&format!("{LITTER}\n{}; kill -9 $$", gate.wait()));
    let pids = wait_for_litter(&home, &log.run);
    gate.open();
    server.follow_to_end(&mut log);
    assert_eq!(log.end()["signal"], "SIGKILL");
    assert_all_gone(&home, &log.run, &pids);
}

#[test]
fn a_grandchild_that_holds_the_pipe_does_not_hold_the_run() {
    let home = Home::new();
    let mut server = home.server();
    let (_, mut log) = server.sh("(trap '' TERM HUP; exec setsid sleep 1000) & echo done");
    server.follow_to_end(&mut log);
    assert_eq!((log.stdout.as_slice(), log.end()["state"].as_str()), (b"done\n".as_slice(), Some("succeeded")));
    assert_eq!(home.tree(&log.run), Vec::new());
}

#[test]
fn a_grandchild_that_writes_for_ever_does_not_hold_the_run() {
    let home = Home::new();
    let mut server = home.server();
    let (_, mut log) = server.sh("(trap '' TERM HUP; exec setsid yes) & echo done >&2");
    server.follow_to_end(&mut log);
    assert_eq!((log.stderr.as_slice(), log.end()["state"].as_str()), (b"done\n".as_slice(), Some("succeeded")));
    assert_eq!(home.tree(&log.run), Vec::new());
}

#[test]
fn what_is_to_be_kept_is_spared_and_named() {
    let home = Home::new();
    let mut server = home.server();
    let daemon = home.path().join("the-daemon");
    std::fs::copy("/bin/sleep", &daemon).expect("a program");
    let script = format!("setsid '{}' 1000 >/dev/null 2>&1 </dev/null & sleep 1000 >/dev/null 2>&1 & echo $!", daemon.display());
    let (_, mut log) = server.start(json!({ "provider": "command", "command": sh(&script), "keep": ["the-daemon"] }));
    let run = server.follow_to_end(&mut log);
    let left = log.end()["left"].as_array().expect("what is left").clone();
    assert_eq!(left.len(), 1, "{left:?} of {run}");
    assert!(left[0]["command"].as_str().expect("a command").contains("the-daemon"));
    let pid = left[0]["pid"].as_u64().expect("a pid").try_into().expect("a pid");
    assert!(Process::is_alive(pid));
    let tree = home.tree(&log.run);
    assert_eq!(tree.iter().map(|process| process.pid).collect::<Vec<_>>(), [pid]);
    crate::harness::kill(pid);
}

#[test]
fn a_fork_bomb_of_a_kind_is_swept() {
    let home = Home::new();
    let mut server = home.server();
    // Each starts its successor in a new session and goes: whoever looks only once sees nothing but the last.
    let script =
        "cat > \"$0\" <<'E'\n#!/bin/sh\nsleep 0.01\nsetsid sh \"$0\" </dev/null >/dev/null 2>&1 &\nE\nsh \"$0\"; echo ready; sleep 1000";
    let path = home.path().join("successor").display().to_string();
    let (_, mut log) = server.start(json!({ "provider": "command", "command": ["sh", "-c", script, path] }));
    server.follow(&mut log, "the program is ready", |log| log.stdout == b"ready\n");
    server.cancel(&log.run);
    assert_eq!(home.tree(&log.run), Vec::new());
    server.follow_to_end(&mut log);
    until("nothing comes back", || home.tree(&log.run).is_empty().then_some(()));
}
