//! Agents on a terminal: transcripts, permission requests, typed prompts and exit codes. The agent is a script that
//! speaks the Agent Client Protocol and does what its prompt says.

use std::os::unix::fs::PermissionsExt;

use rustix::process::{Signal, kill_process};

use crate::home::{Home, Terminal, until};

const AGENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/agent.py");

impl Home {
    /// Starts an agent on a terminal.
    fn agent(&self, arguments: &[&str]) -> Terminal {
        self.terminal(&[&["run", "acp"], arguments, &["--", "python3", AGENT]].concat())
    }

    fn run_id(&self) -> String {
        self.run()["id"].as_str().expect("an id").to_owned()
    }

    fn stderr(&self, arguments: &[&str]) -> String {
        String::from_utf8(self.loomd(arguments).stderr).expect("text")
    }
}

/// What a terminal shows, without escape sequences.
pub(crate) fn plain(shown: &str) -> String {
    let mut text = String::new();
    let mut rest = shown;
    while let Some((before, after)) = rest.split_once('\x1b') {
        text.push_str(before);
        let end = after.find(|c: char| c.is_ascii_alphabetic()).map_or(after.len(), |at| at + 1);
        rest = &after[end..];
    }
    (text + rest).replace('\r', "")
}

#[test]
fn a_transcript_is_shown_live_and_printed_again() {
    let home = Home::new();
    let prompt = "think Hm\nsay hello 世界\ntool 9\nedit\nplan";
    let mut terminal = home.agent(&[prompt]);
    let shown = plain(&terminal.shows("turn 1"));
    for expected in ["✻ Hm", "hello 世界", "● $ make all ✓", "… 5 earlier lines", "line 9", "notes.txt +1 −0", "▶ look"] {
        assert!(shown.contains(expected), "no `{expected}` in {shown}");
    }
    assert!(!shown.contains("line 5") && !shown.contains("> think"), "folded, and no echo of the prompt: {shown}");
    assert_eq!(terminal.ends(), 0);
    let logs = home.stdout(&["logs"]);
    assert!(logs.starts_with("> think Hm\n> say hello 世界\n") && !logs.contains('\x1b'), "{logs}");
    assert!(logs.contains("\n● $ make all ✓\n  … 5 earlier lines\n  line 6\n"), "{logs}");
    assert!(home.stdout(&["logs", "--full"]).contains("\n  line 1\n"));
    assert!(home.stdout(&["logs", "--raw"]).contains("\"jsonrpc\""));
    assert!(home.stdout(&["logs", "--tail", "1"]).starts_with("── turn 1"));
    assert!(home.stdout(&["list"]).contains("acp: think Hm"));
    assert!(home.stdout(&["changes", "--stat"]).ends_with("notes.txt +1 −0\n"));
    assert!(home.stdout(&["attach", "--from-start"]).contains("hello 世界"));
}

#[test]
fn without_a_terminal_the_output_is_plain_text() {
    let home = Home::new();
    let run = |arguments: &[&str]| home.loomd(&[&["run"], arguments, &["--", "python3", AGENT]].concat());
    let output = run(&["acp", "say hello\ntool 2"]);
    let text = String::from_utf8(output.stdout).expect("text");
    assert_eq!((output.status.code(), text.contains('\x1b')), (Some(0), false));
    assert!(text.contains("\nhello \n\n● $ make all ✓\n  line 1\n  line 2\n"), "{text}");
    assert_eq!(run(&["acp", "--quiet", "tool 2\nsay hello"]).stdout, b"hello \n");
    assert_eq!(run(&["acp", "fail"]).status.code(), Some(1));
    let json = String::from_utf8(run(&["--json", "acp", "say hello"]).stdout).expect("text");
    let last: serde_json::Value = serde_json::from_str(json.lines().last().expect("lines")).expect("JSON");
    assert_eq!(last["state"], "succeeded");
    assert!(home.stderr(&["run", "acp", "--", "python3", AGENT]).contains("loomd run acp \"PROMPT\""));
}

