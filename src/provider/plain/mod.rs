//! Any command-line tool that takes one prompt, works, and ends: a program from the configuration.
//!
//! - The prompt's text replaces `{prompt}` in the argv. Process lists then show it, which is the choice of whoever
//!   wrote the placeholder. Without the placeholder the prompt is written to stdin, which is then closed.
//! - The pattern `session` finds the session's id in a line of stdout. The session counts as resumable once the program
//!   has exited successfully, because nothing else shows that the program saved it; a known format may show it earlier.
//! - `resume` is the argv that resumes a session; `{session}` stands for the session's id, `{prompt}` for the prompt.
//! - The exit code decides the outcome, unless the output has a known format that says more.

mod codex_exec;
mod format;
mod gemini;
mod opencode;

use std::path::Path;

use regex::Regex;
use serde_json::Value;

use self::{
    codex_exec::CodexExec,
    format::{OutputFormat, PlainSession},
    gemini::Gemini,
    opencode::OpenCode,
};
use crate::{
    model::{
        Failure, FailureKind, ProviderCapabilities, RunError, Takeover, TakeoverKind,
        agent::{AgentOffer, PromptCapabilities},
        calls::PermissionMode,
        task::{ContentBlocks, Plain, Task, object, text_of},
    },
    provider::{
        Adapter, Answer, Exit, error_kind,
        event_sink::EventSink,
        kind::{Launch, Provider, StdinUse},
        kind::{available_takeover, unavailable_takeover},
        provider_event::{SessionInfo, TurnEnd},
    },
};

const PROMPT_PLACEHOLDER: &str = "{prompt}";
const SESSION_PLACEHOLDER: &str = "{session}";

/// The names of all output formats.
const FORMAT_NAMES: &[&str] = &["codex-exec", "gemini", "opencode"];

/// The kind `command` for a program that the configuration gives a prompt.
pub(crate) struct PlainCli;

impl Provider for PlainCli {
    fn kind(&self) -> &'static str {
        "command"
    }

    fn title(&self) -> &'static str {
        "Command-line tool"
    }

    fn capabilities(&self) -> ProviderCapabilities {
        ProviderCapabilities {
            resume: true,
            send: false,
            steer: false,
            interrupt: true,
            permissions: false,
            updates: true,
            mcp_servers: false,
        }
    }

    fn program(&self) -> &'static [&'static str] {
        &[]
    }

    fn install_hint(&self) -> &'static str {
        "set `command` to its command line in the configuration"
    }

    fn launch(&self, task: &Task, program: &[String]) -> Result<Launch, Failure> {
        let name = &task.provider;
        check_task(task)?;
        let Some(prompt) = &task.prompt else {
            return Err(Failure::invalid_params("prompt", format!("{name} handles one prompt and ends, so it needs a `prompt` to start")));
        };
        let argv = match (&task.resume, &task.plain.resume) {
            (None, _) => program.to_vec(),
            (Some(_), Some(resume)) => resume.clone(),
            (Some(_), None) => {
                let message = format!("{name} has no `resume` in the configuration; set it to the command that continues a session");
                return Err(Failure::unsupported("resume", message));
            }
        };
        if argv.is_empty() {
            return Err(Failure::invalid_params("command", format!("{name} has no `command` in the configuration")));
        }
        let stdin = if has_prompt_placeholder(&argv) { StdinUse::Null } else { StdinUse::Protocol };
        let text = text_of(prompt);
        let id = task.resume.as_deref().unwrap_or_default();
        // A single pass, so that a prompt which contains `{session}` stays as it is.
        let argv = argv.iter().map(|word| {
            let parts: Vec<String> = word.split(PROMPT_PLACEHOLDER).map(|part| part.replace(SESSION_PLACEHOLDER, id)).collect();
            parts.join(&text)
        });
        Ok(Launch { argv: argv.collect(), env: Vec::new(), stdin })
    }

    fn adapter(&self, task: Task) -> Box<dyn Adapter> {
        let argv = if task.resume.is_some() { task.plain.resume.as_ref() } else { None };
        Box::new(PlainAdapter {
            prompt_on_stdin: !has_prompt_placeholder(argv.unwrap_or(&task.program)),
            session_pattern: task.plain.session.as_deref().and_then(|pattern| Regex::new(pattern).ok()),
            format: task.plain.format.as_deref().and_then(|name| output_format(name, &task)),
            session: PlainSession::default(),
            is_stopped: false,
            task,
        })
    }
}

