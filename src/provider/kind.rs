//! What a provider implements: [`Provider`] says how its program is started and what is known before it runs, and
//! [`Adapter`] translates one run's conversation with the program.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{event_sink::EventSink, provider_event::SessionInfo};
use crate::model::{
    Failure, ProviderCapabilities, Takeover, TakeoverKind,
    agent::PromptCapabilities,
    calls::{ListedSession, RunSettings},
    task::{ContentBlocks, Task},
};

/// A kind of provider. Each has a module of its own and is listed in [`super::KINDS`].
pub trait Provider: Sync {
    /// The name of the kind, in `run/start` and in the configuration.
    fn kind(&self) -> &'static str;

    /// The name that people see.
    fn title(&self) -> &'static str;

    /// What runs of this kind can do.
    fn capabilities(&self) -> ProviderCapabilities;

    /// The argv that is started unless the configuration names another. It is empty for a kind that needs a
    /// configuration.
    fn program(&self) -> &'static [&'static str];

    /// One sentence that says what to do when the program is not found.
    fn install_hint(&self) -> &'static str;

    /// The arguments with which the program prints its version, or `None` if it cannot.
    fn version_args(&self) -> Option<&'static [&'static str]> {
        Some(&["--version"])
    }

    /// Other places where the real executable may be, best first. `_resolved` is the file that PATH leads to, with
    /// links resolved. Programs whose npm package puts a wrapper before a native binary need this.
    fn executables(&self, _resolved: &Path) -> Vec<PathBuf> {
        Vec::new()
    }

    /// Returns how the program is started for a task. `program` is the argv so far: the executable and the arguments
    /// that the configuration adds.
    fn launch(&self, task: &Task, program: &[String]) -> Result<Launch, Failure>;

    /// Creates the adapter for one run.
    fn adapter(&self, task: Task) -> Box<dyn Adapter>;

    /// The ways to continue a session in a terminal, of a run that is known from its record only. `recorded` are those that
    /// its adapter announced; nothing in them but their kinds may be trusted.
    fn takeovers(&self, task: Task, session: &SessionInfo, _recorded: &[Takeover]) -> Vec<Takeover> {
        self.adapter(task).takeovers(session)
    }

    /// How to read the sessions that the provider keeps as files. Only a provider without a request for its sessions
    /// has this.
    fn session_files(&self) -> Option<&'static dyn SessionFiles> {
        None
    }

    /// Creates the probe that answers a query about the provider without a run, or returns `None` if the provider
    /// cannot answer it.
    fn probe(&self, _query: &ProbeQuery) -> Option<Box<dyn Probe>> {
        None
    }
}

/// One provider's side of one run.
///
/// An adapter is a state machine without IO: it touches no process, no clock and no file. So a recorded conversation is
/// a test, and a crash cannot corrupt an adapter. It is called in the order in which things happen, and answers through
/// [`EventSink`].
pub trait Adapter {
    /// The program was started: sends what the program needs first. The adapter calls [`EventSink::ready`] once prompts
    /// can be sent.
    fn start(&mut self, out: &mut EventSink);

    /// Handles a whole line of the program's stdout, without its line feed. A line that means nothing to the adapter is
    /// ignored; the log has it as output.
    fn handle_line(&mut self, _line: &[u8], _out: &mut EventSink) {}

    /// Whether each line is JSON. The objects in it then come to [`Self::handle_message`], and a line that cannot be read
    /// becomes a notice.
    fn speaks_json(&self) -> bool {
        false
    }

    /// Handles a JSON object of the program's stdout.
    fn handle_message(&mut self, _message: Value, _out: &mut EventSink) {}

    /// Sends the prompt of the next turn. It is called only between turns, after [`EventSink::ready`]. The adapter
    /// calls [`EventSink::prompt_accepted`] when the provider has accepted the prompt, and [`EventSink::turn_ended`]
    /// when the turn is over.
    fn start_turn(&mut self, prompt: &ContentBlocks, out: &mut EventSink);

    /// Sends a prompt into the running turn. `false` means that this provider cannot do so; the conversation then keeps
    /// the prompt for the next turn.
    fn steer(&mut self, _prompt: &ContentBlocks, _out: &mut EventSink) -> bool {
        false
    }

    /// Stops the running turn and keeps the session. The adapter calls [`EventSink::turn_ended`] afterwards.
    fn interrupt(&mut self, out: &mut EventSink);

    /// Sends the answer to a permission request. `question` is the
    /// [`PermissionRequest::id`](super::provider_event::PermissionRequest::id) that the adapter chose in
    /// [`EventSink::request_permission`]. `false`: the provider does not wait for it any more.
    fn answer(&mut self, question: &str, answer: &Answer, out: &mut EventSink) -> bool;

    /// What a prompt may have beside text and links. `None`: the provider has not told it yet.
    fn prompt_capabilities(&self) -> Option<PromptCapabilities> {
        None
    }

    /// Checks whether these settings are possible. It is called before [`Self::configure`].
    fn can_configure(&self, settings: &RunSettings) -> Result<(), Failure> {
        if settings.options.is_empty() { Ok(()) } else { Err(Failure::unsupported("options", "this agent has no options to set")) }
    }

    /// Changes settings from the next turn on. It is called only between turns.
    fn configure(&mut self, _settings: &RunSettings, _out: &mut EventSink) {}

