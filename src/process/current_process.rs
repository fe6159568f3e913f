//! Settings of this process itself: its umask, priority, memory and user id, and the seams at which tests stop it.

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
    process::{getuid, umask},
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
