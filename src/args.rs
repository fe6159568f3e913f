//! The command line: its arguments, its help, its error messages, and the dispatch to commands.

use std::{path::PathBuf, process::ExitCode};

use crate::{
    acp, cli,
    client::{ServerLaunch, host::HostName, run_name::split_host},
    config::Locations,
    mcp,
    rpc::Framing,
    server, supervisor, web,
};
use clap::{
    Args, CommandFactory, Parser, Subcommand,
    builder::{PossibleValuesParser, TypedValueParser},
    error::ErrorKind,
};

const EXAMPLES: &str = "\
Examples:
  loomd run -- cargo test           run a command; it keeps running if this terminal closes
  loomd run --detach -- make all    start a command in the background and print its run ID
  loomd run codex 'fix the tests'   run an agent (`loomd providers` lists them)
  loomd list                        list runs
  loomd logs                        print the output of the newest run; -f to follow
  loomd attach 1a2b3c4d             attach to a run from any terminal
  loomd takeover 1a2b3c4d           continue an agent's session in its own program
  loomd cancel 1a2b3c4d             cancel a run and all its processes
  loomd list --host build,laptop    list runs of other hosts, which ssh reaches
  loomd attach build/1a2b3c4d       attach to a run of another host
  loomd --host build run codex '…'  run an agent on another host
  loomd doctor                      check the installation

Without a command, loomd serves an editor: JSON-RPC 2.0 over stdin and stdout.
RUN is a run ID or its last digits (4 or more), as `loomd list` shows them; NAME/ID is a run of another host.
With --host, directories are those of that host, and a run starts in the home directory there.";

/// The whole program: a supervisor, a server, or one of the commands for people.
pub fn main() -> ExitCode {
    // A supervisor lives as long as its run, so it starts before anything else takes memory or time.
    if std::env::args_os().nth(1).is_some_and(|argument| argument == "supervise") {
        return supervisor::main();
    }
    let arguments = match Arguments::read() {
        Ok(arguments) => arguments,
        Err(code) => return code,
    };
    let hosts = match arguments.hosts() {
        Ok(hosts) => hosts,
        Err(message) => {
            cli::render::print_error(&message);
            return ExitCode::from(cli::EXIT_USAGE);
        }
    };
    let root_serve = arguments.serve.clone();
    let log_file = arguments.log_file.clone();
    let launch = ServerLaunch { locations: arguments.locations(), log_file, hosts, can_answer: false, note: cli::render::note };
    let serve = |options: Serve| {
        let framing = options.framing.or(root_serve.framing);
        server::main(server::Options { locations: launch.locations.clone(), framing, log_file: launch.log_file.clone() })
    };
    match arguments.command {
        None => serve(root_serve.clone()),
        Some(CliCommand::Serve(options)) => serve(options),
        Some(CliCommand::Acp(options)) => cli::run_to_exit_code(async { Ok(acp::main(options, &launch).await?) }),
        Some(CliCommand::Mcp(options)) => cli::run_to_exit_code(async { Ok(mcp::main(options, &launch).await?) }),
        Some(CliCommand::Web(options)) => cli::run_to_exit_code(async { Ok(web::main(options, &launch).await?) }),
        Some(CliCommand::Run(options)) => cli::run_to_exit_code(cli::run::main(options, &launch)),
        Some(CliCommand::List(options)) => cli::run_to_exit_code(cli::list::main(options, &launch)),
        Some(CliCommand::Logs(options)) => cli::run_to_exit_code(cli::logs::main(options, &launch)),
        Some(CliCommand::Search(options)) => cli::run_to_exit_code(cli::search::main(options, &launch)),
        Some(CliCommand::Attach(options)) => cli::run_to_exit_code(cli::attach::main(options, &launch)),
        Some(CliCommand::Cancel(options)) => cli::run_to_exit_code(cli::cancel::main(options, &launch)),
        Some(CliCommand::Configure(options)) => cli::run_to_exit_code(cli::configure::main(options, &launch)),
        Some(CliCommand::Send(options)) => cli::run_to_exit_code(cli::send::main(options, &launch)),
        Some(CliCommand::Answer(options)) => cli::run_to_exit_code(cli::answer::main(options, &launch)),
        Some(CliCommand::Takeover(options)) => cli::run_to_exit_code(cli::takeover::main(options, &launch)),
        Some(CliCommand::Changes(options)) => cli::run_to_exit_code(cli::changes::main(options, &launch)),
        Some(CliCommand::Export(options)) => cli::run_to_exit_code(cli::export::main(options, &launch)),
        Some(CliCommand::Providers(options)) => cli::run_to_exit_code(cli::providers::main(options, &launch)),
        Some(CliCommand::Sessions(options)) => cli::run_to_exit_code(cli::sessions::main(options, &launch)),
        Some(CliCommand::Delete(options)) => cli::run_to_exit_code(cli::retention::delete(options, &launch)),
        Some(CliCommand::Prune(options)) => cli::run_to_exit_code(cli::retention::prune(options, &launch)),
        Some(CliCommand::Stats(options)) => cli::run_to_exit_code(cli::retention::stats(options, &launch)),
        Some(CliCommand::Rules(options)) => cli::run_to_exit_code(cli::rules::main(options, &launch)),
        Some(CliCommand::Doctor(options)) => cli::run_to_exit_code(cli::doctor::main(options, &launch)),
        Some(CliCommand::Schema(options)) => cli::run_to_exit_code(cli::generate::schema(options)),
        Some(CliCommand::Completions(options)) => cli::run_to_exit_code(cli::generate::completions(options, Arguments::clap_command())),
        Some(CliCommand::Man(options)) => cli::run_to_exit_code(cli::generate::man(options, Arguments::clap_command())),
    }
}

