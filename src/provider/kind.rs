//! A kind of provider: how its program is started and what is known of it before it runs.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{adapter::Adapter, task::Task};
use crate::model::{Failure, ProviderCapabilities, calls::ListedSession};

/// A kind of provider. One per file, listed in [`super::TABLE`].
pub trait Provider: Sync {
    /// Its name, in `run/start` and in the configuration.
    fn kind(&self) -> &'static str;

    /// A name for people.
    fn title(&self) -> &'static str;

    /// What it can do.
    fn capabilities(&self) -> ProviderCapabilities;

    /// The argv that is started, unless the configuration names another; empty if there is none without a configuration.
    fn program(&self) -> &'static [&'static str];

    /// One sentence: what to do if its program is not there.
    fn missing(&self) -> &'static str;

    /// What makes the program tell its version.
    fn version_args(&self) -> Option<&'static [&'static str]> {
        Some(&["--version"])
    }

    /// Where the real executable may stand, beside the file that PATH leads to (links resolved), best first. For programs whose
    /// npm package puts a wrapper before a native binary.
    fn executables(&self, _found: &Path) -> Vec<PathBuf> {
        Vec::new()
    }

    /// How the program is started for a task. `program` is its argv so far: the executable and what the configuration adds.
    fn launch(&self, task: &Task, program: &[String]) -> Result<Launch, Failure>;

    /// The other side of the conversation.
    fn adapter(&self, task: Task) -> Box<dyn Adapter>;

    /// Where it keeps its sessions as files, for one that has no way to be asked for them.
    fn session_files(&self) -> Option<&'static dyn SessionFiles> {
        None
    }

    /// A short conversation that answers a question about the provider, without a run.
    fn inquire(&self, _question: &Question) -> Option<Box<dyn Inquiry>> {
        None
    }
}

/// Sessions that are files in directories, one directory for each place that was worked in.
pub trait SessionFiles: Sync {
    /// The directory of those directories. `variable` looks into the provider's environment.
    fn root(&self, variable: &dyn Fn(&str) -> Option<String>) -> Option<PathBuf>;

    /// The name of the directory for a place.
    fn directory(&self, cwd: &str) -> String;

    /// The session of a file, from its name and the beginning of its text; `None`: it is something else.
    fn session(&self, name: &str, text: &str) -> Option<ListedSession>;
}

/// How a program is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    pub argv: Vec<String>,
    /// Added to the run's environment; what the run itself asks for wins.
    pub env: Vec<(String, String)>,
    pub stdin: Stdin,
}

/// What a program's stdin is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stdin {
    Null,
    /// The adapter writes to it.
    Protocol,
}

/// A provider that is there without a configuration: a name, and how its kind is started for it.
#[derive(Clone, Copy, Debug)]
pub struct Preset {
    pub name: &'static str,
    pub title: &'static str,
    pub kind: &'static str,
    pub command: &'static [&'static str],
    /// One sentence: what to do if its program is not there.
    pub missing: &'static str,
}

/// What can be asked of a provider outside of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// Its models and modes, in this directory. Answered as `provider/options` answers.
    Options { cwd: String },
    /// Its own sessions. Answered as `session/list` answers.
    Sessions { cwd: Option<String>, cursor: Option<String> },
}

/// A short conversation: begun, then told each line, until it has its answer.
pub trait Inquiry: Send {
    /// How the program is started. `program` as in [`Provider::launch`].
    fn launch(&self, program: &[String]) -> Launch;

    /// What is said first.
    fn begin(&mut self) -> Vec<u8>;

    /// What a line of the program's leads to.
    fn line(&mut self, line: &[u8]) -> Reply;
}

/// What an inquiry does next.
#[derive(Debug)]
pub enum Reply {
    /// Says this, and waits for more.
    Say(Vec<u8>),
    Done(Result<Value, Failure>),
}
