//! The conversation with one `codex app-server`: the handshake, the thread, its turns.
//!
//! A thread that is not the run's own belongs to a sub-agent: what it says is told below the call that started it.

mod answered;
mod told;
mod turning;

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
    turn::{Stage, Turn},
    usage::Usages,
};
use crate::{
    model::{Takeover, calls::PermissionMode},
    provider::{
        adapter::{Adapter, Answer},
        effect::SessionNews,
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
