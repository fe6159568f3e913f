//! Cases that no recording shows: agents that are silent, late, wrong or old. Sessions, settings, takeovers and
//! probes are here; turns have a file of their own.

mod odd;
mod recorded;
mod turns;

use serde_json::{Value, json};

use super::{
    Acp,
    agent::{AcpAgent, Product},
    takeover::{made_anew, takeovers},
};
use crate::{
    model::{
        RunState, Takeover, TakeoverKind,
        calls::{PermissionMode, RunSettings},
        config_option::OptionValue,
        task::{Task, text_block},
    },
    provider::{
        Action, Provider,
        kind::{Probe, ProbeQuery, Reply},
        provider_event::SessionInfo,
        tests::conversation_driver::{ConversationDriver, task},
    },
};

fn initialize_result(name: &str, session: Value) -> Value {
    json!({ "protocolVersion": 1, "agentInfo": { "name": name, "version": "1" },
            "agentCapabilities": { "loadSession": true, "sessionCapabilities": session } })
}

fn update(update: Value) -> Value {
    json!({ "jsonrpc": "2.0", "method": "session/update", "params": { "sessionId": "s", "update": update } })
}

fn chunk(text: &str) -> Value {
    update(json!({ "sessionUpdate": "agent_message_chunk", "content": { "type": "text", "text": text } }))
}

fn permission_request(id: Value, tool: &str) -> Value {
    json!({ "id": id, "method": "session/request_permission", "params": { "sessionId": "s",
        "toolCall": { "toolCallId": tool, "title": tool, "kind": "execute" },
        "options": [{ "optionId": "y", "name": "Yes", "kind": "allow_once" }, { "optionId": "n", "name": "No", "kind": "reject_once" }] } })
}

impl ConversationDriver {
    /// Answers the request that was written last.
    fn respond(&mut self, result: Value) {
        let id = self.last_written()["id"].clone();
        self.receive(json!({ "jsonrpc": "2.0", "id": id, "result": result }));
    }

    fn respond_with_error(&mut self, code: i64, message: &str) {
        let id = self.last_written()["id"].clone();
        self.receive(json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message } }));
    }

    fn last_method(&self) -> &str {
        self.last_written()["method"].as_str().unwrap_or_default()
    }
}

/// A conversation whose agent has received the first prompt.
fn driver_in_turn(task: &Task, name: &str, session: Value) -> ConversationDriver {
    let mut driver = ConversationDriver::start(&Acp, task);
    driver.respond(initialize_result(name, json!({ "resume": {} })));
    let mut result = session;
    result["sessionId"] = json!("s");
    driver.respond(result);
    while driver.last_method().starts_with("session/set_") {
        driver.respond(json!({}));
    }
    assert_eq!(driver.last_method(), "session/prompt");
    driver
}

fn default_driver() -> ConversationDriver {
    driver_in_turn(&task("acp", &["agent"]), "agent", json!({}))
}

fn session_modes(current: &str, ids: &[&str]) -> Value {
    let modes: Vec<Value> = ids.iter().map(|id| json!({ "id": id, "name": id })).collect();
    json!({ "modes": { "currentModeId": current, "availableModes": modes } })
}

fn task_with(permissions: PermissionMode) -> Task {
    Task { permissions, ..task("acp", &["agent"]) }
}

#[test]
fn a_prompt_never_overtakes_the_mode() {
    let mut driver = ConversationDriver::start(&Acp, &task("acp", &["agent"]));
    driver.respond(initialize_result("claude", json!({})));
    let mut result = session_modes("auto", &["auto", "default"]);
    result["sessionId"] = json!("s");
    driver.respond(result);
    assert_eq!((driver.last_method(), &driver.last_written()["params"]["modeId"]), ("session/set_mode", &json!("default")));
    driver.respond(json!({}));
    assert_eq!(driver.last_method(), "session/prompt");
}

#[test]
fn an_agent_that_refuses_the_mode_gets_no_prompt() {
    let mut driver = ConversationDriver::start(&Acp, &task("acp", &["agent"]));
    driver.respond(initialize_result("claude", json!({})));
    let mut result = session_modes("auto", &["auto", "default"]);
    result["sessionId"] = json!("s");
    driver.respond(result);
    driver.respond_with_error(-32603, "no");
    assert!(driver.written.iter().all(|written| written["method"] != "session/prompt"));
    let final_state = driver.exit(0);
    assert_eq!(final_state.state, RunState::Failed);
}

