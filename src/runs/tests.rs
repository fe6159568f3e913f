//! Runs without a client: the tests play the supervisor.

mod version_0;

use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    sync::mpsc,
};

use super::*;
use crate::{
    config::Config,
    log::{Appender, Description, RunDir, append::Reserve},
    model::{
        Entry, RunState,
        control::{self, Command, ControlRequest, Event},
        line,
    },
    process::lock::Lock,
    store::Store,
    supervisor,
};

/// How long a test waits for an event.
const DEADLINE: Duration = Duration::from_secs(20);

/// A run whose supervisor is the test.
struct PlayedRun {
    id: RunId,
    log: Appender,
    listener: UnixListener,
    _lock: Lock,
}

impl PlayedRun {
    fn start(runs: &std::path::Path) -> Self {
        let id = RunId::new();
        let dir = RunDir::of(runs, id);
        std::fs::create_dir(dir.path()).expect("a new directory");
        let lock = Lock::try_take(dir.path()).expect("usable").expect("free");
        let run = Run::new(id, "command", vec!["true".to_owned()], "/", supervisor::now());
        Description { version: Description::VERSION, run: run.clone(), token: None }.write(&dir).expect("written");
        let listener = UnixListener::bind(dir.socket()).expect("a socket");
        let mut played = Self { id, log: Appender::open(dir, run).expect("a log"), listener, _lock: lock };
        played.append_state(RunState::Running);
        played
    }

    fn append_state(&mut self, state: RunState) -> Vec<u8> {
        let id = self.id;
        let entry = |seq| Entry::State(supervisor::state_entry(id, seq, state));
        self.log.entry(entry, Reserve::Untouched).expect("appended")
    }

    async fn accept(&self) -> BufReader<UnixStream> {
        let (mut stream, _) = within(self.listener.accept()).await.expect("a connection");
        stream.write_all(&control::line(&Event::Changed(Box::new(self.log.snapshot())))).await.expect("taken");
        BufReader::new(stream)
    }
}

async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, work).await.expect("it comes in time")
}

fn open() -> (TempDir, RunsHandle, mpsc::UnboundedReceiver<RunEvent>) {
    let directory = tempfile::tempdir().expect("a directory");
    let data_dir = directory.path().to_owned();
    for name in ["runs", "claims"] {
        std::fs::create_dir(data_dir.join(name)).expect("a new directory");
    }
    let history = History { runs: data_dir.join("runs"), store: Store::at(&data_dir) };
    let (runs, events) = RunsHandle::open(data_dir, history, &Config::default());
    (directory, runs, events)
}

