//! `loomd configure`: another model, or somebody else who decides, from an agent's next turn on.

use serde_json::json;

use super::{Stop, client::Launch, options::Permissions, render};
use crate::model::calls::{ConfigureParams, OptionsResult, RunResult};

/// Change an agent's model or permissions from its next turn on; without either, print what there is to choose from
#[derive(clap::Args, Debug)]
pub struct Options {
    /// The run
    pub run: String,
    /// The model, in the agent's own words
    #[arg(long, value_name = "MODEL")]
    pub model: Option<String>,
    /// Who decides what it may do
    #[arg(long, value_name = "MODE")]
    pub permissions: Option<Permissions>,
}

pub async fn main(options: Options, launch: &Launch) -> Result<u8, Stop> {
    let session = launch.open_quiet().await?;
    let run_id = session.run_id(&options.run).await?;
    if options.model.is_some() || options.permissions.is_some() {
        let params = ConfigureParams { run_id, model: options.model, permissions: options.permissions.map(Into::into) };
        session.call::<_, RunResult>("run/configure", params).await?;
    } else {
        let run = session.run(run_id).await?;
        let choices: OptionsResult = session.call("provider/options", json!({ "provider": run.provider, "cwd": run.cwd })).await?;
        let mut text = String::new();
        for (kind, choices) in [("model", choices.models), ("mode", choices.modes)] {
            for choice in choices {
                text += &format!("{kind}  {}  {}\n", choice.id, choice.name);
            }
        }
        render::print(&text)?;
    }
    session.close().await;
    Ok(0)
}
