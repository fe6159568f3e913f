//! Follows a run for a client that is attached to it: a cursor into the run's log, and the task that moves it.
//!
//! Replay, live output, reconnects and slow clients are the same code. A follower reads only while it holds the
//! output's bulk lane, into the server's one buffer, so neither a long run nor many runs nor a client that has stopped
//! reading makes the server grow. The log is the queue, so there is nothing to drop and nothing to repeat.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    sync::{OwnedSemaphorePermit, watch},
    task::JoinHandle,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{Server, merge::Merger};
use crate::{
    history::{ForwardReader, HistoryError, ReadOutcome},
    model::{
        Failure, Kind, RunId, RunState,
        calls::{AttachForm, ClientCapabilities},
        line,
    },
    runs::Growth,
};

/// Log bytes that a follower sends at a time: a request's answer waits for no more than that.
const MAX_BATCH_BYTES: usize = 256 << 10;
/// A buffer is reused for the next batch unless a huge entry has grown it beyond this; a sealed block's lines fit in.
const MAX_SPARE_BUFFER_BYTES: usize = 4 * MAX_BATCH_BYTES;

/// The runs that a client is attached to.
#[derive(Default)]
pub(crate) struct Followers {
    open: Mutex<BTreeMap<RunId, Follower>>,
}

/// The handle of a follower's task: stops it, and tells the last entry that it sent.
struct Follower {
    stop: CancellationToken,
    sent_seq: Arc<AtomicU64>,
}

/// Which kinds of entries a client wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KindFilter {
    pub(crate) output: bool,
    pub(crate) updates: bool,
}

impl KindFilter {
    /// `kinds` chooses among output and updates; entries of other kinds are always sent.
    pub(crate) fn of(kinds: Option<&[Kind]>) -> Self {
        let wants = |kind| kinds.is_none_or(|kinds| kinds.contains(&kind));
        Self { output: wants(Kind::Output), updates: wants(Kind::Update) }
    }

    fn includes(self, kind: Kind) -> bool {
        match kind {
            Kind::Output | Kind::Size => self.output,
            Kind::Update => self.updates,
            Kind::Session | Kind::Permission | Kind::State => true,
        }
    }
}

/// In which form a client follows a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    Entries(KindFilter),
    /// See [`super::item_follower`].
    Items,
}

impl Delivery {
    /// Items are made of all kinds of entries, so nobody can choose among kinds there.
    pub(crate) fn of(kinds: Option<&[Kind]>, form: Option<AttachForm>) -> Result<Self, Failure> {
        match (form, kinds) {
            (Some(AttachForm::Items), Some(_)) => {
                Err(Failure::invalid_params("kinds", "`kinds` chooses among entries; leave it out with `as: \"items\"`"))
            }
            (Some(AttachForm::Items), None) => Ok(Self::Items),
            (Some(AttachForm::Entries) | None, kinds) => Ok(Self::Entries(KindFilter::of(kinds))),
        }
    }

    /// Whether the client answers what the run's programs ask of a terminal: it can, and gets the output.
    pub(crate) fn shows_terminal(self, client: &ClientCapabilities) -> bool {
        client.terminal && matches!(self, Self::Entries(filter) if filter.output)
    }
}

/// A follower whose task has not been started. From its creation on, the client is notified about the run only by it.
#[must_use = "it must be started, after the answer"]
pub(crate) struct PendingFollower {
    pub(super) id: RunId,
    pub(super) after: u64,
    delivery: Delivery,
    stop: CancellationToken,
    pub(super) seq: Arc<AtomicU64>,
    pub(super) growth: Option<watch::Receiver<Growth>>,
}

impl Followers {
    pub(crate) fn is_attached(&self, id: RunId) -> bool {
        self.open.lock().contains_key(&id)
    }

    /// Attaches the client to a run, or moves its cursor. `growth` is `None` for a run that has ended and therefore has
    /// no link.
    pub(crate) fn attach(&self, id: RunId, after: u64, delivery: Delivery, growth: Option<watch::Receiver<Growth>>) -> PendingFollower {
        let (stop, seq) = (CancellationToken::new(), Arc::new(AtomicU64::new(after)));
        let follower = Follower { stop: stop.clone(), sent_seq: Arc::clone(&seq) };
        let previous = self.open.lock().insert(id, follower);
        if let Some(previous) = previous {
            previous.stop.cancel();
        }
        PendingFollower { id, after, delivery, stop, seq, growth }
    }

