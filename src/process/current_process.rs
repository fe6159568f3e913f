//! Settings of this process itself: its umask, priority, memory, user id and argv, what it hands down, and the seams at which tests stop it.

use std::{
    io,
    ops::Range,
    os::unix::fs::MetadataExt,
    path::{Component, Path, PathBuf},
    sync::{
        LazyLock,
        atomic::{AtomicU32, Ordering},
    },
};

use rustix::{
    fs::Mode,
    process::{Pid, WaitId, WaitIdOptions, WaitOptions, WaitStatus, getpgid, getuid, umask, wait, waitid},
};
use tokio::signal::unix::{SignalKind, signal};

/// The umask that this process was started with; 022 until [`set_private_umask`] has run.
static CLIENT_UMASK: AtomicU32 = AtomicU32::new(0o022);

/// Sets the umask 077, so that everything this process creates is private, and remembers the umask that it was started
/// with, which the programs of runs get. Each process calls it once, before it creates anything.
pub(crate) fn set_private_umask() {
    CLIENT_UMASK.store(umask(Mode::from_raw_mode(0o077)).as_raw_mode(), Ordering::Relaxed);
}

/// The umask that this process was started with.
pub(crate) fn client_umask() -> u32 {
    CLIENT_UMASK.load(Ordering::Relaxed)
}

/// Completes when this process gets SIGTERM, SIGINT or SIGHUP.
pub(crate) async fn termination_signal() {
    let signals = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()].map(signal);
    let [Ok(mut terminate), Ok(mut interrupt), Ok(mut hangup)] = signals else { return std::future::pending().await };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        _ = hangup.recv() => {}
    }
}

/// The C library that this process runs with, and its version.
#[cfg_attr(all(target_os = "linux", target_env = "gnu"), expect(unsafe_code, reason = "the library returns a constant text of its own"))]
pub(crate) fn c_library() -> String {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // SAFETY: the text ends with a zero and is never changed or freed.
        let version = unsafe { std::ffi::CStr::from_ptr(libc::gnu_get_libc_version()) };
        format!("glibc {}", version.to_string_lossy())
    }
    #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
    "not glibc".to_owned()
}

/// The working directory by the path that its user chose: PWD, where that names it, though a link leads there.
pub(crate) fn logical_directory() -> io::Result<PathBuf> {
    let is_clean =
        |path: &Path| path.is_absolute() && path.components().all(|part| !matches!(part, Component::ParentDir | Component::CurDir));
    let chosen = std::env::var_os("PWD").map(PathBuf::from).filter(|path| is_clean(path));
    let place = |path: &Path| std::fs::metadata(path).map(|metadata| (metadata.dev(), metadata.ino())).ok();
    match chosen {
        Some(chosen) if place(&chosen).is_some_and(|it| place(Path::new(".")) == Some(it)) => Ok(chosen),
        _ => std::env::current_dir(),
    }
}

/// Gives the calling thread the lowest priority (nice 19), for background work that must not slow down anything else.
/// Only on Linux: elsewhere a priority belongs to the whole process.
pub(crate) fn lower_thread_priority() {
    // On Linux each thread has its own priority, and `setpriority` takes its thread id.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(Some(rustix::thread::gettid()), 19) {
        tracing::debug!(%error, "the thread's priority was not changed");
    }
}

/// Unmaps the resident pages of code and constants, most of which only the start needed. The kernel maps the pages
/// around each first access, so a start leaves megabytes of them behind. It maps those that are needed again from the
/// page cache.
#[expect(unsafe_code, reason = "the advice is given only on private mappings that nothing has written to: they hold what the file holds")]
pub(crate) fn release_code_pages() {
    // What is mapped when the process begins stays mapped until it ends, so that reading the list once is enough; it costs
    // as much as all the rest of a start.
    #[cfg(target_os = "linux")]
    static CONSTANTS: LazyLock<Vec<Range<usize>>> = LazyLock::new(constant_mappings);
    #[cfg(target_os = "linux")]
    for range in CONSTANTS.iter() {
        // SAFETY: such a mapping has the same bytes as its file, and the kernel fills it from the file when it is accessed.
        // The result does not matter: where the advice fails, the pages stay.
        let _ = unsafe { libc::madvise(range.start as *mut libc::c_void, range.len(), libc::MADV_DONTNEED) };
    }
}

