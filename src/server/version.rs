//! What a program says of its version. It is started for a moment and nothing of it stays.

use std::{collections::BTreeMap, ffi::OsString, time::Duration};

use crate::process::ask;

/// How long a program may take to tell.
const PATIENCE: Duration = Duration::from_secs(15);

/// What a program says of its version: the first word that looks like one.
pub fn version(program: &str, args: &[&str], env: &BTreeMap<String, String>) -> Option<String> {
    let argv: Vec<String> = std::iter::once(program).chain(args.iter().copied()).map(str::to_owned).collect();
    let mut said = Vec::new();
    let conversation = ask::Conversation { argv, env: own_env(env), cwd: "/".into(), talks: false, patience: PATIENCE };
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

/// This server's environment, and what a provider's configuration adds.
pub fn own_env(added: &BTreeMap<String, String>) -> Vec<(OsString, OsString)> {
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
