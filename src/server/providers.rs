//! Knows which providers there are, from PATH and the configuration, and how a run of each is started.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    config::{COMMAND_KIND, Config, ProviderConfig},
    model::{Failure, FailureKind, Plain, ProviderCapabilities, ProviderInfo, task::default_start_timeout_seconds},
    process::find,
    provider::{self, Provider},
};

/// The capabilities of a command.
const COMMAND_CAPABILITIES: ProviderCapabilities = ProviderCapabilities {
    resume: false,
    send: true,
    steer: false,
    interrupt: true,
    permissions: false,
    updates: false,
    mcp_servers: false,
};

/// A provider that the client can name.
#[derive(Clone)]
pub(crate) struct KnownProvider {
    pub(crate) name: String,
    pub(crate) title: String,
    pub(crate) kind: &'static str,
    /// The code that speaks the provider's protocol; `None`: a command, of which only the output is known.
    pub(crate) provider: Option<&'static dyn Provider>,
    /// The program and its first arguments; empty if `run/start` gives them.
    pub(crate) program: Vec<String>,
    /// Arguments that follow everything else in the argv.
    pub(crate) args: Vec<String>,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) plain: Plain,
    /// How long the program may take for each step of its start.
    pub(crate) start_timeout: Duration,
    /// One sentence that tells what to do if the program is missing.
    install_hint: Option<&'static str>,
    /// Whether the argv is in the configuration or built in, not in `run/start`.
    has_argv: bool,
}

/// All names, in the order in which they are listed: commands, agents, presets, configured providers.
fn names(config: &Config) -> Vec<&str> {
    let built_in = provider::KINDS.iter().map(|provider| provider.kind()).filter(|kind| *kind != COMMAND_KIND);
    let presets = provider::PRESETS.iter().map(|preset| preset.name);
    let mut names: Vec<&str> = std::iter::once(COMMAND_KIND).chain(built_in).chain(presets).collect();
    let configured: Vec<&str> = config.providers.keys().map(String::as_str).filter(|name| !names.contains(name)).collect();
    names.extend(configured);
    names
}

/// The provider of this name.
pub(crate) fn known(config: &Config, name: &str) -> Result<KnownProvider, Failure> {
    let unknown = || Failure::provider_not_found(name, &names(config).into_iter().map(str::to_owned).collect::<Vec<_>>());
    let none = ProviderConfig::default();
    let configured = config.providers.get(name);
    let preset = provider::preset(name);
    let settings = configured.unwrap_or(&none);
    if configured.is_none() && preset.is_none() && name != COMMAND_KIND && provider::kind(name).is_none() {
        return Err(unknown());
    }
    let kind = settings.kind(name).or(preset.map(|preset| preset.kind)).ok_or_else(unknown)?;
    let plain = settings.plain();
    let to_owned_args = |args: &[&str]| args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>();
    // A configured command line that says nothing about sessions or formats is as good as a command; a prompt makes it
    // more.
    let provider = if name == COMMAND_KIND { None } else { provider::kind(kind) };
    let mut program = match (&settings.command, preset) {
        (Some(command), _) => command.clone(),
        (None, Some(preset)) => to_owned_args(preset.command),
        (None, None) => provider.map(|provider| to_owned_args(provider.program())).unwrap_or_default(),
    };
    if let (Some(named), Some(first)) = (&settings.program, program.first_mut()) {
        first.clone_from(named);
    }
    Ok(KnownProvider {
        name: name.to_owned(),
        title: settings.title.clone().unwrap_or_else(|| match (preset, provider) {
            (Some(preset), _) => preset.title.to_owned(),
            (None, Some(provider)) if provider.kind() == name => provider.title().to_owned(),
            _ if name == COMMAND_KIND => "Command".to_owned(),
            _ => name.to_owned(),
        }),
        kind: provider.map_or(COMMAND_KIND, |provider| provider.kind()),
        provider,
        has_argv: !program.is_empty(),
        program,
        args: settings.args.clone(),
        env: settings.env.clone(),
        plain,
        start_timeout: Duration::from_secs(
            settings.start_timeout_seconds.map_or_else(default_start_timeout_seconds, |limit| limit.get().into()),
        ),
        // Of a program that the configuration names, only its absence can be reported.
        install_hint: match (&settings.command, &settings.program) {
            (None, None) => {
                preset.map(|preset| preset.install_hint).or(provider.map(|provider| provider.install_hint())).filter(|it| !it.is_empty())
            }
            _ => None,
        },
    })
}

