//! The fold: entries go in, changes of items come out.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    ItemHead, ItemLimits,
    head_tail::{HeadTail, OutputGrowth},
    json_bytes,
    messages::{ChunkContent, MessageChunk, NewItems, Speaker, TurnMessages},
    meta, shortened,
    shown::shown,
    tool_calls::KnownCalls,
};
use crate::model::{
    Entry, OutputEntry, PermissionEntry, PermissionOption, Run, RunState, StateEntry, Stream, UnixMs, UpdateEntry,
    entry::{PermissionStatus, ResolvedBy},
    item::{
        CommandItem, FOLD_VERSION, Item, ItemAppend, ItemChange, ItemKind, NoticeItem, NoticeSeverity, OtherItem, OutputAppend,
        PermissionItem, PermissionResolution, PlanEntry, PlanItem, TurnItem,
    },
};

/// Updates that change what is known of the run, not its transcript.
const SILENT_UPDATES: &[&str] =
    &["available_commands_update", "current_mode_update", "config_option_update", "session_info_update", "usage_update"];
const MAX_LINE_BYTES: usize = 4 << 10;
const MAX_DESCRIPTION_BYTES: usize = 64 << 10;
const MAX_PLAN_ENTRIES: usize = 500;
/// Plans of one turn: the agent's, and its sub-agents'.
const MAX_PLANS: usize = 64;

/// What a run's transcript is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum LogSource {
    /// Updates; the output is only the provider's protocol.
    Updates,
    /// The output of a provider without updates.
    Output,
}

impl LogSource {
    pub(crate) fn of(run: &Run) -> Self {
        if run.has_transcript { Self::Updates } else { Self::Output }
    }
}

/// The state of a fold after some entry: what it needs to go on from there.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Fold {
    version: u32,
    source: LogSource,
    seq: u64,
    /// How many items there are.
    count: u64,
    turn: u64,
    turn_started_at: Option<UnixMs>,
    messages: TurnMessages,
    tools: KnownCalls,
    /// Open questions, oldest first.
    permissions: Vec<OpenPermission>,
    /// The plans of this turn, by the item of the tool call whose sub-agent has it; 0 is the agent's own.
    plans: BTreeMap<u64, (ItemHead, PlanItem)>,
    command: Option<CommandOutput>,
    #[serde(skip)]
    limits: ItemLimits,
    #[serde(skip)]
    whole_item: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
struct OpenPermission {
    head: ItemHead,
    permission: PermissionItem,
}

#[derive(Debug, Serialize, Deserialize)]
struct CommandOutput {
    head: ItemHead,
    stdout: HeadTail,
    stderr: HeadTail,
}

impl Fold {
    /// A fold before the first entry.
    pub(crate) fn new(source: LogSource) -> Self {
        Self {
            version: FOLD_VERSION,
            source,
            seq: 0,
            count: 0,
            turn: 0,
            turn_started_at: None,
            messages: TurnMessages::default(),
            tools: KnownCalls::default(),
            permissions: Vec::new(),
            plans: BTreeMap::new(),
            command: None,
            limits: ItemLimits::default(),
            whole_item: None,
        }
    }

    /// With other limits than the protocol's; the numbers of items may then be others, too.
    pub(crate) fn with_limits(self, limits: ItemLimits) -> Self {
        Self { limits, ..self }
    }

    /// Omits nothing of one item but output. The numbers of items stay.
    pub(crate) fn with_whole_item(self, item: u64) -> Self {
        Self { whole_item: Some(item), ..self }
    }

    /// Everything that the fold needs to go on, as bytes. ItemLimits are not part of it.
    pub(crate) fn checkpoint(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a fold always has a JSON form")
    }

    /// The fold of a checkpoint; `None` if another version made it, or it is damaged.
    pub(crate) fn restore(checkpoint: &[u8]) -> Option<Self> {
        let mut fold: Self = serde_json::from_slice(checkpoint).ok()?;
        fold.tools.restore();
        (fold.version == FOLD_VERSION).then_some(fold)
    }

