//! The paths of the data directory and the configuration file, and the configuration itself. A configuration that
//! cannot be read or is not valid is an error, never replaced by defaults.

use std::{
    collections::BTreeMap,
    io,
    num::NonZeroU32,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use etcetera::BaseStrategy;
use serde::Deserialize;

use crate::{
    model::{Failure, FailureKind, Plain, calls::Retention},
    process::current_process,
    provider,
};

/// Longest frame that a client may send, unless the configuration says otherwise: 64 MiB.
pub(crate) const MAX_FRAME_BYTES: u64 = 64 << 20;

/// The configuration file, `config.toml`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(crate) struct Config {
    /// The file that it was read from.
    #[serde(skip)]
    pub(crate) file: Option<PathBuf>,
    /// Keeps the log files of finished runs beside the store.
    pub(crate) keep_transcripts: bool,
    /// Programs that are not ended with a run, besides the known build daemons.
    pub(crate) keep: Vec<String>,
    pub(crate) limits: Limits,
    pub(crate) environment: EnvironmentConfig,
    pub(crate) notify: NotifyConfig,
    pub(crate) supervisor: SupervisorConfig,
    /// Which runs the server deletes on its own.
    pub(crate) retention: Retention,
    pub(crate) providers: BTreeMap<String, ProviderConfig>,
    /// Hosts that `--host` names, where something about one is unusual.
    pub(crate) hosts: BTreeMap<String, HostConfig>,
}

/// How loomd on another host is reached. Where ssh itself needs settings, they stand in its own configuration.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(crate) struct HostConfig {
    /// The command of loomd there, which the shell there reads; `loomd` if missing or empty.
    pub(crate) command: Option<String>,
    /// How many seconds each answer may take where other hosts wait for it; 10 if missing.
    pub(crate) timeout_seconds: Option<NonZeroU32>,
}

/// Limits of a server.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(crate) struct Limits {
    /// Longest frame that a client may send.
    pub(crate) max_frame_bytes: u64,
}

/// What runs get of the server's environment, and what is added to it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(crate) struct EnvironmentConfig {
    /// Variables that runs get though they describe whoever started loomd: names, and beginnings with a `*` behind.
    pub(crate) pass: Vec<String>,
    /// Whether the login shell is asked for PATH and for what is missing.
    pub(crate) shell: LoginShell,
    /// An argv that prints variables as JSON; it runs in a run's working directory before each start.
    pub(crate) command: Option<Vec<String>>,
}

/// What tells a person that a run waits for an answer or has ended.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(crate) struct NotifyConfig {
    /// An argv; it gets the run's facts in its environment.
    pub(crate) command: Option<Vec<String>>,
    /// How many seconds it may take; 10 if missing.
    pub(crate) timeout_seconds: Option<NonZeroU32>,
}

/// Where the supervisors of runs stand.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(crate) struct SupervisorConfig {
    pub(crate) scope: SupervisorScope,
}

/// The group of processes, of those that systemd ends together, in which a supervisor stands with its run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum SupervisorScope {
    /// That of whoever started loomd.
    #[default]
    Inherited,
    /// One of its own, below the user's manager.
    Systemd,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum LoginShell {
    /// In a desktop, if no shell started loomd.
    #[default]
    Auto,
    Never,
}

