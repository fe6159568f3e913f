//! The ways to go on with an agent's session in a terminal.

use super::agent::{Agent, Make};
use crate::{
    model::{Takeover, TakeoverKind},
    provider::{
        adapter::SessionNews,
        task::Task,
        terminal::{no_way, way},
    },
};

/// Whether anything can go on with a session of this agent's.
pub fn can_go_on(agent: &Agent) -> bool {
    agent.goes_on() || agent.make != Make::Other
}

/// All ways, best first.
pub fn ladder(agent: &Agent, task: &Task, session: &SessionNews) -> Vec<Takeover> {
    let live = no_way(TakeoverKind::Live, "an agent of the Agent Client Protocol has one client, at the pipes that started it");
    let kept = |kind, found: Result<(Vec<String>, &str), String>| match found {
        Ok(_) if !session.resumable => no_way(kind, "the provider has not kept the session yet"),
        Ok((command, reason)) => way(kind, command, &task.cwd, Some(reason)),
        Err(reason) => no_way(kind, &reason),
    };
    vec![
        live,
        kept(TakeoverKind::Resume, resume(agent, task, &session.id)),
        kept(TakeoverKind::Fork, fork(agent, &session.id)),
        kept(TakeoverKind::Load, load(agent, task)),
    ]
}

fn resume<'a>(agent: &Agent, task: &Task, id: &str) -> Result<(Vec<String>, &'a str), String> {
    let own = |command: &[&str], reason| Ok((command.iter().map(|word| (*word).to_owned()).collect(), reason));
    match agent.make {
        Make::Claude => own(
            &["claude", "--resume", id],
            "seen to work with Claude Code's own sessions, which its agent keeps in the same place; not tried with one of the agent's",
        ),
        Make::Codex => own(
            &["codex", "--disable", "daemon_auto_start", "resume", id],
            "seen to work with Codex's own sessions, which its agent keeps in the same place; not tried with one of the agent's",
        ),
        Make::Gemini => {
            let reason = "gemini finds its sessions by `-p --resume`; not tried in a terminal";
            Ok((without(task, &["--acp", "--experimental-acp"], &["--resume", id]), reason))
        }
        Make::OpenCode => Ok((without(task, &["acp"], &["--session", id]), "not tried")),
        Make::Other => Err(format!("it is not known how {} opens a session in a terminal", agent.name)),
    }
}

fn fork<'a>(agent: &Agent, id: &str) -> Result<(Vec<String>, &'a str), String> {
    match agent.make {
        Make::Claude => {
            let command = ["claude", "--resume", id, "--fork-session"].map(str::to_owned).to_vec();
            Ok((command, "seen to work without a terminal only"))
        }
        _ => Err(format!("it is not known how {} opens a copy of a session in a terminal", agent.name)),
    }
}

fn load<'a>(agent: &Agent, task: &Task) -> Result<(Vec<String>, &'a str), String> {
    if agent.goes_on() && !task.program.is_empty() {
        let how = if agent.load {
            "start this in a client of the Agent Client Protocol and load the session there"
        } else {
            "start this in a client of the Agent Client Protocol and resume the session there"
        };
        return Ok((task.program.clone(), how));
    }
    Err(format!("{} can neither load nor resume a session", agent.name))
}

/// The agent's own argv without what makes an agent of it, and with what opens a session.
fn without(task: &Task, agent_words: &[&str], session_words: &[&str]) -> Vec<String> {
    let (first, rest) = task.program.split_first().map_or((String::new(), &[][..]), |(first, rest)| (first.clone(), rest));
    let kept = rest.iter().filter(|word| !agent_words.contains(&word.as_str())).cloned();
    std::iter::once(first).chain(kept).chain(session_words.iter().map(|word| (*word).to_owned())).collect()
}
