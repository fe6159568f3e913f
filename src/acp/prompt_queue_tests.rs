use serde_json::json;

use super::*;
use crate::model::{
    RunId,
    task::{object, text_block},
};

fn state(state: RunState, turn: u64, stop_reason: Option<&str>) -> StateEntry {
    let entry = json!({ "runId": RunId::new(), "seq": 1, "at": 1, "state": state, "turn": turn, "stopReason": stop_reason });
    serde_json::from_value(entry).expect("an entry")
}

/// The agent takes a prompt. Whether it is this client's own.
fn taken(queue: &mut PromptQueue, text: &str, message: &str) -> bool {
    queue.is_own_prompt(&object(json!({ "sessionUpdate": "user_message_chunk", "messageId": message, "content": text_block(text) })))
}

fn push(queue: &mut PromptQueue, text: &str) -> oneshot::Receiver<PromptOutcome> {
    queue.push(vec![text_block(text)]).1
}

/// The turn runs, takes a prompt and ends: what is answered.
fn turn(queue: &mut PromptQueue, number: u64, text: &str, stop_reason: &str) -> (bool, Vec<PromptOutcome>) {
    queue.change_state(&state(RunState::Running, number, None));
    let is_own = taken(queue, text, &number.to_string());
    let due = queue.change_state(&state(RunState::Idle, number, Some(stop_reason)));
    (is_own, due.into_iter().map(|due| due.outcome).collect())
}

#[test]
fn a_prompt_is_answered_by_the_turn_that_logs_it() {
    let mut queue = PromptQueue::default();
    let waiting = [push(&mut queue, "mine"), push(&mut queue, "mine too")];
    assert_eq!(turn(&mut queue, 1, "theirs", "refusal"), (false, vec![]));
    assert_eq!(turn(&mut queue, 2, "mine", "max_tokens"), (true, vec![Ok("max_tokens".to_owned())]));
    assert!(!queue.is_empty());
    assert_eq!(turn(&mut queue, 3, "mine too", "end_turn"), (true, vec![Ok("end_turn".to_owned())]));
    assert!(queue.is_empty());
    drop(waiting);
}

#[test]
fn a_long_prompt_is_known_by_its_pieces() {
    let mut queue = PromptQueue::default();
    let _waiting = push(&mut queue, "one two");
    queue.change_state(&state(RunState::Running, 1, None));
    assert!(taken(&mut queue, "one", "m") && taken(&mut queue, " two", "m"), "the second piece is of the same message");
    assert!(!taken(&mut queue, "one two", "n"), "it was taken already");
}

#[test]
fn a_turn_that_took_no_prompt_answers_the_oldest() {
    let mut queue = PromptQueue::default();
    let _waiting = [push(&mut queue, "a"), push(&mut queue, "b")];
    queue.change_state(&state(RunState::Running, 1, None));
    let due = queue.change_state(&state(RunState::Idle, 1, Some("error")));
    assert_eq!((due.len(), due[0].outcome.is_err()), (1, true));
}

#[test]
fn an_agent_that_is_not_ready_has_no_turn_and_a_command_is_one() {
    let mut running = state(RunState::Running, 1, None);
    running.turn = None;
    for has_turns in [true, false] {
        let mut queue = PromptQueue::default();
        queue.begin_run(has_turns);
        queue.change_state(&running);
        assert_eq!(queue.is_running(), !has_turns);
    }
}

#[test]
fn a_steered_message_is_no_prompt_of_a_turn() {
    let mut queue = PromptQueue::default();
    let _waiting = push(&mut queue, "a");
    queue.change_state(&state(RunState::Running, 1, None));
    assert!(taken(&mut queue, "a", "1"));
    queue.steer(vec![text_block("more")]);
    assert!(taken(&mut queue, "more", "2"));
    assert_eq!(queue.change_state(&state(RunState::Idle, 1, Some("end_turn"))).len(), 1);
}

#[test]
fn a_message_that_could_not_be_steered_is_the_prompt_of_its_own_turn() {
    let mut queue = PromptQueue::default();
    let _first = push(&mut queue, "a");
    queue.change_state(&state(RunState::Running, 1, None));
    assert!(taken(&mut queue, "a", "1"));
    queue.steer(vec![text_block("more")]);
    queue.queue_steered(&vec![text_block("more")]);
    let _behind = push(&mut queue, "b");
    assert_eq!(queue.change_state(&state(RunState::Idle, 1, Some("end_turn"))).len(), 1);
    queue.change_state(&state(RunState::Running, 2, None));
    assert!(taken(&mut queue, "more", "2"), "the client shows it already");
    assert_eq!(queue.change_state(&state(RunState::Idle, 2, Some("end_turn"))).len(), 1, "the one behind it still waits");
    assert!(!queue.is_empty());
}

#[test]
fn whoever_follows_a_turn_gets_its_end_and_nobody_waits_for_a_run_that_has_ended() {
    let mut queue = PromptQueue::default();
    assert!(queue.follow().is_none(), "none runs");
    queue.change_state(&state(RunState::Running, 4, None));
    let _followed = queue.follow().expect("one runs");
    let _waiting = push(&mut queue, "never taken");
    let due = queue.change_state(&state(RunState::Cancelled, 4, Some("cancelled")));
    assert_eq!((due.len(), queue.is_empty()), (2, true));
    assert_eq!(due[0].outcome, Ok("cancelled".to_owned()));
}
