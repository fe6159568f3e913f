//! What callers of the store rely on: what was sealed comes back, once, whoever sealed it.

use std::ops::ControlFlow;

use proptest::prelude::*;
use redb::ReadableDatabase;
use serde_json::json;
use tempfile::TempDir;

use super::{
    create::builder,
    row::MAX_ROW_BYTES,
    runs::Stats,
    tables::{ROWS, RowKey, StoredRun, row_key},
    *,
};
use crate::model::{Entry, Run, RunId, RunState, Stream, line};

/// A run to be recorded. Tests of other modules use it too.
pub(crate) fn run(id: RunId) -> Run {
    Run { state: RunState::Running, ..Run::new(id, "command", vec!["true".to_owned()], "/", 1) }
}

pub(super) fn store() -> (TempDir, Store) {
    let directory = tempfile::tempdir().expect("a directory");
    let store = Store::at(directory.path());
    (directory, store)
}

/// A store with the record of one run.
pub(super) fn store_with_run() -> (TempDir, Store, RunId) {
    let (directory, store) = store();
    let id = RunId::new();
    assert!(store.put_run(&run(id), None, || true).expect("stored"));
    (directory, store, id)
}

/// Writes the lines of a log and tracks where its streams end.
pub(super) struct LogFixture {
    id: RunId,
    pub(super) seq: u64,
    at: u64,
    ends: [u64; 2],
    lines: Vec<u8>,
}

impl LogFixture {
    pub(super) fn of(id: RunId) -> Self {
        Self { id, seq: 0, at: 1_763_800_000_000, ends: [0; 2], lines: Vec::new() }
    }

    pub(super) fn output(&mut self, stream: Stream, raw: &[u8]) -> &mut Self {
        self.seq += 1;
        self.at += self.seq % 7;
        line::write_output(&mut self.lines, self.id, self.seq, self.at, stream, self.ends[stream as usize], raw);
        self.ends[stream as usize] += raw.len() as u64;
        self
    }

    pub(super) fn other(&mut self, entry: serde_json::Value) -> &mut Self {
        self.seq += 1;
        let mut whole = json!({"runId": self.id, "seq": self.seq, "at": self.at});
        whole.as_object_mut().expect("an object").extend(entry.as_object().expect("an object").clone());
        let entry: Entry = serde_json::from_value(whole).expect("an entry");
        line::write(&mut self.lines, &entry);
        self
    }

    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.lines)
    }
}

pub(super) fn read_all(store: &Store, id: RunId) -> Vec<u8> {
    let mut lines = Vec::new();
    let mut seq = 1;
    while let Some(block) = store.block_at(id, seq).expect("readable") {
        assert_eq!(block.first_seq, seq, "blocks follow each other");
        block.write_lines(0, &mut lines);
        seq = block.last_seq + 1;
    }
    lines
}

/// Asserts that the bytes are the same. The message says where they differ instead of printing megabytes.
pub(super) fn assert_same(found: &[u8], expected: &[u8]) {
    let at = found.iter().zip(expected).position(|(a, b)| a != b).unwrap_or(found.len().min(expected.len()));
    assert!(found == expected, "{} and {} bytes, which part at {at}", found.len(), expected.len());
}

pub(super) fn row_lengths(store: &Store, id: RunId) -> Vec<usize> {
    let handle = builder().open_read_only(store.path()).expect("opens");
    let rows = handle.begin_read().expect("reads").open_table(ROWS).expect("is there");
    let (first, last) = (row_key(id, 0, 0), row_key(id, u64::MAX, u32::MAX));
    rows.range::<&RowKey>(&first..=&last).expect("reads").map(|row| row.expect("reads").1.value().len()).collect()
}

/// Bytes that no compression makes smaller, different for each seed.
pub(super) fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut noise = vec![0; bytes];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut noise);
    noise
}

