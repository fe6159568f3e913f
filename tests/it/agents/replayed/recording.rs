//! A recording, as an agent would play it to our client: without what our client never asks for, and with its words for the same thing.

use std::{fs, path::PathBuf};

use serde_json::{Value, json};

use super::client::{Deed, Kind};

pub struct Recording {
    pub records: Vec<Record>,
    /// What it was recorded with.
    pub argv: Vec<String>,
    /// What the unit bench says comes of it.
    pub entries: Vec<Value>,
}

#[derive(Clone)]
pub struct Record {
    pub dir: String,
    pub line: String,
}

impl Record {
    /// What the line says, if it is JSON.
    pub fn said(&self) -> Option<Value> {
        serde_json::from_str(&self.line).ok()
    }

    fn to_line(&self) -> String {
        format!("{}\n", json!({ "t_ms": 0, "dir": self.dir, "line": self.line }))
    }
}

fn argv(first: &Record) -> Vec<String> {
    first.said().map(|said| words(&said["argv"])).unwrap_or_default()
}

/// The names of the recordings of this kind in a directory: Codex is recorded in two ways.
pub fn names(kind: Kind, provider: &str) -> Vec<String> {
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
    pub fn read(kind: Kind, provider: &str, name: &str) -> Self {
        let read = |ending: &str| {
            let path = directory(provider).join(format!("{name}.{ending}"));
            fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        };
        let records: Vec<Record> = read("jsonl").lines().map(|line| record(&parsed(line))).collect();
        let argv = argv(&records[0]);
        // Before its lines, a snapshot says where it comes from.
        let entries = read("snap").lines().skip(3).map(parsed).collect();
        let mut recording = Self { records, argv, entries };
        recording.suit(kind);
        recording
    }

    /// As a file that `replay.py` plays.
    pub fn to_file(&self) -> String {
        self.records.iter().map(Record::to_line).collect()
    }

    pub fn lines(&self, dir: &str) -> impl Iterator<Item = &str> {
        self.records.iter().filter(move |record| record.dir == dir).map(|record| record.line.as_str())
    }

    /// What the recorded client wrote.
    pub fn client(&self) -> Vec<Value> {
        self.lines("in").filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// The recorded client's deeds, each with the number of lines that the program had written before.
    pub fn deeds(&self, kind: Kind) -> Vec<(usize, Deed)> {
        let (mut deeds, mut lines) = (Vec::new(), 0);
        for record in &self.records {
            match record.dir.as_str() {
                "out" => lines += 1,
                "in" => deeds.extend(record.said().and_then(|said| kind.deed(&said)).map(|deed| (lines, deed))),
                _ if is_end_of_input(record) => deeds.push((lines, Deed::Close)),
                _ => {}
            }
        }
        // The first prompt is the run's own.
        if let Some(first) = deeds.iter().position(|(_, deed)| matches!(deed, Deed::Prompt(_))) {
            deeds.remove(first);
        }
        // Who interrupts has said all about the questions that were open.
        let follows_interrupt = |at: usize| at > 0 && matches!(deeds[at - 1].1, Deed::Interrupt);
        let is_said = |at: usize| matches!(deeds[at].1, Deed::Answer(None)) && follows_interrupt(at);
        let said: Vec<bool> = (0..deeds.len()).map(is_said).collect();
        let mut said = said.into_iter();
        deeds.retain(|_| !said.next().unwrap_or(false));
        deeds
    }

    /// Leaves out what our client never says, together with the answers, and puts its words for what it says otherwise.
    fn suit(&mut self, kind: Kind) {
        let client: Vec<Value> = self.client();
        let mut left_out: Vec<Value> = Vec::new();
        let offers_resume = self.lines("out").any(|line| line.contains(r#""sessionCapabilities""#) && line.contains(r#""resume""#));
        let (theirs, ours) = if offers_resume { ("session/load", "session/resume") } else { ("session/resume", "session/load") };
        let opened = client.iter().position(|said| said["method"] == theirs);
        let mut seen = 0;
        self.records.retain_mut(|record| {
            let said = record.said();
            match (record.dir.as_str(), said) {
                ("in", None) => kind == Kind::Plain,
                ("in", Some(said)) => {
                    seen += 1;
                    let stays = kind.says(&said, client[..seen - 1].iter());
                    if !stays {
                        left_out.push(kind.request_id(&said).clone());
                    } else if opened == Some(seen - 1) {
                        record.line = record.line.replace(theirs, ours);
                    }
                    stays
                }
                ("out", Some(said)) => !kind.answered_id(&said).is_some_and(|id| left_out.contains(id)),
                _ => true,
            }
        });
        if self.lines("in").next().is_none() {
            self.without_end_of_input();
        }
    }

    /// Leaves the prompts out, with their answers.
    pub fn without_prompts(&mut self) {
        let asked: Vec<Value> =
            self.client().into_iter().filter(|said| said["method"] == "session/prompt").map(|said| said["id"].clone()).collect();
        self.records.retain(|record| {
            let said = record.said().unwrap_or_default();
            !(said["method"] == "session/prompt" || (said.get("method").is_none() && record.dir == "out" && asked.contains(&said["id"])))
        });
    }

    /// Leaves the end of stdin out, for recordings whose client ended it in the middle of a turn.
    pub fn without_end_of_input(&mut self) {
        self.records.retain(|record| !is_end_of_input(record));
    }
}

fn is_end_of_input(record: &Record) -> bool {
    record.dir == "meta" && record.said().is_some_and(|said| said["stdin"] == "closed")
}

fn record(line: &Value) -> Record {
    let text = |name: &str| line[name].as_str().expect("a recorded line").to_owned();
    Record { dir: text("dir"), line: text("line") }
}

fn parsed(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}"))
}

pub fn words(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}
