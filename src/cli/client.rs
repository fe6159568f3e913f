//! The client that all commands share: starts a server of its own, greets it, finds runs by a few digits of their id.

use std::{
    ffi::OsString,
    io::IsTerminal,
    path::{Path, PathBuf},
    process::{Child, Command},
    sync::Arc,
    time::Duration,
};

use serde::{Serialize, de::DeserializeOwned};
use tokio::time::timeout;

use super::words;
use crate::{
    config::Places,
    model::{
        Failure, FailureKind, PROTOCOL_VERSION, Run, RunId,
        calls::{ClientCapabilities, ClientInfo, InitializeParams, InitializeResult, ListParams, ListResult, RunIdParams, RunResult},
    },
    process::ending,
    rpc::{Client, Notifications},
};

/// How long an orderly goodbye may take before the server is left to itself.
const GOODBYE: Duration = Duration::from_secs(2);

/// Most runs in one page of `run/list`.
const PAGE: u64 = 500;

/// How the server is to be started: what the command line said about places.
#[derive(Clone, Debug, Default)]
pub struct Launch {
    pub places: Places,
    pub log_file: Option<PathBuf>,
    /// Somebody is there who can answer an agent's question.
    pub can_answer: bool,
}

/// A greeted server of our own.
pub struct Session {
    client: Arc<Client>,
    server: Child,
    /// What it answered to `initialize`.
    pub info: InitializeResult,
}

impl Launch {
    /// Starts a server, in a session of its own, and greets it. The notifications must be read, or dropped.
    pub async fn open(&self) -> Result<(Session, Notifications), Failure> {
        let program = own_executable();
        let spawned = Client::spawn(&program, self.arguments());
        let spawned = spawned.map_err(|error| Failure::internal(format!("the server {} cannot be started: {error}", program.display())))?;
        let params = InitializeParams {
            protocol_version: i64::from(PROTOCOL_VERSION),
            client_info: Some(ClientInfo { name: "loomd command line".to_owned(), version: Some(env!("CARGO_PKG_VERSION").to_owned()) }),
            process_id: Some(std::process::id()),
            capabilities: ClientCapabilities { permissions: self.can_answer, watch: false, ..ClientCapabilities::default() },
        };
        let info = spawned.client.call("initialize", params).await;
        let info: InitializeResult = info.map_err(|failure: Failure| match failure.kind {
            FailureKind::Internal => {
                Failure { message: format!("{failure}; see what a server says with `{} serve </dev/null`", self.again()), ..failure }
            }
            _ => failure,
        })?;
        if info.protocol_version != PROTOCOL_VERSION {
            return Err(Failure::internal(format!(
                "the server {} speaks version {} of the protocol, this command version {PROTOCOL_VERSION}; install them anew",
                program.display(),
                info.protocol_version
            )));
        }
        spawned.client.notify("initialized", ()).await?;
        Ok((Session { client: Arc::new(spawned.client), server: spawned.child, info }, spawned.notifications))
    }

    /// The same for a command that asks what agents ask, if there is a terminal to ask on.
    pub fn asking(&self, is_told: bool) -> Self {
        let has_terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
        Self { can_answer: is_told && has_terminal, ..self.clone() }
    }

    /// Whether the output of this command-line tool has a form that is known, by the configuration: else it is text for people.
    pub fn knows_format(&self, provider: &str) -> bool {
        self.places.read_config().is_ok_and(|config| config.providers.get(provider).is_some_and(|provider| provider.format.is_some()))
    }

    /// As [`Self::open`], for commands that need no notifications.
    pub async fn open_quiet(&self) -> Result<Session, Failure> {
        Ok(self.open().await?.0)
    }

    /// The words that reach the same runs in a later command: `loomd`, with the data directory if one was named.
    pub fn again(&self) -> String {
        match &self.places.data_dir {
            Some(dir) => format!("loomd --data-dir {}", words::quoted(&absolute(dir).to_string_lossy())),
            None => "loomd".to_owned(),
        }
    }

    /// A command that is this same program with the same places. Its arguments are still to be said.
    pub fn again_as_command(&self) -> Command {
        let mut command = Command::new(own_executable());
        let named = [("LOOMD_DATA_DIR", &self.places.data_dir), ("LOOMD_CONFIG", &self.places.config)];
        for (name, path) in named {
            if let Some(path) = path {
                command.env(name, absolute(path));
            }
        }
        command
    }

    fn arguments(&self) -> Vec<OsString> {
        let mut arguments = vec![OsString::from("serve"), OsString::from("--stdio")];
        let named = [("--data-dir", &self.places.data_dir), ("--config", &self.places.config), ("--log-file", &self.log_file)];
        for (option, path) in named {
            if let Some(path) = path {
                arguments.extend([option.into(), path.into()]);
            }
        }
        arguments
    }
}

impl Session {
    pub async fn call<P: Serialize, R: DeserializeOwned>(&self, method: &str, params: P) -> Result<R, Failure> {
        self.client.call(method, params).await
    }

    /// The connection itself, for calls that go on beside others.
    pub fn client(&self) -> Arc<Client> {
        self.client.clone()
    }

    pub async fn run(&self, run_id: RunId) -> Result<Run, Failure> {
        Ok(self.call::<_, RunResult>("run/get", RunIdParams { run_id }).await?.run)
    }

    /// The run that `text` names: a whole id, or a beginning or an end of exactly one.
    pub async fn run_id(&self, text: &str) -> Result<RunId, Failure> {
        if let Ok(id) = text.parse() {
            return Ok(id);
        }
        let digits = words::digits(text)?;
        let mut found = Vec::new();
        let mut params = ListParams { limit: Some(PAGE), ..ListParams::default() };
        loop {
            let page: ListResult = self.call("run/list", &params).await?;
            found.extend(page.runs.iter().map(|run| run.id).filter(|id| words::fits(*id, &digits)));
            match page.next_cursor {
                Some(cursor) => params.cursor = Some(cursor),
                None => return words::the_only(found, text),
            }
        }
    }

    /// The run that `text` names, or else the newest one.
    pub async fn run_id_or_newest(&self, text: Option<&str>) -> Result<RunId, Failure> {
        if let Some(text) = text {
            return self.run_id(text).await;
        }
        let page: ListResult = self.call("run/list", ListParams { limit: Some(1), ..ListParams::default() }).await?;
        let newest = page.runs.first().map(|run| run.id);
        newest.ok_or_else(|| Failure::invalid_params("runId", "there is no run yet; start one with `loomd run -- COMMAND`"))
    }

    /// Says goodbye and waits until the server is gone, for a moment. Its notifications must have been dropped.
    pub async fn close(self) {
        let goodbye = async {
            self.client.call::<_, Option<()>>("shutdown", ()).await.ok();
            self.client.notify("exit", ()).await.ok();
            ending::ended(self.server.id()).await.ok();
        };
        // A server that hangs sees the end of its input when this process ends.
        timeout(GOODBYE, goodbye).await.ok();
    }
}

/// This same program, also when its file was replaced meanwhile.
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
    fn the_server_and_later_commands_find_the_same_places() {
        let launch = Launch {
            places: Places { data_dir: Some("/my runs".into()), config: Some("c.toml".into()) },
            log_file: None,
            can_answer: false,
        };
        assert_eq!(launch.arguments(), ["serve", "--stdio", "--data-dir", "/my runs", "--config", "c.toml"]);
        assert_eq!(launch.again(), "loomd --data-dir '/my runs'");
        assert_eq!(Launch::default().again(), "loomd");
    }
}
