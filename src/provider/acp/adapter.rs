//! The conversation with one agent: greeting, session, its settings, then prompt after prompt.
//!
//! One thing is asked after the other until the agent is ready, so that no prompt can overtake the mode in which it is to be worked on.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use serde_json::{Map, Value, json};

use super::{
    agent::{self, Agent, Make},
    asked, calls,
    choices::{Choices, Setting, What},
    prompt, takeover,
    updates::Updates,
    wire::{self, Message, RpcError, text_at},
};
use crate::{
    model::{Failure, RunError, Takeover, calls::PermissionMode},
    provider::{
        adapter::{Adapter, Answer, Exit},
        effect::{SessionNews, TurnEnd},
        fault,
        out::{Out, Severity},
        task::{Blocks, Task, text_of},
    },
};

/// How long an agent may be silent before it has been greeted back, and once more before its session is ready.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between the first word of a turn and the session being kept: Claude Code writes its file within 100 ms.
const UNTIL_KEPT: Duration = Duration::from_millis(250);

const GREETED: u32 = 1;
const READY: u32 = 2;
const KEPT: u32 = 3;
const HELD: u32 = 4;

/// One side of the conversation.
pub struct AcpAdapter {
    pub(super) task: Task,
    pub(super) agent: Agent,
    pub(super) next_id: u64,
    /// Requests of ours that wait for their answers.
    pub(super) asked: BTreeMap<u64, Asked>,
    pub(super) session: Option<String>,
    /// The session is known to be kept by the agent.
    pub(super) is_kept: bool,
    /// The session was loaded: what is told of its conversation before we are ready was told before.
    pub(super) is_loaded: bool,
    pub(super) choices: Choices,
    /// Settings that are yet to be made, one after the other.
    pub(super) settings: VecDeque<Setting>,
    /// Why the agent would not take a setting. Nothing is asked of it until it has been given another.
    pub(super) refused: Option<RunError>,
    pub(super) permissions: PermissionMode,
    pub(super) updates: Updates,
    pub(super) ready: bool,
    pub(super) turn: Option<Turn>,
    /// A prompt that waits until the settings are made.
    pub(super) waiting: Option<Blocks>,
}

/// What was asked of the agent.
#[derive(Debug)]
pub(super) enum Asked {
    Initialize,
    NewSession,
    /// By `session/resume`, else by `session/load`.
    OldSession {
        by_load: bool,
    },
    Setting(Setting),
    Prompt,
}

/// An update of this kind is a part of the conversation, not of what surrounds it.
fn is_conversation(kind: &Value) -> bool {
    let kind = kind.as_str().unwrap_or_default();
    kind.ends_with("_chunk") || kind.starts_with("tool_call") || kind == "plan"
}

#[derive(Debug)]
pub(super) struct Turn {
    cancelled: bool,
}

impl AcpAdapter {
    pub fn new(task: Task) -> Self {
        let permissions = task.permissions;
        Self {
            task,
            agent: Agent::default(),
            next_id: 0,
            asked: BTreeMap::new(),
            session: None,
            is_kept: false,
            is_loaded: false,
            choices: Choices::default(),
            settings: VecDeque::new(),
            refused: None,
            permissions,
            updates: Updates::default(),
            ready: false,
            turn: None,
            waiting: None,
        }
    }

    pub(super) fn ask(&mut self, asked: Asked, method: &str, params: Value, out: &mut Out) {
        let id = self.next_id;
        self.next_id += 1;
        self.asked.insert(id, asked);
        out.send(&wire::request(id, method, params));
    }

    // Answers to what was asked.

