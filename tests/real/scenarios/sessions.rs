//! Sessions that a later run goes on with.

use serde_json::json;

use super::{GREETING, assert_succeeded};
use crate::world::World;

pub fn resume(world: &World) {
    let mut server = world.server();
    let mut log = world.start(&mut server, "fake:hello with apples", json!({}));
    let first = server.follow_to_end(&mut log);
    assert_succeeded(&first, &log);
    (world.agent.age_session)(world);

    // Another server, so that nothing is known but what was kept.
    let mut server = world.server();
    let mut log = world.start(&mut server, "fake:thinking of pears", json!({ "resume": { "runId": first["id"] } }));
    let second = server.follow_to_end(&mut log);
    assert_succeeded(&second, &log);
    assert_eq!((&second["session"]["id"], &second["parentRunId"]), (&first["session"]["id"], &first["id"]));
    assert_eq!(log.spoken("user_message_chunk"), "fake:thinking of pears", "what was said before is not said again");
    assert_eq!(log.spoken("agent_message_chunk"), GREETING);
    let asked = world.asked_of_the_model();
    let heard = asked.iter().rfind(|request| request["scenario"] == "thinking").expect("the model was asked");
    assert!(heard["body"].to_string().contains("apples"), "the model is told what was said before: {heard:#}");
    let usage = |run: &serde_json::Value| run["usage"]["inputTokens"].as_u64();
    assert_eq!(usage(&second), usage(&first), "only this run's own tokens are counted");

    let unknown = json!({ "resume": { "sessionId": "00000000-0000-4000-8000-000000000000" } });
    let mut log = world.start(&mut server, "fake:hello", unknown);
    let run = server.follow_to_end(&mut log);
    assert_eq!((&run["state"], &run["error"]["kind"]), (&json!("failed"), &json!("sessionNotFound")), "{run:#}");
    assert_eq!(log.spoken("agent_message_chunk"), "");
}
