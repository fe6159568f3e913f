//! The link to one supervisor.
//!
//! Commands are sent in the order in which they were pushed, and pushing never waits: that keeps in order what one
//! client sends to one run. The link exists until the run is final or gone; a broken connection to a living supervisor
//! is made anew.

use std::{collections::BTreeMap, io, time::Duration};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, oneshot, watch},
};

use super::{RunEvent, RunEvents, adopt::Liveness, liveness::Adopter};
use crate::{
    log::RunDir,
    model::{
        Failure, Run, RunId,
        control::{Command, ControlRequest, Event, FIRST_ID, VERSION, VERSION_ID, WAKE_CREDIT},
        line,
    },
    process::{ancestry::EnclosingRuns, current_process},
    supervisor::control,
};

/// How long a link waits before it connects again, or looks again at a run that another server adopts. Each wait that brought nothing
/// doubles the next.
const RECONNECT_INTERVAL: Duration = Duration::from_millis(50);
const MAX_RECONNECT_INTERVAL: Duration = Duration::from_secs(2);

/// How long a link waits before it tries again to close a run that could not be closed.
const CLOSE_RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// Receives the answer to a command. An error means that the run ended, or its supervisor went, before there was one.
pub(crate) type PendingReply = oneshot::Receiver<Result<Value, Failure>>;

/// The handle of a link. Clones belong to the same link.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    commands: mpsc::UnboundedSender<(Command, oneshot::Sender<Result<Value, Failure>>)>,
    growth: watch::Receiver<Growth>,
}

/// How the log has grown, as far as a follower must know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Growth {
    /// Counts wake-ups.
    pub(crate) wakes: u64,
    /// The number of the newest rare entry that the supervisor reported: it is not held back.
    pub(crate) rare: u64,
    /// The supervisor is known to begin a new segment of its log only behind a full one.
    pub(crate) rotates_when_full: bool,
    /// The run is final or gone: no more entries will come.
    pub(crate) ended: bool,
}

impl Link {
    /// Queues a command, whose place in the order is settled when this returns.
    pub(crate) fn push(&self, command: Command) -> PendingReply {
        let (sender, answer) = oneshot::channel();
        // If the link has ended, the sender is dropped and the receiver gets an error.
        self.commands.send((command, sender)).ok();
        answer
    }

    pub(crate) fn growth(&self) -> watch::Receiver<Growth> {
        self.growth.clone()
    }
}

/// What a link does until its run needs it no more.
pub(super) struct LinkTask {
    dir: RunDir,
    adopter: Adopter,
    events: RunEvents,
    id: RunId,
    commands: mpsc::UnboundedReceiver<(Command, oneshot::Sender<Result<Value, Failure>>)>,
    growth: watch::Sender<Growth>,
    waiting: BTreeMap<u64, oneshot::Sender<Result<Value, Failure>>>,
    next_id: u64,
    /// The run before the link was connected, until the supervisor has said how it is now.
    known: Option<Run>,
    client: AttachedClient,
}

/// What a supervisor is told of the client. A connection that is made anew begins with it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct AttachedClient {
    pub(super) attached: bool,
    pub(super) shows_terminal: bool,
    /// Told only of a run with `notify`.
    pub(super) can_answer: Option<bool>,
}

impl LinkTask {
    pub(super) fn new(
        dir: RunDir,
        adopter: Adopter,
        events: RunEvents,
        id: RunId,
        known: Option<Run>,
        client: AttachedClient,
    ) -> (Link, Self) {
        let (sender, commands) = mpsc::unbounded_channel();
        let (grow, growth) = watch::channel(Growth::default());
        let task = Self { dir, adopter, events, id, commands, growth: grow, waiting: BTreeMap::new(), next_id: FIRST_ID, known, client };
        (Link { commands: sender, growth }, task)
    }