#[test]
fn read_only_is_enforced_or_refused() {
    let open_session = |session: Value| {
        let mut driver = ConversationDriver::start(&Acp, &task_with(PermissionMode::ReadOnly));
        driver.respond(initialize_result("somebody", json!({})));
        let mut result = session;
        result["sessionId"] = json!("s");
        driver.respond(result);
        driver
    };
    let mut driver = open_session(session_modes("code", &["code", "default"]));
    assert_eq!(driver.exit(0).error.map(|error| error.kind).as_deref(), Some("unsupported"));
    let driver = open_session(session_modes("code", &["code", "plan"]));
    assert_eq!((driver.last_method(), &driver.last_written()["params"]["modeId"]), ("session/set_mode", &json!("plan")));
}

#[test]
fn an_agent_that_leaves_its_read_only_mode_is_sent_back() {
    let mut driver = driver_in_turn(&task_with(PermissionMode::ReadOnly), "somebody", session_modes("code", &["code", "plan"]));
    driver.receive(update(json!({ "sessionUpdate": "current_mode_update", "currentModeId": "code" })));
    assert_eq!((driver.last_method(), &driver.last_written()["params"]["modeId"]), ("session/set_mode", &json!("plan")));
}

#[test]
fn settings_that_only_options_offer_are_made_by_options() {
    let result = json!({ "configOptions": [
        { "id": "m", "category": "mode", "currentValue": "build", "options": [{ "value": "build" }, { "value": "plan" }] },
        { "id": "x", "category": "model", "currentValue": "a", "options": [{ "value": "a" }, { "value": "b" }] }] });
    let task = Task { model: Some("b".to_owned()), ..task_with(PermissionMode::ReadOnly) };
    let driver = driver_in_turn(&task, "OpenCode", result);
    let set: Vec<&Value> = driver
        .written
        .iter()
        .filter(|written| written["method"] == "session/set_config_option")
        .map(|written| &written["params"]["value"])
        .collect();
    assert_eq!(set, ["plan", "b"]);
}

#[test]
fn an_unknown_model_is_an_error_that_names_the_known_ones() {
    let mut driver = ConversationDriver::start(&Acp, &Task { model: Some("z".to_owned()), ..task("acp", &["agent"]) });
    driver.respond(initialize_result("agent", json!({})));
    driver.respond(
        json!({ "sessionId": "s", "models": { "currentModelId": "a", "availableModels": [{ "modelId": "a" }, { "modelId": "b" }] } }),
    );
    let error = driver.exit(0).error.expect("an error");
    assert!(error.message.contains("`z`") && error.message.contains("a, b"), "{}", error.message);
}

#[test]
fn a_configuration_is_made_before_the_next_prompt_and_its_refusal_fails_it() {
    let task = Task { interactive: true, ..task("acp", &["agent"]) };
    let mut driver = driver_in_turn(&task, "agent", session_modes("default", &["default", "acceptEdits"]));
    driver.respond(json!({ "stopReason": "end_turn" }));
    driver
        .act(|it| it.configure(RunSettings { permissions: Some(PermissionMode::AcceptEdits), ..RunSettings::default() }).expect("it can"));
    assert_eq!(driver.last_method(), "session/set_mode");
    driver.act(|it| it.send(vec![text_block("more")], false).expect("taken"));
    assert_eq!(driver.last_method(), "session/set_mode", "the prompt waits");
    driver.respond_with_error(-32602, "no such mode");
    assert_eq!(driver.last_method(), "session/set_mode", "and is not sent");
    let end = driver.log.iter().rfind(|entry| entry["turn"] == 2 && entry["state"] == "idle").expect("the turn ended");
    assert_eq!(end["error"]["kind"], "provider");
    driver.act(|it| it.configure(RunSettings { permissions: Some(PermissionMode::Ask), ..RunSettings::default() }).expect("it can"));
    driver.act(|it| it.send(vec![text_block("more")], false).expect("taken"));
    assert_eq!(driver.last_method(), "session/prompt");
}

