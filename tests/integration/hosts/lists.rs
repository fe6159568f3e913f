//! Lists and searches over several hosts, of which some are not there.

use serde_json::json;

use super::{Hosts, json_lines, text};

/// Two hosts with a run each, the one of `build` being the newer, and hosts that are not there.
fn hosts() -> Hosts {
    let hosts = Hosts::new();
    let far = hosts.far.path().display().to_string();
    hosts.host("other", &format!("export LOOMD_DATA_DIR='{far}/other'; exec \"$LOOMD\""));
    hosts.host("hangs", "exec sleep 1000");
    hosts.host("mute", "\"$LOOMD\" >/dev/null");
    hosts.host("refused", "echo 'Connection refused' >&2; exit 255");
    hosts.stdout(&["run", "--host", "other", "--", "echo", "needle of other"]);
    hosts.stdout(&["run", "--host", "build", "--", "echo", "needle of build"]);
    hosts
}

impl Hosts {
    fn configured(&self, arguments: &[&str]) -> std::process::Output {
        let file = self.near.file("config.toml", b"[hosts.hangs]\ntimeoutSeconds = 2\n[hosts.mute]\ntimeoutSeconds = 2\n");
        self.command(arguments).env("LOOMD_CONFIG", file).output().expect("loomd starts")
    }
}

#[test]
fn the_runs_of_hosts_are_one_list_and_who_is_not_there_is_a_row() {
    let hosts = hosts();
    let output = hosts.configured(&["list", "--host", "hangs,refused,other", "--host", "mute,build"]);
    let lines: Vec<_> = text(&output.stdout).lines().collect();
    assert_eq!(lines.len(), 5, "{lines:#?}");
    assert!(lines[0].starts_with("build/") && lines[0].ends_with("echo 'needle of build'"), "newest first: {lines:#?}");
    assert!(lines[1].starts_with("other/"), "{lines:#?}");
    assert!(lines[2].starts_with("hangs") && lines[2].contains("hangs has not answered within 2 s"), "{lines:#?}");
    assert!(lines[3].starts_with("refused") && lines[3].contains("cannot connect to refused: Connection refused"), "{lines:#?}");
    assert!(lines[4].starts_with("mute") && lines[4].contains("no answer"), "{lines:#?}");
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(1), ""));
    let whole = hosts.configured(&["list", "--host", "other,build"]);
    assert_eq!((whole.status.code(), text(&whole.stdout).lines().count()), (Some(0), 2));
    assert_eq!(text(&hosts.configured(&["list", "-n", "1", "--host", "other,build"]).stdout).lines().count(), 1, "one of all");
}

#[test]
fn as_json_each_line_names_its_host() {
    let hosts = hosts();
    let output = hosts.configured(&["list", "--json", "--host", "refused,other,build"]);
    let lines = json_lines(text(&output.stdout));
    let named: Vec<_> = lines.iter().map(|line| (line["host"].as_str().expect("a host"), line["command"][1].as_str())).collect();
    assert_eq!(named, [("build", Some("needle of build")), ("other", Some("needle of other")), ("refused", None)]);
    assert_eq!(lines[2], json!({ "host": "refused", "error": "cannot connect to refused: Connection refused" }));
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn hosts_are_asked_side_by_side() {
    let hosts = hosts();
    // Each waits until all others have been asked, so that one after another none would answer.
    let names = ["a", "b", "c"];
    for name in names {
        let meet = format!(
            "touch '{0}/met-{name}'; while [ ! -e '{0}/met-a' ] || [ ! -e '{0}/met-b' ] || [ ! -e '{0}/met-c' ]; do sleep 0.01; done; exec \"$LOOMD\"",
            hosts.far.path().display()
        );
        hosts.host(name, &meet);
    }
    let output = hosts.configured(&["list", "--host", &names.join(",")]);
    assert_eq!((output.status.code(), text(&output.stdout).lines().count()), (Some(0), 3), "{}", text(&output.stdout));
}

#[test]
fn a_search_finds_on_all_hosts_and_says_who_is_not_there() {
    let hosts = hosts();
    let output = hosts.configured(&["search", "--host", "hangs,other,refused,build", "needle"]);
    let mut lines: Vec<_> = text(&output.stdout).lines().map(|line| line.split('/').next().expect("a host")).collect();
    lines.sort_unstable();
    assert_eq!((output.status.code(), lines), (Some(2), vec!["build", "other"]));
    let errors = text(&output.stderr);
    assert!(errors.contains("hangs has not answered") && errors.contains("cannot connect to refused"), "{errors}");
    let found = hosts.configured(&["search", "--json", "--host", "other,build", "needle"]);
    let mut named: Vec<_> = json_lines(text(&found.stdout)).into_iter().map(|hit| hit["host"].to_string()).collect();
    named.sort();
    assert_eq!((found.status.code(), named), (Some(0), vec!["\"build\"".to_owned(), "\"other\"".to_owned()]));
    assert_eq!(text(&hosts.configured(&["search", "-n", "1", "--host", "other,build", "needle"]).stdout).lines().count(), 1);
    assert_eq!(hosts.configured(&["search", "--host", "other,build", "nowhere"]).status.code(), Some(1));
}

#[test]
fn nobody_is_asked_for_a_password_where_hosts_are_asked_together() {
    let hosts = Hosts::new();
    // A terminal of ours could be opened by ssh; where several hosts are asked it has none.
    for name in ["one", "two"] {
        hosts.host(name, "(: < /dev/tty) 2>/dev/null && echo asks >&2; echo \"$SSH_ASKPASS_REQUIRE\" >&2; exit 255");
    }
    let output = hosts.configured(&["list", "--host", "one,two"]);
    let rows = text(&output.stdout);
    assert_eq!(rows.matches("cannot connect to").count(), 2, "{rows}");
    assert!(rows.lines().all(|row| row.ends_with(": never")), "{rows}");
}
