//! Supervisors in scopes of the user's systemd: a stand-in for `systemd-run` shows how it is called and that runs do not depend on
//! it; where the user's systemd answers, a run is in a scope of its own.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    process::{Command, Stdio},
};

use serde_json::json;

use crate::harness::{Home, Process, Server, Setup, id, isolated, kill, sh, until};

/// Notes its pid and arguments, and becomes the program behind `--`, as `systemd-run --scope` does.
const STAND_IN: &str = r#"echo "$$ $*" >> "$HOME/calls"; while [ "$1" != -- ]; do shift; done; shift; exec "$@""#;

/// A server whose configuration wants scopes, with this script as `systemd-run`.
fn setup(home: &Home, script: Option<&str>) -> Setup {
    fs::create_dir_all(home.path().join("config/loomd")).expect("made");
    home.file("config/loomd/config.toml", b"[supervisor]\nscope = \"systemd\"\n");
    let path = std::env::var("PATH").expect("a PATH");
    let Some(script) = script else { return home.setup() };
    fs::create_dir_all(home.path().join("bin")).expect("made");
    let file = home.file("bin/systemd-run", format!("#!/bin/sh\n{script}\n").as_bytes());
    fs::set_permissions(file, fs::Permissions::from_mode(0o755)).expect("changed");
    home.setup().env("PATH", &format!("{}:{path}", home.path().join("bin").display()))
}

/// The calls of the stand-in: its process and its arguments.
fn calls(home: &Home) -> Vec<(u32, String)> {
    let text = fs::read_to_string(home.path().join("calls")).unwrap_or_default();
    let calls = text.lines().filter_map(|line| line.split_once(' '));
    calls.map(|(pid, arguments)| (pid.parse().expect("a pid"), arguments.to_owned())).collect()
}

/// Starts a run that stays, and returns its id, its program and its supervisor.
fn start_long_run(home: &Home, server: &mut Server) -> (String, u32, u32) {
    let (run, mut log) = server.sh("echo up; exec sleep 1000");
    server.follow(&mut log, "output", |log| log.stdout == b"up\n");
    let program = run["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()).expect("a pid");
    (id(&run).to_owned(), program, home.supervisor(program))
}

#[test]
fn each_supervisor_gets_a_scope_and_its_run_is_like_any_other() {
    let home = Home::new();
    let mut server = setup(&home, Some(STAND_IN)).start();
    let (first, _, first_supervisor) = start_long_run(&home, &mut server);
    let (second, program, supervisor) = start_long_run(&home, &mut server);
    let calls = calls(&home);
    let call_of = |pid| &calls.iter().find(|(caller, _)| *caller == pid).expect("the supervisor was systemd-run before").1;
    let prefix = "--user --scope --collect --quiet --description=loomd: a supervisor and its run --unit=loomd-";
    let suffix = format!(" -- /proc/{0}/exe supervise --ready {0:036}", server.pid());
    let units = [first_supervisor, supervisor].map(|pid| call_of(pid).strip_prefix(prefix).and_then(|call| call.strip_suffix(&suffix)));
    let [Some(first_unit), Some(second_unit)] = units else { panic!("{calls:?}") };
    assert!(first_unit.parse::<uuid::Uuid>().is_ok() && first_unit != second_unit, "{units:?}");

    // Its ancestors tell what is in a run, whatever its environment says.
    let loomd = env!("CARGO_BIN_EXE_loomd");
    let script = format!("env -u LOOMD_RUN_ID {loomd} --data-dir {} cancel {first}", home.data().display());
    let (_, mut log) = server.start(json!({ "provider": "command", "command": sh(&script) }));
    assert_eq!(server.follow_to_end(&mut log)["state"], "failed", "{log:?}");
    assert_eq!(server.get(&first)["state"], "running");

    kill(supervisor);
    until("the program has ended with its supervisor", || (!Process::is_alive(program)).then_some(()));
    server.get_until(&second, "the run is closed", |run| run["state"] == "lost");
    server.cancel(&first);
    server.get_until(&first, "the run has ended", |run| run["state"] == "cancelled");
    server.shut_down();
    until("nothing is left", || home.processes().is_empty().then_some(()));
}

/// Starts a run under a `systemd-run` that makes no scope; the log says so.
fn falls_back(home: &Home, script: &str) -> Server {
    let log_file = home.path().join("server.log");
    let mut server = setup(home, Some(script)).arg("--log-file").arg(log_file.to_str().expect("text")).start();
    let (run, mut log) = server.sh("echo without");
    server.follow_to_end(&mut log);
    assert_eq!(log.stdout, b"without\n");
    server.get_until(id(&run), "the run is sealed", |_| home.run_directories().is_empty());
    assert!(!calls(home).is_empty(), "it was tried");
    let logged = fs::read_to_string(&log_file).expect("a log");
    assert!(logged.contains("WARN") && logged.contains("gave the supervisor no scope"), "{logged}");
    server
}

#[test]
fn without_a_systemd_of_the_user_a_run_starts_all_the_same() {
    let home = Home::new();
    falls_back(&home, r#"echo "$$ $*" >> "$HOME/calls"; exit 1"#).shut_down();
    // A report has the real line of the log.
    let mut report = isolated(Command::new(env!("CARGO_BIN_EXE_loomd")), &home);
    report.args(["doctor", "--report", "--log-file"]).arg(home.path().join("server.log"));
    let output = report.env("LOOMD_DATA_DIR", home.data()).stdin(Stdio::null()).output().expect("it starts");
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(text.contains("WARN loomd::runs::ready_supervisor: systemd gave the supervisor no scope"), "{text}");
}

/// It holds the control connection of a supervisor that never came, and nothing of the run.
#[test]
fn a_systemd_run_that_hangs_holds_nothing_of_a_run() {
    let home = Home::new();
    falls_back(&home, r#"echo "$$ $*" >> "$HOME/calls"; exec sleep 1000"#).shut_down();
    calls(&home).into_iter().filter(|(pid, _)| Process::is_alive(*pid)).for_each(|(pid, _)| kill(pid));
}

#[test]
fn where_the_users_systemd_answers_a_supervisor_and_its_run_are_in_a_scope() {
    let home = Home::new();
    let probe = ["--user", "--scope", "--collect", "--quiet", "--", "true"];
    let answers = Command::new("systemd-run").args(probe).stdin(Stdio::null()).stderr(Stdio::null()).status();
    if !answers.is_ok_and(|status| status.success()) {
        return println!("skipped: no systemd of this user answers here");
    }
    let mut server = setup(&home, None).start();
    let (run, program, supervisor) = start_long_run(&home, &mut server);
    let group = |pid: u32| {
        let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("it lives");
        text.lines().find(|line| line.contains("/loomd-")).map(|line| line.rsplit('/').next().unwrap_or_default().to_owned())
    };
    let scope = group(supervisor).expect("the supervisor is in a scope of loomd's");
    assert!(scope.ends_with(".scope") && group(program).as_ref() == Some(&scope), "{scope}");
    assert_eq!(group(server.pid()), None, "the server stays where it was");
    server.cancel(&run);
    server.get_until(&run, "the run has ended", |run| run["state"] == "cancelled");
    until("the scope is gone", || {
        let units = Command::new("systemctl").args(["--user", "list-units", "--all", "--plain", &scope]).output().expect("it starts");
        (!String::from_utf8_lossy(&units.stdout).contains(&scope)).then_some(())
    });
}
