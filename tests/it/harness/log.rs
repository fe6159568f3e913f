//! A run's log as one client sees it. It takes entries and refuses gaps, repeats and anything after the end.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use serde_json::Value;

#[derive(Clone, Debug, Default)]
pub struct Log {
    pub run: String,
    /// The last entry that was taken.
    pub seq: u64,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    /// The `run/state` entries.
    pub states: Vec<Value>,
    /// All entries but the output.
    pub said: Vec<Value>,
    /// Whole output entries that were split, because the client asked for small chunks, share a number.
    pub allows_splits: bool,
    /// How many notifications were taken.
    pub taken: usize,
}

impl Log {
    pub fn of(run: &str) -> Self {
        Self { run: run.to_owned(), ..Self::default() }
    }

    pub fn take(&mut self, entry: &Value) {
        let number = |name: &str| entry[name].as_u64().unwrap_or_else(|| panic!("{name} in {entry}"));
        let kind = entry["kind"].as_str().expect("an entry has a kind");
        assert_eq!(entry["runId"], self.run.as_str(), "an entry of another run: {entry}");
        assert!(!self.is_final(), "an entry after the end: {entry}");
        assert!(number("at") > 1_500_000_000_000, "a time in milliseconds: {entry}");
        let (seq, first) = (number("seq"), entry["firstSeq"].as_u64().unwrap_or(number("seq")));
        assert!(first <= seq, "merged backwards: {entry}");
        let is_next = first == self.seq + 1 || (self.allows_splits && first == self.seq && kind == "output");
        assert!(is_next, "after entry {} comes {first} (to {seq})", self.seq);
        match kind {
            "output" => self.take_output(entry, number("offset")),
            "state" => self.states.push(entry.clone()),
            "session" | "update" | "permission" => {}
            other => panic!("an unknown kind: {other}"),
        }
        if kind != "output" {
            self.said.push(entry.clone());
        }
        self.seq = seq;
        self.taken += 1;
    }

    fn take_output(&mut self, entry: &Value, offset: u64) {
        let text = entry["text"].as_str().expect("output has text");
        let raw = raw_bytes(entry);
        assert!(!raw.is_empty(), "an empty chunk: {entry}");
        if entry.get("data").is_some() {
            assert_ne!(raw, text.as_bytes(), "`data` where the text says it all");
            assert!(text.contains('\u{fffd}'), "a text that hides what it lacks: {text:?}");
        }
        let stream = match entry["stream"].as_str() {
            Some("stdout") => &mut self.stdout,
            Some("stderr") => &mut self.stderr,
            other => panic!("an unknown stream: {other:?}"),
        };
        assert_eq!(offset, stream.len() as u64, "where the chunk stands in its stream");
        stream.extend(raw);
    }

    pub fn is_final(&self) -> bool {
        let state = self.states.last().and_then(|state| state["state"].as_str());
        matches!(state, Some("succeeded" | "failed" | "cancelled" | "timedOut" | "lost"))
    }

    /// The updates of this kind.
    pub fn updates(&self, kind: &str) -> Vec<&Value> {
        self.said.iter().map(|entry| &entry["update"]).filter(|update| update["sessionUpdate"] == kind).collect()
    }

    /// What was said in the chunks of this kind, as a client shows it.
    pub fn spoken(&self, kind: &str) -> String {
        self.updates(kind).iter().filter_map(|update| update["content"]["text"].as_str()).collect()
    }

    /// The output of all tool calls, as a client shows it.
    pub fn tool_output(&self) -> String {
        let mut shown = String::new();
        for output in self.updates("tool_call_update").iter().filter_map(|update| update["_meta"].get("loomd/output")) {
            shown.truncate(output["offset"].as_u64().expect("an offset") as usize);
            shown.push_str(output["text"].as_str().expect("a text"));
        }
        shown
    }

    /// The questions that were asked.
    pub fn asked(&self) -> Vec<&Value> {
        self.said.iter().filter(|entry| entry["status"] == "requested").collect()
    }

    /// How questions were settled.
    pub fn settled(&self) -> Vec<&Value> {
        self.said.iter().filter(|entry| entry["status"] == "resolved").collect()
    }

    /// The sessions that were told.
    pub fn sessions(&self) -> Vec<&Value> {
        self.said.iter().filter(|entry| entry["kind"] == "session").map(|entry| &entry["session"]).collect()
    }

    /// The words of the states so far.
    pub fn state_words(&self) -> Vec<&str> {
        self.states.iter().filter_map(|state| state["state"].as_str()).collect()
    }

    /// The final `run/state`.
    pub fn end(&self) -> &Value {
        assert!(self.is_final(), "the run has not ended");
        self.states.last().expect("an end")
    }

    pub fn stdout_text(&self) -> String {
        String::from_utf8(self.stdout.clone()).expect("the program wrote text")
    }

    /// Says whether two accounts of a stream are the same, without printing megabytes when they are not.
    pub fn assert_stdout(&self, expected: &[u8]) {
        assert_eq!(self.stdout.len(), expected.len(), "length of stdout");
        assert_eq!(blake3::hash(&self.stdout), blake3::hash(expected), "hash of stdout");
    }
}

/// The bytes that an output entry stands for.
pub fn raw_bytes(entry: &Value) -> Vec<u8> {
    match entry["data"].as_str() {
        Some(data) => BASE64.decode(data).expect("base64"),
        None => entry["text"].as_str().expect("output has text").as_bytes().to_vec(),
    }
}
