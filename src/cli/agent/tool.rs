//! A tool call as it is known so far: its title, how it stands, its output, what it changed.

use serde_json::{Map, Value};

use super::{
    diff::{Diff, What},
    tail::Tail,
};
use crate::cli::words;

/// One tool call of a turn.
#[derive(Debug, Default)]
pub struct Tool {
    /// Counts tool calls as they were first told.
    pub number: u64,
    pub title: String,
    pub kind: String,
    pub status: Status,
    /// The tool call of whose sub-agent this one is.
    pub parent: Option<String>,
    /// How deep below the agent itself: 0 for its own.
    pub depth: usize,
    /// When it was first told of, Unix milliseconds.
    pub began: u64,
    pub output: Tail,
    pub diffs: Vec<Diff>,
    /// Its line was printed when it began.
    pub is_headed: bool,
    pub is_ended: bool,
    /// Whether the output was told by `loomd/output`; a text in `content` then repeats it.
    pub grows: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Status {
    #[default]
    Pending,
    InProgress,
    Completed,
    Failed,
}

/// New output of a tool.
pub struct Grown<'a> {
    pub text: &'a str,
    /// What was said before of it, from there on, was wrong.
    pub corrects: bool,
}

impl Tool {
    /// Takes note of an update. What its output grew by is returned.
    pub fn apply<'a>(&mut self, update: &'a Map<String, Value>) -> Option<Grown<'a>> {
        let text = |name: &str| update.get(name).and_then(Value::as_str);
        if let Some(title) = text("title") {
            title.trim().trim_matches('`').clone_into(&mut self.title);
        }
        if let Some(kind) = text("kind") {
            kind.clone_into(&mut self.kind);
        }
        self.status = match text("status") {
            Some("in_progress") => Status::InProgress,
            Some("completed") => Status::Completed,
            Some("failed") => Status::Failed,
            Some("pending") => Status::Pending,
            _ => self.status,
        };
        let meta = update.get("_meta");
        let mut patch = self.diffs.iter().find(|diff| diff.is_patch()).cloned();
        if let Some(told) = meta.and_then(|meta| meta["loomd/patch"].as_str()) {
            patch = Some(Diff { path: path_of(told), what: What::Patch(told.to_owned()) });
        }
        let content = update.get("content").and_then(Value::as_array);
        if let Some(blocks) = content {
            let diffs: Vec<Diff> = blocks.iter().filter_map(Diff::of_block).collect();
            if !diffs.is_empty() {
                self.diffs = diffs;
            }
            let texts: Vec<&str> = blocks.iter().filter_map(|block| block["content"]["text"].as_str()).collect();
            if !self.grows && !texts.is_empty() {
                self.output.replace(&texts.join("\n"));
            }
        }
        if let Some(patch) = patch {
            self.diffs.retain(|diff| !diff.is_patch());
            self.diffs.push(patch);
        }
        let output = &meta?["loomd/output"];
        let (offset, text) = (output["offset"].as_u64()? as usize, output["text"].as_str()?);
        let corrects = self.grows && offset < self.output.end();
        self.grows = true;
        self.output.set(offset, text);
        Some(Grown { text, corrects })
    }

    /// Whether it does something already: until then it may still be given its title.
    pub fn has_begun(&self) -> bool {
        self.status != Status::Pending
    }

    pub fn has_ended(&self) -> bool {
        matches!(self.status, Status::Completed | Status::Failed)
    }

    /// What it is, as one line.
    pub fn line(&self) -> String {
        let sign = if self.kind == "execute" { "$ " } else { "" };
        let mut lines = self.title.lines();
        let first = words::plain(lines.next().unwrap_or("tool"));
        let more = if lines.next().is_some() { " …" } else { "" };
        format!("{sign}{first}{more}")
    }

    /// How many of the last lines of its output a person wants to see when it has ended.
    pub fn lines_of_interest(&self) -> usize {
        match self.kind.as_str() {
            _ if self.status == Status::Failed => 8,
            "read" | "search" | "fetch" | "think" | "edit" | "delete" | "move" => 0,
            _ => 4,
        }
    }
}

impl Diff {
    fn is_patch(&self) -> bool {
        matches!(self.what, What::Patch(_))
    }
}

fn path_of(patch: &str) -> String {
    let side = |sign: &str, prefix: &str| {
        let line = patch.lines().find_map(|line| line.strip_prefix(sign))?;
        Some(line.strip_prefix(prefix).unwrap_or(line)).filter(|path| *path != "/dev/null")
    };
    side("+++ ", "b/").or_else(|| side("--- ", "a/")).unwrap_or("files").to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(updates: Vec<Value>) -> Tool {
        let mut tool = Tool::default();
        for update in updates {
            let Value::Object(update) = update else { panic!("an object") };
            tool.apply(&update);
        }
        tool
    }

    #[test]
    fn what_the_end_repeats_is_not_output_twice() {
        let output = |offset: usize, text: &str| json!({ "_meta": { "loomd/output": { "offset": offset, "text": text } } });
        let text = json!([{ "type": "content", "content": { "type": "text", "text": "one\ntwo\n" } }]);
        let tool =
            told(vec![output(0, "one\n"), output(4, "tw"), output(6, "o\n"), json!({ "status": "completed", "content": text.clone() })]);
        assert_eq!(tool.output.last(9), (0, vec!["one".to_owned(), "two".to_owned()]));
        let tool = told(vec![json!({ "status": "completed", "content": text })]);
        assert_eq!(tool.output.last(9).1.len(), 2, "told at the end only");
    }

    #[test]
    fn a_title_is_one_line() {
        let tool = told(vec![json!({ "title": "`cat <<E\nx\nE`", "kind": "execute", "status": "in_progress" })]);
        assert_eq!((tool.line().as_str(), tool.has_begun(), tool.has_ended()), ("$ cat <<E …", true, false));
    }

    #[test]
    fn a_patch_names_its_file_and_replaces_the_one_before() {
        let patch = |text: &str| json!({ "_meta": { "loomd/patch": text } });
        let tool = told(vec![patch("--- a/x\n+++ b/x\n@@\n+1\n"), patch("--- a/x\n+++ b/x\n@@\n+1\n+2\n")]);
        assert_eq!((tool.diffs.len(), tool.diffs[0].path.as_str(), tool.diffs[0].counts()), (1, "x", (2, 0)));
    }
}
