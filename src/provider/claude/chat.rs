//! The conversation with a running `claude`: what each line means for the run, and what is said to it.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};

use super::{
    ending::{self, Spent},
    messages::Messages,
    mode, notices,
    prompts::Prompts,
    questions::{self, Questions},
    session::Session,
    takeovers,
};
use crate::{
    model::{Takeover, calls::PermissionMode},
    provider::{
        Adapter, Answer, Exit, Task,
        effect::{SessionNews, TurnEnd},
        fault,
        out::{Out, Role, Severity},
        task::Blocks,
    },
};

/// How long the program may take to answer its first request.
const HANDSHAKE: Duration = Duration::from_secs(60);
/// How long after its first answer the session is in its file: 80 to 100 ms were measured.
const KEPT: Duration = Duration::from_millis(150);
/// How long a turn for a prompt that came too late may take to show any sign.
const LATE: Duration = Duration::from_secs(10);

/// What alarms are for. Those of late turns have the turn's number added.
const WAKE_HANDSHAKE: u32 = 0;
pub(super) const WAKE_KEPT: u32 = 1;
const WAKE_LATE: u32 = 2;

/// How often one turn is asked to stop: a request that comes before the turn has really begun is lost.
const MOST_INTERRUPTS: u32 = 5;

pub struct Chat {
    task: Task,
    /// How many requests and prompts were sent; their ids are made of it.
    sent: u64,
    /// Our requests that were not answered, by id.
    requests: BTreeMap<String, Request>,
    /// The program spoke in its protocol.
    understood: bool,
    ready: bool,
    /// The task's prompt is to be given as soon as we are ready.
    awaits_first: bool,
    /// What the program said of a turn before its prompt was given: that of a program which had it already.
    early: Option<Value>,
    turn: Option<Turn>,
    turns: u32,
    prompts: Prompts,
    messages: Messages,
    questions: Questions,
    spent: Spent,
    session: Session,
}

#[derive(Debug)]
enum Request {
    Initialize,
    Interrupt,
    /// What it was to set, for people.
    Set(String),
}

#[derive(Debug, Default)]
struct Turn {
    /// Requests to stop it.
    interrupts: u32,
    /// Somebody stopped it.
    stopped: bool,
    /// Claude began it by itself, and has not shown it yet.
    unseen: bool,
}

impl Chat {
    pub fn new(task: Task) -> Self {
        Self {
            sent: 0,
            requests: BTreeMap::new(),
            understood: false,
            ready: false,
            awaits_first: task.prompt.is_some(),
            early: None,
            turn: None,
            turns: 0,
            prompts: Prompts::default(),
            messages: Messages::new(&task.cwd),
            questions: Questions::default(),
            spent: Spent::new(task.resume.is_some()),
            session: Session::new(task.resume.clone()),
            task,
        }
    }

    // What is said to it.

    fn request(&mut self, body: &Value, request: Request, out: &mut Out) {
        self.sent += 1;
        let id = format!("loomd-{}", self.sent);
        out.send(&json!({ "type": "control_request", "request_id": id, "request": body }));
        self.requests.insert(id, request);
    }

