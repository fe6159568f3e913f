//! `loomd configure`: changes an agent's model, permission mode or options from its next turn on.

use std::collections::BTreeMap;

use clap::ValueEnum;

use super::{EarlyExit, options::Permissions, render};
use crate::{
    client::ServerLaunch,
    model::{
        Failure,
        agent::AgentOffer,
        calls::{Choice, ConfigureParams, OptionsParams, OptionsResult},
        config_option::{self, OptionValue},
        methods::{ProviderOptions, RunConfigure},
    },
};

/// Change an agent's model, permission mode or options for its next turns, or list the choices
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
    /// Option of the agent itself, such as its mode or effort; repeatable
    #[arg(long = "option", value_name = "ID=VALUE", value_parser = option_value)]
    pub(crate) options: Vec<(String, OptionValue)>,
}

pub(crate) async fn main(options: Options, launch: &ServerLaunch) -> Result<u8, EarlyExit> {
    let session = launch.open_without_notifications().await?;
    let run_id = session.run_id(&options.run).await?;
    let run = session.run(run_id).await?;
    if !run.has_transcript {
        let message = format!("run {} is a command: it has no model or permission mode", launch.shown_id(run_id));
        return Err(Failure::unsupported("configure", message).into());
    }
    if options.model.is_some() || options.permissions.is_some() || !options.options.is_empty() {
        let set: BTreeMap<_, _> = options.options.into_iter().collect();
        let params = ConfigureParams { run_id, model: options.model, permissions: options.permissions.map(Into::into), options: set };
        session.call(RunConfigure, params).await?;
    } else {
        let offer = run.agent.unwrap_or_default();
        let params = OptionsParams { provider: run.provider.clone(), cwd: Some(run.cwd) };
        let choices = match session.call(ProviderOptions, params).await {
            // An agent that tells its options while it runs need not tell them without a run.
            Err(_) if !option_lines(&offer).is_empty() => OptionsResult::default(),
            choices => choices?,
        };
        let has_models = !choices.models.is_empty() || config_option::find(&offer.config_options, "model").is_some();
        let mut text = String::new();
        for (kind, choices) in [("model", choices.models), ("mode", choices.modes), ("permissions", permissions())] {
            for choice in choices {
                text += &render::for_stdout(&format!("{kind}  {}  {}\n", choice.id, choice.name));
            }
        }
        for line in option_lines(&offer) {
            text += &render::for_stdout(&line);
        }
        render::print(&text)?;
        if !has_models {
            render::note(&format!("{} does not list its models.", run.provider));
        }
    }
    session.close().await;
    Ok(0)
}

/// Reads `ID=VALUE`.
fn option_value(word: &str) -> Result<(String, OptionValue), String> {
    match word.split_once('=') {
        Some((id, value)) if !id.is_empty() => Ok((id.to_owned(), OptionValue::Id(value.to_owned()))),
        _ => Err("write it as ID=VALUE, for example effort=high".to_owned()),
    }
}

/// The agent's own options and what each can be set to, as `--option` takes them.
fn option_lines(offer: &AgentOffer) -> Vec<String> {
    let mut lines = Vec::new();
    let mut push = |id: &str, name: &str, current: Option<&str>, values: &[(String, String)]| {
        for (value, value_name) in values {
            let mark = if current == Some(value) { " (current)" } else { "" };
            lines.push(format!("option  {id}={value}  {name}: {value_name}{mark}\n"));
        }
    };
    for option in &offer.config_options {
        let text = |member: &str| option.get(member).and_then(serde_json::Value::as_str).unwrap_or_default();
        let (id, name) = (text("id"), if text("name").is_empty() { text("id") } else { text("name") });
        push(id, name, config_option::current(option).as_deref(), &config_option::values(option));
    }
    if config_option::find(&offer.config_options, "mode").is_none() {
        let modes: Vec<_> = offer.modes.iter().map(|mode| (mode.id.clone(), mode.name.clone())).collect();
        push("mode", "Mode", offer.mode_id.as_deref(), &modes);
    }
    lines
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
