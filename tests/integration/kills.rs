//! Kills of the server, of the supervisor and of everything: what was shown is still there, and no process is left.

use std::{fs, io::Write, time::Duration};

use serde_json::{Value, json};

use crate::harness::{Gate, Home, Log, Process, Server, descendants, id, kill, resume, stop, until};

fn lines(count: usize) -> String {
    (1..=count).map(|number| format!("line {number} of the run\n")).collect()
}

/// A program that writes this many numbered lines as fast as a shell can.
fn counting(count: usize) -> String {
    format!("i=0; while [ $i -lt {count} ]; do i=$((i+1)); echo \"line $i of the run\"; done")
}

fn pid(run: &Value) -> u32 {
    run["pid"].as_u64().expect("a pid").try_into().expect("a pid")
}

#[test]
fn the_next_server_goes_on_where_the_killed_one_was() {
    let home = Home::new();
    let count = 60_000;
    let mut server = home.server();
    let (_, mut log) = server.sh(&counting(count));
    for round in 1..=4 {
        server.follow(&mut log, "some more output", |log| log.stdout.len() > round * 200_000 || log.is_final());
        server.kill();
        server = home.server();
        server.attach(&log);
    }
    server.follow_to_end(&mut log);
    log.assert_stdout(lines(count).as_bytes());
    server.read_log(&log.run).assert_stdout(lines(count).as_bytes());
    assert_eq!(log.end()["state"], "succeeded");
}

#[test]
fn an_editor_that_kills_its_tree_finds_no_run_in_it() {
    let home = Home::new();
    let mut gate = Gate::new(home.path(), "gate");
    let mut server = home.server();
    let (run, mut log) = server.sh(&gate.wait());
    // A supervisor that will wait for the next run is below the server while it is being started; it has no run.
    until("nothing is left to be killed with the editor's tree", || descendants(server.pid()).is_empty().then_some(()));
    let supervisor = Process::of(home.supervisor(pid(&run))).expect("a supervisor");
    let ours = Process::of(server.pid()).expect("a server").session;
    assert_ne!(supervisor.session, ours, "the supervisor has a session of its own");
    if !rustix::process::getuid().is_root() {
        // What a supervisor has open is for the superuser to see.
        return gate.open();
    }
    let directory = fs::read_link(format!("/proc/{}/cwd", supervisor.pid)).expect("a directory");
    assert_eq!(directory.to_str(), Some("/"), "a supervisor holds no directory busy");
    for stream in 0..=2 {
        let file = fs::read_link(format!("/proc/{}/fd/{stream}", supervisor.pid)).expect("a stream");
        assert_eq!(file.to_str(), Some("/dev/null"), "stream {stream} of the supervisor");
    }
    gate.open();
    server.follow_to_end(&mut log);
}

#[test]
fn a_run_keeps_no_stream_of_the_editor_open() {
    let home = Home::new();
    let mut gate = Gate::new(home.path(), "gate");
    let mut server = home.server();
    let (_, mut log) = server.sh(&gate.wait());
    let pipes: Vec<_> = (0..=2).map(|stream| fs::read_link(format!("/proc/{}/fd/{stream}", server.pid())).expect("a pipe")).collect();
    let holds_one = |process: &Process| {
        let files = fs::read_dir(format!("/proc/{}/fd", process.pid)).into_iter().flatten().flatten();
        files.map(|entry| fs::read_link(entry.path()).unwrap_or_default()).any(|file| pipes.contains(&file))
    };
    // A supervisor that is being started holds all of the server's until it calls exec.
    until("no process but the server holds a stream of the editor", || {
        let mut others = home.processes().into_iter().filter(|process| process.pid != server.pid());
        (!others.any(|process| holds_one(&process))).then_some(())
    });
    server.kill();
    gate.open();
    let mut server = home.server();
    server.attach(&log);
    server.follow_to_end(&mut log);
}

#[test]
fn a_run_without_its_supervisor_is_lost() {
    let home = Home::new();
    let (mut server, mut other) = (home.server(), home.server());
    let gate = Gate::new(home.path(), "gate");
    let (run, mut log) = server.sh(&format!("(trap '' TERM; exec setsid sleep 1000) & echo shown; {}", gate.wait()));
    server.follow(&mut log, "output", |log| log.stdout == b"shown\n");
    let shown = server.call("run/read", json!({ "runId": log.run, "afterSeq": 0 }))["entries"].clone();
    kill(home.supervisor(pid(&run)));
    server.follow_to_end(&mut log);
    assert_eq!(log.end()["state"], "lost");
    home.wait_until_swept(&log.run);
    other.notification("run/state", |state| state["runId"] == run["id"] && state["state"] == "lost");
    let entries = server.read_all(&log.run, 1 << 20);
    assert_eq!(&entries[..shown.as_array().expect("a list").len()], shown.as_array().expect("a list"));
    assert_eq!(entries.len() as u64, log.seq);
    assert_eq!(other.read_all(&log.run, 1 << 20), entries);
}

