//! The client that all commands and front ends share. It starts a server of its own, here or on another host, initializes
//! it, and finds runs by some digits of their ID.

pub(crate) mod host;
mod login;
pub(crate) mod run_name;
mod session;

use std::{
    ffi::OsString,
    io::IsTerminal,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use futures_util::future::join_all;

pub(crate) use self::session::{ServerSession, send_over};
use self::{
    host::{Host, HostError, HostName},
    login::{Attendance, Login},
    session::{ServerProcess, SessionConnection},
};
use crate::{
    config::Locations,
    model::{
        Failure, FailureKind, PROTOCOL_VERSION, RunId, TerminalSize,
        calls::{ClientCapabilities, ClientInfo, InitializeParams, InitializeResult, SetSizeParams},
        methods::{Initialize, RunSetSize},
    },
    provider::kind::quoted,
    rpc::{Client, Notifications, is_connection_end},
};

/// How servers know the command line.
const CLIENT_NAME: &str = "loomd command line";

/// Shows a sentence of ours to the person.
pub(crate) type Note = fn(&str);

/// How the server is started: what the command line said about its place and its files.
#[derive(Clone, Debug)]
pub(crate) struct ServerLaunch {
    pub(crate) locations: Locations,
    pub(crate) log_file: Option<PathBuf>,
    /// Where the server is; none: here. Only what merges the runs of hosts takes more than one.
    pub(crate) hosts: Vec<HostName>,
    /// There is a person at a terminal who can answer permission requests.
    pub(crate) can_answer: bool,
    pub(crate) note: Note,
}

impl Default for ServerLaunch {
    fn default() -> Self {
        Self { locations: Locations::default(), log_file: None, hosts: Vec::new(), can_answer: false, note: |_| {} }
    }
}

/// A connection that has been initialized.
struct OpenConnection {
    connection: SessionConnection,
    notifications: Notifications,
    info: InitializeResult,
}

impl ServerLaunch {
    /// Starts a server and initializes it. The notifications must be read or dropped: replies queue behind them. A connection to
    /// another host that breaks is made anew.
    pub(crate) async fn open(&self) -> Result<(ServerSession, Notifications), Failure> {
        let (session, notifications) = self.open_as(CLIENT_NAME).await?;
        Ok((session.remade(), notifications))
    }

    /// As [`Self::open`], under the name of another client, which sees for itself to a connection that breaks.
    pub(crate) async fn open_as(&self, client_name: &str) -> Result<(ServerSession, Notifications), Failure> {
        let opened = match self.found_host()? {
            None => self.connect_here(client_name).await?,
            Some(host) => {
                let opened = self.connect(&host, client_name, Attendance::Attended).await?;
                if let Some(note) = host.version_note(&opened.info).filter(|_| std::io::stderr().is_terminal()) {
                    (self.note)(&note);
                }
                opened
            }
        };
        Ok(ServerSession::new(self, client_name, opened))
    }

    /// Asks all hosts at once. Nobody is asked for a password, and each answer has a time limit, so that no host holds up
    /// another.
    pub(crate) async fn ask_each_host<T>(
        &self,
        ask: impl AsyncFn(&ServerLaunch, &ServerSession) -> Result<T, Failure>,
    ) -> Vec<(HostName, Result<T, Failure>)> {
        let ask = &ask;
        let answers = self.hosts.iter().map(|name| async move {
            let launch = Self { hosts: vec![name.clone()], ..self.clone() };
            let answer = async {
                let Some(host) = launch.found_host()? else { return Err(Failure::internal("there is no host")) };
                let limit = host.answer_timeout();
                let connecting = launch.connect(&host, CLIENT_NAME, Attendance::Unattended);
                let opened = tokio::time::timeout(limit, connecting).await;
                let opened = opened.unwrap_or_else(|_| Err(HostError::TimedOut { host: name.clone(), limit }))?;
                // Nothing is attached there, so no notification comes.
                let (session, _) = ServerSession::new(&launch, CLIENT_NAME, opened);
                let session = session.within(limit);
                let answer = ask(&launch, &session).await;
                session.close().await;
                answer
            };
            (name.clone(), answer.await)
        });
        join_all(answers).await
    }

    /// The host of the server; `None`: this machine.
    pub(crate) fn host(&self) -> Option<&HostName> {
        self.hosts.first()
    }

    /// The host with what the configuration says about it.
    pub(crate) fn found_host(&self) -> Result<Option<Host>, Failure> {
        let Some(name) = self.host() else { return Ok(None) };
        let mut config = self.locations.read_config()?;
        Ok(Some(Host::new(name.clone(), config.hosts.remove(name.as_str()).unwrap_or_default())))
    }

    /// The ID of a run as people see it: its last digits, with its host if that is another one.
    pub(crate) fn shown_id(&self, id: RunId) -> String {
        run_name::on_host(self.host(), run_name::short_id(id))
    }

    async fn connect_here(&self, client_name: &str) -> Result<OpenConnection, Failure> {
        let program = own_executable();
        let spawned = Client::spawn(&program, self.arguments());
        let spawned = spawned.map_err(|error| Failure::internal(format!("cannot start the server {}: {error}", program.display())))?;
        let params = self.initialize_params(client_name, Some(std::process::id()));
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
        let connection = SessionConnection::new(spawned.client, ServerProcess::Child(spawned.child));
        Ok(OpenConnection { connection, notifications: spawned.notifications, info })
    }

    /// Logs in at a host and starts a server there.
    async fn connect(&self, host: &Host, client_name: &str, attendance: Attendance) -> Result<OpenConnection, HostError> {
        let (mut login, client, notifications) = Login::start(host, attendance, self.note)?;
        // The number of our process means nothing there.
        let initialized = async {
            let info = client.call(Initialize, self.initialize_params(client_name, None)).await?;
            client.notify("initialized", ()).await?;
            Ok(info)
        };
        let info = match initialized.await {
            Ok(info) => info,
            Err(failure) if is_connection_end(&failure) => return Err(login.end(host, &failure.message).await),
            Err(failure) => return Err(HostError::Refused { host: host.name.clone(), failure: Box::new(failure) }),
        };
        host.check(&info)?;
        login.is_established();
        Ok(OpenConnection { connection: SessionConnection::new(client, ServerProcess::Login(login)), notifications, info })
    }

    fn initialize_params(&self, client_name: &str, process_id: Option<u32>) -> InitializeParams {
        InitializeParams {
            protocol_version: i64::from(PROTOCOL_VERSION),
            client_info: Some(ClientInfo { name: client_name.to_owned(), version: Some(env!("CARGO_PKG_VERSION").to_owned()) }),
            process_id,
            capabilities: ClientCapabilities { permissions: self.can_answer, watch: false, ..ClientCapabilities::default() },
        }
    }

    /// Starts a server for a client that initializes it itself: its process, its stdout and its stdin.
    #[cfg(feature = "web")]
    pub(crate) fn start_server(&self) -> std::io::Result<crate::rpc::child::ServerPipes> {
        crate::rpc::child::start_server(own_executable(), self.arguments())
    }

    /// The same launch, for a command that answers permission requests of agents if there is a terminal.
    pub(crate) fn for_interactive_use(&self, answers_requests: bool) -> Self {
        let has_terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
        Self { can_answer: answers_requests && has_terminal, ..self.clone() }
    }

    /// Whether the configuration names the format of this command-line agent's output. Without a format, it is plain
    /// text.
    pub(crate) fn supports_format(&self, provider: &str) -> bool {
        self.hosts.is_empty()
            && self
                .locations
                .read_config()
                .is_ok_and(|config| config.providers.get(provider).is_some_and(|provider| provider.format.is_some()))
    }

    /// As [`Self::open`], for commands that read no notifications.
    pub(crate) async fn open_without_notifications(&self) -> Result<ServerSession, Failure> {
        Ok(self.open().await?.0)
    }

    /// How a command that finds the same runs begins: `loomd`, with the data directory if one was named. Where the command
    /// names a run, [`Self::shown_id`] has the host.
    pub(crate) fn command_prefix(&self) -> String {
        match &self.locations.data_dir {
            Some(dir) => format!("loomd --data-dir {}", quoted(&absolute(dir).to_string_lossy())),
            None => "loomd".to_owned(),
        }
    }

    /// This program and the arguments that start another front end on the same runs, whatever its environment is.
    pub(crate) fn front_end_command(&self, name: &str) -> Result<(String, Vec<String>), Failure> {
        if let Some(host) = self.found_host()? {
            return Ok((host.loomd().to_owned(), vec![name.to_owned()]));
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_and_later_commands_use_the_same_files() {
        let launch = ServerLaunch {
            locations: Locations { data_dir: Some("/my runs".into()), config: Some("c.toml".into()) },
            ..ServerLaunch::default()
        };
        assert_eq!(launch.arguments(), ["serve", "--stdio", "--data-dir", "/my runs", "--config", "c.toml"]);
        assert_eq!(launch.command_prefix(), "loomd --data-dir '/my runs'");
        assert_eq!(ServerLaunch::default().command_prefix(), "loomd");
    }
}
