//! Tool calls, their output and their changes of files.

use anstyle::AnsiColor;

use super::{DEFAULT_COLUMNS, Drawn, ERROR_STYLE, MAX_HELD_BYTES, Renderer, SUCCESS_STYLE};
use crate::{
    cli::{changes, format, render},
    model::{
        RunState, UnixMs,
        item::{Item, ItemKind, Output, ToolItem},
    },
    transcript::{patch, unframed},
};

/// Most running tool calls that the progress lines show.
const MAX_SHOWN_TOOLS: usize = 3;
const SPINNER_FRAMES: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];

impl Renderer {
    /// Prints what became known for good of a tool call.
    pub(super) fn tool(&mut self, item: &Item, tool: &ToolItem, before: Option<&ItemKind>, drawn: &mut Drawn) {
        item.parent.into_iter().for_each(|parent| self.print_header(parent));
        let (full, has_ended) = (self.options.full, has_ended(tool));
        let is_header_due = self.options.columns.is_none() || (full && tool.output.is_some());
        if has_started(tool) && !drawn.has_header && !has_ended && is_header_due {
            self.header(item.item, tool, drawn);
        }
        if let (true, Some(output)) = (full, &tool.output) {
            if let Some(ItemKind::Tool(before)) = before
                && let Some(at) = corrected_at(before.output.as_ref(), output, drawn.printed)
            {
                self.note("(output corrected:)");
                drawn.printed = at;
            }
            if drawn.has_header && !has_ended {
                self.stream_output(output, drawn, false);
            }
        }
        if has_ended {
            self.end_tool(item, tool, drawn);
        } else if item.end_at.is_some() {
            self.header(item.item, tool, drawn);
            drawn.is_over = true;
        }
    }

    fn header(&mut self, number: u64, tool: &ToolItem, drawn: &mut Drawn) {
        if std::mem::replace(&mut drawn.has_header, true) {
            return;
        }
        // Twelve columns are left for the mark and the duration at the end.
        let line = render::truncate(&title_line(tool), self.width(drawn.depth).saturating_sub(12));
        self.begin_line(drawn.depth);
        self.rendered.push_str(&format!("● {line}"));
        self.at_line_start = false;
        self.open_line = Some(number);
        if self.options.columns.is_some() {
            self.close_line();
        }
    }

    /// Prints the line of a tool call, so that it comes before what its sub-agent does.
    pub(super) fn print_header(&mut self, number: u64) {
        let Some((item, mut drawn)) = self.drawn.remove(&number) else { return };
        if let (ItemKind::Tool(tool), false, false) = (&item.kind, drawn.is_over, drawn.has_header) {
            item.parent.into_iter().for_each(|parent| self.print_header(parent));
            self.header(number, tool, &mut drawn);
        }
        self.drawn.insert(number, (item, drawn));
    }

    /// Prints the lines of tool calls that have not ended with their turn.
    pub(super) fn end_tools(&mut self) {
        let unfinished: Vec<u64> = self.running().map(|(item, _)| item.item).collect();
        for number in unfinished {
            if !self.options.quiet {
                self.print_header(number);
            }
            self.drawn.get_mut(&number).into_iter().for_each(|(_, drawn)| drawn.is_over = true);
        }
    }

