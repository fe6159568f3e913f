//! Where an adapter puts its events: messages for the provider's program, and what the provider says as updates of the
//! Agent Client Protocol.
//!
//! Messages and tool calls pass through here, so that each text is logged once, in whatever form and however often a
//! provider sends it.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{
    ids::{PROVIDER_ID_KEY, UsedIds},
    provider_event::{PermissionRequest, ProviderEvent, SessionInfo, TurnEnd},
    reconcile::{Comparison, StreamedText, TurnText},
    tools::Tools,
};
use crate::model::{
    RunError,
    agent::AgentOffer,
    entry::notice,
    task::{object, text_block},
};

/// Collects the events of an adapter until the conversation takes them.
#[derive(Debug, Default)]
pub struct EventSink {
    pub(super) events: Vec<ProviderEvent>,
    /// The messages of this turn.
    messages: BTreeMap<MessageKey, StreamedMessage>,
    pub(super) tools: Tools,
    /// The message that deltas without a name belong to.
    unnamed_message: Option<MessageKey>,
    /// The message of each role that was written last.
    last_messages: BTreeMap<(String, Role), LastMessage>,
    /// What each role said in this turn.
    turn_texts: BTreeMap<(String, Role), TurnText>,
    message_count: u64,
    used_ids: UsedIds,
    /// The notices of this turn: a provider may repeat one any number of times.
    notices: HashSet<String>,
}

/// A message by its session (empty: the run's own), its role and the provider's name for it.
type MessageKey = (String, Role, String);

/// Who wrote a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    User,
    Agent,
    Thought,
}

#[derive(Debug, Default)]
struct StreamedMessage {
    message_id: String,
    /// The provider's own id, where it is another; it comes with the first chunk.
    provider_id: Option<String>,
    streamed: StreamedText,
    pieces: u64,
    /// Its whole text came, so what follows under its name is another message.
    is_whole: bool,
    is_unnamed: bool,
}

#[derive(Debug)]
struct LastMessage {
    key: MessageKey,
    /// No tool call came since.
    is_newest: bool,
}

/// A message that is said again as one piece is recognized from this length on, and one that goes on in it from twice
/// this length on: a short text may well be said twice.
const MIN_REPEATED_BYTES: usize = 8;

/// Notices of a turn that are compared with the next one.
const MAX_COMPARED_NOTICES: usize = 256;

/// How severe a notice is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Severity {
    Info,
    Warning,
    Error,
}

impl EventSink {
    // Messages to the provider's program.

    /// Sends a message as one line of JSON.
    pub fn send(&mut self, message: &impl Serialize) {
        let mut line = serde_json::to_vec(message).expect("messages always have a JSON form");
        line.push(b'\n');
        self.events.push(ProviderEvent::Write(line));
    }

    /// Sends bytes as they are.
    pub(crate) fn write(&mut self, bytes: Vec<u8>) {
        self.events.push(ProviderEvent::Write(bytes));
    }

    /// Closes the program's stdin.
    pub(crate) fn close_stdin(&mut self) {
        self.events.push(ProviderEvent::CloseStdin);
    }

    // Events of the run.

    /// Reports the session as far as it is known. Reporting the same again does nothing.
    pub fn session(&mut self, id: &str, path: Option<&str>, resumable: bool) {
        self.events.push(ProviderEvent::Session(SessionInfo { id: id.to_owned(), path: path.map(str::to_owned), resumable }));
    }

    /// Reports that prompts can be sent from now on.
    pub fn ready(&mut self) {
        self.events.push(ProviderEvent::Ready);
    }

    /// Reports that the provider accepted the oldest prompt that was sent and not yet accepted.
    pub fn prompt_accepted(&mut self) {
        self.events.push(ProviderEvent::PromptAccepted);
    }

    /// Reports that the provider will not accept a prompt that was sent, for example because it came too late for its
    /// turn. The prompt then gets a turn of its own. `position` is its position among the prompts that were sent and not
    /// accepted, oldest first. It must be called before [`Self::turn_ended`], which forgets those prompts.
    pub(crate) fn prompt_returned(&mut self, position: usize) {
        self.events.push(ProviderEvent::PromptReturned(position));
    }

    /// Reports that the provider started a turn by itself.
    pub(crate) fn turn_started(&mut self) {
        self.events.push(ProviderEvent::TurnStarted);
    }

    pub fn turn_ended(&mut self, end: TurnEnd) {
        self.events.push(ProviderEvent::TurnEnded(end));
    }

