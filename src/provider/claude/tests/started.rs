//! How it is started, what it is asked outside of a run, when its session is kept, and how that is taken over.

use serde_json::json;

use super::*;
use crate::{
    model::{Takeover, TakeoverKind},
    provider::{Question, Reply, Stdin},
};

fn argv(change: impl FnOnce(&mut Task)) -> Vec<String> {
    let mut task = task("a secret prompt");
    change(&mut task);
    let launch = super::super::Claude.launch(&task, &task.program).expect("it can be started");
    assert_eq!(launch.stdin, Stdin::Protocol);
    assert!(launch.argv.starts_with(&task.program), "what the configuration adds stays: {:?}", launch.argv);
    launch.argv
}

fn after<'a>(argv: &'a [String], option: &str) -> Option<&'a str> {
    argv.iter().position(|word| word == option).and_then(|at| argv.get(at + 1)).map(String::as_str)
}

fn disallowed(argv: &[String]) -> Vec<&str> {
    argv.iter().find_map(|word| word.strip_prefix("--disallowedTools=")).expect("a list in one word").split(',').collect()
}

#[test]
fn the_prompt_is_in_no_process_list() {
    assert!(argv(|_| {}).iter().all(|word| !word.contains("secret")));
}

#[test]
fn a_session_is_ours_to_name_or_gone_on_with() {
    let fresh = argv(|_| {});
    assert_eq!((after(&fresh, "--session-id"), after(&fresh, "--resume")), (Some("s"), None));
    let resumed = argv(|task| task.resume = Some("old".to_owned()));
    assert_eq!((after(&resumed, "--session-id"), after(&resumed, "--resume")), (None, Some("old")));
}

#[test]
fn a_value_cannot_become_an_option() {
    for change in [|task: &mut Task| task.model = Some("--bare".to_owned()), |task: &mut Task| task.resume = Some("-c".to_owned())] {
        let mut task = task("p");
        change(&mut task);
        assert!(super::super::Claude.launch(&task, &task.program).is_err());
    }
}

#[test]
fn modes_are_its_own_as_far_as_it_has_them() {
    let started = |mode, is_root| {
        argv(|task| {
            task.permissions = mode;
            task.is_root = is_root;
        })
    };
    let mode = |mode, is_root| after(&started(mode, is_root), "--permission-mode").map(str::to_owned).expect("a mode");
    assert_eq!(mode(PermissionMode::Ask, false), "default");
    assert_eq!(mode(PermissionMode::AcceptEdits, false), "acceptEdits");
    assert_eq!(mode(PermissionMode::Bypass, false), "bypassPermissions");
    assert_eq!(mode(PermissionMode::Bypass, true), "default", "it refuses the superuser that mode");
    assert_eq!(mode(PermissionMode::ReadOnly, false), "default");
}

#[test]
fn read_only_goes_without_every_tool_that_changes_anything() {
    let read_only = argv(|task| task.permissions = PermissionMode::ReadOnly);
    for tool in ["Bash", "Edit", "MultiEdit", "Write", "NotebookEdit", "Monitor", "AskUserQuestion"] {
        assert!(disallowed(&read_only).contains(&tool), "{tool} is allowed");
    }
    assert!(read_only.iter().any(|word| word == "--strict-mcp-config"));
    assert_eq!(disallowed(&argv(|_| {})), ["AskUserQuestion"], "others keep their tools");
}

#[test]
fn its_answer_to_the_first_request_tells_its_models() {
    let recording = recording::Recording::all("claude").into_iter().find(|recording| recording.name() == "bidi").expect("a recording");
    let mut answer = recording.program().into_iter().find(|said| said["type"] == "control_response").expect("an answer");
    let mut inquiry = super::super::Claude.inquire(&Question::Options { cwd: "/work".to_owned() }).expect("an inquiry");
    let asked: Value = serde_json::from_slice(&inquiry.begin()).expect("a line of JSON");
    answer["response"]["request_id"] = asked["request_id"].clone();
    assert!(matches!(inquiry.line(b"noise"), Reply::Say(words) if words.is_empty()));
    let Reply::Done(Ok(options)) = inquiry.line(answer.to_string().as_bytes()) else { panic!("it is answered") };
    assert_eq!(options["models"][1], json!({ "id": "opus", "name": "Opus" }));
    assert!(super::super::Claude.inquire(&Question::Sessions { cwd: None, cursor: None }).is_none());
}

#[test]
fn a_session_is_resumable_only_after_the_first_answer_and_a_while() {
    let mut run = Run::started(&task("p"));
    assert_eq!(run.entries()[0]["session"]["resumable"], false, "its id is known at once");
    run.ring(super::super::chat::WAKE_KEPT);
    assert!(run.entries().is_empty(), "no answer, no file");
    let id = task("p").session_id;
    run.say(&json!({ "type": "assistant", "message": { "id": "m", "content": [] }, "session_id": id }));
    assert!(run.entries().iter().all(|entry| entry["session"]["resumable"] != true));
    let token = *run.alarms.last().expect("an alarm");
    run.ring(token);
    let session = run.entries().pop().expect("an entry")["session"].clone();
    assert_eq!((&session["id"], &session["resumable"]), (&json!(id), &json!(true)));
}

#[test]
fn a_fork_is_another_session_and_not_kept_yet() {
    let mut run = Run::started(&Task { resume: Some("old".to_owned()), ..task("p") });
    assert!(run.entries().is_empty(), "a resume may still be refused");
    run.say(&json!({ "type": "system", "subtype": "init", "session_id": "new" }));
    let session = run.entries()[0]["session"].clone();
    assert_eq!((&session["id"], &session["resumable"]), (&json!("new"), &json!(false)));
}

#[test]
fn what_cannot_be_taken_over_yet_says_why_and_has_no_command() {
    let adapter = super::super::Claude.adapter(task("p"));
    let news = |resumable| crate::provider::effect::SessionNews { id: "it's".to_owned(), path: None, resumable };
    let way = |ladder: &[Takeover], kind| ladder.iter().find(|way| way.kind == kind).expect("a way").clone();
    assert!(adapter.takeovers(&news(false)).iter().all(|rung| rung.command.is_none() && rung.reason.is_some() && !rung.verified));
    let ladder = adapter.takeovers(&news(true));
    let resume = way(&ladder, TakeoverKind::Resume);
    assert!(resume.verified && resume.reason.is_none());
    assert_eq!(resume.command.as_deref().expect("argv"), ["claude", "--resume", "it's"]);
    assert_eq!((resume.display.as_str(), resume.cwd.as_deref()), (r"cd /work && claude --resume 'it'\''s'", Some("/work")));
    let fork = way(&ladder, TakeoverKind::Fork);
    assert_eq!(fork.command.as_deref().expect("argv"), ["claude", "--resume", "it's", "--fork-session"]);
    assert!(fork.verified && fork.reason.is_none());
}

#[test]
fn silence_ends_the_run_with_a_way_out_and_an_answer_prevents_that() {
    let mut run = Run::begun(&task("p"));
    let handshake = run.alarms[0];
    run.ring(handshake);
    let verdict = run.end(None);
    let error = verdict.error.expect("an error");
    assert_eq!(error.kind, "protocol");
    assert!(error.message.contains("terminal"), "{}", error.message);

    let mut run = Run::started(&task("p"));
    run.ring(handshake);
    assert!(!run.finished);
}