/// The configuration of a provider.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub(crate) struct ProviderConfig {
    /// `codex`, `claude`, `acp` or `command`. Default: the provider's name, if that is a kind.
    pub(crate) kind: Option<String>,
    pub(crate) title: Option<String>,
    /// Replaces the executable of a built-in kind.
    pub(crate) program: Option<String>,
    /// The whole argv of an `acp` or `command` provider.
    pub(crate) command: Option<Vec<String>>,
    /// Arguments after the provider's own argv.
    pub(crate) args: Vec<String>,
    /// Variables that are added to the run's environment.
    pub(crate) env: BTreeMap<String, String>,
    /// For a `command` provider: a regular expression that finds the session's id in a line of its output.
    pub(crate) session: Option<String>,
    /// For a `command` provider: the argv that continues a session; `{session}` is replaced by its id.
    pub(crate) resume: Option<Vec<String>>,
    /// For a `command` provider: the name of the format of its output, if loomd knows it.
    pub(crate) format: Option<String>,
    /// How many seconds an agent may take for each step of its start while it does nothing; 60 if missing.
    pub(crate) start_timeout_seconds: Option<NonZeroU32>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_frame_bytes: MAX_FRAME_BYTES }
    }
}

/// The kind of the built-in provider, which runs any program and has no agent.
pub(crate) const COMMAND_KIND: &str = "command";

impl ProviderConfig {
    /// The kind of the provider `name`: the configured one, else the name itself if that is a kind.
    pub(crate) fn kind<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.kind.as_deref().or_else(|| is_kind(name).then_some(name))
    }

    /// The settings of a plain command-line tool.
    pub(crate) fn plain(&self) -> Plain {
        Plain { session: self.session.clone(), resume: self.resume.clone(), format: self.format.clone() }
    }
}

fn is_kind(name: &str) -> bool {
    name == COMMAND_KIND || provider::kind(name).is_some()
}

/// The paths from the command line. Where one is `None`, the environment and then the platform decide.
#[derive(Clone, Debug, Default)]
pub(crate) struct Locations {
    pub(crate) data_dir: Option<PathBuf>,
    pub(crate) config: Option<PathBuf>,
}

impl Locations {
    /// The directory that holds the store and the runs: `--data-dir`, which counts from the working directory, else
    /// `$LOOMD_DATA_DIR`, else the platform's.
    pub(crate) fn data_dir(&self) -> Result<PathBuf, DataDirError> {
        let explicit = match &self.data_dir {
            Some(dir) => Some(dir.clone()),
            None => absolute_variable("LOOMD_DATA_DIR")?,
        };
        let dir = match explicit {
            Some(dir) => dir,
            None => {
                absolute_variable("HOME")?;
                etcetera::choose_base_strategy().map_err(|_| DataDirError::NoHome)?.data_dir().join("loomd")
            }
        };
        let failed = |source: io::Error| DataDirError::Unusable { dir: dir.clone(), source };
        let dir = std::path::absolute(&dir).map_err(failed)?;
        // A link of the user's own may name the directory; below it there are none.
        match std::fs::symlink_metadata(&dir) {
            Ok(link) if link.is_symlink() && link.uid() != current_process::user_id() => {
                Err(failed(io::Error::other("it is a link of another user")))
            }
            Ok(link) if link.is_symlink() => dir.canonicalize().map_err(failed),
            _ => Ok(dir),
        }
    }

    /// The configuration file: `--config`, which counts from the working directory, else `$LOOMD_CONFIG`, else the platform's.
    pub(crate) fn config_file(&self) -> Result<Option<PathBuf>, ConfigError> {
        if let Some(file) = &self.config {
            return std::path::absolute(file).map(Some).map_err(|source| ConfigError::Unusable { file: file.clone(), source });
        }
        if let Some(file) = absolute_variable("LOOMD_CONFIG")? {
            return Ok(Some(file));
        }
        absolute_variable("HOME")?;
        Ok(etcetera::choose_base_strategy().ok().map(|base| base.config_dir().join("loomd/config.toml")))
    }

