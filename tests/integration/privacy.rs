//! Files are readable by their owner only, and secrets are neither in files nor in process lists.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    process::{Command, Stdio},
};

use serde_json::json;

use crate::harness::{Gate, Home, Process, Setup, id, isolated, sh, until};

const SECRET: &str = "loomd-test-secret-5d1f0c";

/// The files and directories of the data directory that others may access, with their modes.
fn readable_by_others(home: &Home) -> Vec<String> {
    let all = home.all_paths();
    assert!(all.len() > 2, "nothing to look at: {all:?}");
    let open = all.into_iter().filter_map(|path| {
        let mode = fs::symlink_metadata(&path).ok().filter(|metadata| !metadata.is_symlink())?.mode();
        (mode & 0o077 != 0).then(|| format!("{mode:o} {}", path.display()))
    });
    open.collect()
}

#[test]
fn files_are_for_their_owner_whatever_the_umask() {
    for umask in ["000", "022", "077", "777"] {
        let home = Home::new();
        let mut gate = Gate::new(home.path(), "gate");
        let mut server = Setup::through_shell(&home, &format!("umask {umask}; exec \"$@\"")).start();
        let (_, mut log) = server.sh(&format!("seq 1 1000; umask; {}", gate.wait()));
        server.follow(&mut log, "output", |log| log.stdout.ends_with(format!("0{umask}\n").as_bytes()));
        assert_eq!(readable_by_others(&home), Vec::<String>::new(), "umask {umask}, live");
        gate.open();
        server.follow_to_end(&mut log);
        until("the run is sealed", || home.run_directories().is_empty().then_some(()));
        assert_eq!(readable_by_others(&home), Vec::<String>::new(), "umask {umask}, sealed");
        for path in home.all_paths() {
            let mode = fs::metadata(&path).expect("a file").mode();
            let owner = if mode & 0o170_000 == 0o040_000 { 0o700 } else { 0o600 };
            assert_eq!(mode & 0o700, owner, "{mode:o} {}", path.display());
        }
    }
}

