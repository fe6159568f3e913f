//! `run/changes`: the files that an agent changed, from what it said of its tool calls.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{Request, large};
use crate::{
    history::{Forward, Found},
    model::{
        Entry, Failure, Kind,
        calls::{ChangeKind, ChangedFile, ChangesResult, RunIdParams},
        line,
    },
};

/// How much of a log is read at a time.
const BLOCK: usize = 1 << 20;
/// Most text that is held for an answer; what is beyond makes it incomplete.
const MOST: usize = 32 << 20;

pub async fn changes(params: RunIdParams, request: Request) -> Result<ChangesResult, Failure> {
    let cancel = request.call.cancel.clone();
    large(&request, move |history| {
        let run = history.known_run(params.run_id)?;
        let last = run.last_seq;
        let mut reader = Forward::new(params.run_id, 0);
        let (mut changes, mut lines) = (Changes { cwd: run.cwd, ..Changes::default() }, Vec::new());
        while reader.seq() < last && !cancel.is_cancelled() {
            lines.clear();
            if reader.read(history, BLOCK, &mut lines)? == Found::Nothing {
                break;
            }
            for line in line::lines(&lines).filter(|line| line::head(line).is_some_and(|head| head.kind == Kind::Update)) {
                if let Ok(Entry::Update(entry)) = line::parse(line) {
                    changes.take(&entry.update);
                }
            }
        }
        Ok(changes.result())
    })
    .await
}

/// What is known of the changes so far.
#[derive(Debug, Default)]
struct Changes {
    tools: BTreeMap<String, Tool>,
    files: Vec<ChangedFile>,
    held: usize,
    incomplete: bool,
    /// Where the run worked.
    cwd: String,
}

/// A tool call that has not ended: what it is about to change.
#[derive(Debug, Default)]
struct Tool {
    kind: Option<String>,
    diffs: Vec<Value>,
    patch: Option<String>,
    places: Vec<String>,
    done: bool,
}

impl Changes {
    fn take(&mut self, update: &Map<String, Value>) {
        let text = |name: &str| update.get(name).and_then(Value::as_str);
        if !matches!(text("sessionUpdate"), Some("tool_call" | "tool_call_update")) {
            return;
        }
        let Some(id) = text("toolCallId") else { return };
        let tool = self.tools.entry(id.to_owned()).or_default();
        if let Some(kind) = text("kind") {
            tool.kind = Some(kind.to_owned());
        }
        let content = update.get("content").and_then(Value::as_array);
        let diffs: Vec<Value> = content.into_iter().flatten().filter(|block| block["type"] == "diff").cloned().collect();
        if !diffs.is_empty() {
            tool.diffs = diffs;
        }
        if let Some(patch) = update.get("_meta").and_then(|meta| meta.get("loomd/patch")).and_then(Value::as_str) {
            tool.patch = Some(patch.to_owned());
        }
        if let Some(places) = update.get("locations").and_then(Value::as_array) {
            tool.places = places.iter().filter_map(|place| Some(place["path"].as_str()?.to_owned())).collect();
        }
        let status = text("status");
        if status == Some("completed") && !std::mem::replace(&mut tool.done, true) {
            let (diffs, patch, places) = (std::mem::take(&mut tool.diffs), tool.patch.take(), std::mem::take(&mut tool.places));
            let tool_kind = tool.kind.clone();
            let whole = match tool_kind.as_deref() {
                Some("delete") => Some(ChangeKind::Delete),
                Some("move") => Some(ChangeKind::Move),
                _ => None,
            };
            diffs.iter().for_each(|diff| self.diff(diff, whole));
            // It changed something, and did not say what.
            let is_silent = diffs.is_empty() && patch.is_none() && (whole.is_none() || places.is_empty());
            self.incomplete |= is_silent && matches!(tool_kind.as_deref(), Some("edit" | "delete" | "move"));
            if let Some(kind) = whole.filter(|_| diffs.is_empty() && patch.is_none()) {
                places.iter().for_each(|path| self.told(path, kind));
            }
            if let Some(patch) = patch {
                self.patch(&patch);
            }
        }
        // What a command did, nobody says. One that was refused did nothing, and one that failed may have done something.
        let began = matches!(status, Some("completed" | "failed" | "in_progress"));
        let kind = self.tools.get(id).and_then(|tool| tool.kind.as_deref());
        if began && matches!(kind, Some("execute" | "other") | None) {
            self.incomplete = true;
        }
    }