    /// Reads the configuration. A file that was named explicitly must exist; the platform's own file may be missing.
    pub(crate) fn read_config(&self) -> Result<Config, ConfigError> {
        let Some(path) = self.config_file()? else { return Ok(Config::default()) };
        let is_explicit = self.config.is_some() || non_empty("LOOMD_CONFIG").is_some();
        match std::fs::read(&path) {
            Ok(bytes) => match std::str::from_utf8(&bytes) {
                Ok(text) => parse(text, &path).map(|config| Config { file: std::path::absolute(&path).ok(), ..config }),
                Err(error) => {
                    let line = bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1;
                    Err(ConfigError::Wrong { file: path, line: Some(line), problem: "not valid UTF-8; save the file as UTF-8".to_owned() })
                }
            },
            Err(error) if error.kind() == io::ErrorKind::IsADirectory => Err(ConfigError::Directory { file: path }),
            Err(error) if error.kind() == io::ErrorKind::NotFound && !is_explicit => Ok(Config::default()),
            Err(source) => Err(ConfigError::Unreadable { file: path, source }),
        }
    }
}

fn non_empty(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// A path in the environment. A relative one means another place for every process, so it is refused.
fn absolute_variable(variable: &'static str) -> Result<Option<PathBuf>, RelativePath> {
    match non_empty(variable) {
        Some(path) if path.is_relative() => Err(RelativePath { variable, path }),
        path => Ok(path),
    }
}

fn parse(text: &str, path: &Path) -> Result<Config, ConfigError> {
    let wrong = |line: Option<usize>, problem: String| ConfigError::Wrong { file: path.to_owned(), line, problem };
    let config: Config = toml::from_str(text).map_err(|error| {
        let line = error.span().map(|span| text[..span.start].matches('\n').count() + 1);
        wrong(line, format!("{}; fix it or remove it", error.message().trim_end()))
    })?;
    for (section, command) in [("environment", &config.environment.command), ("notify", &config.notify.command)] {
        if command.as_ref().is_some_and(|command| command.first().is_none_or(String::is_empty)) {
            return Err(wrong(None, format!("`command` in [{section}] is empty; add a program or remove it")));
        }
    }
    for (name, provider) in &config.providers {
        check_provider(name, provider).map_err(|problem| {
            let line = text.lines().position(|line| line.trim_start().starts_with(&format!("[providers.{name}"))).map_or(1, |at| at + 1);
            wrong(Some(line), format!("provider `{name}` {problem}"))
        })?;
    }
    Ok(config)
}

fn check_provider(name: &str, provider: &ProviderConfig) -> Result<(), String> {
    let has_plain_settings = provider.session.is_some() || provider.resume.is_some() || provider.format.is_some();
    let is_other = provider.kind.as_deref().is_some_and(|kind| kind != COMMAND_KIND);
    if name == COMMAND_KIND && (is_other || provider.command.is_some() || !provider.args.is_empty() || has_plain_settings) {
        return Err("is built in and takes its command from whoever starts it; choose another name".to_owned());
    }
    let preset = provider::preset(name);
    let Some(kind) = provider.kind(name).or(preset.map(|preset| preset.kind)) else {
        return Err("has no kind; add kind = \"command\", \"acp\", \"codex\" or \"claude\"".to_owned());
    };
    if !is_kind(kind) {
        return Err(format!("has an unknown kind \"{kind}\"; choose \"command\", \"acp\", \"codex\" or \"claude\""));
    }
    if has_plain_settings && kind != COMMAND_KIND {
        return Err(format!("has kind \"{kind}\", which takes no session, resume or format; remove them"));
    }
    let takes_command = matches!(kind, "acp" | COMMAND_KIND);
    let needs_command = takes_command && !is_kind(name) && preset.is_none();
    match &provider.command {
        None if needs_command => Err("has no command; add command = [\"PROGRAM\", \"ARG\"]".to_owned()),
        _ if provider.program.is_some() && takes_command => Err("takes no program; put the program first in command".to_owned()),
        Some(command) if command.is_empty() => Err("has an empty command; add a program".to_owned()),
        Some(_) if !takes_command => Err("takes no command; use program and args".to_owned()),
        _ => provider::check_plain(&provider.plain()),
    }
}

/// A variable of the environment that must be an absolute path.
#[derive(Debug, thiserror::Error)]
#[error("{variable} is a relative path ({}); set it to an absolute one", path.display())]
pub(crate) struct RelativePath {
    variable: &'static str,
    path: PathBuf,
}

/// Why there is no data directory.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DataDirError {
    #[error(transparent)]
    Relative(#[from] RelativePath),
    #[error("your home directory is unknown; set LOOMD_DATA_DIR to a directory for the runs")]
    NoHome,
    #[error("cannot use {} as the data directory: {source}; set LOOMD_DATA_DIR to another directory", dir.display())]
    Unusable { dir: PathBuf, source: io::Error },
}

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error(transparent)]
    Relative(#[from] RelativePath),
    #[error("cannot use {}: {source}", file.display())]
    Unusable { file: PathBuf, source: io::Error },
    #[error("{} is a directory; name a file with --config", file.display())]
    Directory { file: PathBuf },
    #[error("cannot read the configuration {}: {source}; create it, or name another file with --config", file.display())]
    Unreadable { file: PathBuf, source: io::Error },
    #[error("{}{}: {problem}", file.display(), line.map_or_else(String::new, |line| format!(", line {line}")))]
    Wrong { file: PathBuf, line: Option<usize>, problem: String },
}

