//! What no recording shows: agents that are silent, late, wrong or old.

use serde_json::{Value, json};

use super::Acp;
use crate::{
    model::{RunState, TakeoverKind, calls::PermissionMode},
    provider::{
        Provider,
        conversation::Act,
        kind::{Inquiry, Question, Reply},
        talk::{Talk, task},
        task::{Task, text_block},
    },
};

fn greeting(name: &str, session: Value) -> Value {
    json!({ "protocolVersion": 1, "agentInfo": { "name": name, "version": "1" },
            "agentCapabilities": { "loadSession": true, "sessionCapabilities": session } })
}

fn update(update: Value) -> Value {
    json!({ "jsonrpc": "2.0", "method": "session/update", "params": { "sessionId": "s", "update": update } })
}

fn chunk(text: &str) -> Value {
    update(json!({ "sessionUpdate": "agent_message_chunk", "content": { "type": "text", "text": text } }))
}

fn asks(id: Value, tool: &str) -> Value {
    json!({ "id": id, "method": "session/request_permission", "params": { "sessionId": "s",
        "toolCall": { "toolCallId": tool, "title": tool, "kind": "execute" },
        "options": [{ "optionId": "y", "name": "Yes", "kind": "allow_once" }, { "optionId": "n", "name": "No", "kind": "reject_once" }] } })
}

impl Talk {
    /// Answers the request of ours that was written last.
    fn answered(&mut self, result: Value) {
        let id = self.last_written()["id"].clone();
        self.said(json!({ "jsonrpc": "2.0", "id": id, "result": result }));
    }

    fn refused(&mut self, code: i64, message: &str) {
        let id = self.last_written()["id"].clone();
        self.said(json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message } }));
    }

    fn method(&self) -> &str {
        self.last_written()["method"].as_str().unwrap_or_default()
    }
}

/// A conversation whose agent has the first prompt.
fn prompted(task: &Task, name: &str, session: Value) -> Talk {
    let mut talk = Talk::begin(&Acp, task);
    talk.answered(greeting(name, json!({ "resume": {} })));
    let mut told = session;
    told["sessionId"] = json!("s");
    talk.answered(told);
    while talk.method().starts_with("session/set_") {
        talk.answered(json!({}));
    }
    assert_eq!(talk.method(), "session/prompt");
    talk
}

fn plain() -> Talk {
    prompted(&task("acp", &["agent"]), "agent", json!({}))
}

fn modes(current: &str, ids: &[&str]) -> Value {
    let modes: Vec<Value> = ids.iter().map(|id| json!({ "id": id, "name": id })).collect();
    json!({ "modes": { "currentModeId": current, "availableModes": modes } })
}

fn with(permissions: PermissionMode) -> Task {
    Task { permissions, ..task("acp", &["agent"]) }
}

#[test]
fn a_prompt_never_overtakes_the_mode() {
    let mut talk = Talk::begin(&Acp, &task("acp", &["agent"]));
    talk.answered(greeting("claude", json!({})));
    let mut told = modes("auto", &["auto", "default"]);
    told["sessionId"] = json!("s");
    talk.answered(told);
    assert_eq!((talk.method(), &talk.last_written()["params"]["modeId"]), ("session/set_mode", &json!("default")));
    talk.answered(json!({}));
    assert_eq!(talk.method(), "session/prompt");
}

#[test]
fn an_agent_that_refuses_the_mode_gets_no_prompt() {
    let mut talk = Talk::begin(&Acp, &task("acp", &["agent"]));
    talk.answered(greeting("claude", json!({})));
    let mut told = modes("auto", &["auto", "default"]);
    told["sessionId"] = json!("s");
    talk.answered(told);
    talk.refused(-32603, "no");
    assert!(talk.written.iter().all(|written| written["method"] != "session/prompt"));
    let verdict = talk.ends(0);
    assert_eq!(verdict.state, RunState::Failed);
}

