//! Turns of an ACP client: prompts, questions, cancellation, the queue, steering, and how they end.

use serde_json::{Value, json};

use super::client::{AcpPeer, PeerSetup};
use crate::{
    agents::{params_with, scripted},
    harness::Home,
};

#[test]
fn a_prompt_streams_its_turn_and_ends_with_the_stop_reason() {
    let home = Home::new();
    let mut peer = AcpPeer::start(&home);
    let session = peer.new_session(&home);
    assert_eq!(peer.turn(&session, "think hm\nsay one two three\ntool execute 100"), "end_turn");
    assert_eq!((peer.text("agent_thought_chunk"), peer.text("agent_message_chunk")), ("hm".to_owned(), "one two three".to_owned()));
    assert_eq!(peer.updates_of("agent_message_chunk").count(), 3, "as they came, and all before the answer");
    assert_eq!(peer.text("user_message_chunk"), "", "the client shows its own prompt itself");
    assert_eq!(peer.updates_of("tool_call").count(), 1);
    let ended = peer.updates_of("tool_call_update").find(|update| update["status"] == "completed").expect("the end of the call");
    assert!(ended["content"][0]["content"]["text"].as_str().expect("a text").starts_with("0123456789"));
    assert_eq!(peer.turn(&session, "refuse"), "refusal");
    let prompt = peer.prompt(&session, "fail the model is gone");
    let error = peer.response(prompt).expect_err("the turn failed");
    assert!(error["message"].as_str().expect("a text").contains("the model is gone"), "{error}");
    assert_eq!((&error["code"], &error["data"]["error"]["kind"]), (&json!(-32603), &json!("provider")), "{error}");
    let prompt = peer.prompt(&session, "fail Authentication required");
    let error = peer.response(prompt).expect_err("the turn failed");
    assert_eq!((&error["code"], &error["data"]["error"]["kind"]), (&json!(-32000), &json!("auth")), "{error}");
    end(&home, &session);
}

#[test]
fn a_question_goes_to_every_client_and_the_first_answer_wins() {
    let home = Home::new();
    let (mut first, mut second) = (AcpPeer::start(&home), AcpPeer::start(&home));
    let session = first.new_session(&home);
    first.turn(&session, "say hello");
    second.load(&home, &session, json!({}));
    let prompt = first.prompt(&session, "ask execute");
    let (asked, also_asked) = (first.question(), second.question());
    assert_eq!(asked["params"]["options"], also_asked["params"]["options"]);
    second.answer(&also_asked, "no");
    first.wait("the question to be withdrawn", |peer| peer.messages.iter().any(|message| message["method"] == "$/cancel_request"));
    let withdrawn = first.messages.iter().find(|message| message["method"] == "$/cancel_request").expect("it is there");
    assert_eq!(withdrawn["params"]["requestId"], asked["id"]);
    assert_eq!(first.stop_reason(prompt), "end_turn");
    assert!(first.text("agent_message_chunk").ends_with("chosen: no"), "the late answer changes nothing");
    second.wait_for_text("chosen: no");
    assert_eq!(second.text("user_message_chunk"), "say helloask execute", "prompts of other clients are shown");
    assert!(!second.messages.iter().any(|message| message["method"] == "$/cancel_request"), "its own answer needs no withdrawal");
    end(&home, &session);
}

#[test]
fn a_dismissed_question_is_no_answer_and_is_asked_again() {
    let home = Home::new();
    let mut peer = AcpPeer::start(&home);
    let session = peer.new_session(&home);
    let prompt = peer.prompt(&session, "ask execute");
    let question = peer.question();
    peer.send(&json!({ "jsonrpc": "2.0", "id": question["id"], "result": { "outcome": { "outcome": "cancelled" } } }));
    let mut second = AcpPeer::start(&home);
    second.load(&home, &session, json!({}));
    let again = second.question();
    second.answer(&again, "yes");
    assert_eq!(peer.stop_reason(prompt), "end_turn");
    assert_eq!(peer.text("agent_message_chunk"), "chosen: yes");
    end(&home, &session);
}

#[test]
fn cancel_stops_the_turn_and_its_question() {
    let home = Home::new();
    let mut peer = AcpPeer::start(&home);
    let session = peer.new_session(&home);
    let prompt = peer.prompt(&session, "say begun\nwait");
    peer.wait_for_text("begun");
    peer.notify("session/cancel", json!({ "sessionId": session }));
    assert_eq!(peer.stop_reason(prompt), "cancelled");
    let prompt = peer.prompt(&session, "ask execute\nwait");
    let question = peer.question();
    peer.notify("session/cancel", json!({ "sessionId": session }));
    assert_eq!(peer.stop_reason(prompt), "cancelled");
    let is_withdrawal = |message: &Value| message["method"] == "$/cancel_request" && message["params"]["requestId"] == question["id"];
    assert!(peer.messages.iter().any(is_withdrawal), "{:?}", peer.messages);
    assert_eq!(peer.turn(&session, "say still here"), "end_turn", "the session goes on");
    end(&home, &session);
}