/// Run coding agents and long commands that keep going when the editor or the terminal closes
#[derive(Debug, Parser)]
#[command(name = "loomd", version, after_help = EXAMPLES, disable_help_subcommand = true)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) serve: Serve,

    /// Data directory [default: $LOOMD_DATA_DIR, or the platform's]
    #[arg(long, global = true, value_name = "DIR", help_heading = "Global options")]
    pub(crate) data_dir: Option<PathBuf>,

    /// Configuration file [default: $LOOMD_CONFIG, or the platform's]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Global options")]
    pub(crate) config: Option<PathBuf>,

    /// Server log file; $LOOMD_LOG sets the level, e.g. `debug`
    #[arg(long, global = true, value_name = "FILE", help_heading = "Global options")]
    pub(crate) log_file: Option<PathBuf>,

    /// Use loomd on another host, through ssh; `list` and `search` take several, as NAME,NAME
    #[arg(long, global = true, value_name = "NAME", value_delimiter = ',', help_heading = "Global options")]
    pub(crate) host: Vec<HostName>,

    #[command(subcommand)]
    pub(crate) command: Option<CliCommand>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CliCommand {
    Serve(Serve),
    Run(cli::run::Options),
    #[command(visible_alias = "ls")]
    List(cli::list::Options),
    Logs(cli::logs::Options),
    Search(cli::search::Options),
    Attach(cli::attach::Options),
    Cancel(cli::cancel::Options),
    Send(cli::send::Options),
    Answer(cli::answer::Options),
    Configure(cli::configure::Options),
    Takeover(cli::takeover::Options),
    Changes(cli::changes::Options),
    Export(cli::export::Options),
    Providers(cli::providers::Options),
    Sessions(cli::sessions::Options),
    Delete(cli::retention::DeleteOptions),
    Prune(cli::retention::PruneOptions),
    Stats(cli::retention::StatsOptions),
    Rules(cli::rules::Options),
    Doctor(cli::doctor::Options),
    Acp(acp::Options),
    Mcp(mcp::Options),
    Web(web::Options),
    Schema(cli::generate::SchemaOptions),
    Completions(cli::generate::CompletionsOptions),
    Man(cli::generate::ManOptions),
}

