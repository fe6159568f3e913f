//! The user's rules answer permission requests: in every run, of every server, and with no client there.

use std::{fs, os::unix::fs::PermissionsExt};

use serde_json::{Value, json};

use super::{follow_to_state, params, params_with};
use crate::harness::{Home, Log, Server};

const MAKE: &str = r#"request {"kind": "execute", "rawInput": {"command": "make x", "description": "Builds x"}}"#;

fn add(server: &mut Server, rule: Value) -> String {
    server.call("rule/add", json!({ "rule": rule }))["rule"]["id"].as_str().expect("an id").to_owned()
}

fn notices(log: &Log) -> Vec<&Value> {
    log.events.iter().map(|entry| &entry["update"]).filter(|update| update["sessionUpdate"] == "notice").collect()
}

#[test]
fn rules_are_added_listed_and_removed_by_any_server() {
    let home = Home::new();
    let (mut first, mut second) = (home.server(), home.server());
    assert_eq!(first.call("rule/list", json!({}))["rules"], json!([]));
    let id = add(&mut first, json!({ "decision": "allow", "command": "make *", "toolKind": "execute" }));
    let other = add(&mut second, json!({ "decision": "deny", "path": "**/.env" }));
    assert_eq!(add(&mut second, json!({ "decision": "allow", "command": "make *", "toolKind": "execute" })), id, "it is there already");
    let rules = first.call("rule/list", json!({}))["rules"].clone();
    assert_eq!(rules[0], json!({ "id": id, "decision": "allow", "toolKind": "execute", "command": "make *" }));
    let file: Value = serde_json::from_slice(&fs::read(home.rules_file()).expect("a file")).expect("JSON");
    assert_eq!(file, json!({ "version": 2, "rules": rules }));
    let meaningless = first.expect_failure("rule/add", json!({ "rule": { "decision": "allow", "toolKind": "edit" } }));
    assert_eq!((meaningless.kind, &meaningless.data["field"]), ("invalidParams", &json!("rule.command")));
    let unknown = first.expect_failure("rule/add", json!({ "rule": { "decision": "allow", "command": "x", "until": 1 } }));
    assert_eq!(unknown.kind, "invalidParams", "{unknown:?}");
    second.call("rule/remove", json!({ "ruleId": id }));
    let gone = first.expect_failure("rule/remove", json!({ "ruleId": id }));
    assert_eq!((gone.kind, &gone.data["field"]), ("invalidParams", &json!("ruleId")));
    assert_eq!(first.call("rule/list", json!({}))["rules"][0]["id"], other.as_str());
}

#[test]
fn a_rule_of_one_server_answers_in_the_run_of_another_with_no_client_there() {
    let home = Home::new();
    let mut server = home.server();
    let (run, mut log) = server.start(params_with(&home, "say first", json!({ "interactive": true, "attach": false })));
    server.get_until(&log.run, "an idle run", |run| run["state"] == "idle");
    let id = add(&mut home.server(), json!({ "decision": "allow", "command": "make *", "provider": "acp", "cwd": home.path() }));
    server.call("run/send", json!({ "runId": log.run, "text": MAKE }));
    server.kill();
    let mut server = home.server();
    server.get_until(&log.run, "the end of the turn", |run| run["turn"] == 2 && run["state"] == "idle");
    server.attach(&log);
    server.follow(&mut log, "what was chosen", |log| log.text_of("agent_message_chunk").contains("chosen: yes"));
    let resolved = log.permission_results()[0].clone();
    assert_eq!((&resolved["by"], &resolved["rule"], &resolved["optionId"]), (&json!("policy"), &json!(id), &json!("yes")));
    assert!(!log.state_names().contains(&"awaitingPermission"), "{:?}", log.state_names());
    let items = server.read_items(&log.run, 100);
    let permission = items.iter().find(|item| item["kind"] == "permission").expect("an item");
    assert_eq!((&permission["resolved"]["by"], &permission["resolved"]["rule"]), (&json!("policy"), &json!(id)));
    server.cancel(run["id"].as_str().expect("an id"));
    server.follow_to_end(&mut log);
}

#[test]
fn a_deny_holds_in_bypass_and_nothing_else_that_is_asked_for_is_allowed() {
    let home = Home::new();
    let mut server = home.server();
    add(&mut server, json!({ "decision": "allow", "command": "make *" }));
    let deny = add(&mut server, json!({ "decision": "deny", "command": "rm *" }));
    let hidden = r#"request {"kind": "execute", "rawInput": {"command": ["sh", "-c", "make x; rm -rf y"]}}"#;
    let (_, mut log) = server.start(params_with(&home, hidden, json!({ "permissions": "bypass" })));
    server.follow_to_end(&mut log);
    assert_eq!(log.text_of("agent_message_chunk"), "chosen: no");
    assert_eq!(log.permission_results()[0]["rule"], deny.as_str());
    let more = r#"request {"kind": "execute", "rawInput": {"command": "make x", "sandbox": false}}"#;
    let (_, mut log) = server.start(params(&home, more));
    follow_to_state(&mut server, &mut log, "awaitingPermission");
    server.cancel(&log.run);
    server.follow_to_end(&mut log);
}

