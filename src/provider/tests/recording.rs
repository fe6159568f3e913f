//! Plays a recorded conversation of a real program through its adapter: the program's lines as they were recorded, and
//! the actions of the recorded client as ours.
//!
//! A line of a recording is `{t_ms, dir, line}`. With `out` and `err` the program wrote it, with `in` the client;
//! `meta` is a record about the recording. The adapter chooses its own request ids, so each recorded response gets the
//! id of the adapter's request that it belongs to.

use std::{
    collections::{BTreeMap, VecDeque},
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use super::super::{Action, Adapter, Answer, Conversation, EntryBody, Exit};
use crate::model::{
    calls::{PermissionMode, RunSettings},
    entry::PermissionStatus,
    task::{ContentBlocks, Task},
};

/// What is particular to one provider's recordings.
pub(crate) trait RecordedClient {
    /// The task of the recorded client, from the program's argv and all that the client wrote.
    fn task(&self, recording: &Recording) -> Task;

    fn adapter(&self, task: Task) -> Box<dyn Adapter>;

    /// What the recorded client did by writing this.
    fn action(&self, written: &Value) -> ClientAction;

    /// The id of a request that the adapter or the recorded client wrote.
    fn request_id<'a>(&self, written: &'a Value) -> Option<&'a Value> {
        written.get("method").and_then(|_| written.get("id"))
    }

    /// Whether two requests are for the same.
    fn is_same(&self, recorded: &Value, ours: &Value) -> bool {
        recorded.get("method") == ours.get("method")
    }

    /// A response to a request that the adapter writes and the recorded client did not, and which the recording
    /// therefore does not contain.
    fn missing_response(&self, _recording: &Recording, _ours: &Value) -> Option<Value> {
        None
    }

    /// The id in a response of the program.
    fn response_id<'a>(&self, message: &'a mut Value) -> Option<&'a mut Value> {
        if message.get("method").is_some() { None } else { message.get_mut("id") }
    }
}

