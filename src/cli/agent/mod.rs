//! Agents on our own terminal: what they say and do as it comes, their questions, and a line to type the next prompt on.

pub mod diff;
pub mod history;
pub mod keyboard;
pub mod painter;
pub mod question;
pub mod screen;
pub mod start;
pub mod tail;
pub mod talk;
pub mod tool;

use super::client::Launch;
use crate::model::{ProviderInfo, Run};

/// Whether what a run does is told by updates, so that its output is only how it was told.
pub fn is_told(run: &Run, providers: &[ProviderInfo], launch: &Launch) -> bool {
    let is_asked = run.params.contains_key("prompt") || run.params.contains_key("resume") || run.session.is_some();
    match providers.iter().find(|info| info.id == run.provider) {
        Some(info) if info.kind == start::COMMAND => is_asked && launch.knows_format(&info.id),
        Some(info) => info.capabilities.updates,
        // It is not configured any more.
        None => is_asked,
    }
}

/// The first line of what an agent was asked, for lists.
pub fn first_prompt_line(run: &Run) -> Option<String> {
    let prompt = run.params.get("prompt")?;
    let text = match prompt {
        serde_json::Value::String(text) => text.as_str(),
        blocks => blocks.as_array()?.iter().find_map(|block| block["text"].as_str())?,
    };
    text.lines().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned)
}
