//! The index lists the runs that a scan of all records would list, whatever happened to the runs before.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
};

use proptest::{collection::vec, option, prelude::*};

use super::{
    tests::{LogFixture, run},
    *,
};
use crate::model::{Run, RunId, RunState, Stream};

const STATES: [RunState; 3] = [RunState::Succeeded, RunState::Failed, RunState::Cancelled];

#[derive(Clone, Debug)]
struct RunTraits {
    state: usize,
    provider: u8,
    cwd: u8,
    labels: BTreeMap<u8, u8>,
    files: BTreeSet<u8>,
    finished: bool,
}

fn traits() -> impl Strategy<Value = RunTraits> {
    let labels = prop::collection::btree_map(0_u8..3, 0_u8..2, 0..3);
    let files = prop::collection::btree_set(0_u8..4, 0..3);
    (0_usize..3, 0_u8..2, 0_u8..3, labels, files, prop::bool::weighted(0.9))
        .prop_map(|(state, provider, cwd, labels, files, finished)| RunTraits { state, provider, cwd, labels, files, finished })
}

/// What a list is filtered by: states, provider, directory, labels, a file.
type ListQuery = (Option<Vec<usize>>, Option<u8>, Option<u8>, BTreeMap<u8, u8>, Option<u8>);

fn query() -> impl Strategy<Value = ListQuery> {
    let labels = prop::collection::btree_map(0_u8..3, 0_u8..2, 0..3);
    (option::of(vec(0_usize..3, 0..3)), option::of(0_u8..2), option::of(0_u8..3), labels, option::of(0_u8..4))
}

fn labels_of(labels: &BTreeMap<u8, u8>) -> BTreeMap<String, String> {
    labels.iter().map(|(name, value)| (format!("name{name}"), format!("value{value}"))).collect()
}

fn filter_of((states, provider, cwd, labels, file): &ListQuery) -> Filter {
    let mut filter = Filter::default();
    if let Some(states) = states {
        filter = filter.states(&states.iter().map(|state| STATES[*state]).collect::<Vec<_>>());
    }
    if let Some(provider) = provider {
        filter = filter.provider(&format!("provider{provider}"));
    }
    if let Some(cwd) = cwd {
        filter = filter.cwd(&format!("/cwd{cwd}"));
    }
    if let Some(file) = file {
        filter = filter.touched(&format!("/file{file}"));
    }
    labels_of(labels).iter().fold(filter, |filter, (name, value)| filter.label(name, value))
}

fn matches(run: &Run, files: &BTreeSet<u8>, (states, provider, cwd, labels, file): &ListQuery) -> bool {
    states.as_ref().is_none_or(|states| states.iter().any(|state| STATES[*state] == run.state))
        && provider.is_none_or(|provider| run.provider == format!("provider{provider}"))
        && cwd.is_none_or(|cwd| run.cwd == format!("/cwd{cwd}"))
        && labels_of(labels).iter().all(|(name, value)| run.labels.get(name) == Some(value))
        && file.is_none_or(|file| files.contains(&file))
}

/// The ids that a list returns, read in pages of `page_runs`.
fn listed(store: &Store, filter: &Filter, page_runs: usize) -> Vec<RunId> {
    let mut all: Vec<RunId> = Vec::new();
    loop {
        let (before, known) = (all.last().copied(), all.len());
        store
            .list(filter, before, |record| {
                all.push(record.run.id);
                if all.len() - known == page_runs { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            })
            .expect("listed");
        if all.len() - known < page_runs {
            return all;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 24 } else { 256 }))]

    #[test]
    fn the_index_lists_what_a_scan_would_list(
        runs in vec(traits(), 0..24),
        edits in vec((0_usize..24, prop::collection::btree_map(0_u8..3, 0_u8..2, 0..3)), 0..8),
        deleted in vec(0_usize..24, 0..8),
        queries in vec(query(), 1..12),
        page_runs in 1_usize..6,
    ) {
        let directory = tempfile::tempdir().expect("a directory");
        let store = Store::at(directory.path());
        let mut expected_runs = BTreeMap::new();
        for (number, traits) in runs.iter().enumerate() {
            let mut run = run(RunId::from_bytes([number as u8 + 1; 16]));
            (run.provider, run.cwd, run.labels) = (format!("provider{}", traits.provider), format!("/cwd{}", traits.cwd), labels_of(&traits.labels));
            store.put_run(&run, None, || true).expect("stored");
            // Files come with the lines that name them, in one or several steps.
            let mut log = LogFixture::of(run.id);
            for file in &traits.files {
                let lines = log.output(Stream::Stdout, b"x").take();
                store.seal_naming(run.id, &lines, &BTreeSet::from([format!("/file{file}")])).expect("sealed");
            }
            if traits.finished {
                (run.state, run.last_seq) = (STATES[traits.state], traits.files.len() as u64);
                store.finish(&run).expect("finished");
                expected_runs.insert(run.id, (run, traits.files.clone()));
            }
        }
        for (number, labels) in edits {
            let id = RunId::from_bytes([number as u8 + 1; 16]);
            store.edit(id, |run| run.labels = labels_of(&labels)).expect("edited");
            expected_runs.entry(id).and_modify(|(run, _)| run.labels = labels_of(&labels));
        }
        for number in deleted {
            let id = RunId::from_bytes([number as u8 + 1; 16]);
            store.delete(id).expect("deleted");
            expected_runs.remove(&id);
        }
        for query in queries.iter().filter(|query| filter_of(query) != Filter::default()) {
            let expected: Vec<RunId> = expected_runs.values().rev().filter(|(run, files)| matches(run, files, query)).map(|(run, _)| run.id).collect();
            prop_assert_eq!(listed(&store, &filter_of(query), page_runs), expected, "{:?}", query);
        }
    }
}

#[test]
fn an_older_file_has_an_index_after_its_first_write() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = Store::at(directory.path());
    let packed = include_bytes!("../../tests/stores/format-2.redb.zst");
    std::fs::write(store.path(), zstd::stream::decode_all(&packed[..]).expect("unpacked")).expect("written");
    let failed = Filter::default().states(&[RunState::Failed]);
    assert_eq!(listed(&store, &failed, 10).len(), 3, "nothing is left out before there is an index");
    assert_eq!(listed(&store, &Filter::default().touched("/w/a"), 10), [], "no record says which files a run names");
    store.edit(RunId::from_bytes([1; 16]), |run| run.pinned = true).expect("edited");
    assert_eq!(listed(&store, &failed, 10), [RunId::from_bytes([3; 16])]);
    assert_eq!(listed(&store, &Filter::default().states(&[RunState::Succeeded]), 10), [RunId::from_bytes([1; 16])]);
}
