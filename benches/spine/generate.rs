//! The programs that every server runs: a flood of log lines, and lines at a steady pace.
//!
//! Both are deterministic except for the times in paced lines. When it is done, a generator reports its duration and
//! processor time to the bench, which subtracts the latter from the server's. It sends a datagram, because writing a
//! file would count for the server.

use std::{
    io::{self, Write},
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::processes::{Report, monotonic_ns, own_cpu_ns};

/// Length of one write of a flood.
const WRITE_BYTES: usize = 64 * 1024;

#[derive(clap::Subcommand)]
pub(crate) enum Program {
    /// Log lines as fast as the reader takes them.
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

pub(crate) fn run(program: Program) -> io::Result<()> {
    let (bytes, started_at, report) = match program {
        Program::Flood { bytes, report } => {
            let text = FloodText::new();
            let started_at = monotonic_ns();
            (flood(&text, bytes)?, started_at, report)
        }
        Program::Paced { lines, per_second, begin_ns, report } => {
            let begin_ns = if begin_ns == 0 { monotonic_ns() } else { begin_ns };
            (paced(lines, per_second, begin_ns)?, begin_ns, report)
        }
    };
    send(&report, &Report { pid: std::process::id(), bytes, elapsed_ns: monotonic_ns() - started_at, cpu_ns: own_cpu_ns()? })
}

fn flood(text: &FloodText, bytes: u64) -> io::Result<u64> {
    let mut out = io::stdout().lock();
    let mut written = 0;
    while written < bytes {
        let chunk = text.at(written, bytes);
        // We bypass the buffer of `out`, so that each chunk is one write call.
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

fn send(socket: &Path, report: &Report) -> io::Result<()> {
    UnixDatagram::unbound()?.send_to(&serde_json::to_vec(report)?, socket).map(drop)
}

/// Some megabytes of log lines of about a hundred bytes, repeated without end.
///
/// The period has no common divisor with the length of a write, so equal lines are at different positions in each
/// chunk, and storing equal chunks only once gains nothing.
pub(crate) struct FloodText {
    bytes: Vec<u8>,
    period: usize,
}

impl FloodText {
    pub(crate) fn new() -> Self {
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
        bytes.extend_from_within(..WRITE_BYTES);
        FloodText { bytes, period }
    }

    /// The next write of a flood of `total` bytes of which `written` are written.
    pub(crate) fn at(&self, written: u64, total: u64) -> &[u8] {
        let start = (written % self.period as u64) as usize;
        &self.bytes[start..start + (total - written).min(WRITE_BYTES as u64) as usize]
    }

    /// The digest of a whole flood.
    pub(crate) fn digest(&self, total: u64) -> blake3::Hash {
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
