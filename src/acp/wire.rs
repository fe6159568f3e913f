//! What an ACP client sends, as far as it is read here, and what it is told of itself.
//!
//! The messages of ACP v1 are open objects, and clients differ in what they add. So params are read by the few members
//! that matter, and results are written as JSON; tests read them back with the types of the protocol's own crate.

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};
use strum::EnumString;

use super::translator::{ToolOutputForm, UpdateForms};
use crate::model::{Failure, FailureKind, RunError, RunId, calls::McpServer};

/// The requests that are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString)]
pub(super) enum AgentMethod {
    #[strum(serialize = "initialize")]
    Initialize,
    #[strum(serialize = "authenticate")]
    Authenticate,
    #[strum(serialize = "session/new")]
    New,
    #[strum(serialize = "session/load")]
    Load,
    #[strum(serialize = "session/resume")]
    Resume,
    #[strum(serialize = "session/list")]
    List,
    #[strum(serialize = "session/delete")]
    Delete,
    #[strum(serialize = "session/prompt")]
    Prompt,
    #[strum(serialize = "session/set_mode")]
    SetMode,
    #[strum(serialize = "session/set_model")]
    SetModel,
    #[strum(serialize = "session/set_config_option")]
    SetConfigOption,
    #[strum(serialize = "_session/steering")]
    Steering,
}

/// The version of ACP that is spoken.
pub(super) const ACP_VERSION: u32 = 1;

/// ACP's code for what needs a login first.
const AUTH_REQUIRED: i32 = -32000;
/// ACP's code for a session that is not there.
const RESOURCE_NOT_FOUND: i32 = -32002;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AgentInitializeParams {
    #[serde(default)]
    pub(super) client_capabilities: Map<String, Value>,
    #[serde(default)]
    pub(super) client_info: Map<String, Value>,
}

