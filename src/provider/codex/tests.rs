//! Codex' recordings played, and what no recording shows.

use serde_json::{Value, json};

use super::{Codex, natives};
use crate::{
    model::{RunState, TakeoverKind, calls::PermissionMode, entry::PermissionStatus},
    provider::{
        adapter::{Adapter, Answer, Exit},
        conversation::{Act, Body, Conversation},
        effect::{SessionNews, TurnEnd},
        kind::Provider,
        recording::{Client, Deed, Recording, all_match},
        task::{Blocks, Plain, Task, text_block},
    },
};

fn task(permissions: PermissionMode) -> Task {
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
        plain: Plain::default(),
    }
}

// Recordings.

struct Recorder;

impl Client for Recorder {
    fn task(&self, recording: &Recording) -> Task {
        let written = recording.client();
        let said = |method: &str| written.iter().find(|said| said["method"] == method);
        let opened = said("thread/start").or(said("thread/resume")).expect("every recording opens a thread");
        let text = |name: &str| opened["params"][name].as_str().map(str::to_owned);
        let permissions = if text("approvalPolicy").as_deref() == Some("never") { PermissionMode::Bypass } else { PermissionMode::Ask };
        Task {
            prompt: said("turn/start").map(prompt),
            cwd: text("cwd").expect("a directory"),
            model: text("model"),
            resume: text("threadId"),
            ..task(permissions)
        }
    }

    fn adapter(&self, task: Task) -> Box<dyn Adapter> {
        Codex.adapter(task)
    }

    fn deed(&self, written: &Value) -> Deed {
        match (written["method"].as_str(), written["result"]["decision"].as_str()) {
            (Some("turn/start"), _) => Deed::Prompt(prompt(written)),
            (Some("turn/steer"), _) => Deed::Steer(prompt(written)),
            (Some("turn/interrupt"), _) => Deed::Interrupt,
            (Some("initialize" | "initialized" | "thread/start" | "thread/resume"), _) => Deed::Protocol,
            (None, Some("accept")) => Deed::Answer(Some("allow_once")),
            (None, Some("decline")) => Deed::Answer(Some("reject_once")),
            (None, Some("cancel")) => Deed::Answer(Some("reject_always")),
            _ => Deed::Nothing,
        }
    }
}

fn prompt(written: &Value) -> Blocks {
    vec![text_block(written["params"]["input"][0]["text"].as_str().expect("a text"))]
}

#[test]
fn recordings_come_out_as_their_snapshots_say() {
    all_match("codex", |recording| recording.argv().iter().any(|word| word == "app-server"), &Recorder);
}

// A program that says what a test wants.

struct Stage {
    conversation: Conversation,
    logged: Vec<Value>,
    written: Vec<Value>,
    alarms: Vec<u32>,
    others: Vec<Act>,
}

impl Stage {
    fn new(task: &Task) -> Self {
        let mut conversation = Conversation::new(task, Codex.adapter(task.clone()));
        conversation.begin();
        let mut stage = Self { conversation, logged: Vec::new(), written: Vec::new(), alarms: Vec::new(), others: Vec::new() };
        stage.act();
        stage
    }

    /// In the middle of its first turn, "u1" of the thread "t".
    fn in_turn(task: &Task) -> Self {
        let mut stage = Self::new(task);
        stage.opened();
        stage.turn("u1");
        stage
    }

    fn opened(&mut self) {
        self.answer("initialize", &json!({}));
        let thread =
            json!({ "thread": { "id": "t", "path": "/h/t.jsonl" }, "sandbox": { "type": "workspaceWrite", "writableRoots": ["/r"] } });
        let method = if self.asked("thread/resume").is_some() { "thread/resume" } else { "thread/start" };
        self.answer(method, &thread);
    }

    fn turn(&mut self, id: &str) {
        self.answer("turn/start", &json!({ "turn": { "id": id } }));
        self.told("turn/started", &json!({ "turn": { "id": id } }));
        self.item(id, "completed", &json!({ "type": "userMessage", "id": format!("echo-{id}") }));
    }

    fn item(&mut self, turn: &str, what: &str, item: &Value) {
        self.told(&format!("item/{what}"), &json!({ "turnId": turn, "item": item }));
    }

    fn told(&mut self, method: &str, params: &Value) {
        let mut params = params.clone();
        if params.get("threadId").is_none() {
            params["threadId"] = json!("t");
        }
        self.says(&json!({ "method": method, "params": params }));
    }

