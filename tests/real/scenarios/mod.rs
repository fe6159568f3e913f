//! What every agent goes through. A scenario asks nothing of an agent that it does not have.

pub mod ending;
pub mod listing;
pub mod permissions;
pub mod sessions;
pub mod talking;
pub mod terminal;
pub mod tools;

use serde_json::{Value, json};

use crate::harness::{Failure, Log, Server};

/// What the model says to `fake:hello` and the like.
pub const GREETING: &str = "Hello from the model of the tests: naïve ✓.";
/// What it says after a command.
pub const RAN: &str = "The command has run.";

/// Follows until the run is in this state.
pub fn follow_to_state(server: &mut Server, log: &mut Log, state: &str) {
    server.follow(log, state, |log| log.is_final() || log.states.last().is_some_and(|last| last["state"] == state));
    assert_eq!(log.states.last().expect("a state")["state"], state, "{log:#?}");
}

/// Follows until so many turns have ended, and returns how the last of them did.
pub fn follow_to_turn_end(server: &mut Server, log: &mut Log, turn: u64) -> Value {
    let ended = |log: &Log| log.states.iter().find(|state| state["turn"] == turn && state.get("stopReason").is_some()).cloned();
    server.follow(log, "the end of a turn", |log| log.is_final() || ended(log).is_some());
    ended(log).unwrap_or_else(|| panic!("turn {turn} did not end: {log:#?}"))
}

/// Follows until the model's answer has begun.
pub fn follow_to_words(server: &mut Server, log: &mut Log) {
    server.follow(log, "the first words", |log| log.is_final() || log.spoken("agent_message_chunk").contains("Hello"));
    assert!(!log.is_final(), "{log:#?}");
}

/// Answers the open question with an option of this kind.
pub fn answer(server: &mut Server, log: &Log, kind: &str) {
    give(server, log, kind).expect("an open question");
}

fn give(server: &mut Server, log: &Log, kind: &str) -> Result<Value, Failure> {
    let question = log.asked().last().copied().expect("a question").clone();
    let options = question["options"].as_array().expect("options");
    let option = options.iter().find(|option| option["kind"] == kind).unwrap_or_else(|| panic!("no option {kind}: {question}"));
    let answer = json!({ "runId": log.run, "permissionId": question["permissionId"], "optionId": option["optionId"] });
    server.ask("run/answer", answer)
}

/// Follows to the end, and answers every question on the way with an option of this kind.
pub fn follow_answering(server: &mut Server, log: &mut Log, kind: &str) -> Value {
    let mut answered = 0;
    loop {
        server.follow(log, "the end or a question", |log| log.is_final() || log.asked().len() > answered);
        if log.is_final() {
            return server.follow_to_end(log);
        }
        answered = log.asked().len();
        match give(server, log, kind) {
            // A policy was faster.
            Err(failure) if failure.kind == "permissionResolved" => {}
            given => drop(given.expect("an answer")),
        }
    }
}

/// A run that ended as it should.
pub fn assert_succeeded(run: &Value, log: &Log) {
    assert_eq!(run["state"], "succeeded", "{run:#}\nstderr: {}", String::from_utf8_lossy(&log.stderr));
}
