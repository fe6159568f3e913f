//! `store/stats` and `store/prune`.

use super::{Request, on_a_thread};
use crate::{
    log::RunDir,
    model::{
        Failure,
        calls::{Empty, PruneParams, PruneResult, StatsResult},
    },
    server::{changes, changes::Change, prune},
    supervisor,
};

pub async fn stats(_: Empty, request: Request) -> Result<StatsResult, Failure> {
    let retention = request.server.config.retention;
    on_a_thread(&request.server, move |history| {
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
        // What is still in logs; a run may be sealed while this is counted.
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

pub async fn prune(params: PruneParams, request: Request) -> Result<PruneResult, Failure> {
    let server = &request.server;
    let data_dir = server.data_dir.clone();
    let pruned = server.keeper.commit(move |history| {
        let bounds = prune::Bounds::of(&params, supervisor::now());
        let pruned = prune::prune(history, &data_dir, bounds)?;
        let (compacted, reason) = prune::give_back(history);
        let file_bytes = history.store.stats()?.file_bytes;
        Ok((pruned, compacted, reason, file_bytes))
    });
    let (pruned, compacted, reason, file_bytes) = pruned.await?;
    for id in &pruned.runs {
        server.followers.detach(*id);
    }
    let deleted_runs = pruned.runs.len() as u64;
    if deleted_runs > 0
        && let Err(error) = changes::tell(&server.history.runs, &Change::Deleted(pruned.runs))
    {
        tracing::warn!(%error, "other servers do not hear of the deletion at once");
    }
    Ok(PruneResult { deleted_runs, freed_bytes: pruned.freed_bytes, file_bytes, compacted, reason })
}

fn log_bytes(dir: &RunDir) -> u64 {
    let segments = dir.segments().unwrap_or_default();
    segments.into_iter().filter_map(|first| Some(std::fs::metadata(dir.segment(first)).ok()?.len())).sum()
}
