//! What people read of what agents say.

use serde_json::{Value, json};

use super::{Painter, Paper};
use crate::{cli::render::Ink, model::Entry};

const RUN: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

/// A painter with a clock: each entry comes half a second after the one before.
struct Easel {
    painter: Painter,
    seq: u64,
}

impl Easel {
    fn new(paper: Paper) -> Self {
        Self { painter: Painter::new(paper, "/work"), seq: 0 }
    }

    /// As a pipe gets it.
    fn pipe() -> Self {
        Self::new(Paper::default())
    }

    /// As a terminal gets it.
    fn terminal(columns: usize) -> Self {
        Self::new(Paper { columns: Some(columns), ..Paper::default() })
    }

    fn entry(&mut self, entry: Value) -> &mut Self {
        self.seq += 1;
        let mut whole = json!({ "runId": RUN, "seq": self.seq, "at": 1_000_000 + self.seq * 500 });
        entry.as_object().expect("an object").iter().for_each(|(name, value)| whole[name] = value.clone());
        let entry: Entry = serde_json::from_value(whole).expect("an entry");
        self.painter.entry(&entry);
        self
    }

    fn update(&mut self, update: Value) -> &mut Self {
        self.entry(json!({ "kind": "update", "update": update }))
    }

    fn says(&mut self, id: &str, text: &str) -> &mut Self {
        self.update(json!({ "sessionUpdate": "agent_message_chunk", "messageId": id, "content": { "type": "text", "text": text } }))
    }

    fn thinks(&mut self, text: &str) -> &mut Self {
        self.update(json!({ "sessionUpdate": "agent_thought_chunk", "messageId": "t", "content": { "type": "text", "text": text } }))
    }

    fn user(&mut self, text: &str) -> &mut Self {
        self.update(json!({ "sessionUpdate": "user_message_chunk", "messageId": "u", "content": { "type": "text", "text": text } }))
    }

    fn tool(&mut self, id: &str, fields: Value) -> &mut Self {
        let mut update = json!({ "sessionUpdate": "tool_call_update", "toolCallId": id });
        fields.as_object().expect("an object").iter().for_each(|(name, value)| update[name] = value.clone());
        self.update(update)
    }

    fn output(&mut self, id: &str, offset: usize, text: &str) -> &mut Self {
        self.tool(id, json!({ "_meta": { "loomd/output": { "offset": offset, "text": text } } }))
    }

    fn runs(&mut self, id: &str, title: &str) -> &mut Self {
        self.tool(id, json!({ "title": title, "kind": "execute", "status": "in_progress" }))
    }

    fn state(&mut self, state: &str, more: Value) -> &mut Self {
        let mut entry = json!({ "kind": "state", "state": state });
        more.as_object().expect("an object").iter().for_each(|(name, value)| entry[name] = value.clone());
        self.entry(entry)
    }

    fn asks(&mut self, id: &str) -> &mut Self {
        self.entry(json!({ "kind": "permission", "permissionId": id, "status": "requested",
            "toolCall": { "toolCallId": "t", "title": "rm x", "kind": "execute", "rawInput": { "command": "rm x" } },
            "options": [{ "optionId": "yes", "name": "Allow", "kind": "allow_once" }, { "optionId": "no", "name": "Reject", "kind": "reject_once" }] }))
    }

    fn settles(&mut self, id: &str, option: Option<&str>, by: &str) -> &mut Self {
        let cancelled = option.is_none().then_some(true);
        self.entry(
            json!({ "kind": "permission", "permissionId": id, "status": "resolved", "optionId": option, "cancelled": cancelled, "by": by }),
        )
    }

    fn shows(&mut self) -> String {
        self.painter.take()
    }

    fn ends(&mut self) -> String {
        self.painter.finish();
        self.painter.take()
    }
}

#[test]
fn a_turn_is_read_as_text() {
    let mut easel = Easel::pipe();
    easel
        .state("running", json!({ "turn": 1 }))
        .user("Mend it,\nplease")
        .thinks("**Looking**\nat it all")
        .says("m1", "I'll ")
        .says("m1", "look:\n\n1. `a`\n");
    easel.runs("1", "cargo test").output("1", 0, "one\ntwo\nthree\nfour\n").output("1", 19, "five\nsix\n");
    easel.tool("1", json!({ "status": "completed" })).says("m2", "Done");
    easel.state(
        "idle",
        json!({ "turn": 1, "stopReason": "end_turn", "usage": { "inputTokens": 12_345, "outputTokens": 17, "costUsd": 0.01 } }),
    );
    let expected = "\
> Mend it,
> please

✻ Looking …

I'll look:

1. `a`

● $ cargo test ✓ 1.5 s
  … 2 lines before
  three
  four
  five
  six

Done

── turn 1 · 5.0 s · 12k in · 17 out · $0.0100
";
    assert_eq!(easel.ends(), expected);
}

