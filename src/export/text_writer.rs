//! Items as a terminal shows them, with colors: each as it stands at last, or piece by piece as it came.

use std::collections::BTreeMap;

use super::{ansi, item_queue::ItemNode, item_text, summary};
use crate::{
    model::item::{Item, ItemAppend, ItemChange, ItemKind, MessageItem, MessageRole, NoticeItem, PermissionItem, PlanItem, ToolItem},
    transcript::{block_text, shortened, unframed},
};

/// Longest line that is shown whole.
const MAX_LINE_BYTES: usize = 400;
/// Items of which the writer knows what it wrote.
const MAX_WRITTEN_ITEMS: usize = 8192;

/// Writes items.
pub(crate) struct TextWriter {
    /// How many lines of a tool's output are written when it has ended.
    last_lines: usize,
    /// The message that is being written, by the item in which it began.
    speaking: Option<u64>,
    depth: usize,
    is_at_start: bool,
    has_spoken: bool,
    /// What was written of items that may change.
    written: BTreeMap<u64, WrittenItem>,
}

/// What was written of an item.
#[derive(Debug, Default)]
struct WrittenItem {
    depth: usize,
    /// The item in which its message began.
    first: u64,
    color: &'static str,
    text: blake3::Hasher,
    blocks: usize,
    plan: Option<PlanItem>,
    is_abandoned: bool,
    has_ended: bool,
}

impl TextWriter {
    /// `last_lines`: how many lines of a tool's output are written when it has ended.
    pub(crate) fn new(last_lines: usize) -> Self {
        Self { last_lines, speaking: None, depth: 0, is_at_start: true, has_spoken: false, written: BTreeMap::new() }
    }

    /// An item that will not change, with what belongs to it.
    pub(crate) fn node(&mut self, node: &ItemNode) -> String {
        self.node_at(node, 0)
    }

    fn node_at(&mut self, node: &ItemNode, depth: usize) -> String {
        self.depth = depth;
        let mut text = self.begin(&node.item);
        let depth_below = depth + usize::from(matches!(node.item.kind, ItemKind::Tool(_)));
        for below in &node.below {
            // A permission belongs to its call, and is written as a part of it.
            let depth = if matches!(below.item.kind, ItemKind::Permission(_)) { depth } else { depth_below };
            text += &self.node_at(below, depth);
        }
        self.depth = depth;
        text += &self.end_item(&node.item);
        self.has_spoken |= !text.is_empty();
        text
    }

    /// What a change adds to what was written.
    pub(crate) fn change(&mut self, change: &ItemChange) -> String {
        let text = match change {
            ItemChange::Append { item, append: ItemAppend::Text { text } } => {
                let Some(written) = self.written.get_mut(item) else { return String::new() };
                written.text.update(text.as_bytes());
                self.depth = written.depth;
                let (color, first) = (written.color, written.first);
                self.speak(color, text, first)
            }
            ItemChange::Append { .. } => String::new(),
            ItemChange::Whole { item } => self.whole(item),
        };
        self.has_spoken |= !text.is_empty();
        text
    }

    /// Ends the line that is being written.
    pub(crate) fn end(&mut self) -> String {
        let reset = if self.speaking.is_some() { "\x1b[0m" } else { "" };
        if std::mem::replace(&mut self.is_at_start, true) { reset.to_owned() } else { format!("{reset}\n") }
    }

    fn whole(&mut self, item: &Item) -> String {
        let Some(mut written) = self.written.remove(&item.item) else {
            let depth = item.parent.map_or(0, |parent| self.written.get(&parent).map_or(1, |parent| parent.depth + 1).min(8));
            self.depth = depth;
            let first = item.continues.and_then(|before| self.written.get(&before)).map_or(item.item, |before| before.first);
            let mut text = self.begin(item);
            let mut written = WrittenItem { depth, first, ..WrittenItem::default() };
            text += &self.end_changed(item, &mut written);
            written.note(item);
            self.remember(item, written);
            return text;
        };
        self.depth = written.depth;
        let text = match &item.kind {
            ItemKind::Message(message) | ItemKind::Thought(message) => self.changed_message(item, message, &written),
            ItemKind::Plan(plan) if written.plan.as_ref() != Some(plan) => self.plan(plan),
            _ => self.end_changed(item, &mut written),
        };
        written.note(item);
        self.remember(item, written);
        text
    }

