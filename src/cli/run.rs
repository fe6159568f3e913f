//! `loomd run`: starts a command, or asks an agent, and shows it live.

use std::ffi::OsString;

use super::{
    EarlyExit,
    agent::{self, start::AgentStart},
    input,
    input::Keys,
    live::Watch,
    notification_printer::LiveView,
    options::StartOptions,
    render, tail,
};
use crate::{
    client::{ServerLaunch, ServerSession, host::HostName, run_name::on_host},
    model::{
        Failure, ProviderInfo, Run,
        calls::{RunResult, StartParams},
    },
};

const AFTER_HELP: &str = r#"After `--` comes a command. Without `--`, the first argument may be a provider (see `loomd providers`),
which runs that agent with the prompt after it; anything else is a command.

Keys:
  Ctrl-C   interrupt the program or the agent's turn; again to cancel the run; again to kill it
  Ctrl-\   detach; the run keeps running, as it does when the terminal closes
  Ctrl-D   at an agent's prompt: end the run

Stdin is not passed to the program, because a run outlives its terminal. Use -i to pass it on, as text.

Exit code: that of the program. 128+N if signal N ended it, 124 on a timeout, 130 if canceled,
127 if it cannot be started, 1 if the run was lost, 2 if the configuration or the store is invalid.
For agents: 0 on success, 1 on failure, 130 if canceled.

Examples:
  loomd run -- cargo test
  loomd run --detach --title nightly -- make all
  loomd run --tty --timeout 1h30m -- ./slow-script
  echo data | loomd run -i -- wc -c
  loomd run codex "find out why the tests fail"
  loomd run claude --permissions accept-edits - < task.md
  loomd run acp "what is this?" -- my-agent --acp"#;

/// Run a command or an agent; it keeps running when this terminal closes
#[derive(clap::Args, Debug)]
#[command(after_help = AFTER_HELP, override_usage = "loomd run [OPTIONS] -- COMMAND...\n       loomd run [OPTIONS] PROVIDER [OPTIONS] [PROMPT|-]")]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) start_options: StartOptions,
    /// Program and arguments, or a provider and its prompt
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
}

/// `reason` of a failure to start a program that does not exist.
const NOT_FOUND: &str = "notFound";

pub(crate) async fn main(options: Options, launch: &ServerLaunch) -> Result<u8, EarlyExit> {
    let is_command = has_dashes(std::env::args_os().collect(), &options.command);
    let launch = &launch.for_interactive_use(!options.start_options.detach && !options.start_options.json);
    let (session, notifications) = launch.open().await?;
    let agent = match provider(&options, &session.info.providers, is_command) {
        Some(provider) => Some(AgentStart::of(&options.start_options, &options.command, provider, launch, &session).await?),
        None => None,
    };
    let is_certain = is_command || agent.is_some();
    let (start_options, params) = match &agent {
        Some(agent) => (&agent.start_options, agent.params.clone()),
        None => (&options.start_options, command_params(&options, launch.host())?),
    };
    if start_options.detach {
        drop(notifications);
        let RunResult { run } = session.start(&params).await.map_err(|failure| with_hint(failure, &options, is_certain))?;
        warn_unread_stdin(start_options, agent.is_some());
        match start_options.json {
            true => render::print_json_of(launch.host(), &run)?,
            false => render::print(&format!("{}\n", on_host(launch.host(), run.id)))?,
        }
        session.close().await;
        return Ok(0);
    }
    // From here on, the keys that send signals are for the run.
    let mut keys = Keys::listen()?;
    let run = start(&session, &params, &mut keys).await.map_err(|stop| match stop {
        EarlyExit::Failure(failure) => with_hint(failure, &options, is_certain).into(),
        closed @ EarlyExit::Closed => closed,
    })?;
    let (of_agent, warned) = (agent.is_some(), warn_unread_stdin(start_options, agent.is_some()));
    let options_before = start_options.clone();
    if render::stderr_is_terminal() && !start_options.quiet {
        let (id, command_prefix) = (launch.shown_id(run.id), launch.command_prefix());
        render::note(&format!(r"Run {id} (Ctrl-\ to detach; `{command_prefix} logs {id}` prints its output)"));
    }
    let is_agent = agent.as_ref().is_some_and(|agent| agent.has_transcript);
    let view = LiveView {
        json: start_options.json,
        ends_with_run: true,
        quiet: start_options.quiet,
        interactive: start_options.interactive,
        is_agent,
        ..LiveView::default()
    };
    let code = match agent {
        Some(agent) if is_agent && !view.json => agent.interactive(launch, run, (session, notifications)).show_to_end(Some(keys)).await,
        _ => Watch::new(launch, view, run, tail::TailPosition::default(), session, notifications).show_to_end(Some(keys)).await,
    };
    // A writer to our stdin may have been slower than the start of the run.
    if !warned {
        warn_unread_stdin(&options_before, of_agent);
    }
    code
}

/// Prints that unread stdin is not passed on, and how to pass it on. It is not passed on by default, because a run
/// outlives the writer of our stdin and takes only text. Returns whether it printed.
fn warn_unread_stdin(start_options: &StartOptions, of_agent: bool) -> bool {
    let is_unread = !start_options.interactive && !start_options.quiet && input::has_unread_input();
    if is_unread {
        let hint = match (of_agent, start_options.detach) {
            (true, _) => "use `-` as the prompt to read the prompt from it",
            (false, true) => "use `--interactive`, then `loomd send RUN -`",
            (false, false) => "use `--interactive` (-i) to pass it on",
        };
        render::note(&format!("Stdin is not passed to the run; {hint}."));
    }
    is_unread
}

