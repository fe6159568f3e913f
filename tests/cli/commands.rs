//! Commands, their output, their keys and their exit codes.

use std::{io::Read, os::fd::OwnedFd, process::Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::agents::plain;
use crate::home::{Home, until};

/// The server that a command started for itself.
#[cfg(target_os = "linux")]
fn server_of(pid: u32) -> Pid {
    let children = || std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).expect("readable");
    let child = until("there is a server", || children().split_whitespace().next()?.parse().ok());
    Pid::from_raw(child).expect("a pid")
}

#[test]
fn the_first_ctrl_c_interrupts_the_second_cancels_the_third_kills() {
    let home = Home::new();
    let script = "trap 'echo caught' INT; trap 'echo asked' TERM; echo ready; while :; do sleep 0.02; done";
    let mut terminal = home.terminal(&["run", "--", "sh", "-c", script]);
    let head = terminal.shows("ready");
    assert!(head.contains("\x1b[") && head.contains("loomd logs"), "{head}");
    terminal.press(b"\x03");
    terminal.shows("interrupting");
    terminal.shows("caught");
    terminal.press(b"\x03");
    terminal.shows("cancelling");
    terminal.shows("asked");
    terminal.press(b"\x03");
    assert_eq!(terminal.ends(), 130);
    terminal.shows("cancelled");
    assert_eq!(home.run()["state"], "cancelled");
}

#[test]
fn ctrl_backslash_leaves_and_attach_comes_back_for_the_exit_code() {
    let home = Home::new();
    let mut terminal = home.terminal(&["run", "--", "sh", "-c", &home.gated()]);
    terminal.shows("ready\r\n");
    terminal.press(b"\x1c");
    terminal.shows("goes on");
    assert_eq!(terminal.ends(), 0);
    assert_eq!(home.run()["state"], "running");
    let mut terminal = home.terminal(&["attach"]);
    terminal.shows("ready\r\n");
    home.open_gate();
    terminal.shows("went on\r\n");
    assert_eq!(terminal.ends(), 5);
}

#[test]
fn a_run_goes_on_when_its_terminal_is_closed() {
    let home = Home::new();
    let mut terminal = home.terminal(&["run", "--", "sh", "-c", &home.gated()]);
    terminal.shows("ready\r\n");
    // What a terminal does when its window is closed.
    kill_process(terminal.pid, Signal::HUP).expect("it runs");
    assert_eq!(terminal.ends(), 129, "as shells say of a program that SIGHUP ended");
    drop(terminal);
    assert_eq!(home.run()["state"], "running");
    home.open_gate();
    assert_eq!(home.stdout(&["logs", "-f"]), "ready\nwent on\n");
    assert_eq!(home.run()["exitCode"], 5);
}

#[cfg(target_os = "linux")]
#[test]
fn a_server_that_dies_is_replaced_without_a_gap() {
    let home = Home::new();
    let mut terminal = home.terminal(&["run", "--", "sh", "-c", &home.gated()]);
    terminal.shows("ready\r\n");
    kill_process(server_of(terminal.pid()), Signal::KILL).expect("it runs");
    home.open_gate();
    let rest = terminal.shows("went on\r\n");
    assert_eq!(rest, "went on\r\n", "no repeat");
    assert_eq!(terminal.ends(), 5);
}

#[test]
fn what_is_typed_reaches_an_interactive_run_and_its_end_too() {
    let home = Home::new();
    let mut terminal =
        home.terminal(&["run", "--interactive", "--", "sh", "-c", "echo ready; while read l; do echo \"<$l>\"; done; exit 4"]);
    terminal.shows("ready");
    terminal.press("wörds\n".as_bytes());
    terminal.shows("<wörds>");
    terminal.press(b"\x04");
    assert_eq!(terminal.ends(), 4);
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let home = Home::new();
    assert_eq!(home.loomd(&["run", "--quiet", "--", "seq", "200000"]).status.code(), Some(0));
    let mut logs = home.command(&["logs"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("loomd starts");
    let mut first = [0; 2];
    logs.stdout.take().expect("a pipe").read_exact(&mut first).expect("output");
    let output = logs.wait_with_output().expect("it ends");
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""));
}