    fn asks(&mut self, id: u64, method: &str, params: &Value) {
        let mut params = params.clone();
        params["threadId"] = json!("t");
        self.says(&json!({ "id": id, "method": method, "params": params }));
    }

    fn says(&mut self, message: &Value) {
        self.line(message.to_string().as_bytes());
    }

    fn line(&mut self, line: &[u8]) {
        self.conversation.line(line);
        self.act();
    }

    /// The newest request of this method.
    fn asked(&self, method: &str) -> Option<&Value> {
        self.written.iter().rev().find(|written| written["method"] == method)
    }

    fn answer(&mut self, method: &str, result: &Value) {
        let id = self.asked(method).unwrap_or_else(|| panic!("{method} was not asked: {:?}", self.written))["id"].clone();
        self.says(&json!({ "id": id, "result": result }));
    }

    fn refuse(&mut self, method: &str, message: &str) {
        let id = self.asked(method).unwrap_or_else(|| panic!("{method} was not asked: {:?}", self.written))["id"].clone();
        self.says(&json!({ "id": id, "error": { "code": -32600, "message": message } }));
    }

    fn completed(&mut self, turn: &str, status: &str) {
        self.told("turn/completed", &json!({ "turn": { "id": turn, "items": [], "status": status, "error": null } }));
    }

    fn decide(&mut self, permission: &str, option: Option<&str>, message: Option<&str>) {
        let answer = Answer { option: option.map(str::to_owned), message: message.map(str::to_owned) };
        self.conversation.answer(permission, answer).expect("the question is open");
        self.act();
    }

    fn act(&mut self) {
        while let Some(act) = self.conversation.next_act() {
            match act {
                Act::Write(bytes) => self.written.push(serde_json::from_slice(&bytes).expect("a line of JSON")),
                Act::Wake { token, .. } => self.alarms.push(token),
                Act::Log(Body::Update(update)) => self.logged.push(Value::Object(update)),
                Act::Log(Body::Session(session)) => self.logged.push(json!({ "session": session })),
                Act::Log(Body::Permission { permission_id, status }) => self.logged.push(match status {
                    PermissionStatus::Requested { tool_call, options } => {
                        json!({ "asked": permission_id, "call": tool_call, "options": options })
                    }
                    PermissionStatus::Resolved { option_id, .. } => json!({ "settled": permission_id, "option": option_id }),
                }),
                Act::Log(Body::State { state, end, .. }) => {
                    let TurnEnd { stop_reason, error, usage } = end.unwrap_or_default();
                    self.logged.push(json!({ "state": state, "stopReason": stop_reason, "error": error, "usage": usage }));
                }
                other => self.others.push(other),
            }
        }
    }

    fn last(&self) -> &Value {
        self.written.last().expect("something was written")
    }

    /// All that was said to the user in these chunks.
    fn texts(&self, kind: &str) -> Vec<&str> {
        let chunks = self.logged.iter().filter(|logged| logged["sessionUpdate"] == kind);
        chunks.filter_map(|chunk| chunk["content"]["text"].as_str()).collect()
    }

    fn notices(&self) -> Vec<&str> {
        self.logged.iter().filter(|logged| logged["sessionUpdate"] == "notice").filter_map(|notice| notice["title"].as_str()).collect()
    }

    fn error(&mut self) -> (String, String) {
        let verdict = self.conversation.ended(&Exit { code: Some(0), signal: None }, "");
        assert_eq!(verdict.state, RunState::Failed);
        let error = verdict.error.expect("why");
        (error.kind, error.message)
    }
}

fn command(id: &str) -> Value {
    json!({ "type": "commandExecution", "id": id, "command": "/bin/bash -lc 'make'", "cwd": "/w", "status": "inProgress" })
}

// The handshake and the session.

#[test]
fn a_silent_program_is_given_up_and_a_slow_one_is_not() {
    let mut silent = Stage::new(&task(PermissionMode::Ask));
    let token = silent.alarms[0];
    silent.answer("initialize", &json!({}));
    silent.conversation.woken(token);
    let (kind, message) = silent.error();
    assert!(kind == "protocol" && message.contains("60 s"), "{kind}: {message}");

    let mut slow = Stage::in_turn(&task(PermissionMode::Ask));
    slow.conversation.woken(token);
    slow.act();
    slow.completed("u1", "completed");
    let exit = Exit { code: Some(0), signal: None };
    assert_eq!(slow.conversation.ended(&exit, "").state, RunState::Succeeded);
}

