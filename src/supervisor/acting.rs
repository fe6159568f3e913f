//! What a run does for its agent: its lines go to the conversation, and what the conversation wants is done.
//!
//! Everything that an agent means is in the log before anybody is shown it, as its output is. If the log takes nothing, what is
//! to be done waits, and nothing more is read.

use std::{io, mem};

use serde_json::{Value, json, value::RawValue};
use tokio::time::{Duration, Instant};

use super::{
    agent::Agent,
    claim::Claim,
    input::Waiter,
    phase::{Ending, Phase, now, state_entry},
    run::Supervisor,
    stop::GRACE,
    words::{Said, line},
};
use crate::{
    log::append::Room,
    model::{Entry, Failure, PermissionEntry, RunId, SessionEntry, StateEntry, UpdateEntry, calls::Prompt},
    process::tree::Seen,
    provider::{Act, Answer, Body, Exit, task},
};

/// How long a program may take to end once its conversation is over; then it is asked less politely.
const FAREWELL: Duration = Duration::from_secs(3);
/// How long a command that its agent forgot may take to end.
const COMMAND_GRACE: Duration = Duration::from_millis(500);

impl Supervisor {
    /// The agent is told that its program runs.
    pub(super) fn begin_agent(&mut self) {
        if let Some(agent) = &mut self.agent {
            agent.conversation.begin();
            self.act();
        }
    }

    /// What was logged as output is given its meaning.
    pub(super) fn understand(&mut self, bytes: &[u8]) {
        let Some(agent) = &mut self.agent else { return };
        agent.lines.push(bytes);
        self.read_lines();
    }

    /// Whole lines are given to the conversation, one at a time, for as long as the log takes what they mean.
    fn read_lines(&mut self) {
        while self.held_until.is_none() {
            let Some(agent) = &mut self.agent else { return };
            let Some(line) = agent.lines.next() else { return };
            agent.take(&line);
            self.act();
        }
    }

    /// Does what the conversation wants, in its order.
    pub(super) fn act(&mut self) {
        while let Some(act) = self.agent.as_mut().and_then(|agent| agent.conversation.next_act()) {
            if let Err(error) = self.carry_out(&act, Room::Usual) {
                if let Some(agent) = &mut self.agent {
                    agent.conversation.put_back(act);
                }
                return self.hold(&error);
            }
        }
        self.set_clocks();
    }

    fn carry_out(&mut self, act: &Act, room: Room) -> io::Result<()> {
        match act {
            Act::Log(body) => self.log_body(body, room)?,
            Act::Write(bytes) => {
                // A program that closed its stdin will say why, or end.
                let _ = self.stdin.send(bytes.clone(), None);
                self.write_stdin();
            }
            Act::CloseStdin => {
                self.stdin.close(None);
                self.write_stdin();
            }
            Act::TurnBegins => {
                let running = self.tree.running();
                self.with_agent(|agent| agent.before_turn = running);
            }
            Act::TurnEnded => {
                for (_, waiter) in mem::take(&mut self.interrupt_waiters) {
                    self.answer(waiter, Ok(json!({})));
                }
            }
            Act::EndCommands => self.end_commands(),
            Act::Queued(waiting) => {
                let waiting = (*waiting > 0).then_some(*waiting);
                self.log.describe(|run| run.queued = waiting)?;
                self.broadcast_run();
            }
            Act::Wake { after, token } => {
                let alarm = (Instant::now() + *after, *token);
                self.with_agent(|agent| agent.alarms.push(alarm));
            }
            Act::Finish => {
                let farewell = Instant::now() + FAREWELL;
                self.with_agent(|agent| agent.farewell = Some(farewell));
            }
        }
        Ok(())
    }

    fn with_agent(&mut self, change: impl FnOnce(&mut Agent)) {
        if let Some(agent) = &mut self.agent {
            change(agent);
        }
    }

    fn log_body(&mut self, body: &Body, room: Room) -> io::Result<()> {
        let (id, at) = (self.log.run().id, now());
        let line = self.log.entry(|seq| entry(body, id, seq, at), room)?;
        match body {
            Body::Update(_) => self.connections.values().for_each(|server| server.connection.wake()),
            Body::Session(session) => {
                self.tell_entry(line)?;
                self.log.hurry();
                let dir = self.dir.path().parent().unwrap_or(self.dir.path()).to_owned();
                self.with_agent(|agent| {
                    if agent.claim.as_ref().is_none_or(|claim| !claim.is_of(&session.id)) {
                        // Nobody else can have a session that was made just now; if so, it is theirs.
                        agent.claim = Claim::take(&dir, &session.id, id).ok().or(agent.claim.take());
                    }
                });
            }
            Body::Permission { .. } | Body::State { .. } => self.tell_entry(line)?,
        }
        Ok(())
    }

    /// Tells every server of a rare entry that is in the log.
    pub(super) fn tell_entry(&self, entry: Vec<u8>) -> io::Result<()> {
        let entry = RawValue::from_string(String::from_utf8(entry).map_err(io::Error::other)?)?;
        let entry = line(&Said::Entry(entry));
        self.connections.values().for_each(|server| server.connection.wake());
        self.connections.values().for_each(|server| server.connection.send_line(&entry));
        Ok(())
    }

    // What servers ask of an agent.

    pub(super) fn prompt(&mut self, prompt: &Prompt, steer: bool) -> Result<Value, Failure> {
        let Some(agent) = &mut self.agent else {
            return Err(Failure::invalid_params("prompt", "a command takes text, not content blocks; send `text`"));
        };
        agent.conversation.send(task::blocks(prompt), steer)?;
        self.act();
        Ok(json!({}))
    }

