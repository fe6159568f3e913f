//! The tools that read one run.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    answer::{AnswerText, MAX_ANSWER_BYTES, clipped, part, plain, run_line, shortened, state_text, time},
    finding::RunFilter,
    front_end::McpFrontEnd,
    items,
};
use crate::{
    model::{
        Failure, Run, RunState,
        calls::{ChangeKind, ChangedFile, GetItemParams, ItemsParams, RunIdParams, TextParams},
        item::FileDiff,
        methods::{RunChanges, RunGetItem, RunItems, RunText},
    },
    provider::kind::quoted,
    transcript::patch,
};

/// Bytes of one item in an answer of several.
const MAX_ITEM_BYTES: usize = 2 << 10;
/// Items that are asked for at a time, and their bytes.
const PAGE_ITEMS: u64 = 200;
const PAGE_BYTES: u64 = 1 << 20;
/// The longest wait of one call.
const MAX_WAIT: Duration = Duration::from_secs(50);
/// How often a run is looked at while it is waited for. To be attached to it would count as somebody who is there.
const WAIT_INTERVAL: Duration = Duration::from_millis(200);

/// Arguments of `outline`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OutlineArguments {
    /// The run: its id, or the last digits of it.
    run: String,
    /// Goes on after the item with this number.
    #[serde(default)]
    after: Option<u64>,
}

/// Arguments of `read_run`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReadRunArguments {
    /// The run: its id, or the last digits of it.
    run: String,
    /// Reads the items after the one with this number. Default: from the beginning.
    #[serde(default)]
    after: Option<u64>,
    /// Reads the items before the one with this number instead.
    #[serde(default)]
    before: Option<u64>,
    /// Reads this item whole.
    #[serde(default)]
    item: Option<u64>,
    /// The byte of the item, or of a command's output, from which to read. Default 0.
    #[serde(default)]
    offset: Option<u64>,
}

/// Arguments of `run_changes`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RunChangesArguments {
    /// The run: its id, or the last digits of it.
    run: String,
    /// Shows the change of this file, as the list names it.
    #[serde(default)]
    path: Option<String>,
    /// The byte of the patch from which to read; in the list, how many files to pass over. Default 0.
    #[serde(default)]
    offset: Option<u64>,
}

/// Arguments of `tail_output`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TailOutputArguments {
    /// The run: its id, or the last digits of it.
    run: String,
    /// Most bytes, up to 8000. Default 4000.
    #[serde(default)]
    bytes: Option<u64>,
}

/// Arguments of `wait_run`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WaitRunArguments {
    /// The run: its id, or the last digits of it.
    run: String,
    /// How long to wait at most, up to 50. Default 50.
    #[serde(default)]
    timeout_seconds: Option<u64>,
}

/// Arguments of `resume_command`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ResumeCommandArguments {
    /// The run: its id, or the last digits of it.
    run: String,
}

pub(super) async fn outline(front_end: &Arc<McpFrontEnd>, arguments: OutlineArguments) -> Result<String, Failure> {
    let run = front_end.run(&arguments.run).await?;
    outline_of(front_end, &run, arguments.after.unwrap_or(0)).await
}

/// A run in one line for each item after `after`.
pub(super) async fn outline_of(front_end: &McpFrontEnd, run: &Run, after: u64) -> Result<String, Failure> {
    let mut text = AnswerText::new();
    if after == 0 {
        text.line(&facts(run));
    }
    let (mut last, mut next) = (after, Some(after));
    while let Some(begin) = next {
        let params = ItemsParams { run_id: run.id, after: Some(begin), before: None, limit: Some(PAGE_ITEMS), max_bytes: Some(PAGE_BYTES) };
        let page = front_end.call(RunItems, params).await?;
        for item in &page.items {
            if !text.line(&items::line(item)) {
                return Ok(text.ending_with(&format!("There are {} items; go on with after: {last}.", page.total)));
            }
            last = item.item;
        }
        next = page.next;
    }
    Ok(text.ending_with(if run.state.is_final() { "This is the end of the run." } else { "The run goes on." }))
}

