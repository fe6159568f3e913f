//! Cases that no recording shows: how Codex is started, its handshake and session, and its takeovers.
//!
//! [`CodexDriver`] stands for the program, and for a client of the run.

mod permissions;
mod recorded;
mod turns;

use serde_json::{Value, json};

use super::{Codex, native_programs};
use crate::{
    model::{
        RunState, TakeoverKind,
        calls::PermissionMode,
        entry::PermissionStatus,
        task::{Plain, Task, text_block},
    },
    provider::{Action, Answer, Conversation, EntryBody, Exit, kind::Provider, provider_event::SessionInfo, provider_event::TurnEnd},
};

pub(super) fn task(permissions: PermissionMode) -> Task {
    Task {
        provider: "codex".to_owned(),
        kind: "codex".to_owned(),
        prompt: Some(vec![text_block("do it")]),
        cwd: "/w".to_owned(),
        model: None,
        permissions,
        resume: None,
        session_id: String::new(),
        interactive: true,
        is_root: false,
        program: vec!["/bin/codex".to_owned()],
        mcp_servers: Vec::new(),
        args: Vec::new(),
        plain: Plain::default(),
        start_timeout_seconds: 60,
    }
}

/// A conversation whose program is the test. It keeps all that the conversation logs, writes and wants done.
struct CodexDriver {
    conversation: Conversation,
    logged: Vec<Value>,
    written: Vec<Value>,
    timers: Vec<u32>,
    other_actions: Vec<Action>,
}

impl CodexDriver {
    fn new(task: &Task) -> Self {
        let mut conversation = Conversation::new(task, Codex.adapter(task.clone()));
        conversation.start();
        let mut driver = Self { conversation, logged: Vec::new(), written: Vec::new(), timers: Vec::new(), other_actions: Vec::new() };
        driver.run_actions();
        driver
    }

    /// A conversation in its first turn, "u1" of the thread "t".
    fn in_turn(task: &Task) -> Self {
        let mut driver = Self::new(task);
        driver.open_thread();
        driver.start_turn("u1");
        driver
    }

    fn open_thread(&mut self) {
        self.respond("initialize", &json!({}));
        let thread =
            json!({ "thread": { "id": "t", "path": "/h/t.jsonl" }, "sandbox": { "type": "workspaceWrite", "writableRoots": ["/r"] } });
        let method = if self.last_request("thread/resume").is_some() { "thread/resume" } else { "thread/start" };
        self.respond(method, &thread);
    }

    fn start_turn(&mut self, id: &str) {
        self.respond("turn/start", &json!({ "turn": { "id": id } }));
        self.notify("turn/started", &json!({ "turn": { "id": id } }));
        self.item(id, "completed", &json!({ "type": "userMessage", "id": format!("echo-{id}") }));
    }

    fn item(&mut self, turn: &str, event: &str, item: &Value) {
        self.notify(&format!("item/{event}"), &json!({ "turnId": turn, "item": item }));
    }

    fn notify(&mut self, method: &str, params: &Value) {
        let mut params = params.clone();
        if params.get("threadId").is_none() {
            params["threadId"] = json!("t");
        }
        self.receive(&json!({ "method": method, "params": params }));
    }

    fn request(&mut self, id: u64, method: &str, params: &Value) {
        let mut params = params.clone();
        params["threadId"] = json!("t");
        self.receive(&json!({ "id": id, "method": method, "params": params }));
    }

    fn receive(&mut self, message: &Value) {
        self.receive_line(message.to_string().as_bytes());
    }

    fn receive_line(&mut self, line: &[u8]) {
        self.conversation.handle_line(line);
        self.run_actions();
    }

    /// The newest request with this method.
    fn last_request(&self, method: &str) -> Option<&Value> {
        self.written.iter().rev().find(|written| written["method"] == method)
    }

    fn respond(&mut self, method: &str, result: &Value) {
        let id = self.last_request(method).unwrap_or_else(|| panic!("{method} was not requested: {:?}", self.written))["id"].clone();
        self.receive(&json!({ "id": id, "result": result }));
    }

