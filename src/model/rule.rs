//! Rules: remembered answers to permission requests. They belong to the user and hold in every client, and with none.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A remembered answer, as `rules.json` has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Rule {
    /// Names the rule in `rule/remove`, and in the `rule` of the permissions that it resolved.
    pub(crate) id: String,
    #[serde(flatten)]
    pub(crate) terms: RuleTerms,
}

/// What a rule answers, and to which requests: all members that are given must match. An allow needs `command` or `path`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RuleTerms {
    /// What is answered.
    pub(crate) decision: RuleDecision,
    /// The run's provider, by its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) provider: Option<String>,
    /// The `kind` of the tool call: `execute`, `edit`, `read`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tool_kind: Option<String>,
    /// The command. In an allow `*` stands for letters, digits, blanks and `_./=:,@%+-`; in a deny for anything, and a deny also
    /// finds a command that stands behind or inside of another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) command: Option<CommandPattern>,
    /// The files: an absolute path, or one that begins with `**/`. `*` stands for anything within one folder, `**` for any
    /// number of folders. An allow matches if all files match, and its stars stand for no settings of git, editors, shells,
    /// agents and CI; a deny matches if one file does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) path: Option<String>,
    /// The run works in this directory, or below it; absolute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cwd: Option<String>,
}

/// The answer of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum RuleDecision {
    /// Chooses the option `allow_once`; without one a person is asked.
    Allow,
    /// Chooses the option `reject_once`; without one the request is cancelled.
    Deny,
}

/// The command of a rule. A command line is compared as it is, an argv word by word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "must be a string or a list of strings")]
pub(crate) enum CommandPattern {
    /// A command line. For an argv its words are those between the blanks.
    Line(String),
    /// An argv. A last word `*` stands for one or more words.
    Words(Vec<String>),
}

/// The user's rules, in the order of their file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct RulesResult {
    /// All of them.
    pub(crate) rules: Vec<Rule>,
}

/// A rule to add.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct AddRuleParams {
    /// The rule without an `id`.
    pub(crate) rule: RuleTerms,
}

/// The rule that was added, or that was there already.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct RuleResult {
    /// The rule.
    pub(crate) rule: Rule,
}

/// Which rule to remove.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RemoveRuleParams {
    /// The rule's `id`.
    pub(crate) rule_id: String,
}
