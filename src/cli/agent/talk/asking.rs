//! What is asked of the person now: a question by a key, the next prompt, or nothing; and what stands below the text.

use super::{Asked, PAUSE, Talk};
use crate::{
    cli::{render, words},
    model::RunState,
};

impl Talk<'_> {
    /// Asks what is to be asked now, and nothing else.
    pub(super) fn arrange(&mut self) {
        let wanted = self.wanted();
        if wanted == self.asked {
            return;
        }
        if self.asked == Asked::Prompt {
            self.painter.end_prompt(false);
            self.typed.clear();
            self.typed_until = None;
        }
        if let Some(keyboard) = &mut self.keyboard {
            match wanted {
                Asked::Key(_) => keyboard.take_keys(),
                _ => keyboard.take_lines(),
            }
        }
        if wanted == Asked::Prompt {
            self.painter.prompt();
        }
        self.asked = wanted;
    }

    pub(super) fn wanted(&mut self) -> Asked {
        let open = self.painter.questions().find(|question| !self.set_aside.contains(&question.id));
        let open = open.filter(|_| !self.manner.only_look).cloned();
        let can_type = self.keyboard.as_ref().is_some_and(|keyboard| self.asked != Asked::Nothing || keyboard.is_ours());
        if let Some(question) = open.filter(|_| self.painter.state == Some(RunState::AwaitingPermission)) {
            if can_type {
                return Asked::Key(question.id);
            }
            self.set_aside.push(question.id.clone());
            let options: Vec<String> = question
                .options
                .iter()
                .map(|option| format!("{} ({})", words::quoted(&words::plain(&option.option_id)), words::plain(&option.name)))
                .collect();
            let id = words::short(self.run.id);
            render::note(&format!(
                "run {id} waits for an answer: {}\nanswer with `{} answer {id} OPTION`: {}",
                question.title(),
                self.launch.again(),
                options.join(", ")
            ));
        }
        let is_quiet = self.asked == Asked::Prompt || self.idle_since.is_none_or(|since| since.elapsed() >= PAUSE);
        let is_idle = self.painter.state == Some(RunState::Idle) && is_quiet;
        if is_idle && can_type && self.manner.interactive && !self.input_closed { Asked::Prompt } else { Asked::Nothing }
    }

    /// What stands below the text.
    pub(super) fn below(&self) -> Vec<String> {
        let Some(columns) = self.painter.paper.columns else { return Vec::new() };
        let ink = self.painter.paper.ink;
        let question = match &self.asked {
            _ if !self.painter.is_at_start() => return Vec::new(),
            Asked::Prompt => return Vec::new(),
            Asked::Key(id) => self.painter.questions().find(|question| question.id == *id),
            Asked::Nothing => None,
        };
        if let Some(question) = question {
            let mut lines = question.menu(ink, columns.saturating_sub(1));
            lines.push(ink.dim("press a key; Esc leaves it open"));
            return lines;
        }
        if self.painter.state == Some(RunState::AwaitingPermission) {
            let id = words::short(self.run.id);
            return vec![ink.dim(&render::cut(&format!("waiting for an answer: {} answer {id}", self.launch.again()), columns - 1))];
        }
        match self.painter.state {
            Some(RunState::Idle) => Vec::new(),
            _ => self.painter.going_on(render::now(), self.frame),
        }
    }
}
