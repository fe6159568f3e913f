//! Plays a recorded conversation of a real program through its adapter: the program's lines as they were recorded, and the
//! recorded client's deeds as ours.
//!
//! A recording's line is `{t_ms, dir, line}`: `out` and `err` are what the program wrote, `in` what the client wrote, `meta` the recorder's
//! own words. Ids that the client chose are ours when played, so answers are given the id of the request of ours that they belong to.

use std::{
    collections::{BTreeMap, VecDeque},
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use super::{
    adapter::{Adapter, Answer, Exit},
    conversation::{Act, Body, Conversation},
    task::{Blocks, Task},
};
use crate::model::{calls::PermissionMode, entry::PermissionStatus};

/// What is special about one provider's recordings.
pub trait Client {
    /// The task that the recorded client had, from the program's argv and all that the client wrote.
    fn task(&self, recording: &Recording) -> Task;

    fn adapter(&self, task: Task) -> Box<dyn Adapter>;

    /// What the recorded client did by writing this.
    fn deed(&self, written: &Value) -> Deed;

    /// The id of a request that we or the recorded client wrote.
    fn request_id<'a>(&self, written: &'a Value) -> Option<&'a Value> {
        written.get("method").and_then(|_| written.get("id"))
    }

    /// Whether two requests ask the same.
    fn is_same(&self, recorded: &Value, ours: &Value) -> bool {
        recorded.get("method") == ours.get("method")
    }

    /// The answer to a request of ours that the recorded client never made, and whose answer is therefore not in the recording.
    fn stand_in(&self, _recording: &Recording, _ours: &Value) -> Option<Value> {
        None
    }

    /// The id in an answer of the program's.
    fn answer_id<'a>(&self, said: &'a mut Value) -> Option<&'a mut Value> {
        if said.get("method").is_some() { None } else { said.get_mut("id") }
    }
}

