//! The control protocol between a server and a supervisor: lines of JSON over a Unix socket.
//!
//! A server sends [`ControlRequest`]s, each with a [`Command`]. A supervisor sends [`Event`]s; [`Event::Answer`] answers
//! a request by its id. The server that starts a supervisor opens the first connection and sends [`Command::Launch`]
//! over it. From then on this connection is like those that servers open through the socket `s` in the run's directory.
//!
//! A connection begins with the version of each side. The server's is request [`VERSION_ID`], the supervisor's is the
//! answer to it. Through the socket the supervisor answers before it is asked, and the server asks once it has read
//! that: a server of version 0 ignores an answer to no request of its own, and some supervisors of version 0 close the
//! connection at a command that they do not know. Who says no version has version 0. There a connection that launches
//! begins with the [`LaunchSpec`] itself, which a [`StartReply`] answers.
//!
//! Within a version, too, a supervisor answers `unsupported` to a command that it does not know, and a server passes
//! over an event that it does not know.
//!
//! An empty line from the supervisor is a wake-up: the log has grown. A server sends an empty line after every
//! [`WAKE_CREDIT`] / 2 wake-ups that it has read, so at most [`WAKE_CREDIT`] wake-ups wait in the socket of a server
//! that does not read.
//!
//! A supervisor outlives an upgrade of the server, so the names on the wire must not change.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, value::RawValue};

use super::{
    Failure, Run, RunId, Task, TerminalSize,
    calls::{OnDisconnect, PermissionMode, Prompt, RunSettings},
};

/// How many wake-ups a supervisor may have sent that the server has not confirmed.
pub(crate) const WAKE_CREDIT: u32 = 64;

/// The version that this build speaks.
pub(crate) const VERSION: u32 = 1;

/// The id of [`Command::Version`], and of its answer.
pub(crate) const VERSION_ID: u64 = 0;
/// The id of [`Command::Launch`].
pub(crate) const LAUNCH_ID: u64 = 1;
/// The id of the first request that is neither.
pub(crate) const FIRST_ID: u64 = 2;

/// Everything that a supervisor needs to start its run. The values of `env` are sent only here and are never stored.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct LaunchSpec {
    /// The path of the directory `runs`.
    pub(crate) runs: String,
    /// The run in its first state.
    pub(crate) run: Run,
    /// Hash of the `clientToken` of `run/start`; the supervisor stores it with the run's description, also after an
    /// edit.
    pub(crate) token: Option<String>,
    pub(crate) env: BTreeMap<String, Option<String>>,
    pub(crate) umask: u32,
    pub(crate) stdin: Option<String>,
    pub(crate) interactive: bool,
    /// The task of an agent; `None` if the program is a command.
    pub(crate) task: Option<Task>,
    /// Whether the agent takes its task and further input over its stdin, in its own protocol.
    #[serde(rename = "talks")]
    pub(crate) protocol_on_stdin: bool,
    pub(crate) keep_idle_ms: Option<u64>,
    pub(crate) timeout_ms: Option<u64>,
    pub(crate) idle_timeout_ms: Option<u64>,
    pub(crate) max_output_bytes: Option<u64>,
    pub(crate) on_disconnect: OnDisconnect,
    pub(crate) keep: Vec<String>,
    /// Whether the client of this connection is attached to the run.
    pub(crate) attached: bool,
    /// Whether that client answers what programs ask of a terminal.
    #[serde(default)]
    pub(crate) shows_terminal: bool,
    /// Whether a person can answer permission requests at that client. `None`: the server is older and does not say.
    #[serde(default)]
    pub(crate) can_answer: Option<bool>,
    /// What is started when the run waits for an answer or has ended.
    #[serde(default)]
    pub(crate) notifier: Option<Notifier>,
    /// Notices about the start, as updates.
    #[serde(default)]
    pub(crate) notices: Vec<Map<String, Value>>,
    /// Most raw bytes of output in one entry.
    pub(crate) chunk_bytes: usize,
    /// The configuration file of the server, which no mode lets an agent change.
    #[serde(default)]
    pub(crate) config: Option<String>,
    /// The runs in whose trees the server that starts this one stands: what they may do to it, see [`ControlRequest::within`].
    #[serde(default)]
    pub(crate) within: Vec<RunId>,
}

/// The program that tells a person of a run while nobody who can answer is attached to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Notifier {
    pub(crate) command: Vec<String>,
    /// Whether a title and a text follow as its last two arguments.
    pub(crate) takes_text: bool,
    /// It is ended after this time.
    pub(crate) timeout_ms: u64,
}

/// The answer to a [`LaunchSpec`] in version 0.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum StartReply {
    /// The program runs.
    Started(Box<Run>),
    /// The program could not be started; no run is left.
    Failed(Failure),
}

