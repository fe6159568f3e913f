//! Who answers a permission request: a rule, the mode, or a person.

use serde_json::json;

use super::*;
use crate::{
    model::{PermissionOption, Takeover, Task, task::ContentBlocks, task::object, task::text_block},
    provider::{Adapter, event_sink::EventSink, provider_event::SessionInfo, provider_event::TurnEnd},
};

/// A provider whose lines are the kinds of tool calls that it asks for.
struct AskingProvider;

impl Adapter for AskingProvider {
    fn start(&mut self, out: &mut EventSink) {
        out.ready();
    }

    fn handle_line(&mut self, line: &[u8], out: &mut EventSink) {
        let text = String::from_utf8_lossy(line);
        match text.split_once(' ') {
            None => out.turn_ended(TurnEnd::new("end_turn")),
            Some((kind, options)) => out.request_permission(request(kind, &options.split(' ').collect::<Vec<_>>())),
        }
    }

    fn start_turn(&mut self, _prompt: &ContentBlocks, out: &mut EventSink) {
        out.prompt_accepted();
    }

    fn interrupt(&mut self, out: &mut EventSink) {
        out.send(&"stop");
    }

    fn answer(&mut self, _question: &str, answer: &Answer, out: &mut EventSink) -> bool {
        out.send(&answer.option.as_deref().unwrap_or("nothing"));
        true
    }

    fn takeovers(&self, _session: &SessionInfo) -> Vec<Takeover> {
        Vec::new()
    }
}

/// Rules that always answer the same.
struct FixedRules {
    decision: Option<RuleDecision>,
    notice: Option<String>,
    accepts_edit: bool,
}

impl PermissionRules for FixedRules {
    fn consult(&mut self, _request: &PermissionRequest) -> RuleAnswer {
        RuleAnswer { decision: self.decision.map(|decision| (decision, "rule-1".to_owned())), notice: self.notice.take() }
    }

    fn accepts_edit(&self, _request: &PermissionRequest) -> bool {
        self.accepts_edit
    }
}

fn request(kind: &str, options: &[&str]) -> PermissionRequest {
    let option = |(index, kind): (usize, &&str)| PermissionOption {
        option_id: format!("{kind}-{index}"),
        name: (*kind).to_owned(),
        kind: (*kind).to_owned(),
    };
    let tool_call = object(json!({ "toolCallId": "t", "kind": kind, "rawInput": { "command": "x" } }));
    PermissionRequest { id: "q".to_owned(), tool_call, options: options.iter().enumerate().map(option).collect() }
}

fn conversation(mode: PermissionMode, rules: FixedRules) -> Conversation {
    let task = Task { permissions: mode, interactive: true, ..Task::for_prompt("asking", vec![text_block("do it")]) };
    let mut conversation = Conversation::new(&task, Box::new(AskingProvider));
    conversation.use_rules(Box::new(rules));
    conversation.start();
    conversation
}

const NO_RULES: FixedRules = FixedRules { decision: None, notice: None, accepts_edit: false };

/// The option and the rule with which a request was resolved at once; `None`: a person is asked.
fn decided(mode: PermissionMode, rule: Option<RuleDecision>, kind: &str, options: &str) -> Option<(Option<String>, bool)> {
    let mut conversation = conversation(mode, FixedRules { decision: rule, accepts_edit: true, ..NO_RULES });
    conversation.handle_line(format!("{kind} {options}").as_bytes());
    let resolved = statuses(&mut conversation).into_iter().find_map(|status| match status {
        PermissionStatus::Resolved { option_id, by, rule, .. } => {
            assert_eq!(by, ResolvedBy::Policy);
            Some((option_id, rule.as_deref() == Some("rule-1")))
        }
        PermissionStatus::Requested { .. } => None,
    });
    assert_eq!(conversation.is_awaiting_permission(), resolved.is_none());
    resolved
}

fn statuses(conversation: &mut Conversation) -> Vec<PermissionStatus> {
    let status = |action| match action {
        Action::Log(EntryBody::Permission { status, .. }) => Some(status),
        _ => None,
    };
    std::iter::from_fn(|| conversation.next_action()).filter_map(status).collect()
}

/// The titles and descriptions of notices.
fn notices(actions: &[Action]) -> Vec<String> {
    let notice = |action: &Action| match action {
        Action::Log(EntryBody::Update(update)) if update["sessionUpdate"] == "notice" => Some(json!(update).to_string()),
        _ => None,
    };
    actions.iter().filter_map(notice).collect()
}

const USUAL: &str = "allow_always allow_once reject_once";

#[test]
fn a_deny_speaks_first_then_read_only_then_an_allow_then_the_mode() {
    use PermissionMode::{AcceptEdits, Ask, Bypass, ReadOnly};
    use RuleDecision::{Allow, Deny};
    let by_mode = |option: &str| Some((Some(option.to_owned()), false));
    let by_rule = |option: &str| Some((Some(option.to_owned()), true));
    for (mode, rule, kind, expected) in [
        (Ask, None, "execute", None),
        (Ask, Some(Allow), "execute", by_rule("allow_once-1")),
        (Ask, Some(Deny), "execute", by_rule("reject_once-2")),
        (Bypass, None, "execute", by_mode("allow_once-1")),
        (Bypass, Some(Deny), "execute", by_rule("reject_once-2")),
        (AcceptEdits, None, "edit", by_mode("allow_once-1")),
        (AcceptEdits, Some(Deny), "edit", by_rule("reject_once-2")),
        (ReadOnly, None, "edit", by_mode("reject_once-2")),
        (ReadOnly, None, "execute", by_mode("reject_once-2")),
        (ReadOnly, None, "other", by_mode("reject_once-2")),
        (ReadOnly, Some(Allow), "execute", by_mode("reject_once-2")),
        (ReadOnly, Some(Deny), "execute", by_rule("reject_once-2")),
        // It accepts nothing by itself, also not what changes nothing.
        (ReadOnly, None, "read", None),
        (ReadOnly, Some(Allow), "read", by_rule("allow_once-1")),
    ] {
        assert_eq!(decided(mode, rule, kind, USUAL), expected, "{mode:?} {rule:?} {kind}");
    }
}

