//! The tool calls of a turn: what is known of each, and its output as it grows.
//!
//! ACP's `content` replaces what was there, so output that grows is told apart from it: `_meta["loomd/output"] = {offset, text}` means
//! cut at the byte `offset` and append `text`. Only the end repeats anything: the last 64 KiB, as `content`.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{
    reconcile::{Compared, Streamed, ceiling, floor},
    task::object,
};

/// Most output that one update carries, and that the closing one repeats.
const PIECE: usize = 64 << 10;

/// In `_meta`, a partial diff.
const PATCH: &str = "loomd/patch";

/// The tool calls that are known, by id.
#[derive(Debug, Default)]
pub struct Tools(BTreeMap<String, Tool>);

#[derive(Debug, Default)]
struct Tool {
    /// All members of it that were told.
    known: Map<String, Value>,
    /// The last `_meta["loomd/patch"]`.
    patch: Option<Value>,
    output: Streamed,
    /// The end of the output.
    tail: String,
    ended: bool,
}

impl Tools {
    pub fn knows(&self, id: &str) -> bool {
        self.0.contains_key(id)
    }

    /// Everything that is known of a tool call, as an ACP `ToolCallUpdate`.
    pub fn picture(&self, id: &str) -> Option<Map<String, Value>> {
        let tool = self.0.get(id)?;
        let mut picture = object(json!({ "toolCallId": id }));
        picture.extend(tool.known.clone());
        if let Some(patch) = &tool.patch {
            picture.insert("_meta".to_owned(), json!({ PATCH: patch }));
        }
        Some(picture)
    }

    /// Takes note of what is said of a tool call and returns what is new of it, as an update.
    pub fn tell(&mut self, id: &str, mut fields: Map<String, Value>) -> Vec<Map<String, Value>> {
        fields.remove("sessionUpdate");
        fields.remove("toolCallId");
        let is_new = !self.knows(id);
        let tool = self.0.entry(id.to_owned()).or_default();
        let mut meta = fields.remove("_meta");
        if let Some(Value::Object(members)) = &mut meta {
            match members.get(PATCH) {
                Some(patch) if tool.patch.as_ref() == Some(patch) => drop(members.remove(PATCH)),
                Some(patch) => tool.patch = Some(patch.clone()),
                None => {}
            }
        }
        meta = meta.filter(|meta| meta.as_object().is_none_or(|members| !members.is_empty()));
        fields.retain(|name, value| !value.is_null() && tool.known.get(name) != Some(value));
        tool.known.extend(fields.clone());
        if is_new {
            for (name, default) in [("title", json!(id)), ("kind", json!("other")), ("status", json!("pending"))] {
                if !fields.contains_key(name) {
                    fields.insert(name.to_owned(), default.clone());
                    tool.known.insert(name.to_owned(), default);
                }
            }
        } else if fields.is_empty() && meta.is_none() {
            return Vec::new();
        }
        vec![update(id, is_new, fields, meta)]
    }

    /// More output.
    pub fn output(&mut self, id: &str, delta: &str) -> Vec<Map<String, Value>> {
        let mut updates = self.tell(id, Map::new());
        let tool = self.0.get_mut(id).expect("it was just told");
        tool.append(id, delta, None, &mut updates);
        updates
    }

    /// All output so far.
    pub fn output_so_far(&mut self, id: &str, whole: &str) -> Vec<Map<String, Value>> {
        let mut updates = self.tell(id, Map::new());
        let tool = self.0.get_mut(id).expect("it was just told");
        match tool.output.compare(whole) {
            Compared::Missing(missing) => tool.append(id, missing, None, &mut updates),
            Compared::Contradiction { at } => {
                tool.output = Streamed::default();
                tool.tail.clear();
                tool.append(id, whole, Some(at), &mut updates);
            }
        }
        updates
    }

    /// The end of a tool call.
    pub fn ended(&mut self, id: &str, status: &str, whole: Option<&str>, mut fields: Map<String, Value>) -> Vec<Map<String, Value>> {
        let mut updates = match whole {
            Some(whole) => self.output_so_far(id, whole),
            None => self.tell(id, Map::new()),
        };
        let tool = self.0.get_mut(id).expect("it was just told");
        fields.insert("status".to_owned(), json!(status));
        if !tool.tail.is_empty() && !std::mem::replace(&mut tool.ended, true) {
            let mut content = match fields.remove("content").or_else(|| tool.known.get("content").cloned()) {
                // Diffs and images stay; texts are in the output.
                Some(Value::Array(blocks)) => blocks.into_iter().filter(|block| !is_told_as_output(block)).collect(),
                _ => Vec::new(),
            };
            content.push(json!({ "type": "content", "content": { "type": "text", "text": tool.tail } }));
            fields.insert("content".to_owned(), Value::Array(content));
        }
        updates.extend(self.tell(id, fields));
        updates
    }

    /// The turn is over.
    pub fn forget(&mut self) {
        self.0.clear();
    }
}