#[test]
fn a_file_that_is_not_understood_answers_nothing_and_is_reported_in_the_run() {
    let home = Home::new();
    let mut server = home.server();
    add(&mut server, json!({ "decision": "allow", "command": "make *" }));
    let good = fs::read_to_string(home.rules_file()).expect("a file");
    let write = |text: &str, mode: u32| {
        fs::write(home.rules_file(), text).expect("written");
        fs::set_permissions(home.rules_file(), PermissionsExt::from_mode(mode)).expect("its mode is set");
    };
    for (text, mode, problem) in [
        (good.replace("\"version\": 2", "\"version\": 3"), 0o600, "no version that this loomd understands"),
        (good.replace("\"command\"", "\"commands\""), 0o600, "unknown field"),
        ("{".to_owned(), 0o600, "not valid JSON"),
        (good.clone(), 0o666, "can be written by others"),
    ] {
        write(&text, mode);
        let (_, mut log) = server.start(params(&home, &format!("{MAKE}\n{MAKE}")));
        follow_to_state(&mut server, &mut log, "awaitingPermission");
        let question = log.permission_requests()[0].clone();
        server.call("run/answer", json!({ "runId": log.run, "permissionId": question["permissionId"], "optionId": "no" }));
        server.follow(&mut log, "the second question", |log| log.permission_requests().len() == 2);
        let told = notices(&log);
        assert_eq!((told.len(), &told[0]["severity"]), (1, &json!("warning")), "once: {told:?}");
        assert!(told[0]["description"].as_str().expect("a reason").contains(problem), "{problem}: {told:?}");
        let listed = server.expect_failure("rule/list", json!({}));
        assert!(listed.kind == "config" && listed.message.contains(problem), "{listed:?}");
        server.expect_failure("rule/add", json!({ "rule": { "decision": "deny", "command": "x" } }));
        assert_eq!(fs::read_to_string(home.rules_file()).expect("a file"), text, "nothing was written over it");
        server.cancel(&log.run);
        server.follow_to_end(&mut log);
    }
}

#[test]
fn accepted_edits_have_a_place() {
    let home = Home::new();
    let mut server = home.server();
    let work = home.path().join("work");
    fs::create_dir(&work).expect("a directory");
    std::os::unix::fs::symlink(home.path(), work.join("up")).expect("a link");
    let start = |server: &mut Server, name: &str| {
        let path = work.join(name);
        server.start(params_with(&home, &format!("edit {} text", path.display()), json!({ "permissions": "acceptEdits", "cwd": work }))).1
    };
    let mut log = start(&mut server, "new.txt");
    server.follow_to_end(&mut log);
    assert_eq!(log.permission_results()[0]["by"], "policy");
    assert_eq!(fs::read_to_string(work.join("new.txt")).expect("written"), "text");
    for outside in ["../other.txt", "up/other.txt", ".vscode/tasks.json", ".git/hooks/pre-commit"] {
        let mut log = start(&mut server, outside);
        follow_to_state(&mut server, &mut log, "awaitingPermission");
        server.cancel(&log.run);
        server.follow_to_end(&mut log);
    }
}

#[test]
fn no_more_than_64_requests_are_open_and_a_flood_delays_no_cancel() {
    let home = Home::new();
    let mut server = home.server();
    let (_, mut log) = server.start(params(&home, "flood 100"));
    server.follow(&mut log, "all questions", |log| log.permission_requests().len() == 100);
    server.follow(&mut log, "those that are too many", |log| log.permission_results().len() == 36);
    assert!(log.permission_results().iter().all(|resolved| resolved["optionId"] == "no" && resolved["by"] == "policy"));
    let open = server.get(&log.run)["permissions"].as_array().expect("a list").clone();
    assert_eq!(open.len(), 64);
    for question in open {
        server.call("run/answer", json!({ "runId": log.run, "permissionId": question["permissionId"], "optionId": "no" }));
    }
    server.follow_to_end(&mut log);
    assert_eq!(log.text_of("agent_message_chunk"), "granted: 0");
    let told = notices(&log);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0]["title"].as_str().expect("a title").starts_with("36 permission requests were refused"), "{told:?}");

    // A debug build takes some ten times as long for a request as a release build.
    let (_, mut log) = server.start(params(&home, "flood 500"));
    follow_to_state(&mut server, &mut log, "awaitingPermission");
    let run = log.run.clone();
    let tree = || home.tree(&run);
    assert!(!tree().is_empty());
    server.cancel(&log.run);
    assert!(tree().is_empty());
    server.follow_to_end(&mut log);
    // The supervisor has ended the run itself. One that has no time for a command is killed after a while.
    assert!(log.end()["stopReason"] == "cancelled" && log.end()["signal"] == "SIGKILL", "{:?}", log.end());
    assert_eq!(log.end()["state"], "cancelled");
    assert_eq!(log.permission_requests().len(), log.permission_results().len(), "no question stays open");
}
