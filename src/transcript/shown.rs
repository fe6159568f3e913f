//! What a permission asks for, made for people: the whole of it, whatever the tool and its parameters are.
//!
//! No view chooses among the members of a tool call. A member is left out only where its value, compared as a value, stands in another
//! part already: in the title, or in a diff.

use serde_json::{Map, Value};

use super::{meta, patch};
use crate::model::item::{FileDiff, ShownPart};

/// Members of a tool call that are shown in a way of their own, or that name the call.
const KNOWN_MEMBERS: &[&str] = &["toolCallId", "title", "kind", "status", "rawInput", "locations", "content", "_meta"];

/// Everything that is asked for by a tool call.
pub(super) fn shown(tool_call: &Map<String, Value>) -> Vec<ShownPart> {
    let diffs = asked_diffs(tool_call);
    let mut parts = Vec::new();
    let mut add = |label: &str, text: &str| parts.push(ShownPart { label: visible(label), text: visible(text) });
    let title = tool_call.get("title").and_then(Value::as_str).unwrap_or_default();
    if !title.trim().is_empty() {
        add("title", title);
    }
    let is_in_title = |value: &str| value == title || value.trim() == unframed(title.trim());
    let is_in_diff = |value: &str| {
        if value.is_empty() {
            return false;
        }
        let of_diff =
            |diff: &FileDiff| diff.path == value || [&diff.old_text, &diff.new_text].iter().any(|text| text.as_deref() == Some(value));
        diffs.iter().any(of_diff)
    };
    let mut named_paths: Vec<&str> = diffs.iter().map(|diff| diff.path.as_str()).collect();
    match tool_call.get("rawInput") {
        None => {}
        Some(Value::Object(members)) => {
            for (name, value) in members {
                let text = value_text(name, value);
                let is_known = value.as_str().is_some_and(|value| is_in_title(value) || is_in_diff(value));
                let is_title = name == "command" && is_in_title(&text);
                if !is_known && !is_title {
                    add(name, &text);
                }
                named_paths.extend(value.as_str());
            }
        }
        Some(input) if input.as_str().is_some_and(|input| is_in_title(input) || is_in_diff(input)) => {}
        Some(input) => add("input", &value_text("", input)),
    }
    for location in tool_call.get("locations").and_then(Value::as_array).into_iter().flatten() {
        match location["path"].as_str() {
            Some(path) if named_paths.contains(&path) => {}
            Some(path) => add("file", &location["line"].as_u64().map_or_else(|| path.to_owned(), |line| format!("{path}:{line}"))),
            None => add("file", &pretty(location)),
        }
    }
    match tool_call.get("content") {
        None | Some(Value::Null) => {}
        Some(Value::Array(blocks)) => {
            for block in blocks.iter().filter(|block| patch::of_block(block, "").is_none()) {
                match (block["type"].as_str(), block["content"]["text"].as_str()) {
                    (Some("content"), Some(text)) if is_in_title(text) => {}
                    (Some("content"), Some(text)) => add("content", text),
                    _ => add("content", &pretty(block)),
                }
            }
        }
        Some(other) => add("content", &pretty(other)),
    }
    for (name, value) in tool_call.iter().filter(|(name, _)| !KNOWN_MEMBERS.contains(&name.as_str())) {
        add(name, &value_text(name, value));
    }
    diffs.iter().for_each(|diff| add("diff", &patch::whole(diff)));
    parts
}

/// A string as it is, an argv as a command line, everything else as JSON.
fn value_text(name: &str, value: &Value) -> String {
    match value {
        Value::String(text) if !text.is_empty() => text.clone(),
        Value::Array(words) if name == "command" && !words.is_empty() && words.iter().all(Value::is_string) => {
            words.iter().filter_map(Value::as_str).map(shell_word).collect::<Vec<_>>().join(" ")
        }
        _ => pretty(value),
    }
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string())
}

/// A word of an argv as a shell would need it, so that two argvs are never shown alike.
fn shell_word(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | ':' | '=' | ',' | '@' | '%' | '+');
    if !word.is_empty() && word.chars().all(is_plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

/// The text with a visible mark for each control character and each invisible one. Line feeds and tabs stay.
fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => out.push(c),
            '\0'..='\x1f' => out.push(char::from_u32(0x2400 + u32::from(c)).unwrap_or('␀')),
            '\x7f' => out.push('␡'),
            _ if is_invisible(c) => out.push_str(&format!("⟨U+{:04X}⟩", u32::from(c))),
            _ => out.push(c),
        }
    }
    out
}

