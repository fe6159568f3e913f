//! The tables, their keys, and the record of a run. `docs/store.md` describes the same for people.

use redb::{ReadableTable, TableDefinition};
use serde::{Deserialize, Serialize};

use super::trouble::Trouble;
use crate::model::{Run, RunId};

pub(super) type RunKey = &'static [u8; 16];
pub(super) type IndexKey = &'static [u8; 32];
pub(super) type RowKey = [u8; 28];
pub(super) type TextKey = [u8; 36];
pub(super) type UseKey = [u8; 48];

/// Runs that use a text, its uses in all of them, its length decoded, the length of its rows and their keys.
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
/// Hash of a command and its directory to the run that others build on.
pub(super) const BASES: TableDefinition<&'static [u8; 32], RunKey> = TableDefinition::new("bases");
/// A run that others build on to their number.
pub(super) const FOLLOWERS: TableDefinition<RunKey, u64> = TableDefinition::new("followers");
/// Deleted runs whose rows stay because others build on them, and the bytes of these.
pub(super) const KEPT: TableDefinition<RunKey, u64> = TableDefinition::new("kept");

/// What finished runs can be asked for and the id of a run that has it, see `index.rs`.
pub(super) const INDEX: TableDefinition<IndexKey, ()> = TableDefinition::new("index");

/// Names in [`META`].
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
pub(super) const SUM_KEPT: &str = "keptBytes";

/// What the store knows of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoredRun {
    /// The run as it was last told; final once `finished`.
    pub run: Run,
    /// How much of its log is in rows.
    pub sealed: SealedPart,
    /// The whole log is in rows, and `run` is its last word.
    pub finished: bool,
    /// The run whose rows its rows may build on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) base: Option<RunId>,
    /// blake3 of the `clientToken` that started it, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) token: Option<String>,
}

/// The part of a run's log that the store holds: entries 1 to `seq`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SealedPart {
    pub seq: u64,
    /// Bytes that the program wrote to its stdout up to there.
    pub stdout: u64,
    /// The same for its stderr.
    pub stderr: u64,
    /// Bytes of these entries as lines.
    pub logical_bytes: u64,
    /// Bytes of the rows that hold them, keys included.
    pub stored_bytes: u64,
    /// Raw bytes of those rows that build on another run,
    #[serde(default)]
    pub delta_bytes: u64,
    /// and what they took of `stored_bytes`.
    #[serde(default)]
    pub delta_stored_bytes: u64,
}

impl StoredRun {
    pub(super) fn load(runs: &impl ReadableTable<RunKey, &'static [u8]>, id: RunId) -> Result<Option<Self>, Trouble> {
        runs.get(id.as_bytes())?.map(|record| Self::parse(record.value())).transpose()
    }

    pub(super) fn parse(record: &[u8]) -> Result<Self, Trouble> {
        serde_json::from_slice(record).map_err(|error| Trouble::damaged(format!("the record of a run does not parse: {error}")))
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a record always has a JSON form")
    }

    pub(super) fn token_hash(&self) -> Option<[u8; 32]> {
        let hash = blake3::Hash::from_hex(self.token.as_ref()?).ok()?;
        Some(*hash.as_bytes())
    }
}

/// Big endian throughout, so that the order of keys is the order of runs, entries and parts.
pub(super) fn row_key(id: RunId, first_seq: u64, part: u32) -> RowKey {
    let mut key = [0; 28];
    key[..16].copy_from_slice(id.as_bytes());
    key[16..24].copy_from_slice(&first_seq.to_be_bytes());
    key[24..].copy_from_slice(&part.to_be_bytes());
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

/// Moves a sum in [`META`] by a difference.
pub(super) fn add(meta: &mut redb::Table<'_, &'static str, u64>, name: &'static str, more: u64, less: u64) -> Result<(), Trouble> {
    let now = meta.get(name)?.map_or(0, |value| value.value());
    meta.insert(name, now.saturating_add(more).saturating_sub(less))?;
    Ok(())
}
