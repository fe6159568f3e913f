//! `loomd web`: the runs and their transcripts in a browser, for those without one of the editors.
//!
//! It serves one page, which is part of the program, on a loopback address. The page speaks loomd's own protocol over a
//! WebSocket, and each WebSocket is one client of a server of its own, so this front end knows no run. It is a cargo
//! feature (`web`), because it is the only part that needs an HTTP server. Who may use it stands in `admission`.

#[cfg(feature = "web")]
mod admission;
#[cfg(feature = "web")]
mod connection;
#[cfg(feature = "web")]
mod site;

use crate::{client::ServerLaunch, model::Failure};

/// Show the runs in a browser: live transcripts, questions, new runs
#[derive(clap::Args, Clone, Debug, Default)]
#[command(after_help = "\
Prints the address to open. It holds a secret that is made anew with each start: do not share it.
Ctrl-C ends the page; runs go on.

Examples:
  loomd web                                      on any free port of this machine
  loomd web --read-only                          to look on: nothing can be started, answered or ended
  loomd web --port 8765                          on the same port each time
  ssh -L 8765:127.0.0.1:8765 HOST loomd web --port 8765
                                                 the runs of HOST in the browser of this machine
  loomd web --port 8765 --allow-host box.example  behind a proxy or tunnel of that name")]
pub(crate) struct Options {
    /// Refuse every request that changes something or starts a program
    #[arg(long)]
    pub(crate) read_only: bool,
    /// Also answer to this host name, as which a proxy or tunnel reaches us
    #[arg(long, value_name = "NAME")]
    pub(crate) allow_host: Vec<String>,
    /// Port on 127.0.0.1 [default: any free one]
    #[arg(long, value_name = "PORT", default_value_t = 0, hide_default_value = true)]
    pub(crate) port: u16,
}

/// Serves the page until this process is told to end.
#[cfg(feature = "web")]
pub(crate) async fn main(options: Options, launch: &ServerLaunch) -> Result<u8, Failure> {
    site::serve(options, launch.clone()).await
}

/// Says how to get what this build lacks.
#[cfg(not(feature = "web"))]
pub(crate) async fn main(_: Options, _: &ServerLaunch) -> Result<u8, Failure> {
    Err(Failure::unsupported("web", "this loomd was built without its page; build it with `cargo build --release --features web`"))
}
