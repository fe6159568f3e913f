//! The frames of the bulk lane that are being written, and their buffer.

/// Most capacity that the bulk buffer keeps while nobody uses it.
pub(super) const MAX_SPARE_BULK_BYTES: usize = 2 << 20;

/// Whole frames, and how far they have been written.
#[derive(Default)]
pub(super) struct BulkFrames {
    pub(super) bytes: Vec<u8>,
    /// Where each frame ends.
    pub(super) ends: Vec<usize>,
    pub(super) written: usize,
    /// How many frames have been written whole.
    pub(super) frames_written: usize,
}

impl BulkFrames {
    pub(super) fn is_mid_frame(&self) -> bool {
        let frame_start = if self.frames_written == 0 { 0 } else { self.ends[self.frames_written - 1] };
        self.written > frame_start
    }

    /// The bytes to write next: all that are left, or only those up to the end of the current frame.
    pub(super) fn rest(&self, to_frame_end: bool) -> &[u8] {
        let end = if to_frame_end { self.ends[self.frames_written] } else { self.bytes.len() };
        &self.bytes[self.written..end]
    }

    pub(super) fn advance(&mut self, written: usize) {
        self.written += written;
        while self.ends.get(self.frames_written).is_some_and(|&end| end <= self.written) {
            self.frames_written += 1;
        }
    }
}

/// Keeps an emptied buffer for the next use of the bulk lane, with at most [`MAX_SPARE_BULK_BYTES`] of capacity.
pub(super) fn keep_buffer(spare: &mut Vec<u8>, mut buffer: Vec<u8>) {
    buffer.clear();
    buffer.shrink_to(MAX_SPARE_BULK_BYTES);
    *spare = buffer;
}
