//! The run's one loop: it owns everything about the run, and others send it words.

use std::{collections::BTreeMap, io, time::Duration};

use rustix::process::WaitStatus;
use serde_json::{Value, json};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
    time::{Instant, sleep_until},
};

use super::{
    birth::Words,
    control::{Connection, Heard},
    input::{Stdin, Waiter},
    pump::{Pump, Read},
    stop::{self, GRACE, Sweep, Swept, Tree},
    watchdog::Watchdog,
    words::{Orders, Said, Word, line},
};
use crate::{
    log::{Appender, Description, RunDir, append::Room, text},
    model::{Entry, Failure, Run, RunError, RunId, RunState, StateEntry, Stream, UnixMs, calls::OnDisconnect, entry::LeftProcess},
    process::{own, spawn::Spawned, tree},
};

/// How long a grandchild may hold the pipes after the program's end.
const DRAIN: Duration = Duration::from_secs(2);
/// How often a sweep looks again, beside being told of each end.
const SWEEP_TICK: Duration = Duration::from_millis(20);
/// How long a closed stdin may be the first sign of the program's end.
const REFUSAL_DELAY: Duration = Duration::from_millis(100);
/// How often a full disk is tried again.
const STORAGE_RETRY: Duration = Duration::from_secs(1);

/// A run under supervision.
pub struct Supervisor {
    orders: Orders,
    dir: RunDir,
    log: Appender,
    program: u32,
    tree: Tree,
    pumps: [Option<Pump>; 2],
    stdin: Stdin,
    connections: BTreeMap<u64, Attached>,
    watchdog: Watchdog,
    phase: Phase,
    status: Option<WaitStatus>,
    /// Why the run is being ended, if it does not end by itself.
    ending: Option<Ending>,
    interrupted: bool,
    cancel_waiters: Vec<Waiter>,
    /// Whose words the program's closed stdin did not take: whether it has ended is known a moment later.
    refused: Vec<(Instant, Waiter, Failure)>,
    sync_waiters: Vec<(u64, Waiter)>,
    /// While the log takes nothing: when it is tried again.
    held_until: Option<Instant>,
}

struct Attached {
    connection: Connection,
    attached: bool,
}

/// Where the run is on its way to the end.
#[derive(Debug)]
enum Phase {
    Running,
    /// The program was asked to end.
    Stopping {
        kill_at: Instant,
    },
    /// The program has ended; its pipes are read to their end.
    Draining {
        until: Instant,
        kill_at: Option<Instant>,
    },
    /// What is left of the tree is being ended.
    Sweeping(Sweep),
    Over(Vec<LeftProcess>),
}

/// Why a run is ended from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    Cancelled,
    TimedOut(String),
    OutputLimit(u64),
}

/// A state entry with nothing but the state.
pub fn state_entry(run_id: RunId, seq: u64, state: RunState) -> StateEntry {
    let at = now();
    StateEntry {
        run_id,
        seq,
        at,
        state,
        turn: None,
        stop_reason: None,
        exit_code: None,
        signal: None,
        error: None,
        usage: None,
        left: Vec::new(),
    }
}

