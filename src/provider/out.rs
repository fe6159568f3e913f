//! What an adapter answers: words to its provider, and what the provider said as updates of the Agent Client Protocol.
//!
//! Messages and tool calls go through here, so that each text is logged once, whichever way and however often a provider says it.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{
    effect::{Effect, Question, SessionNews, TurnEnd},
    reconcile::{Compared, Streamed},
    task::{object, text_block},
    tools::Tools,
};
use crate::model::RunError;

/// Where an adapter puts what it has to say.
#[derive(Debug, Default)]
pub struct Out {
    pub(super) effects: Vec<Effect>,
    /// The texts of this turn, by role and the provider's name for them.
    texts: BTreeMap<(Role, String), Text>,
    pub(super) tools: Tools,
    /// The message that chunks without a name belong to.
    current: Option<(Role, String)>,
    messages: u64,
    /// The tool call of whose sub-agent the provider speaks.
    parent: Option<String>,
}

/// Whose text it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    User,
    Agent,
    Thought,
}

#[derive(Debug, Default)]
struct Text {
    message_id: String,
    streamed: Streamed,
}

/// How much a notice matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    Info,
    Warning,
    Error,
}

impl Out {
    // To the provider.

    /// A message as one line of JSON.
    pub fn send(&mut self, message: &impl Serialize) {
        let mut line = serde_json::to_vec(message).expect("messages always have a JSON form");
        line.push(b'\n');
        self.effects.push(Effect::Write(line));
    }

    /// Bytes as they are.
    pub fn write(&mut self, bytes: Vec<u8>) {
        self.effects.push(Effect::Write(bytes));
    }

    /// The end of the provider's stdin.
    pub fn close_stdin(&mut self) {
        self.effects.push(Effect::CloseStdin);
    }

    // About the run.

    /// The session, as far as it is known. Saying the same again does nothing.
    pub fn session(&mut self, id: &str, path: Option<&str>, resumable: bool) {
        self.effects.push(Effect::Session(SessionNews { id: id.to_owned(), path: path.map(str::to_owned), resumable }));
    }

    /// Prompts can be taken from now on.
    pub fn ready(&mut self) {
        self.effects.push(Effect::Ready);
    }

    /// The provider took the oldest prompt that it was given and had not taken yet.
    pub fn took(&mut self) {
        self.effects.push(Effect::Took);
    }

    /// The provider will not take a prompt that it was given, say one that came too late for its turn: it waits for a turn of its own.
    /// `place` counts the prompts that were given and not taken, oldest first. To be said before the turn's end, which forgets them.
    pub fn give_back(&mut self, place: usize) {
        self.effects.push(Effect::GaveBack(place));
    }

    /// The provider began a turn that was not asked for.
    pub fn turn_began(&mut self) {
        self.effects.push(Effect::TurnBegan);
    }

    pub fn turn_ended(&mut self, end: TurnEnd) {
        self.effects.push(Effect::TurnEnded(end));
    }

    /// Asks for a decision. What is known of the tool call is added to it, and if nobody heard of the tool call yet, it is told first.
    pub fn ask(&mut self, question: Question) {
        let id = question.tool_call.get("toolCallId").and_then(Value::as_str).unwrap_or_default().to_owned();
        let mut fields = question.tool_call.clone();
        fields.remove("toolCallId");
        self.tool(&id, fields);
        let tool_call = self.tools.picture(&id).unwrap_or(question.tool_call);
        self.effects.push(Effect::Ask(Question { tool_call, ..question }));
    }

    /// The provider no longer waits for an answer.
    pub fn withdraw(&mut self, question: &str) {
        self.effects.push(Effect::Withdraw(question.to_owned()));
    }

    /// Calls the adapter's `woken` with this token after a while.
    pub fn wake(&mut self, after: Duration, token: u32) {
        self.effects.push(Effect::Wake { after, token });
    }

    /// Has everything ended that was started since the turn began.
    pub fn end_commands(&mut self) {
        self.effects.push(Effect::EndCommands);
    }

    /// The run cannot go on.
    pub fn fatal(&mut self, error: RunError) {
        self.effects.push(Effect::Fatal(error));
    }

    // What the provider said.

    /// What follows is said by the sub-agent of this tool call; `None`: by the agent itself.
    pub fn within(&mut self, parent: Option<&str>) {
        self.parent = parent.map(str::to_owned);
    }