/// What the recorded client did.
pub(crate) enum ClientAction {
    /// A message that the adapter writes by itself.
    Protocol,
    /// A prompt. The first one is the task's and is not sent again.
    Prompt(ContentBlocks),
    Steer(ContentBlocks),
    Interrupt,
    /// Other settings for the turns that follow.
    Configure(Option<&'static str>, Option<PermissionMode>),
    /// An answer to the newest open request: an option of this kind (`allow_once`, `reject_once` …), or nobody's
    /// choice.
    Answer(Option<&'static str>),
    Nothing,
}

/// A parsed recording.
pub(crate) struct Recording {
    pub(crate) path: PathBuf,
    pub(crate) records: Vec<Record>,
}

pub(crate) struct Record {
    pub(crate) at_ms: u64,
    pub(crate) dir: String,
    pub(crate) line: String,
}

/// What the conversation did during a playback.
#[derive(Debug, Default)]
pub(crate) struct PlaybackResult {
    /// The entries of the log in their order, without numbers and times. The last one is the final state.
    pub(crate) entries: Vec<Value>,
    /// What was written to the program.
    pub(crate) written: Vec<Value>,
}

impl Recording {
    pub(crate) fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let records = text.lines().map(|line| {
            let record: Value = serde_json::from_str(line).expect("a record");
            Record {
                at_ms: record["t_ms"].as_u64().unwrap_or_default(),
                dir: record["dir"].as_str().expect("a direction").to_owned(),
                line: record["line"].as_str().expect("a line").to_owned(),
            }
        });
        Self { path: path.to_owned(), records: records.collect() }
    }

    /// All recordings of a provider, ordered by name.
    pub(crate) fn all(provider: &str) -> Vec<Self> {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings").join(provider);
        let files = fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
        let mut paths: Vec<PathBuf> =
            files.map(|file| file.expect("a file").path()).filter(|path| path.extension().is_some_and(|it| it == "jsonl")).collect();
        paths.sort();
        assert!(!paths.is_empty(), "there are no recordings in {}", dir.display());
        paths.iter().map(|path| Self::read(path)).collect()
    }

    pub(crate) fn name(&self) -> String {
        self.path.file_stem().expect("a name").to_string_lossy().into_owned()
    }

    pub(crate) fn argv(&self) -> Vec<String> {
        let first: Value = serde_json::from_str(&self.records[0].line).expect("the first record tells how it was started");
        first["argv"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    }

    /// What the client wrote, as JSON.
    pub(crate) fn client(&self) -> Vec<Value> {
        self.lines("in")
    }

    /// What the program wrote, as far as it is JSON.
    pub(crate) fn program(&self) -> Vec<Value> {
        self.lines("out")
    }

    fn lines(&self, dir: &str) -> Vec<Value> {
        let lines = self.records.iter().filter(|record| record.dir == dir);
        lines.filter_map(|record| serde_json::from_str(&record.line).ok()).collect()
    }

    /// Plays the recording and checks what holds for every provider.
    pub(crate) fn play(&self, client: &dyn RecordedClient) -> PlaybackResult {
        let task = client.task(self);
        let mut playback = Playback {
            conversation: Conversation::new(&task, client.adapter(task.clone())),
            client,
            recording: self,
            missing_responses: VecDeque::new(),
            result: PlaybackResult::default(),
            unmatched: VecDeque::new(),
            ids: BTreeMap::new(),
            timers: Vec::new(),
            questions: Vec::new(),
            prompt_count: usize::from(task.prompt.is_none()),
        };
        playback.conversation.start();
        playback.run_actions(0);
        let mut stderr = String::new();
        let mut has_ended = false;
        for record in &self.records {
            playback.fire_timers(record.at_ms);
            match record.dir.as_str() {
                "out" => playback.handle_program_line(&record.line),
                "err" => stderr = record.line.clone(),
                "in" => {
                    if let Ok(written) = serde_json::from_str(&record.line) {
                        playback.apply_client_action(&written);
                    }
                }
                _ => {
                    let meta: Value = serde_json::from_str(&record.line).unwrap_or_default();
                    if meta["stdin"] == "closed" {
                        playback.conversation.close_input();
                    }
                    // Some recorders record the exit twice.
                    if let Some(code) = meta.get("exit").and_then(Value::as_i64).filter(|_| !std::mem::replace(&mut has_ended, true)) {
                        playback.handle_exit(code, &stderr);
                    }
                }
            }
            playback.run_actions(record.at_ms);
        }
        check_result(&playback.result, &self.path);
        playback.result
    }
}

/// Plays the included recordings of a provider and compares the entries, one a line, with the snapshots beside them.
/// `INSTA_UPDATE=always` writes the snapshots again.
pub(crate) fn assert_recordings_match(provider: &str, mut is_included: impl FnMut(&Recording) -> bool, client: &dyn RecordedClient) {
    let recordings: Vec<Recording> = Recording::all(provider).into_iter().filter(|recording| is_included(recording)).collect();
    assert!(!recordings.is_empty(), "none of the recordings of {provider} is meant");
    for recording in recordings {
        let result = recording.play(client);
        let entries: String = result.entries.iter().map(|entry| format!("{entry}\n")).collect();
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path(recording.path.parent().expect("a directory"));
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.bind(|| insta::assert_snapshot!(recording.name(), entries));
    }
}

struct Playback<'a> {
    conversation: Conversation,
    client: &'a dyn RecordedClient,
    recording: &'a Recording,
    /// Responses that the recording does not contain, from [`RecordedClient::missing_response`].
    missing_responses: VecDeque<Value>,
    result: PlaybackResult,
    /// Requests of the adapter that no recorded request was matched with yet.
    unmatched: VecDeque<Value>,
    /// The adapter's id for each recorded id, as JSON.
    ids: BTreeMap<String, Value>,
    timers: Vec<(u64, u32)>,
    /// Open permission requests, with the id and kind of their options.
    questions: Vec<(String, Vec<(String, String)>)>,
    prompt_count: usize,
}

impl Playback<'_> {
    fn handle_program_line(&mut self, line: &str) {
        let mut line = line.to_owned();
        if let Ok(mut message) = serde_json::from_str::<Value>(&line)
            && let Some(id) = self.client.response_id(&mut message)
        {
            match self.ids.get(&id.to_string()) {
                Some(ours) => *id = ours.clone(),
                // It responds to a request that the adapter never writes.
                None => return,
            }
            line = message.to_string();
        }
        self.conversation.handle_line(line.as_bytes());
    }