    /// Lets the program end, because no turn runs and no prompt will follow. For most programs that is the end of their
    /// stdin.
    fn finish(&mut self, out: &mut EventSink) {
        out.close_stdin();
    }

    /// The timer that [`EventSink::set_timer`] set with this token has expired.
    fn handle_timer(&mut self, _token: u32, _out: &mut EventSink) {}

    /// The program has ended, and [`Self::handle_line`] has received all its output. This is the last call in which the
    /// adapter can report anything.
    fn handle_exit(&mut self, _exit: Exit, _out: &mut EventSink) {}

    /// Whether a later run can resume this session.
    fn can_resume(&self) -> bool {
        true
    }

    /// The ways to continue the session in a terminal, best first.
    fn takeovers(&self, session: &SessionInfo) -> Vec<Takeover>;
}

/// The answer to a permission request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The chosen option of the request. `None` means that nobody chose, and so nothing is allowed.
    pub(crate) option: Option<String>,
    /// A message for the agent beside the choice.
    pub(crate) message: Option<String>,
}

/// How a program ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exit {
    pub(crate) code: Option<i32>,
    /// The name of the signal (`SIGKILL`).
    pub(crate) signal: Option<String>,
}

/// Sessions that a provider keeps as files, in one directory for each working directory.
pub trait SessionFiles: Sync {
    /// The directory that holds those directories. `variable` looks up a variable in the provider's environment.
    fn root(&self, variable: &dyn Fn(&str) -> Option<String>) -> Option<PathBuf>;

    /// The name of the directory for a working directory.
    fn directory(&self, cwd: &str) -> String;

    /// Reads the session of a file from the file's name and the beginning of its text. `None` means that the file is no
    /// session.
    fn session(&self, name: &str, text: &str) -> Option<ListedSession>;
}

/// How a program is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    pub argv: Vec<String>,
    /// Variables that are added to the run's environment; those that the run itself sets take precedence.
    pub env: Vec<(String, String)>,
    pub stdin: StdinUse,
}

/// What the program's stdin is used for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StdinUse {
    Null,
    /// The adapter writes to it.
    Protocol,
}

/// A provider that exists without a configuration: a name, and how its kind is started for it.
#[derive(Clone, Copy, Debug)]
pub struct Preset {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) command: &'static [&'static str],
    /// One sentence that says what to do when the program is not found.
    pub(crate) install_hint: &'static str,
}

/// A query about a provider that needs no run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeQuery {
    /// The models and modes of the provider in this directory. The result is that of `provider/options`.
    Options { cwd: String },
    /// The provider's own sessions. The result is that of `session/list`.
    Sessions { cwd: Option<String>, cursor: Option<String> },
}

/// A short conversation that answers a [`ProbeQuery`]: it starts, and then handles each line until it has a result.
pub trait Probe: Send {
    /// Returns how the program is started. `program` is as in [`Provider::launch`].
    fn launch(&self, program: &[String]) -> Launch;

    /// Returns the bytes that are written to the program first.
    fn start(&mut self) -> Vec<u8>;

    /// Handles a line of the program's stdout.
    fn handle_line(&mut self, line: &[u8]) -> Reply;
}

/// What a probe does after a line.
#[derive(Debug)]
pub enum Reply {
    /// Writes these bytes to the program and waits for the next line.
    Send(Vec<u8>),
    Done(Result<Value, Failure>),
}

// The ways to take over a session in a terminal: an argv, the directory to start it in, and the line that a person could type instead.

/// A takeover that is possible. Without `reason` it is verified: it was seen to work.
pub(crate) fn available_takeover(kind: TakeoverKind, command: Vec<String>, cwd: &str, reason: Option<&str>) -> Takeover {
    let display = format!("cd {} && {}", quoted(cwd), command.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" "));
    Takeover {
        kind,
        verified: reason.is_none(),
        reason: reason.map(str::to_owned),
        command: Some(command),
        cwd: Some(cwd.to_owned()),
        env: None,
        display,
    }
}

/// A takeover that is possible only once the provider has saved the session.
pub(crate) fn resumable_takeover(
    session: &SessionInfo,
    kind: TakeoverKind,
    command: Vec<String>,
    cwd: &str,
    reason: Option<&str>,
) -> Takeover {
    if session.resumable {
        available_takeover(kind, command, cwd, reason)
    } else {
        unavailable_takeover(kind, "the provider has not stored the session yet")
    }
}

/// A takeover that is not possible, and the reason.
pub(crate) fn unavailable_takeover(kind: TakeoverKind, reason: &str) -> Takeover {
    Takeover {
        kind,
        verified: false,
        reason: Some(reason.to_owned()),
        command: None,
        cwd: None,
        env: None,
        display: format!("not available: {reason}"),
    }
}

/// Quotes one word of a command line for a shell of the Bourne family.
pub(crate) fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "-_./=:,@%+".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_quotes_directory_and_arguments() {
        let takeover = available_takeover(
            TakeoverKind::Resume,
            vec!["agent".to_owned(), "--resume".to_owned(), "a b".to_owned()],
            "/it's here",
            Some("untried"),
        );
        assert_eq!(takeover.display, r"cd '/it'\''s here' && agent --resume 'a b'");
        assert!(!takeover.verified && takeover.command.is_some());
    }
}
