//! Items of transcripts: paged, followed live, sealed, after restarts and breaks, always the same.

use serde_json::{Value, json};

use crate::{
    agents::params_with,
    harness::{Gate, Home, Items, Server, id},
};

/// Starts an agent, attached to its items.
fn start(server: &mut Server, home: &Home, prompt: &str, more: Value) -> Items {
    let mut more = more;
    more["attach"] = json!({ "as": "items" });
    let run = server.call("run/start", params_with(home, prompt, more))["run"].clone();
    Items::of(id(&run))
}

/// What the agent does in most tests: it thinks, speaks, uses tools, asks, and ends.
fn conversation(home: &Home) -> String {
    let file = home.path().join("written.txt").display().to_string();
    format!("think about it\nsay one two three\ntool execute 300000\nask execute\nedit {file} some text\ntool read 100\nsay done")
}

/// Answers every question with yes until the run has ended.
fn follow_to_end(server: &mut Server, items: &mut Items) {
    loop {
        let is_open = |item: &&&Value| item.get("resolved").is_none();
        let open = |items: &Items| items.of_kind("permission").iter().find(is_open).map(|item| item["permissionId"].clone());
        server.follow_items(items, "a question or the end", |items| open(items).is_some() || items.is_final());
        let Some(permission) = open(items) else { return };
        server.call("run/answer", json!({ "runId": items.run, "permissionId": permission, "optionId": "yes" }));
        server.follow_items(items, "the answer", |items| open(items).as_ref() != Some(&permission));
    }
}

#[test]
fn a_client_that_follows_has_the_items_that_pages_have() {
    let home = Home::new();
    let mut server = home.server();
    let mut items = start(&mut server, &home, &conversation(&home), json!({}));
    follow_to_end(&mut server, &mut items);
    let kinds: Vec<&str> = items.by_number.values().filter_map(|item| item["kind"].as_str()).collect();
    let expected =
        ["message", "thought", "message", "tool", "tool", "permission", "message", "tool", "permission", "tool", "message", "turn"];
    assert_eq!(kinds, expected);
    assert_eq!(items.by_number[&3]["text"], "one two three");
    let output = &items.by_number[&4]["output"];
    assert_eq!((&output["omittedAt"], &output["omittedBytes"]), (&json!(48 << 10), &json!(300_000 - (128 << 10))));
    assert_eq!(items.by_number[&8]["diffs"][0]["newText"], "some text");
    assert_eq!(items.by_number[&6]["shown"][0], json!({ "label": "title", "text": "touch it" }));
    assert_eq!(items.all(), server.read_items(&items.run, 5));

    // The entries that everybody gets came once each; nothing came in the form that was not wanted.
    let names =
        |method: &str| server.notifications.iter().filter(|(name, params)| name == method && params["runId"] == items.run.as_str()).count();
    assert_eq!((names("run/update"), names("run/output")), (0, 0));
    let states: Vec<&Value> =
        server.notifications.iter().filter(|(name, _)| name == "run/state").map(|(_, params)| &params["state"]).collect();
    assert_eq!(states, ["running", "awaitingPermission", "running", "awaitingPermission", "running", "succeeded"]);
    assert_eq!(names("run/permission"), 4);
}

#[test]
fn sealed_runs_and_other_servers_have_the_same_items() {
    let home = Home::new();
    let mut server = home.server();
    let mut items = start(&mut server, &home, &conversation(&home), json!({}));
    follow_to_end(&mut server, &mut items);
    server.get_until(&items.run, "the run is sealed", |run| run.get("transcript").is_none());
    assert_eq!(items.all(), server.read_items(&items.run, 1000));
    server.kill();
    let mut other = home.server();
    assert_eq!(items.all(), other.read_items(&items.run, 1));
    let mut again = Items::of(&items.run);
    other.attach_items(&again, 0);
    other.follow_items(&mut again, "all of it", Items::is_final);
    assert_eq!(items.all(), again.all());
}

