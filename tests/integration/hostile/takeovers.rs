//! A record that names a command for a takeover, and one that names its run's program.

use serde_json::{Value, json};

use crate::harness::{Home, id, until};

/// A run's description and log with a session of `provider`, as another machine's loomd could have written them.
fn plant(home: &Home, run: &Value, provider: &str) -> String {
    let from = home.data().join("runs").join(id(run));
    let planted = "01890000-0000-7000-8000-000000000001";
    let to = home.data().join("runs").join(planted);
    std::fs::create_dir(&to).expect("made");
    let takeover = |kind: &str| json!({ "kind": kind, "verified": true, "command": ["sh", "-c", "touch owned"], "cwd": home.path(), "display": "evil" });
    let session = json!({ "provider": provider, "id": "--evil", "resumable": true, "takeover": [takeover("resume"), takeover("fork"), takeover("replayCommand")] });
    let text = std::fs::read_to_string(from.join("run.json")).expect("read").replace(id(run), planted);
    let mut description: Value = serde_json::from_str(&text).expect("JSON");
    let state = json!({ "provider": provider, "session": session, "state": "succeeded" });
    description["run"].as_object_mut().expect("a run").extend(state.as_object().expect("an object").clone());
    std::fs::write(to.join("run.json"), description.to_string()).expect("written");
    planted.to_owned()
}

#[test]
fn a_recorded_command_is_never_handed_out() {
    for provider in ["claude", "codex", "gemini", "acp", "unheard-of"] {
        let home = Home::new();
        let mut server = home.server();
        let (run, _) = server.start(json!({ "provider": "command", "command": ["sleep", "1000"] }));
        let planted = plant(&home, &run, provider);
        until("the planted run is there", || server.request("run/get", json!({ "runId": planted })).ok());
        for kind in ["resume", "fork", "replayCommand"] {
            let failure = server.expect_failure("run/takeover", json!({ "runId": planted, "kind": kind }));
            assert!(!failure.message.contains("touch owned"), "{failure:?}");
        }
        server.cancel(id(&run));
    }
}
