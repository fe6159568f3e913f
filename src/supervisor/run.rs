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
    agent::Agent,
    control::{Connection, Heard, Words},
    input::{Stdin, Waiter},
    phase::{Ending, Phase, STORAGE_RETRY, now},
    pump::{Pump, Read},
    stop::{self, GRACE, Tree},
    watchdog::Watchdog,
    words::{Orders, Said, Word, line},
};
use crate::{
    log::{Appender, Description, RunDir, append::Room, text},
    model::{
        Failure, Run, RunError, Stream,
        calls::{OnDisconnect, Prompt},
    },
    process::{own, spawn::Spawned},
    provider::Answer,
};

/// How often a sweep looks again, beside being told of each end.
const SWEEP_TICK: Duration = Duration::from_millis(20);
/// After this a run is taken to have begun.
const SETTLING: Duration = Duration::from_millis(500);
/// How long an interrupt waits for the program to end by it. One that goes on (a shell, a debugger) has been interrupted too.
const INTERRUPT_PATIENCE: Duration = Duration::from_millis(1000);
/// How long a closed stdin may be the first sign of the program's end.
const REFUSAL_DELAY: Duration = Duration::from_millis(100);

/// A run under supervision.
pub struct Supervisor {
    pub(super) orders: Orders,
    pub(super) dir: RunDir,
    pub(super) log: Appender,
    pub(super) program: u32,
    pub(super) tree: Tree,
    pub(super) pumps: [Option<Pump>; 2],
    pub(super) stdin: Stdin,
    /// `None`: the program is a command, whose output has no other meaning.
    pub(super) agent: Option<Agent>,
    pub(super) connections: BTreeMap<u64, Attached>,
    pub(super) watchdog: Watchdog,
    pub(super) phase: Phase,
    pub(super) status: Option<WaitStatus>,
    /// An agent that was asked to end in its own way: when it is asked by a signal.
    pub(super) polite_until: Option<Instant>,
    /// Why the run is being ended, if it does not end by itself.
    pub(super) ending: Option<Ending>,
    pub(super) interrupted: bool,
    pub(super) cancel_waiters: Vec<Waiter>,
    pub(super) interrupt_waiters: Vec<(Instant, Waiter)>,
    /// Whose words the program's closed stdin did not take: whether it has ended is known a moment later.
    pub(super) refused: Vec<(Instant, Waiter, Failure)>,
    pub(super) sync_waiters: Vec<(u64, Waiter)>,
    /// While the log takes nothing: when it is tried again.
    pub(super) held_until: Option<Instant>,
    /// When the code that only the first moments needed is given back.
    settles_at: Option<Instant>,
}

pub struct Attached {
    pub connection: Connection,
    attached: bool,
}

