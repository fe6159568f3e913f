//! Escapes text from agents and programs for a page of Markdown, so that it cannot change what stands around it, loads
//! nothing, leads only to the web or to mail, and notifies nobody.

use std::ops::Range;

use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};

/// Escaping may uncover other markup, which another round escapes; after so many rounds the text is fenced.
const MAX_ESCAPE_ROUNDS: usize = 8;
/// The headings of the page itself are this deep; those in a message stand below.
const PAGE_HEADING_DEPTH: usize = 3;
/// What links may begin with.
const LINK_SCHEMES: [&str; 3] = ["http://", "https://", "mailto:"];
/// Stands behind a sign that would make a reference of what follows it. A forge looks for references in what is shown, so no
/// escape of Markdown's helps.
const BREAK: &str = "\u{200b}";

/// A part of a text, and what replaces it.
type Edit = (Range<usize>, String);

/// A message as Markdown that ends where it ends: no HTML of its own, no picture, no fence left open. One that cannot be escaped is
/// fenced whole.
pub(crate) fn contained(message: &str) -> String {
    let mut text = message.trim_matches(['\n', '\r']).to_owned();
    for _ in 0..MAX_ESCAPE_ROUNDS {
        let edits = unsafe_parts(&text);
        if edits.is_empty() {
            break;
        }
        text = edited(&text, edits);
    }
    text = edited(&text, high_headings(&text));
    text = edited(&text, references(&text));
    if !is_contained(&text)
        && let Some(fence) = open_fence(&text)
    {
        text = format!("{text}\n{fence}");
    }
    if is_contained(&text) { text } else { fenced(message, "text") }
}

/// A message as [`contained`] in a quote.
pub(crate) fn quoted(message: &str) -> String {
    let quote = |text: &str| text.lines().map(|line| format!("> {line}").trim_end().to_owned()).collect::<Vec<_>>().join("\n");
    let text = quote(&contained(message));
    // A quote is another place, where a text may mean something else.
    if is_contained(&text) { text } else { quote(&fenced(message, "text")) }
}

/// Whether a text does nothing on a page but stand there.
fn is_contained(text: &str) -> bool {
    ends(text) && unsafe_parts(text).is_empty() && high_headings(text).is_empty()
}

/// The text with its parts replaced, in one pass. Of parts that overlap, the first counts.
fn edited(text: &str, mut edits: Vec<Edit>) -> String {
    edits.sort_by_key(|(range, _)| range.start);
    let (mut out, mut at) = (String::with_capacity(text.len()), 0);
    for (range, replacement) in edits.into_iter().filter(|(range, _)| range.end <= text.len()) {
        if range.start >= at {
            out.push_str(&text[at..range.start]);
            out.push_str(&replacement);
            at = range.end;
        }
    }
    out.push_str(&text[at..]);
    out
}

/// What may not stay as it is: `<` outside of code, pictures, definitions of links, and links to anything but the web and mail.
fn unsafe_parts(text: &str) -> Vec<Edit> {
    let parser = Parser::new_ext(text, options()).into_offset_iter();
    let mut edits: Vec<Edit> =
        parser.reference_definitions().iter().map(|(_, definition)| insertion(definition.span.start, "\\")).collect();
    let mut code = Vec::new();
    for (event, range) in parser {
        match event {
            Event::Code(_) | Event::Start(Tag::CodeBlock(_)) => code.push(range),
            Event::Start(Tag::Image { .. }) if text[range.start..].starts_with('!') => {
                edits.push((range.start..range.start + 1, String::new()))
            }
            Event::Start(Tag::Link { dest_url, .. }) => {
                let scheme = dest_url.trim_start().to_ascii_lowercase();
                if !LINK_SCHEMES.iter().any(|known| scheme.starts_with(known)) && text[range.start..].starts_with('[') {
                    edits.push(insertion(range.start, "\\"));
                }
            }
            _ => {}
        }
    }
    edits.extend(angle_brackets(text, &code));
    edits
}

