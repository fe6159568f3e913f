//! Finds the processes of a run, by parentage and by the mark in their environment, and signals them.
//!
//! A pid can be reused, so [`ObservedProcess`] names a process by its pid and start time together. On Linux [`signal`]
//! opens a pidfd, compares the start time after that, and signals through the pidfd: a pid that was reused in between
//! is not signaled. Systems without pidfds compare the start time right before the signal.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    time::Duration,
};

use rustix::process::{Pid, Signal, test_kill_process};

use super::detach::RUN_MARK_VARIABLE;

/// Longest command line that is reported, in bytes.
const MAX_COMMAND_LINE_BYTES: usize = 200;

/// How often [`wait_for_exit`] looks at a process that it cannot be notified about.
const EXIT_POLL_INTERVAL: Duration = Duration::from_millis(500);

/// A process as [`all`] found it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ObservedProcess {
    pub(crate) pid: u32,
    pub(crate) parent: u32,
    /// Start time in a unit of the system's own. It distinguishes the process from a later one with the same pid.
    pub(crate) started: u64,
    /// It has exited and is not reaped yet, so there is nothing left to signal.
    pub(crate) zombie: bool,
    /// The processor time that it and its reaped children have used; zero where the system does not tell.
    pub(crate) processor_time: Duration,
}

/// All processes that this user can list, by pid.
pub(crate) fn all() -> io::Result<BTreeMap<u32, ObservedProcess>> {
    system::all()
}

/// One process; `None` if it is gone.
pub(crate) fn observe(pid: u32) -> Option<ObservedProcess> {
    system::observe(pid)
}

/// The run mark in a process's environment.
pub(crate) fn mark_of(pid: u32) -> Option<String> {
    let prefix = format!("{RUN_MARK_VARIABLE}=");
    let environment = system::environment(pid);
    let mark = environment.split(|byte| *byte == 0).find_map(|item| item.strip_prefix(prefix.as_bytes()))?;
    String::from_utf8(mark.to_owned()).ok()
}

/// The argv of a process; empty if it is gone.
pub(crate) fn argv(pid: u32) -> Vec<String> {
    system::argv(pid)
}

/// The descendants of `root`, without `root` itself.
pub(crate) fn descendants(processes: &BTreeMap<u32, ObservedProcess>, root: u32) -> Vec<ObservedProcess> {
    let mut children: BTreeMap<u32, Vec<&ObservedProcess>> = BTreeMap::new();
    for process in processes.values() {
        children.entry(process.parent).or_default().push(process);
    }
    let mut descendants = Vec::new();
    let mut unvisited = vec![root];
    let mut visited = BTreeSet::from([root]);
    while let Some(pid) = unvisited.pop() {
        for child in children.get(&pid).into_iter().flatten() {
            if visited.insert(child.pid) {
                descendants.push((*child).clone());
                unvisited.push(child.pid);
            }
        }
    }
    descendants
}

/// Those of `processes` whose environment has [`RUN_MARK_VARIABLE`] set to `run`. Zombies are left out.
pub(crate) fn marked(processes: &BTreeMap<u32, ObservedProcess>, run: &str) -> Vec<ObservedProcess> {
    let mark = format!("{RUN_MARK_VARIABLE}={run}");
    let carries = |process: &&ObservedProcess| {
        !process.zombie && system::environment(process.pid).split(|byte| *byte == 0).any(|item| item == mark.as_bytes())
    };
    processes.values().filter(carries).cloned().collect()
}

/// The command line of a process, joined by spaces and shortened to [`MAX_COMMAND_LINE_BYTES`]. Empty if the process is
/// gone.
pub(crate) fn command_line(pid: u32) -> String {
    let mut line = system::argv(pid).join(" ");
    if line.len() > MAX_COMMAND_LINE_BYTES {
        line.truncate(line.floor_char_boundary(MAX_COMMAND_LINE_BYTES - '…'.len_utf8()));
        line.push('…');
    }
    line
}