async fn next_state(events: &mut mpsc::UnboundedReceiver<RunEvent>, state: RunState) {
    within(async {
        loop {
            let event = events.recv().await.expect("runs go on");
            if let RunEvent::Entry { entry, .. } = event
                && matches!(line::parse(entry.get().as_bytes()), Ok(Entry::State(entry)) if entry.state == state)
            {
                return;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_run_is_found_steered_and_closed_when_its_supervisor_is_gone() {
    let (_directory, runs, mut events) = open();
    let mut played = PlayedRun::start(&runs.history.runs);
    let id = played.id;
    runs.watch(0, true);
    let found = within(events.recv()).await.expect("an event");
    assert!(matches!(&found, RunEvent::Changed(run) if run.id == id), "{found:?}");
    let mut connection = played.accept().await;

    let idle = played.append_state(RunState::Idle);
    let entry = RawValue::from_string(String::from_utf8(idle).expect("text").trim_end().to_owned()).expect("JSON");
    connection.get_mut().write_all(&control::line(&Event::Entry(entry))).await.expect("taken");
    next_state(&mut events, RunState::Idle).await;

    let steering = runs.send_command::<Value>(id, Command::CloseInput);
    let supervisor = async {
        let mut text = String::new();
        connection.read_line(&mut text).await.expect("a command");
        let request: ControlRequest = serde_json::from_str(&text).expect("understood");
        assert!(matches!(request.command, Command::CloseInput), "{text}");
        let answer = Event::Answer { id: request.id, result: Ok(json!("closed")) };
        connection.get_mut().write_all(&control::line(&answer)).await.expect("taken");
    };
    let (answered, ()) = within(async { tokio::join!(steering, supervisor) }).await;
    assert_eq!(answered.expect("answered"), json!("closed"));

    // The supervisor dies: its socket, its lock and its log's writer are gone at once.
    drop((connection, played));
    next_state(&mut events, RunState::Lost).await;
    assert_eq!(runs.current_run(id).await.expect("known").state, RunState::Lost);
}

#[tokio::test]
async fn a_run_has_one_connection_however_often_it_is_looked_for() {
    let (_directory, runs, _events) = open();
    let played = PlayedRun::start(&runs.history.runs);
    runs.watch(0, true);
    assert!(runs.links.find(played.id).is_some() && runs.links.find(played.id).is_some());
    let mut connection = played.accept().await;
    let _reply = runs.push_command(played.id, Command::CloseInput);
    // The command comes over the first connection. A second one would have been made before.
    within(connection.read_line(&mut String::new())).await.expect("a command");
    assert!(tokio::time::timeout(Duration::ZERO, played.listener.accept()).await.is_err(), "a second connection");
}

/// A supervisor closes the connection of a server that reads nothing for long. Its client is attached all the same.
#[tokio::test]
async fn a_connection_made_anew_begins_with_what_the_supervisor_knew_of_the_client() {
    let (_directory, runs, _events) = open();
    let played = PlayedRun::start(&runs.history.runs);
    for command in [Command::ShowsTerminal(true), Command::CanAnswer(false), Command::Attached(true), Command::CloseInput] {
        drop(runs.push_command(played.id, command));
    }
    let mut first = played.accept().await;
    for _ in 0..4 {
        within(first.read_line(&mut String::new())).await.expect("a command");
    }
    drop(first);
    let mut second = played.accept().await;
    let mut told = Vec::new();
    for _ in 0..3 {
        let mut text = String::new();
        within(second.read_line(&mut text)).await.expect("a command");
        told.push(serde_json::from_str::<ControlRequest>(&text).expect("understood").command);
    }
    assert!(matches!(told[..], [Command::ShowsTerminal(true), Command::CanAnswer(false), Command::Attached(true)]), "{told:?}");
}

#[tokio::test]
async fn edits_reach_who_watches() {
    let (_directory, runs, mut events) = open();
    let mut played = PlayedRun::start(&runs.history.runs);
    played.append_state(RunState::Succeeded);
    let id = played.id;
    drop(played);
    runs.watch(0, true);
    within(events.recv()).await.expect("the run was found");
    let params = serde_json::from_value(json!({ "runId": id, "title": "T" })).expect("params");
    runs.edit(params).await.expect("edited");
    within(async {
        loop {
            match events.recv().await.expect("runs go on") {
                RunEvent::Changed(run) if run.display_title == "T" => return,
                _ => {}
            }
        }
    })
    .await;
}

/// Lists ask for every run that is not sealed yet, and an ended one's files say the same each time.
#[tokio::test]
async fn an_ended_run_is_read_once_and_again_when_it_is_edited() {
    let (directory, runs, _events) = open();
    let mut played = PlayedRun::start(&runs.history.runs);
    played.append_state(RunState::Succeeded);
    let dir = runs.history.dir(played.id);
    let list = || {
        let found = runs.unsealed().newest(None, 10, false, |_| true).expect("listed");
        found.into_values().next()
    };
    let listed = list().expect("there");
    assert_eq!(listed.state, RunState::Succeeded);

    // What is not read again may be gone.
    let head = std::fs::read(dir.head()).expect("there");
    std::fs::remove_file(dir.head()).expect("removed");
    let segment = dir.segment(1);
    std::fs::rename(&segment, directory.path().join("aside")).expect("moved");
    assert_eq!(list().as_ref(), Some(&listed));

    std::fs::rename(directory.path().join("aside"), &segment).expect("moved back");
    std::fs::write(dir.head(), head).expect("written");
    let mut described = Description::read(&dir).expect("readable");
    described.run.title = Some("Named".to_owned());
    described.write(&dir).expect("written");
    assert_eq!(list().and_then(|run| run.title), Some("Named".to_owned()));

    std::fs::remove_dir_all(dir.path()).expect("removed");
    assert_eq!(list(), None);
}

/// While an adopter closes a run, it counts as lost already, and its last entry is still to come.
#[tokio::test]
async fn a_run_that_is_being_closed_is_read_again() {
    let (_directory, runs, _events) = open();
    let mut played = PlayedRun::start(&runs.history.runs);
    let adopting = runs.history.dir(played.id).adopting();
    std::fs::write(&adopting, "").expect("written");
    let list = || runs.unsealed().newest(None, 10, false, |_| true).expect("listed").into_values().next().expect("there");
    let closing = list();
    assert_eq!((closing.state, closing.last_seq), (RunState::Lost, 1));
    played.append_state(RunState::Lost);
    std::fs::remove_file(adopting).expect("removed");
    assert_eq!(list().last_seq, 2);
}
