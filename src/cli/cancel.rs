//! `loomd cancel`: ends runs, and waits until they and all that they started are gone.

use std::time::Duration;

use futures_util::{StreamExt, stream::FuturesUnordered};

use super::{
    Stop,
    client::Launch,
    outcome::Outcome,
    render::{self, Spinner},
    words,
};
use crate::model::calls::{CancelParams, RunResult};

/// Stop runs, and every process that they started
#[derive(clap::Args, Debug)]
pub struct Options {
    /// The runs
    #[arg(required = true, value_name = "RUN")]
    pub runs: Vec<String>,
    /// How long a program may take to end by itself before it is killed [default: 2s]
    #[arg(long, value_name = "DURATION", value_parser = words::parse_duration)]
    pub grace: Option<Duration>,
    /// Print each run as a line of JSON
    #[arg(long)]
    pub json: bool,
}

pub async fn main(options: Options, launch: &Launch) -> Result<u8, Stop> {
    let session = launch.open_quiet().await?;
    let grace_ms = options.grace.map(|grace| u64::try_from(grace.as_millis()).unwrap_or(u64::MAX));
    let mut code = 0;
    let mut runs = Vec::new();
    for text in &options.runs {
        match session.run_id(text).await {
            Ok(id) => runs.push(id),
            Err(failure) => {
                render::tell_failure(&failure);
                code = 1;
            }
        }
    }
    let ask = |run_id| session.call::<_, RunResult>("run/cancel", CancelParams { run_id, grace_ms });
    let mut answers: FuturesUnordered<_> = runs.into_iter().map(ask).collect();
    let spinner = Spinner::start("waiting for the end".to_owned());
    while let Some(answer) = answers.next().await {
        match answer {
            Ok(RunResult { run }) if options.json => spinner.suspend(|| render::print_json(&run))?,
            Ok(RunResult { run }) => {
                let line = format!("{} {}\n", words::short(run.id), Outcome::from(&run).words());
                spinner.suspend(|| render::print(&line))?;
            }
            Err(failure) => {
                spinner.suspend(|| render::tell_failure(&failure));
                code = 1;
            }
        }
    }
    drop((spinner, answers));
    session.close().await;
    Ok(code)
}