/// The names of a process: those of its executable and of its first argument; for Java alone, which runs every program
/// under the same executable, that of its main class or jar. No other word of a command line counts, for anybody may give
/// a program any word.
fn names(pid: u32) -> Vec<String> {
    let argv = system::argv(pid);
    let base = |word: &str| word.rsplit('/').next().unwrap_or(word).to_owned();
    let mut names: Vec<String> = system::executable(pid).iter().chain(argv.first()).map(|word| base(word)).collect();
    if names.iter().any(|name| name == "java") {
        names.extend(java_program(&argv));
    }
    names
}

/// The main class of a Java command line without its package, or its jar without directory and ending.
fn java_program(argv: &[String]) -> Option<String> {
    const WITH_VALUE: [&str; 9] = [
        "-cp",
        "-classpath",
        "--class-path",
        "-p",
        "--module-path",
        "--upgrade-module-path",
        "--add-modules",
        "--add-opens",
        "--add-exports",
    ];
    let mut words = argv.iter().skip(1);
    while let Some(word) = words.next() {
        if word == "-jar" {
            let jar = words.next()?.rsplit('/').next()?;
            return Some(jar.strip_suffix(".jar").unwrap_or(jar).to_owned());
        }
        if WITH_VALUE.contains(&word.as_str()) {
            words.next();
        } else if !word.starts_with(['-', '@']) {
            return word.rsplit(['.', '/']).next().map(str::to_owned);
        }
    }
    None
}

/// The name by which `keep` spares a process.
pub(crate) fn keep_name(pid: u32) -> String {
    names(pid).pop().unwrap_or_else(|| system::name(pid))
}

/// Whether a process has left the sessions of this process and of `leader`, as daemons do.
pub(crate) fn session_of_its_own(pid: u32, leader: u32) -> Option<u32> {
    let id = |pid: Pid| pid.as_raw_nonzero().get().cast_unsigned();
    let own = rustix::process::getsid(None).ok().map(id)?;
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let session = rustix::process::getsid(pid).ok().map(id)?;
    (session != own && session != leader).then_some(session)
}

/// Whether a process is one of the programs `keep`, by one of its [`names`]. Bazel's server calls itself `bazel(DIRECTORY)`.
pub(crate) fn is_one_of(pid: u32, keep: &[String]) -> bool {
    let names = if keep.is_empty() { Vec::new() } else { names(pid) };
    keep.iter()
        .any(|keep| names.iter().any(|name| name == keep || name.strip_prefix(keep.as_str()).is_some_and(|rest| rest.starts_with('('))))
}

/// Signals a process, unless it is gone or its pid names another process by now.
pub(crate) fn signal(process: &ObservedProcess, signal: Signal) -> io::Result<()> {
    system::signal(process, signal)
}

/// Signals a whole process group.
pub(crate) fn signal_group(leader: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(leader).ok().and_then(Pid::from_raw) {
        // An error means that the group has no process any more, which is what the caller wants.
        rustix::process::kill_process_group(pid, signal).ok();
    }
}

/// Completes when the process `pid`, which need not be our child, has exited; at once if there is none.
pub(crate) async fn wait_for_exit(pid: u32) -> io::Result<()> {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return Ok(()) };
    #[cfg(target_os = "linux")]
    match rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::NONBLOCK) {
        Ok(pidfd) => {
            // A pidfd is readable once its process has ended.
            super::spawn::register_fd(pidfd)?.readable().await?.retain_ready();
            return Ok(());
        }
        Err(rustix::io::Errno::SRCH) => return Ok(()),
        Err(error) => tracing::debug!(%error, "no pidfd; polling the process every half second"),
    }
    while !matches!(test_kill_process(pid), Err(rustix::io::Errno::SRCH)) {
        tokio::time::sleep(EXIT_POLL_INTERVAL).await;
    }
    Ok(())
}

#[cfg(target_os = "linux")]
mod system {
    use std::{collections::BTreeMap, fs, io, time::Duration};

    use rustix::{
        param::clock_ticks_per_second,
        process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
    };

    use super::ObservedProcess;

    pub(crate) fn all() -> io::Result<BTreeMap<u32, ObservedProcess>> {
        let names = fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
        Ok(names.filter_map(|pid| Some((pid, observe(pid)?))).collect())
    }

