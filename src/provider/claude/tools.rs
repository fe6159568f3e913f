//! Claude's tools in ACP's words.

use serde_json::{Map, Value, json};

use crate::provider::task::object;

/// The tool whose calls are the plan.
pub const PLANNING: &str = "TodoWrite";

/// What a call is, from the tool's name and input: `title`, `kind`, `locations`, `rawInput`, and the diffs that it asks for.
pub fn describe(name: &str, input: &Value, cwd: &str) -> Map<String, Value> {
    let word = |field: &str| input[field].as_str().filter(|word| !word.is_empty());
    let path = word("file_path").or(word("notebook_path")).or(word("path"));
    let shown = path.map_or_else(|| "a file".to_owned(), |path| short(path, cwd));
    let title = match name {
        "Bash" | "PowerShell" | "Monitor" => word("command").or(word("description")).unwrap_or(name).to_owned(),
        "Read" | "NotebookRead" => format!("Read {shown}"),
        "Edit" | "MultiEdit" | "NotebookEdit" => format!("Edit {shown}"),
        "Write" => format!("Write {shown}"),
        "LS" => format!("List {shown}"),
        "Glob" => format!("Find {}", word("pattern").unwrap_or("files")),
        "Grep" => format!("Search for {}", word("pattern").unwrap_or("text")),
        "WebFetch" => format!("Fetch {}", word("url").unwrap_or("a page")),
        "WebSearch" => format!("Search the web for {}", word("query").unwrap_or("something")),
        "Task" | "Agent" => word("description").unwrap_or("Start a sub-agent").to_owned(),
        "Skill" => format!("Use the skill {}", word("skill").or(word("command")).unwrap_or("of an unknown name")),
        "ExitPlanMode" => "Leave plan mode".to_owned(),
        "EnterPlanMode" => "Enter plan mode".to_owned(),
        // A tool of an MCP server: mcp__server__tool.
        _ => name.strip_prefix("mcp__").map_or_else(|| name.to_owned(), |rest| rest.replacen("__", ": ", 1)),
    };
    let mut fields = object(json!({ "title": title, "kind": kind(name) }));
    if let Some(path) = path {
        let line = input["offset"].as_u64().filter(|_| name == "Read");
        let path = absolute(path, cwd);
        let location = line.map_or_else(|| json!({ "path": path }), |line| json!({ "path": path, "line": line }));
        fields.insert("locations".to_owned(), json!([location]));
    }
    let content = asked_content(name, input, path.map(|path| absolute(path, cwd)));
    if !content.is_empty() {
        fields.insert("content".to_owned(), Value::Array(content));
    }
    if !input.is_null() {
        fields.insert("rawInput".to_owned(), input.clone());
    }
    fields
}

/// An ACP `ToolKind`.
pub fn kind(name: &str) -> &'static str {
    match name {
        "Bash" | "PowerShell" | "BashOutput" | "KillShell" | "KillBash" | "Monitor" | "TaskStop" => "execute",
        "Read" | "NotebookRead" | "LS" | "ListMcpResources" | "ReadMcpResource" => "read",
        "Edit" | "MultiEdit" | "Write" | "NotebookEdit" => "edit",
        "Glob" | "Grep" | "ToolSearch" => "search",
        "WebFetch" | "WebSearch" => "fetch",
        "EnterPlanMode" | "ExitPlanMode" => "switch_mode",
        _ => "other",
    }
}

