//! Full disks, missing directories and damaged files: the message is clear, nothing is lost and nothing is left half
//! done.

use std::{fs, path::PathBuf, process::Command};

use serde_json::{Value, json};

use crate::harness::{Gate, Home, Server, Setup, kill, sh, until};

/// Whether this user may create a mount namespace. If not, the tests that need one print that and return without
/// testing anything.
pub(crate) fn can_mount() -> bool {
    let works = Command::new("unshare").args(["-m", "true"]).status().is_ok_and(|status| status.success());
    if !works {
        eprintln!("NOT TESTED: this needs a mount namespace, which this user may not make");
    }
    works
}

/// A server with a small file system at the data directory, which only its own processes see.
pub(crate) fn on_small_disk(home: &Home, size: &str, options: &str) -> Setup {
    fs::create_dir_all(home.data()).expect("a directory");
    let mount = format!("mount -t tmpfs -o size={size},mode=0700 none \"{}\"", home.data().display());
    Setup::through_shell(home, &format!("exec unshare -m sh -c '{mount} && {options} exec \"$@\"' sh \"$@\""))
}

/// The data directory as a process inside the namespace sees it.
pub(crate) fn inside(server: &Server, home: &Home) -> PathBuf {
    let path = home.data();
    PathBuf::from(format!("/proc/{}/root{}", server.pid(), path.display()))
}

pub(crate) fn initialize_fails(mut server: Server, kind: &str) -> Value {
    let failure = server.expect_failure("initialize", json!({ "protocolVersion": 1 }));
    assert_eq!(failure.kind, kind, "{failure:?}");
    assert!(failure.message.contains(failure.data["path"].as_str().expect("a path")) || failure.message.len() > 20, "{failure:?}");
    failure.data
}

#[test]
fn a_full_disk_holds_the_program_and_loses_nothing() {
    if !can_mount() {
        return;
    }
    let home = Home::new();
    let mut server = on_small_disk(&home, "24m", "").start();
    let filler = inside(&server, &home).join("filler");
    // What is left is less than a segment: a full one would be sealed, and make space.
    fs::write(&filler, vec![0; 17 << 20]).expect("a filler");
    let size = 16 << 20;
    let mut gate = Gate::new(home.path(), "gate");
    let (_, mut log) = server.sh(&format!("yes 'a line that fills the disk' | head -c {size}; {}", gate.wait()));
    let held = server.get_until(&log.run, "the disk is full", |run| run["error"]["kind"] == "storage");
    assert_eq!(held["state"], "running");
    fs::remove_file(filler).expect("space is made");
    let whole = |run: &Value| run["bytes"]["stdout"] == size;
    server.get_until(&log.run, "the program goes on", whole);
    gate.open();
    server.follow_to_end(&mut log);
    let expected: Vec<u8> = b"a line that fills the disk\n".iter().copied().cycle().take(size).collect();
    log.assert_stdout(&expected);
    assert_eq!(log.end()["state"], "succeeded");
    server.read_log(&log.run).assert_stdout(&expected);
}

#[test]
fn a_run_can_be_cancelled_on_a_full_disk() {
    if !can_mount() {
        return;
    }
    let home = Home::new();
    let mut server = on_small_disk(&home, "16m", "").start();
    let (_, mut log) = server.sh("yes 'a line that fills the disk'");
    server.get_until(&log.run, "the disk is full", |run| run["error"]["kind"] == "storage");
    assert_eq!(server.cancel(&log.run)["state"], "cancelled");
    server.follow_to_end(&mut log);
    home.wait_until_swept(&log.run);
    assert_eq!(server.read_log(&log.run).stdout, log.stdout, "what was shown is still there");
}

