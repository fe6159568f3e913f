//! What the client can choose: the agent, its model, loomd's permission mode, and the commands that a prompt may begin
//! with.

use std::{sync::Arc, time::Duration};

use serde_json::{Map, Value, json};
use tokio::time::timeout;

use super::{
    chain::{SESSION_LABEL, is_command},
    commands::FrontCommand,
    front_end::FrontEnd,
    session::{AcpSession, AgentSettings, SessionState},
    wire::{ChooseParams, ConfigOptionParams},
};
use crate::model::{
    Failure, FailureKind, ProviderCapabilities, ProviderInfo, Run,
    calls::{CancelParams, ConfigureParams, OptionsParams, PermissionMode, RunIdParams, RunSettings},
    config_option::{ConfigOption, OptionValue},
    methods::{ProviderOptions, RunCancel, RunConfigure, RunDelete},
};

/// The ids of the configuration options.
const AGENT_OPTION: &str = "_loomd_agent";
const MODEL_OPTION: &str = "model";
const MODE_OPTION: &str = "mode";

/// How long a run that has begun to tell what its agent offers may take to tell its models.
const MODELS_TIMEOUT: Duration = Duration::from_secs(5);

/// The permission modes: id, name, description.
const MODES: [(PermissionMode, &str, &str, &str); 4] = [
    (PermissionMode::Ask, "ask", "Ask", "Ask before every action"),
    (PermissionMode::AcceptEdits, "acceptEdits", "Accept edits", "Allow file edits; ask before other actions"),
    (PermissionMode::ReadOnly, "readOnly", "Read only", "Deny all changes"),
    (PermissionMode::Bypass, "bypass", "Bypass permissions", "Allow everything without asking (dangerous)"),
];

impl FrontEnd {
    /// The agents that a session can have.
    pub(super) async fn agents(&self) -> Result<Vec<ProviderInfo>, Failure> {
        let providers = self.server().await?.info.providers.clone();
        Ok(providers.into_iter().filter(|provider| provider.capabilities.updates && provider.id != "acp").collect())
    }

    pub(super) async fn capabilities(&self, provider: &str) -> Result<ProviderCapabilities, Failure> {
        let server = self.server().await?;
        let known: Vec<_> = server.info.providers.iter().map(|provider| provider.id.clone()).collect();
        let provider_info = server.info.providers.iter().find(|info| info.id == provider);
        provider_info.map(|info| info.capabilities).ok_or_else(|| Failure::provider_not_found(provider, &known))
    }

    /// Whether the agent of new sessions can be given images. A plain command line gets text only.
    pub(super) async fn takes_images(&self) -> bool {
        match self.default_settings().await {
            Ok(settings) => self.capabilities(&settings.provider).await.is_ok_and(|capabilities| capabilities.send),
            // Which one it will be is not known yet.
            Err(_) => true,
        }
    }

    /// The agent of a new session.
    pub(super) async fn default_settings(&self) -> Result<AgentSettings, Failure> {
        let argv = &self.options.agent;
        let provider = match (&self.options.provider, argv.is_empty()) {
            (Some(provider), _) => provider.clone(),
            (None, false) => "acp".to_owned(),
            (None, true) => {
                let agents = self.agents().await?;
                let available = agents.iter().find(|agent| agent.available);
                let available = available.ok_or_else(|| {
                    let reasons: Vec<_> = agents.iter().filter_map(|agent| agent.reason.clone()).collect();
                    Failure::new(FailureKind::SpawnFailed, format!("no agent is installed. {}", reasons.join(" ")))
                })?;
                available.id.clone()
            }
        };
        let is_whole_argv = provider == "acp";
        let argv = (!argv.is_empty()).then(|| argv.clone());
        let (command, args) = if is_whole_argv { (argv, None) } else { (None, argv) };
        Ok(AgentSettings { provider, command, args, ..AgentSettings::default() })
    }

    /// The configuration options of a session, and its modes for older clients.
    pub(super) async fn offered(&self, session: &AcpSession) -> Result<(Value, Value), Failure> {
        let agents = self.agents().await?;
        let state = session.state();
        let settings = &state.settings;
        let mut options = vec![agent_option(settings, &agents, is_prompted(&state))];
        options.extend(self.model_option(&state));
        let mode = mode_name(settings.permissions);
        let entries = MODES.map(|(_, value, name, description)| json!({ "value": value, "name": name, "description": description }));
        options.push(select(MODE_OPTION, "Permissions", "mode", mode, entries.to_vec()));
        let modes = MODES.map(|(_, id, name, description)| json!({ "id": id, "name": name, "description": description }));
        options.extend(other_options(&state).map(|option| Value::Object(option.clone())));
        Ok((options.into(), json!({ "currentModeId": mode, "availableModes": modes })))
    }

