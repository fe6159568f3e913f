//! What runs share: earlier runs that later ones build on, and texts that are stored once. Every line comes back
//! whatever is shared and whatever is deleted, and when all runs are deleted nothing is left.

use proptest::prelude::*;
use redb::{ReadableDatabase, ReadableTable, ReadableTableMetadata};
use serde_json::json;

use super::{
    create::builder,
    tables::{ANCHORS, BASES, BLOCK_ANCHORS, BUILDERS, BUILDS, CHECKPOINTS, DELETED, META, ROWS, TEXT_USES, TEXTS, USES},
    tests::{LogFixture, assert_same, noise, read_all, run, store},
    *,
};
use crate::model::{RunId, RunState, Stream};

/// A log like that of a build: most lines are the same each time, and some warnings differ with `seed`.
fn build_log(id: RunId, seed: u64, lines: usize) -> LogFixture {
    let mut log = LogFixture::of(id);
    let jitter = noise(seed, lines);
    log.other(json!({"kind": "state", "state": "running", "turn": 1}));
    for (number, byte) in jitter.iter().enumerate() {
        let name = blake3::hash(&number.to_le_bytes()).to_hex();
        let stream = if number % 9 == 0 { Stream::Stderr } else { Stream::Stdout };
        log.output(stream, format!("   Compiling {} v0.{number}.0\n", &name[..16]).as_bytes());
        if *byte < 8 {
            log.output(stream, format!("warning: took {byte} ms\n").as_bytes());
        }
    }
    log
}

/// Seals a whole run and finishes it. Runs with the same `command` may share a base.
fn put(store: &Store, id: RunId, command: &str, lines: &[u8], last_seq: u64) {
    let mut record = run(id);
    record.command = vec![command.to_owned()];
    assert!(store.put_run(&record, None, || true).expect("stored"));
    assert_eq!(store.seal(id, lines).expect("sealed"), SealResult::UpTo(last_seq));
    (record.state, record.last_seq) = (RunState::Succeeded, last_seq);
    assert!(store.finish(&record).expect("finished"));
}

fn put_build(store: &Store, seed: u64, lines: usize) -> (RunId, Vec<u8>) {
    let id = RunId::new();
    let mut log = build_log(id, seed, lines);
    let lines = log.take();
    if seed % 2 == 1 {
        // In two steps, as a long run is sealed while it is live.
        let half = lines.len() / 2;
        let half = half + memchr::memchr(b'\n', &lines[half..]).expect("a line ends") + 1;
        let mut record = run(id);
        record.command = vec!["make".to_owned()];
        assert!(store.put_run(&record, None, || true).expect("stored"));
        store.seal(id, &lines[..half]).expect("sealed");
    }
    put(store, id, "make", &lines, log.seq);
    (id, lines)
}

/// Asserts that nothing of any run is left in any table, and that the sums are 0.
fn assert_empty(store: &Store) {
    let handle = builder().open(store.path()).expect("opens");
    let reading = handle.begin_read().expect("reads");
    macro_rules! empty {
        ($($table:ident),*) => {$(
            assert_eq!(reading.open_table($table).expect("is there").len().expect("counted"), 0, stringify!($table));
        )*};
    }
    empty!(ROWS, TEXTS, TEXT_USES, USES, BASES, BUILDS, BUILDERS, ANCHORS, BLOCK_ANCHORS, CHECKPOINTS, DELETED);
    for sum in reading.open_table(META).expect("is there").iter().expect("readable") {
        let (name, sum) = sum.expect("readable");
        assert!(name.value() == "version" || sum.value() == 0, "{} is {}", name.value(), sum.value());
    }
}

#[test]
fn a_command_that_is_run_again_is_stored_as_what_differs() {
    let (_directory, store) = store();
    let runs: Vec<(RunId, Vec<u8>)> = (0..12).map(|seed| put_build(&store, seed, 20_000)).collect();
    for (id, lines) in &runs {
        assert_same(&read_all(&store, *id), lines);
    }
    let stored = |at: usize| store.run(runs[at].0).expect("readable").expect("there").sealed;
    assert_eq!((stored(0).delta_bytes, store.run(runs[0].0).expect("readable").expect("there").base), (0, None));
    for at in 1..runs.len() {
        assert!(stored(at).stored_bytes * 15 < stored(0).stored_bytes, "{at}: {:?} {:?}", stored(at), stored(0));
        assert!(stored(at).delta_stored_bytes * 10 > stored(at).stored_bytes * 9, "nearly all rows build on the first run");
    }
    let stats = store.stats().expect("stats");
    assert_eq!(stats.delta_bytes, (1..runs.len()).map(|at| stored(at).delta_bytes).sum::<u64>());
    // Blocks of a follower are found by offset as well.
    let record = stored(5);
    for offset in [0, 1, record.stdout / 2, record.stdout - 1] {
        let block = store.block_at_offset(runs[5].0, Some(Stream::Stdout), offset).expect("readable").expect("there");
        assert!(block.stdout_offset <= offset);
    }
}

