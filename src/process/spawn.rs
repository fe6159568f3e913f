//! Starts the program of a run: in a group of its own, with clean signals, dying with its supervisor.

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
    fs::Mode,
    process::Pid,
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{SpecialCodeIndex, Winsize, tcgetattr, tcsetwinsize},
};

/// What is to be started.
#[derive(Debug)]
pub struct Program {
    /// The executable, found.
    pub path: PathBuf,
    /// What it is called, and its arguments.
    pub argv: Vec<String>,
    pub cwd: PathBuf,
    /// The whole environment.
    pub env: Vec<(OsString, OsString)>,
    /// Mask for the files that it creates.
    pub umask: u32,
    pub input: Input,
}

/// Where its stdin, stdout and stderr lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// stdin is /dev/null, the outputs are pipes.
    Null,
    /// All three are pipes.
    Pipe,
    /// All three are one pseudoterminal.
    Terminal,
}

/// A program that was started. Nobody but the supervisor's one wait loop may reap it.
#[derive(Debug)]
pub struct Spawned {
    pub pid: Pid,
    /// Where to write for its stdin. Under a pseudoterminal the same as `stdout`, from the other side.
    pub stdin: Option<OwnedFd>,
    pub stdout: OwnedFd,
    /// `None` under a pseudoterminal.
    pub stderr: Option<OwnedFd>,
}

/// Starts a program. The calling thread must live as long as the supervisor: on Linux the program is killed when that
/// thread ends (`PR_SET_PDEATHSIG` follows the thread, not the process).
pub fn spawn(program: &Program) -> io::Result<Spawned> {
    let mut command = Command::new(&program.path);
    command.arg0(&program.argv[0]).args(&program.argv[1..]).current_dir(&program.cwd);
    command.env_clear().envs(program.env.iter().map(|(name, value)| (name, value)));
    let terminal = match program.input {
        Input::Terminal => Some(open_terminal()?),
        Input::Null | Input::Pipe => None,
    };
    match &terminal {
        Some((_, slave)) => {
            command.stdin(slave.try_clone()?).stdout(slave.try_clone()?).stderr(slave.try_clone()?);
        }
        None => {
            let stdin = if program.input == Input::Pipe { Stdio::piped() } else { Stdio::null() };
            command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        }
    }
    in_child(&mut command, program.umask, terminal.is_some());
    let mut child = command.spawn()?;
    let pid = Pid::from_raw(child.id().cast_signed()).expect("a child has a pid");
    let Some((master, _slave)) = terminal else {
        return Ok(Spawned {
            pid,
            stdin: child.stdin.take().map(OwnedFd::from),
            stdout: child.stdout.take().expect("stdout is piped").into(),
            stderr: child.stderr.take().map(OwnedFd::from),
        });
    };
    Ok(Spawned { pid, stdin: Some(master.try_clone()?), stdout: master, stderr: None })
}

/// The character that means end-of-file on this terminal.
pub fn end_of_file_character(terminal: impl AsFd) -> u8 {
    tcgetattr(terminal).map_or(4, |attributes| attributes.special_codes[SpecialCodeIndex::VEOF])
}

fn open_terminal() -> io::Result<(OwnedFd, OwnedFd)> {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let name = ptsname(&master, Vec::new())?;
    let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC;
    let slave = rustix::fs::open(name.as_c_str(), flags, Mode::empty())?;
    tcsetwinsize(&master, Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 })?;
    Ok((master, slave))
}

/// What the child does to itself between fork and exec.
#[expect(unsafe_code, reason = "the closure runs after fork and makes only async-signal-safe system calls, and allocates nothing")]
fn in_child(command: &mut Command, umask: u32, terminal: bool) {
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
            // The parent may have died before the line above: then no signal will come.
            if rustix::process::getppid() != Some(parent) {
                return Err(io::Error::other("the supervisor is gone"));
            }
        }
        #[cfg(not(target_os = "linux"))]
        let _ = parent;
        Ok(())
    };
    // SAFETY: see the reason above.
    unsafe { command.pre_exec(prepare) };
}

/// Gives every signal its default action and unblocks them all: what our caller ignored is not the program's business.
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
        let mut none = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn program(script: &str, input: Input) -> Program {
        let argv = ["sh", "-c", script].map(str::to_owned).to_vec();
        Program { path: "/bin/sh".into(), argv, cwd: "/".into(), env: Vec::new(), umask: 0o027, input }
    }

    fn output_of(script: &str, input: Input) -> String {
        let spawned = spawn(&program(script, input)).expect("sh starts");
        let mut text = Vec::new();
        // A pseudoterminal whose other side is closed reads as an error on Linux.
        let _ = std::fs::File::from(spawned.stdout).read_to_end(&mut text);
        rustix::process::waitpid(Some(spawned.pid), rustix::process::WaitOptions::empty()).expect("it is our child");
        String::from_utf8(text).expect("text")
    }

    #[test]
    fn the_program_gets_its_mask_group_and_nothing_else() {
        assert_eq!(output_of("umask; ls /proc/self/fd | wc -l", Input::Null).split_whitespace().next(), Some("0027"));
        assert_eq!(output_of("test \"$(ps -o pgid= -p $$ | tr -d ' ')\" = $$ && echo leads", Input::Null), "leads\n");
    }

    #[test]
    fn a_terminal_is_a_terminal() {
        assert_eq!(output_of("test -t 0 && test -t 1 && test -t 2 && stty size", Input::Terminal), "24 80\r\n");
    }
}
