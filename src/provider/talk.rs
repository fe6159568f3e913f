//! A conversation with an adapter, held by a test: what the program says, what a client does, what came of it.

use serde_json::{Value, json};

use super::{
    adapter::{Answer, Exit},
    conversation::{Act, Body, Conversation, Verdict},
    kind::Provider,
    task::{Plain, Task, text_block},
};
use crate::model::{calls::PermissionMode, entry::PermissionStatus};

/// The conversation, and all that came of it.
pub struct Talk {
    pub conversation: Conversation,
    /// What was logged; updates as they are, the rest under the name of its kind.
    pub log: Vec<Value>,
    /// What was written to the program, line by line.
    pub written: Vec<Value>,
    /// Everything else that was to be done, but for what was to be logged or written.
    pub acts: Vec<Act>,
}

/// A task with a prompt.
pub fn task(kind: &str, program: &[&str]) -> Task {
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
        plain: Plain::default(),
    }
}

impl Talk {
    pub fn begin(provider: &dyn Provider, task: &Task) -> Self {
        let conversation = Conversation::new(task, provider.adapter(task.clone()));
        let mut talk = Self { conversation, log: Vec::new(), written: Vec::new(), acts: Vec::new() };
        talk.conversation.begin();
        talk.settle();
        talk
    }

    /// The program says this.
    pub fn said(&mut self, message: Value) {
        self.line(message.to_string().as_bytes());
    }

    pub fn line(&mut self, line: &[u8]) {
        self.conversation.line(line);
        self.settle();
    }

    /// A client does this.
    pub fn does(&mut self, deed: impl FnOnce(&mut Conversation)) {
        deed(&mut self.conversation);
        self.settle();
    }

    pub fn answers(&mut self, permission: &str, option: Option<&str>) {
        let answer = Answer { option: option.map(str::to_owned), message: None };
        self.does(|conversation| conversation.answer(permission, answer).expect("the question is open"));
    }

    /// All alarms ring that were set so far.
    pub fn time_passes(&mut self) {
        let tokens: Vec<u32> =
            self.acts.iter().filter_map(|act| if let Act::Wake { token, .. } = act { Some(*token) } else { None }).collect();
        self.acts.retain(|act| !matches!(act, Act::Wake { .. }));
        tokens.into_iter().for_each(|token| self.does(|conversation| conversation.woken(token)));
    }

    /// The program ends.
    pub fn ends(&mut self, code: i32) -> Verdict {
        let verdict = self.conversation.ended(&Exit { code: Some(code), signal: None }, "");
        self.settle();
        verdict
    }

    /// The last thing that was written.
    pub fn last_written(&self) -> &Value {
        self.written.last().expect("something was written")
    }

    /// The updates of this kind.
    pub fn updates(&self, kind: &str) -> Vec<&Value> {
        self.log.iter().filter(|entry| entry["sessionUpdate"] == kind).collect()
    }

    /// All text that was logged for this kind of chunk.
    pub fn text(&self, kind: &str) -> String {
        self.updates(kind).iter().filter_map(|chunk| chunk["content"]["text"].as_str()).collect()
    }

    /// The output of a tool call as a client shows it.
    pub fn output(&self, tool: &str) -> String {
        let mut shown = String::new();
        for output in self.log.iter().filter(|entry| entry["toolCallId"] == tool).filter_map(|entry| entry["_meta"].get("loomd/output")) {
            shown.truncate(usize::try_from(output["offset"].as_u64().expect("a number")).expect("a length"));
            shown.push_str(output["text"].as_str().expect("a text"));
        }
        shown
    }

    /// What is so for a tool call in the end.
    pub fn tool(&self, tool: &str) -> Value {
        let mut known = json!({});
        for entry in self.log.iter().filter(|entry| entry["toolCallId"] == tool) {
            for (name, value) in entry.as_object().expect("an update") {
                known[name] = value.clone();
            }
        }
        known
    }

    fn settle(&mut self) {
        while let Some(act) = self.conversation.next_act() {
            match act {
                Act::Log(body) => self.log.push(logged(body)),
                Act::Write(bytes) => {
                    let text = String::from_utf8(bytes).expect("text");
                    self.written.extend(text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| json!(line))));
                }
                other => self.acts.push(other),
            }
        }
    }
}

fn logged(body: Body) -> Value {
    match body {
        Body::Update(update) => Value::Object(update),
        Body::Session(session) => json!({ "session": session }),
        Body::Permission { permission_id, status } => match status {
            PermissionStatus::Requested { tool_call, options } => {
                json!({ "asked": permission_id, "toolCall": tool_call, "options": options })
            }
            PermissionStatus::Resolved { option_id, by, .. } => json!({ "answered": permission_id, "option": option_id, "by": by }),
        },
        Body::State { state, turn, end } => {
            let end = end.unwrap_or_default();
            json!({ "state": state, "turn": turn, "stopReason": end.stop_reason, "error": end.error, "usage": end.usage })
        }
    }
}
