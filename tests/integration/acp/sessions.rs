//! Sessions of an ACP client: opened, listed, deleted, and what can be chosen for them.

use std::fs;

use serde_json::{Value, json};

use super::{
    client::{AcpPeer, PeerSetup, held},
    turns::end,
};
use crate::{
    agents::{params, scripted},
    harness::Home,
};

#[test]
fn initialize_says_what_loomd_can_and_comes_first() {
    let home = Home::new();
    let mut peer = PeerSetup::scripted(&home).spawn(&home);
    assert_eq!(peer.expect_error("session/new", json!({ "cwd": "/", "mcpServers": [] }))["code"], -32600);
    let result = peer.call("initialize", json!({ "protocolVersion": 1 }));
    let capabilities = &result["agentCapabilities"];
    assert_eq!((&result["protocolVersion"], &capabilities["loadSession"]), (&json!(1), &json!(true)));
    assert_eq!(capabilities["sessionCapabilities"], json!({ "list": {}, "resume": {}, "delete": {} }), "no close, which would cancel");
    assert_eq!(result["_meta"]["steering"], json!({ "supported": true, "idleBehavior": "promptRequired" }));
    assert_eq!((&result["authMethods"], &result["_meta"]["loomd"]["cursor"]), (&json!([]), &json!(true)));
    assert_eq!(peer.call("authenticate", json!({ "methodId": "whatever" })), json!({}), "some clients ask unasked");
    assert_eq!(peer.expect_error("initialize", json!({ "protocolVersion": 1 }))["code"], -32600);
    assert_eq!(peer.expect_error("session/fork", json!({}))["code"], -32601);
}

#[test]
fn a_login_is_offered_only_to_the_registry() {
    let home = Home::new();
    let setup = PeerSetup { arguments: vec!["--registry".to_owned()], ..PeerSetup::scripted(&home) };
    let mut peer = setup.spawn(&home);
    let result = peer.call("initialize", json!({ "protocolVersion": 1 }));
    assert_eq!(result["authMethods"][0]["type"], "terminal");
}

#[test]
fn new_is_answered_before_anything_else_is_sent() {
    let home = Home::new();
    let mut peer = AcpPeer::start(&home);
    let id = peer.request("session/new", json!({ "cwd": home.path(), "mcpServers": [] }));
    peer.response(id).expect("a session");
    assert!(peer.messages.is_empty(), "before the answer came {:?}", peer.messages);
    peer.wait("the commands", |peer| peer.updates_of("available_commands_update").next().is_some());
    let commands = peer.updates_of("available_commands_update").next().expect("commands")["availableCommands"].clone();
    let names: Vec<_> = commands.as_array().expect("a list").iter().map(|command| command["name"].clone()).collect();
    for name in ["follow", "runs", "search", "steer", "run"] {
        assert!(names.contains(&json!(name)), "{names:?}");
    }
}

#[test]
fn a_session_offers_its_agent_and_modes_and_sets_them() {
    let home = Home::new();
    let mut peer = AcpPeer::start(&home);
    let result = peer.call("session/new", json!({ "cwd": home.path(), "mcpServers": [] }));
    let session = result["sessionId"].as_str().expect("an id").to_owned();
    let current = |options: &Value, id: &str| {
        let option = options.as_array().expect("a list").iter().find(|option| option["id"] == id).expect("the option");
        option["currentValue"].clone()
    };
    assert_eq!(
        (current(&result["configOptions"], "_loomd_agent"), current(&result["configOptions"], "mode")),
        (json!("acp"), json!("ask"))
    );
    assert_eq!(result["modes"]["currentModeId"], "ask");
    peer.call("session/set_mode", json!({ "sessionId": session, "modeId": "bypass" }));
    assert_eq!(peer.turn(&session, "ask execute"), "end_turn");
    assert_eq!(peer.text("agent_message_chunk"), "chosen: yes", "nobody was asked");
    let set = json!({ "sessionId": session, "configId": "mode", "value": "ask" });
    assert_eq!(current(&peer.call("session/set_config_option", set)["configOptions"], "mode"), "ask");
    let unknown = json!({ "sessionId": session, "configId": "mode", "value": "perhaps" });
    assert_eq!(peer.expect_error("session/set_config_option", unknown)["code"], -32602);
    let model = json!({ "sessionId": session, "modelId": "no-such-model" });
    assert_eq!(peer.expect_error("session/set_model", model)["data"]["kind"], "unsupported", "answered, by the agent's own words");
    let agent = json!({ "sessionId": session, "configId": "_loomd_agent", "value": "codex" });
    assert_eq!(peer.expect_error("session/set_config_option", agent)["code"], -32602, "a session keeps its agent");
    end(&home, &session);
}

