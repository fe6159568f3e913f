//! What is said: prompts, messages, thoughts, and what sub-agents say.

use std::borrow::Cow;

use anstyle::Style;
use serde_json::{Map, Value};

use super::{Below, Block, HELD, Painter, Thought, USER, meta};
use crate::cli::{render, words};

impl Painter {
    pub(super) fn user(&mut self, content: Option<&Value>) {
        let said = content.map(block_text).unwrap_or_default();
        if self.echoes.front().is_some_and(|echo| echo.trim() == said.trim()) {
            self.echoes.pop_front();
            return;
        }
        self.begin_message("user");
        for line in words::plain_lines(said.trim()).lines() {
            let line = self.paper.ink.paint(Style::new().bold(), line);
            self.written.push_str(&format!("{} {line}\n", self.paper.ink.paint(USER, ">")));
        }
        self.at_start = true;
    }

    pub(super) fn message(&mut self, message_id: &str, content: Option<&Value>, update: &Map<String, Value>) {
        if meta(update, "loomd/abandoned").is_some() {
            return self.note("(it gave this up and says it anew)");
        }
        let said = content.map(block_text).unwrap_or_default();
        if meta(update, "loomd/contradiction").is_some() {
            self.note("(what it said at last is different:)");
            self.last = Block::Line;
        }
        let goes_on = self.last == Block::Message(message_id.to_owned());
        let said = if goes_on { &*said } else { said.trim_start_matches(['\n', '\r']) };
        if said.is_empty() {
            return;
        }
        if !goes_on {
            self.begin_message(message_id);
        }
        let safe = words::plain_lines(said);
        self.at_start = safe.ends_with('\n');
        self.written.push_str(&safe);
    }

    pub(super) fn below(&mut self, parent: &str, message_id: &str, said: &str) {
        self.head_of(parent);
        let depth = self.tools.get(parent).map_or(1, |tool| tool.depth + 1);
        if self.below.get(parent).is_some_and(|below| below.message_id != message_id) {
            self.end_below(parent);
        }
        let below =
            self.below.entry(parent.to_owned()).or_insert_with(|| Below { message_id: message_id.to_owned(), depth, ..Below::default() });
        below.text.push_str(said);
        let whole = match below.text.rfind('\n') {
            Some(end) => end + 1,
            None if below.text.len() > HELD => below.text.len(),
            None => return,
        };
        let text: String = below.text.drain(..whole).collect();
        self.lines_below(depth, &text);
    }

    pub(super) fn end_below(&mut self, parent: &str) {
        if let Some(Below { text, depth, .. }) = self.below.remove(parent) {
            self.lines_below(depth, &text);
        }
    }

    pub(super) fn lines_below(&mut self, depth: usize, text: &str) {
        let ink = self.paper.ink;
        let lines = words::plain_lines(text);
        lines.lines().filter(|line| !line.trim().is_empty()).for_each(|line| self.line(depth, &ink.dim(line)));
    }

    pub(super) fn thought(&mut self, message_id: &str, said: &str) {
        if self.thought.as_ref().is_some_and(|thought| thought.message_id != message_id) {
            self.end_thought();
        }
        let thought = self.thought.get_or_insert_with(|| Thought { message_id: message_id.to_owned(), text: String::new() });
        if self.paper.full || thought.text.len() < HELD {
            thought.text.push_str(said);
        }
    }

    pub(super) fn end_thought(&mut self) {
        let Some(thought) = self.thought.take() else { return };
        let ink = self.paper.ink;
        let safe = words::plain_lines(thought.text.trim());
        if safe.is_empty() {
            return;
        }
        if self.paper.full {
            safe.lines().for_each(|line| self.line(0, &ink.dim(&format!("✻ {line}"))));
            return;
        }
        let mut lines = safe.lines().filter(|line| !line.trim().is_empty());
        let first = lines.next().unwrap_or_default().trim_matches(['*', '#', ' ']);
        let more = if lines.next().is_some() { " …" } else { "" };
        let line = render::cut(&format!("✻ {first}{more}"), self.room(0));
        self.line(0, &ink.dim(&line));
    }
}

/// The text that stands for a content block.
fn block_text(block: &Value) -> Cow<'_, str> {
    match (block["text"].as_str(), block["type"].as_str()) {
        (Some(text), _) => text.into(),
        (None, Some("resource_link")) => format!("[{}]", block["uri"].as_str().unwrap_or("link")).into(),
        (None, Some("resource")) => format!("[{}]", block["resource"]["uri"].as_str().unwrap_or("resource")).into(),
        (None, kind) => format!("[{}]", kind.unwrap_or("content")).into(),
    }
}
