//! What stands before the body of a block: which entries, and where in the output.

/// What stands before the body of a block, in its first row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct BlockHead {
    pub first_seq: u64,
    pub last_seq: u64,
    /// Raw bytes of each stream before this block.
    pub stdout_offset: u64,
    pub stderr_offset: u64,
    /// Raw bytes of each stream in this block.
    pub stdout_bytes: u64,
    pub stderr_bytes: u64,
    /// Length of the body, and of its first part.
    pub body_bytes: u64,
    pub payload_bytes: u64,
}

impl BlockHead {
    pub(super) const BYTES: usize = 64;

    fn words(&mut self) -> [&mut u64; 8] {
        let Self { first_seq, last_seq, stdout_offset, stderr_offset, stdout_bytes, stderr_bytes, body_bytes, payload_bytes } = self;
        [first_seq, last_seq, stdout_offset, stderr_offset, stdout_bytes, stderr_bytes, body_bytes, payload_bytes]
    }

    /// Eight little-endian words, in the order of the members.
    pub(super) fn write(mut self, out: &mut Vec<u8>) {
        for word in self.words() {
            out.extend_from_slice(&word.to_le_bytes());
        }
    }

    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let mut head = Self::default();
        for (word, bytes) in head.words().into_iter().zip(bytes.get(..Self::BYTES)?.chunks_exact(8)) {
            *word = u64::from_le_bytes(bytes.try_into().ok()?);
        }
        Some(head)
    }
}
