//! What is logged of a turn while it runs: texts, tool calls, sub-agents, prompts.

use serde_json::json;

use super::*;

#[test]
fn a_broken_message_is_abandoned_when_the_next_one_begins() {
    let mut run = TestRun::started(&task("p"));
    run.begin_message("a", "Half an ans");
    run.begin_message("b", "The answer");
    run.message("b", None, json!({ "type": "text", "text": "The answer." }));
    let chunks = run.updates("agent_message_chunk");
    assert_eq!(chunks[1]["_meta"]["loomd/abandoned"], true);
    assert_eq!(chunks[1]["messageId"], chunks[0]["messageId"]);
    assert_eq!(run.texts("agent_message_chunk"), ["Half an ans", "", "The answer", "."]);
}

#[test]
fn whole_blocks_match_their_streamed_blocks_in_order() {
    let mut run = TestRun::started(&task("p"));
    run.stream(json!({ "type": "message_start", "message": { "id": "m" } }));
    for (index, kind, text) in [(0, "thinking", "Hm"), (1, "text", "One"), (2, "text", "Two")] {
        run.stream(json!({ "type": "content_block_start", "index": index, "content_block": { "type": kind } }));
        let delta = json!({ "type": format!("{kind}_delta"), kind: text });
        run.stream(json!({ "type": "content_block_delta", "index": index, "delta": delta }));
    }
    run.message("m", None, json!({ "type": "thinking", "thinking": "Hm." }));
    run.message("m", None, json!({ "type": "text", "text": "One" }));
    run.message("m", None, json!({ "type": "text", "text": "Two!" }));
    assert_eq!(run.texts("agent_thought_chunk"), ["Hm", "."]);
    assert_eq!(run.texts("agent_message_chunk"), ["One", "Two", "!"]);
}

#[test]
fn a_contradiction_is_logged() {
    let mut run = TestRun::started(&task("p"));
    run.begin_message("m", "Hallo");
    run.message("m", None, json!({ "type": "text", "text": "Hello" }));
    assert_eq!(run.updates("agent_message_chunk")[1]["_meta"]["loomd/contradiction"]["at"], 1);
}

#[test]
fn the_results_text_is_logged_only_in_a_turn_without_text() {
    let mut run = TestRun::started(&task("p"));
    run.message("m", None, json!({ "type": "text", "text": "Done." }));
    run.result(json!({ "result": "Something else." }));
    assert_eq!(run.texts("agent_message_chunk"), ["Done."]);
    run.send("/cost", false);
    run.result(json!({ "result": "It cost nothing." }));
    assert_eq!(run.texts("agent_message_chunk"), ["Done.", "It cost nothing."]);
}

#[test]
fn edits_are_diffs_of_absolute_paths() {
    let mut run = TestRun::started(&task("p"));
    let call = |id: &str, name: &str, input: Value| json!({ "type": "tool_use", "id": id, "name": name, "input": input });
    run.message("m", None, call("e", "Edit", json!({ "file_path": "/work/src/a.rs", "old_string": "1", "new_string": "2" })));
    let edits = json!([{ "old_string": "1", "new_string": "2" }, { "old_string": "3", "new_string": "4" }]);
    run.message("m", None, call("m", "MultiEdit", json!({ "file_path": "./b.rs", "edits": edits })));
    run.message("m", None, call("w", "Write", json!({ "file_path": "c.rs", "content": "new" })));
    run.message("m", None, call("n", "NotebookEdit", json!({ "notebook_path": "d.ipynb", "new_source": "x" })));
    run.tool_result("w", json!("written"), json!({ "type": "update", "filePath": "/work/c.rs", "content": "new", "originalFile": "old" }));
    let calls = run.updates("tool_call");
    assert_eq!((&calls[0]["title"], &calls[0]["kind"]), (&json!("Edit src/a.rs"), &json!("edit")));
    assert_eq!(calls[0]["content"], json!([{ "type": "diff", "path": "/work/src/a.rs", "oldText": "1", "newText": "2" }]));
    assert_eq!(calls[1]["content"].as_array().expect("diffs").len(), 2);
    assert_eq!(calls[1]["locations"], json!([{ "path": "/work/b.rs" }]));
    assert_eq!((&calls[3]["locations"][0]["path"], calls[3].get("content")), (&json!("/work/d.ipynb"), None), "a cell is not the file");
    let ended = run.updates("tool_call_update").pop().expect("an end");
    assert_eq!(ended["content"], json!([{ "type": "diff", "path": "/work/c.rs", "oldText": "old", "newText": "new" }]));
}

