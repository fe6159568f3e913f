//! Which runs are found, and by what.

use std::fs;

use serde_json::{Value, json};

use super::{mcp, pages, tool};
use crate::{
    agents::{follow_to_state, params_with},
    harness::{Home, Log, Server, sh, until},
};

/// A run of the scripted agent that has ended.
fn agent_run(home: &Home, server: &mut Server, prompt: &str) -> String {
    let (_, mut log) = server.start(params_with(home, prompt, json!({ "permissions": "bypass" })));
    server.follow_to_end(&mut log);
    log.run
}

fn command_run(server: &mut Server, script: &str, cwd: &str) -> String {
    let (_, mut log) = server.start(json!({ "provider": "command", "command": sh(script), "cwd": cwd }));
    server.follow_to_end(&mut log);
    log.run
}

/// The ids that a list begins its lines with.
fn ids(text: &str) -> Vec<String> {
    let first = text.lines().filter_map(|line| line.split("  ").next());
    first.filter(|word| word.len() == 36 && word.contains('-')).map(str::to_owned).collect()
}

fn list(client: &mut Server, arguments: Value) -> Vec<String> {
    pages(client, "list_runs", arguments, "cursor").iter().flat_map(|page| ids(page)).collect()
}

#[test]
fn only_runs_below_the_directory_are_shown_unless_all_are() {
    let home = Home::new();
    let mut server = home.server();
    let (here, below) = (home.path().display().to_string(), home.path().join("below").display().to_string());
    fs::create_dir(&below).expect("a directory");
    let elsewhere = command_run(&mut server, "echo needle elsewhere", "/");
    let near = command_run(&mut server, "echo needle near", &here);
    let deep = command_run(&mut server, "echo needle deep", &below);
    let mut client = mcp(&home, &[]);
    assert_eq!(list(&mut client, json!({})), [deep.as_str(), &near]);
    assert_eq!(list(&mut client, json!({ "cwd": below })), [deep.as_str()]);
    let found = tool(&mut client, "search_runs", json!({ "query": "NEEDLE" }));
    assert!(found.contains("needle near") && found.contains("needle deep") && !found.contains("elsewhere"), "{found}");
    assert!(super::refusal(&mut client, "read_run", json!({ "run": elsewhere })).contains("--all"));
    let mut all = mcp(&home, &["--all"]);
    assert_eq!(list(&mut all, json!({})), [deep.as_str(), &near, &elsewhere]);
    assert!(tool(&mut all, "read_run", json!({ "run": elsewhere[28..] })).contains("needle elsewhere"));
}

#[test]
fn lists_are_filtered_and_paged() {
    let home = Home::new();
    let mut server = home.server();
    let here = home.path().display().to_string();
    let mut runs: Vec<String> = (0..7).map(|number| command_run(&mut server, &format!("exit {}", number % 2), &here)).collect();
    runs.reverse();
    let mut client = mcp(&home, &[]);
    assert_eq!(list(&mut client, json!({ "limit": 2 })), runs);
    let failed: Vec<String> = runs.iter().skip(1).step_by(2).cloned().collect();
    assert_eq!(list(&mut client, json!({ "state": "failed", "limit": 1 })), failed);
    assert_eq!(list(&mut client, json!({ "provider": "codex" })), [""; 0]);
    assert_eq!(list(&mut client, json!({ "since": "2100-01-01" })), [""; 0]);
    assert_eq!(list(&mut client, json!({ "since": "2020-01-01" })), runs);
}

#[test]
fn a_search_finds_what_was_asked_said_called_and_printed() {
    let home = Home::new();
    let mut server = home.server();
    let prompt = "say the answer is needle one\nthink needle two\nedit made.txt needle \"three\"\ntool execute 200";
    let agent = agent_run(&home, &mut server, prompt);
    let command = command_run(&mut server, "echo needle four; echo hay >&2; echo 'Needle five' >&2", &home.path().display().to_string());
    let mut client = mcp(&home, &[]);
    let found = tool(&mut client, "search_runs", json!({ "query": "needle" }));
    for text in [
        "user: ",
        "say the answer is needle one",
        "the answer is needle one",
        "needle two",
        "change: +needle \"three\"",
        "needle four",
        "Needle five",
    ] {
        assert!(found.contains(text), "{text} in {found}");
    }
    assert!(found.contains(&agent) && found.contains(&command) && !found.contains(": hay"), "{found}");
    // What an agent's protocol says around it is not found.
    assert!(!tool(&mut client, "search_runs", json!({ "query": "jsonrpc" })).contains(&agent));
    // The output of a tool.
    let found = tool(&mut client, "search_runs", json!({ "query": "789abcd", "provider": "acp" }));
    assert!(found.contains("output: 0123456789abcde"), "{found}");
    let found = tool(&mut client, "search_runs", json!({ "query": "needle (one|four)", "regex": true, "case_sensitive": true }));
    assert!(found.contains("one") && found.contains("four") && !found.contains(": Needle five"), "{found}");
}

