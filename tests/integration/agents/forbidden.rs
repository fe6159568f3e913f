//! What a process in a run's own tree may do: read, start runs, and steer those that it started. Nothing else, also where it cleared
//! its environment or left its process group.

use serde_json::json;

use super::{follow_to_state, params_with};
use crate::harness::Home;

/// Runs a shell script inside of an agent's run while a question of that run is open, and returns what it wrote. In it `$L` is
/// loomd, `$RUN` the run.
fn inside_of_a_run(home: &Home, script: &str) -> String {
    let mut server = home.server();
    let program = format!(
        "RUN=$LOOMD_RUN_ID; D={data}; L=\"{bin} --data-dir $D\"; until $L list --json | grep -q awaitingPermission; do :; done\n{script}",
        data = home.data().display(),
        bin = env!("CARGO_BIN_EXE_loomd"),
    );
    let path = home.file("inside.sh", program.as_bytes());
    let prompt = format!("during sh {path} 2>&1\nask execute\nsay the end");
    let (_, mut log) = server.start(params_with(home, &prompt, json!({ "interactive": true })));
    follow_to_state(&mut server, &mut log, "awaitingPermission");
    server.follow(&mut log, "the end of the script", |log| log.text_of("agent_message_chunk").contains("done"));
    assert_eq!(server.get(&log.run)["state"], "awaitingPermission", "nobody has answered");
    let written = log.text_of("agent_message_chunk");
    // Somebody outside of the run may do all of it.
    server.call("run/configure", json!({ "runId": log.run, "permissions": "ask" }));
    server.call("run/answer", json!({ "runId": log.run, "permissionId": "p1", "optionId": "no" }));
    server.follow(&mut log, "the answer", |log| log.text_of("agent_message_chunk").contains("chosen: no"));
    server.cancel(&log.run);
    server.follow_to_end(&mut log);
    written
}

#[test]
fn a_run_answers_configures_and_ends_neither_itself_nor_others() {
    let home = Home::new();
    let commands = [
        "answer $RUN yes",
        "configure $RUN --permissions bypass",
        "cancel $RUN",
        "send $RUN more",
        "takeover $RUN --print",
        "delete $RUN",
        "prune --keep 0",
        "rules add allow --command x",
        "rules remove x",
    ];
    let mut script = "try() { \"$@\"; echo \"= $?\"; }\n".to_owned();
    for command in commands {
        for before in ["", "env -i HOME=$HOME", "setsid -w env -i HOME=$HOME"] {
            script += &format!("try {before} $L {command}\n");
        }
    }
    // An orphan belongs to the tree as well.
    script += "(env -i $(command -v sh) -c \"$L answer $RUN yes; echo \\\"= \\$?\\\"\" >$D/../out 2>&1 &)\n";
    script += "until grep -q = $D/../out; do :; done; cat $D/../out\n";
    let expected = 3 * commands.len() + 1;
    let written = inside_of_a_run(&home, &(script + "echo done\n"));
    assert_eq!(written.matches("must not do it").count(), expected, "{written}");
    assert_eq!(written.matches("= 1").count(), expected, "{written}");
}

#[test]
fn a_run_reads_starts_and_steers_what_it_started() {
    let home = Home::new();
    let script = r#"
$L logs $RUN >/dev/null; echo "read $?"
$L rules list; echo "rules $?"
MINE=$($L run --detach --interactive -- cat); echo "start $?"
$L send $MINE hello; echo "send $?"
$L cancel $MINE; echo "cancel $?"
env -i HOME=$HOME $L run --detach -- sleep 1000 >$D/../other; $L cancel $(cat $D/../other); echo "cancel other $?"
echo done
"#;
    let written = inside_of_a_run(&home, script);
    for step in ["read 0", "rules 0", "start 0", "send 0", "cancel 0", "cancel other 0"] {
        assert!(written.contains(step), "{step}: {written}");
    }
}

#[test]
fn a_supervisor_looks_for_itself_who_asks() {
    let home = Home::new();
    // No server is in between, and nothing says where the process stands.
    let script = r#"
cat >$D/../ask.py <<'END'
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
for number, word in enumerate(['{"answer":{"permission_id":"p1","option_id":"yes","message":null}}', '{"configure":{"model":null,"permissions":"bypass"}}', '{"cancel":{"grace_ms":0}}'], 1):
    s.sendall(('{"id":%d,"word":%s}\n' % (number, word)).encode())
lines = s.makefile()
answers = 0
while answers < 3:
    line = lines.readline()
    # The answer to request 0 is the supervisor's version.
    if '"answer"' in line and '"id":0' not in line:
        answers += 1
        print(line)
END
P=$(command -v python3); cd $D/runs/$RUN; env -i $P $D/../ask.py s; echo done
"#;
    let written = inside_of_a_run(&home, script);
    assert_eq!(written.matches("\"kind\":\"forbidden\"").count(), 3, "{written}");
}
