//! Commands that the agent runs: their output is reported once, and they end when they must.

use serde_json::{Value, json};

use super::{COMMAND_ANSWER, GREETING, assert_succeeded, follow_to_turn_end, follow_to_words};
use crate::{
    agents::OutputReporting,
    harness::{Log, until},
    world::World,
};

pub(crate) fn tool(world: &World) {
    let mut server = world.server();
    let mut log = world.start(&mut server, "fake:tool", json!({ "permissions": "bypass" }));
    let run = server.follow_to_end(&mut log);
    assert_succeeded(&run, &log);
    assert!(log.text_of("agent_message_chunk").ends_with(COMMAND_ANSWER), "{}", log.text_of("agent_message_chunk"));
    let calls = log.updates("tool_call");
    assert_eq!(calls.len(), 1, "a call is reported once: {calls:#?}");
    let (call, known) = (&calls[0]["toolCallId"], known_of(&log, &calls[0]["toolCallId"]));
    assert_eq!((&known["kind"], &known["status"]), (&json!("execute"), &json!("completed")), "{known:#}");
    assert!(known["title"].as_str().is_some_and(|title| title.contains("echo tick")), "{known:#}");
    let output = world.agent.output;
    let expected = match output {
        OutputReporting::Live | OutputReporting::Whole => "tick 1\ntick 2\ntick 3",
        OutputReporting::LiveLate => "tick 3",
        OutputReporting::Nothing => "",
    };
    assert!(
        log.tool_output().trim_end().ends_with(expected) && (output != OutputReporting::Nothing || log.tool_output().is_empty()),
        "{known:#}"
    );
    let updates = log.updates("tool_call_update");
    let growing = updates.iter().filter(|update| update["toolCallId"] == *call && update["_meta"].get("loomd/output").is_some());
    let growing = growing.take_while(|update| update["status"] != "completed").count();
    let is_live = matches!(output, OutputReporting::Live | OutputReporting::LiveLate);
    assert_eq!(growing > 1, is_live, "{growing} pieces of output came while the command ran: {updates:#?}");
}

/// The final fields of a tool call, from all its updates.
fn known_of(log: &Log, call: &Value) -> Value {
    let mut known = json!({});
    for update in log.events.iter().map(|entry| &entry["update"]).filter(|update| update["toolCallId"] == *call) {
        for (name, value) in update.as_object().expect("an update") {
            known[name] = value.clone();
        }
    }
    known
}

pub(crate) fn interrupt(world: &World) {
    let mut server = world.server();
    let mut log = world.start(&mut server, "fake:gate", json!({ "interactive": true, "permissions": "bypass" }));
    follow_to_words(&mut server, &mut log);
    server.call("run/interrupt", json!({ "runId": log.run }));
    assert_eq!(follow_to_turn_end(&mut server, &mut log, 1)["stopReason"], "cancelled");

    server.call("run/send", json!({ "runId": log.run, "text": "fake:sleep" }));
    world.wait_for_the_command();
    server.call("run/interrupt", json!({ "runId": log.run }));
    assert_eq!(follow_to_turn_end(&mut server, &mut log, 2)["stopReason"], "cancelled");
    until("an end of the command", || world.processes().iter().all(|process| !process.argv.contains("sleep 120")).then_some(()));

    server.call("run/send", json!({ "runId": log.run, "text": "fake:hello" }));
    assert_eq!(follow_to_turn_end(&mut server, &mut log, 3)["stopReason"], "end_turn");
    assert!(log.text_of("agent_message_chunk").ends_with(GREETING), "{}", log.text_of("agent_message_chunk"));
    assert_eq!(log.text_of("user_message_chunk"), "fake:gatefake:sleepfake:hello");
    server.call("run/closeInput", json!({ "runId": log.run }));
    assert_succeeded(&server.follow_to_end(&mut log), &log);
    // The interrupted answer was still being read when it was stopped.
    world.open_the_gate();
}
