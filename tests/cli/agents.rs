//! Agents in a terminal: what is shown, what is asked, what is typed, and how it ends. The agent is a script that speaks the
//! Agent Client Protocol and does what its prompt says.

use std::os::unix::fs::PermissionsExt;

use crate::home::{Home, Terminal, until};

const AGENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/agent.py");

impl Home {
    /// Starts an agent on a terminal.
    fn agent(&self, words: &[&str]) -> Terminal {
        self.terminal(&[&["run", "acp"], words, &["--", "python3", AGENT]].concat())
    }

    fn run_id(&self) -> String {
        self.run()["id"].as_str().expect("an id").to_owned()
    }

    fn stderr(&self, arguments: &[&str]) -> String {
        String::from_utf8(self.loomd(arguments).stderr).expect("text")
    }
}

/// What a terminal shows, without colours and ways of the cursor.
pub fn plain(shown: &str) -> String {
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
fn an_agent_is_read_live_and_again() {
    let home = Home::new();
    let prompt = "think Hm\nsay hello 世界\ntool 9\nedit\nplan";
    let mut terminal = home.agent(&[prompt]);
    let shown = plain(&terminal.shows("turn 1"));
    for expected in ["✻ Hm", "hello 世界", "● $ make all ✓", "… 5 lines before", "line 9", "notes.txt +1 −0", "▶ look"] {
        assert!(shown.contains(expected), "no `{expected}` in {shown}");
    }
    assert!(!shown.contains("line 5") && !shown.contains("> think"), "folded, and no echo of the prompt: {shown}");
    assert_eq!(terminal.ends(), 0);
    let logs = home.stdout(&["logs"]);
    assert!(logs.starts_with("> think Hm\n> say hello 世界\n") && !logs.contains('\x1b'), "{logs}");
    assert!(logs.contains("\n● $ make all ✓\n  … 5 lines before\n  line 6\n"), "{logs}");
    assert!(home.stdout(&["logs", "--full"]).contains("\n  line 1\n"));
    assert!(home.stdout(&["logs", "--raw"]).contains("\"jsonrpc\""));
    assert!(home.stdout(&["logs", "--tail", "1"]).starts_with("── turn 1"));
    assert!(home.stdout(&["list"]).contains("acp: think Hm"));
    assert!(home.stdout(&["changes", "--stat"]).ends_with("notes.txt +1 −0\n"));
    assert!(home.stdout(&["attach", "--from-start"]).contains("hello 世界"));
}

#[test]
fn without_a_terminal_there_is_nothing_but_text() {
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
fn a_question_is_answered_by_a_key() {
    let home = Home::new();
    let mut terminal = home.agent(&["ask\nask"]);
    let shown = plain(&terminal.shows("leaves it open"));
    assert!(
        shown.contains("May it run this?\n    rm -rf build\n    in ") && shown.contains("[y] Allow once   [a] Always allow   [n] Reject"),
        "{shown}"
    );
    terminal.press(b"y");
    terminal.shows("You chose allow.");
    terminal.shows("leaves it open");
    terminal.press(b"n");
    terminal.shows("You chose reject.");
    assert_eq!(terminal.ends(), 0);
}

#[test]
fn a_question_that_is_answered_elsewhere_goes_away() {
    let home = Home::new();
    let mut terminal = home.agent(&["ask"]);
    terminal.shows("leaves it open");
    let id = home.run_id();
    assert!(home.stdout(&["list"]).contains("waiting for an answer"));
    let asked = home.loomd(&["answer", &id]);
    let text = String::from_utf8(asked.stdout).expect("text");
    assert!(asked.status.code() == Some(1) && text.contains("rm -rf build") && text.contains("always"), "{text}");
    assert!(home.stderr(&["answer", &id, "maybe"]).contains("choose allow, always, reject"));
    assert!(home.loomd(&["answer", &id, "reject"]).status.success());
    terminal.shows("answered elsewhere");
    terminal.shows("You chose reject.");
    assert_eq!(terminal.ends(), 0);
    assert!(home.stderr(&["answer", &id]).contains("no question"));
}

#[test]
fn a_question_can_be_left_open_and_asked_again() {
    let home = Home::new();
    let mut terminal = home.agent(&["ask"]);
    terminal.shows("leaves it open");
    terminal.press(b"\x03");
    terminal.shows("left open");
    let id = home.run_id();
    assert_eq!(home.run()["state"], "awaitingPermission");
    let mut other = home.terminal(&["answer", &id]);
    other.shows("leaves it open");
    other.press(b"a");
    assert_eq!(other.ends(), 0);
    terminal.shows("You chose always.");
    assert_eq!(terminal.ends(), 0);
}

#[test]
fn without_a_terminal_a_question_says_how_it_is_answered() {
    let home = Home::new();
    let run = home.command(&["run", "acp", "ask", "--", "python3", AGENT]).stderr(std::process::Stdio::piped()).spawn().expect("starts");
    until("it asks", || home.stdout(&["list"]).contains("waiting").then_some(()));
    assert!(home.loomd(&["answer", &home.run_id(), "y"]).status.success());
    let output = run.wait_with_output().expect("it ends");
    let said = String::from_utf8(output.stderr).expect("text");
    assert!(said.contains("answer ") && said.contains("OPTION`: allow (Allow once), always (Always allow), reject (Reject)"), "{said}");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn who_decides_is_changed_from_the_next_turn_on() {
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
fn the_first_ctrl_c_interrupts_a_turn_and_at_the_prompt_the_second_cancels() {
    let home = Home::new();
    let mut terminal = home.agent(&["--interactive", "wait /no/such/file"]);
    terminal.shows("waiting");
    terminal.press(b"\x03");
    terminal.shows("interrupting");
    terminal.shows("interrupted");
    terminal.shows("> ");
    terminal.press(b"say again\n");
    terminal.shows("turn 2");
    terminal.shows("> ");
    terminal.press(b"\x03");
    terminal.shows("Ctrl-C again cancels the run");
    terminal.press(b"\x03");
    assert_eq!(terminal.ends(), 130);
    assert_eq!(home.run()["state"], "cancelled");
}

#[test]
fn an_interrupted_run_that_is_no_conversation_is_cancelled() {
    let home = Home::new();
    let mut terminal = home.agent(&["wait /no/such/file"]);
    terminal.shows("waiting");
    terminal.press(b"\x03");
    assert_eq!(terminal.ends(), 130);
}

#[test]
fn a_left_run_is_sent_prompts_and_attached_again() {
    let home = Home::new();
    let gate = home.path("gate").display().to_string();
    let mut terminal = home.agent(&["--interactive", &format!("wait {gate}")]);
    terminal.shows("waiting");
    terminal.press(b"\x1c");
    terminal.shows("goes on");
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
    // Of a run that lives: it ends first, and whoever watches it is told.
    let mut watcher = home.terminal(&["run", "--interactive", "acp", "say hi", "--", "python3", AGENT, "claude-like"]);
    watcher.shows("turn 1");
    watcher.shows("> ");
    let mut terminal = home.terminal(&["takeover", &home.run_id(), "--kind", "resume"]);
    terminal.shows("opened --resume");
    watcher.shows("taken over");
    assert_eq!(watcher.ends(), 130);
    assert!(home.run()["takenOverAt"].is_u64());
    terminal.press(b"\n");
    assert_eq!(terminal.ends(), 7);
}

#[test]
fn a_named_agent_is_asked_by_its_name_and_resumed() {
    let home = Home::new();
    let plain = "[providers.plain]\nkind = \"command\"\ncommand = [\"echo\", \"asked:\", \"{prompt}\"]\n";
    let config = format!("[providers.mine]\nkind = \"acp\"\ncommand = [\"python3\", \"{AGENT}\"]\n{plain}");
    std::fs::create_dir_all(home.path("config/loomd")).expect("made");
    std::fs::write(home.path("config/loomd/config.toml"), config).expect("written");
    let providers = home.stdout(&["providers"]);
    assert!(providers.lines().any(|line| line.starts_with("mine") && line.contains("yes")), "{providers}");
    assert!(providers.lines().any(|line| line.starts_with("codex") && line.contains(" no ") && line.contains("install")), "{providers}");
    let sessions = home.stdout(&["sessions", "mine"]);
    assert!(sessions.starts_with("session-of-the-agent  2026-01-02") && sessions.trim_end().ends_with("An old talk"), "{sessions}");
    assert!(home.stdout(&["run", "mine", "say one"]).contains("one"));
    let first = home.run_id();
    assert!(home.stdout(&["run", "mine", "--resume", &first[first.len() - 8..], "say two"]).contains("two"));
    assert_eq!(home.run()["parentRunId"], first.as_str());
    assert!(home.stdout(&["run", "mine", "--resume", "session-of-the-agent", "say three"]).contains("three"));
    assert_eq!(home.run()["session"]["id"], "session-of-the-agent");
    assert_eq!(home.stdout(&["run", "plain", "hello"]), "asked: hello\n", "what no form is known of is shown as it is");
    assert_eq!(home.stdout(&["logs"]), "asked: hello\n");
    // Two dashes mean a command, whatever it is called.
    assert_eq!(home.loomd(&["run", "--", "mine", "x"]).status.code(), Some(127));
}

#[test]
fn what_no_program_of_the_agents_opens_goes_on_in_loomd() {
    let home = Home::new();
    assert!(home.loomd(&["run", "acp", "say hi", "--", "python3", AGENT]).status.success());
    let first = home.run_id();
    let mut terminal = home.terminal(&["takeover", &first]);
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
    let words = ["run", "--detach", "--interactive", "acp", "say hi", "--", "python3", AGENT, "claude-like"];
    assert!(home.loomd(&words).status.success());
    let id = home.run_id();
    until("it is idle", || (home.run()["state"] == "idle").then_some(()));
    let refused = home.loomd(&["takeover", &id, "--kind", "resume"]);
    let said = String::from_utf8(refused.stderr).expect("text");
    assert!(refused.status.code() == Some(2) && said.contains("takeover needs a terminal") && said.contains("--print"), "{said}");
    assert_eq!(home.loomd(&["takeover", &id]).status.code(), Some(2));
    assert_eq!((&home.run()["state"], &home.run()["takenOverAt"]), (&"idle".into(), &serde_json::Value::Null));
    assert!(home.stdout(&["takeover", &id, "--kind", "resume", "--print"]).contains("claude --resume"));
    assert!(home.run()["takenOverAt"].is_u64());
}

#[test]
fn an_agent_that_dies_is_told_with_its_last_words() {
    let home = Home::new();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/agents/scripted.py");
    let run = |option: &str, prompt: &str| home.stderr(&["run", option, "acp", prompt, "--", "python3", script]);
    for option in ["--full", "--quiet"] {
        let said = run(option, "stderr 60\nexit 7");
        assert!(said.contains("ended with code 7 in the middle of its turn") && said.contains("the last excuse"), "{option}: {said}");
        assert!(run(option, "fail no more money").contains("no more money"), "{option}");
    }
    assert!(run("--full", "exit 7").contains("ended with code 7"));
    assert!(home.stderr(&["logs"]).contains("ended with code 7 in the middle"), "{}", home.stderr(&["logs"]));
}

#[test]
fn a_prompt_that_cannot_steer_is_said_to_wait() {
    let home = Home::new();
    assert!(home.loomd(&["run", "--detach", "--interactive", "acp", "say hello", "--", "python3", AGENT]).status.success());
    let id = home.run_id();
    let said = home.stderr(&["send", "--steer", &id, "say more"]);
    assert!(said.contains("acp cannot be steered: the prompt is queued for the next turn"), "{said}");
    assert_eq!(home.stderr(&["send", &id, "say more", "--close"]), "");
}

#[test]
fn configure_shows_what_there_is_to_choose_from() {
    let home = Home::new();
    let config = format!("[providers.mine]\nkind = \"acp\"\ncommand = [\"python3\", \"{AGENT}\"]\n");
    std::fs::create_dir_all(home.path("config/loomd")).expect("made");
    std::fs::write(home.path("config/loomd/config.toml"), config).expect("written");
    assert!(home.loomd(&["run", "mine", "say hello"]).status.success());
    let id = home.run_id();
    let shown = home.loomd(&["configure", &id]);
    let (out, said) = (String::from_utf8_lossy(&shown.stdout), String::from_utf8_lossy(&shown.stderr));
    assert!(out.contains("permissions  read-only  Nothing may be changed\n") && said.contains("mine names no models"), "{out}{said}");
    let ended = home.stderr(&["configure", &id, "--model", "other"]);
    assert!(ended.contains("--resume") && !ended.contains("run/start"), "{ended}");
}
