//! Rare interleavings, forced: a process stops or dies at a named point of the code.

use serde_json::{Value, json};

use crate::harness::{Gate, Home, Log, Process, Server, id, kill, resume, sh, until};

fn stands_still(pid: u32) -> bool {
    Process::of(pid).is_some_and(|process| process.state == 'T')
}

/// The supervisor that a seam has stopped.
fn stopped_supervisor(home: &Home, server: &Server) -> u32 {
    let others = || home.processes().into_iter().filter(|process| process.pid != server.pid());
    until("the supervisor stops at its seam", || others().find(|process| process.state == 'T').map(|process| process.pid))
}

fn start_params(script: &str) -> Value {
    json!({ "provider": "command", "command": sh(script) })
}

fn assert_nothing_is_there(home: &Home, server: &mut Server) {
    assert_eq!(server.call("run/list", json!({}))["runs"], json!([]));
    until("what was begun is removed", || home.run_directories().is_empty().then_some(()));
    until("only the server is left", || (home.processes().len() == 1).then_some(()));
}

/// A run whose supervisor was killed while no server lived.
fn orphan(home: &Home) -> Log {
    let gate = Gate::new(home.path(), "orphan-gate");
    let mut server = home.server();
    let (run, mut log) = server.sh(&format!("setsid sleep 1000 & echo shown; {}", gate.wait()));
    server.follow(&mut log, "output", |log| log.stdout == b"shown\n");
    let supervisor = home.supervisor(run["pid"].as_u64().expect("a pid").try_into().expect("a pid"));
    server.kill();
    kill(supervisor);
    log
}

/// A finished run that no server has sealed.
fn unsealed(home: &Home) -> Log {
    let mut gate = Gate::new(home.path(), "unsealed-gate");
    let mut server = home.server();
    let (_, mut log) = server.sh(&format!("seq 1 3000; {}", gate.wait()));
    server.follow(&mut log, "output", |log| log.stdout.ends_with(b"\n3000\n"));
    server.kill();
    gate.open();
    until("the supervisor is gone", || home.processes().is_empty().then_some(()));
    assert_eq!(home.run_directories().len(), 1, "nobody was there to seal it");
    log
}

/// Asserts that the run exists once, whole, with one final state, and wholly in the store.
fn assert_sealed_once(home: &Home, server: &mut Server, log: &mut Log) {
    server.get_until(&log.run, "the run is final", |run| run["endedAt"].is_u64());
    if !log.is_final() {
        server.attach(log);
        server.follow_to_end(log);
    }
    until("the run is sealed", || home.run_directories().is_empty().then_some(()));
    let kept = server.read_log(&log.run);
    assert_eq!((kept.stdout, kept.seq, kept.states), (log.stdout.clone(), log.seq, log.states.clone()));
    assert_eq!(server.call("store/stats", json!({}))["entries"], log.seq);
    assert_eq!(server.call("run/list", json!({}))["runs"].as_array().expect("runs").len(), 1);
}

#[test]
fn killed_between_intent_and_spawn() {
    let home = Home::new();
    let mut server = home.setup().seam("start.intent=kill").start();
    server.send_request("run/start", start_params("echo never"));
    server.wait();
    assert_nothing_is_there(&home, &mut home.server());
}

#[test]
fn a_server_that_starts_between_intent_and_spawn() {
    let home = Home::new();
    let mut server = home.setup().seam("start.intent=stop").start();
    let request = server.send_request("run/start", start_params("echo whole"));
    until("the server stops at its seam", || stands_still(server.pid()).then_some(()));
    // A run that is being started belongs to its server: the other one neither lists it nor sweeps it.
    let mut other = home.server();
    assert_eq!(other.call("run/list", json!({}))["runs"], json!([]));
    resume(server.pid());
    let run = server.wait_response(request).expect("a run")["run"].clone();
    let mut log = Log::of(id(&run));
    server.follow_to_end(&mut log);
    assert_eq!(log.stdout, b"whole\n");
}

#[test]
fn a_supervisor_killed_between_spawn_and_rename() {
    let home = Home::new();
    let mut server = home.setup().seam("supervise.spawned=kill").start();
    server.expect_failure("run/start", start_params("setsid sleep 1000 & sleep 1000"));
    assert_nothing_is_there(&home, &mut server);
}

