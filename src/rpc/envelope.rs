//! Splits a frame into its JSON-RPC messages and classifies them, without parsing their params.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::model::Failure;

/// Most members of a batch. The answer to a member can be many times as large as the member, so a full frame of them
/// must be limited.
pub(super) const MAX_BATCH_MEMBERS: usize = 1000;

/// What a frame holds.
pub(super) enum Frame<'a> {
    One(Message<'a>),
    /// A batch of at least one member. The caller reads each with [`message`].
    Batch(Vec<&'a RawValue>),
    /// Not JSON, or a batch that is refused. The answer is this failure with the id null.
    Invalid(Failure),
}

/// One message.
#[derive(Debug)]
pub(super) enum Message<'a> {
    Request {
        id: &'a RawValue,
        method: String,
        params: Params<'a>,
    },
    Notification {
        method: String,
        params: Option<&'a RawValue>,
    },
    /// An answer to a request of ours: the result or the error.
    Response {
        id: &'a RawValue,
        outcome: Result<&'a RawValue, &'a RawValue>,
    },
    /// JSON, but no valid message. The answer is this failure with the message's id, or with null where the id is
    /// unusable.
    Invalid {
        id: Option<&'a RawValue>,
        failure: Failure,
    },
}

/// A request's params: an object or nothing, or a failure.
pub(super) type Params<'a> = Result<Option<&'a RawValue>, Failure>;

/// The members of a message. `None` means absent; a member that is `null` is a value, unlike serde's default.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default, deserialize_with = "present")]
    jsonrpc: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    method: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    params: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    result: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    error: Option<&'a RawValue>,
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// Reads a frame: one message or a batch.
pub(super) fn frame(bytes: &[u8]) -> Frame<'_> {
    let text = match simdutf8::compat::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => return Frame::Invalid(Failure::parse(format!("the message is not UTF-8 from byte {} on", error.valid_up_to()))),
    };
    if !text.trim_ascii_start().starts_with('[') {
        return match message(text) {
            Ok(message) => Frame::One(message),
            Err(failure) => Frame::Invalid(failure),
        };
    }
    match serde_json::from_str::<Members<'_>>(text) {
        Err(error) => Frame::Invalid(malformed(&error)),
        Ok(Members { total: 0, .. }) => Frame::Invalid(Failure::invalid_request("the batch is empty")),
        Ok(Members { total, .. }) if total > MAX_BATCH_MEMBERS => {
            let message = format!("the batch has {total} members; send at most {MAX_BATCH_MEMBERS} at once");
            Frame::Invalid(Failure::limit(MAX_BATCH_MEMBERS as u64, message))
        }
        Ok(Members { members, .. }) => Frame::Batch(members),
    }
}

/// Reads one message. The error means that the text is not JSON.
pub(super) fn message(text: &str) -> Result<Message<'_>, Failure> {
    let envelope = if text.trim_ascii_start().starts_with('{') {
        serde_json::from_str::<Envelope<'_>>(text)
    } else {
        Err(serde::de::Error::custom("a message must be an object"))
    };
    match envelope {
        Ok(envelope) => Ok(envelope.classify()),
        Err(error) if error.is_data() => match serde_json::from_str::<IgnoredAny>(text) {
            Ok(_) => Ok(Message::Invalid { id: None, failure: Failure::invalid_request(format!("not a JSON-RPC message: {error}")) }),
            Err(error) => Err(malformed(&error)),
        },
        Err(error) => Err(malformed(&error)),
    }
}

fn malformed(error: &serde_json::Error) -> Failure {
    Failure::parse(format!("the message is not JSON: {error}"))
}

impl<'a> Envelope<'a> {
    fn classify(self) -> Message<'a> {
        if let (None, Some(id)) = (self.method, self.id)
            && let Some(outcome) = self.error.map(Err).or(self.result.map(Ok))
        {
            return Message::Response { id, outcome };
        }
        // JSON-RPC allows strings, numbers and null as ids. An answer cannot have any other id, so such an id counts as
        // null.
        let known_id = self.id.filter(|id| matches!(id.get().as_bytes()[0], b'"' | b'-' | b'0'..=b'9' | b'n'));
        let invalid = |what: &str| Message::Invalid { id: known_id, failure: Failure::invalid_request(what) };
        if self.jsonrpc.and_then(text_of).as_deref() != Some("2.0") {
            return invalid("the message has no member `jsonrpc` with the value \"2.0\"");
        }
        let Some(method) = self.method else { return invalid("the message has no method") };
        let Some(method) = text_of(method) else { return invalid("`method` must be a string") };
        match (self.id, known_id) {
            (None, _) => Message::Notification { method, params: self.params.filter(|params| params.get() != "null") },
            (Some(_), None) => invalid("`id` must be a string, a number or null"),
            (Some(_), Some(id)) => Message::Request { id, method, params: object_or_none(self.params) },
        }
    }
}

fn text_of(raw: &RawValue) -> Option<String> {
    serde_json::from_str(raw.get()).ok()
}

/// Checks a request's params. Absent, null and `[]` become `None`; handlers read `None` as `{}`.
fn object_or_none(params: Option<&RawValue>) -> Params<'_> {
    let Some(params) = params else { return Ok(None) };
    let text = params.get();
    match text.as_bytes()[0] {
        b'{' => Ok(Some(params)),
        b'n' => Ok(None),
        b'[' if text[1..text.len() - 1].trim_ascii().is_empty() => Ok(None),
        b'[' => Err(Failure::invalid_params("params", "`params` must be an object: params are passed by name")),
        _ => Err(Failure::invalid_params("params", "`params` must be an object")),
    }
}

/// The members of an array, at most [`MAX_BATCH_MEMBERS`] of them, and how many the array has.
struct Members<'a> {
    members: Vec<&'a RawValue>,
    total: usize,
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor;
        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = Members<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a batch")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while members.len() < MAX_BATCH_MEMBERS {
                    match list.next_element()? {
                        Some(member) => members.push(member),
                        None => break,
                    }
                }
                let mut total = members.len();
                while list.next_element::<IgnoredAny>()?.is_some() {
                    total += 1;
                }
                Ok(Members { members, total })
            }
        }
        deserializer.deserialize_seq(MembersVisitor)
    }
}
