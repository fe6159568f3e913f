//! This process itself: its mask for new files, its priority, its user.

use std::sync::atomic::{AtomicU32, Ordering};

use rustix::{
    fs::Mode,
    process::{getuid, umask},
};

static CLIENT_UMASK: AtomicU32 = AtomicU32::new(0o022);

/// Makes everything that this process creates private (0600, 0700), and remembers the mask that it was started with:
/// that one is the programs'. To be called once, before anything is created.
pub fn become_private() {
    CLIENT_UMASK.store(umask(Mode::from_raw_mode(0o077)).as_raw_mode(), Ordering::Relaxed);
}

/// The mask that this process was started with.
pub fn client_umask() -> u32 {
    CLIENT_UMASK.load(Ordering::Relaxed)
}

/// Lets the calling thread run only when nobody else wants the processor: for work that must stand in front of nothing.
pub fn yield_to_everybody() {
    // On Linux a thread has a priority of its own, and is named by its thread id.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(Some(rustix::thread::gettid()), 19) {
        tracing::debug!(%error, "the thread keeps its priority");
    }
}

/// Gives back the pages of code and constants that are mapped but were needed only once; those that are needed again come back by
/// themselves, from memory. The kernel maps code around each first touch, so a start leaves megabytes of it behind.
#[expect(unsafe_code, reason = "the advice is given only on private mappings that nothing has written to: they hold what the file holds")]
pub fn release_code() {
    #[cfg(target_os = "linux")]
    for mapping in std::fs::read_to_string("/proc/self/maps").unwrap_or_default().lines() {
        let mut fields = mapping.split_ascii_whitespace();
        let (Some(range), Some(mode), Some(offset), Some(path)) = (fields.next(), fields.next(), fields.next(), fields.nth(2)) else {
            continue;
        };
        // The beginning of a file that is mapped for reading only: its constants and tables, which nothing relocates.
        let is_constant = mode == "r-xp" || (mode == "r--p" && offset == "00000000");
        let address = |text: &str| usize::from_str_radix(text, 16).ok();
        let Some((from, to)) = range.split_once('-').and_then(|(from, to)| Some((address(from)?, address(to)?))) else { continue };
        if is_constant && path.starts_with('/') {
            // SAFETY: nothing in such a mapping can differ from its file, from which it is filled again when touched.
            let _ = unsafe { libc::madvise(from as *mut libc::c_void, to - from, libc::MADV_DONTNEED) };
        }
    }
}

/// Has large buffers given back to the system as soon as they are freed, and keeps threads from hoarding memory of their
/// own: glibc learns from each large buffer to keep the next one, and gives every thread an arena.
#[expect(unsafe_code, reason = "mallopt only sets numbers, and is called before there are threads")]
pub fn keep_memory_small() {
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

pub fn user() -> u32 {
    getuid().as_raw()
}

/// A point at which a test may stop or kill this process, or make it panic: `LOOMD_SEAM=name=stop,other=kill@3,third=panic`
/// in a debug build.
/// `@3` means the third passing. Release builds pay nothing.
pub fn seam(name: &str) {
    if cfg!(debug_assertions) {
        seams::pass(name);
    }
}

mod seams {
    use std::{
        collections::HashMap,
        sync::{LazyLock, Mutex},
    };

    use rustix::process::Signal;

    struct Point {
        /// `None`: panic.
        signal: Option<Signal>,
        passings_left: u32,
    }

    static POINTS: LazyLock<Mutex<HashMap<String, Point>>> = LazyLock::new(|| {
        let asked = std::env::var("LOOMD_SEAM").unwrap_or_default();
        Mutex::new(asked.split(',').filter_map(point).collect())
    });

    /// Signals the calling thread: sent to the process, a stop might let this thread run on for a moment.
    #[expect(unsafe_code, reason = "libc's raise takes any number and touches no memory of ours")]
    fn raise(signal: Signal) {
        // SAFETY: see the reason above.
        unsafe { libc::raise(signal.as_raw()) };
    }

    fn point(item: &str) -> Option<(String, Point)> {
        let (name, what) = item.split_once('=')?;
        let (what, count) = what.split_once('@').unwrap_or((what, "1"));
        let signal = match what {
            "panic" => None,
            "kill" => Some(Signal::KILL),
            _ => Some(Signal::STOP),
        };
        Some((name.trim().to_owned(), Point { signal, passings_left: count.parse().unwrap_or(1) }))
    }

    pub fn pass(name: &str) {
        let mut points = POINTS.lock().expect("no one panics here");
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
