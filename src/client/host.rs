//! Other hosts: their names, how `ssh` reaches loomd there, why it does not, and when to try again.
//!
//! The system's own `ssh` connects, with the user's configuration: jump hosts, agents, control masters. Nothing of ours
//! listens anywhere.

use std::{fmt, path::Path, process::Command, str::FromStr, time::Duration};

use crate::{
    config::HostConfig,
    model::{Failure, PROTOCOL_VERSION, calls::InitializeResult},
    process::find::{self, FindError},
};

/// Longest name of a host, with the user before it.
const MAX_NAME_BYTES: usize = 255;

/// Exit code of ssh where ssh itself fails.
const EXIT_SSH: i32 = 255;
/// Exit code of the shell there if it does not find the program.
const EXIT_NOT_FOUND: i32 = 127;

/// Time limit for each answer of one host among several, unless the configuration sets another.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Pauses between attempts to connect again.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// How often it is tried to connect again before we give up, which is some ten minutes.
pub(crate) const MAX_ATTEMPTS: u32 = 28;

/// The name of a host as ssh takes it: `HOST` or `USER@HOST`, or a name from its configuration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct HostName(String);

impl FromStr for HostName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let is_part = |part: &str| {
            part.starts_with(|c: char| c.is_ascii_alphanumeric())
                && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':'))
        };
        let is_name = match text.split_once('@') {
            Some((user, host)) => is_part(user) && is_part(host),
            None => is_part(text),
        };
        if is_name && text.len() <= MAX_NAME_BYTES {
            return Ok(Self(text.to_owned()));
        }
        let shown: String = text.escape_default().take(MAX_NAME_BYTES).collect();
        Err(format!("`{shown}` is no host; use HOST, USER@HOST or a name from ~/.ssh/config, of letters, digits, `.`, `-`, `_` and `:`"))
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl HostName {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// A host and how loomd is started there.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    pub(crate) name: HostName,
    config: HostConfig,
}

impl Host {
    pub(crate) fn new(name: HostName, config: HostConfig) -> Self {
        Self { name, config }
    }

    /// The command that starts loomd there.
    pub(crate) fn loomd(&self) -> &str {
        self.config.command.as_deref().filter(|command| !command.trim().is_empty()).unwrap_or("loomd")
    }

    /// Time limit for each answer, where other hosts must not wait.
    pub(crate) fn answer_timeout(&self) -> Duration {
        self.config.timeout_seconds.map_or(ANSWER_TIMEOUT, |seconds| Duration::from_secs(seconds.get().into()))
    }

    /// ssh to this host, with an option about its terminal; the caller adds the remote command.
    pub(crate) fn ssh(&self, terminal_option: &str) -> Result<Command, HostError> {
        let path = std::env::var_os("PATH");
        let mut command = Command::new(find::program("ssh", Path::new("/"), path.as_deref()).map_err(HostError::NoSsh)?);
        command.args([terminal_option, "--", self.name.as_str(), self.loomd()]);
        Ok(command)
    }

    /// Whether the server there speaks our protocol.
    pub(super) fn check(&self, info: &InitializeResult) -> Result<(), HostError> {
        if info.protocol_version == PROTOCOL_VERSION {
            return Ok(());
        }
        let (host, version) = (self.name.clone(), info.server_info.version.clone());
        Err(HostError::OtherProtocol { host, version, protocol: info.protocol_version })
    }

    /// That another version of loomd runs there, if one does.
    pub(super) fn version_note(&self, info: &InitializeResult) -> Option<String> {
        let (there, here) = (&info.server_info.version, env!("CARGO_PKG_VERSION"));
        (there != here).then(|| format!("{} has loomd {there}, and this is loomd {here}.", self.name))
    }
}

/// Why loomd on a host does not answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HostError {
    #[error("cannot start ssh: {0}")]
    NoSsh(#[source] FindError),
    #[error("cannot start ssh: {0}")]
    Spawn(#[source] std::io::Error),
    #[error("cannot connect to {host}: {reason}")]
    NotReached { host: HostName, reason: String },
    #[error(
        "`{command}` is not in PATH on {host}; install loomd there, or set `command` in [hosts.\"{host}\"] of the configuration to its path"
    )]
    NotInstalled { host: HostName, command: String },
    #[error("loomd on {host} has ended: {reason}")]
    Ended { host: HostName, reason: String },
    #[error(
        "{host} has loomd {version}, which speaks protocol {protocol}, and this one speaks {PROTOCOL_VERSION}; install the same release"
    )]
    OtherProtocol { host: HostName, version: String, protocol: u32 },
    #[error("{host} has not answered within {} s", limit.as_secs())]
    TimedOut { host: HostName, limit: Duration },
    #[error("{host}: {failure}")]
    Refused { host: HostName, failure: Box<Failure> },
}