#[test]
fn what_is_sealed_comes_back_as_it_was() {
    let (_directory, store, id) = store_with_run();
    let mut log = LogFixture::of(id);
    log.other(json!({"kind": "state", "state": "running", "turn": 1}));
    for number in 0..20_000 {
        let stream = if number % 5 == 0 { Stream::Stderr } else { Stream::Stdout };
        log.output(stream, format!("\x1b[32m   Compiling\x1b[0m crate-{} v0.{number}.1 (\"é\\日本\")\r\n", number % 97).as_bytes());
    }
    log.output(Stream::Stdout, b"").output(Stream::Stdout, b"\xff\xfe broken").output(Stream::Stderr, &[0; 3]);
    log.other(json!({"kind": "update", "update": {"sessionUpdate": "plan", "entries": []}}));
    let lines = log.take();
    assert_eq!(store.seal(id, &lines).expect("sealed"), SealResult::UpTo(log.seq));
    assert_same(&read_all(&store, id), &lines);
    assert!(store.block_at(id, log.seq + 1).expect("readable").is_none());
    assert!(store.block_at(RunId::new(), 1).expect("readable").is_none());

    let stats = store.stats().expect("stats");
    assert_eq!((stats.runs, stats.entries, stats.logical_bytes), (1, log.seq, lines.len() as u64));
    assert!(stats.stored_bytes < stats.logical_bytes / 10, "{stats:?}");
    let record = store.run(id).expect("readable").expect("there");
    assert_eq!([record.sealed.stdout, record.sealed.stderr], log.ends);
}

#[test]
fn sealing_again_changes_nothing() {
    let (directory, store, id) = store_with_run();
    let other = Store::at(directory.path());
    let mut log = LogFixture::of(id);
    (0..100).for_each(|number| {
        log.output(Stream::Stdout, format!("line {number}\n").as_bytes());
    });
    let first = log.take();
    (0..100).for_each(|number| {
        log.output(Stream::Stderr, format!("line {number}\n").as_bytes());
    });
    let both = [first.clone(), log.take()].concat();

    assert_eq!(store.seal(id, &first).expect("sealed"), SealResult::UpTo(100));
    assert_eq!(other.seal(id, &first).expect("sealed"), SealResult::UpTo(100));
    let stored = store.stats().expect("stats").stored_bytes;
    assert_eq!(other.seal(id, &both).expect("sealed"), SealResult::UpTo(200), "an overlap is skipped");
    assert_eq!(store.seal(id, &first).expect("sealed"), SealResult::UpTo(200), "an old segment is skipped");
    assert!(store.stats().expect("stats").stored_bytes > stored);
    assert_same(&read_all(&store, id), &both);
    assert_eq!(store.stats().expect("stats").entries, 200);
}

#[test]
fn a_gap_or_a_torn_line_writes_nothing() {
    let (_directory, store, id) = store_with_run();
    let mut log = LogFixture::of(id);
    log.output(Stream::Stdout, b"one\n").take();
    let second = log.output(Stream::Stdout, b"two\n").take();
    let failure = store.seal(id, &second).expect_err("entry 1 is missing");
    assert!(failure.to_string().contains("entry 2 follows entry 0"), "{failure}");
    let whole = LogFixture::of(id).output(Stream::Stdout, b"one\n").take();
    for torn in [&whole[..whole.len() - 1], &whole[..whole.len() - 3], b"{}\n", b"\n"] {
        store.seal(id, torn).expect_err("not an entry");
    }
    assert_eq!(store.run(id).expect("readable").expect("there").sealed.seq, 0);
    assert!(row_lengths(&store, id).is_empty());
    assert_eq!(store.seal(id, &whole).expect("the store still works"), SealResult::UpTo(1));
}

