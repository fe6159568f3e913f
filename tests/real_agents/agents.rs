//! The agents: how they differ for the tests, and the scenarios of each.

use std::fs;

use crate::{
    scenarios::{editors, failures, listing, past, permissions, prompts, sessions, terminal, tools},
    world::World,
};

/// What the tests have to know of an agent.
pub(crate) struct Agent {
    /// The name of the provider and of the executable.
    pub name: &'static str,
    /// A part of the argv that loomd starts, as `Run.command` has it.
    pub argv_part: &'static str,
    /// The lines of loomd's configuration for the agent.
    pub configuration: &'static str,
    /// How much of a command's output the agent reports.
    pub output: OutputReporting,
    /// A tool call has the input as the model gave it.
    pub reports_input: bool,
    /// A rejected tool call ends the turn.
    pub rejection_ends: bool,
    /// In mode `bypass`, it runs a command that asks to leave the sandbox.
    pub bypasses_sandbox: bool,
    /// Changes an ended session as if some time had passed.
    pub age_session: fn(&World),
    /// A prompt that makes the agent run a command that is no edit.
    pub no_edit: &'static str,
    /// It lists its sessions outside of a run.
    pub lists_sessions: bool,
    /// It lists its models outside of a run.
    pub lists_models: bool,
}

/// How much of a command's output an agent reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OutputReporting {
    /// All of it while it runs.
    Live,
    /// While it runs, but for the beginning.
    LiveLate,
    /// All of it at its end.
    Whole,
    Nothing,
}

/// The values of most agents.
const DEFAULT_AGENT: Agent = Agent {
    name: "",
    argv_part: "",
    configuration: "",
    output: OutputReporting::Live,
    reports_input: true,
    rejection_ends: false,
    bypasses_sandbox: true,
    age_session: |_| {},
    no_edit: "fake:approval",
    lists_sessions: true,
    lists_models: true,
};

/// One test for each scenario.
macro_rules! goes_through {
    ($agent:ident: $($(#[$attribute:meta])* $module:ident::$scenario:ident)*) => {
        $(
            #[test]
            $(#[$attribute])*
            fn $scenario() {
                if let Some(world) = crate::world::World::of(&super::$agent) {
                    super::$module::$scenario(&world);
                }
            }
        )*
    };
}

static CLAUDE: Agent = Agent {
    name: "claude",
    argv_part: "claude -p",
    output: OutputReporting::Whole,
    // In this mode it takes commands that touch a file of the directory for edits.
    no_edit: "fake:toolfail",
    lists_sessions: false,
    ..DEFAULT_AGENT
};

static CODEX: Agent = Agent {
    name: "codex",
    // The wrapper of the package is a script called codex.js; this is the program behind it.
    argv_part: "/vendor/x86_64-unknown-linux-musl/bin/codex app-server",
    ..DEFAULT_AGENT
};

static OPENCODE: Agent = Agent { name: "opencode", argv_part: "opencode acp", ..DEFAULT_AGENT };

static GEMINI: Agent = Agent {
    name: "gemini",
    argv_part: "gemini --acp",
    output: OutputReporting::Nothing,
    reports_input: false,
    age_session: of_another_minute,
    lists_sessions: false,
    ..DEFAULT_AGENT
};

static CODEX_ACP: Agent = Agent {
    name: "codex-acp",
    argv_part: "codex-acp",
    configuration: "[providers.codex-acp]\nkind = \"acp\"\ncommand = [\"codex-acp\"]\n",
    output: OutputReporting::LiveLate,
    rejection_ends: true,
    bypasses_sandbox: false,
    ..DEFAULT_AGENT
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

/// The scenarios of one agent: those of every agent, and further ones.
macro_rules! agent {
    ($name:ident, $agent:ident: $($more:tt)*) => {
        mod $name {
            goes_through! { $agent:
                prompts::hello
                prompts::follow_up
                tools::tool
                tools::interrupt
                permissions::approval
                permissions::edits
                permissions::bypass
                permissions::read_only
                sessions::resume
                failures::error_401
                failures::cancel
                failures::killed_supervisor
                listing::lists
                editors::an_editor
                terminal::takeover_by_resume
                $($more)*
            }
        }
    };
}

agent! { claude, CLAUDE:
    past::past
    past::servers_of_the_client
    prompts::steering
    prompts::steering_too_late
    failures::error_500
    terminal::takeover_by_fork
}

agent! { codex, CODEX:
    past::past
    past::servers_of_the_client
    prompts::steering
    prompts::steering_too_late
    failures::error_500
    terminal::takeover_by_fork
}

agent! { opencode, OPENCODE:
    #[ignore = "it tries again for more than a minute"]
    failures::error_500
}

agent! { gemini, GEMINI:
    failures::error_500
}

agent! { codex_acp, CODEX_ACP:
    failures::error_500
}
