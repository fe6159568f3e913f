//! A client that is attached to a run: a cursor into its log, and the task that moves it.
//!
//! Replay, live, reconnect and a slow client are the same code. A follower reads only in its turn at the output, into
//! the server's one buffer, so neither a long run nor many runs nor a client that has stopped reading makes the server
//! grow; and the log is the queue, so there is nothing to drop and nothing to repeat.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, watch},
    task::JoinHandle,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{Server, link::Growth, merge::Merger};
use crate::{
    history::{Forward, Found},
    model::{Failure, Kind, RunId, RunState, line},
};

/// Most log bytes that are sent in one turn: a request's answer waits for no more.
const TURN: usize = 256 << 10;
/// A buffer is kept for the next turn unless a huge entry has made it longer than this: a sealed block's lines fit in.
const KEPT: usize = 4 * TURN;

/// The runs that a client is attached to.
#[derive(Default)]
pub struct Followers {
    open: Mutex<BTreeMap<RunId, Follower>>,
}

/// One of them.
struct Follower {
    stop: CancellationToken,
    seq: Arc<AtomicU64>,
}

/// What of a run a client wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub output: bool,
    pub updates: bool,
}

impl Wanted {
    /// `kinds` chooses among output and updates; everything else always comes.
    pub fn of(kinds: Option<&[Kind]>) -> Self {
        let wants = |kind| kinds.is_none_or(|kinds| kinds.contains(&kind));
        Self { output: wants(Kind::Output), updates: wants(Kind::Update) }
    }

    fn includes(self, kind: Kind) -> bool {
        match kind {
            Kind::Output => self.output,
            Kind::Update => self.updates,
            Kind::Session | Kind::Permission | Kind::State => true,
        }
    }
}

/// A follower that is known but does not run yet: from its making on, the client hears of the run only through it.
#[must_use = "it must be started, after the answer"]
pub struct Ready {
    id: RunId,
    after: u64,
    wanted: Wanted,
    stop: CancellationToken,
    seq: Arc<AtomicU64>,
    grown: Option<watch::Receiver<Growth>>,
}

impl Followers {
    pub fn is_attached(&self, id: RunId) -> bool {
        self.open.lock().expect("nobody panics while holding this").contains_key(&id)
    }

    /// Attaches the client to a run, or moves its cursor. `grown` is `None` for a run that has no link: it has ended.
    pub fn attach(&self, id: RunId, after: u64, wanted: Wanted, grown: Option<watch::Receiver<Growth>>) -> Ready {
        let (stop, seq) = (CancellationToken::new(), Arc::new(AtomicU64::new(after)));
        let follower = Follower { stop: stop.clone(), seq: Arc::clone(&seq) };
        let before = self.open.lock().expect("nobody panics while holding this").insert(id, follower);
        if let Some(before) = before {
            before.stop.cancel();
        }
        Ready { id, after, wanted, stop, seq, grown }
    }

    /// Detaches the client. Returns the last entry that it was sent; `None` if it was not attached.
    pub fn detach(&self, id: RunId) -> Option<u64> {
        let follower = self.open.lock().expect("nobody panics while holding this").remove(&id)?;
        follower.stop.cancel();
        Some(follower.seq.load(Ordering::Relaxed))
    }

    /// A follower has sent the run's last entry. Unless the client attached again meanwhile, it is attached no more.
    fn ended(&self, id: RunId, seq: &Arc<AtomicU64>) {
        let mut open = self.open.lock().expect("nobody panics while holding this");
        if open.get(&id).is_some_and(|follower| Arc::ptr_eq(&follower.seq, seq)) {
            open.remove(&id);
        }
    }
}

impl Ready {
    /// Begins to send. To be called after the answer that announces it has been queued.
    pub fn start(self, server: &Arc<Server>) {
        let server = Arc::clone(server);
        tokio::spawn(async move {
            let stop = self.stop.clone();
            let (id, seq) = (self.id, Arc::clone(&self.seq));
            tokio::select! {
                () = stop.cancelled() => {}
                ended = self.follow(&server) => {
                    if let Err(failure) = ended {
                        tracing::error!(run = %id, %failure, "the run cannot be followed any more");
                    }
                    server.followers.ended(id, &seq);
                }
            }
        });
    }

    async fn follow(mut self, server: &Arc<Server>) -> Result<(), Failure> {
        let interval = Duration::from_millis(server.client.output.min_interval_ms);
        let mut source = Source { reader: Some(Forward::new(self.id, self.after)), ahead: None };
        let mut due = Instant::now();
        let mut slow = false;
        loop {
            // Before the read: a wake-up that comes while it goes on must not be lost.
            let ended = self.grown.as_mut().is_none_or(|grown| grown.borrow_and_update().ended);
            let sent = self.turn(server, &mut source, slow || !interval.is_zero()).await?;
            slow = sent.was_blocked;
            if sent.is_final || (ended && !sent.lines) {
                return Ok(());
            }
            if sent.lines {
                due = Instant::now() + interval;
            }
            if let (true, false, Some(reader)) = (sent.all, ended, &source.reader) {
                self.wait(server, due, reader).await;
            }
        }
    }