#[test]
fn everybody_killed_between_spawn_and_rename() {
    let home = Home::new();
    let mut server = home.setup().seam("supervise.spawned=stop").start();
    server.send_request("run/start", start_params("setsid sleep 1000 & sleep 1000"));
    let supervisor = stopped_supervisor(&home, &server);
    server.kill();
    kill(supervisor);
    assert_nothing_is_there(&home, &mut home.server());
}

#[test]
fn a_server_that_starts_while_a_supervisor_starts() {
    let home = Home::new();
    let mut server = home.setup().seam("supervise.spawned=stop").start();
    let request = server.send_request("run/start", start_params("echo whole"));
    let supervisor = stopped_supervisor(&home, &server);
    let mut other = home.server();
    assert_eq!(other.call("run/list", json!({}))["runs"], json!([]));
    let (_, mut theirs) = other.sh("echo theirs");
    other.follow_to_end(&mut theirs);
    resume(supervisor);
    let mut log = Log::of(id(&server.wait_response(request).expect("a run")["run"]));
    server.follow_to_end(&mut log);
    assert_eq!(log.stdout, b"whole\n");
}

#[test]
fn the_server_killed_while_its_supervisor_starts() {
    let home = Home::new();
    let mut server = home.setup().seam("supervise.spawned=stop").start();
    server.send_request("run/start", start_params("echo whole"));
    let supervisor = stopped_supervisor(&home, &server);
    server.kill();
    let mut server = home.server();
    resume(supervisor);
    // The supervisor is alive. Either the run takes place, or the supervisor gives up because no server waits for its
    // reply, and then nothing is left of it.
    until("the run ends or is given up", || {
        let runs = server.call("run/list", json!({}))["runs"].clone();
        let runs = runs.as_array().expect("runs");
        let given_up = runs.is_empty() && home.processes().len() == 1 && home.run_directories().is_empty();
        let ended = runs.len() == 1 && runs[0]["state"] == "succeeded";
        (given_up || ended).then_some(())
    });
}

#[test]
fn a_supervisor_killed_after_the_rename() {
    let home = Home::new();
    let mut server = home.setup().seam("supervise.renamed=kill").start();
    let answer = server.request("run/start", start_params("setsid sleep 1000 & sleep 1000"));
    // Whatever the response was, it is true: a run that was announced exists and is lost, and one that failed to start
    // does not.
    match answer {
        Ok(answer) => {
            let run = server.get_until(id(&answer["run"]), "the run is lost", |run| run["endedAt"].is_u64());
            assert_eq!(run["state"], "lost");
        }
        Err(_) => until("the run is not listed as alive", || {
            let runs = server.call("run/list", json!({}))["runs"].clone();
            runs.as_array().expect("runs").iter().all(|run| run["state"] == "lost").then_some(())
        }),
    }
    until("the tree is swept", || (home.processes().len() == 1).then_some(()));
}

#[test]
fn a_supervisor_killed_between_append_and_wake_up() {
    for count in [1, 2, 5] {
        let home = Home::new();
        let mut server = home.setup().seam(&format!("log.appended=kill@{count}")).start();
        let mut gate = Gate::new(home.path(), "gate");
        let Ok(answer) = server.request("run/start", start_params(&gate.echo())) else {
            assert_nothing_is_there(&home, &mut server);
            continue;
        };
        let mut log = Log::of(id(&answer["run"]));
        for number in 0..5 {
            gate.send(&format!("word {number}"));
            server.follow(&mut log, "a word, or the end", |log| log.stdout_text().lines().count() > number || log.is_final());
            if log.is_final() {
                break;
            }
        }
        server.follow_to_end(&mut log);
        assert_eq!(log.end()["state"], "lost");
        home.wait_until_swept(&log.run);
        assert_sealed_once(&home, &mut server, &mut log);
    }
}

#[test]
fn a_supervisor_stopped_between_append_and_wake_up() {
    let home = Home::new();
    let mut server = home.setup().seam("log.appended=stop@2").start();
    let mut gate = Gate::new(home.path(), "gate");
    let (_, mut log) = server.sh(&gate.echo());
    // The seam is passed once for each chunk of output.
    gate.send("word 0");
    server.follow(&mut log, "the first word", |log| log.stdout == b"word 0\n");
    gate.send("word 1");
    let supervisor = stopped_supervisor(&home, &server);
    // A client that attaches now reads what was appended, and gets the rest later.
    let mut late = home.server();
    let mut other = Log::of(&log.run);
    late.attach(&other);
    resume(supervisor);
    gate.send("end");
    server.follow_to_end(&mut log);
    late.follow_to_end(&mut other);
    assert_eq!(log.stdout, b"word 0\nword 1\n");
    assert_eq!(other.stdout, log.stdout);
}

