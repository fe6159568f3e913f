//! Runs as resources: `loomd://run/ID`, and `loomd://run/ID?after=ITEM` from an item on.

use serde_json::{Value, json};

use super::{answer::state_text, finding::RunFilter, front_end::McpFrontEnd, reading};
use crate::model::Failure;

const SCHEME: &str = "loomd://run/";
/// Runs in one page of the list.
const PAGE_RUNS: usize = 50;

/// The result of `resources/list`.
pub(super) async fn list(front_end: &McpFrontEnd, cursor: Option<String>) -> Result<Value, Failure> {
    let (runs, next) = RunFilter::default().page(front_end, cursor, PAGE_RUNS).await?;
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
pub(super) fn templates() -> Value {
    json!({ "resourceTemplates": [{ "uriTemplate": format!("{SCHEME}{{id}}{{?after}}"), "name": "run", "title": "A run",
        "description": "A run in one line for each step, at most 8 KiB; `after`: from the item behind this one on", "mimeType": "text/plain" }] })
}

/// The result of `resources/read`.
pub(super) async fn read(front_end: &McpFrontEnd, uri: &str) -> Result<Value, Failure> {
    let missing = || Failure::invalid_params("uri", format!("there is no resource {uri}; runs are {SCHEME}ID"));
    let place = uri.strip_prefix(SCHEME).ok_or_else(missing)?;
    let (id, after) = match place.split_once("?after=") {
        Some((id, after)) => (id, after.parse().map_err(|_| missing())?),
        None => (place, 0),
    };
    let run = front_end.run(id).await.map_err(|failure| Failure::invalid_params("uri", failure.message))?;
    let text = reading::outline_of(front_end, &run, after).await?;
    Ok(json!({ "contents": [{ "uri": uri, "mimeType": "text/plain", "text": text }] }))
}
