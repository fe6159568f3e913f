//! Several servers on one data directory.

use serde_json::json;

use crate::harness::{Gate, Home, Log, Process, Server, id, resume, sh, stop, until};

#[test]
fn each_sees_the_runs_of_the_others() {
    for count in [2, 5] {
        let home = Home::new();
        let mut servers: Vec<_> = (0..count).map(|_| home.server()).collect();
        let mut gates: Vec<_> = (0..count).map(|number| Gate::new(home.path(), &format!("gate-{number}"))).collect();
        let mut ids = Vec::new();
        for (server, gate) in servers.iter_mut().zip(&gates) {
            let (run, _) = server.sh(&gate.echo());
            ids.insert(0, id(&run).to_owned());
        }
        for server in &mut servers {
            for run in &ids {
                assert_eq!(server.get(run)["state"], "running");
            }
            let list = server.call("run/list", json!({ "states": ["running"] }));
            let listed: Vec<_> = list["runs"].as_array().expect("runs").iter().map(|run| id(run).to_owned()).collect();
            assert_eq!(listed, ids);
        }
        // Every server follows every run.
        let mut logs: Vec<Vec<Log>> = Vec::new();
        for server in &mut servers {
            let mut followed = Vec::new();
            for run in &ids {
                let log = Log::of(run);
                server.attach(&log);
                followed.push(log);
            }
            logs.push(followed);
        }
        for round in 0..20 {
            gates.iter_mut().for_each(|gate| gate.send(&format!("round {round}")));
        }
        gates.iter_mut().for_each(|gate| gate.send("end"));
        let expected: String = (0..20).map(|round| format!("round {round}\n")).collect();
        for (server, followed) in servers.iter_mut().zip(&mut logs) {
            for log in followed {
                server.follow_to_end(log);
                assert_eq!(log.stdout_text(), expected);
            }
        }
    }
}

#[test]
fn each_steers_the_runs_of_the_others() {
    let home = Home::new();
    let (mut one, mut other) = (home.server(), home.server());
    let (run, mut log) = one.start(json!({ "provider": "command", "command": ["cat"], "interactive": true }));
    other.call("run/send", json!({ "runId": run["id"], "text": "from the other\n" }));
    one.follow(&mut log, "what the other sent", |log| log.stdout == b"from the other\n");
    other.call("run/closeInput", json!({ "runId": run["id"] }));
    one.follow_to_end(&mut log);
    let (run, mut log) = one.sh("trap 'echo caught' INT; echo ready; while :; do sleep 0.02; done");
    one.follow(&mut log, "the program is ready", |log| log.stdout == b"ready\n");
    other.call("run/interrupt", json!({ "runId": run["id"] }));
    one.follow(&mut log, "the interrupt", |log| log.stdout == b"ready\ncaught\n");
    assert_eq!(other.cancel(id(&run))["state"], "cancelled");
    one.follow_to_end(&mut log);
}

#[test]
fn watchers_are_notified_of_states_and_never_of_output() {
    let home = Home::new();
    let mut watcher = home.server();
    let mut deaf = home.setup().capabilities(json!({ "watch": false })).start();
    let mut server = home.server();
    let (run, mut log) = server.sh("seq 1 1000");
    server.follow_to_end(&mut log);
    let changed = watcher.notification("run/changed", |params| params["run"]["id"] == run["id"]);
    assert_eq!(changed["run"]["command"], run["command"]);
    watcher.notification("run/state", |state| state["runId"] == run["id"] && state["state"] == "succeeded");
    assert!(!watcher.notifications.iter().any(|(method, _)| method == "run/output"));
    server.call("run/edit", json!({ "runId": run["id"], "title": "edited" }));
    server.call("run/delete", json!({ "runId": run["id"] }));
    watcher.notification("run/deleted", |params| params["runIds"] == json!([run["id"]]));
    // By the end of a run of its own, notifications of the other run would have come.
    let (_, mut own) = deaf.sh("echo own");
    deaf.follow_to_end(&mut own);
    assert!(deaf.notifications.iter().all(|(_, params)| params["runId"] != run["id"] && params["run"]["id"] != run["id"]));
    assert!(!deaf.notifications.iter().any(|(method, _)| method == "run/deleted"));
}

