//! A question of an agent: the whole action for a person to see, the keys that answer it, and the words.
//!
//! Nothing is left out of what is asked for, and nothing in it reaches the terminal as an order.

use anstyle::{AnsiColor, Style};
use serde_json::{Map, Value};
use unicode_width::UnicodeWidthStr;

use super::diff::{Diff, What};
use crate::{
    cli::{
        render::{self, Ink},
        words,
    },
    model::{Failure, PermissionOption},
};

/// A question that nobody has answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    pub id: String,
    pub tool_call: Map<String, Value>,
    pub options: Vec<PermissionOption>,
}

impl Question {
    /// What is asked in one line.
    pub fn title(&self) -> String {
        let title = self.tool_call.get("title").and_then(Value::as_str).unwrap_or("something");
        words::plain(title.lines().next().unwrap_or_default())
    }

    /// Everything that is asked, as lines. `cwd`: of the run.
    pub fn whole(&self, cwd: &str, ink: Ink) -> String {
        let member = |name: &str| self.tool_call.get(name);
        let text = |name: &str| member(name).and_then(Value::as_str).unwrap_or_default();
        let asked = ink.paint(ASKED, &format!("? {}", wish(text("kind"))));
        let mut lines = format!("{asked}\n");
        let mut add = |text: &str| words::plain_lines(text).lines().for_each(|line| lines.push_str(&format!("    {line}\n")));
        let input = member("rawInput").unwrap_or(&Value::Null);
        let command = match &input["command"] {
            Value::String(command) => command.clone(),
            Value::Array(argv) => argv.iter().map(|word| words::quoted(word.as_str().unwrap_or_default())).collect::<Vec<_>>().join(" "),
            _ => String::new(),
        };
        let title = text("title").trim().trim_matches('`');
        add(title);
        if !command.is_empty() && command.trim() != title {
            add(&format!("$ {command}"));
        }
        let diffs = self.diffs();
        if text("kind") == "execute" || !command.is_empty() {
            let dir = ["cwd", "workdir", "directory"].iter().find_map(|name| input[name].as_str()).unwrap_or(cwd);
            add(&format!("in {dir}"));
        }
        for location in member("locations").and_then(Value::as_array).into_iter().flatten() {
            let Some(path) = location["path"].as_str() else { continue };
            if diffs.iter().all(|diff| diff.path != path) {
                add(&location["line"].as_u64().map_or_else(|| path.to_owned(), |line| format!("{path}:{line}")));
            }
        }
        for block in member("content").and_then(Value::as_array).into_iter().flatten() {
            if let Some(text) = block["content"]["text"].as_str() {
                add(text);
            }
        }
        match input {
            // The diffs say the same, better.
            _ if !diffs.is_empty() => {}
            Value::Object(members) => {
                let rest = members.iter().filter(|(name, _)| !matches!(name.as_str(), "command" | "cwd" | "workdir" | "directory"));
                for (name, value) in rest.filter(|(_, value)| !value.is_null()) {
                    add(&format!("{name}: {}", value.as_str().map_or_else(|| format!("{value:#}"), str::to_owned)));
                }
            }
            Value::Null => {}
            other => add(&format!("{other:#}")),
        }
        for diff in &diffs {
            lines.push_str(&diff.whole(ink, "    "));
        }
        lines
    }

    fn diffs(&self) -> Vec<Diff> {
        let content = self.tool_call.get("content").and_then(Value::as_array);
        let mut diffs: Vec<Diff> = content.into_iter().flatten().filter_map(Diff::of_block).collect();
        if let Some(patch) = self.tool_call.get("_meta").and_then(|meta| meta["loomd/patch"].as_str()) {
            diffs.push(Diff { path: String::new(), what: What::Patch(patch.to_owned()) });
        }
        diffs
    }

    /// The options with the key of each: `y`, `a` and `n` for the first of their kinds, digits for the others.
    pub fn keys(&self) -> Vec<(char, &PermissionOption)> {
        let mut taken = Vec::new();
        let numbered = self.options.iter().zip(1..);
        let key = |(option, number): (&PermissionOption, u32)| {
            let letter = match option.kind.as_str() {
                "allow_once" => 'y',
                "allow_always" => 'a',
                "reject_once" => 'n',
                _ => '\0',
            };
            if letter != '\0' && !taken.contains(&letter) {
                taken.push(letter);
                return letter;
            }
            char::from_digit(number, 10).unwrap_or_else(|| char::from_u32('A' as u32 + number - 10).unwrap_or('?'))
        };
        let keys: Vec<char> = numbered.map(key).collect();
        keys.into_iter().zip(&self.options).collect()
    }

    /// The option of a key.
    pub fn option_of(&self, key: char) -> Option<&PermissionOption> {
        self.keys().into_iter().find(|(known, _)| *known == key).map(|(_, option)| option)
    }