#[test]
fn what_another_command_writes_in_another_order_is_stored_as_what_differs() {
    let (_directory, store) = store();
    put_build(&store, 1, 20_000);
    let id = RunId::new();
    let mut log = build_log(id, 2, 20_000);
    let mut lines = log.take();
    put(&store, id, "ninja", &lines, log.seq);
    let stored = store.run(id).expect("readable").expect("there").sealed;
    assert!(stored.stored_bytes * 10 < store.stats().expect("stats").stored_bytes, "{stored:?}");
    assert_same(&read_all(&store, id), &lines);

    // Shifted by half of itself, and after output of its own.
    let (id, all) = (RunId::new(), build_log(RunId::new(), 3, 20_000).take());
    let mut log = LogFixture::of(id);
    log.output(Stream::Stdout, &noise(3, 50_000));
    let raw: Vec<u8> = all.split(|byte| *byte == b'\n').skip(10_000).flat_map(raw_of).collect();
    for chunk in raw.chunks(1000) {
        log.output(Stream::Stdout, chunk);
    }
    lines = log.take();
    put(&store, id, "shell", &lines, log.seq);
    let stored = store.run(id).expect("readable").expect("there").sealed;
    assert!(stored.stored_bytes < 50_000 + raw.len() as u64 / 15, "{stored:?} of {}", raw.len());
    assert_same(&read_all(&store, id), &lines);
}

fn raw_of(line: &[u8]) -> Vec<u8> {
    let mut raw = Vec::new();
    if let Some(output) = crate::model::line::output(line) {
        output.raw(&mut raw).expect("canonical");
    }
    raw
}

#[test]
fn blocks_of_a_deleted_run_stay_until_nobody_builds_on_them() {
    let (_directory, store) = store();
    let runs: Vec<(RunId, Vec<u8>)> = (0..3).map(|seed| put_build(&store, seed, 6000)).collect();
    let stored = store.run(runs[0].0).expect("readable").expect("there").sealed.stored_bytes;
    let freed = store.delete(runs[0].0).expect("deleted").expect("there");
    assert!(freed < 4096, "its rows stay: {freed}");
    assert_eq!(store.run(runs[0].0).expect("readable"), None);
    assert_eq!(store.stats().expect("stats").kept_bytes, stored);
    runs[1..].iter().for_each(|(id, lines)| assert_same(&read_all(&store, *id), lines));

    // Later runs build on these blocks as well: they stay.
    let (fourth, lines) = put_build(&store, 9, 6000);
    let sealed = store.run(fourth).expect("readable").expect("there").sealed;
    assert!(sealed.stored_bytes * 10 < stored, "{sealed:?}");
    for (id, _) in &runs[1..] {
        store.delete(*id).expect("deleted").expect("there");
        assert_eq!(store.stats().expect("stats").kept_bytes, stored);
        assert_same(&read_all(&store, fourth), &lines);
    }
    let freed = store.delete(fourth).expect("deleted").expect("there");
    assert!(freed > stored, "the blocks went with the last run that builds on them: {freed} of {stored}");
    assert_empty(&store);
}

/// Seals a run that writes `raw` in entries of `chunk` bytes, in steps of about `step` bytes.
fn put_output(store: &Store, command: &str, raw: &[u8], chunk: usize, step: usize) -> (RunId, Vec<u8>) {
    let id = RunId::new();
    let mut log = LogFixture::of(id);
    for chunk in raw.chunks(chunk) {
        log.output(Stream::Stdout, chunk);
    }
    let lines = log.take();
    let mut record = run(id);
    record.command = vec![command.to_owned()];
    assert!(store.put_run(&record, None, || true).expect("stored"));
    let mut at = 0;
    while at < lines.len() {
        let end = (at + step).min(lines.len());
        let end = memchr::memchr(b'\n', &lines[end - 1..]).map_or(lines.len(), |feed| end + feed);
        store.seal(id, &lines[at..end]).expect("sealed");
        at = end;
    }
    (record.state, record.last_seq) = (RunState::Succeeded, log.seq);
    assert!(store.finish(&record).expect("finished"));
    (id, lines)
}

/// Bytes that are hard to compress, as text.
fn hex(noise: &[u8]) -> Vec<u8> {
    noise.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect()
}

