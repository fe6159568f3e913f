//! Failures, as clients receive them: a code, a kind, and a sentence that says what to do.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use strum::{IntoStaticStr, VariantArray};

use super::{state::RunId, state::RunState};

/// An error answer: `{code, message, data: {kind, …}}`. Supervisors send it to servers as well.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    pub(crate) kind: FailureKind,
    /// One sentence that a person can act on.
    pub(crate) message: String,
    /// The members of `data` besides `kind`.
    #[serde(default)]
    pub(crate) data: Map<String, Value>,
}

/// `data.kind` of an error answer. Each kind has one code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, IntoStaticStr, VariantArray)]
#[serde(rename_all = "camelCase")]
#[strum(serialize_all = "camelCase")]
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
    Forbidden,
}

impl FailureKind {
    pub const ALL: &[Self] = Self::VARIANTS;

    /// The JSON-RPC error code. Failures that JSON-RPC 2.0 or the Language Server Protocol define have the codes
    /// defined there.
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
            Self::Forbidden => -32019,
        }
    }

    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The members that `data` may have besides `kind`, for the reference.
    pub fn members(self) -> &'static [&'static str] {
        match self {
            Self::InvalidParams => &["field"],
            Self::RunNotFound | Self::SessionBusy | Self::Forbidden => &["runId"],
            Self::ProviderNotFound => &["provider", "known"],
            Self::SpawnFailed => &["program", "cwd", "hint", "reason"],
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
    pub(crate) fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), data: Map::new() }
    }

    /// Adds a member to `data`.
    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.data.insert(name.to_owned(), value.into());
        self
    }

    pub(crate) fn parse(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Parse, message)
    }

    pub(crate) fn invalid_request(message: impl Into<String>) -> Self {
        Self::new(FailureKind::InvalidRequest, message)
    }

    pub(crate) fn method_not_found(method: &str) -> Self {
        Self::new(FailureKind::MethodNotFound, format!("unknown method `{method}`; `loomd schema` lists all methods"))
    }

    pub(crate) fn invalid_params(field: &str, message: impl Into<String>) -> Self {
        Self::new(FailureKind::InvalidParams, message).with("field", field)
    }

    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(FailureKind::Internal, message)
    }

    pub(crate) fn not_initialized() -> Self {
        Self::new(FailureKind::NotInitialized, "send `initialize` first, and wait for its answer")
    }

    pub(crate) fn cancelled() -> Self {
        Self::new(FailureKind::Cancelled, "the request was canceled")
    }

    pub(crate) fn run_not_found(id: RunId) -> Self {
        Self::new(FailureKind::RunNotFound, format!("there is no run {id}; `run/list` lists all runs")).with("runId", id.to_string())
    }

    pub(crate) fn permission_resolved(permission_id: &str) -> Self {
        Self::new(FailureKind::PermissionResolved, format!("permission request {permission_id} has already been resolved"))
            .with("permissionId", permission_id)
    }

    pub(crate) fn provider_not_found(provider: &str, known: &[String]) -> Self {
        let names = known.join(", ");
        Self::new(FailureKind::ProviderNotFound, format!("unknown provider `{provider}`; choose one of {names}"))
            .with("provider", provider)
            .with("known", known.to_vec())
    }

    pub(crate) fn run_active(state: RunState) -> Self {
        Self::new(FailureKind::RunActive, format!("the run is {}; cancel it first with `run/cancel`", state.as_str()))
            .with("state", state.as_str())
    }

    pub(crate) fn run_not_active(state: RunState) -> Self {
        Self::new(FailureKind::RunNotActive, format!("the run has ended ({}); start a new one with `run/start`", state.as_str()))
            .with("state", state.as_str())
    }

    /// A process in the tree of `run` asked for this.
    pub(crate) fn forbidden(run: RunId) -> Self {
        let message = format!("this comes from run {run} itself, and a run must not do it; do it from a terminal or editor outside of it");
        Self::new(FailureKind::Forbidden, message).with("runId", run.to_string())
    }

    pub fn unsupported(capability: &str, message: impl Into<String>) -> Self {
        Self::new(FailureKind::Unsupported, message).with("capability", capability)
    }

    pub(crate) fn store(path: impl AsRef<std::path::Path>, message: impl Into<String>) -> Self {
        Self::new(FailureKind::Store, message).with("path", path.as_ref().to_string_lossy())
    }

    pub(crate) fn limit(limit: u64, message: impl Into<String>) -> Self {
        Self::new(FailureKind::Limit, message).with("limit", limit)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}
