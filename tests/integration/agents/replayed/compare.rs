//! Compares a recording with what a client of the server received. Ids that the server or loomd's client chose, and
//! paths, differ rightly; they are replaced by those of the recording first.

use serde_json::{Map, Value, json};

use super::{
    Deviation,
    client::Kind,
    recording::{Recording, strings_of},
};
use crate::harness::{Home, Log};

pub(super) struct Comparison {
    kind: Kind,
    /// Pairs of a text in the recording and the text that stands for it here; longer ones first.
    pairs: Vec<(String, String)>,
    /// The ids of sessions in the recording, all of which are one here.
    session: Option<(Vec<String>, String)>,
    out: Vec<String>,
    err: String,
    entries: Vec<Value>,
}

impl Comparison {
    pub(super) fn new(kind: Kind, recording: &Recording, home: &Home, run: &Value) -> Self {
        let argv = strings_of(&run["command"]);
        let after = |option: &str| argv.iter().position(|word| word == option).and_then(|at| argv.get(at + 1)).cloned();
        let session = after("--session-id").or(after("--resume")).filter(|_| kind == Kind::Claude).map(|ours| {
            let messages = recording.lines("out").filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let mut ids: Vec<String> = messages.filter_map(|message| message["session_id"].as_str().map(str::to_owned)).collect();
            ids.dedup();
            (ids, ours)
        });
        let home = home.path().display().to_string();
        let pairs = vec![("$CWD".to_owned(), format!("{home}/work")), ("$HOME".to_owned(), home)];
        let mut comparison = Self { kind, pairs, session, out: Vec::new(), err: String::new(), entries: Vec::new() };
        comparison.out = recording.lines("out").map(|line| comparison.localized(line)).collect();
        comparison.err = recording.lines("err").map(|line| format!("{}\n", comparison.localized(line))).collect();
        // The snapshots name some programs in their own way.
        let program = match kind {
            Kind::Codex => "/bin/codex",
            Kind::Claude => "claude",
            Kind::Acp | Kind::Plain => &recording.argv[0],
        };
        comparison.pairs.insert(0, (program.to_owned(), argv[0].clone()));
        comparison.entries = recording.entries.iter().map(comparable).collect();
        comparison
    }

    /// A recorded text with the paths and ids of this run.
    fn localized(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (generalized, ours) in &self.pairs {
            text = text.replace(generalized, ours);
        }
        for (generalized, ours) in self.session.iter().flat_map(|(ids, ours)| ids.iter().map(move |id| (id, ours))) {
            text = text.replace(generalized, ours);
        }
        text
    }

    /// How many of the recorded lines have been written.
    pub(super) fn played_lines(&self, log: &Log) -> usize {
        self.align(log).unwrap_or_else(|(line, expected)| panic!("the output is not the recorded one: {line}\nexpected: {expected}"))
    }