#[test]
fn a_broadcast_comes_once() {
    let home = Home::new();
    let mut watcher = home.server();
    let mut server = home.server();
    for _ in 0..10 {
        let (_, mut log) = server.sh("echo one");
        server.follow_to_end(&mut log);
        // For a client that follows from the start, `follow_to_end` refuses repeats. This checks one that only watches.
        watcher.notification("run/state", |state| state["runId"] == log.run.as_str() && state["state"] == "succeeded");
        let known = watcher.get(&log.run)["lastSeq"].as_u64();
        let again: Vec<_> = watcher.entries_of(&log.run).into_iter().filter(|entry| entry["seq"].as_u64() >= known).collect();
        assert_eq!(again, Vec::<serde_json::Value>::new());
    }
}

/// A server hears each wake-up once, and a supervisor sends it once.
#[test]
fn a_server_has_one_connection_to_each_supervisor() {
    let home = Home::new();
    let (mut server, mut watcher) = (home.server(), home.server());
    // Both have everything that they need for a first run.
    let (_, mut log) = server.sh("echo first");
    server.follow_to_end(&mut log);
    watcher.notification("run/state", |state| state["runId"] == log.run.as_str() && state["state"] == "succeeded");
    let settled = |server: &Server, watcher: &Server| {
        // With the connection to the supervisor that waits for the next run.
        until("a supervisor waits", || (crate::ready_supervisors::waiting(server.pid()).len() == 1).then_some(()));
        [server.pid(), watcher.pid()].map(settled_sockets)
    };
    let before = settled(&server, &watcher);
    let runs: Vec<_> = (0..8)
        .map(|_| {
            let (run, mut log) = server.sh("trap : INT; echo up; while :; do sleep 1; done");
            server.follow(&mut log, "output", |log| log.stdout == b"up\n");
            watcher.notification("run/changed", |params| params["run"]["id"] == run["id"]);
            run
        })
        .collect();
    for run in &runs {
        // The answers come over the connections that are there.
        server.call("run/sync", json!({ "runId": run["id"] }));
        watcher.call("run/interrupt", json!({ "runId": run["id"] }));
    }
    let added: Vec<usize> = settled(&server, &watcher).iter().zip(before).map(|(now, before)| now - before).collect();
    assert_eq!(added, [runs.len(), runs.len()]);
    for run in &runs {
        server.cancel(run["id"].as_str().expect("an id"));
    }
}

/// How many sockets a process has, once that changes no more.
fn settled_sockets(pid: u32) -> usize {
    let (mut last, mut looks) = (0, 0);
    until("the sockets are the same for a while", || {
        let now = sockets(pid);
        looks = if now == last { looks + 1 } else { 0 };
        last = now;
        (looks == 20).then_some(now)
    })
}

/// How many sockets a process has.
fn sockets(pid: u32) -> usize {
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("a process of ours");
    let targets = descriptors.filter_map(|descriptor| std::fs::read_link(descriptor.ok()?.path()).ok());
    targets.filter(|target| target.to_string_lossy().starts_with("socket:")).count()
}

/// A whole run may begin, end, be sealed and have its log removed before a watcher looks.
#[test]
fn a_watcher_that_slept_through_a_whole_run_is_told_of_it_once() {
    let home = Home::new();
    let mut watcher = home.server();
    let mut server = home.server();
    let (_, mut first) = server.sh("echo first");
    server.follow_to_end(&mut first);
    watcher.notification("run/state", |state| state["runId"] == first.run.as_str() && state["state"] == "succeeded");
    until("everything is sealed", || home.run_directories().is_empty().then_some(()));
    until("all its threads sleep", || Process::threads_sleep(watcher.pid()).then_some(()));
    stop(watcher.pid());
    let (_, mut missed) = server.sh("echo missed");
    server.follow_to_end(&mut missed);
    until("everything is sealed", || home.run_directories().is_empty().then_some(()));
    resume(watcher.pid());
    let changed = watcher.notification("run/changed", |params| params["run"]["id"] == missed.run.as_str());
    assert_eq!(changed["run"]["state"], "succeeded");
    watcher.notification("run/state", |state| state["runId"] == missed.run.as_str() && state["state"] == "succeeded");
    // By the end of another run, repeats would have come.
    let (_, mut last) = server.sh("echo last");
    server.follow_to_end(&mut last);
    watcher.notification("run/state", |state| state["runId"] == last.run.as_str() && state["state"] == "succeeded");
    assert_eq!(watcher.entries_of(&missed.run), Vec::<serde_json::Value>::new());
    assert!(!watcher.notifications.iter().any(|(_, params)| params["run"]["id"] == missed.run.as_str()));
}