    /// Waits until there may be more to send. Output is held back until `due`, or until enough of it waits; other
    /// entries are not held back.
    async fn wait(&mut self, server: &Server, due: Instant, reader: &Forward) {
        let Some(grown) = &mut self.grown else { return };
        let enough = server.client.output.max_chunk_bytes;
        let held = async {
            loop {
                grown.changed().await?;
                let is_urgent = {
                    let growth = grown.borrow();
                    growth.rare > reader.seq() || growth.ended
                };
                if is_urgent || Instant::now() >= due || reader.waits_for(enough) {
                    return Ok(());
                }
                // Something waits: from now on it is only a matter of time.
                let until_due = tokio::time::timeout_at(due, grown.changed()).await;
                match until_due {
                    Ok(changed) => changed?,
                    Err(_) => return Ok(()),
                }
                grown.mark_changed();
            }
        };
        let held: Result<(), watch::error::RecvError> = held.await;
        if held.is_err() {
            // The link is gone: there is one last thing to read.
            self.grown = None;
        }
    }

    /// One turn at the output: reads what follows and sends it.
    async fn turn(&self, server: &Arc<Server>, source: &mut Source, joins: bool) -> Result<Sent, Failure> {
        let mut bulk = server.out.bulk().await;
        let was_blocked = bulk.was_blocked();
        let mut lines = std::mem::take(&mut *server.scratch.lock().expect("nobody panics while holding this"));
        lines.clear();
        let read = self.read(server, source, &mut lines).await;
        let limit = usize::try_from(server.client.output.max_chunk_bytes).unwrap_or(usize::MAX);
        let mut merger = Merger::new(self.id, limit, joins);
        let mut is_final = false;
        for line in line::lines(&lines) {
            let kind = line::head(line).map(|head| head.kind);
            match kind {
                Some(Kind::Output) if self.wanted.output => merger.line(line, &mut bulk),
                Some(Kind::Output) => {}
                Some(kind) => {
                    merger.finish(&mut bulk);
                    if self.wanted.includes(kind) {
                        bulk.frame(kind.method(), &[line]);
                    }
                    if kind.is_rare() {
                        // The link tells of it too; whichever comes first counts.
                        server.links.is_news(self.id, line::head(line).map_or(0, |head| head.seq));
                    }
                    is_final |= kind == Kind::State && is_final_state(line);
                }
                None => tracing::error!(run = %self.id, "a line of the log is no entry"),
            }
        }
        merger.finish(&mut bulk);
        let any = !lines.is_empty();
        // A buffer that one huge entry has grown is given back.
        if lines.capacity() <= KEPT {
            *server.scratch.lock().expect("nobody panics while holding this") = lines;
        }
        let (found, seq) = read?;
        if bulk.flush().await.is_err() {
            // The client is gone; so will this task be, with the connection.
            return std::future::pending().await;
        }
        self.seq.store(seq, Ordering::Relaxed);
        Ok(Sent { lines: any, all: matches!(found, Found::Lines { all: true } | Found::Nothing), is_final, was_blocked })
    }

    /// Reads a log, which is in memory, at once; everything else on another thread. Answers also up to which entry.
    async fn read(&self, server: &Arc<Server>, source: &mut Source, lines: &mut Vec<u8>) -> Result<(Found, u64), Failure> {
        if let Some(reader) = source.reader.as_mut().filter(|reader| reader.is_in_log()) {
            let found = reader.read(&server.history, TURN, lines)?;
            return Ok((found, reader.seq()));
        }
        let reading = match source.ahead.take() {
            Some(ahead) => ahead.reading,
            None => begin_to_read(server, source.reader.take().expect("it reads ahead or stands here"), std::mem::take(lines)),
        };
        let (reader, buffer, found) = reading.await.map_err(|error| Failure::internal(format!("reading the log failed: {error}")))?;
        let mut spare = std::mem::replace(lines, buffer);
        let seq = reader.seq();
        let more_is_sealed = matches!(found, Ok(Found::Lines { all: false })) && !reader.is_in_log();
        match Arc::clone(&server.ahead).try_acquire_owned() {
            Ok(permit) if more_is_sealed => {
                spare.clear();
                source.ahead = Some(Ahead { reading: begin_to_read(server, reader, spare), _permit: permit });
            }
            _ => source.reader = Some(reader),
        }
        Ok((found?, seq))
    }
}

type Reading = JoinHandle<(Forward, Vec<u8>, Result<Found, Failure>)>;

/// Where a follower's lines come from: a reader that stands still, or one that is reading ahead.
struct Source {
    reader: Option<Forward>,
    ahead: Option<Ahead>,
}

/// What is being decoded while what came before it is sent.
struct Ahead {
    reading: Reading,
    _permit: OwnedSemaphorePermit,
}

fn begin_to_read(server: &Server, mut reader: Forward, mut lines: Vec<u8>) -> Reading {
    let history = server.history.clone();
    tokio::task::spawn_blocking(move || {
        let found = reader.read(&history, TURN, &mut lines);
        (reader, lines, found)
    })
}

struct Sent {
    lines: bool,
    /// Everything that was there.
    all: bool,
    is_final: bool,
    was_blocked: bool,
}

fn is_final_state(line: &[u8]) -> bool {
    matches!(line::parse(line), Ok(crate::model::Entry::State(entry)) if RunState::is_final(entry.state))
}
