//! Attaching, paging, text, lists, edits and deletion.

use serde_json::{Value, json};

use crate::harness::{Gate, Home, Log, id, raw_bytes};

#[test]
fn a_late_client_gets_what_was_and_what_comes() {
    let home = Home::new();
    let mut server = home.server();
    let mut gate = Gate::new(home.path(), "gate");
    let params = json!({ "provider": "command", "command": crate::harness::sh(&format!("seq 1 5000; {}; seq 1 5000", gate.wait())), "attach": false });
    let (run, _) = server.start(params);
    let half: String = (1..=5000).map(|number| format!("{number}\n")).collect();
    server.get_until(id(&run), "the first half", |run| run["bytes"]["stdout"] == half.len());
    assert!(server.entries_of(id(&run)).iter().all(|entry| entry["kind"] != "output"), "output without being attached");
    let mut log = Log::of(id(&run));
    server.attach(&log);
    server.follow(&mut log, "the first half", |log| log.stdout.len() == half.len());
    gate.open();
    server.follow_to_end(&mut log);
    log.assert_stdout(format!("{half}{half}").as_bytes());
}

#[test]
fn attaching_again_moves_the_cursor() {
    let home = Home::new();
    let mut server = home.server();
    let mut gate = Gate::new(home.path(), "gate");
    let (_, mut log) = server.sh(&gate.echo());
    for word in ["one", "two", "three"] {
        gate.send(word);
        server.follow(&mut log, word, |log| log.stdout_text().ends_with(&format!("{word}\n")));
    }
    let mut again = Log::of(&log.run);
    server.attach(&again);
    server.follow(&mut again, "everything once more", |again| again.stdout == log.stdout);
    gate.send("end");
    server.follow_to_end(&mut again);

    let beyond = again.seq + 1;
    let failure = server.expect_failure("run/attach", json!({ "runId": log.run, "afterSeq": beyond }));
    assert_eq!((failure.code, &failure.data["field"]), (-32602, &json!("afterSeq")));
    // To attach at the end is no failure, and no entry comes.
    server.attach(&again);
    server.call("run/list", json!({}));
    assert!(server.entries_of(&log.run).is_empty());
}

#[test]
fn a_detached_client_receives_no_output() {
    let home = Home::new();
    let mut server = home.server();
    let mut gate = Gate::new(home.path(), "gate");
    let (run, mut log) = server.sh(&gate.echo());
    gate.send("seen");
    server.follow(&mut log, "output", |log| log.stdout == b"seen\n");
    assert_eq!(server.call("run/detach", json!({ "runId": run["id"] })), json!({}));
    assert_eq!(server.call("run/detach", json!({ "runId": run["id"] })), json!({}));
    gate.send("unseen");
    gate.send("end");
    // The final state still comes, as to every client that watches; output does not.
    server.notification("run/state", |state| state["runId"] == run["id"] && state["state"] == "succeeded");
    assert!(server.entries_of(&log.run).iter().all(|entry| entry["kind"] != "output"));
    server.attach(&log);
    server.follow_to_end(&mut log);
    assert_eq!(log.stdout, b"seen\nunseen\n");
}

#[test]
fn kinds_choose_what_comes() {
    let home = Home::new();
    let mut server = home.server();
    let command = crate::harness::sh("echo out");
    let params = json!({ "provider": "command", "command": command, "attach": { "kinds": ["update"] } });
    let run = server.call("run/start", params)["run"].clone();
    server.notification("run/state", |state| state["state"] == "succeeded");
    assert!(server.entries_of(id(&run)).iter().all(|entry| entry["kind"] != "output"));
    server.call("run/attach", json!({ "runId": run["id"], "kinds": ["update"] }));
    let states: Vec<_> = ["running", "succeeded"].map(|name| server.notification("run/state", |state| state["state"] == name)).into();
    assert!(states[0]["seq"].as_u64() < states[1]["seq"].as_u64());
    assert!(server.entries_of(id(&run)).is_empty());
}

