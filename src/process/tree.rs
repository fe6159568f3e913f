//! The processes of a run: found by parentage and by the mark in their environment, ended by handles that cannot hit
//! a stranger.
//!
//! A process is named by its pid and its start time together, and a signal goes through a pidfd whose start time was
//! looked at after it was opened: a pid that was reused in between is not signalled.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

use rustix::process::{Pid, Signal};

use super::detach::MARK;

/// A process as it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub pid: u32,
    pub parent: u32,
    /// In the system's own unit; tells a process from a later one with the same pid.
    pub started: u64,
    /// Ended, but not yet reaped: nothing runs any more.
    pub zombie: bool,
}

/// All processes that can be seen, by pid.
pub fn all() -> io::Result<BTreeMap<u32, Seen>> {
    system::all()
}

/// What descends from `root`, without `root` itself.
pub fn descendants(processes: &BTreeMap<u32, Seen>, root: u32) -> Vec<Seen> {
    let mut children: BTreeMap<u32, Vec<&Seen>> = BTreeMap::new();
    for process in processes.values() {
        children.entry(process.parent).or_default().push(process);
    }
    let mut found = Vec::new();
    let mut waiting = vec![root];
    let mut visited = BTreeSet::from([root]);
    while let Some(pid) = waiting.pop() {
        for child in children.get(&pid).into_iter().flatten() {
            if visited.insert(child.pid) {
                found.push((*child).clone());
                waiting.push(child.pid);
            }
        }
    }
    found
}

/// Those of `processes` whose environment carries the mark of run `run`.
pub fn marked(processes: &BTreeMap<u32, Seen>, run: &str) -> Vec<Seen> {
    let mark = format!("{MARK}={run}");
    let carries =
        |process: &&Seen| !process.zombie && system::environment(process.pid).split(|byte| *byte == 0).any(|item| item == mark.as_bytes());
    processes.values().filter(carries).cloned().collect()
}

/// The command line of a process, words joined by spaces, at most 200 bytes. Empty if it is gone.
pub fn command_line(pid: u32) -> String {
    let mut line = system::argv(pid).join(" ");
    if line.len() > 200 {
        line.truncate(line.floor_char_boundary(197));
        line.push('…');
    }
    line
}

/// Whether a process is one of the programs `keep`: by the name of its executable, of its first argument, or, for
/// what an interpreter runs, by a word of its command line that ends in the name.
pub fn is_one_of(pid: u32, keep: &[String]) -> bool {
    if keep.is_empty() {
        return false;
    }
    let argv = system::argv(pid);
    let executable = system::executable(pid);
    let base = |word: &str| word.rsplit('/').next().unwrap_or(word).to_owned();
    let mut names = vec![system::name(pid), executable.as_deref().map(base).unwrap_or_default()];
    names.extend(argv.first().map(|word| base(word)));
    let interpreted =
        names.iter().any(|name| ["java", "node", "python", "ruby", "perl", "sh", "bash"].iter().any(|known| name.starts_with(known)));
    keep.iter().any(|keep| {
        let named = names.iter().any(|name| name == keep || name.strip_prefix(keep.as_str()).is_some_and(|rest| rest.starts_with('(')));
        named || (interpreted && argv.iter().skip(1).any(|word| base(word) == *keep || word.rsplit('.').next() == Some(keep)))
    })
}

/// Signals a process, unless it is no longer the one that was seen.
pub fn signal(process: &Seen, signal: Signal) -> io::Result<()> {
    system::signal(process, signal)
}

/// Signals a whole process group.
pub fn signal_group(leader: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(leader).ok().and_then(Pid::from_raw) {
        // Nobody left in the group is what we want.
        let _ = rustix::process::kill_process_group(pid, signal);
    }
}

