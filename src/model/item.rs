//! The items of a transcript: what a run's log entries come to, as clients draw it.
//!
//! `transcript/` makes them out of entries. A client keeps items by number and applies [`ItemChange`]s to them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    UnixMs,
    calls::ChangeKind,
    entry::{PermissionOption, ResolvedBy, open_object},
    state::{RunError, RunState, Usage},
};

/// Version of the fold of entries into items. Item numbers are stable within one version; what must last refers to `seq`.
pub(crate) const FOLD_VERSION: u32 = 1;

/// A member of the `_meta` of a diff whose texts are not told.
pub(crate) const OMITTED_KEY: &str = "loomd/omitted";

/// One item of a run's transcript.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Item {
    /// Number of the item: 1, 2, … in the order of `seq`; within one entry a tool call comes before its permission, and the end of a turn last.
    pub(crate) item: u64,
    /// Number of the first entry that made it.
    pub(crate) seq: u64,
    /// Number of the newest entry that made or changed it.
    pub(crate) last_seq: u64,
    /// When it began, Unix milliseconds.
    pub(crate) at: UnixMs,
    /// When it ended, Unix milliseconds: a tool call by its status, a permission when it was resolved; a message, a thought and a plan
    /// with their turn; whatever is open when the run ends, then. What comes later still changes the item.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) end_at: Option<UnixMs>,
    /// The turn in which it began, or which it ends; 0 before the first, absent from the end of a run that was between turns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) turn: Option<u64>,
    /// The tool call whose sub-agent it belongs to, by its item number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) parent: Option<u64>,
    /// The item from which this text or tool call goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) continues: Option<u64>,
    #[serde(flatten)]
    pub(crate) kind: ItemKind,
}

/// What an item is. Clients draw kinds that they do not know by their `title`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub(crate) enum ItemKind {
    Message(MessageItem),
    Thought(MessageItem),
    Tool(Box<ToolItem>),
    Plan(PlanItem),
    Permission(Box<PermissionItem>),
    Notice(NoticeItem),
    Turn(Box<TurnItem>),
    Command(CommandItem),
    Other(OtherItem),
}

/// What the user or the agent says. A text over 256 KiB goes on in an item that `continues` this one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MessageItem {
    /// Whose text it is.
    pub(crate) role: MessageRole,
    /// The text so far, corrections included.
    pub(crate) text: String,
    /// ACP content blocks that are no text. One whose JSON is over 64 KiB is `{type, omitted: true}`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) blocks: Vec<Map<String, Value>>,
    /// The agent gave this message up and says it anew. Of a message in several items the last one tells it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) abandoned: bool,
}

/// Whose text a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum MessageRole {
    User,
    Agent,
}

/// A tool call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ToolItem {
    /// Unique in the run; an item that `continues` another has the id of that one.
    pub(crate) tool_call_id: String,
    /// What a person reads.
    pub(crate) title: String,
    /// ACP's `ToolKind`: `read`, `edit`, `delete`, `move`, `search`, `execute`, `think`, `fetch`, `switch_mode`, `other`.
    pub(crate) tool_kind: String,
    /// ACP's `ToolCallStatus`: `pending`, `in_progress`, `completed` or `failed`.
    pub(crate) status: String,
    /// The files that it works on: ACP's `ToolCallLocation`, `{path, line?}`.
    pub(crate) locations: Vec<ToolLocation>,
    /// What the tool was given; `{omitted: true}` where its JSON is over 64 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) raw_input: Option<Value>,
    /// What it printed or answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) output: Option<Output>,
    /// What it changes, or is to change, file by file.
    pub(crate) diffs: Vec<FileDiff>,
    /// The permissions that were asked for it.
    pub(crate) permissions: Vec<String>,
}

/// A file that a tool call works on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ToolLocation {
    /// Its path.
    pub(crate) path: String,
    /// The line, counted from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) line: Option<u64>,
}

/// What a tool call changes in one file: a patch, or the texts before and after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FileDiff {
    /// The file, as the provider names it; the new name of one that is moved.
    pub(crate) path: String,
    /// What becomes of the file.
    pub(crate) kind: ChangeKind,
    /// A unified patch, where the provider gives one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) patch: Option<String>,
    /// The text before, of the whole file or of the part that is replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) old_text: Option<String>,
    /// The text after.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) new_text: Option<String>,
    /// A patch over 256 KiB or a text over 64 KiB is missing here, or the call changes more than 1 MiB in all; `run/getItem` has it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) omitted: bool,
}

