//! What no recording contains: the checks of the configuration, and tools whose output has no known format.

mod recorded;

use serde_json::{Value, json};

use super::{FORMAT_NAMES, PlainCli, output_format};
use crate::{
    model::{
        RunState, TakeoverKind,
        calls::PermissionMode,
        task::{Plain, Task, text_block},
    },
    provider::{
        Action, Provider,
        kind::StdinUse,
        tests::conversation_driver::{ConversationDriver, task},
    },
};

fn argv(argv: &[&str]) -> Vec<String> {
    argv.iter().map(|word| (*word).to_owned()).collect()
}

fn task_with(program: &[&str], plain: Plain) -> Task {
    Task { plain, ..task("tool", program) }
}

fn launch(task: &Task) -> Result<(Vec<String>, StdinUse), String> {
    let launch =
        PlainCli.launch(task, &task.program).map_err(|failure| failure.data.get("capability").map_or(failure.message, Value::to_string))?;
    Ok((launch.argv, launch.stdin))
}

#[test]
fn the_argv_has_the_prompt_only_at_its_placeholder() {
    assert_eq!(launch(&task_with(&["tool", "-q"], Plain::default())), Ok((argv(&["tool", "-q"]), StdinUse::Protocol)));
    assert_eq!(launch(&task_with(&["tool", "--say={prompt}!"], Plain::default())), Ok((argv(&["tool", "--say=do it!"]), StdinUse::Null)));
}

#[test]
fn without_a_placeholder_the_prompt_is_all_of_stdin() {
    let mut run = ConversationDriver::start(&PlainCli, &task_with(&["tool"], Plain::default()));
    assert_eq!(run.written, [json!("do it")]);
    assert!(run.actions.contains(&Action::CloseStdin));
    assert_eq!(run.text("user_message_chunk"), "do it");
    assert_eq!(run.exit(0).state, RunState::Succeeded);

    let run = ConversationDriver::start(&PlainCli, &task_with(&["tool", "{prompt}"], Plain::default()));
    assert_eq!((run.written.len(), run.text("user_message_chunk").as_str()), (0, "do it"));
}

#[test]
fn a_resume_uses_the_configured_argv_and_a_prompt_cannot_change_it() {
    let plain = Plain { resume: Some(argv(&["tool", "-r", "{session}", "{prompt}"])), ..Plain::default() };
    let task = Task { resume: Some("s{prompt}".to_owned()), prompt: Some(vec![text_block("{session}")]), ..task_with(&["tool"], plain) };
    assert_eq!(launch(&task), Ok((argv(&["tool", "-r", "s{prompt}", "{session}"]), StdinUse::Null)));
    let task = Task { plain: Plain::default(), ..task };
    assert_eq!(launch(&task), Err("\"resume\"".to_owned()));
}

#[test]
fn what_a_plain_tool_cannot_do_is_refused_at_launch() {
    let fine = || task_with(&["tool"], Plain::default());
    let refusal = |task: Task| launch(&task).expect_err("it is refused");
    assert_eq!(refusal(Task { permissions: PermissionMode::ReadOnly, ..fine() }), "\"permissions\"");
    assert_eq!(refusal(Task { model: Some("m".to_owned()), ..fine() }), "\"model\"");
    assert_eq!(refusal(Task { interactive: true, ..fine() }), "\"send\"");
    assert!(refusal(Task { prompt: None, ..fine() }).contains("one prompt"));
    assert!(refusal(task_with(&["tool"], Plain { session: Some("(".to_owned()), ..Plain::default() })).contains("regular expression"));
    assert!(refusal(task_with(&["tool"], Plain { format: Some("x".to_owned()), ..Plain::default() })).contains("codex-exec"));
    assert!(refusal(task_with(&["tool"], Plain { resume: Some(Vec::new()), ..Plain::default() })).contains("empty resume"));
}

#[test]
fn every_format_name_has_a_format() {
    for name in FORMAT_NAMES {
        assert!(output_format(name, &task_with(&["tool"], Plain::default())).is_some(), "{name}");
    }
}

#[test]
fn a_session_matches_the_pattern_and_is_resumable_after_a_successful_exit() {
    let plain =
        Plain { session: Some(r"session: (\w+)".to_owned()), resume: Some(argv(&["tool", "--resume", "{session}"])), ..Plain::default() };
    let task = task_with(&["tool"], plain);
    let mut run = ConversationDriver::start(&PlainCli, &task);
    run.receive_line(b"\xff session: abc");
    run.receive_line(b"session: def");
    let session = run.conversation.session().expect("a session").clone();
    assert_eq!((session.id.as_str(), session.resumable), ("abc", false));
    assert!(session.takeover.iter().all(|takeover| takeover.command.is_none()));
    run.exit(0);
    let session = run.conversation.session().expect("a session").clone();
    assert!(session.resumable);
    let resume = session.takeover.iter().find(|takeover| takeover.kind == TakeoverKind::Resume).expect("a takeover");
    assert_eq!(resume.command, Some(argv(&["tool", "--resume", "abc"])));

    let mut run = ConversationDriver::start(&PlainCli, &task);
    run.receive_line(b"session: abc");
    assert_eq!(run.exit(3).error.map(|error| error.message).as_deref(), Some("tool ended with code 3"));
    assert!(!run.conversation.session().expect("a session").resumable, "a session of a failed run is not known to be saved");
}

