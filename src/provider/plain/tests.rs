//! What no recording shows: the configuration's words, and tools whose output has no known form.

use serde_json::{Value, json};

use super::{PlainCli, formats};
use crate::{
    model::{RunState, TakeoverKind, calls::PermissionMode},
    provider::{
        Provider,
        conversation::Act,
        kind::Stdin,
        talk::{Talk, task},
        task::{Plain, Task, text_block},
    },
};

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn with(program: &[&str], plain: Plain) -> Task {
    Task { plain, ..task("tool", program) }
}

fn launched(task: &Task) -> Result<(Vec<String>, Stdin), String> {
    let launch =
        PlainCli.launch(task, &task.program).map_err(|failure| failure.data.get("capability").map_or(failure.message, Value::to_string))?;
    Ok((launch.argv, launch.stdin))
}

#[test]
fn the_prompt_is_shown_in_the_argv_only_where_it_is_asked_for() {
    assert_eq!(launched(&with(&["tool", "-q"], Plain::default())), Ok((words(&["tool", "-q"]), Stdin::Protocol)));
    assert_eq!(launched(&with(&["tool", "--say={prompt}!"], Plain::default())), Ok((words(&["tool", "--say=do it!"]), Stdin::Null)));
}

#[test]
fn without_a_place_in_the_argv_the_prompt_is_all_of_stdin() {
    let mut talk = Talk::begin(&PlainCli, &with(&["tool"], Plain::default()));
    assert_eq!(talk.written, [json!("do it")]);
    assert!(talk.acts.contains(&Act::CloseStdin));
    assert_eq!(talk.text("user_message_chunk"), "do it");
    assert_eq!(talk.ends(0).state, RunState::Succeeded);

    let talk = Talk::begin(&PlainCli, &with(&["tool", "{prompt}"], Plain::default()));
    assert_eq!((talk.written.len(), talk.text("user_message_chunk").as_str()), (0, "do it"));
}

#[test]
fn a_resume_is_the_configured_one_and_a_prompt_cannot_change_it() {
    let plain = Plain { resume: Some(words(&["tool", "-r", "{session}", "{prompt}"])), ..Plain::default() };
    let task = Task { resume: Some("s{prompt}".to_owned()), prompt: Some(vec![text_block("{session}")]), ..with(&["tool"], plain) };
    assert_eq!(launched(&task), Ok((words(&["tool", "-r", "s{prompt}", "{session}"]), Stdin::Null)));
    let task = Task { plain: Plain::default(), ..task };
    assert_eq!(launched(&task), Err("\"resume\"".to_owned()));
}

#[test]
fn what_a_plain_tool_cannot_do_is_refused_before_it_runs() {
    let fine = || with(&["tool"], Plain::default());
    let refused = |task: Task| launched(&task).expect_err("it is refused");
    assert_eq!(refused(Task { permissions: PermissionMode::ReadOnly, ..fine() }), "\"permissions\"");
    assert_eq!(refused(Task { model: Some("m".to_owned()), ..fine() }), "\"model\"");
    assert_eq!(refused(Task { interactive: true, ..fine() }), "\"send\"");
    assert!(refused(Task { prompt: None, ..fine() }).contains("one prompt"));
    assert!(refused(with(&["tool"], Plain { session: Some("(".to_owned()), ..Plain::default() })).contains("regular expression"));
    assert!(refused(with(&["tool"], Plain { format: Some("x".to_owned()), ..Plain::default() })).contains("codex-exec"));
    assert!(refused(with(&["tool"], Plain { resume: Some(Vec::new()), ..Plain::default() })).contains("empty resume"));
}

#[test]
fn every_format_that_is_named_is_known() {
    for name in formats::NAMES {
        assert!(formats::named(name, &with(&["tool"], Plain::default())).is_some(), "{name}");
    }
}

#[test]
fn a_session_is_found_by_the_pattern_and_kept_once_the_program_ended_well() {
    let plain =
        Plain { session: Some(r"session: (\w+)".to_owned()), resume: Some(words(&["tool", "--resume", "{session}"])), ..Plain::default() };
    let task = with(&["tool"], plain);
    let mut talk = Talk::begin(&PlainCli, &task);
    talk.line(b"\xff session: abc");
    talk.line(b"session: def");
    let session = talk.conversation.session().expect("a session").clone();
    assert_eq!((session.id.as_str(), session.resumable), ("abc", false));
    assert!(session.takeover.iter().all(|way| way.command.is_none()));
    talk.ends(0);
    let session = talk.conversation.session().expect("a session").clone();
    assert!(session.resumable);
    let resume = session.takeover.iter().find(|way| way.kind == TakeoverKind::Resume).expect("a way");
    assert_eq!(resume.command, Some(words(&["tool", "--resume", "abc"])));

    let mut talk = Talk::begin(&PlainCli, &task);
    talk.line(b"session: abc");
    assert_eq!(talk.ends(3).error.map(|error| error.message).as_deref(), Some("tool ended with code 3"));
    assert!(!talk.conversation.session().expect("a session").resumable, "what failed is not known to be kept");
}

