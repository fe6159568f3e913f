//! A real `sshd` on loopback, with keys and configuration of its own.

use std::{
    fs,
    io::Write,
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Stdio},
};

use super::{LOOMD, write_script};
use crate::harness::{Home, isolated, until};

const SSHD: &str = "/usr/sbin/sshd";

/// An sshd that is ended when it is dropped.
struct Sshd {
    child: Child,
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Whether there is an sshd. In CI, where `tests/run` installs it, it must be there.
fn is_installed() -> bool {
    // As root, sshd wants this directory, which `tests/run` makes where no service has.
    if Path::new(SSHD).exists() && (!rustix::process::geteuid().is_root() || Path::new("/run/sshd").exists()) {
        return true;
    }
    assert!(std::env::var_os("CI").is_none(), "{SSHD} is missing; tests/run installs it");
    eprintln!("NOT TESTED: --host through a real sshd, which is not installed");
    if let Some(file) = std::env::var_os("LOOMD_SKIPPED") {
        let mut file = fs::File::options().append(true).create(true).open(file).expect("opened");
        writeln!(file, "NOT TESTED: --host through a real sshd, which is not installed").expect("written");
    }
    false
}

fn keygen(file: &Path) {
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(file).status().expect("ssh-keygen starts");
    assert!(made.success());
}

fn private(path: &Path, text: &str) {
    fs::write(path, text).expect("written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("changed");
}

#[test]
fn the_systems_own_ssh_reaches_a_host() {
    if !is_installed() {
        return;
    }
    let (near, far) = (Home::new(), Home::new());
    let (here, there) = (near.path(), far.path());
    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port();
    keygen(&there.join("host_key"));
    keygen(&here.join("key"));
    fs::copy(here.join("key.pub"), there.join("authorized_keys")).expect("copied");
    // The login's shell finds loomd in PATH, and its data in the other home.
    fs::create_dir(there.join("bin")).expect("made");
    let (mark, value) = far.mark();
    write_script(
        &there.join("bin/loomd"),
        &format!("#!/bin/sh\nexport LOOMD_DATA_DIR='{}' {mark}='{}'\nexec '{LOOMD}' \"$@\"\n", far.data().display(), value.display()),
    );
    let there = there.display();
    let config = format!(
        "Port {port}\nListenAddress 127.0.0.1\nHostKey {there}/host_key\nAuthorizedKeysFile {there}/authorized_keys\nPidFile none\n\
         UsePAM no\nStrictModes no\nPasswordAuthentication no\nSetEnv PATH={there}/bin:/usr/bin:/bin HOME={there}\n"
    );
    private(&far.path().join("sshd_config"), &config);
    let log = fs::File::create(far.path().join("log")).expect("made");
    let child = Command::new(SSHD).args(["-D", "-e", "-f"]).arg(far.path().join("sshd_config")).stdin(Stdio::null()).stderr(log).spawn();
    let _sshd = Sshd { child: child.expect("sshd starts") };
    until("sshd listens", || std::net::TcpStream::connect(("127.0.0.1", port)).ok());
    // ssh reads the account's own configuration whatever HOME is, so the test's stands in a program of that name before it.
    let host_key = fs::read_to_string(far.path().join("host_key.pub")).expect("a key");
    private(&here.join("known_hosts"), &format!("[127.0.0.1]:{port} {host_key}"));
    let config = format!(
        "Host *\n  IdentityFile {0}/key\n  IdentitiesOnly yes\n  IdentityAgent none\nHost build\n  HostName 127.0.0.1\n  Port {port}\n  UserKnownHostsFile {0}/known_hosts\n  \
         GlobalKnownHostsFile /dev/null\n  StrictHostKeyChecking yes\nHost stranger\n  HostName 127.0.0.1\n  Port {port}\n  \
         UserKnownHostsFile /dev/null\n  GlobalKnownHostsFile /dev/null\n  StrictHostKeyChecking yes\n",
        here.display()
    );
    private(&here.join("ssh_config"), &config);
    fs::create_dir(here.join("bin")).expect("made");
    write_script(&here.join("bin/ssh"), &format!("#!/bin/sh\nexec /usr/bin/ssh -F '{}/ssh_config' \"$@\"\n", here.display()));
    let loomd = |arguments: &[&str]| {
        let mut command = isolated(Command::new(LOOMD), &near);
        let path = format!("{}:/usr/local/bin:/usr/bin:/bin", here.join("bin").display());
        let output = command.env("LOOMD_DATA_DIR", near.data()).env("PATH", path).args(arguments).stdin(Stdio::null()).output();
        let output = output.expect("loomd starts");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let log = || fs::read_to_string(far.path().join("log")).unwrap_or_default();
    let (code, out, err) = loomd(&["run", "--host", "build", "--", "sh", "-c", "echo there; exit 5"]);
    assert_eq!((code, out.as_str()), (Some(5), "there\n"), "{err}\nsshd: {}", log());
    let (code, out, err) = loomd(&["list", "--host", "build,stranger"]);
    assert_eq!(code, Some(1), "{out}{err}");
    assert!(out.starts_with("build/") && out.contains("cannot connect to stranger: Host key verification failed."), "{out}");
    let (code, out, _) = loomd(&["logs", out.split_whitespace().next().expect("a run")]);
    assert_eq!((code, out.as_str()), (Some(0), "there\n"));
}
