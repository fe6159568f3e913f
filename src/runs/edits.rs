//! Tells all servers on a data directory what no supervisor can tell them: edits and deletions of runs that have ended.
//!
//! `runs/.changes` is a file of lines to which every server appends and which every server watches. A server that is
//! stopped holds up no other: it reads on when it continues. A file that has grown long is set aside for a new one.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::RunsHandle;
use crate::{
    history::History,
    log::Description,
    model::{Failure, Run, RunId, calls::EditParams, control::Command},
    process::data_file,
};

/// Name of the file in `runs/`.
pub(crate) const FILE_NAME: &str = ".changes";
const OLD_FILE_NAME: &str = ".changes.old";
/// A file that is longer than this is set aside.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// How long an edit waits for the store.
const STORE_TIMEOUT: Duration = Duration::from_secs(5);

/// One line of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum PublishedEdit {
    Edited(RunId),
    Deleted(Vec<RunId>),
}

/// Publishes an edit to all servers on this data directory, including this one.
pub(crate) fn publish(runs: &Path, edit: &PublishedEdit) -> io::Result<()> {
    let path = runs.join(FILE_NAME);
    let mut file = data_file::append(&path)?;
    let mut line = serde_json::to_vec(edit)?;
    line.push(b'\n');
    file.write_all(&line)?;
    if file.metadata()?.len() > MAX_FILE_BYTES {
        fs::rename(&path, runs.join(OLD_FILE_NAME))?;
    }
    Ok(())
}

/// Reads what is appended to the file after the reader was created.
#[derive(Debug)]
pub(crate) struct EditReader {
    runs: PathBuf,
    inode: u64,
    position: u64,
}

impl EditReader {
    /// A reader that begins at the end of the file.
    pub(crate) fn at_end(runs: &Path) -> Self {
        let metadata = fs::metadata(runs.join(FILE_NAME)).ok();
        let (inode, position) = metadata.map_or((0, 0), |metadata| (metadata.ino(), metadata.len()));
        Self { runs: runs.to_owned(), inode, position }
    }

    /// The edits that were published since the last call.
    pub(crate) fn read_new(&mut self) -> io::Result<Vec<PublishedEdit>> {
        let mut edits = Vec::new();
        if let Some(old) = open(&self.runs.join(OLD_FILE_NAME))?
            && old.metadata()?.ino() == self.inode
        {
            self.read(old, &mut edits)?;
        }
        if let Some(file) = open(&self.runs.join(FILE_NAME))? {
            let inode = file.metadata()?.ino();
            if inode != self.inode {
                (self.inode, self.position) = (inode, 0);
            }
            self.read(file, &mut edits)?;
        }
        Ok(edits)
    }

    fn read(&mut self, mut file: File, edits: &mut Vec<PublishedEdit>) -> io::Result<()> {
        file.seek(SeekFrom::Start(self.position))?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        let whole_bytes = memchr::memrchr(b'\n', &text).map_or(0, |end| end + 1);
        self.position += whole_bytes as u64;
        edits.extend(text[..whole_bytes].split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()));
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<Option<File>> {
    match data_file::read(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

impl RunsHandle {
    /// Changes what people may change of a run, and tells all servers on this data directory.
    pub(crate) async fn edit(&self, params: EditParams) -> Result<Run, Failure> {
        let id = params.run_id;
        let command = Command::Edit { title: params.title.clone(), labels: params.labels.clone(), pinned: params.pinned };
        if let Some(mut reply) = self.push_command(id, command)
            && let Some(result) = self.wait_for_reply(id, &mut reply).await?
        {
            return serde_json::from_value(result?).map_err(|error| Failure::internal(error.to_string()));
        }
        // The run has ended. Until it is sealed its description is beside its log, and then in the store; it may be sealed
        // just now.
        let (history, log_params) = (self.history.clone(), params.clone());
        let editing = tokio::task::spawn_blocking(move || edit_description(&history, log_params)).await;
        let in_log = editing.map_err(|error| Failure::internal(format!("the edit failed: {error}")))??;
        if in_log && self.history.dir(id).path().exists() {
            self.publish(&PublishedEdit::Edited(id));
            return self.current_run(id).await;
        }
        let edit = move |run: &mut Run| run.edit(params.title, params.labels, params.pinned);
        let editing = self.commit(move |history| Ok(history.store.edit(id, edit)?));
        let Ok(edited) = tokio::time::timeout(STORE_TIMEOUT, editing).await else {
            let message = "another loomd holds the store and does not continue (is it stopped?); the edit is made once it does";
            return Err(Failure::store(self.history.store.path(), message));
        };
        let run = edited?;
        self.publish(&PublishedEdit::Edited(id));
        run.ok_or_else(|| Failure::run_not_found(id))
    }

    /// Tells all servers on this data directory, including this one, of an edit.
    pub(super) fn publish(&self, edit: &PublishedEdit) {
        if let Err(error) = publish(&self.history.runs, edit) {
            tracing::warn!(%error, "other servers are not notified of the change");
        }
    }
}

/// Edits the description beside the log of a run that has ended. False if there is none.
fn edit_description(history: &History, params: EditParams) -> Result<bool, Failure> {
    let dir = history.dir(params.run_id);
    let failed =
        |error: io::Error| Failure::store(dir.path(), format!("the edit was not stored: {error}; free some disk space and try again"));
    let mut description = match Description::read(&dir) {
        Ok(description) => description,
        Err(_) if !dir.path().exists() => return Ok(false),
        Err(error) => return Err(failed(error)),
    };
    description.run.edit(params.title, params.labels, params.pinned);
    match description.write(&dir) {
        Ok(()) => Ok(true),
        Err(_) if !dir.path().exists() => Ok(false),
        Err(error) => Err(failed(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reader_reads_each_edit_once_also_over_a_new_file() {
        let runs = tempfile::tempdir().expect("a temporary directory");
        let edit = |n: u8| PublishedEdit::Deleted(vec![RunId::from_bytes([n; 16]); 400]);
        publish(runs.path(), &edit(0)).expect("published");
        let mut reader = EditReader::at_end(runs.path());
        let (mut received, mut published) = (Vec::new(), Vec::new());
        for n in 1..200 {
            publish(runs.path(), &edit(n)).expect("published");
            published.push(edit(n));
            if n % 7 == 0 {
                received.extend(reader.read_new().expect("read"));
            }
        }
        received.extend(reader.read_new().expect("read"));
        assert!(runs.path().join(OLD_FILE_NAME).exists(), "the file was long enough to be set aside");
        assert_eq!(received, published);
    }
}
