//! The agents, in what they differ for the tests, and which scenarios each goes through.

use std::fs;

use crate::{
    scenarios::{ending, listing, permissions, sessions, talking, terminal, tools},
    world::World,
};

/// What the tests have to know of an agent.
pub struct Agent {
    /// As a provider, and as an executable.
    pub name: &'static str,
    /// A part of the argv that loomd starts, as `Run.command` tells it.
    pub starts: &'static str,
    /// What stands in loomd's configuration for it.
    pub configuration: &'static str,
    /// What is heard of what a command prints.
    pub output: Output,
    /// A tool call tells the input as its model gave it.
    pub tells_input: bool,
    /// A rejected tool call ends the turn.
    pub rejection_ends: bool,
    /// It runs a command that asks to leave a sandbox also where there is none and nobody is asked.
    pub bypasses_sandbox: bool,
    /// Makes an ended session as it would be if some time had passed.
    pub age_session: fn(&World),
    /// A prompt that makes it do what goes beyond an edit.
    pub no_edit: &'static str,
    /// It tells its sessions outside of a run.
    pub lists_sessions: bool,
    /// It tells its models outside of a run.
    pub lists_models: bool,
}

/// What is heard of what a command prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// All of it while it runs.
    Live,
    /// While it runs, but for the beginning.
    LiveLate,
    /// All of it at its end.
    Whole,
    Nothing,
}

/// What most agents have in common.
const USUAL: Agent = Agent {
    name: "",
    starts: "",
    configuration: "",
    output: Output::Live,
    tells_input: true,
    rejection_ends: false,
    bypasses_sandbox: true,
    age_session: |_| {},
    no_edit: "fake:approval",
    lists_sessions: true,
    lists_models: true,
};

/// One test for each scenario.
macro_rules! goes_through {
    ($agent:ident: $($(#[$attribute:meta])* $room:ident::$scenario:ident)*) => {
        $(
            #[test]
            $(#[$attribute])*
            fn $scenario() {
                if let Some(world) = crate::world::World::of(&super::$agent) {
                    super::$room::$scenario(&world);
                }
            }
        )*
    };
}

static CLAUDE: Agent = Agent {
    name: "claude",
    starts: "claude -p",
    output: Output::Whole,
    // In this mode it takes commands that touch a file of the directory for edits.
    no_edit: "fake:toolfail",
    lists_sessions: false,
    ..USUAL
};

static CODEX: Agent = Agent {
    name: "codex",
    // The wrapper of the package is a script called codex.js; this is the program behind it.
    starts: "/vendor/x86_64-unknown-linux-musl/bin/codex app-server",
    ..USUAL
};

static OPENCODE: Agent = Agent { name: "opencode", starts: "opencode acp", ..USUAL };

static GEMINI: Agent = Agent {
    name: "gemini",
    starts: "gemini --acp",
    output: Output::Nothing,
    tells_input: false,
    age_session: of_another_minute,
    lists_sessions: false,
    ..USUAL
};

static CODEX_ACP: Agent = Agent {
    name: "codex-acp",
    starts: "codex-acp",
    configuration: "[providers.codex-acp]\nkind = \"acp\"\ncommand = [\"codex-acp\"]\n",
    output: Output::LiveLate,
    rejection_ends: true,
    bypasses_sandbox: false,
    ..USUAL
};

/// gemini names a session's file by the minute, and one that is loaded in the minute in which it began is written over.
fn of_another_minute(world: &World) {
    let projects = fs::read_dir(world.path().join("home/.gemini/tmp")).expect("gemini's files").flatten();
    let chats = projects.flat_map(|project| fs::read_dir(project.path().join("chats"))).flatten().flatten();
    for chat in chats.map(|chat| chat.path()) {
        let name = chat.file_name().expect("a name").to_string_lossy().into_owned();
        // session-2026-11-22T17-54-48bfb850.jsonl
        let (minute, id) = name.rsplit_once('-').expect("a name with an id");
        let hour = minute.rsplit_once('-').expect("a name with a time").0;
        let other = if minute.ends_with("00") { "01" } else { "00" };
        fs::rename(&chat, chat.with_file_name(format!("{hour}-{other}-{id}"))).expect("another name");
    }
}

/// What every agent goes through, and what only some do.
macro_rules! agent {
    ($name:ident, $agent:ident: $($more:tt)*) => {
        mod $name {
            goes_through! { $agent:
                talking::hello
                talking::follow_up
                tools::tool
                tools::interrupt
                permissions::approval
                permissions::edits
                permissions::bypass
                permissions::read_only
                sessions::resume
                ending::error_401
                ending::cancel
                ending::killed_supervisor
                listing::lists
                terminal::takeover_by_resume
                $($more)*
            }
        }
    };
}

agent! { claude, CLAUDE:
    talking::steering
    talking::steering_too_late
    ending::error_500
    terminal::takeover_by_fork
}

agent! { codex, CODEX:
    talking::steering
    talking::steering_too_late
    ending::error_500
    terminal::takeover_by_fork
}

agent! { opencode, OPENCODE:
    #[ignore = "it tries again for more than a minute"]
    ending::error_500
}

agent! { gemini, GEMINI:
    ending::error_500
}

agent! { codex_acp, CODEX_ACP:
    ending::error_500
}
