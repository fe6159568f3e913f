//! The methods, one file each or one for a few alike, and the table of them all.
//!
//! A handler's first step runs in the order in which requests came: what must take effect in that order is pushed to the
//! run's link before the first await. What reads files or the store does so on another thread.

mod answer;
mod attach;
mod changes;
mod control;
mod edit;
mod export;
mod list;
mod provider;
mod read;
mod search;
mod start;
mod store;
mod text;

use std::sync::Arc;

use jsonrpsee::{Methods, RpcModule};
use serde::{Serialize, de::DeserializeOwned};

use super::{Server, lifecycle::Session};
use crate::{
    history::History,
    model::{Failure, calls::InitializeParams},
    process::own,
    rpc::{self, Call},
};

/// Most bytes that may wait for a client when a large answer is made for it.
const UNREAD: usize = 1 << 20;

/// Everything that a handler is given.
pub struct Request {
    pub server: Arc<Server>,
    pub call: Call,
}

/// All methods, for dispatch.
pub fn table(session: Arc<Session>) -> Methods {
    let mut module = RpcModule::new(session);
    add_lifecycle(&mut module);
    add(&mut module, "run/start", start::start);
    add(&mut module, "run/get", list::get);
    add(&mut module, "run/list", list::list);
    add(&mut module, "run/edit", edit::edit);
    add(&mut module, "run/delete", edit::delete);
    add(&mut module, "run/cancel", control::cancel);
    add(&mut module, "run/interrupt", control::interrupt);
    add(&mut module, "run/send", control::send);
    add(&mut module, "run/closeInput", control::close_input);
    add(&mut module, "run/sync", control::sync);
    add(&mut module, "run/answer", answer::answer);
    add(&mut module, "run/takeover", answer::takeover);
    add(&mut module, "run/configure", answer::configure);
    add(&mut module, "run/read", read::read);
    add(&mut module, "run/text", text::text);
    add(&mut module, "run/search", search::search);
    add(&mut module, "run/export", export::export);
    add(&mut module, "run/attach", attach::attach);
    add(&mut module, "run/detach", attach::detach);
    add(&mut module, "provider/list", provider::list);
    add(&mut module, "provider/options", provider::options);
    add(&mut module, "session/list", provider::sessions);
    add(&mut module, "run/changes", changes::changes);
    add(&mut module, "store/stats", store::stats);
    add(&mut module, "store/prune", store::prune);
    module.into()
}

fn add_lifecycle(module: &mut RpcModule<Arc<Session>>) {
    let initialize = module.register_async_method("initialize", |raw, session, extensions| async move {
        let params: InitializeParams = rpc::params(&raw)?;
        session.initialize(params, &Call::of(&extensions))
    });
    initialize.expect("no method is registered twice");
    let shutdown = module.register_async_method("shutdown", |_, session, _| async move { session.shut_down().await });
    shutdown.expect("no method is registered twice");
}

fn add<P, R, H, F>(module: &mut RpcModule<Arc<Session>>, name: &'static str, handler: H)
where
    P: DeserializeOwned + Send + 'static,
    R: Serialize + Clone + Send + 'static,
    H: Fn(P, Request) -> F + Copy + Send + Sync + 'static,
    F: Future<Output = Result<R, Failure>> + Send,
{
    let method = module.register_async_method(name, move |raw, session, extensions| async move {
        if cfg!(debug_assertions) {
            own::seam(&format!("request.{name}"));
        }
        let params: P = rpc::params(&raw)?;
        handler(params, Request { server: session.server()?, call: Call::of(&extensions) }).await
    });
    method.expect("no method is registered twice");
}

/// Makes a large answer in its turn, and not before the client has read most of what it asked for earlier.
pub async fn large<T: Send + 'static>(
    request: &Request,
    work: impl FnOnce(&History) -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let server = &request.server;
    // Given back when the answer is made, which is queued before anybody else is woken. It must not be kept until then:
    // in a batch the answer waits for those that come after it.
    let _turn = server.large_answers.acquire().await;
    server.out.control_below(UNREAD).await;
    on_a_thread(server, work).await
}

/// Runs something that reads files or the store on a thread where it may wait.
pub async fn on_a_thread<T: Send + 'static>(
    server: &Arc<Server>,
    work: impl FnOnce(&History) -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let history = server.history.clone();
    let done = tokio::task::spawn_blocking(move || work(&history)).await;
    done.map_err(|error| Failure::internal(format!("the request failed: {error}")))?
}