/// Checks the configuration of a plain tool. The error says what to change and continues a sentence that begins with
/// the provider's name.
pub(crate) fn check_settings(plain: &Plain) -> Result<(), String> {
    if let Some(Err(error)) = plain.session.as_deref().map(Regex::new) {
        // The lines before the last one draw the position in the pattern.
        let error = error.to_string();
        let reason = error.lines().last().unwrap_or_default().trim_start_matches("error: ");
        return Err(format!("has a pattern `session` that is not a regular expression: {reason}; fix it or remove it"));
    }
    if let Some(format) = plain.format.as_deref().filter(|format| !FORMAT_NAMES.contains(format)) {
        return Err(format!("has an unknown format `{format}`; choose one of {}", FORMAT_NAMES.join(", ")));
    }
    if plain.resume.as_ref().is_some_and(|resume| resume.iter().all(String::is_empty)) {
        return Err("has an empty resume; set it to the command that continues a session, or remove it".to_owned());
    }
    Ok(())
}

/// Checks that the task asks only for what a plain tool can do.
fn check_task(task: &Task) -> Result<(), Failure> {
    let name = &task.provider;
    check_settings(&task.plain).map_err(|message| Failure::new(FailureKind::Config, format!("{name} {message}")))?;
    if task.permissions == PermissionMode::ReadOnly {
        let message =
            format!("loomd cannot keep {name} from writing; start it without a permission mode, and use {name}'s own arguments for it");
        return Err(Failure::unsupported("permissions", message));
    }
    if task.model.is_some() {
        let message = format!("loomd cannot choose the model of {name}; set it in `args`");
        return Err(Failure::unsupported("model", message));
    }
    if let Some(prompt) = &task.prompt {
        PromptCapabilities::default().check(name, prompt)?;
    }
    if task.interactive {
        let message = format!("{name} handles one prompt and ends; continue its session in a new run");
        return Err(Failure::unsupported("send", message));
    }
    Ok(())
}

/// Whether an argv of the configuration has a place for the prompt.
pub(crate) fn has_prompt_placeholder(argv: &[String]) -> bool {
    argv.iter().any(|word| word.contains(PROMPT_PLACEHOLDER))
}

struct PlainAdapter {
    task: Task,
    prompt_on_stdin: bool,
    session_pattern: Option<Regex>,
    format: Option<Box<dyn OutputFormat>>,
    session: PlainSession,
    /// The turn was interrupted; later output belongs to no turn.
    is_stopped: bool,
}

impl PlainAdapter {
    fn end(&mut self, exit: &Exit, out: &mut EventSink) -> TurnEnd {
        let reported = self.format.as_mut().and_then(|format| format.turn_end(exit, out));
        reported.unwrap_or_else(|| match (exit.code, &exit.signal) {
            (Some(0), _) => TurnEnd::new("end_turn"),
            // A format knows what the program prints first. A program that exits without it did not find the session to
            // resume.
            (Some(_), _) if self.format.is_some() && self.session.id().is_none() && self.task.resume.is_some() => {
                TurnEnd::failed(error_kind::session_not_found(self.task.resume.as_deref().unwrap_or_default(), &self.task.provider))
            }
            (Some(code), _) => TurnEnd::failed(self.error(&format!("ended with code {code}"))),
            (None, Some(signal)) => TurnEnd::failed(self.error(&format!("ended by {signal}"))),
            (None, None) => TurnEnd::failed(self.error("ended for an unknown reason")),
        })
    }

    fn error(&self, how: &str) -> RunError {
        RunError { kind: "provider".to_owned(), message: format!("{} {how}", self.task.provider) }
    }
}

impl Adapter for PlainAdapter {
    fn start(&mut self, out: &mut EventSink) {
        out.offer(AgentOffer::of_prompts(PromptCapabilities::default()));
        out.ready();
    }

