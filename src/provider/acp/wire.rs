//! JSON-RPC as agents of the Agent Client Protocol speak it: one message a line, ids of both sides from spaces of their own.

use serde_json::{Map, Value, json};

use crate::provider::task::object;

/// What an agent said.
#[derive(Debug)]
pub enum Message {
    /// It wants an answer, under its own id.
    Request {
        id: Value,
        method: String,
        params: Map<String, Value>,
    },
    Notification {
        method: String,
        params: Map<String, Value>,
    },
    /// The answer to our request of this id.
    Answer {
        id: u64,
        outcome: Result<Value, RpcError>,
    },
}

/// An error answer, as far as it can be read.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RpcError {
    pub code: i64,
    pub message: String,
    pub data: Value,
}

/// Reads a line. Whatever is no message of JSON-RPC is `None`: agents print other things, too.
pub fn parse(line: &[u8]) -> Option<Message> {
    let mut members = object(serde_json::from_slice(line).ok()?);
    let id = members.remove("id");
    if let Some(Value::String(method)) = members.remove("method") {
        let params = object(members.remove("params").unwrap_or_default());
        return Some(match id {
            Some(id) => Message::Request { id, method, params },
            None => Message::Notification { method, params },
        });
    }
    let id = id?;
    // Some implementations answer numbers as texts.
    let id = id.as_u64().or_else(|| id.as_str()?.parse().ok())?;
    let outcome = match members.remove("error") {
        Some(error) if !error.is_null() => Err(rpc_error(error)),
        _ => Ok(members.remove("result").unwrap_or_default()),
    };
    Some(Message::Answer { id, outcome })
}

fn rpc_error(error: Value) -> RpcError {
    let mut members = object(error);
    RpcError {
        code: members.get("code").and_then(Value::as_i64).unwrap_or_default(),
        message: members.get("message").and_then(Value::as_str).unwrap_or_default().to_owned(),
        data: members.remove("data").unwrap_or_default(),
    }
}

pub fn request(id: u64, method: &str, params: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })
}

pub fn notification(method: &str, params: Value) -> Value {
    json!({ "jsonrpc": "2.0", "method": method, "params": params })
}

pub fn result(id: &Value, result: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "result": result })
}

pub fn refusal(id: &Value, code: i64, message: &str) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message } })
}

/// The object at a path of names.
pub fn object_at<'a>(members: &'a Map<String, Value>, path: &[&str]) -> Option<&'a Map<String, Value>> {
    path.iter().try_fold(members, |members, name| members.get(*name)?.as_object())
}

/// The text at a path of names.
pub fn text_at<'a>(value: &'a Value, path: &[&str]) -> Option<&'a str> {
    path.iter().try_fold(value, |value, name| value.get(name))?.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_message_is_nothing() {
        for line in ["", "{", "[]", "7", "null", "Listening on port 3", r#"{"id":{}}"#, r#"{"result":{}}"#, "\u{feff}{}"] {
            assert!(parse(line.as_bytes()).is_none(), "{line}");
        }
        assert!(parse(&[0xff, 0xfe]).is_none());
    }

    #[test]
    fn an_id_alone_does_not_make_an_answer_of_a_request() {
        assert!(matches!(parse(br#"{"id":1,"method":"m"}"#), Some(Message::Request { .. })));
        assert!(matches!(parse(br#"{"id":1,"result":null}"#), Some(Message::Answer { id: 1, outcome: Ok(Value::Null) })));
        assert!(matches!(parse(br#"{"id":"1","error":{"code":"x"}}"#), Some(Message::Answer { id: 1, outcome: Err(_) })));
    }
}