/// The name of a signal, as `run/state` says it.
pub fn signal_name(number: i32) -> String {
    const NAMES: [(i32, &str); 20] = [
        (libc::SIGHUP, "SIGHUP"),
        (libc::SIGINT, "SIGINT"),
        (libc::SIGQUIT, "SIGQUIT"),
        (libc::SIGILL, "SIGILL"),
        (libc::SIGTRAP, "SIGTRAP"),
        (libc::SIGABRT, "SIGABRT"),
        (libc::SIGBUS, "SIGBUS"),
        (libc::SIGFPE, "SIGFPE"),
        (libc::SIGKILL, "SIGKILL"),
        (libc::SIGUSR1, "SIGUSR1"),
        (libc::SIGSEGV, "SIGSEGV"),
        (libc::SIGUSR2, "SIGUSR2"),
        (libc::SIGPIPE, "SIGPIPE"),
        (libc::SIGALRM, "SIGALRM"),
        (libc::SIGTERM, "SIGTERM"),
        (libc::SIGXCPU, "SIGXCPU"),
        (libc::SIGXFSZ, "SIGXFSZ"),
        (libc::SIGVTALRM, "SIGVTALRM"),
        (libc::SIGPROF, "SIGPROF"),
        (libc::SIGSYS, "SIGSYS"),
    ];
    NAMES.iter().find(|(known, _)| *known == number).map_or_else(|| format!("SIG{number}"), |(_, name)| (*name).to_owned())
}

/// The number of a signal that [`signal_name`] names.
pub fn signal_number(name: &str) -> Option<i32> {
    (1..=64).find(|number| signal_name(*number) == name)
}

#[cfg(target_os = "linux")]
mod system {
    use std::{collections::BTreeMap, fs, io};

    use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

    use super::Seen;

    pub fn all() -> io::Result<BTreeMap<u32, Seen>> {
        let names = fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
        Ok(names.filter_map(|pid| Some((pid, look(pid)?))).collect())
    }

    /// Reads `/proc/PID/stat` (proc_pid_stat(5)): the name in parentheses may hold anything, so fields are counted from its end.
    fn look(pid: u32) -> Option<Seen> {
        let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
        let stat = String::from_utf8_lossy(&stat);
        let mut fields = stat[stat.rfind(')')? + 1..].split_ascii_whitespace();
        let zombie = matches!(fields.next()?, "Z" | "X");
        let parent = fields.next()?.parse().ok()?;
        let started = fields.nth(17)?.parse().ok()?;
        Some(Seen { pid, parent, started, zombie })
    }

    pub fn environment(pid: u32) -> Vec<u8> {
        fs::read(format!("/proc/{pid}/environ")).unwrap_or_default()
    }

    pub fn argv(pid: u32) -> Vec<String> {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = line.strip_suffix(b"\0").unwrap_or(&line);
        if line.is_empty() {
            Vec::new()
        } else {
            line.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect()
        }
    }

    pub fn executable(pid: u32) -> Option<String> {
        Some(fs::read_link(format!("/proc/{pid}/exe")).ok()?.to_string_lossy().into_owned())
    }

    pub fn name(pid: u32) -> String {
        fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim_end().to_owned()
    }

