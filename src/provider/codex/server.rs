//! The conversation with one `codex app-server`: the handshake, the thread, its turns.
//!
//! A thread that is not the run's own belongs to a sub-agent: what it says is told below the call that started it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde_json::{Map, Value, json};

use super::{
    approvals::{self, Approvals},
    initialize,
    input::{input, said},
    items::Items,
    modes, sandbox_type,
    turn::{Refused, Stage, Turn},
    usage::Usages,
};
use crate::{
    model::{RunError, Takeover, calls::PermissionMode},
    provider::{
        adapter::{Adapter, Answer},
        effect::{SessionNews, TurnEnd},
        fault,
        out::{Out, Severity},
        task::{Blocks, Task, object},
    },
};

/// Codex answers its handshake in half a second; one that takes so long never will.
const HANDSHAKE: Duration = Duration::from_secs(60);
const HANDSHAKE_IS_LATE: u32 = 1;

/// Our side of the conversation.
pub struct AppServer {
    task: Task,
    /// Requests that Codex has not answered.
    requests: BTreeMap<u64, Request>,
    last_request: u64,
    thread: Option<Thread>,
    turn: Turn,
    items: Items,
    approvals: Approvals,
    usages: Usages,
    /// What `run/configure` changed; told with each turn from then on.
    model: Option<String>,
    permissions: Option<PermissionMode>,
    /// The newest error that Codex will not try to get over.
    error: Value,
    /// Warnings that were told; Codex repeats some with each turn.
    warned: BTreeSet<String>,
    /// The call that started each sub-agent, by its thread.
    parents: BTreeMap<String, String>,
}

/// The run's own thread.
struct Thread {
    id: String,
    path: Option<String>,
    is_kept: bool,
    /// The sandbox as the user's configuration and the run's permissions make it.
    sandbox: Value,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Request {
    Initialize,
    /// The thread is begun, or gone on with.
    Open {
        without_turns: bool,
    },
    Turn,
    Steer,
    Interrupt,
}

impl AppServer {
    pub fn new(task: Task) -> Self {
        Self {
            items: Items::new(&task.cwd),
            task,
            requests: BTreeMap::new(),
            last_request: 0,
            thread: None,
            turn: Turn::default(),
            approvals: Approvals::default(),
            usages: Usages::default(),
            model: None,
            permissions: None,
            error: Value::Null,
            warned: BTreeSet::new(),
            parents: BTreeMap::new(),
        }
    }

    fn request(&mut self, request: Request, method: &str, params: &Value, out: &mut Out) -> u64 {
        self.last_request += 1;
        self.requests.insert(self.last_request, request);
        out.send(&json!({ "id": self.last_request, "method": method, "params": params }));
        self.last_request
    }

    fn thread_id(&self) -> &str {
        self.thread.as_ref().map_or("", |thread| &thread.id)
    }

    // What Codex answers.

    fn answered(&mut self, id: &Value, answer: &Value, out: &mut Out) {
        let Some((id, request)) = id.as_u64().and_then(|id| Some((id, self.requests.remove(&id)?))) else { return };
        let refusal = answer.get("error").filter(|error| !error.is_null());
        let refusal = refusal.map(|error| error["message"].as_str().unwrap_or("it gave no reason"));
        let result = &answer["result"];
        match (request, refusal) {
            (Request::Initialize, None) => {
                out.send(&json!({ "method": "initialized" }));
                self.open(true, out);
            }
            (Request::Initialize, Some(reason)) => out.fatal(fault::protocol(&format!("Codex refused the conversation: {reason}"))),
            (Request::Open { .. }, None) => self.opened(result, out),
            // Versions differ in whether a client may ask for that without further ado.
            (Request::Open { without_turns: true }, Some(reason))
                if reason.contains("excludeTurns") || reason.contains("experimentalApi") =>
            {
                self.open(false, out);
            }
            (Request::Open { .. }, Some(reason)) => out.fatal(self.not_opened(reason)),
            (Request::Turn, None) => {
                if let Some(turn) = result["turn"]["id"].as_str() {
                    self.turn_is(turn, out);
                }
            }
            (Request::Turn, Some(reason)) => {
                if self.turn.stage == Stage::Asked {
                    let error = fault::provider_error(None, &format!("Codex refused the prompt: {reason}"));
                    self.end_turn(TurnEnd::failed(error), out);
                }
            }
            (Request::Steer, None) | (Request::Interrupt, None) => {}
            (Request::Steer, Some(_)) => self.give_back(id, out),
            (Request::Interrupt, Some(reason)) => {
                if self.turn.is_unwanted {
                    out.notice(Severity::Warning, "Codex did not stop the turn", Some(reason));
                }
            }
        }
    }

