//! An agent's run on a terminal: its transcript as it grows, permission requests, a line for the next prompt, its exit
//! code.
//!
//! One loop handles all events. What may be slow (a terminal that was stopped with Ctrl-S, a server that works) is
//! awaited beside the keys, so that keys always work.

mod input;
mod prompts;

use std::time::Duration;

use futures_util::{FutureExt, future::BoxFuture};
use tokio::{
    signal::unix::{SignalKind, signal},
    task::JoinSet,
    time::Instant,
};

use self::prompts::StatusLines;
use super::{
    keyboard::Keyboard,
    renderer::{RenderOptions, Renderer},
};
use crate::{
    cli::{
        EarlyExit,
        input::{self as stdin, Keys, StdinChunks, UserAction},
        live::{self, WatchEnd},
        notification_printer,
        outcome::RunOutcome,
        output::OutputWriter,
        render::{self, Styles},
        screen::Content,
    },
    client::{ServerLaunch, ServerSession},
    model::{
        Entry, Failure, Kind, Run, RunState, Stream,
        calls::{AttachParams, ItemParams, SendParams},
    },
    process::Signal,
    rpc::{Notification, Notifications},
};

/// The notification of items.
const ITEM_METHOD: &str = "run/item";
/// Lines of the screen that a question leaves to its options.
pub(crate) const MENU_LINES: usize = 6;
/// How often the progress lines are drawn.
const FRAME_INTERVAL: Duration = Duration::from_millis(120);
/// Lines that follow each other within this time were pasted and are one prompt.
const PASTE_DELAY: Duration = Duration::from_millis(40);
/// How long a question must have been on the screen before keys count.
pub(crate) const KEY_GUARD: Duration = Duration::from_millis(600);
/// How long a turn must have been over before a prompt is shown: a queued prompt may start the next turn at once.
const IDLE_DELAY: Duration = Duration::from_millis(60);

/// How a run is shown.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ViewOptions {
    pub(crate) full: bool,
    pub(crate) quiet: bool,
    /// Typed lines are prompts.
    pub(crate) interactive: bool,
    /// No permission is asked for and nothing is read from the keyboard.
    pub(crate) view_only: bool,
}

/// A run that is watched and, with a keyboard, answered and prompted.
pub(crate) struct Interactive<'a> {
    launch: &'a ServerLaunch,
    run: Run,
    session: ServerSession,
    notifications: Notifications,
    view: ViewOptions,
    pub(crate) renderer: Renderer,
    status: StatusLines,
    keyboard: Option<Keyboard>,
    stdin_lines: Option<StdinChunks>,
    /// Following the run after this entry misses nothing.
    after_seq: u64,
    /// The newest entry that came as such.
    entry_seq: u64,
    calls: JoinSet<(PendingCall, Result<(), Failure>)>,
    /// What had no answer when its connection ended and has the same effect the second time. It is sent again over the next one.
    unanswered: Vec<PendingCall>,
    /// A `run/send` for a line of a stdin that is no terminal has no reply yet.
    is_sending_line: bool,
    /// Permission requests that were answered from here or left to another client.
    skipped_requests: Vec<String>,
    active_prompt: ActivePrompt,
    keys: KeyGuard,
    typed: String,
    paste_deadline: Option<Instant>,
    input_closed: bool,
    has_new_turn: bool,
    /// When the last state came.
    idle_since: Option<Instant>,
    frame: usize,
}

/// What the person is asked for now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum ActivePrompt {
    #[default]
    None,
    /// The permission request of this ID, by a key.
    Permission(String),
    Prompt,
}

/// Whether keys count as answers. Only a person who saw a question answers it: keys that were pressed for something else do not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum KeyGuard {
    /// What is asked is not on the screen yet.
    #[default]
    Unseen,
    /// It is; keys count from this time on.
    Until(Instant),
    Open,
}

/// Why a request was sent, for the handling of its failure.
enum PendingCall {
    Control,
    Line(SendParams),
    Prompt(SendParams),
    CloseInput,
    Answer(String),
}

/// What the loop handles.
enum InteractiveEvent {
    UserAction(UserAction),
    Written(Result<(), EarlyExit>),
    Notification(Option<Notification>),
    Reply(PendingCall, Result<(), Failure>),
    KeyboardInput(std::io::Result<Vec<u8>>),
    KeysCount,
    Line(Option<Result<String, Failure>>),
    PasteEnded,
    Frame,
    /// This process was stopped (Ctrl-Z) and continues. The shell may have changed the terminal meanwhile.
    Resumed,
}

/// How our stdout shows a transcript.
pub(crate) fn render_options(view: ViewOptions) -> RenderOptions {
    let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    let columns = render::columns().filter(|_| !is_dumb);
    RenderOptions { columns, styles: Styles::of_stdout(), full: view.full, quiet: view.quiet, asks: false }
}

