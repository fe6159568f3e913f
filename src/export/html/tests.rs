//! What holds of every page, looked at through a browser's own parser.

use html5ever::{ParseOpts, parse_document, tendril::TendrilSink};
use markup5ever_rcdom::{Handle, NodeData, RcDom};

/// Elements that may stand in a page.
const ELEMENTS: &[&str] = &[
    "html",
    "head",
    "meta",
    "title",
    "style",
    "script",
    "body",
    "a",
    "header",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "dl",
    "dt",
    "dd",
    "nav",
    "form",
    "input",
    "output",
    "button",
    "main",
    "section",
    "div",
    "p",
    "span",
    "code",
    "pre",
    "details",
    "summary",
    "time",
    "ul",
    "ol",
    "li",
    "footer",
    "em",
    "strong",
    "del",
    "blockquote",
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "hr",
    "br",
];
/// Attributes that may, on any of them.
const ATTRIBUTES: &[&str] = &[
    "lang",
    "charset",
    "http-equiv",
    "content",
    "name",
    "nonce",
    "class",
    "href",
    "rel",
    "id",
    "aria-label",
    "aria-live",
    "hidden",
    "role",
    "type",
    "placeholder",
    "autocomplete",
    "data-way",
    "data-t",
    "datetime",
    "title",
    "dir",
    "tabindex",
    "start",
];

/// Checks a whole page: well-formed, and only elements, attributes and addresses of the page's own.
pub(crate) fn check_page(page: &str, nonce: &str, name: &str) {
    let dom = parse_document(RcDom::default(), ParseOpts::default()).one(page);
    assert!(dom.errors.borrow().is_empty(), "{name}: {:?}", dom.errors.borrow());
    let mut seen = ParsedPage::default();
    walk(&dom.document, name, Some(nonce), &mut seen);
    assert_eq!((seen.scripts, seen.policies), (1, 1), "{name}");
}

/// Checks a piece of HTML that was made of somebody's text.
pub(crate) fn assert_harmless(piece: &str, name: &str) {
    let dom = parse_document(RcDom::default(), ParseOpts::default()).one(piece);
    let mut seen = ParsedPage::default();
    walk(&dom.document, name, None, &mut seen);
    assert_eq!((seen.scripts, seen.styles, seen.policies), (0, 0, 0), "{name} became {piece}");
}

#[derive(Default)]
struct ParsedPage {
    scripts: usize,
    styles: usize,
    policies: usize,
}

fn walk(node: &Handle, name: &str, nonce: Option<&str>, seen: &mut ParsedPage) {
    if let NodeData::Element { name: element, attrs, .. } = &node.data {
        let element = element.local.to_string();
        assert!(ELEMENTS.contains(&element.as_str()), "{name}: <{element}>");
        seen.scripts += usize::from(element == "script");
        seen.styles += usize::from(element == "style");
        for attribute in attrs.borrow().iter() {
            let (key, value) = (attribute.name.local.to_string(), attribute.value.to_string());
            assert!(ATTRIBUTES.contains(&key.as_str()), "{name}: <{element} {key}={value:?}>");
            let is_harmless = match key.as_str() {
                "href" => {
                    ["http://", "https://", "mailto:", "#main"].iter().any(|start| value.to_ascii_lowercase().starts_with(start))
                        && element == "a"
                }
                "nonce" => nonce == Some(value.as_str()) && matches!(element.as_str(), "style" | "script"),
                "http-equiv" => {
                    seen.policies += 1;
                    value == "Content-Security-Policy"
                }
                _ => true,
            };
            assert!(is_harmless, "{name}: <{element} {key}={value:?}>");
        }
        if matches!(element.as_str(), "script" | "style") {
            let has_nonce = attrs.borrow().iter().any(|attribute| &*attribute.name.local == "nonce");
            assert!(has_nonce, "{name}: a {element} of somebody else's");
        }
    }
    node.children.borrow().iter().for_each(|child| walk(child, name, nonce, seen));
}
