//! The index of finished runs: finding runs by state, provider, directory, session, labels and the files that their tool
//! calls name without reading the others.
//!
//! Each of these is a term, and the index holds each finished run under each of its terms. The ids under a term are in
//! order, so several terms are intersected by leaps from one candidate to the next, the newest run first.

use std::{collections::BTreeSet, ops::ControlFlow};

use redb::{ReadTransaction, ReadableTable, TableError, WriteTransaction};

use super::{
    Store,
    error::{StoreError, StoreErrorKind},
    tables::{INDEX, IndexKey, RUNS, RunKey, StoredRun, TOUCHED},
};
use crate::model::{Run, RunId, RunState};

/// The key of a term: the first half of the blake3 of its kind and its value.
pub(super) type TermHash = [u8; 16];

/// Terms of files that one run has at most, so that a row of the table holds them.
const MAX_FILE_TERMS: usize = 4000;

/// Which runs to list. Without any term, all of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    /// A run matches if it has at least one term of each group.
    groups: Vec<Vec<TermHash>>,
    /// Some group can be found in the index only, for no record says it.
    needs_index: bool,
}

impl Filter {
    /// Only runs in one of these states.
    pub(crate) fn states(self, states: &[RunState]) -> Self {
        self.any(states.iter().map(|state| state_term(*state)).collect())
    }

    /// Only runs of this provider.
    pub(crate) fn provider(self, provider: &str) -> Self {
        self.any(vec![term(b'p', &[provider])])
    }

    /// Only runs in this directory.
    pub(crate) fn cwd(self, cwd: &str) -> Self {
        self.any(vec![term(b'd', &[cwd])])
    }

    /// Only runs of this session of a provider.
    pub(crate) fn session(self, id: &str) -> Self {
        self.any(vec![term(b'n', &[id])])
    }

    /// Only runs with this label.
    pub(crate) fn label(self, name: &str, value: &str) -> Self {
        self.any(vec![term(b'l', &[name, value])])
    }

    /// Only runs whose tool calls name this file, by its absolute path or the one relative to the run's directory.
    pub(crate) fn touched(self, path: &str) -> Self {
        Self { needs_index: true, ..self.any(vec![file_term(path)]) }
    }

    fn any(mut self, terms: Vec<TermHash>) -> Self {
        self.groups.push(terms);
        self
    }
}

impl Store {
    /// Gives the records that match to `visit`, the newest run first, until it breaks; only those before `before` if
    /// that is given. Without a term these are all records; with one, those of finished runs. A file of an older format
    /// has no index, so all its records are given, whatever the filter is; but none if it asks for a file.
    pub(crate) fn list(
        &self,
        filter: &Filter,
        before: Option<RunId>,
        mut visit: impl FnMut(StoredRun) -> ControlFlow<()>,
    ) -> Result<(), StoreError> {
        self.read(|transaction| {
            let is_indexed = has_index(transaction)?;
            if filter.needs_index && !is_indexed {
                return Ok(());
            }
            if filter.groups.is_empty() || !is_indexed {
                return scan(transaction, before, &mut visit);
            }
            let (index, runs) = (transaction.open_table(INDEX)?, transaction.open_table(RUNS)?);
            let mut bound = before.map_or(Some([0xff; 16]), |id| id_before(*id.as_bytes()));
            while let Some(at) = bound {
                let Some(id) = newest_of_all(&index, &filter.groups, at)? else { break };
                let record = StoredRun::load(&runs, RunId::from_bytes(id))?;
                let record = record.ok_or_else(|| StoreErrorKind::damaged("a run in the index has no record"))?;
                if visit(record).is_break() {
                    break;
                }
                bound = id_before(id);
            }
            Ok(())
        })?;
        Ok(())
    }
}

fn scan(
    transaction: &ReadTransaction,
    before: Option<RunId>,
    visit: &mut impl FnMut(StoredRun) -> ControlFlow<()>,
) -> Result<(), StoreErrorKind> {
    let runs = transaction.open_table(RUNS)?;
    let end = before.map(|id| *id.as_bytes());
    let records = match &end {
        Some(end) => runs.range::<&[u8; 16]>(..end)?,
        None => runs.range::<&[u8; 16]>(..)?,
    };
    for record in records.rev() {
        if visit(StoredRun::parse(record?.1.value())?).is_break() {
            break;
        }
    }
    Ok(())
}