#[test]
fn read_only_is_enforced_or_refused() {
    let refused = |session: Value| {
        let mut talk = Talk::begin(&Acp, &with(PermissionMode::ReadOnly));
        talk.answered(greeting("somebody", json!({})));
        let mut told = session;
        told["sessionId"] = json!("s");
        talk.answered(told);
        talk
    };
    let mut talk = refused(modes("code", &["code", "default"]));
    assert_eq!(talk.ends(0).error.map(|error| error.kind).as_deref(), Some("unsupported"));
    let talk = refused(modes("code", &["code", "plan"]));
    assert_eq!((talk.method(), &talk.last_written()["params"]["modeId"]), ("session/set_mode", &json!("plan")));
}

#[test]
fn an_agent_that_leaves_its_read_only_mode_is_sent_back() {
    let mut talk = prompted(&with(PermissionMode::ReadOnly), "somebody", modes("code", &["code", "plan"]));
    talk.said(update(json!({ "sessionUpdate": "current_mode_update", "currentModeId": "code" })));
    assert_eq!((talk.method(), &talk.last_written()["params"]["modeId"]), ("session/set_mode", &json!("plan")));
}

#[test]
fn settings_that_only_options_offer_are_made_by_options() {
    let told = json!({ "configOptions": [
        { "id": "m", "category": "mode", "currentValue": "build", "options": [{ "value": "build" }, { "value": "plan" }] },
        { "id": "x", "category": "model", "currentValue": "a", "options": [{ "value": "a" }, { "value": "b" }] }] });
    let task = Task { model: Some("b".to_owned()), ..with(PermissionMode::ReadOnly) };
    let talk = prompted(&task, "OpenCode", told);
    let set: Vec<&Value> = talk
        .written
        .iter()
        .filter(|written| written["method"] == "session/set_config_option")
        .map(|written| &written["params"]["value"])
        .collect();
    assert_eq!(set, ["plan", "b"]);
}

#[test]
fn an_unknown_model_is_an_error_that_names_the_known_ones() {
    let mut talk = Talk::begin(&Acp, &Task { model: Some("z".to_owned()), ..task("acp", &["agent"]) });
    talk.answered(greeting("agent", json!({})));
    talk.answered(
        json!({ "sessionId": "s", "models": { "currentModelId": "a", "availableModels": [{ "modelId": "a" }, { "modelId": "b" }] } }),
    );
    let error = talk.ends(0).error.expect("an error");
    assert!(error.message.contains("`z`") && error.message.contains("a, b"), "{}", error.message);
}

#[test]
fn a_configuration_is_made_before_the_next_prompt_and_its_refusal_fails_it() {
    let task = Task { interactive: true, ..task("acp", &["agent"]) };
    let mut talk = prompted(&task, "agent", modes("default", &["default", "acceptEdits"]));
    talk.answered(json!({ "stopReason": "end_turn" }));
    talk.does(|it| it.configure(None, Some(PermissionMode::AcceptEdits)).expect("it can"));
    assert_eq!(talk.method(), "session/set_mode");
    talk.does(|it| it.send(vec![text_block("more")], false).expect("taken"));
    assert_eq!(talk.method(), "session/set_mode", "the prompt waits");
    talk.refused(-32602, "no such mode");
    assert_eq!(talk.method(), "session/set_mode", "and is not given");
    let end = talk.log.iter().rfind(|entry| entry["turn"] == 2 && entry["state"] == "idle").expect("the turn ended");
    assert_eq!(end["error"]["kind"], "provider");
    talk.does(|it| it.configure(None, Some(PermissionMode::Ask)).expect("it can"));
    talk.does(|it| it.send(vec![text_block("more")], false).expect("taken"));
    assert_eq!(talk.method(), "session/prompt");
}

