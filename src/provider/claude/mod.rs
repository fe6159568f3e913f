//! Claude Code: `claude -p` with lines of JSON in both directions.
//!
//! This file says how it is started and taken over; `chat` holds the conversation, and each of the others one part of what is said in it.

mod chat;
mod ending;
mod files;
mod messages;
mod notices;
mod options;
mod prompts;
mod questions;
#[cfg(test)]
mod recorded;
mod session;
#[cfg(test)]
mod tests;
mod tools;

use super::{
    Adapter, Inquiry, Launch, Provider, Question, SessionFiles, Stdin, Task,
    effect::SessionNews,
    terminal::{kept, no_way},
};
use crate::model::{Failure, ProviderCapabilities, Takeover, TakeoverKind, calls::PermissionMode};

/// Claude Code.
pub struct Claude;

/// Both directions as lines of JSON, deltas, questions over stdio, and each prompt told back once it is taken.
const SPEECH: &[&str] = &[
    "-p",
    "--output-format",
    "stream-json",
    "--verbose",
    "--include-partial-messages",
    "--input-format",
    "stream-json",
    "--permission-prompt-tool",
    "stdio",
    "--replay-user-messages",
];

/// Needs answers that no choice among options can give.
const ASKING: &str = "AskUserQuestion";

/// What changes files, runs something, or lets something run later. Names that a version does not know hurt nothing.
const CHANGING: &[&str] = &[
    "Bash",
    "PowerShell",
    "Monitor",
    "KillShell",
    "TaskStop",
    "Edit",
    "MultiEdit",
    "Write",
    "NotebookEdit",
    "EnterWorktree",
    "ExitWorktree",
    "CronCreate",
    "CronDelete",
    "ScheduleWakeup",
    "RemoteTrigger",
    "Workflow",
];

impl Provider for Claude {
    fn kind(&self) -> &'static str {
        "claude"
    }

    fn title(&self) -> &'static str {
        "Claude Code"
    }

    fn capabilities(&self) -> ProviderCapabilities {
        ProviderCapabilities { resume: true, send: true, steer: true, interrupt: true, permissions: true, updates: true }
    }

    fn program(&self) -> &'static [&'static str] {
        &["claude"]
    }

    fn missing(&self) -> &'static str {
        "Claude Code is not installed: `npm install -g @anthropic-ai/claude-code`, then start `claude` once to log in."
    }

    fn launch(&self, task: &Task, program: &[String]) -> Result<Launch, Failure> {
        let mut argv = spoken(program);
        let (option, id) = match &task.resume {
            Some(id) => ("--resume", id),
            None => ("--session-id", &task.session_id),
        };
        argv.extend([option.to_owned(), value("sessionId", id)?]);
        if let Some(model) = &task.model {
            argv.extend(["--model".to_owned(), value("model", model)?]);
        }
        // A list takes in every word that follows it, so it is written as one word.
        let mut disallowed = vec![ASKING];
        if task.permissions == PermissionMode::ReadOnly {
            disallowed.extend(CHANGING);
            // Its settings may allow the tools of its servers without asking anybody.
            argv.push("--strict-mcp-config".to_owned());
        }
        argv.push(format!("--disallowedTools={}", disallowed.join(",")));
        argv.extend(["--permission-mode".to_owned(), mode(task.permissions, task.is_root).to_owned()]);
        Ok(Launch { argv, env: Vec::new(), stdin: Stdin::Protocol })
    }

    fn adapter(&self, task: Task) -> Box<dyn Adapter> {
        Box::new(chat::Chat::new(task))
    }

    fn session_files(&self) -> Option<&'static dyn SessionFiles> {
        Some(&files::Files)
    }

    fn inquire(&self, question: &Question) -> Option<Box<dyn Inquiry>> {
        match question {
            Question::Options { .. } => Some(Box::new(options::Options)),
            // It has no word for it; its files tell.
            Question::Sessions { .. } => None,
        }
    }
}

/// The argv that begins every conversation.
fn spoken(program: &[String]) -> Vec<String> {
    program.iter().cloned().chain(SPEECH.iter().map(|word| (*word).to_owned())).collect()
}

/// A value that cannot be mistaken for an option.
fn value(field: &str, value: &str) -> Result<String, Failure> {
    if value.is_empty() || value.starts_with('-') {
        return Err(Failure::invalid_params(field, format!("`{value}` is no {field} that claude could take")));
    }
    Ok(value.to_owned())
}

/// Claude Code's own mode. What it asks beyond that is the policy's to answer.
fn mode(permissions: PermissionMode, is_root: bool) -> &'static str {
    match permissions {
        PermissionMode::AcceptEdits => "acceptEdits",
        // It refuses the superuser this mode and ends at once.
        PermissionMode::Bypass if !is_root => "bypassPermissions",
        PermissionMode::Ask | PermissionMode::ReadOnly | PermissionMode::Bypass => "default",
    }
}

/// The ways to go on in a terminal, best first.
fn takeovers(task: &Task, session: &SessionNews) -> Vec<Takeover> {
    let program = task.program.first().map_or("claude", String::as_str);
    let words =
        |more: &[&str]| -> Vec<String> { [program, "--resume", &session.id].iter().chain(more).map(|word| (*word).to_owned()).collect() };
    vec![
        no_way(TakeoverKind::Live, "claude lets nobody join a process that runs without a terminal"),
        kept(session, TakeoverKind::Resume, words(&[]), &task.cwd, None),
        kept(session, TakeoverKind::Fork, words(&["--fork-session"]), &task.cwd, None),
    ]
}