    /// The newest entry that was taken.
    pub(crate) fn seq(&self) -> u64 {
        self.seq
    }

    /// How many items there are.
    pub(crate) fn total(&self) -> u64 {
        self.count
    }

    /// Whether entries of output matter; otherwise [`Self::skip`] takes them.
    pub(crate) fn reads_output(&self) -> bool {
        self.source == LogSource::Output
    }

    /// An item that may still change, as it is now.
    pub(crate) fn open_item(&self, number: u64) -> Option<Item> {
        let plan = || self.plans.values().find(|(head, _)| head.item == number).map(|(head, plan)| head.with(ItemKind::Plan(plan.clone())));
        let permission = || self.permissions.iter().find(|open| open.head.item == number).map(OpenPermission::item);
        let command = || self.command.as_ref().filter(|command| command.head.item == number).map(CommandOutput::item);
        self.messages.item(number).or_else(|| self.tools.item(number)).or_else(plan).or_else(permission).or_else(command)
    }

    /// When the running turn began; after its end, when it had begun.
    pub(crate) fn turn_started_at(&self) -> Option<UnixMs> {
        self.turn_started_at
    }

    /// Takes note of an entry that changes no item.
    pub(crate) fn skip(&mut self, seq: u64) {
        self.seq = seq;
    }

    /// Takes the next entry, and appends to `changes` what it changes, by item number unless items are ended by it.
    pub(crate) fn push(&mut self, entry: &Entry, changes: &mut Vec<ItemChange>) {
        self.seq = entry.seq();
        match entry {
            Entry::Output(entry) if self.reads_output() => self.output(entry, changes),
            Entry::Output(_) | Entry::Session(_) | Entry::Size(_) => {}
            Entry::Update(entry) => self.update(entry, changes),
            Entry::Permission(entry) => self.permission(entry, changes),
            Entry::State(entry) => self.state(entry, changes),
        }
    }

    fn output(&mut self, entry: &OutputEntry, changes: &mut Vec<ItemChange>) {
        // Nothing is appended to an output that the item does not have yet.
        let is_new = self.command.as_ref().is_none_or(|command| entry.stream == Stream::Stderr && command.stderr.is_empty());
        if self.command.is_none() {
            let head =
                new_items(&mut self.count, self.limits, self.whole_item, (entry.seq, entry.at, Some(self.turn), None), changes).head();
            self.command = Some(CommandOutput { head, stdout: HeadTail::default(), stderr: HeadTail::default() });
        }
        let Some(command) = &mut self.command else { return };
        command.head.last_seq = entry.seq;
        let growth = match entry.stream {
            Stream::Stdout => command.stdout.push(&entry.text),
            Stream::Stderr => command.stderr.push(&entry.text),
        };
        match growth {
            OutputGrowth::Append { drop_bytes } if !is_new => {
                let grown = OutputAppend { text: entry.text.clone(), drop_bytes };
                let append = if entry.stream == Stream::Stdout {
                    ItemAppend::Output { output: grown }
                } else {
                    ItemAppend::Stderr { stderr: grown }
                };
                changes.push(ItemChange::Append { item: command.head.item, append });
            }
            OutputGrowth::Nothing if !is_new => {}
            _ => changes.push(ItemChange::Whole { item: Box::new(command.item()) }),
        }
    }

