//! Claude Code's sessions as it keeps them: `projects/DIRECTORY/ID.jsonl` below its configuration.

use std::path::PathBuf;

use serde_json::Value;

use crate::{model::calls::ListedSession, provider::SessionFiles};

/// Longest title that is made of a first prompt, in characters.
const TITLE: usize = 100;

pub struct Files;

impl SessionFiles for Files {
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
                Some("user") if prompt.is_none() && line["isMeta"] != true => prompt = said(&line["message"]["content"]),
                _ => {}
            }
        }
        session.title = summary.or(prompt).map(|title| title.lines().next().unwrap_or_default().chars().take(TITLE).collect());
        Some(session)
    }
}

/// What a person said, without what the program put into their mouth.
fn said(content: &Value) -> Option<String> {
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
    fn a_session_is_told_by_its_file() {
        let text = concat!(
            "{\"type\":\"mode\"}\nhalf a line\n",
            "{\"type\":\"user\",\"cwd\":\"/work/a b\",\"message\":{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"<context>\"},{\"type\":\"text\",\"text\":\"Fix it\\nnow\"}]}}\n",
        );
        let name = "01a202e6-3365-7b42-a9f2-e413152767a3.jsonl";
        let session = Files.session(name, text).expect("a session");
        assert_eq!(
            (session.id.as_str(), session.cwd.as_deref(), session.title.as_deref()),
            (&name[..36], Some("/work/a b"), Some("Fix it"))
        );
        assert_eq!(Files.session("agent-1.jsonl", text), None);
        assert_eq!(Files.directory("/work/a b"), "-work-a-b");
    }

    #[test]
    fn its_configuration_may_be_elsewhere() {
        let home = |name: &str| (name == "HOME").then(|| "/h".to_owned());
        assert_eq!(Files.root(&home), Some("/h/.claude/projects".into()));
        assert_eq!(Files.root(&|_| Some("/c".to_owned())), Some("/c/projects".into()));
    }
}
