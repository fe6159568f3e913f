//! The conversation with a running `claude`: its requests and responses, and what loomd sends to it. `turns` handles
//! the lines of a turn.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde_json::{Map, Value, json};

use super::{
    PROMPT_CAPABILITIES,
    messages::Messages,
    prompts::Prompts,
    questions::{self, Questions},
    session::ClaudeSession,
    takeovers,
    turn_end::TurnCost,
};
use crate::{
    model::{
        Failure, Takeover, Task,
        agent::PromptCapabilities,
        calls::{McpServer, McpValue, RunSettings},
        task::ContentBlocks,
    },
    provider::{
        Adapter, Answer, Exit, error_kind,
        event_sink::{EventSink, Severity},
        ids::name_of,
        model_options::ModelOptions,
        provider_event::{SessionInfo, TurnEnd},
    },
};

/// How long after Claude's first answer its session is in a file: 80 to 100 ms were measured.
pub(super) const SESSION_SAVE_DELAY: Duration = Duration::from_millis(150);
/// How long the turn for a late prompt may take until its first line.
pub(super) const LATE_TURN_TIMEOUT: Duration = Duration::from_secs(10);

/// Tokens of the timers. The token of a late turn has the turn's number added.
const HANDSHAKE_TIMER: u32 = 0;
pub(super) const SESSION_TIMER: u32 = 1;
pub(super) const DOUBT_TIMER: u32 = 2;
pub(super) const LATE_TURN_TIMER: u32 = 3;

/// How often one turn is interrupted: Claude loses an interrupt that comes before the turn has really begun.
const MAX_INTERRUPTS: u32 = 5;

pub(crate) struct ClaudeAdapter {
    pub(super) task: Task,
    /// How many requests and prompts were sent; their ids contain this number.
    sent_count: u64,
    /// Requests without a response, by id.
    pub(super) requests: BTreeMap<String, ClaudeRequest>,
    /// The program wrote a line of its protocol.
    protocol_seen: bool,
    ready: bool,
    /// The conversation sends the task's prompt as soon as the adapter is ready.
    first_prompt_is_due: bool,
    /// A line about a turn that came before the prompt was sent: that of a program which has its prompt already. It is
    /// handled once the conversation has started the turn.
    early_line: Option<Value>,
    pub(super) turn: Option<ClaudeTurn>,
    pub(super) turn_count: u32,
    pub(super) prompts: Prompts,
    pub(super) messages: Messages,
    pub(super) questions: Questions,
    pub(super) cost: TurnCost,
    /// A result that may not be that of the prompt. It ends the turn if nothing follows.
    pub(super) doubtful_result: Option<Value>,
    /// MCP servers that could not be used, and that a notice was logged for.
    pub(super) told_servers: BTreeSet<String>,
    pub(super) session: ClaudeSession,
    /// The models and levels of effort.
    pub(super) options: ModelOptions,
}

#[derive(Debug)]
pub(super) enum ClaudeRequest {
    Initialize,
    /// `mcp_set_servers`.
    McpServers,
    Interrupt,
    /// A setting, described for people; `before`: what was chosen among the options.
    Set {
        what: String,
        before: Option<(String, Option<String>)>,
    },
}

#[derive(Debug, Default)]
pub(super) struct ClaudeTurn {
    /// How many interrupts were sent for this turn.
    pub(super) interrupt_count: u32,
    /// A client, or an option of a permission request, stopped the turn.
    pub(super) is_stopped: bool,
    /// Claude started it by itself, for no prompt of the run.
    pub(super) is_own: bool,
    /// The adapter assumes that Claude started this turn by itself, but no line of it came yet.
    pub(super) is_unconfirmed: bool,
}

