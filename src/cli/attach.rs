//! `loomd attach`: watches a run again, with the keys and the exit code of `loomd run`.

use serde_json::json;

use super::{
    Stop,
    client::Launch,
    keys::Keys,
    live::{View, Watch},
    outcome::Outcome,
    render,
    tail::{self, Place},
    words,
};
use crate::model::calls::RunResult;

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
    #[arg(long, short = 'n', value_name = "LINES", default_value_t = LINES_BEFORE)]
    pub tail: u64,
    /// Send what is typed here to the program, line by line
    #[arg(long, short)]
    pub interactive: bool,
    /// Print the run's entries as lines of JSON, and the run itself as the last one
    #[arg(long)]
    pub json: bool,
    /// Say nothing beside the program's own output
    #[arg(long, short)]
    pub quiet: bool,
}

pub async fn main(options: Options, launch: &Launch) -> Result<u8, Stop> {
    let (session, notifications) = launch.open().await?;
    let run = session.run(session.run_id_or_newest(options.run.as_deref()).await?).await?;
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
        return Ok(Outcome::from(&run).code());
    }
    let keys = Keys::listen()?;
    let params = json!({ "runId": run.id, "afterSeq": place.after_seq });
    let RunResult { run } = session.call("run/attach", params).await?;
    let view = View { json: options.json, ends_with_run: true, quiet: options.quiet, interactive: options.interactive, ..View::default() };
    Watch::new(launch, view, run, place, session, notifications).show_to_end(Some(keys)).await
}
