//! What Claude's recordings come to, and what no recording shows.

mod asked;
mod ended;
mod robust;
mod said;
mod started;

use serde_json::{Value, json};

use super::recorded::Recorded;
use crate::{
    model::{calls::PermissionMode, entry::PermissionStatus},
    provider::{
        Act, Body, Conversation, Plain, Provider, Task, Verdict,
        adapter::Exit,
        recording,
        task::{Blocks, text_block},
    },
};

#[test]
fn recordings_come_to_what_stands_beside_them() {
    recording::all_match("claude", |_| true, &Recorded);
}

fn task(prompt: &str) -> Task {
    Task {
        provider: "claude".to_owned(),
        kind: "claude".to_owned(),
        prompt: Some(vec![text_block(prompt)]),
        cwd: "/work".to_owned(),
        model: None,
        permissions: PermissionMode::Ask,
        resume: None,
        session_id: "0190a000-0000-7000-8000-000000000001".to_owned(),
        interactive: true,
        is_root: false,
        program: vec!["claude".to_owned(), "--settings".to_owned(), "mine.json".to_owned()],
        plain: Plain::default(),
    }
}

/// A run whose program is us.
struct Run {
    conversation: Conversation,
    entries: Vec<Value>,
    /// What was written to the program.
    written: Vec<Value>,
    alarms: Vec<u32>,
    finished: bool,
}

impl Run {
    /// A run whose program has answered the first request, so that it has the prompt.
    fn started(task: &Task) -> Self {
        let mut run = Self::begun(task);
        let id = run.written[0]["request_id"].clone();
        run.say(&json!({ "type": "control_response", "response": { "subtype": "success", "request_id": id, "response": {} } }));
        run
    }

    fn begun(task: &Task) -> Self {
        let mut run = Self {
            conversation: Conversation::new(task, super::Claude.adapter(task.clone())),
            entries: Vec::new(),
            written: Vec::new(),
            alarms: Vec::new(),
            finished: false,
        };
        run.conversation.begin();
        run.act();
        run
    }

    fn say(&mut self, line: &Value) {
        self.say_raw(line.to_string().as_bytes());
    }

    fn say_raw(&mut self, line: &[u8]) {
        self.conversation.line(line);
        self.act();
    }

    /// The model says a whole message.
    fn message(&mut self, id: &str, parent: Option<&str>, block: Value) {
        let message = json!({ "id": id, "model": "claude-opus", "content": [block] });
        self.say(&json!({ "type": "assistant", "message": message, "parent_tool_use_id": parent, "session_id": "s" }));
    }

    fn stream(&mut self, event: Value) {
        self.say(&json!({ "type": "stream_event", "event": event, "parent_tool_use_id": null, "session_id": "s" }));
    }

    /// A message begins and says this much.
    fn begin_message(&mut self, id: &str, text: &str) {
        self.stream(json!({ "type": "message_start", "message": { "id": id } }));
        self.stream(json!({ "type": "content_block_start", "index": 0, "content_block": { "type": "text", "text": "" } }));
        self.stream(json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "text_delta", "text": text } }));
    }

    fn tool_result(&mut self, id: &str, content: Value, detail: Value) {
        let block = json!({ "type": "tool_result", "tool_use_id": id, "content": content });
        let message = json!({ "role": "user", "content": [block] });
        self.say(&json!({ "type": "user", "message": message, "parent_tool_use_id": null, "session_id": "s", "tool_use_result": detail }));
    }

    fn result(&mut self, more: Value) {
        let mut result = json!({ "type": "result", "subtype": "success", "is_error": false, "num_turns": 1, "session_id": "s" });
        for (name, value) in more.as_object().expect("members") {
            result[name] = value.clone();
        }
        self.say(&result);
    }

    fn ask(&mut self, id: &str, call: &str, request: Value) {
        let mut request = request;
        request["subtype"] = json!("can_use_tool");
        request["tool_use_id"] = json!(call);
        self.say(&json!({ "type": "control_request", "request_id": id, "request": request }));
    }

    fn ring(&mut self, token: u32) {
        self.conversation.woken(token);
        self.act();
    }

    fn send(&mut self, text: &str, steer: bool) {
        self.conversation.send(blocks(text), steer).expect("it is taken");
        self.act();
    }

    fn end(&mut self, code: Option<i32>) -> Verdict {
        let verdict = self.conversation.ended(&Exit { code, signal: None }, "");
        self.act();
        verdict
    }

    fn act(&mut self) {
        while let Some(act) = self.conversation.next_act() {
            match act {
                Act::Log(Body::Session(session)) => self.entries.push(json!({ "session": session })),
                Act::Log(Body::Update(update)) => self.entries.push(Value::Object(update)),
                Act::Log(Body::Permission { permission_id, status }) => {
                    let requested = matches!(status, PermissionStatus::Requested { .. });
                    self.entries.push(json!({ "permission": permission_id, "requested": requested, "status": status }));
                }
                Act::Log(Body::State { state, turn, end }) => {
                    let end = end.unwrap_or_default();
                    let told =
                        json!({ "state": state, "turn": turn, "stopReason": end.stop_reason, "error": end.error, "usage": end.usage });
                    self.entries.push(told);
                }
                Act::Write(bytes) => self.written.push(serde_json::from_slice(&bytes).expect("a line of JSON")),
                Act::Wake { token, .. } => self.alarms.push(token),
                Act::Finish => self.finished = true,
                Act::CloseStdin | Act::TurnBegins | Act::TurnEnded | Act::EndCommands | Act::Queued(_) => {}
            }
        }
    }

    /// Takes the entries so far.
    fn entries(&mut self) -> Vec<Value> {
        std::mem::take(&mut self.entries)
    }

    /// The texts of chunks of a kind, in order.
    fn texts(&self, kind: &str) -> Vec<&str> {
        self.entries.iter().filter(|entry| entry["sessionUpdate"] == kind).filter_map(|entry| entry["content"]["text"].as_str()).collect()
    }

    /// Entries of a kind of update.
    fn updates(&self, kind: &str) -> Vec<&Value> {
        self.entries.iter().filter(|entry| entry["sessionUpdate"] == kind).collect()
    }

    /// States and the turns that they begin or end.
    fn states(&self) -> Vec<(String, u64)> {
        let state = |entry: &Value| Some((entry["state"].as_str()?.to_owned(), entry["turn"].as_u64().unwrap_or_default()));
        self.entries.iter().filter_map(state).collect()
    }

    /// The last thing that was written.
    fn last_written(&self) -> &Value {
        self.written.last().expect("something was written")
    }
}

fn blocks(text: &str) -> Blocks {
    vec![text_block(text)]
}
