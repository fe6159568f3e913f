//! Items of Codex as tool calls: title, kind, input and output in the form of the Agent Client Protocol (ACP).

use serde_json::{Map, Value, json};

use super::changes::{self, short_path};
use crate::{
    model::task::object,
    provider::{error_kind, ids::status_of},
};

/// The members of ACP's `ToolCall` for an item that begins. `None` if the item is no tool call.
pub(crate) fn tool_call(item: &Value, cwd: &str) -> Option<Map<String, Value>> {
    let text_member = |name: &str| item[name].as_str();
    let mut call = object(match text_member("type")? {
        "commandExecution" => command(text_member("command").unwrap_or_default(), &item["commandActions"], text_member("cwd")),
        "fileChange" => Value::Object(changes::tool_call(&item["changes"], cwd)),
        "mcpToolCall" => {
            let title = format!("{}.{}", text_member("server").unwrap_or("mcp"), text_member("tool").unwrap_or("tool"));
            json!({ "title": title, "kind": "other", "rawInput": item["arguments"] })
        }
        "dynamicToolCall" => json!({ "title": text_member("tool").unwrap_or("Tool"), "kind": "other", "rawInput": item["arguments"] }),
        "collabAgentToolCall" => {
            let title = match text_member("tool").unwrap_or_default() {
                "spawnAgent" => "Start a sub-agent",
                "sendInput" => "Write to a sub-agent",
                "resumeAgent" => "Wake a sub-agent",
                "wait" => "Wait for sub-agents",
                "closeAgent" => "End a sub-agent",
                _ => "Sub-agent",
            };
            json!({ "title": title, "kind": "think", "rawInput": { "prompt": item["prompt"], "model": item["model"] } })
        }
        "subAgentActivity" => {
            json!({ "title": format!("Sub-agent {}", text_member("agentPath").unwrap_or_default()).trim(), "kind": "think" })
        }
        "webSearch" => web_search(item),
        "imageView" => {
            let path = text_member("path").unwrap_or_default();
            json!({ "title": format!("View {}", short_path(path, cwd)), "kind": "read", "locations": [{ "path": path }] })
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

/// The end of a tool call.
pub(crate) struct EndedItem {
    pub(crate) status: &'static str,
    /// The whole output, if the item contains it.
    pub(crate) output: Option<String>,
    pub(crate) fields: Map<String, Value>,
}

/// The end of the tool call that this item is.
pub(crate) fn end_of_call(item: &Value) -> EndedItem {
    let text_member = |name: &str| item[name].as_str();
    let result = &item["result"];
    let failed = item["success"] == false
        || result["isError"] == true
        || !item["error"].is_null()
        || item["exitCode"].as_i64().is_some_and(|code| code != 0)
        // A word that is not known is no success.
        || text_member("status").is_some_and(|status| status_of(status) != Some("completed"));
    let status = if failed { "failed" } else { "completed" };
    let mut fields = Map::new();
    let output = match text_member("type").unwrap_or_default() {
        "commandExecution" => {
            if let Some(code) = item["exitCode"].as_i64() {
                fields.insert("rawOutput".to_owned(), json!({ "exitCode": code, "durationMs": item["durationMs"] }));
            }
            text_member("aggregatedOutput").map(str::to_owned)
        }
        "mcpToolCall" => error_kind::words(&item["error"]).or_else(|| take_mcp_result(result, &mut fields)),
        "dynamicToolCall" => take_result_text(&item["contentItems"], &mut fields),
        "imageGeneration" => {
            if let Some(path) = text_member("savedPath") {
                fields.insert("locations".to_owned(), json!([{ "path": path }]));
            }
            None
        }
        _ => None,
    };
    EndedItem { status, output, fields }
}

/// A command as a tool call. Its kind is always `execute`: what Codex infers about a command must not make it look
/// harmless.
pub(crate) fn command(command: &str, actions: &Value, cwd: Option<&str>) -> Value {
    let actions = actions.as_array().map(Vec::as_slice).unwrap_or_default();
    let script = shell_script(command).unwrap_or_else(|| command.to_owned());
    let read_actions = actions.iter().filter(|action| action["type"] == "read").filter_map(|action| action["path"].as_str());
    let locations: Vec<Value> = read_actions.map(|path| json!({ "path": path })).collect();
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

/// The text of the result of an MCP server's tool, or else its structured content.
pub(crate) fn take_mcp_result(result: &Value, fields: &mut Map<String, Value>) -> Option<String> {
    let structured = ["structuredContent", "structured_content"].iter().find_map(|name| result.get(*name).filter(|value| !value.is_null()));
    let structured = structured.and_then(|value| serde_json::to_string_pretty(value).ok());
    take_result_text(&result["content"], fields).or(structured)
}

/// The text of a result. Its images become the content of the call.
fn take_result_text(blocks: &Value, fields: &mut Map<String, Value>) -> Option<String> {
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
fn shell_script(command: &str) -> Option<String> {
    let (shell, rest) = command.split_once(' ')?;
    let name = shell.rsplit('/').next()?;
    let rest = ["-lc ", "-c "].iter().find_map(|flag| rest.strip_prefix(flag))?;
    if !matches!(name, "bash" | "zsh" | "sh" | "dash") {
        return None;
    }
    unquote(rest)
}

/// The text of one quoted word of a shell command; `None` if there is more than one word.
fn unquote(text_member: &str) -> Option<String> {
    let mut text = String::with_capacity(text_member.len());
    let mut chars = text_member.chars();
    let mut open_quote: Option<char> = None;
    while let Some(letter) = chars.next() {
        match (open_quote, letter) {
            (None, '\'' | '"') => open_quote = Some(letter),
            (Some(quote), letter) if quote == letter => open_quote = None,
            (None, '\\') => text.push(chars.next()?),
            (Some('"'), '\\') => match chars.next()? {
                escaped @ ('"' | '\\' | '$' | '`') => text.push(escaped),
                other => text.extend(['\\', other]),
            },
            (None, letter) if letter.is_whitespace() => return None,
            (_, letter) => text.push(letter),
        }
    }
    open_quote.is_none().then_some(text)
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
        let end = end_of_call(&item);
        assert_eq!((end.status, end.output.as_deref()), ("completed", Some("a\nb")));
        assert_eq!(end.fields["content"], json!([{ "type": "content", "content": image }]));
        let failed = end_of_call(&json!({ "type": "mcpToolCall", "status": "failed", "error": { "message": "no" }, "result": null }));
        assert_eq!((failed.status, failed.output.as_deref()), ("failed", Some("no")));
        assert_eq!(end_of_call(&json!({ "type": "dynamicToolCall", "status": "completed", "success": false })).status, "failed");
    }

    #[test]
    fn an_item_of_no_known_type_is_no_tool_call() {
        assert_eq!(tool_call(&json!({ "type": "dance", "id": "x" }), "/w"), None);
        assert_eq!(tool_call(&json!({ "id": "x" }), "/w"), None);
    }
}
