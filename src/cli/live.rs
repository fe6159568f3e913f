//! A command's run on a terminal: its output as it comes, the keys, and its exit code at the end.
//!
//! If the server ends, another one is started and the output continues where it stopped. The run is not affected.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::task::JoinSet;

use super::{
    EarlyExit, format,
    input::{self, Keys, Resizes, StdinChunks, UserAction, next_size},
    notification_printer::{LiveView, NotificationPrinter},
    outcome::RunOutcome,
    output::OutputWriter,
    render,
    tail::TailPosition,
};
use crate::{
    client::{ServerLaunch, ServerSession, send_over, set_size},
    model::{
        Failure, FailureKind, Run, RunId,
        calls::{AttachParams, CancelParams, RunIdParams, SendParams},
        methods::{Method, RunAttach, RunCancel, RunCloseInput, RunInterrupt},
    },
    rpc::{Client, Notifications, is_connection_end},
};

/// Exit codes of programs that a signal ended start here, as in shells.
const SIGNAL_EXIT_BASE: u8 = 128;

/// How many servers in a row may end without having sent a single entry.
const MAX_FAILED_SERVERS: u32 = 3;

/// Why watching ended.
pub(super) enum WatchEnd {
    Ended(RunOutcome),
    /// The person detached, and the run continues.
    Detached(UserAction),
}

/// A run that is watched.
pub(crate) struct Watch<'a> {
    launch: &'a ServerLaunch,
    view: LiveView,
    run: Run,
    position: TailPosition,
    session: ServerSession,
    notifications: Notifications,
    calls: JoinSet<Result<(), Failure>>,
    /// What our stdin asked for and has no answer yet. It is asked again over the next connection.
    unanswered: Option<StdinRequest>,
}

/// What our stdin asks for.
#[derive(Clone)]
enum StdinRequest {
    Send(SendParams),
    Close,
}

impl StdinRequest {
    fn send(self, client: Arc<Client>, run_id: RunId) -> BoxFuture<'static, Result<(), Failure>> {
        match self {
            Self::Send(params) => send_line(client, params),
            Self::Close => send_request(client, RunCloseInput, RunIdParams { run_id }),
        }
    }

    /// Whether it has the same effect the second time. A line without a token would arrive twice.
    fn may_repeat(&self) -> bool {
        match self {
            Self::Send(params) => params.client_token.is_some(),
            Self::Close => true,
        }
    }
}

impl<'a> Watch<'a> {
    /// `session` is attached to `run` already, from `position` on.
    pub(crate) fn new(
        launch: &'a ServerLaunch,
        view: LiveView,
        run: Run,
        position: TailPosition,
        session: ServerSession,
        notifications: Notifications,
    ) -> Self {
        Self { launch, view, run, position, session, notifications, calls: JoinSet::new(), unanswered: None }
    }

    /// Shows the run until it ends or the person detaches. Returns the exit code.
    pub(crate) async fn show_to_end(mut self, keys: Option<Keys>) -> Result<u8, EarlyExit> {
        let output = OutputWriter::start(self.view.content())?;
        let end = self.watch_until_end(keys, &output).await;
        // Replies queue behind notifications, which nobody reads from now on.
        let Self { launch, view, run, session, notifications, .. } = self;
        drop(notifications);
        let code = match end {
            Ok(WatchEnd::Ended(outcome)) => {
                if view.json && view.ends_with_run {
                    let run = session.run(run.id).await?;
                    render::print_json_of(launch.host(), &run)?;
                }
                if !view.quiet {
                    print_end(launch, &outcome, &run);
                }
                if view.is_agent { outcome.agent_code() } else { outcome.code() }
            }
            // The terminal is closed, so nobody could read a note, and this process must not delay its end.
            Ok(WatchEnd::Detached(UserAction::HangUp)) => return Ok(detach_exit_code(UserAction::HangUp)),
            Ok(WatchEnd::Detached(action)) => {
                print_detached(launch, &run, view.quiet);
                detach_exit_code(action)
            }
            Err(EarlyExit::Closed) => {
                print_detached(launch, &run, view.quiet);
                0
            }
            Err(stop) => {
                if output.has_failed() {
                    print_detached(launch, &run, view.quiet);
                }
                return Err(stop);
            }
        };
        session.close().await;
        Ok(code)
    }

