//! Looks for matches in some lines of one stream: in what people see of them ([`View`]), and, for a line of JSON of which no text
//! matches, in the line as it was written.

use std::{collections::BTreeSet, ops::ControlFlow};

use serde::de::IgnoredAny;

use super::{pattern::Pattern, view::View};
use crate::store::Bodies;

/// How a piece of a stream begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begin {
    /// With a line.
    Line,
    /// In the midst of a line without a match so far; the first byte is there for context only.
    Within,
    /// In the midst of a line of JSON, between two texts or in one.
    WithinJson { in_text: bool },
    /// In a line that has been told of already.
    Told,
}

/// A match, with the text of its line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sight<'a> {
    /// Where in the raw bytes the match begins.
    pub at: usize,
    pub line: &'a [u8],
    /// Where in the line it begins.
    pub start: usize,
    /// Nothing else is told of the line that was written; one of JSON may have more.
    pub is_only: bool,
}

/// Buffers that are used again.
#[derive(Debug, Default)]
pub struct Looker {
    pub bodies: Bodies,
    decoded: View,
    stripped: View,
    json: Vec<JsonLine>,
}

/// A line of JSON.
#[derive(Clone, Copy, Debug)]
struct JsonLine {
    /// In the raw bytes.
    begin: usize,
    end: usize,
    /// Whether all of it is there.
    is_whole: bool,
    is_valid: Option<bool>,
    has_match: bool,
}

impl Looker {
    /// Shows matches, until `visit` has said of `most` that they count: first those in what is seen, then those in lines of JSON as
    /// they were written, each in the order of the bytes. `cut`: the bytes are of one line that goes on, and matches
    /// behind this place are left for the next look. Answers how what follows begins, and where, which may be a little before the cut.
    pub fn look(
        &mut self,
        pattern: &Pattern,
        raw: &[u8],
        begin: Begin,
        cut: Option<usize>,
        most: usize,
        mut visit: impl FnMut(Sight<'_>) -> bool,
    ) -> (Begin, usize) {
        let (after, until) = self.prepare(raw, begin, cut);
        // An empty match may stand behind the last byte.
        let is_later = |at: usize| cut.is_some() && at >= until;
        let Self { decoded, stripped, json, .. } = self;
        let has_json = !json.is_empty();
        let mut text = if has_json { &decoded.text } else { raw };
        let has_escapes = memchr::memchr(0x1b, text).is_some();
        if has_escapes {
            stripped.strip(text);
            text = &stripped.text;
        }
        let origin = |at: usize| {
            let at = if has_escapes { stripped.origin(at) } else { at };
            if has_json { decoded.origin(at) } else { at }
        };
        let (mut has_match, mut left, mut stopped) = (false, most, None);
        let (mut in_line, mut texts_of, mut texts) = (0, usize::MAX, BTreeSet::new());
        pattern.each_line(text, begin != Begin::Line, |found| {
            let at = origin(found.start);
            if is_later(at) {
                return ControlFlow::Break(());
            }
            let line = &text[found.line.clone()];
            let mut is_only = true;
            while json.get(in_line).is_some_and(|json| json.end < at) {
                in_line += 1;
            }
            if let Some(json) = json.get_mut(in_line).filter(|json| json.begin <= at) {
                // A program may print what only looks like JSON.
                if !*json.is_valid.get_or_insert_with(|| !json.is_whole || is_json(&raw[json.begin..json.end])) {
                    return ControlFlow::Continue(());
                }
                // Providers say the same twice in one line.
                if std::mem::replace(&mut texts_of, in_line) != in_line {
                    texts.clear();
                }
                if !texts.insert(*blake3::hash(line).as_bytes()) {
                    return ControlFlow::Continue(());
                }
                json.has_match = true;
                is_only = false;
            }
            has_match = true;
            left -= usize::from(visit(Sight { at, line, start: found.start - found.line.start, is_only }));
            if left > 0 {
                return ControlFlow::Continue(());
            }
            stopped = Some(at);
            ControlFlow::Break(())
        });
        let mut left = most;
        let others = json.iter().filter(|json| !json.has_match).take_while(|json| stopped.is_none_or(|stopped| json.begin < stopped));
        for json in others {
            let line = &raw[json.begin..json.end];
            let Some(start) = pattern.first(line).filter(|start| !is_later(json.begin + start)) else { continue };
            has_match = true;
            left -= usize::from(visit(Sight { at: json.begin + start, line, start, is_only: false }));
            if left == 0 {
                break;
            }
        }
        let after = if has_match && after == Begin::Within { Begin::Told } else { after };
        (after, until)
    }

    /// Finds the lines of JSON and decodes them. Answers how what follows begins, and where.
    fn prepare(&mut self, raw: &[u8], begin: Begin, cut: Option<usize>) -> (Begin, usize) {
        let Self { decoded, json, .. } = self;
        json.clear();
        let mut copied = 0;
        let (mut after, mut stop) = cut.map_or((Begin::Line, raw.len()), |cut| (Begin::Within, cut));
        let mut add = |from: usize, state: Option<bool>| {
            if json.is_empty() {
                decoded.clear();
            }
            decoded.copy(&raw[copied..from], copied);
            let end = memchr::memchr(b'\n', &raw[from..]).map_or(raw.len(), |feed| from + feed);
            if state.is_some() {
                // For context.
                decoded.copy(b" ", from);
            }
            let line = &raw[from..end];
            let (stopped, in_text) = decoded.decode(line, from, state.unwrap_or(false), cut.map_or(line.len(), |cut| cut.min(end) - from));
            if cut.is_some() {
                (after, stop) = (Begin::WithinJson { in_text }, from + stopped);
                let rest = &line[stopped..];
                decoded.decode(rest, from + stopped, in_text, rest.len());
            }
            if decoded.text.last().is_some_and(|last| *last != b'\n') {
                decoded.copy(b"\n", end.min(raw.len()));
            }
            json.push(JsonLine { begin: from, end, is_whole: state.is_none() && cut.is_none(), is_valid: None, has_match: false });
            copied = (end + 1).min(raw.len());
            copied
        };
        let mut from = match begin {
            Begin::WithinJson { in_text } => add(0, Some(in_text)),
            Begin::Line if raw.starts_with(JSON) => add(0, None),
            _ => 0,
        };
        while let Some(feed) = memchr::memmem::find(&raw[from.saturating_sub(1)..], NEXT_JSON) {
            from = add(from.saturating_sub(1) + feed + 1, None);
        }
        if !json.is_empty() {
            self.decoded.copy(&raw[copied..], copied);
        }
        (after, stop)
    }
}

/// How a line of JSON begins, and how another one does behind a line.
const JSON: &[u8] = b"{\"";
const NEXT_JSON: &[u8] = b"\n{\"";

fn is_json(line: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(line).is_ok()
}
