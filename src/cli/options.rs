//! What `loomd run` can be told, for commands and for agents.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use clap::ValueEnum;

use super::words;
use crate::model::{
    Failure,
    calls::{self, AttachChoice, StartParams},
};

/// How something is run.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct How {
    /// Working directory [default: this one]
    #[arg(long, value_name = "DIR")]
    pub cwd: Option<PathBuf>,
    /// Set a variable for the program; NAME alone removes it
    #[arg(long, short, value_name = "NAME=VALUE", value_parser = words::parse_variable)]
    pub env: Vec<(String, Option<String>)>,
    /// Run it under a terminal of its own, for programs that show more on one
    #[arg(long, short)]
    pub tty: bool,
    /// Start it, print its id, and come back at once
    #[arg(long, short)]
    pub detach: bool,
    /// Send what is typed here to the program, line by line; to an agent, as its next prompts
    #[arg(long, short)]
    pub interactive: bool,
    /// End it after so long, like 90s, 5m or 1h30m
    #[arg(long, value_name = "DURATION", value_parser = words::parse_duration)]
    pub timeout: Option<Duration>,
    /// End it when it has written nothing for so long
    #[arg(long, value_name = "DURATION", value_parser = words::parse_duration)]
    pub idle_timeout: Option<Duration>,
    /// End it when it has written more than this, like 64K, 10M or 1G
    #[arg(long, value_name = "BYTES", value_parser = words::parse_bytes)]
    pub max_output: Option<u64>,
    /// What to call it in lists
    #[arg(long, value_name = "TEXT")]
    pub title: Option<String>,
    /// A label to find it by; may be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = words::parse_pair)]
    pub label: Vec<(String, String)>,
    /// What becomes of it when nobody watches it any more: it goes on (the default), or is cancelled after 5 seconds
    #[arg(long, value_name = "FATE")]
    pub on_disconnect: Option<OnDisconnect>,
    /// Print the run's entries as lines of JSON, and the run itself as the last one
    #[arg(long)]
    pub json: bool,
    /// Say nothing beside the program's own output, or the agent's own messages
    #[arg(long, short)]
    pub quiet: bool,

    /// The model, in the agent's own words
    #[arg(long, value_name = "MODEL", help_heading = "For agents")]
    pub model: Option<String>,
    /// Who decides what it may do [default: ask]
    #[arg(long, value_name = "MODE", help_heading = "For agents")]
    pub permissions: Option<Permissions>,
    /// Go on with the session of an earlier run, or with one of the agent's own sessions
    #[arg(long, value_name = "RUN|SESSION", help_heading = "For agents")]
    pub resume: Option<String>,
    /// Show all output of its tools, and its changes whole
    #[arg(long, help_heading = "For agents")]
    pub full: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OnDisconnect {
    Detach,
    Cancel,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Permissions {
    /// Every question waits for an answer
    Ask,
    /// Edits of files are allowed, the rest is asked
    AcceptEdits,
    /// Nothing may be changed
    ReadOnly,
    /// Everything is allowed
    Bypass,
}

impl From<Permissions> for calls::PermissionMode {
    fn from(permissions: Permissions) -> Self {
        match permissions {
            Permissions::Ask => Self::Ask,
            Permissions::AcceptEdits => Self::AcceptEdits,
            Permissions::ReadOnly => Self::ReadOnly,
            Permissions::Bypass => Self::Bypass,
        }
    }
}

impl How {
    /// What was said later counts; what was said only once does too.
    pub fn and_then(self, later: Self) -> Self {
        Self {
            cwd: later.cwd.or(self.cwd),
            env: [self.env, later.env].concat(),
            tty: self.tty || later.tty,
            detach: self.detach || later.detach,
            interactive: self.interactive || later.interactive,
            timeout: later.timeout.or(self.timeout),
            idle_timeout: later.idle_timeout.or(self.idle_timeout),
            max_output: later.max_output.or(self.max_output),
            title: later.title.or(self.title),
            label: [self.label, later.label].concat(),
            on_disconnect: later.on_disconnect.or(self.on_disconnect),
            json: self.json || later.json,
            quiet: self.quiet || later.quiet,
            model: later.model.or(self.model),
            permissions: later.permissions.or(self.permissions),
            resume: later.resume.or(self.resume),
            full: self.full || later.full,
        }
    }

    /// The params of a start, without what is started.
    pub fn params(&self, provider: &str) -> Result<StartParams, Failure> {
        let cwd = self.cwd.clone().unwrap_or_else(|| PathBuf::from("."));
        let no_cwd = |error| Failure::invalid_params("cwd", format!("the working directory {} cannot be used: {error}", cwd.display()));
        // Without looking at what is there: the server says best what is wrong with it.
        let absolute = match &self.cwd {
            Some(cwd) => std::path::absolute(cwd),
            None => std::env::current_dir(),
        };
        let cwd = absolute.map_err(no_cwd)?.into_os_string().into_string();
        let cwd = cwd.map_err(|cwd| Failure::invalid_params("cwd", format!("the working directory {} is not UTF-8", cwd.display())))?;
        let ms = |duration: Option<Duration>| duration.map(|duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
        Ok(StartParams {
            provider: provider.to_owned(),
            cwd: Some(cwd),
            env: self.env.iter().cloned().collect(),
            tty: self.tty.then_some(true),
            interactive: self.interactive.then_some(true),
            timeout_ms: ms(self.timeout),
            idle_timeout_ms: ms(self.idle_timeout),
            on_disconnect: (self.on_disconnect == Some(OnDisconnect::Cancel)).then_some(calls::OnDisconnect::Cancel),
            attach: self.detach.then_some(AttachChoice::Whether(false)),
            max_output_bytes: self.max_output,
            title: self.title.clone(),
            labels: self.label.iter().cloned().collect::<BTreeMap<_, _>>(),
            model: self.model.clone(),
            permissions: self.permissions.map(Into::into),
            ..StartParams::default()
        })
    }
}
