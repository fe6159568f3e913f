//! Starts a supervisor out of everybody's reach: own session, no parent of ours, no descriptor by accident.
//!
//! Editors end the trees of their children when a window reloads, so the supervisor must not be found by walking
//! parents. The process that is forked from the server forks once more and ends; the supervisor's parent is then init,
//! or the nearest subreaper.

use std::{
    ffi::OsStr,
    io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
        unix::{net::UnixStream, process::CommandExt},
    },
    process::{Command, Stdio},
};

use rustix::io::{dup2, fcntl_dupfd_cloexec};

use super::lock::Lock;

const ORDERS_FD: RawFd = 3;
const LOCK_FD: RawFd = 4;

/// The mark by which the processes of a run are known, in their environment.
pub const MARK: &str = "LOOMD_RUN_ID";

/// What a supervisor is born with.
#[derive(Debug)]
pub struct Inheritance {
    /// The server's end says what to start and hears how it went.
    pub orders: UnixStream,
    /// The lock on the run's directory.
    pub lock: Lock,
}

/// Starts this same executable as `loomd ARGS…`, detached. Returns once it runs.
#[expect(unsafe_code, reason = "the closure runs after fork and makes only async-signal-safe system calls, and allocates nothing")]
pub fn spawn_detached(args: &[&OsStr], orders: BorrowedFd<'_>, lock: &Lock) -> io::Result<()> {
    // Above the numbers that they will get, so that placing one never overwrites the other.
    let orders = fcntl_dupfd_cloexec(orders, 10)?;
    let lock = fcntl_dupfd_cloexec(lock.as_fd(), 10)?;
    let mut command = Command::new(own_executable()?);
    command.arg0("loomd").args(args).current_dir("/").env_remove(MARK);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let detach = move || {
        super::spawn::reset_signals();
        rustix::process::setsid()?;
        // SAFETY: fork in a child that has only this thread; the parent leaves without running anything.
        match unsafe { libc::fork() } {
            -1 => return Err(io::Error::last_os_error()),
            0 => {}
            // SAFETY: as above.
            _ => unsafe { libc::_exit(0) },
        }
        place(&orders, ORDERS_FD)?;
        place(&lock, LOCK_FD)?;
        close_on_exec_from(LOCK_FD + 1);
        Ok(())
    };
    // SAFETY: see the reason above.
    unsafe { command.pre_exec(detach) };
    // The one that is waited for is the one in the middle, which has ended already.
    command.spawn()?.wait()?;
    Ok(())
}

/// Takes what [`spawn_detached`] left. To be called once, first thing in the supervisor.
#[expect(unsafe_code, reason = "the two descriptors were placed by the parent; nothing else in this process owns them")]
pub fn inheritance() -> io::Result<Inheritance> {
    for fd in [ORDERS_FD, LOCK_FD] {
        // SAFETY: only asks whether the number is open.
        if unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) } == -1 {
            return Err(io::Error::other("`loomd supervise` is started by a loomd server, not by hand"));
        }
    }
    // SAFETY: both are open, and this function is called once.
    let (orders, lock) = unsafe { (OwnedFd::from_raw_fd(ORDERS_FD), OwnedFd::from_raw_fd(LOCK_FD)) };
    Ok(Inheritance { orders: orders.into(), lock: Lock::from_fd(lock) })
}

/// Makes this process the one that orphans of its tree come to, so that none gets away.
pub fn adopt_orphans() -> io::Result<()> {
    #[cfg(target_os = "linux")]
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    Ok(())
}

/// The executable of this process, also when its file was replaced by a newer one.
fn own_executable() -> io::Result<std::path::PathBuf> {
    if cfg!(target_os = "linux") { Ok("/proc/self/exe".into()) } else { std::env::current_exe() }
}

#[expect(unsafe_code, reason = "the target number is wrapped only for the call and never closed by the wrapper")]
fn place(fd: &OwnedFd, at: RawFd) -> io::Result<()> {
    // SAFETY: `ManuallyDrop` keeps the number open; whatever was there is replaced on purpose.
    let mut target = std::mem::ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(at) });
    dup2(fd.as_fd(), &mut target).map_err(io::Error::from)?;
    debug_assert_ne!(fd.as_raw_fd(), at);
    Ok(())
}

/// Marks every descriptor from `first` on so that the next exec closes it.
#[expect(unsafe_code, reason = "there is no safe wrapper for close_range; it only changes flags of our own descriptors")]
fn close_on_exec_from(first: RawFd) {
    #[cfg(target_os = "linux")]
    {
        // SAFETY: changes flags only.
        let done = unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
        if done == 0 {
            return;
        }
    }
    // SAFETY: numbers that are not open are refused.
    (first..4096).for_each(|fd| unsafe {
        libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC);
    });
}
