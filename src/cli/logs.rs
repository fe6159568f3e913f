//! `loomd logs`: the output of a command, exactly as it was written, or the transcript of an agent.
//!
//! It is read in pages, so that its size does not matter.

use clap::ValueEnum;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    EarlyExit,
    agent::{
        self,
        interactive::{self, Interactive, ViewOptions},
        renderer::Renderer,
    },
    format,
    live::Watch,
    notification_printer::{self, LiveView},
    outcome::RunOutcome,
    output::OutputWriter,
    render,
    screen::Content,
    tail::{self, TailPosition},
};
use crate::{
    client::{ServerLaunch, ServerSession},
    history::byte_count,
    model::{
        Entry, Kind, Run, RunState,
        calls::{AttachParams, ReadParams, RunResult, TextParams},
        entry,
        methods::{RunAttach, RunRead, RunText},
    },
    rpc::Notifications,
};

/// Print the output of a run, or an agent's transcript
#[derive(clap::Args, Debug)]
pub(crate) struct Options {
    /// Run ID or its last digits [default: the newest run]
    pub(crate) run: Option<String>,
    /// Follow the output until the run ends
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// Print only the last LINES lines
    #[arg(long, short = 'n', value_name = "LINES", value_parser = format::parse_count)]
    pub(crate) tail: Option<u64>,
    /// Print only this stream [default: both, in order of arrival]
    #[arg(long, value_name = "STREAM")]
    pub(crate) stream: Option<StreamOption>,
    /// Start at this byte of the stream (default: stdout), as printed by `loomd search`
    #[arg(long, value_name = "BYTE", value_parser = format::parse_count, conflicts_with_all = ["follow", "tail", "json", "full"])]
    pub(crate) offset: Option<u64>,
    /// Print entries as JSON lines
    #[arg(long)]
    pub(crate) json: bool,
    /// For agents: print the agent's raw output instead of the transcript
    #[arg(long)]
    pub(crate) raw: bool,
    /// For agents: show all tool output and full diffs
    #[arg(long)]
    pub(crate) full: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StreamOption {
    Stdout,
    Stderr,
}

impl From<StreamOption> for entry::Stream {
    fn from(stream: StreamOption) -> Self {
        match stream {
            StreamOption::Stdout => Self::Stdout,
            StreamOption::Stderr => Self::Stderr,
        }
    }
}

pub(crate) async fn main(options: Options, launch: &ServerLaunch) -> Result<u8, EarlyExit> {
    let (session, notifications) = launch.open().await?;
    let run = session.run(session.run_id_or_newest(options.run.as_deref()).await?).await?;
    if let Some(offset) = options.offset {
        print_from(&session, &run, &options, offset).await?;
        session.close().await;
        return Ok(0);
    }
    if run.has_transcript && !options.raw && !options.json && options.stream.is_none() {
        return print_transcript(&options, launch, run, (session, notifications)).await;
    }
    let stream = stream_of(&options);
    let position = match options.tail {
        Some(lines) => tail::find_tail(&session, &run, stream, lines).await?,
        None => TailPosition::default(),
    };
    let view = LiveView { json: options.json, raw: options.raw, stream, merged: true, quiet: true, ..LiveView::default() };
    if options.follow && !run.state.is_final() {
        let RunResult { run } = session.call(RunAttach, AttachParams::entries(run.id, position.after_seq)).await?;
        Watch::new(launch, view, run, position, session, notifications).show_to_end(None).await?;
        return Ok(0);
    }
    drop(notifications);
    print_pages(&session, &run, position, &view).await?;
    session.close().await;
    Ok(0)
}

fn stream_of(options: &Options) -> Option<entry::Stream> {
    options.stream.map(entry::Stream::from)
}

/// Prints a stream as text from the byte `offset` to its present end.
async fn print_from(session: &ServerSession, run: &Run, options: &Options, mut offset: u64) -> Result<(), EarlyExit> {
    let stream = stream_of(options).unwrap_or(entry::Stream::Stdout);
    let output = OutputWriter::start(if options.raw { Content::Exact } else { Content::Output })?;
    loop {
        let params = TextParams { run_id: run.id, stream: Some(stream), offset: Some(offset), max_bytes: None, last_lines: None };
        let page = session.call(RunText, params).await?;
        output.write(stream, page.text.into_bytes()).await?;
        // A run that writes faster than we print would never end, so we stop where it ended at the start.
        let end = byte_count(run.bytes, Some(stream));
        if page.next_offset >= end.min(page.total_bytes) || page.next_offset <= offset {
            return output.flush().await;
        }
        offset = page.next_offset;
    }
}

/// Prints the transcript of an agent's run, and follows it with `-f`.
async fn print_transcript(
    options: &Options,
    launch: &ServerLaunch,
    run: Run,
    (session, notifications): (ServerSession, Notifications),
) -> Result<u8, EarlyExit> {
    let view = ViewOptions { full: options.full, view_only: true, ..ViewOptions::default() };
    let mut renderer = Renderer::new(interactive::render_options(view), &run.cwd);
    let output = OutputWriter::start(Content::Painted)?;
    let print = async |text: String| output.write(entry::Stream::Stdout, text.into_bytes()).await;
    let follows = options.follow && !run.state.is_final();
    let after_seq = match options.tail {
        Some(lines) => {
            let (text, after_seq) = agent::render_tail(&session, &run, &mut renderer, lines).await?;
            print(text).await?;
            after_seq
        }
        None => agent::render_history(&session, &run, &mut renderer, print).await?,
    };
    if !follows {
        renderer.set_state(run.state);
        renderer.finish();
    }
    output.write(entry::Stream::Stdout, renderer.take().into_bytes()).await?;
    output.flush().await?;
    if follows {
        let RunResult { run } = session.call(RunAttach, AttachParams::items(run.id, after_seq)).await?;
        Interactive::new(launch, view, run, (session, notifications), renderer, after_seq).show_to_end(None).await?;
        return Ok(0);
    }
    if run.state.is_final() && run.state != RunState::Succeeded {
        render::note(&format!("Run {} {}", launch.shown_id(run.id), RunOutcome::from(&run).description()));
    }
    drop(notifications);
    session.close().await;
    Ok(0)
}

/// A page of entries whose JSON is printed unchanged.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawPage {
    entries: Vec<Box<RawValue>>,
    next_after_seq: u64,
    at_end: bool,
}

