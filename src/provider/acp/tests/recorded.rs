//! Conversations with ACP agents that were recorded, played to the adapter.

use serde_json::{Value, json};

use super::super::adapter::AcpAdapter;
use crate::{
    model::{
        calls::PermissionMode,
        task::{ContentBlocks, Plain, Task, object},
    },
    provider::{
        Adapter,
        tests::recording::{ClientAction, RecordedClient, Recording, assert_recordings_match},
    },
};

/// The client that made the recordings.
struct AcpRecorder;

impl RecordedClient for AcpRecorder {
    fn task(&self, recording: &Recording) -> Task {
        let client = recording.client();
        let prompts: Vec<ContentBlocks> = client.iter().filter_map(prompt).collect();
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
            mcp_servers: Vec::new(),
            args: Vec::new(),
            plain: Plain::default(),
            start_timeout_seconds: 60,
        }
    }

    fn adapter(&self, task: Task) -> Box<dyn Adapter> {
        Box::new(AcpAdapter::new(task))
    }

    fn action(&self, written: &Value) -> ClientAction {
        if let Some(blocks) = prompt(written) {
            return ClientAction::Prompt(blocks);
        }
        let outcome = &written["result"]["outcome"];
        match (method(written), outcome["outcome"].as_str()) {
            ("session/cancel", _) => ClientAction::Interrupt,
            (_, Some("selected")) => match outcome["optionId"].as_str().unwrap_or_default() {
                "reject" | "cancel" => ClientAction::Answer(Some("reject_once")),
                _ => ClientAction::Answer(Some("allow_once")),
            },
            (_, Some(_)) => ClientAction::Answer(None),
            _ => ClientAction::Protocol,
        }
    }

    /// The recorder sent `session/load` where the adapter sends `session/resume`. Both open the session.
    fn is_same(&self, recorded: &Value, our_message: &Value) -> bool {
        let opens = |written: &Value| matches!(method(written), "session/load" | "session/resume");
        method(recorded) == method(our_message) || (opens(recorded) && opens(our_message))
    }

    /// The recorder did not set the mode in every recording, so the response to it may be missing.
    fn missing_response(&self, recording: &Recording, our_message: &Value) -> Option<Value> {
        let is_recorded = recording.client().iter().any(|written| method(written) == method(our_message));
        (method(our_message) == "session/set_mode" && !is_recorded)
            .then(|| json!({ "jsonrpc": "2.0", "id": our_message["id"], "result": {} }))
    }
}

fn method(written: &Value) -> &str {
    written["method"].as_str().unwrap_or_default()
}

fn prompt(written: &Value) -> Option<ContentBlocks> {
    // The recorder also sent a prompt to a session that does not exist, to record the error.
    if method(written) != "session/prompt" || written["params"]["sessionId"] == "no-such-session" {
        return None;
    }
    Some(written["params"]["prompt"].as_array()?.iter().cloned().map(object).collect())
}

#[test]
fn claude_agent_acp_is_understood() {
    assert_recordings_match("claude-agent-acp", |_| true, &AcpRecorder);
}

#[test]
fn codex_acp_is_understood() {
    assert_recordings_match("codex-acp", |_| true, &AcpRecorder);
}

#[test]
fn gemini_is_understood() {
    assert_recordings_match("gemini-acp", |_| true, &AcpRecorder);
}

#[test]
fn opencode_is_understood() {
    assert_recordings_match("opencode-acp", |_| true, &AcpRecorder);
}
