//! Params of `run/start`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::model::{
    Failure,
    calls::{AttachForm, map_or_empty_list},
    entry::Kind,
    state::{RunId, TerminalSize},
};

/// What to run and how.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StartParams {
    /// `command`, `codex`, `claude`, `acp`, or a name from the configuration.
    pub(crate) provider: String,
    /// The prompt for an agent: text, or ACP content blocks. loomd passes it over stdin or the agent's protocol, never
    /// through a shell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) prompt: Option<Prompt>,
    /// The argv. `command` and `acp` require it; the others refuse it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) command: Option<Vec<String>>,
    /// Arguments that are appended to the provider's own argv.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) args: Option<Vec<String>>,
    /// The working directory; absolute. Default: the server's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cwd: Option<String>,
    /// Variables that are added to the environment; null removes one. The values are never stored.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "map_or_empty_list")]
    pub(crate) env: BTreeMap<String, Option<String>>,
    /// For `command`: text that is written to its stdin, which is then closed unless the run is interactive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) stdin: Option<String>,
    /// Runs the program under a pseudoterminal, for programs that buffer their output in a pipe: `true`, or the size of
    /// the terminal. Default size: 24 rows, 80 columns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tty: Option<TtyChoice>,
    /// Continues a session of an agent. `command` has none and answers `unsupported`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) resume: Option<Resume>,
    /// Keeps the run open for `run/send` after a turn. Default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) interactive: Option<bool>,
    /// For agents: the model, by the provider's own name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) model: Option<String>,
    /// MCP servers that the agent can use in this run, besides those of its own settings. The values of their variables and headers
    /// are never stored; `params.mcpServerNames` of the run names the servers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) mcp_servers: Vec<McpServer>,
    /// The permission mode. Default `ask`: the agent waits until a client answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) permissions: Option<PermissionMode>,
    /// A run that takes longer than this is ended. Time in which the machine sleeps does not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) timeout_ms: Option<u64>,
    /// A run that writes nothing for this long is ended. Time in which the machine sleeps does not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) idle_timeout_ms: Option<u64>,
    /// The input of an interactive run is closed, as by `run/closeInput`, when the run has been idle with nobody
    /// attached for this long. Default: 30 minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) keep_idle_ms: Option<u64>,
    /// What happens when the last attached client disconnects: the run goes on (`detach`, the default), or it is
    /// canceled after 5 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) on_disconnect: Option<OnDisconnect>,
    /// `false`, or the kinds of entries that the client receives. Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) attach: Option<AttachChoice>,
    /// Programs that are not ended with the run, besides the usual build daemons. A notice names a daemon that was ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) keep: Option<Vec<String>>,
    /// A run that writes more bytes than this to both streams together is canceled with error `outputLimit`. Default:
    /// no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) max_output_bytes: Option<u64>,
    /// Whether the user's notifier is started when the run waits for an answer or ends and nobody who can answer is attached.
    /// `true`: also by the desktop's own notifier, where the configuration has none. Default: if the configuration has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) notify: Option<bool>,
    /// A line for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) title: Option<String>,
    /// Labels by which clients find the run.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "map_or_empty_list")]
    pub(crate) labels: BTreeMap<String, String>,
    /// A second `run/start` with the same token returns the run that the first one started. A failed start frees the
    /// token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) client_token: Option<String>,
}

/// An MCP server, as the Agent Client Protocol describes it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "must be {name, command, args, env} or {type: \"http\" | \"sse\", name, url, headers}")]
pub(crate) enum McpServer {
    Remote {
        /// How it is spoken to.
        #[serde(rename = "type")]
        transport: McpTransport,
        /// What the agent calls it.
        name: String,
        /// Where it is.
        url: String,
        /// HTTP headers of each request.
        #[serde(default)]
        headers: Vec<McpValue>,
    },
    Program {
        /// What the agent calls it.
        name: String,
        /// The program, which the agent starts.
        command: String,
        /// Its arguments.
        #[serde(default)]
        args: Vec<String>,
        /// Variables that are added to its environment.
        #[serde(default)]
        env: Vec<McpValue>,
    },
}

/// How an MCP server is reached that is no program of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum McpTransport {
    /// Streamable HTTP.
    Http,
    /// HTTP with server-sent events.
    Sse,
}

/// A variable, or a header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct McpValue {
    /// Its name.
    pub(crate) name: String,
    /// Its value.
    pub(crate) value: String,
}

impl McpServer {
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Remote { name, .. } | Self::Program { name, .. } => name,
        }
    }

    /// How it is reached; `None`: it is a program.
    pub(crate) fn transport(&self) -> Option<McpTransport> {
        match self {
            Self::Remote { transport, .. } => Some(*transport),
            Self::Program { .. } => None,
        }
    }
}

impl McpValue {
    /// An object of these values by their names.
    pub(crate) fn object(values: &[Self]) -> Map<String, Value> {
        values.iter().map(|value| (value.name.clone(), Value::from(value.value.clone()))).collect()
    }
}

/// Text, or ACP content blocks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "must be a string or a list of content blocks")]
pub(crate) enum Prompt {
    Text(String),
    Blocks(Vec<Map<String, Value>>),
}

/// Whether there is a terminal, or its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "must be true, false or {rows, cols}")]
pub(crate) enum TtyChoice {
    Whether(bool),
    Size {
        /// How many rows.
        #[schemars(range(min = 1, max = 65535))]
        rows: i64,
        /// How many columns.
        #[schemars(range(min = 1, max = 65535))]
        cols: i64,
    },
}

impl TtyChoice {
    /// The size of the terminal; `None`: the run gets none.
    pub(crate) fn size(self) -> Result<Option<TerminalSize>, Failure> {
        match self {
            Self::Whether(is_wanted) => Ok(is_wanted.then(TerminalSize::default)),
            Self::Size { rows, cols } => TerminalSize::new(rows, cols).map(Some),
        }
    }
}

/// Which session to continue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, rename_all_fields = "camelCase", expecting = "must be {runId} or {sessionId}")]
pub(crate) enum Resume {
    Run {
        /// The session of this earlier run.
        run_id: RunId,
    },
    Session {
        /// The provider's own id of a session.
        session_id: String,
    },
}

/// Who decides what an agent may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum PermissionMode {
    /// Every permission request waits for an answer.
    Ask,
    /// Edits of files below the run's directory are allowed, except of settings of version control, editors, shells, agents and CI.
    /// Every other permission request waits for an answer.
    AcceptEdits,
    /// Changes are refused. Nothing is allowed without a rule or a person.
    ReadOnly,
    /// Everything is allowed.
    Bypass,
}

/// What happens to a run that no client follows any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum OnDisconnect {
    /// It goes on.
    Detach,
    /// It is canceled after 5 s.
    Cancel,
}

/// Which entries the client that starts a run receives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "must be false or {kinds}")]
pub(crate) enum AttachChoice {
    /// `false`: none. `true`: all, as by default.
    Whether(bool),
    /// `[]`, which is how Lua encodes an empty table: all.
    Empty([(); 0]),
    Kinds {
        /// Selects among `output`, with which `size` comes, and `update`. The other kinds always come.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        kinds: Option<Vec<Kind>>,
        /// Whether entries or items come, as in `run/attach`. Default: entries.
        #[serde(default, rename = "as", skip_serializing_if = "Option::is_none")]
        form: Option<AttachForm>,
    },
}