/// What there is to say of a run besides its items.
fn facts(run: &Run) -> String {
    let mut lines = vec![run_line(run)];
    if !run.has_transcript {
        lines.push(format!("command: {}", shortened(&plain(&run.command.join(" ")), 400)));
    }
    if let Some(at) = run.ended_at {
        lines.push(format!("ended: {}", time(at)));
    }
    if let Some(error) = &run.error {
        lines.push(format!("error: {}", shortened(&plain(&error.message), 400)));
    }
    if let Some(usage) = &run.usage
        && let Ok(usage) = serde_json::to_string(usage)
    {
        lines.push(format!("usage: {usage}"));
    }
    lines.join("\n")
}

pub(super) async fn read_run(front_end: &Arc<McpFrontEnd>, arguments: ReadRunArguments) -> Result<String, Failure> {
    let run = front_end.run(&arguments.run).await?;
    let offset = arguments.offset.unwrap_or(0);
    if let Some(item) = arguments.item {
        let item = front_end.call(RunGetItem, GetItemParams { run_id: run.id, item }).await?.item;
        return Ok(text_part(&items::whole(&item), offset, &format!("item: {}", item.item)));
    }
    if !run.has_transcript {
        return output_part(front_end, &run, offset).await;
    }
    read_items(front_end, &run, arguments.after, arguments.before).await
}

/// The output of a command from a byte on.
async fn output_part(front_end: &McpFrontEnd, run: &Run, offset: u64) -> Result<String, Failure> {
    let params = TextParams { run_id: run.id, stream: None, offset: Some(offset), max_bytes: Some(room() as u64), last_lines: None };
    let page = front_end.call(RunText, params).await?;
    let last = match page.next_offset {
        next if next < page.total_bytes => format!("{next} of {} bytes; go on with offset: {next}.", page.total_bytes),
        end if run.state.is_final() => format!("This is the end of the output, {end} bytes; the run {}.", state_text(run)),
        end => format!("This is all so far; go on with offset: {end}."),
    };
    Ok(format!("{}\n{last}", plain(&page.text)))
}

/// Bytes of text beside the last line of an answer.
fn room() -> usize {
    AnswerText::new().room()
}

fn text_part(text: &str, offset: u64, what: &str) -> String {
    let (part, next) = part(text, offset, room());
    match next {
        Some(next) => format!("{part}\n{next} of {} bytes; go on with {what}, offset: {next}.", text.len()),
        None => part.to_owned(),
    }
}

/// Items after one, or before one, or from the beginning.
async fn read_items(front_end: &McpFrontEnd, run: &Run, after: Option<u64>, before: Option<u64>) -> Result<String, Failure> {
    let after = if before.is_none() { Some(after.unwrap_or(0)) } else { after };
    let mut params = ItemsParams { run_id: run.id, after, before, limit: Some(PAGE_ITEMS), max_bytes: Some(PAGE_BYTES) };
    let mut page = front_end.call(RunItems, &params).await?;
    if before.is_some_and(|before| before > page.total.saturating_add(1)) {
        params.before = Some(page.total + 1);
        page = front_end.call(RunItems, &params).await?;
    }
    let texts = page.items.iter().map(|item| (item.item, shortened(&items::whole(item), MAX_ITEM_BYTES)));
    let mut text = AnswerText::new();
    if before.is_some() {
        // The nearest ones, in their order.
        let mut room = room();
        let mut kept: Vec<(u64, String)> = Vec::new();
        for (number, item) in texts.rev() {
            if item.len() >= room {
                break;
            }
            room -= item.len() + 1;
            kept.push((number, item));
        }
        kept.reverse();
        let first = kept.first().map(|(number, _)| *number);
        for (_, item) in &kept {
            text.line(item);
        }
        return Ok(text.ending_with(&match first {
            Some(first @ 2..) => format!("There are earlier items; go on with before: {first}."),
            _ => "This is the beginning of the run.".to_owned(),
        }));
    }
    let mut last = after.unwrap_or(0);
    for (number, item) in texts {
        if !text.line(&item) {
            break;
        }
        last = number;
    }
    Ok(text.ending_with(&match (last < page.total, run.state.is_final()) {
        (true, _) => format!("There are {} items; go on with after: {last}.", page.total),
        (false, true) => format!("This is the end of the run, which {}.", state_text(run)),
        (false, false) => format!("This is all so far; go on with after: {last}."),
    }))
}

