//! One server and its only client.

use std::{
    collections::{BTreeMap, VecDeque},
    io::Write,
    process::{Child, ChildStdin, ExitStatus},
    sync::{Arc, Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};

use loomd::model::FailureKind;
use serde_json::{Value, json};

use super::{DEADLINE, Framing, Log, kill, resume, setup::Reading, until};

pub struct Server {
    pub(super) child: Child,
    pub(super) stdin: Option<ChildStdin>,
    pub(super) framing: Framing,
    pub(super) incoming: mpsc::Receiver<Result<Value, String>>,
    pub(super) reading: Arc<Reading>,
    pub(super) stderr: Arc<Mutex<String>>,
    pub(super) next_id: i64,
    pub(super) answers: BTreeMap<i64, Value>,
    /// Answers that no request of ours explains: with id null, or whole batches.
    pub strays: VecDeque<Value>,
    /// Notifications that nobody has taken, in the order in which they came.
    pub notifications: VecDeque<(String, Value)>,
}

/// An error answer.
#[derive(Clone, Debug)]
pub struct Failure {
    pub code: i64,
    pub kind: &'static str,
    pub message: String,
    pub data: Value,
}

impl Server {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn stderr(&self) -> String {
        self.stderr.lock().expect("a lock").clone()
    }

    /// Sends a request and returns at once; [`Self::finish`] waits for the answer.
    pub fn begin(&mut self, method: &str, params: Value) -> i64 {
        let id = self.next_id;
        self.next_id += 1;
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
        id
    }

    pub fn finish(&mut self, id: i64) -> Result<Value, Failure> {
        let end = Instant::now() + DEADLINE;
        while !self.answers.contains_key(&id) {
            self.receive(end, &format!("the answer to request {id}"));
        }
        outcome(&self.answers.remove(&id).expect("an answer"))
    }

    /// Whether an answer has come already.
    pub fn has_answered(&mut self, id: i64) -> bool {
        while let Ok(message) = self.incoming.try_recv() {
            self.sort(message);
        }
        self.answers.contains_key(&id)
    }

    pub fn ask(&mut self, method: &str, params: Value) -> Result<Value, Failure> {
        let id = self.begin(method, params);
        self.finish(id)
    }

    /// A request that must succeed.
    pub fn call(&mut self, method: &str, params: Value) -> Value {
        self.ask(method, params.clone()).unwrap_or_else(|failure| panic!("{method} {params}: {failure:?}\nstderr: {}", self.stderr()))
    }

    /// A request that must fail.
    pub fn fail(&mut self, method: &str, params: Value) -> Failure {
        match self.ask(method, params.clone()) {
            Err(failure) => failure,
            Ok(result) => panic!("{method} {params} was to fail and answered {result}"),
        }
    }

    pub fn notify(&mut self, method: &str, params: Value) {
        self.send(&json!({ "jsonrpc": "2.0", "method": method, "params": params }));
    }

    pub fn send(&mut self, message: &Value) {
        let frame = self.framing.frame(&message.to_string());
        self.send_bytes(&frame);
    }

    /// Writes to the server; it does not matter here whether it still listens.
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        let stdin = self.stdin.as_mut().expect("stdin is open");
        let _ = stdin.write_all(bytes).and_then(|()| stdin.flush());
    }

    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Stops taking what the server writes.
    pub fn stop_reading(&self) {
        *self.reading.stopped.lock().expect("a lock") = true;
    }

    pub fn resume_reading(&self) {
        *self.reading.stopped.lock().expect("a lock") = false;
        self.reading.changed.notify_all();
    }

    /// The next answer that belongs to no request of ours.
    pub fn stray(&mut self) -> Value {
        let end = Instant::now() + DEADLINE;
        loop {
            if let Some(stray) = self.strays.pop_front() {
                return stray;
            }
            self.receive(end, "an answer without a request");
        }
    }

    /// Takes the first notification that satisfies, out of order with the others.
    pub fn notification(&mut self, method: &str, satisfies: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + DEADLINE;
        loop {
            let position = self.notifications.iter().position(|(name, params)| name == method && satisfies(params));
            if let Some(position) = position {
                return self.notifications.remove(position).expect("it is there").1;
            }
            self.receive(end, &format!("a notification {method}"));
        }
    }

    /// Starts a run and follows it from its first entry.
    pub fn start(&mut self, params: Value) -> (Value, Log) {
        let run = self.call("run/start", params)["run"].clone();
        let log = Log::of(id(&run));
        let early = self.entries_of(&log.run);
        assert!(early.is_empty(), "notifications before the answer to run/start: {early:?}");
        (run, log)
    }

    /// Starts a shell script.
    pub fn sh(&mut self, script: &str) -> (Value, Log) {
        self.start(json!({ "provider": "command", "command": super::sh(script) }))
    }

    /// Attaches where the log ends.
    pub fn attach(&mut self, log: &Log) -> Value {
        let result = self.call("run/attach", json!({ "runId": log.run, "afterSeq": log.seq }));
        // What came before the answer was a broadcast about a run that this client did not follow.
        self.entries_of(&log.run);
        result["run"].clone()
    }

    /// Takes the run's entries in order until the log satisfies.
    pub fn follow(&mut self, log: &mut Log, what: &str, satisfies: impl Fn(&Log) -> bool) {
        // Much output may take long, but only while it gets on, and not for ever: a program that should be ended may write without end.
        let (begin, mut end) = (Instant::now(), Instant::now() + DEADLINE);
        loop {
            for entry in self.entries_of(&log.run) {
                log.take(&entry);
                end = (Instant::now() + DEADLINE).min(begin + 6 * DEADLINE);
            }
            if satisfies(log) {
                return;
            }
            assert!(Instant::now() < end, "gave up waiting for {what}; the log is at {}", log.seq);
            self.receive(end, &format!("{what}; the log ends at {} with {} bytes", log.seq, log.stdout.len()));
        }
    }

    /// Follows to the final state, which must agree with what `run/get` says.
    pub fn follow_to_end(&mut self, log: &mut Log) -> Value {
        self.follow(log, "the end of the run", Log::is_final);
        let run = self.get(&log.run);
        let end = log.end();
        assert_eq!(run["state"], end["state"]);
        assert_eq!(run["exitCode"], end["exitCode"]);
        assert_eq!(run["signal"], end["signal"]);
        assert_eq!(run["error"], end["error"]);
        assert_eq!(run["lastSeq"], log.seq);
        assert_eq!(run["bytes"], json!({ "stdout": log.stdout.len(), "stderr": log.stderr.len() }));
        run
    }

    pub fn get(&mut self, run: &str) -> Value {
        self.call("run/get", json!({ "runId": run }))["run"].clone()
    }

    /// Waits until `run/get` shows a run that satisfies.
    pub fn get_until(&mut self, run: &str, what: &str, satisfies: impl Fn(&Value) -> bool) -> Value {
        until(what, || Some(self.get(run)).filter(&satisfies))
    }

    pub fn cancel(&mut self, run: &str) -> Value {
        self.call("run/cancel", json!({ "runId": run, "graceMs": 0 }))["run"].clone()
    }

    /// The whole log by `run/read`, page by page.
    pub fn read_all(&mut self, run: &str, max_bytes: u64) -> Vec<Value> {
        let (mut entries, mut after) = (Vec::new(), 0);
        loop {
            let page = self.call("run/read", json!({ "runId": run, "afterSeq": after, "maxBytes": max_bytes }));
            let list = page["entries"].as_array().expect("a list").clone();
            assert!(!list.is_empty() || page["atEnd"] == true, "an empty page that is not the end");
            entries.extend(list);
            if page["atEnd"] == true {
                return entries;
            }
            after = page["nextAfterSeq"].as_u64().expect("a number");
        }
    }

    /// The whole log, put together from `run/read`.
    pub fn read_log(&mut self, run: &str) -> Log {
        let mut log = Log::of(run);
        self.read_all(run, 1 << 20).iter().for_each(|entry| log.take(entry));
        log
    }

    /// Ends the conversation in the proper way.
    pub fn shut_down(mut self) {
        assert_eq!(self.call("shutdown", json!({})), Value::Null);
        self.notify("exit", json!({}));
        assert_eq!(self.wait().code(), Some(0));
    }

    pub fn kill(mut self) {
        kill(self.pid());
        self.wait();
    }

    /// Waits until the process has ended.
    pub fn wait(&mut self) -> ExitStatus {
        self.resume_reading();
        until("the server exits", || self.child.try_wait().expect("a child of ours"))
    }

    /// Entries of a run that nobody has taken, in order.
    pub fn entries_of(&mut self, run: &str) -> Vec<Value> {
        let is_entry = |params: &Value| params.get("seq").is_some() && params["runId"] == run;
        let (entries, others) = self.notifications.drain(..).partition::<Vec<_>, _>(|(_, params)| is_entry(params));
        self.notifications = others.into();
        let checked = |(method, entry): (String, Value)| {
            assert_eq!(method, format!("run/{}", entry["kind"].as_str().expect("a kind")));
            entry
        };
        entries.into_iter().map(checked).collect()
    }

    fn receive(&mut self, end: Instant, what: &str) {
        match self.incoming.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(message) => self.sort(message),
            Err(error) => {
                let ended = self.child.try_wait().ok().flatten();
                panic!("gave up waiting for {what}: {error}; the server: {ended:?}; stderr: {}", self.stderr());
            }
        }
    }

    fn sort(&mut self, message: Result<Value, String>) {
        let message = message.unwrap_or_else(|error| panic!("stdout carries something that is not the protocol: {error}"));
        if let Some(answers) = message.as_array() {
            assert!(!answers.is_empty(), "an empty batch");
            self.strays.push_back(message);
            return;
        }
        assert_eq!(message["jsonrpc"], "2.0", "{message}");
        if let Some(method) = message["method"].as_str() {
            assert!(message.get("id").is_none(), "the server asks nothing: {message}");
            self.notifications.push_back((method.to_owned(), message["params"].clone()));
        } else if let Some(id) = message["id"].as_i64().filter(|id| (1..self.next_id).contains(id)) {
            assert!(self.answers.insert(id, message).is_none(), "two answers to request {id}");
        } else {
            self.strays.push_back(message);
        }
    }
}