impl Tool {
    fn append(&mut self, id: &str, text: &str, contradiction: Option<usize>, updates: &mut Vec<Map<String, Value>>) {
        let mut rest = text;
        let mut contradiction = contradiction;
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(floor(rest, PIECE));
            let mut meta = json!({ "loomd/output": { "offset": self.output.len(), "text": piece } });
            if let Some(at) = contradiction.take() {
                meta["loomd/contradiction"] = json!({ "at": at });
            }
            updates.push(update(id, false, Map::new(), Some(meta)));
            self.output.push(piece);
            self.tail.push_str(piece);
            if self.tail.len() > PIECE {
                self.tail.drain(..ceiling(&self.tail, self.tail.len() - PIECE));
            }
            rest = after;
        }
    }
}

/// Whether a block of a tool call's `content` stands in its output already.
fn is_told_as_output(block: &Value) -> bool {
    match block["type"].as_str() {
        Some("diff") => false,
        Some("content") => block["content"]["type"] == "text",
        _ => true,
    }
}

fn update(id: &str, is_new: bool, fields: Map<String, Value>, meta: Option<Value>) -> Map<String, Value> {
    let mut update = object(json!({ "sessionUpdate": if is_new { "tool_call" } else { "tool_call_update" }, "toolCallId": id }));
    update.extend(fields);
    if let Some(meta) = meta {
        update.insert("_meta".to_owned(), meta);
    }
    update
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a client shows after these updates.
    fn shown(updates: &[Map<String, Value>]) -> String {
        let mut shown = String::new();
        for update in updates {
            if let Some(output) = update.get("_meta").and_then(|meta| meta.get("loomd/output")) {
                assert_eq!(update.get("content"), None, "growing output carries no content");
                shown.truncate(output["offset"].as_u64().expect("a number") as usize);
                shown.push_str(output["text"].as_str().expect("a text"));
            }
        }
        shown
    }

    #[test]
    fn the_first_word_is_a_tool_call_and_later_ones_say_what_changed() {
        let mut tools = Tools::default();
        let first = tools.tell("t", object(json!({ "title": "ls", "kind": "execute" })));
        assert_eq!(
            json!(first),
            json!([{ "sessionUpdate": "tool_call", "toolCallId": "t", "title": "ls", "kind": "execute", "status": "pending" }])
        );
        let second = tools.tell("t", object(json!({ "title": "ls", "status": "in_progress" })));
        assert_eq!(json!(second), json!([{ "sessionUpdate": "tool_call_update", "toolCallId": "t", "status": "in_progress" }]));
        assert!(tools.tell("t", object(json!({ "title": "ls" }))).is_empty());
    }

    #[test]
    fn output_is_told_once_in_whatever_way_it_comes() {
        let mut tools = Tools::default();
        let mut updates = tools.tell("t", object(json!({ "title": "make" })));
        updates.extend(tools.output("t", "one\n"));
        updates.extend(tools.output_so_far("t", "one\ntwo\n"));
        updates.extend(tools.output_so_far("t", "one\ntwo\n"));
        updates.extend(tools.ended("t", "completed", Some("one\ntwo\nthree\n"), Map::new()));
        assert_eq!(shown(&updates), "one\ntwo\nthree\n");
        let said = json!(updates).to_string();
        assert_eq!(said.matches("two").count(), 2, "once as it came, and once at the end: {said}");
    }

    #[test]
    fn a_patch_is_told_once_and_belongs_to_the_picture() {
        let mut tools = Tools::default();
        let change = || object(json!({ "title": "Edit a", "_meta": { "loomd/patch": "@@ -1 +1 @@" } }));
        assert_eq!(tools.tell("t", change()).len(), 1);
        assert!(tools.tell("t", change()).is_empty(), "it is known");
        let picture = tools.picture("t").expect("it was told");
        assert_eq!(picture["_meta"]["loomd/patch"], "@@ -1 +1 @@");
    }

    #[test]
    fn a_lost_beginning_is_a_contradiction_and_ends_in_the_truth() {
        let mut tools = Tools::default();
        let mut updates = tools.output("t", "tick 2\n");
        updates.extend(tools.ended("t", "completed", Some("tick 1\ntick 2\n"), Map::new()));
        assert_eq!(shown(&updates), "tick 1\ntick 2\n");
        assert!(updates.iter().any(|update| update.get("_meta").is_some_and(|meta| meta["loomd/contradiction"]["at"] == 5)), "{updates:?}");
    }

    #[test]
    fn an_image_stays_beside_the_text_that_ends_a_tool_call() {
        let mut tools = Tools::default();
        let image = json!({ "type": "content", "content": { "type": "image", "data": "AA==", "mimeType": "image/png" } });
        let text = json!({ "type": "content", "content": { "type": "text", "text": "seen" } });
        let updates = tools.ended("t", "completed", Some("seen"), object(json!({ "content": [text, image] })));
        assert_eq!(json!(updates.last().expect("some")["content"]), json!([image, text]), "the text once, and nothing lost");
    }

    #[test]
    fn a_huge_output_comes_in_pieces_and_its_end_is_repeated_once() {
        let mut tools = Tools::default();
        let whole = "äöü 0123456789\n".repeat(100_000);
        let updates = tools.ended("t", "completed", Some(&whole), Map::new());
        assert_eq!(shown(&updates), whole);
        assert!(updates.iter().all(|update| json!(update).to_string().len() < 2 * PIECE));
        let last = updates.last().expect("some");
        let tail = last["content"][0]["content"]["text"].as_str().expect("a text");
        assert!(tail.len() <= PIECE && tail.len() > PIECE - 4 && whole.ends_with(tail));
    }
}
