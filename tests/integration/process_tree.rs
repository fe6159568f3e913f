//! When a run is over, no process of its tree is left.

use serde_json::json;

use crate::harness::{Gate, Home, Process, sh, until};

/// A script that leaves children behind in every way that escapes from a process group or a session.
const LEFTOVERS: &str = "
    sleep 1001 &
    setsid sleep 1002 &
    (setsid sh -c 'sleep 1003 >/dev/null 2>&1 </dev/null &' &)
    sh -c 'trap \"\" TERM INT HUP; exec setsid sh -c \"while :; do sleep 0.05; done\"' >/dev/null 2>&1 &
    (setsid sh -c 'trap \"\" TERM HUP; cd /; exec sleep 1004' >/dev/null 2>&1 </dev/null &) &
    set -m 2>/dev/null
    (exec sleep 1005) >/dev/null &
";

fn wait_for_leftovers(home: &Home, run: &str) -> Vec<u32> {
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
    let (_, mut log) = server.sh(&format!("{LEFTOVERS}\necho ready; {}", gate.wait()));
    let pids = wait_for_leftovers(&home, &log.run);
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
    let (_, mut log) = server.sh(&format!("{LEFTOVERS}\ntrap '' TERM; while :; do sleep 0.05; done"));
    let pids = wait_for_leftovers(&home, &log.run);
    server.cancel(&log.run);
    assert_all_gone(&home, &log.run, &pids);
    server.follow_to_end(&mut log);
}

#[test]
fn after_a_program_that_dies_of_a_signal() {
    let home = Home::new();
    let mut server = home.server();
    let mut gate = Gate::new(home.path(), "gate");
    let (_, mut log) = server.sh(&format!("{LEFTOVERS}\n{}; kill -9 $$", gate.wait()));
    let pids = wait_for_leftovers(&home, &log.run);
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
fn processes_to_be_kept_are_spared_and_named() {
    let home = Home::new();
    let mut server = home.server();
    let daemon = home.path().join("the-daemon");
    std::fs::copy("/bin/sleep", &daemon).expect("a program");
    // A process is known by its executable, so the script ends once the daemon has become one.
    let script = format!(
        "setsid '{}' 1000 >/dev/null 2>&1 </dev/null & until readlink /proc/$!/exe | grep -q the-daemon; do :; done; sleep 1000 >/dev/null 2>&1 & echo $!",
        daemon.display()
    );
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
    // Each process starts its successor in a new session and exits, so a single look at the process list finds only the
    // last one.
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

#[test]
fn a_daemon_that_the_sweep_ended_is_named() {
    let home = Home::new();
    let mut server = home.server();
    let daemon = home.path().join("my-daemon");
    std::fs::copy("/bin/sleep", &daemon).expect("copied");
    let script = format!(
        "sleep 1000 >/dev/null 2>&1 & setsid '{}' 1000 >/dev/null 2>&1 </dev/null & until readlink /proc/$!/exe | grep -q my-daemon; do :; done",
        daemon.display()
    );
    let (_, mut log) = server.sh(&script);
    server.follow_to_end(&mut log);
    let notices = log.updates("notice");
    assert_eq!(notices.len(), 1, "the other one is no daemon: {notices:?}");
    let text = notices[0].to_string();
    assert!(text.contains("Ended with the run: my-daemon") && text.contains("keep") && text.contains("1000"), "{text}");
    assert!(log.end().get("left").is_none());
    // A run that is canceled is to end with all that it has.
    let (_, mut log) = server.sh(&format!("{script}; echo ready; sleep 1000"));
    server.follow(&mut log, "it is ready", |log| log.stdout == b"ready\n");
    server.cancel(&log.run);
    server.follow_to_end(&mut log);
    assert_eq!(log.updates("notice").len(), 0);
}
