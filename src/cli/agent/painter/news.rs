//! What becomes of it: plans, notices, questions, turns and their price.

use anstyle::Style;
use serde_json::Value;

use super::{BAD, Block, GOOD, Painter, WARNING};
use crate::{
    cli::{
        agent::question::{self, Question},
        words,
    },
    model::{
        PermissionEntry, RunState, StateEntry,
        entry::{PermissionStatus, ResolvedBy},
    },
};

impl Painter {
    pub(super) fn plan(&mut self, entries: Option<&Value>) {
        let entries: Vec<(String, String)> = entries
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .map(|entry| {
                (entry["content"].as_str().unwrap_or_default().to_owned(), entry["status"].as_str().unwrap_or_default().to_owned())
            })
            .collect();
        let is_same_list = entries.len() == self.plan.len() && entries.iter().zip(&self.plan).all(|(new, old)| new.0 == old.0);
        let before = std::mem::replace(&mut self.plan, entries.clone());
        let ink = self.paper.ink;
        if !is_same_list && !entries.is_empty() {
            self.line(0, &ink.paint(Style::new().bold(), "Plan"));
        }
        for (number, (content, status)) in entries.iter().enumerate() {
            if is_same_list && before[number].1 == *status {
                continue;
            }
            let content = words::plain(content);
            let line = match status.as_str() {
                "completed" => format!("{} {}", ink.paint(GOOD, "☑"), ink.dim(&content)),
                "in_progress" => format!("{} {content}", ink.paint(WARNING, "▶")),
                _ => format!("☐ {content}"),
            };
            self.line(1, &line);
        }
    }

    pub(super) fn notice(&mut self, severity: &str, title: &str, description: &str) {
        let ink = self.paper.ink;
        let (title, description) = (words::plain(title), words::plain(description));
        let text = if description.is_empty() { title } else { format!("{title}: {description}") };
        let line = match severity {
            "error" => format!("{} {text}", ink.paint(BAD, "✗")),
            "warning" => format!("{} {text}", ink.paint(WARNING, "!")),
            _ => ink.dim(&format!("· {text}")),
        };
        self.line(0, &line);
    }

    pub(super) fn permission(&mut self, entry: &PermissionEntry) {
        match &entry.status {
            PermissionStatus::Requested { tool_call, options } => {
                let id = entry.permission_id.clone();
                self.questions.push((Question { id, tool_call: tool_call.clone(), options: options.clone() }, false));
                // What a policy decides at once is no question for anybody; that one waits is said by the state that follows.
                if self.state == Some(RunState::AwaitingPermission) {
                    self.show_questions();
                }
            }
            PermissionStatus::Resolved { option_id, by, .. } => {
                let Some(at) = self.questions.iter().position(|(question, _)| question.id == entry.permission_id) else { return };
                let (question, was_shown) = self.questions.remove(at);
                self.resolved(&question, was_shown, option_id.as_deref(), *by);
            }
        }
    }

    pub(super) fn show_questions(&mut self) {
        // Whoever wants the messages alone has a terminal for questions, or none.
        if self.paper.quiet && self.paper.columns.is_none() {
            return;
        }
        let (ink, cwd) = (self.paper.ink, self.cwd.clone());
        let new: Vec<String> = self
            .questions
            .iter_mut()
            .filter(|(_, shown)| !shown)
            .map(|(question, shown)| {
                *shown = true;
                question.whole(&cwd, ink)
            })
            .collect();
        for text in new {
            self.end_thought();
            self.begin_message("question");
            self.written.push_str(&text);
            self.last = Block::Line;
        }
    }

    pub(super) fn resolved(&mut self, question: &Question, was_shown: bool, option_id: Option<&str>, by: ResolvedBy) {
        let chosen = option_id.map(|id| question::name_of(&question.options, id));
        let kind =
            option_id.and_then(|id| question.options.iter().find(|option| option.option_id == id)).map(|option| option.kind.as_str());
        let is_yes = kind.is_some_and(|kind| kind.starts_with("allow"));
        let ink = self.paper.ink;
        let mark = if is_yes { ink.paint(GOOD, "✓") } else { ink.paint(BAD, "✗") };
        let is_ours = self.answered.contains(&question.id);
        let line = match (chosen, by) {
            (_, ResolvedBy::Policy) if is_yes => return,
            (_, ResolvedBy::Policy) => format!("{mark} refused by the run's permissions: {}", question.title()),
            (Some(chosen), _) if is_ours || self.answered.is_empty() && self.paper.columns.is_none() => format!("{mark} {chosen}"),
            (Some(chosen), _) => format!("{mark} {chosen} {}", ink.dim("(answered elsewhere)")),
            (None, ResolvedBy::Provider) => ink.dim("· it does not ask that any more"),
            (None, ResolvedBy::Client) => ink.dim("· nobody chose, so nothing was allowed"),
        };
        if was_shown || (by == ResolvedBy::Policy && !self.paper.quiet) {
            self.line(0, &line);
        }
    }

    pub(super) fn run_state(&mut self, entry: &StateEntry) {
        self.state = Some(entry.state);
        match entry.state {
            RunState::AwaitingPermission => self.show_questions(),
            RunState::Running if entry.turn.is_some() => self.turn_began = Some(entry.at),
            _ => {}
        }
        if entry.state != RunState::Idle && !entry.state.is_final() {
            return;
        }
        self.finish();
        self.tools.clear();
        self.plan.clear();
        let Some(turn) = entry.turn else { return };
        let took = self.turn_began.take().map(|began| words::duration(entry.at.saturating_sub(began)));
        if self.paper.quiet {
            return;
        }
        let mut parts = vec![format!("turn {turn}")];
        parts.extend(took);
        if let Some(usage) = &entry.usage {
            let tokens = |count: Option<u64>, word: &str| count.map(|count| format!("{} {word}", short_count(count)));
            parts.extend(tokens(usage.input_tokens, "in"));
            parts.extend(tokens(usage.cached_input_tokens.filter(|count| *count > 0), "cached"));
            parts.extend(tokens(usage.output_tokens, "out"));
            parts.extend(usage.cost_usd.map(|cost| format!("${cost:.4}")));
        }
        let ink = self.paper.ink;
        match (entry.stop_reason.as_deref(), &entry.error) {
            (_, Some(error)) if entry.state == RunState::Idle => {
                self.line(0, &format!("{} {}", ink.paint(BAD, "✗"), words::plain(&error.message)));
            }
            (None | Some("end_turn"), _) => {}
            (Some("error"), _) => parts.push("failed".to_owned()),
            (Some("cancelled"), _) => parts.push("interrupted".to_owned()),
            (Some(reason), _) => parts.push(words::plain(reason).replace('_', " ")),
        }
        self.note(&format!("── {}", parts.join(" · ")));
    }
}

/// `950`, `1.2k`, `34k`, `1.5M`.
fn short_count(count: u64) -> String {
    match count {
        0..1000 => count.to_string(),
        1000..10_000 => format!("{}.{}k", count / 1000, count % 1000 / 100),
        10_000..1_000_000 => format!("{}k", count / 1000),
        _ => format!("{}.{}M", count / 1_000_000, count % 1_000_000 / 100_000),
    }
}
