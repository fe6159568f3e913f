//! Reads the params of a request, and says what is wrong with them.
//!
//! What is wrong comes from serde as values ([`ParamsError`]): the member's path, what was found, and what is expected.

use std::fmt;

use serde::{
    Deserializer, de,
    de::{
        DeserializeOwned, Expected, IntoDeserializer, Unexpected, Visitor,
        value::{MapDeserializer, SeqDeserializer},
    },
    forward_to_deserialize_any,
};
use serde_json::{Number, Value, value::RawValue};
use serde_path_to_error::{Path, Segment};

use crate::model::Failure;

/// Reads a method's params, which are an object or absent (see [`super::connection::serve`]). The `field` of the
/// failure is the path of the member that is wrong, with dots. What a strict reader refuses is read again as
/// [`ParamValue`] describes it.
pub(crate) fn read_params<T: DeserializeOwned>(raw: Option<&RawValue>) -> Result<T, Failure> {
    let raw = raw.map_or("{}", RawValue::get);
    serde_json::from_str(raw).or_else(|_| {
        let params: Value = serde_json::from_str(raw).map_err(|error| Failure::invalid_params("params", format!("`params` {error}")))?;
        let params = ParamValue { value: &params, keeps_null: false };
        serde_path_to_error::deserialize(params).map_err(|error| {
            let field = field_of(error.path());
            error.into_inner().failure(field)
        })
    })
}

/// The path of a member, with dots; empty for the params themselves.
fn field_of(path: &Path) -> String {
    let mut field = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => field.push_str(&format!("[{index}]")),
            Segment::Map { key } if field.is_empty() => field.push_str(key),
            Segment::Map { key } => field.push_str(&format!(".{key}")),
            // These segments belong to the Rust type, not to the JSON.
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    field
}

/// A value in params as a lenient reader sees it: a member that is null counts as absent, except in `env`, where null
/// removes a variable, and `1.0` counts as a whole number.
#[derive(Clone, Copy)]
struct ParamValue<'a> {
    value: &'a Value,
    keeps_null: bool,
}

impl<'de> Deserializer<'de> for ParamValue<'de> {
    type Error = ParamsError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ParamsError> {
        match self.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Number(number) => match (number.as_u64(), whole_number(number), number.as_f64()) {
                (Some(number), ..) => visitor.visit_u64(number),
                (None, Some(number), _) => visitor.visit_i64(number),
                (None, None, number) => visitor.visit_f64(number.unwrap_or(f64::NAN)),
            },
            Value::String(text) => visitor.visit_borrowed_str(text),
            Value::Array(items) => {
                let mut items = SeqDeserializer::new(items.iter().map(|value| ParamValue { value, ..self }));
                let read = visitor.visit_seq(&mut items)?;
                items.end().map(|()| read)
            }
            Value::Object(members) => {
                let present = members.iter().filter(|(_, value)| self.keeps_null || !value.is_null());
                let member = |(name, value): (&'de String, &'de Value)| {
                    (name.as_str(), ParamValue { value, keeps_null: self.keeps_null || name == "env" })
                };
                visitor.visit_map(MapDeserializer::new(present.map(member)))
            }
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ParamsError> {
        if self.value.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, ParamsError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(self, _: &'static str, _: &'static [&'static str], visitor: V) -> Result<V::Value, ParamsError> {
        match self.value {
            Value::String(name) => visitor.visit_enum(name.as_str().into_deserializer()),
            _ => self.deserialize_any(visitor),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct
        identifier ignored_any
    }
}

impl<'de> IntoDeserializer<'de, ParamsError> for ParamValue<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

/// Up to 2^53 a float represents every whole number exactly.
fn whole_number(number: &Number) -> Option<i64> {
    let is_whole = |float: &f64| float.fract() == 0.0 && float.abs() <= 9_007_199_254_740_992.0;
    number.as_i64().or_else(|| number.as_f64().filter(is_whole).map(|float| float as i64))
}

/// What is wrong with a member.
#[derive(Debug)]
enum ParamsError {
    /// The object has no member of this name.
    Missing(&'static str),
    Mismatch {
        found: String,
        expected: String,
    },
    /// What one of our types says of its value, as it follows the member's name: `must be …`.
    Other(String),
}

impl ParamsError {
    fn failure(self, field: String) -> Failure {
        match self {
            Self::Missing(name) => {
                let field = if field.is_empty() { name.to_owned() } else { format!("{field}.{name}") };
                Failure::invalid_params(&field, format!("`{field}` is missing"))
            }
            Self::Mismatch { .. } | Self::Other(_) => {
                let field = if field.is_empty() { "params" } else { &field };
                Failure::invalid_params(field, format!("`{field}` {self}"))
            }
        }
    }
}

impl de::Error for ParamsError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Other(message.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let found = match found {
            Unexpected::Unit => "null".to_owned(),
            Unexpected::Seq => "a list".to_owned(),
            Unexpected::Map => "an object".to_owned(),
            Unexpected::Str(text) => format!("string {:?}", shortened(text)),
            other => other.to_string(),
        };
        Self::Mismatch { found, expected: plain_type_name(&expected.to_string()).to_owned() }
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::Mismatch { found: format!("`{}`", shortened(variant)), expected: format!("one of `{}`", expected.join("`, `")) }
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        Self::Other(format!("has the unknown member `{}`; it may have `{}`", shortened(field), expected.join("`, `")))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::Missing(field)
    }
}

impl fmt::Display for ParamsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(name) => write!(f, "has no member `{name}`"),
            Self::Mismatch { found, expected } => write!(f, "must be {expected}, not {found}"),
            Self::Other(message) => f.write_str(message),
        }
    }
}

