//! Drives the conversation of a run's agent: hands it lines of output and performs the actions that it returns.
//!
//! The log holds everything that an agent means before it is shown to any server, just as its output. If the log takes
//! nothing, the next action waits and nothing more is read.

use std::io;

use serde_json::{Value, json, value::RawValue};
use tokio::time::{Duration, Instant};

use super::{
    agent::Agent,
    input::Waiter,
    now,
    phase::EndReason,
    run::Supervisor,
    state_entry,
    stop::DEFAULT_GRACE,
    timers::{StartCheck, StartDeadline, Timer},
};
use crate::{
    claims::Claim,
    log::append::Reserve,
    model::{
        Entry, Failure, PermissionEntry, RunId, RunState, SessionEntry, StateEntry, UpdateEntry,
        calls::{Prompt, RunSettings, SendResult},
        control::{Event, line},
        task,
    },
    process::tree::ObservedProcess,
    provider::{Action, Answer, Conversation, EntryBody},
};

/// How long lines are interpreted before servers get their turn.
const MAX_LINES_TIME: Duration = Duration::from_millis(20);
/// How long a program may take to end once its conversation is over; then it gets SIGTERM.
const FINISH_TIMEOUT: Duration = Duration::from_secs(3);
/// How long an interrupt may wait for its turn to end: in fact, until `Action::TurnEnded` answers it.
const TURN_END_TIMEOUT: Duration = Duration::from_secs(86_400);
/// How long an agent may be idle with no client attached, unless the client says otherwise.
const DEFAULT_KEEP_IDLE_MS: u64 = 30 * 60 * 1000;
/// How long a command that its agent left behind may take to end after SIGTERM.
const COMMAND_GRACE: Duration = Duration::from_millis(500);

impl Supervisor {
    /// Lets the conversation handle an event, and performs the actions that follow.
    pub(super) fn converse(&mut self, handle: impl FnOnce(&mut Conversation)) {
        if let Some(agent) = &mut self.agent {
            handle(&mut agent.conversation);
            self.perform_actions();
        }
    }

    /// Interprets bytes of stdout that are in the log.
    pub(super) fn interpret_output(&mut self, bytes: &[u8]) {
        let Some(agent) = &mut self.agent else { return };
        agent.lines.push(bytes);
        self.handle_lines();
    }

    /// Hands whole lines to the conversation, one at a time, for as long as the log takes what they mean. An agent that says much
    /// holds up no command: after a while servers get their turn, and the rest follows.
    pub(super) fn handle_lines(&mut self) {
        let begun = Instant::now();
        while !self.is_held {
            let Some(agent) = &mut self.agent else { return };
            agent.has_waiting_lines = false;
            let Some(line) = agent.lines.next() else { return };
            agent.handle_line(&line);
            agent.has_waiting_lines = begun.elapsed() >= MAX_LINES_TIME;
            let must_yield = agent.has_waiting_lines;
            self.perform_actions();
            if must_yield {
                return;
            }
        }
    }

    pub(super) fn has_waiting_lines(&self) -> bool {
        self.agent.as_ref().is_some_and(|agent| agent.has_waiting_lines)
    }

    /// Performs the conversation's actions in order. An action that the log does not take is put back, and `hold`
    /// retries it.
    pub(super) fn perform_actions(&mut self) {
        while let Some(action) = self.agent.as_mut().and_then(|agent| agent.conversation.next_action()) {
            if let Err(error) = self.perform(&action, Reserve::Untouched) {
                if let Some(agent) = &mut self.agent {
                    agent.conversation.put_back(action);
                }
                return self.hold(&error);
            }
        }
        self.update_clocks();
    }

    fn perform(&mut self, action: &Action, reserve: Reserve) -> io::Result<()> {
        match action {
            Action::Log(body) => self.log_body(body, reserve)?,
            Action::Write(bytes) => {
                // A program that closed its stdin will say why, or end.
                self.stdin.send(bytes.clone(), None).ok();
                self.write_stdin();
            }
            Action::CloseStdin => {
                self.stdin.close(None);
                self.write_stdin();
            }
            Action::TurnStarted => {
                let running = self.tree.running();
                self.with_agent(|agent| agent.running_before_turn = running);
            }
            Action::TurnEnded => {
                for waiter in self.timers.take_interrupt_waiters() {
                    self.answer(waiter, Ok(json!({})));
                }
            }
            Action::EndCommands => self.end_commands(),
            Action::Offer(offer) => {
                self.log.update_run(|run| run.agent.get_or_insert_default().merge(offer))?;
                self.broadcast_run();
            }
            Action::QueueLength(waiting) => {
                let waiting = (*waiting > 0).then_some(*waiting);
                self.log.update_run(|run| run.queued = waiting)?;
                self.broadcast_run();
            }
            Action::SetTimer { after, token } => self.timers.set(Instant::now() + *after, Timer::Conversation(*token)),
            Action::SetStartDeadline { limit, token } => {
                let (at, deadline) = StartDeadline::set(*limit, *token, Instant::now());
                self.timers.set(at, Timer::ProgramStart(deadline));
            }
            Action::Finish => self.timers.reset(Instant::now() + FINISH_TIMEOUT, Timer::FinishTimeout),
        }
        Ok(())
    }

