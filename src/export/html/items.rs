//! The items of a transcript, as parts of the page.

use maud::{Markup, html};

use super::{
    escape::{Visible, prose},
    term::{Colors, colored, time},
};
use crate::{
    export::{item_queue::ItemNode, item_text, summary},
    model::{
        UnixMs,
        item::{
            FileDiff, Item, ItemKind, MessageItem, MessageRole, NoticeItem, NoticeSeverity, Output, PermissionItem, PlanItem, ToolItem,
        },
    },
    transcript::{patch, shortened, unframed},
};

/// How much of a change is shown.
const MAX_PATCH_BYTES: usize = 256 << 10;
/// How many places of a call are shown.
const MAX_LOCATIONS: usize = 20;

/// Items, each with those below it.
pub(crate) fn nodes<'a>(nodes: impl IntoIterator<Item = &'a ItemNode>, began: UnixMs, colors: &mut Colors) -> Markup {
    html! { @for one in nodes { (node(one, began, colors)) } }
}

fn node(node: &ItemNode, began: UnixMs, colors: &mut Colors) -> Markup {
    let item = &node.item;
    let time = time(item.at, began);
    let own = match &item.kind {
        // What is below a call stands inside of it.
        ItemKind::Tool(call) => return tool(node, call, began, colors),
        ItemKind::Message(message) if message.role == MessageRole::User => prompt(message, &time),
        ItemKind::Message(message) => agent_message(item, message, &time),
        ItemKind::Thought(message) => thought(message, &time),
        ItemKind::Plan(plan) => plan_of(plan, &time),
        ItemKind::Notice(notice) => notice_of(notice),
        ItemKind::Permission(permission) => question(item, permission),
        ItemKind::Turn(_) => turn(node),
        ItemKind::Other(other) => html! { p.notice data-t dir="auto" { (Visible(&other.title)) } "\n" },
        ItemKind::Command(_) => html! {},
    };
    html! { (own) (nodes(&node.below, began, colors)) }
}

fn prompt(message: &MessageItem, time: &Markup) -> Markup {
    html! {
        section.item {
            "\n" div.head { h2 { "Prompt" } (time) }
            "\n" div.prompt { p data-t dir="auto" { (Visible(item_text::message_text(message).trim())) } }
            "\n"
        }
        "\n"
    }
}

fn agent_message(item: &Item, message: &MessageItem, time: &Markup) -> Markup {
    let whole = item_text::message_text(message);
    html! {
        @if message.abandoned {
            p.notice { "The agent discarded this message and sent it again." }
            "\n"
        }
        @if !whole.trim().is_empty() {
            section.item {
                "\n" div.head { h2 { "Agent" @if item.continues.is_some() { ", continued" } } (time) }
                "\n" div.prose data-t dir="auto" { (prose(&whole)) }
                "\n"
            }
            "\n"
        }
    }
}

fn thought(message: &MessageItem, time: &Markup) -> Markup {
    html! {
        @if !message.text.trim().is_empty() {
            details.item.thought {
                summary { h2 { "Thought" } code { (Visible(first_line(&message.text))) } span.state {} (time) }
                "\n" div.body.prose data-t dir="auto" { (prose(&message.text)) }
            }
            "\n"
        }
    }
}

/// What a thought is about, without its marks.
fn first_line(message: &str) -> String {
    let first = message.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    shortened(&first.replace(['*', '`'], ""), 200).trim_matches(['#', ' ']).to_owned()
}

fn notice_of(notice: &NoticeItem) -> Markup {
    let (is_error, is_warning) = (notice.severity == NoticeSeverity::Error, notice.severity == NoticeSeverity::Warning);
    let description = notice.description.as_deref().unwrap_or_default();
    html! {
        p.notice.error[is_error].warning[is_warning] data-t dir="auto" {
            (Visible(&notice.title))
            @if !notice.title.is_empty() && !description.is_empty() { ": " }
            (Visible(description))
        }
        "\n"
    }
}

fn tool(node: &ItemNode, call: &ToolItem, began: UnixMs, colors: &mut Colors) -> Markup {
    let (sign, color) = match call.status.as_str() {
        "completed" => ("✓", "good"),
        "failed" => ("✗", "bad"),
        _ => ("○", "warn"),
    };
    let (at, end_at) = (node.item.at, node.item.end_at);
    let kind = if call.tool_kind.is_empty() { "tool" } else { &call.tool_kind };
    html! {
        details.item.tool {
            summary {
                h2 { (Visible(kind)) @if node.item.continues.is_some() { ", continued" } }
                code data-t { (Visible(item_text::tool_name(call))) }
                span.state.(color) {
                    (sign) " " (item_text::tool_status(call))
                    span.long { @if let Some(end) = end_at { " · " (summary::duration(end.saturating_sub(at))) } }
                }
                (time(at, began))
            }
            "\n"
            div.body { "\n" (tool_body(node, call, began, colors)) }
        }
        "\n"
    }
}