#[test]
fn a_session_is_resumable_once_its_first_turn_has_begun() {
    let mut stage = Stage::new(&task(PermissionMode::Ask));
    stage.opened();
    let resumable =
        |stage: &Stage| -> Vec<bool> { stage.logged.iter().filter_map(|logged| logged["session"]["resumable"].as_bool()).collect() };
    assert_eq!(resumable(&stage), [false]);
    stage.answer("turn/start", &json!({ "turn": { "id": "u1" } }));
    stage.told("turn/started", &json!({ "turn": { "id": "u1" } }));
    assert_eq!(resumable(&stage), [false], "its file is not there yet");
    stage.item("u1", "completed", &json!({ "type": "userMessage", "id": "m" }));
    assert_eq!(resumable(&stage), [false, true]);
    assert_eq!(stage.logged.iter().rev().find(|logged| logged["session"].is_object()).expect("told")["session"]["path"], "/h/t.jsonl");
}

#[test]
fn a_resume_that_is_refused_never_begins_anew() {
    let wanted = Task { resume: Some("t0".to_owned()), ..task(PermissionMode::Ask) };
    let mut stage = Stage::new(&wanted);
    stage.answer("initialize", &json!({}));
    assert_eq!(stage.last()["params"]["excludeTurns"], true);
    stage.refuse("thread/resume", "no rollout found for thread id t0");
    let (kind, message) = stage.error();
    assert!(kind == "sessionNotFound" && message.contains("t0"), "{kind}: {message}");
    assert!(stage.asked("thread/start").is_none());

    let mut other = Stage::new(&wanted);
    other.opened();
    assert_eq!(other.error().0, "sessionNotFound", "another thread was opened");
}

#[test]
fn a_version_that_cannot_leave_history_out_is_asked_again() {
    let mut stage = Stage::new(&Task { resume: Some("t".to_owned()), ..task(PermissionMode::Ask) });
    stage.answer("initialize", &json!({}));
    stage.refuse("thread/resume", "thread/resume.excludeTurns requires experimentalApi capability");
    assert_eq!(stage.last()["params"].get("excludeTurns"), None);
    let old = json!([{ "id": "u0", "items": [{ "type": "agentMessage", "id": "m0", "text": "what was said before" }] }]);
    stage.answer("thread/resume", &json!({ "thread": { "id": "t", "turns": old } }));
    stage.item("u0", "completed", &json!({ "type": "agentMessage", "id": "m0", "text": "what was said before" }));
    stage.turn("u1");
    assert_eq!(stage.texts("agent_message_chunk"), Vec::<&str>::new());
    assert!(stage.logged.iter().any(|logged| logged["session"]["resumable"] == true));
}

#[test]
fn rubbish_changes_nothing() {
    let mut stage = Stage::in_turn(&task(PermissionMode::Ask));
    let before = stage.logged.len();
    let deep = "[".repeat(100_000);
    for line in
        ["", "no", "[]", "7", "null", "{}", "{\"method\":7,\"id\":{}}", "{\"id\":99,\"result\":{}}", "{\"method\":\"item/started\"}", &deep]
    {
        stage.line(line.as_bytes());
    }
    stage.line(&[0xff, 0xfe]);
    for method in
        ["item/started", "item/completed", "turn/started", "turn/completed", "error", "item/agentMessage/delta", "thread/started", "x"]
    {
        for params in
            [json!({}), json!({ "turnId": "u1" }), json!({ "turnId": "u1", "item": { "id": 7, "type": [] }, "turn": [], "delta": {} })]
        {
            stage.told(method, &params);
        }
    }
    stage.item("u1", "completed", &json!({ "type": "dance", "id": "d" }));
    assert_eq!(stage.logged.len(), before, "{:?}", &stage.logged[before..]);
    stage.item("u1", "completed", &json!({ "type": "agentMessage", "id": "m", "text": "still here" }));
    assert_eq!(stage.texts("agent_message_chunk"), ["still here"]);
}

// Permissions.

#[test]
fn each_mode_is_the_sandbox_first() {
    for (mode, approval, sandbox) in [
        (PermissionMode::Ask, "on-request", "workspace-write"),
        (PermissionMode::AcceptEdits, "on-request", "workspace-write"),
        (PermissionMode::ReadOnly, "on-request", "read-only"),
        (PermissionMode::Bypass, "on-request", "danger-full-access"),
    ] {
        let mut stage = Stage::new(&Task { model: Some("m".to_owned()), ..task(mode) });
        stage.answer("initialize", &json!({}));
        let expected = json!({ "cwd": "/w", "approvalPolicy": approval, "approvalsReviewer": "user", "sandbox": sandbox, "model": "m" });
        assert_eq!(stage.last()["params"], expected);
    }
}

