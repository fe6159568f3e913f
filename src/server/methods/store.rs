//! What is kept: `store/stats`, `store/prune`, `run/edit` and `run/delete`.

use super::{Request, on_blocking_thread};
use crate::{
    log::RunDir,
    model::{
        Failure,
        calls::{DeleteResult, EditParams, Empty, PruneParams, PruneResult, RunIdParams, RunResult, StatsResult},
    },
    runs::{PruneBounds, PrunedRuns},
    supervisor::now,
};

pub(crate) async fn stats(_: Empty, request: Request) -> Result<StatsResult, Failure> {
    let retention = request.server.config.retention;
    on_blocking_thread(&request.server, move |history| {
        let stored = history.store.stats()?;
        let mut stats = StatsResult {
            runs: stored.runs,
            live_runs: 0,
            entries: stored.entries,
            logical_bytes: stored.logical_bytes,
            stored_bytes: stored.stored_bytes,
            file_bytes: stored.file_bytes,
            deduped_bytes: stored.deduped_bytes,
            texts: stored.texts,
            text_bytes: stored.text_bytes,
            text_stored_bytes: stored.text_stored_bytes,
            delta_bytes: stored.delta_bytes,
            delta_stored_bytes: stored.delta_stored_bytes,
            kept_bytes: stored.kept_bytes,
            retention,
            format_version: stored.format_version,
        };
        // Adds what is still in logs; a run may be sealed while this is counted.
        for entry in std::fs::read_dir(&history.runs).into_iter().flatten().flatten() {
            let Some(id) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            let Ok(Some(run)) = history.run(id) else { continue };
            let record = history.store.run(id)?;
            let sealed = record.as_ref().map_or(0, |record| record.sealed.seq);
            let bytes = log_bytes(&RunDir::of(&history.runs, id));
            stats.runs += u64::from(record.is_none());
            stats.live_runs += u64::from(!run.state.is_final());
            stats.entries += run.last_seq.saturating_sub(sealed);
            stats.logical_bytes += bytes;
            stats.stored_bytes += bytes;
        }
        Ok(stats)
    })
    .await
}

pub(crate) async fn prune(params: PruneParams, request: Request) -> Result<PruneResult, Failure> {
    let server = &request.server;
    let PrunedRuns { runs, freed_bytes, file_bytes, compacted, reason } = server.runs.prune(PruneBounds::of(&params, now())).await?;
    for id in &runs {
        server.followers.detach(*id);
    }
    Ok(PruneResult { deleted_runs: runs.len() as u64, freed_bytes, file_bytes, compacted, reason })
}

fn log_bytes(dir: &RunDir) -> u64 {
    let segments = dir.segments().unwrap_or_default();
    segments.into_iter().filter_map(|first| Some(std::fs::metadata(dir.segment(first)).ok()?.len())).sum()
}

pub(crate) async fn edit(params: EditParams, request: Request) -> Result<RunResult, Failure> {
    super::start::check_names(params.title.as_deref(), params.labels.as_ref())?;
    Ok(RunResult { run: request.server.runs.edit(params).await? })
}

pub(crate) async fn delete(params: RunIdParams, request: Request) -> Result<DeleteResult, Failure> {
    let server = &request.server;
    let id = params.run_id;
    server.runs.ensure_liveness(id).await?;
    let run = server.runs.current_run(id).await?;
    if !run.state.is_final() {
        return Err(Failure::run_active(run.state));
    }
    server.followers.detach(id);
    Ok(DeleteResult { freed_bytes: server.runs.delete(id).await? })
}
