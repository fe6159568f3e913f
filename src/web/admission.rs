//! Who is let in: requests to a name of ours, from a page of ours, and WebSockets that know the token.
//!
//! Any site that the user visits can make the browser send requests to a loopback address, and can let its own name lead
//! there (DNS rebinding). `Host` tells the name that the browser was given, `Origin` the page that asks; a page can set
//! neither. Other users of this machine can set both; the token keeps them out.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, Method, StatusCode, Uri, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use uuid::Uuid;

use super::site::Site;
use crate::model::Failure;

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

/// Answers what is not let in, and passes on the rest.
pub(super) async fn admit(State(site): State<Arc<Site>>, request: Request, next: Next) -> Response {
    match refusal(&site.hosts, request.method(), request.uri(), request.headers()) {
        Some(reason) => (StatusCode::FORBIDDEN, reason).into_response(),
        None => next.run(request).await,
    }
}

/// Why a request is not let in.
fn refusal(hosts: &Hosts, method: &Method, uri: &Uri, headers: &HeaderMap) -> Option<&'static str> {
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
}
