//! Claude Code: `claude -p` with lines of JSON in both directions.
//!
//! This file says how Claude is started and taken over. `adapter` holds the conversation with it, and each other module
//! handles one part of that conversation.

mod adapter;
mod messages;
mod notices;
mod options;
mod probe;
mod prompts;
mod questions;
mod session;
mod tools;
mod turn_end;
mod turns;

use super::{
    Adapter, Launch, Probe, ProbeQuery, Provider, SessionFiles, StdinUse,
    kind::{resumable_takeover, unavailable_takeover},
    provider_event::SessionInfo,
};
use crate::model::{Failure, ProviderCapabilities, Takeover, TakeoverKind, Task, agent::PromptCapabilities, calls::PermissionMode};

/// What Claude takes in a prompt beside text and links.
pub(crate) const PROMPT_CAPABILITIES: PromptCapabilities = PromptCapabilities { image: true, audio: false, embedded_context: true };

/// Claude Code.
pub(crate) struct Claude;

/// Lines of JSON in both directions, deltas, permission requests over stdio, and an echo of each prompt once Claude has
/// accepted it.
const PROTOCOL_ARGS: &[&str] = &[
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

/// A tool that needs answers which no choice among options can give.
const ASK_USER_TOOL: &str = "AskUserQuestion";

/// Tools that change files, run something, or let something run later. Claude ignores names that its version does not
/// know.
const CHANGING_TOOLS: &[&str] = &[
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
        ProviderCapabilities { resume: true, send: true, steer: true, interrupt: true, permissions: true, updates: true, mcp_servers: true }
    }

    fn program(&self) -> &'static [&'static str] {
        &["claude"]
    }

    fn install_hint(&self) -> &'static str {
        "Claude Code is not installed: `npm install -g @anthropic-ai/claude-code`, then start `claude` once to log in."
    }

    fn launch(&self, task: &Task, program: &[String]) -> Result<Launch, Failure> {
        if let Some(prompt) = &task.prompt {
            PROMPT_CAPABILITIES.check("claude", prompt)?;
        }
        let mut argv = protocol_argv(program);
        let (option, id) = match &task.resume {
            Some(id) => ("--resume", id),
            None => ("--session-id", &task.session_id),
        };
        argv.extend([option.to_owned(), option_value("sessionId", id)?]);
        if let Some(model) = &task.model {
            argv.extend(["--model".to_owned(), option_value("model", model)?]);
        }
        // The option takes every argument that follows it, so the list is one argument.
        let mut disallowed = vec![ASK_USER_TOOL];
        if task.permissions == PermissionMode::ReadOnly {
            disallowed.extend(CHANGING_TOOLS);
            // Claude's settings may allow the tools of MCP servers without a permission request.
            argv.push("--strict-mcp-config".to_owned());
        }
        argv.push(format!("--disallowedTools={}", disallowed.join(",")));
        argv.extend(["--permission-mode".to_owned(), mode(task.permissions, task.is_root).to_owned()]);
        Ok(Launch { argv, env: Vec::new(), stdin: StdinUse::Protocol })
    }

    fn adapter(&self, task: Task) -> Box<dyn Adapter> {
        Box::new(adapter::ClaudeAdapter::new(task))
    }

    fn session_files(&self) -> Option<&'static dyn SessionFiles> {
        Some(&probe::ClaudeSessionFiles)
    }

    fn probe(&self, question: &ProbeQuery) -> Option<Box<dyn Probe>> {
        match question {
            ProbeQuery::Options { .. } => Some(Box::new(probe::OptionsProbe)),
            // Claude has no request for its sessions; `session_files` reads their files.
            ProbeQuery::Sessions { .. } => None,
        }
    }
}

/// The argv that begins every conversation.
fn protocol_argv(program: &[String]) -> Vec<String> {
    program.iter().cloned().chain(PROTOCOL_ARGS.iter().map(|word| (*word).to_owned())).collect()
}

/// A value that cannot be mistaken for an option.
fn option_value(field: &str, value: &str) -> Result<String, Failure> {
    if value.is_empty() || value.starts_with('-') {
        return Err(Failure::invalid_params(field, format!("`{value}` is not a valid {field} for claude")));
    }
    Ok(value.to_owned())
}

/// Claude Code's own permission mode. The policy answers the permission requests that remain.
fn mode(permissions: PermissionMode, is_root: bool) -> &'static str {
    match permissions {
        PermissionMode::AcceptEdits => "acceptEdits",
        // Claude refuses this mode to root and exits at once.
        PermissionMode::Bypass if !is_root => "bypassPermissions",
        PermissionMode::Ask | PermissionMode::ReadOnly | PermissionMode::Bypass => "default",
    }
}

/// The ways to continue in a terminal, best first.
fn takeovers(task: &Task, session: &SessionInfo) -> Vec<Takeover> {
    let program = task.program.first().map_or("claude", String::as_str);
    let resume_argv =
        |more: &[&str]| -> Vec<String> { [program, "--resume", &session.id].iter().chain(more).map(|word| (*word).to_owned()).collect() };
    vec![
        unavailable_takeover(TakeoverKind::Live, "claude does not let a terminal join a process that was started without one"),
        resumable_takeover(session, TakeoverKind::Resume, resume_argv(&[]), &task.cwd, None),
        resumable_takeover(session, TakeoverKind::Fork, resume_argv(&["--fork-session"]), &task.cwd, None),
    ]
}

#[cfg(test)]
mod tests;
