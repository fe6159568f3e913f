//! The main loop of a run. [`Supervisor`] owns everything about the run; connections and signals reach it as events.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io,
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
    time::{Instant, sleep_until},
};

use super::{
    agent::Agent,
    control::{EventReceiver, ServerConnection},
    input::{StdinWriter, Waiter},
    now,
    phase::{DueSignal, EndReason, Phase},
    pump::{Pump, PumpRead},
    stop::{DEFAULT_GRACE, ProcessTree, STORAGE_RETRY_INTERVAL},
    terminal::Terminal,
    timers::{Timer, Timers},
    watchdog::Watchdog,
};
use crate::{
    log::{Appender, RunDir, append::Reserve, text},
    model::{RunError, Stream, control::LaunchSpec},
    process::{current_process, signal_name::signal_name, spawn::SpawnedProgram},
    provider::{Conversation, Exit},
};

/// How long the code of the start is kept; it is freed once a run has begun.
const CODE_RELEASE_DELAY: Duration = Duration::from_millis(500);
/// How long we wait for the program's end after a write to its closed stdin has failed.
const REFUSAL_DELAY: Duration = Duration::from_millis(100);

/// How long the loop sleeps at most when nothing is due.
const MAX_SLEEP: Duration = Duration::from_secs(3600);

/// A run under supervision.
pub(crate) struct Supervisor {
    pub(super) spec: LaunchSpec,
    pub(super) dir: RunDir,
    pub(super) log: Appender,
    pub(super) tree: ProcessTree,
    pub(super) pumps: [Option<Pump>; 2],
    pub(super) stdin: StdinWriter,
    /// `None`: the program's outputs are pipes.
    pub(super) terminal: Option<Terminal>,
    /// `None`: the program is a command, whose output has no other meaning.
    pub(super) agent: Option<Agent>,
    pub(super) connections: BTreeMap<u64, ServerConnection>,
    pub(super) watchdog: Watchdog,
    pub(super) phase: Phase,
    pub(super) timers: Timers,
    /// The open permission requests at which the run began to wait.
    pub(super) known_requests: BTreeSet<String>,
    /// The program was sent SIGINT.
    pub(super) interrupted: bool,
    /// The log takes nothing.
    pub(super) is_held: bool,
    pub(super) cancel_waiters: Vec<Waiter>,
    /// The tokens of what was sent, newest first, with the answers.
    pub(super) sent_tokens: VecDeque<(String, Value)>,
    pub(super) sync_waiters: Vec<(u64, Waiter)>,
}

impl Supervisor {
    pub(crate) fn new(spec: LaunchSpec, dir: RunDir, log: Appender, program: SpawnedProgram, agent: Option<Agent>) -> io::Result<Self> {
        let pid = program.pid.as_raw_nonzero().get().cast_unsigned();
        let mut stdin = StdinWriter::new(program.stdin, spec.run.tty.is_some())?;
        if spec.run.tty.is_some() && spec.stdin.is_none() && !spec.interactive && !spec.protocol_on_stdin {
            // No client can type anything: as with /dev/null, the first read finds the end.
            stdin.close(None);
        }
        if let Some(text) = &spec.stdin {
            // The queue is empty, and its limit is that of a frame, so that `send` cannot refuse.
            stdin.send(text.clone().into_bytes(), None).ok();
            if !spec.interactive {
                stdin.close(None);
            }
        }
        let stderr = program.stderr.map(|fd| Pump::new(Stream::Stderr, fd, false)).transpose()?;
        Ok(Self {
            dir,
            log,
            tree: ProcessTree::new(spec.run.id.to_string(), pid, spec.keep.clone()),
            pumps: [Some(Pump::new(Stream::Stdout, program.stdout, spec.run.tty.is_some())?), stderr],
            stdin,
            terminal: spec.run.tty.map(Terminal::new),
            agent,
            connections: BTreeMap::new(),
            watchdog: Watchdog::new(&spec),
            phase: Phase::Running,
            timers: Timers::default(),
            known_requests: BTreeSet::new(),
            interrupted: false,
            is_held: false,
            cancel_waiters: Vec::new(),
            sent_tokens: VecDeque::new(),
            sync_waiters: Vec::new(),
            spec,
        })
    }

