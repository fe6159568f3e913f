//! Questions to a provider outside of a run: its version, its options, its sessions. The program is started for a moment and nothing of it stays.

use std::{collections::BTreeMap, ffi::OsString, path::Path, time::Duration};

use serde_json::Value;

use super::providers::Known;
use crate::{
    model::{Failure, FailureKind},
    process::ask,
    provider::{Question, Reply, Stdin},
};

/// How long a program may take to tell its version,
const VERSION_PATIENCE: Duration = Duration::from_secs(15);
/// and to answer a question: as long as one has for its first words in a run.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a program says of its version: the first word that looks like one.
pub fn version(program: &str, args: &[&str], env: &BTreeMap<String, String>) -> Option<String> {
    let argv: Vec<String> = std::iter::once(program).chain(args.iter().copied()).map(str::to_owned).collect();
    let mut said = Vec::new();
    let conversation = ask::Conversation { argv, env: own_env(env), cwd: "/".into(), talks: false, patience: VERSION_PATIENCE };
    // What was said before it failed may still be a version.
    let _ = ask::converse(&conversation, &[], |line| {
        said.extend_from_slice(line);
        said.push(b' ');
        ask::Next::Wait
    });
    version_in(&String::from_utf8_lossy(&said))
}

fn version_in(text: &str) -> Option<String> {
    let words = text.split(|character: char| character.is_whitespace() || character == ',' || character == '(');
    let mut versions = words.map(|word| word.trim_start_matches('v').trim_end_matches(')'));
    versions.find(|word| word.starts_with(|first: char| first.is_ascii_digit()) && word.contains('.')).map(str::to_owned)
}

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

fn own_env(added: &BTreeMap<String, String>) -> Vec<(OsString, OsString)> {
    let mut env: BTreeMap<OsString, OsString> = std::env::vars_os().collect();
    env.extend(added.iter().map(|(name, value)| (name.into(), value.into())));
    env.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_found_in_what_programs_say() {
        assert_eq!(version_in("codex-cli 0.169.0").as_deref(), Some("0.169.0"));
        assert_eq!(version_in("2.1.330 (Claude Code)").as_deref(), Some("2.1.330"));
        assert_eq!(version_in("v1.18.33").as_deref(), Some("1.18.33"));
        assert_eq!(version_in("usage: tool"), None);
    }

    #[test]
    fn a_program_is_asked_and_nothing_of_it_stays() {
        let dir = tempfile::tempdir().expect("a directory");
        let tool = dir.path().join("tool");
        std::fs::write(&tool, "#!/bin/sh\n(setsid sleep 1000 &)\necho tool 1.2.3\n").expect("written");
        std::fs::set_permissions(&tool, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("changed");
        assert_eq!(version(tool.to_str().expect("text"), &[], &BTreeMap::new()).as_deref(), Some("1.2.3"));
    }
}
