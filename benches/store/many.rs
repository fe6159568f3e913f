//! Many small runs, and, if asked for, some large ones beside them: how soon a server answers then.

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
    median,
    sealed::seconds,
    served::Served,
};

const TURNS: usize = 20;

/// `filler`: MiB of incompressible output that is put in first, in runs of 256.
pub fn measure(count: usize, filler: usize) -> io::Result<()> {
    let data = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let store = Store::at(data.path());
    for number in 0..filler / 256 {
        let log = Log { output: noise(number as u64, 256 << 20), updates: Vec::new() };
        put_as(&store, run_of(RunId::new(), "noise"), &log, RunState::Succeeded)?;
    }
    let begun = Instant::now();
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
    let filled = begun.elapsed().as_secs_f64() / count as f64;
    let stats = store.stats().map_err(io::Error::other)?;
    drop(store);

    println!("\n| {count} small runs, in a file of {} MB | figure | goal |\n|---|---|---|", stats.file_bytes / 1_000_000);
    println!("| told, sealed, finished by the store | {:.2} ms each | |", filled * 1e3);
    println!("| the file, for each run | {} bytes | |", stats.file_bytes / count.max(1) as u64);
    println!("| entries beside the file | {} | |", fs::read_dir(data.path())?.count() - 1);
    let clean = starts(data.path(), Served::leave)?;
    println!("| `initialize` after a clean end, median (worst) | {} | ≤ 10 ms |", in_ms(&clean));
    let killed = starts(data.path(), Served::kill)?;
    println!("| `initialize` after `kill -9`, median (worst) | {} | ≤ 30 ms |", in_ms(&killed));

    let mut served = Served::spawn(data.path())?;
    for (what, goal, params) in [
        ("first page", 1, json!({})),
        ("by label (20 runs have it)", 3, json!({"label": {"job": "nightly-1"}})),
        ("by state (one of a hundred)", 1, json!({"states": ["failed"]})),
        ("by state (live ones, of which there are none)", 1, json!({"states": ["running"]})),
        ("by a session that is not there", 1, json!({"sessionId": "none"})),
    ] {
        let times: Vec<f64> =
            (0..TURNS).map(|_| seconds(|| served.call("run/list", params.clone()).map(drop))).collect::<io::Result<_>>()?;
        println!("| `run/list`, {what}, median (worst) | {} | ≤ {goal} ms |", in_ms(&times));
    }
    let newest = served.call("run/list", json!({"limit": 1}))?["runs"][0]["id"].clone();
    let before = served.written()?;
    for turn in 0..TURNS {
        edit(&mut served, &newest, turn)?;
    }
    println!("| written for one edited title | {} KB | |", (served.written()? - before) / TURNS as u64 / 1000);
    let pruned = Instant::now();
    let answer = served.call("store/prune", json!({"keepRuns": count as u64 * 9 / 10}))?;
    let [runs, bytes] = ["deletedRuns", "freedBytes"].map(|name| answer[name].as_u64().unwrap_or_default());
    println!("| `store/prune` to nine tenths | {runs} runs and {} MB in {:.2} s | |", bytes / 1_000_000, pruned.elapsed().as_secs_f64());
    served.leave()?;
    let file = fs::metadata(data.path().join("loomd.redb"))?;
    println!("| the file after that | {} MB, {} MB of blocks | |", file.len() / 1_000_000, file.blocks() * 512 / 1_000_000);
    Ok(())
}

fn edit(served: &mut Served, run: &Value, turn: usize) -> io::Result<()> {
    served.call("run/edit", json!({"runId": run, "title": format!("title {turn}")})).map(drop)
}

/// Servers that come and go; each changes something, so that its end is worth something.
fn starts(data: &Path, end: fn(Served) -> io::Result<()>) -> io::Result<Vec<f64>> {
    let mut times = Vec::new();
    for turn in 0..TURNS {
        let mut served = Served::spawn(data)?;
        times.push(served.initialized_in);
        let newest = served.call("run/list", json!({"limit": 1}))?["runs"][0]["id"].clone();
        edit(&mut served, &newest, turn)?;
        end(served)?;
    }
    // The first one followed whatever was before.
    times.remove(0);
    Ok(times)
}

fn in_ms(times: &[f64]) -> String {
    let worst = times.iter().copied().fold(0.0, f64::max);
    format!("{:.2} ms ({:.2})", median(times.to_vec()) * 1e3, worst * 1e3)
}
