//! What loomd learns of Claude Code without a run: the models that it offers, and the sessions that it keeps.
//!
//! The models are in the response to `initialize`, for which Claude makes no session. Each session is a file
//! `projects/DIRECTORY/ID.jsonl` below Claude's configuration directory.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::protocol_argv;
use crate::{
    model::{Failure, calls::ListedSession},
    provider::{Launch, Probe, Reply, SessionFiles, StdinUse, json_lines},
};

/// The sessions in Claude's configuration directory.
pub(crate) struct ClaudeSessionFiles;

/// Asks for the models with a single request.
pub(crate) struct OptionsProbe;

const REQUEST_ID: &str = "loomd-options";
/// The longest title that is made from a first prompt.
const MAX_TITLE_CHARS: usize = 100;

impl Probe for OptionsProbe {
    fn launch(&self, program: &[String]) -> Launch {
        Launch { argv: protocol_argv(program), env: Vec::new(), stdin: StdinUse::Protocol }
    }

    fn start(&mut self) -> Vec<u8> {
        let request = json!({ "type": "control_request", "request_id": REQUEST_ID, "request": { "subtype": "initialize" } });
        format!("{request}\n").into_bytes()
    }

    fn handle_line(&mut self, line: &[u8]) -> Reply {
        let line = json_lines::messages(line).into_iter().next().unwrap_or_default();
        let response = &line["response"];
        if line["type"] != "control_response" || response["request_id"] != REQUEST_ID {
            return Reply::Send(Vec::new());
        }
        if response["subtype"] != "success" {
            let error = response["error"].as_str().unwrap_or("no reason was given");
            return Reply::Done(Err(Failure::unsupported("options", format!("claude did not list its models: {error}"))));
        }
        let model = |model: &Value| {
            let id = model["value"].as_str()?;
            Some(json!({ "id": id, "name": model["displayName"].as_str().unwrap_or(id) }))
        };
        let models: Vec<Value> = response["response"]["models"].as_array().into_iter().flatten().filter_map(model).collect();
        // Claude does not list its modes; the client uses those of `run/start`.
        Reply::Done(Ok(json!({ "models": models, "modes": [] })))
    }
}

impl SessionFiles for ClaudeSessionFiles {
    fn root(&self, variable: &dyn Fn(&str) -> Option<String>) -> Option<PathBuf> {
        let configuration = variable("CLAUDE_CONFIG_DIR").map(PathBuf::from);
        Some(configuration.or_else(|| Some(PathBuf::from(variable("HOME")?).join(".claude")))?.join("projects"))
    }

    fn directory(&self, cwd: &str) -> String {
        cwd.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect()
    }

    fn session(&self, name: &str, text: &str) -> Option<ListedSession> {
        let id = name.strip_suffix(".jsonl")?;
        // Sub-agents write files of their own beside the sessions.
        if uuid::Uuid::parse_str(id).is_err() {
            return None;
        }
        let mut session = ListedSession { id: id.to_owned(), cwd: None, title: None, updated_at: None, run_id: None };
        let (mut summary, mut prompt) = (None, None);
        for line in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
            if session.cwd.is_none() {
                session.cwd = line["cwd"].as_str().map(str::to_owned);
            }
            match line["type"].as_str() {
                Some("summary") => summary = line["summary"].as_str().map(str::to_owned),
                Some("user") if prompt.is_none() && line["isMeta"] != true => prompt = prompt_text(&line["message"]["content"]),
                _ => {}
            }
        }
        session.title = summary.or(prompt).map(|title| title.lines().next().unwrap_or_default().chars().take(MAX_TITLE_CHARS).collect());
        Some(session)
    }
}

/// The first text of a prompt that a person wrote. Texts that the CLI adds begin with `<`.
fn prompt_text(content: &Value) -> Option<String> {
    let texts = match content {
        Value::String(text) => vec![text.as_str()],
        Value::Array(blocks) => blocks.iter().filter_map(|block| block["text"].as_str()).collect(),
        _ => Vec::new(),
    };
    texts.into_iter().map(str::trim).find(|text| !text.is_empty() && !text.starts_with('<')).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_read_from_its_file() {
        let text = concat!(
            "{\"type\":\"mode\"}\nhalf a line\n",
            "{\"type\":\"user\",\"cwd\":\"/work/a b\",\"message\":{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"<context>\"},{\"type\":\"text\",\"text\":\"Fix it\\nnow\"}]}}\n",
        );
        let name = "01a202e6-3365-7b42-a9f2-e413152767a3.jsonl";
        let session = ClaudeSessionFiles.session(name, text).expect("a session");
        assert_eq!(
            (session.id.as_str(), session.cwd.as_deref(), session.title.as_deref()),
            (&name[..36], Some("/work/a b"), Some("Fix it"))
        );
        assert_eq!(ClaudeSessionFiles.session("agent-1.jsonl", text), None);
        assert_eq!(ClaudeSessionFiles.directory("/work/a b"), "-work-a-b");
    }

    #[test]
    fn the_configuration_directory_is_read_from_the_environment() {
        let home = |name: &str| (name == "HOME").then(|| "/h".to_owned());
        assert_eq!(ClaudeSessionFiles.root(&home), Some("/h/.claude/projects".into()));
        assert_eq!(ClaudeSessionFiles.root(&|_| Some("/c".to_owned())), Some("/c/projects".into()));
    }
}
