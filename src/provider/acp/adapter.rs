//! The conversation with one ACP agent: `initialize`, the session, its settings, then one turn after another.
//!
//! Until the agent is ready, [`AcpAdapter`] sends one request at a time and waits for its response. So no prompt
//! reaches the agent before the mode in which it is to work on it. Turns, and what the
//! agent requests in them, are in `turns`; settings are in `settings`.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use serde_json::{Map, Value, json};

use super::{
    agent::AcpAgent,
    choices::{Choices, Setting, SettingKind},
    questions::AcpQuestions,
    takeover,
    updates::{SubAgents, Updates},
    wire::{self, AcpMessage, RpcError, text_at},
};
use crate::{
    model::{
        Failure, RunError, Takeover,
        agent::PromptCapabilities,
        calls::{PermissionMode, RunSettings},
        task::{ContentBlocks, Task},
    },
    provider::{
        Adapter, Answer, Exit, error_kind,
        event_sink::{EventSink, Severity},
        ids::name_of,
        provider_event::{SessionInfo, TurnEnd},
    },
};

/// From the model's first output of a turn until the adapter reports the session as saved. Claude Code writes its
/// session file within 100 ms.
const SESSION_SAVE_DELAY: Duration = Duration::from_millis(250);

/// Fires when the agent has not answered `initialize` in time.
const INITIALIZE_TIMER: u32 = 1;
/// Fires when the session is not ready in time.
pub(super) const SESSION_TIMER: u32 = 2;
/// Fires when the agent has saved the session, [`SESSION_SAVE_DELAY`] after its first output.
const SESSION_SAVED_TIMER: u32 = 3;
/// Fires when the input of a tool call has stopped growing.
pub(super) const HELD_INPUT_TIMER: u32 = 4;
/// Fires when the agent has not answered in time the request that marks the end of its history.
pub(super) const HISTORY_TIMER: u32 = 5;

/// The adapter for one run with an ACP agent.
pub(crate) struct AcpAdapter {
    pub(super) task: Task,
    pub(super) agent: AcpAgent,
    pub(super) next_id: u64,
    /// Requests that the agent has not answered yet, by their ids.
    pub(super) pending: BTreeMap<u64, PendingRequest>,
    pub(super) session: Option<String>,
    /// The agent has saved the session, as far as can be known, so that a later run can open it.
    pub(super) is_saved: bool,
    /// The session was opened by `session/load`. The agent then sends its history, which is in the log of an earlier
    /// run: updates that belong to it are dropped until `ready`.
    pub(super) is_loaded: bool,
    pub(super) choices: Choices,
    /// Settings that are not made yet. They are made one after another.
    pub(super) settings: VecDeque<Setting>,
    /// Why the agent does not have the settings that the run needs. As long as this is set, every prompt fails with
    /// it.
    pub(super) settings_error: Option<RunError>,
    /// The permissions that the mode of the session is chosen for.
    pub(super) permissions: PermissionMode,
    pub(super) updates: Updates,
    pub(super) sub_agents: SubAgents,
    pub(super) questions: AcpQuestions,
    pub(super) ready: bool,
    pub(super) turn: Option<AcpTurn>,
    /// A prompt that is sent once the settings are made.
    pub(super) queued_prompt: Option<ContentBlocks>,
}

/// What a pending request was sent for.
#[derive(Debug)]
pub(super) enum PendingRequest {
    Initialize,
    NewSession,
    /// `session/load` if `by_load`, else `session/resume`.
    ReopenSession {
        by_load: bool,
    },
    /// A request that does nothing. Its response comes after the history.
    HistoryEnd,
    Setting(Setting),
    Prompt,
}

/// Whether an update of this kind is a part of the conversation (text, tool calls, plans) and not a fact about the
/// session, such as its mode.
fn is_conversation_update(kind: &Value) -> bool {
    let kind = kind.as_str().unwrap_or_default();
    kind.ends_with("_chunk") || kind.starts_with("tool_call") || kind == "plan"
}

/// The running turn.
#[derive(Debug)]
pub(super) struct AcpTurn {
    /// `session/cancel` was sent. Permission requests are cancelled from then on.
    pub(super) is_cancelled: bool,
}

