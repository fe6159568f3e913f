//! Bounds on what is kept and on what waits: titles, labels, `stdin`, answers that nobody reads; and what a supervisor shows of itself.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use serde_json::json;

use crate::harness::{Gate, Home, Process, Setup, id, isolated, sh, until};

#[test]
fn titles_and_labels_are_bounded_and_a_long_stdin_is_not_kept() {
    let home = Home::new();
    let mut server = home.server();
    let long = "x".repeat(5 << 10);
    let many: serde_json::Map<_, _> = (0..101).map(|number| (number.to_string(), json!("x"))).collect();
    for (field, members) in
        [("title", json!({ "title": long })), ("labels", json!({ "labels": { "a": long } })), ("labels", json!({ "labels": many }))]
    {
        let mut params = json!({ "provider": "command", "command": ["true"] });
        params.as_object_mut().expect("an object").extend(members.as_object().expect("an object").clone());
        assert_eq!(server.expect_failure("run/start", params).data["field"], field);
    }
    let (run, mut log) = server.start(json!({ "provider": "command", "command": ["wc", "-c"], "stdin": "y".repeat(2 << 20) }));
    server.follow_to_end(&mut log);
    assert_eq!(log.stdout_text().trim(), (2 << 20).to_string(), "the program gets all of it");
    let params = &server.get(id(&run))["params"];
    assert_eq!((params.get("stdin"), &params["stdinBytes"]), (None, &json!(2 << 20)));
    assert_eq!(server.expect_failure("run/edit", json!({ "runId": id(&run), "title": long })).data["field"], "title");
}

#[test]
fn a_client_that_reads_no_answer_is_read_no_further() {
    let home = Home::new();
    let mut command = Command::new(env!("CARGO_BIN_EXE_loomd"));
    command.arg("--data-dir").arg(home.data()).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut server = isolated(command, &home).spawn().expect("it starts");
    let mut stdin = server.stdin.take().expect("a pipe");
    rustix::fs::fcntl_setfl(&stdin, rustix::fs::OFlags::NONBLOCK).expect("set");
    let request = |number: u32| {
        let request = match number {
            0 => json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": { "protocolVersion": 1 } }),
            // The answer repeats the id.
            _ => json!({ "jsonrpc": "2.0", "id": format!("{number:04000}"), "method": "run/get", "params": { "runId": "x" } }),
        };
        format!("{request}\n")
    };
    let requests: String = (0..8000).map(request).collect();
    let mut left = requests.as_bytes();
    until("the server takes no more, or it has taken all", || {
        while let Ok(written) = stdin.write(left) {
            left = &left[written..];
            if left.is_empty() {
                break;
            }
        }
        // It sleeps with a full pipe before it: it waits for its client.
        let sleeps = Process::threads_sleep(server.id());
        let more = stdin.write(left).unwrap_or(0);
        left = &left[more..];
        (sleeps && more == 0).then_some(())
    });
    server.kill().expect("it is our child");
    server.wait().expect("it is our child");
    assert!(left.len() > 8 << 20, "only {} of {} bytes wait outside of the server", left.len(), requests.len());
}

/// The rights by which the superuser may look into every process.
const LOOKING: &str = "-sys_ptrace,-perfmon,-sys_admin";

#[test]
fn a_supervisors_memory_and_environment_are_for_nobody_to_read() {
    let is_root = rustix::process::getuid().is_root();
    let home = Home::new();
    let give_up = if is_root { format!("setpriv --bounding-set {LOOKING} --inh-caps {LOOKING}") } else { String::new() };
    let mut server = Setup::through_shell(&home, &format!("exec {give_up} \"$@\"")).start();
    let mut gate = Gate::new(home.path(), "gate");
    let (run, _) = server.start(json!({ "provider": "command", "command": sh(&gate.wait()), "env": { "SECRET": "value" } }));
    let program = u32::try_from(run["pid"].as_u64().expect("a pid")).expect("a pid");
    let supervisor = home.supervisor(program);
    let reads = |pid: u32, file: &str| {
        let script = format!("exec {give_up} head -c 1 /proc/{pid}/{file} >/dev/null 2>&1");
        Command::new("sh").args(["-c", &script]).status().expect("it starts").success()
    };
    assert!(reads(program, "environ"), "a program is as open as the user has it");
    assert!(!reads(supervisor, "environ") && !reads(supervisor, "maps"));
    assert!(reads(supervisor, "cmdline") && reads(supervisor, "stat"), "servers judge ancestry by these");
    gate.open();
    server.get_until(id(&run), "the end", |run| run["state"] == "succeeded");
}