    fn remember(&mut self, item: &Item, written: WrittenItem) {
        self.written.insert(item.item, written);
        if self.written.len() > MAX_WRITTEN_ITEMS {
            self.written.pop_first();
        }
    }

    /// The end of an item that has one, once.
    fn end_changed(&mut self, item: &Item, written: &mut WrittenItem) -> String {
        let has_ended = match &item.kind {
            ItemKind::Tool(_) | ItemKind::Permission(_) => item.end_at.is_some(),
            _ => false,
        };
        if has_ended && !std::mem::replace(&mut written.has_ended, true) { self.end_item(item) } else { String::new() }
    }

    fn changed_message(&mut self, item: &Item, message: &MessageItem, written: &WrittenItem) -> String {
        let mut text = String::new();
        if blake3::hash(message.text.as_bytes()) != written.text.finalize() {
            text += &self.line("\x1b[2m(corrected:)\x1b[0m");
            text += &self.speak(color_of(item, message), &message.text, written.first);
        }
        for block in message.blocks.iter().skip(written.blocks) {
            text += &self.speak(color_of(item, message), &block_text(block), written.first);
        }
        if message.abandoned && !written.is_abandoned {
            text += &self.abandoned();
        }
        text
    }

    /// The beginning of an item, or all of it.
    fn begin(&mut self, item: &Item) -> String {
        match &item.kind {
            ItemKind::Message(message) | ItemKind::Thought(message) => {
                let first = item.continues.and_then(|before| self.written.get(&before)).map_or(item.item, |before| before.first);
                let mut text = self.speak(color_of(item, message), &item_text::message_text(message), first);
                if message.abandoned {
                    text += &self.abandoned();
                }
                text
            }
            ItemKind::Tool(tool) => self.tool(tool),
            ItemKind::Plan(plan) => self.plan(plan),
            ItemKind::Permission(permission) => self.permission(permission),
            ItemKind::Notice(notice) => self.notice(notice),
            ItemKind::Turn(_) => self.turn(item),
            ItemKind::Other(other) => {
                let title = summary::plain(shortened(&other.title, MAX_LINE_BYTES));
                self.line(&format!("\x1b[2m· {title}\x1b[0m"))
            }
            ItemKind::Command(_) => String::new(),
        }
    }

    /// What is written of an item when it has ended.
    fn end_item(&mut self, item: &Item) -> String {
        match &item.kind {
            ItemKind::Tool(tool) => self.tool_end(tool),
            ItemKind::Permission(permission) => self.answer(permission),
            _ => String::new(),
        }
    }

    fn speak(&mut self, color: &str, said: &str, first: u64) -> String {
        let mut text = String::new();
        if self.speaking != Some(first) {
            if said.trim().is_empty() {
                return text;
            }
            text = self.end();
            if self.speaking.replace(first).is_some() || self.has_spoken {
                text.push('\n');
            }
            if self.depth > 0 {
                text.push_str(&self.indent());
                self.is_at_start = false;
            }
            text.push_str(color);
        }
        let said = summary::plain_lines(said);
        if said.is_empty() {
            return text;
        }
        if self.depth == 0 {
            text.push_str(&said);
        } else {
            let indent = self.indent();
            for line in said.split_inclusive('\n') {
                if std::mem::replace(&mut self.is_at_start, false) {
                    text.push_str(&indent);
                }
                text.push_str(line);
                self.is_at_start = line.ends_with('\n');
            }
        }
        self.is_at_start = said.ends_with('\n');
        text
    }

    fn indent(&self) -> String {
        "  ".repeat(self.depth)
    }

    fn line(&mut self, line: &str) -> String {
        let mut text = self.end();
        if self.speaking.take().is_some() {
            text.push('\n');
        }
        text.push_str(&self.indent());
        text.push_str(line);
        text.push('\n');
        text
    }

    fn abandoned(&mut self) -> String {
        self.line("\x1b[2m(abandoned; the agent sent it again)\x1b[0m")
    }

    fn tool(&mut self, tool: &ToolItem) -> String {
        let sign = if tool.tool_kind == "execute" { "$ " } else { "● " };
        let title = summary::plain(shortened(unframed(tool.title.trim()).lines().next().unwrap_or("tool"), MAX_LINE_BYTES));
        self.line(&format!("\x1b[36m{sign}\x1b[0m{title}"))
    }

