//! Tests of what a client gets from the two lanes, and of what happens when it stops reading or goes.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, DuplexStream, duplex},
    time::timeout,
};

use super::{super::bulk_frames::MAX_SPARE_BULK_BYTES, *};

fn ndjson(capacity: usize) -> (Outgoing, DuplexStream) {
    let (ours, theirs) = duplex(capacity);
    let outgoing = Outgoing::new(ours);
    outgoing.set_framing(Framing::Ndjson);
    (outgoing, theirs)
}

async fn line(client: &mut DuplexStream) -> String {
    let mut line = Vec::new();
    loop {
        match timeout(Duration::from_secs(10), client.read_u8()).await.expect("bytes come").expect("connected") {
            b'\n' => return String::from_utf8(line).expect("UTF-8"),
            byte => line.push(byte),
        }
    }
}

fn notification(params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","method":"m","params":{params}}}"#)
}

#[tokio::test]
async fn control_is_out_before_anybody_else_runs() {
    let (outgoing, mut client) = ndjson(100);
    outgoing.control(b"one".to_vec());
    outgoing.control(b"two".to_vec());
    let mut buffer = [0; 100];
    let polled = pin!(client.read(&mut buffer)).poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(polled, Poll::Ready(Ok(8))));
    assert_eq!(&buffer[..8], b"one\ntwo\n");
}

#[tokio::test]
async fn messages_wait_for_the_framing() {
    let (ours, mut client) = duplex(100);
    let outgoing = Outgoing::new(ours);
    outgoing.control(b"{}".to_vec());
    assert_eq!(outgoing.control_backlog(), 2);
    outgoing.set_framing(Framing::Lsp);
    outgoing.set_framing(Framing::Ndjson);
    assert_eq!(outgoing.control_backlog(), 0);
    let mut bytes = vec![0; 23];
    client.read_exact(&mut bytes).await.expect("bytes");
    assert_eq!(bytes, b"Content-Length: 2\r\n\r\n{}");
}

#[tokio::test]
async fn bulk_frames_are_notifications() {
    let (outgoing, mut client) = ndjson(1000);
    let mut bulk = outgoing.bulk().await;
    bulk.frame("m", &[b"{\"a\"", b":1}"]);
    bulk.frame("m", &[b"2"]);
    assert_eq!(bulk.frames.bytes.len(), notification(r#"{"a":1}"#).len() + notification("2").len() + 2);
    bulk.flush().await.expect("out");
    assert_eq!(line(&mut client).await, notification(r#"{"a":1}"#));
    assert_eq!(line(&mut client).await, notification("2"));
}

#[tokio::test]
async fn control_overtakes_bulk_between_two_frames() {
    let (outgoing, mut client) = ndjson(10);
    let mut bulk = outgoing.bulk().await;
    bulk.frame("m", &[b"1"]);
    bulk.frame("m", &[b"2"]);
    let flush = tokio::spawn(bulk.flush());
    while outgoing.lanes.lock().bulk.is_none() {
        tokio::task::yield_now().await;
    }
    outgoing.control(b"urgent".to_vec());
    assert_eq!(line(&mut client).await, notification("1"));
    assert_eq!(line(&mut client).await, "urgent");
    assert_eq!(line(&mut client).await, notification("2"));
    flush.await.expect("no panic").expect("out");
    assert!(outgoing.bulk().await.was_blocked());
    assert!(!outgoing.bulk().await.was_blocked(), "asking resets it");
}

#[tokio::test]
async fn an_aborted_flush_cuts_no_frame() {
    let (outgoing, mut client) = ndjson(10);
    let mut bulk = outgoing.bulk().await;
    bulk.frame("m", &[b"1"]);
    {
        let mut flush = pin!(bulk.flush());
        assert!(flush.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
    let next = tokio::spawn({
        let outgoing = outgoing.clone();
        async move {
            let mut bulk = outgoing.bulk().await;
            bulk.frame("m", &[b"2"]);
            bulk.flush().await
        }
    });
    assert_eq!(line(&mut client).await, notification("1"));
    assert_eq!(line(&mut client).await, notification("2"));
    next.await.expect("no panic").expect("out");
}

#[tokio::test]
async fn a_dropped_turn_sends_nothing() {
    let (outgoing, mut client) = ndjson(1000);
    let mut bulk = outgoing.bulk().await;
    bulk.frame("m", &[b"1"]);
    drop(bulk);
    let mut bulk = outgoing.bulk().await;
    assert!(bulk.frames.bytes.is_empty());
    bulk.frame("m", &[b"2"]);
    bulk.flush().await.expect("out");
    assert_eq!(line(&mut client).await, notification("2"));
}

#[tokio::test]
async fn turns_are_given_in_the_order_of_asking() {
    let (outgoing, mut client) = ndjson(10_000);
    let first = outgoing.bulk().await;
    let mut waiting = Vec::new();
    for number in 0..20 {
        let outgoing = outgoing.clone();
        waiting.push(tokio::spawn(async move {
            let mut bulk = outgoing.bulk().await;
            bulk.frame("m", &[number.to_string().as_bytes()]);
            bulk.flush().await.expect("out");
        }));
        tokio::task::yield_now().await;
    }
    drop(first);
    for number in 0..20 {
        assert_eq!(line(&mut client).await, notification(&number.to_string()));
    }
}

#[tokio::test]
async fn drained_waits_for_the_client() {
    let (outgoing, mut client) = ndjson(10);
    outgoing.control(vec![b'x'; 100]);
    let mut drained = pin!(outgoing.drained());
    assert!(drained.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    let (_, read) = tokio::join!(drained, line(&mut client));
    assert_eq!(read.len(), 100);
    assert_eq!(outgoing.control_backlog(), 0);
}

#[tokio::test]
async fn a_client_that_is_gone_costs_nothing() {
    let (outgoing, client) = ndjson(10);
    outgoing.control(vec![b'x'; 100]);
    drop(client);
    timeout(Duration::from_secs(10), outgoing.closed()).await.expect("noticed");
    outgoing.control(vec![b'x'; 100]);
    assert_eq!(outgoing.control_backlog(), 0);
    outgoing.drained().await;
    let mut bulk = outgoing.bulk().await;
    bulk.frame("m", &[b"1"]);
    assert!(bulk.flush().await.is_err());
}

#[tokio::test]
async fn a_large_turn_does_not_keep_its_buffer() {
    let (outgoing, mut client) = ndjson(1 << 20);
    tokio::spawn(async move { tokio::io::copy(&mut client, &mut tokio::io::sink()).await });
    let mut bulk = outgoing.bulk().await;
    bulk.frame("m", &[&vec![b'1'; 8 << 20]]);
    bulk.flush().await.expect("out");
    let spare = outgoing.lanes.lock().spare.capacity();
    assert!(spare > 0 && spare <= MAX_SPARE_BULK_BYTES, "{spare}");
}
