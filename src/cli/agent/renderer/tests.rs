//! The transcript that a renderer makes of entries.

use std::{fs, path::Path};

use serde_json::{Value, json};

use super::{RenderOptions, Renderer};
use crate::{
    cli::render::Styles,
    model::{Entry, item::ItemChange, line},
    transcript::{
        Fold, LogSource,
        tests::sample_updates::{self as sample, with},
        tests::{items_of, recordings},
    },
};

const RUN: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

/// A renderer with a fold before it and a clock: each entry comes half a second after the one before.
struct RenderFixture {
    renderer: Renderer,
    fold: Fold,
    seq: u64,
}

impl RenderFixture {
    fn new(options: RenderOptions) -> Self {
        Self { renderer: Renderer::new(options, "/work"), fold: Fold::new(LogSource::Updates), seq: 0 }
    }

    /// Renders as for a pipe.
    fn pipe() -> Self {
        Self::new(RenderOptions::default())
    }

    /// Renders as for a terminal.
    fn terminal(columns: usize) -> Self {
        Self::new(RenderOptions { columns: Some(columns), ..RenderOptions::default() })
    }

    fn entry(&mut self, entry: Value) -> &mut Self {
        self.seq += 1;
        let place = json!({ "runId": RUN, "seq": self.seq, "at": 1_000_000 + self.seq * 500 });
        let entry: Entry = serde_json::from_value(with(place, entry)).expect("an entry");
        draw(&mut self.renderer, &mut self.fold, &entry);
        self
    }

    fn update(&mut self, update: Value) -> &mut Self {
        self.entry(json!({ "kind": "update", "update": update }))
    }

    fn says(&mut self, id: &str, text: &str) -> &mut Self {
        self.update(sample::message(id, text))
    }

    fn thinks(&mut self, text: &str) -> &mut Self {
        self.update(sample::thought("t", text))
    }

    fn user(&mut self, text: &str) -> &mut Self {
        self.update(sample::prompt(text))
    }

    fn tool(&mut self, id: &str, fields: Value) -> &mut Self {
        self.update(sample::tool(id, fields))
    }

    fn output(&mut self, id: &str, offset: usize, text: &str) -> &mut Self {
        self.update(sample::output(id, offset, text))
    }

    fn runs(&mut self, id: &str, title: &str) -> &mut Self {
        self.tool(id, json!({ "title": title, "kind": "execute", "status": "in_progress" }))
    }

    fn state(&mut self, state: &str, more: Value) -> &mut Self {
        self.entry(with(json!({ "kind": "state", "state": state }), more))
    }

    fn requests_permission(&mut self, id: &str) -> &mut Self {
        self.entry(json!({ "kind": "permission", "permissionId": id, "status": "requested",
            "toolCall": { "toolCallId": "t", "title": "rm x", "kind": "execute", "rawInput": { "command": "rm x" } },
            "options": [{ "optionId": "yes", "name": "Allow", "kind": "allow_once" }, { "optionId": "no", "name": "Reject", "kind": "reject_once" }] }))
    }

    fn resolves(&mut self, id: &str, option: Option<&str>, by: &str) -> &mut Self {
        let cancelled = option.is_none().then_some(true);
        self.entry(
            json!({ "kind": "permission", "permissionId": id, "status": "resolved", "optionId": option, "cancelled": cancelled, "by": by }),
        )
    }

    fn rendered(&mut self) -> String {
        self.renderer.take()
    }

    fn finished(&mut self) -> String {
        self.renderer.finish();
        self.renderer.take()
    }
}

/// Draws what an entry changes, as a client gets it: the items, then the entry itself if it tells a state.
fn draw(renderer: &mut Renderer, fold: &mut Fold, entry: &Entry) {
    let mut changes = Vec::new();
    fold.push(entry, &mut changes);
    changes.into_iter().for_each(|change| renderer.change(entry.seq(), change));
    if let Entry::State(state) = entry {
        renderer.state_entry(state);
    }
}

#[test]
fn a_turn_is_rendered_as_text() {
    let mut fixture = RenderFixture::pipe();
    fixture
        .state("running", json!({ "turn": 1 }))
        .user("Fix it,\nplease")
        .thinks("**Looking**\nat it all")
        .says("m1", "I'll ")
        .says("m1", "look:\n\n1. `a`\n");
    fixture.runs("1", "cargo test").output("1", 0, "one\ntwo\nthree\nfour\n").output("1", 19, "five\nsix\n");
    fixture.tool("1", json!({ "status": "completed" })).says("m2", "Done");
    fixture.state(
        "idle",
        json!({ "turn": 1, "stopReason": "end_turn", "usage": { "inputTokens": 12_345, "outputTokens": 17, "costUsd": 0.01 } }),
    );
    let expected = "\
> Fix it,
> please

✻ Looking …

I'll look:

1. `a`

● $ cargo test ✓ 1.5 s
  … 2 earlier lines
  three
  four
  five
  six

Done

── turn 1 · 5.0 s · 12k in · 17 out · $0.0100
";
    assert_eq!(fixture.finished(), expected);
}

