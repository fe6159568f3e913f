//! `loomd doctor --report`: what a bug report can carry, for anybody to read. It holds versions, limits, sizes and counts, and the
//! results of the checks without their details.
//!
//! No path, no name of a person, a machine, a run or a configured provider, no value of the environment or the configuration is in
//! it: each value is a number, a word of ours, or has the form of a version.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::{Map, Value, json};
use tokio::time::timeout;

use super::{Finding, Grade, logout, server_log};
use crate::{
    cli::format,
    client::ServerLaunch,
    config::{Config, Locations, SupervisorConfig},
    model::{
        Failure, ProviderInfo,
        calls::Empty,
        methods::{ProviderList, StoreStats},
    },
    process::{current_process, disk},
    provider, store,
};

/// Longest wait for the server, which asks each agent for its version.
const REPLY_TIMEOUT: Duration = Duration::from_secs(30);
/// How deep below the data directory files are counted.
const MAX_DEPTH: u32 = 4;
/// The rows of `/proc/self/limits` that decide what loomd can do.
const PROCESS_LIMITS: [&str; 3] = ["Max open files", "Max processes", "Max locked memory"];
/// The limits of the system, below `/proc/sys`.
const SYSTEM_LIMITS: [&str; 5] =
    ["fs/inotify/max_user_instances", "fs/inotify/max_user_watches", "fs/pipe-max-size", "fs/pipe-user-pages-soft", "kernel/pid_max"];

/// Collects the report; its members are sections.
pub(super) async fn collect(launch: &ServerLaunch, findings: &[Finding]) -> Value {
    // The log is read before a server of ours writes into it.
    let log = log(launch);
    let mut data = data_directory(&launch.locations);
    let (server, providers) = match timeout(REPLY_TIMEOUT, ask_server(launch)).await {
        Ok(Ok((stats, providers))) => {
            data.extend(stats);
            (json!("starts and answers"), providers)
        }
        Ok(Err(failure)) => (json!({ "fails": failure.kind }), Value::Null),
        Err(_) => (json!("does not answer in time"), Value::Null),
    };
    json!({
        "loomd": { "version": env!("CARGO_PKG_VERSION"), "build": build(), "server": server },
        "system": system(),
        "limits": limits(),
        "fileSystems": file_systems(&launch.locations),
        "data": data,
        "configuration": configuration(&launch.locations),
        "providers": providers,
        "checks": checks(findings),
        "log": log,
    })
}

/// The report as text: a line for each section and member.
pub(super) fn text(report: &Value) -> String {
    let mut text = String::new();
    for (section, members) in report.as_object().into_iter().flatten() {
        match members {
            Value::Object(members) => {
                text += &format!("{section}:\n");
                members.iter().for_each(|(name, value)| text += &format!("  {name}: {}\n", word(value)));
            }
            Value::Array(lines) if !lines.is_empty() => {
                text += &format!("{section}:\n");
                lines.iter().for_each(|line| text += &format!("  {}\n", word(line)));
            }
            other => text += &format!("{section}: {}\n", word(other)),
        }
    }
    text
}

fn word(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "unknown".to_owned(),
        Value::Array(values) if values.is_empty() => "none".to_owned(),
        Value::Array(values) => values.iter().map(word).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

fn build() -> String {
    let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
    format!("{profile}, {} {}", env::consts::ARCH, env::consts::OS)
}

fn system() -> Value {
    let line = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let release = line("/etc/os-release");
    let field =
        |name: &str| release.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).unwrap_or_default().trim_matches('"');
    json!({
        "distribution": without_names(format!("{} {}", field("ID"), field("VERSION_ID")).trim()),
        "kernel": without_names(&line("/proc/sys/kernel/osrelease")),
        "libc": current_process::c_library(),
    })
}

/// A text of the system's, unless somebody has put the name of the machine or the user into it.
fn without_names(text: &str) -> String {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let names = [host.trim().to_owned(), logout::user_name(Path::new("/"))];
    let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b" .-+_~".contains(&byte));
    let has_name = names.iter().any(|name| !name.is_empty() && text.contains(name.as_str()));
    if is_plain && !has_name && text.len() <= 80 { text.to_owned() } else { "not shown".to_owned() }
}

fn limits() -> Map<String, Value> {
    let own = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let row = |name: &str| {
        own.lines().find_map(|line| Some(line.strip_prefix(name)?.split_whitespace().take(2).collect::<Vec<_>>().join(" of ")))
    };
    let system = |path: &str| fs::read_to_string(Path::new("/proc/sys").join(path)).ok()?.trim().parse::<u64>().ok();
    let own = PROCESS_LIMITS.iter().map(|name| ((*name).to_owned(), json!(row(name))));
    own.chain(SYSTEM_LIMITS.iter().map(|path| (path.replace('/', "."), json!(system(path))))).collect()
}