    fn give(&mut self, prompt: &Blocks, steered: bool, out: &mut Out) {
        self.sent += 1;
        // Claude takes no two prompts of one id, also not of a session that was resumed, so the run's own fresh id is part of it.
        let hash = blake3::hash(format!("{} {}", self.task.session_id, self.sent).as_bytes());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash.as_bytes()[..16]);
        let uuid = uuid::Builder::from_random_bytes(bytes).into_uuid().to_string();
        self.prompts.give(uuid, prompt, steered, out);
    }

    fn stop_turn(&mut self, out: &mut Out) {
        let Some(turn) = self.turn.as_mut().filter(|turn| turn.interrupts < MOST_INTERRUPTS) else { return };
        turn.interrupts += 1;
        turn.stopped = true;
        self.request(&json!({ "subtype": "interrupt" }), Request::Interrupt, out);
    }

    // What it says.

    /// The answer to a request of ours.
    fn answered(&mut self, response: &Value, out: &mut Out) {
        let Some(request) = response["request_id"].as_str().and_then(|id| self.requests.remove(id)) else { return };
        let error = (response["subtype"] != "success").then(|| response["error"].as_str().unwrap_or("it gave no reason"));
        match request {
            // A version that does not know the request can still be talked to.
            Request::Initialize => {
                if error.is_none() && self.task.resume.is_none() {
                    self.session.announce(&self.task.session_id, out);
                }
                self.get_ready(out);
            }
            Request::Interrupt => match error {
                None if self.turn.is_some() => {
                    self.prompts.keep_queued(response["response"]["still_queued"].as_array().map(Vec::as_slice));
                }
                None => {}
                Some(error) => out.notice(Severity::Warning, "claude could not be interrupted", Some(error)),
            },
            Request::Set(what) => {
                if let Some(error) = error {
                    out.notice(Severity::Warning, &format!("claude did not take {what}"), Some(error));
                }
            }
        }
    }

    /// A request of its own.
    fn requested(&mut self, said: &Value, out: &mut Out) {
        let Some(id) = said["request_id"].as_str() else { return };
        let request = &said["request"];
        if request["subtype"] != "can_use_tool" {
            let what = request["subtype"].as_str().unwrap_or("of this kind");
            return out.send(&questions::refused(id, &format!("this client takes no request {what}")));
        }
        if request["tool_name"] == super::ASKING {
            let refusal =
                json!({ "behavior": "deny", "message": "Nobody can answer here. Ask in your reply instead.", "interrupt": false });
            out.send(&questions::success(id, &refusal));
            let texts = questions::texts(&request["input"]);
            return out.notice(Severity::Warning, "claude asked a question that options cannot answer; it was refused", Some(&texts));
        }
        self.prompts.own_is_taken(out);
        let (call, question) = self.questions.ask(id, request, &self.task.cwd);
        self.messages.expect_call(&call, request["tool_name"].as_str().unwrap_or_default());
        out.within(self.messages.parent_of(&call).as_deref());
        out.ask(question);
        out.within(None);
    }

    /// A line that is about the conversation itself.
    fn heard(&mut self, said: Value, out: &mut Out) {
        if let Some(id) = self.session.refused(&said) {
            return out.fatal(fault::session_not_found(id, "claude"));
        }
        if let Some(id) = said["session_id"].as_str().filter(|id| !id.is_empty()) {
            self.session.announce(id, out);
        }
        self.get_ready(out);
        let is_about_a_turn = matches!(said["type"].as_str(), Some("assistant" | "user" | "stream_event" | "result"));
        if let Some(early) = self.early.take() {
            self.take(&early, out);
        }
        if is_about_a_turn && std::mem::take(&mut self.awaits_first) {
            self.early = Some(said);
        } else {
            self.take(&said, out);
        }
    }

    fn take(&mut self, said: &Value, out: &mut Out) {
        if let Some(turn) = &mut self.turn {
            turn.unseen = false;
        }
        let parent = said["parent_tool_use_id"].as_str();
        match said["type"].as_str() {
            Some("system") => {
                // The first sign of a turn; the echo comes only with the model's answer.
                if self.turn.is_some() && matches!(said["subtype"].as_str(), Some("init" | "api_retry")) {
                    self.prompts.own_is_taken(out);
                }
                notices::system(said, out);
            }
            Some("rate_limit_event") => notices::limit(&said["rate_limit_info"], out),
            Some("user") => self.user(said, parent, out),
            Some(kind @ ("stream_event" | "assistant")) => {
                let is_start = said["event"]["type"] == "message_start";
                let speaks = is_start || kind == "assistant" && said["message"]["model"] != "<synthetic>";
                if parent.is_none() && !self.turn_goes_on(speaks, out) {
                    return;
                }
                if parent.is_none() && is_start {
                    self.stop_again(out);
                }
                if self.session.answers() {
                    out.wake(KEPT, WAKE_KEPT);
                }
                out.within(parent);
                if kind == "assistant" {
                    self.messages.whole(said, parent, out)
                } else {
                    self.messages.streamed(said, parent, out)
                }
                out.within(None);
            }
            Some("result") => self.result(said, out),
            _ => {}
        }
    }

    /// The agent itself speaks: its prompt was taken. Without a turn, that is a turn which nobody asked for. `false`: it is none.
    fn turn_goes_on(&mut self, speaks: bool, out: &mut Out) -> bool {
        if self.turn.is_none() {
            if !speaks {
                return false;
            }
            self.begin_unasked(out);
        }
        self.prompts.own_is_taken(out);
        true
    }

    /// A message that begins after an interrupt was answered shows that the interrupt came too early to be one.
    fn stop_again(&mut self, out: &mut Out) {
        let is_asked = self.requests.values().any(|request| matches!(request, Request::Interrupt));
        if !is_asked && self.turn.as_ref().is_some_and(|turn| turn.interrupts > 0) {
            self.stop_turn(out);
        }
    }

    fn begin_unasked(&mut self, out: &mut Out) {
        self.turns += 1;
        self.turn = Some(Turn::default());
        out.turn_began();
    }

    /// Results of tools, echoes of prompts, and what the CLI tells its model in the user's name.
    fn user(&mut self, said: &Value, parent: Option<&str>, out: &mut Out) {
        if said["isReplay"] == true {
            if parent.is_none() && self.prompts.is_echo(said) {
                if self.turn.is_none() {
                    self.begin_unasked(out);
                }
                self.prompts.echoed(said, out);
            }
            return;
        }
        out.within(parent);
        for block in said["message"]["content"].as_array().into_iter().flatten() {
            if block["type"] == "tool_result" {
                self.messages.result(block, &said["tool_use_result"], out);
            } else if block["text"].as_str().is_some_and(|text| text.starts_with("[Request interrupted by user"))
                && parent.is_none()
                && let Some(turn) = &mut self.turn
            {
                turn.stopped = true;
            }
        }
        out.within(None);
    }

    fn result(&mut self, said: &Value, out: &mut Out) {
        let usage = self.spent.usage(said);
        let Some(turn) = self.turn.take() else { return };
        self.prompts.own_is_taken(out);
        let is_error = said["is_error"] == true;
        match said["result"].as_str() {
            // The last message a third time; only where nothing was said it is news.
            Some(text) if !is_error && !self.messages.said_text => out.text_whole(Role::Agent, Some("result"), text),
            _ => {}
        }
        if let Some(trouble) = self.messages.error.as_ref().filter(|_| !is_error) {
            out.notice(Severity::Error, &trouble.message, None);
        }
        if let Some(update) = ending::context_update(said, self.messages.context) {
            out.update(update);
        }
        let trouble = self.messages.error.take();
        self.messages.close(out);
        self.questions.clear();
        out.turn_ended(ending::turn_end(said, turn.stopped, trouble.as_ref(), usage));
        if !self.prompts.is_empty() {
            // What it holds becomes a turn of its own at once.
            self.begin_unasked(out);
            if let Some(turn) = &mut self.turn {
                turn.unseen = true;
            }
            out.wake(LATE, WAKE_LATE + self.turns);
        }
    }

    fn get_ready(&mut self, out: &mut Out) {
        if !std::mem::replace(&mut self.ready, true) {
            out.ready();
        }
    }
}

