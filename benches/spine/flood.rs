//! The loads `flood` and `stall`: log lines as fast as the server takes them, to a client that drains, and to one that
//! reads nothing for a while.

use std::{
    io,
    time::{Duration, Instant},
};

use crate::{
    client::{Event, ReadMode},
    figures::{self, Figures},
    generate::FloodText,
    options::Server,
    servers::{Bench, Session},
};

/// How often the memory of the server's processes is read.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(50);

/// What one flood measured.
struct FloodResult {
    seconds: f64,
    seconds_to_quiet: f64,
    writer_seconds: f64,
    server_end: u64,
    server_peak: u64,
    supervisor_peak: Option<u64>,
}

pub(crate) fn measure(bench: &Bench, bytes: u64, figures: &mut Figures) -> io::Result<()> {
    let digest = bench.verify.then(|| FloodText::new().digest(bytes));
    let load = format!("flood of {} MB", bytes / 1_000_000);
    for server in bench.interleaved(bench.rounds) {
        eprintln!("{load}: {}", server.name());
        let read_mode = if bench.verify { ReadMode::Digest } else { ReadMode::Offsets };
        let (result, session_result) = bench.open_fresh(server, read_mode, SAMPLE_INTERVAL)?.run(|session| flood(session, bench, bytes))?;
        if session_result.output.bytes != bytes || session_result.output.digest != digest {
            return Err(io::Error::other(format!("{}: {} of {bytes} bytes came, or others", server.name(), session_result.output.bytes)));
        }
        figures.record(&load, &figures::THROUGHPUT, server, bytes as f64 / 1e6 / result.seconds);
        figures.record(&load, &figures::CPU, server, session_result.usage.cpu.as_secs_f64());
        figures.record(&load, &figures::QUIET, server, result.seconds_to_quiet);
        record_memory(&load, server, &result, figures);
    }
    Ok(())
}

pub(crate) fn measure_stalled(bench: &Bench, bytes: u64, stall: Duration, figures: &mut Figures) -> io::Result<()> {
    let load = format!("{} MB, client stalled {} s", bytes / 1_000_000, stall.as_secs());
    let drained = format!("{} MB, client draining", bytes / 1_000_000);
    for server in bench.interleaved(bench.rounds) {
        for (load, read_mode) in [(&drained, ReadMode::Offsets), (&load, ReadMode::Stall(stall))] {
            eprintln!("{load}: {}", server.name());
            let (result, session_result) =
                bench.open_fresh(server, read_mode, SAMPLE_INTERVAL)?.run(|session| flood(session, bench, bytes))?;
            if session_result.output.bytes != bytes {
                return Err(io::Error::other(format!("{}: {} of {bytes} bytes came", server.name(), session_result.output.bytes)));
            }
            figures.record(load, &figures::WRITER_TIME, server, result.writer_seconds);
            record_memory(load, server, &result, figures);
        }
    }
    Ok(())
}

fn flood(session: &mut Session, bench: &Bench, bytes: u64) -> io::Result<FloodResult> {
    session.client.initialize()?;
    let started_at = crate::processes::monotonic_ns();
    session.client.start(&bench.generator("flood", &[("bytes", bytes)]))?;
    let ended_at = session.wait_for(|event| if let Event::Final { at, .. } = event { Some(at) } else { None })?;
    let memory = session.tree.memory();
    let finished = Instant::now();
    session.wait_reports(1)?;
    session.wait_quiet()?;
    Ok(FloodResult {
        seconds: (ended_at - started_at) as f64 / 1e9,
        seconds_to_quiet: finished.elapsed().as_secs_f64(),
        writer_seconds: session.reports[0].elapsed_ns as f64 / 1e9,
        server_end: memory.server.now,
        // Read again, because sealing comes after the flood and counts for the peak.
        server_peak: session.tree.memory().server.peak,
        supervisor_peak: memory.others.values().map(|memory| memory.peak).max(),
    })
}

fn record_memory(load: &str, server: Server, result: &FloodResult, figures: &mut Figures) {
    figures.record(load, &figures::SERVER_MEMORY, server, result.server_end as f64 / 1e6);
    figures.record(load, &figures::SERVER_PEAK, server, result.server_peak as f64 / 1e6);
    if let Some(peak) = result.supervisor_peak {
        figures.record(load, &figures::SUPERVISOR_PEAK, server, peak as f64 / 1e6);
    }
}
