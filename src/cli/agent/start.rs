//! `loomd run PROVIDER`: what an agent is asked, as the params of its start.

use std::io::{self, IsTerminal, Read};

use clap::Parser;
use serde_json::Value;

use super::{
    painter::Painter,
    talk::{self, Manner, Talk},
};
use crate::{
    cli::{
        Stop,
        client::{Launch, Session},
        options::How,
        words,
    },
    model::{
        Failure, FailureKind, Kind, ProviderInfo, Run,
        calls::{AttachChoice, Prompt, Resume, StartParams},
    },
    rpc::Notifications,
};

/// The provider that is a command.
pub const COMMAND: &str = "command";

/// What follows the provider's name.
#[derive(Debug, Parser)]
#[command(name = "loomd run PROVIDER", disable_version_flag = true, about = "Ask an agent")]
struct Line {
    #[command(flatten)]
    how: How,
    /// What it is asked; `-` reads it from stdin, so that no list of processes shows it
    #[arg(value_name = "PROMPT")]
    prompt: Vec<String>,
    /// The argv of an agent that has none of its own; arguments for the others
    #[arg(last = true, value_name = "ARG")]
    argv: Vec<String>,
}

/// An agent that is to be asked.
pub struct Asking {
    pub how: How,
    pub params: StartParams,
    /// It tells what it does, beside its output.
    pub is_told: bool,
    /// What was typed on the command line, which stands on the screen.
    echo: Option<String>,
}

impl Asking {
    /// Of the provider's name and the words after it. `before`: what was said before it.
    pub async fn of(before: &How, line: &[String], provider: &ProviderInfo, launch: &Launch, session: &Session) -> Result<Self, Stop> {
        let has_terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
        let Some(line) = read_line(line)? else { return Err(Stop::Closed) };
        let knows_format = launch.knows_format(&provider.id);
        let mut asking = asking(before.clone(), line, provider, knows_format, has_terminal, || read_prompt(io::stdin().lock()))?;
        if let Some(resume) = &asking.how.resume {
            asking.params.resume = Some(resumed(session, resume).await?);
            // The session's own directory, unless another one is named.
            asking.params.cwd = asking.params.cwd.take().filter(|_| asking.how.cwd.is_some());
        }
        Ok(asking)
    }

    /// Watches the run that was started so.
    pub fn talk<'a>(self, launch: &'a Launch, run: Run, connection: (Session, Notifications)) -> Talk<'a> {
        let manner =
            Manner { full: self.how.full, quiet: self.how.quiet, interactive: self.params.interactive == Some(true), only_look: false };
        let mut painter = Painter::new(talk::paper(manner), &run.cwd);
        self.echo.iter().for_each(|echo| painter.expect_echo(echo));
        Talk::new(launch, manner, run, connection, painter, 0)
    }
}

/// The words after the provider's name. `None`: they asked for help, and got it.
fn read_line(words: &[String]) -> Result<Option<Line>, Stop> {
    match Line::try_parse_from(words) {
        Ok(line) => Ok(Some(line)),
        Err(error) if !error.use_stderr() => {
            error.print()?;
            Ok(None)
        }
        Err(error) => {
            let said = error.render().to_string();
            let first = said.lines().next().unwrap_or_default().trim_start_matches("error: ");
            let message = format!("{first}; `loomd run {} --help` shows what there is, and `--` goes before a command", words[0]);
            Err(Failure::new(FailureKind::Config, message).into())
        }
    }
}

fn asking(
    before: How,
    line: Line,
    provider: &ProviderInfo,
    knows_format: bool,
    has_terminal: bool,
    read: impl FnOnce() -> Result<String, Failure>,
) -> Result<Asking, Failure> {
    let how = before.and_then(line.how);
    let name = &provider.id;
    let typed = line.prompt.join(" ");
    let prompt = match typed.as_str() {
        "" => None,
        "-" => Some(read()?),
        _ => Some(typed.clone()),
    };
    let needs_prompt = provider.kind != COMMAND;
    let mut params = how.params(name)?;
    if needs_prompt && prompt.is_none() && !how.interactive {
        if !has_terminal || how.detach {
            let message = format!("say what {name} is to do: loomd run {name} \"PROMPT\", or `-` to read it from stdin");
            return Err(Failure::invalid_params("prompt", message));
        }
        params.interactive = Some(true);
    }
    let takes_argv = name == "acp";
    match line.argv {
        argv if argv.is_empty() && takes_argv && provider.program.is_none() => {
            let message = "say which agent: loomd run acp \"PROMPT\" -- AGENT ARGS, or give it a name in the configuration";
            return Err(Failure::invalid_params("command", message));
        }
        argv if argv.is_empty() => {}
        argv if takes_argv && provider.program.is_none() => params.command = Some(argv),
        argv => params.args = Some(argv),
    }
    let is_told = provider.capabilities.updates && (needs_prompt || (knows_format && (prompt.is_some() || how.resume.is_some())));
    if is_told && !how.json && !how.detach {
        // What it wrote to say it is not shown.
        params.attach = Some(AttachChoice::Kinds { kinds: Some(vec![Kind::Update]) });
    }
    params.prompt = prompt.clone().map(Prompt::Text);
    let echo = prompt.filter(|_| typed != "-" && has_terminal);
    Ok(Asking { how, params, is_told, echo })
}

