//! From orders to a running program: the run's directory gets its final name only when program and socket are there.

use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
};

use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::{UnixStream, unix::OwnedWriteHalf},
    sync::mpsc,
};

use super::{
    agent::Agent,
    claim::Claim,
    control,
    run::Supervisor,
    words::{Birth, Orders, line},
};
use crate::{
    log::{Appender, RunDir},
    model::{Entry, Failure, FailureKind, RunState, StateEntry},
    process::{
        detach::{self, Inheritance, MARK},
        disk, find, own,
        spawn::{self, Input, Program, Spawned},
    },
};

/// Runs one run from its orders to its end.
pub async fn supervise(inheritance: Inheritance) -> io::Result<()> {
    inheritance.orders.set_nonblocking(true)?;
    let (reader, writer) = UnixStream::from_std(inheritance.orders)?.into_split();
    let mut reader = BufReader::new(reader);
    let mut text = Vec::new();
    if reader.read_until(b'\n', &mut text).await? == 0 {
        // The server died before it said anything: the next one sweeps the directory.
        return Ok(());
    }
    let orders: Orders = serde_json::from_slice(&text)?;
    drop(text);
    own::release_code();
    let runs = PathBuf::from(&orders.runs);
    let unborn = RunDir::unborn(&runs, orders.run.id);
    match give_birth(&orders, &runs, &unborn) {
        Ok(born) => {
            tell(&writer, &Birth::Started(Box::new(born.log.picture()))).await?;
            own::release_code();
            let (heard, words) = mpsc::unbounded_channel();
            tokio::task::spawn_local(control::accept(born.listener, heard.clone()));
            control::open_halves(reader, writer, 0, heard);
            // Held until this process ends: the proof that the run lives.
            let _lock = inheritance.lock;
            Supervisor::new(orders, born.dir, born.log, born.program, born.agent)?.run(words).await
        }
        Err(failure) => {
            // Leaves no run behind. If this fails too, the directory is swept by the next server that starts.
            let _ = std::fs::remove_dir_all(unborn.path());
            tell(&writer, &Birth::Failed(failure)).await
        }
    }
}

struct Born {
    dir: RunDir,
    log: Appender,
    program: Spawned,
    agent: Option<Agent>,
    listener: tokio::net::UnixListener,
}

fn give_birth(orders: &Orders, runs: &Path, unborn: &RunDir) -> Result<Born, Failure> {
    let store =
        |error: io::Error| Failure::store(unborn.path(), format!("the run's log cannot be made in {}: {error}", unborn.path().display()));
    detach::adopt_orphans().map_err(|error| Failure::internal(format!("the supervisor cannot adopt orphans: {error}")))?;
    let mut log = Appender::open(unborn.clone(), orders.run.clone()).map_err(store)?;
    let listener = control::listen(unborn.path()).map_err(store)?;
    let program = prepare(orders)?;
    let agent = agent(orders, runs)?;
    let spawned = spawn::spawn(&program).map_err(|error| cannot_start(&program, &error))?;
    own::release_code();
    own::seam("supervise.spawned");
    let pid = spawned.pid.as_raw_nonzero().get().cast_unsigned();
    let begun = (|| {
        log.describe(|run| run.pid = Some(pid))?;
        log.entry(|seq| first_entry(orders, seq), crate::log::append::Room::Usual)?;
        let dir = RunDir::of(runs, orders.run.id);
        std::fs::rename(unborn.path(), dir.path())?;
        log.renamed(dir.clone());
        own::seam("supervise.renamed");
        disk::sync_dir(runs)?;
        Ok(dir)
    })();
    match begun {
        Ok(dir) => Ok(Born { dir, log, program: spawned, agent, listener }),
        // The program dies with this process.
        Err(error) => Err(store(error)),
    }
}

/// The one who speaks with an agent. A session that it is to go on with is ours before its program is started.
fn agent(orders: &Orders, runs: &Path) -> Result<Option<Agent>, Failure> {
    let Some(task) = &orders.task else { return Ok(None) };
    let claim = task.resume.as_ref().map(|session| Claim::take(runs, session, orders.run.id)).transpose()?;
    match Agent::new(task, claim) {
        Some(agent) => Ok(Some(agent)),
        None => Err(Failure::internal(format!("there is no provider of kind `{}`", task.kind))),
    }
}

