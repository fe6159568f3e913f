//! What breaks nothing: the end of the client, of the front end and of its server, in every way.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    client::{AcpPeer, PeerSetup, held},
    turns::end,
};
use crate::harness::{Home, Process, descendants, kill};

fn updates(peer: &AcpPeer) -> Vec<Value> {
    peer.updates.iter().map(|params| params["update"].clone()).collect()
}

#[test]
fn a_run_outlives_the_end_of_input_a_signal_and_a_kill() {
    for how in ["end of input", "signal", "kill"] {
        let home = Home::new();
        let mut peer = AcpPeer::start(&home);
        let session = peer.new_session(&home);
        peer.prompt(&session, "ask execute\nsay after");
        peer.question();
        match how {
            "end of input" => {
                peer.close_stdin();
                assert_eq!(peer.wait_for_exit(), Some(0));
            }
            "signal" => {
                peer.terminate();
                assert_eq!(peer.wait_for_exit(), Some(0));
            }
            _ => peer.kill(),
        }
        let mut peer = AcpPeer::start(&home);
        peer.load(&home, &session, json!({}));
        assert_eq!(peer.text("user_message_chunk"), "ask execute\nsay after", "{how}");
        let question = peer.question();
        peer.answer(&question, "yes");
        peer.wait_for_text("after");
        end(&home, &session);
    }
}

#[test]
fn the_front_end_goes_on_with_another_server() {
    let home = Home::new();
    let mut peer = AcpPeer::start(&home);
    let session = peer.new_session(&home);
    let prompt = peer.prompt(&session, "say before\nask execute\nsay after");
    let question = peer.question();
    let is_server = |process: &Process| process.parent == peer.pid() && process.command.contains("serve");
    let servers: Vec<_> = descendants(peer.pid()).into_iter().filter(is_server).collect();
    assert_eq!(servers.len(), 1, "{servers:?}");
    kill(servers[0].pid);
    // The prompt still waits, and another client's answer ends it.
    let mut second = AcpPeer::start(&home);
    second.load(&home, &session, json!({}));
    let again = second.question();
    assert_eq!(again["params"]["toolCall"]["toolCallId"], question["params"]["toolCall"]["toolCallId"]);
    second.answer(&again, "yes");
    assert_eq!(peer.stop_reason(prompt), "end_turn");
    assert_eq!(peer.text("agent_message_chunk"), "beforechosen: yesafter", "no gap and no repeat");
    assert_eq!(peer.turn(&session, "say more"), "end_turn");
    end(&home, &session);
}

#[test]
fn load_goes_on_after_a_position() {
    let home = Home::new();
    let mut peer = AcpPeer::start(&home);
    let session = peer.new_session(&home);
    peer.turn(&session, "say one two three\ntool execute 5000");
    let position = peer.position();
    let mut whole = AcpPeer::start(&home);
    whole.load(&home, &session, json!({}));
    assert_eq!(whole.text("agent_message_chunk"), "one two three");
    let logged: Vec<_> = whole.updates.iter().filter(|params| params["update"]["sessionUpdate"] != "available_commands_update").collect();
    for split in 0..logged.len() {
        let after = &logged[split]["_meta"]["loomd"];
        let mut part = AcpPeer::start(&home);
        part.load(&home, &session, json!({ "loomd": { "runId": after["runId"], "afterSeq": after["seq"] } }));
        let rest: Vec<_> = part.updates.iter().filter(|params| params["update"]["sessionUpdate"] != "available_commands_update").collect();
        assert_eq!(rest, logged[split + 1..], "after {after}");
    }
    peer.turn(&session, "say four");
    let mut part = AcpPeer::start(&home);
    part.call("session/resume", json!({ "sessionId": session, "cwd": home.path(), "_meta": { "loomd": position } }));
    assert_eq!(part.text("agent_message_chunk"), "four");
    let mut nothing = AcpPeer::start(&home);
    nothing.call("session/resume", json!({ "sessionId": session, "cwd": home.path() }));
    assert_eq!(nothing.text("agent_message_chunk"), "");
    let beyond = json!({ "sessionId": session, "cwd": home.path(), "mcpServers": [], "_meta": { "loomd": { "afterSeq": 100_000 } } });
    assert_eq!(nothing.expect_error("session/load", beyond)["code"], -32602);
    end(&home, &session);
}

/// One thing that an agent does.
fn step() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z ]{1,12}[a-z]".prop_map(|text| format!("say {text}")),
        "[a-z]{1,8}".prop_map(|text| format!("think {text}")),
        (1..20_000u32).prop_map(|bytes| format!("tool execute {bytes}")),
        Just("ask execute".to_owned()),
        Just("refuse".to_owned()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    /// Whatever a client held when its connection broke, what it loads after that completes it: it holds what a client
    /// holds that loads everything, and what one holds that was never cut off.
    #[test]
    fn after_any_break_a_client_holds_what_it_would_hold_without(
        prompts in prop::collection::vec(prop::collection::vec(step(), 1..4), 1..4),
        cut_after in 0..40usize,
        has_terminal in any::<bool>(),
    ) {
        let home = Home::new();
        let setup = || {
            let capabilities = if has_terminal { json!({ "_meta": { "terminal_output": true } }) } else { json!({}) };
            PeerSetup { capabilities, ..PeerSetup::scripted(&home) }
        };
        let mut peer = setup().start(&home);
        let session = peer.new_session(&home);
        peer.turn(&session, "say begin");
        let mut steady = setup().start(&home);
        steady.load(&home, &session, json!({}));
        let mut broken = Some(setup().start(&home));
        let before = broken.as_mut().expect("it is there");
        before.load(&home, &session, json!({}));
        for steps in &prompts {
            let prompt = peer.prompt(&session, &steps.join("\n"));
            for _ in 0..steps.iter().take_while(|step| *step != "refuse").filter(|step| *step == "ask execute").count() {
                let question = peer.question();
                peer.answer(&question, "yes");
            }
            peer.stop_reason(prompt);
        }
        let last = format!("say {}", "end");
        peer.turn(&session, &last);
        steady.wait_for_text("end");
        before.wait_for_text("end");
        // The client read only so much before it was killed.
        let cut = broken.take().expect("it is there");
        let seen = cut.updates.len().min(cut_after + 1);
        let position = cut.updates[..seen].iter().rev().find(|params| is_logged(params)).map(|params| params["_meta"]["loomd"].clone());
        let mut held_updates: Vec<_> = cut.updates[..seen].iter().map(|params| params["update"].clone()).collect();
        cut.kill();
        let mut again = setup().start(&home);
        let meta = match &position {
            Some(at) => json!({ "loomd": { "runId": at["runId"], "afterSeq": at["seq"] } }),
            None => { held_updates.clear(); json!({}) }
        };
        again.load(&home, &session, meta);
        held_updates.extend(updates(&again));
        let mut fresh = setup().start(&home);
        fresh.load(&home, &session, json!({}));
        prop_assert_eq!(held(&held_updates), held(&updates(&fresh)));
        prop_assert_eq!(held(&updates(&steady)), held(&updates(&fresh)));
        end(&home, &session);
    }
}

fn is_logged(params: &Value) -> bool {
    let kind = params["update"]["sessionUpdate"].as_str();
    !matches!(kind, Some("available_commands_update" | "session_info_update" | "config_option_update"))
}