    /// What the answer to `session/new`, `session/load` and `session/resume` says.
    pub(super) async fn opened(&self, session: &AcpSession, with_id: bool) -> Result<Value, Failure> {
        let (options, modes) = self.offered(session).await?;
        session.state().told_options = options.clone();
        let mut result = json!({ "configOptions": options, "modes": modes });
        if with_id {
            result["sessionId"] = json!(session.id);
        }
        let state = session.state();
        if let Some(run) = &state.run {
            let provider_session = run.session.as_ref().map(|session| session.id.clone());
            result["_meta"] = json!({ "loomd": { "runId": run.id, "seq": state.cursor, "provider": run.provider,
                "providerSessionId": provider_session } });
        }
        Ok(result)
    }

    /// Tells the client what it has to know beside the answer that opened a session, which has been sent.
    pub(super) fn introduce(self: &Arc<Self>, session: &Arc<AcpSession>) {
        self.tell_commands(session);
        self.tell_title(session);
        let (front_end, session) = (Arc::clone(self), Arc::clone(session));
        tokio::spawn(async move {
            let waits = front_end.client().drops_free_updates || session.state().live;
            if !waits && let Err(failure) = front_end.follow(&session).await {
                tracing::error!(%failure, session = %session.id, "cannot follow the session's run");
            }
            front_end.learn_models(&session).await;
        });
    }

    /// Handles `run/changed` of a run that a session shows.
    pub(super) fn run_changed(self: &Arc<Self>, session: &Arc<AcpSession>, run: Run) {
        let queued = {
            let mut state = session.state();
            let Some(known) = state.run.as_mut().filter(|known| known.id == run.id) else { return };
            let queued = (known.queued != run.queued).then_some(run.queued.unwrap_or(0));
            if run.last_seq >= known.last_seq {
                *known = run;
            }
            queued
        };
        if let Some(queued) = queued {
            self.tell(session, &json!({ "sessionUpdate": "session_info_update", "_meta": { "loomd": { "queued": queued } } }));
        }
        session.changed.notify_waiters();
        self.tell_title(session);
        self.tell_offer(session);
    }

    /// Tells the commands and options, if they have changed.
    pub(super) fn tell_offer(self: &Arc<Self>, session: &Arc<AcpSession>) {
        let has_new_commands = {
            let mut state = session.state();
            let offered = state.run.as_ref().and_then(|run| run.agent.as_ref()).map(|agent| agent.commands.clone()).unwrap_or_default();
            let differs = offered != state.commands;
            state.commands = offered;
            differs
        };
        if has_new_commands {
            self.tell_commands(session);
        }
        let (front_end, session) = (Arc::clone(self), Arc::clone(session));
        tokio::spawn(async move { front_end.tell_options(&session).await });
    }

    async fn tell_options(&self, session: &AcpSession) {
        let Ok((options, _)) = self.offered(session).await else { return };
        if std::mem::replace(&mut session.state().told_options, options.clone()) != options {
            self.tell(session, &json!({ "sessionUpdate": "config_option_update", "configOptions": options }));
        }
    }

    fn tell_commands(&self, session: &AcpSession) {
        let commands = FrontCommand::offered(&session.state().commands);
        self.tell(session, &json!({ "sessionUpdate": "available_commands_update", "availableCommands": commands }));
    }

    fn tell_title(&self, session: &AcpSession) {
        let title = {
            let mut state = session.state();
            let Some(title) = state.run.as_ref().filter(|run| is_named(run)).map(|run| run.display_title.clone()) else { return };
            if state.told_title == title {
                return;
            }
            state.told_title.clone_from(&title);
            title
        };
        self.tell(session, &json!({ "sessionUpdate": "session_info_update", "title": title }));
    }

    /// Asks the provider once for its models, where its runs do not tell them. That starts its program once more, so the
    /// session's run may first begin to tell what it offers, and then gets some time for the models.
    async fn learn_models(&self, session: &AcpSession) {
        let has_ended = |state: &SessionState| state.run.as_ref().is_none_or(|run| run.state.is_final());
        session.wait_until(|state| has_ended(state) || state.run.as_ref().is_some_and(|run| run.agent.is_some())).await;
        let told = session.wait_until(|state| has_ended(state) || self.model_option(state).is_some());
        timeout(MODELS_TIMEOUT, told).await.ok();
        let settings = session.state().settings.clone();
        let is_known = settings.provider == "acp" || self.provider_options.lock().contains_key(&settings.provider);
        if !is_known && self.model_option(&session.state()).is_none() {
            let params = OptionsParams { provider: settings.provider.clone(), cwd: Some(session.cwd.clone()) };
            // A provider that cannot tell is asked no second time.
            let options = self.call(ProviderOptions, params).await.unwrap_or_default();
            self.provider_options.lock().insert(settings.provider, options);
        }
        self.tell_options(session).await;
    }