#[test]
fn the_list_has_sessions_once_and_a_session_of_another_client_can_be_loaded() {
    let home = Home::new();
    let mut server = home.server();
    let (run, mut log) = server.start(params(&home, "say from elsewhere"));
    server.follow_to_end(&mut log);
    let mut peer = AcpPeer::start(&home);
    let unused = peer.new_session(&home);
    let listed = peer.call("session/list", json!({ "cwd": home.path() }));
    super::client::read::<agent_client_protocol_schema::v1::ListSessionsResponse>(&listed);
    let ids: Vec<_> = listed["sessions"].as_array().expect("a list").iter().map(|session| session["sessionId"].clone()).collect();
    assert_eq!(ids, [run["id"].clone()], "a session without a prompt ({unused}) is not listed");
    assert_eq!(listed["sessions"][0]["title"], "say from elsewhere");
    peer.load(&home, &log.run, json!({}));
    assert_eq!(peer.text("user_message_chunk"), "say from elsewhere");
    assert_eq!(peer.text("agent_message_chunk"), "from elsewhere");
    // A prompt resumes the run; the session stays one.
    assert_eq!(peer.turn(&log.run, "say again"), "end_turn");
    let listed = peer.call("session/list", json!({}));
    let ids: Vec<_> = listed["sessions"].as_array().expect("a list").iter().map(|session| session["sessionId"].clone()).collect();
    assert_eq!(ids, [run["id"].clone()], "{listed}");
    let second_run = listed["sessions"][0]["_meta"]["loomd"]["runId"].as_str().expect("a run").to_owned();
    assert_ne!(second_run, log.run);
    // What comes of the second run has ids of its own.
    let mut second = AcpPeer::start(&home);
    second.load(&home, &log.run, json!({}));
    assert_eq!(second.text("user_message_chunk"), "say from elsewheresay again");
    let messages = held(second.updates.iter().map(|params| &params["update"]));
    let texts = messages.as_array().expect("a list").iter().filter(|item| item[1]["text"] != "");
    assert_eq!(texts.count(), 4, "two prompts and two answers: {messages}");
    let error =
        peer.expect_error("session/load", json!({ "sessionId": "00000000-0000-7000-8000-000000000000", "cwd": "/", "mcpServers": [] }));
    assert_eq!(error["code"], -32002, "{error}");
    end(&home, &second_run);
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|part| part == text.as_bytes())
}

