//! A client of the Agent Client Protocol, for `loomd acp`. Whatever comes must be what the protocol's own types read.

use std::{
    collections::{BTreeMap, VecDeque},
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc,
    thread,
    time::Instant,
};

use agent_client_protocol_schema::v1;
use serde_json::{Value, json};

use super::{WAIT_TIMEOUT, interrupt, kill, until};

/// A client and its `loomd acp`.
pub(crate) struct AcpPeer {
    child: Child,
    stdin: Option<ChildStdin>,
    incoming: mpsc::Receiver<Value>,
    next_id: i64,
    responses: BTreeMap<i64, Value>,
    /// Everything that came and is no response, in order.
    pub(crate) messages: VecDeque<Value>,
    /// All updates, in order: params of `session/update`.
    pub(crate) updates: Vec<Value>,
}

impl AcpPeer {
    /// Spawns a `loomd acp`.
    pub(crate) fn spawn(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.spawn().expect("loomd starts");
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        let (send, incoming) = mpsc::channel();
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let message = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in {line}"));
                if send.send(message).is_err() {
                    return;
                }
            }
        });
        let stdin = child.stdin.take();
        Self { child, stdin, incoming, next_id: 1, responses: BTreeMap::new(), messages: VecDeque::new(), updates: Vec::new() }
    }

    /// Sends `initialize` for a client of this name.
    pub(crate) fn initialize(&mut self, name: &str, capabilities: Value) {
        let params = json!({ "protocolVersion": 1, "clientInfo": { "name": name, "version": "1" }, "clientCapabilities": capabilities });
        let result = self.call("initialize", params);
        read::<v1::InitializeResponse>(&result);
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn send(&mut self, message: &Value) {
        let stdin = self.stdin.as_mut().expect("stdin is open");
        // A process that has ended is noticed when its answer is missing.
        stdin.write_all(format!("{message}\n").as_bytes()).ok();
    }

    pub(crate) fn request(&mut self, method: &str, params: Value) -> i64 {
        let id = self.next_id;
        self.next_id += 1;
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
        id
    }

    pub(crate) fn notify(&mut self, method: &str, params: Value) {
        self.send(&json!({ "jsonrpc": "2.0", "method": method, "params": params }));
    }

    /// Waits for a response: its result, or its error.
    pub(crate) fn response(&mut self, id: i64) -> Result<Value, Value> {
        self.wait(&format!("the answer to request {id}"), |peer| peer.responses.contains_key(&id));
        let mut response = self.responses.remove(&id).expect("it is there");
        match response.get_mut("error") {
            Some(error) => Err(error.take()),
            None => Ok(response["result"].take()),
        }
    }

    pub(crate) fn call(&mut self, method: &str, params: Value) -> Value {
        let id = self.request(method, params);
        self.response(id).unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    pub(crate) fn expect_error(&mut self, method: &str, params: Value) -> Value {
        let id = self.request(method, params);
        self.response(id).expect_err("the request fails")
    }

    /// A new session in this directory.
    pub(crate) fn new_session(&mut self, cwd: impl AsRef<Path>) -> String {
        let result = self.call("session/new", json!({ "cwd": cwd.as_ref(), "mcpServers": [] }));
        read::<v1::NewSessionResponse>(&result);
        result["sessionId"].as_str().expect("a text").to_owned()
    }

    pub(crate) fn prompt(&mut self, session: &str, text: &str) -> i64 {
        self.request("session/prompt", json!({ "sessionId": session, "prompt": [{ "type": "text", "text": text }] }))
    }

    /// The stop reason of a prompt that succeeds.
    pub(crate) fn stop_reason(&mut self, prompt: i64) -> String {
        let result = self.response(prompt).unwrap_or_else(|error| panic!("the prompt failed: {error}"));
        read::<v1::PromptResponse>(&result);
        result["stopReason"].as_str().expect("a text").to_owned()
    }

    /// Prompts and waits for the end of the turn.
    pub(crate) fn turn(&mut self, session: &str, text: &str) -> String {
        let prompt = self.prompt(session, text);
        self.stop_reason(prompt)
    }

    pub(crate) fn load(&mut self, cwd: impl AsRef<Path>, session: &str, meta: Value) -> Value {
        let result = self.call("session/load", json!({ "sessionId": session, "cwd": cwd.as_ref(), "mcpServers": [], "_meta": meta }));
        read::<v1::LoadSessionResponse>(&result);
        result
    }

    /// The next permission request.
    pub(crate) fn question(&mut self) -> Value {
        let is_question = |message: &Value| message["method"] == "session/request_permission";
        self.wait("a permission request", |peer| peer.messages.iter().any(is_question));
        let at = self.messages.iter().position(is_question).expect("it is there");
        let question = self.messages.remove(at).expect("it is there");
        read::<v1::RequestPermissionRequest>(&question["params"]);
        question
    }

    pub(crate) fn answer(&mut self, question: &Value, option: &str) {
        let result = json!({ "outcome": { "outcome": "selected", "optionId": option } });
        self.send(&json!({ "jsonrpc": "2.0", "id": question["id"], "result": result }));
    }

    /// Waits until something has come.
    pub(crate) fn wait(&mut self, what: &str, satisfies: impl Fn(&Self) -> bool) {
        let end = Instant::now() + WAIT_TIMEOUT;
        while !satisfies(self) {
            let message = self.incoming.recv_timeout(end.saturating_duration_since(Instant::now()));
            let message = message.unwrap_or_else(|error| panic!("gave up waiting for {what}: {error}; updates: {:#?}", self.updates));
            self.take(message);
        }
    }

    /// Waits until the agent's messages contain a text.
    pub(crate) fn wait_for_text(&mut self, text: &str) {
        self.wait(text, |peer| peer.text("agent_message_chunk").contains(text));
    }

    fn take(&mut self, message: Value) {
        assert_eq!(message["jsonrpc"], "2.0", "{message}");
        if message.get("method").is_none() {
            let id = message["id"].as_i64().expect("an id of ours");
            assert!(self.responses.insert(id, message).is_none(), "two answers to request {id}");
            return;
        }
        if message["method"] == "session/update" {
            let params = &message["params"];
            read::<v1::SessionNotification>(params);
            assert!(params["_meta"]["loomd"]["runId"].is_string() && params["_meta"]["loomd"]["seq"].is_u64(), "{params}");
            self.updates.push(params.clone());
        }
        self.messages.push_back(message);
    }

    /// Whether a response has come already.
    pub(crate) fn has_response(&mut self, id: i64) -> bool {
        while let Ok(message) = self.incoming.try_recv() {
            self.take(message);
        }
        self.responses.contains_key(&id)
    }

    /// The updates of one kind.
    pub(crate) fn updates_of<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.updates.iter().map(|params| &params["update"]).filter(move |update| update["sessionUpdate"] == kind)
    }

    /// The text of all chunks of one kind.
    pub(crate) fn text(&self, kind: &str) -> String {
        self.updates_of(kind).filter_map(|update| update["content"]["text"].as_str()).collect()
    }

    /// The place of the newest update of the log that has come.
    pub(crate) fn position(&self) -> Value {
        let is_logged = |params: &&Value| {
            !matches!(
                params["update"]["sessionUpdate"].as_str(),
                Some("available_commands_update" | "session_info_update" | "config_option_update")
            )
        };
        let last = self.updates.iter().rev().find(is_logged).expect("an update");
        json!({ "runId": last["_meta"]["loomd"]["runId"], "afterSeq": last["_meta"]["loomd"]["seq"] })
    }

    pub(crate) fn close_stdin(&mut self) {
        self.stdin = None;
    }

    pub(crate) fn terminate(&self) {
        // SIGINT and SIGTERM are handled alike; the harness has the first.
        interrupt(self.pid());
    }

    pub(crate) fn wait_for_exit(&mut self) -> Option<i32> {
        until("loomd acp exits", || self.child.try_wait().expect("a child of ours")).code()
    }

    pub(crate) fn kill(mut self) {
        kill(self.pid());
        self.wait_for_exit();
    }
}

