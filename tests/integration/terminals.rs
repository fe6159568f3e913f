//! Runs in a terminal: its size, and who answers what programs ask of it.

use serde_json::{Value, json};

use crate::harness::{Home, Items, Log, Server, id, sh};

/// Asks a terminal in each way, every question cut over two writes, and prints what it reads, until it has read `go` once
/// for each further round.
const ASKING: &str = r#"
import os, re, sys, tty
tty.setraw(0)
questions = ["\x1b[c", "\x1b[>c", "\x1b[5n", "\x1b[3;7H\x1b[6n"]
os.write(1, b"ready")
for line in sys.argv[1:]:
    got = b""
    while not got.endswith(b"go"):
        got += os.read(0, 100)
    for question in questions:
        for at in range(len(question)):
            os.write(1, question[at].encode())
    got = b""
    while len(re.findall(rb"[cnR]", got)) < len(questions):
        got += os.read(0, 100)
    os.write(1, ("<" + line + got.decode().replace("\x1b", "E") + ">").encode())
"#;
const ANSWERS: &str = "E[?62;22cE[>0;0;0cE[0nE[3;7R";

fn with_terminal(command: Value) -> Value {
    json!({ "provider": "command", "command": command, "tty": true, "interactive": true })
}

fn sizes(log: &Log) -> Vec<(u64, u64)> {
    let sizes = log.events.iter().filter(|entry| entry["kind"] == "size");
    sizes.map(|size| (size["rows"].as_u64().expect("rows"), size["cols"].as_u64().expect("cols"))).collect()
}

fn shows(server: &mut Server, log: &mut Log, text: &str) {
    server.follow(log, text, |log| log.stdout_text().contains(text));
}

#[test]
fn a_run_has_the_size_that_it_was_given_and_is_told_of_each_change() {
    let home = Home::new();
    let mut server = home.server();
    let mut watcher = home.server();
    let script = "trap 'stty size' WINCH; stty size; while :; do sleep 0.02; done";
    let (run, mut log) =
        server.start(json!({ "provider": "command", "command": sh(script), "tty": { "rows": 30, "cols": 100 }, "title": "sized" }));
    assert_eq!(run["tty"], json!({ "rows": 30, "cols": 100 }));
    shows(&mut server, &mut log, "30 100");
    assert_eq!((log.events[0]["state"].as_str(), log.events[1]["kind"].as_str()), (Some("running"), Some("size")));
    let set =
        |server: &mut Server, rows: u64, cols: u64| server.call("run/setSize", json!({ "runId": run["id"], "rows": rows, "cols": cols }));
    assert_eq!(set(&mut server, 40, 120), json!({}));
    shows(&mut server, &mut log, "40 120");
    set(&mut server, 40, 120);
    set(&mut watcher, 65535, 1);
    shows(&mut server, &mut log, "65535 1");
    assert_eq!(sizes(&log), [(30, 100), (40, 120), (65535, 1)], "no entry for a size that is no change");
    assert_eq!(server.get(&log.run)["tty"], json!({ "rows": 65535, "cols": 1 }));
    server.cancel(&log.run);
    server.follow_to_end(&mut log);
    assert_eq!(sizes(&server.read_log(&log.run)), sizes(&log));
    watcher.notification("run/state", |state| state["runId"] == run["id"] && state["state"] == "cancelled");
    assert!(watcher.entries_of(&log.run).iter().all(|entry| entry["kind"] != "size"), "sizes do not go to those who only watch");
    assert_eq!(server.expect_failure("run/setSize", json!({ "runId": run["id"], "rows": 1, "cols": 1 })).kind, "runNotActive");

    let cast = server.call("run/export", json!({ "runId": run["id"], "format": "asciicast" }))["content"].clone();
    let lines: Vec<Value> =
        cast.as_str().expect("content").lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
    assert_eq!((&lines[0]["width"], &lines[0]["height"]), (&json!(100), &json!(30)), "the size at the start");
    let resizes: Vec<&Value> = lines.iter().filter(|line| line[1] == "r").map(|line| &line[2]).collect();
    assert_eq!(resizes, [&json!("120x40"), &json!("1x65535")]);
}

#[test]
fn items_have_no_sizes() {
    let home = Home::new();
    let mut server = home.server();
    let params = json!({ "provider": "command", "command": ["echo", "hello"], "tty": true, "attach": { "as": "items" } });
    let run = server.call("run/start", params)["run"].clone();
    let mut items = Items::of(id(&run));
    server.follow_items(&mut items, "the end", Items::is_final);
    assert_eq!(items.all().iter().map(|item| &item["kind"]).collect::<Vec<_>>(), ["command", "turn"]);
    assert!(server.notifications.iter().all(|(method, _)| method != "run/size"));
}

