//! Whole transcripts: fixtures under `tests/transcripts`, and what holds for any log.
//!
//! `LOOMD_UPDATE_FIXTURES=1` writes `items.json` of each fixture anew, and `entries.jsonl` of those made of recordings.

pub(crate) mod sample_updates;

use std::{
    fs,
    path::{Path, PathBuf},
};

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::{Fold, LogSource, change_queue::ChangeQueue, head_tail::ItemMap};
use crate::model::{
    Entry, RunId,
    item::{Item, ItemChange, ItemKind},
    line,
};

const BEGAN: u64 = 1_700_000_000_000;

pub(crate) fn run_id() -> RunId {
    "018bcfe5-687b-7000-8000-0123456789ab".parse().expect("an id")
}

/// Entries without numbers and times, as entries of a log. Updates may stand for themselves.
pub(crate) fn entries_of(values: impl IntoIterator<Item = Value>) -> Vec<Entry> {
    let with_place = values.into_iter().enumerate().map(|(number, value)| {
        let value = if value.get("sessionUpdate").is_some() { json!({ "kind": "update", "update": value }) } else { value };
        let Value::Object(mut members) = value else { panic!("{value} is no object") };
        let mut whole = Map::new();
        whole.insert("kind".to_owned(), members.remove("kind").expect("a kind"));
        whole.insert("runId".to_owned(), json!(run_id()));
        whole.insert("seq".to_owned(), json!(number + 1));
        whole.insert("at".to_owned(), json!(BEGAN + 1 + 250 * number as u64));
        // Recordings have the status of a permission as an object.
        if let Some(Value::Object(status)) = members.get("status").cloned() {
            members.remove("status");
            members.extend(status);
        }
        members.retain(|_, value| !value.is_null());
        whole.extend(members);
        serde_json::from_value(Value::Object(whole.clone())).unwrap_or_else(|error| panic!("{whole:?}: {error}"))
    });
    with_place.collect()
}

/// All changes that entries make, each with its entry's number.
fn changes_of(fold: &mut Fold, entries: &[Entry]) -> Vec<(u64, ItemChange)> {
    let (mut all, mut changes) = (Vec::new(), Vec::new());
    for entry in entries {
        fold.push(entry, &mut changes);
        all.extend(changes.drain(..).map(|change| (entry.seq(), change)));
    }
    all
}

/// The items after some entries.
pub(crate) fn items_of(source: LogSource, entries: &[Entry]) -> Vec<Item> {
    let mut items = ItemMap::default();
    changes_of(&mut Fold::new(source), entries).into_iter().for_each(|(seq, change)| items.apply(seq, change));
    items.0.into_values().collect()
}

fn updates(values: &[Value]) -> Vec<Item> {
    items_of(LogSource::Updates, &entries_of(values.iter().cloned()))
}

