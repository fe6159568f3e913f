//! Takes a run to its end: terminates the program, drains its pipes, sweeps its process tree, writes the final entry.

use std::{io, time::Duration};

use serde_json::json;
use tokio::time::Instant;

use super::{
    control::{ControlConnection, EventReceiver},
    phase::{AgentState, EndReason, Phase},
    pump::PumpRead,
    run::Supervisor,
    state_entry,
    stop::{EndedDaemon, STORAGE_RETRY_INTERVAL, SweepOutcome},
    update_entry,
};
use crate::{
    log::append::Reserve,
    model::{
        Entry, Failure, RunError, RunState, StateEntry,
        control::Event,
        entry::{LeftProcess, ResolvedBy, notice},
    },
    process::current_process,
    provider::Exit,
};

/// How long servers may take to read the final entry; one that is stopped finds it in the log.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// How many buffers are read from a pipe after the program's end, so that a spared process cannot hold up the run.
const MAX_FINAL_READS: u32 = 16;

/// How many daemons that a sweep ended are named.
const MAX_NAMED_DAEMONS: usize = 5;

impl Supervisor {
    /// Ends the run from outside, see [`Phase::end`].
    pub(super) fn end(&mut self, reason: EndReason, grace: Duration) {
        let by = if reason == EndReason::Cancelled { ResolvedBy::Client } else { ResolvedBy::Provider };
        let is_in_turn = self.agent.as_ref().is_some_and(|agent| agent.conversation.is_in_turn());
        let agent = AgentState { is_agent: self.agent.is_some(), is_in_turn };
        if !self.phase.end(reason, grace, agent, Instant::now()) {
            return;
        }
        if self.agent.is_none() {
            return self.tree.terminate();
        }
        // Without a grace nothing is waited for, the settling of what is open included.
        if grace.is_zero() {
            self.tree.kill();
        }
        // An agent ends in its own way first: its turn is stopped and its stdin closed.
        self.converse(|conversation| conversation.stop(by));
    }

    /// Moves the run to its next phase if the current one is over.
    pub(super) fn advance(&mut self) {
        let pipes_have_ended = self.pumps.iter().flatten().all(|pump| !pump.is_open());
        self.phase.note_drained(pipes_have_ended, self.is_held, Instant::now());
        if let Phase::Sweeping { sweep, .. } = &mut self.phase
            && let SweepOutcome::Done(left) = self.tree.sweep(sweep)
        {
            self.phase.note_swept(left);
        }
    }

    /// Writes the final entry, makes it durable, answers every waiter, and sends the entry to every server.
    pub(super) async fn finish(mut self, events: &mut EventReceiver) -> io::Result<()> {
        self.drain_pipes();
        self.finish_agent().await;
        let (left, daemons) = match &mut self.phase {
            Phase::Over { left, daemons, .. } => (std::mem::take(left), std::mem::take(daemons)),
            _ => (Vec::new(), Vec::new()),
        };
        self.log_ended_daemons(&daemons);
        let final_entry = self.final_entry(left);
        let line = loop {
            match self.log.entry(|seq| Entry::State(StateEntry { seq, ..final_entry.clone() }), Reserve::FinalEntry) {
                Ok(line) => break line,
                Err(error) => {
                    self.hold(&error);
                    tokio::time::sleep(STORAGE_RETRY_INTERVAL).await;
                }
            }
        };
        current_process::seam("supervise.final");
        while let Ok(event) = events.try_recv() {
            self.handle(event);
        }
        let entry = serde_json::value::RawValue::from_string(String::from_utf8(line).map_err(io::Error::other)?)?;
        let final_line = crate::model::control::line(&Event::Entry(entry));
        let run = self.log.snapshot();
        self.connections.values().for_each(|server| server.connection.wake());
        self.connections.values().for_each(|server| server.connection.send_line(&final_line));
        self.notify_ended();
        for waiter in self.timers.take_interrupt_waiters() {
            self.answer(waiter, Ok(json!({})));
        }
        for waiter in std::mem::take(&mut self.cancel_waiters) {
            self.answer(waiter, Ok(json!(run)));
        }
        for waiter in self.timers.take_refused_senders().into_iter().chain(self.stdin.abandon()) {
            self.answer(waiter, Err(Failure::run_not_active(run.state)));
        }
        let connections: Vec<ControlConnection> = self.connections.values().map(|server| server.connection.clone()).collect();
        let sync_waiters = std::mem::take(&mut self.sync_waiters);
        let durable = self.log.finish();
        for (_, (connection, id)) in sync_waiters {
            let result = match &durable {
                Ok(run) => Ok(json!(run.durable_seq)),
                Err(error) => Err(Failure::store(self.dir.path(), format!("the log is not durable: {error}"))),
            };
            if let Some(server) = self.connections.get(&connection) {
                server.connection.send(&Event::Answer { id, result });
            }
        }
        // A server that reads nothing (stopped, hung) finds everything in the log when it continues.
        let flushed = connections.iter().map(|connection| connection.flush());
        tokio::time::timeout(FLUSH_TIMEOUT, futures_util::future::join_all(flushed)).await.ok();
        Ok(())
    }

