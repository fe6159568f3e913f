//! The children of this process, adopted ones included.

use rustix::{
    io::Errno,
    process::{Pid, WaitId, WaitIdOptions, WaitOptions, WaitStatus, getpgid, wait, waitid},
};

/// Whether any child is left, including zombies that are not reaped.
pub(crate) fn has_children() -> bool {
    let asked = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    !matches!(waitid(WaitId::All, asked), Err(Errno::CHILD))
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
