//! Sub-agents that have a session of their own: what they say is logged below the tool call that started them, and is
//! never taken for the agent's own.

use serde_json::{Map, Value, json};

use super::{
    adapter::AcpAdapter,
    updates::{SubAgent, Updates},
};
use crate::{model::task::object, provider::event_sink::EventSink};

/// Updates about the session of a sub-agent that would be taken for those of the run's.
const OWN_UPDATES: &[&str] = &[
    "user_message_chunk",
    "usage_update",
    "available_commands_update",
    "current_mode_update",
    "config_option_update",
    "session_info_update",
];

impl AcpAdapter {
    /// Handles an update of a sub-agent's session.
    pub(super) fn handle_sub_agent(&mut self, session: &str, update: Map<String, Value>, timer: u32, out: &mut EventSink) {
        let kind = update.get("sessionUpdate").and_then(Value::as_str).unwrap_or_default();
        if !OWN_UPDATES.contains(&kind) {
            self.sub_agent(session, out).update(update, timer, out);
        }
    }

    /// The state of the sub-agent with this session. One that speaks for the first time gets its tool call.
    pub(super) fn sub_agent(&mut self, session: &str, out: &mut EventSink) -> &mut Updates {
        if !self.sub_agents.0.contains_key(session) {
            let known = self.started_by(session, out);
            let has_made_call = known.is_none();
            let parent = known.unwrap_or_else(|| {
                out.set_parent(None);
                out.begin_tool_call(session, object(json!({ "title": "Sub-agent", "kind": "think", "status": "in_progress" })));
                out.tools.id_of(session).unwrap_or(session).to_owned()
            });
            let updates = Updates::of_sub_agent(&self.agent, session, &parent);
            self.sub_agents.0.insert(session.to_owned(), SubAgent { has_made_call, updates });
        }
        &mut self.sub_agents.0.get_mut(session).expect("it was added if it was not there").updates
    }

    /// The id of the tool call that named this session.
    fn started_by(&self, session: &str, out: &mut EventSink) -> Option<String> {
        let all = std::iter::once(&self.updates).chain(self.sub_agents.0.values().map(|agent| &agent.updates));
        for updates in all {
            if let Some(name) = updates.tools.started(session) {
                updates.speak(out);
                let id = out.tools.own_id_of(name).map(str::to_owned);
                out.set_parent(None);
                return id;
            }
        }
        None
    }

    /// The turn of the run has ended, and so have the calls that were made for its sub-agents.
    pub(super) fn end_sub_agents(&mut self, stopped: bool, out: &mut EventSink) {
        for (session, agent) in &mut self.sub_agents.0 {
            agent.updates.turn_ended(out);
            if agent.has_made_call && out.has_tool_call(session) && !out.tools.has_ended(session) {
                out.tool_ended(session, if stopped { "failed" } else { "completed" }, None, Map::new());
            }
        }
    }
}
