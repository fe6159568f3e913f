//! The takeovers of an agent's session: commands that open it in a terminal or in another client.

use super::agent::{AcpAgent, Product};
use crate::{
    model::{Takeover, TakeoverKind, task::Task},
    provider::{
        kind::{available_takeover, unavailable_takeover},
        provider_event::SessionInfo,
    },
};

/// A command, with the reason why it is not verified if it is not; or the reason why there is no command.
type TakeoverCommand = Result<(Vec<String>, Option<&'static str>), String>;

/// Whether a later run or a terminal can open a session of this agent.
pub(crate) fn can_continue(agent: &AcpAgent) -> bool {
    agent.can_reopen() || agent.product != Product::Other
}

/// All takeovers, best first.
pub(crate) fn takeovers(agent: &AcpAgent, task: &Task, session: &SessionInfo) -> Vec<Takeover> {
    let live =
        unavailable_takeover(TakeoverKind::Live, "an agent of the Agent Client Protocol has only one client, the one that started it");
    let if_saved = |kind, command: TakeoverCommand| match command {
        Ok(_) if !session.resumable => unavailable_takeover(kind, "the provider has not stored the session yet"),
        Ok((command, unverified_reason)) => available_takeover(kind, command, &task.cwd, unverified_reason),
        Err(reason) => unavailable_takeover(kind, &reason),
    };
    vec![
        live,
        if_saved(TakeoverKind::Resume, resume_command(agent, task, &session.id)),
        if_saved(TakeoverKind::Fork, fork_command(agent, &session.id)),
        if_saved(TakeoverKind::Load, load_command(agent, task)),
    ]
}

/// The takeovers of a session whose agent did not introduce itself to us: it is the product whose commands are like the
/// recorded ones, but for where the program is.
pub(crate) fn made_anew(task: &Task, session: &SessionInfo, recorded: &[Takeover]) -> Vec<Takeover> {
    let resume_of = |ways: &[Takeover]| {
        let resume = ways.iter().find(|way| way.kind == TakeoverKind::Resume);
        let mut command = resume.and_then(|way| way.command.clone())?;
        // Two products have the same arguments, so the program's name counts too.
        let program = command.first_mut()?;
        *program = program.rsplit('/').next()?.to_owned();
        Some(command)
    };
    let of = |product| {
        let agent = AcpAgent { product, name: task.provider.clone(), can_load: true, ..AcpAgent::default() };
        takeovers(&agent, task, session)
    };
    let known = [Product::Claude, Product::Codex, Product::Gemini, Product::OpenCode].map(of);
    let like_recorded = known.into_iter().find(|ways| resume_of(ways) == resume_of(recorded));
    let mut ways = like_recorded.unwrap_or_else(|| of(Product::Other));
    if task.program.is_empty() {
        // Without its own argv there is no command of the agent's, only those of programs that loomd knows.
        let is_known = |way: &Takeover| way.command.as_ref().and_then(|command| command.first()).is_some_and(|first| !first.is_empty());
        ways.retain(is_known);
    }
    ways
}

/// The command that opens the session in the agent's own terminal program. Each one without a reason was seen to show
/// the conversation.
fn resume_command(agent: &AcpAgent, task: &Task, id: &str) -> TakeoverCommand {
    let command_of = |command: &[&str], unverified_reason| Ok((command.iter().map(|word| (*word).to_owned()).collect(), unverified_reason));
    match agent.product {
        Product::Claude => command_of(
            &["claude", "--resume", id],
            Some(
                "tested with Claude Code's own sessions, which this agent stores in the same place; not tested with a session of the agent",
            ),
        ),
        Product::Codex => command_of(&["codex", "--disable", "daemon_auto_start", "resume", id], None),
        Product::Gemini => Ok((with_session_flags(task, &["--acp", "--experimental-acp"], &["--resume", id]), None)),
        Product::OpenCode => Ok((with_session_flags(task, &["acp"], &["--session", id]), None)),
        Product::Other => Err(format!("loomd does not know how {} opens a session in a terminal", agent.name)),
    }
}

/// The command that opens a copy of the session.
fn fork_command(agent: &AcpAgent, id: &str) -> TakeoverCommand {
    match agent.product {
        Product::Claude => {
            let command = ["claude", "--resume", id, "--fork-session"].map(str::to_owned).to_vec();
            Ok((command, Some("tested with Claude Code's own sessions; not tested with a session of the agent")))
        }
        _ => Err(format!("loomd does not know how {} opens a copy of a session in a terminal", agent.name)),
    }
}

/// The command that starts the agent for another ACP client.
fn load_command(agent: &AcpAgent, task: &Task) -> TakeoverCommand {
    if agent.can_reopen() && !task.program.is_empty() {
        let instruction = if agent.can_load {
            "start this in a client of the Agent Client Protocol and load the session there"
        } else {
            "start this in a client of the Agent Client Protocol and resume the session there"
        };
        return Ok((task.program.clone(), Some(instruction)));
    }
    Err(format!("{} can neither load nor resume a session", agent.name))
}

/// The agent's own argv, without the flags that make it an ACP agent and with those that open a session.
fn with_session_flags(task: &Task, agent_flags: &[&str], session_flags: &[&str]) -> Vec<String> {
    let (first, rest) = task.program.split_first().map_or((String::new(), &[][..]), |(first, rest)| (first.clone(), rest));
    let other_args = rest.iter().filter(|word| !agent_flags.contains(&word.as_str())).cloned();
    std::iter::once(first).chain(other_args).chain(session_flags.iter().map(|word| (*word).to_owned())).collect()
}
