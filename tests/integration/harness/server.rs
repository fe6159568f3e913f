//! A server, and its client.

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

use super::{Framing, Items, Log, WAIT_TIMEOUT, kill, resume, setup::ReadGate, until};

pub(crate) struct Server {
    pub(super) child: Child,
    pub(super) stdin: Option<ChildStdin>,
    pub(super) framing: Framing,
    pub(super) incoming: mpsc::Receiver<Result<Value, String>>,
    pub(super) read_gate: Arc<ReadGate>,
    pub(super) stderr: Arc<Mutex<String>>,
    pub(super) next_id: i64,
    pub(super) responses: BTreeMap<i64, Value>,
    /// Responses that belong to no request of this client: with id null, or to batches.
    pub unmatched: VecDeque<Value>,
    /// Notifications that the test has not taken, in the order in which they came.
    pub notifications: VecDeque<(String, Value)>,
}

/// An error response.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub code: i64,
    pub kind: &'static str,
    pub message: String,
    pub data: Value,
}

impl Server {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn stderr(&self) -> String {
        self.stderr.lock().expect("a lock").clone()
    }

    /// Sends a request and returns its id at once; [`Self::wait_response`] waits for the response.
    pub(crate) fn send_request(&mut self, method: &str, params: Value) -> i64 {
        let id = self.next_id;
        self.next_id += 1;
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
        id
    }

    pub(crate) fn wait_response(&mut self, id: i64) -> Result<Value, Failure> {
        let end = Instant::now() + WAIT_TIMEOUT;
        while !self.responses.contains_key(&id) {
            self.receive(end, &format!("the answer to request {id}"));
        }
        outcome(&self.responses.remove(&id).expect("an answer"))
    }

    /// Whether the response has come already.
    pub(crate) fn has_response(&mut self, id: i64) -> bool {
        while let Ok(message) = self.incoming.try_recv() {
            self.dispatch(message);
        }
        self.responses.contains_key(&id)
    }

    pub(crate) fn request(&mut self, method: &str, params: Value) -> Result<Value, Failure> {
        let id = self.send_request(method, params);
        self.wait_response(id)
    }

    /// A request that must succeed.
    pub(crate) fn call(&mut self, method: &str, params: Value) -> Value {
        self.request(method, params.clone()).unwrap_or_else(|failure| panic!("{method} {params}: {failure:?}\nstderr: {}", self.stderr()))
    }

    /// A request that must fail.
    pub(crate) fn expect_failure(&mut self, method: &str, params: Value) -> Failure {
        match self.request(method, params.clone()) {
            Err(failure) => failure,
            Ok(result) => panic!("{method} {params} was to fail and answered {result}"),
        }
    }

    pub(crate) fn notify(&mut self, method: &str, params: Value) {
        self.send(&json!({ "jsonrpc": "2.0", "method": method, "params": params }));
    }

    pub(crate) fn send(&mut self, message: &Value) {
        let frame = self.framing.frame(&message.to_string());
        self.send_bytes(&frame);
    }