/// Editors give their MCP servers to every agent, each time that a session is opened.
#[test]
fn the_agent_gets_the_servers_of_its_client_and_their_values_are_stored_nowhere() {
    let home = Home::new();
    let program = json!({ "name": "notes", "command": "/bin/notes", "args": ["--all"], "env": [{ "name": "TOKEN", "value": "told" }] });
    let remote = json!({ "type": "http", "name": "wiki", "url": "http://127.0.0.1/", "headers": [{ "name": "Key", "value": "s3cret" }] });
    let unknown = json!({ "type": "pigeon", "name": "far", "loft": 7 });
    let mut peer = AcpPeer::start(&home);
    let params = json!({ "cwd": home.path(), "mcpServers": [program, remote, unknown] });
    let session = peer.call("session/new", params.clone())["sessionId"].as_str().expect("an id").to_owned();
    assert_eq!(peer.turn(&session, "servers"), "end_turn");
    assert_eq!(peer.text("agent_message_chunk"), json!([program]).to_string(), "this agent speaks to programs only");
    // The agent itself has said the other one.
    let files: Vec<_> = home.all_paths().into_iter().filter(|path| path.is_file()).collect();
    let holders: Vec<_> = files.iter().filter(|path| fs::read(path).is_ok_and(|bytes| holds(&bytes, "s3cret"))).collect();
    assert!(files.len() > 2 && holders.is_empty(), "a value is stored in {holders:?}");
    let mut server = home.server();
    let run = server.call("run/get", json!({ "runId": session }))["run"].clone();
    assert_eq!(run["params"]["mcpServerNames"], json!(["notes", "wiki"]));
    let log = server.read_log(&session);
    let log = log.updates("notice");
    assert!(log.iter().any(|notice| notice.to_string().contains("`wiki`")), "{log:?}");
    peer.kill();
    end(&home, &session);

    // What is resumed gets those of the client that opens the session, and not those of its first run.
    let other = json!({ "name": "other", "command": "other", "args": [], "env": [] });
    let mut second = AcpPeer::start(&home);
    second.call("session/load", json!({ "sessionId": session, "cwd": home.path(), "mcpServers": [other] }));
    second.updates.clear();
    assert_eq!(second.turn(&session, "servers"), "end_turn");
    assert_eq!(second.text("agent_message_chunk"), json!([other]).to_string());
    let resumed = server.call("run/list", json!({ "limit": 1 }))["runs"][0]["id"].clone();
    end(&home, resumed.as_str().expect("an id"));
}

/// A client whose configuration has two ACP agents and a plain command line.
fn configured(home: &Home, provider: &str) -> AcpPeer {
    let argv = json!(scripted(home, &[]));
    let resume = json!(["sh", "-c", "printf '<%s>' \"$@\"", "sh", "{session}", "{prompt}"]);
    let plain = json!(["sh", "-c", "echo 'session s-7'; printf '<%s>' \"$1\"", "sh", "{prompt}"]);
    let text = format!(
        "[providers.one]\nkind = \"acp\"\ncommand = {argv}\n[providers.two]\nkind = \"acp\"\ncommand = {argv}\n\
         [providers.tool]\nkind = \"command\"\ncommand = {plain}\nsession = 'session ([\\w-]+)'\nresume = {resume}\n"
    );
    let path = home.file("config.toml", text.as_bytes());
    let arguments = ["--provider", provider, "--config", &path].map(str::to_owned).to_vec();
    PeerSetup { arguments, ..PeerSetup::scripted(home) }.start(home)
}

#[test]
fn another_agent_can_be_chosen_before_the_first_prompt() {
    let home = Home::new();
    let mut peer = configured(&home, "one");
    let session = peer.new_session(&home);
    let set = json!({ "sessionId": session, "configId": "_loomd_agent", "value": "two" });
    let options = peer.call("session/set_config_option", set)["configOptions"].clone();
    assert_eq!(options[0]["currentValue"], "two");
    assert_eq!(peer.turn(&session, "say hello"), "end_turn");
    let run = peer.position()["runId"].as_str().expect("a run").to_owned();
    let mut server = home.server();
    assert_eq!((&server.get(&run)["provider"], &server.get(&run)["labels"]["acp.session"]), (&json!("two"), &json!(session)));
    assert_eq!(server.expect_failure("run/get", json!({ "runId": session })).kind, "runNotFound", "the first agent's run is gone");
    let mut again = configured(&home, "one");
    again.load(&home, &session, json!({}));
    assert_eq!(again.text("agent_message_chunk"), "hello", "the session keeps its id");
    end(&home, &run);
}

/// Two processes of an agent that start at once are in each other's way, and one is enough.
#[test]
fn an_agent_that_tells_its_models_is_started_once() {
    let home = Home::new();
    let starts = home.path().join("starts");
    let script = format!("echo start >>'{}'; exec \"$@\"", starts.display());
    let argv: Vec<_> = ["sh", "-c", &script, "sh"].map(str::to_owned).into_iter().chain(scripted(&home, &["--models"])).collect();
    let path = home.file("config.toml", format!("[providers.one]\nkind = \"acp\"\ncommand = {}\n", json!(argv)).as_bytes());
    let arguments = ["--provider", "one", "--config", &path].map(str::to_owned).to_vec();
    let mut peer = PeerSetup { arguments, ..PeerSetup::scripted(&home) }.start(&home);
    let session = peer.new_session(&home);
    peer.wait("the models", |peer| {
        let options = peer.updates_of("config_option_update").filter_map(|update| update["configOptions"].as_array()).flatten();
        options.into_iter().any(|option| option["id"] == "model")
    });
    assert_eq!(peer.turn(&session, "say hello"), "end_turn");
    assert_eq!(fs::read_to_string(starts).expect("a file"), "start\n");
    end(&home, &session);
}

