//! What all known output formats of plain command-line tools have in common: one JSON object a line.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::{
    model::task::object,
    provider::{Exit, event_sink::EventSink, provider_event::TurnEnd},
};

/// Interprets one output format.
pub(crate) trait OutputFormat {
    /// Handles a line of stdout.
    fn handle_line(&mut self, event: &Map<String, Value>, session: &mut PlainSession, out: &mut EventSink);

    /// How the turn ended. `None` means that the output says nothing beyond the exit code.
    fn turn_end(&mut self, exit: &Exit, out: &mut EventSink) -> Option<TurnEnd>;

    /// The name of the program that prints this format.
    fn program(&self) -> &'static str;

    /// The arguments with which the program opens the session in a terminal, and why that is not verified, if it is
    /// not.
    fn resume_args(&self, id: &str) -> (Vec<String>, Option<&'static str>);
}

/// The session as far as the program's output shows it.
#[derive(Debug, Default)]
pub(crate) struct PlainSession {
    id: Option<String>,
    is_resumable: bool,
    timer_is_set: bool,
}

/// How long after the agent's first output the program has saved the session.
const SAVE_DELAY: Duration = Duration::from_millis(250);

impl PlainSession {
    pub(crate) fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    pub(crate) fn announce(&mut self, id: &str, out: &mut EventSink) {
        if self.id.is_none() {
            self.id = Some(id.to_owned());
            out.session(id, None, false);
        }
    }

    /// Reports that the session can be resumed from now on.
    pub(crate) fn mark_resumable(&mut self, out: &mut EventSink) {
        if let Some(id) = self.id.as_deref().filter(|_| !self.is_resumable) {
            self.is_resumable = true;
            out.session(id, None, true);
        }
    }

    /// Reports that the session can be resumed after [`SAVE_DELAY`].
    pub(crate) fn mark_resumable_soon(&mut self, out: &mut EventSink) {
        if !std::mem::replace(&mut self.timer_is_set, true) {
            out.set_timer(SAVE_DELAY, 1);
        }
    }
}

/// The string in this member.
pub(crate) fn str_member<'a>(event: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    event.get(name)?.as_str()
}

/// The object in this member, or an empty one.
pub(crate) fn object_member(event: &Map<String, Value>, name: &str) -> Map<String, Value> {
    object(event.get(name).cloned().unwrap_or_default())
}

/// The kind and title of a tool call, from the tool's name and its input.
pub(crate) fn describe_tool(tool: &str, input: &Map<String, Value>) -> (&'static str, String) {
    let named = |names: &[&str]| names.iter().find_map(|name| str_member(input, name)).unwrap_or_default();
    let path = named(&["file_path", "filePath", "absolute_path", "path", "dir_path", "directory"]);
    let titled = |verb: &str, what: &str| if what.is_empty() { tool.to_owned() } else { format!("{verb} {what}") };
    match tool {
        "bash" | "run_shell_command" | "shell" => ("execute", titled("", named(&["command"])).trim_start().to_owned()),
        "edit" | "replace" | "patch" | "multiedit" | "apply_patch" => ("edit", titled("Edit", path)),
        "write" | "write_file" => ("edit", titled("Write", path)),
        "read" | "read_file" | "read_many_files" => ("read", titled("Read", path)),
        "list" | "list_directory" => ("search", titled("List", path)),
        "glob" | "grep" | "grep_search" | "search_file_content" => ("search", titled("Search for", named(&["pattern", "query"]))),
        "webfetch" | "web_fetch" => ("fetch", titled("Fetch", named(&["url", "prompt"]))),
        "websearch" | "google_web_search" => ("fetch", titled("Search the web for", named(&["query"]))),
        "task" | "invoke_agent" | "todowrite" | "update_topic" => ("think", titled(tool, named(&["description"]))),
        _ => ("other", tool.to_owned()),
    }
}
