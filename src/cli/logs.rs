//! `loomd logs`: the output of a run, exactly as the program wrote it; of an agent's run, what it means. In pages, so that its size
//! does not matter.

use clap::ValueEnum;
use serde::Deserialize;
use serde_json::{json, value::RawValue};

use super::{
    Stop,
    agent::{
        self,
        history::{self, LastLines},
        painter::Painter,
        talk::{self, Manner, Talk},
    },
    client::{Launch, Session},
    live::{View, Watch},
    outcome::Outcome,
    output::Output,
    render,
    tail::{self, Place},
    words,
};
use crate::{
    history::counted,
    model::{
        Entry, Failure, Run, RunState,
        calls::{RunResult, TextResult},
        entry,
    },
    rpc::Notifications,
};

/// Print what a run has written; -f goes on until it ends
#[derive(clap::Args, Debug)]
pub struct Options {
    /// The run [default: the newest]
    pub run: Option<String>,
    /// Go on until the run ends
    #[arg(long, short)]
    pub follow: bool,
    /// Only the last lines
    #[arg(long, short = 'n', value_name = "LINES", value_parser = words::parse_count)]
    pub tail: Option<u64>,
    /// Only this stream [default: both, in order of arrival]
    #[arg(long, value_name = "STREAM")]
    pub stream: Option<Stream>,
    /// From this byte of the stream on (stdout, if none is named), as `loomd search` tells it
    #[arg(long, value_name = "BYTE", value_parser = words::parse_count, conflicts_with_all = ["follow", "tail", "json", "full"])]
    pub offset: Option<u64>,
    /// Print entries as lines of JSON
    #[arg(long)]
    pub json: bool,
    /// Of an agent: what it wrote, as it wrote it, instead of what it means
    #[arg(long)]
    pub raw: bool,
    /// Of an agent: all output of its tools, and its changes whole
    #[arg(long)]
    pub full: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Stream {
    Stdout,
    Stderr,
}

impl From<Stream> for entry::Stream {
    fn from(stream: Stream) -> Self {
        match stream {
            Stream::Stdout => Self::Stdout,
            Stream::Stderr => Self::Stderr,
        }
    }
}

pub async fn main(options: Options, launch: &Launch) -> Result<u8, Stop> {
    let (session, notifications) = launch.open().await?;
    let run = session.run(session.run_id_or_newest(options.run.as_deref()).await?).await?;
    if let Some(offset) = options.offset {
        print_from(&session, &run, stream_of(&options).unwrap_or(entry::Stream::Stdout), offset).await?;
        session.close().await;
        return Ok(0);
    }
    if agent::is_told(&run, &session.info.providers, launch) && !options.raw && !options.json && options.stream.is_none() {
        return print_meaning(&options, launch, run, (session, notifications)).await;
    }
    let stream = stream_of(&options);
    let place = match options.tail {
        Some(lines) => tail::begin(&session, &run, stream, lines).await?,
        None => Place::default(),
    };
    let view = View { json: options.json, stream, merged: true, quiet: true, ..View::default() };
    if options.follow && !run.state.is_final() {
        let RunResult { run } = session.call("run/attach", json!({ "runId": run.id, "afterSeq": place.after_seq })).await?;
        Watch::new(launch, view, run, place, session, notifications).show_to_end(None).await?;
        return Ok(0);
    }
    drop(notifications);
    print_pages(&session, &run, place, &view).await?;
    session.close().await;
    Ok(0)
}

fn stream_of(options: &Options) -> Option<entry::Stream> {
    options.stream.map(entry::Stream::from)
}

/// Prints a stream from a byte on, as text.
async fn print_from(session: &Session, run: &Run, stream: entry::Stream, mut offset: u64) -> Result<(), Stop> {
    let output = Output::start()?;
    loop {
        let page: TextResult = session.call("run/text", json!({ "runId": run.id, "stream": stream, "offset": offset })).await?;
        output.write(stream, page.text.into_bytes()).await?;
        // As far as it was asked for; a run that writes faster than we print would never end.
        let end = counted(run.bytes, Some(stream));
        if page.next_offset >= end.min(page.total_bytes) || page.next_offset <= offset {
            return output.flush().await;
        }
        offset = page.next_offset;
    }
}

/// Prints what an agent said and did.
async fn print_meaning(
    options: &Options,
    launch: &Launch,
    run: Run,
    (session, notifications): (Session, Notifications),
) -> Result<u8, Stop> {
    let manner = Manner { full: options.full, only_look: true, ..Manner::default() };
    let mut painter = Painter::new(talk::paper(manner), &run.cwd);
    let mut last = options.tail.map(LastLines::new);
    let output = Output::start()?;
    let print = async |text: String| output.write(history::OUT, text.into_bytes()).await;
    let after_seq = history::paint(&session, &run, &mut painter, async |text| match &mut last {
        Some(last) => {
            last.push(&text);
            Ok(())
        }
        None => print(text).await,
    })
    .await?;
    let follows = options.follow && !run.state.is_final();
    if !follows {
        painter.finish();
    }
    let rest = painter.take();
    let rest = match last {
        Some(mut last) => {
            last.push(&rest);
            last.text()
        }
        None => rest,
    };
    print(rest).await?;
    output.flush().await?;
    if follows {
        let params = json!({ "runId": run.id, "afterSeq": after_seq, "kinds": ["update"] });
        let RunResult { run } = session.call("run/attach", params).await?;
        Talk::new(launch, manner, run, (session, notifications), painter, after_seq).show_to_end(None).await?;
        return Ok(0);
    }
    if run.state.is_final() && run.state != RunState::Succeeded {
        render::note(&format!("run {} {}", words::short(run.id), Outcome::from(&run).words()));
    }
    drop(notifications);
    session.close().await;
    Ok(0)
}

/// A page of entries that are passed on as they are.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    entries: Vec<Box<RawValue>>,
    next_after_seq: u64,
    at_end: bool,
}