    fn tool_end(&mut self, tool: &ToolItem) -> String {
        let end = match tool.status.as_str() {
            "completed" => "\x1b[32m✓\x1b[0m",
            "failed" => "\x1b[31m✗ failed\x1b[0m",
            _ => return String::new(),
        };
        let (head, missing, tail) =
            tool.output.as_ref().map_or(("", 0, ""), |output| item_text::ends(output, usize::MAX / 2, usize::MAX / 2));
        let between = if missing > 0 { summary::missing(missing) } else { String::new() };
        let lines = head.lines().chain((missing > 0).then_some(between.as_str())).chain(tail.lines());
        let lines: Vec<&str> = if self.last_lines == usize::MAX { lines.collect() } else { last(lines, self.last_lines) };
        let mut whole = String::new();
        for line in lines {
            let plain = summary::plain(shortened(&ansi::plain(line), MAX_LINE_BYTES));
            whole += &self.line(&format!("  \x1b[2m{plain}\x1b[0m"));
        }
        whole + &self.line(&format!("  {end}"))
    }

    fn plan(&mut self, plan: &PlanItem) -> String {
        let mut whole = self.line("\x1b[1mPlan\x1b[0m");
        for step in plan.entries.iter().take(100) {
            let sign = match step.status.as_str() {
                "completed" => "☑",
                "in_progress" => "▶",
                _ => "☐",
            };
            let content = summary::plain(shortened(&step.content, MAX_LINE_BYTES));
            whole += &self.line(&format!("  {sign} {content}"));
        }
        whole
    }

    fn notice(&mut self, notice: &NoticeItem) -> String {
        let texts = [notice.title.as_str(), notice.description.as_deref().unwrap_or_default()];
        let texts = texts.map(|text| summary::plain(shortened(text, 1000)));
        let texts: Vec<String> = texts.into_iter().filter(|text| !text.is_empty()).collect();
        self.line(&format!("\x1b[33m! {}\x1b[0m", texts.join(": ")))
    }

    fn permission(&mut self, permission: &PermissionItem) -> String {
        let title = permission.tool_call.get("title").and_then(|title| title.as_str()).unwrap_or("a tool call");
        let title = summary::plain(shortened(title.lines().next().unwrap_or_default(), MAX_LINE_BYTES));
        let names: Vec<String> = permission.options.iter().map(|option| summary::plain(&option.name)).collect();
        self.line(&format!("\x1b[1;33m? {title}\x1b[0m  [{}]", names.join(" / ")))
    }

    fn answer(&mut self, permission: &PermissionItem) -> String {
        let Some(resolved) = &permission.resolved else { return String::new() };
        let answer = summary::plain(resolved.option_id.as_deref().unwrap_or("not answered"));
        self.line(&format!("  \x1b[33m{answer}\x1b[0m"))
    }

    fn turn(&mut self, item: &Item) -> String {
        let Some((number, turn)) = item_text::ended_turn(item) else { return String::new() };
        let usage = turn.usage.as_ref().and_then(summary::usage).map(|usage| format!(" · {usage}")).unwrap_or_default();
        let end = summary::plain(&item_text::turn_end(turn));
        self.line(&format!("\x1b[2mturn {number}: {end}{usage}\x1b[0m"))
    }
}

impl WrittenItem {
    fn note(&mut self, item: &Item) {
        match &item.kind {
            ItemKind::Message(message) | ItemKind::Thought(message) => {
                self.text.reset();
                self.text.update(message.text.as_bytes());
                (self.blocks, self.is_abandoned, self.color) = (message.blocks.len(), message.abandoned, color_of(item, message));
            }
            ItemKind::Plan(plan) => self.plan = Some(plan.clone()),
            _ => {}
        }
    }
}

fn color_of(item: &Item, message: &MessageItem) -> &'static str {
    match (&item.kind, message.role) {
        (ItemKind::Thought(_), _) => "\x1b[2m",
        (_, MessageRole::User) => "\x1b[1;36m> \x1b[0;1m",
        (_, MessageRole::Agent) => "",
    }
}

fn last<'a>(lines: impl Iterator<Item = &'a str>, count: usize) -> Vec<&'a str> {
    let mut kept = std::collections::VecDeque::new();
    for line in lines {
        kept.push_back(line);
        if kept.len() > count {
            kept.pop_front();
        }
    }
    kept.into()
}
