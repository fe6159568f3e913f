//! Agents that behave as no specification says, from scripts in tests/odd_agents: the transcript of each is compared
//! with the one beside its script. `LOOMD_UPDATE_FIXTURES=1` writes the transcripts again.

use std::{fs, path::Path};

use serde_json::{Value, json};

use crate::harness::{Home, Server};

const DIRECTORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/odd_agents");

/// Plays a script, answering each question with its first option, and returns the items of its transcript.
fn play(server: &mut Server, home: &Home, name: &str) -> Vec<Value> {
    let (_, mut log) = server.start(json!({ "provider": "odd", "prompt": "do it", "cwd": home.path() }));
    let mut answered = 0;
    while !log.is_final() {
        server.follow(&mut log, "a question or the end", |log| log.is_final() || log.permission_requests().len() > answered);
        if let Some(question) = log.permission_requests().get(answered) {
            let (id, option) = (question["permissionId"].clone(), question["options"][0]["optionId"].clone());
            server.call("run/answer", json!({ "runId": log.run, "permissionId": id, "optionId": option }));
            answered += 1;
        }
    }
    let run = server.get(&log.run);
    assert_eq!(run["state"], "succeeded", "{name}: {run}");
    let mut items = server.read_items(&log.run, 1000);
    for item in &mut items {
        let members = item.as_object_mut().expect("an item");
        ["seq", "lastSeq", "at", "endAt", "usage"].iter().for_each(|name| drop(members.remove(*name)));
    }
    items
}

#[test]
fn odd_agents_have_the_transcripts_beside_their_scripts() {
    let mut scripts: Vec<_> = fs::read_dir(DIRECTORY).expect("the scripts").map(|file| file.expect("a file").path()).collect();
    scripts.retain(|path| path.extension().is_some_and(|it| it == "jsonl"));
    scripts.sort();
    assert!(scripts.len() > 5);
    for script in scripts {
        let name = script.file_stem().expect("a name").to_string_lossy().into_owned();
        let kind = name.split('-').next().expect("a kind").to_owned();
        let home = Home::new();
        let wrapper = home.path().join("agent");
        let text = format!("#!/bin/sh\nexec python3 -B '{DIRECTORY}/agent.py' '{}'\n", script.display());
        home.file("agent", text.as_bytes());
        fs::set_permissions(&wrapper, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("it is ours");
        let program =
            if kind == "acp" { format!("command = [\"{}\"]", wrapper.display()) } else { format!("program = \"{}\"", wrapper.display()) };
        let config = home.file("config.toml", format!("[providers.odd]\nkind = \"{kind}\"\n{program}\n").as_bytes());
        let mut server = home.setup().arg("--config").arg(&config).start();
        let items = play(&mut server, &home, &name);
        compare(&script.with_extension("items.json"), &items);
    }
}

fn compare(path: &Path, items: &[Value]) {
    let lines: String = items.iter().map(|item| format!("{item}\n")).collect();
    if std::env::var_os("LOOMD_UPDATE_FIXTURES").is_some() {
        fs::write(path, &lines).expect("the transcript is written");
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    assert_eq!(lines, expected, "{}", path.display());
}

#[test]
fn what_an_agent_offers_is_in_its_run_and_changes_are_told() {
    let home = Home::new();
    let script = home.file(
        "script.jsonl",
        [
            json!(["take", "initialize"]),
            json!(["send", { "id": "$id:initialize", "result": { "protocolVersion": 1, "agentCapabilities": {} } }]),
            json!(["take", "session/new"]),
            json!(["send", { "id": "$id:session/new", "result": { "sessionId": "s",
                "modes": { "currentModeId": "default", "availableModes": [{ "id": "default", "name": "Default" }, { "id": "plan", "name": "Plan" }] } } }]),
            json!(["take", "session/prompt"]),
            json!(["send", { "method": "session/update", "params": { "sessionId": "s", "update": { "sessionUpdate": "available_commands_update",
                "availableCommands": [{ "name": "init", "description": "Begins", "input": { "hint": "where" } }] } } }]),
            json!(["send", { "method": "session/update", "params": { "sessionId": "s", "update": { "sessionUpdate": "current_mode_update", "currentModeId": "plan" } } }]),
            json!(["send", { "method": "session/update", "params": { "sessionId": "s", "update": { "sessionUpdate": "usage_update", "used": 5, "size": 50 } } }]),
            json!(["send", { "id": "$id:session/prompt", "result": { "stopReason": "end_turn" } }]),
        ]
        .map(|step| format!("{step}\n"))
        .concat()
        .as_bytes(),
    );
    let mut server = home.server();
    let command = ["python3".to_owned(), "-B".to_owned(), format!("{DIRECTORY}/agent.py"), script.clone()];
    let (run, _) =
        server.start(json!({ "provider": "acp", "command": command, "prompt": "do it", "cwd": home.path(), "interactive": true }));
    let changed = server.notification("run/changed", |params| params["run"]["agent"]["context"]["used"] == 5);
    let expected = json!({ "commands": [{ "name": "init", "description": "Begins", "hint": "where" }],
        "modes": [{ "id": "default", "name": "Default" }, { "id": "plan", "name": "Plan" }], "modeId": "plan", "configOptions": [],
        "context": { "used": 5, "size": 50 }, "promptCapabilities": { "image": false, "audio": false, "embeddedContext": false } });
    assert_eq!(changed["run"]["agent"], expected);
    let id = run["id"].as_str().expect("an id");
    assert_eq!(server.get(id)["agent"], expected);
    let ended = server.cancel(id);
    assert_eq!(ended["agent"]["context"]["size"], 50);
    assert_eq!(ended["agent"]["commands"], json!([]), "nothing can be chosen any more");
}
