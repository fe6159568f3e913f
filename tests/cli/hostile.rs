//! Nothing that a program, an agent or a file name says reaches a terminal raw, whichever command prints it.

use crate::home::{Home, until};

const AGENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/agent.py");

/// Asks for the cursor's place, sets a title and the clipboard, asks for settings, clears the screen, and paints; as C0 and as C1.
const EVIL: &str = "\u{1b}[6n\u{1b}]0;owned\u{7}\u{1b}]52;c;eA==\u{7}\u{1b}P$qm\u{1b}\\\u{1b}[2J\u{9b}6n\u{202e}\u{1b}[35mHOSTILE";

/// What of [`EVIL`] must not be shown, not even where a program's colors are.
const NEVER: [&str; 8] = ["\u{1b}[6n", "\u{1b}]0", "\u{1b}]52", "\u{1b}P", "\u{9b}", "\u{202e}", "\u{90}", "\u{9d}"];

/// A home with runs of which everything that can be is hostile, and their short IDs: an agent's that waits for an answer, an agent's that
/// has failed, and a command's.
fn hostile_home() -> (Home, [String; 3]) {
    let home = Home::new();
    std::fs::create_dir_all(home.path(EVIL)).expect("a directory with a hostile name");
    std::fs::create_dir_all(home.path("config/loomd")).expect("made");
    // What its agent says of itself is hostile, too, and so is the name of one that is missing.
    let text = serde_json::to_string(EVIL).expect("JSON").replace('\u{9b}', "\\u009b");
    let config = format!(
        "[providers.mine]\nkind = \"acp\"\ncommand = [\"python3\", \"{AGENT}\"]\nenv = {{ EVIL = {text} }}\n[providers.none]\nkind = \"acp\"\ncommand = [{text}]\n"
    );
    std::fs::write(home.path("config/loomd/config.toml"), config).expect("written");
    let evil_dir = home.path(EVIL).display().to_string();
    let start = |arguments: &[&str]| {
        let options = ["run", "--detach", "--cwd", &evil_dir, "--title", EVIL, "--env", &format!("EVIL={EVIL}")];
        let started = home.loomd(&[&options, arguments].concat());
        assert!(started.status.success(), "{}", String::from_utf8_lossy(&started.stderr));
        let id = String::from_utf8(started.stdout).expect("an id").trim().to_owned();
        id[id.len() - 8..].to_owned()
    };
    let command = start(&["--", "printf", "%s\n", EVIL]);
    let failed = start(&["mine", "evilfail"]);
    let waiting = start(&["acp", "evil", "--", "python3", AGENT, "claude-like"]);
    until("the agent waits", || (home.run()["state"] == "awaitingPermission").then_some(()));
    until("the others have ended", || (home.stdout(&["list", "--state", "live"]).lines().count() == 1).then_some(()));
    (home, [waiting, failed, command])
}

