//! Changes of files in the words of the Agent Client Protocol: whole texts where Codex tells both, else a unified patch.

use serde_json::{Map, Value, json};

use crate::provider::task::object;

/// One file's change.
struct Change<'a> {
    path: &'a str,
    what: What<'a>,
}

enum What<'a> {
    Add { text: &'a str },
    Delete { text: &'a str },
    Update { hunks: &'a str, to: Option<&'a str> },
}

/// What a tool call that changes files is: members of ACP's `ToolCall`. `changes` as an item `fileChange` lists them.
pub fn tool_call(changes: &Value, cwd: &str) -> Map<String, Value> {
    let changes: Vec<Change> = changes.as_array().into_iter().flatten().filter_map(Change::of).collect();
    let mut call = object(json!({
        "title": title(&changes, cwd),
        "kind": kind(&changes),
        "locations": changes.iter().flat_map(Change::places).map(|path| json!({ "path": path })).collect::<Vec<_>>(),
        "rawInput": { "changes": changes.iter().map(Change::summary).collect::<Vec<_>>() },
    }));
    let diffs: Vec<Value> = changes.iter().filter_map(Change::diff).collect();
    if !diffs.is_empty() {
        call.insert("content".to_owned(), json!(diffs));
    }
    let patch: String = changes.iter().filter_map(|change| change.patch(cwd)).collect();
    if !patch.is_empty() {
        call.insert("_meta".to_owned(), json!({ "loomd/patch": patch }));
    }
    call
}

/// The changes of a question in the older form, a map by path, as an item lists them.
pub fn listed(by_path: &Value) -> Value {
    let change = |(path, change): (&String, &Value)| {
        let diff = ["content", "unified_diff", "unifiedDiff"].iter().find_map(|name| change[*name].as_str()).unwrap_or_default();
        json!({ "path": path, "kind": { "type": change["type"], "move_path": change["move_path"] }, "diff": diff })
    };
    by_path.as_object().into_iter().flatten().map(change).collect()
}

/// A path as a person reads it: below the working directory from there on.
pub fn short<'a>(path: &'a str, cwd: &str) -> &'a str {
    match path.strip_prefix(cwd.trim_end_matches('/')).and_then(|rest| rest.strip_prefix('/')) {
        Some(rest) if !rest.is_empty() => rest,
        _ => path,
    }
}

fn title(changes: &[Change], cwd: &str) -> String {
    match changes {
        [] => "Edit files".to_owned(),
        [change] => {
            let path = short(change.path, cwd);
            match change.what {
                What::Add { .. } => format!("Add {path}"),
                What::Delete { .. } => format!("Delete {path}"),
                What::Update { to: Some(to), .. } => format!("Move {path} to {}", short(to, cwd)),
                What::Update { to: None, .. } => format!("Edit {path}"),
            }
        }
        [first, second] => format!("Edit {} and {}", short(first.path, cwd), short(second.path, cwd)),
        [first, second, rest @ ..] => {
            format!("Edit {}, {} and {} more", short(first.path, cwd), short(second.path, cwd), rest.len())
        }
    }
}

fn kind(changes: &[Change]) -> &'static str {
    let all = |is: fn(&What) -> bool| !changes.is_empty() && changes.iter().all(|change| is(&change.what));
    if all(|what| matches!(what, What::Delete { .. })) {
        "delete"
    } else if all(|what| matches!(what, What::Update { hunks, to: Some(_) } if hunks.trim().is_empty())) {
        "move"
    } else {
        "edit"
    }
}

impl<'a> Change<'a> {
    fn of(change: &'a Value) -> Option<Self> {
        let text = change["diff"].as_str().unwrap_or_default();
        // Early versions named the kind by a plain word.
        let kind = &change["kind"];
        let what = match kind["type"].as_str().or_else(|| kind.as_str())? {
            "add" => What::Add { text },
            "delete" => What::Delete { text },
            "update" => {
                let to = kind["move_path"].as_str().or_else(|| kind["movePath"].as_str());
                // A note for people follows the hunks of a file that is moved.
                let note = to.map(|to| format!("\n\nMoved to: {to}"));
                What::Update { hunks: note.and_then(|note| text.strip_suffix(note.as_str())).unwrap_or(text), to }
            }
            _ => return None,
        };
        Some(Self { path: change["path"].as_str()?, what })
    }

    fn places(&self) -> impl Iterator<Item = &'a str> {
        let to = match self.what {
            What::Update { to, .. } => to,
            _ => None,
        };
        [self.path].into_iter().chain(to)
    }

    fn summary(&self) -> Value {
        let kind = match self.what {
            What::Add { .. } => "add",
            What::Delete { .. } => "delete",
            What::Update { to: Some(to), .. } => return json!({ "path": self.path, "kind": "move", "to": to }),
            What::Update { .. } => "update",
        };
        json!({ "path": self.path, "kind": kind })
    }

    fn diff(&self) -> Option<Value> {
        match self.what {
            What::Add { text } => Some(json!({ "type": "diff", "path": self.path, "newText": text })),
            What::Delete { text } => Some(json!({ "type": "diff", "path": self.path, "oldText": text, "newText": "" })),
            What::Update { .. } => None,
        }
    }

    fn patch(&self, cwd: &str) -> Option<String> {
        let What::Update { hunks, to } = self.what else { return None };
        let (from, to) = (short(self.path, cwd), short(to.unwrap_or(self.path), cwd));
        let moved = if from == to { String::new() } else { format!("rename from {from}\nrename to {to}\n") };
        let names = if hunks.starts_with("--- ") || hunks.trim().is_empty() {
            String::new()
        } else {
            format!("--- {}\n+++ {}\n", prefixed("a", from), prefixed("b", to))
        };
        let end = if hunks.is_empty() || hunks.ends_with('\n') { "" } else { "\n" };
        Some(format!("diff --git {} {}\n{moved}{names}{hunks}{end}", prefixed("a", from), prefixed("b", to)))
    }
}

fn prefixed(side: &str, path: &str) -> String {
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
            { "type": "diff", "path": "/elsewhere", "oldText": "gone\n", "newText": "" },
        ]);
        assert_eq!(call["content"], diffs);
        assert_eq!(call["_meta"]["loomd/patch"], "diff --git a/src/a b/src/a\n--- a/src/a\n+++ b/src/a\n@@ -1 +1 @@\n-a\n+b\n");
        assert_eq!((&call["title"], &call["kind"]), (&json!("Edit new, src/a and 1 more"), &json!("edit")));
        assert_eq!(call["locations"][1], json!({ "path": "/w/src/a" }));
    }

    #[test]
    fn a_move_names_both_places() {
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
    fn a_deletion_is_one_and_nonsense_is_nothing() {
        assert_eq!(tool_call(&json!([change("/w/a", &json!("delete"), "x")]), "/w")["kind"], "delete");
        let call = tool_call(&json!([7, { "path": 1 }, change("/w/a", &json!({ "type": "melt" }), "x")]), "/w");
        assert_eq!((&call["title"], call.get("content")), (&json!("Edit files"), None));
    }

    #[test]
    fn the_older_form_is_the_same() {
        let changes = listed(
            &json!({ "/w/a": { "type": "update", "unified_diff": "@@ -1 +1 @@\n", "move_path": null }, "/w/b": { "type": "add", "content": "b" } }),
        );
        let call = tool_call(&changes, "/w");
        assert_eq!((&call["title"], &call["content"][0]["newText"]), (&json!("Edit a and b"), &json!("b")));
    }
}
