//! The conversation with `codex app-server`: the handshake, the thread, its turns.
//!
//! Every other thread than the run's own belongs to a sub-agent. Its messages are logged below the tool call that
//! started it.

mod notifications;
mod responses;
mod turns;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use self::turns::{text_input, turn_input};
use super::{
    CodexOptions, PROMPT_CAPABILITIES, approval_and_sandbox,
    approvals::{self, Approvals},
    initialize_request,
    items::Items,
    sandbox_type,
    turn::{CodexTurn, TokenUsage, TurnStage},
};
use crate::{
    model::{
        Failure, Takeover,
        agent::{AgentOffer, PromptCapabilities},
        calls::{PermissionMode, RunSettings},
        task::{ContentBlocks, Task, object},
    },
    provider::{
        Adapter, Answer, error_kind,
        event_sink::{EventSink, Severity},
        provider_event::SessionInfo,
    },
};

const STARTUP_TIMER: u32 = 1;

/// The adapter for one run with Codex.
pub(crate) struct CodexAdapter {
    task: Task,
    /// Requests that Codex has not answered yet, by their ids.
    requests: BTreeMap<u64, ClientRequest>,
    last_request_id: u64,
    thread: Option<Thread>,
    turn: CodexTurn,
    items: Items,
    approvals: Approvals,
    token_usage: TokenUsage,
    /// What `run/configure` changed. It is sent with each turn from then on.
    model: Option<String>,
    effort: Option<String>,
    permissions: Option<PermissionMode>,
    options: CodexOptions,
    /// The last error that Codex does not retry. It is the reason of a turn that fails without one.
    error: Value,
    /// The titles of warnings that were logged. Codex repeats some of them with each turn.
    reported_warnings: BTreeSet<String>,
    /// The tool call that started each sub-agent, by the id of the sub-agent's thread.
    parents: BTreeMap<String, String>,
}

/// The run's own thread.
struct Thread {
    id: String,
    path: Option<String>,
    /// Codex has written the thread's file, so that a later run can resume it.
    is_saved: bool,
    /// The sandbox that Codex made of the user's configuration and the run's permissions.
    sandbox: Value,
}

/// What a request that Codex has not answered was sent for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ClientRequest {
    Initialize,
    /// `thread/start` or `thread/resume`. `without_turns` says whether the latter asked for no history.
    Open {
        without_turns: bool,
    },
    Turn,
    Steer,
    Interrupt,
    /// `model/list`.
    Models,
}

impl CodexAdapter {
    pub(crate) fn new(task: Task) -> Self {
        Self {
            items: Items::new(&task.cwd),
            task,
            requests: BTreeMap::new(),
            last_request_id: 0,
            thread: None,
            turn: CodexTurn::default(),
            approvals: Approvals::default(),
            token_usage: TokenUsage::default(),
            model: None,
            effort: None,
            permissions: None,
            options: CodexOptions::default(),
            error: Value::Null,
            reported_warnings: BTreeSet::new(),
            parents: BTreeMap::new(),
        }
    }

    fn request(&mut self, request: ClientRequest, method: &str, params: &Value, out: &mut EventSink) -> u64 {
        self.last_request_id += 1;
        self.requests.insert(self.last_request_id, request);
        out.send(&json!({ "id": self.last_request_id, "method": method, "params": params }));
        self.last_request_id
    }

    fn thread_id(&self) -> &str {
        self.thread.as_ref().map_or("", |thread| &thread.id)
    }
}

impl Adapter for CodexAdapter {
    fn start(&mut self, out: &mut EventSink) {
        self.last_request_id += 1;
        self.requests.insert(self.last_request_id, ClientRequest::Initialize);
        out.send(&initialize_request(self.last_request_id));
        out.set_start_deadline(self.task.start_timeout(), STARTUP_TIMER);
    }

    fn speaks_json(&self) -> bool {
        true
    }