/// What a call shows before it is done.
fn asked_content(name: &str, input: &Value, path: Option<String>) -> Vec<Value> {
    let text = |field: &str| input[field].as_str();
    match (name, path) {
        ("Edit", Some(path)) => text("new_string").map(|new| diff(&path, text("old_string"), new)).into_iter().collect(),
        ("MultiEdit", Some(path)) => {
            let edits = input["edits"].as_array().map(Vec::as_slice).unwrap_or_default();
            let edit = |edit: &Value| edit["new_string"].as_str().map(|new| diff(&path, edit["old_string"].as_str(), new));
            edits.iter().filter_map(edit).collect()
        }
        ("Write", Some(path)) => text("content").map(|new| diff(&path, None, new)).into_iter().collect(),
        ("NotebookEdit", Some(path)) => text("new_source").map(|new| diff(&path, text("old_source"), new)).into_iter().collect(),
        ("ExitPlanMode", _) => {
            text("plan").map(|plan| json!({ "type": "content", "content": { "type": "text", "text": plan } })).into_iter().collect()
        }
        _ => Vec::new(),
    }
}

/// The diff that a finished call really made, where its result tells both texts of a file that was there before.
pub fn made_diff(detail: &Value, cwd: &str) -> Option<Value> {
    let (path, old, new) = (detail["filePath"].as_str()?, detail["originalFile"].as_str()?, detail["content"].as_str()?);
    Some(diff(&absolute(path, cwd), Some(old), new))
}

fn diff(path: &str, old: Option<&str>, new: &str) -> Value {
    json!({ "type": "diff", "path": path, "oldText": old, "newText": new })
}

/// A result's text, and its blocks that are no text, as ACP tool call content.
pub fn result_content(content: &Value) -> (String, Vec<Value>) {
    let blocks = match content {
        Value::String(text) => return (unwrapped(text).to_owned(), Vec::new()),
        Value::Array(blocks) => blocks.as_slice(),
        _ => return (String::new(), Vec::new()),
    };
    let texts: Vec<&str> = blocks.iter().filter_map(|block| block["text"].as_str()).map(unwrapped).collect();
    let image = |block: &Value| {
        let source = &block["source"];
        let data = source["data"].as_str()?;
        let media_type = source["media_type"].as_str().unwrap_or("image/png");
        let is_image = block["type"] == "image";
        is_image.then(|| json!({ "type": "content", "content": { "type": "image", "data": data, "mimeType": media_type } }))
    };
    (texts.join("\n"), blocks.iter().filter_map(image).collect())
}

/// Whether a result's text is no output, but words for the model in the place of one: of a command that printed nothing, or one that was stopped.
pub fn says_nothing(detail: &Value) -> bool {
    detail == "User rejected tool use" || (detail["stdout"] == "" && detail["stderr"] == "" && detail["isImage"] != true)
}

/// An error without the tag that is meant for the model.
fn unwrapped(text: &str) -> &str {
    text.strip_prefix("<tool_use_error>").and_then(|text| text.strip_suffix("</tool_use_error>")).unwrap_or(text)
}

/// A list of things to do as an ACP plan.
pub fn plan(input: &Value) -> Option<Map<String, Value>> {
    let entry = |todo: &Value| {
        let status = todo["status"].as_str().filter(|status| matches!(*status, "in_progress" | "completed")).unwrap_or("pending");
        let priority = todo["priority"].as_str().filter(|priority| matches!(*priority, "high" | "low")).unwrap_or("medium");
        Some(json!({ "content": todo["content"].as_str()?, "priority": priority, "status": status }))
    };
    let entries: Vec<Value> = input["todos"].as_array()?.iter().filter_map(entry).collect();
    Some(object(json!({ "sessionUpdate": "plan", "entries": entries })))
}

/// ACP's paths are absolute; Claude gives them as the model wrote them.
fn absolute(path: &str, cwd: &str) -> String {
    if path.starts_with(['/', '\\']) || path.get(1..3).is_some_and(|drive| drive == ":\\" || drive == ":/") {
        path.to_owned()
    } else {
        format!("{}/{}", cwd.trim_end_matches('/'), path.trim_start_matches("./"))
    }
}

/// A path as a person in this directory would say it.
fn short(path: &str, cwd: &str) -> String {
    let inside = path.strip_prefix(cwd).and_then(|rest| rest.strip_prefix('/'));
    inside.filter(|rest| !rest.is_empty()).unwrap_or(path).to_owned()
}
