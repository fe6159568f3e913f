//! Text of others in a page of Markdown, where it must stay in its place.

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

/// Rounds of escaping what an earlier round uncovered.
const ROUNDS: usize = 4;

/// A message as Markdown that ends where it ends: no HTML of its own, no fence left open. One that cannot be held is fenced whole.
pub fn contained(message: &str) -> String {
    let mut text = message.trim_matches(['\n', '\r']).to_owned();
    for _ in 0..ROUNDS {
        let html = html_ranges(&text);
        if html.is_empty() {
            break;
        }
        for range in html.into_iter().rev() {
            let escaped = text[range.clone()].replace('&', "&amp;").replace('<', "&lt;");
            text.replace_range(range, &escaped);
        }
    }
    if !html_ranges(&text).is_empty() {
        return fenced(message, "text");
    }
    if ends(&text) {
        return text;
    }
    let closed = open_fence(&text).map(|fence| format!("{text}\n{fence}"));
    match closed {
        Some(closed) if ends(&closed) => closed,
        _ => fenced(message, "text"),
    }
}

fn html_ranges(text: &str) -> Vec<std::ops::Range<usize>> {
    let events = Parser::new_ext(text, options()).into_offset_iter();
    events.filter(|(event, _)| matches!(event, Event::Html(_) | Event::InlineHtml(_))).map(|(_, range)| range).collect()
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

pub fn options() -> Options {
    Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS
}

/// Text in a fence that nothing in it closes.
pub fn fenced(text: &str, language: &str) -> String {
    let text = super::super::facts::plain_lines(text);
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    let end = if text.ends_with('\n') { "" } else { "\n" };
    format!("{fence}{language}\n{text}{end}{fence}\n")
}

/// Text as code in a line.
pub fn code(text: &str) -> String {
    let text = super::super::facts::plain(text);
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let ticks = "`".repeat(longest + 1);
    let room = if text.starts_with('`') || text.ends_with('`') || text.trim().is_empty() { " " } else { "" };
    format!("{ticks}{room}{text}{room}{ticks}")
}

/// Text in a line, as it stands.
pub fn inline(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.replace(['\n', '\r', '\t'], " ").chars() {
        if super::super::facts::is_order(c) {
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
pub fn html(text: &str) -> String {
    let text = super::super::facts::plain(&text.replace(['\n', '\r', '\t'], " "));
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_fence_is_closed() {
        for text in ["```rust\nfn a() {}", "~~~~\n```\n", "a\n\n   ```\nx", "> ```\n> x\n\n```"] {
            let held = contained(text);
            assert!(ends(&held), "{held}");
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
            let held = contained(text);
            assert!(html_ranges(&held).is_empty() && ends(&held), "{text:?} became {held:?}");
        }
        assert_eq!(contained("`<b>` and\n\n```\n<i>\n```"), "`<b>` and\n\n```\n<i>\n```", "code stays code");
    }

    #[test]
    fn a_fence_is_longer_than_what_is_in_it() {
        assert_eq!(fenced("a\n````\nb", "text"), "`````text\na\n````\nb\n`````\n");
        assert_eq!(code("a`b"), "``a`b``");
        assert_eq!(inline("a_b <c>\n#1"), "a\\_b \\<c\\> \\#1");
    }

    proptest::proptest! {
        #[test]
        fn whatever_a_message_is_it_ends(text in "[`~<>!\\-\\[\\]a-c#*_ \n\t&;:/()|=+0-9\"'\\\\?]{0,80}") {
            let held = contained(&text);
            proptest::prop_assert!(ends(&held), "{text:?} became {held:?}");
            proptest::prop_assert!(html_ranges(&held).is_empty(), "{text:?} became {held:?}");
        }
    }
}
