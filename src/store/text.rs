//! Long texts, each stored once under its blake3, and the runs that use them.
//!
//! Three tables hold the texts in rows, how often each is used, and which run uses which. A run's uses are removed with
//! the run, and a text with its last use. The bytes that equal texts save are known exactly at any time: those of all
//! uses but one.

use std::collections::BTreeMap;

use redb::{ReadableTable, Table, WriteTransaction};

use super::{
    error::StoreErrorKind,
    pack::{Packer, Row, RowSink},
    prefix::FoundPrefix,
    tables::{
        META, SUM_DEDUPED, SUM_TEXT_BYTES, SUM_TEXT_STORED, SUM_TEXTS, TEXT_USES, TEXTS, TextKey, TextUse, USES, UseKey, add, text_key,
        use_key,
    },
    unpack::Unpacker,
};
use crate::model::RunId;

/// What [`remove_uses`] removed.
pub(super) struct RemovedUses {
    /// Uses that were removed.
    pub(crate) uses: usize,
    /// Bytes of the rows that were removed with them.
    pub(crate) freed: u64,
    /// The run may have further uses.
    pub(crate) more: bool,
}

/// The texts of one run, in one transaction.
pub(super) struct Texts<'t> {
    run: RunId,
    texts: Table<'t, &'static TextKey, &'static [u8]>,
    text_uses: Table<'t, &'static [u8; 32], TextUse>,
    uses: Table<'t, &'static UseKey, u64>,
    /// New uses. They are counted here and written by [`Self::finish`], because a text often comes twice: in the
    /// program's own output and in the update that was made of it.
    counts: BTreeMap<[u8; 32], UseCount>,
    packer: Option<Packer>,
}

struct UseCount {
    uses: u64,
    /// Bytes of the text's rows, if it is new.
    stored: Option<u64>,
    length: u64,
}

impl<'t> Texts<'t> {
    pub(super) fn open(transaction: &'t WriteTransaction, run: RunId) -> Result<Self, StoreErrorKind> {
        Ok(Self {
            run,
            texts: transaction.open_table(TEXTS)?,
            text_uses: transaction.open_table(TEXT_USES)?,
            uses: transaction.open_table(USES)?,
            counts: BTreeMap::new(),
            packer: None,
        })
    }

    /// Stores a text, or counts one more use of it. Returns its hash.
    pub(super) fn keep(&mut self, text: &[u8]) -> Result<[u8; 32], StoreErrorKind> {
        let hash = *blake3::hash(text).as_bytes();
        if let Some(counted) = self.counts.get_mut(&hash) {
            counted.uses += 1;
            return Ok(hash);
        }
        let stored = if self.text_uses.get(&hash)?.is_some() { None } else { Some(self.store(&hash, text)?) };
        self.counts.insert(hash, UseCount { uses: 1, stored, length: text.len() as u64 });
        Ok(hash)
    }

    fn store(&mut self, hash: &[u8; 32], text: &[u8]) -> Result<u64, StoreErrorKind> {
        let packer = self.packer.get_or_insert_with(|| Packer::new(false, None, false));
        let mut rows = TextRows { texts: &mut self.texts, hash, stored: 0 };
        packer.pack(None, 0, text, &mut rows)?;
        Ok(rows.stored)
    }

    /// Writes the counted uses. Must be called before the transaction is committed.
    pub(super) fn finish(mut self, transaction: &WriteTransaction) -> Result<(), StoreErrorKind> {
        if self.counts.is_empty() {
            return Ok(());
        }
        let mut meta = transaction.open_table(META)?;
        for (hash, counted) in std::mem::take(&mut self.counts) {
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

/// Takes the rows of a text, which build on nothing.
struct TextRows<'a, 't> {
    texts: &'a mut Table<'t, &'static TextKey, &'static [u8]>,
    hash: &'a [u8; 32],
    stored: u64,
}

impl RowSink for TextRows<'_, '_> {
    fn find(&mut self, _: &[u8], _: usize, _: bool) -> Result<Option<FoundPrefix>, StoreErrorKind> {
        Ok(None)
    }

    fn end_of_new(&self, text: &[u8], _: usize) -> usize {
        text.len()
    }

    fn emit(&mut self, row: Row<'_>) -> Result<(), StoreErrorKind> {
        let key = text_key(self.hash, row.part);
        self.stored += (key.len() + row.bytes.len()) as u64;
        self.texts.insert(&key, row.bytes)?;
        Ok(())
    }
}

/// Removes at most `limit` of a deleted run's uses, and the texts that nobody uses any more.
pub(super) fn remove_uses(transaction: &WriteTransaction, run: RunId, limit: usize) -> Result<RemovedUses, StoreErrorKind> {
    let mut uses = transaction.open_table(USES)?;
    let (first, last) = (use_key(run, &[0; 32]), use_key(run, &[0xff; 32]));
    let batch = uses.range::<&UseKey>(&first..=&last)?.take(limit);
    let batch: Vec<(UseKey, u64)> = batch.map(|entry| entry.map(|(key, uses)| (*key.value(), uses.value()))).collect::<Result<_, _>>()?;
    let mut text_uses = transaction.open_table(TEXT_USES)?;
    let mut texts = transaction.open_table(TEXTS)?;
    let mut meta = transaction.open_table(META)?;
    let mut freed = 0;
    for (key, own) in &batch {
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
    Ok(RemovedUses { uses: batch.len(), freed, more: batch.len() == limit })
}

/// The text with this hash and length.
pub(super) fn read(
    texts: &impl ReadableTable<&'static TextKey, &'static [u8]>,
    hash: &[u8; 32],
    length: u32,
) -> Result<Vec<u8>, StoreErrorKind> {
    let mut unpacker = Unpacker::of_text(length.into())?;
    for part in 0.. {
        let row = texts.get(&text_key(hash, part))?.ok_or_else(|| StoreErrorKind::damaged("a text that a run uses is missing"))?;
        unpacker.push(part, row.value(), |_| Err(StoreErrorKind::damaged("a text builds on a run")))?;
        if unpacker.is_whole() {
            break;
        }
    }
    Ok(unpacker.into_body())
}