#[test]
fn read_only_refuses_even_a_command_that_looks_like_reading() {
    let mut stage = Stage::in_turn(&task(PermissionMode::ReadOnly));
    let actions = json!([{ "type": "read", "command": "cat a", "name": "a", "path": "/w/a" }]);
    stage.asks(0, "item/commandExecution/requestApproval", &json!({ "itemId": "c", "command": "cat a", "commandActions": actions }));
    assert_eq!(stage.last(), &json!({ "id": 0, "result": { "decision": "decline" } }));
    stage.asks(1, "item/permissions/requestApproval", &json!({ "itemId": "p", "permissions": { "network": { "enabled": true } } }));
    assert_eq!(stage.last(), &json!({ "id": 1, "result": { "permissions": {}, "scope": "turn" } }));
}

#[test]
fn accept_edits_accepts_changes_of_files_and_asks_for_the_rest() {
    let mut stage = Stage::in_turn(&task(PermissionMode::AcceptEdits));
    let changes = json!([{ "path": "/w/a", "kind": { "type": "update" }, "diff": "@@ -1 +1 @@\n-a\n+b\n" }]);
    stage.item("u1", "started", &json!({ "type": "fileChange", "id": "f", "changes": changes, "status": "inProgress" }));
    stage.asks(0, "item/fileChange/requestApproval", &json!({ "itemId": "f", "reason": "outside of the workspace" }));
    assert_eq!(stage.last(), &json!({ "id": 0, "result": { "decision": "accept" } }));
    let asked = stage.logged.iter().find(|logged| logged["asked"] == "p1").expect("it was asked");
    assert_eq!((&asked["call"]["title"], &asked["call"]["kind"]), (&json!("Edit a"), &json!("edit")));
    assert!(asked["call"]["_meta"]["loomd/patch"].as_str().is_some_and(|patch| patch.contains("+b")), "{asked}");
    assert_eq!(asked["call"]["rawInput"]["reason"], "outside of the workspace");
    let written = stage.written.len();
    stage.asks(1, "item/commandExecution/requestApproval", &json!({ "itemId": "c", "command": "make" }));
    assert_eq!(stage.written.len(), written, "somebody has to be asked");
}

#[test]
fn two_questions_at_once_get_each_its_own_answer() {
    let mut stage = Stage::in_turn(&task(PermissionMode::Ask));
    let offered = json!(["accept", { "acceptWithExecpolicyAmendment": { "execpolicy_amendment": ["touch", "a b"] } }, "cancel"]);
    stage.asks(
        0,
        "item/commandExecution/requestApproval",
        &json!({ "itemId": "c", "command": "touch 'a b'", "availableDecisions": offered }),
    );
    stage.asks(1, "item/fileChange/requestApproval", &json!({ "itemId": "f" }));
    let asked = stage.logged.iter().find(|logged| logged["asked"] == "p1").expect("it was asked");
    assert!(asked["options"].to_string().contains("touch 'a b'"), "a lasting choice says what it is: {asked}");
    stage.decide("p2", Some("acceptForSession"), None);
    assert_eq!(stage.last(), &json!({ "id": 1, "result": { "decision": "acceptForSession" } }));
    stage.decide("p1", Some("accept-1"), None);
    assert_eq!(stage.last(), &json!({ "id": 0, "result": { "decision": offered[1] } }));
}

#[test]
fn nobody_s_choice_is_no_yes() {
    let mut stage = Stage::in_turn(&task(PermissionMode::Ask));
    stage.asks(0, "item/commandExecution/requestApproval", &json!({ "itemId": "c", "command": "make" }));
    stage.decide("p1", None, None);
    assert_eq!(stage.last(), &json!({ "id": 0, "result": { "decision": "decline" } }));
    stage.asks(1, "execCommandApproval", &json!({ "callId": "d", "command": ["rm", "a b"] }));
    stage.decide("p2", None, None);
    assert_eq!(stage.last(), &json!({ "id": 1, "result": { "decision": "denied" } }));
    let asked = stage.logged.iter().find(|logged| logged["asked"] == "p2").expect("it was asked");
    assert_eq!(asked["call"]["title"], "rm 'a b'");
}

