//! Prompts on their way: given, and not yet told back as taken.

use std::collections::VecDeque;

use serde_json::{Map, Value, json};

use crate::provider::{
    out::{Out, Severity},
    task::{Blocks, text_of},
};

/// Those that were given and not taken, oldest first.
#[derive(Debug, Default)]
pub struct Prompts(VecDeque<Given>);

#[derive(Debug)]
struct Given {
    /// The id that comes back with the echo.
    uuid: String,
    text: String,
    /// It was given into a running turn.
    steered: bool,
}

impl Prompts {
    /// Gives a prompt.
    pub fn give(&mut self, uuid: String, prompt: &Blocks, steered: bool, out: &mut Out) {
        let mut content = Vec::new();
        for block in prompt {
            match content_of(block) {
                Some(block) => content.push(block),
                None => {
                    let kind = block.get("type").and_then(Value::as_str).unwrap_or("unknown");
                    out.notice(Severity::Warning, &format!("claude takes no {kind} content; it was left out of the prompt"), None);
                }
            }
        }
        let text = text_of(prompt);
        let message = json!({ "role": "user", "content": content });
        out.send(&json!({ "type": "user", "message": message, "parent_tool_use_id": null, "session_id": "", "uuid": uuid }));
        self.0.push_back(Given { uuid, text, steered });
    }

    /// The turn goes on, so its own prompt was taken, echo or not.
    pub fn own_is_taken(&mut self, out: &mut Out) {
        if self.0.front().is_some_and(|given| !given.steered) {
            self.0.pop_front();
            out.took();
        }
    }

    /// An echo. Older versions do not give our id back, so the text counts too. `false`: it is nobody's.
    pub fn echoed(&mut self, echo: &Value, out: &mut Out) -> bool {
        let Some(at) = self.place_of(echo) else { return false };
        for _ in self.0.drain(..=at) {
            out.took();
        }
        true
    }

    /// Whether this is the echo of a prompt that was not taken yet.
    pub fn is_echo(&self, echo: &Value) -> bool {
        self.place_of(echo).is_some()
    }

    /// What a stopped turn leaves to the next one, by the ids that claude still holds; `None`: it did not say.
    pub fn keep_queued(&mut self, ids: Option<&[Value]>) {
        if let Some(ids) = ids {
            let id = |held: &Value| held.as_str().or_else(|| held["uuid"].as_str()).map(str::to_owned);
            let ids: Vec<String> = ids.iter().filter_map(id).collect();
            self.0.retain(|given| !given.steered || ids.contains(&given.uuid));
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }

    fn place_of(&self, echo: &Value) -> Option<usize> {
        let content = &echo["message"]["content"];
        let text = text_in(content);
        let by_id = self.0.iter().position(|given| echo["uuid"] == given.uuid.as_str());
        let by_text = || self.0.iter().position(|given| given.text == text);
        // Several prompts may come back as one; what its own commands print comes back as well.
        let is_own_word = text.starts_with("<local-command-") || text.starts_with("<command-");
        by_id.or_else(by_text).or((!is_own_word && !self.0.is_empty()).then_some(0))
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

/// An ACP content block in Claude's words.
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