/// What the recorded client did.
pub enum Deed {
    /// Something that our adapter says by itself.
    Protocol,
    /// A prompt. The first one is the task's and is not sent again.
    Prompt(Blocks),
    Steer(Blocks),
    Interrupt,
    /// Other settings for the turns that follow.
    Configure(Option<&'static str>, Option<PermissionMode>),
    /// An answer to the newest open question: by the kind of the option (`allow_once`, `reject_once` …), or by nobody.
    Answer(Option<&'static str>),
    Nothing,
}

/// A recording, parsed.
pub struct Recording {
    pub path: PathBuf,
    pub records: Vec<Record>,
}

pub struct Record {
    pub at_ms: u64,
    pub dir: String,
    pub line: String,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Played {
    /// Entries of the log in their order, without numbers and times; the last is the outcome.
    pub entries: Vec<Value>,
    /// What was written to the program.
    pub written: Vec<Value>,
}

impl Recording {
    pub fn read(path: &Path) -> Self {
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

    /// All recordings of a provider, by name.
    pub fn all(provider: &str) -> Vec<Self> {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings").join(provider);
        let files = fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
        let mut paths: Vec<PathBuf> =
            files.map(|file| file.expect("a file").path()).filter(|path| path.extension().is_some_and(|it| it == "jsonl")).collect();
        paths.sort();
        assert!(!paths.is_empty(), "there are no recordings in {}", dir.display());
        paths.iter().map(|path| Self::read(path)).collect()
    }

    pub fn name(&self) -> String {
        self.path.file_stem().expect("a name").to_string_lossy().into_owned()
    }

    pub fn argv(&self) -> Vec<String> {
        let first: Value = serde_json::from_str(&self.records[0].line).expect("the first record tells how it was started");
        first["argv"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    }

    /// What the client wrote, as JSON.
    pub fn client(&self) -> Vec<Value> {
        self.lines("in")
    }

    /// What the program wrote, as far as it is JSON.
    pub fn program(&self) -> Vec<Value> {
        self.lines("out")
    }

    fn lines(&self, dir: &str) -> Vec<Value> {
        let lines = self.records.iter().filter(|record| record.dir == dir);
        lines.filter_map(|record| serde_json::from_str(&record.line).ok()).collect()
    }

    /// Plays it, and checks what holds for every provider.
    pub fn play(&self, client: &dyn Client) -> Played {
        let task = client.task(self);
        let mut stage = Stage {
            conversation: Conversation::new(&task, client.adapter(task.clone())),
            client,
            recording: self,
            stand_ins: VecDeque::new(),
            played: Played::default(),
            unmatched: VecDeque::new(),
            ids: BTreeMap::new(),
            alarms: Vec::new(),
            questions: Vec::new(),
            prompts: usize::from(task.prompt.is_none()),
        };
        stage.conversation.begin();
        stage.act(0);
        let mut stderr = String::new();
        let mut has_ended = false;
        for record in &self.records {
            stage.ring(record.at_ms);
            match record.dir.as_str() {
                "out" => stage.program_said(&record.line),
                "err" => stderr = record.line.clone(),
                "in" => {
                    if let Ok(written) = serde_json::from_str(&record.line) {
                        stage.client_did(&written);
                    }
                }
                _ => {
                    let meta: Value = serde_json::from_str(&record.line).unwrap_or_default();
                    if meta["stdin"] == "closed" {
                        stage.conversation.close_input();
                    }
                    // Some recorders say it twice.
                    if let Some(code) = meta.get("exit").and_then(Value::as_i64).filter(|_| !std::mem::replace(&mut has_ended, true)) {
                        stage.ended(code, &stderr);
                    }
                }
            }
            stage.act(record.at_ms);
        }
        check(&stage.played, &self.path);
        stage.played
    }
}

/// Plays those recordings of a provider that are meant, and compares the entries, one a line, with the snapshots that stand beside them.
/// `INSTA_UPDATE=always` writes them anew.
pub fn all_match(provider: &str, mut is_meant: impl FnMut(&Recording) -> bool, client: &dyn Client) {
    let recordings: Vec<Recording> = Recording::all(provider).into_iter().filter(|recording| is_meant(recording)).collect();
    assert!(!recordings.is_empty(), "none of the recordings of {provider} is meant");
    for recording in recordings {
        let played = recording.play(client);
        let entries: String = played.entries.iter().map(|entry| format!("{entry}\n")).collect();
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path(recording.path.parent().expect("a directory"));
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.bind(|| insta::assert_snapshot!(recording.name(), entries));
    }
}

struct Stage<'a> {
    conversation: Conversation,
    client: &'a dyn Client,
    recording: &'a Recording,
    /// Answers that stand in for ones that were not recorded.
    stand_ins: VecDeque<Value>,
    played: Played,
    /// Requests of ours that the recorded client's are yet to be matched with.
    unmatched: VecDeque<Value>,
    /// Recorded id → ours, as JSON.
    ids: BTreeMap<String, Value>,
    alarms: Vec<(u64, u32)>,
    /// Open questions: id and options.
    questions: Vec<(String, Vec<(String, String)>)>,
    prompts: usize,
}

impl Stage<'_> {
    fn program_said(&mut self, line: &str) {
        let mut line = line.to_owned();
        if let Ok(mut said) = serde_json::from_str::<Value>(&line)
            && let Some(id) = self.client.answer_id(&mut said)
        {
            match self.ids.get(&id.to_string()) {
                Some(ours) => *id = ours.clone(),
                // An answer to something that we never ask.
                None => return,
            }
            line = said.to_string();
        }
        self.conversation.line(line.as_bytes());
    }

    fn client_did(&mut self, written: &Value) {
        match self.client.deed(written) {
            Deed::Protocol | Deed::Nothing => {}
            Deed::Prompt(blocks) => {
                self.prompts += 1;
                if self.prompts > 1 {
                    self.conversation.send(blocks, false).expect("a prompt is taken");
                }
            }
            Deed::Steer(blocks) => self.conversation.send(blocks, true).expect("a prompt is taken"),
            Deed::Interrupt => drop(self.conversation.interrupt()),
            Deed::Configure(model, mode) => {
                self.conversation.configure(model.map(str::to_owned), mode).expect("what was recorded was possible")
            }
            Deed::Answer(kind) => {
                if let Some((id, options)) = self.questions.pop() {
                    let option = kind.map(|kind| {
                        let option = options.iter().find(|(_, found)| found == kind);
                        option.unwrap_or_else(|| panic!("no option of kind {kind} in {options:?}")).0.clone()
                    });
                    self.conversation.answer(&id, Answer { option, message: None }).expect("the question is open");
                }
            }
        }
        self.act(0);
        if let Some(id) = self.client.request_id(written)
            && let Some(position) = self.unmatched.iter().position(|ours| self.client.is_same(written, ours))
        {
            let ours = self.unmatched.remove(position).expect("it was just found");
            self.ids.insert(id.to_string(), self.client.request_id(&ours).expect("it is a request").clone());
        }
    }

    fn ended(&mut self, code: i64, stderr: &str) {
        let exit = match i32::try_from(code).expect("a code") {
            code if code < 0 => Exit { code: None, signal: Some(format!("signal {}", -code)) },
            code => Exit { code: Some(code), signal: None },
        };
        let verdict = self.conversation.ended(&exit, stderr);
        self.act(u64::MAX);
        self.played.entries.push(json!({
            "kind": "state", "state": verdict.state, "turn": verdict.turn, "stopReason": verdict.stop_reason, "error": verdict.error, "usage": verdict.usage,
        }));
    }

    fn ring(&mut self, now: u64) {
        let due: Vec<u32> = self.alarms.extract_if(.., |(at, _)| *at <= now).map(|(_, token)| token).collect();
        for token in due {
            self.conversation.woken(token);
            self.act(now);
        }
    }

    fn act(&mut self, now: u64) {
        loop {
            self.carry_out(now);
            let Some(answer) = self.stand_ins.pop_front() else { return };
            self.conversation.line(answer.to_string().as_bytes());
        }
    }

    fn carry_out(&mut self, now: u64) {
        while let Some(act) = self.conversation.next_act() {
            match act {
                Act::Log(body) => self.log(body),
                Act::Write(bytes) => {
                    for line in String::from_utf8(bytes).expect("text").lines() {
                        let written: Value = serde_json::from_str(line).unwrap_or_else(|_| json!(line));
                        if let Some(answer) = self.client.stand_in(self.recording, &written) {
                            self.stand_ins.push_back(answer);
                        } else if self.client.request_id(&written).is_some() {
                            self.unmatched.push_back(written.clone());
                        }
                        self.played.written.push(written);
                    }
                }
                Act::Wake { after, token } => {
                    let after = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
                    self.alarms.push((now.saturating_add(after), token));
                }
                Act::CloseStdin | Act::TurnBegins | Act::TurnEnded | Act::EndCommands | Act::Queued(_) | Act::Finish => {}
            }
        }
    }

    fn log(&mut self, body: Body) {
        let entry = match body {
            Body::Session(session) => json!({ "kind": "session", "session": session }),
            Body::Update(update) => json!({ "kind": "update", "update": update }),
            Body::Permission { permission_id, status } => {
                match &status {
                    PermissionStatus::Requested { options, .. } => {
                        let options = options.iter().map(|option| (option.option_id.clone(), option.kind.clone())).collect();
                        self.questions.push((permission_id.clone(), options));
                    }
                    PermissionStatus::Resolved { .. } => self.questions.retain(|(id, _)| *id != permission_id),
                }
                json!({ "kind": "permission", "permissionId": permission_id, "status": status })
            }
            Body::State { state, turn, end } => {
                let end = end.unwrap_or_default();
                json!({ "kind": "state", "state": state, "turn": turn, "stopReason": end.stop_reason, "error": end.error, "usage": end.usage })
            }
        };
        self.played.entries.push(entry);
    }
}

/// What holds whatever the provider: every update is one that a client of ACP understands, every chunk has its message's id,
/// every question has its tool call told before it and is settled in the end, and no text is said twice.
fn check(played: &Played, path: &Path) {
    let name = path.display();
    let mut texts: BTreeMap<String, String> = BTreeMap::new();
    let mut tools: Vec<String> = Vec::new();
    let mut open: Vec<Value> = Vec::new();
    for entry in &played.entries {
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
        assert!(!twice, "{name}: {message} is said twice: {text}");
    }
    let said: Vec<&String> =
        texts.iter().filter(|(message, text)| message.starts_with("agent_message") && text.len() > 8).map(|(_, text)| text).collect();
    for pair in said.windows(2) {
        // Two turns may be answered alike; one turn's answer may not come under two names.
        let turns = played.entries.iter().filter(|entry| entry["update"]["sessionUpdate"] == "user_message_chunk").count();
        assert!(pair[0] != pair[1] || turns > 1, "{name}: the same text under two names: {}", pair[0]);
    }
    assert!(open.is_empty(), "{name}: these questions stay open: {open:?}");
    let last = played.entries.last().expect("some entries");
    assert!(last["kind"] == "state" && last["turn"].is_u64() | last["turn"].is_null(), "{name}: the outcome is missing");
}