#[test]
fn silence_is_an_error_that_says_what_to_look_at() {
    let mut talk = Talk::begin(&Acp, &task("acp", &["cat"]));
    talk.time_passes();
    let error = talk.ends(0).error.expect("an error");
    assert!(error.kind == "protocol" && error.message.contains("`cat`"), "{error:?}");

    let mut talk = Talk::begin(&Acp, &task("acp", &["agent"]));
    talk.answered(greeting("agent", json!({})));
    talk.time_passes();
    let error = talk.ends(0).error.expect("an error");
    assert!(error.kind == "protocol" && error.message.contains("no session"), "{error:?}");

    let mut talk = plain();
    talk.time_passes();
    talk.answered(json!({ "stopReason": "end_turn" }));
    assert_eq!(talk.ends(0).state, RunState::Succeeded, "an agent that answered is not silent");
}

#[test]
fn whatever_an_agent_says_nothing_breaks() {
    let mut talk = plain();
    let calls = ["tool_call", "tool_call_update"].map(|kind| json!({ "sessionUpdate": kind, "toolCallId": 7, "content": { "x": 1 } }));
    for said in [
        json!(null),
        json!([]),
        json!({ "id": 99, "result": 1 }),
        json!({ "id": null, "method": "session/request_permission" }),
        json!({ "method": "session/update" }),
        json!({ "method": "session/update", "params": { "sessionId": "s", "update": 3 } }),
        update(json!({})),
        update(json!({ "sessionUpdate": 4 })),
        update(json!({ "sessionUpdate": "tool_call" })),
        update(json!({ "sessionUpdate": "agent_message_chunk" })),
        update(json!({ "sessionUpdate": "agent_message_chunk", "content": [1] })),
        update(json!({ "sessionUpdate": "usage_update", "cost": 3 })),
        update(json!({ "sessionUpdate": "config_option_update", "configOptions": 1 })),
        update(calls[0].clone()),
        update(calls[1].clone()),
        update(json!({ "sessionUpdate": "tool_call", "toolCallId": "t", "status": 3, "content": [null, {}], "_meta": [] })),
        update(
            json!({ "sessionUpdate": "tool_call_update", "toolCallId": "t", "status": "completed", "rawOutput": [], "content": [{ "type": "content" }] }),
        ),
        json!({ "method": "$/cancel_request", "params": { "requestId": {} } }),
    ] {
        talk.said(said);
    }
    for line in [&b"\xff\xfe"[..], b"", b"{", b"Debugger listening on ws://127.0.0.1:1"] {
        talk.line(line);
    }
    let prompt = talk.written.iter().find(|written| written["method"] == "session/prompt").expect("a prompt")["id"].clone();
    talk.said(json!({ "id": prompt, "result": null }));
    assert_eq!(talk.ends(0).state, RunState::Succeeded);
}

#[test]
fn a_question_about_nothing_is_refused_in_the_protocols_words() {
    let mut talk = plain();
    talk.said(json!({ "id": "u", "method": "session/request_permission", "params": { "toolCall": {} } }));
    assert_eq!((&talk.last_written()["id"], &talk.last_written()["error"]["code"]), (&json!("u"), &json!(-32602)));
    talk.said(json!({ "id": 4, "method": "fs/read_text_file", "params": {} }));
    assert_eq!(talk.last_written()["error"]["code"], -32601);
    assert_eq!(talk.updates("notice").len(), 1);
}

#[test]
fn two_questions_are_answered_apart_though_their_ids_are_ours_too() {
    let mut talk = plain();
    talk.said(asks(json!(0), "a"));
    talk.said(asks(json!("0"), "b"));
    talk.answers("p2", Some("n"));
    assert_eq!(
        talk.last_written(),
        &json!({ "jsonrpc": "2.0", "id": "0", "result": { "outcome": { "outcome": "selected", "optionId": "n" } } })
    );
    talk.answers("p1", Some("y"));
    assert_eq!(talk.last_written()["id"], json!(0));
}

