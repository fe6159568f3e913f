//! Which models Claude Code offers: its answer to `initialize`, for which no session is made.

use serde_json::{Value, json};

use super::spoken;
use crate::{
    model::Failure,
    provider::{Inquiry, Launch, Reply, Stdin},
};

/// Asks once.
pub struct Options;

const ID: &str = "loomd-options";

impl Inquiry for Options {
    fn launch(&self, program: &[String]) -> Launch {
        Launch { argv: spoken(program), env: Vec::new(), stdin: Stdin::Protocol }
    }

    fn begin(&mut self) -> Vec<u8> {
        let request = json!({ "type": "control_request", "request_id": ID, "request": { "subtype": "initialize" } });
        format!("{request}\n").into_bytes()
    }

    fn line(&mut self, line: &[u8]) -> Reply {
        let said: Value = serde_json::from_slice(line).unwrap_or_default();
        let response = &said["response"];
        if said["type"] != "control_response" || response["request_id"] != ID {
            return Reply::Say(Vec::new());
        }
        if response["subtype"] != "success" {
            let error = response["error"].as_str().unwrap_or("no reason was given");
            return Reply::Done(Err(Failure::unsupported("options", format!("claude did not say what it offers: {error}"))));
        }
        let model = |model: &Value| {
            let id = model["value"].as_str()?;
            Some(json!({ "id": id, "name": model["displayName"].as_str().unwrap_or(id) }))
        };
        let models: Vec<Value> = response["response"]["models"].as_array().into_iter().flatten().filter_map(model).collect();
        // It does not tell its modes; those of `run/start` stand for them.
        Reply::Done(Ok(json!({ "models": models, "modes": [] })))
    }
}
