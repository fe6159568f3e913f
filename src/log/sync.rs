//! The thread that makes appended entries survive a power cut.
//!
//! No append waits for it: the appender reports its progress, and this thread syncs within 200 ms of the first byte
//! that is not durable yet (so that 250 ms hold with the disk's own time), or at once if it is told to by
//! [`Syncer::sync_now`].

use std::{
    fs::File,
    io,
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};
use tokio::sync::watch;

use super::{
    RunDir,
    index::{IndexFile, SegmentRecord},
};
use crate::process::disk;

/// How long written bytes wait for others, so that one sync serves many appends.
const SYNC_DELAY: Duration = Duration::from_millis(200);
/// How long the thread waits before it repeats a sync that failed.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// How many times a failed sync is repeated once the appender has finished.
const MAX_FINAL_RETRIES: u32 = 3;

/// How far the appender has written one segment.
#[derive(Clone, Debug)]
pub(crate) struct AppendProgress {
    pub(crate) file: Arc<File>,
    /// Position of the segment among all of the run, counted from 0.
    pub(crate) position: u64,
    pub(crate) record: SegmentRecord,
}

/// The appender's handle of the sync thread.
#[derive(Debug)]
pub(crate) struct Syncer {
    queue: Arc<SyncQueue>,
    status: watch::Receiver<SyncStatus>,
    thread: Option<JoinHandle<()>>,
}

/// How far the log is durable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SyncStatus {
    /// Number of the last durable entry.
    pub(crate) durable_seq: u64,
    /// The error of the newest attempt, if the disk refused it; the thread goes on trying.
    pub(crate) error: Option<String>,
}

#[derive(Debug, Default)]
struct SyncQueue {
    state: Mutex<SyncState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct SyncState {
    /// One for each segment that is not durable yet, ascending.
    dirty: Vec<AppendProgress>,
    sync_now: bool,
    stopping: bool,
}

impl Syncer {
    pub(crate) fn start(dir: &RunDir) -> io::Result<Self> {
        let queue = Arc::new(SyncQueue::default());
        let (sender, status) = watch::channel(SyncStatus::default());
        let thread =
            SyncThread { dir: dir.clone(), index: IndexFile::create(dir)?, known_segments: 0, queue: Arc::clone(&queue), status: sender };
        let thread = std::thread::Builder::new().name("sync".to_owned()).stack_size(128 << 10).spawn(move || thread.run())?;
        Ok(Self { queue, status, thread: Some(thread) })
    }

    /// Tells the thread how far the appender has written.
    pub(crate) fn report(&self, progress: AppendProgress) {
        let mut state = self.queue.state.lock();
        match state.dirty.last_mut() {
            Some(last) if last.position == progress.position => *last = progress,
            _ => {
                state.dirty.push(progress);
                self.queue.changed.notify_one();
            }
        }
    }

    /// Has the thread make everything that is written durable without delay.
    pub(crate) fn sync_now(&self) {
        self.queue.state.lock().sync_now = true;
        self.queue.changed.notify_one();
    }

    pub(crate) fn sync_status(&self) -> watch::Receiver<SyncStatus> {
        self.status.clone()
    }

    /// Makes everything that is written durable and ends the thread.
    pub(crate) fn finish(mut self) {
        self.stop();
    }

    fn stop(&mut self) {
        let mut state = self.queue.state.lock();
        state.stopping = true;
        state.sync_now = true;
        drop(state);
        self.queue.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            // The panic hook has printed a panic of the thread already, and `SyncStatus` never counts what was not
            // synced.
            thread.join().ok();
        }
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        self.stop();
    }
}

impl SyncQueue {
    /// Waits until there is something to sync and takes it; `None` once the appender has finished.
    fn next(&self) -> Option<Vec<AppendProgress>> {
        let mut state = self.state.lock();
        while state.dirty.is_empty() {
            if state.stopping {
                return None;
            }
            state.sync_now = false;
            self.changed.wait(&mut state);
        }
        let due = Instant::now() + SYNC_DELAY;
        while !state.sync_now {
            let Some(left) = due.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) else { break };
            self.changed.wait_for(&mut state, left);
        }
        state.sync_now = state.stopping;
        Some(std::mem::take(&mut state.dirty))
    }
}

struct SyncThread {
    dir: RunDir,
    index: IndexFile,
    known_segments: u64,
    queue: Arc<SyncQueue>,
    status: watch::Sender<SyncStatus>,
}

impl SyncThread {
    fn run(mut self) {
        while let Some(dirty) = self.queue.next() {
            let mut failures = 0;
            while let Err(error) = self.sync(&dirty) {
                let message = format!("{}: {error}", self.dir.path().display());
                self.status.send_modify(|status| status.error = Some(message));
                failures += 1;
                if self.queue.state.lock().stopping && failures > MAX_FINAL_RETRIES {
                    return;
                }
                std::thread::sleep(RETRY_INTERVAL);
            }
        }
    }

    fn sync(&mut self, dirty: &[AppendProgress]) -> io::Result<()> {
        for progress in dirty {
            progress.file.sync_data()?;
            if progress.position >= self.known_segments {
                // The directory must hold the segment's name durably before anything in the segment counts as durable.
                disk::sync_dir(self.dir.path()).or_else(ignore_renamed)?;
                self.known_segments = progress.position + 1;
            }
            self.index.write(progress.position, &progress.record)?;
            self.status.send_replace(SyncStatus { durable_seq: progress.record.last_seq, error: None });
        }
        Ok(())
    }
}

/// The directory is renamed once, when its run starts; the supervisor that renames it syncs it under its new name.
fn ignore_renamed(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}