impl ClaudeAdapter {
    pub(crate) fn new(task: Task) -> Self {
        Self {
            sent_count: 0,
            requests: BTreeMap::new(),
            protocol_seen: false,
            ready: false,
            first_prompt_is_due: task.prompt.is_some(),
            early_line: None,
            turn: None,
            turn_count: 0,
            prompts: Prompts::default(),
            messages: Messages::new(&task.cwd),
            questions: Questions::default(),
            cost: TurnCost::new(task.resume.is_some()),
            doubtful_result: None,
            told_servers: BTreeSet::new(),
            options: ModelOptions::default(),
            session: ClaudeSession::new(task.resume.clone(), task.args.iter().any(|word| word == "--fork-session")),
            task,
        }
    }

    // What loomd sends.

    pub(super) fn request(&mut self, body: &Value, request: ClaudeRequest, out: &mut EventSink) {
        self.sent_count += 1;
        let id = format!("loomd-{}", self.sent_count);
        out.send(&json!({ "type": "control_request", "request_id": id, "request": body }));
        self.requests.insert(id, request);
    }

    fn send_prompt(&mut self, prompt: &ContentBlocks, steered: bool, out: &mut EventSink) {
        self.sent_count += 1;
        // Claude ignores a prompt whose id it knows, also from before a session was resumed, so the id is derived from
        // this run's own fresh session id.
        let hash = blake3::hash(format!("{} {}", self.task.session_id, self.sent_count).as_bytes());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash.as_bytes()[..16]);
        let uuid = uuid::Builder::from_random_bytes(bytes).into_uuid().to_string();
        self.prompts.send(uuid, prompt, steered, out);
    }

    pub(super) fn send_interrupt(&mut self, out: &mut EventSink) {
        let Some(turn) = self.turn.as_mut().filter(|turn| turn.interrupt_count < MAX_INTERRUPTS) else { return };
        turn.interrupt_count += 1;
        turn.is_stopped = true;
        self.request(&json!({ "subtype": "interrupt" }), ClaudeRequest::Interrupt, out);
    }

    // What Claude sends.

    /// Handles the response to a request of loomd.
    fn handle_response(&mut self, response: &Value, out: &mut EventSink) {
        let failed = response["subtype"] != "success";
        // An error that names no request is about what was sent last.
        let id = name_of(&response["request_id"]).or_else(|| if failed { self.requests.keys().next_back().cloned() } else { None });
        let Some(request) = id.and_then(|id| self.requests.remove(&id)) else { return };
        let error = failed.then(|| error_kind::words(&response["error"]).unwrap_or_else(|| "it gave no reason".to_owned()));
        let error = error.as_deref();
        match request {
            // A version of Claude that does not know `initialize` can still run prompts.
            ClaudeRequest::Initialize => {
                if error.is_none() && self.task.resume.is_none() {
                    self.session.announce(&self.task.session_id, out);
                }
                self.offer(&response["response"], out);
                match self.task.mcp_servers.is_empty() {
                    true => self.mark_ready(out),
                    // The first prompt waits, so that the model knows their tools.
                    false => self.request(&mcp_request(&self.task.mcp_servers), ClaudeRequest::McpServers, out),
                }
            }
            ClaudeRequest::McpServers => {
                let failed = response["response"]["errors"].as_object().into_iter().flatten();
                for (name, reason) in failed {
                    let title = format!("claude cannot use the MCP server `{name}`");
                    out.notice(Severity::Warning, &title, error_kind::words(reason).as_deref());
                }
                if let Some(error) = error {
                    out.notice(Severity::Warning, "claude did not take the MCP servers", Some(error));
                }
                self.mark_ready(out);
            }
            ClaudeRequest::Interrupt => match error {
                None if self.turn.is_some() => {
                    self.prompts.keep_queued(response["response"]["still_queued"].as_array().map(Vec::as_slice));
                }
                None => {}
                Some(error) => out.notice(Severity::Warning, "claude could not be interrupted", Some(error)),
            },
            ClaudeRequest::Set { what, before } => {
                if let Some(error) = error {
                    out.notice(Severity::Warning, &format!("claude did not accept {what}"), Some(error));
                    self.take_back(before, out);
                }
            }
        }
    }

    /// Handles a request of Claude.
    fn handle_request(&mut self, line: &Value, out: &mut EventSink) {
        let Some(id) = line["request_id"].as_str() else { return };
        let request = &line["request"];
        if request["subtype"] != "can_use_tool" {
            let what = request["subtype"].as_str().unwrap_or("of this kind");
            let title = format!("claude requested `{what}`, which loomd does not support; the request was refused");
            out.notice(Severity::Warning, &title, error_kind::words(&request["message"]).as_deref());
            return out.send(&questions::error_response(id, &format!("this client does not support requests {what}")));
        }
        if request["tool_name"] == super::ASK_USER_TOOL {
            let refusal =
                json!({ "behavior": "deny", "message": "Nobody can answer here. Ask in your reply instead.", "interrupt": false });
            out.send(&questions::success_response(id, &refusal));
            let texts = questions::question_texts(&request["input"]);
            return out.notice(
                Severity::Warning,
                "claude asked a question that has no options to choose from; loomd refused it",
                Some(&texts),
            );
        }
        self.prompts.accept_own(out);
        let Some((call, question)) = self.questions.open(id, request, &self.task.cwd) else { return };
        self.messages.expect_call(&call, request["tool_name"].as_str().unwrap_or_default());
        out.set_parent(self.messages.parent_of(&call).as_deref());
        out.request_permission(question);
        out.set_parent(None);
    }

    /// Handles any line that is no request or response.
    fn handle_message(&mut self, line: Value, out: &mut EventSink) {
        if let Some(id) = self.session.refused_resume(&line) {
            let words = error_kind::words(&line["errors"]).or_else(|| error_kind::words(&line["result"])).unwrap_or_default();
            let error = error_kind::provider_error(error_kind::status_in(&line["api_error_status"]), &words);
            return out.fatal(if error.kind == "provider" { error_kind::session_not_found(id, "claude") } else { error });
        }
        self.session.take_id(&line, out);
        self.mark_ready(out);
        let is_about_a_turn = matches!(line["type"].as_str(), Some("assistant" | "user" | "stream_event" | "result"));
        if let Some(early_line) = self.early_line.take() {
            self.apply_line(&early_line, out);
        }
        if is_about_a_turn && std::mem::take(&mut self.first_prompt_is_due) {
            self.early_line = Some(line);
        } else {
            self.apply_line(&line, out);
        }
    }

    fn mark_ready(&mut self, out: &mut EventSink) {
        if !std::mem::replace(&mut self.ready, true) {
            out.ready();
        }
    }
}

