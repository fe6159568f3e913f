//! Compares Claude's recordings with their snapshots, and tests what no recording contains.

mod launch;
mod malformed_lines;
mod permissions;
mod recorded;
mod turn_ends;
mod updates;

use serde_json::{Value, json};

use crate::{
    model::{
        Plain, Task,
        calls::{PermissionMode, RunSettings},
        entry::PermissionStatus,
        task::{ContentBlocks, text_block},
    },
    provider::{Action, Conversation, EntryBody, Exit, FinalState, Provider, tests::recording},
};
use recorded::ClaudeRecorder;

#[test]
fn recordings_match_their_snapshots() {
    recording::assert_recordings_match("claude", |_| true, &ClaudeRecorder);
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
        session_id: "s".to_owned(),
        interactive: true,
        is_root: false,
        program: vec!["claude".to_owned(), "--settings".to_owned(), "mine.json".to_owned()],
        mcp_servers: Vec::new(),
        args: Vec::new(),
        plain: Plain::default(),
        start_timeout_seconds: 60,
    }
}

/// A run in which the test plays the program.
struct TestRun {
    conversation: Conversation,
    entries: Vec<Value>,
    /// What was written to the program.
    written: Vec<Value>,
    timers: Vec<u32>,
    offers: Vec<Value>,
    finished: bool,
}

impl TestRun {
    /// A run whose program has responded to the first request, so that it has the prompt.
    fn started(task: &Task) -> Self {
        let mut run = Self::without_handshake(task);
        let id = run.written[0]["request_id"].clone();
        run.receive(&json!({ "type": "control_response", "response": { "subtype": "success", "request_id": id, "response": {} } }));
        run
    }

    fn without_handshake(task: &Task) -> Self {
        let mut run = Self {
            conversation: Conversation::new(task, super::Claude.adapter(task.clone())),
            entries: Vec::new(),
            written: Vec::new(),
            timers: Vec::new(),
            offers: Vec::new(),
            finished: false,
        };
        run.conversation.start();
        run.drain_actions();
        run
    }

    fn receive(&mut self, line: &Value) {
        self.receive_line(line.to_string().as_bytes());
    }

    fn receive_line(&mut self, line: &[u8]) {
        self.conversation.handle_line(line);
        self.drain_actions();
    }

    /// The model sends a whole message.
    fn message(&mut self, id: &str, parent: Option<&str>, block: Value) {
        let message = json!({ "id": id, "model": "claude-opus", "content": [block] });
        self.receive(&json!({ "type": "assistant", "message": message, "parent_tool_use_id": parent, "session_id": "s" }));
    }

    fn stream(&mut self, event: Value) {
        self.receive(&json!({ "type": "stream_event", "event": event, "parent_tool_use_id": null, "session_id": "s" }));
    }

    /// The model starts a message and streams this text.
    fn begin_message(&mut self, id: &str, text: &str) {
        self.stream(json!({ "type": "message_start", "message": { "id": id } }));
        self.stream(json!({ "type": "content_block_start", "index": 0, "content_block": { "type": "text", "text": "" } }));
        self.stream(json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "text_delta", "text": text } }));
    }

    fn tool_result(&mut self, id: &str, content: Value, detail: Value) {
        let block = json!({ "type": "tool_result", "tool_use_id": id, "content": content });
        let message = json!({ "role": "user", "content": [block] });
        self.receive(
            &json!({ "type": "user", "message": message, "parent_tool_use_id": null, "session_id": "s", "tool_use_result": detail }),
        );
    }

    fn result(&mut self, more: Value) {
        let mut result = json!({ "type": "result", "subtype": "success", "is_error": false, "num_turns": 1, "session_id": "s" });
        for (name, value) in more.as_object().expect("members") {
            result[name] = value.clone();
        }
        self.receive(&result);
    }

    fn request_permission(&mut self, id: &str, call: &str, request: Value) {
        let mut request = request;
        request["subtype"] = json!("can_use_tool");
        request["tool_use_id"] = json!(call);
        self.receive(&json!({ "type": "control_request", "request_id": id, "request": request }));
    }

    fn fire_timer(&mut self, token: u32) {
        self.conversation.handle_timer(token);
        self.drain_actions();
    }

    fn send(&mut self, text: &str, steer: bool) {
        self.conversation.send(blocks(text), steer).expect("it is accepted");
        self.drain_actions();
    }

    fn end(&mut self, code: Option<i32>) -> FinalState {
        let final_state = self.conversation.handle_exit(&Exit { code, signal: None }, "");
        self.drain_actions();
        final_state
    }

    fn drain_actions(&mut self) {
        while let Some(action) = self.conversation.next_action() {
            match action {
                Action::Log(EntryBody::Session(session)) => self.entries.push(json!({ "session": session })),
                Action::Log(EntryBody::Update(update)) => self.entries.push(Value::Object(update)),
                Action::Log(EntryBody::Permission { permission_id, status }) => {
                    let requested = matches!(status, PermissionStatus::Requested { .. });
                    self.entries.push(json!({ "permission": permission_id, "requested": requested, "status": status }));
                }
                Action::Log(EntryBody::State { state, turn, end }) => {
                    let end = end.unwrap_or_default();
                    let state_entry =
                        json!({ "state": state, "turn": turn, "stopReason": end.stop_reason, "error": end.error, "usage": end.usage });
                    self.entries.push(state_entry);
                }
                Action::Write(bytes) => self.written.push(serde_json::from_slice(&bytes).expect("a line of JSON")),
                Action::SetTimer { token, .. } | Action::SetStartDeadline { token, .. } => self.timers.push(token),
                Action::Finish => self.finished = true,
                Action::Offer(offer) => self.offers.push(json!(offer)),
                Action::CloseStdin | Action::TurnStarted | Action::TurnEnded | Action::EndCommands | Action::QueueLength(_) => {}
            }
        }
    }

    /// Takes the entries so far.
    fn entries(&mut self) -> Vec<Value> {
        std::mem::take(&mut self.entries)
    }

    /// The texts of the chunks of this kind, in order.
    fn texts(&self, kind: &str) -> Vec<&str> {
        self.entries.iter().filter(|entry| entry["sessionUpdate"] == kind).filter_map(|entry| entry["content"]["text"].as_str()).collect()
    }

    /// The logged updates of this kind.
    fn updates(&self, kind: &str) -> Vec<&Value> {
        self.entries.iter().filter(|entry| entry["sessionUpdate"] == kind).collect()
    }

    /// The logged states, with the turns that they begin or end.
    fn states(&self) -> Vec<(String, u64)> {
        let state = |entry: &Value| Some((entry["state"].as_str()?.to_owned(), entry["turn"].as_u64().unwrap_or_default()));
        self.entries.iter().filter_map(state).collect()
    }

    /// The last line that was written to the program.
    fn last_written(&self) -> &Value {
        self.written.last().expect("something was written")
    }
}

fn blocks(text: &str) -> ContentBlocks {
    vec![text_block(text)]
}
