//! The processor time, writes and memory of a server and all its processes, including those that detach themselves.
//!
//! The bench is a child subreaper: whatever a server leaves behind, by a double fork or by ending first, becomes the
//! bench's own child, and only [`Tree::end`] reaps here. Until it is reaped, a process that has ended has its processor
//! time and writes in `/proc`, and both include those of the children that it reaped itself. So the sum over the
//! processes that the bench reaps misses none, however short-lived, except children of a process that ignores SIGCHLD.
//! The kernel's own threads (writeback, journal) are in nobody's account.

use std::{
    collections::HashMap,
    fs, io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::{
    process::{Pid, WaitOptions},
    time::{ClockId, clock_gettime},
};
use serde::{Deserialize, Serialize};

/// What a generator reports when it has written everything.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    pub pid: u32,
    pub bytes: u64,
    /// From its first write to the return of its last.
    pub elapsed_ns: u64,
    pub cpu_ns: u64,
}

/// The first argument of every generator, by which the bench recognizes it.
pub(crate) const GENERATE: &str = "generate";

pub(crate) fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Processor time of this process, which must have one thread.
pub(crate) fn own_cpu_ns() -> io::Result<u64> {
    let text = fs::read_to_string("/proc/self/schedstat")?;
    text.split(' ').next().and_then(|ns| ns.parse().ok()).ok_or_else(|| io::Error::other("no time in /proc/self/schedstat"))
}

/// Makes the bench the parent of every server's orphans. Must be called before the first server starts.
pub(crate) fn become_reaper() -> io::Result<()> {
    Ok(rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?)
}

/// What the processes of one server used.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ResourceUsage {
    pub cpu: Duration,
    /// Bytes that were written to files, as the kernel charged them.
    pub written: u64,
}

/// Resident memory in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    pub now: u64,
    pub peak: u64,
}

/// The last readings of the memory of a server's processes.
#[derive(Clone, Debug, Default)]
pub(crate) struct TreeMemory {
    pub server: Memory,
    /// By process id; neither the server nor a generator.
    pub others: HashMap<u32, Memory>,
}

/// A server and everything below it, from its start to the last process's end.
pub(crate) struct Tree {
    server: u32,
    last_seen: Arc<Mutex<TreeMemory>>,
    stop: Arc<AtomicBool>,
    sampler: Option<JoinHandle<()>>,
}

impl Tree {
    pub(crate) fn new(server: u32, sample_every: Duration) -> Self {
        let (last_seen, stop) = (Arc::new(Mutex::new(TreeMemory::default())), Arc::new(AtomicBool::new(false)));
        let sampler = thread::spawn({
            let (last_seen, stop) = (last_seen.clone(), stop.clone());
            move || {
                while !stop.load(Ordering::Relaxed) {
                    sample(server, &mut last_seen.lock().expect("no sampler panics"));
                    thread::park_timeout(sample_every);
                }
            }
        });
        Tree { server, last_seen, stop, sampler: Some(sampler) }
    }

    /// The memory of running processes now, and of ended ones as last read.
    pub(crate) fn memory(&self) -> TreeMemory {
        let mut last_seen = self.last_seen.lock().expect("no sampler panics");
        sample(self.server, &mut last_seen);
        last_seen.clone()
    }

