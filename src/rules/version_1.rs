//! The older form of `rules.json`, which an editor's plugin wrote. Nothing uses it until a person has taken over its rules one by one.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use super::{
    RulesFile,
    error::{FileProblem, MAX_FILE_BYTES, RulesError},
};
use crate::{
    model::rule::{CommandPattern, RuleDecision, RuleTerms},
    process::disk,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OldFile {
    version: u64,
    rules: Vec<OldRule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OldRule {
    decision: RuleDecision,
    kind: Option<String>,
    command: Option<String>,
    path: Option<String>,
    cwd: Option<String>,
    provider: Option<String>,
}

/// The rules in a file of version 1, as rules that mean no more than they did.
pub(crate) fn read(path: &Path) -> Result<Vec<RuleTerms>, RulesError> {
    let wrong = |problem: FileProblem| RulesError::File { path: path.to_owned(), problem };
    let text = disk::read_own_file(path, MAX_FILE_BYTES).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => wrong(FileProblem::Missing),
        _ => wrong(FileProblem::Unreadable(error)),
    })?;
    let file: OldFile = serde_json::from_slice(&text).map_err(|error| wrong(FileProblem::NotVersionOne(error)))?;
    if file.version != 1 {
        return Err(wrong(FileProblem::OtherVersion(file.version)));
    }
    Ok(file.rules.into_iter().map(terms).collect())
}

fn terms(old: OldRule) -> RuleTerms {
    RuleTerms {
        decision: old.decision,
        provider: old.provider,
        tool_kind: old.kind,
        command: old.command.map(CommandPattern::Line),
        path: old.path.as_deref().map(path_pattern),
        cwd: old.cwd.map(|cwd| from_home(&cwd)),
    }
}

/// A star of version 1 stood for anything, slashes included.
fn path_pattern(old: &str) -> String {
    let part = |part: &str| match part.strip_prefix('*').map(|rest| rest.trim_start_matches('*')) {
        Some("") => "**".to_owned(),
        Some(rest) => format!("**/*{}", rest.replace("**", "*")),
        None => part.replace("**", "*"),
    };
    from_home(&old.split('/').map(part).collect::<Vec<_>>().join("/"))
}

fn from_home(path: &str) -> String {
    let home = std::env::var("HOME").unwrap_or_default();
    match path.strip_prefix("~/") {
        Some(rest) if !home.is_empty() => format!("{home}/{rest}"),
        _ => path.to_owned(),
    }
}

/// Gives the user's own file another name, so that a new one can stand in its place. Returns that name; `None`: `path` is another file.
pub(crate) fn set_aside(path: &Path) -> Result<Option<PathBuf>, RulesError> {
    let own = RulesFile::of_user()?;
    if !matches!((path.canonicalize(), own.path().canonicalize()), (Ok(path), Ok(own)) if path == own) {
        return Ok(None);
    }
    let aside = own.path().with_file_name("rules.version-1.json");
    // A link fails where a file of that name exists; a renaming would replace it.
    fs::hard_link(own.path(), &aside).and_then(|()| fs::remove_file(own.path())).map_err(|error| {
        let problem = FileProblem::NotRenamed { to: aside.clone(), error };
        RulesError::File { path: own.path().to_owned(), problem }
    })?;
    Ok(Some(aside))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use serde_json::json;

    use super::*;

    #[test]
    fn old_rules_mean_no_more_than_they_did() {
        let folder = tempfile::tempdir().expect("a directory");
        let path = folder.path().join("old.json");
        let write = |text: String| {
            fs::write(&path, text).expect("written");
            fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).expect("its mode is set");
        };
        let old = [
            json!({ "decision": "allow", "kind": "execute", "provider": "claude", "cwd": "/w", "command": "make *" }),
            json!({ "decision": "deny", "path": "/w/*" }),
            json!({ "decision": "allow", "path": "/w/*.rs" }),
            json!({ "decision": "allow", "path": "/w/a*b/**c/**" }),
        ];
        write(json!({ "version": 1, "rules": old }).to_string());
        let new = [
            json!({ "decision": "allow", "provider": "claude", "toolKind": "execute", "command": "make *", "cwd": "/w" }),
            json!({ "decision": "deny", "path": "/w/**" }),
            json!({ "decision": "allow", "path": "/w/**/*.rs" }),
            json!({ "decision": "allow", "path": "/w/a*b/**/*c/**" }),
        ];
        assert_eq!(json!(read(&path).expect("it is good")), json!(new));
        for bad in [r#"{"version": 2, "rules": []}"#, r#"{"version": 1, "rules": [{"decision": "allow", "new": 1}]}"#, "[]"] {
            write(bad.to_owned());
            assert!(matches!(read(&path).expect_err(bad), RulesError::File { .. }), "{bad}");
        }
    }
}