impl Adapter for Chat {
    fn begin(&mut self, out: &mut Out) {
        self.session.begin(&self.task.session_id, out);
        self.request(&json!({ "subtype": "initialize" }), Request::Initialize, out);
        out.wake(HANDSHAKE, WAKE_HANDSHAKE);
    }

    fn line(&mut self, line: &[u8], out: &mut Out) {
        let Ok(said) = serde_json::from_slice::<Value>(line) else { return };
        let Some(kind) = said["type"].as_str() else { return };
        self.understood = true;
        match kind {
            "control_response" => self.answered(&said["response"], out),
            "control_request" => self.requested(&said, out),
            "control_cancel_request" => {
                if let Some(id) = said["request_id"].as_str().filter(|id| self.questions.withdraw(id)) {
                    out.withdraw(id);
                }
            }
            _ => self.heard(said, out),
        }
    }

    fn prompt(&mut self, prompt: &Blocks, out: &mut Out) {
        self.awaits_first = false;
        self.turns += 1;
        self.turn = Some(Turn::default());
        self.give(prompt, false, out);
        if let Some(early) = self.early.take() {
            self.take(&early, out);
        }
    }

    fn steer(&mut self, prompt: &Blocks, out: &mut Out) -> bool {
        let can = self.turn.as_ref().is_some_and(|turn| !turn.stopped);
        if can {
            self.give(prompt, true, out);
        }
        can
    }

