//! Tests of a connection as a client sees it, byte by byte over an in-memory stream.

use parking_lot::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::de::IgnoredAny;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream, ReadHalf, WriteHalf, duplex, split},
    sync::Notify,
    task::JoinHandle,
};

use super::*;
use crate::rpc::read_params;

const DEADLINE: Duration = Duration::from_secs(10);

/// What `HandlerState::begun` has for the notification `mark`, among the numbers of the handlers that began.
const MARK_NOTIFICATION: u64 = u64::MAX;

/// What the test's handlers share with the test.
#[derive(Default)]
struct HandlerState {
    begun: Mutex<Vec<u64>>,
    notifications: Mutex<Vec<String>>,
    finished: AtomicUsize,
    gate: Notify,
    admission_failure: Mutex<Option<Failure>>,
}

/// The handlers, and where they send what follows their answers.
struct TestService(Arc<HandlerState>, Outgoing);

impl Service for TestService {
    type Method = String;

    fn admit(&self, method: &str) -> Result<String, Failure> {
        self.0.admission_failure.lock().clone().map_or(Ok(()), Err)?;
        match method {
            "echo" | "number" | "wait" | "after" | "panic" | "large" => Ok(method.to_owned()),
            _ => Err(Failure::method_not_found(method)),
        }
    }

