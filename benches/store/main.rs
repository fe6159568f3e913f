//! What the store makes of logs: how small, how fast in, how fast out. `cargo bench --bench store`; docs/performance.md says
//! what must be reached; `-- --ratios` leaves the times out, `-- --speed` all but those of one large run. It works on the store itself, without servers, on logs that it makes: deterministic, and like those of builds and agents.

use std::{
    io::{self, Write},
    path::Path,
    time::{Duration, Instant},
};

use loomd::{
    history::{Forward, Found, History},
    log::{Appender, Description, RunDir, append::Room},
    model::{Entry, Run, RunId, RunState, Stream, UpdateEntry, line},
    search::{Pattern, Stop},
    store::Store,
};

/// Bytes of output in one append, as a pipe gives them.
const CHUNK: usize = 48 << 10;

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let smoke = arguments.iter().any(|argument| argument == "--smoke");
    if !smoke && !arguments.iter().any(|argument| argument == "--bench") {
        println!("nothing measured; it is run by `cargo bench --bench store`");
        return Ok(());
    }
    let share = if smoke { 20 } else { 1 };
    if arguments.iter().any(|argument| argument == "--speed") {
        return speed((1_000_000_000 / share) as u64);
    }
    println!("| what | bytes | stored | data directory | ratio | goal |\n|---|---|---|---|---|---|");
    let log = build_log(0, 0);
    ratio("one first build log", 1.0 / 7.0, std::iter::once(("make", log.clone())))?;
    ratio("the same build log 200 times", 0.03, (0..200 / share).map(|_| ("make", log.clone())))?;
    ratio(
        "four similar logs, 50 times each",
        0.06,
        (0..200 / share).map(|turn| (["a", "b", "c", "d"][turn % 4], build_log(turn as u64, turn as u64 % 4))),
    )?;
    let session = session(40 / share.min(4));
    ratio("an agent's session, raw stream and updates", 0.25, std::iter::once(("agent", session)))?;
    let noise = Log { output: noise(1, (256 << 20) / share), updates: Vec::new() };
    ratio("incompressible output", 1.03, std::iter::once(("noise", noise)))?;
    if arguments.iter().any(|argument| argument == "--ratios") {
        return Ok(());
    }
    speed((1_000_000_000 / share) as u64)?;
    lists(if smoke { 500 } else { 10_000 })
}

/// What a program writes, and after which byte of it which update is made.
#[derive(Clone)]
struct Log {
    output: Vec<u8>,
    updates: Vec<(usize, String)>,
}

/// Bytes that nothing shrinks.
fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut noise = vec![0; bytes];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut noise);
    noise
}

/// A verbose build of 250 packages: `turn` changes times and the order a little, `flavour` every twentieth package.
fn build_log(turn: u64, flavour: u64) -> Log {
    let mut output = Vec::new();
    let mut order: Vec<u64> = (0..250).collect();
    for (at, byte) in noise(turn + 100, 240).into_iter().enumerate() {
        if turn > 0 && byte % 8 == 0 {
            order.swap(at, at + 1 + usize::from(byte / 64));
        }
    }
    for package in order {
        let version = if package % 20 == 0 { package + flavour * 1000 } else { package };
        let hash = blake3::hash(&version.to_le_bytes()).to_hex();
        let name = format!("crate-{}-{}", &hash[..6], package % 17);
        writeln!(output, "\x1b[1m\x1b[32m   Compiling\x1b[0m {name} v1.{}.{}", version % 40, package % 9).expect("a vector");
        write!(output, "\x1b[1m\x1b[32m     Running\x1b[0m `CARGO=/usr/bin/cargo CARGO_CRATE_NAME={name} CARGO_MANIFEST_DIR=/home/somebody/.cargo/registry/{name} CARGO_PKG_AUTHORS='' rustc --crate-name {name} --edition=2024 src/lib.rs --error-format=json --crate-type lib --emit=dep-info,metadata,link -C opt-level=3 -C metadata={} -C extra-filename=-{} --out-dir /home/somebody/project/target/release/deps", &hash[..16], &hash[16..32]).expect("a vector");
        for dependency in 0..package % 12 {
            let hash = blake3::hash(&(package * 31 % 250 + dependency).to_le_bytes()).to_hex();
            write!(output, " --extern part_{dependency}=/home/somebody/project/target/release/deps/libpart-{}.rmeta", &hash[..16])
                .expect("a vector");
        }
        writeln!(output, " --cap-lints allow`\n       took {} ms", noise(turn * 1000 + package, 1)[0]).expect("a vector");
    }
    Log { output, updates: Vec::new() }
}