/// Removes from an update, or from the tool call of a question, the members of `_meta` that are loomd's own.
pub(super) fn drop_reserved_meta(update: &mut Map<String, Value>) {
    fn drop_in(value: Option<&mut Value>) {
        match value {
            Some(Value::Array(blocks)) => blocks.iter_mut().for_each(|block| drop_in(Some(block))),
            Some(Value::Object(block)) => drop_reserved_meta(block),
            _ => {}
        }
    }
    if let Some(Value::Object(meta)) = update.get_mut("_meta") {
        meta.retain(|name, _| !name.starts_with("loomd/"));
    }
    drop_in(update.get_mut("content"));
}

impl AcpAdapter {
    pub(crate) fn new(task: Task) -> Self {
        let permissions = task.permissions;
        Self {
            task,
            agent: AcpAgent::default(),
            next_id: 0,
            pending: BTreeMap::new(),
            session: None,
            is_saved: false,
            is_loaded: false,
            choices: Choices::default(),
            settings: VecDeque::new(),
            settings_error: None,
            permissions,
            updates: Updates::default(),
            sub_agents: SubAgents::default(),
            questions: AcpQuestions::default(),
            ready: false,
            turn: None,
            queued_prompt: None,
        }
    }

    /// Sends a request and remembers what its response is for.
    pub(super) fn request(&mut self, request: PendingRequest, method: &str, params: Value, out: &mut EventSink) {
        let id = self.next_id;
        self.next_id += 1;
        self.pending.insert(id, request);
        out.send(&wire::request(id, method, params));
    }

    // Responses of the agent.

    fn handle_response(&mut self, request: PendingRequest, outcome: Result<Value, RpcError>, out: &mut EventSink) {
        match (request, outcome) {
            (PendingRequest::Initialize, Ok(result)) => self.handle_initialized(&result, out),
            (PendingRequest::Initialize | PendingRequest::NewSession, Err(error)) => out.fatal(self.agent.error(&error)),
            (PendingRequest::NewSession, Ok(result)) => match text_at(&result, &["sessionId"]) {
                Some(id) => self.handle_opened(id.to_owned(), &result, out),
                None => out.fatal(error_kind::protocol_error("the agent opened a session without an ID")),
            },
            (PendingRequest::ReopenSession { by_load }, Ok(result)) => {
                let id = self.task.resume.clone().unwrap_or_default();
                self.is_loaded = by_load;
                self.is_saved = true;
                self.handle_opened(id, &result, out);
            }
            (PendingRequest::ReopenSession { by_load }, Err(error)) => self.handle_reopen_error(by_load, &error, out),
            (PendingRequest::HistoryEnd, _) => self.next_setting(out),
            (PendingRequest::Setting(setting), outcome) => self.handle_setting_response(&setting, outcome, out),
            (PendingRequest::Prompt, outcome) => self.handle_prompt_response(outcome, out),
        }
    }

    // Updates.

    /// A `session/update` of the agent.
    fn handle_update(&mut self, mut params: Map<String, Value>, out: &mut EventSink) {
        // Until `session` is set, all updates belong to the history that `session/load` repeats.
        let Some(own) = &self.session else { return };
        let session = params.get("sessionId").and_then(name_of).filter(|session| session != own);
        let Some(Value::Object(mut update)) = params.remove("update") else { return };
        drop_reserved_meta(&mut update);
        if self.is_loaded && !self.ready && update.get("sessionUpdate").is_some_and(is_conversation_update) {
            return;
        }
        if let Some(session) = session {
            return self.handle_sub_agent(&session, update, HELD_INPUT_TIMER, out);
        }
        match update.get("sessionUpdate").and_then(Value::as_str) {
            Some("config_option_update") => self.choices.update_options(update.get("configOptions").unwrap_or(&Value::Null)),
            Some("current_mode_update") => {
                if let Some(mode) = update.get("currentModeId").and_then(Value::as_str) {
                    self.choices.set_current(SettingKind::Mode, mode);
                }
            }
            _ => {}
        }
        let model_acted = self.updates.model_acted();
        self.updates.update(update, HELD_INPUT_TIMER, out);
        if !model_acted && self.updates.model_acted() && !self.is_saved {
            out.set_timer(SESSION_SAVE_DELAY, SESSION_SAVED_TIMER);
        }
        self.restore_read_only(out);
    }
}

impl Adapter for AcpAdapter {
    fn start(&mut self, out: &mut EventSink) {
        out.set_start_deadline(self.task.start_timeout(), INITIALIZE_TIMER);
        self.request(PendingRequest::Initialize, "initialize", wire::initialize_params(), out);
    }

