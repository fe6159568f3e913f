//! What a conversation does in the same way for every provider.

use serde_json::json;

use super::Conversation;
use crate::{
    model::{
        RunState, Takeover, Task,
        calls::PermissionMode,
        task::{ContentBlocks, Plain, text_block},
    },
    provider::{
        Adapter, Answer, Exit,
        event_sink::EventSink,
        provider_event::{Action, EntryBody, SessionInfo, TurnEnd},
    },
};

/// A provider whose lines each name one event.
struct ScriptedProvider;

impl Adapter for ScriptedProvider {
    fn start(&mut self, out: &mut EventSink) {
        out.ready();
    }

    fn handle_line(&mut self, line: &[u8], out: &mut EventSink) {
        match line {
            b"took" => out.prompt_accepted(),
            b"too late" => out.prompt_returned(0),
            b"done" => out.turn_ended(TurnEnd::new("end_turn")),
            b"stopped" => out.turn_ended(TurnEnd::new("cancelled")),
            other => panic!("{other:?}"),
        }
    }

    fn start_turn(&mut self, prompt: &ContentBlocks, out: &mut EventSink) {
        out.send(prompt);
    }

    fn steer(&mut self, _prompt: &ContentBlocks, _out: &mut EventSink) -> bool {
        true
    }

    fn interrupt(&mut self, _out: &mut EventSink) {}

    fn answer(&mut self, _question: &str, _answer: &Answer, _out: &mut EventSink) -> bool {
        true
    }

    fn takeovers(&self, _session: &SessionInfo) -> Vec<Takeover> {
        Vec::new()
    }
}

fn conversation() -> Conversation {
    let task = Task {
        provider: "scripted".to_owned(),
        kind: "scripted".to_owned(),
        prompt: Some(vec![text_block("first")]),
        cwd: "/".to_owned(),
        model: None,
        permissions: PermissionMode::Ask,
        resume: None,
        session_id: String::new(),
        interactive: false,
        is_root: false,
        program: Vec::new(),
        mcp_servers: Vec::new(),
        args: Vec::new(),
        plain: Plain::default(),
        start_timeout_seconds: 60,
    };
    let mut conversation = Conversation::new(&task, Box::new(ScriptedProvider));
    conversation.start();
    conversation.handle_line(b"took");
    conversation
}

fn actions(conversation: &mut Conversation) -> Vec<Action> {
    std::iter::from_fn(|| conversation.next_action()).collect()
}

#[test]
fn a_returned_prompt_has_a_turn_of_its_own() {
    let mut conversation = conversation();
    conversation.send(vec![text_block("and this")], true).expect("it is accepted");
    conversation.handle_line(b"too late");
    assert!(actions(&mut conversation).contains(&Action::QueueLength(1)));
    conversation.handle_line(b"done");
    let actions = actions(&mut conversation);
    let write = Action::Write(format!("{}\n", json!([text_block("and this")])).into_bytes());
    assert!(actions.contains(&write) && conversation.is_in_turn() && !actions.contains(&Action::Finish), "{actions:?}");
}

#[test]
fn a_returned_prompt_does_not_keep_a_stopping_run_alive() {
    let mut conversation = conversation();
    conversation.send(vec![text_block("and this")], true).expect("it is accepted");
    conversation.stop(crate::model::entry::ResolvedBy::Client);
    conversation.handle_line(b"too late");
    conversation.handle_line(b"stopped");
    let actions = actions(&mut conversation);
    assert!(actions.contains(&Action::Finish) && !conversation.is_in_turn(), "{actions:?}");
    let is_notice =
        |action: &Action| matches!(action, Action::Log(EntryBody::Update(update)) if json!(update).to_string().contains("dropped"));
    assert!(actions.iter().any(is_notice), "{actions:?}");
}

#[test]
fn a_turn_that_the_agent_cancelled_cancels_the_run() {
    let mut conversation = conversation();
    conversation.handle_line(b"stopped");
    let exit = Exit { code: Some(0), signal: None };
    assert_eq!(conversation.handle_exit(&exit, "").state, RunState::Cancelled);
}