#[test]
fn an_allow_takes_only_what_holds_once() {
    use RuleDecision::{Allow, Deny};
    assert_eq!(decided(PermissionMode::Ask, Some(Allow), "execute", "allow_always reject_once"), None, "a person is asked");
    assert_eq!(decided(PermissionMode::Bypass, Some(Allow), "execute", "allow_always reject_once"), None);
    assert_eq!(decided(PermissionMode::Ask, Some(Deny), "execute", "allow_once reject_always"), Some((None, true)), "cancelled");
    assert_eq!(decided(PermissionMode::ReadOnly, None, "execute", "allow_once"), Some((None, false)));
    assert_eq!(decided(PermissionMode::Bypass, None, "execute", "reject_once"), None);
}

#[test]
fn a_choice_between_things_to_allow_is_made_by_a_person() {
    for options in ["allow_once allow_once reject_once", "allow_always allow_always", "other other"] {
        for mode in [PermissionMode::Bypass, PermissionMode::AcceptEdits, PermissionMode::Ask] {
            assert_eq!(decided(mode, Some(RuleDecision::Allow), "edit", options), None, "{options} {mode:?}");
            assert_eq!(decided(mode, None, "edit", options), None, "{options} {mode:?}");
        }
    }
    assert_eq!(decided(PermissionMode::ReadOnly, None, "other", "allow_once allow_once reject_once"), None);
}

#[test]
fn an_elicitation_is_answered_by_a_person() {
    let with = |name: &str, value| {
        let mut elicitation = request("fetch", &["allow_once", "reject_once"]);
        elicitation.tool_call.insert(name.to_owned(), value);
        elicitation
    };
    assert!(is_choice(&with("rawInput", json!({ "serverName": "gh", "url": "https://login" }))));
    assert!(is_choice(&with("rawInput", json!({ "requestedSchema": {} }))));
    assert!(is_choice(&with("toolCallId", json!("elicitation-1"))));
    assert!(is_choice(&request("edit", &["other", "other"])));
    assert!(!is_choice(&request("fetch", &["allow_once", "reject_once"])));
}

#[test]
fn a_file_of_rules_that_is_not_used_is_reported_before_the_request() {
    let rules = FixedRules { notice: Some("rules.json is broken".to_owned()), ..NO_RULES };
    let mut conversation = conversation(PermissionMode::Ask, rules);
    while conversation.next_action().is_some() {}
    conversation.handle_line(format!("execute {USUAL}").as_bytes());
    let actions: Vec<Action> = std::iter::from_fn(|| conversation.next_action()).collect();
    assert!(notices(&actions)[0].contains("rules.json is broken"), "{actions:?}");
    assert!(conversation.is_awaiting_permission());
}

#[test]
fn at_most_64_requests_are_open_and_one_notice_counts_the_others() {
    let mut conversation = conversation(PermissionMode::Ask, NO_RULES);
    for _ in 0..70 {
        conversation.handle_line(format!("execute {USUAL}").as_bytes());
    }
    conversation.handle_line(b"execute allow_once");
    let resolved: Vec<PermissionStatus> =
        statuses(&mut conversation).into_iter().filter(|status| matches!(status, PermissionStatus::Resolved { .. })).collect();
    assert_eq!((conversation.requests.open.len(), resolved.len()), (64, 7));
    let refused = |option: Option<&str>| PermissionStatus::Resolved {
        option_id: option.map(str::to_owned),
        cancelled: option.is_none().then_some(true),
        message: None,
        by: ResolvedBy::Policy,
        rule: None,
    };
    assert_eq!((&resolved[0], &resolved[6]), (&refused(Some("reject_once-2")), &refused(None)));
    // One that is answered makes place for another.
    let answer = Answer { option: Some("reject_once-2".to_owned()), message: None };
    conversation.answer("p1", answer.clone()).expect("it is open");
    assert_eq!(conversation.answer("p70", answer.clone()).expect_err("refused").kind, crate::model::FailureKind::PermissionResolved);
    assert_eq!(conversation.answer("p072", answer).expect_err("no id").kind, crate::model::FailureKind::PermissionNotFound);
    conversation.handle_line(format!("execute {USUAL}").as_bytes());
    assert_eq!(conversation.requests.open.len(), 64);
    while conversation.next_action().is_some() {}
    conversation.handle_line(b"done");
    let actions: Vec<Action> = std::iter::from_fn(|| conversation.next_action()).collect();
    let notices = notices(&actions);
    assert!(notices.len() == 1 && notices[0].contains("7 permission requests were refused"), "{notices:?}");
}

#[test]
fn what_stops_the_turn_is_written_before_the_open_requests_are_settled() {
    let mut conversation = conversation(PermissionMode::Ask, NO_RULES);
    conversation.handle_line(format!("execute {USUAL}").as_bytes());
    while conversation.next_action().is_some() {}
    conversation.stop(ResolvedBy::Client);
    let actions: Vec<Action> = std::iter::from_fn(|| conversation.next_action()).collect();
    assert_eq!(actions[0], Action::Write(b"\"stop\"\n".to_vec()), "{actions:?}");
    assert!(matches!(actions[1], Action::Log(EntryBody::Permission { .. })), "{actions:?}");
}