    pub fn signal(process: &Seen, signal: Signal) -> io::Result<()> {
        let pid = i32::try_from(process.pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
        let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => pidfd,
            Err(rustix::io::Errno::SRCH) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        if look(process.pid).is_some_and(|now| now.started == process.started) {
            match pidfd_send_signal(&pidfd, signal) {
                Ok(()) | Err(rustix::io::Errno::SRCH) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// Systems without /proc are asked through ps(1), which shows a process's environment to its owner.
#[cfg(not(target_os = "linux"))]
mod system {
    use std::{collections::BTreeMap, io, process::Command};

    use rustix::process::{Pid, Signal, kill_process};

    use super::Seen;

    fn ps(args: &[&str]) -> io::Result<String> {
        Ok(String::from_utf8_lossy(&Command::new("/bin/ps").args(args).output()?.stdout).into_owned())
    }

    pub fn all() -> io::Result<BTreeMap<u32, Seen>> {
        let listing = ps(&["-axo", "pid=,ppid=,stat=,lstart="])?;
        Ok(listing.lines().filter_map(|line| look(line)).map(|seen| (seen.pid, seen)).collect())
    }

    fn look(line: &str) -> Option<Seen> {
        let mut fields = line.split_ascii_whitespace();
        let pid = fields.next()?.parse().ok()?;
        let parent = fields.next()?.parse().ok()?;
        let zombie = fields.next()?.starts_with('Z');
        let started = blake3::hash(fields.collect::<Vec<_>>().join(" ").as_bytes());
        let started = u64::from_le_bytes(started.as_bytes()[..8].try_into().ok()?);
        Some(Seen { pid, parent, started, zombie })
    }

    pub fn environment(pid: u32) -> Vec<u8> {
        let line = ps(&["-wwEo", "command=", "-p", &pid.to_string()]).unwrap_or_default();
        line.trim_end().bytes().map(|byte| if byte == b' ' { 0 } else { byte }).collect()
    }

    pub fn argv(pid: u32) -> Vec<String> {
        let line = ps(&["-wwo", "command=", "-p", &pid.to_string()]).unwrap_or_default();
        line.split_ascii_whitespace().map(str::to_owned).collect()
    }

    pub fn executable(pid: u32) -> Option<String> {
        Some(ps(&["-o", "comm=", "-p", &pid.to_string()]).ok()?.trim().to_owned())
    }

    pub fn name(pid: u32) -> String {
        executable(pid).unwrap_or_default()
    }

    pub fn signal(process: &Seen, signal: Signal) -> io::Result<()> {
        let listing = ps(&["-o", "pid=,ppid=,stat=,lstart=", "-p", &process.pid.to_string()])?;
        if listing.lines().next().and_then(look).is_some_and(|now| now.started == process.started) {
            let pid = i32::try_from(process.pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
            kill_process(pid, signal)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(pid: u32, parent: u32) -> (u32, Seen) {
        (pid, Seen { pid, parent, started: 1, zombie: false })
    }

    #[test]
    fn descendants_are_found_through_generations() {
        let processes = BTreeMap::from([seen(1, 0), seen(10, 1), seen(11, 10), seen(12, 11), seen(20, 1)]);
        let found: Vec<u32> = descendants(&processes, 10).iter().map(|process| process.pid).collect();
        assert_eq!(found, [11, 12]);
    }

    #[test]
    fn the_mark_finds_who_left_the_tree() {
        let mut child = std::process::Command::new("/bin/sleep").arg("60").env(MARK, "test-mark-of-tree").spawn().expect("sleep starts");
        // Its environment can be seen a moment after it was spawned.
        let look = || marked(&all().expect("processes can be listed"), "test-mark-of-tree");
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        let found = std::iter::repeat_with(look).find(|found| !found.is_empty() || std::time::Instant::now() > deadline).expect("endless");
        assert_eq!(found.iter().map(|process| process.pid).collect::<Vec<_>>(), [child.id()]);
        assert!(is_one_of(child.id(), &["sleep".to_owned()]) && !is_one_of(child.id(), &["sle".to_owned()]));
        assert_eq!(command_line(child.id()), "/bin/sleep 60");
        let stranger = Seen { started: found[0].started + 1, ..found[0].clone() };
        signal(&stranger, Signal::KILL).expect("a stranger is left alone");
        assert!(child.try_wait().expect("it is our child").is_none());
        signal(&found[0], Signal::KILL).expect("it may be signalled");
        assert!(!child.wait().expect("it is our child").success());
    }

    #[test]
    fn signals_have_names() {
        assert_eq!(signal_name(libc::SIGKILL), "SIGKILL");
        assert_eq!(signal_number("SIGTERM"), Some(libc::SIGTERM));
    }
}
