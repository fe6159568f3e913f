//! As many log lines as are taken: to a client that drains, and to one that reads nothing for a while.

use std::{
    io,
    time::{Duration, Instant},
};

use crate::{
    client::{Event, Reading},
    contenders::Server,
    figures::{self, Figures},
    generate::FloodText,
    servers::{Bench, Session},
};

const SAMPLE_EVERY: Duration = Duration::from_millis(50);

/// What is known when the final state has come.
struct Flooded {
    seconds: f64,
    seconds_to_quiet: f64,
    writer_seconds: f64,
    server_end: u64,
    server_peak: u64,
    supervisor_peak: Option<u64>,
}

pub fn measure(bench: &Bench, bytes: u64, figures: &mut Figures) -> io::Result<()> {
    let digest = bench.verify.then(|| FloodText::new().digest(bytes));
    let load = format!("flood of {} MB", bytes / 1_000_000);
    for server in bench.turns(bench.rounds) {
        eprintln!("{load}: {}", server.name());
        let reading = if bench.verify { Reading::Digest } else { Reading::Count };
        let (flooded, ended) = bench.open_fresh(server, reading, SAMPLE_EVERY)?.conduct(|session| flood(session, bench, bytes))?;
        if ended.output.bytes != bytes || ended.output.digest != digest {
            return Err(io::Error::other(format!("{}: {} of {bytes} bytes came, or others", server.name(), ended.output.bytes)));
        }
        figures.record(&load, &figures::THROUGHPUT, server, bytes as f64 / 1e6 / flooded.seconds);
        figures.record(&load, &figures::CPU, server, ended.used.cpu.as_secs_f64());
        figures.record(&load, &figures::QUIET, server, flooded.seconds_to_quiet);
        record_memory(&load, server, &flooded, figures);
    }
    Ok(())
}

pub fn measure_stalled(bench: &Bench, bytes: u64, stall: Duration, figures: &mut Figures) -> io::Result<()> {
    let load = format!("{} MB, client stalled {} s", bytes / 1_000_000, stall.as_secs());
    let drained = format!("{} MB, client draining", bytes / 1_000_000);
    for server in bench.turns(bench.rounds) {
        for (load, reading) in [(&drained, Reading::Count), (&load, Reading::Stall(stall))] {
            eprintln!("{load}: {}", server.name());
            let (flooded, ended) = bench.open_fresh(server, reading, SAMPLE_EVERY)?.conduct(|session| flood(session, bench, bytes))?;
            if ended.output.bytes != bytes {
                return Err(io::Error::other(format!("{}: {} of {bytes} bytes came", server.name(), ended.output.bytes)));
            }
            figures.record(load, &figures::WRITER_TIME, server, flooded.writer_seconds);
            record_memory(load, server, &flooded, figures);
        }
    }
    Ok(())
}

fn flood(session: &mut Session, bench: &Bench, bytes: u64) -> io::Result<Flooded> {
    session.client.initialize()?;
    let begun = crate::processes::monotonic_ns();
    session.client.start(&bench.generator("flood", &[("bytes", bytes)]))?;
    let ended = session.wait_for(|event| if let Event::Final { at, .. } = event { Some(at) } else { None })?;
    let memory = session.tree.memory();
    let finished = Instant::now();
    session.take_reports(1)?;
    session.wait_quiet()?;
    Ok(Flooded {
        seconds: (ended - begun) as f64 / 1e9,
        seconds_to_quiet: finished.elapsed().as_secs_f64(),
        writer_seconds: session.reports[0].elapsed_ns as f64 / 1e9,
        server_end: memory.server.now,
        // Sealing comes after the flood, and counts.
        server_peak: session.tree.memory().server.peak,
        supervisor_peak: memory.others.values().map(|memory| memory.peak).max(),
    })
}

fn record_memory(load: &str, server: Server, flooded: &Flooded, figures: &mut Figures) {
    figures.record(load, &figures::SERVER_MEMORY, server, flooded.server_end as f64 / 1e6);
    figures.record(load, &figures::SERVER_PEAK, server, flooded.server_peak as f64 / 1e6);
    if let Some(peak) = flooded.supervisor_peak {
        figures.record(load, &figures::SUPERVISOR_PEAK, server, peak as f64 / 1e6);
    }
}