    fn respond_with_error(&mut self, method: &str, message: &str) {
        let id = self.last_request(method).unwrap_or_else(|| panic!("{method} was not requested: {:?}", self.written))["id"].clone();
        self.receive(&json!({ "id": id, "error": { "code": -32600, "message": message } }));
    }

    fn complete_turn(&mut self, turn: &str, status: &str) {
        self.notify("turn/completed", &json!({ "turn": { "id": turn, "items": [], "status": status, "error": null } }));
    }

    fn answer_permission(&mut self, permission: &str, option: Option<&str>, message: Option<&str>) {
        let answer = Answer { option: option.map(str::to_owned), message: message.map(str::to_owned) };
        self.conversation.answer(permission, answer).expect("the question is open");
        self.run_actions();
    }

    fn run_actions(&mut self) {
        while let Some(run_actions) = self.conversation.next_action() {
            match run_actions {
                Action::Write(bytes) => self.written.push(serde_json::from_slice(&bytes).expect("a line of JSON")),
                Action::SetTimer { token, .. } | Action::SetStartDeadline { token, .. } => self.timers.push(token),
                Action::Log(EntryBody::Update(update)) => self.logged.push(Value::Object(update)),
                Action::Log(EntryBody::Session(session)) => self.logged.push(json!({ "session": session })),
                Action::Log(EntryBody::Permission { permission_id, status }) => self.logged.push(match status {
                    PermissionStatus::Requested { tool_call, options } => {
                        json!({ "requested": permission_id, "toolCall": tool_call, "options": options })
                    }
                    PermissionStatus::Resolved { option_id, .. } => json!({ "resolved": permission_id, "option": option_id }),
                }),
                Action::Log(EntryBody::State { state, end, .. }) => {
                    let TurnEnd { stop_reason, error, usage } = end.unwrap_or_default();
                    self.logged.push(json!({ "state": state, "stopReason": stop_reason, "error": error, "usage": usage }));
                }
                other => self.other_actions.push(other),
            }
        }
    }

    fn last_written(&self) -> &Value {
        self.written.last().expect("something was written")
    }

    /// The texts of all chunks of this kind.
    fn texts(&self, kind: &str) -> Vec<&str> {
        let chunks = self.logged.iter().filter(|logged| logged["sessionUpdate"] == kind);
        chunks.filter_map(|chunk| chunk["content"]["text"].as_str()).collect()
    }

    fn notices(&self) -> Vec<&str> {
        self.logged.iter().filter(|logged| logged["sessionUpdate"] == "notice").filter_map(|notice| notice["title"].as_str()).collect()
    }

    fn error(&mut self) -> (String, String) {
        let final_state = self.conversation.handle_exit(&Exit { code: Some(0), signal: None }, "");
        assert_eq!(final_state.state, RunState::Failed);
        let error = final_state.error.expect("a failed run has an error");
        (error.kind, error.message)
    }
}

fn command(id: &str) -> Value {
    json!({ "type": "commandExecution", "id": id, "command": "/bin/bash -lc 'make'", "cwd": "/w", "status": "inProgress" })
}

#[test]
fn a_silent_program_times_out_and_a_slow_one_does_not() {
    let mut silent = CodexDriver::new(&task(PermissionMode::Ask));
    let token = silent.timers[0];
    silent.respond("initialize", &json!({}));
    silent.conversation.handle_timer(token);
    let (kind, message) = silent.error();
    assert!(kind == "protocol" && message.contains("60 s"), "{kind}: {message}");

    let mut slow = CodexDriver::in_turn(&task(PermissionMode::Ask));
    slow.conversation.handle_timer(token);
    slow.run_actions();
    slow.complete_turn("u1", "completed");
    let exit = Exit { code: Some(0), signal: None };
    assert_eq!(slow.conversation.handle_exit(&exit, "").state, RunState::Succeeded);
}

