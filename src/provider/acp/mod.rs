//! Any agent that speaks the Agent Client Protocol, version 1.
//!
//! What all of them have in common is the protocol; in what they differ stands in `agent` and, for what they say, in `updates`.

mod adapter;
mod agent;
mod asked;
mod calls;
mod choices;
mod inquiry;
mod prompt;
#[cfg(test)]
mod recorded;
mod settings;
mod takeover;
#[cfg(test)]
mod tests;
mod tool_calls;
mod updates;
mod wire;

use serde_json::json;

use self::{adapter::AcpAdapter, agent::Make};
use crate::{
    model::{Failure, ProviderCapabilities, calls::PermissionMode},
    provider::{
        adapter::Adapter,
        kind::{Inquiry, Launch, Preset, Provider, Question, Stdin},
        task::Task,
    },
};

/// Agents that are known without a configuration.
pub const PRESETS: &[Preset] = &[
    Preset {
        name: "gemini",
        title: "Gemini CLI",
        kind: "acp",
        command: &["gemini", "--acp"],
        missing: "install it with `npm install -g @google/gemini-cli`",
    },
    Preset {
        name: "opencode",
        title: "opencode",
        kind: "acp",
        command: &["opencode", "acp"],
        missing: "install it with `npm install -g opencode-ai`",
    },
];

/// The kind `acp`.
pub struct Acp;

impl Provider for Acp {
    fn kind(&self) -> &'static str {
        "acp"
    }

    fn title(&self) -> &'static str {
        "ACP agent"
    }

    fn capabilities(&self) -> ProviderCapabilities {
        ProviderCapabilities { resume: true, send: true, steer: false, interrupt: true, permissions: true, updates: true }
    }

    fn program(&self) -> &'static [&'static str] {
        &[]
    }

    fn missing(&self) -> &'static str {
        "name the agent's command line as `command`, in the run or in the configuration"
    }

    fn launch(&self, task: &Task, program: &[String]) -> Result<Launch, Failure> {
        if program.is_empty() {
            return Err(Failure::invalid_params("command", "an agent of the kind `acp` needs its command line as `command`"));
        }
        let env = match Make::of_program(program) {
            Make::OpenCode => vec![("OPENCODE_PERMISSION".to_owned(), opencode_permissions(task.permissions))],
            // Else it starts itself once more, and a signal reaches the wrong one of the two.
            Make::Gemini => vec![("GEMINI_CLI_NO_RELAUNCH".to_owned(), "true".to_owned())],
            _ => Vec::new(),
        };
        Ok(Launch { argv: program.to_vec(), env, stdin: Stdin::Protocol })
    }

    fn adapter(&self, task: Task) -> Box<dyn Adapter> {
        Box::new(AcpAdapter::new(task))
    }

    fn inquire(&self, question: &Question) -> Option<Box<dyn Inquiry>> {
        Some(Box::new(inquiry::AcpInquiry::new(question.clone())))
    }
}

/// opencode has no modes for what it asks about. What stands in this variable goes over what its configuration says; the last rule that fits counts.
fn opencode_permissions(permissions: PermissionMode) -> String {
    let rules = match permissions {
        // What it asks about an edit is the only place where it tells what the edit changes, so it asks in every mode; the policy answers.
        PermissionMode::Ask | PermissionMode::AcceptEdits => json!({ "bash": "ask", "edit": "ask" }),
        PermissionMode::ReadOnly => {
            json!({ "*": "ask", "read": "allow", "grep": "allow", "glob": "allow", "list": "allow", "bash": "deny", "edit": "deny" })
        }
        PermissionMode::Bypass => json!({ "bash": "allow", "edit": "ask" }),
    };
    rules.to_string()
}
