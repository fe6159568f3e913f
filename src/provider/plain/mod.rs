//! Any command-line tool that takes a prompt, works and ends: a program of the configuration.
//!
//! - `{prompt}` in its argv is replaced by the prompt's text, which process lists then show: whoever writes it there has chosen so.
//!   Without it the prompt is written to stdin, which is then closed.
//! - The pattern `session` finds the session's id in a line of stdout. The session counts as resumable once the program has ended well, for
//!   nothing else tells that it was kept; a known format may tell it earlier.
//! - `resume` is the argv that goes on with a session; `{session}` stands for its id, `{prompt}` for the prompt.
//! - The outcome is the exit code's, unless the output has a known form that says more.

mod codex_exec;
mod format;
mod formats;
mod gemini;
mod opencode;
#[cfg(test)]
mod recorded;
mod session;
#[cfg(test)]
mod tests;

use std::path::Path;

use regex::Regex;
use serde_json::Value;

use self::{format::Format, session::KeptSession};
use crate::{
    model::{Failure, FailureKind, ProviderCapabilities, RunError, Takeover, TakeoverKind, calls::PermissionMode},
    provider::{
        adapter::{Adapter, Answer, Exit},
        effect::{SessionNews, TurnEnd},
        fault,
        kind::{Launch, Provider, Stdin},
        out::Out,
        task::{Blocks, Plain, Task, object, text_of},
        terminal::{no_way, way},
    },
};

const PROMPT: &str = "{prompt}";
const SESSION: &str = "{session}";

/// The kind `command`, where the configuration gives it a prompt.
pub struct PlainCli;

impl Provider for PlainCli {
    fn kind(&self) -> &'static str {
        "command"
    }

    fn title(&self) -> &'static str {
        "Command-line tool"
    }

    fn capabilities(&self) -> ProviderCapabilities {
        ProviderCapabilities { resume: true, send: false, steer: false, interrupt: true, permissions: false, updates: true }
    }

    fn program(&self) -> &'static [&'static str] {
        &[]
    }

    fn missing(&self) -> &'static str {
        "name its command line as `command` in the configuration"
    }

    fn launch(&self, task: &Task, program: &[String]) -> Result<Launch, Failure> {
        let name = &task.provider;
        check(task)?;
        let Some(prompt) = &task.prompt else {
            return Err(Failure::invalid_params("prompt", format!("{name} works on one prompt and ends, so it needs one to begin")));
        };
        let argv = match (&task.resume, &task.plain.resume) {
            (None, _) => program.to_vec(),
            (Some(_), Some(resume)) => resume.clone(),
            (Some(_), None) => {
                let message = format!("{name} has no `resume` in the configuration: the argv that goes on with a session");
                return Err(Failure::unsupported("resume", message));
            }
        };
        if argv.is_empty() {
            return Err(Failure::invalid_params("command", format!("{name} has no `command` in the configuration")));
        }
        let stdin = if shows_prompt(&argv) { Stdin::Null } else { Stdin::Protocol };
        let text = text_of(prompt);
        let id = task.resume.as_deref().unwrap_or_default();
        // One pass, so that a prompt which speaks of `{session}` stays as it is.
        let argv = argv.iter().map(|word| {
            let parts: Vec<String> = word.split(PROMPT).map(|part| part.replace(SESSION, id)).collect();
            parts.join(&text)
        });
        Ok(Launch { argv: argv.collect(), env: Vec::new(), stdin })
    }

    fn adapter(&self, task: Task) -> Box<dyn Adapter> {
        let argv = if task.resume.is_some() { task.plain.resume.as_ref() } else { None };
        Box::new(PlainAdapter {
            by_stdin: !shows_prompt(argv.unwrap_or(&task.program)),
            pattern: task.plain.session.as_deref().and_then(|pattern| Regex::new(pattern).ok()),
            format: task.plain.format.as_deref().and_then(|name| formats::named(name, &task)),
            session: KeptSession::default(),
            is_stopped: false,
            task,
        })
    }
}

/// Whether the configuration of a plain tool makes sense; if not, what to do, as a sentence that begins with the provider's name.
pub fn check_words(plain: &Plain) -> Result<(), String> {
    if let Some(Err(error)) = plain.session.as_deref().map(Regex::new) {
        // The lines before the last one draw where in the pattern it is.
        let error = error.to_string();
        let reason = error.lines().last().unwrap_or_default().trim_start_matches("error: ");
        return Err(format!("has a pattern `session` that is no regular expression: {reason}; mend it or remove it"));
    }
    if let Some(format) = plain.format.as_deref().filter(|format| !formats::NAMES.contains(format)) {
        return Err(format!("has a format `{format}`, which is not known; choose one of {}", formats::NAMES.join(", ")));
    }
    if plain.resume.as_ref().is_some_and(|resume| resume.iter().all(String::is_empty)) {
        return Err("has an empty resume; name the argv that goes on with a session, or remove it".to_owned());
    }
    Ok(())
}

/// What is wanted of a plain tool, against what one can do.
fn check(task: &Task) -> Result<(), Failure> {
    let name = &task.provider;
    check_words(&task.plain).map_err(|message| Failure::new(FailureKind::Config, format!("{name} {message}")))?;
    if task.permissions == PermissionMode::ReadOnly {
        let message =
            format!("nothing can keep {name} from writing; give it the arguments by which it does so itself, and ask for no `readOnly`");
        return Err(Failure::unsupported("permissions", message));
    }
    if task.model.is_some() {
        let message = format!("loomd does not know how {name} is told its model; put it into `args`");
        return Err(Failure::unsupported("model", message));
    }
    if task.interactive {
        let message = format!("{name} takes one prompt and ends; go on with its session in a new run");
        return Err(Failure::unsupported("send", message));
    }
    Ok(())
}