impl std::error::Error for ParamsError {}

/// serde's name of an expected type, for people who do not write Rust.
fn plain_type_name(expected: &str) -> &str {
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

/// Shortens what was found in place of the expected value; it may be a whole prompt.
fn shortened(found: &str) -> String {
    const MAX_CHARS: usize = 80;
    if found.chars().count() <= MAX_CHARS { found.to_owned() } else { found.chars().take(MAX_CHARS).chain(['…']).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        FailureKind,
        calls::{InitializeParams, ListParams, RunIdParams, StartParams},
    };

    fn refused<T: DeserializeOwned>(raw: &str) -> (String, String) {
        let raw = RawValue::from_string(raw.to_owned()).expect("JSON");
        let failure = read_params::<T>(Some(&raw)).err().expect("is refused");
        assert_eq!(failure.kind, FailureKind::InvalidParams);
        (failure.data["field"].as_str().expect("a text").to_owned(), failure.message)
    }

    fn refusal(field: &str, message: &str) -> (String, String) {
        (field.to_owned(), message.to_owned())
    }

    #[test]
    fn the_failure_names_the_member_and_what_it_must_be() {
        assert_eq!(refused::<StartParams>("{}"), refusal("provider", "`provider` is missing"));
        assert_eq!(refused::<StartParams>(r#"{"provider":"x","title":5}"#), refusal("title", "`title` must be a string, not integer `5`"));
        assert_eq!(
            refused::<StartParams>(r#"{"provider":"x","command":["a",null]}"#),
            refusal("command[1]", "`command[1]` must be a string, not null")
        );
        assert_eq!(
            refused::<StartParams>(r#"{"provider":"x","permissions":"maybe"}"#),
            refusal("permissions", "`permissions` must be one of `ask`, `acceptEdits`, `readOnly`, `bypass`, not `maybe`")
        );
        assert_eq!(refused::<StartParams>(r#"{"provider":"x","onDisconnect":"a, expected b"}"#).0, "onDisconnect");
        assert_eq!(
            refused::<StartParams>(r#"{"provider":"x","prompt":5}"#),
            refusal("prompt", "`prompt` must be a string or a list of content blocks")
        );
        assert_eq!(
            refused::<InitializeParams>(r#"{"protocolVersion":1,"capabilities":{"output":{"minIntervalMs":"1"}}}"#),
            refusal(
                "capabilities.output.minIntervalMs",
                "`capabilities.output.minIntervalMs` must be a whole number that is not negative, not string \"1\""
            )
        );
        assert_eq!(
            refused::<InitializeParams>(r#"{"protocolVersion":1,"clientInfo":{}}"#),
            refusal("clientInfo.name", "`clientInfo.name` is missing")
        );
        assert_eq!(
            refused::<StartParams>(r#"{"provider":null}"#),
            refusal("provider", "`provider` is missing"),
            "a member that is null counts as absent"
        );
        assert_eq!(refused::<RunIdParams>(r#"{"runId":5}"#), refusal("runId", "`runId` must be the id of a run, not integer `5`"));
        assert_eq!(refused::<RunIdParams>("{}"), refusal("runId", "`runId` is missing"));
        assert_eq!(
            refused::<ListParams>(r#"{"limit":1.5}"#).1,
            "`limit` must be a whole number that is not negative, not floating point `1.5`"
        );
        assert_eq!(refused::<ListParams>(r#"{"states":{"a":1}}"#).1, "`states` must be a list, not an object");
        let long = refused::<StartParams>(&format!(r#"{{"provider":"x","env":"{}"}}"#, "y".repeat(10_000))).1;
        assert!(long.starts_with("`env` must be an object") && long.len() < 200, "{long}");
        assert_eq!(refused::<RunIdParams>(r#"{"runId":"x"}"#).0, "runId");
    }

    #[test]
    fn null_is_absent_but_in_env_and_whole_floats_are_whole() {
        let raw = r#"{"provider":"x","timeoutMs":2.0,"title":null,"labels":{"a":null},"env":{"A":null,"B":"b"},"prompt":[{"x":null}]}"#;
        let params: StartParams = read_params(Some(&RawValue::from_string(raw.to_owned()).expect("JSON"))).expect("reads");
        assert_eq!((params.timeout_ms, params.title, params.labels.len()), (Some(2), None, 0));
        assert_eq!(params.env.into_iter().collect::<Vec<_>>(), [("A".to_owned(), None), ("B".to_owned(), Some("b".to_owned()))]);
    }

    #[test]
    fn no_params_are_the_empty_object() {
        assert_eq!(read_params::<ListParams>(None).expect("reads"), ListParams::default());
    }
}
