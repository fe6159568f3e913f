//! Takes a run from its launch to its running program. The run's directory gets its final name only when program
//! and socket exist.

use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
};

use tokio::{net::UnixStream, sync::mpsc};

use super::{
    agent::Agent,
    control,
    launch::{self, READY_LIFETIME, Starter},
    run::Supervisor,
};
use crate::{
    claims::Claim,
    log::{Appender, RunDir, append::Reserve},
    model::{Entry, Failure, FailureKind, RunState, StateEntry, Task, control::LaunchSpec},
    process::{
        current_process,
        detach::{self, InheritedFds, RUN_MARK_VARIABLE},
        disk, find,
        socket::Socket,
        spawn::{self, Program, SpawnedProgram, StdioMode},
    },
    provider::plain::has_prompt_placeholder,
    rules::RunRules,
};

/// Supervises one run from its launch to its end.
pub(crate) async fn supervise(inherited: InheritedFds) -> io::Result<()> {
    inherited.control.set_nonblocking(true)?;
    let control = Socket::new(UnixStream::from_std(inherited.control)?)?;
    let (lock, words) = match inherited.lock {
        Some(lock) => (lock, None),
        None => {
            let words = launch::find_words()?;
            match launch::wait_for_lock(&control, tokio::time::sleep(READY_LIFETIME)).await? {
                Some(lock) => (lock, Some(words)),
                None => return Ok(()),
            }
        }
    };
    let Some((starter, spec)) = Starter::receive(control).await? else {
        // The server died before it asked for a run; the next server removes the directory.
        return Ok(());
    };
    words.into_iter().for_each(|words| launch::name_run(words, spec.run.id));
    current_process::release_code_pages();
    let runs = PathBuf::from(&spec.runs);
    let staging = RunDir::staging(&runs, spec.run.id);
    match start_program(&spec, &runs, &staging) {
        Ok(started) => {
            starter.reply(Ok(started.log.snapshot())).await;
            current_process::release_code_pages();
            let (sender, events) = mpsc::unbounded_channel();
            tokio::task::spawn_local(control::accept(started.listener, sender.clone()));
            control::open(starter.reader, starter.socket, control::STARTER, sender);
            // The lock is held until this process ends and proves that the run lives.
            let _lock = lock;
            Supervisor::new(spec, started.dir, started.log, started.program, started.agent)?.run(events).await
        }
        Err(failure) => {
            // A failed start leaves no run behind. If this fails too, the next server that starts removes the
            // directory.
            std::fs::remove_dir_all(staging.path()).ok();
            starter.reply(Err(failure)).await;
            Ok(())
        }
    }
}

struct StartedProgram {
    dir: RunDir,
    log: Appender,
    program: SpawnedProgram,
    agent: Option<Agent>,
    listener: tokio::net::UnixListener,
}

fn start_program(spec: &LaunchSpec, runs: &Path, staging: &RunDir) -> Result<StartedProgram, Failure> {
    let store =
        |error: io::Error| Failure::store(staging.path(), format!("cannot create the run's log in {}: {error}", staging.path().display()));
    detach::adopt_orphans().map_err(|error| Failure::internal(format!("the supervisor cannot adopt orphans: {error}")))?;
    let mut log = Appender::open(staging.clone(), spec.run.clone()).map_err(store)?;
    let listener = control::listen(staging.path()).map_err(store)?;
    let program = prepare_program(spec)?;
    let agent = agent(spec, runs)?;
    let spawned = spawn::spawn(&program).map_err(|error| cannot_start(spec, &program, &error))?;
    current_process::release_code_pages();
    current_process::seam("supervise.spawned");
    let pid = spawned.pid.as_raw_nonzero().get().cast_unsigned();
    let published = (|| {
        log.update_run(|run| run.pid = Some(pid))?;
        log.entry(|seq| first_entry(spec, seq), Reserve::Untouched)?;
        if let Some(size) = spec.run.tty {
            log.entry(|seq| super::size_entry(spec.run.id, seq, size), Reserve::Untouched)?;
        }
        for notice in &spec.notices {
            log.entry(|seq| super::update_entry(spec.run.id, seq, notice.clone()), Reserve::Untouched)?;
        }
        let dir = RunDir::of(runs, spec.run.id);
        std::fs::rename(staging.path(), dir.path())?;
        log.set_dir(dir.clone());
        current_process::seam("supervise.renamed");
        disk::sync_dir(runs)?;
        Ok(dir)
    })();
    match published {
        Ok(dir) => Ok(StartedProgram { dir, log, program: spawned, agent, listener }),
        // On Linux the program is killed when this process ends ([`spawn::spawn`]).
        Err(error) => Err(store(error)),
    }
}

