//! The entries of a run's log. Each is also the params of the notification that delivers it.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use strum::{Display, IntoStaticStr, VariantArray};

use super::{
    UnixMs,
    provider::Session,
    state::{RunError, RunId, RunState, TerminalSize, Usage},
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
    Size(SizeEntry),
}

/// The kinds of entries, as in `kinds`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, IntoStaticStr, VariantArray)]
#[serde(rename_all = "camelCase")]
#[strum(serialize_all = "camelCase")]
pub enum Kind {
    Output,
    Session,
    Update,
    Permission,
    State,
    Size,
}

/// Output of the program, byte for byte.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OutputEntry {
    /// Which run.
    pub(crate) run_id: RunId,
    /// Number of the entry. If several entries were merged for a slow client, number of the last one.
    pub(crate) seq: u64,
    /// Number of the first entry that was merged into this notification. Absent in the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) first_seq: Option<u64>,
    /// When the bytes were read, Unix milliseconds.
    pub(crate) at: UnixMs,
    /// Which of the two streams.
    pub(crate) stream: Stream,
    /// Position of the first byte in its stream, counted in the raw bytes of the program.
    pub(crate) offset: u64,
    /// The bytes as UTF-8. U+FFFD replaces what is not UTF-8; `data` is present then.
    pub(crate) text: String,
    /// The exact bytes in base64 (RFC 4648, padded). Present only if they are not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) data: Option<String>,
}

/// The provider's session became known, or more of it did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionEntry {
    /// Which run.
    pub(crate) run_id: RunId,
    /// Number of the entry.
    pub(crate) seq: u64,
    /// When, Unix milliseconds.
    pub(crate) at: UnixMs,
    /// The session as far as it is known now.
    pub(crate) session: Session,
}

/// The meaning of the output, as an update of the Agent Client Protocol (ACP), schema 1.15.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UpdateEntry {
    /// Which run.
    pub run_id: RunId,
    /// Number of the entry.
    pub seq: u64,
    /// When, Unix milliseconds.
    pub at: UnixMs,
    /// An ACP v1 `SessionUpdate`: an open object with `sessionUpdate: string`. Clients ignore variants that they do not
    /// know.
    #[schemars(schema_with = "open_object")]
    pub update: Map<String, Value>,
}

/// A permission request of a provider, or its resolution.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PermissionEntry {
    /// Which run.
    pub(crate) run_id: RunId,
    /// Number of the entry.
    pub(crate) seq: u64,
    /// When, Unix milliseconds.
    pub(crate) at: UnixMs,
    /// Unique in the run.
    pub(crate) permission_id: String,
    #[serde(flatten)]
    pub(crate) status: PermissionStatus,
}

/// The status of a permission request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "status", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum PermissionStatus {
    Requested {
        /// The whole tool call, as an ACP `ToolCallUpdate`.
        #[schemars(schema_with = "open_object")]
        tool_call: Map<String, Value>,
        /// The options to choose from.
        options: Vec<PermissionOption>,
    },
    Resolved {
        /// The option that was chosen.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        option_id: Option<String>,
        /// True if nobody chose an option. Nothing was allowed then.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cancelled: Option<bool>,
        /// The message that came with the choice.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        message: Option<String>,
        /// Who resolved it.
        by: ResolvedBy,
        /// The rule that resolved it, by its id.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rule: Option<String>,
    },
}

/// One option of a permission request (ACP `PermissionOption`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PermissionOption {
    /// The id that `run/answer` takes.
    pub(crate) option_id: String,
    /// A name for people.
    pub(crate) name: String,
    /// `allow_once`, `allow_always`, `reject_once` or `reject_always`.
    pub(crate) kind: String,
}

/// Who resolved a permission request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ResolvedBy {
    /// A client, by `run/answer`.
    Client,
    /// The run's permission mode, or a rule.
    Policy,
    /// The provider itself.
    Provider,
}

/// The run changed its state. A final one is the last entry of the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StateEntry {
    /// Which run.
    pub(crate) run_id: RunId,
    /// Number of the entry.
    pub(crate) seq: u64,
    /// When, Unix milliseconds.
    pub(crate) at: UnixMs,
    /// The new state.
    pub(crate) state: RunState,
    /// The turn that begins or ends here: 1, 2, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) turn: Option<u64>,
    /// Why the turn ended: an ACP `StopReason` (`end_turn`, `max_tokens`, `max_turn_requests`, `refusal`, `cancelled`)
    /// or `error`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) stop_reason: Option<String>,
    /// The program's exit code, if it exited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) exit_code: Option<i32>,
    /// The signal that ended the program, by name (`SIGKILL`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) signal: Option<String>,
    /// Why the run or the turn failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<RunError>,
    /// Usage of this turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) usage: Option<Usage>,
    /// Processes of the run's tree that were kept (`keep`) or could not be ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) left: Vec<LeftProcess>,
}

