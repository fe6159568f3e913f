//! `loomd rules`: the remembered answers to permission requests.

use std::{
    io::{BufRead, IsTerminal},
    path::PathBuf,
};

use serde_json::json;

use super::{
    EarlyExit, format,
    options::path_on,
    render::{self, Styles},
};
use crate::{
    client::{ServerLaunch, ServerSession, host::HostName},
    model::{
        Failure,
        calls::{AddRuleParams, Empty, RemoveRuleParams, RulesResult},
        methods::{RuleAdd, RuleList, RuleRemove},
        rule::{CommandPattern, Rule, RuleDecision, RuleTerms},
    },
    rules::{RulesFile, version_1},
};

/// List, add and remove rules, which answer permission requests of agents before anybody is asked
#[derive(clap::Args, Debug)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) action: Option<RulesAction>,
    /// Print each rule as a JSON line
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(clap::Subcommand, Debug)]
pub(crate) enum RulesAction {
    /// List the rules (the default)
    List,
    /// Add a rule; all that is given must match
    Add(AddOptions),
    /// Remove rules
    Remove {
        /// The rules' IDs
        #[arg(required = true, value_name = "ID")]
        rules: Vec<String>,
    },
    /// Take over rules from a file of version 1, after showing each and asking
    Import {
        /// The file [default: the user's rules.json]
        file: Option<PathBuf>,
    },
}

#[derive(clap::Args, Debug)]
pub(crate) struct AddOptions {
    /// What is answered; an allow needs a command or a path
    #[arg(value_enum)]
    pub(crate) decision: DecisionArgument,
    /// Command line; in an allow `*` stands for plain words, in a deny for anything
    #[arg(long, value_name = "PATTERN")]
    pub(crate) command: Option<String>,
    /// Files; `*` stays within a folder, `**` does not
    #[arg(long, value_name = "PATTERN")]
    pub(crate) path: Option<String>,
    /// The run works in this directory, or below it
    #[arg(long, value_name = "DIR")]
    pub(crate) cwd: Option<PathBuf>,
    /// The agent, by its provider's name
    #[arg(long, value_name = "NAME")]
    pub(crate) provider: Option<String>,
    /// Kind of the tool call, e.g. execute, edit or read
    #[arg(long, value_name = "KIND")]
    pub(crate) tool_kind: Option<String>,
    /// Command as separate words, compared word by word
    #[arg(last = true, value_name = "WORD", conflicts_with = "command")]
    pub(crate) words: Vec<String>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum DecisionArgument {
    Allow,
    Deny,
}

pub(crate) async fn main(options: Options, launch: &ServerLaunch) -> Result<u8, EarlyExit> {
    let session = launch.open_without_notifications().await?;
    match options.action.unwrap_or(RulesAction::List) {
        RulesAction::List => {
            let RulesResult { rules } = session.call(RuleList, Empty {}).await?;
            if options.json {
                rules.iter().try_for_each(render::print_json)?;
            } else {
                render::print(&table(&rules, render::columns(), Styles::of_stdout()))?;
            }
        }
        RulesAction::Add(add) => {
            let rule = add_rule(&session, terms(add, launch.host())?).await?;
            if options.json {
                render::print_json(&rule)?;
            } else {
                render::print(&format!("Added {}: {}\n", format::plain(&rule.id), sentence(&rule.terms)))?;
            }
        }
        RulesAction::Remove { rules } => {
            for rule_id in rules {
                session.call(RuleRemove, RemoveRuleParams { rule_id: rule_id.clone() }).await?;
                render::print(&format!("Removed {}\n", format::plain(&rule_id)))?;
            }
        }
        RulesAction::Import { file } => import(&session, file).await?,
    }
    session.close().await;
    Ok(0)
}

async fn add_rule(session: &ServerSession, rule: RuleTerms) -> Result<Rule, Failure> {
    Ok(session.call(RuleAdd, AddRuleParams { rule }).await?.rule)
}

fn terms(options: AddOptions, host: Option<&HostName>) -> Result<RuleTerms, Failure> {
    let is_pattern = |path: &String| path.starts_with('/') || path.starts_with("**/");
    let absolute = |option: &str, path: PathBuf| match host {
        Some(host) => path_on(host, option, path),
        None => Ok(std::path::absolute(&path).unwrap_or(path).to_string_lossy().into_owned()),
    };
    let path = match options.path {
        Some(path) if !is_pattern(&path) && !path.is_empty() => Some(absolute("--path", path.into())?),
        path => path,
    };
    Ok(RuleTerms {
        decision: match options.decision {
            DecisionArgument::Allow => RuleDecision::Allow,
            DecisionArgument::Deny => RuleDecision::Deny,
        },
        provider: options.provider,
        tool_kind: options.tool_kind,
        command: options.command.map(CommandPattern::Line).or((!options.words.is_empty()).then_some(CommandPattern::Words(options.words))),
        path,
        cwd: options.cwd.map(|cwd| absolute("--cwd", cwd)).transpose()?,
    })
}

/// Shows each rule of an older file, asks, and adds those that were confirmed. Nothing changes before the last answer.
async fn import(session: &ServerSession, file: Option<PathBuf>) -> Result<(), EarlyExit> {
    let path = match file {
        Some(path) => path,
        None => RulesFile::of_user()?.path().to_owned(),
    };
    let rules = version_1::read(&path)?;
    if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
        let message = "`loomd rules import` shows each rule and asks, so it needs a terminal; `loomd rules add` adds a rule without one";
        return Err(Failure::invalid_params("file", message).into());
    }
    let mut confirmed = Vec::new();
    for (number, rule) in (1..).zip(&rules) {
        render::print(&format!("Rule {number} of {}: {}\nTake it over? [y/N] ", rules.len(), sentence(rule)))?;
        let mut answer = String::new();
        if std::io::stdin().lock().read_line(&mut answer)? == 0 {
            render::print("\n")?;
            return Err(Failure::cancelled().into());
        }
        if matches!(answer.trim(), "y" | "Y" | "yes") {
            confirmed.push(rule.clone());
        }
    }
    let count = confirmed.len();
    if count > 0 {
        let aside = version_1::set_aside(&path)?;
        for (index, rule) in confirmed.into_iter().enumerate() {
            if let Err(failure) = add_rule(session, rule).await {
                if let (0, Some(aside)) = (index, &aside) {
                    std::fs::rename(aside, &path)?;
                }
                return Err(failure.into());
            }
        }
        if let Some(aside) = aside {
            render::note(&format!("The old file is now {}.", format::plain(&aside.to_string_lossy())));
        }
    }
    render::print(&format!("Took over {count} of {} rules\n", rules.len()))
}

