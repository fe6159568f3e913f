//! The user's rules: the file that keeps them, and which permission requests they answer.
//!
//! Nothing else decides a remembered answer. A rule answers no more than what it says: where a tool call asks for anything that
//! its rule does not name, a person is asked.

mod command;
mod error;
mod file;
mod path;
mod requested_call;
pub(crate) mod version_1;

use std::path::{Path, PathBuf};

pub(crate) use error::RulesError;
pub(crate) use file::RulesFile;

use self::requested_call::RequestedCall;
use crate::{
    model::rule::{Rule, RuleDecision},
    provider::{PermissionRules, RuleAnswer, provider_event::PermissionRequest},
};

/// The rules as they hold for one run.
#[derive(Debug)]
pub(crate) struct RunRules {
    /// `None`: the user's configuration folder is unknown.
    file: Option<RulesFile>,
    provider: String,
    cwd: PathBuf,
    /// Files and folders of loomd itself, which no mode lets an agent change.
    own_paths: Vec<PathBuf>,
    /// Why the file answers nothing, as it was reported last.
    reported_problem: Option<String>,
}

impl RunRules {
    /// The rules for a run of this provider in this directory. `own_paths`: the data directory, and the configuration.
    pub(crate) fn new(provider: &str, cwd: &str, own_paths: Vec<PathBuf>) -> Self {
        let file = RulesFile::of_user().ok();
        let mut rules = Self { file, provider: provider.to_owned(), cwd: cwd.into(), own_paths, reported_problem: None };
        rules.own_paths.extend(rules.file.as_ref().and_then(RulesFile::folder).map(Path::to_owned));
        rules
    }
}

impl PermissionRules for RunRules {
    fn consult(&mut self, request: &PermissionRequest) -> RuleAnswer {
        let Some(file) = &self.file else { return RuleAnswer::default() };
        match file.read() {
            Ok(rules) => {
                self.reported_problem = None;
                RuleAnswer { notice: None, ..self.answer(&rules, request) }
            }
            Err(error) => {
                let problem = error.to_string();
                let is_new = self.reported_problem.as_ref() != Some(&problem);
                self.reported_problem = Some(problem.clone());
                RuleAnswer { decision: None, notice: is_new.then_some(problem) }
            }
        }
    }

    fn accepts_edit(&self, request: &PermissionRequest) -> bool {
        let call = RequestedCall::of(&request.tool_call, &self.cwd);
        let Ok(cwd) = path::resolve(&self.cwd) else { return false };
        let is_own = |path: &Path| self.own_paths.iter().any(|own| path.starts_with(path::resolve(own).as_deref().unwrap_or(own)));
        let is_in_place = |path: &PathBuf| path != &cwd && path.starts_with(&cwd) && !path::is_sensitive_below(path, &cwd) && !is_own(path);
        call.kind == "edit"
            && !call.removes_files()
            && !call.asks_for_more_than_files()
            && call.resolved_paths().is_some_and(|paths| paths.iter().all(is_in_place))
    }
}

impl RunRules {
    /// What the rules answer: a deny before an allow.
    fn answer(&self, rules: &[Rule], request: &PermissionRequest) -> RuleAnswer {
        let call = RequestedCall::of(&request.tool_call, &self.cwd);
        let denies = |rule: &&Rule| rule.terms.decision == RuleDecision::Deny && self.denies(rule, &call);
        let allows = |rule: &&Rule| rule.terms.decision == RuleDecision::Allow && self.allows(rule, &call);
        let speaking = rules.iter().find(denies).or_else(|| rules.iter().find(allows));
        RuleAnswer { decision: speaking.map(|rule| (rule.terms.decision, rule.id.clone())), notice: None }
    }

    fn is_about(&self, rule: &Rule, call: &RequestedCall) -> bool {
        let terms = &rule.terms;
        terms.provider.as_ref().is_none_or(|provider| *provider == self.provider)
            && terms.tool_kind.as_ref().is_none_or(|kind| kind == call.kind)
    }

    fn denies(&self, rule: &Rule, call: &RequestedCall) -> bool {
        let terms = &rule.terms;
        let cwds = [path::resolve(&self.cwd).unwrap_or_else(|_| self.cwd.clone()), self.cwd.clone()];
        self.is_about(rule, call)
            && terms.cwd.as_ref().is_none_or(|cwd| {
                let resolved = path::resolve(Path::new(cwd)).unwrap_or_else(|_| cwd.into());
                cwds.iter().any(|own| own.starts_with(cwd) || own.starts_with(&resolved))
            })
            && terms.command.as_ref().is_none_or(|command| call.command_texts().iter().any(|text| command::denies(command, text)))
            && terms.path.as_ref().is_none_or(|pattern| {
                let resolved = path::resolve_pattern(pattern);
                call.all_paths().iter().any(|path| path::denies(pattern, path) || path::denies(&resolved, path))
            })
    }

    fn allows(&self, rule: &Rule, call: &RequestedCall) -> bool {
        let terms = &rule.terms;
        let Ok(cwd) = path::resolve(&self.cwd) else { return false };
        let rule_cwd = terms.cwd.as_deref().map(Path::new);
        // A rule for edits was not made for what takes files away.
        let is_kind = self.is_about(rule, call) && (terms.tool_kind.as_deref() != Some("edit") || !call.removes_files());
        is_kind
            && rule_cwd.is_none_or(|folder| cwd.starts_with(folder))
            && call.asks_only_for(terms.command.is_some(), terms.path.is_some(), &|folder| folder == cwd || Some(folder) == rule_cwd)
            && terms.command.as_ref().is_none_or(|pattern| call.command().is_some_and(|asked| command::allows(pattern, &asked)))
            && terms
                .path
                .as_ref()
                .is_none_or(|pattern| call.resolved_paths().is_some_and(|paths| paths.iter().all(|path| path::allows(pattern, path))))
    }
}

#[cfg(test)]
mod tests;
