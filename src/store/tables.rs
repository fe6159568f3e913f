//! The tables, their keys, and the record of a run. `docs/store.md` describes the same.

use redb::{ReadableTable, TableDefinition};
use serde::{Deserialize, Serialize};

use super::error::StoreErrorKind;
use crate::model::{Run, RunId};

pub(super) type RunKey = &'static [u8; 16];
pub(super) type IndexKey = &'static [u8; 32];
pub(super) type RowKey = [u8; 28];
pub(super) type TextKey = [u8; 36];
pub(super) type UseKey = [u8; 48];
/// Id of a run and number of a block's first entry, see [`block_key`].
pub(super) type BlockKey = [u8; 24];
/// Id of the run that builds, and the block that it builds on, see [`build_key`].
pub(super) type BuildKey = [u8; 40];
/// A block, and a position in its body in four bytes, little endian.
pub(super) type AnchorValue = [u8; 28];

/// Of a text: the runs that use it, its uses in all of them, its length decoded, and the length of its rows and their
/// keys.
pub(super) type TextUse = (u64, u64, u64, u64);

/// The format's version, and sums over all runs.
pub(super) const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
/// Id of a run to its [`StoredRun`] as JSON.
pub(super) const RUNS: TableDefinition<RunKey, &[u8]> = TableDefinition::new("runs");
/// Id, number of a block's first entry and part number to a row.
pub(super) const ROWS: TableDefinition<&'static RowKey, &[u8]> = TableDefinition::new("rows");
/// blake3 of a `clientToken` to the run that it started.
pub(super) const TOKENS: TableDefinition<&'static [u8; 32], RunKey> = TableDefinition::new("tokens");
/// Deleted runs of which rows may still be there.
pub(super) const DELETED: TableDefinition<RunKey, ()> = TableDefinition::new("deleted");
/// Hash of a text and part number to a row.
pub(super) const TEXTS: TableDefinition<&'static TextKey, &[u8]> = TableDefinition::new("texts");
/// Hash of a text to its uses.
pub(super) const TEXT_USES: TableDefinition<&'static [u8; 32], TextUse> = TableDefinition::new("textUses");
/// Id of a run and hash of a text to how often the run uses it.
pub(super) const USES: TableDefinition<&'static UseKey, u64> = TableDefinition::new("uses");
/// Hash of provider, directory and command to the run that later ones build on.
pub(super) const BASES: TableDefinition<&'static [u8; 32], RunKey> = TableDefinition::new("bases");
/// A builder, and a block of another run that its rows build on.
pub(super) const BUILDS: TableDefinition<&'static BuildKey, ()> = TableDefinition::new("builds");
/// A block that other runs build on to how many these are, and the bytes of its rows.
pub(super) const BUILDERS: TableDefinition<&'static BlockKey, (u64, u64)> = TableDefinition::new("builders");
/// Hash of a window of a body to its block and where it ends there.
pub(super) const ANCHORS: TableDefinition<u64, &'static AnchorValue> = TableDefinition::new("anchors");
/// A block to the keys of its windows in [`ANCHORS`].
pub(super) const BLOCK_ANCHORS: TableDefinition<&'static BlockKey, &[u8]> = TableDefinition::new("blockAnchors");
/// Id of a run and number of an entry to what the fold of the entries up to that one needs to go on.
pub(super) const CHECKPOINTS: TableDefinition<&'static BlockKey, &[u8]> = TableDefinition::new("checkpoints");
/// Of formats 2 and 3: a run that others build on to how many these are.
pub(super) const OLD_FOLLOWERS: TableDefinition<RunKey, u64> = TableDefinition::new("followers");
/// Of formats 2 and 3: a deleted run whose rows stay because others build on them to the bytes of these rows.
pub(super) const OLD_DELETED_BASES: TableDefinition<RunKey, u64> = TableDefinition::new("kept");
/// Term and id of a finished run that has it, see `index.rs`.
pub(super) const INDEX: TableDefinition<IndexKey, ()> = TableDefinition::new("index");

/// Id of a run to the terms of the files that its sealed part names, 16 bytes each; once it is finished, they are in [`INDEX`].
pub(super) const TOUCHED: TableDefinition<RunKey, &[u8]> = TableDefinition::new("touched");

/// The name of the format's version in [`META`]; the constants below are the names of its sums.
pub(super) const VERSION: &str = "version";
pub(super) const SUM_RUNS: &str = "runs";
pub(super) const SUM_ENTRIES: &str = "entries";
pub(super) const SUM_LOGICAL: &str = "logicalBytes";
pub(super) const SUM_STORED: &str = "storedBytes";
pub(super) const SUM_TEXTS: &str = "texts";
pub(super) const SUM_TEXT_BYTES: &str = "textBytes";
pub(super) const SUM_TEXT_STORED: &str = "textStoredBytes";
pub(super) const SUM_DEDUPED: &str = "dedupedBytes";
pub(super) const SUM_DELTA: &str = "deltaBytes";
pub(super) const SUM_DELTA_STORED: &str = "deltaStoredBytes";
pub(super) const SUM_DELETED_BASES: &str = "keptBytes";