    /// Runs until the run is over, its log final and durable, and every server informed.
    pub(crate) async fn run(mut self, mut events: EventReceiver) -> io::Result<()> {
        let mut children = signal(SignalKind::child())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut durable = self.log.sync_status();
        // A child may have ended before the handler of SIGCHLD was installed.
        self.reap();
        // Whether the starter's client shows the terminal must be known before the first question of the program.
        while let Ok(event) = events.try_recv() {
            self.handle(event);
        }
        self.timers.set(Instant::now() + CODE_RELEASE_DELAY, Timer::ReleaseCode);
        self.converse(Conversation::start);
        while !self.phase.is_over() {
            let held = self.is_held;
            let has_lines = self.has_waiting_lines();
            tokio::select! {
                // Not ready at once, or the tasks that read from the connections would never run.
                () = tokio::task::yield_now(), if !held && has_lines => self.handle_lines(),
                () = readable(&self.pumps[0]), if !held && !has_lines => self.pump(0),
                () = readable(&self.pumps[1]), if !held => self.pump(1),
                () = self.stdin.writable(), if self.stdin.has_work() => self.write_stdin(),
                Some(event) = events.recv() => self.handle(event),
                _ = children.recv() => self.reap(),
                _ = terminate.recv() => self.end(EndReason::Cancelled, DEFAULT_GRACE.mul_f32(0.75)),
                Ok(()) = durable.changed() => self.note_durable(&mut durable),
                () = sleep_until(self.next_deadline()) => {}
            }
            self.handle_deadlines();
            self.advance();
        }
        self.finish(&mut events).await
    }

    // Events of the program.

    fn pump(&mut self, index: usize) {
        let Some(pump) = &mut self.pumps[index] else { return };
        if pump.read() == PumpRead::Ready {
            self.log_output(index, Reserve::Untouched);
        }
    }

    /// Moves the unlogged bytes of a pump into the log. If the log takes nothing, they stay in the pump and nothing
    /// more is read.
    pub(super) fn log_output(&mut self, index: usize, reserve: Reserve) {
        let Some(pump) = &mut self.pumps[index] else { return };
        let limit = self.spec.max_output_bytes.map(|limit| limit.saturating_sub(self.log.bytes().total()));
        let waiting = pump.unlogged();
        let accepted = limit.map_or(waiting, |left| &waiting[..waiting.len().min(usize::try_from(left).unwrap_or(usize::MAX))]);
        let over = accepted.len() < waiting.len();
        // Only an agent needs a copy: its lines are interpreted after they are logged.
        let (stream, agent_bytes) = (pump.stream, if self.agent.is_some() { accepted.to_vec() } else { Vec::new() });
        let pieces: Vec<&[u8]> = text::pieces(accepted, self.spec.chunk_bytes).collect();
        if !pieces.is_empty()
            && let Err(error) = self.log.output(now(), pump.stream, &pieces, reserve)
        {
            return self.hold(&error);
        }
        current_process::seam("log.appended");
        let replies = self.terminal.as_mut().map(|terminal| terminal.feed(accepted)).unwrap_or_default();
        pump.mark_logged();
        self.watchdog.note_output();
        self.connections.values().for_each(|server| server.connection.wake());
        match (&mut self.agent, stream) {
            (Some(_), Stream::Stdout) => self.interpret_output(&agent_bytes),
            (Some(agent), Stream::Stderr) => agent.push_stderr(&agent_bytes),
            (None, _) => {}
        }
        if !replies.is_empty() && !self.is_terminal_shown() {
            self.stdin.reply(replies);
            self.write_stdin();
        }
        if over {
            self.end(EndReason::OutputLimit(self.spec.max_output_bytes.unwrap_or(0)), DEFAULT_GRACE);
        }
    }

    pub(super) fn write_stdin(&mut self) {
        for (waiter, result) in self.stdin.write() {
            match result {
                Ok(()) => self.answer(waiter, Ok(json!({}))),
                Err(failure) => self.timers.set(Instant::now() + REFUSAL_DELAY, Timer::RefusedSend(waiter, failure)),
            }
        }
    }

