//! Reads the lines of a program that speaks JSON: strictly, and what that refuses once more, leniently.
//!
//! Agents put terminal sequences, log lines or a byte order mark around their messages, several messages on a line, one
//! message on several lines, and in them control characters, `NaN` or halves of characters. What can be read without a
//! guess about its content is read; the log has every line as output.

use serde_json::{Map, Value};

/// Values are nested no deeper: with what the log adds around them, every JSON parser can still read them.
const MAX_DEPTH: usize = 100;
/// Values in one line. A value takes some hundred bytes of memory.
const MAX_VALUES: usize = 400_000;
/// A message that goes on in further lines is put together up to this length.
const MAX_UNFINISHED_BYTES: usize = 256 << 10;

/// What stands for a value that is nested too deeply, or one too many.
const LEFT_OUT: &str = "[left out]";

/// What came of a line.
#[derive(Debug, Default, PartialEq)]
pub(super) struct ReadLine {
    /// The objects in it, which may be messages.
    pub(super) messages: Vec<Map<String, Value>>,
    /// The beginnings of what could not be read.
    pub(super) unread: Vec<String>,
}

/// Reads lines one after another.
#[derive(Debug, Default)]
pub(super) struct JsonLines {
    /// The lines of a message that is not over.
    unfinished: Vec<u8>,
}

impl JsonLines {
    pub(super) fn read(&mut self, line: &[u8]) -> ReadLine {
        let mut read = ReadLine::default();
        if is_simple(line)
            && let Ok(value) = serde_json::from_slice::<Value>(line)
        {
            self.flush(&mut read);
            read.take(bounded(value));
            return read;
        }
        if !self.unfinished.is_empty() && self.unfinished.len() + line.len() <= MAX_UNFINISHED_BYTES {
            self.unfinished.push(b'\n');
            self.unfinished.extend_from_slice(line);
            if line.trim_ascii_end().ends_with(b"}") {
                let whole = String::from_utf8_lossy(&self.unfinished).into_owned();
                if let Some((value, rest)) = LenientReader::object(&whole) {
                    self.unfinished.clear();
                    read.take(value);
                    self.read_text(rest, &mut read);
                }
            }
            return read;
        }
        self.flush(&mut read);
        let text = String::from_utf8_lossy(line).into_owned();
        self.read_text(&text, &mut read);
        read
    }

    /// Whether a message began and is not over.
    pub(super) fn is_unfinished(&self) -> bool {
        !self.unfinished.is_empty()
    }

    /// No more follows of the message that is not over.
    pub(super) fn finish(&mut self) -> ReadLine {
        let mut read = ReadLine::default();
        self.flush(&mut read);
        read
    }

    fn read_text(&mut self, text: &str, read: &mut ReadLine) {
        let text = text.trim_start_matches('\u{feff}');
        let mut from = 0;
        let mut found = false;
        // Where the first object began that is broken.
        let mut broken: Option<usize> = None;
        while let Some(at) = text[from..].find('{').map(|at| at + from) {
            let mut reader = LenientReader::new(&text[at..]);
            match reader.value(0) {
                Some(value) => {
                    // What may be a part of a broken object is no message, unless it says that it is one.
                    let is_part = broken.is_some_and(|start| is_open(&text[start..at]));
                    if !is_part || value.get("jsonrpc").is_some() {
                        found = true;
                        read.take(value);
                    }
                    from = at + reader.at;
                }
                None if reader.at < text.len() - at => {
                    broken = broken.or(Some(at));
                    from = at + reader.at.max(1);
                }
                None => {
                    self.unfinished = text.as_bytes()[at..].to_vec();
                    return;
                }
            }
        }
        if !found && !is_blank(text) && serde_json::from_str::<Value>(text).is_err() {
            read.unread.push(beginning(text));
        }
    }

    /// Reads what is left of a message that is not over, if nothing but its closing brackets is missing.
    fn flush(&mut self, read: &mut ReadLine) {
        let unfinished = std::mem::take(&mut self.unfinished);
        if unfinished.is_empty() {
            return;
        }
        let text = String::from_utf8_lossy(&unfinished);
        let mut reader = LenientReader { closes_at_end: true, ..LenientReader::new(&text) };
        match reader.value(0) {
            Some(value) => read.take(value),
            None => read.unread.push(beginning(&text)),
        }
    }
}

