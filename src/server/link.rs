//! A server's connection to one supervisor.
//!
//! Words go out in the order in which they were pushed, and pushing never waits: that keeps what one client sends to one
//! run in order. The link lives until the run is final or gone; a broken connection to a living supervisor is made anew.

use std::{collections::BTreeMap, io, sync::Weak, time::Duration};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, oneshot, watch},
};

use super::{Server, adopt::Settled};
use crate::{
    model::{Failure, Run, RunId, line},
    supervisor::{
        control,
        words::{Asked, Said, WAKE_CREDIT, Word},
    },
};

/// How long a link waits before it looks again at a run that another server adopts.
const LOOK: Duration = Duration::from_millis(50);

/// How long it waits before it tries again to close a run that could not be closed.
const RETRY: Duration = Duration::from_secs(1);

/// The answer to a word; `None`: the run ended, or its supervisor went, before there was one.
pub type Answer = oneshot::Receiver<Result<Value, Failure>>;

/// The near end of a link. Clones are the same link.
#[derive(Clone, Debug)]
pub struct Link {
    words: mpsc::UnboundedSender<(Word, oneshot::Sender<Result<Value, Failure>>)>,
    grown: watch::Receiver<Growth>,
}

/// How the log has grown, as far as a follower must know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Growth {
    /// Counts wake-ups.
    pub wakes: u64,
    /// The newest rare entry that was heard of: it is not held back.
    pub rare: u64,
    /// The run is final or gone: nothing more will come.
    pub ended: bool,
}

impl Link {
    /// Begins a link; `stream` is a connection that is there already.
    pub fn begin(server: Weak<Server>, id: RunId, stream: Option<UnixStream>) -> Self {
        let (words, inbox) = mpsc::unbounded_channel();
        let (growth, grown) = watch::channel(Growth::default());
        let task = Task { server, id, inbox, growth, waiting: BTreeMap::new(), next_id: 1 };
        tokio::spawn(task.run(stream));
        Self { words, grown }
    }

    /// Sends a word. It is on its way when this returns.
    pub fn push(&self, word: Word) -> Answer {
        let (sender, answer) = oneshot::channel();
        // If the link has ended, the sender is dropped and the answer says so.
        let _ = self.words.send((word, sender));
        answer
    }

    pub fn grown(&self) -> watch::Receiver<Growth> {
        self.grown.clone()
    }
}

struct Task {
    server: Weak<Server>,
    id: RunId,
    inbox: mpsc::UnboundedReceiver<(Word, oneshot::Sender<Result<Value, Failure>>)>,
    growth: watch::Sender<Growth>,
    waiting: BTreeMap<u64, oneshot::Sender<Result<Value, Failure>>>,
    next_id: u64,
}

impl Task {
    async fn run(mut self, first: Option<UnixStream>) {
        let mut stream = first;
        while let Some(server) = self.server.upgrade() {
            let dir = server.history.dir(self.id);
            drop(server);
            let connected = match stream.take() {
                Some(stream) => Ok(stream),
                None => control::connect(dir.path()).await,
            };
            if let Ok(stream) = connected {
                let (reader, writer) = stream.into_split();
                if let Err(error) = self.talk(BufReader::new(reader), writer).await {
                    tracing::debug!(%error, run = %self.id, "the connection to the supervisor ended");
                }
            }
            // What was not answered will not be.
            self.waiting.clear();
            if self.is_over().await {
                break;
            }
            tokio::time::sleep(LOOK).await;
        }
        self.growth.send_modify(|growth| growth.ended = true);
        if let Some(server) = self.server.upgrade() {
            server.links.ended(&server, self.id).await;
        }
    }

    /// Whether the run needs no link any more. One whose supervisor died is adopted first.
    async fn is_over(&mut self) -> bool {
        let Some(server) = self.server.upgrade() else { return true };
        match server.keeper.settle(self.id).await {
            Ok(Settled::Final | Settled::Gone) => true,
            Ok(Settled::Alive | Settled::Busy) => false,
            Err(failure) => {
                // A full disk, say: it is tried again until it works, for clients wait for the run's end.
                tracing::warn!(run = %self.id, %failure, "the run cannot be closed yet");
                tokio::time::sleep(RETRY).await;
                false
            }
        }
    }

    /// Until the other side has gone. What cannot be sent to it is no reason to leave: its last words are still to be read.
    async fn talk(&mut self, mut reader: BufReader<OwnedReadHalf>, mut writer: OwnedWriteHalf) -> io::Result<()> {
        let mut text = Vec::new();
        let mut uncredited = 0;
        loop {
            tokio::select! {
                // Reading is resumed where it was: what was read of a line stays in `text`.
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
                            let _ = writer.write_all(b"\n").await;
                        }
                    } else {
                        self.hear(serde_json::from_slice(&text)?);
                    }
                    text.clear();
                }
                Some((word, sender)) = self.inbox.recv() => {
                    let id = self.next_id;
                    self.next_id += 1;
                    self.waiting.insert(id, sender);
                    let line = crate::supervisor::words::line(&Asked { id, word });
                    let _ = writer.write_all(&line).await;
                }
            }
        }
    }

    fn hear(&mut self, said: Said) {
        match said {
            Said::Answer { id, result } => {
                if let Some(waiting) = self.waiting.remove(&id) {
                    let _ = waiting.send(result);
                }
            }
            Said::Entry(entry) => {
                let seq = line::head(entry.get().as_bytes()).map_or(0, |head| head.seq);
                self.growth.send_modify(|growth| {
                    growth.wakes += 1;
                    growth.rare = growth.rare.max(seq);
                });
                if let Some(server) = self.server.upgrade() {
                    server.links.rare_entry(&server, self.id, seq, &entry);
                }
            }
            Said::Changed(run) => self.changed(&run),
        }
    }

    fn changed(&self, run: &Run) {
        if let Some(server) = self.server.upgrade() {
            server.broadcast.changed(&server, run);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A supervisor may end right after an answer, with more words to it on their way.
    #[tokio::test]
    async fn an_answer_counts_also_where_the_next_word_finds_nobody() {
        for _ in 0..100 {
            let (near, far) = UnixStream::pair().expect("a pair");
            let (words, inbox) = mpsc::unbounded_channel();
            let (growth, _grown) = watch::channel(Growth::default());
            let mut task = Task { server: Weak::new(), id: RunId::new(), inbox, growth, waiting: BTreeMap::new(), next_id: 1 };
            let [(first, answer), (second, _)] = [oneshot::channel(), oneshot::channel()];
            words.send((Word::CloseInput, first)).expect("somebody listens");
            let supervisor = async {
                let (reader, mut writer) = far.into_split();
                let mut reader = BufReader::new(reader);
                reader.read_until(b'\n', &mut Vec::new()).await.expect("a word");
                let said = Said::Answer { id: 1, result: Ok(Value::Null) };
                writer.write_all(&crate::supervisor::words::line(&said)).await.expect("taken");
                drop((reader, writer));
                words.send((Word::Interrupt, second)).expect("somebody listens");
            };
            let (reader, writer) = near.into_split();
            let (talked, ()) = tokio::join!(task.talk(BufReader::new(reader), writer), supervisor);
            talked.expect("the link ends as its other side does");
            answer.await.expect("the answer was heard").expect("it is a good one");
        }
    }
}
