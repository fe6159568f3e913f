//! Asks other programs for variables: the user's login shell, and the command of the configuration.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;

use super::Overlay;
use crate::process::run_once::{self, AfterLine, Ending, Invocation};

/// How long a program may take to tell an environment.
const QUERY_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest answer; an environment of more could not be passed to a program.
const MAX_ANSWER_BYTES: usize = 4 << 20;
/// Stands before and behind the shell's environment, because startup files print things of their own.
const MARK: &str = "loomd-environment-begins-or-ends-here";

/// The environment that a login shell makes. It is interactive, because many people set PATH in a file that only
/// interactive shells read.
pub(super) fn login_shell(shell: &str, env: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>, String> {
    let script = format!("echo {MARK}; /usr/bin/env -0; echo {MARK}");
    // The C shells accept -l only alone.
    let flags = if shell.ends_with("csh") { &["-i", "-c"][..] } else { &["-l", "-i", "-c"] };
    let argv: Vec<String> = std::iter::once(shell).chain(flags.iter().copied()).chain([script.as_str()]).map(str::to_owned).collect();
    let (answer, ending) = run(&argv, "/", env, |answer| answer.windows(MARK.len()).filter(|part| *part == MARK.as_bytes()).count() >= 2)?;
    let answer = String::from_utf8_lossy(&answer);
    let mut parts = answer.split(MARK);
    match (parts.next(), parts.next(), parts.next()) {
        (Some(_), Some(told), Some(_)) => {
            let pairs = told.trim_start_matches('\n').split('\0').filter_map(|pair| pair.split_once('='));
            Ok(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
        }
        _ => Err(reason(shell, &ending)),
    }
}

/// The variables that the configuration's command tells as JSON; null removes one. No output: nothing is to change.
pub(super) fn command(argv: &[String], cwd: &str, env: &BTreeMap<String, String>) -> Result<Overlay, String> {
    let name = argv.join(" ");
    let (answer, ending) = run(argv, cwd, env, |_| false)?;
    if ending.timed_out || ending.status.is_none_or(|status| !status.success()) {
        return Err(reason(&name, &ending));
    }
    if answer.trim_ascii().is_empty() {
        return Ok(Overlay::new());
    }
    let told: BTreeMap<String, Value> = serde_json::from_slice(&answer)
        .map_err(|error| format!("`{name}` printed no JSON object of names and values ({error}); fix `command` in [environment]"))?;
    told.into_iter()
        .map(|(variable, value)| match value {
            _ if variable.is_empty() || variable.contains(['=', '\0']) => {
                Err(format!("`{name}` printed {variable:?}, which is no name for an environment variable"))
            }
            Value::Null => Ok((variable, None)),
            Value::String(value) if !value.contains('\0') => Ok((variable, Some(value))),
            _ => Err(format!("`{name}` printed a value for {variable} that is neither text nor null")),
        })
        .collect()
}

fn run(argv: &[String], cwd: &str, env: &BTreeMap<String, String>, is_whole: impl Fn(&[u8]) -> bool) -> Result<(Vec<u8>, Ending), String> {
    let invocation = Invocation {
        argv: argv.to_vec(),
        env: env.iter().map(|(name, value)| (name.into(), value.into())).collect(),
        cwd: cwd.into(),
        piped_stdin: false,
        timeout: QUERY_TIMEOUT,
    };
    let mut answer = Vec::new();
    let ending = run_once::run(&invocation, &[], |line| {
        answer.extend_from_slice(line);
        answer.push(b'\n');
        if is_whole(&answer) || answer.len() > MAX_ANSWER_BYTES { AfterLine::Stop } else { AfterLine::Continue }
    });
    let name = argv.join(" ");
    let ending = ending.map_err(|error| format!("`{name}` cannot be started: {error}; fix [environment] in the configuration"))?;
    if answer.len() > MAX_ANSWER_BYTES {
        return Err(format!("`{name}` printed more than {} MiB", MAX_ANSWER_BYTES >> 20));
    }
    Ok((answer, ending))
}

/// Why there is no answer, with the last line of stderr.
fn reason(name: &str, ending: &Ending) -> String {
    let what = match ending.status {
        _ if ending.timed_out => format!("did not answer within {} s", QUERY_TIMEOUT.as_secs()),
        Some(status) => format!("ended without an answer ({status})"),
        None => "ended without an answer".to_owned(),
    };
    let tail = ending.stderr.trim().lines().last().map_or_else(String::new, |line| format!(": {line}"));
    format!("`{name}` {what}{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env() -> BTreeMap<String, String> {
        [("PATH", "/usr/bin:/bin"), ("HOME", "/nonexistent")].map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    }

    fn told(script: &str) -> Result<Overlay, String> {
        command(&["sh", "-c", script].map(str::to_owned), "/", &env())
    }

    #[test]
    fn a_command_tells_values_and_removals() {
        let overlay = told(r#"printf '{"A": "two\\nlines", "B": null}'"#).expect("it is JSON");
        assert_eq!(overlay, [("A".to_owned(), Some("two\nlines".to_owned())), ("B".to_owned(), None)].into());
        assert_eq!(told("exit 0"), Ok(Overlay::new()), "direnv prints nothing where nothing is to change");
    }

    #[test]
    fn a_command_that_fails_says_why() {
        for (script, part) in [
            ("echo .envrc is blocked >&2; exit 1", "exit status: 1): .envrc is blocked"),
            ("echo hello", "no JSON object"),
            (r#"echo '{"A": 5}'"#, "value for A that is neither text nor null"),
            (r#"echo '{"A=B": "x"}'"#, "no name"),
        ] {
            let error = told(script).expect_err(script);
            assert!(error.contains(part) && !error.contains('\n'), "{script}: {error}");
        }
        let missing = command(&["no-such-program".to_owned()], "/", &env()).expect_err("it is missing");
        assert!(missing.contains("no-such-program") && missing.contains("cannot be started"), "{missing}");
    }

    #[test]
    fn a_login_shell_tells_its_environment_though_its_files_print() {
        let home = tempfile::tempdir().expect("a directory");
        std::fs::write(home.path().join(".profile"), "echo welcome\nexport FROM_PROFILE='two\nlines'\nPATH=/mine:$PATH\n")
            .expect("written");
        let env = BTreeMap::from([("HOME".to_owned(), home.path().display().to_string()), ("PATH".to_owned(), "/bin".to_owned())]);
        let told = login_shell("/bin/bash", &env).expect("bash tells it");
        assert_eq!(told.get("FROM_PROFILE").map(String::as_str), Some("two\nlines"));
        assert!(told["PATH"].starts_with("/mine:"), "{told:?}");
        let error = login_shell("/bin/false", &env).expect_err("it tells nothing");
        assert!(error.contains("/bin/false"), "{error}");
    }
}
