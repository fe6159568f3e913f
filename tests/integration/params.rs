//! Errors for wrong params, and for unknown methods, providers and runs.

use serde_json::{Value, json};

use crate::harness::Home;

const UNKNOWN_RUN: &str = "01890000-0000-7000-8000-000000000000";

#[test]
fn absent_null_empty_object_and_empty_list_are_the_same() {
    let home = Home::new();
    let mut server = home.server();
    server.send(&json!({ "jsonrpc": "2.0", "id": "absent", "method": "run/list" }));
    assert!(server.next_unmatched()["result"]["runs"].is_array());
    for params in [Value::Null, json!({}), json!([])] {
        assert!(server.call("run/list", params)["runs"].is_array());
    }
    let params = json!({ "provider": "command", "command": ["true"], "env": [], "labels": [], "unheardOf": { "a": 1 } });
    let (run, mut log) = server.start(params);
    assert_eq!(run["labels"], json!({}));
    server.follow_to_end(&mut log);
    assert_eq!(server.call("run/list", json!({ "label": [] }))["runs"].as_array().expect("runs").len(), 1);
}

#[test]
fn wrong_params_name_the_field() {
    let home = Home::new();
    let mut server = home.server();
    let start = |change: Value| {
        let mut params = json!({ "provider": "command", "command": ["true"] });
        let change = change.as_object().expect("an object").clone();
        params.as_object_mut().expect("an object").extend(change);
        params
    };
    let cases = [
        ("run/start", json!({ "command": ["true"] }), "provider"),
        ("run/start", json!({ "provider": 5 }), "provider"),
        ("run/start", json!({ "provider": "command" }), "command"),
        ("run/start", start(json!({ "command": [] })), "command"),
        ("run/start", start(json!({ "command": "true" })), "command"),
        ("run/start", start(json!({ "command": ["a\u{0}b"] })), "command"),
        ("run/start", start(json!({ "cwd": "not/absolute" })), "cwd"),
        ("run/start", start(json!({ "timeoutMs": -1 })), "timeoutMs"),
        ("run/start", start(json!({ "env": { "A=B": "c" } })), "env"),
        ("run/start", start(json!({ "attach": { "kinds": ["nonsense"] } })), "attach"),
        ("run/start", start(json!({ "onDisconnect": "explode" })), "onDisconnect"),
        ("run/start", start(json!({ "model": "" })), "model"),
        ("run/configure", json!({ "runId": UNKNOWN_RUN, "model": " " }), "model"),
        ("run/get", json!({}), "runId"),
        ("run/get", json!({ "runId": "no-such-thing" }), "runId"),
        ("run/read", json!({ "runId": UNKNOWN_RUN, "afterSeq": "one" }), "afterSeq"),
        ("run/text", json!({ "runId": UNKNOWN_RUN, "stream": "stdin" }), "stream"),
        ("run/list", json!({ "states": ["asleep"] }), "states"),
        ("run/list", json!({ "cursor": "nonsense" }), "cursor"),
        ("run/attach", json!({ "runId": UNKNOWN_RUN, "kinds": "output" }), "kinds"),
        ("run/edit", json!({ "runId": UNKNOWN_RUN, "pinned": "yes" }), "pinned"),
    ];
    for (method, params, field) in cases {
        let failure = server.expect_failure(method, params.clone());
        assert_eq!(failure.code, -32602, "{method} {params}: {failure:?}");
        let named = failure.data["field"].as_str().expect("a field");
        assert!(named == field || named.starts_with(&format!("{field}.")) || named.starts_with(&format!("{field}[")), "{params}: {named}");
    }
}

#[test]
fn a_run_that_is_not_there_is_named() {
    let home = Home::new();
    let mut server = home.server();
    let methods = [
        "get",
        "edit",
        "cancel",
        "interrupt",
        "closeInput",
        "sync",
        "read",
        "items",
        "text",
        "attach",
        "detach",
        "delete",
        "takeover",
        "configure",
        "changes",
    ];
    for method in methods {
        let failure = server.expect_failure(&format!("run/{method}"), json!({ "runId": UNKNOWN_RUN }));
        assert_eq!((failure.code, &failure.data["runId"]), (-32001, &json!(UNKNOWN_RUN)), "{method}");
    }
    let failure = server.expect_failure("run/send", json!({ "runId": UNKNOWN_RUN, "text": "x" }));
    assert_eq!(failure.code, -32001);
    let failure = server.expect_failure("run/answer", json!({ "runId": UNKNOWN_RUN, "permissionId": "1", "cancelled": true }));
    assert_eq!(failure.code, -32001);
}

