//! How many system calls a line costs. Counts, so that no slow machine matters.

use std::fs;

use serde_json::json;

use crate::harness::{Home, Log, id, sh};

const LINES: u64 = 50;

/// The reads of files and pipes that a process has made. Those of sockets are not among them.
fn read_calls(pid: u32) -> u64 {
    let io = fs::read_to_string(format!("/proc/{pid}/io")).expect("a process");
    io.lines().find_map(|line| line.strip_prefix("syscr: ")).expect("a count").parse().expect("a number")
}

#[test]
fn a_line_of_a_program_is_one_read_of_its_pipe() {
    let home = Home::new();
    let mut server = home.server();
    let params = json!({ "provider": "command", "command": sh("while read line; do echo $line; done"), "interactive": true });
    let run = server.call("run/start", params)["run"].clone();
    let mut log = Log::of(id(&run));
    let mut expected = String::new();
    let mut write_line = |server: &mut crate::harness::Server, log: &mut Log| {
        server.call("run/send", json!({ "runId": log.run, "text": "line\n" }));
        expected.push_str("line\n");
        server.follow(log, "the line", |log| log.stdout == expected.as_bytes());
    };
    write_line(&mut server, &mut log);
    let supervisor = home.supervisor(run["pid"].as_u64().expect("a pid").try_into().expect("a pid"));
    let before = read_calls(supervisor);
    for _ in 0..LINES {
        write_line(&mut server, &mut log);
    }
    let reads = read_calls(supervisor) - before;
    assert!(reads <= LINES + LINES / 2, "{reads} reads for {LINES} lines");
    server.call("run/closeInput", json!({ "runId": log.run }));
    server.follow_to_end(&mut log);
}