/// Where code and constants of files are mapped that nothing has written to.
#[cfg(target_os = "linux")]
fn constant_mappings() -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for mapping in std::fs::read_to_string("/proc/self/maps").unwrap_or_default().lines() {
        let mut fields = mapping.split_ascii_whitespace();
        let (Some(range), Some(mode), Some(offset), Some(path)) = (fields.next(), fields.next(), fields.next(), fields.nth(2)) else {
            continue;
        };
        // A read-only mapping of the beginning of a file has its constants and tables, which the loader does not
        // relocate.
        let is_constant = mode == "r-xp" || (mode == "r--p" && offset == "00000000");
        let address = |text: &str| usize::from_str_radix(text, 16).ok();
        let Some((from, to)) = range.split_once('-').and_then(|(from, to)| Some((address(from)?, address(to)?))) else { continue };
        if is_constant && path.starts_with('/') {
            found.push(from..to);
        }
    }
    found
}

/// Makes glibc return large buffers to the system as soon as they are freed, and share two arenas among all threads. By
/// default glibc raises its threshold with each large buffer that is freed and keeps the next one, and gives every
/// thread an arena.
#[expect(unsafe_code, reason = "mallopt only sets numbers, and is called before there are threads")]
pub(crate) fn limit_allocator_caches() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // SAFETY: see the reason above.
        unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, 256 << 10);
            libc::mallopt(libc::M_TRIM_THRESHOLD, 512 << 10);
            libc::mallopt(libc::M_ARENA_MAX, 2);
        }
    }
}

/// Closes this process's memory, environment and descriptors to other processes of the user: a supervisor has the values of
/// `env` and what agents are asked. Its parent, state and argv stay readable, by which servers judge ancestry. Programs that
/// it starts are not concerned. Only on Linux.
pub(crate) fn keep_memory_private() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable) {
        tracing::debug!(%error, "the process's memory stays readable for the user");
    }
}

/// The real user id of this process.
pub(crate) fn user_id() -> u32 {
    getuid().as_raw()
}

/// A point at which a test may stop or kill this process, or make it panic, by the environment variable
/// `LOOMD_SEAM=name=stop,other=kill@3,third=panic`; `@3` means the third time that the point is passed. Debug builds
/// only, so a release build does no work here.
pub(crate) fn seam(name: &str) {
    if cfg!(debug_assertions) {
        seams::pass(name);
    }
}

mod seams {
    use parking_lot::Mutex;
    use std::{collections::HashMap, sync::LazyLock};

    use rustix::process::Signal;

    struct SeamPoint {
        /// `None`: panic.
        signal: Option<Signal>,
        passings_left: u32,
    }

    static POINTS: LazyLock<Mutex<HashMap<String, SeamPoint>>> = LazyLock::new(|| {
        let setting = std::env::var("LOOMD_SEAM").unwrap_or_default();
        Mutex::new(setting.split(',').filter_map(parse_point).collect())
    });

    /// Signals the calling thread. A stop sent to the process could let this thread run on for a moment.
    #[expect(unsafe_code, reason = "libc's raise takes any number and touches no memory of ours")]
    fn raise(signal: Signal) {
        // SAFETY: see the reason above.
        unsafe { libc::raise(signal.as_raw()) };
    }

    fn parse_point(item: &str) -> Option<(String, SeamPoint)> {
        let (name, action) = item.split_once('=')?;
        let (action, count) = action.split_once('@').unwrap_or((action, "1"));
        let signal = match action {
            "panic" => None,
            "kill" => Some(Signal::KILL),
            _ => Some(Signal::STOP),
        };
        Some((name.trim().to_owned(), SeamPoint { signal, passings_left: count.parse().unwrap_or(1) }))
    }

    pub(crate) fn pass(name: &str) {
        let mut points = POINTS.lock();
        let Some(point) = points.get_mut(name) else { return };
        point.passings_left = point.passings_left.saturating_sub(1);
        if point.passings_left == 0 {
            let signal = point.signal;
            points.remove(name);
            drop(points);
            match signal {
                Some(signal) => raise(signal),
                None => panic!("a test asked for this"),
            }
        }
    }
}

/// The settings that a process started now would inherit, and that others may change while this one runs: limits, priority,
/// processors and control group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InheritedSettings {
    /// Soft and hard limit of each resource.
    limits: Vec<[Option<u64>; 2]>,
    nice: Option<i32>,
    cpus: Vec<usize>,
    /// `/proc/self/cgroup` and `/proc/self/oom_score_adj`.
    files: [Vec<u8>; 2],
}

