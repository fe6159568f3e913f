//! Lines that are longer than every buffer on their way: appended, followed, sealed while the run lives and at its end,
//! read forward and backward from everywhere, repaired after they were cut.

use std::fs;

use serde_json::{Map, json};

use super::*;
use crate::{
    history::{BackwardReader, ForwardReader, ReadOutcome},
    log::{Appender, append::Reserve, repair},
    model::{Entry, PermissionEntry, RunState, StateEntry, Stream, UpdateEntry, entry::PermissionStatus, line},
    store::Store,
};

/// A run that is being written; `lines` holds what it wrote.
struct RunFixture {
    data: tempfile::TempDir,
    history: History,
    id: RunId,
    log: Appender,
    lines: Vec<u8>,
}

impl RunFixture {
    fn new() -> Self {
        let data = tempfile::tempdir().expect("a directory");
        let history = History { runs: data.path().join("runs"), store: Store::at(data.path()) };
        let run = crate::store::test_run(RunId::new());
        let (id, dir) = (run.id, history.dir(run.id));
        disk::create_private_dir(dir.path()).expect("made");
        Description { version: Description::VERSION, run: run.clone(), token: None }.write(&dir).expect("described");
        let log = Appender::open(dir, run).expect("opened");
        Self { data, history, id, log, lines: Vec::new() }
    }

    fn entry(&mut self, make: impl FnOnce(RunId, u64) -> Entry) {
        let id = self.id;
        let line = self.log.entry(|seq| make(id, seq), Reserve::Untouched).expect("appended");
        self.lines.extend_from_slice(&line);
        self.lines.push(b'\n');
    }

    fn update(&mut self, bytes: usize) {
        self.entry(|run_id, seq| {
            let text = "a line of a file, \"quoted\"\n".repeat(bytes / 20 + 1);
            let update = json!({"sessionUpdate": "tool_call_update", "content": text[..bytes]});
            Entry::Update(UpdateEntry { run_id, seq, at: 7, update: object(update) })
        });
    }

    fn permission_request(&mut self, bytes: usize) {
        self.entry(|run_id, seq| {
            let status = PermissionStatus::Requested { tool_call: object(json!({"diff": "x".repeat(bytes)})), options: Vec::new() };
            Entry::Permission(PermissionEntry { run_id, seq, at: 7, permission_id: format!("p{seq}"), status })
        });
    }

    fn output(&mut self, text: &str) {
        let (seq, offset) = (self.log.run().last_seq + 1, self.log.run().bytes.stdout);
        self.log.output(9, Stream::Stdout, &[text.as_bytes()], Reserve::Untouched).expect("appended");
        line::write_output(&mut self.lines, self.id, seq, 9, Stream::Stdout, offset, text.as_bytes());
    }

    fn state(&mut self, state: RunState) {
        self.entry(|run_id, seq| Entry::State(StateEntry { turn: None, ..crate::supervisor::state_entry(run_id, seq, state) }));
    }

    /// A run of several segments, most of them one long line.
    fn with_long_lines() -> Self {
        let mut fixture = Self::new();
        fixture.state(RunState::Running);
        for (number, bytes) in [3 << 20, 100, (8 << 20) + 1, (8 << 20) - 300, 17 << 20, 1, (2 << 20) + 1].into_iter().enumerate() {
            fixture.output(&format!("output {number}\n"));
            fixture.update(bytes);
        }
        fixture
    }

    fn seal(&self) -> SealOutcome {
        let outcome = seal_all(&self.history, self.data.path(), false, &BTreeSet::from([self.id])).pop().expect("one");
        outcome.1.expect("sealed")
    }

