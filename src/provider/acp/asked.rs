//! Questions of the agent's to a person, and what is answered.

use agent_client_protocol_schema::v1::{RequestPermissionOutcome, RequestPermissionResponse, SelectedPermissionOutcome};
use serde_json::{Map, Value};

use super::wire::text_at;
use crate::{model::PermissionOption, provider::effect::Question};

/// The question in a `session/request_permission`; `None` if it cannot be put to anybody.
pub fn question(id: &Value, mut params: Map<String, Value>) -> Option<Question> {
    let Some(Value::Object(tool_call)) = params.remove("toolCall") else { return None };
    tool_call.get("toolCallId")?.as_str()?;
    let options = params.get("options")?.as_array()?.iter().filter_map(|option| {
        let option_id = text_at(option, &["optionId"])?.to_owned();
        let name = text_at(option, &["name"]).unwrap_or(&option_id).to_owned();
        // What it would mean is not known, so no policy chooses it.
        let kind = text_at(option, &["kind"]).unwrap_or("other").to_owned();
        Some(PermissionOption { option_id, name, kind })
    });
    let options: Vec<PermissionOption> = options.collect();
    (!options.is_empty()).then(|| Question { id: id.to_string(), tool_call, options })
}

/// The answer that chooses an option.
pub fn chosen(option: &str) -> Value {
    answer(RequestPermissionOutcome::Selected(SelectedPermissionOutcome::new(option.to_owned())))
}

/// The answer of nobody: nothing is allowed.
pub fn nobody() -> Value {
    answer(RequestPermissionOutcome::Cancelled)
}

fn answer(outcome: RequestPermissionOutcome) -> Value {
    serde_json::to_value(RequestPermissionResponse::new(outcome)).expect("answers always have a JSON form")
}
