//! Other hosts on a terminal: whose keys are whose, what is told, and a takeover there.

use std::{fs, os::unix::fs::PermissionsExt};

use rustix::process::{Signal, kill_process};

use crate::home::{Home, LOOMD, until};

const AGENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/agent.py");

/// A home with an `ssh` that runs a script, in which `$LOOMD` is loomd with the data of the host.
fn with_host(script: &str) -> Home {
    let home = Home::new();
    fs::create_dir_all(home.path("bin")).expect("made");
    let (dir, ssh) = (home.dir.path().display().to_string(), home.path("bin/ssh"));
    let text = format!(
        "#!/bin/sh\nprintf '%s|' \"$@\" >> '{dir}/calls'; echo >> '{dir}/calls'\nexport LOOMD='{LOOMD}' LOOMD_DATA_DIR='{dir}/far'\n{script}\n"
    );
    fs::write(&ssh, text).expect("written");
    fs::set_permissions(ssh, fs::Permissions::from_mode(0o755)).expect("changed");
    home
}

/// Ends what the test has left on the host.
fn cancel(home: &Home) {
    for run in home.stdout(&["list", "--host", "build", "--state", "live", "--json"]).lines() {
        let run: serde_json::Value = serde_json::from_str(run).expect("a run");
        home.loomd(&["cancel", "--host", "build", "--grace", "0s", run["id"].as_str().expect("an id")]);
    }
}

#[test]
fn keys_are_for_the_run_and_not_for_ssh() {
    // What a key ends of this is what it would end of ssh.
    let home = with_host("cat | setsid \"$LOOMD\" | cat");
    let script = "trap 'echo caught' INT; echo ready; while :; do sleep 0.02; done";
    let mut terminal = home.terminal(&["run", "--host", "build", "--", "sh", "-c", script]);
    let head = terminal.shows("ready");
    assert!(head.contains("Run build/") && head.contains("loomd logs build/"), "{head}");
    terminal.press(b"\x03");
    terminal.shows("Interrupting");
    let shown = terminal.shows("caught");
    assert!(!shown.contains("connecting again"), "{shown}");
    terminal.press(b"\x1c");
    let shown = terminal.shows("Cancel: loomd cancel build/");
    assert!(shown.contains("Run build/") && shown.contains("Attach: loomd attach build/"), "{shown}");
    assert_eq!(terminal.ends(), 0);
    assert_eq!(fs::read_to_string(home.path("calls")).expect("calls").lines().count(), 1);
    cancel(&home);
}

#[test]
fn a_key_ends_the_wait_for_a_host_that_is_gone() {
    let home = with_host("[ ! -e gone ] || { echo 'No route to host' >&2; exit 255; }; touch gone; exec \"$LOOMD\"");
    let mut terminal = home.terminal(&["run", "--host", "build", "--", "sh", "-c", "echo ready; sleep 1000"]);
    terminal.shows("ready");
    kill_process(terminal.server(), Signal::KILL).expect("it runs");
    terminal.shows("connecting again");
    terminal.press(b"\x03");
    terminal.shows("Attach: loomd attach build/");
    assert_eq!(terminal.ends(), 0);
    fs::remove_file(home.path("gone")).expect("removed");
    cancel(&home);
}

#[test]
fn another_release_is_told_and_ssh_is_heard() {
    let far_side = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/integration/hosts/far_side.py");
    let answer = r#"{"serverInfo": {"version": "0.99.0"}}"#;
    let home = with_host(&format!(
        "if [ \"$3\" = asks ]; then printf 'password: ' > /dev/tty; read word < /dev/tty; echo \"heard $word\" >&2; exec \"$LOOMD\"; fi\nexec python3 -B '{far_side}' answer '{answer}' \"$LOOMD\""
    ));
    let mut terminal = home.terminal(&["list", "--host", "build"]);
    let (code, shown) = terminal.ends_having_shown();
    assert_eq!(code, 0);
    assert!(shown.contains(&format!("build has loomd 0.99.0, and this is loomd {}.", env!("CARGO_PKG_VERSION"))), "{shown}");
    // A password is asked for on our terminal.
    let mut terminal = home.terminal(&["list", "--host", "asks"]);
    terminal.shows("password: ");
    terminal.press(b"secret\n");
    terminal.shows("heard secret");
    assert_eq!(terminal.ends(), 0);
}

#[test]
fn a_takeover_runs_on_the_host() {
    let home = with_host("if [ \"$1\" = -t ]; then shift 3; echo \"there: $*\"; exit 3; fi; exec \"$LOOMD\"");
    let arguments = ["run", "--host", "build", "--detach", "--interactive", "acp", "say hi", "--", "python3", AGENT, "claude-like"];
    let id = home.stdout(&arguments).trim().trim_start_matches("build/").to_owned();
    let named = format!("build/{id}");
    until("it is idle", || home.stdout(&["list", "--host", "build", "--json"]).contains("\"state\":\"idle\"").then_some(()));
    let mut terminal = home.terminal(&["takeover", &named, "--kind", "resume"]);
    terminal.shows(&format!("there: loomd takeover {id} --kind resume"));
    assert_eq!(terminal.ends(), 3);
    let calls = fs::read_to_string(home.path("calls")).expect("calls");
    assert_eq!(calls.lines().last(), Some(format!("-t|--|build|loomd|takeover|{id}|--kind|resume|").as_str()));
    let refused = home.loomd(&["takeover", &named, "--kind", "resume"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("takeover needs a terminal"), "{refused:?}");
    let printed = home.stdout(&["takeover", &named, "--kind", "resume", "--print"]);
    assert!(printed.starts_with("ssh -t -- build 'cd ") && printed.contains("claude --resume"), "{printed}");
    cancel(&home);
}
