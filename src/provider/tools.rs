//! The tool calls of a run: what is known of each, and its output as it grows.
//!
//! In ACP, a new `content` replaces the old one, so growing output is reported beside it: `_meta["loomd/output"] =
//! {offset, text}` means to cut the output at the byte `offset` and to append `text`. Only the end repeats output: the
//! last 64 KiB, as `content`.
//!
//! Providers use a name again for another call. Each call gets an id that is its own in the run.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{
    ids::{PROVIDER_ID_KEY, UsedIds},
    reconcile::{Comparison, StreamedText},
};
use crate::model::task::object;

/// The most output that one update carries, and that the last update of a tool call repeats.
const MAX_PIECE_BYTES: usize = 64 << 10;

/// The member of `_meta` with a partial diff.
const PATCH_KEY: &str = "loomd/patch";

/// Calls that have ended stay known while there are no more than these, because a provider may say more of them.
const MAX_KNOWN_CALLS: usize = 1024;

/// The known tool calls, by number in the order in which they began.
#[derive(Debug, Default)]
pub(crate) struct Tools {
    calls: BTreeMap<u64, ToolState>,
    count: u64,
    /// The newest call under each of the provider's names. Each session has names of its own.
    names: BTreeMap<String, BTreeMap<String, u64>>,
    used_ids: UsedIds,
    turn: u64,
    /// The session whose names are meant: empty for the run's own, else that of a sub-agent.
    pub(super) session: String,
    /// The id of the tool call whose sub-agent speaks; `None` while the agent itself speaks.
    pub(super) parent: Option<String>,
}

#[derive(Debug, Default)]
struct ToolState {
    /// The id in the log.
    id: String,
    session: String,
    /// The provider's name.
    name: String,
    parent: Option<String>,
    /// The turn in which it began.
    turn: u64,
    /// All reported members of the tool call. After [`ToolState::shrink`], only the small ones.
    members: Map<String, Value>,
    /// The last `_meta["loomd/patch"]`.
    patch: Option<Value>,
    output: StreamedText,
    /// The last [`MAX_PIECE_BYTES`] of the output.
    tail: String,
    has_ended: bool,
    /// It was ended with its turn, and not by the provider.
    was_closed: bool,
    /// Its output was repeated once, at its end.
    was_repeated: bool,
    /// Checksums of the large members that [`ToolState::shrink`] removed, to recognize their repetition.
    checksums: BTreeMap<String, [u8; 32]>,
}

/// Larger members of a finished tool call are not kept.
const MAX_KEPT_MEMBER_BYTES: usize = 256;

