//! Text from agents and programs on the page: messages as prose, everything else as [`Visible`] text. None of it becomes a tag, or
//! an address that loads by itself.

use maud::{PreEscaped, Render};
use pulldown_cmark::{Alignment, CodeBlockKind, CowStr, Event, HeadingLevel, Options, Parser, Tag, TagEnd};

use crate::export::summary::{is_unsafe_char, may_be_unsafe_char};

/// Text between tags or in an attribute, whose invisible characters are marked. Line feeds and tabs stay.
pub(crate) struct Visible<S>(pub(crate) S);

impl<S: AsRef<str>> Render for Visible<S> {
    fn render_to(&self, out: &mut String) {
        push(out, self.0.as_ref());
    }
}

/// Appends text as [`Visible`] does.
pub(crate) fn push(out: &mut String, text: &str) {
    let mut rest = text;
    loop {
        let end = rest.bytes().position(|byte| may_be_unsafe_char(byte) || matches!(byte, b'&' | b'<' | b'>' | b'"' | b'\''));
        let (plain, special) = rest.split_at(end.unwrap_or(rest.len()));
        out.push_str(plain);
        let Some(c) = special.chars().next() else { return };
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(c),
            '\r' => {}
            c if is_unsafe_char(c) => out.push('␣'),
            c => out.push(c),
        }
        rest = &special[c.len_utf8()..];
    }
}

/// A message, which is Markdown, as HTML: its own HTML is shown as text, only links to the web and to people are links, images are links too.
pub(crate) fn prose(message: &str) -> PreEscaped<String> {
    let message: String =
        message.chars().filter(|c| *c != '\r').map(|c| if is_unsafe_char(c) && !matches!(c, '\n' | '\t') { '␣' } else { c }).collect();
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS;
    let mut out = String::with_capacity(message.len() * 3 / 2);
    pulldown_cmark::html::push_html(&mut out, Parser::new_ext(&message, options).map(Sanitized::default().maker()));
    PreEscaped(out)
}

/// The elements that are open.
#[derive(Default)]
struct Sanitized {
    /// Links and images: whether each became a link.
    links: Vec<bool>,
}

impl Sanitized {
    fn maker<'a>(mut self) -> impl FnMut(Event<'a>) -> Event<'a> {
        move |event| self.event(event)
    }

    fn event<'a>(&mut self, event: Event<'a>) -> Event<'a> {
        let html = |text: String| Event::InlineHtml(CowStr::from(text));
        match event {
            Event::Html(html) | Event::InlineHtml(html) => Event::Text(html),
            Event::Start(Tag::Heading { level, .. }) => {
                let level = deeper(level);
                Event::Start(Tag::Heading { level, id: None, classes: Vec::new(), attrs: Vec::new() })
            }
            Event::End(TagEnd::Heading(level)) => Event::End(TagEnd::Heading(deeper(level))),
            Event::Start(Tag::HtmlBlock) => Event::Start(Tag::Paragraph),
            Event::End(TagEnd::HtmlBlock) => Event::End(TagEnd::Paragraph),
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(language))) => {
                // The language becomes a class, and no class of it may be one of the page's.
                let is_word = !language.is_empty() && language.chars().all(|c| c.is_ascii_alphanumeric() || "+-_#.".contains(c));
                Event::Start(Tag::CodeBlock(if is_word { CodeBlockKind::Fenced(language) } else { CodeBlockKind::Indented }))
            }
            Event::Start(Tag::Link { dest_url, .. }) => {
                // A link within a link is none.
                let is_link = is_harmless(&dest_url) && !self.links.contains(&true);
                self.links.push(is_link);
                html(if is_link { open(&dest_url) } else { String::new() })
            }
            Event::Start(Tag::Image { dest_url, .. }) => {
                let is_link = is_harmless(&dest_url) && !self.links.contains(&true);
                self.links.push(is_link);
                html(if is_link { format!("{}[image: ", open(&dest_url)) } else { "[image: ".to_owned() })
            }
            Event::End(TagEnd::Link) => html(if self.links.pop() == Some(true) { "</a>".to_owned() } else { String::new() }),
            Event::End(TagEnd::Image) => html(if self.links.pop() == Some(true) { "]</a>".to_owned() } else { "]".to_owned() }),
            // How columns are aligned would be a style attribute, which the page forbids.
            Event::Start(Tag::Table(columns)) => Event::Start(Tag::Table(vec![Alignment::None; columns.len()])),
            Event::TaskListMarker(is_done) => Event::Text(CowStr::from(if is_done { "☑ " } else { "☐ " })),
            event => event,
        }
    }
}

fn open(address: &str) -> String {
    format!("<a href=\"{}\" rel=\"noopener noreferrer nofollow\">", Visible(address).render().into_string())
}

/// Addresses that only a click follows, and that run nothing.
fn is_harmless(address: &str) -> bool {
    let scheme = address.split_once(':').map(|(scheme, _)| scheme.to_ascii_lowercase());
    matches!(scheme.as_deref(), Some("http" | "https" | "mailto")) && !address.chars().any(|c| c.is_control() || c == '\\')
}

/// Headings of a message stand below those of the page.
fn deeper(level: HeadingLevel) -> HeadingLevel {
    match level {
        HeadingLevel::H1 => HeadingLevel::H3,
        HeadingLevel::H2 => HeadingLevel::H4,
        HeadingLevel::H3 => HeadingLevel::H5,
        _ => HeadingLevel::H6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prose_is_rendered() {
        let PreEscaped(html) = prose("# One\n\na **b** `c<d` [e](https://x.org/?a=1&b=2) <f@x.org>\n\n- [x] done\n");
        assert!(html.contains("<h3>One</h3>") && html.contains("<strong>b</strong>") && html.contains("<code>c&lt;d</code>"), "{html}");
        assert!(html.contains("<a href=\"https://x.org/?a=1&amp;b=2\" rel=\"noopener noreferrer nofollow\">e</a>"), "{html}");
        assert!(html.contains("☑ done") && !html.contains("<input"), "{html}");
    }

    #[test]
    fn nothing_of_a_message_runs_or_loads() {
        let hostile = [
            "<script>alert(1)</script>",
            "<img src=x onerror=alert(1)>",
            "a <svg/onload=alert(1)> b",
            "[x](javascript:alert(1)) [y](JaVaScRiPt:alert(1)) [z](data:text/html,<script>)",
            "[x](vbscript:x) [y](file:///etc/passwd) [r]\n\n[r]: javascript:alert(1)",
            "![i](https://evil.example/track.png) ![j](javascript:x)",
            "<javascript:alert(1)>",
            "[a\" onclick=\"x](https://x.org/\"onmouseover=\"alert(1))",
            "```\"><script>alert(1)</script>\nx\n```",
            "<style>@import url(//evil)</style><link rel=stylesheet href=//evil><meta http-equiv=refresh content=0>",
            "</div></main><iframe src=//evil></iframe><base href=//evil>",
            "# h {onclick=alert(1) #x .y}",
            "[ ![i](https://x.org/i.png) ](https://x.org)",
        ];
        for message in hostile {
            let PreEscaped(html) = prose(message);
            super::super::tests::assert_harmless(&html, message);
        }
    }
}
