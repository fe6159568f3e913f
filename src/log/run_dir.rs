//! A run's directory: which files it holds under which names, and `run.json`, which describes the run.

use std::{
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    model::{Run, RunId},
    process::{data_file, disk},
};

const SEGMENT_ENDING: &str = ".jsonl";
const CHECKPOINT_ENDING: &str = ".fold";
/// The longest `run.json`: a client's frame is shorter.
const MAX_DESCRIPTION_BYTES: u64 = 256 << 20;

/// The directory of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunDir {
    path: PathBuf,
}

/// The content of `run.json`: a run as it was when it was created, or last edited.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Description {
    /// Version of this file's format.
    pub(crate) version: u32,
    pub(crate) run: Run,
    /// Hash of the client's token, by which a second `run/start` finds this run; lower-case hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) token: Option<String>,
}

impl RunDir {
    pub(crate) fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The directory of a run whose program has been spawned.
    pub fn of(runs: &Path, id: RunId) -> Self {
        Self::at(runs.join(id.to_string()))
    }

    /// The directory of a run whose program has not been spawned yet; the supervisor renames it to [`RunDir::of`].
    pub(crate) fn staging(runs: &Path, id: RunId) -> Self {
        Self::at(runs.join(format!(".new-{id}")))
    }

    /// The run that the directory's name speaks of; `None` for a name that is no id.
    pub(crate) fn id(&self) -> Option<RunId> {
        self.path.file_name()?.to_str()?.parse().ok()
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether anything has the directory's name, if only a link to nothing.
    pub(crate) fn is_there(&self) -> bool {
        self.path.symlink_metadata().is_ok()
    }

    /// `run.json`, written once before the program starts and at each edit ([`Description`]).
    pub(crate) fn description(&self) -> PathBuf {
        self.path.join("run.json")
    }

    /// The head, which the supervisor rewrites in place ([`super::head`]).
    pub(crate) fn head(&self) -> PathBuf {
        self.path.join("head")
    }

    /// The index: where each segment begins, how far it is synced, and its checksum ([`super::index`]).
    pub(crate) fn index(&self) -> PathBuf {
        self.path.join("index")
    }

    /// The supervisor's socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.path.join("s")
    }

    /// The file that a process locks while it moves this log into the store.
    pub fn seal(&self) -> PathBuf {
        self.path.join("seal")
    }

    /// This file exists while an adopter, and no supervisor, holds the lock on the directory.
    pub(crate) fn adopting(&self) -> PathBuf {
        self.path.join("adopting")
    }

    /// The segment whose first entry is `first_seq`; its name is that number.
    pub fn segment(&self, first_seq: u64) -> PathBuf {
        self.path.join(format!("{first_seq:020}{SEGMENT_ENDING}"))
    }

    /// The numbers of the first entries of the existing segments, ascending.
    pub fn segments(&self) -> io::Result<Vec<u64>> {
        let mut first_seqs = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let name = entry?.file_name();
            let first: Option<u64> = name.to_str().and_then(|name| name.strip_suffix(SEGMENT_ENDING)).and_then(|name| name.parse().ok());
            first_seqs.extend(first);
        }
        first_seqs.sort_unstable();
        Ok(first_seqs)
    }

    /// The checkpoint of the transcript as of an entry ([`crate::transcript`]).
    pub(crate) fn checkpoint(&self, seq: u64) -> PathBuf {
        self.path.join(format!("{seq:020}{CHECKPOINT_ENDING}"))
    }

    /// The entry that a file is a checkpoint as of; `None` for the name of another file.
    pub(crate) fn checkpoint_seq(name: &OsStr) -> Option<u64> {
        name.to_str()?.strip_suffix(CHECKPOINT_ENDING)?.parse().ok()
    }

    /// Bytes of all files in the directory.
    pub(crate) fn size(&self) -> io::Result<u64> {
        fs::read_dir(&self.path)?.map(|entry| Ok(entry?.metadata()?.len())).sum()
    }
}

impl Description {
    pub(crate) const VERSION: u32 = 1;

    /// Reads `run.json`. `InvalidData`: it is not whole, or of a version that this build does not know.
    pub(crate) fn read(dir: &RunDir) -> io::Result<Self> {
        let description: Self = serde_json::from_slice(&data_file::read_bounded(&dir.description(), MAX_DESCRIPTION_BYTES)?)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        if description.version > Self::VERSION {
            let message =
                format!("{} was written by a newer loomd (format {}); update loomd", dir.description().display(), description.version);
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        Ok(description)
    }

    /// Replaces `run.json` durably.
    pub(crate) fn write(&self, dir: &RunDir) -> io::Result<()> {
        disk::replace_durably(&dir.description(), &serde_json::to_vec(self)?)
    }
}
