//! The file `index` beside the segments: fixed records of where each segment begins and how far it is known to be
//! whole.
//!
//! A record is 48 bytes in little endian: first entry, stdout and stderr bytes before it, synced length, last synced
//! entry (8 bytes each), CRC-32 of the synced bytes, CRC-32 of the preceding bytes of the record (4 bytes each). The
//! record of the newest segment is rewritten after each sync. Records may be older than the segments, never newer, so
//! they can prove damage and never cause it.

use std::{fs::File, io, os::unix::fs::FileExt};

use super::RunDir;
use crate::{model::RunBytes, process::data_file};

const RECORD_BYTES: usize = 48;
/// Records of some hundred thousand segments, which no run has.
const MAX_INDEX_BYTES: u64 = 16 << 20;

/// What the index knows of one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentRecord {
    pub(crate) first_seq: u64,
    /// Bytes of both streams before this segment.
    pub(crate) bytes_before: RunBytes,
    /// Bytes of the file that were synced.
    pub(crate) synced_bytes: u64,
    /// The last entry among the synced bytes.
    pub(crate) last_seq: u64,
    /// CRC-32 of the synced bytes.
    pub(crate) checksum: u32,
}

/// The file `index`, open for writing.
#[derive(Debug)]
pub(crate) struct IndexFile {
    file: File,
}

impl IndexFile {
    pub(crate) fn create(dir: &RunDir) -> io::Result<Self> {
        let file = data_file::write_or_create(&dir.index())?;
        Ok(Self { file })
    }

    /// Writes the record of the `position`th segment, counted from 0.
    pub(crate) fn write(&self, position: u64, record: &SegmentRecord) -> io::Result<()> {
        self.file.write_all_at(&record.to_bytes(), position * RECORD_BYTES as u64)
    }
}

/// All whole records, in the order of the segments.
pub(crate) fn read(dir: &RunDir) -> io::Result<Vec<SegmentRecord>> {
    match data_file::read_bounded(&dir.index(), MAX_INDEX_BYTES) {
        Ok(bytes) => Ok(bytes.chunks_exact(RECORD_BYTES).filter_map(SegmentRecord::from_bytes).collect()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

impl SegmentRecord {
    fn to_bytes(self) -> [u8; RECORD_BYTES] {
        let mut bytes = [0; RECORD_BYTES];
        let numbers = [self.first_seq, self.bytes_before.stdout, self.bytes_before.stderr, self.synced_bytes, self.last_seq];
        for (number, field) in numbers.iter().zip(bytes.chunks_exact_mut(8)) {
            field.copy_from_slice(&number.to_le_bytes());
        }
        bytes[40..44].copy_from_slice(&self.checksum.to_le_bytes());
        let record_checksum = crc32fast::hash(&bytes[..44]);
        bytes[44..].copy_from_slice(&record_checksum.to_le_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        let sum = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let record = Self {
            first_seq: number(0),
            bytes_before: RunBytes { stdout: number(8), stderr: number(16) },
            synced_bytes: number(24),
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
        let record = |first_seq| SegmentRecord {
            first_seq,
            bytes_before: RunBytes { stdout: 5, stderr: 6 },
            synced_bytes: 7,
            last_seq: 8,
            checksum: 9,
        };
        file.write(0, &record(1)).expect("written");
        file.write(1, &record(10)).expect("written");
        assert_eq!(read(&dir).expect("read"), [record(1), record(10)]);
        file.file.write_all_at(&[1], 3).expect("damaged");
        assert_eq!(read(&dir).expect("read"), [record(10)]);
    }
}