/// The record of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StoredRun {
    /// The run as it was recorded last; final once `finished`.
    pub(crate) run: Run,
    /// How much of its log is in rows.
    pub(crate) sealed: SealedPart,
    /// The whole log is in rows, and `run` does not change any more, except for its title, labels and pin.
    pub(crate) finished: bool,
    /// The run whose rows its rows may build on, where no anchor leads to better ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) base: Option<RunId>,
    /// blake3 of the `clientToken` that started it, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) token: Option<String>,
}

/// The part of a run's log that the store holds: entries 1 to `seq`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SealedPart {
    pub(crate) seq: u64,
    /// Bytes that the program wrote to its stdout up to entry `seq`.
    pub(crate) stdout: u64,
    /// Bytes that the program wrote to its stderr up to entry `seq`.
    pub(crate) stderr: u64,
    /// Bytes of these entries as lines.
    pub(crate) logical_bytes: u64,
    /// Bytes of the rows that hold them, keys included.
    pub(crate) stored_bytes: u64,
    /// Raw bytes of the rows that build on another run.
    #[serde(default)]
    pub(crate) delta_bytes: u64,
    /// The part of `stored_bytes` that the rows that build on another run take.
    #[serde(default)]
    pub(crate) delta_stored_bytes: u64,
}

impl StoredRun {
    pub(super) fn load(runs: &impl ReadableTable<RunKey, &'static [u8]>, id: RunId) -> Result<Option<Self>, StoreErrorKind> {
        runs.get(id.as_bytes())?.map(|record| Self::parse(record.value())).transpose()
    }

    pub(super) fn parse(record: &[u8]) -> Result<Self, StoreErrorKind> {
        serde_json::from_slice(record).map_err(|error| StoreErrorKind::damaged(format!("the record of a run does not parse: {error}")))
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a record always has a JSON form")
    }

    pub(super) fn token_hash(&self) -> Option<[u8; 32]> {
        let hash = blake3::Hash::from_hex(self.token.as_ref()?).ok()?;
        Some(*hash.as_bytes())
    }
}

/// The key of a row. All numbers are big endian, so that the order of keys is the order of runs, entries and parts.
pub(super) fn row_key(id: RunId, first_seq: u64, part: u32) -> RowKey {
    let mut key = [0; 28];
    key[..16].copy_from_slice(id.as_bytes());
    key[16..24].copy_from_slice(&first_seq.to_be_bytes());
    key[24..].copy_from_slice(&part.to_be_bytes());
    key
}

pub(super) fn block_key(id: RunId, first_seq: u64) -> BlockKey {
    let mut key = [0; 24];
    key[..16].copy_from_slice(id.as_bytes());
    key[16..].copy_from_slice(&first_seq.to_be_bytes());
    key
}

pub(super) fn build_key(builder: RunId, run: RunId, first_seq: u64) -> BuildKey {
    let mut key = [0; 40];
    key[..16].copy_from_slice(builder.as_bytes());
    key[16..].copy_from_slice(&block_key(run, first_seq));
    key
}

pub(super) fn text_key(hash: &[u8; 32], part: u32) -> TextKey {
    let mut key = [0; 36];
    key[..32].copy_from_slice(hash);
    key[32..].copy_from_slice(&part.to_be_bytes());
    key
}

pub(super) fn use_key(run: RunId, hash: &[u8; 32]) -> UseKey {
    let mut key = [0; 48];
    key[..16].copy_from_slice(run.as_bytes());
    key[16..].copy_from_slice(hash);
    key
}

/// The number of the first entry, from a row's key.
pub(super) fn first_seq_of(key: &RowKey) -> u64 {
    u64::from_be_bytes(key[16..24].try_into().expect("eight bytes"))
}

/// The part number, from a row's key.
pub(super) fn part_of(key: &RowKey) -> u32 {
    u32::from_be_bytes(key[24..].try_into().expect("four bytes"))
}

/// Adds `more` to a sum in [`META`] and takes `less` from it.
pub(super) fn add(meta: &mut redb::Table<'_, &'static str, u64>, name: &'static str, more: u64, less: u64) -> Result<(), StoreErrorKind> {
    let now = meta.get(name)?.map_or(0, |value| value.value());
    meta.insert(name, now.saturating_add(more).saturating_sub(less))?;
    Ok(())
}
