//! The part `many`: how soon a server responds with many small runs in its store, and, if wanted, some large ones.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::MetadataExt,
    path::Path,
    time::Instant,
};

use loomd::{
    model::{RunId, RunState},
    store::Store,
};
use serde_json::{Value, json};

use crate::{
    logs::{Log, noise, put_as, run_of},
    long_run::seconds,
    median,
    server::LoomdProcess,
};

/// How often each call is measured.
const REPEATS: usize = 20;

/// Measures with `count` small runs. `filler`: MiB of incompressible output that is put in first, in runs of 256 MiB.
pub(crate) fn measure(count: usize, filler: usize) -> io::Result<()> {
    let data = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let store = Store::at(data.path());
    for number in 0..filler / 256 {
        let log = Log { output: noise(number as u64, 256 << 20), updates: Vec::new() };
        put_as(&store, run_of(RunId::new(), "noise"), &log, RunState::Succeeded)?;
    }
    let started_at = Instant::now();
    for number in 0..count {
        let mut log = Log { output: Vec::new(), updates: Vec::new() };
        for line in 0..20 {
            writeln!(log.output, "line {line} of small run {number}")?;
        }
        let mut run = run_of(RunId::new(), "true");
        run.labels.insert("job".to_owned(), format!("nightly-{}", number % (count / 20).max(1)));
        let state = if number % 100 == 0 { RunState::Failed } else { RunState::Succeeded };
        put_as(&store, run, &log, state)?;
    }
    let seconds_each = started_at.elapsed().as_secs_f64() / count as f64;
    let stats = store.stats().map_err(io::Error::other)?;
    drop(store);

    println!("\n| {count} small runs, in a file of {} MB | figure | goal |\n|---|---|---|", stats.file_bytes / 1_000_000);
    println!("| recorded, sealed and finished by the store | {:.2} ms each | |", seconds_each * 1e3);
    println!("| on disk for each | {} bytes | |", stats.file_bytes / count.max(1) as u64);
    println!("| files beside the database | {} | |", fs::read_dir(data.path())?.count() - 1);
    let clean = starts(data.path(), LoomdProcess::shut_down)?;
    println!("| `initialize` after a clean end, median (worst) | {} | ≤ 10 ms |", in_ms(&clean));
    let killed = starts(data.path(), LoomdProcess::kill)?;
    println!("| `initialize` after `kill -9`, median (worst) | {} | ≤ 30 ms |", in_ms(&killed));

    let mut server = LoomdProcess::spawn(data.path())?;
    let mut list = |params: Value| -> io::Result<String> {
        let times = (0..REPEATS).map(|_| seconds(|| server.call("run/list", params.clone()).map(drop)));
        Ok(in_ms(&times.collect::<io::Result<Vec<f64>>>()?))
    };
    println!("| `run/list`, first page | {} | ≤ 1 ms |", list(json!({}))?);
    // Each label is that of twenty runs, one run of a hundred has failed, and none is live.
    println!("| by label | {} | ≤ 3 ms |", list(json!({"label": {"job": "nightly-1"}}))?);
    let (failed, live) = (list(json!({"states": ["failed"]}))?, list(json!({"states": ["running"]}))?);
    println!("| by a final state; by states that are live | {failed}; {live} | ≤ 1 ms |");
    println!("| a session that does not exist | {} | |", list(json!({"sessionId": "none"}))?);
    let newest = server.call("run/list", json!({"limit": 1}))?["runs"][0]["id"].clone();
    let before = server.written()?;
    for turn in 0..REPEATS {
        edit(&mut server, &newest, turn)?;
    }
    println!("| an edited title, written to the disk | {} KB | |", (server.written()? - before) / REPEATS as u64 / 1000);
    let prune_started_at = Instant::now();
    let answer = server.call("store/prune", json!({"keepRuns": count as u64 * 9 / 10}))?;
    let pruned_in = prune_started_at.elapsed();
    let [runs, bytes] = ["deletedRuns", "freedBytes"].map(|name| answer[name].as_u64().unwrap_or_default());
    println!("| pruning {runs} of them | {:.2} s, {} MB freed | |", pruned_in.as_secs_f64(), bytes / 1_000_000);
    server.shut_down()?;
    let file = fs::metadata(data.path().join("loomd.redb"))?;
    println!("| the file after pruning | {} MB, {} MB of blocks | |", file.len() / 1_000_000, file.blocks() * 512 / 1_000_000);
    Ok(())
}

fn edit(server: &mut LoomdProcess, run: &Value, turn: usize) -> io::Result<()> {
    server.call("run/edit", json!({"runId": run, "title": format!("title {turn}")})).map(drop)
}

/// The seconds to `initialize` of servers that are started and ended by `end` one after the other. Each writes
/// something, so that the end of one can delay the start of the next.
fn starts(data: &Path, end: fn(LoomdProcess) -> io::Result<()>) -> io::Result<Vec<f64>> {
    let mut times = Vec::new();
    for turn in 0..REPEATS {
        let mut server = LoomdProcess::spawn(data)?;
        times.push(server.initialize_seconds);
        let newest = server.call("run/list", json!({"limit": 1}))?["runs"][0]["id"].clone();
        edit(&mut server, &newest, turn)?;
        end(server)?;
    }
    // The first server did not follow one that `end` had ended.
    times.remove(0);
    Ok(times)
}

fn in_ms(times: &[f64]) -> String {
    let worst = times.iter().copied().fold(0.0, f64::max);
    format!("{:.2} ms ({:.2})", median(times.to_vec()) * 1e3, worst * 1e3)
}