fn file_systems(locations: &Locations) -> Value {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let kind = |path: Option<PathBuf>| {
        // What does not exist yet will be on the file system of what is there.
        let there = path.as_deref()?.ancestors().find_map(|path| path.canonicalize().ok())?;
        let free = disk::free_bytes(&there).map(format::bytes)?;
        Some(format!("{}, {free} free", mounted_kind(&mounts, &there)?))
    };
    json!({
        "data": kind(locations.data_dir().ok()),
        "configuration": kind(locations.config_file().ok().flatten()),
        "temporary": kind(Some(env::temp_dir())),
    })
}

/// The kind of the file system that a path is on, by proc_pid_mountinfo(5): of the mounts that hold it the deepest, the last one of
/// those in one place.
fn mounted_kind(mounts: &str, path: &Path) -> Option<String> {
    let holding = mounts.lines().filter_map(|line| {
        let (place, kind) = line.split_once(" - ")?;
        let point = place.split(' ').nth(4)?.replace("\\040", " ");
        path.starts_with(&point).then(|| (Path::new(&point).components().count(), kind.split(' ').next().unwrap_or_default()))
    });
    holding.max_by_key(|(depth, _)| *depth).map(|(_, kind)| kind.to_owned())
}

fn data_directory(locations: &Locations) -> Map<String, Value> {
    let mut shown = Map::new();
    let Some(dir) = locations.data_dir().ok().filter(|dir| dir.is_dir()) else { return shown };
    let mut add = |name: &str, path: PathBuf| {
        let mut used = (0, 0);
        add_usage(&path, MAX_DEPTH, &mut used);
        shown.insert(name.to_owned(), json!(format!("{} files, {}", used.0, format::bytes(used.1))));
    };
    add("store", dir.join(store::FILE_NAME));
    add("logs of runs", dir.join("runs"));
    add("cut off damaged logs", dir.join("aside"));
    add("all", dir);
    shown
}

/// Adds the files below a path, and their bytes. It follows no links.
fn add_usage(path: &Path, depth: u32, used: &mut (u64, u64)) {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_file() => *used = (used.0 + 1, used.1 + metadata.len()),
        Ok(metadata) if metadata.is_dir() && depth > 0 => {
            fs::read_dir(path).into_iter().flatten().flatten().for_each(|entry| add_usage(&entry.path(), depth - 1, used));
        }
        _ => {}
    }
}

/// What the store holds, and the providers with their versions.
async fn ask_server(launch: &ServerLaunch) -> Result<(Map<String, Value>, Value), Failure> {
    let session = launch.open_without_notifications().await?;
    let stats = session.call(StoreStats, Empty {}).await;
    let listed = session.call(ProviderList, Empty {}).await;
    session.close().await;
    let stats = stats?;
    let figures = json!({
        "runs": format!("{} ({} live), {} entries", stats.runs, stats.live_runs, stats.entries),
        "stored": format!("{} as {}", format::bytes(stats.logical_bytes), format::bytes(stats.stored_bytes)),
        "format": stats.format_version,
    });
    Ok((figures.as_object().cloned().unwrap_or_default(), providers(&listed?.providers)))
}

/// Those that are installed, with their versions. Of one that has a name in the configuration only its kind is told.
fn providers(listed: &[ProviderInfo]) -> Value {
    let mut shown = Map::new();
    let mut configured: BTreeMap<&str, u64> = BTreeMap::new();
    for info in listed {
        let is_known = provider::kind(&info.id).is_some() || provider::preset(&info.id).is_some();
        match is_known {
            true if info.available && info.program.is_some() => {
                let version = info.version.as_deref().and_then(version_in);
                shown.insert(info.id.clone(), json!(version.unwrap_or_else(|| "of an unknown version".to_owned())));
            }
            true => {}
            // The kind is one of ours, or there would be no server.
            false => *configured.entry(&info.kind).or_default() += 1,
        }
    }
    shown.extend(configured.into_iter().map(|(kind, count)| (format!("configured, of kind {kind}"), json!(count))));
    Value::Object(shown)
}

/// The first thing in a program's answer that is a version: numbers with dots, and the word of a prerelease.
fn version_in(text: &str) -> Option<String> {
    let words = text.split(|letter: char| letter.is_whitespace() || "(),;/@".contains(letter));
    words.map(|word| word.trim_start_matches('v')).find(|word| is_version(word)).map(str::to_owned)
}