#[test]
fn a_second_prompt_is_queued_and_answered_by_its_own_turn() {
    let home = Home::new();
    let mut peer = AcpPeer::start(&home);
    let session = peer.new_session(&home);
    let first = peer.prompt(&session, "say first\nask execute");
    let question = peer.question();
    let second = peer.prompt(&session, "refuse");
    let third = peer.prompt(&session, "say third");
    let is_queued = |peer: &AcpPeer| peer.updates_of("session_info_update").any(|update| update["_meta"]["loomd"]["queued"] == 2);
    peer.wait("the length of the queue", is_queued);
    assert!(!peer.has_response(first) && !peer.has_response(second) && !peer.has_response(third));
    peer.answer(&question, "yes");
    assert_eq!([first, second, third].map(|prompt| peer.stop_reason(prompt)), ["end_turn", "refusal", "end_turn"]);
    assert!(peer.text("agent_message_chunk").ends_with("third"));
    end(&home, &session);
}

#[test]
fn a_prompt_of_another_client_is_not_taken_for_ones_own() {
    let home = Home::new();
    let mut server = home.server();
    let mut peer = AcpPeer::start(&home);
    let session = peer.new_session(&home);
    let first = peer.prompt(&session, "ask execute");
    let question = peer.question();
    server.call("run/send", json!({ "runId": session, "prompt": "refuse" }));
    let mine = peer.prompt(&session, "say mine");
    peer.wait("the length of the queue", |peer| {
        peer.updates_of("session_info_update").any(|update| update["_meta"]["loomd"]["queued"] == 2)
    });
    peer.answer(&question, "yes");
    assert_eq!([first, mine].map(|prompt| peer.stop_reason(prompt)), ["end_turn", "end_turn"]);
    assert_eq!(peer.text("user_message_chunk"), "refuse", "only the other client's prompt is shown");
    end(&home, &session);
}

#[test]
fn steering_says_what_became_of_the_message() {
    let home = Home::new();
    let mut peer = AcpPeer::start(&home);
    let session = peer.new_session(&home);
    let steer =
        |text: &str| json!({ "sessionId": session, "prompt": [{ "type": "text", "text": text }], "idleBehavior": "promptRequired" });
    assert_eq!(peer.call("_session/steering", steer("x"))["outcome"], "promptRequired");
    let prompt = peer.prompt(&session, "ask execute");
    let question = peer.question();
    // This agent cannot be steered, so the message has a turn of its own.
    assert_eq!(peer.call("_session/steering", steer("say steered"))["outcome"], "startedNewTurn");
    let behind = peer.prompt(&session, "refuse");
    peer.answer(&question, "yes");
    assert_eq!([prompt, behind].map(|prompt| peer.stop_reason(prompt)), ["end_turn", "refusal"], "each prompt has its own turn's end");
    peer.wait_for_text("steered");
    assert_eq!(peer.text("user_message_chunk"), "", "the client shows its own messages itself");
    let mut idle = steer("say by itself");
    idle.as_object_mut().expect("an object").remove("idleBehavior");
    home.server().get_until(&session, "the end of the steered turn", |run| run["state"] == "idle");
    assert_eq!(peer.call("_session/steering", idle)["outcome"], "startedNewTurn");
    peer.wait_for_text("by itself");
    end(&home, &session);
}

#[test]
fn an_agent_that_cannot_be_started_is_told_by_new() {
    let home = Home::new();
    let setup = PeerSetup { arguments: ["--", "no-such-agent"].map(str::to_owned).to_vec(), ..PeerSetup::scripted(&home) };
    let error = setup.start(&home).expect_error("session/new", json!({ "cwd": home.path(), "mcpServers": [] }));
    assert_eq!(error["data"]["kind"], "spawnFailed", "{error}");
}

#[test]
fn an_ended_run_is_resumed_by_the_next_prompt() {
    let home = Home::new();
    let mut server = home.server();
    let (_, mut log) = server.start(params_with(&home, "say one", json!({ "command": scripted(&home, &[]) })));
    server.follow_to_end(&mut log);
    let mut peer = AcpPeer::start(&home);
    peer.load(&home, &log.run, json!({}));
    assert_eq!(peer.turn(&log.run, "say two"), "end_turn");
    assert_eq!(peer.text("agent_message_chunk"), "onetwo");
    let second = peer.position()["runId"].as_str().expect("a run").to_owned();
    let run = server.get(&second);
    assert_eq!((&run["parentRunId"], &run["labels"]["acp.session"]), (&json!(log.run), &json!(log.run)));
    end(&home, &second);
}

/// Ends a session's run, for the test's home allows no process to be left.
pub(super) fn end(home: &Home, run: &str) {
    home.server().cancel(run);
}
