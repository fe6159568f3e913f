//! The thread that makes what was appended survive a power cut.
//!
//! It never stands in front of an append: the appender leaves word of how far it is, and this thread syncs within 200 ms
//! of the first byte that is not durable yet (so that with the disk's own time 250 ms are kept), or at once when asked.

use std::{
    fs::File,
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use tokio::sync::watch;

use super::{files::RunDir, index::IndexFile, index::SegmentRecord};
use crate::process::disk;

const DELAY: Duration = Duration::from_millis(200);

/// How far the appender is in one segment.
#[derive(Clone, Debug)]
pub struct Written {
    pub file: Arc<File>,
    /// Which segment of the run, counted from 0.
    pub position: u64,
    pub record: SegmentRecord,
}

/// The appender's end.
#[derive(Debug)]
pub struct Syncer {
    shared: Arc<Shared>,
    durable: watch::Receiver<Durable>,
    thread: Option<JoinHandle<()>>,
}

/// What the thread has achieved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Durable {
    pub seq: u64,
    /// The disk refused; the thread goes on trying.
    pub error: Option<String>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// One for each segment that is not durable yet, ascending.
    dirty: Vec<Written>,
    at_once: bool,
    ended: bool,
}

impl Syncer {
    pub fn start(dir: &RunDir) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let (sender, durable) = watch::channel(Durable::default());
        let thread =
            Worker { dir: dir.clone(), index: IndexFile::create(dir)?, known_segments: 0, shared: Arc::clone(&shared), durable: sender };
        let thread = std::thread::Builder::new().name("sync".to_owned()).stack_size(128 << 10).spawn(move || thread.run())?;
        Ok(Self { shared, durable, thread: Some(thread) })
    }

    /// Leaves word of how far the appender is.
    pub fn wrote(&self, written: Written) {
        let mut state = self.shared.lock();
        match state.dirty.last_mut() {
            Some(last) if last.position == written.position => *last = written,
            _ => {
                state.dirty.push(written);
                self.shared.changed.notify_one();
            }
        }
    }

    /// Asks for what is written to be made durable now.
    pub fn hurry(&self) {
        self.shared.lock().at_once = true;
        self.shared.changed.notify_one();
    }

    pub fn durable(&self) -> watch::Receiver<Durable> {
        self.durable.clone()
    }

    /// Makes what is written durable and ends the thread.
    pub fn finish(mut self) {
        self.stop();
    }

    fn stop(&mut self) {
        let mut state = self.shared.lock();
        state.ended = true;
        state.at_once = true;
        drop(state);
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed; what was not synced is not said to be.
            let _ = thread.join();
        }
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics while holding this")
    }

    /// Waits until something is to be synced and takes it; `None` at the end.
    fn next(&self) -> Option<Vec<Written>> {
        let mut state = self.lock();
        while state.dirty.is_empty() {
            if state.ended {
                return None;
            }
            state.at_once = false;
            state = self.changed.wait(state).expect("nobody panics while holding this");
        }
        let due = Instant::now() + DELAY;
        while !state.at_once {
            let Some(left) = due.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) else { break };
            state = self.changed.wait_timeout(state, left).expect("nobody panics while holding this").0;
        }
        state.at_once = state.ended;
        Some(std::mem::take(&mut state.dirty))
    }
}

struct Worker {
    dir: RunDir,
    index: IndexFile,
    known_segments: u64,
    shared: Arc<Shared>,
    durable: watch::Sender<Durable>,
}

impl Worker {
    fn run(mut self) {
        while let Some(dirty) = self.shared.next() {
            let mut failures = 0;
            while let Err(error) = self.sync(&dirty) {
                let message = format!("{}: {error}", self.dir.path().display());
                self.durable.send_modify(|durable| durable.error = Some(message));
                failures += 1;
                if self.shared.lock().ended && failures > 3 {
                    return;
                }
                std::thread::sleep(Duration::from_secs(1));
            }
        }
    }

    fn sync(&mut self, dirty: &[Written]) -> io::Result<()> {
        for written in dirty {
            written.file.sync_data()?;
            if written.position >= self.known_segments {
                // The segment's name, too, must be durable before anything in it counts as such.
                disk::sync_dir(self.dir.path()).or_else(ignore_renamed)?;
                self.known_segments = written.position + 1;
            }
            self.index.write(written.position, &written.record)?;
            self.durable.send_replace(Durable { seq: written.record.last_seq, error: None });
        }
        Ok(())
    }
}

/// The directory is renamed once, when its run is born; whoever renames it syncs it under its new name.
fn ignore_renamed(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}