#[test]
fn a_supervisor_killed_after_its_last_entry() {
    let home = Home::new();
    let mut server = home.setup().seam("supervise.final=kill").start();
    let (_, mut log) = server.sh("seq 1 100");
    server.follow_to_end(&mut log);
    assert_eq!(log.end()["state"], "succeeded");
    assert_sealed_once(&home, &mut server, &mut log);
}

/// A client goes on with another server after the last entry, which that server has sent nobody. It learns of the run's end by itself.
#[test]
fn a_client_that_has_the_last_entry_gets_it_no_second_time() {
    let home = Home::new();
    let mut first = home.setup().seam("supervise.final=stop").start();
    let (run, _) = first.sh("echo shown");
    let supervisor = stopped_supervisor(&home, &first);
    let log = first.read_log(id(&run));
    assert_eq!(log.end()["state"], "succeeded");
    first.kill();
    let mut second = home.server();
    second.attach(&log);
    resume(supervisor);
    until("the run is sealed", || home.run_directories().is_empty().then_some(()));
    second.get(&log.run);
    assert_eq!(second.entries_of(&log.run), Vec::<Value>::new());
}

#[test]
fn everybody_killed_after_the_last_entry() {
    let home = Home::new();
    let mut server = home.setup().seam("supervise.final=stop").start();
    let (run, log) = server.sh("seq 1 100");
    stopped_supervisor(&home, &server);
    home.kill_everything();
    drop(server);
    let mut server = home.server();
    let mut log = Log::of(&log.run);
    assert_sealed_once(&home, &mut server, &mut log);
    assert_eq!((log.end()["state"].as_str(), log.states.len()), (Some("succeeded"), 2), "{run}");
}

#[test]
fn a_server_killed_while_it_seals() {
    for seam in ["seal.begin=kill", "seal.committed=kill"] {
        let home = Home::new();
        let mut log = unsealed(&home);
        let mut server = home.setup().seam(seam).spawn();
        server.send_request("initialize", json!({ "protocolVersion": 1 }));
        server.wait();
        let mut server = home.server();
        assert_sealed_once(&home, &mut server, &mut log);
    }
}

#[test]
fn an_edit_while_a_run_is_sealed_is_kept() {
    for seam in ["seal.begin=stop", "seal.committed=stop", "seal.finished=stop", "seal.checked=stop"] {
        let home = Home::new();
        let log = unsealed(&home);
        let mut sealing = home.setup().seam(seam).spawn();
        sealing.send_request("initialize", json!({ "protocolVersion": 1 }));
        until("the server stops at its seam", || stands_still(sealing.pid()).then_some(()));
        let mut server = home.server();
        let edited = server.call("run/edit", json!({ "runId": log.run, "title": "new", "pinned": true }))["run"].clone();
        assert_eq!((&edited["title"], &edited["pinned"]), (&json!("new"), &json!(true)), "{seam}");
        resume(sealing.pid());
        until("the run is sealed", || home.run_directories().is_empty().then_some(()));
        let kept = server.get_until(&log.run, "the edit", |run| run["title"] == "new");
        assert_eq!(kept["pinned"], true, "{seam}");
        sealing.close_stdin();
        sealing.wait();
    }
}

#[test]
fn an_edit_is_seen_while_its_run_moves_into_the_store() {
    let home = Home::new();
    let log = unsealed(&home);
    let mut sealing = home.setup().seam("seal.finished=stop,seal.renamed=stop").spawn();
    sealing.send_request("initialize", json!({ "protocolVersion": 1 }));
    until("the server stops at its seam", || stands_still(sealing.pid()).then_some(()));
    let mut server = home.server();
    server.call("run/edit", json!({ "runId": log.run, "pinned": true }));
    resume(sealing.pid());
    until_renamed(&home, &log, &sealing);
    assert_eq!(server.get(&log.run)["pinned"], true);
    resume(sealing.pid());
    sealing.close_stdin();
    sealing.wait();
}

fn until_renamed(home: &Home, log: &Log, sealing: &Server) {
    let dir = home.data().join("runs").join(&log.run);
    until("the directory has its other name", || (!dir.exists() && stands_still(sealing.pid())).then_some(()));
}

