//! Which providers there are, as a look at PATH and the configuration tells.

use crate::{
    config::{Config, Kind, ProviderConfig},
    model::{Failure, ProviderCapabilities, ProviderInfo},
    process::find,
};

/// What a command can do.
const COMMAND: ProviderCapabilities =
    ProviderCapabilities { resume: false, send: true, steer: false, interrupt: true, permissions: false, updates: false };

/// How a run of a provider is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipe {
    /// What stands before the run's own arguments.
    pub argv: Vec<String>,
    pub env: Vec<(String, String)>,
}

/// All providers, the built-in one first.
pub fn all(config: &Config) -> Vec<ProviderInfo> {
    let built_in = ProviderInfo {
        id: "command".to_owned(),
        title: "Command".to_owned(),
        kind: "command".to_owned(),
        available: true,
        version: None,
        program: None,
        reason: None,
        capabilities: COMMAND,
    };
    let configured = config.providers.iter().filter(|(name, _)| *name != "command").map(|(name, provider)| describe(name, provider));
    std::iter::once(built_in).chain(configured).collect()
}

fn describe(name: &str, provider: &ProviderConfig) -> ProviderInfo {
    let kind = provider.kind.or(Kind::of(name)).unwrap_or(Kind::Command);
    let named = provider.command.as_ref().and_then(|command| command.first()).or(provider.program.as_ref());
    let program = named.and_then(|program| find::in_own_path(program));
    let reason = match (kind, named, &program) {
        (Kind::Codex | Kind::Claude | Kind::Acp, ..) => {
            Some(format!("this version of loomd runs providers of kind `command` only, not `{}`", kind.as_str()))
        }
        (Kind::Command, Some(named), None) => {
            Some(format!("`{named}` is not in PATH; install it, or name it by its full path in the configuration"))
        }
        _ => None,
    };
    ProviderInfo {
        id: name.to_owned(),
        title: provider.title.clone().unwrap_or_else(|| name.to_owned()),
        kind: kind.as_str().to_owned(),
        available: reason.is_none(),
        version: None,
        program: program.map(|path| path.to_string_lossy().into_owned()),
        reason,
        capabilities: if kind == Kind::Command { COMMAND } else { ProviderCapabilities::default() },
    }
}

/// How to start a provider of this name. Its own `command` comes from the client only for the built-in one.
pub fn recipe(config: &Config, name: &str, command: Option<&Vec<String>>) -> Result<Recipe, Failure> {
    let provider = config.providers.get(name);
    let kind = provider.and_then(|provider| provider.kind).or(Kind::of(name)).filter(|_| name == "command" || provider.is_some());
    match (kind, name) {
        (Some(Kind::Command), "command") => {
            let argv = command.filter(|command| !command.is_empty()).cloned();
            let missing = || Failure::invalid_params("command", "`command` needs an argv: the program and its arguments");
            Ok(Recipe { argv: argv.ok_or_else(missing)?, env: env_of(provider) })
        }
        (Some(Kind::Command), _) => {
            if command.is_some() {
                let message = format!("`{name}` has its argv from the configuration; use `args`, or provider `command`");
                return Err(Failure::invalid_params("command", message));
            }
            let provider = provider.expect("a kind beside `command` comes from the configuration");
            let argv = provider.command.iter().flatten().chain(&provider.args).cloned().collect();
            Ok(Recipe { argv, env: env_of(Some(provider)) })
        }
        (Some(kind), _) => {
            let message = format!("this version of loomd runs providers of kind `command` only, not `{}`", kind.as_str());
            Err(Failure::unsupported("provider", message))
        }
        (None, _) => {
            let known: Vec<String> = all(config).into_iter().map(|provider| provider.id).collect();
            Err(Failure::provider_not_found(name, &known))
        }
    }
}

fn env_of(provider: Option<&ProviderConfig>) -> Vec<(String, String)> {
    provider.map(|provider| provider.env.clone().into_iter().collect()).unwrap_or_default()
}