#[test]
fn the_agents_own_options_are_offered_and_set() {
    let home = Home::new();
    let mut arguments = vec!["--".to_owned()];
    arguments.extend(scripted(&home, &["--options"]));
    let mut peer = PeerSetup { arguments, ..PeerSetup::scripted(&home) }.start(&home);
    let session = peer.new_session(&home);
    assert_eq!(peer.turn(&session, "say hello"), "end_turn");
    let set = |id: &str, value: Value| json!({ "sessionId": session, "configId": id, "value": value });
    peer.call("session/set_config_option", set("effort", json!("high")));
    peer.wait("the option to be set", |peer| {
        let told = peer.updates_of("config_option_update").last();
        let options = told.and_then(|update| update["configOptions"].as_array());
        options.into_iter().flatten().any(|option| option["id"] == "effort" && option["currentValue"] == "high")
    });
    let error = peer.expect_error("session/set_config_option", set("effort", json!("max")));
    assert!(error["message"].as_str().is_some_and(|message| message.contains("low, high")), "{error}");
    assert_eq!(peer.turn(&session, "options"), "end_turn");
    assert!(peer.text("agent_message_chunk").contains("\"effort\": \"high\""));
    end(&home, &session);
}

#[test]
fn an_agent_that_handles_one_prompt_a_run_has_a_session_all_the_same() {
    let home = Home::new();
    let mut peer = configured(&home, "tool");
    let session = peer.new_session(&home);
    assert_eq!(peer.turn(&session, "first"), "end_turn");
    let first = peer.position()["runId"].clone();
    assert_eq!(peer.turn(&session, "second"), "end_turn");
    let second = peer.position()["runId"].as_str().expect("a run").to_owned();
    let mut server = home.server();
    assert_eq!(server.get(&second)["parentRunId"], first);
    assert_eq!(server.read_log(&second).stdout_text(), "<s-7><second>");
    let mut again = configured(&home, "tool");
    again.load(&home, &session, json!({}));
    assert_eq!(again.text("user_message_chunk"), "firstsecond");
    assert_eq!(again.call("session/list", json!({}))["sessions"].as_array().map(Vec::len), Some(1));
}

#[test]
fn a_session_is_deleted_but_not_while_it_works() {
    let home = Home::new();
    let mut peer = AcpPeer::start(&home);
    let session = peer.new_session(&home);
    let prompt = peer.prompt(&session, "say begun\nwait");
    peer.wait_for_text("begun");
    assert_eq!(peer.expect_error("session/delete", json!({ "sessionId": session }))["data"]["kind"], "runActive");
    peer.notify("session/cancel", json!({ "sessionId": session }));
    assert_eq!(peer.stop_reason(prompt), "cancelled");
    peer.call("session/delete", json!({ "sessionId": session }));
    assert_eq!(peer.call("session/list", json!({}))["sessions"], json!([]));
    let mut server = home.server();
    assert_eq!(server.expect_failure("run/get", json!({ "runId": session })).kind, "runNotFound");
}

#[test]
fn sessions_that_had_no_prompt_leave_nothing_behind() {
    let home = Home::new();
    let mut peer = AcpPeer::start(&home);
    let unused = peer.new_session(&home);
    let used = peer.new_session(&home);
    assert_eq!(peer.turn(&used, "say kept"), "end_turn");
    peer.close_stdin();
    assert_eq!(peer.wait_for_exit(), Some(0));
    let mut server = home.server();
    assert_eq!(server.expect_failure("run/get", json!({ "runId": unused })).kind, "runNotFound");
    assert_eq!(server.get(&used)["state"], "idle");
    server.cancel(&used);
}
