//! `run/search` in live and ended runs, page by page, within bounds.

use std::fs;

use serde_json::{Value, json};

use crate::harness::{Gate, Home, Server, id, sh, until};

/// All hits of a search, and how many pages they took.
fn all(server: &mut Server, mut params: Value) -> (Vec<Value>, usize) {
    let (mut hits, mut pages) = (Vec::new(), 0);
    loop {
        let page = server.call("run/search", params.clone());
        pages += 1;
        hits.extend(page["hits"].as_array().expect("hits").clone());
        if page.get("nextCursor").is_none() {
            return (hits, pages);
        }
        params["cursor"] = page["nextCursor"].clone();
    }
}

fn lines(hits: &[Value]) -> Vec<&str> {
    hits.iter().map(|hit| hit["line"].as_str().expect("a line")).collect()
}

#[test]
fn hits_come_from_live_and_ended_runs_and_open_at_their_byte() {
    let home = Home::new();
    let (mut server, mut other) = (home.server(), home.server());
    let mut gate = Gate::new(home.path(), "gate");
    let (_, mut old) = server.sh(r#"printf 'one\ntwo \033[1mneed\033[0mle\r\nthree needle'; echo 'needle: not found' >&2"#);
    server.follow_to_end(&mut old);
    until("it is sealed", || home.run_directories().is_empty().then_some(()));
    let (_, mut live) = server.sh(&format!("echo a needle; echo hay; {}; echo a late needle", gate.wait()));
    server.follow(&mut live, "output", |log| log.stdout.ends_with(b"hay\n"));

    let (hits, _) = all(&mut other, json!({ "query": "needle" }));
    assert_eq!(lines(&hits[..1]), ["a needle"]);
    let mut rest = lines(&hits[1..]);
    rest.sort_unstable();
    assert_eq!(rest, ["needle: not found", "three needle", "two needle"]);
    for hit in &hits {
        let offset = hit["offset"].as_u64().expect("a number");
        let params = json!({ "runId": hit["runId"], "stream": hit["stream"], "offset": offset, "maxBytes": 4 });
        assert_eq!(other.call("run/text", params)["text"], "need", "{hit}");
        let params = json!({ "runId": hit["runId"], "afterSeq": hit["seq"].as_u64().expect("a number") - 1, "maxBytes": 1 });
        let entry = other.call("run/read", params)["entries"][0].clone();
        let begin = entry["offset"].as_u64().expect("output");
        assert!(entry["stream"] == hit["stream"] && begin <= offset && offset < begin + entry["text"].as_str().expect("text").len() as u64);
    }

    // A search that ended in a live run finds what the run writes later.
    let first = other.call("run/search", json!({ "query": "needle", "limit": 1, "runId": live.run }));
    gate.open();
    server.follow_to_end(&mut live);
    until("it is sealed", || home.run_directories().is_empty().then_some(()));
    let (late, _) = all(&mut other, json!({ "query": "needle", "runId": live.run, "cursor": first["nextCursor"] }));
    assert_eq!(lines(&late), ["a late needle"]);

    let found = |server: &mut Server, params: Value| lines(&all(server, params).0).join("|");
    assert_eq!(found(&mut server, json!({ "query": "NEEDLE: ", "ignoreCase": true })), "needle: not found");
    assert_eq!(found(&mut server, json!({ "query": "^t.*le$", "regex": true })), "two needle|three needle");
    assert_eq!(found(&mut server, json!({ "query": "^t.*le$" })), "");
    let (paged, pages) = all(&mut server, json!({ "query": "e", "limit": 2 }));
    assert_eq!(paged, all(&mut server, json!({ "query": "e" })).0);
    assert!(pages >= paged.len() / 2, "{pages} pages");
}

#[test]
fn a_search_that_cannot_be_made_says_why() {
    let home = Home::new();
    let mut server = home.server();
    let run = "01890000-0000-7000-8000-000000000000";
    let cases = [
        (json!({}), "query"),
        (json!({ "query": "" }), "query"),
        (json!({ "query": "a\nb" }), "query"),
        (json!({ "query": "(a", "regex": true }), "query"),
        (json!({ "query": "x".repeat(1_000_000), "ignoreCase": true }), "query"),
        (json!({ "query": r"\w".repeat(200_000), "regex": true }), "query"),
        (json!({ "query": "a", "limit": 0 }), "limit"),
        (json!({ "query": "a", "limit": 1001 }), "limit"),
        (json!({ "query": "a", "runId": run, "limit": 0 }), "limit"),
        (json!({ "query": "a", "cursor": "nonsense" }), "cursor"),
        (json!({ "query": "a", "cursor": run, "runId": run }), "cursor"),
    ];
    for (params, field) in cases {
        let failure = server.expect_failure("run/search", params.clone());
        assert_eq!((failure.code, failure.data["field"].as_str()), (-32602, Some(field)), "{params}: {failure:?}");
        assert!(!failure.message.contains('\n'), "{}", failure.message);
    }
    assert_eq!(server.expect_failure("run/search", json!({ "query": "a", "runId": run })).code, -32001);
    assert_eq!(server.call("run/search", json!({ "query": "a", "cursor": run })), json!({ "hits": [] }));
    assert_eq!(server.call("run/search", json!({ "query": "a" })), json!({ "hits": [] }));
}

#[test]
fn searches_that_nobody_waits_for_make_room_for_the_next() {
    let home = Home::new();
    let mut server = home.server();
    let (run, mut log) = server.start(json!({
        "provider": "command", "attach": { "kinds": ["update"] }, "command": sh("yes 'hay and more hay' | head -c 20000000; echo needle"),
    }));
    server.get_until(id(&run), "the end of the flood", |run| run["state"] == "succeeded");
    log.seq = 0;
    let requests: Vec<_> = (0..20).map(|_| server.send_request("run/search", json!({ "query": r"(\w+ )+x", "regex": true }))).collect();
    for request in &requests {
        server.notify("$/cancelRequest", json!({ "id": request }));
    }
    for request in requests {
        assert_eq!(server.wait_response(request).expect_err("cancelled").kind, "cancelled");
    }
    let (hits, _) = all(&mut server, json!({ "query": "needle", "runId": log.run }));
    assert_eq!((hits.len(), &hits[0]["offset"]), (1, &json!(20_000_000)));
}

#[test]
fn a_search_that_waits_too_long_for_its_turn_is_told_where_to_begin() {
    let home = Home::new();
    let mut server = home.server();
    let (run, _) = server.start(json!({
        "provider": "command", "attach": { "kinds": ["update"] }, "command": sh("yes 'häy and more hay' | head -c 30000000; echo; echo häy needle"),
    }));
    server.get_until(id(&run), "the end of the flood", |run| run["state"] == "succeeded");
    // Word boundaries make the search slow.
    let params = json!({ "query": r"(\b\w+\b )+\bneedle$", "regex": true });
    let requests: Vec<_> = (0..20).map(|_| server.send_request("run/search", params.clone())).collect();
    let beginning = "ffffffff-ffff-ffff-ffff-ffffffffffff";
    let pages: Vec<Value> = requests.into_iter().map(|request| server.wait_response(request).expect("answered")).collect();
    let waited = pages.iter().find(|page| page["nextCursor"] == beginning).expect("not all can have a turn").clone();
    assert_eq!(waited["hits"], json!([]));
    let page = server.call("run/search", json!({ "query": "needle", "cursor": beginning }));
    assert!(
        lines(page["hits"].as_array().expect("hits")) == ["häy needle"]
            || page["nextCursor"].as_str().is_some_and(|next| next != beginning),
        "{page}"
    );
}

/// The server's memory grows neither with the size of a run nor with that of a line.
#[test]
#[ignore = "writes 70 MB"]
fn a_search_takes_little_memory() {
    let home = Home::new();
    let mut server = home.server();
    let script = "yes 'a line of a flood, as long as lines of logs are' | head -c 40000000; \
        printf '{\"text\":\"'; yes 'a \\nlong \\u00e9 line \\\"' | tr -d '\\n' | head -c 15000000; printf ' needle\"}\n'; \
        yes 'no end' | tr -d '\\n' | head -c 15000000; echo; echo last needle";
    let (run, _) = server.start(json!({ "provider": "command", "attach": { "kinds": ["update"] }, "command": sh(script) }));
    server.get_until(id(&run), "the end of the flood", |run| run["state"] == "succeeded");
    until("it is sealed", || home.run_directories().is_empty().then_some(()));
    let mut searching = home.server();
    let resident = |server: &Server, what: &str| {
        let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("a process");
        let line = status.lines().find_map(|line| line.strip_prefix(what)).expect("a figure").trim().trim_end_matches(" kB").to_owned();
        line.parse::<u64>().expect("a number") << 10
    };
    let before = resident(&searching, "VmRSS:");
    let (hits, _) = all(&mut searching, json!({ "query": "needle" }));
    assert_eq!(lines(&hits).last(), Some(&"last needle"));
    assert!(hits.len() == 2 && lines(&hits)[0].len() <= 4096);
    let more = resident(&searching, "VmHWM:") - before;
    assert!(more < 40 << 20, "it took {more} bytes more than before");
}