#[test]
fn a_stopped_server_delays_nobody() {
    let home = Home::new();
    let mut stopped = home.server();
    let (_, mut theirs) = stopped.sh("echo theirs; sleep 1000");
    stopped.follow(&mut theirs, "output", |log| log.stdout == b"theirs\n");
    // We do not stop the server within a write to the store: that would delay the other server's sealing, though no
    // request.
    stopped.call("store/prune", json!({ "keepRuns": 1000 }));
    until("all its threads sleep", || Process::threads_sleep(stopped.pid()).then_some(()));
    stop(stopped.pid());
    let mut server = home.server();
    let (_, mut log) = server.sh("seq 1 20000");
    server.follow_to_end(&mut log);
    until("the run is sealed", || (home.run_directories().len() == 1).then_some(()));
    assert_eq!(server.read_log(&log.run).stdout, log.stdout);
    assert_eq!(server.cancel(&theirs.run)["state"], "cancelled");
    server.call("run/delete", json!({ "runId": log.run }));
    resume(stopped.pid());
    stopped.follow_to_end(&mut theirs);
}

#[test]
fn servers_that_come_and_go_lose_nothing() {
    let home = Home::new();
    let mut servers: Vec<Server> = (0..3).map(|_| home.server()).collect();
    let mut all = Vec::new();
    for round in 0..12 {
        let place = round % 3;
        let (_, mut log) = servers[place].sh(&format!("seq 1 {}", 1000 * (round + 1)));
        if round % 2 == 0 {
            servers[place].follow_to_end(&mut log);
        }
        all.push(log);
        let old = std::mem::replace(&mut servers[place], home.server());
        if round % 3 == 0 { old.kill() } else { drop(old) }
    }
    let server = &mut servers[0];
    for (round, log) in all.iter_mut().enumerate() {
        server.get_until(&log.run, "the run ends", |run| run["state"] == "succeeded");
        let expected: String = (1..=1000 * (round + 1)).map(|number| format!("{number}\n")).collect();
        server.read_log(&log.run).assert_stdout(expected.as_bytes());
    }
    until("everything is sealed", || home.run_directories().is_empty().then_some(()));
    assert_eq!(server.call("store/stats", json!({}))["runs"], 12);
}

#[test]
fn a_run_may_be_deleted_while_another_server_follows_it() {
    let home = Home::new();
    let (mut one, mut other) = (home.server(), home.server());
    let (run, mut log) = one.start(json!({ "provider": "command", "command": sh("seq 1 200000") }));
    let mut theirs = Log::of(id(&run));
    other.attach(&theirs);
    other.follow(&mut theirs, "some output", |log| !log.stdout.is_empty());
    other.stop_reading();
    one.follow_to_end(&mut log);
    one.call("run/delete", json!({ "runId": run["id"] }));
    other.resume_reading();
    // What the other client still receives is in order and correct, and then it is notified of the deletion.
    other.notification("run/deleted", |params| params["runIds"] == json!([run["id"]]));
    for entry in other.entries_of(id(&run)) {
        theirs.push(&entry);
    }
    assert!(log.stdout.starts_with(&theirs.stdout));
}

#[test]
fn a_client_that_does_not_watch_is_notified_of_runs_it_is_attached_to() {
    let home = Home::new();
    let mut server = home.server();
    let mut other = home.setup().capabilities(json!({ "watch": false })).start();
    let (run, log) = server.start(json!({ "provider": "command", "command": ["sleep", "1000"] }));
    other.attach(&log);
    server.call("run/edit", json!({ "runId": id(&run), "title": "new" }));
    other.notification("run/changed", |params| params["run"]["title"] == "new");
    server.cancel(id(&run));
    server.call("run/delete", json!({ "runId": id(&run) }));
    other.notification("run/deleted", |params| params["runIds"] == json!([id(&run)]));
}

#[test]
fn every_snapshot_of_a_live_run_names_its_transcript() {
    let home = Home::new();
    let (mut server, mut other) = (home.server(), home.server());
    let (run, _) = server.start(json!({ "provider": "command", "command": ["sleep", "1000"] }));
    let transcript = server.get(id(&run))["transcript"].clone();
    assert!(transcript.as_str().is_some_and(|path| std::path::Path::new(path).is_file()), "{transcript}");
    assert_eq!(run["transcript"], transcript);
    assert_eq!(server.call("run/edit", json!({ "runId": id(&run), "title": "new" }))["run"]["transcript"], transcript);
    assert_eq!(other.notification("run/changed", |params| params["run"]["title"] == "new")["run"]["transcript"], transcript);
    server.cancel(id(&run));
}
