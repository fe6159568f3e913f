//! Eyes on the data directory: live runs of all servers, runs that nobody holds, news of other servers.

use std::{
    fs,
    path::Path,
    sync::{Arc, Weak},
    time::{Duration, SystemTime},
};

use notify::{RecursiveMode, Watcher};
use tokio::sync::mpsc;

use super::{
    Server, adopt,
    changes::{Change, Changes},
    seal,
};
use crate::model::{RunId, UnixMs};

/// How often the directory is looked at where the system cannot tell.
const LOOK: Duration = Duration::from_millis(500);

/// Begins to watch. To be called once the client has its answer to `initialize`.
pub fn begin(server: &Arc<Server>) {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0));
    tokio::spawn(watch(Arc::downgrade(server), since));
}

async fn watch(server: Weak<Server>, since: UnixMs) {
    let Some(first) = server.upgrade() else { return };
    let runs = first.history.runs.clone();
    let mut changes = Changes::from_now_on(&runs);
    let (told, mut events) = mpsc::unbounded_channel();
    // Before the first look, so that nothing falls between the two.
    let watcher = watcher(&runs, told);
    first.keeper.tidy();
    let mut busy = look(&first, since, true).await;
    drop(first);
    loop {
        match &watcher {
            Some(_) => {
                // Something that is being started, or whose starter is just dying, is looked at again: nobody tells of a lock.
                let patience = if busy { LOOK } else { Duration::MAX };
                if let Ok(None) = tokio::time::timeout(patience, events.recv()).await {
                    return;
                }
                while events.try_recv().is_ok() {}
            }
            None => tokio::time::sleep(LOOK).await,
        }
        let Some(server) = server.upgrade() else { return };
        busy = look(&server, since, false).await;
        match changes.news() {
            Ok(news) => tell(&server, news).await,
            Err(error) => tracing::warn!(%error, "what other servers tell cannot be read"),
        }
    }
}

/// Asks the system to tell of new names in `runs/` and of news. There are few such watches to have: 128 a user on Linux.
fn watcher(runs: &Path, told: mpsc::UnboundedSender<()>) -> Option<notify::RecommendedWatcher> {
    let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if event.is_ok_and(|event| !event.kind.is_access()) {
            // The receiver goes with the server.
            let _ = told.send(());
        }
    });
    let watched = watcher.and_then(|mut watcher| watcher.watch(runs, RecursiveMode::NonRecursive).map(|()| watcher));
    watched.inspect_err(|error| tracing::info!(%error, "looking at the runs each half second")).ok()
}

/// Looks at every name in `runs/`: links to runs that live, closes those that nobody holds, removes leftovers. Whether a
/// leftover is left, for somebody holds it.
async fn look(server: &Arc<Server>, since: UnixMs, first: bool) -> bool {
    let runs = server.history.runs.clone();
    let known = server.links.ids();
    let found = tokio::task::spawn_blocking(move || names(&runs)).await.unwrap_or_default();
    for id in found.runs.into_iter().filter(|id| !known.contains(id)) {
        if !server.broadcast.watches() && !first {
            continue;
        }
        if server.broadcast.watches() && server.links.discover(server, id) && id.created_at() >= since {
            announce(server, id).await;
        } else if !server.broadcast.watches() {
            // Nobody here wants to hear of it, but if nobody holds it, it must be closed and sealed.
            if matches!(server.keeper.settle(id).await, Ok(adopt::Settled::Final)) {
                server.keeper.seal(id);
            }
        }
    }
    let mut busy = false;
    for (path, id) in found.leftovers {
        let leftover = path.clone();
        let done = tokio::task::spawn_blocking(move || match id {
            Some(id) => adopt::remove_unborn(&path, id),
            None => seal::remove_left(&path),
        });
        if let Ok(Err(error)) = done.await {
            tracing::warn!(%error, "a leftover cannot be removed");
        }
        busy |= leftover.exists();
    }
    busy
}

/// Tells the client of a run that another server has started.
async fn announce(server: &Arc<Server>, id: RunId) {
    let reader = Arc::clone(server);
    match tokio::task::spawn_blocking(move || reader.history.run(id)).await {
        Ok(Ok(Some(run))) => server.broadcast.changed(server, &run),
        Ok(Err(failure)) => tracing::warn!(run = %id, %failure, "the client does not hear of the run"),
        Ok(Ok(None)) | Err(_) => {}
    }
}

async fn tell(server: &Arc<Server>, news: Vec<Change>) {
    for change in news {
        match change {
            Change::Edited(id) => announce(server, id).await,
            Change::Deleted(ids) => server.broadcast.deleted(&ids),
        }
    }
}

#[derive(Default)]
struct Names {
    runs: Vec<RunId>,
    /// Directories that are not runs; with the id where one was being started.
    leftovers: Vec<(std::path::PathBuf, Option<RunId>)>,
}

fn names(runs: &Path) -> Names {
    let mut names = Names::default();
    for entry in fs::read_dir(runs).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if let Ok(id) = name.parse() {
            names.runs.push(id);
        } else if let Some(id) = name.strip_prefix(".new-").and_then(|id| id.parse().ok()) {
            names.leftovers.push((entry.path(), Some(id)));
        } else if name.starts_with(".gone-") {
            names.leftovers.push((entry.path(), None));
        }
    }
    names
}
