//! Queries a provider outside of a run: its version, its options, its sessions. A query starts the provider's program
//! for a moment and leaves no process behind.

use std::{collections::BTreeMap, ffi::OsString, path::Path, time::Duration};

use serde_json::Value;

use super::providers::{self, KnownProvider};
use crate::{
    config::Config,
    environment::Environment,
    model::{Failure, FailureKind, ProviderInfo},
    process::run_once,
    provider::{ProbeQuery, Reply, StdinUse},
};

/// How long a program may take to tell its version.
const VERSION_TIMEOUT: Duration = Duration::from_secs(15);

/// Queries a provider. Blocking.
pub(crate) fn probe(known: &KnownProvider, query: &ProbeQuery, cwd: &str, environment: &Environment) -> Result<Value, Failure> {
    let capability = match query {
        ProbeQuery::Options { .. } => "options",
        ProbeQuery::Sessions { .. } => "sessions",
    };
    let unsupported = || Failure::unsupported(capability, format!("`{}` does not support this request", known.name));
    let mut probe = known.provider.and_then(|provider| provider.probe(query)).ok_or_else(unsupported)?;
    let mut program = known.argv(None).map_err(|_| unsupported())?;
    let mut env = environment.base();
    env.extend(known.env.clone());
    let path = env.get("PATH").map(OsString::from);
    if let Some(first) = program.first_mut() {
        *first = known.find(first, Path::new(cwd), path.as_deref())?.to_string_lossy().into_owned();
    }
    let launch = probe.launch(&program);
    for (name, value) in launch.env {
        env.entry(name).or_insert(value);
    }
    let conversation = run_once::Invocation {
        argv: launch.argv.into_iter().chain(known.args.clone()).collect(),
        env: env.into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
        cwd: cwd.into(),
        piped_stdin: launch.stdin == StdinUse::Protocol,
        timeout: known.start_timeout,
    };
    let mut answer = None;
    let first = probe.start();
    let ended = run_once::run(&conversation, &first, |line| match probe.handle_line(line) {
        Reply::Send(bytes) => run_once::AfterLine::Write(bytes),
        Reply::Done(result) => {
            answer = Some(result);
            run_once::AfterLine::Stop
        }
    });
    match (answer, ended) {
        (Some(answer), _) => answer,
        (None, Ok(ending)) => {
            let tail = ending.stderr.trim().lines().last().unwrap_or_default().to_owned();
            let message = format!("`{}` did not answer within {} s; {tail}", known.name, known.start_timeout.as_secs());
            Err(Failure::internal(message.trim_end_matches("; ").to_owned()))
        }
        (None, Err(error)) => Err(Failure::new(FailureKind::SpawnFailed, format!("`{}` cannot be started: {error}", known.name))
            .with("reason", "system")
            .with("program", conversation.argv.first().cloned().unwrap_or_default())
            .with("cwd", cwd)
            .with("hint", "start it in a terminal to see why")),
    }
}

/// All providers with the versions that their programs tell. Starts each program for a moment, all at once. Blocking.
pub(crate) fn all_with_versions(config: &Config, environment: &Environment) -> Vec<ProviderInfo> {
    let base = environment.base();
    let mut all = providers::all(config, environment.known_path().as_deref());
    std::thread::scope(|scope| {
        for info in &mut all {
            let Ok(known) = providers::known(config, &info.id) else { continue };
            let base = &base;
            scope.spawn(move || {
                if let (Some(program), Some(args)) = (&info.program, known.version_args()) {
                    let mut env = base.clone();
                    env.extend(known.env.clone());
                    info.version = version(program, args, env);
                }
            });
        }
    });
    all
}

/// The version that a program tells: the first token of its output that looks like one.
fn version(program: &str, args: &[&str], env: BTreeMap<String, String>) -> Option<String> {
    let argv: Vec<String> = std::iter::once(program).chain(args.iter().copied()).map(str::to_owned).collect();
    let mut output = Vec::new();
    let env = env.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
    let conversation = run_once::Invocation { argv, env, cwd: "/".into(), piped_stdin: false, timeout: VERSION_TIMEOUT };
    // Output that came before a failure may still hold a version.
    run_once::run(&conversation, &[], |line| {
        output.extend_from_slice(line);
        output.push(b' ');
        run_once::AfterLine::Continue
    })
    .ok();
    version_in(&String::from_utf8_lossy(&output))
}

fn version_in(text: &str) -> Option<String> {
    let tokens = text.split(|character: char| character.is_whitespace() || character == ',' || character == '(');
    let mut versions = tokens.map(|token| token.trim_start_matches('v').trim_end_matches(')'));
    versions.find(|token| token.starts_with(|first: char| first.is_ascii_digit()) && token.contains('.')).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::tree;

    #[test]
    fn a_version_is_found_in_what_programs_say() {
        assert_eq!(version_in("codex-cli 0.169.0").as_deref(), Some("0.169.0"));
        assert_eq!(version_in("2.1.330 (Claude Code)").as_deref(), Some("2.1.330"));
        assert_eq!(version_in("v1.18.33").as_deref(), Some("1.18.33"));
        assert_eq!(version_in("usage: tool"), None);
    }

    #[test]
    fn a_program_tells_its_version_and_leaves_no_process() {
        let dir = tempfile::tempdir().expect("a directory");
        let tool = dir.path().join("tool");
        // The script tells its version only once its background process has written its pid.
        let script = "#!/bin/sh\ncd \"${0%/*}\"\n(setsid sh -c 'echo $$ > new; mv new pid; exec sleep 1000' &)\nwhile [ ! -e pid ]; do :; done\necho tool 1.2.3\n";
        std::fs::write(&tool, script).expect("written");
        std::fs::set_permissions(&tool, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("changed");
        assert_eq!(version(tool.to_str().expect("text"), &[], std::env::vars().collect()).as_deref(), Some("1.2.3"));
        let pid: u32 = std::fs::read_to_string(dir.path().join("pid")).expect("a pid").trim().parse().expect("a number");
        let processes = tree::all().expect("a list of processes");
        assert!(processes.get(&pid).is_none_or(|process| process.zombie), "{pid} was left");
    }
}
