//! What a client sees of a connection, byte by byte over an in-memory stream.

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use jsonrpsee::RpcModule;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream, ReadHalf, WriteHalf, duplex, split},
    sync::Notify,
    task::JoinHandle,
};

use super::*;
use crate::rpc::{Call, service::params};

const DEADLINE: Duration = Duration::from_secs(10);

/// Stands among the numbers of handlers that began for the notification `mark`.
const MARK: u64 = u64::MAX;

/// What the handlers under test share.
#[derive(Default)]
struct World {
    begun: Mutex<Vec<u64>>,
    heard: Mutex<Vec<String>>,
    finished: AtomicUsize,
    gate: Notify,
    refuses: Mutex<Option<Failure>>,
}

impl Hooks for Arc<World> {
    fn admit(&self, _: &str) -> Result<(), Failure> {
        self.refuses.lock().expect("lock").clone().map_or(Ok(()), Err)
    }

    fn notification(&self, method: &str, params: Option<&RawValue>) -> Flow {
        if method == "mark" {
            self.begun.lock().expect("lock").push(MARK);
        }
        let params = params.map_or("none", |params| params.get());
        self.heard.lock().expect("lock").push(format!("{method} {params}"));
        if method == "exit" { Flow::Exit(7) } else { Flow::Continue }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NumberParams {
    run_number: u64,
}

fn methods(world: &Arc<World>, outgoing: Outgoing) -> Methods {
    let mut module = RpcModule::new((world.clone(), outgoing));
    let registered = [
        module.register_async_method("echo", |raw, _, _| async move { Ok::<_, Failure>(raw.as_str().map(str::to_owned)) }).is_ok(),
        module.register_async_method("number", |raw, _, _| async move { params::<NumberParams>(&raw).map(|read| read.run_number) }).is_ok(),
        // Says that it has begun, waits for the gate or its cancellation, and tells of its end after its answer.
        module
            .register_async_method("wait", |raw, context, extensions| async move {
                let (world, outgoing) = (*context).clone();
                let number = params::<NumberParams>(&raw)?.run_number;
                world.begun.lock().expect("lock").push(number);
                let call = Call::of(&extensions);
                tokio::select! {
                    () = world.gate.notified() => {}
                    () = call.cancel.cancelled() => {}
                }
                world.finished.fetch_add(1, Ordering::SeqCst);
                call.after.run(move || outgoing.control(format!(r#"{{"after":{number}}}"#).into_bytes()));
                Ok::<_, Failure>(number)
            })
            .is_ok(),
        module
            .register_async_method("after", |_, context, extensions| async move {
                let outgoing = context.1.clone();
                Call::of(&extensions).after.run(move || outgoing.control(b"{\"after\":0}".to_vec()));
                Ok::<_, Failure>("answer")
            })
            .is_ok(),
        module
            .register_async_method("panic", |raw, _, _| async move {
                if raw.as_str().is_some() {
                    tokio::task::yield_now().await;
                }
                panic!("a handler that panics");
                #[expect(unreachable_code, reason = "gives the handler its type")]
                Ok::<(), Failure>(())
            })
            .is_ok(),
        module.register_async_method("large", |_, _, _| async move { Ok::<_, Failure>("x".repeat(1 << 20)) }).is_ok(),
    ];
    assert!(registered.into_iter().all(|registered| registered));
    module.into()
}

struct Peer {
    world: Arc<World>,
    outgoing: Outgoing,
    lines: BufReader<ReadHalf<DuplexStream>>,
    input: WriteHalf<DuplexStream>,
    served: JoinHandle<Ended>,
}

impl Peer {
    fn new() -> Self {
        Self::with_room(1 << 20)
    }

    fn with_room(room: usize) -> Self {
        let (ours, theirs) = duplex(room);
        let (reader, writer) = split(ours);
        let (lines, input) = split(theirs);
        let world = Arc::<World>::default();
        let outgoing = Outgoing::new(writer);
        let methods = methods(&world, outgoing.clone());
        let codec = FrameCodec::new(None, 4 << 20);
        let served = tokio::spawn(serve(reader, codec, methods, world.clone(), outgoing.clone()));
        Self { world, outgoing, lines: BufReader::new(lines), input, served }
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

    /// The next message, where `Content-Length` is spoken.
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

    async fn ended(self) -> Ended {
        timeout(DEADLINE, self.served).await.expect("in time").expect("no panic")
    }

    async fn until(&self, what: impl Fn(&World) -> bool) {
        let wait = async {
            while !what(&self.world) {
                tokio::task::yield_now().await;
            }
        };
        timeout(DEADLINE, wait).await.expect("in time");
    }

    /// A request that is answered proves that everything before it was looked at.
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
    let mut peer = Peer::new();
    for id in ["0", "-1", "1.50", "18446744073709551616", "1e3", "null", r#""a\u0062\"\\é""#, r#""""#] {
        peer.send(&format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"echo"}}"#)).await;
        assert_eq!(peer.text().await, format!(r#"{{"jsonrpc":"2.0","id":{id},"result":null}}"#));
        peer.send(&format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"none"}}"#)).await;
        assert!(peer.text().await.starts_with(&format!(r#"{{"jsonrpc":"2.0","id":{id},"error":"#)));
    }
}

#[tokio::test]
async fn headers_are_answered_with_headers() {
    let mut peer = Peer::new();
    let body = r#"{"jsonrpc":"2.0","id":1,"method":"echo"}"#;
    peer.input.write_all(format!("Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes()).await.expect("sends");
    assert_eq!(peer.counted().await, br#"{"jsonrpc":"2.0","id":1,"result":null}"#);
}

#[tokio::test]
async fn what_is_no_request_is_refused_and_the_connection_goes_on() {
    let mut peer = Peer::new();
    let parse = |id| (-32700, "parse".to_owned(), id);
    let invalid = |id| (-32600, "invalidRequest".to_owned(), id);
    assert_eq!(peer.refusal("{").await, parse(Value::Null));
    assert_eq!(peer.refusal(r#"{"jsonrpc":"2.0","id":1,"method":"echo"} x"#).await, parse(Value::Null));
    assert_eq!(peer.refusal("[1,").await, parse(Value::Null));
    assert_eq!(peer.refusal("nonsense").await, parse(Value::Null));
    assert_eq!(peer.refusal("5").await, invalid(Value::Null));
    assert_eq!(peer.refusal("[]").await, invalid(Value::Null));
    assert_eq!(peer.refusal("{}").await, invalid(Value::Null));
    assert_eq!(peer.refusal(r#"{"jsonrpc":"2.0","id":1}"#).await, invalid(json!(1)));
    assert_eq!(peer.refusal(r#"{"id":1,"method":"echo"}"#).await, invalid(json!(1)));
    assert_eq!(peer.refusal(r#"{"jsonrpc":"1.0","id":"a","method":"echo"}"#).await, invalid(json!("a")));
    assert_eq!(peer.refusal(r#"{"jsonrpc":"2.0","id":1,"method":5}"#).await, invalid(json!(1)));
    assert_eq!(peer.refusal(r#"{"jsonrpc":"2.0","id":{},"method":"echo"}"#).await, invalid(Value::Null));
    let unknown = peer.refusal(r#"{"jsonrpc":"2.0","id":1,"method":"none"}"#).await;
    assert_eq!(unknown, (-32601, "methodNotFound".to_owned(), json!(1)));
    peer.input.write_all(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"echo\",\"x\":\"\xff\"}").await.expect("sends");
    assert_eq!(peer.refusal("").await, parse(Value::Null));
    peer.fence().await;
}

#[tokio::test]
async fn no_params_are_the_same_as_empty_ones() {
    let mut peer = Peer::new();
    for params in ["", r#","params":null"#, r#","params":[]"#, r#","params":[ ]"#] {
        peer.send(&format!(r#"{{"jsonrpc":"2.0","id":1,"method":"echo"{params}}}"#)).await;
        assert_eq!(peer.receive().await["result"], Value::Null, "{params}");
    }
    for params in ["5", r#""text""#, "true", "[1]"] {
        peer.send(&format!(r#"{{"jsonrpc":"2.0","id":1,"method":"echo","params":{params}}}"#)).await;
        let answer = peer.receive().await;
        assert_eq!((&answer["error"]["code"], &answer["error"]["data"]["field"]), (&json!(-32602), &json!("params")));
    }
    peer.send(r#"{"jsonrpc":"2.0","id":1,"method":"number","params":{}}"#).await;
    assert_eq!(peer.receive().await["error"]["data"], json!({"kind":"invalidParams","field":"runNumber"}));
}

#[tokio::test]
async fn what_is_not_admitted_is_refused() {
    let mut peer = Peer::new();
    *peer.world.refuses.lock().expect("lock") = Some(Failure::not_initialized());
    let refusal = peer.refusal(r#"{"jsonrpc":"2.0","id":1,"method":"none"}"#).await;
    assert_eq!(refusal, (-32002, "notInitialized".to_owned(), json!(1)));
}

#[tokio::test]
async fn handlers_begin_in_the_order_of_arrival() {
    let mut peer = Peer::new();
    let mark = r#"{"jsonrpc":"2.0","method":"mark"}"#;
    let messages: Vec<String> = (0..200).map(|number| format!("{}\n{mark}", wait(&number.to_string(), number))).collect();
    peer.send(&messages.join("\n")).await;
    peer.fence().await;
    // The notification is heard in the reader: each handler had begun before the message behind it was looked at.
    let expected: Vec<u64> = (0..200).flat_map(|number| [number, MARK]).collect();
    assert_eq!(*peer.world.begun.lock().expect("lock"), expected);
}

#[tokio::test]
async fn a_slow_request_holds_up_no_other() {
    let mut peer = Peer::new();
    peer.send(&wait("1", 5)).await;
    peer.fence().await;
    peer.world.gate.notify_one();
    assert_eq!(peer.receive().await, json!({"jsonrpc":"2.0","id":1,"result":5}));
}

#[tokio::test]
async fn work_for_after_the_answer_comes_after_it() {
    let mut peer = Peer::new();
    peer.send(r#"{"jsonrpc":"2.0","id":1,"method":"after"}"#).await;
    assert_eq!(peer.receive().await["result"], "answer");
    assert_eq!(peer.receive().await, json!({"after":0}));
    peer.send(&wait("2", 9)).await;
    peer.fence().await;
    peer.world.gate.notify_one();
    assert_eq!(peer.receive().await["result"], 9);
    assert_eq!(peer.receive().await, json!({"after":9}));
}

#[tokio::test]
async fn a_panic_is_answered_and_hurts_nothing_else() {
    let mut peer = Peer::new();
    for params in ["", r#","params":{"later":true}"#] {
        let refusal = peer.refusal(&format!(r#"{{"jsonrpc":"2.0","id":1,"method":"panic"{params}}}"#)).await;
        assert_eq!(refusal, (-32603, "internal".to_owned(), json!(1)));
    }
    peer.fence().await;
}

#[tokio::test]
async fn a_cancelled_request_answers_once_and_its_handler_goes_on() {
    let mut peer = Peer::new();
    peer.send(&wait(r#""é""#, 3)).await;
    let refusal = peer.refusal(&cancel(r#""\u00e9""#)).await;
    assert_eq!(refusal, (-32800, "cancelled".to_owned(), json!("é")));
    // Its own answer is dropped; what was to come after it comes.
    assert_eq!(peer.receive().await, json!({"after":3}));
    assert_eq!(peer.world.finished.load(Ordering::SeqCst), 1);
    peer.send(&cancel(r#""é""#)).await;
    peer.send(&cancel("17")).await;
    peer.send(r#"{"jsonrpc":"2.0","method":"$/cancelRequest"}"#).await;
    peer.fence().await;
}

#[tokio::test]
async fn a_live_id_is_not_taken_twice() {
    let mut peer = Peer::new();
    peer.send(&wait("1", 1)).await;
    assert_eq!(peer.refusal(&wait("1", 2)).await, (-32600, "invalidRequest".to_owned(), json!(1)));
    peer.world.gate.notify_one();
    assert_eq!(peer.receive().await, json!({"jsonrpc":"2.0","id":1,"result":1}));
    assert_eq!(peer.receive().await, json!({"after":1}));
    peer.send(r#"{"jsonrpc":"2.0","id":1,"method":"echo"}"#).await;
    assert_eq!(peer.receive().await["result"], Value::Null);
    assert_eq!(*peer.world.begun.lock().expect("lock"), [1]);
}

#[tokio::test]
async fn a_batch_is_answered_as_one_in_its_order() {
    let mut peer = Peer::new();
    let after = r#"{"jsonrpc":"2.0","id":"b","method":"after"}"#;
    let note = r#"{"jsonrpc":"2.0","method":"note","params":null}"#;
    let answer = r#"{"jsonrpc":"2.0","id":5,"result":1}"#;
    peer.send(&format!("[{},{after},{note},5,{answer},{{\"id\":8}}]", wait("1", 4))).await;
    peer.fence().await;
    peer.world.gate.notify_one();
    let batch = peer.receive().await;
    let batch = batch.as_array().expect("a batch");
    let ids: Vec<&Value> = batch.iter().map(|answer| &answer["id"]).collect();
    assert_eq!(ids, [&json!(1), &json!("b"), &Value::Null, &json!(8)]);
    assert_eq!((&batch[0]["result"], &batch[1]["result"]), (&json!(4), &json!("answer")));
    assert_eq!((&batch[2]["error"]["code"], &batch[3]["error"]["code"]), (&json!(-32600), &json!(-32600)));
    // Only now what the members wanted to be done after their answers.
    assert_eq!(peer.receive().await, json!({"after":0}));
    assert_eq!(peer.receive().await, json!({"after":4}));
    assert_eq!(*peer.world.heard.lock().expect("lock"), ["note none"]);
}

#[tokio::test]
async fn a_member_of_a_batch_can_be_cancelled() {
    let mut peer = Peer::new();
    peer.send(&format!("[{},{}]", wait("1", 1), wait("1", 2))).await;
    peer.send(&cancel("1")).await;
    let batch = peer.receive().await;
    assert_eq!((&batch[0]["error"]["code"], &batch[1]["error"]["code"]), (&json!(-32800), &json!(-32600)));
    assert_eq!(peer.receive().await, json!({"after":1}));
}

#[tokio::test]
async fn notifications_alone_are_not_answered() {
    let mut peer = Peer::new();
    peer.send(r#"[{"jsonrpc":"2.0","method":"a"},{"jsonrpc":"2.0","method":"b","params":{"x":1}}]"#).await;
    peer.send(r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"to nothing that we asked"}}"#).await;
    peer.fence().await;
    assert_eq!(*peer.world.heard.lock().expect("lock"), ["a none", r#"b {"x":1}"#]);
}

#[tokio::test]
async fn a_batch_has_a_limit() {
    let mut peer = Peer::new();
    let members = vec!["1"; envelope::BATCH_LIMIT + 1].join(",");
    assert_eq!(peer.refusal(&format!("[{members}]")).await, (-32015, "limit".to_owned(), Value::Null));
    peer.fence().await;
}

#[tokio::test]
async fn a_frame_over_the_limit_ends_the_connection() {
    for (bytes, code) in [("Content-Length: 99999999\r\n\r\n", -32015), ("Content-Type: x\r\n\r\n", -32700)] {
        let mut peer = Peer::new();
        peer.input.write_all(bytes.as_bytes()).await.expect("sends");
        let answer: Value = serde_json::from_slice(&peer.counted().await).expect("JSON");
        assert_eq!((&answer["id"], &answer["error"]["code"]), (&Value::Null, &json!(code)));
        assert_eq!(peer.ended().await, Ended::Broken);
    }
}

#[tokio::test]
async fn exit_ends_the_connection_at_once() {
    let mut peer = Peer::new();
    peer.send(&wait("1", 1)).await;
    peer.send(r#"{"jsonrpc":"2.0","method":"exit"}"#).await;
    assert_eq!(peer.ended().await, Ended::Exit(7));
}

#[tokio::test]
async fn what_was_read_before_the_end_is_answered() {
    let mut peer = Peer::new();
    peer.send(&wait("1", 1)).await;
    peer.input.write_all(br#"{"jsonrpc":"2.0","id":2,"method":"echo"}"#).await.expect("sends");
    peer.input.shutdown().await.expect("closes");
    assert_eq!(peer.receive().await["id"], 2);
    peer.until(|world| !world.begun.lock().expect("lock").is_empty()).await;
    peer.world.gate.notify_one();
    assert_eq!(peer.receive().await["id"], 1);
    assert_eq!(peer.ended().await, Ended::Eof);
}

#[tokio::test]
async fn a_handler_that_does_not_end_ends_with_the_connection() {
    let mut peer = Peer::new();
    peer.send(&wait("1", 1)).await;
    peer.input.shutdown().await.expect("closes");
    let world = Arc::downgrade(&peer.world);
    assert_eq!(peer.ended().await, Ended::Eof);
    let dropped = async {
        while world.strong_count() > 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, dropped).await.expect("the handler and all that it held are dropped");
}

#[tokio::test]
async fn a_client_that_does_not_read_is_not_listened_to() {
    let mut peer = Peer::with_room(64 << 10);
    let ask = r#"{"jsonrpc":"2.0","id":null,"method":"large"}"#;
    peer.send(&vec![ask; 20].join("\n")).await;
    let full = async {
        while peer.outgoing.control_backlog() <= CONTROL_LIMIT {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, full).await.expect("the backlog fills");
    for _ in 0..100 {
        tokio::task::yield_now().await;
        assert!(peer.outgoing.control_backlog() < CONTROL_LIMIT + (2 << 20));
    }
    for _ in 0..20 {
        let answer = peer.text().await;
        assert!(answer.len() > 1 << 20 && serde_json::from_str::<IgnoredAny>(&answer).is_ok());
    }
    peer.fence().await;
}

#[tokio::test]
async fn a_client_that_does_not_read_can_still_go() {
    let mut peer = Peer::with_room(64 << 10);
    let ask = r#"{"jsonrpc":"2.0","id":null,"method":"large"}"#;
    peer.send(&vec![ask; 20].join("\n")).await;
    let Peer { lines, input, served, .. } = peer;
    drop((lines, input));
    let ended = timeout(DEADLINE, served).await.expect("in time").expect("no panic");
    assert!(matches!(ended, Ended::Gone | Ended::Eof), "{ended:?}");
}

#[tokio::test]
async fn the_end_of_a_client_that_does_not_read_is_noticed() {
    let mut peer = Peer::with_room(64 << 10);
    let ask = r#"{"jsonrpc":"2.0","id":null,"method":"large"}"#;
    peer.send(&vec![ask; 20].join("\n")).await;
    peer.input.shutdown().await.expect("closes");
    let Peer { lines: _lines, served, .. } = peer;
    assert_eq!(timeout(DEADLINE, served).await.expect("in time").expect("no panic"), Ended::Eof);
}
