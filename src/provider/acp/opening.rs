//! How a session is opened: a new one, or that of an earlier run, and what comes before its first prompt.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    adapter::{AcpAdapter, HISTORY_TIMER, PendingRequest, SESSION_TIMER},
    agent::{self, AcpAgent},
    choices::Choices,
    updates::Updates,
    wire::{self, RpcError},
};
use crate::{
    model::{RunError, agent::AgentOffer},
    provider::{
        error_kind,
        event_sink::{EventSink, Severity},
        ids::name_of,
    },
};

/// How long an agent may take to send its history and to answer that request.
const HISTORY_TIMEOUT: Duration = Duration::from_secs(5);

impl AcpAdapter {
    /// Checks the protocol version of the agent and opens the session.
    pub(super) fn handle_initialized(&mut self, result: &Value, out: &mut EventSink) {
        self.agent = AcpAgent::new(result, &self.task.program);
        out.set_start_deadline(self.task.start_timeout(), SESSION_TIMER);
        // Some agents write it as a text.
        match name_of(&result["protocolVersion"]).as_deref() {
            Some("1" | "1.0") => {}
            version => {
                let version = version.map_or_else(|| "no version".to_owned(), |version| format!("version {version}"));
                let name = &self.agent.name;
                return out.fatal(error_kind::protocol_error(&format!(
                    "{name} supports {version} of the Agent Client Protocol; loomd supports version 1"
                )));
            }
        }
        self.leave_out_servers(out);
        match self.task.resume.clone() {
            None => self.request(
                PendingRequest::NewSession,
                "session/new",
                wire::new_session_params(&self.task.cwd, &self.task.mcp_servers),
                out,
            ),
            Some(_) if self.agent.can_resume => self.reopen_session(false, out),
            Some(_) if self.agent.can_load => self.reopen_session(true, out),
            Some(_) => {
                let message = format!("{} can neither resume nor load a session; start a new run without `resume`", self.agent.name);
                out.fatal(RunError { kind: "unsupported".to_owned(), message });
            }
        }
    }

    /// Leaves out the MCP servers that the agent cannot speak to: it might refuse the session because of one.
    fn leave_out_servers(&mut self, out: &mut EventSink) {
        let agent = &self.agent;
        self.task.mcp_servers.retain(|server| {
            let is_usable = server.transport().is_none_or(|transport| agent.mcp_transports.contains(&transport));
            if !is_usable {
                let title = format!("{} cannot use the MCP server `{}`: it takes none over this transport", agent.name, server.name());
                out.notice(Severity::Warning, &title, None);
            }
            is_usable
        });
    }

    /// Opens the session of an earlier run.
    pub(super) fn reopen_session(&mut self, by_load: bool, out: &mut EventSink) {
        let id = self.task.resume.clone().unwrap_or_default();
        let method = if by_load { "session/load" } else { "session/resume" };
        self.request(
            PendingRequest::ReopenSession { by_load },
            method,
            wire::load_session_params(&id, &self.task.cwd, &self.task.mcp_servers),
            out,
        );
    }

    /// An agent without `session/resume` is asked for `session/load`. Every other error ends the run: it never
    /// continues in a new session in place of the one that was asked for.
    pub(super) fn handle_reopen_error(&mut self, by_load: bool, error: &RpcError, out: &mut EventSink) {
        if error.code == wire::METHOD_NOT_FOUND && !by_load && self.agent.can_load {
            return self.reopen_session(true, out);
        }
        let text = agent::error_text(error);
        let other = self.agent.error(error);
        // OpenCode says no more of a session that it does not have than that it failed.
        let says_nothing = other.kind == "provider" && text.starts_with("Internal error");
        let is_refused = error.code == wire::RESOURCE_NOT_FOUND || error_kind::is_unknown_session(&text) || says_nothing;
        if error.code == wire::AUTH_REQUIRED || !is_refused {
            return out.fatal(other);
        }
        let mut run_error = error_kind::session_not_found(self.task.resume.as_deref().unwrap_or_default(), &self.agent.name);
        run_error.message = format!("{} (the agent's error: {text})", run_error.message);
        out.fatal(run_error);
    }

    /// The session is open: chooses its settings and makes the first of them.
    pub(super) fn handle_opened(&mut self, id: String, result: &Value, out: &mut EventSink) {
        self.updates = Updates::new(&self.agent, self.task.resume.is_none());
        self.choices = Choices::new(result);
        self.session = Some(id.clone());
        out.session(&id, None, self.is_saved);
        out.offer(AgentOffer { prompt_capabilities: Some(self.agent.takes), ..self.choices.offer() });
        self.choose_mode(self.task.permissions, out);
        if let Some(model) = self.task.model.clone() {
            self.choose_model(&model);
        }
        // Agents send the history before their response to `session/load`, or after it. Their response to one more
        // request comes after the history, so the mode that the agent is in is set once more, or a method is called that
        // no agent has, and `ready` waits for that.
        let needs_mark = self.is_loaded && self.settings.is_empty();
        if needs_mark {
            self.settings.extend(self.choices.repeat_mode(&id));
        }
        match self.settings_error.take() {
            Some(error) => out.fatal(error),
            None if needs_mark && self.settings.is_empty() => {
                self.request(PendingRequest::HistoryEnd, "_loomd/historyEnd", json!({ "sessionId": id }), out);
                out.set_timer(HISTORY_TIMEOUT, HISTORY_TIMER);
            }
            None => self.next_setting(out),
        }
    }
}