#[test]
fn a_failed_edit_keeps_its_diff_and_adds_the_error() {
    let mut run = TestRun::started(&task("p"));
    let input = json!({ "file_path": "a", "old_string": "1", "new_string": "2" });
    run.message("m", None, json!({ "type": "tool_use", "id": "e", "name": "Edit", "input": input }));
    let block =
        json!({ "type": "tool_result", "tool_use_id": "e", "is_error": true, "content": "<tool_use_error>not found</tool_use_error>" });
    run.receive(&json!({ "type": "user", "message": { "content": [block] } }));
    let ended = run.updates("tool_call_update").pop().expect("an end");
    assert_eq!((&ended["status"], &ended["content"][0]["type"]), (&json!("failed"), &json!("diff")));
    assert_eq!(ended["content"][1]["content"]["text"], "not found");
}

#[test]
fn an_image_in_a_result_is_content_beside_its_text() {
    let mut run = TestRun::started(&task("p"));
    run.message("m", None, json!({ "type": "tool_use", "id": "r", "name": "Read", "input": { "file_path": "a.png", "offset": 7 } }));
    let image = json!({ "type": "image", "source": { "type": "base64", "media_type": "image/webp", "data": "AA==" } });
    run.tool_result("r", json!([{ "type": "text", "text": "seen" }, image]), Value::Null);
    assert_eq!(run.updates("tool_call")[0]["locations"], json!([{ "path": "/work/a.png", "line": 7 }]));
    let ended = run.updates("tool_call_update").pop().expect("an end");
    assert_eq!(ended["content"][0]["content"], json!({ "type": "image", "data": "AA==", "mimeType": "image/webp" }));
    assert_eq!(ended["content"][1]["content"]["text"], "seen");
}

#[test]
fn a_todo_list_is_a_plan_and_no_tool_call() {
    let mut run = TestRun::started(&task("p"));
    let todos = json!([{ "content": "look", "status": "completed" }, { "content": "leap", "status": "odd" }, { "no": "content" }]);
    run.message("m", None, json!({ "type": "tool_use", "id": "t", "name": "TodoWrite", "input": { "todos": todos } }));
    run.tool_result("t", json!("Todos have been modified"), Value::Null);
    let entries = json!([
        { "content": "look", "priority": "medium", "status": "completed" },
        { "content": "leap", "priority": "medium", "status": "pending" },
    ]);
    assert_eq!(run.updates("plan")[0]["entries"], entries);
    assert!(run.updates("tool_call").is_empty() && run.updates("tool_call_update").is_empty());
}

#[test]
fn updates_of_a_sub_agent_name_the_call_that_started_it() {
    let mut run = TestRun::started(&task("p"));
    run.message("m", None, json!({ "type": "tool_use", "id": "t", "name": "Task", "input": { "description": "Look around" } }));
    run.message("n", Some("t"), json!({ "type": "text", "text": "below" }));
    run.message("n", Some("t"), json!({ "type": "tool_use", "id": "u", "name": "Bash", "input": { "command": "ls" } }));
    run.request_permission("q", "u", json!({ "tool_name": "Bash", "input": { "command": "ls" } }));
    run.message("o", None, json!({ "type": "text", "text": "above" }));
    let parent = |entry: &Value| entry["_meta"]["loomd/parentToolCallId"].clone();
    assert_eq!(run.updates("agent_message_chunk").into_iter().map(parent).collect::<Vec<_>>(), [json!("t"), Value::Null]);
    assert_eq!(run.updates("tool_call").into_iter().map(parent).collect::<Vec<_>>(), [Value::Null, json!("t")]);
    assert_eq!(run.updates("tool_call_update").into_iter().map(parent).collect::<Vec<_>>(), [json!("t")], "the question's as well");
    assert_eq!(run.updates("tool_call")[0]["title"], "Look around");
}