/// The request that gives MCP servers to Claude. They replace those of an earlier such request, and no others.
fn mcp_request(servers: &[McpServer]) -> Value {
    let settings = servers.iter().map(|server| {
        let settings = match server {
            McpServer::Program { command, args, env, .. } => {
                json!({ "type": "stdio", "command": command, "args": args, "env": McpValue::object(env) })
            }
            McpServer::Remote { transport, url, headers, .. } => {
                json!({ "type": transport, "url": url, "headers": McpValue::object(headers) })
            }
        };
        (server.name().to_owned(), settings)
    });
    json!({ "subtype": "mcp_set_servers", "servers": settings.collect::<Map<_, _>>() })
}

impl Adapter for ClaudeAdapter {
    fn start(&mut self, out: &mut EventSink) {
        self.session.start(&self.task.session_id, out);
        self.request(&json!({ "subtype": "initialize" }), ClaudeRequest::Initialize, out);
        out.set_start_deadline(self.task.start_timeout(), HANDSHAKE_TIMER);
    }

    fn speaks_json(&self) -> bool {
        true
    }

    fn handle_message(&mut self, line: Value, out: &mut EventSink) {
        let Some(kind) = line["type"].as_str() else { return };
        self.protocol_seen = true;
        match kind {
            "control_response" => self.handle_response(&line["response"], out),
            "control_request" => self.handle_request(&line, out),
            "control_cancel_request" => {
                let withdrawn = self.questions.withdraw(line["request_id"].as_str().unwrap_or_default());
                withdrawn.iter().for_each(|question| out.withdraw_permission(question));
            }
            _ => self.handle_message(line, out),
        }
    }

