//! The entries of a run's log. Each is also the params of the notification that pushes it.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    UnixMs,
    id::RunId,
    session::Session,
    shape::open_object,
    state::{RunError, RunState, Usage},
};

/// One numbered entry of a run's log. `seq` counts 1, 2, 3 … over all kinds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum Entry {
    Output(OutputEntry),
    Session(SessionEntry),
    Update(UpdateEntry),
    Permission(PermissionEntry),
    State(StateEntry),
}

/// The kinds of entries, as `kinds` filters name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Kind {
    Output,
    Session,
    Update,
    Permission,
    State,
}

/// What the program wrote, byte for byte.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OutputEntry {
    /// Which run.
    pub run_id: RunId,
    /// Number of the entry; of the last one, where several were merged for a slow client.
    pub seq: u64,
    /// Number of the first entry merged into this notification; absent in the log itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_seq: Option<u64>,
    /// When the bytes were read, Unix milliseconds.
    pub at: UnixMs,
    /// Which of the two streams.
    pub stream: Stream,
    /// Position of the first byte within its own stream, counted in the program's raw bytes.
    pub offset: u64,
    /// The bytes as UTF-8. U+FFFD stands where the program wrote something else, and then `data` is there.
    pub text: String,
    /// The exact bytes in base64 (RFC 4648, padded), only where they are not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
}

/// The provider's session became known, or more of it did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionEntry {
    /// Which run.
    pub run_id: RunId,
    /// Number of the entry.
    pub seq: u64,
    /// When, Unix milliseconds.
    pub at: UnixMs,
    /// All that is known of it now.
    pub session: Session,
}

/// What the output means, in the words of the Agent Client Protocol, schema 1.15.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UpdateEntry {
    /// Which run.
    pub run_id: RunId,
    /// Number of the entry.
    pub seq: u64,
    /// When, Unix milliseconds.
    pub at: UnixMs,
    /// An ACP v1 `SessionUpdate`: an open object with `sessionUpdate: string`. Variants that a client does not know are to be ignored.
    #[schemars(schema_with = "open_object")]
    pub update: Map<String, Value>,
}

/// A provider asks for a decision, or a question was settled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PermissionEntry {
    /// Which run.
    pub run_id: RunId,
    /// Number of the entry.
    pub seq: u64,
    /// When, Unix milliseconds.
    pub at: UnixMs,
    /// Unique in the run.
    pub permission_id: String,
    #[serde(flatten)]
    pub status: PermissionStatus,
}

/// Where a question stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "status", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum PermissionStatus {
    Requested {
        /// An ACP `ToolCallUpdate`, complete.
        #[schemars(schema_with = "open_object")]
        tool_call: Map<String, Value>,
        /// The answers to choose from.
        options: Vec<PermissionOption>,
    },
    Resolved {
        /// The option that was chosen.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        option_id: Option<String>,
        /// Nobody chose; nothing was allowed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cancelled: Option<bool>,
        /// What was said beside the choice.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<String>,
        /// Who settled it.
        by: ResolvedBy,
    },
}

/// One answer that a permission request offers (ACP `PermissionOption`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PermissionOption {
    /// What `run/answer` names.
    pub option_id: String,
    /// What a person reads.
    pub name: String,
    /// `allow_once`, `allow_always`, `reject_once` or `reject_always`.
    pub kind: String,
}

/// Who settled a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ResolvedBy {
    /// A client, by `run/answer`.
    Client,
    /// The run's permission mode.
    Policy,
    /// The provider itself.
    Provider,
}

/// The run changed its state. A final one is the last entry of the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StateEntry {
    /// Which run.
    pub run_id: RunId,
    /// Number of the entry.
    pub seq: u64,
    /// When, Unix milliseconds.
    pub at: UnixMs,
    /// The new state.
    pub state: RunState,
    /// The turn that begins or ends here: 1, 2, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn: Option<u64>,
    /// Why the turn ended: an ACP `StopReason` (`end_turn`, `max_tokens`, `max_turn_requests`, `refusal`, `cancelled`) or `error`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_reason: Option<String>,
    /// The program's exit code, if it exited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The signal that ended the program, by name (`SIGKILL`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    /// What went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<RunError>,
    /// What this turn used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// Processes of the run's tree that were spared (`keep`) or could not be ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<LeftProcess>,
}

/// A process that outlived its run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LeftProcess {
    /// Its process id.
    pub pid: u32,
    /// Its command line, words joined by spaces, shortened to 200 bytes.
    pub command: String,
}

/// One of the program's two output streams. Under a pseudoterminal everything is `stdout`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Stream {
    Stdout,
    Stderr,
}

impl OutputEntry {
    /// How many raw bytes of the program's this entry stands for.
    pub fn raw_len(&self) -> u64 {
        match &self.data {
            None => self.text.len() as u64,
            Some(data) => {
                let padding = data.bytes().rev().take_while(|byte| *byte == b'=').count();
                (data.len() / 4 * 3 - padding) as u64
            }
        }
    }

    /// The bytes that the program wrote; where `data` is no base64, its text.
    pub fn raw(&self) -> Vec<u8> {
        let data = self.data.as_ref().and_then(|data| BASE64.decode(data).ok());
        data.unwrap_or_else(|| self.text.clone().into_bytes())
    }
}

impl Stream {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Kind {
    pub const ALL: [Self; 5] = [Self::Output, Self::Session, Self::Update, Self::Permission, Self::State];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Output => "output",
            Self::Session => "session",
            Self::Update => "update",
            Self::Permission => "permission",
            Self::State => "state",
        }
    }

    /// The notification that pushes entries of this kind.
    pub fn method(self) -> &'static str {
        match self {
            Self::Output => "run/output",
            Self::Session => "run/session",
            Self::Update => "run/update",
            Self::Permission => "run/permission",
            Self::State => "run/state",
        }
    }

    /// Rare entries (session, state, permission) go to every client that watches; the others only to attached ones.
    pub fn is_rare(self) -> bool {
        matches!(self, Self::Session | Self::Permission | Self::State)
    }
}

impl Entry {
    pub fn kind(&self) -> Kind {
        match self {
            Self::Output(_) => Kind::Output,
            Self::Session(_) => Kind::Session,
            Self::Update(_) => Kind::Update,
            Self::Permission(_) => Kind::Permission,
            Self::State(_) => Kind::State,
        }
    }

    pub fn run_id(&self) -> RunId {
        match self {
            Self::Output(entry) => entry.run_id,
            Self::Session(entry) => entry.run_id,
            Self::Update(entry) => entry.run_id,
            Self::Permission(entry) => entry.run_id,
            Self::State(entry) => entry.run_id,
        }
    }

    pub fn seq(&self) -> u64 {
        match self {
            Self::Output(entry) => entry.seq,
            Self::Session(entry) => entry.seq,
            Self::Update(entry) => entry.seq,
            Self::Permission(entry) => entry.seq,
            Self::State(entry) => entry.seq,
        }
    }

    /// When it was logged.
    pub fn at(&self) -> UnixMs {
        match self {
            Self::Output(entry) => entry.at,
            Self::Session(entry) => entry.at,
            Self::Update(entry) => entry.at,
            Self::Permission(entry) => entry.at,
            Self::State(entry) => entry.at,
        }
    }
}
