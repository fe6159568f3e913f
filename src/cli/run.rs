//! `loomd run`: starts a command, or asks an agent, and shows it live.

use std::ffi::OsString;

use super::{
    Stop,
    agent::{self, start::Asking},
    client::{Launch, Session},
    input,
    keys::Keys,
    live::{View, Watch},
    options::How,
    render, tail, words,
};
use crate::model::{
    Failure, FailureKind, ProviderInfo, Run,
    calls::{RunResult, StartParams},
};

const KEYS: &str = r#"With `--`, what follows is a command. Without it, a first word that is the name of a provider (`loomd providers`)
means that agent, and the next one what it is asked; any other word is a command.

Keys:
  Ctrl-C   interrupt the program, or the agent's turn; again: cancel the run; again: kill it at once
  Ctrl-\   leave; the run goes on (so it does when the terminal is closed)
  Ctrl-D   at an agent's prompt: no more prompts; the run ends

Stdin: the run outlives this terminal, so by itself it reads an empty stdin; -i passes ours on, as text, to its end.

Exit code: the program's own; 128+N when signal N ended it, 124 when it ran out of time, 130 when it was
cancelled, 127 when it cannot be started, 1 when it was lost, 2 when the configuration or the store is bad.
Of an agent: 0 when it succeeded, 1 when it failed, 130 when it was cancelled.

Examples:
  loomd run -- cargo test
  loomd run --detach --title nightly -- make all
  loomd run --tty --timeout 1h30m -- ./slow-script
  echo data | loomd run -i -- wc -c
  loomd run codex "find out why the tests fail"
  loomd run claude --permissions accept-edits - < task.md
  loomd run acp "what is this?" -- my-agent --acp"#;

/// Run a command or ask an agent, and watch it; it goes on when this terminal goes
#[derive(clap::Args, Debug)]
#[command(after_help = KEYS, override_usage = "loomd run [OPTIONS] -- COMMAND...\n       loomd run [OPTIONS] PROVIDER [OPTIONS] [PROMPT|-]")]
pub struct Options {
    #[command(flatten)]
    pub how: How,
    /// The program and its arguments; or a provider and what it is asked
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

pub async fn main(options: Options, launch: &Launch) -> Result<u8, Stop> {
    let is_command = is_command_for_sure(std::env::args_os().collect(), &options.command);
    let launch = &launch.asking(!is_command && !options.how.detach && !options.how.json);
    let (session, notifications) = launch.open().await?;
    let asking = match provider(&options, &session.info.providers, is_command) {
        Some(provider) => Some(Asking::of(&options.how, &options.command, provider, launch, &session).await?),
        None => None,
    };
    let (how, params) = match &asking {
        Some(asking) => (&asking.how, asking.params.clone()),
        None => (&options.how, command_params(&options)?),
    };
    if how.detach {
        drop(notifications);
        let RunResult { run } = session.call("run/start", &params).await.map_err(|failure| hinted(failure, &options, is_command))?;
        tell_unread(how, asking.is_some());
        match how.json {
            true => render::print_json(&run)?,
            false => render::print(&format!("{}\n", run.id))?,
        }
        session.close().await;
        return Ok(0);
    }
    // From here on keys are for the run.
    let mut keys = Keys::listen()?;
    let run = start(&session, &params, &mut keys).await.map_err(|stop| match stop {
        Stop::Failure(failure) => hinted(failure, &options, is_command).into(),
        closed @ Stop::Closed => closed,
    })?;
    let (of_agent, told) = (asking.is_some(), tell_unread(how, asking.is_some()));
    let how_before = how.clone();
    if render::stderr_is_terminal() && !how.quiet {
        let (id, again) = (words::short(run.id), launch.again());
        render::note(&format!(r"run {id}; `{again} logs {id}` reads it back, Ctrl-\ leaves it running"));
    }
    let is_agent = asking.as_ref().is_some_and(|asking| asking.is_told);
    let view = View { json: how.json, ends_with_run: true, quiet: how.quiet, interactive: how.interactive, is_agent, ..View::default() };
    let code = match asking {
        Some(asking) if is_agent && !view.json => asking.talk(launch, run, (session, notifications)).show_to_end(Some(keys)).await,
        _ => Watch::new(launch, view, run, tail::Place::default(), session, notifications).show_to_end(Some(keys)).await,
    };
    // Whoever writes into our stdin may have been slower than the start.
    if !told {
        tell_unread(&how_before, of_agent);
    }
    code
}

/// Says that what waits in our stdin is not passed on, and how it would be. It is not by itself: a run outlives whoever feeds it, and
/// takes only text.
fn tell_unread(how: &How, of_agent: bool) -> bool {
    let tells = !how.interactive && !how.quiet && input::is_left();
    if tells {
        let way = match (of_agent, how.detach) {
            (true, _) => "`-` as the prompt reads the prompt from it",
            (false, true) => "`--interactive`, and then `loomd send RUN -`, pass it on",
            (false, false) => "`--interactive` (-i) passes it on",
        };
        render::note(&format!("stdin is not passed on; {way}"));
    }
    tells
}

/// A word that is neither a provider nor a program may have been meant as either.
fn hinted(mut failure: Failure, options: &Options, is_command: bool) -> Failure {
    let word = &options.command[0];
    let is_meant = failure.kind == FailureKind::SpawnFailed && failure.message.starts_with(&format!("`{word}` was not found in PATH"));
    if is_meant && !is_command {
        let hint = format!("`{word}` is no provider either: `loomd providers` lists them, `loomd run -- COMMAND` runs a command");
        failure.data.insert("hint".to_owned(), hint.into());
    }
    failure
}

/// Whether `--` says that a command follows. `line`: our whole command line, which ends with the command's words.
fn is_command_for_sure(line: Vec<OsString>, command: &[String]) -> bool {
    let before = line.len().checked_sub(command.len() + 1);
    before.and_then(|at| line.get(at)).is_some_and(|word| word == "--")
}

/// The provider that is asked for by its name.
fn provider<'a>(options: &Options, providers: &'a [ProviderInfo], is_command: bool) -> Option<&'a ProviderInfo> {
    let name = options.command.first().filter(|name| !is_command && *name != agent::start::COMMAND)?;
    providers.iter().find(|info| info.id == *name)
}