impl Tools {
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.number(name).is_some()
    }

    /// The id of a call of the run's own session.
    pub(crate) fn id_of(&self, name: &str) -> Option<&str> {
        let number = self.names.get("")?.get(name)?;
        Some(&self.calls.get(number)?.id)
    }

    /// The id of a call of the session that is meant.
    pub(crate) fn own_id_of(&self, name: &str) -> Option<&str> {
        Some(&self.state(name)?.id)
    }

    /// Whether the call has ended, so that what begins under its name is another one.
    pub(crate) fn has_ended(&self, name: &str) -> bool {
        self.state(name).is_some_and(|tool| tool.has_ended)
    }

    /// Whether the call was ended with its turn, and nothing began since that could use its name.
    pub(crate) fn was_closed(&self, name: &str) -> bool {
        self.state(name).is_some_and(|tool| tool.was_closed && tool.turn == self.turn)
    }

    /// Whether one of these members says something else than what is known.
    pub(crate) fn differs(&self, name: &str, fields: &Map<String, Value>, members: &[&str]) -> bool {
        let Some(tool) = self.state(name) else { return true };
        let is_other = |(member, value): (&String, &Value)| {
            !value.is_null() && tool.members.get(member) != Some(value) && !tool.was_reported(member, value)
        };
        fields.iter().filter(|(member, _)| members.contains(&member.as_str())).any(is_other)
    }

    /// What is reported under this name from now on is another call.
    pub(crate) fn begin_another(&mut self, name: &str) {
        if let Some(names) = self.names.get_mut(&self.session) {
            names.remove(name);
        }
    }

    /// Everything that is known of a tool call, as an ACP `ToolCallUpdate`.
    pub(crate) fn snapshot(&self, name: &str) -> Option<Map<String, Value>> {
        let tool = self.state(name)?;
        let mut snapshot = object(json!({ "toolCallId": tool.id }));
        snapshot.extend(tool.members.clone());
        let mut meta = Map::new();
        meta.extend(tool.patch.iter().map(|patch| (PATCH_KEY.to_owned(), patch.clone())));
        tool.add_provider_id(&mut meta);
        if !meta.is_empty() {
            snapshot.insert("_meta".to_owned(), Value::Object(meta));
        }
        Some(snapshot)
    }

    /// Records these members of a tool call and returns an update with those that are new.
    pub(crate) fn report(&mut self, name: &str, mut fields: Map<String, Value>) -> Vec<Map<String, Value>> {
        fields.remove("sessionUpdate");
        fields.remove("toolCallId");
        let known = self.number(name).and_then(|number| self.calls.get_mut(&number));
        let is_new = known.is_none();
        let tool = match known {
            Some(tool) => tool,
            None => self.insert(name),
        };
        let mut meta = object(fields.remove("_meta").unwrap_or_default());
        match meta.get(PATCH_KEY) {
            Some(patch) if tool.patch.as_ref() == Some(patch) => drop(meta.remove(PATCH_KEY)),
            Some(patch) => tool.patch = Some(patch.clone()),
            None => {}
        }
        fields.retain(|name, value| !value.is_null() && tool.members.get(name) != Some(value) && !tool.was_reported(name, value));
        if let Some(status) = fields.get("status").and_then(Value::as_str) {
            tool.has_ended = matches!(status, "completed" | "failed");
            tool.was_closed = false;
        }
        tool.members.extend(fields.clone());
        if is_new {
            for (name, default) in [("title", json!(tool.name)), ("kind", json!("other")), ("status", json!("pending"))] {
                if !fields.contains_key(name) {
                    fields.insert(name.to_owned(), default.clone());
                    tool.members.insert(name.to_owned(), default);
                }
            }
            tool.add_provider_id(&mut meta);
        } else if fields.is_empty() && meta.is_empty() {
            return Vec::new();
        }
        vec![update(&tool.id, is_new, fields, (!meta.is_empty()).then_some(Value::Object(meta)))]
    }

    /// Appends to the output.
    pub(crate) fn output(&mut self, name: &str, delta: &str) -> Vec<Map<String, Value>> {
        let mut updates = self.report(name, Map::new());
        if let Some(tool) = self.state_mut(name) {
            tool.append(delta, None, &mut updates);
        }
        updates
    }

    /// Compares all output so far with what was reported, and reports the difference.
    pub(crate) fn output_so_far(&mut self, name: &str, whole: &str) -> Vec<Map<String, Value>> {
        let mut updates = self.report(name, Map::new());
        let Some(tool) = self.state_mut(name) else { return updates };
        match tool.output.compare(whole) {
            Comparison::Missing(missing) => tool.append(missing, None, &mut updates),
            Comparison::Contradiction { at } => {
                tool.output = StreamedText::default();
                tool.tail.clear();
                tool.append(whole, Some(at), &mut updates);
            }
        }
        updates
    }

    /// Ends a tool call.
    pub(crate) fn finish(
        &mut self,
        name: &str,
        status: &str,
        whole: Option<&str>,
        mut fields: Map<String, Value>,
    ) -> Vec<Map<String, Value>> {
        let mut updates = match whole {
            Some(whole) => self.output_so_far(name, whole),
            None => self.report(name, Map::new()),
        };
        let Some(tool) = self.state_mut(name) else { return updates };
        fields.insert("status".to_owned(), json!(status));
        tool.repeat_output(&mut fields);
        updates.extend(self.report(name, fields));
        if let Some(tool) = self.state_mut(name) {
            tool.shrink();
        }
        updates
    }

    /// A turn begins: the names of calls that have ended may be used again.
    pub(crate) fn begin_turn(&mut self) {
        self.turn += 1;
    }

    /// Ends the calls that the provider left open, because their turn is over. Each update comes with its parent.
    pub(crate) fn close_open(&mut self) -> Vec<(Option<String>, Map<String, Value>)> {
        let mut updates = Vec::new();
        for tool in self.calls.values_mut().filter(|tool| !tool.has_ended) {
            let mut fields = object(json!({ "status": "failed" }));
            tool.repeat_output(&mut fields);
            tool.members.extend(fields.clone());
            (tool.has_ended, tool.was_closed) = (true, true);
            tool.shrink();
            updates.push((tool.parent.clone(), update(&tool.id, false, fields, None)));
        }
        updates
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.names.get(&self.session)?.get(name).copied()
    }

    fn state(&self, name: &str) -> Option<&ToolState> {
        self.calls.get(&self.number(name)?)
    }

    fn state_mut(&mut self, name: &str) -> Option<&mut ToolState> {
        self.calls.get_mut(&self.number(name)?)
    }

    fn insert(&mut self, name: &str) -> &mut ToolState {
        if self.calls.len() >= MAX_KNOWN_CALLS
            && let Some(oldest) = self.calls.iter().find(|(_, tool)| tool.has_ended).map(|(number, _)| *number)
            && let Some(tool) = self.calls.remove(&oldest)
            && let Some(names) = self.names.get_mut(&tool.session)
            && names.get(&tool.name) == Some(&oldest)
        {
            names.remove(&tool.name);
        }
        self.count += 1;
        self.names.entry(self.session.clone()).or_default().insert(name.to_owned(), self.count);
        let state = ToolState {
            id: self.used_ids.claim(name, "loomd-tool-"),
            session: self.session.clone(),
            name: name.to_owned(),
            parent: self.parent.clone(),
            turn: self.turn,
            ..ToolState::default()
        };
        self.calls.entry(self.count).or_insert(state)
    }
}

