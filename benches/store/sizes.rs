//! How small logs become.

use std::{fs, io, os::unix::fs::MetadataExt};

use loomd::store::Store;

use crate::logs::{Log, build_log, noise, put, session};

/// One table; `share` divides how much is put in.
pub fn measure(share: usize) -> io::Result<()> {
    println!("| what | raw bytes | rows | on disk | rows to raw | on disk to raw | goal |\n|---|---|---|---|---|---|---|");
    let log = build_log(0, 0);
    ratio("an empty store: one line", f64::INFINITY, std::iter::once(("echo", Log { output: b"line\n".to_vec(), updates: Vec::new() })))?;
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
    let stats = store.stats().map_err(io::Error::other)?;
    let blocks = fs::metadata(store.path())?.blocks() * 512;
    let [rows, disk] = [stats.stored_bytes, blocks].map(|stored| stored as f64 / bytes as f64);
    let goal = match goal.is_finite() {
        true => format!("at most {goal:.3} {}", if disk <= goal { "✓" } else { "✗" }),
        false => String::new(),
    };
    println!("| {what} | {bytes} | {} | {blocks} | {rows:.4} | {disk:.4} | {goal} |", stats.stored_bytes);
    Ok(())
}