#[test]
fn the_same_output_is_stored_once() {
    const MIB: usize = 1 << 20;
    for (what, block) in [("bytes", noise(1, 2 * MIB)), ("text", hex(&noise(2, MIB)))] {
        let (_directory, store) = store();
        let mut runs = vec![put_output(&store, "one", &block, 60_000, 2 * MIB)];
        let once = store.stats().expect("stats").stored_bytes;
        let mut take = |command: &str, raw: &[u8], chunk: usize, most: u64| {
            let before = store.stats().expect("stats");
            runs.push(put_output(&store, command, raw, chunk, 2 * MIB));
            let after = store.stats().expect("stats");
            let more = after.stored_bytes - before.stored_bytes;
            assert!(more <= most, "{what}, {command}: {more} of {once}");
            assert!(after.deduped_bytes - before.deduped_bytes > raw.len() as u64 * 3 / 4, "{what}, {command}: {after:?}");
        };
        take("three times", &block.repeat(3), 65_000, 40_000);
        take("the same again", &block.repeat(3), 65_000, 40_000);
        take("shifted", &[&noise(3, 777), block.as_slice()].concat(), 60_000, 20_000);
        take("other entries", &block, 8192, 20_000);
        take("a part", &block[MIB / 2 + 13..MIB * 3 / 2], 30_001, 20_000);
        take("between other output", &[&noise(4, 100_000), &block[5..MIB], &noise(5, 70_000), &block[MIB / 2..]].concat(), 50_000, 200_000);
        take("what was between", &[noise(4, 100_000), noise(5, 70_000)].concat(), 50_000, 20_000);
        for (id, lines) in &runs {
            assert_same(&read_all(&store, *id), lines);
        }
        // The first run goes first: what others need of it stays.
        while let Some((id, _)) = (!runs.is_empty()).then(|| runs.remove(0)) {
            assert!(store.delete(id).expect("deleted").is_some());
            for (id, lines) in &runs {
                assert_same(&read_all(&store, *id), lines);
            }
        }
        assert_empty(&store);
    }
}

/// Where entries end decides where blocks and rows end, and whether bytes before the end of a copy have an anchor.
#[test]
fn the_same_output_is_stored_once_however_it_is_cut() {
    let block = noise(1, 512 << 10);
    for entry_bytes in [1000, 61_000, 100_000, 120_000, 130_000, 200_000] {
        let (_directory, store) = store();
        put_output(&store, "one", &block, 65_536, 8 << 20);
        let before = store.stats().expect("stats").stored_bytes;
        put_output(&store, "two", &block.repeat(8), entry_bytes, 8 << 20);
        let more = store.stats().expect("stats").stored_bytes - before;
        assert!(more < before / 10, "in entries of {entry_bytes} bytes: {more} more than {before}");
    }
}

#[test]
fn a_run_that_repeats_itself_is_stored_once() {
    for (what, block) in [("bytes", noise(1, 1_000_000)), ("text", hex(&noise(2, 500_000)))] {
        let (_directory, store) = store();
        let (id, lines) = put_output(&store, "one", &block.repeat(8), 61_234, 2 << 20);
        let stats = store.stats().expect("stats");
        let alone = if what == "bytes" { 1_000_000 } else { 550_000 };
        assert!(stats.stored_bytes * 10 < alone * 12, "{what}: {stats:?}");
        assert_same(&read_all(&store, id), &lines);
        assert!(store.delete(id).expect("deleted").is_some());
        assert_empty(&store);
    }
}

#[test]
fn a_base_that_has_grown_old_is_replaced() {
    let (_directory, store) = store();
    let (first, _) = put_build(&store, 0, 3000);
    let other = |seed: u64| {
        let id = RunId::new();
        let mut log = LogFixture::of(id);
        for number in 0..6000_u64 {
            let name = blake3::hash(&(number + 1_000_000).to_le_bytes()).to_hex();
            log.output(Stream::Stdout, format!("[{number}] linking {} {}\n", &name[..24], noise(seed, 8)[number as usize % 8]).as_bytes());
        }
        let lines = log.take();
        put(&store, id, "make", &lines, log.seq);
        assert_same(&read_all(&store, id), &lines);
        store.run(id).expect("readable").expect("there")
    };
    let (second, third, fourth) = (other(1), other(2), other(3));
    // The second run shares nothing with the first, so it builds on nothing and becomes the base of the next ones.
    assert_eq!((second.base, third.base, fourth.base), (None, Some(second.run.id), Some(second.run.id)));
    assert_ne!(second.run.id, first);
    assert!(fourth.sealed.stored_bytes * 3 < second.sealed.stored_bytes, "{:?} {:?}", fourth.sealed, second.sealed);
}

