//! The recorded clients: what they requested, and which of their messages loomd's own client writes too.

use serde_json::{Value, json};

use super::recording::Recording;

/// The protocol that a recording is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Codex,
    Claude,
    Acp,
    /// A program that prints what it does and reads nothing.
    Plain,
}

/// What a client of loomd does.
#[derive(Debug)]
pub(super) enum ClientAction {
    /// `run/send` of these blocks.
    Prompt(Value),
    Steer(Value),
    Interrupt,
    /// `run/configure` with these params.
    Configure(Value),
    /// `run/answer` to the open permission request: with an option of this kind, or with `cancelled`.
    Answer(Option<&'static str>),
    Close,
}

impl Kind {
    /// The params of `run/start`, except for provider and directory.
    pub(super) fn params(self, recording: &Recording) -> Value {
        let written = recording.client();
        let mut prompts = written.iter().filter_map(|message| match self.action(message) {
            Some(ClientAction::Prompt(blocks)) => Some(blocks),
            _ => None,
        });
        let first = prompts.next();
        let first_of =
            |methods: &[&str]| written.iter().find(|message| message["method"].as_str().is_some_and(|method| methods.contains(&method)));
        let argv = &recording.argv;
        let after = |option: &str| argv.iter().position(|word| word == option).and_then(|at| argv.get(at + 1));
        let last = argv.last().expect("an argv");
        match self {
            Self::Codex => {
                let opened = &first_of(&["thread/start", "thread/resume"]).expect("a thread")["params"];
                let permissions = if opened["approvalPolicy"] == "never" { "bypass" } else { "ask" };
                let resume = opened["threadId"].as_str();
                json!({ "prompt": first, "interactive": true, "model": opened["model"], "permissions": permissions, "resume": resume_of(resume) })
            }
            Self::Claude => {
                let is_interactive = argv.iter().any(|word| word == "--input-format");
                let prompt = if last.starts_with("fake:") { last } else { "from stdin" };
                let permissions = if after("--permission-mode").is_some_and(|mode| mode == "acceptEdits") { "acceptEdits" } else { "ask" };
                json!({
                    "prompt": first.unwrap_or(json!(prompt)), "interactive": is_interactive, "permissions": permissions,
                    "resume": resume_of(after("--resume").map(String::as_str))
                })
            }
            Self::Acp => {
                let opened = first_of(&["session/load", "session/resume"]).and_then(|message| message["params"]["sessionId"].as_str());
                json!({ "prompt": first, "interactive": first.is_none() || prompts.next().is_some(), "resume": resume_of(opened) })
            }
            Self::Plain => {
                let resumes = argv.iter().rev().skip(1).any(|word| matches!(word.as_str(), "resume" | "fork" | "--resume" | "--session"));
                json!({ "prompt": last, "resume": resume_of(resumes.then_some("the one before")) })
            }
        }
    }

    /// What the recorded client did by writing this; `None` if loomd's client writes it by itself.
    pub(super) fn action(self, written: &Value) -> Option<ClientAction> {
        let method = written["method"].as_str().unwrap_or_default();
        match self {
            Self::Codex => Some(match (method, written["result"]["decision"].as_str()) {
                ("turn/start", _) => ClientAction::Prompt(json!(written["params"]["input"][0]["text"])),
                ("turn/interrupt", _) => ClientAction::Interrupt,
                ("", Some("accept")) => ClientAction::Answer(Some("allow_once")),
                ("", Some("decline")) => ClientAction::Answer(Some("reject_once")),
                ("", Some("cancel")) => ClientAction::Answer(Some("reject_always")),
                _ => return None,
            }),
            Self::Claude => {
                let behavior = written["response"]["response"]["behavior"].as_str();
                Some(match (written["type"].as_str(), written["request"]["subtype"].as_str(), behavior) {
                    (Some("user"), _, _) => {
                        let blocks = written["message"]["content"].clone();
                        if blocks.to_string().contains("while the tool runs") {
                            ClientAction::Steer(blocks)
                        } else {
                            ClientAction::Prompt(blocks)
                        }
                    }
                    (_, Some("interrupt"), _) => ClientAction::Interrupt,
                    (_, Some("set_permission_mode"), _) => ClientAction::Configure(json!({ "permissions": "acceptEdits" })),
                    (_, Some("set_model"), _) => ClientAction::Configure(json!({ "model": "claude-sonnet-4-6" })),
                    (_, _, Some("allow")) => ClientAction::Answer(Some("allow_once")),
                    (_, _, Some("deny")) => ClientAction::Answer(Some("reject_once")),
                    _ => return None,
                })
            }
            Self::Acp => {
                let outcome = &written["result"]["outcome"];
                Some(match (method, outcome["outcome"].as_str()) {
                    ("session/prompt", _) => ClientAction::Prompt(written["params"]["prompt"].clone()),
                    ("session/cancel", _) => ClientAction::Interrupt,
                    (_, Some("selected")) if matches!(outcome["optionId"].as_str(), Some("reject" | "cancel")) => {
                        ClientAction::Answer(Some("reject_once"))
                    }
                    (_, Some("selected")) => ClientAction::Answer(Some("allow_once")),
                    (_, Some(_)) => ClientAction::Answer(None),
                    _ => return None,
                })
            }
            Self::Plain => None,
        }
    }

    /// Whether loomd's client would write this, too, after the messages before it.
    pub(super) fn is_ours_too<'a>(self, written: &Value, mut before: impl Iterator<Item = &'a Value>) -> bool {
        let method = written["method"].as_str().unwrap_or_default();
        match self {
            Self::Codex => {
                let opens = |message: &Value| matches!(message["method"].as_str(), Some("thread/start" | "thread/resume"));
                !(matches!(method, "thread/read" | "thread/list") || opens(written) && before.any(opens))
            }
            Self::Claude => written["request"]["subtype"] != "no_such_thing",
            Self::Acp => {
                let opens = |message: &Value| matches!(message["method"].as_str(), Some("session/load" | "session/resume"));
                let is_known = !matches!(method, "session/list" | "no/such_method");
                is_known && written["params"]["sessionId"] != "no-such-session" && !(opens(written) && before.any(opens))
            }
            Self::Plain => true,
        }
    }

    pub(super) fn request_id(self, written: &Value) -> &Value {
        if self == Self::Claude { &written["request_id"] } else { &written["id"] }
    }

    /// The id of the request to which this message is the response.
    pub(super) fn answered_id(self, message: &Value) -> Option<&Value> {
        match self {
            Self::Claude => message["response"].get("request_id"),
            _ if message.get("method").is_some() => None,
            _ => message.get("id"),
        }
    }
}

fn resume_of(session: Option<&str>) -> Value {
    session.map_or(Value::Null, |id| json!({ "sessionId": id }))
}
