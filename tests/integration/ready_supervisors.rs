//! The supervisor that waits for a server's next run: when there is one, what it holds, and that a run which it gets is a run
//! like any other.

use std::{fs, os::unix::fs::MetadataExt};

use rustix::process::{Pid, Resource, prlimit};
use serde_json::json;

use crate::harness::{Home, Process, Server, id, kill, resume, sh, stop, until};

/// The supervisors that wait for runs of a server.
pub(crate) fn waiting(server: u32) -> Vec<u32> {
    let words = format!("supervise --ready {server:036} ");
    Process::all()
        .into_iter()
        .filter(|process| process.state != 'Z' && process.command.ends_with(&words))
        .map(|process| process.pid)
        .collect()
}

/// Waits until one is there.
fn wait_for_one(server: &Server) -> u32 {
    until("a supervisor waits", || waiting(server.pid()).first().copied())
}

/// Runs something to its end, so that a supervisor waits for the next run.
fn server_with_one_waiting(home: &Home) -> (Server, u32) {
    let mut server = home.server();
    let (_, mut log) = server.sh("echo first");
    server.follow_to_end(&mut log);
    let pid = wait_for_one(&server);
    (server, pid)
}

/// Starts a run that stays, and returns its id and its supervisor.
fn start_long_run(home: &Home, server: &mut Server) -> (String, u32) {
    let (run, mut log) = server.sh("echo up; exec sleep 1000");
    server.follow(&mut log, "output", |log| log.stdout == b"up\n");
    let program = run["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()).expect("a pid");
    (id(&run).to_owned(), home.supervisor(program))
}

#[test]
fn a_start_takes_the_supervisor_that_waits_and_another_one_takes_its_place() {
    let home = Home::new();
    let mut server = home.server();
    server.call("run/list", json!({}));
    assert!(waiting(server.pid()).is_empty(), "none before the first start");
    let (first, first_supervisor) = start_long_run(&home, &mut server);
    let ready = wait_for_one(&server);
    assert_ne!(ready, first_supervisor);
    let (second, supervisor) = start_long_run(&home, &mut server);
    assert_eq!(supervisor, ready, "the start took it");
    let process = Process::of(supervisor).expect("it lives");
    assert!(process.command.ends_with(&format!("loomd supervise {second} --ready ")), "its argv names its run: {}", process.command);
    assert_ne!(wait_for_one(&server), supervisor);
    assert_eq!(waiting(server.pid()).len(), 1);
    server.cancel(&first);
    server.cancel(&second);
}

#[test]
fn it_ends_with_its_server_however_that_ends() {
    let home = Home::new();
    let (server, ready) = server_with_one_waiting(&home);
    server.kill();
    until("it has ended", || (!Process::is_alive(ready)).then_some(()));
    let (server, ready) = server_with_one_waiting(&home);
    server.shut_down();
    until("it has ended", || (!Process::is_alive(ready)).then_some(()));
}

#[test]
fn it_holds_nothing_of_a_run() {
    let home = Home::new();
    let mut server = home.server();
    let params = json!({ "provider": "command", "command": sh("exec sleep 1000"), "env": { "ONLY_OF_THE_RUN": "1" } });
    let run = server.call("run/start", params)["run"].clone();
    let ready = Process::of(wait_for_one(&server)).expect("it lives");
    assert!(!ready.holds_open(home.path()), "it holds no file, lock or socket of a run");
    // Others than the superuser may not look.
    let descriptors = fs::read_dir(format!("/proc/{}/fd", ready.pid)).into_iter().flatten();
    let targets: Vec<_> = descriptors.filter_map(|descriptor| fs::read_link(descriptor.ok()?.path()).ok()).collect();
    let named = fs::read_to_string("/proc/net/unix").expect("a list");
    // Inode and path are its last columns.
    let named: Vec<_> = named.lines().filter_map(|line| line.split_once('/')?.0.split_whitespace().last().map(str::to_owned)).collect();
    for target in targets {
        let target = target.to_string_lossy();
        let is_named = named.iter().any(|inode| target == format!("socket:[{inode}]"));
        assert!(!is_named, "{target} is a socket that others can find");
    }
    assert_eq!((ready.variable("ONLY_OF_THE_RUN"), ready.variable("LOOMD_RUN_ID")), (None, None));
    assert_eq!(fs::metadata(format!("/proc/{}/environ", ready.pid)).expect("it lives").uid(), 0, "its memory is closed to its user");
    let session = |pid| Process::of(pid).expect("it lives").session;
    assert_ne!(session(ready.pid), session(server.pid()), "it is detached");
    server.cancel(id(&run));
}

/// What a run inherits is as it is when the run is started, not when its supervisor was.
#[test]
fn a_run_gets_the_limits_of_its_start() {
    let home = Home::new();
    let (mut server, ready) = server_with_one_waiting(&home);
    let pid = Pid::from_raw(server.pid().try_into().expect("a pid"));
    let before = rustix::process::getrlimit(Resource::Nofile);
    let changed = rustix::process::Rlimit { current: before.current.map(|limit| limit - 7), maximum: before.maximum };
    prlimit(pid, Resource::Nofile, changed).expect("set");
    let place = home.path().join("place");
    fs::create_dir(&place).expect("made");
    let script = "ulimit -n; umask; pwd; echo $NEW";
    let params = json!({ "provider": "command", "command": sh(script), "cwd": place, "env": { "NEW": "value" } });
    let (_, mut log) = server.start(params.clone());
    server.follow_to_end(&mut log);
    let expected = log.stdout_text();
    let lines: Vec<&str> = expected.lines().collect();
    assert_eq!(lines[0], changed.current.expect("a limit").to_string());
    assert_eq!(lines[2..], [place.to_str().expect("text"), "value"]);
    until("the one that was made under other limits is not used", || (!Process::is_alive(ready)).then_some(()));
    // And from one that is used a run gets the same.
    let ready = wait_for_one(&server);
    let (_, mut log) = server.start(params);
    server.follow_to_end(&mut log);
    assert_eq!(log.stdout_text(), expected);
    until("it was used", || (!Process::is_alive(ready)).then_some(()));
}

#[test]
fn one_that_is_stopped_or_dead_holds_up_no_start() {
    let home = Home::new();
    let (mut server, ready) = server_with_one_waiting(&home);
    kill(ready);
    let (_, mut log) = server.sh("echo second");
    server.follow_to_end(&mut log);
    let ready = until("another one waits", || waiting(server.pid()).into_iter().find(|pid| *pid != ready));
    stop(ready);
    let (run, mut log) = server.sh("echo third");
    server.follow_to_end(&mut log);
    assert_eq!(log.stdout, b"third\n");
    server.get_until(id(&run), "the run is sealed", |_| home.run_directories().is_empty());
    resume(ready);
    until("it has ended, for it was given up", || (!Process::is_alive(ready)).then_some(()));
}

/// A run's processes are known by their ancestors' argv, which a supervisor that waited has changed.
#[test]
fn a_server_in_the_tree_of_its_run_is_limited_by_it() {
    let home = Home::new();
    let (mut server, ready) = server_with_one_waiting(&home);
    let loomd = env!("CARGO_BIN_EXE_loomd");
    let script = format!("echo up; read line; env -u LOOMD_RUN_ID {loomd} --data-dir {} cancel {{}}", home.data().display());
    let (other, other_supervisor) = start_long_run(&home, &mut server);
    assert_eq!(other_supervisor, ready);
    let next = wait_for_one(&server);
    let params = json!({ "provider": "command", "command": sh(&script.replace("{}", &other)), "interactive": true });
    let (run, mut log) = server.start(params);
    server.follow(&mut log, "output", |log| log.stdout == b"up\n");
    assert_eq!(home.supervisor(run["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()).expect("a pid")), next);
    server.call("run/send", json!({ "runId": id(&run), "text": "go\n" }));
    let end = server.follow_to_end(&mut log);
    assert_eq!((&end["state"], server.get(&other)["state"].as_str()), (&json!("failed"), Some("running")), "{log:?}");
    server.cancel(&other);
}
