//! What runs share: earlier runs that later ones build on, and texts that are kept once. Every line comes back whatever is
//! shared and whatever is deleted, and when all is deleted nothing is left.

use proptest::prelude::*;
use redb::{ReadableDatabase, ReadableTable, ReadableTableMetadata};
use serde_json::json;

use super::{
    create::builder,
    tables::{BASES, DELETED, FOLLOWERS, KEPT, META, ROWS, TEXT_USES, TEXTS, USES},
    tests::{Log, assert_same, noise, read_all, run, store},
    *,
};
use crate::model::{RunId, RunState, Stream};

/// A log as builds write them: mostly the same each time, with times and an order that differ.
fn build_log(id: RunId, seed: u64, lines: usize) -> Log {
    let mut log = Log::of(id);
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

/// Seals a whole run and finishes it. `command` is what it shares with others.
fn put(store: &Store, id: RunId, command: &str, lines: &[u8], last_seq: u64) {
    let mut record = run(id);
    record.command = vec![command.to_owned()];
    assert!(store.put_run(&record, None, || true).expect("told"));
    assert_eq!(store.seal(id, lines).expect("sealed"), Sealed::UpTo(last_seq));
    (record.state, record.last_seq) = (RunState::Succeeded, last_seq);
    assert!(store.finish(&record).expect("finished"));
}

fn put_build(store: &Store, seed: u64, lines: usize) -> (RunId, Vec<u8>) {
    let id = RunId::new();
    let mut log = build_log(id, seed, lines);
    let lines = log.take();
    if seed % 2 == 1 {
        // In two steps, as a long run is while it lives.
        let half = lines.len() / 2;
        let half = half + memchr::memchr(b'\n', &lines[half..]).expect("a line ends") + 1;
        let mut record = run(id);
        record.command = vec!["make".to_owned()];
        assert!(store.put_run(&record, None, || true).expect("told"));
        store.seal(id, &lines[..half]).expect("sealed");
    }
    put(store, id, "make", &lines, log.seq);
    (id, lines)
}

/// Nothing of any run is left in any table, and the sums say so.
fn assert_empty(store: &Store) {
    let handle = builder().open(store.path()).expect("opens");
    let reading = handle.begin_read().expect("reads");
    macro_rules! empty {
        ($($table:ident),*) => {$(
            assert_eq!(reading.open_table($table).expect("is there").len().expect("counted"), 0, stringify!($table));
        )*};
    }
    empty!(ROWS, TEXTS, TEXT_USES, USES, BASES, FOLLOWERS, KEPT, DELETED);
    for sum in reading.open_table(META).expect("is there").iter().expect("readable") {
        let (name, sum) = sum.expect("readable");
        assert!(name.value() == "version" || sum.value() == 0, "{} is {}", name.value(), sum.value());
    }
}

#[test]
fn a_command_that_is_run_again_is_kept_as_what_differs() {
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
    // Any place of a follower is found by byte as well.
    let record = stored(5);
    for offset in [0, 1, record.stdout / 2, record.stdout - 1] {
        let block = store.block_at_offset(runs[5].0, Some(Stream::Stdout), offset).expect("readable").expect("there");
        assert!(block.stdout_offset <= offset);
    }
}

#[test]
fn other_commands_share_nothing() {
    let (_directory, store) = store();
    put_build(&store, 1, 3000);
    let id = RunId::new();
    let mut log = build_log(id, 2, 3000);
    let lines = log.take();
    put(&store, id, "ninja", &lines, log.seq);
    assert_eq!(store.run(id).expect("readable").expect("there").base, None);
}

#[test]
fn a_deleted_base_stays_until_nobody_builds_on_it() {
    let (_directory, store) = store();
    let runs: Vec<(RunId, Vec<u8>)> = (0..3).map(|seed| put_build(&store, seed, 6000)).collect();
    let stored = store.run(runs[0].0).expect("readable").expect("there").sealed.stored_bytes;
    let freed = store.delete(runs[0].0).expect("deleted").expect("there");
    assert!(freed < 4096, "its rows stay: {freed}");
    assert_eq!(store.run(runs[0].0).expect("readable"), None);
    assert_eq!(store.stats().expect("stats").kept_bytes, stored);
    runs[1..].iter().for_each(|(id, lines)| assert_same(&read_all(&store, *id), lines));

    // The next run of the command builds on no deleted one, and is the base for those after it.
    let (fourth, _) = put_build(&store, 9, 6000);
    assert_eq!(store.run(fourth).expect("readable").expect("there").base, None);
    let (fifth, _) = put_build(&store, 10, 6000);
    assert_eq!(store.run(fifth).expect("readable").expect("there").base, Some(fourth));

    store.delete(runs[1].0).expect("deleted");
    assert_same(&read_all(&store, runs[2].0), &runs[2].1);
    let freed = store.delete(runs[2].0).expect("deleted").expect("there");
    assert!(freed > stored, "the base went with its last follower: {freed} of {stored}");
    assert_eq!(store.stats().expect("stats").kept_bytes, 0);
    for id in [fifth, fourth] {
        store.delete(id).expect("deleted").expect("there");
    }
    assert_empty(&store);
}

#[test]
fn a_base_that_has_grown_old_is_replaced() {
    let (_directory, store) = store();
    let (first, _) = put_build(&store, 0, 3000);
    let other = |seed: u64| {
        let id = RunId::new();
        let mut log = Log::of(id);
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
    // The second shares nothing with the first, so it builds on nothing and is what the next ones build on.
    assert_eq!((second.base, third.base, fourth.base), (None, Some(second.run.id), Some(second.run.id)));
    assert_ne!(second.run.id, first);
    assert!(fourth.sealed.stored_bytes * 3 < second.sealed.stored_bytes, "{:?} {:?}", fourth.sealed, second.sealed);
}

/// Reads files and says what was in them, as an agent does: raw lines, cut anywhere, and the updates made of them.
fn session_log(id: RunId, files: &[String]) -> Log {
    let mut log = Log::of(id);
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
enum Step {
    /// A run of one of three commands, made of some of ten pieces.
    Put(u8, Vec<u8>),
    /// The so-manieth of those that are there.
    Delete(prop::sample::Index),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..3_u8, prop::collection::vec(0..10_u8, 1..12)).prop_map(|(command, pieces)| Step::Put(command, pieces)),
        2 => any::<prop::sample::Index>().prop_map(Step::Delete),
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
                Step::Put(command, pieces) => {
                    let id = RunId::new();
                    let mut log = Log::of(id);
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
                Step::Delete(which) if !there.is_empty() => {
                    let (id, _) = there.remove(which.index(there.len()));
                    prop_assert!(store.delete(id).expect("deleted").is_some());
                }
                Step::Delete(_) => {}
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