/// The agent of a task; `None` for a command. A session that it resumes is claimed before its program is started.
fn agent(spec: &LaunchSpec, runs: &Path) -> Result<Option<Agent>, Failure> {
    let Some(task) = &spec.task else { return Ok(None) };
    let claim = task.resume.as_ref().map(|session| Claim::take_session(runs, session, spec.run.id)).transpose()?;
    let own_paths = runs.parent().into_iter().map(Path::to_owned).chain(spec.config.as_ref().map(PathBuf::from)).collect();
    match Agent::new(task, claim, RunRules::new(&task.provider, &task.cwd, own_paths)) {
        Some(agent) => Ok(Some(agent)),
        None => Err(Failure::internal(format!("unknown provider kind `{}`", task.kind))),
    }
}

/// The entry that begins a run. An agent without a prompt begins between turns.
fn first_entry(spec: &LaunchSpec, seq: u64) -> Entry {
    let turn = spec.task.as_ref().is_none_or(|task| task.prompt.is_some()).then_some(1);
    Entry::State(StateEntry { turn, ..super::state_entry(spec.run.id, seq, RunState::Running) })
}

/// Finds the program in the run's own environment and working directory, and puts the environment together.
fn prepare_program(spec: &LaunchSpec) -> Result<Program, Failure> {
    let mut env: Vec<(OsString, OsString)> =
        std::env::vars_os().filter(|(name, _)| name.to_str().is_none_or(|name| !spec.env.contains_key(name))).collect();
    if spec.run.tty.is_some() && !spec.env.contains_key("TERM") {
        env.retain(|(name, _)| name != "TERM");
        env.push(("TERM".into(), "xterm-256color".into()));
    }
    env.extend(spec.env.iter().filter_map(|(name, value)| Some((name.into(), value.as_ref()?.into()))));
    env.retain(|(name, _)| name != RUN_MARK_VARIABLE);
    env.push((RUN_MARK_VARIABLE.into(), spec.run.id.to_string().into()));
    let cwd = PathBuf::from(&spec.run.cwd);
    let name = &spec.run.command[0];
    let failed = |message: String, hint: String| {
        Failure::new(FailureKind::SpawnFailed, message).with("program", name.as_str()).with("cwd", spec.run.cwd.as_str()).with("hint", hint)
    };
    match std::fs::metadata(&cwd) {
        Ok(metadata) if metadata.is_dir() => {}
        Ok(_) => {
            return Err(
                failed(format!("the working directory {} is a file", cwd.display()), "name a directory".to_owned()).with("reason", "cwd")
            );
        }
        Err(error) => {
            let message = format!("the working directory {} cannot be entered: {error}", cwd.display());
            return Err(failed(message, "create it, or name another one".to_owned()).with("reason", "cwd"));
        }
    }
    let path = env.iter().find(|(name, _)| name == "PATH").map(|(_, value)| value.as_os_str());
    let path =
        find::program(name, &cwd, path).map_err(|missing| failed(missing.to_string(), missing.hint()).with("reason", missing.reason()))?;
    let input = match spec.run.tty {
        Some(size) => StdioMode::Terminal(size),
        None if spec.protocol_on_stdin || (spec.task.is_none() && (spec.interactive || spec.stdin.is_some())) => StdioMode::Pipe,
        None => StdioMode::Null,
    };
    // An agent may exit right after its last words, and some runtimes then drop what does not fit into the pipe.
    let large_stdout = spec.task.is_some();
    Ok(Program { path, argv: spec.run.command.clone(), cwd, env, umask: spec.umask, input, large_stdout })
}

fn cannot_start(spec: &LaunchSpec, program: &Program, error: &io::Error) -> Failure {
    let path = program.path.display();
    let hint = match error.kind() {
        io::ErrorKind::NotFound => {
            format!("the interpreter that the first line of {path} names, or a loader it needs, is missing; install it")
        }
        io::ErrorKind::ArgumentListTooLong => {
            let has_prompt =
                |task: &Task| has_prompt_placeholder(task.plain.resume.as_ref().filter(|_| task.resume.is_some()).unwrap_or(&task.program));
            match spec.task.as_ref().is_some_and(has_prompt) {
                true => {
                    "leave `{prompt}` out of the provider's command in the configuration; it then gets the prompt on its stdin".to_owned()
                }
                false => "shorten the arguments and the environment; write the rest to its stdin".to_owned(),
            }
        }
        _ if spawn::is_not_executable(error) => {
            format!("{path} is not a program for this machine, or it is a script without a `#!` line; start it with its interpreter")
        }
        _ => format!("start {path} in a terminal in {} to see why", program.cwd.display()),
    };
    Failure::new(FailureKind::SpawnFailed, format!("{path} cannot be started: {error}"))
        .with("reason", "system")
        .with("program", program.argv[0].as_str())
        .with("cwd", program.cwd.to_string_lossy())
        .with("hint", hint)
}
