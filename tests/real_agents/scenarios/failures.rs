//! Runs that fail, are cancelled or are lost, after which no process is left.

use serde_json::{Value, json};

use crate::{harness::kill, world::World};

pub(crate) fn error_401(world: &World) {
    fails(world, "fake:error-401", "auth");
}

pub(crate) fn error_500(world: &World) {
    fails(world, "fake:error-500", "provider");
}

fn fails(world: &World, prompt: &str, kind: &str) {
    let mut server = world.server();
    let mut log = world.start(&mut server, prompt, json!({}));
    let run = server.follow_to_end(&mut log);
    assert_eq!((&run["state"], &run["error"]["kind"]), (&json!("failed"), &json!(kind)), "{run:#}");
    assert_eq!((&log.end()["stopReason"], &log.end()["turn"]), (&json!("error"), &json!(1)));
    // The run's error has the model's message, or what the agent makes of it.
    let message = run["error"]["message"].as_str().expect("a message");
    let words = ["model of the tests", "high demand", "Authentication required"];
    assert!(words.iter().any(|words| message.contains(words)), "{message}");
}

pub(crate) fn cancel(world: &World) {
    let mut server = world.server();
    let mut log = world.start(&mut server, "fake:sleep", json!({ "permissions": "bypass" }));
    world.wait_for_the_command();
    let run = server.call("run/cancel", json!({ "runId": log.run }))["run"].clone();
    let mut left = world.others(&[&server]);
    left.retain(|process| !process.argv.contains(" supervise"));
    assert!(left.is_empty(), "the run is over, and these are left: {left:#?}");
    assert_eq!(run["state"], "cancelled");
    server.follow_to_end(&mut log);
    assert_eq!(log.end().get("left"), None);
    world.wait_until_alone(&[&server]);
}

pub(crate) fn killed_supervisor(world: &World) {
    let mut server = world.server();
    let log = world.start(&mut server, "fake:sleep", json!({ "permissions": "bypass" }));
    world.wait_for_the_command();
    let supervisor = world.processes().into_iter().find(|process| process.argv.contains(" supervise")).expect("a supervisor");
    server.kill();
    kill(supervisor.pid);
    let mut server = world.server();
    let run = server.get_until(&log.run, "the end of a lost run", |run: &Value| run["endedAt"].is_u64());
    assert_eq!(run["state"], "lost");
    world.wait_until_alone(&[&server]);
}
