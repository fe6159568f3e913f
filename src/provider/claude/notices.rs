//! What the CLI says about itself, where a person should know it.

use serde_json::Value;

use crate::provider::out::{Out, Severity};

/// A `system` line.
pub fn system(said: &Value, out: &mut Out) {
    match said["subtype"].as_str() {
        Some("api_retry") => {
            let number = |field: &str| said[field].as_u64().map_or_else(|| "?".to_owned(), |number| number.to_string());
            let (attempt, most, delay) = (number("attempt"), number("max_retries"), number("retry_delay_ms"));
            let status = said["error_status"].as_u64().map(|status| format!(" ({status})")).unwrap_or_default();
            let error = said["error"].as_str().unwrap_or("an error");
            out.notice(
                Severity::Warning,
                &format!("The model's service failed with {error}{status}; retry {attempt} of {most} in {delay} ms"),
                None,
            );
        }
        Some("compact_boundary") => out.notice(Severity::Info, "The conversation was summarised to make room in the model's context", None),
        _ => {}
    }
}

/// A `rate_limit_event`: how the account stands.
pub fn limit(info: &Value, out: &mut Out) {
    let title = match info["status"].as_str() {
        Some("allowed_warning") => "The account comes close to its usage limit",
        Some("rejected") => "The account's usage limit is reached",
        _ => return,
    };
    out.notice(Severity::Warning, title, info["rateLimitType"].as_str());
}
