//! How servers tell each other what no supervisor can: edits and deletions of runs that have ended.
//!
//! `runs/.changes` is a file of lines to which every server appends and which every server watches. A server that is
//! stopped holds nobody up: it reads on when it comes back. A file that has grown long is set aside for a new one.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::model::RunId;

/// Name of the file in `runs/`.
pub const NAME: &str = ".changes";
const OLD_NAME: &str = ".changes.old";
/// At this length a new file is begun.
const LONG: u64 = 1 << 20;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Change {
    Edited(RunId),
    Deleted(Vec<RunId>),
}

/// Tells all servers on this data directory, this one too.
pub fn tell(runs: &Path, change: &Change) -> io::Result<()> {
    let path = runs.join(NAME);
    let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(&path)?;
    let mut line = serde_json::to_vec(change)?;
    line.push(b'\n');
    file.write_all(&line)?;
    if file.metadata()?.len() > LONG {
        fs::rename(&path, runs.join(OLD_NAME))?;
    }
    Ok(())
}

/// A reader of the file from the moment it was made.
#[derive(Debug)]
pub struct Changes {
    runs: PathBuf,
    inode: u64,
    position: u64,
}

impl Changes {
    pub fn from_now_on(runs: &Path) -> Self {
        let metadata = fs::metadata(runs.join(NAME)).ok();
        let (inode, position) = metadata.map_or((0, 0), |metadata| (metadata.ino(), metadata.len()));
        Self { runs: runs.to_owned(), inode, position }
    }

    /// What was told since the last call.
    pub fn news(&mut self) -> io::Result<Vec<Change>> {
        let mut news = Vec::new();
        if let Some(old) = open(&self.runs.join(OLD_NAME))?
            && old.metadata()?.ino() == self.inode
        {
            self.read(old, &mut news)?;
        }
        if let Some(file) = open(&self.runs.join(NAME))? {
            let inode = file.metadata()?.ino();
            if inode != self.inode {
                (self.inode, self.position) = (inode, 0);
            }
            self.read(file, &mut news)?;
        }
        Ok(news)
    }

    fn read(&mut self, mut file: File, news: &mut Vec<Change>) -> io::Result<()> {
        file.seek(SeekFrom::Start(self.position))?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        let whole = memchr::memrchr(b'\n', &text).map_or(0, |end| end + 1);
        self.position += whole as u64;
        news.extend(text[..whole].split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()));
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reader_hears_everything_once_also_over_a_new_file() {
        let runs = tempfile::tempdir().expect("a temporary directory");
        let change = |n: u8| Change::Deleted(vec![RunId::from_bytes([n; 16]); 400]);
        tell(runs.path(), &change(0)).expect("told");
        let mut reader = Changes::from_now_on(runs.path());
        let (mut heard, mut told) = (Vec::new(), Vec::new());
        for n in 1..200 {
            tell(runs.path(), &change(n)).expect("told");
            told.push(change(n));
            if n % 7 == 0 {
                heard.extend(reader.news().expect("read"));
            }
        }
        heard.extend(reader.news().expect("read"));
        assert!(runs.path().join(OLD_NAME).exists(), "the file was long enough to be set aside");
        assert_eq!(heard, told);
    }
}
