//! One run, page by page.

use serde_json::{Value, json};

use super::{body, continuation, mcp, pages, tool};
use crate::{
    agents::params_with,
    harness::{Gate, Home, Server, sh},
};

fn agent_run(home: &Home, server: &mut Server, prompt: &str) -> String {
    let (_, mut log) = server.start(params_with(home, prompt, json!({ "permissions": "bypass" })));
    server.follow_to_end(&mut log);
    log.run
}

fn command(home: &Home, script: &str) -> Value {
    json!({ "provider": "command", "command": sh(script), "cwd": home.path() })
}

#[test]
fn the_output_of_a_command_is_read_whole_in_pages() {
    let home = Home::new();
    let mut server = home.server();
    let (_, mut log) = server.start(command(&home, "for n in $(seq 1 3000); do echo \"line é $n\"; done; exit 3"));
    server.follow_to_end(&mut log);
    let mut client = mcp(&home, &[]);
    let read = pages(&mut client, "read_run", json!({ "run": log.run }), "offset");
    assert!(read.len() > 4, "{} pages", read.len());
    let text: String = read.iter().map(|page| page.rsplit_once('\n').expect("a last line").0).collect();
    assert_eq!(text, String::from_utf8_lossy(&log.stdout));
    assert!(read.last().is_some_and(|last| last.contains("failed (exit code 3)")), "{read:?}");
    let outline = tool(&mut client, "outline", json!({ "run": log.run }));
    assert!(outline.contains("failed (exit code 3)") && outline.contains("seq 1 3000"), "{outline}");
    let tail = tool(&mut client, "tail_output", json!({ "run": log.run, "bytes": 30 }));
    assert!(tail.contains("line é 3000\n") && !tail.contains("2990"), "{tail}");
    let again = tool(&mut client, "resume_command", json!({ "run": log.run }));
    assert!(again.starts_with(&format!("cd {} && sh -c 'for n in", home.path().display())), "{again}");
}

#[test]
fn the_items_of_an_agent_are_read_whole_in_pages() {
    let home = Home::new();
    let mut server = home.server();
    let long = "word ".repeat(4000);
    let steps: Vec<String> = (0..120).map(|number| format!("say message {number} {}\nthink apart", "x".repeat(200))).collect();
    let run = agent_run(&home, &mut server, &format!("say {long}\ntool execute 40000\n{}\nedit made.txt new\ntext", steps.join("\n")));
    let mut client = mcp(&home, &[]);
    let read = pages(&mut client, "read_run", json!({ "run": run }), "after");
    let (text, count) = (read.concat(), read.len());
    let places: Vec<usize> = (0..120).map(|number| text.rfind(&format!("agent: message {number} ")).expect("a message")).collect();
    assert!(count > 3 && places.is_sorted(), "{count} pages");
    // Backward, the same.
    let mut back = Vec::new();
    let mut arguments = json!({ "run": run, "before": 1_000_000 });
    loop {
        let page = tool(&mut client, "read_run", arguments.clone());
        let next = continuation(&page, "before");
        back.insert(0, page);
        match next {
            Some(next) => arguments["before"] = json!(next.parse::<u64>().expect("a number")),
            None => break,
        }
    }
    let back = back.concat();
    assert!((0..120).all(|number| back.contains(&format!("agent: message {number} "))), "{back}");
    // A long item is shortened there, and whole by itself.
    let number = |what: &str| -> u64 {
        let line = text.lines().find(|line| line.contains(what)).expect("an item");
        line[1..].split(']').next().and_then(|number| number.parse().ok()).expect("a number")
    };
    let item = pages(&mut client, "read_run", json!({ "run": run, "item": number("agent: word word") }), "offset");
    let whole: String = item.iter().map(|page| body(page)).collect();
    assert!(item.len() > 2 && whole.matches("word").count() >= 3990, "{} pages, {}", item.len(), whole.matches("word").count());
    let tool_call = pages(&mut client, "read_run", json!({ "run": run, "item": number("a tool of 40000 bytes") }), "offset");
    let tool_call: String = tool_call.iter().map(|page| body(page)).collect();
    assert!(tool_call.matches("0123456789abcde").count() >= 2490);

    let outline = pages(&mut client, "outline", json!({ "run": run }), "after").concat();
    for line in
        ["user: say word", "execute (completed): a tool of 40000 bytes", "edit (completed): Write made.txt", "end of turn 1 (end_turn)"]
    {
        assert!(outline.contains(line), "{line} in {outline}");
    }
    let changes = tool(&mut client, "run_changes", json!({ "run": run }));
    assert!(changes.contains(&format!("added {}/made.txt +1 -0", home.path().display())), "{changes}");
    let patch = tool(&mut client, "run_changes", json!({ "run": run, "path": "made.txt" }));
    assert!(patch.contains("+new"), "{patch}");
    assert!(super::refusal(&mut client, "run_changes", json!({ "run": run, "path": "none.txt" })).contains("none.txt"));
    let resume = tool(&mut client, "resume_command", json!({ "run": run }));
    assert!(resume.contains(&format!("loomd takeover {run}")), "{resume}");
}