impl CliCommand {
    /// The names of runs that the command got.
    fn run_names(&self) -> Vec<&str> {
        match self {
            Self::Logs(cli::logs::Options { run, .. })
            | Self::Attach(cli::attach::Options { run, .. })
            | Self::Changes(cli::changes::Options { run, .. })
            | Self::Export(cli::export::Options { run, .. })
            | Self::Search(cli::search::Options { run, .. }) => run.iter().map(String::as_str).collect(),
            Self::Send(cli::send::Options { run, .. })
            | Self::Answer(cli::answer::Options { run, .. })
            | Self::Configure(cli::configure::Options { run, .. })
            | Self::Takeover(cli::takeover::Options { run, .. }) => vec![run],
            Self::Cancel(cli::cancel::Options { runs, .. }) | Self::Delete(cli::retention::DeleteOptions { runs }) => {
                runs.iter().map(String::as_str).collect()
            }
            Self::Serve(_)
            | Self::Run(_)
            | Self::List(_)
            | Self::Providers(_)
            | Self::Sessions(_)
            | Self::Prune(_)
            | Self::Stats(_)
            | Self::Rules(_)
            | Self::Doctor(_)
            | Self::Acp(_)
            | Self::Mcp(_)
            | Self::Web(_)
            | Self::Schema(_)
            | Self::Completions(_)
            | Self::Man(_) => Vec::new(),
        }
    }
}

/// Serve one client over stdin and stdout (the default without a command)
#[derive(Args, Clone, Debug)]
pub(crate) struct Serve {
    /// Serve over stdin and stdout, which loomd always does
    #[arg(long, hide = true)]
    pub(crate) stdio: bool,

    /// Framing of messages [default: detected from the client's first byte]
    #[arg(long, value_name = "FRAMING", value_parser = framing())]
    pub(crate) framing: Option<Framing>,
}

impl Arguments {
    /// Parses this process's command line. `Err`: the exit code after a call for help or an invalid command line, which
    /// has been answered.
    pub(crate) fn read() -> Result<Self, ExitCode> {
        Self::try_parse().map_err(|error| {
            if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
                return cli::run_to_exit_code(async { Ok(error.print().map(|()| 0)?) });
            }
            cli::render::print_error(&one_line_error(&error.render().to_string()));
            ExitCode::from(cli::EXIT_USAGE)
        })
    }

    pub(crate) fn locations(&self) -> Locations {
        Locations { data_dir: self.data_dir.clone(), config: self.config.clone() }
    }

    /// The hosts whose servers the command uses: those of `--host`, or the one before the ID of its run. Which files are used
    /// there is not for us to say.
    fn hosts(&self) -> Result<Vec<HostName>, String> {
        let mut hosts = self.host.clone();
        let mut of_runs = Vec::new();
        for name in self.command.as_ref().map(CliCommand::run_names).unwrap_or_default() {
            of_runs.push(split_host(name).map_err(|failure| failure.message)?.0);
        }
        if let Some(host) = of_runs.iter().flatten().next() {
            // With `--host`, a run's name may be without its host.
            let is_same = |of_run: &Option<HostName>| of_run.as_ref().map_or(!self.host.is_empty(), |of_run| of_run == host);
            if !of_runs.iter().all(is_same) || (!hosts.is_empty() && hosts != [host.clone()]) {
                return Err(format!("one run is on {host} and another one is not; name runs of one host"));
            }
            hosts = vec![host.clone()];
        }
        let Some(first) = hosts.first() else { return Ok(hosts) };
        match &self.command {
            None | Some(CliCommand::Serve(_)) => Err(format!("a server is always of this machine; `ssh {first} loomd` starts one there")),
            Some(CliCommand::Web(_)) => Err(format!(
                "`loomd web` shows the runs of this machine; `ssh -L 8080:127.0.0.1:8080 {first} loomd web --port 8080` shows those of that one"
            )),
            Some(CliCommand::Doctor(_)) => Err(format!("`loomd doctor` checks this machine; `ssh {first} loomd doctor` checks that one")),
            Some(CliCommand::Schema(_) | CliCommand::Completions(_) | CliCommand::Man(_)) => {
                Err("what this command prints is of this loomd alone, so it takes no --host".to_owned())
            }
            Some(CliCommand::List(_) | CliCommand::Search(_)) if !self.names_files() => Ok(hosts),
            Some(_) if hosts.len() > 1 => Err("this command takes one host; `loomd list` and `loomd search` take several".to_owned()),
            Some(_) if self.names_files() => {
                Err("--data-dir and --log-file name files of this machine, so they do not go with a host".to_owned())
            }
            Some(_) => Ok(hosts),
        }
    }

    fn names_files(&self) -> bool {
        self.data_dir.is_some() || self.log_file.is_some()
    }

    /// The definition of the command line, for completions and manual pages.
    pub(crate) fn clap_command() -> clap::Command {
        Self::command()
    }
}

