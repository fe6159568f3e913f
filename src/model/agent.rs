//! What a run's agent offers: commands, modes and options, and how full its context is.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{
    Failure,
    config_option::ConfigOption,
    entry::open_object,
    task::{ContentBlocks, text_of},
};

/// What an agent offers to whoever writes its prompts. It is known while the run lives; afterwards only `context` and
/// `promptCapabilities` are.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentOffer {
    /// The commands that a prompt may begin with, as `/name`.
    #[serde(default)]
    pub(crate) commands: Vec<AgentCommand>,
    /// The modes of the session.
    #[serde(default)]
    pub(crate) modes: Vec<AgentMode>,
    /// The mode that the session is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) mode_id: Option<String>,
    /// The agent's own options, as ACP's `SessionConfigOption`.
    #[serde(default)]
    #[schemars(schema_with = "open_objects")]
    pub(crate) config_options: Vec<ConfigOption>,
    /// How full the context of its model is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) context: Option<ContextUse>,
    /// What a prompt may have beside text and links. Absent until the agent has told it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) prompt_capabilities: Option<PromptCapabilities>,
}

/// What an agent takes in a prompt beside text and links, as in ACP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PromptCapabilities {
    /// Whether it takes images. Where it does not, a prompt with one is refused.
    pub(crate) image: bool,
    /// Whether it takes audio. Where it does not, a prompt with some is refused.
    pub(crate) audio: bool,
    /// Whether it takes embedded resources. Where it does not, it gets their text.
    pub(crate) embedded_context: bool,
}

/// A command of an agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct AgentCommand {
    /// Its name, without a slash.
    pub(crate) name: String,
    /// What it does, for people.
    pub(crate) description: String,
    /// What is written behind its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) hint: Option<String>,
}

/// A mode of an agent's session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct AgentMode {
    /// The agent's id of it.
    pub(crate) id: String,
    /// Its name, for people.
    pub(crate) name: String,
}

/// Tokens in the context of an agent's model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ContextUse {
    /// How many there are.
    pub(crate) used: u64,
    /// How many there can be.
    pub(crate) size: u64,
}

/// The updates that change an offer.
pub(crate) const OFFER_UPDATES: [&str; 4] = ["available_commands_update", "current_mode_update", "config_option_update", "usage_update"];

// The offer is a part of the run's head, which is written often.
const MAX_COMMANDS: usize = 200;
const MAX_TEXT_BYTES: usize = 200;
const MAX_OPTIONS_BYTES: usize = 32 << 10;

impl AgentOffer {
    /// Applies an update of the agent. `false`: it is about nothing that is kept here.
    pub(crate) fn apply(&mut self, update: &Map<String, Value>) -> bool {
        let list = |name: &str| update.get(name).and_then(Value::as_array);
        match update.get("sessionUpdate").and_then(Value::as_str) {
            Some("available_commands_update") => self.set_commands(list("availableCommands").map(Vec::as_slice).unwrap_or_default()),
            Some("current_mode_update") => self.mode_id = update.get("currentModeId").and_then(Value::as_str).map(text),
            Some("config_option_update") => {
                let options = list("configOptions").into_iter().flatten();
                self.set_options(&options.filter_map(Value::as_object).cloned().collect::<Vec<_>>());
            }
            Some("usage_update") => {
                let count = |name: &str| update.get(name).and_then(Value::as_u64);
                if let (Some(used), Some(size)) = (count("used"), count("size")) {
                    self.context = Some(ContextUse { used, size });
                }
            }
            _ => return false,
        }
        true
    }

    /// Sets the commands from ACP's `AvailableCommand`s.
    pub(crate) fn set_commands(&mut self, commands: &[Value]) {
        let command = |command: &Value| {
            Some(AgentCommand {
                name: text(command["name"].as_str()?),
                description: text(command["description"].as_str().unwrap_or_default()),
                hint: command["input"]["hint"].as_str().filter(|hint| !hint.is_empty()).map(text),
            })
        };
        self.commands = commands.iter().filter_map(command).take(MAX_COMMANDS).collect();
    }