#[test]
fn after_a_cancel_nothing_is_asked_and_nothing_allowed() {
    let mut talk = prompted(&task("acp", &["agent"]), "codex", json!({}));
    talk.said(asks(json!(0), "a"));
    talk.does(|it| assert!(it.interrupt(), "a turn runs"));
    let cancelled = json!({ "outcome": { "outcome": "cancelled" } });
    let answers = |talk: &Talk| talk.written.iter().filter(|written| written["result"] == cancelled).count();
    let place = |is: &dyn Fn(&Value) -> bool| talk.written.iter().position(is).expect("it was written");
    let (cancel, answer) = (place(&|written| written["method"] == "session/cancel"), place(&|written| written["result"] == cancelled));
    assert!(cancel < answer && answers(&talk) == 1, "an agent that goes on after an answer knows by then that it is to stop");
    talk.said(asks(json!(1), "b"));
    assert_eq!(answers(&talk), 2);
    assert_eq!(talk.log.iter().filter(|entry| entry["asked"].is_string()).count(), 1);
    let prompt = talk.written.iter().find(|written| written["method"] == "session/prompt").expect("a prompt")["id"].clone();
    talk.said(json!({ "id": prompt, "error": { "code": -32603, "message": "aborted" } }));
    assert!(talk.acts.contains(&Act::EndCommands), "codex forgets its commands");
    assert_eq!(talk.ends(0).state, RunState::Cancelled);
}

#[test]
fn what_an_agent_cancels_by_itself_did_not_succeed() {
    let mut talk = plain();
    talk.said(asks(json!(0), "a"));
    talk.answers("p1", Some("n"));
    let prompt = talk.written.iter().find(|written| written["method"] == "session/prompt").expect("a prompt")["id"].clone();
    talk.said(json!({ "id": prompt, "result": { "stopReason": "cancelled" } }));
    assert_eq!(talk.ends(0).state, RunState::Cancelled);
}

#[test]
fn a_question_that_the_agent_withdraws_is_settled() {
    let mut talk = plain();
    talk.said(asks(json!(5), "a"));
    talk.said(json!({ "method": "$/cancel_request", "params": { "requestId": 5 } }));
    let settled = talk.log.iter().find(|entry| entry["answered"] == "p1").expect("it is settled");
    assert_eq!((&settled["option"], &settled["by"]), (&json!(null), &json!("provider")));
}

#[test]
fn a_loaded_history_is_not_logged_again() {
    let mut talk = Talk::begin(&Acp, &Task { resume: Some("s".to_owned()), ..task("acp", &["agent"]) });
    talk.answered(greeting("agent", json!({})));
    assert_eq!(talk.method(), "session/load");
    talk.said(chunk("what was said before"));
    talk.said(update(json!({ "sessionUpdate": "tool_call", "toolCallId": "old", "title": "ls" })));
    talk.answered(json!(null));
    talk.said(chunk("new"));
    talk.said(update(json!({ "sessionUpdate": "tool_call_update", "toolCallId": "old", "status": "completed" })));
    assert_eq!(talk.text("agent_message_chunk"), "new");
}

#[test]
fn a_history_that_gemini_tells_after_it_loaded_is_not_logged_either() {
    let mut talk = Talk::begin(&Acp, &Task { resume: Some("s".to_owned()), ..task("acp", &["/bin/gemini", "--acp"]) });
    talk.answered(greeting("gemini-cli", json!({})));
    assert_eq!(talk.method(), "session/load");
    talk.answered(modes("default", &["default", "yolo"]));
    assert_eq!((talk.method(), &talk.last_written()["params"]["modeId"]), ("session/set_mode", &json!("default")));
    talk.said(update(json!({ "sessionUpdate": "user_message_chunk", "content": { "type": "text", "text": "before" } })));
    talk.said(chunk("said before"));
    talk.said(update(json!({ "sessionUpdate": "tool_call", "toolCallId": "1", "title": "old", "status": "completed" })));
    talk.answered(json!({}));
    assert_eq!(talk.method(), "session/prompt");
    talk.said(chunk("[MODE_UPDATE] default"));
    talk.said(chunk("said now"));
    assert_eq!((talk.text("agent_message_chunk"), talk.updates("tool_call").len()), ("said now".to_owned(), 0));
}