    /// Asserts that every entry is found: forward from the first and from the longest, backward from the longest and from
    /// the last.
    fn assert_whole(&self, case: &str) {
        let run = self.history.known_run(self.id).unwrap_or_else(|failure| panic!("{case}: {failure}"));
        assert_eq!((run.last_seq, run.bytes), (self.log.run().last_seq, self.log.run().bytes), "{case}");
        assert_eq!(run.permissions, self.log.run().permissions, "{case}");
        let lines: Vec<&[u8]> = self.lines.split_inclusive(|byte| *byte == b'\n').collect();
        let longest = (0..lines.len()).max_by_key(|at| lines[*at].len()).expect("some");
        for after in [0, longest] {
            let (mut reader, mut read_lines) = (ForwardReader::new(self.id, after as u64), Vec::new());
            while reader.read(&self.history, 64 << 10, &mut read_lines).expect("readable") != ReadOutcome::Nothing {}
            assert!(read_lines == lines[after..].concat(), "{case}: after entry {after}");
        }
        for before in [longest + 1, lines.len()] {
            let (mut reader, mut read_lines, mut block) = (BackwardReader::new(self.id, before as u64 + 1), Vec::new(), Vec::new());
            while reader.read(&self.history, 64 << 10, &mut block).expect("readable") != ReadOutcome::Nothing {
                read_lines.insert(0, block.clone());
            }
            assert!(read_lines.concat() == lines[..before].concat(), "{case}: before entry {}", before + 1);
        }
        let text = self.history.text(self.id, None, 0, 1 << 20).expect("readable");
        assert_eq!(text.raw.len() as u64, run.bytes.total(), "{case}");
        let last = self.history.last_lines(self.id, None, 2, 1 << 20).expect("readable");
        assert_eq!(last.raw, b"output 5\noutput 6\n", "{case}");
    }
}

fn object(value: serde_json::Value) -> Map<String, serde_json::Value> {
    value.as_object().expect("an object").clone()
}

#[test]
#[ignore = "slow: tens of megabytes, unoptimised"]
fn long_lines_are_whole_in_the_log_in_the_store_and_between() {
    let mut fixture = RunFixture::with_long_lines();
    assert!(fixture.history.dir(fixture.id).segments().expect("listed").len() >= 4, "several segments");
    fixture.assert_whole("in the log");
    assert_eq!(fixture.seal(), SealOutcome::Live);
    assert_eq!(fixture.history.dir(fixture.id).segments().expect("listed").len(), 1);
    fixture.assert_whole("half sealed");
    fixture.state(RunState::Succeeded);
    fixture.assert_whole("ended");
    assert_eq!(fixture.seal(), SealOutcome::Done);
    assert!(!fixture.history.dir(fixture.id).path().exists());
    fixture.assert_whole("sealed");
}

#[test]
#[ignore = "slow: tens of megabytes, unoptimised"]
fn a_question_too_long_for_the_head_keeps_what_the_head_needs() {
    let mut fixture = RunFixture::new();
    fixture.state(RunState::Running);
    fixture.output("output 5\noutput 6\n");
    fixture.update(9 << 20);
    fixture.permission_request(3 << 20);
    fixture.update(9 << 20);
    fixture.update(9 << 20);
    let before = fixture.history.dir(fixture.id).segments().expect("listed");
    assert_eq!(fixture.seal(), SealOutcome::Live);
    let after = fixture.history.dir(fixture.id).segments().expect("listed");
    assert!(after.len() < before.len() && after.len() > 1, "{before:?} {after:?}");
    fixture.assert_whole("with an open question");
    fixture.state(RunState::Failed);
    assert_eq!(fixture.seal(), SealOutcome::Done);
    fixture.assert_whole("sealed");
}

