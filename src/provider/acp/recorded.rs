//! Recorded conversations with real agents, played.

use serde_json::{Value, json};

use super::adapter::AcpAdapter;
use crate::{
    model::calls::PermissionMode,
    provider::{
        Adapter,
        recording::{Client, Deed, Recording, all_match},
        task::{Blocks, Plain, Task, object},
    },
};

/// The client that made the recordings.
struct Recorder;

impl Client for Recorder {
    fn task(&self, recording: &Recording) -> Task {
        let client = recording.client();
        let prompts: Vec<Blocks> = client.iter().filter_map(prompt).collect();
        let resumed = client.get(1).filter(|written| matches!(method(written), "session/load" | "session/resume"));
        Task {
            provider: recording.path.parent().and_then(|dir| dir.file_name()).expect("a directory").to_string_lossy().into_owned(),
            kind: "acp".to_owned(),
            prompt: prompts.first().cloned(),
            cwd: "$CWD".to_owned(),
            model: None,
            permissions: PermissionMode::Ask,
            resume: resumed.and_then(|written| written["params"]["sessionId"].as_str()).map(str::to_owned),
            session_id: String::new(),
            interactive: prompts.len() != 1,
            is_root: true,
            program: recording.argv(),
            plain: Plain::default(),
        }
    }

    fn adapter(&self, task: Task) -> Box<dyn Adapter> {
        Box::new(AcpAdapter::new(task))
    }

    fn deed(&self, written: &Value) -> Deed {
        if let Some(blocks) = prompt(written) {
            return Deed::Prompt(blocks);
        }
        let outcome = &written["result"]["outcome"];
        match (method(written), outcome["outcome"].as_str()) {
            ("session/cancel", _) => Deed::Interrupt,
            (_, Some("selected")) => match outcome["optionId"].as_str().unwrap_or_default() {
                "reject" | "cancel" => Deed::Answer(Some("reject_once")),
                _ => Deed::Answer(Some("allow_once")),
            },
            (_, Some(_)) => Deed::Answer(None),
            _ => Deed::Protocol,
        }
    }

    /// The recorder loaded where we resume; both open the session.
    fn is_same(&self, recorded: &Value, ours: &Value) -> bool {
        let opens = |written: &Value| matches!(method(written), "session/load" | "session/resume");
        method(recorded) == method(ours) || (opens(recorded) && opens(ours))
    }

    /// The recorder did not always set the mode that we set.
    fn stand_in(&self, recording: &Recording, ours: &Value) -> Option<Value> {
        let is_recorded = recording.client().iter().any(|written| method(written) == method(ours));
        (method(ours) == "session/set_mode" && !is_recorded).then(|| json!({ "jsonrpc": "2.0", "id": ours["id"], "result": {} }))
    }
}

fn method(written: &Value) -> &str {
    written["method"].as_str().unwrap_or_default()
}

fn prompt(written: &Value) -> Option<Blocks> {
    // The recorder also asked for what cannot be, to see the errors.
    if method(written) != "session/prompt" || written["params"]["sessionId"] == "no-such-session" {
        return None;
    }
    Some(written["params"]["prompt"].as_array()?.iter().cloned().map(object).collect())
}

#[test]
fn claude_agent_acp_is_understood() {
    all_match("claude-agent-acp", |_| true, &Recorder);
}

#[test]
fn codex_acp_is_understood() {
    all_match("codex-acp", |_| true, &Recorder);
}

#[test]
fn gemini_is_understood() {
    all_match("gemini-acp", |_| true, &Recorder);
}

#[test]
fn opencode_is_understood() {
    all_match("opencode-acp", |_| true, &Recorder);
}