#[test]
fn a_client_goes_on_after_a_break_wherever_it_was() {
    let home = Home::new();
    let mut server = home.server();
    let mut gate = Gate::new(home.path(), "gate");
    let (run, _) = server.sh(&format!("echo first; {0}; seq 1 20000; {0}; echo last >&2; {0}", gate.wait()));
    let mut items = Items::of(id(&run));
    server.attach_items(&items, 0);
    server.follow_items(&mut items, "the first line", |items| items.by_number.values().any(|item| item["output"]["text"] == "first\n"));
    let mut early = Items { by_number: items.by_number.clone(), run: items.run.clone(), ..items };
    server.kill();
    gate.open();
    let mut server = home.server();
    server.attach_items(&early, early.seq - 1);
    let whole = |items: &Items| {
        items.by_number.values().any(|item| item["output"]["text"].as_str().is_some_and(|text| text.ends_with("\n20000\n")))
    };
    server.follow_items(&mut early, "all numbers", whole);
    // Attaching again moves the cursor, and switches the form.
    server.call("run/attach", json!({ "runId": early.run, "afterSeq": 0 }));
    server.notification("run/output", |output| output["text"].as_str().is_some_and(|text| text.contains("first")));
    server.attach_items(&early, early.seq - 1);
    gate.open();
    gate.open();
    server.follow_items(&mut early, "the end", Items::is_final);
    assert_eq!(early.by_number[&1]["stderr"]["text"], "last\n");
    assert_eq!(early.all(), server.read_items(&early.run, 200));
}

#[test]
fn an_agents_client_goes_on_after_each_of_its_notifications() {
    let home = Home::new();
    let mut server = home.server();
    let mut items = start(&mut server, &home, &conversation(&home), json!({ "permissions": "bypass" }));
    let run = items.run.clone();
    // The policy answers.
    server.follow_items(&mut items, "the end", Items::is_final);
    let last = server.get(&run)["lastSeq"].as_u64().expect("a number");
    for after in 0..=last {
        let mut again = Items::of(&run);
        // What a client has that went away after this entry.
        again.by_number = items.by_number.clone();
        again.by_number.retain(|_, item| item["lastSeq"].as_u64().expect("a number") <= after);
        server.attach_items(&again, after);
        if after < last {
            server.follow_items(&mut again, "the end", Items::is_final);
        }
        assert_eq!(again.all(), items.all(), "after entry {after}");
    }
}

#[test]
fn pages_lead_to_each_other_in_both_directions() {
    let home = Home::new();
    let mut server = home.server();
    let prompt: String = (1..=20).map(|number| format!("tool read {number}\nsay {number}\n")).collect();
    let mut items = start(&mut server, &home, &prompt, json!({}));
    follow_to_end(&mut server, &mut items);
    let total = items.by_number.len();
    let page = server.call("run/items", json!({ "runId": items.run }));
    assert_eq!((&page["total"], &page["items"]), (&json!(total), &json!(items.all())));
    assert_eq!((page.get("next"), page.get("prev"), &page["seq"]), (None, None, &server.get(&items.run)["lastSeq"]));

    let (mut backward, mut before) = (Vec::new(), None);
    loop {
        let page = server.call("run/items", json!({ "runId": items.run, "limit": 7, "before": before }));
        let mut list = page["items"].as_array().expect("a list").clone();
        list.append(&mut backward);
        backward = list;
        before = page["prev"].as_u64();
        if before.is_none() {
            break;
        }
    }
    assert_eq!(backward, items.all());
    let small = server.call("run/items", json!({ "runId": items.run, "after": 3, "maxBytes": 1 }));
    assert_eq!((&small["items"][0]["item"], &small["items"][1], &small["next"]), (&json!(4), &Value::Null, &json!(4)));
    let last = server.call("run/items", json!({ "runId": items.run, "maxBytes": 1 }));
    assert_eq!(last["items"][0]["item"], json!(total));
    let beyond = server.call("run/items", json!({ "runId": items.run, "after": total }));
    assert_eq!((&beyond["items"], beyond.get("next")), (&json!([]), None));
}

