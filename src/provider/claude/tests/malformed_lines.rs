//! Whatever a program writes, nothing panics, and lines that are understood keep their meaning.

use serde_json::json;

use super::*;

#[test]
fn lines_that_are_no_messages_are_ignored() {
    let mut run = TestRun::started(&task("p"));
    run.begin_message("m", "One");
    for noise in
        ["", "null", "[]", "7", "\"text\"", "{}", "{\"type\":7}", "{\"type\":\"new\"}", "not JSON", "{\"type\":\"assistant\"", "\u{0}"]
    {
        run.receive_line(noise.as_bytes());
    }
    run.receive_line(&[0xff, 0xfe, b'{']);
    run.receive_line("[".repeat(100_000).as_bytes());
    run.message("m", None, json!({ "type": "text", "text": "One." }));
    assert_eq!(run.texts("agent_message_chunk"), ["One", "."]);
    let told: Vec<&Value> = run.updates("notice").iter().map(|notice| &notice["description"]).collect();
    assert!(told.len() == 2 && told[0] == "not JSON" && told[1].as_str().is_some_and(|line| line.starts_with("{\"type\"")), "{told:?}");
}

#[test]
fn no_member_of_a_line_is_taken_for_granted() {
    for name in ["bidi-allow", "bidi-interrupt-tool", "error-drop", "session-2-resume", "edit"] {
        let recording = recording::Recording::all("claude").into_iter().find(|recording| recording.name() == name).expect("a recording");
        let lines: Vec<Value> = recording.program().into_iter().map(without_unread_members).collect();
        for (at, line) in lines.iter().enumerate() {
            let mut mutants = Vec::new();
            mutate(line, &mut Vec::new(), line, &mut mutants);
            for mutant in mutants {
                let mut run = TestRun::without_handshake(&task("p"));
                for line in lines[..at].iter().chain([&mutant]).chain(&lines[at + 1..]) {
                    run.receive(line);
                }
                run.end(Some(0));
                assert!(!run.conversation.is_awaiting_permission(), "{name}: a question outlives the run with {mutant}");
            }
        }
    }
}

/// Removes long members that the adapter never reads.
fn without_unread_members(mut line: Value) -> Value {
    if line["subtype"] == "init" {
        line = json!({ "type": "system", "subtype": "init", "session_id": line["session_id"] });
    }
    if line["response"]["response"].is_object() {
        line["response"]["response"] = json!({ "still_queued": [] });
    }
    line
}

/// All ways to replace one value of a line by something unexpected.
fn mutate(value: &Value, path: &mut Vec<String>, whole: &Value, mutants: &mut Vec<Value>) {
    for odd in [json!(null), json!(-7), json!([{}]), json!({ "a": [] }), json!(1e300)] {
        let pointer: String = path.iter().map(|step| format!("/{step}")).collect();
        let mut mutant = whole.clone();
        if let Some(target) = mutant.pointer_mut(&pointer) {
            *target = odd;
            mutants.push(mutant);
        }
    }
    let children: Vec<(String, &Value)> = match value {
        Value::Object(members) => members.iter().map(|(name, value)| (name.clone(), value)).collect(),
        Value::Array(items) => items.iter().enumerate().map(|(at, value)| (at.to_string(), value)).collect(),
        _ => Vec::new(),
    };
    for (step, child) in children {
        path.push(step);
        mutate(child, path, whole, mutants);
        path.pop();
    }
}

#[test]
fn a_huge_result_is_logged_whole_in_pieces() {
    let mut run = TestRun::started(&task("p"));
    run.message("m", None, json!({ "type": "tool_use", "id": "t", "name": "Bash", "input": { "command": "yes" } }));
    let text = "0123456789abcde\n".repeat(20 << 16);
    assert_eq!(text.len(), 20 << 20);
    run.tool_result("t", json!(text), json!({ "stdout": "", "stderr": "x" }));
    let logged_bytes: usize =
        run.updates("tool_call_update").iter().filter_map(|update| update["_meta"]["loomd/output"]["text"].as_str()).map(str::len).sum();
    assert_eq!(logged_bytes, text.len());
    let last = run.updates("tool_call_update").pop().expect("an end");
    assert_eq!(last["status"], "completed");
    assert!(last.to_string().len() < 100 << 10, "the end repeats only the last part of the output");
}

#[test]
fn what_is_said_of_a_call_after_its_result_counts() {
    let mut run = TestRun::started(&task("p"));
    run.message("m", None, json!({ "type": "tool_use", "id": "t", "name": "Bash", "input": { "command": "ls" } }));
    run.tool_result("t", json!("a"), Value::Null);
    let entries = run.entries.len();
    run.tool_result("t", json!("a"), Value::Null);
    assert_eq!(run.entries.len(), entries, "a repeat says nothing");
    run.tool_result("t", json!("a and more"), Value::Null);
    assert_eq!(run.entries[entries]["_meta"]["loomd/output"], json!({ "offset": 1, "text": " and more" }));
    run.tool_result("never told", json!("c"), Value::Null);
    let last = run.updates("tool_call").pop().expect("a call");
    assert_eq!((&last["toolCallId"], &last["title"]), (&json!("never told"), &json!("Unknown tool call")));
}

#[test]
fn a_second_result_of_a_turn_is_ignored() {
    let mut run = TestRun::started(&task("p"));
    run.result(json!({}));
    run.result(json!({}));
    assert_eq!(run.states(), [("idle".to_owned(), 1)]);
}
