//! Follows a run for a client that is attached to its items: folds the log, and sends what changes.
//!
//! What the client has not read waits as changes of items, of each item the newest state, within [`MAX_WAITING_BYTES`]; beyond that the
//! log is the queue, as for every follower. Session, permission and state entries are sent as they are, after the items that they change.

use std::{sync::Arc, sync::atomic::Ordering, time::Duration};

use tokio::time::{Instant, timeout_at};

use super::{
    Server,
    follower::{PendingFollower, is_final_state},
};
use crate::{
    history::{ForwardReader, History, ReadOutcome},
    model::{Failure, Kind, Run, RunId, calls::ItemParams, item::ItemChange, line},
    rpc::outgoing::Bulk,
    transcript::{
        Fold,
        change_queue::{ChangeQueue, cut},
        checkpoints::{self, CheckpointWriter},
        read::fold_line,
    },
};

/// Log bytes that are folded at a time.
const MAX_BATCH_BYTES: usize = 256 << 10;
/// Changes and entries that wait for the client.
const MAX_WAITING_BYTES: usize = 256 << 10;

/// A run's log on its way to becoming changes.
struct ItemFeed {
    reader: ForwardReader,
    fold: Fold,
    checkpoints: CheckpointWriter,
    queue: ChangeQueue,
    /// Entries that are sent as such, with their kinds.
    entries: Vec<(Kind, Vec<u8>)>,
    entry_bytes: usize,
    /// The client has every item as of this entry.
    after: u64,
    /// Until this entry, where the log ended when the client attached, items are sent whole and by number.
    catch_up_end: u64,
    /// Everything up to this entry was sent.
    sent: u64,
    lines: Vec<u8>,
}

/// What [`ItemFeed::advance`] found.
struct Advance {
    has_lines: bool,
    at_end: bool,
    is_final: bool,
}

impl PendingFollower {
    pub(super) async fn follow_items(mut self, server: &Arc<Server>) -> Result<(), Failure> {
        let id = self.id;
        let after = self.after;
        let begin = move |history: &History| {
            let run = history.known_run(id)?;
            let (fold, checkpoints) = checkpoints::begin(history, &run, after, |_, _| true)?;
            Ok(ItemFeed::new(&run, fold, checkpoints, after))
        };
        let mut feed = super::methods::on_blocking_thread(server, begin).await?;
        let interval = Duration::from_millis(server.client.output.min_interval_ms);
        let max_append = usize::try_from(server.client.output.max_chunk_bytes).unwrap_or(usize::MAX);
        let mut due = Instant::now();
        loop {
            // The growth is taken before the read, so that a wake-up during the read is not lost.
            let ended = self.growth.as_mut().is_none_or(|growth| growth.borrow_and_update().ended);
            let advance;
            (feed, advance) = feed.advance(server).await?;
            let is_full = feed.waiting_bytes() >= MAX_WAITING_BYTES.min(max_append);
            let is_due = if feed.is_catching_up() {
                feed.waiting_bytes() >= MAX_WAITING_BYTES
            } else {
                is_full || feed.has_urgent() || advance.is_final || ended || Instant::now() >= due
            };
            if is_due && feed.waiting_bytes() > 0 {
                self.send_items(server, &mut feed, max_append).await;
                due = Instant::now() + interval;
            }
            if advance.is_final || (ended && !advance.has_lines) {
                return Ok(());
            }
            if advance.at_end && !ended {
                self.wait_for_growth((feed.waiting_bytes() > 0).then_some(due)).await;
            }
        }
    }

    /// Waits until the log grows, at most until `due`.
    async fn wait_for_growth(&mut self, due: Option<Instant>) {
        let Some(growth) = &mut self.growth else { return };
        let changed = match due {
            Some(due) => timeout_at(due, growth.changed()).await.unwrap_or(Ok(())),
            None => growth.changed().await,
        };
        if changed.is_err() {
            // The link is gone; `follow_items` reads once more and then ends.
            self.growth = None;
        }
    }

    async fn send_items(&self, server: &Arc<Server>, feed: &mut ItemFeed, max_append: usize) {
        let mut bulk = server.out.bulk().await;
        feed.write(self.id, max_append, &mut bulk);
        for (kind, line) in feed.take_entries() {
            bulk.frame(kind.method(), &[&line]);
            // The link reports this entry too; the first of the two counts.
            server.broadcast.first_seen(self.id, line::head(&line).map_or(0, |head| head.seq));
        }
        if bulk.flush().await.is_err() {
            // The client is gone, and the connection's end drops this task.
            return std::future::pending().await;
        }
        self.seq.store(feed.sent, Ordering::Relaxed);
    }
}