    /// Detaches the client. Returns the number of the last entry that it was sent; `None` if it was not attached.
    pub(crate) fn detach(&self, id: RunId) -> Option<u64> {
        let follower = self.open.lock().remove(&id)?;
        follower.stop.cancel();
        Some(follower.sent_seq.load(Ordering::Relaxed))
    }

    /// Forgets a follower that has sent the run's last entry, unless the client has attached again meanwhile.
    fn ended(&self, id: RunId, seq: &Arc<AtomicU64>) {
        let mut open = self.open.lock();
        if open.get(&id).is_some_and(|follower| Arc::ptr_eq(&follower.sent_seq, seq)) {
            open.remove(&id);
        }
    }
}

impl PendingFollower {
    /// Starts the task. The caller does so after it has queued the answer that announces the entries.
    pub(crate) fn start(self, server: &Arc<Server>) {
        let server = Arc::clone(server);
        tokio::spawn(async move {
            let stop = self.stop.clone();
            let (id, seq) = (self.id, Arc::clone(&self.seq));
            tokio::select! {
                () = stop.cancelled() => {}
                ended = self.follow(&server) => {
                    if let Err(failure) = ended {
                        tracing::error!(run = %id, %failure, "cannot follow the run any longer");
                    }
                    server.followers.ended(id, &seq);
                }
            }
        });
    }

    async fn follow(self, server: &Arc<Server>) -> Result<(), Failure> {
        match self.delivery {
            Delivery::Entries(filter) => self.follow_entries(filter, server).await,
            Delivery::Items => self.follow_items(server).await,
        }
    }

    async fn follow_entries(mut self, filter: KindFilter, server: &Arc<Server>) -> Result<(), Failure> {
        let interval = Duration::from_millis(server.client.output.min_interval_ms);
        let mut source = ReadSource { reader: Some(ForwardReader::new(self.id, self.after)), ahead: None };
        let mut due = Instant::now();
        let mut slow = false;
        loop {
            // The growth is taken before the read, so that a wake-up during the read is not lost.
            let growth = self.growth.as_mut().map(|growth| *growth.borrow_and_update());
            let ended = growth.is_none_or(|growth| growth.ended);
            if let Some(reader) = &mut source.reader {
                reader.set_woken(growth.is_some_and(|growth| growth.rotates_when_full && !growth.ended));
            }
            let sent = self.send_batch(filter, server, &mut source, slow || !interval.is_zero()).await?;
            slow = sent.was_blocked;
            if sent.is_final || (ended && !sent.has_lines) {
                return Ok(());
            }
            if sent.has_lines {
                due = Instant::now() + interval;
            }
            if let (true, false, Some(reader)) = (sent.at_end, ended, &source.reader) {
                self.wait(server, due, reader).await;
            }
        }
    }

    /// Waits until there may be more to send. Output is held back until `due`, or until enough of it waits; other
    /// entries are not held back.
    async fn wait(&mut self, server: &Server, due: Instant, reader: &ForwardReader) {
        let Some(growth) = &mut self.growth else { return };
        let enough = server.client.output.max_chunk_bytes;
        let waiting = async {
            loop {
                growth.changed().await?;
                let is_urgent = {
                    let growth = growth.borrow();
                    growth.rare > reader.seq() || growth.ended
                };
                if is_urgent || Instant::now() >= due || reader.has_unread_output(enough) {
                    return Ok(());
                }
                // Output is waiting, so from now on only the time until `due` matters.
                let until_due = tokio::time::timeout_at(due, growth.changed()).await;
                match until_due {
                    Ok(changed) => changed?,
                    Err(_) => return Ok(()),
                }
                growth.mark_changed();
            }
        };
        let result: Result<(), watch::error::RecvError> = waiting.await;
        if result.is_err() {
            // The link is gone; `follow` reads once more and then ends.
            self.growth = None;
        }
    }

