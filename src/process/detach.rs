//! Starts a supervisor detached: in a session of its own, without the server as its parent, and with no inherited
//! descriptor but the two that it needs.
//!
//! Editors end the process trees of their children when a window reloads, so the supervisor must not be found by
//! walking parents. The process that the server forks forks once more and exits; the supervisor's parent is then init
//! or the nearest subreaper.

use std::{
    ffi::OsStr,
    io::{self, Write},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
        unix::{net::UnixStream, process::CommandExt},
    },
    process::{Command, Stdio},
};

use rustix::io::{dup2, fcntl_dupfd_cloexec};

use super::{find, lock::Lock};

/// The descriptor numbers that a supervisor starts with, beside stdin, stdout and stderr.
const CONTROL_FD: RawFd = 3;
const LOCK_FD: RawFd = 4;
/// Lowest number for the copies that [`spawn_detached`] makes before it moves them to their numbers. It is above both,
/// so that moving one never overwrites the other.
const FIRST_FREE_FD: RawFd = 10;
/// The word in a supervisor's argv which says that it was started before its run.
pub(crate) const READY_WORD: &str = "--ready";

/// Whether a supervisor can be started before its run: it has to change its argv then ([`super::current_process`]).
pub(crate) const CAN_WAIT_READY: bool = cfg!(target_os = "linux");

/// Where `close_range` is missing, descriptors up to this number are closed on exec.
const FALLBACK_MAX_FDS: RawFd = 4096;

/// The environment variable that marks the processes of a run; its value is the run's id. [`super::tree::marked`] reads
/// it.
pub(crate) const RUN_MARK_VARIABLE: &str = "LOOMD_RUN_ID";

/// The descriptors that a supervisor inherits from the server that starts it.
#[derive(Debug)]
pub(crate) struct InheritedFds {
    /// The first control connection: over it the server launches the run.
    pub(crate) control: UnixStream,
    /// The lock on the run's directory. The supervisor holds it until it exits, which proves that the run is alive.
    /// `None`: the supervisor waits for a run, whose lock comes over the connection.
    pub(crate) lock: Option<Lock>,
}

/// Starts this executable as `loomd ARGS…`, detached. Returns once the exec has succeeded.
pub(crate) fn spawn_detached(args: &[&OsStr], control: BorrowedFd<'_>, lock: Option<&Lock>) -> io::Result<()> {
    let mut command = Command::new(own_executable()?);
    command.arg0("loomd").args(args);
    spawn_command_detached(command, control, lock)
}

/// Starts this executable with these arguments, detached, in a scope of its own below the user's systemd. Returns once
/// `systemd-run` has been started. That makes the scope, puts itself into it, and only then becomes this executable, with the same
/// process id and descriptors; where there is no such systemd it ends instead, maybe after a long time. So it gets no lock.
pub(crate) fn spawn_in_systemd_scope(args: &[&OsStr], control: BorrowedFd<'_>) -> io::Result<()> {
    let path = std::env::var_os("PATH");
    let mut command = Command::new(find::program("systemd-run", "/".as_ref(), path.as_deref()).map_err(io::Error::other)?);
    command.arg0("systemd-run").args(["--user", "--scope", "--collect", "--quiet", "--description=loomd: a supervisor and its run"]);
    command.arg(format!("--unit=loomd-{}", uuid::Uuid::now_v7())).arg("--");
    // This process's own link to its executable leads there though the file was replaced; `self` would be systemd-run.
    command.arg(format!("/proc/{}/exe", std::process::id())).args(args);
    spawn_command_detached(command, control, None)
}