#[test]
fn a_session_is_resumable_once_its_first_turn_has_begun() {
    let mut driver = CodexDriver::new(&task(PermissionMode::Ask));
    driver.open_thread();
    let resumable = |driver: &CodexDriver| -> Vec<bool> {
        driver.logged.iter().filter_map(|logged| logged["session"]["resumable"].as_bool()).collect()
    };
    assert_eq!(resumable(&driver), [false]);
    driver.respond("turn/start", &json!({ "turn": { "id": "u1" } }));
    driver.notify("turn/started", &json!({ "turn": { "id": "u1" } }));
    assert_eq!(resumable(&driver), [false], "its file is not there yet");
    driver.item("u1", "completed", &json!({ "type": "userMessage", "id": "m" }));
    assert_eq!(resumable(&driver), [false, true]);
    assert_eq!(
        driver.logged.iter().rev().find(|logged| logged["session"].is_object()).expect("it was logged")["session"]["path"],
        "/h/t.jsonl"
    );
}

#[test]
fn a_resume_that_is_refused_never_begins_anew() {
    let wanted = Task { resume: Some("t0".to_owned()), ..task(PermissionMode::Ask) };
    let mut driver = CodexDriver::new(&wanted);
    driver.respond("initialize", &json!({}));
    assert_eq!(driver.last_written()["params"]["excludeTurns"], true);
    driver.respond_with_error("thread/resume", "no rollout found for thread id t0");
    let (kind, message) = driver.error();
    assert!(kind == "sessionNotFound" && message.contains("t0"), "{kind}: {message}");
    assert!(driver.last_request("thread/start").is_none());

    let mut other = CodexDriver::new(&wanted);
    other.open_thread();
    assert_eq!(other.error().0, "sessionNotFound", "another thread was opened");
}

#[test]
fn a_version_without_exclude_turns_gets_the_request_again() {
    let mut driver = CodexDriver::new(&Task { resume: Some("t".to_owned()), ..task(PermissionMode::Ask) });
    driver.respond("initialize", &json!({}));
    driver.respond_with_error("thread/resume", "thread/resume.excludeTurns requires experimentalApi capability");
    assert_eq!(driver.last_written()["params"].get("excludeTurns"), None);
    let old = json!([{ "id": "u0", "items": [{ "type": "agentMessage", "id": "m0", "text": "from an earlier turn" }] }]);
    driver.respond("thread/resume", &json!({ "thread": { "id": "t", "turns": old } }));
    driver.item("u0", "completed", &json!({ "type": "agentMessage", "id": "m0", "text": "from an earlier turn" }));
    driver.start_turn("u1");
    assert_eq!(driver.texts("agent_message_chunk"), Vec::<&str>::new());
    assert!(driver.logged.iter().any(|logged| logged["session"]["resumable"] == true));
}

#[test]
fn malformed_messages_change_nothing() {
    let mut driver = CodexDriver::in_turn(&task(PermissionMode::Ask));
    let before = driver.logged.len();
    let deep = "[".repeat(100_000);
    for line in
        ["", "no", "[]", "7", "null", "{}", "{\"method\":7,\"id\":{}}", "{\"id\":99,\"result\":{}}", "{\"method\":\"item/started\"}", &deep]
    {
        driver.receive_line(line.as_bytes());
    }
    driver.receive_line(&[0xff, 0xfe]);
    for method in
        ["item/started", "item/completed", "turn/started", "turn/completed", "error", "item/agentMessage/delta", "thread/started", "x"]
    {
        for params in
            [json!({}), json!({ "turnId": "u1" }), json!({ "turnId": "u1", "item": { "id": 7, "type": [] }, "turn": [], "delta": {} })]
        {
            driver.notify(method, &params);
        }
    }
    driver.item("u1", "completed", &json!({ "type": "dance", "id": "d" }));
    let unread: Vec<&Value> = driver.logged[before..].iter().map(|logged| &logged["sessionUpdate"]).collect();
    assert_eq!(unread, ["notice", "notice", "notice"], "the lines that are no JSON are told");
    driver.item("u1", "completed", &json!({ "type": "agentMessage", "id": "m", "text": "still here" }));
    assert_eq!(driver.texts("agent_message_chunk"), ["still here"]);
}

#[test]
fn the_prompt_is_in_no_argv() {
    let launch =
        Codex.launch(&task(PermissionMode::Ask), &["/bin/codex".to_owned(), "-p".to_owned(), "work".to_owned()]).expect("it starts");
    assert_eq!(launch.argv, ["/bin/codex", "-p", "work", "app-server"]);
}