    /// Asks for a decision about a tool call. This adds what is known of the tool call to the request, and reports the
    /// tool call first if it is new.
    pub(crate) fn request_permission(&mut self, question: PermissionRequest) {
        let id = question.tool_call.get("toolCallId").and_then(Value::as_str).unwrap_or_default().to_owned();
        self.begin_after_end(&id);
        let mut fields = question.tool_call.clone();
        fields.remove("toolCallId");
        self.tool_call(&id, fields);
        let tool_call = self.tools.snapshot(&id).unwrap_or(question.tool_call);
        self.events.push(ProviderEvent::PermissionRequested(PermissionRequest { tool_call, ..question }));
    }

    /// Reports that the provider no longer waits for the answer to this request.
    pub(crate) fn withdraw_permission(&mut self, question: &str) {
        self.events.push(ProviderEvent::PermissionWithdrawn(question.to_owned()));
    }

    /// Calls [`Adapter::handle_timer`](super::Adapter::handle_timer) with this token after a while.
    pub(crate) fn set_timer(&mut self, after: Duration, token: u32) {
        self.events.push(ProviderEvent::SetTimer { after, token });
    }

    /// Calls [`Adapter::handle_timer`](super::Adapter::handle_timer) with this token once the program had this long for
    /// its next step, and does nothing. While it is at work, as when it is being downloaded, it gets more time.
    pub(crate) fn set_start_deadline(&mut self, limit: Duration, token: u32) {
        self.events.push(ProviderEvent::SetStartDeadline { limit, token });
    }

    /// Reports what the agent offers.
    pub(crate) fn offer(&mut self, offer: AgentOffer) {
        self.events.push(ProviderEvent::Offer(Box::new(offer)));
    }

    /// Ends every command that was started since the turn began.
    pub(crate) fn end_commands(&mut self) {
        self.events.push(ProviderEvent::EndCommands);
    }

    /// Reports that the run cannot go on.
    pub(crate) fn fatal(&mut self, error: RunError) {
        self.events.push(ProviderEvent::Fatal(error));
    }

    // Messages and tool calls of the provider.

    /// Attributes what follows to the sub-agent of this tool call; `None` attributes it to the agent itself.
    pub(crate) fn set_parent(&mut self, parent: Option<&str>) {
        self.tools.session.clear();
        self.tools.parent = parent.map(|parent| self.tools.id_of(parent).unwrap_or(parent).to_owned());
    }

    /// Attributes what follows to a sub-agent with a session of its own, whose names are its own too. `parent` is the id
    /// of its tool call in the log.
    pub(crate) fn set_session(&mut self, session: &str, parent: &str) {
        session.clone_into(&mut self.tools.session);
        self.tools.parent = Some(parent.to_owned());
    }

    /// Appends a piece to a message. `name` is the provider's own name of the message. Without a name, consecutive
    /// pieces of one role are one message.
    pub fn text_delta(&mut self, role: Role, name: Option<&str>, delta: &str) {
        let key = self.message_key(role, name);
        if delta.is_empty() {
            return;
        }
        if self.messages.get(&key).is_some_and(|text| text.is_whole) {
            self.start_message(&key);
        }
        self.append(&key, delta, None);
    }

    /// Appends a piece to a message of a provider that may say a whole message, or all messages of the turn, again as one
    /// last piece, under another name or none. Such a piece adds only what was not streamed.
    pub(crate) fn text_chunk(&mut self, role: Role, name: Option<&str>, text: &str) {
        if self.turn_texts.get(&(self.tools.session.clone(), role)).is_some_and(|said| said.is_repeated_by(text)) {
            // What is said as a whole is over.
            self.unnamed_message = None;
            return;
        }
        let Some(last) = self.last_messages.get(&(self.tools.session.clone(), role)) else { return self.text_delta(role, name, text) };
        let key = last.key.clone();
        let Some(message) = self.messages.get(&key).filter(|message| !message.streamed.is_empty() && text.len() >= message.streamed.len())
        else {
            return self.text_delta(role, name, text);
        };
        let is_unnamed = self.unnamed_message.as_ref() == Some(&key);
        let is_other = if is_unnamed { name.is_some() } else { name != Some(key.2.as_str()) };
        let (is_streamed, length) = (message.pieces > 1, message.streamed.len());
        match message.streamed.compare(text) {
            Comparison::Missing("") if length >= MIN_REPEATED_BYTES && (is_streamed || (is_other && last.is_newest)) => {
                self.unnamed_message = None;
            }
            Comparison::Missing(missing) if length >= 2 * MIN_REPEATED_BYTES && is_streamed => {
                self.append(&key, missing, None);
                self.unnamed_message = None;
            }
            _ => self.text_delta(role, name, text),
        }
    }