fn tool_body(node: &ItemNode, call: &ToolItem, began: UnixMs, colors: &mut Colors) -> Markup {
    let title = unframed(call.title.trim());
    let is_asked =
        |below: &&ItemNode| matches!(&below.item.kind, ItemKind::Permission(asked) if call.permissions.contains(&asked.permission_id));
    let (asked, below): (Vec<&ItemNode>, Vec<&ItemNode>) = node.below.iter().partition(is_asked);
    html! {
        // HTML drops the first line end in a `pre`, which would be the text's own.
        @if title.contains('\n') { pre.term data-t { "\n" (Visible(title)) } "\n" }
        @if let Some(input) = item_text::tool_input(call) {
            h3 { "Input" } "\n"
            pre.term data-t { "\n" (Visible(input)) } "\n"
        }
        @if call.diffs.is_empty() && !call.locations.is_empty() {
            p data-t {
                @for (at, location) in call.locations.iter().take(MAX_LOCATIONS).enumerate() {
                    @if at > 0 { ", " }
                    code { (Visible(&location.path)) }
                }
            }
            "\n"
        }
        (nodes(asked, began, colors))
        @if !below.is_empty() { div.below { "\n" (nodes(below, began, colors)) } "\n" }
        @for change in &call.diffs { (diff(change)) }
        @if let Some(shown) = &call.output {
            (output(shown, colors))
        } @else if call.diffs.is_empty() && node.below.is_empty() {
            p.cut { "No details." } "\n"
        }
    }
}

fn output(shown: &Output, colors: &mut Colors) -> Markup {
    let (head, missing, tail) = item_text::ends(shown, usize::MAX / 2, usize::MAX / 2);
    html! {
        h3 { "Output" } "\n"
        pre.term data-t tabindex="0" { "\n" (colored(head, colors)) } "\n"
        @if missing > 0 {
            p.cut { (summary::missing(missing)) } "\n"
            pre.term data-t tabindex="0" { "\n" (colored(tail, colors)) } "\n"
        }
    }
}

fn diff(change: &FileDiff) -> Markup {
    let path = Visible(&change.path);
    let whole = match patch::unified(change) {
        Ok(whole) => whole,
        Err(sentence) => return html! { h3 { (path) } "\n" p { (Visible(sentence)) } "\n" },
    };
    let (added, removed) = patch::counts(&whole);
    let end = if whole.len() <= MAX_PATCH_BYTES {
        whole.len()
    } else {
        whole[..whole.floor_char_boundary(MAX_PATCH_BYTES)].rfind('\n').map_or(0, |at| at + 1)
    };
    html! {
        h3 { (path) " " span.good { "+" (added) } " " span.bad { "−" (removed) } } "\n"
        pre.diff data-t tabindex="0" {
            "\n"
            @for line in whole[..end].lines() { span class=[line_class(line)] { (Visible(line)) "\n" } }
        }
        "\n"
        @if end < whole.len() { p.cut { (summary::missing((whole.len() - end) as u64)) } "\n" }
    }
}

fn line_class(line: &str) -> Option<&'static str> {
    match line.as_bytes().first() {
        _ if line.starts_with("+++") || line.starts_with("---") || line.starts_with("diff ") => Some("f"),
        Some(b'+') => Some("a"),
        Some(b'-') => Some("d"),
        Some(b'@') => Some("h"),
        _ => None,
    }
}

fn plan_of(plan: &PlanItem, time: &Markup) -> Markup {
    html! {
        section.item {
            "\n" div.head { h2 { "Plan" } (time) }
            "\n" ul.plan data-t { "\n" @for step in &plan.entries { (plan_step(&step.status, &step.content)) } }
            "\n"
        }
        "\n"
    }
}

fn plan_step(status: &str, content: &str) -> Markup {
    let (sign, word) = match status {
        "completed" => ("☑", "done"),
        "in_progress" => ("▶", "in progress"),
        _ => ("☐", "to do"),
    };
    html! { li.done[word == "done"] { span role="img" aria-label=(word) { (sign) } " " (Visible(content)) } "\n" }
}

fn question(item: &Item, permission: &PermissionItem) -> Markup {
    let title = item_text::asked_title(permission);
    html! {
        p.ask data-t dir="auto" {
            @if !title.is_empty() { code { (Visible(title)) } ": " }
            (Visible(item_text::permission_sentence(permission, item.at, item.end_at)))
        }
        "\n"
    }
}

fn turn(node: &ItemNode) -> Markup {
    let Some((number, end)) = item_text::ended_turn(&node.item) else { return html! {} };
    let took = summary::duration(node.item.at.saturating_sub(node.turn_began.unwrap_or(node.item.at)));
    html! {
        p.turn data-t {
            "Turn " (number) ": " (Visible(item_text::turn_end(end))) ", after " (took)
            @if let Some(usage) = end.usage.as_ref().and_then(summary::usage) { " · " (Visible(usage)) }
        }
        "\n"
    }
}
