//! The pattern of a search: a text or a regular expression, compiled once for all its pages' runs.

use std::ops::{ControlFlow, Range};

use grep_matcher::{LineMatchKind, Matcher};
use grep_regex::{RegexMatcher, RegexMatcherBuilder};
use regex_syntax::{
    ast::{self, Ast, ClassSetItem, Visitor},
    hir::translate::TranslatorBuilder,
};

/// Longest query, in bytes.
const MAX_QUERY_BYTES: usize = 4 << 10;
/// Most bytes that a compiled expression may take, and most bytes of the automaton that is built while it matches.
const MAX_COMPILED_BYTES: usize = 2 << 20;
/// How deep groups may be nested.
const MAX_NESTING: u32 = 100;
/// Most classes that are tables of Unicode, such as `\w`: each takes some KiB as soon as the expression is translated.
const MAX_UNICODE_TABLES: usize = 200;

/// Why a query cannot be searched for, as a sentence for whoever wrote it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PatternError {
    #[error("the search text is empty; give a text to search for")]
    Empty,
    #[error("the search text has a line break; the search goes line by line, so search for one of the lines")]
    LineBreak,
    #[error("the search text has {0} bytes, but at most {MAX_QUERY_BYTES} are allowed; search for a part of it")]
    TooLong(usize),
    #[error("the expression can only match a line break; the search goes line by line, so leave `\\n` and `\\r` out")]
    OnlyLineBreak,
    #[error("the expression is too large when it is compiled; use fewer repetitions, or `[a-z]` instead of a Unicode class such as `\\w`")]
    TooLarge,
    #[error("the expression ends with a lone `\\`; write `\\\\` to search for a backslash")]
    LoneBackslash,
    #[error("the expression asks for the ends of a text, with `\\A`, `\\z` or `(?-m)`; the search goes line by line, so use `^` and `$`")]
    TextAnchor,
    #[error("the query is not a regular expression: {0}; fix it, or search for the literal text")]
    Syntax(String),
}

/// A compiled query.
#[derive(Debug)]
pub(crate) struct Pattern {
    matcher: RegexMatcher,
}

/// A line with a match, as indexes into the text that was searched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PatternMatch {
    /// The line without its line feed.
    pub(crate) line: Range<usize>,
    pub(crate) start: usize,
}

impl Pattern {
    /// Checks a query without compiling it.
    pub(crate) fn check(query: &str, is_regex: bool) -> Result<(), PatternError> {
        if query.is_empty() {
            return Err(PatternError::Empty);
        }
        if !is_regex && query.contains(['\n', '\r']) {
            return Err(PatternError::LineBreak);
        }
        if query.len() > MAX_QUERY_BYTES {
            return Err(PatternError::TooLong(query.len()));
        }
        Ok(())
    }

    /// Compiles a query, which may take a part of a second.
    pub(crate) fn new(query: &str, is_regex: bool, ignore_case: bool) -> Result<Self, PatternError> {
        Self::check(query, is_regex)?;
        // The builder puts the query into a group, which the query must neither close nor leave open.
        let query = if is_regex { normalize(query, ignore_case)? } else { query.to_owned() };
        let matcher = RegexMatcherBuilder::new()
            .fixed_strings(!is_regex)
            .case_insensitive(ignore_case)
            .multi_line(true)
            // Line feeds end lines; `^`, `$` and `.` stop at a carriage return as well.
            .crlf(true)
            .size_limit(MAX_COMPILED_BYTES)
            .dfa_size_limit(MAX_COMPILED_BYTES)
            .build(&query);
        matcher.map(|matcher| Self { matcher }).map_err(|error| compile_refusal(&error.to_string()))
    }

