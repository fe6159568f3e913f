//! Draws the items of a transcript as text: messages, tool calls as short lines, questions, turns and their usage.
//!
//! The server folds; this draws. Text that was printed is never changed: of an item that grows, what is new is printed, and of one that
//! was corrected, all of it again. What is still going on comes as a few lines ([`Renderer::progress_lines`]) that a terminal shows
//! below the text and erases again.

mod messages;
mod questions;
mod tools;

use std::collections::{BTreeMap, VecDeque};

use anstyle::{AnsiColor, Style};

use super::permission_prompt::PermissionPrompt;
use crate::{
    cli::{format, render::Styles},
    model::{
        RunState, StateEntry, UnixMs,
        item::{Item, ItemChange, ItemKind, MessageRole, NoticeItem, NoticeSeverity, PlanItem, TurnItem},
    },
    transcript::head_tail::append_to,
};

/// Most bytes of an unfinished line of a sub-agent's message or a tool's output that are held back.
const MAX_HELD_BYTES: usize = 16 << 10;
/// Width of a line where there is no terminal.
const DEFAULT_COLUMNS: usize = 160;
/// Items of which it is known what was drawn of them.
const MAX_DRAWN_ITEMS: usize = 4096;
/// What belongs further down is drawn no deeper.
const MAX_DEPTH: usize = 8;

const SUCCESS_STYLE: Style = AnsiColor::Green.on_default();
const ERROR_STYLE: Style = AnsiColor::Red.on_default();
const WARNING_STYLE: Style = AnsiColor::Yellow.on_default();
const USER_STYLE: Style = AnsiColor::Cyan.on_default().bold();

/// How a transcript is rendered.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RenderOptions {
    /// Width of the terminal. `None`: there is no terminal, and the line of a tool call is printed when it starts.
    pub(crate) columns: Option<usize>,
    pub(crate) styles: Styles,
    /// All output of tools and all diffs.
    pub(crate) full: bool,
    /// Only the agent's own messages.
    pub(crate) quiet: bool,
    /// Questions are shown one by one, when [`Renderer::ask`] says so.
    pub(crate) asks: bool,
}

/// Items go in, text comes out.
#[derive(Default)]
pub(crate) struct Renderer {
    pub(crate) options: RenderOptions,
    /// The run's working directory.
    cwd: String,
    /// Text that has not been taken yet.
    rendered: String,
    /// Whether the text ends with a whole line.
    at_line_start: bool,
    last: LastPrinted,
    /// The last line is the prompt sign, and what a person types behind it.
    is_prompting: bool,
    drawn: BTreeMap<u64, (Item, Drawn)>,
    /// The newest item of all.
    newest: u64,
    /// The tool call whose line is the last one and has no end yet.
    open_line: Option<u64>,
    /// The thought that is not printed yet.
    thought: Option<u64>,
    /// Prompts that were typed here, so that they are on the screen already.
    typed_prompts: VecDeque<String>,
    /// Open questions, oldest first.
    requests: Vec<PermissionPrompt>,
    /// IDs of permission requests that were answered from here.
    answered: Vec<String>,
    state: Option<RunState>,
    /// The running turn, and when it began.
    turn: Option<(u64, UnixMs)>,
}

/// What was drawn of an item.
#[derive(Debug, Default)]
struct Drawn {
    /// How deep below the agent itself: 0 for its own.
    depth: usize,
    /// Bytes of its text or output that were printed.
    printed: u64,
    /// Content blocks that were printed.
    blocks: usize,
    /// The line of a tool call was printed when it started.
    has_header: bool,
    /// Nothing more is printed of it.
    is_over: bool,
}

/// What was printed last, which decides about empty lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum LastPrinted {
    #[default]
    Nothing,
    /// The message of this item, or a block of lines of its own (0).
    Message(u64),
    Line,
}

impl Renderer {
    pub(crate) fn new(options: RenderOptions, cwd: &str) -> Self {
        Self { options, cwd: cwd.to_owned(), at_line_start: true, ..Self::default() }
    }

    /// A renderer as this one, before the first item.
    pub(crate) fn anew(&self) -> Self {
        Self::new(self.options, &self.cwd)
    }

    /// This prompt is on the screen already, so its message is not printed.
    pub(crate) fn expect_typed_prompt(&mut self, prompt: &str) {
        self.typed_prompts.push_back(prompt.to_owned());
    }

    /// This permission request is being answered from here.
    pub(crate) fn expect_answer(&mut self, id: &str) {
        self.answered.push(id.to_owned());
    }

    /// The open questions, oldest first.
    pub(crate) fn requests(&self) -> impl Iterator<Item = &PermissionPrompt> {
        self.requests.iter()
    }

    /// The text rendered since the last call.
    pub(crate) fn take(&mut self) -> String {
        std::mem::take(&mut self.rendered)
    }

    /// Whether the next character begins a line.
    pub(crate) fn is_at_line_start(&self) -> bool {
        self.at_line_start
    }

