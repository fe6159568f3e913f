//! Lines at a steady pace: how long each takes from its writing to the client, and what a quiet stream costs the disk.

use std::{fs, io, os::unix::fs::MetadataExt, path::Path, time::Duration};

use crate::{
    client::{Event, Reading},
    figures::{self, Figures, percentile},
    processes::monotonic_ns,
    servers::{Bench, Session},
};

/// Runs at once, and lines a second of each.
pub const SETTINGS: [(u64, u64); 3] = [(1, 200), (10, 200), (50, 20)];

/// Time for all programs to be started before the first line is due.
const HEAD_START_NS: u64 = 1_500_000_000;

pub fn measure_latency(bench: &Bench, seconds: u64, figures: &mut Figures) -> io::Result<()> {
    for (runs, per_second) in SETTINGS {
        let load = format!("{runs} × {per_second} lines/s");
        for server in bench.turns(bench.rounds) {
            eprintln!("{load}: {}", server.name());
            // Sampling would stand in the way of what is measured.
            let session = bench.open_fresh(server, Reading::Latency, Duration::from_secs(60))?;
            let ((), ended) = session.conduct(|session| pace(session, bench, runs, per_second, seconds * per_second))?;
            let mut latencies: Vec<f64> = ended.output.latencies_ns.iter().map(|&ns| ns as f64 / 1e6).collect();
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

/// One stream on a store that is there already, everything counted that its keeping writes, to the sealed end.
pub fn measure_written(bench: &Bench, seconds: u64, figures: &mut Figures) -> io::Result<()> {
    const PER_SECOND: u64 = 200;
    let load = format!("{PER_SECOND} lines/s for {seconds} s");
    for server in bench.turns(bench.rounds) {
        eprintln!("{load}: {}", server.name());
        crate::starts::warm_up(bench, server)?;
        let before = disk_written(bench.work());
        let session = bench.open(server, bench.warm_dir(server), Reading::Latency, Duration::from_secs(60))?;
        let (bytes, ended) = session.conduct(|session| {
            pace(session, bench, 1, PER_SECOND, seconds * PER_SECOND)?;
            Ok(session.reports[0].bytes)
        })?;
        let after = disk_written(bench.work());
        figures.record(&load, &figures::ACCOUNTED, server, ended.used.written as f64 / bytes as f64);
        if let (Some(before), Some(after)) = (before, after) {
            figures.record(&load, &figures::WRITTEN, server, (after - before) as f64 / bytes as f64);
        }
    }
    Ok(())
}

/// What the disk under a directory was sent since the system's start, with everything dirty synced; none where the file
/// system has no single disk. It is the whole machine's figure, and the only true one: the account of a process charges a
/// whole folio, up to megabytes, for a byte that is changed in it.
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
        // Spread over the interval, as programs that know nothing of each other are.
        let begin = begin + run * 1_000_000_000 / per_second / runs;
        session.client.start(&bench.generator("paced", &[("lines", lines), ("per-second", per_second), ("begin-ns", begin)]))?;
    }
    let mut ended = 0;
    session.wait_for(|event| {
        ended += u64::from(matches!(event, Event::Final { .. }));
        (ended == runs).then_some(())
    })?;
    session.take_reports(runs as usize)
}