#[test]
fn a_mode_of_the_older_form_is_set_as_an_option_and_a_refused_option_is_a_notice() {
    let mut session = session_modes("default", &["default", "plan"]);
    let effort = |current: &str| json!({ "id": "effort", "currentValue": current, "options": [{ "value": "low" }, { "value": "high" }] });
    session["configOptions"] = json!([effort("low")]);
    let task = Task { interactive: true, ..task("acp", &["agent"]) };
    let mut driver = driver_in_turn(&task, "agent", session);
    driver.respond(json!({ "stopReason": "end_turn" }));
    let set = |id: &str, value: &str| RunSettings {
        options: [(id.to_owned(), OptionValue::Id(value.to_owned()))].into(),
        ..RunSettings::default()
    };
    driver.act(|it| it.configure(set("mode", "plan")).expect("it can"));
    assert_eq!((driver.last_method(), &driver.last_written()["params"]["modeId"]), ("session/set_mode", &json!("plan")));
    driver.respond(json!({}));
    driver.act(|it| it.configure(set("effort", "high")).expect("it can"));
    assert_eq!(driver.last_written()["params"], json!({ "sessionId": "s", "configId": "effort", "value": "high" }));
    driver.respond_with_error(-32602, "not today");
    assert_eq!(driver.updates("notice")[0]["description"], "not today");
    driver.act(|it| it.configure(set("effort", "high")).expect("it can"));
    driver.respond(json!({}));
    driver.act(|it| it.send(vec![text_block("more")], false).expect("taken"));
    assert_eq!(driver.last_method(), "session/prompt", "a refused option fails no prompt");
    let mut offers = driver.actions.iter().filter_map(|action| if let Action::Offer(offer) = action { Some(json!(offer)) } else { None });
    let last = offers.next_back().expect("an offer");
    assert_eq!((&last["modeId"], &last["configOptions"][0]), (&json!("plan"), &effort("high")), "an agent need not repeat its options");
}

#[test]
fn a_silent_agent_fails_the_run_and_the_error_names_its_program() {
    let mut driver = ConversationDriver::start(&Acp, &task("acp", &["cat"]));
    driver.fire_timers();
    let error = driver.exit(0).error.expect("an error");
    assert!(error.kind == "protocol" && error.message.contains("`cat`"), "{error:?}");

    let mut driver = ConversationDriver::start(&Acp, &task("acp", &["agent"]));
    driver.respond(initialize_result("agent", json!({})));
    driver.fire_timers();
    let error = driver.exit(0).error.expect("an error");
    assert!(error.kind == "protocol" && error.message.contains("did not open a session"), "{error:?}");

    let mut driver = default_driver();
    driver.fire_timers();
    driver.respond(json!({ "stopReason": "end_turn" }));
    assert_eq!(driver.exit(0).state, RunState::Succeeded, "an agent that answered is not silent");
}

#[test]
fn a_loaded_history_is_not_logged_again() {
    let mut driver = ConversationDriver::start(&Acp, &Task { resume: Some("s".to_owned()), ..task("acp", &["agent"]) });
    driver.respond(initialize_result("agent", json!({})));
    assert_eq!(driver.last_method(), "session/load");
    driver.receive(chunk("what was said before"));
    driver.receive(update(json!({ "sessionUpdate": "tool_call", "toolCallId": "old", "title": "ls" })));
    driver.respond(json!(null));
    driver.receive(chunk("and after the response"));
    assert_eq!(driver.last_method(), "_loomd/historyEnd");
    driver.respond_with_error(-32601, "no such method");
    assert_eq!(driver.last_method(), "session/prompt");
    driver.receive(chunk("new"));
    assert_eq!(driver.text("agent_message_chunk"), "new");

    let mut driver = ConversationDriver::start(&Acp, &Task { resume: Some("s".to_owned()), ..task("acp", &["agent"]) });
    driver.respond(initialize_result("agent", json!({})));
    driver.respond(json!(null));
    driver.act(|it| it.handle_timer(super::adapter::HISTORY_TIMER));
    assert_eq!(driver.last_method(), "session/prompt", "an agent that does not answer what it does not know is not waited for");
}