/// Each `<` outside of code that no backslash escapes.
fn angle_brackets(text: &str, code: &[Range<usize>]) -> Vec<Edit> {
    let mut code = code.iter().peekable();
    let mut edits = Vec::new();
    let mut backslashes = 0;
    for (at, byte) in text.bytes().enumerate() {
        while code.peek().is_some_and(|range| range.end <= at) {
            code.next();
        }
        if byte == b'<' && backslashes % 2 == 0 && code.peek().is_none_or(|range| !range.contains(&at)) {
            edits.push((at..at + 1, "&lt;".to_owned()));
        }
        backslashes = if byte == b'\\' { backslashes + 1 } else { 0 };
    }
    edits
}

/// Headings that do not stand below the page's own. One that is underlined becomes a text with a line of signs below.
fn high_headings(text: &str) -> Vec<Edit> {
    let mut edits = Vec::new();
    for (event, range) in Parser::new_ext(text, options()).into_offset_iter() {
        let Event::Start(Tag::Heading { level, .. }) = event else { continue };
        if level as usize > PAGE_HEADING_DEPTH {
            continue;
        }
        let heading = &text[range.clone()];
        if heading.starts_with('#') {
            let deeper = (level as usize + PAGE_HEADING_DEPTH).min(HeadingLevel::H6 as usize);
            edits.push(insertion(range.start, &"#".repeat(deeper - level as usize)));
        } else {
            let line = heading.trim_end().rfind('\n').map_or(0, |at| at + 1);
            let sign = heading[line..].find(['=', '-']).unwrap_or(0);
            edits.push(insertion(range.start + line + sign, "\\"));
        }
    }
    edits
}

/// Where a reference would begin in what is shown of a text.
fn references(text: &str) -> Vec<Edit> {
    let mut edits = Vec::new();
    let mut in_code_block = false;
    for (event, range) in Parser::new_ext(text, options()).into_offset_iter() {
        match event {
            Event::Start(Tag::CodeBlock(_)) => in_code_block = true,
            Event::End(TagEnd::CodeBlock) => in_code_block = false,
            Event::Text(shown) if !in_code_block => {
                // What stands behind it may be shown in one with it.
                let next = text[range.end..].chars().next().filter(|next| next.is_alphanumeric() || matches!(next, '&' | '\\'));
                if text[range.clone()] == *shown {
                    edits.extend(reference_breaks(&shown, next.map(|_| '0')).into_iter().map(|at| insertion(range.start + at, BREAK)));
                } else if shown.ends_with(['@', '#', '-']) && next.is_some() {
                    edits.push(insertion(range.end, BREAK));
                }
            }
            _ => {}
        }
    }
    edits
}

/// The places in a shown text behind which a name or number would be a reference: `@name`, `#1`, `GH-1`. `next`: what follows it.
fn reference_breaks(shown: &str, next: Option<char>) -> Vec<usize> {
    let mut places = Vec::new();
    let mut before = [' '; 3];
    let mut chars = shown.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let follows = chars.peek().map(|(_, c)| *c).or(next);
        let is_sign = match c {
            '@' => !before[2].is_alphanumeric() && follows.is_some_and(char::is_alphanumeric),
            '#' => follows.is_some_and(char::is_numeric),
            '-' => matches!(before, [first, 'g' | 'G', 'h' | 'H'] if !first.is_alphanumeric()) && follows.is_some_and(char::is_numeric),
            _ => false,
        };
        if is_sign {
            places.push(at + c.len_utf8());
        }
        before = [before[1], before[2], c];
    }
    places
}

/// A text in which nothing is a reference.
fn without_references(text: &str) -> String {
    edited(text, reference_breaks(text, None).into_iter().map(|at| insertion(at, BREAK)).collect())
}

fn insertion(at: usize, text: &str) -> Edit {
    (at..at, text.to_owned())
}