#[test]
fn unknown_methods_and_providers_are_refused() {
    let home = Home::new();
    let mut server = home.server();
    for method in ["run/find", "rpc.discover", ""] {
        assert_eq!(server.expect_failure(method, json!({ "query": "x" })).code, -32601, "{method}");
    }
    for method in ["provider/options", "session/list"] {
        assert_eq!(server.expect_failure(method, json!({ "provider": "nobody" })).code, -32010, "{method}");
        assert_eq!(server.expect_failure(method, json!({ "provider": "command" })).code, -32013, "{method}");
    }
    let failure = server.expect_failure("run/start", json!({ "provider": "nobody", "command": ["true"] }));
    assert_eq!((failure.code, &failure.data["provider"]), (-32010, &json!("nobody")));
    assert!(failure.data["known"].as_array().expect("a list").contains(&json!("command")));
    // An unknown notification is ignored.
    server.notify("no/such", json!({}));
    server.call("run/list", json!({}));
}

#[test]
fn a_command_has_no_session_and_no_requests() {
    let home = Home::new();
    let mut server = home.server();
    let (run, mut log) = server.start(json!({ "provider": "command", "command": ["cat"], "interactive": true }));
    let id = &run["id"];
    let refused = [
        ("run/answer", json!({ "runId": id, "permissionId": "1", "optionId": "yes" })),
        ("run/takeover", json!({ "runId": id })),
        ("run/configure", json!({ "runId": id, "model": "any" })),
        ("run/start", json!({ "provider": "command", "command": ["true"], "resume": { "runId": id } })),
        ("run/start", json!({ "provider": "command", "command": ["true"], "resume": { "sessionId": "any" } })),
    ];
    for (method, params) in refused {
        assert_eq!(server.expect_failure(method, params).code, -32013, "{method}");
    }
    server.call("run/closeInput", json!({ "runId": id }));
    server.follow_to_end(&mut log);
    assert_eq!(server.expect_failure("run/takeover", json!({ "runId": id })).code, -32013);
}

#[test]
fn providers_and_the_store_describe_themselves() {
    let home = Home::new();
    let mut server = home.server();
    let providers = server.call("provider/list", json!({}))["providers"].clone();
    let command = providers.as_array().expect("a list").iter().find(|provider| provider["id"] == "command").expect("command");
    assert_eq!(command["available"], true);
    for capability in ["resume", "send", "steer", "interrupt", "permissions", "updates"] {
        assert!(command["capabilities"][capability].is_boolean(), "{capability}");
    }
    for other in providers.as_array().expect("a list").iter().filter(|provider| provider["available"] == false) {
        assert!(other["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{other}");
    }
    let (_, mut log) = server.sh("seq 1 1000");
    server.follow_to_end(&mut log);
    let stats = server.call("store/stats", json!({}));
    assert_eq!((&stats["runs"], &stats["liveRuns"]), (&json!(1), &json!(0)));
    for name in ["entries", "logicalBytes", "storedBytes", "fileBytes", "dedupedBytes", "formatVersion"] {
        assert!(stats[name].is_u64(), "{name}");
    }
    assert!(stats["logicalBytes"].as_u64() > Some(log.stdout.len() as u64));
}

#[test]
fn null_is_absent_and_a_whole_float_is_a_whole_number() {
    let home = Home::new();
    let mut server = home.setup().spawn();
    let odd = json!({ "protocolVersion": 1.0, "clientInfo": null, "capabilities": { "watch": null, "output": null } });
    assert_eq!(server.call("initialize", odd)["capabilities"]["output"]["maxChunkBytes"], 65_536);
    let params = json!({ "provider": "command", "command": ["sh", "-c", "echo ${HOME-gone}"], "title": null, "tty": null, "timeoutMs": 60000.0, "env": { "HOME": null } });
    let (_, mut log) = server.start(params);
    server.follow_to_end(&mut log);
    assert_eq!(log.stdout, b"gone\n", "null in `env` goes on meaning that the variable is removed");
}

#[test]
fn params_are_checked_before_the_provider_is_looked_for() {
    let home = Home::new();
    let mut server = home.server();
    for method in ["session/list", "provider/options"] {
        let failure = server.expect_failure(method, json!({ "provider": "nobody", "cwd": "relative" }));
        assert_eq!((failure.code, &failure.data["field"]), (-32602, &json!("cwd")), "{method}");
        assert_eq!(server.expect_failure(method, json!({ "provider": "nobody" })).code, -32010);
    }
}

#[test]
fn mcp_servers_are_for_agents_that_take_them() {
    let home = Home::new();
    let mut server = home.server();
    let servers = json!([{ "name": "notes", "command": "notes" }]);
    let failure = server.expect_failure("run/start", json!({ "provider": "command", "command": ["true"], "mcpServers": servers }));
    assert_eq!((failure.kind, failure.data["capability"].as_str()), ("unsupported", Some("mcpServers")), "{failure:?}");
    let invalid = json!({ "provider": "claude", "prompt": "hello", "mcpServers": [{ "name": "notes" }] });
    let failure = server.expect_failure("run/start", invalid);
    assert_eq!((failure.kind, failure.data["field"].as_str()), ("invalidParams", Some("mcpServers[0]")), "{failure:?}");
    assert!(home.run_directories().is_empty());
}
