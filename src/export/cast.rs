//! `asciicast`, version 2: a recording that a terminal plays at its own pace.
//!
//! Of a command it is what was written, when it was written. Of an agent it is what it said, did and was asked, as it came.

use std::io::{self, Write};

use serde_json::{Value, json};

use super::{Render, calls::shortened, facts, meaning, words::Words, written};
use crate::model::{Run, UnixMs};

/// The terminal that runs get with `tty`.
const SIZE: (u16, u16) = (80, 24);
/// The terminal that an agent's words are shown on.
const WIDE: (u16, u16) = (100, 30);
/// How much of a tool's output is shown when it has ended.
const LAST_LINES: usize = 6;
/// Longest piece of a text in one line.
const PIECE: usize = 16 << 10;

pub struct Cast<'a> {
    run: &'a Run,
    is_told: bool,
    began: UnixMs,
    /// Time never goes back in a recording, whatever clocks do.
    last: UnixMs,
    has_terminal: bool,
    after_return: bool,
    words: Words,
}

impl<'a> Cast<'a> {
    pub fn new(run: &'a Run, is_told: bool) -> Self {
        let began = facts::began(run);
        let has_terminal = run.params.get("tty").and_then(Value::as_bool).unwrap_or(false);
        Self { run, is_told, began, last: began, has_terminal, after_return: false, words: Words::new(LAST_LINES) }
    }

    fn event(&mut self, at: UnixMs, text: &str, out: &mut dyn Write) -> io::Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        self.last = self.last.max(at);
        let after = self.last - self.began;
        let mut line = format!("[{}.{:03},\"o\",", after / 1000, after % 1000).into_bytes();
        json_escape_simd::escape_into(text, &mut line);
        line.extend_from_slice(b"]\n");
        out.write_all(&line)
    }

    /// Where no terminal did it, a line feed is given its carriage return.
    fn with_returns(&mut self, text: &str) -> String {
        let mut whole = String::with_capacity(text.len() + text.len() / 16);
        let mut from = 0;
        for at in memchr::memchr_iter(b'\n', text.as_bytes()) {
            let has_return = if at == 0 { self.after_return } else { text.as_bytes()[at - 1] == b'\r' };
            whole.push_str(&text[from..at]);
            whole.push_str(if has_return { "\n" } else { "\r\n" });
            from = at + 1;
        }
        whole.push_str(&text[from..]);
        if !text.is_empty() {
            self.after_return = text.ends_with('\r');
        }
        whole
    }
}

impl Render for Cast<'_> {
    fn begin(&mut self, out: &mut dyn Write) -> io::Result<()> {
        let (width, height) = if self.is_told { WIDE } else { SIZE };
        let mut header = json!({
            "version": 2, "width": width, "height": height, "timestamp": self.began / 1000, "title": facts::title(self.run),
            "env": { "TERM": "xterm-256color" },
        });
        if !self.is_told {
            header["command"] = facts::command_line(&self.run.command).into();
        }
        writeln!(out, "{header}")
    }

    fn line(&mut self, line: &[u8], out: &mut dyn Write) -> io::Result<()> {
        if self.is_told {
            let Some(entry) = meaning(line)? else { return Ok(()) };
            let text = self.words.of(&entry);
            let text = self.with_returns(&text);
            let at = entry.at();
            let mut rest = text.as_str();
            while !rest.is_empty() {
                let piece = shortened(rest, PIECE);
                self.event(at, piece, out)?;
                rest = &rest[piece.len()..];
            }
            return Ok(());
        }
        let Some((output, raw)) = written(line)? else { return Ok(()) };
        let text = String::from_utf8_lossy(&raw);
        if self.has_terminal {
            return self.event(output.at, &text, out);
        }
        let text = self.with_returns(&text);
        self.event(output.at, &text, out)
    }

    fn finish(&mut self, out: &mut dyn Write) -> io::Result<()> {
        let text = if self.is_told { self.words.end() } else { String::new() };
        let text = self.with_returns(&text);
        self.event(self.last, &text, out)
    }
}
