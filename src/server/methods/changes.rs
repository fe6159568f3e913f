//! `run/changes`: the files that an agent changed, according to its tool calls.

use std::{collections::BTreeSet, ops::ControlFlow};

use super::{Request, large_answer};
use crate::{
    model::{
        Failure,
        calls::{ChangeKind, ChangedFile, ChangesResult, RunIdParams},
        item::{FileDiff, Item, ItemChange, ItemKind, ToolItem},
    },
    transcript::{Fold, ItemLimits, LogSource, patch, read::fold_entries, touched::absolute_path},
};

/// Bytes of text that an answer may hold; further text makes it incomplete.
const MAX_HELD_BYTES: usize = 32 << 20;

pub(crate) async fn changes(params: RunIdParams, request: Request) -> Result<ChangesResult, Failure> {
    let cancel = request.context.cancel.clone();
    large_answer(&request, move |history| {
        let run = history.known_run(params.run_id)?;
        let mut fold = Fold::new(LogSource::of(&run)).with_limits(ItemLimits::LARGE);
        let mut changes = ChangeSet { cwd: run.cwd, ..ChangeSet::default() };
        fold_entries(history, run.id, run.last_seq, &mut fold, |_, _, items| {
            items.iter().for_each(|change| changes.apply(change));
            if cancel.is_cancelled() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(changes.result())
    })
    .await
}

/// The changes that are known so far.
#[derive(Debug, Default)]
struct ChangeSet {
    /// Tool calls whose changes are in `files`.
    done: BTreeSet<u64>,
    files: Vec<ChangedFile>,
    held_bytes: usize,
    incomplete: bool,
    /// The run's directory.
    cwd: String,
}

impl ChangeSet {
    fn apply(&mut self, change: &ItemChange) {
        let ItemChange::Whole { item } = change else { return };
        if let ItemKind::Tool(tool) = &item.kind {
            self.tool(item, tool);
        }
    }

    fn tool(&mut self, item: &Item, tool: &ToolItem) {
        let kind = tool.tool_kind.as_str();
        if tool.status == "completed" && self.done.insert(item.item) {
            let whole = match kind {
                "delete" => Some(ChangeKind::Delete),
                "move" => Some(ChangeKind::Move),
                _ => None,
            };
            tool.diffs.iter().for_each(|diff| self.diff(diff));
            // The tool call changed something, and did not say what. One that goes on from another has said it there.
            let is_silent = tool.diffs.is_empty() && item.continues.is_none() && (whole.is_none() || tool.locations.is_empty());
            self.incomplete |= is_silent && matches!(kind, "edit" | "delete" | "move");
            let kind = whole.or((kind == "edit").then_some(ChangeKind::Modify)).filter(|_| tool.diffs.is_empty());
            let unknown =
                |path: &String, kind| FileDiff { path: path.clone(), kind, patch: None, old_text: None, new_text: None, omitted: true };
            for (kind, location) in kind.iter().flat_map(|kind| tool.locations.iter().map(move |location| (*kind, location))) {
                self.take(&unknown(&location.path, kind));
            }
        }
        // Nothing tells what a command changed. A command that was refused did nothing; one that failed may have done
        // something.
        if tool.status != "pending" && matches!(kind, "execute" | "other" | "") {
            self.incomplete = true;
        }
    }

    /// Notes a change to a file.
    fn diff(&mut self, diff: &FileDiff) {
        let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        self.held_bytes += length(&diff.patch) + length(&diff.old_text) + length(&diff.new_text);
        let fits = self.held_bytes <= MAX_HELD_BYTES && !diff.omitted;
        self.incomplete |= !fits || diff.path.is_empty();
        if diff.path.is_empty() {
        } else if fits {
            self.take(diff);
        } else {
            // Path and kind are listed even where the texts are not.
            self.take(&FileDiff { patch: None, old_text: None, new_text: None, omitted: true, ..diff.clone() });
        }
    }

    /// Joins a change to what is known of its file.
    fn take(&mut self, diff: &FileDiff) {
        let path = absolute_path(&self.cwd, &diff.path);
        let Some(position) = self.files.iter().position(|file| file.path == path) else {
            let FileDiff { kind, old_text, new_text, .. } = diff.clone();
            let patch = diff.patch.as_ref().map(|text| patch::with_relative_paths(text, &path, &self.cwd));
            return self.files.push(ChangedFile { path, kind, patch, old_text, new_text });
        };
        let file = &mut self.files[position];
        match (file.kind, diff.kind) {
            // A file that was made and deleted again is as it was.
            (ChangeKind::Add, ChangeKind::Delete) => drop(self.files.remove(position)),
            (_, ChangeKind::Delete) => (file.kind, file.new_text, file.patch) = (ChangeKind::Delete, None, None),
            (ChangeKind::Delete, _) => (file.kind, file.new_text) = (ChangeKind::Modify, diff.new_text.clone()),
            (_, ChangeKind::Move) if diff.omitted => file.kind = ChangeKind::Move,
            _ if diff.omitted => (file.new_text, file.patch) = (None, None),
            _ => match &diff.patch {
                Some(text) => {
                    let next = patch::with_relative_paths(text, &path, &self.cwd);
                    file.patch = Some(join_patches(file.patch.take(), &next));
                }
                None if file.new_text == diff.old_text || diff.old_text.is_none() => file.new_text.clone_from(&diff.new_text),
                None => match replaced_within(file, diff) {
                    Some(whole) => file.new_text = Some(whole),
                    // Replacements in two places of a file are no one text.
                    None => {
                        let next = patch::applicable(&FileDiff { path: path.clone(), ..diff.clone() }, &self.cwd);
                        file.patch = Some(join_patches(file.patch.take(), &next));
                    }
                },
            },
        }
    }

    fn result(self) -> ChangesResult {
        ChangesResult { files: self.files, complete: !self.incomplete }
    }
}

fn join_patches(before: Option<String>, after: &str) -> String {
    let mut text = before.unwrap_or_default();
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text + after
}

/// The text of a file in which a part is replaced, if the part is there once. What came after the text is not known.
fn replaced_within(file: &ChangedFile, diff: &FileDiff) -> Option<String> {
    let (text, old) = (file.new_text.as_deref().filter(|_| file.patch.is_none())?, diff.old_text.as_deref()?);
    let mut found = text.match_indices(old).map(|(at, _)| at);
    let (Some(at), None) = (found.next(), found.next()) else { return None };
    (!old.is_empty()).then(|| [&text[..at], diff.new_text.as_deref().unwrap_or_default(), &text[at + old.len()..]].concat())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::transcript::tests::entries_of;

    fn changes_of(updates: &[Value]) -> ChangesResult {
        let (mut fold, mut items) = (Fold::new(LogSource::Updates), Vec::new());
        entries_of(updates.iter().cloned()).iter().for_each(|entry| fold.push(entry, &mut items));
        let mut changes = ChangeSet { cwd: "/w".to_owned(), ..ChangeSet::default() };
        items.iter().for_each(|change| changes.apply(change));
        changes.result()
    }

    fn edit(id: &str, status: &str, path: &str, old: Option<&str>, new: &str) -> Value {
        let diff = json!({ "type": "diff", "path": path, "oldText": old, "newText": new });
        json!({ "sessionUpdate": "tool_call", "toolCallId": id, "kind": "edit", "status": status, "content": [diff] })
    }

    #[test]
    fn only_what_was_done_is_a_change() {
        let changes = changes_of(&[
            edit("1", "completed", "/a", None, "one\n"),
            edit("2", "failed", "/b", None, "two\n"),
            edit("3", "pending", "/c", None, "three\n"),
        ]);
        let paths: Vec<&str> = changes.files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!((paths, changes.files[0].kind, changes.complete), (vec!["/a"], ChangeKind::Add, true));
    }

    #[test]
    fn a_file_is_compared_from_before_its_first_change_to_after_its_last() {
        let changes = changes_of(&[edit("1", "completed", "/a", Some("one"), "two"), edit("2", "completed", "/a", Some("two"), "three")]);
        assert_eq!(
            (changes.files[0].old_text.as_deref(), changes.files[0].new_text.as_deref(), changes.files.len()),
            (Some("one"), Some("three"), 1)
        );
    }

    #[test]
    fn replacements_in_one_file_are_one_text_or_patches_one_after_the_other() {
        let within = changes_of(&[edit("1", "completed", "/w/a", None, "one\ntwo\n"), edit("2", "completed", "/w/a", Some("two"), "2")]);
        assert_eq!((within.files[0].new_text.as_deref(), &within.files[0].patch), (Some("one\n2\n"), &None));
        let apart = changes_of(&[
            edit("1", "completed", "/w/a", Some("one\n"), "1\n"),
            edit("2", "completed", "/w/a", Some("two\n"), "2\n"),
            edit("3", "completed", "/w/a", Some("1\n"), "I\n"),
        ]);
        let patch = "--- a/a\n+++ b/a\n@@ -1 +1 @@\n-two\n+2\n";
        assert_eq!((apart.files[0].new_text.as_deref(), apart.files[0].patch.as_deref()), (Some("I\n"), Some(patch)));
    }

    #[test]
    fn a_command_makes_it_incomplete_and_a_pending_one_does_not() {
        let run = |status| json!({ "sessionUpdate": "tool_call", "toolCallId": "x", "kind": "execute", "status": status });
        assert!(changes_of(&[run("pending")]).complete);
        assert!(!changes_of(&[run("completed")]).complete);
    }

    #[test]
    fn an_edit_that_does_not_say_what_it_changed_makes_it_incomplete() {
        let edit = |status| json!({ "sessionUpdate": "tool_call", "toolCallId": "x", "kind": "edit", "status": status });
        assert!(!changes_of(&[edit("completed")]).complete);
        assert!(changes_of(&[edit("failed")]).complete);
    }

    #[test]
    fn spellings_of_a_path_are_one_file() {
        let spellings = ["src/a", "./src/a", "/w/src/a", "/w/./x/../src/a", "file:///w/src/%61", "file://localhost/w/src/a"];
        let edits: Vec<Value> = (0..)
            .zip(spellings)
            .map(|(n, path)| edit(&n.to_string(), "completed", path, Some(&n.to_string()), &(n + 1).to_string()))
            .collect();
        let changes = changes_of(&edits);
        assert_eq!((changes.files.len(), changes.files[0].path.as_str()), (1, "/w/src/a"));
        assert_eq!((changes.files[0].old_text.as_deref(), changes.files[0].new_text.as_deref()), (Some("0"), Some("6")));
    }

    #[test]
    fn a_file_that_goes_and_comes_again_is_changed_and_one_that_came_and_went_is_not() {
        let delete = |id: &str, path: &str, old: &str| {
            let diff = json!({ "type": "diff", "path": path, "oldText": old, "newText": null });
            json!({ "sessionUpdate": "tool_call", "toolCallId": id, "kind": "edit", "status": "completed", "content": [diff] })
        };
        let changes = changes_of(&[
            delete("1", "/w/again", "old\n"),
            edit("2", "completed", "/w/again", None, "new\n"),
            edit("3", "completed", "/w/brief", None, "x\n"),
            delete("4", "/w/brief", "x\n"),
            delete("5", "/w/gone", "y\n"),
        ]);
        let files: Vec<(&str, ChangeKind, Option<&str>)> =
            changes.files.iter().map(|file| (file.path.as_str(), file.kind, file.new_text.as_deref())).collect();
        assert_eq!(files, [("/w/again", ChangeKind::Modify, Some("new\n")), ("/w/gone", ChangeKind::Delete, None)]);
    }

    #[test]
    fn path_and_kind_are_listed_without_texts() {
        let block = |path: &str, kind: &str| json!({ "type": "diff", "path": path, "newText": "", "_meta": { "kind": kind, "loomd/omitted": true } });
        let content = [block("/w/a", "add"), block("b", "delete"), block("c", "modify")];
        let changes = changes_of(&[
            json!({ "sessionUpdate": "tool_call", "toolCallId": "1", "kind": "edit", "status": "completed", "content": content }),
            json!({ "sessionUpdate": "tool_call", "toolCallId": "2", "kind": "edit", "status": "completed", "locations": [{ "path": "/w/d" }] }),
        ]);
        let files: Vec<(&str, ChangeKind)> = changes.files.iter().map(|file| (file.path.as_str(), file.kind)).collect();
        assert_eq!(
            files,
            [("/w/a", ChangeKind::Add), ("/w/b", ChangeKind::Delete), ("/w/c", ChangeKind::Modify), ("/w/d", ChangeKind::Modify)]
        );
        assert!(!changes.complete && changes.files.iter().all(|file| file.new_text.is_none()));
    }

    #[test]
    fn a_patch_of_several_files_is_split_by_file() {
        let patch = "diff --git a/new.txt b/new.txt\nnew file mode 100644\n--- /dev/null\n+++ b/new.txt\n@@ -0,0 +1 @@\n+one\n--- a/old.rs\n+++ b/old.rs\n@@ -1,2 +1 @@\n--- a line that was removed\n+x\ndiff --git a/x b/y\nrename from x\nrename to y\n";
        let update = json!({ "sessionUpdate": "tool_call", "toolCallId": "1", "kind": "edit", "status": "completed", "_meta": { "loomd/patch": patch } });
        let files: Vec<(String, ChangeKind)> = changes_of(&[update]).files.into_iter().map(|file| (file.path, file.kind)).collect();
        let expected = [("/w/new.txt", ChangeKind::Add), ("/w/old.rs", ChangeKind::Modify), ("/w/y", ChangeKind::Move)];
        assert_eq!(files, expected.map(|(path, kind)| (path.to_owned(), kind)));
    }
}
