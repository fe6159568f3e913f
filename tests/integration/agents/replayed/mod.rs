//! Every recording of a real agent, played by `tests/agents/replay.py` as the provider of the real server, with a
//! client that does what the recorded one did, at the same point.
//!
//! The log's entries must be those of the recording's snapshot, which the unit tests make, and the output must be the
//! recorded one. A client of a second server that attaches in the middle, and again after the end, must receive the
//! same.

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
    client::{ClientAction, Kind},
    compare::Comparison,
    recording::Recording,
};
use crate::harness::{Home, Log, Server};

/// One test for each recording of a directory.
macro_rules! recordings {
    ($kind:ident, $directory:literal: $($name:ident)*) => {
        const NAMES: &[&str] = &[$(stringify!($name)),*];

        #[test]
        fn all_recordings_are_played() {
            crate::agents::replayed::all_are_named(crate::agents::replayed::client::Kind::$kind, $directory, NAMES);
        }

        $(#[test]
        fn $name() {
            crate::agents::replayed::check_recording(crate::agents::replayed::client::Kind::$kind, $directory, stringify!($name));
        })*
    };
}
use recordings;

/// Recordings that cannot be played as they were recorded, how they are played instead, and why.
const DEVIATIONS: &[(&str, &str, Deviation, &str)] = &[
    ("claude", "bidi-eof", Deviation::Closed, "stdin ended in the middle of the turn; ours ends after it"),
    ("claude-agent-acp", "eof-tool", Deviation::Closed, "the same"),
    ("codex-acp", "eof-tool", Deviation::Closed, "the same"),
    ("gemini-acp", "eof-tool", Deviation::Closed, "the same"),
    ("opencode-acp", "eof-tool", Deviation::Closed, "the same"),
    ("gemini-acp", "load-2-loaded", Deviation::NoPrompt, "the session was not there; the recorder gave it a prompt all the same"),
    (
        "codex-acp",
        "load-2-loaded",
        Deviation::Order,
        "we set the mode before the prompt, so the entries right after loading come before it",
    ),
    ("claude", "session-4-fork", Deviation::Resumed, "it forked; our client goes on with the session itself"),
    ("claude", "session-5-session-id-taken", Deviation::Resumed, "its client chose an id that was taken; ours chooses another"),
    ("claude", "session-8-resume-session-id-fork", Deviation::Resumed, "the same"),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Deviation {
    /// The run takes no more prompts from its beginning on, and the end of stdin is not waited for.
    Closed,
    /// The prompt is left out.
    NoPrompt,
    /// The entries are the same, in another order.
    Order,
    /// The session entries are not compared.
    Resumed,
}

/// Asserts that every recording of a directory has a test.
fn all_are_named(kind: Kind, provider: &str, names: &[&str]) {
    let mut names: Vec<String> = names.iter().map(|name| name.replace('_', "-")).collect();
    names.sort();
    assert_eq!(names, recording::names(kind, provider), "the recordings of {provider} and their tests");
}

fn check_recording(kind: Kind, provider: &str, name: &str) {
    let name = name.replace('_', "-");
    let deviation = DEVIATIONS.iter().find(|(of, which, ..)| (*of, *which) == (provider, name.as_str())).map(|(_, _, how, _)| *how);
    let mut recording = Recording::read(kind, provider, &name);
    let mut params = kind.params(&recording);
    match deviation {
        Some(Deviation::Closed) => {
            recording.without_end_of_input();
            params["interactive"] = json!(false);
        }
        Some(Deviation::NoPrompt) => recording.without_prompts(),
        Some(Deviation::Order | Deviation::Resumed) | None => {}
    }
    let is_interactive = params["interactive"] == true;
    let home = Home::new();
    let setup = ReplaySetup::new(&home, kind, provider, &recording);
    params["provider"] = json!(setup.provider);
    params["cwd"] = json!(setup.cwd);
    let start = || home.setup().env("PATH", &setup.path).arg("--config").arg(&setup.config).start();
    let (mut server, mut other) = (start(), start());
    let (run, mut log) = server.start(params);
    let comparison = Comparison::new(kind, &recording, &home, &run);
    let middle = recording.lines("out").count() / 2;
    let mut late = None;
    let mut requests = Vec::new();
    // A run that is not interactive closes its input itself.
    let actions = recording.actions(kind).into_iter().filter(|(_, action)| is_interactive || !matches!(action, ClientAction::Close));
    for (lines, action) in actions {
        let what = format!("{lines} lines before {action:?}");
        if lines > middle && late.is_none() {
            late = Some(attach_at(&mut server, &mut other, &mut log, &comparison, middle));
        }
        server.follow(&mut log, &what, |log| comparison.played_lines(log) >= lines);
        if matches!(action, ClientAction::Close) && deviation.is_none() {
            // The last turn is over a moment after its last line was seen.
            let turns = comparison.idle_states();
            server.follow(&mut log, &what, |log| {
                log.is_final() || log.state_names().iter().filter(|state| **state == "idle").count() >= turns
            });
        }
        requests.extend(perform(&mut server, &mut log, action).map(|request| (what, request)));
    }
    let mut late = late.unwrap_or_else(|| attach_at(&mut server, &mut other, &mut log, &comparison, middle));
    let run = server.follow_to_end(&mut log);
    for (what, request) in requests {
        if let Err(failure) = server.wait_response(request) {
            // A run that failed has ended by itself.
            assert!(failure.kind == "runNotActive" && what.ends_with("Close"), "{what}: {failure:?}");
        }
    }
    comparison.check_output(&log);
    comparison.check_entries(&log, &run, deviation);
    other.follow_to_end(&mut late);
    let mut again = Log::of(&log.run);
    other.call("run/attach", json!({ "runId": log.run, "afterSeq": 0 }));
    other.follow_to_end(&mut again);
    for (seen, who) in [(late, "who came in the middle"), (again, "who came after the end")] {
        assert_eq!((seen.events, seen.seq), (log.events.clone(), log.seq), "{who}");
        assert_eq!((seen.stdout, seen.stderr), (log.stdout.clone(), log.stderr.clone()), "{who}");
    }
}

/// Attaches another client when this many lines have been played.
fn attach_at(server: &mut Server, other: &mut Server, log: &mut Log, comparison: &Comparison, lines: usize) -> Log {
    server.follow(log, "the middle", |log| comparison.played_lines(log) >= lines || log.is_final());
    let late = log.clone();
    if !late.is_final() {
        other.attach(&late);
    }
    late
}

/// Does what the recorded client did. Returns the id of the request, whose response may come much later.
fn perform(server: &mut Server, log: &mut Log, action: ClientAction) -> Option<i64> {
    let run = log.run.clone();
    let send = |server: &mut Server, method: &str, more: Value| {
        let mut params = json!({ "runId": run });
        params.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        Some(server.send_request(method, params))
    };
    match action {
        ClientAction::Prompt(prompt) => send(server, "run/send", json!({ "prompt": prompt })),
        ClientAction::Steer(prompt) => send(server, "run/send", json!({ "prompt": prompt, "mode": "steer" })),
        ClientAction::Interrupt => send(server, "run/interrupt", json!({})),
        ClientAction::Configure(settings) => send(server, "run/configure", settings),
        ClientAction::Close => send(server, "run/closeInput", json!({})),
        ClientAction::Answer(option) => {
            server.follow(log, "an open question", |log| open_request(log).is_some());
            let permission_request = open_request(log).expect("it is open");
            let of_kind =
                |kind: &str| permission_request["options"].as_array().expect("options").iter().find(|option| option["kind"] == kind);
            let answer = match option {
                Some(kind) => {
                    json!({ "optionId": of_kind(kind).unwrap_or_else(|| panic!("no {kind} in {permission_request}"))["optionId"] })
                }
                None => json!({ "cancelled": true }),
            };
            let mut params = json!({ "permissionId": permission_request["permissionId"] });
            params.as_object_mut().expect("an object").extend(answer.as_object().expect("an object").clone());
            send(server, "run/answer", params)
        }
    }
}

/// The newest permission request that is not resolved.
fn open_request(log: &Log) -> Option<Value> {
    let settled = |permission_request: &Value| {
        log.permission_results().iter().any(|entry| entry["permissionId"] == permission_request["permissionId"])
    };
    log.permission_requests().into_iter().rev().find(|permission_request| !settled(permission_request)).cloned()
}

/// A working directory, a program of the agent's name that plays the recording, and the configuration with that
/// program.
struct ReplaySetup {
    provider: &'static str,
    cwd: String,
    path: String,
    config: String,
}

impl ReplaySetup {
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
                // An agent that was recorded with its prompt at stdin is given it there, too.
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
