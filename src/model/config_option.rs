//! An agent's own options, in the form of ACP's `SessionConfigOption`: which there are, and what each can be set to.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Failure, task::object};

/// What an option is set to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "must be the id of a value, or true or false")]
pub(crate) enum OptionValue {
    /// For an option of type `boolean`.
    Switch(bool),
    /// The id of one of the option's values.
    Id(String),
}

/// An option of an agent.
pub(crate) type ConfigOption = Map<String, Value>;

/// Most values that an error names.
const MAX_LISTED: usize = 12;

/// An option with values to choose from: the id and the name of each.
pub(crate) fn select(id: &str, name: &str, category: &str, current: &str, values: &[(String, String)]) -> ConfigOption {
    let values: Vec<Value> = values.iter().map(|(value, name)| json!({ "value": value, "name": name })).collect();
    object(json!({ "id": id, "name": name, "category": category, "type": "select", "currentValue": current, "options": values }))
}

/// The option with this id.
pub(crate) fn find<'a>(options: &'a [ConfigOption], id: &str) -> Option<&'a ConfigOption> {
    options.iter().find(|option| option.get("id").and_then(Value::as_str) == Some(id))
}

/// The id and the name of each value of an option; they may stand in groups. A switch has the values `true` and `false`.
pub(crate) fn values(option: &ConfigOption) -> Vec<(String, String)> {
    if is_switch(option) {
        return [("true", "On"), ("false", "Off")].map(|(id, name)| (id.to_owned(), name.to_owned())).to_vec();
    }
    let entries = option.get("options").and_then(Value::as_array).into_iter().flatten();
    let members = entries.flat_map(|entry| entry["options"].as_array().map_or(std::slice::from_ref(entry), Vec::as_slice));
    let value = |entry: &Value| {
        let id = entry["value"].as_str()?.to_owned();
        let name = entry["name"].as_str().filter(|name| !name.is_empty()).unwrap_or(&id).to_owned();
        Some((id, name))
    };
    members.filter_map(value).collect()
}

/// What an option is set to, as one of its [`values`].
pub(crate) fn current(option: &ConfigOption) -> Option<String> {
    match option.get("currentValue")? {
        Value::String(id) => Some(id.clone()),
        Value::Bool(is_on) => Some(is_on.to_string()),
        _ => None,
    }
}

/// Checks that there is such an option and that it can have this value. The error names those that there are.
pub(crate) fn check(options: &[ConfigOption], id: &str, value: &OptionValue) -> Result<(), Failure> {
    let invalid = |message: String| Err(Failure::invalid_params("options", message));
    let Some(option) = find(options, id) else {
        let known: Vec<&str> = options.iter().filter_map(|option| option.get("id")?.as_str()).collect();
        return invalid(format!("the agent has no option `{id}`; it has {}", listed(&known)));
    };
    let values = values(option);
    let wanted = value.id();
    if values.iter().any(|(value, _)| *value == wanted) {
        return Ok(());
    }
    let known: Vec<&str> = values.iter().map(|(value, _)| value.as_str()).collect();
    invalid(format!("the option `{id}` cannot be `{wanted}`; choose one of {}", listed(&known)))
}

/// Notes what an option is set to now.
pub(crate) fn set_current(options: &mut [ConfigOption], id: &str, value: &OptionValue) {
    if let Some(option) = options.iter_mut().find(|option| option.get("id").and_then(Value::as_str) == Some(id)) {
        let value = if is_switch(option) { json!(value.is_on()) } else { json!(value.id()) };
        option.insert("currentValue".to_owned(), value);
    }
}

/// Whether an option is on or off.
pub(crate) fn is_switch(option: &ConfigOption) -> bool {
    option.get("type").is_some_and(|kind| kind == "boolean")
}

impl OptionValue {
    /// The value as an id: `true` and `false` for a switch.
    pub(crate) fn id(&self) -> String {
        match self {
            Self::Switch(is_on) => is_on.to_string(),
            Self::Id(id) => id.clone(),
        }
    }

    /// The value as that of a switch.
    pub(crate) fn is_on(&self) -> bool {
        self.id() == "true"
    }
}

fn listed(known: &[&str]) -> String {
    let shown = known.iter().take(MAX_LISTED).copied().collect::<Vec<_>>().join(", ");
    match known.len().saturating_sub(MAX_LISTED) {
        0 if known.is_empty() => "none".to_owned(),
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> Vec<ConfigOption> {
        vec![
            select(
                "effort",
                "Effort",
                "thought_level",
                "low",
                &[("low".to_owned(), "Low".to_owned()), ("high".to_owned(), "High".to_owned())],
            ),
            object(json!({ "id": "model", "options": [{ "group": "g", "options": [{ "value": "m" }, { "value": "n", "name": "N" }] }] })),
            object(json!({ "id": "fast", "type": "boolean", "currentValue": false })),
        ]
    }

    fn id(value: &str) -> OptionValue {
        OptionValue::Id(value.to_owned())
    }

    #[test]
    fn what_is_not_offered_is_refused_with_what_is() {
        let options = options();
        for (option, value) in [("effort", id("high")), ("model", id("n")), ("fast", OptionValue::Switch(true)), ("fast", id("true"))] {
            assert_eq!(check(&options, option, &value), Ok(()), "{option}");
        }
        for (option, value, words) in [
            ("effort", id("max"), "low, high"),
            ("model", id("g"), "m, n"),
            ("speed", id("high"), "effort, model, fast"),
            ("fast", id("on"), "true, false"),
        ] {
            let failure = check(&options, option, &value).expect_err("it is not offered");
            assert!(failure.message.contains(words) && failure.data["field"] == "options", "{failure:?}");
        }
    }

    #[test]
    fn a_value_that_was_set_is_current() {
        let mut options = options();
        set_current(&mut options, "effort", &id("high"));
        set_current(&mut options, "fast", &id("true"));
        assert_eq!(options.iter().map(current).collect::<Vec<_>>(), [Some("high".to_owned()), None, Some("true".to_owned())]);
        assert_eq!(options[2]["currentValue"], true, "a switch stays one");
    }
}
