//! What an agent says of itself in its response to `initialize`, and what is known of certain products beyond that.

use std::path::Path;

use serde_json::Value;

use super::wire::{AUTH_REQUIRED, RpcError, text_at};
use crate::{
    model::{
        RunError,
        agent::PromptCapabilities,
        calls::{McpTransport, PermissionMode},
    },
    provider::error_kind,
};

/// An agent, as its response to `initialize` describes it.
#[derive(Clone, Debug, Default)]
pub(crate) struct AcpAgent {
    pub(crate) product: Product,
    /// The agent's name, for messages to people.
    pub(crate) name: String,
    /// It has `session/load`, which opens a session and sends its whole history again.
    pub(crate) can_load: bool,
    /// It has `session/resume`, which opens a session and sends no history.
    pub(crate) can_resume: bool,
    /// It has `session/list`.
    pub(crate) can_list: bool,
    /// Content blocks that it takes in a prompt, beside text and links.
    pub(crate) takes: PromptCapabilities,
    /// How it can reach MCP servers that are no programs.
    pub(crate) mcp_transports: Vec<McpTransport>,
    /// The messages of its model have ids; the messages that the agent's own program adds have none.
    pub(crate) names_model_messages: bool,
    /// The ways to log in, as the agent describes them.
    pub(crate) login_methods: Vec<String>,
}

/// Agents that behave in ways which they do not announce. Everything that is special to one of them goes through this
/// type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Product {
    Claude,
    Codex,
    Gemini,
    OpenCode,
    #[default]
    Other,
}

impl Product {
    /// The product by the name in `agentInfo`.
    fn by_name(name: &str) -> Self {
        let name = name.to_lowercase();
        let known = [("claude", Self::Claude), ("codex", Self::Codex), ("gemini", Self::Gemini), ("opencode", Self::OpenCode)];
        known.into_iter().find(|(word, _)| name.contains(word)).map_or(Self::Other, |(_, product)| product)
    }

    /// The product by the argv that starts it, which is all that is known before `initialize`. Only the whole file
    /// name counts, because a directory on the way to it may have any name.
    pub(crate) fn by_program(program: &[String]) -> Self {
        let first = program.first().and_then(|first| Path::new(first).file_stem()).and_then(|stem| stem.to_str()).unwrap_or_default();
        match first {
            "opencode" => Self::OpenCode,
            "gemini" => Self::Gemini,
            _ => Self::Other,
        }
    }

    /// The ids of the session modes that suit these permissions, best first.
    pub(crate) fn modes(self, permissions: PermissionMode) -> &'static [&'static str] {
        match (permissions, self) {
            // In codex-acp's mode `agent` a model decides what is allowed, as it does in Claude's `auto`. In older
            // versions of codex-acp, `auto` is the mode that asks.
            (PermissionMode::Ask, Self::Codex) => &["workspace-write", "auto"],
            (PermissionMode::Ask, _) => &["default", "ask", "manual"],
            (PermissionMode::AcceptEdits, Self::Codex) => &["workspace-write", "auto"],
            (PermissionMode::AcceptEdits, _) => &["acceptEdits", "autoEdit", "default", "ask", "manual"],
            (PermissionMode::ReadOnly, Self::Codex) => &["read-only"],
            (PermissionMode::ReadOnly, _) => &["plan", "read-only", "readonly"],
            (PermissionMode::Bypass, Self::Codex) => &["agent-full-access", "full-access", "workspace-write", "auto"],
            (PermissionMode::Bypass, _) => &["bypassPermissions", "yolo", "agent-full-access", "full-access", "default", "ask", "manual"],
        }
    }

    /// Whether the agent acts in this mode without permission requests.
    pub(crate) fn is_autonomous_mode(self, mode: &str) -> bool {
        match mode {
            "auto" => self == Self::Claude,
            "agent" => self == Self::Codex,
            "bypassPermissions" | "dontAsk" | "yolo" | "agent-full-access" | "full-access" => true,
            _ => false,
        }
    }

    /// Whether it asks before every change in any mode. If it does, denying its permission requests is enough to
    /// enforce `readOnly`.
    pub(crate) fn asks_before_changes(self) -> bool {
        // opencode asks because its launch sets `OPENCODE_PERMISSION`.
        matches!(self, Self::Gemini | Self::OpenCode)
    }

    /// Whether it leaves a command running when its turn is cancelled, so that loomd has to end the command.
    pub(crate) fn leaves_commands_running(self) -> bool {
        self == Self::Codex
    }
}

