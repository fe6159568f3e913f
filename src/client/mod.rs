//! The client that all commands and front ends share. It starts a server of its own, initializes it, and finds runs by
//! some digits of their ID.

use std::{
    borrow::Borrow,
    ffi::OsString,
    io::IsTerminal,
    path::{Path, PathBuf},
    process::{Child, Command},
    sync::Arc,
    time::Duration,
};

#[cfg(feature = "web")]
use tokio::net::unix::pipe;
use tokio::time::timeout;

use crate::{
    config::Locations,
    model::{
        Failure, FailureKind, PROTOCOL_VERSION, Run, RunId, TerminalSize,
        calls::{ClientCapabilities, ClientInfo, Empty, InitializeParams, InitializeResult, ListParams, RunIdParams, SetSizeParams},
        methods::{Initialize, Method, RunGet, RunList, RunSetSize, Shutdown},
    },
    process::tree::wait_for_exit,
    provider::kind::quoted,
    rpc::{Client, Notifications},
};

/// Longest wait for the server to shut down.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);

/// Most runs in one page of `run/list`.
const MAX_PAGE_RUNS: u64 = 500;

/// How the server is started: what the command line said about its files.
#[derive(Clone, Debug, Default)]
pub(crate) struct ServerLaunch {
    pub(crate) locations: Locations,
    pub(crate) log_file: Option<PathBuf>,
    /// There is a person at a terminal who can answer permission requests.
    pub(crate) can_answer: bool,
}

/// The connection to a server of our own, which has been initialized.
pub(crate) struct ServerSession {
    client: Arc<Client>,
    server: Child,
    /// The server's result of `initialize`.
    pub(crate) info: InitializeResult,
}

impl ServerLaunch {
    /// Starts a server and initializes it. The notifications must be read or dropped: replies queue behind them.
    pub(crate) async fn open(&self) -> Result<(ServerSession, Notifications), Failure> {
        self.open_as("loomd command line").await
    }

    /// As [`Self::open`], under the name of another client.
    pub(crate) async fn open_as(&self, client_name: &str) -> Result<(ServerSession, Notifications), Failure> {
        let program = own_executable();
        let spawned = Client::spawn(&program, self.arguments());
        let spawned = spawned.map_err(|error| Failure::internal(format!("cannot start the server {}: {error}", program.display())))?;
        let params = InitializeParams {
            protocol_version: i64::from(PROTOCOL_VERSION),
            client_info: Some(ClientInfo { name: client_name.to_owned(), version: Some(env!("CARGO_PKG_VERSION").to_owned()) }),
            process_id: Some(std::process::id()),
            capabilities: ClientCapabilities { permissions: self.can_answer, watch: false, ..ClientCapabilities::default() },
        };
        let info = spawned.client.call(Initialize, params).await;
        let info = info.map_err(|failure: Failure| match failure.kind {
            FailureKind::Internal => Failure {
                message: format!("{failure}; run `{} serve </dev/null` to see the server's error", self.command_prefix()),
                ..failure
            },
            _ => failure,
        })?;
        if info.protocol_version != PROTOCOL_VERSION {
            return Err(Failure::internal(format!(
                "the server {} is not compatible with this command (protocol {}, expected {PROTOCOL_VERSION}); reinstall loomd",
                program.display(),
                info.protocol_version
            )));
        }
        spawned.client.notify("initialized", ()).await?;
        Ok((ServerSession { client: Arc::new(spawned.client), server: spawned.child, info }, spawned.notifications))
    }

    /// Starts a server for a client that initializes it itself: its process, its stdout and its stdin.
    #[cfg(feature = "web")]
    pub(crate) fn start_server(&self) -> std::io::Result<(Child, pipe::Receiver, pipe::Sender)> {
        crate::rpc::client::start_child(own_executable().as_os_str(), self.arguments())
    }

    /// The same launch, for a command that answers permission requests of agents if there is a terminal.
    pub(crate) fn for_interactive_use(&self, answers_requests: bool) -> Self {
        let has_terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
        Self { can_answer: answers_requests && has_terminal, ..self.clone() }
    }

    /// Whether the configuration names the format of this command-line agent's output. Without a format, it is plain
    /// text.
    pub(crate) fn supports_format(&self, provider: &str) -> bool {
        self.locations.read_config().is_ok_and(|config| config.providers.get(provider).is_some_and(|provider| provider.format.is_some()))
    }

    /// As [`Self::open`], for commands that read no notifications.
    pub(crate) async fn open_without_notifications(&self) -> Result<ServerSession, Failure> {
        Ok(self.open().await?.0)
    }