/// Reads MCP servers. One of a kind that is not known is left out, and keeps nobody from the session.
fn known_servers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<McpServer>, D::Error> {
    let servers = Vec::<Value>::deserialize(deserializer)?;
    let known = servers.into_iter().filter_map(|server| {
        let name = server["name"].clone();
        serde_json::from_value(server).inspect_err(|error| tracing::warn!(%name, %error, "an MCP server of the client is left out")).ok()
    });
    Ok(known.collect())
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NewSessionParams {
    pub(super) cwd: String,
    #[serde(default, deserialize_with = "known_servers")]
    pub(super) mcp_servers: Vec<McpServer>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OpenSessionParams {
    pub(super) session_id: RunId,
    #[serde(default, deserialize_with = "known_servers")]
    pub(super) mcp_servers: Vec<McpServer>,
    #[serde(default, rename = "_meta")]
    pub(super) meta: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListSessionsParams {
    #[serde(default)]
    pub(super) cwd: Option<String>,
    #[serde(default)]
    pub(super) cursor: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SessionParams {
    pub(super) session_id: RunId,
}

/// Params of `session/prompt` and of `_session/steering`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PromptParams {
    pub(super) session_id: RunId,
    pub(super) prompt: Vec<Map<String, Value>>,
    #[serde(default)]
    pub(super) idle_behavior: Option<String>,
}

/// Params of `session/set_mode` and of `session/set_model`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ChooseParams {
    pub(super) session_id: RunId,
    #[serde(alias = "modeId", alias = "modelId")]
    pub(super) id: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ConfigOptionParams {
    pub(super) session_id: RunId,
    pub(super) config_id: String,
    pub(super) value: Value,
}

/// A place in the updates of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UpdatePosition {
    /// The run of the session; `None`: its first one.
    pub(super) run_id: Option<RunId>,
    /// Number of the entry.
    pub(super) seq: u64,
}

impl OpenSessionParams {
    /// The place after which the client wants updates, by `_meta.loomd`.
    pub(super) fn after(&self) -> Result<Option<UpdatePosition>, Failure> {
        let Some(loomd) = self.meta.get("loomd") else { return Ok(None) };
        let Some(seq) = loomd.get("afterSeq") else { return Ok(None) };
        let wrong =
            |field| Failure::invalid_params(field, "`_meta.loomd` must be {afterSeq, runId?}, as an update's `_meta.loomd` has them");
        let seq = seq.as_u64().ok_or_else(|| wrong("_meta.loomd.afterSeq"))?;
        let run_id = match loomd.get("runId") {
            None | Some(Value::Null) => None,
            Some(id) => Some(id.as_str().and_then(|id| id.parse().ok()).ok_or_else(|| wrong("_meta.loomd.runId"))?),
        };
        Ok(Some(UpdatePosition { run_id, seq }))
    }
}

/// What is known of the client.
#[derive(Clone, Debug, Default)]
pub(super) struct AcpClient {
    pub(super) forms: UpdateForms,
    /// The client drops updates that come while none of its prompts waits for an answer, so they are kept until one does.
    pub(super) drops_free_updates: bool,
}

/// Clients that drop what comes outside of a prompt, by the name that they give in `initialize`.
const DROP_FREE_UPDATES: &[&str] = &["CodeCompanion.nvim"];

impl AcpClient {
    pub(super) fn of(params: &AgentInitializeParams) -> Self {
        let capability = |names: &[&str]| {
            let mut value = params.client_capabilities.get(*names.first()?)?;
            for name in &names[1..] {
                value = value.get(name)?;
            }
            Some(value)
        };
        let has = |names: &[&str]| capability(names).is_some_and(|value| !matches!(value, Value::Null | Value::Bool(false)));
        let tool_output = match () {
            () if has(&["_meta", "terminal_output_delta"]) => ToolOutputForm::Terminal("terminal_output_delta"),
            () if has(&["_meta", "terminal_output"]) => ToolOutputForm::Terminal("terminal_output"),
            () => ToolOutputForm::Content,
        };
        let name = params.client_info.get("name").and_then(Value::as_str).unwrap_or_default();
        Self {
            forms: UpdateForms { tool_output, notices: has(&["session", "notices"]) },
            drops_free_updates: DROP_FREE_UPDATES.contains(&name),
        }
    }
}

/// The result of `initialize`. `login`: a way to log in is offered, which the registry of agents demands. `takes_images`: so
/// does the agent of new sessions.
pub(super) fn initialize_result(login: bool, takes_images: bool) -> Value {
    let login_method = json!({ "id": "loomd-doctor", "name": "Check the installation", "type": "terminal", "args": ["doctor"],
        "description": "Agents log in by their own programs; `loomd doctor` says which are there." });
    json!({
        "protocolVersion": ACP_VERSION,
        "agentInfo": { "name": "loomd", "title": "loomd", "version": env!("CARGO_PKG_VERSION") },
        "agentCapabilities": {
            "loadSession": true,
            "promptCapabilities": { "image": takes_images, "embeddedContext": true },
            "mcpCapabilities": { "http": true, "sse": true },
            "sessionCapabilities": { "list": {}, "resume": {}, "delete": {} },
        },
        "authMethods": if login { vec![login_method] } else { Vec::new() },
        "_meta": {
            "steering": { "supported": true, "idleBehavior": "promptRequired" },
            "loomd": { "version": env!("CARGO_PKG_VERSION"), "cursor": true },
        },
    })
}

/// The code of an error answer, as ACP numbers them.
pub(super) fn error_code(failure: &Failure) -> i32 {
    match failure.kind {
        _ if failure.data.get("error").is_some_and(|error| error["kind"] == "auth") => AUTH_REQUIRED,
        FailureKind::RunNotFound => RESOURCE_NOT_FOUND,
        FailureKind::NotInitialized => FailureKind::InvalidRequest.code(),
        kind => kind.code(),
    }
}

/// A turn or a run that failed, as the answer to its prompt.
pub(super) fn turn_failure(error: &RunError) -> Failure {
    Failure::internal(error.message.clone()).with("error", json!(error))
}
