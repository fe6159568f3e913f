//! The loads `latency` and `written`: lines at a steady pace, how long each takes from its writing to the client, and
//! what a slow stream writes to the disk.

use std::{fs, io, os::unix::fs::MetadataExt, path::Path, time::Duration};

use crate::{
    client::{Event, ReadMode},
    figures::{self, Figures, percentile},
    processes::monotonic_ns,
    servers::{Bench, Session},
};

/// Concurrent runs, and lines a second of each.
pub(crate) const RUNS_AND_RATES: [(u64, u64); 3] = [(1, 200), (10, 200), (50, 20)];

/// Time for all programs to be started before the first line is due.
const HEAD_START_NS: u64 = 1_500_000_000;

pub(crate) fn measure_latency(bench: &Bench, seconds: u64, figures: &mut Figures) -> io::Result<()> {
    for (runs, per_second) in RUNS_AND_RATES {
        let load = format!("{runs} × {per_second} lines/s");
        for server in bench.interleaved(bench.rounds) {
            eprintln!("{load}: {}", server.name());
            // Reading the memory of processes would disturb the latency, so the first reading is the only one.
            let session = bench.open_fresh(server, ReadMode::Latency, Duration::from_secs(60))?;
            let ((), session_result) = session.run(|session| pace(session, bench, runs, per_second, seconds * per_second))?;
            let mut latencies: Vec<f64> = session_result.output.latencies_ns.iter().map(|&ns| ns as f64 / 1e6).collect();
            latencies.sort_by(f64::total_cmp);
            let lines = runs * per_second * seconds;
            if latencies.len() as u64 != lines {
                return Err(io::Error::other(format!("{}: {} of {lines} lines came whole", server.name(), latencies.len())));
            }
            figures.record(&load, &figures::MEDIAN_LATENCY, server, percentile(&latencies, 0.5));
            figures.record(&load, &figures::P99_LATENCY, server, percentile(&latencies, 0.99));
            figures.record(&load, &figures::MAX_LATENCY, server, percentile(&latencies, 1.0));
        }
    }
    Ok(())
}

/// Measures what one stream writes to the disk, on a store that exists already, until the run is sealed.
pub(crate) fn measure_written(bench: &Bench, seconds: u64, figures: &mut Figures) -> io::Result<()> {
    const PER_SECOND: u64 = 200;
    let load = format!("{PER_SECOND} lines/s for {seconds} s");
    for server in bench.interleaved(bench.rounds) {
        eprintln!("{load}: {}", server.name());
        crate::starts::warm_up(bench, server)?;
        let before = disk_written(bench.work());
        let session = bench.open(server, bench.warm_dir(server), ReadMode::Latency, Duration::from_secs(60))?;
        let (bytes, session_result) = session.run(|session| {
            pace(session, bench, 1, PER_SECOND, seconds * PER_SECOND)?;
            Ok(session.reports[0].bytes)
        })?;
        let after = disk_written(bench.work());
        figures.record(&load, &figures::PROCESS_WRITES, server, session_result.usage.written as f64 / bytes as f64);
        if let (Some(before), Some(after)) = (before, after) {
            figures.record(&load, &figures::DISK_WRITES, server, (after - before) as f64 / bytes as f64);
        }
    }
    Ok(())
}

/// Bytes that were written to the disk under a directory since the system's start, after a sync; `None` if the file
/// system has no single disk. The figure is the whole machine's, but it is exact, while the account of a process is
/// charged a whole folio, up to megabytes, for a byte that is changed in it.
fn disk_written(path: &Path) -> Option<u64> {
    rustix::fs::sync();
    let device = fs::metadata(path).ok()?.dev();
    let path = format!("/sys/dev/block/{}:{}/stat", rustix::fs::major(device), rustix::fs::minor(device));
    let sectors: u64 = fs::read_to_string(path).ok()?.split_whitespace().nth(6)?.parse().ok()?;
    Some(sectors * 512)
}

fn pace(session: &mut Session, bench: &Bench, runs: u64, per_second: u64, lines: u64) -> io::Result<()> {
    session.client.initialize()?;
    let begin = monotonic_ns() + HEAD_START_NS;
    for run in 0..runs {
        // The runs are spread over the interval, like independent programs.
        let begin = begin + run * 1_000_000_000 / per_second / runs;
        session.client.start(&bench.generator("paced", &[("lines", lines), ("per-second", per_second), ("begin-ns", begin)]))?;
    }
    let mut ended_runs = 0;
    session.wait_for(|event| {
        ended_runs += u64::from(matches!(event, Event::Final { .. }));
        (ended_runs == runs).then_some(())
    })?;
    session.wait_reports(runs as usize)
}