    fn model_option(&self, state: &SessionState) -> Option<Value> {
        let agent_options = state.run.as_ref().and_then(|run| run.agent.as_ref()).map(|agent| &agent.config_options);
        let own = agent_options.into_iter().flatten().find(|option| option.get("category").is_some_and(|category| category == "model"));
        if let Some(own) = own {
            let mut own = own.clone();
            own.insert("id".to_owned(), MODEL_OPTION.into());
            if let Some(model) = &state.settings.model {
                own.insert("currentValue".to_owned(), model.clone().into());
            }
            return Some(own.into());
        }
        let known = self.provider_options.lock();
        let models = &known.get(&state.settings.provider).filter(|options| !options.models.is_empty())?.models;
        let mut entries: Vec<_> = models.iter().map(|model| json!({ "value": model.id, "name": model.name })).collect();
        let current = state.settings.model.clone().unwrap_or_default();
        if !models.iter().any(|model| model.id == current) {
            let name = if current.is_empty() { "Default" } else { &current };
            entries.insert(0, json!({ "value": current, "name": name }));
        }
        Some(select(MODEL_OPTION, "Model", "model", &current, entries))
    }

    /// Handles `session/set_mode`.
    pub(super) async fn set_mode(self: Arc<Self>, params: ChooseParams) -> Result<Value, Failure> {
        let session = self.session(params.session_id)?;
        self.choose_mode(&session, &params.id).await?;
        self.tell_options(&session).await;
        Ok(json!({}))
    }

    /// Handles `session/set_model`, which was never a part of ACP v1 but is sent.
    pub(super) async fn set_model(self: Arc<Self>, params: ChooseParams) -> Result<Value, Failure> {
        let session = self.session(params.session_id)?;
        self.choose_model(&session, &params.id).await?;
        self.tell_options(&session).await;
        Ok(json!({}))
    }

    /// Handles `session/set_config_option`.
    pub(super) async fn set_config_option(self: Arc<Self>, params: ConfigOptionParams) -> Result<Value, Failure> {
        let session = self.session(params.session_id)?;
        let value = match params.value {
            Value::String(value) => value,
            Value::Bool(is_on) => is_on.to_string(),
            _ => return Err(Failure::invalid_params("value", "`value` must be one of the option's values")),
        };
        let value = value.as_str();
        match params.config_id.as_str() {
            MODE_OPTION => {
                self.choose_mode(&session, value).await?;
                self.tell(&session, &json!({ "sessionUpdate": "current_mode_update", "currentModeId": value }));
            }
            MODEL_OPTION => self.choose_model(&session, value).await?,
            AGENT_OPTION => self.choose_agent(&session, value).await?,
            other if other_options(&session.state()).any(|option| option["id"] == other) => {
                let value = OptionValue::Id(value.to_owned());
                self.configure(&session, RunSettings { options: [(other.to_owned(), value)].into(), ..RunSettings::default() }).await?;
            }
            other => return Err(Failure::invalid_params("configId", format!("there is no option `{other}`"))),
        }
        let (options, _) = self.offered(&session).await?;
        session.state().told_options = options.clone();
        Ok(json!({ "configOptions": options }))
    }

    async fn choose_mode(&self, session: &AcpSession, id: &str) -> Result<(), Failure> {
        let mode = MODES.iter().find(|(_, name, ..)| *name == id).map(|(mode, ..)| *mode);
        let mode = mode.ok_or_else(|| Failure::invalid_params("modeId", format!("there is no mode `{id}`")))?;
        self.configure(session, RunSettings { permissions: Some(mode), ..RunSettings::default() }).await?;
        session.state().settings.permissions = Some(mode);
        Ok(())
    }

    async fn choose_model(&self, session: &AcpSession, id: &str) -> Result<(), Failure> {
        let model = Some(id.to_owned()).filter(|id| !id.is_empty());
        self.configure(session, RunSettings { model: model.clone(), ..RunSettings::default() }).await?;
        session.state().settings.model = model;
        Ok(())
    }

