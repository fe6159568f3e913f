//! What is looked for: a text or a regular expression, compiled once for a whole search.

use std::ops::{ControlFlow, Range};

use grep_matcher::{LineMatchKind, Matcher};
use grep_regex::{RegexMatcher, RegexMatcherBuilder};

use super::expression;

/// Most bytes of a query.
const QUERY_MAX: usize = 4 << 10;
/// Most bytes that a compiled expression may take, and what its matching may keep while it works.
const COMPILED_MAX: usize = 2 << 20;

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
    /// What can be told of a query at once. Fails with a sentence for whoever wrote it.
    pub fn check(query: &str, is_regex: bool) -> Result<(), String> {
        if query.is_empty() {
            return Err("`query` is empty; say what to look for".to_owned());
        }
        if !is_regex && query.contains(['\n', '\r']) {
            return Err("`query` has a line break in it; the search goes line by line, so look for one of its lines".to_owned());
        }
        if query.len() > QUERY_MAX {
            return Err(format!("`query` has {} bytes and must not have more than {QUERY_MAX}; look for a part of it", query.len()));
        }
        Ok(())
    }

    /// Compiles it, which may take a part of a second. Fails with a sentence for whoever wrote the query.
    pub fn new(query: &str, is_regex: bool, ignore_case: bool) -> Result<Self, String> {
        Self::check(query, is_regex)?;
        // A matcher puts it into a group, which it must neither close nor leave open.
        let query = if is_regex { expression::read(query, ignore_case)? } else { query.to_owned() };
        let matcher = RegexMatcherBuilder::new()
            .fixed_strings(!is_regex)
            .case_insensitive(ignore_case)
            .multi_line(true)
            // Line feeds end lines; `^`, `$` and `.` stop at a carriage return as well.
            .crlf(true)
            .size_limit(COMPILED_MAX)
            .dfa_size_limit(COMPILED_MAX)
            .build(&query);
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
    if reason.contains("size limit") {
        return expression::too_large();
    }
    expression::refusal(&reason)
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
    fn an_expression_stands_by_itself() {
        let spaced = Pattern::new("(?x)nee dle [\\ ] #c", true, false).expect("a comment");
        assert_eq!(lines(&spaced, "a needle \nneedles\n"), [("a needle ".into(), 2)]);
        let either = Pattern::new("a#|^b\\#$", true, false).expect("fine");
        assert_eq!(lines(&either, "xa#\nb#\nb#b\n").len(), 2);
        let end = Pattern::new("$", true, false).expect("fine");
        assert_eq!(lines(&end, "one\ntwo"), [("one".into(), 3), ("two".into(), 7)]);
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
        for large in [r"(\w{1000}){1000}", &r"\w".repeat(2000), &r"[\d]".repeat(800)] {
            assert!(refused(large, true).contains("too large"), "{large}");
        }
        assert!(refused(r"\", true).contains("lone"));
        assert!(refused(r"a\\\", true).contains("lone"));
        assert!(refused("needle)(?:", true).contains("unopened group"));
        for anchored in [r"a\z", r"\Aa", "(?-m)^a", "(?-m:a$)"] {
            assert!(refused(anchored, true).contains("use `^` and `$`"), "{anchored}");
        }
        for is_regex in [false, true] {
            assert!(refused(&"x".repeat(4097), is_regex).contains("4096"));
            Pattern::new(&"x".repeat(4096), is_regex, true).expect("not too long");
        }
        Pattern::new(r"\w{20}q", true, true).expect("not too large");
        Pattern::new("(a", false, false).expect("a text");
        Pattern::new(r"\s+$", true, true).expect("classes leave line breaks out");
    }
}