#[test]
fn the_native_program_is_found_in_every_layout_of_the_package() {
    let found = |os: &str, arch: &str| -> Vec<String> {
        let wrapper = std::path::Path::new("/n/node_modules/@openai/codex/bin/codex.js");
        native_programs(wrapper, os, arch).iter().map(|path| path.to_string_lossy().into_owned()).collect()
    };
    let linux = found("linux", "x86_64");
    assert_eq!(linux[0], "/n/node_modules/@openai/codex-linux-x64/vendor/x86_64-unknown-linux-musl/bin/codex");
    assert_eq!(linux[1], "/n/node_modules/@openai/codex/node_modules/@openai/codex-linux-x64/vendor/x86_64-unknown-linux-musl/bin/codex");
    for (os, arch, package, triple) in [
        ("linux", "aarch64", "codex-linux-arm64", "aarch64-unknown-linux-musl"),
        ("macos", "x86_64", "codex-darwin-x64", "x86_64-apple-darwin"),
        ("macos", "aarch64", "codex-darwin-arm64", "aarch64-apple-darwin"),
    ] {
        assert_eq!(found(os, arch)[0], format!("/n/node_modules/@openai/{package}/vendor/{triple}/bin/codex"));
    }
    assert!(native_programs(std::path::Path::new("/opt/homebrew/bin/codex"), "macos", "aarch64").is_empty());
}

#[test]
fn takeovers_say_which_were_seen_to_work() {
    let adapter = Codex.adapter(Task { cwd: "/w w".to_owned(), ..task(PermissionMode::Ask) });
    let session = |resumable| SessionInfo { id: "t".to_owned(), path: None, resumable };
    let takeovers = adapter.takeovers(&session(true));
    let kinds: Vec<TakeoverKind> = takeovers.iter().map(|takeover| takeover.kind).collect();
    assert_eq!(kinds, [TakeoverKind::Live, TakeoverKind::Resume, TakeoverKind::Fork]);
    assert!(takeovers[0].command.is_none() && takeovers[0].reason.is_some());
    let argv = ["/bin/codex", "--disable", "daemon_auto_start", "resume", "t"].map(str::to_owned);
    assert_eq!((takeovers[1].command.as_deref(), takeovers[1].verified, &takeovers[1].reason), (Some(&argv[..]), true, &None));
    assert_eq!(takeovers[1].display, "cd '/w w' && /bin/codex --disable daemon_auto_start resume t");
    assert!(takeovers[2].verified && takeovers[2].reason.is_none() && takeovers[2].command.is_some());
    let early = adapter.takeovers(&session(false));
    assert!(early.iter().all(|takeover| takeover.command.is_none() && takeover.reason.is_some() && !takeover.verified));
}

/// Two paths of settings must not meet, and Codex takes no other characters in a name.
#[test]
fn servers_of_the_client_are_settings_of_the_thread_and_what_cannot_be_reached_is_told() {
    let servers = json!([
        { "name": "my notes.v2", "command": "notes", "args": ["-a"], "env": [{ "name": "KEY", "value": "v" }] },
        { "type": "http", "name": "wiki", "url": "http://127.0.0.1/", "headers": [{ "name": "Key", "value": "v" }] },
        { "type": "sse", "name": "old", "url": "http://127.0.0.1/", "headers": [] },
    ]);
    let mcp_servers = serde_json::from_value(servers).expect("servers");
    let mut driver = CodexDriver::new(&Task { mcp_servers, ..task(PermissionMode::Ask) });
    driver.respond("initialize", &json!({}));
    let expected = json!({
        "mcp_servers.my_notes_v2": { "command": "notes", "args": ["-a"], "env": { "KEY": "v" } },
        "mcp_servers.wiki": { "url": "http://127.0.0.1/", "http_headers": { "Key": "v" } },
    });
    assert_eq!(driver.last_written()["params"]["config"], expected);
    let told = driver.logged.iter().filter(|logged| logged.to_string().contains("MCP server `old`")).count();
    assert_eq!(told, 1, "{:?}", driver.logged);
}
