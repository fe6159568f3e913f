//! The requests by which an agent is greeted and its session is opened.

use agent_client_protocol_schema::{
    ProtocolVersion,
    v1::{
        ClientCapabilities, ClientSessionCapabilities, Implementation, InitializeRequest, ListSessionsRequest, LoadSessionRequest,
        NewSessionRequest, NoticeCapabilities,
    },
};
use serde::Serialize;
use serde_json::Value;

/// Who we are. Files and terminals are the agent's own affair: an agent that asks for them is told that they are not offered.
pub fn initialize() -> Value {
    let capabilities = ClientCapabilities::new().session(ClientSessionCapabilities::new().notices(NoticeCapabilities::new()));
    let us = Implementation::new("loomd", env!("CARGO_PKG_VERSION")).title("loomd".to_owned());
    params(&InitializeRequest::new(ProtocolVersion::V1).client_capabilities(capabilities).client_info(us))
}

pub fn new_session(cwd: &str) -> Value {
    params(&NewSessionRequest::new(cwd))
}

/// Of `session/load`, and of `session/resume`, which takes the same.
pub fn old_session(id: &str, cwd: &str) -> Value {
    params(&LoadSessionRequest::new(id.to_owned(), cwd))
}

pub fn list_sessions(cwd: Option<&str>, cursor: Option<&str>) -> Value {
    let mut request = ListSessionsRequest::new();
    request.cwd = cwd.map(Into::into);
    request.cursor = cursor.map(str::to_owned);
    params(&request)
}

fn params(request: &impl Serialize) -> Value {
    serde_json::to_value(request).expect("requests always have a JSON form")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_offered_that_is_not_done() {
        let said = initialize();
        let capabilities = &said["clientCapabilities"];
        assert_eq!(capabilities["fs"]["readTextFile"], false);
        assert_eq!(capabilities["fs"]["writeTextFile"], false);
        assert_eq!(capabilities["terminal"], false);
        assert_eq!(said["protocolVersion"], 1);
    }
}