#[test]
fn user_lines_of_the_cli_itself_are_no_prompt() {
    let mut run = TestRun::started(&task("p"));
    run.message("m", None, json!({ "type": "text", "text": "x" }));
    let user =
        |content: Value, replay: bool| json!({ "type": "user", "message": { "role": "user", "content": content }, "isReplay": replay });
    run.receive(&user(json!([{ "type": "text", "text": "[Request interrupted by user]" }]), false));
    run.receive(&user(json!("<local-command-stdout>Set model</local-command-stdout>"), true));
    run.receive(&user(json!([{ "type": "text", "text": "p" }]), true));
    assert_eq!(run.texts("user_message_chunk"), ["p"]);
}

#[test]
fn a_steered_prompt_is_logged_when_its_echo_comes() {
    let mut run = TestRun::started(&task("p"));
    run.message("m", None, json!({ "type": "text", "text": "One." }));
    run.send("more", true);
    assert_eq!(run.texts("user_message_chunk"), ["p"]);
    let echo = json!({ "type": "user", "isReplay": true, "uuid": run.last_written()["uuid"], "message": { "content": "p and more" } });
    run.receive(&echo);
    run.receive(&echo);
    assert_eq!(run.texts("user_message_chunk"), ["p", "more"]);
    run.result(json!({}));
    assert_eq!(run.states(), [("idle".to_owned(), 1)], "nothing is left for another turn");
}

#[test]
fn a_late_prompt_is_the_next_turn_even_if_the_run_would_end() {
    let mut run = TestRun::started(&Task { interactive: false, ..task("p") });
    run.message("m", None, json!({ "type": "text", "text": "One." }));
    run.send("more", true);
    let echo = json!({ "type": "user", "isReplay": true, "uuid": run.last_written()["uuid"], "message": { "content": "more" } });
    run.result(json!({}));
    assert_eq!(run.states(), [("idle".to_owned(), 1), ("running".to_owned(), 2)]);
    assert!(!run.finished);
    let late_turn_timer = *run.timers.last().expect("a timer");
    run.receive(&echo);
    run.fire_timer(late_turn_timer);
    assert_eq!(run.texts("user_message_chunk"), ["p", "more"]);
    run.message("n", None, json!({ "type": "text", "text": "Two." }));
    run.result(json!({}));
    assert!(run.finished);
    assert_eq!(run.end(Some(0)).turn, Some(2));
}

#[test]
fn a_prompt_that_claude_dropped_is_sent_again() {
    let mut run = TestRun::started(&task("p"));
    run.message("m", None, json!({ "type": "text", "text": "One." }));
    run.send("more", true);
    run.result(json!({}));
    let late_turn_timer = *run.timers.last().expect("a timer");
    let written = run.written.len();
    run.fire_timer(late_turn_timer);
    assert_eq!(run.written.len(), written + 1);
    assert_eq!(run.last_written()["message"]["content"][0]["text"], "more");
    run.message("n", None, json!({ "type": "text", "text": "Two." }));
    assert_eq!(run.texts("user_message_chunk"), ["p", "more"], "and logged once");
}

