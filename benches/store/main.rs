//! Measures the store: how small logs become, how fast they are sealed, and how fast they are read.
//! `cargo bench --bench store -- --help` lists the options; docs/performance.md has the goals.

#[allow(dead_code, reason = "the other bench needs more of it")]
#[path = "../spine/frames.rs"]
mod frames;
mod logs;
mod long_run;
mod server;
mod sizes;
mod small_runs;

use std::{io, process::ExitCode};

use clap::{Parser, ValueEnum};

/// Measures the store by itself and through a server, on logs that it makes.
#[derive(Parser)]
#[command(name = "store", disable_version_flag = true)]
struct Options {
    /// A twentieth of everything: shows that the bench works, not how fast anything is.
    #[arg(long)]
    smoke: bool,
    #[arg(long, value_enum, value_delimiter = ',', default_value = "sizes,repeats,sealed,many")]
    parts: Vec<Part>,
    /// MB of the long run.
    #[arg(long, default_value_t = 1000)]
    megabytes: u64,
    /// Small runs.
    #[arg(long, default_value_t = 10_000)]
    runs: usize,
    /// MiB of incompressible output beside the small runs.
    #[arg(long, default_value_t = 0)]
    filler: usize,
    /// Given by `cargo bench`; without it, and without `--smoke`, nothing is measured.
    #[arg(long, hide = true)]
    bench: bool,
    /// Given by test runners to list tests; there are none here.
    #[arg(long, hide = true)]
    list: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// How small logs become.
    Sizes,
    /// What output takes that the store has already.
    Repeats,
    /// One long run, sealed and read.
    Sealed,
    /// Many small runs.
    Many,
}

fn main() -> ExitCode {
    let options = Options::parse();
    if options.list || !(options.bench || options.smoke) {
        return ExitCode::SUCCESS;
    }
    match measure(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(options: &Options) -> io::Result<()> {
    let share = if options.smoke { 20 } else { 1 };
    for part in &options.parts {
        match part {
            Part::Sizes => sizes::measure(share)?,
            Part::Repeats => sizes::measure_repeats(share)?,
            Part::Sealed => long_run::measure(options.megabytes * 1_000_000 / share as u64)?,
            Part::Many => small_runs::measure(options.runs / share, options.filler)?,
        }
    }
    Ok(())
}

/// The median of values, of which there must be at least one.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
