//! Changes that wait for a client: of each item only what the client does not have yet.
//!
//! What waits for one item is its newest state, or one text that is appended. So what waits is never more than the items that changed,
//! however many entries changed them.

use std::collections::BTreeMap;

use super::{Fold, head_tail::append_to, json_bytes};
use crate::model::item::{ItemAppend, ItemChange, OutputAppend};

/// Appends are not joined to a longer one. It is shorter than the end of an output that is kept, so what a joined append drops is
/// always something that the client has.
const MAX_APPEND_BYTES: usize = 64 << 10;
/// Beside its text, an item or an append takes so much.
const CHANGE_BYTES: usize = 256;

/// What waits, by item number.
#[derive(Debug, Default)]
pub(crate) struct ChangeQueue {
    waiting: BTreeMap<u64, WaitingChange>,
    bytes: usize,
    whole_items: usize,
}

#[derive(Debug)]
struct WaitingChange {
    seq: u64,
    change: ItemChange,
    bytes: usize,
}

impl ChangeQueue {
    /// About how many bytes wait.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether a whole item waits; appends alone may be held back.
    pub(crate) fn has_whole_items(&self) -> bool {
        self.whole_items > 0
    }

    /// Takes what the newest entry of `fold` changed. `as_whole`: the client may not have the item yet, so it gets it whole.
    pub(crate) fn push(&mut self, change: ItemChange, fold: &Fold, as_whole: bool) {
        let (number, seq) = (change.number(), fold.seq());
        let change = match (change, self.waiting.get_mut(&number)) {
            (ItemChange::Append { append, .. }, Some(waiting)) => {
                let grown = json_bytes(&append);
                if waiting.join(seq, &append) {
                    waiting.bytes += grown;
                    self.bytes += grown;
                    return;
                }
                whole_of(fold, number, append)
            }
            (ItemChange::Append { append, .. }, None) if as_whole => whole_of(fold, number, append),
            (change, _) => change,
        };
        self.insert(number, WaitingChange { seq, bytes: CHANGE_BYTES + json_bytes(&change), change });
    }

    /// Everything that waits, by item number, with the entry that each is as of.
    pub(crate) fn drain(&mut self) -> Vec<(u64, ItemChange)> {
        (self.bytes, self.whole_items) = (0, 0);
        std::mem::take(&mut self.waiting).into_values().map(|waiting| (waiting.seq, waiting.change)).collect()
    }

    /// The same in the order of entries: whoever got a part of it has everything up to the last entry that he got a change of,
    /// that entry itself excepted.
    pub(crate) fn drain_by_seq(&mut self) -> Vec<(u64, ItemChange)> {
        let mut changes = self.drain();
        changes.sort_by_key(|(seq, _)| *seq);
        changes
    }

    fn insert(&mut self, number: u64, waiting: WaitingChange) {
        self.bytes += waiting.bytes;
        self.whole_items += usize::from(waiting.is_whole());
        if let Some(before) = self.waiting.insert(number, waiting) {
            self.bytes -= before.bytes;
            self.whole_items -= usize::from(before.is_whole());
        }
    }
}

impl WaitingChange {
    fn is_whole(&self) -> bool {
        matches!(self.change, ItemChange::Whole { .. })
    }

    /// Joins an append to what waits. `false`: they cannot be one.
    fn join(&mut self, seq: u64, append: &ItemAppend) -> bool {
        let is_joined = match &mut self.change {
            ItemChange::Whole { item } => {
                append_to(item, seq, append);
                true
            }
            ItemChange::Append { append: waiting, .. } => join_appends(waiting, append),
        };
        if is_joined {
            self.seq = seq;
        }
        is_joined
    }
}

fn join_appends(waiting: &mut ItemAppend, append: &ItemAppend) -> bool {
    match (waiting, append) {
        (ItemAppend::Text { text: waiting }, ItemAppend::Text { text }) if waiting.len() + text.len() <= MAX_APPEND_BYTES => {
            waiting.push_str(text);
            true
        }
        (ItemAppend::Output { output: waiting }, ItemAppend::Output { output: grown })
        | (ItemAppend::Stderr { stderr: waiting }, ItemAppend::Stderr { stderr: grown })
            if waiting.text.len() + grown.text.len() <= MAX_APPEND_BYTES =>
        {
            waiting.text.push_str(&grown.text);
            waiting.drop_bytes += grown.drop_bytes;
            true
        }
        _ => false,
    }
}

/// The item instead of an append to it.
fn whole_of(fold: &Fold, number: u64, append: ItemAppend) -> ItemChange {
    match fold.open_item(number) {
        Some(item) => ItemChange::Whole { item: Box::new(item) },
        // The entry ended the item, too: the whole of it follows.
        None => ItemChange::Append { item: number, append },
    }
}

/// An append in pieces of at most so many bytes each, one character at least.
pub(crate) fn cut(change: ItemChange, max_bytes: usize) -> Vec<ItemChange> {
    let ItemChange::Append { item, append } = change else { return vec![change] };
    let pieces = |text: String| {
        let (mut pieces, mut rest) = (Vec::new(), text.as_str());
        while rest.len() > max_bytes {
            let end = Some(rest.floor_char_boundary(max_bytes)).filter(|end| *end > 0).unwrap_or_else(|| rest.ceil_char_boundary(1));
            pieces.push(rest[..end].to_owned());
            rest = &rest[end..];
        }
        if !rest.is_empty() || pieces.is_empty() {
            pieces.push(rest.to_owned());
        }
        pieces
    };
    let of_output = |grown: OutputAppend| {
        let mut drop_bytes = grown.drop_bytes;
        pieces(grown.text)
            .into_iter()
            .map(move |text| OutputAppend { text, drop_bytes: std::mem::take(&mut drop_bytes) })
            .collect::<Vec<_>>()
    };
    let appends: Vec<ItemAppend> = match append {
        ItemAppend::Text { text } => pieces(text).into_iter().map(|text| ItemAppend::Text { text }).collect(),
        ItemAppend::Output { output: grown } => of_output(grown).into_iter().map(|output| ItemAppend::Output { output }).collect(),
        ItemAppend::Stderr { stderr: grown } => of_output(grown).into_iter().map(|stderr| ItemAppend::Stderr { stderr }).collect(),
    };
    appends.into_iter().map(|append| ItemChange::Append { item, append }).collect()
}
