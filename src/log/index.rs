//! Where each segment begins and how far it is known to be whole: fixed records beside the segments.
//!
//! A record is 48 bytes, little endian: first entry, stdout and stderr bytes before it, synced length (each 8 bytes),
//! entries up to there (8 bytes, the last one's number), CRC-32 of the synced bytes, CRC-32 of the record before it
//! (4 bytes each). The record of the newest segment is rewritten after each sync. Records may be older than the
//! segments, never newer, so they can prove damage and never cause it.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
};

use super::files::RunDir;
use crate::model::RunBytes;

const RECORD: usize = 48;

/// What is known of one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentRecord {
    pub first_seq: u64,
    /// Bytes of both streams before this segment.
    pub before: RunBytes,
    /// So many bytes of the file were synced,
    pub synced: u64,
    /// the last entry among them being this one,
    pub last_seq: u64,
    /// and this being their CRC-32.
    pub checksum: u32,
}

/// The file of records, open for writing.
#[derive(Debug)]
pub struct IndexFile {
    file: File,
}

impl IndexFile {
    pub fn create(dir: &RunDir) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(dir.index())?;
        Ok(Self { file })
    }

    /// Writes the record of the `position`th segment, counted from 0.
    pub fn write(&self, position: u64, record: &SegmentRecord) -> io::Result<()> {
        self.file.write_all_at(&record.to_bytes(), position * RECORD as u64)
    }

    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

/// All records that are whole, in the order of the segments.
pub fn read(dir: &RunDir) -> io::Result<Vec<SegmentRecord>> {
    match fs::read(dir.index()) {
        Ok(bytes) => Ok(bytes.chunks_exact(RECORD).filter_map(SegmentRecord::from_bytes).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

impl SegmentRecord {
    fn to_bytes(self) -> [u8; RECORD] {
        let mut bytes = [0; RECORD];
        let numbers = [self.first_seq, self.before.stdout, self.before.stderr, self.synced, self.last_seq];
        for (number, place) in numbers.iter().zip(bytes.chunks_exact_mut(8)) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        bytes[40..44].copy_from_slice(&self.checksum.to_le_bytes());
        let own = crc32fast::hash(&bytes[..44]);
        bytes[44..].copy_from_slice(&own.to_le_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        let sum = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let record = Self {
            first_seq: number(0),
            before: RunBytes { stdout: number(8), stderr: number(16) },
            synced: number(24),
            last_seq: number(32),
            checksum: sum(40),
        };
        (crc32fast::hash(&bytes[..44]) == sum(44) && record.first_seq > 0).then_some(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_and_damaged_ones_are_left_out() {
        let parent = tempfile::tempdir().expect("a temporary directory");
        let dir = RunDir::at(parent.path());
        let file = IndexFile::create(&dir).expect("made");
        let record =
            |first_seq| SegmentRecord { first_seq, before: RunBytes { stdout: 5, stderr: 6 }, synced: 7, last_seq: 8, checksum: 9 };
        file.write(0, &record(1)).expect("written");
        file.write(1, &record(10)).expect("written");
        assert_eq!(read(&dir).expect("read"), [record(1), record(10)]);
        file.file.write_all_at(&[1], 3).expect("damaged");
        assert_eq!(read(&dir).expect("read"), [record(10)]);
    }
}