impl AcpAgent {
    /// Reads the result of `initialize`. `program` gives the name of an agent that says none.
    pub(crate) fn new(result: &Value, program: &[String]) -> Self {
        let product_name = text_at(result, &["agentInfo", "name"]);
        let name = text_at(result, &["agentInfo", "title"]).or(product_name).map(str::to_owned);
        let capabilities = &result["agentCapabilities"];
        // The protocol offers a capability by an object, if only an empty one; some agents write `true`. `null` and a
        // missing member offer nothing.
        let offers = |value: &Value| value.is_object() || value == &Value::Bool(true);
        let session = &capabilities["sessionCapabilities"];
        let prompt = |kind: &str| capabilities["promptCapabilities"][kind] == Value::Bool(true);
        let transports = [("http", McpTransport::Http), ("sse", McpTransport::Sse)];
        let mcp_transports = transports.into_iter().filter(|(name, _)| capabilities["mcpCapabilities"][name] == Value::Bool(true));
        let methods = result["authMethods"].as_array().into_iter().flatten();
        Self {
            product: product_name.map_or_else(|| Product::by_program(program), Product::by_name),
            name: name.unwrap_or_else(|| program.first().cloned().unwrap_or_else(|| "the agent".to_owned())),
            can_load: offers(&capabilities["loadSession"]),
            can_resume: offers(&session["resume"]),
            can_list: offers(&session["list"]),
            takes: PromptCapabilities { image: prompt("image"), audio: prompt("audio"), embedded_context: prompt("embeddedContext") },
            mcp_transports: mcp_transports.map(|(_, transport)| transport).collect(),
            names_model_messages: product_name.is_some_and(|name| name.starts_with("@agentclientprotocol/")),
            login_methods: methods
                .filter_map(|login| text_at(login, &["description"]).or(text_at(login, &["name"])))
                .map(str::to_owned)
                .collect(),
        }
    }

    /// Whether it can open a session of an earlier run.
    pub(crate) fn can_reopen(&self) -> bool {
        self.can_load || self.can_resume
    }

    /// The run's error for an error response of the agent.
    pub(crate) fn error(&self, error: &RpcError) -> RunError {
        let text = error_text(error);
        if error.code == AUTH_REQUIRED {
            let login_hint = match self.login_methods.as_slice() {
                [] => String::new(),
                login_methods => format!("; login methods: {}", login_methods.join(", ")),
            };
            return RunError {
                message: error_kind::provider_error(None, &format!("{}: {text}{login_hint}", self.name)).message,
                kind: "auth".to_owned(),
            };
        }
        error_kind::provider_error(status(error, &text), &text)
    }
}

/// The text of an error response: its message, and the details where the message does not contain them.
pub(crate) fn error_text(error: &RpcError) -> String {
    // gemini puts the whole JSON that its model's service answered into the message.
    let message = error_kind::words(&Value::String(error.message.clone())).unwrap_or_default();
    match (message.as_str(), error_kind::words(&error.data)) {
        ("", Some(details)) => details,
        (message, Some(details)) if !message.contains(&details) => format!("{message}: {details}"),
        ("", None) => format!("error {}", error.code),
        (message, _) => message.to_owned(),
    }
}

/// The HTTP status of the model's service: the code of the error if it is one, or one in its data, else the number
/// after "API Error: ", which Claude writes into the text.
fn status(error: &RpcError, text: &str) -> Option<u16> {
    let digits = text.split("API Error: ").nth(1).and_then(|rest| rest.get(..3));
    let code = u16::try_from(error.code).ok();
    let is_status = |status: &u16| (400..600).contains(status);
    code.filter(is_status).or_else(|| error_kind::status_in(&error.data)).or_else(|| digits?.parse().ok().filter(is_status))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn error(code: i64, message: &str, data: Value) -> RunError {
        AcpAgent::default().error(&RpcError { code, message: message.to_owned(), data })
    }

    #[test]
    fn errors_are_classed_by_what_they_say_of_the_model() {
        assert_eq!(error(-32000, "Authentication required", Value::Null).kind, "auth");
        let gemini = error(401, r#"{"error":{"code":401,"message":"no such key","status":"X"}}"#, Value::Null);
        assert_eq!((gemini.kind.as_str(), gemini.message.as_str()), ("auth", "no such key"));
        assert_eq!(error(-32603, "Internal error: API Error: 500 the api key service is down", Value::Null).kind, "provider");
        assert_eq!(error(-32603, "Internal error: API Error: 529 Overloaded", Value::Null).kind, "rateLimit");
        let codex = error(-32603, "Internal error", json!({ "details": "no rollout found" }));
        assert_eq!(codex.message, "Internal error: no rollout found");
        assert_eq!(error(7, "", Value::Null).message, "error 7");
    }

    #[test]
    fn an_authentication_error_names_the_ways_to_log_in() {
        let agent =
            AcpAgent::new(&json!({ "authMethods": [{ "id": "x", "name": "X", "description": "Run `x login`" }, 3] }), &["x".to_owned()]);
        assert!(agent.error(&RpcError { code: -32000, message: "no".to_owned(), data: Value::Null }).message.contains("Run `x login`"));
    }

    #[test]
    fn false_and_null_offer_no_capability() {
        let agent = AcpAgent::new(
            &json!({ "agentCapabilities": { "loadSession": false, "sessionCapabilities": { "resume": null, "list": {} } } }),
            &[],
        );
        assert!(!agent.can_load && !agent.can_resume && agent.can_list && !agent.takes.image);
    }

    #[test]
    fn no_mode_for_asking_is_autonomous() {
        for product in [Product::Claude, Product::Codex, Product::Gemini, Product::OpenCode, Product::Other] {
            for permissions in [PermissionMode::Ask, PermissionMode::AcceptEdits, PermissionMode::ReadOnly] {
                assert!(product.modes(permissions).iter().all(|mode| !product.is_autonomous_mode(mode)), "{product:?} {permissions:?}");
            }
        }
    }
}