    /// Writes to the server. An error is ignored: a server that has exited is noticed when a response is missing.
    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) {
        let stdin = self.stdin.as_mut().expect("stdin is open");
        stdin.write_all(bytes).and_then(|()| stdin.flush()).ok();
    }

    pub(crate) fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Stops reading what the server writes.
    pub(crate) fn stop_reading(&self) {
        *self.read_gate.stopped.lock().expect("a lock") = true;
    }

    pub(crate) fn resume_reading(&self) {
        *self.read_gate.stopped.lock().expect("a lock") = false;
        self.read_gate.changed.notify_all();
    }

    /// The next response that belongs to no request of this client.
    pub(crate) fn next_unmatched(&mut self) -> Value {
        let end = Instant::now() + WAIT_TIMEOUT;
        loop {
            if let Some(next_unmatched) = self.unmatched.pop_front() {
                return next_unmatched;
            }
            self.receive(end, "an answer without a request");
        }
    }

    /// Takes the first notification for which the predicate holds, whatever came before it.
    pub(crate) fn notification(&mut self, method: &str, predicate: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + WAIT_TIMEOUT;
        loop {
            let position = self.notifications.iter().position(|(name, params)| name == method && predicate(params));
            if let Some(position) = position {
                return self.notifications.remove(position).expect("it is there").1;
            }
            self.receive(end, &format!("a notification {method}"));
        }
    }

    /// Starts a run and follows it from its first entry.
    pub(crate) fn start(&mut self, params: Value) -> (Value, Log) {
        let run = self.call("run/start", params)["run"].clone();
        let log = Log::of(id(&run));
        let early = self.entries_of(&log.run);
        assert!(early.is_empty(), "notifications before the answer to run/start: {early:?}");
        (run, log)
    }

    /// Starts a shell script.
    pub(crate) fn sh(&mut self, script: &str) -> (Value, Log) {
        self.start(json!({ "provider": "command", "command": super::sh(script) }))
    }

    /// Attaches to the log's run after the log's last entry.
    pub(crate) fn attach(&mut self, log: &Log) -> Value {
        let result = self.call("run/attach", json!({ "runId": log.run, "afterSeq": log.seq }));
        // Entries before the response were broadcast to a client that did not follow the run.
        self.entries_of(&log.run);
        result["run"].clone()
    }

    /// Pushes the run's entries to the log, in order, until the predicate holds for the log.
    pub(crate) fn follow(&mut self, log: &mut Log, description: &str, predicate: impl Fn(&Log) -> bool) {
        // Much output may take longer than the timeout, so each entry extends the deadline, but not for ever: a program
        // that should be ended may write without end.
        let (send_request, mut end) = (Instant::now(), Instant::now() + WAIT_TIMEOUT);
        loop {
            for entry in self.entries_of(&log.run) {
                log.push(&entry);
                end = (Instant::now() + WAIT_TIMEOUT).min(send_request + 6 * WAIT_TIMEOUT);
            }
            if predicate(log) {
                return;
            }
            assert!(Instant::now() < end, "gave up waiting for {description}; the log is at {}", log.seq);
            self.receive(end, &format!("{description}; the log ends at {} with {} bytes", log.seq, log.stdout.len()));
        }
    }

    /// Follows to the final state, which must agree with what `run/get` says.
    pub(crate) fn follow_to_end(&mut self, log: &mut Log) -> Value {
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

    pub(crate) fn get(&mut self, run: &str) -> Value {
        self.call("run/get", json!({ "runId": run }))["run"].clone()
    }

    /// Waits until `run/get` returns a run for which the predicate holds.
    pub(crate) fn get_until(&mut self, run: &str, description: &str, predicate: impl Fn(&Value) -> bool) -> Value {
        until(description, || Some(self.get(run)).filter(&predicate))
    }

    pub(crate) fn cancel(&mut self, run: &str) -> Value {
        self.call("run/cancel", json!({ "runId": run, "graceMs": 0 }))["run"].clone()
    }

    /// The whole log by `run/read`, page by page.
    pub(crate) fn read_all(&mut self, run: &str, max_bytes: u64) -> Vec<Value> {
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
    pub(crate) fn read_log(&mut self, run: &str) -> Log {
        let mut log = Log::of(run);
        self.read_all(run, 1 << 20).iter().for_each(|entry| log.push(entry));
        log
    }

    /// Ends the connection with `shutdown` and `exit`.
    pub(crate) fn shut_down(mut self) {
        assert_eq!(self.call("shutdown", json!({})), Value::Null);
        self.notify("exit", json!({}));
        assert_eq!(self.wait().code(), Some(0));
    }

    pub(crate) fn kill(mut self) {
        kill(self.pid());
        self.wait();
    }

    /// Waits until the process has ended.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.resume_reading();
        until("the server exits", || self.child.try_wait().expect("a child of ours"))
    }

    /// Takes the run's changes of items until they satisfy.
    pub(crate) fn follow_items(&mut self, items: &mut Items, what: &str, satisfies: impl Fn(&Items) -> bool) {
        let end = Instant::now() + WAIT_TIMEOUT;
        loop {
            let is_ours = |(method, params): &(String, Value)| method == "run/item" && params["runId"] == items.run;
            let (changes, others) = self.notifications.drain(..).partition::<Vec<_>, _>(is_ours);
            self.notifications = others.into();
            changes.iter().for_each(|(_, params)| items.take(params));
            if satisfies(items) {
                return;
            }
            self.receive(
                end,
                &format!("{what}; the items are {:?}", items.by_number.values().map(|item| &item["kind"]).collect::<Vec<_>>()),
            );
        }
    }

    /// Attaches to the run's items after this entry.
    pub(crate) fn attach_items(&mut self, items: &Items, after: u64) {
        self.call("run/attach", json!({ "runId": items.run, "afterSeq": after, "as": "items" }));
    }

    /// All items by `run/items`, page by page.
    pub(crate) fn read_items(&mut self, run: &str, limit: u64) -> Vec<Value> {
        let (mut items, mut after) = (Vec::new(), 0);
        loop {
            let page = self.call("run/items", json!({ "runId": run, "after": after, "limit": limit }));
            items.extend(page["items"].as_array().expect("a list").clone());
            let Some(next) = page["next"].as_u64() else { return items };
            assert!(next > after, "an empty page that is not the last");
            after = next;
        }
    }

    /// Takes the entries of a run from the notifications, in order.
    pub(crate) fn entries_of(&mut self, run: &str) -> Vec<Value> {
        let is_entry = |params: &Value| params.get("seq").is_some() && params["runId"] == run;
        let (entries, others) =
            self.notifications.drain(..).partition::<Vec<_>, _>(|(method, params)| method != "run/item" && is_entry(params));
        self.notifications = others.into();
        let checked = |(method, entry): (String, Value)| {
            assert_eq!(method, format!("run/{}", entry["kind"].as_str().expect("a kind")));
            entry
        };
        entries.into_iter().map(checked).collect()
    }

    fn receive(&mut self, end: Instant, description: &str) {
        match self.incoming.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(message) => self.dispatch(message),
            Err(error) => {
                let ended = self.child.try_wait().ok().flatten();
                panic!("gave up waiting for {description}: {error}; the server: {ended:?}; stderr: {}", self.stderr());
            }
        }
    }

    fn dispatch(&mut self, message: Result<Value, String>) {
        let message = message.unwrap_or_else(|error| panic!("stdout carries something that is not the protocol: {error}"));
        if let Some(responses) = message.as_array() {
            assert!(!responses.is_empty(), "an empty batch");
            self.unmatched.push_back(message);
            return;
        }
        assert_eq!(message["jsonrpc"], "2.0", "{message}");
        if let Some(method) = message["method"].as_str() {
            assert!(message.get("id").is_none(), "the server sends no requests: {message}");
            self.notifications.push_back((method.to_owned(), message["params"].clone()));
        } else if let Some(id) = message["id"].as_i64().filter(|id| (1..self.next_id).contains(id)) {
            assert!(self.responses.insert(id, message).is_none(), "two answers to request {id}");
        } else {
            self.unmatched.push_back(message);
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
        let end = Instant::now() + WAIT_TIMEOUT;
        while self.child.try_wait().expect("a child of ours").is_none() {
            // A seam may have stopped the server, or may stop it while it exits.
            resume(self.pid());
            if Instant::now() > end {
                kill(self.pid());
                // The assertion below reports the failure.
                self.child.wait().ok();
                assert!(thread::panicking(), "the server did not exit at the end of its stdin");
            }
            thread::sleep(Duration::from_millis(2));
        }
    }
}