#[test]
fn text_is_rendered_at_once_and_without_control_characters() {
    let mut fixture = RenderFixture::pipe();
    fixture.says("m", "a\u{1b}[2J");
    assert_eq!(fixture.rendered(), "a␣[2J");
    fixture.says("m", "b\r\nc");
    assert_eq!(fixture.rendered(), "b\nc");
    fixture.says("n", "another");
    assert_eq!(fixture.rendered(), "\n\nanother");
}

#[test]
fn on_a_terminal_a_running_tool_is_a_progress_line_and_an_ended_one_a_line() {
    let mut fixture = RenderFixture::terminal(40);
    fixture.state("running", json!({ "turn": 1 })).runs("1", "make 日本語 very long command line that is cut").output(
        "1",
        0,
        "a\nb\nc\nd\n",
    );
    assert_eq!(fixture.rendered(), "");
    let lines = fixture.renderer.progress_lines(1_003_600, 0);
    assert_eq!(lines, ["⠋ $ make 日本語 very long comman… 2.0 s", "    b", "    c", "    d"]);
    fixture.tool("1", json!({ "status": "failed" }));
    assert_eq!(fixture.rendered(), "● $ make 日本語 very long co… ✗ 1.0 s\n  a\n  b\n  c\n  d\n");
    assert_eq!(fixture.renderer.progress_lines(1_003_600, 1), ["⠙ Working… 3.0 s"]);
}

#[test]
fn each_of_two_concurrent_tools_has_its_line() {
    let mut fixture = RenderFixture::pipe();
    fixture.runs("1", "one").runs("2", "two").tool("2", json!({ "status": "completed" })).tool("1", json!({ "status": "failed" }));
    assert_eq!(fixture.rendered(), "● $ one\n● $ two ✓\n✗ $ one 1.5 s\n");
}

#[test]
fn a_tool_gets_its_title_before_it_is_shown() {
    let mut fixture = RenderFixture::pipe();
    fixture.tool("1", json!({ "title": "Bash", "kind": "execute", "status": "pending" }));
    fixture.tool("1", json!({ "title": "`ls`", "status": "in_progress" })).tool("1", json!({ "status": "completed" }));
    assert_eq!(fixture.rendered(), "● $ ls ✓ 1.0 s\n");
}

#[test]
fn changes_are_counted_and_with_full_shown() {
    let diff = json!([{ "type": "diff", "path": "/w/a", "oldText": "one\n", "newText": "two\n" }]);
    let edit = json!({ "title": "Edit a", "kind": "edit", "status": "completed", "content": diff });
    let mut fixture = RenderFixture::pipe();
    fixture.tool("1", edit.clone());
    assert_eq!(fixture.rendered(), "● Edit a ✓\n  /w/a +1 −1\n");
    let mut fixture = RenderFixture::new(RenderOptions { full: true, ..RenderOptions::default() });
    fixture.tool("1", edit);
    assert_eq!(fixture.rendered(), "● Edit a ✓\n  /w/a +1 −1\n    --- /w/a\n    +++ /w/a\n    @@ -1 +1 @@\n    -one\n    +two\n");
}

#[test]
fn with_full_all_output_is_printed_line_by_line() {
    let mut fixture = RenderFixture::new(RenderOptions { full: true, columns: Some(20), ..RenderOptions::default() });
    fixture.runs("1", "make").output("1", 0, "a\nhal");
    assert_eq!(fixture.rendered(), "● $ make\n  a\n");
    fixture.output("1", 5, "f and a long line that is not cut\n").output("1", 2, "B\n");
    fixture
        .tool("1", json!({ "status": "completed", "content": [{ "type": "content", "content": { "type": "text", "text": "a\nB\n" } }] }));
    let expected = "  half and a long line that is not cut
(output corrected:)
  B
✓ $ make 2.0 s
";
    assert_eq!(fixture.rendered(), expected);
}

