//! A recording, adapted to loomd's client: without the exchanges that it never begins, and with its messages in place
//! of the recorded client's where these differ.

use std::{fs, path::PathBuf};

use serde_json::{Value, json};

use super::client::{ClientAction, Kind};

pub(super) struct Recording {
    pub records: Vec<Record>,
    /// The recorded command line.
    pub argv: Vec<String>,
    /// The entries of the recording's snapshot.
    pub entries: Vec<Value>,
}

#[derive(Clone)]
pub(super) struct Record {
    pub dir: String,
    pub line: String,
}

impl Record {
    /// The message on the line, if it is JSON.
    pub(super) fn message(&self) -> Option<Value> {
        serde_json::from_str(&self.line).ok()
    }

    fn to_line(&self) -> String {
        format!("{}\n", json!({ "t_ms": 0, "dir": self.dir, "line": self.line }))
    }
}

fn argv(first: &Record) -> Vec<String> {
    first.message().map(|message| strings_of(&message["argv"])).unwrap_or_default()
}

/// The names of the recordings of this kind in a directory: Codex is recorded in two ways.
pub(super) fn names(kind: Kind, provider: &str) -> Vec<String> {
    let files = fs::read_dir(directory(provider)).expect("recordings").flatten();
    let mut names = Vec::new();
    for path in files.map(|file| file.path()).filter(|path| path.extension().is_some_and(|ending| ending == "jsonl")) {
        let text = fs::read_to_string(&path).expect("a recording");
        let is_server = argv(&record(&parsed(text.lines().next().expect("a line")))).iter().any(|word| word == "app-server");
        if provider != "codex" || is_server == (kind == Kind::Codex) {
            names.push(path.file_stem().expect("a name").to_string_lossy().into_owned());
        }
    }
    names.sort();
    names
}

fn directory(provider: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests/recordings", provider].iter().collect()
}

impl Recording {
    pub(super) fn read(kind: Kind, provider: &str, name: &str) -> Self {
        let read = |ending: &str| {
            let path = directory(provider).join(format!("{name}.{ending}"));
            fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        };
        let records: Vec<Record> = read("jsonl").lines().map(|line| record(&parsed(line))).collect();
        let argv = argv(&records[0]);
        // Before its lines, a snapshot says where it comes from.
        let entries = read("snap").lines().skip(3).map(parsed).collect();
        let mut recording = Self { records, argv, entries };
        recording.adapt(kind);
        recording
    }

    /// As a file that `replay.py` plays.
    pub(super) fn to_file(&self) -> String {
        self.records.iter().map(Record::to_line).collect()
    }

    pub(super) fn lines(&self, dir: &str) -> impl Iterator<Item = &str> {
        self.records.iter().filter(move |record| record.dir == dir).map(|record| record.line.as_str())
    }

    /// What the recorded client wrote.
    pub(super) fn client(&self) -> Vec<Value> {
        self.lines("in").filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// The recorded client's actions, each with the number of lines that the program had written before.
    pub(super) fn actions(&self, kind: Kind) -> Vec<(usize, ClientAction)> {
        let (mut actions, mut lines) = (Vec::new(), 0);
        for record in &self.records {
            match record.dir.as_str() {
                "out" => lines += 1,
                "in" => actions.extend(record.message().and_then(|message| kind.action(&message)).map(|action| (lines, action))),
                _ if is_end_of_input(record) => actions.push((lines, ClientAction::Close)),
                _ => {}
            }
        }
        // The first prompt is the run's own.
        if let Some(first) = actions.iter().position(|(_, action)| matches!(action, ClientAction::Prompt(_))) {
            actions.remove(first);
        }
        // An interrupt resolves the open permission requests, so answers that cancel them after it are left out.
        let follows_interrupt = |at: usize| at > 0 && matches!(actions[at - 1].1, ClientAction::Interrupt);
        let is_redundant = |at: usize| matches!(actions[at].1, ClientAction::Answer(None)) && follows_interrupt(at);
        let redundant: Vec<bool> = (0..actions.len()).map(is_redundant).collect();
        let mut redundant = redundant.into_iter();
        actions.retain(|_| !redundant.next().unwrap_or(false));
        actions
    }

    /// Leaves out requests that loomd's client never sends, with their responses, and replaces those that it sends in
    /// another form.
    fn adapt(&mut self, kind: Kind) {
        let client: Vec<Value> = self.client();
        let mut left_out: Vec<Value> = Vec::new();
        let offers_resume = self.lines("out").any(|line| line.contains(r#""sessionCapabilities""#) && line.contains(r#""resume""#));
        let (theirs, ours) = if offers_resume { ("session/load", "session/resume") } else { ("session/resume", "session/load") };
        let opened = client.iter().position(|message| message["method"] == theirs);
        let mut seen = 0;
        self.records.retain_mut(|record| {
            let message = record.message();
            match (record.dir.as_str(), message) {
                ("in", None) => kind == Kind::Plain,
                ("in", Some(message)) => {
                    seen += 1;
                    let stays = kind.is_ours_too(&message, client[..seen - 1].iter());
                    if !stays {
                        left_out.push(kind.request_id(&message).clone());
                    } else if opened == Some(seen - 1) {
                        record.line = record.line.replace(theirs, ours);
                    }
                    stays
                }
                ("out", Some(message)) => !kind.answered_id(&message).is_some_and(|id| left_out.contains(id)),
                _ => true,
            }
        });
        if self.lines("in").next().is_none() {
            self.without_end_of_input();
        }
    }

    /// Leaves out the prompts, with their responses.
    pub(super) fn without_prompts(&mut self) {
        let prompt_ids: Vec<Value> = self
            .client()
            .into_iter()
            .filter(|message| message["method"] == "session/prompt")
            .map(|message| message["id"].clone())
            .collect();
        self.records.retain(|record| {
            let message = record.message().unwrap_or_default();
            !(message["method"] == "session/prompt"
                || (message.get("method").is_none() && record.dir == "out" && prompt_ids.contains(&message["id"])))
        });
    }

    /// Leaves out the end of stdin, for recordings whose client closed it within a turn.
    pub(super) fn without_end_of_input(&mut self) {
        self.records.retain(|record| !is_end_of_input(record));
    }
}

fn is_end_of_input(record: &Record) -> bool {
    record.dir == "meta" && record.message().is_some_and(|message| message["stdin"] == "closed")
}

fn record(line: &Value) -> Record {
    let text = |name: &str| line[name].as_str().expect("a recorded line").to_owned();
    Record { dir: text("dir"), line: text("line") }
}

fn parsed(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}"))
}

pub(super) fn strings_of(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}
