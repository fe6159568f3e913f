//! Ids of messages and tool calls, which are unique in a run whatever the provider's are.

use std::{
    collections::{BTreeMap, HashSet, hash_map::DefaultHasher},
    hash::{Hash, Hasher},
};

use serde_json::Value;

/// The member of `_meta` with the provider's own id of what has another one in the log.
pub(super) const PROVIDER_ID_KEY: &str = "loomd/providerId";

/// The ids that were given out. Only checksums are kept: two ids with the same one cost the second its name.
#[derive(Debug, Default)]
pub(super) struct UsedIds {
    checksums: HashSet<u64>,
    made: u64,
}

impl UsedIds {
    /// The wanted id, unless it is empty or was given out; then a new one with this prefix.
    pub(super) fn claim(&mut self, wanted: &str, prefix: &str) -> String {
        let mut id = wanted.to_owned();
        while id.is_empty() || !self.claim_exactly(&id) {
            self.made += 1;
            id = format!("{prefix}{}", self.made);
        }
        id
    }

    /// Gives this id out. `false`: it was given out before.
    pub(super) fn claim_exactly(&mut self, id: &str) -> bool {
        let mut hasher = DefaultHasher::new();
        id.hash(&mut hasher);
        self.checksums.insert(hasher.finish())
    }
}

/// The id of something as a name: a text that is not empty, or a number.
pub(super) fn name_of(id: &Value) -> Option<String> {
    match id {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Names for what a provider sends without an id: what goes on is found again by its kind.
#[derive(Debug, Default)]
pub(super) struct MadeNames {
    count: u64,
    open: BTreeMap<String, String>,
}

impl MadeNames {
    /// The name of something of this kind that begins here, or else goes on. `is_over`: nothing more follows of it.
    pub(super) fn name(&mut self, id: Option<&Value>, kind: &str, begins: bool, is_over: bool) -> String {
        if let Some(name) = id.and_then(name_of) {
            return name;
        }
        let name = match self.open.remove(kind).filter(|_| !begins) {
            Some(name) => name,
            None => {
                self.count += 1;
                format!("{kind}-{}", self.count)
            }
        };
        if !is_over {
            self.open.insert(kind.to_owned(), name.clone());
        }
        name
    }
}

/// The ACP status for a provider's word, in whatever spelling. `None`: it means nothing that is known, and never
/// success.
pub(super) fn status_of(word: &str) -> Option<&'static str> {
    let plain: String = word.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    Some(match plain.as_str() {
        "pending" | "queued" | "waiting" | "created" | "requested" | "scheduled" | "notstarted" | "todo" | "awaitingapproval" => "pending",
        "inprogress" | "running" | "started" | "active" | "executing" | "working" | "streaming" | "processing" | "ongoing" => "in_progress",
        "completed" | "complete" | "success" | "succeeded" | "successful" | "done" | "finished" | "ok" | "passed" => "completed",
        "failed" | "fail" | "failure" | "error" | "errored" | "cancelled" | "canceled" | "rejected" | "declined" | "denied" | "aborted"
        | "interrupted" | "timeout" | "timedout" | "killed" | "terminated" | "skipped" | "blocked" | "incomplete" | "stopped" => "failed",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_id_is_given_out_once() {
        let mut ids = UsedIds::default();
        assert_eq!(ids.claim("bash:0", "t-"), "bash:0");
        let made: Vec<String> = ["bash:0", "", "t-3"].map(|id| ids.claim(id, "t-")).into();
        assert_eq!(made, ["t-1", "t-2", "t-3"]);
        assert_eq!(ids.claim("bash:0", "t-"), "t-4", "the provider took t-3");
    }

    #[test]
    fn what_has_no_id_is_found_again_by_its_kind() {
        let mut names = MadeNames::default();
        let first = names.name(None, "ls", true, false);
        assert_eq!(names.name(None, "ls", false, true), first);
        assert_ne!(names.name(None, "ls", false, true), first);
        assert_eq!(names.name(Some(&json!(7)), "ls", true, true), "7");
    }

    #[test]
    fn only_words_for_success_are_success() {
        for (word, status) in [("inProgress", "in_progress"), ("SUCCESS", "completed"), ("timed_out", "failed"), ("cancelled", "failed")] {
            assert_eq!(status_of(word), Some(status), "{word}");
        }
        for word in ["", "melted", "complete?no", "successfully_failed"] {
            assert_ne!(status_of(word), Some("completed"), "{word}");
        }
    }
}