    /// Sets the options, and the mode that one of them is.
    pub(crate) fn set_options(&mut self, options: &[ConfigOption]) {
        let length: usize = options.iter().map(|option| json!(option).to_string().len()).sum();
        if length <= MAX_OPTIONS_BYTES {
            self.config_options = options.to_vec();
        }
    }

    /// Takes what is known before the agent has sent an update.
    pub(crate) fn merge(&mut self, offer: &Self) {
        if !offer.commands.is_empty() {
            self.commands.clone_from(&offer.commands);
        }
        if !offer.modes.is_empty() {
            self.modes.clone_from(&offer.modes);
            self.mode_id.clone_from(&offer.mode_id);
        }
        if !offer.config_options.is_empty() {
            self.config_options.clone_from(&offer.config_options);
        }
        self.prompt_capabilities = offer.prompt_capabilities.or(self.prompt_capabilities);
    }

    /// The modes, from their ids and names.
    pub(crate) fn set_modes(&mut self, modes: Vec<(String, String)>, current: Option<&str>) {
        self.modes = modes.into_iter().take(MAX_COMMANDS).map(|(id, name)| AgentMode { id: text(&id), name: text(&name) }).collect();
        self.mode_id = current.filter(|current| !current.is_empty()).map(text);
    }

    /// The run has ended: nothing can be chosen any more.
    pub(crate) fn end(&mut self) {
        *self = Self { context: self.context, prompt_capabilities: self.prompt_capabilities, ..Self::default() };
    }

    /// An offer of which only this is known.
    pub(crate) fn of_prompts(takes: PromptCapabilities) -> Self {
        Self { prompt_capabilities: Some(takes), ..Self::default() }
    }
}

impl PromptCapabilities {
    /// Refuses a prompt of which the agent would not get a part. `agent` names it for people.
    pub(crate) fn check(self, agent: &str, prompt: &ContentBlocks) -> Result<(), Failure> {
        for block in prompt {
            let (capability, kind, is_taken) = match block.get("type").and_then(Value::as_str) {
                Some("image") => ("image", "images", self.image),
                Some("audio") => ("audio", "audio", self.audio),
                Some("resource") => ("embeddedContext", "embedded files that are no text", self.embedded_context),
                _ => continue,
            };
            // What has a text or an address goes as that.
            let is_replaced = capability == "embeddedContext" && !text_of(&vec![block.clone()]).is_empty();
            if !is_taken && !is_replaced {
                return Err(Failure::unsupported(capability, format!("{agent} takes no {kind}; send the prompt without them")));
            }
        }
        Ok(())
    }
}

fn text(text: &str) -> String {
    text[..text.floor_char_boundary(MAX_TEXT_BYTES)].to_owned()
}

fn open_objects(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
    let item = open_object(generator);
    schemars::json_schema!({ "type": "array", "items": item })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::task::object;

    #[test]
    fn updates_change_what_is_offered_and_an_end_leaves_the_context() {
        let mut offer = AgentOffer::default();
        for update in [
            json!({ "sessionUpdate": "available_commands_update",
                "availableCommands": [{ "name": "plan", "description": "Plans", "input": { "hint": "what" } }, 7] }),
            json!({ "sessionUpdate": "current_mode_update", "currentModeId": "plan" }),
            json!({ "sessionUpdate": "config_option_update", "configOptions": [{ "id": "model" }, 7] }),
            json!({ "sessionUpdate": "usage_update", "used": 10, "size": 100 }),
        ] {
            assert!(offer.apply(&object(update)));
        }
        assert!(!offer.apply(&object(json!({ "sessionUpdate": "plan" }))));
        let expected = json!({ "commands": [{ "name": "plan", "description": "Plans", "hint": "what" }], "modes": [], "modeId": "plan",
            "configOptions": [{ "id": "model" }], "context": { "used": 10, "size": 100 } });
        assert_eq!(json!(offer), expected);
        offer.end();
        assert_eq!(json!(offer), json!({ "commands": [], "modes": [], "configOptions": [], "context": { "used": 10, "size": 100 } }));
    }
}
