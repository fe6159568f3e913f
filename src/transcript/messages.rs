//! Messages and thoughts of the running turn. They are joined by their id, so that texts which alternate stay whole.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{ItemHead, ItemLimits, json_bytes, shortened};
use crate::model::{
    UnixMs,
    item::{FileDiff, Item, ItemAppend, ItemChange, ItemKind, MessageItem, MessageRole},
};

/// A longer text goes on in a new item.
const MAX_TEXT_BYTES: usize = 256 << 10;
/// All messages of a turn that may still change; beyond, the oldest are ended.
const MAX_OPEN_BYTES: usize = 2 << 20;
/// Longest path of a file in an item.
pub(super) const MAX_PATH_BYTES: usize = 4 << 10;
/// What a message counts for beside its text.
const MESSAGE_BYTES: usize = 512;

/// Whose text it is, and whether it is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Speaker {
    User,
    Agent,
    Thought,
}

/// A piece of a message.
pub(super) struct MessageChunk<'a> {
    pub(super) speaker: Speaker,
    /// Empty where the provider gave none: then the piece belongs to what was said last.
    pub(super) message_id: &'a str,
    pub(super) content: ChunkContent<'a>,
    /// The content is the whole message; what was said before is wrong.
    pub(super) is_correction: bool,
    pub(super) is_abandoned: bool,
}

pub(super) enum ChunkContent<'a> {
    Text(&'a str),
    Block(&'a Map<String, Value>),
}

/// The messages that may still change, oldest first.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct TurnMessages {
    open: Vec<OpenMessage>,
    bytes: usize,
}

#[derive(Debug, Serialize, Deserialize)]
struct OpenMessage {
    speaker: Speaker,
    message_id: String,
    /// Items that are full, in their order. Of their texts only the length is known.
    full: Vec<MessagePart>,
    last: MessagePart,
}

#[derive(Debug, Serialize, Deserialize)]
struct MessagePart {
    head: ItemHead,
    message: MessageItem,
    bytes: usize,
}

/// What the fold gives to whatever makes an item: where the entry stands, and numbers.
pub(super) struct NewItems<'a> {
    pub(super) seq: u64,
    pub(super) at: UnixMs,
    pub(super) turn: Option<u64>,
    pub(super) parent: Option<u64>,
    pub(super) count: &'a mut u64,
    pub(super) limits: ItemLimits,
    /// The item of which nothing is omitted.
    pub(super) whole_item: Option<u64>,
    pub(super) changes: &'a mut Vec<ItemChange>,
}

impl NewItems<'_> {
    pub(super) fn head(&mut self) -> ItemHead {
        *self.count += 1;
        ItemHead {
            item: *self.count,
            seq: self.seq,
            last_seq: self.seq,
            at: self.at,
            end_at: None,
            turn: self.turn,
            parent: self.parent,
            continues: None,
        }
    }

    pub(super) fn whole(&mut self, item: Item) {
        self.changes.push(ItemChange::Whole { item: Box::new(item) });
    }

    /// Whether a value of this length is kept in an item. Second: what it counts for, which must not depend on whether somebody
    /// wants the item whole, for item numbers depend on the count.
    pub(super) fn keeps(&self, item: u64, bytes: usize, max_bytes: usize) -> (bool, usize) {
        let fits = bytes <= max_bytes;
        (fits || self.whole_item == Some(item), if fits { bytes } else { 0 })
    }

    /// Takes out of a diff of an item what is too large. Returns what it counts for.
    pub(super) fn shorten_diff(&self, item: u64, diff: &mut FileDiff, max_bytes: usize) -> usize {
        let path = shortened(&diff.path, MAX_PATH_BYTES).len();
        diff.path.truncate(path);
        let mut counted = path + 64;
        for (text, max) in [
            (&mut diff.patch, self.limits.patch_bytes),
            (&mut diff.old_text, self.limits.text_bytes),
            (&mut diff.new_text, self.limits.text_bytes),
        ] {
            let Some(bytes) = text.as_ref().map(String::len) else { continue };
            let (is_kept, bytes) = self.keeps(item, bytes, max.min(max_bytes.saturating_sub(counted)));
            counted += bytes;
            if !is_kept {
                *text = None;
                diff.omitted = true;
            }
        }
        counted
    }
}

impl TurnMessages {
    /// Takes a piece. `last_item`: the newest item of all, to which a piece without an id may belong.
    pub(super) fn push(&mut self, chunk: &MessageChunk<'_>, last_item: u64, new: &mut NewItems<'_>) {
        let found = self.open.iter().rposition(|open| open.is_meant(chunk, last_item));
        if matches!(chunk.content, ChunkContent::Text("")) && (!chunk.is_abandoned || found.is_none()) {
            return;
        }
        let position = found.unwrap_or_else(|| {
            self.open.push(OpenMessage {
                speaker: chunk.speaker,
                message_id: chunk.message_id.to_owned(),
                full: Vec::new(),
                last: MessagePart::new(new.head(), chunk.speaker),
            });
            self.bytes += MESSAGE_BYTES;
            self.open.len() - 1
        });
        let open = &mut self.open[position];
        let before = open.bytes();
        open.take(chunk, found.is_none(), new);
        self.bytes = self.bytes + open.bytes() - before;
        while self.bytes > MAX_OPEN_BYTES && self.open.len() > 1 {
            let oldest = self.open.remove(0);
            self.bytes = self.bytes.saturating_sub(oldest.bytes() + MESSAGE_BYTES);
            oldest.end(new);
        }
    }

