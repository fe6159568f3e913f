//! What a takeover hands to a terminal: an argv, where it is to be started, and the line that a person could type instead.

use super::effect::SessionNews;
use crate::model::{Takeover, TakeoverKind};

/// A way that there is. Without `reason` it was seen to work.
pub fn way(kind: TakeoverKind, command: Vec<String>, cwd: &str, reason: Option<&str>) -> Takeover {
    let display = format!("cd {} && {}", quoted(cwd), command.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" "));
    Takeover {
        kind,
        verified: reason.is_none(),
        reason: reason.map(str::to_owned),
        command: Some(command),
        cwd: Some(cwd.to_owned()),
        env: None,
        display,
    }
}

/// A way to a session that can be gone on with only once its provider has kept it.
pub fn kept(session: &SessionNews, kind: TakeoverKind, command: Vec<String>, cwd: &str, reason: Option<&str>) -> Takeover {
    if session.resumable { way(kind, command, cwd, reason) } else { no_way(kind, "the provider has not kept the session yet") }
}

/// A way that there is not, and why.
pub fn no_way(kind: TakeoverKind, reason: &str) -> Takeover {
    Takeover {
        kind,
        verified: false,
        reason: Some(reason.to_owned()),
        command: None,
        cwd: None,
        env: None,
        display: format!("not available: {reason}"),
    }
}

/// One word of a line for a shell of the Bourne family.
pub fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "-_./=:,@%+".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_can_be_typed_whatever_the_directory_is_called() {
        let way =
            way(TakeoverKind::Resume, vec!["agent".to_owned(), "--resume".to_owned(), "a b".to_owned()], "/it's here", Some("untried"));
        assert_eq!(way.display, r"cd '/it'\''s here' && agent --resume 'a b'");
        assert!(!way.verified && way.command.is_some());
    }
}