    pub(super) fn settle_question(&mut self, permission_id: &str, answer: Answer) -> Result<Value, Failure> {
        let Some(agent) = &mut self.agent else {
            return Err(Failure::unsupported("permissions", "a command asks for no permissions"));
        };
        agent.conversation.answer(permission_id, answer)?;
        self.act();
        Ok(json!({}))
    }

    /// Stops the turn of an agent. The waiter is answered when it has ended, at once if none runs.
    pub(super) fn interrupt_agent(&mut self, waiter: Waiter) {
        let Some(agent) = &mut self.agent else { return };
        if agent.conversation.is_in_turn() {
            // Until the turn has ended, however long that takes.
            self.interrupt_waiters.push((Instant::now() + Duration::from_secs(86_400), waiter));
            agent.conversation.interrupt();
            self.act();
        } else {
            self.answer(waiter, Ok(json!({})));
        }
    }

    // Clocks.

    /// The idle clock stands still while the run waits for a person.
    pub(super) fn set_clocks(&mut self) {
        let attached = self.is_attached();
        let held = self.held_until.is_some();
        let Some(agent) = &mut self.agent else { return };
        let idle = agent.conversation.is_idle();
        match idle && !attached {
            true => agent.lonely_since = agent.lonely_since.or_else(|| Some(Instant::now())),
            false => agent.lonely_since = None,
        }
        if held || idle || agent.conversation.is_waiting_for_an_answer() {
            self.watchdog.stand_still();
        } else {
            self.watchdog.go_on();
        }
    }

    pub(super) fn keep_agent_deadlines(&mut self, now: Instant) {
        let keep_idle = self.keep_idle();
        let Some(agent) = &mut self.agent else { return };
        let due: Vec<u32> = agent.alarms.extract_if(.., |(at, _)| *at <= now).map(|(_, token)| token).collect();
        due.into_iter().for_each(|token| agent.conversation.woken(token));
        if let Some((_, commands)) = agent.forgotten.take_if(|(at, _)| *at <= now) {
            self.tree.end(&commands);
        }
        if agent.lonely_since.is_some_and(|since| since + keep_idle <= now) {
            agent.lonely_since = None;
            agent.conversation.close_input();
        }
        let farewell = agent.farewell.take_if(|at| *at <= now).is_some();
        self.act();
        if farewell && matches!(self.phase, Phase::Running) {
            self.phase = Phase::Stopping { kill_at: now + GRACE };
            self.tree.terminate();
        }
    }

    pub(super) fn keep_idle(&self) -> Duration {
        Duration::from_millis(self.orders.keep_idle_ms.unwrap_or(30 * 60 * 1000))
    }

    fn end_commands(&mut self) {
        let leader = self.program;
        let Some(agent) = &mut self.agent else { return };
        let is_older =
            |process: &Seen| agent.before_turn.iter().any(|before| before.pid == process.pid && before.started == process.started);
        let commands: Vec<Seen> = self.tree.running().into_iter().filter(|process| process.pid != leader && !is_older(process)).collect();
        if !commands.is_empty() {
            self.tree.ask_to_end(&commands);
            agent.forgotten = Some((Instant::now() + COMMAND_GRACE, commands));
        }
    }

    // The end.

    /// The last words of the conversation, once the program has ended and all its output is logged.
    pub(super) async fn conclude_agent(&mut self) {
        let Some(agent) = &mut self.agent else { return };
        // A full disk may have held up what some lines mean; and a program may end in the middle of one.
        while let Some(line) = agent.lines.next() {
            agent.take(&line);
        }
        if let Some(rest) = agent.lines.rest() {
            agent.conversation.line(&rest);
        }
        let exit = Exit { code: self.exit_code(), signal: self.exit_signal() };
        let agent = self.agent.as_mut().expect("it was just there");
        let tail = agent.stderr_tail();
        agent.verdict = Some(agent.conversation.ended(&exit, &tail));
        while let Some(act) = self.agent.as_mut().and_then(|agent| agent.conversation.next_act()) {
            while let Err(error) = self.carry_out(&act, Room::Usual) {
                self.hold(&error);
                // A run that is being ended on a full disk keeps what fits into the reserve, and says what did not.
                if self.ending.is_some() {
                    if self.carry_out(&act, Room::Late).is_err() {
                        self.with_agent(|agent| agent.unkept += 1);
                    }
                    break;
                }
                tokio::time::sleep(super::phase::STORAGE_RETRY).await;
            }
        }
        if let Some(claim) = self.agent.as_mut().and_then(|agent| agent.claim.take()) {
            claim.release();
        }
    }

    /// A run whose session goes on elsewhere ends as a cancelled one does, and says so.
    pub(super) fn take_over(&mut self, waiter: Waiter) {
        if self.agent.is_none() {
            return self.answer(waiter, Err(Failure::unsupported("takeover", "a command has no session that could be taken over")));
        }
        let _ = self.log.describe(|run| run.taken_over_at = Some(now()));
        self.broadcast_run();
        self.cancel_waiters.push(waiter);
        self.end(Ending::Cancelled, 3 * GRACE);
    }
}

fn entry(body: &Body, run_id: RunId, seq: u64, at: u64) -> Entry {
    match body {
        Body::Session(session) => Entry::Session(SessionEntry { run_id, seq, at, session: session.clone() }),
        Body::Update(update) => Entry::Update(UpdateEntry { run_id, seq, at, update: update.clone() }),
        Body::Permission { permission_id, status } => {
            Entry::Permission(PermissionEntry { run_id, seq, at, permission_id: permission_id.clone(), status: status.clone() })
        }
        Body::State { state, turn, end } => {
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
