//! Changes of files in the form of the Agent Client Protocol (ACP): a diff with whole texts for a file that is added
//! or deleted, a unified patch for one that is updated.

use serde_json::{Map, Value, json};

use crate::model::task::object;

/// The change of one file.
struct FileChange<'a> {
    path: &'a str,
    kind: FileChangeKind<'a>,
}

enum FileChangeKind<'a> {
    Add { text: &'a str },
    Delete { text: &'a str },
    Update { hunks: &'a str, new_path: Option<&'a str> },
}

/// The members of ACP's `ToolCall` for a change of files. `changes` has the form of an item `fileChange`.
pub(crate) fn tool_call(changes: &Value, cwd: &str) -> Map<String, Value> {
    let changes: Vec<FileChange> = changes.as_array().into_iter().flatten().filter_map(FileChange::parse).collect();
    let mut call = object(json!({
        "title": title(&changes, cwd),
        "kind": kind(&changes),
        "locations": changes.iter().flat_map(FileChange::paths).map(|path| json!({ "path": path })).collect::<Vec<_>>(),
        "rawInput": { "changes": changes.iter().map(FileChange::summary).collect::<Vec<_>>() },
    }));
    let diffs: Vec<Value> = changes.iter().filter_map(FileChange::diff).collect();
    if !diffs.is_empty() {
        call.insert("content".to_owned(), json!(diffs));
    }
    let patch: String = changes.iter().filter_map(|change| change.patch(cwd)).collect();
    if !patch.is_empty() {
        call.insert("_meta".to_owned(), json!({ "loomd/patch": patch }));
    }
    call
}

/// Turns the changes of an older approval request, a map by path, into the form of an item `fileChange`.
pub(crate) fn changes_from_map(by_path: &Value) -> Value {
    let change = |(path, change): (&String, &Value)| {
        let diff = ["content", "unified_diff", "unifiedDiff"].iter().find_map(|name| change[*name].as_str()).unwrap_or_default();
        json!({ "path": path, "kind": { "type": change["type"], "move_path": change["move_path"] }, "diff": diff })
    };
    by_path.as_object().into_iter().flatten().map(change).collect()
}

/// A path as it is shown to people: relative to the working directory if it is below it.
pub(crate) fn short_path<'a>(path: &'a str, cwd: &str) -> &'a str {
    match path.strip_prefix(cwd.trim_end_matches('/')).and_then(|rest| rest.strip_prefix('/')) {
        Some(rest) if !rest.is_empty() => rest,
        _ => path,
    }
}

fn title(changes: &[FileChange], cwd: &str) -> String {
    match changes {
        [] => "Edit files".to_owned(),
        [change] => {
            let path = short_path(change.path, cwd);
            match change.kind {
                FileChangeKind::Add { .. } => format!("Add {path}"),
                FileChangeKind::Delete { .. } => format!("Delete {path}"),
                FileChangeKind::Update { new_path: Some(new_path), .. } => format!("Move {path} to {}", short_path(new_path, cwd)),
                FileChangeKind::Update { new_path: None, .. } => format!("Edit {path}"),
            }
        }
        [first, second] => format!("Edit {} and {}", short_path(first.path, cwd), short_path(second.path, cwd)),
        [first, second, rest @ ..] => {
            format!("Edit {}, {} and {} more", short_path(first.path, cwd), short_path(second.path, cwd), rest.len())
        }
    }
}

fn kind(changes: &[FileChange]) -> &'static str {
    let all = |is: fn(&FileChangeKind) -> bool| !changes.is_empty() && changes.iter().all(|change| is(&change.kind));
    if all(|kind| matches!(kind, FileChangeKind::Delete { .. })) {
        "delete"
    } else if all(|kind| matches!(kind, FileChangeKind::Update { hunks, new_path: Some(_) } if hunks.trim().is_empty())) {
        "move"
    } else {
        "edit"
    }
}

impl<'a> FileChange<'a> {
    fn parse(change: &'a Value) -> Option<Self> {
        let text = change["diff"].as_str().unwrap_or_default();
        // In early versions the kind is a plain string.
        let kind = &change["kind"];
        let kind = match kind["type"].as_str().or_else(|| kind.as_str())? {
            "add" => FileChangeKind::Add { text },
            "delete" => FileChangeKind::Delete { text },
            "update" => {
                let new_path = kind["move_path"].as_str().or_else(|| kind["movePath"].as_str());
                // Codex appends this note for people to the hunks of a file that is moved.
                let move_note = new_path.map(|new_path| format!("\n\nMoved to: {new_path}"));
                FileChangeKind::Update {
                    hunks: move_note.and_then(|move_note| text.strip_suffix(move_note.as_str())).unwrap_or(text),
                    new_path,
                }
            }
            _ => return None,
        };
        Some(Self { path: change["path"].as_str()?, kind })
    }

