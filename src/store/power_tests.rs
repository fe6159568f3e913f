//! A power cut at every moment. The store works on a simulated disk that keeps what was synced and, of what was written
//! since, any part in any order. What is left must open as the store was after the last transaction that had returned,
//! or after the next one.

use parking_lot::Mutex;
use std::{collections::BTreeSet, ops::Bound, sync::Arc};

use redb::{BackendError, Database, StorageBackend};
use serde_json::json;

use super::{
    create::{builder, fill},
    runs::{Stats, finish_record, put_record, remove_record, remove_some_rows},
    seal::seal_lines,
    tests::{LogFixture, noise, read_all, run},
    *,
};
use crate::model::{Run, RunId, RunState, Stream};

/// What reaches the disk, in order.
#[derive(Clone, Debug)]
enum Op {
    Write(usize, Vec<u8>),
    Length(usize),
    Sync,
}

/// A disk in memory that records every operation.
#[derive(Clone, Debug, Default)]
struct Disk(Arc<Mutex<(Vec<u8>, Vec<Op>)>>);

impl StorageBackend for Disk {
    fn len(&self) -> std::io::Result<u64> {
        Ok(self.0.lock().0.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        let disk = self.0.lock();
        out.copy_from_slice(&disk.0[offset as usize..offset as usize + out.len()]);
        Ok(())
    }

    fn set_len(&self, length: u64) -> std::io::Result<()> {
        let mut disk = self.0.lock();
        disk.0.resize(length as usize, 0);
        disk.1.push(Op::Length(length as usize));
        Ok(())
    }

    fn sync_data(&self) -> std::io::Result<()> {
        self.0.lock().1.push(Op::Sync);
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        let mut disk = self.0.lock();
        disk.0[offset as usize..offset as usize + data.len()].copy_from_slice(data);
        disk.1.push(Op::Write(offset as usize, data.to_vec()));
        Ok(())
    }

    fn try_lock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<bool, BackendError> {
        Ok(true)
    }

    fn try_lock_shared_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<bool, BackendError> {
        Ok(true)
    }

    fn lock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<(), BackendError> {
        Ok(())
    }

    fn lock_shared_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<(), BackendError> {
        Ok(())
    }

    fn unlock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<(), BackendError> {
        Ok(())
    }

    fn query_lock_range(&self, _: Bound<u64>, _: Bound<u64>) -> Result<bool, BackendError> {
        Ok(false)
    }
}

/// What is on the disk when the power fails after `done` operations: all that was synced, and of each later write those
/// sectors for which `survives` returns `true`.
fn image_after_cut(ops: &[Op], done: usize, survives: &mut impl FnMut() -> bool) -> Vec<u8> {
    let synced = ops[..done].iter().rposition(|op| matches!(op, Op::Sync)).unwrap_or(0);
    let mut image = Vec::new();
    for (at, op) in ops[..done].iter().enumerate() {
        match op {
            Op::Sync => {}
            // A file must have grown before anything can be written to its new end. That it shrank may be lost.
            Op::Length(length) if at < synced || *length > image.len() || survives() => image.resize(*length, 0),
            Op::Length(_) => {}
            Op::Write(offset, data) => {
                for (sector, bytes) in data.chunks(512).enumerate() {
                    let begin = offset + sector * 512;
                    if at < synced || survives() {
                        image[begin..begin + bytes.len()].copy_from_slice(bytes);
                    }
                }
            }
        }
    }
    image
}

/// Everything that a reader of the store can see, as text. Asserts that the store can be written to.
fn visible_state(image: &[u8], ids: &[RunId]) -> Vec<String> {
    let directory = tempfile::tempdir().expect("a directory");
    let store = Store::at(directory.path());
    std::fs::write(store.path(), image).expect("written");
    store.check().expect("opens");
    let mut state: Vec<String> = ids
        .iter()
        .map(|id| {
            let record = store.run(*id).expect("readable");
            let lines = if record.is_some() { read_all(&store, *id) } else { Vec::new() };
            format!("{:?} {}", record.map(|record| (record.sealed, record.finished, record.base)), blake3::hash(&lines))
        })
        .collect();
    // The file's length is not part of the state.
    state.push(format!("{:?}", Stats { file_bytes: 0, ..store.stats().expect("readable") }));
    store.tidy().expect("tidied");
    assert!(store.put_run(&run(RunId::new()), None, || true).expect("stored"));
    state
}

/// The disk, how many operations there were when each transaction returned, and the runs.
fn recorded_transactions() -> (Disk, Vec<usize>, Vec<RunId>) {
    let disk = Disk::default();
    let handle: Database = builder().create_with_backend(disk.clone()).expect("made");
    fill(&handle).expect("filled");
    let mut returned_at = Vec::new();
    let ops_done = || disk.0.lock().1.len();
    returned_at.push(ops_done());
    let ids: Vec<RunId> = (1..=3).map(|number| RunId::from_bytes([number; 16])).collect();
    for (number, id) in ids.iter().enumerate() {
        let mut log = LogFixture::of(*id);
        let file = blake3::hash(b"file").to_hex().repeat(100);
        for line in 0..1500 {
            log.output(Stream::Stdout, format!("step {line} {}\n", blake3::hash(&[line as u8, 1]).to_hex()).as_bytes());
        }
        log.other(json!({"kind": "update", "update": {"sessionUpdate": "x", "text": file, "number": number}}));
        let first = log.take();
        log.output(Stream::Stderr, &noise(number as u64, 100_000));
        let all = [first.clone(), log.take()].concat();
        let record: Run = run(*id);
        transact(&handle, &AtomicU64::new(0), |transaction| put_record(transaction, &record, None, || true)).expect("stored");
        returned_at.push(ops_done());
        for lines in [&first, &all] {
            transact(&handle, &AtomicU64::new(0), |transaction| seal_lines(transaction, *id, lines, &BTreeSet::new())).expect("sealed");
            returned_at.push(ops_done());
        }
        let last = Run { state: RunState::Succeeded, last_seq: log.seq, ..record };
        transact(&handle, &AtomicU64::new(0), |transaction| finish_record(transaction, &last)).expect("finished");
        returned_at.push(ops_done());
    }
    for id in &ids[..2] {
        let remove = |transaction: &WriteTransaction| Ok(TransactionOutcome::Commit(remove_record(transaction, *id, false)?));
        transact(&handle, &AtomicU64::new(0), remove).expect("deleted").expect("there");
        returned_at.push(ops_done());
        while transact(&handle, &AtomicU64::new(0), remove_some_rows).expect("tidied").is_some() {
            returned_at.push(ops_done());
        }
    }
    // The handle is not closed, as after a power cut.
    std::mem::forget(handle);
    (disk, returned_at, ids)
}

#[test]
fn after_a_power_cut_the_store_is_as_it_was_after_a_transaction() {
    let (disk, returned_at, ids) = recorded_transactions();
    let ops = disk.0.lock().1.clone();
    let expected: Vec<Vec<String>> =
        returned_at.iter().map(|done| visible_state(&image_after_cut(&ops, *done, &mut || true), &ids)).collect();
    assert!(expected.windows(2).filter(|pair| pair[0] != pair[1]).count() > 12, "the steps can be told apart");
    let mut number = 7_u64;
    let mut random = move || {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        number >> 33
    };
    let mut cuts = 0;
    for done in returned_at[0]..=ops.len() {
        let step = returned_at.iter().rposition(|ops_done| *ops_done <= done).expect("the file was made");
        // Of the writes that were not synced, everything survives, nothing, or random sectors.
        for survival in 0..3 {
            let is_next_a_sync = matches!(ops.get(done), Some(Op::Sync) | None);
            if !is_next_a_sync && random() % 8 != 0 {
                continue;
            }
            let image = image_after_cut(&ops, done, &mut || match survival {
                0 => true,
                1 => false,
                _ => random() % 2 == 0,
            });
            let state = visible_state(&image, &ids);
            let allowed = &expected[step..expected.len().min(step + 2)];
            assert!(
                allowed.contains(&state),
                "cut after {done} of {} operations, survival {survival}: {state:#?} is not in {allowed:#?}",
                ops.len()
            );
            cuts += 1;
        }
    }
    assert!(cuts > 100, "{cuts}");
}