#[test]
fn what_describes_a_command_is_no_output_and_a_new_file_has_no_old_text() {
    let mut talk = prompted(&task("acp", &["/bin/gemini", "--acp"]), "gemini-cli", json!({}));
    let text = json!([{ "type": "content", "content": { "type": "text", "text": "[current working directory /w]" } }]);
    let call = |kind: &str, status: &str, content: Value| {
        update(json!({ "sessionUpdate": kind, "toolCallId": "1", "title": "x", "kind": "execute", "status": status, "content": content }))
    };
    talk.said(call("tool_call", "in_progress", text));
    talk.said(call("tool_call_update", "completed", json!([])));
    assert_eq!((talk.output("1"), &talk.tool("1")["status"]), (String::new(), &json!("completed")));
    let diff = json!([{ "type": "diff", "path": "/w/a", "oldText": "", "newText": "one" }]);
    talk.said(update(
        json!({ "sessionUpdate": "tool_call", "toolCallId": "2", "title": "y", "kind": "edit", "status": "completed", "content": diff }),
    ));
    assert_eq!(talk.tool("2")["content"], json!([{ "type": "diff", "path": "/w/a", "newText": "one" }]));
}

#[test]
fn a_resume_that_is_not_there_is_tried_by_loading_and_a_refused_one_is_the_end() {
    let task = Task { resume: Some("s".to_owned()), ..task("acp", &["agent"]) };
    let mut talk = Talk::begin(&Acp, &task);
    talk.answered(greeting("agent", json!({ "resume": {} })));
    talk.refused(-32601, "Method not found");
    assert_eq!(talk.method(), "session/load");
    talk.refused(-32603, "no rollout");
    let error = talk.ends(0).error.expect("an error");
    assert!(error.kind == "sessionNotFound" && error.message.contains("no rollout"), "{error:?}");
    assert!(talk.written.iter().all(|written| written["method"] != "session/new"), "never in a new session");
}

#[test]
fn what_comes_late_for_a_tool_call_makes_no_new_one() {
    let mut talk = prompted(&Task { interactive: true, ..task("acp", &["agent"]) }, "agent", json!({}));
    talk.said(update(json!({ "sessionUpdate": "tool_call", "toolCallId": "t", "title": "sleep", "status": "in_progress" })));
    talk.answered(json!({ "stopReason": "cancelled" }));
    assert_eq!(talk.tool("t")["status"], "failed", "what was stopped does not run for ever");
    let before = talk.log.len();
    let late = update(json!({ "sessionUpdate": "tool_call_update", "toolCallId": "t", "status": "completed" }));
    talk.said(late.clone());
    assert_eq!(talk.log.len(), before);
    talk.does(|it| it.send(vec![text_block("more")], false).expect("taken"));
    talk.said(late);
    assert_eq!(talk.updates("tool_call").len(), 1);
}

#[test]
fn input_that_grows_is_told_once_and_whole_before_it_is_asked_about() {
    let mut talk = plain();
    talk.said(update(json!({ "sessionUpdate": "tool_call", "toolCallId": "t", "title": "Terminal", "status": "pending", "rawInput": {} })));
    for command in ["t", "to", "tou", "touch x"] {
        talk.said(update(json!({ "sessionUpdate": "tool_call_update", "toolCallId": "t", "rawInput": { "command": command } })));
    }
    assert_eq!(talk.updates("tool_call_update").len(), 0);
    talk.said(asks(json!(0), "t"));
    let asked = talk.log.iter().find(|entry| entry["asked"].is_string()).expect("a question");
    assert_eq!(asked["toolCall"]["rawInput"]["command"], "touch x");
    assert!(!json!(talk.log).to_string().contains("\"tou\""));

    let mut talk = plain();
    talk.said(update(json!({ "sessionUpdate": "tool_call", "toolCallId": "t", "status": "pending" })));
    talk.said(update(json!({ "sessionUpdate": "tool_call_update", "toolCallId": "t", "rawInput": { "command": "ls" } })));
    talk.time_passes();
    assert_eq!(talk.tool("t")["rawInput"]["command"], "ls", "nobody has to wait for the end to see it");
}

