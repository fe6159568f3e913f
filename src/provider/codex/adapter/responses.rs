//! Responses of Codex to our requests: the handshake, the thread that is opened, the turn that begins.

use serde_json::{Map, Value, json};

use super::{ClientRequest, CodexAdapter, Thread};
use crate::{
    model::{
        RunError,
        agent::AgentOffer,
        calls::{McpServer, McpTransport, McpValue},
    },
    provider::{
        codex::{PROMPT_CAPABILITIES, approval_and_sandbox, turn::TurnStage},
        error_kind,
        event_sink::{EventSink, Severity},
        provider_event::TurnEnd,
    },
};

impl CodexAdapter {
    pub(super) fn handle_response(&mut self, id: &Value, answer: &Value, out: &mut EventSink) {
        let error = answer.get("error").filter(|error| !error.is_null());
        // Neither is a line of a log that has the id of a request.
        if error.is_none() && answer.get("result").is_none() || answer.get("level").is_some() {
            return;
        }
        // An error without an id is about what Codex was sent last.
        let id = id.as_u64().or_else(|| if id.is_null() && error.is_some() { self.requests.keys().next_back().copied() } else { None });
        let Some((id, request)) = id.and_then(|id| Some((id, self.requests.remove(&id)?))) else { return };
        let refusal = error.map(|error| error_kind::words(error).unwrap_or_else(|| "it gave no reason".to_owned()));
        let refusal = refusal.as_deref();
        let result = &answer["result"];
        match (request, refusal) {
            (ClientRequest::Initialize, None) => {
                out.send(&json!({ "method": "initialized" }));
                self.open(true, out);
            }
            (ClientRequest::Initialize, Some(reason)) => {
                out.fatal(error_kind::protocol_error(&format!("Codex refused the session: {reason}")))
            }
            (ClientRequest::Open { .. }, None) => self.handle_opened(result, out),
            // Some versions accept `excludeTurns` only from clients with the experimental API.
            (ClientRequest::Open { without_turns: true }, Some(reason))
                if reason.contains("excludeTurns") || reason.contains("experimentalApi") =>
            {
                self.open(false, out);
            }
            (ClientRequest::Open { .. }, Some(reason)) => out.fatal(self.open_error(reason)),
            (ClientRequest::Turn, None) => {
                if let Some(turn) = result["turn"]["id"].as_str() {
                    self.set_turn_id(turn, out);
                }
            }
            (ClientRequest::Turn, Some(reason)) => {
                if self.turn.stage == TurnStage::Requested {
                    let error = error_kind::provider_error(None, &format!("Codex refused the prompt: {reason}"));
                    self.end_turn(TurnEnd::failed(error), out);
                }
            }
            (ClientRequest::Steer, None) | (ClientRequest::Interrupt, None) => {}
            (ClientRequest::Models, None) => {
                self.options.models_listed(result);
                out.offer(AgentOffer { config_options: self.options.choices.config_options(), ..AgentOffer::default() });
            }
            // A version that does not list its models has no options.
            (ClientRequest::Models, Some(_)) => {}
            (ClientRequest::Steer, Some(_)) => self.return_steer(id, out),
            (ClientRequest::Interrupt, Some(reason)) => {
                if self.turn.is_interrupt_requested {
                    out.notice(Severity::Warning, "Codex did not stop the turn", Some(reason));
                }
            }
        }
    }

    /// Starts or resumes the thread. The history of a resumed thread is in the log of the run that it comes from, so
    /// it is not requested.
    fn open(&mut self, without_turns: bool, out: &mut EventSink) {
        let (approval, sandbox) = approval_and_sandbox(self.task.permissions);
        // The run's policy and its clients answer approvals, even if the user's configuration lets a model review
        // them.
        let mut params = json!({ "cwd": self.task.cwd, "approvalPolicy": approval, "approvalsReviewer": "user", "sandbox": sandbox });
        if let Some(model) = &self.task.model {
            params["model"] = json!(model);
        }
        let servers = mcp_settings(&self.task.mcp_servers, out);
        if !servers.is_empty() {
            params["config"] = Value::Object(servers);
        }
        let method = match &self.task.resume {
            None => "thread/start",
            Some(thread) => {
                params["threadId"] = json!(thread);
                if without_turns {
                    params["excludeTurns"] = json!(true);
                }
                "thread/resume"
            }
        };
        self.request(ClientRequest::Open { without_turns }, method, &params, out);
    }

    /// The thread is open. A thread that is not the requested one ends the run.
    fn handle_opened(&mut self, result: &Value, out: &mut EventSink) {
        let thread = &result["thread"];
        let Some(id) = thread["id"].as_str().filter(|id| !id.is_empty()) else {
            out.fatal(error_kind::protocol_error("Codex started a session without an ID; its version may be too old or too new for loomd"));
            return;
        };
        if self.task.resume.as_deref().is_some_and(|wanted| wanted != id) {
            out.fatal(self.open_error("it opened another session instead"));
            return;
        }
        self.set_thread(thread, out);
        if let Some(thread) = &mut self.thread {
            thread.sandbox = result["sandbox"].clone();
        }
        self.options.thread_opened(result);
        out.offer(AgentOffer::of_prompts(PROMPT_CAPABILITIES));
        self.request(ClientRequest::Models, "model/list", &json!({}), out);
        out.ready();
    }

    /// Notes the run's thread and reports its session.
    pub(super) fn set_thread(&mut self, thread: &Value, out: &mut EventSink) {
        let Some(id) = thread["id"].as_str().filter(|id| !id.is_empty()) else { return };
        let path = thread["path"].as_str();
        let is_saved = self.task.resume.is_some();
        out.session(id, path, is_saved);
        self.thread = Some(Thread { id: id.to_owned(), path: path.map(str::to_owned), is_saved, sandbox: Value::Null });
    }

    /// The error of a run whose thread could not be opened.
    fn open_error(&self, reason: &str) -> RunError {
        let error = error_kind::provider_error(None, &format!("Codex could not start a session: {reason}"));
        match &self.task.resume {
            Some(session) if error_kind::is_unknown_session(reason) => {
                let mut error = error_kind::session_not_found(session, "Codex");
                error.message = format!("{} ({reason})", error.message);
                error
            }
            _ => error,
        }
    }
}

/// MCP servers as settings of Codex, each by its path in the user's configuration.
fn mcp_settings(servers: &[McpServer], out: &mut EventSink) -> Map<String, Value> {
    let mut settings = Map::new();
    for server in servers {
        // Codex refuses a name with other characters.
        let name = server.name().replace(|c: char| !c.is_ascii_alphanumeric() && c != '-', "_");
        let server = match server {
            McpServer::Program { command, args, env, .. } => json!({ "command": command, "args": args, "env": McpValue::object(env) }),
            McpServer::Remote { transport: McpTransport::Http, url, headers, .. } => {
                json!({ "url": url, "http_headers": McpValue::object(headers) })
            }
            McpServer::Remote { transport: McpTransport::Sse, .. } => {
                let title = format!("Codex cannot use the MCP server `{}`: it takes none over server-sent events", server.name());
                out.notice(Severity::Warning, &title, None);
                continue;
            }
        };
        settings.insert(format!("mcp_servers.{name}"), server);
    }
    settings
}