    /// Prints a note of loomd's own, dim.
    pub(crate) fn note(&mut self, text: &str) {
        let text = self.options.styles.dim(text);
        self.line(0, &text);
    }

    /// Prints the prompt sign, after which a person types.
    pub(crate) fn prompt(&mut self) {
        self.begin_message(0);
        self.rendered.push_str(&self.options.styles.apply(USER_STYLE, "> "));
        self.is_prompting = true;
    }

    /// Ends the line of the prompt, if nothing that was printed has ended it. `is_ended`: the terminal echoed the line end
    /// that was typed.
    pub(crate) fn end_prompt(&mut self, is_ended: bool) {
        if !std::mem::take(&mut self.is_prompting) {
            return;
        }
        if !is_ended {
            self.rendered.push('\n');
        }
        self.last = LastPrinted::Line;
    }

    /// Whether a person types behind the prompt sign. What is printed meanwhile ends its line.
    pub(crate) fn is_prompting(&self) -> bool {
        self.is_prompting
    }

    /// The run's state. A question is for a person only when the run waits for one: what a mode or a rule answers is not shown.
    pub(crate) fn set_state(&mut self, state: RunState) {
        self.state = Some(state);
        if state == RunState::AwaitingPermission && !self.options.asks {
            self.requests().map(|request| request.id().to_owned()).collect::<Vec<_>>().iter().for_each(|id| self.ask(id, usize::MAX));
        }
    }

    /// The run has changed its state.
    pub(crate) fn state_entry(&mut self, entry: &StateEntry) {
        if let (RunState::Running, Some(turn)) = (entry.state, entry.turn) {
            self.turn = Some((turn, entry.at));
        }
        self.set_state(entry.state);
    }

    pub(crate) fn state(&self) -> Option<RunState> {
        self.state
    }

    /// Draws what an item changed by. `seq`: of the change.
    pub(crate) fn change(&mut self, seq: u64, change: ItemChange) {
        let number = change.number();
        let (item, before, mut drawn) = match (change, self.drawn.remove(&number)) {
            (ItemChange::Append { append, .. }, Some((mut item, drawn))) => {
                append_to(&mut item, seq, &append);
                (item, None, drawn)
            }
            (ItemChange::Whole { item }, Some((before, drawn))) => (*item, Some(before), drawn),
            (ItemChange::Whole { item }, None) if number > self.newest => {
                let depth =
                    item.parent.map_or(0, |parent| self.drawn.get(&parent).map_or(1, |(_, parent)| parent.depth + 1).min(MAX_DEPTH));
                (*item, None, Drawn { depth, ..Drawn::default() })
            }
            // Of items that were forgotten nothing more is drawn.
            _ => return,
        };
        self.newest = self.newest.max(number);
        if let Some(turn) = item.turn.filter(|turn| self.turn.is_none_or(|(known, _)| *turn > known)) {
            self.turn = Some((turn, item.at));
        }
        // An item may come again as it was.
        if !drawn.is_over && before.as_ref() != Some(&item) {
            self.draw(&item, before.as_ref(), &mut drawn);
        }
        let item = if drawn.is_over { without_body(item) } else { item };
        self.drawn.insert(number, (item, drawn));
        if self.drawn.len() > MAX_DRAWN_ITEMS {
            self.drawn.pop_first();
        }
    }

    fn draw(&mut self, item: &Item, before: Option<&Item>, drawn: &mut Drawn) {
        let is_agents = matches!(&item.kind, ItemKind::Message(message) if message.role == MessageRole::Agent && item.parent.is_none());
        let is_shown = !self.options.quiet || is_agents || matches!(item.kind, ItemKind::Permission(_) | ItemKind::Turn(_));
        let is_hidden_thought = matches!(item.kind, ItemKind::Thought(_)) && item.parent.is_some();
        if !is_shown || is_hidden_thought {
            return;
        }
        if self.thought.is_some_and(|thought| thought != item.item) {
            self.end_thought();
        }
        match (&item.kind, before.map(|before| &before.kind)) {
            (ItemKind::Message(message), before) => self.message(item, message, before, drawn),
            (ItemKind::Thought(_), _) => self.thought = Some(item.item),
            (ItemKind::Tool(tool), before) => self.tool(item, tool, before, drawn),
            (ItemKind::Plan(plan), _) if item.parent.is_none() => {
                let before = before.and_then(|before| if let ItemKind::Plan(before) = &before.kind { Some(before) } else { None });
                self.plan(plan, before);
            }
            (ItemKind::Permission(permission), _) => {
                drawn.is_over = permission.resolved.is_some();
                self.permission(permission);
            }
            (ItemKind::Notice(notice), None) => self.notice(notice),
            (ItemKind::Turn(turn), None) => self.turn_end(item, turn),
            (ItemKind::Other(other), None) => self.note(&format!("· {}", format::plain(&other.title))),
            _ => {}
        }
    }