pub(super) async fn run_changes(front_end: &Arc<McpFrontEnd>, arguments: RunChangesArguments) -> Result<String, Failure> {
    let run = front_end.run(&arguments.run).await?;
    let changes = front_end.call(RunChanges, RunIdParams { run_id: run.id }).await?;
    let offset = arguments.offset.unwrap_or(0);
    if let Some(path) = &arguments.path {
        let is_named = |file: &&ChangedFile| file.path == *path || file.path == format!("{}/{path}", run.cwd.trim_end_matches('/'));
        let unknown = || Failure::invalid_params("path", format!("the run is not known to have changed {path}"));
        let file = changes.files.iter().find(is_named).ok_or_else(unknown)?;
        return Ok(text_part(&patch_of(file), offset, &format!("path: {:?}", file.path)));
    }
    let mut text = AnswerText::new();
    let first = usize::try_from(offset).unwrap_or(usize::MAX);
    for (number, file) in changes.files.iter().enumerate().skip(first) {
        let kind = match file.kind {
            ChangeKind::Add => "added",
            ChangeKind::Modify => "modified",
            ChangeKind::Delete => "deleted",
            ChangeKind::Move => "moved",
        };
        let (added, removed) = patch::counts(&patch_of(file));
        if !text.line(&format!("{kind} {} +{added} -{removed}", plain(&file.path))) {
            return Ok(text.ending_with(&format!("There are {} files; go on with offset: {number}.", changes.files.len())));
        }
    }
    Ok(text.ending_with(match (changes.files.is_empty(), changes.complete) {
        (true, true) => "The run changed no file.",
        (true, false) => "No change of a file is known; commands of the run may have changed some.",
        (false, true) => "These are all changes.",
        (false, false) => "Commands of the run may have changed further files.",
    }))
}

fn patch_of(file: &ChangedFile) -> String {
    let ChangedFile { path, kind, patch, old_text, new_text } = file.clone();
    let omitted = patch.is_none() && old_text.is_none() && new_text.is_none();
    let diff = FileDiff { path, kind, patch, old_text, new_text, omitted };
    patch::unified(&diff).unwrap_or_else(|reason| format!("{}: {reason}", diff.path))
}

pub(super) async fn tail_output(front_end: &Arc<McpFrontEnd>, arguments: TailOutputArguments) -> Result<String, Failure> {
    const DEFAULT_TAIL_BYTES: usize = 4000;
    let run = front_end.run(&arguments.run).await?;
    let wanted = arguments.bytes.map_or(DEFAULT_TAIL_BYTES, |bytes| usize::try_from(bytes).unwrap_or(usize::MAX)).clamp(1, room());
    let tail = if run.has_transcript {
        let params = ItemsParams { run_id: run.id, after: None, before: None, limit: Some(PAGE_ITEMS), max_bytes: Some(PAGE_BYTES) };
        let page = front_end.call(RunItems, params).await?;
        let texts: Vec<String> = page.items.iter().map(|item| shortened(&items::whole(item), MAX_ITEM_BYTES)).collect();
        last_part(&texts.join("\n"), wanted).to_owned()
    } else {
        let offset = run.bytes.total().saturating_sub(wanted as u64);
        let params = TextParams { run_id: run.id, stream: None, offset: Some(offset), max_bytes: Some(wanted as u64), last_lines: None };
        plain(&front_end.call(RunText, params).await?.text)
    };
    Ok(format!("{tail}\nThe run {}.", now_text(&run)))
}

fn last_part(text: &str, max_bytes: usize) -> &str {
    &text[text.ceil_char_boundary(text.len().saturating_sub(max_bytes))..]
}

fn now_text(run: &Run) -> String {
    let state = state_text(run);
    match run.state {
        RunState::Failed | RunState::Succeeded | RunState::TimedOut => state,
        RunState::Cancelled | RunState::Lost => format!("was {state}"),
        _ => format!("is {state}"),
    }
}

