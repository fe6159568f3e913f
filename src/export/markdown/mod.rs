//! `markdown`: what is readable in a pull request.

mod escape;

use std::io::{self, Write};

use escape::{code, contained, fenced, html, inline};

use super::{
    Render, ansi,
    calls::unframed,
    facts,
    kept::Kept,
    meaning, patch,
    story::Story,
    told::{Asked, Call, Item, Said, Status, Step},
    written,
};
use crate::model::{Run, StateEntry, UnixMs};

/// How much of a command's output is told: a comment holds 64 KiB, a page that is shown in one piece some more.
const COMMAND_HEAD: usize = 16 << 10;
const COMMAND_TAIL: usize = 48 << 10;
/// How much of a tool's output is told.
const TOOL_HEAD: usize = 4 << 10;
const TOOL_TAIL: usize = 8 << 10;
/// How much of a change is told.
const PATCH: usize = 32 << 10;

/// A run of a command.
pub struct Command<'a> {
    run: &'a Run,
    output: Kept,
    screen: ansi::Screen,
}

/// A run of an agent.
pub struct Agent<'a> {
    run: &'a Run,
    story: Story,
    ready: Vec<Item>,
    began: UnixMs,
}

impl<'a> Command<'a> {
    pub fn new(run: &'a Run) -> Self {
        Self { run, output: Kept::new(COMMAND_HEAD, COMMAND_TAIL), screen: ansi::Screen::default() }
    }
}

impl Render for Command<'_> {
    fn begin(&mut self, out: &mut dyn Write) -> io::Result<()> {
        header(self.run, out)?;
        writeln!(out, "{}", fenced(&facts::command_line(&self.run.command), "sh"))
    }

    fn line(&mut self, line: &[u8], _out: &mut dyn Write) -> io::Result<()> {
        if let Some((output, raw)) = written(line)? {
            let kept = &mut self.output;
            self.screen.feed(output.stream, &raw, &mut |spans, ended| keep(kept, spans, ended));
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut dyn Write) -> io::Result<()> {
        let kept = &mut self.output;
        self.screen.finish(&mut |spans, ended| keep(kept, spans, ended));
        if kept.is_empty() {
            return writeln!(out, "It wrote nothing.");
        }
        out.write_all(output(kept).as_bytes())
    }
}

fn keep(kept: &mut Kept, spans: &[ansi::Span], ended: bool) {
    spans.iter().for_each(|span| kept.push(&span.text));
    if ended {
        kept.push("\n");
    }
}

impl<'a> Agent<'a> {
    pub fn new(run: &'a Run) -> Self {
        Self { run, story: Story::default(), ready: Vec::new(), began: facts::began(run) }
    }

    fn tell(&mut self, out: &mut dyn Write) -> io::Result<()> {
        for item in std::mem::take(&mut self.ready) {
            item_text(&item, self.began, out)?;
        }
        Ok(())
    }
}

impl Render for Agent<'_> {
    fn begin(&mut self, out: &mut dyn Write) -> io::Result<()> {
        header(self.run, out)
    }

    fn line(&mut self, line: &[u8], out: &mut dyn Write) -> io::Result<()> {
        match meaning(line)? {
            Some(entry) => {
                self.story.take(&entry, &mut self.ready);
                self.tell(out)
            }
            None => Ok(()),
        }
    }

    fn finish(&mut self, out: &mut dyn Write) -> io::Result<()> {
        self.story.finish(&mut self.ready);
        self.tell(out)
    }
}

fn header(run: &Run, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "# {}\n", inline(&facts::title(run)))?;
    let mut fact = |name: &str, value: &str| writeln!(out, "- **{name}:** {value}");
    fact("Outcome", &inline(&facts::outcome(run)))?;
    fact("Provider", &code(&run.provider))?;
    fact("Directory", &code(&run.cwd))?;
    let began = facts::began(run);
    let ended = match run.ended_at {
        Some(end) => format!(", ended {}, after {}", facts::date(end), facts::duration(end.saturating_sub(began))),
        None => String::new(),
    };
    fact("Started", &format!("{}{ended}", facts::date(began)))?;
    if let Some(usage) = run.usage.as_ref().and_then(facts::usage) {
        fact("Usage", &inline(&usage))?;
    }
    if let Some(session) = &run.session {
        fact("Session", &code(&session.id))?;
    }
    fact("Run", &code(&run.id.to_string()))?;
    writeln!(out)
}

fn item_text(item: &Item, began: UnixMs, out: &mut dyn Write) -> io::Result<()> {
    let after = facts::duration(item.at().saturating_sub(began));
    match item {
        Item::Prompt(said) => {
            writeln!(out, "## Prompt\n")?;
            let quoted: Vec<String> = contained(&said.text).lines().map(|line| format!("> {line}").trim_end().to_owned()).collect();
            // Once more, for a quote is another place.
            writeln!(out, "{}\n", contained(&quoted.join("\n")))
        }
        Item::Message(said) => message(said, &after, out),
        Item::Thought(said) if said.text.trim().is_empty() => Ok(()),
        Item::Thought(said) => {
            let text = contained(&said.text);
            writeln!(out, "<details><summary><i>Thought</i> · {after}</summary>\n\n{text}\n\n</details>\n")
        }
        Item::Call(call) => tool(call, began, out),
        Item::Plan { steps, .. } => plan(steps, out),
        Item::Notice { severity, title, description, .. } => {
            let sign = match severity.as_str() {
                "error" => "CAUTION",
                "warning" => "WARNING",
                _ => "NOTE",
            };
            let colon = if title.is_empty() || description.is_empty() { "" } else { ": " };
            writeln!(out, "> [!{sign}]\n> {}{colon}{}\n", inline(title), inline(description))
        }
        Item::Asked(asked) => question(asked, out),
        Item::Turn { began, end } => turn(*began, end, out),
    }
}