    fn apply_client_action(&mut self, written: &Value) {
        match self.client.action(written) {
            ClientAction::Protocol | ClientAction::Nothing => {}
            ClientAction::Prompt(blocks) => {
                self.prompt_count += 1;
                if self.prompt_count > 1 {
                    self.conversation.send(blocks, false).expect("a prompt is accepted");
                }
            }
            ClientAction::Steer(blocks) => {
                self.conversation.send(blocks, true).expect("a prompt is accepted");
            }
            ClientAction::Interrupt => drop(self.conversation.interrupt()),
            ClientAction::Configure(model, mode) => {
                let settings = RunSettings { model: model.map(str::to_owned), permissions: mode, ..RunSettings::default() };
                self.conversation.configure(settings).expect("what was recorded was possible")
            }
            ClientAction::Answer(kind) => {
                if let Some((id, options)) = self.questions.pop() {
                    let option = kind.map(|kind| {
                        let option = options.iter().find(|(_, option_kind)| option_kind == kind);
                        option.unwrap_or_else(|| panic!("no option of kind {kind} in {options:?}")).0.clone()
                    });
                    self.conversation.answer(&id, Answer { option, message: None }).expect("the question is open");
                }
            }
        }
        self.run_actions(0);
        if let Some(id) = self.client.request_id(written)
            && let Some(position) = self.unmatched.iter().position(|ours| self.client.is_same(written, ours))
        {
            let ours = self.unmatched.remove(position).expect("it has this position");
            self.ids.insert(id.to_string(), self.client.request_id(&ours).expect("it is a request").clone());
        }
    }

    fn handle_exit(&mut self, code: i64, stderr: &str) {
        let exit = match i32::try_from(code).expect("a code") {
            code if code < 0 => Exit { code: None, signal: Some(format!("signal {}", -code)) },
            code => Exit { code: Some(code), signal: None },
        };
        let final_state = self.conversation.handle_exit(&exit, stderr);
        self.run_actions(u64::MAX);
        self.result.entries.push(json!({
            "kind": "state", "state": final_state.state, "turn": final_state.turn, "stopReason": final_state.stop_reason, "error": final_state.error, "usage": final_state.usage,
        }));
    }

    fn fire_timers(&mut self, now: u64) {
        let due: Vec<u32> = self.timers.extract_if(.., |(at, _)| *at <= now).map(|(_, token)| token).collect();
        for token in due {
            self.conversation.handle_timer(token);
            self.run_actions(now);
        }
    }

    fn run_actions(&mut self, now: u64) {
        loop {
            self.apply_actions(now);
            let Some(answer) = self.missing_responses.pop_front() else { return };
            self.conversation.handle_line(answer.to_string().as_bytes());
        }
    }

    fn apply_actions(&mut self, now: u64) {
        while let Some(action) = self.conversation.next_action() {
            match action {
                Action::Log(body) => self.log(body),
                Action::Write(bytes) => {
                    for line in String::from_utf8(bytes).expect("text").lines() {
                        let written: Value = serde_json::from_str(line).unwrap_or_else(|_| json!(line));
                        if let Some(answer) = self.client.missing_response(self.recording, &written) {
                            self.missing_responses.push_back(answer);
                        } else if self.client.request_id(&written).is_some() {
                            self.unmatched.push_back(written.clone());
                        }
                        self.result.written.push(written);
                    }
                }
                Action::SetTimer { after, token } | Action::SetStartDeadline { limit: after, token } => {
                    let after = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
                    self.timers.push((now.saturating_add(after), token));
                }
                Action::CloseStdin
                | Action::TurnStarted
                | Action::TurnEnded
                | Action::EndCommands
                | Action::Offer(_)
                | Action::QueueLength(_)
                | Action::Finish => {}
            }
        }
    }

