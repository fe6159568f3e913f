//! The commands of loomd that a prompt may begin with, and clients that drop what comes outside of a prompt.

use serde_json::json;

use super::{
    client::{AcpPeer, PeerSetup},
    turns::end,
};
use crate::{
    agents::params_with,
    harness::{Gate, Home, until},
};

#[test]
fn follow_joins_a_running_turn_and_ends_with_it() {
    let home = Home::new();
    let mut server = home.server();
    let (_, mut log) = server.start(params_with(&home, "say begun\nask execute\nsay over\nrefuse", json!({ "interactive": true })));
    crate::agents::follow_to_state(&mut server, &mut log, "awaitingPermission");
    // This client drops what comes outside of a prompt, so nothing may come there.
    let setup = PeerSetup { name: "CodeCompanion.nvim", ..PeerSetup::scripted(&home) };
    let mut peer = setup.start(&home);
    peer.load(&home, &log.run, json!({}));
    assert_eq!(peer.text("agent_message_chunk"), "begun");
    let follow = peer.prompt(&log.run, "/follow");
    let question = peer.question();
    peer.answer(&question, "yes");
    assert_eq!(peer.stop_reason(follow), "refusal", "the stop reason is the turn's");
    assert_eq!(peer.text("agent_message_chunk"), "begunchosen: yesover");
    // Between prompts nothing comes; with the next prompt it comes from where the client was.
    server.call("run/send", json!({ "runId": log.run, "prompt": "say unseen" }));
    crate::agents::follow_to_turn_end(&mut server, &mut log, 2);
    assert_eq!(peer.turn(&log.run, "say mine"), "end_turn");
    assert_eq!(peer.text("agent_message_chunk"), "begunchosen: yesoverunseenmine");
    let chunks = peer.messages.iter().filter(|message| message["params"]["update"]["sessionUpdate"] == "user_message_chunk");
    assert_eq!(chunks.count(), 2, "the first prompt, and the other client's");
    assert_eq!(peer.turn(&log.run, "/follow"), "end_turn");
    assert!(peer.text("agent_message_chunk").ends_with("No turn is running."));
    end(&home, &log.run);
}

#[test]
fn runs_are_listed_searched_and_started_from_a_prompt() {
    let home = Home::new();
    let mut gate = Gate::new(home.path(), "gate");
    let mut peer = AcpPeer::start(&home);
    let session = peer.new_session(&home);
    assert_eq!(peer.turn(&session, &format!("/run echo needle; {}; exit 3", gate.wait())), "end_turn");
    let listed = peer.call("session/list", json!({}));
    let command = listed["sessions"][0]["sessionId"].as_str().expect("a session of its own").to_owned();
    assert!(peer.text("agent_message_chunk").contains(&command));
    assert_eq!(peer.turn(&session, "/runs"), "end_turn");
    assert!(peer.text("agent_message_chunk").contains(&command[command.len() - 8..]));
    let mut server = home.server();
    until("the output", || server.call("run/text", json!({ "runId": command }))["text"].as_str()?.contains("needle").then_some(()));
    assert_eq!(peer.turn(&session, "/search needle"), "end_turn");
    peer.wait_for_text("needle");
    // The command's session: one tool call, live.
    let setup = PeerSetup { capabilities: json!({ "_meta": { "terminal_output": true } }), ..PeerSetup::scripted(&home) };
    let mut watcher = setup.start(&home);
    watcher.load(&home, &command, json!({}));
    let call = watcher.updates_of("tool_call").next().expect("the command").clone();
    assert_eq!((&call["kind"], &call["content"][0]["type"]), (&json!("execute"), &json!("terminal")));
    assert_eq!(call["_meta"]["terminal_info"]["terminal_id"], call["toolCallId"]);
    let follow = watcher.prompt(&command, "/follow");
    gate.open();
    assert_eq!(watcher.response(follow).expect_err("it failed")["data"]["error"]["kind"], "provider");
    let shown: String =
        watcher.updates_of("tool_call_update").filter_map(|update| update["_meta"]["terminal_output"]["data"].as_str()).collect();
    assert_eq!(shown, "needle\n");
    let last = watcher.updates_of("tool_call_update").last().expect("an end");
    assert_eq!((&last["status"], &last["_meta"]["terminal_exit"]["exit_code"]), (&json!("failed"), &json!(3)));
    assert_eq!(peer.turn(&session, "/steer say hello"), "end_turn", "without a turn it is a prompt");
    let text = peer.text("agent_message_chunk");
    assert!(text.ends_with("hello"), "{text}");
    assert_eq!(
        {
            let id = peer.prompt(&session, "/search");
            peer.response(id)
        }
        .expect_err("it needs a text")["code"],
        -32602
    );
    end(&home, &session);
}
