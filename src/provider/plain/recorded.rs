//! Recorded runs of tools whose output has a known form, played.

use serde_json::Value;

use super::PlainCli;
use crate::{
    model::calls::PermissionMode,
    provider::{
        Adapter, Provider,
        recording::{Client, Deed, Recording, all_match},
        task::{Plain, Task, text_block},
    },
};

struct Recorder {
    format: &'static str,
}

impl Client for Recorder {
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

    fn deed(&self, _written: &Value) -> Deed {
        Deed::Nothing
    }
}

#[test]
fn codex_exec_is_understood() {
    all_match("codex", |recording| !recording.argv().iter().any(|word| word == "app-server"), &Recorder { format: "codex-exec" });
}

#[test]
fn gemini_is_understood() {
    all_match("gemini", |_| true, &Recorder { format: "gemini" });
}

#[test]
fn opencode_is_understood() {
    all_match("opencode", |_| true, &Recorder { format: "opencode" });
}
