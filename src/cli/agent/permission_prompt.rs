//! A permission request for a person: the whole of what is asked, the options, and the key of each.
//!
//! What is asked comes from the server's `shown`, every part of it; nothing is picked from the tool call here.

use anstyle::{AnsiColor, Style};
use unicode_width::UnicodeWidthStr;

use crate::{
    cli::{
        changes, format,
        render::{self, Styles},
    },
    model::{
        Failure, PermissionOption,
        item::{PermissionItem, ShownPart},
    },
};

const HEADING_STYLE: Style = AnsiColor::Yellow.on_default().bold();
const MARGIN: &str = "    ";
const DEEPER: &str = "        ";

/// The line below the options.
pub(crate) const ANSWER_HINT: &str = "Press a key to answer, Esc to answer later";
/// The line below a part of a question.
pub(crate) const MORE_HINT: &str = "Not all of the question is shown yet. Press Space to go on, Esc to answer later";

/// A permission request that has not been answered.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PermissionPrompt {
    permission: PermissionItem,
    /// Lines of the question that were shown.
    shown_lines: usize,
    line_count: usize,
}

impl PermissionPrompt {
    pub(crate) fn new(permission: PermissionItem) -> Self {
        Self { permission, shown_lines: 0, line_count: usize::MAX }
    }

    pub(crate) fn id(&self) -> &str {
        &self.permission.permission_id
    }

    pub(crate) fn options(&self) -> &[PermissionOption] {
        &self.permission.options
    }

    /// What is asked, as one line.
    pub(crate) fn title(&self) -> String {
        let title = self.permission.shown.iter().find(|part| part.label == "title").or_else(|| self.permission.shown.first());
        format::plain(title.map_or("a tool call", |part| &part.text).lines().next().unwrap_or_default())
    }

    /// Whether some of the question was shown.
    pub(crate) fn is_shown(&self) -> bool {
        self.shown_lines > 0
    }

    /// Whether its end was shown.
    pub(crate) fn is_whole(&self) -> bool {
        self.shown_lines >= self.line_count
    }

    /// The lines of the question that follow, as many as fit in so many lines of a terminal; one at least. `cwd`: the run's working
    /// directory.
    pub(crate) fn next_lines(&mut self, max_lines: usize, cwd: &str, styles: Styles, columns: Option<usize>) -> String {
        let text = self.full_text(cwd, styles);
        let (mut taken, mut next) = (0, String::new());
        self.line_count = text.lines().count();
        for line in text.lines().skip(self.shown_lines) {
            taken += render::rows_of(line, columns);
            if taken > max_lines && !next.is_empty() {
                break;
            }
            self.shown_lines += 1;
            next.push_str(line);
            next.push('\n');
        }
        next
    }

    /// The heading and everything that is asked, as lines.
    fn full_text(&self, cwd: &str, styles: Styles) -> String {
        let kind = self.permission.tool_call.get("kind").and_then(|kind| kind.as_str()).unwrap_or_default();
        let mut lines = format!("{}\n", styles.apply(HEADING_STYLE, &format!("? {}", heading(kind))));
        for ShownPart { label, text } in &self.permission.shown {
            let (label, text) = (format::plain(label), format::plain_lines(text));
            let name = styles.dim(&format!("{label}:"));
            // What has several lines goes on deeper, so that none of its lines looks like another part.
            let (first, deeper) = match label.as_str() {
                "title" => (text.lines().next().unwrap_or_default().to_owned(), text.split_once('\n').map_or("", |(_, rest)| rest)),
                "diff" => (name, &*text),
                _ if text.contains('\n') => (name, &*text),
                _ => (format!("{name} {text}"), ""),
            };
            lines.push_str(&format!("{MARGIN}{first}\n"));
            match label.as_str() {
                "diff" => lines.push_str(&changes::colored(deeper, styles, DEEPER)),
                _ => deeper.lines().for_each(|line| lines.push_str(&format!("{DEEPER}{line}\n"))),
            }
        }
        lines + &format!("{MARGIN}{} {}\n", styles.dim("run in:"), format::plain(cwd))
    }

    /// The name of an option, as shown to a person.
    pub(crate) fn option_name(&self, id: &str) -> String {
        format::plain(self.options().iter().find(|option| option.option_id == id).map_or(id, |option| &option.name))
    }

    /// Whether the option allows what is asked.
    pub(crate) fn is_allowing(&self, id: &str) -> bool {
        self.options().iter().any(|option| option.option_id == id && option.kind.starts_with("allow"))
    }

    /// The options with the key of each: `y`, `a` and `n` for the first of their kinds, digits for the others.
    pub(crate) fn keys(&self) -> Vec<(char, &PermissionOption)> {
        let mut taken = Vec::new();
        let numbered = self.options().iter().zip(1..);
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
        keys.into_iter().zip(self.options()).collect()
    }

    /// The option of a key.
    pub(crate) fn option_for_key(&self, key: char) -> Option<&PermissionOption> {
        self.keys().into_iter().find(|(known, _)| *known == key).map(|(_, option)| option)
    }

    /// The options as `[y] Allow once`: in one line if they fit, else a line each.
    pub(crate) fn menu(&self, styles: Styles, columns: usize) -> Vec<String> {
        let options: Vec<(char, String)> = self.keys().into_iter().map(|(key, option)| (key, format::plain(&option.name))).collect();
        let item = |key: &char, name: &str| format!("{} {name}", styles.apply(Style::new().bold(), &format!("[{key}]")));
        let width: usize = options.iter().map(|(_, name)| name.width() + 7).sum();
        if width <= columns {
            return vec![options.iter().map(|(key, name)| item(key, name)).collect::<Vec<_>>().join("   ")];
        }
        options.iter().map(|(key, name)| item(key, &render::truncate(name, columns.saturating_sub(4)))).collect()
    }

