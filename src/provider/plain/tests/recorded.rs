//! Plays the recorded runs of tools whose output has a known format.

use serde_json::Value;

use super::super::PlainCli;
use crate::{
    model::{
        calls::PermissionMode,
        task::{Plain, Task, text_block},
    },
    provider::{
        Adapter, Provider,
        tests::recording::{ClientAction, RecordedClient, Recording, assert_recordings_match},
    },
};

struct PlainRecorder {
    format: &'static str,
}

impl RecordedClient for PlainRecorder {
    fn task(&self, recording: &Recording) -> Task {
        let argv = recording.argv();
        let (prompt, rest) = argv.split_last().expect("an argv");
        let resumes = rest.iter().any(|word| matches!(word.as_str(), "resume" | "fork" | "--resume" | "--session"));
        Task {
            provider: self.format.to_owned(),
            kind: "command".to_owned(),
            prompt: Some(vec![text_block(prompt)]),
            cwd: "$CWD".to_owned(),
            model: None,
            permissions: PermissionMode::Ask,
            resume: resumes.then(|| "the one before".to_owned()),
            session_id: String::new(),
            interactive: false,
            is_root: true,
            program: vec![argv[0].clone(), "{prompt}".to_owned()],
            mcp_servers: Vec::new(),
            args: Vec::new(),
            start_timeout_seconds: 60,
            plain: Plain {
                session: None,
                resume: Some(vec![argv[0].clone(), "{prompt}".to_owned()]),
                format: Some(self.format.to_owned()),
            },
        }
    }

    fn adapter(&self, task: Task) -> Box<dyn Adapter> {
        PlainCli.adapter(task)
    }

    fn action(&self, _written: &Value) -> ClientAction {
        ClientAction::Nothing
    }
}

#[test]
fn codex_exec_recordings_match() {
    assert_recordings_match(
        "codex",
        |recording| !recording.argv().iter().any(|word| word == "app-server"),
        &PlainRecorder { format: "codex-exec" },
    );
}

#[test]
fn gemini_recordings_match() {
    assert_recordings_match("gemini", |_| true, &PlainRecorder { format: "gemini" });
}

#[test]
fn opencode_recordings_match() {
    assert_recordings_match("opencode", |_| true, &PlainRecorder { format: "opencode" });
}
