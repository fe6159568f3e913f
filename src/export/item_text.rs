//! What every format says about an item, in words.

use serde_json::Value;

use super::summary;
use crate::{
    model::{
        UnixMs,
        entry::ResolvedBy,
        item::{Item, ItemKind, MessageItem, Output, PermissionItem, ToolItem, TurnItem},
    },
    transcript::{block_text, shortened, unframed},
};

/// How much of what a tool was given is shown.
const MAX_INPUT_BYTES: usize = 8 << 10;
/// A cut is moved to the end of a line that is no longer.
const MAX_LINE_BYTES: usize = 4 << 10;

/// A message's text, with a word for each block that is no text.
pub(crate) fn message_text(message: &MessageItem) -> String {
    let blocks = message.blocks.iter().map(block_text);
    std::iter::once(message.text.clone()).filter(|text| !text.is_empty()).chain(blocks).collect::<Vec<_>>().join("\n")
}

/// The first line of a tool call's title; its kind where there is none.
pub(crate) fn tool_name(tool: &ToolItem) -> String {
    let title = unframed(tool.title.trim());
    let mut lines = title.lines();
    let first = lines.next().unwrap_or_default().trim();
    match (first.is_empty(), lines.next()) {
        (true, _) if tool.tool_kind.is_empty() => "tool".to_owned(),
        (true, _) => tool.tool_kind.clone(),
        (false, None) => first.to_owned(),
        (false, Some(_)) => format!("{first} …"),
    }
}

/// What a tool call was given, where that says more than its title and its changes do: a command line as such, anything else as JSON.
pub(crate) fn tool_input(tool: &ToolItem) -> Option<String> {
    let input = tool.raw_input.as_ref()?;
    let text = match (&input["command"], input) {
        (Value::String(command), _) => command.clone(),
        (Value::Array(words), _) => words.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "),
        (_, Value::Object(members)) if members.is_empty() => return None,
        (_, Value::Null) => return None,
        (_, Value::String(text)) => text.clone(),
        _ => serde_json::to_string_pretty(input).ok()?,
    };
    let is_said = matches!(tool.tool_kind.as_str(), "edit" | "delete" | "move" | "read") || unframed(tool.title.trim()) == text;
    let short = shortened(&text, MAX_INPUT_BYTES);
    let text = if short.len() < text.len() { format!("{short}…") } else { text };
    (!is_said).then_some(text)
}

/// How a tool call stands, in words.
pub(crate) fn tool_status(tool: &ToolItem) -> &'static str {
    match tool.status.as_str() {
        "completed" => "completed",
        "failed" => "failed",
        "in_progress" => "did not finish",
        _ => "did not start",
    }
}

/// The first line of what a permission was asked for.
pub(crate) fn asked_title(permission: &PermissionItem) -> &str {
    unframed(permission.tool_call.get("title").and_then(Value::as_str).unwrap_or_default())
}

/// A permission as one sentence. `at`: when it was asked for.
pub(crate) fn permission_sentence(permission: &PermissionItem, at: UnixMs, end_at: Option<UnixMs>) -> String {
    let Some(resolved) = &permission.resolved else { return "Permission requested; not answered.".to_owned() };
    let name = |id: &String| permission.options.iter().find(|option| option.option_id == *id).map_or(id, |option| &option.name).clone();
    let answer = resolved.option_id.as_ref().map_or_else(|| "not answered".to_owned(), name);
    let by = match resolved.by {
        ResolvedBy::Client => "a person",
        ResolvedBy::Policy => "the run's permissions",
        ResolvedBy::Provider => "the agent itself",
    };
    let message = resolved.message.as_ref().map(|message| format!(", with the message: {message}")).unwrap_or_default();
    let waited = summary::duration(end_at.unwrap_or(at).saturating_sub(at));
    format!("Permission request: {answer}, by {by}, after {waited}{message}.")
}

/// How a turn ended.
pub(crate) fn turn_end(turn: &TurnItem) -> String {
    match (&turn.error, turn.stop_reason.as_deref()) {
        (Some(error), _) => format!("failed: {}", error.message),
        (None, Some(reason)) => reason.replace('_', " "),
        (None, None) => summary::state(turn.state).to_owned(),
    }
}

/// The end of a turn, and its number. The end of a run that was between turns is none.
pub(crate) fn ended_turn(item: &Item) -> Option<(u64, &TurnItem)> {
    match &item.kind {
        ItemKind::Turn(turn) => Some((item.turn?, turn)),
        _ => None,
    }
}

/// The beginning and the end of an output, and how many bytes are missing between them. Lines are cut whole where there are any.
pub(crate) fn ends(output: &Output, max_head: usize, max_tail: usize) -> (&str, u64, &str) {
    let text = output.text.as_str();
    let cut = output.omitted_at.and_then(|at| usize::try_from(at).ok());
    if cut.is_none() && text.len() <= max_head + max_tail {
        return (text, 0, "");
    }
    let (head, tail) = text.split_at_checked(cut.unwrap_or(text.len().min(max_head))).unwrap_or((text, ""));
    let head = shortened(head, max_head);
    let tail = &tail[tail.ceil_char_boundary(tail.len().saturating_sub(max_tail))..];
    let head_end = head.rfind('\n').filter(|at| head.len() - at < MAX_LINE_BYTES).map_or(head.len(), |at| at + 1);
    let first_line = tail.find('\n').filter(|at| *at < MAX_LINE_BYTES).map_or(0, |at| at + 1);
    let missing = output.omitted_bytes.unwrap_or_default() + (text.len() - head_end - (tail.len() - first_line)) as u64;
    (&head[..head_end], missing, &tail[first_line..])
}
