//! `loomd cancel`: ends runs and waits until they and all their processes are gone.

use std::time::Duration;

use futures_util::{StreamExt, stream::FuturesUnordered};

use super::{
    EarlyExit, format,
    outcome::RunOutcome,
    render::{self, Spinner},
};
use crate::{
    client::ServerLaunch,
    model::{
        calls::{CancelParams, RunResult},
        methods::RunCancel,
    },
};

/// Cancel runs and end all their processes
#[derive(clap::Args, Debug)]
pub(crate) struct Options {
    /// Run IDs or their last digits
    #[arg(required = true, value_name = "RUN")]
    pub(crate) runs: Vec<String>,
    /// Time before the program is killed [default: 2s]
    #[arg(long, value_name = "DURATION", value_parser = format::parse_duration)]
    pub(crate) grace: Option<Duration>,
    /// Print each run as a JSON line
    #[arg(long)]
    pub(crate) json: bool,
}

pub(crate) async fn main(options: Options, launch: &ServerLaunch) -> Result<u8, EarlyExit> {
    let session = launch.open_without_notifications().await?;
    let grace_ms = options.grace.map(|grace| u64::try_from(grace.as_millis()).unwrap_or(u64::MAX));
    let mut code = 0;
    let mut runs = Vec::new();
    for text in &options.runs {
        match session.run_id(text).await {
            Ok(id) => runs.push(id),
            Err(failure) => {
                render::print_failure(&failure);
                code = 1;
            }
        }
    }
    let cancel = |run_id| session.call(RunCancel, CancelParams { run_id, grace_ms });
    let mut replies: FuturesUnordered<_> = runs.into_iter().map(cancel).collect();
    let spinner = Spinner::start("Canceling".to_owned());
    while let Some(reply) = replies.next().await {
        match reply {
            Ok(RunResult { run }) if options.json => spinner.suspend(|| render::print_json_of(launch.host(), &run))?,
            Ok(RunResult { run }) => {
                let line = format!("{} {}\n", launch.shown_id(run.id), RunOutcome::from(&run).description());
                spinner.suspend(|| render::print(&line))?;
            }
            Err(failure) => {
                spinner.suspend(|| render::print_failure(&failure));
                code = 1;
            }
        }
    }
    drop((spinner, replies));
    session.close().await;
    Ok(code)
}