    async fn watch_until_end(&mut self, mut keys: Option<Keys>, output: &OutputWriter) -> Result<WatchEnd, EarlyExit> {
        let mut lines = self.view.interactive.then(input::stdin_chunks);
        let mut failed_servers = 0;
        loop {
            let seq_before = self.position.after_seq;
            match self.watch_on_server(&mut keys, &mut lines, output).await? {
                Some(end) => return Ok(end),
                None if self.position.after_seq > seq_before => failed_servers = 0,
                None => failed_servers += 1,
            }
            let attach = AttachParams::entries(self.run.id, self.position.after_seq);
            let connection = (&mut self.session, &mut self.notifications);
            if let Some(end) = reconnect(self.launch, connection, attach, failed_servers, &mut keys).await? {
                return Ok(end);
            }
        }
    }

    /// `None`: the server ended before the run did.
    async fn watch_on_server(
        &mut self,
        keys: &mut Option<Keys>,
        lines: &mut Option<StdinChunks>,
        output: &OutputWriter,
    ) -> Result<Option<WatchEnd>, EarlyExit> {
        let run_id = self.run.id;
        let client = self.session.client();
        // A run in a terminal has the size of the one in which it is shown.
        let is_shown = keys.is_some() && !self.view.json;
        let mut resizes = (self.run.tty.is_some() && is_shown).then(Resizes::listen).transpose()?;
        if let Some(size) = render::terminal_size().filter(|_| resizes.is_some()) {
            self.calls.spawn(set_size(client.clone(), run_id, size));
        }
        let mut printer = NotificationPrinter { run_id, view: &self.view, position: &mut self.position };
        let mut printing = std::pin::pin!(printer.until_end(&mut self.notifications, output));
        let mut sending = self.unanswered.clone().map(|request| request.send(client.clone(), run_id));
        loop {
            tokio::select! {
                biased;
                action = next_action(keys) => {
                    let Some(request) = action_request(client.clone(), run_id, action) else {
                        return Ok(Some(WatchEnd::Detached(action)));
                    };
                    if !self.view.quiet {
                        print_action(action);
                    }
                    self.calls.spawn(request);
                }
                Some(size) = next_size(&mut resizes), if resizes.is_some() => {
                    self.calls.spawn(set_size(client.clone(), run_id, size));
                }
                ended = &mut printing => return ended.map(|outcome| outcome.map(WatchEnd::Ended)),
                Some(Ok(reply)) = self.calls.join_next(), if !self.calls.is_empty() => print_call_failure(reply),
                reply = async { sending.as_mut().expect("the condition checks it").await }, if sending.is_some() => {
                    sending = None;
                    self.unanswered.take_if(|request| !request.may_repeat() || !reply.as_ref().is_err_and(is_connection_end));
                    print_call_failure(reply);
                }
                line = next_line(lines), if sending.is_none() => {
                    let request = match line {
                        Some(Ok(text)) => match send_params(run_id, &text, self.view.is_agent) {
                            Some(params) => StdinRequest::Send(SendParams { client_token: self.session.send_token(), ..params }),
                            None => continue,
                        },
                        Some(Err(failure)) => {
                            sending = Some(Box::pin(std::future::ready(Err(failure))));
                            continue;
                        }
                        None => {
                            *lines = None;
                            StdinRequest::Close
                        }
                    };
                    sending = Some(request.clone().send(client.clone(), run_id));
                    self.unanswered = Some(request);
                }
            }
        }
    }
}

/// Starts another server, or connects to the host of the run again, and attaches to the run where the last connection
/// stopped. `failed_servers`: how many in a row have ended without having sent an entry. `Some`: the person did not wait for
/// the host.
pub(super) async fn reconnect(
    launch: &ServerLaunch,
    (session, notifications): (&mut ServerSession, &mut Notifications),
    attach: AttachParams,
    failed_servers: u32,
    keys: &mut Option<Keys>,
) -> Result<Option<WatchEnd>, EarlyExit> {
    let id = launch.shown_id(attach.run_id);
    let not_affected = format!("the run is not affected: `{} attach {id}`", launch.command_prefix());
    if launch.host().is_none() {
        if failed_servers > MAX_FAILED_SERVERS {
            return Err(Failure::internal(format!("the server keeps crashing; {not_affected}")).into());
        }
        (*session, *notifications) = launch.open().await?;
        session.call(RunAttach, attach).await?;
        return Ok(None);
    }
    let connecting = async {
        let new = session.reconnect(failed_servers).await;
        let new = new.map_err(|failure| Failure { message: format!("{failure}; {not_affected}"), ..failure })?;
        session.call(RunAttach, attach).await?;
        Ok::<_, Failure>(new)
    };
    tokio::select! {
        new = connecting => *notifications = new?,
        // What the person wants of the run cannot be sent, so they leave.
        action = next_action(keys) => return Ok(Some(WatchEnd::Detached(match action {
            UserAction::Interrupt | UserAction::Cancel | UserAction::Kill => UserAction::Detach,
            UserAction::Detach | UserAction::Terminate | UserAction::HangUp => action,
        }))),
    }
    Ok(None)
}

