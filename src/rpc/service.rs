//! From a method's name to its handler, and between our failures and jsonrpsee's error objects.
//!
//! The handlers live in jsonrpsee's `Methods`. Its own ways to call them know no notifications, no batches and
//! none of our extensions, so the connection calls them through the small service here.

use std::{
    convert::Infallible,
    future::{Future, ready},
};

use jsonrpsee::{
    MethodCallback, MethodResponse, Methods,
    core::middleware::{Batch, Notification, Request, RpcServiceT},
    types::{ErrorObject, ErrorObjectOwned, Params},
};
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::Segment;

use crate::model::{Failure, FailureKind};

/// Calls the handlers of `Methods`. Batches and notifications are taken apart before they come here.
#[derive(Clone)]
pub(super) struct Service(pub Methods);

impl RpcServiceT for Service {
    type MethodResponse = MethodResponse;
    type NotificationResponse = Option<Infallible>;
    type BatchResponse = Option<Infallible>;

    /// Nothing of the handler runs before the first poll.
    fn call<'a>(&self, request: Request<'a>) -> impl Future<Output = MethodResponse> + Send + 'a {
        let callback = self.0.method(&request.method).cloned();
        async move {
            let Request { id, method, params, extensions, .. } = request;
            let params = Params::new(params.as_ref().map(|params| params.get()));
            match callback {
                Some(MethodCallback::Sync(callback)) => callback(id, params, usize::MAX, extensions),
                Some(MethodCallback::Async(callback)) => {
                    let connection = jsonrpsee::ConnectionId::default();
                    callback(id.into_owned(), params.into_owned(), connection, usize::MAX, extensions).await
                }
                Some(MethodCallback::Subscription(_) | MethodCallback::Unsubscription(_)) | None => {
                    MethodResponse::error(id, ErrorObjectOwned::from(Failure::method_not_found(&method)))
                }
            }
        }
    }

    fn batch<'a>(&self, _: Batch<'a>) -> impl Future<Output = Option<Infallible>> + Send + 'a {
        ready(None)
    }

    fn notification<'a>(&self, _: Notification<'a>) -> impl Future<Output = Option<Infallible>> + Send + 'a {
        ready(None)
    }
}

/// Reads a method's params, which are an object or absent (see [`super::serve`]).
/// The failure names the member that is wrong (`field`), as a path with dots.
pub fn params<T: DeserializeOwned>(params: &Params<'_>) -> Result<T, Failure> {
    read_params(params.as_str())
}

/// As [`params`], for notifications.
pub fn read_params<T: DeserializeOwned>(raw: Option<&str>) -> Result<T, Failure> {
    let raw = raw.unwrap_or("{}");
    let mut reader = serde_json::Deserializer::from_str(raw);
    serde_path_to_error::deserialize(&mut reader).or_else(|error| plainly(raw).ok_or(error)).map_err(|error| {
        let mut path = String::new();
        for segment in error.path() {
            match segment {
                Segment::Seq { index } => path.push_str(&format!("[{index}]")),
                Segment::Map { key } if path.is_empty() => path.push_str(key),
                Segment::Map { key } => path.push_str(&format!(".{key}")),
                // They stand for no member of the JSON.
                Segment::Enum { .. } | Segment::Unknown => {}
            }
        }
        explain(path, &error.inner().to_string())
    })
}

/// Reads params again as a lenient reader would: a member that is null is absent (but in `env`, where it means
/// something), and `1.0` is a whole number.
fn plainly<T: DeserializeOwned>(raw: &str) -> Option<T> {
    let mut params: Value = serde_json::from_str(raw).ok()?;
    make_plain(&mut params);
    serde_json::from_value(params).ok()
}

fn make_plain(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, value| !value.is_null());
            members.iter_mut().filter(|(name, _)| *name != "env").for_each(|(_, value)| make_plain(value));
        }
        Value::Array(items) => items.iter_mut().for_each(make_plain),
        Value::Number(number) => {
            // Up to here every whole number has a float of its own.
            let whole = number.as_f64().filter(|float| number.is_f64() && float.fract() == 0.0 && float.abs() <= 9_007_199_254_740_992.0);
            if let Some(float) = whole {
                *value = Value::from(float as i64);
            }
        }
        _ => {}
    }
}