    fn log(&mut self, body: EntryBody) {
        let entry = match body {
            EntryBody::Session(session) => json!({ "kind": "session", "session": session }),
            EntryBody::Update(update) => json!({ "kind": "update", "update": update }),
            EntryBody::Permission { permission_id, status } => {
                match &status {
                    PermissionStatus::Requested { options, .. } => {
                        let options = options.iter().map(|option| (option.option_id.clone(), option.kind.clone())).collect();
                        self.questions.push((permission_id.clone(), options));
                    }
                    PermissionStatus::Resolved { .. } => self.questions.retain(|(id, _)| *id != permission_id),
                }
                json!({ "kind": "permission", "permissionId": permission_id, "status": status })
            }
            EntryBody::State { state, turn, end } => {
                let end = end.unwrap_or_default();
                json!({ "kind": "state", "state": state, "turn": turn, "stopReason": end.stop_reason, "error": end.error, "usage": end.usage })
            }
        };
        self.result.entries.push(entry);
    }
}

/// Checks what holds for every provider: a client of ACP understands every update, every chunk has a message id, every
/// permission request comes after its tool call and is resolved in the end, and no text is logged twice.
fn check_result(result: &PlaybackResult, path: &Path) {
    let name = path.display();
    let mut texts: BTreeMap<String, String> = BTreeMap::new();
    let mut tools: Vec<String> = Vec::new();
    let mut open: Vec<Value> = Vec::new();
    for entry in &result.entries {
        match entry["kind"].as_str() {
            Some("update") => {
                let update = &entry["update"];
                if let Err(error) = serde_json::from_value::<agent_client_protocol_schema::v1::SessionUpdate>(update.clone()) {
                    panic!("{name}: no client of ACP understands {update}: {error}");
                }
                let kind = update["sessionUpdate"].as_str().expect("a kind");
                if kind.ends_with("_chunk") {
                    let id = update["messageId"].as_str().unwrap_or_else(|| panic!("{name}: a chunk without messageId: {update}"));
                    let text = texts.entry(format!("{kind} {id}")).or_default();
                    if update["_meta"].get("loomd/contradiction").is_some() {
                        text.clear();
                    }
                    text.push_str(update["content"]["text"].as_str().unwrap_or_default());
                }
                if kind == "tool_call" {
                    tools.push(update["toolCallId"].as_str().expect("an id").to_owned());
                }
            }
            Some("permission") if entry["status"]["status"] == "requested" => {
                let tool_call = &entry["status"]["toolCall"];
                let id = tool_call["toolCallId"].as_str().unwrap_or_else(|| panic!("{name}: a question about nothing: {entry}"));
                assert!(tools.iter().any(|tool| tool == id), "{name}: the question about {id} has no tool_call before it");
                assert!(tool_call["kind"].is_string() && tool_call["title"].is_string(), "{name}: an incomplete question: {tool_call}");
                open.push(entry["permissionId"].clone());
            }
            Some("permission") => open.retain(|id| *id != entry["permissionId"]),
            _ => {}
        }
    }
    for (message, text) in &texts {
        let half = text.len() / 2;
        let twice = text.len() > 8 && text.len() % 2 == 0 && text.is_char_boundary(half) && text[..half] == text[half..];
        assert!(!twice, "{name}: {message} is logged twice: {text}");
    }
    let message: Vec<&String> =
        texts.iter().filter(|(message, text)| message.starts_with("agent_message") && text.len() > 8).map(|(_, text)| text).collect();
    for pair in message.windows(2) {
        // Two turns may have the same reply, but one turn's reply must not have two names.
        let turns = result.entries.iter().filter(|entry| entry["update"]["sessionUpdate"] == "user_message_chunk").count();
        assert!(pair[0] != pair[1] || turns > 1, "{name}: the same text under two names: {}", pair[0]);
    }
    assert!(open.is_empty(), "{name}: these questions stay open: {open:?}");
    let last = result.entries.last().expect("some entries");
    assert!(last["kind"] == "state" && last["turn"].is_u64() | last["turn"].is_null(), "{name}: the outcome is missing");
}
