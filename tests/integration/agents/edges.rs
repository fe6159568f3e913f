//! Agents that misbehave: huge lines, exits within a line, silence, floods on stderr. Each run ends in the right state
//! and with a message that helps.

use std::fs;

use serde_json::{Value, json};

use super::{params, params_with, scripted};
use crate::harness::{Home, Process, until};

fn message(run: &Value) -> &str {
    run["error"]["message"].as_str().unwrap_or_else(|| panic!("no error: {run}"))
}

#[test]
fn a_huge_tool_result_is_reported_once_and_whole() {
    let home = Home::new();
    let mut server = home.server();
    let size = 20_000_000;
    let (_, mut log) = server.start(params(&home, &format!("tool execute {size}\nsay done")));
    let run = server.follow_to_end(&mut log);
    assert_eq!((&run["state"], log.tool_output().len()), (&json!("succeeded"), size));
    assert_eq!(log.tool_output(), &"0123456789abcde\n".repeat(size / 16 + 1)[..size]);
    let update_bytes: usize = log.events.iter().map(|entry| entry.to_string().len()).sum();
    assert!(update_bytes < size + size / 4, "{update_bytes} bytes of updates for {size} bytes of output");
    assert_eq!(log.text_of("agent_message_chunk"), "done");
    let again = server.read_log(&log.run);
    assert_eq!(again.events, log.events);
}

#[test]
fn an_extremely_long_line_is_output_and_breaks_nothing() {
    let home = Home::new();
    let mut server = home.server();
    let (_, mut log) = server.start(params(&home, "line 64000000\nsay done"));
    let run = server.follow_to_end(&mut log);
    assert_eq!((&run["state"], log.text_of("agent_message_chunk")), (&json!("succeeded"), "done".to_owned()));
    assert!(log.stdout.len() > 64_000_000, "every byte is kept");
    let notice = log.updates("notice").iter().map(ToString::to_string).collect::<String>();
    assert!(notice.contains("63999999 bytes"), "{notice}");
}

#[test]
fn an_agent_that_dies_within_a_line_fails_with_its_last_stderr() {
    let home = Home::new();
    let mut server = home.server();
    for (step, how) in [("half 3", "code 3"), ("exit 0", "code 0"), ("kill", "SIGKILL")] {
        let (_, mut log) = server.start(params(&home, &format!("stderr 10\nsay begun\n{step}")));
        let run = server.follow_to_end(&mut log);
        assert_eq!((&run["state"], &log.end()["stopReason"], &log.end()["turn"]), (&json!("failed"), &json!("error"), &json!(1)), "{step}");
        assert!(message(&run).contains(how) && message(&run).contains("the last excuse"), "{step}: {}", message(&run));
        assert_eq!(log.text_of("agent_message_chunk"), "begun");
    }
}

#[test]
fn a_flood_on_stderr_is_kept_and_its_end_is_reported() {
    let home = Home::new();
    let mut server = home.server();
    let (_, mut log) = server.start(params(&home, "stderr 5000000\nexit 1"));
    let run = server.follow_to_end(&mut log);
    assert!(log.stderr.len() > 5_000_000);
    assert!(
        message(&run).contains("the last excuse") && message(&run).len() < 4096 && !message(&run).contains('\u{1b}'),
        "{}",
        message(&run)
    );
}

#[test]
fn an_agent_that_never_answers_times_out() {
    let home = Home::new();
    let mut server = home.server();
    let command = scripted(&home, &["--silent", "--stay"]);
    let params = params_with(&home, "say hello", json!({ "command": command, "idleTimeoutMs": 500 }));
    let (_, mut log) = server.start(params);
    let run = server.follow_to_end(&mut log);
    assert_eq!((&run["state"], &run["error"]["kind"]), (&json!("timedOut"), &json!("timeout")));
    home.wait_until_swept(&log.run);
}

#[test]
fn an_agent_that_stays_after_its_last_turn_is_ended_and_has_succeeded() {
    let home = Home::new();
    let mut server = home.server();
    let command = scripted(&home, &["--stay"]);
    let (_, mut log) = server.start(params_with(&home, "spawn\nsay done", json!({ "command": command })));
    let run = server.follow_to_end(&mut log);
    assert_eq!((&run["state"], &log.end()["stopReason"]), (&json!("succeeded"), &json!("end_turn")));
    home.wait_until_swept(&log.run);
}

#[test]
fn what_an_agent_started_in_a_session_of_its_own_ends_with_the_run() {
    let home = Home::new();
    let mut server = home.server();
    let (_, mut log) = server.start(params(&home, "spawn\nsay begun\nwait"));
    server.follow(&mut log, "a beginning", |log| log.text_of("agent_message_chunk") == "begun");
    until("a command of the agent's", || home.tree(&log.run).into_iter().find(|process| process.command.starts_with("sleep")));
    server.cancel(&log.run);
    server.follow_to_end(&mut log);
    assert_eq!(log.end()["state"], "cancelled");
    home.wait_until_swept(&log.run);
}

#[test]
fn a_prompt_is_in_no_process_list() {
    let home = Home::new();
    let mut server = home.server();
    let secret = "say what-nobody-else-shall-read";
    let (_, mut log) = server.start(params(&home, &format!("{secret}\nwait")));
    server.follow(&mut log, "the words", |log| !log.text_of("agent_message_chunk").is_empty());
    for process in Process::all() {
        let environment = fs::read(format!("/proc/{}/environ", process.pid)).unwrap_or_default();
        let shown = format!("{} {}", process.command, String::from_utf8_lossy(&environment));
        assert!(!shown.contains("what-nobody-else-shall-read"), "{process:?}");
    }
    server.cancel(&log.run);
    server.follow_to_end(&mut log);
}

#[test]
fn an_agent_takes_no_stdin_and_no_terminal_from_a_client() {
    let home = Home::new();
    let mut server = home.server();
    for (more, field) in [(json!({ "stdin": "x" }), "stdin"), (json!({ "tty": true }), "tty")] {
        assert_eq!(server.expect_failure("run/start", params_with(&home, "say hello", more)).data["field"], field);
    }
}

#[test]
fn a_missing_agent_says_what_to_install() {
    let home = Home::new();
    let mut server = home.setup().env("PATH", "/nowhere").start();
    for provider in ["codex", "claude", "gemini", "opencode"] {
        let failure = server.expect_failure("run/start", json!({ "provider": provider, "prompt": "hello" }));
        let hint = failure.data["hint"].as_str().unwrap_or_default();
        assert!(failure.code == -32011 && hint.contains("install"), "{provider}: {failure:?}");
    }
    let providers = server.call("provider/list", json!({}))["providers"].clone();
    let codex = providers.as_array().expect("a list").iter().find(|provider| provider["id"] == "codex").expect("codex");
    assert!(codex["available"] == false && codex["reason"].as_str().is_some_and(|reason| reason.contains("install")), "{codex}");
}
