//! Queries to an agent outside of a run: its models and modes, and its sessions.

use serde_json::{Value, json};

use super::{
    agent::AcpAgent,
    choices::{Choices, SettingKind},
    wire::{self, AcpMessage, text_at},
};
use crate::{
    model::Failure,
    provider::{
        json_lines,
        kind::{Launch, Probe, ProbeQuery, Reply, StdinUse},
    },
};

/// Sends `initialize`, then the one request that answers the query.
pub(crate) struct AcpProbe {
    query: ProbeQuery,
    agent: Option<AcpAgent>,
}

/// The ids of the two requests.
const INITIALIZE_ID: u64 = 0;
const QUERY_ID: u64 = 1;

impl AcpProbe {
    pub(crate) fn new(query: ProbeQuery) -> Self {
        Self { query, agent: None }
    }

    /// The agent answered `initialize`: sends the request for the query.
    fn handle_initialized(&mut self, result: &Value) -> Reply {
        let agent = self.agent.insert(AcpAgent::new(result, &[]));
        let (method, params) = match &self.query {
            // Agents list their modes and models only in the response to `session/new`. None of the agents that were
            // tried saves a session that has had no prompt, so this one leaves nothing behind.
            ProbeQuery::Options { cwd } => ("session/new", wire::new_session_params(cwd, &[])),
            ProbeQuery::Sessions { cwd, cursor } if agent.can_list => {
                ("session/list", wire::list_sessions_params(cwd.as_deref(), cursor.as_deref()))
            }
            ProbeQuery::Sessions { .. } => {
                return Reply::Done(Err(Failure::unsupported("sessions", format!("{} cannot list its sessions", agent.name))));
            }
        };
        Reply::Send(to_line(&wire::request(QUERY_ID, method, params)))
    }

    /// The answer to the query, in the form of `provider/options` or `session/list`.
    fn answer(&self, result: &Value) -> Value {
        match &self.query {
            ProbeQuery::Options { .. } => {
                let choices = Choices::new(result);
                json!({ "models": choices.options_json(SettingKind::Model), "modes": choices.options_json(SettingKind::Mode) })
            }
            ProbeQuery::Sessions { .. } => {
                let sessions: Vec<Value> = result["sessions"].as_array().into_iter().flatten().filter_map(session).collect();
                match text_at(result, &["nextCursor"]) {
                    Some(cursor) => json!({ "sessions": sessions, "nextCursor": cursor }),
                    None => json!({ "sessions": sessions }),
                }
            }
        }
    }
}

impl Probe for AcpProbe {
    fn launch(&self, program: &[String]) -> Launch {
        Launch { argv: program.to_vec(), env: Vec::new(), stdin: StdinUse::Protocol }
    }

    fn start(&mut self) -> Vec<u8> {
        to_line(&wire::request(INITIALIZE_ID, "initialize", wire::initialize_params()))
    }

    fn handle_line(&mut self, line: &[u8]) -> Reply {
        let message = json_lines::messages(line).into_iter().next();
        match message.and_then(wire::parse) {
            Some(AcpMessage::Response { id: Some(INITIALIZE_ID), outcome: Ok(result) }) if self.agent.is_none() => {
                self.handle_initialized(&result)
            }
            Some(AcpMessage::Response { id: Some(QUERY_ID), outcome: Ok(result) }) => Reply::Done(Ok(self.answer(&result))),
            Some(AcpMessage::Response { id: None | Some(INITIALIZE_ID | QUERY_ID), outcome: Err(error) }) => {
                let (capability, error) = match &self.query {
                    ProbeQuery::Options { .. } => ("options", error),
                    ProbeQuery::Sessions { .. } => ("sessions", error),
                };
                let reason = self.agent.clone().unwrap_or_default().error(&error).message;
                Reply::Done(Err(Failure::unsupported(capability, format!("the agent refused the request: {reason}"))))
            }
            Some(AcpMessage::Request { id, .. }) => {
                Reply::Send(to_line(&wire::error_response(&id, wire::METHOD_NOT_FOUND, "this client does not support that")))
            }
            _ => Reply::Send(Vec::new()),
        }
    }
}

/// A session in the form of `session/list`. Times become milliseconds since 1970.
fn session(result: &Value) -> Option<Value> {
    let mut session = json!({ "id": text_at(result, &["sessionId"])? });
    for name in ["cwd", "title"] {
        if let Some(text) = text_at(result, &[name]) {
            session[name] = json!(text);
        }
    }
    let updated = text_at(result, &["updatedAt"]).and_then(|time| time.parse::<jiff::Timestamp>().ok());
    if let Some(updated) = updated {
        session["updatedAt"] = json!(updated.as_millisecond());
    }
    Some(session)
}

fn to_line(message: &Value) -> Vec<u8> {
    format!("{message}\n").into_bytes()
}
