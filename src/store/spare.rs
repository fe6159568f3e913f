//! One buffer for decoded blocks that is used again: fresh memory for each block would cost more than decoding it does.

use std::sync::{Mutex, PoisonError};

/// A buffer that one huge entry has grown is not kept.
const KEPT: usize = 1 << 20;

static SPARE: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// An empty buffer with room for so many bytes.
pub(super) fn take(capacity: usize) -> Vec<u8> {
    let mut buffer = if capacity <= KEPT { std::mem::take(&mut *lock()) } else { Vec::new() };
    buffer.clear();
    buffer.reserve(capacity);
    buffer
}

/// Takes a buffer that is not needed any more.
pub(super) fn give_back(buffer: Vec<u8>) {
    if buffer.capacity() <= KEPT {
        let mut spare = lock();
        if spare.capacity() < buffer.capacity() {
            *spare = buffer;
        }
    }
}

fn lock() -> std::sync::MutexGuard<'static, Vec<u8>> {
    SPARE.lock().unwrap_or_else(PoisonError::into_inner)
}