fn has_index(transaction: &ReadTransaction) -> Result<bool, StoreErrorKind> {
    match transaction.open_table(INDEX) {
        Ok(_) => Ok(true),
        Err(TableError::TableDoesNotExist(_)) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The newest run at or before `bound` that has a term of each group.
fn newest_of_all(
    index: &impl ReadableTable<IndexKey, ()>,
    groups: &[Vec<TermHash>],
    bound: [u8; 16],
) -> Result<Option<[u8; 16]>, StoreErrorKind> {
    let (mut candidate, mut agreed) = (bound, 0);
    for group in groups.iter().cycle() {
        let mut newest = None;
        for term in group {
            newest = newest.max(newest_of(index, term, candidate)?);
        }
        let Some(newest) = newest else { return Ok(None) };
        agreed = if newest == candidate { agreed + 1 } else { 1 };
        candidate = newest;
        if agreed >= groups.len() {
            return Ok(Some(candidate));
        }
    }
    Ok(None)
}

/// The newest run at or before `bound` that has this term.
fn newest_of(index: &impl ReadableTable<IndexKey, ()>, term: &TermHash, bound: [u8; 16]) -> Result<Option<[u8; 16]>, StoreErrorKind> {
    let (first, last) = (index_key(term, &[0; 16]), index_key(term, &bound));
    let found = index.range::<&[u8; 32]>(&first..=&last)?.next_back().transpose()?;
    Ok(found.map(|(key, _)| key.value()[16..].try_into().expect("sixteen bytes")))
}

/// The id before this one; `None` for the first.
fn id_before(id: [u8; 16]) -> Option<[u8; 16]> {
    u128::from_be_bytes(id).checked_sub(1).map(u128::to_be_bytes)
}

/// Moves a record from the terms that it had to those that it has now. Only finished runs have terms.
pub(super) fn update(
    transaction: &WriteTransaction,
    id: RunId,
    before: Option<&StoredRun>,
    after: Option<&StoredRun>,
) -> Result<(), StoreErrorKind> {
    let terms_of = |record: Option<&StoredRun>| record.filter(|record| record.finished).map_or(Vec::new(), |record| terms(&record.run));
    let (old, new) = (terms_of(before), terms_of(after));
    if old == new {
        return Ok(());
    }
    let mut index = transaction.open_table(INDEX)?;
    for term in old.iter().filter(|term| !new.contains(term)) {
        index.remove(&index_key(term, id.as_bytes()))?;
    }
    for term in new.iter().filter(|term| !old.contains(term)) {
        index.insert(&index_key(term, id.as_bytes()), ())?;
    }
    Ok(())
}

/// Notes which files the part of a run that is being sealed names.
pub(super) fn note_files(transaction: &WriteTransaction, id: RunId, files: &BTreeSet<String>) -> Result<(), StoreErrorKind> {
    if files.is_empty() {
        return Ok(());
    }
    let mut touched = transaction.open_table(TOUCHED)?;
    let mut terms = terms_of_files(&touched, id)?;
    terms.extend(files.iter().map(|path| file_term(path)));
    let mut known = BTreeSet::new();
    terms.retain(|term| known.insert(*term));
    terms.truncate(MAX_FILE_TERMS);
    touched.insert(id.as_bytes(), terms.concat().as_slice())?;
    Ok(())
}

/// Makes a run that is finished by now found by the files that it names.
pub(super) fn add_files(transaction: &WriteTransaction, id: RunId) -> Result<(), StoreErrorKind> {
    let terms = terms_of_files(&transaction.open_table(TOUCHED)?, id)?;
    let mut index = transaction.open_table(INDEX)?;
    for term in &terms {
        index.insert(&index_key(term, id.as_bytes()), ())?;
    }
    Ok(())
}

/// Forgets the files that a deleted run names.
pub(super) fn remove_files(transaction: &WriteTransaction, id: RunId) -> Result<(), StoreErrorKind> {
    let mut touched = transaction.open_table(TOUCHED)?;
    let terms = terms_of_files(&touched, id)?;
    touched.remove(id.as_bytes())?;
    let mut index = transaction.open_table(INDEX)?;
    for term in &terms {
        index.remove(&index_key(term, id.as_bytes()))?;
    }
    Ok(())
}

fn terms_of_files(touched: &impl ReadableTable<RunKey, &'static [u8]>, id: RunId) -> Result<Vec<TermHash>, StoreErrorKind> {
    let row = touched.get(id.as_bytes())?;
    let terms = row.iter().flat_map(|row| row.value().as_chunks().0.to_vec());
    Ok(terms.collect())
}

/// Builds the index of a file that has none.
pub(super) fn rebuild(transaction: &WriteTransaction) -> Result<(), StoreErrorKind> {
    let runs = transaction.open_table(RUNS)?;
    for record in runs.range::<&[u8; 16]>(..)? {
        let record = StoredRun::parse(record?.1.value())?;
        update(transaction, record.run.id, None, Some(&record))?;
    }
    Ok(())
}

fn terms(run: &Run) -> Vec<TermHash> {
    let mut terms = vec![state_term(run.state), term(b'p', &[&run.provider]), term(b'd', &[&run.cwd])];
    terms.extend(run.session.iter().map(|session| term(b'n', &[&session.id])));
    terms.extend(run.labels.iter().map(|(name, value)| term(b'l', &[name, value])));
    terms
}

fn file_term(path: &str) -> TermHash {
    term(b'f', &[path])
}

fn state_term(state: RunState) -> TermHash {
    term(b's', &[&serde_json::to_string(&state).expect("a state has a name")])
}

fn term(kind: u8, parts: &[&str]) -> TermHash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[kind]);
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes()).update(part.as_bytes());
    }
    hasher.finalize().as_bytes()[..16].try_into().expect("sixteen bytes")
}

fn index_key(term: &TermHash, id: &[u8; 16]) -> [u8; 32] {
    let mut key = [0; 32];
    key[..16].copy_from_slice(term);
    key[16..].copy_from_slice(id);
    key
}