#[test]
fn a_sub_agent_is_shown_below_its_tool_call() {
    let below = |update| sample::below("task", update);
    let mut fixture = RenderFixture::terminal(60);
    fixture.tool("task", json!({ "title": "Task: look", "kind": "think", "status": "in_progress" }));
    fixture.update(below(sample::message("s", "I am be"))).says("m", "Meanwhile");
    fixture.update(below(sample::message("s", "low\nand")));
    fixture.update(below(sample::tool("sub", json!({ "title": "grep x", "kind": "search", "status": "completed" }))));
    fixture.tool("task", json!({ "status": "completed" }));
    let expected = "\
● Task: look

Meanwhile

  I am below
  ● grep x ✓
  and
✓ Task: look 2.5 s
";
    assert_eq!(fixture.rendered(), expected);
}

#[test]
fn replaced_and_interrupted_messages_stay_visible() {
    let mut fixture = RenderFixture::pipe();
    fixture.says("m", "Hallo");
    fixture.update(sample::corrected("m", "Hello"));
    assert_eq!(fixture.rendered(), "Hallo\n\n(the final message is different:)\n\nHello");
    let mut fixture = RenderFixture::pipe();
    fixture.says("m", "Hel");
    fixture.update(sample::abandoned("m"));
    fixture.says("n", "Hello");
    assert_eq!(fixture.finished(), "Hel\n\n(interrupted; retried below)\n\nHello\n");
}

#[test]
fn a_plan_is_a_list_and_then_what_changed_of_it() {
    let plan = |first: &str, second: &str| {
        let entries = json!([{ "content": "look", "status": first }, { "content": "fix", "status": second }]);
        sample::update("plan", json!({ "entries": entries }))
    };
    let mut fixture = RenderFixture::pipe();
    fixture.update(plan("in_progress", "pending")).update(plan("completed", "pending")).update(plan("completed", "in_progress"));
    assert_eq!(fixture.rendered(), "Plan\n  ▶ look\n  ☐ fix\n  ☑ look\n  ▶ fix\n");
}

#[test]
fn notices_are_lines() {
    let mut fixture = RenderFixture::pipe();
    let notice =
        |severity: &str, title: &str, more: Value| sample::update("notice", with(json!({ "severity": severity, "title": title }), more));
    fixture.update(notice("warning", "Tries again", json!({ "description": "1 of 5" })));
    fixture.update(notice("info", "Hm", json!({}))).update(notice("error", "Gone", json!({})));
    fixture.update(sample::update("unknown_update", json!({ "title": "what has no kind yet" })));
    assert_eq!(fixture.rendered(), "! Tries again: 1 of 5\n· Hm\n✗ Gone\n· what has no kind yet\n");
}

#[test]
fn a_permission_request_shows_the_action_and_then_its_answer() {
    let mut fixture = RenderFixture::terminal(80);
    fixture.requests_permission("p1").state("awaitingPermission", json!({}));
    assert_eq!(fixture.rendered(), "? Allow this command?\n    rm x\n    run in: /work\n");
    assert_eq!(fixture.renderer.requests().count(), 1);
    fixture.renderer.expect_answer("p1");
    fixture.resolves("p1", Some("yes"), "client").state("running", json!({}));
    fixture
        .requests_permission("p2")
        .state("awaitingPermission", json!({}))
        .resolves("p2", Some("no"), "client")
        .state("running", json!({}));
    fixture.requests_permission("p3").state("awaitingPermission", json!({})).resolves("p3", None, "provider");
    let shown = fixture.rendered();
    let lines: Vec<&str> = shown.lines().filter(|line| !line.starts_with(' ') && !line.starts_with('?') && !line.is_empty()).collect();
    assert_eq!(lines, ["✓ Allow", "✗ Reject (answered elsewhere)", "· Request withdrawn by the agent"]);
    assert_eq!(fixture.renderer.requests().count(), 0);
}

#[test]
fn what_the_permission_mode_allows_is_not_shown() {
    let mut fixture = RenderFixture::pipe();
    fixture.requests_permission("p1").resolves("p1", Some("yes"), "policy");
    assert_eq!(fixture.rendered(), "");
    fixture.requests_permission("p2").resolves("p2", Some("no"), "policy");
    assert_eq!(fixture.rendered(), "✗ Denied by the permission mode: rm x\n");
}

#[test]
fn a_prompt_that_was_typed_here_is_not_repeated() {
    let mut fixture = RenderFixture::terminal(80);
    fixture.renderer.expect_typed_prompt("hello");
    fixture.user("hello\n").user("and from elsewhere");
    assert_eq!(fixture.rendered(), "> and from elsewhere\n");
}

#[test]
fn quiet_renders_messages_only() {
    let mut fixture = RenderFixture::new(RenderOptions { quiet: true, ..RenderOptions::default() });
    fixture
        .state("running", json!({ "turn": 1 }))
        .user("x")
        .thinks("hm")
        .runs("1", "make")
        .says("m", "answer")
        .requests_permission("p")
        .state("awaitingPermission", json!({}));
    fixture.resolves("p", Some("yes"), "client").state("succeeded", json!({ "turn": 1, "stopReason": "end_turn" }));
    assert_eq!(fixture.finished(), "answer\n");
}