    /// Keeps the connection until the run is final or gone.
    pub(super) async fn run(mut self, first: Option<UnixStream>) {
        let mut stream = first;
        let mut pause = RECONNECT_INTERVAL;
        let mut is_again = false;
        loop {
            let connected = match stream.take() {
                Some(stream) => Ok(stream),
                None => {
                    current_process::seam("link.connect");
                    control::connect(self.dir.path()).await
                }
            };
            if let Ok(stream) = connected {
                pause = RECONNECT_INTERVAL;
                let (reader, writer) = stream.into_split();
                if let Err(error) = self.exchange(BufReader::new(reader), writer, is_again).await {
                    tracing::debug!(%error, run = %self.id, "the connection to the supervisor ended");
                }
                is_again = true;
            }
            // Commands that were not answered will not be; dropping their senders says so.
            self.waiting.clear();
            if self.is_over().await {
                break;
            }
            tokio::time::sleep(pause).await;
            pause = MAX_RECONNECT_INTERVAL.min(2 * pause);
        }
        self.growth.send_modify(|growth| growth.ended = true);
    }

    /// Whether the run needs no link any more. A run whose supervisor died is adopted first.
    async fn is_over(&mut self) -> bool {
        match self.adopter.resolve_liveness(self.id).await {
            Ok(Liveness::Final | Liveness::Gone) => true,
            Ok(Liveness::Alive | Liveness::Busy) => false,
            Err(failure) => {
                // A full disk, say: the link tries again until it works, for clients wait for the run's end.
                tracing::warn!(run = %self.id, %failure, "cannot close the run yet");
                tokio::time::sleep(CLOSE_RETRY_INTERVAL).await;
                false
            }
        }
    }

    /// Exchanges lines until the supervisor has closed the connection. A failed write is no reason to leave, because
    /// the run's final entry is still to be read.
    async fn exchange(&mut self, mut reader: BufReader<OwnedReadHalf>, mut writer: OwnedWriteHalf, is_again: bool) -> io::Result<()> {
        let mut text = Vec::new();
        let mut uncredited = 0;
        if is_again {
            let AttachedClient { attached, shows_terminal, can_answer } = self.client;
            let commands = [
                shows_terminal.then_some(Command::ShowsTerminal(true)),
                can_answer.map(Command::CanAnswer),
                attached.then_some(Command::Attached(true)),
            ];
            for command in commands.into_iter().flatten() {
                let request = self.request(command);
                writer.write_all(&request).await.ok();
            }
        }
        loop {
            tokio::select! {
                // A canceled read loses nothing: what was read of a line stays in `text`.
                read = reader.read_until(b'\n', &mut text) => {
                    if read? == 0 {
                        return Ok(());
                    }
                    if text.last() != Some(&b'\n') {
                        continue;
                    }
                    if text.len() == 1 {
                        self.growth.send_modify(|growth| growth.wakes += 1);
                        uncredited += 1;
                        if uncredited >= WAKE_CREDIT / 2 {
                            uncredited -= WAKE_CREDIT / 2;
                            // A supervisor that has gone needs no credit.
                            writer.write_all(b"\n").await.ok();
                        }
                    } else {
                        match serde_json::from_slice(&text) {
                            Ok(Event::Answer { id: VERSION_ID, result }) => {
                                self.note_version(result.ok().and_then(|version| version.as_u64()).unwrap_or(0));
                                let version = request(VERSION_ID, Command::Version(VERSION));
                                writer.write_all(&version).await.ok();
                            }
                            Ok(event) => self.handle_event(event),
                            Err(error) => tracing::debug!(%error, run = %self.id, "the supervisor is newer; its event is passed over"),
                        }
                    }
                    text.clear();
                }
                Some((command, sender)) = self.commands.recv() => {
                    match command {
                        Command::Attached(attached) => self.client.attached = attached,
                        Command::ShowsTerminal(shows) => self.client.shows_terminal = shows,
                        Command::CanAnswer(can_answer) => self.client.can_answer = Some(can_answer),
                        _ => {}
                    }
                    self.waiting.insert(self.next_id, sender);
                    // If the supervisor has gone, the read ends and `waiting` is dropped.
                    let request = self.request(command);
                    writer.write_all(&request).await.ok();
                }
            }
        }
    }

