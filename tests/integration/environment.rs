//! What of its surroundings a run gets as its environment, and what is laid over that.

use std::{fs, os::unix::fs::PermissionsExt};

use serde_json::{Value, json};

use crate::harness::{Home, Log, Server, Setup, sh, until};

const SECRET: &str = "value-that-no-file-shall-have";

fn configured(home: &Home, toml: &str) -> Setup {
    let path = home.file("config.toml", toml.as_bytes());
    home.setup().arg("--config").arg(&path)
}

/// The value that a variable has in a run; `-` if it has none.
fn value(server: &mut Server, name: &str, more: Value) -> String {
    let mut params = json!({ "provider": "command", "command": sh(&format!("printf %s \"${{{name}--}}\"")) });
    params.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    let (_, mut log) = server.start(params);
    server.follow_to_end(&mut log);
    log.stdout_text()
}

fn executable(home: &Home, name: &str, script: &str) -> String {
    fs::create_dir_all(home.path().join(name).parent().expect("a directory")).expect("made");
    let path = home.file(name, format!("#!/bin/sh\n{script}\n").as_bytes());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("changed");
    path
}

fn notices(log: &Log) -> Vec<String> {
    log.updates("notice").iter().map(|notice| format!("{}: {}", notice["title"], notice["description"])).collect()
}

#[test]
fn what_describes_the_starter_reaches_no_run() {
    let home = Home::new();
    let other = home.path().join("other/.git");
    let start = |setup: Setup| {
        let setup = setup.env("GIT_DIR", &other.display().to_string()).env("CLAUDECODE", "1").env("VSCODE_PID", "7");
        setup
            .env("VSCODE_GIT_IPC_HANDLE", "/run/git")
            .env("NVIM", "/run/nvim")
            .env("NODE_OPTIONS", "--require /x/js-debug/bootloader.js")
            .start()
    };
    let mut server = start(home.setup());
    for name in ["GIT_DIR", "CLAUDECODE", "VSCODE_PID", "NVIM", "NODE_OPTIONS"] {
        assert_eq!(value(&mut server, name, json!({})), "-", "{name}");
    }
    assert_eq!(value(&mut server, "VSCODE_GIT_IPC_HANDLE", json!({})), "/run/git");
    assert_eq!(value(&mut server, "GIT_DIR", json!({ "env": { "GIT_DIR": "/mine" } })), "/mine", "what a run names, it gets");

    let mut passing = start(configured(&home, "[environment]\npass = [\"CLAUDECODE\", \"VSCODE_*\"]\n"));
    let got = ["CLAUDECODE", "VSCODE_PID", "GIT_DIR"].map(|name| value(&mut passing, name, json!({})));
    assert_eq!(got, ["1", "7", "-"]);
}

#[test]
fn a_runs_git_works_in_the_runs_repository() {
    let home = Home::new();
    for name in ["mine", "other"] {
        let made = std::process::Command::new("git").args(["init", "-q", name]).current_dir(home.path()).env_remove("GIT_DIR").status();
        assert!(made.expect("git runs").success());
    }
    let mut server = home.setup().env("GIT_DIR", &home.path().join("other/.git").display().to_string()).start();
    let params = json!({ "provider": "command", "command": ["git", "config", "a.b", "c"], "cwd": home.path().join("mine") });
    let (_, mut log) = server.start(params);
    server.follow_to_end(&mut log);
    let config = |name: &str| fs::read_to_string(home.path().join(name).join(".git/config")).expect("a configuration");
    assert!(config("mine").contains("b = c") && !config("other").contains("b = c"));
}