    /// Waits until all processes together have used no measurable time for a while.
    pub(crate) fn wait_quiet(&self, deadline: Instant) -> io::Result<()> {
        let mut still_since = Instant::now();
        let mut before = None;
        while still_since.elapsed() < Duration::from_millis(300) {
            let ticks: u64 = descendants().into_iter().filter_map(|pid| Stat::read(pid).ok()).map(|stat| stat.ticks).sum();
            if before.replace(ticks) != Some(ticks) {
                still_since = Instant::now();
            }
            check_deadline(deadline, "the server did not become quiet")?;
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Kills and reaps all processes of a server that failed.
    pub(crate) fn kill(self) {
        for pid in descendants() {
            if let Some(pid) = Pid::from_raw(pid as i32) {
                // The process may have ended meanwhile.
                rustix::process::kill_process(pid, rustix::process::Signal::KILL).ok();
            }
        }
        // The bench has failed already, so neither the usage nor a second error matters.
        self.end(&[], Instant::now() + Duration::from_secs(10)).ok();
    }

    /// Reaps the server, which has been sent `exit`, and all processes that it left. `generators` are not charged to
    /// it.
    pub(crate) fn end(mut self, generators: &[Report], deadline: Instant) -> io::Result<ResourceUsage> {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(sampler) = self.sampler.take() {
            sampler.thread().unpark();
            sampler.join().expect("no sampler panics");
        }
        let mut usage = ResourceUsage::default();
        let mut foreign: Duration = generators.iter().map(|report| Duration::from_nanos(report.cpu_ns)).sum();
        loop {
            let children = children(std::process::id());
            for &pid in &children {
                let stat = Stat::read(pid)?;
                if stat.state != 'Z' {
                    continue;
                }
                if let Some(report) = generators.iter().find(|report| report.pid == pid) {
                    // No server reaped this generator, so its time is in no server's account.
                    foreign -= Duration::from_nanos(report.cpu_ns);
                } else {
                    usage.cpu += ticks(stat.ticks);
                    usage.written += written(pid)?;
                }
                rustix::process::waitpid(Pid::from_raw(pid as i32), WaitOptions::NOHANG)?;
            }
            if children.is_empty() {
                usage.cpu = usage.cpu.saturating_sub(foreign);
                return Ok(usage);
            }
            check_deadline(deadline, "a process of the server did not end")?;
            thread::sleep(Duration::from_millis(2));
        }
    }
}

fn check_deadline(deadline: Instant, message: &'static str) -> io::Result<()> {
    if Instant::now() < deadline { Ok(()) } else { Err(io::Error::new(io::ErrorKind::TimedOut, message)) }
}

fn sample(server: u32, last_seen: &mut TreeMemory) {
    for pid in descendants() {
        // A process that has ended meanwhile keeps its last reading.
        let Some(memory) = memory(pid) else { continue };
        if pid == server {
            last_seen.server = memory;
        } else if is_generator(pid) {
            last_seen.others.remove(&pid);
        } else {
            // The last reading counts, not the highest: between fork and exec a child has its parent's memory.
            last_seen.others.insert(pid, memory);
        }
    }
}

fn memory(pid: u32) -> Option<Memory> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let kilobytes = |name| {
        let line = status.lines().find_map(|line: &str| line.strip_prefix(name))?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kb| kb * 1024)
    };
    Some(Memory { now: kilobytes("VmRSS:")?, peak: kilobytes("VmHWM:")? })
}

fn is_generator(pid: u32) -> bool {
    fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.split(|byte| *byte == 0).nth(1) == Some(GENERATE.as_bytes()))
}

fn written(pid: u32) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/io"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    line.and_then(|bytes| bytes.parse().ok()).ok_or_else(|| io::Error::other("no write_bytes in /proc/PID/io"))
}

struct Stat {
    state: char,
    /// User and system time, also of the children it reaped.
    ticks: u64,
}

impl Stat {
    fn read(pid: u32) -> io::Result<Stat> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The process's name, which ends at the last parenthesis, may contain anything.
        let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let number = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok());
        let ticks = (11..=14).map(number).sum::<Option<u64>>();
        let state = fields.first().and_then(|field| field.chars().next());
        state.zip(ticks).map(|(state, ticks)| Stat { state, ticks }).ok_or_else(|| io::Error::other("/proc/PID/stat is not as expected"))
    }
}

fn ticks(ticks: u64) -> Duration {
    // The unit of /proc (USER_HZ), a hundredth of a second on every architecture of today; not the kernel's own tick.
    Duration::from_millis(ticks * 10)
}

fn descendants() -> Vec<u32> {
    let mut found = children(std::process::id());
    let mut next = 0;
    while let Some(&pid) = found.get(next) {
        found.extend(children(pid));
        next += 1;
    }
    found
}

fn children(pid: u32) -> Vec<u32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let lists = threads.flatten().filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists.flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<u32>>()).collect()
}
