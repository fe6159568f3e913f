//! Failures that a client is told about: one code, one kind, one sentence that says what to do.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{id::RunId, state::RunState};

/// An error answer: `{code, message, data: {kind, …}}`. It also travels between a supervisor and the servers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    pub kind: FailureKind,
    /// One sentence that a person can act on.
    pub message: String,
    /// What `data` holds beside `kind`.
    #[serde(default)]
    pub data: Map<String, Value>,
}

/// `data.kind` of an error answer. Each belongs to one code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum FailureKind {
    Parse,
    InvalidRequest,
    MethodNotFound,
    InvalidParams,
    Internal,
    NotInitialized,
    Cancelled,
    RunNotFound,
    ProviderNotFound,
    SpawnFailed,
    RunActive,
    RunNotActive,
    Unsupported,
    Store,
    Limit,
    SessionBusy,
    PermissionNotFound,
    PermissionResolved,
    Config,
}

impl FailureKind {
    pub const ALL: [Self; 19] = [
        Self::Parse,
        Self::InvalidRequest,
        Self::MethodNotFound,
        Self::InvalidParams,
        Self::Internal,
        Self::NotInitialized,
        Self::Cancelled,
        Self::RunNotFound,
        Self::ProviderNotFound,
        Self::SpawnFailed,
        Self::RunActive,
        Self::RunNotActive,
        Self::Unsupported,
        Self::Store,
        Self::Limit,
        Self::SessionBusy,
        Self::PermissionNotFound,
        Self::PermissionResolved,
        Self::Config,
    ];

    /// The JSON-RPC error code. Below -32000 stand those of JSON-RPC 2.0 and of the Language Server Protocol.
    pub fn code(self) -> i32 {
        match self {
            Self::Parse => -32700,
            Self::InvalidRequest => -32600,
            Self::MethodNotFound => -32601,
            Self::InvalidParams => -32602,
            Self::Internal => -32603,
            Self::NotInitialized => -32002,
            Self::Cancelled => -32800,
            Self::RunNotFound => -32001,
            Self::ProviderNotFound => -32010,
            Self::SpawnFailed => -32011,
            Self::RunActive | Self::RunNotActive => -32012,
            Self::Unsupported => -32013,
            Self::Store => -32014,
            Self::Limit => -32015,
            Self::SessionBusy => -32016,
            Self::PermissionNotFound | Self::PermissionResolved => -32017,
            Self::Config => -32018,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Parse => "parse",
            Self::InvalidRequest => "invalidRequest",
            Self::MethodNotFound => "methodNotFound",
            Self::InvalidParams => "invalidParams",
            Self::Internal => "internal",
            Self::NotInitialized => "notInitialized",
            Self::Cancelled => "cancelled",
            Self::RunNotFound => "runNotFound",
            Self::ProviderNotFound => "providerNotFound",
            Self::SpawnFailed => "spawnFailed",
            Self::RunActive => "runActive",
            Self::RunNotActive => "runNotActive",
            Self::Unsupported => "unsupported",
            Self::Store => "store",
            Self::Limit => "limit",
            Self::SessionBusy => "sessionBusy",
            Self::PermissionNotFound => "permissionNotFound",
            Self::PermissionResolved => "permissionResolved",
            Self::Config => "config",
        }
    }

    /// What `data` holds beside `kind`, for the reference.
    pub fn members(self) -> &'static [&'static str] {
        match self {
            Self::InvalidParams => &["field"],
            Self::RunNotFound | Self::SessionBusy => &["runId"],
            Self::ProviderNotFound => &["provider", "known"],
            Self::SpawnFailed => &["program", "cwd", "hint"],
            Self::RunActive | Self::RunNotActive => &["state"],
            Self::Unsupported => &["capability"],
            Self::Store => &["path"],
            Self::Limit => &["limit"],
            Self::PermissionNotFound | Self::PermissionResolved => &["permissionId"],
            Self::Config => &["path", "line"],
            _ => &[],
        }
    }
}

impl Failure {
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), data: Map::new() }
    }

    /// Adds a member to `data`.
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.data.insert(name.to_owned(), value.into());
        self
    }

    pub fn code(&self) -> i32 {
        self.kind.code()
    }

    /// The error object's `data`, with the kind in it.
    pub fn wire_data(&self) -> Value {
        let mut data = Map::new();
        data.insert("kind".to_owned(), json!(self.kind));
        data.extend(self.data.clone());
        Value::Object(data)
    }

    pub fn parse(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Parse, message)
    }

    pub fn invalid_request(message: impl Into<String>) -> Self {
        Self::new(FailureKind::InvalidRequest, message)
    }

    pub fn method_not_found(method: &str) -> Self {
        Self::new(FailureKind::MethodNotFound, format!("there is no method `{method}`; `loomd schema` lists those that there are"))
    }

    pub fn invalid_params(field: &str, message: impl Into<String>) -> Self {
        Self::new(FailureKind::InvalidParams, message).with("field", field)
    }

    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Internal, message)
    }

    pub fn not_initialized() -> Self {
        Self::new(FailureKind::NotInitialized, "send `initialize` first and wait for its answer")
    }

    pub fn cancelled() -> Self {
        Self::new(FailureKind::Cancelled, "the request was cancelled")
    }

    pub fn run_not_found(id: RunId) -> Self {
        Self::new(FailureKind::RunNotFound, format!("there is no run {id}; `run/list` names those that there are"))
            .with("runId", id.to_string())
    }

    pub fn permission_resolved(permission_id: &str) -> Self {
        Self::new(FailureKind::PermissionResolved, format!("the question {permission_id} has been settled already"))
            .with("permissionId", permission_id)
    }

    pub fn provider_not_found(provider: &str, known: &[String]) -> Self {
        let names = known.join(", ");
        Self::new(FailureKind::ProviderNotFound, format!("there is no provider `{provider}`; known are: {names}"))
            .with("provider", provider)
            .with("known", known.to_vec())
    }

    pub fn run_active(state: RunState) -> Self {
        Self::new(FailureKind::RunActive, format!("the run is {}; cancel it first with `run/cancel`", state.as_str()))
            .with("state", state.as_str())
    }

    pub fn run_not_active(state: RunState) -> Self {
        Self::new(FailureKind::RunNotActive, format!("the run has ended ({}); start a new one with `run/start`", state.as_str()))
            .with("state", state.as_str())
    }

    pub fn unsupported(capability: &str, message: impl Into<String>) -> Self {
        Self::new(FailureKind::Unsupported, message).with("capability", capability)
    }

    pub fn store(path: impl AsRef<std::path::Path>, message: impl Into<String>) -> Self {
        Self::new(FailureKind::Store, message).with("path", path.as_ref().to_string_lossy())
    }

    pub fn limit(limit: u64, message: impl Into<String>) -> Self {
        Self::new(FailureKind::Limit, message).with("limit", limit)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}