    /// Supervisors of version 0 begin a new segment whenever an entry would make one too long.
    pub(super) fn note_version(&self, version: u64) {
        self.growth.send_if_modified(|growth| {
            growth.rotates_when_full = version > 0;
            // It is no reason to read.
            false
        });
    }

    /// A command as a line, under the next id.
    fn request(&mut self, command: Command) -> Vec<u8> {
        self.next_id += 1;
        request(self.next_id - 1, command)
    }

    fn handle_event(&mut self, event: Event) {
        match event {
            Event::Answer { id, result } => {
                if let Some(waiting) = self.waiting.remove(&id) {
                    // The request that waited may have been given up.
                    waiting.send(result).ok();
                }
            }
            Event::Entry(entry) => {
                let seq = line::head(entry.get().as_bytes()).map_or(0, |head| head.seq);
                self.growth.send_modify(|growth| {
                    growth.wakes += 1;
                    growth.rare = growth.rare.max(seq);
                });
                self.events.send(RunEvent::Entry { id: self.id, seq, entry });
            }
            // A supervisor says first how the run is, because nobody was sent what happened before it knew of this connection.
            Event::Changed(run) => {
                if self.known.take().is_none_or(|known| is_different(&known, &run)) {
                    self.events.send(RunEvent::Changed(run));
                }
            }
        }
    }
}

fn request(id: u64, command: Command) -> Vec<u8> {
    crate::model::control::line(&ControlRequest { id, command, within: EnclosingRuns::own().limits() })
}

/// Whether a client that knows the one should be notified of the other. Output changes too often, and entries report it.
fn is_different(known: &Run, run: &Run) -> bool {
    let same_output = Run {
        last_seq: known.last_seq,
        durable_seq: known.durable_seq,
        bytes: known.bytes,
        transcript: known.transcript.clone(),
        ..run.clone()
    };
    *known != same_output
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{history::History, store::Store};

    /// A supervisor may end right after an answer, while more commands are on their way to it.
    #[tokio::test]
    async fn an_answer_counts_even_if_the_next_command_finds_no_supervisor() {
        for _ in 0..100 {
            let (near, far) = UnixStream::pair().expect("a pair");
            let directory = tempfile::tempdir().expect("a directory");
            let history = History { runs: directory.path().to_owned(), store: Store::at(directory.path()) };
            let (events, _heard) = mpsc::unbounded_channel();
            let id = RunId::new();
            let adopter = Adopter::new(history.clone(), directory.path().join("aside"));
            let (link, mut task) = LinkTask::new(history.dir(id), adopter, RunEvents(events), id, None, AttachedClient::default());
            let sender = link.commands;
            let [(first, answer), (second, _)] = [oneshot::channel(), oneshot::channel()];
            sender.send((Command::CloseInput, first)).expect("somebody listens");
            let supervisor = async {
                let (reader, mut writer) = far.into_split();
                let mut reader = BufReader::new(reader);
                reader.read_until(b'\n', &mut Vec::new()).await.expect("a command");
                let event = Event::Answer { id: FIRST_ID, result: Ok(Value::Null) };
                writer.write_all(&crate::model::control::line(&event)).await.expect("taken");
                drop((reader, writer));
                sender.send((Command::Interrupt, second)).expect("somebody listens");
            };
            let (reader, writer) = near.into_split();
            let (exchanged, ()) = tokio::join!(task.exchange(BufReader::new(reader), writer, false), supervisor);
            exchanged.expect("the link ends as its other side does");
            answer.await.expect("the answer arrived").expect("it is a good one");
        }
    }
}
