//! Tool calls: what is known of each, in bounded memory.
//!
//! A call is known by its id after its end too, because a provider may say more of it. Its body, of which the item is made, is kept only
//! while little else needs the memory; what comes of a call without a body makes a new item that continues the old one.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    ItemHead, ItemLimits, block_text,
    head_tail::{HeadTail, OutputGrowth},
    json_bytes,
    messages::{MAX_PATH_BYTES, NewItems},
    meta, omitted_value, patch, raw_output_text, shortened,
};
use crate::model::item::{FileDiff, Item, ItemAppend, ItemChange, ItemKind, OutputAppend, ToolItem, ToolLocation};

/// Calls that are known by their id.
const MAX_CALLS: usize = 4096;
/// All bodies of calls that have ended.
const MAX_ENDED_BYTES: usize = 512 << 10;
/// All bodies of calls that go on.
const MAX_RUNNING_BYTES: usize = 8 << 20;
/// What a body counts for beside its values.
const BODY_BYTES: usize = 512;
const MAX_TITLE_BYTES: usize = 16 << 10;
const MAX_WORD_BYTES: usize = 256;
const MAX_LOCATIONS: usize = 200;
/// Of the changes that follow only the path is kept.
const MAX_DIFFS: usize = 2000;

/// The tool calls of a run.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct KnownCalls {
    /// By item number: one for each id, the newest.
    calls: BTreeMap<u64, KnownCall>,
    #[serde(skip)]
    by_id: BTreeMap<String, u64>,
    /// Calls that have ended and have a body, in the order of their ends.
    ended: VecDeque<u64>,
    ended_bytes: usize,
    running_bytes: usize,
}

#[derive(Debug, Serialize, Deserialize)]
struct KnownCall {
    id: String,
    title: String,
    tool_kind: String,
    status: String,
    is_ended: bool,
    body: Option<Box<CallBody>>,
}

/// Everything that the item of a call is made of.
#[derive(Debug, Serialize, Deserialize)]
struct CallBody {
    head: ItemHead,
    /// Without output and diffs.
    tool: ToolItem,
    output: HeadTail,
    /// The output grows by pieces, so `content` only repeats its end.
    grows: bool,
    /// From `content`, and from a patch: each replaces its own kind.
    block_diffs: Vec<FileDiff>,
    patch_diffs: Vec<FileDiff>,
    input_bytes: usize,
    diff_bytes: usize,
}

/// What an update changed in a call.
enum CallChange {
    Nothing,
    Output(OutputAppend),
    Whole,
}

impl KnownCalls {
    /// To be called when the calls were read from a checkpoint.
    pub(super) fn restore(&mut self) {
        self.by_id = self.calls.iter().map(|(item, call)| (call.id.clone(), *item)).collect();
    }

    /// The item of a call.
    pub(super) fn item_of(&self, id: &str) -> Option<u64> {
        self.by_id.get(id).copied()
    }

    /// The item with this number, if its body is kept.
    pub(super) fn item(&self, number: u64) -> Option<Item> {
        Some(self.calls.get(&number)?.body.as_ref()?.item())
    }

    /// The item of the call whose sub-agent made this one.
    pub(super) fn parent_of(&self, id: &str) -> Option<u64> {
        self.calls.get(&self.item_of(id)?)?.body.as_ref()?.head.parent
    }

    /// Takes an ACP `tool_call` or `tool_call_update`.
    pub(super) fn update(&mut self, id: &str, update: &Map<String, Value>, new: &mut NewItems<'_>) {
        let is_start = update.get("sessionUpdate").is_some_and(|kind| kind == "tool_call");
        let item = self.item_of(id).filter(|item| !self.is_another(*item, update, is_start, new.limits));
        let item = item.filter(|item| self.calls[item].body.is_some()).unwrap_or_else(|| self.begin(id, item, new));
        self.change(item, new, |body, new| body.apply(update, new));
    }

