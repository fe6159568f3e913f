//! A supervisor of the previous release: its side of the control protocol is played from a recording.

use std::{
    io::{BufRead, BufReader, Write},
    os::{fd::AsFd, unix::net::UnixStream},
    path::PathBuf,
};

use super::*;
use crate::{
    model::control::LaunchSpec,
    runs::start::{SpawnSupervisor, start_with},
};

const RECORDING: &str = include_str!("../../../tests/control/version-0.jsonl");

#[derive(Clone, serde::Deserialize)]
struct RecordedLine {
    connection: u64,
    from: String,
    line: String,
}

/// What a server and a supervisor of version 0 said to each other, made to be about another run.
#[derive(Clone)]
struct ControlRecording {
    lines: Vec<RecordedLine>,
    id: RunId,
    runs: PathBuf,
}

impl ControlRecording {
    fn about(id: RunId, runs: PathBuf) -> Self {
        let text = RECORDING.replace("$RUNS", runs.to_str().expect("text")).replace("$RUN", &id.to_string());
        let lines = text.lines().map(|line| serde_json::from_str(line).expect("a recorded line"));
        Self { lines: lines.collect(), id, runs }
    }

    fn launch(&self) -> &str {
        &self.lines[0].line
    }

    /// Where the line stands with which a server asked for this; its id may have been another.
    fn position_of(&self, command: &Value) -> Option<usize> {
        self.lines.iter().position(|recorded| recorded.from == "server" && json_of(&recorded.line)["word"] == *command)
    }

    /// What the supervisor says after the recorded line at `position`, up to the next one of the server. Answers have the id `id`.
    fn reaction(&self, position: usize, id: &Value) -> String {
        let connection = self.lines[position].connection;
        let following = self.lines[position + 1..].iter().filter(|recorded| recorded.connection == connection);
        let said = following.take_while(|recorded| recorded.from == "supervisor").map(|recorded| {
            let mut event = json_of(&recorded.line);
            if let Some(answer) = event.get_mut("answer") {
                answer["id"] = id.clone();
            }
            if event.is_null() { "\n".to_owned() } else { format!("{event}\n") }
        });
        said.collect()
    }

    /// Plays the supervisor until the server closes the connection, or says what version 0 did not know.
    fn play(&self, stream: UnixStream) {
        let mut text = String::new();
        let mut reader = BufReader::new(&stream);
        reader.read_line(&mut text).expect("a line");
        let (launched, recorded) = (json_of(&text), json_of(self.launch()));
        if !recorded.as_object().expect("a spec").keys().all(|member| launched.get(member).is_some()) {
            return;
        }
        std::fs::rename(RunDir::staging(&self.runs, self.id).path(), RunDir::of(&self.runs, self.id).path()).expect("renamed");
        (&stream).write_all(self.reaction(0, &Value::Null).as_bytes()).expect("taken");
        for text in reader.lines().map_while(Result::ok).filter(|text| !text.is_empty()) {
            let request = json_of(&text);
            let Some(position) = self.position_of(&request["word"]) else { return };
            (&stream).write_all(self.reaction(position, &request["id"]).as_bytes()).expect("taken");
        }
    }
}

fn json_of(line: &str) -> Value {
    if line.is_empty() { Value::Null } else { serde_json::from_str(line).expect("JSON") }
}

/// A supervisor of version 0 ends at a first line that is no launch spec, and knows no command but the recorded ones.
#[tokio::test]
async fn a_supervisor_of_version_0_is_started_and_steered() {
    let (_directory, runs, mut events) = open();
    let recording = ControlRecording::about(RunId::new(), runs.history.runs.clone());
    let id = recording.id;
    let spec: LaunchSpec = serde_json::from_str(recording.launch()).expect("a spec");
    let held = std::sync::Mutex::new(Vec::new());
    let spawn: &SpawnSupervisor = &|control, lock| {
        held.lock().expect("whole").push(lock.as_fd().try_clone_to_owned()?);
        let (played, stream) = (recording.clone(), control.try_clone_to_owned()?.into());
        std::thread::spawn(move || played.play(stream));
        Ok(())
    };
    runs.links.expect(id);
    let started = start_with(&runs.history.runs, &spec, None, spawn).expect("started");
    assert_eq!((started.run.id, started.run.pid), (id, Some(4000)));
    assert_eq!(held.lock().expect("whole").len(), 2, "it was started again, in the form of version 0");
    runs.links.begin(id, started.connection, AttachedClient::default());

    for text in ["hello\n", "more\n"] {
        let send = Command::Send { text: Some(text.to_owned()), prompt: None, steer: false };
        assert_eq!(within(runs.send_command::<Value>(id, send)).await.expect("sent"), json!({}));
    }
    let edit = Command::Edit { title: Some("T".to_owned()), labels: None, pinned: None };
    let edited: Run = within(runs.send_command(id, edit)).await.expect("edited");
    assert_eq!(edited.display_title, "T");
    assert_eq!(within(runs.send_command::<Value>(id, Command::CloseInput)).await.expect("closed"), json!({}));
    next_state(&mut events, RunState::Succeeded).await;
}