#[test]
fn the_next_server_closes_a_run_whose_supervisor_died_without_a_server() {
    let home = Home::new();
    let gate = Gate::new(home.path(), "gate");
    let mut server = home.server();
    let (run, mut log) = server.sh(&format!("setsid sleep 1000 & echo shown; {}", gate.wait()));
    server.follow(&mut log, "output", |log| log.stdout == b"shown\n");
    let supervisor = home.supervisor(pid(&run));
    server.kill();
    kill(supervisor);
    let mut server = home.server();
    let found = server.get(&log.run);
    assert_ne!(found["state"], "running", "no run stays running without a process");
    server.get_until(&log.run, "the run is lost", |run| run["state"] == "lost");
    home.wait_until_swept(&log.run);
    server.attach(&log);
    server.follow_to_end(&mut log);
    assert_eq!(log.stdout, b"shown\n");
}

#[test]
fn kill_everything_now_and_then() {
    kill_everything(6);
}

#[test]
#[ignore = "slow: fifty rounds"]
fn kill_everything_fifty_times() {
    kill_everything(50);
}

fn kill_everything(rounds: usize) {
    let home = Home::new();
    let expected = lines(200_000);
    let mut logs: Vec<Log> = Vec::new();
    for round in 0..rounds {
        let mut server = home.server();
        let (_, mut log) = server.sh(&counting(200_000));
        // The moment of the kill depends on the round's number and is within the first hundreds of kilobytes.
        let far = blake3::hash(&round.to_le_bytes()).as_bytes().iter().take(2).fold(0, |sum, byte| sum * 256 + usize::from(*byte)) * 10;
        server.follow(&mut log, "output to be killed in", |log| log.stdout.len() > far || log.is_final());
        home.kill_everything();
        drop(server);
        assert!(expected.as_bytes().starts_with(&log.stdout), "round {round}");
        logs.push(log);
    }
    let mut server = home.server();
    for log in &mut logs {
        server.get_until(&log.run, "the run is final", |run| run["endedAt"].is_u64());
        let kept = server.read_log(&log.run);
        assert!(kept.stdout.starts_with(&log.stdout), "what was shown of {} is not there any more", log.run);
        assert!(expected.as_bytes().starts_with(&kept.stdout), "{} keeps what was never written", log.run);
        if !log.is_final() {
            server.attach(log);
            server.follow_to_end(log);
        }
        assert_eq!(log.stdout, kept.stdout);
    }
    until("everything is sealed", || home.run_directories().is_empty().then_some(()));
}

#[test]
fn a_torn_last_line_is_cut_and_nothing_else() {
    for torn in ["{\"kind\":\"output\",\"runId\":\"", "\u{0}\u{0}\u{0}\u{0}", "no entry at all\n", "{\"kind\":\"state\"}\n"] {
        let home = Home::new();
        let gate = Gate::new(home.path(), "gate");
        let mut server = home.server();
        let (_, mut log) = server.sh(&format!("seq 1 100; {}", gate.wait()));
        server.follow(&mut log, "output", |log| log.stdout.ends_with(b"\n100\n"));
        let transcript = server.get(&log.run)["transcript"].as_str().expect("a path").to_owned();
        home.kill_everything();
        drop(server);
        let mut file = fs::OpenOptions::new().append(true).open(transcript).expect("the transcript");
        file.write_all(torn.as_bytes()).expect("written");
        drop(file);
        let mut server = home.server();
        server.get_until(&log.run, "the run is lost", |run| run["state"] == "lost");
        server.attach(&log);
        server.follow_to_end(&mut log);
        assert_eq!(log.states.len(), 2, "after {torn:?}: {:?}", log.states);
    }
}

