//! Simulates a power cut while a log is being written: whatever is left of what was not synced, no entry up to
//! `durableSeq` is lost.

use std::fs;

use super::{Appender, Description, FollowRead, LogCursor, RunDir, append::Reserve, repair};
use crate::model::{RunId, Stream, line};

/// What a power cut may leave of bytes that were not synced: file systems give zeros where nothing was written.
const UNSYNCED_TAILS: [&str; 5] = ["all", "none", "half", "zeros", "holes"];
/// What a power cut may leave of a file beside the segments, which is written and not synced.
const SIDE_FILE_FATES: [&str; 4] = ["new", "old", "gone", "torn"];

/// A log with long and short entries over several segments, the number of its last durable entry, and the head and
/// index as they were earlier.
struct PowerCut {
    parent: tempfile::TempDir,
    dir: RunDir,
    durable: u64,
    lines: Vec<u8>,
    earlier_files: [Vec<u8>; 2],
}

fn write_until_cut(entries: u64, after_sync: u64) -> PowerCut {
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
        log.output(number, Stream::Stdout, &[text.as_bytes()], Reserve::Untouched).expect("appended");
        line::write_output(&mut lines, id, seq, number, Stream::Stdout, offset, text.as_bytes());
    };
    let mut earlier_files = [Vec::new(), Vec::new()];
    for number in 0..entries {
        write(&mut log, number);
        if number == entries / 2 {
            earlier_files = [dir.head(), dir.index()].map(|path| fs::read(path).expect("there"));
        }
    }
    log.sync_now();
    let durable = log.sync_status();
    wait_until(|| durable.borrow().durable_seq == entries);
    for number in 0..after_sync {
        write(&mut log, entries + number);
    }
    let durable = durable.borrow().durable_seq;
    // The power fails here. What the sync thread still does goes to a directory that the test does not look at.
    let after_cut = copy(&dir, parent.path().join("after-cut"));
    drop(log);
    PowerCut { parent, dir: after_cut, durable, lines, earlier_files }
}

fn copy(dir: &RunDir, to: std::path::PathBuf) -> RunDir {
    // The first copy finds no directory.
    fs::remove_dir_all(&to).ok();
    fs::create_dir(&to).expect("made");
    for entry in fs::read_dir(dir.path()).expect("listed").flatten() {
        fs::copy(entry.path(), to.join(entry.file_name())).expect("copied");
    }
    RunDir::at(to)
}

fn wait_until(mut condition: impl FnMut() -> bool) {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while !condition() {
        assert!(std::time::Instant::now() < end, "gave up waiting");
        std::thread::yield_now();
    }
}

impl PowerCut {
    /// Leaves of each segment its durable part, and replaces the rest as `tail` says.
    fn spoil_tail(&self, tail: &str) {
        let after_durable: usize = line::lines(&self.lines).take(self.durable as usize).map(|line| line.len() + 1).sum();
        let mut position = 0;
        for first in self.dir.segments().expect("listed") {
            let path = self.dir.segment(first);
            let mut bytes = fs::read(&path).expect("readable");
            let durable_bytes = after_durable.saturating_sub(position).min(bytes.len());
            position += bytes.len();
            let rest = bytes.split_off(durable_bytes);
            match tail {
                "all" => bytes.extend_from_slice(&rest),
                "none" => {}
                "half" => bytes.extend_from_slice(&rest[..rest.len() / 2]),
                "zeros" => bytes.resize(durable_bytes + rest.len(), 0),
                _ => bytes.extend(rest.iter().enumerate().map(|(at, byte)| if at % 4096 < 2048 { *byte } else { 0 })),
            }
            if durable_bytes == 0 && tail == "none" {
                // The name of the segment was not synced either.
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
            "old" => fs::write(path, &self.earlier_files[which]).expect("written"),
            "gone" => fs::remove_file(path).expect("removed"),
            _ => {
                let mut bytes = fs::read(&path).expect("readable");
                let middle = bytes.len() / 3;
                bytes[..middle].fill(0);
                fs::write(path, bytes).expect("written");
            }
        }
    }

    fn assert_nothing_durable_is_lost(&self, case: &str) {
        let repaired = repair::repair(&self.dir, &self.parent.path().join("aside")).unwrap_or_else(|error| panic!("{case}: {error}"));
        let run = repaired.run;
        assert!(run.last_seq >= self.durable, "{case}: entry {} is the last, {} was durable", run.last_seq, self.durable);
        assert_eq!(run.durable_seq, run.last_seq, "{case}");
        let before = self.dir.segments().expect("listed").first().map_or(0, |first| first - 1);
        let (mut cursor, mut read_lines) = (LogCursor::open(&self.dir, before).expect("opens").expect("there"), Vec::new());
        while let FollowRead::Lines { .. } = cursor.read(1 << 20, &mut read_lines).expect("readable") {}
        let sealed: usize = line::lines(&self.lines).take(before as usize).map(|line| line.len() + 1).sum();
        assert!(self.lines[sealed..].starts_with(&read_lines), "{case}: other bytes than were written");
        assert_eq!(before + line::lines(&read_lines).count() as u64, run.last_seq, "{case}");
        let last = line::lines(&self.lines).nth(run.last_seq as usize - 1).and_then(line::output).expect("output");
        assert_eq!(run.bytes.stdout, last.offset + last.raw_len(), "{case}");
        // The repaired log takes further entries.
        let (mut log, bytes) = (Appender::resume(self.dir.clone(), run.clone()).expect("resumed"), run.bytes.stdout);
        log.output(1, Stream::Stdout, &[b"more"], Reserve::FinalEntry).expect("appended");
        let finished = log.finish().expect("durable");
        assert_eq!((finished.durable_seq, finished.bytes.stdout), (run.last_seq + 1, bytes + 4), "{case}");
    }
}

#[test]
fn nothing_durable_is_lost_by_a_power_cut() {
    for (entries, after_sync) in [(1, 0), (3, 2), (30, 0), (30, 25)] {
        let mut cut = write_until_cut(entries, after_sync);
        assert!(cut.durable >= entries);
        let whole = cut.dir.clone();
        for (tail, file) in UNSYNCED_TAILS.iter().flat_map(|tail| SIDE_FILE_FATES.map(|file| (*tail, file))) {
            cut.dir = copy(&whole, cut.parent.path().join("spoiled"));
            cut.spoil_tail(tail);
            cut.spoil_file(0, file);
            cut.spoil_file(1, if tail == "none" { "new" } else { file });
            cut.assert_nothing_durable_is_lost(&format!("{entries} and {after_sync} entries, unsynced: {tail}, head and index: {file}"));
        }
        // The first segments are in the store, and the head was synced before they were removed; what was written to
        // the head since is ahead of the log.
        let segments = whole.segments().expect("listed");
        for tail in UNSYNCED_TAILS.iter().filter(|_| segments.len() > 1 && segments[1] <= cut.durable) {
            cut.dir = copy(&whole, cut.parent.path().join("spoiled"));
            cut.spoil_tail(tail);
            fs::remove_file(cut.dir.segment(1)).expect("removed");
            cut.assert_nothing_durable_is_lost(&format!("{entries} and {after_sync} entries, partly sealed, unsynced: {tail}"));
        }
    }
}
