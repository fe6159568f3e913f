//! The options of `loomd run`, for commands and for agents.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use clap::ValueEnum;

use super::{format, render};
use crate::{
    client::host::HostName,
    model::{
        Failure, TerminalSize,
        calls::{self, AttachChoice, StartParams, TtyChoice},
    },
    process::current_process,
};

/// How a run is started.
#[derive(clap::Args, Clone, Debug, Default)]
pub(crate) struct StartOptions {
    /// Working directory [default: the current directory; with --host the home directory there]
    #[arg(long, value_name = "DIR")]
    pub(crate) cwd: Option<PathBuf>,
    /// Set an environment variable; NAME alone unsets it
    #[arg(long, short, value_name = "NAME=VALUE", value_parser = format::parse_variable)]
    pub(crate) env: Vec<(String, Option<String>)>,
    /// Run in a pseudoterminal (colors, unbuffered output)
    #[arg(long, short)]
    pub(crate) tty: bool,
    /// Start in the background and print the run ID
    #[arg(long, short)]
    pub(crate) detach: bool,
    /// Send typed lines to the program; for agents, keep the run open for more prompts
    #[arg(long, short)]
    pub(crate) interactive: bool,
    /// Stop the run after this time, e.g. 90s, 5m or 1h30m
    #[arg(long, value_name = "DURATION", value_parser = format::parse_duration)]
    pub(crate) timeout: Option<Duration>,
    /// Stop the run if it writes nothing for this time
    #[arg(long, value_name = "DURATION", value_parser = format::parse_duration)]
    pub(crate) idle_timeout: Option<Duration>,
    /// Stop the run if it writes more than this, e.g. 64K, 10M or 1G
    #[arg(long, value_name = "BYTES", value_parser = format::parse_bytes)]
    pub(crate) max_output: Option<u64>,
    /// Name shown in lists
    #[arg(long, value_name = "TEXT")]
    pub(crate) title: Option<String>,
    /// Add a label (repeatable)
    #[arg(long, value_name = "KEY=VALUE", value_parser = format::parse_pair)]
    pub(crate) label: Vec<(String, String)>,
    /// When the last client disconnects [default: detach]
    #[arg(long, value_name = "ACTION")]
    pub(crate) on_disconnect: Option<OnDisconnectOption>,
    /// Notify you when the run waits for an answer or ends and no client that can answer is attached
    #[arg(long)]
    pub(crate) notify: bool,
    /// Print entries as JSON lines, followed by the run itself
    #[arg(long)]
    pub(crate) json: bool,
    /// Print only the program's output, or the agent's messages
    #[arg(long, short)]
    pub(crate) quiet: bool,

    /// Model, by the agent's own name for it
    #[arg(long, value_name = "MODEL", help_heading = "Agent options")]
    pub(crate) model: Option<String>,
    /// Permission mode [default: ask]
    #[arg(long, value_name = "MODE", help_heading = "Agent options")]
    pub(crate) permissions: Option<Permissions>,
    /// Resume the session of a run, or one of the agent's own sessions
    #[arg(long, value_name = "RUN|SESSION", help_heading = "Agent options")]
    pub(crate) resume: Option<String>,
    /// Let the agent search and read earlier runs of its directory (Claude Code and Codex; see docs/mcp.md)
    #[arg(long, help_heading = "Agent options")]
    pub(crate) past: bool,
    /// Show all tool output and full diffs
    #[arg(long, help_heading = "Agent options")]
    pub(crate) full: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnDisconnectOption {
    /// Keep the run going
    Detach,
    /// Cancel the run after 5 seconds
    Cancel,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Permissions {
    /// Ask before every action
    Ask,
    /// Allow file edits; ask before other actions
    AcceptEdits,
    /// Deny all changes
    ReadOnly,
    /// Allow everything without asking (dangerous)
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

impl StartOptions {
    /// The options before the provider's name, with those after it, which win.
    pub(crate) fn merge(self, later: Self) -> Self {
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
            notify: self.notify || later.notify,
            json: self.json || later.json,
            quiet: self.quiet || later.quiet,
            model: later.model.or(self.model),
            permissions: later.permissions.or(self.permissions),
            resume: later.resume.or(self.resume),
            past: self.past || later.past,
            full: self.full || later.full,
        }
    }

    /// The params of `run/start` for these options, without the command or the prompt.
    pub(crate) fn params(&self, provider: &str, host: Option<&HostName>) -> Result<StartParams, Failure> {
        let cwd = match host {
            None => Some(self.directory()?),
            Some(host) => self.cwd.clone().map(|cwd| path_on(host, "--cwd", cwd)).transpose()?,
        };
        let ms = |duration: Option<Duration>| duration.map(|duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
        Ok(StartParams {
            provider: provider.to_owned(),
            cwd,
            env: self.env.iter().cloned().collect(),
            tty: self.tty.then(|| terminal_choice(render::terminal_size())),
            interactive: self.interactive.then_some(true),
            timeout_ms: ms(self.timeout),
            idle_timeout_ms: ms(self.idle_timeout),
            on_disconnect: (self.on_disconnect == Some(OnDisconnectOption::Cancel)).then_some(calls::OnDisconnect::Cancel),
            attach: self.detach.then_some(AttachChoice::Whether(false)),
            max_output_bytes: self.max_output,
            notify: self.notify.then_some(true),
            title: self.title.clone(),
            labels: self.label.iter().cloned().collect::<BTreeMap<_, _>>(),
            model: self.model.clone(),
            permissions: self.permissions.map(Into::into),
            ..StartParams::default()
        })
    }

    /// The working directory here.
    fn directory(&self) -> Result<String, Failure> {
        let cwd = self.cwd.clone().unwrap_or_else(|| PathBuf::from("."));
        let no_cwd = |error| Failure::invalid_params("cwd", format!("invalid working directory {}: {error}", cwd.display()));
        // Whether the directory exists is left to the server, whose message tells what is wrong with it.
        let absolute = match &self.cwd {
            // A path that begins in our directory keeps the name by which the person knows that.
            Some(cwd) if cwd.is_relative() => current_process::logical_directory().map(|here| here.join(cwd)),
            Some(cwd) => Ok(cwd.clone()),
            None => current_process::logical_directory(),
        };
        let cwd = absolute.map_err(no_cwd)?.into_os_string().into_string();
        cwd.map_err(|cwd| Failure::invalid_params("cwd", format!("the working directory {} is not valid UTF-8", cwd.display())))
    }
}

/// A path that a person names on a host. It does not begin in our directory.
pub(super) fn path_on(host: &HostName, option: &str, path: PathBuf) -> Result<String, Failure> {
    match path.into_os_string().into_string() {
        Ok(path) if path.starts_with('/') => Ok(path),
        Ok(path) => Err(Failure::invalid_params("path", format!("{option} is a path on {host} here, so `{path}` must be an absolute one"))),
        Err(path) => Err(Failure::invalid_params("path", format!("the path {} is not valid UTF-8", path.display()))),
    }
}

/// The size of our terminal, or the default one where we have none.
fn terminal_choice(size: Option<TerminalSize>) -> TtyChoice {
    size.map_or(TtyChoice::Whether(true), |size| TtyChoice::Size { rows: size.rows.into(), cols: size.cols.into() })
}
