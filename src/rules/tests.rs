//! Which requests the rules answer, in tables: the rule, the tool call, the answer.

use std::{fs, os::unix::fs::symlink};

use serde_json::{Value, json};

use super::*;
use crate::model::{PermissionOption, rule::RuleTerms, task::object};

/// A run of `claude` in a directory of its own.
struct Place {
    folder: tempfile::TempDir,
    cwd: String,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a directory");
        let cwd = folder.path().canonicalize().expect("it is there").join("w");
        fs::create_dir(&cwd).expect("a directory");
        Self { folder, cwd: cwd.to_str().expect("UTF-8").to_owned() }
    }

    fn rules(&self) -> RunRules {
        let own = self.folder.path().join("w/data");
        RunRules { file: None, provider: "claude".to_owned(), cwd: self.cwd.clone().into(), own_paths: vec![own], reported_problem: None }
    }

    /// Text in which `~` is the directory of the run.
    fn at<T: serde::de::DeserializeOwned>(&self, value: &Value) -> T {
        serde_json::from_str(&value.to_string().replace('~', &self.cwd)).unwrap_or_else(|error| panic!("{value}: {error}"))
    }

    fn decision(&self, terms: &Value, tool_call: &Value) -> Option<RuleDecision> {
        let rule = Rule { id: "r".to_owned(), terms: self.at::<RuleTerms>(terms) };
        self.rules().answer(&[rule], &self.request(tool_call)).decision.map(|(decision, _)| decision)
    }

    fn request(&self, tool_call: &Value) -> PermissionRequest {
        let options = vec![PermissionOption { option_id: "y".to_owned(), name: "Yes".to_owned(), kind: "allow_once".to_owned() }];
        PermissionRequest { id: "q".to_owned(), tool_call: object(self.at(tool_call)), options }
    }
}

fn run(input: Value) -> Value {
    json!({ "toolCallId": "t", "title": "run it", "kind": "execute", "status": "pending", "rawInput": input })
}

fn edit(paths: &[&str]) -> Value {
    let locations: Vec<Value> = paths.iter().map(|path| json!({ "path": path })).collect();
    let diffs: Vec<Value> = paths.iter().map(|path| json!({ "type": "diff", "path": path, "oldText": "a", "newText": "b" })).collect();
    json!({ "toolCallId": "t", "title": "Edit", "kind": "edit", "locations": locations, "content": diffs })
}

fn with(mut call: Value, name: &str, value: Value) -> Value {
    call[name] = value;
    call
}

#[test]
fn all_given_members_must_match() {
    let place = Place::new();
    let call = run(json!({ "command": "make x" }));
    for (terms, is_allowed) in [
        (json!({ "command": "make *" }), true),
        (json!({ "command": "make *", "toolKind": "execute", "provider": "claude", "cwd": "~" }), true),
        (json!({ "command": "make *", "toolKind": "edit" }), false),
        (json!({ "command": "make *", "provider": "codex" }), false),
        (json!({ "command": "make *", "cwd": "~/.." }), false),
        (json!({ "command": "make *", "cwd": "~x" }), false),
        (json!({ "command": "make *", "cwd": "~/x" }), false),
        (json!({ "command": "make *", "cwd": "/" }), true),
        (json!({ "command": "make y" }), false),
        (json!({ "command": "make *", "path": "~/**" }), false),
    ] {
        let mut terms = terms.clone();
        terms["decision"] = json!("allow");
        assert_eq!(place.decision(&terms, &call).is_some(), is_allowed, "{terms}");
    }
    let without_kind = json!({ "toolCallId": "t", "rawInput": { "command": "make x" } });
    assert_eq!(place.decision(&json!({ "decision": "allow", "command": "make x", "toolKind": "execute" }), &without_kind), None);
    assert!(place.decision(&json!({ "decision": "allow", "command": "make x", "toolKind": "other" }), &without_kind).is_some());
}

