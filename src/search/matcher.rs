//! Finds matches in lines of one stream: in their text as a person reads it ([`MappedText`]), and, for a line of JSON
//! of which no text matches, in the line as it was written.

use std::{collections::BTreeSet, ops::ControlFlow};

use serde::de::IgnoredAny;

use super::{mapped_text::MappedText, pattern::Pattern};
use crate::store::PartCache;

/// How a part of a stream begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LineStart {
    /// With a line.
    Line,
    /// Within a line that has no match so far. The first byte is there for context only.
    Within,
    /// Within a line of JSON, in one of its texts or between two of them.
    WithinJson { in_text: bool },
    /// Within a line whose match has been reported.
    AlreadyReported,
}

/// A match, with the text of its line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Match<'a> {
    /// Where in the raw bytes the match begins.
    pub(crate) at: usize,
    /// The text of the line.
    pub(crate) line: &'a [u8],
    /// Where in `line` the match begins.
    pub(crate) start: usize,
    /// The line as it was written has no other match. A line of JSON may have one in each text.
    pub(crate) is_only: bool,
}

/// Finds matches. Holds buffers that are used again for the next lines.
#[derive(Debug, Default)]
pub(crate) struct Matcher {
    pub(crate) bodies: PartCache,
    decoded: MappedText,
    stripped: MappedText,
    json: Vec<JsonLine>,
}

/// A line of JSON in the raw bytes.
#[derive(Clone, Copy, Debug)]
struct JsonLine {
    begin: usize,
    end: usize,
    /// Whether the bytes hold the line from its beginning to its end.
    is_whole: bool,
    /// Whether the line parses; `None` until a match depends on it.
    is_valid: Option<bool>,
    has_match: bool,
}

impl Matcher {
    /// Gives matches to `visit`, which returns whether the match counts, until `limit` of them count: first those in
    /// the text of lines, then those in lines of JSON as they were written, each in the order of the bytes. `cut`: the
    /// bytes are of one line that goes on, and matches from this byte on are left for the next call. Returns how the
    /// bytes that follow begin, and where they do, which may be a little before the cut.
    pub(crate) fn find_matches(
        &mut self,
        pattern: &Pattern,
        raw: &[u8],
        begin: LineStart,
        cut: Option<usize>,
        limit: usize,
        mut visit: impl FnMut(Match<'_>) -> bool,
    ) -> (LineStart, usize) {
        let (after, until) = self.prepare(raw, begin, cut);
        // An empty match may be at the end of the bytes, after the last one.
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
        let (mut has_match, mut left, mut stopped) = (false, limit, None);
        let (mut json_index, mut texts_line, mut texts) = (0, usize::MAX, BTreeSet::new());
        pattern.each_line(text, begin != LineStart::Line, |found| {
            let at = origin(found.start);
            if is_later(at) {
                return ControlFlow::Break(());
            }
            let line = &text[found.line.clone()];
            let mut is_only = true;
            while json.get(json_index).is_some_and(|json| json.end < at) {
                json_index += 1;
            }
            if let Some(json) = json.get_mut(json_index).filter(|json| json.begin <= at) {
                // A program may print a line that begins like JSON and is none.
                if !*json.is_valid.get_or_insert_with(|| !json.is_whole || is_json(&raw[json.begin..json.end])) {
                    return ControlFlow::Continue(());
                }
                // Some providers write the same text twice in one line; it is reported once.
                if std::mem::replace(&mut texts_line, json_index) != json_index {
                    texts.clear();
                }
                if !texts.insert(*blake3::hash(line).as_bytes()) {
                    return ControlFlow::Continue(());
                }
                json.has_match = true;
                is_only = false;
            }
            has_match = true;
            left -= usize::from(visit(Match { at, line, start: found.start - found.line.start, is_only }));
            if left > 0 {
                return ControlFlow::Continue(());
            }
            stopped = Some(at);
            ControlFlow::Break(())
        });
        let mut left = limit;
        let others = json.iter().filter(|json| !json.has_match).take_while(|json| stopped.is_none_or(|stopped| json.begin < stopped));
        for json in others {
            let line = &raw[json.begin..json.end];
            let Some(start) = pattern.first(line).filter(|start| !is_later(json.begin + start)) else { continue };
            has_match = true;
            left -= usize::from(visit(Match { at: json.begin + start, line, start, is_only: false }));
            if left == 0 {
                break;
            }
        }
        let after = if has_match && after == LineStart::Within { LineStart::AlreadyReported } else { after };
        (after, until)
    }

    /// Finds the lines of JSON and decodes them. Returns how the bytes that follow begin, and where they do.
    fn prepare(&mut self, raw: &[u8], begin: LineStart, cut: Option<usize>) -> (LineStart, usize) {
        let Self { decoded, json, .. } = self;
        json.clear();
        let mut copied = 0;
        let (mut after, mut stop) = cut.map_or((LineStart::Line, raw.len()), |cut| (LineStart::Within, cut));
        let mut add = |from: usize, state: Option<bool>| {
            if json.is_empty() {
                decoded.clear();
            }
            decoded.copy(&raw[copied..from], copied);
            let end = memchr::memchr(b'\n', &raw[from..]).map_or(raw.len(), |feed| from + feed);
            if state.is_some() {
                // The line goes on, so a byte of context precedes it.
                decoded.copy(b" ", from);
            }
            let line = &raw[from..end];
            let (stopped, in_text) = decoded.decode(line, from, state.unwrap_or(false), cut.map_or(line.len(), |cut| cut.min(end) - from));
            if cut.is_some() {
                (after, stop) = (LineStart::WithinJson { in_text }, from + stopped);
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
            LineStart::WithinJson { in_text } => add(0, Some(in_text)),
            LineStart::Line if raw.starts_with(JSON_LINE_START) => add(0, None),
            _ => 0,
        };
        while let Some(feed) = memchr::memmem::find(&raw[from.saturating_sub(1)..], NEXT_JSON_LINE) {
            from = add(from.saturating_sub(1) + feed + 1, None);
        }
        if !json.is_empty() {
            self.decoded.copy(&raw[copied..], copied);
        }
        (after, stop)
    }
}

/// How a line of JSON begins.
const JSON_LINE_START: &[u8] = b"{\"";
/// How a line of JSON begins after another line.
const NEXT_JSON_LINE: &[u8] = b"\n{\"";

fn is_json(line: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(line).is_ok()
}