    fn paths(&self) -> impl Iterator<Item = &'a str> {
        let new_path = match self.kind {
            FileChangeKind::Update { new_path, .. } => new_path,
            _ => None,
        };
        [self.path].into_iter().chain(new_path)
    }

    /// The change without its text, for `rawInput`.
    fn summary(&self) -> Value {
        let kind = match self.kind {
            FileChangeKind::Add { .. } => "add",
            FileChangeKind::Delete { .. } => "delete",
            FileChangeKind::Update { new_path: Some(new_path), .. } => return json!({ "path": self.path, "kind": "move", "to": new_path }),
            FileChangeKind::Update { .. } => "update",
        };
        json!({ "path": self.path, "kind": kind })
    }

    fn diff(&self) -> Option<Value> {
        match self.kind {
            FileChangeKind::Add { text } => Some(json!({ "type": "diff", "path": self.path, "newText": text })),
            FileChangeKind::Delete { text } => {
                Some(json!({ "type": "diff", "path": self.path, "oldText": text, "newText": "", "_meta": { "kind": "delete" } }))
            }
            FileChangeKind::Update { .. } => None,
        }
    }

    /// The change of an updated file as a patch in the format of git.
    fn patch(&self, cwd: &str) -> Option<String> {
        let FileChangeKind::Update { hunks, new_path } = self.kind else { return None };
        let (from, to) = (short_path(self.path, cwd), short_path(new_path.unwrap_or(self.path), cwd));
        let rename_lines = if from == to { String::new() } else { format!("rename from {from}\nrename to {to}\n") };
        let name_lines = if hunks.starts_with("--- ") || hunks.trim().is_empty() {
            String::new()
        } else {
            format!("--- {}\n+++ {}\n", with_side("a", from), with_side("b", to))
        };
        let end = if hunks.is_empty() || hunks.ends_with('\n') { "" } else { "\n" };
        Some(format!("diff --git {} {}\n{rename_lines}{name_lines}{hunks}{end}", with_side("a", from), with_side("b", to)))
    }
}

fn with_side(side: &str, path: &str) -> String {
    format!("{side}/{}", path.trim_start_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(path: &str, kind: &Value, diff: &str) -> Value {
        json!({ "path": path, "kind": kind, "diff": diff })
    }

    #[test]
    fn whole_texts_are_diffs_and_hunks_are_a_patch() {
        let call = tool_call(
            &json!([
                change("/w/new", &json!({ "type": "add" }), "one\n"),
                change("/w/src/a", &json!({ "type": "update", "move_path": null }), "@@ -1 +1 @@\n-a\n+b\n"),
                change("/elsewhere", &json!({ "type": "delete" }), "gone\n"),
            ]),
            "/w",
        );
        let diffs = json!([
            { "type": "diff", "path": "/w/new", "newText": "one\n" },
            { "type": "diff", "path": "/elsewhere", "oldText": "gone\n", "newText": "", "_meta": { "kind": "delete" } },
        ]);
        assert_eq!(call["content"], diffs);
        assert_eq!(call["_meta"]["loomd/patch"], "diff --git a/src/a b/src/a\n--- a/src/a\n+++ b/src/a\n@@ -1 +1 @@\n-a\n+b\n");
        assert_eq!((&call["title"], &call["kind"]), (&json!("Edit new, src/a and 1 more"), &json!("edit")));
        assert_eq!(call["locations"][1], json!({ "path": "/w/src/a" }));
    }

    #[test]
    fn a_move_names_both_paths() {
        let kind = json!({ "type": "update", "move_path": "/w/b" });
        let call = tool_call(&json!([change("/w/a", &kind, "\n\nMoved to: /w/b")]), "/w/");
        assert_eq!((&call["title"], &call["kind"]), (&json!("Move a to b"), &json!("move")));
        assert_eq!(call["locations"], json!([{ "path": "/w/a" }, { "path": "/w/b" }]));
        assert_eq!(call["_meta"]["loomd/patch"], "diff --git a/a b/b\nrename from a\nrename to b\n");
        let changed = tool_call(&json!([change("/w/a", &kind, "@@ -1 +1 @@\n-a\n+b\n\n\nMoved to: /w/b")]), "/w");
        assert_eq!(changed["kind"], "edit");
        let patch = "diff --git a/a b/b\nrename from a\nrename to b\n--- a/a\n+++ b/b\n@@ -1 +1 @@\n-a\n+b\n";
        assert_eq!(changed["_meta"]["loomd/patch"], patch);
    }

    #[test]
    fn a_deletion_is_recognized_and_malformed_changes_are_ignored() {
        assert_eq!(tool_call(&json!([change("/w/a", &json!("delete"), "x")]), "/w")["kind"], "delete");
        let call = tool_call(&json!([7, { "path": 1 }, change("/w/a", &json!({ "type": "melt" }), "x")]), "/w");
        assert_eq!((&call["title"], call.get("content")), (&json!("Edit files"), None));
    }

    #[test]
    fn the_older_form_gives_the_same_call() {
        let changes = changes_from_map(
            &json!({ "/w/a": { "type": "update", "unified_diff": "@@ -1 +1 @@\n", "move_path": null }, "/w/b": { "type": "add", "content": "b" } }),
        );
        let call = tool_call(&changes, "/w");
        assert_eq!((&call["title"], &call["content"][0]["newText"]), (&json!("Edit a and b"), &json!("b")));
    }
}
