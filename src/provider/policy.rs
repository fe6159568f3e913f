//! What a permission mode answers in a person's stead.

use super::adapter::Answer;
use super::effect::Question;
use crate::model::calls::PermissionMode;

/// The answer that the mode gives, or `None`: somebody has to be asked. Nothing that is unknown is ever allowed by it.
pub fn decide(mode: PermissionMode, question: &Question) -> Option<Answer> {
    let kind = question.tool_call.get("kind").and_then(|kind| kind.as_str()).unwrap_or("other");
    match mode {
        PermissionMode::Ask => None,
        PermissionMode::Bypass => choose(question, &["allow_once", "allow_always"]),
        // To make a file, change, rename and remove it are all edits.
        PermissionMode::AcceptEdits => match kind {
            "edit" | "delete" | "move" => choose(question, &["allow_once", "allow_always"]),
            _ => None,
        },
        PermissionMode::ReadOnly => match kind {
            "read" | "search" | "fetch" | "think" => choose(question, &["allow_once", "allow_always"]),
            _ => Some(choose(question, &["reject_once", "reject_always"]).unwrap_or_else(refusal)),
        },
    }
}

fn choose(question: &Question, kinds: &[&str]) -> Option<Answer> {
    let option = kinds.iter().find_map(|kind| question.options.iter().find(|option| option.kind == *kind))?;
    Some(Answer { option: Some(option.option_id.clone()), message: None })
}

fn refusal() -> Answer {
    Answer { option: None, message: None }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{model::PermissionOption, provider::task::object};

    fn question(kind: &str, options: &[&str]) -> Question {
        let option = |kind: &&str| PermissionOption { option_id: format!("id-{kind}"), name: (*kind).to_owned(), kind: (*kind).to_owned() };
        Question {
            id: "q".to_owned(),
            tool_call: object(json!({ "toolCallId": "t", "kind": kind })),
            options: options.iter().map(option).collect(),
        }
    }

    fn chosen(mode: PermissionMode, kind: &str) -> Option<String> {
        decide(mode, &question(kind, &["allow_always", "allow_once", "reject_once"])).map(|answer| answer.option.unwrap_or_default())
    }

    #[test]
    fn each_mode_answers_what_it_is_for_and_nothing_more() {
        assert_eq!(chosen(PermissionMode::Ask, "read"), None);
        assert_eq!(chosen(PermissionMode::Bypass, "execute").as_deref(), Some("id-allow_once"));
        assert_eq!(chosen(PermissionMode::AcceptEdits, "edit").as_deref(), Some("id-allow_once"));
        assert_eq!(chosen(PermissionMode::AcceptEdits, "execute"), None);
        assert_eq!(chosen(PermissionMode::ReadOnly, "edit").as_deref(), Some("id-reject_once"));
        assert_eq!(chosen(PermissionMode::ReadOnly, "other").as_deref(), Some("id-reject_once"));
        assert_eq!(chosen(PermissionMode::ReadOnly, "search").as_deref(), Some("id-allow_once"));
    }

    #[test]
    fn a_question_without_the_wanted_option_is_not_answered_with_another() {
        assert_eq!(decide(PermissionMode::Bypass, &question("execute", &["reject_once"])), None);
        assert_eq!(decide(PermissionMode::ReadOnly, &question("execute", &["allow_once"])), Some(refusal()));
    }
}
