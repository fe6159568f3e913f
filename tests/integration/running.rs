//! A run from its first output to its final state.

use serde_json::{Value, json};

use crate::harness::{Gate, Home, sh};

#[test]
fn output_is_seen_while_the_program_still_runs() {
    let home = Home::new();
    let mut server = home.server();
    let mut gate = Gate::new(home.path(), "gate");
    let (run, mut log) = server.sh(&format!("echo first; {}; echo second", gate.wait()));
    server.follow(&mut log, "the first output", |log| log.stdout == b"first\n");
    let now = server.get(&log.run);
    assert_eq!((&now["state"], &now["pid"]), (&json!("running"), &run["pid"]));
    assert!(now["pid"].is_u64());
    gate.open();
    server.follow_to_end(&mut log);
    assert_eq!(log.stdout, b"first\nsecond\n");
}

#[test]
fn the_end_says_how_it_ended() {
    let home = Home::new();
    let mut server = home.server();
    let cases = [
        ("exit 0", "succeeded", json!(0), Value::Null),
        ("exit 3", "failed", json!(3), Value::Null),
        ("kill -9 $$", "failed", Value::Null, json!("SIGKILL")),
        ("kill -SEGV $$", "failed", Value::Null, json!("SIGSEGV")),
    ];
    for (script, state, code, signal) in cases {
        let (_, mut log) = server.sh(script);
        server.follow_to_end(&mut log);
        let end = log.end();
        assert_eq!((end["state"].as_str(), &end["exitCode"], &end["signal"]), (Some(state), &code, &signal), "{script}: {end}");
    }
}

#[test]
fn a_run_that_takes_too_long_times_out() {
    let home = Home::new();
    let mut server = home.server();
    let command = sh("while :; do echo tick; sleep 0.02; done");
    let (_, mut log) = server.start(json!({ "provider": "command", "command": command, "timeoutMs": 300 }));
    server.follow_to_end(&mut log);
    assert_eq!(log.end()["state"], "timedOut");
    home.wait_until_swept(&log.run);
}

#[test]
fn a_silent_run_times_out() {
    let home = Home::new();
    let mut server = home.server();
    let command = sh("echo word; sleep 1000");
    let (_, mut log) = server.start(json!({ "provider": "command", "command": command, "idleTimeoutMs": 300 }));
    server.follow_to_end(&mut log);
    assert_eq!((log.end()["state"].as_str(), log.stdout.as_slice()), (Some("timedOut"), b"word\n".as_slice()));
    home.wait_until_swept(&log.run);
}

#[test]
fn limits_hold_without_a_server() {
    let home = Home::new();
    let mut server = home.server();
    let command = sh("trap '' TERM; echo ready; while :; do sleep 0.02; done");
    let (_, log) = server.start(json!({ "provider": "command", "command": command, "timeoutMs": 500 }));
    server.kill();
    crate::harness::until("the run is over, with no server alive", || home.processes().is_empty().then_some(()));
    let mut server = home.server();
    assert_eq!(server.get(&log.run)["state"], "timedOut");
}

#[test]
fn a_run_that_writes_too_much_is_cancelled() {
    let home = Home::new();
    let mut server = home.server();
    let command = sh("yes out & yes err >&2");
    let (_, mut log) = server.start(json!({ "provider": "command", "command": command, "maxOutputBytes": 100_000 }));
    let run = server.follow_to_end(&mut log);
    assert_eq!((&run["state"], &run["error"]["kind"]), (&json!("cancelled"), &json!("outputLimit")));
    assert!(log.stdout.len() + log.stderr.len() >= 100_000);
    home.wait_until_swept(&log.run);
}

#[test]
fn a_limit_that_is_just_kept_is_kept() {
    let home = Home::new();
    let mut server = home.server();
    let command = sh("head -c 60000 /dev/zero; head -c 40000 /dev/zero >&2");
    let (_, mut log) = server.start(json!({ "provider": "command", "command": command, "maxOutputBytes": 100_000 }));
    server.follow_to_end(&mut log);
    assert_eq!(log.end()["state"], "succeeded");
}

#[test]
fn the_streams_stay_apart() {
    let home = Home::new();
    let mut server = home.server();
    let (_, mut log) = server.sh("i=0; while [ $i -lt 500 ]; do echo out $i; echo err $i >&2; i=$((i+1)); done");
    server.follow_to_end(&mut log);
    let lines = |word: &str| (0..500).map(|number| format!("{word} {number}\n")).collect::<String>();
    assert_eq!(String::from_utf8(log.stdout).expect("text"), lines("out"));
    assert_eq!(String::from_utf8(log.stderr).expect("text"), lines("err"));
}

#[test]
fn a_run_without_output_has_its_two_states() {
    let home = Home::new();
    let mut server = home.server();
    let (_, mut log) = server.start(json!({ "provider": "command", "command": ["true"] }));
    let run = server.follow_to_end(&mut log);
    assert_eq!(run["bytes"], json!({ "stdout": 0, "stderr": 0 }));
    let states: Vec<_> = log.states.iter().map(|state| state["state"].as_str().expect("a state")).collect();
    assert_eq!((states, log.seq), (vec!["running", "succeeded"], 2));
    assert_eq!(server.call("run/text", json!({ "runId": log.run }))["text"], "");
}

#[test]
fn what_was_finished_is_sealed_and_reads_the_same() {
    let home = Home::new();
    let mut server = home.server();
    let (_, mut log) = server.sh("seq 1 20000; seq 1 5000 >&2; printf '\\377\\376 no text'");
    server.follow_to_end(&mut log);
    let before = server.read_all(&log.run, 1 << 20);
    crate::harness::until("the run is sealed", || home.run_directories().is_empty().then_some(()));
    assert_eq!(server.read_all(&log.run, 1 << 20), before);
    assert_eq!(server.read_log(&log.run).stdout, log.stdout);
    let run = server.get(&log.run);
    assert!(run.get("transcript").is_none(), "{run}");
    assert_eq!(run["durableSeq"], run["lastSeq"]);
    drop(server);
    let mut server = home.server();
    assert_eq!(server.read_all(&log.run, 1 << 20), before);
    assert_eq!(server.get(&log.run), run);
}

#[test]
fn the_transcript_grows_where_people_can_see_it() {
    let home = Home::new();
    let mut server = home.server();
    let mut gate = Gate::new(home.path(), "gate");
    let (_, mut log) = server.sh(&format!("echo seen; {}", gate.wait()));
    server.follow(&mut log, "output", |log| log.stdout == b"seen\n");
    let path = server.get(&log.run)["transcript"].as_str().expect("a path").to_owned();
    let lines = std::fs::read_to_string(&path).expect("the transcript");
    let entries: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("a line is an entry")).collect();
    assert_eq!(entries, server.read_all(&log.run, 1 << 20));
    gate.open();
    server.follow_to_end(&mut log);
}