impl KnownProvider {
    /// The argv before the run's own arguments. `command` is what `run/start` gives.
    pub(crate) fn argv(&self, command: Option<&Vec<String>>) -> Result<Vec<String>, Failure> {
        match (command, self.has_argv) {
            (Some(_), true) => {
                let message = format!("`{}` has its own command; use `args`, or the provider `command` or `acp`", self.name);
                Err(Failure::invalid_params("command", message))
            }
            (Some(command), false) if !command.is_empty() => Ok(command.clone()),
            (_, false) => {
                let message = format!("`{}` needs a `command`: the program and its arguments", self.name);
                Err(Failure::invalid_params("command", message))
            }
            (None, true) => Ok(self.program.clone()),
        }
    }

    /// The executable that a program's name means in this PATH and from this directory; the real one, if a wrapper
    /// precedes it.
    pub(crate) fn find(&self, program: &str, cwd: &Path, path: Option<&OsStr>) -> Result<PathBuf, Failure> {
        let executable = find::program(program, cwd, path).map_err(|missing| {
            Failure::new(FailureKind::SpawnFailed, missing.to_string())
                .with("reason", self.install_hint.map_or(missing.reason(), |_| "notInstalled"))
                .with("program", program)
                .with("cwd", cwd.to_string_lossy())
                .with("hint", self.install_hint.map_or_else(|| missing.hint(), str::to_owned))
        })?;
        let resolved = executable.canonicalize().unwrap_or_else(|_| executable.clone());
        let candidates = self.provider.into_iter().flat_map(|provider| provider.executables(&resolved));
        Ok(candidates.into_iter().find(|path| path.is_file()).unwrap_or(executable))
    }

    /// The provider as clients see it, as far as PATH tells.
    fn info(&self, path: Option<&str>) -> ProviderInfo {
        let path = self.env.get("PATH").map(String::as_str).or(path).map(OsStr::new);
        let executable = self.program.first().map(|program| self.find(program, Path::new("/"), path));
        let reason = match &executable {
            Some(Err(failure)) => Some(self.install_hint.map_or_else(|| failure.message.clone(), str::to_owned)),
            _ => None,
        };
        ProviderInfo {
            id: self.name.clone(),
            title: self.title.clone(),
            kind: self.kind.to_owned(),
            available: reason.is_none(),
            version: None,
            program: executable.and_then(Result::ok).map(|path| path.to_string_lossy().into_owned()),
            reason,
            capabilities: self.provider.map_or(COMMAND_CAPABILITIES, |provider| provider.capabilities()),
        }
    }

    /// The arguments that make the program tell its version, if they are known.
    pub(crate) fn version_args(&self) -> Option<&'static [&'static str]> {
        match provider::preset(&self.name) {
            Some(_) => Some(&["--version"]),
            None => self.provider.filter(|_| self.kind == self.name || self.kind != "acp").and_then(|provider| provider.version_args()),
        }
    }
}

/// All providers, the built-in one first, as far as `path` tells.
pub(crate) fn all(config: &Config, path: Option<&str>) -> Vec<ProviderInfo> {
    names(config).into_iter().filter_map(|name| Some(known(config, name).ok()?.info(path))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configured_argv_is_not_for_the_client_to_choose() {
        let mut config = Config::default();
        config.providers.insert(
            "tests".to_owned(),
            ProviderConfig { kind: Some(COMMAND_KIND.to_owned()), command: Some(vec!["make".to_owned()]), ..ProviderConfig::default() },
        );
        let known = known(&config, "tests").expect("it is configured");
        assert_eq!(known.argv(None).expect("its own"), ["make"]);
        assert_eq!(known.argv(Some(&vec!["rm".to_owned()])).expect_err("refused").kind, FailureKind::InvalidParams);
        assert_eq!(super::known(&config, "nobody").err().expect("unknown").kind, FailureKind::ProviderNotFound);
    }
}
