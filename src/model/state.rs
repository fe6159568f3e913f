//! How a run stands, why it failed, what it wrote and used.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where a run stands. The last five are final.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum RunState {
    /// The program has not been spawned yet.
    Starting,
    /// The program runs.
    Running,
    /// The provider waits for an answer to a question.
    AwaitingPermission,
    /// An interactive run between turns.
    Idle,
    /// The provider said so, or exit code 0 where it says nothing.
    Succeeded,
    /// The program failed, or could not do its work.
    Failed,
    /// A client or a limit ended it.
    Cancelled,
    /// It ran, or was silent, for longer than it was allowed.
    TimedOut,
    /// Its supervising process died before the run ended.
    Lost,
}

/// Why a run or a turn failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunError {
    /// `auth`, `rateLimit`, `provider`, `protocol`, `spawn`, `sessionNotFound`, `outputLimit`, `storage`, `supervisor` or `timeout`; more may come.
    pub kind: String,
    /// One sentence for a person.
    pub message: String,
}

/// Bytes that the program wrote, by stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunBytes {
    /// On stdout; with a terminal, everything.
    pub stdout: u64,
    /// On stderr.
    pub stderr: u64,
}

/// What a model was paid for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// Tokens read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_tokens: Option<u64>,
    /// Tokens written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_tokens: Option<u64>,
    /// Tokens read from the provider's cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_input_tokens: Option<u64>,
    /// In US dollars, where the provider says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_usd: Option<f64>,
}

impl RunState {
    pub fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled | Self::TimedOut | Self::Lost)
    }

    /// The word that stands for it in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::AwaitingPermission => "awaitingPermission",
            Self::Idle => "idle",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::TimedOut => "timedOut",
            Self::Lost => "lost",
        }
    }
}

impl Usage {
    /// Adds what one more turn used.
    pub fn add(&mut self, turn: &Self) {
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
    pub fn total(self) -> u64 {
        self.stdout + self.stderr
    }
}
