//! What an agent said and did, put together from its entries: whole messages, tool calls with all that belongs to them.
//!
//! A tool call is told where it began and ends later, so what comes after it waits, within bounds: when too much waits, the call
//! is passed on as it is by then, and goes on further down.

use std::collections::VecDeque;

use serde_json::{Map, Value};

use super::{
    calls::{block_text, shortened},
    told::{Answer, Asked, Call, Item, Said, Step},
};
use crate::model::{
    Entry, PermissionEntry, StateEntry, UnixMs, UpdateEntry,
    entry::{PermissionStatus, ResolvedBy},
};

/// What may wait, in bytes.
const WAITING: usize = 8 << 20;
/// A message longer than this is told in parts.
const MESSAGE: usize = 256 << 10;
/// Tool calls that were passed on and may still be spoken of.
const REMEMBERED: usize = 256;

/// Entries go in, items come out.
#[derive(Default)]
pub struct Story {
    waiting: VecDeque<Slot>,
    held: usize,
    /// Tool calls that were passed on: id, title, kind, whether they had ended.
    gone: VecDeque<(String, String, String, bool)>,
    turn_began: Option<UnixMs>,
}

struct Slot {
    item: Item,
    held: usize,
}

impl Story {
    /// Takes an entry, and appends to `ready` what is complete by now.
    pub fn take(&mut self, entry: &Entry, ready: &mut Vec<Item>) {
        match entry {
            Entry::Update(entry) => self.update(entry),
            Entry::Permission(entry) => self.permission(entry),
            Entry::State(entry) => self.state(entry, ready),
            Entry::Output(_) | Entry::Session(_) => {}
        }
        // The last one may go on, and so may a tool call.
        while self.waiting.len() > 1 && (self.held > WAITING || !self.waiting.front().is_some_and(|slot| slot.item.is_open())) {
            self.pass_on(ready);
        }
        if self.held > WAITING {
            self.pass_on(ready);
        }
    }

    /// Everything that was begun.
    pub fn finish(&mut self, ready: &mut Vec<Item>) {
        while !self.waiting.is_empty() {
            self.pass_on(ready);
        }
    }

    fn pass_on(&mut self, ready: &mut Vec<Item>) {
        let Some(slot) = self.waiting.pop_front() else { return };
        self.held -= slot.held.min(self.held);
        self.remember(&slot.item);
        ready.push(slot.item);
    }

    fn remember(&mut self, item: &Item) {
        if let Item::Call(call) = item {
            self.gone.push_back((call.id.clone(), shortened(&call.title, 200).to_owned(), call.kind.clone(), call.has_ended()));
            if self.gone.len() > REMEMBERED {
                self.gone.pop_front();
            }
            call.below.iter().for_each(|item| self.remember(item));
        }
    }

    fn update(&mut self, entry: &UpdateEntry) {
        let (update, at) = (&entry.update, entry.at);
        let text = |name: &str| update.get(name).and_then(Value::as_str).unwrap_or_default();
        let parent = meta(update, "loomd/parentToolCallId").and_then(Value::as_str);
        match text("sessionUpdate") {
            "user_message_chunk" => self.say(parent, update, at, Item::Prompt),
            "agent_message_chunk" => self.say(parent, update, at, Item::Message),
            "agent_thought_chunk" => self.say(parent, update, at, Item::Thought),
            "tool_call" | "tool_call_update" => self.call(text("toolCallId"), update, parent, at),
            "plan" => {
                let steps = update.get("entries").and_then(Value::as_array).into_iter().flatten().take(500);
                let word = |step: &Value, name: &str| shortened(step[name].as_str().unwrap_or_default(), 4096).to_owned();
                let steps = steps.map(|step| Step { text: word(step, "content"), status: word(step, "status") }).collect();
                let plan = Item::Plan { at, steps };
                // A plan that follows a plan stands for it.
                match self.last(parent) {
                    Some(last @ Item::Plan { .. }) => *last = plan,
                    _ => self.push(parent, plan, 4096),
                }
            }
            "notice" => {
                let word = |name: &str| shortened(text(name), 16 << 10).to_owned();
                let notice = Item::Notice { at, severity: word("severity"), title: word("title"), description: word("description") };
                self.push(parent, notice, text("description").len());
            }
            // Modes, commands, prices in between, and what is not known yet.
            _ => {}
        }
    }

