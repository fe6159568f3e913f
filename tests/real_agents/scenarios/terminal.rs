//! Sessions that go on in a terminal.

use std::path::Path;

use serde_json::{Value, json};

use super::{GREETING, follow_to_turn_end};
use crate::{harness::until, world::World};

pub(crate) fn takeover_by_resume(world: &World) {
    take_over(world, "resume");
}

pub(crate) fn takeover_by_fork(world: &World) {
    take_over(world, "fork");
}

fn take_over(world: &World, kind: &str) {
    let mut server = world.server();
    let mut log = world.start(&mut server, "fake:hello with apples", json!({ "interactive": true }));
    follow_to_turn_end(&mut server, &mut log, 1);
    let takeover = server.call("run/takeover", json!({ "runId": log.run, "kind": kind }))["takeover"].clone();
    let run = server.follow_to_end(&mut log);
    assert!(run["state"] == "cancelled" && run["takenOverAt"].is_u64(), "{run:#}");
    world.wait_until_alone(&[&server]);

    let screen = Terminal::open(world, &takeover);
    // A terminal may wrap lines, and some agents begin each line with a mark.
    let words = |text: &str| text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    screen.wait_for("the conversation", |shown| words(shown).contains("fake hello with apples") && words(shown).contains(&words(GREETING)));
    drop(screen);
    assert_eq!(takeover["verified"], true, "what was seen just now is verified: {takeover:#}");
    // Closing the terminal ends its processes, and no agent leaves a daemon behind.
    world.wait_until_alone(&[&server]);
}

/// A terminal in the world.
struct Terminal<'a> {
    world: &'a World,
    socket: String,
}

impl<'a> Terminal<'a> {
    fn open(world: &'a World, takeover: &Value) -> Self {
        let terminal = Self { world, socket: world.path().join("tmux").display().to_string() };
        let argv: Vec<&str> = takeover["command"].as_array().expect("an argv").iter().filter_map(Value::as_str).collect();
        let cwd = takeover["cwd"].as_str().expect("a directory");
        assert!(Path::new(cwd).is_dir());
        let mut words = vec!["-f", "/dev/null", "new-session", "-d", "-x", "120", "-y", "50", "-c", cwd, "--"];
        words.extend(argv);
        terminal.tmux(&words);
        terminal
    }

    fn tmux(&self, words: &[&str]) -> String {
        self.world.inside(&[&["tmux", "-S", &self.socket], words].concat())
    }

    fn wait_for(&self, what: &str, shows: impl Fn(&str) -> bool) {
        let mut last = String::new();
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            until(what, || {
                last = self.tmux(&["capture-pane", "-p", "-S", "-200"]);
                shows(&last).then_some(())
            })
        }));
        assert!(found.is_ok(), "the terminal does not show {what}:\n{last}");
    }
}

impl Drop for Terminal<'_> {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
    }
}
