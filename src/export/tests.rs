//! Every recorded conversation in every format, texts that want out of their place, and memory.

use std::{
    io::{self, Write},
    path::PathBuf,
};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Render, cast::Cast, html, markdown, text};
use crate::{
    model::{Entry, Run, Stream, calls::ExportFormat, item::ItemKind, line},
    transcript::{
        LogSource,
        tests::{entries_of, items_of, recordings as recorded, run_id as id},
    },
};

const NONCE: &str = "0123456789abcdef";
const BEGAN: u64 = 1_700_000_000_000;

/// A run of the state in which its entries leave it.
fn run_of(provider: &str, params: Value, lines: &[Vec<u8>]) -> Run {
    let Value::Object(params) = params else { panic!("an object") };
    let command = vec!["program".to_owned(), "a b".to_owned()];
    let mut run =
        Run { has_transcript: provider != "command" || params.contains_key("prompt"), ..Run::new(id(), provider, command, "/work", BEGAN) };
    (run.params, run.started_at) = (params, Some(BEGAN));
    lines.iter().for_each(|line| run.apply(&line::parse(line).expect("an entry")));
    run
}

/// Entries without numbers and times as lines of a log.
fn lines_of(values: impl IntoIterator<Item = Value>) -> Vec<Vec<u8>> {
    entries_of(values).iter().map(line_of).collect()
}

fn line_of(entry: &Entry) -> Vec<u8> {
    let mut line = Vec::new();
    line::write(&mut line, entry);
    line.pop();
    line
}

fn exported(mut render: Box<dyn Render + '_>, lines: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    render.begin(&mut out).expect("a vector takes everything");
    lines.iter().for_each(|line| render.line(line, &mut out).expect("entries are understood"));
    render.finish(&mut out).expect("a vector takes everything");
    out
}

fn page(run: &Run, has_transcript: bool, lines: &[Vec<u8>]) -> String {
    String::from_utf8(exported(Box::new(html::HtmlPage::new(run, has_transcript, NONCE)), lines)).expect("text")
}

fn as_markdown(run: &Run, has_transcript: bool, lines: &[Vec<u8>]) -> String {
    let render: Box<dyn Render> =
        if has_transcript { Box::new(markdown::AgentPage::new(run)) } else { Box::new(markdown::CommandPage::new(run)) };
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
    recorded().into_iter().map(|(path, entries)| (path, entries.iter().map(line_of).collect())).collect()
}

#[test]
fn every_recorded_conversation_in_every_format() {
    for (path, lines) in recordings() {
        let name = path.display().to_string();
        let run = run_of("recorded", json!({ "prompt": "as it was" }), &lines);

        let jsonl = exported(Box::new(text::JsonlRenderer), &lines);
        let read: Vec<&[u8]> = line::lines(&jsonl).collect();
        assert!(read == lines, "{name}: the entries come back");

        html::tests::check_page(&page(&run, true, &lines), NONCE, &name);
        played(&exported(Box::new(Cast::new(&run, true)), &lines), &name);

        let markdown = as_markdown(&run, true, &lines);
        let final_messages = messages(&lines).join("\n");
        for words in final_messages.lines().filter(|words| words.chars().all(|c| c.is_ascii_alphanumeric() || c == ' ')) {
            assert!(markdown.contains(words), "{name}: `{words}` is missing");
        }
        check_markdown(&markdown, &name);
        assert!(exported(Box::new(text::TextRenderer), &lines).is_empty(), "{name}: there is no output among these entries");
        let transcript_text = String::from_utf8(exported(Box::new(text::TranscriptText::new()), &lines)).expect("text");
        assert!(!transcript_text.contains('\u{1b}'), "{name}: no escapes");
        for words in final_messages.lines() {
            assert!(transcript_text.contains(words), "{name}: `{words}` is missing");
        }
    }
}

/// The final text of each of the agent's messages.
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

