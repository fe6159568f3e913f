//! An agent's run on our own terminal: what it says as it comes, its questions, a line for the next prompt, and its exit code.
//!
//! One loop does everything; what is slow (a terminal that was stopped, a server that works) is waited for beside the keys.

mod asking;
mod hands;

use std::{io::IsTerminal, time::Duration};

use futures_util::{FutureExt, future::BoxFuture};
use rustix::process::Signal;
use serde_json::json;
use tokio::{
    signal::unix::{SignalKind, signal},
    task::JoinSet,
    time::Instant,
};

use super::{
    history,
    keyboard::Keyboard,
    painter::{Painter, Paper},
    screen::Screen,
};
use crate::{
    cli::{
        Stop,
        client::{Launch, Session},
        input::{self, Lines},
        keys::{Keys, Wish},
        live::{self, End, Head},
        outcome::Outcome,
        output::Output,
        render::{self, Ink},
        words,
    },
    model::{Entry, Failure, Kind, Run, RunState, Stream},
    rpc::{Notification, Notifications},
};

/// How often what goes on is drawn anew.
const FRAME: Duration = Duration::from_millis(120);
/// Lines that come so soon after each other were pasted: they are one prompt.
const PASTE: Duration = Duration::from_millis(40);
/// How long a turn must have been over before the next prompt is asked for.
const PAUSE: Duration = Duration::from_millis(60);

/// How a run is shown.
#[derive(Clone, Copy, Debug, Default)]
pub struct Manner {
    pub full: bool,
    pub quiet: bool,
    /// What is typed are prompts.
    pub interactive: bool,
    /// Nothing is asked and nothing is typed.
    pub only_look: bool,
}

/// A run that is watched and talked with.
pub struct Talk<'a> {
    launch: &'a Launch,
    run: Run,
    session: Session,
    notifications: Notifications,
    manner: Manner,
    pub painter: Painter,
    screen: Screen,
    keyboard: Option<Keyboard>,
    lines: Option<Lines>,
    after_seq: u64,
    calls: JoinSet<(Call, Result<(), Failure>)>,
    /// A line of a stdin that is no terminal is on its way.
    sends_line: bool,
    /// Questions that are answered already, or left to somebody else.
    set_aside: Vec<String>,
    asked: Asked,
    typed: String,
    typed_until: Option<Instant>,
    input_closed: bool,
    has_new_turn: bool,
    /// When the last turn ended: a prompt that waits may begin the next one at once.
    idle_since: Option<Instant>,
    frame: usize,
}

/// What is asked of the person now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Asked {
    #[default]
    Nothing,
    /// A question of this id, by a key.
    Key(String),
    Prompt,
}

/// Why a call was made.
enum Call {
    Order,
    Line,
    Prompt,
    Answer(String),
}

/// What happened.
enum Event {
    Wish(Wish),
    Written(Result<(), Stop>),
    Told(Option<Notification>),
    Answered(Call, Result<(), Failure>),
    Piece(std::io::Result<Vec<u8>>),
    Line(Option<Result<String, Failure>>),
    TypedAll,
    Frame,
    /// We were stopped, and go on: the shell may have changed the terminal.
    Resumed,
}

/// The paper of our stdout.
pub fn paper(manner: Manner) -> Paper {
    let is_dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    let columns = render::columns().filter(|_| !is_dumb);
    Paper { columns, ink: Ink::of_stdout(), full: manner.full, quiet: manner.quiet }
}

impl<'a> Talk<'a> {
    /// `session` is attached to `run` already, from the entry after `after_seq` on; what was before has been painted.
    pub fn new(
        launch: &'a Launch,
        manner: Manner,
        run: Run,
        (session, notifications): (Session, Notifications),
        painter: Painter,
        after_seq: u64,
    ) -> Self {
        let is_terminal = painter.paper.columns.is_some() && !manner.only_look;
        let keyboard = if is_terminal { Keyboard::open() } else { None };
        let reads = manner.interactive && !manner.only_look && keyboard.is_none();
        Self {
            launch,
            run,
            session,
            notifications,
            manner,
            painter,
            screen: Screen::default(),
            keyboard,
            lines: reads.then(input::lines),
            after_seq,
            calls: JoinSet::new(),
            sends_line: false,
            set_aside: Vec::new(),
            asked: Asked::Nothing,
            typed: String::new(),
            typed_until: None,
            input_closed: false,
            has_new_turn: false,
            idle_since: None,
            frame: 0,
        }
    }

    /// Shows the run until it ends, or until somebody leaves it. Answers with the exit code.
    pub async fn show_to_end(mut self, mut keys: Option<Keys>) -> Result<u8, Stop> {
        let output = Output::start()?;
        let end = self.over_servers(&mut keys, &output).await;
        // The terminal is as it was before anything more is said.
        self.keyboard = None;
        if !matches!(end, Ok(End::Left(Wish::HangUp)) | Err(Stop::Closed)) {
            self.painter.finish();
            let text = self.screen.compose(&self.painter.take(), Vec::new());
            output.write(Stream::Stdout, text.into_bytes()).await.ok();
            output.flush().await.ok();
        }
        let Self { launch, run, session, notifications, manner, .. } = self;
        drop(notifications);
        let code = match end {
            Ok(End::Ended(outcome)) => {
                if !manner.quiet || outcome.has_failed() {
                    live::tell_end(&outcome, &run);
                }
                if !manner.quiet {
                    tell_session(launch, &session.run(run.id).await?);
                }
                outcome.agent_code()
            }
            Ok(End::Left(Wish::HangUp)) => return Ok(live::code_of_leaving(Wish::HangUp)),
            Ok(End::Left(wish)) => {
                live::tell_left(launch, &run, manner.quiet);
                live::code_of_leaving(wish)
            }
            Err(Stop::Closed) => {
                live::tell_left(launch, &run, manner.quiet);
                0
            }
            Err(stop) => {
                if output.has_failed() {
                    live::tell_left(launch, &run, manner.quiet);
                }
                return Err(stop);
            }
        };
        session.close().await;
        Ok(code)
    }

