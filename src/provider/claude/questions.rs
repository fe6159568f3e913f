//! Claude's questions about tool calls, and what is said back.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::tools;
use crate::{
    model::PermissionOption,
    provider::{adapter::Answer, effect::Question, task::object},
};

/// Questions that are open, by Claude's id of the request.
#[derive(Debug, Default)]
pub struct Questions(BTreeMap<String, Open>);

#[derive(Debug)]
struct Open {
    call: String,
    input: Value,
    /// What an option that allows more than this call adds to Claude's rules.
    rules: BTreeMap<String, Value>,
}

/// What a decision leads to.
#[derive(Debug, PartialEq)]
pub struct Decision {
    /// The answer to the request.
    pub response: Value,
    /// The tool call that goes on, if it does.
    pub goes_on: Option<String>,
    /// The turn is stopped with it.
    pub stops: bool,
}

const ALLOW: &str = "allow";
const REJECT: &str = "reject";
const STOP: &str = "rejectAndStop";

/// What the model is told if nobody says more.
const REFUSAL: &str = "This was not allowed. Do not try it another way; go on without it or say what you need it for.";

impl Questions {
    /// A `can_use_tool` request as a question. Returns it with the tool call's id.
    pub fn ask(&mut self, id: &str, request: &Value, cwd: &str) -> (String, Question) {
        let name = request["tool_name"].as_str().unwrap_or("a tool");
        let input = &request["input"];
        let call = request["tool_use_id"].as_str().map_or_else(|| format!("question-{id}"), str::to_owned);
        let mut tool_call = object(json!({ "toolCallId": call, "status": "pending" }));
        tool_call.extend(tools::describe(name, input, cwd));
        let mut options = vec![option(ALLOW, "Allow", "allow_once")];
        let mut rules = BTreeMap::new();
        for suggestion in request["permission_suggestions"].as_array().into_iter().flatten() {
            if let Some(name) = wording(suggestion) {
                let id = format!("allowAlways{}", rules.len() + 1);
                options.push(option(&id, &name, "allow_always"));
                rules.insert(id, suggestion.clone());
            }
        }
        options.push(option(REJECT, "Reject", "reject_once"));
        options.push(option(STOP, "Reject and stop", "reject_once"));
        self.0.insert(id.to_owned(), Open { call: call.clone(), input: input.clone(), rules });
        (call, Question { id: id.to_owned(), tool_call, options })
    }

    /// A decision in Claude's words; `None`: it waits for no such answer.
    pub fn answer(&mut self, id: &str, answer: &Answer) -> Option<Decision> {
        let open = self.0.remove(id)?;
        let chosen = answer.option.as_deref();
        let rule = chosen.and_then(|option| open.rules.get(option));
        if chosen == Some(ALLOW) || rule.is_some() {
            let mut response = object(json!({ "behavior": "allow", "updatedInput": open.input }));
            if let Some(rule) = rule {
                response.insert("updatedPermissions".to_owned(), json!([rule]));
            }
            return Some(Decision { response: Value::Object(response), goes_on: Some(open.call), stops: false });
        }
        let stops = chosen == Some(STOP);
        let message = answer.message.as_deref().filter(|message| !message.trim().is_empty()).unwrap_or(REFUSAL);
        let response = json!({ "behavior": "deny", "message": message, "interrupt": stops });
        Some(Decision { response, goes_on: None, stops })
    }

    /// Claude does not wait any more. `false`: it did not ask.
    pub fn withdraw(&mut self, id: &str) -> bool {
        self.0.remove(id).is_some()
    }

    /// No question outlives its turn.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

fn option(id: &str, name: &str, kind: &str) -> PermissionOption {
    PermissionOption { option_id: id.to_owned(), name: name.to_owned(), kind: kind.to_owned() }
}

/// What a suggestion of Claude's allows, for a person; `None` for those that allow nothing, and for the one that would end all questions.
fn wording(suggestion: &Value) -> Option<String> {
    let scope = match suggestion["destination"].as_str() {
        Some("session") => " in this session",
        Some("localSettings" | "projectSettings") => " in this project",
        Some("userSettings") => " everywhere",
        _ => "",
    };
    match suggestion["type"].as_str()? {
        "addRules" if suggestion["behavior"] == "allow" => {
            let rule = |rule: &Value| {
                let tool = rule["toolName"].as_str()?;
                Some(rule["ruleContent"].as_str().map_or_else(|| tool.to_owned(), |content| format!("{tool}({content})")))
            };
            let rules: Vec<String> = suggestion["rules"].as_array()?.iter().filter_map(rule).collect();
            (!rules.is_empty()).then(|| format!("Always allow {}{scope}", rules.join(", ")))
        }
        "addDirectories" => {
            let directories: Vec<&str> = suggestion["directories"].as_array()?.iter().filter_map(Value::as_str).collect();
            (!directories.is_empty()).then(|| format!("Allow, and work in {}{scope}", directories.join(", ")))
        }
        "setMode" if suggestion["mode"] == "acceptEdits" => Some(format!("Allow, and accept all edits{scope}")),
        _ => None,
    }
}

/// The answer to a request of Claude's that is understood.
pub fn success(id: &str, response: &Value) -> Value {
    json!({ "type": "control_response", "response": { "subtype": "success", "request_id": id, "response": response } })
}

/// The answer to a request of Claude's that is not.
pub fn refused(id: &str, error: &str) -> Value {
    json!({ "type": "control_response", "response": { "subtype": "error", "request_id": id, "error": error } })
}

/// The texts of questions that no option can answer.
pub fn texts(input: &Value) -> String {
    let questions = input["questions"].as_array().into_iter().flatten();
    questions.filter_map(|question| question["question"].as_str()).collect::<Vec<_>>().join(" ")
}

/// What stands in a tool call while it waits or after it was allowed.
pub fn status(status: &str) -> Map<String, Value> {
    object(json!({ "status": status }))
}
