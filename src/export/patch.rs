//! What a tool call changed in a file, as a unified patch.

use std::time::Duration;

use serde_json::Value;
use similar::TextDiff;

/// Texts beyond this are told by their number of lines alone.
const LONG: usize = 1 << 20;
/// Comparing takes no longer than this; what it has by then is right, if not as short as it could be.
const PATIENCE: Duration = Duration::from_millis(500);

/// A change of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patch {
    pub path: String,
    what: What,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    Texts { old: Option<String>, new: String },
    Unified(String),
    Large { removed: usize, added: usize },
}

impl Patch {
    /// Of an ACP content block, if it is one.
    pub fn of_block(block: &Value) -> Option<Self> {
        if block["type"] != "diff" {
            return None;
        }
        let old = block["oldText"].as_str();
        let new = block["newText"].as_str().unwrap_or_default();
        let what = if old.map_or(0, str::len) + new.len() > LONG {
            What::Large { removed: old.map_or(0, |old| old.lines().count()), added: new.lines().count() }
        } else {
            What::Texts { old: old.map(str::to_owned), new: new.to_owned() }
        };
        Some(Self { path: block["path"].as_str()?.to_owned(), what })
    }

    /// Of a patch that a provider made.
    pub fn unified(text: &str) -> Self {
        let side = |sign: &str, prefix: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(sign))?;
            Some(line.strip_prefix(prefix).unwrap_or(line)).filter(|path| *path != "/dev/null")
        };
        let path = side("+++ ", "b/").or_else(|| side("--- ", "a/")).unwrap_or("files").to_owned();
        let large = || What::Large { removed: signed(text, '-', "---"), added: signed(text, '+', "+++") };
        let what = if text.len() > LONG { large() } else { What::Unified(text.to_owned()) };
        Self { path, what }
    }

    pub fn is_unified(&self) -> bool {
        matches!(self.what, What::Unified(_))
    }

    pub fn held(&self) -> usize {
        self.path.len()
            + match &self.what {
                What::Texts { old, new } => old.as_ref().map_or(0, String::len) + new.len(),
                What::Unified(text) => text.len(),
                What::Large { .. } => 0,
            }
    }

    /// The patch, or a sentence where it would be too long.
    pub fn text(&self) -> Result<String, String> {
        let path = &self.path;
        match &self.what {
            What::Unified(text) => Ok(text.clone()),
            What::Large { removed, added } => {
                Err(format!("{removed} lines were replaced by {added}; the texts are too long to be compared here"))
            }
            What::Texts { old, new } => {
                let before = old.as_deref().unwrap_or_default();
                let diff = TextDiff::configure().timeout(PATIENCE).diff_lines(before, new.as_str());
                let from = if old.is_some() { path.as_str() } else { "/dev/null" };
                Ok(diff.unified_diff().context_radius(3).missing_newline_hint(false).header(from, path).to_string())
            }
        }
    }
}

/// Lines that came and lines that went, in a patch.
pub fn counts(text: &str) -> (usize, usize) {
    (signed(text, '+', "+++"), signed(text, '-', "---"))
}

fn signed(text: &str, sign: char, head: &str) -> usize {
    text.lines().filter(|line| line.starts_with(sign) && !line.starts_with(head)).count()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_become_a_patch() {
        let block = json!({ "type": "diff", "path": "/w/a", "oldText": "a\nb\n", "newText": "a\nB\n" });
        let text = Patch::of_block(&block).expect("a diff").text().expect("short");
        assert_eq!(text, "--- /w/a\n+++ /w/a\n@@ -1,2 +1,2 @@\n a\n-b\n+B\n");
        assert_eq!(counts(&text), (1, 1));
        let block = json!({ "type": "diff", "path": "/w/a", "newText": "x\n" });
        assert!(Patch::of_block(&block).expect("a diff").text().expect("short").starts_with("--- /dev/null\n+++ /w/a\n"));
        assert!(Patch::of_block(&json!({ "type": "content" })).is_none());
    }

    #[test]
    fn long_texts_are_counted() {
        let block = json!({ "type": "diff", "path": "/w/a", "oldText": "x\n".repeat(LONG), "newText": "y\n" });
        let patch = Patch::of_block(&block).expect("a diff");
        assert!(patch.held() < 100 && patch.text().expect_err("long").starts_with("1048576 lines were replaced by 1;"));
    }
}
