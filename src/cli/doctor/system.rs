//! This program, its terminal, and what the system allows.

use std::{env, fs, io::IsTerminal};

use super::Finding;
use crate::{cli::render, process::detach::MARK};

/// Watches that a loomd server needs, at least: one for each server, beside those of editors.
const INOTIFY_INSTANCES: u64 = 128;
/// What a pipe of a busy run grows to.
const PIPE_BYTES: u64 = 1 << 20;

pub fn look() -> Vec<Finding> {
    let mut findings = vec![executable(), terminal()];
    findings.extend(surrounding_run());
    findings.extend(limit("/proc/sys/fs/inotify/max_user_instances", INOTIFY_INSTANCES, "inotify"));
    findings.extend(limit("/proc/sys/fs/pipe-max-size", PIPE_BYTES, "pipes"));
    findings
}

fn executable() -> Finding {
    let version = env!("CARGO_PKG_VERSION");
    match env::current_exe() {
        Ok(path) if path.exists() => Finding::ok("executable", format!("{} (version {version})", path.display())),
        Ok(path) => Finding::warning("executable", format!("{} was replaced while it runs", path.display()), "start it again"),
        Err(error) => Finding::error("executable", format!("it cannot be found: {error}"), "install loomd anew"),
    }
}

fn terminal() -> Finding {
    let name = env::var("TERM").unwrap_or_else(|_| "unset".to_owned());
    let is_one = |is: bool| if is { "terminal" } else { "no terminal" };
    let (input, output, error) = (std::io::stdin().is_terminal(), std::io::stdout().is_terminal(), std::io::stderr().is_terminal());
    let columns = render::columns().map_or_else(String::new, |columns| format!(", {columns} columns"));
    let found = format!("TERM is {name}; stdin: {}, stdout: {}{columns}, stderr: {}", is_one(input), is_one(output), is_one(error));
    Finding::ok("terminal", found)
}

fn surrounding_run() -> Option<Finding> {
    let id = env::var(MARK).ok()?;
    Some(Finding::ok("inside a run", format!("of {id}: runs that are started here belong to it and end with it")))
}

/// `None` where the system has no such limit.
fn limit(path: &str, wanted: u64, subject: &'static str) -> Option<Finding> {
    let value: u64 = fs::read_to_string(path).ok()?.trim().parse().ok()?;
    let setting = path.trim_start_matches("/proc/sys/").replace('/', ".");
    Some(if value >= wanted {
        Finding::ok(subject, format!("{setting} is {value}"))
    } else {
        Finding::warning(subject, format!("{setting} is {value}, {wanted} would be better"), format!("`sysctl {setting}={wanted}` as root"))
    })
}
