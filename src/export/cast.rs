//! `asciicast`, version 2: a recording that a terminal plays at its own pace.
//!
//! Of a command it is what was written, when it was written. Of an agent it is what it said, did and was asked, as it came.

use std::io::{self, Write};

use serde_json::{Map, Value, json};

use super::{
    Render,
    calls::{block_text, shortened},
    facts, meaning, written,
};
use crate::model::{
    Entry, Run, StateEntry, UnixMs,
    entry::{PermissionEntry, PermissionStatus},
};

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
    /// What is being said: kind and message.
    saying: Option<(String, String)>,
    is_at_start: bool,
}

impl<'a> Cast<'a> {
    pub fn new(run: &'a Run, is_told: bool) -> Self {
        let began = facts::began(run);
        let has_terminal = run.params.get("tty").and_then(Value::as_bool).unwrap_or(false);
        Self { run, is_told, began, last: began, has_terminal, after_return: false, saying: None, is_at_start: true }
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

    // An agent's words.

    fn entry(&mut self, entry: &Entry) -> (UnixMs, String) {
        match entry {
            Entry::Update(entry) => (entry.at, self.update(&entry.update)),
            Entry::Permission(entry) => (entry.at, self.permission(entry)),
            Entry::State(entry) => (entry.at, self.state(entry)),
            Entry::Session(entry) => (entry.at, String::new()),
            Entry::Output(entry) => (entry.at, String::new()),
        }
    }

    fn update(&mut self, update: &Map<String, Value>) -> String {
        let text = |name: &str| update.get(name).and_then(Value::as_str).unwrap_or_default();
        let said = || update.get("content").map(block_text).unwrap_or_default();
        match text("sessionUpdate") {
            "user_message_chunk" => self.say("\x1b[1;36m> \x1b[0;1m", &said(), ("user", text("messageId"))),
            "agent_message_chunk" => self.say("", &said(), ("agent", text("messageId"))),
            "agent_thought_chunk" => self.say("\x1b[2m", &said(), ("thought", text("messageId"))),
            "tool_call" => {
                let sign = if text("kind") == "execute" { "$ " } else { "● " };
                let title = facts::plain(shortened(text("title").trim_matches('`').lines().next().unwrap_or("tool"), 400));
                self.line(&format!("\x1b[36m{sign}\x1b[0m{title}"))
            }
            "tool_call_update" => match text("status") {
                status @ ("completed" | "failed") => {
                    let blocks = update.get("content").and_then(Value::as_array).into_iter().flatten();
                    let told: String =
                        blocks.filter(|block| block["type"] == "content").map(|block| block_text(&block["content"])).collect();
                    let mut lines: Vec<&str> = told.lines().rev().take(LAST_LINES).collect();
                    lines.reverse();
                    let mut whole = String::new();
                    for line in lines {
                        let plain = facts::plain(shortened(&super::ansi::plain(line), 400));
                        whole += &self.line(&format!("  \x1b[2m{plain}\x1b[0m"));
                    }
                    let end = if status == "completed" { "\x1b[32m✓\x1b[0m" } else { "\x1b[31m✗ failed\x1b[0m" };
                    whole + &self.line(&format!("  {end}"))
                }
                _ => String::new(),
            },
            "plan" => {
                let mut whole = self.line("\x1b[1mPlan\x1b[0m");
                for step in update.get("entries").and_then(Value::as_array).into_iter().flatten().take(100) {
                    let sign = match step["status"].as_str() {
                        Some("completed") => "☑",
                        Some("in_progress") => "▶",
                        _ => "☐",
                    };
                    let content = facts::plain(shortened(step["content"].as_str().unwrap_or_default(), 400));
                    whole += &self.line(&format!("  {sign} {content}"));
                }
                whole
            }
            "notice" => {
                let words = [text("title"), text("description")].map(|words| facts::plain(shortened(words, 1000)));
                let words: Vec<String> = words.into_iter().filter(|words| !words.is_empty()).collect();
                self.line(&format!("\x1b[33m! {}\x1b[0m", words.join(": ")))
            }
            _ => String::new(),
        }
    }

    fn say(&mut self, ink: &str, said: &str, (who, message): (&str, &str)) -> String {
        let saying = (who.to_owned(), message.to_owned());
        let mut text = String::new();
        if self.saying.as_ref() != Some(&saying) {
            if said.trim().is_empty() {
                return text;
            }
            text = self.end();
            if self.saying.replace(saying).is_some() || self.last > self.began {
                text.push('\n');
            }
            text.push_str(ink);
        }
        let said = facts::plain_lines(said);
        if !said.is_empty() {
            text.push_str(&said);
            self.is_at_start = said.ends_with('\n');
        }
        text
    }

    fn line(&mut self, line: &str) -> String {
        let mut text = self.end();
        if self.saying.take().is_some() {
            text.push('\n');
        }
        text.push_str(line);
        text.push('\n');
        text
    }

    /// Ends what is being said.
    fn end(&mut self) -> String {
        let ink = if self.saying.is_some() { "\x1b[0m" } else { "" };
        if std::mem::replace(&mut self.is_at_start, true) { ink.to_owned() } else { format!("{ink}\n") }
    }

    fn permission(&mut self, entry: &PermissionEntry) -> String {
        match &entry.status {
            PermissionStatus::Requested { tool_call, options } => {
                let title = tool_call.get("title").and_then(Value::as_str).unwrap_or("a tool call");
                let title = facts::plain(shortened(title.lines().next().unwrap_or_default(), 400));
                let names: Vec<String> = options.iter().map(|option| facts::plain(&option.name)).collect();
                self.line(&format!("\x1b[1;33m? {title}\x1b[0m  [{}]", names.join(" / ")))
            }
            PermissionStatus::Resolved { option_id, .. } => {
                let answer = facts::plain(option_id.as_deref().unwrap_or("not answered"));
                self.line(&format!("  \x1b[33m{answer}\x1b[0m"))
            }
        }
    }

    fn state(&mut self, entry: &StateEntry) -> String {
        let Some(turn) = entry.turn.filter(|_| entry.stop_reason.is_some() || entry.error.is_some()) else { return String::new() };
        let usage = entry.usage.as_ref().and_then(facts::usage).map(|usage| format!(" · {usage}")).unwrap_or_default();
        let end = facts::plain(&facts::turn_end(entry));
        self.line(&format!("\x1b[2mturn {turn}: {end}{usage}\x1b[0m"))
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
            let (at, text) = self.entry(&entry);
            let text = self.with_returns(&text);
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
        let text = if self.is_told { self.end() } else { String::new() };
        let text = self.with_returns(&text);
        self.event(self.last, &text, out)
    }
}