/// A text of which the middle may be missing: of a long one the first 48 KiB and the last 80 are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Output {
    /// What is kept.
    pub(crate) text: String,
    /// The byte of `text`, as UTF-8, behind which something is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) omitted_at: Option<u64>,
    /// How many bytes of UTF-8 are missing there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) omitted_bytes: Option<u64>,
}

/// An agent's plan; one for each turn, and for each sub-agent in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PlanItem {
    /// Its steps; at most 500.
    pub(crate) entries: Vec<PlanEntry>,
}

/// One step of a plan (ACP `PlanEntry`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PlanEntry {
    /// What is to be done, shortened to 4 KiB.
    pub(crate) content: String,
    /// `high`, `medium` or `low`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) priority: Option<String>,
    /// `pending`, `in_progress` or `completed`.
    pub(crate) status: String,
}

/// A permission that was asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PermissionItem {
    /// Unique in the run; what `run/answer` names.
    pub(crate) permission_id: String,
    /// The tool call that it is about.
    pub(crate) tool_call_id: String,
    /// An ACP `ToolCallUpdate`, complete, as it was asked; what becomes of the tool call later does not change it.
    #[schemars(schema_with = "open_object")]
    pub(crate) tool_call: Map<String, Value>,
    /// The whole of what is asked, for people to read; control characters and invisible ones are visible marks.
    pub(crate) shown: Vec<ShownPart>,
    /// The answers to choose from.
    pub(crate) options: Vec<PermissionOption>,
    /// What was answered; absent while the question is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) resolved: Option<PermissionResolution>,
}

/// One part of what a permission is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ShownPart {
    /// `title`, `command`, `file`, `content`, `diff`, or the name of the tool's own parameter.
    pub(crate) label: String,
    /// Its value, in one or several lines.
    pub(crate) text: String,
}

/// How a permission was resolved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PermissionResolution {
    /// The option that was chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) option_id: Option<String>,
    /// Nobody chose; nothing was allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cancelled: Option<bool>,
    /// The text that came with the choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) message: Option<String>,
    /// Who resolved it.
    pub(crate) by: ResolvedBy,
    /// The rule that resolved it, by its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rule: Option<String>,
}

/// A warning, a retry, something for people that the agent did not say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NoticeItem {
    /// How much it matters.
    pub(crate) severity: NoticeSeverity,
    /// One line.
    pub(crate) title: String,
    /// What there is to say beside it, shortened to 64 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) description: Option<String>,
}

/// How much a notice matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum NoticeSeverity {
    Info,
    Warning,
    Error,
}

/// The end of a turn, or of the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TurnItem {
    /// `idle`, or the final state of the run.
    pub(crate) state: RunState,
    /// An ACP `StopReason`, or `error`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) stop_reason: Option<String>,
    /// What this turn used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) usage: Option<Usage>,
    /// What went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<RunError>,
    /// The program's exit code, if it exited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) exit_code: Option<i32>,
    /// The signal that ended the program, by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) signal: Option<String>,
}

/// The output of a run whose provider has no updates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CommandItem {
    /// What it wrote to stdout; under a terminal everything.
    pub(crate) output: Output,
    /// What it wrote to stderr.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) stderr: Option<Output>,
}

/// An update that has no kind of its own yet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OtherItem {
    /// What a client draws.
    pub(crate) title: String,
    /// The update; absent where its JSON is over 64 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) data: Option<Value>,
}

/// How one entry changes one item. Whole items may come again; an append comes once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum ItemChange {
    /// The item is new, or it is to be replaced by this.
    Whole {
        /// The item as it is from now on.
        item: Box<Item>,
    },
    /// The item grew, and its `lastSeq` is the `seq` of this change.
    Append {
        /// Number of the item.
        item: u64,
        /// What is appended.
        append: ItemAppend,
    },
}

/// What is appended to an item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum ItemAppend {
    /// To a message or thought.
    Text {
        /// What is appended to its `text`.
        text: String,
    },
    /// To a tool call or command.
    Output {
        /// How its `output` grows.
        output: OutputAppend,
    },
    /// To a command.
    Stderr {
        /// How its `stderr` grows.
        stderr: OutputAppend,
    },
}

/// How an output grows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct OutputAppend {
    /// What is appended.
    pub(crate) text: String,
    /// Before that, so many bytes behind `omittedAt` are dropped and count as omitted.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) drop_bytes: u64,
}

impl ItemChange {
    /// Number of the item that changes.
    pub(crate) fn number(&self) -> u64 {
        match self {
            Self::Whole { item } => item.item,
            Self::Append { item, .. } => *item,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}
