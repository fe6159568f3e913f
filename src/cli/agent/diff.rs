//! Changes of files, for people: how much was changed, and what.

use anstyle::{AnsiColor, Style};
use serde_json::Value;
use similar::{ChangeTag, TextDiff};

use crate::cli::{render::Ink, words};

/// Texts beyond this are counted by their lines alone: comparing them would keep a person waiting.
const LONG: usize = 1 << 20;

/// A change of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diff {
    pub path: String,
    pub what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// `None`: the file is new.
    Texts { old: Option<String>, new: String },
    /// A unified patch.
    Patch(String),
}

impl Diff {
    /// Of an ACP content block, if it is one.
    pub fn of_block(block: &Value) -> Option<Self> {
        if block["type"] != "diff" {
            return None;
        }
        let text = |name: &str| block[name].as_str().map(str::to_owned);
        let what = What::Texts { old: text("oldText"), new: text("newText").unwrap_or_default() };
        Some(Self { path: text("path")?, what })
    }

    /// Lines that came and lines that went.
    pub fn counts(&self) -> (usize, usize) {
        match &self.what {
            What::Texts { old: None, new } => (new.lines().count(), 0),
            What::Texts { old: Some(old), new } if old.len() + new.len() > LONG => (new.lines().count(), old.lines().count()),
            What::Texts { old: Some(old), new } => {
                let diff = TextDiff::from_lines(old, new);
                let count = |tag| diff.iter_all_changes().filter(|change| change.tag() == tag).count();
                (count(ChangeTag::Insert), count(ChangeTag::Delete))
            }
            What::Patch(patch) => {
                let count = |sign: &str, head: &str| patch.lines().filter(|line| line.starts_with(sign) && !line.starts_with(head)).count();
                (count("+", "+++"), count("-", "---"))
            }
        }
    }

    /// `src/a.rs +3 −1`.
    pub fn summary(&self, ink: Ink) -> String {
        let (added, removed) = self.counts();
        Self::line(&self.path, added, removed, ink)
    }

    /// A file and how many lines came and went.
    pub fn line(path: &str, added: usize, removed: usize, ink: Ink) -> String {
        let path = words::plain(path);
        format!("{path} {} {}", ink.paint(ADDED, &format!("+{added}")), ink.paint(REMOVED, &format!("−{removed}")))
    }

    /// As a unified patch, each line behind `margin`.
    pub fn whole(&self, ink: Ink, margin: &str) -> String {
        let path = &self.path;
        let patch = match &self.what {
            What::Patch(patch) => patch.clone(),
            What::Texts { old: None, new } => {
                let lines: String = new.lines().map(|line| format!("+{line}\n")).collect();
                format!("--- /dev/null\n+++ {path}\n{lines}")
            }
            What::Texts { old: Some(old), new } if old.len() + new.len() > LONG => {
                let lines = |sign: char, text: &str| text.lines().map(|line| format!("{sign}{line}\n")).collect::<String>();
                format!("--- {path}\n+++ {path}\n{}{}", lines('-', old), lines('+', new))
            }
            What::Texts { old: Some(old), new } => {
                TextDiff::from_lines(old, new).unified_diff().context_radius(3).missing_newline_hint(false).header(path, path).to_string()
            }
        };
        patch.lines().map(|line| format!("{margin}{}\n", ink.paint(style(line), &words::plain_lines(line)))).collect()
    }
}

const ADDED: Style = AnsiColor::Green.on_default();
const REMOVED: Style = AnsiColor::Red.on_default();

fn style(line: &str) -> Style {
    match line.as_bytes().first() {
        _ if line.starts_with("+++") || line.starts_with("---") || line.starts_with("diff ") => Style::new().bold(),
        Some(b'+') => ADDED,
        Some(b'-') => REMOVED,
        Some(b'@') => AnsiColor::Cyan.on_default(),
        _ => Style::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn diff(old: Option<&str>, new: &str) -> Diff {
        Diff::of_block(&json!({ "type": "diff", "path": "/w/a.rs", "oldText": old, "newText": new })).expect("a diff")
    }

    #[test]
    fn changes_are_counted_by_lines() {
        assert_eq!(diff(Some("a\nb\nc\n"), "a\nB\nc\nd\n").counts(), (2, 1));
        assert_eq!(diff(None, "a\nb").counts(), (2, 0));
        let patch = Diff { path: "x".to_owned(), what: What::Patch("--- a/x\n+++ b/x\n@@ -1 +1,2 @@\n-a\n+b\n+c\n".to_owned()) };
        assert_eq!(patch.counts(), (2, 1));
        assert_eq!(diff(Some("a\n"), "b\n").summary(Ink::default()), "/w/a.rs +1 −1");
    }

    #[test]
    fn a_whole_change_is_a_patch() {
        let expected = "  --- /w/a.rs\n  +++ /w/a.rs\n  @@ -1,2 +1,2 @@\n   a\n  -b\n  +B\n";
        assert_eq!(diff(Some("a\nb\n"), "a\nB\n").whole(Ink::default(), "  "), expected);
        assert_eq!(diff(None, "x\u{1b}[2J\n").whole(Ink::default(), ""), "--- /dev/null\n+++ /w/a.rs\n+x␣[2J\n");
    }
}
