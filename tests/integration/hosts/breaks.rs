//! Connections that break: what is shown goes on where it stopped, and nothing is done twice.

use serde_json::json;

use super::{FAR_SIDE, Hosts, text};
use crate::harness::{Gate, until};

/// Prints numbered lines for a while.
const COUNTING: &str = "i=0; while [ $i -lt 400 ]; do echo \"line $i, shown once\"; i=$((i+1)); [ $((i % 20)) -ne 0 ] || sleep 0.02; done";

fn counted() -> String {
    (0..400).map(|number| format!("line {number}, shown once\n")).collect()
}

impl Hosts {
    /// A host whose line breaks again and again.
    fn breaking(&self, name: &str, seed: u32) {
        let counter = self.far.path().join(format!("counter-{name}"));
        self.host(name, &format!("exec python3 -B '{FAR_SIDE}' cut {seed} '{}' \"$LOOMD\"", counter.display()));
    }

    fn attempts(&self, name: &str) -> usize {
        std::fs::read(self.far.path().join(format!("counter-{name}"))).map_or(0, |bytes| bytes.len())
    }
}

#[test]
fn over_a_line_that_breaks_at_random_the_output_is_shown_once() {
    let mut breaks = 0;
    for seed in 0..2 {
        let hosts = Hosts::new();
        hosts.breaking("breaks", seed);
        let output = hosts.loomd(&["run", "--host", "breaks", "--", "sh", "-c", COUNTING]);
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), counted().as_str()), "seed {seed}: {}", text(&output.stderr));
        let runs = hosts.runs();
        assert_eq!(runs.len(), 1, "seed {seed}: a start that is sent again starts nothing else");
        let id = format!("breaks/{}", runs[0]["id"].as_str().expect("an id"));
        for arguments in [&["attach", "--from-start", &id][..], &["logs", "-f", &id], &["logs", &id], &["export", &id, "-f", "text"]] {
            let output = hosts.loomd(arguments);
            assert_eq!(
                (output.status.code(), text(&output.stdout)),
                (Some(0), counted().as_str()),
                "seed {seed}, {arguments:?}: {}",
                text(&output.stderr)
            );
        }
        assert!(hosts.stdout(&["list", "--host", "breaks"]).starts_with("breaks/"));
        breaks += hosts.attempts("breaks");
    }
    // Six commands for each seed, which need one connection each where nothing breaks.
    assert!(breaks >= 2 * 6 * 2, "only {breaks} connections");
}

#[test]
fn over_a_line_that_breaks_what_is_typed_arrives_once() {
    for seed in 10..11 {
        let hosts = Hosts::new();
        hosts.breaking("breaks", seed);
        let input: String = (0..150).map(|number| format!("typed {number}\n")).collect();
        let file = hosts.near.file("input", input.as_bytes());
        let mut command = hosts.command(&["run", "--host", "breaks", "--interactive", "--", "cat"]);
        let output = command.stdin(std::fs::File::open(file).expect("opened")).output().expect("loomd starts");
        assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), input.as_str()), "seed {seed}: {}", text(&output.stderr));
        // Each command has a connection of its own, which breaks too.
        let id = hosts.stdout(&["run", "--host", "breaks", "--detach", "--interactive", "--", "cat"]);
        for number in 0..5 {
            hosts.stdout(&["send", id.trim(), &format!("sent {number}")]);
        }
        hosts.stdout(&["send", id.trim(), "last", "--close"]);
        assert_eq!(hosts.stdout(&["logs", "-f", id.trim()]), "sent 0\nsent 1\nsent 2\nsent 3\nsent 4\nlast\n");
    }
}

