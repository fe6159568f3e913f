//! `run/attach` and `run/detach`.

use std::sync::Arc;

use super::{Request, on_a_thread};
use crate::{
    model::{
        Failure, RunId,
        calls::{AttachParams, Empty, RunIdParams, RunResult},
    },
    server::follower::Wanted,
    supervisor::words::Word,
};

pub async fn attach(params: AttachParams, request: Request) -> Result<RunResult, Failure> {
    let (id, after) = (params.run_id, params.after_seq.unwrap_or(0));
    if request.server.history.dir(id).path().exists() {
        request.server.keeper.settled(id).await?;
    }
    let run = on_a_thread(&request.server, move |history| history.known_run(id)).await?;
    if after > run.last_seq {
        let message = format!("the log ends at entry {}; attach after that or an earlier one", run.last_seq);
        return Err(Failure::invalid_params("afterSeq", message));
    }
    follow(&request, id, after, Wanted::of(params.kinds.as_deref()));
    // From here on the client hears of the run only by the follower, so this picture misses nothing.
    Ok(RunResult { run: on_a_thread(&request.server, move |history| history.known_run(id)).await? })
}

pub async fn detach(params: RunIdParams, request: Request) -> Result<Empty, Failure> {
    let (server, id) = (Arc::clone(&request.server), params.run_id);
    let sent = server.followers.detach(id);
    server.broadcast.detached(id);
    if sent.is_some()
        && let Some(link) = server.links.of(&server, id)
    {
        drop(link.push(Word::Attached(false)));
    }
    let run = on_a_thread(&server, move |history| history.known_run(id)).await?;
    // What the client was not sent any more: it hears how the run stands.
    if sent.is_some_and(|sent| sent < run.last_seq) {
        request.call.after.run(move || server.broadcast.changed(&server, &run));
    }
    Ok(Empty {})
}

/// Attaches the client once the request has been answered.
pub fn follow(request: &Request, id: RunId, after: u64, wanted: Wanted) {
    let server = Arc::clone(&request.server);
    let link = server.links.of(&server, id);
    if let Some(link) = &link {
        drop(link.push(Word::Attached(true)));
    }
    server.broadcast.attached(id);
    let follower = server.followers.attach(id, after, wanted, link.map(|link| link.grown()));
    request.call.after.run(move || follower.start(&server));
}