    /// Begins the thread, or goes on with it. Its history is in the log of the run that it comes from, so it is not asked for.
    fn open(&mut self, without_turns: bool, out: &mut Out) {
        let (approval, sandbox) = modes(self.task.permissions);
        // Who answers is this run's business, whatever model the configuration would have review it.
        let mut params = json!({ "cwd": self.task.cwd, "approvalPolicy": approval, "approvalsReviewer": "user", "sandbox": sandbox });
        if let Some(model) = &self.task.model {
            params["model"] = json!(model);
        }
        let method = match &self.task.resume {
            None => "thread/start",
            Some(thread) => {
                params["threadId"] = json!(thread);
                if without_turns {
                    params["excludeTurns"] = json!(true);
                }
                "thread/resume"
            }
        };
        self.request(Request::Open { without_turns }, method, &params, out);
    }

    fn opened(&mut self, result: &Value, out: &mut Out) {
        let thread = &result["thread"];
        let Some(id) = thread["id"].as_str().filter(|id| !id.is_empty()) else {
            out.fatal(fault::protocol("Codex began a session without naming it; it may be too old or too new for loomd"));
            return;
        };
        if self.task.resume.as_deref().is_some_and(|wanted| wanted != id) {
            out.fatal(self.not_opened("it opened another session instead"));
            return;
        }
        self.announce(thread, out);
        if let Some(thread) = &mut self.thread {
            thread.sandbox = result["sandbox"].clone();
        }
        out.ready();
    }

    fn announce(&mut self, thread: &Value, out: &mut Out) {
        let Some(id) = thread["id"].as_str().filter(|id| !id.is_empty()) else { return };
        let path = thread["path"].as_str();
        let is_kept = self.task.resume.is_some();
        out.session(id, path, is_kept);
        self.thread = Some(Thread { id: id.to_owned(), path: path.map(str::to_owned), is_kept, sandbox: Value::Null });
    }

    fn not_opened(&self, reason: &str) -> RunError {
        let error = fault::provider_error(None, &format!("Codex could not begin a session: {reason}"));
        match &self.task.resume {
            Some(session) if error.kind == "provider" => {
                let mut error = fault::session_not_found(session, "Codex");
                error.message = format!("{} ({reason})", error.message);
                error
            }
            _ => error,
        }
    }

    // What Codex tells.

    fn told(&mut self, method: &str, params: &Value, out: &mut Out) {
        let thread = params["threadId"].as_str().unwrap_or_default();
        match method {
            "warning" => self.warn(params["message"].as_str(), None, out),
            "configWarning" => self.warn(params["summary"].as_str(), params["details"].as_str(), out),
            "deprecationNotice" => {
                let summary = params["summary"].as_str().unwrap_or_default();
                if self.warned.insert(summary.to_owned()) {
                    out.notice(Severity::Info, summary, params["details"].as_str());
                }
            }
            "model/rerouted" => {
                let model = |name: &str| params[name].as_str().unwrap_or("another model");
                self.warn(Some(&format!("Codex goes on with {} instead of {}", model("toModel"), model("fromModel"))), None, out);
            }
            "mcpServer/startupStatus/updated" if params["status"] == "failed" => {
                let server = params["name"].as_str().unwrap_or_default();
                self.warn(Some(&format!("the MCP server {server} could not be started")), params["error"].as_str(), out);
            }
            "serverRequest/resolved" => self.approvals.resolved(&params["requestId"], out),
            "thread/started" => self.thread_started(&params["thread"], out),
            _ if self.thread.is_none() || thread.is_empty() => {}
            _ if thread == self.thread_id() => self.told_of_own(method, params, out),
            _ => self.told_of_sub_agent(thread, method, params, out),
        }
    }

