//! `markdown`: what is readable in a pull request.

mod escape;

use std::io::{self, Write};

use escape::{code, contained, fenced, html, inline, quoted};

use super::{
    Render, ansi,
    item_queue::{ItemNode, ItemQueue},
    item_text, output_of, summary, transcript_entry,
};
use crate::{
    model::{
        Run, UnixMs,
        item::{Item, ItemKind, MessageItem, MessageRole, NoticeSeverity, Output, PermissionItem, PlanItem, ToolItem},
    },
    transcript::{head_tail::HeadTail, patch, unframed},
};

/// How much of a command's output is shown: a comment in a pull request has at most 64 KiB, a page that is shown in one piece more.
const COMMAND_HEAD_BYTES: usize = 16 << 10;
const COMMAND_TAIL_BYTES: usize = 48 << 10;
/// How much of a tool's output is shown.
const TOOL_HEAD_BYTES: usize = 4 << 10;
const TOOL_TAIL_BYTES: usize = 8 << 10;
/// How much of one change is shown.
const MAX_PATCH_BYTES: usize = 32 << 10;

/// A run of a command.
pub(crate) struct CommandPage<'a> {
    run: &'a Run,
    output: HeadTail,
    screen: ansi::Screen,
}

/// A run of an agent.
pub(crate) struct AgentPage<'a> {
    run: &'a Run,
    queue: ItemQueue,
    began: UnixMs,
}

impl<'a> CommandPage<'a> {
    pub(crate) fn new(run: &'a Run) -> Self {
        Self { run, output: HeadTail::default(), screen: ansi::Screen::default() }
    }
}

impl Render for CommandPage<'_> {
    fn begin(&mut self, out: &mut dyn Write) -> io::Result<()> {
        header(self.run, out)?;
        writeln!(out, "{}", fenced(&summary::command_line(&self.run.command), "sh"))
    }

    fn line(&mut self, line: &[u8], _out: &mut dyn Write) -> io::Result<()> {
        if let Some((output, raw)) = output_of(line)? {
            let kept = &mut self.output;
            self.screen.feed(output.stream, &raw, &mut |spans, ended| keep(kept, spans, ended));
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut dyn Write) -> io::Result<()> {
        let kept = &mut self.output;
        self.screen.finish(&mut |spans, ended| keep(kept, spans, ended));
        if kept.is_empty() {
            return writeln!(out, "No output.");
        }
        out.write_all(fenced_output(&kept.output(), COMMAND_HEAD_BYTES, COMMAND_TAIL_BYTES).as_bytes())
    }
}

fn keep(kept: &mut HeadTail, spans: &[ansi::Span], ended: bool) {
    for span in spans {
        kept.push(&span.text);
    }
    if ended {
        kept.push("\n");
    }
}

impl<'a> AgentPage<'a> {
    pub(crate) fn new(run: &'a Run) -> Self {
        Self { run, queue: ItemQueue::new(), began: summary::began(run) }
    }
}

impl Render for AgentPage<'_> {
    fn begin(&mut self, out: &mut dyn Write) -> io::Result<()> {
        header(self.run, out)
    }

    fn line(&mut self, line: &[u8], out: &mut dyn Write) -> io::Result<()> {
        let Some(entry) = transcript_entry(line)? else { return Ok(()) };
        self.queue.take(&entry).iter().try_for_each(|node| write_node(node, self.began, out))
    }

    fn finish(&mut self, out: &mut dyn Write) -> io::Result<()> {
        self.queue.finish().iter().try_for_each(|node| write_node(node, self.began, out))
    }
}

