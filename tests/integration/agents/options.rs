//! What an agent offers beside its commands: options that are set, and images that it takes or does not take.

use serde_json::{Value, json};

use super::{follow_to_state, follow_to_turn_end, params_with, scripted};
use crate::harness::{Home, Log, Server};

/// A run of the agent that has options, idle after its first turn.
fn idle_run(home: &Home, server: &mut Server, more: Value) -> Log {
    let mut params = params_with(home, "say one", json!({ "command": scripted(home, &["--options"]), "interactive": true }));
    params.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    let (_, mut log) = server.start(params);
    follow_to_state(server, &mut log, "idle");
    log
}

fn current(run: &Value, id: &str) -> Value {
    let options = run["agent"]["configOptions"].as_array().into_iter().flatten();
    options.into_iter().find(|option| option["id"] == id).map_or(Value::Null, |option| option["currentValue"].clone())
}

fn image() -> Value {
    json!([{ "type": "text", "text": "say seen" }, { "type": "image", "mimeType": "image/png", "data": "AA==" }])
}

#[test]
fn options_are_set_from_the_next_turn_on_and_every_client_sees_what_is_current() {
    let home = Home::new();
    let (mut server, mut other) = (home.server(), home.server());
    let mut log = idle_run(&home, &mut server, json!({}));
    assert_eq!(current(&server.get(&log.run), "effort"), "low");
    server.call("run/configure", json!({ "runId": log.run, "options": { "effort": "high", "fast": true, "mode": "plan" } }));
    let run = other.notification("run/changed", |params| current(&params["run"], "fast") == true)["run"].clone();
    server.get_until(&log.run, "the mode to be set", |run| current(run, "mode") == "plan");
    assert_eq!(current(&run, "effort"), "high", "one after another");
    assert_eq!(server.get(&log.run)["agent"]["modeId"], "plan");
    server.call("run/send", json!({ "runId": log.run, "text": "options" }));
    follow_to_turn_end(&mut server, &mut log, 2);
    let told: Value = serde_json::from_str(log.text_of("agent_message_chunk").trim_start_matches("one")).expect("what the agent has");
    assert_eq!(told, json!({ "effort": "high", "fast": true, "mode": "plan" }));
    server.cancel(&log.run);
}

#[test]
fn an_option_that_is_set_in_a_turn_waits_for_the_next_one() {
    let home = Home::new();
    let mut server = home.server();
    let mut log = idle_run(&home, &mut server, json!({}));
    server.call("run/send", json!({ "runId": log.run, "text": "ask execute\noptions" }));
    follow_to_state(&mut server, &mut log, "awaitingPermission");
    server.call("run/configure", json!({ "runId": log.run, "options": { "effort": "high" } }));
    let permission = log.permission_requests()[0]["permissionId"].clone();
    server.call("run/answer", json!({ "runId": log.run, "permissionId": permission, "optionId": "yes" }));
    follow_to_turn_end(&mut server, &mut log, 2);
    assert!(log.text_of("agent_message_chunk").contains("\"effort\": \"low\""), "{}", log.text_of("agent_message_chunk"));
    server.call("run/send", json!({ "runId": log.run, "text": "options" }));
    follow_to_turn_end(&mut server, &mut log, 3);
    assert!(
        log.text_of("agent_message_chunk").ends_with("\"effort\": \"high\", \"fast\": false}"),
        "{}",
        log.text_of("agent_message_chunk")
    );
    server.cancel(&log.run);
}

#[test]
fn an_option_that_is_not_offered_is_refused_with_what_is() {
    let home = Home::new();
    let mut server = home.server();
    let log = idle_run(&home, &mut server, json!({ "permissions": "readOnly" }));
    let mut refused = |options: Value| server.expect_failure("run/configure", json!({ "runId": log.run, "options": options }));
    let unknown = refused(json!({ "speed": "high" }));
    assert_eq!((unknown.code, &unknown.data["field"]), (-32602, &json!("options")));
    assert!(unknown.message.contains("mode, effort, fast"), "{unknown:?}");
    assert!(refused(json!({ "effort": "max" })).message.contains("low, high"));
    assert_eq!(refused(json!({ "effort": 7 })).data["field"], "options");
    let writing = refused(json!({ "mode": "default" }));
    assert_eq!((writing.code, &writing.data["capability"]), (-32013, &json!("options")), "a read-only run stays so: {writing:?}");
    server.cancel(&log.run);
    let (_, mut command) = server.start(json!({ "provider": "command", "command": ["cat"], "interactive": true }));
    let failure = server.expect_failure("run/configure", json!({ "runId": command.run, "options": { "effort": "high" } }));
    assert_eq!(failure.kind, "unsupported");
    server.cancel(&command.run);
    server.follow_to_end(&mut command);
}

#[test]
fn an_agent_that_takes_images_gets_them_and_the_run_says_so() {
    let home = Home::new();
    let mut server = home.server();
    let mut log = idle_run(&home, &mut server, json!({}));
    let taken = json!({ "image": true, "audio": false, "embeddedContext": false });
    assert_eq!(server.get(&log.run)["agent"]["promptCapabilities"], taken);
    server.call("run/send", json!({ "runId": log.run, "prompt": image() }));
    follow_to_turn_end(&mut server, &mut log, 2);
    assert!(log.text_of("agent_message_chunk").ends_with("seen"));
    server.cancel(&log.run);
    assert_eq!(server.follow_to_end(&mut log)["agent"]["promptCapabilities"], taken, "it is known for who goes on with the session");
}

#[test]
fn an_agent_that_takes_no_images_refuses_them_in_a_sentence() {
    let home = Home::new();
    let mut server = home.server();
    let (_, mut log) = server.start(params_with(&home, "say one", json!({ "interactive": true })));
    follow_to_state(&mut server, &mut log, "idle");
    let failure = server.expect_failure("run/send", json!({ "runId": log.run, "prompt": image() }));
    assert_eq!((failure.code, &failure.data["capability"]), (-32013, &json!("image")));
    assert!(failure.message.contains("takes no images"), "{failure:?}");
    assert_eq!(server.get(&log.run)["queued"], Value::Null, "nothing of it is sent");
    server.cancel(&log.run);

    let (_, mut log) = server.start(params_with(&home, "", json!({ "prompt": image() })));
    let run = server.follow_to_end(&mut log);
    assert_eq!((&run["state"], &run["error"]["kind"]), (&json!("failed"), &json!("unsupported")), "an agent tells only when it runs");
    assert_eq!(log.text_of("agent_message_chunk"), "");

    let path = home.file("config.toml", b"[providers.tool]\nkind = \"command\"\ncommand = [\"cat\"]\n");
    let mut server = home.setup().arg("--config").arg(&path).start();
    let failure = server.expect_failure("run/start", json!({ "provider": "tool", "prompt": image(), "cwd": home.path() }));
    assert_eq!((failure.kind, &failure.data["capability"]), ("unsupported", &json!("image")));
    for provider in ["claude", "codex"] {
        let audio = json!([{ "type": "audio", "mimeType": "audio/wav", "data": "AA==" }]);
        let params = json!({ "provider": provider, "prompt": audio, "cwd": home.path() });
        let failure = server.expect_failure("run/start", params);
        assert!(failure.kind == "spawnFailed" || failure.data["capability"] == "audio", "{failure:?}");
    }
}
