//! How small logs become.

use std::{io, os::unix::fs::MetadataExt};

use loomd::store::Store;

use crate::logs::{Log, build_log, noise, put, session};

/// One table; `share` divides how much is put in.
pub fn measure(share: usize) -> io::Result<()> {
    println!("| what | raw bytes | rows | file | rows to raw | file to raw | goal |\n|---|---|---|---|---|---|---|");
    let log = build_log(0, 0);
    ratio("one first build log (`-v`, colours)", 1.0 / 7.0, std::iter::once(("make", log.clone())))?;
    ratio("the same build log 200 times", 0.03, (0..200 / share).map(|_| ("make", log.clone())))?;
    ratio(
        "four similar logs, 50 times each",
        0.06,
        (0..200 / share).map(|turn| (["a", "b", "c", "d"][turn % 4], build_log(turn as u64, turn as u64 % 4))),
    )?;
    ratio("an agent's session: raw stream and updates", 0.25, std::iter::once(("agent", session(40 / share.min(4)))))?;
    let noise = Log { output: noise(1, (256 << 20) / share), updates: Vec::new() };
    ratio("incompressible output", 1.03, std::iter::once(("noise", noise)))
}

fn ratio(what: &str, goal: f64, logs: impl Iterator<Item = (&'static str, Log)>) -> io::Result<()> {
    let data = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let store = Store::at(data.path());
    let mut bytes = 0;
    for (command, log) in logs {
        bytes += log.output.len() as u64;
        put(&store, command, &log)?;
    }
    eprintln!(
        "blocks before {} len {}",
        std::fs::metadata(data.path().join("loomd.redb"))?.blocks() * 512,
        std::fs::metadata(data.path().join("loomd.redb"))?.len()
    );
    let t = std::time::Instant::now();
    store.compact().map_err(io::Error::other)?;
    eprintln!("{:?}", t.elapsed());
    let stats = store.stats().map_err(io::Error::other)?;

    eprintln!("blocks {}", std::fs::metadata(data.path().join("loomd.redb"))?.blocks() * 512);
    let [rows, file] = [stats.stored_bytes, stats.file_bytes].map(|stored| stored as f64 / bytes as f64);
    let reached = if file <= goal { "✓" } else { "✗" };
    println!(
        "| {what} | {bytes} | {} | {} | {rows:.4} | {file:.4} | file at most {goal:.3} {reached} |",
        stats.stored_bytes, stats.file_bytes
    );
    Ok(())
}
