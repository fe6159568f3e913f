//! Which providers there are, as a look at PATH and the configuration tells, and how a run of one is started.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    path::{Path, PathBuf},
};

use crate::{
    config::{COMMAND, Config, ProviderConfig},
    model::{Failure, FailureKind, ProviderCapabilities, ProviderInfo},
    process::find,
    provider::{self, Plain, Provider},
};

/// What a command can do.
const OF_A_COMMAND: ProviderCapabilities =
    ProviderCapabilities { resume: false, send: true, steer: false, interrupt: true, permissions: false, updates: false };

/// A provider that is known by name.
#[derive(Clone)]
pub struct Known {
    pub name: String,
    pub title: String,
    pub kind: &'static str,
    /// The one who knows how to speak with it; `None`: a command, of which only its output is known.
    pub provider: Option<&'static dyn Provider>,
    /// The argv so far; empty where `run/start` gives it.
    pub program: Vec<String>,
    /// Follow everything else in the argv.
    pub args: Vec<String>,
    pub env: BTreeMap<String, String>,
    pub plain: Plain,
    /// One sentence: what to do if its program is not there.
    missing: Option<&'static str>,
    /// Its argv is in the configuration or built in, not in `run/start`.
    has_argv: bool,
}

/// All names, in the order in which they are listed: commands, agents, presets, what is configured.
fn names(config: &Config) -> Vec<&str> {
    let built_in = provider::TABLE.iter().map(|provider| provider.kind()).filter(|kind| *kind != COMMAND);
    let presets = provider::PRESETS.iter().map(|preset| preset.name);
    let mut names: Vec<&str> = std::iter::once(COMMAND).chain(built_in).chain(presets).collect();
    let configured: Vec<&str> = config.providers.keys().map(String::as_str).filter(|name| !names.contains(name)).collect();
    names.extend(configured);
    names
}

/// The provider of this name.
pub fn known(config: &Config, name: &str) -> Result<Known, Failure> {
    let unknown = || Failure::provider_not_found(name, &names(config).into_iter().map(str::to_owned).collect::<Vec<_>>());
    let none = ProviderConfig::default();
    let configured = config.providers.get(name);
    let preset = provider::preset(name);
    let said = configured.unwrap_or(&none);
    if configured.is_none() && preset.is_none() && name != COMMAND && provider::kind(name).is_none() {
        return Err(unknown());
    }
    let kind = said.kind(name).or(preset.map(|preset| preset.kind)).ok_or_else(unknown)?;
    let plain = said.plain();
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    // A command line without a word about sessions or forms is as good as a command; its prompt makes it more.
    let provider = if name == COMMAND { None } else { provider::kind(kind) };
    let mut program = match (&said.command, preset) {
        (Some(command), _) => command.clone(),
        (None, Some(preset)) => words(preset.command),
        (None, None) => provider.map(|provider| words(provider.program())).unwrap_or_default(),
    };
    if let (Some(named), Some(first)) = (&said.program, program.first_mut()) {
        first.clone_from(named);
    }
    Ok(Known {
        name: name.to_owned(),
        title: said.title.clone().unwrap_or_else(|| match (preset, provider) {
            (Some(preset), _) => preset.title.to_owned(),
            (None, Some(provider)) if provider.kind() == name => provider.title().to_owned(),
            _ if name == COMMAND => "Command".to_owned(),
            _ => name.to_owned(),
        }),
        kind: provider.map_or(COMMAND, |provider| provider.kind()),
        provider,
        has_argv: !program.is_empty(),
        program,
        args: said.args.clone(),
        env: said.env.clone(),
        plain,
        // About a program that the configuration names there is nothing to say but that it is not there.
        missing: match (&said.command, &said.program) {
            (None, None) => preset.map(|preset| preset.missing).or(provider.map(|provider| provider.missing())).filter(|it| !it.is_empty()),
            _ => None,
        },
    })
}

