//! What `run/start` passes to a program, how it fails, and what happens when two clients start with the same token.

use std::{fs, os::unix::fs::PermissionsExt};

use serde_json::{Value, json};

use crate::harness::{Failure, Home, Log, Server, id, sh, until};

fn output_of(server: &mut Server, params: Value) -> Log {
    let (_, mut log) = server.start(params);
    server.follow_to_end(&mut log);
    log
}

#[test]
fn a_run_describes_itself() {
    let home = Home::new();
    let mut server = home.server();
    let params = json!({
        "provider": "command", "command": ["sh", "-c", "echo \"$0 $1\""], "args": ["a b", "c"], "cwd": home.path(),
        "title": "a title", "labels": { "k": "v" }, "env": { "SECRET": "value" }, "clientToken": "token",
    });
    let (run, mut log) = server.start(params);
    assert_eq!(run["command"], json!(["sh", "-c", "echo \"$0 $1\"", "a b", "c"]));
    assert_eq!((&run["provider"], &run["title"], &run["labels"]), (&json!("command"), &json!("a title"), &json!({ "k": "v" })));
    assert_eq!((&run["cwd"], &run["pinned"]), (&json!(home.path()), &json!(false)));
    assert_eq!(run["params"]["envNames"], json!(["SECRET"]));
    assert_eq!(run["params"]["command"], json!(["sh", "-c", "echo \"$0 $1\""]));
    assert!(run["params"].get("env").is_none() && run["params"].get("clientToken").is_none(), "{run}");
    let ended = server.follow_to_end(&mut log);
    assert_eq!(log.stdout, b"a b c\n");
    assert_eq!((&ended["state"], &ended["exitCode"]), (&json!("succeeded"), &json!(0)));
    assert!(ended["createdAt"].as_u64() <= ended["startedAt"].as_u64() && ended["startedAt"].as_u64() <= ended["endedAt"].as_u64());
    assert!(ended.get("pid").is_none());
    let (first, last) = (&log.states[0], log.end());
    assert_eq!((&first["state"], &first["turn"]), (&json!("running"), &json!(1)));
    assert_eq!((&last["turn"], &last["exitCode"]), (&json!(1), &json!(0)));
}

#[test]
fn the_environment_is_what_was_requested() {
    let home = Home::new();
    let mut server = home.setup().env("STAYS", "here").env("GOES", "away").env("CHANGES", "before").start();
    let env = json!({ "GOES": null, "CHANGES": "after", "NEW": "é=日", "EMPTY": "" });
    let (run, mut log) = server.start(json!({ "provider": "command", "command": ["env", "-0"], "env": env }));
    server.follow_to_end(&mut log);
    let text = log.stdout_text();
    let variables: Vec<_> = text.split('\0').collect();
    for expected in ["STAYS=here", "CHANGES=after", "NEW=é=日", "EMPTY=", &format!("LOOMD_RUN_ID={}", id(&run))] {
        assert!(variables.contains(&expected), "no {expected} in {variables:?}");
    }
    assert!(!variables.iter().any(|variable| variable.starts_with("GOES=")));
    assert!(!variables.iter().any(|variable| variable.starts_with("TERM=")) || std::env::var_os("TERM").is_some());
}

#[test]
fn the_program_inherits_nothing_by_accident() {
    let home = Home::new();
    // An editor may start the server with signals blocked or ignored, and with further files open.
    let mut server = crate::harness::Setup::through_shell(&home, "trap '' PIPE INT; umask 027; exec 7</etc/hostname; exec \"$@\"").start();
    let script = "grep -E '^Sig(Blk|Ign)' /proc/self/status; ls /proc/self/fd | wc -l; umask; ps -o pgid= -p $$ | tr -d ' '; echo $$";
    let log = output_of(&mut server, json!({ "provider": "command", "command": sh(script) }));
    let text = log.stdout_text();
    let lines: Vec<_> = text.lines().collect();
    let signals = |line: &str| u64::from_str_radix(line.split_whitespace().last().expect("a mask"), 16).expect("a mask");
    assert_eq!(signals(lines[0]), 0, "blocked: {text}");
    // Signals 32 and 33 belong to the C library, which lets nobody set them.
    assert_eq!(signals(lines[1]) & !(0b11 << 31), 0, "ignored: {text}");
    // Standard streams, and the directory that `ls` reads.
    assert_eq!(lines[2].trim(), "4", "{text}");
    assert_eq!(lines[3], "0027", "the client's umask: {text}");
    assert_eq!(lines[4], lines[5], "a process group of its own: {text}");
}

#[test]
fn stdin_is_empty_or_what_was_given() {
    let home = Home::new();
    let mut server = home.server();
    let log = output_of(&mut server, json!({ "provider": "command", "command": ["wc", "-c"] }));
    assert_eq!(log.stdout_text().trim(), "0");
    let log = output_of(&mut server, json!({ "provider": "command", "command": sh("readlink /proc/self/fd/0") }));
    assert_eq!(log.stdout, b"/dev/null\n");
    let log = output_of(&mut server, json!({ "provider": "command", "command": ["cat"], "stdin": "a\nno line feed é" }));
    assert_eq!(log.stdout_text(), "a\nno line feed é");
    let log = output_of(&mut server, json!({ "provider": "command", "command": ["wc", "-c"], "stdin": "" }));
    assert_eq!(log.stdout_text().trim(), "0");
}

