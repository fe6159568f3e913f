//! `loomd takeover`: ends an agent's run and opens its session in this terminal, in the agent's own program.

use std::{io::IsTerminal, os::unix::process::CommandExt, process::Command};

use clap::ValueEnum;

use super::{
    EarlyExit, format,
    render::{self, Spinner},
};
use crate::{
    client::{ServerLaunch, host::Host},
    model::{
        Failure, FailureKind, Run, RunId, Takeover, TakeoverKind,
        calls::{TakeoverParams, TakeoverResult},
        methods::RunTakeover,
    },
};

/// Continue an agent's session in this terminal, in its own program; the run ends
#[derive(clap::Args, Debug)]
pub(crate) struct Options {
    /// Run ID or its last digits
    pub(crate) run: String,
    /// How to continue [default: the best available way]
    #[arg(long, value_name = "KIND")]
    pub(crate) kind: Option<TakeoverKindOption>,
    /// Print the shell command instead of running it; the run ends too
    #[arg(long)]
    pub(crate) print: bool,
    /// Print JSON instead of running the command; the run ends too
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum TakeoverKindOption {
    /// Attach to the running process
    Live,
    /// Resume the session
    Resume,
    /// Fork the session
    Fork,
    /// Load the session in another ACP client; prints the command to configure there
    Load,
    /// Start the same command again
    ReplayCommand,
}

impl From<TakeoverKindOption> for TakeoverKind {
    fn from(kind: TakeoverKindOption) -> Self {
        match kind {
            TakeoverKindOption::Live => Self::Live,
            TakeoverKindOption::Resume => Self::Resume,
            TakeoverKindOption::Fork => Self::Fork,
            TakeoverKindOption::Load => Self::Load,
            TakeoverKindOption::ReplayCommand => Self::ReplayCommand,
        }
    }
}

pub(crate) async fn main(options: Options, launch: &ServerLaunch) -> Result<u8, EarlyExit> {
    let has_terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let session = launch.open_without_notifications().await?;
    let run_id = session.run_id(&options.run).await?;
    if !has_terminal && !options.print && !options.json && opens_here(&session.run(run_id).await?, options.kind.map(Into::into)) {
        // This is checked before the run is ended, because nothing would take the agent's place.
        let message = "takeover needs a terminal for the agent's own program; `--print` prints the command instead, and ends the run";
        return Err(Failure::new(FailureKind::Config, message).into());
    }
    if let Some(host) = launch.found_host()?.filter(|_| !options.print && !options.json) {
        session.close().await;
        return Err(execute_on(&host, run_id, options.kind).into());
    }
    let spinner = Spinner::start("Ending the run".to_owned());
    let params = TakeoverParams { run_id, kind: options.kind.map(Into::into), stop: None };
    let reply = session.call(RunTakeover, params).await;
    drop(spinner);
    let TakeoverResult { takeover } = reply?;
    session.close().await;
    if !takeover.verified {
        let reason = takeover.reason.as_deref().unwrap_or("not tested with this version of the program");
        render::warn(&format!("this may not work: {}", format::plain(reason)));
    }
    if options.json {
        render::print_json(&takeover)?;
        return Ok(0);
    }
    // A session that another client loads is only printed: the agent alone would wait for a client without a word.
    if options.print || takeover.kind == TakeoverKind::Load {
        let line = match launch.host() {
            Some(host) => format!("ssh -t -- {host} {}", format::quoted(&shell_line(&takeover)?)),
            None => shell_line(&takeover)?,
        };
        if let Some(names) = variable_names(&takeover) {
            render::warn(&format!("the configuration gives this program variables, whose values are not shown; set them first: {names}"));
        }
        render::print(&format!("{}\n", render::for_stdout(&line)))?;
        return Ok(0);
    }
    if names_recorded_program(&takeover) && !confirm(&takeover)? {
        return Err(Failure::new(FailureKind::Config, "nothing was started; `--print` prints the command").into());
    }
    Err(execute(&takeover, launch).into())
}

/// Replaces this process by a takeover that runs on the host of the run. Returns only if that fails.
fn execute_on(host: &Host, run_id: RunId, kind: Option<TakeoverKindOption>) -> Failure {
    let mut command = match host.ssh("-t") {
        Ok(command) => command,
        Err(error) => return error.into(),
    };
    command.args(["takeover", &run_id.to_string()]);
    if let Some(kind) = kind.and_then(|kind| kind.to_possible_value()) {
        command.args(["--kind", kind.get_name()]);
    }
    Failure::new(FailureKind::SpawnFailed, format!("cannot start ssh: {}", command.exec()))
}

/// Whether the command has the argv of an agent that stands nowhere but in the run's record, which may have come from
/// anywhere.
fn names_recorded_program(takeover: &Takeover) -> bool {
    takeover.kind == TakeoverKind::ReplayCommand && takeover.command.iter().flatten().any(|word| word == "--")
}

fn confirm(takeover: &Takeover) -> Result<bool, EarlyExit> {
    let line = shell_line(takeover)?;
    render::print(&format!("{}\nThe run's record names this agent. Start it? [y/N] ", render::for_stdout(&line)))?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(answer.trim().eq_ignore_ascii_case("y"))
}

/// Whether the takeover may execute a program. A session to load elsewhere is printed instead, and if there is no way
/// at all, the server refuses the takeover.
fn opens_here(run: &Run, kind: Option<TakeoverKind>) -> bool {
    let ways = run.session.iter().flat_map(|session| &session.takeover);
    ways.filter(|way| way.command.is_some() && way.kind != TakeoverKind::Load).any(|way| kind.is_none_or(|kind| kind == way.kind))
}

/// The program and its arguments.
fn argv(takeover: &Takeover) -> Result<(&String, &[String]), Failure> {
    let argv = takeover.command.as_ref().and_then(|command| command.split_first());
    argv.ok_or_else(|| Failure::unsupported("takeover", format!("no command opens this session: {}", takeover.display)))
}

/// The names of the variables that the program gets.
fn variable_names(takeover: &Takeover) -> Option<String> {
    let names: Vec<String> = takeover.env.iter().flatten().map(|(name, _)| format::plain(name)).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

/// The command as a line for a shell, without values of variables, which may be secret.
fn shell_line(takeover: &Takeover) -> Result<String, Failure> {
    let (program, arguments) = argv(takeover)?;
    let dir = takeover.cwd.iter().map(|dir| format!("cd {} &&", format::quoted(dir)));
    let command_line = std::iter::once(program).chain(arguments).map(|argument| format::quoted(argument));
    Ok(dir.chain(command_line).collect::<Vec<_>>().join(" "))
}

/// Replaces this process by the program. Returns only if that fails.
fn execute(takeover: &Takeover, launch: &ServerLaunch) -> Failure {
    let (program, arguments) = match argv(takeover) {
        Ok(argv) => argv,
        Err(failure) => return failure,
    };
    // `loomd` means this executable with the same data directory, whatever PATH says.
    let mut command = if program == "loomd" { launch.self_command() } else { Command::new(program) };
    command.args(arguments).envs(takeover.env.iter().flatten());
    if let Some(dir) = &takeover.cwd {
        command.current_dir(dir);
    }
    let error = command.exec();
    Failure::new(FailureKind::SpawnFailed, format!("cannot start {program}: {error}"))
        .with("hint", format!("the run has ended; continue its session with `{}`", takeover.display))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn takeover(command: Option<&[&str]>) -> Takeover {
        Takeover {
            kind: TakeoverKind::Resume,
            verified: true,
            reason: None,
            command: command.map(|command| command.iter().map(|argument| (*argument).to_owned()).collect()),
            cwd: Some("/my work".to_owned()),
            env: Some(BTreeMap::from([("A".to_owned(), "b c".to_owned())])),
            display: "agent --resume 1".to_owned(),
        }
    }

    #[test]
    fn a_shell_line_opens_the_session_too() {
        let line = shell_line(&takeover(Some(&["agent", "--resume", "it's"])));
        assert_eq!(line.as_deref(), Ok(r"cd '/my work' && agent --resume 'it'\''s'"));
        assert_eq!(variable_names(&takeover(Some(&["agent"]))).as_deref(), Some("A"), "names, and no values");
        assert!(shell_line(&takeover(None)).expect_err("no command").message.contains("agent --resume 1"));
    }
}
