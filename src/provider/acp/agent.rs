//! What an agent told of itself when it was greeted, and what is known of its make beyond that.

use std::path::Path;

use serde_json::Value;

use super::wire::{RpcError, text_at};
use crate::{
    model::{RunError, calls::PermissionMode},
    provider::fault,
};

/// An agent, from its answer to `initialize`.
#[derive(Clone, Debug, Default)]
pub struct Agent {
    pub make: Make,
    /// For people.
    pub name: String,
    /// It can load a session, saying all of it again.
    pub load: bool,
    /// It can go on with a session in silence.
    pub resume: bool,
    pub list: bool,
    pub image: bool,
    pub audio: bool,
    pub embedded: bool,
    /// It gives a name to whatever its model says, and none to what it says itself.
    pub names_messages: bool,
    /// The ways to log in, by name.
    pub logins: Vec<String>,
}

/// Agents of whom more is known than they tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Make {
    Claude,
    Codex,
    Gemini,
    OpenCode,
    #[default]
    Other,
}

impl Make {
    fn of(name: &str) -> Self {
        let name = name.to_lowercase();
        let known = [("claude", Self::Claude), ("codex", Self::Codex), ("gemini", Self::Gemini), ("opencode", Self::OpenCode)];
        known.into_iter().find(|(word, _)| name.contains(word)).map_or(Self::Other, |(_, make)| make)
    }

    /// By the argv that starts it: what can be known before it speaks. Only whole words count, for a directory may be called anything.
    pub fn of_program(program: &[String]) -> Self {
        let first = program.first().and_then(|first| Path::new(first).file_stem()).and_then(|stem| stem.to_str()).unwrap_or_default();
        match first {
            "opencode" => Self::OpenCode,
            "gemini" => Self::Gemini,
            _ => Self::Other,
        }
    }

    /// The modes in which the agent does what is wanted, best first, by their ids.
    pub fn modes(self, permissions: PermissionMode) -> &'static [&'static str] {
        match (permissions, self) {
            // codex-acp's own `agent` lets a model decide; Claude's `auto` does, too. The older codex-acp's `auto` asks.
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

    /// A mode in which things happen that no client is asked about.
    pub fn decides_itself(self, mode: &str) -> bool {
        match mode {
            "auto" => self == Self::Claude,
            "agent" => self == Self::Codex,
            "bypassPermissions" | "dontAsk" | "yolo" | "agent-full-access" | "full-access" => true,
            _ => false,
        }
    }

    /// It asks before whatever changes anything, so that answering is enough to keep it from that.
    pub fn asks_for_changes(self) -> bool {
        // opencode does by what its launch sets in its environment.
        matches!(self, Self::Gemini | Self::OpenCode)
    }

    /// It leaves a command running when its turn is cancelled.
    pub fn forgets_commands(self) -> bool {
        self == Self::Codex
    }
}

impl Agent {
    /// From the result of `initialize`. `program` names it where it does not.
    pub fn new(told: &Value, program: &[String]) -> Self {
        let called = text_at(told, &["agentInfo", "name"]);
        let name = text_at(told, &["agentInfo", "title"]).or(called).map(str::to_owned);
        let capabilities = &told["agentCapabilities"];
        // An empty object offers, null and nothing do not; some say `true`.
        let offers = |value: &Value| value.is_object() || value == &Value::Bool(true);
        let session = &capabilities["sessionCapabilities"];
        let prompt = |kind: &str| capabilities["promptCapabilities"][kind] == Value::Bool(true);
        let logins = told["authMethods"].as_array().into_iter().flatten();
        Self {
            make: called.map_or_else(|| Make::of_program(program), Make::of),
            name: name.unwrap_or_else(|| program.first().cloned().unwrap_or_else(|| "the agent".to_owned())),
            load: offers(&capabilities["loadSession"]),
            resume: offers(&session["resume"]),
            list: offers(&session["list"]),
            image: prompt("image"),
            audio: prompt("audio"),
            embedded: prompt("embeddedContext"),
            names_messages: called.is_some_and(|name| name.starts_with("@agentclientprotocol/")),
            logins: logins.filter_map(|login| text_at(login, &["description"]).or(text_at(login, &["name"]))).map(str::to_owned).collect(),
        }
    }

    /// It can be asked for a session that it keeps.
    pub fn goes_on(&self) -> bool {
        self.load || self.resume
    }

    /// What an error answer of the agent's means for the run.
    pub fn error(&self, error: &RpcError) -> RunError {
        let words = words(error);
        if error.code == -32000 {
            let how = match self.logins.as_slice() {
                [] => String::new(),
                logins => format!("; ways to log in: {}", logins.join(", ")),
            };
            return RunError {
                message: fault::provider_error(None, &format!("{}: {words}{how}", self.name)).message,
                kind: "auth".to_owned(),
            };
        }
        fault::provider_error(status(error.code, &words), &words)
    }
}

/// The words of an error: the message, and the details where it says no more than that there are some.
pub fn words(error: &RpcError) -> String {
    // gemini puts the answer of its model into the message as it came.
    let nested: Option<Value> = serde_json::from_str(&error.message).ok();
    let message = nested.as_ref().and_then(|nested| text_at(nested, &["error", "message"])).unwrap_or(&error.message);
    let details = error.data.as_str().or_else(|| text_at(&error.data, &["details"])).or_else(|| text_at(&error.data, &["message"]));
    match details {
        Some(details) if !message.contains(details) => format!("{message}: {details}"),
        _ if message.is_empty() => format!("error {}", error.code),
        _ => message.to_owned(),
    }
}

/// The HTTP status that the model answered with: an error's code, or what Claude's words say.
fn status(code: i64, words: &str) -> Option<u16> {
    let said = words.split("API Error: ").nth(1).and_then(|rest| rest.get(..3));
    let status = if (400..600).contains(&code) { u16::try_from(code).ok() } else { said.and_then(|digits| digits.parse().ok()) };
    status.filter(|status| (400..600).contains(status))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn error(code: i64, message: &str, data: Value) -> RunError {
        Agent::default().error(&RpcError { code, message: message.to_owned(), data })
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
    fn an_agent_that_needs_a_login_says_how() {
        let agent =
            Agent::new(&json!({ "authMethods": [{ "id": "x", "name": "X", "description": "Run `x login`" }, 3] }), &["x".to_owned()]);
        assert!(agent.error(&RpcError { code: -32000, message: "no".to_owned(), data: Value::Null }).message.contains("Run `x login`"));
    }

    #[test]
    fn what_is_not_offered_is_not_taken_for_offered() {
        let agent = Agent::new(
            &json!({ "agentCapabilities": { "loadSession": false, "sessionCapabilities": { "resume": null, "list": {} } } }),
            &[],
        );
        assert!(!agent.load && !agent.resume && agent.list && !agent.image);
    }

    #[test]
    fn no_mode_that_asks_is_one_that_decides_itself() {
        for make in [Make::Claude, Make::Codex, Make::Gemini, Make::OpenCode, Make::Other] {
            for permissions in [PermissionMode::Ask, PermissionMode::AcceptEdits, PermissionMode::ReadOnly] {
                assert!(make.modes(permissions).iter().all(|mode| !make.decides_itself(mode)), "{make:?} {permissions:?}");
            }
        }
    }
}
