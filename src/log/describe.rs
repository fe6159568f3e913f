//! What a run is, beside its log: `run.json`.

use std::{fs, io};

use serde::{Deserialize, Serialize};

use super::files::RunDir;
use crate::{model::Run, process::disk};

/// A run as it was when it was made, or last edited.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Description {
    /// Version of this file's form.
    pub version: u32,
    pub run: Run,
    /// Hash of the client's token, by which a second `run/start` finds this run; lower-case hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
}

impl Description {
    pub const VERSION: u32 = 1;

    /// Reads it. `InvalidData` where it is not whole or of a version that this build does not know.
    pub fn read(dir: &RunDir) -> io::Result<Self> {
        let found: Self =
            serde_json::from_slice(&fs::read(dir.description())?).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        if found.version > Self::VERSION {
            let message = format!("{} was written by a newer loomd (form {})", dir.description().display(), found.version);
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        Ok(found)
    }

    /// Writes it, durably.
    pub fn write(&self, dir: &RunDir) -> io::Result<()> {
        disk::replace_durably(&dir.description(), &serde_json::to_vec(self)?)
    }
}
