//! Mode and model of the session. They are chosen from what the agent offers and made one after another, before the
//! next prompt is sent.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{
    adapter::{AcpAdapter, PendingRequest},
    agent,
    choices::{Setting, SettingKind},
    wire::RpcError,
};
use crate::{
    model::{
        Failure, RunError,
        calls::{PermissionMode, RunSettings},
        config_option::OptionValue,
    },
    provider::event_sink::{EventSink, Severity},
};

impl AcpAdapter {
    /// Queues the mode that suits `permissions`. Sets `settings_error` if `readOnly` cannot be enforced.
    pub(super) fn choose_mode(&mut self, permissions: PermissionMode, out: &mut EventSink) {
        self.permissions = permissions;
        let product = self.agent.product;
        let session = self.session.clone().unwrap_or_default();
        match self.choices.first_offered(SettingKind::Mode, product.modes(permissions)) {
            Some(mode) => self.settings.extend(self.choices.choose(SettingKind::Mode, &mode, &session).flatten()),
            None if self.cannot_enforce(permissions) => {
                self.settings_error = Some(RunError { kind: "unsupported".to_owned(), message: self.no_read_only_message() });
            }
            None => {
                // The agent has no mode for these permissions (gemini, say, without its mode for plans), but it asks
                // in its default mode, and the run's policy answers.
                self.settings.extend(self.choices.choose(SettingKind::Mode, "default", &session).flatten());
                if let Some(mode) =
                    self.choices.current_mode().filter(|mode| product.is_autonomous_mode(mode) && permissions != PermissionMode::Bypass)
                {
                    let title =
                        format!("{} stays in its mode `{mode}`, in which it does not request permission for every action", self.agent.name);
                    out.notice(Severity::Warning, &title, None);
                }
            }
        }
    }

    /// Queues the model. Sets `settings_error` if the agent does not offer it.
    pub(super) fn choose_model(&mut self, model: &str) {
        let session = self.session.clone().unwrap_or_default();
        match self.choices.choose(SettingKind::Model, model, &session) {
            Some(setting) => self.settings.extend(setting),
            None => self.settings_error = Some(RunError { kind: "provider".to_owned(), message: self.unknown_model_message(model) }),
        }
    }

    /// Whether these settings can be made. Before the session is ready its choices are unknown, so everything is
    /// accepted then and checked when it opens.
    pub(super) fn check_settings(&self, settings: &RunSettings) -> Result<(), Failure> {
        if !self.ready {
            return Ok(());
        }
        let RunSettings { model, permissions, options } = settings;
        let permissions = *permissions;
        if permissions.is_some_and(|permissions| self.cannot_enforce(permissions)) {
            return Err(Failure::unsupported("permissions", self.no_read_only_message()));
        }
        if let Some(model) = model.as_ref().filter(|model| self.choices.choose(SettingKind::Model, model, "").is_none()) {
            return Err(Failure::unsupported("model", self.unknown_model_message(model)));
        }
        let permissions = permissions.unwrap_or(self.permissions);
        for (id, value) in options {
            self.choices.check_option(id, value)?;
            if self.choices.is_mode(id) && self.leaves_read_only(permissions, &value.id()) {
                let message = format!("the run is read-only, which the mode `{}` is not; set other `permissions` first", value.id());
                return Err(Failure::unsupported("options", message));
            }
        }
        Ok(())
    }

    /// Queues the agent's own options. One that it does not offer is told and passed over.
    pub(super) fn choose_options(&mut self, options: &BTreeMap<String, OptionValue>, out: &mut EventSink) {
        let session = self.session.clone().unwrap_or_default();
        // What a model offers may differ, so it is chosen first.
        let mut options: Vec<_> = options.iter().collect();
        options.sort_by_key(|(id, _)| *id != "model");
        for (id, value) in options {
            match self.choices.check_option(id, value) {
                Ok(()) if self.choices.is_mode(id) && self.leaves_read_only(self.permissions, &value.id()) => {}
                Ok(()) => self.settings.extend(self.choices.set_option(id, value, &session)),
                Err(failure) => out.notice(Severity::Warning, "an option was not set", Some(&failure.message)),
            }
        }
    }

