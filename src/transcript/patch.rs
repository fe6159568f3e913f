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

/// A change as a patch that `git apply` and patch(1) take in `directory`, if the texts are those of the whole file. Where
/// they are a part of it, `git apply --unidiff-zero` finds whole lines.
pub(crate) fn applicable(diff: &FileDiff, directory: &str) -> String {
    if let Some(patch) = &diff.patch {
        return with_relative_paths(patch, &diff.path, directory);
    }
    let (old, new) = texts(diff);
    let hunks = if old.len() + new.len() <= MAX_COMPARED_BYTES {
        TextDiff::configure().timeout(COMPARE_TIMEOUT).diff_lines(old, new).unified_diff().context_radius(3).to_string()
    } else {
        replaced(old, new)
    };
    let (from, to) = (name_in("a", &diff.path, directory), name_in("b", &diff.path, directory));
    let name = || quoted(below(&diff.path, directory));
    let is_new = diff.old_text.is_none() && diff.kind != ChangeKind::Delete;
    match (hunks.is_empty(), is_new, diff.kind) {
        // Without a hunk only git's own lines say that an empty file comes or goes.
        (true, true, ChangeKind::Add | ChangeKind::Modify) if diff.new_text.is_some() => {
            format!("diff --git {from} {to}\nnew file mode 100644\n")
        }
        (true, _, ChangeKind::Delete) if diff.old_text.is_some() => format!("diff --git {from} {to}\ndeleted file mode 100644\n"),
        // Not a patch: where it was moved from is not known, or nothing of its text is. `git apply` passes over such lines.
        (true, _, ChangeKind::Move) => format!("moved: {}\n", name()),
        (true, _, ChangeKind::Delete) => format!("deleted: {}\n", name()),
        (true, _, _) => format!("changed: {}\n", name()),
        (_, true, _) => format!("--- /dev/null\n+++ {to}\n{hunks}"),
        (_, _, ChangeKind::Delete) => format!("--- {from}\n+++ /dev/null\n{hunks}"),
        _ => format!("--- {from}\n+++ {to}\n{hunks}"),
    }
}

/// The patch of one file with a header, and with its paths counted from `directory`. `path`: of a patch that names no file.
pub(crate) fn with_relative_paths(patch: &str, path: &str, directory: &str) -> String {
    let (mut text, mut has_header) = (String::with_capacity(patch.len()), false);
    // The lines of the hunk that are still to come, of the old and of the new text: what is in a hunk is no header.
    let (mut old, mut new) = (0_usize, 0_usize);
    for line in patch.split_inclusive('\n') {
        let side = match line.split_once(' ') {
            _ if old > 0 || new > 0 => {
                old = old.saturating_sub(usize::from(line.starts_with(['-', ' ', '\n'])));
                new = new.saturating_sub(usize::from(line.starts_with(['+', ' ', '\n'])));
                None
            }
            Some(("@@", ranges)) => {
                let mut counts = ranges.split(' ').map(|range| range.split_once(',').map_or(Some(1), |(_, count)| count.parse().ok()));
                (old, new) = (counts.next().flatten().unwrap_or(0), counts.next().flatten().unwrap_or(0));
                if !has_header {
                    let (from, to) = (name_in("a", path, directory), name_in("b", path, directory));
                    text.push_str(&format!("--- {from}\n+++ {to}\n"));
                    has_header = true;
                }
                None
            }
            Some(("---", name)) => Some(("a", name)),
            Some(("+++", name)) => Some(("b", name)),
            _ => None,
        };
        has_header |= side.is_some() || line.starts_with("diff --git ");
        match side {
            Some((side, name)) if name.starts_with('/') && name.trim_end() != "/dev/null" => {
                text.push_str(&format!("{} {}\n", &line[..3], name_in(side, name.trim_end_matches(['\r', '\n']), directory)));
            }
            _ => text.push_str(line),
        }
    }
    text
}

/// A path in a header: below `directory` as git writes it, else as it is.
fn name_in(side: &str, path: &str, directory: &str) -> String {
    let path = below(path, directory);
    quoted(&if path.starts_with('/') { path.to_owned() } else { format!("{side}/{path}") })
}

/// A path counted from `directory`, if it is below it.
fn below<'a>(path: &'a str, directory: &str) -> &'a str {
    let rest = path.strip_prefix(directory.trim_end_matches('/')).and_then(|rest| rest.strip_prefix('/'));
    rest.filter(|rest| !rest.is_empty()).unwrap_or(path)
}

/// A name in one line: what would end it is quoted as git does.
fn quoted(name: &str) -> String {
    if !name.contains(|c: char| c.is_ascii_control() || matches!(c, '"' | '\\')) {
        return name.to_owned();
    }
    let escaped = name.chars().map(|c| match c {
        '"' | '\\' => format!("\\{c}"),
        c if c.is_ascii_control() => format!("\\{:03o}", u32::from(c)),
        c => c.to_string(),
    });
    format!("\"{}\"", escaped.collect::<String>())
}

