//! An agent that was talked into something: its texts, titles, inputs and names are hostile, in every view of its run.

use std::{fs, os::unix::fs::PermissionsExt, process::Command};

use serde_json::{Value, json};

use crate::harness::{Home, Server, isolated};

const AGENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/odd_agents/agent.py");
const INPUTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/hostile");
const FORMATS: [&str; 5] = ["text", "markdown", "html", "jsonl", "asciicast"];

/// A hostile text from tests/hostile, with its `\u{…}` as characters.
fn input(name: &str) -> String {
    let text = fs::read_to_string(format!("{INPUTS}/{name}")).expect("the input");
    let mut parts = text.split("\\u{");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (code, rest) = part.split_once('}').expect("a code");
        out.push(char::from_u32(u32::from_str_radix(code, 16).expect("a number")).expect("a character"));
        out.push_str(rest);
    }
    out
}

/// Runs an agent that sends these updates, and follows its run to its end.
fn run_of(home: &Home, updates: &[Value]) -> (Server, String) {
    let send = |message: Value| json!(["send", message]);
    let answer = |id: &str, result: Value| send(json!({ "jsonrpc": "2.0", "id": format!("$id:{id}"), "result": result }));
    let mut steps = vec![json!(["take", "initialize"])];
    steps.push(answer("initialize", json!({ "protocolVersion": 1, "agentInfo": { "name": "odd" }, "agentCapabilities": {} })));
    steps.push(json!(["take", "session/new"]));
    steps.push(answer("session/new", json!({ "sessionId": "s" })));
    steps.push(json!(["take", "session/prompt"]));
    steps.extend(
        updates
            .iter()
            .map(|update| send(json!({ "jsonrpc": "2.0", "method": "session/update", "params": { "sessionId": "s", "update": update } }))),
    );
    steps.push(answer("session/prompt", json!({ "stopReason": "end_turn" })));
    let script: String = steps.iter().map(|step| format!("{step}\n")).collect();
    let script = home.file("script.jsonl", script.as_bytes());
    let agent = home.file("agent", format!("#!/bin/sh\nexec python3 -B '{AGENT}' '{script}'\n").as_bytes());
    fs::set_permissions(&agent, fs::Permissions::from_mode(0o755)).expect("it is ours");
    let mut server = home.server();
    let params = json!({ "provider": "acp", "command": [agent], "prompt": input("markdown.txt"), "cwd": home.path() });
    let (_, mut log) = server.start(params);
    let run = server.follow_to_end(&mut log);
    assert_eq!(run["state"], "succeeded", "{run}");
    (server, log.run)
}

/// Every view of a run that a client can ask for; each as one text.
fn views(server: &mut Server, home: &Home, run: &str) -> Vec<(String, String)> {
    let mut views: Vec<(String, String)> = Vec::new();
    for format in FORMATS {
        let exported = server.call("run/export", json!({ "runId": run, "format": format }));
        views.push((format!("export {format}"), exported["content"].as_str().expect("text").to_owned()));
    }
    views.push(("list".to_owned(), server.call("run/list", json!({})).to_string()));
    views.push(("items".to_owned(), json!(server.read_items(run, 1000)).to_string()));
    views.push(("changes".to_owned(), server.call("run/changes", json!({ "runId": run })).to_string()));
    views.push(("search".to_owned(), server.call("run/search", json!({ "query": "HOSTILE" })).to_string()));
    for arguments in [&["list"][..], &["logs", run], &["logs", "--full", run], &["attach", "--from-start", run], &["doctor"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_loomd"));
        command.arg("--data-dir").arg(home.data()).args(arguments);
        let output = isolated(command, home).output().expect("it ends");
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code().is_some() && !errors.contains("panicked"), "{arguments:?}: {errors}");
        views.push((arguments.join(" "), String::from_utf8_lossy(&output.stdout).into_owned()));
    }
    views
}

fn length(views: &[(String, String)], name: &str) -> usize {
    views.iter().find(|(view, _)| view.starts_with(name)).expect("the view").1.len()
}

/// Calls that each belong to the one before it.
fn nested(calls: usize) -> Vec<Value> {
    let call = |number: usize| {
        let mut call = json!({ "sessionUpdate": "tool_call", "toolCallId": format!("t{number}"), "title": "HOSTILE", "kind": "other", "status": "in_progress" });
        if number > 0 {
            // Two ways by which agents say that a call belongs to another.
            let parent = format!("t{}", number - 1);
            call["_meta"] = json!({ "claudeCode": { "parentToolUseId": parent }, "loomd/parentToolCallId": parent });
        }
        call
    };
    (0..calls).map(call).collect()
}

