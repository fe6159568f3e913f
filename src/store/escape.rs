//! How long texts are as the canonical line has them.

/// How long a text is once its quotes, backslashes and control characters are escaped.
pub(super) fn escaped_len(text: &[u8]) -> usize {
    let more = |byte: &u8| {
        let control = u8::from(*byte < 0x20) * 5;
        let short = u8::from(matches!(byte, 8 | 9 | 10 | 12 | 13)) * 4;
        control - short + u8::from(*byte == b'"') + u8::from(*byte == b'\\')
    };
    // At most five a byte, so a sum over 48 fits into a byte, which lets the compiler look at many at once.
    text.len() + text.chunks(48).map(|chunk| usize::from(chunk.iter().map(more).fold(0, u8::wrapping_add))).sum::<usize>()
}
