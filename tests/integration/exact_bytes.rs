//! A client gets exactly the bytes that a program wrote, in whatever chunks they came.

use std::{fs::OpenOptions, io::Write};

use serde_json::json;

use crate::harness::{Gate, Home, Log, Server, until};

/// Writes to a program's stdout pipe, and waits until the supervisor has read it.
struct Pipe {
    pipe: std::fs::File,
}

impl Pipe {
    fn of(pid: u64) -> Self {
        Self { pipe: OpenOptions::new().write(true).open(format!("/proc/{pid}/fd/1")).expect("the program's stdout") }
    }

    /// Returns when the piece has been read from the pipe, so that the next one is read separately.
    fn write(&mut self, piece: &[u8]) {
        self.pipe.write_all(piece).expect("the pipe takes it");
        until("the piece is read", || (rustix::io::ioctl_fionread(&self.pipe).expect("a pipe") == 0).then_some(()));
    }
}

fn check_pieces(server: &mut Server, home: &Home, name: &str, pieces: &[&[u8]]) -> Log {
    let mut gate = Gate::new(home.path(), name);
    let (run, mut log) = server.sh(&gate.wait());
    let mut pipe = Pipe::of(run["pid"].as_u64().expect("a pid"));
    pieces.iter().for_each(|piece| pipe.write(piece));
    drop(pipe);
    gate.open();
    server.follow_to_end(&mut log);
    log.assert_stdout(&pieces.concat());
    let kept = server.read_log(&log.run);
    kept.assert_stdout(&pieces.concat());
    log
}

#[test]
fn every_byte_value_on_both_streams() {
    let home = Home::new();
    let mut server = home.server();
    let forward: Vec<u8> = (0..=255).collect();
    let backward: Vec<u8> = (0..=255).rev().collect();
    let (one, other) = (home.file("forward", &forward), home.file("backward", &backward));
    let (_, mut log) = server.sh(&format!("cat '{one}'; cat '{other}' >&2"));
    server.follow_to_end(&mut log);
    assert_eq!((&log.stdout, &log.stderr), (&forward, &backward));
    let kept = server.read_log(&log.run);
    assert_eq!((kept.stdout, kept.stderr), (forward, backward));
}

/// Bytes that no compression makes smaller.
fn noise(bytes: usize) -> Vec<u8> {
    let mut number = 1_u64;
    let mut next = || {
        number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (number >> 56) as u8
    };
    (0..bytes).map(|_| next()).collect()
}

#[test]
fn the_same_output_is_stored_once_in_a_run_and_over_runs() {
    const BYTES: usize = 512 << 10;
    let (home, bytes) = (Home::new(), noise(BYTES));
    let text: Vec<u8> = bytes.chunks(3).flat_map(|bytes| format!("{:?}", bytes).into_bytes()).collect();
    let mut server = home.server();
    for (name, block) in [("bytes", bytes), ("text", text)] {
        let path = home.file(name, &block);
        let (_, mut once) = server.sh(&format!("cat '{path}'"));
        server.follow_to_end(&mut once);
        server.get_until(&once.run, "it is sealed", |_| !home.run_directories().contains(&once.run));
        let before = server.call("store/stats", json!({}));
        let script = format!("for i in 1 2 3 4 5 6 7 8; do cat '{path}'; done");
        let (_, mut eight) = server.sh(&script);
        server.follow_to_end(&mut eight);
        server.get_until(&eight.run, "it is sealed", |_| !home.run_directories().contains(&eight.run));
        let after = server.call("store/stats", json!({}));
        let more = |name: &str| after[name].as_u64().expect("a number") - before[name].as_u64().expect("a number");
        let one_copy = before["storedBytes"].as_u64().expect("a number");
        assert!(more("storedBytes") < one_copy / 10, "{name}: {before} {after}");
        assert!(more("fileBytes") < block.len() as u64, "{name}: {before} {after}");
        assert!(more("dedupedBytes") > 7 * block.len() as u64, "{name}: {before} {after}");
        // The run that had the bytes first goes; the other keeps them.
        server.call("run/delete", json!({ "runId": once.run }));
        assert!(server.read_log(&eight.run).stdout == block.repeat(8), "{name}");
        server.call("run/delete", json!({ "runId": eight.run }));
        assert_eq!(server.call("store/stats", json!({}))["storedBytes"], 0);
    }
}

#[test]
fn every_pair_of_byte_values() {
    let home = Home::new();
    let mut server = home.server();
    let bytes: Vec<u8> = (0..=255_u8).flat_map(|a| (0..=255_u8).flat_map(move |b| [a, b])).collect();
    let path = home.file("pairs", &bytes);
    let (_, mut log) = server.sh(&format!("cat '{path}'"));
    server.follow_to_end(&mut log);
    log.assert_stdout(&bytes);
}