    /// Takes the bulk lane, reads what follows and sends it.
    async fn send_batch(
        &self,
        filter: KindFilter,
        server: &Arc<Server>,
        source: &mut ReadSource,
        merges: bool,
    ) -> Result<BatchOutcome, Failure> {
        let mut bulk = server.out.bulk().await;
        let was_blocked = bulk.was_blocked();
        let mut lines = std::mem::take(&mut *server.scratch.lock());
        lines.clear();
        let read = self.read(server, source, &mut lines).await;
        let limit = usize::try_from(server.client.output.max_chunk_bytes).unwrap_or(usize::MAX);
        let mut merger = Merger::new(self.id, limit, merges);
        let mut is_final = false;
        for line in line::lines(&lines) {
            let kind = line::head(line).map(|head| head.kind);
            match kind {
                Some(Kind::Output) if filter.output => merger.line(line, &mut bulk),
                Some(Kind::Output) => {}
                Some(kind) => {
                    merger.finish(&mut bulk);
                    if filter.includes(kind) {
                        bulk.frame(kind.method(), &[line]);
                    }
                    if kind.is_rare() {
                        // The link reports this entry too; the first of the two counts.
                        server.broadcast.first_seen(self.id, line::head(line).map_or(0, |head| head.seq));
                    }
                    is_final |= kind == Kind::State && is_final_state(line);
                }
                None => tracing::error!(run = %self.id, "a line of the log is not an entry"),
            }
        }
        merger.finish(&mut bulk);
        let has_lines = !lines.is_empty();
        // A buffer that one huge entry has grown is freed.
        if lines.capacity() <= MAX_SPARE_BUFFER_BYTES {
            *server.scratch.lock() = lines;
        }
        let (outcome, seq) = read?;
        if bulk.flush().await.is_err() {
            // The client is gone, and the connection's end drops this task.
            return std::future::pending().await;
        }
        self.seq.store(seq, Ordering::Relaxed);
        Ok(BatchOutcome {
            has_lines,
            at_end: matches!(outcome, ReadOutcome::Lines { at_end: true } | ReadOutcome::Nothing),
            is_final,
            was_blocked,
        })
    }

    /// Reads a log, which is in memory, on this thread, and everything else on a blocking one. Returns also the number
    /// of the last entry that was read.
    async fn read(&self, server: &Arc<Server>, source: &mut ReadSource, lines: &mut Vec<u8>) -> Result<(ReadOutcome, u64), Failure> {
        if let Some(reader) = source.reader.as_mut().filter(|reader| reader.is_in_log()) {
            let outcome = reader.read(&server.history, MAX_BATCH_BYTES, lines)?;
            return Ok((outcome, reader.seq()));
        }
        let task = match source.ahead.take() {
            Some(ahead) => ahead.task,
            None => spawn_read(server, source.reader.take().expect("a reader that does not read ahead is here"), std::mem::take(lines)),
        };
        let (reader, buffer, outcome) = task.await.map_err(|error| Failure::internal(format!("cannot read the log: {error}")))?;
        let mut spare = std::mem::replace(lines, buffer);
        let seq = reader.seq();
        let more_is_sealed = matches!(outcome, Ok(ReadOutcome::Lines { at_end: false })) && !reader.is_in_log();
        match Arc::clone(&server.read_ahead).try_acquire_owned() {
            Ok(permit) if more_is_sealed => {
                spare.clear();
                source.ahead = Some(ReadAhead { task: spawn_read(server, reader, spare), _permit: permit });
            }
            _ => source.reader = Some(reader),
        }
        Ok((outcome?, seq))
    }
}

type ReadTask = JoinHandle<(ForwardReader, Vec<u8>, Result<ReadOutcome, HistoryError>)>;

/// Where a follower's lines come from: an idle reader, or one that is reading ahead.
struct ReadSource {
    reader: Option<ForwardReader>,
    ahead: Option<ReadAhead>,
}

/// A block that is being decoded while the one before it is sent.
struct ReadAhead {
    task: ReadTask,
    _permit: OwnedSemaphorePermit,
}

fn spawn_read(server: &Server, mut reader: ForwardReader, mut lines: Vec<u8>) -> ReadTask {
    let history = server.history.clone();
    tokio::task::spawn_blocking(move || {
        let outcome = reader.read(&history, MAX_BATCH_BYTES, &mut lines);
        (reader, lines, outcome)
    })
}

/// What [`PendingFollower::send_batch`] sent.
struct BatchOutcome {
    has_lines: bool,
    /// The batch reached the end of what was there.
    at_end: bool,
    is_final: bool,
    was_blocked: bool,
}

pub(super) fn is_final_state(line: &[u8]) -> bool {
    matches!(line::parse(line), Ok(crate::model::Entry::State(entry)) if RunState::is_final(entry.state))
}
