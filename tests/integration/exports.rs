//! `run/export` to a file and in a response: exact, whole or not at all, of live and ended runs.

use std::fs;

use serde_json::{Value, json};

use crate::harness::{Gate, Home, id, sh};

fn command(script: &str) -> Value {
    json!({ "provider": "command", "command": sh(script), "attach": false })
}

#[test]
fn a_file_holds_exactly_what_was_written_and_the_log_comes_back() {
    let home = Home::new();
    let mut server = home.server();
    let (run, mut log) = server.sh(r"printf 'a\377\033[31mb\033[0m\n'; seq 1 30000; printf 'to stderr' >&2");
    server.follow_to_end(&mut log);
    let path = home.path().join("run.txt").display().to_string();
    let answer = server.call("run/export", json!({ "runId": run["id"], "format": "text", "path": path }));
    assert_eq!(answer, json!({ "path": path }));
    let whole = server.call("run/get", json!({ "runId": run["id"] }))["run"]["bytes"].clone();
    let written = fs::read(&path).expect("the file is there");
    assert_eq!(written.len() as u64, whole["stdout"].as_u64().expect("bytes") + whole["stderr"].as_u64().expect("bytes"));
    assert!(written.starts_with(b"a\xff\x1b[31mb\x1b[0m\n1\n2\n"));
    let inline = server.call("run/export", json!({ "runId": run["id"], "format": "text" }));
    assert_eq!(inline["content"].as_str().expect("content"), String::from_utf8_lossy(&written));

    let lines = server.call("run/export", json!({ "runId": run["id"], "format": "jsonl" }));
    let lines: Vec<Value> =
        lines["content"].as_str().expect("content").lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert!(lines == server.read_all(id(&run), 1 << 20), "every entry, as run/read gives it");
}

#[test]
fn live_and_sealed_runs_are_the_same_and_a_live_one_ends_where_it_was() {
    let home = Home::new();
    let mut server = home.server();
    let mut gate = Gate::new(home.path(), "gate");
    let (run, _) = server.start(command(&format!("seq 1 200; {}; seq 1 20", gate.wait())));
    let first: String = (1..=200).map(|number| format!("{number}\n")).collect();
    server.get_until(id(&run), "the first part", |run| run["bytes"]["stdout"] == first.len());
    for format in ["jsonl", "markdown", "html", "asciicast"] {
        let content = server.call("run/export", json!({ "runId": run["id"], "format": format }))["content"].clone();
        assert!(content.as_str().expect("content").contains("200"), "{format}: {content}");
    }
    assert_eq!(server.call("run/export", json!({ "runId": run["id"], "format": "text" }))["content"], first);
    gate.open();
    let run = server.get_until(id(&run), "the end", |run| run["state"] == "succeeded");
    let export = |server: &mut crate::harness::Server| {
        server.call("run/export", json!({ "runId": run["id"], "format": "jsonl" }))["content"].clone()
    };
    let before = export(&mut server);
    server.get_until(id(&run), "that it is sealed", |run| run.get("transcript").is_none());
    assert!(!home.data().join("runs").join(id(&run)).exists());
    assert!(export(&mut server) == before);
}

#[test]
fn a_bad_path_has_a_sentence_and_leaves_nothing() {
    let home = Home::new();
    let mut server = home.server();
    let (run, mut log) = server.sh("echo x");
    server.follow_to_end(&mut log);
    let data = home.data().join("loomd.redb").display().to_string();
    let out = home.path().join("out");
    fs::create_dir(&out).expect("made");
    let below = out.join("none/x.txt").display().to_string();
    let directory = out.display().to_string();
    let new = format!("{directory}/new/");
    for path in ["x.txt", "", below.as_str(), new.as_str(), directory.as_str(), data.as_str()] {
        let failure = server.expect_failure("run/export", json!({ "runId": run["id"], "format": "text", "path": path }));
        assert_eq!((failure.code, &failure.data["field"]), (-32602, &json!("path")), "{path:?}: {failure:?}");
        assert!(fs::read_dir(&out).expect("readable").next().is_none(), "{path:?} left something");
    }
    let failure = server.expect_failure("run/export", json!({ "runId": run["id"], "format": "pdf" }));
    assert_eq!(failure.code, -32602);
    let none = server.expect_failure("run/export", json!({ "runId": "01890a5d-ac96-774b-bcce-b302099a8057", "format": "text" }));
    assert_eq!(none.code, -32001);
}

#[test]
fn what_is_too_long_for_an_answer_is_written_and_can_be_given_up() {
    let home = Home::new();
    let mut server = home.server();
    let (run, _) = server.start(command("head -c 50000000 /dev/zero | tr '\\0' x | fold -w 120"));
    let run = server.get_until(id(&run), "the end", |run| run["state"] == "succeeded");
    for format in ["text", "jsonl"] {
        let failure = server.expect_failure("run/export", json!({ "runId": run["id"], "format": format }));
        assert_eq!((failure.code, &failure.data["limit"]), (-32015, &json!(32 << 20)), "{format}");
    }
    let out = home.path().join("out");
    fs::create_dir(&out).expect("made");
    let path = out.join("run.html");
    let request = server.send_request("run/export", json!({ "runId": run["id"], "format": "html", "path": path }));
    server.notify("$/cancelRequest", json!({ "id": request }));
    let failure = server.wait_response(request).expect_err("given up");
    assert_eq!(failure.code, -32800);
    assert!(fs::read_dir(&out).expect("readable").next().is_none(), "nothing is left");
    let path = path.display().to_string();
    server.call("run/export", json!({ "runId": run["id"], "format": "text", "path": path }));
    assert_eq!(fs::metadata(&path).expect("it is there").len(), run["bytes"]["stdout"].as_u64().expect("bytes"));
}