/// Whether a heading that follows is one of the page's own.
fn ends(text: &str) -> bool {
    let with = format!("{text}\n\n# end\n");
    let mut depth = 0_usize;
    let mut last = None;
    for event in Parser::new_ext(&with, options()) {
        match event {
            Event::Start(Tag::Heading { .. }) => last = (depth == 0).then(String::new),
            Event::Text(text) => {
                if let Some(last) = &mut last {
                    last.push_str(&text);
                }
            }
            Event::Start(_) => (depth, last) = (depth + 1, None),
            Event::End(TagEnd::Heading(_)) => {}
            Event::End(_) => (depth, last) = (depth.saturating_sub(1), None),
            _ => last = None,
        }
    }
    last.as_deref() == Some("end")
}

/// The fence that is open at the end.
fn open_fence(text: &str) -> Option<String> {
    let mut open: Option<(char, usize)> = None;
    for line in text.lines() {
        let word = line.trim_start_matches(' ');
        if line.len() - word.len() > 3 {
            continue;
        }
        let sign = word.chars().next().filter(|sign| matches!(sign, '`' | '~'));
        let Some(sign) = sign else { continue };
        let length = word.chars().take_while(|c| *c == sign).count();
        let rest = &word[length..];
        match open {
            Some((other, least)) if other == sign && length >= least && rest.trim().is_empty() => open = None,
            None if length >= 3 && !(sign == '`' && rest.contains('`')) => open = Some((sign, length)),
            _ => {}
        }
    }
    open.map(|(sign, length)| sign.to_string().repeat(length))
}

pub(crate) fn options() -> Options {
    Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS
}

/// Text in a fence that nothing in it closes.
pub(crate) fn fenced(text: &str, language: &str) -> String {
    let text = super::super::summary::plain_lines(text);
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    let end = if text.ends_with('\n') { "" } else { "\n" };
    format!("{fence}{language}\n{text}{end}{fence}\n")
}

/// Text as code in a line.
pub(crate) fn code(text: &str) -> String {
    let text = super::super::summary::plain(text);
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let ticks = "`".repeat(longest + 1);
    let space = if text.starts_with('`') || text.ends_with('`') || text.trim().is_empty() { " " } else { "" };
    format!("{ticks}{space}{text}{space}{ticks}")
}

