//! Every recorded conversation in every format, texts that want out of their place, and memory.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{Render, cast::Cast, html, markdown, text};
use crate::model::{Entry, Run, RunBytes, RunId, RunState, Stream, calls::ExportFormat, line};

const NONCE: &str = "0123456789abcdef";
const BEGAN: u64 = 1_700_000_000_000;

fn id() -> RunId {
    "018bcfe5-687b-7000-8000-0123456789ab".parse().expect("an id")
}

/// A run of the state in which its entries leave it.
fn run_of(provider: &str, params: Value, lines: &[Vec<u8>]) -> Run {
    let Value::Object(params) = params else { panic!("an object") };
    let mut run = Run {
        id: id(),
        provider: provider.to_owned(),
        title: None,
        labels: Default::default(),
        pinned: false,
        params,
        command: vec!["program".to_owned(), "a b".to_owned()],
        cwd: "/work".to_owned(),
        state: RunState::Starting,
        turn: None,
        queued: None,
        pid: None,
        permissions: Vec::new(),
        exit_code: None,
        signal: None,
        error: None,
        session: None,
        parent_run_id: None,
        created_at: BEGAN,
        started_at: Some(BEGAN),
        ended_at: None,
        last_seq: 0,
        durable_seq: 0,
        bytes: RunBytes::default(),
        transcript: None,
        usage: None,
        taken_over_at: None,
    };
    lines.iter().for_each(|line| run.apply(&line::parse(line).expect("an entry")));
    run
}

/// Entries without numbers and times as lines of a log.
fn lines_of(entries: impl Iterator<Item = Value>) -> Vec<Vec<u8>> {
    let with_place = entries.enumerate().map(|(number, entry)| {
        let Value::Object(mut members) = entry else { panic!("an object") };
        let mut whole = Map::new();
        whole.insert("kind".to_owned(), members.remove("kind").expect("a kind"));
        whole.insert("runId".to_owned(), json!(id()));
        whole.insert("seq".to_owned(), json!(number + 1));
        whole.insert("at".to_owned(), json!(BEGAN + 1 + 250 * number as u64));
        // As the recordings' player writes them.
        if let Some(Value::Object(status)) = members.get("status").cloned() {
            members.remove("status");
            members.extend(status);
        }
        members.retain(|_, value| !value.is_null());
        whole.extend(members);
        let entry: Entry = serde_json::from_value(Value::Object(whole)).expect("an entry");
        let mut line = Vec::new();
        line::write(&mut line, &entry);
        line.pop();
        line
    });
    with_place.collect()
}

/// Updates, and entries that are said whole.
fn told(entries: &[Value]) -> Vec<Vec<u8>> {
    let is_update = |entry: &Value| entry.get("sessionUpdate").is_some();
    lines_of(entries.iter().map(|entry| if is_update(entry) { json!({ "kind": "update", "update": entry }) } else { entry.clone() }))
}

fn exported(mut render: Box<dyn Render + '_>, lines: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    render.begin(&mut out).expect("a vector takes everything");
    lines.iter().for_each(|line| render.line(line, &mut out).expect("entries are understood"));
    render.finish(&mut out).expect("a vector takes everything");
    out
}

fn page(run: &Run, is_told: bool, lines: &[Vec<u8>]) -> String {
    String::from_utf8(exported(Box::new(html::Page::new(run, is_told, NONCE)), lines)).expect("text")
}

fn as_markdown(run: &Run, is_told: bool, lines: &[Vec<u8>]) -> String {
    let render: Box<dyn Render> = if is_told { Box::new(markdown::Agent::new(run)) } else { Box::new(markdown::Command::new(run)) };
    String::from_utf8(exported(render, lines)).expect("text")
}

/// Checks that it is a recording that plays, and gives what it shows.
fn played(cast: &[u8], name: &str) -> String {
    let text = std::str::from_utf8(cast).expect("text");
    let mut lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{name}: {line}: {error}")));
    let header = lines.next().expect("a header");
    assert!(
        header["version"] == 2 && header["width"].is_u64() && header["height"].is_u64() && header["timestamp"].is_u64(),
        "{name}: {header}"
    );
    let (mut last, mut shown) = (0.0, String::new());
    for event in lines {
        let (at, data) = (event[0].as_f64().expect("a time"), event[2].as_str().expect("text"));
        assert!(at >= last && event[1] == "o" && !data.is_empty(), "{name}: {event}");
        last = at;
        shown.push_str(data);
    }
    shown
}

