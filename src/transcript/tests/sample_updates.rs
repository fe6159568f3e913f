//! Updates for the tests of whatever draws items, so that these need not know how an update looks.

use serde_json::{Value, json};

/// An update of a kind.
pub(crate) fn update(kind: &str, members: Value) -> Value {
    with(json!({ "sessionUpdate": kind }), members)
}

/// The members of both; of the same name the second's.
pub(crate) fn with(mut value: Value, members: Value) -> Value {
    let Value::Object(members) = members else { panic!("{members} is no object") };
    members.into_iter().for_each(|(name, member)| value[name] = member);
    value
}

fn chunk(kind: &str, id: &str, text: &str) -> Value {
    update(kind, json!({ "messageId": id, "content": { "type": "text", "text": text } }))
}

pub(crate) fn prompt(text: &str) -> Value {
    chunk("user_message_chunk", "", text)
}

pub(crate) fn message(id: &str, text: &str) -> Value {
    chunk("agent_message_chunk", id, text)
}

pub(crate) fn thought(id: &str, text: &str) -> Value {
    chunk("agent_thought_chunk", id, text)
}

/// The whole text of a message of which something else was said before.
pub(crate) fn corrected(id: &str, text: &str) -> Value {
    with(message(id, text), json!({ "_meta": { "loomd/contradiction": { "at": 1 } } }))
}

/// The message is given up.
pub(crate) fn abandoned(id: &str) -> Value {
    with(message(id, ""), json!({ "_meta": { "loomd/abandoned": true } }))
}

/// The update as one of a sub-agent's.
pub(crate) fn below(tool: &str, value: Value) -> Value {
    with(value, json!({ "_meta": { "loomd/parentToolCallId": tool } }))
}

pub(crate) fn tool(id: &str, members: Value) -> Value {
    with(update("tool_call_update", json!({ "toolCallId": id })), members)
}

/// What the output of a running tool call grows by.
pub(crate) fn output(id: &str, offset: usize, text: &str) -> Value {
    tool(id, json!({ "_meta": { "loomd/output": { "offset": offset, "text": text } } }))
}
