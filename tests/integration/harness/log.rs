//! A run's log as one client receives it. It refuses gaps, repeats and entries after the end.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use serde_json::Value;

#[derive(Clone, Debug, Default)]
pub(crate) struct Log {
    pub run: String,
    /// Number of the last entry that was pushed.
    pub seq: u64,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    /// The `run/state` entries.
    pub states: Vec<Value>,
    /// All entries except output.
    pub events: Vec<Value>,
    /// Whether an output entry may come in several notifications with one number, as for a client with a small
    /// `maxChunkBytes`.
    pub allows_splits: bool,
    /// How many notifications were pushed.
    pub notification_count: usize,
}

impl Log {
    pub(crate) fn of(run: &str) -> Self {
        Self { run: run.to_owned(), ..Self::default() }
    }

    pub(crate) fn push(&mut self, entry: &Value) {
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
            "output" => self.push_output(entry, number("offset")),
            "state" => self.states.push(entry.clone()),
            "session" | "update" | "permission" | "size" => {}
            other => panic!("an unknown kind: {other}"),
        }
        if kind != "output" {
            self.events.push(entry.clone());
        }
        self.seq = seq;
        self.notification_count += 1;
    }

    fn push_output(&mut self, entry: &Value, offset: u64) {
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

    pub(crate) fn is_final(&self) -> bool {
        let state = self.states.last().and_then(|state| state["state"].as_str());
        matches!(state, Some("succeeded" | "failed" | "cancelled" | "timedOut" | "lost"))
    }

    /// The updates of this kind.
    pub(crate) fn updates(&self, kind: &str) -> Vec<&Value> {
        self.events.iter().map(|entry| &entry["update"]).filter(|update| update["sessionUpdate"] == kind).collect()
    }

    /// The text of the chunks of this kind, as a client shows it.
    pub(crate) fn text_of(&self, kind: &str) -> String {
        self.updates(kind).iter().filter_map(|update| update["content"]["text"].as_str()).collect()
    }

    /// The output of all tool calls, as a client shows it.
    pub(crate) fn tool_output(&self) -> String {
        let mut shown = String::new();
        for output in self.updates("tool_call_update").iter().filter_map(|update| update["_meta"].get("loomd/output")) {
            shown.truncate(output["offset"].as_u64().expect("an offset") as usize);
            shown.push_str(output["text"].as_str().expect("a text"));
        }
        shown
    }

    /// The permission requests.
    pub(crate) fn permission_requests(&self) -> Vec<&Value> {
        self.events.iter().filter(|entry| entry["status"] == "requested").collect()
    }

    /// The entries that resolved permission requests.
    pub(crate) fn permission_results(&self) -> Vec<&Value> {
        self.events.iter().filter(|entry| entry["status"] == "resolved").collect()
    }

    /// The sessions of the session entries.
    pub(crate) fn sessions(&self) -> Vec<&Value> {
        self.events.iter().filter(|entry| entry["kind"] == "session").map(|entry| &entry["session"]).collect()
    }

    /// The names of the states so far.
    pub(crate) fn state_names(&self) -> Vec<&str> {
        self.states.iter().filter_map(|state| state["state"].as_str()).collect()
    }

    /// The final `run/state`.
    pub(crate) fn end(&self) -> &Value {
        assert!(self.is_final(), "the run has not ended");
        self.states.last().expect("an end")
    }

    pub(crate) fn stdout_text(&self) -> String {
        String::from_utf8(self.stdout.clone()).expect("the program wrote text")
    }

    /// Asserts what stdout is. The message does not print megabytes.
    pub(crate) fn assert_stdout(&self, expected: &[u8]) {
        assert_eq!(self.stdout.len(), expected.len(), "length of stdout");
        assert_eq!(blake3::hash(&self.stdout), blake3::hash(expected), "hash of stdout");
    }
}

/// The bytes that an output entry stands for.
pub(crate) fn raw_bytes(entry: &Value) -> Vec<u8> {
    match entry["data"].as_str() {
        Some(data) => BASE64.decode(data).expect("base64"),
        None => entry["text"].as_str().expect("output has text").as_bytes().to_vec(),
    }
}
