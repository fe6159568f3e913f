//! The tools of `--may-start`.

use serde_json::json;

use super::{mcp, refusal, tool};
use crate::{
    agents::{follow_to_turn_end, params_with},
    harness::Home,
};

fn started(text: &str) -> String {
    text.split(' ').nth(2).expect("an id").to_owned()
}

#[test]
fn a_command_is_started_followed_sent_to_and_canceled() {
    let home = Home::new();
    let mut client = mcp(&home, &["--may-start"]);
    let echo = started(&tool(&mut client, "start_command", json!({ "command": ["cat"], "interactive": true, "title": "an echo" })));
    assert_eq!(tool(&mut client, "send", json!({ "run": echo, "text": "one line" })), "Sent.");
    let mut read = || tool(&mut client, "tail_output", json!({ "run": echo }));
    crate::harness::until("the line", || read().contains("one line\n").then_some(()));
    assert!(tool(&mut client, "list_runs", json!({ "state": "live" })).contains("an echo"));
    assert!(tool(&mut client, "cancel_run", json!({ "run": echo })).contains("canceled"));
    assert!(
        refusal(&mut client, "send", json!({ "run": echo, "text": "more" })).contains("not running") || !home.path().join("x").exists()
    );
    let short = started(&tool(&mut client, "start_command", json!({ "command": ["sh", "-c", "pwd; exit 4"] })));
    assert!(tool(&mut client, "wait_run", json!({ "run": short })).contains("failed (exit code 4)"));
    assert!(tool(&mut client, "read_run", json!({ "run": short })).starts_with(&format!("{}\n", home.path().display())));
    // A run outlives the client that started it.
    let long = started(&tool(&mut client, "start_command", json!({ "command": ["sleep", "1000"] })));
    client.close_stdin();
    assert!(client.wait().success());
    let mut server = home.server();
    assert_eq!(server.get(&long)["state"], "running");
    server.cancel(&long);
}

#[test]
fn commands_start_below_the_directory_only() {
    let home = Home::new();
    let mut client = mcp(&home, &["--may-start"]);
    for cwd in ["/", "/tmp", "relative", &format!("{}/../..", home.path().display()), &format!("{}x", home.path().display())] {
        refusal(&mut client, "start_command", json!({ "command": ["touch", "made"], "cwd": cwd }));
    }
    let missing = refusal(&mut client, "start_command", json!({ "command": ["no-such-program"] }));
    assert!(missing.contains("no-such-program"), "{missing}");
    assert!(home.run_directories().is_empty());
}

#[test]
fn an_agent_is_sent_a_prompt() {
    let home = Home::new();
    let mut server = home.server();
    let (_, mut log) = server.start(params_with(&home, "say first", json!({ "interactive": true })));
    follow_to_turn_end(&mut server, &mut log, 1);
    let mut client = mcp(&home, &["--may-start"]);
    assert!(tool(&mut client, "wait_run", json!({ "run": log.run })).contains("is idle"));
    assert_eq!(tool(&mut client, "send", json!({ "run": log.run, "text": "say second" })), "Sent.");
    follow_to_turn_end(&mut server, &mut log, 2);
    assert!(log.text_of("agent_message_chunk").contains("second"));
    server.cancel(&log.run);
    server.follow_to_end(&mut log);
}
