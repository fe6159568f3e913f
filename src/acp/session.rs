//! One session of the client: which run it shows now, how far the client has it, and which prompts wait.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::{Mutex, MutexGuard};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::sync::Notify;

use super::{
    prompt_queue::{DueAnswer, PromptQueue},
    translator::{UpdateForms, UpdateTranslator},
};
use crate::model::{
    Run, RunId,
    agent::AgentCommand,
    calls::{McpServer, PermissionMode},
    entry::{Entry, PermissionEntry, PermissionStatus, Stream},
};

/// A session of the client: a run and what resumes it.
pub(super) struct AcpSession {
    /// The session's id, which stays the same when a run is resumed.
    pub(super) id: RunId,
    pub(super) cwd: String,
    /// Held by whoever sends a prompt or opens the session, so that prompts arrive in their order.
    pub(super) sending: tokio::sync::Mutex<()>,
    /// Wakes those that wait for a change of the run.
    pub(super) changed: Notify,
    state: Mutex<SessionState>,
}

pub(super) struct SessionState {
    pub(super) settings: AgentSettings,
    /// The run that the session shows, as far as it is known here.
    pub(super) run: Option<Run>,
    /// The newest entry of the run that the client has, or does not need.
    pub(super) cursor: u64,
    /// Where the output ends that the client has, by stream: the pieces of one entry have the same number.
    output_ends: BTreeMap<Stream, u64>,
    /// Updates are passed on as they come.
    pub(super) live: bool,
    pub(super) translator: Option<UpdateTranslator>,
    pub(super) prompts: PromptQueue,
    /// The client's open permission requests: the number of the request, by permission id.
    pub(super) asked: BTreeMap<String, u64>,
    pub(super) commands: Vec<AgentCommand>,
    /// The configuration options as the client knows them.
    pub(super) told_options: Value,
    pub(super) told_title: String,
}

/// Which agent a session has, and how it is set.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct AgentSettings {
    pub(super) provider: String,
    pub(super) command: Option<Vec<String>>,
    pub(super) args: Option<Vec<String>>,
    pub(super) model: Option<String>,
    pub(super) permissions: Option<PermissionMode>,
    /// What the client gave when it opened the session; no run keeps it.
    pub(super) mcp_servers: Vec<McpServer>,
}

/// What follows from an entry, in this order.
pub(super) enum SessionEffect {
    /// The client gets this update.
    Update(Map<String, Value>),
    /// The client is asked.
    Ask(Box<PermissionEntry>),
    /// The client is no longer asked: this was its request.
    Withdraw(u64),
    /// What is offered may have changed.
    OfferChanged,
    /// A prompt is answered.
    Answer(DueAnswer),
}

/// The place of an entry in its log, from its notification.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EntryPlace {
    pub(super) run_id: RunId,
    pub(super) seq: u64,
    #[serde(default)]
    first_seq: Option<u64>,
}

impl AgentSettings {
    /// The settings with which a run was started.
    pub(super) fn of(run: &Run) -> Self {
        fn read<T: serde::de::DeserializeOwned>(run: &Run, name: &str) -> Option<T> {
            serde_json::from_value(run.params.get(name)?.clone()).ok()
        }
        Self {
            provider: run.provider.clone(),
            command: read(run, "command"),
            args: read(run, "args"),
            model: read(run, "model"),
            permissions: read(run, "permissions"),
            mcp_servers: Vec::new(),
        }
    }
}

impl AcpSession {
    pub(super) fn new(id: RunId, cwd: String, settings: AgentSettings) -> Arc<Self> {
        Arc::new(Self {
            id,
            cwd,
            sending: tokio::sync::Mutex::default(),
            changed: Notify::new(),
            state: Mutex::new(SessionState {
                settings,
                run: None,
                cursor: 0,
                output_ends: BTreeMap::new(),
                live: false,
                translator: None,
                prompts: PromptQueue::default(),
                asked: BTreeMap::new(),
                commands: Vec::new(),
                told_options: Value::Null,
                told_title: String::new(),
            }),
        })
    }

    pub(super) fn state(&self) -> MutexGuard<'_, SessionState> {
        self.state.lock()
    }

    /// The run that the session shows.
    pub(super) fn run(&self) -> Option<Run> {
        self.state().run.clone()
    }

    /// Waits until the session's state satisfies.
    pub(super) async fn wait_until(&self, satisfies: impl Fn(&SessionState) -> bool) {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if satisfies(&self.state()) {
                return;
            }
            changed.await;
        }
    }
}