    /// Gives the first match of each line of `text` to `visit`, in order. `context`: the first byte only says what
    /// precedes the second one, and is not searched itself.
    pub(crate) fn each_line(&self, text: &[u8], context: bool, mut visit: impl FnMut(PatternMatch) -> ControlFlow<()>) {
        let mut at = 0;
        if context && !text.is_empty() {
            let end = memchr::memchr(b'\n', text).unwrap_or(text.len());
            if let Ok(Some(found)) = self.matcher.find_at(&text[..end], 1.min(end))
                && visit(PatternMatch { line: 1.min(end)..end, start: found.start() }).is_break()
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
                // There is no line after the last line feed.
                return;
            }
            let end = memchr::memchr(b'\n', &text[candidate..]).map_or(text.len(), |feed| candidate + feed);
            let line = &text[start..end];
            // A carriage return before the line feed belongs to the line break and not to the line.
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if let Some(found) = self.first(line)
                && visit(PatternMatch { line: start..start + line.len(), start: start + found }).is_break()
            {
                return;
            }
            at = end + 1;
        }
    }

    /// Where the first match in a line begins.
    pub(crate) fn first(&self, line: &[u8]) -> Option<usize> {
        self.matcher.find(line).ok().flatten().map(|found| found.start())
    }
}

/// The reason among the several lines in which the builder refuses a regular expression.
fn compile_refusal(report: &str) -> PatternError {
    let reason = report.rsplit_once("error: ").map_or(report, |(_, reason)| reason).trim();
    let reason = reason.lines().next().unwrap_or_default();
    if reason.contains("not allowed in a regex") {
        return PatternError::OnlyLineBreak;
    }
    if reason.contains("size limit") {
        return PatternError::TooLarge;
    }
    PatternError::Syntax(reason.to_owned())
}

/// The expression without comments and the spaces of `(?x)`, so that it can be put into a group. Refuses what the
/// search does not support before anything is compiled.
fn normalize(query: &str, ignore_case: bool) -> Result<String, PatternError> {
    let ast = ast::parse::ParserBuilder::new().nest_limit(MAX_NESTING).build().parse(query).map_err(|error| match error.kind() {
        ast::ErrorKind::EscapeUnexpectedEof => PatternError::LoneBackslash,
        kind => PatternError::Syntax(kind.to_string()),
    })?;
    ast::visit(&ast, UnicodeTableCounter(0)).map_err(|()| PatternError::TooLarge)?;
    // The options are those with which `RegexMatcherBuilder` compiles it.
    let mut translator = TranslatorBuilder::new().utf8(false).case_insensitive(ignore_case).multi_line(true).crlf(true).build();
    let hir = translator.translate(query, &ast).map_err(|error| PatternError::Syntax(error.kind().to_string()))?;
    if hir.properties().look_set().contains_anchor_haystack() {
        return Err(PatternError::TextAnchor);
    }
    Ok(ast.to_string())
}

/// Counts classes that are tables of Unicode, and fails if there are too many.
struct UnicodeTableCounter(usize);

impl UnicodeTableCounter {
    fn count(&mut self, is_table: bool) -> Result<(), ()> {
        self.0 += usize::from(is_table);
        if self.0 > MAX_UNICODE_TABLES { Err(()) } else { Ok(()) }
    }
}

impl Visitor for UnicodeTableCounter {
    type Output = ();
    type Err = ();

    fn finish(self) -> Result<(), ()> {
        Ok(())
    }

    fn visit_pre(&mut self, ast: &Ast) -> Result<(), ()> {
        self.count(matches!(ast, Ast::ClassUnicode(_) | Ast::ClassPerl(_)))
    }

    fn visit_class_set_item_pre(&mut self, item: &ClassSetItem) -> Result<(), ()> {
        self.count(matches!(item, ClassSetItem::Unicode(_) | ClassSetItem::Perl(_)))
    }
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
    fn a_bad_query_is_refused_in_a_sentence() {
        let refused = |query: &str, is_regex| Pattern::new(query, is_regex, false).expect_err(query).to_string();
        assert_eq!(refused("(a", true), "the query is not a regular expression: unclosed group; fix it, or search for the literal text");
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