/// The params of `run/send` for a line of our stdin. `None`: an empty line is no prompt for an agent.
pub(super) fn send_params(run_id: RunId, text: &str, is_agent: bool) -> Option<SendParams> {
    match is_agent {
        true if text.trim().is_empty() => None,
        true => Some(SendParams::prompt(run_id, text.trim_end())),
        false => Some(SendParams::text(run_id, text)),
    }
}

/// The exit code after a detach: that of the signal that asked for it, or 0.
pub(super) fn detach_exit_code(action: UserAction) -> u8 {
    match action {
        UserAction::HangUp => SIGNAL_EXIT_BASE + 1,
        UserAction::Terminate => SIGNAL_EXIT_BASE + 15,
        _ => 0,
    }
}

/// The request for what the person does. `None`: it is no request, for they leave.
pub(super) fn action_request(client: Arc<Client>, run_id: RunId, action: UserAction) -> Option<BoxFuture<'static, Result<(), Failure>>> {
    Some(match action {
        UserAction::Detach | UserAction::Terminate | UserAction::HangUp => return None,
        UserAction::Interrupt => send_request(client, RunInterrupt, RunIdParams { run_id }),
        UserAction::Cancel => send_request(client, RunCancel, CancelParams { run_id, grace_ms: None }),
        UserAction::Kill => send_request(client, RunCancel, CancelParams { run_id, grace_ms: Some(0) }),
    })
}

/// Sends a line of our stdin.
pub(super) fn send_line(client: Arc<Client>, params: SendParams) -> BoxFuture<'static, Result<(), Failure>> {
    Box::pin(async move { send_over(&client, params).await.map(drop) })
}

/// Sends a request whose result is not used.
pub(super) fn send_request<M: Method>(client: Arc<Client>, method: M, params: M::Params) -> BoxFuture<'static, Result<(), Failure>> {
    Box::pin(async move { client.call(method, params).await.map(drop) })
}

pub(super) async fn next_action(keys: &mut Option<Keys>) -> UserAction {
    match keys {
        Some(keys) => keys.next().await,
        None => std::future::pending().await,
    }
}

pub(super) async fn next_line(lines: &mut Option<StdinChunks>) -> Option<Result<String, Failure>> {
    match lines {
        Some(lines) => lines.recv().await,
        None => std::future::pending().await,
    }
}

fn print_action(action: UserAction) {
    if let Some(text) = action_note(action) {
        // The line end ends the line on which the terminal has just echoed ^C.
        render::note(&format!("\n{text}"));
    }
}

/// The note for an action.
pub(super) fn action_note(action: UserAction) -> Option<&'static str> {
    match action {
        UserAction::Interrupt => Some(r"Interrupting… Press Ctrl-C again to cancel the run, Ctrl-\ to detach."),
        UserAction::Cancel => Some("Canceling… Press Ctrl-C again to kill the run."),
        UserAction::Kill => Some("Killing…"),
        UserAction::Detach | UserAction::Terminate | UserAction::HangUp => None,
    }
}

/// Prints the failure of a request, unless it came too late or its server ended: the run's state shows what happened.
fn print_call_failure(reply: Result<(), Failure>) {
    match reply {
        Err(failure) if !matches!(failure.kind, FailureKind::RunNotActive | FailureKind::Internal) => render::print_failure(&failure),
        _ => {}
    }
}

/// Prints which processes outlived the run, and how it ended if that is unusual.
pub(super) fn print_end(launch: &ServerLaunch, outcome: &RunOutcome, run: &Run) {
    for process in outcome.left_processes() {
        render::note(&format!("Still running: {} (PID {})", format::plain(&process.command), process.pid));
    }
    if outcome.is_unusual() || (render::stderr_is_terminal() && outcome.code() != 0) {
        let duration_ms = render::now().saturating_sub(run.created_at);
        render::note(&format!("Run {} {}", launch.shown_id(run.id), outcome.description_after(duration_ms)));
    }
}

/// Prints that the run continues and how to return to it.
pub(super) fn print_detached(launch: &ServerLaunch, run: &Run, quiet: bool) {
    if quiet || run.state.is_final() {
        return;
    }
    let (id, command_prefix) = (launch.shown_id(run.id), launch.command_prefix());
    let state = match run.params.get("onDisconnect").and_then(|choice| choice.as_str()) {
        Some("cancel") => "will be canceled in 5 s unless a client attaches",
        _ => "is still running",
    };
    let (attach, cancel) = (format!("{command_prefix} attach {id}"), format!("{command_prefix} cancel {id}"));
    render::note(&format!("\nDetached. Run {id} {state}.\nAttach: {attach}\nCancel: {cancel}"));
}
