//! Items on their way into a file, which cannot be changed once it is written: they wait until they have ended, within bounds.
//!
//! What belongs to a tool call, its permissions and what its sub-agent did, waits in it. When too much waits, the first item is passed on
//! as it is by then, and what comes of it later follows further down.

use std::collections::{BTreeMap, VecDeque};

use crate::{
    model::{
        Entry, UnixMs,
        item::{FileDiff, Item, ItemAppend, ItemChange, ItemKind},
    },
    transcript::{Fold, ItemLimits, LogSource, head_tail::append_to},
};

/// What waits, in bytes.
const MAX_WAITING_BYTES: usize = 8 << 20;
/// Items that were passed on and of which something may come yet.
const MAX_PASSED_ON: usize = 1024;
/// Items stand in each other up to here; what belongs further down stands by itself.
const MAX_DEPTH: usize = 8;
/// What an item takes beside its texts.
const ITEM_BYTES: usize = 512;

/// An item with what belongs to it.
#[derive(Debug)]
pub(crate) struct ItemNode {
    pub(crate) item: Item,
    /// When the turn began whose end this item is.
    pub(crate) turn_began: Option<UnixMs>,
    /// Its permissions, and what its sub-agent did.
    pub(crate) below: Vec<ItemNode>,
}

/// Entries go in, items come out in the order of their numbers.
#[derive(Debug)]
pub(crate) struct ItemQueue {
    fold: Fold,
    waiting: BTreeMap<u64, WaitingItem>,
    /// The items that belong to no other one, in their order.
    roots: VecDeque<u64>,
    bytes: usize,
    passed_on: BTreeMap<u64, PassedOn>,
}

#[derive(Debug)]
struct WaitingItem {
    item: Item,
    turn_began: Option<UnixMs>,
    depth: usize,
    below: Vec<u64>,
    bytes: usize,
    /// How much of its text was passed on before.
    passed_bytes: usize,
}

/// An item that was passed on before it had ended.
#[derive(Debug)]
struct PassedOn {
    /// Without its text.
    item: Item,
    text_bytes: usize,
}

impl ItemQueue {
    pub(crate) fn new() -> Self {
        let fold = Fold::new(LogSource::Updates).with_limits(ItemLimits::LARGE);
        Self { fold, waiting: BTreeMap::new(), roots: VecDeque::new(), bytes: 0, passed_on: BTreeMap::new() }
    }

    /// Takes an entry, and returns the items that have ended by now.
    pub(crate) fn take(&mut self, entry: &Entry) -> Vec<ItemNode> {
        let (mut changes, mut ready) = (Vec::new(), Vec::new());
        self.fold.push(entry, &mut changes);
        changes.into_iter().for_each(|change| self.apply(change));
        while self.roots.front().is_some_and(|first| has_ended(&self.waiting[first].item)) || self.bytes > MAX_WAITING_BYTES {
            self.pass_on(&mut ready);
        }
        ready
    }

    /// Everything that waits.
    pub(crate) fn finish(&mut self) -> Vec<ItemNode> {
        let mut ready = Vec::new();
        while !self.roots.is_empty() {
            self.pass_on(&mut ready);
        }
        ready
    }

    fn apply(&mut self, change: ItemChange) {
        let number = change.number();
        if let Some(waiting) = self.waiting.get_mut(&number) {
            let before = waiting.bytes;
            match change {
                ItemChange::Whole { item } => waiting.replace(*item),
                ItemChange::Append { append, .. } => append_to(&mut waiting.item, self.fold.seq(), &append),
            }
            waiting.bytes = item_bytes(&waiting.item);
            self.bytes = self.bytes + waiting.bytes - before;
            return;
        }
        let followed = match (change, self.passed_on.get(&number)) {
            (change, Some(passed)) => passed.what_follows(change, self.fold.seq()),
            (ItemChange::Whole { item }, None) => Some((*item, 0)),
            (ItemChange::Append { .. }, None) => None,
        };
        if let Some((item, passed_bytes)) = followed {
            self.push(item, self.fold.turn_started_at(), passed_bytes);
        }
    }

