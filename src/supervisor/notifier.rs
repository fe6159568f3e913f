//! Tells a person that the run waits for an answer or has ended, by a program of the user's: once for each, and only while
//! nobody who can answer is attached.
//!
//! The program has a parent of its own, `loomd supervise --notify`, which stands outside of the run's tree, has no mark of it, and
//! ends the program with all that it started when its time is over. So neither waits for the other: the supervisor may end
//! first.

use std::{collections::BTreeSet, ffi::OsStr, io, io::Read, path::Path, process::ExitCode, time::Duration};

use serde::{Deserialize, Serialize};

use super::{run::Supervisor, update_entry};
use crate::{
    log::append::Reserve,
    model::{
        Run, RunState,
        control::Notifier,
        entry::{PermissionStatus, notice},
    },
    process::{
        detach,
        run_once::{self, Invocation},
    },
};

/// The word in the argv of a notifier's parent.
pub(super) const NOTIFIER_WORD: &str = "--notify";

/// Longest value of a variable.
const MAX_VALUE_BYTES: usize = 1000;

/// What happened to a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NotifierEvent {
    Waiting,
    Ended,
}

/// What a notifier's parent is to start.
#[derive(Debug, Serialize, Deserialize)]
struct NotifierStart {
    argv: Vec<String>,
    env: Vec<(String, String)>,
    timeout_ms: u64,
}

impl Supervisor {
    /// The run waits for an answer. A request at which it has waited before is not told again.
    pub(super) fn notify_waiting(&mut self) {
        let open: BTreeSet<String> = self.log.run().permissions.iter().map(|request| request.permission_id.clone()).collect();
        let is_new = !open.is_subset(&self.known_requests);
        self.known_requests = open;
        if is_new {
            self.notify(NotifierEvent::Waiting);
        }
    }

    /// The final entry is in the log.
    pub(super) fn notify_ended(&mut self) {
        self.notify(NotifierEvent::Ended);
    }

    fn notify(&mut self, event: NotifierEvent) {
        let has_person = self.connections.values().any(|server| server.attached && server.can_answer.unwrap_or(true));
        let Some(notifier) = self.spec.notifier.as_ref().filter(|_| !has_person) else { return };
        let start = start_of(notifier, self.log.run(), event, &self.spec.runs);
        let text = serde_json::to_vec(&start).expect("it has a JSON form");
        self.tree.note_strays();
        if let Err(error) = detach::spawn_outside(&["supervise", NOTIFIER_WORD].map(OsStr::new), &text) {
            let update = notice("warning", "the notifier could not be started", Some(&error.to_string()));
            // Behind the final entry there is none.
            if event == NotifierEvent::Waiting {
                self.log.entry(|seq| update_entry(self.spec.run.id, seq, update), Reserve::Untouched).ok();
            }
        }
    }
}

/// The program and its environment. What a person wrote or an agent said stands in the environment alone, which other users
/// cannot read; not in the argv, which they can.
fn start_of(notifier: &Notifier, run: &Run, event: NotifierEvent, runs: &str) -> NotifierStart {
    let state = serde_json::to_value(run.state).ok().and_then(|state| state.as_str().map(str::to_owned)).unwrap_or_default();
    let message = match event {
        NotifierEvent::Waiting => run.permissions.iter().find_map(|request| match &request.status {
            PermissionStatus::Requested { tool_call, .. } => tool_call.get("title")?.as_str().map(str::to_owned),
            PermissionStatus::Resolved { .. } => None,
        }),
        NotifierEvent::Ended => run.error.as_ref().map(|error| error.message.clone()),
    };
    let mut env = vec![
        ("LOOMD_EVENT", if event == NotifierEvent::Waiting { "waiting" } else { "ended" }.to_owned()),
        ("LOOMD_RUN", run.id.to_string()),
        ("LOOMD_STATE", state),
        ("LOOMD_PROVIDER", run.provider.clone()),
        ("LOOMD_TITLE", run.display_title.clone()),
        ("LOOMD_CWD", run.cwd.clone()),
        ("LOOMD_MESSAGE", message.unwrap_or_default()),
        ("LOOMD_EXIT_CODE", run.exit_code.map_or_else(String::new, |code| code.to_string())),
    ];
    if let Some(data) = Path::new(runs).parent() {
        env.push(("LOOMD_DATA_DIR", data.to_string_lossy().into_owned()));
    }
    let mut argv = notifier.command.clone();
    if notifier.takes_text {
        argv.extend(text_of(run, event));
    }
    let env = env.into_iter().map(|(name, value)| (name.to_owned(), plain(&value))).collect();
    NotifierStart { argv, env, timeout_ms: notifier.timeout_ms }
}