impl ToolState {
    fn was_reported(&self, name: &str, value: &Value) -> bool {
        self.checksums.get(name).is_some_and(|sum| *sum == *blake3::hash(value.to_string().as_bytes()).as_bytes())
    }

    /// Frees what a finished tool call does not need: a turn may have thousands of them.
    fn shrink(&mut self) {
        self.tail = String::new();
        self.output.close();
        let large: Vec<String> = self
            .members
            .iter()
            .filter(|(_, value)| value.to_string().len() > MAX_KEPT_MEMBER_BYTES)
            .map(|(name, _)| name.clone())
            .collect();
        for name in large {
            if let Some(value) = self.members.remove(&name) {
                self.checksums.insert(name, *blake3::hash(value.to_string().as_bytes()).as_bytes());
            }
        }
    }

    fn add_provider_id(&self, meta: &mut Map<String, Value>) {
        if self.id != self.name {
            meta.insert(PROVIDER_ID_KEY.to_owned(), json!(self.name));
        }
    }

    /// Adds the end of the output to the members with which the call ends, once.
    fn repeat_output(&mut self, fields: &mut Map<String, Value>) {
        if self.tail.is_empty() || std::mem::replace(&mut self.was_repeated, true) {
            return;
        }
        let mut content = match fields.remove("content").or_else(|| self.members.get("content").cloned()) {
            // Diffs and images stay in the content; its texts are in the output already.
            Some(Value::Array(blocks)) => blocks.into_iter().filter(|block| !is_in_output(block)).collect(),
            _ => Vec::new(),
        };
        content.push(json!({ "type": "content", "content": { "type": "text", "text": self.tail } }));
        fields.insert("content".to_owned(), Value::Array(content));
    }

    fn append(&mut self, text: &str, contradiction: Option<usize>, updates: &mut Vec<Map<String, Value>>) {
        let mut rest = text;
        let mut contradiction = contradiction;
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(rest.floor_char_boundary(MAX_PIECE_BYTES));
            let mut meta = json!({ "loomd/output": { "offset": self.output.len(), "text": piece } });
            if let Some(at) = contradiction.take() {
                meta["loomd/contradiction"] = json!({ "at": at });
            }
            updates.push(update(&self.id, false, Map::new(), Some(meta)));
            self.output.push(piece);
            self.tail.push_str(piece);
            if self.tail.len() > MAX_PIECE_BYTES {
                self.tail.drain(..self.tail.ceil_char_boundary(self.tail.len() - MAX_PIECE_BYTES));
            }
            rest = after;
        }
    }
}

/// Whether a block of a tool call's `content` is in its output already.
fn is_in_output(block: &Value) -> bool {
    match block["type"].as_str() {
        Some("diff") => false,
        Some("content") => block["content"]["type"] == "text",
        _ => true,
    }
}

fn update(id: &str, is_new: bool, fields: Map<String, Value>, meta: Option<Value>) -> Map<String, Value> {
    let mut update = object(json!({ "sessionUpdate": if is_new { "tool_call" } else { "tool_call_update" }, "toolCallId": id }));
    update.extend(fields);
    if let Some(meta) = meta {
        update.insert("_meta".to_owned(), meta);
    }
    update
}

#[cfg(test)]
mod tests;
