//! `loomd delete`, `loomd prune` and `loomd stats`: which runs the store keeps, and how much space they take.

use std::time::Duration;

use super::{EarlyExit, format, render};
use crate::{
    client::ServerLaunch,
    model::{
        calls::{DeleteResult, Empty, PruneParams, RunIdParams, StatsResult},
        methods::{RunDelete, StorePrune, StoreStats},
    },
};

/// Delete ended runs with their output
#[derive(clap::Args, Debug)]
pub(crate) struct DeleteOptions {
    /// The runs to delete
    #[arg(required = true, value_name = "RUN")]
    pub(crate) runs: Vec<String>,
}

/// Delete old ended runs, oldest first; pinned runs are kept
#[derive(clap::Args, Debug)]
#[group(required = true, multiple = true)]
pub(crate) struct PruneOptions {
    /// Delete runs that ended longer ago than this, e.g. 30d
    #[arg(long, value_name = "DURATION", value_parser = parse_age)]
    pub(crate) older_than: Option<Duration>,
    /// Keep only this many runs
    #[arg(long, value_name = "RUNS", value_parser = format::parse_count)]
    pub(crate) keep: Option<u64>,
    /// Delete runs until the store is no larger than this, e.g. 1G
    #[arg(long, value_name = "SIZE", value_parser = format::parse_bytes)]
    pub(crate) max_size: Option<u64>,
}

/// Show the size of the store and the space it saves
#[derive(clap::Args, Debug)]
pub(crate) struct StatsOptions {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Deletes each run by itself: one that cannot be deleted makes the exit code 1 and does not stop the others.
pub(crate) async fn delete(options: DeleteOptions, launch: &ServerLaunch) -> Result<u8, EarlyExit> {
    let session = launch.open_without_notifications().await?;
    let mut code = 0;
    for text in &options.runs {
        let delete = async {
            let run_id = session.run_id(text).await?;
            let DeleteResult { freed_bytes } = session.call(RunDelete, RunIdParams { run_id }).await?;
            Ok(format!("Deleted {}, freed {}\n", launch.shown_id(run_id), format::bytes(freed_bytes)))
        };
        match delete.await {
            Ok(line) => render::print(&line)?,
            Err(failure) => {
                render::print_failure(&failure);
                code = 1;
            }
        }
    }
    session.close().await;
    Ok(code)
}

pub(crate) async fn prune(options: PruneOptions, launch: &ServerLaunch) -> Result<u8, EarlyExit> {
    let session = launch.open_without_notifications().await?;
    let older_than_ms = options.older_than.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
    let params = PruneParams { older_than_ms, keep_runs: options.keep, max_bytes: options.max_size };
    let pruned = session.call(StorePrune, params).await?;
    session.close().await;
    let runs = if pruned.deleted_runs == 1 { "run" } else { "runs" };
    let (freed, file) = (format::bytes(pruned.freed_bytes), format::bytes(pruned.file_bytes));
    render::print(&format!("Deleted {} {runs}, freed {freed} (store file: {file})\n", pruned.deleted_runs))?;
    if let Some(reason) = pruned.reason {
        render::note(&format!("The store file was not compacted: {reason}"));
    }
    Ok(0)
}

/// Reads what [`format::parse_duration`] reads, and days: `30d`.
fn parse_age(text: &str) -> Result<Duration, String> {
    match text.strip_suffix('d').map(str::parse::<u64>) {
        Some(Ok(days)) => Ok(Duration::from_secs(days.saturating_mul(24 * 3600))),
        _ => format::parse_duration(text).map_err(|_| "expected a duration such as 30d, 12h or 90m".to_owned()),
    }
}

pub(crate) async fn stats(options: StatsOptions, launch: &ServerLaunch) -> Result<u8, EarlyExit> {
    let session = launch.open_without_notifications().await?;
    let stats = session.call(StoreStats, Empty {}).await?;
    session.close().await;
    if options.json {
        render::print_json(&stats)?;
    } else {
        render::print(&stats_text(&stats))?;
    }
    Ok(0)
}

fn stats_text(stats: &StatsResult) -> String {
    let bytes = format::bytes;
    let limit = |value: u64, text: String| if value == 0 { "no limit".to_owned() } else { text };
    let retention = &stats.retention;
    format!(
        "runs       {} ({} live), {} entries\n\
         logs       {} uncompressed\n\
         stored     {}, in a file of {}\n\
         texts      {} stored once: {} in {}\n\
         deltas     {} stored in {} as differences to equal or similar output\n\
         saved      {} by both\n\
         retained   {} of deleted runs that other runs depend on\n\
         retention  age: {}; size: {}; count: {}\n",
        stats.runs,
        stats.live_runs,
        stats.entries,
        bytes(stats.logical_bytes),
        bytes(stats.stored_bytes),
        bytes(stats.file_bytes),
        stats.texts,
        bytes(stats.text_bytes),
        bytes(stats.text_stored_bytes),
        bytes(stats.delta_bytes),
        bytes(stats.delta_stored_bytes),
        bytes(stats.deduped_bytes),
        bytes(stats.kept_bytes),
        limit(retention.max_age_days, format!("{} days", retention.max_age_days)),
        limit(retention.max_bytes, bytes(retention.max_bytes)),
        limit(retention.max_runs, format!("{} runs", retention.max_runs)),
    )
}
