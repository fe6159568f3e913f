//! Long texts, each kept once by its blake3, and who uses them.
//!
//! Three tables: the texts in rows, how often each is used, and which run uses which. A run's uses go with the run, and a text
//! with its last use. What equal texts save is known exactly at any time: all uses but one.

use std::collections::BTreeMap;

use redb::{ReadableTable, Table, WriteTransaction};

use super::{
    pack::{Packer, Unpacker},
    tables::{
        META, SUM_DEDUPED, SUM_TEXT_BYTES, SUM_TEXT_STORED, SUM_TEXTS, TEXT_USES, TEXTS, TextKey, TextUse, USES, UseKey, add, text_key,
        use_key,
    },
    trouble::Trouble,
};
use crate::model::RunId;

/// What a deleted run's uses came to.
pub(super) struct Forgotten {
    /// Uses that were taken back,
    pub uses: usize,
    /// and the bytes of rows that went with them.
    pub freed: u64,
    /// It has others.
    pub more: bool,
}

/// Texts of one run, in one transaction.
pub(super) struct Texts<'t> {
    run: RunId,
    texts: Table<'t, &'static TextKey, &'static [u8]>,
    text_uses: Table<'t, &'static [u8; 32], TextUse>,
    uses: Table<'t, &'static UseKey, u64>,
    /// Counted in here first: a text comes often twice, as the program wrote it and as what it means.
    counted: BTreeMap<[u8; 32], Counted>,
    packer: Option<Packer>,
}

struct Counted {
    uses: u64,
    /// Set where the text is new.
    stored: Option<u64>,
    length: u64,
}

impl<'t> Texts<'t> {
    pub(super) fn open(transaction: &'t WriteTransaction, run: RunId) -> Result<Self, Trouble> {
        Ok(Self {
            run,
            texts: transaction.open_table(TEXTS)?,
            text_uses: transaction.open_table(TEXT_USES)?,
            uses: transaction.open_table(USES)?,
            counted: BTreeMap::new(),
            packer: None,
        })
    }

    /// Keeps a text, or notes one more use of it.
    pub(super) fn keep(&mut self, text: &[u8]) -> Result<[u8; 32], Trouble> {
        let hash = *blake3::hash(text).as_bytes();
        if let Some(counted) = self.counted.get_mut(&hash) {
            counted.uses += 1;
            return Ok(hash);
        }
        let stored = if self.text_uses.get(&hash)?.is_some() { None } else { Some(self.store(&hash, text)?) };
        self.counted.insert(hash, Counted { uses: 1, stored, length: text.len() as u64 });
        Ok(hash)
    }

    fn store(&mut self, hash: &[u8; 32], text: &[u8]) -> Result<u64, Trouble> {
        let mut stored = 0;
        let packer = self.packer.get_or_insert_with(|| Packer::new(false, None, false));
        packer.pack(None, 0, text, None, |row| {
            let key = text_key(hash, row.part);
            stored += (key.len() + row.bytes.len()) as u64;
            self.texts.insert(&key, row.bytes)?;
            Ok(())
        })?;
        Ok(stored)
    }

    /// Writes down what was counted. To be called before the transaction is committed.
    pub(super) fn finish(mut self, transaction: &WriteTransaction) -> Result<(), Trouble> {
        if self.counted.is_empty() {
            return Ok(());
        }
        let mut meta = transaction.open_table(META)?;
        for (hash, counted) in std::mem::take(&mut self.counted) {
            let key = use_key(self.run, &hash);
            let own = self.uses.get(&key)?.map_or(0, |uses| uses.value());
            self.uses.insert(&key, own + counted.uses)?;
            let before = self.text_uses.get(&hash)?.map(|text| text.value());
            let (runs, uses, length, stored) = before.unwrap_or((0, 0, counted.length, counted.stored.unwrap_or(0)));
            self.text_uses.insert(&hash, (runs + u64::from(own == 0), uses + counted.uses, length, stored))?;
            let saved = if before.is_some() { counted.uses } else { counted.uses - 1 };
            add(&mut meta, SUM_DEDUPED, saved * length, 0)?;
            if before.is_none() {
                add(&mut meta, SUM_TEXTS, 1, 0)?;
                add(&mut meta, SUM_TEXT_BYTES, length, 0)?;
                add(&mut meta, SUM_TEXT_STORED, stored, 0)?;
            }
        }
        Ok(())
    }
}

/// Takes back `most` of a deleted run's uses, and removes the texts that nobody uses any more.
pub(super) fn forget_some(transaction: &WriteTransaction, run: RunId, most: usize) -> Result<Forgotten, Trouble> {
    let mut uses = transaction.open_table(USES)?;
    let (first, last) = (use_key(run, &[0; 32]), use_key(run, &[0xff; 32]));
    let some = uses.range::<&UseKey>(&first..=&last)?.take(most);
    let some: Vec<(UseKey, u64)> = some.map(|entry| entry.map(|(key, uses)| (*key.value(), uses.value()))).collect::<Result<_, _>>()?;
    let mut text_uses = transaction.open_table(TEXT_USES)?;
    let mut texts = transaction.open_table(TEXTS)?;
    let mut meta = transaction.open_table(META)?;
    let mut freed = 0;
    for (key, own) in &some {
        uses.remove(key)?;
        let hash: [u8; 32] = key[16..].try_into().expect("thirty-two bytes");
        let Some((runs, all, length, stored)) = text_uses.get(&hash)?.map(|text| text.value()) else { continue };
        if runs > 1 && all > *own {
            text_uses.insert(&hash, (runs - 1, all - own, length, stored))?;
            add(&mut meta, SUM_DEDUPED, 0, own * length)?;
            continue;
        }
        text_uses.remove(&hash)?;
        let (first, last) = (text_key(&hash, 0), text_key(&hash, u32::MAX));
        let parts = texts.range::<&TextKey>(&first..=&last)?;
        let parts: Vec<TextKey> = parts.map(|part| part.map(|(key, _)| *key.value())).collect::<Result<_, _>>()?;
        for part in &parts {
            texts.remove(part)?;
        }
        freed += stored;
        add(&mut meta, SUM_DEDUPED, 0, all.saturating_sub(1) * length)?;
        add(&mut meta, SUM_TEXTS, 0, 1)?;
        add(&mut meta, SUM_TEXT_BYTES, 0, length)?;
        add(&mut meta, SUM_TEXT_STORED, 0, stored)?;
    }
    Ok(Forgotten { uses: some.len(), freed, more: some.len() == most })
}

/// Reads a text.
pub(super) fn read(texts: &impl ReadableTable<&'static TextKey, &'static [u8]>, hash: &[u8; 32], length: u32) -> Result<Vec<u8>, Trouble> {
    let mut unpacker = Unpacker::of_text(length.into())?;
    for part in 0.. {
        let row = texts.get(&text_key(hash, part))?.ok_or_else(|| Trouble::damaged("a text that a run uses is missing"))?;
        unpacker.push(part, row.value(), |_| Err(Trouble::damaged("a text builds on a run")))?;
        if unpacker.is_whole() {
            break;
        }
    }
    Ok(unpacker.into_body())
}