#[test]
fn stdin_that_nobody_reads_holds_up_nothing() {
    let home = Home::new();
    let mut server = home.server();
    let text = "x".repeat(1 << 20);
    let log = output_of(&mut server, json!({ "provider": "command", "command": ["echo", "done"], "stdin": text }));
    assert_eq!((log.end()["state"].as_str(), log.stdout.as_slice()), (Some("succeeded"), b"done\n".as_slice()));
}

#[test]
fn a_terminal_is_a_terminal() {
    let home = Home::new();
    let mut server = home.server();
    let script = "test -t 0 && test -t 1 && test -t 2 && echo terminal $TERM; echo to-stderr >&2; stty size; tty > /dev/null && echo named";
    let log = output_of(&mut server, json!({ "provider": "command", "command": sh(script), "tty": true }));
    let text = log.stdout_text();
    assert!(text.starts_with("terminal ") && text.contains("to-stderr") && text.contains("named"), "{text:?}");
    assert_ne!(text.lines().next().map(str::trim_end), Some("terminal"), "TERM is set: {text:?}");
    assert!(log.stderr.is_empty());
    // Without `tty`, the program has no terminal, not even as `/dev/tty`.
    let log =
        output_of(&mut server, json!({ "provider": "command", "command": sh("test -t 1 || (: < /dev/tty) 2>/dev/null || echo none") }));
    assert_eq!(log.stdout, b"none\n");
}

#[test]
fn a_program_that_cannot_be_started_leaves_nothing_behind() {
    let home = Home::new();
    let mut server = home.server();
    let plain = home.file("not-executable", b"text");
    let broken = home.file("no-interpreter", b"#!/no/such/interpreter\n");
    fs::set_permissions(&broken, fs::Permissions::from_mode(0o755)).expect("permissions");
    let directory = home.path().display().to_string();
    let missing = format!("{directory}/missing");
    let cases = [
        (json!(["no-such-program-anywhere"]), None, "no-such-program-anywhere"),
        (json!([format!("{directory}/no-such-file")]), None, "no-such-file"),
        (json!([plain]), None, "not-executable"),
        (json!([broken]), None, "no-interpreter"),
        (json!([directory]), None, "loomd-test-"),
        (json!(["true"]), Some(&missing), "missing"),
        (json!(["true"]), Some(&plain), "not-executable"),
    ];
    for (command, cwd, named) in cases {
        let mut params = json!({ "provider": "command", "command": command, "env": { "PATH": "/usr/bin:/bin" } });
        if let Some(cwd) = cwd {
            params["cwd"] = json!(cwd);
        }
        let failure: Failure = server.expect_failure("run/start", params.clone());
        assert_eq!(failure.code, -32011, "{params}");
        assert_eq!(failure.data["program"], params["command"][0], "{params}");
        assert!(failure.message.contains(named), "the message names it: {failure:?}");
        assert!(failure.data["hint"].as_str().is_some_and(|hint| !hint.is_empty()), "{failure:?}");
    }
    assert_eq!(server.call("run/list", json!({}))["runs"], json!([]));
    assert_eq!(home.run_directories(), Vec::<String>::new());
    assert!(server.notifications.is_empty(), "{:?}", server.notifications);
}

#[test]
fn a_program_is_looked_for_on_the_path_that_it_will_have() {
    let home = Home::new();
    let mut server = home.server();
    fs::create_dir(home.path().join("bin")).expect("a directory");
    let program = home.file("bin/only-here", b"#!/bin/sh\necho found\n");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("permissions");
    let path = format!("{}:/usr/bin:/bin", home.path().join("bin").display());
    let log = output_of(&mut server, json!({ "provider": "command", "command": ["only-here"], "env": { "PATH": path } }));
    assert_eq!(log.stdout, b"found\n");
    let log = output_of(&mut server, json!({ "provider": "command", "command": ["./only-here"], "cwd": home.path().join("bin") }));
    assert_eq!(log.stdout, b"found\n");
    let failure = server.expect_failure("run/start", json!({ "provider": "command", "command": ["only-here"] }));
    assert_eq!(failure.code, -32011);
}

