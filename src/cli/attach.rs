//! `loomd attach`: watches a run again, with the keys and the exit code of `loomd run`.

use serde_json::json;

use super::{
    Stop,
    agent::{
        self,
        history::{self, LastLines},
        painter::Painter,
        talk::{self, Manner, Talk},
    },
    client::{Launch, Session},
    keys::Keys,
    live::{View, Watch},
    outcome::Outcome,
    render,
    tail::{self, Place},
    words,
};
use crate::{
    model::{Run, calls::RunResult},
    rpc::Notifications,
};

/// Lines that are shown of what was before.
const LINES_BEFORE: u64 = 10;

/// Watch a run again: its output, its keys, its exit code
#[derive(clap::Args, Debug)]
pub struct Options {
    /// The run [default: the newest]
    pub run: Option<String>,
    /// Show everything from its start
    #[arg(long, conflicts_with = "tail")]
    pub from_start: bool,
    /// Show so many lines of what was before
    #[arg(long, short = 'n', value_name = "LINES", default_value_t = LINES_BEFORE, value_parser = words::parse_count)]
    pub tail: u64,
    /// Send what is typed here to the program, line by line
    #[arg(long, short)]
    pub interactive: bool,
    /// Print the run's entries as lines of JSON, and the run itself as the last one
    #[arg(long)]
    pub json: bool,
    /// Say nothing beside the program's own output, or the agent's own messages
    #[arg(long, short)]
    pub quiet: bool,
    /// Of an agent: what it wrote, as it wrote it, instead of what it means
    #[arg(long)]
    pub raw: bool,
    /// Of an agent: all output of its tools, and its changes whole
    #[arg(long)]
    pub full: bool,
}

pub async fn main(options: Options, launch: &Launch) -> Result<u8, Stop> {
    let launch = &launch.asking(!options.json && !options.raw);
    let (session, notifications) = launch.open().await?;
    let run = session.run(session.run_id_or_newest(options.run.as_deref()).await?).await?;
    let is_agent = agent::is_told(&run, &session.info.providers, launch);
    if is_agent && !options.raw && !options.json {
        return talk(&options, launch, run, (session, notifications)).await;
    }
    let place = match options.from_start {
        true => Place::default(),
        false => tail::begin(&session, &run, None, options.tail).await?,
    };
    if render::stderr_is_terminal() && !options.quiet {
        let (id, command) = (words::short(run.id), words::command_line(&run.command));
        let keys = if run.state.is_final() { "" } else { r" (Ctrl-\ leaves it running)" };
        render::note(&format!("run {id}: {command}{keys}"));
    }
    if run.state.is_final() && place.after_seq >= run.last_seq {
        // Nothing is left to be told.
        if options.json {
            render::print_json(&run)?;
        }
        drop(notifications);
        session.close().await;
        let outcome = Outcome::from(&run);
        return Ok(if is_agent { outcome.agent_code() } else { outcome.code() });
    }
    let keys = Keys::listen()?;
    let params = json!({ "runId": run.id, "afterSeq": place.after_seq });
    let RunResult { run } = session.call("run/attach", params).await?;
    let view = View {
        json: options.json,
        ends_with_run: true,
        quiet: options.quiet,
        interactive: options.interactive,
        is_agent,
        ..View::default()
    };
    Watch::new(launch, view, run, place, session, notifications).show_to_end(Some(keys)).await
}

/// Shows what an agent said before, and goes on from there.
async fn talk(options: &Options, launch: &Launch, run: Run, (session, notifications): (Session, Notifications)) -> Result<u8, Stop> {
    let is_open = run.params.get("interactive").is_some_and(|interactive| interactive == true);
    let manner = Manner {
        full: options.full,
        quiet: options.quiet,
        interactive: options.interactive || (is_open && launch.can_answer),
        only_look: false,
    };
    if render::stderr_is_terminal() && !options.quiet {
        let keys = if run.state.is_final() { "" } else { r" (Ctrl-\ leaves it running)" };
        let asked = run.title.clone().or_else(|| agent::first_prompt_line(&run)).unwrap_or_default();
        let line = format!("run {}: {} {}{keys}", words::short(run.id), run.provider, words::plain(&asked));
        render::note(&line);
    }
    let mut painter = Painter::new(talk::paper(manner), &run.cwd);
    let mut last = LastLines::new(if options.from_start { u64::MAX } else { options.tail });
    let after_seq = history::paint(&session, &run, &mut painter, async |text| {
        last.push(&text);
        Ok(())
    })
    .await?;
    if run.state.is_final() {
        painter.finish();
        last.push(&painter.take());
        render::print(&last.text())?;
        drop(notifications);
        let outcome = Outcome::from(&run);
        if !options.quiet {
            render::note(&format!("run {} {}", words::short(run.id), outcome.words()));
        }
        session.close().await;
        return Ok(outcome.agent_code());
    }
    render::print(&last.text())?;
    let keys = Keys::listen()?;
    let params = json!({ "runId": run.id, "afterSeq": after_seq, "kinds": ["update"] });
    let RunResult { run } = session.call("run/attach", params).await?;
    Talk::new(launch, manner, run, (session, notifications), painter, after_seq).show_to_end(Some(keys)).await
}
