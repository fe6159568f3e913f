//! What a tool call changes in files: ACP's diffs and unified patches, file by file, and as text.

use std::time::Duration;

use serde_json::Value;
use similar::TextDiff;

use crate::model::{
    calls::ChangeKind,
    item::{FileDiff, OMITTED_KEY},
};

/// Texts of more bytes are not compared.
const MAX_COMPARED_BYTES: usize = 1 << 20;
/// Texts of more bytes are not compared where the result must not depend on the time that it takes.
const MAX_EXACT_BYTES: usize = 64 << 10;
/// A comparison takes no longer; what it has by then is right, if not as short as it could be.
const COMPARE_TIMEOUT: Duration = Duration::from_millis(500);

/// The change in an ACP content block, if it is one. `tool_kind`: what the call does to its files as a whole.
pub(crate) fn of_block(block: &Value, tool_kind: &str) -> Option<FileDiff> {
    if block["type"] != "diff" {
        return None;
    }
    let text = |name: &str| block[name].as_str().map(str::to_owned);
    let (path, old_text, new_text) = (text("path")?, text("oldText"), text("newText"));
    let omitted = block["_meta"][OMITTED_KEY] == true || (old_text.is_none() && new_text.is_none());
    let kind = match (block["_meta"]["kind"].as_str(), tool_kind) {
        (Some("delete"), _) | (_, "delete") => ChangeKind::Delete,
        (Some("add"), _) => ChangeKind::Add,
        (Some("modify"), _) => ChangeKind::Modify,
        (_, "move") => ChangeKind::Move,
        _ if omitted => ChangeKind::Modify,
        _ if old_text.is_none() => ChangeKind::Add,
        _ if new_text.is_none() => ChangeKind::Delete,
        _ => ChangeKind::Modify,
    };
    let new_text = new_text.filter(|_| kind != ChangeKind::Delete && !omitted);
    Some(FileDiff { path, kind, patch: None, old_text: old_text.filter(|_| !omitted), new_text, omitted })
}

/// The changes in a patch, file by file. `path`: of a patch that names no file.
pub(crate) fn of_patch(patch: &str, path: &str) -> Vec<FileDiff> {
    let mut parts = split(patch);
    if parts.is_empty() && !patch.trim().is_empty() {
        parts.push(FileDiff { path: path.to_owned(), patch: Some(patch.to_owned()), ..unknown_file() });
    }
    parts
}

/// A change as a unified patch; what is too long to be compared, or not here, is an error in words.
pub(crate) fn unified(diff: &FileDiff) -> Result<String, String> {
    if let Some(patch) = &diff.patch {
        return Ok(patch.clone());
    }
    if diff.omitted {
        return Err("the text of the change is not here".to_owned());
    }
    let (old, new) = texts(diff);
    if old.len() + new.len() > MAX_COMPARED_BYTES {
        let (removed, added) = (old.lines().count(), new.lines().count());
        return Err(format!("{removed} lines were replaced by {added}; the texts are too large to compare"));
    }
    let compared = TextDiff::configure().timeout(COMPARE_TIMEOUT).diff_lines(old, new);
    Ok(with_header(diff, &compared.unified_diff().context_radius(3).missing_newline_hint(false).to_string()))
}

/// A change as a patch that depends on nothing but the change: what is too long to be compared is removed and added whole.
pub(crate) fn whole(diff: &FileDiff) -> String {
    if let Some(patch) = &diff.patch {
        return patch.clone();
    }
    let (old, new) = texts(diff);
    if old.len() + new.len() <= MAX_EXACT_BYTES {
        let compared = TextDiff::from_lines(old, new);
        return with_header(diff, &compared.unified_diff().context_radius(3).missing_newline_hint(false).to_string());
    }
    let side = |sign: char, text: &str| text.lines().map(|line| format!("{sign}{line}\n")).collect::<String>();
    with_header(diff, &(side('-', old) + &side('+', new)))
}

/// Lines that a patch adds and removes. A line that is added or removed may itself look like a header, but not like both lines of one
/// before a hunk.
pub(crate) fn counts(patch: &str) -> (usize, usize) {
    let lines: Vec<&str> = patch.lines().collect();
    let starts = |at: usize, with: &str| lines.get(at).is_some_and(|line| line.starts_with(with));
    let is_header = |at: usize| starts(at, "--- ") && starts(at + 1, "+++ ") && (at == 0 || starts(at + 2, "@@"));
    let (mut added, mut removed, mut at) = (0, 0, 0);
    while at < lines.len() {
        if is_header(at) {
            at += 2;
            continue;
        }
        added += usize::from(starts(at, "+"));
        removed += usize::from(starts(at, "-"));
        at += 1;
    }
    (added, removed)
}

