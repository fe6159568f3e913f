//! The way to a run's end: asked to stop, drained, swept, and its last words.

use std::{io, time::Duration};

use rustix::process::WaitStatus;
use serde_json::json;
use tokio::time::Instant;

use super::{
    control::{Connection, Words},
    phase::{Ending, Phase, STORAGE_RETRY, state_entry},
    pump::Read,
    run::Supervisor,
    stop::{Sweep, Swept},
    words::Said,
};
use crate::{
    log::append::Room,
    model::{
        Entry, Failure, RunError, RunState, StateEntry,
        entry::{LeftProcess, ResolvedBy},
    },
    process::{own, tree},
};

/// How long a grandchild may hold the pipes after the program's end.
const DRAIN: Duration = Duration::from_secs(2);

impl Supervisor {
    /// Ends the run from outside. A shorter grace later wins; the first reason is the one that is told.
    pub(super) fn end(&mut self, ending: Ending, grace: Duration) {
        let deadline = Instant::now() + grace;
        // A limit counts also for what a program wrote that has ended by now.
        if matches!(ending, Ending::OutputLimit(_)) && self.ending.is_none() {
            self.ending = Some(ending.clone());
        }
        match &mut self.phase {
            Phase::Running => {
                let by_client = ending == Ending::Cancelled;
                self.ending.get_or_insert(ending);
                self.phase = Phase::Stopping { kill_at: deadline };
                match &mut self.agent {
                    // Its own way first: the turn is stopped, its stdin closed.
                    Some(agent) => {
                        agent.conversation.stop(if by_client { ResolvedBy::Client } else { ResolvedBy::Provider });
                        self.polite_until = Some(Instant::now() + grace / 2);
                        self.act();
                    }
                    None => self.tree.terminate(),
                }
            }
            Phase::Stopping { kill_at } => {
                // The conversation was over, and the program did not end by itself; or an earlier reason stands.
                if self.agent.as_ref().is_some_and(|agent| agent.conversation.is_in_turn()) {
                    self.ending.get_or_insert(ending);
                }
                *kill_at = deadline.min(*kill_at);
                self.polite_until = self.polite_until.map(|at| at.min(Instant::now() + grace / 2));
            }
            Phase::Draining { until, kill_at } => {
                *until = deadline.min(*until);
                *kill_at = Some(kill_at.map_or(deadline, |at| at.min(deadline)));
            }
            Phase::Sweeping(sweep) => sweep.hurry(deadline),
            Phase::Over(_) => {}
        }
    }

    /// Moves the run on to its next phase, as far as things stand.
    pub(super) fn advance(&mut self) {
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
    pub(super) async fn conclude(mut self, words: &mut Words) -> io::Result<()> {
        self.read_what_is_left();
        self.conclude_agent().await;
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
        let run = self.log.picture();
        self.connections.values().for_each(|server| server.connection.wake());
        self.connections.values().for_each(|server| server.connection.send_line(&last_words));
        for (_, waiter) in std::mem::take(&mut self.interrupt_waiters) {
            self.answer(waiter, Ok(json!({})));
        }
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

    pub(super) fn exit_code(&self) -> Option<i32> {
        self.status.and_then(WaitStatus::exit_status)
    }

    /// The signal that ended the program, by name.
    pub(super) fn exit_signal(&self) -> Option<String> {
        self.status.and_then(WaitStatus::terminating_signal).map(tree::signal_name)
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
                    self.log_output(which, Room::Late);
                }
            }
        }
    }

    fn final_entry(&self, left: Vec<LeftProcess>) -> StateEntry {
        let run = self.log.run();
        let (code, signal) = (self.exit_code(), self.exit_signal());
        let verdict = self.agent.as_ref().and_then(|agent| agent.verdict.clone());
        let last_words = self.agent.as_ref().map(|agent| agent.stderr_tail()).filter(|tail| !tail.is_empty());
        let name = run.command.first().map_or("the program", String::as_str);
        let failed = |kind: &str, message: String| Some(RunError { kind: kind.to_owned(), message });
        let unkept: usize = self.pumps.iter().flatten().map(|pump| pump.waiting().len()).sum();
        let (state, reason, error) = match (&self.ending, code, &signal) {
            (Some(Ending::TimedOut(message)), ..) => {
                let message = last_words.map_or_else(|| message.clone(), |tail| format!("{message}; `{name}` said on stderr: {tail}"));
                (RunState::TimedOut, "cancelled", failed("timeout", message))
            }
            (Some(Ending::OutputLimit(limit)), ..) => (
                RunState::Cancelled,
                "cancelled",
                failed("outputLimit", format!("`{name}` wrote more than maxOutputBytes allows ({limit} bytes)")),
            ),
            (Some(Ending::Cancelled), ..) => (RunState::Cancelled, "cancelled", None),
            _ if verdict.is_some() => {
                let verdict = verdict.clone().expect("it was just looked at");
                (verdict.state, "", verdict.error)
            }
            _ if self.interrupted && !self.orders.interactive => (RunState::Cancelled, "cancelled", None),
            (None, Some(0), _) => (RunState::Succeeded, "end_turn", None),
            (None, Some(code), _) => (RunState::Failed, "error", failed("provider", format!("`{name}` exited with code {code}"))),
            (None, None, Some(signal)) => (RunState::Failed, "error", failed("provider", format!("`{name}` was ended by {signal}"))),
            (None, None, None) => (RunState::Failed, "error", failed("supervisor", format!("how `{name}` ended is not known"))),
        };
        let untold = self.agent.as_ref().map_or(0, |agent| agent.unkept);
        let error = match (unkept, untold) {
            (0, 0) => error,
            (0, _) => {
                failed("storage", format!("the disk is full; {untold} of the last updates that tell what `{name}` did could not be kept"))
            }
            (bytes, _) => failed("storage", format!("the disk is full; the last {bytes} bytes that `{name}` wrote could not be kept")),
        };
        let (reason, turn, usage) = match verdict {
            Some(verdict) if reason.is_empty() => (verdict.stop_reason, verdict.turn, verdict.usage),
            Some(verdict) => (reason.to_owned(), verdict.turn, verdict.usage),
            None => (reason.to_owned(), run.turn, None),
        };
        StateEntry { turn, usage, stop_reason: Some(reason), exit_code: code, signal, error, left, ..state_entry(run.id, 0, state) }
    }
}