#[test]
fn the_configured_command_makes_a_part_of_the_environment() {
    let home = Home::new();
    let script = format!(
        "[ \"$PWD\" = '{}' ] || exit 1\nprintf '{{\"MADE\": \"{SECRET}\", \"GONE\": null, \"LOOMD_DATA_DIR\": \"/x\", \"GIT_EDITOR\": \"vi\", \"TOLD\": \"%s\"}}' \"$GIT_DIR\"\nsleep 1000 &",
        home.path().display()
    );
    let tool = executable(&home, "tool", &script);
    let toml = format!(
        "[environment]\ncommand = [\"{tool}\"]\n[providers.of]\nkind = \"command\"\ncommand = [\"sh\", \"-c\", \"echo $MADE\"]\nenv = {{ MADE = \"of the provider\" }}\n"
    );
    let mut server = configured(&home, &toml).env("GONE", "there").env("GIT_DIR", "/other").start();
    let here = json!({ "cwd": home.path() });
    assert_eq!(value(&mut server, "MADE", here.clone()), SECRET);
    assert_eq!(value(&mut server, "GONE", here.clone()), "-");
    assert_eq!(value(&mut server, "TOLD", here.clone()), "", "the command gets what runs get");
    assert_eq!(value(&mut server, "LOOMD_DATA_DIR", here.clone()), "-", "no command sets loomd's own variables");
    assert_eq!(value(&mut server, "GIT_EDITOR", here.clone()), "true", "nobody can type in it");
    assert_eq!(value(&mut server, "MADE", json!({ "cwd": home.path(), "env": { "MADE": "of the run" } })), "of the run");
    let (_, mut log) = server.start(json!({ "provider": "of", "cwd": home.path() }));
    server.follow_to_end(&mut log);
    assert_eq!((log.stdout_text().as_str(), notices(&log)), ("of the provider\n", vec![]));
    until("all are sealed", || home.run_directories().is_empty().then_some(()));
    for path in home.all_paths().into_iter().filter(|path| path.is_file()) {
        // The output of the first run is stored compressed or as it is; no other place has the value.
        let content = fs::read(&path).expect("a file");
        let found = content.windows(SECRET.len()).filter(|window| *window == SECRET.as_bytes()).count();
        assert!(found == 0 || path.ends_with("loomd.redb"), "the value is in {}", path.display());
    }
    let runs = server.call("run/list", json!({}));
    assert!(!runs.to_string().contains(SECRET));
}

#[test]
fn a_command_that_fails_is_a_notice_and_no_failure() {
    let home = Home::new();
    for (name, script, part) in
        [("blocked", "echo .envrc is blocked >&2; exit 1", ".envrc is blocked"), ("chatty", "echo hello", "no JSON object")]
    {
        let tool = executable(&home, name, script);
        let mut server = configured(&home, &format!("[environment]\ncommand = [\"{tool}\"]\n")).start();
        let (_, mut log) = server.start(json!({ "provider": "command", "command": ["echo", "ran"] }));
        server.follow_to_end(&mut log);
        let notices = notices(&log);
        assert!(notices.len() == 1 && notices[0].contains(part) && notices[0].contains(&tool), "{notices:?}");
        assert_eq!((log.stdout_text().as_str(), &log.end()["state"]), ("ran\n", &json!("succeeded")));
    }
}

#[test]
fn a_projects_path_replaces_no_agent_of_the_users() {
    let home = Home::new();
    executable(&home, "user/my-agent", "echo of the user");
    executable(&home, "project/my-agent", "echo of the project");
    executable(&home, "project/only-here", "echo only here");
    let tool = executable(&home, "tool", &format!("echo '{{\"PATH\": \"{}:/usr/bin:/bin\"}}'", home.path().join("project").display()));
    let agents = ["my-agent", "only-here"].map(|name| format!("[providers.{name}]\nkind = \"acp\"\ncommand = [\"{name}\"]\n"));
    let toml = format!("[environment]\ncommand = [\"{tool}\"]\n{}", agents.concat());
    let path = format!("{}:/usr/bin:/bin", home.path().join("user").display());
    let mut server = configured(&home, &toml).env("PATH", &path).start();
    for (name, directory) in [("my-agent", "user"), ("only-here", "project")] {
        let (run, mut log) = server.start(json!({ "provider": name, "prompt": "hello" }));
        server.follow_to_end(&mut log);
        assert_eq!(run["command"][0], json!(home.path().join(directory).join(name)));
    }
    let (_, mut log) = server.start(json!({ "provider": "command", "command": ["my-agent"] }));
    server.follow_to_end(&mut log);
    assert_eq!(log.stdout_text(), "of the project\n", "a command is what the project means by its name");
}