#[test]
fn a_history_that_gemini_sends_after_loading_is_not_logged_either() {
    let mut driver = ConversationDriver::start(&Acp, &Task { resume: Some("s".to_owned()), ..task("acp", &["/bin/gemini", "--acp"]) });
    driver.respond(initialize_result("gemini-cli", json!({})));
    assert_eq!(driver.last_method(), "session/load");
    driver.respond(session_modes("default", &["default", "yolo"]));
    assert_eq!((driver.last_method(), &driver.last_written()["params"]["modeId"]), ("session/set_mode", &json!("default")));
    driver.receive(update(json!({ "sessionUpdate": "user_message_chunk", "content": { "type": "text", "text": "before" } })));
    driver.receive(chunk("said before"));
    driver.receive(update(json!({ "sessionUpdate": "tool_call", "toolCallId": "1", "title": "old", "status": "completed" })));
    driver.respond(json!({}));
    assert_eq!(driver.last_method(), "session/prompt");
    driver.receive(chunk("[MODE_UPDATE] default"));
    driver.receive(chunk("said now"));
    assert_eq!((driver.text("agent_message_chunk"), driver.updates("tool_call").len()), ("said now".to_owned(), 0));
}

#[test]
fn a_missing_resume_method_falls_back_to_load_and_a_refused_load_ends_the_run() {
    let task = Task { resume: Some("s".to_owned()), ..task("acp", &["agent"]) };
    let mut driver = ConversationDriver::start(&Acp, &task);
    driver.respond(initialize_result("agent", json!({ "resume": {} })));
    driver.respond_with_error(-32601, "Method not found");
    assert_eq!(driver.last_method(), "session/load");
    driver.respond_with_error(-32603, "no rollout");
    let error = driver.exit(0).error.expect("an error");
    assert!(error.kind == "sessionNotFound" && error.message.contains("no rollout"), "{error:?}");
    assert!(driver.written.iter().all(|written| written["method"] != "session/new"), "never in a new session");
}

#[test]
fn a_resume_that_is_refused_without_a_word_found_no_session() {
    let task = Task { resume: Some("s".to_owned()), ..task("acp", &["agent"]) };
    let kind_after = |message: &str| {
        let mut driver = ConversationDriver::start(&Acp, &task);
        driver.respond(initialize_result("agent", json!({ "resume": {} })));
        driver.respond_with_error(-32603, message);
        driver.exit(0).error.expect("an error").kind
    };
    assert_eq!(kind_after("Internal error: service failure"), "sessionNotFound");
    assert_eq!(kind_after("the database is locked"), "provider");
}

#[test]
fn no_takeover_is_offered_before_the_session_is_saved() {
    let mut driver = driver_in_turn(&task("acp", &["/bin/gemini", "--acp", "-m", "x"]), "gemini-cli", json!({}));
    let takeovers = |driver: &ConversationDriver| driver.conversation.session().expect("a session").takeover.clone();
    assert!(takeovers(&driver).iter().all(|takeover| takeover.command.is_none() && takeover.reason.is_some()));
    driver.receive(chunk("hello"));
    driver.fire_timers();
    let takeovers = takeovers(&driver);
    let resume = takeovers.iter().find(|takeover| takeover.kind == TakeoverKind::Resume).expect("a way");
    assert_eq!(resume.command.as_deref(), Some(&["/bin/gemini", "-m", "x", "--resume", "s"].map(str::to_owned)[..]));
    assert!(resume.verified && resume.reason.is_none(), "it was seen to open the session");
    let others = takeovers.iter().filter(|takeover| !matches!(takeover.kind, TakeoverKind::Resume | TakeoverKind::ReplayCommand));
    assert!(others.clone().count() > 2 && others.clone().all(|takeover| !takeover.verified && takeover.reason.is_some()));
}

#[test]
fn takeovers_that_are_made_anew_are_of_the_same_product() {
    let session = SessionInfo { id: "s".to_owned(), path: None, resumable: true };
    for (product, then, now) in [
        (Product::Claude, &["/bin/claude-agent-acp"][..], &["/opt/claude-agent-acp"][..]),
        (Product::Codex, &["/bin/codex-acp"], &["/opt/codex-acp"]),
        (Product::Gemini, &["/bin/gemini", "--acp"], &["/opt/gemini", "--acp"]),
        (Product::OpenCode, &["/bin/opencode", "acp"], &["/opt/opencode", "acp"]),
    ] {
        let agent = AcpAgent { product, can_load: true, ..AcpAgent::default() };
        let recorded = takeovers(&agent, &task("acp", then), &session);
        let expected = takeovers(&agent, &task("acp", now), &session);
        let made = made_anew(&task("acp", now), &session, &recorded);
        let command = |ways: &[Takeover]| ways.iter().find(|way| way.kind == TakeoverKind::Resume).and_then(|way| way.command.clone());
        assert!(command(&expected).is_some());
        assert_eq!(command(&made), command(&expected));
    }
}