#[test]
fn one_item_may_be_had_whole() {
    let home = Home::new();
    let mut server = home.server();
    let text = "x".repeat(70 << 10);
    let file = home.path().join("large.txt").display().to_string();
    let mut items = start(&mut server, &home, &format!("edit {file} {text}"), json!({ "permissions": "bypass" }));
    server.follow_items(&mut items, "the end", Items::is_final);
    let tool = items.of_kind("tool")[0].clone();
    assert_eq!((&tool["diffs"][0]["omitted"], tool["diffs"][0].get("newText")), (&json!(true), None));
    let whole = server.call("run/getItem", json!({ "runId": items.run, "item": tool["item"] }))["item"].clone();
    assert_eq!((&whole["diffs"][0]["newText"], whole["diffs"][0].get("omitted")), (&json!(text), None));
    assert_eq!((&whole["item"], &whole["lastSeq"]), (&tool["item"], &tool["lastSeq"]));
    let failure = server.expect_failure("run/getItem", json!({ "runId": items.run, "item": 1000 }));
    assert_eq!((failure.code, &failure.data["field"]), (-32602, &json!("item")));
}

#[test]
fn wrong_params_are_named() {
    let home = Home::new();
    let mut server = home.server();
    let (run, _) = server.sh("true");
    for (method, params, field) in [
        ("run/attach", json!({ "runId": run["id"], "as": "items", "kinds": ["update"] }), "kinds"),
        ("run/attach", json!({ "runId": run["id"], "as": "pictures" }), "as"),
        ("run/items", json!({ "runId": run["id"], "after": 1, "before": 5 }), "before"),
        ("run/start", json!({ "provider": "command", "command": ["true"], "attach": { "as": "items", "kinds": [] } }), "kinds"),
    ] {
        let failure = server.expect_failure(method, params.clone());
        assert_eq!((failure.code, &failure.data["field"]), (-32602, &json!(field)), "{method} {params}");
    }
}

#[test]
fn appends_are_held_back_for_a_client_that_wants_few_notifications() {
    let home = Home::new();
    let capabilities = json!({ "output": { "minIntervalMs": 200, "maxChunkBytes": 65_536 } });
    let mut server = home.setup().capabilities(capabilities).start();
    let words = vec!["word"; 2000].join(" ");
    let mut items = start(&mut server, &home, &format!("say {words}"), json!({}));
    server.follow_items(&mut items, "the end", Items::is_final);
    assert_eq!(items.by_number[&2]["text"], json!(words));
    let entries = server.get(&items.run)["lastSeq"].as_u64().expect("a number");
    assert!(entries > 2000 && items.taken < 200, "{} notifications for {entries} entries", items.taken);
}

#[test]
fn a_client_that_reads_slowly_gets_the_newest_state_and_costs_no_memory() {
    const SIZE: usize = 48 << 20;
    let home = Home::new();
    let (mut slow, mut quick) = (home.server(), home.server());
    let mut gate = Gate::new(home.path(), "gate");
    let script = format!("echo begin; {}; yes 'a line of a flood' | head -c {SIZE}", gate.wait());
    let params = json!({ "provider": "command", "command": crate::harness::sh(&script), "attach": { "as": "items" } });
    let run = slow.call("run/start", params)["run"].clone();
    let mut items = Items::of(id(&run));
    slow.follow_items(&mut items, "the first line", |items| !items.by_number.is_empty());
    slow.stop_reading();
    gate.open();
    quick.get_until(&items.run, "the flood is over", |run| run["state"] == "succeeded");
    slow.resume_reading();
    slow.follow_items(&mut items, "the end", Items::is_final);
    let most = super::slow_clients::peak(slow.pid());
    assert!(most < SIZE, "the server took {most} bytes for {SIZE} bytes of output");
    assert_eq!(items.all(), quick.read_items(&items.run, 200));
    let output = &items.by_number[&1]["output"];
    assert_eq!(output["omittedBytes"], json!(SIZE + "begin\n".len() - (128 << 10)));
}
