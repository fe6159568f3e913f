//! One frame as the messages in it, without a look into their params.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::model::Failure;

/// Most members of a batch. Each costs an answer many times its size, so a frame full of them must have an end.
pub(super) const BATCH_LIMIT: usize = 1000;

/// What a frame holds.
pub(super) enum Frame<'a> {
    One(Message<'a>),
    /// At least one member, each still to be read with [`message`].
    Batch(Vec<&'a RawValue>),
    /// A frame that must be answered with a failure and the id null.
    Bad(Failure),
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
    /// An answer to a request of ours.
    Response,
    /// To be answered with a failure and this id, or null.
    Bad {
        id: Option<&'a RawValue>,
        failure: Failure,
    },
}

/// A request's params: an object or nothing, or a failure.
pub(super) type Params<'a> = Result<Option<&'a RawValue>, Failure>;

/// The members of a message. An absent one is `None`; `null` is a value.
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

/// Splits a frame.
pub(super) fn frame(bytes: &[u8]) -> Frame<'_> {
    let text = match simdutf8::compat::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => return Frame::Bad(Failure::parse(format!("the message is not UTF-8 from byte {} on", error.valid_up_to()))),
    };
    if !text.trim_ascii_start().starts_with('[') {
        return match message(text) {
            Ok(message) => Frame::One(message),
            Err(failure) => Frame::Bad(failure),
        };
    }
    match serde_json::from_str::<Members<'_>>(text) {
        Err(error) => Frame::Bad(malformed(&error)),
        Ok(Members { total: 0, .. }) => Frame::Bad(Failure::invalid_request("the batch is empty")),
        Ok(Members { total, .. }) if total > BATCH_LIMIT => {
            let message = format!("the batch has {total} members; send at most {BATCH_LIMIT} at once");
            Frame::Bad(Failure::limit(BATCH_LIMIT as u64, message))
        }
        Ok(Members { members, .. }) => Frame::Batch(members),
    }
}

/// Reads one message. A failure says that it is no JSON at all.
pub(super) fn message(text: &str) -> Result<Message<'_>, Failure> {
    let envelope = if text.trim_ascii_start().starts_with('{') {
        serde_json::from_str::<Envelope<'_>>(text)
    } else {
        Err(serde::de::Error::custom("a message is an object"))
    };
    match envelope {
        Ok(envelope) => Ok(envelope.classify()),
        Err(error) if error.is_data() => match serde_json::from_str::<IgnoredAny>(text) {
            Ok(_) => Ok(Message::Bad { id: None, failure: Failure::invalid_request(format!("not a JSON-RPC message: {error}")) }),
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
        if self.method.is_none() && self.id.is_some() && (self.result.is_some() || self.error.is_some()) {
            return Message::Response;
        }
        // An id that no answer may carry counts as none.
        let known_id = self.id.filter(|id| matches!(id.get().as_bytes()[0], b'"' | b'-' | b'0'..=b'9' | b'n'));
        let bad = |what: &str| Message::Bad { id: known_id, failure: Failure::invalid_request(what) };
        if self.jsonrpc.and_then(text_of).as_deref() != Some("2.0") {
            return bad("the message has no member `jsonrpc` with the value \"2.0\"");
        }
        let Some(method) = self.method else { return bad("the message has no method") };
        let Some(method) = text_of(method) else { return bad("`method` must be a string") };
        match (self.id, known_id) {
            (None, _) => Message::Notification { method, params: self.params.filter(|params| params.get() != "null") },
            (Some(_), None) => bad("`id` must be a string, a number or null"),
            (Some(_), Some(id)) => Message::Request { id, method, params: object_or_nothing(self.params) },
        }
    }
}

fn text_of(raw: &RawValue) -> Option<String> {
    serde_json::from_str(raw.get()).ok()
}

/// Absent, null, `{}` and `[]` are the same.
fn object_or_nothing(params: Option<&RawValue>) -> Params<'_> {
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

/// The members of an array, of which only those within the limit are kept.
struct Members<'a> {
    members: Vec<&'a RawValue>,
    total: usize,
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Take;
        impl<'de> Visitor<'de> for Take {
            type Value = Members<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a batch")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while members.len() < BATCH_LIMIT {
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
        deserializer.deserialize_seq(Take)
    }
}
