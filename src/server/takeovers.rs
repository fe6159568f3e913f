//! Makes the commands that take over a session, each time anew: from the provider that the configuration or PATH gives
//! and from the session's id. A run's record may have come from anywhere, so no command in it is ever handed out; it only
//! tells which kinds of takeover there were.

use std::{ffi::OsStr, path::Path};

use super::{Server, providers};
use crate::{
    config::COMMAND_KIND,
    model::{Failure, Run, Session, Takeover, TakeoverKind, Task},
    provider::{
        kind::{available_takeover, unavailable_takeover},
        provider_event::SessionInfo,
    },
};

/// The takeovers of a run's session, best first. Blocking: the program is looked for.
pub(crate) fn of_run(server: &Server, run: &Run) -> Result<Vec<Takeover>, Failure> {
    let Some(session) = &run.session else { return Ok(Vec::new()) };
    let known = providers::known(&server.config, &run.provider)?;
    let Some(provider) = known.provider else { return Ok(Vec::new()) };
    let mut program = known.program.clone();
    if known.kind != COMMAND_KIND
        && let Some(first) = program.first_mut()
    {
        let path = known.env.get("PATH").cloned().or_else(|| server.environment.known_path());
        if let Ok(found) = known.find(first, Path::new(&run.cwd), path.as_deref().map(OsStr::new)) {
            *first = found.to_string_lossy().into_owned();
        }
    }
    let task = Task {
        provider: run.provider.clone(),
        kind: known.kind.to_owned(),
        cwd: run.cwd.clone(),
        args: known.args.clone(),
        plain: known.plain.clone(),
        program: program.clone(),
        ..Task::for_prompt(known.kind, Vec::new())
    };
    let info = SessionInfo { id: session.id.clone(), path: session.path.clone(), resumable: session.resumable };
    let mut made = provider.takeovers(task, &info, &session.takeover);
    if program.is_empty() {
        made.extend(load_as_started(session));
    }
    if made.iter().all(|way| way.kind != TakeoverKind::ReplayCommand) {
        let mut command = ["loomd", "run", &run.provider, "--resume", &session.id].map(str::to_owned).to_vec();
        if program.is_empty() {
            // Only the record has the argv of such an agent. Whoever runs the command asks before.
            command.push("--".to_owned());
            command.extend(run.command.clone());
        }
        made.push(available_takeover(TakeoverKind::ReplayCommand, command, &run.cwd, None));
    }
    Ok(only_made(session, &made))
}

/// A command that only a record has: the argv of an agent that `run/start` named, for another client to be configured
/// with. Nobody runs it unread.
fn load_as_started(session: &Session) -> Option<Takeover> {
    let recorded = session.takeover.iter().find(|way| way.kind == TakeoverKind::Load)?;
    let command = recorded.command.clone()?;
    let reason = "this is the command that the run's record names; read it, then start it in a client of the Agent Client Protocol";
    Some(available_takeover(TakeoverKind::Load, command, recorded.cwd.as_deref()?, Some(reason)))
}

/// The recorded takeovers, each with the command that was made for its kind.
fn only_made(session: &Session, made: &[Takeover]) -> Vec<Takeover> {
    let is_option = session.id.starts_with('-');
    let made_for = |kind| made.iter().find(|way| way.kind == kind && way.command.is_some() && !is_option);
    let anew = |recorded: &Takeover| match (&recorded.command, made_for(recorded.kind)) {
        (None, _) => unavailable_takeover(recorded.kind, recorded.reason.as_deref().unwrap_or("its provider does not support it")),
        (Some(_), Some(made)) => made.clone(),
        (Some(_), None) => {
            let reason = "its command is known from the run's record only, which loomd does not trust; configure the agent as a provider";
            unavailable_takeover(recorded.kind, reason)
        }
    };
    session.takeover.iter().map(anew).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(kind: TakeoverKind, command: &[&str]) -> Takeover {
        available_takeover(kind, command.iter().map(|word| (*word).to_owned()).collect(), "/w", None)
    }

    fn session(id: &str) -> Session {
        let takeover = vec![way(TakeoverKind::Resume, &["sh", "-c", "evil"]), way(TakeoverKind::Fork, &["evil"])];
        Session { provider: "claude".to_owned(), id: id.to_owned(), path: None, resumable: true, takeover }
    }

    #[test]
    fn no_recorded_command_is_handed_out() {
        let made = [way(TakeoverKind::Resume, &["claude", "--resume", "s"])];
        let ways = only_made(&session("s"), &made);
        assert_eq!(ways[0], made[0]);
        assert_eq!((ways[1].kind, &ways[1].command), (TakeoverKind::Fork, &None));
        assert!(!serde_json::json!(ways).to_string().contains("evil"), "{ways:?}");
    }

    #[test]
    fn a_session_that_would_be_an_option_has_no_command() {
        let made = [way(TakeoverKind::Resume, &["claude", "--resume", "--x"])];
        assert!(only_made(&session("--x"), &made).iter().all(|way| way.command.is_none()));
    }
}
