//! Says whether a run outlives the logout of its user: whether the login manager or the user's own systemd ends processes then.
//!
//! It reads what these say in files and asks nobody.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use super::Finding;
use crate::{
    config::{Locations, SupervisorScope},
    process::current_process,
};

const SUBJECT: &str = "logout";
/// Where logind's configuration is, the most important directory last: logind.conf(5).
const LOGIND_DIRECTORIES: [&str; 4] = ["usr/lib/systemd", "usr/local/lib/systemd", "run/systemd", "etc/systemd"];
/// Files that container engines put into their containers.
const CONTAINER_MARKS: [&str; 3] = [".dockerenv", "run/.containerenv", "run/systemd/container"];
const LINGER_FIX: &str = "run `loginctl enable-linger`, and set scope = \"systemd\" under [supervisor] in the configuration";

pub(crate) fn check(locations: &Locations) -> Vec<Finding> {
    // A configuration that cannot be read has its own finding.
    let Ok(config) = locations.read_config() else { return Vec::new() };
    let control_groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let surroundings = Surroundings::read(Path::new("/"), &control_groups, &user_name(Path::new("/")));
    vec![surroundings.finding(config.supervisor.scope)]
}

/// Whose control group this process is in, which ends it at the latest, beside a shutdown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ControlGroup {
    /// Systemd does not run this system.
    NoSystemd { in_container: bool },
    /// A login session; whether logind ends its processes at its end.
    Session { is_killed: bool },
    /// The user's own systemd, which ends with the user's last session unless the user lingers.
    UserManager,
    /// A service of the system.
    Service,
}

struct Surroundings {
    group: ControlGroup,
    /// The user's own systemd goes on without a session.
    lingers: bool,
}

impl Surroundings {
    fn read(root: &Path, control_groups: &str, user: &str) -> Self {
        let lingers = root.join("var/lib/systemd/linger").join(user).exists() && !user.is_empty();
        // Only where systemd is the init process, its line tells where we are.
        let group = control_groups.lines().filter_map(|line| line.splitn(3, ':').nth(2)).find(|group| group.contains(".slice"));
        let group = match group.unwrap_or_default() {
            _ if !root.join("run/systemd/system").exists() => {
                ControlGroup::NoSystemd { in_container: CONTAINER_MARKS.iter().any(|mark| root.join(mark).exists()) }
            }
            group if group.contains("/user@") => ControlGroup::UserManager,
            group if group.contains("/session-") => ControlGroup::Session { is_killed: kills_user_processes(root, user) },
            _ => ControlGroup::Service,
        };
        Self { group, lingers }
    }

    fn finding(&self, scope: SupervisorScope) -> Finding {
        let has_scope = scope == SupervisorScope::Systemd;
        match self.group {
            ControlGroup::NoSystemd { in_container: true } => Finding::ok(SUBJECT, "in a container: runs end when the container does"),
            ControlGroup::NoSystemd { in_container: false } if has_scope => Finding::warning(
                SUBJECT,
                "systemd does not run this system, so that supervisors get no scope",
                "remove `scope` under [supervisor] from the configuration",
            ),
            ControlGroup::NoSystemd { in_container: false } => {
                Finding::ok(SUBJECT, "systemd does not run this system; whether something ends processes at a logout is not known")
            }
            _ if has_scope && self.lingers => Finding::ok(SUBJECT, "runs outlive a logout: their supervisors get scopes, and you linger"),
            _ if has_scope => Finding::warning(
                SUBJECT,
                "supervisors get scopes of your systemd, which ends after your last logout, and runs with it",
                "run `loginctl enable-linger`",
            ),
            ControlGroup::UserManager if self.lingers => Finding::ok(SUBJECT, "runs outlive a logout: you linger"),
            ControlGroup::UserManager => Finding::warning(
                SUBJECT,
                "runs that are started here end with your systemd, after your last logout",
                "run `loginctl enable-linger`",
            ),
            ControlGroup::Session { is_killed: true } => {
                Finding::warning(SUBJECT, "runs end with this login session (KillUserProcesses of logind)", LINGER_FIX)
            }
            ControlGroup::Session { is_killed: false } => Finding::ok(SUBJECT, "runs outlive a logout: logind ends no processes of yours"),
            ControlGroup::Service => {
                Finding::warning(SUBJECT, "runs that are started here end when the service around them is stopped", LINGER_FIX)
            }
        }
    }
}

/// Whether logind ends the processes of this user's sessions. A setting in a comment is the default that logind was built with.
fn kills_user_processes(root: &Path, user: &str) -> bool {
    let (mut kills, mut only, mut excluded) = (None, String::new(), "root".to_owned());
    let mut default = true;
    for file in logind_files(root) {
        for line in fs::read_to_string(file).unwrap_or_default().lines().map(str::trim) {
            match line.split_once('=').map(|(name, value)| (name.trim(), value.trim())) {
                Some(("#KillUserProcesses", value)) => default = is_true(value),
                Some(("KillUserProcesses", value)) => kills = Some(is_true(value)),
                Some(("KillOnlyUsers", value)) => value.clone_into(&mut only),
                Some(("KillExcludeUsers", value)) => value.clone_into(&mut excluded),
                _ => {}
            }
        }
    }
    let names = |list: &str| list.split_whitespace().any(|name| name == user);
    kills.unwrap_or(default) && (only.is_empty() || names(&only)) && !names(&excluded)
}

