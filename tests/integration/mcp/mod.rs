//! `loomd mcp`: runs as tools and resources, bounded, and without the run that the client is in.

mod finding;
mod own_run;
mod protocol;
mod reading;
mod starting;

use std::process::Command;

use serde_json::{Value, json};

use crate::harness::{Framing, Home, Server, Setup, isolated};

/// The longest text of an answer.
const MAX_ANSWER_BYTES: usize = 8 << 10;

/// `loomd mcp` in a directory, which has not been initialized.
fn spawn_mcp(home: &Home, directory: &str, arguments: &[&str]) -> Server {
    let mut command = isolated(Command::new(env!("CARGO_BIN_EXE_loomd")), home);
    command.current_dir(directory).env_remove("PWD").arg("--data-dir").arg(home.data()).arg("mcp").args(arguments);
    Setup::from_command(command).framing(Framing::Lines).spawn()
}

/// `loomd mcp` in the home's directory, as a client has it.
fn mcp(home: &Home, arguments: &[&str]) -> Server {
    let mut server = spawn_mcp(home, &home.path().display().to_string(), arguments);
    let client = json!({ "name": "test", "version": "1" });
    server.call("initialize", json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client }));
    server.notify("notifications/initialized", json!({}));
    server
}

/// The text of a tool's answer, and whether it is an error.
fn answer(server: &mut Server, tool: &str, arguments: Value) -> (String, bool) {
    let result = server.call("tools/call", json!({ "name": tool, "arguments": arguments }));
    let text = result["content"][0]["text"].as_str().expect("a text").to_owned();
    assert!(text.len() <= MAX_ANSWER_BYTES, "{} bytes of {tool}", text.len());
    (text, result["isError"].as_bool().expect("a boolean"))
}

/// The text of a tool's answer that is none of an error.
fn tool(server: &mut Server, tool: &str, arguments: Value) -> String {
    let (text, is_error) = answer(server, tool, arguments.clone());
    assert!(!is_error, "{tool} {arguments}: {text}");
    text
}

/// The text of an error.
fn refusal(server: &mut Server, tool: &str, arguments: Value) -> String {
    let (text, is_error) = answer(server, tool, arguments.clone());
    assert!(is_error, "{tool} {arguments} was to fail and answered {text}");
    text
}

/// What an answer's last line gives for a word before it: `go on with WORD: VALUE.`, or `cursor "VALUE"`.
fn continuation(text: &str, word: &str) -> Option<String> {
    let last = text.lines().last()?;
    match last.split_once(&format!("{word} \"")) {
        Some((_, rest)) => Some(rest.split('"').next()?.to_owned()),
        None => Some(last.split_once(&format!("{word}: "))?.1.trim_end_matches('.').to_owned()),
    }
}

/// An answer without the last line that says how to go on.
fn body(page: &str) -> &str {
    if page.lines().last().is_some_and(|last| last.contains("go on with")) {
        page.rsplit_once('\n').map_or("", |(body, _)| body)
    } else {
        page
    }
}

/// All answers of a tool that goes on by `word`.
fn pages(server: &mut Server, name: &str, mut arguments: Value, word: &str) -> Vec<String> {
    let mut pages = Vec::new();
    loop {
        let page = tool(server, name, arguments.clone());
        let next = continuation(&page, word);
        pages.push(page);
        match next {
            Some(next) => arguments[word] = next.parse::<u64>().map_or_else(|_| json!(next), |number| json!(number)),
            None => return pages,
        }
        assert!(pages.len() < 100, "{name} does not end: {pages:#?}");
    }
}
