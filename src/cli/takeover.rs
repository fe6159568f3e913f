//! `loomd takeover`: ends the headless agent and opens the same session in this terminal, in the agent's own program.

use std::{io::IsTerminal, os::unix::process::CommandExt, process::Command};

use clap::ValueEnum;

use super::{
    Stop,
    client::Launch,
    render::{self, Spinner},
    words,
};
use crate::model::{
    Failure, FailureKind, Run, Takeover, TakeoverKind,
    calls::{TakeoverParams, TakeoverResult},
};

/// Open an agent's session in this terminal; its run ends
#[derive(clap::Args, Debug)]
pub struct Options {
    /// The run
    pub run: String,
    /// How [default: the best way that there is]
    #[arg(long, value_name = "KIND")]
    pub kind: Option<Kind>,
    /// Print the command for a shell instead of executing it; the run ends all the same
    #[arg(long)]
    pub print: bool,
    /// Print what was found as JSON instead of executing it; the run ends all the same
    #[arg(long)]
    pub json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Join the running process
    Live,
    /// Open the same session
    Resume,
    /// Open a copy of the session
    Fork,
    /// Load the session in another client of the Agent Client Protocol: shows what to start there
    Load,
    /// Start the same command again
    ReplayCommand,
}

impl From<Kind> for TakeoverKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Live => Self::Live,
            Kind::Resume => Self::Resume,
            Kind::Fork => Self::Fork,
            Kind::Load => Self::Load,
            Kind::ReplayCommand => Self::ReplayCommand,
        }
    }
}

pub async fn main(options: Options, launch: &Launch) -> Result<u8, Stop> {
    let session = launch.open_quiet().await?;
    let run_id = session.run_id(&options.run).await?;
    let has_terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    if !has_terminal && !options.print && !options.json && opens_here(&session.run(run_id).await?, options.kind.map(Into::into)) {
        // Before the run is touched: its agent would be gone, and nothing would be there instead.
        let message = "takeover needs a terminal for the agent's own program; `--print` prints the command for a shell, and ends the run";
        return Err(Failure::new(FailureKind::Config, message).into());
    }
    let spinner = Spinner::start("ending the run, so that the session is free".to_owned());
    let params = TakeoverParams { run_id, kind: options.kind.map(Into::into), stop: None };
    let answer = session.call("run/takeover", params).await;
    drop(spinner);
    let TakeoverResult { takeover } = answer?;
    session.close().await;
    if !takeover.verified {
        let why = takeover.reason.as_deref().unwrap_or("nobody has tried it with this version of the program");
        render::warn(&format!("this is not sure to work: {}", words::plain(why)));
    }
    if options.json {
        render::print_json(&takeover)?;
        return Ok(0);
    }
    // Another client has to load it: the agent alone would wait for one in silence.
    if options.print || takeover.kind == TakeoverKind::Load {
        render::print(&format!("{}\n", shell_line(&takeover)?))?;
        return Ok(0);
    }
    Err(execute(&takeover, launch).into())
}

/// Whether taking over may execute a program. What is only to be loaded elsewhere is printed, and no way at all is refused by the server.
fn opens_here(run: &Run, kind: Option<TakeoverKind>) -> bool {
    let ways = run.session.iter().flat_map(|session| &session.takeover);
    ways.filter(|way| way.command.is_some() && way.kind != TakeoverKind::Load).any(|way| kind.is_none_or(|kind| kind == way.kind))
}

/// The words of the command.
fn argv(takeover: &Takeover) -> Result<(&String, &[String]), Failure> {
    let argv = takeover.command.as_ref().and_then(|command| command.split_first());
    argv.ok_or_else(|| Failure::unsupported("takeover", format!("there is no command that opens the session: {}", takeover.display)))
}

/// What a shell is to be told to do the same.
fn shell_line(takeover: &Takeover) -> Result<String, Failure> {
    let (program, arguments) = argv(takeover)?;
    let dir = takeover.cwd.iter().map(|dir| format!("cd {} &&", words::quoted(dir)));
    let env = takeover.env.iter().flatten().map(|(name, value)| format!("{name}={}", words::quoted(value)));
    let words = std::iter::once(program).chain(arguments).map(|word| words::quoted(word));
    Ok(dir.chain(env).chain(words).collect::<Vec<_>>().join(" "))
}

/// Becomes the program. Returns only if that cannot be done.
fn execute(takeover: &Takeover, launch: &Launch) -> Failure {
    let (program, arguments) = match argv(takeover) {
        Ok(argv) => argv,
        Err(failure) => return failure,
    };
    // Whatever PATH says: this loomd, and the same runs.
    let mut command = if program == "loomd" { launch.again_as_command() } else { Command::new(program) };
    command.args(arguments).envs(takeover.env.iter().flatten());
    if let Some(dir) = &takeover.cwd {
        command.current_dir(dir);
    }
    let error = command.exec();
    Failure::new(FailureKind::SpawnFailed, format!("{program} cannot be started: {error}"))
        .with("hint", format!("the run has ended; `{}` opens its session", takeover.display))
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
            command: command.map(|command| command.iter().map(|word| (*word).to_owned()).collect()),
            cwd: Some("/my work".to_owned()),
            env: Some(BTreeMap::from([("A".to_owned(), "b c".to_owned())])),
            display: "agent --resume 1".to_owned(),
        }
    }

    #[test]
    fn a_shell_line_opens_the_same() {
        let line = shell_line(&takeover(Some(&["agent", "--resume", "it's"])));
        assert_eq!(line.as_deref(), Ok(r"cd '/my work' && A='b c' agent --resume 'it'\''s'"));
        assert!(shell_line(&takeover(None)).expect_err("no command").message.contains("agent --resume 1"));
    }
}
