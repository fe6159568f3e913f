//! What all known forms of what plain tools print have in common: one JSON object a line.

use serde_json::{Map, Value};

use super::session::KeptSession;
use crate::provider::{adapter::Exit, effect::TurnEnd, out::Out};

/// What understands one form.
pub trait Format {
    /// A line.
    fn line(&mut self, said: &Map<String, Value>, session: &mut KeptSession, out: &mut Out);

    /// What came of the turn; `None`: nothing was said of it that means more than the exit code.
    fn ended(&mut self, exit: &Exit, out: &mut Out) -> Option<TurnEnd>;

    /// The name of the program that prints it.
    fn program(&self) -> &'static str;

    /// The words behind the program's name that open a session in a terminal, and why that is not proved, if it is not.
    fn terminal(&self, id: &str) -> (Vec<String>, Option<&'static str>);
}

/// The text of a member.
pub fn text<'a>(said: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    said.get(name)?.as_str()
}

/// The kind and title of a tool call, by the tool's name and its input.
pub fn described(tool: &str, input: &Map<String, Value>) -> (&'static str, String) {
    let named = |names: &[&str]| names.iter().find_map(|name| text(input, name)).unwrap_or_default();
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
