//! Handles what servers send to a run: connections that open and close, and one arm for each command.

use std::{io, time::Duration};

use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    control::{ConnectionEvent, STARTER, ServerConnection, unknown_command},
    input::Waiter,
    phase::EndReason,
    run::Supervisor,
    size_entry,
    timers::Timer,
};
use crate::{
    log::{Description, append::Reserve},
    model::{
        Failure, Run, RunId, TerminalSize,
        calls::{OnDisconnect, Prompt, QueueResult, RunSettings},
        control::{Command, ControlRequest, Event, line},
    },
    process::ancestry::EnclosingRuns,
    provider::{Answer, Conversation},
};

/// How long an interrupt waits for the program to end by it. A program that goes on (a shell, a debugger) has been
/// interrupted too.
const INTERRUPT_TIMEOUT: Duration = Duration::from_millis(1000);

/// How many tokens of what was sent are remembered.
const MAX_SENT_TOKENS: usize = 64;

impl Supervisor {
    pub(super) fn handle(&mut self, event: ConnectionEvent) {
        match event {
            ConnectionEvent::Opened(connection) => {
                // The first connection is that of the server that started the run, and the launch spec says whether it
                // is attached.
                let is_first = connection.id == STARTER;
                connection.wake();
                // What happened between the moment at which a server found the run and this connection was sent to nobody. The
                // starter has missed nothing.
                if !is_first {
                    connection.send(&Event::Changed(Box::new(self.log.snapshot())));
                }
                let (attached, shows_terminal) = (is_first && self.spec.attached, is_first && self.spec.shows_terminal);
                let can_answer = self.spec.can_answer.filter(|_| is_first);
                let server = ServerConnection { connection, attached, shows_terminal, can_answer, limits: None };
                self.connections.insert(server.connection.id, server);
            }
            ConnectionEvent::Closed(id) => {
                self.set_attached(id, false);
                self.connections.remove(&id);
            }
            ConnectionEvent::Credit(id) => {
                if let Some(server) = self.connections.get(&id) {
                    server.connection.credit();
                }
            }
            ConnectionEvent::Unknown(connection, id) => {
                if let Some(server) = self.connections.get(&connection) {
                    server.connection.send(&unknown_command(id));
                }
            }
            ConnectionEvent::Request(id, request) => match self.check_origin(id, &request) {
                Ok(()) => self.handle_command((id, request.id), request.command),
                Err(failure) => self.answer((id, request.id), Err(failure)),
            },
        }
    }

    /// Refuses what a process in a run's own tree may not do: anything but steering runs that were started in that tree. The server
    /// says where it stands, and the process at the other end of the connection shows it.
    fn check_origin(&mut self, id: u64, request: &ControlRequest) -> Result<(), Failure> {
        let may_steer = match request.command {
            Command::Version(_)
            | Command::Launch(_)
            | Command::Attached(_)
            | Command::ShowsTerminal(_)
            | Command::CanAnswer(_)
            | Command::Queue
            | Command::Sync { .. } => {
                return Ok(());
            }
            Command::Cancel { .. }
            | Command::Interrupt
            | Command::Send { .. }
            | Command::SendOnce { .. }
            | Command::Unqueue { .. }
            | Command::SetSize(_)
            | Command::CloseInput => true,
            Command::Answer { .. }
            | Command::Configure { .. }
            | Command::ConfigureOptions(_)
            | Command::TakeOver
            | Command::Edit { .. } => false,
        };
        let Some(server) = self.connections.get_mut(&id) else { return Ok(()) };
        let peer = server.connection.peer();
        // A server that is gone waits for no answer, and what it was cannot be seen any more.
        let seen = server.limits.get_or_insert_with(|| match peer {
            Some(pid) => EnclosingRuns::of(pid).map_or_else(|| vec![self.spec.run.id], |runs| runs.limits()),
            None => Vec::new(),
        });
        let forbids = |run: &&RunId| !may_steer || !self.spec.within.contains(run);
        match seen.iter().chain(&request.within).find(forbids) {
            Some(run) => Err(Failure::forbidden(*run)),
            None => Ok(()),
        }
    }

    /// Sends a prompt to the agent, or text to the command. `None`: the answer follows once the program has taken the text.
    fn send(&mut self, waiter: Waiter, text: Option<String>, prompt: Option<Prompt>, steer: bool) -> Option<Result<Value, Failure>> {
        let text = match (text.map(Prompt::Text).or(prompt), self.agent.is_some()) {
            (Some(prompt), true) => return Some(self.prompt(&prompt, steer)),
            (None, true) => return Some(Err(Failure::invalid_params("prompt", "there is nothing to send; give `prompt`"))),
            (Some(Prompt::Blocks(_)), false) => {
                return Some(Err(Failure::invalid_params("prompt", "a command takes text, not content blocks; send `text`")));
            }
            (Some(Prompt::Text(text)), false) => text,
            (None, false) => String::new(),
        };
        match self.stdin.send(text.into_bytes(), Some(waiter)) {
            Ok(()) => self.write_stdin(),
            Err(failure) => return Some(Err(failure)),
        }
        None
    }