    /// A piece of a text. `name` is the provider's own name of the message; without one, pieces of one role that follow each other are one message.
    pub fn text_delta(&mut self, role: Role, name: Option<&str>, delta: &str) {
        let key = self.text_key(role, name);
        if delta.is_empty() {
            return;
        }
        let text = self.texts.get_mut(&key).expect("the key was just made");
        text.streamed.push(delta);
        let message_id = text.message_id.clone();
        self.chunk(role, &message_id, text_block(delta), None);
    }

    /// A whole text, of which some, all or nothing was streamed.
    pub fn text_whole(&mut self, role: Role, name: Option<&str>, whole: &str) {
        let key = self.text_key(role, name);
        let text = self.texts.get_mut(&key).expect("the key was just made");
        let message_id = text.message_id.clone();
        match text.streamed.compare(whole) {
            Compared::Missing("") => text.streamed.close(),
            Compared::Missing(missing) => {
                text.streamed.push(missing);
                text.streamed.close();
                self.chunk(role, &message_id, text_block(missing), None);
            }
            Compared::Contradiction { at } => {
                text.streamed.replace(whole);
                text.streamed.close();
                let meta = json!({ "loomd/contradiction": { "at": at } });
                self.chunk(role, &message_id, text_block(whole), Some(meta));
            }
        }
    }

    /// A content block that is no text (an image, a link).
    pub fn block(&mut self, role: Role, name: Option<&str>, block: Map<String, Value>) {
        let key = self.text_key(role, name);
        let message_id = self.texts[&key].message_id.clone();
        self.chunk(role, &message_id, block, None);
    }

    /// A message that the provider gave up and will say anew under another name.
    pub fn abandon(&mut self, role: Role, name: &str) {
        if let Some(text) = self.texts.remove(&(role, name.to_owned())).filter(|text| !text.streamed.is_empty()) {
            self.chunk(role, &text.message_id, text_block(""), Some(json!({ "loomd/abandoned": true })));
        }
    }

    /// Whether anything of this text was said, and how long it is so far.
    pub fn said(&self, role: Role, name: &str) -> usize {
        self.texts.get(&(role, name.to_owned())).map_or(0, |text| text.streamed.len())
    }

    /// The next piece without a name begins a new message.
    pub fn next_message(&mut self) {
        self.current = None;
    }

    /// A prompt, as the provider took it: all its blocks are one message.
    pub(super) fn user_message(&mut self, blocks: &[Map<String, Value>]) {
        let message_id = self.new_message_id();
        let parent = self.parent.take();
        for block in blocks {
            self.chunk(Role::User, &message_id, block.clone(), None);
        }
        self.parent = parent;
        self.current = None;
    }

    /// What is known of a tool call: any members of ACP's `ToolCall`. Told as `tool_call` the first time, later as what changed.
    pub fn tool(&mut self, id: &str, fields: Map<String, Value>) {
        self.current = None;
        let update = self.tools.tell(id, fields);
        self.extend(update);
    }

    /// Whether the tool call was told of.
    pub fn knows_tool(&self, id: &str) -> bool {
        self.tools.knows(id)
    }

    /// More output of a running tool.
    pub fn tool_output(&mut self, id: &str, delta: &str) {
        let updates = self.tools.output(id, delta);
        self.extend(updates);
    }

    /// All output of a running tool so far, of which some was told already.
    pub fn tool_output_so_far(&mut self, id: &str, whole: &str) {
        let updates = self.tools.output_so_far(id, whole);
        self.extend(updates);
    }

    /// The tool call ended: `completed` or `failed`. `whole` is its output, where the provider says it again or only now;
    /// `fields` what else the end brought.
    pub fn tool_ended(&mut self, id: &str, status: &str, whole: Option<&str>, fields: Map<String, Value>) {
        let updates = self.tools.ended(id, status, whole, fields);
        self.extend(updates);
    }

