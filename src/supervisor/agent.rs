//! A run's agent: its conversation, the lines of its output, and what the supervisor tracks for it.

use crate::{
    claims::Claim,
    model::Task,
    process::tree::ObservedProcess,
    provider::{self, Conversation, FinalState},
    rules::RunRules,
};

/// Bytes of the end of stderr that go into an error's message.
const STDERR_TAIL_BYTES: usize = 1024;

/// A longer line is logged as output but not interpreted.
const MAX_LINE_BYTES: usize = 32 << 20;
/// A line buffer that has grown beyond this is freed once its line is done.
const SPARE_BUFFER_BYTES: usize = 64 << 10;

/// The agent of a running program.
pub(crate) struct Agent {
    pub(super) conversation: Conversation,
    pub(super) lines: LineSplitter,
    /// Whole lines may wait in `lines`, because servers got their turn first.
    pub(super) has_waiting_lines: bool,
    stderr: Vec<u8>,
    /// The processes that ran before the turn began, and that the turn therefore did not start.
    pub(super) running_before_turn: Vec<ObservedProcess>,
    /// Proves that the session is this run's.
    pub(super) claim: Option<Claim>,
    /// How many of the conversation's last actions a full disk did not take.
    pub(super) lost_actions: usize,
    pub(super) final_state: Option<FinalState>,
}

/// Splits output into whole lines of bounded length.
#[derive(Debug, Default)]
pub(crate) struct LineSplitter {
    buffer: Vec<u8>,
    /// Where in `buffer` the next line begins, and how far the buffer was searched for that line's end.
    begin: usize,
    searched: usize,
    /// Bytes of the current line that were dropped because it is too long.
    dropped: u64,
}

/// A line of output.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum SplitLine {
    /// The line without its line feed.
    Whole(Vec<u8>),
    /// The line had so many bytes that it was dropped.
    TooLong(u64),
}

impl Agent {
    /// The agent that works on a task. `claim` is that of the session that the task resumes, `rules` those that hold
    /// for the run. `None`: there is no provider of this kind.
    pub(crate) fn new(task: &Task, claim: Option<Claim>, rules: RunRules) -> Option<Self> {
        let adapter = provider::kind(&task.kind)?.adapter(task.clone());
        let mut conversation = Conversation::new(task, adapter);
        conversation.use_rules(Box::new(rules));
        Some(Self {
            conversation,
            lines: LineSplitter::default(),
            has_waiting_lines: false,
            stderr: Vec::new(),
            running_before_turn: Vec::new(),
            claim,
            lost_actions: 0,
            final_state: None,
        })
    }

    /// Remembers the end of what was written to stderr.
    pub(crate) fn push_stderr(&mut self, bytes: &[u8]) {
        let tail = &bytes[bytes.len().saturating_sub(2 * STDERR_TAIL_BYTES)..];
        self.stderr.extend_from_slice(tail);
        let surplus = self.stderr.len().saturating_sub(2 * STDERR_TAIL_BYTES);
        self.stderr.drain(..surplus);
    }

    /// Hands a line to the conversation.
    pub(super) fn handle_line(&mut self, line: &SplitLine) {
        match line {
            SplitLine::Whole(line) => self.conversation.handle_line(line),
            SplitLine::TooLong(bytes) => self.conversation.handle_oversized_line(*bytes),
        }
    }

    /// The end of stderr as one line of plain text.
    pub(crate) fn stderr_tail(&self) -> String {
        let text = String::from_utf8_lossy(&self.stderr);
        let plain = strip_escapes(&text);
        let lines: Vec<&str> = plain.lines().map(str::trim_end).filter(|line| !line.trim().is_empty()).collect();
        let mut tail = lines.join(" | ");
        if tail.len() > STDERR_TAIL_BYTES {
            let from = tail.ceil_char_boundary(tail.len() - STDERR_TAIL_BYTES);
            tail = format!("…{}", &tail[from..]);
        }
        tail
    }
}

/// Text without terminal control sequences.
fn strip_escapes(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

impl LineSplitter {
    /// Appends what the program wrote.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.begin);
        self.searched -= self.begin;
        self.begin = 0;
        self.buffer.extend_from_slice(bytes);
        // Only the unfinished line grows, so only it can become too long.
        if self.buffer.len() > MAX_LINE_BYTES && memchr::memchr(b'\n', &self.buffer[self.searched..]).is_none() {
            self.dropped += self.buffer.len() as u64;
            self.buffer = Vec::new();
            self.searched = 0;
        }
    }

    /// The next whole line, if there is one.
    pub(crate) fn next(&mut self) -> Option<SplitLine> {
        let Some(end) = memchr::memchr(b'\n', &self.buffer[self.searched..]).map(|at| at + self.searched) else {
            self.searched = self.buffer.len();
            return None;
        };
        let line = self.buffer[self.begin..end].to_vec();
        self.begin = end + 1;
        self.searched = self.begin;
        if self.begin == self.buffer.len() {
            self.buffer.clear();
            (self.begin, self.searched) = (0, 0);
            self.buffer.shrink_to(SPARE_BUFFER_BYTES);
        }
        Some(match std::mem::take(&mut self.dropped) {
            0 if line.len() <= MAX_LINE_BYTES => SplitLine::Whole(line),
            dropped => SplitLine::TooLong(dropped + line.len() as u64),
        })
    }

    /// Takes what was written after the last line feed.
    pub(crate) fn take_rest(&mut self) -> Option<Vec<u8>> {
        let take_rest = self.buffer.split_off(self.begin);
        (self.begin, self.searched) = (0, 0);
        self.buffer.clear();
        (self.dropped == 0 && !take_rest.is_empty()).then_some(take_rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_no_part_of_a_message() {
        assert_eq!(strip_escapes("\u{1b}[31mERROR\u{1b}[0m: no"), "ERROR: no");
    }

    fn all(lines: &mut LineSplitter) -> Vec<SplitLine> {
        std::iter::from_fn(|| lines.next()).collect()
    }

    #[test]
    fn lines_come_whole_however_they_were_cut() {
        let text = b"one\n\ntwo and more\nrest";
        for cut in 1..text.len() {
            let mut lines = LineSplitter::default();
            let mut lines_seen = Vec::new();
            for piece in text.chunks(cut) {
                lines.push(piece);
                lines_seen.extend(all(&mut lines));
            }
            assert_eq!(
                lines_seen,
                [SplitLine::Whole(b"one".to_vec()), SplitLine::Whole(Vec::new()), SplitLine::Whole(b"two and more".to_vec())]
            );
            assert_eq!(lines.take_rest().as_deref(), Some(&b"rest"[..]));
        }
    }

    #[test]
    fn a_line_without_end_is_not_kept() {
        let mut lines = LineSplitter::default();
        let piece = vec![b'x'; 1 << 20];
        for _ in 0..64 {
            lines.push(&piece);
            assert!(lines.next().is_none());
            assert!(lines.buffer.len() <= MAX_LINE_BYTES + piece.len(), "memory is bounded");
        }
        lines.push(b"x\nnext\n");
        assert_eq!(all(&mut lines), [SplitLine::TooLong((64 << 20) + 1), SplitLine::Whole(b"next".to_vec())]);
    }
}