#[cfg(target_os = "linux")]
#[test]
fn output_that_cannot_be_written_is_told() {
    let home = Home::new();
    home.loomd(&["run", "--quiet", "--", "echo", "x"]);
    let full = || std::fs::File::options().write(true).open("/dev/full").expect("there");
    for line in [
        "export",
        "export -f html",
        "export -f jsonl",
        "logs",
        "logs --json",
        "logs --raw",
        "logs --offset 0",
        "logs -n 1",
        "logs -f",
        "attach --from-start",
        "attach --json",
        "run -- echo y",
        "run -d -- echo y",
        "run --json -- echo y",
        "list",
        "list --json",
        "stats",
        "search x",
        "providers",
        "changes --json",
        "schema",
        "completions bash",
        "man",
        "doctor",
        "--help",
        "--version",
        "run --help",
    ] {
        let arguments: Vec<&str> = line.split(' ').collect();
        let output = home.command(&arguments).stdout(full()).output().expect("loomd starts");
        let said = String::from_utf8_lossy(&output.stderr);
        // A search says 1 where nothing was found.
        let code = if line.starts_with("search") { 2 } else { 1 };
        assert!(output.status.code() == Some(code) && said.contains("the output cannot be written: No space left"), "{line}: {output:?}");
        assert!(!line.starts_with("attach") || !said.contains("goes on"), "it has ended: {said}");
    }
}

