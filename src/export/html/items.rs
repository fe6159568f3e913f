//! What an agent said and did, as parts of the page.

use std::io::{self, Write};

use super::{
    escape::{prose, text},
    term::{Colours, coloured, time},
};
use crate::{
    export::{
        calls::{shortened, unframed},
        facts,
        kept::Kept,
        patch,
        told::{Asked, Call, Item, Said, Status, Step},
    },
    model::{StateEntry, UnixMs},
};

/// How much of a change is shown.
const PATCH: usize = 256 << 10;

pub fn tell(ready: &mut Vec<Item>, began: UnixMs, colours: &mut Colours, out: &mut dyn Write) -> io::Result<()> {
    ready.drain(..).try_for_each(|one| item(&one, began, colours, out))
}

fn item(item: &Item, began: UnixMs, colours: &mut Colours, out: &mut dyn Write) -> io::Result<()> {
    let time = time(item.at(), began);
    match item {
        Item::Prompt(said) => writeln!(
            out,
            "<section class=\"item\">\n<div class=\"head\"><h2>Prompt</h2>{time}</div>\n<div class=\"prompt\"><p data-t dir=\"auto\">{}</p></div>\n</section>",
            text(said.text.trim())
        ),
        Item::Message(said) => message(said, &time, out),
        Item::Thought(said) if said.text.trim().is_empty() => Ok(()),
        Item::Thought(said) => writeln!(
            out,
            "<details class=\"item thought\"><summary><h2>Thought</h2><code>{}</code><span class=\"state\"></span>{time}</summary>\n\
             <div class=\"body prose\" data-t dir=\"auto\">{}</div></details>",
            text(&first_line(&said.text)),
            prose(&said.text)
        ),
        Item::Call(call) => tool(call, began, colours, out),
        Item::Plan { steps, .. } => plan(steps, &time, out),
        Item::Notice { severity, title, description, .. } => {
            let class = match severity.as_str() {
                "error" => " error",
                "warning" => " warning",
                _ => "",
            };
            let colon = if title.is_empty() || description.is_empty() { "" } else { ": " };
            writeln!(out, "<p class=\"notice{class}\" data-t dir=\"auto\">{}{colon}{}</p>", text(title), text(description))
        }
        Item::Asked(asked) => question(asked, out),
        Item::Turn { began, end } => turn(*began, end, out),
    }
}

/// What a thought is about, without its marks.
fn first_line(message: &str) -> String {
    let first = message.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    shortened(&first.replace(['*', '`'], ""), 200).trim_matches(['#', ' ']).to_owned()
}

fn message(said: &Said, time: &str, out: &mut dyn Write) -> io::Result<()> {
    if said.is_abandoned {
        writeln!(out, "<p class=\"notice\">The agent gave this message up, and said it anew.</p>")?;
    }
    if said.text.trim().is_empty() {
        return Ok(());
    }
    let more = if said.goes_on { ", continued" } else { "" };
    let corrected = if said.is_corrected { ", as it was said at last" } else { "" };
    writeln!(
        out,
        "<section class=\"item\">\n<div class=\"head\"><h2>Agent{more}{corrected}</h2>{time}</div>\n<div class=\"prose\" data-t dir=\"auto\">{}</div>\n</section>",
        prose(&said.text)
    )
}

fn tool(call: &Call, began: UnixMs, colours: &mut Colours, out: &mut dyn Write) -> io::Result<()> {
    let (sign, colour) = match call.status {
        Status::Completed => ("✓", "good"),
        Status::Failed => ("✗", "bad"),
        Status::Pending | Status::InProgress => ("○", "warn"),
    };
    let took = call.ended_at.map(|end| format!(" · {}", facts::duration(end.saturating_sub(call.at)))).unwrap_or_default();
    let kind = if call.kind.is_empty() { "tool" } else { &call.kind };
    let more = if call.goes_on { ", continued" } else { "" };
    writeln!(
        out,
        "<details class=\"item tool\"><summary><h2>{}{more}</h2><code data-t>{}</code>\
         <span class=\"state {colour}\">{sign} {}<span class=\"long\">{took}</span></span>{}</summary>\n<div class=\"body\">",
        text(kind),
        text(&call.name()),
        call.status_word(),
        time(call.at, began)
    )?;
    let title = unframed(&call.title);
    if title.contains('\n') {
        writeln!(out, "<pre class=\"term\" data-t>\n{}</pre>", text(title))?;
    }
    if let Some(input) = call.telling_input() {
        writeln!(out, "<h3>Input</h3>\n<pre class=\"term\" data-t>\n{}</pre>", text(input))?;
    }
    if call.patches.is_empty() && !call.places.is_empty() {
        let places: Vec<String> = call.places.iter().map(|place| format!("<code>{}</code>", text(place))).collect();
        writeln!(out, "<p data-t>{}</p>", places.join(", "))?;
    }
    call.asked.iter().try_for_each(|asked| question(asked, out))?;
    if !call.below.is_empty() {
        writeln!(out, "<div class=\"below\">")?;
        call.below.iter().try_for_each(|one| item(one, began, colours, out))?;
        writeln!(out, "</div>")?;
    }
    call.patches.iter().try_for_each(|change| diff(change, out))?;
    if call.has_more_patches {
        writeln!(out, "<p class=\"cut\">More was changed than is kept here.</p>")?;
    }
    if !call.output.is_empty() {
        output(&call.output, colours, out)?;
    }
    if call.output.is_empty() && call.patches.is_empty() && call.below.is_empty() && call.asked.is_empty() {
        writeln!(out, "<p class=\"cut\">It told nothing more.</p>")?;
    }
    writeln!(out, "</div></details>")
}

