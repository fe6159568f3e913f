//! A data directory for one test, and the proof at its end that no process of it is left.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use tempfile::TempDir;

use super::{DEADLINE, Process, Server, Setup, kill, until};

/// Every server of a test, and so every supervisor and program, has the home's path in this variable.
const MARK: &str = "LOOMD_TEST_HOME";

pub struct Home {
    directory: TempDir,
}

impl Home {
    pub fn new() -> Self {
        Self::below(&std::env::temp_dir())
    }

    /// One that is below another directory than the usual.
    pub fn below(directory: &Path) -> Self {
        Self { directory: tempfile::Builder::new().prefix("loomd-test-").tempdir_in(directory).expect("a temporary directory") }
    }

    /// The variable that all processes of this home have in their environment.
    pub fn mark(&self) -> (&'static str, &Path) {
        (MARK, self.path())
    }

    /// A directory beside the data, for the programs of the test.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    /// The directories of live runs and of those that are not sealed yet, whatever their names.
    pub fn run_directories(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.data().join("runs")) else { return Vec::new() };
        let directories = entries.flatten().filter(|entry| entry.path().is_dir());
        directories.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    }

    /// Every file of the data directory, with directories.
    pub fn everything(&self) -> Vec<PathBuf> {
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

    /// A file of the test's own.
    pub fn file(&self, name: &str, content: &[u8]) -> String {
        let path = self.path().join(name);
        fs::write(&path, content).expect("a file");
        path.display().to_string()
    }

    /// How a server is to be started; nothing runs yet.
    pub fn setup(&self) -> Setup {
        Setup::new(self)
    }

    /// A server that has been initialized.
    pub fn server(&self) -> Server {
        self.setup().start()
    }

    /// All processes of this home: by the mark in their environment, or by a file of the data directory that they hold open.
    pub fn processes(&self) -> Vec<Process> {
        let here = self.path().display().to_string();
        let data = self.data();
        let is_ours = |process: &Process| process.variable(MARK).as_ref() == Some(&here) || process.holds_open(&data);
        Process::all().into_iter().filter(|process| process.pid != std::process::id() && process.state != 'Z' && is_ours(process)).collect()
    }

    /// The processes of one run, the supervisor not counted.
    pub fn tree(&self, run: &str) -> Vec<Process> {
        let mut all = self.processes();
        all.retain(|process| process.variable("LOOMD_RUN_ID").as_deref() == Some(run));
        all
    }

    /// The process that supervises a run: the parent of the program.
    pub fn supervisor(&self, program: u32) -> u32 {
        let parent = Process::of(program).expect("the program lives").parent;
        assert_ne!(parent, 1, "the program has lost its supervisor");
        parent
    }

    /// Waits until no process of a run's tree is left.
    pub fn wait_until_swept(&self, run: &str) {
        until("the run's tree is gone", || self.tree(run).is_empty().then_some(()));
    }

    /// Kills everything that belongs to this home, until nothing is left.
    pub fn kill_everything(&self) {
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
        let end = Instant::now() + DEADLINE;
        while !self.processes().is_empty() && Instant::now() < end {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let left = self.processes();
        self.kill_everything();
        assert!(left.is_empty(), "the test is over, and these processes are left: {left:#?}");
    }
}
