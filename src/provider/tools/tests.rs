use super::*;

/// The output that a client displays after these updates.
fn displayed(updates: &[Map<String, Value>]) -> String {
    let mut displayed = String::new();
    for update in updates {
        if let Some(output) = update.get("_meta").and_then(|meta| meta.get("loomd/output")) {
            assert_eq!(update.get("content"), None, "growing output carries no content");
            displayed.truncate(output["offset"].as_u64().expect("a number") as usize);
            displayed.push_str(output["text"].as_str().expect("a text"));
        }
    }
    displayed
}

#[test]
fn the_first_report_is_a_tool_call_and_later_ones_are_what_changed() {
    let mut tools = Tools::default();
    let first = tools.report("t", object(json!({ "title": "ls", "kind": "execute" })));
    assert_eq!(
        json!(first),
        json!([{ "sessionUpdate": "tool_call", "toolCallId": "t", "title": "ls", "kind": "execute", "status": "pending" }])
    );
    let second = tools.report("t", object(json!({ "title": "ls", "status": "in_progress" })));
    assert_eq!(json!(second), json!([{ "sessionUpdate": "tool_call_update", "toolCallId": "t", "status": "in_progress" }]));
    assert!(tools.report("t", object(json!({ "title": "ls" }))).is_empty());
}

#[test]
fn output_is_reported_once_in_whatever_way_it_comes() {
    let mut tools = Tools::default();
    let mut updates = tools.report("t", object(json!({ "title": "make" })));
    updates.extend(tools.output("t", "one\n"));
    updates.extend(tools.output_so_far("t", "one\ntwo\n"));
    updates.extend(tools.output_so_far("t", "one\ntwo\n"));
    updates.extend(tools.finish("t", "completed", Some("one\ntwo\nthree\n"), Map::new()));
    assert_eq!(displayed(&updates), "one\ntwo\nthree\n");
    let updates_text = json!(updates).to_string();
    assert_eq!(updates_text.matches("two").count(), 2, "once as it came, and once at the end: {updates_text}");
}

#[test]
fn a_patch_is_reported_once_and_is_in_the_snapshot() {
    let mut tools = Tools::default();
    let change = || object(json!({ "title": "Edit a", "_meta": { "loomd/patch": "@@ -1 +1 @@" } }));
    assert_eq!(tools.report("t", change()).len(), 1);
    assert!(tools.report("t", change()).is_empty(), "it is known");
    let snapshot = tools.snapshot("t").expect("it was reported");
    assert_eq!(snapshot["_meta"]["loomd/patch"], "@@ -1 +1 @@");
}

#[test]
fn a_finished_tool_call_is_small_and_its_repeat_is_recognized() {
    let mut tools = Tools::default();
    let input = object(json!({ "title": "write", "rawInput": { "text": "x".repeat(100_000) } }));
    tools.report("t", input.clone());
    let output = "y".repeat(200_000);
    tools.finish("t", "completed", Some(&output), Map::new());
    let tool = tools.state("t").expect("it is known");
    assert!(tool.tail.is_empty() && json!(tool.members).to_string().len() < 1000, "{:?}", tool.members);
    assert!(tools.report("t", input).is_empty(), "a repeat is a repeat");
    let again = tools.finish("t", "completed", Some(&output), Map::new());
    assert!(again.is_empty(), "{again:?}");
}

#[test]
fn output_without_its_beginning_is_a_contradiction_and_is_replaced() {
    let mut tools = Tools::default();
    let mut updates = tools.output("t", "tick 2\n");
    updates.extend(tools.finish("t", "completed", Some("tick 1\ntick 2\n"), Map::new()));
    assert_eq!(displayed(&updates), "tick 1\ntick 2\n");
    assert!(updates.iter().any(|update| update.get("_meta").is_some_and(|meta| meta["loomd/contradiction"]["at"] == 5)), "{updates:?}");
}

#[test]
fn an_image_stays_in_the_content_that_ends_a_tool_call() {
    let mut tools = Tools::default();
    let image = json!({ "type": "content", "content": { "type": "image", "data": "AA==", "mimeType": "image/png" } });
    let text = json!({ "type": "content", "content": { "type": "text", "text": "seen" } });
    let updates = tools.finish("t", "completed", Some("seen"), object(json!({ "content": [text, image] })));
    assert_eq!(json!(updates.last().expect("some")["content"]), json!([image, text]), "the text once, and nothing lost");
}

#[test]
fn a_huge_output_is_split_and_only_its_end_is_repeated() {
    let mut tools = Tools::default();
    let whole = "äöü 0123456789\n".repeat(100_000);
    let updates = tools.finish("t", "completed", Some(&whole), Map::new());
    assert_eq!(displayed(&updates), whole);
    assert!(updates.iter().all(|update| json!(update).to_string().len() < 2 * MAX_PIECE_BYTES));
    let last = updates.last().expect("some");
    let tail = last["content"][0]["content"]["text"].as_str().expect("a text");
    assert!(tail.len() <= MAX_PIECE_BYTES && tail.len() > MAX_PIECE_BYTES - 4 && whole.ends_with(tail));
}
