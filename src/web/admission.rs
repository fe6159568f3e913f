//! Who is let in: requests to a name of ours, from a page of ours, and WebSockets that know the token.
//!
//! Any site that the user visits can make the browser send requests to a loopback address, and can let its own name lead
//! there (DNS rebinding). `Host` tells the name that the browser was given, `Origin` the page that asks; a page can set
//! neither. Other users of this machine can set both; the token keeps them out.
//!
//! Under `--read-only` a page that is let in gets requests through only by methods that read. A message that passes is
//! written anew from what was understood of it, so that the server cannot understand another one than we did.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, Method, StatusCode, Uri, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::{
    client::ServerLaunch,
    model::{Failure, FailureKind, methods::MethodName},
};

/// The secret of one start, without which a WebSocket is closed.
pub(super) struct Token(String);

impl Token {
    /// A token of 122 random bits.
    pub(super) fn random() -> Self {
        Self(Uuid::new_v4().simple().to_string())
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// Compares in a time that tells nothing about the token: two hashes are compared in constant time.
    pub(super) fn matches(&self, given: &str) -> bool {
        blake3::hash(given.as_bytes()) == blake3::hash(self.0.as_bytes())
    }
}

/// The host names to which we answer.
pub(super) struct Hosts(Vec<String>);

impl Hosts {
    /// The names and numbers of the loopback interface, and those that the user allows.
    pub(super) fn new(allowed: Vec<String>) -> Result<Self, Failure> {
        let is_name = |name: &String| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'));
        if let Some(bad) = allowed.iter().find(|name| !is_name(name)) {
            return Err(Failure::invalid_params("allow-host", format!("`{bad}` is no host name: give a name without scheme and port")));
        }
        let own = ["localhost", "127.0.0.1", "[::1]"].map(str::to_owned);
        Ok(Self(own.into_iter().chain(allowed.into_iter().map(|name| name.to_ascii_lowercase())).collect()))
    }

    /// Whether an authority (`NAME` or `NAME:PORT`) names us. The port may be any: a tunnel has its own.
    fn include(&self, authority: &str) -> bool {
        let (name, port) = match authority.rsplit_once(':') {
            Some((name, port)) if !port.contains(']') => (name, port),
            _ => (authority, ""),
        };
        port.bytes().all(|byte| byte.is_ascii_digit()) && self.0.contains(&name.to_ascii_lowercase())
    }
}

/// Most pages that are connected at a time. Each has a server of its own.
const MAX_CONNECTIONS: usize = 32;

/// Most WebSockets that have not sent the token yet.
const MAX_UNKNOWN_CONNECTIONS: usize = 8;

/// What all connections share.
pub(super) struct Site {
    pub(super) launch: ServerLaunch,
    pub(super) read_only: bool,
    pub(super) token: Token,
    pub(super) hosts: Hosts,
    pub(super) connections: Arc<Semaphore>,
    pub(super) unknown_connections: Arc<Semaphore>,
}

impl Site {
    /// With a token of its own.
    pub(super) fn new(launch: ServerLaunch, read_only: bool, hosts: Hosts) -> Self {
        Self {
            launch,
            read_only,
            token: Token::random(),
            hosts,
            connections: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
            unknown_connections: Arc::new(Semaphore::new(MAX_UNKNOWN_CONNECTIONS)),
        }
    }
}

/// Answers what is not let in, and passes on the rest.
pub(super) async fn admit(State(site): State<Arc<Site>>, request: Request, next: Next) -> Response {
    match denial(&site.hosts, request.method(), request.uri(), request.headers()) {
        Some(reason) => (StatusCode::FORBIDDEN, reason).into_response(),
        None => next.run(request).await,
    }
}

/// Why a request is not let in.
fn denial(hosts: &Hosts, method: &Method, uri: &Uri, headers: &HeaderMap) -> Option<&'static str> {
    let Some(host) = only(headers, header::HOST) else { return Some("the request has no host") };
    if !hosts.include(host) || uri.authority().is_some_and(|authority| authority.as_str() != host) {
        return Some("loomd web does not answer to this host name; --allow-host allows one more");
    }
    let is_plain_read = matches!(*method, Method::GET | Method::HEAD) && !headers.contains_key(header::UPGRADE);
    let is_from_page = || {
        let authority = only(headers, header::ORIGIN).and_then(|origin| origin.strip_prefix("http://").or(origin.strip_prefix("https://")));
        authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
    };
    (!is_plain_read && !is_from_page()).then_some("the request does not come from the page of this loomd web")
}

/// The value of a header that must not be given twice.
fn only(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

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

    #[test]
    fn a_host_is_a_loopback_name_or_number_or_one_that_was_allowed() {
        let hosts = Hosts::new(vec!["Box.example".to_owned()]).expect("names");
        for own in ["localhost", "LOCALHOST:80", "127.0.0.1:4123", "[::1]:4123", "[::1]", "box.example", "BOX.example:443"] {
            assert!(hosts.include(own), "{own}");
        }
        for other in [
            "",
            ":80",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "127.0.0.2",
            "localhost:80@evil",
            "x.box.example",
            "0.0.0.0",
        ] {
            assert!(!hosts.include(other), "{other}");
        }
        for bad in ["http://box.example", "box:80", "*", ""] {
            assert!(Hosts::new(vec![bad.to_owned()]).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_token_is_random_and_compared_whole() {
        let token = Token::random();
        assert!(token.matches(token.as_str()) && token.as_str().len() == 32);
        assert_ne!(token.as_str(), Token::random().as_str());
        for wrong in ["", &token.as_str()[1..], &format!("{}0", token.as_str())] {
            assert!(!token.matches(wrong), "{wrong}");
        }
    }

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
