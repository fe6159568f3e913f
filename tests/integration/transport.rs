//! The transport: framings, broken and odd frames, batches, cancelled requests.

use serde_json::{Value, json};

use crate::harness::{Framing, Home, Server, outcome, sh};

const MAX_FRAME_BYTES: u64 = 64 << 20;

fn initialize(id: i64) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": "initialize", "params": { "protocolVersion": 1 } })
}

#[test]
fn each_framing_is_answered_in_kind() {
    for framing in [Framing::Lsp, Framing::Lines] {
        let home = Home::new();
        let mut server = home.setup().framing(framing).start();
        let (_, mut log) = server.sh("echo hello");
        server.follow_to_end(&mut log);
        assert_eq!(log.stdout, b"hello\n");
        server.shut_down();
    }
}

#[test]
fn a_framing_can_be_forced() {
    let home = Home::new();
    for (name, framing) in [("lsp", Framing::Lsp), ("ndjson", Framing::Lines)] {
        let mut server = home.setup().framing(framing).arg("--framing").arg(name).start();
        server.call("store/stats", json!({}));
    }
    // To a server that expects headers, lines are a broken header block.
    let mut server = home.setup().framing(Framing::Lsp).arg("--framing").arg("lsp").spawn();
    server.send_bytes(format!("{}\n\r\n\r\n", initialize(1)).as_bytes());
    assert_eq!(outcome(&server.next_unmatched()).expect_err("an error").code, -32700);
}

#[test]
fn serve_stdio_is_what_no_argument_means() {
    let home = Home::new();
    let mut server = home.setup().arg("serve").arg("--stdio").start();
    server.call("run/list", json!({}));
}

#[test]
fn frames_may_come_in_any_pieces() {
    for framing in [Framing::Lsp, Framing::Lines] {
        let home = Home::new();
        let mut server = home.setup().framing(framing).spawn();
        let mut bytes = framing.frame(&initialize(1).to_string());
        bytes.extend(
            framing.frame(&json!({ "jsonrpc": "2.0", "id": 2, "method": "run/list", "params": { "provider": "é日🦀" } }).to_string()),
        );
        for byte in &bytes {
            server.send_bytes(&[*byte]);
        }
        let mut many = Vec::new();
        for id in 3..203 {
            many.extend(framing.frame(&json!({ "jsonrpc": "2.0", "id": id, "method": "run/list" }).to_string()));
        }
        server.send_bytes(&many);
        let mut ids: Vec<_> = (1..203).map(|_| server.next_unmatched()["id"].as_i64().expect("an id")).collect();
        ids.sort_unstable();
        assert_eq!(ids, (1..203).collect::<Vec<_>>());
    }
}

#[test]
fn headers_are_read_as_the_language_server_protocol_says() {
    let home = Home::new();
    let mut server = home.setup().spawn();
    let body = initialize(1).to_string();
    let head = "Content-Type: application/vscode-jsonrpc; charset=utf-8\r\nX-Other: anything\r\ncontent-length:";
    server.send_bytes(format!("{head}  {}\r\n\r\n{body}", body.len()).as_bytes());
    assert_eq!(server.next_unmatched()["result"]["protocolVersion"], 1);
}

#[test]
fn broken_json_is_answered_and_the_conversation_goes_on() {
    for framing in [Framing::Lsp, Framing::Lines] {
        let home = Home::new();
        let mut server = home.setup().framing(framing).start();
        for broken in ["{\"jsonrpc\":\"2.0\",", "{nonsense}", "[1,2", "{\"a\":\"\u{1}\"}"] {
            server.send_bytes(&framing.frame(broken));
            let answer = server.next_unmatched();
            assert_eq!(answer["id"], Value::Null, "{broken}");
            assert_eq!(outcome(&answer).expect_err("an error").code, -32700, "{broken}");
        }
        server.send_bytes(&match framing {
            Framing::Lsp => b"Content-Length: 3\r\n\r\n{\"\xff".to_vec(),
            Framing::Lines => b"{\"\xff\n".to_vec(),
        });
        assert_eq!(outcome(&server.next_unmatched()).expect_err("an error").code, -32700);
        server.call("run/list", json!({}));
    }
}

#[test]
fn what_is_no_request_is_refused() {
    let home = Home::new();
    let mut server = home.server();
    for odd in [json!({}), json!({ "jsonrpc": "2.0" }), json!({ "jsonrpc": "2.0", "method": 7, "id": "a" })] {
        server.send(&odd);
        assert_eq!(outcome(&server.next_unmatched()).expect_err("an error").code, -32600, "{odd}");
    }
    // A response to no request of the server is ignored.
    server.send(&json!({ "jsonrpc": "2.0", "id": 99, "result": null }));
    server.call("run/list", json!({}));
}

#[test]
fn a_broken_header_block_ends_the_conversation() {
    for broken in ["Content-Length: many\r\n\r\n{}", "Hello: there\r\n\r\n{}", "no header at all\r\n\r\n"] {
        let home = Home::new();
        let mut server = home.server();
        server.send_bytes(broken.as_bytes());
        let answer = server.next_unmatched();
        assert_eq!(answer["id"], Value::Null, "{broken}");
        assert_eq!(outcome(&answer).expect_err("an error").code, -32700, "{broken}");
        assert_eq!(server.wait().code(), Some(1), "{broken}");
    }
}

