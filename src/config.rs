//! Where things are, and what the configuration file says. A bad one is an error, never a silent default.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use etcetera::BaseStrategy;
use serde::Deserialize;

use crate::{
    model::{Failure, FailureKind, calls::Retention},
    provider::{self, Plain},
};

/// Longest frame that a client may send, unless the configuration says otherwise: 64 MiB.
pub const MAX_FRAME_BYTES: u64 = 64 << 20;

/// The configuration file, `config.toml`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Config {
    /// Keep the log files of finished runs beside the store.
    pub keep_transcripts: bool,
    /// Programs that the sweep at the end of a run spares, beside the known build daemons.
    pub keep: Vec<String>,
    pub limits: Limits,
    /// What is removed from the store without being asked for.
    pub retention: Retention,
    pub providers: BTreeMap<String, ProviderConfig>,
}

/// Limits of a server.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Limits {
    pub max_frame_bytes: u64,
}

/// A provider by name.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct ProviderConfig {
    /// `codex`, `claude`, `acp` or `command`; default: the provider's name, where it is a kind.
    pub kind: Option<String>,
    pub title: Option<String>,
    /// Replaces the executable of a built-in kind.
    pub program: Option<String>,
    /// The whole argv of an `acp` or `command` provider.
    pub command: Option<Vec<String>>,
    /// Follow the provider's own argv.
    pub args: Vec<String>,
    /// Added to the run's environment.
    pub env: BTreeMap<String, String>,
    /// Of a `command` provider: a regular expression that finds the session's id in a line of its output.
    pub session: Option<String>,
    /// Of a `command` provider: the argv that goes on with a session; `{session}` stands for its id.
    pub resume: Option<Vec<String>>,
    /// Of a `command` provider: the known form of its output.
    pub format: Option<String>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_frame_bytes: MAX_FRAME_BYTES }
    }
}

/// The kind of the built-in provider, which has no agent.
pub const COMMAND: &str = "command";

impl ProviderConfig {
    /// What it speaks, by its own word or by its name.
    pub fn kind<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.kind.as_deref().or_else(|| is_kind(name).then_some(name))
    }

    /// How it is used, if it is a plain command-line tool.
    pub fn plain(&self) -> Plain {
        Plain { session: self.session.clone(), resume: self.resume.clone(), format: self.format.clone() }
    }
}

fn is_kind(name: &str) -> bool {
    name == COMMAND || provider::kind(name).is_some()
}

/// What the command line and the environment say about places.
#[derive(Clone, Debug, Default)]
pub struct Places {
    pub data_dir: Option<PathBuf>,
    pub config: Option<PathBuf>,
}

impl Places {
    /// The directory that holds the store and the runs: `--data-dir`, else `$LOOMD_DATA_DIR`, else the platform's.
    pub fn data_dir(&self) -> Result<PathBuf, Failure> {
        let named = self.data_dir.clone().or_else(|| non_empty("LOOMD_DATA_DIR"));
        let dir = match named {
            Some(dir) => dir,
            None => {
                let base = etcetera::choose_base_strategy();
                let base = base
                    .map_err(|_| Failure::store("", "your home directory is not known; set LOOMD_DATA_DIR to where runs shall be kept"))?;
                base.data_dir().join("loomd")
            }
        };
        std::path::absolute(&dir)
            .map_err(|error| Failure::store(&dir, format!("{} cannot be used as data directory: {error}", dir.display())))
    }

    /// The configuration file: `--config`, else `$LOOMD_CONFIG`, else the platform's.
    pub fn config_file(&self) -> Option<PathBuf> {
        let named = self.config.clone().or_else(|| non_empty("LOOMD_CONFIG"));
        named.or_else(|| Some(etcetera::choose_base_strategy().ok()?.config_dir().join("loomd/config.toml")))
    }

    /// Reads the configuration. Only the platform's own file may be missing.
    pub fn read_config(&self) -> Result<Config, Failure> {
        let Some(path) = self.config_file() else { return Ok(Config::default()) };
        let is_named = self.config.is_some() || non_empty("LOOMD_CONFIG").is_some();
        match std::fs::read(&path) {
            Ok(bytes) => match std::str::from_utf8(&bytes) {
                Ok(text) => parse(text, &path),
                Err(error) => {
                    let line = bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1;
                    Err(config_failure(&path, format!("{}, line {line}: this is not UTF-8; save the file as UTF-8", path.display()))
                        .with("line", line))
                }
            },
            Err(error) if error.kind() == io::ErrorKind::IsADirectory => {
                Err(config_failure(&path, format!("{} is a directory; name a file with --config", path.display())))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && !is_named => Ok(Config::default()),
            Err(error) => Err(config_failure(
                &path,
                format!("the configuration {} cannot be read: {error}; create it or name another with --config", path.display()),
            )),
        }
    }
}

fn non_empty(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)
}