#[test]
fn a_command_is_allowed_only_if_nothing_else_is_asked_for() {
    let place = Place::new();
    fs::create_dir(format!("{}/sub", place.cwd)).expect("a directory");
    let above = place.folder.path().canonicalize().expect("it is there");
    let terms = json!({ "decision": "allow", "command": "make *", "cwd": above });
    for (call, is_allowed) in [
        (run(json!({ "command": "make x" })), true),
        (run(json!({ "command": "make x", "description": "Builds x", "timeout": 60000 })), true),
        (run(json!({ "command": "make x", "timeout": null, "cwd": null })), true),
        (run(json!({ "command": "make x", "cwd": "~" })), true),
        (run(json!({ "command": "make x", "workdir": "~/." })), true),
        (run(json!({ "command": "make x", "workdir": "." })), true),
        (run(json!({ "command": "make x", "cwd": "~/.." })), true),
        (run(json!({ "command": "make x", "cwd": "~/sub" })), false),
        (run(json!({ "command": "make x", "workdir": "/" })), false),
        (run(json!({ "command": "make x", "cwd": "~", "workdir": "/" })), false),
        (run(json!({ "command": "make x", "cwd": ["~"] })), false),
        (run(json!({ "command": "make x", "description": { "run": "rm" } })), false),
        (run(json!({ "command": "make x", "timeout": "1; rm" })), false),
        (run(json!({ "command": "make x", "run_in_background": false })), false),
        (run(json!({ "command": "make x", "dangerouslyDisableSandbox": true })), false),
        (run(json!({ "command": "make x", "sandbox": null })), false),
        (run(json!({ "command": "make x", "env": { "PATH": "/evil" } })), false),
        (run(json!({ "command": "make x", "args": ["y"] })), false),
        (run(json!({ "command": "make x", "stdin": "" })), false),
        (run(json!({ "command": "make x", "reason": "it writes outside" })), false),
        (run(json!({ "command": "make x", "with_escalated_permissions": true })), false),
        (run(json!({ "command": { "program": "make x" } })), false),
        (run(json!({ "command": ["make", "x"] })), true),
        (run(json!({ "command": ["make", 1] })), false),
        (run(json!({ "command": ["make x"] })), false),
        (run(json!({ "command": [] })), false),
        (run(json!({ "cmd": "make x" })), false),
        (run(json!("make x")), false),
        (run(json!(null)), false),
        (json!({ "toolCallId": "t", "title": "make x", "kind": "execute" }), false),
        (with(run(json!({ "command": "make x" })), "content", edit(&["/etc/x"])["content"].clone()), false),
        (with(run(json!({ "command": "make x" })), "_meta", json!({ "loomd/patch": "--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n" })), false),
        (with(run(json!({ "command": "make x" })), "additionalPermissions", json!(["network"])), false),
        (with(run(json!({ "command": "make x" })), "locations", json!([{ "path": "~/Makefile" }])), true),
    ] {
        assert_eq!(place.decision(&terms, &call), is_allowed.then_some(RuleDecision::Allow), "{call}");
    }
}