#[test]
fn pages_put_together_are_the_log() {
    let home = Home::new();
    let mut server = home.server();
    let (_, mut log) = server.sh("i=0; while [ $i -lt 300 ]; do echo out $i; echo err $i >&2; i=$((i+1)); done; printf '\\377'");
    server.follow_to_end(&mut log);
    let whole = server.read_all(&log.run, 8 << 20);
    assert_eq!(whole.len() as u64, log.seq);
    for max_bytes in [1, 500, 4096] {
        assert_eq!(server.read_all(&log.run, max_bytes), whole, "pages of {max_bytes}");
    }
    // Backward.
    let (mut before, mut pages) = (log.seq + 1, Vec::new());
    loop {
        let page = server.call("run/read", json!({ "runId": log.run, "beforeSeq": before, "maxBytes": 3000 }));
        pages.splice(0..0, page["entries"].as_array().expect("a list").clone());
        if page["atStart"] == true {
            break;
        }
        let next = page["prevBeforeSeq"].as_u64().expect("a number");
        assert!(next < before, "no way back from {before}");
        before = next;
    }
    assert_eq!(pages, whole);
    // By kind.
    let states = server.call("run/read", json!({ "runId": log.run, "kinds": ["state"] }));
    assert_eq!(states["entries"].as_array().expect("a list"), &log.states);
    let end = server.call("run/read", json!({ "runId": log.run, "afterSeq": log.seq }));
    assert_eq!((&end["entries"], &end["atEnd"]), (&json!([]), &json!(true)));
}

#[test]
fn text_comes_in_pages_that_cut_no_character() {
    let home = Home::new();
    let mut server = home.server();
    let text: String = (0..400).map(|number| format!("{number} é日🦀\n")).collect();
    let path = home.file("text", text.as_bytes());
    let (_, mut log) = server.sh(&format!("cat '{path}'"));
    server.follow_to_end(&mut log);
    for max_bytes in [4, 7, 100, 1 << 20] {
        let (mut whole, mut offset) = (String::new(), 0);
        while offset < text.len() as u64 {
            let page = server.call("run/text", json!({ "runId": log.run, "offset": offset, "maxBytes": max_bytes }));
            assert_eq!((&page["offset"], &page["totalBytes"]), (&json!(offset), &json!(text.len())));
            let piece = page["text"].as_str().expect("text");
            assert!(!piece.is_empty() && piece.len() as u64 <= max_bytes);
            whole.push_str(piece);
            let next = page["nextOffset"].as_u64().expect("a number");
            assert_eq!(next, offset + piece.len() as u64);
            offset = next;
        }
        assert_eq!(whole, text, "pages of {max_bytes}");
    }
}

#[test]
fn the_last_lines_are_the_last_lines() {
    let home = Home::new();
    let mut server = home.server();
    let (_, mut log) = server.sh("seq 1 3000; printf unfinished; seq 1 10 >&2");
    server.follow_to_end(&mut log);
    let out: String = (1..=3000).map(|number| format!("{number}\n")).collect::<String>() + "unfinished";
    let last = |server: &mut crate::harness::Server, lines: u64| {
        server.call("run/text", json!({ "runId": log.run, "stream": "stdout", "lastLines": lines }))
    };
    assert_eq!(last(&mut server, 1)["text"], "unfinished");
    assert_eq!(last(&mut server, 3)["text"], "2999\n3000\nunfinished");
    assert_eq!(last(&mut server, 100_000)["text"], out);
    let three = last(&mut server, 3);
    assert_eq!((three["offset"].as_u64(), three["nextOffset"].as_u64()), (Some(out.len() as u64 - 20), Some(out.len() as u64)));
    let errors = server.call("run/text", json!({ "runId": log.run, "stream": "stderr", "lastLines": 2 }));
    assert_eq!(errors["text"], "9\n10\n");
    // Both streams, in order of arrival, counted together.
    let both = server.call("run/text", json!({ "runId": log.run }));
    let outputs: Vec<_> = server.read_all(&log.run, 1 << 20).into_iter().filter(|entry| entry["kind"] == "output").collect();
    let expected: Vec<u8> = outputs.iter().flat_map(raw_bytes).collect();
    assert_eq!((both["text"].as_str().expect("text").as_bytes(), &both["totalBytes"]), (expected.as_slice(), &json!(expected.len())));
}

