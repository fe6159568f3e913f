//! Other hosts: commands and front ends through an `ssh` that a test has made, and through a real one.
//!
//! A host is a home of its own with a script that stands for the login there.

mod breaks;
mod front_ends;
mod lists;
mod names;
mod sshd;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output, Stdio},
};

use serde_json::Value;

use crate::harness::{Home, isolated};

const LOOMD: &str = env!("CARGO_BIN_EXE_loomd");

/// The stand-in for a bad line and for other releases.
const FAR_SIDE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/integration/hosts/far_side.py");

/// Two homes: ours with the `ssh` that is found first, and that of the hosts.
struct Hosts {
    near: Home,
    far: Home,
}

impl Hosts {
    fn new() -> Self {
        let hosts = Self { near: Home::new(), far: Home::new() };
        let near = hosts.near.path();
        fs::create_dir_all(near.join("bin")).expect("made");
        fs::create_dir_all(near.join("hosts")).expect("made");
        // It writes down its arguments, one call a line, and runs what stands for the host.
        let ssh =
            format!("#!/bin/sh\nprintf '%s|' \"$@\" >> '{0}/calls'; echo >> '{0}/calls'\nexec \"{0}/hosts/$3\" \"$@\"\n", near.display());
        write_script(&near.join("bin/ssh"), &ssh);
        hosts.host("build", "exec \"$LOOMD\"");
        hosts
    }

    /// What happens at a login at a host. `$LOOMD` is loomd there, in the home of the hosts.
    fn host(&self, name: &str, script: &str) {
        let far = self.far.path().display();
        let (mark, value) = self.far.mark();
        let text = format!(
            "#!/bin/sh\ncd '{far}' || exit 1\nexport HOME='{far}' PWD='{far}' LOOMD_DATA_DIR='{far}/data' XDG_CONFIG_HOME='{far}/config' \
             {mark}='{}' LOOMD='{LOOMD}'\nunset LOOMD_RUN_ID\n{script}\n",
            value.display()
        );
        write_script(&self.near.path().join("hosts").join(name), &text);
    }

    /// loomd here.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = isolated(Command::new(LOOMD), &self.near);
        let path = format!("{}:/usr/local/bin:/usr/bin:/bin", self.near.path().join("bin").display());
        command
            .env("LOOMD_DATA_DIR", self.near.data())
            .env("PATH", path)
            .args(arguments)
            .current_dir(self.near.path())
            .stdin(Stdio::null());
        command
    }

    fn loomd(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("loomd starts")
    }

    /// What a command that must succeed prints.
    fn stdout(&self, arguments: &[&str]) -> String {
        let output = self.loomd(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout).to_owned()
    }

    /// The sentence with which a command fails.
    fn failure(&self, arguments: &[&str]) -> String {
        let output = self.loomd(arguments);
        assert!(!output.status.success(), "{arguments:?} was to fail and printed {}", text(&output.stdout));
        text(&output.stderr).to_owned()
    }

    /// The calls of ssh so far, each with a `|` behind every argument.
    fn calls(&self) -> Vec<String> {
        fs::read_to_string(self.near.path().join("calls")).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    /// The runs on the hosts.
    fn runs(&self) -> Vec<Value> {
        self.far.server().call("run/list", serde_json::json!({}))["runs"].as_array().expect("runs").clone()
    }
}

fn write_script(path: &Path, text: &str) {
    fs::write(path, text).expect("written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("changed");
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

/// The lines of JSON that a command prints.
fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}