    /// Names what the sweep ended though it may have been wanted, unless the run was to end with all that it had.
    fn log_ended_daemons(&mut self, daemons: &[EndedDaemon]) {
        if daemons.is_empty() || self.phase.reason().is_some() {
            return;
        }
        let shown = daemons.iter().take(MAX_NAMED_DAEMONS);
        let names = shown.clone().map(|daemon| daemon.name.as_str()).collect::<Vec<_>>().join(", ");
        let commands =
            shown.map(|daemon| format!("`{}` (PID {})", daemon.process.command, daemon.process.pid)).collect::<Vec<_>>().join(", ");
        let more = match daemons.len().saturating_sub(MAX_NAMED_DAEMONS) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let title = format!("Ended with the run: {names}{more}");
        let description = format!("{commands}{more} ran in a session of its own, as daemons do; to spare it, put its name into `keep`");
        let update = notice("info", &title, Some(&description));
        // A full disk keeps its last space for the final entry.
        self.log.entry(|seq| update_entry(self.spec.run.id, seq, update), Reserve::Untouched).ok();
    }

    /// Reads what is in the pipes without waiting. It reads at most what a pipe holds, for a spared process may go on
    /// writing.
    fn drain_pipes(&mut self) {
        for index in 0..2 {
            for _ in 0..MAX_FINAL_READS {
                let Some(pump) = &mut self.pumps[index] else { break };
                let was_open = pump.is_open();
                if pump.read() == PumpRead::Ready {
                    self.log_output(index, Reserve::Untouched);
                } else if !was_open {
                    break;
                }
            }
            if let Some(pump) = &mut self.pumps[index] {
                pump.close();
                if !pump.unlogged().is_empty() {
                    self.log_output(index, Reserve::LateEntries);
                }
            }
        }
    }

    fn final_entry(&self, left: Vec<LeftProcess>) -> StateEntry {
        let run = self.log.run();
        let Exit { code, signal } = self.phase.exit().cloned().unwrap_or_default();
        let final_state = self.agent.as_ref().and_then(|agent| agent.final_state.clone());
        let stderr_tail = self.agent.as_ref().map(|agent| agent.stderr_tail()).filter(|tail| !tail.is_empty());
        let name = run.command.first().map_or("the program", String::as_str);
        let failed = |kind: &str, message: String| Some(RunError { kind: kind.to_owned(), message });
        let lost_bytes: usize = self.pumps.iter().flatten().map(|pump| pump.unlogged().len()).sum();
        let (state, reason, error) = match (self.phase.reason(), code, &signal) {
            (Some(EndReason::TimedOut(message)), ..) => {
                let message = stderr_tail.map_or_else(|| message.clone(), |tail| format!("{message}; end of stderr: {tail}"));
                (RunState::TimedOut, "cancelled", failed("timeout", message))
            }
            (Some(EndReason::OutputLimit(limit)), ..) => {
                (RunState::Cancelled, "cancelled", failed("outputLimit", format!("`{name}` wrote more than its limit of {limit} bytes")))
            }
            (Some(EndReason::Cancelled), ..) => (RunState::Cancelled, "cancelled", None),
            _ if final_state.is_some() => {
                let final_state = final_state.clone().expect("it was just looked at");
                (final_state.state, "", final_state.error)
            }
            _ if self.interrupted && !self.spec.interactive => (RunState::Cancelled, "cancelled", None),
            (None, Some(0), _) => (RunState::Succeeded, "end_turn", None),
            (None, Some(code), _) => (RunState::Failed, "error", failed("provider", format!("`{name}` exited with code {code}"))),
            (None, None, Some(signal)) => (RunState::Failed, "error", failed("provider", format!("`{name}` was ended by {signal}"))),
            (None, None, None) => (RunState::Failed, "error", failed("supervisor", format!("`{name}` ended for an unknown reason"))),
        };
        let lost_updates = self.agent.as_ref().map_or(0, |agent| agent.lost_actions);
        let error = match (lost_bytes, lost_updates) {
            (0, 0) => error,
            (0, _) => failed("storage", format!("the disk is full; {lost_updates} of the last updates of `{name}` could not be stored")),
            (bytes, _) => failed("storage", format!("the disk is full; the last {bytes} bytes that `{name}` wrote could not be stored")),
        };
        let (reason, turn, usage) = match final_state {
            Some(final_state) if reason.is_empty() => (final_state.stop_reason, final_state.turn, final_state.usage),
            Some(final_state) => (reason.to_owned(), final_state.turn, final_state.usage),
            None => (reason.to_owned(), run.turn, None),
        };
        StateEntry { turn, usage, stop_reason: Some(reason), exit_code: code, signal, error, left, ..state_entry(run.id, 0, state) }
    }
}