    fn say(&mut self, parent: Option<&str>, update: &Map<String, Value>, at: UnixMs, item: fn(Said) -> Item) {
        let id = update.get("messageId").and_then(Value::as_str).unwrap_or_default();
        let text = update.get("content").map(block_text).unwrap_or_default();
        let is_abandoned = meta(update, "loomd/abandoned").is_some();
        let is_corrected = meta(update, "loomd/contradiction").is_some();
        let mut goes_on = false;
        if let Some(said) = self.last(parent).and_then(|last| last.said_of(&item(Said::default()))).filter(|said| said.id == id) {
            if is_corrected {
                (said.text, said.is_corrected) = (text.clone(), true);
            } else {
                said.text.push_str(&text);
            }
            said.is_abandoned |= is_abandoned;
            let is_long = said.text.len() > MESSAGE;
            if !is_long {
                return self.grow(parent, text.len());
            }
            // The last line goes on in the next part.
            goes_on = true;
            let cut = said.text.rfind('\n').map_or(said.text.len(), |at| at + 1);
            let rest = said.text.split_off(cut);
            self.grow(parent, text.len());
            return self.push(parent, item(Said { at, id: id.to_owned(), text: rest, goes_on, ..Said::default() }), 0);
        }
        if text.is_empty() && !is_abandoned {
            return;
        }
        let held = text.len();
        self.push(parent, item(Said { at, id: id.to_owned(), text, goes_on, is_abandoned, is_corrected }), held);
    }

    fn call(&mut self, id: &str, update: &Map<String, Value>, parent: Option<&str>, at: UnixMs) {
        if !self.change_call(id, |call| call.apply(update, at)) {
            let mut call = Call::new(id, at);
            if let Some((_, title, kind, has_ended)) = self.gone.iter().rev().find(|(gone, ..)| gone == id) {
                if *has_ended {
                    return;
                }
                (call.title, call.kind, call.goes_on) = (title.clone(), kind.clone(), true);
            }
            call.apply(update, at);
            let held = call.held();
            self.push(parent, Item::Call(Box::new(call)), held);
        }
    }

    fn permission(&mut self, entry: &PermissionEntry) {
        match &entry.status {
            PermissionStatus::Requested { tool_call, options } => {
                let word = |name: &str| tool_call.get(name).and_then(Value::as_str).unwrap_or_default();
                let asked = Asked {
                    at: entry.at,
                    id: entry.permission_id.clone(),
                    title: shortened(word("title"), 4096).to_owned(),
                    options: options.iter().map(|option| (option.option_id.clone(), option.name.clone())).collect(),
                    answer: None,
                };
                let mut asked = Some(asked);
                self.change_call(word("toolCallId"), |call| {
                    let (status, ended_at) = (call.status, call.ended_at);
                    call.apply(tool_call, entry.at);
                    (call.status, call.ended_at) = (status, ended_at);
                    call.asked.extend(asked.take());
                });
                if let Some(asked) = asked {
                    self.push(None, Item::Asked(asked), 1024);
                }
            }
            PermissionStatus::Resolved { option_id, cancelled: _, message, by } => {
                let by = match by {
                    ResolvedBy::Client => "a person",
                    ResolvedBy::Policy => "the run's permissions",
                    ResolvedBy::Provider => "the agent itself",
                };
                let found = self.waiting.iter_mut().rev().find_map(|slot| slot.item.asked(&entry.permission_id));
                if let Some(asked) = found {
                    let name = |id: &String| asked.options.iter().find(|(option, _)| option == id).map(|(_, name)| name.clone());
                    let text = match option_id {
                        Some(id) => name(id).unwrap_or_else(|| id.clone()),
                        None => "not answered".to_owned(),
                    };
                    asked.answer = Some(Answer { at: entry.at, text, by, message: message.clone() });
                }
            }
        }
    }

