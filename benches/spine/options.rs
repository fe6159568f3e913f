//! The command line: which servers and loads, how big and how often, and what the figures are printed as.

use std::{io, path::PathBuf, time::Duration};

use clap::{Parser, Subcommand, ValueEnum};

use crate::{
    figures::Figures,
    flood,
    frames::Framing,
    generate, paced, processes, relay, report,
    servers::{Bench, Server},
    starts,
};

/// Measures loomd beside a minimal relay and a Node server in the usual manner, turn by turn.
#[derive(Parser)]
#[command(name = "spine", disable_version_flag = true)]
pub struct Options {
    #[command(subcommand)]
    part: Option<Part>,
    /// A few megabytes and seconds, everything verified: shows that the bench works, not how fast anything is.
    #[arg(long)]
    pub smoke: bool,
    /// The loomd to measure.
    #[arg(long, default_value = env!("CARGO_BIN_EXE_loomd"))]
    pub loomd: PathBuf,
    #[arg(long, value_enum, value_delimiter = ',', default_value = "loomd,relay,node")]
    pub servers: Vec<Server>,
    #[arg(long, value_enum, value_delimiter = ',', default_value = "flood,stall,latency,start,written")]
    loads: Vec<Load>,
    /// Turns that each server gets in each load.
    #[arg(long, default_value_t = 5)]
    pub rounds: usize,
    /// Bytes of a flood.
    #[arg(long, default_value_t = 1_000_000_000)]
    bytes: u64,
    /// Bytes that are written while the client reads nothing.
    #[arg(long, default_value_t = 300_000_000)]
    stall_bytes: u64,
    /// Seconds of a paced stream.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Starts of each server.
    #[arg(long, default_value_t = 30)]
    starts: usize,
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
    format: Format,
    /// Given by `cargo bench`; without it, and without `--smoke`, nothing is measured.
    #[arg(long, hide = true)]
    bench: bool,
    /// Asked by test runners; there are no tests here.
    #[arg(long, hide = true)]
    list: bool,
}

#[derive(Subcommand)]
enum Part {
    /// The relay, on stdin and stdout.
    Relay,
    /// A program to be run by a server.
    Generate {
        #[command(subcommand)]
        program: generate::Program,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Load {
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
enum Format {
    Markdown,
    Json,
}

pub fn run() -> io::Result<()> {
    let mut options = Options::parse();
    match options.part {
        Some(Part::Relay) => return relay::serve(),
        Some(Part::Generate { program }) => return generate::run(program),
        None if options.list => return Ok(()),
        None if !options.bench && !options.smoke => {
            eprintln!("bench: nothing measured; it is run by `cargo bench --bench spine`");
            return Ok(());
        }
        None => {}
    }
    let mut stall = Duration::from_secs(10);
    if options.smoke {
        (options.rounds, options.bytes, options.stall_bytes, options.seconds, options.starts) = (1, 8_000_000, 8_000_000, 1, 2);
        options.verify = true;
        stall = Duration::from_secs(1);
    }
    measure(&options, stall)
}

fn measure(options: &Options, stall: Duration) -> io::Result<()> {
    let bench = Bench::new(options)?;
    processes::become_reaper()?;
    let mut figures = Figures::default();
    for load in &options.loads {
        let measured = match load {
            Load::Flood => flood::measure(&bench, options.bytes, &mut figures),
            Load::Stall => flood::measure_stalled(&bench, options.stall_bytes, stall, &mut figures),
            Load::Latency => paced::measure_latency(&bench, options.seconds, &mut figures),
            Load::Start => starts::measure(&bench, options.starts, &mut figures),
            Load::Written => paced::measure_written(&bench, options.seconds, &mut figures),
        };
        measured.inspect_err(|_| eprintln!("bench: what was made is kept in {}", bench.work().display()))?;
    }
    bench.clean()?;
    let settings = format!(
        "{} turns of each server, interleaved ({} for starts), {:?} framing{}",
        options.rounds,
        options.starts,
        options.framing,
        if options.verify { ", every byte digested by the client" } else { "" }
    );
    match options.format {
        Format::Markdown => print!("{}", report::to_table(&figures, &settings)),
        Format::Json => println!("{:#}", report::to_json(&figures, &settings)),
    }
    Ok(())
}
