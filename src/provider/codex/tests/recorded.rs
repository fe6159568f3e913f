//! Conversations with Codex that were recorded, played to the adapter.

use serde_json::Value;

use super::super::{Codex, tests::task};
use crate::{
    model::{
        calls::PermissionMode,
        task::{ContentBlocks, Task, text_block},
    },
    provider::{
        Adapter,
        kind::Provider,
        tests::recording::{ClientAction, RecordedClient, Recording, assert_recordings_match},
    },
};

/// The client that made the recordings.
struct CodexRecorder;

impl RecordedClient for CodexRecorder {
    fn task(&self, recording: &Recording) -> Task {
        let written = recording.client();
        let message = |method: &str| written.iter().find(|message| message["method"] == method);
        let open_thread = message("thread/start").or(message("thread/resume")).expect("every recording opens a thread");
        let text = |name: &str| open_thread["params"][name].as_str().map(str::to_owned);
        let permissions = if text("approvalPolicy").as_deref() == Some("never") { PermissionMode::Bypass } else { PermissionMode::Ask };
        Task {
            prompt: message("turn/start").map(prompt),
            cwd: text("cwd").expect("a directory"),
            model: text("model"),
            resume: text("threadId"),
            ..task(permissions)
        }
    }

    fn adapter(&self, task: Task) -> Box<dyn Adapter> {
        Codex.adapter(task)
    }

    fn action(&self, written: &Value) -> ClientAction {
        match (written["method"].as_str(), written["result"]["decision"].as_str()) {
            (Some("turn/start"), _) => ClientAction::Prompt(prompt(written)),
            (Some("turn/steer"), _) => ClientAction::Steer(prompt(written)),
            (Some("turn/interrupt"), _) => ClientAction::Interrupt,
            (Some("initialize" | "initialized" | "thread/start" | "thread/resume"), _) => ClientAction::Protocol,
            (None, Some("accept")) => ClientAction::Answer(Some("allow_once")),
            (None, Some("decline")) => ClientAction::Answer(Some("reject_once")),
            (None, Some("cancel")) => ClientAction::Answer(Some("reject_always")),
            _ => ClientAction::Nothing,
        }
    }
}

fn prompt(written: &Value) -> ContentBlocks {
    vec![text_block(written["params"]["input"][0]["text"].as_str().expect("a text"))]
}

#[test]
fn recordings_match_their_snapshots() {
    assert_recordings_match("codex", |recording| recording.argv().iter().any(|word| word == "app-server"), &CodexRecorder);
}