/// Text in a line, as it stands.
pub(crate) fn inline(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in without_references(&text.replace(['\n', '\r', '\t'], " ")).chars() {
        if BREAK.contains(c) {
            out.push(c);
            continue;
        }
        if super::super::summary::is_unsafe_char(c) {
            out.push('␣');
            continue;
        }
        if matches!(c, '\\' | '`' | '*' | '_' | '{' | '}' | '[' | ']' | '<' | '>' | '#' | '|' | '~' | '!' | '&' | '$') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// Text inside of a tag's line.
pub(crate) fn html(text: &str) -> String {
    let text = super::super::summary::plain(&text.replace(['\n', '\r', '\t'], " "));
    let text = without_references(&text);
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_fence_is_closed() {
        for text in ["```rust\nfn a() {}", "~~~~\n```\n", "a\n\n   ```\nx", "> ```\n> x\n\n```"] {
            let escaped = contained(text);
            assert!(ends(&escaped), "{escaped}");
            assert!(!ends(text), "{text} was no case");
        }
    }

    #[test]
    fn html_is_shown_and_does_nothing() {
        for text in [
            "</details>\n\n# out",
            "<!-- never closed",
            "a <img src=x onerror=y> b",
            "<pre>\n```\nx",
            "<script>\n\nalert(1)",
            "<?php",
            "<![CDATA[ x",
        ] {
            let escaped = contained(text);
            assert!(is_contained(&escaped), "{text:?} became {escaped:?}");
        }
        assert_eq!(contained("`<b>` and\n\n```\n<i>\n```"), "`<b>` and\n\n```\n<i>\n```", "code stays code");
    }

    #[test]
    fn a_fence_is_longer_than_what_is_in_it() {
        assert_eq!(fenced("a\n````\nb", "text"), "`````text\na\n````\nb\n`````\n");
        assert_eq!(code("a`b"), "``a`b``");
        assert_eq!(inline("a_b <c>\n#1"), "a\\_b \\<c\\> \\#\u{200b}1");
    }

    #[test]
    fn nothing_is_loaded_and_links_lead_to_the_web_or_to_mail() {
        assert_eq!(contained("![x](https://a.b/c)"), "[x](https://a.b/c)", "a picture becomes a link");
        assert_eq!(contained("[x](https://a.b) [y](mailto:a@b.c)"), "[x](https://a.b) [y](mailto:a@b.c)");
        for text in [
            "[x](javascript:alert(1))",
            "[x](command:workbench.action)",
            "[x](JavaScript&colon;alert(1))",
            "[x](file:///etc/passwd)",
            "[x](../up)",
            "[x][y]\n\n[y]: vscode://a",
            "[y]\n\n[y]: https://evil.example",
            "<javascript:alert(1)>",
            "![a](data:x) !![b](https://b)",
            "[![a](javascript:x)](javascript:y)",
        ] {
            let escaped = contained(text);
            let links = Parser::new_ext(&escaped, options()).filter_map(|event| match event {
                Event::Start(Tag::Link { dest_url, .. }) => Some(dest_url.to_string()),
                Event::Start(Tag::Image { .. }) => Some("a picture".to_owned()),
                _ => None,
            });
            assert!(links.collect::<Vec<_>>().iter().all(|link| link == "https://b"), "{text:?} became {escaped:?}");
        }
        assert_eq!(contained("a < b and `<`"), "a &lt; b and `<`");
    }

    #[test]
    fn headings_stand_below_the_pages_own() {
        assert_eq!(contained("# a\n\n## b\n\n#### c"), "#### a\n\n##### b\n\n#### c");
        for text in ["a\n===", "a\nb\n---", "> a\n> ===", "- a\n  ---"] {
            let escaped = contained(text);
            let has_heading = Parser::new_ext(&escaped, options()).any(|event| matches!(event, Event::Start(Tag::Heading { .. })));
            assert!(!has_heading && is_contained(&escaped), "{text:?} became {escaped:?}");
        }
    }

    #[test]
    fn no_name_and_no_number_is_a_reference() {
        assert_eq!(
            contained("ask @all, see #12, o/r#3, GH-4, a@b.c, C# and `@x #1`"),
            "ask @\u{200b}all, see #\u{200b}12, o/r#\u{200b}3, GH-\u{200b}4, a@b.c, C# and `@x #1`"
        );
        for text in ["\\@all", "&commat;all", "&#64;all", "\\#1", "&num;1", "@&#97;ll"] {
            let mut shown = String::new();
            pulldown_cmark::html::push_html(&mut shown, Parser::new_ext(&contained(text), options()));
            assert!(shown.contains('\u{200b}'), "{text:?} is shown as {shown:?}");
        }
        assert_eq!(inline("@all"), "@\u{200b}all");
        assert!(html("@all").contains('\u{200b}'));
    }

    #[test]
    fn a_long_text_is_parsed_a_few_times_and_copied_once_for_each() {
        // Each edit of a text of many parts is one pass over it.
        let text = "<b>".repeat(20_000);
        let edits = unsafe_parts(&text);
        assert_eq!(edits.len(), 20_000);
        assert_eq!(edited(&text, edits), "&lt;b>".repeat(20_000));
    }

    proptest::proptest! {
        #[test]
        fn whatever_a_message_is_it_ends(text in "[`~<>!\\-\\[\\]a-c#*_ \n\t&;:/()|=+0-9\"'\\\\?@]{0,80}") {
            let escaped = contained(&text);
            proptest::prop_assert!(ends(&escaped), "{text:?} became {escaped:?}");
            proptest::prop_assert!(is_contained(&escaped) && is_contained(&quoted(&text)), "{text:?} became {escaped:?}");
        }
    }
}
