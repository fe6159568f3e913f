//! The load `start`: how soon a server responds after its spawn, and how soon a program's first output arrives.

use std::{io, time::Duration};

use crate::{
    client::{Event, ReadMode},
    figures::{self, Figures},
    options::Server,
    processes::monotonic_ns,
    servers::{Bench, Session},
};

/// A sampling interval longer than any session, so that memory is read only once.
const UNSAMPLED: Duration = Duration::from_secs(60);

pub(crate) fn measure(bench: &Bench, samples: usize, figures: &mut Figures) -> io::Result<()> {
    eprintln!("starts: {samples} of each");
    for &server in &bench.servers {
        warm_up(bench, server)?;
    }
    for server in bench.interleaved(samples) {
        let (initialize, first_output) = start(bench, server)?;
        figures.record("start, warm store", &figures::INITIALIZE, server, initialize);
        figures.record("start, warm store", &figures::FIRST_OUTPUT, server, first_output);
    }
    Ok(())
}

/// Starts the server once, so that its store exists and the program's pages are in memory.
pub(crate) fn warm_up(bench: &Bench, server: Server) -> io::Result<()> {
    start(bench, server).map(drop)
}

fn start(bench: &Bench, server: Server) -> io::Result<(f64, f64)> {
    let session = bench.open(server, bench.warm_dir(server), ReadMode::Digest, UNSAMPLED)?;
    session.run(echo).map(|(times, _)| times)
}

/// Milliseconds from the spawn to the response to `initialize`, and from `run/start` to the first output.
fn echo(session: &mut Session) -> io::Result<(f64, f64)> {
    let initialized_at = session.client.initialize()?;
    let started_at = monotonic_ns();
    session.client.start(&["echo".to_owned(), "first".to_owned()])?;
    let mut first_output_at = None;
    session.wait_for(|event| {
        if let Event::FirstOutput { at } = event {
            first_output_at = Some(at);
        }
        matches!(event, Event::Final { .. }).then_some(())
    })?;
    let first_output_at = first_output_at.ok_or_else(|| io::Error::other("no output came"))?;
    Ok(((initialized_at - session.client.spawned_at) as f64 / 1e6, (first_output_at - started_at) as f64 / 1e6))
}