#[test]
fn a_frame_over_the_limit_ends_the_conversation() {
    let home = Home::new();
    let mut server = home.server();
    server.send_bytes(format!("Content-Length: {}\r\n\r\n", MAX_FRAME_BYTES + 1).as_bytes());
    assert_limit(&mut server);

    let mut server = home.setup().framing(Framing::Lines).start();
    let spaces = vec![b' '; 1 << 20];
    server.send_bytes(b"{");
    for _ in 0..=64 {
        server.send_bytes(&spaces);
    }
    assert_limit(&mut server);
}

fn assert_limit(server: &mut Server) {
    let answer = server.next_unmatched();
    assert_eq!(answer["id"], Value::Null);
    let failure = outcome(&answer).expect_err("an error");
    assert_eq!((failure.code, &failure.data["limit"]), (-32015, &json!(MAX_FRAME_BYTES)));
    assert_eq!(server.wait().code(), Some(1));
}

#[test]
fn a_large_frame_under_the_limit_is_taken() {
    let home = Home::new();
    let mut server = home.server();
    let text = "0123456789abcde\n".repeat(1 << 18);
    let (_, mut log) = server.start(json!({ "provider": "command", "command": ["cat"], "stdin": text }));
    server.follow_to_end(&mut log);
    log.assert_stdout(text.as_bytes());
}

#[test]
fn batches_are_answered_as_one() {
    for framing in [Framing::Lsp, Framing::Lines] {
        let home = Home::new();
        let mut server = home.setup().framing(framing).start();
        server.send(&json!([
            { "jsonrpc": "2.0", "id": "a", "method": "run/list" },
            { "jsonrpc": "2.0", "method": "initialized" },
            { "jsonrpc": "2.0", "id": "b", "method": "no/such" },
            7,
        ]));
        let answers = server.next_unmatched();
        let answers = answers.as_array().expect("one array");
        assert_eq!(answers.len(), 3, "{answers:?}");
        let of = |id: Value| answers.iter().find(|answer| answer["id"] == id).unwrap_or_else(|| panic!("no answer to {id}"));
        assert!(of(json!("a"))["result"]["runs"].is_array());
        assert_eq!(outcome(of(json!("b"))).expect_err("an error").code, -32601);
        assert_eq!(outcome(of(Value::Null)).expect_err("an error").code, -32600);

        server.send(&json!([]));
        assert_eq!(outcome(&server.next_unmatched()).expect_err("an error").code, -32600);

        // A batch of notifications gets no response, so the next one is to the request after it.
        server.send(&json!([{ "jsonrpc": "2.0", "method": "initialized" }]));
        server.call("run/list", json!({}));
        assert!(server.unmatched.is_empty(), "{:?}", server.unmatched);
    }
}

#[test]
fn a_cancelled_request_takes_nothing_back() {
    let home = Home::new();
    let mut server = home.server();
    let (run, mut log) = server.sh("trap '' TERM; echo ready; while :; do sleep 0.05; done");
    server.follow(&mut log, "the program is ready", |log| log.stdout == b"ready\n");
    let request = server.send_request("run/cancel", json!({ "runId": run["id"], "graceMs": 3_600_000 }));
    server.call("run/list", json!({}));
    server.notify("$/cancelRequest", json!({ "id": request }));
    assert_eq!(server.wait_response(request).expect_err("an error").code, -32800);
    // The cancellation of the run goes on; a second `run/cancel` only shortens its grace.
    server.cancel(&log.run);
    server.follow_to_end(&mut log);
    assert_eq!(log.end()["state"], "cancelled");
    // To cancel a request that has been answered, or that was never sent, has no effect.
    server.notify("$/cancelRequest", json!({ "id": request }));
    server.notify("$/cancelRequest", json!({ "id": "never" }));
    server.call("run/list", json!({}));
}

#[test]
fn a_slow_request_delays_no_other() {
    let home = Home::new();
    let mut server = home.server();
    let (run, mut log) = server.sh("trap '' TERM; echo ready; while :; do sleep 0.05; done");
    server.follow(&mut log, "the program is ready", |log| log.stdout == b"ready\n");
    let slow = server.send_request("run/cancel", json!({ "runId": run["id"], "graceMs": 3_600_000 }));
    server.call("run/list", json!({}));
    let other = server.call("run/start", json!({ "provider": "command", "command": sh("exit 0") }));
    server.get_until(other["run"]["id"].as_str().expect("an id"), "the other run ends", |run| run["state"] == "succeeded");
    assert!(!server.has_response(slow));
    server.cancel(&log.run);
    server.wait_response(slow).expect("the first cancel is answered too");
}

#[test]
fn a_panic_in_one_request_hurts_nothing_else() {
    let home = Home::new();
    let mut server = home.setup().seam("request.run/list=panic").start();
    let (_, mut log) = server.sh("echo whole");
    let failure = server.expect_failure("run/list", json!({}));
    assert_eq!((failure.code, failure.kind), (-32603, "internal"));
    // The same request can be sent again, and other requests and the run go on.
    assert_eq!(server.call("run/list", json!({}))["runs"].as_array().expect("runs").len(), 1);
    server.follow_to_end(&mut log);
    assert_eq!(log.stdout, b"whole\n");
    server.shut_down();
}

#[test]
fn a_batch_of_large_answers_is_answered() {
    let home = Home::new();
    let mut server = home.server();
    let (_, mut log) = server.sh("seq 1 1000");
    server.follow_to_end(&mut log);
    let read = |id: u64| -> Value { json!({ "jsonrpc": "2.0", "id": id, "method": "run/read", "params": { "runId": log.run } }) };
    server.send(&json!((900..910).map(read).collect::<Vec<_>>()));
    assert_eq!(server.next_unmatched().as_array().expect("a batch").len(), 10);
}