#[test]
fn calls_that_are_nested_thousands_deep_are_told_flat_and_in_proportion() {
    let (small, large) = (Home::new(), Home::new());
    let (mut server, run) = run_of(&small, &nested(500));
    let few = views(&mut server, &small, &run);
    let (mut server, run) = run_of(&large, &nested(2500));
    let many = views(&mut server, &large, &run);
    for name in ["export text", "export markdown", "export html", "logs"] {
        let (few, many) = (length(&few, name), length(&many, name));
        assert!(many < 7 * few, "{name}: 500 calls make {few} bytes, 2,500 make {many}");
    }
}

#[test]
fn values_that_are_nested_too_deeply_reach_no_view() {
    let mut deep = json!("HOSTILE");
    for _ in 0..110 {
        deep = json!({ "a": deep });
    }
    let home = Home::new();
    let update = json!({ "sessionUpdate": "tool_call", "toolCallId": "t", "title": "HOSTILE", "kind": "other", "status": "completed", "rawInput": deep });
    let (mut server, run) = run_of(&home, &[update]);
    views(&mut server, &home, &run);
    assert!(server.read_items(&run, 100).iter().any(|item| item["rawInput"].to_string().contains("[left out]")));
}

#[test]
fn hostile_texts_are_texts_everywhere() {
    let evil = input("markdown.txt") + &input("terminal.txt");
    let text = json!({ "type": "text", "text": evil });
    let home = Home::new();
    let updates = [
        json!({ "sessionUpdate": "agent_message_chunk", "content": text }),
        json!({ "sessionUpdate": "agent_thought_chunk", "content": text }),
        json!({ "sessionUpdate": "plan", "entries": [{ "content": evil, "priority": "high", "status": "pending" }] }),
        json!({ "sessionUpdate": "tool_call", "toolCallId": "t", "title": evil, "kind": evil, "status": "completed", "rawInput": { "x": evil },
            "locations": [{ "path": evil }], "content": [{ "type": "content", "content": text }, { "type": "diff", "path": evil, "oldText": "a", "newText": evil }] }),
        json!({ "sessionUpdate": "agent_message_chunk", "content": { "type": "text", "text": "in the end" }, "_meta": { "loomd/abandoned": true, "loomd/contradiction": { "at": 0 } } }),
    ];
    let (mut server, run) = run_of(&home, &updates);
    let views = views(&mut server, &home, &run);
    assert!(
        !server.entries_of(&run).iter().any(|entry| entry["update"]["_meta"].get("loomd/contradiction").is_some()),
        "the mark is loomd's own"
    );
    let mut in_code = false;
    let markdown = &views.iter().find(|(view, _)| view == "export markdown").expect("the view").1;
    for event in
        pulldown_cmark::Parser::new_ext(markdown, pulldown_cmark::Options::ENABLE_TABLES | pulldown_cmark::Options::ENABLE_TASKLISTS)
    {
        use pulldown_cmark::{Event, Tag, TagEnd};
        match event {
            Event::Start(Tag::CodeBlock(_)) => in_code = true,
            Event::End(TagEnd::CodeBlock) => in_code = false,
            Event::Start(Tag::Image { .. }) => panic!("a picture is loaded"),
            Event::Start(Tag::Link { dest_url, .. }) => {
                assert!(dest_url.starts_with("https://evil.example/"), "a link leads to {dest_url}")
            }
            Event::Html(html) | Event::InlineHtml(html) => {
                let tags = html.split('<').skip(1).map(|tag| tag.trim_start_matches('/').split(['>', ' ']).next().unwrap_or_default());
                for tag in tags {
                    assert!(["details", "summary", "b", "i", "code"].contains(&tag), "{tag} in {html}");
                }
            }
            Event::Text(shown) => assert!(in_code || !shown.contains("@octocat"), "a person is notified: {shown}"),
            _ => {}
        }
    }
    let html = &views.iter().find(|(view, _)| view == "export html").expect("the view").1;
    assert!(!html.contains("<script>alert") && !html.contains("<img") && !html.contains("href=\"javascript"), "the page obeys");
}

#[test]
fn a_line_of_128_kib_is_drawn_in_proportion() {
    let pattern = input("long-line.txt").trim_end().to_owned() + " ";
    let update = |bytes: usize| {
        let text = pattern.repeat(bytes / pattern.len());
        [
            json!({ "sessionUpdate": "agent_message_chunk", "content": { "type": "text", "text": text } }),
            json!({ "sessionUpdate": "tool_call", "toolCallId": "t", "title": "HOSTILE", "kind": "other", "status": "completed", "content": [{ "type": "content", "content": { "type": "text", "text": text } }] }),
        ]
    };
    let (small, large) = (Home::new(), Home::new());
    let (mut server, run) = run_of(&small, &update(16 << 10));
    let few = views(&mut server, &small, &run);
    let (mut server, run) = run_of(&large, &update(128 << 10));
    let many = views(&mut server, &large, &run);
    for name in ["export text", "export markdown", "export html", "logs"] {
        let (few, many) = (length(&few, name), length(&many, name));
        assert!(many < 10 * few, "{name}: 16 KiB make {few} bytes, 128 KiB make {many}");
    }
}
