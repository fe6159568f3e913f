//! Questions to a provider outside of a run: its options, its sessions. The program is started for a moment and nothing of it stays.

use std::{collections::BTreeMap, ffi::OsString, path::Path, time::Duration};

use serde_json::Value;

use super::{providers::Known, version::own_env};
use crate::{
    model::{Failure, FailureKind},
    process::ask,
    provider::{Question, Reply, Stdin},
};

/// How long a program may take to answer: as long as one has for its first words in a run.
const PATIENCE: Duration = Duration::from_secs(60);

/// Puts a question to a provider. Blocking.
pub fn inquire(known: &Known, question: &Question, cwd: &str) -> Result<Value, Failure> {
    let capability = match question {
        Question::Options { .. } => "options",
        Question::Sessions { .. } => "sessions",
    };
    let unsupported = || Failure::unsupported(capability, format!("`{}` has no way to be asked for this", known.name));
    let mut inquiry = known.provider.and_then(|provider| provider.inquire(question)).ok_or_else(unsupported)?;
    let mut program = known.argv(None).map_err(|_| unsupported())?;
    let env = own_env(&known.env);
    let path = env.iter().find(|(name, _)| name == "PATH").map(|(_, value)| value.clone());
    if let Some(first) = program.first_mut() {
        *first = known.find(first, Path::new(cwd), path.as_ref())?.to_string_lossy().into_owned();
    }
    let launch = inquiry.launch(&program);
    let mut env: BTreeMap<OsString, OsString> = env.into_iter().collect();
    for (name, value) in launch.env {
        env.entry(name.into()).or_insert_with(|| value.into());
    }
    let conversation = ask::Conversation {
        argv: launch.argv.into_iter().chain(known.args.clone()).collect(),
        env: env.into_iter().collect(),
        cwd: cwd.into(),
        talks: launch.stdin == Stdin::Protocol,
        patience: PATIENCE,
    };
    let mut answer = None;
    let first = inquiry.begin();
    let ended = ask::converse(&conversation, &first, |line| match inquiry.line(line) {
        Reply::Say(bytes) => ask::Next::Say(bytes),
        Reply::Done(result) => {
            answer = Some(result);
            ask::Next::Done
        }
    });
    match (answer, ended) {
        (Some(answer), _) => answer,
        (None, Ok(stderr)) => {
            let tail = stderr.trim().lines().last().unwrap_or_default().to_owned();
            let message = format!("`{}` gave no answer within {} s; {tail}", known.name, PATIENCE.as_secs());
            Err(Failure::internal(message.trim_end_matches("; ").to_owned()))
        }
        (None, Err(error)) => Err(Failure::new(FailureKind::SpawnFailed, format!("`{}` cannot be started: {error}", known.name))
            .with("program", conversation.argv.first().cloned().unwrap_or_default())
            .with("cwd", cwd)
            .with("hint", "try to start it by hand")),
    }
}
