//! Which run builds on which block of which other run. A block stays until nobody builds on it, also if its run is
//! deleted.

use redb::{ReadableTable, Table, WriteTransaction};

use super::{
    error::StoreErrorKind,
    tables::{
        BUILDERS, BUILDS, BlockKey, BuildKey, META, OLD_DELETED_BASES, OLD_FOLLOWERS, RUNS, RowKey, RunKey, SUM_DELETED_BASES, StoredRun,
        add, block_key, build_key, row_key,
    },
};
use crate::model::RunId;

/// In the place of a block's first entry: all blocks of the run. Files of formats 2 and 3 did not say which.
const ALL_BLOCKS: u64 = 0;

/// Both tables, in one transaction.
pub(super) struct Builds<'t> {
    builds: Table<'t, &'static BuildKey, ()>,
    builders: Table<'t, &'static BlockKey, (u64, u64)>,
}

impl<'t> Builds<'t> {
    pub(super) fn open(transaction: &'t WriteTransaction) -> Result<Self, StoreErrorKind> {
        Ok(Self { builds: transaction.open_table(BUILDS)?, builders: transaction.open_table(BUILDERS)? })
    }

    /// Whether another run builds on a block.
    pub(super) fn is_built_on(&self, run: RunId, first_seq: u64) -> Result<bool, StoreErrorKind> {
        let is_there = |first_seq| self.builders.get(&block_key(run, first_seq)).map(|builders| builders.is_some());
        Ok(is_there(first_seq)? || is_there(ALL_BLOCKS)?)
    }

    /// Takes note that rows of `builder` build on a block of another run.
    pub(super) fn add(
        &mut self,
        rows: &impl ReadableTable<&'static RowKey, &'static [u8]>,
        builder: RunId,
        run: RunId,
        first_seq: u64,
    ) -> Result<(), StoreErrorKind> {
        if builder == run || self.builds.insert(&build_key(builder, run, first_seq), ())?.is_some() {
            return Ok(());
        }
        let block = block_key(run, first_seq);
        let before = self.builders.get(&block)?.map(|builders| builders.value());
        let (builders, bytes) = match before {
            Some(before) => before,
            None => (0, stored_bytes(rows, run, first_seq)?),
        };
        self.builders.insert(&block, (builders + 1, bytes))?;
        Ok(())
    }

    /// The blocks of a run that others build on, in order; `None` if all of them stay.
    pub(super) fn kept_blocks(&self, run: RunId) -> Result<Option<Vec<u64>>, StoreErrorKind> {
        let kept = self.kept(run)?;
        Ok((kept.first().map(|(first_seq, _)| *first_seq) != Some(ALL_BLOCKS))
            .then(|| kept.into_iter().map(|(first_seq, _)| first_seq).collect()))
    }

    /// Bytes of the rows of a run that others build on.
    pub(super) fn kept_bytes(&self, run: RunId) -> Result<u64, StoreErrorKind> {
        let kept = self.kept(run)?;
        Ok(match kept.first() {
            Some((ALL_BLOCKS, bytes)) => *bytes,
            _ => kept.iter().map(|(_, bytes)| bytes).sum(),
        })
    }

    fn kept(&self, run: RunId) -> Result<Vec<(u64, u64)>, StoreErrorKind> {
        let (first, last) = (block_key(run, 0), block_key(run, u64::MAX));
        let kept = self.builders.range::<&BlockKey>(&first..=&last)?;
        kept.map(|entry| {
            let (key, value) = entry?;
            Ok((first_seq_of(key.value()), value.value().1))
        })
        .collect()
    }

    /// Removes at most `limit` notes of what a deleted run builds on. Blocks of deleted runs that nobody builds on any
    /// more are left for removal. Returns how many notes were removed.
    pub(super) fn release(
        &mut self,
        transaction: &WriteTransaction,
        deleted: &mut Table<'_, RunKey, ()>,
        builder: RunId,
        limit: usize,
    ) -> Result<usize, StoreErrorKind> {
        let none = RunId::from_bytes([0; 16]);
        let (first, last) = (build_key(builder, none, 0), build_key(builder, RunId::from_bytes([0xff; 16]), u64::MAX));
        let keys = self.builds.range::<&BuildKey>(&first..=&last)?.take(limit);
        let keys: Vec<BuildKey> =
            keys.map(|entry| entry.map(|(key, _)| *key.value())).collect::<Result<_, _>>().map_err(StoreErrorKind::from)?;
        if keys.is_empty() {
            return Ok(0);
        }
        let runs = transaction.open_table(RUNS)?;
        let mut meta = transaction.open_table(META)?;
        for key in &keys {
            self.builds.remove(key)?;
            let block: BlockKey = key[16..].try_into().expect("twenty-four bytes");
            let Some((builders, bytes)) = self.builders.get(&block)?.map(|builders| builders.value()) else { continue };
            if builders > 1 {
                self.builders.insert(&block, (builders - 1, bytes))?;
                continue;
            }
            let run: [u8; 16] = block[..16].try_into().expect("sixteen bytes");
            let is_deleted = runs.get(&run)?.is_none();
            let before = if is_deleted { self.kept_bytes(RunId::from_bytes(run))? } else { 0 };
            self.builders.remove(&block)?;
            if is_deleted {
                add(&mut meta, SUM_DELETED_BASES, self.kept_bytes(RunId::from_bytes(run))?, before)?;
                deleted.insert(&run, ())?;
            }
        }
        Ok(keys.len())
    }
}

/// Length of a block's rows with their keys.
fn stored_bytes(rows: &impl ReadableTable<&'static RowKey, &'static [u8]>, run: RunId, first_seq: u64) -> Result<u64, StoreErrorKind> {
    let (first, last) = (row_key(run, first_seq, 0), row_key(run, first_seq, u32::MAX));
    let rows = rows.range::<&RowKey>(&first..=&last)?;
    rows.map(|row| row.map(|(key, row)| (key.value().len() + row.value().len()) as u64).map_err(StoreErrorKind::from)).sum()
}

fn first_seq_of(key: &BlockKey) -> u64 {
    u64::from_be_bytes(key[16..].try_into().expect("eight bytes"))
}

/// Makes notes of what the records of formats 2 and 3 say: each run builds on one other, as a whole.
pub(super) fn upgrade(transaction: &WriteTransaction) -> Result<(), StoreErrorKind> {
    let mut builds = transaction.open_table(BUILDS)?;
    let mut builders = transaction.open_table(BUILDERS)?;
    let runs = transaction.open_table(RUNS)?;
    let deleted = transaction.open_table(OLD_DELETED_BASES)?;
    for record in runs.iter()? {
        let record = StoredRun::parse(record?.1.value())?;
        let Some(base) = record.base else { continue };
        let block = block_key(base, ALL_BLOCKS);
        let before = builders.get(&block)?.map(|builders| builders.value());
        let (count, bytes) = match before {
            Some(before) => before,
            None => {
                let kept = deleted.get(base.as_bytes())?.map(|bytes| bytes.value());
                let whole = StoredRun::load(&runs, base)?.map(|base| base.sealed.stored_bytes);
                (0, kept.or(whole).unwrap_or_default())
            }
        };
        builds.insert(&build_key(record.run.id, base, ALL_BLOCKS), ())?;
        builders.insert(&block, (count + 1, bytes))?;
    }
    drop(deleted);
    transaction.delete_table(OLD_DELETED_BASES)?;
    transaction.delete_table(OLD_FOLLOWERS)?;
    Ok(())
}