#[test]
fn a_permission_request_is_answered_by_a_key() {
    let home = Home::new();
    let mut terminal = home.agent(&["ask\nask"]);
    let shown = plain(&terminal.shows("Esc to answer later"));
    assert!(
        shown.contains("Allow this command?\n    rm -rf build\n    run in: ")
            && shown.contains("[y] Allow once   [a] Always allow   [n] Reject"),
        "{shown}"
    );
    terminal.answers(b"y", "You chose allow.");
    terminal.shows("Esc to answer later");
    terminal.answers(b"n", "You chose reject.");
    assert_eq!(terminal.ends(), 0);
}

#[test]
fn whoever_attaches_to_a_run_with_one_prompt_answers_its_permission_requests() {
    let home = Home::new();
    assert!(home.loomd(&["run", "--detach", "acp", "ask", "--", "python3", AGENT]).status.success());
    until("it asks", || (home.run()["state"] == "awaitingPermission").then_some(()));
    assert_ne!(home.run()["params"]["interactive"], true);
    let mut terminal = home.terminal(&["attach", &home.run_id()]);
    terminal.shows("Esc to answer later");
    terminal.answers(b"y", "You chose allow.");
    assert_eq!(terminal.ends(), 0);
}

#[test]
fn a_key_that_is_pressed_as_a_question_appears_answers_nothing() {
    let home = Home::new();
    let mut terminal = home.agent(&["ask\nask"]);
    terminal.shows("Esc to answer later");
    terminal.press(b"y");
    terminal.answers(b"n", "You chose reject.");
    // As a second `y`, meant for what was asked before, allowed the next command.
    terminal.shows("Esc to answer later");
    terminal.press(b"yyy");
    let rest = terminal.answers(b"n", "You chose reject.");
    assert!(!rest.contains("You chose allow"), "{rest}");
    assert_eq!(terminal.ends(), 0);
    // `answer` is the same.
    assert!(home.loomd(&["run", "--detach", "acp", "ask", "--", "python3", AGENT]).status.success());
    until("it waits", || (home.run()["state"] == "awaitingPermission").then_some(()));
    let mut answer = home.terminal(&["answer", &home.run_id()]);
    answer.shows("Esc to answer later");
    answer.press(b"y");
    answer.answers(b"n", "Reject\r\n");
    assert_eq!(answer.ends(), 0);
    until("it has ended", || home.stdout(&["logs"]).contains("You chose reject.").then_some(()));
}

#[test]
fn prompts_that_wait_are_listed_and_taken_back() {
    let home = Home::new();
    let id = home.stdout(&["run", "--detach", "acp", "ask", "--", "python3", AGENT]).trim().to_owned();
    for prompt in ["say two\nlines", "say \u{1b}[2Jthree"] {
        assert!(home.loomd(&["send", &id, prompt]).status.success());
    }
    let listed = home.stdout(&["send", &id, "--queued"]);
    let numbers: Vec<&str> = listed.lines().map(|line| line.split_once("  ").expect("a number and a prompt").0).collect();
    assert_eq!(listed, format!("{}  say two\n{}  say ␣[2Jthree\n", numbers[0], numbers[1]));
    assert_eq!(home.stdout(&["send", &id, "--unqueue", numbers[0]]), "say two\nlines\n");
    assert_eq!(home.stdout(&["send", &id, "--queued"]).lines().count(), 1);
    let gone = home.loomd(&["send", &id, "--unqueue", numbers[0]]);
    assert_eq!((gone.status.code(), String::from_utf8_lossy(&gone.stderr).contains("does not wait")), (Some(1), true));
    assert!(home.loomd(&["cancel", &id]).status.success());
}

#[test]
fn a_question_that_is_longer_than_the_screen_is_paged_and_answered_after_its_end() {
    let home = Home::new();
    let mut terminal = home.agent(&["asklong 100"]);
    let first = plain(&terminal.shows("Press Space to go on"));
    assert!(first.contains("line 1\n") && !first.contains("line 99") && !first.contains("[y]"), "{first}");
    // No answer is taken before the end was shown.
    terminal.press(b"y");
    let rest = plain(&terminal.answers(b" ", "Press a key to answer"));
    assert!((30..=100).all(|number| rest.contains(&format!("line {number}\n"))), "{rest}");
    terminal.answers(b"n", "You chose reject.");
    assert_eq!(terminal.ends(), 0);
    assert!(home.loomd(&["run", "--detach", "acp", "asklong 100", "--", "python3", AGENT]).status.success());
    until("it waits", || (home.run()["state"] == "awaitingPermission").then_some(()));
    let mut answer = home.terminal(&["answer", &home.run_id()]);
    answer.shows("Press Space to go on");
    answer.answers(b" ", "Press a key to answer");
    answer.answers(b"a", "Always allow\r\n");
    assert_eq!(answer.ends(), 0);
}

