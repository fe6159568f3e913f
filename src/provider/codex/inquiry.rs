//! Questions about Codex outside of a run: its models, and its own sessions.

use serde_json::{Value, json};

use super::{initialize, launch};
use crate::{
    model::{Failure, FailureKind},
    provider::kind::{Inquiry, Launch, Question, Reply},
};

const INITIALIZE: u64 = 1;
/// Most pages of models that are turned: a program that goes on for ever is not followed.
const PAGES: u64 = 20;

/// A question that is being asked.
pub struct Asking {
    question: Question,
    /// The id of the request that is not answered yet.
    asked: u64,
    models: Vec<Value>,
}

impl Asking {
    pub fn new(question: Question) -> Self {
        Self { question, asked: INITIALIZE, models: Vec::new() }
    }

    /// The next request.
    fn ask(&mut self, cursor: Option<&str>) -> Value {
        self.asked += 1;
        let (method, mut params) = match &self.question {
            Question::Options { .. } => ("model/list", json!({})),
            // No provider of models is left out; by default only the configured one's sessions come.
            Question::Sessions { cwd, .. } => {
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
        json!({ "id": self.asked, "method": method, "params": params })
    }

    fn answered(&mut self, result: &Value) -> Reply {
        let data = result["data"].as_array().map(Vec::as_slice).unwrap_or_default();
        let next = result["nextCursor"].as_str().filter(|cursor| !cursor.is_empty());
        match &self.question {
            Question::Options { .. } => {
                self.models.extend(data.iter().filter(|model| model["hidden"] != true).filter_map(model));
                match next {
                    Some(next) if self.asked < INITIALIZE + PAGES => Reply::Say(line(&self.ask(Some(next)))),
                    _ => Reply::Done(Ok(json!({ "models": self.models, "modes": [] }))),
                }
            }
            Question::Sessions { cwd, .. } => {
                let is_meant = |thread: &&Value| cwd.as_ref().is_none_or(|cwd| thread["cwd"] == **cwd);
                let sessions: Vec<Value> = data.iter().filter(is_meant).filter_map(session).collect();
                let mut answer = json!({ "sessions": sessions });
                if let Some(next) = next {
                    answer["nextCursor"] = json!(next);
                }
                Reply::Done(Ok(answer))
            }
        }
    }
}

impl Inquiry for Asking {
    fn launch(&self, program: &[String]) -> Launch {
        launch(program)
    }

    fn begin(&mut self) -> Vec<u8> {
        line(&initialize(INITIALIZE))
    }

    fn line(&mut self, said: &[u8]) -> Reply {
        let said: Value = serde_json::from_slice(said).unwrap_or_default();
        if said.get("method").is_some() || said["id"].as_u64() != Some(self.asked) {
            return Reply::Say(Vec::new());
        }
        if let Some(error) = said.get("error").filter(|error| !error.is_null()) {
            let message = format!("Codex did not answer: {}", error["message"].as_str().unwrap_or("it gave no reason"));
            return Reply::Done(Err(Failure::new(FailureKind::Internal, message)));
        }
        if self.asked > INITIALIZE {
            return self.answered(&said["result"]);
        }
        let cursor = match &self.question {
            Question::Sessions { cursor, .. } => cursor.clone(),
            Question::Options { .. } => None,
        };
        let mut words = line(&json!({ "method": "initialized" }));
        words.extend(line(&self.ask(cursor.as_deref())));
        Reply::Say(words)
    }
}

fn line(message: &Value) -> Vec<u8> {
    format!("{message}\n").into_bytes()
}

fn model(model: &Value) -> Option<Value> {
    let id = model["model"].as_str().or_else(|| model["id"].as_str())?;
    Some(json!({ "id": id, "name": model["displayName"].as_str().unwrap_or(id) }))
}

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

    fn said(reply: Reply) -> Vec<Value> {
        match reply {
            Reply::Say(bytes) => bytes.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect(),
            Reply::Done(answer) => panic!("{answer:?}"),
        }
    }

    fn done(reply: Reply) -> Result<Value, Failure> {
        match reply {
            Reply::Done(answer) => answer,
            Reply::Say(_) => panic!("no answer yet"),
        }
    }

    fn answer(asking: &mut Asking, id: u64, result: &Value) -> Reply {
        asking.line(json!({ "id": id, "result": result }).to_string().as_bytes())
    }

    #[test]
    fn all_pages_of_models_are_one_answer() {
        let mut asking = Asking::new(Question::Options { cwd: "/w".to_owned() });
        assert!(asking.begin().ends_with(b"\n"));
        assert_eq!(said(asking.line(b"{\"method\":\"configWarning\",\"params\":{}}")), Vec::<Value>::new());
        assert_eq!(said(asking.line(b"no JSON")), Vec::<Value>::new());
        let words = said(answer(&mut asking, 1, &json!({})));
        assert_eq!(words[1]["method"], "model/list");
        let page = json!({ "data": [{ "id": "a", "model": "a-1", "displayName": "A" }, { "id": "h", "hidden": true }], "nextCursor": "2" });
        let words = said(answer(&mut asking, 2, &page));
        assert_eq!(words[0]["params"]["cursor"], "2");
        let models = done(answer(&mut asking, 3, &json!({ "data": [{ "id": "b" }], "nextCursor": null })));
        assert_eq!(models, Ok(json!({ "models": [{ "id": "a-1", "name": "A" }, { "id": "b", "name": "b" }], "modes": [] })));
    }

    #[test]
    fn sessions_are_the_directory_s_own_page_by_page() {
        let mut asking = Asking::new(Question::Sessions { cwd: Some("/w".to_owned()), cursor: Some("here".to_owned()) });
        asking.begin();
        let words = said(answer(&mut asking, 1, &json!({})));
        assert_eq!(words[1]["params"], json!({ "limit": 50, "modelProviders": [], "cwd": "/w", "cursor": "here" }));
        let threads = json!([
            { "id": "one", "cwd": "/w", "preview": "Mend it", "name": null, "updatedAt": 7 },
            { "id": "two", "cwd": "/elsewhere", "preview": "" },
        ]);
        let sessions = done(answer(&mut asking, 2, &json!({ "data": threads, "nextCursor": "there" })));
        let one = json!({ "id": "one", "cwd": "/w", "title": "Mend it", "updatedAt": 7000 });
        assert_eq!(sessions, Ok(json!({ "sessions": [one], "nextCursor": "there" })));
    }

    #[test]
    fn a_refusal_is_told_in_its_own_words() {
        let mut asking = Asking::new(Question::Sessions { cwd: None, cursor: None });
        asking.begin();
        let refused = done(asking.line(b"{\"id\":1,\"error\":{\"code\":-32603,\"message\":\"the config is broken\"}}"));
        assert!(refused.is_err_and(|failure| failure.message.contains("the config is broken")));
    }
}
