//! Prints the notifications of a command's run as they come.

use std::borrow::Cow;

use serde::Deserialize;

use super::{EarlyExit, format, outcome::RunOutcome, output::OutputWriter, render, screen::Content, tail::TailPosition};
use crate::{
    model::{Entry, Failure, Kind, RunId, Stream},
    rpc::{Notification, Notifications},
};

/// What of a run is shown, and where.
#[derive(Clone, Debug, Default)]
pub(crate) struct LiveView {
    /// Entries are printed as lines of JSON, all on stdout.
    pub(crate) json: bool,
    /// With `json`, the last line is the run itself.
    pub(crate) ends_with_run: bool,
    /// Only this stream is printed.
    pub(crate) stream: Option<Stream>,
    /// Both streams are printed on our stdout.
    pub(crate) merged: bool,
    /// No notes of loomd's own are printed.
    pub(crate) quiet: bool,
    /// Our stdin is sent to the run.
    pub(crate) interactive: bool,
    /// The run is an agent's, so lines of our stdin are prompts.
    pub(crate) is_agent: bool,
    /// A terminal, too, gets what the program wrote byte for byte.
    pub(crate) raw: bool,
}

impl LiveView {
    pub(crate) fn content(&self) -> Content {
        match (self.json, self.raw) {
            (true, _) => Content::Json,
            (false, true) => Content::Exact,
            (false, false) => Content::Output,
        }
    }

    /// The stream of ours that a stream of the run is printed on.
    pub(crate) fn sink(&self, stream: Stream) -> Stream {
        if self.merged { Stream::Stdout } else { stream }
    }
}

/// Prints notifications on our stdout and stderr.
pub(super) struct NotificationPrinter<'a> {
    pub(super) run_id: RunId,
    pub(super) view: &'a LiveView,
    pub(super) position: &'a mut TailPosition,
}

impl NotificationPrinter<'_> {
    /// Prints until the run ends. `None`: the server ended first.
    pub(super) async fn until_end(
        &mut self,
        notifications: &mut Notifications,
        output: &OutputWriter,
    ) -> Result<Option<RunOutcome>, EarlyExit> {
        while let Some(notification) = notifications.next().await {
            if let Some(outcome) = self.show(&notification, output).await? {
                output.flush().await?;
                return Ok(Some(outcome));
            }
        }
        Ok(None)
    }

    /// Prints one notification. `Some`: the run has ended with it.
    async fn show(&mut self, notification: &Notification, output: &OutputWriter) -> Result<Option<RunOutcome>, EarlyExit> {
        let Some(kind) = Kind::ALL.iter().copied().find(|kind| kind.method() == notification.method) else { return Ok(None) };
        let text = notification.params.get();
        let head: NotificationHead = read(text)?;
        if head.run_id != self.run_id || head.seq <= self.position.after_seq {
            return Ok(None);
        }
        self.position.after_seq = head.seq;
        if kind == Kind::Output {
            self.show_output(text, output).await?;
            return Ok(None);
        }
        if self.view.json {
            output.write(Stream::Stdout, format!("{text}\n").into_bytes()).await?;
        }
        match (kind, read::<Entry>(text)) {
            (Kind::State, Ok(Entry::State(entry))) if entry.state.is_final() => {
                Ok(Some(RunOutcome::from(&entry).with_agent(self.view.is_agent)))
            }
            (Kind::State, Err(stop)) => Err(stop),
            // Those of an agent stand in its transcript.
            (Kind::Update, Ok(Entry::Update(entry))) if !(self.view.json || self.view.quiet || self.view.is_agent) => {
                if let Some((title, description)) = entry.notice() {
                    output.flush().await?;
                    let description = description.map_or_else(String::new, |description| format!("; {description}"));
                    render::note(&format::plain(&format!("{title}{description}")));
                }
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    async fn show_output(&mut self, text: &str, output: &OutputWriter) -> Result<(), EarlyExit> {
        let chunk: Chunk<'_> = read(text)?;
        if self.view.stream.is_some_and(|stream| stream != chunk.stream) {
            return Ok(());
        }
        if self.view.json {
            return output.write(Stream::Stdout, format!("{text}\n").into_bytes()).await;
        }
        let bytes = self.position.take_bytes(&chunk.text, chunk.data)?;
        if bytes.is_empty() { Ok(()) } else { output.write(self.view.sink(chunk.stream), bytes).await }
    }
}

/// The members that the notifications of all entries have.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NotificationHead {
    pub(crate) run_id: RunId,
    pub(crate) seq: u64,
}

/// The members of an output entry that are printed. Text without escapes is not copied.
#[derive(Deserialize)]
struct Chunk<'a> {
    stream: Stream,
    #[serde(borrow)]
    text: Cow<'a, str>,
    #[serde(default)]
    data: Option<&'a str>,
}

pub(super) fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, EarlyExit> {
    serde_json::from_str(text).map_err(|error| Failure::internal(format!("the server sent an invalid entry: {error}")).into())
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
