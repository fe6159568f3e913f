//! `loomd run`: starts a command as a run and shows it live.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use clap::ValueEnum;

use super::{
    Stop,
    client::{Launch, Session},
    keys::Keys,
    live::{View, Watch},
    render, tail, words,
};
use crate::model::{
    Failure, Run,
    calls::{self, AttachChoice, RunResult, StartParams},
};

const KEYS: &str = r"Keys:
  Ctrl-C   interrupt the program; again: cancel the run; again: kill it at once
  Ctrl-\   leave; the run goes on (so it does when the terminal is closed)

Exit code: the program's own; 128+N when signal N ended it, 124 when it ran out of time, 130 when it was
cancelled, 127 when it cannot be started, 1 when it was lost, 2 when the configuration or the store is bad.

Examples:
  loomd run -- cargo test
  loomd run --detach --title nightly -- make all
  loomd run --tty --timeout 1h30m -- ./slow-script";

/// Run a command and watch it; it goes on when this terminal goes
#[derive(clap::Args, Debug)]
#[command(after_help = KEYS)]
pub struct Options {
    /// Working directory [default: this one]
    #[arg(long, value_name = "DIR")]
    pub cwd: Option<PathBuf>,
    /// Set a variable for the program; NAME alone removes it
    #[arg(long, short, value_name = "NAME=VALUE", value_parser = words::parse_variable)]
    pub env: Vec<(String, Option<String>)>,
    /// Run it under a terminal of its own, for programs that show more on one
    #[arg(long, short)]
    pub tty: bool,
    /// Start it, print its id, and come back at once
    #[arg(long, short)]
    pub detach: bool,
    /// Send what is typed here to the program, line by line
    #[arg(long, short)]
    pub interactive: bool,
    /// End it after so long, like 90s, 5m or 1h30m
    #[arg(long, value_name = "DURATION", value_parser = words::parse_duration)]
    pub timeout: Option<Duration>,
    /// End it when it has written nothing for so long
    #[arg(long, value_name = "DURATION", value_parser = words::parse_duration)]
    pub idle_timeout: Option<Duration>,
    /// End it when it has written more than this, like 64K, 10M or 1G
    #[arg(long, value_name = "BYTES", value_parser = words::parse_bytes)]
    pub max_output: Option<u64>,
    /// What to call it in lists
    #[arg(long, value_name = "TEXT")]
    pub title: Option<String>,
    /// A label to find it by; may be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = words::parse_pair)]
    pub label: Vec<(String, String)>,
    /// What becomes of it when nobody watches it any more: it goes on, or is cancelled after 5 seconds
    #[arg(long, value_name = "FATE", default_value = "detach")]
    pub on_disconnect: OnDisconnect,
    /// Print the run's entries as lines of JSON, and the run itself as the last one
    #[arg(long)]
    pub json: bool,
    /// Say nothing beside the program's own output
    #[arg(long, short)]
    pub quiet: bool,
    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OnDisconnect {
    Detach,
    Cancel,
}

pub async fn main(options: Options, launch: &Launch) -> Result<u8, Stop> {
    let params = start_params(&options)?;
    let (session, notifications) = launch.open().await?;
    if options.detach {
        drop(notifications);
        let RunResult { run } = session.call("run/start", &params).await?;
        match options.json {
            true => render::print_json(&run)?,
            false => render::print(&format!("{}\n", run.id))?,
        }
        session.close().await;
        return Ok(0);
    }
    // From here on keys are for the run.
    let mut keys = Keys::listen()?;
    let run = start(&session, &params, &mut keys).await?;
    if render::stderr_is_terminal() && !options.quiet {
        let (id, again) = (words::short(run.id), launch.again());
        render::note(&format!(r"run {id}; `{again} logs {id}` reads it back, Ctrl-\ leaves it running"));
    }
    let view = View { json: options.json, ends_with_run: true, quiet: options.quiet, interactive: options.interactive, ..View::default() };
    Watch::new(launch, view, run, tail::Place::default(), session, notifications).show_to_end(Some(keys)).await
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

fn start_params(options: &Options) -> Result<StartParams, Failure> {
    let cwd = options.cwd.clone().unwrap_or_else(|| PathBuf::from("."));
    let no_cwd = |error| Failure::invalid_params("cwd", format!("the working directory {} cannot be used: {error}", cwd.display()));
    // Without looking at what is there: the server says best what is wrong with it.
    let absolute = match &options.cwd {
        Some(cwd) => std::path::absolute(cwd),
        None => std::env::current_dir(),
    };
    let cwd = absolute.map_err(no_cwd)?.into_os_string().into_string();
    let cwd = cwd.map_err(|cwd| Failure::invalid_params("cwd", format!("the working directory {} is not UTF-8", cwd.display())))?;
    let ms = |duration: Option<Duration>| duration.map(|duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
    Ok(StartParams {
        provider: "command".to_owned(),
        command: Some(options.command.clone()),
        cwd: Some(cwd),
        env: options.env.iter().cloned().collect(),
        tty: options.tty.then_some(true),
        interactive: options.interactive.then_some(true),
        timeout_ms: ms(options.timeout),
        idle_timeout_ms: ms(options.idle_timeout),
        on_disconnect: (options.on_disconnect == OnDisconnect::Cancel).then_some(calls::OnDisconnect::Cancel),
        attach: options.detach.then_some(AttachChoice::Whether(false)),
        max_output_bytes: options.max_output,
        title: options.title.clone(),
        labels: options.label.iter().cloned().collect::<BTreeMap<_, _>>(),
        ..StartParams::default()
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn params(line: &[&str]) -> StartParams {
        let line = Line::try_parse_from([&["run"], line].concat()).unwrap_or_else(|error| panic!("{error}"));
        start_params(&line.options).expect("a directory")
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
}