    /// The item with this number, unless it is full.
    pub(super) fn item(&self, number: u64) -> Option<Item> {
        let open = self.open.iter().rev().find(|open| open.last.head.item == number)?;
        Some(open.last.item(open.speaker))
    }

    /// The turn is over.
    pub(super) fn end_turn(&mut self, new: &mut NewItems<'_>) {
        self.bytes = 0;
        self.open.drain(..).for_each(|open| open.end(new));
    }
}

impl OpenMessage {
    fn is_meant(&self, chunk: &MessageChunk<'_>, last_item: u64) -> bool {
        self.speaker == chunk.speaker
            && self.message_id == chunk.message_id
            && (!chunk.message_id.is_empty() || self.last.head.item == last_item)
    }

    fn bytes(&self) -> usize {
        self.full.iter().map(|part| part.bytes + MESSAGE_BYTES).sum::<usize>() + self.last.bytes
    }

    fn take(&mut self, chunk: &MessageChunk<'_>, is_new: bool, new: &mut NewItems<'_>) {
        self.last.head.last_seq = new.seq;
        match chunk.content {
            ChunkContent::Block(block) => {
                self.last.add_block(block, new);
                new.whole(self.last.item(self.speaker));
            }
            ChunkContent::Text(text) if chunk.is_correction && !is_new => self.correct(text, new),
            ChunkContent::Text(text) => {
                self.last.message.abandoned |= chunk.is_abandoned;
                let first = &text[..first_part(text, MAX_TEXT_BYTES.saturating_sub(self.last.message.text.len()))];
                self.last.append(first);
                if is_new || chunk.is_abandoned {
                    new.whole(self.last.item(self.speaker));
                } else if !first.is_empty() {
                    let (item, append) = (self.last.head.item, ItemAppend::Text { text: first.to_owned() });
                    new.changes.push(ItemChange::Append { item, append });
                }
                self.go_on(&text[first.len()..], new);
            }
        }
    }

    /// What does not fit goes on in new items. The full one has ended.
    fn go_on(&mut self, mut rest: &str, new: &mut NewItems<'_>) {
        while !rest.is_empty() {
            self.last.head.end_at = Some(new.at);
            self.last.head.last_seq = new.seq;
            new.whole(self.last.item(self.speaker));
            let (number, parent) = (self.last.head.item, self.last.head.parent);
            let head = ItemHead { continues: Some(number), parent, ..new.head() };
            let mut full = std::mem::replace(&mut self.last, MessagePart::new(head, self.speaker));
            full.bytes -= full.message.text.len();
            full.message.text = String::new();
            self.full.push(full);
            let part = &rest[..first_part(rest, MAX_TEXT_BYTES)];
            self.last.append(part);
            new.whole(self.last.item(self.speaker));
            rest = &rest[part.len()..];
        }
    }

    /// Puts the whole text into the items that the message has, and into new ones.
    fn correct(&mut self, text: &str, new: &mut NewItems<'_>) {
        let mut rest = text;
        for part in &mut self.full {
            let end = first_part(rest, MAX_TEXT_BYTES);
            part.head.last_seq = new.seq;
            rest[..end].clone_into(&mut part.message.text);
            new.whole(part.item(self.speaker));
            part.message.text = String::new();
            rest = &rest[end..];
        }
        let end = first_part(rest, MAX_TEXT_BYTES);
        self.last.bytes -= self.last.message.text.len();
        self.last.message.text.clear();
        self.last.append(&rest[..end]);
        new.whole(self.last.item(self.speaker));
        self.go_on(&rest[end..], new);
    }

    fn end(mut self, new: &mut NewItems<'_>) {
        (self.last.head.end_at, self.last.head.last_seq) = (Some(new.at), new.seq);
        new.whole(self.last.item(self.speaker));
    }
}

impl MessagePart {
    fn new(head: ItemHead, speaker: Speaker) -> Self {
        let role = if speaker == Speaker::User { MessageRole::User } else { MessageRole::Agent };
        Self { head, message: MessageItem { role, text: String::new(), blocks: Vec::new(), abandoned: false }, bytes: 0 }
    }

    fn append(&mut self, text: &str) {
        self.message.text.push_str(text);
        self.bytes += text.len();
    }

    fn add_block(&mut self, block: &Map<String, Value>, new: &NewItems<'_>) {
        let (is_kept, counted) = new.keeps(self.head.item, json_bytes(block), new.limits.block_bytes);
        // A message of many blocks has a limit too, so that items have one.
        let fits_together = self.bytes + counted <= MAX_OPEN_BYTES / 2;
        if is_kept && (fits_together || new.whole_item == Some(self.head.item)) {
            self.message.blocks.push(block.clone());
        } else {
            let mut short = Map::new();
            short.extend(block.get("type").map(|kind| ("type".to_owned(), kind.clone())));
            short.insert("omitted".to_owned(), true.into());
            self.message.blocks.push(short);
        }
        self.bytes += 64 + if fits_together { counted } else { 0 };
    }

    fn item(&self, speaker: Speaker) -> Item {
        let message = self.message.clone();
        self.head.with(if speaker == Speaker::Thought { ItemKind::Thought(message) } else { ItemKind::Message(message) })
    }
}

/// How much of a text goes into an item that has space for so many bytes: whole lines where it has to be cut.
fn first_part(text: &str, max_bytes: usize) -> usize {
    if text.len() <= max_bytes {
        return text.len();
    }
    let end = text.floor_char_boundary(max_bytes);
    text[..end].rfind('\n').map_or(end, |at| at + 1)
}