/// logind.conf, and what is laid over it, in the order in which systemd reads them: of files with one name in `logind.conf.d` the
/// one of the most important directory, and these by their names.
fn logind_files(root: &Path) -> Vec<PathBuf> {
    let main = LOGIND_DIRECTORIES.iter().rev().map(|dir| root.join(dir).join("logind.conf")).find(|file| file.exists());
    let entries =
        LOGIND_DIRECTORIES.iter().flat_map(|dir| fs::read_dir(root.join(dir).join("logind.conf.d")).into_iter().flatten().flatten());
    let named = entries.map(|entry| (entry.file_name(), entry.path()));
    let over: std::collections::BTreeMap<_, _> = named.filter(|(_, path)| path.extension().is_some_and(|end| end == "conf")).collect();
    main.into_iter().chain(over.into_values()).collect()
}

fn is_true(value: &str) -> bool {
    ["1", "yes", "y", "true", "t", "on"].contains(&value.to_ascii_lowercase().as_str())
}

/// The name of this process's user, by which systemd knows it; empty if it is not known.
pub(super) fn user_name(root: &Path) -> String {
    let id = current_process::user_id().to_string();
    let users = fs::read_to_string(root.join("etc/passwd")).unwrap_or_default();
    let found = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == id).then(|| name.to_owned())
    });
    found.or_else(|| env::var("USER").ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{super::Grade, *};

    const SESSION: &str = "0::/user.slice/user-1000.slice/session-3.scope\n";
    const MANAGER: &str = "0::/user.slice/user-1000.slice/user@1000.service/app.slice/app-terminal.scope\n";
    const SERVICE: &str = "1:name=systemd:/system.slice/code-server.service\n0::/\n";

    /// A system with these files.
    fn system(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a directory");
        for (name, text) in files {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().expect("a parent")).expect("made");
            fs::write(path, text).expect("written");
        }
        root
    }

    fn finding(files: &[(&str, &str)], groups: &str, scope: SupervisorScope) -> (Grade, String) {
        let root = system(&[files, &[("run/systemd/system/here", "")]].concat());
        let finding = Surroundings::read(root.path(), groups, "ann").finding(scope);
        (finding.grade, format!("{} {}", finding.detail, finding.fix.unwrap_or_default()))
    }

    #[test]
    fn a_session_ends_runs_where_logind_ends_its_processes() {
        use SupervisorScope::Inherited;
        let grade = |files: &[(&str, &str)]| finding(files, SESSION, Inherited).0;
        assert_eq!(grade(&[]), Grade::Warning, "logind's own default");
        let debian = ("etc/systemd/logind.conf", "[Login]\n#KillUserProcesses=no\n#KillExcludeUsers=root\n");
        assert_eq!(grade(&[debian]), Grade::Ok, "the default that it was built with");
        let strict = ("etc/systemd/logind.conf.d/50-strict.conf", "[Login]\nKillUserProcesses=yes\n");
        assert_eq!(grade(&[debian, strict]), Grade::Warning);
        let text = finding(&[debian, strict], SESSION, Inherited).1;
        assert!(text.contains("enable-linger") && text.contains("scope = \"systemd\""), "{text}");
        let relaxed = ("usr/lib/systemd/logind.conf.d/60-relaxed.conf", "[Login]\nKillUserProcesses = no\n");
        assert_eq!(grade(&[debian, strict, relaxed]), Grade::Ok, "the last name counts");
        let replaced = ("usr/lib/systemd/logind.conf.d/50-strict.conf", "[Login]\nKillUserProcesses=no\n");
        assert_eq!(grade(&[debian, strict, replaced]), Grade::Warning, "the file in /etc replaces the one of its name");
        let excluded = ("run/systemd/logind.conf.d/70.conf", "[Login]\nKillExcludeUsers=root ann\n");
        assert_eq!(grade(&[strict, excluded]), Grade::Ok);
        let others = ("run/systemd/logind.conf.d/70.conf", "[Login]\nKillOnlyUsers=bob\n");
        assert_eq!(grade(&[strict, others]), Grade::Ok);
    }

    #[test]
    fn the_users_own_systemd_and_services_end_runs_unless_the_user_lingers() {
        use SupervisorScope::{Inherited, Systemd};
        let lingers = ("var/lib/systemd/linger/ann", "");
        assert_eq!(finding(&[], MANAGER, Inherited).0, Grade::Warning);
        assert_eq!(finding(&[lingers], MANAGER, Inherited).0, Grade::Ok);
        let (grade, text) = finding(&[lingers], SERVICE, Inherited);
        assert!(grade == Grade::Warning && text.contains("service"), "{text}");
        for groups in [SESSION, MANAGER, SERVICE] {
            let (grade, text) = finding(&[], groups, Systemd);
            assert!(grade == Grade::Warning && text.contains("enable-linger"), "a scope alone ends with the user's systemd: {text}");
            assert_eq!(finding(&[lingers], groups, Systemd).0, Grade::Ok);
        }
    }

    #[test]
    fn without_systemd_a_container_is_told_and_a_scope_is_no_use() {
        let container = system(&[(".dockerenv", "")]);
        let finding = Surroundings::read(container.path(), "0::/\n", "ann").finding(SupervisorScope::Inherited);
        assert!(finding.grade == Grade::Ok && finding.detail.contains("container"), "{finding:?}");
        let other = system(&[]);
        let found = |scope| Surroundings::read(other.path(), "0::/\n", "ann").finding(scope);
        assert_eq!(found(SupervisorScope::Inherited).grade, Grade::Ok);
        assert_eq!(found(SupervisorScope::Systemd).grade, Grade::Warning);
    }
}
