//! What is done: tool calls, their output and their changes.

use anstyle::AnsiColor;
use serde_json::{Map, Value};

use super::{BAD, GOOD, HELD, Painter, SHOWN, SPINNER, WIDE};
use crate::{
    cli::{
        agent::{
            tail,
            tool::{Status, Tool},
        },
        render, words,
    },
    model::{RunState, UnixMs},
};

impl Painter {
    pub(super) fn tool(&mut self, id: &str, update: &Map<String, Value>, parent: Option<&str>, at: UnixMs) {
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
    pub(super) fn head_of(&mut self, parent: &str) {
        if self.tools.get(parent).is_some_and(|tool| !tool.is_headed && !tool.is_ended) {
            if let Some(above) = self.tools[parent].parent.clone().filter(|above| above != parent) {
                self.head_of(&above);
            }
            self.head(parent);
        }
    }

    pub(super) fn head(&mut self, id: &str) {
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

    pub(super) fn end_tool(&mut self, id: &str, at: UnixMs) {
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
    pub(super) fn pass_on(&mut self, id: &str, text: &str) {
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

    pub(super) fn output_line(&mut self, id: &str, line: &str) {
        let depth = self.tools.get(id).map_or(0, |tool| tool.depth);
        let ink = self.paper.ink;
        self.line(depth + 1, &ink.dim(&tail::clean(line)));
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
}