    /// How a command that finds the same runs begins: `loomd`, with the data directory if one was named.
    pub(crate) fn command_prefix(&self) -> String {
        match &self.locations.data_dir {
            Some(dir) => format!("loomd --data-dir {}", quoted(&absolute(dir).to_string_lossy())),
            None => "loomd".to_owned(),
        }
    }

    /// This program and the arguments that start another front end on the same runs, whatever its environment is.
    pub(crate) fn front_end_command(&self, name: &str) -> Result<(String, Vec<String>), Failure> {
        let text = |path: PathBuf| {
            let invalid = |path: OsString| Failure::internal(format!("the path {} is not valid UTF-8", path.display()));
            path.into_os_string().into_string().map_err(invalid)
        };
        let mut args = Vec::new();
        let locations = &self.locations;
        for (option, variable, named) in
            [("--data-dir", "LOOMD_DATA_DIR", &locations.data_dir), ("--config", "LOOMD_CONFIG", &locations.config)]
        {
            let of_environment = || std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
            if let Some(path) = named.clone().or_else(of_environment) {
                args.extend([option.to_owned(), text(absolute(&path))?]);
            }
        }
        args.push(name.to_owned());
        Ok((text(own_executable())?, args))
    }

    /// This program as a command that finds the same runs. The caller adds the arguments.
    pub(crate) fn self_command(&self) -> Command {
        let mut command = Command::new(own_executable());
        let named = [("LOOMD_DATA_DIR", &self.locations.data_dir), ("LOOMD_CONFIG", &self.locations.config)];
        for (name, path) in named {
            if let Some(path) = path {
                command.env(name, absolute(path));
            }
        }
        command
    }

    fn arguments(&self) -> Vec<OsString> {
        let mut arguments = vec![OsString::from("serve"), OsString::from("--stdio")];
        let named = [("--data-dir", &self.locations.data_dir), ("--config", &self.locations.config), ("--log-file", &self.log_file)];
        for (option, path) in named {
            if let Some(path) = path {
                arguments.extend([option.into(), path.into()]);
            }
        }
        arguments
    }
}

impl ServerSession {
    pub(crate) async fn call<M: Method>(&self, method: M, params: impl Borrow<M::Params>) -> Result<M::Result, Failure> {
        self.client.call(method, params).await
    }

    /// Whether the server can still be called.
    pub(crate) fn is_connected(&self) -> bool {
        self.client.is_connected()
    }

    /// The connection, for requests that are sent while others are pending.
    pub(crate) fn client(&self) -> Arc<Client> {
        self.client.clone()
    }

    pub(crate) async fn run(&self, run_id: RunId) -> Result<Run, Failure> {
        Ok(self.call(RunGet, RunIdParams { run_id }).await?.run)
    }

    /// The run that `text` names: by its whole ID, or by the beginning or the end of exactly one ID.
    pub(crate) async fn run_id(&self, text: &str) -> Result<RunId, Failure> {
        if let Ok(id) = text.parse() {
            return Ok(id);
        }
        let digits = parse_id_digits(text)?;
        let mut matches = Vec::new();
        let mut params = ListParams { limit: Some(MAX_PAGE_RUNS), ..ListParams::default() };
        loop {
            let page = self.call(RunList, &params).await?;
            matches.extend(page.runs.iter().map(|run| run.id).filter(|id| matches_id(*id, &digits)));
            match page.next_cursor {
                Some(cursor) => params.cursor = Some(cursor),
                None => return only_match(matches, text),
            }
        }
    }

    /// The run that `text` names, or the newest one without `text`.
    pub(crate) async fn run_id_or_newest(&self, text: Option<&str>) -> Result<RunId, Failure> {
        if let Some(text) = text {
            return self.run_id(text).await;
        }
        let page = self.call(RunList, ListParams { limit: Some(1), ..ListParams::default() }).await?;
        let newest = page.runs.first().map(|run| run.id);
        newest.ok_or_else(|| Failure::invalid_params("runId", "no runs yet; start one with `loomd run -- COMMAND`"))
    }

    /// Shuts the server down and waits up to `SHUTDOWN_TIMEOUT` until it has ended. Its notifications must have been
    /// dropped, because the reply queues behind them.
    pub(crate) async fn close(self) {
        // The results do not matter: whatever fails, the server ends when its input does, which is when this process
        // ends.
        let shutdown = async {
            self.client.call(Shutdown, Empty {}).await.ok();
            self.client.notify("exit", ()).await.ok();
            wait_for_exit(self.server.id()).await.ok();
        };
        timeout(SHUTDOWN_TIMEOUT, shutdown).await.ok();
    }
}

