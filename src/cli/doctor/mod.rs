//! `loomd doctor`: checks the installation and says how to fix what is wrong.
//!
//! It works when no server starts: this module and `files` look at the system and at files, and change none. What only
//! a server knows (the store's figures, whether each live run answers) `server` asks one over the protocol.

mod environment;
mod files;
mod logout;
mod report;
mod server;
mod server_log;

use std::{
    env, fs,
    io::{self, IsTerminal},
};

use serde::Serialize;

use super::{EarlyExit, render};
use crate::{client::ServerLaunch, process::detach::RUN_MARK_VARIABLE};

/// Inotify instances that a system should allow: each loomd server needs one, beside those of editors.
const MIN_INOTIFY_INSTANCES: u64 = 128;
/// Size to which a supervisor enlarges the pipe of a busy run.
const MIN_PIPE_BYTES: u64 = 1 << 20;

/// Check the installation and show how to fix problems
#[derive(clap::Args, Debug)]
pub(crate) struct Options {
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
    /// Print what a bug report can carry: versions, limits, sizes and problems, without paths, names and values
    #[arg(long)]
    pub(crate) report: bool,
}

/// The result of one check. The field names in JSON are older than those here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    grade: Grade,
    /// What was checked.
    subject: &'static str,
    #[serde(rename = "found")]
    detail: String,
    /// What to do about it.
    #[serde(rename = "mend", skip_serializing_if = "Option::is_none")]
    fix: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Grade {
    Ok,
    Warning,
    Error,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    version: &'static str,
    grade: Grade,
    findings: &'a [Finding],
}

impl Finding {
    fn ok(subject: &'static str, detail: impl Into<String>) -> Self {
        Self { grade: Grade::Ok, subject, detail: detail.into(), fix: None }
    }

    fn warning(subject: &'static str, detail: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { grade: Grade::Warning, subject, detail: detail.into(), fix: Some(fix.into()) }
    }

    fn error(subject: &'static str, detail: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { grade: Grade::Error, subject, detail: detail.into(), fix: Some(fix.into()) }
    }

    fn line(&self) -> String {
        use anstyle::AnsiColor::{Green, Red, Yellow};
        let (label, color) = match self.grade {
            Grade::Ok => ("ok", Green),
            Grade::Warning => ("warning", Yellow),
            Grade::Error => ("error", Red),
        };
        let style = color.on_default();
        let fix = self.fix.as_ref().map_or_else(String::new, |fix| format!("; {fix}"));
        let text = render::for_stdout(&format!("{}{fix}", self.detail));
        format!("{style}{label:<7}{style:#}  {:<14}  {text}\n", self.subject)
    }
}

/// Prints a line for each check. The exit code is 1 if one of them is an error.
pub(crate) async fn main(options: Options, launch: &ServerLaunch) -> Result<u8, EarlyExit> {
    let mut findings = check_system();
    findings.extend(files::check(&launch.locations));
    findings.extend(environment::check(&launch.locations));
    findings.extend(logout::check(&launch.locations));
    findings.extend(server::check(launch).await);
    let grade = findings.iter().map(|finding| finding.grade).max().unwrap_or(Grade::Ok);
    if options.report {
        let report = report::collect(launch, &findings).await;
        if options.json {
            render::print_json(&report)?
        } else {
            render::print(&report::text(&report))?
        }
        return Ok(0);
    }
    if options.json {
        render::print_json(&Report { version: env!("CARGO_PKG_VERSION"), grade, findings: &findings })?;
    } else {
        render::print(&findings.iter().map(Finding::line).collect::<String>())?;
    }
    Ok(u8::from(grade == Grade::Error))
}

/// Checks this program, its terminal and the limits of the system.
fn check_system() -> Vec<Finding> {
    let mut findings = vec![executable(), terminal()];
    findings.extend(surrounding_run());
    findings.extend(limit("/proc/sys/fs/inotify/max_user_instances", MIN_INOTIFY_INSTANCES, "inotify"));
    findings.extend(limit("/proc/sys/fs/pipe-max-size", MIN_PIPE_BYTES, "pipes"));
    findings
}

fn executable() -> Finding {
    let version = env!("CARGO_PKG_VERSION");
    match env::current_exe() {
        Ok(path) if path.exists() => Finding::ok("executable", format!("{} (version {version})", path.display())),
        Ok(path) => Finding::warning("executable", format!("{} was replaced while running", path.display()), "start it again"),
        Err(error) => Finding::error("executable", format!("not found: {error}"), "reinstall loomd"),
    }
}

fn terminal() -> Finding {
    let name = env::var("TERM").unwrap_or_else(|_| "not set".to_owned());
    let kind = |is_terminal: bool| if is_terminal { "terminal" } else { "no terminal" };
    let (stdin, stdout, stderr) = (io::stdin().is_terminal(), io::stdout().is_terminal(), io::stderr().is_terminal());
    let columns = render::columns().map_or_else(String::new, |columns| format!(" ({columns} columns)"));
    let detail = format!("TERM={name}, stdin: {}, stdout: {}{columns}, stderr: {}", kind(stdin), kind(stdout), kind(stderr));
    Finding::ok("terminal", detail)
}

fn surrounding_run() -> Option<Finding> {
    let id = env::var(RUN_MARK_VARIABLE).ok()?;
    Some(Finding::ok("inside a run", format!("{id}; runs started here end with it")))
}

/// `None` where the system has no such limit.
fn limit(path: &str, min: u64, subject: &'static str) -> Option<Finding> {
    let value: u64 = fs::read_to_string(path).ok()?.trim().parse().ok()?;
    let setting = path.trim_start_matches("/proc/sys/").replace('/', ".");
    Some(if value >= min {
        Finding::ok(subject, format!("{setting} is {value}"))
    } else {
        Finding::warning(subject, format!("{setting} is {value}, recommended: {min}"), format!("run `sysctl {setting}={min}` as root"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_a_line_that_says_how_to_fix_it() {
        let finding = Finding::error("data directory", "/d is on NFS", "set LOOMD_DATA_DIR");
        let line = anstream::adapter::strip_str(&finding.line()).to_string();
        assert_eq!(line, "error    data directory  /d is on NFS; set LOOMD_DATA_DIR\n");
    }

    #[test]
    fn the_names_in_json_stay() {
        let json = serde_json::to_value(Finding::error("disk", "10 B free", "free up space")).expect("it is JSON");
        assert_eq!(json, serde_json::json!({ "grade": "error", "subject": "disk", "found": "10 B free", "mend": "free up space" }));
    }
}