/// An agent without a prompt begins between turns.
fn first_entry(orders: &Orders, seq: u64) -> Entry {
    let turn = orders.task.as_ref().is_none_or(|task| task.prompt.is_some()).then_some(1);
    Entry::State(StateEntry { turn, ..super::phase::state_entry(orders.run.id, seq, RunState::Running) })
}

/// Finds the program as the run itself would, and puts its environment together.
fn prepare(orders: &Orders) -> Result<Program, Failure> {
    let mut env: Vec<(OsString, OsString)> =
        std::env::vars_os().filter(|(name, _)| name.to_str().is_none_or(|name| !orders.env.contains_key(name))).collect();
    if orders.tty && !orders.env.contains_key("TERM") {
        env.retain(|(name, _)| name != "TERM");
        env.push(("TERM".into(), "xterm-256color".into()));
    }
    env.extend(orders.env.iter().filter_map(|(name, value)| Some((name.into(), value.as_ref()?.into()))));
    env.retain(|(name, _)| name != MARK);
    env.push((MARK.into(), orders.run.id.to_string().into()));
    let cwd = PathBuf::from(&orders.run.cwd);
    let name = &orders.run.command[0];
    let failed = |message: String, hint: String| {
        Failure::new(FailureKind::SpawnFailed, message)
            .with("program", name.as_str())
            .with("cwd", orders.run.cwd.as_str())
            .with("hint", hint)
    };
    match std::fs::metadata(&cwd) {
        Ok(metadata) if metadata.is_dir() => {}
        Ok(_) => return Err(failed(format!("the working directory {} is a file", cwd.display()), "name a directory as `cwd`".to_owned())),
        Err(error) => {
            let message = format!("the working directory {} cannot be entered: {error}", cwd.display());
            return Err(failed(message, "create it, or name another as `cwd`".to_owned()));
        }
    }
    let path = env.iter().find(|(name, _)| name == "PATH").map(|(_, value)| value.as_os_str());
    let path = find::program(name, &cwd, path).map_err(|missing| failed(missing.message, missing.hint))?;
    let input = match (orders.tty, orders.talks || (orders.task.is_none() && (orders.interactive || orders.stdin.is_some()))) {
        (true, _) => Input::Terminal,
        (false, true) => Input::Pipe,
        (false, false) => Input::Null,
    };
    Ok(Program { path, argv: orders.run.command.clone(), cwd, env, umask: orders.umask, input })
}

fn cannot_start(program: &Program, error: &io::Error) -> Failure {
    let path = program.path.display();
    let hint = match error.raw_os_error() {
        Some(libc_enoent) if libc_enoent == rustix::io::Errno::NOENT.raw_os_error() => {
            format!("the interpreter that the first line of {path} names, or a loader it needs, is missing; install it")
        }
        Some(e2big) if e2big == rustix::io::Errno::TOOBIG.raw_os_error() => {
            "pass less by arguments and environment; use `stdin`".to_owned()
        }
        Some(noexec) if noexec == rustix::io::Errno::NOEXEC.raw_os_error() => {
            format!("{path} is no program for this machine, or a script without a `#!` line; start it through its interpreter")
        }
        _ => format!("try to start {path} by hand in {}", program.cwd.display()),
    };
    Failure::new(FailureKind::SpawnFailed, format!("{path} cannot be started: {error}"))
        .with("program", program.argv[0].as_str())
        .with("cwd", program.cwd.to_string_lossy())
        .with("hint", hint)
}

async fn tell(writer: &OwnedWriteHalf, birth: &Birth) -> io::Result<()> {
    let line = line(birth);
    let mut rest = line.as_slice();
    while !rest.is_empty() {
        writer.writable().await?;
        match writer.try_write(rest) {
            Ok(written) => rest = &rest[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // The server is gone; the run goes on.
            Err(_) => return Ok(()),
        }
    }
    Ok(())
}
