//! The part `sealed`: one long run, sealed, read and searched in the store itself and through a server, and read from
//! SQLite.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use loomd::{
    history::{ForwardReader, History, ReadOutcome},
    log::{RunDir, follow},
    model::{Run, RunId, RunState},
    process::lock::Lock,
    store::Store,
};
use serde_json::{Value, json};

use crate::{
    logs::{CHUNK_BYTES, build_log},
    median,
    server::LoomdProcess,
};

/// How often attaching and reading are measured.
const REPEATS: usize = 5;
const LAST_LINES: u64 = 200;

/// Searches without a match, so that they read everything.
const SEARCHES: [(&str, &str); 3] = [
    ("a text", r#"{"query": "error[E0382]"}"#),
    ("ignoring case", r#"{"query": "error[e0382]", "ignoreCase": true}"#),
    ("an expression", r#"{"query": "\\bpanicked at .*:\\d+", "regex": true}"#),
];

/// Writes a log of this length with a real run. Holds its seal lock while the log is measured, then releases it and
/// measures the sealed run.
pub(crate) fn measure(bytes: u64) -> io::Result<()> {
    let data = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let written = write_log(&data.path().join("log"), bytes)?;
    let history = History { runs: data.path().join("data/runs"), store: Store::at(data.path().join("data")) };
    let mut server = LoomdProcess::spawn(&data.path().join("data"))?;
    let started = server.call("run/start", json!({"provider": "command", "command": ["cat", data.path().join("log")]}))?;
    let run = started["run"]["id"].as_str().unwrap_or_default().to_owned();
    let id: RunId = run.parse().map_err(io::Error::other)?;
    let dir = RunDir::of(&history.runs, id);
    let lock = loop {
        if let Some(lock) = Lock::try_take_or_create(&dir.seal())? {
            break lock;
        }
    };
    server.wait_final_state()?;
    let repeat = |server: &mut LoomdProcess, turn: fn(&mut LoomdProcess, &str) -> io::Result<f64>| {
        (0..REPEATS).map(|_| turn(server, &run)).collect::<io::Result<Vec<f64>>>().map(median)
    };
    let (attach_log, read_log) = (repeat(&mut server, LoomdProcess::attach)?, repeat(&mut server, LoomdProcess::read)?);
    let scan_log = seconds(|| read_through(&history, id))?;
    let sealing = seal_copy(&dir, id, data.path())?;
    drop(lock);
    let started_at = Instant::now();
    while dir.path().exists() {
        thread::sleep(Duration::from_millis(1));
    }
    let directory_gone_seconds = started_at.elapsed().as_secs_f64();
    let (attach, read) = (repeat(&mut server, LoomdProcess::attach)?, repeat(&mut server, LoomdProcess::read)?);
    let scan = seconds(|| read_through(&history, id))?;
    let searched = SEARCHES.map(|(_, params)| seconds(|| search(&mut server, &run, params)));
    server.shut_down()?;

    // The labels are those of the table in docs/performance.md.
    let rate = |seconds: f64| written as f64 / seconds / 1e6;
    let pair = |log: f64, sealed: f64| format!("{:.0}, {:.0} MB/s: {:.2}", rate(log), rate(sealed), log / sealed);
    println!("\n| one run of {} MB | figure | goal |\n|---|---|---|", written / 1_000_000);
    println!("| sealing, on one core | {:.0} MB/s | ≥ 100 |", rate(sealing));
    println!("| the directory is gone, counted from when the seal lock was free | {directory_gone_seconds:.2} s | 1 s |");
    println!("| `run/attach` from 0: log, sealed | {} | ≥ 0.9 of the log's |", pair(attach_log, attach));
    println!("| `run/read` in pages of 4 MiB: log, sealed | {} | ≥ 1 |", pair(read_log, read));
    println!("| read inside one process: log, sealed | {:.0}, {:.0} MB/s | |", rate(scan_log), rate(scan));
    let rates = SEARCHES.iter().zip(searched).map(|((kind, _), seconds)| Ok(format!("{:.0} ({kind})", rate(seconds?))));
    println!("| `run/search`, no match | {} MB/s | ≥ 500 |", rates.collect::<io::Result<Vec<_>>>()?.join(", "));
    let text = |offset| history.text(id, None, offset, 4 << 10).map(drop).map_err(io::Error::other);
    print_times("4 KiB at any offset", 3.0, (0..50).map(|at| seconds(|| text(written / 50 * at))))?;
    let last = || history.last_lines(id, None, LAST_LINES, 1 << 20).map(drop).map_err(io::Error::other);
    print_times("last 200 lines", 1.0, (0..20).map(|_| seconds(last)))?;
    sqlite(data.path())
}

fn print_times(label: &str, goal: f64, times: impl Iterator<Item = io::Result<f64>>) -> io::Result<()> {
    let mut times = times.collect::<io::Result<Vec<f64>>>()?;
    times.sort_by(f64::total_cmp);
    let (middle, worst) = (times[times.len() / 2], times[times.len() - 1]);
    println!("| {label}, median | {:.2} ms (worst {:.2}) | ≤ {goal} ms |", middle * 1e3, worst * 1e3);
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

pub(crate) fn seconds(work: impl FnOnce() -> io::Result<()>) -> io::Result<f64> {
    let started_at = Instant::now();
    work()?;
    Ok(started_at.elapsed().as_secs_f64())
}

fn read_through(history: &History, id: RunId) -> io::Result<()> {
    let (mut reader, mut lines) = (ForwardReader::new(id, 0), Vec::new());
    loop {
        lines.clear();
        if reader.read(history, 256 << 10, &mut lines).map_err(io::Error::other)? == ReadOutcome::Nothing {
            return Ok(());
        }
    }
}

/// Seals a log into another store, on this thread.
fn seal_copy(dir: &RunDir, id: RunId, data: &Path) -> io::Result<f64> {
    let store = Store::at(data.join("aside"));
    let run = loomd::log::head::snapshot(dir)?;
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

fn search(server: &mut LoomdProcess, run: &str, params: &str) -> io::Result<()> {
    let mut params: Value = serde_json::from_str(params)?;
    params["runId"] = run.into();
    loop {
        let page = server.call("run/search", params.clone())?;
        if page["hits"].as_array().is_none_or(|hits| !hits.is_empty()) {
            return Err(io::Error::other("a search found what is not there"));
        }
        match page["nextCursor"].as_str() {
            Some(next) => params["cursor"] = next.into(),
            None => return Ok(()),
        }
    }
}

/// Measures the same bytes as rows of an SQLite database.
fn sqlite(data: &Path) -> io::Result<()> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/store/rows.py");
    let measured =
        Command::new("python3").arg(script).arg(data.join("log")).arg(data.join("rows.sqlite")).arg(CHUNK_BYTES.to_string()).output()?;
    if !measured.status.success() {
        println!("| SQLite: skipped, {} | | |", String::from_utf8_lossy(&measured.stderr).lines().last().unwrap_or_default());
        return Ok(());
    }
    print!("{}", String::from_utf8_lossy(&measured.stdout));
    fs::remove_file(data.join("rows.sqlite"))
}