/// A title and a text for a desktop's notifier, which shows them as its arguments. So they have nothing of the prompt.
fn text_of(run: &Run, event: NotifierEvent) -> [String; 2] {
    let id = run.id.to_string();
    let what = match (event, run.state) {
        (NotifierEvent::Waiting, _) => "needs input",
        (NotifierEvent::Ended, RunState::Succeeded) => "succeeded",
        (NotifierEvent::Ended, RunState::Cancelled) => "was canceled",
        (NotifierEvent::Ended, RunState::TimedOut) => "timed out",
        (NotifierEvent::Ended, _) => "failed",
    };
    let place = Path::new(&run.cwd).file_name().map_or_else(|| run.cwd.clone(), |name| name.to_string_lossy().into_owned());
    [format!("Run {} {what}", &id[id.len() - 8..]), plain(&format!("{} in {place}", run.provider))]
}

/// One line of bounded length.
fn plain(text: &str) -> String {
    text[..text.floor_char_boundary(MAX_VALUE_BYTES)].chars().map(|char| if char.is_control() { ' ' } else { char }).collect()
}

/// The entry point of `loomd supervise --notify`. What it is to start comes over its control connection.
pub(super) fn main() -> ExitCode {
    match run_notifier() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn run_notifier() -> io::Result<()> {
    let mut text = Vec::new();
    detach::inherited_fds(false)?.control.read_to_end(&mut text)?;
    let start: NotifierStart = serde_json::from_slice(&text)?;
    detach::adopt_orphans()?;
    let own = std::env::vars_os().filter(|(name, _)| name.to_str() != Some(detach::RUN_MARK_VARIABLE));
    let invocation = Invocation {
        argv: start.argv,
        env: own.chain(start.env.into_iter().map(|(name, value)| (name.into(), value.into()))).collect(),
        cwd: "/".into(),
        piped_stdin: false,
        timeout: Duration::from_millis(start.timeout_ms),
    };
    run_once::run_alone(&invocation)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::RunId;

    #[test]
    fn a_prompt_is_in_the_environment_and_in_no_argument() {
        let notifier = Notifier { command: vec!["notify-send".to_owned()], takes_text: true, timeout_ms: 1 };
        let mut run = Run::new(RunId::new(), "codex", Vec::new(), "/home/me/project", 1);
        run.display_title = format!("a secret\n{}", "x".repeat(3000));
        run.state = RunState::Failed;
        let start = start_of(&notifier, &run, NotifierEvent::Ended, "/data/runs");
        let id = run.id.to_string();
        assert_eq!(start.argv, ["notify-send", &format!("Run {} failed", &id[id.len() - 8..]), "codex in project"]);
        let value = |name: &str| start.env.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str()).expect("it is there");
        assert!(value("LOOMD_TITLE").starts_with("a secret xxx") && value("LOOMD_TITLE").len() == MAX_VALUE_BYTES);
        assert_eq!((value("LOOMD_EVENT"), value("LOOMD_STATE"), value("LOOMD_DATA_DIR")), ("ended", "failed", "/data"));
        assert!(start.env.iter().all(|(name, _)| name != detach::RUN_MARK_VARIABLE));
    }
}
