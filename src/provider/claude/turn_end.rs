//! How a turn ended: converts the `result` line.

use serde_json::{Value, json};

use super::messages::CliError;
use crate::{
    model::{Usage, task::object},
    provider::{error_kind, provider_event::TurnEnd},
};

/// The cost before this turn. Claude reports the total of its process, and continues the session's total when it
/// resumes one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TurnCost {
    total: Option<f64>,
}

impl TurnCost {
    /// If the session is resumed, its cost so far is unknown.
    pub(crate) fn new(resumed: bool) -> Self {
        Self { total: (!resumed).then_some(0.0) }
    }

    /// What this turn alone used.
    pub(crate) fn usage(&mut self, result: &Value) -> Usage {
        let now = result["total_cost_usd"].as_f64();
        let before = self.total;
        self.total = now.or(before);
        // A total that falls was started again from zero.
        let difference = now.zip(before).map(|(now, before)| if now >= before { now - before } else { now });
        match result["model_usage_since_last_result"].as_object().filter(|models| !models.is_empty()) {
            Some(models) => {
                let tokens = |field: &str| models.values().fold(0, |sum: u64, model| sum.saturating_add(count(model, field)));
                let cost = models.values().map(|model| model["costUSD"].as_f64()).sum::<Option<f64>>();
                let cached = tokens("cacheReadInputTokens");
                Usage {
                    input_tokens: Some(tokens("inputTokens") + tokens("cacheCreationInputTokens") + cached),
                    output_tokens: Some(tokens("outputTokens")),
                    cached_input_tokens: Some(cached),
                    cost_usd: cost.or(difference).map(rounded_cost),
                }
            }
            None => {
                let usage = &result["usage"];
                let cached = count(usage, "cache_read_input_tokens");
                Usage {
                    input_tokens: Some(count(usage, "input_tokens") + count(usage, "cache_creation_input_tokens") + cached),
                    output_tokens: Some(count(usage, "output_tokens")),
                    cached_input_tokens: Some(cached),
                    cost_usd: difference.map(rounded_cost),
                }
            }
        }
    }
}

/// A number of tokens. A number that no model could reach counts as zero, so that sums stay within their type.
fn count(usage: &Value, field: &str) -> u64 {
    usage[field].as_u64().filter(|count| *count < 1 << 53).unwrap_or_default()
}

/// Rounds a cost, because sums of binary fractions have digits that nobody was charged.
fn rounded_cost(cost: f64) -> f64 {
    (cost * 1e9).round() / 1e9
}

/// The end of a turn. `stopped` says whether the turn was stopped; `cli_error` is the error that the CLI reported in
/// the model's place.
pub(crate) fn turn_end(result: &Value, stopped: bool, cli_error: Option<&CliError>, usage: Usage) -> TurnEnd {
    let subtype = result["subtype"].as_str().unwrap_or_default();
    let is_aborted = result["terminal_reason"].as_str().is_some_and(|reason| reason.starts_with("aborted"));
    let is_error = result["is_error"] == true || subtype.starts_with("error");
    let end = if is_aborted || (is_error && stopped) {
        TurnEnd::new("cancelled")
    } else if matches!(subtype, "error_max_turns" | "error_max_budget_usd") {
        TurnEnd::new("max_turn_requests")
    } else if is_error {
        let status = result["api_error_status"].as_u64().and_then(|status| u16::try_from(status).ok());
        let status = status.or(cli_error.and_then(|cli_error| cli_error.status));
        TurnEnd::failed(error_kind::provider_error(status, &error_message(result, cli_error)))
    } else {
        TurnEnd::new(match result["stop_reason"].as_str() {
            Some("max_tokens") => "max_tokens",
            Some("refusal") => "refusal",
            _ => "end_turn",
        })
    };
    TurnEnd { usage: Some(usage), ..end }
}

/// The message of an error.
fn error_message(result: &Value, cli_error: Option<&CliError>) -> String {
    let errors: Vec<&str> = result["errors"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let message = cli_error.map(|cli_error| cli_error.message.clone()).or_else(|| result["result"].as_str().map(str::to_owned));
    message
        .filter(|message| !message.trim().is_empty())
        .or_else(|| (!errors.is_empty()).then(|| errors.join("; ")))
        .unwrap_or_else(|| format!("claude ended its turn with {}", result["subtype"].as_str().unwrap_or("an error")))
}

/// How full the model's context is, if it is known.
pub(crate) fn context_update(result: &Value, used: u64) -> Option<serde_json::Map<String, Value>> {
    let models = result["modelUsage"].as_object()?;
    // Helper models beside the agent's own have smaller windows or hardly any input.
    let main = models.values().max_by_key(|model| count(model, "inputTokens").saturating_add(count(model, "cacheReadInputTokens")))?;
    let size = count(main, "contextWindow");
    if used == 0 || size == 0 {
        return None;
    }
    let mut update = object(json!({ "sessionUpdate": "usage_update", "used": used, "size": size }));
    if let Some(total) = result["total_cost_usd"].as_f64() {
        update.insert("cost".to_owned(), json!({ "amount": rounded_cost(total), "currency": "USD" }));
    }
    Some(update)
}
