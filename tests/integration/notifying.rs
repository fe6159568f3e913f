//! The user's notifier: a program that tells that a run waits for an answer or has ended, while nobody who can answer is
//! attached.

use std::{collections::BTreeMap, fs};

use serde_json::{Value, json};

use crate::{
    agents::{follow_to_state, params_with},
    harness::{Gate, Home, Process, Server, Setup, until},
};

/// What a notifier was told: its whole environment.
type Notice = BTreeMap<String, String>;

/// A server whose notifier writes a file for each start, after this shell command.
fn notifying(home: &Home, first: &str, more: &str) -> Setup {
    let script = format!("{first}; env > \"$0/$LOOMD_EVENT.$$\" && mv \"$0/$LOOMD_EVENT.$$\" \"$0/$LOOMD_EVENT.$$.notice\"");
    let command = json!(["sh", "-c", script, home.path()]);
    let path = home.file("config.toml", format!("[notify]\ncommand = {command}\n{more}").as_bytes());
    home.setup().arg("--config").arg(&path)
}

fn notices(home: &Home, event: &str) -> Vec<Notice> {
    let files = fs::read_dir(home.path()).expect("the home").map(|file| file.expect("a file").file_name().to_string_lossy().into_owned());
    let names = files.filter(|name| name.starts_with(event) && name.ends_with(".notice"));
    let texts = names.map(|name| fs::read_to_string(home.path().join(name)).expect("a notice"));
    texts
        .map(|text| text.lines().filter_map(|line| line.split_once('=')).map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
        .collect()
}

fn until_told(home: &Home, event: &str, count: usize) -> Vec<Notice> {
    until(&format!("{count} notices that a run is {event}"), || Some(notices(home, event)).filter(|notices| notices.len() >= count))
}

/// Waits until nothing is left that could tell anything more.
fn until_quiet(home: &Home) {
    let is_notifier = |process: &Process| process.command.contains("supervise --notify") || process.variable("LOOMD_EVENT").is_some();
    let is_supervisor = |process: &Process| process.command.contains("supervise") && !process.command.contains("--ready");
    until("no supervisor and no notifier is left", || {
        (!home.processes().iter().any(|process| is_notifier(process) || is_supervisor(process))).then_some(())
    });
}

fn answer(server: &mut Server, run: &str, option: &str) {
    let open = server.get_until(run, "a question", |run| run["permissions"].is_array())["permissions"][0]["permissionId"].clone();
    server.call("run/answer", json!({ "runId": run, "permissionId": open, "optionId": option }));
}

#[test]
fn each_thing_is_told_once_with_the_runs_facts_also_over_a_restart_of_the_server() {
    let home = Home::new();
    let mut server = notifying(&home, ":", "").start();
    let (run, _) = server.start(params_with(&home, "ask execute\nask execute", json!({ "attach": false, "title": "Tidy\tup" })));
    let id = run["id"].as_str().expect("an id");
    assert_eq!(run["notify"], true);
    let told = until_told(&home, "waiting", 1);
    let value = |notice: &Notice, name: &str| notice.get(name).cloned();
    for (name, expected) in [
        ("LOOMD_RUN", id),
        ("LOOMD_STATE", "awaitingPermission"),
        ("LOOMD_PROVIDER", "acp"),
        ("LOOMD_TITLE", "Tidy up"),
        ("LOOMD_MESSAGE", "touch it"),
        ("LOOMD_CWD", &home.path().display().to_string()),
        ("LOOMD_DATA_DIR", &home.data().display().to_string()),
    ] {
        assert_eq!(value(&told[0], name).as_deref(), Some(expected), "{name}");
    }
    assert_eq!(value(&told[0], "LOOMD_RUN_ID"), None, "it has no mark of the run");
    server.kill();
    let mut server = notifying(&home, ":", "").start();
    server.call("run/attach", json!({ "runId": id }));
    server.call("run/detach", json!({ "runId": id }));
    answer(&mut server, id, "yes");
    let told = until_told(&home, "waiting", 2);
    assert_eq!(told.len(), 2, "the second question is another thing");
    answer(&mut server, id, "yes");
    let ended = until_told(&home, "ended", 1);
    assert_eq!(
        (value(&ended[0], "LOOMD_STATE").as_deref(), value(&ended[0], "LOOMD_EXIT_CODE").as_deref()),
        (Some("succeeded"), Some("0"))
    );
    until_quiet(&home);
    assert_eq!((notices(&home, "waiting").len(), notices(&home, "ended").len()), (2, 1));
}

#[test]
fn nothing_is_told_while_somebody_who_can_answer_is_attached_or_where_it_is_not_wanted() {
    let home = Home::new();
    let mut person = notifying(&home, ":", "").capabilities(json!({ "permissions": true })).start();
    let (run, mut log) = person.start(params_with(&home, "ask execute", json!({})));
    follow_to_state(&mut person, &mut log, "awaitingPermission");
    answer(&mut person, &log.run, "yes");
    person.follow_to_end(&mut log);
    assert_eq!(run["notify"], true);
    // The same of a client that attaches later, and of one whose server is made anew.
    let (_, mut log) = person.start(params_with(&home, "ask execute", json!({})));
    follow_to_state(&mut person, &mut log, "awaitingPermission");
    let mut other = notifying(&home, ":", "").capabilities(json!({ "permissions": true })).start();
    other.call("run/attach", json!({ "runId": log.run }));
    person.kill();
    answer(&mut other, &log.run, "no");
    other.get_until(&log.run, "the end", |run| run["state"] == "succeeded");
    let (_, mut log) = other.start(json!({ "provider": "command", "command": ["true"], "cwd": "/", "attach": false, "notify": false }));
    other.get_until(&log.run, "the end", |run| run["state"] == "succeeded");
    until_quiet(&home);
    assert_eq!((notices(&home, "waiting"), notices(&home, "ended")), (Vec::new(), Vec::new()));

    // A client without a person is attached, and nobody knows.
    let mut program = notifying(&home, ":", "").start();
    log = program.start(params_with(&home, "ask execute", json!({}))).1;
    follow_to_state(&mut program, &mut log, "awaitingPermission");
    assert_eq!(until_told(&home, "waiting", 1)[0]["LOOMD_RUN"], log.run);
    answer(&mut program, &log.run, "no");
    program.follow_to_end(&mut log);
    assert_eq!(until_told(&home, "ended", 1)[0]["LOOMD_RUN"], log.run);
}

#[test]
fn a_notifier_stands_outside_of_the_tree_and_neither_waits_for_the_other() {
    let home = Home::new();
    let mut gate = Gate::new(home.path(), "gate");
    let mut server = notifying(&home, &format!("touch \"$0/begun.$LOOMD_EVENT\"; {}", gate.wait()), "timeoutSeconds = 60\n").start();
    let (run, _) = server.start(params_with(&home, "ask execute", json!({ "attach": false })));
    let id = run["id"].as_str().expect("an id");
    until("the notifier runs", || home.path().join("begun.waiting").exists().then_some(()));
    assert!(home.tree(id).iter().all(|process| process.variable("LOOMD_EVENT").is_none()), "{:?}", home.tree(id));
    let ended = server.cancel(id);
    assert_eq!((&ended["state"], &ended["left"]), (&json!("cancelled"), &Value::Null), "the sweep knows of no notifier");
    until("the supervisor is gone", || {
        (!home.processes().iter().any(|process| process.command.contains(&format!("supervise {id}")))).then_some(())
    });
    until("the second notifier runs", || home.path().join("begun.ended").exists().then_some(()));
    assert_eq!(notices(&home, "waiting").len() + notices(&home, "ended").len(), 0, "both are there still");
    gate.open();
    gate.open();
    until_told(&home, "waiting", 1);
    until_told(&home, "ended", 1);
}

#[test]
fn a_notifier_that_hangs_is_ended_at_its_limit_with_all_that_it_started() {
    let home = Home::new();
    let hang = "trap '' TERM; sleep 1000 & setsid sleep 1000 & touch \"$0/begun\"; sleep 1000";
    let mut server = notifying(&home, hang, "timeoutSeconds = 1\n").start();
    let (run, _) = server.start(json!({ "provider": "command", "command": ["true"], "cwd": "/", "attach": false }));
    until("the notifier runs", || home.path().join("begun").exists().then_some(()));
    assert_eq!(server.get(run["id"].as_str().expect("an id"))["state"], "succeeded", "the run waits for none");
    until_quiet(&home);
    let left = home.processes().into_iter().filter(|process| process.command.contains("sleep 1000"));
    assert_eq!(left.collect::<Vec<_>>(), Vec::new());
    assert_eq!(notices(&home, "ended"), Vec::new(), "it never came to that");
}

#[test]
fn a_desktops_notifier_is_used_where_it_is_asked_for_and_its_absence_is_told() {
    let home = Home::new();
    let params =
        json!({ "provider": "command", "command": ["true"], "cwd": home.path(), "attach": false, "title": "secret", "notify": true });
    let failure = home.setup().env("PATH", "/no/such/directory").start().expect_failure("run/start", params.clone());
    assert_eq!((failure.kind, &failure.data["capability"]), ("unsupported", &json!("notify")));
    assert!(failure.message.contains("notify-send") && failure.message.contains("[notify]"), "{failure:?}");
    fs::create_dir(home.path().join("bin")).expect("made");
    let script = format!("#!/bin/sh\nprintf '<%s>' \"$@\" > {0}/new && mv {0}/new {0}/shown\n", home.path().display());
    let program = home.file("bin/notify-send", script.as_bytes());
    fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("changed");
    let path = format!("{}:/usr/bin:/bin", home.path().join("bin").display());
    let mut server = home.setup().env("PATH", &path).start();
    let (run, _) = server.start(params.clone());
    let shown = until("the desktop shows it", || fs::read_to_string(home.path().join("shown")).ok());
    let id = run["id"].as_str().expect("an id");
    let place = home.path().file_name().expect("a name").to_string_lossy();
    assert_eq!(shown, format!("<--app-name=loomd><Run {} succeeded><command in {place}>", &id[id.len() - 8..]));
    fs::remove_file(home.path().join("shown")).expect("removed");
    let (quiet, _) = server.start(json!({ "provider": "command", "command": ["true"], "cwd": "/", "attach": false }));
    assert_eq!(quiet["notify"], Value::Null, "nobody asked for it");
    server.get_until(quiet["id"].as_str().expect("an id"), "the end", |run| run["state"] == "succeeded");
    until_quiet(&home);
    assert!(!home.path().join("shown").exists());
}

#[test]
fn a_notifier_that_is_missing_is_told_in_the_run() {
    let home = Home::new();
    let path = home.file("config.toml", b"[notify]\ncommand = [\"no-such-notifier\"]\n");
    let mut server = home.setup().arg("--config").arg(&path).start();
    let (_, mut log) = server.start(json!({ "provider": "command", "command": ["true"], "cwd": "/" }));
    server.follow_to_end(&mut log);
    let told = log.events.iter().find(|entry| entry["update"]["sessionUpdate"] == "notice").expect("a notice");
    assert!(told["update"]["title"].as_str().is_some_and(|title| title.contains("no-such-notifier")), "{told}");
}
