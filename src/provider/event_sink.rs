//! Where an adapter puts its events: messages for the provider's program, and what the provider says as updates of the
//! Agent Client Protocol.
//!
//! Messages and tool calls pass through here, so that each text is logged once, in whatever form and however often a
//! provider sends it.

mod messages;

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use serde::Serialize;
use serde_json::{Map, Value, json};

use self::messages::{LastMessage, MessageKey, StreamedMessage};
use super::{
    ids::UsedIds,
    provider_event::{Action, EntryBody, PermissionRequest, ProviderEvent, SessionInfo, TurnEnd},
    reconcile::TurnText,
    tools::Tools,
};
use crate::model::{RunError, agent::AgentOffer, entry::notice};

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

/// Who wrote a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    User,
    Agent,
    Thought,
}

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

    fn act(&mut self, action: Action) {
        self.events.push(ProviderEvent::Do(action));
    }

    /// Sends a message as one line of JSON.
    pub fn send(&mut self, message: &impl Serialize) {
        let mut line = serde_json::to_vec(message).expect("messages always have a JSON form");
        line.push(b'\n');
        self.act(Action::Write(line));
    }

    /// Sends bytes as they are.
    pub(crate) fn write(&mut self, bytes: Vec<u8>) {
        self.act(Action::Write(bytes));
    }

    /// Closes the program's stdin.
    pub(crate) fn close_stdin(&mut self) {
        self.act(Action::CloseStdin);
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
        self.act(Action::SetTimer { after, token });
    }

    /// Calls [`Adapter::handle_timer`](super::Adapter::handle_timer) with this token once the program had this long for
    /// its next step, and does nothing. While it is at work, as when it is being downloaded, it gets more time.
    pub(crate) fn set_start_deadline(&mut self, limit: Duration, token: u32) {
        self.act(Action::SetStartDeadline { limit, token });
    }

    /// Reports what the agent offers.
    pub(crate) fn offer(&mut self, offer: AgentOffer) {
        self.act(Action::Offer(Box::new(offer)));
    }

    /// Ends every command that was started since the turn began.
    pub(crate) fn end_commands(&mut self) {
        self.act(Action::EndCommands);
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
        self.act(Action::Log(EntryBody::Update(update)));
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
}

#[cfg(test)]
mod tests;