#[test]
fn files_are_allowed_if_all_of_them_match_resolved() {
    let place = Place::new();
    let outside = place.folder.path().join("outside");
    fs::create_dir(&outside).expect("a directory");
    for name in ["src", "src/deep", ".git", "data"] {
        fs::create_dir(format!("{}/{name}", place.cwd)).expect("a directory");
    }
    symlink(&outside, format!("{}/link", place.cwd)).expect("a link");
    symlink(outside.join("not-there"), format!("{}/dangling", place.cwd)).expect("a link");
    symlink("src", format!("{}/inside", place.cwd)).expect("a link");
    symlink("round", format!("{}/round", place.cwd)).expect("a link");
    symlink(".git", format!("{}/innocent", place.cwd)).expect("a link");
    let cases = |pattern: &str, expected: &[(&[&str], bool)]| {
        for (paths, is_allowed) in expected {
            let terms = json!({ "decision": "allow", "path": pattern });
            assert_eq!(place.decision(&terms, &edit(paths)).is_some(), *is_allowed, "{pattern} {paths:?}");
        }
    };
    cases(
        "~/**",
        &[
            (&["~/a"], true),
            (&["~/src/deep/new/a.rs"], true),
            (&["src/a"], true),
            (&["~/src/../src/a"], true),
            (&["~/inside/a"], true),
            (&["~/a", "~/src/b"], true),
            (&["~/a", "/etc/passwd"], false),
            (&["/etc/passwd"], false),
            (&["~"], false),
            (&["~x/a"], false),
            (&["~/../a"], false),
            (&["../w2/a"], false),
            (&["~/src/../../a"], false),
            (&["~/link/a"], false),
            (&["~/link/../a"], false),
            (&["~/dangling"], false),
            (&["~/round/a"], false),
            (&["~/innocent/hooks/pre-commit"], false),
            (&["~/.git/hooks/pre-commit"], false),
            (&["~/.GIT/config"], false),
            (&["~/sub/.git"], false),
            (&["~/.vscode/tasks.json"], false),
            (&["~/x.code-workspace"], false),
            (&["~/.github/workflows/ci.yml"], false),
            (&["~/.gitlab-ci.yml"], false),
            (&["~/Jenkinsfile"], false),
            (&["~/.envrc"], false),
            (&["~/.bashrc"], false),
            (&["~/.claude/settings.json"], false),
            (&["~/.codex/config.toml"], false),
            (&["~/.gemini/settings.json"], false),
            (&["~/.mcp.json"], false),
            (&["~/.gitignore"], true),
            (&["~/gitlab"], true),
            (&[], false),
        ],
    );
    cases("~/src/*", &[(&["~/src/a"], true), (&["~/src/deep/a"], false), (&["~/src/.envrc"], false), (&["~/src"], false)]);
    cases("~/src/*.rs", &[(&["~/src/a.rs"], true), (&["~/src/a.rs.sh"], false), (&["~/src/deep/a.rs"], false)]);
    cases("~/**/*.rs", &[(&["~/a.rs"], true), (&["~/src/deep/a.rs"], true), (&["~/.git/a.rs"], false), (&["~/src/a.c"], false)]);
    cases("~/src/a.rs", &[(&["~/src/a.rs"], true), (&["~/inside/a.rs"], true), (&["~/src/a.rss"], false)]);
    cases("~/.git/**", &[(&["~/.git/config"], true), (&["~/innocent/config"], true), (&["~/.git/modules/x/.git/y"], false)]);
    cases("~/**/.vscode/*", &[(&["~/x/.vscode/tasks.json"], true), (&["~/.git/.vscode/tasks.json"], false)]);
    cases("**/a", &[(&["~/a"], true), (&["/x/y/a"], true), (&["/x/.git/a"], false)]);
    // A rule is made from what a path was; a link that comes later leads nowhere that the rule means.
    cases("~/link/**", &[(&["~/link/a"], false)]);
}

#[test]
fn a_change_of_files_is_allowed_only_if_nothing_else_is_asked_for() {
    let place = Place::new();
    let input = |input: Value| with(edit(&["~/a"]), "rawInput", input);
    for (call, is_allowed) in [
        (input(json!({ "file_path": "~/a", "old_string": "a", "new_string": "b" })), true),
        (input(json!({ "file_path": "~/a", "old_string": "a", "new_string": "b", "replace_all": false })), true),
        (input(json!({ "file_path": "a", "edits": [{ "old_string": "a", "new_string": "b" }] })), true),
        (input(json!({})), true),
        (input(json!({ "file_path": "/etc/a", "old_string": "a", "new_string": "b" })), false),
        (input(json!({ "file_path": "~/a", "destination": "/etc/a" })), false),
        (input(json!({ "file_path": "~/a", "paths": ["~/b", "/etc/a"] })), false),
        (input(json!({ "file_path": { "x": 1 } })), false),
        (input(json!({ "file_path": "~/a", "content": "something else" })), false),
        (input(json!({ "file_path": "~/a", "command": "rm -rf ~" })), false),
        (input(json!({ "file_path": "~/a", "mode": "0777" })), false),
        (input(json!({ "file_path": "~/a", "follow": true })), false),
        (input(json!({ "grantRoot": "~" })), false),
        (input(json!({ "changes": [{ "path": "~/a", "kind": "update" }] })), true),
        (input(json!({ "changes": [{ "path": "~/a", "kind": "move", "to": "/etc/a" }] })), false),
        (input(json!({ "changes": { "/etc/a": { "type": "update" } } })), false),
        (with(edit(&["~/a"]), "content", json!([{ "type": "diff", "newText": "b" }])), false),
        (with(edit(&["~/a"]), "locations", json!([{ "path": "~/b" }, { "line": 1 }])), false),
        (with(edit(&["~/a"]), "_meta", json!({ "loomd/patch": "--- a/etc/x\n+++ /etc/x\n@@ -1 +1 @@\n-a\n+b\n" })), false),
    ] {
        assert_eq!(place.decision(&json!({ "decision": "allow", "path": "~/**" }), &call).is_some(), is_allowed, "{call}");
    }
    let read = json!({ "toolCallId": "t", "kind": "read", "rawInput": { "file_path": "~/a", "offset": 1, "limit": 5 } });
    assert!(place.decision(&json!({ "decision": "allow", "path": "~/**" }), &read).is_some());
    let removed = with(edit(&["~/a"]), "rawInput", json!({ "changes": [{ "path": "~/a", "kind": "delete" }] }));
    assert!(place.decision(&json!({ "decision": "allow", "path": "~/**", "toolKind": "edit" }), &removed).is_none());
}

