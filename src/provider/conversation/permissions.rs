//! Permission requests of the provider: answered by the permission mode or by a client, withdrawn, or cancelled.

use std::{collections::BTreeMap, mem};

use serde_json::{Map, Value};

use super::{
    Conversation,
    stage::{Input, Stage},
};
use crate::{
    model::{
        RunState,
        calls::PermissionMode,
        entry::{PermissionStatus, ResolvedBy},
        rule::RuleDecision,
    },
    provider::{
        Answer,
        event_sink::Severity,
        provider_event::{Action, EntryBody, PermissionRequest},
    },
};

/// Most requests that wait for a person at the same time.
const MAX_OPEN_REQUESTS: usize = 64;

/// The user's rules, as a conversation consults them: outside of this module, because they are in a file, and paths have to be
/// resolved.
pub(crate) trait PermissionRules {
    /// What a rule answers.
    fn consult(&mut self, request: &PermissionRequest) -> RuleAnswer;

    /// Whether `acceptEdits` accepts this change of files.
    fn accepts_edit(&self, request: &PermissionRequest) -> bool;
}

/// The answer of the rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RuleAnswer {
    /// The decision, and the id of the rule that made it.
    pub(crate) decision: Option<(RuleDecision, String)>,
    /// Why the rules answer nothing, if that is new.
    pub(crate) notice: Option<String>,
}

/// How a request is resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Resolution {
    answer: Answer,
    by: ResolvedBy,
    rule: Option<String>,
}

/// What the agent asked, and what answers it without a person.
pub(super) struct PermissionRequests {
    /// Those without an answer, by permission id.
    open: BTreeMap<String, PermissionRequest>,
    /// How many were made in the run.
    count: u64,
    /// Requests of this turn that were refused because too many were open.
    surplus: u64,
    mode: PermissionMode,
    /// `None`: there are no rules, and `acceptEdits` accepts nothing.
    rules: Option<Box<dyn PermissionRules>>,
}

impl PermissionRequests {
    pub(super) fn new(mode: PermissionMode) -> Self {
        Self { open: BTreeMap::new(), count: 0, surplus: 0, mode, rules: None }
    }

    pub(super) fn use_rules(&mut self, rules: Box<dyn PermissionRules>) {
        self.rules = Some(rules);
    }

    pub(super) fn set_mode(&mut self, mode: Option<PermissionMode>) {
        self.mode = mode.unwrap_or(self.mode);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// The open request with this permission id.
    pub(super) fn get(&self, permission_id: &str) -> Option<&PermissionRequest> {
        self.open.get(permission_id)
    }

    /// Whether there was a request with this permission id, open or not.
    pub(super) fn has_made(&self, permission_id: &str) -> bool {
        let number = permission_id.strip_prefix('p').and_then(|number| number.parse::<u64>().ok());
        number.is_some_and(|number| (1..=self.count).contains(&number) && permission_id == format!("p{number}"))
    }

    fn number(&mut self) -> String {
        self.count += 1;
        format!("p{}", self.count)
    }

    /// The answer that needs no person, in this order: a rule that denies, `readOnly`, a rule that allows, the other modes. `None`:
    /// a person is asked. `rules` is what the rules say.
    fn decide(&mut self, request: &PermissionRequest, rules: Option<(RuleDecision, String)>) -> Option<Resolution> {
        let decided = match rules {
            Some((RuleDecision::Deny, rule)) => Some(Resolution { rule: Some(rule), ..refusal(request) }),
            _ if self.mode == PermissionMode::ReadOnly && !is_reading(request) => (!is_choice(request)).then(|| refusal(request)),
            Some((RuleDecision::Allow, rule)) => {
                let allowed = (!is_choice(request)).then(|| choose(request, &["allow_once"])).flatten();
                allowed.map(|resolution| Resolution { rule: Some(rule), ..resolution })
            }
            None if is_choice(request) => None,
            None => match self.mode {
                PermissionMode::Bypass => choose(request, &["allow_once", "allow_always"]),
                PermissionMode::AcceptEdits if self.rules.as_ref().is_some_and(|rules| rules.accepts_edit(request)) => {
                    choose(request, &["allow_once", "allow_always"])
                }
                _ => None,
            },
        };
        if decided.is_none() && self.open.len() >= MAX_OPEN_REQUESTS {
            self.surplus += 1;
            return Some(refusal(request));
        }
        decided
    }
}

impl Conversation {
    pub(super) fn open_request(&mut self, request: PermissionRequest) {
        let permission_id = self.requests.number();
        // Nobody is asked when the run is being ended, or after an interrupt. Between turns a sub-agent may ask that goes on in the
        // background.
        let is_asking_time = match &self.turn {
            Some(turn) => !turn.is_interrupted,
            None => self.stage == Stage::Ready && !self.ends_when_idle(),
        };
        let decided = match is_asking_time && self.input != Input::Stopped {
            true => self.decide(&request),
            false => Some(Resolution::cancelled(ResolvedBy::Policy)),
        };
        let was_waiting = self.is_awaiting_permission();
        let status = PermissionStatus::Requested { tool_call: request.tool_call.clone(), options: request.options.clone() };
        self.actions.push_back(Action::Log(EntryBody::Permission { permission_id: permission_id.clone(), status }));
        self.requests.open.insert(permission_id.clone(), request);
        match decided {
            Some(resolution) => drop(self.resolve(&permission_id, resolution)),
            None if was_waiting => {}
            None => self.log_state(RunState::AwaitingPermission, None, None),
        }
    }

