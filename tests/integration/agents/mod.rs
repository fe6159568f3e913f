//! Runs of agents: a scripted one that does what its prompt says, and recordings of the real ones.

mod configured;
mod edges;
mod faults;
mod files;
mod forbidden;
mod limits;
mod odd;
mod options;
mod permissions;
mod replayed;
mod rules;
mod sessions;
mod turns;

use serde_json::{Value, json};

use crate::harness::{Home, Log, Server};

/// The scripted agent's argv.
pub(crate) fn scripted(home: &Home, options: &[&str]) -> Vec<String> {
    let program = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/agents/scripted.py").to_owned();
    let kept = home.path().join("sessions").display().to_string();
    let mut argv = vec!["python3".to_owned(), program, "--keep".to_owned(), kept];
    argv.extend(options.iter().map(|option| (*option).to_owned()));
    argv
}

/// Params of a run of the scripted agent.
pub(crate) fn params(home: &Home, prompt: &str) -> Value {
    json!({ "provider": "acp", "command": scripted(home, &[]), "prompt": prompt, "cwd": home.path() })
}

/// Params of a run of the scripted agent, with further members.
pub(crate) fn params_with(home: &Home, prompt: &str, more: Value) -> Value {
    let mut params = params(home, prompt);
    params.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    params
}

/// Follows until the run is in this state.
pub(crate) fn follow_to_state(server: &mut Server, log: &mut Log, state: &str) {
    server.follow(log, state, |log| log.states.last().is_some_and(|last| last["state"] == state));
}

/// Follows until this turn has ended.
pub(crate) fn follow_to_turn_end(server: &mut Server, log: &mut Log, turn: u64) {
    server
        .follow(log, "the end of a turn", |log| log.states.iter().any(|state| state["turn"] == turn && state.get("stopReason").is_some()));
}