#[test]
fn a_deny_speaks_in_doubt() {
    let place = Place::new();
    let outside = place.folder.path().join("outside");
    fs::create_dir(&outside).expect("a directory");
    symlink(&outside, format!("{}/link", place.cwd)).expect("a link");
    let outside = outside.canonicalize().expect("it is there");
    for (terms, call, is_denied) in [
        (json!({ "command": "rm *" }), run(json!({ "command": "true && rm x", "sandbox": false })), true),
        (json!({ "command": "rm *" }), run(json!({ "command": ["bash", "-lc", "cd /; rm x"] })), true),
        (json!({ "command": "rm *" }), run(json!({ "command": { "line": "rm x" } })), true),
        (json!({ "command": "rm *" }), run(json!({ "command": "rm", "args": ["-rf", "x"] })), true),
        (json!({ "command": "rm *" }), run(json!({ "cmd": ["rm", "x"] })), true),
        (json!({ "command": "rm *" }), run(json!("rm x")), true),
        (json!({ "command": "rm *" }), json!({ "toolCallId": "t", "kind": "execute", "title": "`rm x`" }), true),
        (json!({ "command": "rm *" }), run(json!({ "command": "ls", "description": "rm x" })), false),
        (json!({ "command": "rm *", "toolKind": "edit" }), run(json!({ "command": "rm x" })), false),
        (json!({ "command": "rm *" }), edit(&["~/rm x"]), false),
        (json!({ "path": "~/secret/**" }), edit(&["~/a", "~/secret/b"]), true),
        (json!({ "path": "~/secret/**" }), edit(&["~/secret"]), true),
        (json!({ "path": "~/secret/**" }), edit(&["~/x/../secret/b"]), true),
        (json!({ "path": "**/.env" }), edit(&["~/.env"]), true),
        (json!({ "path": "**/.env" }), edit(&["~/.envx"]), false),
        (json!({ "path": outside.join("**") }), edit(&["~/link/a"]), true),
        (json!({ "path": "~/link/**" }), edit(&["~/link/a"]), true),
        (json!({ "path": "~/link/**" }), edit(&[outside.join("a").to_str().expect("UTF-8")]), true),
        (json!({ "path": "~/**" }), run(json!({ "command": "ls" })), false),
        (json!({ "toolKind": "fetch" }), json!({ "toolCallId": "t", "kind": "fetch" }), true),
        (json!({ "cwd": "~" }), run(json!({})), true),
        (json!({}), run(json!({})), true),
    ] {
        let mut terms = terms.clone();
        terms["decision"] = json!("deny");
        assert_eq!(place.decision(&terms, &call), is_denied.then_some(RuleDecision::Deny), "{terms} {call}");
    }
}