#[test]
fn a_huge_result_comes_in_pieces_and_once() {
    let mut talk = plain();
    let whole = "0123456789abcde\n".repeat(20 << 16);
    talk.said(update(json!({ "sessionUpdate": "tool_call", "toolCallId": "t", "title": "Read", "kind": "read", "status": "pending" })));
    talk.said(update(json!({ "sessionUpdate": "tool_call_update", "toolCallId": "t", "status": "completed", "rawOutput": whole,
        "content": [{ "type": "content", "content": { "type": "text", "text": format!("```\n{whole}\n```") } }] })));
    assert!(talk.output("t") == whole, "it is told whole");
    let logged: usize = talk.log.iter().map(|entry| entry.to_string().len()).sum();
    assert!(logged < whole.len() * 5 / 4, "{logged} bytes were logged for {}", whole.len());
}

#[test]
fn an_output_that_says_something_else_is_a_contradiction() {
    let mut talk = plain();
    let running = |text: &str, status: &str| {
        update(json!({ "sessionUpdate": "tool_call_update", "toolCallId": "t", "status": status, "kind": "execute",
            "content": [{ "type": "content", "content": { "type": "text", "text": text } }] }))
    };
    talk.said(running("tick 2\n", "in_progress"));
    talk.said(running("tick 1\ntick 2\n", "completed"));
    assert_eq!(talk.output("t"), "tick 1\ntick 2\n");
    assert!(talk.log.iter().any(|entry| entry["_meta"]["loomd/contradiction"]["at"] == 5));
}

#[test]
fn usage_is_each_turns_own() {
    let mut talk = prompted(&Task { interactive: true, ..task("acp", &["agent"]) }, "agent", json!({}));
    let cost = |amount: f64| {
        update(json!({ "sessionUpdate": "usage_update", "used": 1, "size": 2, "cost": { "amount": amount, "currency": "USD" } }))
    };
    talk.said(cost(0.25));
    talk.answered(json!({ "stopReason": "end_turn", "usage": { "inputTokens": 10, "outputTokens": 2, "cachedReadTokens": 3 } }));
    talk.does(|it| it.send(vec![text_block("more")], false).expect("taken"));
    talk.said(cost(0.75));
    talk.answered(
        json!({ "stopReason": "max_tokens", "_meta": { "quota": { "token_count": { "input_tokens": 4, "output_tokens": 5 } } } }),
    );
    let ends: Vec<&Value> = talk.log.iter().filter(|entry| entry["stopReason"].as_str().is_some_and(|it| !it.is_empty())).collect();
    assert_eq!(ends[0]["usage"], json!({ "inputTokens": 10, "outputTokens": 2, "cachedInputTokens": 3, "costUsd": 0.25 }));
    assert_eq!(ends[1]["usage"], json!({ "inputTokens": 4, "outputTokens": 5, "costUsd": 0.5 }));
    assert_eq!(ends[1]["stopReason"], "max_tokens");
}

#[test]
fn a_sub_agent_is_told_apart_and_unknown_updates_pass_unchanged() {
    let mut talk = plain();
    talk.said(update(
        json!({ "sessionUpdate": "tool_call", "toolCallId": "t", "title": "ls", "_meta": { "claudeCode": { "parentToolUseId": "task" } } }),
    ));
    assert_eq!(talk.updates("tool_call")[0]["_meta"]["loomd/parentToolCallId"], "task");
    let news = json!({ "sessionUpdate": "of_tomorrow", "a": { "b": [1] }, "_meta": { "c": 2 } });
    talk.said(update(news.clone()));
    assert_eq!(talk.updates("of_tomorrow"), [&news]);
    talk.said(json!({ "method": "session/update", "params": { "sessionId": "other", "update": news } }));
    assert_eq!(talk.updates("of_tomorrow").len(), 1, "another session is another's");
}