    fn answered(&mut self, asked: Asked, outcome: Result<Value, RpcError>, out: &mut Out) {
        match (asked, outcome) {
            (Asked::Initialize, Ok(told)) => self.greeted(&told, out),
            (Asked::Initialize | Asked::NewSession, Err(error)) => out.fatal(self.agent.error(&error)),
            (Asked::NewSession, Ok(told)) => match text_at(&told, &["sessionId"]) {
                Some(id) => self.opened(id.to_owned(), &told, out),
                None => out.fatal(fault::protocol("the agent made a session without telling its id")),
            },
            (Asked::OldSession { by_load }, Ok(told)) => {
                let id = self.task.resume.clone().unwrap_or_default();
                self.is_loaded = by_load;
                self.is_kept = true;
                self.opened(id, &told, out);
            }
            (Asked::OldSession { by_load }, Err(error)) => self.not_gone_on(by_load, &error, out),
            (Asked::Setting(setting), outcome) => self.set(&setting, outcome.err(), out),
            (Asked::Prompt, outcome) => self.prompt_ended(outcome, out),
        }
    }

    fn greeted(&mut self, told: &Value, out: &mut Out) {
        self.agent = Agent::new(told, &self.task.program);
        out.wake(PATIENCE, READY);
        match told["protocolVersion"].as_u64() {
            Some(1) => {}
            version => {
                let version = version.map_or_else(|| "no version".to_owned(), |version| format!("version {version}"));
                let name = &self.agent.name;
                return out
                    .fatal(fault::protocol(&format!("{name} speaks {version} of the Agent Client Protocol; loomd speaks version 1")));
            }
        }
        match self.task.resume.clone() {
            None => self.ask(Asked::NewSession, "session/new", calls::new_session(&self.task.cwd), out),
            Some(_) if self.agent.resume => self.go_on(false, out),
            Some(_) if self.agent.load => self.go_on(true, out),
            Some(_) => {
                let message = format!("{} can neither resume nor load a session; start a new run without `resume`", self.agent.name);
                out.fatal(RunError { kind: "unsupported".to_owned(), message });
            }
        }
    }

    fn go_on(&mut self, by_load: bool, out: &mut Out) {
        let id = self.task.resume.clone().unwrap_or_default();
        let method = if by_load { "session/load" } else { "session/resume" };
        self.ask(Asked::OldSession { by_load }, method, calls::old_session(&id, &self.task.cwd), out);
    }

    fn not_gone_on(&mut self, by_load: bool, error: &RpcError, out: &mut Out) {
        const NO_SUCH_METHOD: i64 = -32601;
        if error.code == NO_SUCH_METHOD && !by_load && self.agent.load {
            return self.go_on(true, out);
        }
        if error.code == -32000 {
            return out.fatal(self.agent.error(error));
        }
        let mut fault = fault::session_not_found(self.task.resume.as_deref().unwrap_or_default(), &self.agent.name);
        fault.message = format!("{} (it says: {})", fault.message, agent::words(error));
        out.fatal(fault);
    }

    fn opened(&mut self, id: String, told: &Value, out: &mut Out) {
        self.updates = Updates::new(&self.agent, self.task.resume.is_none());
        self.choices = Choices::new(told);
        self.session = Some(id.clone());
        out.session(&id, None, self.is_kept);
        self.choose_mode(self.task.permissions, out);
        if let Some(model) = self.task.model.clone() {
            self.choose_model(&model);
        }
        // gemini tells the history after its answer. Its answer to one request more comes after that.
        if self.is_loaded && self.settings.is_empty() && self.agent.make == Make::Gemini {
            self.settings.extend(self.choices.mode_again(&id));
        }
        match self.refused.take() {
            Some(error) => out.fatal(error),
            None => self.next_setting(out),
        }
    }

    // Turns.

    pub(super) fn give(&mut self, blocks: &Blocks, out: &mut Out) {
        if let Some(error) = self.refused.clone() {
            self.turn = None;
            return out.turn_ended(TurnEnd::failed(error));
        }
        let Some(session) = self.session.clone() else { return };
        let (blocks, left_out) = prompt::for_agent(blocks, &self.agent);
        if let Some(kinds) = left_out {
            out.notice(Severity::Warning, &format!("{} takes no {kinds}; the prompt was given without", self.agent.name), None);
        }
        out.took();
        self.updates.turn_began(&text_of(&blocks));
        self.ask(Asked::Prompt, "session/prompt", json!({ "sessionId": session, "prompt": blocks }), out);
    }