#[test]
fn a_long_line_that_was_cut_is_cut_off_and_kept_aside() {
    let mut fixture = RunFixture::with_long_lines();
    fixture.log.sync_now();
    let whole = fixture.lines.len();
    let (seq, bytes) = (fixture.log.run().last_seq, fixture.log.run().bytes);
    fixture.update(20 << 20);
    let dir = fixture.history.dir(fixture.id);
    let newest = dir.segment(dir.segments().expect("listed").pop().expect("one"));
    let file = fs::OpenOptions::new().write(true).open(&newest).expect("opens");
    let length = file.metadata().expect("there").len();
    file.set_len(length - 5_000_000).expect("cut");
    let repaired = repair::repair(&dir, &fixture.data.path().join("aside")).expect("repaired");
    assert_eq!((repaired.run.last_seq, repaired.run.bytes), (seq, bytes));
    assert_eq!(repaired.cut_files.len(), 1);
    assert!(fs::metadata(&repaired.cut_files[0]).expect("there").len() > 14 << 20);
    let (mut reader, mut read_lines) = (ForwardReader::new(fixture.id, 0), Vec::new());
    while reader.read(&fixture.history, 64 << 10, &mut read_lines).expect("readable") != ReadOutcome::Nothing {}
    assert!(read_lines == fixture.lines[..whole]);
}

/// A data directory with runs that have ended and said how many they are.
pub(crate) fn ended_runs(count: usize) -> (tempfile::TempDir, History, BTreeSet<RunId>) {
    let data = tempfile::tempdir().expect("a directory");
    let history = History { runs: data.path().join("runs"), store: Store::at(data.path()) };
    let ids = (0..count).map(|number| {
        let run = crate::store::test_run(RunId::new());
        let (id, dir) = (run.id, history.dir(run.id));
        disk::create_private_dir(dir.path()).expect("made");
        Description { version: Description::VERSION, run: run.clone(), token: None }.write(&dir).expect("described");
        let mut log = Appender::open(dir, run).expect("opened");
        log.output(9, Stream::Stdout, &[format!("run {number}\n").as_bytes()], Reserve::Untouched).expect("appended");
        log.entry(|seq| Entry::State(crate::supervisor::state_entry(id, seq, RunState::Succeeded)), Reserve::FinalEntry).expect("appended");
        log.finish().expect("finished");
        id
    });
    let ids = ids.collect();
    (data, history, ids)
}

fn assert_sealed(history: &History, id: RunId) {
    assert!(!history.dir(id).path().exists());
    let run = history.known_run(id).expect("in the store");
    assert_eq!((run.state, run.last_seq, run.durable_seq), (RunState::Succeeded, 2, 2));
    let mut lines = Vec::new();
    while ForwardReader::new(id, line::lines(&lines).count() as u64).read(history, 1 << 20, &mut lines).expect("read")
        != ReadOutcome::Nothing
    {}
    assert_eq!(line::lines(&lines).count(), 2);
}

#[test]
fn runs_that_ended_are_sealed_in_one_commit() {
    let (data, history, ids) = ended_runs(40);
    let outcomes = seal_all(&history, data.path(), false, &ids);
    assert_eq!(outcomes.len(), ids.len());
    assert!(outcomes.iter().all(|(_, outcome)| matches!(outcome, Ok(SealOutcome::Done))), "{outcomes:?}");
    assert_eq!(history.store.commit_count(), 1);
    ids.iter().for_each(|id| assert_sealed(&history, *id));
    // Again, as another server would that heard of their ends too: there is nothing left to do.
    assert!(seal_all(&history, data.path(), false, &ids).iter().all(|(_, outcome)| matches!(outcome, Ok(SealOutcome::Done))));
    assert_eq!(history.store.commit_count(), 1);
}

#[test]
fn a_log_that_cannot_be_sealed_holds_up_no_other() {
    let (data, history, ids) = ended_runs(5);
    let broken = *ids.iter().nth(2).expect("five");
    let segment = history.dir(broken).segment(1);
    let log = fs::read(&segment).expect("a log");
    // Without its first entry.
    let second = log.iter().position(|byte| *byte == b'\n').expect("a line") + 1;
    fs::write(&segment, &log[second..]).expect("written");
    for (id, outcome) in seal_all(&history, data.path(), false, &ids) {
        assert_eq!(outcome.is_err(), id == broken, "{outcome:?}");
    }
    ids.iter().filter(|id| **id != broken).for_each(|id| assert_sealed(&history, *id));
    assert!(history.dir(broken).path().exists(), "what is not in the store stays");
}
