//! The environment of a run. In this order, the later over the earlier: the server's own without what describes whoever
//! started it, the login shell's, that of the configured command, what keeps programs from waiting for a key, the
//! agent's adapter's, the provider's, the run's.
//!
//! This file decides; [`query`] asks the login shell and the command. Values are never stored.

mod query;

use std::{collections::BTreeMap, path::Path, sync::OnceLock};

use crate::config::{EnvironmentConfig, LoginShell};

/// Variables by name; `None` removes one.
pub(crate) type Overlay = BTreeMap<String, Option<String>>;

/// `git rev-parse --local-env-vars`: with these a run's git would work in the repository of whoever started loomd.
const GIT_VARIABLES: [&str; 16] = [
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_CONFIG",
    "GIT_CONFIG_COUNT",
    "GIT_CONFIG_PARAMETERS",
    "GIT_DIR",
    "GIT_GRAFT_FILE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_INDEX_FILE",
    // Older versions of git only.
    "GIT_INTERNAL_SUPER_PREFIX",
    "GIT_NO_REPLACE_OBJECTS",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_REPLACE_REF_BASE",
    "GIT_SHALLOW_FILE",
    "GIT_WORK_TREE",
];

/// Variables of the editor or the agent that started loomd.
const STARTER_VARIABLES: [&str; 10] = [
    "CLAUDECODE",
    "CLAUDE_CODE_ENTRYPOINT",
    "CLAUDE_CODE_SSE_PORT",
    "ELECTRON_NO_ATTACH_CONSOLE",
    "ELECTRON_RUN_AS_NODE",
    "MYVIMRC",
    "NVIM",
    "NVIM_LISTEN_ADDRESS",
    "VIM",
    "VIMRUNTIME",
];

/// What in `NODE_OPTIONS` loads an editor's debugger into every Node program.
const DEBUGGER_OPTIONS: [&str; 4] = ["js-debug", "bootloader.js", "debugConnector", "--inspect-publish-uid"];

/// Set in every session of a desktop.
const DESKTOP_VARIABLES: [&str; 3] = ["DISPLAY", "WAYLAND_DISPLAY", "__CFBundleIdentifier"];

/// What describes a shell itself, and is not taken from it.
const SHELL_VARIABLES: [&str; 7] = ["COLUMNS", "LINES", "OLDPWD", "PWD", "SHLVL", "TERM", "_"];

/// loomd's own variables, which no command may set.
const OWN_PREFIX: &str = "LOOMD_";

/// The environment that a server gives to runs, before providers and runs add theirs.
#[derive(Debug)]
pub(crate) struct Environment {
    config: EnvironmentConfig,
    /// The server's own.
    own: BTreeMap<String, String>,
    /// What the login shell answered; `None`: it is not asked.
    shell: OnceLock<Option<Result<BTreeMap<String, String>, String>>>,
}

/// What of a run counts for its environment.
#[derive(Debug)]
pub(crate) struct RunNeeds<'a> {
    pub(crate) cwd: &'a str,
    pub(crate) has_terminal: bool,
    /// Nobody can type: the run is an agent's, or not both in a terminal and interactive.
    pub(crate) is_unattended: bool,
    /// What the agent's adapter sets unless the provider or the run does.
    pub(crate) adapter: &'a [(String, String)],
    /// The provider's `env` with the run's over it.
    pub(crate) explicit: &'a Overlay,
}

/// Something that failed, for a notice in the run: a title and a description.
pub(crate) type EnvironmentProblem = (String, String);

impl Environment {
    /// The environment of this process.
    pub(crate) fn of_process(config: EnvironmentConfig) -> Self {
        let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        Self::new(config, std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect())
    }

    fn new(config: EnvironmentConfig, own: BTreeMap<String, String>) -> Self {
        Self { config, own, shell: OnceLock::new() }
    }

    /// The names of the server's variables that runs do not get.
    pub(crate) fn left_out(&self) -> impl Iterator<Item = &str> {
        let is_left_out = |(name, value): &(&String, &String)| describes_starter(name, value) && !self.is_passed(name);
        self.own.iter().filter(is_left_out).map(|(name, _)| name.as_str())
    }

