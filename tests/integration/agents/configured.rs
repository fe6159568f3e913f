//! Plain command-line tools that the configuration makes providers: the prompt in their argv or at stdin, their
//! sessions, their errors.

use std::{env, fs, os::unix::fs::PermissionsExt};

use serde_json::{Value, json};

use super::scripted;
use crate::{
    faults::initialize_fails,
    harness::{Gate, Home, Process, Server},
};

/// A server whose configuration has the provider `tool`, with this command line and further lines.
fn with_tool(home: &Home, words: &[&str], more: &str) -> Server {
    let mut command = vec!["sh", "-c"];
    command.extend(words);
    let path = home.file("config.toml", format!("[providers.tool]\nkind = \"command\"\ncommand = {}\n{more}", json!(command)).as_bytes());
    home.setup().arg("--config").arg(&path).start()
}

fn run_params(home: &Home, prompt: &str) -> Value {
    json!({ "provider": "tool", "prompt": prompt, "cwd": home.path() })
}

#[test]
fn a_program_that_works_gets_more_time_to_start_than_one_that_waits() {
    let home = Home::new();
    let agent = scripted(&home, &[]);
    let busy = "import os, sys, time\nwhile time.process_time() < 3: pass\nos.execvp(sys.argv[1], sys.argv[1:])";
    let busy: Vec<&str> = ["python3", "-c", busy].into_iter().chain(agent.iter().map(String::as_str)).collect();
    let waiting = ["sleep", "1000"];
    let provider = |name: &str, command: &[&str]| {
        format!("[providers.{name}]\nkind = \"acp\"\ncommand = {}\nstartTimeoutSeconds = 1\n", json!(command))
    };
    let path = home.file("config.toml", (provider("busy", &busy) + &provider("waiting", &waiting)).as_bytes());
    let mut server = home.setup().arg("--config").arg(&path).start();
    let params = |name: &str| json!({ "provider": name, "prompt": "say done", "cwd": home.path() });
    let (_, mut log) = server.start(params("busy"));
    server.follow_to_end(&mut log);
    assert_eq!(log.end()["state"], "succeeded", "three seconds of work: {:?}", log.end());
    let (_, mut log) = server.start(params("waiting"));
    server.follow_to_end(&mut log);
    let message = log.end()["error"]["message"].as_str().unwrap_or_default();
    assert!(message.contains("within 1 s") && message.contains("startTimeoutSeconds"), "{:?}", log.end());
}

#[test]
fn a_prompt_in_the_argv_is_one_argument_whatever_it_contains() {
    let home = Home::new();
    let mut server = with_tool(&home, &["printf '<%s>' \"$@\"; cat", "sh", "-p", "{prompt}"], "args = [\"--last\"]\n");
    let prompt = "two words; $(touch made) \"quoted\" {session}\nand a line";
    let (run, mut log) = server.start(run_params(&home, prompt));
    server.follow_to_end(&mut log);
    assert_eq!(log.stdout_text(), format!("<-p><{prompt}><--last>"), "and nothing at its stdin");
    assert_eq!(run["command"].as_array().map(Vec::len), Some(7));
    assert_eq!((log.text_of("user_message_chunk").as_str(), &log.end()["state"]), (prompt, &json!("succeeded")));
    assert_eq!((&log.end()["turn"], &log.end()["stopReason"]), (&json!(1), &json!("end_turn")));
}

#[test]
fn a_prompt_at_stdin_is_whole_and_in_no_process_list() {
    let home = Home::new();
    let mut gate = Gate::new(home.path(), "gate");
    let mut server = with_tool(&home, &[&format!("cat; echo; echo heard; {}", gate.wait())], "");
    let prompt = format!("nobody-else-shall-read-this {}", "x".repeat(300_000));
    let (_, mut log) = server.start(run_params(&home, &prompt));
    server.follow(&mut log, "all of it", |log| log.stdout.ends_with(b"\nheard\n"));
    for process in Process::all() {
        assert!(!process.command.contains("nobody-else-shall-read-this"), "{process:?}");
    }
    gate.open();
    server.follow_to_end(&mut log);
    assert_eq!((log.stdout_text(), log.text_of("user_message_chunk")), (format!("{prompt}\nheard\n"), prompt));
}

