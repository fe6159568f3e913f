//! Queries to Codex outside of a run: its models, and its sessions.

use serde_json::{Value, json};

use super::{initialize_request, launch};
use crate::{
    model::{Failure, FailureKind},
    provider::{
        json_lines,
        kind::{Launch, Probe, ProbeQuery, Reply},
    },
};

const INITIALIZE_ID: u64 = 1;
/// The most pages of models that are requested. It bounds the query if a program answers with a cursor for ever.
const MAX_MODEL_PAGES: u64 = 20;

/// A query that is not answered yet.
pub(crate) struct CodexProbe {
    query: ProbeQuery,
    /// The id of the request whose response is awaited.
    pending_id: u64,
    models: Vec<Value>,
}

impl CodexProbe {
    pub(crate) fn new(query: ProbeQuery) -> Self {
        Self { query, pending_id: INITIALIZE_ID, models: Vec::new() }
    }

    /// The next request for the query, for the page at `cursor`.
    fn next_request(&mut self, cursor: Option<&str>) -> Value {
        self.pending_id += 1;
        let (method, mut params) = match &self.query {
            ProbeQuery::Options { .. } => ("model/list", json!({})),
            // An empty list of model providers means all of them. Without it, Codex lists the sessions of the
            // configured one only.
            ProbeQuery::Sessions { cwd, .. } => {
                let mut params = json!({ "limit": 50, "modelProviders": [] });
                if let Some(cwd) = cwd {
                    params["cwd"] = json!(cwd);
                }
                ("thread/list", params)
            }
        };
        if let Some(cursor) = cursor {
            params["cursor"] = json!(cursor);
        }
        json!({ "id": self.pending_id, "method": method, "params": params })
    }

    /// Reads a page: the models of all pages are one answer, while sessions are answered page by page.
    fn handle_result(&mut self, result: &Value) -> Reply {
        let data = result["data"].as_array().map(Vec::as_slice).unwrap_or_default();
        let next = result["nextCursor"].as_str().filter(|cursor| !cursor.is_empty());
        match &self.query {
            ProbeQuery::Options { .. } => {
                self.models.extend(data.iter().filter(|model| model["hidden"] != true).filter_map(model));
                match next {
                    Some(next) if self.pending_id < INITIALIZE_ID + MAX_MODEL_PAGES => Reply::Send(to_line(&self.next_request(Some(next)))),
                    _ => Reply::Done(Ok(json!({ "models": self.models, "modes": [] }))),
                }
            }
            ProbeQuery::Sessions { cwd, .. } => {
                let is_in_cwd = |thread: &&Value| cwd.as_ref().is_none_or(|cwd| thread["cwd"] == **cwd);
                let sessions: Vec<Value> = data.iter().filter(is_in_cwd).filter_map(session).collect();
                let mut answer = json!({ "sessions": sessions });
                if let Some(next) = next {
                    answer["nextCursor"] = json!(next);
                }
                Reply::Done(Ok(answer))
            }
        }
    }
}

impl Probe for CodexProbe {
    fn launch(&self, program: &[String]) -> Launch {
        launch(program)
    }

    fn start(&mut self) -> Vec<u8> {
        to_line(&initialize_request(INITIALIZE_ID))
    }

    fn handle_line(&mut self, line: &[u8]) -> Reply {
        let message = json_lines::messages(line).into_iter().next().unwrap_or_default();
        if message.get("method").is_some() || message["id"].as_u64() != Some(self.pending_id) {
            return Reply::Send(Vec::new());
        }
        if let Some(error) = message.get("error").filter(|error| !error.is_null()) {
            let message = format!("Codex did not answer: {}", error["message"].as_str().unwrap_or("it gave no reason"));
            return Reply::Done(Err(Failure::new(FailureKind::Internal, message)));
        }
        if self.pending_id > INITIALIZE_ID {
            return self.handle_result(&message["result"]);
        }
        let cursor = match &self.query {
            ProbeQuery::Sessions { cursor, .. } => cursor.clone(),
            ProbeQuery::Options { .. } => None,
        };
        let mut requests = to_line(&json!({ "method": "initialized" }));
        requests.extend(to_line(&self.next_request(cursor.as_deref())));
        Reply::Send(requests)
    }
}

