//! The beginning and the end of a text that may be long; the bytes in between are counted.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::model::item::{Item, ItemAppend, ItemKind, Output};

/// How many bytes of the beginning are kept.
pub(crate) const HEAD_BYTES: usize = 48 << 10;
/// How many bytes of the end are kept.
pub(crate) const TAIL_BYTES: usize = 80 << 10;

/// A text of which the middle may be missing. What it keeps depends on the text alone, never on the pieces in which it came.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(from = "Output", into = "Output")]
pub(crate) struct HeadTail {
    head: String,
    /// Behind the head, and behind what is omitted. It never begins inside a character.
    tail: VecDeque<u8>,
    omitted: u64,
}

/// What a change means for a reader who has the text as it was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OutputGrowth {
    Nothing,
    /// The reader drops so many bytes behind what is omitted, then appends the new text.
    Append {
        drop_bytes: u64,
    },
    /// The reader needs the text anew.
    Rewrite,
}

impl HeadTail {
    pub(crate) fn is_empty(&self) -> bool {
        self.total() == 0
    }

    /// Length of the whole text in bytes.
    pub(crate) fn total(&self) -> u64 {
        self.kept_bytes() as u64 + self.omitted
    }

    /// Bytes that are in memory.
    pub(crate) fn kept_bytes(&self) -> usize {
        self.head.len() + self.tail.len()
    }

    pub(crate) fn push(&mut self, text: &str) -> OutputGrowth {
        if text.is_empty() {
            return OutputGrowth::Nothing;
        }
        let mut rest = text;
        if self.tail.is_empty() && self.omitted == 0 && self.head.len() < HEAD_BYTES {
            let end = rest.floor_char_boundary(HEAD_BYTES - self.head.len());
            self.head.push_str(&rest[..end]);
            rest = &rest[end..];
        }
        let had_omitted = self.omitted > 0;
        let before = self.tail.len();
        self.tail.extend(rest.as_bytes());
        let dropped = self.shorten_tail();
        match dropped {
            0 => OutputGrowth::Append { drop_bytes: 0 },
            _ if had_omitted && dropped <= before => OutputGrowth::Append { drop_bytes: dropped as u64 },
            _ => OutputGrowth::Rewrite,
        }
    }

    /// Cuts the text at a byte and appends another: how the output of a running tool grows, and is corrected.
    pub(crate) fn set(&mut self, offset: u64, text: &str) -> OutputGrowth {
        let total = self.total();
        if offset >= total {
            return self.push(text);
        }
        let head = self.head.len() as u64;
        if offset <= head {
            let end = self.head.floor_char_boundary(usize::try_from(offset).unwrap_or(usize::MAX));
            self.head.truncate(end);
            self.tail.clear();
            self.omitted = 0;
        } else if offset <= head + self.omitted {
            self.tail.clear();
            self.omitted = offset - head;
        } else {
            let mut end = usize::try_from(offset - head - self.omitted).unwrap_or(usize::MAX);
            while end > 0 && self.tail.get(end).is_some_and(|byte| is_inside_character(*byte)) {
                end -= 1;
            }
            self.tail.truncate(end);
        }
        self.push(text);
        OutputGrowth::Rewrite
    }

    /// As clients get it.
    pub(crate) fn output(&self) -> Output {
        let mut bytes = Vec::with_capacity(self.kept_bytes());
        bytes.extend_from_slice(self.head.as_bytes());
        let (front, back) = self.tail.as_slices();
        bytes.extend_from_slice(front);
        bytes.extend_from_slice(back);
        let is_cut = self.omitted > 0;
        Output {
            text: String::from_utf8(bytes).expect("both parts are whole characters"),
            omitted_at: is_cut.then_some(self.head.len() as u64),
            omitted_bytes: is_cut.then_some(self.omitted),
        }
    }

    fn shorten_tail(&mut self) -> usize {
        let mut dropped = self.tail.len().saturating_sub(TAIL_BYTES);
        while self.tail.get(dropped).is_some_and(|byte| is_inside_character(*byte)) {
            dropped += 1;
        }
        self.tail.drain(..dropped);
        self.omitted += dropped as u64;
        dropped
    }
}

impl From<Output> for HeadTail {
    fn from(output: Output) -> Self {
        let mut kept = Self::default();
        match output.omitted_at.and_then(|at| output.text.split_at_checked(usize::try_from(at).unwrap_or(usize::MAX))) {
            Some((head, tail)) => {
                head.clone_into(&mut kept.head);
                kept.tail.extend(tail.as_bytes());
                kept.omitted = output.omitted_bytes.unwrap_or_default();
            }
            None => {
                kept.push(&output.text);
            }
        }
        kept
    }
}

impl From<HeadTail> for Output {
    fn from(kept: HeadTail) -> Self {
        kept.output()
    }
}

fn is_inside_character(byte: u8) -> bool {
    byte & 0b1100_0000 == 0b1000_0000
}