fn message(said: &Said, after: &str, out: &mut dyn Write) -> io::Result<()> {
    if said.is_abandoned {
        writeln!(out, "*(The agent gave this message up, and said it anew.)*\n")?;
    }
    if said.text.trim().is_empty() {
        return Ok(());
    }
    let more = if said.goes_on { ", continued" } else { "" };
    let corrected = if said.is_corrected { ", as it was said at last" } else { "" };
    writeln!(out, "### Agent{more}{corrected} · {after}\n\n{}\n", contained(&said.text))
}

fn tool(call: &Call, began: UnixMs, out: &mut dyn Write) -> io::Result<()> {
    let sign = match call.status {
        Status::Completed => "✅",
        Status::Failed => "❌",
        Status::Pending | Status::InProgress => "⏸️",
    };
    let mut facts_of = vec![call.status_word().to_owned(), facts::duration(call.at.saturating_sub(began))];
    if let Some(end) = call.ended_at {
        facts_of.push(format!("took {}", facts::duration(end.saturating_sub(call.at))));
    }
    if call.goes_on {
        facts_of.insert(0, "continued".to_owned());
    }
    let kind = if call.kind.is_empty() { "tool" } else { &call.kind };
    writeln!(
        out,
        "<details><summary>{sign} <b>{}</b> <code>{}</code> · {}</summary>\n",
        html(kind),
        html(&call.name()),
        facts_of.join(" · ")
    )?;
    let title = unframed(&call.title);
    if title.contains('\n') {
        writeln!(out, "{}", fenced(title, if call.kind == "execute" { "sh" } else { "text" }))?;
    }
    if let Some(input) = call.telling_input() {
        writeln!(out, "Input:\n\n{}", fenced(input, if call.kind == "execute" { "sh" } else { "json" }))?;
    }
    if call.patches.is_empty() && !call.places.is_empty() {
        let places: Vec<String> = call.places.iter().map(|place| code(place)).collect();
        writeln!(out, "Where: {}\n", places.join(", "))?;
    }
    call.asked.iter().try_for_each(|asked| question(asked, out))?;
    call.below.iter().try_for_each(|item| item_text(item, began, out))?;
    for change in &call.patches {
        match change.text() {
            Ok(text) => {
                let (added, removed) = patch::counts(&text);
                writeln!(out, "{} +{added} −{removed}\n\n{}", code(&change.path), cut_patch(&text))?;
            }
            Err(sentence) => writeln!(out, "{}: {}\n", code(&change.path), inline(&sentence))?,
        }
    }
    if call.has_more_patches {
        writeln!(out, "More was changed than is kept here.\n")?;
    }
    if !call.output.is_empty() {
        writeln!(out, "Output:\n\n{}", tool_output(&call.output))?;
    }
    writeln!(out, "</details>\n")
}

fn cut_patch(text: &str) -> String {
    let end = text[..text.floor_char_boundary(PATCH)].rfind('\n').map_or(0, |at| at + 1);
    if text.len() <= PATCH {
        return fenced(text, "diff");
    }
    format!("{}\n{} more of it are not shown here.\n", fenced(&text[..end], "diff"), facts::bytes((text.len() - end) as u64))
}

fn tool_output(kept: &Kept) -> String {
    let (head, missing, tail) = kept.parts();
    let mut short = Kept::new(TOOL_HEAD, TOOL_TAIL);
    short.push(&ansi::plain(&head));
    if missing > 0 {
        short.push(&format!("\n{}\n", facts::missing(missing)));
    }
    short.push(&ansi::plain(&tail));
    output(&short)
}

/// A fenced text, with a sentence in its middle where that is missing.
fn output(kept: &Kept) -> String {
    match kept.parts() {
        (text, 0, _) => fenced(&text, "text"),
        (head, missing, tail) => fenced(&format!("{head}\n{}\n\n{tail}", facts::missing(missing)), "text"),
    }
}

fn plan(steps: &[Step], out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "**Plan**\n")?;
    for step in steps {
        let text = inline(&step.text);
        match step.status.as_str() {
            "completed" => writeln!(out, "- [x] {text}")?,
            "in_progress" => writeln!(out, "- [ ] **{text}** (at work)")?,
            _ => writeln!(out, "- [ ] {text}")?,
        }
    }
    writeln!(out)
}

fn question(asked: &Asked, out: &mut dyn Write) -> io::Result<()> {
    let title = if asked.title.is_empty() { String::new() } else { format!("{} ", code(unframed(&asked.title))) };
    writeln!(out, "> ❓ {title}{}\n", inline(&asked.sentence()))
}

fn turn(began: UnixMs, end: &StateEntry, out: &mut dyn Write) -> io::Result<()> {
    let Some(number) = end.turn else { return Ok(()) };
    let took = facts::duration(end.at.saturating_sub(began));
    let usage = end.usage.as_ref().and_then(facts::usage).map(|usage| format!(" · {usage}")).unwrap_or_default();
    writeln!(out, "*Turn {number}: {}, after {took}{}*\n\n---\n", inline(&facts::turn_end(end)), inline(&usage))
}