#[test]
fn a_start_on_a_full_disk_fails_and_leaves_nothing() {
    if !can_mount() {
        return;
    }
    let home = Home::new();
    let mut server = on_small_disk(&home, "8m", "").start();
    let filler = inside(&server, &home).join("filler");
    let mut size = 8 << 20;
    while size > 1024 {
        let mut content = fs::read(&filler).unwrap_or_default();
        content.extend(vec![0; size]);
        if fs::write(&filler, &content).is_err() {
            content.truncate(content.len() - size);
            fs::write(&filler, &content).expect("what fitted before");
            size /= 2;
        }
    }
    let failure = server.expect_failure("run/start", json!({ "provider": "command", "command": ["true"] }));
    assert_eq!(failure.kind, "store", "{failure:?}");
    fs::remove_file(&filler).expect("space is made");
    assert_eq!(server.call("run/list", json!({}))["runs"], json!([]));
    let runs = inside(&server, &home).join("runs");
    until("nothing is left of it", || (fs::read_dir(&runs).map_or(0, Iterator::count) == 0).then_some(()));
    let (_, mut log) = server.sh("echo room");
    server.follow_to_end(&mut log);
}

#[test]
fn a_read_only_directory_is_named() {
    if !can_mount() {
        return;
    }
    let home = Home::new();
    let remount = format!("mount -o remount,ro \"{}\" &&", home.data().display());
    let data = initialize_fails(on_small_disk(&home, "8m", &remount).spawn(), "store");
    assert!(data["path"].as_str().expect("a path").starts_with(&home.data().display().to_string()), "{data}");
}

#[test]
fn a_file_where_a_directory_should_be_is_named() {
    let home = Home::new();
    fs::write(home.data(), "a file").expect("a file");
    let data = initialize_fails(home.setup().spawn(), "store");
    assert!(data["path"].as_str().expect("a path").starts_with(&home.data().display().to_string()), "{data}");
    assert_eq!(fs::read_to_string(home.data()).expect("still there"), "a file");

    let home = Home::new();
    fs::create_dir(home.data()).expect("a directory");
    fs::write(home.data().join("runs"), "a file").expect("a file");
    let data = initialize_fails(home.setup().spawn(), "store");
    assert!(data["path"].as_str().expect("a path").starts_with(&home.data().display().to_string()), "{data}");
    assert_eq!(fs::read_to_string(home.data().join("runs")).expect("still there"), "a file");

    let home = Home::new();
    fs::create_dir_all(home.data().join("loomd.redb")).expect("a directory");
    initialize_fails(home.setup().spawn(), "store");
}

#[test]
fn a_damaged_store_is_named_and_never_written_to() {
    let home = Home::new();
    let mut server = home.server();
    let (_, mut log) = server.sh("seq 1 1000");
    server.follow_to_end(&mut log);
    until("the run is sealed", || home.run_directories().is_empty().then_some(()));
    server.shut_down();
    let path = home.data().join("loomd.redb");
    let whole = fs::read(&path).expect("the store");
    let mut damages = vec![b"no store at all".to_vec(), vec![0; 4096], whole[..whole.len() / 3].to_vec()];
    let mut scratched = whole.clone();
    scratched[..64].fill(0xa5);
    damages.push(scratched);
    for damaged in damages {
        fs::write(&path, &damaged).expect("damage");
        let data = initialize_fails(home.setup().spawn(), "store");
        assert_eq!(data["path"].as_str(), path.to_str());
        assert!(fs::read(&path).expect("the store") == damaged, "a damaged store was written to");
    }
    fs::write(&path, whole).expect("mended");
    assert_eq!(home.server().read_log(&log.run).stdout, log.stdout);
}

