//! The requests of the client, each given to what handles it.

use std::{future::Future, sync::Arc};

use serde_json::{Value, json, value::RawValue};

use super::{
    front_end::FrontEnd,
    wire::{
        AcpClient, AgentInitializeParams, AgentMethod, ChooseParams, ConfigOptionParams, ListSessionsParams, NewSessionParams,
        OpenSessionParams, PromptParams, SessionParams, error_code, initialize_result,
    },
};
use crate::{
    model::{Failure, FailureKind},
    rpc::{Flow, HandlerFuture, RequestContext, Service, read_params},
};

/// Serves one ACP client.
pub(super) struct AcpService(pub(super) Arc<FrontEnd>);

impl Service for AcpService {
    type Method = AgentMethod;

    fn admit(&self, method: &str) -> Result<AgentMethod, Failure> {
        let method = method.parse().map_err(|_| {
            let message = format!("loomd answers no `{method}`; `agentCapabilities` of `initialize` says what it can");
            Failure::new(FailureKind::MethodNotFound, message)
        })?;
        match (method, self.0.is_initialized()) {
            (AgentMethod::Initialize, true) => Err(Failure::invalid_request("`initialize` was answered already")),
            (AgentMethod::Initialize, false) | (_, true) => Ok(method),
            (_, false) => Err(Failure::not_initialized()),
        }
    }

    fn call(&self, method: AgentMethod, params: Option<Box<RawValue>>, context: RequestContext) -> HandlerFuture {
        let front_end = Arc::clone(&self.0);
        let params = params.as_deref();
        match method {
            AgentMethod::Initialize => answer(read_params(params).map(|params| initialize(front_end, params))),
            // An agent logs in by its own program. Some clients ask for it though nothing is offered.
            AgentMethod::Authenticate => answer(Ok(async { Ok(json!({})) })),
            AgentMethod::New => answer(read_params(params).map(|params| new(front_end, params, context))),
            AgentMethod::Load => answer(read_params(params).map(|params| open(front_end, params, true, context))),
            AgentMethod::Resume => answer(read_params(params).map(|params| open(front_end, params, false, context))),
            AgentMethod::List => answer(read_params::<ListSessionsParams>(params).map(|params| front_end.list_sessions(params))),
            AgentMethod::Delete => answer(read_params::<SessionParams>(params).map(|params| front_end.delete_session(params))),
            AgentMethod::Prompt => answer(read_params::<PromptParams>(params).map(|params| front_end.prompt(params))),
            AgentMethod::SetMode => answer(read_params::<ChooseParams>(params).map(|params| front_end.set_mode(params))),
            AgentMethod::SetModel => answer(read_params::<ChooseParams>(params).map(|params| front_end.set_model(params))),
            AgentMethod::SetConfigOption => {
                answer(read_params::<ConfigOptionParams>(params).map(|params| front_end.set_config_option(params)))
            }
            AgentMethod::Steering => answer(read_params::<PromptParams>(params).map(|params| front_end.steering(params))),
        }
    }

    fn notification(&self, method: &str, params: Option<&RawValue>) -> Flow {
        if method == "session/cancel"
            && let Ok(params) = read_params::<SessionParams>(params)
        {
            tokio::spawn(Arc::clone(&self.0).interrupt(params.session_id));
        }
        Flow::Continue
    }

    fn response(&self, id: &RawValue, outcome: Result<&RawValue, &RawValue>) {
        self.0.take_answer(id, outcome);
    }

    fn error_code(failure: &Failure) -> i32 {
        error_code(failure)
    }
}

/// A handler, or the failure of its params.
fn answer<F>(handler: Result<F, Failure>) -> HandlerFuture
where
    F: Future<Output = Result<Value, Failure>> + Send + 'static,
{
    Box::pin(async move { Ok(handler?.await?.to_string().into_bytes()) })
}

async fn initialize(front_end: Arc<FrontEnd>, params: AgentInitializeParams) -> Result<Value, Failure> {
    if !front_end.set_client(AcpClient::of(&params)) {
        return Err(Failure::invalid_request("`initialize` was answered already"));
    }
    front_end.open().await?;
    Ok(initialize_result(front_end.options.registry, front_end.takes_images().await))
}

async fn new(front_end: Arc<FrontEnd>, params: NewSessionParams, context: RequestContext) -> Result<Value, Failure> {
    let session = front_end.new_session(&params).await?;
    let result = front_end.opened(&session, true).await?;
    // Some clients hang if anything of the session comes before the answer.
    context.after.run(move || front_end.introduce(&session));
    Ok(result)
}

async fn open(front_end: Arc<FrontEnd>, params: OpenSessionParams, loads: bool, context: RequestContext) -> Result<Value, Failure> {
    let session = front_end.open_session(&params, loads).await?;
    let result = front_end.opened(&session, false).await?;
    context.after.run(move || front_end.introduce(&session));
    Ok(result)
}