    fn end_tool(&mut self, item: &Item, tool: &ToolItem, drawn: &mut Drawn) {
        self.end_messages(Some((item.item, 0)));
        let (styles, full, depth) = (self.options.styles, self.options.full, drawn.depth);
        if let (true, true, Some(output)) = (full, drawn.printed > 0, &tool.output) {
            self.stream_output(output, drawn, true);
        }
        let (mark, style) = if tool.status == "completed" { ("✓", SUCCESS_STYLE) } else { ("✗", ERROR_STYLE) };
        let took = item.end_at.unwrap_or(item.at).saturating_sub(item.at);
        let took = if took >= 1000 { format!(" {}", styles.dim(&format::duration(took))) } else { String::new() };
        let mark = styles.apply(style, mark);
        let line = render::truncate(&title_line(tool), self.width(depth).saturating_sub(12));
        if self.open_line == Some(item.item) {
            self.rendered.push_str(&format!(" {mark}{took}"));
            self.close_line();
        } else if drawn.has_header {
            self.line(depth, &format!("{mark} {line}{took}"));
        } else {
            self.line(depth, &format!("{} {line} {mark}{took}", styles.apply(style, "●")));
        }
        (drawn.has_header, drawn.is_over) = (true, true);
        for change in &tool.diffs {
            self.line(depth + 1, &changes::summary(change, styles));
            if full && !change.omitted {
                self.begin_line(0);
                self.rendered.push_str(&changes::colored(&patch::applicable(change, &self.cwd), styles, &"  ".repeat(depth + 2)));
            }
        }
        let Some(output) = &tool.output else { return };
        if full {
            self.stream_output(output, drawn, true);
            return;
        }
        let (hidden, at_least, lines) = last_lines(output, shown_output_lines(tool));
        let width = self.width(depth + 1);
        if hidden > 0 {
            let unit = if hidden == 1 { "line" } else { "lines" };
            let (more, earlier) = (if at_least { "more than " } else { "" }, if lines.is_empty() { "" } else { "earlier " });
            self.line(depth + 1, &styles.dim(&format!("… {more}{hidden} {earlier}{unit}")));
        }
        lines.iter().for_each(|line| self.line(depth + 1, &styles.dim(&render::truncate(line, width))));
    }

    /// Prints what follows of an output: whole lines, and at its end the rest.
    fn stream_output(&mut self, output: &Output, drawn: &mut Drawn, is_end: bool) {
        let (styles, depth) = (self.options.styles, drawn.depth + 1);
        for (missing, text) in unprinted(output, drawn.printed) {
            if missing > 0 {
                self.line(depth, &styles.dim(&format!("… {} are not kept here; `loomd logs --raw` has them", format::bytes(missing))));
                drawn.printed += missing;
            }
            let text = match text.rfind('\n') {
                _ if is_end || text.len() > MAX_HELD_BYTES => text,
                end => &text[..end.map_or(0, |end| end + 1)],
            };
            let lines = if is_end { text.trim_end() } else { text };
            lines.lines().for_each(|line| self.line(depth, &styles.dim(&clean_line(line))));
            drawn.printed += text.len() as u64;
        }
    }

    fn running(&self) -> impl Iterator<Item = (&Item, &ToolItem)> {
        self.drawn.values().filter(|(_, drawn)| !drawn.is_over).filter_map(|(item, _)| match &item.kind {
            ItemKind::Tool(tool) => Some((item, &**tool)),
            _ => None,
        })
    }

    /// What is going on now: the thought, the running tool calls and the end of their output, or that the agent works.
    pub(crate) fn progress_lines(&self, now: UnixMs, frame: usize) -> Vec<String> {
        let styles = self.options.styles;
        let columns = self.options.columns.unwrap_or(DEFAULT_COLUMNS).saturating_sub(1);
        let spinner = styles.apply(AnsiColor::Cyan.on_default(), SPINNER_FRAMES[frame % SPINNER_FRAMES.len()]);
        let since = |started_at: UnixMs| match now.saturating_sub(started_at) {
            ..1000 => String::new(),
            elapsed => format!(" {}", format::duration(elapsed / 1000 * 1000)),
        };
        let mut lines = Vec::new();
        if let Some(thought) = self.thinking() {
            lines.push(styles.dim(&render::truncate(&format!("✻ {}", clean_line(&thought)), columns)));
        }
        let running: Vec<(&Item, &ToolItem)> = self.running().filter(|(_, tool)| has_started(tool)).collect();
        let hidden = running.len().saturating_sub(MAX_SHOWN_TOOLS);
        if hidden > 0 {
            lines.push(styles.dim(&format!("… {hidden} more")));
        }
        for (item, tool) in &running[hidden..] {
            let took = since(item.at);
            let line = render::truncate(&title_line(tool), columns.saturating_sub(2 + took.len()));
            lines.push(format!("{spinner} {line}{}", styles.dim(&took)));
            if let (false, "execute", Some(output)) = (self.options.full, tool.tool_kind.as_str(), &tool.output) {
                let (_, _, last) = last_lines(output, 3);
                lines.extend(last.iter().map(|line| styles.dim(&render::truncate(&format!("    {line}"), columns))));
            }
        }
        let is_working = matches!(self.state, Some(RunState::Starting | RunState::Running) | None);
        if lines.is_empty() && is_working {
            let took = self.turn.map(|(_, at)| since(at)).unwrap_or_default();
            lines.push(format!("{spinner} {}", styles.dim(&format!("Working…{took}"))));
        }
        lines
    }
}

