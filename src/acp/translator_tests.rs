use serde_json::json;

use super::*;
use crate::model::{RunId, UpdateEntry};

fn agent_run() -> Run {
    let mut run = Run::new(RunId::new(), "claude", vec!["claude".to_owned()], "/w", 1);
    run.has_transcript = true;
    run
}

fn translator(tool_output: ToolOutputForm) -> UpdateTranslator {
    UpdateTranslator::new(&agent_run(), true, UpdateForms { tool_output, notices: false })
}

/// What one update becomes.
fn translated(translator: &mut UpdateTranslator, update: Value) -> Value {
    let entry = UpdateEntry { run_id: RunId::new(), seq: 1, at: 1, update: object(update) };
    translator.translate(&Entry::Update(entry)).map_or(Value::Null, Value::Object)
}

fn output(offset: usize, text: &str) -> Value {
    json!({ "sessionUpdate": "tool_call_update", "toolCallId": "c", "_meta": { "loomd/output": { "offset": offset, "text": text } } })
}

fn begin() -> Value {
    json!({ "sessionUpdate": "tool_call", "toolCallId": "c", "title": "make", "kind": "execute", "status": "in_progress" })
}

fn end(text: &str) -> Value {
    json!({ "sessionUpdate": "tool_call_update", "toolCallId": "c", "status": "completed",
        "content": [{ "type": "content", "content": { "type": "text", "text": text } }] })
}

fn shown(update: &Value) -> &str {
    update["content"][0]["content"]["text"].as_str().unwrap_or_default()
}

#[test]
fn growing_output_becomes_content_that_is_replaced() {
    let mut translator = translator(ToolOutputForm::Content);
    translated(&mut translator, begin());
    assert_eq!(shown(&translated(&mut translator, output(0, "one\n"))), "one\n");
    assert_eq!(shown(&translated(&mut translator, output(4, "two\n"))), "one\ntwo\n");
    assert_eq!(shown(&translated(&mut translator, output(5, "en\n"))), "one\nten\n", "a correction cuts what was shown");
    let last = translated(&mut translator, end("one\nten\n"));
    assert_eq!((shown(&last), last.get("_meta")), ("one\nten\n", None));
}

#[test]
fn what_is_sent_of_a_long_output_is_a_small_multiple_of_it() {
    let mut translator = translator(ToolOutputForm::Content);
    translated(&mut translator, begin());
    let line = "x".repeat(99) + "\n";
    let mut sent = 0;
    for number in 0..10_000 {
        let update = translated(&mut translator, output(number * 100, &line));
        sent += shown(&update).len();
        assert!(update.is_null() || shown(&update).ends_with(&line));
    }
    assert!(sent < 6_000_000, "{sent} bytes for one million");
}

#[test]
fn a_client_that_names_the_terminal_form_gets_each_byte_once() {
    let mut translator = translator(ToolOutputForm::Terminal("terminal_output"));
    let call = translated(&mut translator, begin());
    assert_eq!(call["content"], json!([{ "type": "terminal", "terminalId": "c" }]));
    assert_eq!(call["_meta"]["terminal_info"], json!({ "terminal_id": "c", "cwd": "/w" }));
    let piece = translated(&mut translator, output(0, "one\n"));
    assert_eq!((piece.get("content"), &piece["_meta"]["terminal_output"]["data"]), (None, &json!("one\n")));
    let last = translated(&mut translator, end("one\n"));
    assert_eq!(last["content"], json!([{ "type": "terminal", "terminalId": "c" }]), "the terminal has the text");
    assert_eq!((last["_meta"].get("terminal_output"), &last["_meta"]["terminal_exit"]["terminal_id"]), (None, &json!("c")));
}

#[test]
fn output_that_comes_only_at_the_end_is_in_the_terminal_too() {
    let mut translator = translator(ToolOutputForm::Terminal("terminal_output_delta"));
    translated(&mut translator, begin());
    let last = translated(&mut translator, end("all of it"));
    assert_eq!(last["_meta"]["terminal_output_delta"], json!({ "terminal_id": "c", "data": "all of it" }));
}

#[test]
fn a_terminal_that_the_client_did_not_make_is_never_named() {
    for form in [ToolOutputForm::Content, ToolOutputForm::Terminal("terminal_output")] {
        let mut translator = translator(form);
        let mut foreign = begin();
        foreign["content"] = json!([{ "type": "terminal", "terminalId": "theirs" }]);
        let call = translated(&mut translator, foreign);
        assert!(!call.to_string().contains("theirs"), "{call}");
    }
}

#[test]
fn later_runs_have_ids_of_their_own() {
    let run = agent_run();
    let mut translator = UpdateTranslator::new(&run, false, UpdateForms::default());
    let chunk = json!({ "sessionUpdate": "agent_message_chunk", "messageId": "m1", "content": { "type": "text", "text": "x" } });
    let id = translated(&mut translator, chunk)["messageId"].as_str().expect("a text").to_owned();
    assert_eq!(id, format!("{}:m1", &run.id.to_string()[28..]));
    assert_eq!(translator.tool_call(object(json!({ "toolCallId": "c" })))["toolCallId"], format!("{}:c", &run.id.to_string()[28..]));
}

#[test]
fn a_correction_gives_a_client_that_appends_what_differs() {
    let mut translator = translator(ToolOutputForm::Content);
    let chunk = json!({ "sessionUpdate": "agent_message_chunk", "messageId": "m", "content": { "type": "text", "text": "Hello" },
        "_meta": { "loomd/contradiction": { "at": 4 } } });
    assert_eq!(translated(&mut translator, chunk)["content"]["text"], "o");
}

#[test]
fn warnings_are_told_to_clients_without_notices_and_what_loomd_offers_is_not_the_agents() {
    let mut translator = translator(ToolOutputForm::Content);
    let notice = |severity: &str| json!({ "sessionUpdate": "notice", "severity": severity, "title": "It is slow", "description": "why" });
    assert_eq!(translated(&mut translator, notice("warning"))["content"]["text"], "⚠ It is slow: why\n");
    assert_eq!(translated(&mut translator, notice("info")), Value::Null);
    translator.forms.notices = true;
    assert_eq!(translated(&mut translator, notice("info"))["sessionUpdate"], "notice");
    for kind in ["available_commands_update", "current_mode_update", "config_option_update"] {
        assert_eq!(translated(&mut translator, json!({ "sessionUpdate": kind })), Value::Null);
    }
    let unknown = json!({ "sessionUpdate": "something_new", "x": [1, 2] });
    assert_eq!(translated(&mut translator, unknown.clone()), unknown, "what is not known passes");
}