    /// Changes the live run; a later one is started with the session's settings.
    async fn configure(&self, session: &AcpSession, settings: RunSettings) -> Result<(), Failure> {
        let Some(run) = session.run().filter(|run| !run.state.is_final()) else { return Ok(()) };
        if settings == RunSettings::default() {
            return Ok(());
        }
        let RunSettings { model, permissions, options } = settings;
        match self.call(RunConfigure, ConfigureParams { run_id: run.id, model, permissions, options }).await {
            Err(failure) if failure.kind != FailureKind::RunNotActive => Err(failure),
            _ => Ok(()),
        }
    }

    /// Gives a session that has had no prompt another agent.
    async fn choose_agent(self: &Arc<Self>, session: &Arc<AcpSession>, provider: &str) -> Result<(), Failure> {
        let _sending = session.sending.lock().await;
        if session.state().settings.provider == provider {
            return Ok(());
        }
        if is_prompted(&session.state()) {
            return Err(Failure::invalid_params("value", "a session keeps its agent; begin a new session for another one"));
        }
        let settings = AgentSettings { provider: provider.to_owned(), ..AgentSettings::default() };
        let settings = {
            let kept = &session.state().settings;
            AgentSettings { permissions: kept.permissions, mcp_servers: kept.mcp_servers.clone(), ..settings }
        };
        let can_wait = self.capabilities(provider).await?.send;
        let run = if can_wait {
            Some(self.start_run(&settings, &session.cwd, Some((SESSION_LABEL, session.id)), None, None).await?)
        } else {
            None
        };
        let old = {
            let mut state = session.state();
            state.live = false;
            let old = state.run.take();
            state.settings = settings;
            old
        };
        if let Some(run) = run {
            session.state().begin_run(run, true, self.client().forms);
            self.follow(session).await?;
        }
        if let Some(old) = old {
            self.discard(old).await?;
        }
        self.tell_commands(session);
        Ok(())
    }

    /// Removes a run that has had no prompt.
    pub(super) async fn discard(&self, run: Run) -> Result<(), Failure> {
        self.call(RunCancel, CancelParams { run_id: run.id, grace_ms: Some(0) }).await?;
        self.call(RunDelete, RunIdParams { run_id: run.id }).await.map(drop)
    }
}

/// The agent's own options for which the front end has none of its own: how much it thinks, say.
fn other_options(state: &SessionState) -> impl Iterator<Item = &ConfigOption> {
    let offered = state.run.as_ref().and_then(|run| run.agent.as_ref()).map(|agent| &agent.config_options);
    offered.into_iter().flatten().filter(|option| {
        let member = |name: &str| option.get(name).and_then(Value::as_str).unwrap_or_default();
        let is_own = |name: &str| [AGENT_OPTION, MODEL_OPTION, MODE_OPTION].contains(&name);
        !member("id").is_empty() && !is_own(member("id")) && !is_own(member("category"))
    })
}

/// Whether the session's agent has got a prompt, so that it cannot be exchanged.
fn is_prompted(state: &SessionState) -> bool {
    !state.prompts.is_empty() || state.run.as_ref().is_some_and(|run| run.turn.is_some() || run.queued.is_some_and(|count| count > 0))
}

/// Whether a run has a title that says what it is about.
pub(super) fn is_named(run: &Run) -> bool {
    run.title.is_some() || run.params.contains_key("prompt") || is_command(run)
}

fn mode_name(mode: Option<PermissionMode>) -> &'static str {
    MODES.iter().find(|(known, ..)| Some(*known) == mode).map_or("ask", |(_, name, ..)| *name)
}

fn agent_option(settings: &AgentSettings, agents: &[ProviderInfo], is_prompted: bool) -> Value {
    let is_listed = agents.iter().any(|agent| agent.id == settings.provider);
    let wanted = agents.iter().filter(|agent| agent.id == settings.provider || agent.available && !is_prompted);
    let mut entries: Vec<_> = wanted.map(|agent| json!({ "value": agent.id, "name": agent.title })).collect();
    if !is_listed {
        entries.push(json!({ "value": settings.provider, "name": settings.provider }));
    }
    select(AGENT_OPTION, "Agent", AGENT_OPTION, &settings.provider, entries)
}

fn select(id: &str, name: &str, category: &str, current: &str, options: Vec<Value>) -> Value {
    let members: Map<String, Value> = [
        ("id", json!(id)),
        ("name", json!(name)),
        ("category", json!(category)),
        ("type", json!("select")),
        ("currentValue", json!(current)),
        ("options", options.into()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect();
    members.into()
}
