//! The run that the client is in, those around it and those in it are left out.

use serde_json::{Value, json};

use crate::harness::{Home, sh};

/// The answers of a `loomd mcp` that runs in a run, after a script, to the calls of these tools. `$L` is loomd, `$MCP` the command that
/// is given the calls.
fn asked_within_a_run(home: &Home, script: &str, before: &str, calls: &[Value]) -> (String, Vec<String>) {
    let mut server = home.server();
    let client = json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": { "name": "t", "version": "1" } });
    let mut messages = format!("{}\n", json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": client }));
    for (number, call) in calls.iter().enumerate() {
        messages += &format!("{}\n", json!({ "jsonrpc": "2.0", "id": number + 1, "method": "tools/call", "params": call }));
    }
    let file = home.file("messages", messages.as_bytes());
    let loomd = format!("{} --data-dir {}", env!("CARGO_BIN_EXE_loomd"), home.data().display());
    // The input stays open until the last answer has come.
    let script = format!(
        "L='{loomd}'; {script}\n(cat {file}; until grep -q '\"id\":{}' out; do :; done) | {before} $L mcp --all >out; cat out",
        calls.len()
    );
    let (_, mut log) = server.start(json!({ "provider": "command", "command": sh(&script), "cwd": home.path() }));
    let run = server.follow_to_end(&mut log);
    assert_eq!(run["state"], "succeeded", "{}", String::from_utf8_lossy(&log.stderr));
    let answers: Vec<Value> = String::from_utf8_lossy(&log.stdout).lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let text = |id: usize| {
        let answer = answers.iter().find(|answer| answer["id"] == id).unwrap_or_else(|| panic!("no answer {id}: {answers:#?}"));
        answer["result"]["content"][0]["text"].as_str().expect("a text").to_owned()
    };
    (log.run.clone(), (1..=calls.len()).map(text).collect())
}

#[test]
fn a_client_in_a_run_does_not_find_that_run_nor_those_around_it_or_in_it() {
    // By its ancestors alone, where an agent gives its MCP servers another environment; and by the mark.
    for before in ["", "env -i"] {
        let home = Home::new();
        let mut server = home.server();
        let (_, mut other) = server.sh("echo needle of another run");
        server.follow_to_end(&mut other);
        let calls = [json!({ "name": "search_runs", "arguments": { "query": "needle" } }), json!({ "name": "list_runs", "arguments": {} })];
        let script = "echo needle of my own; $L run --detach -- echo needle inside; \
            until $L list --state succeeded --json | grep -q '\"needle\",\"inside\"'; do :; done";
        let (own, answers) = asked_within_a_run(&home, script, before, &calls);
        for text in &answers {
            assert!(text.contains(&other.run), "{text}");
            assert!(!text.contains(&own) && !text.contains("needle inside"), "{text}");
        }
        // Outside, all are found.
        let mut client = super::mcp(&home, &["--all"]);
        let all = super::tool(&mut client, "search_runs", json!({ "query": "needle inside" }));
        assert!(all.contains("needle inside") && all.contains(&own), "{all}");
    }
}

#[test]
fn a_run_inside_of_a_run_says_so() {
    let home = Home::new();
    let mut server = home.server();
    let loomd = format!("{} --data-dir {}", env!("CARGO_BIN_EXE_loomd"), home.data().display());
    let (_, mut log) =
        server.start(json!({ "provider": "command", "command": sh(&format!("{loomd} run --json -- true")), "cwd": home.path() }));
    server.follow_to_end(&mut log);
    let runs = server.call("run/list", json!({}))["runs"].clone();
    let inner = runs.as_array().expect("runs").iter().find(|run| run["id"] != json!(log.run)).expect("the inner run").clone();
    assert_eq!(inner["enclosingRunIds"], json!([log.run]), "{inner:#}");
    assert!(server.get(&log.run).get("enclosingRunIds").is_none());
}
