//! How a connection begins and ends, and with which exit code.

use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::harness::{Home, Process, id, outcome, until};

#[test]
fn initialize_describes_the_server() {
    let home = Home::new();
    let mut server = home.setup().spawn();
    let answer = server.call("initialize", json!({ "protocolVersion": 1 }));
    assert_eq!(answer["protocolVersion"], 1);
    assert_eq!(answer["serverInfo"]["name"], "loomd");
    assert_eq!(answer["serverInfo"]["version"], env!("CARGO_PKG_VERSION"));
    assert!(answer["storePath"].as_str().expect("a path").starts_with(&home.data().display().to_string()));
    let command = answer["providers"].as_array().expect("a list").iter().find(|provider| provider["id"] == "command").expect("command");
    assert_eq!((&command["kind"], &command["available"]), (&json!("command"), &json!(true)));
    let methods = answer["capabilities"]["methods"].as_array().expect("a list");
    let mut documented: Vec<_> = loomd::model::METHODS.iter().map(|method| method.name).collect();
    documented.sort_unstable();
    assert_eq!(*methods, documented, "the server answers the methods of the reference and no others");
    assert_eq!(answer["capabilities"]["maxFrameBytes"], 64 << 20);
}

#[test]
fn another_version_is_answered_with_the_newest_that_is_spoken() {
    let home = Home::new();
    let mut server = home.setup().spawn();
    assert_eq!(server.call("initialize", json!({ "protocolVersion": 99 }))["protocolVersion"], 1);
}

#[test]
fn nothing_is_answered_before_initialize_or_after_shutdown() {
    let home = Home::new();
    let mut server = home.setup().spawn();
    for method in ["run/list", "shutdown", "no/such"] {
        assert_eq!(server.expect_failure(method, json!({})).code, -32002, "{method}");
    }
    server.call("initialize", json!({ "protocolVersion": 1 }));
    assert_eq!(server.expect_failure("initialize", json!({ "protocolVersion": 1 })).code, -32600);
    server.call("run/list", json!({}));
    assert_eq!(server.call("shutdown", Value::Null), Value::Null);
    for method in ["run/list", "shutdown", "initialize"] {
        assert_eq!(server.expect_failure(method, json!({})).code, -32600, "{method}");
    }
    server.notify("exit", Value::Null);
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn a_failed_initialize_can_be_tried_again() {
    let home = Home::new();
    let mut server = home.setup().spawn();
    assert_eq!(server.expect_failure("initialize", json!({})).code, -32602);
    server.call("initialize", json!({ "protocolVersion": 1 }));
}

#[test]
fn exit_without_shutdown_is_a_failure() {
    let home = Home::new();
    let mut server = home.server();
    server.notify("exit", Value::Null);
    assert_eq!(server.wait().code(), Some(1));
    let mut server = home.setup().spawn();
    server.notify("exit", Value::Null);
    assert_eq!(server.wait().code(), Some(1));
}

#[test]
fn shutdown_waits_until_what_has_ended_is_durable() {
    let home = Home::new();
    let mut server = home.server();
    let (_, mut log) = server.sh("head -c 300000 /dev/zero | tr '\\0' x");
    server.follow_to_end(&mut log);
    server.shut_down();
    let run = home.server().get(&log.run);
    assert_eq!(run["durableSeq"], run["lastSeq"]);
}

#[test]
fn the_end_of_stdin_ends_the_server() {
    let home = Home::new();
    let mut server = home.server();
    server.close_stdin();
    server.wait();
    let mut server = home.setup().spawn();
    server.close_stdin();
    server.wait();
}

#[test]
fn the_end_of_the_editor_ends_the_server() {
    let home = Home::new();
    let mut editor = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("an editor");
    let mut server = home.setup().spawn();
    server.call("initialize", json!({ "protocolVersion": 1, "processId": editor.id() }));
    editor.kill().expect("the editor dies");
    editor.wait().expect("the editor is gone");
    // The server's stdin is still open, so only the editor's end can be the reason that it exits.
    server.wait();
}

#[test]
fn an_editor_that_is_gone_already_ends_the_server() {
    let home = Home::new();
    let mut editor = Command::new("true").spawn().expect("an editor");
    let gone = editor.id();
    editor.wait().expect("the editor is gone");
    assert_eq!(Process::of(gone), None);
    let mut server = home.setup().spawn();
    server.send_request("initialize", json!({ "protocolVersion": 1, "processId": gone }));
    server.wait();
}

#[test]
fn a_null_process_id_is_none() {
    let home = Home::new();
    let mut server = home.setup().spawn();
    server.call("initialize", json!({ "protocolVersion": 1, "processId": null }));
    server.call("run/list", json!({}));
}

#[test]
fn ids_come_back_as_they_were() {
    let home = Home::new();
    let mut server = home.server();
    for id in [json!("text"), json!(-5), json!(9_007_199_254_740_991_u64)] {
        server.send(&json!({ "jsonrpc": "2.0", "id": id, "method": "run/list" }));
        let answer = server.next_unmatched();
        assert_eq!(answer["id"], id);
        outcome(&answer).expect("a list");
    }
}

#[test]
fn stderr_is_quiet() {
    let home = Home::new();
    let mut server = home.server();
    let (_, mut log) = server.sh("echo to-stderr >&2");
    server.follow_to_end(&mut log);
    server.expect_failure("run/get", json!({}));
    server.close_stdin();
    server.wait();
    until("the server's stderr is read", || Some(server.stderr()));
    assert_eq!(server.stderr(), "");
}

#[test]
fn a_shutdown_does_not_wait_for_the_batch_that_it_stands_in() {
    let home = Home::new();
    let mut server = home.server();
    let start = json!({ "provider": "command", "command": ["true"] });
    server.send(&json!([
        { "jsonrpc": "2.0", "id": 901, "method": "run/start", "params": start },
        { "jsonrpc": "2.0", "id": 902, "method": "shutdown" },
    ]));
    server.notify("exit", Value::Null);
    let answers = server.next_unmatched();
    let run = answers[0]["result"]["run"].clone();
    assert_eq!((&answers[0]["id"], &answers[1]), (&json!(901), &json!({ "jsonrpc": "2.0", "id": 902, "result": null })), "{answers}");
    assert_eq!(server.wait().code(), Some(0));
    home.server().get_until(id(&run), "its end", |run| run["state"] == "succeeded");
}

#[test]
fn what_was_asked_before_exit_is_done() {
    let home = Home::new();
    let (mut server, mut other) = (home.server(), home.server());
    let (run, _) = server.start(json!({ "provider": "command", "command": ["cat"], "interactive": true, "attach": false }));
    server.send_request("run/send", json!({ "runId": id(&run), "text": "last words" }));
    server.send_request("run/closeInput", json!({ "runId": id(&run) }));
    let shutdown = server.send_request("shutdown", Value::Null);
    server.notify("exit", Value::Null);
    server.wait_response(shutdown).expect("answered");
    assert_eq!(server.wait().code(), Some(0));
    let ended = other.get_until(id(&run), "its end", |run| run["state"] == "succeeded");
    assert_eq!(ended["bytes"]["stdout"], 10);

    let mut server = home.server();
    let (run, _) = server.start(json!({ "provider": "command", "command": ["sleep", "1000"], "attach": false }));
    server.send_request("run/cancel", json!({ "runId": id(&run) }));
    server.notify("exit", Value::Null);
    assert_eq!(server.wait().code(), Some(1));
    other.get_until(id(&run), "its end", |run| run["state"] == "cancelled");
}
