//! Notices of what the CLI says about itself: retries, limits, hooks, servers, and commands in the background.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::provider::{
    error_kind,
    event_sink::{EventSink, Severity},
};

/// Logs a notice for a `system` line, if people should see it.
pub(crate) fn system_notice(line: &Value, out: &mut EventSink) {
    let text = |name: &str| line[name].as_str().filter(|text| !text.trim().is_empty());
    match line["subtype"].as_str() {
        Some("api_retry") => {
            let number = |field: &str| line[field].as_u64().map_or_else(|| "?".to_owned(), |number| number.to_string());
            let (attempt, most, delay) = (number("attempt"), number("max_retries"), number("retry_delay_ms"));
            let status = line["error_status"].as_u64().map(|status| format!(" ({status})")).unwrap_or_default();
            let error = error_kind::words(&line["error"]).unwrap_or_else(|| "an error".to_owned());
            out.notice(
                Severity::Warning,
                &format!("The model's service failed with {error}{status}; retry {attempt} of {most} in {delay} ms"),
                None,
            );
        }
        Some("compact_boundary") => out.notice(Severity::Info, "The conversation was summarized to fit the model's context", None),
        Some("status") if line["status"] == "compacting" => out.notice(Severity::Info, "The conversation is being summarized", None),
        Some("task_notification") => {
            let status = text("status").unwrap_or("ended");
            let severity = if status == "failed" { Severity::Warning } else { Severity::Info };
            let title = text("summary").map_or_else(|| format!("A background task: {status}"), str::to_owned);
            out.notice(severity, &title, text("output_file").map(|file| format!("Its output is in {file}")).as_deref());
        }
        Some("hook_response") => {
            let failed = line["exit_code"].as_i64().is_some_and(|code| code != 0) || matches!(text("outcome"), Some("error" | "cancelled"));
            let name = text("hook_name").or(text("hook_event")).unwrap_or("without a name");
            if failed {
                out.notice(Severity::Warning, &format!("The hook {name} failed"), text("stderr").or(text("output")).or(text("stdout")));
            }
        }
        // The tool's result says it, too.
        Some("permission_denied") => {}
        _ => {
            let severity = match text("level") {
                Some("warning" | "warn") => Severity::Warning,
                Some("error") => Severity::Error,
                _ => return,
            };
            let words = ["content", "message", "error"].iter().find_map(|name| error_kind::words(&line[*name]));
            if let Some(words) = words {
                out.notice(severity, &words, None);
            }
        }
    }
}

/// Logs a notice for each MCP server that cannot be used, once.
pub(crate) fn server_notices(servers: &Value, told: &mut BTreeSet<String>, out: &mut EventSink) {
    for server in servers.as_array().into_iter().flatten() {
        let name = server["name"].as_str().unwrap_or("without a name");
        let title = match server["status"].as_str() {
            Some("failed") => format!("The MCP server {name} could not be started"),
            Some("needs-auth") => format!("The MCP server {name} needs a login"),
            _ => continue,
        };
        if told.insert(title.clone()) {
            out.notice(Severity::Warning, &title, error_kind::words(&server["error"]).as_deref());
        }
    }
}

/// Logs a notice for a `rate_limit_event`, which says how close the account is to its limit.
pub(crate) fn rate_limit_notice(info: &Value, out: &mut EventSink) {
    let title = match info["status"].as_str() {
        Some("allowed_warning") => "The account is close to its usage limit",
        Some("rejected") => "The account has reached its usage limit",
        _ => return,
    };
    out.notice(Severity::Warning, title, info["rateLimitType"].as_str());
}
