//! Drives a conversation in a test: the test plays the program and the client, and reads what the conversation did.

use serde_json::{Value, json};

use super::super::{Action, Answer, Conversation, EntryBody, Exit, FinalState, kind::Provider};
use crate::model::{
    calls::PermissionMode,
    entry::PermissionStatus,
    task::{Plain, Task, text_block},
};

/// A conversation and everything that it did so far.
pub(crate) struct ConversationDriver {
    pub(crate) conversation: Conversation,
    /// The logged entries: updates as they are, others under the name of their kind.
    pub(crate) log: Vec<Value>,
    /// What was written to the program, line by line.
    pub(crate) written: Vec<Value>,
    /// All actions that neither log nor write.
    pub(crate) actions: Vec<Action>,
}

/// A task with a prompt.
pub(crate) fn task(kind: &str, program: &[&str]) -> Task {
    Task {
        provider: kind.to_owned(),
        kind: kind.to_owned(),
        prompt: Some(vec![text_block("do it")]),
        cwd: "/work".to_owned(),
        model: None,
        permissions: PermissionMode::Ask,
        resume: None,
        session_id: "01890a5d-ac96-774b-bcce-b302099a8057".to_owned(),
        interactive: false,
        is_root: false,
        program: program.iter().map(|word| (*word).to_owned()).collect(),
        mcp_servers: Vec::new(),
        args: Vec::new(),
        plain: Plain::default(),
        start_timeout_seconds: 60,
    }
}

impl ConversationDriver {
    pub(crate) fn start(provider: &dyn Provider, task: &Task) -> Self {
        let conversation = Conversation::new(task, provider.adapter(task.clone()));
        let mut driver = Self { conversation, log: Vec::new(), written: Vec::new(), actions: Vec::new() };
        driver.conversation.start();
        driver.drain_actions();
        driver
    }

    /// The program writes this message.
    pub(crate) fn receive(&mut self, message: Value) {
        self.receive_line(message.to_string().as_bytes());
    }

    pub(crate) fn receive_line(&mut self, line: &[u8]) {
        self.conversation.handle_line(line);
        self.drain_actions();
    }

    /// The client calls the conversation.
    pub(crate) fn act<T>(&mut self, action: impl FnOnce(&mut Conversation) -> T) {
        action(&mut self.conversation);
        self.drain_actions();
    }

    pub(crate) fn answer(&mut self, permission: &str, option: Option<&str>) {
        let answer = Answer { option: option.map(str::to_owned), message: None };
        self.act(|conversation| conversation.answer(permission, answer).expect("the question is open"));
    }

    /// Expires all timers that were set so far.
    pub(crate) fn fire_timers(&mut self) {
        let tokens: Vec<u32> = self
            .actions
            .iter()
            .filter_map(|action| {
                if let Action::SetTimer { token, .. } | Action::SetStartDeadline { token, .. } = action { Some(*token) } else { None }
            })
            .collect();
        self.actions.retain(|action| !matches!(action, Action::SetTimer { .. } | Action::SetStartDeadline { .. }));
        tokens.into_iter().for_each(|token| self.act(|conversation| conversation.handle_timer(token)));
    }

    /// The program exits.
    pub(crate) fn exit(&mut self, code: i32) -> FinalState {
        let final_state = self.conversation.handle_exit(&Exit { code: Some(code), signal: None }, "");
        self.drain_actions();
        final_state
    }

    /// The last line that was written to the program.
    pub(crate) fn last_written(&self) -> &Value {
        self.written.last().expect("something was written")
    }

    /// The logged updates of this kind.
    pub(crate) fn updates(&self, kind: &str) -> Vec<&Value> {
        self.log.iter().filter(|entry| entry["sessionUpdate"] == kind).collect()
    }

    /// All text of the chunks of this kind.
    pub(crate) fn text(&self, kind: &str) -> String {
        self.updates(kind).iter().filter_map(|chunk| chunk["content"]["text"].as_str()).collect()
    }

    /// The output of a tool call as a client displays it.
    pub(crate) fn output(&self, tool: &str) -> String {
        let mut shown = String::new();
        for output in self.log.iter().filter(|entry| entry["toolCallId"] == tool).filter_map(|entry| entry["_meta"].get("loomd/output")) {
            shown.truncate(usize::try_from(output["offset"].as_u64().expect("a number")).expect("a length"));
            shown.push_str(output["text"].as_str().expect("a text"));
        }
        shown
    }

    /// All members of a tool call after its last update.
    pub(crate) fn tool(&self, tool: &str) -> Value {
        let mut known = json!({});
        for entry in self.log.iter().filter(|entry| entry["toolCallId"] == tool) {
            for (name, value) in entry.as_object().expect("an update") {
                known[name] = value.clone();
            }
        }
        known
    }

    fn drain_actions(&mut self) {
        while let Some(action) = self.conversation.next_action() {
            match action {
                Action::Log(body) => self.log.push(entry_json(body)),
                Action::Write(bytes) => {
                    let text = String::from_utf8(bytes).expect("text");
                    self.written.extend(text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| json!(line))));
                }
                other => self.actions.push(other),
            }
        }
    }
}

fn entry_json(body: EntryBody) -> Value {
    match body {
        EntryBody::Update(update) => Value::Object(update),
        EntryBody::Session(session) => json!({ "session": session }),
        EntryBody::Permission { permission_id, status } => match status {
            PermissionStatus::Requested { tool_call, options } => {
                json!({ "asked": permission_id, "toolCall": tool_call, "options": options })
            }
            PermissionStatus::Resolved { option_id, by, .. } => json!({ "answered": permission_id, "option": option_id, "by": by }),
        },
        EntryBody::State { state, turn, end } => {
            let end = end.unwrap_or_default();
            json!({ "state": state, "turn": turn, "stopReason": end.stop_reason, "error": end.error, "usage": end.usage })
        }
    }
}
