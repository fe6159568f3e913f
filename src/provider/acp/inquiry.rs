//! Questions to an agent outside of a run: what it offers, and which sessions it has.

use serde_json::{Value, json};

use super::{
    agent::Agent,
    calls,
    choices::{Choices, What},
    wire::{self, Message, text_at},
};
use crate::{
    model::Failure,
    provider::kind::{Inquiry, Launch, Question, Reply, Stdin},
};

/// Greets the agent, asks once, and is done.
pub struct AcpInquiry {
    question: Question,
    agent: Option<Agent>,
}

const GREETING: u64 = 0;
const QUESTION: u64 = 1;

impl AcpInquiry {
    pub fn new(question: Question) -> Self {
        Self { question, agent: None }
    }

    fn greeted(&mut self, told: &Value) -> Reply {
        let agent = self.agent.insert(Agent::new(told, &[]));
        let (method, params) = match &self.question {
            // Agents tell their modes and models with a session only; one without a prompt is not kept by any that was tried.
            Question::Options { cwd } => ("session/new", calls::new_session(cwd)),
            Question::Sessions { cwd, cursor } if agent.list => ("session/list", calls::list_sessions(cwd.as_deref(), cursor.as_deref())),
            Question::Sessions { .. } => {
                return Reply::Done(Err(Failure::unsupported("sessions", format!("{} does not tell its sessions", agent.name))));
            }
        };
        Reply::Say(line(&wire::request(QUESTION, method, params)))
    }

    fn told(&self, told: &Value) -> Value {
        match &self.question {
            Question::Options { .. } => {
                let choices = Choices::new(told);
                json!({ "models": choices.offered(What::Model), "modes": choices.offered(What::Mode) })
            }
            Question::Sessions { .. } => {
                let sessions: Vec<Value> = told["sessions"].as_array().into_iter().flatten().filter_map(session).collect();
                match text_at(told, &["nextCursor"]) {
                    Some(cursor) => json!({ "sessions": sessions, "nextCursor": cursor }),
                    None => json!({ "sessions": sessions }),
                }
            }
        }
    }
}

impl Inquiry for AcpInquiry {
    fn launch(&self, program: &[String]) -> Launch {
        Launch { argv: program.to_vec(), env: Vec::new(), stdin: Stdin::Protocol }
    }

    fn begin(&mut self) -> Vec<u8> {
        line(&wire::request(GREETING, "initialize", calls::initialize()))
    }

    fn line(&mut self, said: &[u8]) -> Reply {
        match wire::parse(said) {
            Some(Message::Answer { id: GREETING, outcome: Ok(told) }) if self.agent.is_none() => self.greeted(&told),
            Some(Message::Answer { id: QUESTION, outcome: Ok(told) }) => Reply::Done(Ok(self.told(&told))),
            Some(Message::Answer { id: GREETING | QUESTION, outcome: Err(error) }) => {
                let (capability, error) = match &self.question {
                    Question::Options { .. } => ("options", error),
                    Question::Sessions { .. } => ("sessions", error),
                };
                let words = self.agent.clone().unwrap_or_default().error(&error).message;
                Reply::Done(Err(Failure::unsupported(capability, format!("the agent does not say: {words}"))))
            }
            Some(Message::Request { id, .. }) => Reply::Say(line(&wire::refusal(&id, -32601, "this client does not offer that"))),
            _ => Reply::Say(Vec::new()),
        }
    }
}

fn session(told: &Value) -> Option<Value> {
    let mut session = json!({ "id": text_at(told, &["sessionId"])? });
    for name in ["cwd", "title"] {
        if let Some(text) = text_at(told, &[name]) {
            session[name] = json!(text);
        }
    }
    let updated = text_at(told, &["updatedAt"]).and_then(|time| time.parse::<jiff::Timestamp>().ok());
    if let Some(updated) = updated {
        session["updatedAt"] = json!(updated.as_millisecond());
    }
    Some(session)
}

fn line(message: &Value) -> Vec<u8> {
    format!("{message}\n").into_bytes()
}