/// A session that reads files, some of them again, and prints every result raw and as an update.
fn session(results: usize) -> Log {
    let (mut output, mut updates) = (Vec::new(), Vec::new());
    for number in 0..results {
        let which = if number % 3 == 2 { number / 2 } else { number } as u64;
        let text = String::from_utf8(build_log(which, which).output).expect("text");
        let text = &text[..20_000 + number % 7 * 15_000];
        let raw =
            serde_json::json!({"type": "user", "message": {"content": [{"tool_use_id": format!("toolu_{number:08}"), "content": text}]}});
        writeln!(output, "{raw}").expect("a vector");
        updates.push((output.len(), text.to_owned()));
    }
    Log { output, updates }
}

fn run_of(id: RunId, command: &str) -> Run {
    serde_json::from_value(serde_json::json!({
        "id": id, "provider": "command", "labels": {}, "pinned": false, "params": {}, "command": [command], "cwd": "/", "state": "running",
        "createdAt": 1, "lastSeq": 0, "durableSeq": 0, "bytes": {"stdout": 0, "stderr": 0},
    }))
    .expect("a run")
}

/// Calls `take` with blocks of lines of about 2 MiB, as the sealer reads them.
fn lines_of(id: RunId, log: &Log, mut take: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<u64> {
    let (mut lines, mut seq, mut offset, mut updates) = (Vec::new(), 0, 0, log.updates.iter().peekable());
    while offset < log.output.len() {
        let next = updates.peek().map_or(usize::MAX, |(at, _)| *at);
        let end = log.output.len().min(offset + CHUNK).min(next);
        seq += 1;
        line::write_output(&mut lines, id, seq, 1_763_800_000_000 + seq, Stream::Stdout, offset as u64, &log.output[offset..end]);
        offset = end;
        if offset == next
            && let Some((_, text)) = updates.next()
        {
            seq += 1;
            let update =
                serde_json::json!({"sessionUpdate": "tool_call_update", "toolCallId": format!("t{seq}"), "rawOutput": {"content": text}});
            let update = update.as_object().expect("an object").clone();
            line::write(&mut lines, &Entry::Update(UpdateEntry { run_id: id, seq, at: 1_763_800_000_000 + seq, update }));
        }
        if lines.len() > 2 << 20 {
            take(&lines)?;
            lines.clear();
        }
    }
    take(&lines)?;
    Ok(seq)
}

fn put(store: &Store, command: &str, log: &Log) -> io::Result<RunId> {
    let mut run = run_of(RunId::new(), command);
    store.put_run(&run, None, || true).map_err(io::Error::other)?;
    run.last_seq = lines_of(run.id, log, |lines| store.seal(run.id, lines).map(drop).map_err(io::Error::other))?;
    run.state = RunState::Succeeded;
    store.finish(&run).map_err(io::Error::other)?;
    Ok(run.id)
}

fn ratio(what: &str, goal: f64, logs: impl Iterator<Item = (&'static str, Log)>) -> io::Result<()> {
    let data = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let store = Store::at(data.path());
    let mut bytes = 0;
    for (command, log) in logs {
        bytes += log.output.len() as u64;
        put(&store, command, &log)?;
    }
    let stats = store.stats().map_err(io::Error::other)?;
    let ratio = stats.stored_bytes as f64 / bytes as f64;
    let whole = stats.file_bytes as f64 / bytes as f64;
    let reached = if ratio <= goal { "✓" } else { "✗" };
    println!(
        "| {what} | {bytes} | {} | {} | {ratio:.4} of rows, {whole:.4} of the file | ≤ {goal:.3} {reached} |",
        stats.stored_bytes, stats.file_bytes
    );
    Ok(())
}

/// A log of its own as a file, and the same sealed: seal, read, and find.
fn speed(bytes: u64) -> io::Result<()> {
    let data = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let history = History { runs: data.path().join("runs"), store: Store::at(data.path()) };
    let run = run_of(RunId::new(), "flood");
    let dir = RunDir::of(&history.runs, run.id);
    std::fs::create_dir_all(dir.path())?;
    Description { version: Description::VERSION, run: run.clone(), token: None }.write(&dir)?;
    let mut log = Appender::open(dir.clone(), run.clone())?;
    let mut written = 0;
    let mut turn = 0;
    while written < bytes {
        turn += 1;
        for chunk in build_log(turn, turn).output.chunks(CHUNK) {
            log.output(1_763_800_000_000 + turn, Stream::Stdout, &[chunk], Room::Usual)?;
            written += chunk.len() as u64;
        }
    }
    let last = log.finish()?;
    let from_log = timed(|| read_through(&history, run.id))?;
    history.store.put_run(&run, None, || true).map_err(io::Error::other)?;
    let sealing = timed(|| seal(&history, &dir, run.id))?;
    std::fs::remove_dir_all(dir.path())?;
    history.store.finish(&Run { state: RunState::Succeeded, ..last }).map_err(io::Error::other)?;
    let from_store = timed(|| read_through(&history, run.id))?;
    let rate = |seconds: f64| written as f64 / seconds / 1e6;
    println!("\n| what, {} MB of output | figure | goal |\n|---|---|---|", written / 1_000_000);
    println!("| sealing | {:.0} MB/s | ≥ 100 |", rate(sealing));
    println!("| reading, log | {:.0} MB/s | |", rate(from_log));
    println!("| reading, sealed | {:.0} MB/s, {:.2} of the log's | ≥ 0.9 |", rate(from_store), from_log / from_store);
    search(&history, written)?;
    let mut times: Vec<f64> = (0..50).map(|at| timed(|| text(&history, run.id, written / 50 * at))).collect::<io::Result<_>>()?;
    times.sort_by(f64::total_cmp);
    println!("| 4 KiB at any offset, median (worst) | {:.2} ms ({:.2}) | ≤ 3 |", times[25] * 1e3, times[49] * 1e3);
    let mut times: Vec<f64> = (0..20)
        .map(|_| timed(|| history.last_lines(run.id, None, 200, 1 << 20).map(drop).map_err(io::Error::other)))
        .collect::<io::Result<_>>()?;
    times.sort_by(f64::total_cmp);
    println!("| last 200 lines, median (worst) | {:.2} ms ({:.2}) | ≤ 1 |", times[10] * 1e3, times[19] * 1e3);
    Ok(())
}

fn timed(work: impl FnOnce() -> io::Result<()>) -> io::Result<f64> {
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

fn seal(history: &History, dir: &RunDir, id: RunId) -> io::Result<()> {
    for first in dir.segments()? {
        let file = std::fs::File::open(dir.segment(first))?;
        let (mut position, mut lines) = (0, Vec::new());
        loop {
            lines.clear();
            let read = loomd::log::follow::whole_lines(&file, position, 2 << 20, &mut lines)?;
            if read == 0 {
                break;
            }
            position += read as u64;
            history.store.seal(id, &lines).map_err(io::Error::other)?;
        }
    }
    Ok(())
}

/// Searches that find nothing, so that they go through everything.
fn search(history: &History, bytes: u64) -> io::Result<()> {
    for (what, query, regex, ignore_case) in [
        ("a text", "error[E0382]", false, false),
        ("a text in any case", "error[e0382]", false, true),
        ("an expression", r"\bpanicked at .*:\d+", true, false),
    ] {
        let pattern = Pattern::new(query, regex, ignore_case).map_err(io::Error::other)?;
        let seconds = timed(|| {
            let mut cursor = None;
            loop {
                let stop = Stop { at: Instant::now() + Duration::from_millis(750), is_cancelled: &|| false };
                let page = loomd::search::page(history, &pattern, None, cursor, 50, &stop).map_err(io::Error::other)?;
                assert!(page.hits.is_empty());
                match page.next_cursor {
                    Some(next) => cursor = next.parse().ok(),
                    None => return Ok(()),
                }
            }
        })?;
        println!("| searching, sealed: {what} | {:.0} MB/s | ≥ 500 |", bytes as f64 / seconds / 1e6);
    }
    Ok(())
}

fn text(history: &History, id: RunId, offset: u64) -> io::Result<()> {
    history.text(id, None, offset, 4 << 10).map(drop).map_err(io::Error::other)
}

/// Many small runs.
fn lists(count: usize) -> io::Result<()> {
    let data = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let store = Store::at(data.path());
    let log = Log { output: b"one line of a small run\n".repeat(20), updates: Vec::new() };
    let begun = Instant::now();
    for _ in 0..count {
        put(&store, "true", &log)?;
    }
    let filled = begun.elapsed().as_secs_f64() / count as f64;
    let stats = store.stats().map_err(io::Error::other)?;
    let mut times = Vec::new();
    for _ in 0..20 {
        times.push(timed(|| {
            let mut left = 50;
            store
                .list(None, |_| {
                    left -= 1;
                    if left == 0 { std::ops::ControlFlow::Break(()) } else { std::ops::ControlFlow::Continue(()) }
                })
                .map_err(io::Error::other)
        })?);
    }
    times.sort_by(f64::total_cmp);
    let per_run = stats.file_bytes as f64 / count as f64;
    println!("\n| {count} small runs | figure | goal |\n|---|---|---|");
    println!("| told, sealed, finished | {:.2} ms each | |", filled * 1e3);
    println!("| first page of 50, median | {:.2} ms | ≤ 1 |", times[10] * 1e3);
    println!("| the file, for each run | {per_run:.0} bytes | |");
    println!("| beside the file | {} entries | |", std::fs::read_dir(Path::new(data.path()))?.count() - 1);
    Ok(())
}