#[test]
fn a_permission_request_that_is_answered_elsewhere_is_removed() {
    let home = Home::new();
    let mut terminal = home.agent(&["ask"]);
    terminal.shows("Esc to answer later");
    let id = home.run_id();
    assert!(home.stdout(&["list"]).contains("needs input"));
    let answer = home.loomd(&["answer", &id]);
    let text = String::from_utf8(answer.stdout).expect("text");
    assert!(answer.status.code() == Some(1) && text.contains("rm -rf build") && text.contains("always"), "{text}");
    assert!(home.stderr(&["answer", &id, "maybe"]).contains("not one of the options: allow, always, reject"));
    assert!(home.loomd(&["answer", &id, "reject"]).status.success());
    terminal.shows("answered elsewhere");
    terminal.shows("You chose reject.");
    assert_eq!(terminal.ends(), 0);
    assert!(home.stderr(&["answer", &id]).contains("no pending permission request"));
}

#[test]
fn a_permission_request_can_be_left_pending_and_answered_later() {
    let home = Home::new();
    let mut terminal = home.agent(&["ask"]);
    terminal.shows("Esc to answer later");
    terminal.press(b"\x03");
    terminal.shows("Not answered");
    let id = home.run_id();
    assert_eq!(home.run()["state"], "awaitingPermission");
    let mut other = home.terminal(&["answer", &id]);
    other.shows("Esc to answer later");
    other.answers(b"a", "Always allow\r\n");
    assert_eq!(other.ends(), 0);
    terminal.shows("You chose always.");
    assert_eq!(terminal.ends(), 0);
}