    /// Reads `/proc/PID/stat`, see proc_pid_stat(5). The name in parentheses may contain spaces and parentheses, so
    /// fields are counted from the last closing parenthesis.
    pub(crate) fn observe(pid: u32) -> Option<ObservedProcess> {
        let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
        let stat = String::from_utf8_lossy(&stat);
        let mut fields = stat[stat.rfind(')')? + 1..].split_ascii_whitespace();
        let zombie = matches!(fields.next()?, "Z" | "X");
        let parent = fields.next()?.parse().ok()?;
        // Its own time as a user and in the system, and its children's.
        let ticks: u64 = fields.by_ref().skip(9).take(4).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
        let started = fields.nth(4)?.parse().ok()?;
        let processor_time = Duration::from_millis(ticks * 1000 / clock_ticks_per_second().max(1));
        Some(ObservedProcess { pid, parent, started, zombie, processor_time })
    }

    pub(crate) fn environment(pid: u32) -> Vec<u8> {
        fs::read(format!("/proc/{pid}/environ")).unwrap_or_default()
    }

    pub(crate) fn argv(pid: u32) -> Vec<String> {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = line.strip_suffix(b"\0").unwrap_or(&line);
        if line.is_empty() {
            Vec::new()
        } else {
            line.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect()
        }
    }

    pub(crate) fn executable(pid: u32) -> Option<String> {
        Some(fs::read_link(format!("/proc/{pid}/exe")).ok()?.to_string_lossy().into_owned())
    }

    pub(crate) fn name(pid: u32) -> String {
        fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim_end().to_owned()
    }

