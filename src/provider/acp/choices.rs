//! The modes and models that an agent offers for a session, in either of the two ways in which agents tell them.

use serde_json::{Value, json};

use super::wire::text_at;

/// What can be chosen for a session.
#[derive(Clone, Debug, Default)]
pub struct Choices {
    modes: Vec<Choice>,
    models: Vec<Choice>,
}

#[derive(Clone, Debug)]
struct Choice {
    via: Via,
    current: String,
    /// Ids and names.
    offered: Vec<(String, String)>,
}

/// How the choice is told to the agent.
#[derive(Clone, Debug)]
enum Via {
    Mode,
    Model,
    /// A configuration option of this id.
    Option(String),
}

/// What is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    Mode,
    Model,
}

/// A request that makes a choice.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    pub what: What,
    pub id: String,
    pub method: &'static str,
    pub params: Value,
}

impl Choices {
    /// From the answer to `session/new`, `session/load` or `session/resume`.
    pub fn new(told: &Value) -> Self {
        let mut choices = Self::default();
        choices.modes.extend(choice(Via::Mode, &told["modes"], "availableModes", "id", "currentModeId"));
        choices.options(&told["configOptions"]);
        // Options are the newer way, so they come first; the older list of models has variants that options put into a list of their own.
        choices.models.extend(choice(Via::Model, &told["models"], "availableModels", "modelId", "currentModelId"));
        choices
    }

    /// The agent told its options anew.
    pub fn options(&mut self, told: &Value) {
        for option in told.as_array().into_iter().flatten() {
            let Some(id) = text_at(option, &["id"]) else { continue };
            let known = match text_at(option, &["category"]) {
                Some("mode") => &mut self.modes,
                Some("model") => &mut self.models,
                _ => continue,
            };
            let mut offered = Vec::new();
            for entry in option["options"].as_array().into_iter().flatten() {
                // Options may stand in groups.
                let members = entry["options"].as_array();
                offered.extend(members.into_iter().flatten().chain([entry]).filter_map(|entry| pair(entry, "value")));
            }
            let current = text_at(option, &["currentValue"]).unwrap_or_default().to_owned();
            known.retain(|choice| !matches!(&choice.via, Via::Option(known) if known == id));
            known.push(Choice { via: Via::Option(id.to_owned()), current, offered });
        }
    }

    /// The agent is in another mode.
    pub fn is_now(&mut self, what: What, id: &str) {
        for choice in self.list_mut(what).iter_mut().filter(|choice| choice.offered.iter().any(|(offered, _)| offered == id)) {
            id.clone_into(&mut choice.current);
        }
    }

    /// The current mode, as far as it is known.
    pub fn mode(&self) -> Option<&str> {
        self.modes.first().map(|choice| choice.current.as_str())
    }

    pub fn has(&self, what: What) -> bool {
        self.list(what).iter().any(|choice| !choice.offered.is_empty())
    }

    /// The first of these ids that is offered.
    pub fn first_of(&self, what: What, ids: &[&str]) -> Option<String> {
        ids.iter().find(|id| self.find(what, id).is_some()).map(|id| (*id).to_owned())
    }

    /// The request that chooses this; `None` if it is not offered, `Some(None)` if it is so already.
    pub fn choose(&self, what: What, id: &str, session: &str) -> Option<Option<Setting>> {
        let (choice, id) = self.find(what, id)?;
        if choice.current == id {
            return Some(None);
        }
        let (method, params) = match &choice.via {
            Via::Mode => ("session/set_mode", json!({ "sessionId": session, "modeId": id })),
            Via::Model => ("session/set_model", json!({ "sessionId": session, "modelId": id })),
            Via::Option(option) => ("session/set_config_option", json!({ "sessionId": session, "configId": option, "value": id })),
        };
        Some(Some(Setting { what, id: id.to_owned(), method, params }))
    }

    /// What is offered, as `provider/options` tells it.
    pub fn offered(&self, what: What) -> Vec<Value> {
        let longest = self.list(what).first();
        longest.into_iter().flat_map(|choice| &choice.offered).map(|(id, name)| json!({ "id": id, "name": name })).collect()
    }

    /// The ids that are offered, for a sentence.
    pub fn names(&self, what: What) -> String {
        const SHOWN: usize = 12;
        let ids: Vec<&str> = self.list(what).first().into_iter().flat_map(|choice| &choice.offered).map(|(id, _)| id.as_str()).collect();
        let more = ids.len().saturating_sub(SHOWN);
        let shown = ids.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", ");
        if more > 0 { format!("{shown} and {more} more") } else { shown }
    }

    /// By id, else by name in whatever case.
    fn find(&self, what: What, wanted: &str) -> Option<(&Choice, &str)> {
        let all = || self.list(what).iter().flat_map(|choice| choice.offered.iter().map(move |(id, name)| (choice, id, name)));
        let by_id = all().find(|(_, id, _)| *id == wanted);
        let found = by_id.or_else(|| all().find(|(_, _, name)| what == What::Model && name.eq_ignore_ascii_case(wanted)))?;
        Some((found.0, found.1))
    }

    fn list(&self, what: What) -> &[Choice] {
        match what {
            What::Mode => &self.modes,
            What::Model => &self.models,
        }
    }

    fn list_mut(&mut self, what: What) -> &mut [Choice] {
        match what {
            What::Mode => &mut self.modes,
            What::Model => &mut self.models,
        }
    }
}

fn choice(via: Via, told: &Value, list: &str, id: &str, current: &str) -> Option<Choice> {
    let offered = told[list].as_array()?.iter().filter_map(|entry| pair(entry, id)).collect();
    Some(Choice { via, current: text_at(told, &[current]).unwrap_or_default().to_owned(), offered })
}

fn pair(entry: &Value, id: &str) -> Option<(String, String)> {
    let id = text_at(entry, &[id])?;
    Some((id.to_owned(), text_at(entry, &["name"]).unwrap_or(id).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both() -> Choices {
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
    fn a_choice_is_made_in_the_way_in_which_it_is_offered() {
        let choices = both();
        let method = |what, id| choices.choose(what, id, "s").map(|setting| setting.map(|setting| setting.method));
        assert_eq!(method(What::Mode, "default"), Some(Some("session/set_mode")));
        assert_eq!(method(What::Mode, "auto"), Some(None), "it is so already");
        assert_eq!(method(What::Mode, "plan"), None);
        assert_eq!(method(What::Model, "N"), Some(Some("session/set_config_option")), "by its name, in a group");
        assert_eq!(method(What::Model, "m[low]"), Some(None));
        assert_eq!(method(What::Model, "x"), None);
    }

    #[test]
    fn what_was_chosen_is_current() {
        let mut choices = both();
        choices.is_now(What::Mode, "default");
        assert_eq!(choices.choose(What::Mode, "default", "s"), Some(None));
        choices.options(&json!([{ "id": "model", "category": "model", "currentValue": "n", "options": [{ "value": "n" }] }]));
        assert_eq!(choices.choose(What::Model, "n", "s"), Some(None));
    }
}
