//! What an agent's run has told: messages, tool calls, plans, questions.

use super::{facts, kept::Kept, patch::Patch};
use crate::model::{StateEntry, UnixMs};

/// One thing that an agent's run has told.
#[derive(Debug)]
pub enum Item {
    Prompt(Said),
    Message(Said),
    Thought(Said),
    Call(Box<Call>),
    Plan {
        at: UnixMs,
        steps: Vec<Step>,
    },
    Notice {
        at: UnixMs,
        severity: String,
        title: String,
        description: String,
    },
    /// About a tool call that was passed on already.
    Asked(Asked),
    Turn {
        began: UnixMs,
        end: StateEntry,
    },
}

/// A message.
#[derive(Debug, Default)]
pub struct Said {
    pub at: UnixMs,
    pub id: String,
    pub text: String,
    /// Its beginning stands further up.
    pub goes_on: bool,
    /// The agent gave it up and said it anew.
    pub is_abandoned: bool,
    /// It is not what was streamed before.
    pub is_corrected: bool,
}

#[derive(Clone, Debug)]
pub struct Step {
    pub text: String,
    pub status: String,
}

/// A question, and what was answered.
#[derive(Debug)]
pub struct Asked {
    pub at: UnixMs,
    pub id: String,
    pub title: String,
    pub options: Vec<(String, String)>,
    pub answer: Option<Answer>,
}

#[derive(Debug)]
pub struct Answer {
    pub at: UnixMs,
    pub text: String,
    pub by: &'static str,
    pub message: Option<String>,
}

/// A tool call, with what was asked about it and what its sub-agent did.
#[derive(Debug)]
pub struct Call {
    pub id: String,
    pub at: UnixMs,
    pub ended_at: Option<UnixMs>,
    pub title: String,
    pub kind: String,
    pub status: Status,
    pub places: Vec<String>,
    /// What it was given, where the title does not say so.
    pub input: Option<String>,
    pub output: Kept,
    pub patches: Vec<Patch>,
    /// More was changed than is held.
    pub has_more_patches: bool,
    pub asked: Vec<Asked>,
    pub below: Vec<Item>,
    /// Something of it stands further up.
    pub goes_on: bool,
    pub grows: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Status {
    #[default]
    Pending,
    InProgress,
    Completed,
    Failed,
}

impl Asked {
    /// Question and answer as one sentence.
    pub fn sentence(&self) -> String {
        match &self.answer {
            None => "Permission was asked for, and nobody answered.".to_owned(),
            Some(answer) => {
                let said = answer.message.as_ref().map(|message| format!(", saying: {message}")).unwrap_or_default();
                let waited = facts::duration(answer.at.saturating_sub(self.at));
                format!("Permission was asked for: {}, by {}, after {waited}{said}.", answer.text, answer.by)
            }
        }
    }
}
