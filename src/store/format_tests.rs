//! Store files of earlier formats, kept under `tests/stores`: every later build opens them and reads what was put in.

use serde_json::json;

use super::{
    tests::{LogFixture, assert_same, read_all},
    *,
};
use crate::model::{RunId, RunState, Stream};

/// What every kept file holds: a finished run with a token and all kinds of lines, and a live one. This function must
/// not change; a new format that needs other contents gets a function of its own.
fn contents() -> [(RunId, Vec<u8>); 2] {
    let ids = [RunId::from_bytes([1; 16]), RunId::from_bytes([2; 16])];
    let mut finished = LogFixture::of(ids[0]);
    finished.other(json!({"kind": "state", "state": "running", "turn": 1}));
    let mut number = 1_u64;
    for step in 0..12_000 {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let stream = if number >> 60 == 0 { Stream::Stderr } else { Stream::Stdout };
        finished.output(stream, format!("\x1b[32m   Compiling\x1b[0m crate-{} v0.{step}.1 (\"é日\")\r\n", number >> 48).as_bytes());
    }
    let noise: Vec<u8> = (0..200_000)
        .map(|_| {
            number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (number >> 56) as u8
        })
        .collect();
    finished.output(Stream::Stdout, &noise).output(Stream::Stdout, b"\xff\xfe broken").output(Stream::Stderr, b"");
    finished.other(json!({"kind": "update", "update": {"sessionUpdate": "tool_call_update", "text": "long ".repeat(20_000)}}));
    finished.other(json!({"kind": "state", "state": "succeeded", "exitCode": 0}));
    let mut live = LogFixture::of(ids[1]);
    live.output(Stream::Stdout, b"half a line");
    [(ids[0], finished.take()), (ids[1], live.take())]
}

/// What every kept file from format 2 on holds as well: another run of the finished one's command, whose rows build on
/// that one.
fn follower() -> (RunId, Vec<u8>) {
    let (id, [(_, lines), _]) = (RunId::from_bytes([3; 16]), contents());
    let mut follower = LogFixture::of(id);
    for (step, line) in lines.split(|byte| *byte == b'\n').filter(|line| line.len() < 400).enumerate().take(3_000) {
        follower.output(Stream::Stdout, line).output(Stream::Stdout, format!(" again {step}\n").as_bytes());
    }
    (id, follower.take())
}

fn token() -> [u8; 32] {
    *blake3::hash(b"an old token").as_bytes()
}

/// A file as this build writes it, compressed. To keep one of a new format, write the result to
/// `tests/stores/format-N.redb.zst`.
fn current_file() -> Vec<u8> {
    let directory = tempfile::tempdir().expect("a directory");
    let store = Store::at(directory.path());
    let [(finished, lines), (live, live_lines)] = contents();
    let mut record = tests::run(finished);
    store.put_run(&record, Some(token()), || true).expect("stored");
    store.seal(finished, &lines).expect("sealed");
    (record.state, record.last_seq, record.title) = (RunState::Succeeded, 12_006, Some("an old run".to_owned()));
    assert!(store.finish(&record).expect("finished"));
    store.put_run(&tests::run(live), None, || true).expect("stored");
    store.seal(live, &live_lines).expect("sealed");
    let (follower, lines) = follower();
    let mut record = tests::run(follower);
    store.put_run(&record, None, || true).expect("stored");
    store.seal(follower, &lines).expect("sealed");
    (record.state, record.last_seq) = (RunState::Failed, 6_000);
    assert!(store.finish(&record).expect("finished"));
    assert!(store.stats().expect("readable").delta_bytes > 50_000, "rows build on the finished run's");
    let path = store.path().to_owned();
    drop(store);
    zstd::bulk::compress(&std::fs::read(path).expect("readable"), 19).expect("packed")
}

/// Asserts that everything in a kept file can be read, and that the file can be written to.
fn assert_opens(packed: &[u8], has_follower: bool) {
    let directory = tempfile::tempdir().expect("a directory");
    let store = Store::at(directory.path());
    std::fs::write(store.path(), zstd::stream::decode_all(packed).expect("unpacked")).expect("written");
    let [(finished, lines), (live, live_lines)] = contents();
    store.check().expect("opens");
    assert_same(&read_all(&store, finished), &lines);
    assert_same(&read_all(&store, live), &live_lines);
    let record = store.run(finished).expect("readable").expect("there");
    assert_eq!((record.finished, record.run.title.as_deref(), record.run.last_seq), (true, Some("an old run"), 12_006));
    assert_eq!(store.token(&token()).expect("readable"), Some(finished));
    let stats = store.stats().expect("readable");
    let (follower, follower_lines) = follower();
    let (runs, entries, bytes) = if has_follower { (3, 18_007, follower_lines.len()) } else { (2, 12_007, 0) };
    assert_eq!((stats.runs, stats.entries, stats.logical_bytes), (runs, entries, (lines.len() + live_lines.len() + bytes) as u64));

    let mut more = LogFixture::of(live);
    let all = [more.output(Stream::Stdout, b"half a line").take(), more.output(Stream::Stdout, b", and the other\n").take()].concat();
    assert_eq!(store.seal(live, &all).expect("sealed"), SealResult::UpTo(2));
    assert_same(&read_all(&store, live), &all);
    assert_same(&read_all(&store, finished), &lines);
    assert!(store.delete(finished).expect("deleted").is_some());
    assert_same(&read_all(&store, live), &all);
    if has_follower {
        assert_same(&read_all(&store, follower), &follower_lines);
        assert!(store.delete(follower).expect("deleted").is_some());
    }
    assert!(store.delete(live).expect("deleted").is_some());
    let stats = store.stats().expect("readable");
    assert_eq!((stats.runs, stats.entries, stats.logical_bytes, stats.stored_bytes), (0, 0, 0, 0));
    assert_eq!((stats.kept_bytes, stats.delta_bytes, stats.deduped_bytes), (0, 0, 0));
}

#[test]
fn files_of_every_format_open() {
    assert_opens(include_bytes!("../../tests/stores/format-1.redb.zst"), false);
    assert_opens(include_bytes!("../../tests/stores/format-2.redb.zst"), true);
    assert_opens(include_bytes!("../../tests/stores/format-3.redb.zst"), true);
    assert_opens(include_bytes!("../../tests/stores/format-4.redb.zst"), true);
    assert_opens(&current_file(), true);
}
