//! A world, made by `tests/agents/world`: an environment without network in which one of the real agents and loomd run.

use std::{
    env, fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};

use crate::{
    agents::Agent,
    harness::{AcpPeer, Home, Log, Server, Setup, until},
};

const WORLD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/agents/world");

pub(crate) struct World {
    pub agent: &'static Agent,
    /// The process that made the world, which ends when its stdin does.
    holder: Child,
    home: Home,
}

/// A process of the world.
#[derive(Debug)]
pub(crate) struct WorldProcess {
    pub pid: u32,
    pub argv: String,
}

impl World {
    /// A fresh world; `None` if the agent is not installed, which is printed.
    pub(crate) fn of(agent: &'static Agent) -> Option<Self> {
        let installed = env::var_os("LOOMD_AGENTS")
            .map_or_else(|| PathBuf::from(env::var_os("HOME").unwrap_or_default()).join(".cache/loomd/agents"), PathBuf::from);
        if !cfg!(target_os = "linux") || !installed.join("bin").join(agent.name).exists() {
            skipped(&format!("{} is not installed; `tests/agents/setup` says why", agent.name));
            return None;
        }
        let home = Home::in_directory(Path::new("/var/tmp"));
        let mut holder = world(&home).arg("hold").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("python3 starts");
        let mut line = String::new();
        BufReader::new(holder.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
        assert!(serde_json::from_str::<Value>(&line).is_ok_and(|world| world["port"].is_u64()), "the world was not made: {line}");
        fs::create_dir(home.path().join("etc")).expect("a directory");
        fs::write(home.path().join("etc/loomd.toml"), agent.configuration).expect("a file");
        Some(Self { agent, holder, home })
    }

    /// A server in the world, which has been initialized.
    pub(crate) fn server(&self) -> Server {
        Setup::from_command(self.loomd()).start()
    }

    /// An editor above `loomd acp`, which has the agent below it.
    pub(crate) fn editor(&self) -> AcpPeer {
        let mut command = self.loomd();
        command.args(["acp", "--provider", self.agent.name]);
        let mut peer = AcpPeer::spawn(command);
        peer.initialize("test", json!({}));
        peer
    }

    /// A `loomd` in the world, to which further arguments may be added.
    fn loomd(&self) -> Command {
        let mut command = world(&self.home);
        let (mark, value) = self.home.mark();
        command.arg("--env").arg(format!("{mark}={}", value.display()));
        command.args(["--", env!("CARGO_BIN_EXE_loomd"), "--data-dir"]).arg(self.home.data());
        command.arg("--config").arg(self.path().join("etc/loomd.toml"));
        command
    }

    pub(crate) fn path(&self) -> &Path {
        self.home.path()
    }

    /// The directory in which the agent works.
    pub(crate) fn work(&self) -> PathBuf {
        self.path().join("work")
    }

    pub(crate) fn has(&self, file: &str) -> bool {
        self.work().join(file).exists()
    }

    /// Lets the answer to `fake:gate` go on.
    pub(crate) fn open_the_gate(&self) {
        fs::write(self.path().join("gate"), "").expect("a file");
    }

    /// Params of a run.
    pub(crate) fn params(&self, prompt: &str, more: Value) -> Value {
        let mut params = json!({ "provider": self.agent.name, "prompt": prompt, "cwd": self.work() });
        params.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        params
    }

    /// Starts a run with this prompt and follows it.
    pub(crate) fn start(&self, server: &mut Server, prompt: &str, more: Value) -> Log {
        server.start(self.params(prompt, more)).1
    }

    /// The processes of the world without these servers.
    pub(crate) fn others(&self, servers: &[&Server]) -> Vec<WorldProcess> {
        let mut processes = self.processes();
        processes.retain(|process| !servers.iter().any(|server| server.pid() == process.pid));
        processes
    }

    /// The processes of the world without its model.
    pub(crate) fn processes(&self) -> Vec<WorldProcess> {
        let output = world(&self.home).arg("ps").output().expect("python3 starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let processes = |line: &str| {
            let message: Value = serde_json::from_str(line).expect("a process as JSON");
            let argv = message["argv"].as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>().join(" ");
            WorldProcess { pid: u32::try_from(message["pid"].as_u64().expect("a number")).expect("a process id"), argv }
        };
        String::from_utf8_lossy(&output.stdout).lines().map(processes).collect()
    }

    /// Waits until an agent's command runs, as `fake:sleep` starts it.
    pub(crate) fn wait_for_the_command(&self) {
        until("the agent's command", || self.processes().into_iter().find(|process| process.argv == "sleep 120"));
    }

    /// Waits until nothing runs in the world but these servers.
    pub(crate) fn wait_until_alone(&self, servers: &[&Server]) {
        until("an end of all other processes", || self.others(servers).is_empty().then_some(()));
    }

    /// Runs a command in the world and returns what it prints.
    pub(crate) fn inside(&self, argv: &[&str]) -> String {
        let output = world(&self.home).args(["--env", "TERM=xterm-256color", "--"]).args(argv).output().expect("python3 starts");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The requests that the model got.
    pub(crate) fn model_requests(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.path().join("model.jsonl")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).expect("a request as JSON")).collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.wait_until_alone(&[]);
        }
        // When its stdin ends, the holder kills all processes that are left.
        drop(self.holder.stdin.take());
        let ended = self.holder.wait();
        assert!(std::thread::panicking() || ended.is_ok_and(|status| status.success()), "the world did not end");
    }
}

fn world(home: &Home) -> Command {
    let mut command = Command::new("python3");
    command.args(["-B", WORLD, "--dir"]).arg(home.path());
    command
}

/// Reports that a test is skipped: on stdout, and in the file from which `tests/run` collects such reports.
pub(crate) fn skipped(reason: &str) {
    let test = std::thread::current().name().unwrap_or_default().to_owned();
    println!("skipped: {test}: {reason}");
    if let Some(path) = env::var_os("LOOMD_SKIPPED") {
        let line = format!("skipped: {test}: {reason}\n");
        fs::OpenOptions::new().create(true).append(true).open(path).and_then(|mut file| file.write_all(line.as_bytes())).expect("a file");
    }
}