impl Supervisor {
    pub fn new(orders: Orders, dir: RunDir, log: Appender, program: Spawned, agent: Option<Agent>) -> io::Result<Self> {
        let pid = program.pid.as_raw_nonzero().get().cast_unsigned();
        let mut stdin = Stdin::new(program.stdin, orders.tty)?;
        if orders.tty && orders.stdin.is_none() && !orders.interactive && !orders.talks {
            // Nobody will type anything: as with /dev/null, the first read finds the end.
            stdin.close(None);
        }
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
            agent,
            connections: BTreeMap::new(),
            watchdog: Watchdog::new(&orders),
            phase: Phase::Running,
            status: None,
            polite_until: None,
            ending: None,
            interrupted: false,
            cancel_waiters: Vec::new(),
            interrupt_waiters: Vec::new(),
            refused: Vec::new(),
            sync_waiters: Vec::new(),
            held_until: None,
            settles_at: Some(Instant::now() + SETTLING),
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
        self.begin_agent();
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
    pub(super) fn log_output(&mut self, which: usize, room: Room) {
        let Some(pump) = &mut self.pumps[which] else { return };
        let limit = self.orders.max_output_bytes.map(|limit| limit.saturating_sub(self.log.bytes().total()));
        let waiting = pump.waiting();
        let kept = limit.map_or(waiting, |left| &waiting[..waiting.len().min(usize::try_from(left).unwrap_or(usize::MAX))]);
        let over = kept.len() < waiting.len();
        // Copied for an agent only: what it means comes after what it is.
        let (stream, meant) = (pump.stream, if self.agent.is_some() { kept.to_vec() } else { Vec::new() });
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
        match (&mut self.agent, stream) {
            (Some(_), Stream::Stdout) => self.understand(&meant),
            (Some(agent), Stream::Stderr) => agent.saw_stderr(&meant),
            (None, _) => {}
        }
        if over {
            self.end(Ending::OutputLimit(self.orders.max_output_bytes.unwrap_or(0)), GRACE);
        }
    }

    pub(super) fn write_stdin(&mut self) {
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

    pub(super) fn hear(&mut self, heard: Heard) {
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
            Word::Interrupt if self.agent.is_some() => return self.interrupt_agent(waiter),
            Word::Interrupt => {
                if self.status.is_none() {
                    self.interrupted = true;
                    self.tree.interrupt();
                }
                return self.interrupt_waiters.push((Instant::now() + INTERRUPT_PATIENCE, waiter));
            }
            Word::Send { text, prompt, steer } if self.agent.is_some() => match text.map(Prompt::Text).or(prompt) {
                Some(prompt) => self.prompt(&prompt, steer),
                None => Err(Failure::invalid_params("prompt", "there is nothing to send; give `prompt`")),
            },
            Word::Send { prompt: Some(Prompt::Blocks(_)), .. } => {
                Err(Failure::invalid_params("prompt", "a command takes text, not content blocks; send `text`"))
            }
            Word::Send { text, prompt, .. } => {
                let text = text.or(match prompt {
                    Some(Prompt::Text(text)) => Some(text),
                    _ => None,
                });
                match self.stdin.send(text.unwrap_or_default().into_bytes(), Some(waiter)) {
                    Ok(()) => return self.write_stdin(),
                    Err(failure) => Err(failure),
                }
            }
            Word::Answer { permission_id, option_id, message } => {
                self.settle_question(&permission_id, Answer { option: option_id, message })
            }
            Word::Configure { model, permissions } => match &mut self.agent {
                Some(agent) => {
                    let configured = agent.conversation.configure(model, permissions);
                    self.act();
                    configured.map(|()| json!(self.log.picture()))
                }
                None => Err(Failure::unsupported("configure", "a command has no model and no permissions to configure")),
            },
            Word::TakeOver => return self.take_over(waiter),
            Word::CloseInput if self.agent.is_some() => {
                if let Some(agent) = &mut self.agent {
                    agent.conversation.close_input();
                }
                self.act();
                Ok(json!({}))
            }
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
        Ok(json!(self.log.picture()))
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
        self.set_clocks();
    }

    pub(super) fn is_attached(&self) -> bool {
        self.connections.values().any(|server| server.attached)
    }

    pub(super) fn answer(&self, (connection, id): Waiter, result: Result<Value, Failure>) {
        if let Some(server) = self.connections.get(&connection) {
            server.connection.send(&Said::Answer { id, result });
        }
    }

    pub(super) fn broadcast_run(&self) {
        let changed = line(&Said::Changed(Box::new(self.log.picture())));
        self.connections.values().for_each(|server| server.connection.send_line(&changed));
    }

    // What the log and the clock say.

    /// The log takes nothing: hold the program (its pipes are not read) and try again each second.
    pub(super) fn hold(&mut self, error: &io::Error) {
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
        self.act();
        self.understand(&[]);
        if self.held_until.is_some() {
            return;
        }
        if held.is_some() {
            self.watchdog.go_on();
            self.set_clocks();
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
        let agent = self.agent.as_ref().and_then(|agent| agent.next(self.keep_idle()));
        let far = Instant::now() + Duration::from_secs(3600);
        let refused = self.refused.first().map(|(at, ..)| *at).filter(|_| self.status.is_none());
        let interrupted = self.interrupt_waiters.first().map(|(at, _)| *at);
        [phase, refused, interrupted, self.settles_at, self.held_until, self.watchdog.next(), agent, self.polite_until]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(far)
    }

    fn keep_deadlines(&mut self) {
        let now = Instant::now();
        if self.held_until.is_some_and(|at| at <= now) {
            self.retry_storage();
        }
        if self.settles_at.is_some_and(|at| at <= now) {
            self.settles_at = None;
            own::release_code();
        }
        for (_, waiter) in self.interrupt_waiters.extract_if(.., |(at, _)| *at <= now).collect::<Vec<_>>() {
            self.answer(waiter, Ok(json!({})));
        }
        if self.status.is_none() {
            for (_, waiter, failure) in self.refused.extract_if(.., |(at, ..)| *at <= now).collect::<Vec<_>>() {
                self.answer(waiter, Err(failure));
            }
        }
        self.keep_agent_deadlines(now);
        if self.polite_until.is_some_and(|at| at <= now) {
            self.polite_until = None;
            if matches!(self.phase, Phase::Stopping { .. }) {
                self.tree.terminate();
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
}

async fn readable(pump: &Option<Pump>) {
    match pump {
        Some(pump) => pump.readable().await,
        None => std::future::pending().await,
    }
}
