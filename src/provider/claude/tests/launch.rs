//! How Claude is started and probed, when its session is resumable, and how it is taken over.

use serde_json::json;

use super::*;
use crate::{
    model::{Takeover, TakeoverKind},
    provider::{ProbeQuery, Reply, StdinUse},
};

fn argv(change: impl FnOnce(&mut Task)) -> Vec<String> {
    let mut task = task("a secret prompt");
    change(&mut task);
    let launch = super::super::Claude.launch(&task, &task.program).expect("it can be started");
    assert_eq!(launch.stdin, StdinUse::Protocol);
    assert!(launch.argv.starts_with(&task.program), "what the configuration adds stays: {:?}", launch.argv);
    launch.argv
}

fn after<'a>(argv: &'a [String], option: &str) -> Option<&'a str> {
    argv.iter().position(|word| word == option).and_then(|at| argv.get(at + 1)).map(String::as_str)
}

fn disallowed(argv: &[String]) -> Vec<&str> {
    argv.iter().find_map(|word| word.strip_prefix("--disallowedTools=")).expect("a list in one argument").split(',').collect()
}

#[test]
fn the_prompt_is_not_in_the_argv() {
    assert!(argv(|_| {}).iter().all(|word| !word.contains("secret")));
}

#[test]
fn a_new_session_has_our_id_and_a_resumed_one_its_own() {
    let fresh = argv(|_| {});
    assert_eq!((after(&fresh, "--session-id"), after(&fresh, "--resume")), (Some("s"), None));
    let resumed = argv(|task| task.resume = Some("old".to_owned()));
    assert_eq!((after(&resumed, "--session-id"), after(&resumed, "--resume")), (None, Some("old")));
}

#[test]
fn a_value_that_begins_with_a_dash_is_refused() {
    for change in [|task: &mut Task| task.model = Some("--bare".to_owned()), |task: &mut Task| task.resume = Some("-c".to_owned())] {
        let mut task = task("p");
        change(&mut task);
        assert!(super::super::Claude.launch(&task, &task.program).is_err());
    }
}

#[test]
fn permission_modes_are_claudes_where_it_has_them() {
    let argv_for = |mode, is_root| {
        argv(|task| {
            task.permissions = mode;
            task.is_root = is_root;
        })
    };
    let mode = |mode, is_root| after(&argv_for(mode, is_root), "--permission-mode").map(str::to_owned).expect("a mode");
    assert_eq!(mode(PermissionMode::Ask, false), "default");
    assert_eq!(mode(PermissionMode::AcceptEdits, false), "acceptEdits");
    assert_eq!(mode(PermissionMode::Bypass, false), "bypassPermissions");
    assert_eq!(mode(PermissionMode::Bypass, true), "default", "it refuses the superuser that mode");
    assert_eq!(mode(PermissionMode::ReadOnly, false), "default");
}

#[test]
fn read_only_disallows_every_changing_tool() {
    let read_only = argv(|task| task.permissions = PermissionMode::ReadOnly);
    for tool in ["Bash", "Edit", "MultiEdit", "Write", "NotebookEdit", "Monitor", "AskUserQuestion"] {
        assert!(disallowed(&read_only).contains(&tool), "{tool} is allowed");
    }
    assert!(read_only.iter().any(|word| word == "--strict-mcp-config"));
    assert_eq!(disallowed(&argv(|_| {})), ["AskUserQuestion"], "others keep their tools");
}

#[test]
fn the_options_probe_returns_the_models() {
    let recording = recording::Recording::all("claude").into_iter().find(|recording| recording.name() == "bidi").expect("a recording");
    let mut answer = recording.program().into_iter().find(|message| message["type"] == "control_response").expect("an answer");
    let mut probe = super::super::Claude.probe(&ProbeQuery::Options { cwd: "/work".to_owned() }).expect("a probe");
    let request: Value = serde_json::from_slice(&probe.start()).expect("a line of JSON");
    answer["response"]["request_id"] = request["request_id"].clone();
    assert!(matches!(probe.handle_line(b"noise"), Reply::Send(bytes) if bytes.is_empty()));
    let Reply::Done(Ok(options)) = probe.handle_line(answer.to_string().as_bytes()) else { panic!("it is answered") };
    assert_eq!(options["models"][1], json!({ "id": "opus", "name": "Opus" }));
    assert!(super::super::Claude.probe(&ProbeQuery::Sessions { cwd: None, cursor: None }).is_none());
}