    fn prompt_ended(&mut self, outcome: Result<Value, RpcError>, out: &mut Out) {
        let Some(turn) = self.turn.take() else { return };
        if turn.cancelled && self.agent.make.forgets_commands() {
            out.end_commands();
        }
        let end = match outcome {
            // Some agents tell a stopped turn as an error.
            Err(_) if turn.cancelled => TurnEnd::new("cancelled"),
            Err(error) => TurnEnd::failed(self.agent.error(&error)),
            Ok(result) => {
                if self.updates.spoke() {
                    self.keep(out);
                }
                self.end_of(&result, &turn)
            }
        };
        self.updates.turn_ended(end.stop_reason == "cancelled" || end.error.is_some(), out);
        out.turn_ended(end);
    }

    fn end_of(&self, result: &Value, turn: &Turn) -> TurnEnd {
        let usage = self.updates.usage(result);
        let said = text_at(result, &["stopReason"]).unwrap_or("end_turn");
        if said == "end_turn"
            && !turn.cancelled
            && let Some(failure) = self.updates.failure(usage.is_some())
        {
            return TurnEnd { usage, ..TurnEnd::failed(fault::provider_error(None, failure)) };
        }
        // opencode tells a turn that was stopped before its model answered as one that ended by itself.
        let nothing_came = usage.and_then(|usage| usage.output_tokens).unwrap_or_default() == 0 && !self.updates.spoke();
        let stop_reason = if turn.cancelled && said == "end_turn" && nothing_came { "cancelled" } else { said };
        TurnEnd { usage, ..TurnEnd::new(stop_reason) }
    }

    fn keep(&mut self, out: &mut Out) {
        let Some(id) = self.session.as_deref().filter(|_| !self.is_kept && takeover::can_go_on(&self.agent)) else { return };
        self.is_kept = true;
        out.session(id, None, true);
    }

    // What the agent says by itself.

    fn updated(&mut self, mut params: Map<String, Value>, out: &mut Out) {
        // Before the session is open, its history is told; other sessions are no business of this run.
        if self.session.is_none() || params.get("sessionId").and_then(Value::as_str) != self.session.as_deref() {
            return;
        }
        let Some(Value::Object(update)) = params.remove("update") else { return };
        if self.is_loaded && !self.ready && update.get("sessionUpdate").is_some_and(is_conversation) {
            return;
        }
        match update.get("sessionUpdate").and_then(Value::as_str) {
            Some("config_option_update") => self.choices.options(update.get("configOptions").unwrap_or(&Value::Null)),
            Some("current_mode_update") => {
                if let Some(mode) = update.get("currentModeId").and_then(Value::as_str) {
                    self.choices.is_now(What::Mode, mode);
                }
            }
            _ => {}
        }
        let spoke = self.updates.spoke();
        self.updates.update(update, HELD, out);
        if !spoke && self.updates.spoke() && !self.is_kept {
            out.wake(UNTIL_KEPT, KEPT);
        }
        self.stay_read_only(out);
    }

    fn requested(&mut self, id: &Value, method: &str, params: Map<String, Value>, out: &mut Out) {
        const NO_SUCH_METHOD: i64 = -32601;
        if method != "session/request_permission" {
            if !method.starts_with('_') {
                out.notice(
                    Severity::Info,
                    &format!("{} asked for `{method}`, which was not offered to it; it was told so", self.agent.name),
                    None,
                );
            }
            return out.send(&wire::refusal(id, NO_SUCH_METHOD, "this client does not offer that"));
        }
        let is_late = self.turn.as_ref().is_none_or(|turn| turn.cancelled);
        match asked::question(id, params) {
            Some(_) if is_late => out.send(&wire::result(id, asked::nobody())),
            Some(mut question) => {
                self.updates.tools.asked(&mut question.tool_call, out);
                out.ask(question);
            }
            None => out.send(&wire::refusal(id, -32602, "the question names no tool call, or no option")),
        }
    }
}

