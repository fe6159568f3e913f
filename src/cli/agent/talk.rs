//! An agent's run on our own terminal: what it says as it comes, its questions, a line for the next prompt, and its exit code.
//!
//! One loop does everything; what is slow (a terminal that was stopped, a server that works) is waited for beside the keys.

use std::{io::IsTerminal, sync::Arc, time::Duration};

use futures_util::{FutureExt, future::BoxFuture};
use serde_json::{Value, json};
use tokio::{task::JoinSet, time::Instant};

use super::{
    history,
    keyboard::{Key, Keyboard},
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
    model::{Entry, Failure, FailureKind, Kind, Run, RunState, Stream},
    rpc::{Client, Notification, Notifications},
};

/// How often what goes on is drawn anew.
const FRAME: Duration = Duration::from_millis(120);
/// Lines that come so soon after each other were pasted: they are one prompt.
const PASTE: Duration = Duration::from_millis(40);

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
                if !manner.quiet || outcome.agent_code() == 1 {
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
            Err(stop) => return Err(stop),
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
        self.has_new_turn |= state.state == RunState::Running && state.turn.is_some();
        Ok(state.state.is_final().then(|| Outcome::from(state)))
    }

    // What is asked.

    /// Asks what is to be asked now, and nothing else.
    fn arrange(&mut self) {
        let wanted = self.wanted();
        if wanted == self.asked {
            return;
        }
        if self.asked == Asked::Prompt {
            self.painter.end_prompt(false);
            self.typed.clear();
            self.typed_until = None;
        }
        if let Some(keyboard) = &mut self.keyboard {
            match wanted {
                Asked::Key(_) => keyboard.take_keys(),
                _ => keyboard.take_lines(),
            }
        }
        if wanted == Asked::Prompt {
            self.painter.prompt();
        }
        self.asked = wanted;
    }

    fn wanted(&mut self) -> Asked {
        let open = self.painter.questions().find(|question| !self.set_aside.contains(&question.id));
        let open = open.filter(|_| !self.manner.only_look).cloned();
        let can_type = self.keyboard.as_ref().is_some_and(|keyboard| self.asked != Asked::Nothing || keyboard.is_ours());
        if let Some(question) = open.filter(|_| self.painter.state == Some(RunState::AwaitingPermission)) {
            if can_type {
                return Asked::Key(question.id);
            }
            self.set_aside.push(question.id.clone());
            let options: Vec<String> = question
                .options
                .iter()
                .map(|option| format!("{} ({})", words::quoted(&words::plain(&option.option_id)), words::plain(&option.name)))
                .collect();
            let id = words::short(self.run.id);
            render::note(&format!(
                "run {id} waits for an answer: {}\nanswer with `{} answer {id} OPTION`: {}",
                question.title(),
                self.launch.again(),
                options.join(", ")
            ));
        }
        let is_idle = self.painter.state == Some(RunState::Idle);
        if is_idle && can_type && self.manner.interactive && !self.input_closed { Asked::Prompt } else { Asked::Nothing }
    }

    /// What stands below the text.
    fn below(&self) -> Vec<String> {
        let Some(columns) = self.painter.paper.columns else { return Vec::new() };
        let ink = self.painter.paper.ink;
        let question = match &self.asked {
            _ if !self.painter.is_at_start() => return Vec::new(),
            Asked::Prompt => return Vec::new(),
            Asked::Key(id) => self.painter.questions().find(|question| question.id == *id),
            Asked::Nothing => None,
        };
        if let Some(question) = question {
            let mut lines = question.menu(ink, columns.saturating_sub(1));
            lines.push(ink.dim("press a key; Esc leaves it open"));
            return lines;
        }
        if self.painter.state == Some(RunState::AwaitingPermission) {
            let id = words::short(self.run.id);
            return vec![ink.dim(&render::cut(&format!("waiting for an answer: {} answer {id}", self.launch.again()), columns - 1))];
        }
        match self.painter.state {
            Some(RunState::Idle) => Vec::new(),
            _ => self.painter.going_on(render::now(), self.frame),
        }
    }

    fn compose(&mut self) -> Option<(Stream, Vec<u8>)> {
        if let Some(columns) = &mut self.painter.paper.columns {
            *columns = render::columns().unwrap_or(*columns);
        }
        let below = self.below();
        let text = self.screen.compose(&self.painter.take(), below);
        (!text.is_empty()).then(|| (history::OUT, text.into_bytes()))
    }

    // What somebody does.

    fn wish(&mut self, wish: Wish, keys: &mut Option<Keys>) -> Option<End> {
        let run_id = self.run.id;
        let (method, params) = match wish {
            Wish::Leave | Wish::Terminate | Wish::HangUp => return Some(End::Left(wish)),
            Wish::Interrupt if self.asked != Asked::Nothing => {
                if let Asked::Key(id) = self.asked.clone() {
                    self.leave_open(id);
                    keys.iter_mut().for_each(Keys::forget_interrupts);
                } else {
                    self.typed.clear();
                    self.painter.end_prompt(false);
                    self.painter.note(r"Ctrl-C again cancels the run; Ctrl-D ends it, Ctrl-\ leaves it open");
                    self.asked = Asked::Nothing;
                }
                return None;
            }
            Wish::Interrupt => ("run/interrupt", json!({ "runId": run_id })),
            Wish::Cancel => ("run/cancel", json!({ "runId": run_id })),
            Wish::Kill => ("run/cancel", json!({ "runId": run_id, "graceMs": 0 })),
        };
        if let Some(text) = live::words_of(wish).filter(|_| !self.manner.quiet) {
            match self.painter.paper.columns {
                Some(_) => self.painter.note(text),
                None => render::note(text),
            }
        }
        self.call(Call::Order, method, params);
        None
    }

    fn piece(&mut self, piece: &[u8]) {
        match self.asked.clone() {
            Asked::Nothing => {}
            Asked::Key(id) => match Key::of(piece) {
                Key::Escape => self.leave_open(id),
                Key::Char(key) => self.key(&id, key),
                Key::Other => {}
            },
            Asked::Prompt if piece.is_empty() && self.typed.is_empty() => {
                self.input_closed = true;
                self.call(Call::Order, "run/closeInput", json!({ "runId": self.run.id }));
            }
            Asked::Prompt => {
                self.typed.push_str(&String::from_utf8_lossy(piece));
                self.typed_until = Some(Instant::now() + PASTE);
            }
        }
    }

    fn key(&mut self, id: &str, key: char) {
        let question = self.painter.questions().find(|question| question.id == id);
        let Some(option) = question.and_then(|question| question.option_of(key)) else { return };
        let params = json!({ "runId": self.run.id, "permissionId": id, "optionId": option.option_id });
        self.set_aside.push(id.to_owned());
        self.painter.expect_answer(id);
        self.call(Call::Answer(id.to_owned()), "run/answer", params);
    }

    fn leave_open(&mut self, id: String) {
        let run = words::short(self.run.id);
        self.painter.note(&format!("left open; `{} answer {run}` asks again", self.launch.again()));
        self.set_aside.push(id);
    }

    fn typed_all(&mut self) {
        self.typed_until = None;
        let typed = std::mem::take(&mut self.typed);
        self.painter.end_prompt(typed.ends_with('\n'));
        self.asked = Asked::Nothing;
        let prompt = typed.trim_end();
        if !prompt.trim().is_empty() {
            self.painter.expect_echo(prompt);
            // Its turn begins; until then nothing more is asked.
            self.painter.state = Some(RunState::Running);
            self.call(Call::Prompt, "run/send", json!({ "runId": self.run.id, "prompt": prompt }));
        }
    }

    fn line(&mut self, line: Option<Result<String, Failure>>) -> Result<(), Failure> {
        let run_id = self.run.id;
        match line {
            None => {
                self.lines = None;
                self.call(Call::Order, "run/closeInput", json!({ "runId": run_id }));
            }
            Some(text) => {
                if let Some(params) = live::sent(run_id, &text?, true) {
                    self.sends_line = true;
                    self.call(Call::Line, "run/send", params);
                }
            }
        }
        Ok(())
    }

    fn call(&mut self, call: Call, method: &'static str, params: Value) {
        let client: Arc<Client> = self.session.client();
        self.calls.spawn(async move { (call, live::order(client, method, params).await) });
    }

    fn answered(&mut self, call: Call, answer: Result<(), Failure>) {
        if matches!(call, Call::Line) {
            self.sends_line = false;
        }
        let Err(failure) = answer else { return };
        match call {
            Call::Prompt => self.painter.state = Some(RunState::Idle),
            // It is asked again, unless somebody else was faster.
            Call::Answer(id) if failure.kind != FailureKind::PermissionResolved => self.set_aside.retain(|aside| *aside != id),
            _ => {}
        }
        // A call that comes too late, or whose server went, is nobody's business.
        let is_late = matches!(failure.kind, FailureKind::RunNotActive | FailureKind::Internal | FailureKind::PermissionResolved);
        if !is_late {
            match self.painter.paper.columns {
                Some(_) => self.painter.note(&words::plain(&failure.message)),
                None => render::tell_failure(&failure),
            }
        }
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
    let can_be_opened = run.session.as_ref().is_some_and(|session| session.takeover.iter().any(|way| way.command.is_some()));
    if can_be_opened && run.taken_over_at.is_none() {
        let id = words::short(run.id);
        render::note(&format!(
            "`{0} takeover {id}` opens the session here, `{0} run {1} --resume {id} …` goes on with it",
            launch.again(),
            run.provider
        ));
    }
}