/// A log like that of an agent that reads files: raw lines, cut anywhere, and the updates made of them.
fn session_log(id: RunId, files: &[String]) -> LogFixture {
    let mut log = LogFixture::of(id);
    for (number, file) in files.iter().enumerate() {
        let raw = format!("{}\n", json!({"type": "tool_result", "call": number, "content": [{"text": file}]}));
        for chunk in raw.as_bytes().chunks(3000 + number * 17) {
            log.output(Stream::Stdout, chunk);
        }
        let update = json!({"sessionUpdate": "tool_call_update", "toolCallId": format!("c{number}"), "rawOutput": {"text": file}});
        log.other(json!({"kind": "update", "update": update}));
    }
    log
}

fn file(seed: u64, bytes: usize) -> String {
    use std::fmt::Write;
    noise(seed, bytes / 2).iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}{}", if byte % 32 == 0 { "\n\t\"é\"" } else { "" }).expect("a string takes everything");
        text
    })
}

#[test]
fn a_text_is_kept_once_in_a_session_and_over_sessions() {
    let (_directory, store) = store();
    let files = [file(1, 9_000), file(2, 70_000), file(1, 9_000), file(3, 700_000), file(4, 2_000)];
    let ids = [RunId::new(), RunId::new()];
    let mut sessions = Vec::new();
    for (id, command) in ids.iter().zip(["one", "two"]) {
        let mut log = session_log(*id, &files);
        let lines = log.take();
        put(&store, *id, command, &lines, log.seq);
        sessions.push(lines);
    }
    let length = |at: usize| files[at].len() as u64;
    let stats = store.stats().expect("stats");
    assert_eq!((stats.texts, stats.text_bytes), (3, length(0) + length(1) + length(3)));
    // The first stands eight times in the two sessions, the others four times.
    assert_eq!(stats.deduped_bytes, 7 * length(0) + 3 * length(1) + 3 * length(3));
    assert!(stats.stored_bytes < stats.text_bytes * 11 / 10, "{stats:?}");
    ids.iter().zip(&sessions).for_each(|(id, lines)| assert_same(&read_all(&store, *id), lines));

    store.delete(ids[0]).expect("deleted").expect("there");
    assert_same(&read_all(&store, ids[1]), &sessions[1]);
    let stats = store.stats().expect("stats");
    assert_eq!((stats.texts, stats.deduped_bytes), (3, 3 * length(0) + length(1) + length(3)));
    let freed = store.delete(ids[1]).expect("deleted").expect("there");
    assert!(freed > stats.text_stored_bytes);
    assert_empty(&store);
}

#[derive(Clone, Debug)]
enum SharingStep {
    /// Puts a run of one of three commands, made of some of ten pieces.
    Put(u8, Vec<u8>),
    /// Deletes one of the runs that exist.
    Delete(prop::sample::Index),
}

fn step() -> impl Strategy<Value = SharingStep> {
    prop_oneof![
        3 => (0..3_u8, prop::collection::vec(0..10_u8, 1..12)).prop_map(|(command, pieces)| SharingStep::Put(command, pieces)),
        2 => any::<prop::sample::Index>().prop_map(SharingStep::Delete),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_put_and_deleted_the_rest_comes_back(steps in prop::collection::vec(step(), 1..16)) {
        let (_directory, store) = store();
        let mut there: Vec<(RunId, Vec<u8>)> = Vec::new();
        for step in steps {
            match step {
                SharingStep::Put(command, pieces) => {
                    let id = RunId::new();
                    let mut log = LogFixture::of(id);
                    for piece in pieces {
                        let text = file(u64::from(piece), 6000);
                        match piece % 3 {
                            0 => log.other(json!({"kind": "update", "update": {"sessionUpdate": "x", "text": text}})),
                            1 => log.output(Stream::Stdout, format!("{}\n", json!({"text": text})).as_bytes()),
                            _ => log.output(Stream::Stderr, text.replace('4', "\n").as_bytes()),
                        };
                    }
                    let lines = log.take();
                    put(&store, id, &command.to_string(), &lines, log.seq);
                    there.push((id, lines));
                }
                SharingStep::Delete(which) if !there.is_empty() => {
                    let (id, _) = there.remove(which.index(there.len()));
                    prop_assert!(store.delete(id).expect("deleted").is_some());
                }
                SharingStep::Delete(_) => {}
            }
            for (id, lines) in &there {
                assert_same(&read_all(&store, *id), lines);
            }
        }
        for (id, _) in there {
            prop_assert!(store.delete(id).expect("deleted").is_some());
        }
        if store.path().exists() {
            assert_empty(&store);
        }
    }
}
