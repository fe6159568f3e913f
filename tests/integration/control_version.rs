//! A server of the previous release: its side of the control protocol is played from a recording.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::Path,
    process::{Child, Command},
};

use serde_json::{Value, json};

use crate::{
    TEST_TIMEOUT,
    harness::{Home, isolated},
};

const RECORDING: &str = include_str!("../control/version-0.jsonl");
const RUN: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

/// A connection to a supervisor. It reads what a server of version 0 would understand, and nothing else.
struct Connection {
    stream: BufReader<UnixStream>,
    /// The requests that wait for an answer.
    asked: Vec<Value>,
}

impl Connection {
    fn new(stream: UnixStream) -> Self {
        stream.set_read_timeout(Some(TEST_TIMEOUT)).expect("a timeout");
        Self { stream: BufReader::new(stream), asked: Vec::new() }
    }

    fn say(&mut self, line: &str) {
        writeln!(self.stream.get_mut(), "{line}").expect("taken");
        self.asked.push(parsed(line)["id"].clone());
    }

    /// The next line that is no wake-up, and no answer to a request that was not made: version 0 ignores one.
    fn hear(&mut self) -> Value {
        loop {
            let mut line = String::new();
            assert_ne!(self.stream.read_line(&mut line).expect("a line in time"), 0, "the supervisor closed the connection");
            let event = parsed(line.trim_end());
            if event.is_null() || event.get("answer").is_some_and(|answer| !self.asked.contains(&answer["id"])) {
                continue;
            }
            return event;
        }
    }
}

fn parsed(line: &str) -> Value {
    if line.is_empty() { Value::Null } else { serde_json::from_str(line).expect("JSON") }
}

/// What matters of an event to a server: times and sizes differ from the recorded ones.
fn shape(event: &Value) -> Value {
    let members: Vec<&String> = event.as_object().expect("an object").keys().collect();
    match members[..] {
        [kind] if kind == "answer" => {
            json!([kind, event[kind]["id"], event[kind]["result"].as_object().expect("a result").keys().collect::<Vec<_>>()])
        }
        [kind] if kind == "entry" => json!([kind, event[kind]["seq"].is_u64(), event[kind]["kind"], event[kind]["state"]]),
        [kind] if kind == "changed" || kind == "started" => json!([kind, event[kind]["id"], event[kind]["title"], event[kind]["state"]]),
        _ => panic!("version 0 does not know {event}"),
    }
}

/// Starts `loomd supervise` as a server does: with its connection at descriptor 3 and the lock at 4.
fn supervise(home: &Home, control: UnixStream, lock: File) -> Child {
    let mut command = Command::new("sh");
    let script = r#"exec 3<&0 4<&1 </dev/null >/dev/null; exec "$0" supervise "$1""#;
    command.args(["-c", script, env!("CARGO_BIN_EXE_loomd"), RUN]).stdin(OwnedFd::from(control)).stdout(lock);
    isolated(command, home).spawn().expect("a supervisor")
}

/// Makes the directory of a run that is being started. Returns its lock.
fn staged(runs: &Path, run: &Value) -> File {
    let directory = runs.join(format!(".new-{RUN}"));
    fs::create_dir_all(&directory).expect("a directory");
    fs::write(directory.join("run.json"), json!({ "version": 1, "run": run }).to_string()).expect("a description");
    let lock = File::open(directory).expect("a directory");
    lock.lock().expect("free");
    lock
}

#[test]
fn a_server_of_version_0_starts_and_steers_this_supervisor() {
    let home = Home::new();
    let runs = home.data().join("runs");
    let text = RECORDING.replace("$RUNS", runs.to_str().expect("text")).replace("$RUN", RUN);
    let lines: Vec<Value> = text.lines().map(parsed).collect();
    let line_of = |recorded: &Value| recorded["line"].as_str().expect("text").to_owned();
    let lock = staged(&runs, &parsed(&line_of(&lines[0]))["run"]);
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    let mut supervisor = supervise(&home, theirs, lock);
    let mut connections = BTreeMap::from([(0, Connection::new(ours))]);
    for recorded in &lines {
        let open = || Connection::new(UnixStream::connect(runs.join(RUN).join("s")).expect("a socket"));
        let connection = connections.entry(recorded["connection"].as_u64().expect("a number")).or_insert_with(open);
        match (recorded["from"].as_str(), line_of(recorded).as_str()) {
            (Some("server"), line) => connection.say(line),
            (_, "") => {}
            (_, line) => assert_eq!(shape(&connection.hear()), shape(&parsed(line)), "instead of {line}"),
        }
    }
    assert!(supervisor.wait().expect("it ended").success());
    let log = fs::read_to_string(runs.join(RUN).join("00000000000000000001.jsonl")).expect("a log");
    assert!(log.contains(r"hello\n") && log.contains(r"more\n"), "{log}");
}
