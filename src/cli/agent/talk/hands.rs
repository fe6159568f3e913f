//! What somebody does: keys, typed lines, signals, and the calls that they lead to.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::{Asked, Call, PASTE, Talk};
use crate::{
    cli::{
        agent::keyboard::Key,
        keys::{Keys, Wish},
        live::{self, End},
        phrase, render, words,
    },
    model::{Failure, FailureKind, RunState},
    rpc::Client,
};

impl Talk<'_> {
    pub(super) fn wish(&mut self, wish: Wish, keys: &mut Option<Keys>) -> Option<End> {
        let run_id = self.run.id;
        let (method, params) = match wish {
            Wish::Leave | Wish::Terminate | Wish::HangUp => return Some(End::Left(wish)),
            Wish::Interrupt if self.asked != Asked::Nothing => {
                if let Asked::Key(id) = self.asked.clone() {
                    self.leave_open(id);
                    keys.iter_mut().for_each(Keys::forget_interrupts);
                } else {
                    self.typed.clear();
                    self.painter.end_prompt(false);
                    self.painter.note(r"Ctrl-C again cancels the run; Ctrl-D ends it, Ctrl-\ leaves it open");
                    self.asked = Asked::Nothing;
                }
                return None;
            }
            Wish::Interrupt => ("run/interrupt", json!({ "runId": run_id })),
            Wish::Cancel => ("run/cancel", json!({ "runId": run_id })),
            Wish::Kill => ("run/cancel", json!({ "runId": run_id, "graceMs": 0 })),
        };
        if let Some(text) = live::words_of(wish).filter(|_| !self.manner.quiet) {
            match self.painter.paper.columns {
                Some(_) => self.painter.note(text),
                None => render::note(text),
            }
        }
        self.call(Call::Order, method, params);
        None
    }

    pub(super) fn piece(&mut self, piece: &[u8]) {
        match self.asked.clone() {
            Asked::Nothing => {}
            Asked::Key(id) => match Key::of(piece) {
                Key::Escape => self.leave_open(id),
                Key::Char(key) => self.key(&id, key),
                Key::Other => {}
            },
            Asked::Prompt if piece.is_empty() && self.typed.is_empty() => {
                self.input_closed = true;
                self.call(Call::Order, "run/closeInput", json!({ "runId": self.run.id }));
            }
            Asked::Prompt => {
                self.typed.push_str(&String::from_utf8_lossy(piece));
                self.typed_until = Some(Instant::now() + PASTE);
            }
        }
    }

    pub(super) fn key(&mut self, id: &str, key: char) {
        let question = self.painter.questions().find(|question| question.id == id);
        let Some(option) = question.and_then(|question| question.option_of(key)) else { return };
        let params = json!({ "runId": self.run.id, "permissionId": id, "optionId": option.option_id });
        self.set_aside.push(id.to_owned());
        self.painter.expect_answer(id);
        self.call(Call::Answer(id.to_owned()), "run/answer", params);
    }

    pub(super) fn leave_open(&mut self, id: String) {
        let run = words::short(self.run.id);
        self.painter.note(&format!("left open; `{} answer {run}` asks again", self.launch.again()));
        self.set_aside.push(id);
    }

    pub(super) fn typed_all(&mut self) {
        self.typed_until = None;
        let typed = std::mem::take(&mut self.typed);
        self.painter.end_prompt(typed.ends_with('\n'));
        self.asked = Asked::Nothing;
        let prompt = typed.trim_end();
        if !prompt.trim().is_empty() {
            self.painter.expect_echo(prompt);
            // Its turn begins; until then nothing more is asked.
            self.painter.state = Some(RunState::Running);
            self.call(Call::Prompt, "run/send", json!({ "runId": self.run.id, "prompt": prompt }));
        }
    }

    pub(super) fn line(&mut self, line: Option<Result<String, Failure>>) -> Result<(), Failure> {
        let run_id = self.run.id;
        match line {
            None => {
                self.lines = None;
                self.call(Call::Order, "run/closeInput", json!({ "runId": run_id }));
            }
            Some(text) => {
                if let Some(params) = live::sent(run_id, &text?, true) {
                    self.sends_line = true;
                    self.call(Call::Line, "run/send", params);
                }
            }
        }
        Ok(())
    }

    pub(super) fn call(&mut self, call: Call, method: &'static str, params: Value) {
        let client: Arc<Client> = self.session.client();
        self.calls.spawn(async move { (call, live::order(client, method, params).await) });
    }

    pub(super) fn answered(&mut self, call: Call, answer: Result<(), Failure>) {
        if matches!(call, Call::Line) {
            self.sends_line = false;
        }
        let Err(failure) = answer else { return };
        match call {
            Call::Prompt => self.painter.state = Some(RunState::Idle),
            // It is asked again, unless somebody else was faster.
            Call::Answer(id) if failure.kind != FailureKind::PermissionResolved => self.set_aside.retain(|aside| *aside != id),
            _ => {}
        }
        // A call that comes too late, or whose server went, is nobody's business.
        let is_late = matches!(failure.kind, FailureKind::RunNotActive | FailureKind::Internal | FailureKind::PermissionResolved);
        if !is_late {
            match self.painter.paper.columns {
                Some(_) => self.painter.note(&words::plain(&phrase::of_the_command_line(&failure.message))),
                None => render::tell_failure(&failure),
            }
        }
    }
}
