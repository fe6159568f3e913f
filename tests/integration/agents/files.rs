//! Sessions that a provider stores as files.

use std::fs;

use serde_json::json;

use crate::harness::Home;

const SESSION: &str = "0d4c2e1a-0000-4000-8000-000000000001";

/// Writes Claude Code's own file of a session in the directory `place`.
fn write_session_file(home: &Home, place: &str, id: &str, prompt: &str) -> std::path::PathBuf {
    let name: String = place.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let directory = home.path().join("claude/projects").join(name);
    fs::create_dir_all(&directory).expect("made");
    let line = json!({ "type": "user", "cwd": place, "sessionId": id, "message": { "role": "user", "content": prompt } });
    let file = directory.join(format!("{id}.jsonl"));
    fs::write(&file, format!("{line}\n")).expect("written");
    file
}

#[test]
fn claudes_sessions_are_listed_with_the_runs_that_had_them() {
    let home = Home::new();
    let configuration = home.path().join("claude").display().to_string();
    write_session_file(&home, "/work/here", SESSION, "Mend the roof");
    write_session_file(&home, "/work/there", "0d4c2e1a-0000-4000-8000-000000000002", "Paint the door");
    let mut server = home.setup().env("CLAUDE_CONFIG_DIR", &configuration).start();
    let all = server.call("session/list", json!({ "provider": "claude" }));
    assert_eq!(all["sessions"].as_array().map(Vec::len), Some(2));
    let here = server.call("session/list", json!({ "provider": "claude", "cwd": "/work/here" }))["sessions"].clone();
    assert_eq!((&here[0]["id"], &here[0]["title"], &here[0]["cwd"]), (&json!(SESSION), &json!("Mend the roof"), &json!("/work/here")));
    assert!(here[0]["updatedAt"].is_u64() && here.as_array().map(Vec::len) == Some(1));
    let none = server.call("session/list", json!({ "provider": "claude", "cwd": "/work/nowhere" }));
    assert_eq!(none["sessions"], json!([]));
    assert_eq!(server.expect_failure("session/list", json!({ "provider": "claude", "cursor": "x" })).data["field"], "cursor");
}

#[test]
fn more_sessions_than_a_page_come_page_by_page() {
    let home = Home::new();
    let configuration = home.path().join("claude").display().to_string();
    for number in 0..120 {
        write_session_file(&home, "/work", &format!("0d4c2e1a-0000-4000-8000-{number:012}"), "one of many");
    }
    let mut server = home.setup().env("CLAUDE_CONFIG_DIR", &configuration).start();
    let (mut found, mut cursor) = (Vec::new(), json!(null));
    loop {
        let page = server.call("session/list", json!({ "provider": "claude", "cursor": cursor }));
        found.extend(page["sessions"].as_array().expect("a page").iter().map(|session| session["id"].to_string()));
        cursor = page["nextCursor"].clone();
        if cursor.is_null() {
            break;
        }
    }
    let unique: std::collections::BTreeSet<&String> = found.iter().collect();
    assert_eq!((found.len(), unique.len()), (120, 120));
}
