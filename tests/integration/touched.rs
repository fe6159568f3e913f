//! `run/list` by the files that tool calls name: live runs, and finished ones by the index of the store.

use serde_json::json;

use crate::{
    agents::{follow_to_state, params_with},
    harness::{Home, Server, until},
};

fn touching(server: &mut Server, path: &str) -> Vec<String> {
    let runs = server.call("run/list", json!({ "touched": path }))["runs"].clone();
    runs.as_array().expect("runs").iter().map(|run| run["id"].as_str().expect("an id").to_owned()).collect()
}

#[test]
fn a_run_is_found_by_a_file_from_the_tool_call_on() {
    let home = Home::new();
    let mut server = home.server();
    let absolute = format!("{}/a.txt", home.path().display());
    let prompt = "say nothing yet\nedit a.txt text\nedit b.txt text";
    let (_, mut log) = server.start(params_with(&home, prompt, json!({})));
    follow_to_state(&mut server, &mut log, "awaitingPermission");
    let run = log.run.clone();
    // Another server answers the same, and only what is named by then.
    let mut other = home.server();
    for server in [&mut server, &mut other] {
        assert_eq!(touching(server, "a.txt"), [run.as_str()]);
        assert_eq!(touching(server, &absolute), [run.as_str()]);
        assert_eq!(touching(server, "b.txt"), [""; 0]);
    }
    server.call("run/answer", json!({ "runId": run, "permissionId": "p1", "optionId": "yes" }));
    server.follow(&mut log, "the second question", |log| log.permission_requests().len() == 2);
    assert_eq!(touching(&mut other, "b.txt"), [run.as_str()], "what a run says later is found, too");
    server.call("run/answer", json!({ "runId": run, "permissionId": "p2", "optionId": "no" }));
    server.follow_to_end(&mut log);
    until("it is sealed", || home.run_directories().is_empty().then_some(()));
    for server in [&mut server, &mut other] {
        for path in ["a.txt", "./b.txt", &absolute, &format!("file://{absolute}")] {
            assert_eq!(touching(server, path), [run.as_str()], "{path}");
        }
        assert_eq!(touching(server, "/a.txt"), [""; 0]);
    }
    // Filters add up.
    let both = |server: &mut Server, state: &str| {
        server.call("run/list", json!({ "touched": "a.txt", "states": [state] }))["runs"].as_array().map(Vec::len)
    };
    assert_eq!((both(&mut server, "succeeded"), both(&mut server, "failed")), (Some(1), Some(0)));
    server.call("run/delete", json!({ "runId": run }));
    assert_eq!(touching(&mut other, "a.txt"), [""; 0]);
    assert_eq!(server.expect_failure("run/list", json!({ "touched": "" })).data["field"], "touched");
}
