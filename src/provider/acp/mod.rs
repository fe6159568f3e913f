//! Every agent that speaks the Agent Client Protocol (ACP), version 1.
//!
//! `adapter` holds the conversation. Where products differ, `agent` says how; where their messages differ, `updates`
//! and `tool_calls` make one form of them.

mod adapter;
mod agent;
mod choices;
mod opening;
mod probe;
mod questions;
mod settings;
mod sub_agents;
mod takeover;
mod tool_calls;
mod turns;
mod updates;
mod wire;

use serde_json::json;

use self::{adapter::AcpAdapter, agent::Product};
use crate::{
    model::{Failure, ProviderCapabilities, Takeover, calls::PermissionMode, task::Task},
    provider::{
        Adapter,
        kind::{Launch, Preset, Probe, ProbeQuery, Provider, StdinUse},
        provider_event::SessionInfo,
    },
};

/// The provider kind `acp`.
pub(crate) struct Acp;

impl Provider for Acp {
    fn kind(&self) -> &'static str {
        "acp"
    }

    fn title(&self) -> &'static str {
        "ACP agent"
    }

    fn capabilities(&self) -> ProviderCapabilities {
        ProviderCapabilities {
            resume: true,
            send: true,
            steer: false,
            interrupt: true,
            permissions: true,
            updates: true,
            mcp_servers: true,
        }
    }

    fn program(&self) -> &'static [&'static str] {
        &[]
    }

    fn install_hint(&self) -> &'static str {
        "set `command` to the agent's command line, in the run or in the configuration"
    }

    fn launch(&self, task: &Task, program: &[String]) -> Result<Launch, Failure> {
        if program.is_empty() {
            return Err(Failure::invalid_params("command", "an agent of kind `acp` needs its command line as `command`"));
        }
        let env = match Product::by_program(program) {
            Product::OpenCode => vec![("OPENCODE_PERMISSION".to_owned(), opencode_permissions(task.permissions))],
            // Without this variable gemini starts itself a second time, and a signal reaches only one of the two
            // processes.
            Product::Gemini => vec![("GEMINI_CLI_NO_RELAUNCH".to_owned(), "true".to_owned())],
            _ => Vec::new(),
        };
        Ok(Launch { argv: program.to_vec(), env, stdin: StdinUse::Protocol })
    }

    fn adapter(&self, task: Task) -> Box<dyn Adapter> {
        Box::new(AcpAdapter::new(task))
    }

    fn takeovers(&self, task: Task, session: &SessionInfo, recorded: &[Takeover]) -> Vec<Takeover> {
        takeover::made_anew(&task, session, recorded)
    }

    fn probe(&self, query: &ProbeQuery) -> Option<Box<dyn Probe>> {
        Some(Box::new(probe::AcpProbe::new(query.clone())))
    }
}

/// The value of `OPENCODE_PERMISSION`. opencode has no session modes for its permissions. The rules in this variable
/// override those of its configuration, and the last rule that matches counts.
fn opencode_permissions(permissions: PermissionMode) -> String {
    let rules = match permissions {
        // Only a permission request tells what an edit changes. So opencode asks about edits in every mode, and the
        // run's policy answers.
        PermissionMode::Ask | PermissionMode::AcceptEdits => json!({ "bash": "ask", "edit": "ask" }),
        PermissionMode::ReadOnly => {
            json!({ "*": "ask", "read": "allow", "grep": "allow", "glob": "allow", "list": "allow", "bash": "deny", "edit": "deny" })
        }
        PermissionMode::Bypass => json!({ "bash": "allow", "edit": "ask" }),
    };
    rules.to_string()
}

/// The agents that need no configuration, a line each. `docs/providers.md` says which of them were measured.
#[rustfmt::skip]
pub(crate) const PRESETS: &[Preset] = &[
    preset("gemini", "Gemini CLI", &["gemini", "--acp"], "install it with `npm install -g @google/gemini-cli`"),
    preset("opencode", "opencode", &["opencode", "acp"], "install it with `npm install -g opencode-ai`"),
    preset("copilot", "GitHub Copilot CLI", &["copilot", "--acp", "--stdio"], "install it with `npm install -g @github/copilot`"),
    preset("cursor", "Cursor CLI", &["cursor-agent", "acp"], "install it from https://cursor.com/cli"),
    preset("cline", "Cline", &["cline", "--acp"], "install it with `npm install -g cline`"),
    preset("qwen", "Qwen Code", &["qwen", "--acp"], "install it with `npm install -g @qwen-code/qwen-code`"),
    preset("kimi", "Kimi Code", &["kimi", "acp"], "install it with `npm install -g @moonshot-ai/kimi-code`"),
    preset("goose", "goose", &["goose", "acp"], "install it from https://github.com/aaif-goose/goose"),
    preset("droid", "Factory Droid", &["droid", "exec", "--output-format", "acp"], "install it with `npm install -g droid`"),
    preset("grok", "Grok CLI", &["grok", "agent", "stdio"], "install it with `npm install -g @xai-official/grok`"),
    preset("auggie", "Auggie", &["auggie", "--acp"], "install it with `npm install -g @augmentcode/auggie`"),
    preset("kilo", "Kilo CLI", &["kilo", "acp"], "install it with `npm install -g @kilocode/cli`"),
    preset("vibe", "Mistral Vibe", &["vibe-acp"], "install it from https://github.com/mistralai/mistral-vibe"),
    preset("kiro", "Kiro CLI", &["kiro-cli", "acp"], "install it from https://kiro.dev/cli"),
    preset("junie", "Junie", &["junie", "--acp=true"], "install it from https://junie.jetbrains.com"),
    preset("openclaw", "OpenClaw", &["openclaw", "acp"], "install it with `npm install -g openclaw`"),
    preset("devin", "Devin", &["devin", "acp"], "install it from https://devin.ai"),
    preset("qoder", "Qoder CLI", &["qodercli", "--acp"], "install it from https://qoder.com/cli"),
    preset("iflow", "iFlow CLI", &["iflow", "--experimental-acp"], "install it from https://github.com/iflow-ai/iflow-cli"),
    preset("trae", "TRAE CLI", &["traecli", "acp", "serve"], "install it from https://www.trae.ai"),
    preset("openhands", "OpenHands", &["openhands", "acp"], "install it from https://github.com/OpenHands/OpenHands"),
    preset("hermes", "Hermes Agent", &["hermes", "acp"], "install it from https://github.com/NousResearch/hermes-agent"),
    preset("jcode", "jcode", &["jcode", "acp"], "install it from https://github.com/1jehuang/jcode"),
    preset("mux", "Mux", &["mux", "acp"], "install it from https://github.com/coder/mux"),
];

const fn preset(name: &'static str, title: &'static str, command: &'static [&'static str], install_hint: &'static str) -> Preset {
    Preset { name, title, kind: "acp", command, install_hint }
}

#[cfg(test)]
mod tests;