#[test]
fn whatever_prints_shows_hostile_text_as_text() {
    let (home, [waiting, failed, command]) = hostile_home();
    let (waiting, failed, command) = (waiting.as_str(), failed.as_str(), command.as_str());
    let variable = format!("EVIL={EVIL}");
    let missing = home.path(EVIL).join("none").display().to_string();
    // What a program wrote comes with its colors, everything else without.
    let with_colors: &[&[&str]] = &[
        &["logs", command],
        &["logs", command, "--tail", "1"],
        &["logs", command, "--offset", "0"],
        &["logs", "-f", command],
        &["attach", "--from-start", command],
        &["run", "--quiet", "--", "printf", "%s\n", EVIL],
        &["export", "-f", "text", command],
    ];
    let without: &[&[&str]] = &[
        &["list"],
        &["list", "--json"],
        &["logs", waiting],
        &["logs", "--full", waiting],
        &["logs", "--tail", "5", waiting],
        &["logs", "--json", waiting],
        &["logs", "--json", command],
        &["logs", failed],
        &["attach", failed],
        &["attach", "--json", "--from-start", failed],
        &["answer", waiting, "nonsense"],
        &["answer", "--json", waiting],
        &["answer", waiting, "--question", EVIL, "nonsense"],
        &["changes", waiting],
        &["changes", "--stat", waiting],
        &["changes", "--json", waiting],
        &["search", "HOSTILE"],
        &["search", "--json", "HOSTILE"],
        &["export", waiting],
        &["export", "-f", "markdown", command],
        &["export", "-f", "jsonl", waiting],
        &["export", "-f", "jsonl", command],
        &["export", "-f", "html", waiting],
        &["export", "-f", "html", command],
        &["export", "-f", "asciicast", command],
        &["export", "-o", &missing, "-f", "text", command],
        &["run", "--", EVIL],
        &["run", "--cwd", &missing, "--", "true"],
        &["run", "--env", &variable, "mine", "evilfail"],
        &["attach", EVIL],
        &["logs", EVIL],
        &["send", EVIL, "x"],
        &["delete", EVIL],
        &["cancel", EVIL],
        &["--data-dir", &missing, "doctor"],
        &["--data-dir", &missing, "doctor", "--json"],
        &["--config", &missing, "list", "--json"],
        &[EVIL],
        &["sessions", "mine"],
        &["sessions", "--json", "mine"],
        &["providers"],
        &["providers", "--json"],
        &["takeover", "--print", "--kind", "resume", waiting],
        &["takeover", "--json", "--kind", "resume", waiting],
    ];
    let mut wrong = Vec::new();
    for (arguments, has_colors) in with_colors.iter().map(|line| (line, true)).chain(without.iter().map(|line| (line, false))) {
        let (_, shown) = home.terminal(arguments).ends_having_shown();
        let raw = NEVER.iter().any(|never| shown.contains(never));
        let obeyed = !has_colors && ["\u{1b}[35mHOSTILE", "\u{1b}[2J"].iter().any(|sequence| shown.contains(sequence));
        // A line may end before all of it.
        let is_shown = shown.contains("HOSTILE") || shown.contains("␣[6n␣]0;owned");
        if raw || obeyed || !is_shown {
            wrong.push(format!("{arguments:?}: raw {raw}, obeyed {obeyed}, shown {is_shown}: {shown:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_hostile_question_is_shown_as_text_live_and_by_answer() {
    let (home, [waiting, ..]) = hostile_home();
    for arguments in [&["attach", &waiting][..], &["answer", &waiting]] {
        let mut terminal = home.terminal(arguments);
        let mut shown = terminal.shows("Press a key to answer");
        terminal.press(b"\x03");
        if arguments[0] == "attach" {
            shown += &terminal.shows("Not answered");
            terminal.press(b"\x1c");
        }
        shown += &terminal.ends_having_shown().1;
        for never in NEVER.iter().chain(&["\u{1b}[2J", "\u{1b}[35mHOSTILE"]) {
            assert!(!shown.contains(never), "{arguments:?} shows {never:?} raw: {shown:?}");
        }
        assert!(shown.contains("HOSTILE"), "{shown:?}");
    }
}

#[test]
fn pipes_and_raw_get_what_the_program_wrote_byte_for_byte() {
    let (home, [_, _, command]) = hostile_home();
    let expected = format!("{EVIL}\n");
    for arguments in
        [&["logs", &command][..], &["logs", "--raw", &command], &["attach", "--from-start", &command], &["export", "-f", "text", &command]]
    {
        assert_eq!(home.stdout(arguments), expected, "{arguments:?}");
    }
    let (_, shown) = home.terminal(&["logs", "--raw", &command]).ends_having_shown();
    assert!(shown.contains(EVIL), "{shown:?}");
    for arguments in [&["list", "--json"][..], &["logs", "--json", &command]] {
        let line: serde_json::Value = serde_json::from_str(home.stdout(arguments).lines().next().expect("a line")).expect("JSON");
        assert!(line.is_object() && home.stdout(arguments).contains('\u{9b}'), "JSON in a pipe is as it was");
    }
}
