//! What Codex' items are as tool calls: the words in which a client shows them.

use serde_json::{Map, Value, json};

use super::changes::{self, short};
use crate::provider::task::object;

/// What is said of an item when it begins: members of ACP's `ToolCall`. `None`: it is no tool call.
pub fn begun(item: &Value, cwd: &str) -> Option<Map<String, Value>> {
    let word = |name: &str| item[name].as_str();
    let mut call = object(match word("type")? {
        "commandExecution" => command(word("command").unwrap_or_default(), &item["commandActions"], word("cwd")),
        "fileChange" => Value::Object(changes::tool_call(&item["changes"], cwd)),
        "mcpToolCall" => {
            let title = format!("{}.{}", word("server").unwrap_or("mcp"), word("tool").unwrap_or("tool"));
            json!({ "title": title, "kind": "other", "rawInput": item["arguments"] })
        }
        "dynamicToolCall" => json!({ "title": word("tool").unwrap_or("Tool"), "kind": "other", "rawInput": item["arguments"] }),
        "collabAgentToolCall" => {
            let title = match word("tool").unwrap_or_default() {
                "spawnAgent" => "Start a sub-agent",
                "sendInput" => "Write to a sub-agent",
                "resumeAgent" => "Wake a sub-agent",
                "wait" => "Wait for sub-agents",
                "closeAgent" => "End a sub-agent",
                _ => "Sub-agent",
            };
            json!({ "title": title, "kind": "think", "rawInput": { "prompt": item["prompt"], "model": item["model"] } })
        }
        "subAgentActivity" => json!({ "title": format!("Sub-agent {}", word("agentPath").unwrap_or_default()).trim(), "kind": "think" }),
        "webSearch" => web_search(item),
        "imageView" => {
            let path = word("path").unwrap_or_default();
            json!({ "title": format!("View {}", short(path, cwd)), "kind": "read", "locations": [{ "path": path }] })
        }
        "imageGeneration" => json!({ "title": "Draw an image", "kind": "other", "rawInput": { "prompt": item["revisedPrompt"] } }),
        "sleep" => {
            json!({ "title": format!("Wait {} s", item["durationMs"].as_u64().unwrap_or_default().div_ceil(1000)), "kind": "other" })
        }
        _ => return None,
    });
    call.insert("status".to_owned(), json!("in_progress"));
    Some(call)
}

/// How an item ended.
pub struct Ended {
    pub status: &'static str,
    /// Its whole output, where it is told.
    pub output: Option<String>,
    pub fields: Map<String, Value>,
}

/// What is said of a tool call's item when it is over.
pub fn ended(item: &Value) -> Ended {
    let word = |name: &str| item[name].as_str();
    let failed = matches!(word("status"), Some("failed" | "declined")) || item["success"] == false;
    let status = if failed { "failed" } else { "completed" };
    let mut fields = Map::new();
    let output = match word("type").unwrap_or_default() {
        "commandExecution" => {
            if let Some(code) = item["exitCode"].as_i64() {
                fields.insert("rawOutput".to_owned(), json!({ "exitCode": code, "durationMs": item["durationMs"] }));
            }
            word("aggregatedOutput").map(str::to_owned)
        }
        "mcpToolCall" => match item["error"]["message"].as_str() {
            Some(error) => Some(error.to_owned()),
            None => told(&item["result"]["content"], &mut fields),
        },
        "dynamicToolCall" => told(&item["contentItems"], &mut fields),
        "imageGeneration" => {
            if let Some(path) = word("savedPath") {
                fields.insert("locations".to_owned(), json!([{ "path": path }]));
            }
            None
        }
        _ => None,
    };
    Ended { status, output, fields }
}

/// A command as a tool call: always one that executes. What Codex guesses a command to do must not make it look harmless.
pub fn command(command: &str, actions: &Value, cwd: Option<&str>) -> Value {
    let actions = actions.as_array().map(Vec::as_slice).unwrap_or_default();
    let script = unwrapped(command).unwrap_or_else(|| command.to_owned());
    let read = actions.iter().filter(|action| action["type"] == "read").filter_map(|action| action["path"].as_str());
    let locations: Vec<Value> = read.map(|path| json!({ "path": path })).collect();
    let mut call = json!({ "title": script, "kind": "execute", "rawInput": { "command": command, "cwd": cwd } });
    if !locations.is_empty() {
        call["locations"] = json!(locations);
    }
    call
}