#[test]
fn a_size_that_no_terminal_has_is_refused_in_one_sentence() {
    let home = Home::new();
    let mut server = home.server();
    let (run, mut log) = server.start(json!({ "provider": "command", "command": ["cat"], "interactive": true }));
    for (rows, cols, field) in [(0, 80, "rows"), (24, -1, "cols"), (24, 65536, "cols"), (i64::MAX, 80, "rows")] {
        for failure in [
            server.expect_failure("run/setSize", json!({ "runId": run["id"], "rows": rows, "cols": cols })),
            server
                .expect_failure("run/start", json!({ "provider": "command", "command": ["true"], "tty": { "rows": rows, "cols": cols } })),
        ] {
            assert_eq!((failure.kind, failure.data["field"].as_str()), ("invalidParams", Some(field)), "{failure:?}");
            assert!(failure.message.contains("1 to 65535") && !failure.message.contains('\n'), "{failure:?}");
        }
    }
    let failure = server.expect_failure("run/start", json!({ "provider": "command", "command": ["true"], "tty": "yes" }));
    assert!(failure.message.contains("{rows, cols}"), "{failure:?}");
    let failure = server.expect_failure("run/setSize", json!({ "runId": run["id"], "rows": 24, "cols": 80 }));
    assert_eq!((failure.kind, failure.data["capability"].as_str()), ("unsupported", Some("setSize")), "it has no terminal");
    server.call("run/closeInput", json!({ "runId": run["id"] }));
    server.follow_to_end(&mut log);
    let failure = server.expect_failure("run/setSize", json!({ "runId": run["id"], "rows": 24, "cols": 80 }));
    assert_eq!(failure.kind, "unsupported");
}

#[test]
fn what_a_program_asks_of_its_terminal_is_answered_while_no_client_does() {
    let home = Home::new();
    let mut server = home.server();
    let (run, mut log) = server.start(with_terminal(json!(["python3", "-c", ASKING, "one", "two"])));
    shows(&mut server, &mut log, "ready");
    let go = |server: &mut Server| server.call("run/send", json!({ "runId": run["id"], "text": "go" }));
    go(&mut server);
    shows(&mut server, &mut log, &format!("<one{ANSWERS}>"));
    // With nobody attached at all.
    server.call("run/detach", json!({ "runId": run["id"] }));
    go(&mut server);
    server.get_until(&log.run, "the end", |run| run["state"] == "succeeded");
    assert!(server.read_log(&log.run).stdout_text().contains(&format!("<two{ANSWERS}>")));
}

#[test]
fn a_terminal_whose_input_was_closed_still_answers() {
    let home = Home::new();
    let mut server = home.server();
    // The end of the input that such a run begins with is its first byte.
    let script = r#"
import os, sys, tty
tty.setraw(0, 0)
os.write(1, b"\x1b[5n")
got = b""
while not got.endswith(b"n"):
    got += os.read(0, 100)
os.write(1, repr(got).encode())
"#;
    let (_, mut log) = server.start(json!({ "provider": "command", "command": ["python3", "-c", script], "tty": true }));
    server.follow_to_end(&mut log);
    assert!(log.stdout_text().contains(r"\x1b[0n"), "{}", log.stdout_text());
}

#[test]
fn a_client_that_shows_the_terminal_answers_alone() {
    let home = Home::new();
    let mut emulator = home.setup().capabilities(json!({ "terminal": true })).start();
    let script = r#"
import os, tty
tty.setraw(0)
for question in range(3):
    os.write(1, b"\x1b[5n?")
    got = b""
    while not got.endswith(b"."):
        got += os.read(0, 100)
    os.write(1, (repr(got) + ";").encode())
"#;
    let (run, mut log) = emulator.start(with_terminal(json!(["python3", "-c", script])));
    let answer = |server: &mut Server, text: &str| server.call("run/send", json!({ "runId": run["id"], "text": text }));
    shows(&mut emulator, &mut log, "?");
    answer(&mut emulator, "first.");
    shows(&mut emulator, &mut log, "b'first.';\u{1b}[5n?");
    // A client that comes later counts too, as long as it gets output.
    let mut other = home.setup().capabilities(json!({ "terminal": true })).start();
    other.attach(&Log::of(&log.run));
    emulator.call("run/detach", json!({ "runId": run["id"] }));
    answer(&mut other, "second.");
    let mut seen = Log::of(&log.run);
    shows(&mut other, &mut seen, "b'second.';\u{1b}[5n?");
    other.call("run/attach", json!({ "runId": run["id"], "afterSeq": seen.seq, "kinds": ["update"] }));
    answer(&mut other, "third.");
    emulator.get_until(&log.run, "the end", |run| run["state"] == "succeeded");
    // The third question was asked while the emulator was there, so nobody else answered it.
    let whole = emulator.read_log(&log.run);
    assert!(whole.stdout_text().ends_with("b'third.';"), "{}", whole.stdout_text());
}

#[test]
fn a_client_without_the_output_shows_no_terminal() {
    let home = Home::new();
    let mut server = home.setup().capabilities(json!({ "terminal": true })).start();
    for attach in [json!(false), json!({ "as": "items" }), json!({ "kinds": ["update"] })] {
        let mut params = with_terminal(json!(["python3", "-c", ASKING, "alone"]));
        params["attach"] = attach;
        let run = server.call("run/start", params)["run"].clone();
        server.get_until(id(&run), "it is ready", |run| run["bytes"]["stdout"] == 5);
        server.call("run/send", json!({ "runId": run["id"], "text": "go" }));
        server.get_until(id(&run), "the end", |run| run["state"] == "succeeded");
        assert!(server.read_log(id(&run)).stdout_text().contains(&format!("<alone{ANSWERS}>")));
    }
}
