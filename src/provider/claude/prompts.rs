//! Prompts that were sent to Claude and are not accepted yet. Claude echoes a prompt once it has accepted it.

use std::collections::VecDeque;

use serde_json::{Map, Value, json};

use crate::{
    model::task::{ContentBlocks, text_of},
    provider::event_sink::{EventSink, Severity},
};

/// The prompts that were sent and not accepted, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Prompts {
    pending: VecDeque<PendingPrompt>,
    /// The turn's own prompt, which was accepted because the turn went on, and has had no echo.
    unechoed: Option<PendingPrompt>,
}

#[derive(Debug)]
struct PendingPrompt {
    /// The id that Claude repeats in the echo.
    uuid: String,
    text: String,
    /// The prompt was sent into a running turn.
    steered: bool,
}

impl Prompts {
    /// Sends a prompt.
    pub(crate) fn send(&mut self, uuid: String, prompt: &ContentBlocks, steered: bool, out: &mut EventSink) {
        let mut content = Vec::new();
        for block in prompt {
            match content_of(block) {
                Some(block) => content.push(block),
                None => {
                    let kind = block.get("type").and_then(Value::as_str).unwrap_or("unknown");
                    out.notice(Severity::Warning, &format!("claude does not accept {kind} content; the prompt was sent without it"), None);
                }
            }
        }
        let text = text_of(prompt);
        let message = json!({ "role": "user", "content": content });
        out.send(&json!({ "type": "user", "message": message, "parent_tool_use_id": null, "session_id": "", "uuid": uuid }));
        self.pending.push_back(PendingPrompt { uuid, text, steered });
    }

    /// Accepts the turn's own prompt, because the turn goes on, with or without an echo.
    pub(crate) fn accept_own(&mut self, out: &mut EventSink) {
        if self.pending.front().is_some_and(|pending| !pending.steered)
            && let Some(own) = self.pending.pop_front()
        {
            self.unechoed = Some(own);
            out.prompt_accepted();
        }
    }

    /// Whether Claude may not have begun with the turn's own prompt.
    pub(crate) fn awaits_echo(&self) -> bool {
        self.unechoed.is_some() || self.pending.front().is_some_and(|pending| !pending.steered)
    }

    /// The turn is over: its own prompt gets no echo any more.
    pub(crate) fn forget_echo(&mut self) {
        self.unechoed = None;
    }

    /// Accepts the prompt that an echo belongs to, and all before it. Older versions of Claude do not repeat the id, so
    /// the text counts too. `false` means that the echo belongs to no prompt.
    pub(crate) fn accept_echo(&mut self, echo: &Value, out: &mut EventSink) -> bool {
        if self.is_own_echo(echo) {
            self.unechoed = None;
            return true;
        }
        let Some(at) = self.position_of(echo) else { return false };
        for _ in self.pending.drain(..=at) {
            out.prompt_accepted();
        }
        true
    }

    /// Whether this is the echo of a prompt that is not accepted yet.
    pub(crate) fn is_echo(&self, echo: &Value) -> bool {
        self.is_own_echo(echo) || self.position_of(echo).is_some()
    }

    fn is_own_echo(&self, echo: &Value) -> bool {
        let text = text_in(&echo["message"]["content"]);
        self.unechoed.as_ref().is_some_and(|own| echo["uuid"] == own.uuid.as_str() || own.text == text)
    }

    /// Keeps those prompts of an interrupted turn that Claude still holds for its next one. `None` means that Claude
    /// did not list them.
    pub(crate) fn keep_queued(&mut self, ids: Option<&[Value]>) {
        if let Some(ids) = ids {
            let id = |held: &Value| held.as_str().or_else(|| held["uuid"].as_str()).map(str::to_owned);
            let ids: Vec<String> = ids.iter().filter_map(id).collect();
            self.pending.retain(|pending| !pending.steered || ids.contains(&pending.uuid));
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.pending.clear();
    }

    fn position_of(&self, echo: &Value) -> Option<usize> {
        let content = &echo["message"]["content"];
        let text = text_in(content);
        let by_id = self.pending.iter().position(|pending| echo["uuid"] == pending.uuid.as_str());
        let by_text = || self.pending.iter().position(|pending| pending.text == text);
        // Claude may echo several prompts as one. It also echoes what its own commands print.
        let is_command_output = ["<local-command-", "<command-", "<task-"].iter().any(|tag| text.starts_with(tag));
        by_id.or_else(by_text).or((!is_command_output && !self.pending.is_empty()).then_some(0))
    }
}

/// The text of a message's content, which is a string or blocks.
fn text_in(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(blocks) => blocks.iter().filter_map(|block| block["text"].as_str()).collect::<Vec<_>>().join("\n\n"),
        _ => String::new(),
    }
}

/// Converts an ACP content block for Claude.
fn content_of(block: &Map<String, Value>) -> Option<Value> {
    let field = |name: &str| block.get(name).and_then(Value::as_str);
    let text = |text: String| json!({ "type": "text", "text": text });
    match field("type")? {
        "text" => Some(text(field("text")?.to_owned())),
        "image" => match (field("data").filter(|data| !data.is_empty()), field("uri")) {
            (Some(data), _) => {
                let media_type = field("mimeType").unwrap_or("image/png");
                Some(json!({ "type": "image", "source": { "type": "base64", "media_type": media_type, "data": data } }))
            }
            (None, Some(uri)) => Some(json!({ "type": "image", "source": { "type": "url", "url": uri } })),
            (None, None) => None,
        },
        "resource_link" => {
            let uri = field("uri")?;
            Some(text(uri.strip_prefix("file://").map_or_else(|| uri.to_owned(), |path| format!("@{path}"))))
        }
        "resource" => {
            let resource = block.get("resource")?;
            let uri = resource["uri"].as_str().unwrap_or_default();
            match (resource["text"].as_str(), resource["blob"].as_str()) {
                (Some(inner), _) => Some(text(format!("<resource uri=\"{uri}\">\n{inner}\n</resource>"))),
                (None, Some(data)) if resource["mimeType"] == "application/pdf" => {
                    Some(json!({ "type": "document", "source": { "type": "base64", "media_type": "application/pdf", "data": data } }))
                }
                _ => None,
            }
        }
        _ => None,
    }
}
