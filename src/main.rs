//! The door: a supervisor, a server, or a command for people.

mod args;

use std::process::ExitCode;

use args::{Arguments, Command};
use loomd::{
    cli::{self, client::Launch},
    server, supervisor,
};

fn main() -> ExitCode {
    // Before anything else is touched: a supervisor lives as long as its run, so its memory and its start count.
    if std::env::args_os().nth(1).is_some_and(|word| word == "supervise") {
        return supervisor::main();
    }
    let arguments = match Arguments::read() {
        Ok(arguments) => arguments,
        Err(code) => return code,
    };
    let root_serve = arguments.serve.clone();
    let launch = Launch { places: arguments.places(), log_file: arguments.log_file.clone(), can_answer: false };
    let serve = |options: args::Serve| {
        let framing = options.framing.or(root_serve.framing);
        server::main(server::Options { places: launch.places.clone(), framing, log_file: launch.log_file.clone() })
    };
    match arguments.command {
        None => serve(root_serve.clone()),
        Some(Command::Serve(options)) => serve(options),
        Some(Command::Run(options)) => cli::go(cli::run::main(options, &launch)),
        Some(Command::List(options)) => cli::go(cli::list::main(options, &launch)),
        Some(Command::Logs(options)) => cli::go(cli::logs::main(options, &launch)),
        Some(Command::Search(options)) => cli::go(cli::search::main(options, &launch)),
        Some(Command::Attach(options)) => cli::go(cli::attach::main(options, &launch)),
        Some(Command::Cancel(options)) => cli::go(cli::cancel::main(options, &launch)),
        Some(Command::Configure(options)) => cli::go(cli::configure::main(options, &launch)),
        Some(Command::Send(options)) => cli::go(cli::send::main(options, &launch)),
        Some(Command::Answer(options)) => cli::go(cli::answer::main(options, &launch)),
        Some(Command::Takeover(options)) => cli::go(cli::takeover::main(options, &launch)),
        Some(Command::Changes(options)) => cli::go(cli::changes::main(options, &launch)),
        Some(Command::Export(options)) => cli::go(cli::export::main(options, &launch)),
        Some(Command::Providers(options)) => cli::go(cli::providers::main(options, &launch)),
        Some(Command::Sessions(options)) => cli::go(cli::sessions::main(options, &launch)),
        Some(Command::Delete(options)) => cli::go(cli::delete::main(options, &launch)),
        Some(Command::Prune(options)) => cli::go(cli::prune::main(options, &launch)),
        Some(Command::Stats(options)) => cli::go(cli::stats::main(options, &launch)),
        Some(Command::Doctor(options)) => cli::go(cli::doctor::main(options, &launch)),
        Some(Command::Schema(options)) => cli::go(cli::schema::main(options)),
        Some(Command::Completions(options)) => cli::go(cli::completions::main(options, Arguments::grammar())),
        Some(Command::Man(options)) => cli::go(cli::man::main(options, Arguments::grammar())),
    }
}