#[test]
fn an_interrupt_is_the_end_of_it() {
    let mut talk = Talk::begin(&PlainCli, &with(&["tool"], Plain::default()));
    talk.does(|it| assert!(it.interrupt(), "a turn runs"));
    assert!(talk.acts.contains(&Act::Finish), "whoever started it ends it");
    assert_eq!(talk.ends(130).state, RunState::Cancelled);
}

#[test]
fn what_a_stopped_tool_still_says_begins_nothing() {
    let plain = Plain { format: Some("codex-exec".to_owned()), ..Plain::default() };
    let mut talk = Talk::begin(&PlainCli, &with(&["codex"], plain));
    let item = json!({ "id": "i", "type": "command_execution", "command": "sleep 9", "status": "in_progress" });
    talk.said(json!({ "type": "item.started", "item": item }));
    talk.does(|it| assert!(it.interrupt(), "a turn runs"));
    assert_eq!(talk.tool("i")["status"], "failed");
    let before = talk.log.len();
    talk.said(json!({ "type": "item.completed", "item": item }));
    assert_eq!(talk.ends(1).state, RunState::Cancelled);
    assert_eq!(talk.log.len(), before);
}

#[test]
fn behind_a_wrapper_no_way_into_a_terminal_is_made_up() {
    let ways = |program: &[&str]| {
        let plain = Plain { format: Some("codex-exec".to_owned()), ..Plain::default() };
        let mut talk = Talk::begin(&PlainCli, &with(program, plain));
        talk.said(json!({ "type": "thread.started", "thread_id": "t" }));
        talk.said(json!({ "type": "turn.started" }));
        talk.conversation
            .session()
            .expect("a session")
            .takeover
            .iter()
            .filter(|way| way.command.is_some() && way.kind != TakeoverKind::ReplayCommand)
            .count()
    };
    assert_eq!((ways(&["/opt/codex", "exec", "--json"]), ways(&["npx", "codex", "exec"])), (1, 0));
}

#[test]
fn a_prompt_that_waits_when_the_program_ends_is_dropped_and_spoils_nothing() {
    let mut talk = Talk::begin(&PlainCli, &with(&["tool"], Plain::default()));
    talk.does(|it| it.send(vec![text_block("more")], false).expect("taken"));
    assert_eq!(talk.ends(0).state, RunState::Succeeded);
    assert_eq!(talk.written, [json!("do it")]);
    assert_eq!(talk.updates("notice").len(), 1);
}

#[test]
fn whatever_a_tool_says_no_format_breaks() {
    for format in formats::NAMES {
        let mut talk = Talk::begin(&PlainCli, &with(&["tool"], Plain { format: Some((*format).to_owned()), ..Plain::default() }));
        for line in ["", "{", "7", "[]", "Reading additional input", r#"{"type":3}"#, r#"{"type":"item.completed"}"#] {
            talk.line(line.as_bytes());
        }
        for kind in [
            "item.completed",
            "item.started",
            "turn.failed",
            "turn.completed",
            "tool_use",
            "tool_result",
            "result",
            "text",
            "step_finish",
            "error",
            "init",
            "message",
        ] {
            for inner in
                [json!(null), json!([]), json!({ "type": "file_change", "changes": [1] }), json!({ "type": "todo_list", "items": 1 })]
            {
                talk.said(json!({ "type": kind, "item": inner, "part": inner, "error": inner, "usage": inner, "sessionID": 3, "stats": inner, "tool_id": 1 }));
            }
        }
        talk.ends(1);
    }
}

#[test]
fn a_thread_that_is_gone_on_with_does_not_pass_its_total_for_the_runs_usage() {
    let plain = Plain { format: Some("codex-exec".to_owned()), resume: Some(words(&["codex"])), ..Plain::default() };
    let spent = |resume: Option<String>| {
        let mut talk = Talk::begin(&PlainCli, &Task { resume, ..with(&["codex"], plain.clone()) });
        talk.said(json!({ "type": "turn.completed", "usage": { "input_tokens": 3000, "output_tokens": 7 } }));
        talk.ends(0).usage.and_then(|usage| usage.input_tokens)
    };
    assert_eq!((spent(None), spent(Some("t".to_owned()))), (Some(3000), None));
}

#[test]
fn what_codex_cannot_go_on_with_is_not_found() {
    let plain = Plain { format: Some("codex-exec".to_owned()), resume: Some(words(&["codex"])), ..Plain::default() };
    let mut talk = Talk::begin(&PlainCli, &Task { resume: Some("t".to_owned()), ..with(&["codex"], plain) });
    assert_eq!(talk.ends(1).error.map(|error| error.kind).as_deref(), Some("sessionNotFound"));
}