    /// A file of which only its fate is known.
    fn told(&mut self, path: &str, kind: ChangeKind) {
        let path = self.absolute(path);
        match self.files.iter_mut().find(|file| file.path == path) {
            Some(file) => (file.kind, file.new_text) = (kind, None),
            None => self.files.push(ChangedFile { path, kind, patch: None, old_text: None, new_text: None }),
        }
    }

    /// Patches name files from the run's directory on.
    fn absolute(&self, path: &str) -> String {
        if path.starts_with('/') || self.cwd.is_empty() { path.to_owned() } else { format!("{}/{path}", self.cwd.trim_end_matches('/')) }
    }

    /// `whole`: what the tool call does to its files as a whole. A text that is taken away wholly is a deletion too, where the provider says so.
    fn diff(&mut self, diff: &Value, whole: Option<ChangeKind>) {
        let Some(path) = diff["path"].as_str() else { return };
        let path = &self.absolute(path);
        let deleted = whole == Some(ChangeKind::Delete) || diff["_meta"]["kind"] == "delete";
        let text = |name: &str| diff[name].as_str().map(str::to_owned);
        let (old, new) = (text("oldText"), text("newText").filter(|_| !deleted));
        self.held += old.as_ref().map_or(0, String::len) + new.as_ref().map_or(0, String::len);
        if self.held > MOST {
            self.incomplete = true;
            return;
        }
        match self.files.iter_mut().find(|file| file.path == *path) {
            Some(file) if deleted => (file.kind, file.new_text) = (ChangeKind::Delete, None),
            // Two replacements in one file are not one text; the whole file's are.
            Some(file) if file.new_text == old => file.new_text = new,
            Some(file) => {
                file.patch = Some(joined(file.patch.take(), &replacement(path, old.as_deref(), new.as_deref())));
            }
            None => {
                let kind = match (&old, deleted) {
                    (_, true) => ChangeKind::Delete,
                    (None, _) => ChangeKind::Add,
                    (Some(_), _) => whole.unwrap_or(ChangeKind::Modify),
                };
                self.files.push(ChangedFile { path: path.clone(), kind, patch: None, old_text: old, new_text: new });
            }
        }
    }

    fn patch(&mut self, patch: &str) {
        self.held += patch.len();
        if self.held > MOST {
            self.incomplete = true;
            return;
        }
        for part in parts(patch) {
            let part = Part { path: self.absolute(&part.path), ..part };
            match self.files.iter_mut().find(|file| file.path == part.path) {
                Some(file) => {
                    file.kind = if part.kind == ChangeKind::Delete { ChangeKind::Delete } else { file.kind };
                    file.patch = Some(joined(file.patch.take(), &part.text));
                }
                None => {
                    self.files.push(ChangedFile {
                        path: part.path,
                        kind: part.kind,
                        patch: Some(part.text),
                        old_text: None,
                        new_text: None,
                    });
                }
            }
        }
    }

    fn result(self) -> ChangesResult {
        ChangesResult { files: self.files, complete: !self.incomplete }
    }
}

fn joined(before: Option<String>, after: &str) -> String {
    let mut text = before.unwrap_or_default();
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text + after
}

/// A replaced part as a patch without places.
fn replacement(path: &str, old: Option<&str>, new: Option<&str>) -> String {
    let side = |sign: char, text: Option<&str>| text.unwrap_or_default().lines().map(|line| format!("{sign}{line}\n")).collect::<String>();
    format!("--- {path}\n+++ {path}\n{}{}", side('-', old), side('+', new))
}

/// The part of a patch that is about one file.
struct Part {
    path: String,
    kind: ChangeKind,
    text: String,
}