#[test]
fn before_the_session_is_kept_no_way_into_it_is_offered() {
    let mut talk = prompted(&task("acp", &["/bin/gemini", "--acp", "-m", "x"]), "gemini-cli", json!({}));
    let ways = |talk: &Talk| talk.conversation.session().expect("a session").takeover.clone();
    assert!(ways(&talk).iter().all(|way| way.command.is_none() && way.reason.is_some()));
    talk.said(chunk("hello"));
    talk.time_passes();
    let ways = ways(&talk);
    let resume = ways.iter().find(|way| way.kind == TakeoverKind::Resume).expect("a way");
    assert_eq!(resume.command.as_deref(), Some(&["/bin/gemini", "-m", "x", "--resume", "s"].map(str::to_owned)[..]));
    assert!(resume.verified && resume.reason.is_none(), "it was seen to open the session");
    let others = ways.iter().filter(|way| !matches!(way.kind, TakeoverKind::Resume | TakeoverKind::ReplayCommand));
    assert!(others.clone().count() > 2 && others.clone().all(|way| !way.verified && way.reason.is_some()));
}

#[test]
fn what_is_not_there_cannot_be_launched_and_opencode_is_told_to_ask() {
    let task = task("acp", &[]);
    assert!(Acp.launch(&task, &[]).is_err());
    let launch = Acp.launch(&task, &["/usr/bin/opencode".to_owned(), "acp".to_owned()]).expect("a launch");
    let (name, rules) = &launch.env[0];
    let rules: Value = serde_json::from_str(rules).expect("JSON");
    assert_eq!((name.as_str(), &rules["bash"], &rules["edit"]), ("OPENCODE_PERMISSION", &json!("ask"), &json!("ask")));
    assert!(!launch.argv.iter().any(|word| word.contains("do it")), "no prompt in an argv");
}

fn inquiry(question: &Question) -> Box<dyn Inquiry> {
    let mut inquiry = Acp.inquire(question).expect("it can be asked");
    inquiry.begin();
    inquiry
}

#[test]
fn sessions_are_listed_in_our_words() {
    let question = Question::Sessions { cwd: Some("/w".to_owned()), cursor: None };
    let mut asked = inquiry(&question);
    let greeted = json!({ "id": 0, "result": greeting("x", json!({ "list": {} })) }).to_string();
    let Reply::Say(said) = asked.line(greeted.as_bytes()) else { panic!("it asks") };
    assert!(String::from_utf8_lossy(&said).contains("session/list"));
    let told = json!({ "id": 1, "result": { "sessions": [{ "sessionId": "a", "cwd": "/w", "updatedAt": "2026-11-22T10:00:00.5Z" }, {}], "nextCursor": "n" } });
    let Reply::Done(Ok(told)) = asked.line(told.to_string().as_bytes()) else { panic!("it is done") };
    assert_eq!(told, json!({ "sessions": [{ "id": "a", "cwd": "/w", "updatedAt": 1_795_341_600_500_u64 }], "nextCursor": "n" }));

    let mut asked = inquiry(&question);
    let greeted = json!({ "id": 0, "result": greeting("x", json!({})) }).to_string();
    assert!(matches!(asked.line(greeted.as_bytes()), Reply::Done(Err(_))), "an agent without a list is asked for none");
}

#[test]
fn options_are_what_a_session_offers() {
    let mut asked = inquiry(&Question::Options { cwd: "/w".to_owned() });
    asked.line(json!({ "id": 0, "result": greeting("x", json!({})) }).to_string().as_bytes());
    let mut told = modes("a", &["a", "b"]);
    told["models"] = json!({ "availableModels": [{ "modelId": "m", "name": "M" }] });
    let Reply::Done(Ok(told)) = asked.line(json!({ "id": 1, "result": told }).to_string().as_bytes()) else { panic!("it is done") };
    assert_eq!(told, json!({ "models": [{ "id": "m", "name": "M" }], "modes": [{ "id": "a", "name": "a" }, { "id": "b", "name": "b" }] }));
}
