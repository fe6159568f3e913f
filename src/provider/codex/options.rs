//! What Codex offers to whoever writes its prompts: its models and their levels of effort.

use serde_json::Value;

use crate::{
    model::agent::PromptCapabilities,
    provider::model_options::{AgentModel, ModelOptions},
};

/// What Codex takes in a prompt beside text and links.
pub(super) const PROMPT_CAPABILITIES: PromptCapabilities = PromptCapabilities { image: true, audio: false, embedded_context: false };

/// The models of a thread.
#[derive(Debug, Default)]
pub(super) struct CodexOptions {
    pub(super) choices: ModelOptions,
    /// The response that opened the thread.
    model: String,
    effort: Option<String>,
}

impl CodexOptions {
    /// Takes the model and the effort from the response that opened the thread.
    pub(super) fn thread_opened(&mut self, result: &Value) {
        result["model"].as_str().unwrap_or_default().clone_into(&mut self.model);
        self.effort = result["reasoningEffort"].as_str().map(str::to_owned);
    }

    /// Takes a page of models. There is one page: Codex pages only a list that a client limits.
    pub(super) fn models_listed(&mut self, result: &Value) {
        let models = result["data"].as_array().into_iter().flatten().filter(|model| model["hidden"] != true).filter_map(model);
        self.choices.set(models.collect(), &self.model, self.effort.as_deref());
    }
}

fn model(model: &Value) -> Option<AgentModel> {
    let text = |name: &str| model[name].as_str().map(str::to_owned);
    let id = text("model").or_else(|| text("id"))?;
    let efforts = model["supportedReasoningEfforts"].as_array().into_iter().flatten();
    let efforts = efforts.filter_map(|effort| effort["reasoningEffort"].as_str()).map(str::to_owned);
    Some(AgentModel {
        name: text("displayName").unwrap_or_else(|| id.clone()),
        id,
        efforts: efforts.collect(),
        default_effort: text("defaultReasoningEffort"),
    })
}