/// The messages of a line that is read alone.
pub(super) fn messages(line: &[u8]) -> Vec<Value> {
    let mut lines = JsonLines::default();
    let read = lines.read(line).messages.into_iter().chain(lines.finish().messages);
    read.map(Value::Object).collect()
}

impl ReadLine {
    /// Takes an object, or each object of a batch.
    fn take(&mut self, value: Value) {
        match value {
            Value::Object(message) => self.messages.push(message),
            Value::Array(values) => self.messages.extend(values.into_iter().filter_map(|value| match value {
                Value::Object(message) => Some(message),
                _ => None,
            })),
            _ => {}
        }
    }
}

/// Whether the strict parser may read the line: few enough values, and neither too deep for it nor for us.
fn is_simple(line: &[u8]) -> bool {
    line.len() <= MAX_VALUES || line.iter().filter(|byte| matches!(byte, b',' | b'[' | b'{')).count() <= MAX_VALUES
}

/// The value without what is nested too deeply. The strict parser goes to 128.
fn bounded(mut value: Value) -> Value {
    fn cut(value: &mut Value, depth: usize) {
        match value {
            Value::Array(_) | Value::Object(_) if depth > MAX_DEPTH => *value = LEFT_OUT.into(),
            Value::Array(values) => values.iter_mut().for_each(|value| cut(value, depth + 1)),
            Value::Object(members) => members.values_mut().for_each(|value| cut(value, depth + 1)),
            _ => {}
        }
    }
    cut(&mut value, 1);
    value
}

/// Whether an object that begins in this text goes on behind it, as far as brackets show.
fn is_open(text: &str) -> bool {
    text.matches('{').count() > text.matches('}').count()
}

/// Whether a line says nothing: blanks and terminal sequences.
fn is_blank(text: &str) -> bool {
    anstream::adapter::strip_str(text)
        .to_string()
        .chars()
        .all(|letter| letter.is_whitespace() || letter.is_control() || letter == '\u{feff}')
}

/// The beginning of a line, for people.
fn beginning(text: &str) -> String {
    const MAX_BYTES: usize = 200;
    let plain = anstream::adapter::strip_str(text).to_string();
    let plain = plain.trim();
    let end = plain.floor_char_boundary(MAX_BYTES);
    if end < plain.len() { format!("{}…", &plain[..end]) } else { plain.to_owned() }
}

/// A parser that takes more than JSON. `at` is where it is, or where it failed.
struct LenientReader<'a> {
    text: &'a str,
    at: usize,
    values: usize,
    /// Closing brackets may be missing at the end.
    closes_at_end: bool,
}

