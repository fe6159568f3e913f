//! The command line: its grammar, its help, and how a bad one is told.

use std::{path::PathBuf, process::ExitCode};

use clap::{
    Args, CommandFactory, Parser, Subcommand,
    builder::{PossibleValuesParser, TypedValueParser},
    error::ErrorKind,
};
use loomd::{cli, config::Places, rpc::Framing};

const EXAMPLES: &str = "\
Examples:
  loomd run -- cargo test          run a command; it goes on if this terminal is closed
  loomd run --detach -- make all   start it, print its id, come back at once
  loomd run codex 'mend the tests' ask an agent and watch what it does; `loomd providers` lists them
  loomd list                       what runs and what ran
  loomd logs                       the output of the newest run; -f follows it
  loomd attach 1a2b3c4d            watch a run again, from any terminal
  loomd takeover 1a2b3c4d          open an agent's session in this terminal
  loomd cancel 1a2b3c4d            stop a run and everything that it started
  loomd doctor                     look whether all is well

Without a command, loomd serves an editor: JSON-RPC 2.0 over stdin and stdout.
A run may be named by the last digits of its id, as `loomd list` shows them.";

/// Runs coding agents and long commands: live, kept, and alive when the editor or the terminal goes.
#[derive(Debug, Parser)]
#[command(name = "loomd", version, after_help = EXAMPLES, disable_help_subcommand = true)]
pub struct Arguments {
    #[command(flatten)]
    pub serve: Serve,

    /// Directory of the store and the runs [default: $LOOMD_DATA_DIR, else the platform's]
    #[arg(long, global = true, value_name = "DIR", help_heading = "Where things are")]
    pub data_dir: Option<PathBuf>,

    /// Configuration file [default: $LOOMD_CONFIG, else the platform's]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Where things are")]
    pub config: Option<PathBuf>,

    /// Write the server's log to this file; $LOOMD_LOG says how much, like `debug` or `loomd::server=trace`
    #[arg(long, global = true, value_name = "FILE", help_heading = "Where things are")]
    pub log_file: Option<PathBuf>,

    #[command(subcommand)]
    pub command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
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
    Delete(cli::delete::Options),
    Prune(cli::prune::Options),
    Stats(cli::stats::Options),
    Doctor(cli::doctor::Options),
    Schema(cli::schema::Options),
    Completions(cli::completions::Options),
    Man(cli::man::Options),
}

/// Serve one client over stdin and stdout (what loomd does without a command)
#[derive(Args, Clone, Debug)]
pub struct Serve {
    /// Over stdin and stdout: the only way there is, so it changes nothing
    #[arg(long, hide = true)]
    pub stdio: bool,

    /// How messages are told apart on the wire [default: as the client's first byte shows]
    #[arg(long, value_name = "FRAMING", value_parser = framing())]
    pub framing: Option<Framing>,
}

impl Arguments {
    /// Reads this process's command line. `Err`: it was answered (help, version) or refused, and this is the exit code.
    pub fn read() -> Result<Self, ExitCode> {
        Self::try_parse().map_err(|error| {
            if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
                return cli::go(async { Ok(error.print().map(|()| 0)?) });
            }
            anstream::eprintln!("{}", cli::render::error(&sentence(&error.render().to_string())));
            ExitCode::from(cli::BAD_COMMAND_LINE)
        })
    }

    pub fn places(&self) -> Places {
        Places { data_dir: self.data_dir.clone(), config: self.config.clone() }
    }

    /// The grammar, for completions and man pages.
    pub fn grammar() -> clap::Command {
        Self::command()
    }
}

fn framing() -> impl TypedValueParser<Value = Framing> {
    PossibleValuesParser::new(["lsp", "ndjson"]).map(|word| if word == "lsp" { Framing::Lsp } else { Framing::Ndjson })
}

/// What clap says in several paragraphs, as one sentence.
fn sentence(said: &str) -> String {
    let said = said.strip_prefix("error: ").unwrap_or(said);
    let end = ["\nUsage:", "\nFor more information"].iter().filter_map(|mark| said.find(mark)).min().unwrap_or(said.len());
    let paragraphs = said[..end].split("\n\n").map(|paragraph| paragraph.split_whitespace().collect::<Vec<_>>().join(" "));
    let said = paragraphs.filter(|paragraph| !paragraph.is_empty()).collect::<Vec<_>>().join("; ");
    format!("{said}; see --help")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Arguments {
        Arguments::try_parse_from(line.split(' ')).unwrap_or_else(|error| panic!("{line}: {error}"))
    }

    fn refused(line: &str) -> String {
        match Arguments::try_parse_from(line.split(' ')) {
            Ok(_) => panic!("{line} is taken"),
            Err(error) => sentence(&error.render().to_string()),
        }
    }

    #[test]
    fn the_grammar_is_sound() {
        Arguments::grammar().debug_assert();
    }

    #[test]
    fn an_editor_may_say_what_it_is_used_to() {
        for line in ["loomd", "loomd --stdio", "loomd serve", "loomd serve --stdio", "loomd --data-dir /d serve --stdio"] {
            assert!(matches!(parsed(line).command, None | Some(Command::Serve(_))), "{line}");
        }
        assert_eq!(parsed("loomd --framing ndjson").serve.framing, Some(Framing::Ndjson));
        let Some(Command::Serve(serve)) = parsed("loomd serve --framing lsp --config c.toml").command else { panic!("serves") };
        assert_eq!(serve.framing, Some(Framing::Lsp));
    }

    #[test]
    fn the_programs_words_are_left_alone() {
        for line in ["loomd run -- make -j2 --data-dir x", "loomd run make -j2 --data-dir x"] {
            let arguments = parsed(line);
            assert_eq!(arguments.data_dir, None);
            let Some(Command::Run(options)) = arguments.command else { panic!("runs") };
            assert_eq!(options.command, ["make", "-j2", "--data-dir", "x"]);
        }
        assert_eq!(parsed("loomd run --data-dir /d -- make").data_dir.as_deref(), Some(std::path::Path::new("/d")));
    }

    #[test]
    fn a_bad_command_line_is_told_in_one_sentence() {
        assert_eq!(
            refused("loomd logs --tial 5"),
            "unexpected argument '--tial' found; tip: a similar argument exists: '--tail'; see --help"
        );
        assert_eq!(refused("loomd run"), "the following required arguments were not provided: <COMMAND>...; see --help");
        let duration = refused("loomd run --timeout 5 -- make");
        assert!(duration.contains("90s") && !duration.contains('\n'), "{duration}");
        assert!(refused("loomd --framing tcp").contains("ndjson"));
        assert!(refused("loomd bogus").starts_with("unrecognized subcommand 'bogus'"));
        assert!(refused("loomd run --label x -- make").contains("KEY=VALUE"));
    }
}