#[test]
fn a_directory_that_others_may_read_is_not_left_so() {
    let home = Home::new();
    fs::create_dir(home.data()).expect("a directory");
    fs::set_permissions(home.data(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("permissions");
    let mut server = home.server();
    let (_, mut log) = server.sh("echo hello");
    server.follow_to_end(&mut log);
    // The directory existed before, so its mode is its owner's choice; others may not read what loomd creates in it.
    let open = readable_by_others(&home);
    assert!(open.iter().all(|line| line.ends_with(&home.data().display().to_string())), "{open:?}");
}

#[test]
fn values_of_the_environment_are_in_no_file_and_no_process_list() {
    let home = Home::new();
    let mut gate = Gate::new(home.path(), "gate");
    let mut server = home.server();
    let script = format!("test -n \"$TOKEN\" && echo got it; {}", gate.wait());
    let params = json!({
        "provider": "command", "command": sh(&script), "env": { "TOKEN": SECRET }, "clientToken": format!("{SECRET}-client"),
        "interactive": true,
    });
    let (run, mut log) = server.start(params);
    server.follow(&mut log, "output", |log| log.stdout == b"got it\n");
    assert_no_secret(&home);
    for process in Process::all() {
        assert!(!process.command.contains(SECRET), "{process:?}");
    }
    for process in home.processes().into_iter().filter(|process| process.variable("LOOMD_RUN_ID").as_deref() != Some(id(&run))) {
        assert_eq!(process.variable("TOKEN"), None, "only the program gets it: {process:?}");
    }
    gate.open();
    server.follow_to_end(&mut log);
    until("the run is sealed", || home.run_directories().is_empty().then_some(()));
    assert_no_secret(&home);
    let kept = server.call("run/get", json!({ "runId": log.run }));
    assert!(!kept.to_string().contains(SECRET), "{kept}");
    assert!(!server.stderr().contains(SECRET));
}

fn assert_no_secret(home: &Home) {
    for path in home.all_paths().into_iter().filter(|path| path.is_file()) {
        let content = fs::read(&path).expect("a file");
        assert!(!content.windows(SECRET.len()).any(|window| window == SECRET.as_bytes()), "a secret in {}", path.display());
    }
}

#[test]
fn what_is_sent_and_given_is_in_no_process_list() {
    let home = Home::new();
    let mut server = home.server();
    let stdin = format!("{SECRET}-stdin\n");
    let (run, mut log) = server.start(json!({ "provider": "command", "command": ["cat"], "stdin": stdin, "interactive": true }));
    server.call("run/send", json!({ "runId": run["id"], "text": format!("{SECRET}-sent\n") }));
    server.follow(&mut log, "both", |log| log.stdout_text().lines().count() == 2);
    for process in Process::all() {
        assert!(!process.command.contains(SECRET), "{process:?}");
    }
    server.call("run/closeInput", json!({ "runId": run["id"] }));
    server.follow_to_end(&mut log);
}

/// What `loomd doctor --report` prints, as text and as JSON.
fn reports(home: &Home, log_file: &str) -> [String; 2] {
    [&["doctor", "--report"][..], &["doctor", "--report", "--json"]].map(|arguments| {
        let mut command = isolated(Command::new(env!("CARGO_BIN_EXE_loomd")), home);
        command.args(arguments).args(["--log-file", log_file]).env("LOOMD_DATA_DIR", home.data()).env("TOKEN", SECRET);
        let output = command.env("GIT_DIR", format!("/{SECRET}")).stdin(Stdio::null()).output().expect("loomd starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    })
}

#[test]
fn a_report_holds_what_helps_and_nothing_that_is_anybodys_own() {
    let home = Home::new();
    let line = |rest: &str| format!("2026-01-02T03:04:05.678901Z  WARN loomd::runs::store_worker: {rest}\n");
    let log = [
        line(&format!(
            "the run will be sealed later run={SECRET} failure=cannot write {}/{SECRET}: {SECRET} (os error 28)",
            home.path().display()
        )),
        line(&format!("the prompt was {SECRET}")),
        format!("{SECRET}\n"),
    ];
    let log_file = home.file("server.log", log.concat().as_bytes());
    fs::create_dir_all(home.path().join("config/loomd")).expect("made");
    let config = format!(
        "keep = [\"{SECRET}\"]\n[notify]\ncommand = [\"{SECRET}\"]\n[providers.{SECRET}]\nkind = \"command\"\n\
         command = [\"{SECRET}\"]\nenv = {{ KEY = \"{SECRET}\" }}\n"
    );
    home.file("config/loomd/config.toml", config.as_bytes());
    let place = home.path().join(SECRET);
    fs::create_dir(&place).expect("made");
    let mut server = home.server();
    let command = sh(&format!("echo {SECRET}; echo {SECRET} >&2; exit 3"));
    let params = json!({ "provider": "command", "command": command, "cwd": place, "title": SECRET, "labels": { "key": SECRET } });
    let (_, mut log) = server.start(params);
    server.follow_to_end(&mut log);
    server.shut_down();

    let host = fs::read_to_string("/proc/sys/kernel/hostname").expect("a name");
    let own = [SECRET, host.trim(), home.path().to_str().expect("text"), "GIT_DIR"];
    for report in reports(&home, &log_file) {
        for own in own {
            assert!(!report.contains(own), "{own} is in\n{report}");
        }
        for part in [
            env!("CARGO_PKG_VERSION"),
            "glibc 2.",
            "Max open files",
            "1 (0 live)",
            "WARN loomd::runs::store_worker: the run will be sealed later (os error 28)",
            "configured, of kind command",
            "notify",
        ] {
            assert!(report.contains(part), "{part} is not in\n{report}");
        }
    }

    // Also where no server starts, whose failure names the file.
    fs::write(home.data().join("loomd.redb"), SECRET).expect("damaged");
    for report in reports(&home, &log_file) {
        assert!(own.iter().all(|own| !report.contains(own)) && report.contains("fails"), "{report}");
    }
}