fn output(kept: &Kept, colours: &mut Colours, out: &mut dyn Write) -> io::Result<()> {
    let (head, missing, tail) = kept.parts();
    writeln!(out, "<h3>Output</h3>\n<pre class=\"term\" data-t tabindex=\"0\">\n{}</pre>", coloured(&head, colours))?;
    if missing > 0 {
        writeln!(
            out,
            "<p class=\"cut\">{}</p>\n<pre class=\"term\" data-t tabindex=\"0\">\n{}</pre>",
            facts::missing(missing),
            coloured(&tail, colours)
        )?;
    }
    Ok(())
}

fn diff(change: &patch::Patch, out: &mut dyn Write) -> io::Result<()> {
    let path = text(&change.path);
    let whole = match change.text() {
        Ok(whole) => whole,
        Err(sentence) => return writeln!(out, "<h3>{path}</h3>\n<p>{}</p>", text(&sentence)),
    };
    let (added, removed) = patch::counts(&whole);
    writeln!(
        out,
        "<h3>{path} <span class=\"good\">+{added}</span> <span class=\"bad\">−{removed}</span></h3>\n<pre class=\"diff\" data-t tabindex=\"0\">"
    )?;
    let end = if whole.len() <= PATCH { whole.len() } else { whole[..whole.floor_char_boundary(PATCH)].rfind('\n').map_or(0, |at| at + 1) };
    for line in whole[..end].lines() {
        let class = match line.as_bytes().first() {
            _ if line.starts_with("+++") || line.starts_with("---") || line.starts_with("diff ") => " class=\"f\"",
            Some(b'+') => " class=\"a\"",
            Some(b'-') => " class=\"d\"",
            Some(b'@') => " class=\"h\"",
            _ => "",
        };
        write!(out, "<span{class}>{}\n</span>", text(line))?;
    }
    writeln!(out, "</pre>")?;
    if end < whole.len() {
        writeln!(out, "<p class=\"cut\">{}</p>", facts::missing((whole.len() - end) as u64))?;
    }
    Ok(())
}

fn plan(steps: &[Step], time: &str, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "<section class=\"item\">\n<div class=\"head\"><h2>Plan</h2>{time}</div>\n<ul class=\"plan\" data-t>")?;
    for step in steps {
        let (sign, class, word) = match step.status.as_str() {
            "completed" => ("☑", " class=\"done\"", "done"),
            "in_progress" => ("▶", "", "at work"),
            _ => ("☐", "", "to do"),
        };
        writeln!(out, "<li{class}><span role=\"img\" aria-label=\"{word}\">{sign}</span> {}</li>", text(&step.text))?;
    }
    writeln!(out, "</ul>\n</section>")
}

fn question(asked: &Asked, out: &mut dyn Write) -> io::Result<()> {
    let title = unframed(&asked.title);
    let title = if title.is_empty() { String::new() } else { format!("<code>{}</code>: ", text(title)) };
    writeln!(out, "<p class=\"ask\" data-t dir=\"auto\">{title}{}</p>", text(&asked.sentence()))
}

fn turn(began: UnixMs, end: &StateEntry, out: &mut dyn Write) -> io::Result<()> {
    let Some(number) = end.turn else { return Ok(()) };
    let took = facts::duration(end.at.saturating_sub(began));
    let usage = end.usage.as_ref().and_then(facts::usage).map(|usage| format!(" · {usage}")).unwrap_or_default();
    writeln!(out, "<p class=\"turn\" data-t>Turn {number}: {}, after {took}{}</p>", text(&facts::turn_end(end)), text(&usage))
}