    /// Takes a question about a call. The call is made known if it was not.
    pub(super) fn ask(&mut self, id: &str, permission_id: &str, tool_call: &Map<String, Value>, new: &mut NewItems<'_>) {
        let item = self.item_of(id).filter(|item| !self.calls[item].is_ended);
        let item = item.filter(|item| self.calls[item].body.is_some()).unwrap_or_else(|| self.begin(id, item, new));
        self.change(item, new, |body, new| {
            // What is asked says no more than what is known already, but where a log is incomplete. Only the status is the call's own.
            let status = body.tool.status.clone();
            body.apply(tool_call, new);
            (body.tool.status, body.head.end_at) = (status, None);
            body.tool.permissions.push(permission_id.to_owned());
            CallChange::Whole
        });
    }

    /// The run is over: nothing goes on.
    pub(super) fn end_run(&mut self, new: &mut NewItems<'_>) {
        for call in self.calls.values_mut() {
            if let Some(body) = call.body.as_mut().filter(|body| body.head.end_at.is_none()) {
                (body.head.end_at, body.head.last_seq) = (Some(new.at), new.seq);
                new.whole(body.item());
            }
        }
    }

    /// Whether the id of a call that has ended is used for another one: the call begins anew.
    fn is_another(&self, item: u64, update: &Map<String, Value>, is_start: bool, limits: ItemLimits) -> bool {
        let call = &self.calls[&item];
        let begins = || matches!(update.get("status").and_then(Value::as_str), Some("pending" | "in_progress"));
        let has_new_title =
            || update.get("title").and_then(Value::as_str).is_some_and(|title| shortened(title, MAX_TITLE_BYTES) != call.title);
        let has_new_input = || {
            let known = call.body.as_ref().and_then(|body| body.tool.raw_input.as_ref());
            // A large one is not compared, for it may be omitted in one fold and kept in another.
            update.get("rawInput").is_some_and(|input| Some(input) != known && json_bytes(input) <= limits.input_bytes)
        };
        call.is_ended && (is_start || (begins() && (has_new_title() || has_new_input())))
    }

    /// A new item for an id. `continues`: the item whose body is gone.
    fn begin(&mut self, id: &str, continues: Option<u64>, new: &mut NewItems<'_>) -> u64 {
        let before = self.item_of(id).and_then(|item| self.forget(item));
        let mut head = new.head();
        head.continues = continues;
        let item = head.item;
        let (title, tool_kind, status) = match before {
            Some(before) if continues.is_some() => (before.title, before.tool_kind, before.status),
            Some(before) => (before.title, before.tool_kind, "pending".to_owned()),
            None => {
                (shortened(if id.is_empty() { "tool" } else { id }, MAX_WORD_BYTES).to_owned(), "other".to_owned(), "pending".to_owned())
            }
        };
        head.end_at = is_final(&status).then_some(new.at);
        let tool = ToolItem {
            tool_call_id: id.to_owned(),
            title: title.clone(),
            tool_kind: tool_kind.clone(),
            status: status.clone(),
            locations: Vec::new(),
            raw_input: None,
            output: None,
            diffs: Vec::new(),
            permissions: Vec::new(),
        };
        let body = CallBody {
            head,
            tool,
            output: HeadTail::default(),
            grows: false,
            block_diffs: Vec::new(),
            patch_diffs: Vec::new(),
            input_bytes: 0,
            diff_bytes: 0,
        };
        self.running_bytes += body.bytes();
        let call = KnownCall { id: id.to_owned(), title, tool_kind, status, is_ended: false, body: Some(Box::new(body)) };
        self.calls.insert(item, call);
        self.by_id.insert(id.to_owned(), item);
        while self.calls.len() > MAX_CALLS {
            if let Some(oldest) = self.calls.keys().next().copied() {
                self.forget(oldest);
            }
        }
        item
    }

    fn forget(&mut self, item: u64) -> Option<KnownCall> {
        self.drop_body(item);
        let call = self.calls.remove(&item)?;
        if self.by_id.get(&call.id) == Some(&item) {
            self.by_id.remove(&call.id);
        }
        Some(call)
    }