impl Known {
    /// The argv before the run's own arguments. `command`: what `run/start` says.
    pub fn argv(&self, command: Option<&Vec<String>>) -> Result<Vec<String>, Failure> {
        match (command, self.has_argv) {
            (Some(_), true) => {
                let message = format!("`{}` has its argv already; use `args`, or provider `command` or `acp`", self.name);
                Err(Failure::invalid_params("command", message))
            }
            (Some(command), false) if !command.is_empty() => Ok(command.clone()),
            (_, false) => {
                let message = format!("`{}` needs an argv as `command`: the program and its arguments", self.name);
                Err(Failure::invalid_params("command", message))
            }
            (None, true) => Ok(self.program.clone()),
        }
    }

    /// The executable that a name means, in this PATH and from this directory: the real one, where a wrapper stands before it.
    pub fn find(&self, program: &str, cwd: &Path, path: Option<&OsString>) -> Result<PathBuf, Failure> {
        let found = find::program(program, cwd, path.map(OsString::as_os_str)).map_err(|missing| {
            Failure::new(FailureKind::SpawnFailed, missing.message)
                .with("program", program)
                .with("cwd", cwd.to_string_lossy())
                .with("hint", self.missing.map_or(missing.hint, str::to_owned))
        })?;
        let resolved = found.canonicalize().unwrap_or_else(|_| found.clone());
        let better = self.provider.into_iter().flat_map(|provider| provider.executables(&resolved));
        Ok(better.into_iter().find(|path| path.is_file()).unwrap_or(found))
    }

    /// What a client is told of it, as far as a look at PATH tells.
    fn info(&self) -> ProviderInfo {
        let path = std::env::var_os("PATH");
        let found = self.program.first().map(|program| self.find(program, Path::new("/"), path.as_ref()));
        let reason = match &found {
            Some(Err(failure)) => Some(self.missing.map_or_else(|| failure.message.clone(), str::to_owned)),
            _ => None,
        };
        ProviderInfo {
            id: self.name.clone(),
            title: self.title.clone(),
            kind: self.kind.to_owned(),
            available: reason.is_none(),
            version: None,
            program: found.and_then(Result::ok).map(|path| path.to_string_lossy().into_owned()),
            reason,
            capabilities: self.provider.map_or(OF_A_COMMAND, |provider| provider.capabilities()),
        }
    }

    /// What makes its program tell its version, if that is known.
    fn version_args(&self) -> Option<&'static [&'static str]> {
        match provider::preset(&self.name) {
            Some(_) => Some(&["--version"]),
            None => self.provider.filter(|_| self.kind == self.name || self.kind != "acp").and_then(|provider| provider.version_args()),
        }
    }
}

/// All providers, the built-in one first.
pub fn all(config: &Config) -> Vec<ProviderInfo> {
    names(config).into_iter().filter_map(|name| Some(known(config, name).ok()?.info())).collect()
}

/// All providers with what their programs say of their version. Starts each of them for a moment, all at once; blocking.
pub fn all_with_versions(config: &Config) -> Vec<ProviderInfo> {
    let mut all = all(config);
    std::thread::scope(|scope| {
        for info in &mut all {
            let Ok(known) = known(config, &info.id) else { continue };
            scope.spawn(move || {
                if let (Some(program), Some(args)) = (&info.program, known.version_args()) {
                    info.version = super::version::version(program, args, &known.env);
                }
            });
        }
    });
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configured_argv_is_not_for_the_client_to_choose() {
        let mut config = Config::default();
        config.providers.insert(
            "tests".to_owned(),
            ProviderConfig { kind: Some(COMMAND.to_owned()), command: Some(vec!["make".to_owned()]), ..ProviderConfig::default() },
        );
        let known = known(&config, "tests").expect("it is configured");
        assert_eq!(known.argv(None).expect("its own"), ["make"]);
        assert_eq!(known.argv(Some(&vec!["rm".to_owned()])).expect_err("refused").kind, FailureKind::InvalidParams);
        assert_eq!(super::known(&config, "nobody").err().expect("unknown").kind, FailureKind::ProviderNotFound);
    }
}
