//! Turns the errors of providers into errors of the protocol.

use serde_json::Value;

use crate::model::RunError;

/// An error that the provider reported. Its kind follows from the HTTP status of the model's service, if the provider
/// reported one, else from the words of the message.
pub(crate) fn provider_error(status: Option<u16>, message: &str) -> RunError {
    let lower = message.to_lowercase();
    let contains_any = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    let kind = match status {
        Some(401 | 403) => "auth",
        Some(429 | 529) => "rateLimit",
        Some(_) => "provider",
        None if contains_any(&[
            "401",
            "unauthorized",
            "authentication",
            "api key",
            "not logged in",
            "please log in",
            "login required",
            "auth_required",
        ]) =>
        {
            "auth"
        }
        None if contains_any(&["429", "529", "rate limit", "rate_limit", "overloaded", "too many requests", "usage limit", "quota"]) => {
            "rateLimit"
        }
        None => "provider",
    };
    RunError { kind: kind.to_owned(), message: one_line(message) }
}

/// Members of an error in which providers say what happened, best first.
const WORD_MEMBERS: &[&str] = &[
    "message",
    "error",
    "details",
    "detail",
    "reason",
    "description",
    "error_description",
    "title",
    "text",
    "msg",
    "errors",
    "cause",
    "name",
];

/// The words of an error, in whatever shape a provider puts them: a text, a list, objects in objects, or JSON in a text.
pub(crate) fn words(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if text.trim().is_empty() => None,
        Value::String(text) => {
            let nested: Option<Value> = if text.trim_start().starts_with('{') { serde_json::from_str(text).ok() } else { None };
            nested.as_ref().and_then(words).or_else(|| Some(text.clone()))
        }
        Value::Array(values) => {
            let texts: Vec<String> = values.iter().filter_map(words).collect();
            (!texts.is_empty()).then(|| texts.join("; "))
        }
        Value::Object(members) => WORD_MEMBERS.iter().find_map(|name| words(members.get(*name)?)),
        _ => None,
    }
}

/// The HTTP status that an error names somewhere.
pub(crate) fn status_in(value: &Value) -> Option<u16> {
    match value {
        Value::Object(members) => {
            let number = |name: &&str| {
                let value = members.get(*name)?;
                value.as_u64().or_else(|| value.as_str()?.parse().ok())
            };
            let names = ["status", "statusCode", "status_code", "httpStatus", "http_status", "httpStatusCode", "code"];
            let status = names.iter().filter_map(number).find_map(|number| u16::try_from(number).ok().filter(|it| (400..600).contains(it)));
            status.or_else(|| members.values().find_map(status_in))
        }
        Value::String(text) if text.trim_start().starts_with('{') => status_in(&serde_json::from_str(text).ok()?),
        _ => None,
    }
}

/// Whether these words say that a session is not there, and not that something else went wrong with it.
pub(crate) fn is_unknown_session(text: &str) -> bool {
    let lower = text.to_lowercase();
    let contains_any = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    let absent =
        ["not found", "no such", "unknown", "not exist", "doesn't exist", "not find", "no previous", "no saved", "no conversation"];
    let absent = contains_any(&absent) || contains_any(&["no rollout", "no session", "no thread", "invalid session", "another session"]);
    absent && contains_any(&["session", "conversation", "thread", "rollout", "chat", "resource"])
}

/// The provider does not know the session that was to be resumed.
pub(crate) fn session_not_found(id: &str, provider: &str) -> RunError {
    let message = format!("{provider} has no session {id}; it may have been deleted, or it belongs to another directory or user");
    RunError { kind: "sessionNotFound".to_owned(), message }
}

/// What the program wrote was no valid reply of its protocol.
pub(crate) fn protocol_error(message: &str) -> RunError {
    RunError { kind: "protocol".to_owned(), message: one_line(message) }
}

/// The longest message. The log has what is cut off, as output.
const MAX_MESSAGE_BYTES: usize = 2000;

/// The message on one line, cut to [`MAX_MESSAGE_BYTES`].
fn one_line(message: &str) -> String {
    let mut one_line = message.split_whitespace().collect::<Vec<_>>().join(" ");
    if one_line.len() > MAX_MESSAGE_BYTES {
        one_line.truncate(one_line.floor_char_boundary(MAX_MESSAGE_BYTES));
        one_line.push('…');
    }
    one_line
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn words_and_status_are_found_in_whatever_shape_an_error_has() {
        for (error, expected) in [
            (json!("quota exceeded"), "quota exceeded"),
            (json!({ "error": { "message": "no quota", "code": 429 } }), "no quota"),
            (json!({ "message": { "text": "nested" } }), "nested"),
            (json!(["a", { "reason": "b" }]), "a; b"),
            (json!({ "message": r#"{"error":{"message":"in a text"}}"# }), "in a text"),
            (json!({ "message": "{ no JSON" }), "{ no JSON"),
        ] {
            assert_eq!(words(&error).as_deref(), Some(expected), "{error}");
        }
        assert_eq!(words(&json!({ "code": 7, "x": [] })), None);
        assert_eq!(status_in(&json!({ "data": { "error": { "statusCode": "429" } }, "code": -32603 })), Some(429));
        assert_eq!(status_in(&json!({ "code": 7 })), None);
    }

    #[test]
    fn only_a_session_that_is_not_there_is_unknown() {
        for text in [
            "No conversation found with session ID x",
            "no rollout found for thread id x",
            "Session \"x\" not found",
            "Resource not found: s",
        ] {
            assert!(is_unknown_session(text), "{text}");
        }
        for text in ["You exceeded your quota in this session", "model not found", "the session is locked", "Internal error"] {
            assert!(!is_unknown_session(text), "{text}");
        }
    }

    #[test]
    fn the_status_decides_before_the_message() {
        assert_eq!(provider_error(Some(401), "no").kind, "auth");
        assert_eq!(provider_error(Some(529), "Overloaded").kind, "rateLimit");
        assert_eq!(provider_error(Some(500), "the api key service is down").kind, "provider");
        assert_eq!(provider_error(None, "Invalid API key · Please run /login").kind, "auth");
        assert_eq!(provider_error(None, "exceeded retry limit, last status: 429 Too Many Requests").kind, "rateLimit");
        assert_eq!(provider_error(None, "boom\n at x").message, "boom at x");
    }
}
