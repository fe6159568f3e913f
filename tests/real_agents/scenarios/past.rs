//! `loomd run AGENT --past`: the agent looks into earlier runs by `loomd mcp`.

use serde_json::json;

use super::{assert_succeeded, follow_to_turn_end};
use crate::world::World;

/// A run is given the server by the protocol, as `loomd acp` gives those of an editor.
pub(crate) fn servers_of_the_client(world: &World) {
    let mut server = world.server();
    let command = ["echo", "the needle of an earlier run"];
    let (_, mut earlier) = server.start(json!({ "provider": "command", "command": command, "cwd": world.work() }));
    server.follow_to_end(&mut earlier);
    let data = world.path().join("data").display().to_string();
    let config = world.path().join("etc/loomd.toml").display().to_string();
    let args = ["--data-dir", &data, "--config", &config, "mcp"];
    let mcp = json!({ "name": "loomd", "command": env!("CARGO_BIN_EXE_loomd"), "args": args, "env": [] });
    let start = json!({
        "provider": world.agent.name, "prompt": "fake:past", "cwd": world.work(), "permissions": "bypass", "mcpServers": [mcp],
    });
    let (_, mut log) = server.start(start);
    let run = server.follow_to_end(&mut log);
    assert_succeeded(&run, &log);
    let requests: Vec<String> = world.model_requests().iter().map(|request| request.to_string()).collect();
    assert!(requests.iter().any(|request| request.contains(&earlier.run)), "not told: {requests:#?}");
}

pub(crate) fn past(world: &World) {
    let mut server = world.server();
    let command = ["echo", "the needle of an earlier run"];
    let (_, mut earlier) = server.start(json!({ "provider": "command", "command": command, "cwd": world.work() }));
    server.follow_to_end(&mut earlier);

    let loomd = env!("CARGO_BIN_EXE_loomd");
    let data = world.path().join("data").display().to_string();
    let config = world.path().join("etc/loomd.toml").display().to_string();
    let run = [loomd, "--data-dir", &data, "--config", &config, "run", "--past", "--json", world.agent.name, "fake:past"];
    let work = world.work().display().to_string();
    let shown = world.inside(&[&["env", "-C", &work][..], &run].concat());
    let listed = server.call("run/list", json!({ "provider": world.agent.name }))["runs"].clone();
    let id = listed[0]["id"].as_str().unwrap_or_else(|| panic!("no run: {shown}"));
    let mut log = server.read_log(id);
    server.attach(&log);
    let run = server.follow_to_end(&mut log);
    assert_succeeded(&run, &log);
    assert_eq!(follow_to_turn_end(&mut server, &mut log, 1)["stopReason"], "end_turn");
    // Nobody was asked, and the model was told what the earlier run had printed, but nothing of its own run.
    assert_eq!(log.permission_requests().len(), 0, "{log:#?}");
    let requests: Vec<String> = world.model_requests().iter().map(|request| request.to_string()).collect();
    let told = requests.iter().find(|request| request.contains(&earlier.run)).unwrap_or_else(|| panic!("not told: {requests:#?}"));
    assert!(told.contains("the needle of an earlier run") && !told.contains(id), "{told}");
    let calls = log.updates("tool_call");
    assert!(calls.iter().any(|call| call.to_string().contains("search_runs")), "{calls:#?}");
}
