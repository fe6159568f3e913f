//! The parts that runs and entries share: the id of a run, its state, its error, its bytes and its usage.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, Unexpected, Visitor},
};
use strum::IntoStaticStr;
use uuid::Uuid;

use super::{Failure, UnixMs};

/// Identifier of a run: a UUID version 7 (RFC 9562), so that ids sort by time of creation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct RunId(Uuid);

impl<'de> Deserialize<'de> for RunId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RunIdVisitor;

        impl Visitor<'_> for RunIdVisitor {
            type Value = RunId;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the id of a run")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<RunId, E> {
                Uuid::try_parse(text).map(RunId).map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_str(RunIdVisitor)
    }
}

/// The state of a run. The last five are final.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, IntoStaticStr)]
#[serde(rename_all = "camelCase")]
#[strum(serialize_all = "camelCase")]
pub enum RunState {
    /// The program has not been spawned yet.
    Starting,
    /// The program runs.
    Running,
    /// The provider waits for an answer to a permission request.
    AwaitingPermission,
    /// The run is interactive and waits for the next prompt.
    Idle,
    /// The provider reported success, or exited with 0 if it reports nothing.
    Succeeded,
    /// The program or the provider failed.
    Failed,
    /// A client or a limit ended it.
    Cancelled,
    /// It ran longer than `timeoutMs`, or wrote nothing for longer than `idleTimeoutMs`.
    TimedOut,
    /// Its supervisor died before the run ended.
    Lost,
}

/// The size of a terminal, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TerminalSize {
    /// How many rows.
    pub rows: u16,
    /// How many columns.
    pub cols: u16,
}

impl Default for TerminalSize {
    fn default() -> Self {
        Self { rows: 24, cols: 80 }
    }
}

impl TerminalSize {
    /// A size that a client asks for.
    pub(crate) fn new(rows: i64, cols: i64) -> Result<Self, Failure> {
        let side = |field: &str, count: i64| match u16::try_from(count) {
            Ok(count @ 1..) => Ok(count),
            _ => Err(Failure::invalid_params(field, format!("a terminal has 1 to 65535 {field}, not {count}"))),
        };
        Ok(Self { rows: side("rows", rows)?, cols: side("cols", cols)? })
    }
}

/// Why a run or a turn failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunError {
    /// `auth`, `rateLimit`, `provider`, `protocol`, `spawn`, `sessionNotFound`, `outputLimit`, `storage`, `supervisor`
    /// or `timeout`. Later versions may add others.
    pub(crate) kind: String,
    /// One sentence for people.
    pub(crate) message: String,
}

/// Bytes that the program wrote, by stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunBytes {
    /// Bytes on stdout; with a terminal, all bytes.
    pub(crate) stdout: u64,
    /// Bytes on stderr.
    pub(crate) stderr: u64,
}

/// Tokens and costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// Input tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) input_tokens: Option<u64>,
    /// Output tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) output_tokens: Option<u64>,
    /// Input tokens from the provider's cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cached_input_tokens: Option<u64>,
    /// US dollars, if the provider reports them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cost_usd: Option<f64>,
}

impl RunId {
    /// A new id, from the clock and the system's random numbers.
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }

    /// The sixteen bytes, big endian: their order is the order of creation.
    pub(crate) fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// When the id was created, Unix milliseconds: its first 48 bits.
    pub(crate) fn created_at(&self) -> UnixMs {
        let bytes = self.as_bytes();
        u64::from_be_bytes([0, 0, bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], bytes[5]])
    }

    pub(crate) fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }
}

impl Default for RunId {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for RunId {
    type Err = uuid::Error;

    /// Accepts only the hyphenated form, because the id is also the name of a directory.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let id = Uuid::try_parse(text)?;
        if text.len() != 36 {
            return Uuid::try_parse("").map(Self);
        }
        Ok(Self(id))
    }
}

impl RunState {
    pub(crate) fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled | Self::TimedOut | Self::Lost)
    }

    /// The name of the state, as people read it.
    pub(crate) fn shown(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::AwaitingPermission => "needs input",
            Self::Idle => "idle",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "canceled",
            Self::TimedOut => "timed out",
            Self::Lost => "lost",
        }
    }

    /// The name of the state in JSON.
    pub(crate) fn as_str(self) -> &'static str {
        self.into()
    }
}

impl Usage {
    /// Adds the usage of one more turn.
    pub(crate) fn add(&mut self, turn: &Self) {
        fn sum<T: std::ops::Add<Output = T>>(a: Option<T>, b: Option<T>) -> Option<T> {
            match (a, b) {
                (Some(a), Some(b)) => Some(a + b),
                (a, b) => a.or(b),
            }
        }
        self.input_tokens = sum(self.input_tokens, turn.input_tokens);
        self.output_tokens = sum(self.output_tokens, turn.output_tokens);
        self.cached_input_tokens = sum(self.cached_input_tokens, turn.cached_input_tokens);
        self.cost_usd = sum(self.cost_usd, turn.cost_usd);
    }
}

impl RunBytes {
    pub(crate) fn total(self) -> u64 {
        self.stdout + self.stderr
    }
}