#[test]
fn lines_of_another_spelling_are_kept_as_they_are() {
    let (_directory, store, id) = store_with_run();
    let head = |seq: u64, offset: u64| {
        format!(r#"{{"kind":"output","runId":"{id}","seq":{seq},"at":5,"stream":"stdout","offset":{offset},"text":"#)
    };
    let other_id = RunId::new();
    let lines = [
        format!("{}\"a\\u000ab\"}}\n", head(1, 0)),
        format!("{}\"\\/\"}}\n", head(2, 3)),
        format!("{}\"c\"}}\n", head(3, 4)),
        format!("{}\"far\"}}\n", head(4, 1000)),
        format!("{}\"near\"}}\n", head(5, 1003)),
        format!("{{ \"kind\":\"output\",\"runId\":\"{id}\",\"seq\":6,\"at\":5,\"stream\":\"stdout\",\"offset\":1007,\"text\":\"x\"}}\n"),
        format!("{}\"y\",\"extra\":1}}\n", head(7, 1008)),
        head(8, 1009).replace(&id.to_string(), &other_id.to_string()) + "\"z\"}\n",
        format!("{}\"end\"}}\n", head(9, 1010)),
    ]
    .concat();
    assert_eq!(store.seal(id, lines.as_bytes()).expect("sealed"), SealResult::UpTo(9));
    assert_same(&read_all(&store, id), lines.as_bytes());
    assert_eq!(store.run(id).expect("readable").expect("there").sealed.stdout, 1013);
    let block = store.block_at(id, 9).expect("readable").expect("there");
    let near = BlockEntry::Output { seq: 5, at: 5, stream: Stream::Stdout, offset: 1003, raw: b"near" };
    assert_eq!(block.entries().nth(4), Some(near));
}

#[test]
fn huge_and_incompressible_entries_come_back_and_rows_stay_bounded() {
    let (_directory, store, id) = store_with_run();
    let mut log = LogFixture::of(id);
    log.output(Stream::Stdout, b"before\n");
    log.output(Stream::Stdout, &noise(0, 20 << 20));
    log.output(Stream::Stderr, "all the same ".repeat(1 << 20).as_bytes());
    for bytes in [65_535, 65_536, 65_537, MAX_ROW_BYTES, 131_072, 1] {
        log.output(Stream::Stdout, &noise(bytes as u64, bytes));
    }
    log.output(Stream::Stdout, b"after\n");
    let lines = log.take();
    assert_eq!(store.seal(id, &lines).expect("sealed"), SealResult::UpTo(log.seq));
    assert_same(&read_all(&store, id), &lines);
    let lengths = row_lengths(&store, id);
    assert!(lengths.iter().all(|length| *length <= MAX_ROW_BYTES), "{:?}", lengths.iter().max());
    let stored = store.run(id).expect("readable").expect("there").sealed.stored_bytes;
    assert_eq!(stored, lengths.iter().map(|length| *length as u64 + 28).sum::<u64>());
    assert!(stored < (22 << 20), "noise is not kept in base64: {stored}");
}

#[test]
fn rows_of_compressible_text_come_near_the_bound() {
    let (_directory, store, id) = store_with_run();
    let mut log = LogFixture::of(id);
    let noise = noise(0, 4 << 20);
    // Three random bits in each byte, so this shrinks to about a half.
    for chunk in noise.chunks(1000) {
        log.output(Stream::Stdout, &chunk.iter().map(|byte| b'a' + byte % 8).collect::<Vec<_>>());
    }
    store.seal(id, &log.take()).expect("sealed");
    let lengths = row_lengths(&store, id);
    let full = lengths.iter().filter(|length| **length > 32_700).count();
    assert!(full * 10 >= lengths.len() * 7, "{lengths:?}");
}

#[test]
fn a_block_is_found_by_position_in_the_output() {
    let (_directory, store, id) = store_with_run();
    let mut log = LogFixture::of(id);
    let mut arrived = Vec::new();
    log.other(json!({"kind": "state", "state": "running", "turn": 1}));
    for number in 0..300u64 {
        let stream = if number % 3 == 0 { Stream::Stderr } else { Stream::Stdout };
        let raw = noise(number, 2000 + number as usize * 7);
        arrived.push((stream, log.ends[stream as usize], log.ends[0] + log.ends[1], log.seq + 1));
        log.output(stream, &raw);
        if number % 50 == 49 {
            store.seal(id, &log.take()).expect("sealed");
        }
    }
    assert!(row_lengths(&store, id).len() > 10, "several blocks");
    let holds = |block: Option<Arc<Block>>, seq: u64| block.is_some_and(|block| block.first_seq <= seq && seq <= block.last_seq);
    for (stream, offset, both, seq) in arrived {
        assert!(holds(store.block_at_offset(id, Some(stream), offset).expect("readable"), seq), "{stream} {offset}");
        assert!(holds(store.block_at_offset(id, None, both).expect("readable"), seq), "both {both}");
    }
    for (stream, end) in [(Some(Stream::Stdout), log.ends[0]), (Some(Stream::Stderr), log.ends[1]), (None, log.ends[0] + log.ends[1])] {
        assert!(store.block_at_offset(id, stream, end - 1).expect("readable").is_some());
        assert!(store.block_at_offset(id, stream, end).expect("readable").is_none());
    }
}

#[test]
fn two_writers_at_once_lose_nothing() {
    let (directory, first, _) = store_with_run();
    let stores = [first, Store::at(directory.path()), Store::at(directory.path())];
    let shared = RunId::new();
    let mut log = LogFixture::of(shared);
    (0..200).for_each(|number| {
        log.output(Stream::Stdout, format!("{number}\n").as_bytes());
    });
    let lines = log.take();
    std::thread::scope(|scope| {
        for store in &stores {
            let lines = &lines;
            scope.spawn(move || {
                for _ in 0..5 {
                    let id = RunId::new();
                    store.put_run(&run(id), None, || true).expect("stored");
                    store.seal(id, &LogFixture::of(id).output(Stream::Stdout, b"own\n").take()).expect("sealed");
                    store.put_run(&run(shared), None, || true).expect("stored");
                    assert_eq!(store.seal(shared, lines).expect("sealed"), SealResult::UpTo(200));
                }
            });
        }
    });
    let stats = stores[0].stats().expect("stats");
    assert_eq!((stats.runs, stats.entries), (17, 215));
    assert_same(&read_all(&stores[1], shared), &lines);
}

#[test]
fn a_deleted_run_is_gone_and_stays_gone() {
    let (_directory, store, id) = store_with_run();
    let token = *blake3::hash(b"token").as_bytes();
    store.put_run(&run(id), Some(token), || true).expect("stored");
    assert_eq!(store.token(&token).expect("readable"), Some(id));
    let mut log = LogFixture::of(id);
    log.output(Stream::Stdout, &noise(0, 18 << 20));
    let lines = log.take();
    store.seal(id, &lines).expect("sealed");
    assert!(row_lengths(&store, id).len() > 256, "more rows than one transaction removes");
    let file_bytes = store.stats().expect("stats").file_bytes;

    let freed = store.delete(id).expect("deleted").expect("was there");
    assert!(freed > 18 << 20, "{freed}");
    assert!(row_lengths(&store, id).is_empty());
    assert_eq!(store.run(id).expect("readable"), None);
    assert_eq!(store.token(&token).expect("readable"), None);
    let stats = store.stats().expect("stats");
    assert_eq!((stats.runs, stats.entries, stats.logical_bytes, stats.stored_bytes), (0, 0, 0, 0));
    assert!(stats.file_bytes <= file_bytes);
    assert_eq!(store.delete(id).expect("no error"), None);

    assert_eq!(store.seal(id, &lines).expect("no error"), SealResult::Gone);
    assert!(!store.put_run(&run(id), None, || false).expect("no error"));
    assert!(!store.finish(&run(id)).expect("no error"));
    assert_eq!(store.edit(id, |run| run.pinned = true).expect("no error"), None);
    assert!(row_lengths(&store, id).is_empty());
    assert_eq!(store.run(id).expect("readable"), None);
}

#[test]
fn a_finished_run_is_not_unfinished_again() {
    let (_directory, store, id) = store_with_run();
    let mut last = run(id);
    last.state = RunState::Succeeded;
    last.last_seq = 1;
    let failure = store.finish(&last).expect_err("entry 1 is not sealed");
    assert!(failure.to_string().contains("only 0 are stored"), "{failure}");
    store.seal(id, &LogFixture::of(id).output(Stream::Stdout, b"all\n").take()).expect("sealed");
    assert!(store.finish(&last).expect("finished"));
    assert!(store.finish(&last).expect("finished again"));
    assert!(!store.put_run(&run(id), None, || true).expect("no error"), "a late record of the live run");
    let edited = store.edit(id, |run| run.edit(Some("done".to_owned()), None, None)).expect("edited").expect("there");
    let record = store.run(id).expect("readable").expect("there");
    assert_eq!((record.finished, record.run.state, record.sealed.seq), (true, RunState::Succeeded, 1));
    assert_eq!(record.run, edited);
}

#[test]
fn runs_are_listed_newest_first() {
    let (_directory, store) = store();
    let ids: Vec<RunId> = (1..=9).map(|number| RunId::from_bytes([number; 16])).collect();
    ids.iter().for_each(|id| assert!(store.put_run(&run(*id), None, || true).expect("stored")));
    let list = |before, limit: usize| {
        let mut seen = Vec::new();
        let visit = |record: StoredRun| {
            seen.push(record.run.id);
            if seen.len() == limit { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        store.list(&Filter::default(), before, visit).expect("listed");
        seen
    };
    assert_eq!(list(None, 100), ids.iter().rev().copied().collect::<Vec<_>>());
    assert_eq!(list(Some(ids[5]), 2), [ids[4], ids[3]]);
    assert_eq!(list(Some(ids[0]), 2), []);
}

#[test]
fn without_a_file_there_is_nothing_and_nothing_is_made() {
    let (directory, store) = store();
    let id = RunId::new();
    store.check().expect("a missing file is fine");
    assert_eq!(store.run(id).expect("no error"), None);
    assert_eq!(store.stats().expect("no error"), Stats { format_version: FORMAT_VERSION as u32, ..Stats::default() });
    assert_eq!(store.seal(id, b"").expect("no error"), SealResult::Gone);
    assert_eq!(store.delete(id).expect("no error"), None);
    assert_eq!(std::fs::read_dir(directory.path()).expect("readable").count(), 0);
}

#[derive(Clone, Debug)]
enum EntryFixture {
    Output(Stream, Vec<u8>),
    Update(String),
    /// An output entry in whose line one byte was changed, so that the line need not be canonical.
    Altered(Vec<u8>, usize, u8),
}

fn entry() -> impl Strategy<Value = EntryFixture> {
    let stream = prop_oneof![Just(Stream::Stdout), Just(Stream::Stderr)];
    prop_oneof![
        4 => (stream.clone(), prop::collection::vec(any::<u8>(), 0..200)).prop_map(|(stream, raw)| EntryFixture::Output(stream, raw)),
        4 => (stream, "[ -~\\n\\t\\x1bé日\u{1F980}]{0,80}").prop_map(|(stream, text)| EntryFixture::Output(stream, text.into_bytes())),
        1 => "\\PC{0,40}".prop_map(EntryFixture::Update),
        1 => ("[a-z\\n\"\\\\]{1,20}", any::<prop::sample::Index>(), any::<u8>())
            .prop_map(|(text, at, byte)| EntryFixture::Altered(text.into_bytes(), at.index(200), byte)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn any_lines_come_back(entries in prop::collection::vec(entry(), 1..120), cut in any::<prop::sample::Index>()) {
        let (_directory, store, id) = store_with_run();
        let mut log = LogFixture::of(id);
        let mut ends_of_lines = vec![0];
        for entry in entries {
            let begin = log.lines.len();
            match entry {
                EntryFixture::Output(stream, raw) => {
                    log.output(stream, &raw);
                }
                EntryFixture::Update(text) => {
                    log.other(json!({"kind": "update", "update": {"sessionUpdate": text}}));
                }
                EntryFixture::Altered(raw, at, byte) => {
                    log.output(Stream::Stdout, &raw);
                    let at = begin + at % (log.lines.len() - begin - 1);
                    let original = std::mem::replace(&mut log.lines[at], byte);
                    // A log only holds lines that are entries with the right number, so we undo any other change.
                    let line = &log.lines[begin..log.lines.len() - 1];
                    if memchr::memchr(b'\n', line).is_some() || !line::parse(line).is_ok_and(|entry| entry.seq() == log.seq) {
                        log.lines[at] = original;
                    }
                }
            }
            ends_of_lines.push(log.lines.len());
        }
        let lines = log.take();
        let cut = ends_of_lines[cut.index(ends_of_lines.len())];
        store.seal(id, &lines[..cut]).expect("sealed");
        prop_assert_eq!(store.seal(id, &lines).expect("sealed"), SealResult::UpTo(log.seq));
        assert_same(&read_all(&store, id), &lines);
    }
}