    fn handle_message(&mut self, mut message: Value, out: &mut EventSink) {
        self.items.name_item(&mut message);
        let params = &message["params"];
        match (message["method"].as_str(), &message["id"]) {
            (Some(method), Value::Null) => self.handle_notification(method, params, out),
            (Some(method), id) => {
                let thread = params["threadId"].as_str().unwrap_or_default();
                let is_sub_agent = !thread.is_empty() && thread != self.thread_id();
                let parent = is_sub_agent.then(|| self.parents.get(thread).map_or(thread, String::as_str));
                out.set_parent(parent);
                if !self.approvals.handle_request(id, method, params, &self.task.cwd, out) {
                    approvals::refuse(id, method, params, out);
                }
                out.set_parent(None);
            }
            (None, id) => self.handle_response(id, &message, out),
        }
    }

    fn start_turn(&mut self, prompt: &ContentBlocks, out: &mut EventSink) {
        let mut params = object(json!({ "threadId": self.thread_id(), "input": turn_input(prompt) }));
        params.extend(self.settings());
        self.turn.begin(TurnStage::Requested, false);
        self.request(ClientRequest::Turn, "turn/start", &Value::Object(params), out);
    }

    fn steer(&mut self, prompt: &ContentBlocks, out: &mut EventSink) -> bool {
        !self.turn.is_interrupt_requested && self.send_steer(&turn_input(prompt), false, out)
    }

    fn interrupt(&mut self, out: &mut EventSink) {
        if !std::mem::replace(&mut self.turn.is_interrupt_requested, true)
            && let TurnStage::Running(turn) = self.turn.stage.clone()
        {
            self.send_interrupt(&turn, out);
        }
    }

    fn answer(&mut self, question: &str, answer: &Answer, out: &mut EventSink) -> bool {
        if !self.approvals.is_open(question) {
            return false;
        }
        if let Some(message) = self.approvals.answer(question, answer, out)
            && !self.send_steer(&json!([text_input(&message)]), true, out)
        {
            out.notice(Severity::Warning, "the message that came with the answer did not reach the agent", None);
        }
        true
    }

    fn prompt_capabilities(&self) -> Option<PromptCapabilities> {
        Some(PROMPT_CAPABILITIES)
    }

    fn can_configure(&self, settings: &RunSettings) -> Result<(), Failure> {
        self.options.choices.check(settings, "codex")
    }

    fn configure(&mut self, settings: &RunSettings, out: &mut EventSink) {
        let (model, effort) = self.options.choices.apply(settings);
        self.model = model.or(self.model.take());
        self.effort = effort.or(self.effort.take());
        self.permissions = settings.permissions.or(self.permissions);
        out.offer(AgentOffer { config_options: self.options.choices.config_options(), ..AgentOffer::default() });
    }

    fn handle_timer(&mut self, token: u32, out: &mut EventSink) {
        if token == STARTUP_TIMER && self.thread.is_none() {
            out.fatal(error_kind::protocol_error(&format!(
                "`codex app-server` did not answer within {} s; run `codex --version` in a terminal, and read the run's stderr",
                self.task.start_timeout_seconds
            )));
        }
    }

    fn takeovers(&self, session: &SessionInfo) -> Vec<Takeover> {
        super::takeovers(&self.task, session)
    }
}

impl CodexAdapter {
    /// The settings in `turn/start` that `run/configure` has changed since the thread was opened.
    fn settings(&self) -> Map<String, Value> {
        let mut settings = Map::new();
        if let Some(model) = &self.model {
            settings.insert("model".to_owned(), json!(model));
        }
        if let Some(effort) = &self.effort {
            settings.insert("effort".to_owned(), json!(effort));
        }
        if let Some(permissions) = self.permissions {
            // The writable roots and network rules of the user's configuration belong to the sandbox of the thread,
            // so they are kept only if the new permissions have the same type of sandbox.
            let thread_sandbox = self.thread.as_ref().map(|thread| &thread.sandbox);
            let thread_sandbox = thread_sandbox.filter(|sandbox| sandbox["type"] == sandbox_type(permissions)).cloned();
            settings.insert("approvalPolicy".to_owned(), json!(approval_and_sandbox(permissions).0));
            settings.insert("approvalsReviewer".to_owned(), json!("user"));
            settings.insert("sandboxPolicy".to_owned(), thread_sandbox.unwrap_or_else(|| json!({ "type": sandbox_type(permissions) })));
        }
        settings
    }
}
