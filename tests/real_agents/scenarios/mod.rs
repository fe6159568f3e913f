//! The scenarios. A scenario expects of an agent only what its [`Agent`](crate::agents::Agent) says.

pub(crate) mod editors;
pub(crate) mod failures;
pub(crate) mod listing;
pub(crate) mod past;
pub(crate) mod permissions;
pub(crate) mod prompts;
pub(crate) mod sessions;
pub(crate) mod terminal;
pub(crate) mod tools;

use serde_json::{Value, json};

use crate::harness::{Failure, Log, Server};

/// The model's answer to `fake:hello` and similar prompts.
pub(crate) const GREETING: &str = "Hello from the model of the tests: naïve ✓.";
/// The model's answer after a command.
pub(crate) const COMMAND_ANSWER: &str = "The command has run.";

/// Follows until the run is in this state.
pub(crate) fn follow_to_state(server: &mut Server, log: &mut Log, state: &str) {
    server.follow(log, state, |log| log.is_final() || log.states.last().is_some_and(|last| last["state"] == state));
    assert_eq!(log.states.last().expect("a state")["state"], state, "{log:#?}");
}

/// Follows until this turn has ended, and returns the state entry of its end.
pub(crate) fn follow_to_turn_end(server: &mut Server, log: &mut Log, turn: u64) -> Value {
    let ended = |log: &Log| log.states.iter().find(|state| state["turn"] == turn && state.get("stopReason").is_some()).cloned();
    server.follow(log, "the end of a turn", |log| log.is_final() || ended(log).is_some());
    ended(log).unwrap_or_else(|| panic!("turn {turn} did not end: {log:#?}"))
}

/// Follows until the model's answer has begun.
pub(crate) fn follow_to_words(server: &mut Server, log: &mut Log) {
    server.follow(log, "the first words", |log| log.is_final() || log.text_of("agent_message_chunk").contains("Hello"));
    assert!(!log.is_final(), "{log:#?}");
}

/// Answers the open permission request with an option of this kind.
pub(crate) fn answer(server: &mut Server, log: &Log, kind: &str) {
    send_answer(server, log, kind).expect("an open question");
}

fn send_answer(server: &mut Server, log: &Log, kind: &str) -> Result<Value, Failure> {
    let question = log.permission_requests().last().copied().expect("a question").clone();
    let options = question["options"].as_array().expect("options");
    let option = options.iter().find(|option| option["kind"] == kind).unwrap_or_else(|| panic!("no option {kind}: {question}"));
    let answer = json!({ "runId": log.run, "permissionId": question["permissionId"], "optionId": option["optionId"] });
    server.request("run/answer", answer)
}

/// Follows to the end, and answers every permission request with an option of this kind.
pub(crate) fn follow_answering(server: &mut Server, log: &mut Log, kind: &str) -> Value {
    let mut answered = 0;
    loop {
        server.follow(log, "the end or a question", |log| log.is_final() || log.permission_requests().len() > answered);
        if log.is_final() {
            return server.follow_to_end(log);
        }
        answered = log.permission_requests().len();
        match send_answer(server, log, kind) {
            // loomd's permission mode has answered it already.
            Err(failure) if failure.kind == "permissionResolved" => {}
            given => drop(given.expect("an answer")),
        }
    }
}

/// Asserts that the run succeeded.
pub(crate) fn assert_succeeded(run: &Value, log: &Log) {
    assert_eq!(run["state"], "succeeded", "{run:#}\nstderr: {}", String::from_utf8_lossy(&log.stderr));
}