#[test]
fn a_flipped_bit_is_an_error_and_never_output() {
    let home = Home::new();
    let mut server = home.server();
    // Bytes that do not compress are in the store as they are.
    let (_, mut log) = server.sh("head -c 300000 /dev/urandom");
    server.follow_to_end(&mut log);
    until("the run is sealed", || home.run_directories().is_empty().then_some(()));
    server.shut_down();
    let path = home.data().join("loomd.redb");
    let mut bytes = fs::read(&path).expect("the store");
    let place = bytes.windows(64).position(|window| window == &log.stdout[150_000..150_064]).expect("the output stands in the store");
    bytes[place] ^= 1;
    fs::write(&path, bytes).expect("damaged");
    let mut server = home.server();
    let failure = server.request("run/text", json!({ "runId": log.run, "offset": 140_000, "maxBytes": 20_000 })).expect_err("damage");
    assert_eq!((failure.code, failure.kind), (-32014, "store"));
}

#[test]
fn a_run_whose_supervisor_dies_on_a_full_disk_is_closed_in_its_reserve() {
    if !can_mount() {
        return;
    }
    let home = Home::new();
    let mut server = on_small_disk(&home, "3m", "").start();
    let (run, mut log) = server.sh("yes | head -c 20000000");
    server.get_until(&log.run, "the disk is full", |run| run["error"]["kind"] == "storage");
    kill(home.supervisor(u32::try_from(run["pid"].as_u64().expect("a pid")).expect("a pid")));
    server.follow_to_end(&mut log);
    assert_eq!(log.end()["state"], "lost");
    server.call("run/delete", json!({ "runId": log.run }));
}

#[test]
fn a_bad_configuration_is_named() {
    let home = Home::new();
    let missing = home.path().join("no-such.toml").display().to_string();
    let data = initialize_fails(home.setup().arg("--config").arg(&missing).spawn(), "config");
    assert_eq!(data["path"], missing);

    let odd = home.file("odd.toml", b"# fine\n[providers.mine]\nkind = \"command\"\nunheard_of = 1\n");
    let data = initialize_fails(home.setup().arg("--config").arg(&odd).spawn(), "config");
    assert_eq!((&data["path"], &data["line"]), (&json!(odd), &json!(4)));

    let broken = home.file("broken.toml", b"[providers\n");
    let data = initialize_fails(home.setup().env("LOOMD_CONFIG", &broken).spawn(), "config");
    assert_eq!((&data["path"], &data["line"]), (&json!(broken), &json!(1)));
    assert!(!home.data().exists() || home.run_directories().is_empty(), "nothing half made");
}

#[test]
fn a_configured_command_is_a_provider() {
    let home = Home::new();
    let config =
        b"[providers.shout]\nkind = \"command\"\ncommand = [\"printf\", \"%s!\"]\nargs = [\"from the file\"]\nenv = { FROM = \"file\" }\n";
    let path = home.file("config.toml", config);
    let mut server = home.setup().arg("--config").arg(&path).start();
    let (run, mut log) = server.start(json!({ "provider": "shout", "args": ["from the call"] }));
    assert_eq!(run["command"], json!(["printf", "%s!", "from the file", "from the call"]));
    server.follow_to_end(&mut log);
    assert_eq!(log.stdout, b"from the file!from the call!");
}

#[test]
fn a_data_directory_may_have_a_long_name() {
    let home = Home::new();
    // Longer than the address of a socket can be.
    let deep = home.path().join("d".repeat(120)).join("é".repeat(60));
    let data = deep.display().to_string();
    let mut server = Setup::without_data_dir(&home).env("LOOMD_DATA_DIR", &data).start();
    let (run, mut log) = server.start(json!({ "provider": "command", "command": ["cat"], "interactive": true }));
    server.call("run/send", json!({ "runId": run["id"], "text": "through a socket\n" }));
    server.call("run/closeInput", json!({ "runId": run["id"] }));
    server.follow_to_end(&mut log);
    assert_eq!(log.stdout, b"through a socket\n");
    assert!(deep.join("loomd.redb").exists() || deep.join("runs").exists());
    assert!(!home.data().exists(), "nothing is created in the default directory");
    let (_, mut log) = server.start(json!({ "provider": "command", "command": sh("echo again") }));
    server.follow_to_end(&mut log);
}
