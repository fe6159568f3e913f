//! What is looked for: a text or a regular expression, compiled once for a whole search.

use std::ops::{ControlFlow, Range};

use grep_matcher::{LineMatchKind, Matcher};
use grep_regex::{RegexMatcher, RegexMatcherBuilder};

/// Most bytes that a compiled expression may take, and what its matching may keep while it works.
const COMPILED_MAX: usize = 4 << 20;

/// A compiled query.
#[derive(Debug)]
pub struct Pattern {
    matcher: RegexMatcher,
}

/// A line with a match, both as places in the text that was searched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// The line without its line feed.
    pub line: Range<usize>,
    pub start: usize,
}

impl Pattern {
    /// Fails with a sentence for whoever wrote the query.
    pub fn new(query: &str, is_regex: bool, ignore_case: bool) -> Result<Self, String> {
        if query.is_empty() {
            return Err("`query` is empty; say what to look for".to_owned());
        }
        if !is_regex && query.contains(['\n', '\r']) {
            return Err("`query` has a line break in it; the search goes line by line, so look for one of its lines".to_owned());
        }
        let matcher = RegexMatcherBuilder::new()
            .fixed_strings(!is_regex)
            .case_insensitive(ignore_case)
            .multi_line(true)
            // Line feeds end lines; `^`, `$` and `.` stop at a carriage return as well.
            .crlf(true)
            .size_limit(COMPILED_MAX)
            .dfa_size_limit(COMPILED_MAX)
            .build(query);
        matcher.map(|matcher| Self { matcher }).map_err(|error| refusal(&error.to_string()))
    }

    /// Shows the first match of each line of `text`, in order. `context`: the first byte is there to tell what stands before the
    /// second, and is not searched itself.
    pub fn each_line(&self, text: &[u8], context: bool, mut visit: impl FnMut(Match) -> ControlFlow<()>) {
        let mut at = 0;
        if context && !text.is_empty() {
            let end = memchr::memchr(b'\n', text).unwrap_or(text.len());
            if let Ok(Some(found)) = self.matcher.find_at(&text[..end], 1.min(end))
                && visit(Match { line: 1.min(end)..end, start: found.start() }).is_break()
            {
                return;
            }
            at = end + 1;
        }
        while at < text.len() {
            let candidate = match self.matcher.find_candidate_line(&text[at..]) {
                Ok(Some(LineMatchKind::Confirmed(near) | LineMatchKind::Candidate(near))) => at + near,
                _ => return,
            };
            let start = memchr::memrchr(b'\n', &text[at..candidate]).map_or(at, |feed| at + feed + 1);
            if start == text.len() {
                // Behind the last line feed there is no line.
                return;
            }
            let end = memchr::memchr(b'\n', &text[candidate..]).map_or(text.len(), |feed| candidate + feed);
            let line = &text[start..end];
            // Nothing stands between the two bytes of a line break.
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if let Some(found) = self.first(line)
                && visit(Match { line: start..start + line.len(), start: start + found }).is_break()
            {
                return;
            }
            at = end + 1;
        }
    }

    /// Where the first match in a line begins.
    pub fn first(&self, line: &[u8]) -> Option<usize> {
        self.matcher.find(line).ok().flatten().map(|found| found.start())
    }
}

/// One sentence out of the several lines in which a regular expression is refused.
fn refusal(said: &str) -> String {
    let reason = said.rsplit_once("error: ").map_or(said, |(_, reason)| reason).trim();
    let reason = reason.lines().next().unwrap_or_default();
    if reason.contains("not allowed in a regex") {
        return "`query` can only match a line break; the search goes line by line, so leave `\\n` and `\\r` out".to_owned();
    }
    format!("`query` is not a regular expression: {reason}; mend it, or leave `regex` out to look for the text as it is")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pattern: &Pattern, text: &str) -> Vec<(String, usize)> {
        let mut found = Vec::new();
        pattern.each_line(text.as_bytes(), false, |hit| {
            found.push((text[hit.line.clone()].to_owned(), hit.start));
            ControlFlow::Continue(())
        });
        found
    }

    #[test]
    fn each_line_is_found_once() {
        let pattern = Pattern::new("a", false, false).expect("fine");
        assert_eq!(lines(&pattern, "a a\nb\n\nba\na"), [("a a".into(), 0), ("ba".into(), 8), ("a".into(), 10)]);
        let empty = Pattern::new("^$", true, false).expect("fine");
        assert_eq!(lines(&empty, "\nx\n\n"), [(String::new(), 0), (String::new(), 3)]);
        let all = Pattern::new("x*", true, false).expect("fine");
        assert_eq!(lines(&all, "ab\n\nc\n").len(), 3);
        let end = Pattern::new("b$", true, false).expect("fine");
        assert_eq!(lines(&end, "ab\r\nbx\n10%b\rnext\n"), [("ab".into(), 1), ("10%b\rnext".into(), 10)]);
    }

    #[test]
    fn context_is_not_searched() {
        let mut found = Vec::new();
        let pattern = Pattern::new("^a|ba", true, false).expect("fine");
        pattern.each_line(b"xa ba\na", true, |hit| {
            found.push((hit.line, hit.start));
            ControlFlow::Continue(())
        });
        assert_eq!(found, [(1..5, 3), (6..7, 6)]);
    }

    #[test]
    fn a_bad_query_is_told_in_a_sentence() {
        let refused = |query: &str, is_regex| Pattern::new(query, is_regex, false).expect_err(query);
        assert_eq!(
            refused("(a", true),
            "`query` is not a regular expression: unclosed group; mend it, or leave `regex` out to look for the text as it is"
        );
        assert!(refused("", false).contains("empty"));
        assert!(refused("a\nb", false).contains("line by line"));
        assert!(refused(r"a\nb", true).contains("line by line"));
        assert!(refused(r"(\w{1000}){1000}", true).contains("regular expression"));
        Pattern::new("(a", false, false).expect("a text");
        Pattern::new(r"\s+$", true, true).expect("classes leave line breaks out");
    }
}
