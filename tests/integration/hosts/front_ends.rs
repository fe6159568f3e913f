//! `loomd mcp` and `loomd acp` with the runs of a host.

use serde_json::json;

use super::Hosts;
use crate::{
    agents::scripted,
    harness::{Framing, Server, Setup, kill, until},
};

/// A front end with the runs of `build`.
fn front_end(hosts: &Hosts, arguments: &[&str]) -> Server {
    Setup::from_command(hosts.command(&[&["--host", "build"], arguments].concat())).framing(Framing::Lines).spawn()
}

fn kill_server(hosts: &Hosts) {
    let server = || hosts.far.processes().into_iter().find(|process| process.command.trim_end() == super::LOOMD);
    kill(until("there is a server", server).pid);
}

#[test]
fn mcp_offers_the_runs_of_a_host_and_connects_again() {
    let hosts = Hosts::new();
    hosts.stdout(&["run", "--host", "build", "--", "echo", "x"]);
    let mut mcp = front_end(&hosts, &["mcp"]);
    let client = json!({ "name": "test", "version": "1" });
    mcp.call("initialize", json!({ "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": client }));
    let list = |mcp: &mut Server| mcp.call("tools/call", json!({ "name": "list_runs", "arguments": {} }))["content"][0]["text"].to_string();
    assert!(list(&mut mcp).contains("echo x"), "{}", list(&mut mcp));
    kill_server(&hosts);
    // A call may meet the broken connection; the next one has a new one.
    until("it is connected again", || list(&mut mcp).contains("echo x").then_some(()));
    assert_eq!(hosts.calls().len(), 3, "{:?}", hosts.calls());
}

#[test]
fn acp_runs_agents_on_a_host_and_goes_on_after_a_break() {
    let hosts = Hosts::new();
    let cwd = hosts.far.path();
    let agent = scripted(&hosts.far, &[]);
    let agent: Vec<&str> = agent.iter().map(String::as_str).collect();
    let mut acp = front_end(&hosts, &[&["acp", "--"], &agent[..]].concat());
    acp.call("initialize", json!({ "protocolVersion": 1, "clientCapabilities": {} }));
    let session = acp.call("session/new", json!({ "cwd": cwd, "mcpServers": [] }))["sessionId"].clone();
    let prompt = |text: &str| json!({ "sessionId": session, "prompt": [{ "type": "text", "text": text }] });
    assert_eq!(acp.call("session/prompt", prompt("say one"))["stopReason"], "end_turn");
    kill_server(&hosts);
    until("it goes on", || {
        acp.request("session/prompt", prompt("say two")).is_ok_and(|result| result["stopReason"] == "end_turn").then_some(())
    });
    let runs = hosts.runs();
    assert_eq!(runs.len(), 1, "one session is one run");
    hosts.far.server().call("run/cancel", json!({ "runId": runs[0]["id"], "graceMs": 0 }));
}