fn recordings() -> Vec<(PathBuf, Vec<Vec<u8>>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings");
    let mut found = Vec::new();
    for provider in std::fs::read_dir(root).expect("recordings") {
        for file in std::fs::read_dir(provider.expect("a provider").path()).expect("a directory") {
            let path = file.expect("a file").path();
            if path.extension().is_some_and(|extension| extension == "snap") {
                // What the adapter makes of the recording: `provider::recording` holds it to that.
                let text = std::fs::read_to_string(&path).expect("text");
                let body = text.splitn(3, "---\n").nth(2).expect("a body");
                let entries = body.lines().filter(|line| !line.trim().is_empty()).map(|line| serde_json::from_str(line).expect("an entry"));
                found.push((path, lines_of(entries)));
            }
        }
    }
    found.sort();
    assert_eq!(found.len(), 170);
    found
}

#[test]
fn every_recorded_conversation_in_every_format() {
    for (path, lines) in recordings() {
        let name = path.display().to_string();
        let run = run_of("recorded", json!({ "prompt": "as it was" }), &lines);

        let jsonl = exported(Box::new(text::Lines), &lines);
        let read: Vec<&[u8]> = line::lines(&jsonl).collect();
        assert!(read == lines, "{name}: the entries come back");

        html::tests::check_page(&page(&run, true, &lines), NONCE, &name);
        played(&exported(Box::new(Cast::new(&run, true)), &lines), &name);

        let markdown = as_markdown(&run, true, &lines);
        let said = messages(&lines).join("\n");
        for words in said.lines().filter(|words| words.chars().all(|c| c.is_ascii_alphanumeric() || c == ' ')) {
            assert!(markdown.contains(words), "{name}: `{words}` is missing");
        }
        check_markdown(&markdown, &name);
        assert!(exported(Box::new(text::Text), &lines).is_empty(), "{name}: there is no output among these entries");
        let told = String::from_utf8(exported(Box::new(text::Told::new()), &lines)).expect("text");
        assert!(!told.contains('\u{1b}'), "{name}: no escapes");
        for words in said.lines().filter(|_| !markdown.contains("given up") && !markdown.contains("corrected")) {
            assert!(told.contains(words), "{name}: `{words}` is missing");
        }
    }
}

/// What the agent said at last.
fn messages(lines: &[Vec<u8>]) -> Vec<String> {
    let mut said: Vec<(String, String)> = Vec::new();
    for line in lines {
        let Ok(Entry::Update(entry)) = line::parse(line) else { continue };
        let update = Value::Object(entry.update);
        if update["sessionUpdate"] != "agent_message_chunk" {
            continue;
        }
        let id = update["messageId"].as_str().unwrap_or_default();
        let text = update["content"]["text"].as_str().unwrap_or_default();
        match said.last_mut().filter(|(last, _)| last == id) {
            Some((_, said)) if update["_meta"].get("loomd/contradiction").is_some() => text.clone_into(said),
            Some((_, said)) => said.push_str(text),
            None => said.push((id.to_owned(), text.to_owned())),
        }
    }
    said.into_iter().map(|(_, text)| text).collect()
}

/// What folds is closed where it was opened, and no HTML is in it but the page's.
fn check_markdown(markdown: &str, name: &str) {
    let options = pulldown_cmark::Options::ENABLE_TABLES;
    let (mut depth, mut tags) = (0_i64, Vec::new());
    for event in pulldown_cmark::Parser::new_ext(markdown, options) {
        if let pulldown_cmark::Event::Html(html) | pulldown_cmark::Event::InlineHtml(html) = event {
            for tag in html.split('<').skip(1) {
                let tag = tag.split(['>', ' ']).next().unwrap_or_default().to_owned();
                assert!(
                    ["details", "/details", "summary", "/summary", "b", "/b", "i", "/i", "code", "/code"].contains(&tag.as_str()),
                    "{name}: <{tag}>"
                );
                depth += i64::from(tag == "details") - i64::from(tag == "/details");
                assert!(depth >= 0, "{name}");
                tags.push(tag);
            }
        }
    }
    assert_eq!(depth, 0, "{name}: {tags:?}");
}

