//! What is special about the recordings of `claude`.

use serde_json::Value;

use crate::{
    model::calls::PermissionMode,
    provider::{
        Adapter, Plain, Provider, Task,
        recording::{Client, Deed, Recording},
        task::{Blocks, object, text_block},
    },
};

pub struct Recorded;

impl Client for Recorded {
    fn task(&self, recording: &Recording) -> Task {
        let argv = recording.argv();
        let after = |option: &str| argv.iter().position(|word| word == option).and_then(|at| argv.get(at + 1)).cloned();
        let is_spoken_to = argv.iter().any(|word| word == "--input-format");
        let written = recording.client();
        let prompt = if is_spoken_to {
            written.iter().find_map(|written| match self.deed(written) {
                Deed::Prompt(blocks) => Some(blocks),
                _ => None,
            })
        } else {
            argv.last().filter(|word| word.starts_with("fake:")).map(|word| vec![text_block(word)])
        };
        let program = recording.program();
        let id = || program.iter().find_map(|said| said["session_id"].as_str().map(str::to_owned));
        Task {
            provider: "claude".to_owned(),
            kind: "claude".to_owned(),
            prompt: prompt.or_else(|| Some(vec![text_block("from stdin")])),
            cwd: "$CWD".to_owned(),
            model: None,
            permissions: match after("--permission-mode").as_deref() {
                Some("acceptEdits") => PermissionMode::AcceptEdits,
                _ => PermissionMode::Ask,
            },
            resume: after("--resume"),
            session_id: after("--session-id").or_else(id).unwrap_or_default(),
            interactive: is_spoken_to,
            is_root: true,
            program: vec!["claude".to_owned()],
            plain: Plain::default(),
        }
    }

    fn adapter(&self, task: Task) -> Box<dyn Adapter> {
        super::Claude.adapter(task)
    }

    fn deed(&self, written: &Value) -> Deed {
        let response = &written["response"]["response"];
        match (written["type"].as_str(), written["request"]["subtype"].as_str()) {
            (Some("user"), _) => {
                let blocks: Blocks = written["message"]["content"].as_array().into_iter().flatten().cloned().map(object).collect();
                let is_steered =
                    blocks.iter().any(|block| block["text"].as_str().is_some_and(|text| text.ends_with("while the tool runs")));
                if is_steered { Deed::Steer(blocks) } else { Deed::Prompt(blocks) }
            }
            (_, Some("interrupt")) => Deed::Interrupt,
            (_, Some("set_permission_mode")) => Deed::Configure(None, Some(PermissionMode::AcceptEdits)),
            (_, Some("set_model")) => Deed::Configure(Some("claude-sonnet-4-6"), None),
            (_, Some(_)) => Deed::Protocol,
            _ if response["behavior"] == "allow" => Deed::Answer(Some("allow_once")),
            _ if response["behavior"] == "deny" => Deed::Answer(Some("reject_once")),
            _ => Deed::Nothing,
        }
    }

    fn request_id<'a>(&self, written: &'a Value) -> Option<&'a Value> {
        (written["type"] == "control_request").then(|| &written["request_id"])
    }

    fn is_same(&self, recorded: &Value, ours: &Value) -> bool {
        recorded["request"]["subtype"] == ours["request"]["subtype"]
    }

    fn answer_id<'a>(&self, said: &'a mut Value) -> Option<&'a mut Value> {
        if said["type"] == "control_response" { said.get_mut("response")?.get_mut("request_id") } else { None }
    }
}