fn header(run: &Run, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "# {}\n", inline(&summary::title(run)))?;
    let mut fact = |name: &str, value: &str| writeln!(out, "- **{name}:** {value}");
    fact("Outcome", &inline(&summary::outcome(run)))?;
    fact("Provider", &code(&run.provider))?;
    fact("Directory", &code(&run.cwd))?;
    let began = summary::began(run);
    let ended = match run.ended_at {
        Some(end) => format!(", ended {}, after {}", summary::date(end), summary::duration(end.saturating_sub(began))),
        None => String::new(),
    };
    fact("Started", &format!("{}{ended}", summary::date(began)))?;
    if let Some(usage) = run.usage.as_ref().and_then(summary::usage) {
        fact("Usage", &inline(&usage))?;
    }
    if let Some(session) = &run.session {
        fact("Session", &code(&session.id))?;
    }
    fact("Run", &code(&run.id.to_string()))?;
    writeln!(out)
}

fn write_node(node: &ItemNode, began: UnixMs, out: &mut dyn Write) -> io::Result<()> {
    let item = &node.item;
    let after = summary::duration(item.at.saturating_sub(began));
    match &item.kind {
        ItemKind::Message(message) => {
            if message.role == MessageRole::User {
                prompt(message, out)?
            } else {
                agent_message(item, message, &after, out)?
            }
        }
        ItemKind::Thought(message) if message.text.trim().is_empty() => {}
        ItemKind::Thought(message) => {
            let text = contained(&message.text);
            writeln!(out, "<details><summary><i>Thought</i> · {after}</summary>\n\n{text}\n\n</details>\n")?;
        }
        ItemKind::Tool(call) => return tool(node, call, began, out),
        ItemKind::Plan(plan) => write_plan(plan, out)?,
        ItemKind::Notice(notice) => {
            let sign = match notice.severity {
                NoticeSeverity::Error => "CAUTION",
                NoticeSeverity::Warning => "WARNING",
                NoticeSeverity::Info => "NOTE",
            };
            let description = notice.description.as_deref().unwrap_or_default();
            let colon = if notice.title.is_empty() || description.is_empty() { "" } else { ": " };
            writeln!(out, "> [!{sign}]\n> {}{colon}{}\n", inline(&notice.title), inline(description))?;
        }
        ItemKind::Permission(permission) => question(item, permission, out)?,
        ItemKind::Turn(_) => turn(node, out)?,
        ItemKind::Other(other) => writeln!(out, "> [!NOTE]\n> {}\n", inline(&other.title))?,
        ItemKind::Command(_) => {}
    }
    node.below.iter().try_for_each(|node| write_node(node, began, out))
}

fn prompt(message: &MessageItem, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "## Prompt\n")?;
    writeln!(out, "{}\n", quoted(&item_text::message_text(message)))
}

fn agent_message(item: &Item, message: &MessageItem, after: &str, out: &mut dyn Write) -> io::Result<()> {
    if message.abandoned {
        writeln!(out, "*(The agent discarded this message and sent it again.)*\n")?;
    }
    let text = item_text::message_text(message);
    if text.trim().is_empty() {
        return Ok(());
    }
    let more = if item.continues.is_some() { ", continued" } else { "" };
    writeln!(out, "### Agent{more} · {after}\n\n{}\n", contained(&text))
}