#[test]
fn a_turn_that_claude_starts_itself_is_a_turn() {
    let mut run = TestRun::started(&task("p"));
    run.message("m", None, json!({ "type": "text", "text": "One." }));
    run.result(json!({}));
    run.receive(&json!({ "type": "system", "subtype": "status", "status": null, "session_id": "s" }));
    assert_eq!(run.states(), [("idle".to_owned(), 1)], "a line of the CLI itself starts no turn");
    run.begin_message("n", "The build is done.");
    run.result(json!({}));
    assert_eq!(run.states(), [("idle".to_owned(), 1), ("running".to_owned(), 2), ("idle".to_owned(), 2)]);
}

#[test]
fn prompt_content_is_converted_for_claude() {
    let mut task = task("p");
    let blocks = json!([
        { "type": "image", "data": "AA==", "mimeType": "image/png" },
        { "type": "resource_link", "uri": "file:///work/a.rs", "name": "a.rs" },
        { "type": "resource", "resource": { "uri": "file:///b", "text": "inner" } },
        { "type": "audio", "data": "AA==", "mimeType": "audio/wav" },
    ]);
    task.prompt = Some(blocks.as_array().expect("blocks").iter().cloned().map(crate::model::task::object).collect());
    let run = TestRun::started(&task);
    let content = &run.last_written()["message"]["content"];
    assert_eq!(content[0]["source"], json!({ "type": "base64", "media_type": "image/png", "data": "AA==" }));
    assert_eq!(content[1]["text"], "@/work/a.rs");
    assert!(content[2]["text"].as_str().is_some_and(|text| text.contains("inner")));
    assert_eq!(content.as_array().expect("blocks").len(), 3);
    assert_eq!(run.updates("notice").len(), 1, "a notice names what was left out");
}

#[test]
fn what_a_line_says_beside_its_message_is_about_a_single_result() {
    let mut run = TestRun::started(&task("p"));
    for id in ["a", "b"] {
        run.message("m", None, json!({ "type": "tool_use", "id": id, "name": "Bash", "input": { "command": id } }));
    }
    let result = |id: &str, text: &str| json!({ "type": "tool_result", "tool_use_id": id, "content": text });
    let message = json!({ "role": "user", "content": [result("a", ""), result("b", "important")] });
    run.receive(&json!({ "type": "user", "message": message, "session_id": "s", "tool_use_result": { "stdout": "", "stderr": "" } }));
    let shown: Vec<&Value> = run.updates("tool_call_update").iter().map(|update| &update["_meta"]["loomd/output"]["text"]).collect();
    assert!(shown.contains(&&json!("important")), "{shown:?}");
}

#[test]
fn a_finished_edit_has_both_whole_texts() {
    let applied =
        |detail: Value, input: Value| super::super::tools::applied_diff(&detail, &input, "/w").map(|diff| diff["newText"].clone());
    let original = "import os\nx = 1\ny = 1";
    let hunk = json!({ "oldStart": 2, "oldLines": 2, "newStart": 2, "newLines": 2, "lines": ["-x = 1", "+x = 2", " y = 1"] });
    assert_eq!(
        applied(json!({ "filePath": "/w/a", "originalFile": original, "structuredPatch": [hunk] }), json!({})),
        Some(json!("import os\nx = 2\ny = 1"))
    );
    let all = json!({ "file_path": "/w/a", "old_string": "1", "new_string": "3", "replace_all": true });
    assert_eq!(applied(json!({ "originalFile": original, "structuredPatch": [] }), all), Some(json!("import os\nx = 3\ny = 3")));
    let edits =
        json!({ "file_path": "/w/a", "edits": [{ "old_string": "x", "new_string": "z" }, { "old_string": "os", "new_string": "sys" }] });
    assert_eq!(applied(json!({ "originalFile": original }), edits), Some(json!("import sys\nz = 1\ny = 1")));
    let misfit = json!({ "oldStart": 1, "oldLines": 1, "newStart": 1, "newLines": 1, "lines": ["-something else", "+x"] });
    assert_eq!(applied(json!({ "filePath": "/w/a", "originalFile": original, "structuredPatch": [misfit] }), json!({})), None);
}
