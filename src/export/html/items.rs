//! The items of a transcript, as parts of the page.

use std::io::{self, Write};

use super::{
    escape::{prose, text},
    term::{Colors, colored, time},
};
use crate::{
    export::{item_queue::ItemNode, item_text, summary},
    model::{
        UnixMs,
        item::{FileDiff, Item, ItemKind, MessageItem, MessageRole, NoticeSeverity, Output, PermissionItem, PlanItem, ToolItem},
    },
    transcript::{patch, shortened, unframed},
};

/// How much of a change is shown.
const MAX_PATCH_BYTES: usize = 256 << 10;

pub(crate) fn write(nodes: &[ItemNode], began: UnixMs, colors: &mut Colors, out: &mut dyn Write) -> io::Result<()> {
    nodes.iter().try_for_each(|node| write_node(node, began, colors, out))
}

fn write_node(node: &ItemNode, began: UnixMs, colors: &mut Colors, out: &mut dyn Write) -> io::Result<()> {
    let item = &node.item;
    let time = time(item.at, began);
    match &item.kind {
        ItemKind::Message(message) if message.role == MessageRole::User => writeln!(
            out,
            "<section class=\"item\">\n<div class=\"head\"><h2>Prompt</h2>{time}</div>\n<div class=\"prompt\"><p data-t dir=\"auto\">{}</p></div>\n</section>",
            text(item_text::message_text(message).trim())
        )?,
        ItemKind::Message(message) => agent_message(item, message, &time, out)?,
        ItemKind::Thought(message) if message.text.trim().is_empty() => {}
        ItemKind::Thought(message) => writeln!(
            out,
            "<details class=\"item thought\"><summary><h2>Thought</h2><code>{}</code><span class=\"state\"></span>{time}</summary>\n\
             <div class=\"body prose\" data-t dir=\"auto\">{}</div></details>",
            text(&first_line(&message.text)),
            prose(&message.text)
        )?,
        ItemKind::Tool(call) => return tool(node, call, began, colors, out),
        ItemKind::Plan(plan) => write_plan(plan, &time, out)?,
        ItemKind::Notice(notice) => {
            let class = match notice.severity {
                NoticeSeverity::Error => " error",
                NoticeSeverity::Warning => " warning",
                NoticeSeverity::Info => "",
            };
            let description = notice.description.as_deref().unwrap_or_default();
            let colon = if notice.title.is_empty() || description.is_empty() { "" } else { ": " };
            writeln!(out, "<p class=\"notice{class}\" data-t dir=\"auto\">{}{colon}{}</p>", text(&notice.title), text(description))?;
        }
        ItemKind::Permission(permission) => question(item, permission, out)?,
        ItemKind::Turn(_) => turn(node, out)?,
        ItemKind::Other(other) => writeln!(out, "<p class=\"notice\" data-t dir=\"auto\">{}</p>", text(&other.title))?,
        ItemKind::Command(_) => {}
    }
    node.below.iter().try_for_each(|node| write_node(node, began, colors, out))
}

/// What a thought is about, without its marks.
fn first_line(message: &str) -> String {
    let first = message.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    shortened(&first.replace(['*', '`'], ""), 200).trim_matches(['#', ' ']).to_owned()
}

fn agent_message(item: &Item, message: &MessageItem, time: &str, out: &mut dyn Write) -> io::Result<()> {
    if message.abandoned {
        writeln!(out, "<p class=\"notice\">The agent discarded this message and sent it again.</p>")?;
    }
    let whole = item_text::message_text(message);
    if whole.trim().is_empty() {
        return Ok(());
    }
    let more = if item.continues.is_some() { ", continued" } else { "" };
    writeln!(
        out,
        "<section class=\"item\">\n<div class=\"head\"><h2>Agent{more}</h2>{time}</div>\n<div class=\"prose\" data-t dir=\"auto\">{}</div>\n</section>",
        prose(&whole)
    )
}

