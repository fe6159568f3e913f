//! A directory for one test, with the data directory in it. Dropping it asserts that no process of the test is left.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use tempfile::TempDir;

use super::{Process, Server, Setup, WAIT_TIMEOUT, kill, until};

/// The variable in which every server of a test, and so every supervisor and program, has the home's path.
const HOME_VARIABLE: &str = "LOOMD_TEST_HOME";

pub(crate) struct Home {
    directory: TempDir,
}

impl AsRef<Path> for Home {
    fn as_ref(&self) -> &Path {
        self.path()
    }
}

impl Home {
    pub(crate) fn new() -> Self {
        Self::in_directory(&std::env::temp_dir())
    }

    /// A home in another directory than the one for temporary files.
    pub(crate) fn in_directory(directory: &Path) -> Self {
        Self { directory: tempfile::Builder::new().prefix("loomd-test-").tempdir_in(directory).expect("a temporary directory") }
    }

    /// The variable that all processes of this home have in their environment.
    pub(crate) fn mark(&self) -> (&'static str, &Path) {
        (HOME_VARIABLE, self.path())
    }

    /// The directory of the test. The data directory is in it, and the test may write its own files there.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    /// The directories of live runs and of those that are not sealed yet, whatever their names.
    pub(crate) fn run_directories(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.data().join("runs")) else { return Vec::new() };
        let directories = entries.flatten().filter(|entry| entry.path().is_dir());
        directories.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    }

    /// All files and directories of the data directory.
    pub(crate) fn all_paths(&self) -> Vec<PathBuf> {
        fn walk(path: &Path, found: &mut Vec<PathBuf>) {
            found.push(path.to_owned());
            if path.is_dir() && !path.is_symlink() {
                fs::read_dir(path).into_iter().flatten().flatten().for_each(|entry| walk(&entry.path(), found));
            }
        }
        let mut found = Vec::new();
        walk(&self.data(), &mut found);
        found
    }

    /// Writes a file of the test, and returns its path.
    pub(crate) fn file(&self, name: &str, content: &[u8]) -> String {
        let path = self.path().join(name);
        fs::write(&path, content).expect("a file");
        path.display().to_string()
    }

    /// The file of the user's rules.
    pub(crate) fn rules_file(&self) -> PathBuf {
        self.path().join("config/loomd/rules.json")
    }

    /// The options of a server that is to be started.
    pub(crate) fn setup(&self) -> Setup {
        Setup::new(self)
    }

    /// A server that has been initialized.
    pub(crate) fn server(&self) -> Server {
        self.setup().start()
    }

    /// All processes of this home: those with its mark in their environment, and those that hold a file of the data
    /// directory open.
    pub(crate) fn processes(&self) -> Vec<Process> {
        let here = self.path().display().to_string();
        let data = self.data();
        // The environment of a supervisor is readable for the superuser only; its argv names its run.
        let supervises = |process: &Process| {
            let run = process.command.split(' ').skip_while(|word| *word != "supervise").nth(1).unwrap_or("-");
            data.join("runs").join(run).exists() || data.join(format!("runs/.new-{run}")).exists()
        };
        let is_ours =
            |process: &Process| process.variable(HOME_VARIABLE).as_ref() == Some(&here) || process.holds_open(&data) || supervises(process);
        Process::all().into_iter().filter(|process| process.pid != std::process::id() && process.state != 'Z' && is_ours(process)).collect()
    }

    /// The processes of one run, the supervisor not counted.
    pub(crate) fn tree(&self, run: &str) -> Vec<Process> {
        let mut all = self.processes();
        all.retain(|process| process.variable("LOOMD_RUN_ID").as_deref() == Some(run));
        all
    }

    /// The process that supervises a run: the parent of the program.
    pub(crate) fn supervisor(&self, program: u32) -> u32 {
        let parent = Process::of(program).expect("the program lives").parent;
        assert_ne!(parent, 1, "the program has lost its supervisor");
        parent
    }

    /// Waits until no process of a run's tree is left.
    pub(crate) fn wait_until_swept(&self, run: &str) {
        until("the run's tree is gone", || self.tree(run).is_empty().then_some(()));
    }

    /// Kills everything that belongs to this home, until nothing is left.
    pub(crate) fn kill_everything(&self) {
        until("everything is killed", || {
            let left = self.processes();
            left.iter().for_each(|process| kill(process.pid));
            left.is_empty().then_some(())
        });
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return self.kill_everything();
        }
        // A process cannot be told as ours while it calls exec, so that two looks have to find nothing.
        let end = Instant::now() + WAIT_TIMEOUT;
        let (mut left, mut empty_looks) = (Vec::new(), 0);
        while empty_looks < 2 && Instant::now() < end {
            left = self.processes();
            empty_looks = if left.is_empty() { empty_looks + 1 } else { 0 };
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        self.kill_everything();
        assert!(left.is_empty(), "the test is over, and these processes are left: {left:#?}");
    }
}
