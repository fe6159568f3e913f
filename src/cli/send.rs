//! `loomd send`: text to the stdin of a run that was started with `--interactive`, or the next prompt to an agent.

use std::io;

use serde_json::{Value, json};

use super::{
    Stop,
    agent::{self, start},
    client::Launch,
    input::Pieces,
    render,
};
use crate::model::{
    Failure,
    calls::{Prompt, SendMode, SendParams},
};

/// Send text to an interactive run's stdin, or a prompt to an agent
#[derive(clap::Args, Debug)]
pub struct Options {
    /// The run
    pub run: String,
    /// What to send, with a line end behind it; `-` sends our stdin as it is, to an agent as one prompt
    #[arg(required_unless_present = "close", allow_hyphen_values = true)]
    pub text: Option<String>,
    /// Add no line end
    #[arg(long, short)]
    pub no_newline: bool,
    /// Close the run's stdin afterwards; an agent's run ends when its turn has
    #[arg(long)]
    pub close: bool,
    /// Into the agent's running turn, where it can be steered; else the prompt waits for the next one
    #[arg(long)]
    pub steer: bool,
}

pub async fn main(options: Options, launch: &Launch) -> Result<u8, Stop> {
    let session = launch.open_quiet().await?;
    let run_id = session.run_id(&options.run).await?;
    let params = |text| SendParams { run_id, text: Some(text), prompt: None, mode: None };
    let run = session.run(run_id).await?;
    let is_agent = agent::is_told(&run, &session.info.providers, launch);
    if options.steer && !is_agent {
        return Err(Failure::invalid_params("mode", "--steer is for agents, and this run is a command").into());
    }
    match options.text.as_deref() {
        Some(text) if is_agent => {
            let prompt = if text == "-" { start::prompt_of_stdin()? } else { text.to_owned() };
            let mode = options.steer.then_some(SendMode::Steer);
            session.call::<_, Value>("run/send", SendParams { run_id, text: None, prompt: Some(Prompt::Text(prompt)), mode }).await?;
            let provider = session.info.providers.iter().find(|info| info.id == run.provider);
            if options.steer && provider.is_some_and(|info| !info.capabilities.steer) {
                render::note(&format!("{} cannot be steered: the prompt is queued for the next turn", run.provider));
            }
        }
        None => {}
        Some("-") => {
            let mut pieces = Pieces::of(io::stdin().lock());
            while let Some(piece) = pieces.next()? {
                session.call::<_, Value>("run/send", params(piece)).await?;
            }
        }
        Some(text) => {
            let end = if options.no_newline || text.ends_with('\n') { "" } else { "\n" };
            session.call::<_, Value>("run/send", params(format!("{text}{end}"))).await?;
        }
    }
    if options.close {
        session.call::<_, Value>("run/closeInput", json!({ "runId": run_id })).await?;
    }
    session.close().await;
    Ok(0)
}
