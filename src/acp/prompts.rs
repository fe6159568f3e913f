//! Prompts: into the session's run while it lives, else into a new one that resumes it.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Map, Value, json};
use tokio::sync::oneshot;

use super::{
    chain::{SESSION_LABEL, is_command},
    front_end::FrontEnd,
    prompt_queue::PromptOutcome,
    replay::ReplayStart,
    session::{AcpSession, AgentSettings, loomd_meta},
    wire::PromptParams,
};
use crate::model::{
    Failure, FailureKind, Run, RunId,
    calls::{AttachChoice, EditParams, Prompt, Resume, RunIdParams, SendMode, SendParams, SendResult, StartParams},
    methods::{RunEdit, RunGet, RunInterrupt, RunSend, RunStart},
    task::{ContentBlocks, text_of},
};

/// What became of a prompt that was meant for the running turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Steered {
    Injected,
    /// The agent cannot be steered: the prompt has a turn of its own, behind the running one.
    Queued,
}

impl Steered {
    fn of(sent: &SendResult) -> Self {
        if sent.prompt_id.is_some() { Self::Queued } else { Self::Injected }
    }
}

impl FrontEnd {
    /// Handles `session/prompt`: answers when the prompt's turn has ended.
    pub(super) async fn prompt(self: Arc<Self>, params: PromptParams) -> Result<Value, Failure> {
        let session = self.session(params.session_id)?;
        let outcome = match Self::command_of(&session, &params.prompt) {
            Some(command) => self.run_command(&session, command).await?,
            None => Some(self.deliver(&session, params.prompt).await?),
        };
        let stop_reason = match outcome {
            Some(outcome) => outcome.await.map_err(|_| Failure::internal("the session was closed"))??,
            None => "end_turn".to_owned(),
        };
        Ok(json!({ "stopReason": stop_reason, "_meta": self.position(&session) }))
    }

    fn position(&self, session: &AcpSession) -> Value {
        let state = session.state();
        loomd_meta(state.run.as_ref().map_or(session.id, |run| run.id), state.cursor)
    }

    /// Sends a prompt to the session's agent. The receiver gets the end of its turn.
    pub(super) async fn deliver(
        self: &Arc<Self>,
        session: &Arc<AcpSession>,
        blocks: ContentBlocks,
    ) -> Result<oneshot::Receiver<PromptOutcome>, Failure> {
        let _sending = session.sending.lock().await;
        self.catch_up(session).await?;
        if let Some(run) = session.run().filter(|run| !run.state.is_final()) {
            let (number, outcome) = session.state().prompts.push(blocks.clone());
            match self.send(&run, blocks.clone(), SendMode::Queue).await {
                Ok(_) => {
                    self.name_session(session, &blocks);
                    return Ok(outcome);
                }
                Err(failure) => {
                    session.state().prompts.remove(number);
                    if !is_over(&failure) {
                        return Err(failure);
                    }
                }
            }
            self.finish_run(session).await?;
        }
        let (number, outcome) = session.state().prompts.push(blocks.clone());
        let continued = self.continue_session(session, blocks).await;
        if continued.is_err() {
            session.state().prompts.remove(number);
        }
        continued.map(|()| outcome)
    }

    /// Puts a prompt into the running turn. `None`: none runs.
    pub(super) async fn steer(self: &Arc<Self>, session: &Arc<AcpSession>, blocks: ContentBlocks) -> Result<Option<Steered>, Failure> {
        let _sending = session.sending.lock().await;
        self.catch_up(session).await?;
        let Some(run) = session.run().filter(|_| session.state().prompts.is_running()) else { return Ok(None) };
        session.state().prompts.steer(blocks.clone());
        let sent = self.send(&run, blocks.clone(), SendMode::Steer).await;
        match &sent {
            Ok(SendResult { prompt_id: None }) => {}
            Ok(SendResult { prompt_id: Some(_) }) => session.state().prompts.queue_steered(&blocks),
            Err(_) => drop(session.state().prompts.take_steered(&blocks)),
        }
        sent.map(|sent| Some(Steered::of(&sent)))
    }

    /// Handles `_session/steering`.
    pub(super) async fn steering(self: Arc<Self>, params: PromptParams) -> Result<Value, Failure> {
        let session = self.session(params.session_id)?;
        match self.steer(&session, params.prompt.clone()).await? {
            Some(Steered::Injected) => return Ok(json!({ "outcome": "injected" })),
            Some(Steered::Queued) => return Ok(json!({ "outcome": "startedNewTurn" })),
            None => {}
        }
        if params.idle_behavior.as_deref() == Some("promptRequired") {
            return Ok(json!({ "outcome": "promptRequired", "reason": "noRunningTurn" }));
        }
        // Nobody waits for the end of this turn.
        drop(self.deliver(&session, params.prompt).await?);
        Ok(json!({ "outcome": "startedNewTurn" }))
    }

    /// Stops the running turn, after the prompts that were sent before.
    pub(super) async fn interrupt(self: Arc<Self>, session: RunId) {
        let Ok(session) = self.session(session) else { return };
        let run = {
            let _sending = session.sending.lock().await;
            session.run()
        };
        if let Some(run) = run
            && let Err(failure) = self.call(RunInterrupt, RunIdParams { run_id: run.id }).await
        {
            tracing::error!(%failure, "the turn was not interrupted");
        }
    }