fn to_line(message: &Value) -> Vec<u8> {
    format!("{message}\n").into_bytes()
}

/// A model in the form of `provider/options`.
fn model(model: &Value) -> Option<Value> {
    let id = model["model"].as_str().or_else(|| model["id"].as_str())?;
    Some(json!({ "id": id, "name": model["displayName"].as_str().unwrap_or(id) }))
}

/// A session in the form of `session/list`.
fn session(thread: &Value) -> Option<Value> {
    let mut session = json!({ "id": thread["id"].as_str()? });
    if let Some(cwd) = thread["cwd"].as_str() {
        session["cwd"] = json!(cwd);
    }
    let title = [&thread["name"], &thread["preview"]].into_iter().find_map(|title| title.as_str().filter(|title| !title.is_empty()));
    if let Some(title) = title {
        session["title"] = json!(title);
    }
    if let Some(at) = thread["updatedAt"].as_u64() {
        session["updatedAt"] = json!(at.saturating_mul(1000));
    }
    Some(session)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(reply: Reply) -> Vec<Value> {
        match reply {
            Reply::Send(bytes) => bytes.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect(),
            Reply::Done(answer) => panic!("{answer:?}"),
        }
    }

    fn expect_done(reply: Reply) -> Result<Value, Failure> {
        match reply {
            Reply::Done(answer) => answer,
            Reply::Send(_) => panic!("no answer yet"),
        }
    }

    fn answer(probe: &mut CodexProbe, id: u64, result: &Value) -> Reply {
        probe.handle_line(json!({ "id": id, "result": result }).to_string().as_bytes())
    }

    #[test]
    fn all_pages_of_models_are_one_answer() {
        let mut probe = CodexProbe::new(ProbeQuery::Options { cwd: "/w".to_owned() });
        assert!(probe.start().ends_with(b"\n"));
        assert_eq!(sent(probe.handle_line(b"{\"method\":\"configWarning\",\"params\":{}}")), Vec::<Value>::new());
        assert_eq!(sent(probe.handle_line(b"no JSON")), Vec::<Value>::new());
        let requests = sent(answer(&mut probe, 1, &json!({})));
        assert_eq!(requests[1]["method"], "model/list");
        let page = json!({ "data": [{ "id": "a", "model": "a-1", "displayName": "A" }, { "id": "h", "hidden": true }], "nextCursor": "2" });
        let requests = sent(answer(&mut probe, 2, &page));
        assert_eq!(requests[0]["params"]["cursor"], "2");
        let models = expect_done(answer(&mut probe, 3, &json!({ "data": [{ "id": "b" }], "nextCursor": null })));
        assert_eq!(models, Ok(json!({ "models": [{ "id": "a-1", "name": "A" }, { "id": "b", "name": "b" }], "modes": [] })));
    }

    #[test]
    fn sessions_are_filtered_by_directory_page_by_page() {
        let mut probe = CodexProbe::new(ProbeQuery::Sessions { cwd: Some("/w".to_owned()), cursor: Some("here".to_owned()) });
        probe.start();
        let requests = sent(answer(&mut probe, 1, &json!({})));
        assert_eq!(requests[1]["params"], json!({ "limit": 50, "modelProviders": [], "cwd": "/w", "cursor": "here" }));
        let threads = json!([
            { "id": "one", "cwd": "/w", "preview": "Mend it", "name": null, "updatedAt": 7 },
            { "id": "two", "cwd": "/elsewhere", "preview": "" },
        ]);
        let sessions = expect_done(answer(&mut probe, 2, &json!({ "data": threads, "nextCursor": "there" })));
        let one = json!({ "id": "one", "cwd": "/w", "title": "Mend it", "updatedAt": 7000 });
        assert_eq!(sessions, Ok(json!({ "sessions": [one], "nextCursor": "there" })));
    }

    #[test]
    fn a_refusal_keeps_its_message() {
        let mut probe = CodexProbe::new(ProbeQuery::Sessions { cwd: None, cursor: None });
        probe.start();
        let refused = expect_done(probe.handle_line(b"{\"id\":1,\"error\":{\"code\":-32603,\"message\":\"the config is broken\"}}"));
        assert!(refused.is_err_and(|failure| failure.message.contains("the config is broken")));
    }
}
