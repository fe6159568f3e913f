//! The recorded clients: what they asked for, and what of that our client says or does itself.

use serde_json::{Value, json};

use super::recording::Recording;

/// Whose words a recording is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Codex,
    Claude,
    Acp,
    /// A program that prints what it does and listens to nobody.
    Plain,
}

/// What a client of loomd does.
#[derive(Debug)]
pub enum Deed {
    /// `run/send` of these blocks.
    Prompt(Value),
    Steer(Value),
    Interrupt,
    /// `run/configure` with these params.
    Configure(Value),
    /// To the open question: by the kind of the option, or by nobody.
    Answer(Option<&'static str>),
    Close,
}

impl Kind {
    /// What `run/start` says, but for provider and directory.
    pub fn params(self, recording: &Recording) -> Value {
        let written = recording.client();
        let mut prompts = written.iter().filter_map(|said| match self.deed(said) {
            Some(Deed::Prompt(blocks)) => Some(blocks),
            _ => None,
        });
        let first = prompts.next();
        let said = |methods: &[&str]| written.iter().find(|said| said["method"].as_str().is_some_and(|method| methods.contains(&method)));
        let argv = &recording.argv;
        let after = |option: &str| argv.iter().position(|word| word == option).and_then(|at| argv.get(at + 1));
        let last = argv.last().expect("an argv");
        match self {
            Self::Codex => {
                let opened = &said(&["thread/start", "thread/resume"]).expect("a thread")["params"];
                let permissions = if opened["approvalPolicy"] == "never" { "bypass" } else { "ask" };
                let resume = opened["threadId"].as_str();
                json!({ "prompt": first, "interactive": true, "model": opened["model"], "permissions": permissions, "resume": resume_of(resume) })
            }
            Self::Claude => {
                let is_spoken_to = argv.iter().any(|word| word == "--input-format");
                let told = if last.starts_with("fake:") { last } else { "from stdin" };
                let permissions = if after("--permission-mode").is_some_and(|mode| mode == "acceptEdits") { "acceptEdits" } else { "ask" };
                json!({
                    "prompt": first.unwrap_or(json!(told)), "interactive": is_spoken_to, "permissions": permissions,
                    "resume": resume_of(after("--resume").map(String::as_str))
                })
            }
            Self::Acp => {
                let opened = said(&["session/load", "session/resume"]).and_then(|said| said["params"]["sessionId"].as_str());
                json!({ "prompt": first, "interactive": first.is_none() || prompts.next().is_some(), "resume": resume_of(opened) })
            }
            Self::Plain => {
                let resumes = argv.iter().rev().skip(1).any(|word| matches!(word.as_str(), "resume" | "fork" | "--resume" | "--session"));
                json!({ "prompt": last, "resume": resume_of(resumes.then_some("the one before")) })
            }
        }
    }

    /// What the recorded client did by writing this; `None`: something that our client says by itself.
    pub fn deed(self, written: &Value) -> Option<Deed> {
        let method = written["method"].as_str().unwrap_or_default();
        match self {
            Self::Codex => Some(match (method, written["result"]["decision"].as_str()) {
                ("turn/start", _) => Deed::Prompt(json!(written["params"]["input"][0]["text"])),
                ("turn/interrupt", _) => Deed::Interrupt,
                ("", Some("accept")) => Deed::Answer(Some("allow_once")),
                ("", Some("decline")) => Deed::Answer(Some("reject_once")),
                ("", Some("cancel")) => Deed::Answer(Some("reject_always")),
                _ => return None,
            }),
            Self::Claude => {
                let behavior = written["response"]["response"]["behavior"].as_str();
                Some(match (written["type"].as_str(), written["request"]["subtype"].as_str(), behavior) {
                    (Some("user"), _, _) => {
                        let blocks = written["message"]["content"].clone();
                        if blocks.to_string().contains("while the tool runs") { Deed::Steer(blocks) } else { Deed::Prompt(blocks) }
                    }
                    (_, Some("interrupt"), _) => Deed::Interrupt,
                    (_, Some("set_permission_mode"), _) => Deed::Configure(json!({ "permissions": "acceptEdits" })),
                    (_, Some("set_model"), _) => Deed::Configure(json!({ "model": "claude-sonnet-4-6" })),
                    (_, _, Some("allow")) => Deed::Answer(Some("allow_once")),
                    (_, _, Some("deny")) => Deed::Answer(Some("reject_once")),
                    _ => return None,
                })
            }
            Self::Acp => {
                let outcome = &written["result"]["outcome"];
                Some(match (method, outcome["outcome"].as_str()) {
                    ("session/prompt", _) => Deed::Prompt(written["params"]["prompt"].clone()),
                    ("session/cancel", _) => Deed::Interrupt,
                    (_, Some("selected")) if matches!(outcome["optionId"].as_str(), Some("reject" | "cancel")) => {
                        Deed::Answer(Some("reject_once"))
                    }
                    (_, Some("selected")) => Deed::Answer(Some("allow_once")),
                    (_, Some(_)) => Deed::Answer(None),
                    _ => return None,
                })
            }
            Self::Plain => None,
        }
    }

    /// Whether our client would say this, too, after what was said before.
    pub fn says<'a>(self, written: &Value, mut before: impl Iterator<Item = &'a Value>) -> bool {
        let method = written["method"].as_str().unwrap_or_default();
        match self {
            Self::Codex => {
                let opens = |said: &Value| matches!(said["method"].as_str(), Some("thread/start" | "thread/resume"));
                !(matches!(method, "thread/read" | "thread/list") || opens(written) && before.any(opens))
            }
            Self::Claude => written["request"]["subtype"] != "no_such_thing",
            Self::Acp => {
                let opens = |said: &Value| matches!(said["method"].as_str(), Some("session/load" | "session/resume"));
                let is_known = !matches!(method, "session/list" | "no/such_method");
                is_known && written["params"]["sessionId"] != "no-such-session" && !(opens(written) && before.any(opens))
            }
            Self::Plain => true,
        }
    }

    pub fn request_id(self, written: &Value) -> &Value {
        if self == Self::Claude { &written["request_id"] } else { &written["id"] }
    }

    /// The id of the request that this answers.
    pub fn answered_id(self, said: &Value) -> Option<&Value> {
        match self {
            Self::Claude => said["response"].get("request_id"),
            _ if said.get("method").is_some() => None,
            _ => said.get("id"),
        }
    }
}

fn resume_of(session: Option<&str>) -> Value {
    session.map_or(Value::Null, |id| json!({ "sessionId": id }))
}
