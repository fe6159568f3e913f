//! `loomd send`: text to the stdin of a run that was started with `--interactive`.

use std::io;

use serde_json::{Value, json};

use super::{Stop, client::Launch, input::Pieces};
use crate::model::calls::SendParams;

/// Send text to an interactive run's stdin
#[derive(clap::Args, Debug)]
pub struct Options {
    /// The run
    pub run: String,
    /// What to send, with a line end behind it; `-` sends our stdin as it is
    #[arg(required_unless_present = "close", allow_hyphen_values = true)]
    pub text: Option<String>,
    /// Add no line end
    #[arg(long, short)]
    pub no_newline: bool,
    /// Close the run's stdin afterwards
    #[arg(long)]
    pub close: bool,
}

pub async fn main(options: Options, launch: &Launch) -> Result<u8, Stop> {
    let session = launch.open_quiet().await?;
    let run_id = session.run_id(&options.run).await?;
    let params = |text| SendParams { run_id, text: Some(text), prompt: None, mode: None };
    match options.text.as_deref() {
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