    fn told_of_own(&mut self, method: &str, params: &Value, out: &mut Out) {
        let turn = &params["turn"];
        match method {
            "turn/started" => match (turn["id"].as_str(), &self.turn.stage) {
                (Some(id), Stage::Asked) if !self.turn.was(id) => self.turn_is(id, out),
                // Nobody here asked for it: Codex goes on by itself.
                (Some(id), Stage::None) if !self.turn.was(id) => {
                    self.turn.begin(Stage::Runs(id.to_owned()), true);
                    out.turn_began();
                }
                _ => {}
            },
            "turn/completed" => {
                let id = turn["id"].as_str().unwrap_or_default();
                if self.turn.is(id) || (self.turn.stage == Stage::Asked && !self.turn.was(id)) {
                    self.turn_completed(turn, out);
                }
            }
            "thread/tokenUsage/updated" => {
                let usage = &params["tokenUsage"];
                let is_in_turn = params["turnId"].as_str().is_some_and(|turn| self.turn.is(turn));
                self.usages.told(params["threadId"].as_str().unwrap_or_default(), usage, is_in_turn);
                if let (true, Some(used), Some(size)) =
                    (is_in_turn, usage["last"]["totalTokens"].as_u64(), usage["modelContextWindow"].as_u64())
                {
                    out.update(object(json!({ "sessionUpdate": "usage_update", "used": used, "size": size })));
                }
            }
            _ => {
                let is_current = params["turnId"].as_str().is_none_or(|turn| self.turn.is(turn)) && self.turn.stage != Stage::None;
                let item = params["item"]["id"].as_str().or_else(|| params["itemId"].as_str());
                // A command may go on behind its turn. Else, what belongs to another turn is history.
                if is_current || item.is_some_and(|item| self.items.is_running_command(item)) {
                    self.told_of_item(method, params, out);
                }
            }
        }
    }

    fn told_of_item(&mut self, method: &str, params: &Value, out: &mut Out) {
        let thread = params["threadId"].as_str().unwrap_or_default();
        let item = &params["item"];
        if item["type"] == "userMessage" {
            let is_own = thread == self.thread_id();
            if is_own && item["id"].as_str().is_some_and(|id| self.turn.echo(id)) {
                out.took();
            }
            if is_own && method == "item/completed" {
                self.kept(out);
            }
            return;
        }
        if thread == self.thread_id() && self.turn.stage != Stage::None && method.starts_with("item/") {
            if self.turn.works() {
                out.took();
            }
            self.kept(out);
        }
        match method {
            "item/started" => self.items.started(thread, item, out),
            "item/completed" => self.items.completed(item, out),
            "item/fileChange/patchUpdated" => self.items.patch_updated(params, out),
            "turn/plan/updated" => self.items.plan(params, out),
            "error" if params["willRetry"] == true => {
                self.items.abandoned(thread, out);
                let error = &params["error"];
                let title = error["message"].as_str().unwrap_or("Codex tries again");
                out.notice(Severity::Warning, title, error["additionalDetails"].as_str());
            }
            "error" => self.error = params["error"].clone(),
            _ => self.items.delta(thread, method, params, out),
        }
        for agent in item["receiverThreadIds"].as_array().into_iter().flatten().chain([&item["agentThreadId"]]) {
            if let (Some(agent), Some(call)) = (agent.as_str(), item["id"].as_str()) {
                self.parents.entry(agent.to_owned()).or_insert_with(|| call.to_owned());
            }
        }
    }

    fn told_of_sub_agent(&mut self, thread: &str, method: &str, params: &Value, out: &mut Out) {
        match method {
            "thread/tokenUsage/updated" => self.usages.told(thread, &params["tokenUsage"], self.turn.stage != Stage::None),
            "turn/completed" => self.items.thread_ended(thread),
            _ if self.turn.stage == Stage::None => {}
            // Its end is its own; what ends the run's turn is told of the run's thread.
            "error" if params["willRetry"] != true => {}
            _ => {
                let parent = self.parents.get(thread).cloned();
                out.within(parent.as_deref().or(Some(thread)));
                self.told_of_item(method, params, out);
                out.within(None);
            }
        }
    }

