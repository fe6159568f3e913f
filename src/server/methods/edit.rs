//! `run/edit` and `run/delete`.

use std::{sync::Arc, time::Duration};

use super::{Request, control, on_a_thread};
use crate::{
    history::History,
    log::Description,
    model::{
        Failure, Run, RunId,
        calls::{DeleteResult, EditParams, RunIdParams, RunResult},
    },
    server::{Server, changes, changes::Change, prune},
    supervisor::words::Word,
};

/// How long an edit waits for the store.
const STORE_PATIENCE: Duration = Duration::from_secs(5);

pub async fn edit(params: EditParams, request: Request) -> Result<RunResult, Failure> {
    let server = &request.server;
    let id = params.run_id;
    let word = Word::Edit { title: params.title.clone(), labels: params.labels.clone(), pinned: params.pinned };
    if let Some(link) = server.links.of(server, id)
        && let Some(result) = control::wait_for(server, id, &mut link.push(word)).await?
    {
        return Ok(RunResult { run: serde_json::from_value(result?).map_err(|error| Failure::internal(error.to_string()))? });
    }
    // It has ended. Until it is sealed its description stands beside its log, and then in the store; it may be sealed just now.
    let described = params.clone();
    let in_log = on_a_thread(server, move |history| describe(history, id, described)).await?;
    if in_log && server.history.dir(id).path().exists() {
        tell(server, &Change::Edited(id));
        return Ok(RunResult { run: on_a_thread(server, move |history| history.known_run(id)).await? });
    }
    let edited = server.keeper.commit(move |history| history.store.edit(id, |run| change(run, params)));
    let run = match tokio::time::timeout(STORE_PATIENCE, edited).await {
        Ok(run) => run?,
        Err(_) => {
            let path = server.history.store.path();
            return Err(Failure::store(
                path,
                "another loomd holds the store and does not go on (is it stopped?); the edit will be made once it does",
            ));
        }
    };
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
    let freed_bytes = server.keeper.commit(move |history| prune::remove(history, &data_dir, &[id])).await?.freed_bytes;
    tell(server, &Change::Deleted(vec![id]));
    Ok(DeleteResult { freed_bytes })
}

fn change(run: &mut Run, params: EditParams) {
    run.title = params.title.or(run.title.take());
    run.labels = params.labels.unwrap_or_else(|| std::mem::take(&mut run.labels));
    run.pinned = params.pinned.unwrap_or(run.pinned);
}

/// Edits the description beside the log of a run that has ended. False if there is none.
fn describe(history: &History, id: RunId, params: EditParams) -> Result<bool, Failure> {
    let dir = history.dir(id);
    let failed = |error: std::io::Error| Failure::store(dir.path(), format!("the edit was not kept: {error}; make room and try again"));
    let mut description = match Description::read(&dir) {
        Ok(description) => description,
        Err(_) if !dir.path().exists() => return Ok(false),
        Err(error) => return Err(failed(error)),
    };
    change(&mut description.run, params);
    match description.write(&dir) {
        Ok(()) => Ok(true),
        Err(_) if !dir.path().exists() => Ok(false),
        Err(error) => Err(failed(error)),
    }
}

fn tell(server: &Arc<Server>, change: &Change) {
    if let Err(error) = changes::tell(&server.history.runs, change) {
        tracing::warn!(%error, "other servers do not hear of the change at once");
    }
}