/// One hunk that removes and adds everything.
fn replaced(old: &str, new: &str) -> String {
    let side = |sign: char, text: &str| {
        let lines: String = text.split_inclusive('\n').map(|line| format!("{sign}{line}")).collect();
        if text.is_empty() || text.ends_with('\n') { lines } else { lines + "\n\\ No newline at end of file\n" }
    };
    let range = |text: &str| match text.lines().count() {
        0 => "0,0".to_owned(),
        count => format!("1,{count}"),
    };
    format!("@@ -{} +{} @@\n{}{}", range(old), range(new), side('-', old), side('+', new))
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

    /// Lets git apply a patch to a file `a` of the directory with this text. Returns the text afterwards; `None`: it is gone.
    fn applied(patch: &str, text: Option<&str>, options: &[&str]) -> Option<String> {
        let directory = tempfile::tempdir().expect("a directory");
        if let Some(text) = text {
            std::fs::write(directory.path().join("a"), text).expect("written");
        }
        std::fs::write(directory.path().join("patch"), patch).expect("written");
        let applied =
            std::process::Command::new("git").arg("apply").args(options).arg("patch").current_dir(&directory).output().expect("git runs");
        assert!(applied.status.success(), "{}\n{patch}", String::from_utf8_lossy(&applied.stderr));
        std::fs::read_to_string(directory.path().join("a")).ok()
    }

    #[test]
    fn git_applies_the_patch_of_a_change() {
        let diff = |kind, old: Option<&str>, new: Option<&str>| FileDiff {
            path: "/w/a".to_owned(),
            kind,
            patch: None,
            old_text: old.map(str::to_owned),
            new_text: new.map(str::to_owned),
            omitted: false,
        };
        let (old, long) = ("1\r\n2\n3\n4\n5\n6", "x\n".repeat(MAX_COMPARED_BYTES / 2));
        for (kind, old, new) in [
            (ChangeKind::Modify, Some(old), Some("1\r\n2\n3\n4\n5\n7")),
            (ChangeKind::Modify, Some(old), Some("1\n2\n3\n4\n5\n6\n")),
            (ChangeKind::Modify, Some(""), Some("-- x\n++ y")),
            (ChangeKind::Modify, Some("-- x\n++ y\n"), Some("")),
            (ChangeKind::Modify, Some(long.as_str()), Some("y")),
            (ChangeKind::Modify, Some("y"), Some(long.as_str())),
            (ChangeKind::Add, None, Some("new\u{1b}[2J\n")),
            (ChangeKind::Add, None, Some("")),
            (ChangeKind::Delete, Some("old"), None),
            (ChangeKind::Delete, Some(""), None),
        ] {
            assert_eq!(applied(&applicable(&diff(kind, old, new), "/w"), old, &[]).as_deref(), new);
        }
        let part = applicable(&diff(ChangeKind::Modify, Some("3\n4\n"), Some("three\n")), "/w/");
        assert_eq!(applied(&part, Some("1\n2\n3\n4\n5\n"), &["--unidiff-zero"]).as_deref(), Some("1\n2\nthree\n5\n"));
        let bare = with_relative_paths("@@ -1,2 +1,2 @@\n 1\n-2\n+two\n", "/w/a", "/w");
        assert_eq!(applied(&bare, Some("1\n2\n"), &[]).as_deref(), Some("1\ntwo\n"));
        let absolute = with_relative_paths("--- /w/a\n+++ /w/a\n@@ -1,2 +1,3 @@\n 1\n--- /w/b\n+++ /w/b\n+2\n", "/w/a", "/w");
        assert_eq!(applied(&absolute, Some("1\n-- /w/b\n"), &[]).as_deref(), Some("1\n++ /w/b\n2\n"), "only a header is changed");
    }

    #[test]
    fn a_change_without_a_text_hides_no_other_from_git() {
        let silent = |kind| FileDiff { path: "/w/b".to_owned(), kind, patch: None, old_text: None, new_text: None, omitted: false };
        let patch: String = [ChangeKind::Move, ChangeKind::Modify, ChangeKind::Delete, ChangeKind::Add]
            .map(silent)
            .iter()
            .map(|diff| applicable(diff, "/w"))
            .collect();
        assert_eq!(patch, "moved: b\nchanged: b\ndeleted: b\nchanged: b\n");
        let edit = FileDiff {
            path: "/w/a".to_owned(),
            old_text: Some("1\n".to_owned()),
            new_text: Some("2\n".to_owned()),
            ..silent(ChangeKind::Modify)
        };
        let whole = patch.clone() + &applicable(&edit, "/w") + &patch;
        assert_eq!(applied(&whole, Some("1\n"), &[]).as_deref(), Some("2\n"));
        let odd = FileDiff { path: "/w/x\n\"y\\\t.txt".to_owned(), ..edit };
        assert!(applicable(&odd, "/w").starts_with("--- \"a/x\\012\\\"y\\\\\\011.txt\"\n"), "{}", applicable(&odd, "/w"));
    }

    #[test]
    fn a_path_outside_of_the_directory_stays_absolute() {
        assert_eq!(name_in("a", "/other/x", "/w"), "/other/x");
        assert_eq!(name_in("b", "/work/x", "/w"), "/work/x");
        assert_eq!(name_in("b", "src/x", "/w"), "b/src/x");
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
