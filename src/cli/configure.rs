//! `loomd configure`: changes an agent's model or permission mode from its next turn on.

use clap::ValueEnum;

use super::{EarlyExit, format, options::Permissions, render};
use crate::{
    client::ServerLaunch,
    model::{
        Failure,
        calls::{Choice, ConfigureParams, OptionsParams},
        methods::{ProviderOptions, RunConfigure},
    },
};

/// Change an agent's model or permission mode for its next turns, or list the choices
#[derive(clap::Args, Debug)]
pub(crate) struct Options {
    /// Run ID or its last digits
    pub(crate) run: String,
    /// Model, by the agent's own name for it
    #[arg(long, value_name = "MODEL")]
    pub(crate) model: Option<String>,
    /// Permission mode
    #[arg(long, value_name = "MODE")]
    pub(crate) permissions: Option<Permissions>,
}

pub(crate) async fn main(options: Options, launch: &ServerLaunch) -> Result<u8, EarlyExit> {
    let session = launch.open_without_notifications().await?;
    let run_id = session.run_id(&options.run).await?;
    let run = session.run(run_id).await?;
    if !run.has_transcript {
        let message = format!("run {} is a command: it has no model or permission mode", format::short_id(run_id));
        return Err(Failure::unsupported("configure", message).into());
    }
    if options.model.is_some() || options.permissions.is_some() {
        let params = ConfigureParams { run_id, model: options.model, permissions: options.permissions.map(Into::into) };
        session.call(RunConfigure, params).await?;
    } else {
        let params = OptionsParams { provider: run.provider.clone(), cwd: Some(run.cwd) };
        let choices = session.call(ProviderOptions, params).await?;
        let has_models = !choices.models.is_empty();
        let mut text = String::new();
        for (kind, choices) in [("model", choices.models), ("mode", choices.modes), ("permissions", permissions())] {
            for choice in choices {
                text += &render::for_stdout(&format!("{kind}  {}  {}\n", choice.id, choice.name));
            }
        }
        render::print(&text)?;
        if !has_models {
            render::note(&format!("{} does not list its models.", run.provider));
        }
    }
    session.close().await;
    Ok(0)
}

/// The permission modes, as `--permissions` takes them.
fn permissions() -> Vec<Choice> {
    let values = Permissions::value_variants().iter().filter_map(ValueEnum::to_possible_value);
    let choice = |value: clap::builder::PossibleValue| Choice {
        id: value.get_name().to_owned(),
        name: value.get_help().map_or_else(String::new, ToString::to_string),
    };
    values.map(choice).collect()
}
