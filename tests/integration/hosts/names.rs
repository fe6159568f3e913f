//! The way to a host, the names of its runs, and what stands in the way.

use std::process::Stdio;

use serde_json::json;

use super::{FAR_SIDE, Hosts, text};
use crate::harness::until;

#[test]
fn a_host_is_reached_by_exactly_this_command() {
    let hosts = Hosts::new();
    let output = hosts.loomd(&["run", "--host", "build", "--", "sh", "-c", "pwd -P; exit 7"]);
    assert_eq!(output.status.code(), Some(7), "{}", text(&output.stderr));
    let home = hosts.far.path().canonicalize().expect("a path").display().to_string();
    assert_eq!(text(&output.stdout).trim(), home, "the home there is the directory, and not ours");
    assert_eq!(hosts.calls(), ["-T|--|build|loomd|"]);
    assert_eq!(hosts.runs().len(), 1);
    assert_eq!(hosts.stdout(&["list"]), "", "nothing is here");
    let file = hosts.near.file("config.toml", b"[hosts.build]\ncommand = \"~/my bin/loomd\"\n");
    hosts.stdout(&["--config", &file, "list", "--host", "build"]);
    assert_eq!(hosts.calls()[1], "-T|--|build|~/my bin/loomd|");
}

#[test]
fn a_name_that_is_no_host_reaches_no_ssh() {
    let hosts = Hosts::new();
    for bad in ["-oProxyCommand=touch x", "a b", "$(id)", "", "a@-b", ".x"] {
        let failure = hosts.failure(&["list", &format!("--host={bad}")]);
        assert!(failure.contains("is no host") && failure.trim().lines().count() == 1, "{bad}: {failure}");
    }
    assert!(hosts.failure(&["attach", "--", "-oProxyCommand=x/1234abcd"]).contains("is no host"));
    for (arguments, words) in [
        (&["--host", "build"][..], "a server is always of this machine"),
        (&["serve", "--host", "build"], "a server is always of this machine"),
        (&["doctor", "--host", "build"], "`ssh build loomd doctor`"),
        (&["schema", "--host", "build"], "this loomd alone"),
        (&["stats", "--host", "build,other"], "takes one host"),
        (&["list", "--host", "build", "--data-dir", "/x"], "files of this machine"),
        (&["cancel", "build/1234abcd", "other/1234abcd"], "runs of one host"),
        (&["cancel", "build/1234abcd", "1234abcd"], "runs of one host"),
        (&["attach", "--host", "build", "other/1234abcd"], "runs of one host"),
        (&["run", "--host", "build", "--cwd", "here", "--", "true"], "must be an absolute one"),
        (&["list", "--host", "build", "--touched", "here"], "must be an absolute one"),
    ] {
        let failure = hosts.failure(arguments);
        assert!(failure.contains(words) && failure.trim().lines().count() == 1, "{arguments:?}: {failure}");
    }
    assert_eq!(hosts.calls().iter().filter(|call| !call.contains("|build|")).count(), 0);
}

#[test]
fn a_run_of_a_host_is_named_with_it_wherever_it_is_shown_or_given() {
    let hosts = Hosts::new();
    let id = hosts.stdout(&["run", "--host", "build", "--detach", "--interactive", "--", "sh", "-c", "read line; echo \"<$line>\""]);
    let id = id.trim();
    let short = format!("build/{}", &id[id.len() - 8..]);
    assert!(id.starts_with("build/") && id.len() == "build/".len() + 36, "{id}");
    assert!(hosts.stdout(&["list", "--host", "build"]).starts_with(&format!("{short}  ")));
    // Without `--host`, in every command that takes a run.
    hosts.stdout(&["send", &short, "hello"]);
    assert_eq!(hosts.stdout(&["logs", "--follow", id]), "<hello>\n");
    assert_eq!(hosts.stdout(&["attach", "--from-start", &short]), "<hello>\n");
    assert_eq!(hosts.stdout(&["export", &short, "--format", "text"]), "<hello>\n");
    let file = hosts.near.path().join("exported.txt").display().to_string();
    hosts.stdout(&["export", &short, "-o", &file]);
    assert_eq!(std::fs::read_to_string(&file).expect("a file here"), "<hello>\n");
    let hit = hosts.stdout(&["search", "--run", &short, "hello"]);
    assert!(hit.starts_with(&format!("{short}:")) && hit.ends_with(": <hello>\n"), "{hit}");
    assert!(hosts.stdout(&["search", "--host", "build", "hello"]).starts_with(&short));
    assert!(hosts.stdout(&["cancel", &short]).starts_with(&format!("{short} succeeded")));
    let listed: serde_json::Value = serde_json::from_str(&hosts.stdout(&["list", "--json", "--host", "build"])).expect("JSON");
    assert_eq!((&listed["host"], &listed["id"]), (&json!("build"), &json!(id.trim_start_matches("build/"))));
    assert!(hosts.stdout(&["delete", &short]).starts_with(&format!("Deleted {short}")));
    let failure = hosts.failure(&["logs", &short]);
    assert!(failure.contains(&format!("no such run: {short}")) && failure.contains("`loomd --host build list --all`"), "{failure}");
    assert!(hosts.failure(&["logs", id]).contains(&format!("there is no run {id}")));
}