    fn drop_body(&mut self, item: u64) {
        let Some(call) = self.calls.get_mut(&item) else { return };
        let Some(body) = call.body.take() else { return };
        if call.is_ended {
            self.ended_bytes -= body.bytes();
            self.ended.retain(|ended| *ended != item);
        } else {
            self.running_bytes -= body.bytes();
        }
    }

    fn change(&mut self, item: u64, new: &mut NewItems<'_>, apply: impl FnOnce(&mut CallBody, &mut NewItems<'_>) -> CallChange) {
        let Some(call) = self.calls.get_mut(&item) else { return };
        let Some(body) = &mut call.body else { return };
        let is_first = body.head.last_seq == body.head.seq && body.head.seq == new.seq;
        let before = body.bytes();
        let change = apply(body, new);
        if !matches!(change, CallChange::Nothing) {
            body.head.last_seq = new.seq;
        }
        match change {
            CallChange::Output(append) if !is_first => {
                new.changes.push(ItemChange::Append { item, append: ItemAppend::Output { output: append } });
            }
            CallChange::Nothing if !is_first => {}
            _ => new.whole(body.item()),
        }
        let after = body.bytes();
        call.title.clone_from(&body.tool.title);
        call.tool_kind.clone_from(&body.tool.tool_kind);
        call.status.clone_from(&body.tool.status);
        let was_ended = std::mem::replace(&mut call.is_ended, body.head.end_at.is_some());
        let is_ended = call.is_ended;
        if was_ended {
            self.ended_bytes -= before
        } else {
            self.running_bytes -= before
        }
        if is_ended {
            self.ended_bytes += after
        } else {
            self.running_bytes += after
        }
        match (was_ended, is_ended) {
            (false, true) => self.ended.push_back(item),
            (true, false) => self.ended.retain(|ended| *ended != item),
            _ => {}
        }
        self.keep_bounds(item);
    }

    /// Drops the bodies of the calls that ended first, and of the oldest that go on.
    fn keep_bounds(&mut self, current: u64) {
        while self.ended_bytes > MAX_ENDED_BYTES {
            match self.ended.front().copied() {
                Some(oldest) => self.drop_body(oldest),
                None => return,
            }
        }
        while self.running_bytes > MAX_RUNNING_BYTES {
            let is_running = |call: &KnownCall| call.body.is_some() && !call.is_ended;
            let oldest = self.calls.iter().find(|(item, call)| **item != current && is_running(call)).map(|(item, _)| *item);
            match oldest {
                Some(oldest) => self.drop_body(oldest),
                None => return,
            }
        }
    }
}

impl CallBody {
    fn bytes(&self) -> usize {
        BODY_BYTES + self.tool.title.len() + self.input_bytes + self.diff_bytes + self.output.kept_bytes()
    }

    fn item(&self) -> Item {
        let output = (!self.output.is_empty()).then(|| self.output.output());
        let diffs = self.block_diffs.iter().chain(&self.patch_diffs).cloned().collect();
        self.head.with(ItemKind::Tool(Box::new(ToolItem { output, diffs, ..self.tool.clone() })))
    }

