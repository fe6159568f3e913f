//! The modes and models that an agent offers for a session.
//!
//! Agents offer them in one of two forms, or in both: lists of modes and models with a method each, and configuration
//! options.

use serde_json::{Value, json};

use super::wire::text_at;
use crate::model::{
    Failure,
    agent::AgentOffer,
    config_option::{self, ConfigOption, OptionValue},
};

/// What can be chosen for a session. Each list holds one entry for each form in which the agent offers the choice.
#[derive(Clone, Debug, Default)]
pub(crate) struct Choices {
    modes: Vec<OfferedChoice>,
    models: Vec<OfferedChoice>,
    /// All configuration options as the agent sent them, those for mode and model too.
    config_options: Vec<ConfigOption>,
}

/// One choice, in one of the two forms.
#[derive(Clone, Debug)]
struct OfferedChoice {
    set_by: SetMethod,
    current: String,
    /// The id and the name of each option.
    options: Vec<(String, String)>,
}

/// The method by which an option is chosen.
#[derive(Clone, Debug)]
enum SetMethod {
    Mode,
    Model,
    /// `session/set_config_option` with this configuration id.
    ConfigOption(String),
}

/// What a setting sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SettingKind {
    Mode,
    Model,
    /// Any other configuration option.
    Other,
}

/// A request that makes a setting.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Setting {
    pub(crate) kind: SettingKind,
    /// The configuration option that is set, if it is one.
    option: Option<String>,
    /// What is chosen.
    pub(crate) id: String,
    pub(crate) method: &'static str,
    pub(crate) params: Value,
}

impl Choices {
    /// Reads the result of `session/new`, `session/load` or `session/resume`.
    pub(crate) fn new(result: &Value) -> Self {
        let mut choices = Self::default();
        choices.modes.extend(offered_choice(SetMethod::Mode, &result["modes"], "availableModes", "id", "currentModeId"));
        choices.update_options(&result["configOptions"]);
        // Configuration options are the newer form, so they come first. The older list of models contains variants
        // that configuration options keep in a list of their own.
        choices.models.extend(offered_choice(SetMethod::Model, &result["models"], "availableModels", "modelId", "currentModelId"));
        choices
    }

    /// Reads all configuration options.
    pub(crate) fn update_options(&mut self, config_options: &Value) {
        let Some(config_options) = config_options.as_array() else { return };
        self.config_options = config_options.iter().filter_map(Value::as_object).cloned().collect();
        for option in &self.config_options {
            let Some(id) = option.get("id").and_then(Value::as_str) else { continue };
            let known = match kind_of(option) {
                SettingKind::Mode => &mut self.modes,
                SettingKind::Model => &mut self.models,
                SettingKind::Other => continue,
            };
            let (options, current) = (config_option::values(option), config_option::current(option).unwrap_or_default());
            known.retain(|choice| !matches!(&choice.set_by, SetMethod::ConfigOption(known) if known == id));
            known.push(OfferedChoice { set_by: SetMethod::ConfigOption(id.to_owned()), current, options });
        }
    }

    /// Notes that this mode or model is now the current one.
    pub(crate) fn set_current(&mut self, kind: SettingKind, id: &str) {
        for choice in self.choices_of_kind_mut(kind).iter_mut().filter(|choice| choice.options.iter().any(|(offered, _)| offered == id)) {
            id.clone_into(&mut choice.current);
        }
        let option = self.config_options.iter_mut().filter(|option| kind != SettingKind::Other && kind_of(option) == kind);
        for option in option.filter(|option| config_option::values(option).iter().any(|(offered, _)| offered == id)) {
            option.insert("currentValue".to_owned(), json!(id));
        }
    }

    /// Notes that the agent has accepted a setting.
    pub(crate) fn accepted(&mut self, setting: &Setting) {
        self.set_current(setting.kind, &setting.id);
        if let Some(option) = &setting.option {
            config_option::set_current(&mut self.config_options, option, &OptionValue::Id(setting.id.clone()));
        }
    }

    /// Checks that the agent offers this. In its older form the modes and models count as the options `mode` and `model`.
    pub(crate) fn check_option(&self, id: &str, value: &OptionValue) -> Result<(), Failure> {
        let mut options = self.config_options.clone();
        for (id, choices) in [("mode", &self.modes), ("model", &self.models)] {
            if let Some(choice) = choices.iter().find(|choice| !matches!(choice.set_by, SetMethod::ConfigOption(_)))
                && config_option::find(&options, id).is_none()
            {
                options.push(config_option::select(id, id, id, &choice.current, &choice.options));
            }
        }
        config_option::check(&options, id, value)
    }

