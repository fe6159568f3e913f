//! What a tool answered, where its provider says it in the tool's own form alone.

use serde_json::{Map, Value};

/// Members of a tool's own output that say how it ended, not what it answered.
const OUTCOME_MEMBERS: &[&str] = &[
    "exitcode",
    "exit",
    "code",
    "status",
    "success",
    "ok",
    "signal",
    "duration",
    "durationms",
    "metadata",
    "truncated",
    "interrupted",
    "timedout",
    "iserror",
    "isimage",
    "pid",
    "cwd",
    "type",
];

/// The texts of an answer, else what there is as JSON.
pub(super) fn raw_output_text(raw: &Value) -> String {
    let members = match raw {
        Value::Object(members) => members,
        Value::String(text) => return text.clone(),
        Value::Array(values) if values.iter().any(|value| value["text"].is_string()) => {
            return values.iter().filter_map(|value| value["text"].as_str()).collect::<Vec<_>>().join("\n");
        }
        Value::Array(values) if values.is_empty() => return String::new(),
        Value::Null => return String::new(),
        other => return serde_json::to_string_pretty(other).unwrap_or_default(),
    };
    let names = ["output", "aggregated_output", "stdout", "stderr", "text", "result", "content", "message", "error"];
    let answers = names.iter().filter_map(|name| members.get(*name)).filter(|value| !value.is_null());
    let texts: Vec<String> = answers.map(raw_output_text).filter(|text| !text.is_empty()).collect();
    if !texts.is_empty() {
        return texts.join("\n");
    }
    let is_answer = |name: &String| {
        let plain: String = name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
        !names.contains(&name.as_str()) && !OUTCOME_MEMBERS.contains(&plain.as_str())
    };
    let rest: Map<String, Value> = members
        .iter()
        .filter(|(name, value)| is_answer(name) && !value.is_null())
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    if rest.is_empty() { String::new() } else { serde_json::to_string_pretty(&rest).unwrap_or_default() }
}