#[test]
fn a_session_is_found_kept_resumed_and_held() {
    let home = Home::new();
    let mut gate = Gate::new(home.path(), "gate");
    let script = format!("echo 'the session is: s-7.'; {}", gate.wait());
    let resume = json!(["sh", "-c", "printf '<%s>' \"$@\"", "sh", "--resume={session}", "{prompt}"]);
    let more = format!("session = 'session is: ([\\w-]+)'\nresume = {resume}\n");
    let mut server = with_tool(&home, &[&script], &more);
    let (run, mut log) = server.start(run_params(&home, "begin"));
    server.follow(&mut log, "the session", |log| !log.sessions().is_empty());
    assert_eq!((&log.sessions()[0]["id"], &log.sessions()[0]["resumable"]), (&json!("s-7"), &json!(false)));
    let again = json!({ "provider": "tool", "prompt": "go on", "resume": { "runId": run["id"] } });
    let busy = server.expect_failure("run/start", again.clone());
    assert_eq!((busy.code, &busy.data["runId"]), (-32016, &run["id"]));
    gate.open();
    let first = server.follow_to_end(&mut log);
    assert_eq!(first["session"]["resumable"], true, "its program ended well");
    let (second, mut log) = server.start(again);
    let second = (second, server.follow_to_end(&mut log)).0;
    assert_eq!(log.stdout_text(), "<--resume=s-7><go on>");
    assert_eq!((&second["parentRunId"], &second["cwd"]), (&run["id"], &run["cwd"]));
}

#[test]
fn a_tools_exit_code_is_the_runs_result() {
    let home = Home::new();
    let mut server = with_tool(&home, &["echo an excuse >&2; exit \"$1\"", "sh", "{prompt}"], "");
    let (_, mut log) = server.start(run_params(&home, "3"));
    let run = server.follow_to_end(&mut log);
    assert_eq!((&run["state"], &run["exitCode"], &run["error"]["kind"]), (&json!("failed"), &json!(3), &json!("provider")));
    let message = run["error"]["message"].as_str().expect("a message");
    assert!(message.contains("code 3") && message.contains("an excuse"), "{message}");
    let (_, mut log) = server.start(run_params(&home, "0"));
    assert_eq!(server.follow_to_end(&mut log)["state"], "succeeded");
}

#[test]
fn what_a_tool_cannot_do_is_refused() {
    let home = Home::new();
    let mut server = with_tool(&home, &["cat"], "");
    for (more, capability) in [
        (json!({ "interactive": true }), "send"),
        (json!({ "permissions": "readOnly" }), "permissions"),
        (json!({ "model": "m" }), "model"),
        (json!({ "resume": { "sessionId": "s" } }), "resume"),
    ] {
        let mut params = run_params(&home, "hello");
        params.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        let failure = server.expect_failure("run/start", params);
        assert_eq!((failure.code, &failure.data["capability"]), (-32013, &json!(capability)), "{failure:?}");
    }
}

#[test]
fn an_interrupt_ends_a_tool() {
    let home = Home::new();
    let mut server = with_tool(&home, &["echo begun; sleep 1000"], "");
    let (_, mut log) = server.start(run_params(&home, "work"));
    server.follow(&mut log, "a beginning", |log| log.stdout == b"begun\n");
    server.call("run/interrupt", json!({ "runId": log.run }));
    server.follow_to_end(&mut log);
    assert_eq!((&log.end()["state"], &log.end()["turn"]), (&json!("cancelled"), &json!(1)));
    home.wait_until_swept(&log.run);
}

#[test]
fn senseless_values_are_a_bad_configuration() {
    for (words, reason) in [("session = \"(unclosed\"", "unclosed"), ("format = \"prose\"", "codex-exec"), ("resume = []", "empty resume")]
    {
        let home = Home::new();
        let path =
            home.file("odd.toml", format!("# fine\n[providers.tool]\nkind = \"command\"\ncommand = [\"cat\"]\n{words}\n").as_bytes());
        let mut server = home.setup().arg("--config").arg(&path).spawn();
        let failure = server.expect_failure("initialize", json!({ "protocolVersion": 1 }));
        assert_eq!((failure.kind, &failure.data["path"], &failure.data["line"]), ("config", &json!(path), &json!(2)), "{failure:?}");
        assert!(failure.message.contains(reason) && failure.message.contains("`tool`"), "{}", failure.message);
        initialize_fails(home.setup().env("LOOMD_CONFIG", &path).spawn(), "config");
    }
}