    /// Takes what is told of the call.
    fn apply(&mut self, update: &Map<String, Value>, new: &mut NewItems<'_>) -> CallChange {
        let before = (self.tool.clone(), self.head.end_at, self.head.parent);
        let text = |name: &str| update.get(name).and_then(Value::as_str);
        if let Some(title) = text("title").filter(|title| !title.trim().is_empty()) {
            shortened(title, MAX_TITLE_BYTES).clone_into(&mut self.tool.title);
        }
        if let Some(kind) = text("kind") {
            shortened(kind, MAX_WORD_BYTES).clone_into(&mut self.tool.tool_kind);
        }
        if let Some(status @ ("pending" | "in_progress" | "completed" | "failed")) = text("status") {
            status.clone_into(&mut self.tool.status);
            self.head.end_at = if is_final(status) { self.head.end_at.or(Some(new.at)) } else { None };
        }
        self.head.parent = self.head.parent.or(new.parent).filter(|parent| *parent < self.head.item);
        if let Some(locations) = update.get("locations").and_then(Value::as_array) {
            let location = |value: &Value| {
                Some(ToolLocation { path: shortened(value["path"].as_str()?, MAX_PATH_BYTES).to_owned(), line: value["line"].as_u64() })
            };
            self.tool.locations = locations.iter().filter_map(location).take(MAX_LOCATIONS).collect();
        }
        if let Some(input) = update.get("rawInput").filter(|input| !input.is_null()) {
            let (is_kept, counted) = new.keeps(self.head.item, json_bytes(input), new.limits.input_bytes);
            self.tool.raw_input = Some(if is_kept { input.clone() } else { omitted_value() });
            self.input_bytes = counted;
        }
        let has_diffs = self.take_diffs(update, new);
        let has_content = self.take_content(update);
        let growth = self.take_output(update);
        let is_changed = has_diffs || has_content || before != (self.tool.clone(), self.head.end_at, self.head.parent);
        match growth {
            _ if is_changed => CallChange::Whole,
            (OutputGrowth::Nothing, _) => CallChange::Nothing,
            (OutputGrowth::Rewrite, _) => CallChange::Whole,
            (OutputGrowth::Append { drop_bytes }, text) => CallChange::Output(OutputAppend { text: text.to_owned(), drop_bytes }),
        }
    }

    fn take_diffs(&mut self, update: &Map<String, Value>, new: &NewItems<'_>) -> bool {
        let kind = &self.tool.tool_kind;
        let blocks = update.get("content").and_then(Value::as_array);
        let of_blocks: Vec<FileDiff> = blocks.into_iter().flatten().filter_map(|block| patch::of_block(block, kind)).collect();
        let path = self.tool.locations.first().map(|location| location.path.as_str()).unwrap_or_default();
        let of_patch = meta(update, "loomd/patch").and_then(Value::as_str).map(|text| patch::of_patch(text, path)).unwrap_or_default();
        let has_diffs = !of_blocks.is_empty() || !of_patch.is_empty();
        if !of_blocks.is_empty() {
            self.block_diffs = of_blocks;
        }
        if !of_patch.is_empty() {
            self.patch_diffs = of_patch;
        }
        if has_diffs {
            let mut bytes = 0;
            let item = self.head.item;
            for (number, diff) in self.block_diffs.iter_mut().chain(&mut self.patch_diffs).enumerate() {
                let left = if number < MAX_DIFFS { new.limits.diff_bytes.saturating_sub(bytes) } else { 0 };
                bytes += new.shorten_diff(item, diff, left);
            }
            self.diff_bytes = bytes;
        }
        has_diffs
    }

    /// The text of `content`, which replaces what was there. Returns whether it is another.
    fn take_content(&mut self, update: &Map<String, Value>) -> bool {
        if self.grows {
            return false;
        }
        let blocks = update.get("content").and_then(Value::as_array).into_iter().flatten();
        let texts: Vec<String> =
            blocks.filter(|block| block["type"] == "content").filter_map(|block| Some(block_text(block["content"].as_object()?))).collect();
        let is_over = self.head.end_at.is_some();
        let text = match update.get("rawOutput") {
            _ if !texts.is_empty() => texts.join("\n"),
            Some(raw) if is_over && self.output.is_empty() => raw_output_text(raw),
            _ => return false,
        };
        let before = std::mem::take(&mut self.output).output();
        self.output.push(&text);
        self.output.output() != before
    }

    fn take_output<'a>(&mut self, update: &'a Map<String, Value>) -> (OutputGrowth, &'a str) {
        let output = meta(update, "loomd/output");
        let offset = output.and_then(|output| output.get("offset")?.as_u64());
        let text = output.and_then(|output| output.get("text")?.as_str());
        let (Some(offset), Some(text)) = (offset, text) else { return (OutputGrowth::Nothing, "") };
        let is_first = self.output.is_empty();
        self.grows = true;
        match self.output.set(offset, text) {
            OutputGrowth::Append { .. } if is_first => (OutputGrowth::Rewrite, ""),
            growth => (growth, text),
        }
    }
}

fn is_final(status: &str) -> bool {
    matches!(status, "completed" | "failed")
}
