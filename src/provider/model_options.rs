//! The options of agents that choose among models, each with its own levels of effort, as ACP's configuration options.

use crate::model::{
    Failure,
    calls::RunSettings,
    config_option::{self, ConfigOption},
};

/// The id of the option that chooses the model.
const MODEL_OPTION: &str = "model";
/// The id of the option that chooses how much the model thinks.
const EFFORT_OPTION: &str = "effort";

/// The models that an agent offers, and what is chosen among them. As long as no models are known there are no options.
#[derive(Debug, Default)]
pub(crate) struct ModelOptions {
    models: Vec<AgentModel>,
    model: String,
    effort: Option<String>,
}

/// A model of an agent.
#[derive(Debug)]
pub(crate) struct AgentModel {
    pub(crate) id: String,
    pub(crate) name: String,
    /// How much it can be told to think, least first.
    pub(crate) efforts: Vec<String>,
    /// What it does if nothing is chosen.
    pub(crate) default_effort: Option<String>,
}

impl ModelOptions {
    /// Takes what the agent offers and has chosen.
    pub(crate) fn set(&mut self, models: Vec<AgentModel>, model: &str, effort: Option<&str>) {
        *self = Self { models, model: model.to_owned(), effort: effort.map(str::to_owned) };
    }

    /// The options as a client shows them.
    pub(crate) fn config_options(&self) -> Vec<ConfigOption> {
        if self.models.is_empty() {
            return Vec::new();
        }
        let mut models: Vec<_> = self.models.iter().map(|model| (model.id.clone(), model.name.clone())).collect();
        if !self.model.is_empty() && self.find(&self.model).is_none() {
            models.insert(0, (self.model.clone(), self.model.clone()));
        }
        let mut options = vec![config_option::select(MODEL_OPTION, "Model", "model", &self.model, &models)];
        let efforts: Vec<_> = self.efforts().iter().map(|effort| (effort.clone(), capitalized(effort))).collect();
        if let Some(current) = self.effort().filter(|_| !efforts.is_empty()) {
            options.push(config_option::select(EFFORT_OPTION, "Effort", "thought_level", current, &efforts));
        }
        options
    }

    /// Checks the options among these settings. `agent` names the agent for people.
    pub(crate) fn check(&self, settings: &RunSettings, agent: &str) -> Result<(), Failure> {
        let options = self.config_options();
        if options.is_empty() && !settings.options.is_empty() {
            return Err(Failure::unsupported(
                "options",
                format!("{agent} has not told of any options; its version may be too old for them"),
            ));
        }
        // The levels are those of the model that is chosen at the same time.
        let model = Self::model_of(settings).unwrap_or_else(|| self.model.clone());
        let has_effort = |effort: &str| self.find(&model).is_some_and(|model| model.efforts.iter().any(|known| known == effort));
        let checked = settings.options.iter().filter(|(id, value)| *id != EFFORT_OPTION || !has_effort(&value.id()));
        checked.into_iter().try_for_each(|(id, value)| config_option::check(&options, id, value))
    }

    /// Notes settings. Returns the model and the effort that the agent has to be told.
    pub(crate) fn apply(&mut self, settings: &RunSettings) -> (Option<String>, Option<String>) {
        let model = Self::model_of(settings);
        if let Some(model) = &model {
            self.model.clone_from(model);
        }
        let chosen = settings.options.get(EFFORT_OPTION).map(|value| value.id());
        // A level that another model does not have is replaced by that model's own.
        let is_missing = |effort: &String| !self.efforts().is_empty() && !self.efforts().contains(effort);
        let effort = chosen.or_else(|| self.effort.as_ref().filter(|effort| is_missing(effort)).and_then(|_| self.default_effort()));
        if effort.is_some() {
            self.effort.clone_from(&effort);
        }
        (model, effort)
    }

    /// What is chosen, for [`Self::restore`].
    pub(crate) fn chosen(&self) -> (String, Option<String>) {
        (self.model.clone(), self.effort.clone())
    }

    /// Takes back what the agent did not accept.
    pub(crate) fn restore(&mut self, chosen: (String, Option<String>)) {
        (self.model, self.effort) = chosen;
    }

    fn model_of(settings: &RunSettings) -> Option<String> {
        settings.options.get(MODEL_OPTION).map(|value| value.id()).or_else(|| settings.model.clone())
    }

    fn find(&self, id: &str) -> Option<&AgentModel> {
        self.models.iter().find(|model| model.id == id)
    }

    fn efforts(&self) -> &[String] {
        self.find(&self.model).map_or(&[], |model| &model.efforts)
    }

    fn default_effort(&self) -> Option<String> {
        self.find(&self.model).and_then(|model| model.default_effort.clone())
    }

    fn effort(&self) -> Option<&str> {
        let default = || self.find(&self.model).and_then(|model| model.default_effort.as_deref());
        self.effort.as_deref().or_else(default)
    }
}

fn capitalized(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}