#[test]
fn exactly_the_permissions_that_were_asked_for_are_granted() {
    let mut stage = Stage::in_turn(&task(PermissionMode::Ask));
    let wanted = json!({ "network": null, "fileSystem": { "read": null, "write": ["/data"] } });
    stage.asks(4, "item/permissions/requestApproval", &json!({ "itemId": "p", "reason": "to keep it", "permissions": wanted }));
    let asked = stage.logged.iter().find(|logged| logged["asked"] == "p1").expect("it was asked").clone();
    assert_eq!(asked["call"]["title"], "Write to /data");
    stage.decide("p1", Some("acceptForSession"), None);
    let granted = json!({ "fileSystem": { "read": null, "write": ["/data"] } });
    assert_eq!(stage.last(), &json!({ "id": 4, "result": { "permissions": granted, "scope": "session" } }));
    let call = stage.logged.last().expect("the call ends");
    assert_eq!((&call["toolCallId"], &call["status"]), (&asked["call"]["toolCallId"], &json!("completed")));
}

#[test]
fn a_question_that_codex_takes_back_is_closed_and_a_late_answer_is_told_so() {
    let mut stage = Stage::in_turn(&task(PermissionMode::Ask));
    stage.asks(0, "item/commandExecution/requestApproval", &json!({ "itemId": "c", "command": "make" }));
    stage.told("serverRequest/resolved", &json!({ "requestId": 0 }));
    assert!(stage.logged.iter().any(|logged| logged["settled"] == "p1" && logged["option"].is_null()));
    let late = stage.conversation.answer("p1", Answer { option: Some("accept".to_owned()), message: None });
    assert!(late.is_err());
    assert!(!stage.written.iter().any(|written| written.get("result").is_some()));
}

#[test]
fn what_is_said_beside_a_refusal_reaches_the_agent() {
    let mut stage = Stage::in_turn(&task(PermissionMode::Ask));
    stage.asks(0, "item/commandExecution/requestApproval", &json!({ "itemId": "c", "command": "make" }));
    stage.decide("p1", Some("decline"), Some("use ninja"));
    assert_eq!(stage.last()["method"], "turn/steer");
    assert_eq!(stage.last()["params"]["input"][0]["text"], "use ninja");
    stage.answer("turn/steer", &json!({ "turnId": "u1" }));
    stage.item("u1", "started", &json!({ "type": "userMessage", "id": "m2" }));
    assert_eq!(stage.texts("user_message_chunk"), ["do it"], "the answer tells of it");
}

#[test]
fn what_options_cannot_answer_is_refused_and_told() {
    let mut stage = Stage::in_turn(&task(PermissionMode::Ask));
    stage.asks(0, "item/tool/requestUserInput", &json!({ "questions": [{ "id": "q", "question": "Which?" }] }));
    assert_eq!(stage.last()["error"]["code"], -32601);
    stage.asks(1, "mcpServer/elicitation/request", &json!({ "serverName": "s", "mode": "form", "message": "Your name?" }));
    assert_eq!(stage.last()["result"]["action"], "decline");
    stage.asks(2, "item/tool/call", &json!({ "tool": "x" }));
    assert_eq!(stage.last()["result"]["success"], false);
    stage.asks(3, "something/new", &json!({}));
    assert_eq!((&stage.last()["id"], stage.last()["error"].is_object()), (&json!(3), true));
    assert_eq!(stage.notices().len(), 3, "{:?}", stage.notices());
    assert!(!stage.conversation.is_waiting_for_an_answer());
}

#[test]
fn a_tool_of_an_mcp_server_is_asked_for_like_any_other() {
    let mut stage = Stage::in_turn(&task(PermissionMode::Ask));
    let meta = json!({ "codex_approval_kind": "mcp_tool_call", "persist": ["session", "always"], "tool_params": { "a": 1 } });
    stage.asks(0, "mcpServer/elicitation/request", &json!({ "serverName": "s", "message": "Allow s to run x?", "_meta": meta }));
    stage.decide("p1", Some("acceptForSession"), None);
    assert_eq!(stage.last()["result"], json!({ "action": "accept", "content": {}, "_meta": { "persist": "session" } }));
}

// Turns.