fn framing() -> impl TypedValueParser<Value = Framing> {
    PossibleValuesParser::new(["lsp", "ndjson"]).map(|name| if name == "lsp" { Framing::Lsp } else { Framing::Ndjson })
}

/// The paragraphs of an error of clap as one line, without its usage.
fn one_line_error(text: &str) -> String {
    let text = text.strip_prefix("error: ").unwrap_or(text);
    let end = ["\nUsage:", "\nFor more information"].iter().filter_map(|mark| text.find(mark)).min().unwrap_or(text.len());
    let paragraphs = text[..end].split("\n\n").map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" "));
    let text = paragraphs.filter(|paragraph| !paragraph.is_empty()).collect::<Vec<_>>().join("; ");
    format!("{text}; see --help")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Arguments {
        Arguments::try_parse_from(line.split(' ')).unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    fn parse_error(line: &str) -> String {
        match Arguments::try_parse_from(line.split(' ')) {
            Ok(_) => panic!("{line} is accepted"),
            Err(error) => one_line_error(&error.render().to_string()),
        }
    }

    #[test]
    fn the_command_line_is_well_defined() {
        Arguments::clap_command().debug_assert();
    }

    #[test]
    fn the_usual_arguments_of_editors_are_accepted() {
        for line in ["loomd", "loomd --stdio", "loomd serve", "loomd serve --stdio", "loomd --data-dir /d serve --stdio"] {
            assert!(matches!(parse(line).command, None | Some(CliCommand::Serve(_))), "{line}");
        }
        assert_eq!(parse("loomd --framing ndjson").serve.framing, Some(Framing::Ndjson));
        let Some(CliCommand::Serve(serve)) = parse("loomd serve --framing lsp --config c.toml").command else { panic!("serves") };
        assert_eq!(serve.framing, Some(Framing::Lsp));
    }

    #[test]
    fn arguments_of_the_program_are_not_parsed() {
        for line in ["loomd run -- make -j2 --data-dir x", "loomd run make -j2 --data-dir x"] {
            let arguments = parse(line);
            assert_eq!(arguments.data_dir, None);
            let Some(CliCommand::Run(options)) = arguments.command else { panic!("runs") };
            assert_eq!(options.command, ["make", "-j2", "--data-dir", "x"]);
        }
        assert_eq!(parse("loomd run --data-dir /d -- make").data_dir.as_deref(), Some(std::path::Path::new("/d")));
    }

    #[test]
    fn an_invalid_command_line_gives_a_one_line_error() {
        assert_eq!(
            parse_error("loomd logs --tial 5"),
            "unexpected argument '--tial' found; tip: a similar argument exists: '--tail'; see --help"
        );
        assert_eq!(parse_error("loomd run"), "the following required arguments were not provided: <COMMAND>...; see --help");
        let duration = parse_error("loomd run --timeout 5 -- make");
        assert!(duration.contains("90s") && !duration.contains('\n'), "{duration}");
        assert!(parse_error("loomd --framing tcp").contains("ndjson"));
        assert!(parse_error("loomd bogus").starts_with("unrecognized subcommand 'bogus'"));
        assert!(parse_error("loomd run --label x -- make").contains("KEY=VALUE"));
    }
}