fn is_version(word: &str) -> bool {
    let (numbers, rest) = word.split_once('-').unwrap_or((word, ""));
    let is_number = |part: &str| !part.is_empty() && part.len() <= 10 && part.bytes().all(|byte| byte.is_ascii_digit());
    let mut rest = rest.split('.');
    let is_stage = ["", "alpha", "beta", "rc", "preview", "nightly"].contains(&rest.next().unwrap_or_default());
    let numbers: Vec<&str> = numbers.split('.').collect();
    (2..=4).contains(&numbers.len()) && numbers.into_iter().chain(rest).all(is_number) && is_stage
}

/// Which settings are not the defaults; none of their values.
fn configuration(locations: &Locations) -> Value {
    let Ok(config) = locations.read_config() else { return json!("cannot be used") };
    let Config { file: _, keep_transcripts, keep, limits, environment, notify, supervisor, retention, providers, hosts } = config;
    let defaults = Config::default();
    let set = [
        ("keepTranscripts", keep_transcripts),
        ("keep", !keep.is_empty()),
        ("limits", limits != defaults.limits),
        ("environment.pass", !environment.pass.is_empty()),
        ("environment.shell", environment.shell != defaults.environment.shell),
        ("environment.command", environment.command.is_some()),
        ("notify", notify != defaults.notify),
        ("supervisor.scope", supervisor != SupervisorConfig::default()),
        ("retention", retention != defaults.retention),
        ("providers", !providers.is_empty()),
        ("hosts", !hosts.is_empty()),
    ];
    json!({ "set": set.iter().filter(|(_, is_set)| *is_set).map(|(name, _)| *name).collect::<Vec<_>>() })
}

/// How many checks had each result, and which ones were not good.
fn checks(findings: &[Finding]) -> Value {
    let of =
        |grade: Grade| -> Vec<&str> { findings.iter().filter(|finding| finding.grade == grade).map(|finding| finding.subject).collect() };
    json!({ "ok": of(Grade::Ok).len(), "warnings": of(Grade::Warning), "errors": of(Grade::Error) })
}

/// The last problems in the log that `--log-file` names, else in that of the Neovim plugin.
fn log(launch: &ServerLaunch) -> Value {
    let of_plugin = || {
        let state =
            env::var_os("XDG_STATE_HOME").map(PathBuf::from).or_else(|| Some(Path::new(&env::var_os("HOME")?).join(".local/state")))?;
        Some(state.join("nvim/loomd.log")).filter(|path| path.exists())
    };
    match launch.log_file.clone().or_else(of_plugin).map(|path| server_log::last_problems(&path)) {
        None => json!("no log; name one with --log-file"),
        Some(Err(error)) => json!(format!("cannot be read: {}", error.kind())),
        Some(Ok(lines)) => json!(lines),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_versions_of_the_usual_form_are_shown() {
        let found = |text| version_in(text);
        assert_eq!(found("codex-cli 0.42.0\n").as_deref(), Some("0.42.0"));
        assert_eq!(found("v1.2.3-rc.4 (built by ann@secret)").as_deref(), Some("1.2.3-rc.4"));
        assert_eq!(found("2.0.1 (Claude Code)").as_deref(), Some("2.0.1"));
        for text in ["", "secret", "1.2.3-secret", "1.2.secret", "42", "12345678901.2", "1..2"] {
            assert_eq!(found(text), None, "{text}");
        }
    }

    #[test]
    fn a_configured_provider_is_told_by_its_kind_alone() {
        let info = |id: &str, kind: &str, version: &str| ProviderInfo {
            id: id.to_owned(),
            title: "Secret".to_owned(),
            kind: kind.to_owned(),
            available: true,
            version: Some(version.to_owned()),
            program: Some("/home/ann/secret".to_owned()),
            reason: None,
            capabilities: Default::default(),
        };
        let shown = providers(&[info("codex", "codex", "codex 1.2.3"), info("secret", "acp", "1.0.0"), info("claude", "claude", "secret")]);
        assert_eq!(shown, json!({ "codex": "1.2.3", "claude": "of an unknown version", "configured, of kind acp": 1 }));
    }

    #[test]
    fn a_path_is_on_the_deepest_mount_and_on_the_last_one_there() {
        let mounts = "1 0 0:1 / / rw - overlay overlay rw\n2 1 0:2 / /home rw shared:1 - ext4 /dev/sda rw\n\
                      3 2 0:3 / /home/a\\040b rw - xfs /dev/sdb rw\n4 2 0:4 / /home rw - btrfs /dev/sdc rw\n";
        let kind = |path: &str| mounted_kind(mounts, Path::new(path));
        assert_eq!(
            (kind("/etc").as_deref(), kind("/home/ann").as_deref(), kind("/home/a b/c").as_deref()),
            (Some("overlay"), Some("btrfs"), Some("xfs"))
        );
        assert_eq!(mounted_kind("", Path::new("/")), None);
    }
}