#[test]
fn who_reads_a_run_before_its_last_edit_is_stored_hears_of_the_edit() {
    let home = Home::new();
    let log = unsealed(&home);
    let mut sealing = home.setup().seam("seal.checked=stop,seal.renamed=stop").spawn();
    sealing.send_request("initialize", json!({ "protocolVersion": 1 }));
    until("the server stops at its seam", || stands_still(sealing.pid()).then_some(()));
    home.server().call("run/edit", json!({ "runId": log.run, "pinned": true }));
    resume(sealing.pid());
    until_renamed(&home, &log, &sealing);
    let mut server = home.server();
    assert_eq!(server.get(&log.run)["pinned"], false, "the edit is not in the store yet");
    resume(sealing.pid());
    server.notification("run/changed", |changed| changed["run"]["pinned"] == true);
    sealing.close_stdin();
    sealing.wait();
}

#[test]
fn a_server_stopped_while_it_seals_holds_up_nobody() {
    for seam in ["seal.begin=stop", "seal.committed=stop"] {
        let home = Home::new();
        let mut log = unsealed(&home);
        let mut sealing = home.setup().seam(seam).spawn();
        sealing.send_request("initialize", json!({ "protocolVersion": 1 }));
        until("the server stops at its seam", || stands_still(sealing.pid()).then_some(()));
        let mut server = home.server();
        server.attach(&log);
        server.follow_to_end(&mut log);
        let kept = server.read_log(&log.run);
        assert_eq!(kept.stdout, log.stdout);
        let (_, mut other) = server.sh("echo other");
        server.follow_to_end(&mut other);
        resume(sealing.pid());
        until("both are sealed", || home.run_directories().is_empty().then_some(()));
        assert_eq!(server.read_log(&log.run).stdout, log.stdout);
        assert_eq!(server.call("store/stats", json!({}))["entries"], log.seq + other.seq);
    }
}

#[test]
fn two_servers_that_seal_the_same_run() {
    for seam in ["seal.begin=stop", "seal.committed=stop"] {
        let home = Home::new();
        let mut log = unsealed(&home);
        let mut sealing: Vec<_> = (0..2).map(|_| home.setup().seam(seam).spawn()).collect();
        for server in &mut sealing {
            server.send_request("initialize", json!({ "protocolVersion": 1 }));
        }
        // The second server may find that the first one seals the run, and leave it alone.
        until("one of them stops at its seam", || sealing.iter().any(|server| stands_still(server.pid())).then_some(()));
        let mut server = home.server();
        assert_eq!(server.get(&log.run)["state"], "succeeded");
        until("both have gone on", || {
            sealing.iter().for_each(|server| resume(server.pid()));
            home.run_directories().is_empty().then_some(())
        });
        assert_sealed_once(&home, &mut server, &mut log);
    }
}

#[test]
fn a_follower_reads_on_while_its_run_is_sealed_and_removed() {
    let home = Home::new();
    let mut follower = home.server();
    let mut other = home.server();
    let count = 400_000;
    let (_, mut log) = follower.sh(&format!("seq 1 {count}"));
    follower.follow(&mut log, "some output", |log| !log.stdout.is_empty());
    follower.stop_reading();
    other.get_until(&log.run, "the run ends", |run| run["state"] == "succeeded");
    until("its files are gone", || home.run_directories().is_empty().then_some(()));
    follower.resume_reading();
    follower.follow_to_end(&mut log);
    let expected: String = (1..=count).map(|number| format!("{number}\n")).collect();
    log.assert_stdout(expected.as_bytes());
}

#[test]
fn a_server_killed_while_it_adopts() {
    for seam in ["adopt.locked=kill", "adopt.swept=kill"] {
        let home = Home::new();
        let mut log = orphan(&home);
        let mut server = home.setup().seam(seam).spawn();
        server.send_request("initialize", json!({ "protocolVersion": 1 }));
        server.wait();
        let mut server = home.server();
        assert_sealed_once(&home, &mut server, &mut log);
        assert_eq!(log.end()["state"], "lost");
        home.wait_until_swept(&log.run);
    }
}

