//! One long run: sealed, read and found again, by the store itself, through a server, and beside SQLite.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use loomd::{
    history::{Forward, Found, History},
    log::{RunDir, follow},
    model::{Run, RunId, RunState},
    process::lock::Lock,
    store::Store,
};
use serde_json::{Value, json};

use crate::{
    logs::{CHUNK, build_log},
    median,
    served::Served,
};

/// How often what can be repeated is.
const TURNS: usize = 5;
const LAST_LINES: u64 = 200;

/// Searches that find nothing, so that they go through everything.
const SEARCHES: [(&str, &str); 3] = [
    ("a text", r#"{"query": "error[E0382]"}"#),
    ("a text in any case", r#"{"query": "error[e0382]", "ignoreCase": true}"#),
    ("an expression", r#"{"query": "\\bpanicked at .*:\\d+", "regex": true}"#),
];

/// Writes a log of so many bytes with a real run, keeps it from being sealed while it is read from its directory, and lets it go then.
pub fn measure(bytes: u64) -> io::Result<()> {
    let data = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let written = write_log(&data.path().join("log"), bytes)?;
    let history = History { runs: data.path().join("data/runs"), store: Store::at(data.path().join("data")) };
    let mut served = Served::spawn(&data.path().join("data"))?;
    let started = served.call("run/start", json!({"provider": "command", "command": ["cat", data.path().join("log")]}))?;
    let run = started["run"]["id"].as_str().unwrap_or_default().to_owned();
    let id: RunId = run.parse().map_err(io::Error::other)?;
    let dir = RunDir::of(&history.runs, id);
    let lock = loop {
        if let Some(lock) = Lock::try_take_or_create(&dir.seal())? {
            break lock;
        }
    };
    served.ended()?;
    let turns = |served: &mut Served, turn: fn(&mut Served, &str) -> io::Result<f64>| {
        (0..TURNS).map(|_| turn(served, &run)).collect::<io::Result<Vec<f64>>>().map(median)
    };
    let (attach_log, read_log) = (turns(&mut served, Served::attach)?, turns(&mut served, Served::read)?);
    let scan_log = seconds(|| read_through(&history, id))?;
    let sealing = seal_aside(&dir, id, data.path())?;
    drop(lock);
    let begun = Instant::now();
    while dir.path().exists() {
        thread::sleep(Duration::from_millis(1));
    }
    let gone = begun.elapsed().as_secs_f64();
    let (attach, read) = (turns(&mut served, Served::attach)?, turns(&mut served, Served::read)?);
    let scan = seconds(|| read_through(&history, id))?;
    let searched = SEARCHES.map(|(_, params)| seconds(|| search(&mut served, &run, params)));
    served.leave()?;

    let rate = |seconds: f64| written as f64 / seconds / 1e6;
    println!("\n| one run of {} MB | figure | goal |\n|---|---|---|", written / 1_000_000);
    println!("| sealing, on one core | {:.0} MB/s | ≥ 100 |", rate(sealing));
    println!("| its directory is gone, after the seal was free | {gone:.2} s | |");
    println!("| `run/attach` from 0, log | {:.0} MB/s | |", rate(attach_log));
    println!("| `run/attach` from 0, sealed | {:.0} MB/s, {:.2} of the log's | ≥ 0.9 |", rate(attach), attach_log / attach);
    println!("| `run/read` in pages of 4 MiB, log | {:.0} MB/s | |", rate(read_log));
    println!("| `run/read` in pages of 4 MiB, sealed | {:.0} MB/s, {:.2} of the log's | ≥ 1 |", rate(read), read_log / read);
    println!("| read in the process, log | {:.0} MB/s | |", rate(scan_log));
    println!("| read in the process, sealed | {:.0} MB/s | |", rate(scan));
    for ((what, _), seconds) in SEARCHES.into_iter().zip(searched) {
        println!("| `run/search`, {what}, nothing found | {:.0} MB/s | ≥ 500 |", rate(seconds?));
    }
    let text = |offset| history.text(id, None, offset, 4 << 10).map(drop).map_err(io::Error::other);
    found("4 KiB at any offset", 3.0, (0..50).map(|at| seconds(|| text(written / 50 * at))))?;
    let last = || history.last_lines(id, None, LAST_LINES, 1 << 20).map(drop).map_err(io::Error::other);
    found("last 200 lines", 1.0, (0..20).map(|_| seconds(last)))?;
    sqlite(data.path())
}

fn found(what: &str, goal: f64, times: impl Iterator<Item = io::Result<f64>>) -> io::Result<()> {
    let mut times = times.collect::<io::Result<Vec<f64>>>()?;
    times.sort_by(f64::total_cmp);
    let (middle, worst) = (times[times.len() / 2], times[times.len() - 1]);
    println!("| {what}, median (worst) | {:.2} ms ({:.2}) | ≤ {goal} ms |", middle * 1e3, worst * 1e3);
    Ok(())
}

fn write_log(path: &Path, bytes: u64) -> io::Result<u64> {
    let (mut file, mut written, mut turn) = (File::create(path)?, 0, 0);
    while written < bytes {
        turn += 1;
        let log = build_log(turn, turn).output;
        file.write_all(&log)?;
        written += log.len() as u64;
    }
    Ok(written)
}

pub fn seconds(work: impl FnOnce() -> io::Result<()>) -> io::Result<f64> {
    let begun = Instant::now();
    work()?;
    Ok(begun.elapsed().as_secs_f64())
}

fn read_through(history: &History, id: RunId) -> io::Result<()> {
    let (mut reader, mut lines) = (Forward::new(id, 0), Vec::new());
    loop {
        lines.clear();
        if reader.read(history, 256 << 10, &mut lines).map_err(io::Error::other)? == Found::Nothing {
            return Ok(());
        }
    }
}

/// Seals a log into a store beside the real one, on this thread.
fn seal_aside(dir: &RunDir, id: RunId, data: &Path) -> io::Result<f64> {
    let store = Store::at(data.join("aside"));
    let run = loomd::log::head::picture(dir)?;
    store.put_run(&Run { permissions: Vec::new(), ..run.clone() }, None, || true).map_err(io::Error::other)?;
    seconds(|| {
        for first in dir.segments()? {
            let file = File::open(dir.segment(first))?;
            let (mut position, mut lines) = (0, Vec::new());
            loop {
                lines.clear();
                let read = follow::whole_lines(&file, position, 2 << 20, &mut lines)?;
                if read == 0 {
                    break;
                }
                position += read as u64;
                store.seal(id, &lines).map_err(io::Error::other)?;
            }
        }
        store.finish(&Run { state: RunState::Succeeded, ..run.clone() }).map(drop).map_err(io::Error::other)
    })
}

fn search(served: &mut Served, run: &str, params: &str) -> io::Result<()> {
    let mut params: Value = serde_json::from_str(params)?;
    params["runId"] = run.into();
    loop {
        let page = served.call("run/search", params.clone())?;
        if page["hits"].as_array().is_none_or(|hits| !hits.is_empty()) {
            return Err(io::Error::other("a search found what is not there"));
        }
        match page["nextCursor"].as_str() {
            Some(next) => params["cursor"] = next.into(),
            None => return Ok(()),
        }
    }
}

/// The same bytes as rows of a usual database.
fn sqlite(data: &Path) -> io::Result<()> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/store/rows.py");
    let measured =
        Command::new("python3").arg(script).arg(data.join("log")).arg(data.join("rows.sqlite")).arg(CHUNK.to_string()).output()?;
    if !measured.status.success() {
        println!("| SQLite is left out: {} | | |", String::from_utf8_lossy(&measured.stderr).lines().last().unwrap_or_default());
        return Ok(());
    }
    print!("{}", String::from_utf8_lossy(&measured.stdout));
    fs::remove_file(data.join("rows.sqlite"))
}