    fn with_agent(&mut self, change: impl FnOnce(&mut Agent)) {
        if let Some(agent) = &mut self.agent {
            change(agent);
        }
    }

    fn log_body(&mut self, body: &EntryBody, reserve: Reserve) -> io::Result<()> {
        let (id, at) = (self.log.run().id, now());
        let offered = matches!(body, EntryBody::Update(_)).then(|| self.log.run().agent.clone());
        let line = self.log.entry(|seq| entry(body, id, seq, at), reserve)?;
        match body {
            EntryBody::Update(_) => {
                self.connections.values().for_each(|server| server.connection.wake());
                if offered.is_some_and(|offered| offered != self.log.run().agent) {
                    self.broadcast_run();
                }
            }
            EntryBody::Session(session) => {
                self.broadcast_entry(line)?;
                self.log.sync_now();
                let dir = self.dir.path().parent().unwrap_or(self.dir.path()).to_owned();
                self.with_agent(|agent| {
                    if agent.claim.as_ref().is_none_or(|claim| !claim.is_of_session(&session.id)) {
                        // No other run can hold a session that was created just now; if one does, the session is that
                        // run's.
                        agent.claim = Claim::take_session(&dir, &session.id, id).ok().or(agent.claim.take());
                    }
                });
            }
            EntryBody::Permission { .. } | EntryBody::State { .. } => self.broadcast_entry(line)?,
        }
        if matches!(body, EntryBody::State { state: RunState::AwaitingPermission, .. }) {
            self.notify_waiting();
        }
        Ok(())
    }

    /// Sends a rare entry that is in the log to every server.
    pub(super) fn broadcast_entry(&self, entry: Vec<u8>) -> io::Result<()> {
        let entry = RawValue::from_string(String::from_utf8(entry).map_err(io::Error::other)?)?;
        let entry = line(&Event::Entry(entry));
        self.connections.values().for_each(|server| server.connection.wake());
        self.connections.values().for_each(|server| server.connection.send_line(&entry));
        Ok(())
    }

    // Commands of servers to an agent.

    pub(super) fn prompt(&mut self, prompt: &Prompt, steer: bool) -> Result<Value, Failure> {
        let Some(agent) = &mut self.agent else {
            return Err(Failure::invalid_params("prompt", "a command takes text, not content blocks; send `text`"));
        };
        let prompt_id = agent.conversation.send(task::blocks(prompt), steer)?;
        self.perform_actions();
        Ok(json!(SendResult { prompt_id }))
    }

    pub(super) fn unqueue(&mut self, prompt_id: u64) -> Result<Value, Failure> {
        let Some(agent) = &mut self.agent else {
            return Err(Failure::unsupported("queue", "a command has no queue of prompts"));
        };
        let taken = agent.conversation.unqueue(prompt_id)?;
        self.perform_actions();
        Ok(json!(taken))
    }

    pub(super) fn configure(&mut self, settings: RunSettings) -> Result<Value, Failure> {
        let Some(agent) = &mut self.agent else {
            return Err(Failure::unsupported("configure", "a command has no model and no permissions to configure"));
        };
        agent.conversation.configure(settings)?;
        self.perform_actions();
        Ok(json!(self.log.snapshot()))
    }

    pub(super) fn answer_question(&mut self, permission_id: &str, answer: Answer) -> Result<Value, Failure> {
        let Some(agent) = &mut self.agent else {
            return Err(Failure::unsupported("permissions", "a command makes no permission requests"));
        };
        if !self.stdin.takes_more() && agent.conversation.is_awaiting_permission() {
            let message = "the agent takes no more input, so the answer cannot reach it; the run is about to end";
            return Err(Failure::unsupported("permissions", message));
        }
        agent.conversation.answer(permission_id, answer)?;
        self.perform_actions();
        Ok(json!({}))
    }

    /// Stops the turn of an agent. The waiter is answered when the turn has ended, or at once if none runs.
    pub(super) fn interrupt_agent(&mut self, waiter: Waiter) {
        let Some(agent) = &mut self.agent else { return };
        if agent.conversation.is_in_turn() {
            self.timers.set(Instant::now() + TURN_END_TIMEOUT, Timer::InterruptAnswer(waiter));
            agent.conversation.interrupt();
            self.perform_actions();
        } else {
            self.answer(waiter, Ok(json!({})));
        }
    }

    // Clocks.

