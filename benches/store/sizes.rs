//! The part `sizes`: how small logs become.

use std::{collections::HashSet, fs, io, os::unix::fs::MetadataExt};

use loomd::store::Store;

use crate::logs::{Log, build_log, noise, put, session};

/// Prints one table. `share` divides the amount of data.
pub(crate) fn measure(share: usize) -> io::Result<()> {
    println!("| what | raw bytes | rows | on disk | rows to raw | on disk to raw | goal |\n|---|---|---|---|---|---|---|");
    let log = build_log(0, 0);
    ratio("an empty store: one line", f64::INFINITY, std::iter::once(("echo", Log { output: b"line\n".to_vec(), updates: Vec::new() })))?;
    ratio("one first build log (`-v`, colors)", 1.0 / 7.0, std::iter::once(("make", log.clone())))?;
    ratio("the same build log 200 times", 0.03, (0..200 / share).map(|_| ("make", log.clone())))?;
    ratio(
        "four similar logs, 50 times each",
        0.06,
        (0..200 / share).map(|turn| (["a", "b", "c", "d"][turn % 4], build_log(turn as u64, turn as u64 % 4))),
    )?;
    ratio("an agent's session: raw stream and updates", 0.25, std::iter::once(("agent", session(40 / share.min(4)))))?;
    let noise_alone = Log { output: noise(1, (256 << 20) / share), updates: Vec::new() };
    ratio("incompressible output", 1.03, std::iter::once(("noise", noise_alone)))
}

/// Prints what output that is the same, in one run or in several, takes more when the store has it.
pub(crate) fn measure_repeats(share: usize) -> io::Result<()> {
    let log = build_log(0, 0);
    println!("| what | raw bytes | rows before | rows more | more to raw | as blocks |\n|---|---|---|---|---|---|");
    let block = noise_log((4 << 20) / share);
    repeated("4 MiB of noise, eight times in one run", &[], &("noise", times(&block, 8)))?;
    repeated("the same in a later run of another command", &[("noise", block.clone())], &("other", times(&block, 8)))?;
    let shifted =
        Log { output: [&noise(9, 777), block.output.as_slice(), &noise(8, 100_000), &block.output[12_345..]].concat(), ..log.clone() };
    repeated("twice, shifted, with 100,776 new bytes", &[("noise", block)], &("other", shifted))?;
    let watch = (0..10).flat_map(|turn| suite("/home/me/one", turn).output).collect();
    repeated("a test suite ten times in one run (watch)", &[], &("watch", Log { output: watch, ..log.clone() }))?;
    repeated("a test suite once", &[], &("test", suite("/home/me/one", 0)))?;
    repeated("the same suite in another directory", &[("test", suite("/home/me/one", 0))], &("test2", suite("/srv/other", 1)))?;
    repeated("a build log after another of another command", &[("make", log.clone())], &("ninja", build_log(1, 1)))?;
    repeated("npm's log after another one", &[("npm", npm(0))], &("pnpm", npm(1)))?;
    repeated("an agent's session after another agent's", &[("agent", session(20))], &("other agent", session(24)))
}

fn noise_log(bytes: usize) -> Log {
    Log { output: noise(7, bytes), updates: Vec::new() }
}

fn times(log: &Log, times: usize) -> Log {
    Log { output: log.output.repeat(times), updates: Vec::new() }
}

/// The output of a test suite: names that stay, times that do not, and now and then a failure.
fn suite(directory: &str, turn: u64) -> Log {
    let mut output = Vec::new();
    for (number, byte) in noise(turn, 1500).into_iter().enumerate() {
        let name = blake3::hash(&(number as u64).to_le_bytes()).to_hex();
        let (module, test) = (&name[..4], &name[8..24]);
        output.extend_from_slice(format!("test {module}::tests::{test} ... ok ({}.{byte:02} ms)\n", byte % 9).as_bytes());
        if byte == 0 {
            output.extend_from_slice(format!("thread '{test}' panicked at {directory}/src/{module}.rs:{number}:9\n").as_bytes());
        }
    }
    Log { output, updates: Vec::new() }
}

/// What npm prints with the log level http: an address and a time in each line.
fn npm(turn: u64) -> Log {
    let mut output = Vec::new();
    for (number, byte) in noise(turn + 50, 1200).into_iter().enumerate() {
        let name = blake3::hash(&(number as u64 / 2).to_le_bytes()).to_hex();
        let address = format!("https://packages.example.org/{}/-/{}-{}.1.0.tgz", &name[..9], &name[..9], number % 7);
        output.extend_from_slice(format!("npm http fetch GET 200 {address} {byte}ms (cache miss)\n").as_bytes());
    }
    Log { output, updates: Vec::new() }
}

/// Prints what one run takes more when the store has others.
fn repeated(what: &str, before: &[(&'static str, Log)], (command, log): &(&'static str, Log)) -> io::Result<()> {
    let data = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let store = Store::at(data.path());
    for (command, log) in before {
        put(&store, command, log)?;
    }
    let stored = store.stats().map_err(io::Error::other)?.stored_bytes;
    put(&store, command, log)?;
    let more = store.stats().map_err(io::Error::other)?.stored_bytes - stored;
    let mut blocks = HashSet::new();
    for (_, log) in before {
        bytes_as_blocks(&log.output, &mut blocks)?;
    }
    let [more_to_raw, as_blocks] = [more, bytes_as_blocks(&log.output, &mut blocks)?].map(|bytes| bytes as f64 / log.output.len() as f64);
    println!("| {what} | {} | {stored} | {more} | {more_to_raw:.4} | {as_blocks:.4} |", log.output.len());
    Ok(())
}

/// For comparison: what output would take as content-defined blocks of about 16 KiB, each stored once and compressed,
/// with 80 bytes for its hash and its uses.
fn bytes_as_blocks(output: &[u8], known: &mut HashSet<blake3::Hash>) -> io::Result<u64> {
    const BYTES_BESIDE: u64 = 80;
    let (mut bytes, mut begin, mut hash) = (0, 0, 0_u64);
    for (at, byte) in output.iter().enumerate() {
        hash = (hash << 1).wrapping_add((u64::from(*byte) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let length = at + 1 - begin;
        let is_cut = (length >= 4 << 10 && hash >> 51 == 0) || length >= 64 << 10 || at + 1 == output.len();
        if is_cut {
            let block = &output[begin..=at];
            let is_new = known.insert(blake3::hash(block));
            bytes += BYTES_BESIDE + if is_new { zstd::bulk::compress(block, 3)?.len() as u64 } else { 0 };
            begin = at + 1;
        }
    }
    Ok(bytes)
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
