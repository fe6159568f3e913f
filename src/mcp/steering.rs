//! The tools that change something. They are offered with `--may-start` only.

use std::{sync::Arc, time::Duration};

use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    answer::{absolute_directory, state_text},
    front_end::McpFrontEnd,
};
use crate::model::{
    Failure,
    calls::{AttachChoice, CancelParams, Prompt, SendMode, SendParams, StartParams},
    methods::{RunCancel, RunSend, RunStart},
};

/// Arguments of `start_command`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct StartCommandArguments {
    /// The program and its arguments. No shell reads them; for a shell's script use `["sh", "-c", "SCRIPT"]`.
    command: Vec<String>,
    /// Where it starts; an absolute path. Default: the directory that you are in.
    #[serde(default)]
    cwd: Option<String>,
    /// A name for lists.
    #[serde(default)]
    title: Option<String>,
    /// Ends the run after so many seconds. Default: no limit.
    #[serde(default)]
    timeout_seconds: Option<u64>,
    /// Keeps its stdin open for `send`. Default false.
    #[serde(default)]
    interactive: Option<bool>,
}

/// Arguments of `cancel_run`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CancelRunArguments {
    /// The run: its id, or the last digits of it.
    run: String,
}

/// Arguments of `send`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SendArguments {
    /// The run: its id, or the last digits of it.
    run: String,
    /// The prompt, or the line.
    text: String,
    /// For an agent: puts the text into its running turn instead of behind it. Default false.
    #[serde(default)]
    steer: Option<bool>,
}

pub(super) async fn start_command(front_end: &Arc<McpFrontEnd>, arguments: StartCommandArguments) -> Result<String, Failure> {
    let cwd = match arguments.cwd.as_deref() {
        Some(cwd) => Some(absolute_directory(cwd)?),
        None => front_end.directory().cloned(),
    };
    if let Some(cwd) = cwd.as_ref().filter(|cwd| !front_end.is_below(cwd) || cwd.split('/').any(|name| name == "..")) {
        let message = format!("commands start in this directory or below it, not in {cwd} (`loomd mcp --all` allows it)");
        return Err(Failure::invalid_params("cwd", message));
    }
    let params = StartParams {
        provider: "command".to_owned(),
        command: Some(arguments.command),
        cwd,
        title: arguments.title,
        timeout_ms: arguments.timeout_seconds.map(|seconds| seconds.saturating_mul(1000)),
        interactive: arguments.interactive,
        attach: Some(AttachChoice::Whether(false)),
        ..StartParams::default()
    };
    let run = front_end.call(RunStart, params).await?.run;
    front_end.note_started(run.id);
    Ok(format!("Started run {} in {}.", run.id, run.cwd))
}

pub(super) async fn cancel_run(front_end: &Arc<McpFrontEnd>, arguments: CancelRunArguments) -> Result<String, Failure> {
    let run = front_end.run(&arguments.run).await?;
    let run = front_end.call(RunCancel, CancelParams { run_id: run.id, grace_ms: None }).await?.run;
    Ok(format!("The run has ended: {}.", state_text(&run)))
}

pub(super) async fn send(front_end: &Arc<McpFrontEnd>, arguments: SendArguments) -> Result<String, Failure> {
    let run = front_end.run(&arguments.run).await?;
    let SendArguments { mut text, steer, .. } = arguments;
    if !run.has_transcript && !text.ends_with('\n') {
        text.push('\n');
    }
    let (text, prompt) = if run.has_transcript { (None, Some(Prompt::Text(text))) } else { (Some(text), None) };
    let mode = steer.filter(|steer| *steer && run.has_transcript).map(|_| SendMode::Steer);
    let sent = front_end.call(RunSend, SendParams { run_id: run.id, text, prompt, mode, client_token: None });
    tokio::time::timeout(SEND_TIMEOUT, sent).await.unwrap_or_else(|_| Err(Failure::internal("the run takes no text at the moment")))?;
    Ok("Sent.".to_owned())
}

/// How long a run may take to take a text.
const SEND_TIMEOUT: Duration = Duration::from_secs(30);
