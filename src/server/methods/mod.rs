//! The methods, one file each or one for a few alike, and the table of them all.
//!
//! The part of a handler before its first await runs in the order in which requests came: what must take effect in that
//! order is pushed to the run's link there. What reads files or the store does so on another thread.

mod answer;
mod changes;
mod control;
mod export;
mod launch_spec;
mod list;
mod provider;
mod read;
mod start;
mod store;

use std::{marker::PhantomData, sync::Arc};

use serde::Serialize;
use serde_json::value::RawValue;

use super::{Server, lifecycle::ClientSession};
use crate::{
    history::History,
    model::{
        Failure, Run, RunId,
        methods::{self, Method, MethodName},
    },
    process::{ancestry::EnclosingRuns, current_process},
    rpc::{Flow, HandlerFuture, RequestContext, Service, read_params},
};

/// Bytes that may wait for a client when a large answer is made for it.
const MAX_UNREAD_BYTES: usize = 1 << 20;

impl Service for Arc<ClientSession> {
    type Method = MethodName;

    fn admit(&self, method: &str) -> Result<MethodName, Failure> {
        ClientSession::admit(self, method)
    }

    fn call(&self, method: MethodName, params: Option<Box<RawValue>>, context: RequestContext) -> HandlerFuture {
        handler(Arc::clone(self), method, params, context)
    }

    fn notification(&self, method: &str, _params: Option<&RawValue>) -> Flow {
        match method {
            "exit" => Flow::Exit(self.exit_code()),
            _ => Flow::Continue,
        }
    }
}

/// Everything that a handler gets besides its params.
pub(crate) struct Request {
    pub(crate) server: Arc<Server>,
    pub(crate) context: RequestContext,
}

/// What a handler answers: a result of its method, or that as JSON.
pub(crate) trait HandlerResult<R> {
    fn into_json(self) -> Result<Vec<u8>, Failure>;
}

/// A result of type `R` that is JSON already.
pub(crate) struct WrittenResult<R>(Vec<u8>, PhantomData<R>);

/// Whether a client in the tree of a run may ask for a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WithinRuns {
    /// It changes nothing, or starts a run, or steers one. Which runs it may steer, their supervisors decide, because
    /// they know where they were started.
    Allowed,
    Forbidden,
}

macro_rules! handlers {
    ($($method:ident, $within_runs:ident => $handler:path;)+) => {
        /// The handler of a request, which does not begin before it is polled.
        fn handler(
            session: Arc<ClientSession>,
            method: MethodName,
            params: Option<Box<RawValue>>,
            context: RequestContext,
        ) -> HandlerFuture {
            match method {
                MethodName::Initialize => Box::pin(async move {
                    session.initialize(read_params(params.as_deref())?, &context)?.into_json()
                }),
                MethodName::Shutdown => Box::pin(async move { session.shut_down().await?.into_json() }),
                $(MethodName::$method => {
                    Box::pin(answer(methods::$method, WithinRuns::$within_runs, $handler, session, params, context))
                })+
            }
        }
    };
}

handlers! {
    RunStart, Allowed => start::start;
    RunSend, Allowed => control::send;
    RunQueue, Allowed => control::queue;
    RunUnqueue, Allowed => control::unqueue;
    RunSetSize, Allowed => control::set_size;
    RunCloseInput, Allowed => control::close_input;
    RunInterrupt, Allowed => control::interrupt;
    RunCancel, Allowed => control::cancel;
    RunAnswer, Forbidden => answer::answer;
    RunConfigure, Forbidden => answer::configure;
    RunTakeover, Forbidden => answer::takeover;
    RunGet, Allowed => list::get;
    RunList, Allowed => list::list;
    RunEdit, Forbidden => store::edit;
    RunRead, Allowed => read::read;
    RunItems, Allowed => read::items;
    RunGetItem, Allowed => read::get_item;
    RunText, Allowed => read::text;
    RunSearch, Allowed => list::search;
    RunExport, Allowed => export::export;
    RunChanges, Allowed => changes::changes;
    RunAttach, Allowed => read::attach;
    RunDetach, Allowed => read::detach;
    RunSync, Allowed => control::sync;
    RunDelete, Forbidden => store::delete;
    RuleList, Allowed => provider::list_rules;
    RuleAdd, Forbidden => provider::add_rule;
    RuleRemove, Forbidden => provider::remove_rule;
    ProviderList, Allowed => provider::list;
    ProviderOptions, Allowed => provider::options;
    SessionList, Allowed => provider::sessions;
    StoreStats, Allowed => store::stats;
    StorePrune, Forbidden => store::prune;
}

async fn answer<M: Method, A: HandlerResult<M::Result>, F: Future<Output = Result<A, Failure>>>(
    _: M,
    within_runs: WithinRuns,
    handler: impl FnOnce(M::Params, Request) -> F,
    session: Arc<ClientSession>,
    params: Option<Box<RawValue>>,
    context: RequestContext,
) -> Result<Vec<u8>, Failure> {
    if cfg!(debug_assertions) {
        current_process::seam(&format!("request.{}", M::NAME.as_str()));
    }
    let params = read_params(params.as_deref())?;
    if within_runs == WithinRuns::Forbidden
        && let Some(run) = EnclosingRuns::own().limits().first()
    {
        return Err(Failure::forbidden(*run));
    }
    handler(params, Request { server: session.server()?, context }).await?.into_json()
}

impl<R: Serialize> HandlerResult<R> for R {
    fn into_json(self) -> Result<Vec<u8>, Failure> {
        serde_json::to_vec(&self).map_err(|error| Failure::internal(format!("the answer could not be written as JSON: {error}")))
    }
}

impl<R> WrittenResult<R> {
    /// The caller guarantees that these bytes are the JSON of an `R`, without a line feed.
    pub(crate) fn new(json: Vec<u8>) -> Self {
        Self(json, PhantomData)
    }
}

impl<R> HandlerResult<R> for WrittenResult<R> {
    fn into_json(self) -> Result<Vec<u8>, Failure> {
        Ok(self.0)
    }
}

/// Makes a large answer with a permit, and not before the client has read most of what it requested earlier.
pub(crate) async fn large_answer<T: Send + 'static>(
    request: &Request,
    work: impl FnOnce(&History) -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let server = &request.server;
    // The permit is released when the answer is made, which is queued before any other task wakes. It must not be held
    // until the answer is sent: in a batch the answer waits for those that come after it.
    let _turn = server.large_answers.acquire().await;
    server.out.control_below(MAX_UNREAD_BYTES).await;
    on_blocking_thread(server, work).await
}

/// The run as it is now.
pub(crate) async fn known_run(server: &Arc<Server>, id: RunId) -> Result<Run, Failure> {
    on_blocking_thread(server, move |history| Ok(history.known_run(id)?)).await
}

/// Runs `work`, which reads files or the store, on a thread that may block.
pub(crate) async fn on_blocking_thread<T: Send + 'static>(
    server: &Arc<Server>,
    work: impl FnOnce(&History) -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let history = server.history.clone();
    let done = tokio::task::spawn_blocking(move || work(&history)).await;
    done.map_err(|error| Failure::internal(format!("the request failed: {error}")))?
}
