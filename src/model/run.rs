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
    /// Where it was executed.
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

/// Where a run stands. The last five are final.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum RunState {
    /// The program has not been spawned yet.
    Starting,
    /// The program runs.
    Running,
    /// The provider waits for an answer to a question.
    AwaitingPermission,
    /// An interactive run between turns.
    Idle,
    /// The provider said so, or exit code 0 where it says nothing.
    Succeeded,
    /// The program failed, or could not do its work.
    Failed,
    /// A client or a limit ended it.
    Cancelled,
    /// It ran, or was silent, for longer than it was allowed.
    TimedOut,
    /// Its supervising process died before the run ended.
    Lost,
}

/// Why a run or a turn failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunError {
    /// `auth`, `rateLimit`, `provider`, `protocol`, `spawn`, `sessionNotFound`, `outputLimit`, `storage`, `supervisor` or `timeout`; more may come.
    pub kind: String,
    /// One sentence for a person.
    pub message: String,
}

/// Bytes that the program wrote, by stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunBytes {
    /// On stdout; with a terminal, everything.
    pub stdout: u64,
    /// On stderr.
    pub stderr: u64,
}

/// What a model was paid for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// Tokens read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_tokens: Option<u64>,
    /// Tokens written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_tokens: Option<u64>,
    /// Tokens read from the provider's cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_input_tokens: Option<u64>,
    /// In US dollars, where the provider says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<f64>,
}

impl RunState {
    pub fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled | Self::TimedOut | Self::Lost)
    }

    /// The word that stands for it in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::AwaitingPermission => "awaitingPermission",
            Self::Idle => "idle",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::TimedOut => "timedOut",
            Self::Lost => "lost",
        }
    }
}

impl Usage {
    /// Adds what one more turn used.
    pub fn add(&mut self, turn: &Self) {
        fn sum<T: std::ops::Add<Output = T>>(a: Option<T>, b: Option<T>) -> Option<T> {
            match (a, b) {
                (Some(a), Some(b)) => Some(a + b),
                (a, b) => a.or(b),
            }
        }
        self.input_tokens = sum(self.input_tokens, turn.input_tokens);
        self.output_tokens = sum(self.output_tokens, turn.output_tokens);
        self.cached_input_tokens = sum(self.cached_input_tokens, turn.cached_input_tokens);
        self.cost_usd = sum(self.cost_usd, turn.cost_usd);
    }
}

impl RunBytes {
    pub fn total(self) -> u64 {
        self.stdout + self.stderr
    }
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