#[test]
fn sync_answers_when_it_is_durable() {
    let home = Home::new();
    let mut server = home.server();
    let mut gate = Gate::new(home.path(), "gate");
    let (_, mut log) = server.sh(&gate.echo());
    for word in ["one", "two", "three"] {
        gate.send(word);
        server.follow(&mut log, word, |log| log.stdout_text().ends_with(&format!("{word}\n")));
        let synced = server.call("run/sync", json!({ "runId": log.run, "seq": log.seq }))["durableSeq"].as_u64();
        assert!(synced >= Some(log.seq));
        assert!(server.get(&log.run)["durableSeq"].as_u64() >= Some(log.seq));
    }
    gate.send("end");
    server.follow_to_end(&mut log);
    assert_eq!(server.call("run/sync", json!({ "runId": log.run }))["durableSeq"], log.seq);
}

#[test]
fn a_directory_is_found_however_it_is_spelled() {
    let home = Home::new();
    let mut server = home.server();
    let dir = std::fs::canonicalize(home.path()).expect("there").join("w1");
    std::fs::create_dir(&dir).expect("made");
    let dir = dir.display().to_string();
    let spellings = [dir.clone(), format!("{dir}/"), format!("{dir}//"), format!("/{dir}/."), dir.replace("/w1", "/./w1")];
    let mut ids = Vec::new();
    for spelling in &spellings {
        let params = json!({ "provider": "command", "command": ["pwd", "-P"], "cwd": spelling });
        let (run, mut log) = server.start(params);
        server.follow_to_end(&mut log);
        assert_eq!((&run["cwd"], String::from_utf8_lossy(&log.stdout).trim_end()), (&json!(dir), dir.as_str()), "{spelling}");
        ids.insert(0, id(&run).to_owned());
    }
    for spelling in &spellings {
        let answer = server.call("run/list", json!({ "cwd": spelling }));
        let found: Vec<_> = answer["runs"].as_array().expect("runs").iter().map(|run| id(run).to_owned()).collect();
        assert_eq!(found, ids, "{spelling}");
    }
    let other = server.call("run/list", json!({ "cwd": format!("{dir}/../w1") }));
    assert_eq!(other["runs"], json!([]), "what only the file system knows is not looked at");
}

#[test]
fn lists_are_filtered_and_paged() {
    let home = Home::new();
    let mut server = home.server();
    let mut ids = Vec::new();
    for number in 0..7 {
        let label = if number % 2 == 0 { "even" } else { "odd" };
        let script = format!("exit {}", number % 2);
        let params = json!({ "provider": "command", "command": crate::harness::sh(&script), "labels": { "number": label, "all": "yes" }, "cwd": home.path() });
        let (run, mut log) = server.start(params);
        server.follow_to_end(&mut log);
        ids.insert(0, id(&run).to_owned());
    }
    let mut list = |params: Value| {
        let answer = server.call("run/list", params);
        let runs: Vec<_> = answer["runs"].as_array().expect("runs").iter().map(|run| id(run).to_owned()).collect();
        (runs, answer.get("nextCursor").cloned())
    };
    assert_eq!(list(json!({})), (ids.clone(), None));
    let (even, odd): (Vec<_>, Vec<_>) = ids.iter().cloned().enumerate().partition(|(position, _)| position % 2 == 0);
    let only = |part: Vec<(usize, String)>| part.into_iter().map(|(_, id)| id).collect::<Vec<_>>();
    let (even, odd) = (only(even), only(odd));
    assert_eq!(list(json!({ "label": { "number": "even", "all": "yes" } })).0, even);
    assert_eq!(list(json!({ "label": { "number": "even", "all": "no" } })).0, Vec::<String>::new());
    assert_eq!(list(json!({ "states": ["failed"] })).0, odd);
    assert_eq!(list(json!({ "states": ["failed", "succeeded"], "provider": "command", "cwd": home.path() })).0, ids);
    assert_eq!(list(json!({ "provider": "codex" })).0, Vec::<String>::new());
    assert_eq!(list(json!({ "cwd": "/elsewhere" })).0, Vec::<String>::new());
    let (mut paged, mut cursor) = (Vec::new(), Value::Null);
    loop {
        let (page, next) = list(json!({ "limit": 3, "cursor": cursor }));
        assert!(page.len() <= 3 && !page.is_empty());
        paged.extend(page);
        match next {
            Some(next) => cursor = next,
            None => break,
        }
    }
    assert_eq!(paged, ids);
}

