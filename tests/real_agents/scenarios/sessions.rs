//! Sessions that a later run goes on with.

use serde_json::json;

use super::{GREETING, assert_succeeded};
use crate::world::World;

pub(crate) fn resume(world: &World) {
    let mut server = world.server();
    let mut log = world.start(&mut server, "fake:hello with apples", json!({}));
    let first = server.follow_to_end(&mut log);
    assert_succeeded(&first, &log);
    (world.agent.age_session)(world);

    // Another server, which knows only what was stored.
    let mut server = world.server();
    let mut log = world.start(&mut server, "fake:thinking of pears", json!({ "resume": { "runId": first["id"] } }));
    let second = server.follow_to_end(&mut log);
    assert_succeeded(&second, &log);
    assert_eq!((&second["session"]["id"], &second["parentRunId"]), (&first["session"]["id"], &first["id"]));
    assert_eq!(log.text_of("user_message_chunk"), "fake:thinking of pears", "earlier prompts are not reported again");
    assert_eq!(log.text_of("agent_message_chunk"), GREETING);
    let model_requests = world.model_requests();
    let model_request = model_requests.iter().rfind(|request| request["scenario"] == "thinking").expect("a request");
    assert!(model_request["body"].to_string().contains("apples"), "the model gets the earlier prompt: {model_request:#}");
    let usage = |run: &serde_json::Value| run["usage"]["inputTokens"].as_u64();
    assert_eq!(usage(&second), usage(&first), "only this run's own tokens are counted");

    let unknown = json!({ "resume": { "sessionId": "00000000-0000-4000-8000-000000000000" } });
    let mut log = world.start(&mut server, "fake:hello", unknown);
    let run = server.follow_to_end(&mut log);
    assert_eq!((&run["state"], &run["error"]["kind"]), (&json!("failed"), &json!("sessionNotFound")), "{run:#}");
    assert_eq!(log.text_of("agent_message_chunk"), "");
}
