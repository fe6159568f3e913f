//! A run on our own terminal: its output as it comes, its keys, and its exit code at the end.
//!
//! If the server goes, another one is started and the output goes on where it stopped: the run does not notice.

use std::{borrow::Cow, sync::Arc};

use futures_util::future::BoxFuture;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{
    Stop,
    client::{Launch, Session},
    input::{self, Lines},
    keys::{Keys, Wish},
    outcome::Outcome,
    output::Output,
    render,
    tail::Place,
    words,
};
use crate::{
    model::{Entry, Failure, FailureKind, Kind, Run, RunId, Stream},
    rpc::{Client, Notification, Notifications},
};

/// Exit codes of a program that a signal ended begin here, as shells count them.
const BY_SIGNAL: u8 = 128;

/// How often a server may go without a single entry from it before we give up.
const SERVERS_IN_VAIN: u32 = 3;

/// What is shown, and how.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// Entries as lines of JSON, all on stdout.
    pub json: bool,
    /// With `json`: the run itself is the last line.
    pub ends_with_run: bool,
    /// Only this stream.
    pub stream: Option<Stream>,
    /// Both streams on our stdout.
    pub merged: bool,
    /// No notes of ours.
    pub quiet: bool,
    /// Our stdin goes to the run.
    pub interactive: bool,
    /// The run is an agent's: lines of our stdin are prompts.
    pub is_agent: bool,
}

impl View {
    /// Where a stream's bytes go.
    pub fn sink(&self, stream: Stream) -> Stream {
        if self.merged { Stream::Stdout } else { stream }
    }
}

/// How watching came to its end.
pub(super) enum End {
    Ended(Outcome),
    /// Somebody left, and the run goes on.
    Left(Wish),
}

/// A run that is watched.
pub struct Watch<'a> {
    launch: &'a Launch,
    view: View,
    run: Run,
    place: Place,
    session: Session,
    notifications: Notifications,
    calls: JoinSet<Result<(), Failure>>,
}

impl<'a> Watch<'a> {
    /// `session` is attached to `run` already, from `place` on.
    pub fn new(launch: &'a Launch, view: View, run: Run, place: Place, session: Session, notifications: Notifications) -> Self {
        Self { launch, view, run, place, session, notifications, calls: JoinSet::new() }
    }

    /// Shows the run until it ends, or until somebody leaves it. Answers with the exit code.
    pub async fn show_to_end(mut self, keys: Option<Keys>) -> Result<u8, Stop> {
        let output = Output::start()?;
        let end = self.over_servers(keys, &output).await;
        // Answers come behind the notifications, which nobody reads from now on.
        let Self { launch, view, run, session, notifications, .. } = self;
        drop(notifications);
        let code = match end {
            Ok(End::Ended(outcome)) => {
                if view.json && view.ends_with_run {
                    let run = session.run(run.id).await?;
                    render::print_json(&run)?;
                }
                if !view.quiet {
                    tell_end(&outcome, &run);
                }
                if view.is_agent { outcome.agent_code() } else { outcome.code() }
            }
            // Nobody is there who could read a word, and nothing to say goodbye for.
            Ok(End::Left(Wish::HangUp)) => return Ok(code_of_leaving(Wish::HangUp)),
            Ok(End::Left(wish)) => {
                tell_left(launch, &run, view.quiet);
                code_of_leaving(wish)
            }
            Err(Stop::Closed) => {
                tell_left(launch, &run, view.quiet);
                0
            }
            Err(stop) => {
                if output.has_failed() {
                    tell_left(launch, &run, view.quiet);
                }
                return Err(stop);
            }
        };
        session.close().await;
        Ok(code)
    }

    async fn over_servers(&mut self, mut keys: Option<Keys>, output: &Output) -> Result<End, Stop> {
        let mut lines = self.view.interactive.then(input::lines);
        let mut in_vain = 0;
        loop {
            let began = self.place.after_seq;
            match self.show_over_this_server(&mut keys, &mut lines, output).await? {
                Some(end) => return Ok(end),
                None if self.place.after_seq > began => in_vain = 0,
                None => in_vain += 1,
            }
            self.again(in_vain).await?;
        }
    }