#[test]
fn a_steer_that_is_refused_waits_for_a_turn_of_its_own() {
    let mut stage = Stage::in_turn(&task(PermissionMode::Ask));
    stage.conversation.send(vec![text_block("and this")], true).expect("it is taken");
    stage.act();
    assert_eq!(stage.last()["params"]["expectedTurnId"], "u1");
    stage.refuse("turn/steer", "no active turn to steer");
    stage.completed("u1", "completed");
    assert_eq!(stage.last()["method"], "turn/start");
    assert_eq!(stage.last()["params"]["input"][0]["text"], "and this");
    stage.turn("u2");
    assert_eq!(stage.texts("user_message_chunk"), ["do it", "and this"]);
}

#[test]
fn a_steer_that_misses_the_end_of_its_turn_is_not_lost() {
    let mut stage = Stage::in_turn(&Task { interactive: false, ..task(PermissionMode::Ask) });
    for text in ["one", "two"] {
        stage.conversation.send(vec![text_block(text)], true).expect("it is taken");
    }
    stage.act();
    stage.item("u1", "started", &json!({ "type": "userMessage", "id": "m1" }));
    stage.item("u1", "completed", &json!({ "type": "userMessage", "id": "m1" }));
    stage.completed("u1", "completed");
    assert_eq!(stage.last()["params"]["input"][0]["text"], "two");
    stage.refuse("turn/steer", "too late to be heard");
    stage.turn("u2");
    assert_eq!(stage.texts("user_message_chunk"), ["do it", "one", "two"]);
    stage.completed("u2", "completed");
    assert!(stage.others.contains(&Act::Finish), "and then the run ends");
}

#[test]
fn a_turn_that_is_stopped_before_it_has_a_name_is_stopped_when_it_has() {
    let mut stage = Stage::new(&task(PermissionMode::Ask));
    stage.opened();
    assert!(stage.conversation.interrupt());
    stage.act();
    assert!(stage.asked("turn/interrupt").is_none());
    stage.turn("u1");
    assert_eq!(stage.asked("turn/interrupt").expect("it is stopped")["params"], json!({ "threadId": "t", "turnId": "u1" }));
}

#[test]
fn an_interrupt_ends_what_codex_leaves_running() {
    let mut stage = Stage::in_turn(&task(PermissionMode::Bypass));
    stage.item("u1", "started", &command("c"));
    stage.asks(0, "item/commandExecution/requestApproval", &json!({ "itemId": "d", "command": "make" }));
    assert!(stage.conversation.interrupt());
    stage.act();
    stage.completed("u1", "interrupted");
    let ended = stage.logged.iter().rev().find(|logged| logged["toolCallId"] == "c").expect("told");
    assert_eq!(ended["status"], "failed");
    let end = stage.others.iter().position(|act| *act == Act::EndCommands);
    assert!(end.is_some() && end < stage.others.iter().position(|act| *act == Act::TurnEnded), "{:?}", stage.others);
}

#[test]
fn a_command_that_goes_on_behind_its_turn_is_told_when_it_ends() {
    let mut stage = Stage::in_turn(&task(PermissionMode::Bypass));
    stage.item("u1", "started", &command("c"));
    stage.completed("u1", "completed");
    assert!(!stage.others.contains(&Act::EndCommands), "nobody stopped it");
    stage.told("item/commandExecution/outputDelta", &json!({ "turnId": "u1", "itemId": "c", "delta": "late" }));
    let mut over = command("c");
    over["status"] = json!("completed");
    over["aggregatedOutput"] = json!("early\nlate");
    stage.item("u1", "completed", &over);
    let call = stage.logged.last().expect("told");
    assert_eq!((&call["status"], &call["content"][0]["content"]["text"]), (&json!("completed"), &json!("early\nlate")));
}

#[test]
fn a_turn_that_codex_begins_by_itself_is_one() {
    let mut stage = Stage::in_turn(&task(PermissionMode::Ask));
    stage.completed("u1", "completed");
    stage.completed("u1", "completed");
    assert!(!stage.conversation.is_in_turn());
    stage.told("turn/started", &json!({ "turn": { "id": "u2" } }));
    assert!(stage.conversation.is_in_turn());
    stage.item("u2", "completed", &json!({ "type": "agentMessage", "id": "m", "text": "I go on" }));
    stage.completed("u2", "completed");
    assert!(!stage.conversation.is_in_turn());
    assert_eq!(stage.texts("agent_message_chunk"), ["I go on"]);
}

