//! Items of a transcript as text: in one line, in full, and as the pieces in which a search looks.

use serde_json::Value;

use super::answer::{first_line, plain};
use crate::{
    model::item::{Item, ItemKind, MessageItem, MessageRole, Output, ToolItem},
    transcript::{block_text, patch, unframed},
};

/// The longest title or message in one line.
const MAX_LINE_BYTES: usize = 200;

/// An item in one line, as an outline has it.
pub(super) fn line(item: &Item) -> String {
    let text = match &item.kind {
        ItemKind::Message(message) => format!("{}: {}", speaker(message), first_line(&plain(&message.text), MAX_LINE_BYTES)),
        ItemKind::Thought(message) => format!("thought: {}", first_line(&plain(&message.text), MAX_LINE_BYTES / 2)),
        ItemKind::Tool(tool) => tool_line(tool),
        ItemKind::Plan(plan) => {
            let done = plan.entries.iter().filter(|entry| entry.status == "completed").count();
            format!("plan: {done} of {} steps done", plan.entries.len())
        }
        ItemKind::Permission(permission) => match &permission.resolved {
            None => "permission: open, a person has to answer".to_owned(),
            Some(resolved) => {
                let chosen = resolved.option_id.as_ref().and_then(|id| permission.options.iter().find(|option| option.option_id == *id));
                let chosen = chosen.map(|option| first_line(&plain(&option.name), MAX_LINE_BYTES));
                format!("permission: {}", chosen.as_deref().unwrap_or("not given"))
            }
        },
        ItemKind::Notice(notice) => format!("notice: {}", first_line(&plain(&notice.title), MAX_LINE_BYTES)),
        ItemKind::Turn(turn) => {
            let error =
                turn.error.as_ref().map_or_else(String::new, |error| format!(": {}", first_line(&plain(&error.message), MAX_LINE_BYTES)));
            format!(
                "end of turn {}{}{error}",
                item.turn.unwrap_or_default(),
                turn.stop_reason.as_ref().map_or_else(String::new, |reason| format!(" ({reason})"))
            )
        }
        ItemKind::Command(command) => {
            format!("output: {} bytes", command.output.text.len() as u64 + command.output.omitted_bytes.unwrap_or_default())
        }
        ItemKind::Other(other) => first_line(&plain(&other.title), MAX_LINE_BYTES),
    };
    format!("[{}] {text}", item.item)
}

fn tool_line(tool: &ToolItem) -> String {
    let title = first_line(&plain(unframed(&tool.title)), MAX_LINE_BYTES);
    let files: Vec<String> = tool.locations.iter().take(3).map(|location| first_line(&plain(&location.path), MAX_LINE_BYTES)).collect();
    let named = if files.iter().all(|file| title.contains(file)) { String::new() } else { format!(" [{}]", files.join(", ")) };
    format!("{} ({}): {title}{named}", tool.tool_kind, tool.status)
}

fn speaker(message: &MessageItem) -> &'static str {
    match message.role {
        MessageRole::User => "user",
        MessageRole::Agent if message.abandoned => "agent (given up)",
        MessageRole::Agent => "agent",
    }
}

/// An item in full, as far as the server told it.
pub(super) fn whole(item: &Item) -> String {
    let parts = parts(item);
    let body = parts.iter().map(|(label, text)| if label.is_empty() { text.clone() } else { format!("{label}:\n{text}") });
    let body = body.collect::<Vec<_>>().join("\n");
    match &item.kind {
        ItemKind::Message(message) => format!("[{}] {}: {body}", item.item, speaker(message)),
        ItemKind::Thought(_) => format!("[{}] thought: {body}", item.item),
        _ if body.is_empty() => line(item),
        _ => format!("{}\n{body}", line(item)),
    }
}

/// The texts of an item, each with what it is. What a line of it says is found by a search.
pub(super) fn parts(item: &Item) -> Vec<(&'static str, String)> {
    let mut parts: Vec<(&'static str, String)> = Vec::new();
    match &item.kind {
        ItemKind::Message(message) | ItemKind::Thought(message) => {
            parts.push(("", plain(&message.text)));
            parts.extend(message.blocks.iter().map(|block| ("", plain(&block_text(block)))));
        }
        ItemKind::Tool(tool) => {
            parts.extend(tool.raw_input.as_ref().map(|input| ("input", plain(&input_text(input)))));
            parts.extend(tool.output.as_ref().map(|output| ("output", output_text(output))));
            parts.extend(
                tool.diffs.iter().map(|diff| ("change", patch::unified(diff).unwrap_or_else(|reason| format!("{} ({reason})", diff.path)))),
            );
        }
        ItemKind::Plan(plan) => {
            let steps = plan.entries.iter().map(|entry| format!("- {} ({})", plain(&entry.content), entry.status));
            parts.push(("", steps.collect::<Vec<_>>().join("\n")));
        }
        ItemKind::Permission(permission) => {
            parts.extend(permission.shown.iter().map(|part| ("asked", format!("{}: {}", plain(&part.label), plain(&part.text)))));
        }
        ItemKind::Notice(notice) => parts.extend(notice.description.as_ref().map(|text| ("", plain(text)))),
        ItemKind::Command(command) => {
            parts.push(("stdout", output_text(&command.output)));
            parts.extend(command.stderr.as_ref().map(|stderr| ("stderr", output_text(stderr))));
        }
        ItemKind::Other(other) => parts.extend(other.data.as_ref().map(|data| ("", plain(&input_text(data))))),
        ItemKind::Turn(_) => {}
    }
    parts.retain(|(_, text)| !text.is_empty());
    parts
}

fn input_text(input: &Value) -> String {
    input.as_str().map_or_else(|| input.to_string(), str::to_owned)
}

fn output_text(output: &Output) -> String {
    match (output.omitted_at.and_then(|at| usize::try_from(at).ok()), output.omitted_bytes) {
        (Some(at), Some(missing)) if output.text.is_char_boundary(at) => {
            format!("{}\n… ({missing} bytes are not here) …\n{}", plain(&output.text[..at]), plain(&output.text[at..]))
        }
        _ => plain(&output.text),
    }
}
