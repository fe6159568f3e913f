//! What the person does (keys, typed lines, signals) and the requests to the server that follow.

use tokio::time::Instant;

use super::{ActivePrompt, Interactive, KeyGuard, PASTE_DELAY, PendingCall};
use crate::{
    cli::{
        agent::keyboard::Key,
        format,
        input::{Keys, UserAction},
        live::{self, WatchEnd},
        render,
    },
    model::{
        Failure, FailureKind, RunState,
        calls::{AnswerParams, RunIdParams, SendParams},
        methods::{Method, RunAnswer, RunCloseInput},
    },
    rpc::is_connection_end,
};

impl Interactive<'_> {
    pub(super) fn handle_action(&mut self, action: UserAction, keys: &mut Option<Keys>) -> Option<WatchEnd> {
        if action == UserAction::Interrupt && self.active_prompt != ActivePrompt::None {
            if let ActivePrompt::Permission(id) = self.active_prompt.clone() {
                self.keep_pending(id);
                keys.iter_mut().for_each(Keys::reset_interrupts);
            } else {
                self.typed.clear();
                self.renderer.end_prompt(false);
                self.renderer.note(r"Press Ctrl-C again to cancel the run, Ctrl-D to end it, Ctrl-\ to detach");
                self.active_prompt = ActivePrompt::None;
            }
            return None;
        }
        let Some(request) = live::action_request(self.session.client(), self.run.id, action) else {
            return Some(WatchEnd::Detached(action));
        };
        if let Some(text) = live::action_note(action).filter(|_| !self.view.quiet) {
            match self.renderer.options.columns {
                Some(_) => self.renderer.note(text),
                None => render::note(text),
            }
        }
        self.calls.spawn(async move { (PendingCall::Control, request.await) });
        None
    }

    /// Handles what the keyboard sent: a key for a permission request, or typed text for a prompt.
    pub(super) fn handle_keyboard_input(&mut self, bytes: &[u8]) {
        match self.active_prompt.clone() {
            ActivePrompt::None => {}
            ActivePrompt::Permission(id) => match Key::of(bytes) {
                Key::Escape => self.keep_pending(id),
                _ if self.keys != KeyGuard::Open => {}
                Key::Char(key) if !self.is_whole(&id) => {
                    if matches!(key, ' ' | '\n' | '\r') {
                        self.ask(&id);
                    }
                }
                Key::Char(key) => self.answer_with_key(&id, key),
                Key::Other => {}
            },
            // The end of the input on an empty line: Ctrl-D.
            ActivePrompt::Prompt if bytes.is_empty() && self.typed.is_empty() => {
                self.input_closed = true;
                self.call(PendingCall::CloseInput, RunCloseInput, RunIdParams { run_id: self.run.id });
            }
            ActivePrompt::Prompt => {
                self.typed.push_str(&String::from_utf8_lossy(bytes));
                self.paste_deadline = Some(Instant::now() + PASTE_DELAY);
            }
        }
    }

    fn answer_with_key(&mut self, id: &str, key: char) {
        let request = self.renderer.requests().find(|request| request.id() == id);
        let Some(option) = request.and_then(|request| request.option_for_key(key)) else { return };
        let params = AnswerParams::option(self.run.id, id, &option.option_id);
        self.skipped_requests.push(id.to_owned());
        self.renderer.expect_answer(id);
        self.call(PendingCall::Answer(id.to_owned()), RunAnswer, params);
    }

    /// Leaves a permission request to a later `loomd answer` or to another client.
    fn keep_pending(&mut self, id: String) {
        let run = self.launch.shown_id(self.run.id);
        self.renderer.note(&format!("Not answered. Answer later with `{} answer {run}`.", self.launch.command_prefix()));
        self.skipped_requests.push(id);
    }

    /// Sends what was typed as the next prompt.
    pub(super) fn submit_prompt(&mut self) {
        self.paste_deadline = None;
        let typed = std::mem::take(&mut self.typed);
        self.renderer.end_prompt(typed.ends_with('\n'));
        self.active_prompt = ActivePrompt::None;
        let prompt = typed.trim_end();
        if !prompt.trim().is_empty() {
            self.renderer.expect_typed_prompt(prompt);
            // Its turn starts now. The state that tells so is on its way; until it arrives, no prompt must be shown.
            self.renderer.set_state(RunState::Running);
            self.send(PendingCall::Prompt, SendParams::prompt(self.run.id, prompt));
        }
    }

    /// Sends a line of a stdin that is no terminal as the next prompt. `None`: the end of stdin, which ends the
    /// conversation.
    pub(super) fn handle_stdin_line(&mut self, line: Option<Result<String, Failure>>) -> Result<(), Failure> {
        let run_id = self.run.id;
        match line {
            None => {
                self.stdin_lines = None;
                self.call(PendingCall::Control, RunCloseInput, RunIdParams { run_id });
            }
            Some(text) => {
                if let Some(params) = live::send_params(run_id, &text?, true) {
                    self.is_sending_line = true;
                    self.send(PendingCall::Line, params);
                }
            }
        }
        Ok(())
    }

    fn send(&mut self, call: impl FnOnce(SendParams) -> PendingCall, params: SendParams) {
        let params = SendParams { client_token: self.session.send_token(), ..params };
        let request = live::send_line(self.session.client(), params.clone());
        let call = call(params);
        self.calls.spawn(async move { (call, request.await) });
    }

    /// Sends prompts again whose connection ended before the answer.
    pub(super) fn send_unanswered(&mut self) {
        if !self.session.is_connected() {
            return;
        }
        let client = self.session.client();
        for call in std::mem::take(&mut self.unanswered) {
            let request = match &call {
                PendingCall::Line(params) | PendingCall::Prompt(params) => live::send_line(client.clone(), params.clone()),
                PendingCall::CloseInput => live::send_request(client.clone(), RunCloseInput, RunIdParams { run_id: self.run.id }),
                PendingCall::Control | PendingCall::Answer(_) => continue,
            };
            self.calls.spawn(async move { (call, request.await) });
        }
    }

    fn call<M: Method>(&mut self, call: PendingCall, method: M, params: M::Params) {
        let request = live::send_request(self.session.client(), method, params);
        self.calls.spawn(async move { (call, request.await) });
    }

    pub(super) fn handle_reply(&mut self, call: PendingCall, reply: Result<(), Failure>) {
        let may_repeat = match &call {
            PendingCall::Line(params) | PendingCall::Prompt(params) => params.client_token.is_some(),
            PendingCall::CloseInput => true,
            PendingCall::Control | PendingCall::Answer(_) => false,
        };
        if may_repeat && reply.as_ref().is_err_and(is_connection_end) {
            return self.unanswered.push(call);
        }
        if matches!(call, PendingCall::Line(_)) {
            self.is_sending_line = false;
        }
        let Err(failure) = reply else { return };
        match call {
            PendingCall::Prompt(_) => self.renderer.set_state(RunState::Idle),
            // The request is shown again, unless another client has answered it.
            PendingCall::Answer(id) if failure.kind != FailureKind::PermissionResolved => {
                self.skipped_requests.retain(|skipped| *skipped != id)
            }
            _ => {}
        }
        // A request that came too late, or whose server ended, needs no report: the run's state shows what happened.
        let is_late = matches!(failure.kind, FailureKind::RunNotActive | FailureKind::Internal | FailureKind::PermissionResolved);
        if !is_late {
            match self.renderer.options.columns {
                Some(_) => self.renderer.note(&format::plain(&render::failure_text(&failure))),
                None => render::print_failure(&failure),
            }
        }
    }
}
