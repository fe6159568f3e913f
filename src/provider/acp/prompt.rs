//! A prompt as an agent can take it.

use std::collections::BTreeSet;

use super::agent::Agent;
use crate::provider::task::{Blocks, text_block, text_of};

/// The blocks that the agent takes, a text in place of one that it does not, and the kinds of those that had to be left out.
pub fn for_agent(blocks: &Blocks, agent: &Agent) -> (Blocks, Option<String>) {
    let mut given = Blocks::new();
    let mut left_out = BTreeSet::new();
    for block in blocks {
        let kind = block.get("type").and_then(|kind| kind.as_str()).unwrap_or_default();
        let is_taken = match kind {
            "image" => agent.image,
            "audio" => agent.audio,
            "resource" => agent.embedded,
            _ => true,
        };
        let text = if is_taken { String::new() } else { text_of(&vec![block.clone()]) };
        match (is_taken, text.is_empty()) {
            (true, _) => given.push(block.clone()),
            (false, false) => given.push(text_block(&text)),
            (false, true) => drop(left_out.insert(kind)),
        }
    }
    if given.is_empty() {
        given.push(text_block(""));
    }
    let kinds: Vec<&str> = left_out.into_iter().collect();
    (given, (!kinds.is_empty()).then(|| kinds.join(" and ")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::provider::task::object;

    #[test]
    fn what_the_agent_does_not_take_is_said_in_words_or_left_out() {
        let blocks = vec![
            text_block("look"),
            object(json!({ "type": "image", "data": "AA==", "mimeType": "image/png" })),
            object(json!({ "type": "resource", "resource": { "uri": "file:///a", "text": "content" } })),
            object(json!({ "type": "resource_link", "uri": "file:///b", "name": "b" })),
        ];
        let (given, left_out) = for_agent(&blocks, &Agent::default());
        assert_eq!(json!(given), json!([{ "type": "text", "text": "look" }, { "type": "text", "text": "content" }, blocks[3]]));
        assert_eq!(left_out.as_deref(), Some("image"));
        let (given, left_out) = for_agent(&blocks, &Agent { image: true, embedded: true, ..Agent::default() });
        assert_eq!((given, left_out), (blocks, None));
    }
}