/// Gives the run's terminal our size. That an older supervisor cannot do that is no failure of what the person does.
pub(crate) async fn set_size(client: Arc<Client>, run_id: RunId, size: TerminalSize) -> Result<(), Failure> {
    let params = SetSizeParams { run_id, rows: size.rows.into(), cols: size.cols.into() };
    client.call(RunSetSize, params).await.map(drop).or_else(|failure| match failure.kind {
        FailureKind::Unsupported | FailureKind::MethodNotFound => Ok(()),
        _ => Err(failure),
    })
}

/// The path of this program, also if its file was replaced while it runs.
fn own_executable() -> PathBuf {
    match std::env::current_exe() {
        Ok(path) if path.exists() => path,
        _ => PathBuf::from("/proc/self/exe"),
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// Digits of a short ID. They are the last ones, which are random; the first ones of a UUID version 7 are its time.
const SHORT_ID_DIGITS: usize = 8;

/// Fewest digits that name a run.
const MIN_ID_DIGITS: usize = 4;

/// The last digits of an ID, as lists show them.
pub(crate) fn short_id(id: RunId) -> String {
    let id = id.to_string();
    id[id.len() - SHORT_ID_DIGITS..].to_owned()
}

/// The digits of a part of an ID.
pub(crate) fn parse_id_digits(text: &str) -> Result<String, Failure> {
    let digits: String = text.chars().filter(|c| *c != '-').map(|c| c.to_ascii_lowercase()).collect();
    if digits.len() < MIN_ID_DIGITS || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let message = format!("invalid run ID `{text}`: use the last {MIN_ID_DIGITS} or more digits of an ID that `loomd list` shows");
        return Err(Failure::invalid_params("runId", message));
    }
    Ok(digits)
}

/// Whether an ID begins or ends with these digits.
fn matches_id(id: RunId, digits: &str) -> bool {
    let id = id.to_string().replace('-', "");
    id.starts_with(digits) || id.ends_with(digits)
}

/// The one run among `matches`, which `text` names.
fn only_match(matches: Vec<RunId>, text: &str) -> Result<RunId, Failure> {
    match matches[..] {
        [id] => Ok(id),
        [] => Err(Failure::invalid_params("runId", format!("no such run: {text} (`loomd list --all` shows all runs)"))),
        _ => {
            let shown: Vec<String> = matches.iter().take(4).map(|id| short_id(*id)).collect();
            let more = if matches.len() > shown.len() { ", …" } else { "" };
            let message = format!("ambiguous run ID `{text}`: it matches {} runs ({}{more})", matches.len(), shown.join(", "));
            Err(Failure::invalid_params("runId", message).with(AMBIGUOUS, matches.len()))
        }
    }
}

/// The member of a [`Failure`]'s data that tells how many runs an ID matches.
const AMBIGUOUS: &str = "matches";

/// Whether the failure is that of [`only_match`] for several runs.
pub(crate) fn is_ambiguous(failure: &Failure) -> bool {
    failure.data.contains_key(AMBIGUOUS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_and_later_commands_use_the_same_files() {
        let launch = ServerLaunch {
            locations: Locations { data_dir: Some("/my runs".into()), config: Some("c.toml".into()) },
            log_file: None,
            can_answer: false,
        };
        assert_eq!(launch.arguments(), ["serve", "--stdio", "--data-dir", "/my runs", "--config", "c.toml"]);
        assert_eq!(launch.command_prefix(), "loomd --data-dir '/my runs'");
        assert_eq!(ServerLaunch::default().command_prefix(), "loomd");
    }

    fn id(text: &str) -> RunId {
        text.parse().expect("an id")
    }

    #[test]
    fn a_run_is_found_by_the_beginning_or_the_end_of_its_id() {
        let one = id("01890a5d-ac96-774b-bcce-b302099a8057");
        let other = id("01890a5d-ac96-774b-bcce-b302099affff");
        let find = |text: &str| {
            let digits = parse_id_digits(text)?;
            only_match([one, other].into_iter().filter(|id| matches_id(*id, &digits)).collect(), text)
        };
        assert_eq!(short_id(one), "099a8057");
        assert_eq!(find("099A8057"), Ok(one));
        assert_eq!(find("b302099affff"), Ok(other));
        assert_eq!(find("bcce-b302099a8057"), Ok(one));
        let several = find("01890a5d").expect_err("two begin so");
        assert!(is_ambiguous(&several) && several.message.contains("099a8057") && several.message.contains("099affff"), "{several}");
        assert!(find("1234").expect_err("none").message.contains("no such run: 1234"));
        for bad in ["", "057", "run-one", "latest"] {
            assert!(find(bad).expect_err("no id").message.contains("invalid run ID"), "{bad}");
        }
    }
}
