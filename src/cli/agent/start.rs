//! `loomd run PROVIDER`: from the arguments after an agent's name to the params of `run/start`.

use std::io::{self, IsTerminal, Read};

use clap::Parser;

use super::{
    interactive::{self, Interactive, ViewOptions},
    past_arguments,
    renderer::Renderer,
};
use crate::{
    cli::{EarlyExit, format, options::StartOptions},
    client::{ServerLaunch, ServerSession, run_name::split_host},
    model::{
        Failure, FailureKind, ProviderInfo, Run,
        calls::{AttachChoice, AttachForm, Prompt, Resume, StartParams},
    },
    rpc::Notifications,
};

/// The ID of the provider that runs commands.
pub(crate) const COMMAND: &str = "command";

/// The arguments from the provider's name on.
#[derive(Debug, Parser)]
#[command(name = "loomd run PROVIDER", disable_version_flag = true, about = "Run an agent")]
struct AgentArguments {
    #[command(flatten)]
    start_options: StartOptions,
    /// Prompt for the agent; `-` reads it from stdin, so that it does not show in process lists
    #[arg(value_name = "PROMPT")]
    prompt: Vec<String>,
    /// For `acp`, the agent's command line; otherwise extra arguments for the agent
    #[arg(last = true, value_name = "ARG")]
    argv: Vec<String>,
}

/// An agent that is to be started.
pub(crate) struct AgentStart {
    pub(crate) start_options: StartOptions,
    pub(crate) params: StartParams,
    /// The agent describes what it does by updates, not only by its output.
    pub(crate) has_transcript: bool,
    /// The prompt that was typed on the command line, so that it is on the screen already.
    typed_prompt: Option<String>,
}

impl AgentStart {
    /// `line`: the provider's name and the arguments after it. `before`: the options before the name.
    pub(crate) async fn of(
        before: &StartOptions,
        line: &[String],
        provider: &ProviderInfo,
        launch: &ServerLaunch,
        session: &ServerSession,
    ) -> Result<Self, EarlyExit> {
        let has_terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
        let Some(line) = read_line(line)? else { return Err(EarlyExit::Closed) };
        let mut agent_start = params_of(before.clone(), line, provider, launch, has_terminal, || read_prompt(io::stdin().lock()))?;
        if agent_start.start_options.past {
            let args = agent_start.params.args.take().unwrap_or_default();
            agent_start.params.args = Some([past_arguments(provider, launch)?, args].concat());
        }
        if let Some(resume) = &agent_start.start_options.resume {
            agent_start.params.resume = Some(resolve_resume(session, resume).await?);
            // A resumed session works in its own directory, unless `--cwd` names another one.
            agent_start.params.cwd = agent_start.params.cwd.take().filter(|_| agent_start.start_options.cwd.is_some());
        }
        Ok(agent_start)
    }

    /// Watches the run that was started with these params.
    pub(crate) fn interactive<'a>(self, launch: &'a ServerLaunch, run: Run, connection: (ServerSession, Notifications)) -> Interactive<'a> {
        let view = ViewOptions {
            full: self.start_options.full,
            quiet: self.start_options.quiet,
            interactive: self.params.interactive == Some(true),
            view_only: false,
        };
        let mut renderer = Renderer::new(interactive::render_options(view), &run.cwd);
        self.typed_prompt.iter().for_each(|typed_prompt| renderer.expect_typed_prompt(typed_prompt));
        Interactive::new(launch, view, run, connection, renderer, 0)
    }
}

/// Parses the provider's name and the arguments after it. `None`: they were a call for help, which has been printed.
fn read_line(arguments: &[String]) -> Result<Option<AgentArguments>, EarlyExit> {
    match AgentArguments::try_parse_from(arguments) {
        Ok(line) => Ok(Some(line)),
        Err(error) if !error.use_stderr() => {
            error.print()?;
            Ok(None)
        }
        Err(error) => {
            let text = error.render().to_string();
            let first = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
            let message = format!("{first}; see `loomd run {} --help` (to run a command, use `loomd run -- COMMAND`)", arguments[0]);
            Err(Failure::new(FailureKind::Config, message).into())
        }
    }
}

fn params_of(
    before: StartOptions,
    line: AgentArguments,
    provider: &ProviderInfo,
    launch: &ServerLaunch,
    has_terminal: bool,
    read_stdin: impl FnOnce() -> Result<String, Failure>,
) -> Result<AgentStart, Failure> {
    let start_options = before.merge(line.start_options);
    let name = &provider.id;
    let typed = line.prompt.join(" ");
    let prompt = match typed.as_str() {
        "" => None,
        "-" => Some(read_stdin()?),
        _ => Some(typed.clone()),
    };
    let needs_prompt = provider.kind != COMMAND;
    let mut params = start_options.params(name, launch.host())?;
    if needs_prompt && prompt.is_none() && !start_options.interactive {
        if !has_terminal || start_options.detach {
            let message = format!("no prompt; use `loomd run {name} \"PROMPT\"`, or `-` to read it from stdin");
            return Err(Failure::invalid_params("prompt", message));
        }
        params.interactive = Some(true);
    }
    let takes_argv = name == "acp";
    match line.argv {
        argv if argv.is_empty() && takes_argv && provider.program.is_none() => {
            let message = "no agent; use `loomd run acp \"PROMPT\" -- AGENT ARGS`, or configure the agent as a provider";
            return Err(Failure::invalid_params("command", message));
        }
        argv if argv.is_empty() => {}
        argv if takes_argv && provider.program.is_none() => params.command = Some(argv),
        argv => params.args = Some(argv),
    }
    let has_transcript = provider.capabilities.updates
        && (needs_prompt || (launch.supports_format(name) && (prompt.is_some() || start_options.resume.is_some())));
    if has_transcript && !start_options.json && !start_options.detach {
        // The agent's own protocol, which its output consists of, is not shown.
        params.attach = Some(AttachChoice::Kinds { kinds: None, form: Some(AttachForm::Items) });
    }
    params.prompt = prompt.clone().map(Prompt::Text);
    let typed_prompt = prompt.filter(|_| typed != "-" && has_terminal);
    Ok(AgentStart { start_options, params, has_transcript, typed_prompt })
}

