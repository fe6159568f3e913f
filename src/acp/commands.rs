//! The commands of loomd itself that a prompt may begin with. What they answer is no part of any log.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use strum::{EnumString, IntoStaticStr, VariantArray};
use tokio::sync::oneshot;

use super::{
    chain::COMMAND_LABEL,
    front_end::FrontEnd,
    prompt_queue::PromptOutcome,
    prompts::Steered,
    session::{AcpSession, AgentSettings},
};
use crate::model::{
    Failure, Run, RunId,
    agent::AgentCommand,
    calls::{ListParams, SearchParams},
    methods::{RunList, RunSearch},
    task::text_block,
};

/// How many runs and lines a command lists.
const MAX_LISTED: u64 = 20;

/// The commands, by the name that the client offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "lowercase")]
enum CommandName {
    Follow,
    Runs,
    Search,
    Steer,
    Run,
}

/// A prompt that is a command of loomd.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct FrontCommand {
    name: CommandName,
    argument: String,
}

impl CommandName {
    /// What the command does, and the hint for its argument.
    fn description(self) -> (&'static str, Option<&'static str>) {
        match self {
            Self::Follow => ("Show the running turn, whoever started it, until it ends", None),
            Self::Runs => ("List runs of this directory and others", None),
            Self::Search => ("Search the output of all runs", Some("text")),
            Self::Steer => ("Send a message into the running turn", Some("message")),
            Self::Run => ("Run a command that outlives this editor, as a session of its own", Some("command")),
        }
    }
}

impl FrontCommand {
    /// The command that a prompt is, if it is one. `/loomd:NAME` is loomd's also where the agent has the name.
    pub(super) fn of(prompt: &[Map<String, Value>]) -> Option<Self> {
        let [block] = prompt else { return None };
        let text = block.get("text")?.as_str()?.trim();
        let line = text.strip_prefix('/')?;
        let (name, argument) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let name = name.strip_prefix("loomd:").unwrap_or(name).parse().ok()?;
        Some(Self { name, argument: argument.trim().to_owned() })
    }

    /// The commands that a client can offer: the agent's, and loomd's, under a longer name where the agent has the name.
    pub(super) fn offered(agent: &[AgentCommand]) -> Vec<Value> {
        let command = |name: &str, description: &str, hint: Option<&str>| {
            let input = hint.map(|hint| json!({ "hint": hint }));
            json!({ "name": name, "description": description, "input": input })
        };
        let agents = agent.iter().map(|own| command(&own.name, &own.description, own.hint.as_deref()));
        let ours = CommandName::VARIANTS.iter().map(|name| {
            let (description, hint) = name.description();
            let name: &str = name.into();
            let is_taken = agent.iter().any(|own| own.name == name);
            let name = if is_taken { format!("loomd:{name}") } else { name.to_owned() };
            command(&name, description, hint)
        });
        agents.chain(ours).collect()
    }

    /// Whether the agent has a command of this name, so that the prompt is the agent's.
    fn is_agents(&self, prompt_name: &str, agent: &[AgentCommand]) -> bool {
        !prompt_name.starts_with("/loomd:") && agent.iter().any(|own| own.name == <&str>::from(self.name))
    }
}

impl FrontEnd {
    /// The command of loomd that a prompt is in this session.
    pub(super) fn command_of(session: &AcpSession, prompt: &[Map<String, Value>]) -> Option<FrontCommand> {
        let command = FrontCommand::of(prompt)?;
        let text = prompt.first()?.get("text")?.as_str()?.trim();
        Some(command).filter(|command| !command.is_agents(text, &session.state().commands))
    }

    /// Carries out a command. The receiver, if there is one, gets the end of the turn that it waits for.
    pub(super) async fn run_command(
        self: &Arc<Self>,
        session: &Arc<AcpSession>,
        command: FrontCommand,
    ) -> Result<Option<oneshot::Receiver<PromptOutcome>>, Failure> {
        let argument = command.argument.as_str();
        match command.name {
            CommandName::Follow => return self.follow_turn(session).await,
            CommandName::Runs => self.list_runs(session).await?,
            CommandName::Search => self.search_runs(session, argument).await?,
            CommandName::Steer => {
                let argument = required("steer", "a message", argument)?;
                match self.steer(session, vec![text_block(argument)]).await? {
                    Some(Steered::Injected) => {}
                    Some(Steered::Queued) => self.say(session, "This agent cannot be steered; the message is queued."),
                    None => return Ok(Some(self.deliver(session, vec![text_block(argument)]).await?)),
                }
            }
            CommandName::Run => self.start_command(session, argument).await?,
        }
        Ok(None)
    }