    fn update(&mut self, entry: &UpdateEntry, changes: &mut Vec<ItemChange>) {
        let update = &entry.update;
        let text = |name: &str| update.get(name).and_then(Value::as_str).unwrap_or_default();
        let parent = meta(update, "loomd/parentToolCallId").and_then(Value::as_str);
        let parent = parent.and_then(|id| self.tools.item_of(id));
        let last_item = self.count;
        let mut new = new_items(&mut self.count, self.limits, self.whole_item, (entry.seq, entry.at, Some(self.turn), parent), changes);
        let mut speak = |speaker: Speaker| {
            let Some(content) = update.get("content").and_then(Value::as_object) else { return };
            let is_text = content.get("type").is_none_or(|kind| kind == "text");
            let block_as_text = content.get("text").and_then(Value::as_str);
            let chunk = MessageChunk {
                speaker,
                message_id: text("messageId"),
                content: match block_as_text.filter(|_| is_text) {
                    Some(text) => ChunkContent::Text(text),
                    None => ChunkContent::Block(content),
                },
                is_correction: meta(update, "loomd/contradiction").is_some(),
                is_abandoned: meta(update, "loomd/abandoned").is_some_and(|abandoned| *abandoned != Value::Bool(false)),
            };
            self.messages.push(&chunk, last_item, &mut new);
        };
        match text("sessionUpdate") {
            "user_message_chunk" => speak(Speaker::User),
            "agent_message_chunk" => speak(Speaker::Agent),
            "agent_thought_chunk" => speak(Speaker::Thought),
            "tool_call" | "tool_call_update" => self.tools.update(text("toolCallId"), update, &mut new),
            "plan" => {
                let plan = PlanItem { entries: plan_entries(update) };
                let key = parent.unwrap_or_default();
                if !self.plans.contains_key(&key) && self.plans.len() >= MAX_PLANS {
                    return;
                }
                let (head, known) = self.plans.entry(key).or_insert_with(|| (new.head(), PlanItem { entries: Vec::new() }));
                head.last_seq = entry.seq;
                *known = plan;
                let item = head.with(ItemKind::Plan(known.clone()));
                new.whole(item);
            }
            "notice" => {
                let severity = match text("severity") {
                    "error" => NoticeSeverity::Error,
                    "warning" => NoticeSeverity::Warning,
                    _ => NoticeSeverity::Info,
                };
                let description = Some(shortened(text("description"), MAX_DESCRIPTION_BYTES)).filter(|text| !text.is_empty());
                let title = shortened(text("title"), MAX_LINE_BYTES).to_owned();
                let notice = NoticeItem { severity, title, description: description.map(str::to_owned) };
                let item = new.head().with(ItemKind::Notice(notice));
                new.whole(item);
            }
            kind if SILENT_UPDATES.contains(&kind) => {}
            kind => {
                let title = Some(text("title")).filter(|title| !title.is_empty()).map_or_else(|| kind.replace('_', " "), str::to_owned);
                let head = new.head();
                let (is_kept, _) = new.keeps(head.item, json_bytes(update), self.limits.input_bytes);
                let other = OtherItem {
                    title: shortened(if title.is_empty() { "update" } else { &title }, MAX_LINE_BYTES).to_owned(),
                    data: is_kept.then(|| Value::Object(update.clone())),
                };
                new.whole(head.with(ItemKind::Other(other)));
            }
        }
    }

    fn permission(&mut self, entry: &PermissionEntry, changes: &mut Vec<ItemChange>) {
        match &entry.status {
            PermissionStatus::Requested { tool_call, options } => self.ask(entry, tool_call, options, changes),
            PermissionStatus::Resolved { option_id, cancelled, message, by, rule } => {
                let Some(position) = self.permissions.iter().rposition(|open| open.permission.permission_id == entry.permission_id) else {
                    return;
                };
                let resolved = PermissionResolution {
                    option_id: option_id.clone(),
                    cancelled: *cancelled,
                    message: message.clone(),
                    by: *by,
                    rule: rule.clone(),
                };
                let resolved = self.permissions.remove(position).resolve(resolved, entry.seq, entry.at);
                changes.push(ItemChange::Whole { item: Box::new(resolved) });
            }
        }
    }

    fn ask(
        &mut self,
        entry: &PermissionEntry,
        tool_call: &Map<String, Value>,
        options: &[PermissionOption],
        changes: &mut Vec<ItemChange>,
    ) {
        let id = tool_call.get("toolCallId").and_then(Value::as_str).unwrap_or_default();
        let mut new = new_items(&mut self.count, self.limits, self.whole_item, (entry.seq, entry.at, Some(self.turn), None), changes);
        if !id.is_empty() {
            self.tools.ask(id, &entry.permission_id, tool_call, &mut new);
        }
        new.parent = self.tools.parent_of(id);
        let head = new.head();
        let permission = PermissionItem {
            permission_id: entry.permission_id.clone(),
            tool_call_id: id.to_owned(),
            tool_call: tool_call.clone(),
            shown: shown(tool_call),
            options: options.to_vec(),
            resolved: None,
        };
        let open = OpenPermission { head, permission };
        new.whole(open.item());
        self.permissions.push(open);
    }

