//! What a conversation does with its provider, whatever the provider.

use serde_json::json;

use super::{
    Act, Adapter, Answer, Body, Conversation, Exit, Task,
    effect::{SessionNews, TurnEnd},
    out::Out,
    task::{Blocks, Plain, text_block},
};
use crate::model::{RunState, Takeover, calls::PermissionMode};

/// A provider whose every line is one thing that happens.
struct Told;

impl Adapter for Told {
    fn begin(&mut self, out: &mut Out) {
        out.ready();
    }

    fn line(&mut self, line: &[u8], out: &mut Out) {
        match line {
            b"took" => out.took(),
            b"too late" => out.give_back(0),
            b"done" => out.turn_ended(TurnEnd::new("end_turn")),
            b"stopped" => out.turn_ended(TurnEnd::new("cancelled")),
            other => panic!("{other:?}"),
        }
    }

    fn prompt(&mut self, prompt: &Blocks, out: &mut Out) {
        out.send(prompt);
    }

    fn steer(&mut self, _prompt: &Blocks, _out: &mut Out) -> bool {
        true
    }

    fn interrupt(&mut self, _out: &mut Out) {}

    fn answer(&mut self, _question: &str, _answer: &Answer, _out: &mut Out) {}

    fn takeovers(&self, _session: &SessionNews) -> Vec<Takeover> {
        Vec::new()
    }
}

fn conversation() -> Conversation {
    let task = Task {
        provider: "told".to_owned(),
        kind: "told".to_owned(),
        prompt: Some(vec![text_block("first")]),
        cwd: "/".to_owned(),
        model: None,
        permissions: PermissionMode::Ask,
        resume: None,
        session_id: String::new(),
        interactive: false,
        is_root: false,
        program: Vec::new(),
        plain: Plain::default(),
    };
    let mut conversation = Conversation::new(&task, Box::new(Told));
    conversation.begin();
    conversation.line(b"took");
    conversation
}

fn acts(conversation: &mut Conversation) -> Vec<Act> {
    std::iter::from_fn(|| conversation.next_act()).collect()
}

#[test]
fn a_prompt_that_came_too_late_has_a_turn_of_its_own() {
    let mut conversation = conversation();
    conversation.send(vec![text_block("and this")], true).expect("it is taken");
    conversation.line(b"too late");
    assert!(acts(&mut conversation).contains(&Act::Queued(1)));
    conversation.line(b"done");
    let acts = acts(&mut conversation);
    let given = Act::Write(format!("{}\n", json!([text_block("and this")])).into_bytes());
    assert!(acts.contains(&given) && conversation.is_in_turn() && !acts.contains(&Act::Finish), "{acts:?}");
}

#[test]
fn a_prompt_that_comes_back_does_not_hold_up_the_end() {
    let mut conversation = conversation();
    conversation.send(vec![text_block("and this")], true).expect("it is taken");
    conversation.stop(crate::model::entry::ResolvedBy::Client);
    conversation.line(b"too late");
    conversation.line(b"stopped");
    let acts = acts(&mut conversation);
    assert!(acts.contains(&Act::Finish) && !conversation.is_in_turn(), "{acts:?}");
    let told = |act: &Act| matches!(act, Act::Log(Body::Update(update)) if json!(update).to_string().contains("dropped"));
    assert!(acts.iter().any(told), "{acts:?}");
}

#[test]
fn what_the_agent_cancelled_did_not_succeed() {
    let mut conversation = conversation();
    conversation.line(b"stopped");
    let exit = Exit { code: Some(0), signal: None };
    assert_eq!(conversation.ended(&exit, "").state, RunState::Cancelled);
}
