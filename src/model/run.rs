//! A run as clients see it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    UnixMs,
    entry::{Entry, PermissionEntry, PermissionStatus, Stream},
    id::RunId,
    session::Session,
    shape::open_object,
    state::{RunBytes, RunError, RunState, Usage},
};

/// A run: its description, and its state as of the entry `lastSeq`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// Its identifier; ids sort by time of creation.
    pub id: RunId,
    /// As `run/start` named it.
    pub provider: String,
    /// A line for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// For whoever looks for the run.
    pub labels: BTreeMap<String, String>,
    /// A pinned run is never pruned.
    pub pinned: bool,
    /// The params of the `run/start` that made it, for a rerun; `envNames` stands for `env`, whose values are never stored.
    #[schemars(schema_with = "open_object")]
    pub params: Map<String, Value>,
    /// The argv that was executed.
    pub command: Vec<String>,
    /// Where it was executed; as it was asked for, but without `.`, doubled slashes and a slash at its end.
    pub cwd: String,
    /// Where it stands.
    pub state: RunState,
    /// The newest turn: 1, 2, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn: Option<u64>,
    /// Prompts that wait for their turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queued: Option<u64>,
    /// Process id of the program, while it lives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// The open questions: `requested` entries that nobody has answered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub permissions: Vec<PermissionEntry>,
    /// The program's exit code, if it exited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The signal that ended the program, by name (`SIGKILL`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    /// What went wrong; of a live run, what holds it up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<RunError>,
    /// The provider's conversation behind the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<Session>,
    /// The run that this one resumed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_run_id: Option<RunId>,
    /// When it was asked for, Unix milliseconds.
    pub created_at: UnixMs,
    /// When the program was spawned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<UnixMs>,
    /// When it became final.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<UnixMs>,
    /// The newest entry that this picture includes.
    pub last_seq: u64,
    /// Everything up to this entry would survive a power cut.
    pub durable_seq: u64,
    /// What the program wrote so far.
    pub bytes: RunBytes,
    /// The newest file of the log, while the log is a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transcript: Option<String>,
    /// What all its turns used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// When somebody took its session over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken_over_at: Option<UnixMs>,
}

impl Run {
    /// Moves the picture on by the log's next entry. This is the only place where entries become state,
    /// so that a client, the supervisor and whoever reads a dead run's log agree.
    pub fn apply(&mut self, entry: &Entry) {
        self.last_seq = entry.seq();
        match entry {
            Entry::Output(entry) => {
                let end = entry.offset + entry.raw_len();
                match entry.stream {
                    Stream::Stdout => self.bytes.stdout = end,
                    Stream::Stderr => self.bytes.stderr = end,
                }
            }
            Entry::Update(_) => {}
            Entry::Session(entry) => self.session = Some(entry.session.clone()),
            Entry::Permission(entry) => match entry.status {
                PermissionStatus::Requested { .. } => self.permissions.push(entry.clone()),
                PermissionStatus::Resolved { .. } => {
                    self.permissions.retain(|open| open.permission_id != entry.permission_id);
                }
            },
            Entry::State(entry) => {
                self.state = entry.state;
                self.turn = entry.turn.or(self.turn);
                self.error = entry.error.clone();
                if entry.state == RunState::Running {
                    self.started_at = self.started_at.or(Some(entry.at));
                }
                if let Some(usage) = &entry.usage {
                    self.usage.get_or_insert_default().add(usage);
                }
                if entry.state.is_final() {
                    self.ended_at = Some(entry.at);
                    self.exit_code = entry.exit_code;
                    self.signal = entry.signal.clone();
                    self.pid = None;
                    self.queued = None;
                    self.permissions.clear();
                }
            }
        }
    }
}