    fn push(&mut self, item: Item, turn_began: Option<UnixMs>, passed_bytes: usize) {
        let number = item.item;
        let owner = match &item.kind {
            // The question follows its tool call at once.
            ItemKind::Permission(permission) => self.waiting.values_mut().rev().find(|waiting| match &waiting.item.kind {
                ItemKind::Tool(tool) => tool.permissions.contains(&permission.permission_id),
                _ => false,
            }),
            _ => item.parent.and_then(|parent| self.waiting.get_mut(&parent)),
        };
        let bytes = item_bytes(&item);
        let depth = match owner {
            Some(owner) if owner.depth < MAX_DEPTH => {
                owner.below.push(number);
                owner.depth + 1
            }
            _ => {
                self.roots.push_back(number);
                0
            }
        };
        self.bytes += bytes;
        self.waiting.insert(number, WaitingItem { item, turn_began, depth, below: Vec::new(), bytes, passed_bytes });
    }

    fn pass_on(&mut self, ready: &mut Vec<ItemNode>) {
        let node = self.roots.pop_front().and_then(|first| self.node(first));
        ready.extend(node);
    }

    fn node(&mut self, number: u64) -> Option<ItemNode> {
        let waiting = self.waiting.remove(&number)?;
        self.bytes -= waiting.bytes;
        self.remember(&waiting);
        let below = waiting.below.iter().filter_map(|number| self.node(*number)).collect();
        Some(ItemNode { item: waiting.item, turn_began: waiting.turn_began, below })
    }

    fn remember(&mut self, waiting: &WaitingItem) {
        let number = waiting.item.item;
        self.passed_on.remove(&number);
        if has_ended(&waiting.item) {
            return;
        }
        let mut item = waiting.item.clone();
        let mut text_bytes = waiting.passed_bytes;
        if let ItemKind::Message(message) | ItemKind::Thought(message) = &mut item.kind {
            text_bytes += std::mem::take(&mut message.text).len();
        } else if let ItemKind::Tool(tool) = &mut item.kind {
            (tool.output, tool.raw_input) = (None, None);
            tool.diffs.clear();
        }
        self.passed_on.insert(number, PassedOn { item, text_bytes });
        if self.passed_on.len() > MAX_PASSED_ON {
            self.passed_on.pop_first();
        }
    }
}

impl WaitingItem {
    /// The item as it is now; of a message that was passed on in part, only what follows, unless it is corrected.
    fn replace(&mut self, item: Item) {
        let before = std::mem::replace(&mut self.item, item);
        self.item.continues = before.continues.or(self.item.continues);
        let (ItemKind::Message(message) | ItemKind::Thought(message)) = &mut self.item.kind else { return };
        let (ItemKind::Message(known) | ItemKind::Thought(known)) = before.kind else { return };
        if self.passed_bytes > 0 && message.text.len() == self.passed_bytes + known.text.len() {
            message.text = known.text;
        }
    }
}

impl PassedOn {
    /// What is to be shown further down, and how much of its text was passed on.
    fn what_follows(&self, change: ItemChange, seq: u64) -> Option<(Item, usize)> {
        let continues = Some(self.item.item);
        match change {
            ItemChange::Append { append: append @ ItemAppend::Text { .. }, .. } => {
                let mut item = Item { continues, ..self.item.clone() };
                append_to(&mut item, seq, &append);
                Some((item, self.text_bytes))
            }
            // Its end brings all of it.
            ItemChange::Append { .. } => None,
            ItemChange::Whole { item } => {
                let is_known = match (&item.kind, &self.item.kind) {
                    (ItemKind::Message(new), ItemKind::Message(known)) | (ItemKind::Thought(new), ItemKind::Thought(known)) => {
                        new.text.len() == self.text_bytes && new.abandoned == known.abandoned && new.blocks == known.blocks
                    }
                    (ItemKind::Plan(new), ItemKind::Plan(known)) => new == known,
                    (ItemKind::Tool(_), _) => item.end_at.is_none(),
                    _ => false,
                };
                (!is_known).then(|| (Item { continues, ..*item }, 0))
            }
        }
    }
}

fn has_ended(item: &Item) -> bool {
    item.end_at.is_some() || matches!(item.kind, ItemKind::Notice(_) | ItemKind::Turn(_) | ItemKind::Other(_))
}

fn item_bytes(item: &Item) -> usize {
    let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let of_diff = |diff: &FileDiff| diff.path.len() + length(&diff.patch) + length(&diff.old_text) + length(&diff.new_text);
    let texts = match &item.kind {
        ItemKind::Message(message) | ItemKind::Thought(message) => message.text.len(),
        ItemKind::Tool(tool) => {
            tool.title.len() + tool.output.as_ref().map_or(0, |output| output.text.len()) + tool.diffs.iter().map(of_diff).sum::<usize>()
        }
        _ => 0,
    };
    ITEM_BYTES + texts
}
