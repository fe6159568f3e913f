//! What Claude offers to whoever writes its prompts, and how its model, effort and permission mode are set.

use serde_json::{Value, json};

use super::{
    PROMPT_CAPABILITIES,
    adapter::{ClaudeAdapter, ClaudeRequest},
    mode,
};
use crate::{
    model::{
        agent::AgentOffer,
        calls::{PermissionMode, RunSettings},
    },
    provider::{
        event_sink::{EventSink, Severity},
        model_options::AgentModel,
    },
};

/// The model, and the effort, that are what Claude itself would choose.
const DEFAULT_CHOICE: &str = "default";

impl ClaudeAdapter {
    /// Reports what Claude's response to `initialize` offers.
    pub(super) fn offer(&mut self, initialized: &Value, out: &mut EventSink) {
        let models = initialized["models"].as_array().into_iter().flatten().filter_map(model);
        let chosen = self.task.model.as_deref().unwrap_or(DEFAULT_CHOICE);
        self.options.set(models.collect(), chosen, None);
        let commands = initialized["commands"].as_array().map(Vec::as_slice).unwrap_or_default();
        let command = |command: &Value| json!({ "name": command["name"], "description": command["description"], "input": { "hint": command["argumentHint"] } });
        let mut offer = AgentOffer::of_prompts(PROMPT_CAPABILITIES);
        offer.set_commands(&commands.iter().map(command).collect::<Vec<_>>());
        offer.config_options = self.options.config_options();
        out.offer(offer);
    }

    /// Tells Claude its new settings.
    pub(super) fn change_settings(&mut self, settings: &RunSettings, out: &mut EventSink) {
        let before = self.options.chosen();
        let (model, effort) = self.options.apply(settings);
        if let Some(model) = model {
            let set = ClaudeRequest::Set { what: format!("the model {model}"), before: Some(before.clone()) };
            self.request(&json!({ "subtype": "set_model", "model": model }), set, out);
        }
        if let Some(effort) = effort {
            let level = Some(&effort).filter(|effort| *effort != DEFAULT_CHOICE);
            let set = ClaudeRequest::Set { what: format!("the effort {effort}"), before: Some(before) };
            self.request(&json!({ "subtype": "apply_flag_settings", "settings": { "effortLevel": level } }), set, out);
        }
        self.offer_options(out);
        if let Some(permissions) = settings.permissions {
            self.change_permissions(permissions, out);
        }
    }

    /// Claude did not accept what was chosen among its options.
    pub(super) fn take_back(&mut self, before: Option<(String, Option<String>)>, out: &mut EventSink) {
        if let Some(before) = before {
            self.options.restore(before);
            self.offer_options(out);
        }
    }

    fn offer_options(&self, out: &mut EventSink) {
        out.offer(AgentOffer { config_options: self.options.config_options(), ..AgentOffer::default() });
    }

    fn change_permissions(&mut self, permissions: PermissionMode, out: &mut EventSink) {
        let before = std::mem::replace(&mut self.task.permissions, permissions);
        // A running process takes the mode `bypassPermissions` only if it was started with it.
        let mode = if permissions == PermissionMode::Bypass { "default" } else { mode(permissions, self.task.is_root) };
        let set = ClaudeRequest::Set { what: format!("the mode {mode}"), before: None };
        self.request(&json!({ "subtype": "set_permission_mode", "mode": mode }), set, out);
        match (before, permissions) {
            (PermissionMode::ReadOnly, PermissionMode::ReadOnly) => {}
            (PermissionMode::ReadOnly, _) => {
                out.notice(Severity::Info, "claude was started without the tools that change anything; start a new run to have them", None);
            }
            (_, PermissionMode::ReadOnly) => {
                let title = "claude's permission requests are refused from now on, but claude requests no permission for what its own settings allow";
                out.notice(Severity::Warning, title, Some("Only a run that starts with readOnly has no tools that change anything."));
            }
            _ => {}
        }
    }
}

/// A model that Claude lists.
fn model(model: &Value) -> Option<AgentModel> {
    let id = model["value"].as_str()?;
    let levels = model["supportedEffortLevels"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned);
    let mut efforts: Vec<String> = levels.collect();
    if !efforts.is_empty() {
        efforts.insert(0, DEFAULT_CHOICE.to_owned());
    }
    let default_effort = (!efforts.is_empty()).then(|| DEFAULT_CHOICE.to_owned());
    Some(AgentModel { id: id.to_owned(), name: model["displayName"].as_str().unwrap_or(id).to_owned(), efforts, default_effort })
}