/// Adds a hint to the failure if the first argument is neither a program nor a provider, but may have been meant as
/// one. `is_certain`: it is a provider, or `--` comes before it.
fn with_hint(mut failure: Failure, options: &Options, is_certain: bool) -> Failure {
    let name = &options.command[0];
    let is_unknown = failure.data.get("reason").is_some_and(|reason| reason == NOT_FOUND) && !name.contains('/');
    if is_unknown && !is_certain {
        let hint = format!("`{name}` is not a provider either; see `loomd providers`, or use `loomd run -- COMMAND`");
        // The hint stands in the place of the one for this reason.
        failure.data.remove("reason");
        failure.data.insert("hint".to_owned(), hint.into());
    }
    failure
}

/// Whether `--` comes before the command. `line`: our whole command line, which ends with the command's arguments.
fn has_dashes(line: Vec<OsString>, command: &[String]) -> bool {
    let before = line.len().checked_sub(command.len() + 1);
    before.and_then(|at| line.get(at)).is_some_and(|argument| argument == "--")
}

/// The provider that the first argument names.
fn provider<'a>(options: &Options, providers: &'a [ProviderInfo], is_command: bool) -> Option<&'a ProviderInfo> {
    let name = options.command.first().filter(|name| !is_command && *name != agent::start::COMMAND)?;
    providers.iter().find(|info| info.id == *name)
}

/// Starts the run. A key that is pressed before the server replies is for the run; a second one ends this process.
async fn start(session: &ServerSession, params: &StartParams, keys: &mut Keys) -> Result<Run, EarlyExit> {
    let mut reply = std::pin::pin!(session.start(params));
    let mut early_action = None;
    loop {
        tokio::select! {
            reply = &mut reply => {
                if let Some(action) = early_action {
                    keys.put_back(action);
                }
                return Ok(reply?.run);
            }
            action = keys.next() => {
                if early_action.is_some() {
                    return Err(Failure::internal("interrupted; `loomd list` shows whether the run was started").into());
                }
                early_action = Some(action);
            }
        }
    }
}

fn command_params(options: &Options, host: Option<&HostName>) -> Result<StartParams, Failure> {
    let start_options = &options.start_options;
    let for_agents = [
        ("--model", start_options.model.is_some()),
        ("--resume", start_options.resume.is_some()),
        ("--permissions", start_options.permissions.is_some()),
        ("--past", start_options.past),
    ];
    if let Some((option, _)) = for_agents.into_iter().find(|(_, is_given)| *is_given) {
        let message = format!("{option} is only for agents, and `{}` is a command (see `loomd providers`)", options.command[0]);
        return Err(Failure::invalid_params("provider", message));
    }
    Ok(StartParams { command: Some(options.command.clone()), ..start_options.params(agent::start::COMMAND, host)? })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::model::calls::{self, AttachChoice};
    use std::collections::BTreeMap;

    #[derive(Parser)]
    struct ParsedOptions {
        #[command(flatten)]
        options: Options,
    }

    fn params(line: &[&str]) -> StartParams {
        let line = ParsedOptions::try_parse_from([&["run"], line].concat()).unwrap_or_else(|error| panic!("{error}"));
        command_params(&line.options, None).expect("a directory")
    }

    #[test]
    fn options_become_params() {
        let params = params(&[
            "--cwd",
            "/w",
            "-e",
            "A=b",
            "-e",
            "GONE",
            "--timeout",
            "1m30s",
            "--idle-timeout",
            "5s",
            "--max-output",
            "1K",
            "--label",
            "k=v",
            "--on-disconnect",
            "cancel",
            "-dt",
            "--",
            "sh",
            "-c",
            "exit 3",
        ]);
        assert_eq!(params.command, Some(["sh", "-c", "exit 3"].map(str::to_owned).to_vec()));
        assert_eq!(params.cwd.as_deref(), Some("/w"));
        assert_eq!(params.env, BTreeMap::from([("A".to_owned(), Some("b".to_owned())), ("GONE".to_owned(), None)]));
        assert_eq!((params.timeout_ms, params.idle_timeout_ms, params.max_output_bytes), (Some(90_000), Some(5_000), Some(1024)));
        assert_eq!(params.labels, BTreeMap::from([("k".to_owned(), "v".to_owned())]));
        assert_eq!(params.on_disconnect, Some(calls::OnDisconnect::Cancel));
        assert_eq!((params.tty.is_some(), params.attach), (true, Some(AttachChoice::Whether(false))));
    }

    #[test]
    fn omitted_options_are_left_to_the_server() {
        let params = params(&["true"]);
        let cwd = params.cwd.clone().expect("ours");
        assert!(std::path::Path::new(&cwd).is_absolute());
        let expected = StartParams {
            provider: "command".to_owned(),
            command: Some(vec!["true".to_owned()]),
            cwd: Some(cwd),
            ..StartParams::default()
        };
        assert_eq!(params, expected);
    }

    #[test]
    fn two_dashes_mean_a_command() {
        let has_dashes_in = |line: &str, command: &[&str]| {
            let line = line.split(' ').map(OsString::from).collect();
            has_dashes(line, &command.iter().map(|argument| (*argument).to_owned()).collect::<Vec<_>>())
        };
        assert!(has_dashes_in("loomd run -- codex x", &["codex", "x"]));
        assert!(!has_dashes_in("loomd run codex x", &["codex", "x"]));
        assert!(!has_dashes_in("loomd run acp x -- agent", &["acp", "x", "--", "agent"]));
        assert!(has_dashes_in("loomd run --title t -- acp -- x", &["acp", "--", "x"]));
    }

    #[test]
    fn options_for_agents_are_refused_for_a_command() {
        let line = ParsedOptions::try_parse_from(["run", "--model", "m", "make"]).expect("it parses");
        assert!(command_params(&line.options, None).expect_err("refused").message.contains("--model is only for agents"));
    }
}
