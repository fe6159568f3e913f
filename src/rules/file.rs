//! `rules.json`, in the user's configuration folder. Whoever can write it can allow anything, so only a regular file of the
//! user's that nobody else may write answers anything, and only as long as loomd understands all of it.

use std::{
    io,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use etcetera::BaseStrategy;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{
    error::{FILE_VERSION, FileProblem, MAX_FILE_BYTES, MAX_RULES, RulesError},
    path::{resolve, resolve_pattern},
};
use crate::{
    model::rule::{CommandPattern, Rule, RuleDecision, RuleTerms},
    process::{disk, lock::Lock},
};

/// Longest member of a rule.
const MAX_MEMBER_BYTES: usize = 32 << 10;
/// How long another server may take to change the file.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);
/// How often the lock on the file is tried meanwhile.
const LOCK_RETRY_INTERVAL: Duration = Duration::from_millis(5);

/// The file that keeps the rules.
#[derive(Clone, Debug)]
pub(crate) struct RulesFile {
    pub(super) path: PathBuf,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileText {
    rules: Vec<Map<String, Value>>,
}

impl RulesFile {
    /// The user's own file. `--config` does not change where it is: a rule belongs to the user, not to a client or a project.
    pub(crate) fn of_user() -> Result<Self, RulesError> {
        let base = etcetera::choose_base_strategy().map_err(|_| RulesError::NoHome)?;
        Ok(Self { path: base.config_dir().join("loomd").join("rules.json") })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The folder of the user's configuration.
    pub(crate) fn folder(&self) -> Option<&Path> {
        self.path.parent()
    }

    /// All rules; none if there is no file.
    pub(crate) fn read(&self) -> Result<Vec<Rule>, RulesError> {
        match disk::read_own_file(&self.path, MAX_FILE_BYTES) {
            Ok(text) => parse(&text).map_err(|problem| self.error(problem)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(self.error(FileProblem::Unreadable(error))),
        }
    }

    /// Adds a rule, unless there is one that says the same. Blocking.
    pub(crate) fn add(&self, terms: RuleTerms) -> Result<Rule, RulesError> {
        check(&terms).map_err(|(member, problem)| RulesError::Rule { member, problem })?;
        let cwd =
            terms.cwd.map(|cwd| resolve(Path::new(&cwd)).ok().and_then(|path| path.into_os_string().into_string().ok()).unwrap_or(cwd));
        let terms = RuleTerms { path: terms.path.as_deref().map(resolve_pattern), cwd, ..terms };
        let _lock = self.lock()?;
        let mut rules = self.read()?;
        if let Some(known) = rules.iter().find(|rule| rule.terms == terms) {
            return Ok(known.clone());
        }
        if rules.len() >= MAX_RULES {
            return Err(RulesError::TooMany);
        }
        let rule = Rule { id: new_id(), terms };
        rules.push(rule.clone());
        self.write(&rules)?;
        Ok(rule)
    }

    /// Removes a rule. Blocking.
    pub(crate) fn remove(&self, id: &str) -> Result<(), RulesError> {
        let _lock = self.lock()?;
        let mut rules = self.read()?;
        let before = rules.len();
        rules.retain(|rule| rule.id != id);
        if rules.len() == before {
            return Err(RulesError::NoSuchRule(id.to_owned()));
        }
        self.write(&rules)
    }

    /// Holds off other servers that change the file. It is not the file itself that is locked, because that is replaced.
    fn lock(&self) -> Result<Lock, RulesError> {
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        disk::create_private_dir(folder).map_err(|error| self.error(FileProblem::Unwritable(error)))?;
        let deadline = Instant::now() + LOCK_TIMEOUT;
        while Instant::now() < deadline {
            match Lock::try_take_or_create(&folder.join("rules.lock")) {
                Ok(Some(lock)) => return Ok(lock),
                Ok(None) => thread::sleep(LOCK_RETRY_INTERVAL),
                // The lock's file was removed between the opening and the locking.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(self.error(FileProblem::Unlockable(error))),
            }
        }
        Err(self.error(FileProblem::Busy))
    }

    fn write(&self, rules: &[Rule]) -> Result<(), RulesError> {
        let mut text = serde_json::to_string_pretty(&json!({ "version": FILE_VERSION, "rules": rules })).expect("rules have a JSON form");
        text.push('\n');
        if text.len() as u64 > MAX_FILE_BYTES {
            return Err(RulesError::TooLarge);
        }
        disk::replace_durably(&self.path, text.as_bytes()).map_err(|error| self.error(FileProblem::Unwritable(error)))
    }

    fn error(&self, problem: FileProblem) -> RulesError {
        RulesError::File { path: self.path.clone(), problem }
    }
}

/// The rules in the text of a file.
fn parse(text: &[u8]) -> Result<Vec<Rule>, FileProblem> {
    let wrong = |what: String| FileProblem::NotUnderstood(what);
    let mut value: Value = serde_json::from_slice(text).map_err(FileProblem::NotJson)?;
    match value["version"].as_u64() {
        Some(FILE_VERSION) => {}
        Some(1) => return Err(FileProblem::VersionOne),
        _ => return Err(FileProblem::UnknownVersion),
    }
    value.as_object_mut().map(|members| members.remove("version"));
    let file: FileText = serde_json::from_value(value).map_err(|error| wrong(format!("{error}; correct it")))?;
    let mut rules: Vec<Rule> = Vec::new();
    for (index, mut members) in file.rules.into_iter().enumerate() {
        let number = index + 1;
        let id = match members.remove("id") {
            Some(Value::String(id)) if !id.is_empty() => id,
            _ => return Err(wrong(format!("rule {number} has no `id`; give it one"))),
        };
        if rules.iter().any(|rule| rule.id == id) {
            return Err(wrong(format!("two rules have the `id` {id}; give one of them another")));
        }
        let terms: RuleTerms =
            serde_json::from_value(Value::Object(members)).map_err(|error| wrong(format!("rule {number}: {error}; correct it")))?;
        check(&terms).map_err(|(_, problem)| wrong(format!("rule {number}: {problem}")))?;
        rules.push(Rule { id, terms });
    }
    Ok(rules)
}

/// Whether the rule means something: else the member that is wrong, and one sentence.
fn check(terms: &RuleTerms) -> Result<(), (&'static str, String)> {
    let words: Vec<&str> = match &terms.command {
        None => Vec::new(),
        Some(CommandPattern::Line(line)) => vec![line],
        Some(CommandPattern::Words(words)) => words.iter().map(String::as_str).collect(),
    };
    if terms.command.is_some() && words.first().is_none_or(|first| first.trim().is_empty()) {
        return Err(("command", "`command` is empty; write the command that the rule is about, or leave it out".to_owned()));
    }
    let texts = [("provider", &terms.provider), ("toolKind", &terms.tool_kind), ("path", &terms.path), ("cwd", &terms.cwd)];
    let texts = texts.into_iter().filter_map(|(name, text)| Some((name, text.as_deref()?)));
    for (name, text) in texts.chain(words.iter().map(|word| ("command", *word))) {
        if text.is_empty() && name != "command" {
            return Err((name, format!("`{name}` is empty; leave it out")));
        }
        if text.contains('\0') {
            return Err((name, format!("`{name}` has a NUL character, which nothing can match")));
        }
        if text.len() > MAX_MEMBER_BYTES {
            return Err((name, format!("`{name}` has more than {MAX_MEMBER_BYTES} bytes")));
        }
    }
    if terms.decision == RuleDecision::Allow && terms.command.is_none() && terms.path.is_none() {
        return Err(("command", "a rule that allows needs a `command` or a `path`".to_owned()));
    }
    if let Some(path) = &terms.path {
        if !path.starts_with('/') && !path.starts_with("**/") {
            return Err(("path", format!("`path` must be absolute, or begin with `**/`; {path:?} is neither")));
        }
        if path.split('/').any(|part| matches!(part, "." | "..")) {
            return Err(("path", format!("`path` must name its folders without `.` and `..`; {path:?} does not")));
        }
        if path.split('/').any(|part| part.contains("**") && part != "**") {
            return Err(("path", format!("`**` must stand alone between slashes; in {path:?} it does not")));
        }
    }
    match &terms.cwd {
        Some(cwd) if !cwd.starts_with('/') => Err(("cwd", format!("`cwd` must be absolute; {cwd:?} is not"))),
        _ => Ok(()),
    }
}

/// An id that no other rule has, short enough to be typed.
fn new_id() -> String {
    let id = uuid::Uuid::now_v7().simple().to_string();
    id[id.len() - 12..].to_owned()
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use super::*;
    use crate::model::{Failure, FailureKind};

    fn terms(terms: Value) -> RuleTerms {
        serde_json::from_value(terms).unwrap_or_else(|error| panic!("{error}"))
    }

    fn file(folder: &Path) -> RulesFile {
        RulesFile { path: folder.join("loomd/rules.json") }
    }

    fn with_text(text: &str) -> (tempfile::TempDir, RulesFile) {
        let folder = tempfile::tempdir().expect("a directory");
        let file = file(folder.path());
        fs::create_dir(folder.path().join("loomd")).expect("a directory");
        fs::write(&file.path, text).expect("a file");
        fs::set_permissions(&file.path, PermissionsExt::from_mode(0o644)).expect("its mode is set");
        (folder, file)
    }

    const ONE_RULE: &str = r#"{"version": 2, "rules": [{"id": "a", "decision": "allow", "toolKind": "execute", "command": "make *"}]}"#;

    #[test]
    fn rules_are_added_once_listed_in_order_and_removed() {
        let folder = tempfile::tempdir().expect("a directory");
        let file = file(folder.path());
        assert_eq!(file.read().expect("no file is no rule"), []);
        let first = file.add(terms(json!({ "decision": "allow", "command": ["git", "status"] }))).expect("it is good");
        let second = file.add(terms(json!({ "decision": "deny", "path": "**/.env" }))).expect("it is good");
        assert_eq!(file.add(first.terms.clone()).expect("it is known"), first);
        assert_eq!(file.read().expect("ours"), [first.clone(), second.clone()]);
        file.remove(&first.id).expect("it is there");
        assert!(matches!(file.remove(&first.id), Err(RulesError::NoSuchRule(_))));
        assert_eq!(file.read().expect("ours"), [second]);
        assert_eq!(fs::metadata(&file.path).expect("a file").permissions().mode() & 0o077, 0);
    }

    #[test]
    fn nothing_is_lost_when_many_add_at_once() {
        let folder = tempfile::tempdir().expect("a directory");
        let file = file(folder.path());
        thread::scope(|scope| {
            for writer in 0..4 {
                let file = file.clone();
                scope.spawn(move || {
                    for number in 0..10 {
                        file.add(terms(json!({ "decision": "deny", "command": format!("x{writer}-{number}") }))).expect("it is good");
                    }
                });
            }
        });
        assert_eq!(file.read().expect("ours").len(), 40);
    }

    #[test]
    fn a_rule_that_means_nothing_is_refused_with_its_member() {
        for (bad, field) in [
            (json!({ "decision": "allow" }), "rule.command"),
            (json!({ "decision": "allow", "toolKind": "edit", "cwd": "/w" }), "rule.command"),
            (json!({ "decision": "allow", "command": " " }), "rule.command"),
            (json!({ "decision": "deny", "command": [] }), "rule.command"),
            (json!({ "decision": "deny", "command": ["", "x"] }), "rule.command"),
            (json!({ "decision": "deny", "command": "a\0b" }), "rule.command"),
            (json!({ "decision": "deny", "command": "a".repeat(MAX_MEMBER_BYTES + 1) }), "rule.command"),
            (json!({ "decision": "allow", "path": "src/**" }), "rule.path"),
            (json!({ "decision": "allow", "path": "~/x" }), "rule.path"),
            (json!({ "decision": "allow", "path": "/w/../etc/*" }), "rule.path"),
            (json!({ "decision": "allow", "path": "/w/**x" }), "rule.path"),
            (json!({ "decision": "allow", "path": "/w/***" }), "rule.path"),
            (json!({ "decision": "allow", "path": "" }), "rule.path"),
            (json!({ "decision": "deny", "provider": "" }), "rule.provider"),
            (json!({ "decision": "deny", "toolKind": "" }), "rule.toolKind"),
            (json!({ "decision": "deny", "cwd": "w" }), "rule.cwd"),
        ] {
            let folder = tempfile::tempdir().expect("a directory");
            let refused = Failure::from(file(folder.path()).add(terms(bad.clone())).expect_err("it means nothing"));
            assert_eq!((refused.kind, refused.data["field"].as_str()), (FailureKind::InvalidParams, Some(field)), "{bad}");
        }
        // An unknown member could be a limit that this build does not know, and the rule would allow more than was meant.
        let unknown = json!({ "decision": "allow", "command": "x", "until": 5 });
        assert!(serde_json::from_value::<RuleTerms>(unknown).is_err());
    }

    #[test]
    fn a_file_that_is_not_understood_gives_no_rule_and_is_kept() {
        with_text(ONE_RULE).1.read().expect("this one is understood");
        let rule = |members: &str| format!(r#"{{"version": 2, "rules": [{{{members}}}]}}"#);
        for (text, problem) in [
            (String::new(), "is not valid JSON"),
            ("[]".to_owned(), "no version"),
            (ONE_RULE.replace('2', "3"), "no version that this loomd understands"),
            (ONE_RULE.replace('2', "1"), "loomd rules import"),
            (ONE_RULE.replace('2', "\"2\""), "no version"),
            (ONE_RULE.replace("rules", "rule"), "unknown field"),
            (ONE_RULE.replace("{\"version\": 2", "{\"version\": 2, \"mode\": 1"), "unknown field `mode`"),
            (rule(r#""decision": "allow", "command": "x""#), "rule 1 has no `id`"),
            (rule(r#""id": "a", "decision": "allow", "command": "x", "kind": "edit""#), "rule 1: unknown field `kind`"),
            (rule(r#""id": "a", "decision": "always", "command": "x""#), "rule 1: unknown variant"),
            (rule(r#""id": "a", "decision": "allow""#), "needs a `command` or a `path`"),
            (rule(r#""id": "a", "decision": "allow", "path": "x/*""#), "must be absolute"),
            (rule(r#""id": "a", "decision": "deny"}, {"id": "a", "decision": "deny""#), "two rules have the `id` a"),
        ] {
            let (_folder, file) = with_text(&text);
            let refused = Failure::from(file.read().expect_err(&text));
            assert_eq!(refused.kind, FailureKind::Config);
            assert!(refused.message.contains(problem) && refused.message.contains("rules.json"), "{text}: {refused}");
            file.add(terms(json!({ "decision": "deny", "command": "x" }))).expect_err("nothing is written over it");
            assert_eq!(fs::read_to_string(&file.path).expect("a file"), text);
        }
    }

    #[test]
    fn a_file_that_others_may_write_or_that_is_elsewhere_gives_no_rule() {
        let (folder, file) = with_text(ONE_RULE);
        fs::set_permissions(&file.path, PermissionsExt::from_mode(0o664)).expect("its mode is set");
        assert!(file.read().expect_err("others may write it").to_string().contains("chmod go-w"));
        let elsewhere = folder.path().join("elsewhere.json");
        fs::rename(&file.path, &elsewhere).expect("it is moved");
        std::os::unix::fs::symlink(&elsewhere, &file.path).expect("a link");
        assert!(file.read().expect_err("a link").to_string().contains("is a link"));
        fs::remove_file(&file.path).expect("it goes");
        fs::create_dir(&file.path).expect("a directory");
        assert!(file.read().expect_err("a directory").to_string().contains("no regular file"));
        fs::remove_dir(&file.path).expect("it goes");
        // Reading a pipe that nobody writes to would never end.
        let made = std::process::Command::new("mkfifo").arg(&file.path).status().expect("mkfifo runs");
        assert!(made.success() && file.read().expect_err("a pipe").to_string().contains("no regular file"));
        let (_folder, long) = with_text(&format!("{ONE_RULE}{}", " ".repeat(1 << 20)));
        assert!(long.read().expect_err("it is long").to_string().contains("is longer than"));
    }

    #[test]
    fn links_in_a_new_rule_are_resolved() {
        let folder = tempfile::tempdir().expect("a directory");
        let real = folder.path().canonicalize().expect("it is there");
        fs::create_dir(real.join("w")).expect("a directory");
        std::os::unix::fs::symlink("w", real.join("link")).expect("a link");
        let path = |name: &str| format!("{}/{name}", real.display());
        let rule = file(folder.path())
            .add(terms(json!({ "decision": "allow", "path": path("link/src/**"), "cwd": path("link") })))
            .expect("it is good");
        assert_eq!((rule.terms.path, rule.terms.cwd), (Some(path("w/src/**")), Some(path("w"))));
        assert_eq!(resolve_pattern("/*"), "/*");
        assert_eq!(resolve_pattern("**/x"), "**/x");
        assert_eq!(resolve_pattern("/none//such/"), "/none/such");
    }
}