#[test]
fn settings_hold_from_the_next_turn_on() {
    let mut stage = Stage::in_turn(&task(PermissionMode::Ask));
    assert_eq!(stage.asked("turn/start").expect("asked")["params"].get("sandboxPolicy"), None);
    stage.conversation.configure(Some("m2".to_owned()), Some(PermissionMode::ReadOnly)).expect("it can");
    stage.conversation.send(vec![text_block("next")], false).expect("it is taken");
    stage.completed("u1", "completed");
    let params = &stage.asked("turn/start").expect("asked")["params"];
    assert_eq!(
        (&params["model"], &params["sandboxPolicy"], &params["approvalPolicy"]),
        (&json!("m2"), &json!({ "type": "readOnly" }), &json!("on-request"))
    );
    stage.conversation.configure(None, Some(PermissionMode::Ask)).expect("it can");
    stage.turn("u2");
    stage.conversation.send(vec![text_block("last")], false).expect("it is taken");
    stage.completed("u2", "completed");
    let params = &stage.asked("turn/start").expect("asked")["params"];
    assert_eq!(params["sandboxPolicy"]["writableRoots"], json!(["/r"]), "the user's own sandbox comes back");
    assert_eq!(params["model"], "m2");
}

#[test]
fn errors_are_classed_by_what_codex_knows() {
    for (info, message, kind) in [
        (json!("unauthorized"), "no", "auth"),
        (json!({ "responseTooManyFailedAttempts": { "httpStatusCode": 429 } }), "no", "rateLimit"),
        (json!("usageLimitExceeded"), "no", "rateLimit"),
        (json!({ "httpConnectionFailed": { "httpStatusCode": null } }), "no", "provider"),
        (json!("internalServerError"), "the api key service is down", "provider"),
        (json!("other"), "401 Unauthorized", "auth"),
    ] {
        let mut stage = Stage::in_turn(&task(PermissionMode::Ask));
        let error = json!({ "message": message, "codexErrorInfo": info, "additionalDetails": null });
        stage.told("turn/completed", &json!({ "turn": { "id": "u1", "status": "failed", "error": error } }));
        assert_eq!(stage.error().0, kind, "{info}");
    }
}

#[test]
fn a_prompt_that_is_refused_fails_its_turn_alone() {
    let mut stage = Stage::new(&task(PermissionMode::Ask));
    stage.opened();
    stage.refuse("turn/start", "the input is too long");
    let state = stage.logged.last().expect("told");
    assert!(state["state"] == "idle" && state["error"]["message"].to_string().contains("too long"), "{state}");
    stage.conversation.send(vec![text_block("shorter")], false).expect("it is taken");
    stage.act();
    stage.turn("u2");
    assert_eq!(stage.texts("user_message_chunk"), ["shorter"]);
}

#[test]
fn a_retry_abandons_what_was_half_said() {
    let mut stage = Stage::in_turn(&task(PermissionMode::Ask));
    let delta = |item: &str, text: &str| json!({ "turnId": "u1", "itemId": item, "delta": text });
    stage.item("u1", "completed", &json!({ "type": "agentMessage", "id": "whole", "text": "Whole." }));
    stage.told("item/agentMessage/delta", &delta("half", "Hal"));
    stage.told("error", &json!({ "turnId": "u1", "willRetry": true, "error": { "message": "Reconnecting... 1/5" } }));
    let abandoned: Vec<&Value> = stage.logged.iter().filter(|logged| logged["_meta"]["loomd/abandoned"] == true).collect();
    assert!(abandoned.len() == 1 && abandoned[0]["messageId"] == "half", "{abandoned:?}");
    assert_eq!(stage.notices(), ["Reconnecting... 1/5"]);
    assert!(stage.conversation.is_in_turn());
}

#[test]
fn a_sub_agent_speaks_below_its_call_and_ends_no_turn() {
    let mut stage = Stage::in_turn(&task(PermissionMode::Ask));
    let spawn = json!({ "type": "collabAgentToolCall", "id": "spawn", "tool": "spawnAgent", "status": "completed", "receiverThreadIds": ["child"] });
    stage.item("u1", "completed", &spawn);
    let of_child = |params: Value| {
        let mut params = params;
        params["threadId"] = json!("child");
        params
    };
    stage.told("item/completed", &of_child(json!({ "turnId": "c1", "item": { "type": "userMessage", "id": "cm" } })));
    stage.told("item/completed", &of_child(json!({ "turnId": "c1", "item": { "type": "agentMessage", "id": "ca", "text": "Found it." } })));
    stage.told(
        "thread/tokenUsage/updated",
        &of_child(json!({ "turnId": "c1", "tokenUsage": { "total": { "inputTokens": 70 }, "last": { "inputTokens": 70 } } })),
    );
    stage.told("turn/completed", &of_child(json!({ "turn": { "id": "c1", "status": "failed" } })));
    assert!(stage.conversation.is_in_turn());
    let said = stage.logged.iter().find(|logged| logged["messageId"] == "ca").expect("told");
    assert_eq!(said["_meta"]["loomd/parentToolCallId"], "spawn");
    assert_eq!(stage.texts("user_message_chunk"), ["do it"]);
    stage.completed("u1", "completed");
    assert_eq!(stage.logged.last().expect("told")["usage"]["inputTokens"], 70);
}