    fn state(&mut self, entry: &StateEntry, changes: &mut Vec<ItemChange>) {
        let is_over = entry.state.is_final();
        if entry.state == RunState::Running
            && let Some(turn) = entry.turn.filter(|turn| *turn > self.turn)
        {
            (self.turn, self.turn_started_at) = (turn, Some(entry.at));
        }
        let is_turn_end = entry.state == RunState::Idle && entry.turn.is_some();
        if !is_over && !is_turn_end {
            return;
        }
        self.turn = entry.turn.unwrap_or(self.turn);
        let place = (entry.seq, entry.at, entry.turn, None);
        let mut new = new_items(&mut self.count, self.limits, self.whole_item, place, changes);
        self.messages.end_turn(&mut new);
        for (_, (mut head, plan)) in std::mem::take(&mut self.plans) {
            (head.end_at, head.last_seq) = (Some(entry.at), entry.seq);
            new.whole(head.with(ItemKind::Plan(plan)));
        }
        if is_over {
            self.tools.end_run(&mut new);
            // A question that nobody can answer any more; a run that was lost leaves such.
            for open in self.permissions.drain(..) {
                let nobody =
                    PermissionResolution { option_id: None, cancelled: Some(true), message: None, by: ResolvedBy::Provider, rule: None };
                new.whole(open.resolve(nobody, entry.seq, entry.at));
            }
            if let Some(command) = &mut self.command {
                (command.head.end_at, command.head.last_seq) = (Some(entry.at), entry.seq);
                new.whole(command.item());
            }
        }
        let end = TurnItem {
            state: entry.state,
            stop_reason: entry.stop_reason.clone(),
            usage: entry.usage,
            error: entry.error.clone(),
            exit_code: entry.exit_code,
            signal: entry.signal.clone(),
        };
        let item = new.head().with(ItemKind::Turn(Box::new(end)));
        new.whole(item);
    }
}

impl OpenPermission {
    fn item(&self) -> Item {
        self.head.with(ItemKind::Permission(Box::new(self.permission.clone())))
    }

    fn resolve(mut self, resolved: PermissionResolution, seq: u64, at: UnixMs) -> Item {
        self.permission.resolved = Some(resolved);
        (self.head.last_seq, self.head.end_at) = (seq, Some(at));
        self.head.with(ItemKind::Permission(Box::new(self.permission)))
    }
}

impl CommandOutput {
    fn item(&self) -> Item {
        let stderr = (!self.stderr.is_empty()).then(|| self.stderr.output());
        self.head.with(ItemKind::Command(CommandItem { output: self.stdout.output(), stderr }))
    }
}

fn new_items<'a>(
    count: &'a mut u64,
    limits: ItemLimits,
    whole_item: Option<u64>,
    (seq, at, turn, parent): (u64, UnixMs, Option<u64>, Option<u64>),
    changes: &'a mut Vec<ItemChange>,
) -> NewItems<'a> {
    NewItems { seq, at, turn, parent, count, limits, whole_item, changes }
}

fn plan_entries(update: &Map<String, Value>) -> Vec<PlanEntry> {
    let entries = update.get("entries").and_then(Value::as_array).into_iter().flatten();
    let word = |entry: &Value, name: &str| Some(shortened(entry[name].as_str()?, MAX_LINE_BYTES).to_owned());
    let entry = |entry: &Value| PlanEntry {
        content: word(entry, "content").unwrap_or_default(),
        priority: word(entry, "priority"),
        status: word(entry, "status").unwrap_or_else(|| "pending".to_owned()),
    };
    entries.take(MAX_PLAN_ENTRIES).map(entry).collect()
}