    async fn over_servers(&mut self, keys: &mut Option<Keys>, output: &Output) -> Result<End, Stop> {
        let mut in_vain = 0;
        loop {
            let began = self.after_seq;
            match self.over_this_server(keys, output).await? {
                Some(end) => return Ok(end),
                None if self.after_seq > began => in_vain = 0,
                None => in_vain += 1,
            }
            let attach = json!({ "runId": self.run.id, "afterSeq": self.after_seq, "kinds": ["update"] });
            (self.session, self.notifications) = live::again(self.launch, self.run.id, attach, in_vain).await?;
        }
    }

    /// `None`: the server went.
    async fn over_this_server(&mut self, keys: &mut Option<Keys>, output: &Output) -> Result<Option<End>, Stop> {
        let mut writing: Option<BoxFuture<'static, Result<(), Stop>>> = None;
        let is_live = self.painter.paper.columns.is_some();
        let mut resumed = signal(SignalKind::from_raw(Signal::CONT.as_raw()))?;
        let mut frames = tokio::time::interval(FRAME);
        frames.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            if std::mem::take(&mut self.has_new_turn)
                && let Some(keys) = keys
            {
                keys.forget_interrupts();
            }
            self.arrange();
            if writing.is_none() {
                writing = self.compose().map(|(stream, bytes)| {
                    let output = output.clone();
                    async move { output.write(stream, bytes).await }.boxed()
                });
            }
            let listens = self.asked != Asked::Nothing;
            let event = tokio::select! {
                biased;
                wish = live::next_wish(keys) => Event::Wish(wish),
                done = async { writing.as_mut().expect("it is asked for only then").await }, if writing.is_some() => {
                    writing = None;
                    Event::Written(done)
                }
                Some(Ok((call, answer))) = self.calls.join_next(), if !self.calls.is_empty() => Event::Answered(call, answer),
                piece = async { self.keyboard.as_mut().expect("it is asked for only then").read().await },
                    if listens && self.keyboard.is_some() => Event::Piece(piece),
                line = live::next_line(&mut self.lines), if !self.sends_line => Event::Line(line),
                told = self.notifications.next(), if writing.is_none() => Event::Told(told),
                () = until(self.typed_until) => Event::TypedAll,
                _ = resumed.recv() => Event::Resumed,
                _ = frames.tick(), if is_live && writing.is_none() => Event::Frame,
            };
            match event {
                Event::Wish(wish) => {
                    if let Some(end) = self.wish(wish, keys) {
                        return Ok(Some(end));
                    }
                }
                Event::Written(done) => done?,
                Event::Told(told) => {
                    let mut told = Some(told);
                    // What is there already is painted in one go.
                    while let Some(notification) = told {
                        let Some(notification) = notification else { return Ok(None) };
                        if let Some(outcome) = self.take(&notification)? {
                            return Ok(Some(End::Ended(outcome)));
                        }
                        told = self.notifications.next().now_or_never();
                    }
                }
                Event::Answered(call, answer) => self.answered(call, answer),
                Event::Piece(piece) => self.piece(&piece?),
                Event::Line(line) => self.line(line)?,
                Event::TypedAll => self.typed_all(),
                Event::Frame => self.frame += 1,
                Event::Resumed => {
                    (self.asked, self.screen) = (Asked::Nothing, Screen::default());
                    self.set_aside.clear();
                }
            }
        }
    }

    /// Takes a notification. `Some`: it tells the run's end.
    fn take(&mut self, notification: &Notification) -> Result<Option<Outcome>, Stop> {
        if !Kind::ALL.into_iter().any(|kind| kind.method() == notification.method) {
            return Ok(None);
        }
        let text = notification.params.get();
        let head: Head = live::read(text)?;
        if head.run_id != self.run.id || head.seq <= self.after_seq {
            return Ok(None);
        }
        self.after_seq = head.seq;
        let entry: Entry = live::read(text)?;
        self.painter.entry(&entry);
        let Entry::State(state) = &entry else { return Ok(None) };
        self.idle_since = Some(Instant::now());
        self.has_new_turn |= state.state == RunState::Running && state.turn.is_some();
        Ok(state.state.is_final().then(|| Outcome::from(state).of_agent(true)))
    }

    fn compose(&mut self) -> Option<(Stream, Vec<u8>)> {
        if let Some(columns) = &mut self.painter.paper.columns {
            *columns = render::columns().unwrap_or(*columns);
        }
        let below = self.below();
        let text = self.screen.compose(&self.painter.take(), below);
        (!text.is_empty()).then(|| (history::OUT, text.into_bytes()))
    }
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Says how a session is gone on with, to somebody at a terminal.
fn tell_session(launch: &Launch, run: &Run) {
    if !std::io::stderr().is_terminal() {
        return;
    }
    if run.taken_over_at.is_some() {
        return render::note("its session was taken over; it goes on there");
    }
    let can_be_opened = run.session.as_ref().is_some_and(|session| session.takeover.iter().any(|way| way.command.is_some()));
    if can_be_opened {
        let id = words::short(run.id);
        render::note(&format!(
            "`{0} takeover {id}` opens the session here, `{0} run {1} --resume {id} …` goes on with it",
            launch.again(),
            run.provider
        ));
    }
}
