//! Logs like those of builds and agents. They are generated, and the same each time.

use std::io::{self, Write};

use loomd::{
    model::{Entry, Run, RunId, RunState, Stream, UpdateEntry, line},
    store::Store,
};

/// Bytes of output in one entry, as a read of a pipe returns them.
pub(crate) const CHUNK_BYTES: usize = 48 << 10;

/// What a program writes, and the updates that are made of it: after which byte of the output, and which text.
#[derive(Clone)]
pub(crate) struct Log {
    pub output: Vec<u8>,
    pub updates: Vec<(usize, String)>,
}

/// Bytes that cannot be compressed.
pub(crate) fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut noise = vec![0; bytes];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut noise);
    noise
}

/// A verbose build of 250 packages: `build_number` changes times and the order a little, `variant` every twentieth
/// package.
pub(crate) fn build_log(build_number: u64, variant: u64) -> Log {
    let mut output = Vec::new();
    let mut order: Vec<u64> = (0..250).collect();
    for (at, byte) in noise(build_number + 100, 240).into_iter().enumerate() {
        if build_number > 0 && byte % 8 == 0 {
            order.swap(at, at + 1 + usize::from(byte / 64));
        }
    }
    for package in order {
        let version = if package % 20 == 0 { package + variant * 1000 } else { package };
        let hash = blake3::hash(&version.to_le_bytes()).to_hex();
        let name = format!("crate-{}-{}", &hash[..6], package % 17);
        writeln!(output, "\x1b[1m\x1b[32m   Compiling\x1b[0m {name} v1.{}.{}", version % 40, package % 9).expect("a vector");
        write!(output, "\x1b[1m\x1b[32m     Running\x1b[0m `CARGO=/usr/bin/cargo CARGO_CRATE_NAME={name} CARGO_MANIFEST_DIR=/home/somebody/.cargo/registry/{name} CARGO_PKG_AUTHORS='' rustc --crate-name {name} --edition=2024 src/lib.rs --error-format=json --crate-type lib --emit=dep-info,metadata,link -C opt-level=3 -C metadata={} -C extra-filename=-{} --out-dir /home/somebody/project/target/release/deps", &hash[..16], &hash[16..32]).expect("a vector");
        for dependency in 0..package % 12 {
            let hash = blake3::hash(&(package * 31 % 250 + dependency).to_le_bytes()).to_hex();
            write!(output, " --extern part_{dependency}=/home/somebody/project/target/release/deps/libpart-{}.rmeta", &hash[..16])
                .expect("a vector");
        }
        writeln!(output, " --cap-lints allow`\n       took {} ms", noise(build_number * 1000 + package, 1)[0]).expect("a vector");
    }
    Log { output, updates: Vec::new() }
}

/// A session that reads files, some of them again, and prints every result raw and as an update.
pub(crate) fn session(results: usize) -> Log {
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

pub(crate) fn run_of(id: RunId, command: &str) -> Run {
    serde_json::from_value(serde_json::json!({
        "id": id, "provider": "command", "labels": {}, "pinned": false, "params": {}, "command": [command], "cwd": "/", "state": "running",
        "createdAt": 1, "lastSeq": 0, "durableSeq": 0, "bytes": {"stdout": 0, "stderr": 0},
    }))
    .expect("a run")
}

/// Calls `seal` with lines of about 2 MiB at a time, as the server seals them. Returns the number of the last entry.
pub(crate) fn lines_of(id: RunId, log: &Log, mut seal: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<u64> {
    let (mut lines, mut seq, mut offset, mut updates) = (Vec::new(), 0, 0, log.updates.iter().peekable());
    while offset < log.output.len() {
        let next = updates.peek().map_or(usize::MAX, |(at, _)| *at);
        let end = log.output.len().min(offset + CHUNK_BYTES).min(next);
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
            seal(&lines)?;
            lines.clear();
        }
    }
    seal(&lines)?;
    Ok(seq)
}

/// Puts a run that has succeeded into the store.
pub(crate) fn put(store: &Store, command: &str, log: &Log) -> io::Result<RunId> {
    put_as(store, run_of(RunId::new(), command), log, RunState::Succeeded)
}

/// Puts a run into the store that ended with `state`.
pub(crate) fn put_as(store: &Store, mut run: Run, log: &Log, state: RunState) -> io::Result<RunId> {
    store.put_run(&run, None, || true).map_err(io::Error::other)?;
    run.last_seq = lines_of(run.id, log, |lines| store.seal(run.id, lines).map(drop).map_err(io::Error::other))?;
    run.state = state;
    store.finish(&run).map_err(io::Error::other)?;
    Ok(run.id)
}