    /// `None`: the server went.
    async fn show_over_this_server(
        &mut self,
        keys: &mut Option<Keys>,
        lines: &mut Option<Lines>,
        output: &Output,
    ) -> Result<Option<End>, Stop> {
        let run_id = self.run.id;
        let client = self.session.client();
        let mut pump = Pump { run_id, view: &self.view, place: &mut self.place };
        let mut pumping = std::pin::pin!(pump.until_end(&mut self.notifications, output));
        let mut sending: Option<BoxFuture<'static, Result<(), Failure>>> = None;
        loop {
            tokio::select! {
                biased;
                wish = next_wish(keys) => {
                    let (method, params) = match wish {
                        Wish::Leave | Wish::Terminate | Wish::HangUp => return Ok(Some(End::Left(wish))),
                        Wish::Interrupt => ("run/interrupt", json!({ "runId": run_id })),
                        Wish::Cancel => ("run/cancel", json!({ "runId": run_id })),
                        Wish::Kill => ("run/cancel", json!({ "runId": run_id, "graceMs": 0 })),
                    };
                    if !self.view.quiet {
                        tell_wish(wish);
                    }
                    self.calls.spawn(order(client.clone(), method, params));
                }
                ended = &mut pumping => return ended.map(|outcome| outcome.map(End::Ended)),
                Some(Ok(answer)) = self.calls.join_next(), if !self.calls.is_empty() => tell_refusal(answer),
                answer = async { sending.as_mut().expect("it is asked for only then").await }, if sending.is_some() => {
                    sending = None;
                    tell_refusal(answer);
                }
                line = next_line(lines), if sending.is_none() => sending = Some(match line {
                    Some(Ok(text)) => match sent(run_id, &text, self.view.is_agent) {
                        Some(params) => Box::pin(order(client.clone(), "run/send", params)),
                        None => continue,
                    },
                    Some(Err(failure)) => Box::pin(std::future::ready(Err(failure))),
                    None => {
                        *lines = None;
                        Box::pin(order(client.clone(), "run/closeInput", json!({ "runId": run_id })))
                    }
                }),
            }
        }
    }

    async fn again(&mut self, in_vain: u32) -> Result<(), Stop> {
        let params = json!({ "runId": self.run.id, "afterSeq": self.place.after_seq });
        (self.session, self.notifications) = again(self.launch, self.run.id, params, in_vain).await?;
        Ok(())
    }
}

/// Starts another server, which goes on where the last one stopped. `in_vain`: how many have been started for nothing.
pub(super) async fn again(launch: &Launch, run_id: RunId, attach: Value, in_vain: u32) -> Result<(Session, Notifications), Stop> {
    if in_vain > SERVERS_IN_VAIN {
        let id = words::short(run_id);
        let message = format!("the server ends again and again; the run is not touched by that: `{} attach {id}`", launch.again());
        return Err(Failure::internal(message).into());
    }
    let (session, notifications) = launch.open().await?;
    session.call::<_, Value>("run/attach", attach).await?;
    Ok((session, notifications))
}

/// The params that send a line of our stdin. An agent is not asked nothing.
pub(super) fn sent(run_id: RunId, text: &str, is_agent: bool) -> Option<Value> {
    match is_agent {
        true if text.trim().is_empty() => None,
        true => Some(json!({ "runId": run_id, "prompt": text.trim_end() })),
        false => Some(json!({ "runId": run_id, "text": text })),
    }
}

pub(super) fn code_of_leaving(wish: Wish) -> u8 {
    match wish {
        Wish::HangUp => BY_SIGNAL + 1,
        Wish::Terminate => BY_SIGNAL + 15,
        _ => 0,
    }
}

/// A call whose answer says no more than that it was done.
pub(super) async fn order(client: Arc<Client>, method: &'static str, params: Value) -> Result<(), Failure> {
    client.call::<_, Value>(method, params).await.map(drop)
}

pub(super) async fn next_wish(keys: &mut Option<Keys>) -> Wish {
    match keys {
        Some(keys) => keys.next().await,
        None => std::future::pending().await,
    }
}

pub(super) async fn next_line(lines: &mut Option<Lines>) -> Option<Result<String, Failure>> {
    match lines {
        Some(lines) => lines.recv().await,
        None => std::future::pending().await,
    }
}

/// From notifications to our stdout and stderr.
struct Pump<'a> {
    run_id: RunId,
    view: &'a View,
    place: &'a mut Place,
}

