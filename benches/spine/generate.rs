//! The programs that are run under every server: a flood of log lines, and lines at a steady pace.
//!
//! Both are deterministic but for the times in paced lines. A generator tells the bench, by a datagram and not by a
//! file (whose writing would count), when it was done and what processor time it took: that time is taken off the server's.

use std::{
    io::{self, Write},
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::processes::{Report, monotonic_ns, own_cpu_ns};

/// Bytes of one write of a flood.
const WRITE: usize = 64 * 1024;

#[derive(clap::Subcommand)]
pub enum Program {
    /// Log lines as fast as they are taken.
    Flood {
        #[arg(long)]
        bytes: u64,
        #[arg(long)]
        report: PathBuf,
    },
    /// Lines at a steady pace; each begins with the monotonic time of its writing in nanoseconds.
    Paced {
        #[arg(long)]
        lines: u64,
        #[arg(long)]
        per_second: u64,
        /// Monotonic time of the first line.
        #[arg(long, default_value_t = 0)]
        begin_ns: u64,
        #[arg(long)]
        report: PathBuf,
    },
}

pub fn run(program: Program) -> io::Result<()> {
    let (bytes, begun, report) = match program {
        Program::Flood { bytes, report } => {
            let text = FloodText::new();
            let begun = monotonic_ns();
            (flood(&text, bytes)?, begun, report)
        }
        Program::Paced { lines, per_second, begin_ns, report } => {
            let begin_ns = if begin_ns == 0 { monotonic_ns() } else { begin_ns };
            (paced(lines, per_second, begin_ns)?, begin_ns, report)
        }
    };
    send(&report, &Report { pid: std::process::id(), bytes, elapsed_ns: monotonic_ns() - begun, cpu_ns: own_cpu_ns()? })
}

fn flood(text: &FloodText, bytes: u64) -> io::Result<u64> {
    let mut out = io::stdout().lock();
    let mut written = 0;
    while written < bytes {
        let chunk = text.at(written, bytes);
        // Past the lock's line buffer: one write call, of a whole chunk.
        rustix::io::retry_on_intr(|| rustix::io::write(&out, chunk)).map(|n| written += n as u64)?;
    }
    out.flush()?;
    Ok(written)
}

fn paced(lines: u64, per_second: u64, begin_ns: u64) -> io::Result<u64> {
    const FILLER: &str = "  Compiling crate-of-some-length v0.12.7 (/home/somebody/src/project/crates/part)";
    let out = io::stdout();
    let mut written = 0;
    for line in 0..lines {
        let due = begin_ns + line * 1_000_000_000 / per_second;
        std::thread::sleep(Duration::from_nanos(due.saturating_sub(monotonic_ns())));
        let text = format!("{:020}{FILLER}\n", monotonic_ns());
        rustix::io::write(&out, text.as_bytes())?;
        written += text.len() as u64;
    }
    Ok(written)
}

fn send(report: &Path, words: &Report) -> io::Result<()> {
    UnixDatagram::unbound()?.send_to(&serde_json::to_vec(words)?, report).map(drop)
}

/// Some megabytes of log lines of about a hundred bytes, repeated without end.
///
/// Its length has nothing in common with the length of a write, so equal pieces never stand at equal places
/// and nothing is gained by keeping whole chunks once.
pub struct FloodText {
    bytes: Vec<u8>,
    period: usize,
}

impl FloodText {
    pub fn new() -> Self {
        let mut bytes = Vec::with_capacity(5 << 20);
        let mut number = 0x9e37_79b9_7f4a_7c15_u64;
        let mut line = 0_u64;
        while bytes.len() < (4 << 20) + 4097 {
            number ^= number << 13;
            number ^= number >> 7;
            number ^= number << 17;
            line += 1;
            let written = match number % 64 {
                0 => writeln!(
                    bytes,
                    "warning: unused variable: `part_{}`\n   --> src/part_{}.rs:{}:17",
                    number % 977,
                    number % 89,
                    line % 700
                ),
                1 => writeln!(
                    bytes,
                    "\x1b[1m\x1b[32m   Compiling\x1b[0m crate-{} v0.{}.{} → target/debug – “ok”",
                    number % 431,
                    number % 40,
                    number % 9
                ),
                2..=9 => writeln!(
                    bytes,
                    "{{\"level\":\"info\",\"line\":{line},\"target\":\"part::{}\",\"message\":\"took {} ms\"}}",
                    number % 211,
                    number % 5000
                ),
                _ => writeln!(
                    bytes,
                    "2026-03-01T12:{:02}:{:02}.{:06}Z  INFO part::worker{}: step {line} of request {:016x} done in {} us",
                    line / 60 % 60,
                    line % 60,
                    number % 1_000_000,
                    number % 16,
                    number,
                    number % 90_000
                ),
            };
            written.expect("a vector takes everything");
        }
        let period = bytes.len() | 1;
        bytes.resize(period, b'\n');
        bytes.extend_from_within(..WRITE);
        FloodText { bytes, period }
    }

    /// The next write of a flood of `total` bytes of which `written` are out.
    pub fn at(&self, written: u64, total: u64) -> &[u8] {
        let start = (written % self.period as u64) as usize;
        &self.bytes[start..start + (total - written).min(WRITE as u64) as usize]
    }

    /// The digest of a whole flood.
    pub fn digest(&self, total: u64) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new();
        let mut written = 0;
        while written < total {
            let chunk = self.at(written, total);
            hasher.update(chunk);
            written += chunk.len() as u64;
        }
        hasher.finalize()
    }
}
