//! The command line: which servers and loads, how large and how often, and how the figures are printed.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

use crate::{frames::Framing, generate};

/// Measures loomd beside a minimal relay and a simple Node server, turn by turn.
#[derive(Parser)]
#[command(name = "spine", disable_version_flag = true)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub part: Option<Part>,
    /// A few megabytes and seconds, everything verified: shows that the bench works, not how fast anything is.
    #[arg(long)]
    pub smoke: bool,
    /// The loomd to measure.
    #[arg(long, default_value = env!("CARGO_BIN_EXE_loomd"))]
    pub loomd: PathBuf,
    #[arg(long, value_enum, value_delimiter = ',', default_value = "loomd,relay,node")]
    pub servers: Vec<Server>,
    #[arg(long, value_enum, value_delimiter = ',', default_value = "flood,stall,latency,start,written")]
    pub loads: Vec<Load>,
    /// Turns that each server gets in each load.
    #[arg(long, default_value_t = 5)]
    pub rounds: usize,
    /// Bytes of a flood.
    #[arg(long, default_value_t = 1_000_000_000)]
    pub bytes: u64,
    /// Bytes that are written while the client reads nothing.
    #[arg(long, default_value_t = 300_000_000)]
    pub stall_bytes: u64,
    /// Seconds of a paced stream.
    #[arg(long, default_value_t = 10)]
    pub seconds: u64,
    /// Starts of each server.
    #[arg(long, default_value_t = 30)]
    pub starts: usize,
    /// Digest every byte that arrives; slows the client.
    #[arg(long)]
    pub verify: bool,
    /// The framing spoken to loomd and the relay; the Node server knows `lsp` only.
    #[arg(long, value_enum, default_value = "lsp")]
    pub framing: Framing,
    /// Where the data directories are made; the disk that is to be measured.
    #[arg(long, default_value = env!("CARGO_TARGET_TMPDIR"))]
    pub work: PathBuf,
    #[arg(long, value_enum, default_value = "markdown")]
    pub format: Format,
    /// Given by `cargo bench`; without it, and without `--smoke`, nothing is measured.
    #[arg(long, hide = true)]
    pub bench: bool,
    /// Given by test runners to list tests; there are none here.
    #[arg(long, hide = true)]
    pub list: bool,
}

#[derive(Subcommand)]
pub(crate) enum Part {
    /// The relay, on stdin and stdout.
    Relay,
    /// A program to be run by a server.
    Generate {
        #[command(subcommand)]
        program: generate::Program,
    },
}

/// A server that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Server {
    Loomd,
    /// The minimal relay that stores nothing.
    Relay,
    /// The Node server, as one would write it first.
    Node,
}

impl Server {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Server::Loomd => "loomd",
            Server::Relay => "relay",
            Server::Node => "node",
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Load {
    /// As many log lines as are taken.
    Flood,
    /// A flood to a client that reads nothing for ten seconds.
    Stall,
    /// Lines at a steady pace.
    Latency,
    /// From spawn to an answer, from a start to the first output.
    Start,
    /// What a quiet stream writes to the disk.
    Written,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Markdown,
    Json,
}