#[test]
fn an_interrupt_ends_the_run() {
    let mut run = ConversationDriver::start(&PlainCli, &task_with(&["tool"], Plain::default()));
    run.act(|it| assert!(it.interrupt(), "a turn runs"));
    assert!(run.actions.contains(&Action::Finish), "whoever started it ends it");
    assert_eq!(run.exit(130).state, RunState::Cancelled);
}

#[test]
fn output_after_an_interrupt_starts_nothing() {
    let plain = Plain { format: Some("codex-exec".to_owned()), ..Plain::default() };
    let mut run = ConversationDriver::start(&PlainCli, &task_with(&["codex"], plain));
    let item = json!({ "id": "i", "type": "command_execution", "command": "sleep 9", "status": "in_progress" });
    run.receive(json!({ "type": "item.started", "item": item }));
    run.act(|it| assert!(it.interrupt(), "a turn runs"));
    assert_eq!(run.tool("i")["status"], "failed");
    let before = run.log.len();
    run.receive(json!({ "type": "item.completed", "item": item }));
    assert_eq!(run.exit(1).state, RunState::Cancelled);
    assert_eq!(run.log.len(), before);
}

#[test]
fn a_wrapped_program_offers_no_terminal_command() {
    let takeover_count = |program: &[&str]| {
        let plain = Plain { format: Some("codex-exec".to_owned()), ..Plain::default() };
        let mut run = ConversationDriver::start(&PlainCli, &task_with(program, plain));
        run.receive(json!({ "type": "thread.started", "thread_id": "t" }));
        run.receive(json!({ "type": "turn.started" }));
        run.conversation
            .session()
            .expect("a session")
            .takeover
            .iter()
            .filter(|takeover| takeover.command.is_some() && takeover.kind != TakeoverKind::ReplayCommand)
            .count()
    };
    assert_eq!((takeover_count(&["/opt/codex", "exec", "--json"]), takeover_count(&["npx", "codex", "exec"])), (1, 0));
}

#[test]
fn a_queued_prompt_is_dropped_at_exit_and_the_run_succeeds() {
    let mut run = ConversationDriver::start(&PlainCli, &task_with(&["tool"], Plain::default()));
    run.act(|it| it.send(vec![text_block("more")], false).expect("it is accepted"));
    assert_eq!(run.exit(0).state, RunState::Succeeded);
    assert_eq!(run.written, [json!("do it")]);
    assert_eq!(run.updates("notice").len(), 1);
}

#[test]
fn no_format_fails_on_malformed_events() {
    for format in FORMAT_NAMES {
        let mut run =
            ConversationDriver::start(&PlainCli, &task_with(&["tool"], Plain { format: Some((*format).to_owned()), ..Plain::default() }));
        for line in ["", "{", "7", "[]", "Reading additional input", r#"{"type":3}"#, r#"{"type":"item.completed"}"#] {
            run.receive_line(line.as_bytes());
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
                run.receive(json!({ "type": kind, "item": inner, "part": inner, "error": inner, "usage": inner, "sessionID": 3, "stats": inner, "tool_id": 1 }));
            }
        }
        run.exit(1);
    }
}

#[test]
fn a_resumed_codex_thread_reports_no_usage() {
    let plain = Plain { format: Some("codex-exec".to_owned()), resume: Some(argv(&["codex"])), ..Plain::default() };
    let input_tokens = |resume: Option<String>| {
        let mut run = ConversationDriver::start(&PlainCli, &Task { resume, ..task_with(&["codex"], plain.clone()) });
        run.receive(json!({ "type": "turn.completed", "usage": { "input_tokens": 3000, "output_tokens": 7 } }));
        run.exit(0).usage.and_then(|usage| usage.input_tokens)
    };
    assert_eq!((input_tokens(None), input_tokens(Some("t".to_owned()))), (Some(3000), None));
}

#[test]
fn a_failed_codex_resume_is_session_not_found() {
    let plain = Plain { format: Some("codex-exec".to_owned()), resume: Some(argv(&["codex"])), ..Plain::default() };
    let mut run = ConversationDriver::start(&PlainCli, &Task { resume: Some("t".to_owned()), ..task_with(&["codex"], plain) });
    assert_eq!(run.exit(1).error.map(|error| error.kind).as_deref(), Some("sessionNotFound"));
}