impl Drop for AcpPeer {
    fn drop(&mut self) {
        self.close_stdin();
        if thread::panicking() {
            kill(self.pid());
        }
        self.child.wait().ok();
    }
}

/// Reads a value as a type of the protocol.
pub(crate) fn read<T: serde::de::DeserializeOwned>(value: &Value) {
    if let Err(error) = serde_json::from_value::<T>(value.clone()) {
        panic!("{value} is not what the protocol says: {error}");
    }
}

/// What a client holds after these updates: the text of each message, and each tool call with what was said of it last.
/// What is no part of a log is left out.
pub(crate) fn held<'a>(updates: impl IntoIterator<Item = &'a Value>) -> Value {
    let mut order: Vec<String> = Vec::new();
    let mut items: BTreeMap<String, Value> = BTreeMap::new();
    for update in updates {
        let kind = update["sessionUpdate"].as_str().expect("a kind");
        let id = match kind {
            "user_message_chunk" | "agent_message_chunk" | "agent_thought_chunk" => format!("{kind} {}", update["messageId"]),
            "tool_call" | "tool_call_update" => format!("tool {}", update["toolCallId"]),
            "plan" | "usage_update" => kind.to_owned(),
            _ => continue,
        };
        if !order.contains(&id) {
            order.push(id.clone());
        }
        let item = items.entry(id).or_insert_with(|| json!({ "text": "" }));
        match kind {
            "tool_call" | "tool_call_update" => {
                let members =
                    update.as_object().expect("an object").iter().filter(|(name, _)| !matches!(name.as_str(), "sessionUpdate" | "_meta"));
                members.for_each(|(name, value)| item[name] = value.clone());
                for member in ["terminal_output", "terminal_output_delta"] {
                    let shown = item["terminal"].as_str().unwrap_or_default().to_owned();
                    if let Some(data) = update["_meta"][member]["data"].as_str() {
                        item["terminal"] = json!(shown + data);
                    }
                }
            }
            "plan" | "usage_update" => *item = update.clone(),
            _ => {
                let text =
                    format!("{}{}", item["text"].as_str().unwrap_or_default(), update["content"]["text"].as_str().unwrap_or_default());
                item["text"] = json!(text);
            }
        }
    }
    order.iter().map(|id| json!([id, items[id]])).collect()
}