    /// Stops the idle clock while the run waits for a person or for disk space, and starts it again afterwards.
    pub(super) fn update_clocks(&mut self) {
        let (is_attached, keep_idle) = (self.is_attached(), self.keep_idle());
        let Some(agent) = &self.agent else { return };
        let is_idle = agent.conversation.is_idle();
        if !is_idle || is_attached {
            self.timers.clear(&Timer::KeepIdle);
        } else if !self.timers.is_set(&Timer::KeepIdle)
            && let Some(at) = Instant::now().checked_add(keep_idle)
        {
            self.timers.set(at, Timer::KeepIdle);
        }
        if self.is_held || is_idle || agent.conversation.is_awaiting_permission() {
            self.watchdog.pause_idle_clock();
        } else {
            self.watchdog.resume_idle_clock();
        }
    }

    /// Ends the start of a program that takes too long, unless it is at work.
    pub(super) fn handle_start_deadline(&mut self, deadline: StartDeadline) {
        match deadline.check(self.tree.processor_time(), Instant::now()) {
            StartCheck::Later(at, deadline) => self.timers.set(at, Timer::ProgramStart(deadline)),
            StartCheck::Expired(token) => self.converse(|conversation| conversation.handle_timer(token)),
        }
    }

    fn keep_idle(&self) -> Duration {
        Duration::from_millis(self.spec.keep_idle_ms.unwrap_or(DEFAULT_KEEP_IDLE_MS))
    }

    fn end_commands(&mut self) {
        let leader = self.tree.leader();
        let Some(agent) = &self.agent else { return };
        let is_older = |process: &ObservedProcess| {
            agent.running_before_turn.iter().any(|before| before.pid == process.pid && before.started == process.started)
        };
        let commands: Vec<ObservedProcess> =
            self.tree.running().into_iter().filter(|process| process.pid != leader && !is_older(process)).collect();
        if !commands.is_empty() {
            self.tree.terminate_processes(&commands);
            self.timers.set(Instant::now() + COMMAND_GRACE, Timer::KillCommands(commands));
        }
    }

    // The end.

    /// Finishes the conversation, once the program has ended and all its output is logged.
    pub(super) async fn finish_agent(&mut self) {
        let Some(agent) = &mut self.agent else { return };
        // A full disk may have held up lines, and a program may end in the middle of one.
        while let Some(line) = agent.lines.next() {
            agent.handle_line(&line);
        }
        if let Some(rest) = agent.lines.take_rest() {
            agent.conversation.handle_line(&rest);
        }
        let exit = self.phase.exit().cloned().unwrap_or_default();
        let tail = agent.stderr_tail();
        agent.final_state = Some(agent.conversation.handle_exit(&exit, &tail));
        while let Some(action) = self.agent.as_mut().and_then(|agent| agent.conversation.next_action()) {
            while let Err(error) = self.perform(&action, Reserve::Untouched) {
                self.hold(&error);
                // A run that is being ended on a full disk keeps what fits into the reserve, and its final entry counts
                // what did not.
                if self.phase.reason().is_some() {
                    if self.perform(&action, Reserve::LateEntries).is_err() {
                        self.with_agent(|agent| agent.lost_actions += 1);
                    }
                    break;
                }
                tokio::time::sleep(super::stop::STORAGE_RETRY_INTERVAL).await;
            }
        }
        if let Some(claim) = self.agent.as_mut().and_then(|agent| agent.claim.take()) {
            claim.release();
        }
    }

    /// Ends a run whose session continues in another program. It ends as a cancelled run does, and `takenOverAt` tells
    /// why.
    pub(super) fn take_over(&mut self, waiter: Waiter) {
        if self.agent.is_none() {
            return self.answer(waiter, Err(Failure::unsupported("takeover", "a command has no session to take over")));
        }
        // A head that cannot be written now is written again with the next entry.
        self.log.update_run(|run| run.taken_over_at = Some(now())).ok();
        self.broadcast_run();
        self.cancel_waiters.push(waiter);
        self.end(EndReason::Cancelled, 3 * DEFAULT_GRACE);
    }
}

fn entry(body: &EntryBody, run_id: RunId, seq: u64, at: u64) -> Entry {
    match body {
        EntryBody::Session(session) => Entry::Session(SessionEntry { run_id, seq, at, session: session.clone() }),
        EntryBody::Update(update) => Entry::Update(UpdateEntry { run_id, seq, at, update: update.clone() }),
        EntryBody::Permission { permission_id, status } => {
            Entry::Permission(PermissionEntry { run_id, seq, at, permission_id: permission_id.clone(), status: status.clone() })
        }
        EntryBody::State { state, turn, end } => {
            let end = end.clone();
            Entry::State(StateEntry {
                turn: *turn,
                stop_reason: end.as_ref().map(|end| end.stop_reason.clone()),
                error: end.as_ref().and_then(|end| end.error.clone()),
                usage: end.and_then(|end| end.usage),
                at,
                ..state_entry(run_id, seq, *state)
            })
        }
    }
}