fn tool(node: &ItemNode, call: &ToolItem, began: UnixMs, colors: &mut Colors, out: &mut dyn Write) -> io::Result<()> {
    let (sign, color) = match call.status.as_str() {
        "completed" => ("✓", "good"),
        "failed" => ("✗", "bad"),
        _ => ("○", "warn"),
    };
    let (at, end_at) = (node.item.at, node.item.end_at);
    let took = end_at.map(|end| format!(" · {}", summary::duration(end.saturating_sub(at)))).unwrap_or_default();
    let kind = if call.tool_kind.is_empty() { "tool" } else { &call.tool_kind };
    let more = if node.item.continues.is_some() { ", continued" } else { "" };
    writeln!(
        out,
        "<details class=\"item tool\"><summary><h2>{}{more}</h2><code data-t>{}</code>\
         <span class=\"state {color}\">{sign} {}<span class=\"long\">{took}</span></span>{}</summary>\n<div class=\"body\">",
        text(kind),
        text(&item_text::tool_name(call)),
        item_text::tool_status(call),
        time(at, began)
    )?;
    let title = unframed(call.title.trim());
    if title.contains('\n') {
        writeln!(out, "<pre class=\"term\" data-t>\n{}</pre>", text(title))?;
    }
    if let Some(input) = item_text::tool_input(call) {
        writeln!(out, "<h3>Input</h3>\n<pre class=\"term\" data-t>\n{}</pre>", text(&input))?;
    }
    if call.diffs.is_empty() && !call.locations.is_empty() {
        let places: Vec<String> = call.locations.iter().take(20).map(|location| format!("<code>{}</code>", text(&location.path))).collect();
        writeln!(out, "<p data-t>{}</p>", places.join(", "))?;
    }
    let (asked, below): (Vec<&ItemNode>, Vec<&ItemNode>) = node
        .below
        .iter()
        .partition(|node| matches!(&node.item.kind, ItemKind::Permission(asked) if call.permissions.contains(&asked.permission_id)));
    asked.into_iter().try_for_each(|node| write_node(node, began, colors, out))?;
    if !below.is_empty() {
        writeln!(out, "<div class=\"below\">")?;
        below.into_iter().try_for_each(|node| write_node(node, began, colors, out))?;
        writeln!(out, "</div>")?;
    }
    call.diffs.iter().try_for_each(|change| diff(change, out))?;
    if let Some(shown) = &call.output {
        output(shown, colors, out)?;
    } else if call.diffs.is_empty() && node.below.is_empty() {
        writeln!(out, "<p class=\"cut\">No details.</p>")?;
    }
    writeln!(out, "</div></details>")
}

fn output(shown: &Output, colors: &mut Colors, out: &mut dyn Write) -> io::Result<()> {
    let (head, missing, tail) = item_text::ends(shown, usize::MAX / 2, usize::MAX / 2);
    writeln!(out, "<h3>Output</h3>\n<pre class=\"term\" data-t tabindex=\"0\">\n{}</pre>", colored(head, colors))?;
    if missing > 0 {
        writeln!(
            out,
            "<p class=\"cut\">{}</p>\n<pre class=\"term\" data-t tabindex=\"0\">\n{}</pre>",
            summary::missing(missing),
            colored(tail, colors)
        )?;
    }
    Ok(())
}

fn diff(change: &FileDiff, out: &mut dyn Write) -> io::Result<()> {
    let path = text(&change.path);
    let whole = match patch::unified(change) {
        Ok(whole) => whole,
        Err(sentence) => return writeln!(out, "<h3>{path}</h3>\n<p>{}</p>", text(&sentence)),
    };
    let (added, removed) = patch::counts(&whole);
    writeln!(
        out,
        "<h3>{path} <span class=\"good\">+{added}</span> <span class=\"bad\">−{removed}</span></h3>\n<pre class=\"diff\" data-t tabindex=\"0\">"
    )?;
    let end = if whole.len() <= MAX_PATCH_BYTES {
        whole.len()
    } else {
        whole[..whole.floor_char_boundary(MAX_PATCH_BYTES)].rfind('\n').map_or(0, |at| at + 1)
    };
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
        writeln!(out, "<p class=\"cut\">{}</p>", summary::missing((whole.len() - end) as u64))?;
    }
    Ok(())
}

fn write_plan(plan: &PlanItem, time: &str, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "<section class=\"item\">\n<div class=\"head\"><h2>Plan</h2>{time}</div>\n<ul class=\"plan\" data-t>")?;
    for step in &plan.entries {
        let (sign, class, word) = match step.status.as_str() {
            "completed" => ("☑", " class=\"done\"", "done"),
            "in_progress" => ("▶", "", "in progress"),
            _ => ("☐", "", "to do"),
        };
        writeln!(out, "<li{class}><span role=\"img\" aria-label=\"{word}\">{sign}</span> {}</li>", text(&step.content))?;
    }
    writeln!(out, "</ul>\n</section>")
}

fn question(item: &Item, permission: &PermissionItem, out: &mut dyn Write) -> io::Result<()> {
    let title = item_text::asked_title(permission);
    let title = if title.is_empty() { String::new() } else { format!("<code>{}</code>: ", text(title)) };
    let sentence = item_text::permission_sentence(permission, item.at, item.end_at);
    writeln!(out, "<p class=\"ask\" data-t dir=\"auto\">{title}{}</p>", text(&sentence))
}

fn turn(node: &ItemNode, out: &mut dyn Write) -> io::Result<()> {
    let Some((number, end)) = item_text::ended_turn(&node.item) else { return Ok(()) };
    let took = summary::duration(node.item.at.saturating_sub(node.turn_began.unwrap_or(node.item.at)));
    let usage = end.usage.as_ref().and_then(summary::usage).map(|usage| format!(" · {usage}")).unwrap_or_default();
    writeln!(out, "<p class=\"turn\" data-t>Turn {number}: {}, after {took}{}</p>", text(&item_text::turn_end(end)), text(&usage))
}