#[test]
fn a_sub_agent_that_nobody_called_has_a_call_of_its_own() {
    let mut stage = Stage::in_turn(&task(PermissionMode::Ask));
    stage.says(
        &json!({ "method": "thread/started", "params": { "thread": { "id": "child", "parentThreadId": "t", "agentNickname": "Ada" } } }),
    );
    stage.told(
        "item/completed",
        &json!({ "threadId": "child", "turnId": "c1", "item": { "type": "agentMessage", "id": "ca", "text": "Found it." } }),
    );
    let call = stage.logged.iter().find(|logged| logged["sessionUpdate"] == "tool_call").expect("told");
    assert_eq!((&call["toolCallId"], &call["title"]), (&json!("child"), &json!("Ada")));
    assert_eq!(stage.logged.last().expect("told")["_meta"]["loomd/parentToolCallId"], "child");
}

#[test]
fn a_result_of_20_mb_comes_in_pieces() {
    let mut stage = Stage::in_turn(&task(PermissionMode::Bypass));
    let whole = "0123456789abcde\n".repeat(20 * 65536);
    stage.item("u1", "started", &command("c"));
    let mut over = command("c");
    over["status"] = json!("completed");
    over["aggregatedOutput"] = json!(whole);
    stage.item("u1", "completed", &over);
    let outputs = stage.logged.iter().filter_map(|logged| logged["_meta"]["loomd/output"]["text"].as_str());
    assert_eq!(outputs.collect::<String>(), whole);
    assert!(stage.logged.iter().all(|logged| logged.to_string().len() < 200_000));
}

#[test]
fn a_plan_is_told_in_the_words_of_acp() {
    let mut stage = Stage::in_turn(&task(PermissionMode::Ask));
    let plan = json!([{ "step": "look", "status": "completed" }, { "step": "mend", "status": "inProgress" }, { "step": "test", "status": "pending" }]);
    stage.told("turn/plan/updated", &json!({ "turnId": "u1", "plan": plan }));
    let entries = &stage.logged.last().expect("told")["entries"];
    let said: Vec<String> =
        entries.as_array().expect("a list").iter().map(|entry| format!("{}:{}", entry["content"], entry["status"])).collect();
    assert_eq!(said, ["\"look\":\"completed\"", "\"mend\":\"in_progress\"", "\"test\":\"pending\""]);
}

// How it is started, and taken over.

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
        natives(wrapper, os, arch).iter().map(|path| path.to_string_lossy().into_owned()).collect()
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
    assert!(natives(std::path::Path::new("/opt/homebrew/bin/codex"), "macos", "aarch64").is_empty());
}

#[test]
fn the_ladder_says_what_was_seen_to_work() {
    let adapter = Codex.adapter(Task { cwd: "/w w".to_owned(), ..task(PermissionMode::Ask) });
    let session = |resumable| SessionNews { id: "t".to_owned(), path: None, resumable };
    let ladder = adapter.takeovers(&session(true));
    let kinds: Vec<TakeoverKind> = ladder.iter().map(|way| way.kind).collect();
    assert_eq!(kinds, [TakeoverKind::Live, TakeoverKind::Resume, TakeoverKind::Fork]);
    assert!(ladder[0].command.is_none() && ladder[0].reason.is_some());
    let argv = ["/bin/codex", "--disable", "daemon_auto_start", "resume", "t"].map(str::to_owned);
    assert_eq!((ladder[1].command.as_deref(), ladder[1].verified, &ladder[1].reason), (Some(&argv[..]), true, &None));
    assert_eq!(ladder[1].display, "cd '/w w' && /bin/codex --disable daemon_auto_start resume t");
    assert!(ladder[2].verified && ladder[2].reason.is_none() && ladder[2].command.is_some());
    let early = adapter.takeovers(&session(false));
    assert!(early.iter().all(|way| way.command.is_none() && way.reason.is_some() && !way.verified));
}
