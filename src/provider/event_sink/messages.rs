//! Messages: each text is logged once, in whatever form and however often a provider sends it.

use serde_json::{Map, Value, json};

use super::{EventSink, Role};
use crate::{
    model::task::{object, text_block},
    provider::{
        ids::PROVIDER_ID_KEY,
        reconcile::{Comparison, StreamedText},
    },
};

/// A message by its session (empty: the run's own), its role and the provider's name for it.
pub(super) type MessageKey = (String, Role, String);

#[derive(Debug, Default)]
pub(super) struct StreamedMessage {
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
pub(super) struct LastMessage {
    key: MessageKey,
    /// No tool call came since.
    pub(super) is_newest: bool,
}

/// A message that is said again as one piece is recognized from this length on, and one that goes on in it from twice
/// this length on: a short text may well be said twice.
const MIN_REPEATED_BYTES: usize = 8;

impl EventSink {
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
    pub(in crate::provider) fn user_message(&mut self, blocks: &[Map<String, Value>]) {
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