/// Characters that a reader does not see, or that change how the characters around them are read: C1, bidi, zero-width, fillers,
/// variation selectors, separators, tags, private and unassigned special ones.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{80}'..='\u{9f}' | '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// What a question says about changes of files, all of it.
fn asked_diffs(tool_call: &Map<String, Value>) -> Vec<FileDiff> {
    let kind = tool_call.get("kind").and_then(Value::as_str).unwrap_or_default();
    let blocks = tool_call.get("content").and_then(Value::as_array).into_iter().flatten();
    let first_path = || tool_call.get("locations")?.get(0)?.get("path")?.as_str();
    let patch = meta(tool_call, "loomd/patch").and_then(Value::as_str);
    let of_patch = patch.map(|text| patch::of_patch(text, first_path().unwrap_or_default())).unwrap_or_default();
    blocks.filter_map(|block| patch::of_block(block, kind)).chain(of_patch).collect()
}

/// A title without the backticks around all of it. Those that belong to a part of it stay.
pub(crate) fn unframed(title: &str) -> &str {
    let inner = title.trim_matches('`');
    let (before, after) = (title.len() - title.trim_start_matches('`').len(), title.len() - title.trim_end_matches('`').len());
    if before == after && !inner.contains('`') { inner } else { title }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parts(tool_call: &Value) -> Vec<(String, String)> {
        let tool_call = tool_call.as_object().expect("an object");
        shown(tool_call).into_iter().map(|part| (part.label, part.text)).collect()
    }

    fn part(label: &str, text: &str) -> (String, String) {
        (label.to_owned(), text.to_owned())
    }

    #[test]
    fn every_parameter_is_shown_and_what_the_title_says_is_not_repeated() {
        let call = json!({ "toolCallId": "t", "title": "`rm -rf build`", "kind": "execute", "rawInput": {
            "command": "rm -rf build", "directory": "/w", "recursive": true, "sandbox": null, "options": { "force": ["x"] }, "note": "" } });
        let expected = [
            part("title", "`rm -rf build`"),
            part("directory", "/w"),
            part("recursive", "true"),
            part("sandbox", "null"),
            part("options", "{\n  \"force\": [\n    \"x\"\n  ]\n}"),
            part("note", "\"\""),
        ];
        assert_eq!(parts(&call), expected);
    }

    #[test]
    fn a_command_is_shown_whatever_its_shape() {
        let command = |command: Value| parts(&json!({ "title": "Run it", "rawInput": { "command": command } })).remove(1);
        assert_eq!(command(json!("ls -la")), part("command", "ls -la"));
        assert_eq!(command(json!(["sh", "-c", "rm -rf ~", ""])), part("command", "sh -c 'rm -rf ~' ''"));
        assert_eq!(command(json!(["ls", 7])), part("command", "[\n  \"ls\",\n  7\n]"));
        assert_eq!(command(json!({ "run": "ls" })), part("command", "{\n  \"run\": \"ls\"\n}"));
    }

    #[test]
    fn a_diff_hides_nothing_and_other_paths_are_named() {
        let call = json!({ "title": "Edit a", "kind": "edit",
            "rawInput": { "file_path": "/w/a", "old_string": "one\n", "new_string": "two\n", "replace_all": true },
            "locations": [{ "path": "/w/a" }, { "path": "/etc/passwd", "line": 7 }],
            "content": [{ "type": "diff", "path": "/w/a", "oldText": "one\n", "newText": "two\n" }, { "type": "content", "content": { "type": "text", "text": "why" } }],
            "sandbox": false });
        let expected = [
            part("title", "Edit a"),
            part("replace_all", "true"),
            part("file", "/etc/passwd:7"),
            part("content", "why"),
            part("sandbox", "false"),
            part("diff", "--- /w/a\n+++ /w/a\n@@ -1 +1 @@\n-one\n+two\n"),
        ];
        assert_eq!(parts(&call), expected);
        let other = json!({ "title": "Edit a", "rawInput": { "file_path": "/w/other" },
            "content": [{ "type": "diff", "path": "/w/a", "newText": "x" }] });
        assert!(parts(&other).contains(&part("file_path", "/w/other")));
    }

    #[test]
    fn invisible_characters_are_marks() {
        let text = "a\u{1b}[2J\r\u{7f}\u{85}\u{202e}b\u{200b}\u{e0041}\u{fe0f}\u{3164}\n\tc";
        assert_eq!(visible(text), "a␛[2J␍␡⟨U+0085⟩⟨U+202E⟩b⟨U+200B⟩⟨U+E0041⟩⟨U+FE0F⟩⟨U+3164⟩\n\tc");
        let call = json!({ "title": "x\u{202e}y", "rawInput": { "na\u{200b}me": { "k": "v\u{2066}" } } });
        assert_eq!(parts(&call), [part("title", "x⟨U+202E⟩y"), part("na⟨U+200B⟩me", "{\n  \"k\": \"v⟨U+2066⟩\"\n}")]);
    }
}
