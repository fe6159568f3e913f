//! What can be wrong with the file of the rules, and with a rule.

use std::{io, path::PathBuf};

use crate::model::{Failure, FailureKind};

/// The version of the file that this build reads and writes.
pub(super) const FILE_VERSION: u64 = 2;
/// Longest file that is read.
pub(super) const MAX_FILE_BYTES: u64 = 1 << 20;
/// Most rules.
pub(super) const MAX_RULES: usize = 1000;

/// Why rules cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RulesError {
    #[error("your home directory is unknown, so there are no rules; set HOME")]
    NoHome,
    #[error("{} {problem}", path.display())]
    File { path: PathBuf, problem: FileProblem },
    #[error("{problem}")]
    Rule { member: &'static str, problem: String },
    #[error("there is no rule `{0}`; `rule/list` lists all rules")]
    NoSuchRule(String),
    #[error("there are {MAX_RULES} rules already; remove some with `rule/remove`")]
    TooMany,
    #[error("the rules take more than 1 MiB; remove some with `rule/remove`")]
    TooLarge,
}

/// What is wrong with a file of rules: a sentence that begins with the file's name goes on with it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FileProblem {
    #[error("{0}")]
    Unreadable(#[source] io::Error),
    #[error("is not there; name the file to import")]
    Missing,
    #[error("is not valid JSON ({0}); correct it")]
    NotJson(#[source] serde_json::Error),
    #[error("has version 1, of which nothing is used; `loomd rules import` shows each of its rules and asks")]
    VersionOne,
    #[error("has no version that this loomd understands; it reads version {FILE_VERSION}")]
    UnknownVersion,
    #[error("is not understood: {0}")]
    NotUnderstood(String),
    #[error("is no rules file of version 1: {0}")]
    NotVersionOne(#[source] serde_json::Error),
    #[error("has version {0}, not 1; there is nothing to import")]
    OtherVersion(u64),
    #[error("cannot be written: {0}")]
    Unwritable(#[source] io::Error),
    #[error("cannot be locked: {0}")]
    Unlockable(#[source] io::Error),
    #[error("is being changed by another loomd, which does not come to an end; try again")]
    Busy,
    #[error("cannot be renamed to {}: {error}", to.display())]
    NotRenamed { to: PathBuf, error: io::Error },
}

impl From<RulesError> for Failure {
    fn from(error: RulesError) -> Self {
        let message = error.to_string();
        match error {
            RulesError::NoHome => Self::new(FailureKind::Config, message).with("path", "rules.json"),
            RulesError::File { path, .. } => Self::new(FailureKind::Config, message).with("path", path.to_string_lossy()),
            RulesError::Rule { member, .. } => Self::invalid_params(&format!("rule.{member}"), message),
            RulesError::NoSuchRule(_) => Self::invalid_params("ruleId", message),
            RulesError::TooMany => Self::limit(MAX_RULES as u64, message),
            RulesError::TooLarge => Self::limit(MAX_FILE_BYTES, message),
        }
    }
}
