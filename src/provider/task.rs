//! What a run of an agent is to do: the part of `run/start` that its provider needs to know.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::model::calls::{PermissionMode, Prompt};

/// An agent's task. It travels to the supervisor with the run's orders, never by argv or file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// The provider's name, as `run/start` said it.
    pub provider: String,
    /// Its kind: a name in the table of providers.
    pub kind: String,
    /// The first prompt; none if the run begins idle.
    pub prompt: Option<Blocks>,
    /// Where the agent works; absolute.
    pub cwd: String,
    /// In the provider's own words.
    pub model: Option<String>,
    /// Who decides what the agent may do.
    pub permissions: PermissionMode,
    /// The provider's session to go on with.
    pub resume: Option<String>,
    /// A fresh id, for providers that let us choose the session's.
    pub session_id: String,
    /// Stay open for prompts after a turn.
    pub interactive: bool,
    /// The run belongs to the superuser, whom some agents refuse certain modes.
    pub is_root: bool,
    /// The provider's own argv, without the run's additional arguments: what a takeover begins with.
    pub program: Vec<String>,
    /// Of a plain command-line tool: how it is used.
    #[serde(default)]
    pub plain: Plain,
}

impl Task {
    /// The simplest task: one prompt, asked in `/`, with every question put to somebody.
    pub fn for_prompt(kind: &str, prompt: Blocks) -> Self {
        Self {
            provider: kind.to_owned(),
            kind: kind.to_owned(),
            prompt: Some(prompt),
            cwd: "/".to_owned(),
            model: None,
            permissions: PermissionMode::Ask,
            resume: None,
            session_id: String::new(),
            interactive: false,
            is_root: false,
            program: vec![kind.to_owned()],
            plain: Plain::default(),
        }
    }
}

/// How a plain command-line tool, named in the configuration, is used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plain {
    /// A regular expression whose first group (or whole match) is the session's id, looked for in each line of output.
    pub session: Option<String>,
    /// The argv that goes on with a session; `{session}` stands for its id.
    pub resume: Option<Vec<String>>,
    /// The known form of its output, if it is one: a name in `formats`.
    pub format: Option<String>,
}

/// ACP content blocks.
pub type Blocks = Vec<Map<String, Value>>;

/// A prompt as content blocks.
pub fn blocks(prompt: &Prompt) -> Blocks {
    match prompt {
        Prompt::Text(text) => vec![text_block(text)],
        Prompt::Blocks(blocks) => blocks.clone(),
    }
}

/// A text as a content block.
pub fn text_block(text: &str) -> Map<String, Value> {
    object(json!({ "type": "text", "text": text }))
}

/// The text of content blocks, for providers that take nothing else: links and embedded texts by what they name or hold.
pub fn text_of(blocks: &Blocks) -> String {
    let texts = blocks.iter().map(|block| {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let resource = block.get("resource");
        block
            .get("text")
            .and_then(text)
            .or_else(|| resource.and_then(|resource| resource.get("text").and_then(text)))
            .or_else(|| resource.and_then(|resource| resource.get("uri").and_then(text)))
            .or_else(|| block.get("uri").and_then(text))
            .unwrap_or_default()
    });
    texts.filter(|text| !text.is_empty()).collect::<Vec<_>>().join("\n\n")
}

/// The members of a JSON object; of anything else, none.
pub fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}
