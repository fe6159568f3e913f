//! Finds where bytes of output may be cut so that no character is.

/// How many bytes at the end of `bytes` begin a character that is not whole yet: 0 to 3. The caller holds them back
/// until the next read, or until the stream ends.
pub(crate) fn unfinished_char_len(bytes: &[u8]) -> usize {
    for back in 1..=bytes.len().min(3) {
        let tail = &bytes[bytes.len() - back..];
        if tail[0] & 0b1100_0000 != 0b1000_0000 {
            let is_unfinished = std::str::from_utf8(tail).is_err_and(|error| error.valid_up_to() == 0 && error.error_len().is_none());
            return if is_unfinished { back } else { 0 };
        }
    }
    0
}

/// Cuts bytes into pieces of at most `limit`, between characters where there are any.
pub(crate) fn pieces(bytes: &[u8], limit: usize) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (piece, after) = rest.split_at(char_boundary(rest, limit.max(4)));
        rest = after;
        Some(piece)
    })
}

/// The last position at or before `limit` at which a cut goes through no character; 0 if `limit` is inside the first
/// one. Bytes that are not UTF-8 may be cut anywhere.
pub(crate) fn char_boundary(bytes: &[u8], limit: usize) -> usize {
    if bytes.len() <= limit {
        return bytes.len();
    }
    let is_inside = |at: usize| bytes[at] & 0b1100_0000 == 0b1000_0000;
    (limit.saturating_sub(3)..=limit).rev().find(|at| !is_inside(*at)).unwrap_or(limit)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_unfinished_character_is_seen_at_every_position() {
        for character in ["é", "日", "🦀"] {
            let bytes = character.as_bytes();
            for cut in 0..=bytes.len() {
                let expected = if cut == bytes.len() { 0 } else { cut };
                assert_eq!(unfinished_char_len(&[b"ab", &bytes[..cut]].concat()), expected, "{character} cut at {cut}");
            }
        }
        for never in [&b"\x80"[..], b"\xff", b"\xc0", b"\xf5", b"\xe0\x80", b"\xed\xa0", b"a\x80\x80\x80"] {
            assert_eq!(unfinished_char_len(never), 0, "{never:?} will never be a character");
        }
    }

    proptest! {
        #[test]
        fn pieces_are_the_whole_and_keep_characters(text in "\\PC{0,60}", limit in 4_usize..20) {
            let split: Vec<&[u8]> = pieces(text.as_bytes(), limit).collect();
            prop_assert_eq!(split.concat(), text.as_bytes());
            for piece in split {
                prop_assert!(piece.len() <= limit);
                prop_assert!(std::str::from_utf8(piece).is_ok());
            }
        }

        #[test]
        fn any_bytes_are_cut_within_the_limit(bytes in proptest::collection::vec(any::<u8>(), 0..80), limit in 4_usize..20) {
            let split: Vec<&[u8]> = pieces(&bytes, limit).collect();
            prop_assert!(split.iter().all(|piece| !piece.is_empty() && piece.len() <= limit));
            prop_assert_eq!(split.concat(), bytes);
        }

        #[test]
        fn holding_back_makes_text_of_any_reads(text in "\\PC{0,60}", cuts in proptest::collection::vec(0_usize..200, 0..8)) {
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).chain([text.len()]).collect();
            cuts.sort_unstable();
            let (mut held, mut from, mut whole) = (Vec::new(), 0, String::new());
            for cut in cuts {
                held.extend_from_slice(&text.as_bytes()[from..cut]);
                from = cut;
                let tail = held.split_off(held.len() - unfinished_char_len(&held));
                whole.push_str(std::str::from_utf8(&held).expect("whole characters"));
                held = tail;
            }
            prop_assert_eq!(whole, text);
        }
    }
}
