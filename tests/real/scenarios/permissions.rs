//! What an agent asks, and what it may do unasked.

use serde_json::{Value, json};

use super::{answer, assert_succeeded, follow_answering, follow_to_state};
use crate::{harness::Log, world::World};

pub fn approval(world: &World) {
    let mut server = world.server();
    for (kind, allowed) in [("reject_once", false), ("allow_once", true)] {
        let mut log = world.start(&mut server, "fake:approval", json!({}));
        follow_to_state(&mut server, &mut log, "awaitingPermission");
        let question = log.asked()[0];
        for member in ["toolCallId", "title", "kind", "rawInput"] {
            let is_told = member != "rawInput" || world.agent.tells_input;
            assert_eq!(!question["toolCall"][member].is_null(), is_told, "{member}: {question:#}");
        }
        assert!(question["toolCall"].to_string().contains("touch approved.txt"), "{question:#}");
        let position = |test: &dyn Fn(&Value) -> bool| log.said.iter().position(test).expect("it was told");
        assert!(position(&|entry| entry["update"]["sessionUpdate"] == "tool_call") < position(&|entry| entry["status"] == "requested"));
        assert!(!world.has("approved.txt"), "nothing happens before the answer");
        answer(&mut server, &log, kind);
        let run = follow_answering(&mut server, &mut log, kind);
        if !allowed && world.agent.rejection_ends {
            assert_eq!((&run["state"], &log.end()["stopReason"]), (&json!("cancelled"), &json!("cancelled")));
        } else {
            assert_succeeded(&run, &log);
        }
        assert_eq!(world.has("approved.txt"), allowed, "{kind}: {:#?}", log.said);
        assert_eq!((log.settled().len(), &log.settled()[0]["by"]), (1, &json!("client")), "{:?}", log.settled());
    }
}

fn was_asked(log: &Log) -> bool {
    log.state_words().contains(&"awaitingPermission")
}

pub fn read_only(world: &World) {
    let mut server = world.server();
    for (prompt, file) in [("fake:edit", "fake.txt"), ("fake:approval", "approved.txt")] {
        let mut log = world.start(&mut server, prompt, json!({ "permissions": "readOnly" }));
        follow_answering(&mut server, &mut log, "allow_once");
        assert!(!world.has(file) && !was_asked(&log), "{prompt}: {:#?}", log.said);
        assert!(!world.asked_of_the_model().is_empty(), "the model did try");
    }
}

pub fn edits(world: &World) {
    let mut server = world.server();
    let mut log = world.start(&mut server, "fake:edit", json!({ "permissions": "acceptEdits" }));
    let run = server.follow_to_end(&mut log);
    assert_succeeded(&run, &log);
    assert!(world.has("fake.txt") && !was_asked(&log), "{:#?}", log.said);
    let changes = server.call("run/changes", json!({ "runId": log.run }));
    let file = &changes["files"][0];
    assert_eq!((&file["path"], &file["kind"], &changes["complete"]), (&json!(world.work().join("fake.txt")), &json!("add"), &json!(true)));
    let content = file["newText"].as_str().or(file["patch"].as_str()).expect("what it holds now");
    assert!(content.contains("one") && content.contains("two"), "{file}");

    let mut log = world.start(&mut server, world.agent.no_edit, json!({ "permissions": "acceptEdits" }));
    follow_to_state(&mut server, &mut log, "awaitingPermission");
    answer(&mut server, &log, "reject_once");
    follow_answering(&mut server, &mut log, "reject_once");
    assert!(!world.has("approved.txt"));
}

pub fn bypass(world: &World) {
    let mut server = world.server();
    let (prompt, file) = if world.agent.bypasses_sandbox { ("fake:approval", "approved.txt") } else { ("fake:edit", "fake.txt") };
    let mut log = world.start(&mut server, prompt, json!({ "permissions": "bypass" }));
    let run = server.follow_to_end(&mut log);
    assert_succeeded(&run, &log);
    assert!(world.has(file) && !was_asked(&log), "{:#?}", log.said);
}
