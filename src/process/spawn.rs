//! Starts the program of a run in a process group of its own, with default signal handling. On Linux the program is
//! killed when its supervisor dies.

use std::{
    ffi::OsString,
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::process::CommandExt,
    },
    path::PathBuf,
    process::{Command, Stdio},
};

use rustix::{
    fs::{Mode, OFlags, fcntl_getfl, fcntl_setfl},
    process::Pid,
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{SpecialCodeIndex, Winsize, tcgetattr, tcsetwinsize},
};
use tokio::io::unix::AsyncFd;

use crate::model::TerminalSize;

/// The pipe of a program that writes much.
const LARGE_PIPE_BYTES: usize = 1 << 20;

/// A program to start.
#[derive(Debug)]
pub struct Program {
    /// The executable, as [`super::find::program`] found it.
    pub path: PathBuf,
    /// The name that the program gets as `argv[0]`, and its arguments.
    pub argv: Vec<String>,
    pub cwd: PathBuf,
    /// The whole environment.
    pub env: Vec<(OsString, OsString)>,
    /// The umask for the files that it creates.
    pub umask: u32,
    pub input: StdioMode,
    /// Gives stdout a pipe of [`LARGE_PIPE_BYTES`] from the start.
    pub large_stdout: bool,
}

/// What the program's stdin, stdout and stderr are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StdioMode {
    /// stdin is /dev/null, the outputs are pipes.
    Null,
    /// All three are pipes.
    Pipe,
    /// All three are one pseudoterminal of this size.
    Terminal(TerminalSize),
}

/// A program that was started. Only the supervisor's wait loop may reap it, because it reaps every child.
#[derive(Debug)]
pub struct SpawnedProgram {
    pub pid: Pid,
    /// The writing end of its stdin. Under a pseudoterminal it is a copy of `stdout`, the master.
    pub stdin: Option<OwnedFd>,
    pub stdout: OwnedFd,
    /// `None` under a pseudoterminal.
    pub(crate) stderr: Option<OwnedFd>,
}

/// Starts a program. The calling thread must live as long as the supervisor: on Linux the kernel kills the program when
/// that thread ends, because `PR_SET_PDEATHSIG` follows the thread, not the process.
pub fn spawn(program: &Program) -> io::Result<SpawnedProgram> {
    let mut command = Command::new(&program.path);
    command.arg0(&program.argv[0]).args(&program.argv[1..]).current_dir(&program.cwd);
    command.env_clear().envs(program.env.iter().map(|(name, value)| (name, value)));
    let terminal = match program.input {
        StdioMode::Terminal(size) => Some(open_terminal(size)?),
        StdioMode::Null | StdioMode::Pipe => None,
    };
    let mut outputs = None;
    match &terminal {
        Some((_, slave)) => {
            command.stdin(slave.try_clone()?).stdout(slave.try_clone()?).stderr(slave.try_clone()?);
        }
        None => {
            let stdin = if program.input == StdioMode::Pipe { Stdio::piped() } else { Stdio::null() };
            let (stdout, theirs) = io::pipe()?;
            if program.large_stdout {
                enlarge_pipe(&stdout);
            }
            outputs = Some(stdout);
            command.stdin(stdin).stdout(theirs).stderr(Stdio::piped()).process_group(0);
        }
    }
    prepare_child(&mut command, program.umask, terminal.is_some());
    let mut child = command.spawn()?;
    let pid = Pid::from_raw(child.id().cast_signed()).expect("a child has a pid");
    // Our copies of the other ends would keep the outputs open.
    drop(command);
    let Some((master, _slave)) = terminal else {
        return Ok(SpawnedProgram {
            pid,
            stdin: child.stdin.take().map(OwnedFd::from),
            stdout: outputs.expect("without a terminal there is a pipe").into(),
            stderr: child.stderr.take().map(OwnedFd::from),
        });
    };
    Ok(SpawnedProgram { pid, stdin: Some(master.try_clone()?), stdout: master, stderr: None })
}

/// Gives a pipe more space. A user may have 64 MiB of such pipes (pipe(7)); without a large one the program just waits
/// for its reader more often.
pub(crate) fn enlarge_pipe(pipe: impl AsFd) {
    rustix::pipe::fcntl_setpipe_size(pipe, LARGE_PIPE_BYTES).ok();
}

/// Makes the command the leader of a new session, so that neither a key nor a hang-up of our terminal signals it.
#[expect(unsafe_code, reason = "the closure runs after fork, makes one async-signal-safe system call, and allocates nothing")]
pub(crate) fn start_new_session(command: &mut Command) {
    // SAFETY: see the reason above.
    unsafe { command.pre_exec(|| rustix::process::setsid().map(drop).map_err(io::Error::from)) };
}

/// Keeps the command in our session, so that it can ask for a password on our terminal, but lets it ignore the keys that
/// interrupt: they are for us. On Linux it ends with this process.
#[expect(unsafe_code, reason = "the closure runs after fork, makes only async-signal-safe system calls, and allocates nothing")]
pub(crate) fn ignore_interrupts(command: &mut Command) {
    let prepare = || {
        for signal in [libc::SIGINT, libc::SIGQUIT] {
            // SAFETY: installs no handler.
            unsafe { libc::signal(signal, libc::SIG_IGN) };
        }
        #[cfg(target_os = "linux")]
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM))?;
        Ok(())
    };
    // SAFETY: see the reason above.
    unsafe { command.pre_exec(prepare) };
}

