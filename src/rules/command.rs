//! Commands of rules against commands of tool calls.
//!
//! An allow matches a command as a whole, and its stars stand for nothing that a shell could take for more than words. A deny is
//! tried at each place where a command may begin, and rather speaks once too often.

use crate::model::rule::CommandPattern;

/// The command of a tool call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum AskedCommand {
    Line(String),
    Words(Vec<String>),
}

/// Whether an allow with this pattern is about this command.
pub(super) fn allows(pattern: &CommandPattern, command: &AskedCommand) -> bool {
    match (pattern, command) {
        (CommandPattern::Line(pattern), AskedCommand::Line(line)) => matches_whole(pattern, line),
        (CommandPattern::Line(pattern), AskedCommand::Words(words)) => {
            words_match(&pattern.split_ascii_whitespace().collect::<Vec<_>>(), words)
        }
        (CommandPattern::Words(pattern), AskedCommand::Words(words)) => {
            words_match(&pattern.iter().map(String::as_str).collect::<Vec<_>>(), words)
        }
        // A shell could split the line otherwise than the rule's words are.
        (CommandPattern::Words(_), AskedCommand::Line(_)) => false,
    }
}

/// Whether a deny with this pattern is about this text, in which commands may stand.
pub(super) fn denies(pattern: &CommandPattern, text: &str) -> bool {
    let pattern = match pattern {
        CommandPattern::Line(line) => plain_blanks(line.trim()),
        CommandPattern::Words(words) => plain_blanks(&words.join(" ")),
    };
    let text = plain_blanks(text);
    // Quotes and backslashes change no word for a shell: `r"m" -rf` is `rm -rf`.
    let unquoted = |text: &str| text.replace(['\'', '"', '\\'], "");
    begins_somewhere(&pattern, &text) || begins_somewhere(&unquoted(&pattern), &unquoted(&text))
}

/// What the star of an allow may stand for.
fn is_plain(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, ' ' | '\t' | '_' | '.' | '/' | '=' | ':' | ',' | '@' | '%' | '+' | '-')
}

fn words_match(pattern: &[&str], words: &[String]) -> bool {
    let (fixed, rest_is_free) = match pattern {
        [fixed @ .., "*"] => (fixed, true),
        _ => (pattern, false),
    };
    let has_right_length = if rest_is_free { words.len() > fixed.len() } else { words.len() == fixed.len() };
    has_right_length
        && fixed.iter().zip(words).all(|(pattern, word)| matches_whole(pattern, word))
        && words[fixed.len()..].iter().all(|word| word.chars().all(is_plain))
}

/// Matches the whole text. The parts between the stars are looked for from the left: the earliest place of each leaves the most to
/// the stars behind it, and nothing that only a later place would give (`nothing_is_missed`).
fn matches_whole(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = text.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    let is_free = |text: &str| text.chars().all(is_plain);
    for part in parts {
        match rest.find(part) {
            Some(at) if is_free(&rest[..at]) => rest = &rest[at + part.len()..],
            _ => return false,
        }
    }
    rest.strip_suffix(last).is_some_and(is_free)
}

/// Every run of blanks, in whatever way a shell comes to it, as one blank.
fn plain_blanks(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let text = ["\\\r\n", "\\\n", "${IFS}", "$IFS"].iter().fold(text.to_owned(), |text, blank| text.replace(blank, " "));
    for c in text.chars() {
        let is_blank = c != '\n' && c != '\r' && c.is_whitespace();
        if !is_blank {
            plain.push(c);
        } else if !plain.ends_with(' ') {
            plain.push(' ');
        }
    }
    plain
}

