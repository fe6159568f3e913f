//! What every client of MCP relies on.

use serde_json::{Value, json};

use super::{mcp, spawn_mcp, tool};
use crate::harness::{Home, kill, until};

fn names(list: &Value) -> Vec<&str> {
    list["tools"].as_array().expect("tools").iter().map(|tool| tool["name"].as_str().expect("a name")).collect()
}

#[test]
fn a_client_gets_the_version_that_it_asks_for_or_the_newest() {
    let home = Home::new();
    for (asked, given) in [("2024-11-05", "2024-11-05"), ("2025-11-25", "2025-11-25"), ("2030-01-01", "2025-11-25")] {
        let mut server = spawn_mcp(&home, "/", &[]);
        assert_eq!(server.call("ping", json!({})), json!({}), "before initialize, too");
        let result = server
            .call("initialize", json!({ "protocolVersion": asked, "capabilities": {}, "clientInfo": { "name": "t", "version": "1" } }));
        assert_eq!(result["protocolVersion"], given);
        assert_eq!(result["serverInfo"]["name"], "loomd");
        assert!(result["capabilities"]["tools"].is_object() && result["capabilities"]["resources"].is_object(), "{result}");
        assert!(result["instructions"].as_str().is_some_and(|text| text.contains("never an instruction")), "{result}");
        assert_eq!(server.expect_failure("prompts/list", json!({})).code, -32601);
        server.close_stdin();
        assert!(server.wait().success());
    }
}

#[test]
fn without_may_start_every_tool_reads() {
    let home = Home::new();
    let mut server = mcp(&home, &[]);
    let list = server.call("tools/list", json!({}));
    let reading =
        ["search_runs", "list_runs", "runs_touching", "outline", "read_run", "run_changes", "tail_output", "wait_run", "resume_command"];
    assert_eq!(names(&list), reading);
    for tool in list["tools"].as_array().expect("tools") {
        assert_eq!((&tool["annotations"]["readOnlyHint"], &tool["inputSchema"]["type"]), (&json!(true), &json!("object")), "{tool}");
    }
    for name in ["start_command", "cancel_run", "send", "delete_run"] {
        let failure =
            server.expect_failure("tools/call", json!({ "name": name, "arguments": { "command": ["touch", "made"], "run": "0000" } }));
        assert!(failure.code == -32602 && failure.message.contains("no tool"), "{failure:?}");
    }
    assert!(!home.path().join("made").exists() && home.run_directories().is_empty());

    let mut starting = mcp(&home, &["--may-start"]);
    let list = starting.call("tools/list", json!({}));
    assert_eq!(names(&list), [&reading[..], &["start_command", "cancel_run", "send"]].concat());
    assert_eq!(list["tools"][9]["annotations"]["readOnlyHint"], false);
}

#[test]
fn runs_are_resources() {
    let home = Home::new();
    let mut server = home.server();
    let (_, mut log) = server.sh("echo made here");
    server.follow_to_end(&mut log);
    let mut client = mcp(&home, &["--all"]);
    let list = client.call("resources/list", json!({}));
    let uri = format!("loomd://run/{}", log.run);
    assert_eq!((list["resources"].as_array().map(Vec::len), &list["resources"][0]["uri"]), (Some(1), &json!(uri)), "{list}");
    assert!(client.call("resources/templates/list", json!({}))["resourceTemplates"][0]["uriTemplate"].is_string());
    let read = client.call("resources/read", json!({ "uri": uri }));
    assert!(
        read["contents"][0]["text"].as_str().is_some_and(|text| text.contains("echo made here") && text.contains("succeeded")),
        "{read}"
    );
    for missing in ["loomd://run/0198c0de-0000-7000-8000-000000000000", "loomd://other", "file:///etc/passwd"] {
        assert_eq!(client.expect_failure("resources/read", json!({ "uri": missing })).code, -32602, "{missing}");
    }
}

#[test]
fn wrong_arguments_are_told_to_the_model() {
    let home = Home::new();
    let mut client = mcp(&home, &[]);
    for (name, arguments, word) in [
        ("search_runs", json!({}), "query"),
        ("search_runs", json!({ "query": "" }), "query"),
        ("search_runs", json!({ "query": "(", "regex": true }), "query"),
        ("search_runs", json!({ "query": "x", "cursor": "y" }), "cursor"),
        ("list_runs", json!({ "since": "yesterday" }), "since"),
        ("list_runs", json!({ "cwd": "here" }), "cwd"),
        ("list_runs", json!({ "state": "asleep" }), "state"),
        ("list_runs", json!({ "unknown": 1 }), "unknown"),
        ("runs_touching", json!({ "path": "." }), "touched"),
        ("read_run", json!({ "run": "0198c0de-0000-7000-8000-000000000000" }), "0198c0de"),
        ("outline", json!({ "run": "zz" }), "zz"),
    ] {
        let text = super::refusal(&mut client, name, arguments.clone());
        assert!(text.contains(word) && !text.contains('\n'), "{name} {arguments}: {text}");
    }
}

#[test]
fn a_server_that_is_killed_is_replaced() {
    let home = Home::new();
    let mut client = mcp(&home, &[]);
    assert!(tool(&mut client, "list_runs", json!({})).contains("No run"));
    let servers = || home.processes().into_iter().filter(|process| process.command.contains("serve --stdio")).collect::<Vec<_>>();
    let before = servers();
    assert_eq!(before.len(), 1, "{before:?}");
    kill(before[0].pid);
    until("it is gone", || servers().is_empty().then_some(()));
    // The call that finds the broken connection may be told so; the next one is answered.
    let answered = |client: &mut _| super::answer(client, "list_runs", json!({})).0.contains("No run");
    assert!(answered(&mut client) || answered(&mut client));
    assert_ne!(servers()[0].pid, before[0].pid);
}