#[test]
fn the_same_token_is_the_same_run() {
    let home = Home::new();
    let (mut one, mut other) = (home.server(), home.server());
    let params = json!({ "provider": "command", "command": ["cat"], "interactive": true, "clientToken": "the token" });
    let (run, mut log) = one.start(params.clone());
    // This client is attached already, so nothing is repeated.
    assert_eq!(one.call("run/start", params.clone())["run"]["id"], run["id"]);
    assert_eq!(other.call("run/start", params.clone())["run"]["id"], run["id"]);
    // Entries before that response were broadcast.
    other.entries_of(id(&run));
    let mut same = Log::of(id(&run));
    one.call("run/closeInput", json!({ "runId": run["id"] }));
    one.follow_to_end(&mut log);
    other.follow_to_end(&mut same);
    // The token of an ended run still names that run; the token of a deleted one does not.
    assert_eq!(one.call("run/start", params.clone())["run"]["id"], run["id"]);
    // If anything were repeated, it would come before the end of another run.
    let (_, mut next) = one.sh("echo next");
    one.follow_to_end(&mut next);
    assert_eq!(one.entries_of(id(&run)), Vec::<Value>::new(), "this client has had it all");
    one.call("run/delete", json!({ "runId": run["id"] }));
    let (new, _) = one.start(params);
    assert_ne!(new["id"], run["id"]);
    one.cancel(id(&new));
}

#[test]
fn a_token_of_a_sealed_run_leaves_no_file() {
    let home = Home::new();
    let mut server = home.server();
    let params = json!({ "provider": "command", "command": ["true"], "clientToken": "t" });
    let (run, mut log) = server.start(params.clone());
    server.follow_to_end(&mut log);
    until("the run is sealed", || home.run_directories().is_empty().then_some(()));
    until("the claim is gone", || (fs::read_dir(home.data().join("claims")).expect("a directory").count() == 0).then_some(()));
    assert_eq!(server.call("run/start", params)["run"]["id"], run["id"], "the store knows it");
    assert_eq!(fs::read_dir(home.data().join("claims")).expect("a directory").count(), 0);
}

#[test]
fn two_servers_that_get_a_token_at_once_start_one_run() {
    let home = Home::new();
    let mut servers: Vec<_> = (0..5).map(|_| home.server()).collect();
    let params = json!({ "provider": "command", "command": sh("echo once"), "clientToken": "t" });
    let requests: Vec<_> = servers.iter_mut().map(|server| server.send_request("run/start", params.clone())).collect();
    let mut ids = Vec::new();
    for (server, request) in servers.iter_mut().zip(requests) {
        let answer = server.wait_response(request).expect("a run");
        ids.push(id(&answer["run"]).to_owned());
        // A server that did not start the run may have been notified of it before.
        server.entries_of(ids.last().expect("an id"));
    }
    ids.dedup();
    assert_eq!(ids.len(), 1, "{ids:?}");
    assert_eq!(servers[0].call("run/list", json!({}))["runs"].as_array().expect("runs").len(), 1);
    for server in &mut servers {
        let mut log = Log::of(&ids[0]);
        server.follow_to_end(&mut log);
        assert_eq!(log.stdout, b"once\n");
    }
}

#[test]
fn a_failed_start_frees_its_token() {
    let home = Home::new();
    let mut server = home.server();
    let program = home.path().join("later").display().to_string();
    let params = json!({ "provider": "command", "command": [program], "clientToken": "t" });
    assert_eq!(server.expect_failure("run/start", params.clone()).code, -32011);
    fs::set_permissions(home.file("later", b"#!/bin/sh\necho now\n"), fs::Permissions::from_mode(0o755)).expect("permissions");
    let log = output_of(&mut server, params);
    assert_eq!(log.stdout, b"now\n");
}

#[test]
fn many_starts_at_once_are_many_runs() {
    let home = Home::new();
    let mut server = home.server();
    let start = |number: usize| json!({ "provider": "command", "command": ["echo", number.to_string()] });
    let requests: Vec<_> = (0..20).map(|number| server.send_request("run/start", start(number))).collect();
    let mut logs: Vec<_> = requests.into_iter().map(|request| Log::of(id(&server.wait_response(request).expect("a run")["run"]))).collect();
    for (number, log) in logs.iter_mut().enumerate() {
        server.follow_to_end(log);
        assert_eq!(log.stdout_text(), format!("{number}\n"));
    }
    let listed: Vec<_> =
        server.call("run/list", json!({}))["runs"].as_array().expect("runs").iter().map(|run| id(run).to_owned()).collect();
    let mut sorted = listed.clone();
    sorted.sort_by(|a, b| b.cmp(a));
    assert_eq!((listed.len(), &listed), (20, &sorted));
}

#[test]
fn nobody_types_at_a_terminal_that_was_given_no_input() {
    let home = Home::new();
    let mut server = home.server();
    let (_, mut log) = server.start(json!({ "provider": "command", "command": ["cat"], "tty": true }));
    server.follow_to_end(&mut log);
    assert_eq!(log.end()["state"], "succeeded");
}

#[test]
fn params_that_no_command_supports_are_refused() {
    let home = Home::new();
    let mut server = home.server();
    let mut start = |more: (&str, &str)| {
        let mut params = json!({ "provider": "command", "command": ["true"] });
        params[more.0] = json!(more.1);
        server.request("run/start", params).expect_err("a promise that nobody could keep").code
    };
    assert_eq!(start(("permissions", "readOnly")), -32013);
    assert_eq!(start(("prompt", "hello")), -32602);
}