impl<'a> Interactive<'a> {
    /// `session` is attached to `run` already, from the entry after `after_seq` on. `renderer` has rendered what was
    /// before.
    pub(crate) fn new(
        launch: &'a ServerLaunch,
        view: ViewOptions,
        run: Run,
        (session, notifications): (ServerSession, Notifications),
        mut renderer: Renderer,
        after_seq: u64,
    ) -> Self {
        let is_terminal = renderer.options.columns.is_some() && !view.view_only;
        let keyboard = if is_terminal { Keyboard::open() } else { None };
        renderer.options.asks = keyboard.is_some();
        renderer.set_state(run.state);
        let reads = view.interactive && !view.view_only && keyboard.is_none();
        Self {
            launch,
            run,
            session,
            notifications,
            view,
            renderer,
            status: StatusLines::default(),
            keyboard,
            stdin_lines: reads.then(stdin::stdin_chunks),
            after_seq,
            entry_seq: 0,
            calls: JoinSet::new(),
            unanswered: Vec::new(),
            is_sending_line: false,
            skipped_requests: Vec::new(),
            active_prompt: ActivePrompt::None,
            keys: KeyGuard::default(),
            typed: String::new(),
            paste_deadline: None,
            input_closed: false,
            has_new_turn: false,
            idle_since: None,
            frame: 0,
        }
    }

    /// Shows the run until it ends or the person detaches. Returns the exit code.
    pub(crate) async fn show_to_end(mut self, mut keys: Option<Keys>) -> Result<u8, EarlyExit> {
        let output = OutputWriter::start(Content::Exact)?;
        let end = self.watch_until_end(&mut keys, &output).await;
        // The terminal gets its modes back before anything more is printed.
        self.keyboard = None;
        if !matches!(end, Ok(WatchEnd::Detached(UserAction::HangUp)) | Err(EarlyExit::Closed)) {
            self.renderer.finish();
            let text = self.status.compose(&self.renderer.take(), Vec::new(), render::columns());
            // If stdout is closed there is nobody to read the rest; the exit code still tells how the run ended.
            output.write(Stream::Stdout, text.into_bytes()).await.ok();
            output.flush().await.ok();
        }
        let Self { launch, run, session, notifications, view, .. } = self;
        drop(notifications);
        let code = match end {
            Ok(WatchEnd::Ended(outcome)) => {
                if !view.quiet || outcome.has_failed() {
                    live::print_end(launch, &outcome, &run);
                }
                if !view.quiet {
                    super::print_session_hint(launch, &session.run(run.id).await?);
                }
                outcome.agent_code()
            }
            Ok(WatchEnd::Detached(UserAction::HangUp)) => return Ok(live::detach_exit_code(UserAction::HangUp)),
            Ok(WatchEnd::Detached(action)) => {
                live::print_detached(launch, &run, view.quiet);
                live::detach_exit_code(action)
            }
            Err(EarlyExit::Closed) => {
                live::print_detached(launch, &run, view.quiet);
                0
            }
            Err(stop) => {
                if output.has_failed() {
                    live::print_detached(launch, &run, view.quiet);
                }
                return Err(stop);
            }
        };
        session.close().await;
        Ok(code)
    }

    async fn watch_until_end(&mut self, keys: &mut Option<Keys>, output: &OutputWriter) -> Result<WatchEnd, EarlyExit> {
        let mut failed_servers = 0;
        loop {
            let seq_before = self.after_seq.max(self.entry_seq);
            match self.watch_on_server(keys, output).await? {
                Some(end) => return Ok(end),
                None if self.after_seq.max(self.entry_seq) > seq_before => failed_servers = 0,
                None => failed_servers += 1,
            }
            let attach = AttachParams::items(self.run.id, self.after_seq);
            let connection = (&mut self.session, &mut self.notifications);
            if let Some(end) = live::reconnect(self.launch, connection, attach, failed_servers, keys).await? {
                return Ok(end);
            }
        }
    }

