use serde_json::json;

use super::*;

fn read(line: impl AsRef<[u8]>) -> ReadLine {
    JsonLines::default().read(line.as_ref())
}

fn messages(line: impl AsRef<[u8]>) -> Value {
    let read = read(line);
    assert_eq!(read.unread, Vec::<String>::new());
    json!(read.messages)
}

#[test]
fn what_stands_around_a_message_does_not_hide_it() {
    let message = json!([{ "jsonrpc": "2.0", "id": 1, "result": { "a": "b" } }]);
    for (before, after) in [
        ("\u{1b}]0;work: ready\u{7}", ""),
        ("\u{1b}]0;title\u{1b}\\\u{1b}[32m", "\u{1b}[0m"),
        ("\u{feff}", "\r"),
        ("[INFO {x}] starting \"it's 5\" wide\" ", " done"),
        ("> ", "}"),
        ("{ oops ", ""),
        ("\u{0}\u{8}", "\u{0}"),
    ] {
        assert_eq!(messages(format!("{before}{}{after}", r#"{"jsonrpc":"2.0","id":1,"result":{"a":"b"}}"#)), message, "{before:?}");
    }
}

#[test]
fn several_messages_on_a_line_are_read_in_order() {
    assert_eq!(messages(r#"{"a":1}{"b":2} , {"c":3}"#), json!([{ "a": 1 }, { "b": 2 }, { "c": 3 }]));
    assert_eq!(messages(r#"[{"a":1},{"b":2},7]"#), json!([{ "a": 1 }, { "b": 2 }]));
}

#[test]
fn odd_values_are_read() {
    assert_eq!(messages("{\"t\":\"a\tb\u{1b}[1m\u{0}\",}"), json!([{ "t": "a\tb\u{1b}[1m\u{0}" }]));
    assert_eq!(
        messages(r#"{"n":NaN,"i":-Infinity,"u":undefined,"x":1e999,"l":[1,2,]}"#),
        json!([{ "n": null, "i": null, "u": null, "x": null, "l": [1, 2] }])
    );
    assert_eq!(messages(r#"{"t":"\x41 \' \uZZ"}"#), json!([{ "t": "\\x41 \\' \\uZZ" }]));
    let halves = r#"{"a":"cut \ud83d","b":"\ude00 rest","c":"\ud83d\ud83d\ude00","d":"\\ud83d"}"#;
    assert_eq!(messages(halves), json!([{ "a": "cut \u{fffd}", "b": "\u{fffd} rest", "c": "\u{fffd}\u{1f600}", "d": "\\ud83d" }]));
    assert_eq!(messages(b"{\"t\":\"raw \xff\"}"), json!([{ "t": "raw \u{fffd}" }]));
}

#[test]
fn depth_and_number_of_values_are_bounded() {
    for depth in [99, 120, 100_000] {
        let line = format!("{{\"id\":1,\"deep\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        let read = read(&line);
        assert_eq!((read.messages.len(), &read.messages[0]["id"]), (1, &json!(1)), "{depth}");
        let text = json!(read.messages).to_string();
        assert!(text.matches('[').count() <= MAX_DEPTH + 2, "{depth}");
        assert_eq!(text.contains(LEFT_OUT), depth > MAX_DEPTH, "{depth}");
    }
    let line = format!("{{\"id\":1,\"many\":[{}0]}}", "0,".repeat(MAX_VALUES + 1000));
    let many = read(line);
    assert_eq!(many.messages[0]["id"], 1);
    assert!(many.messages[0]["many"].as_array().expect("a list").len() <= MAX_VALUES);
}

#[test]
fn a_broken_object_hides_no_message_in_it() {
    for line in [r#"{"type":"user","x":{"type":"result"}"#, r#"{"a":{"method":"m"},"b":oops"#, r#"{"a":oops,"b":{"method":"m"}}"#] {
        let mut lines = JsonLines::default();
        assert!(lines.read(line.as_bytes()).messages.is_empty(), "{line}");
    }
}

#[test]
fn a_message_may_have_several_lines() {
    let mut lines = JsonLines::default();
    for line in ["{", "  \"id\": 1,", "  \"result\": {\"text\": \"a"] {
        assert_eq!(lines.read(line.as_bytes()), ReadLine::default());
        assert!(lines.is_unfinished());
    }
    assert_eq!(json!(lines.read(b"b\"}} ").messages), json!([{ "id": 1, "result": { "text": "a\nb" } }]));
    assert!(!lines.is_unfinished());
}

#[test]
fn what_is_cut_off_never_swallows_the_next_message() {
    let mut lines = JsonLines::default();
    assert_eq!(lines.read(br#"{"id":3,"result":{"stopReason":"end_turn"}"#), ReadLine::default());
    assert_eq!(json!(lines.read(br#"{"id":4}"#).messages), json!([{ "id": 3, "result": { "stopReason": "end_turn" } }, { "id": 4 }]));
    lines.read(br#"{"id":5,"result":{"stop"#);
    let read = lines.read(br#"{"id":6}"#);
    assert_eq!((json!(read.messages), read.unread), (json!([{ "id": 6 }]), vec![r#"{"id":5,"result":{"stop"#.to_owned()]));
}

#[test]
fn other_lines_are_told_by_their_beginning() {
    assert_eq!(read("Debugger listening on ws://127.0.0.1:1").unread, ["Debugger listening on ws://127.0.0.1:1"]);
    for line in ["", "  \r", "\u{1b}[0m", "\u{feff}", "7", "null", "[]", "\"text\""] {
        assert_eq!(read(line), ReadLine::default(), "{line:?}");
    }
    assert!(read("x".repeat(10_000)).unread[0].len() < 250);
}

proptest::proptest! {
    #[test]
    fn no_line_breaks_the_reader(line in proptest::collection::vec(proptest::sample::select(b"{}[]\",:\\u1eE+-. Nax\xc3\xa4".to_vec()), 0..60)) {
        let mut lines = JsonLines::default();
        lines.read(&line);
        lines.read(&line);
        lines.finish();
    }

    #[test]
    fn what_is_json_is_read_as_it_is(text in "\\PC{0,40}", number in proptest::num::i64::ANY) {
        let value = json!({ "t": text, "n": number, "l": [text, { "m": null }] });
        proptest::prop_assert_eq!(LenientReader::object(&value.to_string()).map(|read| read.0), Some(value));
    }
}