    /// `[y] Allow once`, in as few lines as fit.
    pub fn menu(&self, ink: Ink, columns: usize) -> Vec<String> {
        let plain: Vec<(char, String)> = self.keys().into_iter().map(|(key, option)| (key, words::plain(&option.name))).collect();
        let painted = |key: &char, name: &str| format!("{} {name}", ink.paint(Style::new().bold(), &format!("[{key}]")));
        let width: usize = plain.iter().map(|(_, name)| name.width() + 7).sum();
        if width <= columns {
            return vec![plain.iter().map(|(key, name)| painted(key, name)).collect::<Vec<_>>().join("   ")];
        }
        plain.iter().map(|(key, name)| painted(key, &render::cut(name, columns.saturating_sub(4)))).collect()
    }

    /// The option that a word means: its id, its name, its kind, or its key.
    pub fn option_named(&self, word: &str) -> Result<&PermissionOption, Failure> {
        let same = |text: &str| text.eq_ignore_ascii_case(word);
        let by = |matches: &dyn Fn(&PermissionOption) -> bool| {
            let mut found = self.options.iter().filter(|option| matches(option));
            found.next().filter(|_| found.next().is_none())
        };
        let found = self
            .options
            .iter()
            .find(|option| option.option_id == word)
            .or_else(|| by(&|option| same(&option.option_id) || same(&option.name)))
            .or_else(|| by(&|option| same(&option.kind) || same(&option.kind.replace('_', "-"))))
            .or_else(|| self.option_of(word.chars().next().filter(|_| word.chars().count() == 1)?));
        found.ok_or_else(|| {
            let known: Vec<String> = self.options.iter().map(|option| words::quoted(&option.option_id)).collect();
            Failure::invalid_params(
                "optionId",
                format!("`{}` is no answer to this question; choose {}", words::plain(word), known.join(", ")),
            )
        })
    }
}

/// The name of an option, for a person.
pub fn name_of(options: &[PermissionOption], id: &str) -> String {
    words::plain(options.iter().find(|option| option.option_id == id).map_or(id, |option| &option.name))
}

const ASKED: Style = AnsiColor::Yellow.on_default().bold();

fn wish(kind: &str) -> &'static str {
    match kind {
        "execute" => "May it run this?",
        "edit" => "May it change this?",
        "delete" => "May it delete this?",
        "move" => "May it move this?",
        "read" => "May it read this?",
        "search" => "May it search this?",
        "fetch" => "May it fetch this?",
        _ => "May it do this?",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn question(tool_call: Value, options: &[(&str, &str)]) -> Question {
        let option = |(id, kind): &(&str, &str)| PermissionOption {
            option_id: (*id).to_owned(),
            name: format!("Do {id}"),
            kind: (*kind).to_owned(),
        };
        let Value::Object(tool_call) = tool_call else { panic!("an object") };
        Question { id: "p1".to_owned(), tool_call, options: options.iter().map(option).collect() }
    }

    #[test]
    fn the_whole_action_is_shown_and_gives_no_orders() {
        let asked = question(
            json!({ "toolCallId": "t", "kind": "execute", "title": "Clean", "rawInput": {
                "command": ["sh", "-c", "rm -rf x\n\u{1b}[2Kls"], "cwd": "/w", "timeout": 5 } }),
            &[],
        );
        let expected = "? May it run this?\n    Clean\n    $ sh -c 'rm -rf x\n    ␣[2Kls'\n    in /w\n    timeout: 5\n";
        assert_eq!(asked.whole("/elsewhere", Ink::default()), expected);
    }

    #[test]
    fn an_edit_is_shown_as_its_diff() {
        let asked = question(
            json!({ "toolCallId": "t", "kind": "edit", "title": "Write a.txt", "rawInput": { "content": "new" }, "locations": [{ "path": "/a.txt" }],
                "content": [{ "type": "diff", "path": "/a.txt", "oldText": "old\n", "newText": "new\n" }] }),
            &[],
        );
        let expected = "? May it change this?\n    Write a.txt\n    --- /a.txt\n    +++ /a.txt\n    @@ -1 +1 @@\n    -old\n    +new\n";
        assert_eq!(asked.whole("/", Ink::default()), expected);
    }

    #[test]
    fn each_option_has_a_key_and_several_names() {
        let asked = question(
            json!({}),
            &[("allow", "allow_once"), ("all", "allow_always"), ("dir", "allow_always"), ("no", "reject_once"), ("2", "reject_always")],
        );
        let keys: Vec<(char, &str)> = asked.keys().into_iter().map(|(key, option)| (key, option.option_id.as_str())).collect();
        assert_eq!(keys, [('y', "allow"), ('a', "all"), ('3', "dir"), ('n', "no"), ('5', "2")]);
        let named = |word: &str| asked.option_named(word).map(|option| option.option_id.clone());
        for (word, option) in [("allow", "allow"), ("do all", "all"), ("reject-once", "no"), ("y", "allow"), ("3", "dir"), ("2", "2")] {
            assert_eq!(named(word), Ok(option.to_owned()), "{word}");
        }
        assert!(named("allow_always").is_err(), "it would be one of two");
        assert!(named("yes").expect_err("unknown").message.contains("allow, all, dir, no, 2"));
    }
}