#[test]
fn a_run_that_is_being_adopted_is_never_shown_as_running() {
    for seam in ["adopt.locked=stop", "adopt.swept=stop"] {
        let home = Home::new();
        let mut log = orphan(&home);
        let mut adopting = home.setup().seam(seam).spawn();
        adopting.send_request("initialize", json!({ "protocolVersion": 1 }));
        until("the server stops at its seam", || stands_still(adopting.pid()).then_some(()));
        let mut server = home.server();
        assert_ne!(server.get(&log.run)["state"], "running");
        assert_ne!(server.call("run/list", json!({}))["runs"][0]["state"], "running");
        assert_eq!(server.read_log(&log.run).stdout, log.stdout);
        let (_, mut other) = server.sh("echo other");
        server.follow_to_end(&mut other);
        resume(adopting.pid());
        server.get_until(&log.run, "the run is lost", |run| run["state"] == "lost");
        server.attach(&log);
        server.follow_to_end(&mut log);
        home.wait_until_swept(&log.run);
    }
}

#[test]
fn two_servers_that_adopt_the_same_run() {
    let home = Home::new();
    let mut log = orphan(&home);
    let mut adopting: Vec<_> = (0..3).map(|_| home.setup().seam("adopt.locked=stop").spawn()).collect();
    for server in &mut adopting {
        server.send_request("initialize", json!({ "protocolVersion": 1 }));
    }
    until("one of them stops at its seam", || adopting.iter().any(|server| stands_still(server.pid())).then_some(()));
    let mut server = home.server();
    until("the run is closed", || {
        adopting.iter().for_each(|server| resume(server.pid()));
        Some(server.get(&log.run)).filter(|run| run["endedAt"].is_u64())
    });
    assert_sealed_once(&home, &mut server, &mut log);
    assert_eq!(log.states.iter().filter(|state| state["state"] == "lost").count(), 1);
}

#[test]
fn a_run_that_ends_before_its_start_is_answered_is_reported_all_the_same() {
    let home = Home::new();
    let mut other = home.server();
    let mut server = home.setup().seam("start.answering=stop").start();
    let request = server.send_request("run/start", json!({ "provider": "command", "command": ["true"], "attach": false }));
    let run = other.notification("run/state", |state| state["state"] == "succeeded")["runId"].clone();
    until("the server stops at its seam", || stands_still(server.pid()).then_some(()));
    resume(server.pid());
    assert_eq!(server.wait_response(request).expect("it started")["run"]["id"], run);
    let last = server.notification("run/state", |state| state["runId"] == run && state["state"] == "succeeded");
    assert_eq!(last["exitCode"], 0);
}

#[test]
fn a_run_that_starts_while_a_client_is_being_initialized_is_notified() {
    let home = Home::new();
    let mut server = home.server();
    let mut other = home.setup().seam("watch.begin=stop").start();
    until("the other server stops at its seam", || stands_still(other.pid()).then_some(()));
    let (run, _) = server.start(json!({ "provider": "command", "command": ["sleep", "1000"] }));
    resume(other.pid());
    other.notification("run/changed", |params| params["run"]["id"] == run["id"]);
    server.cancel(id(&run));
}

#[test]
fn an_edit_before_a_server_is_connected_to_the_supervisor_is_notified() {
    let home = Home::new();
    let mut server = home.server();
    let (run, log) = server.start(json!({ "provider": "command", "command": ["sleep", "1000"] }));
    let mut other = home.setup().seam("link.connect=stop").capabilities(json!({ "watch": false })).start();
    let request = other.send_request("run/attach", json!({ "runId": log.run, "afterSeq": log.seq }));
    until("the other server stops at its seam", || stands_still(other.pid()).then_some(()));
    server.call("run/edit", json!({ "runId": id(&run), "title": "new" }));
    resume(other.pid());
    other.wait_response(request).expect("attached");
    other.notification("run/changed", |params| params["run"]["title"] == "new");
    server.cancel(id(&run));
}

#[test]
fn a_server_killed_among_runs_that_it_seals_together() {
    for seam in ["seal.begin=kill@3", "seal.committed=kill@1", "seal.renamed=kill@3"] {
        let home = Home::new();
        let mut server = home.setup().seam(seam).start();
        let mut gate = Gate::new(home.path(), "gate");
        let logs: Vec<Log> = (0..5).map(|number| server.sh(&format!("{}; echo {number}", gate.wait())).1).collect();
        logs.iter().for_each(|_| gate.open());
        server.wait();
        let mut server = home.server();
        let assert_whole = |server: &mut Server| {
            for (number, log) in logs.iter().enumerate() {
                server.get_until(&log.run, "the run has ended", |run| run["state"] == "succeeded");
                server.read_log(&log.run).assert_stdout(format!("{number}\n").as_bytes());
            }
        };
        assert_whole(&mut server);
        until("all are sealed", || home.run_directories().is_empty().then_some(()));
        assert_whole(&mut server);
    }
}
