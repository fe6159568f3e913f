//! `loomd configure`: another model, or somebody else who decides, from an agent's next turn on.

use clap::ValueEnum;
use serde_json::json;

use super::{Stop, agent, client::Launch, options::Permissions, render, words};
use crate::model::{
    Failure,
    calls::{Choice, ConfigureParams, OptionsResult, RunResult},
};

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
    let run = session.run(run_id).await?;
    if !agent::is_told(&run, &session.info.providers, launch) {
        let message = format!("run {} is a command: it has no model and no permissions to configure", words::short(run_id));
        return Err(Failure::unsupported("configure", message).into());
    }
    if options.model.is_some() || options.permissions.is_some() {
        let params = ConfigureParams { run_id, model: options.model, permissions: options.permissions.map(Into::into) };
        session.call::<_, RunResult>("run/configure", params).await?;
    } else {
        let choices: OptionsResult = session.call("provider/options", json!({ "provider": run.provider, "cwd": run.cwd })).await?;
        let names_models = !choices.models.is_empty();
        let mut text = String::new();
        for (kind, choices) in [("model", choices.models), ("mode", choices.modes), ("permissions", permissions())] {
            for choice in choices {
                text += &format!("{kind}  {}  {}\n", choice.id, choice.name);
            }
        }
        render::print(&text)?;
        if !names_models {
            render::note(&format!("{} names no models", run.provider));
        }
    }
    session.close().await;
    Ok(0)
}

/// Who may decide, as `--permissions` takes it.
fn permissions() -> Vec<Choice> {
    let values = Permissions::value_variants().iter().filter_map(ValueEnum::to_possible_value);
    let choice = |value: clap::builder::PossibleValue| Choice {
        id: value.get_name().to_owned(),
        name: value.get_help().map_or_else(String::new, ToString::to_string),
    };
    values.map(choice).collect()
}