/// One sentence out of what serde says about the member at `path`.
fn explain(path: String, said: &str) -> Failure {
    // The position is one in the params alone, which nobody sees.
    let said = said.rsplit_once(" at line ").map_or(said, |(said, _)| said);
    if let Some(name) = said.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`')) {
        let field = if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        return Failure::invalid_params(&field, format!("`{field}` is missing"));
    }
    let field = if path.is_empty() { "params".to_owned() } else { path };
    let found = said.rsplit_once(", expected ").map(|(found, expected)| {
        let found = found.strip_prefix("unknown variant ").unwrap_or(found);
        let found = found.split_once(": ").map_or(found, |(_, found)| found);
        (shortened(found), plain(expected))
    });
    let message = match (found, said.strip_prefix("expected ")) {
        (Some((found, expected)), _) => format!("`{field}` must be {expected}, not {found}"),
        (None, Some(expected)) => format!("`{field}` must be {}", plain(expected)),
        (None, None) => format!("`{field}` is not understood: {}", shortened(said)),
    };
    Failure::invalid_params(&field, message)
}

/// The words of a type for people who do not write Rust.
fn plain(expected: &str) -> &str {
    match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number that is not negative",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "f32" | "f64" => "a number",
        "a sequence" => "a list",
        "a map" => "an object",
        _ if expected.starts_with("struct ") => "an object",
        _ => expected,
    }
}

/// What was found may be the client's whole prompt.
fn shortened(found: &str) -> String {
    const MOST: usize = 80;
    if found.chars().count() <= MOST { found.to_owned() } else { found.chars().take(MOST).chain(['…']).collect() }
}

impl From<Failure> for ErrorObjectOwned {
    fn from(failure: Failure) -> Self {
        ErrorObject::owned(failure.code(), failure.message.clone(), Some(failure.wire_data()))
    }
}

/// An error answer as the failure that it was. Where `data` names no kind that we know, the code decides.
pub(super) fn failure_of(error: &ErrorObject<'_>) -> Failure {
    let data = error.data().and_then(|data| serde_json::from_str::<Value>(data.get()).ok());
    let mut data = match data {
        Some(Value::Object(data)) => data,
        _ => serde_json::Map::new(),
    };
    let kind = data.remove("kind").and_then(|kind| serde_json::from_value(kind).ok());
    let by_code = || FailureKind::ALL.into_iter().find(|kind| kind.code() == error.code());
    let kind = kind.or_else(by_code).unwrap_or(FailureKind::Internal);
    Failure { kind, message: error.message().to_owned(), data }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::calls::{InitializeParams, ListParams, RunIdParams, StartParams};

    fn refused<T: DeserializeOwned>(raw: &str) -> (String, String) {
        let failure = read_params::<T>(Some(raw)).err().expect("is refused");
        assert_eq!(failure.kind, FailureKind::InvalidParams);
        (failure.data["field"].as_str().expect("a text").to_owned(), failure.message)
    }

    fn said(field: &str, message: &str) -> (String, String) {
        (field.to_owned(), message.to_owned())
    }

    #[test]
    fn the_failure_names_the_member_and_what_it_must_be() {
        assert_eq!(refused::<StartParams>("{}"), said("provider", "`provider` is missing"));
        assert_eq!(refused::<StartParams>(r#"{"provider":"x","title":5}"#), said("title", "`title` must be a string, not integer `5`"));
        assert_eq!(
            refused::<StartParams>(r#"{"provider":"x","command":["a",null]}"#),
            said("command[1]", "`command[1]` must be a string, not null")
        );
        assert_eq!(
            refused::<StartParams>(r#"{"provider":"x","permissions":"maybe"}"#),
            said("permissions", "`permissions` must be one of `ask`, `acceptEdits`, `readOnly`, `bypass`, not `maybe`")
        );
        assert_eq!(refused::<StartParams>(r#"{"provider":"x","onDisconnect":"a, expected b"}"#).0, "onDisconnect");
        assert_eq!(
            refused::<StartParams>(r#"{"provider":"x","prompt":5}"#),
            said("prompt", "`prompt` must be a string or a list of content blocks")
        );
        assert_eq!(
            refused::<InitializeParams>(r#"{"protocolVersion":1,"capabilities":{"output":{"minIntervalMs":"1"}}}"#),
            said(
                "capabilities.output.minIntervalMs",
                "`capabilities.output.minIntervalMs` must be a whole number that is not negative, not string \"1\""
            )
        );
        assert_eq!(
            refused::<InitializeParams>(r#"{"protocolVersion":1,"clientInfo":{}}"#),
            said("clientInfo.name", "`clientInfo.name` is missing")
        );
        let long = refused::<StartParams>(&format!(r#"{{"provider":"x","env":"{}"}}"#, "y".repeat(10_000))).1;
        assert!(long.starts_with("`env` must be an object") && long.len() < 200, "{long}");
        assert_eq!(refused::<RunIdParams>(r#"{"runId":"x"}"#).0, "runId");
    }

    #[test]
    fn no_params_are_the_empty_object() {
        assert_eq!(read_params::<ListParams>(None).expect("reads"), ListParams::default());
    }

    #[test]
    fn a_failure_comes_back_as_it_was() {
        for kind in FailureKind::ALL {
            let failure = Failure::new(kind, "what to do").with("field", "a.b").with("known", vec!["x".to_owned()]);
            assert_eq!(failure_of(&ErrorObjectOwned::from(failure.clone())), failure);
        }
    }

    #[test]
    fn an_error_of_somebody_else_is_known_by_its_code() {
        let kind = |code| failure_of(&ErrorObject::owned(code, "said", Some("text"))).kind;
        assert_eq!(kind(-32601), FailureKind::MethodNotFound);
        assert_eq!(kind(-1), FailureKind::Internal);
    }
}
