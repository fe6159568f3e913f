//! A closed world with one of the real agents in it, and loomd beside the agent.

use std::{
    env, fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use serde_json::{Value, json};

use crate::{
    agents::Agent,
    harness::{Home, Log, Server, Setup, until},
};

const WORLD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/agents/world");

pub struct World {
    pub agent: &'static Agent,
    /// Its stdin holds the world open.
    holder: Child,
    home: Home,
}

/// A process of the world, the model and loomd's servers not counted.
#[derive(Debug)]
pub struct Seen {
    pub pid: u32,
    pub argv: String,
}

impl World {
    /// A fresh world, or nothing where the agent is not installed: then that is said.
    pub fn of(agent: &'static Agent) -> Option<Self> {
        let installed = env::var_os("LOOMD_AGENTS")
            .map_or_else(|| PathBuf::from(env::var_os("HOME").unwrap_or_default()).join(".cache/loomd/agents"), PathBuf::from);
        if !cfg!(target_os = "linux") || !installed.join("bin").join(agent.name).exists() {
            skipped(&format!("{} is not installed; `tests/agents/setup` says why", agent.name));
            return None;
        }
        let home = Home::below(Path::new("/var/tmp"));
        let mut holder = world(&home).arg("hold").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("python3 starts");
        let mut said = String::new();
        BufReader::new(holder.stdout.take().expect("a pipe")).read_line(&mut said).expect("a line");
        assert!(serde_json::from_str::<Value>(&said).is_ok_and(|said| said["port"].is_u64()), "the world was not made: {said}");
        fs::create_dir(home.path().join("etc")).expect("a directory");
        fs::write(home.path().join("etc/loomd.toml"), agent.configuration).expect("a file");
        Some(Self { agent, holder, home })
    }

    /// A server in the world, which has been initialized.
    pub fn server(&self) -> Server {
        let mut command = world(&self.home);
        let (mark, value) = self.home.mark();
        command.arg("--env").arg(format!("{mark}={}", value.display()));
        command.args(["--", env!("CARGO_BIN_EXE_loomd"), "--data-dir"]).arg(self.home.data());
        command.arg("--config").arg(self.path().join("etc/loomd.toml"));
        Setup::by(command).start()
    }

    pub fn path(&self) -> &Path {
        self.home.path()
    }

    /// The directory in which the agent works.
    pub fn work(&self) -> PathBuf {
        self.path().join("work")
    }

    pub fn has(&self, file: &str) -> bool {
        self.work().join(file).exists()
    }

    /// Lets `fake:gate` go on.
    pub fn open_the_gate(&self) {
        fs::write(self.path().join("gate"), "").expect("a file");
    }

    /// Params of a run.
    pub fn params(&self, prompt: &str, more: Value) -> Value {
        let mut params = json!({ "provider": self.agent.name, "prompt": prompt, "cwd": self.work() });
        params.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        params
    }

    /// Starts the run of a prompt, all of which is followed.
    pub fn start(&self, server: &mut Server, prompt: &str, more: Value) -> Log {
        server.start(self.params(prompt, more)).1
    }

    /// What runs in the world beside these servers and the supervisors of loomd.
    pub fn others(&self, servers: &[&Server]) -> Vec<Seen> {
        let mut seen = self.processes();
        seen.retain(|process| !servers.iter().any(|server| server.pid() == process.pid));
        seen
    }

    /// What runs in the world beside its model.
    pub fn processes(&self) -> Vec<Seen> {
        let output = world(&self.home).arg("ps").output().expect("python3 starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let seen = |line: &str| {
            let said: Value = serde_json::from_str(line).expect("a process as JSON");
            let argv = said["argv"].as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>().join(" ");
            Seen { pid: u32::try_from(said["pid"].as_u64().expect("a number")).expect("a process id"), argv }
        };
        String::from_utf8_lossy(&output.stdout).lines().map(seen).collect()
    }

    /// Waits until an agent's command runs, as `fake:sleep` starts it.
    pub fn wait_for_the_command(&self) {
        until("the agent's command", || self.processes().into_iter().find(|process| process.argv == "sleep 120"));
    }

    /// Waits until nothing runs in the world but these servers.
    pub fn wait_until_alone(&self, servers: &[&Server]) {
        until("an end of all other processes", || self.others(servers).is_empty().then_some(()));
    }

    /// Runs a command in the world and returns what it prints.
    pub fn inside(&self, argv: &[&str]) -> String {
        let output = world(&self.home).args(["--env", "TERM=xterm-256color", "--"]).args(argv).output().expect("python3 starts");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// What the model was asked, body by body.
    pub fn asked_of_the_model(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.path().join("model.jsonl")).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).expect("a request as JSON")).collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.wait_until_alone(&[]);
        }
        // With the end of its stdin the holder ends all that is left.
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

/// Says that a test did not take place: where people look at its output, and where `tests/run` collects it.
pub fn skipped(reason: &str) {
    let test = std::thread::current().name().unwrap_or_default().to_owned();
    println!("skipped: {test}: {reason}");
    if let Some(path) = env::var_os("LOOMD_SKIPPED") {
        let line = format!("skipped: {test}: {reason}\n");
        fs::OpenOptions::new().create(true).append(true).open(path).and_then(|mut file| file.write_all(line.as_bytes())).expect("a file");
    }
}