    fn reap(&mut self) {
        let program = self.tree.leader();
        current_process::reap(|pid, status| {
            if pid == program {
                let exit = Exit { code: status.exit_status(), signal: status.terminating_signal().map(signal_name) };
                self.phase.note_exit(exit, Instant::now());
            }
        });
    }

    // Events of the log and of the clocks.

    /// The log takes nothing: leaves the pipes unread, which stops the program as soon as they are full, and tries
    /// again each second.
    pub(super) fn hold(&mut self, error: &io::Error) {
        let first = !std::mem::replace(&mut self.is_held, true);
        self.timers.reset(Instant::now() + STORAGE_RETRY_INTERVAL, Timer::RetryStorage);
        self.watchdog.pause_idle_clock();
        if first {
            let message =
                format!("cannot write to the log in {} ({error}); free some disk space, and the run continues", self.dir.path().display());
            // The head's space is allocated in advance; if even that write fails, servers are told all the same.
            self.log.update_run(|run| run.error = Some(RunError { kind: "storage".to_owned(), message })).ok();
            self.broadcast_run();
        }
    }

    fn retry_storage(&mut self) {
        self.is_held = false;
        for index in 0..2 {
            if self.pumps[index].as_ref().is_some_and(|pump| !pump.unlogged().is_empty()) {
                self.log_output(index, Reserve::Untouched);
            }
            if self.is_held {
                return;
            }
        }
        self.perform_actions();
        self.interpret_output(&[]);
        if self.is_held {
            return;
        }
        self.watchdog.resume_idle_clock();
        self.update_clocks();
        // A head that keeps the error for now is written again with the next entry.
        self.log.update_run(|run| run.error = None).ok();
        self.broadcast_run();
    }

    fn note_durable(&mut self, durable: &mut watch::Receiver<crate::log::SyncStatus>) {
        let status = durable.borrow_and_update().clone();
        // Readers of a head that cannot be written find an older one, which is no error.
        self.log.note_durable(status.durable_seq).ok();
        let (done, waiting) = std::mem::take(&mut self.sync_waiters).into_iter().partition(|(seq, _)| *seq <= status.durable_seq);
        self.sync_waiters = waiting;
        let done: Vec<(u64, Waiter)> = done;
        done.into_iter().for_each(|(_, waiter)| self.answer(waiter, Ok(json!(status.durable_seq))));
    }

    fn next_deadline(&self) -> Instant {
        let now = Instant::now();
        let deadlines = [self.phase.next_deadline(now), self.timers.next_deadline(), self.watchdog.next_deadline()];
        deadlines.into_iter().flatten().min().unwrap_or(now + MAX_SLEEP)
    }

    fn handle_deadlines(&mut self) {
        let now = Instant::now();
        for timer in self.timers.take_due(now) {
            self.handle_timer(timer);
        }
        if self.phase.is_running()
            && let Some((reason, grace)) = self.watchdog.due(now)
        {
            self.end(reason, grace);
        }
        match self.phase.take_due(now) {
            Some(DueSignal::Terminate) => self.tree.terminate(),
            Some(DueSignal::Kill) => self.tree.kill(),
            None => {}
        }
    }

    fn handle_timer(&mut self, timer: Timer) {
        match timer {
            Timer::RetryStorage => self.retry_storage(),
            Timer::ReleaseCode => current_process::release_code_pages(),
            Timer::InterruptAnswer(waiter) => self.answer(waiter, Ok(json!({}))),
            Timer::RefusedSend(waiter, failure) if self.phase.exit().is_none() => self.answer(waiter, Err(failure)),
            // The program has ended: the sender is answered once it is known how the run ended.
            Timer::RefusedSend(..) => self.timers.set(Instant::now() + MAX_SLEEP, timer),
            Timer::Conversation(token) => self.converse(|conversation| conversation.handle_timer(token)),
            Timer::ProgramStart(deadline) => self.handle_start_deadline(deadline),
            Timer::KillCommands(commands) => self.tree.kill_processes(&commands),
            Timer::KeepIdle => self.converse(Conversation::close_input),
            Timer::FinishTimeout => {
                if self.phase.finish(Instant::now()) {
                    self.tree.terminate();
                }
            }
        }
    }
}

async fn readable(pump: &Option<Pump>) {
    match pump {
        Some(pump) => pump.readable().await,
        None => std::future::pending().await,
    }
}