    /// The option of this ID, name, kind or key. A name or a kind that several options have is none.
    pub(crate) fn find_option(&self, name: &str) -> Result<&PermissionOption, Failure> {
        let same = |text: &str| text.eq_ignore_ascii_case(name);
        let only = |matches: &dyn Fn(&PermissionOption) -> bool| {
            let mut matching = self.options().iter().filter(|option| matches(option));
            matching.next().filter(|_| matching.next().is_none())
        };
        let option = self
            .options()
            .iter()
            .find(|option| option.option_id == name)
            .or_else(|| only(&|option| same(&option.option_id) || same(&option.name)))
            .or_else(|| only(&|option| same(&option.kind) || same(&option.kind.replace('_', "-"))))
            .or_else(|| self.option_for_key(name.chars().next().filter(|_| name.chars().count() == 1)?));
        option.ok_or_else(|| {
            let known: Vec<String> = self.options().iter().map(|option| format::quoted(&option.option_id)).collect();
            let message = format!("`{}` is not one of the options: {}", format::plain(name), known.join(", "));
            Failure::invalid_params("optionId", message)
        })
    }
}

/// The question that the options answer.
fn heading(kind: &str) -> &'static str {
    match kind {
        "execute" => "Allow this command?",
        "edit" => "Allow this edit?",
        "delete" => "Allow deleting this?",
        "move" => "Allow moving this?",
        "read" => "Allow reading this?",
        "search" => "Allow this search?",
        "fetch" => "Allow fetching this?",
        _ => "Allow this action?",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn request(kind: &str, shown: &[(&str, &str)], options: &[(&str, &str)]) -> PermissionPrompt {
        let option = |(id, kind): &(&str, &str)| json!({ "optionId": id, "name": format!("Do {id}"), "kind": kind });
        let part = |(label, text): &(&str, &str)| json!({ "label": label, "text": text });
        let permission = json!({ "permissionId": "p1", "toolCallId": "t", "toolCall": { "kind": kind, "title": "as the agent says" },
            "shown": shown.iter().map(part).collect::<Vec<Value>>(), "options": options.iter().map(option).collect::<Vec<Value>>() });
        PermissionPrompt::new(serde_json::from_value(permission).expect("a permission"))
    }

    fn full(mut request: PermissionPrompt) -> String {
        request.next_lines(usize::MAX, "/work", Styles::default(), None)
    }

    #[test]
    fn every_part_is_shown_with_its_name_and_without_control_characters() {
        let shown = [("title", "Clean"), ("command", "sh -c 'rm -rf x\n\u{1b}[2Kls'"), ("directory", "/etc"), ("x\u{202e}y", "5\u{9b}2J")];
        let expected = "\
? Allow this command?
    Clean
    command:
        sh -c 'rm -rf x
        ␣[2Kls'
    directory: /etc
    x␣y: 5␣2J
    run in: /work
";
        assert_eq!(full(request("execute", &shown, &[])), expected);
    }

    #[test]
    fn an_edit_is_shown_as_its_diff_beside_the_rest() {
        let shown = [("title", "Write a.txt\nmode: 0600"), ("mode", "0777"), ("diff", "--- /a.txt\n+++ /a.txt\n@@ -1 +1 @@\n-old\n+new\n")];
        let expected = "\
? Allow this edit?
    Write a.txt
        mode: 0600
    mode: 0777
    diff:
        --- /a.txt
        +++ /a.txt
        @@ -1 +1 @@
        -old
        +new
    run in: /work
";
        assert_eq!(full(request("edit", &shown, &[])), expected);
    }

    #[test]
    fn a_long_question_comes_in_pages_that_leave_nothing_out() {
        let long: String = (1..=30).map(|number| format!("line {number} {}\n", "x".repeat(30))).collect();
        let whole = full(request("execute", &[("command", &long)], &[]));
        let mut paged = request("execute", &[("command", &long)], &[]);
        let mut pages = Vec::new();
        while !paged.is_whole() {
            pages.push(paged.next_lines(10, "/work", Styles::default(), Some(40)));
        }
        assert!(pages.len() > 5 && pages.iter().all(|page| !page.is_empty()), "lines that wrap count for what they take: {pages:?}");
        assert_eq!(pages.concat(), whole);
    }

    #[test]
    fn each_option_has_a_key_and_several_names() {
        let request = request(
            "",
            &[],
            &[("allow", "allow_once"), ("all", "allow_always"), ("dir", "allow_always"), ("no", "reject_once"), ("2", "reject_always")],
        );
        let keys: Vec<(char, &str)> = request.keys().into_iter().map(|(key, option)| (key, option.option_id.as_str())).collect();
        assert_eq!(keys, [('y', "allow"), ('a', "all"), ('3', "dir"), ('n', "no"), ('5', "2")]);
        let named = |name: &str| request.find_option(name).map(|option| option.option_id.clone());
        for (name, option) in [("allow", "allow"), ("do all", "all"), ("reject-once", "no"), ("y", "allow"), ("3", "dir"), ("2", "2")] {
            assert_eq!(named(name), Ok(option.to_owned()), "{name}");
        }
        assert!(named("allow_always").is_err(), "two options have this kind");
        assert!(named("yes").expect_err("unknown").message.contains("allow, all, dir, no, 2"));
    }
}
