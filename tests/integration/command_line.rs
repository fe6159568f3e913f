//! The commands of the command line. Each is a client of the protocol, so they show what the protocol says.

use std::{
    io::{BufRead, BufReader},
    process::{Command, Output, Stdio},
};

use serde_json::{Value, json};

use crate::harness::{Gate, Home, Log, interrupt, isolated, quit, sh, until};

fn command(home: &Home) -> Command {
    let mut command = isolated(Command::new(env!("CARGO_BIN_EXE_loomd")), home);
    command.env("LOOMD_DATA_DIR", home.data()).stdin(Stdio::null());
    command
}

fn loomd(home: &Home, arguments: &[&str]) -> Output {
    command(home).args(arguments).output().expect("loomd starts")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

fn list(home: &Home) -> Vec<Value> {
    let output = loomd(home, &["list", "--json"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    // Accepts one object a line, and one document with all of them.
    let values = serde_json::Deserializer::from_slice(&output.stdout).into_iter::<Value>().map(|value| value.expect("JSON"));
    values.flat_map(|value| value["runs"].as_array().or(value.as_array()).cloned().unwrap_or_else(|| vec![value])).collect()
}

#[test]
fn run_passes_output_and_exit_code_on() {
    let home = Home::new();
    let output = loomd(&home, &["run", "--", "sh", "-c", "echo out; echo err >&2; printf '\\377'; exit 7"]);
    assert_eq!(output.status.code(), Some(7), "{}", text(&output.stderr));
    assert_eq!(output.stdout, b"out\n\xff");
    assert!(text(&output.stderr).contains("err\n"), "{}", text(&output.stderr));
    assert!(!text(&output.stderr).contains('\u{1b}'), "colors without a terminal");
    let runs = list(&home);
    assert_eq!((runs.len(), &runs[0]["state"], &runs[0]["exitCode"]), (1, &json!("failed"), &json!(7)));
}

#[test]
fn run_says_what_it_cannot_start() {
    let home = Home::new();
    let output = loomd(&home, &["run", "--", "no-such-program-anywhere"]);
    assert!(!output.status.success());
    assert!(text(&output.stderr).contains("no-such-program-anywhere"), "{}", text(&output.stderr));
    assert_eq!(list(&home), Vec::<Value>::new());
}

#[test]
fn run_takes_a_directory_and_a_time_limit() {
    let home = Home::new();
    let directory = home.path().display().to_string();
    let output = loomd(&home, &["run", "--cwd", &directory, "--", "pwd", "-P"]);
    assert_eq!(text(&output.stdout).trim(), home.path().canonicalize().expect("a path").display().to_string());
    let output = loomd(&home, &["run", "--timeout", "1s", "--", "sleep", "1000"]);
    assert!(!output.status.success());
    assert_eq!(list(&home)[0]["state"], "timedOut");
}

#[test]
fn a_detached_run_is_found_again() {
    let home = Home::new();
    let mut gate = Gate::new(home.path(), "gate");
    let script = format!("echo one; {}; echo two", gate.wait());
    let output = loomd(&home, &["run", "--detach", "--", "sh", "-c", &script]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let run = text(&output.stdout).split_whitespace().next().expect("the run's id").to_owned();
    assert_eq!(list(&home)[0]["id"], run);
    let mut server = home.server();
    server.get_until(&run, "the first output", |run| run["bytes"]["stdout"] == 4);
    let logs = loomd(&home, &["logs", &run]);
    assert_eq!(text(&logs.stdout), "one\n");

    let mut follow = command(&home).args(["logs", "-f", &run]).stdout(Stdio::piped()).spawn().expect("loomd starts");
    let mut lines = BufReader::new(follow.stdout.take().expect("a pipe")).lines();
    assert_eq!(lines.next().expect("a line").expect("text"), "one");
    gate.open();
    assert_eq!(lines.next().expect("a line").expect("text"), "two");
    assert!(lines.next().is_none());
    follow.wait().expect("it ends");
    assert_eq!(text(&loomd(&home, &["logs", "--tail", "1", &run]).stdout), "two\n");
}

#[test]
fn cancel_ends_a_run() {
    let home = Home::new();
    let mut server = home.server();
    let (_, mut log) = server.sh("echo ready; sleep 1000");
    server.follow(&mut log, "the program is ready", |log| log.stdout == b"ready\n");
    let output = loomd(&home, &["cancel", &log.run]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    server.follow_to_end(&mut log);
    assert_eq!(log.end()["state"], "cancelled");
}

#[test]
fn a_run_outlives_the_terminal_that_started_it() {
    let home = Home::new();
    let mut gate = Gate::new(home.path(), "gate");
    let mut server = home.server();
    let script = format!("echo ready; {}; echo went on", gate.wait());
    let mut run = command(&home).args(["run", "--", "sh", "-c", &script]).stdout(Stdio::piped()).spawn().expect("loomd starts");
    let mut lines = BufReader::new(run.stdout.take().expect("a pipe")).lines();
    assert_eq!(lines.next().expect("a line").expect("text"), "ready");
    run.kill().expect("the terminal goes");
    run.wait().expect("it is gone");
    gate.open();
    let runs = server.call("run/list", json!({}))["runs"].clone();
    let mut log = Log::of(runs[0]["id"].as_str().expect("an id"));
    server.attach(&log);
    server.follow_to_end(&mut log);
    assert_eq!(log.stdout, b"ready\nwent on\n");
}

#[test]
fn the_first_ctrl_c_interrupts_and_the_second_cancels() {
    let home = Home::new();
    let script = "trap 'echo caught' INT; echo ready; while :; do sleep 0.02; done";
    let mut run = command(&home).args(["run", "--", "sh", "-c", script]).stdout(Stdio::piped()).spawn().expect("loomd starts");
    let mut lines = BufReader::new(run.stdout.take().expect("a pipe")).lines();
    assert_eq!(lines.next().expect("a line").expect("text"), "ready");
    interrupt(run.id());
    assert_eq!(lines.next().expect("a line").expect("text"), "caught");
    assert_eq!(list(&home)[0]["state"], "running");
    interrupt(run.id());
    let status = until("loomd run ends", || run.try_wait().expect("a child"));
    assert!(!status.success());
    assert_eq!(list(&home)[0]["state"], "cancelled");
}

#[test]
fn ctrl_backslash_detaches() {
    let home = Home::new();
    let mut gate = Gate::new(home.path(), "gate");
    let script = format!("echo ready; {}; echo went on", gate.wait());
    let mut run = command(&home).args(["run", "--", "sh", "-c", &script]).stdout(Stdio::piped()).spawn().expect("loomd starts");
    let mut lines = BufReader::new(run.stdout.take().expect("a pipe")).lines();
    assert_eq!(lines.next().expect("a line").expect("text"), "ready");
    quit(run.id());
    until("loomd run ends", || run.try_wait().expect("a child"));
    let runs = list(&home);
    assert_eq!(runs[0]["state"], "running");
    gate.open();
    let output = loomd(&home, &["attach", runs[0]["id"].as_str().expect("an id")]);
    assert!(text(&output.stdout).ends_with("went on\n"), "{output:?}");
    assert_eq!(list(&home)[0]["state"], "succeeded");
}

#[test]
fn schema_prints_what_is_committed() {
    let home = Home::new();
    let page = |name: &str| std::fs::read(format!("{}/docs/{name}", env!("CARGO_MANIFEST_DIR"))).expect("a page");
    assert_eq!(text(&loomd(&home, &["schema"]).stdout), text(&page("protocol.schema.json")));
    assert_eq!(text(&loomd(&home, &["schema", "--markdown"]).stdout), text(&page("protocol.md")));
    assert!(!home.data().exists(), "to print a schema makes no store");
}

#[test]
fn doctor_says_what_is_where() {
    let home = Home::new();
    let output = loomd(&home, &["doctor"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains(&home.data().display().to_string()), "{}", text(&output.stdout));
    assert!(text(&output.stdout).contains(env!("CARGO_PKG_VERSION")));

    let damaged = Home::new();
    std::fs::create_dir(damaged.data()).expect("a directory");
    std::fs::write(damaged.data().join("loomd.redb"), "no store").expect("damage");
    let output = loomd(&damaged, &["doctor"]);
    let output_text = format!("{}{}", text(&output.stdout), text(&output.stderr));
    assert!(output_text.contains("loomd.redb"), "{output_text}");
    assert!(!output.status.success());
}

#[test]
fn a_bad_configuration_or_store_exits_with_2() {
    let home = Home::new();
    let output = loomd(&home, &["--config", "/no/such/file.toml", "list"]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("/no/such/file.toml"));
    std::fs::write(home.data(), "a file").expect("a file");
    let output = loomd(&home, &["list"]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains(&home.data().display().to_string()));
}

#[test]
fn the_example_of_the_reference_works() {
    let home = Home::new();
    let messages = [
        json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": { "protocolVersion": 1 } }),
        json!({ "jsonrpc": "2.0", "id": 2, "method": "run/start", "params": { "provider": "command", "command": ["echo", "hello"] } }),
    ];
    let [initialize, start] = messages.map(|message| message.to_string());
    let gate = Gate::new(home.path(), "gate");
    let script = format!("(echo '{initialize}'; echo '{start}'; {}) | '{}'", gate.wait(), env!("CARGO_BIN_EXE_loomd"));
    let mut shell = isolated(Command::new("sh"), &home);
    let words = sh(&script);
    let mut shell = shell.args(&words[1..]).env("LOOMD_DATA_DIR", home.data()).stdout(Stdio::piped()).spawn().expect("a shell");
    let mut gate = gate;
    let lines = BufReader::new(shell.stdout.take().expect("a pipe")).lines();
    let mut seen = Vec::new();
    for line in lines {
        let message: Value = serde_json::from_str(&line.expect("text")).expect("a line is a message");
        let is_end = message["params"]["state"] == "succeeded";
        seen.push(message);
        if is_end {
            gate.open();
        }
    }
    assert!(seen.iter().any(|message| message["params"]["text"] == "hello\n"), "{seen:?}");
    until("the shell ends", || shell.try_wait().expect("a child"));
}
