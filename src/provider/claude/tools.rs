//! Converts Claude's tool calls and results to ACP.

use serde_json::{Map, Value, json};

use crate::model::task::object;

/// The tool whose calls are the plan.
pub(crate) const PLAN_TOOL: &str = "TodoWrite";

/// Describes a tool call from the tool's name and input: `title`, `kind`, `locations`, `rawInput`, and the requested
/// diffs.
pub(crate) fn describe(name: &str, input: &Value, cwd: &str) -> Map<String, Value> {
    let text_member = |field: &str| input[field].as_str().filter(|text| !text.is_empty());
    let path = text_member("file_path").or(text_member("notebook_path")).or(text_member("path"));
    let display_path = path.map_or_else(|| "a file".to_owned(), |path| relative(path, cwd));
    let title = match name {
        "Bash" | "PowerShell" | "Monitor" => text_member("command").or(text_member("description")).unwrap_or(name).to_owned(),
        "Read" | "NotebookRead" => format!("Read {display_path}"),
        "Edit" | "MultiEdit" | "NotebookEdit" => format!("Edit {display_path}"),
        "Write" => format!("Write {display_path}"),
        "LS" => format!("List {display_path}"),
        "Glob" => format!("Find {}", text_member("pattern").unwrap_or("files")),
        "Grep" => format!("Search for {}", text_member("pattern").unwrap_or("text")),
        "WebFetch" => format!("Fetch {}", text_member("url").unwrap_or("a page")),
        "WebSearch" => format!("Search the web for {}", text_member("query").unwrap_or("something")),
        "Task" | "Agent" => text_member("description").unwrap_or("Start a sub-agent").to_owned(),
        "Skill" => format!("Use the skill {}", text_member("skill").or(text_member("command")).unwrap_or("without a name")),
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
    let content = requested_content(name, input, path.map(|path| absolute(path, cwd)));
    if !content.is_empty() {
        fields.insert("content".to_owned(), Value::Array(content));
    }
    if !input.is_null() {
        fields.insert("rawInput".to_owned(), input.clone());
    }
    fields
}

/// The ACP `ToolKind` of a tool.
pub(crate) fn kind(name: &str) -> &'static str {
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

/// The content of a tool call before it has a result.
fn requested_content(name: &str, input: &Value, path: Option<String>) -> Vec<Value> {
    let text = |field: &str| input[field].as_str();
    match (name, path) {
        ("Edit", Some(path)) => text("new_string").map(|new| diff(&path, text("old_string"), new)).into_iter().collect(),
        ("MultiEdit", Some(path)) => {
            let edits = input["edits"].as_array().map(Vec::as_slice).unwrap_or_default();
            let edit = |edit: &Value| edit["new_string"].as_str().map(|new| diff(&path, edit["old_string"].as_str(), new));
            edits.iter().filter_map(edit).collect()
        }
        ("Write", Some(path)) => text("content").map(|new| diff(&path, None, new)).into_iter().collect(),
        ("ExitPlanMode", _) => {
            text("plan").map(|plan| json!({ "type": "content", "content": { "type": "text", "text": plan } })).into_iter().collect()
        }
        _ => Vec::new(),
    }
}

/// The diff that a finished call applied, if its result contains the text of a file that existed before. `input` is
/// that of the call.
pub(crate) fn applied_diff(detail: &Value, input: &Value, cwd: &str) -> Option<Value> {
    let text = |names: &[&str]| names.iter().find_map(|name| detail[*name].as_str());
    let path = text(&["filePath", "file_path", "notebook_path"]).or_else(|| input["file_path"].as_str())?;
    let old = text(&["originalFile", "original_file"])?;
    let hunks = detail["structuredPatch"].as_array().filter(|hunks| !hunks.is_empty());
    let new = match (text(&["content", "updated_file"]), hunks) {
        (Some(new), _) => new.to_owned(),
        (None, Some(hunks)) => patched(old, hunks)?,
        (None, None) => replaced(old, detail, input)?,
    };
    Some(diff(&absolute(path, cwd), Some(old), &new))
}

/// A text after hunks of a patch. `None` if they do not fit.
fn patched(old: &str, hunks: &[Value]) -> Option<String> {
    let lines: Vec<&str> = old.split_inclusive('\n').collect();
    let (mut new, mut at, mut ends_added) = (String::new(), 0, false);
    for hunk in hunks {
        let start = usize::try_from(hunk["oldStart"].as_u64()?).ok()?;
        let start = if hunk["oldLines"] == 0 { start } else { start.checked_sub(1)? };
        lines.get(at..start)?.iter().for_each(|line| new.push_str(line));
        at = start;
        for line in hunk["lines"].as_array()?.iter().filter_map(Value::as_str) {
            let (sign, rest) = line.split_at_checked(1)?;
            ends_added = sign == "+";
            match sign {
                "+" => new.extend([rest, "\n"]),
                " " | "-" => {
                    let known = lines.get(at).filter(|known| known.trim_end_matches(['\r', '\n']) == rest.trim_end_matches('\r'))?;
                    if sign == " " {
                        new.push_str(known);
                    }
                    at += 1;
                }
                _ => {}
            }
        }
    }
    let rest = lines.get(at..)?;
    rest.iter().for_each(|line| new.push_str(line));
    if rest.is_empty() && ends_added && !old.is_empty() && !old.ends_with('\n') {
        new.pop();
    }
    Some(new)
}

/// A text after the replacements of an edit.
fn replaced(old: &str, detail: &Value, input: &Value) -> Option<String> {
    let single = [json!({ "old_string": detail["oldString"], "new_string": detail["newString"], "replace_all": detail["replaceAll"] })];
    let edits = match (input["edits"].as_array(), detail["oldString"].is_string()) {
        (Some(edits), _) => edits.as_slice(),
        (None, true) => &single,
        (None, false) => std::slice::from_ref(input),
    };
    edits.iter().try_fold(old.to_owned(), |text, edit| {
        let (from, to) = (edit["old_string"].as_str().filter(|from| !from.is_empty())?, edit["new_string"].as_str()?);
        text.contains(from).then(|| if edit["replace_all"] == true { text.replace(from, to) } else { text.replacen(from, to, 1) })
    })
}

fn diff(path: &str, old: Option<&str>, new: &str) -> Value {
    json!({ "type": "diff", "path": path, "oldText": old, "newText": new })
}

/// The text of a result, and its other blocks as ACP tool call content.
pub(crate) fn result_content(content: &Value) -> (String, Vec<Value>) {
    let blocks = match content {
        Value::String(text) => return (without_error_tag(text).to_owned(), Vec::new()),
        Value::Array(blocks) => blocks.as_slice(),
        _ => return (String::new(), Vec::new()),
    };
    let texts: Vec<&str> = blocks.iter().filter_map(|block| block["text"].as_str()).map(without_error_tag).collect();
    let image = |block: &Value| {
        let source = &block["source"];
        let data = source["data"].as_str()?;
        let media_type = source["media_type"].as_str().unwrap_or("image/png");
        let is_image = block["type"] == "image";
        is_image.then(|| json!({ "type": "content", "content": { "type": "image", "data": data, "mimeType": media_type } }))
    };
    (texts.join("\n"), blocks.iter().filter_map(image).collect())
}

/// Whether a result has no output: then its text only tells the model that a command printed nothing or was stopped.
pub(crate) fn has_no_output(detail: &Value) -> bool {
    detail == "User rejected tool use" || (detail["stdout"] == "" && detail["stderr"] == "" && detail["isImage"] != true)
}

/// An error message without the tag that is meant for the model.
fn without_error_tag(text: &str) -> &str {
    text.strip_prefix("<tool_use_error>").and_then(|text| text.strip_suffix("</tool_use_error>")).unwrap_or(text)
}

/// The ACP plan of a `TodoWrite` call.
pub(crate) fn plan(input: &Value) -> Option<Map<String, Value>> {
    let entry = |todo: &Value| {
        let status = todo["status"].as_str().filter(|status| matches!(*status, "in_progress" | "completed")).unwrap_or("pending");
        let priority = todo["priority"].as_str().filter(|priority| matches!(*priority, "high" | "low")).unwrap_or("medium");
        Some(json!({ "content": todo["content"].as_str()?, "priority": priority, "status": status }))
    };
    let entries: Vec<Value> = input["todos"].as_array()?.iter().filter_map(entry).collect();
    Some(object(json!({ "sessionUpdate": "plan", "entries": entries })))
}

/// An absolute path, as ACP requires. Claude passes paths on as the model wrote them.
fn absolute(path: &str, cwd: &str) -> String {
    if path.starts_with(['/', '\\']) || path.get(1..3).is_some_and(|drive| drive == ":\\" || drive == ":/") {
        path.to_owned()
    } else {
        format!("{}/{}", cwd.trim_end_matches('/'), path.trim_start_matches("./"))
    }
}

/// A path relative to the working directory, if it is inside.
fn relative(path: &str, cwd: &str) -> String {
    let inside = path.strip_prefix(cwd).and_then(|rest| rest.strip_prefix('/'));
    inside.filter(|rest| !rest.is_empty()).unwrap_or(path).to_owned()
}