#[test]
fn a_deny_wins_wherever_it_stands() {
    let place = Place::new();
    let rule = |id: &str, terms: Value| Rule { id: id.to_owned(), terms: place.at(&terms) };
    let allow = || rule("a", json!({ "decision": "allow", "command": "make *" }));
    let deny = || rule("d", json!({ "decision": "deny", "command": "make install" }));
    for rules in [[allow(), deny()], [deny(), allow()]] {
        let answer = |command: &str| place.rules().answer(&rules, &place.request(&run(json!({ "command": command })))).decision;
        assert_eq!(answer("make install"), Some((RuleDecision::Deny, "d".to_owned())));
        assert_eq!(answer("make x"), Some((RuleDecision::Allow, "a".to_owned())));
        assert_eq!(answer("ls"), None);
    }
}

#[test]
fn accepted_edits_lie_below_the_directory_of_the_run_and_change_no_settings() {
    let place = Place::new();
    let outside = place.folder.path().join("outside");
    fs::create_dir(&outside).expect("a directory");
    symlink(&outside, format!("{}/link", place.cwd)).expect("a link");
    let kind = |kind: &str| with(edit(&["~/a"]), "kind", json!(kind));
    for (call, is_accepted) in [
        (edit(&["~/a"]), true),
        (edit(&["~/new/b", "c"]), true),
        (edit(&["~/.gitignore"]), true),
        (edit(&["~/a", "~/../b"]), false),
        (edit(&["/etc/passwd"]), false),
        (edit(&["~/link/a"]), false),
        (edit(&["~/.git/hooks/pre-commit"]), false),
        (edit(&["~/sub/.git/config"]), false),
        (edit(&["~/.vscode/settings.json"]), false),
        (edit(&["~/.claude/settings.json"]), false),
        (edit(&["~/.bashrc"]), false),
        (edit(&["~/.envrc"]), false),
        (edit(&["~/data/runs/x"]), false),
        (edit(&["~"]), false),
        (edit(&[]), false),
        (kind("delete"), false),
        (kind("move"), false),
        (kind("execute"), false),
        (kind("other"), false),
        (with(edit(&["~/a"]), "content", json!([{ "type": "diff", "path": "~/a", "newText": "", "_meta": { "kind": "delete" } }])), false),
        (with(edit(&["~/a"]), "_meta", json!({ "loomd/patch": "diff --git a/a b/b\nrename from a\nrename to b\n" })), false),
        (with(edit(&["~/a"]), "rawInput", json!({ "changes": [{ "path": "~/b", "kind": "delete" }] })), false),
        (with(edit(&["~/a"]), "rawInput", json!({ "command": "touch x" })), false),
        (with(edit(&["~/a"]), "rawInput", json!({ "grantRoot": "~" })), false),
        (with(edit(&["~/a"]), "rawInput", json!({ "file_path": "/etc/passwd" })), false),
        (with(edit(&["~/a"]), "rawInput", json!({ "file_path": "~/a", "old_string": "a", "new_string": "b" })), true),
    ] {
        assert_eq!(place.rules().accepts_edit(&place.request(&call)), is_accepted, "{call}");
    }
}

#[test]
fn a_bad_file_is_reported_once_and_answers_again_when_it_is_good() {
    let place = Place::new();
    let path = place.folder.path().join("rules.json");
    // The folder may be made with a mode that lets others write.
    let write = |text: &str| {
        fs::write(&path, text).expect("written");
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("its mode is set");
    };
    let mut rules = RunRules { file: Some(RulesFile { path: path.clone() }), ..place.rules() };
    let request = place.request(&run(json!({ "command": "make x" })));
    assert_eq!(rules.consult(&request), RuleAnswer::default());
    write("{");
    assert!(rules.consult(&request).notice.expect("a problem").contains("rules.json is not valid JSON"));
    assert_eq!(rules.consult(&request), RuleAnswer::default(), "it is known");
    write(r#"{"version": 2, "rules": [{"id": "a", "decision": "allow", "command": "make x"}]}"#);
    assert_eq!(rules.consult(&request).decision, Some((RuleDecision::Allow, "a".to_owned())));
    write("{");
    assert!(rules.consult(&request).notice.is_some(), "it is bad again");
}