    /// Completes a message with its whole text, of which some, all or nothing was streamed.
    pub(crate) fn text_whole(&mut self, role: Role, name: Option<&str>, whole: &str) {
        let key = self.message_key(role, name);
        let known = &self.messages[&key];
        let comparison = known.streamed.compare(whole);
        if known.is_whole && matches!(comparison, Comparison::Contradiction { .. }) {
            self.start_message(&key);
            self.append(&key, whole, None);
        } else {
            match comparison {
                Comparison::Missing("") => {}
                Comparison::Missing(missing) => self.append(&key, missing, None),
                Comparison::Contradiction { at } => {
                    if let Some(message) = self.messages.get_mut(&key) {
                        message.streamed = StreamedText::default();
                    }
                    self.append(&key, whole, Some(json!({ "loomd/contradiction": { "at": at } })));
                }
            }
        }
        if let Some(message) = self.messages.get_mut(&key) {
            message.streamed.close();
            message.is_whole = true;
        }
        if name.is_none() {
            self.unnamed_message = None;
        }
    }

    /// Adds a content block that is no text, such as an image or a link.
    pub(crate) fn content_block(&mut self, role: Role, name: Option<&str>, block: Map<String, Value>) {
        let key = self.message_key(role, name);
        self.chunk(&key, block, None);
    }

    /// Marks a message as abandoned: the provider will send it again under another name.
    pub(crate) fn abandon_message(&mut self, role: Role, name: &str) {
        let key = (self.tools.session.clone(), role, name.to_owned());
        if self.messages.get(&key).is_some_and(|text| !text.streamed.is_empty()) {
            self.chunk(&key, text_block(""), Some(json!({ "loomd/abandoned": true })));
        }
        self.messages.remove(&key);
    }

    /// Logs a prompt that the provider accepted: all its blocks are one message.
    pub(super) fn user_message(&mut self, blocks: &[Map<String, Value>]) {
        let key = (String::new(), Role::User, self.new_message_id());
        let message = StreamedMessage { message_id: key.2.clone(), ..StreamedMessage::default() };
        self.messages.insert(key.clone(), message);
        let parent = self.tools.parent.take();
        for block in blocks {
            self.chunk(&key, block.clone(), None);
        }
        self.tools.parent = parent;
        self.unnamed_message = None;
    }

    /// Reports what is known of a tool call: any members of ACP's `ToolCall`. The first report is a `tool_call` update;
    /// later ones contain only what changed.
    pub(crate) fn tool_call(&mut self, id: &str, fields: Map<String, Value>) {
        self.unnamed_message = None;
        self.last_messages.values_mut().for_each(|last| last.is_newest = false);
        let update = self.tools.report(id, fields);
        self.push_updates(update);
    }

    /// A tool call begins: if one of this name has ended, it is another.
    pub(crate) fn begin_tool_call(&mut self, id: &str, fields: Map<String, Value>) {
        self.begin_after_end(id);
        self.tool_call(id, fields);
    }

    fn begin_after_end(&mut self, id: &str) {
        if self.tools.has_ended(id) && !self.tools.was_closed(id) {
            self.tools.begin_another(id);
        }
    }

    /// Whether the tool call was reported.
    pub(crate) fn has_tool_call(&self, id: &str) -> bool {
        self.tools.contains(id)
    }

    /// Appends to the output of a running tool.
    pub(crate) fn tool_output(&mut self, id: &str, delta: &str) {
        let updates = self.tools.output(id, delta);
        self.push_updates(updates);
    }

    /// Reports all output of a running tool so far, of which some may have been reported before.
    pub(crate) fn tool_output_so_far(&mut self, id: &str, whole: &str) {
        let updates = self.tools.output_so_far(id, whole);
        self.push_updates(updates);
    }

    /// Reports the end of a tool call with the status `completed` or `failed`. `whole` is its whole output, if the
    /// provider sends it with the end; `fields` are further members.
    pub(crate) fn tool_ended(&mut self, id: &str, status: &str, whole: Option<&str>, fields: Map<String, Value>) {
        let updates = self.tools.finish(id, status, whole, fields);
        self.push_updates(updates);
    }