#[test]
fn a_launch_needs_a_program_and_opencode_is_configured_to_ask() {
    let task = task("acp", &[]);
    assert!(Acp.launch(&task, &[]).is_err());
    let launch = Acp.launch(&task, &["/usr/bin/opencode".to_owned(), "acp".to_owned()]).expect("a launch");
    let (name, rules) = &launch.env[0];
    let rules: Value = serde_json::from_str(rules).expect("JSON");
    assert_eq!((name.as_str(), &rules["bash"], &rules["edit"]), ("OPENCODE_PERMISSION", &json!("ask"), &json!("ask")));
    assert!(!launch.argv.iter().any(|word| word.contains("do it")), "no prompt in an argv");
}

fn start_probe(query: &ProbeQuery) -> Box<dyn Probe> {
    let mut probe = Acp.probe(query).expect("it has a probe");
    probe.start();
    probe
}

#[test]
fn sessions_are_listed_under_our_member_names() {
    let query = ProbeQuery::Sessions { cwd: Some("/w".to_owned()), cursor: None };
    let mut probe = start_probe(&query);
    let initialized = json!({ "id": 0, "result": initialize_result("x", json!({ "list": {} })) }).to_string();
    let Reply::Send(message) = probe.handle_line(initialized.as_bytes()) else { panic!("it asks") };
    assert!(String::from_utf8_lossy(&message).contains("session/list"));
    let result = json!({ "id": 1, "result": { "sessions": [{ "sessionId": "a", "cwd": "/w", "updatedAt": "2026-11-22T10:00:00.5Z" }, {}], "nextCursor": "n" } });
    let Reply::Done(Ok(result)) = probe.handle_line(result.to_string().as_bytes()) else { panic!("it is done") };
    assert_eq!(result, json!({ "sessions": [{ "id": "a", "cwd": "/w", "updatedAt": 1_795_341_600_500_u64 }], "nextCursor": "n" }));

    let mut probe = start_probe(&query);
    let initialized = json!({ "id": 0, "result": initialize_result("x", json!({})) }).to_string();
    assert!(
        matches!(probe.handle_line(initialized.as_bytes()), Reply::Done(Err(_))),
        "an agent without `session/list` gets no request for it"
    );
}

#[test]
fn options_are_those_of_a_new_session() {
    let mut probe = start_probe(&ProbeQuery::Options { cwd: "/w".to_owned() });
    probe.handle_line(json!({ "id": 0, "result": initialize_result("x", json!({})) }).to_string().as_bytes());
    let mut result = session_modes("a", &["a", "b"]);
    result["models"] = json!({ "availableModels": [{ "modelId": "m", "name": "M" }] });
    let Reply::Done(Ok(result)) = probe.handle_line(json!({ "id": 1, "result": result }).to_string().as_bytes()) else {
        panic!("it is done")
    };
    assert_eq!(
        result,
        json!({ "models": [{ "id": "m", "name": "M" }], "modes": [{ "id": "a", "name": "a" }, { "id": "b", "name": "b" }] })
    );
}

#[test]
fn each_preset_is_well_formed() {
    let mut names = std::collections::BTreeSet::new();
    for super::Preset { name, title, kind, command, install_hint } in super::PRESETS {
        assert!(names.insert(name) && crate::provider::kind(name).is_none(), "{name} is there already");
        assert!(name.chars().all(|c| c.is_ascii_lowercase() || c == '-') && !title.is_empty(), "{name}");
        assert!(crate::provider::kind(kind).is_some(), "{name}");
        let is_word = |word: &&str| !word.is_empty() && !word.contains(|c: char| c.is_whitespace() || "'\"$`;|&/".contains(c));
        assert!(!command.is_empty() && command.iter().all(is_word), "{name}: {command:?}");
        let is_command = install_hint.strip_prefix("install it with `").is_some_and(|rest| rest.ends_with('`'));
        assert!(is_command || install_hint.starts_with("install it from https://"), "{name}: {install_hint}");
    }
}