#[expect(unsafe_code, reason = "the closure runs after fork and makes only async-signal-safe system calls, and allocates nothing")]
fn spawn_command_detached(mut command: Command, control: BorrowedFd<'_>, lock: Option<&Lock>) -> io::Result<()> {
    let control = fcntl_dupfd_cloexec(control, FIRST_FREE_FD)?;
    let lock = lock.map(|lock| fcntl_dupfd_cloexec(lock.as_fd(), FIRST_FREE_FD)).transpose()?;
    command.current_dir("/").env_remove(RUN_MARK_VARIABLE);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let detach = move || {
        super::spawn::reset_signals();
        rustix::process::setsid()?;
        // SAFETY: this child of fork has only this thread, and the parent of the second fork exits without running any
        // code.
        match unsafe { libc::fork() } {
            -1 => return Err(io::Error::last_os_error()),
            0 => {}
            // SAFETY: as above.
            _ => unsafe { libc::_exit(0) },
        }
        move_to(&control, CONTROL_FD)?;
        if let Some(lock) = &lock {
            move_to(lock, LOCK_FD)?;
        }
        close_on_exec_from(if lock.is_some() { LOCK_FD + 1 } else { LOCK_FD });
        Ok(())
    };
    // SAFETY: see the reason above.
    unsafe { command.pre_exec(detach) };
    // The child that we wait for is the intermediate process, which has exited already; this reaps it.
    command.spawn()?.wait()?;
    Ok(())
}

/// Starts this executable as `loomd ARGS…`, detached, and outside of the tree whose subreaper this process is: it gets the parent
/// that our orphans would have without us. `input` comes over its control descriptor. For that moment this process adopts no
/// orphans.
pub(crate) fn spawn_outside(args: &[&OsStr], input: &[u8]) -> io::Result<()> {
    let (mut near, far) = UnixStream::pair()?;
    #[cfg(target_os = "linux")]
    rustix::process::set_child_subreaper(None)?;
    let spawned = spawn_detached(args, far.as_fd(), None);
    adopt_orphans()?;
    spawned?;
    near.write_all(input)
}

/// Takes the descriptors that [`spawn_detached`] passed on; the lock only if `has_lock`. The supervisor calls it once,
/// before it opens anything.
#[expect(unsafe_code, reason = "the two descriptors were placed by the parent; nothing else in this process owns them")]
pub(crate) fn inherited_fds(has_lock: bool) -> io::Result<InheritedFds> {
    for fd in if has_lock { CONTROL_FD..=LOCK_FD } else { CONTROL_FD..=CONTROL_FD } {
        // SAFETY: sets a flag, and fails where the number is not open.
        if unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) } == -1 {
            return Err(io::Error::other("`loomd supervise` can only be started by a loomd server; use `loomd run` to start a run"));
        }
    }
    // SAFETY: the number is open, and this function is called once, so nothing else owns it.
    let control = unsafe { OwnedFd::from_raw_fd(CONTROL_FD) };
    // SAFETY: as above.
    let lock = has_lock.then(|| Lock::from_fd(unsafe { OwnedFd::from_raw_fd(LOCK_FD) }));
    Ok(InheritedFds { control: control.into(), lock })
}

/// Makes this process the subreaper of its tree: an orphan in it becomes our child, so the sweep still finds it. On
/// systems without subreapers it does nothing; the run mark finds orphans there.
pub(crate) fn adopt_orphans() -> io::Result<()> {
    #[cfg(target_os = "linux")]
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    Ok(())
}

/// The executable of this process. On Linux it is the running one, even if an upgrade has replaced its file.
fn own_executable() -> io::Result<std::path::PathBuf> {
    if cfg!(target_os = "linux") { Ok("/proc/self/exe".into()) } else { std::env::current_exe() }
}

#[expect(unsafe_code, reason = "the target number is wrapped only for the call and never closed by the wrapper")]
fn move_to(fd: &OwnedFd, at: RawFd) -> io::Result<()> {
    // SAFETY: `ManuallyDrop` keeps the number open after this call. `dup2` closes what the number named before, as
    // intended.
    let mut target = std::mem::ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(at) });
    dup2(fd.as_fd(), &mut target).map_err(io::Error::from)?;
    debug_assert_ne!(fd.as_raw_fd(), at);
    Ok(())
}

/// Sets close-on-exec on every descriptor from `first` on. The fallback reaches only numbers below
/// [`FALLBACK_MAX_FDS`].
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
    // SAFETY: changes flags only; the call refuses numbers that are not open.
    (first..FALLBACK_MAX_FDS).for_each(|fd| unsafe {
        libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC);
    });
}