    /// Logs a notice for people that the agent did not write, such as a warning or a retry.
    pub(crate) fn notice(&mut self, severity: Severity, title: &str, description: Option<&str>) {
        let severity = match severity {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        let title = if title.trim().is_empty() { "Notice" } else { title };
        self.update(notice(severity, title, description.filter(|description| !description.is_empty())));
    }

    /// Logs any other ACP `SessionUpdate` as it is. A notice that this turn has already is not repeated.
    pub(crate) fn update(&mut self, mut update: Map<String, Value>) {
        if update.get("sessionUpdate").is_some_and(|kind| kind == "notice") {
            let words = json!(update).to_string();
            if self.notices.contains(&words) {
                return;
            }
            if self.notices.len() < MAX_COMPARED_NOTICES {
                self.notices.insert(words);
            }
        }
        if let Some(parent) = &self.tools.parent {
            let meta = update.entry("_meta").or_insert_with(|| json!({}));
            if let Value::Object(meta) = meta {
                meta.insert("loomd/parentToolCallId".to_owned(), json!(parent));
            }
        }
        self.events.push(ProviderEvent::Update(update));
    }

    /// A turn begins. The provider may use the names of earlier messages and tool calls again.
    pub(super) fn begin_turn(&mut self) {
        self.messages.clear();
        self.last_messages.clear();
        self.turn_texts.clear();
        self.notices.clear();
        self.unnamed_message = None;
        self.tools.begin_turn();
    }

    /// The turn is over, and so is every tool call that the provider left open. What it still says of one counts.
    pub(super) fn end_turn(&mut self) {
        for (parent, update) in self.tools.close_open() {
            self.tools.parent = parent;
            self.update(update);
        }
        self.set_parent(None);
    }

    fn push_updates(&mut self, updates: Vec<Map<String, Value>>) {
        updates.into_iter().for_each(|update| self.update(update));
    }

    /// Logs a piece of a message's text.
    fn append(&mut self, key: &MessageKey, piece: &str, meta: Option<Value>) {
        if let Some(message) = self.messages.get_mut(key) {
            message.streamed.push(piece);
            message.pieces += 1;
        }
        self.turn_texts.entry((key.0.clone(), key.1)).or_default().push(piece);
        let last = self.last_messages.insert((key.0.clone(), key.1), LastMessage { key: key.clone(), is_newest: true });
        // No later piece can belong to an unnamed message before this one.
        if let Some(last) = last.filter(|last| last.key != *key && self.messages.get(&last.key).is_some_and(|text| text.is_unnamed)) {
            self.messages.remove(&last.key);
        }
        self.chunk(key, text_block(piece), meta);
    }

    fn chunk(&mut self, key: &MessageKey, content: Map<String, Value>, meta: Option<Value>) {
        let kind = match key.1 {
            Role::User => "user_message_chunk",
            Role::Agent => "agent_message_chunk",
            Role::Thought => "agent_thought_chunk",
        };
        let Some(message) = self.messages.get_mut(key) else { return };
        let mut chunk = object(json!({ "sessionUpdate": kind, "messageId": message.message_id, "content": content }));
        let mut meta = object(meta.unwrap_or_default());
        meta.extend(message.provider_id.take().map(|id| (PROVIDER_ID_KEY.to_owned(), json!(id))));
        if !meta.is_empty() {
            chunk.insert("_meta".to_owned(), Value::Object(meta));
        }
        self.update(chunk);
    }

    /// The key of a message in `messages`. A key that is new starts a message.
    fn message_key(&mut self, role: Role, name: Option<&str>) -> MessageKey {
        let session = self.tools.session.clone();
        let key = match (name, &self.unnamed_message) {
            (Some(name), _) => (session, role, name.to_owned()),
            (None, Some(current)) if current.1 == role && current.0 == session => current.clone(),
            (None, _) => {
                let id = self.new_message_id();
                let key = (session, role, id.clone());
                self.unnamed_message = Some(key.clone());
                self.messages.insert(key.clone(), StreamedMessage { message_id: id, is_unnamed: true, ..StreamedMessage::default() });
                key
            }
        };
        if name.is_some() {
            self.unnamed_message = None;
        }
        if !self.messages.contains_key(&key) {
            self.start_message(&key);
        }
        key
    }

    /// Starts a message; one that is known under this key is over.
    fn start_message(&mut self, key: &MessageKey) {
        // A thought and a message may share a name, as their parts of one answer do.
        let wanted = format!("{:?} {}", key.1, key.2);
        let is_free = self.used_ids.claim_exactly(&wanted);
        let message_id = if is_free { key.2.clone() } else { self.new_message_id() };
        let provider_id = (!is_free).then(|| key.2.clone());
        self.messages.insert(key.clone(), StreamedMessage { message_id, provider_id, ..StreamedMessage::default() });
    }

    fn new_message_id(&mut self) -> String {
        loop {
            self.message_count += 1;
            let id = format!("loomd-{}", self.message_count);
            if [Role::User, Role::Agent, Role::Thought].iter().all(|role| self.used_ids.claim_exactly(&format!("{role:?} {id}"))) {
                return id;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn updates(out: &mut EventSink) -> Vec<Value> {
        let events = std::mem::take(&mut out.events);
        events
            .into_iter()
            .map(|event| match event {
                ProviderEvent::Update(update) => Value::Object(update),
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
}