fn hostile_transcript(evil: &str) -> Vec<Vec<u8>> {
    let diff = json!({ "type": "diff", "path": evil, "oldText": format!("a\n{evil}\n"), "newText": format!("b\n{evil}") });
    let content = json!({ "type": "content", "content": { "type": "text", "text": evil } });
    lines_of([
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
        let lines = hostile_transcript(evil);
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
        let lines = hostile_transcript(&evil);
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
    assert!(exported(Box::new(text::TextRenderer), &lines) == raw, "byte for byte");

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
    let lines = lines_of([
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

/// The fixture's exports as text and as what a recording shows, without colors.
fn texts_of_fixture(name: &str) -> (String, String) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts").join(name).join("entries.jsonl");
    let log = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let lines: Vec<Vec<u8>> = line::lines(&log).map(<[u8]>::to_vec).collect();
    let run = run_of("x", json!({ "prompt": "p" }), &lines);
    let text = String::from_utf8(exported(Box::new(text::TranscriptText::new()), &lines)).expect("text");
    let shown = played(&exported(Box::new(Cast::new(&run, true)), &lines), name);
    (text, anstream::adapter::strip_str(&shown).to_string().replace('\r', ""))
}

#[test]
fn a_text_shows_final_messages_and_a_recording_shows_them_as_they_came() {
    let (text, shown) = texts_of_fixture("corrected-and-abandoned");
    insta::assert_snapshot!("corrected-and-abandoned.txt", text);
    insta::assert_snapshot!("corrected-and-abandoned.cast.txt", shown);
    assert!(!text.contains("fry") && text.contains("I will try.") && text.contains("tick 1\n"));
    assert!(!shown.contains("fryI") && shown.contains("I will try."));
    assert!([&text, &shown].iter().all(|text| text.contains("abandoned")), "{text}\n{shown}");
}

#[test]
fn what_a_sub_agent_did_stands_in_its_tool_call() {
    let (text, shown) = texts_of_fixture("sub-agents");
    insta::assert_snapshot!("sub-agents.txt", text);
    insta::assert_snapshot!("sub-agents.cast.txt", shown);
    assert!(text.contains("  child: reading, still reading\n"), "one sub-agent does not break into another's text: {text}");
    for (indented, flat) in
        [("\n  child: reading", "\nchild"), ("\n  other child", "\nother child"), ("\n  ● Read secret", "\n● Read secret")]
    {
        assert!([&text, &shown].iter().all(|text| text.contains(indented) && !text.contains(flat)), "{indented}: {text}\n{shown}");
    }
}

#[test]
fn thoughts_and_messages_that_alternate_are_whole() {
    let (text, _) = texts_of_fixture("interleaved-speech");
    insta::assert_snapshot!("interleaved-speech.txt", text);
    for whole in ["The quick brown fox", "I am thinking hard", "Now one message with usage between.", " Half after the tool"] {
        assert!(text.contains(whole), "{text}");
    }
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
        render.line(&lines_of([open])[0], &mut out).expect("taken");
        let text = "y".repeat(100 << 10);
        for number in 0..200 {
            let message = json!({ "sessionUpdate": "agent_message_chunk", "messageId": format!("m{number}"), "content": { "type": "text", "text": text } });
            render.line(&lines_of([message])[0], &mut out).expect("taken");
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
        let transcript_text = String::from_utf8(exported(Box::new(text::TranscriptText::new()), &lines)).expect("text");
        insta::assert_snapshot!(format!("{name}.txt"), transcript_text);
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
        let transcript = lines_of([
            json!({ "sessionUpdate": "tool_call", "toolCallId": "a", "title": "x", "kind": "execute", "status": "pending" }),
            json!({ "sessionUpdate": "tool_call_update", "toolCallId": "a", "status": "completed", "content": [content] }),
        ]);
        let agent = run_of("x", json!({ "prompt": "p" }), &transcript);
        let made = [
            page(&run, false, &lines),
            as_markdown(&run, false, &lines),
            page(&agent, true, &transcript),
            as_markdown(&agent, true, &transcript),
        ];
        for (number, made) in made.iter().enumerate() {
            assert!(made.contains("before\n") && made.contains("row 0\n") && made.contains("row 499\n"), "{begin:?} {number}: {made}");
        }
    }
}

#[test]
fn a_title_keeps_the_backticks_that_are_no_frame() {
    let name = |title: &str| {
        let call = json!({ "sessionUpdate": "tool_call", "toolCallId": "a", "title": title });
        match &items_of(LogSource::Updates, &entries_of([call]))[0].kind {
            ItemKind::Tool(tool) => super::item_text::tool_name(tool),
            other => panic!("{other:?}"),
        }
    };
    for title in ["`evil` x", "x `evil`", "`a` and `b`", "`echo `date``", "`torn"] {
        assert_eq!(name(title), title);
    }
    assert_eq!(["`ls -la`", "```ls```", "``", "plain"].map(name), ["ls -la", "ls", "other", "plain"]);
}