/// Prints the entries up to `run.last_seq`, page by page.
async fn print_pages(session: &ServerSession, run: &Run, mut position: TailPosition, view: &LiveView) -> Result<(), EarlyExit> {
    let output = OutputWriter::start(view.content())?;
    let kinds = (!view.json || view.stream.is_some()).then(|| vec![Kind::Output]);
    let mut params = ReadParams { run_id: run.id, after_seq: None, before_seq: None, max_bytes: None, kinds };
    loop {
        params.after_seq = Some(position.after_seq);
        let page: RawPage = session.call_as(RunRead, &params).await?;
        for raw in &page.entries {
            let entry: Entry = notification_printer::read(raw.get())?;
            print_entry(&entry, raw.get(), &mut position, view, &output).await?;
        }
        // Later entries are for `-f`. Without it, a run that writes faster than we print would never end.
        if page.at_end || page.next_after_seq <= position.after_seq || page.next_after_seq >= run.last_seq {
            break;
        }
        position.after_seq = page.next_after_seq;
    }
    output.flush().await
}

async fn print_entry(
    entry: &Entry,
    raw: &str,
    position: &mut TailPosition,
    view: &LiveView,
    output: &OutputWriter,
) -> Result<(), EarlyExit> {
    let line = || format!("{raw}\n").into_bytes();
    let Entry::Output(chunk) = entry else { return output.write(entry::Stream::Stdout, line()).await };
    if view.stream.is_some_and(|stream| stream != chunk.stream) {
        return Ok(());
    }
    if view.json {
        return output.write(entry::Stream::Stdout, line()).await;
    }
    let bytes = position.take_bytes(&chunk.text, chunk.data.as_deref())?;
    output.write(view.sink(chunk.stream), bytes).await
}