    fn start_turn(&mut self, prompt: &ContentBlocks, out: &mut EventSink) {
        self.first_prompt_is_due = false;
        self.turn_count += 1;
        self.turn = Some(ClaudeTurn::default());
        self.send_prompt(prompt, false, out);
        if let Some(early_line) = self.early_line.take() {
            self.apply_line(&early_line, out);
        }
    }

    fn steer(&mut self, prompt: &ContentBlocks, out: &mut EventSink) -> bool {
        let can = self.turn.as_ref().is_some_and(|turn| !turn.is_stopped);
        if can {
            self.send_prompt(prompt, true, out);
        }
        can
    }

    fn interrupt(&mut self, out: &mut EventSink) {
        self.send_interrupt(out);
    }

    fn answer(&mut self, question: &str, answer: &Answer, out: &mut EventSink) -> bool {
        let Some(decision) = self.questions.answer(question, answer) else { return false };
        out.send(&questions::success_response(&decision.request_id, &decision.response));
        out.set_parent(self.messages.parent_of(&decision.call).as_deref());
        if decision.is_own_call {
            // Nothing more is said of a call that only the request has told.
            out.tool_ended(&decision.call, if decision.is_allowed { "completed" } else { "failed" }, None, Map::new());
        } else if decision.is_allowed {
            out.tool_call(&decision.call, questions::status_field("in_progress"));
        }
        out.set_parent(None);
        if let Some(turn) = self.turn.as_mut().filter(|_| decision.stops_turn) {
            turn.is_stopped = true;
        }
        true
    }

    fn prompt_capabilities(&self) -> Option<PromptCapabilities> {
        Some(PROMPT_CAPABILITIES)
    }

    fn can_configure(&self, settings: &RunSettings) -> Result<(), Failure> {
        self.options.check(settings, "claude")
    }

    fn configure(&mut self, settings: &RunSettings, out: &mut EventSink) {
        self.change_settings(settings, out);
    }

    fn handle_timer(&mut self, token: u32, out: &mut EventSink) {
        match token {
            HANDSHAKE_TIMER if !self.ready => {
                out.fatal(error_kind::protocol_error(&format!(
                    "claude did not answer its first request within {} s; start it in a terminal to see what it waits for (a login, a \
                     proxy, an update), and check that it is version 2 or newer",
                    self.task.start_timeout_seconds
                )));
            }
            SESSION_TIMER => self.session.mark_resumable(out),
            DOUBT_TIMER => {
                if let Some(result) = self.doubtful_result.take() {
                    self.end_turn(&result, out);
                }
            }
            token if token == LATE_TURN_TIMER + self.turn_count && self.turn.as_ref().is_some_and(|turn| turn.is_unconfirmed) => {
                // Claude dropped the prompt. The turn ends, and the conversation sends the prompt again in a turn of
                // its own.
                self.turn = None;
                self.prompts.clear();
                out.turn_ended(TurnEnd::new("end_turn"));
            }
            _ => {}
        }
    }

    fn handle_exit(&mut self, exit: Exit, out: &mut EventSink) {
        // A program that exited by itself has written its session.
        if exit.code.is_some() {
            self.session.mark_resumable(out);
        }
        if !self.protocol_seen && exit.code == Some(0) {
            out.fatal(error_kind::protocol_error(
                "claude's output is not stream-json; remove `--output-format` and `--input-format` from the run's arguments",
            ));
        }
    }

    fn takeovers(&self, session: &SessionInfo) -> Vec<Takeover> {
        takeovers(&self.task, session)
    }
}