#[test]
fn a_login_may_greet() {
    let hosts = Hosts::new();
    hosts.host("build", "echo 'Welcome!'; echo Content-Length: is a word; printf 'no line end> '; exec \"$LOOMD\"");
    assert_eq!(hosts.stdout(&["run", "--host", "build", "--", "echo", "x"]), "x\n");
    hosts.host("endless", "exec cat /dev/zero");
    let failure = hosts.failure(&["list", "--host", "endless"]);
    assert!(failure.contains("before the first message"), "{failure}");
}

#[test]
fn what_ssh_said_last_tells_why_a_host_is_not_there() {
    let hosts = Hosts::new();
    hosts.host("refused", "echo first >&2; echo 'ssh: connect to host refused port 22: Connection refused' >&2; exit 255");
    hosts.host("bare", "echo 'sh: 1: loomd: not found' >&2; exit 127");
    hosts.host("broken", "echo 'it is broken' >&2; exit 1");
    let failure = hosts.failure(&["list", "--host", "refused"]);
    assert!(failure.ends_with("cannot connect to refused: ssh: connect to host refused port 22: Connection refused\n"), "{failure}");
    let failure = hosts.failure(&["run", "--host", "bare", "--", "true"]);
    assert!(failure.contains("`loomd` is not in PATH on bare") && failure.contains("[hosts.\"bare\"]"), "{failure}");
    assert!(hosts.failure(&["stats", "--host", "broken"]).contains("loomd on broken has ended: it is broken"));
    let no_ssh = hosts.command(&["list", "--host", "build"]).env("PATH", "/nowhere").output().expect("loomd starts");
    assert!(text(&no_ssh.stderr).contains("cannot start ssh: `ssh` was not found in PATH"), "{}", text(&no_ssh.stderr));
}

#[test]
fn another_release_works_and_another_protocol_is_one_sentence() {
    let hosts = Hosts::new();
    let other = |members: &str| format!("exec python3 -B '{FAR_SIDE}' answer '{members}' \"$LOOMD\"");
    hosts.host("newer", &other(r#"{"serverInfo": {"version": "0.99.0"}, "unknown": {}}"#));
    hosts.host("other", &other(r#"{"serverInfo": {"version": "9.0.0"}, "protocolVersion": 2}"#));
    assert_eq!(hosts.stdout(&["run", "--host", "newer", "--", "echo", "x"]), "x\n");
    let failure = hosts.failure(&["list", "--host", "other"]);
    assert!(failure.contains("other has loomd 9.0.0, which speaks protocol 2, and this one speaks 1"), "{failure}");
    assert_eq!(failure.trim().lines().count(), 1, "{failure}");
}

#[test]
fn a_host_that_is_waited_for_ends_with_the_command() {
    let hosts = Hosts::new();
    hosts.host("hangs", "exec sleep 1000");
    let mut waiting = hosts.command(&["list", "--host", "hangs"]).stderr(Stdio::null()).spawn().expect("loomd starts");
    let ssh = || hosts.far.processes().into_iter().find(|process| process.command.contains("sleep 1000"));
    until("ssh hangs", ssh);
    waiting.kill().expect("killed");
    waiting.wait().expect("it is gone");
    until("ssh is gone, too", || ssh().is_none().then_some(()));
}