#[test]
fn an_edit_is_kept_and_broadcast() {
    let home = Home::new();
    let (mut server, mut watcher) = (home.server(), home.server());
    let (run, mut log) = server.start(json!({ "provider": "command", "command": ["true"], "title": "before", "labels": { "a": "1" } }));
    server.follow_to_end(&mut log);
    let edited = server.call("run/edit", json!({ "runId": run["id"], "title": "after", "pinned": true }))["run"].clone();
    assert_eq!((&edited["title"], &edited["labels"], &edited["pinned"]), (&json!("after"), &json!({ "a": "1" }), &json!(true)));
    let change = watcher.notification("run/changed", |params| params["run"]["title"] == "after");
    assert_eq!(change["run"]["id"], run["id"]);
    let edited = server.call("run/edit", json!({ "runId": run["id"], "labels": { "b": "2" } }))["run"].clone();
    assert_eq!((&edited["title"], &edited["labels"]), (&json!("after"), &json!({ "b": "2" })));
    assert_eq!(watcher.get(id(&run))["labels"], json!({ "b": "2" }));
    drop((server, watcher));
    let run = home.server().get(id(&run));
    assert_eq!((&run["title"], &run["labels"], &run["pinned"]), (&json!("after"), &json!({ "b": "2" }), &json!(true)));
}

#[test]
fn a_live_run_can_be_edited() {
    let home = Home::new();
    let mut server = home.server();
    let mut gate = Gate::new(home.path(), "gate");
    let (run, mut log) = server.sh(&gate.wait());
    server.call("run/edit", json!({ "runId": run["id"], "title": "while it runs" }));
    assert_eq!(server.get(id(&run))["title"], "while it runs");
    gate.open();
    assert_eq!(server.follow_to_end(&mut log)["title"], "while it runs");
}

#[test]
fn a_deleted_run_is_gone() {
    let home = Home::new();
    let (mut server, mut watcher) = (home.server(), home.server());
    let mut gate = Gate::new(home.path(), "gate");
    let (run, mut log) = server.sh(&format!("seq 1 10000; {}", gate.wait()));
    let failure = server.expect_failure("run/delete", json!({ "runId": run["id"] }));
    assert_eq!((failure.code, failure.kind), (-32012, "runActive"));
    assert!(failure.data["state"].is_string());
    gate.open();
    server.follow_to_end(&mut log);
    let freed = server.call("run/delete", json!({ "runId": run["id"] }))["freedBytes"].as_u64();
    assert!(freed > Some(0));
    watcher.notification("run/deleted", |params| params["runIds"] == json!([run["id"]]));
    for server in [&mut server, &mut watcher] {
        for method in ["run/get", "run/read", "run/text", "run/attach", "run/delete"] {
            assert_eq!(server.expect_failure(method, json!({ "runId": run["id"] })).code, -32001, "{method}");
        }
        assert_eq!(server.call("run/list", json!({}))["runs"], json!([]));
    }
    let stats = server.call("store/stats", json!({}));
    assert_eq!((&stats["runs"], &stats["entries"]), (&json!(0), &json!(0)));
    crate::harness::until("its files are gone", || home.run_directories().is_empty().then_some(()));
}