/// Whether the pattern, in which a star stands for anything, matches from a place where a command may begin to one where it may end.
fn begins_somewhere(pattern: &str, text: &str) -> bool {
    let parts: Vec<&str> = pattern.split('*').collect();
    let begins =
        |at: usize| text[..at].chars().next_back().is_none_or(|before| !(before.is_alphanumeric() || matches!(before, '_' | '-' | '.')));
    let ends = |at: usize| {
        let next = text[at..].trim_start_matches(' ').chars().next();
        next.is_none_or(|next| matches!(next, ';' | '&' | '|' | ')' | '}' | '>' | '<' | '#' | '\n' | '\r' | '\'' | '"' | '`'))
    };
    let first = parts[0];
    let mut candidates = text.match_indices(first).map(|(at, _)| at).filter(|at| begins(*at));
    if parts.len() == 1 {
        return candidates.any(|at| ends(at + first.len()));
    }
    let Some(begin) = candidates.next() else { return false };
    let mut at = begin + first.len();
    for part in &parts[1..parts.len() - 1] {
        match text[at..].find(part) {
            Some(found) => at += found + part.len(),
            None => return false,
        }
    }
    let last = parts[parts.len() - 1];
    last.is_empty() || text[at..].match_indices(last).any(|(found, _)| ends(at + found + last.len()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{ProptestConfig, any, prop_assert_eq, proptest};

    use super::*;

    fn line(text: &str) -> AskedCommand {
        AskedCommand::Line(text.to_owned())
    }

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn an_allow_matches_what_was_remembered_and_no_more() {
        for (pattern, command, expected) in [
            ("cargo test", "cargo test", true),
            ("cargo test", "cargo test ", false),
            ("cargo test", "cargo test --lib", false),
            ("cargo test", "Cargo test", false),
            ("cargo test *", "cargo test --lib a::b x=1,2 @a 5% +c -d", true),
            ("cargo test *", "cargo test", false),
            ("cargo test *", "cargo test größer", true),
            ("git diff *.rs", "git diff src/a.rs", true),
            ("git diff *.rs", "git diff src/a.rs.rs", true),
            ("git diff *.rs", "git diff src/a.c", false),
            ("a*b*c", "axbxbxc", true),
            ("a*b*c", "axxc", false),
            ("*", "anything at all", true),
            ("make *", "make a\nrm x", false),
            ("make *", "make a\r rm x", false),
            ("make *", "make a\u{b}rm x", false),
            ("make *", "make a\u{85}rm x", false),
            ("make *", "make a\u{2028}rm x", false),
            ("make *", "make a\u{2029}rm x", false),
            ("make *", "make a\u{a0}b", false),
            ("make *", "make a; rm x", false),
            ("make *", "make a & rm x", false),
            ("make *", "make a | sh", false),
            ("make *", "make $(rm x)", false),
            ("make *", "make `rm x`", false),
            ("make *", "make $HOME", false),
            ("make *", "make ${IFS}", false),
            ("make *", "make {a,b}", false),
            ("make *", "make > /etc/x", false),
            ("make *", "make < /etc/x", false),
            ("make *", "make 'a'", false),
            ("make *", "make \"a\"", false),
            ("make *", "make a\\ b", false),
            ("make *", "make *", false),
            ("make *", "make a?", false),
            ("make *", "make [a]", false),
            ("make *", "make ~/x", false),
            ("make *", "make !!", false),
            ("make *", "make # x", false),
            ("make *", "make ^a", false),
            ("make *", "make \0", false),
            ("make *", "make \u{1b}[31m", false),
            ("make *; echo done", "make a; echo done", true),
            ("make *; echo done", "make a; rm x; echo done", false),
            ("echo 'a' > x", "echo 'a' > x", true),
            ("a\nb", "a\nb", true),
        ] {
            assert_eq!(allows(&CommandPattern::Line(pattern.to_owned()), &line(command)), expected, "{pattern:?} {command:?}");
        }
    }

    #[test]
    fn an_argv_is_compared_word_by_word() {
        for (pattern, command, expected) in [
            (&["git", "status"][..], &["git", "status"][..], true),
            (&["git", "status"], &["git status"], false),
            (&["git", "status"], &["git", "status", ""], false),
            (&["git", "*"], &["git", "log", "a b"], true),
            (&["git", "*"], &["git"], false),
            (&["git", "*"], &["git", "-c", "alias.x=!sh", "x"], false),
            (&["git", "log", "v*"], &["git", "log", "v1.2"], true),
            (&["git", "log", "v*"], &["git", "log", "v1.2", "x"], false),
            (&["*", "status"], &["git", "status"], true),
            (&["*", "status"], &["git", "-C", "status"], false),
            (&["bash", "-lc", "cargo test"], &["bash", "-lc", "cargo test"], true),
            (&["bash", "-lc", "cargo test"], &["bash", "-lc", "cargo test; rm x"], false),
        ] {
            let asked = AskedCommand::Words(words(command));
            assert_eq!(allows(&CommandPattern::Words(words(pattern)), &asked), expected, "{pattern:?} {command:?}");
            if pattern.iter().all(|word| !word.contains(' ')) {
                assert_eq!(allows(&CommandPattern::Line(pattern.join("  ")), &asked), expected, "{pattern:?} {command:?}");
            }
            assert!(!allows(&CommandPattern::Words(words(pattern)), &line(&command.join(" "))), "a line is no argv");
        }
    }

    #[test]
    fn a_deny_finds_its_command_wherever_one_may_begin() {
        for (pattern, command, expected) in [
            ("rm *", "rm -rf x", true),
            ("rm *", "rm\t-rf x", true),
            ("rm *", "  rm   x", true),
            ("rm *", "true; rm x", true),
            ("rm *", "true;rm x", true),
            ("rm *", "true && rm x", true),
            ("rm *", "true || rm x", true),
            ("rm *", "true & rm x", true),
            ("rm *", "ls | rm x", true),
            ("rm *", "ls\nrm x", true),
            ("rm *", "ls\r\nrm x", true),
            ("rm *", "(rm x)", true),
            ("rm *", "{ rm x; }", true),
            ("rm *", "echo $(rm x)", true),
            ("rm *", "echo `rm x`", true),
            ("rm *", "sudo -n rm x", true),
            ("rm *", "A=1 rm x", true),
            ("rm *", "if true; then rm x; fi", true),
            ("rm *", "! rm x", true),
            ("rm *", "/bin/rm x", true),
            ("rm *", "\\rm x", true),
            ("rm *", "r\"m\" x", true),
            ("rm *", "'rm' x", true),
            ("rm *", "rm \\\n x", true),
            ("rm *", "bash -c 'rm x'", true),
            ("rm *", "find . -exec rm {} +", true),
            ("rm *", "rm $X > /dev/null # y", true),
            ("rm *", "farm x", false),
            ("rm *", "perform x", false),
            ("rm *", "my-rm x", false),
            ("rm *", "x.rm x", false),
            ("rm *", "rm", false),
            ("rm *", "rmdir x", false),
            ("git push", "git push", true),
            ("git push", "git push && ls", true),
            ("git push", "git push; ls", true),
            ("git push", "(git  push)", true),
            ("git push", "git push > x", true),
            ("git push", "git push\nls", true),
            ("git push", "git push --force", false),
            ("git push", "git pushed", false),
            ("git*push*", "cd x && git -C y push --force", true),
            ("git*push*", "push git", false),
            ("*secret*", "cat my-secret.txt", true),
            ("curl * | sh", "curl -s http://x | sh", true),
            ("curl * | sh", "curl -s http://x | shuf", false),
            ("rm *", "rm${IFS}x", true),
        ] {
            assert_eq!(denies(&CommandPattern::Line(pattern.to_owned()), command), expected, "{pattern:?} {command:?}");
        }
        assert!(denies(&CommandPattern::Words(words(&["rm", "-rf", "*"])), "sudo rm -rf /"));
    }

    /// Every way to fill the stars, one after the other.
    fn matches_slowly(pattern: &[char], text: &[char]) -> bool {
        match pattern {
            [] => text.is_empty(),
            ['*', rest @ ..] => {
                let free = text.iter().take_while(|c| is_plain(**c)).count();
                (0..=free).any(|taken| matches_slowly(rest, &text[taken..]))
            }
            [c, rest @ ..] => text.first() == Some(c) && matches_slowly(rest, &text[1..]),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn nothing_is_missed(pattern in "[ab;*]{0,7}", text in "[ab;]{0,10}") {
            let slow = matches_slowly(&pattern.chars().collect::<Vec<_>>(), &text.chars().collect::<Vec<_>>());
            prop_assert_eq!(matches_whole(&pattern, &text), slow);
        }

        /// Whatever stands before and behind it, as long as a shell would begin a command there.
        #[test]
        fn a_deny_is_not_hidden_by_what_surrounds_it(before in "[a-z /=-]{0,8}", separator in "(;|&&|\\|| |\n|\\(|`|\\$\\()", after in "[^\0]{0,8}") {
            let text = format!("{before}{separator}rm -rf x{after}");
            prop_assert_eq!(denies(&CommandPattern::Line("rm *".to_owned()), &text), true);
        }

        /// A star of an allow lets no character through by which a shell could do more.
        #[test]
        fn an_allow_lets_nothing_special_through(before in "[a-z ]{0,4}", special in any::<char>(), after in "[a-z ]{0,4}") {
            let allowed = allows(&CommandPattern::Line("make *".to_owned()), &AskedCommand::Line(format!("make {before}{special}{after}")));
            prop_assert_eq!(allowed, special.is_alphanumeric() || " \t_./=:,@%+-".contains(special));
        }
    }
}
