//! Commands, their output, their keys and their exit codes.

use std::{io::Read, os::fd::OwnedFd, process::Stdio};

use rustix::process::{Signal, kill_process};

use crate::agents::plain;
use crate::home::{Home, until};

#[test]
fn the_first_ctrl_c_interrupts_the_second_cancels_the_third_kills() {
    let home = Home::new();
    let script = "trap 'echo caught' INT; trap 'echo terminated' TERM; echo ready; while :; do sleep 0.02; done";
    let mut terminal = home.terminal(&["run", "--", "sh", "-c", script]);
    let head = terminal.shows("ready");
    assert!(head.contains("\x1b[") && head.contains("loomd logs"), "{head}");
    terminal.press(b"\x03");
    terminal.shows("Interrupting");
    terminal.shows("caught");
    terminal.press(b"\x03");
    terminal.shows("Canceling");
    terminal.shows("terminated");
    terminal.press(b"\x03");
    assert_eq!(terminal.ends(), 130);
    terminal.shows("canceled");
    assert_eq!(home.run()["state"], "cancelled");
}

#[test]
fn ctrl_backslash_detaches_and_attach_returns_the_exit_code() {
    let home = Home::new();
    let mut terminal = home.terminal(&["run", "--", "sh", "-c", &home.gated()]);
    terminal.shows("ready\r\n");
    terminal.press(b"\x1c");
    terminal.shows("is still running");
    assert_eq!(terminal.ends(), 0);
    assert_eq!(home.run()["state"], "running");
    let mut terminal = home.terminal(&["attach"]);
    terminal.shows("ready\r\n");
    home.open_gate();
    terminal.shows("went on\r\n");
    assert_eq!(terminal.ends(), 5);
}

