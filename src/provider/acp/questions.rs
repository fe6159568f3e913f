//! Permission requests of an agent that it waits for, and the responses to them.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::wire::{self, text_at};
use crate::{
    model::PermissionOption,
    provider::{Answer, event_sink::EventSink, ids::name_of, provider_event::PermissionRequest},
};

/// The open requests, by our names for them.
#[derive(Debug, Default)]
pub(crate) struct AcpQuestions(BTreeMap<String, PendingQuestion>);

#[derive(Debug)]
struct PendingQuestion {
    /// The id of the agent's request.
    id: Value,
    params: Map<String, Value>,
    /// The agent's own ids of the options, by ours: some are numbers.
    options: BTreeMap<String, Value>,
}

impl AcpQuestions {
    /// Opens the request in the params of `session/request_permission`. `None` if the agent repeats one that is open.
    /// The error says why nobody can answer.
    pub(crate) fn open(&mut self, id: &Value, params: Map<String, Value>) -> Result<Option<PermissionRequest>, &'static str> {
        let mut name = id.to_string();
        while let Some(open) = self.0.get(&name) {
            if open.params == params {
                return Ok(None);
            }
            name.push('\'');
        }
        let mut ids = BTreeMap::new();
        let mut options: Vec<PermissionOption> = Vec::new();
        for option in params.get("options").and_then(Value::as_array).into_iter().flatten() {
            let id = &option["optionId"];
            let Some(option_id) = name_of(id) else { continue };
            let name = text_at(option, &["name"]).filter(|name| !name.trim().is_empty()).unwrap_or(&option_id).to_owned();
            // The meaning of an option without a kind is unknown. No policy chooses the kind `other`; only a person can.
            let kind = text_at(option, &["kind"]).unwrap_or("other").to_owned();
            match options.iter_mut().find(|known| known.option_id == option_id) {
                // The agent cannot tell which of the two was chosen, so they are one, which means both.
                Some(known) => {
                    known.name = format!("{} / {name}", known.name);
                    if known.kind != kind {
                        "other".clone_into(&mut known.kind);
                    }
                }
                None => {
                    ids.insert(option_id.clone(), id.clone());
                    options.push(PermissionOption { option_id, name, kind });
                }
            }
        }
        if options.is_empty() {
            return Err("it offered no options to choose from");
        }
        let mut tool_call = params.get("toolCall").and_then(Value::as_object).cloned().unwrap_or_default();
        if tool_call.is_empty() {
            tool_call.insert("title".to_owned(), json!("The agent asks for permission and does not say what for"));
        }
        self.0.insert(name.clone(), PendingQuestion { id: id.clone(), params, options: ids });
        Ok(Some(PermissionRequest { id: name, tool_call, options }))
    }

    /// Responds with an answer. `false`: the agent does not wait for it any more.
    pub(crate) fn answer(&mut self, name: &str, answer: &Answer, out: &mut EventSink) -> bool {
        let Some(open) = self.0.remove(name) else { return false };
        let chosen = answer.option.as_ref().and_then(|option| open.options.get(option));
        out.send(&wire::response(&open.id, chosen.map_or_else(wire::cancelled, wire::selected)));
        true
    }

    /// The agent withdraws its request. It still gets a response, because the protocol has one for each request.
    pub(crate) fn withdraw(&mut self, id: &Value, out: &mut EventSink) {
        let is_meant = |open: &PendingQuestion| open.id == *id || (name_of(id).is_some() && name_of(&open.id) == name_of(id));
        for (name, open) in self.0.extract_if(.., |_, open| is_meant(open)) {
            out.send(&wire::response(&open.id, wire::cancelled()));
            out.withdraw_permission(&name);
        }
    }
}