    fn handle_command(&mut self, waiter: Waiter, command: Command) {
        let result = match command {
            // It was answered when the connection was opened.
            Command::Version(_) => return,
            Command::Launch(_) => Err(Failure::unsupported("launch", "the supervisor has launched its run already")),
            Command::Attached(attached) => {
                self.set_attached(waiter.0, attached);
                Ok(Value::Null)
            }
            Command::ShowsTerminal(shows_terminal) => {
                if let Some(server) = self.connections.get_mut(&waiter.0) {
                    server.shows_terminal = shows_terminal;
                }
                Ok(Value::Null)
            }
            Command::CanAnswer(can_answer) => {
                if let Some(server) = self.connections.get_mut(&waiter.0) {
                    server.can_answer = Some(can_answer);
                }
                Ok(Value::Null)
            }
            Command::SetSize(size) => self.set_size(size),
            Command::Cancel { grace_ms } => {
                self.cancel_waiters.push(waiter);
                return self.end(EndReason::Cancelled, Duration::from_millis(grace_ms));
            }
            Command::Interrupt if self.agent.is_some() => return self.interrupt_agent(waiter),
            Command::Interrupt => {
                if self.phase.exit().is_none() {
                    self.interrupted = true;
                    self.tree.interrupt();
                }
                return self.timers.set(Instant::now() + INTERRUPT_TIMEOUT, Timer::InterruptAnswer(waiter));
            }
            Command::Send { text, prompt, steer } => match self.send(waiter, text, prompt, steer) {
                Some(result) => result,
                None => return,
            },
            Command::SendOnce { token, text, prompt, steer } => match self.sent_tokens.iter().find(|(sent, _)| *sent == token) {
                Some((_, answer)) => Ok(answer.clone()),
                None => {
                    let result = self.send(waiter, text, prompt, steer);
                    let answer = result.clone().unwrap_or_else(|| Ok(json!({})));
                    if let Ok(answer) = answer {
                        self.sent_tokens.truncate(MAX_SENT_TOKENS - 1);
                        self.sent_tokens.push_front((token, answer));
                    }
                    match result {
                        Some(result) => result,
                        None => return,
                    }
                }
            },
            Command::Queue => match &self.agent {
                Some(agent) => Ok(json!(QueueResult { prompts: agent.conversation.queue() })),
                None => Err(Failure::unsupported("queue", "a command has no queue of prompts")),
            },
            Command::Unqueue { prompt_id } => self.unqueue(prompt_id),
            Command::Answer { permission_id, option_id, message } => {
                self.answer_question(&permission_id, Answer { option: option_id, message })
            }
            Command::Configure { model, permissions } => self.configure(RunSettings { model, permissions, ..RunSettings::default() }),
            Command::ConfigureOptions(settings) => self.configure(settings),
            Command::TakeOver => return self.take_over(waiter),
            Command::CloseInput if self.agent.is_some() => {
                self.converse(Conversation::close_input);
                Ok(json!({}))
            }
            Command::CloseInput => {
                self.stdin.close(Some(waiter));
                return self.write_stdin();
            }
            Command::Edit { title, labels, pinned } => self.edit(|run| run.edit(title, labels, pinned)),
            Command::Sync { seq } => {
                let seq = seq.unwrap_or(u64::MAX).min(self.log.run().last_seq);
                if self.log.run().durable_seq < seq {
                    self.sync_waiters.push((seq, waiter));
                    return self.log.sync_now();
                }
                Ok(json!(self.log.run().durable_seq))
            }
        };
        self.answer(waiter, result);
    }

    fn edit(&mut self, change: impl FnOnce(&mut Run)) -> Result<Value, Failure> {
        let failed = |error: io::Error| {
            Failure::store(self.dir.path(), format!("the edit was not stored: {error}; free some disk space and try again"))
        };
        let mut run = Description::read(&self.dir).map_err(failed)?.run;
        change(&mut run);
        let description = Description { version: Description::VERSION, run: run.clone(), token: self.spec.token.clone() };
        description.write(&self.dir).map_err(failed)?;
        let edited = self.log.update_run(|now| now.take_edits(run));
        edited.map_err(failed)?;
        self.broadcast_run();
        Ok(json!(self.log.snapshot()))
    }

    fn set_attached(&mut self, id: u64, attached: bool) {
        let any_before = self.is_attached();
        if let Some(server) = self.connections.get_mut(&id) {
            server.attached = attached;
        }
        match (any_before, self.is_attached()) {
            (true, false) if self.spec.on_disconnect == OnDisconnect::Cancel => self.watchdog.client_left(),
            (_, true) => self.watchdog.client_came(),
            _ => {}
        }
        self.update_clocks();
    }

    pub(super) fn is_attached(&self) -> bool {
        self.connections.values().any(|server| server.attached)
    }

    /// Whether a client answers what programs ask of the terminal.
    pub(super) fn is_terminal_shown(&self) -> bool {
        self.connections.values().any(|server| server.attached && server.shows_terminal)
    }

    /// The new size is logged before the program can draw in it.
    fn set_size(&mut self, size: TerminalSize) -> Result<Value, Failure> {
        let Some(terminal) = &mut self.terminal else {
            return Err(Failure::unsupported("setSize", "the run has no terminal; start it with `tty`"));
        };
        if self.log.run().tty != Some(size) {
            let entry = |seq| size_entry(self.spec.run.id, seq, size);
            self.log.entry(entry, Reserve::Untouched).map_err(|error| {
                Failure::store(self.dir.path(), format!("the size could not be logged: {error}; free some disk space and try again"))
            })?;
            self.connections.values().for_each(|server| server.connection.wake());
            terminal.resize(size);
            self.stdin.set_terminal_size(size);
        }
        Ok(json!({}))
    }

    pub(super) fn answer(&self, (connection, id): Waiter, result: Result<Value, Failure>) {
        if let Some(server) = self.connections.get(&connection) {
            server.connection.send(&Event::Answer { id, result });
        }
    }

    pub(super) fn broadcast_run(&self) {
        let changed = line(&Event::Changed(Box::new(self.log.snapshot())));
        self.connections.values().for_each(|server| server.connection.send_line(&changed));
    }
}
