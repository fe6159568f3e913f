//! Codex through `codex app-server`: how it is started, and the commands that open its sessions in a terminal.
//!
//! `adapter` holds the conversation: JSON-RPC, one message a line, without the member `jsonrpc`.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{
    Adapter,
    kind::{Launch, Probe, ProbeQuery, Provider, StdinUse},
    kind::{quoted, resumable_takeover, unavailable_takeover},
    provider_event::SessionInfo,
};
use crate::{
    model::{Failure, ProviderCapabilities, Takeover, TakeoverKind, agent::PromptCapabilities, calls::PermissionMode, task::Task},
    provider::model_options::{AgentModel, ModelOptions},
};

mod adapter;
mod approvals;
mod calls;
mod changes;
mod items;
mod probe;
mod turn;

pub(super) use calls::take_mcp_result;

/// The provider kind `codex`.
pub(crate) struct Codex;

impl Provider for Codex {
    fn kind(&self) -> &'static str {
        "codex"
    }

    fn title(&self) -> &'static str {
        "Codex"
    }

    fn capabilities(&self) -> ProviderCapabilities {
        ProviderCapabilities { resume: true, send: true, steer: true, interrupt: true, permissions: true, updates: true, mcp_servers: true }
    }

    fn program(&self) -> &'static [&'static str] {
        &["codex"]
    }

    fn install_hint(&self) -> &'static str {
        "install Codex with `npm install -g @openai/codex`, or set `program` under [providers.codex]"
    }

    /// The program that npm puts on PATH is a wrapper. When it is killed, the native program behind it lives on, so
    /// the native program is started instead.
    fn executables(&self, found: &Path) -> Vec<PathBuf> {
        native_programs(found, std::env::consts::OS, std::env::consts::ARCH)
    }

    fn launch(&self, task: &Task, program: &[String]) -> Result<Launch, Failure> {
        if let Some(prompt) = &task.prompt {
            PROMPT_CAPABILITIES.check("codex", prompt)?;
        }
        Ok(launch(program))
    }

    fn adapter(&self, task: Task) -> Box<dyn Adapter> {
        Box::new(adapter::CodexAdapter::new(task))
    }

    fn probe(&self, query: &ProbeQuery) -> Option<Box<dyn Probe>> {
        Some(Box::new(probe::CodexProbe::new(query.clone())))
    }
}

fn launch(program: &[String]) -> Launch {
    let argv = program.iter().cloned().chain(["app-server".to_owned()]).collect();
    Launch { argv, env: Vec::new(), stdin: StdinUse::Protocol }
}

/// Where the native program may be, by the path of the wrapper: in a package beside the wrapper's, in one nested in
/// it, or in the wrapper's own package, as in older versions.
fn native_programs(found: &Path, os: &str, arch: &str) -> Vec<PathBuf> {
    let (system, triple) = match (os, arch) {
        ("linux", "x86_64") => ("linux-x64", "x86_64-unknown-linux-musl"),
        ("linux", "aarch64") => ("linux-arm64", "aarch64-unknown-linux-musl"),
        ("macos", "x86_64") => ("darwin-x64", "x86_64-apple-darwin"),
        ("macos", "aarch64") => ("darwin-arm64", "aarch64-apple-darwin"),
        _ => return Vec::new(),
    };
    let package =
        found.parent().filter(|bin| bin.ends_with("bin")).and_then(Path::parent).filter(|package| package.ends_with("@openai/codex"));
    let Some((package, scope)) = package.and_then(|package| Some((package, package.parent()?))) else { return Vec::new() };
    let name = format!("codex-{system}");
    [scope.join(&name), package.join("node_modules/@openai").join(&name), package.to_owned()]
        .map(|package| package.join("vendor").join(triple).join("bin/codex"))
        .into()
}

/// The approval policy and the sandbox of `thread/start` for these permissions.
fn approval_and_sandbox(permissions: PermissionMode) -> (&'static str, &'static str) {
    match permissions {
        PermissionMode::Ask | PermissionMode::AcceptEdits => ("on-request", "workspace-write"),
        PermissionMode::ReadOnly => ("on-request", "read-only"),
        // With `never` Codex would refuse a command that requests permissions which it has already. When Codex asks
        // instead, the run's policy allows it.
        PermissionMode::Bypass => ("on-request", "danger-full-access"),
    }
}

/// The type of the same sandbox in `turn/start`.
fn sandbox_type(permissions: PermissionMode) -> &'static str {
    match permissions {
        PermissionMode::Ask | PermissionMode::AcceptEdits => "workspaceWrite",
        PermissionMode::ReadOnly => "readOnly",
        PermissionMode::Bypass => "dangerFullAccess",
    }
}

fn initialize_request(id: u64) -> Value {
    let client = json!({ "name": "loomd", "title": "loomd", "version": env!("CARGO_PKG_VERSION") });
    json!({ "id": id, "method": "initialize", "params": { "clientInfo": client } })
}

/// The takeovers of a session. Both commands were seen to open it in a terminal.
fn takeovers(task: &Task, session: &SessionInfo) -> Vec<Takeover> {
    // Without this flag Codex leaves a daemon running that outlives it.
    let argv = |subcommand: &str| -> Vec<String> {
        let program = task.program.first().map_or("codex", String::as_str);
        [program, "--disable", "daemon_auto_start", subcommand, &session.id].map(str::to_owned).into()
    };
    let if_saved = |kind, subcommand| resumable_takeover(session, kind, argv(subcommand), &task.cwd, None);
    vec![
        unavailable_takeover(TakeoverKind::Live, "this Codex process serves only this run, so no terminal can join it"),
        if_saved(TakeoverKind::Resume, "resume"),
        if_saved(TakeoverKind::Fork, "fork"),
    ]
}

/// What Codex takes in a prompt beside text and links.
pub(super) const PROMPT_CAPABILITIES: PromptCapabilities = PromptCapabilities { image: true, audio: false, embedded_context: false };

/// The models of a thread.
#[derive(Debug, Default)]
pub(super) struct CodexOptions {
    pub(super) choices: ModelOptions,
    /// The response that opened the thread.
    model: String,
    effort: Option<String>,
}

impl CodexOptions {
    /// Takes the model and the effort from the response that opened the thread.
    pub(super) fn thread_opened(&mut self, result: &Value) {
        result["model"].as_str().unwrap_or_default().clone_into(&mut self.model);
        self.effort = result["reasoningEffort"].as_str().map(str::to_owned);
    }

    /// Takes a page of models. There is one page: Codex pages only a list that a client limits.
    pub(super) fn models_listed(&mut self, result: &Value) {
        let models = result["data"].as_array().into_iter().flatten().filter(|model| model["hidden"] != true).filter_map(model);
        self.choices.set(models.collect(), &self.model, self.effort.as_deref());
    }
}

fn model(model: &Value) -> Option<AgentModel> {
    let text = |name: &str| model[name].as_str().map(str::to_owned);
    let id = text("model").or_else(|| text("id"))?;
    let efforts = model["supportedReasoningEfforts"].as_array().into_iter().flatten();
    let efforts = efforts.filter_map(|effort| effort["reasoningEffort"].as_str()).map(str::to_owned);
    Some(AgentModel {
        name: text("displayName").unwrap_or_else(|| id.clone()),
        id,
        efforts: efforts.collect(),
        default_effort: text("defaultReasoningEffort"),
    })
}

#[cfg(test)]
mod tests;