impl Drop for Server {
    /// The end of stdin ends a server, whatever it is doing.
    fn drop(&mut self) {
        self.close_stdin();
        self.resume_reading();
        if thread::panicking() {
            kill(self.pid());
            eprintln!("stderr of the server: {}", self.stderr());
        }
        let end = Instant::now() + DEADLINE;
        while self.child.try_wait().expect("a child of ours").is_none() {
            // A seam may have stopped it, or stop it on its way out.
            resume(self.pid());
            if Instant::now() > end {
                kill(self.pid());
                let _ = self.child.wait();
                assert!(thread::panicking(), "the server did not exit at the end of its stdin");
            }
            thread::sleep(Duration::from_millis(2));
        }
    }
}

/// What an answer says. Every error has the code of its kind, a kind, and a sentence.
pub fn outcome(answer: &Value) -> Result<Value, Failure> {
    let Some(error) = answer.get("error") else {
        return Ok(answer.get("result").unwrap_or_else(|| panic!("neither result nor error: {answer}")).clone());
    };
    assert!(answer.get("result").is_none(), "both result and error: {answer}");
    let kind = error["data"]["kind"].as_str().unwrap_or_else(|| panic!("an error without a kind: {error}"));
    let code = error["code"].as_i64().expect("a code");
    let known = FailureKind::ALL.into_iter().find(|known| known.as_str() == kind).unwrap_or_else(|| panic!("an unknown kind: {error}"));
    assert_eq!(code, i64::from(known.code()), "{error}");
    let message = error["message"].as_str().expect("a message").to_owned();
    assert!(message.len() > 5, "a message that says nothing: {error}");
    for member in known.members().iter().filter(|member| !matches!(**member, "line" | "path" | "hint")) {
        assert!(error["data"].get(member).is_some(), "no {member} in {error}");
    }
    Err(Failure { code, kind: known.as_str(), message, data: error["data"].clone() })
}

pub fn id(run: &Value) -> &str {
    run["id"].as_str().expect("a run has an id")
}
