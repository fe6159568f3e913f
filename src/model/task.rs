//! The task of an agent: the part of `run/start` that its provider needs.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::model::calls::{McpServer, PermissionMode, Prompt};

/// An agent's task. The server sends it to the supervisor in the `LaunchSpec`, never by argv or file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// The provider's name, as in `run/start`.
    pub(crate) provider: String,
    /// The provider's kind: a name in the table of providers.
    pub(crate) kind: String,
    /// The first prompt; none if the run begins idle.
    pub(crate) prompt: Option<ContentBlocks>,
    /// Where the agent works; absolute.
    pub(crate) cwd: String,
    /// The model, by the provider's own name.
    pub(crate) model: Option<String>,
    /// Who decides what the agent may do.
    pub permissions: PermissionMode,
    /// The id of the provider's session to continue.
    pub(crate) resume: Option<String>,
    /// A new id, for providers that let us choose the id of the session.
    pub(crate) session_id: String,
    /// Stay open for prompts after a turn.
    pub(crate) interactive: bool,
    /// Whether the run belongs to the superuser. Some agents refuse certain modes to the superuser.
    pub(crate) is_root: bool,
    /// The provider's own argv, without the additional arguments of the run. A takeover command begins with it.
    pub(crate) program: Vec<String>,
    /// MCP servers that the run gives to the agent.
    #[serde(default)]
    pub(crate) mcp_servers: Vec<McpServer>,
    /// Arguments that the configuration and the run add to the provider's.
    #[serde(default)]
    pub(crate) args: Vec<String>,
    /// For a plain command-line tool: how it is used.
    #[serde(default)]
    pub(crate) plain: Plain,
    /// How many seconds the program may take for each step until it takes prompts.
    #[serde(default = "default_start_timeout_seconds")]
    pub(crate) start_timeout_seconds: u64,
}

/// What a configuration does not say, and a server that is older than the setting.
pub(crate) fn default_start_timeout_seconds() -> u64 {
    60
}

impl Task {
    /// How long the program may take for each step until it takes prompts.
    pub(crate) fn start_timeout(&self) -> Duration {
        Duration::from_secs(self.start_timeout_seconds)
    }

    /// The simplest task: one prompt in the directory `/`, in permission mode `ask`.
    pub fn for_prompt(kind: &str, prompt: ContentBlocks) -> Self {
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
            mcp_servers: Vec::new(),
            args: Vec::new(),
            plain: Plain::default(),
            start_timeout_seconds: default_start_timeout_seconds(),
        }
    }
}

/// How a plain command-line tool from the configuration is used.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plain {
    /// A regular expression that is matched with each line of output. Its first group, or the whole match, is the
    /// session's id.
    pub(crate) session: Option<String>,
    /// The argv that continues a session; `{session}` is replaced by its id.
    pub(crate) resume: Option<Vec<String>>,
    /// The name of the format of its output, if loomd knows it.
    pub(crate) format: Option<String>,
}

/// ACP content blocks.
pub type ContentBlocks = Vec<Map<String, Value>>;

/// A prompt as content blocks.
pub(crate) fn blocks(prompt: &Prompt) -> ContentBlocks {
    match prompt {
        Prompt::Text(text) => vec![text_block(text)],
        Prompt::Blocks(blocks) => blocks.clone(),
    }
}

/// A text as a content block.
pub fn text_block(text: &str) -> Map<String, Value> {
    object(json!({ "type": "text", "text": text }))
}

/// The text of content blocks, for providers that take only text. A link becomes its URI, an embedded resource its text
/// or URI.
pub fn text_of(blocks: &ContentBlocks) -> String {
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

/// The members of a JSON object; of any other value, none.
pub(crate) fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}