    /// Waits for the running turn, which goes on from the client's cursor.
    async fn follow_turn(self: &Arc<Self>, session: &Arc<AcpSession>) -> Result<Option<oneshot::Receiver<PromptOutcome>>, Failure> {
        let _sending = session.sending.lock().await;
        // Before the run is followed: its turn may end with the first entry that comes.
        let outcome = session.state().prompts.follow();
        self.catch_up(session).await?;
        let outcome = outcome.or_else(|| session.state().prompts.follow());
        if outcome.is_none() {
            self.say(session, "No turn is running.");
        }
        Ok(outcome)
    }

    async fn list_runs(&self, session: &AcpSession) -> Result<(), Failure> {
        let runs = self.call(RunList, ListParams { limit: Some(MAX_LISTED), ..ListParams::default() }).await?.runs;
        let lines: Vec<_> = runs.iter().map(|run| line_of(run, &session.cwd)).collect();
        self.say(session, &if lines.is_empty() { "There are no runs.".to_owned() } else { lines.join("\n") });
        Ok(())
    }

    async fn search_runs(&self, session: &AcpSession, query: &str) -> Result<(), Failure> {
        let query = required("search", "a text", query)?.to_owned();
        let mut params = SearchParams { query, limit: Some(MAX_LISTED), ..SearchParams::default() };
        let mut lines = Vec::new();
        // A page has what was found within a second; what is left is on the next ones.
        loop {
            let page = self.call(RunSearch, &params).await?;
            lines.extend(page.hits.iter().map(|hit| format!("- `{}` {}", short(hit.run_id), code(&hit.line))));
            match page.next_cursor {
                Some(cursor) if (lines.len() as u64) < MAX_LISTED => params.cursor = Some(cursor),
                next => {
                    lines.extend(next.map(|_| "There are more; `loomd search` lists all.".to_owned()));
                    break;
                }
            }
        }
        self.say(session, &if lines.is_empty() { "Nothing was found.".to_owned() } else { lines.join("\n") });
        Ok(())
    }

    /// Starts a command as a session of its own.
    async fn start_command(&self, session: &AcpSession, line: &str) -> Result<(), Failure> {
        let line = required("run", "a command", line)?;
        let command = ["sh", "-c", line].map(str::to_owned).to_vec();
        let settings = AgentSettings { provider: "command".to_owned(), command: Some(command), ..AgentSettings::default() };
        // The label makes it a session of the list, in which other commands are not.
        let run = self.start_run(&settings, &session.cwd, Some((COMMAND_LABEL, session.id)), None, None).await?;
        let text = format!("Started {} as session `{}`. It goes on when this editor is closed; `/runs` lists it.", code(line), run.id);
        self.say(session, &text);
        Ok(())
    }

    /// Answers the client, in a message of its own.
    fn say(&self, session: &AcpSession, text: &str) {
        let message = format!("loomd-{}", RunId::new());
        self.tell(session, &json!({ "sessionUpdate": "agent_message_chunk", "messageId": message, "content": text_block(text) }));
    }
}

fn required<'a>(command: &str, what: &str, argument: &'a str) -> Result<&'a str, Failure> {
    if argument.is_empty() { Err(Failure::invalid_params("prompt", format!("`/{command}` needs {what}"))) } else { Ok(argument) }
}

fn line_of(run: &Run, cwd: &str) -> String {
    let place = if run.cwd == cwd { String::new() } else { format!(" in {}", code(&run.cwd)) };
    format!("- `{}` {}, {}: {}{place}", short(run.id), run.state.as_str(), run.provider, code(&run.display_title))
}

/// The last digits of a run's id, as commands of the terminal take them.
fn short(id: RunId) -> String {
    let id = id.to_string();
    id[id.len() - 8..].to_owned()
}

/// A text as Markdown shows it literally.
fn code(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    if line.contains('`') { format!("`` {line} ``") } else { format!("`{line}`") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Option<FrontCommand> {
        FrontCommand::of(&[text_block(text)])
    }

    #[test]
    fn a_prompt_that_begins_with_a_name_is_a_command() {
        assert_eq!(of(" /search  two words "), Some(FrontCommand { name: CommandName::Search, argument: "two words".to_owned() }));
        assert_eq!(of("/loomd:follow").map(|command| command.name), Some(CommandName::Follow));
        for text in ["search x", "/searching", "/", "see /search"] {
            assert_eq!(of(text), None, "{text}");
        }
        assert_eq!(FrontCommand::of(&[text_block("/runs"), text_block("and a file")]), None);
    }

    #[test]
    fn a_name_of_the_agent_stays_the_agents() {
        let own = AgentCommand { name: "search".to_owned(), description: "The web".to_owned(), hint: None };
        let names: Vec<_> = FrontCommand::offered(std::slice::from_ref(&own)).iter().map(|command| command["name"].clone()).collect();
        assert_eq!(names, ["search", "follow", "runs", "loomd:search", "steer", "run"]);
        let command = of("/search x").expect("a command");
        assert!(
            command.is_agents("/search x", std::slice::from_ref(&own)) && !command.is_agents("/loomd:search x", std::slice::from_ref(&own))
        );
    }
}