    /// Ends everything that is unfinished: the turn or the run has ended, or the person detaches.
    pub(crate) fn finish(&mut self) {
        self.end_thought();
        self.end_messages(None);
        self.end_tools();
        self.close_line();
    }

    fn plan(&mut self, plan: &PlanItem, before: Option<&PlanItem>) {
        let styles = self.options.styles;
        let is_same = |before: &&PlanItem| {
            before.entries.len() == plan.entries.len()
                && before.entries.iter().zip(&plan.entries).all(|(old, new)| old.content == new.content)
        };
        let before = before.filter(is_same);
        if before.is_none() && !plan.entries.is_empty() {
            self.line(0, &styles.apply(Style::new().bold(), "Plan"));
        }
        for (number, entry) in plan.entries.iter().enumerate() {
            if before.is_some_and(|before| before.entries[number].status == entry.status) {
                continue;
            }
            let content = format::plain(&entry.content);
            let line = match entry.status.as_str() {
                "completed" => format!("{} {}", styles.apply(SUCCESS_STYLE, "☑"), styles.dim(&content)),
                "in_progress" => format!("{} {content}", styles.apply(WARNING_STYLE, "▶")),
                _ => format!("☐ {content}"),
            };
            self.line(1, &line);
        }
    }

    fn notice(&mut self, notice: &NoticeItem) {
        let styles = self.options.styles;
        let (title, description) = (format::plain(&notice.title), notice.description.as_deref().map(format::plain));
        let text = description.map_or_else(|| title.clone(), |description| format!("{title}: {description}"));
        let line = match notice.severity {
            NoticeSeverity::Error => format!("{} {text}", styles.apply(ERROR_STYLE, "✗")),
            NoticeSeverity::Warning => format!("{} {text}", styles.apply(WARNING_STYLE, "!")),
            NoticeSeverity::Info => styles.dim(&format!("· {text}")),
        };
        self.line(0, &line);
    }

    /// A line with a turn's duration and usage.
    fn turn_end(&mut self, item: &Item, end: &TurnItem) {
        self.finish();
        let Some(turn) = item.turn else { return };
        if self.options.quiet {
            return;
        }
        let mut parts = vec![format!("turn {turn}")];
        let began_at = self.turn.filter(|(known, at)| *known == turn && *at < item.at).map(|(_, at)| at);
        parts.extend(began_at.map(|began_at| format::duration(item.at - began_at)));
        if let Some(usage) = &end.usage {
            let tokens = |count: Option<u64>, unit: &str| count.map(|count| format!("{} {unit}", short_count(count)));
            parts.extend(tokens(usage.input_tokens, "in"));
            parts.extend(tokens(usage.cached_input_tokens.filter(|count| *count > 0), "cached"));
            parts.extend(tokens(usage.output_tokens, "out"));
            parts.extend(usage.cost_usd.map(|cost| format!("${cost:.4}")));
        }
        let styles = self.options.styles;
        match (end.stop_reason.as_deref(), &end.error) {
            (_, Some(error)) if end.state == RunState::Idle => {
                self.line(0, &format!("{} {}", styles.apply(ERROR_STYLE, "✗"), format::plain(&error.message)));
            }
            (None | Some("end_turn"), _) => {}
            (Some("error"), _) => parts.push("failed".to_owned()),
            (Some("cancelled"), _) => parts.push("interrupted".to_owned()),
            (Some(reason), _) => parts.push(format::plain(reason).replace('_', " ")),
        }
        self.note(&format!("── {}", parts.join(" · ")));
    }

    fn begin_message(&mut self, item: u64) {
        self.close_line();
        if self.last != LastPrinted::Nothing {
            self.rendered.push('\n');
        }
        self.last = LastPrinted::Message(item);
    }

    /// Columns of a line at this depth.
    fn width(&self, depth: usize) -> usize {
        self.options.columns.unwrap_or(DEFAULT_COLUMNS).saturating_sub(2 * depth + 1).max(16)
    }

    fn line(&mut self, depth: usize, text: &str) {
        self.begin_line(depth);
        self.rendered.push_str(text);
        self.rendered.push('\n');
        self.at_line_start = true;
    }

    fn begin_line(&mut self, depth: usize) {
        self.close_line();
        if matches!(self.last, LastPrinted::Message(_)) {
            self.rendered.push('\n');
        }
        self.last = LastPrinted::Line;
        self.rendered.push_str(&"  ".repeat(depth));
    }

    fn close_line(&mut self) {
        self.open_line = None;
        self.end_prompt(false);
        if !std::mem::replace(&mut self.at_line_start, true) {
            self.rendered.push('\n');
        }
    }
}

/// What is kept of an item of which nothing more is drawn: what others below it need.
fn without_body(item: Item) -> Item {
    Item { kind: ItemKind::Plan(PlanItem { entries: Vec::new() }), ..item }
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

#[cfg(test)]
mod tests;
