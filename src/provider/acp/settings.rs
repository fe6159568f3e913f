//! Mode and model: what is wanted against what the agent offers, made one after the other before anything else is asked of it.

use super::{
    adapter::{AcpAdapter, Asked},
    agent,
    choices::{Setting, What},
    wire::RpcError,
};
use crate::{
    model::{Failure, RunError, calls::PermissionMode},
    provider::out::{Out, Severity},
};

impl AcpAdapter {
    pub(super) fn choose_mode(&mut self, permissions: PermissionMode, out: &mut Out) {
        self.permissions = permissions;
        let make = self.agent.make;
        let session = self.session.clone().unwrap_or_default();
        match self.choices.first_of(What::Mode, make.modes(permissions)) {
            Some(mode) => self.settings.extend(self.choices.choose(What::Mode, &mode, &session).flatten()),
            None if self.cannot_keep(permissions) => {
                self.refused = Some(RunError { kind: "unsupported".to_owned(), message: self.writes_anyway() });
            }
            None => {
                // gemini without its mode for plans: it asks in its usual one, and the policy answers.
                self.settings.extend(self.choices.choose(What::Mode, "default", &session).flatten());
                if let Some(mode) = self.choices.mode().filter(|mode| make.decides_itself(mode) && permissions != PermissionMode::Bypass) {
                    let title = format!("{} stays in its mode `{mode}`, in which it decides itself what it may do", self.agent.name);
                    out.notice(Severity::Warning, &title, None);
                }
            }
        }
    }

    pub(super) fn choose_model(&mut self, model: &str) {
        let session = self.session.clone().unwrap_or_default();
        match self.choices.choose(What::Model, model, &session) {
            Some(setting) => self.settings.extend(setting),
            None => self.refused = Some(RunError { kind: "provider".to_owned(), message: self.unknown_model(model) }),
        }
    }

    /// Whether these settings can be made, as far as the agent has told what it offers.
    pub(super) fn can_choose(&self, model: Option<&str>, permissions: Option<PermissionMode>) -> Result<(), Failure> {
        if !self.ready {
            return Ok(());
        }
        if permissions.is_some_and(|permissions| self.cannot_keep(permissions)) {
            return Err(Failure::unsupported("permissions", self.writes_anyway()));
        }
        match model.filter(|model| self.choices.choose(What::Model, model, "").is_none()) {
            Some(model) => Err(Failure::unsupported("model", self.unknown_model(model))),
            None => Ok(()),
        }
    }

    fn cannot_keep(&self, permissions: PermissionMode) -> bool {
        let make = self.agent.make;
        let has_mode = self.choices.first_of(What::Mode, make.modes(permissions)).is_some();
        permissions == PermissionMode::ReadOnly && !has_mode && !make.asks_for_changes()
    }

    fn writes_anyway(&self) -> String {
        format!("{} offers no mode in which it only reads, so `readOnly` cannot be enforced", self.agent.name)
    }

    fn unknown_model(&self, model: &str) -> String {
        let offers = if self.choices.has(What::Model) {
            format!("it offers {}", self.choices.names(What::Model))
        } else {
            "it offers no choice of models; name the model in its own configuration".to_owned()
        };
        format!("{} knows no model `{model}`; {offers}", self.agent.name)
    }

    /// Makes the next setting; after the last one, goes on with what waited for it.
    pub(super) fn next_setting(&mut self, out: &mut Out) {
        if let Some(setting) = self.settings.pop_front() {
            let (method, params) = (setting.method, setting.params.clone());
            return self.ask(Asked::Setting(setting), method, params, out);
        }
        if !self.ready {
            self.ready = true;
            out.ready();
        }
        if let Some(prompt) = self.waiting.take() {
            self.give(&prompt, out);
        }
    }

    pub(super) fn set(&mut self, setting: &Setting, error: Option<RpcError>, out: &mut Out) {
        match error {
            None => self.choices.is_now(setting.what, &setting.id),
            Some(error) if setting.what == What::Mode && self.permissions == PermissionMode::Bypass => {
                // It goes on asking, and the policy answers.
                let title = format!("{} would not take its mode `{}`: {}", self.agent.name, setting.id, agent::words(&error));
                out.notice(Severity::Warning, &title, None);
            }
            Some(error) => {
                let what = if setting.what == What::Mode { "mode" } else { "model" };
                let message = format!("{} would not take the {what} `{}`: {}", self.agent.name, setting.id, agent::words(&error));
                let refused = RunError { message, ..self.agent.error(&error) };
                if !self.ready {
                    return out.fatal(refused);
                }
                self.refused = Some(refused);
            }
        }
        self.next_setting(out);
    }

    pub(super) fn is_setting(&self) -> bool {
        !self.settings.is_empty() || self.asked.values().any(|asked| matches!(asked, Asked::Setting(_)))
    }

    /// An agent that leaves the mode in which it only reads is sent back.
    pub(super) fn stay_read_only(&mut self, out: &mut Out) {
        if self.permissions != PermissionMode::ReadOnly || !self.ready || self.is_setting() {
            return;
        }
        let session = self.session.clone().unwrap_or_default();
        let wanted = self.choices.first_of(What::Mode, self.agent.make.modes(self.permissions));
        if let Some(setting) = wanted.and_then(|mode| self.choices.choose(What::Mode, &mode, &session).flatten()) {
            out.notice(Severity::Warning, &format!("{} left the mode `{}` and is sent back to it", self.agent.name, setting.id), None);
            self.settings.push_back(setting);
            self.next_setting(out);
        }
    }
}