    fn is_passed(&self, name: &str) -> bool {
        self.config.pass.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => name == pattern,
        })
    }

    /// The login shell, if it is asked; else the reason.
    pub(crate) fn login_shell(&self) -> Result<&str, &'static str> {
        let is_set = |name: &str| self.own.get(name).is_some_and(|value| !value.is_empty());
        match self.config.shell {
            LoginShell::Never => Err("shell = \"never\" in [environment]"),
            LoginShell::Auto if is_set("SHLVL") => Err("a shell started loomd"),
            LoginShell::Auto if !DESKTOP_VARIABLES.into_iter().any(is_set) => Err("not in a desktop"),
            LoginShell::Auto => Ok(self.own.get("SHELL").filter(|shell| shell.starts_with('/')).map_or("/bin/sh", String::as_str)),
        }
    }

    /// What is taken from the login shell: PATH, and what the server lacks. Blocking: the first call asks the shell.
    pub(crate) fn shell_variables(&self) -> Option<&Result<BTreeMap<String, String>, String>> {
        let ask = || {
            let shell = self.login_shell().ok()?;
            let told = query::login_shell(shell, &self.without_left_out());
            Some(told.map(|told| self.wanted_from_shell(told)))
        };
        self.shell.get_or_init(ask).as_ref()
    }

    fn wanted_from_shell(&self, told: BTreeMap<String, String>) -> BTreeMap<String, String> {
        let is_wanted = |name: &str| match name {
            "PATH" => true,
            name => !self.own.contains_key(name) && !SHELL_VARIABLES.contains(&name) && !name.starts_with(OWN_PREFIX),
        };
        told.into_iter().filter(|(name, _)| is_wanted(name)).collect()
    }

    fn without_left_out(&self) -> BTreeMap<String, String> {
        let left_out: Vec<&str> = self.left_out().collect();
        self.own.iter().filter(|(name, _)| !left_out.contains(&name.as_str())).map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// The server's environment with the login shell's: what programs outside of a run get. Blocking, as [`Self::shell_variables`].
    pub(crate) fn base(&self) -> BTreeMap<String, String> {
        let mut base = self.without_left_out();
        base.extend(self.shell_variables().and_then(|told| told.as_ref().ok()).cloned().unwrap_or_default());
        base
    }

    /// The PATH as far as it is known: without the login shell's while that has not answered.
    pub(crate) fn known_path(&self) -> Option<String> {
        let told = self.shell.get().and_then(|told| told.as_ref()?.as_ref().ok()?.get("PATH"));
        told.or_else(|| self.own.get("PATH")).cloned()
    }

    /// The command of the configuration that makes a part of each run's environment.
    pub(crate) fn command(&self) -> Option<&[String]> {
        self.config.command.as_deref()
    }

    /// Runs the configuration's command for a run in `cwd`. Blocking.
    pub(crate) fn command_variables(&self, cwd: &str) -> Result<Overlay, String> {
        let Some(argv) = self.command().filter(|_| Path::new(cwd).is_dir()) else { return Ok(Overlay::new()) };
        let mut env = self.base();
        env.insert("PWD".to_owned(), cwd.to_owned());
        let mut overlay = query::command(argv, cwd, &env)?;
        overlay.retain(|name, _| !name.starts_with(OWN_PREFIX));
        Ok(overlay)
    }

    /// What did not work, for notices in a run: the login shell, and the command whose result is given.
    pub(crate) fn problems(&self, from_command: &Result<Overlay, String>) -> Vec<EnvironmentProblem> {
        let shell = self.shell_variables().and_then(|told| told.as_ref().err());
        let shell = shell.map(|error| ("The login shell's environment is not known; PATH may lack directories".to_owned(), error.clone()));
        let command = from_command.as_ref().err();
        let command = command.map(|error| ("The environment of the configured command is missing".to_owned(), error.clone()));
        shell.into_iter().chain(command).collect()
    }

    /// What is laid over the server's environment for a run.
    pub(crate) fn overlay(&self, needs: &RunNeeds<'_>, from_command: &Overlay) -> Overlay {
        let mut overlay: Overlay = self.left_out().map(|name| (name.to_owned(), None)).collect();
        let from_shell = self.shell_variables().and_then(|told| told.as_ref().ok()).into_iter().flatten();
        overlay.extend(from_shell.map(|(name, value)| (name.clone(), Some(value.clone()))));
        overlay.extend(from_command.clone());
        let unattended = if needs.is_unattended { unattended(needs.has_terminal) } else { Vec::new() };
        overlay.extend(unattended.into_iter().map(|(name, value)| (name.to_owned(), Some(value.to_owned()))));
        // The path that was chosen, though a link leads there: programs name sessions and projects by it.
        overlay.insert("PWD".to_owned(), logical_directory(needs.cwd));
        overlay.extend(needs.adapter.iter().map(|(name, value)| (name.clone(), Some(value.clone()))));
        overlay.extend(needs.explicit.clone());
        overlay
    }
}