impl From<DataDirError> for Failure {
    fn from(error: DataDirError) -> Self {
        let message = error.to_string();
        match error {
            DataDirError::Unusable { dir, .. } => Self::store(&dir, message),
            DataDirError::Relative(_) | DataDirError::NoHome => Self::store(Path::new(""), message),
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        let failure = Self::new(FailureKind::Config, error.to_string());
        match error {
            ConfigError::Relative(_) | ConfigError::Unusable { .. } => failure,
            ConfigError::Directory { file } | ConfigError::Unreadable { file, .. } | ConfigError::Wrong { file, line: None, .. } => {
                failure.with("path", file.to_string_lossy())
            }
            ConfigError::Wrong { file, line: Some(line), .. } => failure.with("path", file.to_string_lossy()).with("line", line),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(text: &str) -> Failure {
        parse(text, Path::new("/c/config.toml")).expect_err("not acceptable").into()
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
    fn what_runs_get_of_the_environment_can_be_configured() {
        let read = |text| parse(text, Path::new("c")).expect("it is good").environment;
        assert_eq!(read(""), EnvironmentConfig { pass: Vec::new(), shell: LoginShell::Auto, command: None });
        let all = read("[environment]\npass = [\"NVIM\", \"VSCODE_*\"]\nshell = \"never\"\ncommand = [\"mise\", \"env\", \"--json\"]\n");
        assert_eq!((all.pass.len(), all.shell, all.command.map_or(0, |command| command.len())), (2, LoginShell::Never, 3));
        assert_eq!(failure("[environment]\nshell = \"often\"\n").data["line"], 2);
        assert!(failure("[environment]\ncommand = []\n").message.contains("empty"));
        assert!(failure("[notify]\ncommand = [\"\"]\n").message.contains("[notify] is empty"));
    }

    #[test]
    fn supervisors_stand_where_loomd_was_started_unless_a_scope_is_configured() {
        let read = |text| parse(text, Path::new("c")).expect("it is good").supervisor.scope;
        assert_eq!((read(""), read("[supervisor]\nscope = \"systemd\"\n")), (SupervisorScope::Inherited, SupervisorScope::Systemd));
        assert_eq!(failure("[supervisor]\nscope = \"other\"\n").data["line"], 2);
    }

    #[test]
    fn a_provider_can_be_configured() {
        let text = "[providers.tests]\nkind = \"command\"\ncommand = [\"make\"]\nargs = [\"test\"]\nenv = { CI = \"1\" }\n";
        let config = parse(text, Path::new("c")).expect("it is good");
        assert_eq!(config.providers["tests"].command.as_deref(), Some(&["make".to_owned()][..]));
    }
}
