//! A data directory that came from somebody else: links, pipes and directories under the names of its files.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    process::Command,
};

use serde_json::{Value, json};

use crate::{
    faults::initialize_fails,
    harness::{Home, Server, id, isolated, sh},
};

fn pipe(path: &Path) {
    rustix::fs::mkfifoat(rustix::fs::CWD, path, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).expect("a pipe");
}

fn run_id(last: u32) -> String {
    format!("01890000-0000-7000-8000-{last:012x}")
}

/// A data directory with one run in the store, one whose supervisor was killed, and everything else planted. Returns the ids
/// of the sealed run and of those that cannot be read. The file `victim` must never change.
fn planted(home: &Home) -> (String, Vec<String>) {
    let mut server = home.server();
    let (sealed, mut log) = server.sh("echo needle");
    server.follow_to_end(&mut log);
    server.get_until(id(&sealed), "that it is sealed", |run| run.get("transcript").is_none());
    let (killed, _) = server.start(json!({ "provider": "command", "command": sh("echo needle; exec sleep 1000") }));
    server.get_until(id(&killed), "its output", |run| run["bytes"]["stdout"] == 7);
    drop(server);
    home.kill_everything();

    let runs = home.data().join("runs");
    let victim = home.path().join("victim");
    fs::write(&victim, "precious").expect("written");
    let mut unreadable = vec![id(&killed).to_owned()];
    let mut plant = |last: u32, make: &dyn Fn(&Path)| {
        make(&runs.join(run_id(last)));
        unreadable.push(run_id(last));
    };
    plant(1, &|run| pipe(run));
    plant(2, &|run| symlink(home.path(), run).expect("linked"));
    plant(3, &|run| fs::write(run, "").expect("written"));
    plant(4, &|run| {
        fs::create_dir(run).expect("made");
        pipe(&run.join("run.json"));
    });
    plant(5, &|run| {
        fs::create_dir_all(run.join("head")).expect("made");
    });
    plant(6, &|run| {
        fs::create_dir(run).expect("made");
        pipe(&run.join("00000000000000000001.jsonl"));
        fs::copy(runs.join(id(&killed)).join("run.json"), run.join("run.json")).expect("copied");
    });
    let killed = runs.join(id(&killed));
    for name in ["head", "adopting", "seal", "run.new"] {
        fs::remove_file(killed.join(name)).ok();
        symlink(&victim, killed.join(name)).expect("linked");
    }
    for name in [".changes", ".changes.old", ".new-01890000-0000-7000-8000-0000000000ff", ".gone-x"] {
        fs::remove_file(runs.join(name)).ok();
        pipe(&runs.join(name));
    }
    symlink(home.path(), runs.join(".new-01890000-0000-7000-8000-0000000000fe")).expect("linked");
    for name in [".retention", ".loomd.redb.x"] {
        fs::remove_file(home.data().join(name)).ok();
        pipe(&home.data().join(name));
    }
    (id(&sealed).to_owned(), unreadable)
}

fn listed(server: &mut Server) -> Vec<Value> {
    server.call("run/list", json!({ "limit": 100 }))["runs"].as_array().expect("runs").clone()
}

#[test]
fn one_run_that_cannot_be_read_is_shown_as_such_and_holds_up_no_other() {
    let home = Home::new();
    let (sealed, unreadable) = planted(&home);
    let mut server = home.server();
    let runs = listed(&mut server);
    for run in &unreadable {
        let shown = runs.iter().find(|shown| id(shown) == run).unwrap_or_else(|| panic!("{run} is not listed"));
        let why = shown["error"]["message"].as_str().unwrap_or_default();
        assert_eq!((&shown["state"], &shown["error"]["kind"]), (&json!("lost"), &json!("storage")), "{shown}");
        assert!(why.contains(run.as_str()) && why.lines().count() == 1, "{why}");
        let failure = server.expect_failure("run/get", json!({ "runId": run }));
        assert_eq!(failure.kind, "store", "{failure:?}");
        for format in ["text", "markdown", "html", "jsonl", "asciicast"] {
            assert_eq!(server.expect_failure("run/export", json!({ "runId": run, "format": format })).kind, "store", "{run} {format}");
        }
    }
    assert_eq!(runs.len(), unreadable.len() + 1);
    let hits = server.call("run/search", json!({ "query": "needle" }));
    assert_eq!(hits["hits"][0]["runId"], json!(sealed), "{hits}");
    assert_eq!(server.get(&sealed)["state"], "succeeded");
    let (_, mut log) = server.sh("echo on");
    assert_eq!(server.follow_to_end(&mut log)["state"], "succeeded", "new runs start");
    server.call("store/stats", json!({}));
    server.call("store/prune", json!({ "keepRuns": 100 }));
    assert_eq!(fs::read_to_string(home.path().join("victim")).expect("it is there"), "precious");
}

#[test]
fn commands_for_people_go_on_too() {
    let home = Home::new();
    let (sealed, _) = planted(&home);
    for arguments in [&["list"][..], &["doctor"], &["logs", &sealed], &["export", &sealed], &["search", "needle"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_loomd"));
        command.arg("--data-dir").arg(home.data()).args(arguments);
        let output = isolated(command, &home).output().expect("it ends");
        let (shown, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(!errors.contains("panicked"), "{arguments:?}: {errors}");
        assert!(shown.contains("needle") || arguments == ["doctor"] || shown.contains("cannot be read"), "{arguments:?}: {shown} {errors}");
    }
    assert_eq!(fs::read_to_string(home.path().join("victim")).expect("it is there"), "precious");
}

#[test]
fn a_directory_that_is_not_only_ours_is_refused() {
    for (name, mode) in [("", 0o770), ("", 0o707), ("runs", 0o770), ("claims", 0o777)] {
        let home = Home::new();
        home.server().shut_down();
        fs::set_permissions(home.data().join(name), fs::Permissions::from_mode(mode)).expect("set");
        let failure = initialize_fails(home.setup().spawn(), "store");
        assert!(failure["path"].as_str().is_some_and(|path| path.ends_with(name)), "{failure}");
    }
    let home = Home::new();
    home.server().shut_down();
    fs::rename(home.data().join("runs"), home.path().join("elsewhere")).expect("moved");
    symlink(home.path().join("elsewhere"), home.data().join("runs")).expect("linked");
    initialize_fails(home.setup().spawn(), "store");
}

#[test]
fn a_link_to_a_data_directory_of_ours_is_followed() {
    let home = Home::new();
    fs::create_dir(home.path().join("elsewhere")).expect("made");
    symlink(home.path().join("elsewhere"), home.data()).expect("linked");
    let mut server = home.server();
    let (_, mut log) = server.sh("echo there");
    assert_eq!(server.follow_to_end(&mut log)["state"], "succeeded");
    assert!(home.path().join("elsewhere/runs").exists());
}

#[test]
fn a_store_that_is_a_link_or_a_pipe_is_refused_in_one_sentence() {
    for make in [pipe, |path: &Path| symlink("/etc/passwd", path).expect("linked")] {
        let home = Home::new();
        home.server().shut_down();
        fs::remove_file(home.data().join("loomd.redb")).ok();
        make(&home.data().join("loomd.redb"));
        initialize_fails(home.setup().spawn(), "store");
    }
}
