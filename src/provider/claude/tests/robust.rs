//! Whatever a program writes: nothing panics, and what is understood stays understood.

use serde_json::json;

use super::*;

#[test]
fn noise_is_no_reason_to_stop() {
    let mut run = Run::started(&task("p"));
    run.begin_message("m", "One");
    let before = run.entries.len();
    for noise in
        ["", "null", "[]", "7", "\"text\"", "{}", "{\"type\":7}", "{\"type\":\"new\"}", "not JSON", "{\"type\":\"assistant\"", "\u{0}"]
    {
        run.say_raw(noise.as_bytes());
    }
    run.say_raw(&[0xff, 0xfe, b'{']);
    run.say_raw("[".repeat(100_000).as_bytes());
    assert_eq!(run.entries.len(), before);
    run.message("m", None, json!({ "type": "text", "text": "One." }));
    assert_eq!(run.texts("agent_message_chunk"), ["One", "."]);
}

#[test]
fn no_member_of_any_line_is_relied_on() {
    for name in ["bidi-allow", "bidi-interrupt-tool", "error-drop", "session-2-resume", "edit"] {
        let recording = recording::Recording::all("claude").into_iter().find(|recording| recording.name() == name).expect("a recording");
        let lines: Vec<Value> = recording.program().into_iter().map(without_bulk).collect();
        for (at, line) in lines.iter().enumerate() {
            let mut mutants = Vec::new();
            mutate(line, &mut Vec::new(), line, &mut mutants);
            for mutant in mutants {
                let mut run = Run::begun(&task("p"));
                for line in lines[..at].iter().chain([&mutant]).chain(&lines[at + 1..]) {
                    run.say(line);
                }
                let _ = run.end(Some(0));
                assert!(!run.conversation.is_waiting_for_an_answer(), "{name}: a question outlives the run with {mutant}");
            }
        }
    }
}

/// What is long and never looked at.
fn without_bulk(mut line: Value) -> Value {
    if line["subtype"] == "init" {
        line = json!({ "type": "system", "subtype": "init", "session_id": line["session_id"] });
    }
    if line["response"]["response"].is_object() {
        line["response"]["response"] = json!({ "still_queued": [] });
    }
    line
}

/// All ways to put something unexpected in the place of one value.
fn mutate(value: &Value, path: &mut Vec<String>, whole: &Value, mutants: &mut Vec<Value>) {
    for odd in [json!(null), json!(-7), json!([{}]), json!({ "a": [] }), json!(1e300)] {
        let pointer: String = path.iter().map(|step| format!("/{step}")).collect();
        let mut mutant = whole.clone();
        if let Some(place) = mutant.pointer_mut(&pointer) {
            *place = odd;
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
fn a_huge_result_is_told_whole_in_pieces() {
    let mut run = Run::started(&task("p"));
    run.message("m", None, json!({ "type": "tool_use", "id": "t", "name": "Bash", "input": { "command": "yes" } }));
    let text = "0123456789abcde\n".repeat(20 << 16);
    assert_eq!(text.len(), 20 << 20);
    run.tool_result("t", json!(text), json!({ "stdout": "", "stderr": "x" }));
    let told: usize =
        run.updates("tool_call_update").iter().filter_map(|update| update["_meta"]["loomd/output"]["text"].as_str()).map(str::len).sum();
    assert_eq!(told, text.len());
    let last = run.updates("tool_call_update").pop().expect("an end");
    assert_eq!(last["status"], "completed");
    assert!(last.to_string().len() < 100 << 10, "the end repeats its last words only");
}

#[test]
fn a_result_comes_once() {
    let mut run = Run::started(&task("p"));
    run.message("m", None, json!({ "type": "tool_use", "id": "t", "name": "Bash", "input": { "command": "ls" } }));
    run.tool_result("t", json!("a"), Value::Null);
    let entries = run.entries.len();
    run.tool_result("t", json!("b"), Value::Null);
    run.tool_result("unknown", json!("c"), Value::Null);
    assert_eq!(run.entries.len(), entries);
}

#[test]
fn an_end_comes_once() {
    let mut run = Run::started(&task("p"));
    run.result(json!({}));
    run.result(json!({}));
    assert_eq!(run.states(), [("idle".to_owned(), 1)]);
}