    fn speaks_json(&self) -> bool {
        true
    }

    fn handle_message(&mut self, message: Value, out: &mut EventSink) {
        match wire::parse(message) {
            Some(AcpMessage::Response { id, outcome }) => {
                // What the agent could not read is what it was sent last.
                let id = id.or_else(|| self.pending.keys().next_back().copied());
                if let Some(request) = id.and_then(|id| self.pending.remove(&id)) {
                    self.handle_response(request, outcome, out);
                }
            }
            Some(AcpMessage::Request { id, method, params }) => self.handle_request(&id, &method, params, out),
            Some(AcpMessage::Notification { method, params }) => match method.as_str() {
                "session/update" => self.handle_update(params, out),
                "$/cancel_request" => {
                    if let Some(id) = params.get("requestId").or_else(|| params.get("id")) {
                        self.questions.withdraw(id, out);
                    }
                }
                _ => {}
            },
            None => {}
        }
    }

    fn start_turn(&mut self, prompt: &ContentBlocks, out: &mut EventSink) {
        self.turn = Some(AcpTurn { is_cancelled: false });
        if self.has_pending_settings() {
            self.queued_prompt = Some(prompt.clone());
        } else {
            self.send_prompt(prompt, out);
        }
    }

    fn interrupt(&mut self, out: &mut EventSink) {
        if self.queued_prompt.take().is_some() {
            self.turn = None;
            out.turn_ended(TurnEnd::new("cancelled"));
        } else if let (Some(turn), Some(session)) = (&mut self.turn, &self.session) {
            turn.is_cancelled = true;
            out.send(&wire::notification("session/cancel", json!({ "sessionId": session })));
        }
    }

    fn answer(&mut self, question: &str, answer: &Answer, out: &mut EventSink) -> bool {
        let is_open = self.questions.answer(question, answer, out);
        if is_open && answer.message.as_ref().is_some_and(|message| !message.trim().is_empty()) {
            out.notice(Severity::Info, "this agent's protocol cannot carry a message with the answer; send the message as a prompt", None);
        }
        is_open
    }

    fn prompt_capabilities(&self) -> Option<PromptCapabilities> {
        self.session.as_ref().map(|_| self.agent.takes)
    }

    fn can_configure(&self, settings: &RunSettings) -> Result<(), Failure> {
        self.check_settings(settings)
    }

    fn configure(&mut self, settings: &RunSettings, out: &mut EventSink) {
        self.settings_error = None;
        if let Some(permissions) = settings.permissions {
            self.choose_mode(permissions, out);
        }
        if let Some(model) = &settings.model {
            self.choose_model(model);
        }
        self.choose_options(&settings.options, out);
        if !self.pending.values().any(|request| matches!(request, PendingRequest::Setting(_))) {
            self.next_setting(out);
        }
    }

    fn handle_timer(&mut self, token: u32, out: &mut EventSink) {
        let program = self.task.program.join(" ");
        match token {
            INITIALIZE_TIMER if self.pending.values().any(|request| matches!(request, PendingRequest::Initialize)) => out.fatal(error_kind::protocol_error(&format!(
                "`{program}` did not answer `initialize` within {} s; check that it supports the Agent Client Protocol, and whether it needs an argument \
                 for that or more time (`startTimeoutSeconds`)",
                self.task.start_timeout_seconds
            ))),
            SESSION_TIMER if !self.ready => out.fatal(error_kind::protocol_error(&format!(
                "{} did not open a session within {} s; start `{program}` in a terminal to see whether it waits for something",
                self.agent.name,
                self.task.start_timeout_seconds
            ))),
            SESSION_SAVED_TIMER => self.report_saved(out),
            HELD_INPUT_TIMER => self.flush_held_input(out),
            HISTORY_TIMER => {
                let pending = self.pending.len();
                self.pending.retain(|_, request| !matches!(request, PendingRequest::HistoryEnd));
                if self.pending.len() < pending {
                    self.next_setting(out);
                }
            }
            _ => {}
        }
    }

    fn handle_exit(&mut self, _exit: Exit, out: &mut EventSink) {
        self.updates.turn_ended(out);
        self.end_sub_agents(true, out);
    }

    fn can_resume(&self) -> bool {
        self.agent.can_reopen()
    }

    fn takeovers(&self, session: &SessionInfo) -> Vec<Takeover> {
        takeover::takeovers(&self.agent, &self.task, session)
    }
}