fn table(rules: &[Rule], columns: Option<usize>, styles: Styles) -> String {
    let rows: Vec<[String; 2]> = rules.iter().map(|rule| [format::plain(&rule.id), sentence(&rule.terms)]).collect();
    render::table(["ID", "RULE"], &rows, columns, styles)
}

/// A rule in words, whole: `allow command "make *" in /w`.
fn sentence(terms: &RuleTerms) -> String {
    let quoted = |text: &str| format::plain(&json!(text).to_string());
    let mut words = vec![match terms.decision {
        RuleDecision::Allow => "allow".to_owned(),
        RuleDecision::Deny => "deny".to_owned(),
    }];
    words.extend(terms.tool_kind.as_deref().map(|kind| format!("kind {}", quoted(kind))));
    words.extend(terms.command.as_ref().map(|command| match command {
        CommandPattern::Line(line) => format!("command {}", quoted(line)),
        CommandPattern::Words(words) => format!("argv {}", format::plain(&json!(words).to_string())),
    }));
    words.extend(terms.path.as_deref().map(|path| format!("path {}", quoted(path))));
    words.extend(terms.cwd.as_deref().map(|cwd| format!("in {}", quoted(cwd))));
    words.extend(terms.provider.as_deref().map(|provider| format!("of {}", quoted(provider))));
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_told_whole_and_on_one_line() {
        let terms: RuleTerms = serde_json::from_value(json!({
            "decision": "allow", "provider": "claude", "toolKind": "execute", "command": "make *\nx\u{1b}[2K", "path": "/w/**", "cwd": "/w",
        }))
        .expect("a rule");
        let text = sentence(&terms);
        assert_eq!(text, r#"allow kind "execute" command "make *\nx\u001b[2K" path "/w/**" in "/w" of "claude""#);
        let words = RuleTerms { command: Some(CommandPattern::Words(vec!["rm".to_owned(), "*".to_owned()])), ..terms };
        assert!(sentence(&words).contains(r#"argv ["rm","*"]"#));
    }
}