    /// Whether this sets the mode of the session.
    pub(crate) fn is_mode(&self, id: &str) -> bool {
        config_option::find(&self.config_options, id).map_or(id == "mode", |option| kind_of(option) == SettingKind::Mode)
    }

    /// The request that sets an option. `None`: it is set so already, or not offered.
    pub(crate) fn set_option(&self, id: &str, value: &OptionValue, session: &str) -> Option<Setting> {
        let Some(option) = config_option::find(&self.config_options, id) else {
            let kind = if id == "mode" { SettingKind::Mode } else { SettingKind::Model };
            return self.choose(kind, &value.id(), session).flatten();
        };
        if config_option::current(option) == Some(value.id()) {
            return None;
        }
        let mut params = json!({ "sessionId": session, "configId": id, "value": value.id() });
        if config_option::is_switch(option) {
            params["type"] = json!("boolean");
            params["value"] = json!(value.is_on());
        }
        Some(Setting { kind: kind_of(option), option: Some(id.to_owned()), id: value.id(), method: "session/set_config_option", params })
    }

    /// The current mode, as far as it is known.
    pub(crate) fn current_mode(&self) -> Option<&str> {
        self.modes.first().map(|choice| choice.current.as_str())
    }

    /// The request that sets the mode in which the session already is.
    pub(crate) fn repeat_mode(&self, session: &str) -> Option<Setting> {
        let choice = self.modes.first()?;
        Some(setting(choice, SettingKind::Mode, &choice.current, session))
    }

    pub(crate) fn has_options(&self, kind: SettingKind) -> bool {
        self.choices_of_kind(kind).iter().any(|choice| !choice.options.is_empty())
    }

    /// The first of these ids that is offered.
    pub(crate) fn first_offered(&self, kind: SettingKind, ids: &[&str]) -> Option<String> {
        ids.iter().find(|id| self.find_option(kind, id).is_some()).map(|id| (*id).to_owned())
    }

    /// The request that chooses an option. `None` means that it is not offered, `Some(None)` that it is chosen
    /// already.
    pub(crate) fn choose(&self, kind: SettingKind, id: &str, session: &str) -> Option<Option<Setting>> {
        let (choice, id) = self.find_option(kind, id)?;
        if choice.current == id {
            return Some(None);
        }
        Some(Some(setting(choice, kind, id, session)))
    }

    /// The options, in the form of `provider/options`.
    pub(crate) fn options_json(&self, kind: SettingKind) -> Vec<Value> {
        let longest = self.choices_of_kind(kind).first();
        longest.into_iter().flat_map(|choice| &choice.options).map(|(id, name)| json!({ "id": id, "name": name })).collect()
    }

    /// What a client can choose: the modes, and the agent's options as it sent them.
    pub(crate) fn offer(&self) -> AgentOffer {
        let mut offer = AgentOffer::default();
        let modes = self.modes.first().map(|choice| choice.options.clone()).unwrap_or_default();
        offer.set_modes(modes, self.current_mode());
        offer.set_options(&self.config_options);
        offer
    }

    /// The ids of the options, for a sentence in an error message.
    pub(crate) fn listed_ids(&self, kind: SettingKind) -> String {
        const MAX_LISTED_IDS: usize = 12;
        let ids: Vec<&str> =
            self.choices_of_kind(kind).first().into_iter().flat_map(|choice| &choice.options).map(|(id, _)| id.as_str()).collect();
        let more = ids.len().saturating_sub(MAX_LISTED_IDS);
        let shown = ids.iter().take(MAX_LISTED_IDS).copied().collect::<Vec<_>>().join(", ");
        if more > 0 { format!("{shown} and {more} more") } else { shown }
    }

    /// Finds an option by its id; a model also by its name in any case.
    fn find_option(&self, kind: SettingKind, wanted: &str) -> Option<(&OfferedChoice, &str)> {
        let all = || self.choices_of_kind(kind).iter().flat_map(|choice| choice.options.iter().map(move |(id, name)| (choice, id, name)));
        let by_id = all().find(|(_, id, _)| *id == wanted);
        let found = by_id.or_else(|| all().find(|(_, _, name)| kind == SettingKind::Model && name.eq_ignore_ascii_case(wanted)))?;
        Some((found.0, found.1))
    }

