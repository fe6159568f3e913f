//! What an agent requests permission for, and what it may do without.

use serde_json::{Value, json};

use super::{answer, assert_succeeded, follow_answering, follow_to_state};
use crate::{harness::Log, world::World};

pub(crate) fn approval(world: &World) {
    let mut server = world.server();
    for (kind, allowed) in [("reject_once", false), ("allow_once", true)] {
        let mut log = world.start(&mut server, "fake:approval", json!({}));
        follow_to_state(&mut server, &mut log, "awaitingPermission");
        let question = log.permission_requests()[0];
        for member in ["toolCallId", "title", "kind", "rawInput"] {
            let has_transcript = member != "rawInput" || world.agent.reports_input;
            assert_eq!(!question["toolCall"][member].is_null(), has_transcript, "{member}: {question:#}");
        }
        assert!(question["toolCall"].to_string().contains("touch approved.txt"), "{question:#}");
        let position = |test: &dyn Fn(&Value) -> bool| log.events.iter().position(test).expect("the entry exists");
        assert!(position(&|entry| entry["update"]["sessionUpdate"] == "tool_call") < position(&|entry| entry["status"] == "requested"));
        assert!(!world.has("approved.txt"), "nothing happens before the answer");
        answer(&mut server, &log, kind);
        let run = follow_answering(&mut server, &mut log, kind);
        if !allowed && world.agent.rejection_ends {
            assert_eq!((&run["state"], &log.end()["stopReason"]), (&json!("cancelled"), &json!("cancelled")));
        } else {
            assert_succeeded(&run, &log);
        }
        assert_eq!(world.has("approved.txt"), allowed, "{kind}: {:#?}", log.events);
        assert_eq!(
            (log.permission_results().len(), &log.permission_results()[0]["by"]),
            (1, &json!("client")),
            "{:?}",
            log.permission_results()
        );
    }
}

fn was_asked(log: &Log) -> bool {
    log.state_names().contains(&"awaitingPermission")
}

pub(crate) fn read_only(world: &World) {
    let mut server = world.server();
    for (prompt, file) in [("fake:edit", "fake.txt"), ("fake:approval", "approved.txt")] {
        let mut log = world.start(&mut server, prompt, json!({ "permissions": "readOnly" }));
        follow_answering(&mut server, &mut log, "allow_once");
        assert!(!world.has(file) && !was_asked(&log), "{prompt}: {:#?}", log.events);
        assert!(!world.model_requests().is_empty(), "the model did try");
    }
}

pub(crate) fn edits(world: &World) {
    let mut server = world.server();
    let mut log = world.start(&mut server, "fake:edit", json!({ "permissions": "acceptEdits" }));
    let run = server.follow_to_end(&mut log);
    assert_succeeded(&run, &log);
    assert!(world.has("fake.txt") && !was_asked(&log), "{:#?}", log.events);
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

pub(crate) fn bypass(world: &World) {
    let mut server = world.server();
    let (prompt, file) = if world.agent.bypasses_sandbox { ("fake:approval", "approved.txt") } else { ("fake:edit", "fake.txt") };
    let mut log = world.start(&mut server, prompt, json!({ "permissions": "bypass" }));
    let run = server.follow_to_end(&mut log);
    assert_succeeded(&run, &log);
    assert!(world.has(file) && !was_asked(&log), "{:#?}", log.events);
}