#[test]
fn without_a_terminal_a_note_tells_how_to_answer_a_permission_request() {
    let home = Home::new();
    let run = home.command(&["run", "acp", "ask", "--", "python3", AGENT]).stderr(std::process::Stdio::piped()).spawn().expect("starts");
    until("it needs permission", || home.stdout(&["list"]).contains("needs input").then_some(()));
    assert!(home.loomd(&["answer", &home.run_id(), "y"]).status.success());
    let output = run.wait_with_output().expect("it ends");
    let note = String::from_utf8(output.stderr).expect("text");
    assert!(note.contains("answer ") && note.contains("OPTION`: allow (Allow once), always (Always allow), reject (Reject)"), "{note}");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn the_permission_mode_is_changed_from_the_next_turn_on() {
    let home = Home::new();
    assert!(home.loomd(&["run", "--detach", "--interactive", "acp", "say hello", "--", "python3", AGENT]).status.success());
    let id = home.run_id();
    until("it is idle", || (home.run()["state"] == "idle").then_some(()));
    assert!(home.stderr(&["configure", &id, "--permissions", "everything"]).contains("bypass"));
    assert!(home.loomd(&["configure", &id, "--permissions", "bypass"]).status.success());
    assert!(home.loomd(&["send", &id, "ask", "--close"]).status.success());
    until("it has ended", || (home.run()["state"] == "succeeded").then_some(()));
    assert!(home.stdout(&["logs", &id]).contains("You chose a"), "{}", home.stdout(&["logs", &id]));
    assert!(home.stderr(&["configure", &id, "--model", "other"]).contains("ended"));
}

#[test]
fn a_conversation_is_typed_line_by_line() {
    let home = Home::new();
    let mut terminal = home.agent(&[]);
    terminal.shows("> ");
    terminal.press("say größer\n".as_bytes());
    terminal.shows("größer");
    terminal.shows("turn 1");
    terminal.shows("> ");
    // Pasted lines are one prompt.
    terminal.press(b"say one\nsay two\n");
    let shown = plain(&terminal.shows("turn 2"));
    assert!(shown.contains("one") && shown.contains("two"), "{shown}");
    terminal.shows("> ");
    terminal.press(b"\x04");
    assert_eq!(terminal.ends(), 0);
    assert_eq!(home.run()["state"], "succeeded");
    assert!(home.stdout(&["logs"]).contains("> say one\n> say two\n"));
}

#[test]
fn the_first_ctrl_c_interrupts_a_turn_and_the_second_cancels_at_the_prompt() {
    let home = Home::new();
    let mut terminal = home.agent(&["--interactive", "wait /no/such/file"]);
    terminal.shows("waiting");
    terminal.press(b"\x03");
    terminal.shows("Interrupting");
    terminal.shows("interrupted");
    terminal.shows("> ");
    terminal.press(b"say again\n");
    terminal.shows("turn 2");
    terminal.shows("> ");
    terminal.press(b"\x03");
    terminal.shows("Press Ctrl-C again to cancel the run");
    terminal.press(b"\x03");
    assert_eq!(terminal.ends(), 130);
    assert_eq!(home.run()["state"], "cancelled");
}

#[test]
fn interrupting_a_run_with_one_prompt_cancels_it() {
    let home = Home::new();
    let mut terminal = home.agent(&["wait /no/such/file"]);
    terminal.shows("waiting");
    terminal.press(b"\x03");
    assert_eq!(terminal.ends(), 130);
}

#[test]
fn a_detached_run_takes_prompts_and_is_attached_again() {
    let home = Home::new();
    let gate = home.path("gate").display().to_string();
    let mut terminal = home.agent(&["--interactive", &format!("wait {gate}")]);
    terminal.shows("waiting");
    terminal.press(b"\x1c");
    terminal.shows("is still running");
    assert_eq!(terminal.ends(), 0);
    let id = home.run_id();
    assert!(home.loomd(&["send", &id, "say from elsewhere"]).status.success());
    until("it is queued", || home.stdout(&["list"]).contains("1 queued").then_some(()));
    let mut terminal = home.terminal(&["attach", &id]);
    terminal.shows("waiting");
    home.open_gate();
    terminal.shows("went on");
    let shown = plain(&terminal.shows("turn 2"));
    assert!(shown.contains("> say from elsewhere\n"), "{shown}");
    terminal.shows("> ");
    assert!(home.loomd(&["send", &id, "say bye", "--close"]).status.success());
    terminal.shows("turn 3");
    assert_eq!(terminal.ends(), 0);
}

#[cfg(target_os = "linux")]
#[test]
fn a_turn_that_came_and_went_at_once_leaves_a_prompt_behind_it() {
    let home = Home::new();
    let mut terminal = home.agent(&["--interactive", "say hi"]);
    terminal.shows("turn 1");
    terminal.shows("> ");
    // While the terminal's server stands still, somebody else's turn begins and ends.
    let server = terminal.server();
    kill_process(server, Signal::STOP).expect("stopped");
    let id = home.run_id();
    assert!(home.loomd(&["send", &id, "say from elsewhere"]).status.success());
    until("the turn has ended", || (home.stdout(&["logs", &id]).contains("turn 2") && home.run()["state"] == "idle").then_some(()));
    kill_process(server, Signal::CONT).expect("continued");
    terminal.shows("from elsewhere");
    terminal.shows("turn 2");
    terminal.shows("> ");
    terminal.press(b"say again\n");
    terminal.shows("turn 3");
    terminal.press(b"\x04");
    assert_eq!(terminal.ends(), 0);
}

#[test]
fn takeover_opens_the_session_in_this_terminal() {
    let home = Home::new();
    std::fs::create_dir(home.path("bin")).expect("made");
    let script = "#!/bin/sh\necho \"opened $* in $(pwd) for $LOOMD_DATA_DIR\"; read line; echo \"<$line>\"; exit 7\n";
    std::fs::write(home.path("bin/claude"), script).expect("written");
    std::fs::set_permissions(home.path("bin/claude"), std::fs::Permissions::from_mode(0o755)).expect("executable");
    assert!(home.loomd(&["run", "acp", "say hi", "--", "python3", AGENT, "claude-like"]).status.success());
    let id = home.run_id();
    let line = home.stdout(&["takeover", &id, "--kind", "resume", "--print"]);
    assert!(line.starts_with("cd ") && line.ends_with(" && claude --resume session-of-the-agent\n"), "{line}");
    let mut terminal = home.terminal(&["takeover", &id, "--kind", "resume"]);
    terminal.shows("warning:");
    terminal.shows("opened --resume session-of-the-agent in ");
    terminal.press(b"typed\n");
    terminal.shows("<typed>");
    assert_eq!(terminal.ends(), 7, "it became the agent's own program");
    assert!(home.stderr(&["takeover", &id, "--kind", "live"]).contains("cannot be taken over"));
    // A live run ends first, and a terminal that is attached to it shows that.
    let mut watcher = home.terminal(&["run", "--interactive", "acp", "say hi", "--", "python3", AGENT, "claude-like"]);
    watcher.shows("turn 1");
    watcher.shows("> ");
    let mut terminal = home.terminal(&["takeover", &home.run_id(), "--kind", "resume"]);
    terminal.shows("opened --resume");
    watcher.shows("continued in another terminal");
    assert_eq!(watcher.ends(), 130);
    assert!(home.run()["takenOverAt"].is_u64());
    terminal.press(b"\n");
    assert_eq!(terminal.ends(), 7);
}

#[test]
fn a_configured_agent_is_run_by_its_name_and_resumed() {
    let home = Home::new();
    let plain = "[providers.plain]\nkind = \"command\"\ncommand = [\"echo\", \"prompt:\", \"{prompt}\"]\n";
    let config = format!("[providers.mine]\nkind = \"acp\"\ncommand = [\"python3\", \"{AGENT}\"]\n{plain}");
    std::fs::create_dir_all(home.path("config/loomd")).expect("made");
    std::fs::write(home.path("config/loomd/config.toml"), config).expect("written");
    let providers = home.stdout(&["providers"]);
    assert!(providers.lines().any(|line| line.starts_with("mine") && line.contains("yes")), "{providers}");
    assert!(providers.lines().any(|line| line.starts_with("codex") && line.contains(" no ") && line.contains("install")), "{providers}");
    let sessions = home.stdout(&["sessions", "mine"]);
    assert!(sessions.starts_with("session-of-the-agent  2026-01-02") && sessions.trim_end().ends_with("An old session"), "{sessions}");
    assert!(home.stdout(&["run", "mine", "say one"]).contains("one"));
    let first = home.run_id();
    assert!(home.stdout(&["run", "mine", "--resume", &first[first.len() - 8..], "say two"]).contains("two"));
    assert_eq!(home.run()["parentRunId"], first.as_str());
    assert!(home.stdout(&["run", "mine", "--resume", "session-of-the-agent", "say three"]).contains("three"));
    assert_eq!(home.run()["session"]["id"], "session-of-the-agent");
    assert_eq!(home.stdout(&["run", "plain", "hello"]), "prompt: hello\n", "output without a known format is shown as it is");
    assert_eq!(home.stdout(&["logs"]), "prompt: hello\n");
    // After two dashes comes a command, even if it has the name of a provider.
    assert_eq!(home.loomd(&["run", "--", "mine", "x"]).status.code(), Some(127));
}

#[test]
fn a_session_that_no_program_of_the_agent_opens_is_continued_in_loomd() {
    let home = Home::new();
    assert!(home.loomd(&["run", "acp", "say hi", "--", "python3", AGENT]).status.success());
    let first = home.run_id();
    let mut terminal = home.terminal(&["takeover", &first]);
    // Only the run's record names this agent.
    terminal.shows("Start it? [y/N] ");
    terminal.press(b"\n");
    assert_eq!(terminal.ends(), 2);
    let mut terminal = home.terminal(&["takeover", &first]);
    terminal.shows(AGENT);
    terminal.shows("Start it? [y/N] ");
    terminal.press(b"y\n");
    terminal.shows("> ");
    terminal.press(b"say again\n");
    terminal.shows("turn 1");
    terminal.shows("> ");
    terminal.press(b"\x04");
    assert_eq!(terminal.ends(), 0);
    assert_eq!(home.run()["parentRunId"], first.as_str());
}

#[test]
fn a_takeover_without_a_terminal_leaves_the_run_alone() {
    let home = Home::new();
    let arguments = ["run", "--detach", "--interactive", "acp", "say hi", "--", "python3", AGENT, "claude-like"];
    assert!(home.loomd(&arguments).status.success());
    let id = home.run_id();
    until("it is idle", || (home.run()["state"] == "idle").then_some(()));
    let refused = home.loomd(&["takeover", &id, "--kind", "resume"]);
    let message = String::from_utf8(refused.stderr).expect("text");
    assert!(refused.status.code() == Some(2) && message.contains("takeover needs a terminal") && message.contains("--print"), "{message}");
    assert_eq!(home.loomd(&["takeover", &id]).status.code(), Some(2));
    assert_eq!((&home.run()["state"], &home.run()["takenOverAt"]), (&"idle".into(), &serde_json::Value::Null));
    assert!(home.stdout(&["takeover", &id, "--kind", "resume", "--print"]).contains("claude --resume"));
    assert!(home.run()["takenOverAt"].is_u64());
}

#[test]
fn the_failure_of_an_agent_that_exits_shows_its_stderr() {
    let home = Home::new();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/agents/scripted.py");
    let run = |option: &str, prompt: &str| home.stderr(&["run", option, "acp", prompt, "--", "python3", script]);
    for option in ["--full", "--quiet"] {
        let message = run(option, "stderr 60\nexit 7");
        assert!(message.contains("ended with code 7 during its turn") && message.contains("the last excuse"), "{option}: {message}");
        assert!(run(option, "fail no more money").contains("no more money"), "{option}");
    }
    assert!(run("--full", "exit 7").contains("ended with code 7"));
    assert!(home.stderr(&["logs"]).contains("ended with code 7 during its turn"), "{}", home.stderr(&["logs"]));
}

#[test]
fn a_note_tells_that_a_prompt_cannot_steer_and_is_queued() {
    let home = Home::new();
    assert!(home.loomd(&["run", "--detach", "--interactive", "acp", "say hello", "--", "python3", AGENT]).status.success());
    let id = home.run_id();
    let note = home.stderr(&["send", "--steer", &id, "say more"]);
    assert!(note.contains("Steering is not supported by acp; the prompt is queued for the next turn."), "{note}");
    assert_eq!(home.stderr(&["send", &id, "say more", "--close"]), "");
}

#[test]
fn an_agents_own_options_are_listed_and_set() {
    let home = Home::new();
    let agent = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/agents/scripted.py");
    assert!(home.loomd(&["run", "--detach", "--interactive", "acp", "say hello", "--", "python3", agent, "--options"]).status.success());
    let id = home.run_id();
    until("it is idle", || (home.run()["state"] == "idle").then_some(()));
    let list = home.stdout(&["configure", &id]);
    for line in ["option  effort=low  Effort: Low (current)\n", "option  effort=high  Effort: High\n", "option  fast=true  Fast: On\n"] {
        assert!(list.contains(line), "{line} in {list}");
    }
    assert!(home.stderr(&["configure", &id, "--option", "effort=max"]).contains("choose one of low, high"));
    assert!(home.stderr(&["configure", &id, "--option", "effort"]).contains("ID=VALUE"));
    assert!(home.loomd(&["configure", &id, "--option", "effort=high", "--option", "fast=true"]).status.success());
    until("they are set", || home.stdout(&["configure", &id]).contains("fast=true  Fast: On (current)").then_some(()));
    assert!(home.stdout(&["configure", &id]).contains("effort=high  Effort: High (current)"));
    assert!(home.loomd(&["cancel", &id]).status.success());
}

#[test]
fn configure_lists_the_choices() {
    let home = Home::new();
    let config = format!("[providers.mine]\nkind = \"acp\"\ncommand = [\"python3\", \"{AGENT}\"]\n");
    std::fs::create_dir_all(home.path("config/loomd")).expect("made");
    std::fs::write(home.path("config/loomd/config.toml"), config).expect("written");
    assert!(home.loomd(&["run", "mine", "say hello"]).status.success());
    let id = home.run_id();
    let shown = home.loomd(&["configure", &id]);
    let (list, note) = (String::from_utf8_lossy(&shown.stdout), String::from_utf8_lossy(&shown.stderr));
    assert!(list.contains("permissions  read-only  Deny all changes\n") && note.contains("mine does not list its models"), "{list}{note}");
    let ended = home.stderr(&["configure", &id, "--model", "other"]);
    assert!(ended.contains("--resume") && !ended.contains("run/start"), "{ended}");
}