    /// A warning, a retry, something for the person's eyes that the agent did not say.
    pub fn notice(&mut self, severity: Severity, title: &str, description: Option<&str>) {
        let severity = match severity {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        let title = if title.trim().is_empty() { "Notice" } else { title };
        let mut notice = object(json!({ "sessionUpdate": "notice", "severity": severity, "title": title }));
        if let Some(description) = description.filter(|description| !description.is_empty()) {
            notice.insert("description".to_owned(), json!(description));
        }
        self.update(notice);
    }

    /// Any other ACP `SessionUpdate`, as it is.
    pub fn update(&mut self, mut update: Map<String, Value>) {
        if let Some(parent) = &self.parent {
            let meta = update.entry("_meta").or_insert_with(|| json!({}));
            if let Value::Object(meta) = meta {
                meta.insert("loomd/parentToolCallId".to_owned(), json!(parent));
            }
        }
        self.effects.push(Effect::Update(update));
    }

    /// The turn is over: names may be used again.
    pub(super) fn forget_turn(&mut self) {
        self.texts.clear();
        self.tools.forget();
        self.current = None;
        self.parent = None;
    }

    fn extend(&mut self, updates: Vec<Map<String, Value>>) {
        updates.into_iter().for_each(|update| self.update(update));
    }

    fn chunk(&mut self, role: Role, message_id: &str, content: Map<String, Value>, meta: Option<Value>) {
        let kind = match role {
            Role::User => "user_message_chunk",
            Role::Agent => "agent_message_chunk",
            Role::Thought => "agent_thought_chunk",
        };
        let mut chunk = object(json!({ "sessionUpdate": kind, "messageId": message_id, "content": content }));
        if let Some(meta) = meta {
            chunk.insert("_meta".to_owned(), meta);
        }
        self.update(chunk);
    }

    /// The key under which a text is kept. One that is new begins a message.
    fn text_key(&mut self, role: Role, name: Option<&str>) -> (Role, String) {
        let key = match (name, &self.current) {
            (Some(name), _) => (role, name.to_owned()),
            (None, Some(current)) if current.0 == role => current.clone(),
            (None, _) => {
                // Nobody can name the one before any more.
                if let Some(before) = self.current.take() {
                    self.texts.remove(&before);
                }
                let key = (role, self.new_message_id());
                self.current = Some(key.clone());
                key
            }
        };
        if name.is_some() {
            self.current = None;
        }
        let message_id = key.1.clone();
        self.texts.entry(key.clone()).or_insert_with(|| Text { message_id, streamed: Streamed::default() });
        key
    }

    fn new_message_id(&mut self) -> String {
        self.messages += 1;
        format!("loomd-{}", self.messages)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn updates(out: &mut Out) -> Vec<Value> {
        let effects = std::mem::take(&mut out.effects);
        effects
            .into_iter()
            .map(|effect| match effect {
                Effect::Update(update) => Value::Object(update),
                other => panic!("{other:?} is no update"),
            })
            .collect()
    }

    #[test]
    fn a_text_is_said_once_however_often_it_is_repeated() {
        let mut out = Out::default();
        out.text_delta(Role::Agent, Some("m"), "Hel");
        out.text_whole(Role::Agent, Some("m"), "Hello");
        out.text_whole(Role::Agent, Some("m"), "Hello");
        let said: Vec<Value> = updates(&mut out).iter().map(|update| update["content"]["text"].clone()).collect();
        assert_eq!(said, ["Hel", "lo"]);
    }

    #[test]
    fn a_contradiction_says_the_whole_and_where() {
        let mut out = Out::default();
        out.text_delta(Role::Agent, Some("m"), "Hallo");
        out.text_whole(Role::Agent, Some("m"), "Hello");
        let last = updates(&mut out).pop().expect("said");
        assert_eq!((&last["content"]["text"], &last["_meta"]["loomd/contradiction"]["at"]), (&json!("Hello"), &json!(1)));
        out.text_whole(Role::Agent, Some("m"), "Hello");
        assert_eq!(updates(&mut out), Vec::<Value>::new(), "it is settled");
    }

    #[test]
    fn pieces_without_a_name_are_one_message_until_something_else_happens() {
        let mut out = Out::default();
        out.text_delta(Role::Thought, None, "Hm");
        out.text_delta(Role::Agent, None, "a");
        out.text_delta(Role::Agent, None, "b");
        out.tool("t", object(json!({ "title": "ls" })));
        out.text_delta(Role::Agent, None, "c");
        let ids: Vec<Value> =
            updates(&mut out).iter().filter(|update| update["content"].is_object()).map(|update| update["messageId"].clone()).collect();
        assert!(ids[1] == ids[2] && ids[0] != ids[1] && ids[3] != ids[2], "{ids:?}");
    }

    #[test]
    fn a_sub_agent_is_told_apart() {
        let mut out = Out::default();
        out.within(Some("task"));
        out.text_delta(Role::Agent, Some("m"), "below");
        out.within(None);
        out.text_delta(Role::Agent, Some("n"), "above");
        let said = updates(&mut out);
        assert_eq!(said[0]["_meta"]["loomd/parentToolCallId"], "task");
        assert_eq!(said[1].get("_meta"), None);
    }
}