impl<'a> LenientReader<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, at: 0, values: 0, closes_at_end: false }
    }

    /// The object at the beginning of a text, and the rest.
    fn object(text: &'a str) -> Option<(Value, &'a str)> {
        let mut reader = Self::new(text);
        let value = reader.value(0)?;
        Some((value, &text[reader.at..]))
    }

    fn peek(&mut self) -> Option<u8> {
        while self.text.as_bytes().get(self.at).is_some_and(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        self.values += 1;
        match self.peek()? {
            b'{' | b'[' if depth >= MAX_DEPTH => self.skip(),
            b'{' => self.members(depth),
            b'[' => self.elements(depth),
            b'"' => self.string().map(Value::String),
            _ => self.word(),
        }
    }

    fn members(&mut self, depth: usize) -> Option<Value> {
        let mut members = Map::new();
        self.at += 1;
        loop {
            if self.closes(b'}') {
                return Some(Value::Object(members));
            }
            let name = self.string()?;
            if !self.take(b':') {
                return None;
            }
            let fits = self.values < MAX_VALUES;
            let value = self.value(depth + 1)?;
            if fits {
                members.insert(name, value);
            }
            if !self.take(b',') && !self.ends(b'}') {
                return None;
            }
        }
    }

    fn elements(&mut self, depth: usize) -> Option<Value> {
        let mut elements = Vec::new();
        self.at += 1;
        loop {
            if self.closes(b']') {
                return Some(Value::Array(elements));
            }
            let value = self.value(depth + 1)?;
            match self.values.cmp(&MAX_VALUES) {
                std::cmp::Ordering::Less => elements.push(value),
                std::cmp::Ordering::Equal => elements.push(LEFT_OUT.into()),
                std::cmp::Ordering::Greater => {}
            }
            if !self.take(b',') && !self.ends(b']') {
                return None;
            }
        }
    }

    /// Whether a container ends here; its bracket stays.
    fn ends(&mut self, bracket: u8) -> bool {
        match self.peek() {
            None => self.closes_at_end,
            Some(byte) => byte == bracket,
        }
    }

    fn closes(&mut self, bracket: u8) -> bool {
        let ends = self.ends(bracket);
        self.at += usize::from(ends && self.at < self.text.len());
        ends
    }

    /// Passes over a container without making it, however deep it is.
    fn skip(&mut self) -> Option<Value> {
        let mut open = 0_usize;
        loop {
            match self.peek()? {
                b'"' => drop(self.string()?),
                byte => {
                    self.at += 1;
                    match byte {
                        b'{' | b'[' => open += 1,
                        b'}' | b']' => open -= 1,
                        _ => {}
                    }
                }
            }
            if open == 0 {
                return Some(LEFT_OUT.into());
            }
            // A character of several bytes stands in strings only.
            if !self.text.is_char_boundary(self.at) {
                return None;
            }
        }
    }

    /// A string. Control characters in it stand for themselves, and so does an escape that means nothing.
    fn string(&mut self) -> Option<String> {
        if !self.take(b'"') {
            return None;
        }
        let mut out = String::new();
        loop {
            let rest = &self.text[self.at..];
            let Some(end) = memchr::memchr2(b'"', b'\\', rest.as_bytes()) else {
                self.at = self.text.len();
                return None;
            };
            out.push_str(&rest[..end]);
            self.at += end + 1;
            if rest.as_bytes()[end] == b'"' {
                return Some(out);
            }
            self.escape(&mut out)?;
        }
    }

    fn escape(&mut self, out: &mut String) -> Option<()> {
        let letter = self.text[self.at..].chars().next()?;
        self.at += letter.len_utf8();
        match letter {
            'n' => out.push('\n'),
            't' => out.push('\t'),
            'r' => out.push('\r'),
            'b' => out.push('\u{8}'),
            'f' => out.push('\u{c}'),
            '"' | '\\' | '/' => out.push(letter),
            'u' => {
                let Some(unit) = self.code_unit(self.at) else {
                    out.push_str("\\u");
                    return Some(());
                };
                self.at += 4;
                let low = self.text[self.at..].starts_with("\\u").then(|| self.code_unit(self.at + 2)).flatten();
                match (unit, low) {
                    (0xD800..=0xDBFF, Some(low @ 0xDC00..=0xDFFF)) => {
                        self.at += 6;
                        let code = 0x10000 + ((u32::from(unit) - 0xD800) << 10) + (u32::from(low) - 0xDC00);
                        out.push(char::from_u32(code).unwrap_or('\u{fffd}'));
                    }
                    // Half of a character (RFC 8259, 8.2): an agent cut a text in its middle.
                    _ => out.push(char::from_u32(u32::from(unit)).unwrap_or('\u{fffd}')),
                }
            }
            other => out.extend(['\\', other]),
        }
        Some(())
    }

    fn code_unit(&self, at: usize) -> Option<u16> {
        let digits = self.text.get(at..at + 4).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
        u16::from_str_radix(digits, 16).ok()
    }

    /// A number, or a word that stands for a value. `NaN` and the like are no values in JSON, so they become null.
    fn word(&mut self) -> Option<Value> {
        let rest = &self.text[self.at..];
        let length = rest.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))).unwrap_or(rest.len());
        let word = &rest[..length];
        let value = match word {
            "NaN" | "Infinity" | "-Infinity" | "+Infinity" | "undefined" | "nan" | "inf" | "-inf" => Value::Null,
            "True" => true.into(),
            "False" => false.into(),
            "None" => Value::Null,
            // A number that is too large for a double is no value either.
            _ => match serde_json::from_str(word) {
                Ok(value) => value,
                Err(error) if error.to_string().starts_with("number out of range") => Value::Null,
                Err(_) => return None,
            },
        };
        self.at += length;
        Some(value)
    }
}

#[cfg(test)]
mod tests;
