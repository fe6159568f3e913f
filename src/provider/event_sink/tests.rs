//! Which updates follow from what an adapter reports.

use super::*;
use crate::model::task::object;

fn updates(out: &mut EventSink) -> Vec<Value> {
    let events = std::mem::take(&mut out.events);
    events
        .into_iter()
        .map(|event| match event {
            ProviderEvent::Do(Action::Log(EntryBody::Update(update))) => Value::Object(update),
            other => panic!("{other:?} is no update"),
        })
        .collect()
}

#[test]
fn a_repeated_text_is_logged_once() {
    let mut out = EventSink::default();
    out.text_delta(Role::Agent, Some("m"), "Hel");
    out.text_whole(Role::Agent, Some("m"), "Hello");
    out.text_whole(Role::Agent, Some("m"), "Hello");
    let logged: Vec<Value> = updates(&mut out).iter().map(|update| update["content"]["text"].clone()).collect();
    assert_eq!(logged, ["Hel", "lo"]);
}

#[test]
fn a_contradicting_text_is_logged_whole_with_its_position() {
    let mut out = EventSink::default();
    out.text_delta(Role::Agent, Some("m"), "Hallo");
    out.text_whole(Role::Agent, Some("m"), "Hello");
    let last = updates(&mut out).pop().expect("an update");
    assert_eq!((&last["content"]["text"], &last["_meta"]["loomd/contradiction"]["at"]), (&json!("Hello"), &json!(1)));
    out.text_whole(Role::Agent, Some("m"), "Hello");
    assert_eq!(updates(&mut out), Vec::<Value>::new(), "the whole text is known");
}

#[test]
fn unnamed_deltas_are_one_message_until_something_else_happens() {
    let mut out = EventSink::default();
    out.text_delta(Role::Thought, None, "Hm");
    out.text_delta(Role::Agent, None, "a");
    out.text_delta(Role::Agent, None, "b");
    out.tool_call("t", object(json!({ "title": "ls" })));
    out.text_delta(Role::Agent, None, "c");
    let ids: Vec<Value> =
        updates(&mut out).iter().filter(|update| update["content"].is_object()).map(|update| update["messageId"].clone()).collect();
    assert!(ids[1] == ids[2] && ids[0] != ids[1] && ids[3] != ids[2], "{ids:?}");
}

#[test]
fn updates_of_a_sub_agent_name_its_tool_call() {
    let mut out = EventSink::default();
    out.set_parent(Some("task"));
    out.text_delta(Role::Agent, Some("m"), "below");
    out.set_parent(None);
    out.text_delta(Role::Agent, Some("n"), "above");
    let logged = updates(&mut out);
    assert_eq!(logged[0]["_meta"]["loomd/parentToolCallId"], "task");
    assert_eq!(logged[1].get("_meta"), None);
}