    /// Whether a session that is only to read would not be so in this mode of the agent.
    fn leaves_read_only(&self, permissions: PermissionMode, mode: &str) -> bool {
        let reading = self.agent.product.modes(PermissionMode::ReadOnly);
        let has_mode = self.choices.first_offered(SettingKind::Mode, reading).is_some();
        permissions == PermissionMode::ReadOnly && has_mode && !reading.contains(&mode)
    }

    /// Whether nothing would keep the agent from changing files in `readOnly`: it has no such mode, and it does not
    /// ask before changes.
    fn cannot_enforce(&self, permissions: PermissionMode) -> bool {
        let product = self.agent.product;
        let has_mode = self.choices.first_offered(SettingKind::Mode, product.modes(permissions)).is_some();
        permissions == PermissionMode::ReadOnly && !has_mode && !product.asks_before_changes()
    }

    fn no_read_only_message(&self) -> String {
        format!("{} has no read-only mode, so `readOnly` cannot be enforced; choose other permissions", self.agent.name)
    }

    fn unknown_model_message(&self, model: &str) -> String {
        let offers = if self.choices.has_options(SettingKind::Model) {
            format!("it offers {}", self.choices.listed_ids(SettingKind::Model))
        } else {
            "it offers no choice of models; set the model in its own configuration".to_owned()
        };
        format!("{} has no model `{model}`; {offers}", self.agent.name)
    }

    /// Makes the next setting. After the last one, the adapter is ready and sends the prompt that waits.
    pub(super) fn next_setting(&mut self, out: &mut EventSink) {
        if let Some(setting) = self.settings.pop_front() {
            let (method, params) = (setting.method, setting.params.clone());
            return self.request(PendingRequest::Setting(setting), method, params, out);
        }
        if !self.ready {
            self.ready = true;
            out.ready();
        }
        if let Some(prompt) = self.queued_prompt.take() {
            self.send_prompt(&prompt, out);
        }
    }

    /// The response to a setting. A refusal ends the run if it comes before the session is ready; after that, it
    /// fails the prompts until `run/configure` brings other settings.
    pub(super) fn handle_setting_response(&mut self, setting: &Setting, outcome: Result<Value, RpcError>, out: &mut EventSink) {
        match outcome {
            Ok(result) => {
                self.choices.accepted(setting);
                // An option may change what others offer, so the agent answers with all of them.
                self.choices.update_options(&result["configOptions"]);
                out.offer(self.choices.offer());
            }
            Err(error) if setting.kind == SettingKind::Other => {
                let title = format!("{} did not accept the option `{}`", self.agent.name, setting.id);
                out.notice(Severity::Warning, &title, Some(&agent::error_text(&error)));
            }
            Err(error) if setting.kind == SettingKind::Mode && self.permissions == PermissionMode::Bypass => {
                // The agent stays in a mode that asks, and the run's policy allows everything.
                let title = format!("{} did not accept the mode `{}`: {}", self.agent.name, setting.id, agent::error_text(&error));
                out.notice(Severity::Warning, &title, None);
            }
            Err(error) => {
                let kind_name = if setting.kind == SettingKind::Mode { "mode" } else { "model" };
                let message = format!("{} did not accept the {kind_name} `{}`: {}", self.agent.name, setting.id, agent::error_text(&error));
                let settings_error = RunError { message, ..self.agent.error(&error) };
                if !self.ready {
                    return out.fatal(settings_error);
                }
                self.settings_error = Some(settings_error);
            }
        }
        self.next_setting(out);
    }

    /// Whether a setting is queued or not answered yet.
    pub(super) fn has_pending_settings(&self) -> bool {
        !self.settings.is_empty() || self.pending.values().any(|request| matches!(request, PendingRequest::Setting(_)))
    }

    /// If the agent has left the mode in which it only reads, sets that mode again.
    pub(super) fn restore_read_only(&mut self, out: &mut EventSink) {
        if self.permissions != PermissionMode::ReadOnly || !self.ready || self.has_pending_settings() {
            return;
        }
        let session = self.session.clone().unwrap_or_default();
        let wanted = self.choices.first_offered(SettingKind::Mode, self.agent.product.modes(self.permissions));
        if let Some(setting) = wanted.and_then(|mode| self.choices.choose(SettingKind::Mode, &mode, &session).flatten()) {
            out.notice(Severity::Warning, &format!("{} left the mode `{}`; loomd sets that mode again", self.agent.name, setting.id), None);
            self.settings.push_back(setting);
            self.next_setting(out);
        }
    }
}
