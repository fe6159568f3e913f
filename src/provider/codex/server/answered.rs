//! What Codex answers to our requests: the handshake, the thread that is opened, the turn that begins.

use serde_json::{Value, json};

use super::{AppServer, Request, Thread};
use crate::{
    model::RunError,
    provider::{
        codex::{modes, turn::Stage},
        effect::TurnEnd,
        fault,
        out::{Out, Severity},
    },
};

impl AppServer {
    pub(super) fn answered(&mut self, id: &Value, answer: &Value, out: &mut Out) {
        let Some((id, request)) = id.as_u64().and_then(|id| Some((id, self.requests.remove(&id)?))) else { return };
        let refusal = answer.get("error").filter(|error| !error.is_null());
        let refusal = refusal.map(|error| error["message"].as_str().unwrap_or("it gave no reason"));
        let result = &answer["result"];
        match (request, refusal) {
            (Request::Initialize, None) => {
                out.send(&json!({ "method": "initialized" }));
                self.open(true, out);
            }
            (Request::Initialize, Some(reason)) => out.fatal(fault::protocol(&format!("Codex refused the conversation: {reason}"))),
            (Request::Open { .. }, None) => self.opened(result, out),
            // Versions differ in whether a client may ask for that without further ado.
            (Request::Open { without_turns: true }, Some(reason))
                if reason.contains("excludeTurns") || reason.contains("experimentalApi") =>
            {
                self.open(false, out);
            }
            (Request::Open { .. }, Some(reason)) => out.fatal(self.not_opened(reason)),
            (Request::Turn, None) => {
                if let Some(turn) = result["turn"]["id"].as_str() {
                    self.turn_is(turn, out);
                }
            }
            (Request::Turn, Some(reason)) => {
                if self.turn.stage == Stage::Asked {
                    let error = fault::provider_error(None, &format!("Codex refused the prompt: {reason}"));
                    self.end_turn(TurnEnd::failed(error), out);
                }
            }
            (Request::Steer, None) | (Request::Interrupt, None) => {}
            (Request::Steer, Some(_)) => self.give_back(id, out),
            (Request::Interrupt, Some(reason)) => {
                if self.turn.is_unwanted {
                    out.notice(Severity::Warning, "Codex did not stop the turn", Some(reason));
                }
            }
        }
    }

    /// Begins the thread, or goes on with it. Its history is in the log of the run that it comes from, so it is not asked for.
    fn open(&mut self, without_turns: bool, out: &mut Out) {
        let (approval, sandbox) = modes(self.task.permissions);
        // Who answers is this run's business, whatever model the configuration would have review it.
        let mut params = json!({ "cwd": self.task.cwd, "approvalPolicy": approval, "approvalsReviewer": "user", "sandbox": sandbox });
        if let Some(model) = &self.task.model {
            params["model"] = json!(model);
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
        self.request(Request::Open { without_turns }, method, &params, out);
    }

    fn opened(&mut self, result: &Value, out: &mut Out) {
        let thread = &result["thread"];
        let Some(id) = thread["id"].as_str().filter(|id| !id.is_empty()) else {
            out.fatal(fault::protocol("Codex began a session without naming it; it may be too old or too new for loomd"));
            return;
        };
        if self.task.resume.as_deref().is_some_and(|wanted| wanted != id) {
            out.fatal(self.not_opened("it opened another session instead"));
            return;
        }
        self.announce(thread, out);
        if let Some(thread) = &mut self.thread {
            thread.sandbox = result["sandbox"].clone();
        }
        out.ready();
    }

    pub(super) fn announce(&mut self, thread: &Value, out: &mut Out) {
        let Some(id) = thread["id"].as_str().filter(|id| !id.is_empty()) else { return };
        let path = thread["path"].as_str();
        let is_kept = self.task.resume.is_some();
        out.session(id, path, is_kept);
        self.thread = Some(Thread { id: id.to_owned(), path: path.map(str::to_owned), is_kept, sandbox: Value::Null });
    }

    fn not_opened(&self, reason: &str) -> RunError {
        let error = fault::provider_error(None, &format!("Codex could not begin a session: {reason}"));
        match &self.task.resume {
            Some(session) if error.kind == "provider" => {
                let mut error = fault::session_not_found(session, "Codex");
                error.message = format!("{} ({reason})", error.message);
                error
            }
            _ => error,
        }
    }
}
