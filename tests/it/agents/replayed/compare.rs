//! What was recorded, against what a client of the server saw. What rightly differs is put into the recording's words first: ids that the
//! server or our client chose, paths.

use serde_json::{Map, Value, json};

use super::{
    Otherwise,
    client::Kind,
    recording::{Recording, words},
};
use crate::harness::{Home, Log};

pub struct Words {
    kind: Kind,
    /// What stands in the recording, and what stands for it here; longer words first.
    pairs: Vec<(String, String)>,
    /// The ids of sessions in the recording, all of which are one here.
    session: Option<(Vec<String>, String)>,
    out: Vec<String>,
    err: String,
    entries: Vec<Value>,
}

impl Words {
    pub fn new(kind: Kind, recording: &Recording, home: &Home, run: &Value) -> Self {
        let argv = words(&run["command"]);
        let after = |option: &str| argv.iter().position(|word| word == option).and_then(|at| argv.get(at + 1)).cloned();
        let session = after("--session-id").or(after("--resume")).filter(|_| kind == Kind::Claude).map(|ours| {
            let said = recording.lines("out").filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let mut ids: Vec<String> = said.filter_map(|said| said["session_id"].as_str().map(str::to_owned)).collect();
            ids.dedup();
            (ids, ours)
        });
        let here = home.path().display().to_string();
        let pairs = vec![("$CWD".to_owned(), format!("{here}/work")), ("$HOME".to_owned(), here)];
        let mut words = Self { kind, pairs, session, out: Vec::new(), err: String::new(), entries: Vec::new() };
        words.out = recording.lines("out").map(|line| words.here(line)).collect();
        words.err = recording.lines("err").map(|line| format!("{}\n", words.here(line))).collect();
        // The bench calls some programs by names of its own.
        let program = match kind {
            Kind::Codex => "/bin/codex",
            Kind::Claude => "claude",
            Kind::Acp | Kind::Plain => &recording.argv[0],
        };
        words.pairs.insert(0, (program.to_owned(), argv[0].clone()));
        words.entries = recording.entries.iter().map(told).collect();
        words
    }

    /// A recorded text in today's words.
    fn here(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (recorded, ours) in &self.pairs {
            text = text.replace(recorded, ours);
        }
        for (recorded, ours) in self.session.iter().flat_map(|(ids, ours)| ids.iter().map(move |id| (id, ours))) {
            text = text.replace(recorded, ours);
        }
        text
    }

    /// How many of the recorded lines have been written.
    pub fn played(&self, log: &Log) -> usize {
        self.align(log).unwrap_or_else(|(line, expected)| panic!("the output is not the recorded one: {line}\nexpected: {expected}"))
    }

