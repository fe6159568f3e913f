//! A power cut while a log is being written: whatever is left of what was not synced, no entry up to `durableSeq` is lost.

use std::fs;

use super::{Appender, Cursor, Description, Place, RunDir, append::Room, repair};
use crate::model::{RunId, Stream, line};

/// What may become of bytes that were not synced: file systems give zeros where nothing was written.
const TAILS: [&str; 5] = ["all", "none", "half", "zeros", "holes"];
/// And of a file beside the segments, which is written and not synced.
const FILES: [&str; 4] = ["new", "old", "gone", "torn"];

/// A log with long and short entries over several segments, how far it was said to be durable, and a picture of head and
/// index from earlier.
struct Cut {
    parent: tempfile::TempDir,
    dir: RunDir,
    durable: u64,
    lines: Vec<u8>,
    old: [Vec<u8>; 2],
}

fn cut(entries: u64, after_sync: u64) -> Cut {
    let parent = tempfile::tempdir().expect("a directory");
    let run = crate::store::test_run(RunId::new());
    let dir = RunDir::at(parent.path().join("run"));
    fs::create_dir(dir.path()).expect("made");
    Description { version: Description::VERSION, run: run.clone(), token: None }.write(&dir).expect("described");
    let id = run.id;
    let mut log = Appender::open(dir.clone(), run).expect("opened");
    let mut lines = Vec::new();
    let mut write = |log: &mut Appender, number: u64| {
        let text = format!("{number} {}\n", "é text ".repeat(number as usize % 5 * 40_000));
        let (seq, offset) = (log.run().last_seq + 1, log.run().bytes.stdout);
        log.output(number, Stream::Stdout, &[text.as_bytes()], Room::Usual).expect("appended");
        line::write_output(&mut lines, id, seq, number, Stream::Stdout, offset, text.as_bytes());
    };
    let mut old = [Vec::new(), Vec::new()];
    for number in 0..entries {
        write(&mut log, number);
        if number == entries / 2 {
            old = [dir.head(), dir.index()].map(|path| fs::read(path).expect("there"));
        }
    }
    log.hurry();
    let durable = log.durable();
    until(|| durable.borrow().seq == entries);
    for number in 0..after_sync {
        write(&mut log, entries + number);
    }
    let durable = durable.borrow().seq;
    // The power fails here. What the sync thread still does goes to a directory that nobody looks at.
    let left = copy(&dir, parent.path().join("left"));
    drop(log);
    Cut { parent, dir: left, durable, lines, old }
}

fn copy(dir: &RunDir, to: std::path::PathBuf) -> RunDir {
    let _ = fs::remove_dir_all(&to);
    fs::create_dir(&to).expect("made");
    for entry in fs::read_dir(dir.path()).expect("listed").flatten() {
        fs::copy(entry.path(), to.join(entry.file_name())).expect("copied");
    }
    RunDir::at(to)
}

fn until(mut condition: impl FnMut() -> bool) {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while !condition() {
        assert!(std::time::Instant::now() < end, "gave up waiting");
        std::thread::yield_now();
    }
}

impl Cut {
    /// What is left of a segment: its durable part, and something else instead of the rest.
    fn spoil_tail(&self, tail: &str) {
        let after_durable: usize = line::lines(&self.lines).take(self.durable as usize).map(|line| line.len() + 1).sum();
        let mut position = 0;
        for first in self.dir.segments().expect("listed") {
            let path = self.dir.segment(first);
            let mut bytes = fs::read(&path).expect("readable");
            let kept = after_durable.saturating_sub(position).min(bytes.len());
            position += bytes.len();
            let rest = bytes.split_off(kept);
            match tail {
                "all" => bytes.extend_from_slice(&rest),
                "none" => {}
                "half" => bytes.extend_from_slice(&rest[..rest.len() / 2]),
                "zeros" => bytes.resize(kept + rest.len(), 0),
                _ => bytes.extend(rest.iter().enumerate().map(|(at, byte)| if at % 4096 < 2048 { *byte } else { 0 })),
            }
            if kept == 0 && tail == "none" {
                // Its name was not synced either.
                fs::remove_file(path).expect("removed");
            } else {
                fs::write(path, bytes).expect("written");
            }
        }
    }