fn tool(node: &ItemNode, call: &ToolItem, began: UnixMs, out: &mut dyn Write) -> io::Result<()> {
    let sign = match call.status.as_str() {
        "completed" => "✅",
        "failed" => "❌",
        _ => "⏸️",
    };
    let mut facts_of = vec![item_text::tool_status(call).to_owned(), summary::duration(node.item.at.saturating_sub(began))];
    if let Some(end) = node.item.end_at {
        facts_of.push(format!("took {}", summary::duration(end.saturating_sub(node.item.at))));
    }
    if node.item.continues.is_some() {
        facts_of.insert(0, "continued".to_owned());
    }
    let kind = if call.tool_kind.is_empty() { "tool" } else { &call.tool_kind };
    writeln!(
        out,
        "<details><summary>{sign} <b>{}</b> <code>{}</code> · {}</summary>\n",
        html(kind),
        html(&item_text::tool_name(call)),
        facts_of.join(" · ")
    )?;
    let title = unframed(call.title.trim());
    if title.contains('\n') {
        writeln!(out, "{}", fenced(title, if call.tool_kind == "execute" { "sh" } else { "text" }))?;
    }
    if let Some(input) = item_text::tool_input(call) {
        writeln!(out, "Input:\n\n{}", fenced(&input, if call.tool_kind == "execute" { "sh" } else { "json" }))?;
    }
    if call.diffs.is_empty() && !call.locations.is_empty() {
        let places: Vec<String> = call.locations.iter().take(20).map(|location| code(&location.path)).collect();
        writeln!(out, "Files: {}\n", places.join(", "))?;
    }
    node.below.iter().try_for_each(|node| write_node(node, began, out))?;
    for change in &call.diffs {
        match patch::unified(change) {
            Ok(text) => {
                let (added, removed) = patch::counts(&text);
                writeln!(out, "{} +{added} −{removed}\n\n{}", code(&change.path), cut_patch(&text))?;
            }
            Err(sentence) => writeln!(out, "{}: {}\n", code(&change.path), inline(&sentence))?,
        }
    }
    if let Some(output) = &call.output {
        writeln!(out, "Output:\n\n{}", tool_output(output))?;
    }
    writeln!(out, "</details>\n")
}

fn cut_patch(text: &str) -> String {
    let end = text[..text.floor_char_boundary(MAX_PATCH_BYTES)].rfind('\n').map_or(0, |at| at + 1);
    if text.len() <= MAX_PATCH_BYTES {
        return fenced(text, "diff");
    }
    format!("{}\n{} more are not shown.\n", fenced(&text[..end], "diff"), summary::bytes((text.len() - end) as u64))
}

/// A tool's output without what a terminal obeys.
fn tool_output(output: &Output) -> String {
    let (head, missing, tail) = item_text::ends(output, usize::MAX / 2, usize::MAX / 2);
    let mut plain = ansi::plain(head);
    if missing > 0 {
        plain.push_str(&format!("\n{}\n", summary::missing(missing)));
        plain.push_str(&ansi::plain(tail));
    }
    fenced_output(&Output { text: plain, ..Output::default() }, TOOL_HEAD_BYTES, TOOL_TAIL_BYTES)
}

/// A fenced text, with a sentence in its middle where that is missing.
fn fenced_output(output: &Output, max_head: usize, max_tail: usize) -> String {
    match item_text::ends(output, max_head, max_tail) {
        (text, 0, _) => fenced(text, "text"),
        (head, missing, tail) => fenced(&format!("{head}\n{}\n\n{tail}", summary::missing(missing)), "text"),
    }
}

fn write_plan(plan: &PlanItem, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "**Plan**\n")?;
    for step in &plan.entries {
        let text = inline(&step.content);
        match step.status.as_str() {
            "completed" => writeln!(out, "- [x] {text}")?,
            "in_progress" => writeln!(out, "- [ ] **{text}** (in progress)")?,
            _ => writeln!(out, "- [ ] {text}")?,
        }
    }
    writeln!(out)
}

fn question(item: &Item, permission: &PermissionItem, out: &mut dyn Write) -> io::Result<()> {
    let title = item_text::asked_title(permission);
    let title = if title.is_empty() { String::new() } else { format!("{} ", code(title)) };
    writeln!(out, "> ❓ {title}{}\n", inline(&item_text::permission_sentence(permission, item.at, item.end_at)))
}

fn turn(node: &ItemNode, out: &mut dyn Write) -> io::Result<()> {
    let Some((number, end)) = item_text::ended_turn(&node.item) else { return Ok(()) };
    let took = summary::duration(node.item.at.saturating_sub(node.turn_began.unwrap_or(node.item.at)));
    let usage = end.usage.as_ref().and_then(summary::usage).map(|usage| format!(" · {usage}")).unwrap_or_default();
    writeln!(out, "*Turn {number}: {}, after {took}{}*\n\n---\n", inline(&item_text::turn_end(end)), inline(&usage))
}
