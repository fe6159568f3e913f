//! `run/edit` and `run/delete`.

use std::sync::Arc;

use super::{Request, on_a_thread};
use crate::{
    history::History,
    model::{
        Failure, Run, RunId,
        calls::{DeleteResult, EditParams, RunIdParams, RunResult},
    },
    process::lock::Lock,
    server::{
        Server, adopt, changes,
        changes::Change,
        claims, keeper,
        seal::{self, Outcome},
    },
    supervisor::words::Word,
};

pub async fn edit(params: EditParams, request: Request) -> Result<RunResult, Failure> {
    let server = &request.server;
    let id = params.run_id;
    let word = Word::Edit { title: params.title.clone(), labels: params.labels.clone(), pinned: params.pinned };
    if let Some(link) = server.links.of(server, id)
        && let Ok(result) = link.push(word).await
    {
        return Ok(RunResult { run: serde_json::from_value(result?).map_err(|error| Failure::internal(error.to_string()))? });
    }
    // It has ended; once it is sealed, the store is where its description stands.
    sealed(server, id).await?;
    let run = server.keeper.commit(move |history| history.store.edit(id, |run| change(run, params))).await?;
    tell(server, &Change::Edited(id));
    Ok(RunResult { run: run.ok_or_else(|| Failure::run_not_found(id))? })
}

pub async fn delete(params: RunIdParams, request: Request) -> Result<DeleteResult, Failure> {
    let server = &request.server;
    let id = params.run_id;
    server.keeper.settled(id).await?;
    let run = on_a_thread(server, move |history| history.known_run(id)).await?;
    if !run.state.is_final() {
        return Err(Failure::run_active(run.state));
    }
    server.followers.detach(id);
    let data_dir = server.data_dir.clone();
    let freed_bytes = server.keeper.commit(move |history| remove(history, &data_dir, id)).await?;
    tell(server, &Change::Deleted(vec![id]));
    Ok(DeleteResult { freed_bytes })
}

fn change(run: &mut Run, params: EditParams) {
    run.title = params.title.or(run.title.take());
    run.labels = params.labels.unwrap_or_else(|| std::mem::take(&mut run.labels));
    run.pinned = params.pinned.unwrap_or(run.pinned);
}

/// Waits until a run that has ended is in the store.
async fn sealed(server: &Arc<Server>, id: RunId) -> Result<(), Failure> {
    while server.history.dir(id).path().exists() {
        let (data_dir, keep) = (server.data_dir.clone(), server.config.keep_transcripts);
        let outcome = on_a_thread(server, move |history| seal::seal(history, &data_dir, keep, id)).await?;
        if outcome == Outcome::Done {
            break;
        }
        tokio::time::sleep(keeper::LOOK).await;
    }
    Ok(())
}

/// Removes a run's log and rows. The log goes first, so that nobody seals what is being deleted.
fn remove(history: &History, data_dir: &std::path::Path, id: RunId) -> Result<u64, Failure> {
    let dir = history.dir(id);
    let failed = |error: std::io::Error| Failure::store(dir.path(), format!("the run's log cannot be removed: {error}"));
    let mut freed = 0;
    if dir.path().exists() {
        let token = crate::log::Description::read(&dir).ok().and_then(|description| description.token);
        // Whoever seals it holds this for a moment.
        let _lock = loop {
            match Lock::try_take_or_create(&dir.seal()) {
                Ok(Some(lock)) => break Some(lock),
                Ok(None) => std::thread::sleep(keeper::LOOK),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => break None,
                Err(error) => return Err(failed(error)),
            }
        };
        if dir.path().exists() {
            freed += dir.size().map_err(failed)?;
            seal::remove(&history.runs, &dir, id).map_err(failed)?;
        }
        if let Some(token) = token.and_then(|token| blake3::Hash::from_hex(token).ok()) {
            let _ = std::fs::remove_file(claims::path(data_dir, token.as_bytes()));
        }
    }
    // There only with `keepTranscripts`.
    let _ = std::fs::remove_dir_all(data_dir.join("transcripts").join(id.to_string()));
    adopt::remove_aside(&data_dir.join("aside"), id);
    Ok(freed + history.store.delete(id)?.unwrap_or(0))
}

fn tell(server: &Arc<Server>, change: &Change) {
    if let Err(error) = changes::tell(&server.history.runs, change) {
        tracing::warn!(%error, "other servers do not hear of the change at once");
    }
}