    fn choices_of_kind(&self, kind: SettingKind) -> &[OfferedChoice] {
        match kind {
            SettingKind::Mode => &self.modes,
            SettingKind::Model => &self.models,
            SettingKind::Other => &[],
        }
    }

    fn choices_of_kind_mut(&mut self, kind: SettingKind) -> &mut [OfferedChoice] {
        match kind {
            SettingKind::Mode => &mut self.modes,
            SettingKind::Model => &mut self.models,
            SettingKind::Other => &mut [],
        }
    }
}

fn kind_of(option: &ConfigOption) -> SettingKind {
    match option.get("category").and_then(Value::as_str) {
        Some("mode") => SettingKind::Mode,
        Some("model") => SettingKind::Model,
        _ => SettingKind::Other,
    }
}

fn setting(choice: &OfferedChoice, kind: SettingKind, id: &str, session: &str) -> Setting {
    let (method, params) = match &choice.set_by {
        SetMethod::Mode => ("session/set_mode", json!({ "sessionId": session, "modeId": id })),
        SetMethod::Model => ("session/set_model", json!({ "sessionId": session, "modelId": id })),
        SetMethod::ConfigOption(option) => ("session/set_config_option", json!({ "sessionId": session, "configId": option, "value": id })),
    };
    let option = if let SetMethod::ConfigOption(option) = &choice.set_by { Some(option.clone()) } else { None };
    Setting { kind, option, id: id.to_owned(), method, params }
}

/// Reads a list in the older form: the options are in the member `list`, each with its id in `id`; the id of the
/// current one is in the member `current`.
fn offered_choice(set_by: SetMethod, result: &Value, list: &str, id: &str, current: &str) -> Option<OfferedChoice> {
    let options = result[list].as_array()?.iter().filter_map(|entry| id_and_name(entry, id)).collect();
    Some(OfferedChoice { set_by, current: text_at(result, &[current]).unwrap_or_default().to_owned(), options })
}

fn id_and_name(entry: &Value, id: &str) -> Option<(String, String)> {
    let id = text_at(entry, &[id])?;
    Some((id.to_owned(), text_at(entry, &["name"]).unwrap_or(id).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choices_of_both_forms() -> Choices {
        Choices::new(&json!({
            "modes": { "currentModeId": "auto", "availableModes": [{ "id": "auto", "name": "Auto" }, { "id": "default", "name": "Manual" }, 7] },
            "models": { "currentModelId": "m[low]", "availableModels": [{ "modelId": "m[low]", "name": "M (low)" }] },
            "configOptions": [
                { "id": "model", "category": "model", "currentValue": "m", "options": [{ "group": "g", "options": [{ "value": "m" }, { "value": "n", "name": "N" }] }] },
                { "category": "mode" }, "x",
            ],
        }))
    }

    #[test]
    fn a_setting_is_made_by_the_method_that_offers_it() {
        let choices = choices_of_both_forms();
        let method = |kind, id| choices.choose(kind, id, "s").map(|setting| setting.map(|setting| setting.method));
        assert_eq!(method(SettingKind::Mode, "default"), Some(Some("session/set_mode")));
        assert_eq!(method(SettingKind::Mode, "auto"), Some(None), "it is so already");
        assert_eq!(method(SettingKind::Mode, "plan"), None);
        assert_eq!(method(SettingKind::Model, "N"), Some(Some("session/set_config_option")), "by its name, in a group");
        assert_eq!(method(SettingKind::Model, "m[low]"), Some(None));
        assert_eq!(method(SettingKind::Model, "x"), None);
    }

    #[test]
    fn a_setting_that_was_made_is_current() {
        let mut choices = choices_of_both_forms();
        choices.set_current(SettingKind::Mode, "default");
        assert_eq!(choices.choose(SettingKind::Mode, "default", "s"), Some(None));
        choices.update_options(&json!([{ "id": "model", "category": "model", "currentValue": "n", "options": [{ "value": "n" }] }]));
        assert_eq!(choices.choose(SettingKind::Model, "n", "s"), Some(None));
    }
}