#[test]
fn a_running_command_is_watched_to_its_end() {
    let home = Home::new();
    let mut server = home.server();
    let mut gate = Gate::new(home.path(), "gate");
    let (_, mut log) = server.start(command(&home, &format!("echo begun; {}; echo done", gate.wait())));
    server.follow(&mut log, "output", |log| log.stdout.ends_with(b"begun\n"));
    let mut client = mcp(&home, &[]);
    let waited = tool(&mut client, "wait_run", json!({ "run": log.run, "timeout_seconds": 0 }));
    assert!(waited.contains("is running"), "{waited}");
    let tail = tool(&mut client, "tail_output", json!({ "run": log.run }));
    assert!(tail.starts_with("begun\n") && tail.contains("is running"), "{tail}");
    let read = tool(&mut client, "read_run", json!({ "run": log.run }));
    assert_eq!(continuation(&read, "offset").as_deref(), Some("6"), "{read}");
    let wait = client.send_request("tools/call", json!({ "name": "wait_run", "arguments": { "run": log.run } }));
    // Others are answered meanwhile.
    assert!(tool(&mut client, "list_runs", json!({ "state": "live" })).contains(&log.run));
    assert!(!client.has_response(wait));
    gate.open();
    let waited = client.wait_response(wait).expect("an answer")["content"][0]["text"].to_string();
    assert!(waited.contains("succeeded"), "{waited}");
    let rest = tool(&mut client, "read_run", json!({ "run": log.run, "offset": 6 }));
    assert!(rest.starts_with("done\n"), "{rest}");
    server.follow_to_end(&mut log);
}

/// Control sequences and long lines of a program do no harm.
#[test]
fn what_a_program_writes_is_told_as_plain_and_bounded_text() {
    let home = Home::new();
    let mut server = home.server();
    let (_, mut log) = server
        .start(command(&home, r"printf '\033[31mred\033[0m \033]0;title\007plain\n'; head -c 100000 /dev/zero | tr '\0' x; echo needle"));
    server.follow_to_end(&mut log);
    let mut client = mcp(&home, &["--may-start"]);
    let read = tool(&mut client, "read_run", json!({ "run": log.run }));
    assert!(read.starts_with("red plain\nxxx"), "{read:.100}");
    let found = tool(&mut client, "search_runs", json!({ "query": "needle", "run": log.run }));
    assert!(found.contains("…") && found.len() < 1500, "{found}");
    for name in ["outline", "tail_output", "wait_run", "resume_command", "run_changes"] {
        let text = tool(&mut client, name, json!({ "run": log.run }));
        assert!(!text.contains('\u{1b}') && !text.contains('\u{7}'), "{text}");
    }
}