#[test]
fn a_session_is_resumable_some_time_after_the_first_answer() {
    let mut run = TestRun::started(&task("p"));
    assert_eq!(run.entries()[0]["session"]["resumable"], false, "its id is known at once");
    run.fire_timer(super::super::adapter::SESSION_TIMER);
    assert!(run.entries().is_empty(), "no answer, no file");
    let id = task("p").session_id;
    run.receive(&json!({ "type": "assistant", "message": { "id": "m", "content": [] }, "session_id": id }));
    assert!(run.entries().iter().all(|entry| entry["session"]["resumable"] != true));
    let token = *run.timers.last().expect("a timer");
    run.fire_timer(token);
    let session = run.entries().pop().expect("an entry")["session"].clone();
    assert_eq!((&session["id"], &session["resumable"]), (&json!(id), &json!(true)));
}

#[test]
fn a_fork_is_a_new_session_and_not_yet_resumable() {
    let args = vec!["--fork-session".to_owned()];
    let mut run = TestRun::started(&Task { resume: Some("old".to_owned()), args, ..task("p") });
    assert!(run.entries().is_empty(), "a resume may still be refused");
    run.receive(&json!({ "type": "system", "subtype": "hook_response", "session_id": "old" }));
    run.receive(&json!({ "type": "system", "subtype": "init", "session_id": "new" }));
    let session = run.entries()[0]["session"].clone();
    assert_eq!((&session["id"], &session["resumable"]), (&json!("new"), &json!(false)));
}

#[test]
fn a_resumed_session_keeps_its_id_whatever_lines_say() {
    let mut run = TestRun::started(&Task { resume: Some("old".to_owned()), ..task("p") });
    run.receive(&json!({ "type": "system", "subtype": "hook_started", "session_id": "of-a-hook" }));
    run.receive(&json!({ "type": "system", "subtype": "init", "session_id": "of-the-invocation" }));
    run.result(json!({ "session_id": "of-the-invocation" }));
    let ids: Vec<Value> =
        run.entries().iter().filter(|entry| entry["session"].is_object()).map(|entry| entry["session"]["id"].clone()).collect();
    assert_eq!(ids, ["old"]);
    let mut run = TestRun::started(&task("p"));
    run.receive(&json!({ "type": "system", "subtype": "hook_started", "session_id": "of-a-hook" }));
    let ids: Vec<Value> =
        run.entries().iter().filter(|entry| entry["session"].is_object()).map(|entry| entry["session"]["id"].clone()).collect();
    assert_eq!(ids, ["s"]);
}

#[test]
fn a_takeover_that_is_not_possible_yet_has_a_reason_and_no_command() {
    let adapter = super::super::Claude.adapter(task("p"));
    let session_info = |resumable| crate::provider::provider_event::SessionInfo { id: "it's".to_owned(), path: None, resumable };
    let takeover_of = |takeovers: &[Takeover], kind| takeovers.iter().find(|takeover| takeover.kind == kind).expect("a takeover").clone();
    assert!(
        adapter
            .takeovers(&session_info(false))
            .iter()
            .all(|takeover| takeover.command.is_none() && takeover.reason.is_some() && !takeover.verified)
    );
    let takeovers = adapter.takeovers(&session_info(true));
    let resume = takeover_of(&takeovers, TakeoverKind::Resume);
    assert!(resume.verified && resume.reason.is_none());
    assert_eq!(resume.command.as_deref().expect("argv"), ["claude", "--resume", "it's"]);
    assert_eq!((resume.display.as_str(), resume.cwd.as_deref()), (r"cd /work && claude --resume 'it'\''s'", Some("/work")));
    let fork = takeover_of(&takeovers, TakeoverKind::Fork);
    assert_eq!(fork.command.as_deref().expect("argv"), ["claude", "--resume", "it's", "--fork-session"]);
    assert!(fork.verified && fork.reason.is_none());
}

#[test]
fn a_missing_handshake_fails_the_run_and_an_answer_prevents_that() {
    let mut run = TestRun::without_handshake(&task("p"));
    let handshake = run.timers[0];
    run.fire_timer(handshake);
    let final_state = run.end(None);
    let error = final_state.error.expect("an error");
    assert_eq!(error.kind, "protocol");
    assert!(error.message.contains("terminal"), "{}", error.message);

    let mut run = TestRun::started(&task("p"));
    run.fire_timer(handshake);
    assert!(!run.finished);
}
