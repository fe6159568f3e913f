//! `asciicast`, version 2: a recording that a terminal plays at its own pace.
//!
//! Of a command it is what was written, when it was written. Of an agent it is what it said, did and was asked, as it came.

use std::io::{self, Write};

use serde::Deserialize;
use serde_json::json;

use super::{Render, output_of, summary, text_writer::TextWriter, transcript_entry};
use crate::{
    model::{Entry, Kind, Run, TerminalSize, UnixMs, calls::TtyChoice, line},
    transcript::{Fold, LogSource, shortened},
};

/// The terminal that an agent's words are shown on.
const TRANSCRIPT_SIZE: TerminalSize = TerminalSize { rows: 30, cols: 100 };
/// How much of a tool's output is shown when it has ended.
const LAST_LINES: usize = 6;
/// Longest piece of a text in one line.
const MAX_EVENT_BYTES: usize = 16 << 10;

pub(crate) struct Cast<'a> {
    run: &'a Run,
    has_transcript: bool,
    began: UnixMs,
    /// Time never goes back in a recording, whatever clocks do.
    last: UnixMs,
    has_terminal: bool,
    size: TerminalSize,
    after_return: bool,
    fold: Fold,
    writer: TextWriter,
}

impl<'a> Cast<'a> {
    pub(crate) fn new(run: &'a Run, has_transcript: bool) -> Self {
        let began = summary::began(run);
        // The size at the start; `run.tty` is the newest.
        let tty = run.params.get("tty").and_then(|tty| TtyChoice::deserialize(tty).ok()?.size().ok()?);
        let size = if has_transcript { TRANSCRIPT_SIZE } else { tty.unwrap_or_default() };
        let (fold, writer) = (Fold::new(LogSource::Updates), TextWriter::new(LAST_LINES));
        Self { run, has_transcript, began, last: began, has_terminal: tty.is_some(), size, after_return: false, fold, writer }
    }

    /// `o`: output; `r`: a new size.
    fn event(&mut self, at: UnixMs, code: char, text: &str, out: &mut dyn Write) -> io::Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        self.last = self.last.max(at);
        let after = self.last - self.began;
        let mut line = format!("[{}.{:03},\"{code}\",", after / 1000, after % 1000).into_bytes();
        json_escape_simd::escape_into(text, &mut line);
        line.extend_from_slice(b"]\n");
        out.write_all(&line)
    }

    fn resize(&mut self, line: &[u8], out: &mut dyn Write) -> io::Result<()> {
        let Entry::Size(entry) = line::parse(line)? else { return Ok(()) };
        if entry.size == self.size {
            return Ok(());
        }
        self.size = entry.size;
        self.event(entry.at, 'r', &format!("{}x{}", self.size.cols, self.size.rows), out)
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
        let TerminalSize { rows: height, cols: width } = self.size;
        let mut header = json!({
            "version": 2, "width": width, "height": height, "timestamp": self.began / 1000, "title": summary::title(self.run),
            "env": { "TERM": "xterm-256color" },
        });
        if !self.has_transcript {
            header["command"] = summary::command_line(&self.run.command).into();
        }
        writeln!(out, "{header}")
    }

    fn line(&mut self, line: &[u8], out: &mut dyn Write) -> io::Result<()> {
        if self.has_transcript {
            let Some(entry) = transcript_entry(line)? else { return Ok(()) };
            let mut changes = Vec::new();
            self.fold.push(&entry, &mut changes);
            let text: String = changes.iter().map(|change| self.writer.change(change)).collect();
            let text = self.with_returns(&text);
            let at = entry.at();
            let mut rest = text.as_str();
            while !rest.is_empty() {
                let piece = shortened(rest, MAX_EVENT_BYTES);
                self.event(at, 'o', piece, out)?;
                rest = &rest[piece.len()..];
            }
            return Ok(());
        }
        if line::head(line).is_some_and(|head| head.kind == Kind::Size) {
            return self.resize(line, out);
        }
        let Some((output, raw)) = output_of(line)? else { return Ok(()) };
        let text = String::from_utf8_lossy(&raw);
        if self.has_terminal {
            return self.event(output.at, 'o', &text, out);
        }
        let text = self.with_returns(&text);
        self.event(output.at, 'o', &text, out)
    }

    fn finish(&mut self, out: &mut dyn Write) -> io::Result<()> {
        let text = if self.has_transcript { self.writer.end() } else { String::new() };
        let text = self.with_returns(&text);
        self.event(self.last, 'o', &text, out)
    }
}
