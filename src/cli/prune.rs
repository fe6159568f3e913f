//! `loomd prune`: forgets ended runs by age, number or size.

use std::time::Duration;

use super::{Stop, client::Launch, render, words};
use crate::model::calls::{PruneParams, PruneResult};

/// Delete ended runs that are old or too many, the oldest first; pinned and live ones stay
#[derive(clap::Args, Debug)]
#[group(required = true, multiple = true)]
pub struct Options {
    /// Runs that ended longer ago (such as 30d)
    #[arg(long, value_name = "DURATION", value_parser = parse_age)]
    pub older_than: Option<Duration>,
    /// All but the newest so many
    #[arg(long, value_name = "RUNS", value_parser = words::parse_count)]
    pub keep: Option<u64>,
    /// As many as it takes until the store takes no more than this (such as 1G)
    #[arg(long, value_name = "SIZE", value_parser = words::parse_bytes)]
    pub max_size: Option<u64>,
}

/// Reads what [`words::parse_duration`] reads, and `30d`.
fn parse_age(text: &str) -> Result<Duration, String> {
    match text.strip_suffix('d').map(str::parse::<u64>) {
        Some(Ok(days)) => Ok(Duration::from_secs(days.saturating_mul(24 * 3600))),
        _ => words::parse_duration(text).map_err(|_| "write it like 30d, 12h or 90m".to_owned()),
    }
}

pub async fn main(options: Options, launch: &Launch) -> Result<u8, Stop> {
    let session = launch.open_quiet().await?;
    let older_than_ms = options.older_than.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
    let params = PruneParams { older_than_ms, keep_runs: options.keep, max_bytes: options.max_size };
    let pruned: PruneResult = session.call("store/prune", params).await?;
    session.close().await;
    let runs = if pruned.deleted_runs == 1 { "run" } else { "runs" };
    let (freed, file) = (words::bytes(pruned.freed_bytes), words::bytes(pruned.file_bytes));
    render::print(&format!("{} {runs} deleted, {freed} freed; the file has {file}\n", pruned.deleted_runs))?;
    if let Some(reason) = pruned.reason {
        render::note(&format!("the file was not made shorter: {reason}"));
    }
    Ok(0)
}
