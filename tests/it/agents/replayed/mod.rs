//! Every recording of a real agent, played by `tests/agents/replay.py` as the provider of the real server, with a client that does what the
//! recorded one did, when it did it.
//!
//! What the log then says must be what the unit bench says of the recording (the snapshot beside it), and the output what was recorded.
//! A second server's client that comes in the middle, and again after the end, must see the same.

mod acp;
mod claude;
mod client;
mod codex;
mod compare;
mod plain;
mod recording;

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use serde_json::{Value, json};

use self::{
    client::{Deed, Kind},
    compare::Words,
    recording::Recording,
};
use crate::harness::{Home, Log, Server};

/// Tests of this kind's recordings in a directory, one each.
macro_rules! recordings {
    ($kind:ident, $directory:literal: $($name:ident)*) => {
        const NAMES: &[&str] = &[$(stringify!($name)),*];

        #[test]
        fn all_recordings_are_played() {
            crate::agents::replayed::all_are_named(crate::agents::replayed::client::Kind::$kind, $directory, NAMES);
        }

        $(#[test]
        fn $name() {
            crate::agents::replayed::plays(crate::agents::replayed::client::Kind::$kind, $directory, stringify!($name));
        })*
    };
}
use recordings;

/// What cannot be done over the wire as it was recorded, and why.
const OTHERWISE: &[(&str, &str, Otherwise, &str)] = &[
    ("claude", "bidi-eof", Otherwise::Closed, "stdin ended in the middle of the turn; ours ends after it"),
    ("claude-agent-acp", "eof-tool", Otherwise::Closed, "the same"),
    ("codex-acp", "eof-tool", Otherwise::Closed, "the same"),
    ("gemini-acp", "eof-tool", Otherwise::Closed, "the same"),
    ("opencode-acp", "eof-tool", Otherwise::Closed, "the same"),
    ("gemini-acp", "load-2-loaded", Otherwise::NoPrompt, "the session was not there; the recorder gave it a prompt all the same"),
    (
        "codex-acp",
        "load-2-loaded",
        Otherwise::Order,
        "we set the mode before the prompt, so what was said at once after loading comes before it",
    ),
    ("claude", "session-4-fork", Otherwise::Resumed, "it forked; our client goes on with the session itself"),
    ("claude", "session-5-session-id-taken", Otherwise::Resumed, "its client chose an id that was taken; ours chooses another"),
    ("claude", "session-8-resume-session-id-fork", Otherwise::Resumed, "the same"),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Otherwise {
    /// The run takes no more prompts from its beginning on, and the end of stdin is not waited for.
    Closed,
    /// The prompt is never said.
    NoPrompt,
    /// The entries are the same, in another order.
    Order,
    /// What is told of the session is not compared.
    Resumed,
}

/// Whether a directory's list of tests is a list of its recordings.
fn all_are_named(kind: Kind, provider: &str, names: &[&str]) {
    let mut names: Vec<String> = names.iter().map(|name| name.replace('_', "-")).collect();
    names.sort();
    assert_eq!(names, recording::names(kind, provider), "the recordings of {provider} and their tests");
}

fn plays(kind: Kind, provider: &str, name: &str) {
    let name = name.replace('_', "-");
    let otherwise = OTHERWISE.iter().find(|(of, which, ..)| (*of, *which) == (provider, name.as_str())).map(|(_, _, how, _)| *how);
    let mut recording = Recording::read(kind, provider, &name);
    let mut params = kind.params(&recording);
    match otherwise {
        Some(Otherwise::Closed) => {
            recording.without_end_of_input();
            params["interactive"] = json!(false);
        }
        Some(Otherwise::NoPrompt) => recording.without_prompts(),
        Some(Otherwise::Order | Otherwise::Resumed) | None => {}
    }
    let is_interactive = params["interactive"] == true;
    let home = Home::new();
    let stage = Stage::new(&home, kind, provider, &recording);
    params["provider"] = json!(stage.provider);
    params["cwd"] = json!(stage.cwd);
    let start = || home.setup().env("PATH", &stage.path).arg("--config").arg(&stage.config).start();
    let (mut server, mut other) = (start(), start());
    let (run, mut log) = server.start(params);
    let words = Words::new(kind, &recording, &home, &run);
    let middle = recording.lines("out").count() / 2;
    let mut late = None;
    let mut requests = Vec::new();
    // A run that is not interactive closes its input itself.
    let deeds = recording.deeds(kind).into_iter().filter(|(_, deed)| is_interactive || !matches!(deed, Deed::Close));
    for (lines, deed) in deeds {
        let what = format!("{lines} lines before {deed:?}");
        if lines > middle && late.is_none() {
            late = Some(joins(&mut server, &mut other, &mut log, &words, middle));
        }
        server.follow(&mut log, &what, |log| words.played(log) >= lines);
        requests.extend(does(&mut server, &mut log, deed).map(|request| (what, request)));
    }
    let mut late = late.unwrap_or_else(|| joins(&mut server, &mut other, &mut log, &words, middle));
    let run = server.follow_to_end(&mut log);
    for (what, request) in requests {
        if let Err(failure) = server.finish(request) {
            // A run that failed has ended by itself.
            assert!(failure.kind == "runNotActive" && what.ends_with("Close"), "{what}: {failure:?}");
        }
    }
    words.check_output(&log);
    words.check_entries(&log, &run, otherwise);
    other.follow_to_end(&mut late);
    let mut again = Log::of(&log.run);
    other.call("run/attach", json!({ "runId": log.run, "afterSeq": 0 }));
    other.follow_to_end(&mut again);
    for (seen, who) in [(late, "who came in the middle"), (again, "who came after the end")] {
        assert_eq!((seen.said, seen.seq), (log.said.clone(), log.seq), "{who}");
        assert_eq!((seen.stdout, seen.stderr), (log.stdout.clone(), log.stderr.clone()), "{who}");
    }
}

/// Another client attaches once so many lines were played.
fn joins(server: &mut Server, other: &mut Server, log: &mut Log, words: &Words, lines: usize) -> Log {
    server.follow(log, "the middle", |log| words.played(log) >= lines || log.is_final());
    let late = log.clone();
    if !late.is_final() {
        other.attach(&late);
    }
    late
}

/// Does what the recorded client did; the request is answered later, when what it asks for has come about.
fn does(server: &mut Server, log: &mut Log, deed: Deed) -> Option<i64> {
    let run = log.run.clone();
    let ask = |server: &mut Server, method: &str, more: Value| {
        let mut params = json!({ "runId": run });
        params.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        Some(server.begin(method, params))
    };
    match deed {
        Deed::Prompt(prompt) => ask(server, "run/send", json!({ "prompt": prompt })),
        Deed::Steer(prompt) => ask(server, "run/send", json!({ "prompt": prompt, "mode": "steer" })),
        Deed::Interrupt => ask(server, "run/interrupt", json!({})),
        Deed::Configure(settings) => ask(server, "run/configure", settings),
        Deed::Close => ask(server, "run/closeInput", json!({})),
        Deed::Answer(option) => {
            server.follow(log, "an open question", |log| open(log).is_some());
            let question = open(log).expect("it is open");
            let of_kind = |kind: &str| question["options"].as_array().expect("options").iter().find(|option| option["kind"] == kind);
            let answer = match option {
                Some(kind) => json!({ "optionId": of_kind(kind).unwrap_or_else(|| panic!("no {kind} in {question}"))["optionId"] }),
                None => json!({ "cancelled": true }),
            };
            let mut params = json!({ "permissionId": question["permissionId"] });
            params.as_object_mut().expect("an object").extend(answer.as_object().expect("an object").clone());
            ask(server, "run/answer", params)
        }
    }
}

/// The newest question that is not settled.
fn open(log: &Log) -> Option<Value> {
    let settled = |question: &Value| log.settled().iter().any(|entry| entry["permissionId"] == question["permissionId"]);
    log.asked().into_iter().rev().find(|question| !settled(question)).cloned()
}

/// A directory to work in, the recording under the agent's name, and the configuration that leads to it.
struct Stage {
    provider: &'static str,
    cwd: String,
    path: String,
    config: String,
}

impl Stage {
    fn new(home: &Home, kind: Kind, provider: &str, recording: &Recording) -> Self {
        let (bin, cwd) = (home.path().join("bin"), home.path().join("work"));
        fs::create_dir_all(&bin).expect("a directory");
        fs::create_dir_all(&cwd).expect("a directory");
        let program = Path::new(&recording.argv[0]).file_name().and_then(|name| name.to_str()).expect("a name");
        let replay = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/agents/replay.py");
        let file = home.file("recording.jsonl", recording.to_file().as_bytes());
        let wrapper = home.file(&format!("bin/{program}"), format!("#!/bin/sh\nexec '{replay}' '{file}' -- \"$@\"\n").as_bytes());
        fs::set_permissions(&wrapper, Permissions::from_mode(0o700)).expect("it is ours");
        let mut command = vec![wrapper];
        let name = match (kind, provider) {
            (Kind::Codex, _) => "codex",
            (Kind::Claude, _) => "claude",
            (Kind::Plain, "codex") => "codex-exec",
            (Kind::Plain, "gemini") => "gemini",
            (Kind::Plain, _) => "opencode",
            (Kind::Acp, "codex-acp") => "codex-acp",
            (Kind::Acp, "claude-agent-acp") => "claude-agent-acp",
            (Kind::Acp, "gemini-acp") => "gemini-acp",
            (Kind::Acp, _) => "opencode-acp",
        };
        let config = match kind {
            Kind::Codex | Kind::Claude => String::new(),
            Kind::Acp => {
                command.extend(recording.argv[1..].iter().cloned());
                format!("[providers.{name}]\nkind = \"acp\"\ncommand = {}\n", json!(command))
            }
            Kind::Plain => {
                // Who was given its prompt by stdin is given it so here, too.
                if recording.lines("in").next().is_none() {
                    command.push("{prompt}".to_owned());
                }
                let argv = json!(command);
                format!("[providers.{name}]\nkind = \"command\"\nformat = \"{name}\"\ncommand = {argv}\nresume = {argv}\n")
            }
        };
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
        Self { provider: name, cwd: cwd.display().to_string(), path, config: home.file("config.toml", config.as_bytes()) }
    }
}