    fn interrupt(&mut self, out: &mut Out) {
        self.stop_turn(out);
    }

    fn answer(&mut self, question: &str, answer: &Answer, out: &mut Out) {
        let Some(decision) = self.questions.answer(question, answer) else { return };
        out.send(&questions::success(question, &decision.response));
        if let Some(call) = decision.goes_on {
            out.within(self.messages.parent_of(&call).as_deref());
            out.tool(&call, questions::status("in_progress"));
            out.within(None);
        }
        if let Some(turn) = self.turn.as_mut().filter(|_| decision.stops) {
            turn.stopped = true;
        }
    }

    fn configure(&mut self, model: Option<&str>, permissions: Option<PermissionMode>, out: &mut Out) {
        if let Some(model) = model {
            self.request(&json!({ "subtype": "set_model", "model": model }), Request::Set(format!("the model {model}")), out);
        }
        let Some(permissions) = permissions else { return };
        let before = std::mem::replace(&mut self.task.permissions, permissions);
        // A running process takes this mode only if it was started with it.
        let mode = if permissions == PermissionMode::Bypass { "default" } else { mode(permissions, self.task.is_root) };
        self.request(&json!({ "subtype": "set_permission_mode", "mode": mode }), Request::Set(format!("the mode {mode}")), out);
        match (before, permissions) {
            (PermissionMode::ReadOnly, PermissionMode::ReadOnly) => {}
            (PermissionMode::ReadOnly, _) => {
                out.notice(Severity::Info, "claude was started without the tools that change anything; a new run has them", None);
            }
            (_, PermissionMode::ReadOnly) => {
                let title = "what claude asks is refused from now on, but what its own settings allow it does not ask";
                out.notice(Severity::Warning, title, Some("Only a run that is started with readOnly goes without those tools."));
            }
            _ => {}
        }
    }

    fn woken(&mut self, token: u32, out: &mut Out) {
        match token {
            WAKE_HANDSHAKE if !self.ready => {
                let message = "claude did not answer its first request within 60 s; start it in a terminal to see what it waits for \
                               (a login, a proxy, an update), and make sure that it is version 2 or newer";
                out.fatal(fault::protocol(message));
            }
            WAKE_KEPT => self.session.is_kept(out),
            token if token == WAKE_LATE + self.turns && self.turn.as_ref().is_some_and(|turn| turn.unseen) => {
                // It dropped the prompt: the run gives it again, in a turn of its own.
                self.turn = None;
                self.prompts.clear();
                out.turn_ended(TurnEnd::new("end_turn"));
            }
            _ => {}
        }
    }

    fn ended(&mut self, exit: Exit, out: &mut Out) {
        self.messages.close(out);
        // A program that ended by itself has written what it had.
        if exit.code.is_some() {
            self.session.is_kept(out);
        }
        if !self.understood && exit.code == Some(0) {
            out.fatal(fault::protocol(
                "claude did not speak stream-json; take `--output-format` and `--input-format` out of the run's arguments",
            ));
        }
    }

    fn takeovers(&self, session: &SessionNews) -> Vec<Takeover> {
        takeovers(&self.task, session)
    }
}
