//! What only a server can tell: that it starts, what the store holds, and whether each live run answers.

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
    cli::{
        client::{Launch, Session},
        words,
    },
    log::RunDir,
    model::{
        Failure, Run,
        calls::{ListParams, ListResult, StatsResult},
    },
    supervisor::{
        control,
        words::{Asked, Said, Word, line},
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
    let runs_dir = launch.places.data_dir().unwrap_or_default().join("runs");
    match timeout(PATIENCE, live_runs(&session)).await {
        Ok(Ok(runs)) => {
            let asked = runs.iter().map(|run| async { answers(&RunDir::of(&runs_dir, run.id), run, launch).await });
            findings.extend(futures_util::future::join_all(asked).await);
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

/// Asks the supervisor itself: a server may know what it asks for without it.
async fn answers(dir: &RunDir, run: &Run, launch: &Launch) -> Finding {
    let id = words::short(run.id);
    match timeout(PATIENCE, one_word(dir)).await {
        Ok(Ok(())) => Finding::ok("live run", format!("{id} answers: {}", words::command_line(&run.command))),
        // Between the list and this look it may have ended.
        Ok(Err(_)) if !dir.socket().exists() => Finding::ok("live run", format!("{id} has just ended")),
        Ok(Err(error)) => {
            let found = format!("{id} cannot be asked: {error}");
            Finding::error("live run", found, format!("`{} cancel {id}` ends what is left of it", launch.again()))
        }
        Err(_) => {
            let found = format!("{id} does not answer: its supervisor is stopped or hangs");
            Finding::error("live run", found, format!("`{} cancel {id}` ends it", launch.again()))
        }
    }
}

/// Says the most harmless word to a supervisor, and waits for any answer.
async fn one_word(dir: &RunDir) -> io::Result<()> {
    let mut stream = BufReader::new(control::connect(dir.path()).await?);
    stream.write_all(&line(&Asked { id: 1, word: Word::Sync { seq: Some(0) } })).await?;
    let mut said = String::new();
    while stream.read_line(&mut said).await? > 0 {
        if matches!(serde_json::from_str(&said), Ok(Said::Answer { id: 1, .. })) {
            return Ok(());
        }
        said.clear();
    }
    Err(io::ErrorKind::UnexpectedEof.into())
}

fn failed(subject: &'static str, failure: Failure) -> Finding {
    Finding { mend: None, ..Finding::error(subject, failure.message, "") }
}

fn silent(subject: &'static str, what: &str) -> Finding {
    Finding::error(subject, format!("{what} within {} s", PATIENCE.as_secs()), "see whether another loomd is stopped or the disk hangs")
}