/// Whether it has started. A pending tool call may still get another title.
fn has_started(tool: &ToolItem) -> bool {
    tool.status != "pending"
}

fn has_ended(tool: &ToolItem) -> bool {
    matches!(tool.status.as_str(), "completed" | "failed")
}

/// Its title as one line, after `$` if it is a command.
fn title_line(tool: &ToolItem) -> String {
    let sign = if tool.tool_kind == "execute" { "$ " } else { "" };
    let mut lines = unframed(tool.title.trim()).lines();
    let first = format::plain(lines.next().unwrap_or("tool"));
    let more = if lines.next().is_some() { " …" } else { "" };
    format!("{sign}{first}{more}")
}

/// How many of the last lines of its output are shown when it has ended.
fn shown_output_lines(tool: &ToolItem) -> usize {
    match tool.tool_kind.as_str() {
        _ if tool.status == "failed" => 8,
        "read" | "search" | "fetch" | "think" | "edit" | "delete" | "move" => 0,
        _ => 4,
    }
}

/// The parts before and behind what is omitted, and how many bytes that is.
fn parts(output: &Output) -> (&str, u64, &str) {
    let cut = output.omitted_at.and_then(|at| output.text.split_at_checked(usize::try_from(at).ok()?));
    let (head, tail) = cut.unwrap_or((&output.text, ""));
    (head, output.omitted_bytes.unwrap_or_default(), tail)
}

/// What follows the first `printed` bytes: texts, each with how many bytes are missing before it.
fn unprinted(output: &Output, printed: u64) -> Vec<(u64, &str)> {
    let (head, omitted, tail) = parts(output);
    let from = |text: &'_ str, at: u64| text.ceil_char_boundary(usize::try_from(at).unwrap_or(usize::MAX).min(text.len()));
    let head_bytes = head.len() as u64;
    let before_tail = head_bytes + omitted;
    let mut found = Vec::new();
    if printed < head_bytes {
        found.push((0, &head[from(head, printed)..]));
    }
    let missing = before_tail.saturating_sub(printed.max(head_bytes));
    if missing > 0 || !tail.is_empty() {
        found.push((missing, &tail[from(tail, printed.saturating_sub(before_tail))..]));
    }
    found
}

/// The byte from which an output is another now, if some of that was printed.
fn corrected_at(before: Option<&Output>, now: &Output, printed: u64) -> Option<u64> {
    let (before, now) = (parts(before?), parts(now));
    let common = before.0.bytes().zip(now.0.bytes()).take_while(|(before, now)| before == now).count();
    let is_same_head = common == before.0.len().min(now.0.len());
    let total = (now.0.len() + now.2.len()) as u64 + now.1;
    match is_same_head {
        false if (common as u64) < printed => Some(now.0[..common.min(now.0.len())].rfind('\n').map_or(0, |at| at as u64 + 1)),
        true if total < printed => Some(total),
        _ => None,
    }
}

/// How many lines come before the last `count`, whether there may be more, and these. Empty lines at the end do not count.
fn last_lines(output: &Output, count: usize) -> (usize, bool, Vec<String>) {
    let (head, omitted, tail) = parts(output);
    let (text, before) = if omitted > 0 { (tail, head.lines().count()) } else { (head, 0) };
    let lines: Vec<&str> = text.trim_end().lines().collect();
    let hidden = lines.len().saturating_sub(count);
    (before + hidden, omitted > 0, lines[hidden..].iter().map(|line| clean_line(line)).collect())
}

/// A line as a terminal shows it at last, after what a carriage return overwrote, and without control sequences.
fn clean_line(line: &str) -> String {
    let line = anstream::adapter::strip_str(line).to_string();
    let line = line.trim_end_matches(['\r', '\n']);
    let line = line.rsplit('\r').next().unwrap_or(line);
    format::plain(&line.replace('\t', "    "))
}
