//! An ACP editor above `loomd acp`, which has the agent below.

use serde_json::{Value, json};

use super::GREETING;
use crate::{
    harness::{AcpPeer, descendants, kill},
    world::World,
};

/// Answers a permission request with its option of this kind.
fn answer(peer: &mut AcpPeer, question: &Value, kind: &str) {
    let options = question["params"]["options"].as_array().expect("options");
    let option = options.iter().find(|option| option["kind"] == kind).unwrap_or_else(|| panic!("no option {kind}: {question}"));
    let id = option["optionId"].as_str().expect("an id").to_owned();
    peer.answer(question, &id);
}

/// A prompt, a question, a cancelled turn; and a turn that outlives the editor, its `loomd acp` and the server behind that.
pub(crate) fn an_editor(world: &World) {
    let mut peer = world.editor();
    let session = peer.new_session(world.work());
    assert_eq!(peer.turn(&session, "fake:hello"), "end_turn");
    assert_eq!(peer.text("agent_message_chunk"), GREETING, "each word once");

    let prompt = peer.prompt(&session, "fake:approval");
    let question = peer.question();
    assert!(!world.has("approved.txt"), "nothing happens before the answer");
    answer(&mut peer, &question, "allow_once");
    assert_eq!(peer.stop_reason(prompt), "end_turn");
    assert!(world.has("approved.txt"));

    peer.call("session/set_mode", json!({ "sessionId": session, "modeId": "bypass" }));
    let prompt = peer.prompt(&session, "fake:sleep");
    world.wait_for_the_command();
    peer.notify("session/cancel", json!({ "sessionId": session }));
    assert_eq!(peer.stop_reason(prompt), "cancelled");

    let session = peer.new_session(world.work());
    peer.updates.clear();
    peer.prompt(&session, "fake:gate");
    peer.wait_for_text("Hello");
    let servers: Vec<_> = descendants(peer.pid()).into_iter().filter(|process| process.parent == peer.pid()).collect();
    assert_eq!(servers.len(), 1, "{servers:?}");
    peer.kill();
    kill(servers[0].pid);
    let mut peer = world.editor();
    peer.load(world.work(), &session, json!({}));
    assert!(!peer.text("agent_message_chunk").contains("tests"), "the gate is closed");
    world.open_the_gate();
    peer.wait_for_text("tests: naïve ✓.");
    assert_eq!(peer.text("agent_message_chunk"), GREETING, "no gap and no repeat");

    let mut server = world.server();
    for run in server.call("run/list", json!({ "states": ["running", "idle"] }))["runs"].as_array().expect("runs") {
        server.cancel(run["id"].as_str().expect("an id"));
    }
}