    fn state(&mut self, entry: &StateEntry, ready: &mut Vec<Item>) {
        use crate::model::RunState::{Idle, Running};
        if entry.state == Running && entry.turn.is_some() {
            self.turn_began.get_or_insert(entry.at);
        }
        if entry.state == Idle || entry.state.is_final() {
            self.finish(ready);
            let began = self.turn_began.take().unwrap_or(entry.at);
            ready.push(Item::Turn { began, end: entry.clone() });
        }
    }

    // What waits.

    /// The newest item, of the run or of a sub-agent.
    fn last(&mut self, parent: Option<&str>) -> Option<&mut Item> {
        match parent.and_then(|parent| self.position(parent).map(|at| (at, parent))) {
            Some((at, parent)) => self.waiting[at].item.call(parent)?.below.last_mut(),
            None => self.waiting.back_mut().map(|slot| &mut slot.item),
        }
    }

    fn push(&mut self, parent: Option<&str>, item: Item, held: usize) {
        let held = held + 256;
        self.held += held;
        if let Some((at, parent)) = parent.and_then(|parent| self.position(parent).map(|at| (at, parent)))
            && let Some(call) = self.waiting[at].item.call(parent)
        {
            call.below.push(item);
            self.waiting[at].held += held;
            return;
        }
        self.waiting.push_back(Slot { item, held });
    }

    fn grow(&mut self, parent: Option<&str>, by: usize) {
        let at = parent.and_then(|parent| self.position(parent)).or(self.waiting.len().checked_sub(1));
        if let Some(slot) = at.and_then(|at| self.waiting.get_mut(at)) {
            slot.held += by;
            self.held += by;
        }
    }

    /// Where the tool call waits, or the one that it belongs to.
    fn position(&mut self, id: &str) -> Option<usize> {
        (0..self.waiting.len()).rev().find(|at| self.waiting[*at].item.call(id).is_some())
    }

    fn change_call(&mut self, id: &str, change: impl FnOnce(&mut Call)) -> bool {
        let Some(at) = self.position(id) else { return false };
        let slot = &mut self.waiting[at];
        let Some(call) = slot.item.call(id) else { return false };
        let before = call.held();
        change(call);
        let after = call.held();
        (slot.held, self.held) = ((slot.held + after).saturating_sub(before), (self.held + after).saturating_sub(before));
        true
    }
}

impl Item {
    fn is_open(&self) -> bool {
        matches!(self, Self::Call(call) if !call.has_ended()) || matches!(self, Self::Asked(asked) if asked.answer.is_none())
    }

    /// The tool call with this id, here or below.
    fn call(&mut self, id: &str) -> Option<&mut Call> {
        let Self::Call(call) = self else { return None };
        if call.id == id {
            return Some(call);
        }
        call.below.iter_mut().rev().find_map(|item| item.call(id))
    }

    fn asked(&mut self, id: &str) -> Option<&mut Asked> {
        match self {
            Self::Asked(asked) if asked.id == id => Some(asked),
            Self::Call(call) => {
                let Call { asked, below, .. } = &mut **call;
                asked.iter_mut().find(|asked| asked.id == id).or_else(|| below.iter_mut().rev().find_map(|item| item.asked(id)))
            }
            _ => None,
        }
    }

    /// What is said, if it is of the same sort.
    fn said_of(&mut self, sort: &Self) -> Option<&mut Said> {
        if std::mem::discriminant(self) != std::mem::discriminant(sort) {
            return None;
        }
        match self {
            Self::Prompt(said) | Self::Message(said) | Self::Thought(said) => Some(said),
            _ => None,
        }
    }

    pub fn at(&self) -> UnixMs {
        match self {
            Self::Prompt(said) | Self::Message(said) | Self::Thought(said) => said.at,
            Self::Call(call) => call.at,
            Self::Plan { at, .. } | Self::Notice { at, .. } => *at,
            Self::Asked(asked) => asked.at,
            Self::Turn { end, .. } => end.at,
        }
    }
}

fn meta<'a>(update: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    update.get("_meta")?.get(name)
}
