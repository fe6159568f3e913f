//! Claude's permission requests, and the responses to them.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::tools;
use crate::{
    model::{PermissionOption, task::object},
    provider::{Answer, ids::name_of, provider_event::PermissionRequest},
};

/// Open permission requests, by our names for them: Claude's request id, unless another request has it.
#[derive(Debug, Default)]
pub(crate) struct Questions(BTreeMap<String, OpenQuestion>);

#[derive(Debug)]
struct OpenQuestion {
    request_id: String,
    request: Value,
    call: String,
    /// The rule that each `allow_always` option adds to Claude's rules.
    rules: BTreeMap<String, Value>,
}

/// What follows from an answer.
#[derive(Debug, PartialEq)]
pub(crate) struct Decision {
    pub(crate) request_id: String,
    /// The response to the request.
    pub(crate) response: Value,
    /// The tool call that was asked about.
    pub(crate) call: String,
    /// The call was made for the request alone.
    pub(crate) is_own_call: bool,
    pub(crate) is_allowed: bool,
    /// The answer stops the turn.
    pub(crate) stops_turn: bool,
}

const ALLOW: &str = "allow";
const REJECT: &str = "reject";
const STOP: &str = "rejectAndStop";

/// The message to the model if the client adds none.
const DENIAL_MESSAGE: &str = "This was not allowed. Do not try it another way; continue without it, or say what you need it for.";

impl Questions {
    /// Opens a `can_use_tool` request. Returns the tool call's id with the permission request; `None` if Claude repeats
    /// one that is open.
    pub(crate) fn open(&mut self, id: &str, request: &Value, cwd: &str) -> Option<(String, PermissionRequest)> {
        let mut question = id.to_owned();
        while let Some(open) = self.0.get(&question) {
            if open.request == *request {
                return None;
            }
            question.push('\'');
        }
        let name = request["tool_name"].as_str().unwrap_or("a tool");
        let input = &request["input"];
        let call = name_of(&request["tool_use_id"]).unwrap_or_else(|| format!("question-{question}"));
        let mut tool_call = object(json!({ "toolCallId": call, "status": "pending" }));
        tool_call.extend(tools::describe(name, input, cwd));
        let mut options = vec![option(ALLOW, "Allow", "allow_once")];
        let mut rules = BTreeMap::new();
        for suggestion in request["permission_suggestions"].as_array().into_iter().flatten() {
            if let Some(name) = option_name(suggestion) {
                let id = format!("allowAlways{}", rules.len() + 1);
                options.push(option(&id, &name, "allow_always"));
                rules.insert(id, suggestion.clone());
            }
        }
        options.push(option(REJECT, "Reject", "reject_once"));
        options.push(option(STOP, "Reject and stop", "reject_once"));
        let open = OpenQuestion { request_id: id.to_owned(), request: request.clone(), call: call.clone(), rules };
        self.0.insert(question.clone(), open);
        Some((call, PermissionRequest { id: question, tool_call, options }))
    }

    /// Converts an answer for Claude. `None` means that no such request is open.
    pub(crate) fn answer(&mut self, id: &str, answer: &Answer) -> Option<Decision> {
        let open = self.0.remove(id)?;
        let chosen = answer.option.as_deref();
        let rule = chosen.and_then(|option| open.rules.get(option));
        let is_allowed = chosen == Some(ALLOW) || rule.is_some();
        let stops_turn = chosen == Some(STOP);
        let response = if is_allowed {
            let mut response = object(json!({ "behavior": "allow", "updatedInput": open.request["input"] }));
            response.extend(rule.map(|rule| ("updatedPermissions".to_owned(), json!([rule]))));
            Value::Object(response)
        } else {
            let message = answer.message.as_deref().filter(|message| !message.trim().is_empty()).unwrap_or(DENIAL_MESSAGE);
            json!({ "behavior": "deny", "message": message, "interrupt": stops_turn })
        };
        let is_own_call = name_of(&open.request["tool_use_id"]).is_none();
        Some(Decision { request_id: open.request_id, response, call: open.call, is_own_call, is_allowed, stops_turn })
    }

    /// Closes what Claude withdrew: the names of the requests with this id.
    pub(crate) fn withdraw(&mut self, id: &str) -> Vec<String> {
        self.0.extract_if(.., |_, open| open.request_id == id).map(|(question, _)| question).collect()
    }
}

fn option(id: &str, name: &str, kind: &str) -> PermissionOption {
    PermissionOption { option_id: id.to_owned(), name: name.to_owned(), kind: kind.to_owned() }
}

/// Describes for people what a suggestion of Claude's allows. `None` stands for those that allow nothing, and for the
/// one that would end all permission requests.
fn option_name(suggestion: &Value) -> Option<String> {
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

/// The response to a request that loomd understands.
pub(crate) fn success_response(id: &str, response: &Value) -> Value {
    json!({ "type": "control_response", "response": { "subtype": "success", "request_id": id, "response": response } })
}

/// The response to a request that loomd does not understand.
pub(crate) fn error_response(id: &str, error: &str) -> Value {
    json!({ "type": "control_response", "response": { "subtype": "error", "request_id": id, "error": error } })
}

/// The questions of `AskUserQuestion`, as one text.
pub(crate) fn question_texts(input: &Value) -> String {
    let questions = input["questions"].as_array().into_iter().flatten();
    questions.filter_map(|question| question["question"].as_str()).collect::<Vec<_>>().join(" ")
}

/// The `status` member of a tool call.
pub(crate) fn status_field(status: &str) -> Map<String, Value> {
    object(json!({ "status": status }))
}
