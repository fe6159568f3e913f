//! What an agent said, did and was asked, as a terminal shows it, piece by piece as it came.

use serde_json::{Map, Value};

use super::{
    calls::{block_text, shortened, unframed},
    facts,
};
use crate::model::{
    Entry, StateEntry,
    entry::{PermissionEntry, PermissionStatus},
};

/// Makes text of entries, with colours.
pub struct Words {
    /// How much of a tool's output is shown when it has ended.
    last_lines: usize,
    /// What is being said: kind and message.
    saying: Option<(String, String)>,
    is_at_start: bool,
    has_spoken: bool,
}

impl Words {
    /// `last_lines`: how much of a tool's output is shown when it has ended.
    pub fn new(last_lines: usize) -> Self {
        Self { last_lines, saying: None, is_at_start: true, has_spoken: false }
    }

    /// What an entry adds.
    pub fn of(&mut self, entry: &Entry) -> String {
        let words = match entry {
            Entry::Update(entry) => self.update(&entry.update),
            Entry::Permission(entry) => self.permission(entry),
            Entry::State(entry) => self.state(entry),
            Entry::Session(_) | Entry::Output(_) => String::new(),
        };
        self.has_spoken |= !words.is_empty();
        words
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
                let title = facts::plain(shortened(unframed(text("title").trim()).lines().next().unwrap_or("tool"), 400));
                self.line(&format!("\x1b[36m{sign}\x1b[0m{title}"))
            }
            "tool_call_update" => match text("status") {
                status @ ("completed" | "failed") => {
                    let blocks = update.get("content").and_then(Value::as_array).into_iter().flatten();
                    let told: String =
                        blocks.filter(|block| block["type"] == "content").map(|block| block_text(&block["content"])).collect();
                    let mut lines: Vec<&str> = told.lines().rev().take(self.last_lines).collect();
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
            if self.saying.replace(saying).is_some() || self.has_spoken {
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
    pub fn end(&mut self) -> String {
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