    fn call(&self, method: String, params: Option<Box<RawValue>>, context: RequestContext) -> HandlerFuture {
        let Self(handlers, outgoing) = Self(self.0.clone(), self.1.clone());
        Box::pin(async move {
            let number = || read_params::<NumberParams>(params.as_deref()).map(|params| params.run_number);
            let result = match method.as_str() {
                "echo" => json!(params),
                "number" => json!(number()?),
                // Records that it has begun, waits for the gate or its cancellation, and sends a message after its
                // answer.
                "wait" => {
                    let number = number()?;
                    handlers.begun.lock().push(number);
                    tokio::select! {
                        () = handlers.gate.notified() => {}
                        () = context.cancel.cancelled() => {}
                    }
                    handlers.finished.fetch_add(1, Ordering::SeqCst);
                    context.after.run(move || outgoing.control(format!(r#"{{"after":{number}}}"#).into_bytes()));
                    json!(number)
                }
                "after" => {
                    context.after.run(move || outgoing.control(b"{\"after\":0}".to_vec()));
                    json!("answer")
                }
                "large" => json!("x".repeat(1 << 20)),
                _ => {
                    if params.is_some() {
                        tokio::task::yield_now().await;
                    }
                    panic!("a handler that panics");
                }
            };
            Ok(result.to_string().into_bytes())
        })
    }

    fn notification(&self, method: &str, params: Option<&RawValue>) -> Flow {
        if method == "mark" {
            self.0.begun.lock().push(MARK_NOTIFICATION);
        }
        let params = params.map_or("none", |params| params.get());
        self.0.notifications.lock().push(format!("{method} {params}"));
        if method == "exit" { Flow::Exit(7) } else { Flow::Continue }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NumberParams {
    run_number: u64,
}

struct TestClient {
    handlers: Arc<HandlerState>,
    outgoing: Outgoing,
    lines: BufReader<ReadHalf<DuplexStream>>,
    input: WriteHalf<DuplexStream>,
    served: JoinHandle<ConnectionEnd>,
}

impl TestClient {
    fn new() -> Self {
        Self::with_capacity(1 << 20)
    }

    fn with_capacity(capacity: usize) -> Self {
        let (ours, theirs) = duplex(capacity);
        let (reader, writer) = split(ours);
        let (lines, input) = split(theirs);
        let handlers = Arc::<HandlerState>::default();
        let outgoing = Outgoing::new(writer);
        let codec = FrameCodec::new(None, 4 << 20);
        let served = tokio::spawn(serve(reader, codec, TestService(handlers.clone(), outgoing.clone()), outgoing.clone()));
        Self { handlers, outgoing, lines: BufReader::new(lines), input, served }
    }

    async fn send(&mut self, line: &str) {
        self.input.write_all(line.as_bytes()).await.expect("sends");
        self.input.write_all(b"\n").await.expect("sends");
    }

    async fn text(&mut self) -> String {
        let mut line = String::new();
        timeout(DEADLINE, self.lines.read_line(&mut line)).await.expect("in time").expect("reads");
        line.trim_end().to_owned()
    }

    async fn receive(&mut self) -> Value {
        serde_json::from_str(&self.text().await).expect("JSON")
    }

    /// The next message in `Content-Length` framing.
    async fn counted(&mut self) -> Vec<u8> {
        let header = self.text().await;
        let length = header.strip_prefix("Content-Length: ").expect("a header").parse().expect("a length");
        assert_eq!(self.text().await, "");
        let mut body = vec![0; length];
        timeout(DEADLINE, self.lines.read_exact(&mut body)).await.expect("in time").expect("reads");
        body
    }

    /// The code, kind and id of the error answer to `line`.
    async fn refusal(&mut self, line: &str) -> (i64, String, Value) {
        self.send(line).await;
        let answer = self.receive().await;
        let error = &answer["error"];
        assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{answer}");
        let kind = error["data"]["kind"].as_str().expect("a kind").to_owned();
        (error["code"].as_i64().expect("a code"), kind, answer["id"].clone())
    }

    async fn ended(self) -> ConnectionEnd {
        timeout(DEADLINE, self.served).await.expect("in time").expect("no panic")
    }

    async fn until(&self, condition: impl Fn(&HandlerState) -> bool) {
        let wait = async {
            while !condition(&self.handlers) {
                tokio::task::yield_now().await;
            }
        };
        timeout(DEADLINE, wait).await.expect("in time");
    }

    /// Sends a request and waits for its answer, which proves that the connection has handled everything before it.
    async fn fence(&mut self) {
        self.send(r#"{"jsonrpc":"2.0","id":"fence","method":"echo"}"#).await;
        assert_eq!(self.receive().await, json!({"jsonrpc":"2.0","id":"fence","result":null}));
    }
}

fn wait(id: &str, number: u64) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"wait","params":{{"runNumber":{number}}}}}"#)
}

fn cancel(id: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","method":"$/cancelRequest","params":{{"id":{id}}}}}"#)
}

#[tokio::test]
async fn ids_come_back_as_they_were_spelled() {
    let mut client = TestClient::new();
    for id in ["0", "-1", "1.50", "18446744073709551616", "1e3", "null", r#""a\u0062\"\\é""#, r#""""#] {
        client.send(&format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"echo"}}"#)).await;
        assert_eq!(client.text().await, format!(r#"{{"jsonrpc":"2.0","id":{id},"result":null}}"#));
        client.send(&format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"none"}}"#)).await;
        assert!(client.text().await.starts_with(&format!(r#"{{"jsonrpc":"2.0","id":{id},"error":"#)));
    }
}

#[tokio::test]
async fn headers_are_answered_with_headers() {
    let mut client = TestClient::new();
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"echo"}"#;
    client.input.write_all(format!("Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes()).await.expect("sends");
    assert_eq!(client.counted().await, br#"{"jsonrpc":"2.0","id":1,"result":null}"#);
}

#[tokio::test]
async fn what_is_no_request_is_refused_and_the_connection_goes_on() {
    let mut client = TestClient::new();
    let parse = |id| (-32700, "parse".to_owned(), id);
    let invalid = |id| (-32600, "invalidRequest".to_owned(), id);
    assert_eq!(client.refusal("{").await, parse(Value::Null));
    assert_eq!(client.refusal(r#"{"jsonrpc":"2.0","id":1,"method":"echo"} x"#).await, parse(Value::Null));
    assert_eq!(client.refusal("[1,").await, parse(Value::Null));
    assert_eq!(client.refusal("nonsense").await, parse(Value::Null));
    assert_eq!(client.refusal("5").await, invalid(Value::Null));
    assert_eq!(client.refusal("[]").await, invalid(Value::Null));
    assert_eq!(client.refusal("{}").await, invalid(Value::Null));
    assert_eq!(client.refusal(r#"{"jsonrpc":"2.0","id":1}"#).await, invalid(json!(1)));
    assert_eq!(client.refusal(r#"{"id":1,"method":"echo"}"#).await, invalid(json!(1)));
    assert_eq!(client.refusal(r#"{"jsonrpc":"1.0","id":"a","method":"echo"}"#).await, invalid(json!("a")));
    assert_eq!(client.refusal(r#"{"jsonrpc":"2.0","id":1,"method":5}"#).await, invalid(json!(1)));
    assert_eq!(client.refusal(r#"{"jsonrpc":"2.0","id":{},"method":"echo"}"#).await, invalid(Value::Null));
    let unknown = client.refusal(r#"{"jsonrpc":"2.0","id":1,"method":"none"}"#).await;
    assert_eq!(unknown, (-32601, "methodNotFound".to_owned(), json!(1)));
    client.input.write_all(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"echo\",\"x\":\"\xff\"}").await.expect("sends");
    assert_eq!(client.refusal("").await, parse(Value::Null));
    client.fence().await;
}

#[tokio::test]
async fn no_params_are_the_same_as_empty_ones() {
    let mut client = TestClient::new();
    for params in ["", r#","params":null"#, r#","params":[]"#, r#","params":[ ]"#] {
        client.send(&format!(r#"{{"jsonrpc":"2.0","id":1,"method":"echo"{params}}}"#)).await;
        assert_eq!(client.receive().await["result"], Value::Null, "{params}");
    }
    for params in ["5", r#""text""#, "true", "[1]"] {
        client.send(&format!(r#"{{"jsonrpc":"2.0","id":1,"method":"echo","params":{params}}}"#)).await;
        let answer = client.receive().await;
        assert_eq!((&answer["error"]["code"], &answer["error"]["data"]["field"]), (&json!(-32602), &json!("params")));
    }
    client.send(r#"{"jsonrpc":"2.0","id":1,"method":"number","params":{}}"#).await;
    assert_eq!(client.receive().await["error"]["data"], json!({"kind":"invalidParams","field":"runNumber"}));
}

#[tokio::test]
async fn what_is_not_admitted_is_refused() {
    let mut client = TestClient::new();
    *client.handlers.admission_failure.lock() = Some(Failure::not_initialized());
    let refusal = client.refusal(r#"{"jsonrpc":"2.0","id":1,"method":"none"}"#).await;
    assert_eq!(refusal, (-32002, "notInitialized".to_owned(), json!(1)));
}

#[tokio::test]
async fn handlers_begin_in_the_order_of_arrival() {
    let mut client = TestClient::new();
    let mark = r#"{"jsonrpc":"2.0","method":"mark"}"#;
    let messages: Vec<String> = (0..200).map(|number| format!("{}\n{mark}", wait(&number.to_string(), number))).collect();
    client.send(&messages.join("\n")).await;
    client.fence().await;
    // The connection handles notifications as it reads them, so each handler had begun before the message after it was
    // read.
    let expected: Vec<u64> = (0..200).flat_map(|number| [number, MARK_NOTIFICATION]).collect();
    assert_eq!(*client.handlers.begun.lock(), expected);
}

#[tokio::test]
async fn a_slow_request_holds_up_no_other() {
    let mut client = TestClient::new();
    client.send(&wait("1", 5)).await;
    client.fence().await;
    client.handlers.gate.notify_one();
    assert_eq!(client.receive().await, json!({"jsonrpc":"2.0","id":1,"result":5}));
}

#[tokio::test]
async fn work_for_after_the_answer_comes_after_it() {
    let mut client = TestClient::new();
    client.send(r#"{"jsonrpc":"2.0","id":1,"method":"after"}"#).await;
    assert_eq!(client.receive().await["result"], "answer");
    assert_eq!(client.receive().await, json!({"after":0}));
    client.send(&wait("2", 9)).await;
    client.fence().await;
    client.handlers.gate.notify_one();
    assert_eq!(client.receive().await["result"], 9);
    assert_eq!(client.receive().await, json!({"after":9}));
}

#[tokio::test]
async fn a_panic_is_answered_and_hurts_nothing_else() {
    let mut client = TestClient::new();
    for params in ["", r#","params":{"later":true}"#] {
        let refusal = client.refusal(&format!(r#"{{"jsonrpc":"2.0","id":1,"method":"panic"{params}}}"#)).await;
        assert_eq!(refusal, (-32603, "internal".to_owned(), json!(1)));
    }
    client.fence().await;
}

#[tokio::test]
async fn a_cancelled_request_answers_once_and_its_handler_goes_on() {
    let mut client = TestClient::new();
    client.send(&wait(r#""é""#, 3)).await;
    let refusal = client.refusal(&cancel(r#""\u00e9""#)).await;
    assert_eq!(refusal, (-32800, "cancelled".to_owned(), json!("é")));
    // The handler's own answer is dropped; its work for after the answer runs.
    assert_eq!(client.receive().await, json!({"after":3}));
    assert_eq!(client.handlers.finished.load(Ordering::SeqCst), 1);
    client.send(&cancel(r#""é""#)).await;
    client.send(&cancel("17")).await;
    client.send(r#"{"jsonrpc":"2.0","method":"$/cancelRequest"}"#).await;
    client.fence().await;
}

#[tokio::test]
async fn a_live_id_is_not_taken_twice() {
    let mut client = TestClient::new();
    client.send(&wait("1", 1)).await;
    assert_eq!(client.refusal(&wait("1", 2)).await, (-32600, "invalidRequest".to_owned(), json!(1)));
    client.handlers.gate.notify_one();
    assert_eq!(client.receive().await, json!({"jsonrpc":"2.0","id":1,"result":1}));
    assert_eq!(client.receive().await, json!({"after":1}));
    client.send(r#"{"jsonrpc":"2.0","id":1,"method":"echo"}"#).await;
    assert_eq!(client.receive().await["result"], Value::Null);
    assert_eq!(*client.handlers.begun.lock(), [1]);
}

#[tokio::test]
async fn a_batch_is_answered_as_one_in_its_order() {
    let mut client = TestClient::new();
    let after = r#"{"jsonrpc":"2.0","id":"b","method":"after"}"#;
    let note = r#"{"jsonrpc":"2.0","method":"note","params":null}"#;
    let answer = r#"{"jsonrpc":"2.0","id":5,"result":1}"#;
    client.send(&format!("[{},{after},{note},5,{answer},{{\"id\":8}}]", wait("1", 4))).await;
    client.fence().await;
    client.handlers.gate.notify_one();
    let batch = client.receive().await;
    let batch = batch.as_array().expect("a batch");
    let ids: Vec<&Value> = batch.iter().map(|answer| &answer["id"]).collect();
    assert_eq!(ids, [&json!(1), &json!("b"), &Value::Null, &json!(8)]);
    assert_eq!((&batch[0]["result"], &batch[1]["result"]), (&json!(4), &json!("answer")));
    assert_eq!((&batch[2]["error"]["code"], &batch[3]["error"]["code"]), (&json!(-32600), &json!(-32600)));
    // The members' work for after the answer runs only now.
    assert_eq!(client.receive().await, json!({"after":0}));
    assert_eq!(client.receive().await, json!({"after":4}));
    assert_eq!(*client.handlers.notifications.lock(), ["note none"]);
}

#[tokio::test]
async fn a_member_of_a_batch_can_be_cancelled() {
    let mut client = TestClient::new();
    client.send(&format!("[{},{}]", wait("1", 1), wait("1", 2))).await;
    client.send(&cancel("1")).await;
    let batch = client.receive().await;
    assert_eq!((&batch[0]["error"]["code"], &batch[1]["error"]["code"]), (&json!(-32800), &json!(-32600)));
    assert_eq!(client.receive().await, json!({"after":1}));
}

#[tokio::test]
async fn notifications_alone_are_not_answered() {
    let mut client = TestClient::new();
    client.send(r#"[{"jsonrpc":"2.0","method":"a"},{"jsonrpc":"2.0","method":"b","params":{"x":1}}]"#).await;
    client.send(r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"to nothing that we asked"}}"#).await;
    client.fence().await;
    assert_eq!(*client.handlers.notifications.lock(), ["a none", r#"b {"x":1}"#]);
}

#[tokio::test]
async fn a_batch_has_a_limit() {
    let mut client = TestClient::new();
    let members = vec!["1"; envelope::MAX_BATCH_MEMBERS + 1].join(",");
    assert_eq!(client.refusal(&format!("[{members}]")).await, (-32015, "limit".to_owned(), Value::Null));
    client.fence().await;
}

#[tokio::test]
async fn a_frame_over_the_limit_ends_the_connection() {
    for (bytes, code) in [("Content-Length: 99999999\r\n\r\n", -32015), ("Content-Type: x\r\n\r\n", -32700)] {
        let mut client = TestClient::new();
        client.input.write_all(bytes.as_bytes()).await.expect("sends");
        let answer: Value = serde_json::from_slice(&client.counted().await).expect("JSON");
        assert_eq!((&answer["id"], &answer["error"]["code"]), (&Value::Null, &json!(code)));
        assert_eq!(client.ended().await, ConnectionEnd::Broken);
    }
}

#[tokio::test]
async fn exit_ends_the_connection_at_once() {
    let mut client = TestClient::new();
    client.send(&wait("1", 1)).await;
    client.send(r#"{"jsonrpc":"2.0","method":"exit"}"#).await;
    assert_eq!(client.ended().await, ConnectionEnd::Exit(7));
}

#[tokio::test]
async fn what_was_read_before_the_end_is_answered() {
    let mut client = TestClient::new();
    client.send(&wait("1", 1)).await;
    client.input.write_all(br#"{"jsonrpc":"2.0","id":2,"method":"echo"}"#).await.expect("sends");
    client.input.shutdown().await.expect("closes");
    assert_eq!(client.receive().await["id"], 2);
    client.until(|handlers| !handlers.begun.lock().is_empty()).await;
    client.handlers.gate.notify_one();
    assert_eq!(client.receive().await["id"], 1);
    assert_eq!(client.ended().await, ConnectionEnd::Eof);
}

#[tokio::test]
async fn a_handler_that_does_not_end_ends_with_the_connection() {
    let mut client = TestClient::new();
    client.send(&wait("1", 1)).await;
    client.input.shutdown().await.expect("closes");
    let handlers = Arc::downgrade(&client.handlers);
    assert_eq!(client.ended().await, ConnectionEnd::Eof);
    let dropped = async {
        while handlers.strong_count() > 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, dropped).await.expect("the handler and all that it held are dropped");
}

#[tokio::test]
async fn a_client_that_does_not_read_is_not_listened_to() {
    let mut client = TestClient::with_capacity(64 << 10);
    let request = r#"{"jsonrpc":"2.0","id":null,"method":"large"}"#;
    client.send(&vec![request; 20].join("\n")).await;
    let full = async {
        while client.outgoing.control_backlog() <= MAX_UNREAD_CONTROL_BYTES {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, full).await.expect("the backlog fills");
    for _ in 0..100 {
        tokio::task::yield_now().await;
        assert!(client.outgoing.control_backlog() < MAX_UNREAD_CONTROL_BYTES + (2 << 20));
    }
    for _ in 0..20 {
        let answer = client.text().await;
        assert!(answer.len() > 1 << 20 && serde_json::from_str::<IgnoredAny>(&answer).is_ok());
    }
    client.fence().await;
}

#[tokio::test]
async fn a_client_that_does_not_read_can_still_go() {
    let mut client = TestClient::with_capacity(64 << 10);
    let request = r#"{"jsonrpc":"2.0","id":null,"method":"large"}"#;
    client.send(&vec![request; 20].join("\n")).await;
    let TestClient { lines, input, served, .. } = client;
    drop((lines, input));
    let ended = timeout(DEADLINE, served).await.expect("in time").expect("no panic");
    assert!(matches!(ended, ConnectionEnd::Gone | ConnectionEnd::Eof), "{ended:?}");
}

#[tokio::test]
async fn the_end_of_a_client_that_does_not_read_is_noticed() {
    let mut client = TestClient::with_capacity(64 << 10);
    let request = r#"{"jsonrpc":"2.0","id":null,"method":"large"}"#;
    client.send(&vec![request; 20].join("\n")).await;
    client.input.shutdown().await.expect("closes");
    let TestClient { lines: _lines, served, .. } = client;
    assert_eq!(timeout(DEADLINE, served).await.expect("in time").expect("no panic"), ConnectionEnd::Eof);
}