#[test]
fn text_comes_as_it_is_said_and_gives_no_orders() {
    let mut easel = Easel::pipe();
    easel.says("m", "a\u{1b}[2J");
    assert_eq!(easel.shows(), "a␣[2J");
    easel.says("m", "b\r\nc");
    assert_eq!(easel.shows(), "b\nc");
    easel.says("n", "another");
    assert_eq!(easel.shows(), "\n\nanother");
}

#[test]
fn on_a_terminal_a_tool_is_one_line_at_its_end_and_below_while_it_runs() {
    let mut easel = Easel::terminal(40);
    easel.state("running", json!({ "turn": 1 })).runs("1", "make 日本語 very long command line that is cut").output("1", 0, "a\nb\nc\nd\n");
    assert_eq!(easel.shows(), "");
    let below = easel.painter.going_on(1_003_600, 0);
    assert_eq!(below, ["⠋ $ make 日本語 very long comman… 2.0 s", "    b", "    c", "    d"]);
    easel.tool("1", json!({ "status": "failed" }));
    assert_eq!(easel.shows(), "● $ make 日本語 very long co… ✗ 1.0 s\n  a\n  b\n  c\n  d\n");
    assert_eq!(easel.painter.going_on(1_003_600, 1), ["⠙ working 3.0 s"]);
}

#[test]
fn tools_that_run_beside_each_other_are_told_apart() {
    let mut easel = Easel::pipe();
    easel.runs("1", "one").runs("2", "two").tool("2", json!({ "status": "completed" })).tool("1", json!({ "status": "failed" }));
    assert_eq!(easel.shows(), "● $ one\n● $ two ✓\n✗ $ one 1.5 s\n");
}

#[test]
fn a_tool_gets_its_title_before_it_is_shown() {
    let mut easel = Easel::pipe();
    easel.tool("1", json!({ "title": "Bash", "kind": "execute", "status": "pending" }));
    easel.tool("1", json!({ "title": "`ls`", "status": "in_progress" })).tool("1", json!({ "status": "completed" }));
    assert_eq!(easel.shows(), "● $ ls ✓ 1.0 s\n");
}

#[test]
fn changes_are_counted_and_whole_if_asked_for() {
    let diff = json!([{ "type": "diff", "path": "/w/a", "oldText": "one\n", "newText": "two\n" }]);
    let edit = json!({ "title": "Edit a", "kind": "edit", "status": "completed", "content": diff });
    let mut easel = Easel::pipe();
    easel.tool("1", edit.clone());
    assert_eq!(easel.shows(), "● Edit a ✓\n  /w/a +1 −1\n");
    let mut easel = Easel::new(Paper { full: true, ..Paper::default() });
    easel.tool("1", edit);
    assert_eq!(easel.shows(), "● Edit a ✓\n  /w/a +1 −1\n    --- /w/a\n    +++ /w/a\n    @@ -1 +1 @@\n    -one\n    +two\n");
}

#[test]
fn all_output_is_passed_on_line_by_line_if_asked_for() {
    let mut easel = Easel::new(Paper { full: true, columns: Some(20), ..Paper::default() });
    easel.runs("1", "make").output("1", 0, "a\nhal");
    assert_eq!(easel.shows(), "● $ make\n  a\n");
    easel.output("1", 5, "f and a long line that is not cut\n").output("1", 2, "B\n");
    easel.tool("1", json!({ "status": "completed", "content": [{ "type": "content", "content": { "type": "text", "text": "a\nB\n" } }] }));
    let expected = "  half and a long line that is not cut
(what it wrote is told anew, for it was different:)
  B
✓ $ make 2.0 s
";
    assert_eq!(easel.shows(), expected);
}

#[test]
fn a_sub_agent_stands_below_its_tool_call() {
    let meta = json!({ "loomd/parentToolCallId": "task" });
    let mut easel = Easel::terminal(60);
    easel.tool("task", json!({ "title": "Task: look", "kind": "think", "status": "in_progress" }));
    easel.update(json!({ "sessionUpdate": "agent_message_chunk", "messageId": "s", "content": { "type": "text", "text": "I am be" }, "_meta": meta }));
    easel.says("m", "Meanwhile");
    easel.update(json!({ "sessionUpdate": "agent_message_chunk", "messageId": "s", "content": { "type": "text", "text": "low\nand" }, "_meta": meta }));
    easel.tool("sub", json!({ "title": "grep x", "kind": "search", "status": "completed", "_meta": meta }));
    easel.tool("task", json!({ "status": "completed" }));
    let expected = "\
● Task: look

Meanwhile

  I am below
  ● grep x ✓
  and
✓ Task: look 2.5 s
";
    assert_eq!(easel.shows(), expected);
}

