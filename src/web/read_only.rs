//! What passes under `--read-only`: requests by methods that only read.
//!
//! A message that passes is written anew from what was understood of it, so that the server cannot understand another
//! one than we did.

use serde_json::{Map, Value, json};

use crate::model::{Failure, FailureKind, methods::MethodName};

/// What becomes of a message.
#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    /// The server gets this.
    Pass(String),
    /// The page gets this, and the server nothing.
    Answer(String),
    /// A notification that is not passed on, which has no answer.
    Drop,
}

/// The notifications of a client. None of them changes a run.
const NOTIFICATIONS: [&str; 3] = ["initialized", "exit", "$/cancelRequest"];

/// Judges one message of a page.
pub(super) fn judge(text: &str) -> Verdict {
    let Ok(message) = serde_json::from_str::<Map<String, Value>>(text) else {
        return answer(&Value::Null, &Failure::invalid_request("each message must be one request, as a JSON object"));
    };
    let Some(name) = message.get("method").and_then(Value::as_str) else {
        return answer(&Value::Null, &Failure::invalid_request("the message has no method"));
    };
    if NOTIFICATIONS.contains(&name) && !message.contains_key("id") {
        return Verdict::Pass(Value::Object(message).to_string());
    }
    match refusal(name, message.get("params")) {
        None => Verdict::Pass(Value::Object(message).to_string()),
        Some(failure) => message.get("id").map_or(Verdict::Drop, |id| answer(id, &failure)),
    }
}

fn refusal(name: &str, params: Option<&Value>) -> Option<Failure> {
    let Some(method) = MethodName::find(name) else { return Some(Failure::method_not_found(name)) };
    // With a path, an export writes a file.
    let writes_file = method == MethodName::RunExport && params.and_then(|params| params.get("path")).is_some();
    (!method.only_reads() || writes_file).then(|| {
        let message = format!("`{name}` is refused, because loomd web was started with --read-only");
        Failure::new(FailureKind::Forbidden, message)
    })
}

fn answer(id: &Value, failure: &Failure) -> Verdict {
    let mut data = failure.data.clone();
    data.insert("kind".to_owned(), failure.kind.as_str().into());
    let error = json!({ "code": failure.kind.code(), "message": failure.message, "data": data });
    Verdict::Answer(json!({ "jsonrpc": "2.0", "id": id, "error": error }).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> Value {
        match judge(text) {
            Verdict::Answer(answer) => serde_json::from_str::<Value>(&answer).expect("JSON")["error"]["data"]["kind"].clone(),
            other => panic!("{text} was not refused but {other:?}"),
        }
    }

    #[test]
    fn only_methods_that_read_pass() {
        for method in MethodName::ALL {
            let text = json!({ "jsonrpc": "2.0", "id": 1, "method": method.as_str(), "params": {} }).to_string();
            if method.only_reads() {
                assert!(matches!(judge(&text), Verdict::Pass(_)), "{}", method.as_str());
            } else {
                assert_eq!(refused(&text), "forbidden", "{}", method.as_str());
            }
        }
    }

    #[test]
    fn a_change_does_not_pass_in_disguise() {
        for text in [
            r#"{"jsonrpc":"2.0","id":1,"method":"run\/cancel","params":{}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"run/get","params":{},"method":"run/cancel"}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"run/export","params":{"runId":"x","format":"text","path":"/tmp/x"}}"#,
        ] {
            assert_eq!(refused(text), "forbidden", "{text}");
        }
        assert_eq!(refused(r#"[{"jsonrpc":"2.0","id":1,"method":"run/cancel","params":{}}]"#), "invalidRequest");
        assert_eq!(refused("no JSON"), "invalidRequest");
        assert_eq!(refused(r#"{"jsonrpc":"2.0","id":1,"method":"initialized/x"}"#), "methodNotFound");
        assert_eq!(judge(r#"{"jsonrpc":"2.0","method":"run/cancel","params":{}}"#), Verdict::Drop);
        // What the server gets is what was judged: the later of two members.
        let twice = r#"{"jsonrpc":"2.0","id":1,"method":"run/cancel","method":"run/get","params":{}}"#;
        assert_eq!(judge(twice), Verdict::Pass(r#"{"jsonrpc":"2.0","id":1,"method":"run/get","params":{}}"#.to_owned()));
    }
}