/// The size of the run's terminal: at its start, and at each change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SizeEntry {
    /// Which run.
    pub(crate) run_id: RunId,
    /// Number of the entry.
    pub(crate) seq: u64,
    /// When, Unix milliseconds.
    pub(crate) at: UnixMs,
    #[serde(flatten)]
    pub(crate) size: TerminalSize,
}

/// A process that outlived its run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LeftProcess {
    /// Its process id.
    pub(crate) pid: u32,
    /// Its command line, joined by spaces and shortened to 200 bytes.
    pub(crate) command: String,
}

/// One of the program's two output streams. Under a pseudoterminal everything is `stdout`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema, Display)]
#[serde(rename_all = "camelCase")]
#[strum(serialize_all = "camelCase")]
pub enum Stream {
    Stdout,
    Stderr,
}

impl UpdateEntry {
    /// Title and description of the notice that this is, if it is one.
    pub(crate) fn notice(&self) -> Option<(&str, Option<&str>)> {
        let text = |name: &str| self.update.get(name).and_then(Value::as_str);
        let title = text("title").filter(|_| text("sessionUpdate") == Some("notice"))?;
        Some((title, text("description")))
    }
}

/// A notice for people that no agent wrote, as an update.
pub(crate) fn notice(severity: &str, title: &str, description: Option<&str>) -> Map<String, Value> {
    let members = [("sessionUpdate", "notice"), ("severity", severity), ("title", title)];
    let members = members.into_iter().chain(description.map(|description| ("description", description)));
    members.map(|(name, value)| (name.to_owned(), value.into())).collect()
}

/// The schema of an object whose members the protocol does not prescribe.
pub(crate) fn open_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "additionalProperties": true })
}

impl OutputEntry {
    /// How many raw bytes of the program this entry has.
    pub(crate) fn raw_len(&self) -> u64 {
        match &self.data {
            None => self.text.len() as u64,
            Some(data) => {
                let padding = data.bytes().rev().take_while(|byte| *byte == b'=').count();
                (data.len() / 4 * 3 - padding) as u64
            }
        }
    }

    /// The raw bytes that the program wrote; those of `text` if `data` is not valid base64.
    pub(crate) fn raw(&self) -> Vec<u8> {
        let data = self.data.as_ref().and_then(|data| BASE64.decode(data).ok());
        data.unwrap_or_else(|| self.text.clone().into_bytes())
    }
}

impl Kind {
    pub(crate) const ALL: &[Self] = Self::VARIANTS;

    pub(crate) fn as_str(self) -> &'static str {
        self.into()
    }

    /// The method of the notification that delivers entries of this kind.
    pub(crate) fn method(self) -> &'static str {
        match self {
            Self::Output => "run/output",
            Self::Session => "run/session",
            Self::Update => "run/update",
            Self::Permission => "run/permission",
            Self::State => "run/state",
            Self::Size => "run/size",
        }
    }

    /// Whether entries of this kind are rare (session, permission, state). Rare entries go to every client that
    /// watches, the others only to attached ones.
    pub(crate) fn is_rare(self) -> bool {
        matches!(self, Self::Session | Self::Permission | Self::State)
    }
}

impl Entry {
    pub(crate) fn seq(&self) -> u64 {
        match self {
            Self::Output(entry) => entry.seq,
            Self::Session(entry) => entry.seq,
            Self::Update(entry) => entry.seq,
            Self::Permission(entry) => entry.seq,
            Self::State(entry) => entry.seq,
            Self::Size(entry) => entry.seq,
        }
    }

    /// When it was logged.
    pub(crate) fn at(&self) -> UnixMs {
        match self {
            Self::Output(entry) => entry.at,
            Self::Session(entry) => entry.at,
            Self::Update(entry) => entry.at,
            Self::Permission(entry) => entry.at,
            Self::State(entry) => entry.at,
            Self::Size(entry) => entry.at,
        }
    }
}