impl HostError {
    /// What the exit code of ssh and its last line tell.
    pub(super) fn of_exit(host: &Host, code: Option<i32>, last_line: Option<String>, otherwise: &str) -> Self {
        let name = host.name.clone();
        let reason = last_line.unwrap_or_else(|| otherwise.to_owned());
        match code {
            Some(EXIT_SSH) => Self::NotReached { host: name, reason },
            Some(EXIT_NOT_FOUND) => Self::NotInstalled { host: name, command: host.loomd().to_owned() },
            _ => Self::Ended { host: name, reason },
        }
    }

    /// Whether another attempt would fail in the same way. OpenSSH ends with the same code for everything, so its words
    /// decide.
    pub(super) fn is_permanent(&self) -> bool {
        match self {
            Self::NoSsh(_) | Self::NotInstalled { .. } | Self::OtherProtocol { .. } | Self::Refused { .. } => true,
            Self::NotReached { reason, .. } => {
                ["Permission denied", "Host key verification failed"].iter().any(|text| reason.contains(text))
            }
            Self::Spawn(_) | Self::Ended { .. } | Self::TimedOut { .. } => false,
        }
    }
}

impl From<HostError> for Failure {
    fn from(error: HostError) -> Self {
        match error {
            HostError::Refused { host, failure } => Self { message: format!("{host}: {failure}"), ..*failure },
            error => Self::internal(error.to_string()),
        }
    }
}

/// The pause before attempt `attempt`, counted from 0 since something was last achieved; `None`: it is given up.
pub(super) fn pause_before(attempt: u32) -> Option<Duration> {
    (attempt < MAX_ATTEMPTS).then(|| FIRST_PAUSE.saturating_mul(1 << attempt.min(16)).min(MAX_PAUSE))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(command: Option<&str>) -> Host {
        let config = HostConfig { command: command.map(str::to_owned), ..HostConfig::default() };
        Host::new("build".parse().expect("a name"), config)
    }

    #[test]
    fn a_name_is_no_option_and_no_shell_code() {
        for good in ["build", "10.0.0.7", "me@build-1.example.org", "a_b", "2001:db8::1", "9"] {
            assert_eq!(good.parse::<HostName>().map(|name| name.to_string()).as_deref(), Ok(good));
        }
        for bad in ["", "-oProxyCommand=x", ".a", "a b", "a;b", "a/b", "a@", "@a", "a@-b", "a@b@c", "ä", "a\nb", "$(x)", &"a".repeat(256)]
        {
            assert!(bad.parse::<HostName>().expect_err("no name").contains("is no host"), "{bad}");
        }
    }

    #[test]
    fn the_exit_code_and_the_last_line_tell_why() {
        let error = |code, line: &str| HostError::of_exit(&host(None), code, Some(line.to_owned()), "");
        let refused = error(Some(255), "ssh: connect to host build port 22: Connection refused");
        assert_eq!(refused.to_string(), "cannot connect to build: ssh: connect to host build port 22: Connection refused");
        assert!(!refused.is_permanent());
        assert!(error(Some(255), "me@build: Permission denied (publickey).").is_permanent());
        let missing = error(Some(127), "sh: 1: loomd: not found");
        assert!(missing.is_permanent() && missing.to_string().starts_with("`loomd` is not in PATH on build;"), "{missing}");
        assert_eq!(error(Some(1), "killed").to_string(), "loomd on build has ended: killed");
    }

    #[test]
    fn pauses_grow_to_a_bound_and_end() {
        let pauses: Vec<_> = (0..).map_while(pause_before).collect();
        assert!(pauses.windows(2).all(|pair| pair[0] <= pair[1]) && pauses[0] < pauses[3], "{pauses:?}");
        assert_eq!((pauses.len() as u32, pauses.last()), (MAX_ATTEMPTS, Some(&MAX_PAUSE)));
        let minutes = pauses.iter().sum::<Duration>().as_secs() / 60;
        assert!((8..=15).contains(&minutes), "{minutes} minutes");
    }

    #[test]
    fn the_command_there_is_one_argument() {
        let arguments = |host: &Host| -> Vec<String> {
            host.ssh("-T").map_or_else(|_| Vec::new(), |ssh| ssh.get_args().map(|word| word.to_string_lossy().into_owned()).collect())
        };
        assert_eq!(arguments(&host(None)), ["-T", "--", "build", "loomd"]);
        assert_eq!(arguments(&host(Some("~/bin/loomd"))), ["-T", "--", "build", "~/bin/loomd"]);
        assert_eq!(arguments(&host(Some(" "))), ["-T", "--", "build", "loomd"]);
        let config = toml::from_str::<HostConfig>("command = \"loomd\"\ntimeoutSeconds = 3\n").expect("it is good");
        assert_eq!(Host::new("a".parse().expect("a name"), config).answer_timeout(), Duration::from_secs(3));
        assert!(toml::from_str::<HostConfig>("port = 22\n").is_err());
    }
}