#[test]
fn a_stopped_supervisor_delays_nobody() {
    let home = Home::new();
    let mut server = home.server();
    let gate = Gate::new(home.path(), "gate");
    let (run, mut log) = server.sh(&format!("trap '' TERM; echo shown; {}", gate.wait()));
    server.follow(&mut log, "output", |log| log.stdout == b"shown\n");
    let supervisor = home.supervisor(pid(&run));
    stop(supervisor);
    assert_eq!(server.get(&log.run)["state"], "running");
    let (_, mut other) = server.sh("echo other");
    server.follow_to_end(&mut other);
    let mut second = home.server();
    assert_eq!(second.get(&log.run)["lastSeq"], log.seq);
    assert_eq!(second.read_log(&log.run).stdout, b"shown\n");
    // Requests that need the supervisor fail with a message that says what to do.
    for (method, params) in [("run/edit", json!({ "runId": log.run, "title": "t" })), ("run/interrupt", json!({ "runId": log.run }))] {
        assert!(second.expect_failure(method, params).message.contains("run/cancel"), "{method}");
    }
    // The supervisor does not answer, so the server kills it and closes its run.
    let answered = server.cancel(&log.run);
    server.follow_to_end(&mut log);
    assert_eq!((&answered["lastSeq"], &answered["endedAt"]), (&json!(log.seq), &log.end()["at"]), "the answer agrees with the log");
    assert!(!Process::is_alive(supervisor));
    home.wait_until_swept(&log.run);
}

#[test]
fn a_supervisor_that_was_only_asleep_goes_on() {
    let home = Home::new();
    let mut server = home.server();
    let mut gate = Gate::new(home.path(), "gate");
    let (run, mut log) = server.sh(&gate.echo());
    gate.send("before");
    server.follow(&mut log, "output", |log| log.stdout == b"before\n");
    let supervisor = home.supervisor(pid(&run));
    stop(supervisor);
    gate.send("meanwhile");
    server.get(&log.run);
    resume(supervisor);
    gate.send("end");
    server.follow_to_end(&mut log);
    assert_eq!((log.stdout.as_slice(), log.end()["state"].as_str()), (b"before\nmeanwhile\n".as_slice(), Some("succeeded")));
}

#[test]
fn a_loomd_inside_a_run_goes_with_it() {
    let home = Home::new();
    let mut server = home.server();
    let initialize = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": { "protocolVersion": 1 } });
    let start =
        json!({ "jsonrpc": "2.0", "id": 2, "method": "run/start", "params": { "provider": "command", "command": ["sleep", "1000"] } });
    let script = format!(
        "(echo '{initialize}'; echo '{start}'; exec sleep 1000) | '{}' --data-dir '{}'",
        env!("CARGO_BIN_EXE_loomd"),
        home.data().display()
    );
    let (outer, mut log) = server.sh(&script);
    let changed = server.notification("run/changed", |params| params["run"]["id"] != outer["id"]);
    let inner = id(&changed["run"]).to_owned();
    let program = pid(&server.get_until(&inner, "the inner run runs", |run| run["state"] == "running" && run["pid"].is_u64()));
    server.cancel(&log.run);
    server.follow_to_end(&mut log);
    until("the inner program is gone", || (!Process::is_alive(program)).then_some(()));
    let inner = server.get_until(&inner, "the inner run is final", |run| run["endedAt"].is_u64());
    // The signal reaches the inner supervisor and its program in no certain order, and the first one decides how the
    // run ends.
    let by_signal = inner["state"] == "failed" && inner["signal"] == "SIGTERM";
    assert!(by_signal || matches!(inner["state"].as_str(), Some("cancelled" | "lost")), "{inner}");
    until("only the server is left", || (home.processes().len() == 1).then_some(()));
}

#[test]
fn a_server_that_starts_while_runs_start() {
    let home = Home::new();
    let mut server = home.server();
    let mut requests = Vec::new();
    for number in 0..30 {
        let command = ["echo".to_owned(), number.to_string()];
        requests.push(server.send_request("run/start", json!({ "provider": "command", "command": command })));
        if number % 3 == 0 {
            let mut late = home.server();
            late.call("run/list", json!({}));
        }
    }
    for (number, request) in requests.into_iter().enumerate() {
        let run = server.wait_response(request).expect("a run")["run"].clone();
        let mut log = Log::of(id(&run));
        server.follow_to_end(&mut log);
        assert_eq!((log.stdout_text(), log.end()["state"].as_str()), (format!("{number}\n"), Some("succeeded")));
    }
}

#[test]
#[ignore = "slow: forty first starts"]
fn a_store_whose_creation_was_killed_opens_afterwards() {
    for round in 0..40_u64 {
        let home = Home::new();
        let server: Server = home.setup().spawn();
        // Not a wait for anything: the moments of a first start are gone through one by one.
        std::thread::sleep(Duration::from_micros(round * 500));
        home.kill_everything();
        drop(server);
        let mut server = home.server();
        let (_, mut log) = server.sh("echo whole");
        server.follow_to_end(&mut log);
        server.shut_down();
        assert_eq!(home.server().read_log(&log.run).stdout, b"whole\n");
    }
}