#[test]
fn a_run_goes_on_when_its_output_is_closed() {
    let home = Home::new();
    let script = format!("echo ready; while [ ! -e '{0}' ]; do echo more; sleep 0.02; done; echo end", home.path("gate").display());
    let mut run = home.command(&["run", "--", "sh", "-c", &script]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("starts");
    let mut first = [0; 5];
    let mut stdout = run.stdout.take().expect("a pipe");
    stdout.read_exact(&mut first).expect("output");
    drop(OwnedFd::from(stdout));
    assert_eq!(run.wait_with_output().expect("it leaves").status.code(), Some(0));
    assert_eq!(home.run()["state"], "running");
    home.open_gate();
    assert!(home.stdout(&["logs", "--follow"]).ends_with("more\nend\n"));
}

#[test]
fn the_last_lines_are_exact_and_of_the_stream_that_is_asked_for() {
    let home = Home::new();
    home.loomd(&["run", "--", "sh", "-c", r"printf 'a\nb\377\n'; printf 'x\ny' >&2"]);
    let logs = |arguments: &[&str]| home.loomd(&[&["logs"], arguments].concat()).stdout;
    assert_eq!(logs(&["--stream", "stdout"]), b"a\nb\xff\n");
    assert_eq!(logs(&["--stream", "stdout", "--tail", "1"]), b"b\xff\n");
    assert_eq!(logs(&["--stream", "stderr", "--tail", "1"]), b"y");
    assert_eq!(logs(&["--tail", "0"]), b"");
    assert_eq!(logs(&["--tail", "99"]).len(), 8);
}

#[test]
fn exit_codes_tell_how_it_ended() {
    let home = Home::new();
    let code = |arguments: &[&str]| home.loomd(&[&["run", "--quiet"], arguments].concat()).status.code();
    assert_eq!(code(&["--", "true"]), Some(0));
    assert_eq!(code(&["--", "sh", "-c", "exit 200"]), Some(200));
    assert_eq!(code(&["--", "sh", "-c", "kill -9 $$"]), Some(137));
    assert_eq!(code(&["--timeout", "10ms", "--", "sleep", "1000"]), Some(124));
    assert_eq!(code(&["--max-output", "1", "--", "sh", "-c", "echo long; sleep 1000"]), Some(1));
    assert_eq!(code(&["--", "/no/such/program"]), Some(127));
    assert_eq!(home.loomd(&["run", "--bogus"]).status.code(), Some(2));
    assert_eq!(home.loomd(&["logs", "not-an-id"]).status.code(), Some(1));
}

#[test]
fn a_run_is_named_by_its_last_digits() {
    let home = Home::new();
    let id = home.stdout(&["run", "--detach", "--interactive", "--", "cat"]).trim().to_owned();
    let short = &id[id.len() - 8..];
    assert!(home.stdout(&["list"]).starts_with(short));
    assert!(home.loomd(&["send", short, "hello", "--close"]).status.success());
    assert_eq!(home.stdout(&["attach", short, "--from-start"]), "hello\n");
    assert!(home.loomd(&["delete", short]).status.success());
    assert_eq!(home.stdout(&["list"]), "");
}

#[test]
fn old_runs_are_pruned_and_counted() {
    let home = Home::new();
    for number in 0..3 {
        assert_eq!(home.stdout(&["run", "--", "echo", &number.to_string()]), format!("{number}\n"));
    }
    assert_eq!(home.loomd(&["prune"]).status.code(), Some(2), "nothing is pruned without a bound");
    assert!(home.stdout(&["prune", "--older-than", "30d"]).starts_with("0 runs deleted"));
    assert!(home.stdout(&["prune", "--keep", "1"]).starts_with("2 runs deleted"));
    assert_eq!(home.stdout(&["list"]).lines().count(), 1);
    assert!(home.stdout(&["stats"]).starts_with("runs       1 (0 live)"));
    assert!(home.stdout(&["stats", "--json"]).contains("\"maxAgeDays\":90"));
}

#[test]
fn search_prints_lines_and_says_whether_there_are_any() {
    let home = Home::new();
    home.loomd(&["run", "--", "sh", "-c", "echo first needle; seq 1 500; echo second needle"]);
    let found = home.loomd(&["search", "needle"]);
    assert_eq!(found.status.code(), Some(0));
    let id = home.run()["id"].as_str().expect("an id").to_owned();
    let short = &id[id.len() - 8..];
    let offset = "first needle\n".len() + (1..=500).map(|number: u32| number.to_string().len() + 1).sum::<usize>() + "second ".len();
    assert_eq!(String::from_utf8_lossy(&found.stdout), format!("{short}:6: first needle\n{short}:{offset}: second needle\n"));
    assert_eq!(home.stdout(&["logs", short, "--offset", &offset.to_string()]), "needle\n");
    assert_eq!(home.stdout(&["search", "-e", "-i", "-n", "1", "^SECOND"]), format!("{short}:{}: second needle\n", offset - 7));
    let hit: serde_json::Value = serde_json::from_str(&home.stdout(&["search", "--json", "--run", short, "second"])).expect("a hit");
    assert_eq!((hit["runId"].as_str(), hit["line"].as_str()), (Some(&*id), Some("second needle")));
    let nothing = home.loomd(&["search", "absent"]);
    assert_eq!((nothing.status.code(), nothing.stdout.len()), (Some(1), 0));
    for wrong in [&["-e", "("][..], &["-n", "0", "needle"], &["--run", "ffffffff", "needle"]] {
        let refused = home.loomd(&[&["search"], wrong].concat());
        assert_eq!((refused.status.code(), refused.stdout.len()), (Some(2), 0), "{wrong:?}");
        assert!(!refused.stderr.is_empty(), "{wrong:?}");
    }
}

#[test]
fn a_run_is_exported_as_its_name_says_or_to_stdout() {
    let home = Home::new();
    home.loomd(&["run", "--", "sh", "-c", r"printf '\377\033[1mbold\033[0m\n'"]);
    assert_eq!(home.loomd(&["export"]).stdout, b"\xff\x1b[1mbold\x1b[0m\n", "byte for byte");
    assert!(home.stdout(&["export", "--format", "jsonl"]).starts_with(r#"{"kind":"#));
    for (name, word) in [("run.html", "<span class=\"x\">bold</span>"), ("run.md", "bold\n```"), ("run.cast", "{\"version\":2")] {
        assert!(home.loomd(&["export", "-o", name]).status.success());
        let text = std::fs::read_to_string(home.path(name)).expect("the file is there");
        assert!(text.contains(word), "{name}: {text}");
    }
    let refused = home.loomd(&["export", "-o", "run"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--format text, jsonl"), "{refused:?}");
    let left = std::fs::read_dir(home.dir.path())
        .expect("readable")
        .filter(|entry| entry.as_ref().expect("an entry").file_name().to_string_lossy().contains("loomd-export"));
    assert_eq!(left.count(), 0, "nothing stays in the directory for temporary files");
}

#[test]
fn sentences_for_people_name_commands_and_options() {
    let home = Home::new();
    let said = |arguments: &[&str]| String::from_utf8(home.loomd(arguments).stderr).expect("text");
    assert!(said(&["run", "--timeout", "10ms", "--", "sleep", "1000"]).contains("longer than --timeout allows"));
    assert!(said(&["run", "--idle-timeout", "10ms", "--", "sleep", "1000"]).contains("as --idle-timeout allows"));
    assert!(said(&["run", "--max-output", "1", "--", "sh", "-c", "echo long; sleep 1000"]).contains("more than --max-output allows"));
    assert!(said(&["run", "--", "nosuch"]).contains("set PATH with `--env`"));
    assert!(said(&["run", "--cwd", "/nope", "--", "true"]).contains("another with `--cwd`"));
    assert!(said(&["search", "-e", "("]).contains("leave `-e` out"));
    assert!(said(&["search", ""]).contains("the text to look for is empty"));
    let id = home.stdout(&["run", "--detach", "--interactive", "--", "cat"]).trim().to_owned();
    assert!(said(&["delete", &id]).contains("with `loomd cancel`"));
    assert!(said(&["configure", &id]).contains("is a command: it has no model and no permissions"));
    assert!(home.loomd(&["cancel", &id]).status.success());
    assert!(said(&["send", &id, "x"]).contains("start a new one with `loomd run`"));
    let meant = said(&["run", "nosuch", "do it"]);
    assert!(meant.contains("`loomd providers` lists them") && meant.contains("`loomd run -- COMMAND`"), "{meant}");
    for count in [["logs", "--tail"], ["list", "--limit"], ["attach", "--tail"], ["search", "--limit"], ["prune", "--keep"]] {
        let said = said(&[&count[..], &["x"]].concat());
        assert!(said.contains("write it as a whole number"), "{said}");
    }
}

#[test]
fn a_stdin_that_is_not_passed_on_is_told() {
    let home = Home::new();
    std::fs::write(home.path("input"), "data\n").expect("written");
    let run = |option: &str| {
        let input = std::fs::File::open(home.path("input")).expect("there");
        home.command(&["run", option, "--", "wc", "-c"]).stdin(input).output().expect("loomd starts")
    };
    let told = run("--full");
    assert!(String::from_utf8_lossy(&told.stderr).contains("stdin is not passed on; `--interactive` (-i) passes it on"), "{told:?}");
    assert!(run("--quiet").stderr.is_empty());
    let passed = run("--interactive");
    assert_eq!((String::from_utf8_lossy(&passed.stdout).trim(), passed.stderr.len()), ("5", 0));
    assert!(home.loomd(&["run", "--", "wc", "-c"]).stderr.is_empty(), "/dev/null has nothing to tell");
}

#[test]
fn a_row_of_the_list_fits_the_terminal() {
    let home = Home::new();
    home.loomd(&["run", "--", "sh", "-c", "# a command that is far longer than the terminal is wide\ntrue"]);
    assert!(home.stdout(&["list"]).contains("wide"), "a pipe gets all of it");
    let mut terminal = home.terminal(&["list"]);
    let shown = plain(&terminal.shows("…"));
    assert!(shown.lines().all(|line| line.chars().count() <= 80), "{shown}");
    assert_eq!(terminal.ends(), 0);
}