/// Sets a descriptor (a pipe, a socket, a terminal, a pidfd) to non-blocking mode and registers it with the runtime.
/// The mode belongs to the open file description, so every process that shares the description gets it too.
#[expect(unsafe_code, reason = "tokio requires the caller to guarantee that the descriptor stays open and the same")]
pub(crate) fn register_fd(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    fcntl_setfl(&fd, fcntl_getfl(&fd)? | OFlags::NONBLOCK)?;
    // SAFETY: an `OwnedFd` keeps its descriptor open and its number the same for as long as it lives.
    unsafe { AsyncFd::register(fd) }.map_err(io::Error::from)
}

/// The character that means end-of-file on this terminal; Ctrl-D where the terminal does not say.
pub(crate) fn end_of_file_character(terminal: impl AsFd) -> u8 {
    tcgetattr(terminal).map_or(4, |attributes| attributes.special_codes[SpecialCodeIndex::VEOF])
}

/// Changes the size of a terminal; the kernel sends SIGWINCH to the program in its foreground.
pub(crate) fn set_terminal_size(terminal: impl AsFd, size: TerminalSize) -> io::Result<()> {
    let size = Winsize { ws_row: size.rows, ws_col: size.cols, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(terminal, size).map_err(io::Error::from)
}

fn open_terminal(size: TerminalSize) -> io::Result<(OwnedFd, OwnedFd)> {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let name = ptsname(&master, Vec::new())?;
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let slave = rustix::fs::open(name.as_c_str(), flags, Mode::empty())?;
    set_terminal_size(&master, size)?;
    Ok((master, slave))
}

/// Sets what the child does between fork and exec: signals, session and terminal, umask, and on Linux the death signal.
#[expect(unsafe_code, reason = "the closure runs after fork and makes only async-signal-safe system calls, and allocates nothing")]
fn prepare_child(command: &mut Command, umask: u32, terminal: bool) {
    let parent = rustix::process::getpid();
    let prepare = move || {
        reset_signals();
        if terminal {
            rustix::process::setsid()?;
            rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())?;
        }
        rustix::process::umask(Mode::from_raw_mode(umask));
        #[cfg(target_os = "linux")]
        {
            rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
            // If the parent died before the call above, the signal will never come.
            if rustix::process::getppid() != Some(parent) {
                return Err(io::Error::other("the supervisor has ended"));
            }
        }
        #[cfg(not(target_os = "linux"))]
        let _ = parent;
        Ok(())
    };
    // SAFETY: see the reason above.
    unsafe { command.pre_exec(prepare) };
}

/// Gives every signal its default action and unblocks all signals, so that the program does not inherit what our own
/// caller ignored or blocked.
#[expect(unsafe_code, reason = "libc has no safe way to set a default action; SIG_DFL runs no code of ours")]
pub(super) fn reset_signals() {
    for signal in 1..=libc::SIGUSR2.max(31) {
        if signal != libc::SIGKILL && signal != libc::SIGSTOP {
            // SAFETY: installs no handler; an invalid number is refused by the call.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
    }
    // SAFETY: the set lives on this stack and is initialised by the first call.
    unsafe {
        let mut no_signals = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&raw mut no_signals);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const no_signals, std::ptr::null_mut());
    }
}

/// Whether a program could not be started because it is none for this machine, and no script with a `#!` line.
pub(crate) fn is_not_executable(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::NOEXEC.raw_os_error())
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn program(script: &str, input: StdioMode) -> Program {
        let argv = ["sh", "-c", script].map(str::to_owned).to_vec();
        Program { path: "/bin/sh".into(), argv, cwd: "/".into(), env: Vec::new(), umask: 0o027, input, large_stdout: false }
    }

    fn output_of(script: &str, input: StdioMode) -> String {
        let spawned = spawn(&program(script, input)).expect("sh starts");
        let mut text = Vec::new();
        // On Linux the read ends with an error when the program has closed its side of the pseudoterminal.
        std::fs::File::from(spawned.stdout).read_to_end(&mut text).ok();
        rustix::process::waitpid(Some(spawned.pid), rustix::process::WaitOptions::empty()).expect("it is our child");
        String::from_utf8(text).expect("text")
    }

    #[test]
    fn the_program_gets_its_mask_group_and_nothing_else() {
        assert_eq!(output_of("umask; ls /proc/self/fd | wc -l", StdioMode::Null).split_whitespace().next(), Some("0027"));
        assert_eq!(output_of("test \"$(ps -o pgid= -p $$ | tr -d ' ')\" = $$ && echo leads", StdioMode::Null), "leads\n");
    }

    #[test]
    fn start_new_session_makes_a_session_leader() {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "test \"$(ps -o sid= -p $$ | tr -d ' ')\" = $$"]);
        start_new_session(&mut command);
        assert!(command.status().expect("sh starts").success());
    }

    #[test]
    fn a_terminal_is_a_terminal() {
        assert_eq!(
            output_of("test -t 0 && test -t 1 && test -t 2 && stty size", StdioMode::Terminal(TerminalSize { rows: 50, cols: 132 })),
            "50 132\r\n"
        );
    }
}