#[test]
fn what_was_wrong_is_not_hidden() {
    let mut easel = Easel::pipe();
    easel.says("m", "Hallo");
    easel.update(json!({ "sessionUpdate": "agent_message_chunk", "messageId": "m", "content": { "type": "text", "text": "Hello" },
        "_meta": { "loomd/contradiction": { "at": 1 } } }));
    assert_eq!(easel.shows(), "Hallo\n\n(what it said at last is different:)\n\nHello");
    let mut easel = Easel::pipe();
    easel.says("m", "Hel");
    easel.update(json!({ "sessionUpdate": "agent_message_chunk", "messageId": "m", "content": { "type": "text", "text": "" },
        "_meta": { "loomd/abandoned": true } }));
    easel.says("n", "Hello");
    assert_eq!(easel.ends(), "Hel\n\n(it gave this up and says it anew)\n\nHello\n");
}

#[test]
fn a_plan_is_a_list_and_then_what_changed_of_it() {
    let plan = |first: &str, second: &str| json!({ "sessionUpdate": "plan", "entries": [{ "content": "look", "status": first }, { "content": "mend", "status": second }] });
    let mut easel = Easel::pipe();
    easel.update(plan("in_progress", "pending")).update(plan("completed", "pending")).update(plan("completed", "in_progress"));
    assert_eq!(easel.shows(), "Plan\n  ▶ look\n  ☐ mend\n  ☑ look\n  ▶ mend\n");
}

#[test]
fn notices_are_lines() {
    let mut easel = Easel::pipe();
    easel.update(json!({ "sessionUpdate": "notice", "severity": "warning", "title": "Tries again", "description": "1 of 5" }));
    easel.update(json!({ "sessionUpdate": "notice", "severity": "info", "title": "Hm" }));
    easel.update(json!({ "sessionUpdate": "unheard_of", "title": "x" }));
    assert_eq!(easel.shows(), "! Tries again: 1 of 5\n· Hm\n");
}

#[test]
fn a_question_shows_the_action_and_goes_away_with_a_line() {
    let mut easel = Easel::terminal(80);
    easel.asks("p1").state("awaitingPermission", json!({}));
    assert_eq!(easel.shows(), "? May it run this?\n    rm x\n    in /work\n");
    assert_eq!(easel.painter.questions().count(), 1);
    easel.painter.expect_answer("p1");
    easel.settles("p1", Some("yes"), "client").state("running", json!({}));
    easel.asks("p2").state("awaitingPermission", json!({})).settles("p2", Some("no"), "client").state("running", json!({}));
    easel.asks("p3").state("awaitingPermission", json!({})).settles("p3", None, "provider");
    let shown = easel.shows();
    let lines: Vec<&str> = shown.lines().filter(|line| !line.starts_with(' ') && !line.starts_with('?') && !line.is_empty()).collect();
    assert_eq!(lines, ["✓ Allow", "✗ Reject (answered elsewhere)", "· it does not ask that any more"]);
    assert_eq!(easel.painter.questions().count(), 0);
}

#[test]
fn what_a_policy_allows_is_no_question() {
    let mut easel = Easel::pipe();
    easel.asks("p1").settles("p1", Some("yes"), "policy");
    assert_eq!(easel.shows(), "");
    easel.asks("p2").settles("p2", Some("no"), "policy");
    assert_eq!(easel.shows(), "✗ refused by the run's permissions: rm x\n");
}

#[test]
fn a_prompt_that_was_typed_here_is_not_repeated() {
    let mut easel = Easel::terminal(80);
    easel.painter.expect_echo("hello");
    easel.user("hello\n").user("and from elsewhere");
    assert_eq!(easel.shows(), "> and from elsewhere\n");
}

#[test]
fn the_messages_alone_are_for_pipes() {
    let mut easel = Easel::new(Paper { quiet: true, ..Paper::default() });
    easel
        .state("running", json!({ "turn": 1 }))
        .user("x")
        .thinks("hm")
        .runs("1", "make")
        .says("m", "answer")
        .asks("p")
        .state("awaitingPermission", json!({}));
    easel.settles("p", Some("yes"), "client").state("succeeded", json!({ "turn": 1, "stopReason": "end_turn" }));
    assert_eq!(easel.ends(), "answer\n");
}

#[test]
fn an_interrupted_turn_leaves_nothing_open() {
    let mut easel = Easel::terminal(80);
    easel.state("running", json!({ "turn": 2 })).runs("1", "sleep 9");
    easel.state("idle", json!({ "turn": 2, "stopReason": "cancelled" }));
    assert_eq!(easel.shows(), "● $ sleep 9\n── turn 2 · 1.0 s · interrupted\n");
}

#[test]
fn colours_are_only_where_they_are_wanted() {
    let mut easel = Easel::new(Paper { columns: Some(80), ink: Ink { has_colour: true }, ..Paper::default() });
    easel.runs("1", "make").tool("1", json!({ "status": "completed" }));
    let shown = easel.shows();
    assert!(shown.contains("\u{1b}[32m✓\u{1b}[0m"), "{shown:?}");
}