    /// `None`: the server ended before the run did.
    async fn watch_on_server(&mut self, keys: &mut Option<Keys>, output: &OutputWriter) -> Result<Option<WatchEnd>, EarlyExit> {
        let mut writing: Option<BoxFuture<'static, Result<(), EarlyExit>>> = None;
        let is_live = self.renderer.options.columns.is_some();
        let mut resumed = signal(SignalKind::from_raw(Signal::CONT.as_raw()))?;
        let mut frames = tokio::time::interval(FRAME_INTERVAL);
        frames.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            if std::mem::take(&mut self.has_new_turn)
                && let Some(keys) = keys
            {
                keys.reset_interrupts();
            }
            self.send_unanswered();
            self.update_prompt();
            if writing.is_none() {
                writing = self.compose().map(|(stream, bytes)| {
                    let output = output.clone();
                    async move {
                        output.write(stream, bytes).await?;
                        output.flush().await
                    }
                    .boxed()
                });
            }
            if writing.is_none() && self.keys == KeyGuard::Unseen {
                // Everything is written, the question as well.
                self.keys = KeyGuard::Until(Instant::now() + KEY_GUARD);
            }
            let reads_keys = match self.active_prompt {
                ActivePrompt::None => false,
                ActivePrompt::Permission(_) => self.keys == KeyGuard::Open,
                ActivePrompt::Prompt => true,
            };
            let keys_count_from = if let KeyGuard::Until(time) = self.keys { Some(time) } else { None };
            let event = tokio::select! {
                biased;
                action = live::next_action(keys) => InteractiveEvent::UserAction(action),
                done = async { writing.as_mut().expect("the condition checks it").await }, if writing.is_some() => {
                    writing = None;
                    InteractiveEvent::Written(done)
                }
                Some(Ok((call, reply))) = self.calls.join_next(), if !self.calls.is_empty() => InteractiveEvent::Reply(call, reply),
                bytes = async { self.keyboard.as_mut().expect("the condition checks it").read().await },
                    if reads_keys && self.keyboard.is_some() => InteractiveEvent::KeyboardInput(bytes),
                line = live::next_line(&mut self.stdin_lines), if !self.is_sending_line => InteractiveEvent::Line(line),
                notification = self.notifications.next(), if writing.is_none() => InteractiveEvent::Notification(notification),
                () = sleep_until(keys_count_from) => InteractiveEvent::KeysCount,
                () = sleep_until(self.paste_deadline) => InteractiveEvent::PasteEnded,
                _ = resumed.recv() => InteractiveEvent::Resumed,
                _ = frames.tick(), if is_live && writing.is_none() => InteractiveEvent::Frame,
            };
            match event {
                InteractiveEvent::UserAction(action) => {
                    if let Some(end) = self.handle_action(action, keys) {
                        return Ok(Some(end));
                    }
                }
                InteractiveEvent::Written(done) => done?,
                InteractiveEvent::Notification(first) => {
                    let mut next = Some(first);
                    // Notifications that have arrived already are rendered together, in one write.
                    while let Some(notification) = next {
                        let Some(notification) = notification else { return Ok(None) };
                        if let Some(outcome) = self.handle_notification(&notification)? {
                            return Ok(Some(WatchEnd::Ended(outcome)));
                        }
                        next = self.notifications.next().now_or_never();
                    }
                }
                InteractiveEvent::Reply(call, reply) => self.handle_reply(call, reply),
                InteractiveEvent::KeyboardInput(bytes) => self.handle_keyboard_input(&bytes?),
                InteractiveEvent::KeysCount => {
                    self.keys = KeyGuard::Open;
                    if let (ActivePrompt::Permission(_), Some(keyboard)) = (&self.active_prompt, &self.keyboard) {
                        keyboard.drop_input();
                    }
                }
                InteractiveEvent::Line(line) => self.handle_stdin_line(line)?,
                InteractiveEvent::PasteEnded => self.submit_prompt(),
                InteractiveEvent::Frame => self.frame += 1,
                InteractiveEvent::Resumed => {
                    (self.active_prompt, self.status) = (ActivePrompt::None, StatusLines::default());
                    self.skipped_requests.clear();
                }
            }
        }
    }

    /// Draws what a notification brings. `Some`: the run has ended with it.
    fn handle_notification(&mut self, notification: &Notification) -> Result<Option<RunOutcome>, EarlyExit> {
        let text = notification.params.get();
        if notification.method == ITEM_METHOD {
            let params: ItemParams = notification_printer::read(text)?;
            if params.run_id == self.run.id {
                // One entry may change several items, of which some may not have come yet.
                self.after_seq = self.after_seq.max(params.seq.saturating_sub(1));
                self.renderer.change(params.seq, params.change);
            }
            return Ok(None);
        }
        if notification.method != Kind::State.method() {
            return Ok(None);
        }
        let Entry::State(state) = notification_printer::read(text)? else { return Ok(None) };
        if state.run_id != self.run.id || state.seq <= self.entry_seq {
            return Ok(None);
        }
        self.entry_seq = state.seq;
        self.renderer.state_entry(&state);
        self.idle_since = Some(Instant::now());
        self.has_new_turn |= state.state == RunState::Running && state.turn.is_some();
        Ok(state.state.is_final().then(|| RunOutcome::from(&state).with_agent(true)))
    }

    /// What is to be written to stdout next.
    fn compose(&mut self) -> Option<(Stream, Vec<u8>)> {
        if let Some(columns) = &mut self.renderer.options.columns {
            *columns = render::columns().unwrap_or(*columns);
        }
        let status_lines = self.status_lines();
        let text = self.status.compose(&self.renderer.take(), status_lines, self.renderer.options.columns);
        (!text.is_empty()).then(|| (Stream::Stdout, text.into_bytes()))
    }
}

async fn sleep_until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}
