//! A prompt's content blocks as Codex takes them.

use serde_json::{Value, json};

use crate::provider::task::{Blocks, text_of};

/// The `input` of a turn. What Codex has no form for is named by its text or address.
pub fn input(prompt: &Blocks) -> Value {
    let mut input: Vec<Value> = Vec::new();
    for block in prompt {
        let word = |name: &str| block.get(name).and_then(Value::as_str);
        let image = match (word("type"), word("data"), word("uri")) {
            (Some("image"), Some(data), _) if !data.is_empty() => {
                Some(json!({ "type": "image", "url": format!("data:{};base64,{data}", word("mimeType").unwrap_or("image/png")) }))
            }
            (Some("image"), _, Some(uri)) => Some(match uri.strip_prefix("file://") {
                Some(path) => json!({ "type": "localImage", "path": path }),
                None => json!({ "type": "image", "url": uri }),
            }),
            _ => None,
        };
        let text = || text_of(&vec![block.clone()]);
        match image {
            Some(image) => input.push(image),
            None => match text() {
                text if text.is_empty() => {}
                text => input.push(said(&text)),
            },
        }
    }
    if input.is_empty() {
        input.push(said(""));
    }
    Value::Array(input)
}

/// A text as input.
pub fn said(text: &str) -> Value {
    json!({ "type": "text", "text": text, "text_elements": [] })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::task::object;

    #[test]
    fn every_block_has_its_form() {
        let prompt: Blocks = [
            json!({ "type": "text", "text": "look" }),
            json!({ "type": "image", "data": "AAAA", "mimeType": "image/jpeg" }),
            json!({ "type": "image", "data": "", "mimeType": "image/png", "uri": "file:///a.png" }),
            json!({ "type": "resource_link", "name": "b", "uri": "file:///b.rs" }),
            json!({ "type": "resource", "resource": { "uri": "file:///c", "text": "the text" } }),
            json!({ "type": "audio", "data": "AAAA", "mimeType": "audio/wav" }),
        ]
        .map(object)
        .into();
        let expected = json!([
            said("look"),
            { "type": "image", "url": "data:image/jpeg;base64,AAAA" },
            { "type": "localImage", "path": "/a.png" },
            said("file:///b.rs"),
            said("the text"),
        ]);
        assert_eq!(input(&prompt), expected);
        assert_eq!(input(&Vec::new()), json!([said("")]), "a turn has an input");
    }
}