/// A request to a supervisor.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ControlRequest<C = Command> {
    /// The server chooses the id; the answer has the same one.
    pub(crate) id: u64,
    #[serde(rename = "word")]
    pub(crate) command: C,
    /// The runs in whose trees this server stands, as far as it knows; such a server may do less. The supervisor looks for itself
    /// as well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) within: Vec<RunId>,
}

/// [`Command::Launch`] with a spec that stays with the sender.
#[derive(Debug, Serialize)]
pub(crate) enum LaunchCommand<'a> {
    #[serde(rename = "launch")]
    Launch(&'a LaunchSpec),
}

/// What a server may ask a supervisor to do.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Command {
    /// The version of the protocol that the server speaks. The answer is the supervisor's.
    Version(u32),
    /// Starts the run of this supervisor. The answer is the run, once its program runs. If it could not be started, no
    /// run is left.
    Launch(Box<LaunchSpec>),
    /// Whether this server's client is attached to the run.
    Attached(bool),
    /// Whether this server's client, while it is attached, answers what programs ask of a terminal. Sent only for a run
    /// whose `tty` is known: an older supervisor knows neither.
    ShowsTerminal(bool),
    /// Whether a person can answer permission requests at this server's client, while it is attached. Sent only for a run with
    /// `notify`: an older supervisor knows neither.
    CanAnswer(bool),
    /// Changes the size of the run's terminal.
    SetSize(TerminalSize),
    /// Ends the run. The answer is the run, once it is final.
    Cancel { grace_ms: u64 },
    /// Stops the turn of an agent, or sends SIGINT to a command.
    Interrupt,
    /// Sends text to a command, or a prompt to an agent.
    Send { text: Option<String>, prompt: Option<Prompt>, steer: bool },
    /// The same, once for each token: a supervisor of an older version does not know it.
    SendOnce { token: String, text: Option<String>, prompt: Option<Prompt>, steer: bool },
    /// Answers a permission request; `option_id: None` means that the client refuses to choose.
    Answer { permission_id: String, option_id: Option<String>, message: Option<String> },
    /// Sets the model or the permission mode. The answer is the run.
    Configure { model: Option<String>, permissions: Option<PermissionMode> },
    /// The same with options of the agent, which a supervisor of an older version does not know.
    ConfigureOptions(RunSettings),
    /// Ends the program so that it can save its session, which goes on elsewhere. The answer is the run, once it is
    /// final.
    TakeOver,
    /// Closes the input of the run.
    CloseInput,
    /// The prompts that wait for a turn of an agent. The answer is a [`QueueResult`](super::calls::QueueResult).
    Queue,
    /// Takes a prompt back that waits. The answer is the [`QueuedPrompt`](super::calls::QueuedPrompt).
    Unqueue { prompt_id: u64 },
    /// Changes the description of the run.
    Edit { title: Option<String>, labels: Option<BTreeMap<String, String>>, pinned: Option<bool> },
    /// Makes the log durable. The answer is the number of the last durable entry, once that is at least `seq`, or the
    /// newest entry where `seq` is absent.
    Sync { seq: Option<u64> },
}

/// A line from a supervisor to a server.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Event {
    /// The answer to the [`ControlRequest`] with this id.
    Answer { id: u64, result: Result<Value, Failure> },
    /// A rare entry (session, permission, state) that was appended to the log.
    Entry(Box<RawValue>),
    /// The run changed in a way that no entry records.
    Changed(Box<Run>),
}

/// The version of this build, as a supervisor says it.
pub(crate) fn version_answer() -> Event {
    Event::Answer { id: VERSION_ID, result: Ok(VERSION.into()) }
}

/// A message as one line, with its line feed.
pub(crate) fn line(message: &impl Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(message).expect("a message always has a JSON form");
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A server and a supervisor may be of two versions, so fields whose Rust names changed keep their names on the
    /// wire.
    #[test]
    fn renamed_fields_keep_their_names_on_the_wire() {
        let request = ControlRequest { id: 7, command: Command::Sync { seq: Some(3) }, within: Vec::new() };
        assert_eq!(line(&request), b"{\"id\":7,\"word\":{\"sync\":{\"seq\":3}}}\n");
        let spec: LaunchSpec = serde_json::from_value(json!({
            "runs": "/runs",
            "run": {
                "id": "01890a5d-ac96-774b-bcce-b302099a8057", "provider": "command", "labels": {}, "pinned": false, "params": {},
                "command": ["true"], "cwd": "/", "state": "starting", "createdAt": 1, "lastSeq": 0, "durableSeq": 0,
                "bytes": { "stdout": 0, "stderr": 0 },
            },
            "env": {}, "umask": 18, "interactive": false, "talks": true, "on_disconnect": "detach", "keep": [],
            "attached": true, "chunk_bytes": 1,
        }))
        .expect("the spec reads");
        assert!(spec.protocol_on_stdin);
        assert_eq!(serde_json::to_value(&spec).expect("the spec writes")["talks"], true);
    }
}