#[test]
fn a_search_goes_on_where_it_ended() {
    let home = Home::new();
    let mut server = home.server();
    let here = home.path().display().to_string();
    let lines: Vec<String> = (0..30).map(|number| format!("say needle-{number}\nthink apart")).collect();
    let agent = agent_run(&home, &mut server, &lines.join("\n"));
    let command = command_run(&mut server, "for n in $(seq 100 130); do echo needle-$n; done", &here);
    let other = command_run(&mut server, "echo needle-200", &here);
    let mut client = mcp(&home, &[]);
    let hits = |pages: &[String]| -> Vec<u64> {
        let lines = pages.iter().flat_map(|page| page.lines().filter(|line| line.starts_with("  item") || line.starts_with("  output")));
        let numbers = lines.filter(|line| !line.contains(" user:")).filter_map(|line| line.rsplit_once("needle-")?.1.parse().ok());
        numbers.collect()
    };
    // One run is read whole; a limit cuts it anywhere.
    for limit in [1, 4, 50] {
        let arguments = |run: &str| json!({ "query": "needle-\\d", "regex": true, "run": run, "limit": limit });
        assert_eq!(hits(&pages(&mut client, "search_runs", arguments(&command), "cursor")), (100..=130).collect::<Vec<_>>(), "{limit}");
        assert_eq!(hits(&pages(&mut client, "search_runs", arguments(&agent), "cursor")), (0..30).collect::<Vec<_>>(), "{limit}");
    }
    // Long lines do not crowd each other out.
    let long = command_run(&mut server, "for n in $(seq 300 360); do printf '%0400d needle-%d\\n' 0 $n; done", &here);
    let found = pages(&mut client, "search_runs", json!({ "query": "needle-3", "run": long, "limit": 50 }), "cursor");
    assert_eq!(hits(&found), (300..=360).collect::<Vec<_>>());
    // Of many runs each has some lines, and none is left out.
    let all = pages(&mut client, "search_runs", json!({ "query": "needle", "limit": 15 }), "cursor");
    let text = all.concat();
    assert!([&agent, &command, &other].iter().all(|run| text.contains(run.as_str())), "{text}");
    assert!(hits(&all).starts_with(&[300, 301]) && hits(&all).contains(&200), "{text}");
}

#[test]
fn runs_are_found_by_the_files_that_their_tool_calls_name() {
    let home = Home::new();
    let mut server = home.server();
    let agent = agent_run(&home, &mut server, "edit made.txt text");
    agent_run(&home, &mut server, "edit other.txt text");
    until("they are sealed", || home.run_directories().is_empty().then_some(()));
    let (_, mut live) = server.start(params_with(&home, "edit made.txt again", json!({ "interactive": true })));
    follow_to_state(&mut server, &mut live, "awaitingPermission");
    let mut client = mcp(&home, &[]);
    let expected = [live.run.as_str(), &agent];
    let mut touching = |path: String| {
        let found = pages(&mut client, "runs_touching", json!({ "path": path, "limit": 1 }), "cursor");
        found.iter().flat_map(|page| ids(page)).collect::<Vec<_>>()
    };
    assert_eq!(touching("made.txt".to_owned()), expected);
    assert_eq!(touching(format!("{}/./x/../made.txt", home.path().display())), expected);
    assert_eq!(touching("text".to_owned()), [""; 0]);
    end(&mut server, &mut live);
}

fn end(server: &mut Server, log: &mut Log) {
    server.cancel(&log.run);
    server.follow_to_end(log);
}
