//! What only a server can tell: that it starts, what the store holds, and whether each live run answers.

use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::Finding;
use crate::{
    cli::{
        client::{Launch, Session},
        words,
    },
    model::{
        Failure, Run,
        calls::{ListParams, ListResult, StatsResult, SyncParams, SyncResult},
    },
};

/// How long a server or a supervisor may think.
const PATIENCE: Duration = Duration::from_secs(10);

pub async fn ask(launch: &Launch) -> Vec<Finding> {
    let began = Instant::now();
    let session = match timeout(PATIENCE, launch.open_quiet()).await {
        Ok(Ok(session)) => session,
        Ok(Err(failure)) => return vec![Finding { mend: None, ..Finding::error("server", failure.message, "") }],
        Err(_) => {
            let found = format!("it does not answer within {} s", PATIENCE.as_secs());
            return vec![Finding::error("server", found, "look into a log made with --log-file and LOOMD_LOG=debug")];
        }
    };
    let took = words::duration(began.elapsed().as_millis() as u64);
    let mut findings = vec![Finding::ok("server", format!("version {} answers (in {took})", session.info.server_info.version))];
    findings.extend(providers(&session));
    findings.push(stats(&session).await);
    match timeout(PATIENCE, live_runs(&session)).await {
        Ok(Ok(runs)) => {
            for run in &runs {
                findings.push(answers(&session, run, launch).await);
            }
        }
        Ok(Err(failure)) => findings.push(failed("runs", failure)),
        Err(_) => findings.push(silent("runs", "the list of runs does not come")),
    }
    session.close().await;
    findings
}

fn providers(session: &Session) -> Vec<Finding> {
    let providers = session.info.providers.iter();
    providers
        .map(|provider| match &provider.reason {
            // Nobody needs all of them.
            Some(reason) if !provider.available => Finding::ok("provider", format!("{} cannot be used: {reason}", provider.id)),
            _ => Finding::ok("provider", format!("{} {}", provider.id, provider.program.as_deref().unwrap_or_default()).trim_end()),
        })
        .collect()
}

async fn stats(session: &Session) -> Finding {
    match timeout(PATIENCE, session.call::<_, StatsResult>("store/stats", ())).await {
        Ok(Ok(stats)) => {
            let found = format!(
                "{} runs ({} live), {} entries, {} of logs in {} (file {}), format {}",
                stats.runs,
                stats.live_runs,
                stats.entries,
                words::bytes(stats.logical_bytes),
                words::bytes(stats.stored_bytes),
                words::bytes(stats.file_bytes),
                stats.format_version
            );
            Finding::ok("history", found)
        }
        Ok(Err(failure)) => failed("history", failure),
        Err(_) => silent("history", "the store does not answer"),
    }
}

async fn live_runs(session: &Session) -> Result<Vec<Run>, Failure> {
    let states = words::parse_states("live").ok();
    let mut params = ListParams { states, limit: Some(500), ..ListParams::default() };
    let mut runs = Vec::new();
    loop {
        let page: ListResult = session.call("run/list", &params).await?;
        runs.extend(page.runs);
        match page.next_cursor {
            Some(cursor) => params.cursor = Some(cursor),
            None => return Ok(runs),
        }
    }
}

/// Only a supervisor that answers can say what it has synced.
async fn answers(session: &Session, run: &Run, launch: &Launch) -> Finding {
    let id = words::short(run.id);
    let sync = session.call::<_, SyncResult>("run/sync", SyncParams { run_id: run.id, seq: None });
    match timeout(PATIENCE, sync).await {
        Ok(Ok(_)) => Finding::ok("live run", format!("{id} answers: {}", words::command_line(&run.command))),
        Ok(Err(failure)) => failed("live run", failure),
        Err(_) => {
            let found = format!("{id} does not answer: its supervisor is stopped or hangs");
            Finding::error("live run", found, format!("`{} cancel {id}` ends it", launch.again()))
        }
    }
}

fn failed(subject: &'static str, failure: Failure) -> Finding {
    Finding { mend: None, ..Finding::error(subject, failure.message, "") }
}

fn silent(subject: &'static str, what: &str) -> Finding {
    Finding::error(subject, format!("{what} within {} s", PATIENCE.as_secs()), "see whether another loomd is stopped or the disk hangs")
}
