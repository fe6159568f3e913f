//! Waits for the end of a process that is not our child.

use std::{io, time::Duration};

use rustix::process::{Pid, test_kill_process};

/// Completes when the process `pid` is gone; at once if there is none.
pub async fn ended(pid: u32) -> io::Result<()> {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return Ok(()) };
    #[cfg(target_os = "linux")]
    match rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::NONBLOCK) {
        Ok(pidfd) => {
            // A pidfd is readable once its process has ended.
            super::ready::register(pidfd)?.readable().await?.retain_ready();
            return Ok(());
        }
        Err(rustix::io::Errno::SRCH) => return Ok(()),
        Err(error) => tracing::debug!(%error, "no pidfd; looking at the process each half second"),
    }
    while !matches!(test_kill_process(pid), Err(rustix::io::Errno::SRCH)) {
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    Ok(())
}