fn source_of(entries: &[Entry]) -> LogSource {
    let is_of_agent = |entry: &Entry| match entry {
        Entry::Update(entry) => entry.update["sessionUpdate"] != "notice",
        Entry::Permission(_) | Entry::Session(_) => true,
        Entry::Output(_) | Entry::State(_) | Entry::Size(_) => false,
    };
    if entries.iter().any(is_of_agent) { LogSource::Updates } else { LogSource::Output }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

/// Fixtures that are made of recordings: their names, and the recordings.
const RECORDED: &[(&str, &str)] = &[
    ("recorded-claude-question", "claude/bidi-allow"),
    ("recorded-codex-edit", "codex/app-server-edit"),
    ("recorded-gemini-question", "gemini-acp/permission-allow"),
];

/// What the adapter makes of a recording: `provider::recording` holds it to that.
pub(crate) fn recorded_entries(snapshot: &Path) -> Vec<Entry> {
    let text = fs::read_to_string(snapshot).unwrap_or_else(|error| panic!("{}: {error}", snapshot.display()));
    let body = text.splitn(3, "---\n").nth(2).expect("a body");
    let lines = body.lines().filter(|line| !line.trim().is_empty());
    entries_of(lines.map(|line| serde_json::from_str::<Value>(line).expect("an entry")))
}

/// All snapshots of recordings, with their entries.
pub(crate) fn recordings() -> Vec<(PathBuf, Vec<Entry>)> {
    let mut paths = Vec::new();
    for provider in fs::read_dir(root().join("recordings")).expect("recordings") {
        let files = fs::read_dir(provider.expect("a provider").path()).expect("a directory");
        paths.extend(files.map(|file| file.expect("a file").path()).filter(|path| path.extension().is_some_and(|it| it == "snap")));
    }
    paths.sort();
    assert_eq!(paths.len(), 170);
    paths.into_iter().map(|path| (path.clone(), recorded_entries(&path))).collect()
}

#[test]
fn fixtures_are_folded_as_they_say() {
    let is_update = std::env::var_os("LOOMD_UPDATE_FIXTURES").is_some();
    for (name, recording) in RECORDED {
        let entries = recorded_entries(&root().join("recordings").join(format!("{recording}.snap")));
        let mut lines = Vec::new();
        entries.iter().for_each(|entry| line::write(&mut lines, entry));
        let path = root().join("transcripts").join(name).join("entries.jsonl");
        if is_update {
            fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
            fs::write(&path, &lines).expect("written");
        }
        assert!(
            fs::read(&path).is_ok_and(|known| known == lines),
            "{name} is not what the recording says; set LOOMD_UPDATE_FIXTURES=1 to rewrite it"
        );
    }
    let mut count = 0;
    for fixture in fs::read_dir(root().join("transcripts")).expect("fixtures") {
        let fixture = fixture.expect("a fixture").path();
        let lines = fs::read(fixture.join("entries.jsonl")).expect("entries");
        let entries: Vec<Entry> = line::lines(&lines).map(|line| line::parse(line).expect("an entry")).collect();
        let items = items_of(source_of(&entries), &entries);
        let text = serde_json::to_string_pretty(&items).expect("JSON") + "\n";
        if is_update {
            fs::write(fixture.join("items.json"), &text).expect("written");
        }
        let known = fs::read_to_string(fixture.join("items.json")).unwrap_or_default();
        assert!(known == text, "{}: the items are others now:\n{text}", fixture.display());
        let read: Vec<Item> = serde_json::from_str(&text).expect("items");
        assert!(read == items, "{}: an item is not what its JSON says", fixture.display());
        check_any_break(source_of(&entries), &entries, &fixture.display().to_string());
        count += 1;
    }
    assert!(count >= RECORDED.len() + 10, "only {count} fixtures were found");
}

#[test]
fn every_recording_folds_to_the_same_items_however_it_is_read() {
    for (path, entries) in recordings() {
        check_any_break(LogSource::Updates, &entries, &path.display().to_string());
    }
}

/// The fold goes on from a checkpoint as if there had been none, and a client that goes on after any entry has the same items.
fn check_any_break(source: LogSource, entries: &[Entry], name: &str) {
    let whole = items_of(source, entries);
    check_items(&whole, name);
    let step = (entries.len() / 12).max(1);
    for split in (0..=entries.len()).step_by(step) {
        check_break(source, entries, split, &whole, name);
    }
}

/// What holds for the items of any log.
fn check_items(items: &[Item], name: &str) {
    for (position, item) in items.iter().enumerate() {
        assert!(item.item == position as u64 + 1, "{name}: numbers have no gaps: {item:?}");
        assert!(item.seq <= item.last_seq, "{name}: {item:?}");
        assert!(position == 0 || items[position - 1].seq <= item.seq, "{name}: numbers follow the entries: {item:?}");
        assert!(
            item.parent.is_none_or(|parent| parent < item.item) && item.continues.is_none_or(|before| before < item.item),
            "{name}: {item:?}"
        );
        match &item.kind {
            ItemKind::Message(message) | ItemKind::Thought(message) => assert!(message.text.len() <= 256 << 10, "{name}"),
            ItemKind::Tool(tool) => assert!(tool.output.as_ref().is_none_or(|output| output.text.len() <= 128 << 10), "{name}"),
            _ => {}
        }
    }
}

fn check_break(source: LogSource, entries: &[Entry], split: usize, whole: &[Item], name: &str) {
    let (first, rest) = entries.split_at(split);
    let after = first.last().map_or(0, Entry::seq);

    // A checkpoint.
    let mut items = ItemMap::default();
    let mut fold = Fold::new(source);
    changes_of(&mut fold, first).into_iter().for_each(|(seq, change)| items.apply(seq, change));
    let mut restored = Fold::restore(&fold.checkpoint()).expect("the same version");
    let mut continued = items.clone();
    changes_of(&mut restored, rest).into_iter().for_each(|(seq, change)| continued.apply(seq, change));
    assert!(continued.0.values().eq(whole), "{name}: a checkpoint after entry {after} changes the items");
    assert_eq!(restored.total(), whole.len() as u64);

    // Going on by `afterSeq`, in two steps, with changes that wait for each other.
    let mut fold = Fold::new(source);
    let mut queue = ChangeQueue::default();
    let mut changes = Vec::new();
    let end = split + rest.len() / 2;
    for (position, entry) in entries.iter().enumerate() {
        fold.push(entry, &mut changes);
        for change in changes.drain(..).filter(|_| position >= split) {
            queue.push(change, &fold, position < end);
        }
        // A client that is fast at first, and slow later.
        if position + 1 == end || (position > end && position % 3 == 0) || position + 1 == entries.len() {
            queue.drain_by_seq().into_iter().for_each(|(seq, change)| items.apply(seq, change));
        }
    }
    assert!(items.0.values().eq(whole), "{name}: going on after entry {after} changes the items");
}

// Single rules.

fn text(id: &str, text: &str) -> Value {
    json!({ "sessionUpdate": "agent_message_chunk", "messageId": id, "content": { "type": "text", "text": text } })
}

fn tool(kind: &str, id: &str, members: Value) -> Value {
    let mut update = json!({ "sessionUpdate": kind, "toolCallId": id });
    update.as_object_mut().expect("an object").extend(members.as_object().expect("an object").clone());
    update
}

fn texts(items: &[Item]) -> Vec<String> {
    let text = |item: &Item| match &item.kind {
        ItemKind::Message(message) | ItemKind::Thought(message) => Some(message.text.clone()),
        _ => None,
    };
    items.iter().filter_map(text).collect()
}

#[test]
fn a_long_message_goes_on_in_new_items_and_is_corrected_in_all_of_them() {
    let line = "0123456789abcde\n";
    let long = line.repeat(20_000);
    let items = updates(&[text("m", &long), text("m", &long), text("m", "end")]);
    assert_eq!(texts(&items).concat(), format!("{long}{long}end"));
    assert_eq!(items.len(), 3);
    assert!(texts(&items)[..2].iter().all(|text| text.ends_with('\n')), "lines are not cut");
    assert_eq!(items.iter().map(|item| item.continues).collect::<Vec<_>>(), [None, Some(1), Some(2)]);
    assert!(items[0].end_at.is_some() && items[2].end_at.is_none());

    let mut correction = text("m", &"x".repeat(300 << 10));
    correction["_meta"] = json!({ "loomd/contradiction": { "at": 0 } });
    let items = updates(&[text("m", &long), text("m", &long), correction]);
    assert_eq!(texts(&items).concat(), "x".repeat(300 << 10));
    assert_eq!(texts(&items).iter().map(|text| text.len()).collect::<Vec<_>>(), [256 << 10, 44 << 10, 0]);
}

#[test]
fn large_values_are_omitted_and_one_item_may_be_had_whole() {
    let large = "x".repeat(70 << 10);
    let diff = json!({ "type": "diff", "path": "/w/a", "oldText": large, "newText": "y" });
    let call = tool("tool_call", "t", json!({ "title": "Write", "kind": "edit", "rawInput": { "text": large }, "content": [diff] }));
    let image = json!({ "sessionUpdate": "user_message_chunk", "messageId": "u", "content": { "type": "image", "data": large } });
    let entries = entries_of([image, call]);
    let tool_of = |items: &[Item]| match &items[1].kind {
        ItemKind::Tool(tool) => (**tool).clone(),
        other => panic!("{other:?}"),
    };
    let items = items_of(LogSource::Updates, &entries);
    let ItemKind::Message(message) = &items[0].kind else { panic!("{items:?}") };
    assert_eq!(json!(message.blocks), json!([{ "type": "image", "omitted": true }]));
    let short = tool_of(&items);
    assert_eq!(short.raw_input, Some(json!({ "omitted": true })));
    assert_eq!((short.diffs[0].omitted, &short.diffs[0].old_text, short.diffs[0].new_text.as_deref()), (true, &None, Some("y")));

    let mut map = ItemMap::default();
    let mut fold = Fold::new(LogSource::Updates).with_whole_item(2);
    changes_of(&mut fold, &entries).into_iter().for_each(|(seq, change)| map.apply(seq, change));
    let items: Vec<Item> = map.0.into_values().collect();
    let whole = tool_of(&items);
    assert_eq!(
        (whole.raw_input, whole.diffs[0].old_text.as_deref(), whole.diffs[0].omitted),
        (Some(json!({ "text": large })), Some(large.as_str()), false)
    );
    assert!(matches!(&items[0].kind, ItemKind::Message(message) if message.blocks[0]["omitted"] == true), "of the others it is omitted");
}

#[test]
fn long_output_keeps_its_ends() {
    let piece = |offset: usize, text: &str| {
        tool("tool_call_update", "t", json!({ "_meta": { "loomd/output": { "offset": offset, "text": text } } }))
    };
    let block = "0123456789abcdef".repeat(4096);
    let mut values = vec![tool("tool_call", "t", json!({ "title": "make", "kind": "execute" }))];
    values.extend((0..5).map(|number| piece(number * block.len(), &block)));
    let closing = json!({ "type": "content", "content": { "type": "text", "text": "the end once more" } });
    values.push(tool("tool_call_update", "t", json!({ "status": "completed", "content": [closing] })));
    let entries = entries_of(values);
    let ItemKind::Tool(tool) = &items_of(LogSource::Updates, &entries)[0].kind else { panic!("a tool") };
    let output = tool.output.as_ref().expect("output");
    assert_eq!((output.omitted_at, output.omitted_bytes, output.text.len()), (Some(48 << 10), Some((320 - 128) << 10), 128 << 10));
    // The first piece and the one with which the middle goes come whole, the others as what is appended.
    let appends = changes_of(&mut Fold::new(LogSource::Updates), &entries)
        .into_iter()
        .filter(|(_, change)| matches!(change, ItemChange::Append { .. }));
    assert_eq!(appends.map(|(seq, _)| seq).collect::<Vec<_>>(), [3, 5, 6]);
}

#[test]
fn what_comes_of_a_forgotten_call_continues_it() {
    let mut values = Vec::new();
    for number in 0..300 {
        let id = format!("t{number}");
        let input = json!({ "title": format!("call {number}"), "kind": "read", "rawInput": { "text": "x".repeat(8 << 10) } });
        values.push(tool("tool_call", &id, input));
        values.push(tool("tool_call_update", &id, json!({ "status": "completed" })));
    }
    values.push(tool("tool_call_update", "t0", json!({ "_meta": { "loomd/output": { "offset": 0, "text": "late" } } })));
    values.push(tool("tool_call_update", "t299", json!({ "_meta": { "loomd/output": { "offset": 0, "text": "late" } } })));
    let items = updates(&values);
    assert_eq!(items.len(), 301, "the newest is still known whole");
    let ItemKind::Tool(tool) = &items[300].kind else { panic!("a tool") };
    assert_eq!((items[300].continues, tool.title.as_str(), tool.status.as_str()), (Some(1), "call 0", "completed"));
    assert_eq!(tool.output.as_ref().map(|output| output.text.as_str()), Some("late"));
}

#[test]
fn memory_does_not_grow_with_the_run() {
    let mut fold = Fold::new(LogSource::Updates);
    let (mut changes, mut most) = (Vec::new(), 0);
    for turn in 0..8 {
        let mut values = vec![json!({ "kind": "state", "state": "running", "turn": turn + 1 })];
        for number in 0..100 {
            let id = format!("{turn}-{number}");
            values.push(text(&id, &"said ".repeat(2000)));
            values.push(tool("tool_call", &id, json!({ "title": "make", "rawInput": { "text": "x".repeat(4 << 10) } })));
            values.push(tool(
                "tool_call_update",
                &id,
                json!({ "_meta": { "loomd/output": { "offset": 0, "text": "y".repeat(64 << 10) } } }),
            ));
            values.push(tool("tool_call_update", &id, json!({ "status": "completed" })));
        }
        values.push(json!({ "kind": "state", "state": "idle", "turn": turn + 1 }));
        for entry in entries_of(values) {
            fold.push(&entry, &mut changes);
            changes.clear();
        }
        most = most.max(fold.checkpoint().len());
    }
    assert!(most < 2 << 20, "a checkpoint has {most} bytes");
}

// Any log.

fn any_update() -> impl Strategy<Value = Value> {
    let id = || prop::sample::select(vec!["a", "b", "c", ""]);
    let parent = || prop::option::weighted(0.2, prop::sample::select(vec!["a", "b", "unknown"]));
    let message = (prop::sample::select(vec!["user", "agent", "thought"]), id(), "[a-c日\n]{0,6}", 0..12_u8, parent()).prop_map(
        |(speaker, id, text, flag, parent)| {
            let kind = match speaker {
                "user" => "user_message_chunk",
                "agent" => "agent_message_chunk",
                _ => "agent_thought_chunk",
            };
            let mut update = json!({ "sessionUpdate": kind, "messageId": id, "content": { "type": "text", "text": text }, "_meta": {} });
            match flag {
                0 => update["_meta"]["loomd/contradiction"] = json!({ "at": 0 }),
                1 => update["_meta"]["loomd/abandoned"] = json!(true),
                2 => update["content"] = json!({ "type": "resource_link", "uri": text }),
                3 => update["content"]["text"] = json!(text.repeat(60_000)),
                _ => {}
            }
            with_parent(update, parent)
        },
    );
    let members = prop::sample::select(vec![
        json!({ "title": "one", "kind": "execute", "rawInput": { "command": "ls" } }),
        json!({ "title": "two", "kind": "edit", "locations": [{ "path": "/w/a", "line": 3 }] }),
        json!({ "status": "in_progress" }),
        json!({ "status": "pending", "title": "again" }),
        json!({ "status": "completed" }),
        json!({ "status": "failed", "rawOutput": "why" }),
        json!({ "content": [{ "type": "content", "content": { "type": "text", "text": "out" } }] }),
        json!({ "content": [{ "type": "diff", "path": "/w/a", "oldText": "x\n", "newText": "y\n" }] }),
        json!({ "_meta": { "loomd/patch": "--- a/f\n+++ b/f\n@@ -1 +1 @@\n-x\n+y\n" } }),
    ]);
    let call = (prop::sample::select(vec!["tool_call", "tool_call_update", "tool_call_update"]), id(), members, parent())
        .prop_map(|(kind, id, members, parent)| with_parent(tool(kind, id, members), parent));
    let output = (id(), 0..5_u64, prop::sample::select(vec![1, 3, 30_000]), "[a日]{1,3}").prop_map(|(id, offset, count, unit)| {
        tool("tool_call_update", id, json!({ "_meta": { "loomd/output": { "offset": offset * 40_000, "text": unit.repeat(count) } } }))
    });
    let other = prop::sample::select(vec![
        json!({ "sessionUpdate": "plan", "entries": [{ "content": "step", "status": "pending", "priority": "high" }] }),
        json!({ "sessionUpdate": "plan", "entries": [], "_meta": { "loomd/parentToolCallId": "a" } }),
        json!({ "sessionUpdate": "notice", "severity": "warning", "title": "t", "description": "d" }),
        json!({ "sessionUpdate": "usage_update", "used": 1 }),
        json!({ "sessionUpdate": "never_heard_of", "x": [1] }),
        json!({ "kind": "state", "state": "running", "turn": 1 }),
        json!({ "kind": "state", "state": "idle", "turn": 1, "stopReason": "end_turn" }),
        json!({ "kind": "state", "state": "running", "turn": 2 }),
    ]);
    let question = (id(), prop::sample::select(vec!["p", "q"]), any::<bool>()).prop_map(|(id, permission, is_asked)| {
        let call = json!({ "toolCallId": id, "title": "rm x", "kind": "delete", "rawInput": { "path": "x" } });
        if is_asked {
            json!({ "kind": "permission", "permissionId": permission, "status": "requested", "toolCall": call, "options": [] })
        } else {
            json!({ "kind": "permission", "permissionId": permission, "status": "resolved", "optionId": "yes", "by": "client" })
        }
    });
    prop_oneof![4 => message, 4 => call, 3 => output, 2 => other, 1 => question]
}

fn with_parent(mut update: Value, parent: Option<&str>) -> Value {
    if let Some(parent) = parent {
        if update.get("_meta").is_none() {
            update["_meta"] = json!({});
        }
        update["_meta"]["loomd/parentToolCallId"] = json!(parent);
    }
    update
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn any_log_folds_to_the_same_items_however_it_is_read(values in prop::collection::vec(any_update(), 1..40), split in 0.0..1.0) {
        let mut values = values;
        values.push(json!({ "kind": "state", "state": "succeeded", "turn": 2, "stopReason": "end_turn" }));
        let entries = entries_of(values);
        let whole = items_of(LogSource::Updates, &entries);
        check_items(&whole, "any log");
        check_break(LogSource::Updates, &entries, (entries.len() as f64 * split) as usize, &whole, "any log");
        // Whoever wants one item whole gets the same items.
        let mut items = ItemMap::default();
        let mut fold = Fold::new(LogSource::Updates).with_whole_item(1);
        changes_of(&mut fold, &entries).into_iter().for_each(|(seq, change)| items.apply(seq, change));
        prop_assert_eq!(items.0.len(), whole.len());
    }
}
