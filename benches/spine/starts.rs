//! How soon a server answers after its spawn, and how soon a program's first output is there.

use std::{io, time::Duration};

use crate::{
    client::{Event, Reading},
    contenders::Server,
    figures::{self, Figures},
    processes::monotonic_ns,
    servers::{Bench, Session},
};

const NEVER: Duration = Duration::from_secs(60);

pub fn measure(bench: &Bench, samples: usize, figures: &mut Figures) -> io::Result<()> {
    eprintln!("starts: {samples} of each");
    for &server in &bench.servers {
        warm_up(bench, server)?;
    }
    for server in bench.turns(samples) {
        let (initialize, first_output) = start(bench, server)?;
        figures.record("start, warm store", &figures::INITIALIZE, server, initialize);
        figures.record("start, warm store", &figures::FIRST_OUTPUT, server, first_output);
    }
    Ok(())
}

/// Makes the store, and has the program's pages in memory.
pub fn warm_up(bench: &Bench, server: Server) -> io::Result<()> {
    start(bench, server).map(drop)
}

fn start(bench: &Bench, server: Server) -> io::Result<(f64, f64)> {
    let session = bench.open(server, bench.warm_dir(server), Reading::Digest, NEVER)?;
    session.conduct(echo).map(|(times, _)| times)
}

/// Milliseconds from the spawn to the answer, and from `run/start` to the first output.
fn echo(session: &mut Session) -> io::Result<(f64, f64)> {
    let answered = session.client.initialize()?;
    let begun = monotonic_ns();
    session.client.start(&["echo".to_owned(), "first".to_owned()])?;
    let mut first = None;
    session.wait_for(|event| {
        if let Event::FirstOutput { at } = event {
            first = Some(at);
        }
        matches!(event, Event::Final { .. }).then_some(())
    })?;
    let first = first.ok_or_else(|| io::Error::other("no output came"))?;
    Ok(((answered - session.client.spawned_at) as f64 / 1e6, (first - begun) as f64 / 1e6))
}
