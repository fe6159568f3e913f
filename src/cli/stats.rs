//! `loomd stats`: what the store holds, what it saved, and why.

use super::{Stop, client::Launch, render, words};
use crate::model::calls::StatsResult;

/// Show what the store holds and what it saved
#[derive(clap::Args, Debug)]
pub struct Options {
    /// As JSON
    #[arg(long)]
    pub json: bool,
}

pub async fn main(options: Options, launch: &Launch) -> Result<u8, Stop> {
    let session = launch.open_quiet().await?;
    let stats: StatsResult = session.call("store/stats", ()).await?;
    session.close().await;
    if options.json {
        render::print_json(&stats)?;
    } else {
        render::print(&text(&stats))?;
    }
    Ok(0)
}

fn text(stats: &StatsResult) -> String {
    let bytes = words::bytes;
    let bound = |value: u64, told: String| if value == 0 { "no bound".to_owned() } else { told };
    let retention = &stats.retention;
    format!(
        "runs       {} ({} live), {} entries\n\
         logs       {} as they were\n\
         stored     {}, in a file of {}\n\
         texts      {} kept once: {} in {}; {} more would have been repeats\n\
         repeats    {} kept in {} as what differs from earlier runs\n\
         kept       {} of deleted runs, because others build on them\n\
         retention  {}; {}; {}\n",
        stats.runs,
        stats.live_runs,
        stats.entries,
        bytes(stats.logical_bytes),
        bytes(stats.stored_bytes),
        bytes(stats.file_bytes),
        stats.texts,
        bytes(stats.text_bytes),
        bytes(stats.text_stored_bytes),
        bytes(stats.deduped_bytes),
        bytes(stats.delta_bytes),
        bytes(stats.delta_stored_bytes),
        bytes(stats.kept_bytes),
        bound(retention.max_age_days, format!("{} days", retention.max_age_days)),
        bound(retention.max_bytes, bytes(retention.max_bytes)),
        bound(retention.max_runs, format!("{} runs", retention.max_runs)),
    )
}