#[test]
fn a_prompt_at_a_terminals_stdin_arrives_too() {
    let home = Home::new();
    let mut server = with_tool(&home, &["stty -echo; cat; echo heard"], "");
    let (_, mut log) = server.start(json!({ "provider": "tool", "prompt": "hello", "cwd": home.path(), "tty": true }));
    server.follow_to_end(&mut log);
    assert!(log.stdout_text().contains("hello") && log.stdout_text().contains("heard"), "{:?}", log.stdout_text());
}

#[test]
fn a_tool_whose_argv_wants_a_prompt_is_given_one() {
    let home = Home::new();
    let mut server = with_tool(&home, &["printf '<%s>' \"$@\"", "sh", "-p", "{prompt}"], "");
    let failure = server.expect_failure("run/start", json!({ "provider": "tool", "cwd": home.path() }));
    assert_eq!((failure.code, &failure.data["field"]), (-32602, &json!("prompt")), "{failure:?}");
    let (_, mut log) = server.start(run_params(&home, "words"));
    server.follow_to_end(&mut log);
    assert_eq!(log.stdout_text(), "<-p><words>");
}

#[test]
fn a_missing_program_is_named() {
    let home = Home::new();
    let path = home.file(
        "config.toml",
        b"[providers.codex]\nprogram = \"/nowhere/codex\"\n[providers.mine]\nkind = \"command\"\ncommand = [\"no-such-program\"]\n",
    );
    let mut server = home.setup().arg("--config").arg(&path).start();
    let providers = server.call("provider/list", Value::Null)["providers"].clone();
    let reason = |id: &str| {
        let provider = providers.as_array().expect("a list").iter().find(|provider| provider["id"] == id).expect("it is listed");
        provider["reason"].as_str().expect("it is not there").to_owned()
    };
    assert!(reason("codex").contains("/nowhere/codex"), "{}", reason("codex"));
    assert!(
        reason("mine").contains("no-such-program") && !reason("mine").contains("set `command` to its command line"),
        "{}",
        reason("mine")
    );
}

#[test]
fn an_agent_that_exits_at_once_loses_nothing() {
    let home = Home::new();
    // As Node does: what a pipe does not take at once is lost at the exit.
    let script = "import os; os.set_blocking(1, False); print(os.write(1, b'x' * 900_000), file=__import__('sys').stderr)";
    let file = home.file("agent.py", script.as_bytes());
    let mut server = with_tool(&home, &[&format!("exec python3 '{file}'")], "");
    let (_, mut log) = server.start(run_params(&home, "hello"));
    server.follow_to_end(&mut log);
    assert_eq!((log.stdout.len(), String::from_utf8_lossy(&log.stderr).trim()), (900_000, "900000"));
}

#[test]
fn a_prompt_that_no_argv_takes_is_to_go_to_stdin() {
    let home = Home::new();
    let mut server = with_tool(&home, &["cat", "sh", "{prompt}"], "");
    let failure = server.expect_failure("run/start", run_params(&home, &"x".repeat(300_000)));
    assert_eq!(failure.kind, "spawnFailed");
    assert!(failure.data["hint"].as_str().expect("a hint").contains("leave `{prompt}` out"), "{failure:?}");
}

/// A preset is its program, wherever in PATH that is, and nothing has to be configured.
#[test]
fn a_preset_that_is_installed_starts() {
    let home = Home::new();
    let programs = home.path().join("programs");
    fs::create_dir(&programs).expect("a directory");
    let agent = scripted(&home, &[]).iter().map(|word| format!("'{word}' ")).collect::<String>();
    let program = home.file("programs/qwen", format!("#!/bin/sh\n[ \"$*\" = --acp ] || exit 9\nexec {agent}\n").as_bytes());
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("an executable");
    let path = format!("{}:{}", programs.display(), env::var("PATH").expect("a PATH"));
    let mut server = home.setup().env("PATH", &path).start();
    let (_, mut log) = server.start(json!({ "provider": "qwen", "prompt": "say I am here", "cwd": home.path() }));
    let run = server.follow_to_end(&mut log);
    assert_eq!((&run["state"], log.text_of("agent_message_chunk").as_str()), (&json!("succeeded"), "I am here"));
    let providers = server.call("provider/list", json!({}))["providers"].clone();
    let info = |id: &str| providers.as_array().expect("providers").iter().find(|info| info["id"] == id).expect("a preset").clone();
    assert_eq!((&info("qwen")["available"], &info("qwen")["kind"]), (&json!(true), &json!("acp")));
    assert!(info("auggie")["available"] == true || info("auggie")["reason"].as_str().is_some_and(|reason| reason.contains("npm install")));
}
