//! How a turn ended: the `result` line in the protocol's words.

use serde_json::{Value, json};

use super::messages::Trouble;
use crate::{
    model::Usage,
    provider::{effect::TurnEnd, fault, task::object},
};

/// What earlier turns cost. Claude tells the total of its process, and counts on from the session's when it resumes one.
#[derive(Clone, Copy, Debug)]
pub struct Spent {
    total: Option<f64>,
}

impl Spent {
    /// `resumed`: what the session cost before is not known.
    pub fn new(resumed: bool) -> Self {
        Self { total: (!resumed).then_some(0.0) }
    }

    /// What this turn alone used.
    pub fn usage(&mut self, result: &Value) -> Usage {
        let now = result["total_cost_usd"].as_f64();
        let before = self.total;
        self.total = now.or(before);
        // A total that falls was begun anew.
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
                    cost_usd: cost.or(difference).map(rounded),
                }
            }
            None => {
                let usage = &result["usage"];
                let cached = count(usage, "cache_read_input_tokens");
                Usage {
                    input_tokens: Some(count(usage, "input_tokens") + count(usage, "cache_creation_input_tokens") + cached),
                    output_tokens: Some(count(usage, "output_tokens")),
                    cached_input_tokens: Some(cached),
                    cost_usd: difference.map(rounded),
                }
            }
        }
    }
}

/// Tokens. A number that no model could reach is none: sums stay within their type.
fn count(usage: &Value, field: &str) -> u64 {
    usage[field].as_u64().filter(|count| *count < 1 << 53).unwrap_or_default()
}

/// Sums of binary fractions carry a tail that nobody was charged.
fn rounded(cost: f64) -> f64 {
    (cost * 1e9).round() / 1e9
}

/// The end of a turn. `stopped`: somebody stopped it; `trouble`: what the CLI said of an error in the model's place.
pub fn turn_end(result: &Value, stopped: bool, trouble: Option<&Trouble>, usage: Usage) -> TurnEnd {
    let subtype = result["subtype"].as_str().unwrap_or_default();
    let is_aborted = result["terminal_reason"].as_str().is_some_and(|reason| reason.starts_with("aborted"));
    let is_error = result["is_error"] == true || subtype.starts_with("error");
    let end = if is_aborted || (is_error && stopped) {
        TurnEnd::new("cancelled")
    } else if matches!(subtype, "error_max_turns" | "error_max_budget_usd") {
        TurnEnd::new("max_turn_requests")
    } else if is_error {
        let status = result["api_error_status"].as_u64().and_then(|status| u16::try_from(status).ok());
        let status = status.or(trouble.and_then(|trouble| trouble.status));
        TurnEnd::failed(fault::provider_error(status, &words(result, trouble)))
    } else {
        TurnEnd::new(match result["stop_reason"].as_str() {
            Some("max_tokens") => "max_tokens",
            Some("refusal") => "refusal",
            _ => "end_turn",
        })
    };
    TurnEnd { usage: Some(usage), ..end }
}

/// What is said of an error.
fn words(result: &Value, trouble: Option<&Trouble>) -> String {
    let errors: Vec<&str> = result["errors"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let said = trouble.map(|trouble| trouble.message.clone()).or_else(|| result["result"].as_str().map(str::to_owned));
    said.filter(|said| !said.trim().is_empty())
        .or_else(|| (!errors.is_empty()).then(|| errors.join("; ")))
        .unwrap_or_else(|| format!("claude ended its turn with {}", result["subtype"].as_str().unwrap_or("an error")))
}

/// How full the model's context is, if it is known.
pub fn context_update(result: &Value, used: u64) -> Option<serde_json::Map<String, Value>> {
    let models = result["modelUsage"].as_object()?;
    // Helpers beside the agent's own model have smaller windows or hardly any input.
    let main = models.values().max_by_key(|model| count(model, "inputTokens").saturating_add(count(model, "cacheReadInputTokens")))?;
    let size = count(main, "contextWindow");
    if used == 0 || size == 0 {
        return None;
    }
    let mut update = object(json!({ "sessionUpdate": "usage_update", "used": used, "size": size }));
    if let Some(total) = result["total_cost_usd"].as_f64() {
        update.insert("cost".to_owned(), json!({ "amount": rounded(total), "currency": "USD" }));
    }
    Some(update)
}