    pub(crate) fn signal(process: &ObservedProcess, signal: Signal) -> io::Result<()> {
        let pid = i32::try_from(process.pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
        let pidfd = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => pidfd,
            Err(rustix::io::Errno::SRCH) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        if observe(process.pid).is_some_and(|now| now.started == process.started) {
            match pidfd_send_signal(&pidfd, signal) {
                Ok(()) | Err(rustix::io::Errno::SRCH) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

/// Systems without /proc: ps(1) lists the processes, and shows a process's environment to its owner.
#[cfg(not(target_os = "linux"))]
mod system {
    use std::{collections::BTreeMap, io, process::Command, time::Duration};

    use rustix::process::{Pid, Signal, kill_process};

    use super::ObservedProcess;

    fn ps(args: &[&str]) -> io::Result<String> {
        Ok(String::from_utf8_lossy(&Command::new("/bin/ps").args(args).output()?.stdout).into_owned())
    }

    pub(crate) fn all() -> io::Result<BTreeMap<u32, ObservedProcess>> {
        let listing = ps(&["-axo", "pid=,ppid=,stat=,lstart="])?;
        Ok(listing.lines().filter_map(|line| parse_ps_line(line)).map(|process| (process.pid, process)).collect())
    }

    pub(crate) fn observe(pid: u32) -> Option<ObservedProcess> {
        ps(&["-o", "pid=,ppid=,stat=,lstart=", "-p", &pid.to_string()]).ok()?.lines().next().and_then(parse_ps_line)
    }

    fn parse_ps_line(line: &str) -> Option<ObservedProcess> {
        let mut fields = line.split_ascii_whitespace();
        let pid = fields.next()?.parse().ok()?;
        let parent = fields.next()?.parse().ok()?;
        let zombie = fields.next()?.starts_with('Z');
        let started = blake3::hash(fields.collect::<Vec<_>>().join(" ").as_bytes());
        let started = u64::from_le_bytes(started.as_bytes()[..8].try_into().ok()?);
        Some(ObservedProcess { pid, parent, started, zombie, processor_time: Duration::ZERO })
    }

    pub(crate) fn environment(pid: u32) -> Vec<u8> {
        let line = ps(&["-wwEo", "command=", "-p", &pid.to_string()]).unwrap_or_default();
        line.trim_end().bytes().map(|byte| if byte == b' ' { 0 } else { byte }).collect()
    }

    pub(crate) fn argv(pid: u32) -> Vec<String> {
        let line = ps(&["-wwo", "command=", "-p", &pid.to_string()]).unwrap_or_default();
        line.split_ascii_whitespace().map(str::to_owned).collect()
    }

    pub(crate) fn executable(pid: u32) -> Option<String> {
        Some(ps(&["-o", "comm=", "-p", &pid.to_string()]).ok()?.trim().to_owned())
    }

    pub(crate) fn name(pid: u32) -> String {
        executable(pid).unwrap_or_default()
    }

    pub(crate) fn signal(process: &ObservedProcess, signal: Signal) -> io::Result<()> {
        if observe(process.pid).is_some_and(|now| now.started == process.started) {
            let pid = i32::try_from(process.pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
            kill_process(pid, signal)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;

    use super::*;

    fn observed(pid: u32, parent: u32) -> (u32, ObservedProcess) {
        (pid, ObservedProcess { pid, parent, started: 1, zombie: false, processor_time: Duration::ZERO })
    }

    #[test]
    fn descendants_of_descendants_are_found() {
        let processes = BTreeMap::from([observed(1, 0), observed(10, 1), observed(11, 10), observed(12, 11), observed(20, 1)]);
        let pids: Vec<u32> = descendants(&processes, 10).iter().map(|process| process.pid).collect();
        assert_eq!(pids, [11, 12]);
    }

    #[test]
    fn a_process_that_left_the_tree_is_found_by_its_mark() {
        let mut child =
            std::process::Command::new("/bin/sleep").arg("60").env(RUN_MARK_VARIABLE, "test-mark-of-tree").spawn().expect("sleep starts");
        // The environment is readable only a moment after the spawn, once the child has called exec.
        let list_marked = || marked(&all().expect("processes can be listed"), "test-mark-of-tree");
        let deadline = std::time::Instant::now() + Duration::from_secs(10);
        let marked =
            std::iter::repeat_with(list_marked).find(|list| !list.is_empty() || std::time::Instant::now() > deadline).expect("endless");
        assert_eq!(marked.iter().map(|process| process.pid).collect::<Vec<_>>(), [child.id()]);
        assert!(is_one_of(child.id(), &["sleep".to_owned()]) && !is_one_of(child.id(), &["sle".to_owned()]));
        assert_eq!(command_line(child.id()), "/bin/sleep 60");
        let stranger = ObservedProcess { started: marked[0].started + 1, ..marked[0].clone() };
        signal(&stranger, Signal::KILL).expect("a stranger is left alone");
        assert!(child.try_wait().expect("it is our child").is_none());
        signal(&marked[0], Signal::KILL).expect("it may be signalled");
        assert!(!child.wait().expect("it is our child").success());
    }

    #[test]
    fn java_programs_are_known_by_their_main_class_or_jar_and_no_other_word() {
        let program = |line: &str| java_program(&line.split(' ').map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(
            program("java -Xmx1g -cp a.jar:b.jar org.gradle.launcher.daemon.bootstrap.GradleDaemon 8.1").as_deref(),
            Some("GradleDaemon")
        );
        assert_eq!(program("/usr/bin/java -ea -jar /opt/x/daemon.jar GradleDaemon").as_deref(), Some("daemon"));
        assert_eq!(program("java -Dname=GradleDaemon Evil GradleDaemon").as_deref(), Some("Evil"));
        assert_eq!(program("java -version"), None);
    }

    #[test]
    fn a_word_of_a_command_line_spares_no_process() {
        let started = |command: &mut std::process::Command| command.stdin(std::process::Stdio::piped()).spawn().expect("it starts");
        let mut children = [
            started(std::process::Command::new("sh").args(["-c", "read x", "gradle"])),
            started(std::process::Command::new("cat").arg0("-")),
        ];
        for child in &mut children {
            let deadline = std::time::Instant::now() + Duration::from_secs(10);
            while system::executable(child.id()) == system::executable(std::process::id()) && std::time::Instant::now() < deadline {
                std::thread::yield_now();
            }
            assert!(!is_one_of(child.id(), &["gradle".to_owned(), "read x".to_owned()]), "{}", command_line(child.id()));
            child.kill().expect("it is our child");
            child.wait().expect("it is our child");
        }
    }
}