/// The wall clock, in Unix milliseconds.
pub fn now() -> UnixMs {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

impl Supervisor {
    pub fn new(orders: Orders, dir: RunDir, log: Appender, program: Spawned) -> io::Result<Self> {
        let pid = program.pid.as_raw_nonzero().get().cast_unsigned();
        let mut stdin = Stdin::new(program.stdin, orders.tty)?;
        if let Some(text) = &orders.stdin {
            // Nothing can wait yet, and the limit is that of a frame.
            let _ = stdin.send(text.clone().into_bytes(), None);
            if !orders.interactive {
                stdin.close(None);
            }
        }
        Ok(Self {
            dir,
            log,
            program: pid,
            tree: Tree::new(orders.run.id.to_string(), pid, orders.keep.clone()),
            pumps: [Some(Pump::new(Stream::Stdout, program.stdout)?), program.stderr.map(|fd| Pump::new(Stream::Stderr, fd)).transpose()?],
            stdin,
            connections: BTreeMap::new(),
            watchdog: Watchdog::new(&orders),
            phase: Phase::Running,
            status: None,
            ending: None,
            interrupted: false,
            cancel_waiters: Vec::new(),
            refused: Vec::new(),
            sync_waiters: Vec::new(),
            held_until: None,
            orders,
        })
    }

    /// Runs until the run is over, its log final and durable, and every server told.
    pub async fn run(mut self, mut words: Words) -> io::Result<()> {
        let mut children = signal(SignalKind::child())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut durable = self.log.durable();
        // A child may have ended before we listened.
        self.reap();
        while !matches!(self.phase, Phase::Over(_)) {
            let held = self.held_until.is_some();
            tokio::select! {
                () = readable(&self.pumps[0]), if !held => self.pump(0),
                () = readable(&self.pumps[1]), if !held => self.pump(1),
                () = self.stdin.writable(), if self.stdin.has_work() => self.write_stdin(),
                Some(heard) = words.recv() => self.hear(heard),
                _ = children.recv() => self.reap(),
                _ = terminate.recv() => self.end(Ending::Cancelled, GRACE.mul_f32(0.75)),
                Ok(()) = durable.changed() => self.note_durable(&mut durable),
                () = sleep_until(self.next_deadline()) => {}
            }
            self.keep_deadlines();
            self.advance();
        }
        self.conclude(&mut words).await
    }

    // What comes from the program.

    fn pump(&mut self, which: usize) {
        let Some(pump) = &mut self.pumps[which] else { return };
        if pump.read() == Read::Ready {
            self.log_output(which, Room::Usual);
        }
    }

    /// Moves what waits in a pump into the log. If the log takes nothing, it goes on waiting and nothing more is read.
    fn log_output(&mut self, which: usize, room: Room) {
        let Some(pump) = &mut self.pumps[which] else { return };
        let limit = self.orders.max_output_bytes.map(|limit| limit.saturating_sub(self.log.bytes().total()));
        let waiting = pump.waiting();
        let kept = limit.map_or(waiting, |left| &waiting[..waiting.len().min(usize::try_from(left).unwrap_or(usize::MAX))]);
        let over = kept.len() < waiting.len();
        let pieces: Vec<&[u8]> = text::pieces(kept, self.orders.chunk_bytes).collect();
        if !pieces.is_empty()
            && let Err(error) = self.log.output(now(), pump.stream, &pieces, room)
        {
            return self.hold(&error);
        }
        own::seam("log.appended");
        pump.logged();
        self.watchdog.saw_output();
        self.connections.values().for_each(|server| server.connection.wake());
        if over {
            self.end(Ending::OutputLimit(self.orders.max_output_bytes.unwrap_or(0)), GRACE);
        }
    }

    fn write_stdin(&mut self) {
        for (waiter, result) in self.stdin.write() {
            match result {
                Ok(()) => self.answer(waiter, Ok(json!({}))),
                Err(failure) => self.refused.push((Instant::now() + REFUSAL_DELAY, waiter, failure)),
            }
        }
    }

    fn reap(&mut self) {
        let program = self.program;
        let mut found = None;
        stop::reap(|pid, status| {
            if pid == program {
                found = Some(status);
            }
        });
        self.status = found.or(self.status);
    }

    // What comes from servers.

    fn hear(&mut self, heard: Heard) {
        match heard {
            Heard::Opened(connection) => {
                // The first connection is the starter's, and its orders say whether it is attached.
                let attached = connection.id == 0 && self.orders.attached;
                connection.wake();
                self.connections.insert(connection.id, Attached { connection, attached });
            }
            Heard::Closed(id) => {
                self.set_attached(id, false);
                self.connections.remove(&id);
            }
            Heard::Credit(id) => {
                if let Some(server) = self.connections.get(&id) {
                    server.connection.credit();
                }
            }
            Heard::Asked(id, asked) => self.obey((id, asked.id), asked.word),
        }
    }

    fn obey(&mut self, waiter: Waiter, word: Word) {
        let result = match word {
            Word::Attached(attached) => {
                self.set_attached(waiter.0, attached);
                Ok(Value::Null)
            }
            Word::Cancel { grace_ms } => {
                self.cancel_waiters.push(waiter);
                return self.end(Ending::Cancelled, Duration::from_millis(grace_ms));
            }
            Word::Interrupt => {
                if self.status.is_none() {
                    self.interrupted = true;
                    self.tree.interrupt();
                }
                Ok(json!({}))
            }
            Word::Send { text } => match self.stdin.send(text.into_bytes(), Some(waiter)) {
                Ok(()) => return self.write_stdin(),
                Err(failure) => Err(failure),
            },
            Word::CloseInput => {
                self.stdin.close(Some(waiter));
                return self.write_stdin();
            }
            Word::Edit { title, labels, pinned } => self.edit(|run| {
                run.title = title.or(run.title.take());
                run.labels = labels.unwrap_or_else(|| std::mem::take(&mut run.labels));
                run.pinned = pinned.unwrap_or(run.pinned);
            }),
            Word::Sync { seq } => {
                let seq = seq.unwrap_or(u64::MAX).min(self.log.run().last_seq);
                if self.log.run().durable_seq < seq {
                    self.sync_waiters.push((seq, waiter));
                    return self.log.hurry();
                }
                Ok(json!(self.log.run().durable_seq))
            }
        };
        self.answer(waiter, result);
    }

    fn edit(&mut self, change: impl FnOnce(&mut Run)) -> Result<Value, Failure> {
        let failed = |error: io::Error| Failure::store(self.dir.path(), format!("the edit was not kept: {error}; make room and try again"));
        let mut run = Description::read(&self.dir).map_err(failed)?.run;
        change(&mut run);
        let description = Description { version: Description::VERSION, run: run.clone(), token: self.orders.token.clone() };
        description.write(&self.dir).map_err(failed)?;
        let edited = self.log.describe(|now| (now.title, now.labels, now.pinned) = (run.title, run.labels, run.pinned));
        edited.map_err(failed)?;
        self.broadcast_run();
        Ok(json!(self.log.run()))
    }

    fn set_attached(&mut self, id: u64, attached: bool) {
        let any_before = self.is_attached();
        if let Some(server) = self.connections.get_mut(&id) {
            server.attached = attached;
        }
        match (any_before, self.is_attached()) {
            (true, false) if self.orders.on_disconnect == OnDisconnect::Cancel => self.watchdog.abandoned(),
            (_, true) => self.watchdog.attended(),
            _ => {}
        }
    }

    fn is_attached(&self) -> bool {
        self.connections.values().any(|server| server.attached)
    }

    fn answer(&self, (connection, id): Waiter, result: Result<Value, Failure>) {
        if let Some(server) = self.connections.get(&connection) {
            server.connection.send(&Said::Answer { id, result });
        }
    }

    fn broadcast_run(&self) {
        let changed = line(&Said::Changed(Box::new(self.log.run().clone())));
        self.connections.values().for_each(|server| server.connection.send_line(&changed));
    }

    // What the log and the clock say.

    /// The log takes nothing: hold the program (its pipes are not read) and try again each second.
    fn hold(&mut self, error: &io::Error) {
        let first = self.held_until.is_none();
        self.held_until = Some(Instant::now() + STORAGE_RETRY);
        self.watchdog.stand_still();
        if first {
            let message = format!("the log in {} takes nothing more ({error}); make room, and the run goes on", self.dir.path().display());
            // The head's room is set aside; if even that fails, servers are told all the same.
            let _ = self.log.describe(|run| run.error = Some(RunError { kind: "storage".to_owned(), message }));
            self.broadcast_run();
        }
    }

    fn retry_storage(&mut self) {
        let held = self.held_until.take();
        for which in 0..2 {
            if self.pumps[which].as_ref().is_some_and(|pump| !pump.waiting().is_empty()) {
                self.log_output(which, Room::Usual);
            }
            if self.held_until.is_some() {
                return;
            }
        }
        if held.is_some() {
            self.watchdog.go_on();
            let _ = self.log.describe(|run| run.error = None);
            self.broadcast_run();
        }
    }

    fn note_durable(&mut self, durable: &mut watch::Receiver<crate::log::Durable>) {
        let reached = durable.borrow_and_update().clone();
        // A head that cannot be written is an older one for readers, no more.
        let _ = self.log.note_durable(reached.seq);
        let (done, waiting) = std::mem::take(&mut self.sync_waiters).into_iter().partition(|(seq, _)| *seq <= reached.seq);
        self.sync_waiters = waiting;
        let done: Vec<(u64, Waiter)> = done;
        done.into_iter().for_each(|(_, waiter)| self.answer(waiter, Ok(json!(reached.seq))));
    }

    fn next_deadline(&self) -> Instant {
        let phase = match &self.phase {
            Phase::Running | Phase::Over(_) => None,
            Phase::Stopping { kill_at } => Some(*kill_at),
            Phase::Draining { until, .. } => Some(*until),
            Phase::Sweeping(_) => Some(Instant::now() + SWEEP_TICK),
        };
        let far = Instant::now() + Duration::from_secs(3600);
        let refused = self.refused.first().map(|(at, ..)| *at).filter(|_| self.status.is_none());
        [phase, refused, self.held_until, self.watchdog.next()].into_iter().flatten().min().unwrap_or(far)
    }

    fn keep_deadlines(&mut self) {
        let now = Instant::now();
        if self.held_until.is_some_and(|at| at <= now) {
            self.retry_storage();
        }
        if self.status.is_none() {
            for (_, waiter, failure) in self.refused.extract_if(.., |(at, ..)| *at <= now).collect::<Vec<_>>() {
                self.answer(waiter, Err(failure));
            }
        }
        if matches!(self.phase, Phase::Running)
            && let Some((ending, grace)) = self.watchdog.due(now)
        {
            self.end(ending, grace);
        }
        if let Phase::Stopping { kill_at } = &mut self.phase
            && *kill_at <= now
        {
            // Again soon, for what was forked meanwhile.
            *kill_at = now + SWEEP_TICK;
            self.tree.kill();
        }
    }

    // The way to the end.

    /// Ends the run from outside. A shorter grace later wins; the first reason is the one that is told.
    fn end(&mut self, ending: Ending, grace: Duration) {
        let deadline = Instant::now() + grace;
        // A limit counts also for what a program wrote that has ended by now.
        if matches!(ending, Ending::OutputLimit(_)) && self.ending.is_none() {
            self.ending = Some(ending.clone());
        }
        match &mut self.phase {
            Phase::Running => {
                self.ending.get_or_insert(ending);
                self.phase = Phase::Stopping { kill_at: deadline };
                self.tree.terminate();
            }
            Phase::Stopping { kill_at } => *kill_at = deadline.min(*kill_at),
            Phase::Draining { until, kill_at } => {
                *until = deadline.min(*until);
                *kill_at = Some(kill_at.map_or(deadline, |at| at.min(deadline)));
            }
            Phase::Sweeping(sweep) => sweep.hurry(deadline),
            Phase::Over(_) => {}
        }
    }

    /// Moves the run on to its next phase, as far as things stand.
    fn advance(&mut self) {
        if self.status.is_some() {
            let kill_at = match self.phase {
                Phase::Running => Some(None),
                Phase::Stopping { kill_at } => Some(Some(kill_at)),
                _ => None,
            };
            if let Some(kill_at) = kill_at {
                let drained = Instant::now() + DRAIN;
                self.phase = Phase::Draining { until: kill_at.map_or(drained, |at: Instant| at.min(drained)), kill_at };
            }
        }
        if let Phase::Draining { until, kill_at } = self.phase {
            let ended = self.pumps.iter().flatten().all(|pump| !pump.is_open());
            // A full disk holds up the end of a run that ended by itself: nothing is dropped. One that is being ended
            // keeps what fits into the reserve and says what did not.
            let may_go_on = self.held_until.is_none() || kill_at.is_some();
            if (ended || Instant::now() >= until) && may_go_on {
                self.phase = Phase::Sweeping(Sweep::begin(kill_at));
            }
        }
        if let Phase::Sweeping(sweep) = &mut self.phase
            && let Swept::Done(left) = self.tree.sweep(sweep)
        {
            self.phase = Phase::Over(left);
        }
    }

    /// Writes the last words, makes them durable, and sees that every server has them.
    async fn conclude(mut self, words: &mut Words) -> io::Result<()> {
        self.read_what_is_left();
        let left = match &mut self.phase {
            Phase::Over(left) => std::mem::take(left),
            _ => Vec::new(),
        };
        let final_entry = self.final_entry(left);
        let line = loop {
            match self.log.entry(|seq| Entry::State(StateEntry { seq, ..final_entry.clone() }), Room::Last) {
                Ok(line) => break line,
                Err(error) => {
                    self.hold(&error);
                    tokio::time::sleep(STORAGE_RETRY).await;
                }
            }
        };
        own::seam("supervise.final");
        while let Ok(heard) = words.try_recv() {
            self.hear(heard);
        }
        let entry = serde_json::value::RawValue::from_string(String::from_utf8(line).map_err(io::Error::other)?)?;
        let last_words = super::words::line(&Said::Entry(entry));
        let run = self.log.run().clone();
        self.connections.values().for_each(|server| server.connection.wake());
        self.connections.values().for_each(|server| server.connection.send_line(&last_words));
        for waiter in std::mem::take(&mut self.cancel_waiters) {
            self.answer(waiter, Ok(json!(run)));
        }
        let refused = std::mem::take(&mut self.refused).into_iter().map(|(_, waiter, _)| waiter);
        for waiter in refused.chain(self.stdin.abandon()).collect::<Vec<_>>() {
            self.answer(waiter, Err(Failure::run_not_active(run.state)));
        }
        let connections: Vec<Connection> = self.connections.values().map(|server| server.connection.clone()).collect();
        let sync_waiters = std::mem::take(&mut self.sync_waiters);
        let durable = self.log.finish();
        for (_, (connection, id)) in sync_waiters {
            let result = match &durable {
                Ok(run) => Ok(json!(run.durable_seq)),
                Err(error) => Err(Failure::store(self.dir.path(), format!("the log is not durable: {error}"))),
            };
            if let Some(server) = self.connections.get(&connection) {
                server.connection.send(&Said::Answer { id, result });
            }
        }
        // A server that takes nothing (stopped, hung) finds everything in the log when it comes back.
        let flushed = connections.iter().map(|connection| connection.flush());
        let _ = tokio::time::timeout(Duration::from_secs(1), futures_util::future::join_all(flushed)).await;
        Ok(())
    }

    /// Reads what stands in the pipes without waiting: at most what a pipe holds, for a spared process may go on writing.
    fn read_what_is_left(&mut self) {
        for which in 0..2 {
            for _ in 0..16 {
                let Some(pump) = &mut self.pumps[which] else { break };
                let was_open = pump.is_open();
                if pump.read() == Read::Ready {
                    self.log_output(which, Room::Usual);
                } else if !was_open {
                    break;
                }
            }
            if let Some(pump) = &mut self.pumps[which] {
                pump.close();
                if !pump.waiting().is_empty() {
                    self.log_output(which, Room::Last);
                }
            }
        }
    }

    fn final_entry(&self, left: Vec<LeftProcess>) -> StateEntry {
        let run = self.log.run();
        let code = self.status.and_then(WaitStatus::exit_status);
        let signal = self.status.and_then(WaitStatus::terminating_signal).map(tree::signal_name);
        let name = run.command.first().map_or("the program", String::as_str);
        let failed = |kind: &str, message: String| Some(RunError { kind: kind.to_owned(), message });
        let unkept: usize = self.pumps.iter().flatten().map(|pump| pump.waiting().len()).sum();
        let (state, reason, error) = match (&self.ending, code, &signal) {
            (Some(Ending::TimedOut(message)), ..) => (RunState::TimedOut, "cancelled", failed("timeout", message.clone())),
            (Some(Ending::OutputLimit(limit)), ..) => (
                RunState::Cancelled,
                "cancelled",
                failed("outputLimit", format!("`{name}` wrote more than maxOutputBytes allows ({limit} bytes)")),
            ),
            (Some(Ending::Cancelled), ..) => (RunState::Cancelled, "cancelled", None),
            (None, Some(0), _) => (RunState::Succeeded, "end_turn", None),
            _ if self.interrupted && !self.orders.interactive => (RunState::Cancelled, "cancelled", None),
            (None, Some(code), _) => (RunState::Failed, "error", failed("provider", format!("`{name}` exited with code {code}"))),
            (None, None, Some(signal)) => (RunState::Failed, "error", failed("provider", format!("`{name}` was ended by {signal}"))),
            (None, None, None) => (RunState::Failed, "error", failed("supervisor", format!("how `{name}` ended is not known"))),
        };
        let error = match unkept {
            0 => error,
            bytes => failed("storage", format!("the disk is full; the last {bytes} bytes that `{name}` wrote could not be kept")),
        };
        StateEntry {
            turn: run.turn,
            stop_reason: Some(reason.to_owned()),
            exit_code: code,
            signal,
            error,
            left,
            ..state_entry(run.id, 0, state)
        }
    }
}

async fn readable(pump: &Option<Pump>) {
    match pump {
        Some(pump) => pump.readable().await,
        None => std::future::pending().await,
    }
}
