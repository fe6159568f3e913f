//! JSON-RPC as ACP agents speak it, one message a line, and the params of the requests that loomd sends. Both sides
//! number their requests for themselves, so the same id may occur on both.

use serde_json::{Map, Value, json};

use crate::{
    model::{calls::McpServer, task::object},
    provider::error_kind,
};

/// The code of an error response to a method that the receiver does not have.
pub(crate) const METHOD_NOT_FOUND: i64 = -32601;
/// The code of an error response to params that the receiver cannot use.
pub(crate) const INVALID_PARAMS: i64 = -32602;
/// The code with which an ACP agent says that something is not there.
pub(crate) const RESOURCE_NOT_FOUND: i64 = -32002;
/// The code with which an ACP agent says that it needs a login.
pub(crate) const AUTH_REQUIRED: i64 = -32000;

/// A message of the agent.
#[derive(Debug)]
pub(crate) enum AcpMessage {
    /// A request that has to be answered under the id that the agent gave it.
    Request {
        id: Value,
        method: String,
        params: Map<String, Value>,
    },
    Notification {
        method: String,
        params: Map<String, Value>,
    },
    /// The response to our request of this id. An error may name none: the agent could not read what it responds to.
    Response {
        id: Option<u64>,
        outcome: Result<Value, RpcError>,
    },
}

/// The error of a response, as far as it can be read.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct RpcError {
    pub(crate) code: i64,
    pub(crate) message: String,
    pub(crate) data: Value,
}

/// Reads a message. `None` if it is no JSON-RPC message, because some agents print other objects, too: those of a log
/// may even have an `id`.
pub(crate) fn parse(message: Value) -> Option<AcpMessage> {
    let mut members = object(message);
    let id = members.remove("id");
    if let Some(Value::String(method)) = members.remove("method") {
        let params = object(members.remove("params").unwrap_or_default());
        return Some(match id {
            Some(id) => AcpMessage::Request { id, method, params },
            None => AcpMessage::Notification { method, params },
        });
    }
    let outcome = match (members.remove("error"), members.remove("result")) {
        (Some(error), _) if !error.is_null() => Err(rpc_error(&error)),
        (_, Some(result)) => Ok(result),
        _ => return None,
    };
    let is_versioned = members.remove("jsonrpc").is_some();
    if !is_versioned && !members.is_empty() {
        return None;
    }
    let id = match id {
        Some(Value::Null) if outcome.is_err() => None,
        None if outcome.is_err() && is_versioned => None,
        // Some agents answer with the id as a string.
        id => Some(id.and_then(|id| id.as_u64().or_else(|| id.as_str()?.parse().ok()))?),
    };
    Some(AcpMessage::Response { id, outcome })
}

/// Reads an error in whatever shape it comes.
fn rpc_error(error: &Value) -> RpcError {
    let code = &error["code"];
    let number = code.as_i64().or_else(|| code.as_str()?.parse().ok());
    let message = error_kind::words(&error["message"]);
    // An error without a message says what it is in another member, or is a text itself.
    let other_words = || if error["data"].is_null() { error_kind::words(error) } else { None };
    let mut message = message.or_else(other_words).unwrap_or_default();
    if let Some(word) = code.as_str().filter(|word| number.is_none() && !message.contains(word)) {
        message = format!("{message} ({word})").trim().to_owned();
    }
    RpcError { code: number.unwrap_or_default(), message, data: error["data"].clone() }
}

pub(crate) fn request(id: u64, method: &str, params: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })
}

pub(crate) fn notification(method: &str, params: Value) -> Value {
    json!({ "jsonrpc": "2.0", "method": method, "params": params })
}

pub(crate) fn response(id: &Value, result: Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "result": result })
}

pub(crate) fn error_response(id: &Value, code: i64, message: &str) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "error": { "code": code, "message": message } })
}

/// The params of `initialize`. We offer neither files nor terminals: an agent that requests them gets an error
/// response.
pub(crate) fn initialize_params() -> Value {
    json!({
        "protocolVersion": 1,
        "clientCapabilities": {
            "fs": { "readTextFile": false, "writeTextFile": false },
            "terminal": false,
            "session": { "notices": {} },
            "auth": { "terminal": false },
        },
        "clientInfo": { "name": "loomd", "title": "loomd", "version": env!("CARGO_PKG_VERSION") },
    })
}

