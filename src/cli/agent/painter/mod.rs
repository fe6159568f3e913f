//! From entries to what a person reads: messages as text, tool calls as short lines, questions, turns and their price.
//!
//! What was printed stays as it is. What still goes on can be asked for as a few lines ([`Painter::going_on`]) that a terminal
//! shows below, and takes away again.

mod messages;
mod news;
#[cfg(test)]
mod tests;
mod tools;

use std::collections::{BTreeMap, VecDeque};

use anstyle::{AnsiColor, Style};
use serde_json::{Map, Value};

use super::{question::Question, tool::Tool};
use crate::{
    cli::render::Ink,
    model::{Entry, RunState, UnixMs, UpdateEntry},
};

/// How it is painted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Paper {
    /// Width of the terminal; `None`: there is none, and a tool call's line is printed when it begins.
    pub columns: Option<usize>,
    pub ink: Ink,
    /// All output and all diffs.
    pub full: bool,
    /// The agent's own messages alone.
    pub quiet: bool,
}

/// Entries go in, text comes out.
#[derive(Default)]
pub struct Painter {
    pub paper: Paper,
    /// Where the run works.
    cwd: String,
    written: String,
    at_start: bool,
    last: Block,
    tools: BTreeMap<String, Tool>,
    count: u64,
    /// The tool call whose line waits for its end.
    open_line: Option<String>,
    thought: Option<Thought>,
    /// What sub-agents are saying: whole lines of it are printed.
    below: BTreeMap<String, Below>,
    plan: Vec<(String, String)>,
    /// Prompts that were typed here and are not to be shown again.
    echoes: VecDeque<String>,
    questions: Vec<(Question, bool)>,
    /// Questions that were answered from here.
    answered: Vec<String>,
    pub state: Option<RunState>,
    turn_began: Option<UnixMs>,
    /// The half of a line of output that is passed on line by line.
    half_lines: BTreeMap<String, String>,
}

/// What was printed last, for the empty lines between.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Block {
    #[default]
    Nothing,
    Message(String),
    Line,
}

#[derive(Debug, Default)]
struct Thought {
    message_id: String,
    text: String,
}

#[derive(Debug, Default)]
struct Below {
    message_id: String,
    text: String,
    depth: usize,
}

/// Longest piece of a thought, or of a sub-agent's line, that is kept.
const HELD: usize = 16 << 10;
/// Columns of a line where there is no terminal to say.
const WIDE: usize = 160;
/// Tool calls that are shown at once while they go on.
const SHOWN: usize = 3;

const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default();
const WARNING: Style = AnsiColor::Yellow.on_default();
const USER: Style = AnsiColor::Cyan.on_default().bold();
const SPINNER: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];

impl Painter {
    pub fn new(paper: Paper, cwd: &str) -> Self {
        Self { paper, cwd: cwd.to_owned(), at_start: true, ..Self::default() }
    }

    /// This prompt stands on the screen already.
    pub fn expect_echo(&mut self, prompt: &str) {
        self.echoes.push_back(prompt.to_owned());
    }

    /// An answer to this question is on its way from here.
    pub fn expect_answer(&mut self, id: &str) {
        self.answered.push(id.to_owned());
    }

    /// The open questions, oldest first.
    pub fn questions(&self) -> impl Iterator<Item = &Question> {
        self.questions.iter().map(|(question, _)| question)
    }

    /// What was painted since the last call.
    pub fn take(&mut self) -> String {
        std::mem::take(&mut self.written)
    }

    /// Whether the next character begins a line.
    pub fn is_at_start(&self) -> bool {
        self.at_start
    }

    /// Something of ours, as a dim line.
    pub fn note(&mut self, text: &str) {
        let ink = self.paper.ink;
        self.line(0, &ink.dim(text));
    }

    /// Begins the line on which a person types.
    pub fn prompt(&mut self) {
        self.begin_message("");
        self.written.push_str(&self.paper.ink.paint(USER, "> "));
    }

    /// Ends that line, if whoever typed did not.
    pub fn end_prompt(&mut self, is_ended: bool) {
        if !is_ended {
            self.written.push('\n');
        }
        self.last = Block::Line;
    }

    pub fn entry(&mut self, entry: &Entry) {
        match entry {
            Entry::Update(entry) => self.update(entry),
            Entry::Permission(entry) => self.permission(entry),
            Entry::State(entry) => self.run_state(entry),
            Entry::Output(_) | Entry::Session(_) => {}
        }
    }

    /// Everything that was begun and will not go on here.
    pub fn finish(&mut self) {
        self.end_thought();
        for parent in self.below.keys().cloned().collect::<Vec<_>>() {
            self.end_below(&parent);
        }
        let mut left: Vec<(u64, String)> =
            self.tools.iter().filter(|(_, tool)| !tool.is_ended).map(|(id, tool)| (tool.number, id.clone())).collect();
        left.sort();
        for (_, id) in left {
            if !self.tools[&id].is_headed {
                self.head(&id);
            }
        }
        self.close_line();
    }

    fn update(&mut self, entry: &UpdateEntry) {
        let update = &entry.update;
        let text = |name: &str| update.get(name).and_then(Value::as_str).unwrap_or_default();
        let parent = meta(update, "loomd/parentToolCallId").and_then(Value::as_str);
        let kind = text("sessionUpdate");
        if self.paper.quiet && !(kind == "agent_message_chunk" && parent.is_none()) {
            return;
        }
        if kind != "agent_thought_chunk" {
            self.end_thought();
        }
        let content = update.get("content");
        let said = content.and_then(|content| content["text"].as_str()).unwrap_or_default();
        match (kind, parent) {
            ("user_message_chunk", None) => self.user(content),
            ("agent_message_chunk", None) => self.message(text("messageId"), content, update),
            ("agent_message_chunk", Some(parent)) => self.below(parent, text("messageId"), said),
            ("agent_thought_chunk", None) => self.thought(text("messageId"), said),
            ("tool_call" | "tool_call_update", _) => self.tool(text("toolCallId"), update, parent, entry.at),
            ("plan", None) => self.plan(update.get("entries")),
            ("notice", _) => self.notice(text("severity"), text("title"), text("description")),
            // Modes, commands, prices in between, and what is not known yet.
            _ => {}
        }
    }

    fn begin_message(&mut self, message_id: &str) {
        self.close_line();
        if self.last != Block::Nothing {
            self.written.push('\n');
        }
        self.last = Block::Message(message_id.to_owned());
    }

    // Lines.

    /// Columns of a line at this depth.
    fn room(&self, depth: usize) -> usize {
        self.paper.columns.unwrap_or(WIDE).saturating_sub(2 * depth + 1).max(16)
    }

    fn line(&mut self, depth: usize, text: &str) {
        self.begin_line(depth);
        self.written.push_str(text);
        self.written.push('\n');
        self.at_start = true;
    }

    fn begin_line(&mut self, depth: usize) {
        self.close_line();
        if matches!(self.last, Block::Message(_)) {
            self.written.push('\n');
        }
        self.last = Block::Line;
        self.written.push_str(&"  ".repeat(depth));
    }

    fn close_line(&mut self) {
        self.open_line = None;
        if !std::mem::replace(&mut self.at_start, true) {
            self.written.push('\n');
        }
    }
}

fn meta<'a>(update: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    update.get("_meta")?.get(name)
}