pub(super) async fn wait_run(front_end: &Arc<McpFrontEnd>, arguments: WaitRunArguments) -> Result<String, Failure> {
    let mut run = front_end.run(&arguments.run).await?;
    let wait = arguments.timeout_seconds.map_or(MAX_WAIT, Duration::from_secs).min(MAX_WAIT);
    let end = Instant::now() + wait;
    while matches!(run.state, RunState::Starting | RunState::Running) && Instant::now() < end {
        tokio::time::sleep(WAIT_INTERVAL.min(end.saturating_duration_since(Instant::now()))).await;
        run = front_end.run(&run.id.to_string()).await?;
    }
    let mut text = AnswerText::new();
    text.line(&format!("The run {}.", now_text(&run)));
    text.line(&facts(&run));
    Ok(text.ending_with(match run.state {
        RunState::Starting | RunState::Running => "Call wait_run again to wait longer; tail_output shows what it has written.",
        _ => "tail_output shows the end of what it has written.",
    }))
}

pub(super) async fn resume_command(front_end: &Arc<McpFrontEnd>, arguments: ResumeCommandArguments) -> Result<String, Failure> {
    let run = front_end.run(&arguments.run).await?;
    let mut text = AnswerText::new();
    let Some(session) = &run.session else {
        if run.has_transcript {
            return Ok("The agent has told no session, so there is nothing to resume.".to_owned());
        }
        let words: Vec<String> = run.command.iter().map(|word| quoted(word)).collect();
        return Ok(clipped(&format!("cd {} && {}", quoted(&run.cwd), words.join(" ")), MAX_ANSWER_BYTES).to_owned());
    };
    for takeover in session.takeover.iter().filter(|takeover| takeover.command.is_some()) {
        let reason = takeover.reason.as_ref().map_or_else(String::new, |reason| format!("  # {}", plain(reason)));
        text.line(&format!("{}{reason}", plain(&takeover.display)));
    }
    Ok(text.ending_with(&format!("loomd takeover {}  # in a terminal, whatever the agent", run.id)))
}

const SCHEME: &str = "loomd://run/";
/// Runs in one page of `resources/list`.
const PAGE_RESOURCES: usize = 50;

/// The result of `resources/list`.
pub(super) async fn list_resources(front_end: &McpFrontEnd, cursor: Option<String>) -> Result<Value, Failure> {
    let (runs, next) = RunFilter::default().page(front_end, cursor, PAGE_RESOURCES).await?;
    let resources: Vec<Value> = runs
        .iter()
        .map(|run| {
            json!({ "uri": format!("{SCHEME}{}", run.id), "name": run.id, "title": run.display_title, "mimeType": "text/plain",
                "description": format!("{}: {}", run.provider, state_text(run)) })
        })
        .collect();
    let mut result = json!({ "resources": resources });
    if let Some(next) = next {
        result["nextCursor"] = json!(next);
    }
    Ok(result)
}

/// The result of `resources/templates/list`.
pub(super) fn resource_templates() -> Value {
    json!({ "resourceTemplates": [{ "uriTemplate": format!("{SCHEME}{{id}}{{?after}}"), "name": "run", "title": "A run",
        "description": "A run in one line for each step, at most 8 KiB; `after`: from the item behind this one on", "mimeType": "text/plain" }] })
}

/// The result of `resources/read`.
pub(super) async fn read_resource(front_end: &McpFrontEnd, uri: &str) -> Result<Value, Failure> {
    let missing = || Failure::invalid_params("uri", format!("there is no resource {uri}; runs are {SCHEME}ID"));
    let place = uri.strip_prefix(SCHEME).ok_or_else(missing)?;
    let (id, after) = match place.split_once("?after=") {
        Some((id, after)) => (id, after.parse().map_err(|_| missing())?),
        None => (place, 0),
    };
    let run = front_end.run(id).await.map_err(|failure| Failure::invalid_params("uri", failure.message))?;
    let text = outline_of(front_end, &run, after).await?;
    Ok(json!({ "contents": [{ "uri": uri, "mimeType": "text/plain", "text": text }] }))
}