impl Pump<'_> {
    /// `None`: the server went before the run ended.
    async fn until_end(&mut self, notifications: &mut Notifications, output: &Output) -> Result<Option<Outcome>, Stop> {
        while let Some(notification) = notifications.next().await {
            if let Some(outcome) = self.show(&notification, output).await? {
                output.flush().await?;
                return Ok(Some(outcome));
            }
        }
        Ok(None)
    }

    /// Shows one notification. `Some`: it tells the run's end.
    async fn show(&mut self, notification: &Notification, output: &Output) -> Result<Option<Outcome>, Stop> {
        let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.method() == notification.method) else { return Ok(None) };
        let text = notification.params.get();
        let head: Head = read(text)?;
        if head.run_id != self.run_id || head.seq <= self.place.after_seq {
            return Ok(None);
        }
        self.place.after_seq = head.seq;
        if kind == Kind::Output {
            self.show_output(text, output).await?;
            return Ok(None);
        }
        if self.view.json {
            output.write(Stream::Stdout, format!("{text}\n").into_bytes()).await?;
        }
        match (kind, read::<Entry>(text)) {
            (Kind::State, Ok(Entry::State(entry))) if entry.state.is_final() => {
                Ok(Some(Outcome::from(&entry).of_agent(self.view.is_agent)))
            }
            (Kind::State, Err(stop)) => Err(stop),
            _ => Ok(None),
        }
    }

    async fn show_output(&mut self, text: &str, output: &Output) -> Result<(), Stop> {
        let chunk: Chunk<'_> = read(text)?;
        if self.view.stream.is_some_and(|stream| stream != chunk.stream) {
            return Ok(());
        }
        if self.view.json {
            return output.write(Stream::Stdout, format!("{text}\n").into_bytes()).await;
        }
        let mut bytes = super::raw::exact_bytes(&chunk.text, chunk.data)?.into_owned();
        let skipped = std::mem::take(&mut self.place.skip).min(bytes.len() as u64);
        bytes.drain(..skipped as usize);
        if bytes.is_empty() { Ok(()) } else { output.write(self.view.sink(chunk.stream), bytes).await }
    }
}

/// What every notification of an entry has.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Head {
    pub run_id: RunId,
    pub seq: u64,
}

/// What is needed of an output entry, without copying text that has nothing escaped.
#[derive(Deserialize)]
struct Chunk<'a> {
    stream: Stream,
    #[serde(borrow)]
    text: Cow<'a, str>,
    #[serde(default)]
    data: Option<&'a str>,
}

pub(super) fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Stop> {
    serde_json::from_str(text)
        .map_err(|error| Failure::internal(format!("the server sent an entry that is not understood: {error}")).into())
}

fn tell_wish(wish: Wish) {
    if let Some(text) = words_of(wish) {
        // The terminal has just shown ^C.
        render::note(&format!("\n{text}"));
    }
}

/// What is done for a wish, in words.
pub(super) fn words_of(wish: Wish) -> Option<&'static str> {
    match wish {
        Wish::Interrupt => Some(r"interrupting; Ctrl-C again cancels the run, Ctrl-\ leaves it running"),
        Wish::Cancel => Some("cancelling; Ctrl-C again kills it at once"),
        Wish::Kill => Some("killing"),
        Wish::Leave | Wish::Terminate | Wish::HangUp => None,
    }
}

/// A call that comes too late, or whose server went, is nobody's business.
fn tell_refusal(answer: Result<(), Failure>) {
    match answer {
        Err(failure) if !matches!(failure.kind, FailureKind::RunNotActive | FailureKind::Internal) => render::tell_failure(&failure),
        _ => {}
    }
}

pub(super) fn tell_end(outcome: &Outcome, run: &Run) {
    for process in outcome.left() {
        render::note(&format!("left running: {} {}", process.pid, process.command));
    }
    if outcome.is_unusual() || (render::stderr_is_terminal() && outcome.code() != 0) {
        let took = words::duration(render::now().saturating_sub(run.created_at));
        render::note(&format!("run {} {} (after {took})", words::short(run.id), outcome.words()));
    }
}

pub(super) fn tell_left(launch: &Launch, run: &Run, quiet: bool) {
    if quiet || run.state.is_final() {
        return;
    }
    let (id, again) = (words::short(run.id), launch.again());
    let fate = match run.params.get("onDisconnect").and_then(|choice| choice.as_str()) {
        Some("cancel") => "is cancelled in 5 s unless somebody watches it",
        _ => "goes on",
    };
    render::note(&format!("\nrun {id} {fate}; watch it with `{again} attach {id}`, end it with `{again} cancel {id}`"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_is_read_with_and_without_escapes() {
        let chunk: Chunk<'_> = read(r#"{"stream":"stderr","text":"a\nb","seq":1}"#).expect("reads");
        assert_eq!((chunk.stream, &*chunk.text, chunk.data), (Stream::Stderr, "a\nb", None));
        let chunk: Chunk<'_> = read(r#"{"stream":"stdout","text":"ab","data":"YWI="}"#).expect("reads");
        assert_eq!(chunk.data, Some("YWI="));
    }
}
