//! Runs the bench: each load with each server in turn, and the figures at the end.

use std::{io, time::Duration};

use clap::Parser;

use crate::{
    figures::Figures,
    flood, generate,
    options::{Format, Load, Options, Part},
    paced, processes, relay, report,
    servers::Bench,
    starts,
};

pub(crate) fn run() -> io::Result<()> {
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
        measured.inspect_err(|_| eprintln!("bench: the work directory {} is kept", bench.work().display()))?;
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