fn parts(patch: &str) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    let mut in_header = false;
    for line in patch.split_inclusive('\n') {
        let word = line.trim_end();
        // A line that begins with `--- ` inside a hunk is a removed one; a header's is followed by `+++ `.
        let begins = word.starts_with("diff --git ") || (word.starts_with("--- ") && !in_header && follows(patch, line, "+++ "));
        if begins {
            in_header = true;
            parts.push(Part { path: String::new(), kind: ChangeKind::Modify, text: String::new() });
        }
        let Some(part) = parts.last_mut() else { continue };
        part.text.push_str(line);
        if !in_header {
            continue;
        }
        match word.split_once(' ') {
            Some(("new", rest)) if rest.starts_with("file") => part.kind = ChangeKind::Add,
            Some(("deleted", rest)) if rest.starts_with("file") => part.kind = ChangeKind::Delete,
            Some(("rename", rest)) => {
                part.kind = ChangeKind::Move;
                if let Some(to) = rest.strip_prefix("to ") {
                    to.clone_into(&mut part.path);
                }
            }
            Some(("---", "/dev/null")) => part.kind = ChangeKind::Add,
            Some(("---", path)) => path.strip_prefix("a/").unwrap_or(path).clone_into(&mut part.path),
            Some(("+++", "/dev/null")) => part.kind = ChangeKind::Delete,
            Some(("+++", path)) if part.kind != ChangeKind::Move => path.strip_prefix("b/").unwrap_or(path).clone_into(&mut part.path),
            Some(("@@", _)) => in_header = false,
            _ => {}
        }
    }
    parts.retain(|part| !part.path.is_empty());
    parts
}

/// Whether the line after this one begins so.
fn follows(text: &str, line: &str, with: &str) -> bool {
    let after = line.as_ptr() as usize - text.as_ptr() as usize + line.len();
    text[after..].starts_with(with)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(updates: &[Value]) -> ChangesResult {
        let mut changes = Changes::default();
        updates.iter().for_each(|update| changes.take(update.as_object().expect("an object")));
        changes.result()
    }

    fn edit(id: &str, status: &str, path: &str, old: Option<&str>, new: &str) -> Value {
        let diff = json!({ "type": "diff", "path": path, "oldText": old, "newText": new });
        json!({ "sessionUpdate": "tool_call", "toolCallId": id, "kind": "edit", "status": status, "content": [diff] })
    }

    #[test]
    fn only_what_was_done_is_a_change() {
        let changes = told(&[
            edit("1", "completed", "/a", None, "one\n"),
            edit("2", "failed", "/b", None, "two\n"),
            edit("3", "pending", "/c", None, "three\n"),
        ]);
        let paths: Vec<&str> = changes.files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!((paths, changes.files[0].kind, changes.complete), (vec!["/a"], ChangeKind::Add, true));
    }

    #[test]
    fn a_file_is_told_from_its_first_change_to_its_last() {
        let changes = told(&[edit("1", "completed", "/a", Some("one"), "two"), edit("2", "completed", "/a", Some("two"), "three")]);
        assert_eq!(
            (changes.files[0].old_text.as_deref(), changes.files[0].new_text.as_deref(), changes.files.len()),
            (Some("one"), Some("three"), 1)
        );
    }

    #[test]
    fn a_command_makes_it_incomplete_and_a_pending_one_does_not() {
        let run = |status| json!({ "sessionUpdate": "tool_call", "toolCallId": "x", "kind": "execute", "status": status });
        assert!(told(&[run("pending")]).complete);
        assert!(!told(&[run("completed")]).complete);
    }

    #[test]
    fn an_edit_that_does_not_say_what_it_changed_makes_it_incomplete() {
        let edit = |status| json!({ "sessionUpdate": "tool_call", "toolCallId": "x", "kind": "edit", "status": status });
        assert!(!told(&[edit("completed")]).complete);
        assert!(told(&[edit("failed")]).complete);
    }

    #[test]
    fn a_patch_of_several_files_is_told_apart() {
        let patch = "diff --git a/new.txt b/new.txt\nnew file mode 100644\n--- /dev/null\n+++ b/new.txt\n@@ -0,0 +1 @@\n+one\n--- a/old.rs\n+++ b/old.rs\n@@ -1,2 +1 @@\n--- a line that was removed\n+x\ndiff --git a/x b/y\nrename from x\nrename to y\n";
        let update = json!({ "sessionUpdate": "tool_call", "toolCallId": "1", "kind": "edit", "status": "completed", "_meta": { "loomd/patch": patch } });
        let files: Vec<(String, ChangeKind)> = told(&[update]).files.into_iter().map(|file| (file.path, file.kind)).collect();
        let expected = [("new.txt", ChangeKind::Add), ("old.rs", ChangeKind::Modify), ("y", ChangeKind::Move)];
        assert_eq!(files, expected.map(|(path, kind)| (path.to_owned(), kind)));
    }
}