/// The params of `session/new`.
pub(crate) fn new_session_params(cwd: &str, servers: &[McpServer]) -> Value {
    json!({ "cwd": cwd, "mcpServers": servers })
}

/// The params of `session/load`. Those of `session/resume` are the same.
pub(crate) fn load_session_params(id: &str, cwd: &str, servers: &[McpServer]) -> Value {
    json!({ "mcpServers": servers, "cwd": cwd, "sessionId": id })
}

/// The params of `session/list`.
pub(crate) fn list_sessions_params(cwd: Option<&str>, cursor: Option<&str>) -> Value {
    let members = [("cwd", cwd), ("cursor", cursor)];
    members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), Value::from(value?)))).collect::<Map<_, _>>().into()
}

/// The object at a path of member names.
pub(crate) fn object_at<'a>(members: &'a Map<String, Value>, path: &[&str]) -> Option<&'a Map<String, Value>> {
    path.iter().try_fold(members, |members, name| members.get(*name)?.as_object())
}

/// The string at a path of member names.
pub(crate) fn text_at<'a>(value: &'a Value, path: &[&str]) -> Option<&'a str> {
    path.iter().try_fold(value, |value, name| value.get(name))?.as_str()
}

/// The response that selects an option, under the id that the agent gave it.
pub(super) fn selected(option: &Value) -> Value {
    json!({ "outcome": { "outcome": "selected", "optionId": option } })
}

/// The response if nobody selected an option. It allows nothing.
pub(super) fn cancelled() -> Value {
    json!({ "outcome": { "outcome": "cancelled" } })
}

#[cfg(test)]
mod tests {
    use serde::{Serialize, de::DeserializeOwned};

    use super::*;

    #[test]
    fn objects_that_are_no_messages_are_ignored() {
        for message in [
            json!({}),
            json!({ "id": {} }),
            json!({ "result": {} }),
            json!({ "id": 1 }),
            json!({ "level": "info", "msg": "request done", "id": 1, "duration_ms": 3 }),
            json!({ "level": "warn", "id": 1, "error": "retrying" }),
            json!({ "level": "warn", "error": "retrying" }),
        ] {
            assert!(parse(message.clone()).is_none(), "{message}");
        }
    }

    #[test]
    fn an_error_without_an_id_is_a_response_to_something() {
        for message in [json!({ "id": null, "error": { "code": -32700 } }), json!({ "jsonrpc": "2.0", "error": "no" })] {
            assert!(matches!(parse(message), Some(AcpMessage::Response { id: None, outcome: Err(_) })));
        }
    }

    #[test]
    fn a_message_with_an_id_and_a_method_is_a_request() {
        assert!(matches!(parse(json!({ "id": 1, "method": "m" })), Some(AcpMessage::Request { .. })));
        assert!(matches!(parse(json!({ "id": 1, "result": null })), Some(AcpMessage::Response { id: Some(1), outcome: Ok(Value::Null) })));
        assert!(matches!(
            parse(json!({ "id": "1", "error": { "code": "x" } })),
            Some(AcpMessage::Response { id: Some(1), outcome: Err(_) })
        ));
    }

    /// What is sent means the same to the protocol's own types, and nothing in it is unknown to them.
    #[test]
    fn what_is_sent_is_what_the_protocol_says() {
        use agent_client_protocol_schema::v1;
        fn check<T: DeserializeOwned + Serialize>(sent: &Value) {
            let understood: T = serde_json::from_value(sent.clone()).expect("understood");
            assert_eq!(&serde_json::to_value(understood).expect("JSON"), sent);
        }
        check::<v1::InitializeRequest>(&initialize_params());
        check::<v1::NewSessionRequest>(&new_session_params("/work", &[]));
        check::<v1::LoadSessionRequest>(&load_session_params("s", "/work", &[]));
        serde_json::from_value::<v1::ResumeSessionRequest>(load_session_params("s", "/work", &[])).expect("understood");
        check::<v1::ListSessionsRequest>(&list_sessions_params(None, None));
        check::<v1::ListSessionsRequest>(&list_sessions_params(Some("/work"), Some("next")));
        check::<v1::RequestPermissionResponse>(&selected(&json!("allow")));
        check::<v1::RequestPermissionResponse>(&cancelled());
    }
}