#[test]
fn an_interrupted_turn_leaves_nothing_open() {
    let mut fixture = RenderFixture::terminal(80);
    fixture.state("running", json!({ "turn": 2 })).runs("1", "sleep 9");
    fixture.state("idle", json!({ "turn": 2, "stopReason": "cancelled" }));
    assert_eq!(fixture.rendered(), "● $ sleep 9\n── turn 2 · 1.0 s · interrupted\n");
}

#[test]
fn colors_are_used_where_they_are_enabled() {
    let mut fixture =
        RenderFixture::new(RenderOptions { columns: Some(80), styles: Styles { has_color: true }, ..RenderOptions::default() });
    fixture.runs("1", "make").tool("1", json!({ "status": "completed" }));
    let shown = fixture.rendered();
    assert!(shown.contains("\u{1b}[32m✓\u{1b}[0m"), "{shown:?}");
}

#[test]
fn a_transcript_that_is_read_later_is_drawn_as_its_items_stand() {
    let mut entries = Vec::new();
    let mut add = |value: Value| entries.push(value);
    add(sample::message("m", "Hallo"));
    add(sample::corrected("m", "Hello"));
    add(sample::tool("1", json!({ "title": "make", "kind": "execute", "status": "in_progress" })));
    add(sample::output("1", 0, "wrong\n"));
    add(sample::output("1", 0, "right\n"));
    add(sample::tool("1", json!({ "status": "completed" })));
    add(sample::message("n", "Hel"));
    add(sample::abandoned("n"));
    add(sample::message("o", "Hello again"));
    let items = items_of(LogSource::Updates, &crate::transcript::tests::entries_of(entries));
    let mut renderer = Renderer::new(RenderOptions::default(), "/work");
    items.into_iter().for_each(|item| renderer.change(item.last_seq, ItemChange::Whole { item: Box::new(item) }));
    renderer.finish();
    assert_eq!(renderer.take(), "Hello\n\n● $ make ✓\n  right\n\nHel\n\n(interrupted; retried below)\n\nHello again\n");
}

#[test]
fn items_that_come_again_after_a_break_are_drawn_once() {
    for (name, entries) in logs() {
        for split in [entries.len() / 3, entries.len() / 2, entries.len().saturating_sub(2)] {
            let mut renderer = Renderer::new(RenderOptions::default(), "/work");
            let mut fold = Fold::new(LogSource::Updates);
            entries[..split].iter().for_each(|entry| draw(&mut renderer, &mut fold, entry));
            let shown = renderer.take();
            let again = items_of(LogSource::Updates, &entries[..split]);
            again.into_iter().for_each(|item| renderer.change(item.last_seq, ItemChange::Whole { item: Box::new(item) }));
            assert_eq!(renderer.take(), "", "{name}: after {shown}");
        }
    }
}

/// All recordings, and the fixtures of tests/transcripts.
fn logs() -> Vec<(String, Vec<Entry>)> {
    let recorded = recordings().into_iter().map(|(path, entries)| (path.display().to_string(), entries));
    recorded.chain(fixtures()).collect()
}

fn fixtures() -> Vec<(String, Vec<Entry>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    let mut names: Vec<_> = fs::read_dir(dir).expect("fixtures").map(|fixture| fixture.expect("a fixture").path()).collect();
    names.sort();
    let entries = |path: &Path| {
        let lines = fs::read(path.join("entries.jsonl")).expect("entries");
        line::lines(&lines).map(|line| line::parse(line).expect("an entry")).collect()
    };
    names.iter().map(|path| (path.file_name().expect("a name").to_string_lossy().into_owned(), entries(path))).collect()
}

#[test]
fn the_fixtures_as_they_come_and_as_they_are_read_later() {
    for (name, entries) in fixtures() {
        let mut live = Renderer::new(RenderOptions::default(), "/work");
        let mut fold = Fold::new(LogSource::Updates);
        entries.iter().for_each(|entry| draw(&mut live, &mut fold, entry));
        let mut later = Renderer::new(RenderOptions { full: true, ..RenderOptions::default() }, "/work");
        let items = items_of(LogSource::Updates, &entries);
        items.into_iter().for_each(|item| later.change(item.last_seq, ItemChange::Whole { item: Box::new(item) }));
        [&mut live, &mut later].into_iter().for_each(Renderer::finish);
        insta::assert_snapshot!(name, format!("as they come:\n\n{}\n\nread later, in full:\n\n{}", live.take(), later.take()));
    }
}