impl Adapter for AcpAdapter {
    fn begin(&mut self, out: &mut Out) {
        out.wake(PATIENCE, GREETED);
        self.ask(Asked::Initialize, "initialize", calls::initialize(), out);
    }

    fn line(&mut self, line: &[u8], out: &mut Out) {
        match wire::parse(line) {
            Some(Message::Answer { id, outcome }) => {
                if let Some(asked) = self.asked.remove(&id) {
                    self.answered(asked, outcome, out);
                }
            }
            Some(Message::Request { id, method, params }) => self.requested(&id, &method, params, out),
            Some(Message::Notification { method, params }) => match method.as_str() {
                "session/update" => self.updated(params, out),
                "$/cancel_request" => {
                    if let Some(id) = params.get("requestId") {
                        out.withdraw(&id.to_string());
                    }
                }
                _ => {}
            },
            None => {}
        }
    }

    fn prompt(&mut self, prompt: &Blocks, out: &mut Out) {
        self.turn = Some(Turn { cancelled: false });
        if self.is_setting() {
            self.waiting = Some(prompt.clone());
        } else {
            self.give(prompt, out);
        }
    }

    fn interrupt(&mut self, out: &mut Out) {
        if self.waiting.take().is_some() {
            self.turn = None;
            out.turn_ended(TurnEnd::new("cancelled"));
        } else if let (Some(turn), Some(session)) = (&mut self.turn, &self.session) {
            turn.cancelled = true;
            out.send(&wire::notification("session/cancel", json!({ "sessionId": session })));
        }
    }

    fn answer(&mut self, question: &str, answer: &Answer, out: &mut Out) {
        let Ok(id) = serde_json::from_str(question) else { return };
        if answer.message.as_ref().is_some_and(|message| !message.trim().is_empty()) {
            out.notice(
                Severity::Info,
                "the protocol of this agent has no place for a message beside the answer; send it as a prompt",
                None,
            );
        }
        out.send(&wire::result(&id, answer.option.as_deref().map_or_else(asked::nobody, asked::chosen)));
    }

    fn can_configure(&self, model: Option<&str>, permissions: Option<PermissionMode>) -> Result<(), Failure> {
        self.can_choose(model, permissions)
    }

    fn configure(&mut self, model: Option<&str>, permissions: Option<PermissionMode>, out: &mut Out) {
        self.refused = None;
        if let Some(permissions) = permissions {
            self.choose_mode(permissions, out);
        }
        if let Some(model) = model {
            self.choose_model(model);
        }
        if !self.asked.values().any(|asked| matches!(asked, Asked::Setting(_))) {
            self.next_setting(out);
        }
    }

    fn woken(&mut self, token: u32, out: &mut Out) {
        let program = self.task.program.join(" ");
        match token {
            GREETED if self.asked.values().any(|asked| matches!(asked, Asked::Initialize)) => out.fatal(fault::protocol(&format!(
                "`{program}` did not answer `initialize` within {} s; it may be no agent of the Agent Client Protocol, or need another argument to be one",
                PATIENCE.as_secs()
            ))),
            READY if !self.ready => out.fatal(fault::protocol(&format!(
                "{} opened no session within {} s; start `{program}` in a terminal to see whether it waits for something",
                self.agent.name,
                PATIENCE.as_secs()
            ))),
            KEPT => self.keep(out),
            HELD => self.updates.tools.tell_held(out),
            _ => {}
        }
    }

    fn ended(&mut self, _exit: Exit, out: &mut Out) {
        self.updates.turn_ended(true, out);
    }

    fn can_resume(&self) -> bool {
        self.agent.goes_on()
    }

    fn takeovers(&self, session: &SessionNews) -> Vec<Takeover> {
        takeover::ladder(&self.agent, &self.task, session)
    }
}
