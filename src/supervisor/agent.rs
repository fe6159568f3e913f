//! A run's agent: its conversation, and what is known of it meanwhile.

use tokio::time::{Duration, Instant};

use super::{
    claim::Claim,
    lines::{Line, Lines},
};
use crate::{
    process::tree::Seen,
    provider::{self, Conversation, Task, Verdict},
};

/// So much of the end of stderr is kept for an error's message.
const STDERR_TAIL: usize = 1024;

/// An agent at work.
pub struct Agent {
    pub(super) conversation: Conversation,
    pub(super) lines: Lines,
    pub(super) alarms: Vec<(Instant, u32)>,
    stderr: Vec<u8>,
    /// What ran before the turn began, and is not its doing.
    pub(super) before_turn: Vec<Seen>,
    /// Commands that were asked to end, and when they are made to.
    pub(super) forgotten: Option<(Instant, Vec<Seen>)>,
    /// The conversation is over: when the program is asked to end by a signal.
    pub(super) farewell: Option<Instant>,
    /// Proof that the session is ours.
    pub(super) claim: Option<Claim>,
    /// Since when it has been idle with nobody attached.
    pub(super) lonely_since: Option<Instant>,
    /// Of its last words, what a full disk did not take.
    pub(super) unkept: usize,
    pub(super) verdict: Option<Verdict>,
}

impl Agent {
    /// The other side of a task; `claim` is that of the session that it resumes.
    pub fn new(task: &Task, claim: Option<Claim>) -> Option<Self> {
        let adapter = provider::kind(&task.kind)?.adapter(task.clone());
        Some(Self {
            conversation: Conversation::new(task, adapter),
            lines: Lines::default(),
            alarms: Vec::new(),
            stderr: Vec::new(),
            before_turn: Vec::new(),
            forgotten: None,
            farewell: None,
            claim,
            lonely_since: None,
            unkept: 0,
            verdict: None,
        })
    }

    /// Takes note of what was written to stderr.
    pub fn saw_stderr(&mut self, bytes: &[u8]) {
        let kept = &bytes[bytes.len().saturating_sub(2 * STDERR_TAIL)..];
        self.stderr.extend_from_slice(kept);
        let surplus = self.stderr.len().saturating_sub(2 * STDERR_TAIL);
        self.stderr.drain(..surplus);
    }

    /// Gives a line to the conversation.
    pub(super) fn take(&mut self, line: &Line) {
        match line {
            Line::Whole(line) => self.conversation.line(line),
            Line::TooLong(bytes) => self.conversation.line_too_long(*bytes),
        }
    }

    /// The end of stderr, as a person reads it.
    pub fn stderr_tail(&self) -> String {
        let text = String::from_utf8_lossy(&self.stderr);
        let plain = strip_escapes(&text);
        let lines: Vec<&str> = plain.lines().map(str::trim_end).filter(|line| !line.trim().is_empty()).collect();
        let mut tail = lines.join(" | ");
        if tail.len() > STDERR_TAIL {
            let from = provider::reconcile::ceiling(&tail, tail.len() - STDERR_TAIL);
            tail = format!("…{}", &tail[from..]);
        }
        tail
    }

    /// When something is due next.
    pub fn next(&self, keep_idle: Duration) -> Option<Instant> {
        let alarm = self.alarms.iter().map(|(at, _)| *at).min();
        let forgotten = self.forgotten.as_ref().map(|(at, _)| *at);
        let lonely = self.lonely_since.and_then(|since| since.checked_add(keep_idle));
        [alarm, forgotten, self.farewell, lonely].into_iter().flatten().min()
    }
}

/// Text without terminal control sequences.
fn strip_escapes(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_no_part_of_a_message() {
        assert_eq!(strip_escapes("\u{1b}[31mERROR\u{1b}[0m: no"), "ERROR: no");
    }
}