impl ItemFeed {
    fn new(run: &Run, fold: Fold, checkpoints: CheckpointWriter, after: u64) -> Self {
        Self {
            reader: ForwardReader::new(run.id, fold.seq()),
            fold,
            checkpoints,
            queue: ChangeQueue::default(),
            entries: Vec::new(),
            entry_bytes: 0,
            after,
            catch_up_end: run.last_seq,
            sent: after,
            lines: Vec::new(),
        }
    }

    fn waiting_bytes(&self) -> usize {
        self.queue.bytes() + self.entry_bytes
    }

    /// Whether something waits that is not held back for a client that wants fewer notifications.
    fn has_urgent(&self) -> bool {
        self.queue.has_whole_items() || !self.entries.is_empty()
    }

    fn is_catching_up(&self) -> bool {
        self.fold.seq() < self.catch_up_end
    }

    /// Folds what follows: of a log that grows a batch on this thread, of everything else more, on a blocking one.
    async fn advance(mut self, server: &Arc<Server>) -> Result<(Self, Advance), Failure> {
        if self.reader.is_in_log() && !self.is_catching_up() {
            let advance = self.fold_batch(&server.history)?;
            return Ok((self, advance));
        }
        let history = server.history.clone();
        let folding = tokio::task::spawn_blocking(move || {
            let mut advance = self.fold_batch(&history)?;
            while !advance.at_end && !advance.is_final && self.is_catching_up() && self.waiting_bytes() < MAX_WAITING_BYTES {
                advance = Advance { has_lines: true, ..self.fold_batch(&history)? };
            }
            Ok((self, advance))
        });
        folding.await.map_err(|error| Failure::internal(format!("folding the log failed: {error}")))?
    }

    fn fold_batch(&mut self, history: &History) -> Result<Advance, Failure> {
        self.lines.clear();
        let outcome = self.reader.read(history, MAX_BATCH_BYTES, &mut self.lines)?;
        let lines = std::mem::take(&mut self.lines);
        let (mut changes, mut is_final) = (Vec::new(), false);
        for line in line::lines(&lines) {
            if let Err(error) = fold_line(line, &mut self.fold, &mut changes) {
                return Err(Failure::internal(format!("an entry of the log is not understood: {error}")));
            }
            self.checkpoints.folded(history, &self.fold, line.len());
            let seq = self.fold.seq();
            if seq <= self.after {
                changes.clear();
                continue;
            }
            let as_whole = seq <= self.catch_up_end;
            changes.drain(..).for_each(|change| self.queue.push(change, &self.fold, as_whole));
            if let Some(head) = line::head(line).filter(|head| head.kind.is_rare()) {
                is_final |= head.kind == Kind::State && is_final_state(line);
                self.entry_bytes += line.len();
                self.entries.push((head.kind, line.to_vec()));
            }
        }
        let has_lines = !lines.is_empty();
        self.lines = lines;
        self.checkpoints.finish(history);
        Ok(Advance { has_lines, at_end: matches!(outcome, ReadOutcome::Lines { at_end: true } | ReadOutcome::Nothing), is_final })
    }

    /// Writes what waits. A client that gets only a part of it goes on after the entry before the last `seq` that it got: so that
    /// misses nothing, the `seq` of items that come by number is that of the first entry that was not sent.
    fn write(&mut self, run_id: RunId, max_append: usize, bulk: &mut Bulk) {
        let changes = if self.sent < self.catch_up_end {
            let is_whole = |(_, change): &(u64, ItemChange)| matches!(change, ItemChange::Whole { .. });
            let (mut by_number, mut appends): (Vec<_>, Vec<_>) = self.queue.drain().into_iter().partition(is_whole);
            by_number.iter_mut().for_each(|(seq, _)| *seq = self.sent + 1);
            if let Some((seq, _)) = by_number.last_mut().filter(|_| appends.is_empty()) {
                *seq = self.fold.seq();
            }
            appends.sort_by_key(|(seq, _)| *seq);
            by_number.into_iter().chain(appends).collect()
        } else {
            self.queue.drain_by_seq()
        };
        for (seq, change) in changes {
            for change in cut(change, max_append) {
                let params = serde_json::to_vec(&ItemParams { run_id, seq, change }).expect("params always have a JSON form");
                bulk.frame("run/item", &[&params]);
            }
        }
        self.sent = self.fold.seq();
    }

    fn take_entries(&mut self) -> Vec<(Kind, Vec<u8>)> {
        self.entry_bytes = 0;
        std::mem::take(&mut self.entries)
    }
}