fn parse(text: &str, path: &Path) -> Result<Config, Failure> {
    let config: Config = toml::from_str(text).map_err(|error| {
        let line = error.span().map(|span| text[..span.start].matches('\n').count() + 1);
        let place = line.map_or_else(String::new, |line| format!(", line {line}"));
        let failure = config_failure(path, format!("{}{place}: {}; mend it or remove it", path.display(), error.message().trim_end()));
        match line {
            Some(line) => failure.with("line", line),
            None => failure,
        }
    })?;
    for (name, provider) in &config.providers {
        check_provider(name, provider).map_err(|message| {
            let line = text.lines().position(|line| line.trim_start().starts_with(&format!("[providers.{name}"))).map_or(1, |at| at + 1);
            config_failure(path, format!("{}, line {line}: provider `{name}` {message}", path.display())).with("line", line)
        })?;
    }
    Ok(config)
}

fn check_provider(name: &str, provider: &ProviderConfig) -> Result<(), String> {
    let plain_words = provider.session.is_some() || provider.resume.is_some() || provider.format.is_some();
    let is_other = provider.kind.as_deref().is_some_and(|kind| kind != COMMAND);
    if name == COMMAND && (is_other || provider.command.is_some() || !provider.args.is_empty() || plain_words) {
        return Err("is built in and takes its argv from `run/start`; choose another name".to_owned());
    }
    let preset = provider::preset(name);
    let Some(kind) = provider.kind(name).or(preset.map(|preset| preset.kind)) else {
        return Err("has no kind; add kind = \"command\", \"acp\", \"codex\" or \"claude\"".to_owned());
    };
    if !is_kind(kind) {
        return Err(format!("has an unknown kind \"{kind}\"; choose \"command\", \"acp\", \"codex\" or \"claude\""));
    }
    if plain_words && kind != COMMAND {
        return Err(format!("is of kind \"{kind}\", which needs no session, resume or format; remove them"));
    }
    let takes_command = matches!(kind, "acp" | COMMAND);
    let needs_command = takes_command && !is_kind(name) && preset.is_none();
    match &provider.command {
        None if needs_command => Err("has no command; add command = [\"PROGRAM\", \"ARG\"]".to_owned()),
        _ if provider.program.is_some() && takes_command => Err("takes no program; name it first in command".to_owned()),
        Some(command) if command.is_empty() => Err("has an empty command; name a program".to_owned()),
        Some(_) if !takes_command => Err("takes no command; use program and args".to_owned()),
        _ => provider::check_plain(&provider.plain()),
    }
}

fn config_failure(path: &Path, message: String) -> Failure {
    Failure::new(FailureKind::Config, message).with("path", path.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(text: &str) -> Failure {
        parse(text, Path::new("/c/config.toml")).expect_err("not acceptable")
    }

    #[test]
    fn errors_name_file_and_line() {
        let unknown = failure("keep = []\n\nretries = 3\n");
        assert_eq!(
            (unknown.kind, unknown.data["line"].as_u64(), unknown.data["path"].as_str()),
            (FailureKind::Config, Some(3), Some("/c/config.toml"))
        );
        assert_eq!(failure("[limits]\nmaxFrameBytes = \"big\"\n").data["line"], 2);
        assert_eq!(failure("a = 1\n\n[providers.mine]\nargs = []\n").data["line"], 1);
        let no_kind = failure("\n[providers.mine]\nargs = []\n");
        assert_eq!(no_kind.data["line"], 2);
        assert!(no_kind.message.contains("kind"), "{no_kind}");
    }

    #[test]
    fn retention_is_on_unless_it_is_switched_off() {
        let read = |text| parse(text, Path::new("c")).expect("it is good").retention;
        assert_eq!((read("").max_age_days, read("").max_bytes, read("").max_runs), (90, 5 << 30, 0));
        let some = read("[retention]\nmaxAgeDays = 0\nmaxRuns = 1000\n");
        assert_eq!((some.max_age_days, some.max_bytes, some.max_runs), (0, 5 << 30, 1000));
        assert_eq!(failure("[retention]\nmaxDays = 1\n").data["line"], 2);
    }

    #[test]
    fn a_provider_is_read() {
        let text = "[providers.tests]\nkind = \"command\"\ncommand = [\"make\"]\nargs = [\"test\"]\nenv = { CI = \"1\" }\n";
        let config = parse(text, Path::new("c")).expect("it is good");
        assert_eq!(config.providers["tests"].command.as_deref(), Some(&["make".to_owned()][..]));
    }
}