fn read_prompt(mut stdin: impl Read) -> Result<String, Failure> {
    let mut text = String::new();
    let read = stdin.read_to_string(&mut text);
    read.map_err(|error| Failure::invalid_params("prompt", format!("the prompt cannot be read from stdin: {error}")))?;
    if text.trim().is_empty() { Err(Failure::invalid_params("prompt", "stdin is empty, so there is nothing to ask")) } else { Ok(text) }
}

/// The prompt that stdin holds.
pub fn prompt_of_stdin() -> Result<String, Failure> {
    read_prompt(io::stdin().lock())
}

/// The run that a word names, or else a session of the agent's own.
async fn resumed(session: &Session, word: &str) -> Result<Resume, Failure> {
    let of_session = || Resume::Session { session_id: word.to_owned() };
    if let Ok(run_id) = word.parse() {
        let found: Result<Value, Failure> = session.call("run/get", serde_json::json!({ "runId": run_id })).await;
        return match found {
            Ok(_) => Ok(Resume::Run { run_id }),
            Err(failure) if failure.kind == FailureKind::RunNotFound => Ok(of_session()),
            Err(failure) => Err(failure),
        };
    }
    if words::digits(word).is_err() {
        return Ok(of_session());
    }
    match session.run_id(word).await {
        Ok(run_id) => Ok(Resume::Run { run_id }),
        // It may be any of several runs, or it is none.
        Err(failure) if failure.message.contains("any of") => Err(failure),
        Err(_) => Ok(of_session()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::calls::PermissionMode;

    fn provider(id: &str, kind: &str) -> ProviderInfo {
        let capabilities = json!({ "resume": true, "send": true, "steer": true, "interrupt": true, "permissions": true, "updates": true });
        serde_json::from_value(json!({ "id": id, "title": id, "kind": kind, "available": true, "capabilities": capabilities }))
            .expect("a provider")
    }

    fn asked(line: &[&str], has_terminal: bool) -> Result<Asking, Failure> {
        let words: Vec<String> = line.iter().map(|word| (*word).to_owned()).collect();
        let Ok(Some(read)) = read_line(&words) else { return Err(Failure::internal("no line")) };
        let kind = if line[0] == "tests" { COMMAND } else { line[0] };
        asking(How::default(), read, &provider(line[0], kind), false, has_terminal, || Ok("from stdin\n".to_owned()))
    }

    #[test]
    fn the_words_after_the_name_are_options_and_the_prompt() {
        let asking = asked(&["codex", "fix it", "--model", "m", "--permissions", "accept-edits"], true).expect("it is good");
        assert_eq!(asking.params.prompt, Some(Prompt::Text("fix it".to_owned())));
        assert_eq!((asking.params.model.as_deref(), asking.params.permissions), (Some("m"), Some(PermissionMode::AcceptEdits)));
        assert_eq!(asking.params.attach, Some(AttachChoice::Kinds { kinds: Some(vec![Kind::Update]) }));
        assert_eq!(asking.echo.as_deref(), Some("fix it"));
        assert!(asked(&["codex", "x", "--bogus"], true).is_err());
    }

    #[test]
    fn a_dash_is_stdin_and_is_no_echo() {
        let asking = asked(&["claude", "-"], false).expect("it is good");
        assert_eq!((asking.params.prompt, asking.echo), (Some(Prompt::Text("from stdin\n".to_owned())), None));
    }

    #[test]
    fn without_a_prompt_a_terminal_is_a_conversation_and_anything_else_is_told() {
        assert_eq!(asked(&["claude"], true).expect("a conversation").params.interactive, Some(true));
        assert!(asked(&["claude"], false).err().expect("refused").message.contains("loomd run claude \"PROMPT\""));
        let command = asked(&["tests"], false).expect("a command by name needs none");
        assert_eq!((command.params.interactive, command.is_told), (None, false));
    }

    #[test]
    fn an_agent_without_a_name_is_named_behind_two_dashes() {
        let asking = asked(&["acp", "hi", "--", "agent", "--acp"], true).expect("it is good");
        assert_eq!(asking.params.command, Some(vec!["agent".to_owned(), "--acp".to_owned()]));
        assert!(asked(&["acp", "hi"], true).err().expect("refused").message.contains("-- AGENT"));
        assert_eq!(asked(&["codex", "hi", "--", "-c", "x=1"], true).expect("arguments").params.args.map(|args| args.len()), Some(2));
    }
}