async fn print_pages(session: &Session, run: &Run, mut place: Place, view: &View) -> Result<(), Stop> {
    let output = Output::start()?;
    let mut params = json!({ "runId": run.id, "afterSeq": place.after_seq });
    if !view.json || view.stream.is_some() {
        params["kinds"] = json!(["output"]);
    }
    loop {
        params["afterSeq"] = json!(place.after_seq);
        let page: Page = session.call("run/read", &params).await?;
        for raw in &page.entries {
            let entry = serde_json::from_str(raw.get());
            let entry: Entry =
                entry.map_err(|error| Failure::internal(format!("the server sent an entry that is not understood: {error}")))?;
            print_entry(&entry, raw.get(), &mut place, view, &output).await?;
        }
        // What came after the first look is for `-f`; a run that writes faster than we print would never end.
        if page.at_end || page.next_after_seq <= place.after_seq || page.next_after_seq >= run.last_seq {
            break;
        }
        place.after_seq = page.next_after_seq;
    }
    output.flush().await
}

async fn print_entry(entry: &Entry, raw: &str, place: &mut Place, view: &View, output: &Output) -> Result<(), Stop> {
    let line = || format!("{raw}\n").into_bytes();
    let Entry::Output(chunk) = entry else { return output.write(entry::Stream::Stdout, line()).await };
    if view.stream.is_some_and(|stream| stream != chunk.stream) {
        return Ok(());
    }
    if view.json {
        return output.write(entry::Stream::Stdout, line()).await;
    }
    let mut bytes = super::raw::exact_bytes(&chunk.text, chunk.data.as_deref())?.into_owned();
    let skipped = std::mem::take(&mut place.skip).min(bytes.len() as u64);
    bytes.drain(..skipped as usize);
    output.write(view.sink(chunk.stream), bytes).await
}