#[test]
fn a_character_split_anywhere_stays_whole() {
    let home = Home::new();
    let mut server = home.server();
    let text = "aé日🦀\u{fffd}z";
    for at in 1..text.len() {
        let (head, tail) = text.as_bytes().split_at(at);
        let log = check_pieces(&mut server, &home, &format!("split-{at}"), &[head, tail]);
        let entries = server.read_all(&log.run, 1 << 20);
        assert!(entries.iter().all(|entry| entry.get("data").is_none()), "split at {at}: {entries:?}");
    }
    let bytes: Vec<_> = text.as_bytes().chunks(1).collect();
    let log = check_pieces(&mut server, &home, "bytes", &bytes);
    let entries = server.read_all(&log.run, 1 << 20);
    assert!(entries.iter().all(|entry| entry.get("data").is_none()), "byte by byte: {entries:?}");
}

#[test]
fn what_is_no_text_is_kept_as_bytes() {
    let home = Home::new();
    let mut server = home.server();
    let cases: [&[&[u8]]; 8] = [
        &[b"a\xff", b"b"],
        &[b"\xf0\x9f", b"\xff"],
        &[b"\xe6\x97", b"x"],
        &[b"\xc3"],
        &[b"ok \xf0\x9f\xa6"],
        &[b"\xed\xa0\x80"],
        &[b"\xc0\x80", b"\xf8\x88\x80\x80\x80"],
        &[b"\x80", b"\x80", b"\xe6", b"\x97", b"\xa5"],
    ];
    for (number, pieces) in cases.into_iter().enumerate() {
        check_pieces(&mut server, &home, &format!("case-{number}"), pieces);
    }
}

#[test]
fn a_character_over_the_edge_of_a_chunk() {
    let home = Home::new();
    let mut server = home.server();
    for (number, ahead) in [65_533, 65_534, 65_535, 65_536, 131_071, 1_048_575].into_iter().enumerate() {
        let mut bytes = vec![b'x'; ahead];
        bytes.extend("🦀日é".as_bytes());
        bytes.extend(vec![b'y'; 70_000]);
        let path = home.file(&format!("edge-{number}"), &bytes);
        let (_, mut log) = server.sh(&format!("cat '{path}'"));
        server.follow_to_end(&mut log);
        log.assert_stdout(&bytes);
        let entries = server.read_all(&log.run, 8 << 20);
        assert!(entries.iter().all(|entry| entry.get("data").is_none()), "{ahead} bytes ahead of the characters");
    }
}

#[test]
fn random_bytes_in_random_pieces() {
    let home = Home::new();
    let mut server = home.server();
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"one fixed seed");
    let mut noise = vec![0; 40_000];
    hasher.finalize_xof().fill(&mut noise);
    let (mut rest, mut pieces) = (noise.as_slice(), Vec::new());
    while let [length, ..] = rest {
        let length = (usize::from(*length) * 3 + 1).min(rest.len());
        let (piece, after) = rest.split_at(length);
        pieces.push(piece);
        rest = after;
    }
    check_pieces(&mut server, &home, "noise", &pieces);
}

#[test]
fn one_very_long_line() {
    long_line(8 << 20);
}

#[test]
#[ignore = "slow: 100 MB"]
fn one_line_of_100_megabytes() {
    long_line(100_000_000);
}

fn long_line(length: usize) {
    let home = Home::new();
    let mut server = home.server();
    let (_, mut log) = server.sh(&format!("head -c {length} /dev/zero | tr '\\0' L"));
    server.follow_to_end(&mut log);
    let expected = vec![b'L'; length];
    log.assert_stdout(&expected);
    server.read_log(&log.run).assert_stdout(&expected);
    let page = server.call("run/text", json!({ "runId": log.run, "lastLines": 1, "maxBytes": 4096 }));
    assert_eq!(page["totalBytes"], length);
}

#[test]
fn what_a_grandchild_writes_after_the_exit() {
    let home = Home::new();
    let mut server = home.server();
    // The grandchild writes when its parent has exited, and ends.
    let grandchild = "while kill -0 $0 2>/dev/null; do :; done; echo late; echo late >&2";
    let (_, mut log) = server.sh(&format!("sh -c '{grandchild}' $$ & echo early"));
    server.follow_to_end(&mut log);
    assert_eq!((log.stdout.as_slice(), log.stderr.as_slice()), (b"early\nlate\n".as_slice(), b"late\n".as_slice()));
    assert_eq!(log.end()["state"], "succeeded");
}

#[test]
fn several_runs_at_once_keep_their_own_bytes() {
    let home = Home::new();
    let mut server = home.server();
    let mut logs: Vec<_> = (0..8).map(|number| server.sh(&format!("yes 'run {number}' | head -n 20000")).1).collect();
    for (number, log) in logs.iter_mut().enumerate() {
        server.follow_to_end(log);
        log.assert_stdout(format!("run {number}\n").repeat(20_000).as_bytes());
    }
}

#[test]
fn every_run_has_one_last_entry_however_many_end_at_once() {
    let home = Home::new();
    let mut server = home.server();
    for _ in 0..15 {
        let mut logs: Vec<Log> = (0..4).map(|_| server.sh("echo a; sleep 0.01; echo b").1).collect();
        logs.iter_mut().for_each(|log| drop(server.follow_to_end(log)));
        // A repeat would come before this response or in the next round, and `Log` refuses an entry after the end.
        server.call("run/list", json!({}));
        until("the runs are sealed", || home.run_directories().is_empty().then_some(()));
        logs.iter_mut().for_each(|log| server.entries_of(&log.run).iter().for_each(|entry| log.push(entry)));
    }
}