/// Programs that wait for a key, and what takes their place where nobody can press one.
pub(crate) fn unattended(has_terminal: bool) -> Vec<(&'static str, &'static str)> {
    let pagers = [("PAGER", "cat"), ("GIT_PAGER", "cat")].into_iter().filter(|_| has_terminal);
    pagers.chain([("GIT_EDITOR", "true"), ("GIT_SEQUENCE_EDITOR", "true"), ("GIT_TERMINAL_PROMPT", "0")]).collect()
}

/// Whether a variable describes whoever started loomd, and not the user.
fn describes_starter(name: &str, value: &str) -> bool {
    GIT_VARIABLES.contains(&name)
        || STARTER_VARIABLES.contains(&name)
        || (name.starts_with("VSCODE_") && !name.starts_with("VSCODE_GIT_"))
        || (name == "NODE_OPTIONS" && DEBUGGER_OPTIONS.iter().any(|option| value.contains(option)))
}

/// `cwd` as PWD may name it: POSIX allows no `..` in it.
fn logical_directory(cwd: &str) -> Option<String> {
    match cwd.split('/').any(|name| name == "..") {
        true => Some(Path::new(cwd).canonicalize().ok()?.to_str()?.to_owned()),
        false => Some(cwd.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn environment(config: EnvironmentConfig, own: &[(&str, &str)]) -> Environment {
        Environment::new(config, variables(own))
    }

    fn left_out(pass: &[&str], own: &[(&str, &str)]) -> Vec<String> {
        let pass = pass.iter().map(|name| (*name).to_owned()).collect();
        environment(EnvironmentConfig { pass, ..EnvironmentConfig::default() }, own).left_out().map(str::to_owned).collect()
    }

    const NEEDS: RunNeeds<'_> = RunNeeds { cwd: "/w", has_terminal: false, is_unattended: false, adapter: &[], explicit: &Overlay::new() };

    #[test]
    fn what_describes_the_starter_is_left_out_unless_it_is_to_be_passed() {
        let own = [
            ("CLAUDECODE", "1"),
            ("GIT_DIR", "/other/.git"),
            ("GIT_EDITOR", "vi"),
            ("HOME", "/home/me"),
            ("NVIM", "/run/nvim.1"),
            ("VIMINIT", "set nu"),
            ("VSCODE_GIT_IPC_HANDLE", "/run/git"),
            ("VSCODE_IPC_HOOK", "/run/vs"),
            ("VSCODE_PID", "7"),
        ];
        assert_eq!(left_out(&[], &own), ["CLAUDECODE", "GIT_DIR", "NVIM", "VSCODE_IPC_HOOK", "VSCODE_PID"]);
        assert_eq!(left_out(&["VSCODE_*", "GIT_DIR", "NVI"], &own), ["CLAUDECODE", "NVIM"]);
    }

    #[test]
    fn only_an_editors_debugger_makes_node_options_the_starters() {
        let debugger = "--require /x/ms-vscode.js-debug/src/bootloader.js --inspect-publish-uid=http";
        assert_eq!(left_out(&[], &[("NODE_OPTIONS", debugger)]), ["NODE_OPTIONS"]);
        assert_eq!(left_out(&[], &[("NODE_OPTIONS", "--max-old-space-size=4096")]), Vec::<String>::new());
    }

    /// Fails when git has got a variable that would lead a run into another repository.
    #[test]
    fn all_local_variables_of_git_are_known() {
        let told = std::process::Command::new("git").args(["rev-parse", "--local-env-vars"]).output().expect("git runs");
        let told = String::from_utf8(told.stdout).expect("text");
        assert!(told.contains("GIT_DIR"), "{told}");
        told.lines().for_each(|name| assert!(describes_starter(name, "1"), "{name}"));
    }

    #[test]
    fn the_login_shell_is_asked_only_in_a_desktop_that_no_shell_started() {
        let shell = |shell: LoginShell, own: &[(&str, &str)]| {
            environment(EnvironmentConfig { shell, ..EnvironmentConfig::default() }, own).login_shell().map(str::to_owned).ok()
        };
        let desktop = [("DISPLAY", ":0"), ("SHELL", "/usr/bin/fish")];
        assert_eq!(shell(LoginShell::Auto, &desktop).as_deref(), Some("/usr/bin/fish"));
        assert_eq!(shell(LoginShell::Never, &desktop), None);
        assert_eq!(shell(LoginShell::Auto, &[("SHELL", "/bin/sh")]), None);
        assert_eq!(shell(LoginShell::Auto, &[("WAYLAND_DISPLAY", "w"), ("SHLVL", "1")]), None);
        assert_eq!(shell(LoginShell::Auto, &[("__CFBundleIdentifier", "com.x")]).as_deref(), Some("/bin/sh"));
    }

    #[test]
    fn of_the_login_shell_path_and_what_is_missing_is_taken() {
        let environment = environment(EnvironmentConfig::default(), &[("PATH", "/bin"), ("LANG", "C"), ("NVIM", "/run/n")]);
        let told = [("PATH", "/opt/bin:/bin"), ("LANG", "de"), ("GOPATH", "/go"), ("SHLVL", "1"), ("TERM", "dumb"), ("LOOMD_X", "1")];
        let taken = environment.wanted_from_shell(variables(&told));
        assert_eq!(taken, variables(&[("GOPATH", "/go"), ("PATH", "/opt/bin:/bin")]));
        environment.shell.set(Some(Ok(taken))).expect("it was not asked");
        assert_eq!(environment.known_path().as_deref(), Some("/opt/bin:/bin"));
        assert_eq!(environment.base(), variables(&[("GOPATH", "/go"), ("LANG", "C"), ("PATH", "/opt/bin:/bin")]));
    }

    #[test]
    fn the_later_is_laid_over_the_earlier() {
        let environment = environment(EnvironmentConfig::default(), &[("PATH", "/bin"), ("NVIM", "/run/n"), ("GIT_DIR", "/g")]);
        environment.shell.set(Some(Ok(variables(&[("PATH", "/shell"), ("A", "shell"), ("PAGER", "less")])))).expect("it was not asked");
        let text = |value: &str| Some(value.to_owned());
        let from_command: Overlay = [("A", text("command")), ("B", text("command")), ("C", text("command")), ("GIT_EDITOR", text("vi"))]
            .map(|(name, value)| (name.to_owned(), value))
            .into();
        let explicit: Overlay = [("C", None), ("D", text("run")), ("GIT_DIR", text("/mine")), ("GIT_PAGER", text("delta"))]
            .map(|(name, value)| (name.to_owned(), value))
            .into();
        let adapter = [("B".to_owned(), "adapter".to_owned()), ("D".to_owned(), "adapter".to_owned())];
        let needs = RunNeeds { has_terminal: true, is_unattended: true, adapter: &adapter, explicit: &explicit, ..NEEDS };
        let overlay = environment.overlay(&needs, &from_command);
        let expected: Overlay = [
            ("A", text("command")),
            ("B", text("adapter")),
            ("C", None),
            ("D", text("run")),
            ("GIT_DIR", text("/mine")),
            ("GIT_EDITOR", text("true")),
            ("GIT_PAGER", text("delta")),
            ("GIT_SEQUENCE_EDITOR", text("true")),
            ("GIT_TERMINAL_PROMPT", text("0")),
            ("NVIM", None),
            ("PAGER", text("cat")),
            ("PATH", text("/shell")),
            ("PWD", text("/w")),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        assert_eq!(overlay, expected);
    }

    #[test]
    fn only_where_nobody_can_type_pagers_and_editors_are_replaced() {
        let environment = environment(EnvironmentConfig::default(), &[("EDITOR", "vi")]);
        let names = |needs: &RunNeeds<'_>| environment.overlay(needs, &Overlay::new()).into_keys().collect::<Vec<_>>();
        assert_eq!(names(&RunNeeds { has_terminal: true, ..NEEDS }), ["PWD"]);
        let without_terminal = names(&RunNeeds { is_unattended: true, ..NEEDS });
        assert_eq!(without_terminal, ["GIT_EDITOR", "GIT_SEQUENCE_EDITOR", "GIT_TERMINAL_PROMPT", "PWD"]);
    }
}