    /// Counts the recorded lines; what stands in for an answer that was not recorded is no line of the recording.
    fn align(&self, log: &Log) -> Result<usize, (String, String)> {
        let text = String::from_utf8_lossy(&log.stdout);
        let mut played = 0;
        for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
            match self.out.get(played) {
                Some(expected) if self.is_same(line, expected) => played += 1,
                _ if self.is_invented(line) => {}
                expected => return Err((line.to_owned(), expected.cloned().unwrap_or_default())),
            }
        }
        Ok(played)
    }

    fn is_same(&self, line: &str, recorded: &str) -> bool {
        line == recorded || self.without_id(line).is_some_and(|line| Some(line) == self.without_id(recorded))
    }

    /// An answer, but for the id of the request, which was our client's.
    fn without_id(&self, line: &str) -> Option<Value> {
        let mut said: Value = serde_json::from_str(line).ok()?;
        self.kind.answered_id(&said)?;
        if self.kind == Kind::Claude {
            said["response"]["request_id"] = Value::Null;
        } else {
            said["id"] = Value::Null;
        }
        Some(said)
    }

    fn is_invented(&self, line: &str) -> bool {
        let Some(said) = self.without_id(line) else { return false };
        said["result"] == json!({}) || (said["response"]["subtype"] == "success" && said["response"]["response"] == json!({}))
    }

    pub fn check_output(&self, log: &Log) {
        assert_eq!(
            self.played(log),
            self.out.len(),
            "not all of the recording was played; stderr: {}",
            String::from_utf8_lossy(&log.stderr)
        );
        assert_eq!(String::from_utf8_lossy(&log.stderr), self.err, "stderr");
    }

    /// The log without its output, against the snapshot.
    pub fn check_entries(&self, log: &Log, run: &Value, otherwise: Option<Otherwise>) {
        let mut said: Vec<Value> = log.said.iter().map(told).collect();
        let first = said.remove(0);
        assert_eq!((&first["kind"], &first["state"]), (&json!("state"), &json!("running")), "how a log begins: {first}");
        let session = run["session"]["id"].as_str().unwrap_or("no session");
        let said: Vec<Value> = said.iter().map(|entry| self.recorded(entry, session)).collect();
        let mut expected: Vec<Value> = self.entries.iter().map(|entry| self.recorded(entry, session)).collect();
        // The bench knows only the last line of stderr, people get more of it.
        if let (Some(ours), Some(theirs)) = (said.last().and_then(words_on_stderr), expected.last().and_then(words_on_stderr)) {
            let last = self.recorded(&json!(self.err.split_whitespace().next_back()), session);
            assert!(ours.1.ends_with(last.as_str().expect("words on stderr")), "the end of stderr, {last}: {}", ours.1);
            assert_eq!(ours.0, theirs.0);
            let end = expected.len() - 1;
            expected[end] = said[said.len() - 1].clone();
        }
        // A session counts as kept a moment after the agent's first word; how much is said in that moment is another thing here and there.
        let is_session = |entry: &Value| entry["kind"] == "session";
        // The bench does not know the id that was chosen for a program that never says it.
        let is_chosen_by_us = run["provider"] == "claude" && !expected.iter().any(is_session);
        let mut said: Vec<Value> = said.into_iter().filter(|entry| !(is_chosen_by_us && is_session(entry))).collect();
        // Recorded time stands between an interrupt and the end of its turn; here there is none.
        let is_impatient =
            |entry: &Value| entry["update"]["title"].as_str().is_some_and(|title| title.contains("told to stop and has not yet"));
        said.retain(|entry| !is_impatient(entry));
        expected.retain(|entry| !is_impatient(entry));
        let told_at = |entries: &[Value]| entries.iter().position(is_session);
        assert_eq!(
            told_at(&said),
            told_at(&expected),
            "when the session is told first\n{}\n=== expected\n{}",
            list(&said),
            list(&expected)
        );
        let (sessions, mut said): (Vec<Value>, Vec<Value>) = said.into_iter().partition(is_session);
        let (kept, mut expected): (Vec<Value>, Vec<Value>) = expected.into_iter().partition(is_session);
        let both = sessions.len().min(kept.len());
        if otherwise != Some(Otherwise::Resumed) {
            assert_eq!(sessions[..both], kept[..both], "the session");
        }
        assert!(both > 0 || (sessions.is_empty() && kept.is_empty()), "a session that is told once only: {sessions:?} {kept:?}");
        for more in sessions[both..].iter().chain(&kept[both..]) {
            assert_eq!(more["session"]["resumable"], true, "not all of the session is told: {more}");
        }
        if otherwise == Some(Otherwise::Order) {
            said.sort_by_key(Value::to_string);
            expected.sort_by_key(Value::to_string);
        }
        for (place, pair) in said.iter().zip(&expected).enumerate() {
            assert_eq!(pair.0, pair.1, "entry {place} of\n{}\n=== expected\n{}", list(&said), list(&expected));
        }
        assert_eq!(said.len(), expected.len(), "\n{}\n=== expected\n{}", list(&said), list(&expected));
    }

    /// An entry in words that do not depend on the place and the hour.
    fn recorded(&self, entry: &Value, session: &str) -> Value {
        let mut text = entry.to_string();
        for (recorded, ours) in &self.pairs {
            text = text.replace(ours, recorded).replace(&format!("'{recorded}'"), recorded);
        }
        text = text.replace(session, "$SESSION");
        for id in self.session.iter().flat_map(|(ids, _)| ids) {
            text = text.replace(id, "$SESSION");
        }
        for (number, name) in [("signal 15", "SIGTERM"), ("signal 9", "SIGKILL"), ("signal 2", "SIGINT")] {
            text = text.replace(&format!("ended by {number}"), &format!("ended by {name}"));
        }
        serde_json::from_str(&text).expect("it was JSON")
    }
}

/// An outcome's error, cut where it begins to tell of stderr.
fn words_on_stderr(entry: &Value) -> Option<(String, String)> {
    let (error, stderr) = entry["error"]["message"].as_str()?.split_once("; its last words on stderr: ")?;
    Some((error.to_owned(), stderr.to_owned()))
}

/// What an entry says, without where and when it was said. The bench's form and the log's are made one.
fn told(entry: &Value) -> Value {
    let mut told: Map<String, Value> = entry.as_object().expect("an entry").clone();
    for name in ["runId", "seq", "at", "exitCode", "signal", "left"] {
        told.remove(name);
    }
    if let Some(Value::Object(status)) = told.get("status").cloned() {
        told.remove("status");
        told.extend(status);
    }
    told.retain(|name, value| !(value.is_null() || name == "stopReason" && value == ""));
    Value::Object(told)
}

fn list(entries: &[Value]) -> String {
    entries.iter().map(|entry| format!("{}\n", entry.to_string().chars().take(400).collect::<String>())).collect()
}