    fn decide(&mut self, request: &PermissionRequest) -> Option<Resolution> {
        let answer = self.requests.rules.as_mut().map_or_else(RuleAnswer::default, |rules| rules.consult(request));
        if let Some(problem) = answer.notice {
            self.log_notice("the rules for permission requests are not used", Some(&problem));
        }
        self.requests.decide(request, answer.decision)
    }

    /// Reports how many requests of the turn were refused because too many were open.
    pub(super) fn report_surplus_requests(&mut self) {
        match mem::take(&mut self.requests.surplus) {
            0 => {}
            count => {
                let requests = if count == 1 { "a permission request was".to_owned() } else { format!("{count} permission requests were") };
                let title = format!("{requests} refused because {MAX_OPEN_REQUESTS} others were waiting for an answer");
                self.log_notice(&title, None);
            }
        }
    }

    /// Logs a notice before anything that the adapter has reported and that is not handled yet.
    fn log_notice(&mut self, title: &str, description: Option<&str>) {
        let later = mem::take(&mut self.out.events);
        self.out.notice(Severity::Warning, title, description);
        for event in mem::replace(&mut self.out.events, later) {
            self.handle_event(event);
        }
    }

    /// Passes the answer to a request to the adapter and logs it. `false`: the provider does not wait for it any more, so
    /// nothing was allowed.
    pub(super) fn resolve(&mut self, permission_id: &str, resolution: Resolution) -> bool {
        let Some(request) = self.requests.get(permission_id).map(|open| open.id.clone()) else { return false };
        let is_delivered = self.adapter.answer(&request, &resolution.answer, &mut self.out);
        let resolution = match is_delivered || resolution.answer.option.is_none() {
            true => resolution,
            false => Resolution::cancelled(ResolvedBy::Provider),
        };
        self.close_request(permission_id, resolution);
        is_delivered
    }

    fn close_request(&mut self, permission_id: &str, resolution: Resolution) {
        self.requests.open.remove(permission_id);
        let Resolution { answer, by, rule } = resolution;
        let cancelled = answer.option.is_none().then_some(true);
        let status = PermissionStatus::Resolved { option_id: answer.option, cancelled, message: answer.message, by, rule };
        self.actions.push_back(Action::Log(EntryBody::Permission { permission_id: permission_id.to_owned(), status }));
    }

    pub(super) fn withdraw_request(&mut self, request: &str) {
        let Some(id) = self.requests.open.iter().find(|(_, open)| open.id == request).map(|(id, _)| id.clone()) else { return };
        self.close_request(&id, Resolution::cancelled(ResolvedBy::Provider));
        self.log_running();
    }

    pub(super) fn cancel_requests(&mut self, by: ResolvedBy, tell_provider: bool) {
        let open: Vec<String> = self.requests.open.keys().cloned().collect();
        for id in &open {
            if tell_provider {
                self.resolve(id, Resolution::cancelled(by));
            } else {
                self.close_request(id, Resolution::cancelled(by));
            }
        }
        if tell_provider && self.turn.is_some() && !open.is_empty() {
            self.log_running();
        }
    }

    /// Logs that the run goes on, if no request is open any more.
    pub(super) fn log_running(&mut self) {
        if !self.is_awaiting_permission() && !self.stage.is_finishing() {
            self.log_state(if self.turn.is_some() { RunState::Running } else { RunState::Idle }, None, None);
        }
    }
}

impl Resolution {
    pub(super) fn by_client(answer: Answer) -> Self {
        Self { answer, by: ResolvedBy::Client, rule: None }
    }

    /// Nobody chose, and nothing is allowed.
    fn cancelled(by: ResolvedBy) -> Self {
        Self { answer: Answer { option: None, message: None }, by, rule: None }
    }
}

/// Whether only a person can answer: several things to allow, options that no mode knows, or a question that is none of permission.
fn is_choice(request: &PermissionRequest) -> bool {
    let count = |kind: &str| request.options.iter().filter(|option| option.kind == kind).count();
    count("allow_once") > 1
        || (count("allow_once") == 0 && count("allow_always") > 1)
        || request.options.iter().all(|option| option.kind == "other")
        || is_elicitation(&request.tool_call)
}

/// Whether a server asks the person for something, and an agent passes that on as if it asked for a permission. A yes
/// would say that the person gave it.
fn is_elicitation(tool_call: &Map<String, Value>) -> bool {
    let names = |value: Option<&Value>| value.is_some_and(|value| value.to_string().to_ascii_lowercase().contains("elicit"));
    let input = tool_call.get("rawInput").and_then(Value::as_object);
    let has = |name: &str| input.is_some_and(|input| input.contains_key(name));
    names(tool_call.get("toolCallId"))
        || names(tool_call.get("_meta"))
        || has("requestedSchema")
        || has("elicitationId")
        || (has("serverName") && (has("url") || has("message")))
}

/// Whether the tool changes nothing. `readOnly` leaves such a request to a rule or a person, and refuses every other one.
fn is_reading(request: &PermissionRequest) -> bool {
    let kind = request.tool_call.get("kind").and_then(|kind| kind.as_str());
    kind.is_some_and(|kind| matches!(kind, "read" | "search" | "fetch" | "think"))
}

fn choose(request: &PermissionRequest, kinds: &[&str]) -> Option<Resolution> {
    let option = kinds.iter().find_map(|kind| request.options.iter().find(|option| option.kind == *kind))?;
    let answer = Answer { option: Some(option.option_id.clone()), message: None };
    Some(Resolution { answer, by: ResolvedBy::Policy, rule: None })
}

/// Refuses once, and never for good.
fn refusal(request: &PermissionRequest) -> Resolution {
    choose(request, &["reject_once"]).unwrap_or_else(|| Resolution::cancelled(ResolvedBy::Policy))
}

#[cfg(test)]
mod tests;
