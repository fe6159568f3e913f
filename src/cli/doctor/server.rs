//! Checks that need a server: that it starts, what the store holds, and whether each live run answers.

use std::{
    io,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    time::timeout,
};

use super::Finding;
use crate::{
    cli::format,
    client::{ServerLaunch, ServerSession},
    log::RunDir,
    model::{
        Failure, Run,
        calls::{Empty, ListParams},
        control::{Command, ControlRequest, Event, line},
        methods::{RunList, StoreStats},
    },
    supervisor::control,
};

/// Longest wait for a reply of a server or a supervisor.
const REPLY_TIMEOUT: Duration = Duration::from_secs(10);
/// Most runs in one page of `run/list`.
const MAX_PAGE_RUNS: u64 = 500;

pub(crate) async fn check(launch: &ServerLaunch) -> Vec<Finding> {
    let started = Instant::now();
    let session = match timeout(REPLY_TIMEOUT, launch.open_without_notifications()).await {
        Ok(Ok(session)) => session,
        Ok(Err(failure)) => return vec![Finding { fix: None, ..Finding::error("server", failure.message, "") }],
        Err(_) => {
            let detail = format!("no reply within {} s", REPLY_TIMEOUT.as_secs());
            return vec![Finding::error("server", detail, "see its log: --log-file FILE with LOOMD_LOG=debug")];
        }
    };
    let elapsed = format::duration(started.elapsed().as_millis() as u64);
    let mut findings = vec![Finding::ok("server", format!("version {}, started in {elapsed}", session.info.server_info.version))];
    findings.extend(providers(&session));
    findings.push(stats(&session).await);
    let runs_dir = launch.locations.data_dir().unwrap_or_default().join("runs");
    match timeout(REPLY_TIMEOUT, live_runs(&session)).await {
        Ok(Ok(runs)) => {
            let checks = runs.iter().map(|run| async { check_run(&RunDir::of(&runs_dir, run.id), run, launch).await });
            findings.extend(futures_util::future::join_all(checks).await);
        }
        Ok(Err(failure)) => findings.push(failed("runs", failure)),
        Err(_) => findings.push(no_reply("runs", "run/list")),
    }
    session.close().await;
    findings
}

fn providers(session: &ServerSession) -> Vec<Finding> {
    let providers = session.info.providers.iter();
    providers
        .map(|provider| match &provider.reason {
            // An agent that is not installed is no problem: nobody needs all of them.
            Some(reason) if !provider.available => Finding::ok("provider", format!("{} is not available: {reason}", provider.id)),
            _ => Finding::ok("provider", format!("{} {}", provider.id, provider.program.as_deref().unwrap_or_default()).trim_end()),
        })
        .collect()
}

async fn stats(session: &ServerSession) -> Finding {
    match timeout(REPLY_TIMEOUT, session.call(StoreStats, Empty {})).await {
        Ok(Ok(stats)) => {
            let detail = format!(
                "{} runs ({} live), {} entries, {} of logs stored in {} (file: {}), format {}",
                stats.runs,
                stats.live_runs,
                stats.entries,
                format::bytes(stats.logical_bytes),
                format::bytes(stats.stored_bytes),
                format::bytes(stats.file_bytes),
                stats.format_version
            );
            Finding::ok("history", detail)
        }
        Ok(Err(failure)) => failed("history", failure),
        Err(_) => no_reply("history", "store/stats"),
    }
}

async fn live_runs(session: &ServerSession) -> Result<Vec<Run>, Failure> {
    let states = format::parse_states("live").ok();
    let mut params = ListParams { states, limit: Some(MAX_PAGE_RUNS), ..ListParams::default() };
    let mut runs = Vec::new();
    loop {
        let page = session.call(RunList, &params).await?;
        runs.extend(page.runs);
        match page.next_cursor {
            Some(cursor) => params.cursor = Some(cursor),
            None => return Ok(runs),
        }
    }
}

/// Asks the supervisor itself, because a server may answer for the run without asking its supervisor.
async fn check_run(dir: &RunDir, run: &Run, launch: &ServerLaunch) -> Finding {
    let id = format::short_id(run.id);
    match timeout(REPLY_TIMEOUT, ping(dir)).await {
        Ok(Ok(())) => Finding::ok("live run", format!("{id} responds: {}", format::command_line(&run.command))),
        // The run may have ended after it was listed.
        Ok(Err(_)) if !dir.socket().exists() => Finding::ok("live run", format!("{id} has just ended")),
        Ok(Err(error)) => {
            let detail = format!("{id} cannot be reached: {error}");
            Finding::error("live run", detail, format!("run `{} cancel {id}` to clean up", launch.command_prefix()))
        }
        Err(_) => {
            let detail = format!("{id} does not respond; its supervisor is stopped or hangs");
            Finding::error("live run", detail, format!("run `{} cancel {id}` to end it", launch.command_prefix()))
        }
    }
}

/// Sends a supervisor a `Sync` of entry 0, which changes nothing, and waits for the answer.
async fn ping(dir: &RunDir) -> io::Result<()> {
    let mut stream = BufReader::new(control::connect(dir.path()).await?);
    stream.write_all(&line(&ControlRequest { id: 1, command: Command::Sync { seq: Some(0) }, within: Vec::new() })).await?;
    let mut reply = String::new();
    while stream.read_line(&mut reply).await? > 0 {
        if matches!(serde_json::from_str(&reply), Ok(Event::Answer { id: 1, .. })) {
            return Ok(());
        }
        reply.clear();
    }
    Err(io::ErrorKind::UnexpectedEof.into())
}

fn failed(subject: &'static str, failure: Failure) -> Finding {
    Finding { fix: None, ..Finding::error(subject, failure.message, "") }
}

fn no_reply(subject: &'static str, method: &str) -> Finding {
    Finding::error(
        subject,
        format!("no reply to {method} within {} s", REPLY_TIMEOUT.as_secs()),
        "check whether another loomd is stopped or the disk hangs",
    )
}