    fn thread_started(&mut self, thread: &Value, out: &mut Out) {
        let Some(id) = thread["id"].as_str() else { return };
        match thread["parentThreadId"].as_str() {
            None if self.thread.is_none() && self.task.resume.is_none() => self.announce(thread, out),
            Some(_) if id != self.thread_id() && self.turn.stage != Stage::None && !self.parents.contains_key(id) => {
                // Which call started it may come later, or never; it is one of its own then.
                let name = thread["agentNickname"].as_str().unwrap_or("Sub-agent");
                out.tool(id, object(json!({ "title": name, "kind": "think", "status": "in_progress" })));
                self.parents.insert(id.to_owned(), id.to_owned());
            }
            _ => {}
        }
    }

    /// The thread's file is written when its first turn has really begun; a thread without one cannot be gone on with.
    fn kept(&mut self, out: &mut Out) {
        if let Some(thread) = self.thread.as_mut().filter(|thread| !thread.is_kept) {
            thread.is_kept = true;
            out.session(&thread.id, thread.path.as_deref(), true);
        }
    }

    fn warn(&mut self, title: Option<&str>, details: Option<&str>, out: &mut Out) {
        let title = title.unwrap_or_default();
        if self.warned.insert(title.to_owned()) {
            out.notice(Severity::Warning, title, details);
        }
    }

    // The turn.

    fn turn_is(&mut self, id: &str, out: &mut Out) {
        if self.turn.stage == Stage::Asked {
            self.turn.stage = Stage::Runs(id.to_owned());
            if self.turn.is_unwanted {
                self.stop_turn(id, out);
            }
        }
    }

    fn stop_turn(&mut self, turn: &str, out: &mut Out) {
        let params = json!({ "threadId": self.thread_id(), "turnId": turn });
        self.request(Request::Interrupt, "turn/interrupt", &params, out);
    }

    fn turn_completed(&mut self, turn: &Value, out: &mut Out) {
        for item in turn["items"].as_array().into_iter().flatten() {
            // The last message once more: the whole of it, should anything of it be missing.
            if item["type"] == "agentMessage" {
                self.items.completed(item, out);
            }
        }
        let status = turn["status"].as_str().unwrap_or_default();
        let error = Some(&turn["error"]).filter(|error| !error.is_null()).unwrap_or(&self.error);
        let end = match status {
            "interrupted" => TurnEnd::new("cancelled"),
            "failed" => TurnEnd::failed(classed(error)),
            _ => TurnEnd::new("end_turn"),
        };
        if status != "failed" {
            if self.turn.works() {
                out.took();
            }
            self.kept(out);
        }
        self.end_turn(end, out);
    }

    fn end_turn(&mut self, end: TurnEnd, out: &mut Out) {
        // Prompts that were put into the turn and not taken have missed it.
        for request in self.turn.waiting() {
            self.give_back(request, out);
        }
        let broke_off = end.stop_reason != "end_turn";
        self.items.turn_ended(broke_off, out);
        if end.stop_reason == "cancelled" {
            // Codex lets the command of a turn that was stopped run on.
            out.end_commands();
        }
        self.approvals.turn_ended();
        self.turn.end();
        self.error = Value::Null;
        out.turn_ended(TurnEnd { usage: self.usages.turn_ended(), ..end });
    }

    fn steer_with(&mut self, input: &Value, is_silent: bool, out: &mut Out) -> bool {
        let Stage::Runs(turn) = &self.turn.stage else { return false };
        let params = json!({ "threadId": self.thread_id(), "expectedTurnId": turn, "input": input });
        let request = self.request(Request::Steer, "turn/steer", &params, out);
        self.turn.steered(request, is_silent);
        true
    }

    fn give_back(&mut self, request: u64, out: &mut Out) {
        match self.turn.refused(request) {
            Some(Refused::Prompt { place }) => out.give_back(place),
            Some(Refused::Silent) => out.notice(Severity::Warning, "what was said beside the answer did not reach the agent", None),
            None => {}
        }
    }
}

impl Adapter for AppServer {
    fn begin(&mut self, out: &mut Out) {
        self.last_request += 1;
        self.requests.insert(self.last_request, Request::Initialize);
        out.send(&initialize(self.last_request));
        out.wake(HANDSHAKE, HANDSHAKE_IS_LATE);
    }

