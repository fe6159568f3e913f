//! What is particular to the recordings of `claude`.

use serde_json::Value;

use crate::{
    model::{
        Plain, Task,
        calls::PermissionMode,
        task::{ContentBlocks, object, text_block},
    },
    provider::{
        Adapter, Provider,
        tests::recording::{ClientAction, RecordedClient, Recording},
    },
};

pub(crate) struct ClaudeRecorder;

impl RecordedClient for ClaudeRecorder {
    fn task(&self, recording: &Recording) -> Task {
        let argv = recording.argv();
        let after = |option: &str| argv.iter().position(|word| word == option).and_then(|at| argv.get(at + 1)).cloned();
        let reads_stdin = argv.iter().any(|word| word == "--input-format");
        let written = recording.client();
        let prompt = if reads_stdin {
            written.iter().find_map(|written| match self.action(written) {
                ClientAction::Prompt(blocks) => Some(blocks),
                _ => None,
            })
        } else {
            argv.last().filter(|word| word.starts_with("fake:")).map(|word| vec![text_block(word)])
        };
        let program = recording.program();
        let id = || program.iter().find_map(|message| message["session_id"].as_str().map(str::to_owned));
        Task {
            provider: "claude".to_owned(),
            start_timeout_seconds: 60,
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
            interactive: reads_stdin,
            is_root: true,
            program: vec!["claude".to_owned()],
            mcp_servers: Vec::new(),
            args: argv,
            plain: Plain::default(),
        }
    }

    fn adapter(&self, task: Task) -> Box<dyn Adapter> {
        super::super::Claude.adapter(task)
    }

    fn action(&self, written: &Value) -> ClientAction {
        let response = &written["response"]["response"];
        match (written["type"].as_str(), written["request"]["subtype"].as_str()) {
            (Some("user"), _) => {
                let blocks: ContentBlocks = written["message"]["content"].as_array().into_iter().flatten().cloned().map(object).collect();
                let is_steered =
                    blocks.iter().any(|block| block["text"].as_str().is_some_and(|text| text.ends_with("while the tool runs")));
                if is_steered { ClientAction::Steer(blocks) } else { ClientAction::Prompt(blocks) }
            }
            (_, Some("interrupt")) => ClientAction::Interrupt,
            (_, Some("set_permission_mode")) => ClientAction::Configure(None, Some(PermissionMode::AcceptEdits)),
            (_, Some("set_model")) => ClientAction::Configure(Some("claude-sonnet-4-6"), None),
            (_, Some(_)) => ClientAction::Protocol,
            _ if response["behavior"] == "allow" => ClientAction::Answer(Some("allow_once")),
            _ if response["behavior"] == "deny" => ClientAction::Answer(Some("reject_once")),
            _ => ClientAction::Nothing,
        }
    }

    fn request_id<'a>(&self, written: &'a Value) -> Option<&'a Value> {
        (written["type"] == "control_request").then(|| &written["request_id"])
    }

    fn is_same(&self, recorded: &Value, ours: &Value) -> bool {
        recorded["request"]["subtype"] == ours["request"]["subtype"]
    }

    fn response_id<'a>(&self, message: &'a mut Value) -> Option<&'a mut Value> {
        if message["type"] == "control_response" { message.get_mut("response")?.get_mut("request_id") } else { None }
    }
}