// How a client applies the changes of items.

/// Appends to one item what entry `seq` brought.
pub(crate) fn append_to(item: &mut Item, seq: u64, append: &ItemAppend) {
    item.last_seq = seq;
    match (append, &mut item.kind) {
        (ItemAppend::Text { text }, ItemKind::Message(message) | ItemKind::Thought(message)) => message.text.push_str(text),
        (ItemAppend::Output { output: grown }, ItemKind::Command(command)) => {
            append_output(&mut command.output, &grown.text, grown.drop_bytes)
        }
        (ItemAppend::Stderr { stderr: grown }, ItemKind::Command(command)) => {
            append_output(command.stderr.get_or_insert_default(), &grown.text, grown.drop_bytes);
        }
        (ItemAppend::Output { output: grown }, ItemKind::Tool(tool)) => {
            append_output(tool.output.get_or_insert_default(), &grown.text, grown.drop_bytes);
        }
        _ => {}
    }
}

/// Drops bytes behind the place where something is omitted already, then appends.
pub(crate) fn append_output(output: &mut Output, text: &str, drop_bytes: u64) {
    if drop_bytes > 0 {
        let from = usize::try_from(output.omitted_at.unwrap_or_default()).unwrap_or(usize::MAX).min(output.text.len());
        let end = from.saturating_add(usize::try_from(drop_bytes).unwrap_or(usize::MAX)).min(output.text.len());
        output.text.drain(output.text.floor_char_boundary(from)..output.text.ceil_char_boundary(end));
        output.omitted_bytes = Some(output.omitted_bytes.unwrap_or_default() + drop_bytes);
    }
    output.text.push_str(text);
}

/// Items as a client keeps them.
#[cfg(test)]
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ItemMap(pub(crate) std::collections::BTreeMap<u64, Item>);

#[cfg(test)]
impl ItemMap {
    /// Applies what entry `seq` changed. An append to an item that is not here changes nothing.
    pub(crate) fn apply(&mut self, seq: u64, change: crate::model::item::ItemChange) {
        use crate::model::item::ItemChange;
        match change {
            ItemChange::Whole { item } => drop(self.0.insert(item.item, *item)),
            ItemChange::Append { item, append } => {
                if let Some(item) = self.0.get_mut(&item) {
                    append_to(item, seq, &append);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The text at a reader that follows.
    fn follow(shown: &mut Output, kept: &HeadTail, growth: OutputGrowth, text: &str) {
        match growth {
            OutputGrowth::Nothing => {}
            OutputGrowth::Append { drop_bytes } => append_output(shown, text, drop_bytes),
            OutputGrowth::Rewrite => *shown = kept.output(),
        }
    }

    #[test]
    fn the_middle_goes_and_is_counted() {
        let mut kept = HeadTail::default();
        kept.push(&"h".repeat(HEAD_BYTES));
        kept.push(&"m".repeat(1000));
        kept.push(&"t".repeat(TAIL_BYTES));
        let output = kept.output();
        assert_eq!((output.omitted_at, output.omitted_bytes), (Some(HEAD_BYTES as u64), Some(1000)));
        assert!(!output.text.contains('m') && output.text.len() == HEAD_BYTES + TAIL_BYTES);
    }

    #[test]
    fn it_is_corrected_wherever_it_was_wrong() {
        let mut kept = HeadTail::default();
        kept.push("abcdef");
        assert_eq!(kept.set(5, "X"), OutputGrowth::Rewrite);
        assert_eq!(kept.output().text, "abcdeX");
        kept.set(2, "Y");
        assert_eq!(kept.output().text, "abY");
        kept.push(&"x".repeat(1 << 20));
        kept.set((HEAD_BYTES + 10) as u64, "end");
        let output = kept.output();
        assert_eq!((&output.text[HEAD_BYTES..], output.omitted_bytes), ("end", Some(10)));
        kept.set(0, "new");
        assert_eq!(kept.output(), Output { text: "new".to_owned(), ..Output::default() });
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn a_follower_has_the_text_that_the_fold_has(pieces in proptest::collection::vec(("[a日é]{1,3}", 1_usize..40_000), 1..12)) {
            let (mut kept, mut shown, mut whole) = (HeadTail::default(), Output::default(), String::new());
            for (unit, count) in pieces {
                let text = unit.repeat(count);
                whole.push_str(&text);
                let growth = kept.push(&text);
                follow(&mut shown, &kept, growth, &text);
                prop_assert!(shown == kept.output());
            }
            let mut at_once = HeadTail::default();
            at_once.push(&whole);
            prop_assert!(at_once.output() == kept.output(), "the pieces do not matter");
            prop_assert_eq!(kept.total(), whole.len() as u64);
            let restored: HeadTail = serde_json::from_value(serde_json::to_value(&kept).expect("JSON")).expect("the same JSON");
            prop_assert!(restored.output() == kept.output());
        }
    }
}
