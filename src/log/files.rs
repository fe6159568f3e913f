//! What a run's directory holds, and under which names.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::model::RunId;

const SEGMENT_ENDING: &str = ".jsonl";

/// The directory of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunDir {
    path: PathBuf,
}

impl RunDir {
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where a run lives once its program has been spawned.
    pub fn of(runs: &Path, id: RunId) -> Self {
        Self::at(runs.join(id.to_string()))
    }

    /// Where it is built before that.
    pub fn unborn(runs: &Path, id: RunId) -> Self {
        Self::at(runs.join(format!(".new-{id}")))
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the run is, written once before the program starts and at each edit.
    pub fn description(&self) -> PathBuf {
        self.path.join("run.json")
    }

    /// How the run stands, rewritten in place by its supervisor.
    pub fn head(&self) -> PathBuf {
        self.path.join("head")
    }

    /// Where each segment begins, how far it is synced, and its checksum.
    pub fn index(&self) -> PathBuf {
        self.path.join("index")
    }

    /// The supervisor's socket.
    pub fn socket(&self) -> PathBuf {
        self.path.join("s")
    }

    /// Locked by whoever moves the log into the store.
    pub fn seal(&self) -> PathBuf {
        self.path.join("seal")
    }

    /// There while an adopter, and no supervisor, holds the lock on the directory.
    pub fn adopting(&self) -> PathBuf {
        self.path.join("adopting")
    }

    /// A segment is named by the number of its first entry.
    pub fn segment(&self, first_seq: u64) -> PathBuf {
        self.path.join(format!("{first_seq:020}{SEGMENT_ENDING}"))
    }

    /// The first entries of the segments that are there, ascending.
    pub fn segments(&self) -> io::Result<Vec<u64>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let name = entry?.file_name();
            let first: Option<u64> = name.to_str().and_then(|name| name.strip_suffix(SEGMENT_ENDING)).and_then(|name| name.parse().ok());
            found.extend(first);
        }
        found.sort_unstable();
        Ok(found)
    }

    /// The bytes that the directory takes.
    pub fn size(&self) -> io::Result<u64> {
        fs::read_dir(&self.path)?.map(|entry| Ok(entry?.metadata()?.len())).sum()
    }
}
