//! Questions that the provider asks: put to a policy or a person, answered, withdrawn.

use super::{Act, Body, Conversation};
use crate::{
    model::{
        RunState,
        entry::{PermissionStatus, ResolvedBy},
    },
    provider::{adapter::Answer, effect::Question, policy},
};

impl Conversation {
    pub(super) fn ask(&mut self, question: Question) {
        self.asked += 1;
        let permission_id = format!("p{}", self.asked);
        let decided = if self.in_turn { policy::decide(self.mode, &question) } else { Some(Answer { option: None, message: None }) };
        let was_waiting = self.is_waiting_for_an_answer();
        let status = PermissionStatus::Requested { tool_call: question.tool_call.clone(), options: question.options.clone() };
        self.acts.push_back(Act::Log(Body::Permission { permission_id: permission_id.clone(), status }));
        self.open.insert(permission_id.clone(), question);
        match decided {
            Some(answer) => self.resolve(&permission_id, answer, ResolvedBy::Policy),
            None if was_waiting => {}
            None => self.log_state(RunState::AwaitingPermission, None, None),
        }
    }

    /// Settles a question and tells the provider.
    pub(super) fn resolve(&mut self, permission_id: &str, answer: Answer, by: ResolvedBy) {
        let Some(question) = self.log_resolved(permission_id, answer.clone(), by) else { return };
        self.adapter.answer(&question.id, &answer, &mut self.out);
    }

    fn log_resolved(&mut self, permission_id: &str, answer: Answer, by: ResolvedBy) -> Option<Question> {
        let question = self.open.remove(permission_id)?;
        self.settled.push(permission_id.to_owned());
        let cancelled = answer.option.is_none().then_some(true);
        let status = PermissionStatus::Resolved { option_id: answer.option, cancelled, message: answer.message, by };
        self.acts.push_back(Act::Log(Body::Permission { permission_id: permission_id.to_owned(), status }));
        Some(question)
    }

    pub(super) fn withdraw(&mut self, question: &str) {
        let Some(id) = self.open.iter().find(|(_, open)| open.id == question).map(|(id, _)| id.clone()) else { return };
        self.log_resolved(&id, Answer { option: None, message: None }, ResolvedBy::Provider);
        self.go_on_running();
    }

    pub(super) fn cancel_questions(&mut self, by: ResolvedBy, tell: bool) {
        let open: Vec<String> = self.open.keys().cloned().collect();
        let nobody = Answer { option: None, message: None };
        for id in &open {
            if tell {
                self.resolve(id, nobody.clone(), by);
            } else {
                self.log_resolved(id, nobody.clone(), by);
            }
        }
        if tell && !open.is_empty() {
            self.go_on_running();
        }
    }

    pub(super) fn go_on_running(&mut self) {
        if !self.is_waiting_for_an_answer() && self.in_turn {
            self.log_state(RunState::Running, None, None);
        }
    }
}