    fn spoil_file(&self, which: usize, how: &str) {
        let path = [self.dir.head(), self.dir.index()][which].clone();
        match how {
            "new" => {}
            "old" => fs::write(path, &self.old[which]).expect("written"),
            "gone" => fs::remove_file(path).expect("removed"),
            _ => {
                let mut bytes = fs::read(&path).expect("readable");
                let middle = bytes.len() / 3;
                bytes[..middle].fill(0);
                fs::write(path, bytes).expect("written");
            }
        }
    }

    fn assert_kept(&self, what: &str) {
        let repaired = repair::repair(&self.dir, &self.parent.path().join("aside")).unwrap_or_else(|error| panic!("{what}: {error}"));
        let run = repaired.run;
        assert!(run.last_seq >= self.durable, "{what}: entry {} is the last, {} was durable", run.last_seq, self.durable);
        assert_eq!(run.durable_seq, run.last_seq, "{what}");
        let before = self.dir.segments().expect("listed").first().map_or(0, |first| first - 1);
        let (mut cursor, mut found) = (Cursor::open(&self.dir, before).expect("opens").expect("there"), Vec::new());
        while let Place::Lines { .. } = cursor.read(1 << 20, &mut found).expect("readable") {}
        let sealed: usize = line::lines(&self.lines).take(before as usize).map(|line| line.len() + 1).sum();
        assert!(self.lines[sealed..].starts_with(&found), "{what}: other bytes than were written");
        assert_eq!(before + line::lines(&found).count() as u64, run.last_seq, "{what}");
        let last = line::lines(&self.lines).nth(run.last_seq as usize - 1).and_then(line::output).expect("output");
        assert_eq!(run.bytes.stdout, last.offset + last.raw_len(), "{what}");
        // It can be gone on with.
        let (mut log, bytes) = (Appender::resume(self.dir.clone(), run.clone()).expect("resumed"), run.bytes.stdout);
        log.output(1, Stream::Stdout, &[b"more"], Room::Last).expect("appended");
        let finished = log.finish().expect("durable");
        assert_eq!((finished.durable_seq, finished.bytes.stdout), (run.last_seq + 1, bytes + 4), "{what}");
    }
}

#[test]
fn nothing_durable_is_lost_by_a_power_cut() {
    for (entries, after_sync) in [(1, 0), (3, 2), (30, 0), (30, 25)] {
        let mut cut = cut(entries, after_sync);
        assert!(cut.durable >= entries);
        let whole = cut.dir.clone();
        for (tail, file) in TAILS.iter().flat_map(|tail| FILES.map(|file| (*tail, file))) {
            cut.dir = copy(&whole, cut.parent.path().join("spoiled"));
            cut.spoil_tail(tail);
            cut.spoil_file(0, file);
            cut.spoil_file(1, if tail == "none" { "new" } else { file });
            cut.assert_kept(&format!("{entries} and {after_sync} entries, unsynced: {tail}, head and index: {file}"));
        }
        // The first segments are in the store, before which the head was synced; what was written to it since is ahead of the log.
        let segments = whole.segments().expect("listed");
        for tail in TAILS.iter().filter(|_| segments.len() > 1 && segments[1] <= cut.durable) {
            cut.dir = copy(&whole, cut.parent.path().join("spoiled"));
            cut.spoil_tail(tail);
            fs::remove_file(cut.dir.segment(1)).expect("removed");
            cut.assert_kept(&format!("{entries} and {after_sync} entries, partly sealed, unsynced: {tail}"));
        }
    }
}