/// The result or the error of a response. Asserts that an error has a known kind, the kind's code and members, and a
/// message.
pub(crate) fn outcome(response: &Value) -> Result<Value, Failure> {
    let Some(error) = response.get("error") else {
        return Ok(response.get("result").unwrap_or_else(|| panic!("neither result nor error: {response}")).clone());
    };
    assert!(response.get("result").is_none(), "both result and error: {response}");
    let kind = error["data"]["kind"].as_str().unwrap_or_else(|| panic!("an error without a kind: {error}"));
    let code = error["code"].as_i64().expect("a code");
    let known = FailureKind::ALL.iter().copied().find(|known| known.as_str() == kind).unwrap_or_else(|| panic!("an unknown kind: {error}"));
    assert_eq!(code, i64::from(known.code()), "{error}");
    let message = error["message"].as_str().expect("a message").to_owned();
    assert!(message.len() > 5, "a message that says nothing: {error}");
    for member in known.members().iter().filter(|member| !matches!(**member, "line" | "path" | "hint")) {
        assert!(error["data"].get(member).is_some(), "no {member} in {error}");
    }
    Err(Failure { code, kind: known.as_str(), message, data: error["data"].clone() })
}

pub(crate) fn id(run: &Value) -> &str {
    run["id"].as_str().expect("a run has an id")
}