#[test]
fn pruning_removes_the_oldest_and_spares_pinned_and_live_runs() {
    let home = Home::new();
    let (mut server, mut watcher) = (home.server(), home.server());
    let mut gate = Gate::new(home.path(), "gate");
    let mut runs = Vec::new();
    for number in 0..6 {
        let (run, mut log) = server.sh(&format!("seq 1 {}", 1000 + number));
        server.follow_to_end(&mut log);
        runs.push(run["id"].clone());
    }
    let (live, mut log) = server.sh(&gate.wait());
    server.call("run/edit", json!({ "runId": runs[0], "pinned": true }));
    let left = |server: &mut crate::harness::Server| -> Vec<Value> {
        let list = server.call("run/list", json!({}));
        list["runs"].as_array().expect("runs").iter().rev().map(|run| run["id"].clone()).collect()
    };
    let pruned = server.call("store/prune", json!({}));
    assert_eq!((&pruned["deletedRuns"], &pruned["freedBytes"]), (&json!(0), &json!(0)));
    assert_eq!(server.call("store/prune", json!({ "olderThanMs": 3_600_000 }))["deletedRuns"], 0);
    let pruned = server.call("store/prune", json!({ "keepRuns": 3 }));
    assert_eq!(pruned["deletedRuns"], 2);
    assert!(pruned["freedBytes"].as_u64() > Some(0) && pruned["fileBytes"].as_u64() > Some(0), "{pruned}");
    watcher.notification("run/deleted", |params| params["runIds"] == json!([runs[1], runs[2]]));
    assert_eq!(left(&mut server), [&runs[0], &runs[3], &runs[4], &runs[5], &live["id"]].map(Clone::clone));
    assert_eq!(server.expect_failure("run/get", json!({ "runId": runs[1] })).code, -32001);
    assert_eq!(server.call("store/prune", json!({ "maxBytes": 0 }))["deletedRuns"], 3);
    assert_eq!(left(&mut server), [&runs[0], &live["id"]].map(Clone::clone));
    assert_eq!(server.call("run/text", json!({ "runId": runs[0], "lastLines": 1 }))["text"], "1000\n");
    gate.open();
    server.follow_to_end(&mut log);
    assert_eq!(server.call("store/prune", json!({ "olderThanMs": 0 }))["deletedRuns"], 1);
    assert_eq!(left(&mut server), [runs[0].clone()]);
}

#[test]
fn chunks_are_as_small_as_the_client_wants_them() {
    let home = Home::new();
    let capabilities = json!({ "output": { "maxChunkBytes": 16 } });
    let mut server = home.setup().capabilities(capabilities).start();
    let text: String = (0..2000).map(|number| format!("{number} é日🦀\n")).collect();
    let path = home.file("text", text.as_bytes());
    let mut gate = Gate::new(home.path(), "gate");
    let (_, mut log) = server.sh(&format!("{}; cat '{path}'", gate.wait()));
    log.allows_splits = true;
    gate.open();
    server.follow_to_end(&mut log);
    log.assert_stdout(text.as_bytes());
    assert!(log.notification_count > text.len() / 16, "{} notifications for {} bytes", log.notification_count, text.len());
}

#[test]
fn output_can_be_held_back_for_a_while() {
    let home = Home::new();
    // Within an hour, only a full chunk or another entry can cause the output to be sent.
    let capabilities = json!({ "output": { "minIntervalMs": 3_600_000, "maxChunkBytes": 1 << 20 } });
    let mut server = home.setup().capabilities(capabilities).start();
    let mut other = home.server();
    let mut gate = Gate::new(home.path(), "gate");
    let (run, mut log) = server.sh(&gate.echo());
    let mut live = Log::of(id(&run));
    other.attach(&live);
    for number in 0..50 {
        gate.send(&format!("word {number}"));
        other.follow(&mut live, "one more word", |live| live.stdout_text().lines().count() == number + 1);
    }
    gate.send("end");
    server.follow_to_end(&mut log);
    other.follow_to_end(&mut live);
    assert_eq!(log.stdout, live.stdout);
    assert!(
        log.notification_count < live.notification_count,
        "{} notifications, and {} to the other",
        log.notification_count,
        live.notification_count
    );
}

#[test]
fn an_offset_inside_the_first_character_of_an_entry_is_that_characters() {
    let home = Home::new();
    let mut server = home.server();
    let mut gate = Gate::new(home.path(), "gate");
    let (_, mut log) = server.sh(&format!("printf x; {}; printf 'éy'", gate.wait()));
    server.follow(&mut log, "the first entry", |log| log.stdout == b"x");
    gate.open();
    server.follow_to_end(&mut log);
    let page = server.call("run/text", json!({ "runId": log.run, "offset": 2 }));
    assert_eq!((&page["text"], &page["offset"]), (&json!("éy"), &json!(1)));
}