    /// Counts the recorded lines. A response that `replay.py` made up, because none was recorded, is not one of them.
    fn align(&self, log: &Log) -> Result<usize, (String, String)> {
        let text = String::from_utf8_lossy(&log.stdout);
        let mut played_lines = 0;
        for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
            match self.out.get(played_lines) {
                Some(expected) if self.is_same(line, expected) => played_lines += 1,
                _ if self.is_invented(line) => {}
                expected => return Err((line.to_owned(), expected.cloned().unwrap_or_default())),
            }
        }
        Ok(played_lines)
    }

    fn is_same(&self, line: &str, generalized: &str) -> bool {
        line == generalized || self.without_id(line).is_some_and(|line| Some(line) == self.without_id(generalized))
    }

    /// A response without the id of the request, which loomd's client chose; `None` for other messages.
    fn without_id(&self, line: &str) -> Option<Value> {
        let mut response: Value = serde_json::from_str(line).ok()?;
        self.kind.answered_id(&response)?;
        if self.kind == Kind::Claude {
            response["response"]["request_id"] = Value::Null;
        } else {
            response["id"] = Value::Null;
        }
        Some(response)
    }

    fn is_invented(&self, line: &str) -> bool {
        let Some(response) = self.without_id(line) else { return false };
        response["result"] == json!({}) || (response["response"]["subtype"] == "success" && response["response"]["response"] == json!({}))
    }

    /// How often the recorded run was idle.
    pub(super) fn idle_states(&self) -> usize {
        self.entries.iter().filter(|entry| entry["kind"] == "state" && entry["state"] == "idle").count()
    }

    pub(super) fn check_output(&self, log: &Log) {
        assert_eq!(
            self.played_lines(log),
            self.out.len(),
            "not all of the recording was played; stderr: {}",
            String::from_utf8_lossy(&log.stderr)
        );
        assert_eq!(String::from_utf8_lossy(&log.stderr), self.err, "stderr");
    }

    /// Compares the log without its output with the snapshot.
    pub(super) fn check_entries(&self, log: &Log, run: &Value, deviation: Option<Deviation>) {
        let mut actual: Vec<Value> = log.events.iter().map(comparable).collect();
        let first = actual.remove(0);
        assert_eq!((&first["kind"], &first["state"]), (&json!("state"), &json!("running")), "how a log begins: {first}");
        let session = run["session"]["id"].as_str().unwrap_or("no session");
        let actual: Vec<Value> = actual.iter().map(|entry| self.generalized(entry, session)).collect();
        let mut expected: Vec<Value> = self.entries.iter().map(|entry| self.generalized(entry, session)).collect();
        // The snapshot has only the last line of stderr, the run's error has more of it.
        if let (Some(ours), Some(theirs)) = (actual.last().and_then(split_stderr), expected.last().and_then(split_stderr)) {
            let last = self.generalized(&json!(self.err.split_whitespace().next_back()), session);
            assert!(ours.1.ends_with(last.as_str().expect("words on stderr")), "the end of stderr, {last}: {}", ours.1);
            assert_eq!(ours.0, theirs.0);
            let end = expected.len() - 1;
            expected[end] = actual[actual.len() - 1].clone();
        }
        // A session becomes resumable a moment after the agent's first output, and how many entries come in that moment
        // varies. So the sessions are compared apart from the other entries.
        let is_session = |entry: &Value| entry["kind"] == "session";
        // The snapshot does not have the id that loomd chose for a program that never reports it.
        let is_chosen_by_us = run["provider"] == "claude" && !expected.iter().any(is_session);
        let mut actual: Vec<Value> = actual.into_iter().filter(|entry| !(is_chosen_by_us && is_session(entry))).collect();
        // In the recording, time passes between an interrupt and the end of its turn, and loomd notes that; here none
        // does.
        let is_stop_notice =
            |entry: &Value| entry["update"]["title"].as_str().is_some_and(|title| title.contains("has not stopped its turn yet"));
        actual.retain(|entry| !is_stop_notice(entry));
        expected.retain(|entry| !is_stop_notice(entry));
        let session_index = |entries: &[Value]| entries.iter().position(is_session);
        assert_eq!(
            session_index(&actual),
            session_index(&expected),
            "when the session is reported first\n{}\n=== expected\n{}",
            listing(&actual),
            listing(&expected)
        );
        let (sessions, mut actual): (Vec<Value>, Vec<Value>) = actual.into_iter().partition(is_session);
        let (kept, mut expected): (Vec<Value>, Vec<Value>) = expected.into_iter().partition(is_session);
        let both = sessions.len().min(kept.len());
        if deviation != Some(Deviation::Resumed) {
            assert_eq!(sessions[..both], kept[..both], "the session");
        }
        assert!(both > 0 || (sessions.is_empty() && kept.is_empty()), "a session that is reported only once: {sessions:?} {kept:?}");
        for more in sessions[both..].iter().chain(&kept[both..]) {
            assert_eq!(more["session"]["resumable"], true, "not all of the session is reported: {more}");
        }
        if deviation == Some(Deviation::Order) {
            actual.sort_by_key(Value::to_string);
            expected.sort_by_key(Value::to_string);
        }
        for (place, pair) in actual.iter().zip(&expected).enumerate() {
            assert_eq!(pair.0, pair.1, "entry {place} of\n{}\n=== expected\n{}", listing(&actual), listing(&expected));
        }
        assert_eq!(actual.len(), expected.len(), "\n{}\n=== expected\n{}", listing(&actual), listing(&expected));
    }

    /// An entry with the paths and ids of the recording.
    fn generalized(&self, entry: &Value, session: &str) -> Value {
        let mut text = entry.to_string();
        for (generalized, ours) in &self.pairs {
            text = text.replace(ours, generalized).replace(&format!("'{generalized}'"), generalized);
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

/// The message of an error, split into the part before stderr's last lines and these lines.
fn split_stderr(entry: &Value) -> Option<(String, String)> {
    let (error, stderr) = entry["error"]["message"].as_str()?.split_once("; end of stderr: ")?;
    Some((error.to_owned(), stderr.to_owned()))
}

/// An entry without its number, time and exit, in one form for the snapshot's entries and the log's.
fn comparable(entry: &Value) -> Value {
    let mut comparable: Map<String, Value> = entry.as_object().expect("an entry").clone();
    for name in ["runId", "seq", "at", "exitCode", "signal", "left"] {
        comparable.remove(name);
    }
    if let Some(Value::Object(status)) = comparable.get("status").cloned() {
        comparable.remove("status");
        comparable.extend(status);
    }
    comparable.retain(|name, value| !(value.is_null() || name == "stopReason" && value == ""));
    Value::Object(comparable)
}

fn listing(entries: &[Value]) -> String {
    entries.iter().map(|entry| format!("{}\n", entry.to_string().chars().take(400).collect::<String>())).collect()
}