fn read_prompt(mut stdin: impl Read) -> Result<String, Failure> {
    let mut text = String::new();
    let read = stdin.read_to_string(&mut text);
    read.map_err(|error| Failure::invalid_params("prompt", format!("cannot read the prompt from stdin: {error}")))?;
    if text.trim().is_empty() { Err(Failure::invalid_params("prompt", "no prompt: stdin is empty")) } else { Ok(text) }
}

/// Reads a prompt from stdin, to its end.
pub(crate) fn prompt_of_stdin() -> Result<String, Failure> {
    read_prompt(io::stdin().lock())
}

/// What `--resume` names: a run by its ID or some digits of it, or else one of the agent's own sessions.
async fn resolve_resume(session: &ServerSession, word: &str) -> Result<Resume, Failure> {
    let as_session = || Resume::Session { session_id: word.to_owned() };
    // A session's own ID may have a slash too, but hardly hexadecimal digits behind what is a host's name.
    if let Ok((Some(_), digits)) = split_host(word)
        && format::parse_id_digits(digits).is_ok()
    {
        return Ok(Resume::Run { run_id: session.run_id(word).await? });
    }
    if let Ok(run_id) = word.parse() {
        return match session.run(run_id).await {
            Ok(_) => Ok(Resume::Run { run_id }),
            Err(failure) if failure.kind == FailureKind::RunNotFound => Ok(as_session()),
            Err(failure) => Err(failure),
        };
    }
    if format::parse_id_digits(word).is_err() {
        return Ok(as_session());
    }
    match session.run_id(word).await {
        Ok(run_id) => Ok(Resume::Run { run_id }),
        // The digits of several runs are an error; those of none may be a session's ID.
        Err(failure) if format::is_ambiguous(&failure) => Err(failure),
        Err(_) => Ok(as_session()),
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

    fn parse(line: &[&str], has_terminal: bool) -> Result<AgentStart, Failure> {
        let arguments: Vec<String> = line.iter().map(|word| (*word).to_owned()).collect();
        let Ok(Some(arguments)) = read_line(&arguments) else { return Err(Failure::internal("no arguments")) };
        let kind = if line[0] == "tests" { COMMAND } else { line[0] };
        let provider = provider(line[0], kind);
        params_of(StartOptions::default(), arguments, &provider, &ServerLaunch::default(), has_terminal, || Ok("from stdin\n".to_owned()))
    }

    #[test]
    fn the_arguments_after_the_name_are_options_and_the_prompt() {
        let agent_start = parse(&["codex", "fix it", "--model", "m", "--permissions", "accept-edits"], true).expect("it is valid");
        assert_eq!(agent_start.params.prompt, Some(Prompt::Text("fix it".to_owned())));
        assert_eq!((agent_start.params.model.as_deref(), agent_start.params.permissions), (Some("m"), Some(PermissionMode::AcceptEdits)));
        assert_eq!(agent_start.params.attach, Some(AttachChoice::Kinds { kinds: None, form: Some(AttachForm::Items) }));
        assert_eq!(agent_start.typed_prompt.as_deref(), Some("fix it"));
        assert!(parse(&["codex", "x", "--bogus"], true).is_err());
    }

    #[test]
    fn a_dash_reads_the_prompt_from_stdin() {
        let agent_start = parse(&["claude", "-"], false).expect("it is valid");
        assert_eq!((agent_start.params.prompt, agent_start.typed_prompt), (Some(Prompt::Text("from stdin\n".to_owned())), None));
    }

    #[test]
    fn without_a_prompt_there_is_a_conversation_on_a_terminal_and_an_error_elsewhere() {
        assert_eq!(parse(&["claude"], true).expect("a conversation").params.interactive, Some(true));
        assert!(parse(&["claude"], false).err().expect("refused").message.contains("loomd run claude \"PROMPT\""));
        let command = parse(&["tests"], false).expect("a configured command needs no prompt");
        assert_eq!((command.params.interactive, command.has_transcript), (None, false));
    }

    #[test]
    fn the_command_line_of_an_unnamed_agent_follows_two_dashes() {
        let agent_start = parse(&["acp", "hi", "--", "agent", "--acp"], true).expect("it is valid");
        assert_eq!(agent_start.params.command, Some(vec!["agent".to_owned(), "--acp".to_owned()]));
        assert!(parse(&["acp", "hi"], true).err().expect("refused").message.contains("-- AGENT"));
        assert_eq!(parse(&["codex", "hi", "--", "-c", "x=1"], true).expect("arguments").params.args.map(|args| args.len()), Some(2));
    }
}