fn web_search(item: &Value) -> Value {
    let (query, action) = (item["query"].as_str().unwrap_or_default(), &item["action"]);
    match (action["type"].as_str(), action["url"].as_str()) {
        (Some("openPage"), Some(url)) => json!({ "title": format!("Open {url}"), "kind": "fetch", "rawInput": { "url": url } }),
        (Some("findInPage"), Some(url)) => json!({ "title": format!("Search {url}"), "kind": "fetch", "rawInput": action }),
        _ => json!({ "title": format!("Search the web: {query}"), "kind": "fetch", "rawInput": { "query": query } }),
    }
}

/// The texts of a result; what is no text becomes the call's content.
fn told(blocks: &Value, fields: &mut Map<String, Value>) -> Option<String> {
    let blocks = blocks.as_array()?;
    let texts: Vec<&str> = blocks.iter().filter_map(|block| block["text"].as_str()).collect();
    let is_shown = |block: &&Value| block["type"] == "image" && block["data"].is_string() && block["mimeType"].is_string();
    let images: Vec<Value> = blocks.iter().filter(is_shown).map(|block| json!({ "type": "content", "content": block })).collect();
    if !images.is_empty() {
        fields.insert("content".to_owned(), json!(images));
    }
    (!texts.is_empty()).then(|| texts.join("\n"))
}

/// The script of `SHELL -lc SCRIPT`, as a person would type it.
fn unwrapped(command: &str) -> Option<String> {
    let (shell, rest) = command.split_once(' ')?;
    let name = shell.rsplit('/').next()?;
    let rest = ["-lc ", "-c "].iter().find_map(|flag| rest.strip_prefix(flag))?;
    if !matches!(name, "bash" | "zsh" | "sh" | "dash") {
        return None;
    }
    unquoted(rest)
}

/// One quoted word of a shell line; `None` if it is more than one.
fn unquoted(word: &str) -> Option<String> {
    let mut text = String::with_capacity(word.len());
    let mut letters = word.chars();
    let mut within: Option<char> = None;
    while let Some(letter) = letters.next() {
        match (within, letter) {
            (None, '\'' | '"') => within = Some(letter),
            (Some(quote), letter) if quote == letter => within = None,
            (None, '\\') => text.push(letters.next()?),
            (Some('"'), '\\') => match letters.next()? {
                escaped @ ('"' | '\\' | '$' | '`') => text.push(escaped),
                other => text.extend(['\\', other]),
            },
            (None, letter) if letter.is_whitespace() => return None,
            (_, letter) => text.push(letter),
        }
    }
    within.is_none().then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_titled_as_a_person_would_type_it() {
        for (command, script) in [
            ("/bin/bash -lc 'ls -l; echo \"a\"'", "ls -l; echo \"a\""),
            ("zsh -c \"it's \\\"so\\\"\"", "it's \"so\""),
            ("bash -lc 'it'\\''s'", "it's"),
            ("bash -lc ls", "ls"),
            ("bash -lc ls -l", "bash -lc ls -l"),
            ("bash -lc 'half", "bash -lc 'half"),
            ("python3 -c 'print(1)'", "python3 -c 'print(1)'"),
            ("", ""),
        ] {
            assert_eq!(super::command(command, &Value::Null, None)["title"], script, "{command}");
        }
    }

    #[test]
    fn a_command_never_looks_like_reading() {
        let actions = json!([{ "type": "read", "command": "cat a", "name": "a", "path": "/w/a" }]);
        let call = command("bash -lc 'cat a'", &actions, Some("/w"));
        assert_eq!((&call["kind"], &call["locations"]), (&json!("execute"), &json!([{ "path": "/w/a" }])));
    }

    #[test]
    fn results_are_texts_and_images() {
        let image = json!({ "type": "image", "data": "AAAA", "mimeType": "image/png" });
        let item = json!({ "type": "mcpToolCall", "status": "completed", "result": { "content": [{ "type": "text", "text": "a" }, image, { "type": "text", "text": "b" }] } });
        let over = ended(&item);
        assert_eq!((over.status, over.output.as_deref()), ("completed", Some("a\nb")));
        assert_eq!(over.fields["content"], json!([{ "type": "content", "content": image }]));
        let failed = ended(&json!({ "type": "mcpToolCall", "status": "failed", "error": { "message": "no" }, "result": null }));
        assert_eq!((failed.status, failed.output.as_deref()), ("failed", Some("no")));
        assert_eq!(ended(&json!({ "type": "dynamicToolCall", "status": "completed", "success": false })).status, "failed");
    }

    #[test]
    fn an_item_of_no_known_type_is_no_tool_call() {
        assert_eq!(begun(&json!({ "type": "dance", "id": "x" }), "/w"), None);
        assert_eq!(begun(&json!({ "id": "x" }), "/w"), None);
    }
}