#[test]
fn a_server_from_a_dock_has_the_login_shells_path() {
    let home = Home::new();
    let agent = executable(&home, "bin/my-agent", "exit 0");
    let profile = format!("echo welcome\nexport PATH='{}':$PATH FROM_PROFILE=1 HOME=/other\n", home.path().join("bin").display());
    home.file(".profile", profile.as_bytes());
    let toml = "[providers.my-agent]\nkind = \"acp\"\ncommand = [\"my-agent\"]\n";
    let desktop = |toml: &str| configured(&home, toml).env("DISPLAY", ":7").env("SHLVL", "").env("SHELL", "/bin/bash");
    let provider = |server: &mut Server| {
        let listed = server.call("provider/list", json!({}));
        listed["providers"]
            .as_array()
            .expect("providers")
            .iter()
            .find(|provider| provider["id"] == "my-agent")
            .expect("it is known")
            .clone()
    };
    let mut server = desktop(toml).start();
    assert_eq!(provider(&mut server)["program"], json!(agent));
    assert_eq!(value(&mut server, "FROM_PROFILE", json!({})), "1");
    assert_eq!(value(&mut server, "HOME", json!({})), home.path().display().to_string(), "only PATH is replaced");
    let (_, mut log) = server.start(json!({ "provider": "command", "command": ["my-agent"] }));
    server.follow_to_end(&mut log);
    assert_eq!(log.end()["exitCode"], 0);

    let mut server = desktop(&format!("{toml}[environment]\nshell = \"never\"\n")).start();
    assert_eq!((&provider(&mut server)["available"], value(&mut server, "FROM_PROFILE", json!({}))), (&json!(false), "-".to_owned()));
    let mut server = desktop(toml).env("SHLVL", "1").start();
    assert_eq!(value(&mut server, "FROM_PROFILE", json!({})), "-", "a shell started it");
}

#[test]
fn pagers_and_editors_wait_for_nobody() {
    let home = Home::new();
    let mut server = home.setup().env("PAGER", "less").env("GIT_EDITOR", "vi").env("GIT_PAGER", "less").start();
    let all = "GIT_EDITOR $GIT_SEQUENCE_EDITOR $GIT_TERMINAL_PROMPT $GIT_PAGER $PAGER";
    let mut values = |more: Value| {
        let mut params = json!({ "provider": "command", "command": sh(&format!("echo ${all}")) });
        params.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        let (_, mut log) = server.start(params);
        server.follow_to_end(&mut log);
        log.stdout_text().trim().to_owned()
    };
    assert_eq!(values(json!({})), "true true 0 less less", "without a terminal, a pager does not wait");
    assert_eq!(values(json!({ "interactive": true })), "true true 0 less less");
    assert_eq!(values(json!({ "tty": true })), "true true 0 cat cat");
    assert_eq!(values(json!({ "tty": true, "interactive": true })), "vi less less", "there somebody can type");
    let env = json!({ "GIT_EDITOR": "ed", "PAGER": null, "GIT_TERMINAL_PROMPT": "1" });
    assert_eq!(values(json!({ "tty": true, "env": env })), "ed true 1 cat", "what the run names stays");
}

#[test]
fn the_path_that_was_chosen_stays_though_a_link_leads_there() {
    let home = Home::new();
    fs::create_dir(home.path().join("real")).expect("made");
    std::os::unix::fs::symlink("real", home.path().join("link")).expect("linked");
    let mut server = home.server();
    let link = home.path().join("link");
    let (run, mut log) = server.start(json!({ "provider": "command", "command": sh("pwd; /bin/pwd -P"), "cwd": link }));
    server.follow_to_end(&mut log);
    let real = home.path().join("real").canonicalize().expect("it is there");
    assert_eq!(log.stdout_text(), format!("{}\n{}\n", link.display(), real.display()));
    assert_eq!(run["cwd"], json!(link));
}

#[test]
fn relative_places_are_refused() {
    let home = Home::new();
    for (name, kind) in [("LOOMD_DATA_DIR", "store"), ("LOOMD_CONFIG", "config"), ("HOME", "config")] {
        let setup = Setup::without_data_dir(&home).env("XDG_CONFIG_HOME", "").env(name, "some/where");
        let failure = setup.spawn().expect_failure("initialize", json!({ "protocolVersion": 1 }));
        assert_eq!(failure.kind, kind, "{failure:?}");
        assert!(failure.message.contains(name) && failure.message.contains("absolute"), "{failure:?}");
    }
    assert!(!std::path::Path::new("some").exists());
}