#[test]
fn what_took_effect_and_had_no_answer_is_sent_again_and_done_once() {
    let hosts = Hosts::new();
    let far = hosts.far.path().display().to_string();
    let loses = |name: &str, method: &str| {
        hosts.host(name, &format!("exec python3 -B '{FAR_SIDE}' lose {method} '{far}/lost-{name}' \"$LOOMD\""));
    };
    loses("start", "run/start");
    assert_eq!(hosts.stdout(&["run", "--host", "start", "--", "echo", "x"]), "x\n");
    assert_eq!(hosts.runs().len(), 1, "a start that is sent again starts nothing else");
    let id = hosts.stdout(&["run", "--host", "build", "--detach", "--interactive", "--", "cat"]);
    let id = id.trim().trim_start_matches("build/");
    loses("send", "run/send");
    hosts.stdout(&["send", &format!("send/{id}"), "one"]);
    loses("close", "run/closeInput");
    hosts.stdout(&["send", &format!("close/{id}"), "two", "--close"]);
    assert_eq!(hosts.stdout(&["logs", "-f", &format!("build/{id}")]), "one\ntwo\n");
    loses("typed", "run/send");
    let file = hosts.near.file("input", b"typed\n");
    let mut command = hosts.command(&["run", "--host", "typed", "--interactive", "--", "cat"]);
    let output = command.stdin(std::fs::File::open(file).expect("opened")).output().expect("loomd starts");
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), "typed\n"), "{}", text(&output.stderr));
    for name in ["start", "send", "close", "typed"] {
        assert!(hosts.far.path().join(format!("lost-{name}")).exists(), "{name} lost nothing");
        assert_eq!(hosts.calls().iter().filter(|call| call.contains(&format!("|{name}|"))).count(), 2, "{name}");
    }
}

#[test]
fn a_break_is_told_once_and_a_live_run_goes_on() {
    let hosts = Hosts::new();
    let mut gate = Gate::new(hosts.far.path(), "gate");
    let pids = hosts.far.path().join("pids").display().to_string();
    hosts.host("build", &format!("echo $$ >> '{pids}'; \"$LOOMD\"; echo 'client_loop: send disconnect: Broken pipe' >&2; exit 255"));
    let mut run = hosts.command(&["run", "--host", "build", "--", "sh", "-c", &format!("echo one; {}; echo two", gate.wait())]);
    let run = run.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().expect("loomd starts");
    let serves = || hosts.far.processes().into_iter().find(|process| process.command.trim_end() == super::LOOMD);
    until("the output is there", || (hosts.far.server().call("run/list", json!({}))["runs"][0]["bytes"]["stdout"] == 4).then_some(()));
    // The server that ssh has started ends, and so does ssh.
    crate::harness::kill(serves().expect("a server there").pid);
    until("a second login", || (std::fs::read_to_string(&pids).expect("pids").lines().count() == 2).then_some(()));
    gate.open();
    let output = run.wait_with_output().expect("it ends");
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), "one\ntwo\n"));
    let told = text(&output.stderr);
    assert_eq!(told.matches("connecting again").count(), 1, "{told}");
    assert!(told.contains("cannot connect to build: client_loop: send disconnect: Broken pipe; connecting again…"), "{told}");
}

#[test]
fn what_cannot_be_mended_ends_with_how_to_go_on() {
    let hosts = Hosts::new();
    let far = hosts.far.path().display().to_string();
    hosts.host("build", &format!("[ ! -e '{far}/once' ] || {{ echo 'me@build: Permission denied (publickey).' >&2; exit 255; }}; touch '{far}/once'; exec \"$LOOMD\""));
    let run = hosts.command(&["run", "--host", "build", "--", "sh", "-c", "echo one; sleep 1000"]);
    let mut run = run;
    let run = run.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().expect("loomd starts");
    until("the output is there", || (hosts.far.server().call("run/list", json!({}))["runs"][0]["bytes"]["stdout"] == 4).then_some(()));
    let server = hosts.far.processes().into_iter().find(|process| process.command.trim_end() == super::LOOMD).expect("a server there");
    crate::harness::kill(server.pid);
    let output = run.wait_with_output().expect("it ends");
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(1), "one\n"));
    let told = text(&output.stderr);
    assert!(told.contains("Permission denied (publickey).; the run is not affected: `loomd attach build/"), "{told}");
    let runs = hosts.runs();
    assert_eq!(runs[0]["state"], "running");
    hosts.far.server().call("run/cancel", json!({ "runId": runs[0]["id"], "graceMs": 0 }));
}
