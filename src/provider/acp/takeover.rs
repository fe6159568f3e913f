//! The ways to go on with an agent's session in a terminal.

use super::agent::{Agent, Make};
use crate::{
    model::{Takeover, TakeoverKind},
    provider::{
        effect::SessionNews,
        task::Task,
        terminal::{no_way, way},
    },
};

/// A command with the reason why it is not verified, if it is not; or why there is none.
type Found = Result<(Vec<String>, Option<&'static str>), String>;

/// Whether anything can go on with a session of this agent's.
pub fn can_go_on(agent: &Agent) -> bool {
    agent.goes_on() || agent.make != Make::Other
}

/// All ways, best first.
pub fn ladder(agent: &Agent, task: &Task, session: &SessionNews) -> Vec<Takeover> {
    let live = no_way(TakeoverKind::Live, "an agent of the Agent Client Protocol has one client, at the pipes that started it");
    let kept = |kind, found: Found| match found {
        Ok(_) if !session.resumable => no_way(kind, "the provider has not kept the session yet"),
        Ok((command, doubt)) => way(kind, command, &task.cwd, doubt),
        Err(reason) => no_way(kind, &reason),
    };
    vec![
        live,
        kept(TakeoverKind::Resume, resume(agent, task, &session.id)),
        kept(TakeoverKind::Fork, fork(agent, &session.id)),
        kept(TakeoverKind::Load, load(agent, task)),
    ]
}

/// Each that is verified was seen to show the conversation.
fn resume(agent: &Agent, task: &Task, id: &str) -> Found {
    let own = |command: &[&str], doubt| Ok((command.iter().map(|word| (*word).to_owned()).collect(), doubt));
    match agent.make {
        Make::Claude => own(
            &["claude", "--resume", id],
            Some(
                "seen to work with Claude Code's own sessions, which its agent keeps in the same place; not tried with one of the agent's",
            ),
        ),
        Make::Codex => own(&["codex", "--disable", "daemon_auto_start", "resume", id], None),
        Make::Gemini => Ok((without(task, &["--acp", "--experimental-acp"], &["--resume", id]), None)),
        Make::OpenCode => Ok((without(task, &["acp"], &["--session", id]), None)),
        Make::Other => Err(format!("it is not known how {} opens a session in a terminal", agent.name)),
    }
}

fn fork(agent: &Agent, id: &str) -> Found {
    match agent.make {
        Make::Claude => {
            let command = ["claude", "--resume", id, "--fork-session"].map(str::to_owned).to_vec();
            Ok((command, Some("seen to work with Claude Code's own sessions; not tried with one of the agent's")))
        }
        _ => Err(format!("it is not known how {} opens a copy of a session in a terminal", agent.name)),
    }
}

fn load(agent: &Agent, task: &Task) -> Found {
    if agent.goes_on() && !task.program.is_empty() {
        let how = if agent.load {
            "start this in a client of the Agent Client Protocol and load the session there"
        } else {
            "start this in a client of the Agent Client Protocol and resume the session there"
        };
        return Ok((task.program.clone(), Some(how)));
    }
    Err(format!("{} can neither load nor resume a session", agent.name))
}

/// The agent's own argv without what makes an agent of it, and with what opens a session.
fn without(task: &Task, agent_words: &[&str], session_words: &[&str]) -> Vec<String> {
    let (first, rest) = task.program.split_first().map_or((String::new(), &[][..]), |(first, rest)| (first.clone(), rest));
    let kept = rest.iter().filter(|word| !agent_words.contains(&word.as_str())).cloned();
    std::iter::once(first).chain(kept).chain(session_words.iter().map(|word| (*word).to_owned())).collect()
}