impl InheritedSettings {
    /// Those of the calling thread. On systems other than Linux it knows none.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn now() -> Self {
        Self { limits: Vec::new(), nice: None, cpus: Vec::new(), files: [Vec::new(), Vec::new()] }
    }

    /// Those of the calling thread.
    #[cfg(target_os = "linux")]
    pub(crate) fn now() -> Self {
        use rustix::{
            process::{Resource, getpriority_process, getrlimit},
            thread::{CpuSet, sched_getaffinity},
        };
        const RESOURCES: [Resource; 16] = [
            Resource::Cpu,
            Resource::Fsize,
            Resource::Data,
            Resource::Stack,
            Resource::Core,
            Resource::Rss,
            Resource::Nproc,
            Resource::Nofile,
            Resource::Memlock,
            Resource::As,
            Resource::Locks,
            Resource::Sigpending,
            Resource::Msgqueue,
            Resource::Nice,
            Resource::Rtprio,
            Resource::Rttime,
        ];
        let limits = RESOURCES.map(getrlimit).map(|limit| [limit.current, limit.maximum]).to_vec();
        let cpus = sched_getaffinity(None).map(|cpus| (0..CpuSet::MAX_CPU).filter(|cpu| cpus.is_set(*cpu)).collect());
        let files = ["/proc/self/cgroup", "/proc/self/oom_score_adj"].map(|path| std::fs::read(path).unwrap_or_default());
        Self { limits, nice: getpriority_process(None).ok(), cpus: cpus.unwrap_or_default(), files }
    }
}

/// The last words of this process's argv, in the memory from which the system shows them. A process that learns only later
/// what it does says so by changing them.
#[derive(Debug)]
pub(crate) struct LastWords {
    address: usize,
    bytes: usize,
}

impl LastWords {
    /// Finds the words, which are the last ones of this process's argv.
    pub(crate) fn find(words: &[&str]) -> io::Result<Self> {
        let bytes = words.iter().map(|word| word.len() + 1).sum();
        let found = argv_end().and_then(|end| Some(Self { address: end.checked_sub(bytes)?, bytes }));
        found.filter(|found| found.shown() == joined(words)).ok_or_else(|| io::Error::other("the argv of this process cannot be changed"))
    }

    /// Puts other words in their place, which are as long all together.
    #[expect(unsafe_code, reason = "the bytes were found to be those of argv, which are writable and which nothing else here uses")]
    pub(crate) fn replace(self, words: &[&str]) {
        let new = joined(words);
        assert_eq!(new.len(), self.bytes, "the new words take the place of the old ones");
        // SAFETY: `find` has seen that these bytes belong to argv, in this process's own stack.
        unsafe { std::ptr::copy_nonoverlapping(new.as_ptr(), self.address as *mut u8, self.bytes) };
    }

    #[expect(unsafe_code, reason = "the system says that argv ends there, and the words that were given are a part of it")]
    fn shown(&self) -> &[u8] {
        // SAFETY: the bytes before the end of argv belong to argv, which is at least as long as its last words.
        unsafe { std::slice::from_raw_parts(self.address as *const u8, self.bytes) }
    }
}

fn joined(words: &[&str]) -> Vec<u8> {
    words.iter().flat_map(|word| word.bytes().chain([0])).collect()
}

/// The address behind the last byte of argv, by proc_pid_stat(5). `None` where the system does not tell, or has another
/// argv than this process was started with.
fn argv_end() -> Option<usize> {
    let stat = std::fs::read("/proc/self/stat").ok()?;
    let stat = String::from_utf8_lossy(&stat);
    let mut fields = stat[stat.rfind(')')? + 1..].split_ascii_whitespace().skip(45);
    let (start, end): (usize, usize) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    let length: usize = std::env::args_os().map(|word| word.len() + 1).sum();
    (start != 0 && end.checked_sub(start)? == length).then_some(end)
}

/// Whether any child is left, including zombies that are not reaped.
pub(crate) fn has_children() -> bool {
    let asked = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    !matches!(waitid(WaitId::All, asked), Err(rustix::io::Errno::CHILD))
}

/// Reaps every child that has ended. This process waits for children nowhere else, because a run's orphans become its
/// children.
pub(crate) fn reap(mut ended: impl FnMut(u32, WaitStatus)) {
    while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
        ended(pid.as_raw_nonzero().get().cast_unsigned(), status);
    }
}

/// The process group of a process; `None` if there is no such process.
pub(crate) fn group_of(pid: u32) -> Option<u32> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw)?;
    getpgid(Some(pid)).ok().map(|group| group.as_raw_nonzero().get().cast_unsigned())
}
