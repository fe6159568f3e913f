//! Codex through `codex app-server`: how it is started, and what opens its sessions in a terminal.
//!
//! The conversation itself is `server`'s; it speaks JSON-RPC in lines, without the `jsonrpc` member.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{
    adapter::Adapter,
    effect::SessionNews,
    kind::{Inquiry, Launch, Provider, Question, Stdin},
    task::Task,
    terminal::{kept, no_way, quoted},
};
use crate::model::{Failure, ProviderCapabilities, Takeover, TakeoverKind, calls::PermissionMode};

mod approvals;
mod calls;
mod changes;
mod input;
mod inquiry;
mod items;
mod server;
#[cfg(test)]
mod tests;
mod turn;
mod usage;

/// Codex.
pub struct Codex;

impl Provider for Codex {
    fn kind(&self) -> &'static str {
        "codex"
    }

    fn title(&self) -> &'static str {
        "Codex"
    }

    fn capabilities(&self) -> ProviderCapabilities {
        ProviderCapabilities { resume: true, send: true, steer: true, interrupt: true, permissions: true, updates: true }
    }

    fn program(&self) -> &'static [&'static str] {
        &["codex"]
    }

    fn missing(&self) -> &'static str {
        "install Codex with `npm install -g @openai/codex`, or set `program` under [providers.codex]"
    }

    /// The wrapper that npm puts on PATH leaves the native program behind when it is killed, so the latter is started itself.
    fn executables(&self, found: &Path) -> Vec<PathBuf> {
        natives(found, std::env::consts::OS, std::env::consts::ARCH)
    }

    fn launch(&self, _task: &Task, program: &[String]) -> Result<Launch, Failure> {
        Ok(launch(program))
    }

    fn adapter(&self, task: Task) -> Box<dyn Adapter> {
        Box::new(server::AppServer::new(task))
    }

    fn inquire(&self, question: &Question) -> Option<Box<dyn Inquiry>> {
        Some(Box::new(inquiry::Asking::new(question.clone())))
    }
}

fn launch(program: &[String]) -> Launch {
    let argv = program.iter().cloned().chain(["app-server".to_owned()]).collect();
    Launch { argv, env: Vec::new(), stdin: Stdin::Protocol }
}

/// Where the native program may stand, given the wrapper of an npm package: hoisted beside it, nested in it, or (older ones) part of it.
fn natives(found: &Path, os: &str, arch: &str) -> Vec<PathBuf> {
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

/// What `thread/start` calls the way in which a run's permissions are kept: when to ask, and the sandbox.
fn modes(permissions: PermissionMode) -> (&'static str, &'static str) {
    match permissions {
        PermissionMode::Ask | PermissionMode::AcceptEdits => ("on-request", "workspace-write"),
        PermissionMode::ReadOnly => ("on-request", "read-only"),
        // `never` would refuse a command that asks for what it has already; asked about it, the policy allows it.
        PermissionMode::Bypass => ("on-request", "danger-full-access"),
    }
}

/// The same sandbox as `turn/start` names it.
fn sandbox_type(permissions: PermissionMode) -> &'static str {
    match permissions {
        PermissionMode::Ask | PermissionMode::AcceptEdits => "workspaceWrite",
        PermissionMode::ReadOnly => "readOnly",
        PermissionMode::Bypass => "dangerFullAccess",
    }
}

fn initialize(id: u64) -> Value {
    let client = json!({ "name": "loomd", "title": "loomd", "version": env!("CARGO_PKG_VERSION") });
    json!({ "id": id, "method": "initialize", "params": { "clientInfo": client } })
}

/// The ways to go on with a session. Both were seen to open it in a terminal.
fn takeovers(task: &Task, session: &SessionNews) -> Vec<Takeover> {
    // Without the switch it leaves a daemon behind that outlives it.
    let argv = |verb: &str| -> Vec<String> {
        let program = task.program.first().map_or("codex", String::as_str);
        [program, "--disable", "daemon_auto_start", verb, &session.id].map(str::to_owned).into()
    };
    let way = |kind, verb| kept(session, kind, argv(verb), &task.cwd, None);
    vec![
        no_way(TakeoverKind::Live, "this Codex serves the run alone, so no terminal can join it"),
        way(TakeoverKind::Resume, "resume"),
        way(TakeoverKind::Fork, "fork"),
    ]
}
