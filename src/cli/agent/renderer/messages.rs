//! Prompts, messages, thoughts, and the messages of sub-agents.

use std::borrow::Cow;

use anstyle::Style;

use super::{Drawn, LastPrinted, MAX_HELD_BYTES, Renderer, USER_STYLE};
use crate::{
    cli::{format, render},
    model::item::{Item, ItemKind, MessageItem, MessageRole},
    transcript::block_text,
};

impl Renderer {
    pub(super) fn message(&mut self, item: &Item, message: &MessageItem, before: Option<&ItemKind>, drawn: &mut Drawn) {
        let (mut was_abandoned, printed) = (false, usize::try_from(drawn.printed).unwrap_or(usize::MAX));
        if let Some(ItemKind::Message(before)) = before {
            was_abandoned = before.abandoned;
            if printed > 0 && message.text.get(..printed) != before.text.get(..printed) {
                self.note("(the final message is different:)");
                drawn.printed = 0;
            }
        }
        let new_text = message.text.get(usize::try_from(drawn.printed).unwrap_or(usize::MAX)..).unwrap_or_default();
        let blocks = message.blocks.iter().skip(drawn.blocks).map(block_text);
        match (message.role, item.parent) {
            (MessageRole::User, None) => {
                let text = std::iter::once(new_text.to_owned()).chain(blocks).filter(|text| !text.trim().is_empty());
                self.user(&text.collect::<Vec<_>>().join("\n"));
            }
            (MessageRole::User, Some(_)) => {}
            (MessageRole::Agent, None) => {
                let number = item.item;
                if item.continues.is_some_and(|first| self.last == LastPrinted::Message(first)) {
                    self.last = LastPrinted::Message(number);
                }
                self.say(number, new_text);
                blocks.for_each(|block| self.say(number, &block));
            }
            (MessageRole::Agent, Some(parent)) => {
                self.print_header(parent);
                self.end_messages(Some((parent, item.item)));
                let whole_lines = match new_text.rfind('\n') {
                    _ if item.end_at.is_some() || new_text.len() > MAX_HELD_BYTES => new_text.len(),
                    end => end.map_or(0, |end| end + 1),
                };
                self.dim_lines(drawn.depth, &new_text[..whole_lines]);
                drawn.printed += whole_lines as u64;
            }
        }
        if !(message.role == MessageRole::Agent && item.parent.is_some()) {
            drawn.printed = message.text.len() as u64;
        }
        drawn.blocks = message.blocks.len();
        if message.abandoned && !was_abandoned && item.parent.is_none() {
            self.note("(interrupted; retried below)");
        }
        drawn.is_over = item.end_at.is_some();
    }

    /// A prompt, unless it was typed here.
    fn user(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        if self.typed_prompts.front().is_some_and(|typed| typed.trim() == text.trim()) {
            self.typed_prompts.pop_front();
            return;
        }
        self.begin_message(0);
        for line in format::plain_lines(text.trim()).lines() {
            let line = self.options.styles.apply(Style::new().bold(), line);
            self.rendered.push_str(&format!("{} {line}\n", self.options.styles.apply(USER_STYLE, ">")));
        }
        self.at_line_start = true;
    }

    /// What the agent's own message grew by.
    fn say(&mut self, item: u64, text: &str) {
        let is_continued = self.last == LastPrinted::Message(item);
        let text = if is_continued { text } else { text.trim_start_matches(['\n', '\r']) };
        if text.is_empty() {
            return;
        }
        if !is_continued {
            self.begin_message(item);
        }
        let text = format::plain_lines(text);
        self.at_line_start = text.ends_with('\n');
        self.rendered.push_str(&text);
    }

    /// Prints what is held back of sub-agents' messages: of all, or of one call's but for the item that goes on.
    pub(super) fn end_messages(&mut self, of: Option<(u64, u64)>) {
        if self.options.quiet {
            return;
        }
        let mut rest: Vec<(usize, String)> = Vec::new();
        for (item, drawn) in self.drawn.values_mut().filter(|(_, drawn)| !drawn.is_over) {
            let (ItemKind::Message(message), Some(parent)) = (&item.kind, item.parent) else { continue };
            if message.role == MessageRole::Agent && of.is_none_or(|(call, current)| call == parent && current != item.item) {
                let held = message.text.get(usize::try_from(drawn.printed).unwrap_or(usize::MAX)..).unwrap_or_default();
                rest.push((drawn.depth, held.to_owned()));
                drawn.printed = message.text.len() as u64;
            }
        }
        rest.iter().for_each(|(depth, text)| self.dim_lines(*depth, text));
    }

    fn dim_lines(&mut self, depth: usize, text: &str) {
        let styles = self.options.styles;
        let lines = format::plain_lines(text);
        lines.lines().filter(|line| !line.trim().is_empty()).for_each(|line| self.line(depth, &styles.dim(line)));
    }

    /// Prints the thought: its first line, or with `full` all of it.
    pub(super) fn end_thought(&mut self) {
        let Some((item, drawn)) = self.thought.take().and_then(|thought| self.drawn.get_mut(&thought)) else { return };
        let ItemKind::Thought(thought) = &item.kind else { return };
        let new_text = thought.text.get(usize::try_from(drawn.printed).unwrap_or(usize::MAX)..).unwrap_or(&thought.text);
        let text = format::plain_lines(new_text.trim());
        drawn.printed = thought.text.len() as u64;
        let styles = self.options.styles;
        if text.is_empty() {
            return;
        }
        if self.options.full {
            text.lines().for_each(|line| self.line(0, &styles.dim(&format!("✻ {line}"))));
            return;
        }
        let mut lines = text.lines().filter(|line| !line.trim().is_empty());
        let first = lines.next().unwrap_or_default().trim_matches(['*', '#', ' ']);
        let more = if lines.next().is_some() { " …" } else { "" };
        let line = render::truncate(&format!("✻ {first}{more}"), self.width(0));
        self.line(0, &styles.dim(&line));
    }

    /// The last line of the thought that is not printed yet.
    pub(super) fn thinking(&self) -> Option<Cow<'_, str>> {
        let (item, drawn) = self.drawn.get(&self.thought?)?;
        let ItemKind::Thought(thought) = &item.kind else { return None };
        let text = thought.text.get(usize::try_from(drawn.printed).unwrap_or(usize::MAX)..).unwrap_or_default();
        Some(text.trim_end().lines().next_back().unwrap_or_default().into())
    }
}
