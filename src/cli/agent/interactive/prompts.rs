//! What the person is asked for now: a permission by a key, the next prompt, or nothing; and the lines below the
//! transcript.

use tokio::time::Instant;

use super::{ActivePrompt, IDLE_DELAY, Interactive, KeyGuard, MENU_LINES};
use crate::{
    cli::{
        agent::permission_prompt::{ANSWER_HINT, MORE_HINT, PermissionPrompt},
        format, render, screen,
    },
    model::RunState,
};

/// Most lines below the transcript.
const MAX_STATUS_LINES: usize = 12;

impl Interactive<'_> {
    /// Shows the prompt that is wanted now and takes the one before away.
    pub(super) fn update_prompt(&mut self) {
        if self.active_prompt == ActivePrompt::Prompt && !self.renderer.is_prompting() {
            // The transcript went on. A line that was typed meanwhile is sent.
            self.active_prompt = ActivePrompt::None;
            self.idle_since = Some(Instant::now());
        }
        let wanted = self.wanted_prompt();
        if wanted == self.active_prompt {
            return;
        }
        if self.active_prompt == ActivePrompt::Prompt {
            self.renderer.end_prompt(false);
            self.typed.clear();
            self.paste_deadline = None;
        }
        if let Some(keyboard) = &mut self.keyboard {
            match wanted {
                ActivePrompt::Permission(_) => keyboard.enter_key_mode(),
                _ => keyboard.leave_key_mode(),
            }
        }
        match &wanted {
            ActivePrompt::Prompt => self.renderer.prompt(),
            ActivePrompt::Permission(id) if !self.is_whole(id) => self.ask(id),
            _ => self.keys = KeyGuard::Unseen,
        }
        self.active_prompt = wanted;
    }

    /// Shows what follows of a question, at most a screen of it. Keys count again when that was seen.
    pub(super) fn ask(&mut self, id: &str) {
        self.renderer.ask(id, render::rows().saturating_sub(MENU_LINES));
        self.keys = KeyGuard::Unseen;
    }

    /// Whether the end of a question was shown.
    pub(super) fn is_whole(&self, id: &str) -> bool {
        self.renderer.requests().find(|request| request.id() == id).is_some_and(PermissionPrompt::is_whole)
    }

    fn wanted_prompt(&mut self) -> ActivePrompt {
        let pending = self.renderer.requests().find(|request| !self.skipped_requests.iter().any(|id| id == request.id()));
        let pending = pending.filter(|_| !self.view.view_only).cloned();
        let can_type = self.keyboard.as_ref().is_some_and(|keyboard| self.active_prompt != ActivePrompt::None || keyboard.is_ours());
        if let Some(request) = pending.filter(|_| self.renderer.state() == Some(RunState::AwaitingPermission)) {
            if can_type {
                return ActivePrompt::Permission(request.id().to_owned());
            }
            self.skipped_requests.push(request.id().to_owned());
            self.renderer.ask(request.id(), usize::MAX);
            let options: Vec<String> = request
                .options()
                .iter()
                .map(|option| format!("{} ({})", format::quoted(&format::plain(&option.option_id)), format::plain(&option.name)))
                .collect();
            let id = self.launch.shown_id(self.run.id);
            render::note(&format!(
                "Run {id} needs permission: {}\nAnswer with `{} answer {id} OPTION`: {}",
                request.title(),
                self.launch.command_prefix(),
                options.join(", ")
            ));
        }
        let is_settled = self.active_prompt == ActivePrompt::Prompt || self.idle_since.is_none_or(|since| since.elapsed() >= IDLE_DELAY);
        let is_idle = self.renderer.state() == Some(RunState::Idle) && is_settled;
        if is_idle && can_type && self.view.interactive && !self.input_closed { ActivePrompt::Prompt } else { ActivePrompt::None }
    }

    /// The lines below the transcript.
    pub(super) fn status_lines(&self) -> Vec<String> {
        let Some(columns) = self.renderer.options.columns else { return Vec::new() };
        let styles = self.renderer.options.styles;
        let request = match &self.active_prompt {
            _ if !self.renderer.is_at_line_start() => return Vec::new(),
            ActivePrompt::Prompt => return Vec::new(),
            ActivePrompt::Permission(id) => self.renderer.requests().find(|request| request.id() == id),
            ActivePrompt::None => None,
        };
        if let Some(request) = request {
            if !request.is_whole() {
                return vec![styles.dim(&render::truncate(MORE_HINT, columns.saturating_sub(1)))];
            }
            let mut lines = request.menu(styles, columns.saturating_sub(1));
            lines.push(styles.dim(ANSWER_HINT));
            return lines;
        }
        if self.renderer.state() == Some(RunState::AwaitingPermission) {
            let text = format!(
                "Waiting for permission. Answer with: {} answer {}",
                self.launch.command_prefix(),
                self.launch.shown_id(self.run.id)
            );
            return vec![styles.dim(&render::truncate(&text, columns - 1))];
        }
        match self.renderer.state() {
            Some(RunState::Idle) => Vec::new(),
            _ => self.renderer.progress_lines(render::now(), self.frame),
        }
    }
}

/// The lines that are below the transcript now: progress, or the keys of a permission request. They are removed before
/// more text comes.
///
/// They are shown only while the text ends with a whole line, and each is shorter than the terminal was wide. So the
/// cursor is known to be as many rows below the text as they take, which become more where the terminal gets narrower.
#[derive(Debug, Default)]
pub(super) struct StatusLines {
    shown: Vec<String>,
}

impl StatusLines {
    /// What to write so that `text` is added and `lines` follow it. Empty: nothing changes. `columns`: the width now.
    pub(super) fn compose(&mut self, text: &str, lines: Vec<String>, columns: Option<usize>) -> String {
        if text.is_empty() && lines == self.shown {
            return String::new();
        }
        let mut output = String::new();
        if !self.shown.is_empty() {
            // The cursor goes up to the first of them, and everything from there on is erased.
            let rows: usize = self.shown.iter().map(|line| render::rows_of(line, columns)).sum();
            output.push_str(&format!("\r\x1b[{rows}A\x1b[J"));
        }
        output.push_str(&screen::visible(text));
        self.shown = lines;
        let hidden = self.shown.len().saturating_sub(MAX_STATUS_LINES);
        self.shown.drain(..hidden);
        for line in &self.shown {
            output.push_str(&screen::visible(line));
            output.push('\n');
        }
        output
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_lines_are_erased_before_more_text() {
        let mut status = StatusLines::default();
        let lines = || vec!["a".to_owned(), "b".to_owned()];
        assert_eq!(status.compose("one\n", lines(), None), "one\na\nb\n");
        assert_eq!(status.compose("", lines(), Some(80)), "", "nothing changed");
        assert_eq!(status.compose("two\n", Vec::new(), Some(80)), "\r\x1b[2A\x1b[Jtwo\n");
        assert_eq!(status.compose("three", Vec::new(), Some(80)), "three");
    }

    #[test]
    fn status_lines_that_a_narrower_terminal_has_wrapped_are_erased_whole() {
        let mut status = StatusLines::default();
        status.compose("one\n", vec!["\x1b[2m0123456789\x1b[0m".to_owned(), "ab".to_owned()], Some(20));
        assert_eq!(status.compose("two\n", Vec::new(), Some(4)), "\r\x1b[4A\x1b[Jtwo\n", "ten columns take three rows of four");
    }
}