    fn start_turn(&mut self, prompt: &ContentBlocks, out: &mut EventSink) {
        out.prompt_accepted();
        if self.prompt_on_stdin {
            out.write(text_of(prompt).into_bytes());
            out.close_stdin();
        }
    }

    fn handle_line(&mut self, line: &[u8], out: &mut EventSink) {
        if let Some(pattern) = self.session_pattern.as_ref().filter(|_| self.session.id().is_none()) {
            let line = String::from_utf8_lossy(line);
            let found = pattern.captures(&line).and_then(|found| found.get(1).or_else(|| found.get(0)));
            if let Some(id) = found.map(|id| id.as_str()).filter(|id| !id.is_empty()) {
                self.session.announce(id, out);
            }
        }
    }

    fn speaks_json(&self) -> bool {
        self.format.is_some()
    }

    fn handle_message(&mut self, message: Value, out: &mut EventSink) {
        if let Some(format) = self.format.as_mut().filter(|_| !self.is_stopped) {
            format.handle_line(&object(message), &mut self.session, out);
        }
    }

    fn interrupt(&mut self, out: &mut EventSink) {
        // The program can only be stopped by ending it. The run is over with its only turn, so the supervisor ends the
        // program.
        if let Some(format) = &mut self.format {
            format.turn_end(&Exit::default(), out);
        }
        self.is_stopped = true;
        out.turn_ended(TurnEnd::new("cancelled"));
    }

    fn answer(&mut self, _question: &str, _answer: &Answer, _out: &mut EventSink) -> bool {
        false
    }

    fn prompt_capabilities(&self) -> Option<PromptCapabilities> {
        Some(PromptCapabilities::default())
    }

    /// The program ends by itself, because its stdin was closed after the prompt.
    fn finish(&mut self, _out: &mut EventSink) {}

    fn handle_timer(&mut self, _token: u32, out: &mut EventSink) {
        self.session.mark_resumable(out);
    }

    fn handle_exit(&mut self, exit: Exit, out: &mut EventSink) {
        if self.is_stopped {
            return;
        }
        let end = self.end(&exit, out);
        if end.error.is_none() {
            self.session.mark_resumable(out);
        }
        out.turn_ended(end);
    }

    fn can_resume(&self) -> bool {
        self.task.plain.resume.is_some()
    }

    fn takeovers(&self, session: &SessionInfo) -> Vec<Takeover> {
        let first = self.task.program.first().cloned().unwrap_or_default();
        // Only a program of the format's own name is recognized: a wrapper such as `npx` would understand the arguments
        // differently.
        let stem = Path::new(&first).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let format = self.format.as_ref().filter(|format| format.program() == stem);
        let known = format.map(|format| format.resume_args(&session.id));
        let configured = || self.task.plain.resume.as_ref().filter(|resume| !has_prompt_placeholder(resume));
        let resume = match (known, configured()) {
            _ if !session.resumable => unavailable_takeover(TakeoverKind::Resume, "the provider has not stored the session yet"),
            (Some((args, reason)), _) => {
                available_takeover(TakeoverKind::Resume, std::iter::once(first).chain(args).collect(), &self.task.cwd, reason)
            }
            (None, Some(resume)) => {
                let command = resume.iter().map(|word| word.replace(SESSION_PLACEHOLDER, &session.id)).collect();
                let reason = "this is `resume` of the configuration, which may need a prompt on stdin";
                available_takeover(TakeoverKind::Resume, command, &self.task.cwd, Some(reason))
            }
            (None, None) => unavailable_takeover(TakeoverKind::Resume, "the configuration has no `resume` that starts without a prompt"),
        };
        vec![unavailable_takeover(TakeoverKind::Live, "the program accepts no input while it runs"), resume]
    }
}

/// The format with this name.
fn output_format(name: &str, task: &Task) -> Option<Box<dyn OutputFormat>> {
    Some(match name {
        "codex-exec" => Box::new(CodexExec::new(task.resume.is_none())),
        "gemini" => Box::new(Gemini::default()),
        "opencode" => Box::new(OpenCode::default()),
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