    /// Follows the session's newest run, which another client may have started, from where the client is.
    pub(super) async fn catch_up(self: &Arc<Self>, session: &Arc<AcpSession>) -> Result<(), Failure> {
        let Some(shown) = session.run() else { return Ok(()) };
        if shown.state.is_final() {
            let newer: Vec<_> = self.runs_of(session.id).await?.into_iter().filter(|run| run.id > shown.id).collect();
            if let Some((last, before)) = newer.split_last() {
                session.state().live = false;
                for run in before {
                    self.replay(session, run.clone(), false, ReplayStart::Everything).await?;
                }
                session.state().begin_run(last.clone(), false, self.client().forms);
                return self.follow(session).await;
            }
        }
        if session.state().live { Ok(()) } else { self.follow(session).await }
    }

    /// Waits until the client has everything of a run that takes no more prompts.
    async fn finish_run(&self, session: &AcpSession) -> Result<(), Failure> {
        let Some(run) = session.run() else { return Ok(()) };
        let run = self.call(RunGet, RunIdParams { run_id: run.id }).await?.run;
        if !run.state.is_final() {
            let message = format!("{} handles one prompt at a time; wait for its end", run.provider);
            return Err(Failure::new(FailureKind::RunActive, message).with("state", run.state.as_str()));
        }
        session.wait_until(|state| !state.live || !state.shows(run.id) || state.cursor >= run.last_seq).await;
        Ok(())
    }

    async fn send(&self, run: &Run, blocks: ContentBlocks, mode: SendMode) -> Result<SendResult, Failure> {
        let params = if !is_command(run) {
            SendParams { run_id: run.id, text: None, prompt: Some(Prompt::Blocks(blocks)), mode: Some(mode), client_token: None }
        } else {
            SendParams::text(run.id, &format!("{}\n", text_of(&blocks)))
        };
        self.call(RunSend, params).await
    }

    /// Starts a run that goes on with the session's last one.
    async fn continue_session(self: &Arc<Self>, session: &Arc<AcpSession>, prompt: ContentBlocks) -> Result<(), Failure> {
        let last = session.run();
        if let Some(run) = last.as_ref().filter(|run| is_command(run)) {
            let message = "this session is a command, which takes no prompts once it has ended; start another with `/run`";
            return Err(Failure::new(FailureKind::RunNotActive, message).with("state", run.state.as_str()));
        }
        let resume = last.as_ref().filter(|run| run.session.is_some()).map(|run| Resume::Run { run_id: run.id });
        // What was never prompted has nothing to go on with.
        if let (Some(run), None) = (&last, &resume)
            && run.turn.is_some()
        {
            let message = format!("the run of this session has ended, and {} kept no session of it that could be resumed", run.provider);
            return Err(Failure::unsupported("resume", message));
        }
        let settings = session.state().settings.clone();
        let run = self.start_run(&settings, &session.cwd, Some((SESSION_LABEL, session.id)), resume, Some(prompt)).await?;
        session.state().begin_run(run, last.is_none(), self.client().forms);
        self.follow(session).await
    }

    /// Starts a run, to which nobody is attached yet.
    pub(super) async fn start_run(
        &self,
        settings: &AgentSettings,
        cwd: &str,
        label: Option<(&str, RunId)>,
        resume: Option<Resume>,
        prompt: Option<ContentBlocks>,
    ) -> Result<Run, Failure> {
        let capabilities = self.capabilities(&settings.provider).await?;
        let labels = label.map(|(name, session)| (name.to_owned(), session.to_string()));
        let params = StartParams {
            provider: settings.provider.clone(),
            command: settings.command.clone(),
            args: settings.args.clone(),
            // A resumed session works in its own directory.
            cwd: resume.is_none().then(|| cwd.to_owned()),
            resume,
            prompt: prompt.map(Prompt::Blocks),
            interactive: capabilities.send.then_some(true),
            model: settings.model.clone(),
            permissions: settings.permissions,
            // Clients give their servers to every agent, also to one that takes none.
            mcp_servers: settings.mcp_servers.iter().filter(|_| capabilities.mcp_servers).cloned().collect(),
            labels: labels.into_iter().collect::<BTreeMap<_, _>>(),
            attach: Some(AttachChoice::Whether(false)),
            ..StartParams::default()
        };
        Ok(self.call(RunStart, params).await?.run)
    }

    /// Gives a run that began without a prompt the title that people would give it.
    fn name_session(self: &Arc<Self>, session: &Arc<AcpSession>, prompt: &[Map<String, Value>]) {
        let Some(run) = session.run().filter(|run| run.has_transcript && run.title.is_none() && !run.params.contains_key("prompt")) else {
            return;
        };
        let text = text_of(&prompt.to_vec());
        let Some(title) = text.lines().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned) else { return };
        let front_end = Arc::clone(self);
        let session = Arc::clone(session);
        tokio::spawn(async move {
            let params = EditParams { run_id: run.id, title: Some(title), labels: None, pinned: None };
            match front_end.call(RunEdit, params).await {
                Ok(edited) => front_end.run_changed(&session, edited.run),
                Err(failure) => tracing::debug!(%failure, "the run got no title"),
            }
        });
    }
}

/// Whether a prompt was refused because the run takes none any more.
fn is_over(failure: &Failure) -> bool {
    let is_unsupported = failure.kind == FailureKind::Unsupported && failure.data.get("capability").is_some_and(|name| name == "send");
    matches!(failure.kind, FailureKind::RunNotActive) || is_unsupported
}
