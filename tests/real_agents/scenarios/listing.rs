//! What loomd reports of an agent outside of its runs.

use std::fs;

use serde_json::{Value, json};

use super::assert_succeeded;
use crate::{harness::until, world::World};

/// The version that `setup` installs.
fn installed(name: &str) -> String {
    let path = format!("{}/tests/agents/locks/{name}/package.json", env!("CARGO_MANIFEST_DIR"));
    let package: Value = serde_json::from_slice(&fs::read(path).expect("a package")).expect("JSON");
    let versions = package["dependencies"].as_object().expect("dependencies");
    versions.values().next().and_then(Value::as_str).expect("a version").to_owned()
}

pub(crate) fn lists(world: &World) {
    let (agent, mut server) = (world.agent, world.server());
    // An agent that starts too slowly is listed without its version.
    let info = until("a version", || {
        let all = server.call("provider/list", json!({}))["providers"].clone();
        let info = all.as_array().expect("a list").iter().find(|info| info["id"] == agent.name).expect("it is listed").clone();
        assert_eq!(info["available"], true, "{info}");
        (info["version"].is_string() || !agent.configuration.is_empty()).then_some(info)
    });
    assert!(
        agent.argv_part.starts_with(|first: char| first != '/') || info["program"].as_str().is_some_and(|it| it.contains("/vendor/")),
        "{info}"
    );
    if agent.configuration.is_empty() {
        assert_eq!(info["version"], installed(agent.name), "{info}");
    }

    let options = server.call("provider/options", json!({ "provider": agent.name, "cwd": world.work() }));
    let named = |choice: &Value| choice["id"].is_string() && choice["name"].is_string();
    assert!(options["models"].as_array().expect("a list").iter().chain(options["modes"].as_array().expect("a list")).all(named));
    assert_eq!(!options["models"].as_array().expect("a list").is_empty(), agent.lists_models, "{options}");
    world.wait_until_alone(&[&server]);

    if agent.lists_sessions {
        let mut log = world.start(&mut server, "fake:hello", json!({}));
        let run = server.follow_to_end(&mut log);
        assert_succeeded(&run, &log);
        let sessions = server.call("session/list", json!({ "provider": agent.name, "cwd": world.work() }))["sessions"].clone();
        let session = sessions.as_array().expect("a list").iter().find(|session| session["id"] == run["session"]["id"]);
        assert_eq!(session.unwrap_or_else(|| panic!("{sessions}"))["runId"], run["id"], "{sessions}");
        let elsewhere = server.call("session/list", json!({ "provider": agent.name, "cwd": "/" }))["sessions"].clone();
        assert_eq!(elsewhere, json!([]));
    }
}