impl SessionState {
    /// Shows another run, from its beginning.
    pub(super) fn begin_run(&mut self, run: Run, is_first: bool, forms: UpdateForms) {
        self.translator = Some(UpdateTranslator::new(&run, is_first, forms));
        self.settings = AgentSettings {
            model: self.settings.model.take(),
            permissions: self.settings.permissions,
            mcp_servers: std::mem::take(&mut self.settings.mcp_servers),
            ..AgentSettings::of(&run)
        };
        self.prompts.begin_run(run.has_transcript);
        self.commands = run.agent.as_ref().map(|agent| agent.commands.clone()).unwrap_or_default();
        // What the entries say is counted again from the first one on.
        self.cursor = 0;
        self.output_ends.clear();
        self.run = Some(run);
    }

    pub(super) fn shows(&self, run_id: RunId) -> bool {
        self.run.as_ref().is_some_and(|run| run.id == run_id)
    }

    /// Whether the client has to see this entry now: it is the next one, and not a broadcast that came before its turn.
    pub(super) fn wants(&self, place: &EntryPlace) -> bool {
        self.live && self.shows(place.run_id) && place.first_seq.unwrap_or(place.seq) <= self.cursor + 1 && place.seq >= self.cursor
    }

    /// Passes over an entry of which the client sees nothing.
    pub(super) fn skip(&mut self, place: &EntryPlace) {
        self.cursor = self.cursor.max(place.seq);
    }

    /// Takes the next entry of the run. `replayed`: it is a part of what the client loads, its own prompts too, and
    /// questions in it are no longer open.
    pub(super) fn take(&mut self, entry: &Entry, replayed: bool) -> Vec<SessionEffect> {
        if self.is_known(entry) {
            return Vec::new();
        }
        self.cursor = entry.seq();
        if let Some(run) = self.run.as_mut().filter(|run| run.last_seq < entry.seq()) {
            run.apply(entry);
        }
        let mut effects = Vec::new();
        let is_own = match entry {
            Entry::Update(entry) => self.prompts.is_own_prompt(&entry.update) && !replayed,
            _ => false,
        };
        let update = self.translator.as_mut().and_then(|translator| translator.translate(entry));
        effects.extend(update.filter(|_| !is_own).map(SessionEffect::Update));
        match entry {
            Entry::Permission(entry) => match entry.status {
                PermissionStatus::Requested { .. } if !replayed => effects.push(SessionEffect::Ask(Box::new(entry.clone()))),
                PermissionStatus::Requested { .. } => {}
                PermissionStatus::Resolved { .. } => {
                    effects.extend(self.asked.remove(&entry.permission_id).map(SessionEffect::Withdraw));
                }
            },
            Entry::State(entry) => effects.extend(self.prompts.change_state(entry).into_iter().map(SessionEffect::Answer)),
            Entry::Update(entry) if self.learn_offer(&entry.update) => effects.push(SessionEffect::OfferChanged),
            _ => {}
        }
        effects
    }

    fn is_known(&mut self, entry: &Entry) -> bool {
        let Entry::Output(output) = entry else { return entry.seq() <= self.cursor };
        let end = self.output_ends.entry(output.stream).or_default();
        if output.offset < *end {
            return true;
        }
        *end = output.offset + output.raw_len();
        entry.seq() < self.cursor
    }

    /// Whether the update says what the agent offers. A sub-agent's says nothing of the agent.
    fn learn_offer(&mut self, update: &Map<String, Value>) -> bool {
        if update.get("_meta").is_some_and(|meta| meta.get("loomd/parentToolCallId").is_some()) {
            return false;
        }
        match update.get("sessionUpdate").and_then(Value::as_str) {
            Some("available_commands_update") => {
                let agent = self.run.as_ref().and_then(|run| run.agent.as_ref());
                self.commands = agent.map(|agent| agent.commands.clone()).unwrap_or_default();
                true
            }
            Some("config_option_update") => true,
            _ => false,
        }
    }
}

/// `_meta` of what is told about a run.
pub(super) fn loomd_meta(run_id: RunId, seq: u64) -> Value {
    json!({ "loomd": { "runId": run_id, "seq": seq } })
}