fn texts(diff: &FileDiff) -> (&str, &str) {
    (diff.old_text.as_deref().unwrap_or_default(), diff.new_text.as_deref().unwrap_or_default())
}

fn with_header(diff: &FileDiff, hunks: &str) -> String {
    let path = diff.path.as_str();
    let from = if diff.old_text.is_some() { path } else { "/dev/null" };
    let to = if diff.kind == ChangeKind::Delete { "/dev/null" } else { path };
    format!("--- {from}\n+++ {to}\n{hunks}")
}

fn unknown_file() -> FileDiff {
    FileDiff { path: String::new(), kind: ChangeKind::Modify, patch: None, old_text: None, new_text: None, omitted: false }
}

/// The parts of a patch, one a file. What stands before the first header is dropped.
fn split(patch: &str) -> Vec<FileDiff> {
    let mut parts: Vec<(FileDiff, String)> = Vec::new();
    let mut in_header = false;
    let mut lines = patch.split_inclusive('\n').peekable();
    while let Some(line) = lines.next() {
        let word = line.trim_end();
        // A line that begins with `--- ` inside a hunk is a removed one; a header's is followed by `+++ `.
        let is_header = word.starts_with("--- ") && !in_header && lines.peek().is_some_and(|next| next.starts_with("+++ "));
        if word.starts_with("diff --git ") || is_header {
            in_header = true;
            parts.push((unknown_file(), String::new()));
        }
        let Some((part, text)) = parts.last_mut() else { continue };
        text.push_str(line);
        if in_header {
            in_header = read_header(part, word);
        }
    }
    let parts = parts.into_iter().filter(|(part, _)| !part.path.is_empty());
    parts.map(|(part, text)| FileDiff { patch: Some(text), ..part }).collect()
}

/// Takes a line of a file's header. Returns whether the header goes on.
fn read_header(part: &mut FileDiff, line: &str) -> bool {
    match line.split_once(' ') {
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
        Some(("@@", _)) => return false,
        _ => {}
    }
    true
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn block(old: Option<&str>, new: &str) -> FileDiff {
        of_block(&json!({ "type": "diff", "path": "/w/a", "oldText": old, "newText": new }), "edit").expect("a diff")
    }

    #[test]
    fn texts_become_a_patch() {
        let text = unified(&block(Some("a\nb\n"), "a\nB\n")).expect("short");
        assert_eq!(text, "--- /w/a\n+++ /w/a\n@@ -1,2 +1,2 @@\n a\n-b\n+B\n");
        assert_eq!(counts(&text), (1, 1));
        assert!(unified(&block(None, "x\n")).expect("short").starts_with("--- /dev/null\n+++ /w/a\n"));
        assert!(of_block(&json!({ "type": "content" }), "edit").is_none());
    }

    #[test]
    fn lines_that_look_like_headers_are_counted() {
        let patch = "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1,3 +1,3 @@\n a\n--- select\n-- x\n+++ y\n+z\n";
        assert_eq!(counts(patch), (2, 2));
        let two_files = "--- a\n+++ a\n@@ -1 +1 @@\n-x\n+y\n--- b\n+++ b\n@@ -1 +0,0 @@\n-x\n";
        assert_eq!(counts(two_files), (1, 2));
    }

    #[test]
    fn long_texts_are_counted_and_never_left_out_of_a_whole_patch() {
        let diff = block(Some(&"x\n".repeat(MAX_COMPARED_BYTES)), "y\n");
        assert!(unified(&diff).expect_err("long").starts_with("1048576 lines were replaced by 1;"));
        let patch = whole(&diff);
        assert_eq!(counts(&patch), (1, 1 << 20));
    }

    #[test]
    fn a_patch_of_several_files_is_split() {
        let patch = "diff --git a/new.txt b/new.txt\nnew file mode 100644\n--- /dev/null\n+++ b/new.txt\n@@ -0,0 +1 @@\n+one\n--- a/old.rs\n+++ b/old.rs\n@@ -1,2 +1 @@\n--- a line that was removed\n+x\ndiff --git a/x b/y\nrename from x\nrename to y\n";
        let files: Vec<(String, ChangeKind)> = of_patch(patch, "").into_iter().map(|part| (part.path, part.kind)).collect();
        let expected = [("new.txt", ChangeKind::Add), ("old.rs", ChangeKind::Modify), ("y", ChangeKind::Move)];
        assert_eq!(files, expected.map(|(path, kind)| (path.to_owned(), kind)));
    }

    #[test]
    fn a_patch_without_a_header_belongs_to_the_file_of_its_call() {
        let parts = of_patch("@@ -1 +1 @@\n-a\n+b\n", "/w/a");
        assert_eq!((parts[0].path.as_str(), parts.len()), ("/w/a", 1));
    }
}
