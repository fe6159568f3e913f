//! From entries to what a person reads: messages as text, tool calls as short lines, questions, turns and their price.
//!
//! What was printed stays as it is. What still goes on can be asked for as a few lines ([`Painter::going_on`]) that a terminal
//! shows below, and takes away again.

use std::collections::{BTreeMap, VecDeque};

use anstyle::{AnsiColor, Style};
use serde_json::{Map, Value};

use super::{
    question::{self, Question},
    tail,
    tool::{Status, Tool},
};
use crate::{
    cli::{
        render::{self, Ink},
        words,
    },
    model::{
        Entry, PermissionEntry, RunState, StateEntry, UnixMs, UpdateEntry,
        entry::{PermissionStatus, ResolvedBy},
    },
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

    // Messages.

    fn user(&mut self, content: Option<&Value>) {
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

    fn message(&mut self, message_id: &str, content: Option<&Value>, update: &Map<String, Value>) {
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

    fn begin_message(&mut self, message_id: &str) {
        self.close_line();
        if self.last != Block::Nothing {
            self.written.push('\n');
        }
        self.last = Block::Message(message_id.to_owned());
    }

    fn below(&mut self, parent: &str, message_id: &str, said: &str) {
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

    fn end_below(&mut self, parent: &str) {
        if let Some(Below { text, depth, .. }) = self.below.remove(parent) {
            self.lines_below(depth, &text);
        }
    }

    fn lines_below(&mut self, depth: usize, text: &str) {
        let ink = self.paper.ink;
        let lines = words::plain_lines(text);
        lines.lines().filter(|line| !line.trim().is_empty()).for_each(|line| self.line(depth, &ink.dim(line)));
    }

    // Thoughts.

    fn thought(&mut self, message_id: &str, said: &str) {
        if self.thought.as_ref().is_some_and(|thought| thought.message_id != message_id) {
            self.end_thought();
        }
        let thought = self.thought.get_or_insert_with(|| Thought { message_id: message_id.to_owned(), text: String::new() });
        if self.paper.full || thought.text.len() < HELD {
            thought.text.push_str(said);
        }
    }

    fn end_thought(&mut self) {
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

    // Tool calls.

    fn tool(&mut self, id: &str, update: &Map<String, Value>, parent: Option<&str>, at: UnixMs) {
        if let Some(parent) = parent.filter(|parent| *parent != id) {
            self.head_of(parent);
        }
        let depth = parent.map_or(0, |parent| self.tools.get(parent).map_or(1, |tool| tool.depth + 1));
        if !self.tools.contains_key(id) {
            self.count += 1;
            let parent = parent.map(str::to_owned);
            self.tools
                .insert(id.to_owned(), Tool { number: self.count, parent, depth, began: at, title: id.to_owned(), ..Tool::default() });
        }
        let full = self.paper.full;
        let tool = self.tools.get_mut(id).expect("it was just looked for");
        if tool.is_ended {
            return;
        }
        let grown = tool.apply(update);
        let (begun, ended, headed) = (tool.has_begun() || grown.is_some(), tool.has_ended(), tool.is_headed);
        if begun && !headed && !ended && (self.paper.columns.is_none() || (full && grown.is_some())) {
            self.head(id);
        }
        if let Some(grown) = grown.filter(|_| full) {
            if grown.corrects {
                self.half_lines.remove(id);
                self.note("(what it wrote is told anew, for it was different:)");
            }
            self.pass_on(id, grown.text);
        }
        if ended {
            self.end_tool(id, at);
        }
    }

    /// The line of a tool call that sub-agents speak of stands before what they say.
    fn head_of(&mut self, parent: &str) {
        if self.tools.get(parent).is_some_and(|tool| !tool.is_headed && !tool.is_ended) {
            if let Some(above) = self.tools[parent].parent.clone().filter(|above| above != parent) {
                self.head_of(&above);
            }
            self.head(parent);
        }
    }

    fn head(&mut self, id: &str) {
        let Some(tool) = self.tools.get_mut(id) else { return };
        tool.is_headed = true;
        let (depth, line) = (tool.depth, tool.line());
        // Room for how it ends.
        let line = render::cut(&line, self.room(depth).saturating_sub(12));
        self.begin_line(depth);
        self.written.push_str(&format!("● {line}"));
        self.at_start = false;
        self.open_line = Some(id.to_owned());
        if self.paper.columns.is_some() {
            self.close_line();
        }
    }

    fn end_tool(&mut self, id: &str, at: UnixMs) {
        for below in self.below.keys().cloned().collect::<Vec<_>>() {
            if below == id {
                self.end_below(id);
            }
        }
        let half = self.half_lines.remove(id);
        if let Some(half) = half {
            self.output_line(id, &half);
        }
        let (ink, full) = (self.paper.ink, self.paper.full);
        let tool = std::mem::take(self.tools.get_mut(id).expect("who ends was there"));
        let depth = tool.depth;
        let good = tool.status == Status::Completed;
        let (mark, style) = if good { ("✓", GOOD) } else { ("✗", BAD) };
        let took = at.saturating_sub(tool.began);
        let took = if took >= 1000 { format!(" {}", ink.dim(&words::duration(took))) } else { String::new() };
        let mark = ink.paint(style, mark);
        let line = render::cut(&tool.line(), self.room(depth).saturating_sub(12));
        if self.open_line.as_deref() == Some(id) {
            self.written.push_str(&format!(" {mark}{took}"));
            self.close_line();
        } else if tool.is_headed {
            self.line(depth, &format!("{mark} {line}{took}"));
        } else {
            self.line(depth, &format!("{} {line} {mark}{took}", ink.paint(style, "●")));
        }
        for diff in &tool.diffs {
            self.line(depth + 1, &diff.summary(ink));
            if full {
                self.begin_line(0);
                self.written.push_str(&diff.whole(ink, &"  ".repeat(depth + 2)));
            }
        }
        if full {
            if !tool.grows {
                tool.output.last(usize::MAX).1.iter().for_each(|line| self.line(depth + 1, &ink.dim(line)));
            }
        } else if !tool.output.is_empty() {
            let (hidden, lines) = tool.output.last(tool.lines_of_interest());
            let room = self.room(depth + 1);
            if hidden > 0 {
                let unit = if hidden == 1 { "line" } else { "lines" };
                let before = if lines.is_empty() { "" } else { " before" };
                self.line(depth + 1, &ink.dim(&format!("… {hidden} {unit}{before}")));
            }
            lines.iter().for_each(|line| self.line(depth + 1, &ink.dim(&render::cut(line, room))));
        }
        // Its name is known on, but what it held is not needed any more.
        let ended =
            Tool { number: tool.number, title: tool.title, kind: tool.kind, depth, is_ended: true, is_headed: true, ..Tool::default() };
        self.tools.insert(id.to_owned(), ended);
    }

    /// Prints output line by line.
    fn pass_on(&mut self, id: &str, text: &str) {
        let mut half = self.half_lines.remove(id).unwrap_or_default();
        for piece in text.split_inclusive('\n') {
            half.push_str(piece);
            if piece.ends_with('\n') || half.len() > HELD {
                self.output_line(id, &std::mem::take(&mut half));
            }
        }
        if !half.is_empty() {
            self.half_lines.insert(id.to_owned(), half);
        }
    }

    fn output_line(&mut self, id: &str, line: &str) {
        let depth = self.tools.get(id).map_or(0, |tool| tool.depth);
        let ink = self.paper.ink;
        self.line(depth + 1, &ink.dim(&tail::clean(line)));
    }

    // The rest.

    fn plan(&mut self, entries: Option<&Value>) {
        let entries: Vec<(String, String)> = entries
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .map(|entry| {
                (entry["content"].as_str().unwrap_or_default().to_owned(), entry["status"].as_str().unwrap_or_default().to_owned())
            })
            .collect();
        let is_same_list = entries.len() == self.plan.len() && entries.iter().zip(&self.plan).all(|(new, old)| new.0 == old.0);
        let before = std::mem::replace(&mut self.plan, entries.clone());
        let ink = self.paper.ink;
        if !is_same_list && !entries.is_empty() {
            self.line(0, &ink.paint(Style::new().bold(), "Plan"));
        }
        for (number, (content, status)) in entries.iter().enumerate() {
            if is_same_list && before[number].1 == *status {
                continue;
            }
            let content = words::plain(content);
            let line = match status.as_str() {
                "completed" => format!("{} {}", ink.paint(GOOD, "☑"), ink.dim(&content)),
                "in_progress" => format!("{} {content}", ink.paint(WARNING, "▶")),
                _ => format!("☐ {content}"),
            };
            self.line(1, &line);
        }
    }

    fn notice(&mut self, severity: &str, title: &str, description: &str) {
        let ink = self.paper.ink;
        let (title, description) = (words::plain(title), words::plain(description));
        let text = if description.is_empty() { title } else { format!("{title}: {description}") };
        let line = match severity {
            "error" => format!("{} {text}", ink.paint(BAD, "✗")),
            "warning" => format!("{} {text}", ink.paint(WARNING, "!")),
            _ => ink.dim(&format!("· {text}")),
        };
        self.line(0, &line);
    }

    fn permission(&mut self, entry: &PermissionEntry) {
        match &entry.status {
            PermissionStatus::Requested { tool_call, options } => {
                let id = entry.permission_id.clone();
                self.questions.push((Question { id, tool_call: tool_call.clone(), options: options.clone() }, false));
                // What a policy decides at once is no question for anybody; that one waits is said by the state that follows.
                if self.state == Some(RunState::AwaitingPermission) {
                    self.show_questions();
                }
            }
            PermissionStatus::Resolved { option_id, by, .. } => {
                let Some(at) = self.questions.iter().position(|(question, _)| question.id == entry.permission_id) else { return };
                let (question, was_shown) = self.questions.remove(at);
                self.resolved(&question, was_shown, option_id.as_deref(), *by);
            }
        }
    }

    fn show_questions(&mut self) {
        // Whoever wants the messages alone has a terminal for questions, or none.
        if self.paper.quiet && self.paper.columns.is_none() {
            return;
        }
        let (ink, cwd) = (self.paper.ink, self.cwd.clone());
        let new: Vec<String> = self
            .questions
            .iter_mut()
            .filter(|(_, shown)| !shown)
            .map(|(question, shown)| {
                *shown = true;
                question.whole(&cwd, ink)
            })
            .collect();
        for text in new {
            self.end_thought();
            self.begin_message("question");
            self.written.push_str(&text);
            self.last = Block::Line;
        }
    }

    fn resolved(&mut self, question: &Question, was_shown: bool, option_id: Option<&str>, by: ResolvedBy) {
        let chosen = option_id.map(|id| question::name_of(&question.options, id));
        let kind =
            option_id.and_then(|id| question.options.iter().find(|option| option.option_id == id)).map(|option| option.kind.as_str());
        let is_yes = kind.is_some_and(|kind| kind.starts_with("allow"));
        let ink = self.paper.ink;
        let mark = if is_yes { ink.paint(GOOD, "✓") } else { ink.paint(BAD, "✗") };
        let is_ours = self.answered.contains(&question.id);
        let line = match (chosen, by) {
            (_, ResolvedBy::Policy) if is_yes => return,
            (_, ResolvedBy::Policy) => format!("{mark} refused by the run's permissions: {}", question.title()),
            (Some(chosen), _) if is_ours || self.answered.is_empty() && self.paper.columns.is_none() => format!("{mark} {chosen}"),
            (Some(chosen), _) => format!("{mark} {chosen} {}", ink.dim("(answered elsewhere)")),
            (None, ResolvedBy::Provider) => ink.dim("· it does not ask that any more"),
            (None, ResolvedBy::Client) => ink.dim("· nobody chose, so nothing was allowed"),
        };
        if was_shown || (by == ResolvedBy::Policy && !self.paper.quiet) {
            self.line(0, &line);
        }
    }

    fn run_state(&mut self, entry: &StateEntry) {
        self.state = Some(entry.state);
        match entry.state {
            RunState::AwaitingPermission => self.show_questions(),
            RunState::Running if entry.turn.is_some() => self.turn_began = Some(entry.at),
            _ => {}
        }
        if entry.state != RunState::Idle && !entry.state.is_final() {
            return;
        }
        self.finish();
        self.tools.clear();
        self.plan.clear();
        let Some(turn) = entry.turn else { return };
        let took = self.turn_began.take().map(|began| words::duration(entry.at.saturating_sub(began)));
        if self.paper.quiet {
            return;
        }
        let mut parts = vec![format!("turn {turn}")];
        parts.extend(took);
        if let Some(usage) = &entry.usage {
            let tokens = |count: Option<u64>, word: &str| count.map(|count| format!("{} {word}", short_count(count)));
            parts.extend(tokens(usage.input_tokens, "in"));
            parts.extend(tokens(usage.cached_input_tokens.filter(|count| *count > 0), "cached"));
            parts.extend(tokens(usage.output_tokens, "out"));
            parts.extend(usage.cost_usd.map(|cost| format!("${cost:.4}")));
        }
        let ink = self.paper.ink;
        match (entry.stop_reason.as_deref(), &entry.error) {
            (_, Some(error)) if entry.state == RunState::Idle => {
                self.line(0, &format!("{} {}", ink.paint(BAD, "✗"), words::plain(&error.message)));
            }
            (None | Some("end_turn" | "error"), _) => {}
            (Some("cancelled"), _) => parts.push("interrupted".to_owned()),
            (Some(reason), _) => parts.push(words::plain(reason).replace('_', " ")),
        }
        self.note(&format!("── {}", parts.join(" · ")));
    }

    /// What goes on now, for the lines below the text.
    pub fn going_on(&self, now: UnixMs, frame: usize) -> Vec<String> {
        let ink = self.paper.ink;
        let columns = self.paper.columns.unwrap_or(WIDE).saturating_sub(1);
        let spinner = ink.paint(AnsiColor::Cyan.on_default(), SPINNER[frame % SPINNER.len()]);
        let since = |began: UnixMs| match now.saturating_sub(began) {
            short @ ..1000 if short < 1000 => String::new(),
            long => format!(" {}", words::duration(long / 1000 * 1000)),
        };
        let mut lines = Vec::new();
        if let Some(thought) = &self.thought {
            let last = thought.text.trim_end().lines().next_back().unwrap_or_default();
            lines.push(ink.dim(&render::cut(&format!("✻ {}", tail::clean(last)), columns)));
        }
        let mut going: Vec<&Tool> = self.tools.values().filter(|tool| !tool.is_ended && tool.has_begun()).collect();
        going.sort_by_key(|tool| tool.number);
        let hidden = going.len().saturating_sub(SHOWN);
        if hidden > 0 {
            lines.push(ink.dim(&format!("… {hidden} more")));
        }
        for tool in &going[hidden..] {
            let took = since(tool.began);
            let line = render::cut(&tool.line(), columns.saturating_sub(2 + took.len()));
            lines.push(format!("{spinner} {line}{}", ink.dim(&took)));
            if !self.paper.full && tool.kind == "execute" {
                let (_, last) = tool.output.last(3);
                lines.extend(last.iter().map(|line| ink.dim(&render::cut(&format!("    {line}"), columns))));
            }
        }
        let works = matches!(self.state, Some(RunState::Starting | RunState::Running) | None);
        if lines.is_empty() && works {
            let took = self.turn_began.map(since).unwrap_or_default();
            lines.push(format!("{spinner} {}", ink.dim(&format!("working{took}"))));
        }
        lines
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

/// The text that stands for a content block.
fn block_text(block: &Value) -> std::borrow::Cow<'_, str> {
    match (block["text"].as_str(), block["type"].as_str()) {
        (Some(text), _) => text.into(),
        (None, Some("resource_link")) => format!("[{}]", block["uri"].as_str().unwrap_or("link")).into(),
        (None, Some("resource")) => format!("[{}]", block["resource"]["uri"].as_str().unwrap_or("resource")).into(),
        (None, kind) => format!("[{}]", kind.unwrap_or("content")).into(),
    }
}

fn meta<'a>(update: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    update.get("_meta")?.get(name)
}

/// `950`, `1.2k`, `34k`, `1.5M`.
fn short_count(count: u64) -> String {
    match count {
        0..1000 => count.to_string(),
        1000..10_000 => format!("{}.{}k", count / 1000, count % 1000 / 100),
        10_000..1_000_000 => format!("{}k", count / 1000),
        _ => format!("{}.{}M", count / 1_000_000, count % 1_000_000 / 100_000),
    }
}