#[test]
fn a_run_keeps_running_when_its_terminal_is_closed() {
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
fn a_killed_server_is_replaced_without_a_gap() {
    let home = Home::new();
    let mut terminal = home.terminal(&["run", "--", "sh", "-c", &home.gated()]);
    terminal.shows("ready\r\n");
    kill_process(terminal.server(), Signal::KILL).expect("it runs");
    home.open_gate();
    let rest = terminal.shows("went on\r\n");
    assert_eq!(rest, "went on\r\n", "no repeat");
    assert_eq!(terminal.ends(), 5);
}

#[test]
fn typed_lines_and_the_end_of_input_reach_an_interactive_run() {
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
fn a_reader_that_closes_the_pipe_is_no_error() {
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
fn output_that_cannot_be_written_is_an_error() {
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
        let stderr = String::from_utf8_lossy(&output.stderr);
        // The exit code 1 of a search means that nothing was found.
        let code = if line.starts_with("search") { 2 } else { 1 };
        assert!(output.status.code() == Some(code) && stderr.contains("cannot write output: No space left"), "{line}: {output:?}");
        assert!(!line.starts_with("attach") || !stderr.contains("still running"), "it has ended: {stderr}");
    }
}

#[test]
fn a_run_keeps_running_when_its_output_is_closed() {
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
fn tail_prints_the_exact_last_lines_of_the_chosen_stream() {
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
fn exit_codes_tell_how_a_run_ended() {
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
    assert_eq!(home.loomd(&["prune"]).status.code(), Some(2), "nothing is pruned without a limit");
    assert!(home.stdout(&["prune", "--older-than", "30d"]).starts_with("Deleted 0 runs"));
    assert!(home.stdout(&["prune", "--keep", "1"]).starts_with("Deleted 2 runs"));
    assert_eq!(home.stdout(&["list"]).lines().count(), 1);
    assert!(home.stdout(&["stats"]).starts_with("runs       1 (0 live)"));
    assert!(home.stdout(&["stats", "--json"]).contains("\"maxAgeDays\":90"));
}

#[test]
fn search_prints_lines_and_its_exit_code_tells_whether_there_are_any() {
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
fn a_run_is_exported_in_the_format_of_the_file_name_or_to_stdout() {
    let home = Home::new();
    home.loomd(&["run", "--", "sh", "-c", r"printf '\377\033[1mbold\033[0m\n'"]);
    assert_eq!(home.loomd(&["export"]).stdout, b"\xff\x1b[1mbold\x1b[0m\n", "byte for byte");
    assert!(home.stdout(&["export", "--format", "jsonl"]).starts_with(r#"{"kind":"#));
    for (name, expected) in [("run.html", "<span class=\"x\">bold</span>"), ("run.md", "bold\n```"), ("run.cast", "{\"version\":2")] {
        assert!(home.loomd(&["export", "-o", name]).status.success());
        let text = std::fs::read_to_string(home.path(name)).expect("the file is there");
        assert!(text.contains(expected), "{name}: {text}");
    }
    let refused = home.loomd(&["export", "-o", "run"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--format text, jsonl"), "{refused:?}");
    let left = std::fs::read_dir(home.dir.path())
        .expect("readable")
        .filter(|entry| entry.as_ref().expect("an entry").file_name().to_string_lossy().contains("loomd-export"));
    assert_eq!(left.count(), 0, "nothing stays in the directory for temporary files");
}

#[test]
fn messages_name_commands_and_options() {
    let home = Home::new();
    let stderr_of = |arguments: &[&str]| String::from_utf8(home.loomd(arguments).stderr).expect("text");
    assert!(stderr_of(&["run", "--timeout", "10ms", "--", "sleep", "1000"]).contains("took longer than its limit of 10 ms"));
    assert!(stderr_of(&["run", "--idle-timeout", "10ms", "--", "sleep", "1000"]).contains("nothing for longer than its limit of 10 ms"));
    assert!(stderr_of(&["run", "--max-output", "1", "--", "sh", "-c", "echo long; sleep 1000"]).contains("more than its limit of 1 bytes"));
    assert!(stderr_of(&["run", "--", "nosuch"]).contains("set PATH with `--env`"));
    assert!(stderr_of(&["run", "--cwd", "/nope", "--", "true"]).contains("name another directory with `--cwd`"));
    assert!(stderr_of(&["search", "-e", "("]).contains("or search for the literal text"));
    assert!(stderr_of(&["search", ""]).contains("the search text is empty"));
    let id = home.stdout(&["run", "--detach", "--interactive", "--", "cat"]).trim().to_owned();
    assert!(stderr_of(&["delete", &id]).contains("with `loomd cancel`"));
    assert!(stderr_of(&["configure", &id]).contains("is a command: it has no model or permission mode"));
    assert!(home.loomd(&["cancel", &id]).status.success());
    assert!(stderr_of(&["send", &id, "x"]).contains("start a new one with `loomd run`"));
    let message = stderr_of(&["run", "nosuch", "do it"]);
    assert!(message.contains("see `loomd providers`") && message.contains("`loomd run -- COMMAND`"), "{message}");
    std::fs::create_dir_all(home.path("config/loomd")).expect("made");
    let config = "[providers.nosuch-agent]\nkind = \"acp\"\ncommand = [\"nosuch-agent\"]\n";
    std::fs::write(home.path("config/loomd/config.toml"), config).expect("written");
    let message = stderr_of(&["run", "nosuch-agent", "do it"]);
    assert!(message.contains("`nosuch-agent` was not found in PATH") && !message.contains("not a provider"), "{message}");
    for count in [["logs", "--tail"], ["list", "--limit"], ["attach", "--tail"], ["search", "--limit"], ["prune", "--keep"]] {
        let message = stderr_of(&[&count[..], &["x"]].concat());
        assert!(message.contains("expected a whole number"), "{message}");
    }
}

#[test]
fn a_note_tells_that_stdin_is_not_passed_to_the_run() {
    let home = Home::new();
    std::fs::write(home.path("input"), "data\n").expect("written");
    let run = |option: &str| {
        let input = std::fs::File::open(home.path("input")).expect("there");
        home.command(&["run", option, "--", "wc", "-c"]).stdin(input).output().expect("loomd starts")
    };
    let noted = run("--full");
    assert!(
        String::from_utf8_lossy(&noted.stderr).contains("Stdin is not passed to the run; use `--interactive` (-i) to pass it on."),
        "{noted:?}"
    );
    assert!(run("--quiet").stderr.is_empty());
    let passed = run("--interactive");
    assert_eq!((String::from_utf8_lossy(&passed.stdout).trim(), passed.stderr.len()), ("5", 0));
    assert!(home.loomd(&["run", "--", "wc", "-c"]).stderr.is_empty(), "/dev/null is no input");
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

#[test]
fn a_run_in_a_terminal_has_the_size_of_ours_and_follows_it() {
    let home = Home::new();
    let script = "trap 'stty size' WINCH; stty size; while [ ! -e gate ]; do sleep 0.02; done";
    let mut terminal = home.terminal(&["run", "--tty", "--", "sh", "-c", script]);
    terminal.shows("24 80");
    terminal.resize(33, 111);
    terminal.shows("33 111");
    terminal.press(b"\x1c");
    assert_eq!(terminal.ends(), 0);
    assert_eq!(home.run()["tty"], serde_json::json!({ "rows": 33, "cols": 111 }));
    // Attached again, it gets the size of the terminal in which it is shown now.
    let mut terminal = home.terminal(&["attach"]);
    terminal.shows("33 111");
    terminal.shows("24 80");
    terminal.resize(50, 70);
    terminal.shows("50 70");
    home.open_gate();
    assert_eq!(terminal.ends(), 0);
}

#[test]
fn doctor_shows_what_a_run_would_get() {
    let home = Home::new();
    let config = home.path("config/loomd");
    std::fs::create_dir_all(&config).expect("made");
    std::fs::write(home.path("variables"), r#"{"MADE": "secret", "GONE": null}"#).expect("written");
    std::fs::write(config.join("config.toml"), "[environment]\ncommand = [\"cat\", \"variables\"]\n").expect("written");
    let output = home.command(&["doctor"]).env("GIT_DIR", "/other").env("NVIM", "/run/nvim").output().expect("loomd starts");
    let text = String::from_utf8(output.stdout).expect("text");
    for part in [
        "runs do not get GIT_DIR, NVIM",
        "not asked: not in a desktop",
        "sets MADE here and removes GONE",
        "GIT_EDITOR=true",
        "(from loomd's own environment)",
    ] {
        assert!(text.contains(part), "{part} is not in:\n{text}");
    }
    assert!(!text.contains("secret"), "{text}");
}

#[test]
fn a_run_is_in_the_directory_as_the_person_knows_it() {
    let home = Home::new();
    std::fs::create_dir_all(home.path("real/below")).expect("made");
    std::os::unix::fs::symlink("real", home.path("link")).expect("linked");
    let link = home.path("link");
    let run = |arguments: &[&str], pwd: &std::path::Path| {
        let arguments = [&["run"], arguments, &["--", "sh", "-c", "echo $PWD"]].concat();
        let output = home.command(&arguments).current_dir(&link).env("PWD", pwd).output().expect("loomd starts");
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    };
    assert_eq!(run(&[], &link), link.display().to_string());
    assert_eq!(run(&["--cwd", "below"], &link), link.join("below").display().to_string());
    let real = home.path("real").canonicalize().expect("it is there").display().to_string();
    assert_eq!(run(&[], &home.path(".")), real, "a PWD of another directory tells nothing");
}

#[test]
fn whoever_asks_for_it_is_notified_by_the_desktop() {
    let home = Home::new();
    let (bin, shown) = (home.path("bin"), home.path("shown"));
    std::fs::create_dir(&bin).expect("made");
    let script = format!("#!/bin/sh\necho \"$2\" > {0}.new && mv {0}.new {0}\n", shown.display());
    std::fs::write(bin.join("notify-send"), script).expect("written");
    std::fs::set_permissions(bin.join("notify-send"), std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("changed");
    let path = format!("{}:/usr/bin:/bin", bin.display());
    let ran = home.command(&["run", "--notify", "--", "sh", "-c", "exit 3"]).env("PATH", path).output().expect("it runs");
    assert_eq!(ran.status.code(), Some(3));
    let text = until("the desktop shows it", || std::fs::read_to_string(&shown).ok());
    assert!(text.starts_with("Run ") && text.ends_with(" failed\n"), "{text}");
}