/// Starts the run. A key that comes meanwhile is for the run, a second one for us.
async fn start(session: &Session, params: &StartParams, keys: &mut Keys) -> Result<Run, Stop> {
    let mut answer = std::pin::pin!(session.call::<_, RunResult>("run/start", params));
    let mut early = None;
    loop {
        tokio::select! {
            answer = &mut answer => {
                if let Some(wish) = early {
                    keys.put_back(wish);
                }
                return Ok(answer?.run);
            }
            wish = keys.next() => {
                if early.is_some() {
                    return Err(Failure::internal("left before the server answered; `loomd list` shows whether the run was started").into());
                }
                early = Some(wish);
            }
        }
    }
}

fn command_params(options: &Options) -> Result<StartParams, Failure> {
    let how = &options.how;
    let for_agents = [("--model", how.model.is_some()), ("--resume", how.resume.is_some()), ("--permissions", how.permissions.is_some())];
    if let Some((option, _)) = for_agents.into_iter().find(|(_, is_given)| *is_given) {
        let message = format!("{option} is for agents, and `{}` is a command; `loomd providers` lists the agents", options.command[0]);
        return Err(Failure::invalid_params("provider", message));
    }
    Ok(StartParams { command: Some(options.command.clone()), ..how.params(agent::start::COMMAND)? })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::model::calls::{self, AttachChoice};
    use std::collections::BTreeMap;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn params(line: &[&str]) -> StartParams {
        let line = Line::try_parse_from([&["run"], line].concat()).unwrap_or_else(|error| panic!("{error}"));
        command_params(&line.options).expect("a directory")
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
        assert_eq!((params.tty, params.attach), (Some(true), Some(AttachChoice::Whether(false))));
    }

    #[test]
    fn what_is_not_said_is_left_to_the_server() {
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
        let sure = |line: &str, command: &[&str]| {
            let line = line.split(' ').map(OsString::from).collect();
            is_command_for_sure(line, &command.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
        };
        assert!(sure("loomd run -- codex x", &["codex", "x"]));
        assert!(!sure("loomd run codex x", &["codex", "x"]));
        assert!(!sure("loomd run acp x -- agent", &["acp", "x", "--", "agent"]));
        assert!(sure("loomd run --title t -- acp -- x", &["acp", "--", "x"]));
    }

    #[test]
    fn what_is_for_agents_is_refused_for_a_command() {
        let line = Line::try_parse_from(["run", "--model", "m", "make"]).expect("it parses");
        assert!(command_params(&line.options).expect_err("refused").message.contains("--model is for agents"));
    }
}
