//! Clients that read slowly or not at all: they delay nobody, cost no memory, and miss nothing.

use std::fs;

use serde_json::json;

use crate::harness::{Home, Log, id, until};

const FLOOD_BYTES: usize = 48 << 20;

fn flood() -> String {
    format!("yes 'a line of a flood, as long as lines of logs are' | head -c {FLOOD_BYTES}")
}

fn expected() -> Vec<u8> {
    b"a line of a flood, as long as lines of logs are\n".iter().copied().cycle().take(FLOOD_BYTES).collect()
}

/// The most memory that a process ever had resident, in bytes.
pub(crate) fn peak(pid: u32) -> usize {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") * 1024
}

#[test]
fn a_client_that_reads_nothing_holds_up_nobody_and_misses_nothing() {
    let home = Home::new();
    let (mut slow, mut quick) = (home.server(), home.server());
    slow.stop_reading();
    // The slow client cannot read the response to `run/start`, so the quick one finds the run.
    let request = slow.send_request("run/start", json!({ "provider": "command", "command": crate::harness::sh(&flood()) }));
    let run = quick.notification("run/changed", |_| true)["run"].clone();
    let mut theirs = Log::of(id(&run));
    quick.attach(&theirs);
    quick.follow_to_end(&mut theirs);
    theirs.assert_stdout(&expected());
    assert_eq!(theirs.end()["state"], "succeeded");
    let peak_bytes = peak(slow.pid());
    assert!(
        peak_bytes < FLOOD_BYTES,
        "the server of a client that reads nothing took {peak_bytes} bytes for {FLOOD_BYTES} bytes of output"
    );

    slow.resume_reading();
    let run = slow.wait_response(request).expect("a run")["run"].clone();
    let mut log = Log::of(id(&run));
    slow.follow_to_end(&mut log);
    log.assert_stdout(&expected());
    let peak_bytes = peak(slow.pid());
    assert!(peak_bytes < FLOOD_BYTES, "the server took {peak_bytes} bytes while it caught up");
}

#[test]
fn the_other_requests_of_a_client_that_reads_slowly_are_worked_on() {
    let home = Home::new();
    let (mut slow, mut quick) = (home.server(), home.server());
    let (_, mut log) = slow.sh(&format!("{}; sleep 1000", flood()));
    slow.follow(&mut log, "some output", |log| !log.stdout.is_empty());
    slow.stop_reading();
    quick.get_until(&log.run, "the flood is over", |run| run["bytes"]["stdout"] == FLOOD_BYTES);
    let request = slow.send_request("run/cancel", json!({ "runId": log.run, "graceMs": 0 }));
    quick.get_until(&log.run, "the cancel takes effect", |run| run["state"] == "cancelled");
    slow.resume_reading();
    assert_eq!(slow.wait_response(request).expect("an answer")["run"]["state"], "cancelled");
    slow.follow_to_end(&mut log);
    log.assert_stdout(&expected());
}

#[test]
fn a_server_whose_client_reads_nothing_still_ends() {
    let home = Home::new();
    let mut slow = home.server();
    let (_, mut log) = slow.sh(&flood());
    slow.follow(&mut log, "some output", |log| !log.stdout.is_empty());
    slow.stop_reading();
    let mut quick = home.server();
    quick.get_until(&log.run, "the flood is over", |run| run["state"] == "succeeded");
    slow.close_stdin();
    // The server's stdout is full and nobody reads it; the end of stdin ends the server all the same.
    let pid = slow.pid();
    until("the server ends", || (!crate::harness::Process::is_alive(pid)).then_some(()));
}

#[test]
fn a_supervisor_stays_small() {
    let home = Home::new();
    let mut server = home.server();
    let mut gate = crate::harness::Gate::new(home.path(), "gate");
    let (run, mut log) = server.sh(&format!("{}; {}", flood(), gate.wait()));
    server.follow(&mut log, "the flood", |log| log.stdout.len() == FLOOD_BYTES);
    let pid = run["pid"].as_u64().expect("a pid").try_into().expect("a pid");
    let supervisor = home.supervisor(pid);
    let (theirs, ours) = (peak(supervisor), peak(server.pid()));
    assert!(theirs < 32 << 20, "the supervisor took {theirs} bytes");
    assert!(ours < FLOOD_BYTES, "the server took {ours} bytes");
    gate.open();
    server.follow_to_end(&mut log);
}

#[test]
fn a_client_may_stop_and_go() {
    let home = Home::new();
    let capabilities = json!({ "output": { "minIntervalMs": 20, "maxChunkBytes": 65_536 } });
    let mut server = home.setup().capabilities(capabilities).start();
    let (_, mut log) = server.sh("i=0; while [ $i -lt 20000 ]; do i=$((i+1)); echo $i; done");
    while !log.is_final() {
        server.stop_reading();
        server.resume_reading();
        let before = log.notification_count;
        server.follow(&mut log, "something", |log| log.notification_count > before || log.is_final());
    }
    let expected: String = (1..=20_000).map(|number| format!("{number}\n")).collect();
    log.assert_stdout(expected.as_bytes());
}

#[test]
fn answers_that_nobody_has_read_are_not_piled_up() {
    let home = Home::new();
    let mut server = home.server();
    let (_, mut log) = server.sh("yes 'a line that is read again and again' | head -c 9000000");
    server.follow_to_end(&mut log);
    let requests: Vec<_> = (0..24).map(|_| server.send_request("run/read", json!({ "runId": log.run, "maxBytes": 8 << 20 }))).collect();
    for request in requests {
        assert!(!server.wait_response(request).expect("a page")["entries"].as_array().expect("entries").is_empty());
    }
    // All 24 responses at once would be more than 200 MB.
    let peak_bytes = peak(server.pid());
    assert!(peak_bytes < 120 << 20, "24 large answers took {peak_bytes} bytes");
}
