//! Prompts and answers.

use std::fs;

use serde_json::{Value, json};

use super::{COMMAND_ANSWER, GREETING, answer, assert_succeeded, follow_to_state, follow_to_words};
use crate::{harness::Log, world::World};

/// Part of a prompt, which must not be in any process list.
const SECRET: &str = "what-nobody-else-shall-read";

pub(crate) fn hello(world: &World) {
    let mut server = world.server();
    let mut log = world.start(&mut server, &format!("fake:gate {SECRET}"), json!({}));
    follow_to_words(&mut server, &mut log);
    assert!(!log.text_of("agent_message_chunk").contains("tests"), "the answer is finished, and the gate is closed");
    assert_eq!(log.state_names(), ["running"]);
    let position = |test: &dyn Fn(&Value) -> bool| log.events.iter().position(test).expect("the entry exists");
    let session = position(&|entry| entry["kind"] == "session");
    assert!(session < position(&|entry| entry["update"]["sessionUpdate"] == "agent_message_chunk"), "the session is known early");
    assert_eq!(log.sessions()[0]["resumable"], false, "nothing is stored before the first answer");

    let seen = world.processes();
    for process in &seen {
        let environment = fs::read(format!("/proc/{}/environ", process.pid)).unwrap_or_default();
        assert!(!process.argv.contains(SECRET) && !String::from_utf8_lossy(&environment).contains(SECRET), "{process:?}");
    }
    let run = server.get(&log.run);
    let command = run["command"].as_array().expect("an argv").iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" ");
    assert!(command.contains(world.agent.argv_part), "{command}");
    let pid = run["pid"].as_u64().expect("a process id");
    let program = seen.iter().find(|process| u64::from(process.pid) == pid).expect("the program runs");
    assert!(!command.contains("/vendor/") || program.argv == command, "{} is not {command}", program.argv);

    world.open_the_gate();
    let run = server.follow_to_end(&mut log);
    assert_succeeded(&run, &log);
    assert_eq!(log.text_of("agent_message_chunk"), GREETING, "each word once");
    assert_eq!(log.text_of("user_message_chunk"), format!("fake:gate {SECRET}"));
    let end = log.end();
    assert_eq!((&end["turn"], &end["stopReason"]), (&json!(1), &json!("end_turn")));
    assert!(end["usage"]["inputTokens"].as_u64() > Some(0) && end["usage"]["outputTokens"].as_u64() > Some(0), "{end}");
    assert_eq!(run["usage"], end["usage"]);
    let kept = log.sessions();
    assert!(kept.last().expect("a session")["resumable"] == true && kept.iter().all(|session| session["id"] == kept[0]["id"]), "{kept:?}");
}

/// The turns of the state entries: the state and the number at their beginning and at their end.
fn turns(log: &Log) -> Vec<(&str, u64)> {
    log.states.iter().filter_map(|state| Some((state["state"].as_str()?, state["turn"].as_u64()?))).collect()
}

pub(crate) fn follow_up(world: &World) {
    let mut server = world.server();
    let mut log = world.start(&mut server, "fake:gate", json!({}));
    follow_to_words(&mut server, &mut log);
    server.call("run/send", json!({ "runId": log.run, "prompt": "fake:two", "mode": "queue" }));
    server.call("run/send", json!({ "runId": log.run, "prompt": "fake:hello" }));
    server.call("run/configure", json!({ "runId": log.run, "permissions": "bypass" }));
    assert_eq!(server.get(&log.run)["queued"], 2);
    world.open_the_gate();
    let run = server.follow_to_end(&mut log);
    assert_succeeded(&run, &log);
    assert_eq!(log.text_of("user_message_chunk"), "fake:gatefake:twofake:hello");
    assert_eq!(log.text_of("agent_message_chunk"), format!("{GREETING}{COMMAND_ANSWER}{GREETING}"));
    assert_eq!(turns(&log), [("running", 1), ("idle", 1), ("running", 2), ("idle", 2), ("running", 3), ("succeeded", 3)]);
    let of_turns: u64 = log.states.iter().filter_map(|state| state["usage"]["inputTokens"].as_u64()).sum();
    assert_eq!(run["usage"]["inputTokens"], of_turns, "each turn is counted once");
}

pub(crate) fn steering(world: &World) {
    let mut server = world.server();
    let mut log = world.start(&mut server, "fake:approval", json!({}));
    follow_to_state(&mut server, &mut log, "awaitingPermission");
    server.call("run/send", json!({ "runId": log.run, "prompt": "fake:hello", "mode": "steer" }));
    assert_eq!(server.get(&log.run).get("queued"), None, "it waits for no turn");
    answer(&mut server, &log, "allow_once");
    let run = server.follow_to_end(&mut log);
    assert_succeeded(&run, &log);
    assert!(world.has("approved.txt"));
    assert_eq!(log.text_of("user_message_chunk"), "fake:approvalfake:hello");
    // Claude passes the prompt to its model in a reminder, which the model of the tests does not treat as a prompt.
    let text = log.text_of("agent_message_chunk");
    assert!(text == GREETING || text == COMMAND_ANSWER, "{text}");
    let has_prompt: Vec<bool> = world.model_requests().iter().map(|request| request["body"].to_string().contains("fake:hello")).collect();
    assert_eq!((has_prompt.first(), has_prompt.last()), (Some(&false), Some(&true)), "the model got it right after the command");
    assert_eq!(turns(&log), [("running", 1), ("succeeded", 1)]);
}

/// A steering prompt that comes while the answer is being written, when no tool call follows after which it could be
/// sent.
pub(crate) fn steering_too_late(world: &World) {
    let mut server = world.server();
    let mut log = world.start(&mut server, "fake:gate", json!({ "permissions": "bypass" }));
    follow_to_words(&mut server, &mut log);
    server.call("run/send", json!({ "runId": log.run, "prompt": "fake:two", "mode": "steer" }));
    world.open_the_gate();
    let run = server.follow_to_end(&mut log);
    assert_succeeded(&run, &log);
    assert_eq!(log.text_of("user_message_chunk"), "fake:gatefake:two", "no prompt is lost and none is sent twice");
    let text = log.text_of("agent_message_chunk");
    let before = text.strip_suffix(COMMAND_ANSWER).expect("the answer to the second prompt");
    // Codex stops the answer that is being written, and continues with the prompt.
    assert!(before == GREETING || world.agent.name == "codex" && !before.is_empty() && GREETING.starts_with(before), "{text}");
}
