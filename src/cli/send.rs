//! `loomd send`: sends text to the stdin of a run that was started with `--interactive`, or a prompt to an agent.

use std::io;

use super::{EarlyExit, agent::start, format, input::TextReader, render};
use crate::{
    client::ServerLaunch,
    model::{
        Failure,
        calls::{QueuedPrompt, RunIdParams, SendMode, SendParams, UnqueueParams},
        methods::{RunCloseInput, RunQueue, RunUnqueue},
        task,
    },
};

/// Send text to a program's stdin, or a prompt to an agent
#[derive(clap::Args, Debug)]
pub(crate) struct Options {
    /// Run ID or its last digits
    pub(crate) run: String,
    /// Text to send, followed by a newline; `-` sends stdin as it is, to an agent as one prompt
    #[arg(required_unless_present_any = ["close", "queued", "unqueue"], allow_hyphen_values = true)]
    pub(crate) text: Option<String>,
    /// Do not add a newline
    #[arg(long, short)]
    pub(crate) no_newline: bool,
    /// Close the run's stdin afterwards; an agent's run ends after its turn
    #[arg(long)]
    pub(crate) close: bool,
    /// Send the prompt to the agent's running turn instead of queuing it for the next one
    #[arg(long)]
    pub(crate) steer: bool,
    /// List the prompts that wait for a turn of the agent, each with its number
    #[arg(long, conflicts_with_all = ["text", "close", "steer", "unqueue"])]
    pub(crate) queued: bool,
    /// Take back a prompt that waits, by its number, and print it
    #[arg(long, value_name = "NUMBER", conflicts_with_all = ["text", "close", "steer"])]
    pub(crate) unqueue: Option<u64>,
}

pub(crate) async fn main(options: Options, launch: &ServerLaunch) -> Result<u8, EarlyExit> {
    let session = launch.open_without_notifications().await?;
    let run_id = session.run_id(&options.run).await?;
    let run = session.run(run_id).await?;
    let is_agent = run.has_transcript;
    if options.steer && !is_agent {
        return Err(Failure::invalid_params("mode", "--steer is only for agents, and this run is a command").into());
    }
    if options.queued {
        for QueuedPrompt { prompt_id, prompt } in session.call(RunQueue, RunIdParams { run_id }).await?.prompts {
            render::print(&format!("{prompt_id}  {}\n", format::plain(task::text_of(&prompt).lines().next().unwrap_or_default())))?;
        }
    }
    if let Some(prompt_id) = options.unqueue {
        let taken = session.call(RunUnqueue, UnqueueParams { run_id, prompt_id }).await?;
        render::print(&format!("{}\n", render::for_stdout(&task::text_of(&taken.prompt))))?;
    }
    match options.text.as_deref() {
        Some(text) if is_agent => {
            let prompt = if text == "-" { start::prompt_of_stdin()? } else { text.to_owned() };
            let mode = options.steer.then_some(SendMode::Steer);
            session.send(SendParams { mode, ..SendParams::prompt(run_id, &prompt) }).await?;
            let provider = session.info.providers.iter().find(|info| info.id == run.provider);
            if options.steer && provider.is_some_and(|info| !info.capabilities.steer) {
                render::note(&format!("Steering is not supported by {}; the prompt is queued for the next turn.", run.provider));
            }
        }
        None => {}
        Some("-") => {
            let mut chunks = TextReader::of(io::stdin().lock());
            while let Some(chunk) = chunks.next()? {
                session.send(SendParams::text(run_id, &chunk)).await?;
            }
        }
        Some(text) => {
            let end = if options.no_newline || text.ends_with('\n') { "" } else { "\n" };
            session.send(SendParams::text(run_id, &format!("{text}{end}"))).await?;
        }
    }
    if options.close {
        session.call(RunCloseInput, RunIdParams { run_id }).await?;
    }
    session.close().await;
    Ok(0)
}