const HOSTILE: &[&str] = &[
    "</details></summary></main></body><script>alert(1)</script>",
    "<!--",
    "```\nnever closed",
    "~~~~~~\n</details>",
    "<img src=x onerror=alert(1)><iframe src=//evil>",
    "]]></style><style>*{display:none}</style>",
    "\" onclick=\"alert(1)\" x=\"",
    "&lt;script&gt; &#60;script&#62; <",
    "\u{202e}gnp.exe\u{0} \u{1b}]0;title\u{7}\u{1b}[2J",
    "[x](javascript:alert(1)) ![y](https://evil.example/x.png) <https://ok.example>",
    "| a | b |\n|:-:|--:|\n| <b> | `|` |",
    "> quoted\n> ```\nlazy",
    "\u{2028}\u{2029}",
];

fn hostile_story(evil: &str) -> Vec<Vec<u8>> {
    let diff = json!({ "type": "diff", "path": evil, "oldText": format!("a\n{evil}\n"), "newText": format!("b\n{evil}") });
    let content = json!({ "type": "content", "content": { "type": "text", "text": evil } });
    told(&[
        json!({ "kind": "state", "state": "running", "turn": 1 }),
        json!({ "sessionUpdate": "user_message_chunk", "messageId": "1", "content": { "type": "text", "text": evil } }),
        json!({ "sessionUpdate": "agent_thought_chunk", "messageId": "2", "content": { "type": "text", "text": evil } }),
        json!({ "sessionUpdate": "agent_message_chunk", "messageId": "3", "content": { "type": "text", "text": evil } }),
        json!({ "sessionUpdate": "tool_call", "toolCallId": evil, "title": evil, "kind": evil, "status": "pending", "rawInput": { "x": evil }, "locations": [{ "path": evil }] }),
        json!({ "kind": "permission", "permissionId": evil, "status": { "status": "requested", "toolCall": { "toolCallId": evil, "title": evil }, "options": [{ "optionId": evil, "name": evil, "kind": "allow_once" }] } }),
        json!({ "kind": "permission", "permissionId": evil, "status": { "status": "resolved", "optionId": evil, "message": evil, "by": "client" } }),
        json!({ "sessionUpdate": "agent_message_chunk", "messageId": "4", "content": { "type": "text", "text": evil }, "_meta": { "loomd/parentToolCallId": evil } }),
        json!({ "sessionUpdate": "tool_call_update", "toolCallId": evil, "status": "completed", "content": [content, diff], "_meta": { "loomd/patch": evil } }),
        json!({ "sessionUpdate": "plan", "entries": [{ "content": evil, "status": "in_progress" }, { "content": evil, "status": evil }] }),
        json!({ "sessionUpdate": "notice", "severity": evil, "title": evil, "description": evil }),
        json!({ "sessionUpdate": "agent_message_chunk", "messageId": "5", "content": { "type": "text", "text": "the honest end" } }),
        json!({ "kind": "state", "state": "failed", "turn": 1, "stopReason": "error", "error": { "kind": "provider", "message": evil } }),
    ])
}

