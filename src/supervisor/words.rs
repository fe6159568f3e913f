//! What a server and a supervisor say to each other: lines of JSON over a socket.
//!
//! The first connection is born with the supervisor and begins with [`Orders`] and [`Birth`]; from then on it is like
//! those that come through the socket `s`. A server sends [`Asked`] lines, a supervisor [`Said`] lines. An empty line
//! from the supervisor means that the log has grown; an empty line from the server, that [`WAKE_CREDIT`] / 2 of those
//! have been seen, so that no more than [`WAKE_CREDIT`] ever wait in the socket of a server that is stopped.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};

use crate::{
    model::{
        Failure, Run,
        calls::{OnDisconnect, PermissionMode, Prompt},
    },
    provider::Task,
};

/// Most empty lines that may be on their way.
pub const WAKE_CREDIT: u32 = 64;

/// Everything that a supervisor needs to know. Values of `env` travel only here.
#[derive(Debug, Serialize, Deserialize)]
pub struct Orders {
    /// The directory `runs`.
    pub runs: String,
    /// The run as it begins.
    pub run: Run,
    /// Hash of the client's token, for edits of the description.
    pub token: Option<String>,
    pub env: BTreeMap<String, Option<String>>,
    pub umask: u32,
    pub stdin: Option<String>,
    pub tty: bool,
    pub interactive: bool,
    /// What an agent is to do; `None`: the program is a command.
    pub task: Option<Task>,
    /// Whether the task is told on stdin.
    pub talks: bool,
    pub keep_idle_ms: Option<u64>,
    pub timeout_ms: Option<u64>,
    pub idle_timeout_ms: Option<u64>,
    pub max_output_bytes: Option<u64>,
    pub on_disconnect: OnDisconnect,
    pub keep: Vec<String>,
    /// The connection that carries this is attached to the run.
    pub attached: bool,
    /// Most raw bytes in one entry of output.
    pub chunk_bytes: usize,
}

/// The answer to [`Orders`].
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Birth {
    Started(Box<Run>),
    Failed(Failure),
}

/// A request to a supervisor.
#[derive(Debug, Serialize, Deserialize)]
pub struct Asked {
    /// Chosen by the server; the answer carries it.
    pub id: u64,
    pub word: Word,
}

/// What can be asked of a supervisor.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Word {
    /// This server's client is attached to the run, or no longer.
    Attached(bool),
    /// Answered once the run is final, with the run.
    Cancel {
        grace_ms: u64,
    },
    Interrupt,
    /// Text for a command, a prompt for an agent.
    Send {
        text: Option<String>,
        prompt: Option<Prompt>,
        steer: bool,
    },
    /// Answers a question of an agent's; `option_id: None` refuses to choose.
    Answer {
        permission_id: String,
        option_id: Option<String>,
        message: Option<String>,
    },
    /// Answered with the run.
    Configure {
        model: Option<String>,
        permissions: Option<PermissionMode>,
    },
    /// Ends the program as politely as can be, for its session goes on elsewhere. Answered once the run is final, with the run.
    TakeOver,
    CloseInput,
    Edit {
        title: Option<String>,
        labels: Option<BTreeMap<String, String>>,
        pinned: Option<bool>,
    },
    /// Answered with the number of the last durable entry, once `seq` (default: the newest) is among them.
    Sync {
        seq: Option<u64>,
    },
}

/// A line from a supervisor.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Said {
    Answer {
        id: u64,
        result: Result<Value, Failure>,
    },
    /// A rare entry (session, permission, state), after it was appended.
    Entry(Box<RawValue>),
    /// The run changed in a way that no entry tells.
    Changed(Box<Run>),
}

/// One line, with its line feed.
pub fn line(message: &impl Serialize) -> Vec<u8> {
    let mut line = serde_json::to_vec(message).expect("words always have a JSON form");
    line.push(b'\n');
    line
}