    fn line(&mut self, line: &[u8], out: &mut Out) {
        let Ok(message) = serde_json::from_slice::<Value>(line) else { return };
        let params = &message["params"];
        match (message["method"].as_str(), &message["id"]) {
            (Some(method), Value::Null) => self.told(method, params, out),
            (Some(method), id) => {
                let thread = params["threadId"].as_str().unwrap_or_default();
                let is_sub_agent = !thread.is_empty() && thread != self.thread_id();
                let parent = is_sub_agent.then(|| self.parents.get(thread).map_or(thread, String::as_str));
                out.within(parent);
                if !self.approvals.asked(id, method, params, &self.task.cwd, out) {
                    approvals::refuse(id, method, params, out);
                }
                out.within(None);
            }
            (None, id) => self.answered(id, &message, out),
        }
    }

    fn prompt(&mut self, prompt: &Blocks, out: &mut Out) {
        let mut params = object(json!({ "threadId": self.thread_id(), "input": input(prompt) }));
        params.extend(self.settings());
        self.turn.begin(Stage::Asked, false);
        self.request(Request::Turn, "turn/start", &Value::Object(params), out);
    }

    fn steer(&mut self, prompt: &Blocks, out: &mut Out) -> bool {
        !self.turn.is_unwanted && self.steer_with(&input(prompt), false, out)
    }

    fn interrupt(&mut self, out: &mut Out) {
        if !std::mem::replace(&mut self.turn.is_unwanted, true)
            && let Stage::Runs(turn) = self.turn.stage.clone()
        {
            self.stop_turn(&turn, out);
        }
    }

    fn answer(&mut self, question: &str, answer: &Answer, out: &mut Out) {
        if let Some(message) = self.approvals.answer(question, answer, out)
            && !self.steer_with(&json!([said(&message)]), true, out)
        {
            out.notice(Severity::Warning, "what was said beside the answer did not reach the agent", None);
        }
    }

    fn configure(&mut self, model: Option<&str>, permissions: Option<PermissionMode>, _out: &mut Out) {
        self.model = model.map(str::to_owned).or(self.model.take());
        self.permissions = permissions.or(self.permissions);
    }

    fn woken(&mut self, token: u32, out: &mut Out) {
        if token == HANDSHAKE_IS_LATE && self.thread.is_none() {
            let message = "`codex app-server` did not answer within 60 s; try `codex --version` in a terminal, and look into stderr";
            out.fatal(fault::protocol(message));
        }
    }

    fn takeovers(&self, session: &SessionNews) -> Vec<Takeover> {
        super::takeovers(&self.task, session)
    }
}

impl AppServer {
    /// What `turn/start` says of settings that changed since the thread was opened.
    fn settings(&self) -> Map<String, Value> {
        let mut settings = Map::new();
        if let Some(model) = &self.model {
            settings.insert("model".to_owned(), json!(model));
        }
        if let Some(permissions) = self.permissions {
            // The user's own roots and network rules hold for the sandbox that they were made for.
            let own = self.thread.as_ref().map(|thread| &thread.sandbox);
            let own = own.filter(|sandbox| sandbox["type"] == sandbox_type(permissions)).cloned();
            settings.insert("approvalPolicy".to_owned(), json!(modes(permissions).0));
            settings.insert("approvalsReviewer".to_owned(), json!("user"));
            settings.insert("sandboxPolicy".to_owned(), own.unwrap_or_else(|| json!({ "type": sandbox_type(permissions) })));
        }
        settings
    }
}

/// A turn's error, classed by what Codex knows of its cause.
fn classed(error: &Value) -> RunError {
    let info = &error["codexErrorInfo"];
    let status = match info.as_str() {
        Some("unauthorized") => Some(401),
        Some("usageLimitExceeded") => Some(429),
        Some("serverOverloaded") => Some(529),
        Some("internalServerError") => Some(500),
        Some("badRequest" | "contextWindowExceeded") => Some(400),
        Some(_) => None,
        None => info.as_object().into_iter().flatten().find_map(|(_, cause)| u16::try_from(cause["httpStatusCode"].as_u64()?).ok()),
    };
    let message = error["message"].as_str().unwrap_or("the turn failed, and Codex did not say why");
    match error["additionalDetails"].as_str().filter(|details| !details.is_empty()) {
        Some(details) => fault::provider_error(status, &format!("{message}: {details}")),
        None => fault::provider_error(status, message),
    }
}