#[test]
fn nothing_gets_out_of_its_place() {
    for evil in HOSTILE {
        let lines = hostile_story(evil);
        let mut run = run_of(evil, json!({ "prompt": evil }), &lines);
        (run.cwd, run.command) = ((*evil).to_owned(), vec![(*evil).to_owned()]);
        let made = page(&run, true, &lines);
        html::tests::check_page(&made, NONCE, evil);
        html::tests::check_page(&page(&run, false, &lines), NONCE, evil);
        let markdown = as_markdown(&run, true, &lines);
        check_markdown(&markdown, evil);
        let end = markdown.find("the honest end").expect("it is there");
        let before = &markdown[..end];
        let html = pulldown_cmark::Parser::new(before)
            .into_offset_iter()
            .filter(|(event, _)| matches!(event, pulldown_cmark::Event::Start(pulldown_cmark::Tag::Heading { .. })));
        assert!(html.last().is_some_and(|(_, range)| before[range.start..].starts_with("### Agent")), "{evil:?}: {markdown}");
        let shown = played(&exported(Box::new(Cast::new(&run, true)), &lines), evil);
        assert!(!shown.contains("\x1b]") && !shown.contains("\x1b[2J") && !shown.contains('\u{202e}'), "{evil:?}: {shown:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_text_makes_a_sound_page(evil in "[<>&\"'`~!\\-\\[\\]()a-c#*_ \n\t/=:|]{0,60}") {
        let lines = hostile_story(&evil);
        let run = run_of("x", json!({ "prompt": evil }), &lines);
        html::tests::check_page(&page(&run, true, &lines), NONCE, &evil);
        check_markdown(&as_markdown(&run, true, &lines), &evil);
    }
}

fn output_lines(pieces: &[(Stream, &[u8])]) -> Vec<Vec<u8>> {
    let mut offsets = [0; 2];
    let lines = pieces.iter().enumerate().map(|(number, (stream, raw))| {
        let mut line = Vec::new();
        let offset = &mut offsets[usize::from(*stream == Stream::Stderr)];
        line::write_output(&mut line, id(), number as u64 + 1, BEGAN + 700 * number as u64, *stream, *offset, raw);
        *offset += raw.len() as u64;
        line.pop();
        line
    });
    lines.collect()
}

#[test]
fn a_commands_output_in_every_format() {
    let pieces: &[(Stream, &[u8])] = &[
        (Stream::Stdout, b"\x1b[1;32m   Compiling\x1b[0m loomd\n"),
        (Stream::Stderr, "warning: \u{65e5}\u{672c} <b>\n".as_bytes()),
        (Stream::Stdout, b"10%\r\x1b[K100%\n\xff\xfe```\n"),
        (Stream::Stdout, b"no end"),
    ];
    let lines = output_lines(pieces);
    let run = run_of("command", json!({ "command": ["x"] }), &lines);
    let raw: Vec<u8> = pieces.iter().flat_map(|(_, raw)| raw.to_vec()).collect();
    assert!(exported(Box::new(text::Text), &lines) == raw, "byte for byte");

    let markdown = as_markdown(&run, false, &lines);
    let expected = "````text\n   Compiling loomd\nwarning: \u{65e5}\u{672c} <b>\n100%\n\u{fffd}\u{fffd}```\nno end\n````\n";
    assert!(markdown.ends_with(expected), "{markdown}");

    let made = page(&run, false, &lines);
    html::tests::check_page(&made, NONCE, "a command");
    assert!(made.contains("<span class=\"x f2\">   Compiling</span> loomd\n"), "{made}");
    assert!(made.contains("<span class=\"e\">warning: \u{65e5}\u{672c} &lt;b&gt;</span>"), "{made}");

    let shown = played(&exported(Box::new(Cast::new(&run, false)), &lines), "a command");
    assert_eq!(shown, String::from_utf8_lossy(&raw).replace('\n', "\r\n"));
    let tty = Run { params: json!({ "tty": true }).as_object().expect("an object").clone(), ..run };
    assert_eq!(played(&exported(Box::new(Cast::new(&tty, false)), &lines), "a terminal"), String::from_utf8_lossy(&raw));
}

#[test]
fn what_belongs_to_a_tool_call_stands_in_it() {
    let chunk = |id: &str, text: &str, parent: Option<&str>| {
        let mut update = json!({ "sessionUpdate": "agent_message_chunk", "messageId": id, "content": { "type": "text", "text": text } });
        if let Some(parent) = parent {
            update["_meta"] = json!({ "loomd/parentToolCallId": parent });
        }
        update
    };
    let lines = told(&[
        json!({ "sessionUpdate": "tool_call", "toolCallId": "a", "title": "first", "kind": "execute", "status": "in_progress" }),
        json!({ "sessionUpdate": "tool_call", "toolCallId": "b", "title": "second", "kind": "think", "status": "in_progress" }),
        chunk("m", "bel", Some("b")),
        chunk("n", "after both", None),
        chunk("m", "ow", Some("b")),
        json!({ "sessionUpdate": "tool_call_update", "toolCallId": "a", "_meta": { "loomd/output": { "offset": 0, "text": "wrong" } } }),
        json!({ "sessionUpdate": "tool_call_update", "toolCallId": "a", "_meta": { "loomd/output": { "offset": 0, "text": "right" } } }),
        json!({ "sessionUpdate": "tool_call_update", "toolCallId": "b", "status": "completed" }),
        json!({ "sessionUpdate": "tool_call_update", "toolCallId": "a", "status": "failed" }),
    ]);
    let run = run_of("x", json!({ "prompt": "p" }), &lines);
    let markdown = as_markdown(&run, true, &lines);
    let places: Vec<usize> = ["first", "right", "second", "below", "after both"]
        .iter()
        .map(|words| markdown.find(words).unwrap_or_else(|| panic!("{words}: {markdown}")))
        .collect();
    assert!(places.is_sorted(), "{markdown}");
    assert!(!markdown.contains("wrong"), "{markdown}");
}

/// Counts what is written, and keeps nothing.
struct Count(u64);

impl Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_tool_call_that_never_ends_does_not_hold_everything_back() {
    let run = run_of("x", json!({ "prompt": "p" }), &[]);
    for format in [ExportFormat::Markdown, ExportFormat::Html] {
        let mut render = super::renderer(&run, format, true);
        let mut out = Count(0);
        let open =
            json!({ "sessionUpdate": "tool_call", "toolCallId": "a", "title": "never ends", "kind": "execute", "status": "in_progress" });
        render.line(&told(&[open])[0], &mut out).expect("taken");
        let text = "y".repeat(100 << 10);
        for number in 0..200 {
            let message = json!({ "sessionUpdate": "agent_message_chunk", "messageId": format!("m{number}"), "content": { "type": "text", "text": text } });
            render.line(&told(&[message])[0], &mut out).expect("taken");
        }
        assert!(out.0 > 200 * (100 << 10) - (9 << 20), "{format:?}: {} bytes were written by then", out.0);
    }
}

#[test]
fn some_conversations_as_they_are_read() {
    for name in ["codex/app-server-edit", "claude/bidi-allow", "gemini-acp/permission-allow"] {
        let Some((_, lines)) = recordings().into_iter().find(|(path, _)| path.with_extension("").ends_with(name)) else {
            panic!("{name} is not there")
        };
        let run = run_of(name.split('/').next().expect("a provider"), json!({ "prompt": "as it was" }), &lines);
        let name = name.replace('/', "-");
        insta::assert_snapshot!(format!("{name}.md"), as_markdown(&run, true, &lines));
        let made = page(&run, true, &lines);
        let main = made.split("<main id=\"main\">").nth(1).and_then(|rest| rest.split("</main>").next()).expect("a main part");
        insta::assert_snapshot!(format!("{name}.html"), main);
        let cast = String::from_utf8(exported(Box::new(Cast::new(&run, true)), &lines)).expect("text");
        insta::assert_snapshot!(format!("{name}.cast"), cast);
        let told = String::from_utf8(exported(Box::new(text::Told::new()), &lines)).expect("text");
        insta::assert_snapshot!(format!("{name}.txt"), told);
    }
}

#[test]
fn a_torn_escape_hides_nothing_that_follows_its_line() {
    let rest: String = (0..500).map(|number| format!("row {number}\n")).collect();
    for begin in ["\x1bP", "\x1bX", "\x1b]", "\x1b^", "\x1b_"] {
        let text = format!("before{begin}q\n{rest}");
        let lines =
            output_lines(&[(Stream::Stdout, b"be"), (Stream::Stdout, &text.as_bytes()[2..7]), (Stream::Stdout, &text.as_bytes()[7..])]);
        let run = run_of("command", json!({ "command": ["x"] }), &lines);
        let content = json!({ "type": "content", "content": { "type": "text", "text": text } });
        let told = told(&[
            json!({ "sessionUpdate": "tool_call", "toolCallId": "a", "title": "x", "kind": "execute", "status": "pending" }),
            json!({ "sessionUpdate": "tool_call_update", "toolCallId": "a", "status": "completed", "content": [content] }),
        ]);
        let agent = run_of("x", json!({ "prompt": "p" }), &told);
        let made =
            [page(&run, false, &lines), as_markdown(&run, false, &lines), page(&agent, true, &told), as_markdown(&agent, true, &told)];
        for (number, made) in made.iter().enumerate() {
            assert!(made.contains("before\n") && made.contains("row 0\n") && made.contains("row 499\n"), "{begin:?} {number}: {made}");
        }
    }
}

#[test]
fn a_title_keeps_the_backticks_that_are_no_frame() {
    let name = |title: &str| {
        let mut call = super::told::Call::new("a", BEGAN);
        let update = json!({ "title": title });
        call.apply(update.as_object().expect("an object"), BEGAN);
        call.name()
    };
    for title in ["`evil` x", "x `evil`", "`a` and `b`", "`echo `date``", "`torn"] {
        assert_eq!(name(title), title);
    }
    assert_eq!(["`ls -la`", "```ls```", "``", "plain"].map(name), ["ls -la", "ls", "tool", "plain"]);
}