/// Whether a command line of the configuration has a place for the prompt.
pub fn shows_prompt(argv: &[String]) -> bool {
    argv.iter().any(|word| word.contains(PROMPT))
}

struct PlainAdapter {
    task: Task,
    by_stdin: bool,
    pattern: Option<Regex>,
    format: Option<Box<dyn Format>>,
    session: KeptSession,
    /// Its turn was stopped; what it still says belongs to none.
    is_stopped: bool,
}

impl PlainAdapter {
    fn end(&mut self, exit: &Exit, out: &mut Out) -> TurnEnd {
        let told = self.format.as_mut().and_then(|format| format.ended(exit, out));
        told.unwrap_or_else(|| match (exit.code, &exit.signal) {
            (Some(0), _) => TurnEnd::new("end_turn"),
            // A format knows what a program says first: one that says nothing of it did not find what it was to go on with.
            (Some(_), _) if self.format.is_some() && self.session.id().is_none() && self.task.resume.is_some() => {
                TurnEnd::failed(fault::session_not_found(self.task.resume.as_deref().unwrap_or_default(), &self.task.provider))
            }
            (Some(code), _) => TurnEnd::failed(self.error(&format!("ended with code {code}"))),
            (None, Some(signal)) => TurnEnd::failed(self.error(&format!("ended by {signal}"))),
            (None, None) => TurnEnd::failed(self.error("ended in an unknown way")),
        })
    }

    fn error(&self, how: &str) -> RunError {
        RunError { kind: "provider".to_owned(), message: format!("{} {how}", self.task.provider) }
    }
}

impl Adapter for PlainAdapter {
    fn begin(&mut self, out: &mut Out) {
        out.ready();
    }

    fn prompt(&mut self, prompt: &Blocks, out: &mut Out) {
        out.took();
        if self.by_stdin {
            out.write(text_of(prompt).into_bytes());
            out.close_stdin();
        }
    }

    fn line(&mut self, line: &[u8], out: &mut Out) {
        if let Some(pattern) = self.pattern.as_ref().filter(|_| self.session.id().is_none()) {
            let line = String::from_utf8_lossy(line);
            let found = pattern.captures(&line).and_then(|found| found.get(1).or_else(|| found.get(0)));
            if let Some(id) = found.map(|id| id.as_str()).filter(|id| !id.is_empty()) {
                self.session.announced(id, out);
            }
        }
        if let Some(format) = self.format.as_mut().filter(|_| !self.is_stopped)
            && let Ok(Value::Object(said)) = serde_json::from_slice(line)
        {
            format.line(&said, &mut self.session, out);
        }
    }

    fn interrupt(&mut self, out: &mut Out) {
        // It knows no way to stop but to end: with its only turn the run is over, and whoever started the program ends it.
        if let Some(format) = &mut self.format {
            format.ended(&Exit::default(), out);
        }
        self.is_stopped = true;
        out.turn_ended(TurnEnd::new("cancelled"));
    }

    fn answer(&mut self, _question: &str, _answer: &Answer, _out: &mut Out) {}

    /// It ends by itself; its stdin was closed after the prompt.
    fn finish(&mut self, _out: &mut Out) {}

    fn woken(&mut self, _token: u32, out: &mut Out) {
        self.session.kept(out);
    }

    fn ended(&mut self, exit: Exit, out: &mut Out) {
        if self.is_stopped {
            return;
        }
        let end = self.end(&exit, out);
        if end.error.is_none() {
            self.session.kept(out);
        }
        out.turn_ended(end);
    }

    fn can_resume(&self) -> bool {
        self.task.plain.resume.is_some()
    }

    fn takeovers(&self, session: &SessionNews) -> Vec<Takeover> {
        let first = self.task.program.first().cloned().unwrap_or_default();
        // By its own name only: behind a wrapper like `npx` its words would mean something else.
        let stem = Path::new(&first).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let format = self.format.as_ref().filter(|format| format.program() == stem);
        let known = format.map(|format| format.terminal(&session.id));
        let configured = || self.task.plain.resume.as_ref().filter(|resume| !shows_prompt(resume));
        let resume = match (known, configured()) {
            _ if !session.resumable => no_way(TakeoverKind::Resume, "the provider has not kept the session yet"),
            (Some((words, reason)), _) => way(TakeoverKind::Resume, std::iter::once(first).chain(words).collect(), &self.task.cwd, reason),
            (None, Some(resume)) => {
                let command = resume.iter().map(|word| word.replace(SESSION, &session.id)).collect();
                let reason = "it is the configuration's `resume`, and may want a prompt at its stdin";
                way(TakeoverKind::Resume, command, &self.task.cwd, Some(reason))
            }
            (None, None) => no_way(TakeoverKind::Resume, "the configuration has no `resume` that could be started without a prompt"),
        };
        vec![no_way(TakeoverKind::Live, "the program takes no input while it runs"), resume]
    }
}

/// The object at this name of an event, or an empty one.
fn member(said: &serde_json::Map<String, Value>, name: &str) -> serde_json::Map<String, Value> {
    object(said.get(name).cloned().unwrap_or_default())
}
